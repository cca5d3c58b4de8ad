"""Probes find what is there, and stay silent where nothing is."""

import numpy as np
import pytest
import xarray as xr

from lib import probes, prompts, stats

TABLE = prompts.crossed("implied", 24)
Y = TABLE["emotion"].to_numpy()
GROUPS = TABLE[["family", "template"]]


def noise(seed=0, dim=40):
    return np.random.default_rng(seed).normal(size=(len(Y), dim))


def by(labels, seed=1, dim=40):
    """One random vector for each distinct label."""
    rng = np.random.default_rng(seed)
    vectors = {label: rng.normal(size=dim) for label in dict.fromkeys(labels)}
    return np.stack([vectors[label] for label in labels])


def test_what_generalises_is_found():
    result = probes.fit(noise() + by(Y), Y, GROUPS, n_permutations=50)
    assert result.score.value > 0.9 and result.score.low > 0.8 and result.p < 0.05
    assert 0.1 < result.null < 0.3 and result.selectivity > 0.3
    assert (result.predictions == Y).mean() > 0.9


def test_memory_of_words_is_not():
    """Every word has a vector of its own and emotions have nothing in common: only a leaking split would find them."""
    X = 0.3 * noise(dim=150) + by(TABLE["family"], dim=150)
    leaking = probes.fit(X, Y, TABLE["template"], n_permutations=0)
    honest = probes.fit(X, Y, GROUPS, n_permutations=50)
    assert leaking.score.value > 0.8
    assert honest.score.holds(0.2) and honest.p > 0.05
    assert honest.selectivity < 0.2  # the control task is learned as well as the task


def test_words_alone_cannot_name_unseen_words():
    assert probes.words(TABLE["prompt"], Y, GROUPS, n_permutations=20).score.value < 0.4
    assert probes.words(TABLE["prompt"], Y, n_permutations=20).score.value > 0.8


def test_false_positives_are_as_rare_as_they_should_be():
    ps = [
        probes.fit(noise(s, 20) + by(TABLE["family"], s, 20), Y, GROUPS, n_permutations=39, seed=s).p for s in range(40)
    ]
    assert np.mean(np.array(ps) <= 0.05) <= 0.15


def test_numbers():
    X = noise()
    result = probes.fit(X, X[:, 0] + 0.1 * noise(3)[:, 0], GROUPS, n_permutations=50)
    assert result.score.value > 0.8 and result.p < 0.05 and abs(result.null) < 0.15
    assert probes.fit(X, noise(4)[:, 0], GROUPS, n_permutations=50).p > 0.02


def test_no_test_row_shares_a_group_with_its_training_rows():
    groups = np.stack([np.unique(c.astype(str), return_inverse=True)[1] for c in GROUPS.to_numpy().T], 1)
    folds, _ = probes._folds(Y, groups, 4, np.random.default_rng(0))
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(len(Y)))
    for train, test in folds:
        for column in groups.T:
            assert not set(column[train]) & set(column[test])
        assert set(Y[train]) == set(Y)


def test_arrays_datasets_and_sweeps():
    X = noise() + by(Y)
    acts = xr.Dataset(
        {
            "text": (("clip", "token", "text_dim"), X[:, None].repeat(2, 1)),
            "resid.3": (("clip", "frame", "dim"), noise()[:, None]),
        }
    )
    table = probes.sweep(acts, Y, GROUPS, n_permutations=20)
    assert list(table["site"]) == ["text", "resid.3"] and list(table["layer"]) == [-1, 3]
    assert table["score"][0].value > 0.9 > 0.5 > table["score"][1].value
    same = probes.fit(xr.DataArray(X, dims=("clip", "dim")), list(Y), GROUPS, n_permutations=0)
    assert same.score.value == pytest.approx(table["score"][0].value)


@pytest.mark.parametrize(
    ("X", "y", "groups", "message"),
    [
        (noise()[:, :, None], Y, None, "average or select frames"),
        (noise(), Y[:5], None, "one label for each"),
        (np.where(noise() > 2, np.nan, 1.0), Y, None, "NaN"),
        (noise(), np.full(len(Y), "sad"), None, "one value only"),
        (noise(), Y, np.arange(len(Y)) % 2, "4 folds need"),
        (noise(), Y, Y, "of one group"),
        (noise(), Y, np.arange(7), "one row for each"),
    ],
)
def test_bad_input(X, y, groups, message):
    with pytest.raises(ValueError, match=message):
        probes.fit(X, y, groups)


def test_between_within():
    found = stats.between_within(noise() + 0.7 * by(Y), Y, n_permutations=200, n_resamples=200)
    assert found.difference.low > 0 and found.p < 0.01 and found.within.value > found.between.value
    null = stats.between_within(noise(), Y, n_permutations=200, n_resamples=200)
    assert null.difference.holds(0) and null.p > 0.01
    # many takes of few prompts: alike because of the prompt, not of the emotion
    X, word = 0.3 * noise() + by(TABLE["family"]), TABLE["family"]
    naive, honest = (stats.between_within(X, Y, g, n_permutations=200, n_resamples=50) for g in (None, word))
    assert naive.p < 0.01 < 0.05 < honest.p


def test_between_within_is_the_mean_cosine():
    X, y = noise(2, 5)[:6], np.array(list("aabbcc"))
    found = stats.between_within(X, y, n_permutations=10, n_resamples=10)
    u = X / np.linalg.norm(X, axis=1, keepdims=True)
    pairs = [(u[i] @ u[j], y[i] == y[j]) for i in range(6) for j in range(i)]
    assert found.within.value == pytest.approx(np.mean([c for c, same in pairs if same]))
    assert found.between.value == pytest.approx(np.mean([c for c, same in pairs if not same]))
    for wrong in ({"X": X[:, 0]}, {"X": X * 0}, {"y": np.array(["a"] * 6)}, {"groups": np.array(list("ababcc"))}):
        with pytest.raises(ValueError):
            stats.between_within(**{"X": X, "y": y, **wrong})


def test_correction():
    assert np.allclose(stats.correct([0.01, 0.04, 0.5]), [0.03, 0.08, 0.5])
    assert np.allclose(stats.correct([0.01, 0.02, 0.5], "fdr_bh"), [0.03, 0.03, 0.5])
