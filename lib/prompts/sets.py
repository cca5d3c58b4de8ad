"""Sets of prompts that name one thing each, balanced over what is named and how."""

import itertools

import numpy as np
import pandas as pd

from .. import check
from ..organism import captions, world
from . import wording
from .wording import LANGUAGES

#: How a prompt of :func:`crossed` asks for an emotion.
KINDS = ("name", "implied", "cues", "neutral")


def emotions(n: int = 36) -> pd.DataFrame:
    """Prompts from emotion words alone.

    Parameters
    ----------
    n : int
        Prompts for each emotion.

    Returns
    -------
    pd.DataFrame
        Columns prompt, label (the emotion), word.
    """
    return _one_word_each(captions.EMOTION_WORDS, n, wording.CARRIERS)


def cue(name: str, n: int = 36) -> pd.DataFrame:
    """Prompts for both ends of a cue, from words for that cue alone.

    Parameters
    ----------
    name : str
        A cue of ``organism.world.CUES``.
    n : int
        Prompts for each end.

    Returns
    -------
    pd.DataFrame
        Columns prompt, label ("low" or "high"), word.
    """
    world.check_cue("cue", name)
    if name == "mode":
        return _one_word_each({"low": ["minor"], "high": ["major"]}, n, wording.MODE_CARRIERS)
    ends = {end: captions.CUE_WORDS[name][end] for end in ("low", "high")}
    return _one_word_each(ends, n, wording.CARRIERS)


def _one_word_each(words_of_label, n, carriers):
    n = check.count("n", n)
    rows = []
    for label, words in words_of_label.items():
        for i in range(n):
            word = words[i % len(words)]
            carrier = carriers[(i + i // len(words)) % len(carriers)]
            rows.append((wording.with_articles(carrier.format(word)), label, word))
    return pd.DataFrame(rows, columns=["prompt", "label", "word"])


def crossed(kind: str, n: int = 48, language: str = "organism", seed: int = 0) -> pd.DataFrame:
    """Words x templates x instruments, balanced over all three.

    Parameters
    ----------
    kind : "name", "implied", "cues" or "neutral"
        The emotion's own name; other words for it (organism) or scenes that never name it
        (natural); what the music does, without any emotion; neither (one label, ``neutral``).
    n : int
        Prompts for each emotion.
    language : "organism" or "natural"
        Words that the organisms know, or those for a model of real language.
    seed : int
        Which template and instrument meets which word.

    Returns
    -------
    pd.DataFrame
        Columns prompt, emotion, kind, word, family (for grouped splits), template (its number),
        instrument, and held_out (a pair of words that no organism has seen together).
    """
    check.choice("kind", kind, KINDS)
    check.choice("language", language, LANGUAGES)
    n = check.count("n", n)
    rng = np.random.default_rng([check.count("seed", seed, 0), KINDS.index(kind)])
    scenes = kind == "implied" and language == "natural"
    templates = wording.SCENE_TEMPLATES if scenes else wording.TEMPLATES
    rows = []
    for emotion in ("neutral",) if kind == "neutral" else captions.EMOTION_WORDS:
        words = wording.SCENES[emotion] if scenes else _words(kind, emotion)
        for word, template, instrument in _crossing(words, len(templates), n, rng, emotion):
            prompt = templates[template].format(word=word, instrument=instrument)
            rows.append(
                {
                    "prompt": wording.with_articles(prompt),
                    "emotion": emotion,
                    "kind": kind,
                    "word": word,
                    "family": wording.FAMILIES.get(word, word),
                    "template": template,
                    "instrument": instrument,
                    "held_out": _never_together(word, instrument),
                }
            )
    return pd.DataFrame(rows)


def graded(neutral: pd.DataFrame) -> dict[str, list[str]]:
    """Every emotion in three degrees, in the very sentences of neutral prompts.

    Parameters
    ----------
    neutral : pd.DataFrame
        From ``crossed("neutral", ...)``.

    Returns
    -------
    dict
        "slightly happy", "happy", "very happy" and so on -> one prompt for each row: words for the
        emotion in turn, in the row's sentence, on its instrument.
    """
    found = {}
    for emotion in captions.EMOTION_WORDS:
        words = _words("implied", emotion)
        for degree in (captions.DEGREE_WORDS["little"][0], "", captions.DEGREE_WORDS["much"][0]):
            said = [
                wording.TEMPLATES[row.template].format(
                    word=f"{degree} {words[i % len(words)]}".strip(), instrument=row.instrument
                )
                for i, row in enumerate(neutral.itertuples())
            ]
            name = f"{degree} {emotion}".strip()
            found[name] = [wording.with_articles(prompt) for prompt in said]
    return found


def _words(kind, emotion):
    if kind == "name":
        return [emotion]
    if kind == "neutral":
        return captions.NEUTRAL_ADJECTIVES
    if kind == "implied":
        return [word for word in captions.EMOTION_WORDS[emotion] if word != emotion]
    return wording.profile_wordings(emotion)


def _crossing(words, n_templates, n, rng, emotion):
    """``n`` different (word, template, instrument).

    A shuffled full crossing of templates and instruments, then repeated: every word, template and
    instrument is used equally often.
    """
    cells = shuffled_cells(n_templates, rng)
    most = len(cells) * len(words)
    if n > most:
        raise ValueError(f"There are at most {most} distinct prompts for {emotion}. Got n = {n}.")
    for i in range(n):
        yield words[i % len(words)], *cells[(i + i // len(cells)) % len(cells)]


def shuffled_cells(n_templates: int, rng: np.random.Generator) -> list[tuple[int, str]]:
    """Every template's number with every instrument, in random order."""
    cells = list(itertools.product(range(n_templates), captions.INSTRUMENT_WORDS))
    return [cells[i] for i in rng.permutation(len(cells))]


def _never_together(word, instrument):
    """Whether two of the content words are a pair that no organism has seen together."""
    words = [w for w in (*word.replace(",", "").split(), instrument) if captions.family(w)]
    return any(captions.held_out(*pair) for pair in itertools.combinations(words, 2))
