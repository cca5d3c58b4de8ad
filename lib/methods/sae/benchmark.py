"""Are features good for anything? The field's supervised benchmarks, on questions whose answers are
known.

- **k-sparse probing** (:func:`k_sparse`; Gurnee et al. 2023): how much of what a probe of all
  dimensions tells do the one, two or five best features tell?
- **Targeted perturbation** (:func:`perturbation`, TPP; Karvonen et al. 2025, *SAEBench*): features
  that belong to one question are taken out. A probe for that question should suffer, and no other.
- **Spurious correlation removal** (:func:`removal`, SCR; after Marks et al. 2024, *SHIFT*): a probe
  learned one cue where another always went along with it. When the features of the other are taken
  out, how much of the way to a probe that learned from balanced music does it go?
- **Mean correlation coefficient** (:func:`correlation`, MCC; Hyvärinen and Morioka 2016): where the
  true sources are known, does each have a feature of its own?

Taking features out of every frame changes a clip's mean activation by the same features' mean
activity, so that all of this is computed from means over frames, exactly. Features, probes and
everything else are learned on the training clips and judged on the others; the numbers of a basis
that is kept as sparse (``sae.codes``) are what an SAE's must be held against.

References
----------
Gurnee et al. 2023, Finding neurons in a haystack. Karvonen et al. 2025, SAEBench. Marks et al. 2024,
Sparse feature circuits.
"""

import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ... import check, stats
from .. import features
from .batches import vectors
from .codes import Code, code, frames

#: Sizes of k-sparse probes, and how many features are taken out.
PROBED = (1, 2, 5)
REMOVED = (1, 5, 20)
#: Inverse strength of the penalty of probes of all dimensions.
DENSE = 0.1
#: Gap between the biased and the balanced probe below which nothing can be removed.
LEAST_GAP = 0.02


# ---------------------------------------------------------------------------------- k-sparse probes
def k_sparse(
    activity: dict[str, np.ndarray],
    dense: np.ndarray,
    labels: pd.DataFrame,
    train,
    sizes: Iterable[int] = PROBED,
    n_resamples: int = 300,
) -> pd.DataFrame:
    """How well probes of a few features answer questions about unseen clips.

    On the training clips, the features whose means differ most between yes and no (in standard
    deviations) are chosen, and a logistic regression of them is fitted.

    Parameters
    ----------
    activity : dict
        Name -> array [clip, feature].
    dense : np.ndarray [shape=(clip, dim)]
        What the probe of all dimensions reads.
    labels : pd.DataFrame
        One row a clip; the questions are those of ``features.targets``.
    train : selector of clips
    sizes : iterable of int
    n_resamples : int
        Of held-out clips.

    Returns
    -------
    pd.DataFrame
        One row a question and size: target, k, a balanced accuracy (``stats.Estimate``) for each
        name and for "dense". Questions that the training or the other clips answer alike are left
        out.

    Raises
    ------
    ValueError
        Arrays that do not match, more features than there are.
    """
    check.same_length(labels=labels, dense=dense, **activity)
    sizes = [check.count("size", k, 1, min(x.shape[1] for x in activity.values())) for k in sizes]
    train = check.selector("train", train, len(labels))
    rows = []
    for target, (positive, counts) in _both_sides(labels, train).items():
        learn = counts & train
        judge = counts & ~train
        whole = _fit(dense[learn], positive[learn], DENSE).predict(dense[judge])
        reference = _accuracy(whole, positive[judge], n_resamples)
        for k in sizes:
            row = {"target": target, "k": k}
            for name, x in activity.items():
                chosen = features.distinguishing(x[learn], positive[learn], k)
                probe = _fit(x[learn][:, chosen], positive[learn])
                said = probe.predict(x[judge][:, chosen])
                row[name] = _accuracy(said, positive[judge], n_resamples)
            rows.append({**row, "dense": reference})
    return pd.DataFrame(rows)


def _both_sides(labels, train):
    """The questions that have both answers on the training clips and on the others."""
    known = {}
    for target, (positive, counts) in features.targets(labels).items():
        sides = [positive[counts & train], positive[counts & ~train]]
        if all(side.any() and not side.all() for side in sides):
            known[target] = (positive, counts)
    if not known:
        raise ValueError("No question of labels has both answers on both sides of train.")
    return known


