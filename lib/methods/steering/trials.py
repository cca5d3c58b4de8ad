"""A trial of one way of steering: songs with all of it, half of it and none, beside songs that
were pushed along other directions with everything else equal.

:func:`word_pairs` says which words each direction is learned from and which words its controls are,
:func:`attempt` sings, :func:`listen` asks the judge, :func:`together` joins trials,
:func:`numbers` gives what the rules of the book decide by (``steered``, ``dosed`` and
``harmless``), and :func:`compare` a table to read.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ... import cache, check, stats
from ...musicgen.model import Clips, Model
from .applying import push
from .judge import Judge
from .vectors import Vector

#: Shares of the strength that are sung.
DOSES = (0.0, 0.5, 1.0)
#: How much less probable than songs of the control a steered song may be, nats a token.
ALLOWED = 0.1


class WordPair(NamedTuple):
    """Words that a direction is learned from, and those of its controls.

    Attributes
    ----------
    low, high : str
        A word of the emotion that the direction leads from, and one of that it leads to.
    controls : list of (str, str)
        Two words of one emotion each: a direction between them is found in the same way, and leads
        from no emotion to another.
    """

    low: str
    high: str
    controls: list[tuple[str, str]]


class Trial(NamedTuple):
    """Songs of a trial; the i-th clips of all have one prompt and one seed.

    Attributes
    ----------
    target : str
        The wanted emotion, or level of a concept.
    doses : list of Clips
        One a share of :data:`DOSES`.
    controls : list of Clips
        Pushed along directions to compare with at the whole strength, in each of the list along
        others.
    """

    target: str
    doses: list[Clips]
    controls: list[Clips]


class Heard(NamedTuple):
    """What the judge says of a trial: means over the prompts of a unit.

    Attributes
    ----------
    success : np.ndarray [shape=(unit, dose)]
        Share of songs in which every listener hears what is wanted.
    by_chance : np.ndarray [shape=(unit, control)]
        The same for the directions to compare with.
    surprise : np.ndarray [shape=(unit,)]
        Of songs at the whole strength, nats a token.
    anyhow : np.ndarray [shape=(unit, control)]
        The same for the directions to compare with.
    """

    success: np.ndarray
    by_chance: np.ndarray
    surprise: np.ndarray
    anyhow: np.ndarray


def word_pairs(
    words: Mapping[str, Sequence[str]], low: str, high: str, draws: int = 2, seed: int = 0
) -> list[WordPair]:
    """Pair words of two emotions, each word in one pair at most.

    Parameters
    ----------
    words : mapping
        Emotion -> its words. A word may be a lexical family.
    low, high : str
        The emotion that directions lead from, and the one that they lead to.
    draws : int
        Controls of each pair: two words of one emotion, drawn from all emotions of ``words``. None
        comes twice before all have come once.
    seed : int
        Other words and other ends have other controls under the same seed.

    Raises
    ------
    ValueError, TypeError
        An unknown emotion, words without two of one emotion, and what is no words.
    """
    given = check.mapping("words", words, "emotion -> list of its words", 1)
    words = {
        emotion: list(dict.fromkeys(check.texts(f"words[{emotion!r}]", some)))
        for emotion, some in given.items()
    }
    check.choice("low", low, list(words))
    check.choice("high", high, list(words))
    draws = check.count("draws", draws)
    alike = [two for some in words.values() for two in itertools.combinations(some, 2)]
    if not alike:
        raise ValueError(
            "A control leads between two words of one emotion, so words must have two of one at "
            f"least. Got {words}."
        )
    own = int(cache.digest(words, low, high)[:8], 16)
    rng = np.random.default_rng([check.count("seed", seed, 0), own])
    ends = list(zip(words[low], words[high], strict=False))
    rounds = -(-draws * len(ends) // len(alike))
    order = np.concatenate([rng.permutation(len(alike)) for _ in range(rounds)])
    controls = [tuple(rng.permutation(alike[k]).tolist()) for k in order]
    return [WordPair(*two, controls[k * draws : (k + 1) * draws]) for k, two in enumerate(ends)]


def attempt(
    model: Model,
    prompts: Iterable[str],
    target: str,
    vector: Vector | Sequence[Vector],
    strength: float,
    controls: Sequence[Vector | Sequence[Vector]],
    *,
    seed: int = 0,
    **how,
) -> Trial:
    """Sing a trial, all of it in one batch.

    Parameters
    ----------
    model : Model
    prompts : list of str
    target : str
        The wanted emotion, or level of the judge's concept.
    vector : Vector or list of Vector
        One for all prompts, or one a prompt.
    strength : float
    controls : list
        Directions to compare with, each as ``vector``. If every prompt has some of its own, what is
        found holds for directions in general, not for a few of them.
    seed : int
        Of the songs.
    **how
        Settings of ``steering.push``, the same for all songs: negative, schedule, stream, ...

    Raises
    ------
    ValueError
        No control, and as in ``steering.push``.
    """
    if not isinstance(controls, list | tuple) or not controls:
        check.refuse(ValueError, "controls", "a list of one direction or more", controls)
    pushes = [(vector, share * strength) for share in DOSES]
    pushes += [(control, strength) for control in controls]
    songs = push(model, prompts, pushes, seed=seed, **how)
    return Trial(target, songs[: len(DOSES)], songs[len(DOSES) :])


def listen(judge: Judge, trial: Trial, units: Sequence | None = None) -> Heard:
    """What a judge says of a trial.

    Parameters
    ----------
    judge : Judge
        Of the model that sang: it says how surprising songs are.
    trial : Trial
    units : list, optional
        What each prompt is a repetition of, such as the words its direction was learned from:
        prompts of one direction share its luck, so they count as one. Left out, every prompt counts
        for itself.

    Raises
    ------
    ValueError
        Not one unit a prompt, or a missing one.
    """
    order = _order(trial, units)

    def mean(columns):
        return _by_unit(np.stack(columns, 1), order)

    return Heard(
        mean([judge.succeeded(songs, trial.target) for songs in trial.doses]),
        mean([judge.succeeded(songs, trial.target) for songs in trial.controls]),
        mean([judge.hear(trial.doses[-1])["surprise"]])[:, 0],
        mean([judge.hear(songs)["surprise"] for songs in trial.controls]),
    )


def together(parts: Iterable[Heard]) -> Heard:
    """Several trials with equally many draws as one, their prompts one below the other."""
    return Heard(*map(np.concatenate, zip(*parts, strict=True)))


def numbers(heard: Heard) -> dict[str, np.ndarray]:
    """What the rules decide by, one number a unit.

    Returns
    -------
    dict
        steered (success minus mean success over the controls), dosed (slope of success over the
        doses, from never to always = 1), harmless (mean surprise over the controls minus surprise,
        plus :data:`ALLOWED` nats a token).
    """
    success = heard.success
    return {
        "steered": success[:, -1] - heard.by_chance.mean(1),
        "dosed": np.polyfit(DOSES, success.T, 1)[0],
        "harmless": heard.anyhow.mean(1) - heard.surprise + ALLOWED,
    }


def dealt(heard: Heard, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """:func:`numbers` of a subject whose direction is as good as its controls and whose dose is
    nothing.

    For every unit, which of the directions counts as learned is dealt anew among it and its
    controls, and so are its doses.

    Returns
    -------
    dict
        steered and dosed.
    """
    pushed = rng.permuted(np.column_stack([heard.success[:, -1], heard.by_chance]), axis=1)
    doses = rng.permuted(heard.success, axis=1)
    return {
        "steered": pushed[:, 0] - pushed[:, 1:].mean(1),
        "dosed": numbers(heard._replace(success=doses))["dosed"],
    }


def compare(
    judge: Judge, trial: Trial, others: Mapping[str, Clips], units: Sequence | None = None
) -> pd.DataFrame:
    """What a trial's songs are like, and others of the same seeds.

    Parameters
    ----------
    judge : Judge
    trial : Trial
    others : mapping
        Name -> Clips, as many as there are prompts.
    units : list, optional
        As in :func:`listen`.

    Returns
    -------
    pd.DataFrame
        One row a kind of song: songs; success (share of prompts; all listeners), and by each
        listener; valence and arousal or a measure's own scales (by the first listener), surprise and recoded, above those of
        the songs without a push; instrument (how often it is recognised). Estimates, over units.
    """
    order = _order(trial, units)
    plain = judge.hear(trial.doses[0])
    none, half, whole = ([songs] for songs in trial.doses)
    kinds = {"no push": none, "half": half, "chosen": whole, "control": trial.controls}
    kinds |= {name: [songs] for name, songs in others.items()}
    rows = [
        {"songs": name} | _described(judge, trial.target, songs, plain, order)
        for name, songs in kinds.items()
    ]
    return pd.DataFrame(rows)


def _order(trial, units):
    """The number of each prompt's unit."""
    n = len(trial.doses[0].prompts)
    return pd.factorize(check.labels("units", np.arange(n) if units is None else units, n))[0]


