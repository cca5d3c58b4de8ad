"""Is a feature's label right? Three scores of the field, without a language model in them.

Paulo et al. 2024 (*Delphi*) let a language model read a label and answer questions about unseen
texts. Here a label is a question about clips whose answer is known ("tempo high"), or a measure of
what sounds in a frame, so the answers are exact:

- **detection** (:func:`detection`): does the label tell clips in which the feature is active from
  clips in which it is silent? It asks from the feature's side. ``features.name`` asks from the
  label's side, where a feature that is active in few of the clips it should be in has a low score
  however right its label is.
- **fuzzing** (:func:`fuzzing`): does what sounds in a frame tell the frames in which the feature is
  active from other frames *of the same clip*? A cue of the whole clip cannot.
- **intruder** (:func:`intruder`): of some clips all but one excite the feature. A judge that knows
  neither label nor feature, and sees measures of the sound alone, looks for the odd one. A *hard*
  intruder has the same level of the labelled cue as the others, so that the label does not help.

All choices (of labels, of measures) are made on some clips and judged on others. Nulls are a random
basis that is kept as sparse, and labels of other clips.

References
----------
Paulo, Mallen, Juang and Belrose 2024, Automatically interpreting millions of features in large
language models. Chang et al. 2009, Reading tea leaves (intruders).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ... import check, stats
from .. import features

#: Clips that must excite a feature, and clips in which it must be silent, for it to have a score.
LEAST = 8
#: A dense feature is active in the clips of its upper third, silent in those of its lower third.
THIRDS = (1 / 3, 2 / 3)
#: Of the nearest silent clips, one is drawn as a hard intruder.
NEAREST = 3
#: Added to variances of measures (in squared standard deviations) by the judge of intruders.
CAUTION = 0.1


def excited(activity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which clips every feature is active, and in which it is silent.

    A feature that is silent in many clips is active in all others, or in the third with the most of
    it (more where clips have equally much); a feature that is never silent counts as silent in the third with the least of it.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
        Never negative.

    Returns
    -------
    active, silent : np.ndarray of bool [shape=(clip, feature)]
    """
    activity = check.array("activity", activity, ("clip", "feature"))
    if activity.min() < 0:
        raise ValueError(
            "activity must not be negative: of a basis, take the code that sae.codes makes of it."
        )
    low, high = np.quantile(activity, THIRDS, axis=0)
    active = (activity > 0) & (activity >= high)
    return active, (activity <= low) & ~active


def average(scores, learned=None, count: int | None = None) -> stats.Estimate:
    """Mean of a score over the features that have one, with an interval over features.

    Parameters
    ----------
    scores : array_like [shape=(feature,)]
        NaN where a feature has none.
    learned : array_like [shape=(feature,)], optional
        What the features with the most of are taken, so that the choice is not made on ``scores``.
    count : int, optional
        How many of these.

    Returns
    -------
    stats.Estimate
        NaN if fewer than two features have a score.
    """
    scores = np.asarray(scores, float)
    if learned is not None:
        order = np.argsort(-np.nan_to_num(np.asarray(learned, float), nan=-np.inf))
        scores = scores[order[:count]]
    known = scores[~np.isnan(scores)]
    return (
        stats.mean(known) if len(known) > 1 else stats.Estimate(np.nan, np.nan, np.nan, len(known))
    )


