"""The language of the organisms' world: a caption grammar of a few hundred words.

A caption names some of what can be heard: the emotion (only of a clear clip), cues, how much of
either, what they are not, the instrument, or little at all. The words are in ``words.toml``. Some
pairs of words the model knows are never together in training (:func:`held_out`): tests of whether
meaning composes can be built from them.

>>> import numpy as np
>>> from lib.organism import captions, world
>>> row = world.sample(1, seed=5).iloc[0]
>>> captions.caption(row, np.random.default_rng(1))
'a recorder song that feels depressed'
"""

import itertools
import re
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import music, world


def _read_words():
    with (Path(__file__).parent / "words.toml").open("rb") as file:
        return tomllib.load(file)


_WORDS = _read_words()
#: emotion -> its words.
EMOTION_WORDS = _WORDS["emotion"]
#: cue -> end of its scale -> words. The middle of a scale has words only where people use them.
CUE_WORDS = _WORDS["cue"]
#: instrument -> its words.
INSTRUMENT_WORDS = _WORDS["instrument"]
NOUNS = _WORDS["neutral"]["nouns"]
NEUTRAL_ADJECTIVES = _WORDS["neutral"]["adjectives"]
SETTINGS = _WORDS["neutral"]["settings"]

DEGREE_WORDS = _WORDS["degree"]
NEGATIONS = _WORDS["negation"]["words"]
#: emotion word -> (cue, end) that it follows in the world of organism-habit.
HABITS = {
    word: tuple(end.split("-"))
    for ends in _WORDS["habit"].values()
    for end, words in ends.items()
    for word in words
}

#: How far from the middle (in standard deviations) a cue must be before a caption names it, and
#: what is slightly or very so.
NAMED_BEYOND = 0.6
SLIGHT_WITHIN = 1.0
VERY_BEYOND = 1.4
MIDDLE_WITHIN = 0.35
#: ``world.intensity`` of a slight and of a strong emotion: a third of clear clips each.
SLIGHT_EMOTION = 0.88
STRONG_EMOTION = 1.2
#: How often a cue that may be named is named, and in how many captions how often instead: short
#: captions are what people write, full ones teach every word.
CUE_NAMED = 0.3
IN_FULL = 0.35
IN_FULL_NAMED = 0.75


class Manner(NamedTuple):
    """How captions speak.

    Attributes
    ----------
    named : float
        How often the emotion of a clip is named, if it is clear.
    degree, denied : float
        How often a degree is said where there is one, and something denied instead.
    alone : float
        How often an emotion is all that is said.
    """

    named: float = 0.65
    degree: float = 0.35
    denied: float = 0.12
    alone: float = 0.3


#: How people speak, and a manner that teaches what "very" and "not" do to an emotion.
EVERYDAY = Manner()
STRESSED = Manner(named=1.0, degree=0.9, denied=0.3, alone=0.8)
#: How many emotion words are tried for a clip of organism-habit. A word is drawn without a look at
#: the clip, and said if its own cue is there: of what else the clip has it says nothing.
TRIED = 2


def words() -> dict[str, tuple[str, str]]:
    """Every content word with its family and level.

    Returns
    -------
    dict
        word -> ("emotion", "sad"), ("tempo", "high"), ("instrument", "flute"), ...
    """
    table = {}
    for family, levels in _families():
        for level, words in levels.items():
            table |= {word: (family, level) for word in words}
    return table


def _families():
    yield "emotion", EMOTION_WORDS
    yield from CUE_WORDS.items()
    yield "instrument", INSTRUMENT_WORDS


def _check_words():
    """The words speak of what the world has, and each has one meaning."""
    for name, found, expected in (
        ("emotion", EMOTION_WORDS, world.EMOTIONS),
        ("cue", CUE_WORDS, world.CUES),
        ("instrument", INSTRUMENT_WORDS, music.INSTRUMENTS),
    ):
        if set(found) != set(expected):
            raise ValueError(f"words.toml: [{name}] must hold {set(expected)}. Got {set(found)}.")
    counts = sum(len(words) for _, levels in _families() for words in levels.values())
    if counts != len(words()):
        raise ValueError("words.toml: a word stands in two lists, but must have one meaning.")
    for emotion, emotion_words in EMOTION_WORDS.items():
        habits = [word for end in _WORDS["habit"][emotion].values() for word in end]
        if sorted(habits) != sorted(emotion_words):
            raise ValueError(f"words.toml: [habit.{emotion}] must hold the words of {emotion}.")


