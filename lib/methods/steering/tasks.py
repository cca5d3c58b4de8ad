"""What steering is asked to do, in three parts that share nothing: find, choose, report.

A **task** is a concept and an aim. To *induce* happy is to make songs of neutral prompts be heard
as happy; to *suppress* it is to make songs of happy prompts be heard as anything else. Concepts are
the five emotions, the two axes and the cues (their high end), and, as one that is no emotion, any
instrument.

**Parts.** Words, templates, prompts and seeds are dealt to three parts: what steers is *found* on
one, its strength is *chosen* on another and all that counts is *reported* on the third. A concept of
two words (the organisms know two for either mode) has none for three parts: it is chosen with the
words it was found with, in other sentences and under other seeds, and reported with the other word.

**Prompts.** Every row has one sentence four times: with a neutral word (or, of an instrument, with
none), with a word of the concept, with one of its contrary, and with any word at all. What else the
sentence names, an instrument (or, where the instrument is moved, an emotion), is to be *kept*.

>>> from lib.methods.steering import tasks
>>> row = tasks.rows("happy", "report", 1).iloc[0]
>>> row["neutral"], row["high"], row["kept"]
('a trumpet tune that sounds original', 'a trumpet tune that sounds joyful', 'trumpet')
"""

import functools
import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from ... import check
from ...organism import captions, world
from ...prompts import concepts, wording

#: What a row belongs to, in the order of work.
PARTS = ("find", "choose", "report")
AIMS = ("induce", "suppress")
#: The concepts that the whole bench asks for: emotions, axes, cues, and one that is no emotion.
CONCEPTS = (*world.EMOTIONS, *world.AXES, "tempo", "mode", "organ")
#: All that may be asked for.
KNOWN = (*world.EMOTIONS, *world.AXES, *world.CUES, *captions.INSTRUMENT_WORDS)
#: How far the seeds of two parts lie apart.
SEEDS = 1_000_000


class Task(NamedTuple):
    """A concept, and what is to become of it.

    Attributes
    ----------
    concept : str
        One of :data:`KNOWN`.
    aim : "induce" or "suppress"
    """

    concept: str
    aim: str

    @property
    def sign(self) -> int:
        """The direction that leads towards the concept is added (1) or taken off (-1)."""
        return 1 if self.aim == "induce" else -1

    @property
    def start(self) -> str:
        """The column of :func:`rows` that is sung without steering."""
        return "neutral" if self.aim == "induce" else "high"

    @property
    def asked(self) -> str:
        """The column of prompts that ask for what is wanted."""
        return "high" if self.aim == "induce" else "low"

    def __str__(self):
        return f"{self.aim} {self.concept}"


def tasks(names) -> list[Task]:
    """Both aims of each concept.

    Raises
    ------
    ValueError
        An unknown concept, or none.
    """
    names = check.texts("concepts", names)
    for name in names:
        check.choice("concept", name, KNOWN)
    return [Task(name, aim) for name in names for aim in AIMS]


def words(concept: str, part: str, language: str = "organism") -> tuple[list[str], list[str]]:
    """The words of a part for a concept, and those for its contrary.

    Returns
    -------
    high, low : list of str
        The contrary of an emotion is the other four, of an instrument the other five; their words
        come in turn.

    Raises
    ------
    ValueError
        An unknown concept, part or language.
    """
    check.choice("concept", concept, KNOWN)
    check.choice("part", part, PARTS)
    high, low = _words(concept, part, language)
    return list(high), list(low)


@functools.cache
def _words(concept, part, language):
    """They never change, and every table of rows asks for those of all concepts."""
    table, level = _levels(concept, language)
    by_level = {
        name: _dealt(list(dict.fromkeys(some["family"])), some, part)
        for name, some in table.groupby("level", sort=False)
    }
    high = by_level.pop(level)
    longest = max(map(len, by_level.values()))
    low = [some[k % len(some)] for k in range(longest) for some in by_level.values()]
    return tuple(high), tuple(dict.fromkeys(low))


