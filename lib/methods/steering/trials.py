"""A trial of one way of steering: songs with all of it, half of it and none, beside songs that
were pushed anywhere with everything else equal.

:func:`attempt` sings, :func:`listen` asks the judge, :func:`together` joins trials,
:func:`numbers` gives what the rules of the book decide by (``steered``, ``dosed`` and
``harmless``), and :func:`compare` a table to read.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ... import check, stats
from ...musicgen.model import Clips, Model
from .applying import push
from .judge import Judge
from .vectors import Vector, anywhere

#: Shares of the strength that are sung.
DOSES = (0.0, 0.5, 1.0)
#: How much less probable than songs pushed anywhere a steered song may be, nats a token.
ALLOWED = 0.1


class Trial(NamedTuple):
    """Songs of a trial; the i-th clips of all have one prompt and one seed.

    Attributes
    ----------
    target : str
        The wanted emotion, or level of a concept.
    doses : list of Clips
        One a share of :data:`DOSES`.
    drawn : list of Clips
        Pushed along random directions at the whole strength, in each of the list along others, and
        no two prompts along the same.
    """

    target: str
    doses: list[Clips]
    drawn: list[Clips]


class Heard(NamedTuple):
    """What the judge says of a trial.

    Attributes
    ----------
    success : np.ndarray [shape=(prompt, dose)], bool
        Whether every listener hears what is wanted.
    by_chance : np.ndarray [shape=(prompt, draw)], bool
        The same for random directions.
    surprise : np.ndarray [shape=(prompt,)]
        Of songs at the whole strength, nats a token.
    anyhow : np.ndarray [shape=(prompt, draw)]
        The same for random directions.
    """

    success: np.ndarray
    by_chance: np.ndarray
    surprise: np.ndarray
    anyhow: np.ndarray


def attempt(
    model: Model,
    prompts: Iterable[str],
    target: str,
    vector: Vector,
    strength: float,
    draws: int = 4,
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
    vector : Vector
    strength : float
    draws : int
        Songs of each prompt along random directions of the same length. Each prompt has directions
        of its own: what is found then holds for directions in general, not for a few of them.
    seed : int
        Of the songs, and of the random directions.
    **how
        Settings of ``steering.push``, the same for all songs: negative, schedule, stream, ...
    """
    prompts = check.texts("prompts", prompts)
    n = len(prompts)
    others = anywhere(vector, check.count("draws", draws) * n, seed)
    pushes = [(vector, share * strength) for share in DOSES]
    pushes += [(others[k * n : (k + 1) * n], strength) for k in range(draws)]
    songs = push(model, prompts, pushes, seed=seed, **how)
    return Trial(target, songs[: len(DOSES)], songs[len(DOSES) :])


def listen(judge: Judge, trial: Trial) -> Heard:
    """What a judge says of a trial.

    Parameters
    ----------
    judge : Judge
        Of the model that sang: it says how surprising songs are.
    trial : Trial
    """
    return Heard(
        np.stack([judge.succeeded(songs, trial.target) for songs in trial.doses], 1),
        np.stack([judge.succeeded(songs, trial.target) for songs in trial.drawn], 1),
        judge.hear(trial.doses[-1])["surprise"].to_numpy(),
        np.stack([judge.hear(songs)["surprise"] for songs in trial.drawn], 1),
    )


def together(parts: Iterable[Heard]) -> Heard:
    """Several trials with equally many draws as one, their prompts one below the other."""
    return Heard(*map(np.concatenate, zip(*parts, strict=True)))


def numbers(heard: Heard) -> dict[str, np.ndarray]:
    """What the rules decide by, one number a prompt.

    Returns
    -------
    dict
        steered (success minus mean success over random directions), dosed (slope of success over
        the doses, from never to always = 1), harmless (mean surprise over random directions minus
        surprise, plus :data:`ALLOWED` nats a token).
    """
    success = heard.success.astype(float)
    return {
        "steered": success[:, -1] - heard.by_chance.mean(1),
        "dosed": np.polyfit(DOSES, success.T, 1)[0],
        "harmless": heard.anyhow.mean(1) - heard.surprise + ALLOWED,
    }


def dealt(heard: Heard, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """:func:`numbers` of a subject whose direction is as good as any and whose dose is nothing.

    For every prompt, which of the songs counts as steered is dealt anew among it and those of
    random directions, and so are its doses.

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


def compare(judge: Judge, trial: Trial, others: Mapping[str, Clips]) -> pd.DataFrame:
    """What a trial's songs are like, and others of the same seeds.

    Parameters
    ----------
    judge : Judge
    trial : Trial
    others : mapping
        Name -> Clips, as many as there are prompts.

    Returns
    -------
    pd.DataFrame
        One row a kind of song: songs; success (share of prompts; all listeners), and by each
        listener; valence and arousal or a measure's own scales (by the first listener), surprise and recoded, above those of
        the songs without a push; instrument (how often it is recognised). Estimates, over prompts.
    """
    plain = judge.hear(trial.doses[0])
    none, half, whole = ([songs] for songs in trial.doses)
    kinds = {"no push": none, "half": half, "chosen": whole, "random": trial.drawn}
    kinds |= {name: [songs] for name, songs in others.items()}
    rows = [
        {"songs": name} | _described(judge, trial.target, songs, plain)
        for name, songs in kinds.items()
    ]
    return pd.DataFrame(rows)


def _described(judge, target, songs, plain):
    """Means over the songs of a prompt, then estimates over prompts."""
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
    return {name: _estimate(np.stack(values)) for name, values in row.items()}


def _estimate(values):
    """Of values [song, prompt]; yes and no of one song a prompt are a share."""
    share = len(values) == 1 and values.dtype == bool
    return stats.proportion(values[0]) if share else stats.mean(values.mean(0))
