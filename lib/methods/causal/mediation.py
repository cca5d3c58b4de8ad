"""Through what does a cause act? Effects that pass through a mediator, and effects that do not.

Fast music is loud music. Is that because tempo itself makes it loud, or because fast music is
played with more energy, and energy is loud? The two ways can be told apart by holding one of them.

Prompts set the cause, and the model sings. The mediator's subspace (``causal.locate``) is then held
where the other prompt would put it, while the model sings again::

    total      songs for fast prompts, minus songs for slow ones
    direct     the same, with energy held where slow prompts would put it
    mediated   songs for slow prompts with energy alone where fast ones would put it, minus slow

These are natural direct and indirect effects (Pearl 2001; in language models: Vig et al. 2020).
Where the other prompt puts the mediator is read step by step over the song as it comes out (an
interchange intervention), so that only what the text does is held, and not another song. Every song
of a pair has the same seed.

**Nulls.** Any subspace carries some of what a prompt does. So the mediated effect counts as far as
it exceeds that of random subspaces of the same size, and of subspaces of other variables
(:func:`beyond`). Their songs are sung in one call with the mediator's own.

**The outcome** must share no measure with the cause. Dynamics does not share one with tempo;
arousal does, as onsets a second hold the tempo itself.

**Units.** Effects are in standard deviations of the outcome in the world's music.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV

from ... import check, prompts, stats
from ...hearing import listeners
from ...musicgen import activations
from ...musicgen.activations import Edit
from ...musicgen.model import Clips, Model
from ...organism import world
from .subspaces import Subspace

#: What is heard in a clip, in standard deviations of the world's music.
HEARD = (
    "tempo",
    "energy",
    "mode",
    "dynamics",
    "articulation",
    "register",
    "brightness",
    "valence",
    "arousal",
)
#: What is sung of each pair: for both prompts, and with the mediator held.
ENDS = ("low", "high")
PARTS = ("direct", "mediated")
#: Rendered clips from which it is learned how energy sounds, and their seed.
ENERGY_CLIPS = listeners.TRAINING_CLIPS // 3
ENERGY_SEED = 955
#: Strengths of its ridge.
ALPHAS = np.logspace(-2, 3, 11)


class Held(NamedTuple):
    """Songs with something held.

    Attributes
    ----------
    name : str
        Of the songs.
    subspaces : list of Subspace
    pairs : np.ndarray [shape=(pair,)]
        Of which pairs of prompts.
    """

    name: str
    subspaces: list[Subspace]
    pairs: np.ndarray


class Effects(NamedTuple):
    """Effects of a cause on an outcome, in standard deviations of the outcome in the world's music.

    Attributes
    ----------
    total, direct, mediated : stats.Estimate
        The whole effect, that with the mediator held, and that of the mediator alone; intervals
        resample pairs.
    share : float
        mediated / total; nan where the total's interval holds 0.
    songs : dict
        "low", "high", "direct" (high, mediator held low), "mediated" (low, mediator held high), and
        each null subspace's name (low, that subspace held high) -> Clips.
    heard : pd.DataFrame
        What is heard in each song: columns song, pair, word (of the pair's high prompt) and the
        variables of ``HEARD``.
    """

    total: stats.Estimate
    direct: stats.Estimate
    mediated: stats.Estimate
    share: float
    songs: dict[str, Clips]
    heard: pd.DataFrame


@cache
def _energy_regression():
    """Energy from measured cues.

    Energy is heard through its cues, and their measures depend on tempo as well (onsets a second,
    gaps between notes). A regression on all cues, learned where energy and tempo are independent,
    takes that out.
    """
    measured, table = listeners.corpus_features(ENERGY_CLIPS, ENERGY_SEED, "organism-decoupled")
    profile = listeners.get("cues").profile(measured)
    return RidgeCV(ALPHAS).fit(profile, table["energy"])


def hear(clips: Clips, listener: str = "cues") -> pd.DataFrame:
    """What is heard in clips: the columns of ``HEARD``, one row a clip.

    Parameters
    ----------
    clips : Clips
    listener : str
        Who says valence and arousal: "cues" or "corpus".
    """
    measured = listeners.features(clips.audio, clips.sample_rate)
    profile = listeners.get("cues").profile(measured)
    emotion = listeners.get(listener).hear(measured)[["valence", "arousal"]]
    energy = _energy_regression().predict(profile)
    return pd.concat([profile.assign(energy=energy), emotion], axis=1)[list(HEARD)]


def mediate(
    model: Model,
    cause: str = "tempo",
    mediator: str = "energy",
    outcome: str = "dynamics",
    *,
    subspaces: Iterable[Subspace],
    nulls: Mapping[str, Subspace] | None = None,
    met: int | None = None,
    n: int = 32,
    seconds: float = 4.0,
    seed: int = 0,
) -> Effects:
    """Effect of a cause on an outcome, split by whether it passes through a mediator inside.

    Parameters
    ----------
    model : Model
    cause : str
        A key of ``prompts.POLES``: what the prompts set.
    mediator : str
        What ``subspaces`` carry.
    outcome : str
        What is heard (``HEARD``).
    subspaces : iterable of Subspace
        Where the mediator is held: one (at each of its sites), or one for each of several sites.
    nulls : mapping, optional
        Name -> another subspace, for :func:`beyond`.
    met : int, optional
        How many of the nulls every pair meets, in turn, so that all nulls are met equally often; by
        default all.
    n, seconds, seed : int, float, int
        Pairs of prompts; length of the songs.

    Raises
    ------
    ValueError
        Unknown variables, no subspace, subspaces of another variable or width, a null that is
        called as a song is, more nulls to meet than there are; before anything is sung.
    """
    n = check.count("n", n, 2)
    table = prompts.pairs(cause, n, seed)
    check.choice("outcome", outcome, HEARD)
    own = list(subspaces)
    if not own:
        raise ValueError(f"subspaces is empty: locate {mediator!r} first (causal.locate).")
    for subspace in own:
        _check_subspace(model, subspace, mediator)
    nulls = dict(nulls or {})
    for name, subspace in nulls.items():
        if name in (*ENDS, *PARTS):
            raise ValueError(f"A null cannot be called {name!r}: a song is.")
        _check_subspace(model, subspace, subspace.variable)
    if met is not None:
        check.count("met", met, 1, len(nulls))

    pairs = np.arange(n)
    held = [Held(name, own, pairs) for name in PARTS]
    held += [
        Held(name, [subspace], rows)
        for (name, subspace), rows in zip(nulls.items(), _dealt(n, len(nulls), met), strict=True)
    ]
    how = {"seconds": seconds, "seed": seed, "progress": False}
    songs = {end: model.generate(list(table[end]), keep=True, **how) for end in ENDS}
    songs |= _sing_held(model, table, held, seconds, seed)
    sung = dict.fromkeys(ENDS, pairs) | {part.name: part.pairs for part in held}
    word = table["word_high"].to_numpy()
    measures = [
        hear(clips).assign(song=name, pair=sung[name], word=word[sung[name]])
        for name, clips in songs.items()
        if len(sung[name])
    ]
    return effects_on(pd.concat(measures, ignore_index=True), outcome, songs)


def _dealt(n, nulls, met):
    """Which pairs meet each null: all, or so many nulls a pair, in turn."""
    if met is None:
        return [np.arange(n)] * nulls
    first = np.arange(n) * met
    return [np.flatnonzero((null - first) % nulls < met) for null in range(nulls)]


def _check_subspace(model, subspace, variable):
    shape = np.shape(subspace.basis)
    for site in subspace.sites:
        width = activations.select(model, site)[0].width
        if subspace.variable != variable or shape[-1] != width:
            raise ValueError(
                f"Expected subspaces of {variable!r} with {width} dimensions. "
                f"Got {subspace.variable!r} of {shape}."
            )


def _sing_held(model, table, held, seconds, seed):
    """Songs with subspaces held where the other prompt puts them, all in one call: "direct" for the
    high prompts, all others for the low ones.
    """
    low, high = (table[end].to_numpy() for end in ENDS)
    seeds = np.array(check.seeds(seed, len(table)))
    ends = np.cumsum([0, *(len(part.pairs) for part in held)])
    own, other = [], []
    edits = []
    for part, first, last in zip(held, ends[:-1], ends[1:], strict=True):
        asked, beside = (high, low) if part.name == "direct" else (low, high)
        own += list(asked[part.pairs])
        other += list(beside[part.pairs])
        edits += [
            Edit(site, interchange=subspace.basis, clips=slice(first, last))
            for subspace in part.subspaces
            for site in subspace.sites
        ]
    each = seeds[np.concatenate([part.pairs for part in held])]
    with activations.edit(model, *edits):
        songs = model.generate(own, seconds, each, beside=other, progress=False)
    return {
        part.name: songs[first:last]
        for part, first, last in zip(held, ends[:-1], ends[1:], strict=True)
    }


def effects_on(measures: pd.DataFrame, outcome: str, songs: dict | None = None) -> Effects:
    """Effects on another outcome of the same songs.

    Parameters
    ----------
    measures : pd.DataFrame
        ``Effects.heard``.
    outcome : str
        One of ``HEARD``.
    songs : dict, optional
        Kept in the result.
    """
    changes = _changes(measures, outcome)
    total, direct, mediated = (stats.mean(changes[name]) for name in ("high", "direct", "mediated"))
    share = np.nan if total.holds(0) else mediated.value / total.value
    return Effects(total, direct, mediated, share, songs or {}, measures)


def beyond(measures: pd.DataFrame, outcome: str, by: str = "pair") -> np.ndarray:
    """What the mediator mediates, minus the mean of what the null subspaces do.

    Parameters
    ----------
    measures : pd.DataFrame
        ``Effects.heard``, sung with nulls.
    outcome : str
        One of ``HEARD``.
    by : "pair" or "word"
        What is one unit: pairs with the same word share its luck.

    Returns
    -------
    np.ndarray [shape=(unit,)]

    Raises
    ------
    ValueError
        There are no nulls.
    """
    check.choice("by", by, ("pair", "word"))
    changes = _changes(measures, outcome)
    nulls = changes.drop(columns=[*ENDS, *PARTS])
    if nulls.empty:
        raise ValueError("There are no nulls: sing them, too (mediate(..., nulls=...)).")
    found = changes["mediated"] - nulls.mean(axis=1)
    if by == "word":
        of_pair = measures.drop_duplicates("pair").set_index("pair")["word"]
        found = found.groupby(of_pair.reindex(found.index), sort=False).mean()
    return found.to_numpy()


def _changes(measures, outcome):
    """An outcome minus its value in the low song, one row a pair and one column a song; a null that
    a pair did not meet is missing.
    """
    values = measures.pivot(index="pair", columns="song", values=outcome)
    return values.sub(values["low"], axis=0)


def in_world(
    name: str, outcome: str = "dynamics", mediator: str = "energy", n: int = 4000, seed: int = 0
) -> dict[str, float]:
    """What of tempo's effect passes through a mediator in a world, by the world's own do-operator.

    Parameters
    ----------
    name : str
        A key of ``world.WORLDS``.
    outcome : str
        A variable of ``world.sample``.
    mediator : str
        A variable that ``world.sample`` lets one set.
    n, seed : int
        Clips that are drawn.

    Returns
    -------
    dict
        "total", "direct" and "mediated" -> change of the outcome for one standard deviation of
        tempo.
    """

    def mean(variable, **do):
        return world.sample(n, name, seed, do)[variable].mean()

    low, high = (mean(mediator, tempo=tempo) for tempo in (-1.0, 1.0))
    plain = mean(outcome, tempo=-1.0)
    held = mean(outcome, tempo=-1.0, **{mediator: low})
    changes = {
        "total": mean(outcome, tempo=1.0) - plain,
        "direct": mean(outcome, tempo=1.0, **{mediator: low}) - held,
        "mediated": mean(outcome, tempo=-1.0, **{mediator: high}) - held,
    }
    return {part: float(change / 2) for part, change in changes.items()}


def dose(
    model: Model,
    cause: str,
    subspace: Subspace,
    scales=(0.0, 0.5, 1.0, 1.5),
    *,
    n: int = 12,
    seconds: float = 4.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Set a cause inside the model, by degrees.

    Songs for its low prompts, with its subspace moved towards where the high prompts would put it.

    Parameters
    ----------
    model : Model
    cause : str
        A key of ``prompts.POLES``.
    subspace : Subspace
        What is moved, at each of its sites; its variable must be the cause.
    scales : sequence of float
        0: not at all; 1: all the way.
    n, seconds, seed : int, float, int
        Pairs of prompts; length of the songs.

    Returns
    -------
    pd.DataFrame
        What is heard (``HEARD``), one row a scale and pair, with columns scale and pair.
    """
    n = check.count("n", n)
    scales = check.array("scales", np.asarray(list(scales), float), ("scale",))
    table = prompts.pairs(cause, n, seed)
    if subspace.variable != cause:
        raise ValueError(f"The subspace carries {subspace.variable!r}, not {cause!r}.")
    each = np.repeat(scales, n)
    seeds = check.seeds(seed, n) * len(scales)
    beside = list(table["high"]) * len(scales)
    moved = [Edit(site, interchange=subspace.basis, scale=each) for site in subspace.sites]
    with activations.edit(model, *moved):
        songs = model.generate(
            list(table["low"]) * len(scales), seconds, seeds, beside=beside, progress=False
        )
    return hear(songs).assign(scale=each, pair=np.tile(np.arange(n), len(scales)))
