"""Probes find what is there, and stay silent where nothing is."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.metrics import balanced_accuracy_score

from lib import prompts
from lib.methods import probes

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
    assert result.score.value == pytest.approx(balanced_accuracy_score(Y, result.predictions))


def test_memory_of_words_is_not():
    """Every word has a vector of its own and emotions have nothing in common: only a leaking split
    would find them."""
    X = 0.3 * noise(dim=120) + by(TABLE["family"], dim=120)
    leaking = probes.fit(X, Y, TABLE["template"], n_permutations=0)
    honest = probes.fit(X, Y, GROUPS, n_permutations=50)
    assert leaking.score.value > 0.8 and np.isnan(leaking.p)
    assert honest.score.holds(0.2) and honest.p > 0.05
    assert honest.selectivity < 0.2  # the control task is learned as well as the task


def test_words_alone_cannot_name_unseen_words():
    assert probes.words(TABLE["prompt"], Y, GROUPS, n_permutations=0).score.value < 0.4
    assert probes.words(TABLE["prompt"], Y, n_permutations=0).score.value > 0.8


def test_false_positives_are_as_rare_as_they_should_be():
    ps = []
    for seed in range(30):
        X = noise(seed, 20) + by(TABLE["family"], seed, 20)
        ps.append(probes.fit(X, Y, GROUPS, n_permutations=19, seed=seed).p)
    assert np.mean(np.array(ps) <= 0.05) <= 0.15


def test_numbers():
    X = noise()
    result = probes.fit(X, X[:, 0] + 0.1 * noise(3)[:, 0], GROUPS, n_permutations=50)
    assert result.score.value > 0.8 and result.p < 0.05 and abs(result.null) < 0.15
    assert probes.fit(X, noise(4)[:, 0], GROUPS, n_permutations=50).p > 0.02


def test_no_test_row_shares_a_group_with_its_training_rows():
    columns = [np.unique(GROUPS[c].astype(str), return_inverse=True)[1] for c in GROUPS]
    groups = np.stack(columns, 1)
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
    table = probes.sweep(acts, Y, GROUPS, n_permutations=0)
    assert list(table["site"]) == ["text", "resid.3"] and list(table["layer"]) == [-1, 3]
    assert table["score"][0].value > 0.9 > 0.5 > table["score"][1].value
    labels = xr.DataArray(Y, dims="clip")
    for y in (list(Y), labels, pd.Series(Y, dtype="category")):
        same = probes.fit(xr.DataArray(X, dims=("clip", "dim")), y, GROUPS, n_permutations=0)
        assert same.score == table["score"][0]


def test_transfer():
    X = noise() + by(Y)
    assert probes.transfer(X, Y, noise(7) + by(Y) + 3, Y).value > 0.9
    assert probes.transfer(X, Y, noise(7), Y).holds(0.2)


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, ""])
def test_a_missing_label_is_no_class(gap):
    y = list(Y)
    y[3] = y[7] = gap
    with pytest.raises(ValueError, match=r"y has 2 missing labels \(rows 3, 7\).*Drop these rows"):
        probes.fit(noise(), y, GROUPS, n_permutations=0)
    with pytest.raises(ValueError, match="y has 1 missing labels"):
        probes.fit(noise(), np.r_[np.nan, noise()[1:, 0]], n_permutations=0)
    groups = GROUPS.astype(object)
    groups.iloc[5, 0] = gap
    with pytest.raises(ValueError, match=r"groups\['family'\] has 1 missing labels \(rows 5\)"):
        probes.fit(noise(), Y, groups, n_permutations=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X": noise()[:, :, None]}, "verage or select frames"),
        ({"y": Y[:5]}, "one label for each"),
        ({"X": np.where(noise() > 2, np.nan, 1.0)}, "NaN"),
        ({"y": np.full(len(Y), "sad")}, "one value only"),
        ({"y": np.where(noise()[:, 0] > 2, np.inf, 1.0)}, "infinite"),
        ({"groups": np.arange(len(Y)) % 2}, "4 folds need"),
        ({"groups": Y}, "of one group"),
        ({"groups": np.arange(7)}, "one row for each"),
        ({"n_splits": 1}, "n_splits must be an integer, 2 or more"),
        ({"n_permutations": -1}, "n_permutations must be an integer, 0 or more"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        probes.fit(**{"X": noise(), "y": Y, **given})
