"""Which variables cause which, from interventions alone.

A cue is set by the prompt, and the other cues are heard in what the model sings; or a cue is set in
the music itself, everything else held, and the model is asked what emotion it hears. Valence and
arousal are perceptions: nothing here lets them cause cues.

**One rule for every model.** An edge is there if p < 0.05 (t-test over pairs of words or pieces of
music, after Holm's correction over all candidates) and its size is at least :data:`LEAST`. Sizes
have the unit of the world's own weights, whatever the model: standard deviations of the effect for
one of the cause, and units of the plane of valence and arousal for one standard deviation of the
cue. So a model that does or hears nothing has no edge, and one that does has.

**Words are the unit.** Prompts that share their words tell of these words alone, so they are
averaged first. Of fewer than :data:`UNITS` units nothing is tested: mode has two words an end, so
that what it does to the songs' tempo and energy is measured, but is never an edge.

**What is heard.** By Bayes' rule, with every emotion as likely beforehand, a model's likelihoods of
a piece under words of each emotion (``perception.judge``) give the emotions' probabilities, and
these the place on the plane that is expected of the piece.

**What no model of clips can know.** Tempo -> energy and energy -> tempo make the same music: both
fit everything that was ever heard.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.special
import scipy.stats

from ... import check, prompts, stats
from ...musicgen.model import Model
from ...organism import captions, music, world
from . import mediation, perception

CUES = ("tempo", "energy", "mode")
AXES = perception.AXES
#: Weaker effects are no edges, found or true.
LEAST = 0.1
#: A prompt that moves its own cue by less (in standard deviations) counts as if it moved it so far:
#: effects of nothing are not divided by nothing.
MOVED = 0.5
#: Fewest units that are tested.
UNITS = 3
#: To what a cue is set in music, in standard deviations. Mode has but two levels.
LEVELS = (-1.2, 1.2)
#: Words for each emotion that the model is asked about.
WORDS = 4


class Recovery(NamedTuple):
    """Found edges against a world's.

    An edge of the wrong sign is not the true one. Candidates that were not tested are left out of
    every number.

    Attributes
    ----------
    precision : float
        Share of the edges found that are true; nan where none was found.
    recall : float
        Share of the true edges that were found; nan where there is none to find.
    right : float
        Share of the candidates that are classified rightly, as an edge of this sign or as none.
    chance : float
        The same, on average, if as many edges are dealt at random over the candidates, each with
        the sign that was found there.
    p : float
        How often that is as good as what was found (exact; 1 where nothing can be told, as there is
        no edge to find, or none was found).
    table : pd.DataFrame
        What was found, with the true weights.
    """

    precision: float
    recall: float
    right: float
    chance: float
    p: float
    table: pd.DataFrame


def true_edges(name: str) -> dict[tuple[str, str], float]:
    """A world's weights among tempo, energy, mode, valence and arousal, as far as captions could
    teach them.

    The cues that energy sets are summed out. In ``organism-shuffled`` words mean nothing, so no
    edge can be learned from them. In ``organism-habit`` nobody hears an emotion, but each of an
    emotion's words goes with a cue: what is heard through them is how a cue's share of these words
    grows along the axis.

    Parameters
    ----------
    name : str
        A key of ``world.WORLDS``.

    Returns
    -------
    dict
        (cause, effect) -> weight; pairs that are not in it have none.
    """
    settings = world.WORLDS[check.choice("name", name, world.WORLDS)]
    if settings.captions == "shuffled":
        return {}
    by_cue = _habits() if settings.words == "habit" else _weights()
    weights = {("tempo", "energy"): settings.tempo_to_energy}
    for axis in AXES:
        for cue in ("tempo", "mode"):
            weights[cue, axis] = by_cue.loc[cue, axis]
        weights["energy", axis] = sum(
            weight * by_cue.loc[cue, axis] for cue, weight in world.EDGES["energy"].items()
        )
    return weights


def _weights():
    """The world's weights on both axes, one row a cue."""
    rows = {cue: [world.EDGES[cue].get(axis, 0.0) for axis in AXES] for cue in world.CUES}
    return pd.DataFrame(rows, index=AXES).T


