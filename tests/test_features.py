"""What features respond to: known answers for every statistic."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lib.book import rules
from lib.methods import features
from lib.methods.sae import bases

FAMILIES = np.repeat([f"{name}{i}" for name in "abcde" for i in range(8)], 4)
CLASSES = np.array([family[0] for family in FAMILIES])


def one_hot(labels):
    return (np.asarray(labels)[:, None] == np.unique(labels)) * 1.0


@pytest.fixture
def world():
    """600 clips of three classes in 60 groups; feature 0 follows class "a", feature 1 a number, the
    others nothing."""
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


def test_auroc_of_resamples_is_that_of_each(world):
    activity, classes, *_ = world
    column = activity[:, 0].round(1)
    positive = classes == "a"
    clips = np.random.default_rng(0).integers(600, size=(7, 600))
    clips[3] = np.flatnonzero(positive)[0]
    found = features._area_of_resamples(column, positive)(clips)
    expected = [features.auroc(column[c, None], positive[c])[0] for c in clips]
    assert found == pytest.approx(expected) and found[3] == 0.5


def test_targets():
    labels = pd.DataFrame(
        {
            "emotion": ["happy", "sad", ""],
            "tempo": [1.0, 2.0, 3.0],
            "mode": [-1.0, 1.0, 1.0],
            "loud": [True, False, True],
        }
    )
    found = features.targets(labels)
    assert list(found) == ["happy", "sad", "tempo high", "mode high", "loud"]
    assert found["happy"][1].tolist() == [True, True, False]
    assert found["tempo high"][0].tolist() == [False, False, True]
    assert found["tempo high"][1].tolist() == [True, False, True]
    assert found["mode high"][0].tolist() == [False, True, True]
    assert found["loud"][0].tolist() == [True, False, True] and found["loud"][1].all()


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, ""])
def test_missing_labels_do_not_count(world, gap):
    """The areas are those of the clips that have a label."""
    activity, classes, number, _ = world
    loud = number > 0.3
    gone = np.random.default_rng(1).random(600) < 0.3
    columns = {"emotion": classes, "tempo": number, "loud": loud}
    whole = pd.DataFrame(columns)
    gappy = whole.astype(object)
    gappy[gone] = gap
    expected = features.selectivity(activity[~gone], whole[~gone])
    pd.testing.assert_frame_equal(features.selectivity(activity, gappy), expected)
    assert "None" not in features.targets(gappy) and "nan" not in features.targets(gappy)
    numbers = pd.DataFrame({"tempo": np.where(gone, np.nan, number)})
    assert features.selectivity(activity, numbers)["tempo high"].equals(expected["tempo high"])


def test_labels_that_ask_nothing_or_twice():
    with pytest.raises(ValueError, match="no column with a label"):
        features.targets(pd.DataFrame())
    with pytest.raises(ValueError, match="no column with a label"):
        features.targets(pd.DataFrame({"emotion": ["", None]}))
    with pytest.raises(ValueError, match="ask the same question, 'no'"):
        features.targets(pd.DataFrame({"fast": ["yes", "no"], "loud": ["no", "yes"]}))


def test_selective_finds_the_one_and_is_silent_elsewhere(world):
    activity, classes, _, group = world
    table = features.selective(activity, classes, group)
    found = table.loc[table["selective"], ["feature", "class"]]
    assert found.to_numpy().tolist() == [[0, "a"]]
    assert table["beyond_max"].sum() == 1
    wrong = 0
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(np.repeat(["a", "b", "c"], 20))[group]
        table = features.selective(activity[:, 2:], shuffled, group, 200, seed=seed)
        wrong += bool(table["selective"].any())
    assert wrong <= 3, "a false-discovery rate of 5 % lets about one family of tests in 20 through"
    with pytest.raises(ValueError, match="one class"):
        features.selective(activity, np.roll(classes, 1), group)
    with pytest.raises(ValueError, match="classes has 600 missing"):
        features.selective(activity, [None] * 600, group)


def test_counts_stand_beside_those_of_other_directions(world):
    """Where classes are a direction of the space, many directions tell them; copies count once."""
    activity, classes, _, group = world
    copies = np.concatenate([activity, activity[:, :1], 2 * activity[:, :1]], 1)
    few = np.random.default_rng(0).normal(size=(600, 3)) + 3 * one_hot(classes)
    mixed = few @ np.random.default_rng(1).normal(size=(3, 60))
    bases_of_it = {"sae": copies, "random": mixed}
    directions = {"sae": np.eye(42), "random": np.eye(60)}
    table = features.counts(bases_of_it, directions, classes, group, 100).set_index("basis")
    assert list(table["features"]) == [42, 60]
    assert table.loc["sae"].to_list() == [42, 3, 1, 1]
    assert table.loc["random", "selective"] > 20 and table.loc["random", "classes"] == 3
    assert 3 <= table.loc["random", "distinct"] < table.loc["random", "selective"]


def test_groups_matter():
    """Clips of one prompt resemble one another: taken for independent, noise looks selective."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(9), 60)
    classes = np.array(["a", "b", "c"])[group % 3]
    activity = rng.normal(size=(9, 50))[group] + 0.3 * rng.normal(size=(540, 50))
    assert features.selective(activity, classes)["selective"].sum() > 10
    assert features.selective(activity, classes, group)["selective"].sum() == 0