# ---------------------------------------------------------------------------------------- detection
def detection(activity: np.ndarray, labels: pd.DataFrame, train) -> pd.DataFrame:
    """A label for every feature from the training clips, and how well it tells, on the others,
    clips that excite the feature from clips that do not.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
        Never negative; from ``sae.codes.code``.
    labels : pd.DataFrame
        One row a clip; the questions are those of ``features.targets``.
    train : np.ndarray of bool [shape=(clip,)], or any selector of clips

    Returns
    -------
    pd.DataFrame
        One row a feature: label (``features.opposite`` says it where the feature falls silent),
        question, rises (whether it is active where the answer is yes), learned and held_out:
        balanced accuracy of the label as a judge, which for a judge that says yes or no is its area
        under the ROC curve. NaN where it excites fewer than :data:`LEAST` of the clips that count,
        or is silent in fewer.

    Raises
    ------
    ValueError
        Negative activity, labels of other clips, nothing to ask.
    """
    check.same_length(activity=activity, labels=labels)
    train = check.selector("train", train, len(labels))
    questions = features.targets(labels)
    inside = _told(activity[train], questions, train)
    outside = _told(activity[~train], questions, ~train)
    rows = np.arange(activity.shape[1])
    distance = np.abs(np.where(np.isnan(inside), 0.5, inside) - 0.5)
    best = distance.argmax(1)
    rises = ~(inside[rows, best] < 0.5)
    names = list(questions)
    asked = [names[i] for i in best]
    labelled = [
        name if up else features.opposite(name) for name, up in zip(asked, rises, strict=True)
    ]
    turned = [np.where(rises, x, 1 - x) for x in (inside[rows, best], outside[rows, best])]
    return pd.DataFrame(
        {
            "label": labelled,
            "question": asked,
            "rises": rises,
            "learned": turned[0],
            "held_out": turned[1],
        }
    ).rename_axis("feature")


def _told(activity, questions, which):
    """Balanced accuracy of every question for every feature, [feature, question]."""
    active, silent = excited(activity)
    found = []
    for positive, counts in questions.values():
        counted = counts[which]
        yes = positive[which] & counted
        sizes = [some[counted].sum(0) for some in (active, silent)]
        shares = [
            some[yes].sum(0) / np.maximum(n, 1)
            for some, n in zip((active, silent), sizes, strict=True)
        ]
        few = np.minimum(*sizes) < LEAST
        found.append(np.where(few, np.nan, (1 + shares[0] - shares[1]) / 2))
    return np.stack(found, 1)


# ------------------------------------------------------------------------------------------ fuzzing
def fuzzing(codes: np.ndarray, measures: np.ndarray, names, train) -> pd.DataFrame:
    """How well what sounds in a frame tells whether a feature is active there, against frames of
    the same clip in which it is silent.

    Parameters
    ----------
    codes : np.ndarray [shape=(clip, frame, feature)]
        From ``sae.codes.frames``.
    measures : np.ndarray [shape=(clip, frame, measure)]
        From ``hearing.moments``, say.
    names : list of str
        Of the measures.
    train : selector of clips
        On these, each feature's measure (and its sign) is chosen; on the others it is judged.

    Returns
    -------
    pd.DataFrame
        One row a feature: measure, sign, learned, held_out (area under the ROC curve within a clip,
        mean over clips) and clips (how many of the held-out have frames of both kinds); NaN where
        fewer than :data:`LEAST` have.

    Raises
    ------
    ValueError
        Arrays that do not match.
    """
    codes = check.array("codes", codes, ("clip", "frame", "feature"))
    shape = (*codes.shape[:2], "measure")
    measures = check.array("measures", measures, shape)
    names = check.texts("names", names, measures.shape[-1])
    train = check.selector("train", train, len(codes))
    areas = _within_clips(codes > 0, measures)
    inside, _ = _mean_area(areas[train])
    outside, count = _mean_area(areas[~train])
    rows = np.arange(codes.shape[-1])
    best = np.abs(np.where(np.isnan(inside), 0.5, inside) - 0.5).argmax(1)
    sign = np.where(inside[rows, best] < 0.5, -1, 1)
    learned, held_out = (0.5 + sign * (x[rows, best] - 0.5) for x in (inside, outside))
    return pd.DataFrame(
        {
            "measure": [names[i] for i in best],
            "sign": sign,
            "learned": learned,
            "held_out": held_out,
            "clips": count,
        }
    ).rename_axis("feature")


def _within_clips(active, measures):
    """Area of every measure for every feature in every clip, [clip, feature, measure]; NaN where a
    clip has frames of one kind only."""
    frames = active.shape[1]
    ranks = rankdata(measures, axis=1)
    n = active.sum(1)[..., None].astype(float)
    above = np.einsum("ctf,ctm->cfm", active.astype(np.float32), ranks, optimize=True)
    pairs = n * (frames - n)
    return np.where(pairs > 0, (above - n * (n + 1) / 2) / np.maximum(pairs, 1), np.nan)


def _mean_area(areas):
    """Mean over clips [feature, measure], and in how many there is an area [feature]."""
    there = ~np.isnan(areas)
    count = there[..., 0].sum(0)
    mean = np.where(there, areas, 0).sum(0) / np.maximum(there.sum(0), 1)
    return np.where(count[:, None] < LEAST, np.nan, mean), count


