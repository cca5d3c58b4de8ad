"""Which variables cause which, from interventions alone.

A cue is set by the prompt, and the other cues are heard in what the model sings; or a cue is set in the music itself,
everything else held, and the model is asked what emotion it hears (``perception``). Valence and arousal are perceptions:
nothing here lets them cause cues.
"""

import numpy as np
import pandas as pd
import scipy.stats

from lib import prompts, stats
from lib.causal import mediation, perception
from lib.model import Model
from lib.organism import world

CUES, AXES = ("tempo", "energy", "mode"), ("valence", "arousal")
#: Weaker effects are no edges, found or true: of what the cause itself changed, or of the strongest effect on the axis.
LEAST = 0.1


def true_edges(name: str) -> dict[tuple[str, str], float]:
    """The world's weights among tempo, energy, mode, valence and arousal, with the cues that energy sets summed out."""
    weights = {("tempo", "energy"): world.WORLDS[world.check(name)]["tempo_to_energy"]}
    for axis in AXES:
        weights["tempo", axis] = world.EDGES["tempo"].get(axis, 0.0)
        weights["mode", axis] = world.EDGES["mode"].get(axis, 0.0)
        weights["energy", axis] = sum(w * world.EDGES[c].get(axis, 0.0) for c, w in world.EDGES["energy"].items())
    return weights


def recover(model: Model, n: int = 24, pieces: int = 24, seconds: float = 3.0, seed: int = 0) -> pd.DataFrame:
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
        One row a candidate: cause, effect, how ("sung" or "heard"), size (stats.Estimate: change of the effect for one unit of what the prompt
        changed in the cause; for perceptions, relative to the strongest cue on that axis), p (t-test over pairs or pieces, Holm-corrected over all
        candidates) and edge (p < 0.05 and at least ``LEAST``).
    """
    rows = []
    for cause in CUES:
        table = prompts.pairs(cause, n, seed)
        high, low = (
            mediation.hear(model.generate(list(table[end]), seconds, seed, keep=True, progress=False))
            for end in ("high", "low")
        )
        change = high - low
        unit = max(abs(change[cause].mean()), 1e-9)
        for effect in CUES:
            if effect != cause:
                rows.append((cause, effect, "sung", change[effect].to_numpy() / unit))
    heard = perception.effects(model, pieces, seconds=seconds, seed=seed, cues=CUES)
    for axis in AXES:
        part = heard[heard["axis"] == axis]
        unit = max(part["effect"].map(lambda e: abs(e.value)).max(), 1e-9)
        rows += [(r.cue, axis, "heard", r.slopes / unit) for r in part.itertuples()]
    found = pd.DataFrame(rows, columns=["cause", "effect", "how", "values"])
    found["size"] = found["values"].map(stats.mean)
    found["p"] = stats.correct([scipy.stats.ttest_1samp(v, 0).pvalue for v in found["values"]])
    found["edge"] = (found["p"] < 0.05) & (found["size"].map(lambda e: abs(e.value)) >= LEAST)
    return found.drop(columns="values")


def compare(found: pd.DataFrame, name: str) -> tuple[float, float, pd.DataFrame]:
    """Precision and recall of found edges against a world's, and the table with the true weights beside them.

    Precision is nan where no edge was found, recall where there is none to find.
    """
    weights = {k: w for k, w in true_edges(name).items() if name != "organism-shuffled"}
    truth = [weights.get(pair, 0.0) for pair in zip(found["cause"], found["effect"], strict=True)]
    there, edge = np.abs(truth) >= LEAST, found["edge"].to_numpy()
    precision = (edge & there).sum() / edge.sum() if edge.any() else np.nan
    recall = (edge & there).sum() / there.sum() if there.any() else np.nan
    return float(precision), float(recall), found.assign(true=truth)