# ----------------------------------------------------------------------- beside other directions
def rotated(x, seed=0):
    """The same space, seen along other directions."""
    square = np.random.default_rng(seed).normal(size=(x.shape[1], x.shape[1]))
    return x @ np.linalg.qr(square)[0]


def test_excess_finds_what_only_one_basis_has_as_one_thing():
    """Every class has a feature of its own; the other bases mix it with thirty larger ones."""
    rng = np.random.default_rng(0)
    x = np.concatenate([one_hot(CLASSES), rng.normal(size=(len(CLASSES), 30))], 1)
    x[:, :5] += 0.3 * rng.normal(size=(len(CLASSES), 5))
    table = features.excess({"sae": x, "turned": rotated(x), "noise": x[:, 5:]}, CLASSES, FAMILIES)
    assert list(table) == ["class", "sae", "turned", "noise", "excess"] and len(table) == 40
    assert table["sae"].mean() > 0.9 and abs(table["noise"].mean() - 0.5) < 0.1
    assert (table["excess"] == table["sae"] - table["turned"]).all()
    assert rules.decide({"features": table["excess"]})["features"].answer == "yes"
    turned = features.excess({"turned": rotated(x), "sae": x}, CLASSES, FAMILIES)
    assert turned["excess"].mean() < -0.05
    falls = features.excess({"sae": -x, "turned": rotated(x)}, CLASSES, FAMILIES)
    assert falls["sae"].mean() == pytest.approx(table["sae"].mean(), abs=0.02)


def test_excess_is_nothing_where_every_direction_tells_the_class():
    """As at a site that holds emotion: the first basis tells it well, and so do others."""
    rng = np.random.default_rng(0)
    x = rotated(3 * one_hot(CLASSES) + rng.normal(size=(len(CLASSES), 5)))
    bases_of_it = {"sae": rotated(x, 1), "neurons": x, "random": rotated(x, 2)}
    table = features.excess(bases_of_it, CLASSES, FAMILIES)
    assert table["sae"].mean() > 0.75 and abs(table["excess"].mean()) < 0.05
    assert (features.excess({"a": x, "b": x}, CLASSES, FAMILIES)["excess"] == 0).all()


def test_excess_does_not_remember_families():
    """A feature for each family tells it perfectly, and says nothing of families not chosen on."""
    rng = np.random.default_rng(0)
    x = one_hot(FAMILIES) + 0.1 * rng.normal(size=(len(FAMILIES), 40))
    table = features.excess({"sae": x, "noise": rng.normal(size=x.shape)}, CLASSES, FAMILIES)
    assert table["sae"].mean() == pytest.approx(0.5, abs=0.06)