def rows(
    concept: str, part: str, n: int, language: str = "organism", seed: int = 0
) -> pd.DataFrame:
    """The prompts of a part: sentences, what they keep and seeds are the same for every concept.

    Parameters
    ----------
    concept : str
        One of :data:`KNOWN`.
    part : str
        One of :data:`PARTS`.
    n : int
        Rows.
    language : "organism" or "natural"
    seed : int
        Which word meets which sentence, and from where the seeds count.

    Returns
    -------
    pd.DataFrame
        Columns neutral, high, low and any (prompts), word_neutral, word_high, word_low and word_any
        (in the concept's place; "" where an instrument is moved and none is named), kept, template
        and seed.

    Raises
    ------
    ValueError
        An unknown concept, part or language.
    """
    n = check.count("n", n)
    high, low = words(concept, part, language)
    templates, instruments, fillers, emotions = _sentences(part, seed)
    rng = np.random.default_rng([check.count("seed", seed, 0), PARTS.index(part), len(concept)])
    anything = rng.permutation(_any_words(part, language, [*high, *emotions]))
    found = []
    for i in range(n):
        said = {"high": high[i % len(high)], "low": low[i % len(low)]}
        said |= {"any": anything[i % len(anything)], "neutral": fillers[i % len(fillers)]}
        sentence = templates[(i + i // len(instruments)) % len(templates)]
        if concept in captions.INSTRUMENT_WORDS:
            kept = emotions[i % len(emotions)]
            said["neutral"] = ""
            row = {name: _played(sentence, kept, said[name]) for name in ("neutral", "high", "low")}
            row["any"] = _played(sentence, f"{said['any']}, {kept}", "")
        else:
            kept = instruments[i % len(instruments)]
            row = {name: _said(sentence, word, kept) for name, word in said.items()}
        row |= {f"word_{name}": word for name, word in said.items()}
        row |= {"kept": kept, "template": sentence}
        found.append(row | {"seed": seed + PARTS.index(part) * SEEDS + i})
    return pd.DataFrame(found)


def keeps(concept: str) -> str:
    """What rows of a concept keep: "instrument", or "emotion" where the instrument is moved."""
    return "emotion" if concept in captions.INSTRUMENT_WORDS else "instrument"


@functools.cache
def _levels(concept, language):
    """The table of the concept's words, and the level that counts as high."""
    if concept in world.EMOTIONS:
        return concepts.get("emotion", language).table, concept
    if concept in captions.INSTRUMENT_WORDS:
        return concepts.get("instrument", language).table, concept
    return concepts.get(concept, language).table, "high"


def _dealt(families, table, part):
    """The words of a part: of every third family."""
    if len(families) >= len(PARTS):
        chosen = families[PARTS.index(part) :: len(PARTS)]
    else:
        chosen = families[-1:] if part == "report" else families[:1]
    return list(dict.fromkeys(table["word"][table["family"].isin(chosen)]))


def _sentences(part, seed):
    """Templates, instruments, neutral words and emotion words of a part, each in an order of its
    own.
    """
    number = PARTS.index(part)
    rng = np.random.default_rng([seed, number])
    emotions, _ = zip(*[words(emotion, part) for emotion in world.EMOTIONS], strict=True)
    emotions = [some[0] for some in emotions]
    parts = (
        wording.TEMPLATES[number :: len(PARTS)],
        list(captions.INSTRUMENT_WORDS),
        captions.NEUTRAL_ADJECTIVES[number :: len(PARTS)],
        emotions,
    )
    return [list(rng.permutation(some)) for some in parts]


def _any_words(part, language, but):
    """Words of a part for anything but a concept: what a prompt says where nothing was learned."""
    cues = [cue for cue in world.CUES if cue != "mode"]
    names = [*world.EMOTIONS, *cues]
    known = [word for name in names for some in words(name, part, language) for word in some]
    return [word for word in dict.fromkeys(known) if word not in but]


def _said(sentence, word, instrument):
    return wording.with_articles(sentence.format(word=word, instrument=instrument))


def _played(sentence, word, instrument):
    """A sentence of an emotion and an instrument, or of no instrument."""
    if not instrument:
        sentence = re.sub(r"( (?:played )?(?:on|for))? ?\{instrument\}", "", sentence)
    return _said(sentence, word, instrument).strip()