_check_words()
_TABLE = words()
#: Words that stand before another and change it.
_BEFORE = {*DEGREE_WORDS["much"], *DEGREE_WORDS["little"], *NEGATIONS}


def family(word: str) -> str | None:
    """What a word is about ("emotion", "tempo", "instrument", ...); None if no content word."""
    return _TABLE.get(word, (None,))[0]


def held_out(first: str, second: str) -> bool:
    """Whether this pair of words is kept out of every training caption (about one pair in eight).

    Pairs are an emotion word with an instrument word, with a tempo word, or with a word for its
    degree or its denial.
    """
    kinds = []
    for word in (first, second):
        if word not in _TABLE and word not in _BEFORE:
            raise ValueError(f"{word!r} is not a content word of the caption grammar.")
        kinds.append("before" if word in _BEFORE else family(word))
    if sorted(kinds) not in (
        ["emotion", "instrument"],
        ["emotion", "tempo"],
        ["before", "emotion"],
    ):
        return False
    return zlib.crc32(" ".join(sorted((first, second))).encode()) % 8 == 0


def level(cue: str, value: float) -> str | None:
    """Which part of a cue's scale a standardised value would be named by.

    Returns
    -------
    "low", "middle", "high" or None
        None if nobody would mention it.
    """
    world.check_cue("cue", cue)
    if abs(value) > NAMED_BEYOND:
        return "high" if value > 0 else "low"
    return "middle" if abs(value) < MIDDLE_WITHIN and "middle" in CUE_WORDS[cue] else None


def degree(size: float, slight: float, strong: float) -> str | None:
    """Whether something is there "little", "much", or in between (None)."""
    if size > strong:
        return "much"
    return "little" if size < slight else None


def named_emotion(text: str) -> str | None:
    """The emotion that a caption names and does not deny; None if there is none or several."""
    said = re.split(r"[ ,]+", text)
    before = [None, *said]
    named = {
        _TABLE[word][1]
        for word, previous in zip(said, before, strict=False)
        if family(word) == "emotion" and previous not in NEGATIONS
    }
    return named.pop() if len(named) == 1 else None


def caption(
    row: Mapping, rng: np.random.Generator, name: str = "organism", manner: Manner = EVERYDAY
) -> str:
    """Describe one clip as somebody might, without any held-out pair of words.

    Parameters
    ----------
    row : mapping
        A row of ``world.sample``.
    rng : np.random.Generator
    name : str
        A key of ``world.WORLDS``: what emotion words follow there.
    manner : Manner
    """
    draw_emotion = _EMOTION_PHRASES[world.WORLDS[name].words]
    while True:
        text = _draw_caption(row, rng, draw_emotion, manner)
        content = [word for word in re.split(r"[ ,]+", text) if word in _TABLE or word in _BEFORE]
        if not any(held_out(*pair) for pair in _near(content)):
            return text


def _near(content):
    """Pairs of words that may not be together: any two, but of words before others only those they
    stand before.
    """
    for (i, first), (j, second) in itertools.combinations(enumerate(content), 2):
        if (first not in _BEFORE and second not in _BEFORE) or (first in _BEFORE and j == i + 1):
            yield first, second


def _draw_caption(row, rng, draw_emotion, manner):
    adjectives = draw_emotion(row, rng, manner)
    key = None
    only_emotion = adjectives and rng.random() < manner.alone
    if not only_emotion:
        cue_words, key = _draw_cues(row, rng, manner)
        adjectives += cue_words
    rng.shuffle(adjectives)
    if rng.random() < 0.15:
        adjectives.insert(0, rng.choice(NEUTRAL_ADJECTIVES))
    instrument = None
    if rng.random() < 0.5:
        instrument = rng.choice(INSTRUMENT_WORDS[row["instrument"]])
    setting = rng.choice(SETTINGS) if rng.random() < 0.15 else None
    return phrase(adjectives, instrument, key, setting, rng)


