"""Rated music through a model: nothing leaks, what is there is found, and what is not there is not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold

from lib import activations, datasets, realmusic, steering
from lib.realmusic import AXES

RNG = np.random.default_rng(5)
GROUPS = np.repeat([f"artist {i:02d}" for i in range(20)], 3)


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    return datasets.make(tmp_path_factory.mktemp("rated") / "pmemo", "pmemo", 10, 18.0, seed=4)


@pytest.fixture(scope="module")
def heard(rated, organism):
    return realmusic.read(organism, rated, 3.0, 2, progress=False)


def test_excerpts_are_the_songs_own(heard, rated, organism):
    assert len(heard.clips) == 20 and set(heard.start) == {0.0, 15.0} and set(heard.clips.prompts) == {""}
    assert (np.bincount(heard.song) == 2).all() and list(heard.songs["song_id"]) == list(rated.songs["song_id"])
    rate = organism.sample_rate
    part = rated.audio(heard.songs["song_id"][3], rate)[15 * rate :][: 3 * rate]
    part = np.pad(part, (0, 3 * rate - len(part)))
    again = organism.encode(part, rate)[0]
    assert (heard.clips.tokens[(heard.song == 3) & (heard.start == 15)][0] == again).mean() > 0.99


def test_ratings_stand_at_their_half_seconds(heard, rated):
    late = heard.start == 15
    assert np.isnan(heard.ratings[~late]).all() and np.isfinite(heard.ratings[late]).all()
    for i, song in enumerate(heard.songs["song_id"]):
        np.testing.assert_allclose(heard.ratings[late & (heard.song == i)][0], rated.dynamic(song)[AXES][:6], atol=1e-6)


def test_a_lag_reads_later_ratings(rated, organism):
    late = realmusic.read(organism, rated, 2.0, 2, lag=1.0, progress=False)
    last = late.start == 16
    song = late.songs["song_id"][late.song[last][1]]
    expected = rated.dynamic(song).set_index("time").loc[[17.0, 17.5], AXES]
    np.testing.assert_allclose(late.ratings[last][1][:2], expected, atol=1e-6)
    assert np.isnan(late.ratings[last][1][2:]).all()


def test_half_seconds_of_acts_and_features(heard, organism):
    found = realmusic.acts(organism, heard, "resid.3", progress=False)["resid.3"].values
    frames = activations.capture(organism, heard.clips, "resid.3", stream="uncond", progress=False)["resid.3"].values
    middles = (np.arange(frames.shape[1]) + 0.5) / organism.frame_rate
    for step in (0, 1, 5):
        inside = (middles >= step / 2) & (middles < step / 2 + 0.5)
        np.testing.assert_allclose(found[:, step], frames[:, inside].mean(1), atol=1e-3)
    assert {x.shape[:2] for x in heard.features.values()} == {(20, 6)}
    assert all(np.isfinite(x).all() and (x.std((0, 1)) > 0).mean() > 0.9 for x in heard.features.values())
    songs = realmusic.by_song(heard, found, spread=True)
    assert songs.shape == (10, 2 * found.shape[-1])
    np.testing.assert_allclose(songs[0, :5], found[heard.song == 0].reshape(-1, found.shape[-1]).mean(0)[:5])
    rows = realmusic.by_step(heard, found)
    assert rows.shape == (60, 2 * found.shape[-1])
    first = np.flatnonzero(heard.start == 15)[0]
    np.testing.assert_allclose(rows[2, found.shape[-1] :], found[first, :3].mean(0), rtol=1e-5)


def test_the_past_holds_nothing_of_the_future(heard):
    x = RNG.normal(size=(20, 6, 3))
    other = x.copy()
    other[:, 4:] = 9
    rows, changed = (realmusic.by_step(heard, v).reshape(10, 6, 6) for v in (x, other))
    assert (rows[:, :4] == changed[:, :4]).all() and (rows[:, 4:] != changed[:, 4:]).any()


def test_concordance_is_lins():
    y = np.array([1.0, 2, 3, 4])
    assert realmusic.ccc(y, y) == pytest.approx(1) and realmusic.ccc(y, -y + 5) == pytest.approx(-1)
    assert realmusic.ccc(y, y + 1) == pytest.approx(2 * 1.25 / (2.5 + 1)) and realmusic.ccc(y, np.ones(4)) == 0
    assert realmusic.r2(y, np.full(4, 2.5)) == pytest.approx(0) and realmusic.r2(y, y) == 1


def test_what_is_there_is_read_and_chosen():
    x = RNG.normal(size=(60, 8))
    y = np.c_[x[:, 0] + 0.2 * RNG.normal(size=60), RNG.normal(size=60)]
    inputs = {"noise": RNG.normal(size=(60, 8)), "signal": x}
    table, predictions = realmusic.scores(inputs, y, GROUPS, permutations=200)
    table = table.set_index(["input", "axis"])
    assert table.loc[("signal", "valence"), "r2"].value > 0.8 and table.loc[("signal", "valence"), "p"] < 0.05
    assert (predictions["chosen"][:, 0] == predictions["signal"][:, 0]).all()
    assert (table.drop(index=[("signal", "valence"), ("chosen", "valence")])["p"] > 0.05).all()
    assert abs(table.loc[("signal", "valence"), "null"]) < 0.15
    gain = realmusic.estimate(realmusic.ccc, y[:, 0], predictions["signal"][:, 0], GROUPS, predictions["noise"][:, 0])
    assert gain.low > 0.5 and gain.n == 20


def test_an_artist_does_not_leak():
    """Every song of an artist has the artist's mark and rating: only a split that separates artists sees through it."""
    marks, y = (np.repeat(RNG.normal(size=(20, k)), 3, axis=0) for k in (40, 1))
    honest = realmusic.held_out({"marks": marks}, y, GROUPS)["marks"]
    leaky = realmusic.held_out({"marks": marks}, y, np.arange(60))["marks"]
    assert realmusic.r2(y, honest) < 0.2 and realmusic.r2(y, leaky) > 0.8