def test_excess_of_labels_dealt_at_random_passes_rarely():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 30))
    x = np.repeat(vectors, 4, 0) + rng.normal(size=(160, 30))
    passed = 0
    for seed in range(40):
        dealt = np.repeat(np.random.default_rng(seed).permutation(np.repeat(list("abcde"), 8)), 4)
        table = features.excess({"sae": x, "turned": rotated(x)}, dealt, FAMILIES, halvings=4)
        passed += rules.interval(table["excess"]).low > 0
    assert passed <= 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activity": {"sae": np.ones((160, 3))}}, "nothing to compare with"),
        (
            {"activity": {"sae": np.ones((160, 3)), "b": np.ones((9, 3))}},
            r"activity\['b'\] must be",
        ),
        ({"classes": np.roll(CLASSES, 2)}, "Every family must be of one class"),
        ({"families": CLASSES}, "two families or more"),
        ({"classes": np.full(160, "a")}, "Two classes or more"),
        ({"classes": [None] * 160}, "classes has 160 missing"),
        ({"halvings": 0}, "halvings must be an integer, 1 or more"),
    ],
)
def test_excess_of_bad_input(given, message):
    pair = {"sae": np.ones((160, 3)), "noise": np.ones((160, 3))}
    arguments = {"activity": pair, "classes": CLASSES, "families": FAMILIES, **given}
    with pytest.raises(ValueError, match=message):
        features.excess(**arguments)


def test_one_thing_counts_causes():
    """Features for single causes against mixtures, and against single causes that are dense."""
    rng = np.random.default_rng(0)
    causes = pd.DataFrame(rng.normal(size=(800, 4)), columns=["tempo", "mode", "loud", "high"])
    causes["loud"] = 0.8 * causes["tempo"] + 0.6 * causes["loud"]  # tempo moves loudness
    values = causes.to_numpy()
    sparse = np.maximum(values - 1, 0)
    pair = values[:, [1, 3]].sum(1, keepdims=True)
    noise = rng.normal(size=(800, 2))
    activity = {
        "sae": np.concatenate([sparse, np.maximum(noise - 1, 0)], 1),
        "dense": values,
        "pairs": np.concatenate([pair, -pair], 1),
    }
    directions = {name: np.eye(x.shape[1], 9) for name, x in activity.items()}
    table = features.one_thing(activity, causes, directions).set_index("basis")
    assert list(table["features"]) == [6, 4, 2] and list(table["answering"]) == [4, 4, 2]
    assert table.loc["sae", "causes"].value < 1.3, "loudness is no tempo, though they go together"
    assert table.loc["dense", "causes"].value < 1.3
    assert table.loc["pairs", "causes"].value == pytest.approx(2, abs=0.15)
    assert list(table["distinct"]) == [4, 4, 2]
    silent = {"sae": np.maximum(noise - 1, 0), "dense": noise}
    short = {name: np.eye(2, 9) for name in silent}
    none = features.one_thing(silent, causes, short)
    assert list(none["answering"]) == [0, 0] and none["causes"].isna().all()
    gappy = causes.astype(object)
    gappy.iloc[:300, 0] = None
    part = features.one_thing({n: x[300:] for n, x in activity.items()}, causes[300:], directions)
    pd.testing.assert_frame_equal(features.one_thing(activity, gappy, directions), part)


def test_others_are_made_as_sparse():
    rng = np.random.default_rng(0)
    density = np.array([0.05, 0.2, 0.5])
    cut = features._as_sparse(rng.normal(size=(1000, 50)), density, rng)
    active = (cut > 0).mean(0)
    assert (np.abs(active[:, None] - density).min(1) < 0.002).all() and len(set(active)) > 2


def test_copies_are_one_feature():
    x = np.random.default_rng(0).normal(size=(100, 3))
    activity = np.column_stack([x[:, 0], x[:, 1], 2 * x[:, 0] + 1, -x[:, 1], x[:, 2]])
    assert features.distinct(activity, np.eye(5)).tolist() == [0, 1, 4]
    pointing = np.eye(5)
    pointing[4] = [0.9, 0, 0, 0, 0.4]
    assert features.distinct(activity, pointing).tolist() == [0, 1]
    assert features.distinct(activity[:, :0], np.eye(5)[:0]).tolist() == []
    with pytest.raises(ValueError, match="equally long"):
        features.distinct(activity, np.eye(4))