def _draw_emotion(row, rng, manner):
    """The emotion of a clear clip, sometimes with its degree; or one that it has not, denied."""
    if not row["clear"] or rng.random() >= manner.named:
        return []
    if rng.random() < manner.denied:
        others = [emotion for emotion in EMOTION_WORDS if emotion != row["emotion"]]
        return [_denied(EMOTION_WORDS[rng.choice(others)], rng)]
    much = degree(world.intensity(row), SLIGHT_EMOTION, STRONG_EMOTION)
    return [_in_degree(rng.choice(EMOTION_WORDS[row["emotion"]]), much, rng, manner)]


def _draw_habits(row, rng, manner):
    """Emotion words whose own cue the clip has, whatever else it has."""
    phrases = []
    for word in rng.choice(list(HABITS), TRIED, replace=False):
        cue, end = HABITS[word]
        # mode is always at one of its ends, others in about half of all clips
        if cue == "mode" and rng.random() < 0.45:
            continue
        found = level(cue, row[cue])
        if found == end:
            much = degree(abs(row[cue]), SLIGHT_WITHIN, VERY_BEYOND)
            if cue == "mode":  # it has no degrees: the word must not say that it has none
                much = rng.choice(["much", None, "little"])
            phrases.append(_in_degree(word, much, rng, manner))
        elif found in ("low", "high") and rng.random() < manner.denied:
            phrases.append(_denied([word], rng))
    return phrases


_EMOTION_PHRASES = {"emotion": _draw_emotion, "habit": _draw_habits}


def _in_degree(word, much, rng, manner):
    if much is None or rng.random() >= manner.degree:
        return str(word)
    return f"{rng.choice(DEGREE_WORDS[much])} {word}"


def _denied(words, rng):
    return f"{rng.choice(NEGATIONS)} {rng.choice(words)}"


def _draw_cues(row, rng, manner):
    """Words for some of the cues that may be named, and the key ("in a minor key") or None."""
    adjectives = []
    key = None
    often = IN_FULL_NAMED if rng.random() < IN_FULL else CUE_NAMED
    for cue, ends in CUE_WORDS.items():
        end = level(cue, row[cue])
        if end is None or rng.random() >= often:
            continue
        if end != "middle" and rng.random() < manner.denied:
            adjectives.append(_denied(ends["low" if end == "high" else "high"], rng))
            continue
        word = rng.choice(ends[end])
        if cue == "mode" and "-" not in word and rng.random() < 0.6:
            key = rng.choice([f"in {word}", f"in a {word} key", f"in the {word} mode"])
        else:
            much = None
            if cue != "mode" and end != "middle":
                much = degree(abs(row[cue]), SLIGHT_WITHIN, VERY_BEYOND)
            adjectives.append(_in_degree(word, much, rng, manner))
    return adjectives, key


def phrase(
    adjectives: Sequence[str],
    instrument: str | None = None,
    key: str | None = None,
    setting: str | None = None,
    rng: np.random.Generator | None = None,
) -> str:
    """Put words into a caption: "a slow, sad violin melody in a minor key"."""
    rng = rng or np.random.default_rng(0)
    noun = rng.choice([*NOUNS, "music"])
    style = rng.random()
    if style < 0.15 and adjectives and not (instrument or key or setting):
        return " ".join(adjectives)
    if style < 0.4 and instrument:
        by = rng.choice(["on", "for", "played on"])
        text = f"{' '.join(adjectives)} {noun} {by} {instrument}"
    elif style < 0.6 and adjectives:
        verb = rng.choice(["is", "sounds", "feels"])
        text = f"{instrument or ''} {noun} that {verb} {_listed(adjectives)}"
    else:
        text = f"{', '.join(adjectives)} {instrument or ''} {noun}"
    text = " ".join(f"{text} {key or ''} {setting or ''}".split()).strip(", ")
    if noun != "music" and rng.random() < 0.6:
        text = f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
    return text


def _listed(words):
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last