def test_predictions_do_not_depend_on_the_test_rows_labels():
    x, y = RNG.normal(size=(60, 5)), RNG.normal(size=(60, 1))
    before = realmusic.held_out({"x": x}, y, GROUPS)["chosen"]

    test = next(iter(GroupKFold(5).split(y, groups=GROUPS)))[1]
    other = y.copy()
    other[test] += 100
    np.testing.assert_allclose(realmusic.held_out({"x": x}, other, GROUPS)["chosen"][test], before[test])


def test_shuffles_keep_artists_whole():
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 5, 5])
    orders = realmusic.shuffles(groups, 50)
    assert (np.sort(orders) == np.arange(11)).all() and len({tuple(o) for o in orders}) > 20
    for order in orders:
        assert all(len(set(groups[order[groups == g]])) == 1 for g in range(6))
    assert (groups[orders][:, 8:] == 5).all()


def test_over_time_counts_what_changes():
    song = np.repeat([0, 1, 2], 6)
    y = np.concatenate([[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], np.ones(6)]).astype(float)
    right = realmusic.over_time(y, y, song)
    assert list(right["song"]) == [0, 1] and right["ccc"].min() == pytest.approx(1) and right["null"].max() < 0
    flat = realmusic.over_time(y, np.repeat([0.5, 0.5, 1], 6), song)
    assert (flat["ccc"] == 0).all() and (flat["r"] == 0).all()


def test_tracking_finds_and_checks():
    rating = RNG.normal(size=60)
    activity = np.abs(RNG.normal(size=(60, 30)))
    activity[:, 4], activity[:, 9] = np.exp(rating), np.where(np.arange(60) < 30, np.exp(-rating), activity[:, 9])
    activity[:, 7], activity[:, 8] = 0, 1  # dead, and always the same
    table = realmusic.tracking(activity, rating, np.arange(60) < 30).set_index("feature")
    assert table.loc[4, "holds"] and table.loc[9, "found"] and not table.loc[9, "holds"]
    assert table["holds"].sum() == 1 and not {7, 8} & set(table.index) and np.isfinite(table["p"]).all()
    assert realmusic.tracking(0 * activity, rating, np.arange(60) < 30).empty
    with pytest.raises(ValueError, match="more songs"):
        realmusic.tracking(activity, 0 * rating, np.arange(60) < 30)


def test_a_direction_steers(heard, organism):
    y = heard.songs["arousal"].to_numpy()
    vector = realmusic.direction(organism, heard, "resid.4", y)
    means = realmusic.by_song(heard, realmusic.acts(organism, heard, "resid.4", progress=False)["resid.4"])
    expected = means[y > np.median(y)].mean(0) - means[y <= np.median(y)].mean(0)
    unit = vector.units["resid.4"]
    assert unit @ expected / np.linalg.norm(expected) == pytest.approx(1) and vector.gaps["resid.4"] > 0
    assert len(vector.positive) == len(vector.negative) == 5
    songs = steering.generate(organism, ["a song"], vector, (0, 0.5), seconds=0.4, progress=False)
    assert (songs[0.0].tokens != songs[0.5].tokens).any()
    for method in ("shuffled", "random"):
        control = realmusic.direction(organism, heard, "resid.4", y, method)
        assert abs(control.units["resid.4"] @ unit) < 0.98 and control.norms == vector.norms


def test_bad_input_is_refused(heard, rated, organism):
    for wrong in ({"seconds": 7.0}, {"seconds": 2.2}, {"windows": 0}):
        with pytest.raises(ValueError, match="multiple"):
            realmusic.read(organism, rated, **wrong)
    with pytest.raises(ValueError, match="groups"):
        realmusic.held_out({"x": np.ones((4, 2))}, np.ones((4, 1)), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="finite"):
        realmusic.held_out({"x": np.full((60, 2), np.nan)}, np.ones((60, 1)), GROUPS)
    with pytest.raises(ValueError, match="row"):
        realmusic.held_out({"x": np.ones((59, 2))}, np.ones((60, 1)), GROUPS)
    for y, method in ((np.ones(10), "rated"), (np.arange(3), "rated"), (np.arange(10), "other")):
        with pytest.raises(ValueError, match=r"rating|method"):
            realmusic.direction(organism, heard, "resid.4", y, method)


def test_published_figures_are_correlations():
    numbers = realmusic.PUBLISHED[AXES]
    assert isinstance(numbers, pd.DataFrame) and numbers.min().min() > 0 and numbers.max().max() < 1