def test_directions_to_compare_with():
    rng = np.random.default_rng(0)
    acts = rng.normal(size=(500, 6)) * [1, 1, 1, 9, 1, 1]
    found = bases.comparisons(acts, 20)
    assert [len(vectors) for vectors in found.values()] == [6, 6, 20]
    for vectors in found.values():
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert abs(found["principal components"][0, 3]) > 0.99
    assert (found["neurons"] == np.eye(6)).all()
    again = bases.comparisons(acts, 20)["random directions"]
    assert (found["random directions"] == again).all()
    with pytest.raises(ValueError, match="n must be an integer, 1 or more"):
        bases.comparisons(acts, 0)


def test_recovery_scores_on_clips_that_did_not_choose(world):
    activity, classes, number, _ = world
    train = np.arange(600) < 300
    noise = np.random.default_rng(9).normal(size=(600, 500))
    labels = pd.DataFrame({"emotion": classes, "tempo": number})
    table = features.recovery({"sae": activity, "noise": noise}, labels, train)
    table = table.set_index("target")
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
    same = features.name(activity, labels, range(300))  # clip numbers, as numpy takes them
    pd.testing.assert_frame_equal(same, table)
    with pytest.raises(ValueError, match="train must be integers from -600 to 599"):
        features.name(activity, labels, [600])
    assert table["held_out"][2:].mean() == pytest.approx(0.5, abs=0.05)
    assert table["auroc"][2:].mean() > 0.52, "on the clips that chose it, every label looks true"
    falls = features.name(-activity, labels, np.arange(600) < 300)
    assert falls["label"][0] == "not a" and falls["label"][1] == "tempo low"


def test_distinguishing(world):
    activity, classes, number, _ = world
    assert features.distinguishing(activity, classes == "a", 1) == [0]
    assert features.distinguishing(activity, number > 0, 2)[0] == 1
    with pytest.raises(ValueError, match="clips of both kinds"):
        features.distinguishing(activity, np.ones(600, bool), 2)
    with pytest.raises(ValueError, match="size must be an integer, from 1 to 40"):
        features.distinguishing(activity, number > 0, 41)


def test_category_or_axes():
    """One feature follows valence, one an emotion as a category; clips without an emotion, or
    without valence, do not count."""
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(rng.normal(size=(500, 2)), columns=["valence", "arousal"])
    labels["emotion"] = np.where(labels["valence"] > 0, "happy", "sad")
    labels["tempo"] = rng.normal(size=500)
    activity = 0.3 * rng.normal(size=(500, 3))
    activity[:, 0] += labels["valence"]
    activity[:, 1] += labels["emotion"] == "happy"
    table = features.category_or_axes(activity, labels)
    assert table["axes"][0] > 0.8 and table["q"][0] > 0.05 > table["q"][1]
    assert table["gain"][1] > 0.1 and (table["cues"] == 0).all()
    gappy = pd.concat([labels, labels.assign(emotion="")], ignore_index=True)
    gappy = pd.concat([gappy, labels.assign(valence=np.nan)], ignore_index=True)
    again = features.category_or_axes(np.tile(activity, (3, 1)), gappy)
    columns = ["axes", "category", "both", "gain", "q"]
    pd.testing.assert_frame_equal(again[columns], table[columns])


def test_matched():
    a = np.random.default_rng(0).normal(size=(30, 16))
    assert features.matched(a, 2 * a[::-1]) == pytest.approx(1)
    best = features.matched(a, a[:10])
    assert (best[:10] > 0.999).all() and (best[10:] == 0).all()


def test_absorption_and_splitting():
    family = ["glad", "merry", "jolly"]
    words = np.repeat([*family, "slow", "fast"], 20)
    direction, own, other = np.eye(8)[:3]
    rng = np.random.default_rng(0)
    inside = np.isin(words, family)
    vectors = 0.05 * rng.normal(size=(100, 8)) + inside[:, None] * direction
    decoder = np.stack([direction, (direction + own) / 2**0.5, other])
    whole = np.stack([inside, words == "slow", words == "fast"], 1).astype(float)
    found = features.absorbed(whole, decoder, vectors, words, family)
    assert found == {"main": 0, "auroc": 1, "recall": 1, "splits": 1, "absorbed": 0}
    eaten = whole.copy()
    eaten[words == "jolly", 0] = 0
    eaten[:, 1] = words == "jolly"
    found = features.absorbed(eaten, decoder, vectors, words, family)
    assert found["main"] == 0 and found["absorbed"] == pytest.approx(1 / 3) and found["splits"] == 2
    # any iterable, and a word counts once
    assert features.absorbed(eaten, decoder, vectors, words, iter([*family, "glad"])) == found
    with pytest.raises(ValueError, match="some must be of the family"):
        features.absorbed(whole, decoder, vectors, words, ["none"])


