"""Prompts that differ in one variable and in nothing else: for patching, interchange, mediation."""

import itertools

import numpy as np
import pandas as pd

from .. import check
from ..organism import captions, world
from . import wording
from .sets import shuffled_cells


def _poles():
    cues = captions.CUE_WORDS
    emotions = captions.EMOTION_WORDS
    soft_and_sparse = _joined(cues["dynamics"]["low"][:5], cues["density"]["low"])
    loud_and_dense = _joined(cues["dynamics"]["high"][:5], cues["density"]["high"])
    poles = {name: (ends["low"], ends["high"]) for name, ends in cues.items() if name != "mode"}
    return poles | {
        "mode": (["minor-key", "minor"], ["major-key", "major"]),
        "energy": (soft_and_sparse, loud_and_dense),
        "valence": (emotions["sad"], emotions["calm"]),
        "arousal": (emotions["calm"], emotions["energetic"]),
        "emotion": (emotions["sad"], emotions["happy"]),
    }


def _joined(first, second):
    return [f"{one}, {other}" for one, other in itertools.product(first, second)]


#: variable -> words for its low and its high end. Valence and arousal are moved by emotions that
#: differ in it alone.
POLES = _poles()


def pairs(variable: str, n: int = 24, seed: int = 0) -> pd.DataFrame:
    """Prompts that differ in one variable and in nothing else.

    Parameters
    ----------
    variable : str
        A key of :data:`POLES`: a cue, "energy", "valence", "arousal" or "emotion".
    n, seed : int

    Returns
    -------
    pd.DataFrame
        Columns high and low (the prompts), word_high, word_low, template, instrument; words,
        templates and instruments are used equally often.
    """
    low, high = _pole("variable", variable)
    n = check.count("n", n)
    cells = shuffled_cells(len(wording.TEMPLATES), _generator(seed, variable))
    rows = []
    for i in range(n):
        template, instrument = cells[i % len(cells)]
        word_high = high[i % len(high)]
        word_low = low[i % len(low)]
        rows.append(
            {
                "high": _prompt(template, word_high, instrument),
                "low": _prompt(template, word_low, instrument),
                "word_high": word_high,
                "word_low": word_low,
                "template": template,
                "instrument": instrument,
            }
        )
    return pd.DataFrame(rows)


def interchanges(
    variable: str, n: int = 24, part: str = "train", seed: int = 0, beside: str | None = None
) -> pd.DataFrame:
    """Base and source prompts for interchange of one variable, and what should come of it.

    Base and source differ in the variable in half of the rows, and always in their instrument and
    in the ends of the cue ``beside``, if one is given: what is interchanged must carry the
    variable, and nothing else. Words of part "test" are never among those of part "train".

    Parameters
    ----------
    variable, beside : str
        Keys of :data:`POLES`.
    n, seed : int
    part : "train" or "test"

    Returns
    -------
    pd.DataFrame
        Columns base, source, counterfactual (the source's variable, everything else the base's),
        other (the reverse), differs.
    """
    ends = [_half(words, part) for words in _pole("variable", variable)]
    beside_ends = [_half(words, part) for words in _pole("beside", beside)] if beside else None
    rng = _generator(seed, variable, part == "test")
    rows = []
    for i in range(check.count("n", n)):
        differs = i % 2 == 0
        end = (i // 2) % 2
        base_word = rng.choice(ends[end])
        source_word = rng.choice(ends[1 - end if differs else end])
        instruments = rng.choice(list(captions.INSTRUMENT_WORDS), 2, replace=False)
        besides = ["", ""]
        if beside_ends:
            besides = [f"{rng.choice(beside_ends[k])}, " for k in rng.permutation(2)]
        template = rng.integers(len(wording.TEMPLATES))
        base_beside, source_beside = besides
        base_on, source_on = instruments
        rows.append(
            {
                "base": _prompt(template, base_beside + base_word, base_on),
                "source": _prompt(template, source_beside + source_word, source_on),
                "counterfactual": _prompt(template, base_beside + source_word, base_on),
                "other": _prompt(template, source_beside + base_word, source_on),
                "differs": differs,
            }
        )
    return pd.DataFrame(rows)


def _prompt(template, word, instrument):
    text = wording.TEMPLATES[template].format(word=word, instrument=instrument)
    return wording.with_articles(text)


def _pole(name, variable):
    world.check_cue(name, variable, POLES)
    return POLES[variable]


#: Variables are told apart in random draws by the length of their names. Articulation keeps that
#: of its old name, staccato, so that the chapters' pairs stay the same.
_NAME_LENGTHS = {"articulation": len("staccato")}


def _generator(seed, variable, *parts):
    length = _NAME_LENGTHS.get(variable, len(variable))
    return np.random.default_rng([check.count("seed", seed, 0), length, *map(int, parts)])


def _half(words, part):
    """Words of every second lexical family; of two words together, both."""
    check.choice("part", part, ("train", "test"))
    split = [word.split(", ") for word in words]
    families = [[wording.FAMILIES.get(word, word) for word in parts] for parts in split]
    first = 1 if part == "test" else 0
    chosen = [
        set(list(dict.fromkeys(position))[first::2]) for position in zip(*families, strict=True)
    ]
    return [
        word
        for word, parts in zip(words, families, strict=True)
        if all(family in some for family, some in zip(parts, chosen, strict=True))
    ]
