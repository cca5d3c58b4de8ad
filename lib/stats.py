"""Estimates with intervals: every number the book reports goes through here.

Intervals are 95 % unless said otherwise. Resampling takes whole groups (clips, prompts, word families), never rows that
belong together.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats
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


def bootstrap(statistic, *samples, n_resamples: int = 2000, level: float = 0.95, seed: int = 0, paired: bool = False):
    """Percentile bootstrap interval of ``statistic(*samples)`` (Efron and Tibshirani 1993, chapter 13).

    Parameters
    ----------
    statistic : callable
        Takes as many arrays as there are samples and returns a number.
    *samples : array_like [shape=(n,)] or [shape=(n, ...)]
        The first axis is resampled: together if ``paired``, else each sample on its own.
    n_resamples, level, seed : int, float, int

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
    values = np.empty(n_resamples)
    for r in range(n_resamples):
        first = rng.integers(len(samples[0]), size=len(samples[0]))
        drawn = [s[first if paired or i == 0 else rng.integers(len(s), size=len(s))] for i, s in enumerate(samples)]
        values[r] = statistic(*drawn)
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(statistic(*samples)), float(low), float(high), min(map(len, samples)))


def mean(values) -> Estimate:
    """Mean with a bootstrap interval."""
    return bootstrap(np.mean, values)


def difference(a, b) -> Estimate:
    """Mean of ``a`` minus mean of ``b`` with a bootstrap interval."""
    return bootstrap(lambda x, y: x.mean() - y.mean(), a, b)


def cohens_d(a, b) -> Estimate:
    """Cohen's d with pooled standard deviation (Cohen 1988), positive if ``a`` is larger."""

    def d(x, y):
        pooled = ((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (len(x) + len(y) - 2)
        return (x.mean() - y.mean()) / np.sqrt(max(pooled, 1e-12))

    return bootstrap(d, a, b)


def rank_correlation(a, b) -> Estimate:
    """Spearman's rank correlation with a bootstrap interval over pairs."""
    return bootstrap(lambda x, y: scipy.stats.spearmanr(x, y).statistic, a, b, paired=True, n_resamples=1000)


def correlation(a, b) -> Estimate:
    """Pearson's correlation with a bootstrap interval over pairs."""
    return bootstrap(lambda x, y: np.corrcoef(x, y)[0, 1], a, b, paired=True)


def proportion(successes) -> Estimate:
    """Share of true values with Wilson's interval (Wilson 1927), which stays honest near 0 and 1."""
    successes = np.asarray(successes, dtype=bool)
    if not len(successes):
        raise ValueError("A proportion needs at least one observation.")
    low, high = proportion_confint(successes.sum(), len(successes), method="wilson")
    return Estimate(float(successes.mean()), float(low), float(high), len(successes))
