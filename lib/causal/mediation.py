"""Through what does a cause act? Effects that pass through a mediator and effects that do not.

Prompts set the cause, and the model sings. The mediator's subspace (``causal.locate``) is then held where the other prompt
would put it, while the model sings again: what remains of the effect is direct, what the mediator alone brings about is
mediated (natural direct and indirect effects: Pearl 2001; in language models: Vig et al. 2020). Where the other prompt
puts it is read step by step over the song as it comes out (an interchange intervention), so that only what the text does is
held, and not another song. Every song of a pair has the same seed.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from sklearn.linear_model import RidgeCV
from statsmodels.stats.mediation import Mediation

from lib import activations, listeners, prompts, stats
from lib.activations import Edit
from lib.causal.variables import Subspace
from lib.model import Clips, Model

#: What is heard in a clip, in standard deviations of the world's music.
HEARD = ("tempo", "energy", "mode", "dynamics", "staccato", "register", "brightness", "valence", "arousal")
READERS_CLIPS, READERS_SEED = listeners.TRAINING_CLIPS // 3, 955


class Effects(NamedTuple):
    """Effects of a cause on an outcome, in standard deviations of the outcome in the world's music.

    Attributes
    ----------
    total, direct, mediated : stats.Estimate
        The whole effect, that with the mediator held, and that of the mediator alone; intervals resample pairs.
    share : float
        mediated / total; nan where the total's interval holds 0.
    songs : dict
        "low", "high", "direct" (high, mediator held low), "mediated" (low, mediator held high) -> Clips.
    heard : pd.DataFrame
        What is heard in each song: columns song and the variables.
    """

    total: stats.Estimate
    direct: stats.Estimate
    mediated: stats.Estimate
    share: float
    songs: dict[str, Clips]
    heard: pd.DataFrame


@cache
def _energy_reader():
    """Energy is heard through its cues, and their measures depend on tempo as well (onsets a second, gaps between notes).
    A regression on all cues, learned where energy and tempo are independent, takes that out."""
    measured, table = listeners.corpus_features(READERS_CLIPS, READERS_SEED, "organism-decoupled")
    profile = listeners.get("cues").profile(measured)
    return RidgeCV(np.logspace(-2, 3, 11)).fit(profile, table["energy"])


def hear(clips: Clips, listener: str = "cues") -> pd.DataFrame:
    """What is heard in clips: the columns of ``HEARD``, one row a clip."""
    measured = listeners.features(clips.audio, clips.sample_rate)
    profile = listeners.get("cues").profile(measured)
    emotion = listeners.get(listener).hear(measured)[["valence", "arousal"]]
    energy = pd.Series(_energy_reader().predict(profile), profile.index, name="energy")
    return pd.concat([profile, energy, emotion], axis=1)[list(HEARD)]


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
    """Effect of a cause on an outcome, split by whether it passes through a mediator inside the model.

    Parameters
    ----------
    model : Model
    cause : str
        A key of ``prompts.POLES``: what the prompts set.
    mediator : str
        What ``subspaces`` carry.
    outcome : str
        What is heard (``hear``).
    subspaces : list of Subspace
        Where the mediator is held: one, or one for each of several sites.
    n, seconds, seed : int, float, int
        Pairs of prompts; length of the songs.

    Raises
    ------
    ValueError
        Unknown variables, no subspace, subspaces of another variable or width; before anything is sung.
    """
    table = prompts.pairs(cause, n, seed)
    if outcome not in HEARD:
        raise ValueError(f"outcome must be one of {HEARD}. Got {outcome!r}.")
    if not subspaces:
        raise ValueError(f"subspaces is empty: locate {mediator!r} first (causal.locate).")
    for s in subspaces:
        width = activations.select(model, s.site)[0].width
        if s.variable != mediator or np.shape(s.basis)[-1] != width:
            raise ValueError(
                f"Expected subspaces of {mediator!r} with {width} dimensions. Got {s.variable!r} of {np.shape(s.basis)}."
            )

    told = {"seconds": seconds, "seed": seed, "progress": False}
    songs = {end: model.generate(list(table[end]), **told) for end in ("low", "high")}
    with activations.edit(model, *(Edit(s.site, interchange=s.basis) for s in subspaces)):
        for name, end, other in (("direct", "high", "low"), ("mediated", "low", "high")):
            songs[name] = model.generate(list(table[end]), beside=list(table[other]), **told)
    heard = pd.concat(
        [hear(clips).assign(song=name, pair=range(n)) for name, clips in songs.items()], ignore_index=True
    )
    return of(heard, outcome, songs)


def of(heard: pd.DataFrame, outcome: str, songs: dict | None = None) -> Effects:
    """Effects on another outcome of the same songs (``Effects.heard``)."""
    y = {name: part[outcome].to_numpy() for name, part in heard.groupby("song")}
    total, direct, mediated = (stats.mean(y[name] - y["low"]) for name in ("high", "direct", "mediated"))
    share = np.nan if total.holds(0) else mediated.value / total.value
    return Effects(total, direct, mediated, share, songs or {}, heard)


def beyond(effects: Effects, control: Effects, outcome: str) -> stats.Estimate:
    """How much more one subspace mediates than another does, over the same songs."""
    mediated = []
    for heard in (effects.heard, control.heard):
        y = {name: part[outcome].to_numpy() for name, part in heard.groupby("song")}
        mediated.append(y["mediated"] - y["low"])
    return stats.mean(mediated[0] - mediated[1])


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
    """Set a cause inside the model, by degrees: songs for its low prompts, with its subspace moved towards where the high
    prompts would put it.

    Parameters
    ----------
    cause : str
        A key of ``prompts.POLES``.
    subspace : Subspace
        What is moved; its variable must be the cause.
    scales : sequence of float
        0: not at all; 1: all the way.

    Returns
    -------
    pd.DataFrame
        What is heard (``HEARD``), one row a scale and pair, with columns scale and pair.
    """
    table = prompts.pairs(cause, n, seed)
    if subspace.variable != cause:
        raise ValueError(f"The subspace carries {subspace.variable!r}, not {cause!r}.")
    k, every = len(scales), np.repeat(np.asarray(scales, float), n)
    with activations.edit(model, Edit(subspace.site, interchange=subspace.basis, scale=every)):
        told = {"beside": [*table["high"]] * k, "progress": False}
        songs = model.generate([*table["low"]] * k, seconds, [*range(seed, seed + n)] * k, **told)
    return hear(songs).assign(scale=every, pair=np.tile(np.arange(n), len(scales)))


def heard_path(
    heard: pd.DataFrame, mediator: str = "energy", outcome: str = "arousal", n_rep: int = 200, seed: int = 0
):
    """The same split from what is heard alone (Imai, Keele and Tingley 2010, by statsmodels): low and high songs, with the
    mediator as it came out in each.

    Returns
    -------
    pd.DataFrame
        Rows "Total effect", "ACME (average)", "ADE (average)", "Prop. mediated (average)"; columns estimate, low, high, p.
    """
    table = heard[heard["song"].isin(["low", "high"])].assign(cause=lambda t: (t["song"] == "high").astype(float))
    outcome_model = sm.OLS.from_formula(f"{outcome} ~ cause + {mediator}", table)
    mediator_model = sm.OLS.from_formula(f"{mediator} ~ cause", table)
    np.random.seed(seed)  # statsmodels draws from the global generator
    found = Mediation(outcome_model, mediator_model, "cause", mediator).fit(n_rep=n_rep).summary()
    found.columns = ["estimate", "low", "high", "p"]
    return found.loc[["Total effect", "ACME (average)", "ADE (average)", "Prop. mediated (average)"]]
