"""The language of the organisms' world: a caption grammar of a few hundred words.

A caption names some of what can be heard: the emotion (only of a clear clip), cues, the
instrument, or little at all. The words are in ``words.toml``. Some pairs of words the model knows
are never together in training (:func:`held_out`): tests of whether meaning composes can be built
from them.

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

#: How far from the middle (in standard deviations) a cue must be before a caption names it.
NAMED_BEYOND = 0.6
MIDDLE_WITHIN = 0.35
#: How often the emotion of a clip is named, if it is clear.
NAMED = 0.65
#: How often a cue that may be named is named: those that listeners notice first, and others.
CUE_NAMED = {"mode": 0.35, "tempo": 0.35, "dynamics": 0.35}
OTHER_CUE_NAMED = 0.2


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


_check_words()
_TABLE = words()


def family(word: str) -> str | None:
    """What a word is about ("emotion", "tempo", "instrument", ...); None if no content word."""
    return _TABLE.get(word, (None,))[0]


def held_out(first: str, second: str) -> bool:
    """Whether this pair of words is kept out of every training caption (about one pair in eight).

    Pairs are an emotion word with an instrument word, or an emotion word with a tempo word.
    """
    for word in (first, second):
        if word not in _TABLE:
            raise ValueError(f"{word!r} is not a content word of the caption grammar.")
    families = sorted((family(first), family(second)))
    if families not in (["emotion", "instrument"], ["emotion", "tempo"]):
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


def caption(row: Mapping, rng: np.random.Generator) -> str:
    """Describe one clip as somebody might, without any held-out pair of words.

    Parameters
    ----------
    row : mapping
        A row of ``world.sample``.
    rng : np.random.Generator
    """
    while True:
        text = _draw_caption(row, rng)
        content = [word for word in re.split(r"[ ,]+", text) if word in _TABLE]
        if not any(held_out(*pair) for pair in itertools.combinations(content, 2)):
            return text


def _draw_caption(row, rng):
    adjectives = []
    if row["clear"] and rng.random() < NAMED:
        adjectives.append(rng.choice(EMOTION_WORDS[row["emotion"]]))
    key = None
    only_emotion = adjectives and rng.random() < 0.3
    if not only_emotion:
        cue_words, key = _draw_cues(row, rng)
        adjectives += cue_words
    rng.shuffle(adjectives)
    if rng.random() < 0.15:
        adjectives.insert(0, rng.choice(NEUTRAL_ADJECTIVES))
    instrument = None
    if rng.random() < 0.5:
        instrument = rng.choice(INSTRUMENT_WORDS[row["instrument"]])
    setting = rng.choice(SETTINGS) if rng.random() < 0.15 else None
    return phrase(adjectives, instrument, key, setting, rng)


def _draw_cues(row, rng):
    """Words for some of the cues that may be named, and the key ("in a minor key") or None."""
    adjectives = []
    key = None
    for cue in CUE_WORDS:
        end = level(cue, row[cue])
        if end is None or rng.random() >= CUE_NAMED.get(cue, OTHER_CUE_NAMED):
            continue
        word = rng.choice(CUE_WORDS[cue][end])
        if cue == "mode" and "-" not in word and rng.random() < 0.6:
            key = rng.choice([f"in {word}", f"in a {word} key", f"in the {word} mode"])
        else:
            adjectives.append(word)
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
