"""Intervals cover what they should, and stay sane where data are degenerate."""

import gc
import weakref

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lib import stats


@pytest.mark.parametrize("n", [6, 12, 40])
def test_the_interval_covers_the_truth_as_often_as_it_says(n):
    rng = np.random.default_rng(0)
    means = [stats.mean(rng.normal(3, 1, n)) for _ in range(1000)]
    assert 0.93 < np.mean([estimate.holds(3) for estimate in means]) < 0.97
    gaps = [stats.difference(rng.normal(3, 1, n), rng.normal(1, 3, 9)) for _ in range(1000)]
    assert 0.93 < np.mean([estimate.holds(2) for estimate in gaps]) < 0.97


def test_intervals_of_means_are_scipys():
    rng = np.random.default_rng(3)
    x = rng.exponential(size=12)
    y = rng.exponential(size=30)
    theirs = scipy.stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert stats.mean(x) == pytest.approx((x.mean(), *theirs, 12))
    theirs = scipy.stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert stats.difference(x, y) == pytest.approx((x.mean() - y.mean(), *theirs, 12))


def bootstrapped_mean(x):
    return stats.bootstrap(lambda rows: rows.mean(1), x, many=True)


def test_the_bootstrap_is_scipys():
    x = np.random.default_rng(3).exponential(size=30)
    ours = bootstrapped_mean(x)
    theirs = scipy.stats.bootstrap((x,), np.mean, n_resamples=20_000, rng=1).confidence_interval
    percentile = scipy.stats.bootstrap(
        (x,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    assert ours.value == pytest.approx(x.mean())
    assert ours[1:3] == pytest.approx(theirs, abs=0.03)
    assert ours.high > percentile.high  # skewed data: the long side is longer than percentiles say


def test_resamples_one_by_one_are_those_taken_together():
    x = np.random.default_rng(3).exponential(size=30)
    y = np.random.default_rng(4).exponential(size=20)

    def gap(a, b):
        return a.mean() - b.mean()

    one_by_one = stats.bootstrap(gap, x, y)
    together = stats.bootstrap(lambda a, b: a.mean(1) - b.mean(1), x, y, many=True)
    assert one_by_one == pytest.approx(together, rel=1e-9)


def test_what_lies_behind_the_first_axis_is_not_resampled():
    rows = np.random.default_rng(5).normal(size=(40, 7))
    assert stats.mean(rows) == pytest.approx(stats.mean(rows.mean(1)))
    assert stats.difference(rows, rows[:9]).n == 9


def test_groups_are_drawn_and_left_out_whole():
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(24), 10)
    x = rng.exponential(size=24)[groups]
    found = stats.bootstrap_groups(lambda rows: x[rows].mean(), groups)
    of_means = scipy.stats.bootstrap((x[::10],), np.mean, n_resamples=20_000, rng=1)
    assert found.n == 24
    assert found[1:3] == pytest.approx(of_means.confidence_interval, abs=0.1)
    naive = stats.mean(x)
    assert found.high - found.low > 2 * (naive.high - naive.low)


def test_cohens_d_and_difference():
    rng = np.random.default_rng(1)
    a = rng.normal(2, 1, 400)
    b = rng.normal(0, 1, 400)
    assert stats.cohens_d(a, b).value == pytest.approx(2, abs=0.2)
    assert stats.difference(a, b).holds(2) and not stats.difference(a, b).holds(0)


def test_correlations():
    x = np.arange(100.0)
    assert stats.rank_correlation(x, x**3).value == pytest.approx(1)
    assert stats.correlation(x, -x).value == pytest.approx(-1)
    noisy = x % 7 + np.random.default_rng(2).normal(size=100)
    found = stats.rank_correlation(x % 7, noisy)
    assert found.value == pytest.approx(scipy.stats.spearmanr(x % 7, noisy).statistic)
    assert found.low < found.value < found.high < 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (lambda: stats.mean([0.1] * 7), (0.1, 0.1, 0.1)),
        (lambda: stats.mean([1.0, 2.0]), (1.5, -4.85, 7.85)),
        (lambda: bootstrapped_mean([0.1] * 7), (0.1, 0.1, 0.1)),
        (lambda: bootstrapped_mean([1, 1, 1, 1, 1, 9]), (14 / 6, 1, 19 / 3)),
        (lambda: bootstrapped_mean([1.0, 2.0]), (1.5, 1, 2)),
        (lambda: stats.difference([1, 1, 1], [2, 2]), (-1, -1, -1)),
        (lambda: stats.cohens_d([1, 1, 1], [1, 1, 1]), (0, 0, 0)),
        (lambda: stats.correlation(np.arange(9), -np.arange(9)), (-1, -1, -1)),
        (lambda: stats.correlation([1, 2], [3, 5]), (1, 1, 1)),  # most resamples have no spread
        (lambda: stats.correlation([1, 2, 3], [0, 0, 0]), (np.nan, np.nan, np.nan)),
        (lambda: stats.bootstrap_groups(lambda rows: 1.0, np.arange(20) // 4), (1, 1, 1)),
    ],
)
def test_degenerate_data_give_sane_intervals(estimate, expected):
    assert estimate()[:3] == pytest.approx(expected, nan_ok=True, abs=0.5)
    assert (estimate().low == estimate().high) == (expected[1] == expected[2])


@pytest.mark.filterwarnings("error")
def test_resamples_without_a_class_do_not_count():
    """Leaving out the only group of a class leaves nothing to compute: percentiles of the rest."""
    x = np.arange(8.0)
    rare = np.array([True, True, *[False] * 6])

    def gap(rows):
        chosen = rare[rows]
        return x[rows][~chosen].mean() - x[rows][chosen].mean() if chosen.any() else np.nan

    found = stats.bootstrap_groups(gap, [0, 0, 1, 1, 2, 2, 3, 3])
    assert found.value == pytest.approx(4) and 2 <= found.low < found.value < found.high <= 6


def test_many_units_take_no_time_that_grows_with_their_square():
    found = bootstrapped_mean(np.random.default_rng(0).normal(size=30_000))
    assert found.high - found.low == pytest.approx(2 * 1.96 / 30_000**0.5, rel=0.1)


def test_wilson_interval_is_the_published_one():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263
    estimate = stats.proportion(np.arange(263) < 81)
    assert estimate.low == pytest.approx(0.2553, abs=1e-4)
    assert estimate.high == pytest.approx(0.3662, abs=1e-4)
    assert stats.proportion([True] * 10).low < 0.8


def test_bad_input():
    with pytest.raises(ValueError, match="two units"):
        stats.mean([1])
    with pytest.raises(ValueError, match="equally long"):
        stats.correlation([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="at least one"):
        stats.proportion([])
    for odd in ([1, 0, np.nan], [1, 2], [True, None]):
        with pytest.raises(ValueError, match="true or false"):
            stats.proportion(odd)
    with pytest.raises(ValueError, match="two groups"):
        stats.bootstrap_groups(lambda rows: 0.0, ["a", "a"])
    for gap in (None, np.nan, "", "nan"):
        with pytest.raises(ValueError, match=r"groups must be known.*rows 1"):
            stats.bootstrap_groups(lambda rows: 0.0, ["a", gap, "b"])
        with pytest.raises(ValueError, match=r"y must be known.*rows 2"):
            stats.between_within(np.eye(3), np.array(["a", "b", gap], dtype=object))
    with pytest.raises(ValueError, match=r"groups must hold one group for each row.*Got 6 groups"):
        stats.bootstrap_groups(lambda rows: np.arange(4.0)[rows].mean(), [0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        stats.proportion(np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="method must be one of"):
        stats.correct([0.5], "hom")


@pytest.mark.parametrize(
    "wrong", [{"level": 95}, {"level": np.nan}, {"level": 0}, {"n_resamples": 0}, {"seed": -1}]
)
def test_an_interval_of_no_level_or_no_resample_is_refused(wrong):
    (name,) = wrong
    for estimate in (stats.bootstrap, stats.bootstrap_groups):
        with pytest.raises(ValueError, match=f"{name} must be"):
            estimate(np.mean, [1, 2, 3], **wrong)
    if name == "level":
        with pytest.raises(ValueError, match="level must be"):
            stats.mean([1, 2, 3], **wrong)


def test_a_mean_is_of_any_numbers_and_of_nothing_else():
    numbers = [1.0, 2.0, 3.0]
    for same in (
        (x for x in numbers),
        dict(enumerate(numbers)).values(),
        pd.Series(numbers, dtype=object),
    ):
        assert stats.mean(same) == stats.mean(numbers)
    for wrong in ("123", list("ab"), None, [1.0, None], 3.0):
        with pytest.raises(TypeError, match="values must be numbers"):
            stats.mean(wrong)
        with pytest.raises(TypeError, match="b must be numbers"):
            stats.difference(numbers, wrong)


# ----------------------------------------------------------------------- within and between classes
def classes_and_noise(strength, dim=40, units=30, seed=1):
    """Vectors of five classes: noise plus a vector that a class has in common."""
    rng = np.random.default_rng(seed)
    y = np.repeat(list("abcde"), units)
    common = {label: rng.normal(size=dim) for label in "abcde"}
    own = rng.normal(size=(len(y), dim))
    return own + strength * np.stack([common[label] for label in y]), y


def test_between_within():
    settings = {"n_permutations": 200, "n_resamples": 200}
    X, y = classes_and_noise(0.7)
    found = stats.between_within(X, y, **settings)
    assert found.difference.low > 0 and found.p < 0.01
    assert found.within.value > found.between.value
    X, y = classes_and_noise(0)
    null = stats.between_within(X, y, **settings)
    assert null.difference.holds(0) and null.p > 0.01


def test_many_takes_of_few_prompts_are_alike_because_of_the_prompt():
    y = np.repeat(list("abcde"), 32)
    prompt = np.arange(len(y)) // 8
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 40))[prompt] + 0.3 * rng.normal(size=(len(y), 40))
    settings = {"n_permutations": 200, "n_resamples": 50}
    naive = stats.between_within(X, y, **settings)
    honest = stats.between_within(X, y, prompt, **settings)
    assert naive.p < 0.01 < 0.05 < honest.p and honest.within.n == 20


def test_between_within_is_the_mean_cosine():
    X = np.random.default_rng(2).normal(size=(6, 5))
    y = np.array(list("aabbcc"))
    found = stats.between_within(X, y, n_permutations=10, n_resamples=10)
    u = X / np.linalg.norm(X, axis=1, keepdims=True)
    pairs = [(u[i] @ u[j], y[i] == y[j]) for i in range(6) for j in range(i)]
    within = np.mean([cosine for cosine, same in pairs if same])
    between = np.mean([cosine for cosine, same in pairs if not same])
    assert found.within.value == pytest.approx(within)
    assert found.between.value == pytest.approx(between)
    assert found.difference.value == pytest.approx(within - between)
    for wrong in (
        {"X": X[:, 0]},
        {"X": X * 0},
        {"y": np.array(["a"] * 6)},
        {"groups": np.array(list("ababcc"))},
        {"y": np.arange(6.0)},
        {"y": np.arange(3).repeat(2), "groups": np.arange(3).repeat(2)},
        {"n_permutations": 0},
    ):
        with pytest.raises(ValueError):
            stats.between_within(**{"X": X, "y": y, **wrong})


def test_correction():
    assert np.allclose(stats.correct([0.01, 0.04, 0.5]), [0.03, 0.08, 0.5])
    assert np.allclose(stats.correct([0.01, 0.02, 0.5], "fdr_bh"), [0.03, 0.03, 0.5])
    for method, wanted in (("holm", [0.003, 0.02]), ("fdr_bh", [0.003, 0.015])):
        found = stats.correct([0.001, 0.01, np.nan], method)
        assert np.allclose(found[:2], wanted) and np.isnan(found[2]), "one more comparison"
    with pytest.raises(ValueError, match=r"between 0 and 1\. Got \[0\.5, 1\.2\]"):
        stats.correct([0.5, 1.2])


def test_a_correction_collects_no_garbage():
    """statsmodels does, which takes 0.3 s where a model is imported."""

    class Garbage:
        pass

    garbage = Garbage()
    garbage.itself = garbage
    there = weakref.ref(garbage)
    gc.disable()
    try:
        del garbage
        stats.correct([0.01, 0.04])
        assert there() is not None
    finally:
        gc.enable()
    gc.collect()
    assert there() is None