# ----------------------------------------------------------------------------------------- intruder
def intruder(
    activity: np.ndarray,
    found: pd.DataFrame,
    labels: pd.DataFrame,
    measures: pd.DataFrame,
    size: int = 4,
    trials: int = 32,
    seed: int = 0,
) -> pd.DataFrame:
    """How often a judge of the sound finds the clip that does not excite a feature.

    The judge takes the clip without which the others are most alike: the least sum of log
    variances, over all measures. A guess is right once in ``size`` + 1.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
        Of clips that no label was learned from.
    found : pd.DataFrame
        From :func:`detection`, one row a feature.
    labels : pd.DataFrame
        One row a clip.
    measures : pd.DataFrame
        What the judge sees of every clip, numbers (``acoustics.measure_all``).
    size : int
        Clips that excite the feature, beside the intruder.
    trials, seed : int

    Returns
    -------
    pd.DataFrame
        One row a feature: easy (any silent clip is the intruder) and hard (one whose level of the
        labelled cue is nearest to the others', or that has the same class): shares of trials in
        which it is found. NaN where too few clips excite it, none of the silent ones has its
        label, or no clip at all answers its question.
    """
    check.same_length(activity=activity, labels=labels, measures=measures)
    size = check.count("size", size, 2)
    trials = check.count("trials", trials)
    active, silent = excited(activity)
    seen = measures.to_numpy(float)
    seen = (seen - seen.mean(0)) / np.maximum(seen.std(0), 1e-9)
    asked = {
        question: str(column)
        for column in labels
        for question in features.column_targets(str(column), labels[column])
    }
    questions = features.targets(labels)
    rows = []
    for i in range(activity.shape[1]):
        rng = np.random.default_rng([seed, i])
        row = found.loc[i]
        few = min(active[:, i].sum(), silent[:, i].sum()) < LEAST
        if few or row["question"] not in questions:
            rows.append((np.nan, np.nan))
            continue
        known = _Known(labels[asked[row["question"]]], *questions[row["question"]])
        rows.append(
            _played(active[:, i], silent[:, i], known, row["rises"], seen, size, trials, rng)
        )
    return pd.DataFrame(rows, columns=["easy", "hard"]).rename_axis("feature")


class _Known(NamedTuple):
    """What a label says of every clip: its column, the answer, and whether it counts."""

    column: pd.Series
    positive: np.ndarray
    counts: np.ndarray


def _played(active, silent, known, rises, seen, size, trials, rng):
    """Shares of easy and of hard intruders that are found."""
    groups = np.stack(
        [rng.choice(np.flatnonzero(active), size, replace=False) for _ in range(trials)]
    )
    easy = rng.choice(np.flatnonzero(silent), trials)
    hard = _alike(groups, silent, known, rises, rng)
    found = [_odd_one(seen[np.column_stack([groups, easy])]) == size]
    if hard is None:
        return found[0].mean(), np.nan
    found.append(_odd_one(seen[np.column_stack([groups, hard])]) == size)
    return found[0].mean(), found[1].mean()


def _alike(groups, silent, known, rises, rng):
    """For every group, a silent clip with the same label; None if there is none."""
    column, positive, counts = known
    if column.dtype.kind not in "fi":
        same = np.flatnonzero(silent & counts & (positive == rises))
        return rng.choice(same, len(groups)) if len(same) else None
    level = column.to_numpy(float)
    there = np.flatnonzero(silent & ~np.isnan(level))
    if not len(there):
        return None
    distance = np.abs(level[there] - np.nanmean(level[groups], 1)[:, None])
    nearest = there[np.argsort(distance, 1)[:, :NEAREST]]
    return nearest[np.arange(len(groups)), rng.integers(nearest.shape[1], size=len(groups))]


def _odd_one(clips):
    """Which of some clips the judge takes for the intruder, [trial], of measures [trial, clip,
    measure]."""
    rest = []
    for i in range(clips.shape[1]):
        others = np.delete(clips, i, 1)
        rest.append(np.log(others.var(1) + CAUTION).sum(1))
    return np.argmin(rest, 0)
