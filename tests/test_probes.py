"""Probes find what is there, and stay silent where nothing is."""

import numpy as np
import pandas as pd
import pytest
import torch
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


def test_rows_of_a_group_are_no_units_of_their_own():
    """A label that hardly varies within a song and has nothing to do with what is read."""
    ps = []
    for seed in range(20):
        rng = np.random.default_rng(1000 + seed)
        song = np.repeat(np.arange(24), 6)
        X = rng.normal(size=(24, 8))[song] + 0.1 * rng.normal(size=(144, 8))
        y = rng.normal(size=24)[song] + 0.01 * rng.normal(size=144)
        ps.append(probes.fit(X, y, song, n_permutations=19, seed=seed).p)
    assert np.mean(np.array(ps) <= 0.05) <= 0.2


def test_a_label_that_varies_within_groups_is_found():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(["a", "b"], 60))
    group = np.repeat(np.arange(12), 10)
    X = rng.normal(size=(120, 6)) + 2 * (y == "a")[:, None]
    assert probes.fit(X, y, group, n_permutations=39).p < 0.05


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
    acts["head.1.2"] = acts["resid.3"]
    table = probes.sweep(acts, Y, GROUPS, n_permutations=0)
    assert list(table["site"]) == ["text", "resid.3", "head.1.2"]
    assert list(table["kind"]) == ["text", "resid", "head"] and list(table["layer"]) == [-1, 3, 1]
    assert table["score"][0].value > 0.9 > 0.5 > table["score"][1].value
    labels = xr.DataArray(Y, dims="clip")
    for y in (list(Y), labels, pd.Series(Y, dtype="category")):
        same = probes.fit(xr.DataArray(X, dims=("clip", "dim")), y, GROUPS, n_permutations=0)
        assert same.score == table["score"][0]
    learning = torch.tensor(X, requires_grad=True)
    for tensor in (learning, learning.bfloat16()):
        assert probes.fit(tensor, Y, GROUPS, n_permutations=0).score.value > 0.9


def test_transfer():
    X = noise() + by(Y)
    assert probes.transfer(X, Y, noise(7) + by(Y) + 3, Y).value > 0.9
    assert probes.transfer(X, Y, noise(7), Y).holds(0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y_new": np.where(Y == "sad", "blue", Y)}, r"y_new must hold classes of y only.*'blue'"),
        ({"y": Y == "sad", "y_new": (Y == "sad").astype(str)}, "classes of y only"),
        ({"y_new": noise()[:, 0]}, "y holds classes and y_new numbers"),
        ({"X_new": noise()[:, 1:]}, "as wide as X"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_what_was_not_learned_is_not_asked(given, message):
    with pytest.raises(ValueError, match=message):
        probes.transfer(**{"X": noise(), "y": Y, "X_new": noise(), "y_new": Y, **given})


# ----------------------------------------------------------------- beyond what needs no block
def test_the_block_is_chosen_inside_the_split():
    """Of twenty blocks of noise the best one looks good to whoever chooses it on the test rows."""
    blocks = {f"resid.{i}": noise(i) + by(TABLE["family"], 100 + i) for i in range(20)}
    shares = probes.families({"blocks": blocks, **blocks}, Y, GROUPS, repeats=1)
    means = shares.mean()
    assert means.drop("blocks").max() > 0.28
    assert means["blocks"] == pytest.approx(0.2, abs=0.06)
    assert probes.families({"blocks": blocks}, Y, GROUPS, repeats=1).equals(shares[["blocks"]])


def test_the_block_that_knows_is_found():
    blocks = {f"resid.{i}": noise(i) for i in range(6)}
    blocks["resid.4"] = blocks["resid.4"] + by(Y)
    shares = probes.families({"blocks": blocks, "bag": probes.bag(TABLE["prompt"])}, Y, GROUPS)
    assert shares["blocks"].mean() > 0.9 and shares["bag"].mean() < 0.35
    assert list(shares.index) == list(dict.fromkeys(TABLE["family"]))
    rows = probes.fit(blocks["resid.4"], Y, GROUPS, n_permutations=0)
    own = pd.Series(rows.predictions == Y).groupby(TABLE["family"].to_numpy()).mean()
    alone = probes.families({"one": blocks["resid.4"]}, Y, GROUPS, repeats=1)["one"]
    assert alone.equals(own[alone.index].rename("one"))


def test_excess_is_beyond_the_best_baseline():
    """What is there before the blocks does not count, however well the blocks say it."""
    before = noise(1) + 0.5 * by(Y)
    known = probes.families(
        {"blocks": before + 0.01 * noise(2), "noise": noise(3), "before": before}, Y, GROUPS
    )
    found = probes.excess(known, 0.2)
    assert found["legible"] == pytest.approx(known["blocks"] - 0.2)
    assert found["beyond_words"] == pytest.approx(known["blocks"] - known["before"])
    assert found["legible"].mean() > 0.3 and abs(found["beyond_words"].mean()) < 0.02
    more = probes.families({"blocks": before + by(Y, 9), "before": before}, Y, GROUPS)
    assert probes.excess(more, 0.2)["beyond_words"].mean() > 0.1


def test_permuted_labels_are_named_by_chance():
    """Whatever is in the space; and no worse than by chance, which uneven folds would make it."""
    for X in (noise() + by(Y), 0.3 * noise() + by(TABLE["family"])):
        blocks = {"a": X, "b": noise(5)}
        shares = probes.permuted_families(blocks, Y, GROUPS, 60)
        assert shares.shape == (60, TABLE["family"].nunique())
        assert shares.mean() == pytest.approx(0.2, abs=0.03)
        assert shares.mean(1).std() > 0.01


def test_static_embeddings_are_those_of_the_words_alone(organism, miniature):
    prompts_of = ["a sad violin melody", "happy", ""]
    for m in (organism, miniature):
        conditioner = m.lm.condition_provider.conditioners["description"]
        found = probes.static(m, prompts_of)
        weight = conditioner.t5.get_input_embeddings().weight.detach().numpy()
        for row, prompt in zip(found[:2], prompts_of, strict=False):
            ids = conditioner.t5_tokenizer(prompt)["input_ids"]
            assert row == pytest.approx(weight[ids].mean(0), abs=1e-6)
        assert (found[2] == 0).all()
        turned = probes.static(m, ["melody violin sad a"])[0]
        assert turned == pytest.approx(found[0], abs=1e-6), "order is lost: nothing is computed"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"spaces": {}}, "at least one space"),
        ({"spaces": {"none": {}}}, "'none' has no block"),
        ({"y": noise()[:, 0]}, "y holds numbers"),
        ({"groups": None}, "give the groups"),
        ({"repeats": 0}, "repeats must be an integer, 1 or more"),
    ],
)
def test_bad_spaces(given, message):
    with pytest.raises(ValueError, match=message):
        probes.families(**{"spaces": {"a": noise()}, "y": Y, "groups": GROUPS, **given})


def test_nothing_to_exceed():
    with pytest.raises(ValueError, match="number of spaces must be an integer, 2 or more"):
        probes.excess(pd.DataFrame({"blocks": [0.1, 0.2]}), 0.2)
    for chance in (np.nan, 25):
        with pytest.raises(ValueError, match="chance must be"):
            probes.excess(pd.DataFrame({"blocks": [0.1, 0.2], "words": [0.1, 0.2]}), chance)
    with pytest.raises(ValueError, match="prompts hold no word"):
        probes.bag(["", " , "])


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
        ({"seed": -1}, "seed must be an integer, 0 or more"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        probes.fit(**{"X": noise(), "y": Y, **given})
