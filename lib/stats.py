"""Estimates with intervals: every number the book reports goes through here.

Intervals are 95 % unless said otherwise. Resampling takes whole groups (clips, prompts, word families), never rows that
belong together.
"""

from itertools import cycle
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint


class Estimate(NamedTuple):
    """A value with its confidence interval and the number of units it rests on."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self):
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}], n = {self.n}"

    def holds(self, number: float) -> bool:
        """Whether the interval contains a number."""
        return self.low <= number <= self.high


def bootstrap(
    statistic, *samples, n_resamples: int = 2000, level: float = 0.95, seed: int = 0, paired: bool = False,
    many: bool = False,
):  # fmt: skip
    """Percentile bootstrap interval of ``statistic(*samples)`` (Efron and Tibshirani 1993, chapter 13).

    Parameters
    ----------
    statistic : callable
        Takes as many arrays as there are samples and returns a number.
    *samples : array_like [shape=(n,)] or [shape=(n, ...)]
        The first axis is resampled: together if ``paired``, else each sample on its own.
    n_resamples, level, seed : int, float, int
    many : bool
        ``statistic`` takes many resamples at once, [resample, unit, ...], and returns one number each: much
        faster for means.

    Returns
    -------
    Estimate
    """
    samples = [np.asarray(s) for s in samples]
    for s in samples:
        if len(s) < 2:
            raise ValueError(f"A bootstrap needs at least two units in each sample. Got {len(s)}.")
    if paired and len({len(s) for s in samples}) > 1:
        raise ValueError(f"Paired samples must be equally long. Got lengths {[len(s) for s in samples]}.")
    rng = np.random.default_rng(seed)
    values, size = [], 1 if not many else max(1, 2**20 // max(s.size for s in samples))
    for k in range(0, n_resamples, size):
        shape = (min(size, n_resamples - k),) if many else ()
        rows = [rng.integers(len(s), size=(*shape, len(s))) for s in samples[: 1 if paired else None]]
        values.append(statistic(*(s[r] for s, r in zip(samples, cycle(rows), strict=False))))
    values = np.hstack(values)
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (np.nan, np.nan)
    whole = statistic(*(s[None] for s in samples))[0] if many else statistic(*samples)
    return Estimate(float(whole), float(low), float(high), min(map(len, samples)))


def mean(values) -> Estimate:
    """Mean with a bootstrap interval."""
    return bootstrap(_means, values, many=True)


def difference(a, b) -> Estimate:
    """Mean of ``a`` minus mean of ``b`` with a bootstrap interval."""
    return bootstrap(lambda x, y: _means(x) - _means(y), a, b, many=True)


def _means(x):
    return x.reshape(len(x), -1).mean(1)


def cohens_d(a, b) -> Estimate:
    """Cohen's d with pooled standard deviation (Cohen 1988), positive if ``a`` is larger."""

    def d(x, y):
        pooled = ((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (len(x) + len(y) - 2)
        return (x.mean() - y.mean()) / np.sqrt(max(pooled, 1e-12))

    return bootstrap(d, a, b)


def rank_correlation(a, b) -> Estimate:
    """Spearman's rank correlation with a bootstrap interval over pairs."""
    return bootstrap(
        lambda x, y: _pearson(rankdata(x, axis=1), rankdata(y, axis=1)), a, b, n_resamples=1000, paired=True, many=True
    )


def correlation(a, b) -> Estimate:
    """Pearson's correlation with a bootstrap interval over pairs."""
    return bootstrap(_pearson, a, b, paired=True, many=True)


def _pearson(x, y):
    """Correlation of each row of x [row, unit] with that of y; nan where one of them does not vary."""
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))


def proportion(successes) -> Estimate:
    """Share of true values with Wilson's interval (Wilson 1927), which stays honest near 0 and 1."""
    successes = np.asarray(successes, dtype=bool)
    if not len(successes):
        raise ValueError("A proportion needs at least one observation.")
    low, high = proportion_confint(successes.sum(), len(successes), method="wilson")
    return Estimate(float(successes.mean()), float(low), float(high), len(successes))


