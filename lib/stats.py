"""Estimates with intervals: every number the book reports goes through here.

Intervals are 95 % unless said otherwise. Resampling takes whole groups (clips, prompts, word
families), never rows that belong together. Means have Student's t interval, differences of means
Welch's, shares Wilson's. What has no such formula has a bootstrap interval, bias-corrected and
accelerated (BCa: Efron 1987, Journal of the American Statistical Association 82; Efron and
Tibshirani 1993, chapter 14), as ``scipy.stats.bootstrap`` computes it.

>>> from lib import stats
>>> print(stats.mean([1.0, 2.0, 3.0, 4.0]))
2.50 [0.45, 4.55], n = 4
"""

import gc
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from numbers import Integral, Real
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from scipy.stats import rankdata
from statsmodels.stats.multitest import multipletests, multitest_alias
from statsmodels.stats.proportion import proportion_confint

#: Numbers gathered at once where a statistic takes many resamples together.
AT_ONCE = 2**20
#: Values that differ by less than this share of their size are one value with other rounding.
ROUNDING = 1e-12
#: Texts that a missing class becomes where numpy turns a list with one into texts.
GONE = ("nan", "NaN", "None", "<NA>", "NaT")
#: BCa leaves out each unit once. With more units than this its correction is below a hundredth of
#: the interval, and its cost, which grows with their square, is not.
MANY_UNITS = 5000


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


