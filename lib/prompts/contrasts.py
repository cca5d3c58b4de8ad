"""Prompts that differ in one variable and in nothing else: for patching, interchange, mediation."""

import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .. import check
from ..organism import captions, world
from . import wording
from .concepts import LEARNED, Concept
from .sets import shuffled_cells

AXES = world.AXES
#: The prompts of an interchange.
COLUMNS = ("base", "source", "counterfactual", "other", "aside")
CORNERS = world.CORNERS


def _poles():
    cues = captions.CUE_WORDS
    emotions = captions.EMOTION_WORDS
    soft_and_sparse = _joined(cues["dynamics"]["low"][:5], cues["density"]["low"])
    loud_and_dense = _joined(cues["dynamics"]["high"][:5], cues["density"]["high"])
    poles = {name: (ends["low"], ends["high"]) for name, ends in cues.items() if name != "mode"}
    return poles | {
        "mode": (["minor-key", "minor"], ["major-key", "major"]),
        "energy": (soft_and_sparse, loud_and_dense),
        **{axis: tuple(emotions[end] for end in ends) for axis, ends in LEARNED.items()},
        "emotion": (emotions["sad"], emotions["happy"]),
    }


def _joined(first, second):
    return [f"{one}, {other}" for one, other in itertools.product(first, second)]


#: variable -> words for its low and its high end.
POLES = _poles()


def pairs(variable: str | Concept, n: int = 24, seed: int = 0) -> pd.DataFrame:
    """Prompts that differ in one variable and in nothing else.

    Parameters
    ----------
    variable : str or Concept
        A key of :data:`POLES`: a cue, "energy", "valence", "arousal" or "emotion"; or a concept of
        two levels, whose prompts name an instrument only if its templates do.
    n, seed : int

    Returns
    -------
    pd.DataFrame
        Columns high and low (the prompts), word_high, word_low, template, instrument; words,
        templates and instruments are used equally often.
    """
    if isinstance(variable, Concept):
        return variable.pairs(n, seed)
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
    variable: str | Concept,
    n: int = 24,
    part: str = "train",
    seed: int = 0,
    beside: str | None = None,
) -> pd.DataFrame:
    """Base and source prompts for interchange of one variable, and what should come of it.

    Base and source differ in the variable in half of the rows, and always in their instrument and
    in the ends of the cue ``beside``, if one is given: what is interchanged must carry the
    variable, and nothing else. Words of part "test" are never among those of part "train".

    Parameters
    ----------
    variable : str or Concept
        A key of :data:`POLES`; or a concept of two levels, where base and source differ in their
        template instead of the instrument, and nothing stands beside.
    beside : str, optional
        A key of :data:`POLES`.
    n, seed : int
    part : "train" or "test"

    Returns
    -------
    pd.DataFrame
        Columns base, source, counterfactual (the source's variable, everything else the base's),
        other (the reverse), differs.
    """
    if isinstance(variable, Concept):
        if beside is not None:
            check.refuse(ValueError, "beside", "None where the variable is a concept", beside)
        return variable.interchanges(n, part, seed)
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


def crossings(
    axis: str,
    n: int = 24,
    part: str = "test",
    seed: int = 0,
    *,
    bases: Iterable[str] | None = None,
    both: bool = True,
) -> pd.DataFrame:
    """Base and source prompts of two emotions, and what moving one axis from one to the other
    gives.

    Base and source differ in both axes, so that the counterfactual is of a third emotion: from
    *tense* to *calm*, valence alone leads to *energetic*, and arousal alone to *sad*. What moves
    whole emotions, or single words, does not get there.

    Parameters
    ----------
    axis : "valence" or "arousal"
        What is moved.
    n, seed : int
    part : "train" or "test"
        Words of which half, as in :func:`interchanges`.
    bases : iterable of str, optional
        Emotions of the bases, in turn; by default the two that ``interchanges(axis)`` lacks.
    both : bool
        If not, base and source differ in the axis alone, and the counterfactual is of the source's
        emotion.

    Returns
    -------
    pd.DataFrame
        The columns of :func:`interchanges`, and "aside": asked for as the counterfactual is, the
        emotion that the other axis would lead to. Every row differs. Words of an emotion are used
        equally often.

    Raises
    ------
    ValueError
        No axis, an emotion that lies at no corner of the plane.
    """
    check.choice("axis", axis, AXES)
    unseen = [emotion for emotion in CORNERS.values() if emotion not in LEARNED[axis]]
    chosen = unseen if bases is None else check.texts("bases", bases)
    for base in chosen:
        check.choice("base", base, CORNERS.values())
    rng = _generator(seed, axis, part == "test", both)
    named = [dict(zip(COLUMNS, _emotions(base, axis, both), strict=True)) for base in chosen]
    halves = {emotion: _half(captions.EMOTION_WORDS[emotion], part) for emotion in CORNERS.values()}
    words = {
        (column, emotion): _in_turn(half, rng)
        for column in COLUMNS
        for emotion, half in halves.items()
    }
    rows = []
    for i in range(check.count("n", n)):
        emotions = named[i % len(named)]
        said = {column: next(words[column, emotions[column]]) for column in COLUMNS}
        if not both:  # the counterfactual is asked for in the source's words
            said |= {"counterfactual": said["source"], "other": said["base"]}
        template = rng.integers(len(wording.TEMPLATES))
        base_on, source_on = rng.choice(list(captions.INSTRUMENT_WORDS), 2, replace=False)
        on = {"base": base_on, "source": source_on, "counterfactual": base_on}
        on |= {"other": source_on, "aside": base_on}
        row = {column: _prompt(template, said[column], on[column]) for column in COLUMNS}
        rows.append(row | {"differs": True})
    return pd.DataFrame(rows)


def _emotions(base, axis, both):
    """Emotions of a crossing's prompts, in the order of their columns."""
    moved = _across(base, axis)
    (other_axis,) = set(AXES) - {axis}
    aside = _across(base, other_axis)
    if not both:
        return base, moved, moved, base, aside
    return base, _across(moved, other_axis), moved, aside, aside


def _across(emotion, axis):
    """The emotion at the other end of an axis, with the same place on the other one."""
    place = {name: corner for corner, name in CORNERS.items()}[emotion]
    turned = AXES.index(axis)
    return CORNERS[tuple(not end if k == turned else end for k, end in enumerate(place))]


def _in_turn(words, rng):
    """Words without end, each as often as any other, in random order."""
    while True:
        yield from (words[i] for i in rng.permutation(len(words)))


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