def bootstrap_groups(
    statistic, groups, value=None, n_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Cluster bootstrap: whole groups are drawn with replacement.

    Parameters
    ----------
    statistic : callable
        Takes row numbers and returns a number.
    groups : array_like [shape=(n,)]
    value : float, optional
        The statistic on all rows, if known.
    """
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    rows = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    if len(rows) < 2:
        raise ValueError("A bootstrap over groups needs at least two groups.")
    rng = np.random.default_rng(seed)
    values = [
        statistic(np.concatenate([rows[g] for g in rng.integers(len(rows), size=len(rows))]))
        for _ in range(n_resamples)
    ]
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    value = statistic(np.arange(len(inverse))) if value is None else value
    return Estimate(float(value), float(low), float(high), len(rows))


class BetweenWithin(NamedTuple):
    """Cosine similarity within and between classes, its difference, and the permutation p-value of the difference."""

    within: Estimate
    between: Estimate
    difference: Estimate
    p: float


def between_within(
    X, y, groups=None, n_permutations: int = 2000, n_resamples: int = 1000, seed: int = 0
) -> BetweenWithin:
    """How much more alike vectors of one class are than vectors of different classes.

    Pairs are not independent, so nothing is tested over pairs: labels are permuted over prompts, and the interval resamples
    prompts.

    Parameters
    ----------
    X : array_like [shape=(n, dim)]
    y : array_like [shape=(n,)]
        Classes.
    groups : array_like [shape=(n,)], optional
        Prompts: rows of one group share a label, count as one unit, and their own pairs are left out. By default every
        row is a unit.

    Raises
    ------
    ValueError
        Shapes that do not match, NaN, fewer than two classes, a group with two labels, a vector of length zero.
    """
    X, y = np.asarray(X, float), np.asarray(y)
    if X.ndim != 2 or y.shape != (len(X),):
        raise ValueError(f"X must have shape (n, dim) and y shape (n,). Got {X.shape} and {y.shape}.")
    if not np.isfinite(X).all():
        raise ValueError("X holds NaN or infinite values.")
    length = np.linalg.norm(X, axis=1)
    if (length == 0).any():
        raise ValueError(f"{(length == 0).sum()} vectors have length zero: their cosine is not defined.")
    _, unit = np.unique(np.arange(len(y)) if groups is None else np.asarray(groups).astype(str), return_inverse=True)
    classes, label = np.unique(y, return_inverse=True)
    first = np.unique(unit, return_index=True)[1]
    if len(classes) < 2 or (label[first][unit] != label).any():
        raise ValueError(f"y needs at least two classes and one label a group. Got classes {classes[:5]}.")
    # sums of cosines over pairs of units, own pairs left out
    hot = np.zeros((len(first), len(y)))
    hot[unit, np.arange(len(y))] = 1
    sums = hot @ ((X / length[:, None]) @ (X / length[:, None]).T) @ hot.T
    counts = np.outer(hot.sum(1), hot.sum(1))
    np.fill_diagonal(sums, 0), np.fill_diagonal(counts, 0)
    label, rng = label[first], np.random.default_rng(seed)

    def both(label, weight):
        same = (label[:, None] == label) * np.outer(weight, weight)
        other = np.outer(weight, weight) - same
        return (sums * same).sum() / (counts * same).sum(), (sums * other).sum() / (counts * other).sum()

    one = np.ones(len(label))
    within, between = both(label, one)
    null = np.array([np.subtract(*both(rng.permutation(label), one)) for _ in range(n_permutations)])
    n = len(label)
    drawn = np.array([both(label, np.bincount(rng.integers(n, size=n), minlength=n)) for _ in range(n_resamples)])
    ends = np.nanquantile(np.column_stack([drawn, drawn[:, 0] - drawn[:, 1]]), [0.025, 0.975], axis=0)
    values = (within, between, within - between)
    estimates = [Estimate(float(v), float(low), float(high), n) for v, low, high in zip(values, *ends, strict=True)]
    return BetweenWithin(*estimates, float((1 + (null >= within - between - 1e-15).sum()) / (1 + n_permutations)))


def correct(p_values, method: str = "holm") -> np.ndarray:
    """p-values corrected for multiple comparisons ("holm", "fdr_bh", ... as in statsmodels' multipletests)."""
    return multipletests(np.asarray(p_values, float), method=method)[1]