def _by_unit(values, order):
    """Means over the prompts of each unit, [unit, column], of values [prompt, column]."""
    return pd.DataFrame(np.asarray(values, float)).groupby(order).mean().to_numpy()


def _described(judge, target, songs, plain, order):
    """Means over the songs of a prompt and the prompts of a unit, then estimates over units."""
    answers = [judge.hear(some) for some in songs]
    row = {"success": [judge.succeeded(some, target) for some in songs]}
    for ear in judge.ears:
        named = [column for column in (f"{ear} emotion", f"{ear} level") if column in plain]
        for column in named:
            row[f"by {ear}"] = [answer[column] == target for answer in answers]
    for name, column in {
        **judge.scales(plain),
        "surprise": "surprise",
        "recoded": "recoded",
    }.items():
        row[name] = [answer[column] - plain[column] for answer in answers]
    if "instrument" in plain:
        row["instrument"] = [answer["instrument"] for answer in answers]
    return {name: _estimate(np.stack(values, 1), order) for name, values in row.items()}


def _estimate(values, order):
    """Of values [prompt, song]; yes and no of one song a unit are a share."""
    share = values.shape[1] == 1 and values.dtype == bool and len(set(order)) == len(order)
    if share:
        return stats.proportion(values[:, 0])
    return stats.mean(_by_unit(values, order).mean(1))