def _habits():
    """How the habits of emotion words change along both axes (least squares), one row a cue."""
    words = [
        (emotion, *captions.HABITS[word])
        for emotion in world.EMOTIONS
        for word in captions.EMOTION_WORDS[emotion][:WORDS]
    ]
    cues = list(world.CUES)
    follows = np.zeros((len(words), len(cues)))
    for row, (_, cue, end) in enumerate(words):
        follows[row, cues.index(cue)] = 1.0 if end == "high" else -1.0
    places = np.array([world.EMOTIONS[emotion] for emotion, _, _ in words])
    design = np.column_stack([np.ones(len(words)), places])
    slopes = np.linalg.lstsq(design, follows, rcond=None)[0][1:]
    return pd.DataFrame(slopes.T, index=cues, columns=list(AXES))


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
        One row a candidate: cause, effect, how ("sung" or "heard"), size (stats.Estimate), p
        (Holm-corrected over all candidates; nan where nothing is tested) and edge.
    """
    n = check.count("n", n, 2)
    pieces = check.count("pieces", pieces, 2)
    rows = []
    for cause in CUES:
        rows += _sung(model, cause, n, seconds, seed)
    for cause in CUES:
        rows += _heard(model, cause, pieces, seconds, seed)
    return decided(pd.DataFrame(rows, columns=["cause", "effect", "how", "values"]))


def decided(candidates: pd.DataFrame) -> pd.DataFrame:
    """The rule: which candidates are edges.

    Parameters
    ----------
    candidates : pd.DataFrame
        Columns cause, effect, how, and values (array [unit] each).

    Returns
    -------
    pd.DataFrame
        As from :func:`recover`.
    """
    found = candidates.assign(size=candidates["values"].map(stats.mean))
    found["p"] = stats.correct([_p(values) for values in found["values"]])
    large = found["size"].map(lambda estimate: abs(estimate.value)) >= LEAST
    found["edge"] = (found["p"] < 0.05) & large
    return found.drop(columns="values")


def _p(values):
    """Of no effect; where nothing varies, as the value says; nan of too few units."""
    if len(values) < UNITS:
        return np.nan
    if np.std(values) == 0:
        return 1.0 if np.mean(values) == 0 else 0.0
    return scipy.stats.ttest_1samp(values, 0).pvalue


def _sung(model, cause, n, seconds, seed):
    """Edges from a cue to the others: songs for both of its ends, heard; one unit a pair of words."""
    table = prompts.pairs(cause, n, seed)
    measures = {}
    for end in ("high", "low"):
        songs = model.generate(list(table[end]), seconds, seed, keep=True, progress=False)
        measures[end] = mediation.hear(songs)
    change = measures["high"] - measures["low"]
    change = change.groupby([table["word_high"], table["word_low"]], sort=False).mean()
    unit = max(change[cause].mean(), MOVED)
    others = [cue for cue in CUES if cue != cause]
    return [(cause, effect, "sung", change[effect].to_numpy() / unit) for effect in others]


def _heard(model, cause, pieces, seconds, seed):
    """Edges from a cue to valence and arousal: pieces of music in which it is set."""
    low, high = perception.MODES if cause == "mode" else LEVELS
    ends = [perception.varied({cause: level}, pieces, seed, seconds) for level in (low, high)]
    tokens = model.encode(np.concatenate(ends), music.SAMPLE_RATE)
    places = expected_places(perception.judge(model, tokens, WORDS), tokens[0].size)
    slopes = (places[pieces:] - places[:pieces]) / (high - low)
    return [(cause, axis, "heard", slopes[:, k]) for k, axis in enumerate(AXES)]


def expected_places(judged: pd.DataFrame, tokens: int) -> np.ndarray:
    """Where on the plane pieces of music are expected to lie, by Bayes' rule.

    Parameters
    ----------
    judged : pd.DataFrame
        From ``perception.judge``: log-likelihoods under each emotion, millinats a token.
    tokens : int
        Of each piece.

    Returns
    -------
    np.ndarray [shape=(piece, 2)]
        Valence and arousal.
    """
    tokens = check.count("tokens", tokens)
    likelihoods = judged[list(world.EMOTIONS)].to_numpy() / 1000 * tokens
    return scipy.special.softmax(likelihoods, 1) @ np.array(list(world.EMOTIONS.values()))


def compare(found: pd.DataFrame, name: str) -> Recovery:
    """Found edges against those of a world.

    Parameters
    ----------
    found : pd.DataFrame
        From :func:`recover`.
    name : str
        A key of ``world.WORLDS``.
    """
    weights = true_edges(name)
    pairs = zip(found["cause"], found["effect"], strict=True)
    table = found.assign(true=[weights.get(pair, 0.0) for pair in pairs])
    tested = table[table["p"].notna()]
    truth = tested["true"].to_numpy(float)
    there = np.abs(truth) >= LEAST
    sizes = np.array([estimate.value for estimate in tested["size"]])
    agrees = there & (np.sign(sizes) == np.sign(truth))
    edge = tested["edge"].to_numpy(bool)
    n, found_edges, true = len(tested), int(edge.sum()), int(there.sum())
    hits = int((edge & agrees).sum())
    none = int((~edge & ~there).sum())
    # edges dealt at random: each candidate keeps its sign, so these can be hit
    within_reach = int(agrees.sum())
    by_chance = found_edges * within_reach + (n - found_edges) * (n - true)
    return Recovery(
        precision=hits / found_edges if found_edges else np.nan,
        recall=hits / true if true else np.nan,
        right=(hits + none) / n if n else np.nan,
        chance=by_chance / n**2 if n else np.nan,
        p=float(scipy.stats.hypergeom.sf(hits - 1, n, within_reach, found_edges)) if n else 1.0,
        table=table,
    )