def test_ask_gives_the_model_both_sides():
    questions = []

    def complete(text):
        questions.append(text)
        return " sadness \n"

    assert features.ask(["a sad tune"], ["a happy tune"], complete) == "sadness"
    assert "+ a sad tune" in questions[0] and "- a happy tune" in questions[0]


# -------------------------------------------------------------------------------------------- input
TWO = np.array(["h", "s"] * 12)
SOUND = np.random.default_rng(1).exponential(size=(24, 4))
NUMBERS = pd.DataFrame({"tempo": np.arange(24.0), "mode": np.arange(24.0) % 3})
BOTH = {"sae": SOUND, "noise": SOUND[:, ::-1]}
EYES = {"sae": np.eye(4), "noise": np.eye(4)}


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: features.auroc(SOUND, TWO), "positive must be one bool"),
        (lambda: features.auroc(SOUND, np.r_[np.nan, np.zeros(23)]), "positive must be one bool"),
        (lambda: features.auroc(SOUND, TWO[:9] == "h"), r"activity must be .* \(9, feature\)"),
        (lambda: features.auroc(SOUND * np.nan, TWO == "h"), "activity holds NaN"),
        (lambda: features.selectivity(SOUND, NUMBERS[:9]), r"\(9, feature\)"),
        (lambda: features.selective(SOUND, ["h"] * 24), "two classes or more"),
        (lambda: features.selective(SOUND, TWO, level=5), "level must be"),
        (lambda: features.selective(SOUND[:, 0], TWO), r"\(clip, feature\)"),
        (lambda: features.counts(BOTH, {"sae": np.eye(4)}, TWO), "'noise' has none"),
        (lambda: features.distinct(SOUND * np.nan, np.eye(4)), "activity holds NaN"),
        (lambda: features.matched(np.eye(4), np.eye(3)), r"b must be .* \(feature, 4\)"),
        (lambda: features.recovery(BOTH, NUMBERS, []), "No question"),
        (lambda: features.recovery(BOTH, NUMBERS, None), "No question"),
        (lambda: features.recovery(BOTH, pd.DataFrame({"e": TWO}), TWO == "h"), "No question"),
        (lambda: features.name(SOUND, NUMBERS, None), "No question"),
        (lambda: features.category_or_axes(SOUND, NUMBERS), "Without .'valence', 'arousal', 'em"),
        (lambda: features.one_thing(BOTH, NUMBERS * np.nan, EYES), "clips with all causes must"),
        (lambda: features.one_thing(BOTH, NUMBERS / 0, EYES), "clips with all causes|infinite"),
        (
            lambda: features.one_thing(BOTH, pd.DataFrame({"e": TWO}), EYES),
            r"causes\['e'\] must be",
        ),
        (
            lambda: features.one_thing({"a": 0 * SOUND, **BOTH}, NUMBERS, EYES | {"a": np.eye(4)}),
            "silent",
        ),
        (lambda: features.one_thing(BOTH, NUMBERS, {"sae": np.eye(3)}), "'noise' has none"),
    ],
)
def test_questions_that_have_no_answer_are_refused(ask, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ask()


def test_lists_are_as_good_as_arrays():
    found = features.selective(SOUND.tolist(), list(TWO), n_permutations=20)
    pd.testing.assert_frame_equal(found, features.selective(SOUND, TWO, n_permutations=20))


def test_a_question_that_nobody_can_judge_is_not_asked():
    labels = pd.DataFrame({"fast": np.arange(24) < 6, "emotion": TWO})
    train = np.arange(24) < 12
    assert set(features.recovery(BOTH, labels, train)["target"]) == {"h", "s"}
    assert not features.name(SOUND, labels, train)["label"].str.contains("fast").any()