# ------------------------------------------------------------------------------------ the bootstrap
def bootstrap(
    statistic: Callable,
    *samples,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    paired: bool = False,
    many: bool = False,
) -> Estimate:
    """Interval of ``statistic(*samples)`` over resampled units.

    Parameters
    ----------
    statistic : callable
        Takes as many arrays as there are samples and returns a number.
    *samples : array_like [shape=(n,)] or [shape=(n, ...)]
        The first axis is resampled: together if ``paired``, else each sample on its own.
    n_resamples, level, seed : int, float, int
    many : bool
        ``statistic`` takes many resamples at once, [resample, unit, ...], and returns one number
        each: much faster for means.

    Returns
    -------
    Estimate
        Without spread (all values equal), the interval is the value. Resamples for which the
        statistic is not defined (NaN) do not count; if it is not defined for the data, the interval
        is NaN, too.

    Raises
    ------
    ValueError
        Fewer than two units in a sample; paired samples of different lengths; a level outside
        (0, 1); no resample.
    """
    _check_settings(level, n_resamples, seed)
    samples = [np.asarray(sample) for sample in samples]
    lengths = [len(sample) for sample in samples]
    if min(lengths) < 2:
        raise ValueError(
            f"A bootstrap needs at least two units in each sample. Got {min(lengths)}."
        )
    if paired and len(set(lengths)) > 1:
        raise ValueError(f"Paired samples must be equally long. Got lengths {lengths}.")

    def at_rows(*rows, axis=-1):
        """The statistic of the given rows [..., unit] of every sample."""
        shape = rows[0].shape[:-1]
        rows = [r.reshape(-1, r.shape[-1]) for r in rows]
        rows = rows * len(samples) if paired else rows
        if many:
            values = statistic(*(sample[r] for sample, r in zip(samples, rows, strict=True)))
        else:
            values = [
                statistic(*(sample[r] for sample, r in zip(samples, drawn, strict=True)))
                for drawn in zip(*rows, strict=True)
            ]
        return np.reshape(values, shape)

    units = [np.arange(n) for n in (lengths[:1] if paired else lengths)]
    batch = max(1, AT_ONCE // max(sample.size for sample in samples)) if many else None
    return _estimate(at_rows, units, min(lengths), n_resamples, level, seed, batch)


def bootstrap_groups(
    statistic: Callable,
    groups,
    value: float | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Cluster bootstrap: whole groups are drawn with replacement, and left out one by one for BCa.

    Parameters
    ----------
    statistic : callable
        Takes row numbers and returns a number.
    groups : array_like [shape=(n,)]
    value : float, optional
        The statistic on all rows, if known.

    Raises
    ------
    ValueError
        Fewer than two groups, a row whose group is missing (None, NaN, ""), more groups than the
        statistic knows rows; a level outside (0, 1); no resample.
    """
    _check_settings(level, n_resamples, seed)
    number, _ = _numbered("groups", groups)
    ends = np.cumsum(np.bincount(number))[:-1]
    rows = np.split(np.argsort(number, kind="stable"), ends)
    if len(rows) < 2:
        raise ValueError("A bootstrap over groups needs at least two groups.")

    def at_groups(drawn, axis=-1):
        """The statistic of the rows of the given groups [..., group]."""
        each = drawn.reshape(-1, drawn.shape[-1])
        values = [statistic(np.concatenate([rows[g] for g in some])) for some in each]
        return np.reshape(values, drawn.shape[:-1])

    try:
        found = _estimate(at_groups, [np.arange(len(rows))], len(rows), n_resamples, level, seed)
    except IndexError as error:
        raise ValueError(
            f"groups must hold one group for each row that the statistic knows. Got {len(number)} "
            f"groups, and the statistic says: {error}."
        ) from error
    return found if value is None else found._replace(value=float(value))


def _numbered(name, values):
    """The number of each row's class or group, and what they are; a missing one is none."""
    values = pd.Series(values if isinstance(values, list | tuple) else np.asarray(values))
    gone = values.map(lambda value: isinstance(value, str) and (not value.strip() or value in GONE))
    numbers, found = pd.factorize(values.mask(gone), sort=True)
    if (numbers < 0).any():
        rows = ", ".join(map(str, np.flatnonzero(numbers < 0)[:5]))
        raise ValueError(f"{name} must be known for every row. It is missing in rows {rows}.")
    return numbers, found


def _check_settings(level, n_resamples=1, seed=0):
    """Refuse what no interval can follow from."""
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ValueError(f"level must be a number in (0, 1). Got {level!r}. Write 0.95 for 95 %.")
    _check_count("n_resamples", n_resamples, 1)
    _check_count("seed", seed, 0)


def _check_count(name, value, low):
    if not isinstance(value, Integral) or value < low:
        raise ValueError(f"{name} must be an integer, {low} or more. Got {value!r}.")


def _estimate(statistic, units, n, n_resamples, level, seed, batch=None):
    """The estimate of ``statistic(*units)``, which takes unit numbers [..., unit] of each
    sample."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of resamples without spread or without some class
        value = float(statistic(*units))
        if not np.isfinite(value):
            return Estimate(value, np.nan, np.nan, n)
        settings = {"vectorized": True, "confidence_level": level, "batch": batch}
        drawn = scipy.stats.bootstrap(
            units,
            statistic,
            n_resamples=n_resamples,
            method="percentile",
            rng=np.random.default_rng(seed),
            **settings,
        ).bootstrap_distribution
        low, high = _ends(statistic, units, value, drawn, settings)
    return Estimate(value, low, high, n)


def _ends(statistic, units, value, drawn, settings):
    """The interval's ends, from the statistic's values in all resamples."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return np.nan, np.nan
    close = np.abs(drawn - value) <= ROUNDING * max(abs(value), np.abs(drawn).max())
    if close.all():
        return value, value
    drawn = SimpleNamespace(bootstrap_distribution=np.where(close, value, drawn))
    inside = drawn.bootstrap_distribution.min() <= value <= drawn.bootstrap_distribution.max()
    if inside and max(map(len, units)) <= MANY_UNITS:
        ends = _read_off(statistic, units, drawn, "BCa", settings)
        if np.isfinite(ends).all():
            return ends
    low, high = _read_off(statistic, units, drawn, "percentile", settings)
    return min(low, value), max(high, value)


def _read_off(statistic, units, drawn, method, settings):
    """An interval by one of scipy's methods from resamples that were drawn before."""
    found = scipy.stats.bootstrap(
        units, statistic, n_resamples=0, bootstrap_result=drawn, method=method, **settings
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


# ---------------------------------------------------------------------------------------- estimates
def mean(values, level: float = 0.95) -> Estimate:
    """Mean with Student's t interval over the first axis.

    With 6 to 16 units a t interval holds the true mean as often as it says, also of skewed numbers;
    a bootstrap, percentile or BCa, does so in 83 to 93 % (chapter 01 simulates it).

    Parameters
    ----------
    values : array_like [shape=(n, ...)]
        What lies behind the first axis is averaged before.
    level : float

    Raises
    ------
    ValueError, TypeError
        Fewer than two units, a level outside (0, 1), anything but numbers.
    """
    _check_settings(level)
    units = _unit_means("values", values)
    _two_units(len(units))
    return _student(
        float(units.mean()), float(scipy.stats.sem(units)), len(units) - 1, level, units
    )


def difference(a, b, level: float = 0.95) -> Estimate:
    """Mean of ``a`` minus mean of ``b`` with Welch's t interval (Welch 1947)."""
    _check_settings(level)
    a = _unit_means("a", a)
    b = _unit_means("b", b)
    n = _two_units(len(a), len(b))
    squares = np.array([scipy.stats.sem(a) ** 2, scipy.stats.sem(b) ** 2])
    spread = squares**2 / (np.array([len(a), len(b)]) - 1)
    freedom = squares.sum() ** 2 / spread.sum() if spread.sum() > 0 else n - 1
    found = _student(float(a.mean() - b.mean()), float(np.sqrt(squares.sum())), freedom, level)
    return found._replace(n=n)


def _two_units(*lengths):
    """The smallest of some numbers of units, of which an interval needs two."""
    if min(lengths) < 2:
        raise ValueError(
            f"An interval needs at least two units in each sample. Got {min(lengths)}."
        )
    return min(lengths)


def _student(value, error, freedom, level, units=()):
    """A t interval; without spread, the value itself; NaN where the value is."""
    if error <= ROUNDING * abs(value) or not np.isfinite(value):
        return Estimate(value, value, value, len(units))
    low, high = scipy.stats.t.interval(level, freedom, value, error)
    return Estimate(value, float(low), float(high), len(units))


def _unit_means(name, values):
    """One number a unit: what lies behind the first axis is averaged before resampling."""
    values = _numbers(name, values)
    return values.reshape(len(values), -1).mean(1) if values.ndim > 1 else values


def _numbers(name, values):
    """Numbers [n, ...] from any iterable of them, a generator, too; NaN is a number here."""
    plain = isinstance(values, Iterable) and not hasattr(values, "__array__")
    given = np.asarray(list(values) if plain and not isinstance(values, str) else values)
    if given.dtype.kind == "O" and all(isinstance(value, Real) for value in given.ravel()):
        given = given.astype(float)
    if not given.ndim or given.dtype.kind not in "iufb":
        raise TypeError(f"{name} must be numbers, one a unit. Got {str(values)[:200]}.")
    return given


def cohens_d(a, b) -> Estimate:
    """Cohen's d with pooled standard deviation (Cohen 1988), positive if ``a`` is larger."""

    def d(x, y):
        freedom_x = x.shape[1] - 1
        freedom_y = y.shape[1] - 1
        squares = freedom_x * x.var(1, ddof=1) + freedom_y * y.var(1, ddof=1)
        pooled = squares / (freedom_x + freedom_y)
        return (x.mean(1) - y.mean(1)) / np.sqrt(np.maximum(pooled, 1e-12))

    return bootstrap(d, a, b, many=True)


def correlation(a, b) -> Estimate:
    """Pearson's correlation with a bootstrap interval over pairs."""
    return bootstrap(_pearson, a, b, paired=True, many=True)


def rank_correlation(a, b) -> Estimate:
    """Spearman's rank correlation with a bootstrap interval over pairs."""

    def spearman(x, y):
        return _pearson(rankdata(x, axis=1), rankdata(y, axis=1))

    return bootstrap(spearman, a, b, n_resamples=1000, paired=True, many=True)


def _pearson(x, y):
    """Correlation of each row of x [row, unit] with that of y; NaN where one of them does not
    vary."""
    x = x - x.mean(1, keepdims=True)
    y = y - y.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))


def proportion(successes) -> Estimate:
    """Share of true values with Wilson's interval (Wilson 1927), which stays honest near 0 and
    1. A value that is neither true nor false (NaN, 2) is refused."""
    given = np.asarray(successes)
    if given.ndim != 1:
        raise ValueError(
            f"successes must be true or false, one a unit, shape (n,). Got shape {given.shape}. "
            "Select one value a unit first."
        )
    if not len(given):
        raise ValueError("A proportion needs at least one observation.")
    odd = given[~np.isin(given, (0, 1))].tolist()
    if odd:
        raise ValueError(
            f"A proportion is of values that are true or false (1 or 0). Got {odd[0]!r}: "
            "drop what is missing, and compare numbers with a threshold."
        )
    successes = given.astype(bool)
    low, high = proportion_confint(successes.sum(), len(successes), method="wilson")
    return Estimate(float(successes.mean()), float(low), float(high), len(successes))


def side(estimate: Estimate, of: float = 0.0) -> str:
    """On which side of a number an interval lies: the answer of most exploratory findings.

    Returns
    -------
    str
        "above 0", "below 0", or "cannot tell from 0" where the interval holds it or is not known.
    """
    if estimate.low > of:
        return f"above {of:g}"
    return f"below {of:g}" if estimate.high < of else f"cannot tell from {of:g}"


# ----------------------------------------------------------------------- within and between classes
class BetweenWithin(NamedTuple):
    """Cosine similarity within and between classes, its difference, and the difference's p-value by
    permutation."""

    within: Estimate
    between: Estimate
    difference: Estimate
    p: float


def between_within(
    X, y, groups=None, n_permutations: int = 2000, n_resamples: int = 1000, seed: int = 0
) -> BetweenWithin:
    """How much more alike vectors of one class are than vectors of different classes.

    Pairs are not independent, so nothing is tested over pairs: labels are permuted over prompts
    (``scipy.stats.permutation_test``), and the interval resamples prompts.

    Parameters
    ----------
    X : array_like [shape=(n, dim)]
    y : array_like [shape=(n,)]
        Classes.
    groups : array_like [shape=(n,)], optional
        Prompts: rows of one group share a label, count as one unit, and their own pairs are left
        out. By default every row is a unit.

    Raises
    ------
    ValueError
        Shapes that do not match, NaN, missing classes, fewer than two of them, none with two
        units, a group with two labels, a vector of length zero.
    """
    _check_count("n_permutations", n_permutations, 1)
    _check_settings(0.95, n_resamples, seed)
    X = np.asarray(X, float)
    label, classes = _numbered("y", y)
    length = _check_vectors(X, label)
    unit, _ = _numbered("groups", np.arange(len(label)) if groups is None else groups)
    first = np.unique(unit, return_index=True)[1]
    if len(classes) < 2 or (label[first][unit] != label).any():
        raise ValueError(
            f"y needs at least two classes and one label a group. Got classes {list(classes[:5])}."
        )
    label = label[first]
    if np.bincount(label).max() < 2:
        raise ValueError(
            f"Within classes there is no pair: each of {len(classes)} classes has one unit. "
            "y must hold classes; put numbers into a few, high and low say."
        )
    sums, counts = _pairs(X / length[:, None], unit, len(first))

    batch = max(1, AT_ONCE // (len(classes) * len(label)))
    everybody = np.arange(len(label))

    def mean_cosines(labels, drawn):
        """Mean cosine of pairs within and between classes, of labels [..., unit] or units drawn."""
        weight = _times_drawn(drawn, len(label))
        hot = labels[..., None, :] == np.arange(len(classes))[:, None]
        by_class = hot * weight[..., None, :]  # [..., class, unit]
        within_sum = _over_pairs(by_class, sums).sum(-1)
        within_count = _over_pairs(by_class, counts).sum(-1)
        between_sum = _over_pairs(weight, sums) - within_sum
        between_count = _over_pairs(weight, counts) - within_count
        return within_sum / within_count, between_sum / between_count

    def estimate(choose):
        def statistic(drawn, axis=-1):
            return choose(*mean_cosines(label, drawn))

        return _estimate(statistic, [everybody], len(label), n_resamples, 0.95, seed, batch)

    test = scipy.stats.permutation_test(
        (label,),
        lambda labels, axis=-1: np.subtract(*mean_cosines(labels, everybody)),
        permutation_type="pairings",
        n_resamples=n_permutations,
        alternative="greater",
        vectorized=True,
        batch=batch,
        rng=np.random.default_rng(seed),
    )
    estimates = [
        estimate(lambda within, between: within),
        estimate(lambda within, between: between),
        estimate(lambda within, between: within - between),
    ]
    return BetweenWithin(*estimates, float(test.pvalue))


def _check_vectors(X, label):
    """The lengths of vectors for which a cosine is defined."""
    if X.ndim != 2 or len(label) != len(X):
        raise ValueError(
            f"X must have shape (n, dim) and y one class a row. Got {X.shape} and {len(label)}."
        )
    if not np.isfinite(X).all():
        raise ValueError("X holds NaN or infinite values.")
    length = np.linalg.norm(X, axis=1)
    if (length == 0).any():
        raise ValueError(
            f"{(length == 0).sum()} vectors have length zero: their cosine is not defined."
        )
    return length


def _pairs(directions, unit, n):
    """Sum of cosines and number of pairs between the rows of every two units, own pairs left
    out."""
    hot = np.zeros((n, len(unit)))
    hot[unit, np.arange(len(unit))] = 1
    sums = hot @ (directions @ directions.T) @ hot.T
    counts = np.outer(hot.sum(1), hot.sum(1))
    np.fill_diagonal(sums, 0)
    np.fill_diagonal(counts, 0)
    return sums, counts


def _times_drawn(drawn, n):
    """How often each of n units is among those drawn [..., unit]."""
    flat = drawn.reshape(-1, drawn.shape[-1])
    offset = n * np.arange(len(flat))[:, None]
    times = np.bincount((flat + offset).ravel(), minlength=n * len(flat))
    return times.reshape(*drawn.shape[:-1], n).astype(float)


def _over_pairs(weight, matrix):
    """Sum over all pairs of units of a matrix times both units' weights [..., unit]."""
    return ((weight @ matrix) * weight).sum(-1)


def correct(p_values, method: str = "holm") -> np.ndarray:
    """p-values corrected for multiple comparisons ("holm", "fdr_bh", ... as in statsmodels'
    multipletests). NaN stays NaN and counts as a comparison."""
    if method not in multitest_alias:
        known = ", ".join(map(repr, multitest_alias))
        raise ValueError(f"method must be one of {known}. Got {method!r}.")
    p_values = np.asarray(p_values, float)
    if ((p_values < 0) | (p_values > 1)).any():
        raise ValueError(f"p-values must lie between 0 and 1. Got {p_values.tolist()}.")
    unknown = np.isnan(p_values)
    with _nothing_to_collect():
        found = multipletests(np.where(unknown, 1.0, p_values), method=method)[1]
    return np.where(unknown, np.nan, found)


@contextmanager
def _nothing_to_collect():
    """statsmodels collects garbage at every correction: with all that a model imports, 0.1 s each."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
