"""Intervals cover what they should."""

import numpy as np
import pytest
import scipy.stats

from lib import stats


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [stats.bootstrap(np.mean, rng.normal(3, 1, 40), n_resamples=300).holds(3) for _ in range(200)]
    assert 0.88 < np.mean(hits) < 0.99


def test_cohens_d_and_difference():
    rng = np.random.default_rng(1)
    a, b = rng.normal(2, 1, 400), rng.normal(0, 1, 400)
    assert stats.cohens_d(a, b).value == pytest.approx(2, abs=0.2)
    assert stats.difference(a, b).holds(2) and not stats.difference(a, b).holds(0)


def test_correlations():
    x = np.arange(100.0)
    assert stats.rank_correlation(x, x**3).value == pytest.approx(1)
    assert stats.correlation(x, -x).value == pytest.approx(-1)
    noisy = x % 7 + np.random.default_rng(2).normal(size=100)
    assert stats.rank_correlation(x % 7, noisy).value == pytest.approx(scipy.stats.spearmanr(x % 7, noisy).statistic)
    assert np.isnan(stats.correlation(x, 0 * x).value)


def test_many_resamples_at_once_are_those_one_by_one():
    x = np.random.default_rng(3).exponential(size=30)
    one, many = stats.bootstrap(np.mean, x, n_resamples=4000), stats.mean(x)
    assert many.value == one.value and np.allclose(many[1:3], one[1:3], atol=0.02)


def test_wilson_interval_is_the_published_one():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263
    e = stats.proportion(np.arange(263) < 81)
    assert (e.low, e.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    assert stats.proportion([True] * 10).low < 0.8


def test_bad_input():
    with pytest.raises(ValueError, match="two units"):
        stats.mean([1])
    with pytest.raises(ValueError, match="equally long"):
        stats.correlation([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="at least one"):
        stats.proportion([])
