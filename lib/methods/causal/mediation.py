"""Through what does a cause act? Effects that pass through a mediator, and effects that do not.

Fast music arouses. Is that because it is fast, or because fast music is also played louder and
denser, with more energy? The two ways can be told apart by holding one of them.

Prompts set the cause, and the model sings. The mediator's subspace (``causal.locate``) is then held
where the other prompt would put it, while the model sings again::

    total      songs for fast prompts, minus songs for slow ones
    direct     the same, with energy held where slow prompts would put it
    mediated   songs for slow prompts with energy alone where fast ones would put it, minus slow

These are natural direct and indirect effects (Pearl 2001; in language models: Vig et al. 2020).
Where the other prompt puts the mediator is read step by step over the song as it comes out (an
interchange intervention), so that only what the text does is held, and not another song. Every song
of a pair has the same seed.

**Units.** Effects are in standard deviations of the outcome in the world's music.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from sklearn.linear_model import RidgeCV
from statsmodels.stats.mediation import Mediation

from ... import check, prompts, stats
from ...hearing import listeners
from ...musicgen import activations
from ...musicgen.activations import Edit
from ...musicgen.model import Clips, Model
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
#: Rendered clips from which it is learned how energy sounds, and their seed.
ENERGY_CLIPS = listeners.TRAINING_CLIPS // 3
ENERGY_SEED = 955
#: Strengths of its ridge.
ALPHAS = np.logspace(-2, 3, 11)


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
        "low", "high", "direct" (high, mediator held low), "mediated" (low, mediator held high) ->
        Clips.
    heard : pd.DataFrame
        What is heard in each song: columns song, pair and the variables of ``HEARD``.
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
    outcome: str = "arousal",
    *,
    subspaces: list[Subspace],
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
    subspaces : list of Subspace
        Where the mediator is held: one, or one for each of several sites.
    n, seconds, seed : int, float, int
        Pairs of prompts; length of the songs.

    Raises
    ------
    ValueError
        Unknown variables, no subspace, subspaces of another variable or width; before anything is
        sung.
    """
    n = check.count("n", n, 2)
    table = prompts.pairs(cause, n, seed)
    check.choice("outcome", outcome, HEARD)
    subspaces = list(subspaces)
    if not subspaces:
        raise ValueError(f"subspaces is empty: locate {mediator!r} first (causal.locate).")
    for subspace in subspaces:
        _check_subspace(model, subspace, mediator)

    how = {"seconds": seconds, "seed": seed, "progress": False}
    songs = {end: model.generate(list(table[end]), **how) for end in ("low", "high")}
    with activations.edit(model, *(Edit(s.site, interchange=s.basis) for s in subspaces)):
        for name, end, other in (("direct", "high", "low"), ("mediated", "low", "high")):
            songs[name] = model.generate(list(table[end]), beside=list(table[other]), **how)
    measures = [hear(clips).assign(song=name, pair=range(n)) for name, clips in songs.items()]
    return effects_on(pd.concat(measures, ignore_index=True), outcome, songs)


def _check_subspace(model, subspace, mediator):
    width = activations.select(model, subspace.site)[0].width
    shape = np.shape(subspace.basis)
    if subspace.variable != mediator or shape[-1] != width:
        raise ValueError(
            f"Expected subspaces of {mediator!r} with {width} dimensions. "
            f"Got {subspace.variable!r} of {shape}."
        )


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
    values = _by_song(measures, outcome)
    total, direct, mediated = (
        stats.mean(values[name] - values["low"]) for name in ("high", "direct", "mediated")
    )
    share = np.nan if total.holds(0) else mediated.value / total.value
    return Effects(total, direct, mediated, share, songs or {}, measures)


def beyond(effects: Effects, control: Effects, outcome: str) -> stats.Estimate:
    """How much more one subspace mediates than another does, over the same pairs of prompts."""
    mediated = []
    for some in (effects, control):
        values = _by_song(some.heard, outcome)
        mediated.append(values["mediated"] - values["low"])
    return stats.mean(mediated[0] - mediated[1])


def _by_song(measures, outcome):
    """An outcome's values, pair by pair: song -> array [pair]."""
    return {song: part[outcome].to_numpy() for song, part in measures.groupby("song")}


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
        What is moved; its variable must be the cause.
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
    with activations.edit(model, Edit(subspace.site, interchange=subspace.basis, scale=each)):
        songs = model.generate(
            list(table["low"]) * len(scales), seconds, seeds, beside=beside, progress=False
        )
    return hear(songs).assign(scale=each, pair=np.tile(np.arange(n), len(scales)))


def heard_path(
    heard: pd.DataFrame,
    mediator: str = "energy",
    outcome: str = "arousal",
    n_rep: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """The same split from what is heard alone, without a look inside.

    Low and high songs, with the mediator as it came out in each (Imai, Keele and Tingley 2010, by
    statsmodels).

    Parameters
    ----------
    heard : pd.DataFrame
        ``Effects.heard``.
    mediator, outcome : str
        Columns.
    n_rep, seed : int
        Simulations.

    Returns
    -------
    pd.DataFrame
        Rows "Total effect", "ACME (average)" (mediated), "ADE (average)" (direct) and
        "Prop. mediated (average)"; columns estimate, low, high, p.
    """
    ends = heard[heard["song"].isin(["low", "high"])]
    table = ends.assign(cause=(ends["song"] == "high").astype(float))
    outcome_model = sm.OLS.from_formula(f"{outcome} ~ cause + {mediator}", table)
    mediator_model = sm.OLS.from_formula(f"{mediator} ~ cause", table)
    analysis = Mediation(outcome_model, mediator_model, "cause", mediator)
    found = analysis.fit(n_rep=check.count("n_rep", n_rep), rng=seed).summary()
    found.columns = ["estimate", "low", "high", "p"]
    rows = ["Total effect", "ACME (average)", "ADE (average)", "Prop. mediated (average)"]
    return found.loc[rows]
