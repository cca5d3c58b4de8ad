"""Which variables cause which, from interventions alone.

A cue is set by the prompt, and the other cues are heard in what the model sings; or a cue is set in
the music itself, everything else held, and the model is asked what emotion it hears
(``perception``). Valence and arousal are perceptions: nothing here lets them cause cues.
"""

import numpy as np
import pandas as pd
import scipy.stats

from ... import check, prompts, stats
from ...musicgen.model import Model
from ...organism import world
from . import mediation, perception

CUES = ("tempo", "energy", "mode")
AXES = perception.AXES
#: Weaker effects are no edges, found or true: of what the cause itself changed, or of the strongest
#: effect on the axis.
LEAST = 0.1


def true_edges(name: str) -> dict[tuple[str, str], float]:
    """A world's weights among tempo, energy, mode, valence and arousal.

    The cues that energy sets are summed out.

    Parameters
    ----------
    name : str
        A key of ``world.WORLDS``.
    """
    settings = world.WORLDS[check.choice("name", name, world.WORLDS)]
    weights = {("tempo", "energy"): settings.tempo_to_energy}
    for axis in AXES:
        weights["tempo", axis] = world.EDGES["tempo"].get(axis, 0.0)
        weights["mode", axis] = world.EDGES["mode"].get(axis, 0.0)
        weights["energy", axis] = sum(
            weight * world.EDGES[cue].get(axis, 0.0)
            for cue, weight in world.EDGES["energy"].items()
        )
    return weights


def recover(
    model: Model, n: int = 24, pieces: int = 24, seconds: float = 3.0, seed: int = 0
) -> pd.DataFrame:
    """Every candidate edge with its evidence.

    Parameters
    ----------
    model : Model
    n, pieces : int
        Pairs of prompts for each cue; pieces of music whose cues are set.
    seconds, seed : float, int

    Returns
    -------
    pd.DataFrame
        One row a candidate: cause, effect, how ("sung" or "heard"), size (stats.Estimate: change of
        the effect for one unit of what the prompt changed in the cause; for perceptions, relative
        to the strongest cue on that axis), p (t-test over pairs or pieces, Holm-corrected over all
        candidates) and edge (p < 0.05 and at least ``LEAST``).
    """
    n = check.count("n", n, 2)
    rows = []
    for cause in CUES:
        rows += _sung(model, cause, n, seconds, seed)
    rows += _perceived(model, pieces, seconds, seed)
    found = pd.DataFrame(rows, columns=["cause", "effect", "how", "values"])
    found["size"] = found["values"].map(stats.mean)
    found["p"] = stats.correct([scipy.stats.ttest_1samp(v, 0).pvalue for v in found["values"]])
    large = found["size"].map(lambda estimate: abs(estimate.value)) >= LEAST
    found["edge"] = (found["p"] < 0.05) & large
    return found.drop(columns="values")


def _sung(model, cause, n, seconds, seed):
    """Edges from a cue to the others: songs for both of its ends, heard."""
    table = prompts.pairs(cause, n, seed)
    measures = {}
    for end in ("high", "low"):
        songs = model.generate(list(table[end]), seconds, seed, keep=True, progress=False)
        measures[end] = mediation.hear(songs)
    change = measures["high"] - measures["low"]
    unit = max(abs(change[cause].mean()), 1e-9)
    others = [cue for cue in CUES if cue != cause]
    return [(cause, effect, "sung", change[effect].to_numpy() / unit) for effect in others]


def _perceived(model, pieces, seconds, seed):
    """Edges from the cues to valence and arousal: music whose cues are set, judged by the model."""
    rows = []
    effects = perception.effects(model, pieces, seconds=seconds, seed=seed, cues=CUES)
    for axis in AXES:
        part = effects[effects["axis"] == axis]
        unit = max(part["effect"].map(lambda estimate: abs(estimate.value)).max(), 1e-9)
        rows += [(row.cue, axis, "heard", row.slopes / unit) for row in part.itertuples()]
    return rows


def compare(found: pd.DataFrame, name: str) -> tuple[float, float, pd.DataFrame]:
    """Found edges against those of a world.

    Parameters
    ----------
    found : pd.DataFrame
        From :func:`recover`.
    name : str
        A key of ``world.WORLDS``.

    Returns
    -------
    tuple of float, float, pd.DataFrame
        Precision (nan where no edge was found), recall (nan where there is none to find), and the
        table with the true weights beside the found ones.
    """
    weights = true_edges(name)
    if world.WORLDS[name].captions == "shuffled":  # nothing that text could have caused
        weights = {}
    pairs = zip(found["cause"], found["effect"], strict=True)
    truth = np.array([weights.get(pair, 0.0) for pair in pairs])
    there = np.abs(truth) >= LEAST
    edge = found["edge"].to_numpy()
    right = (edge & there).sum()
    precision = right / edge.sum() if edge.any() else np.nan
    recall = right / there.sum() if there.any() else np.nan
    return float(precision), float(recall), found.assign(true=truth)
