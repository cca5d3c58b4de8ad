"""What features respond to: known answers for every statistic."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lib import features


@pytest.fixture
def world():
    """600 clips of three classes in 60 groups; feature 0 follows class "a", feature 1 a number, the others nothing."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 10)
    classes = np.array(["a", "b", "c"])[group % 3]
    number = rng.normal(size=600)
    activity = rng.exponential(size=(600, 40))
    activity[:, 0] += 2.0 * (classes == "a")
    activity[:, 1] += 1.5 * number
    return activity, classes, number, group


def test_auroc_is_sklearns(world):
    activity, classes, *_ = world
    activity = activity.round(1)  # with ties
    expected = [roc_auc_score(classes == "a", column) for column in activity.T]
    assert features.auroc(activity, classes == "a") == pytest.approx(expected)
    assert (features.auroc(activity, np.ones(600, bool)) == 0.5).all()


def test_targets():
    labels = pd.DataFrame({"emotion": ["happy", "sad", ""], "tempo": [1.0, 2.0, 3.0], "mode": [-1.0, 1.0, 1.0]})
    found = features.targets(labels)
    assert list(found) == ["happy", "sad", "tempo high", "mode high"]
    assert found["happy"][1].tolist() == [True, True, False]
    assert found["tempo high"][0].tolist() == [False, False, True] and found["tempo high"][1].tolist() == [
        True,
        False,
        True,
    ]
    with pytest.raises(ValueError, match="no column"):
        features.targets(pd.DataFrame())


def test_selective_finds_the_one_and_is_silent_elsewhere(world):
    activity, classes, _, group = world
    table = features.selective(activity, classes, group)
    assert table.loc[table["selective"], ["feature", "class"]].to_numpy().tolist() == [[0, "a"]]
    assert table["beyond_max"].sum() == 1
    wrong = 0
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(np.repeat(["a", "b", "c"], 20))[group]
        wrong += bool(features.selective(activity[:, 2:], shuffled, group, 200, seed=seed)["selective"].any())
    assert wrong <= 3, "a false-discovery rate of 5 % lets about one family of tests in twenty through"
    with pytest.raises(ValueError, match="one class"):
        features.selective(activity, np.roll(classes, 1), group)


def test_groups_matter():
    """Clips of one prompt resemble one another: taken for independent, noise looks selective."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(9), 60)
    classes = np.array(["a", "b", "c"])[group % 3]
    activity = rng.normal(size=(9, 50))[group] + 0.3 * rng.normal(size=(540, 50))
    assert features.selective(activity, classes)["selective"].sum() > 10
    assert features.selective(activity, classes, group)["selective"].sum() == 0


def test_recovery_scores_on_clips_that_did_not_choose(world):
    activity, classes, number, _ = world
    train = np.arange(600) < 300
    noise = np.random.default_rng(9).normal(size=(600, 500))
    labels = pd.DataFrame({"emotion": classes, "tempo": number})
    table = features.recovery({"sae": activity, "noise": noise}, labels, train).set_index("target")
    assert table.loc["a", "feature"] == 0 and table.loc["tempo high", "feature"] == 1
    assert table.loc["a", "sae"].value > 0.85 and table.loc["a", "noise"].holds(0.5)
    assert table.loc["a", "beyond noise"].low > 0
    assert table.loc["b", "sae"].value < 0.75, "nothing but the absence of a says b"


def test_names_hold_on_unseen_clips_or_do_not(world):
    activity, classes, number, _ = world
    labels = pd.DataFrame({"emotion": classes, "tempo": number})
    table = features.name(activity, labels, np.arange(600) < 300)
    assert table["label"][0] == "a" and table["held_out"][0] > 0.85
    assert table["label"][1] == "tempo high" and table["held_out"][1] > 0.8
    assert table["held_out"][2:].mean() == pytest.approx(0.5, abs=0.05)
    assert table["auroc"][2:].mean() > 0.52, "on the clips that chose it, every label looks true"
    falls = features.name(-activity, labels, np.arange(600) < 300)
    assert falls["label"][0] == "not a" and falls["label"][1] == "tempo low"


def test_matched():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 16))
    assert features.matched(a, 2 * a[::-1]) == pytest.approx(1)
    best = features.matched(a, a[:10])
    assert (best[:10] > 0.999).all() and (best[10:] == 0).all()


def test_absorption_and_splitting():
    words = np.repeat(["glad", "merry", "jolly", "slow", "fast"], 20)
    direction, own = np.eye(8)[0], np.eye(8)[1]
    rng = np.random.default_rng(0)
    vectors = 0.05 * rng.normal(size=(100, 8)) + np.isin(words, ["glad", "merry", "jolly"])[:, None] * direction
    decoder = np.stack([direction, (direction + own) / 2**0.5, np.eye(8)[3]])
    whole = np.stack([np.isin(words, ["glad", "merry", "jolly"]), words == "slow", words == "fast"], 1).astype(float)
    family = ["glad", "merry", "jolly"]
    found = features.absorbed(whole, decoder, vectors, words, family)
    assert (found["main"], found["recall"], found["splits"], found["absorbed"]) == (0, 1, 1, 0)
    eaten = whole.copy()
    eaten[words == "jolly", 0], eaten[:, 1] = 0, words == "jolly"
    found = features.absorbed(eaten, decoder, vectors, words, family)
    assert found["main"] == 0 and found["absorbed"] == pytest.approx(1 / 3) and found["splits"] == 2
    with pytest.raises(ValueError, match="some must be of the family"):
        features.absorbed(whole, decoder, vectors, words, ["none"])


def test_ask_gives_the_model_both_sides():
    said = []
    label = features.ask(["a sad tune"], ["a happy tune"], lambda text: said.append(text) or " sadness \n")
    assert label == "sadness" and "+ a sad tune" in said[0] and "- a happy tune" in said[0]