def _fit(x, y, strength=1.0, weights=None):
    """A logistic regression of standardised columns, in which both answers weigh the same."""
    balance = "balanced" if weights is None else None
    probe = LogisticRegression(C=strength, class_weight=balance, max_iter=1000)
    pipeline = make_pipeline(StandardScaler(), probe)
    return pipeline.fit(x, y, logisticregression__sample_weight=weights)


def _accuracy(said, true, n_resamples):
    """Balanced accuracy, with an interval over clips."""
    units = np.stack([said == true, true], 1).astype(float)

    def balanced(some):
        right, yes = some[..., 0], some[..., 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return (
                (right * yes).sum(-1) / yes.sum(-1)
                + (right * (1 - yes)).sum(-1) / (1 - yes).sum(-1)
            ) / 2

    return stats.bootstrap(balanced, units, n_resamples=n_resamples, many=True)


# ---------------------------------------------------------------------------- targeted perturbation
def perturbation(
    x: np.ndarray, code: Code, labels: pd.DataFrame, train, sizes: Iterable[int] = REMOVED
) -> pd.DataFrame:
    """How much the probe for a question loses when its features are taken out, and how much others
    lose.

    A feature belongs to a question by its effect on the probe: how much more active it is where the
    answer is yes, times the probe's weight along its direction. (SAEBench asks about classes, and
    leaves out features that are less active there. A cue has two ends, and both count.)

    Parameters
    ----------
    x : np.ndarray [shape=(clip, dim)]
        Mean activations.
    code : Code
        Of the same clips.
    labels : pd.DataFrame
        Their questions (two or more) are asked of the same clips: emotions, or cues.
    train : selector of clips
    sizes : iterable of int
        How many features are taken out; fewer where fewer have an effect.

    Returns
    -------
    pd.DataFrame
        One row a question and size: target, size, intended and unintended (what its own probe loses
        of its balanced accuracy, and what the others lose on average), tpp (the difference).

    Raises
    ------
    ValueError
        Fewer than two questions, arrays that do not match.
    """
    x, train = _checked(x, code, labels, train)
    sizes = [check.count("size", size) for size in sizes]
    questions = _both_sides(labels, train)
    if len(questions) < 2:
        raise ValueError(f"Two questions or more are needed. Got {list(questions)}.")
    probes = {
        name: _fit(x[counts & train], positive[counts & train], DENSE)
        for name, (positive, counts) in questions.items()
    }

    def accuracies(vectors):
        """Of all probes on held-out clips."""
        return {
            name: _balanced(
                probes[name].predict(vectors[counts & ~train]), positive[counts & ~train]
            )
            for name, (positive, counts) in questions.items()
        }

    before = accuracies(x)
    rows = []
    for name, (positive, counts) in questions.items():
        learn = counts & train
        gap = _gap(code.activity[learn], positive[learn], np.ones(learn.sum()))
        effect = gap * (code.directions @ _weight(probes[name]))
        for size in sizes:
            after = accuracies(_without(x, code, effect, size))
            lost = {other: before[other] - after[other] for other in questions}
            intended = lost.pop(name)
            unintended = float(np.mean(list(lost.values())))
            rows.append((name, size, intended, unintended, intended - unintended))
    return pd.DataFrame(rows, columns=["target", "size", "intended", "unintended", "tpp"])


def _checked(x, code, labels, train):
    check.same_length(x=x, activity=code.activity, labels=labels)
    check.array("code.directions", code.directions, (code.activity.shape[1], x.shape[1]))
    return np.asarray(x, float), check.selector("train", train, len(labels))


def _balanced(said, true):
    return float(np.mean([(said == true)[true == answer].mean() for answer in (True, False)]))


def _weight(probe):
    """A probe's weights on the vectors themselves, without its standardisation."""
    return probe[-1].coef_[0] / probe[0].scale_


def _gap(activity, positive, weights):
    """How much more active every feature is where the answer is yes."""
    yes, no = (
        np.average(activity[positive == answer], 0, weights[positive == answer])
        for answer in (True, False)
    )
    return yes - no


def _without(x, code, effect, size):
    """Mean activations without the features of the largest effects."""
    chosen = np.argsort(-effect)[:size]
    chosen = chosen[effect[chosen] > 0]
    return x - code.activity[:, chosen] @ code.directions[chosen]


# ------------------------------------------------------------------------------ spurious correlation
def removal(
    x: np.ndarray, code: Code, labels: pd.DataFrame, train, sizes: Iterable[int] = REMOVED
) -> pd.DataFrame:
    """How much of a spurious correlation is gone from a probe when the features of what it went
    along with are taken out.

    For every ordered pair of questions, the *biased* probe of the first learns from clips in which
    both have the same answer, the *balanced* one from all, with the four combinations weighing the
    same. Both are judged on held-out clips, where the combinations weigh the same, too.

    Parameters
    ----------
    x, code, train, sizes
        As for :func:`perturbation`.
    labels : pd.DataFrame
        Two columns or more.

    Returns
    -------
    pd.DataFrame
        One row a pair and size: target, spurious, size, biased, balanced and removed (accuracies),
        scr: the share of the gap that is closed; NaN where the gap is below :data:`LEAST_GAP`.

    Raises
    ------
    ValueError
        No pair of questions whose four combinations are there on both sides.
    """
    x, train = _checked(x, code, labels, train)
    sizes = [check.count("size", size) for size in sizes]
    rows = []
    for first, second in itertools.permutations(_both_sides(labels, train).items(), 2):
        pair = _Pair(first[1], second[1], train)
        if pair.complete:
            found = _removed(x, code, pair, sizes)
            rows += [(first[0], second[0], *row) for row in found]
    if not rows:
        raise ValueError("No two questions of labels are there in all four combinations.")
    columns = ["target", "spurious", "size", "biased", "balanced", "removed", "scr"]
    return pd.DataFrame(rows, columns=columns)


class _Pair:
    """Two questions about the same clips: answers, the combination of each clip, and who learns."""

    def __init__(self, target, spurious, train):
        self.target, self.spurious = target[0], spurious[0]
        counts = target[1] & spurious[1]
        self.cell = 2 * self.target + self.spurious
        self.learn = np.flatnonzero(counts & train)
        self.judge = np.flatnonzero(counts & ~train)

    @property
    def complete(self):
        return all(len(np.unique(self.cell[some])) == 4 for some in (self.learn, self.judge))

    def weights(self):
        """Of training clips, so that all combinations weigh the same; 1 on average."""
        cells = self.cell[self.learn]
        return (len(cells) / (4 * np.bincount(cells, minlength=4)))[cells]

    def accuracy(self, probe, vectors):
        right = probe.predict(vectors[self.judge]) == self.target[self.judge]
        cells = self.cell[self.judge]
        return float(np.mean([right[cells == cell].mean() for cell in range(4)]))


def _removed(x, code, pair, sizes):
    """(size, biased, balanced, removed, share) for every size."""
    learn = pair.learn
    weights = pair.weights()
    alike = learn[pair.target[learn] == pair.spurious[learn]]
    biased = _fit(x[alike], pair.target[alike], DENSE)
    balanced = _fit(x[learn], pair.target[learn], DENSE, weights)
    other = _fit(x[learn], pair.spurious[learn], DENSE, weights)
    gap = _gap(code.activity[learn], pair.spurious[learn], weights)
    effect = np.abs(gap * (code.directions @ _weight(other)))
    low, high = pair.accuracy(biased, x), pair.accuracy(balanced, x)
    rows = []
    for size in sizes:
        after = pair.accuracy(biased, _without(x, code, effect, size))
        share = (after - low) / (high - low) if high - low >= LEAST_GAP else np.nan
        rows.append((size, low, high, after, share))
    return rows


def removed_share(found: pd.DataFrame) -> stats.Estimate:
    """Of all pairs together, the share of the gap that is closed, with an interval over pairs.

    One ratio of means: a pair whose gap is small decides little. Both orders of a pair have the same
    biased probe, so that they are resampled together.

    Parameters
    ----------
    found : pd.DataFrame
        Rows of :func:`removal` of one size.

    Returns
    -------
    stats.Estimate
        Its ``n`` counts pairs, of either order. The interval is NaN if fewer than two of them have a
        gap, and the value if none has.

    Raises
    ------
    ValueError
        Rows of several sizes, which would count each pair several times.
    """
    sizes = sorted(found["size"].unique().tolist())
    if len(sizes) > 1:
        remedy = f"Choose one: found[found['size'] == {sizes[0]}]."
        check.refuse(ValueError, "found", "rows of one size", sizes, remedy)
    units = _of_pairs(found.dropna(subset="scr"))

    def ratio(some):
        total = some.sum(-2)
        return total[..., 0] / total[..., 1]

    if len(units) < 2:
        value = float(ratio(units)) if len(units) else np.nan
        return stats.Estimate(value, np.nan, np.nan, len(units))
    return stats.bootstrap(ratio, units, n_resamples=1000, many=True)


def _of_pairs(rows):
    """What is closed of the gap, and the gap, both orders of a pair added up [pair, 2]."""
    both = [frozenset(pair) for pair in zip(rows["target"], rows["spurious"], strict=True)]
    parts = pd.DataFrame(
        {
            "closed": rows["removed"].to_numpy(float) - rows["biased"].to_numpy(float),
            "gap": rows["balanced"].to_numpy(float) - rows["biased"].to_numpy(float),
        }
    )
    return parts.groupby(pd.Series(both, dtype=object), sort=False).sum().to_numpy()


# ------------------------------------------------------------------------------------- known sources
def principal_axes(rows: np.ndarray, basis: np.ndarray, count: int) -> np.ndarray:
    """The directions of a subspace along which some vectors vary most.

    A declared subspace has no axes of its own; what is written in it has.

    Parameters
    ----------
    rows : np.ndarray [shape=(row, dim)]
    basis : np.ndarray [shape=(size, dim)]
        Orthonormal rows.
    count : int

    Returns
    -------
    np.ndarray [shape=(count, dim)]
        Orthonormal, the one with the most variance first.
    """
    rows = check.array("rows", rows, ("row", basis.shape[1]))
    count = check.count("count", count, 1, len(basis))
    inside = rows @ basis.T
    return np.linalg.eigh(np.cov(inside.T))[1].T[::-1][:count] @ basis


def sources(s, acts: xr.DataArray, basis: np.ndarray, count: int) -> dict[str, float]:
    """How well features find what is written in a subspace.

    Parameters
    ----------
    s : sae_lens.SAE or Basis
    acts : xr.DataArray [dims=(clip, frame, dim)]
        That it did not learn from.
    basis : np.ndarray [shape=(size, dim)]
        Orthonormal rows.
    count : int
        Its principal axes that are taken for the true sources.

    Returns
    -------
    dict
        mcc (mean of :func:`correlation` over frames) and cosine (mean cosine of each axis with the
        direction of its feature, one to one, of either sign).
    """
    acts = vectors(acts)
    rows = np.asarray(acts, np.float32).reshape(-1, acts.shape[-1])
    axes = principal_axes(rows, basis, count)
    directions = code(s, acts[:1]).directions
    codes = frames(s, acts).reshape(len(rows), -1)
    matched = features.matched(axes, np.concatenate([directions, -directions]))
    return {
        "mcc": float(correlation(rows @ axes.T, codes).mean()),
        "cosine": float(matched.mean()),
    }


def correlation(sources: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Correlation of every true source with its feature, one to one (Hungarian method).

    Parameters
    ----------
    sources : np.ndarray [shape=(row, source)]
        What is known to be there: coordinates along planted axes, say.
    codes : np.ndarray [shape=(row, feature)]

    Returns
    -------
    np.ndarray [shape=(source,)]
        Absolute correlations, as a source has no sign; their mean is the MCC. 0 for one without
        partner, or that does not vary.
    """
    check.same_length(sources=sources, codes=codes)
    matrix = np.abs(_standardised(sources).T @ _standardised(codes)) / len(codes)
    rows, columns = linear_sum_assignment(-matrix)
    found = np.zeros(len(matrix))
    found[rows] = matrix[rows, columns]
    return found


def _standardised(x):
    x = np.asarray(x, float) - np.mean(x, 0, dtype=float)
    return x / np.maximum(x.std(0), 1e-12)
