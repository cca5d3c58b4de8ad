"""Rated music through a model: nothing leaks, what is there is found, and what is not is not."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from lib import activations, rated, steering
from lib.rated import AXES

GROUPS = np.repeat([f"artist {i:02d}" for i in range(20)], 3)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return rated.make(tmp_path_factory.mktemp("rated") / "pmemo", "pmemo", 10, 18.0, seed=4)


@pytest.fixture(scope="module")
def excerpts(songs, organism):
    return rated.read(organism, songs, 3.0, 2, progress=False)


# ----------------------------------------------------------------------------------------- excerpts
def test_excerpts_are_the_songs_own(excerpts, songs, organism):
    assert len(excerpts.clips) == 20 and set(excerpts.start) == {0.0, 15.0}
    assert set(excerpts.clips.prompts) == {""} and (np.bincount(excerpts.song) == 2).all()
    assert list(excerpts.songs["song_id"]) == list(songs.songs["song_id"])
    rate = organism.sample_rate
    part = songs.audio(excerpts.songs["song_id"][3], rate)[15 * rate :][: 3 * rate]
    again = organism.encode(np.pad(part, (0, 3 * rate - len(part))), rate)[0]
    mine = (excerpts.song == 3) & (excerpts.start == 15)
    assert (excerpts.clips.tokens[mine][0] == again).mean() > 0.99


def test_ratings_stand_at_their_half_seconds(excerpts, songs):
    late = excerpts.start == 15
    assert np.isnan(excerpts.ratings[~late]).all() and np.isfinite(excerpts.ratings[late]).all()
    for i, song in enumerate(excerpts.songs["song_id"]):
        read = excerpts.ratings[late & (excerpts.song == i)][0]
        np.testing.assert_allclose(read, songs.dynamic(song)[AXES][:6], atol=1e-6)


def test_a_lag_reads_later_ratings(songs, organism):
    late = rated.read(organism, songs, 1.0, np.int64(2), lag=0.5, progress=False)
    last = late.start == 17
    song = late.songs["song_id"][late.song[last][1]]
    expected = songs.dynamic(song).set_index("time").loc[17.5, AXES]
    np.testing.assert_allclose(late.ratings[last][1][0], expected.astype(float), atol=1e-6)
    assert np.isnan(late.ratings[last][1][1]).all()


class Partly:
    """A set of which some songs cannot be used: two of twelve are damaged, two are not rated."""

    def __init__(self, songs):
        self.whole = songs
        table = songs.songs
        self.songs = table.loc[[*table.index, 0, 1, 2, 3]].reset_index(drop=True)
        self.songs["song_id"] = np.arange(14)
        self.songs.loc[[0, 12], "seconds"] = np.nan, 18.0
        self.songs.loc[13, "valence"] = np.nan

    def audio(self, song, rate):
        if song == 12:
            raise rated.DatasetError("12.mp3 breaks off after 6.0 of 18.0 s")
        return self.whole.audio(self.whole.songs["song_id"][song % 10], rate)

    def dynamic(self, song):
        return self.whole.dynamic(self.whole.songs["song_id"][song % 10])


def test_songs_that_cannot_be_used_are_left_out_and_said(songs, organism):
    with pytest.warns(UserWarning) as warned:
        read = rated.read(organism, Partly(songs), 0.5, 1, progress=False)
    assert read.songs["song_id"].tolist() == list(range(1, 12))
    assert read.song.tolist() == list(range(11)) and len(read.clips) == 11
    messages = " ".join(str(warning.message) for warning in warned)
    assert "1 of 14 songs are damaged or missing and left out (song 0)" in messages
    assert "1 of 14 songs are without a rating and left out (song 13)" in messages
    assert "Song 12 is left out. 12.mp3 breaks off" in messages


def test_half_seconds_of_acts_and_features(excerpts, organism):
    found = rated.acts(organism, excerpts, "resid.3", progress=False)["resid.3"].values
    frames = activations.capture(
        organism, excerpts.clips, "resid.3", stream="uncond", progress=False
    )["resid.3"].values
    middles = (np.arange(frames.shape[1]) + 0.5) / organism.frame_rate
    for step in (0, 1, 5):
        inside = (middles >= step / 2) & (middles < step / 2 + 0.5)
        np.testing.assert_allclose(found[:, step], frames[:, inside].mean(1), atol=1e-3)
    for values in excerpts.features.values():
        assert values.shape[:2] == (20, 6) and np.isfinite(values).all()
        assert (values.std((0, 1)) > 0).mean() > 0.9
    dim = found.shape[-1]
    whole = rated.by_song(excerpts, found, spread=True)
    assert whole.shape == (10, 2 * dim)
    own = found[excerpts.song == 0].reshape(-1, dim).astype(float)
    np.testing.assert_allclose(whole[0], np.r_[own.mean(0), own.std(0)])
    rows = rated.by_step(excerpts, found)
    assert rows.shape == (60, 2 * dim)
    first = np.flatnonzero(excerpts.start == 15)[0]
    np.testing.assert_allclose(rows[2, dim:], found[first, :3].mean(0), rtol=1e-5)


def test_the_past_holds_nothing_of_the_future(excerpts, rng):
    values = rng.normal(size=(20, 6, 3))
    other = values.copy()
    other[:, 4:] = 9
    rows, changed = (rated.by_step(excerpts, v).reshape(10, 6, 6) for v in (values, other))
    assert (rows[:, :4] == changed[:, :4]).all() and (rows[:, 4:] != changed[:, 4:]).any()


# --------------------------------------------------------------------------------------- prediction
def test_concordance_is_lins():
    y = np.array([1.0, 2, 3, 4])
    assert rated.ccc(y, y) == pytest.approx(1) and rated.ccc(y, -y + 5) == pytest.approx(-1)
    assert rated.ccc(y, y + 1) == pytest.approx(2 * 1.25 / (2.5 + 1))
    assert rated.ccc(y, np.ones(4)) == 0
    assert rated.r2(y, np.full(4, 2.5)) == pytest.approx(0) and rated.r2(y, y) == 1
    with pytest.raises(ValueError, match=r"one shape. Got \(4,\) and \(4, 1\)"):
        rated.r2(y, y[:, None])


def test_what_is_there_is_read_and_chosen(rng):
    x = rng.normal(size=(60, 8))
    y = np.c_[x[:, 0] + 0.2 * rng.normal(size=60), rng.normal(size=60)]
    inputs = {"noise": rng.normal(size=(60, 8)), "signal": x}
    table, predictions = rated.scores(inputs, y, GROUPS, permutations=200)
    table = table.set_index(["input", "axis"])
    signal = table.loc[("signal", "valence")]
    assert signal["r2"].value > 0.8 and signal["p"] < 0.05 and abs(signal["null"]) < 0.15
    assert (predictions["chosen"][:, 0] == predictions["signal"][:, 0]).all()
    nothing = table.drop(index=[("signal", "valence"), ("chosen", "valence")])
    assert (nothing["p"] > 0.05).all()
    read, noise = predictions["signal"][:, 0], predictions["noise"][:, 0]
    gain = rated.estimate(rated.ccc, y[:, 0], read, GROUPS, noise)
    assert gain.low > 0.5 and gain.n == 20


def test_an_artist_does_not_leak(rng):
    """Every song of an artist has the artist's mark and rating: only a split that separates artists
    sees through it."""
    marks, y = (np.repeat(rng.normal(size=(20, k)), 3, axis=0) for k in (40, 1))
    honest = rated.held_out({"marks": marks}, y, GROUPS)["marks"]
    leaky = rated.held_out({"marks": marks}, y, np.arange(60))["marks"]
    assert rated.r2(y, honest) < 0.2 and rated.r2(y, leaky) > 0.8


def test_predictions_do_not_depend_on_the_test_rows_labels(rng):
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 1))
    test = next(iter(GroupKFold(5).split(y, groups=GROUPS)))[1]
    other = y.copy()
    other[test] += 100
    before, after = (rated.held_out({"x": x}, ratings, GROUPS)["chosen"] for ratings in (y, other))
    np.testing.assert_allclose(after[test], before[test])


def test_shuffles_keep_artists_whole():
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 5, 5])
    orders = rated.shuffles(groups, 50)
    assert (np.sort(orders) == np.arange(11)).all() and len({tuple(o) for o in orders}) > 20
    for order in orders:
        assert all(len(set(groups[order[groups == g]])) == 1 for g in range(6))
    assert (groups[orders][:, 8:] == 5).all()


def test_over_time_counts_what_changes():
    song = np.repeat([0, 1, 2], 6)
    y = np.concatenate([[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], np.ones(6)]).astype(float)
    right = rated.over_time(y, y, song)
    assert list(right["song"]) == [0, 1] and right["ccc"].min() == pytest.approx(1)
    assert right["null"].max() < 0
    flat = rated.over_time(y, np.repeat([0.5, 0.5, 1], 6), song)
    assert (flat["ccc"] == 0).all() and (flat["r"] == 0).all()


def missing_one(values):
    values = np.array(values, object if np.asarray(values).dtype.kind in "US" else float)
    values[0] = None if values.dtype == object else np.nan
    return values


def test_what_is_missing_is_refused():
    """A missing rating is no number, and a missing artist is no artist called "None"."""
    x, y = np.ones((60, 2)), np.arange(120.0).reshape(60, 2)
    for inputs, ratings in (({"x": missing_one(x)}, y), ({"x": x}, missing_one(y))):
        with pytest.raises(ValueError, match=r"NaN or infinite values .* Leave out rows|one row"):
            rated.held_out(inputs, ratings, GROUPS)
    groups = missing_one(GROUPS)
    for call in (
        lambda: rated.held_out({"x": x}, y, groups),
        lambda: rated.scores({"x": x}, y, groups, 1),
        lambda: rated.shuffles(groups, 1),
        lambda: rated.estimate(rated.ccc, y[:, 0], y[:, 1], groups),
    ):
        with pytest.raises(ValueError, match=r"groups has 1 missing labels \(rows 0\)"):
            call()
    for ratings, predicted in ((missing_one(y[:, 0]), y[:, 1]), (y[:, 0], missing_one(y[:, 1]))):
        with pytest.raises(ValueError, match="NaN"):
            rated.over_time(ratings, predicted, GROUPS)


# -------------------------------------------------------------------------- features and directions
def test_tracking_finds_and_checks(rng):
    rating = rng.normal(size=60)
    first = np.arange(60) < 30
    activity = np.abs(rng.normal(size=(60, 30)))
    activity[:, 4] = np.exp(rating)
    activity[first, 9] = np.exp(-rating[first])
    activity[:, 7] = 0  # dead
    activity[:, 8] = 1  # always the same
    table = rated.tracking(activity, rating, first)
    assert rated.tracking(activity, rating, np.flatnonzero(first)).equals(table)
    table = table.set_index("feature")
    assert table.loc[4, "holds"] and table.loc[9, "found"] and not table.loc[9, "holds"]
    assert table["holds"].sum() == 1 and not {7, 8} & set(table.index)
    assert np.isfinite(table["p"]).all()
    nothing = rated.tracking(0 * activity, rating, first)
    assert nothing.empty and list(nothing) == ["feature", *table]
    with pytest.raises(ValueError, match="more songs"):
        rated.tracking(activity, 0 * rating, first)
    with pytest.raises(ValueError, match="NaN"):
        rated.tracking(activity, missing_one(rating), first)


def test_a_direction_steers(excerpts, organism, monkeypatch):
    y = excerpts.songs["arousal"].to_numpy()
    vector = rated.direction(organism, excerpts, "resid.4", y)
    acts = rated.acts(organism, excerpts, "resid.4", progress=False)["resid.4"]
    means = rated.by_song(excerpts, acts)
    expected = means[y > np.median(y)].mean(0) - means[y <= np.median(y)].mean(0)
    unit = vector.units["resid.4"]
    assert unit @ expected / np.linalg.norm(expected) == pytest.approx(1)
    assert vector.gaps["resid.4"] > 0 and len(vector.positive) == len(vector.negative) == 5
    sung = steering.generate(organism, ["a song"], vector, (0, 0.5), seconds=0.4, progress=False)
    assert (sung[0.0].tokens != sung[0.5].tokens).any()
    for method in ("shuffled", "random"):
        control = rated.direction(organism, excerpts, "resid.4", y, method, np.int64(0))
        assert abs(control.units["resid.4"] @ unit) < 0.98
        assert control.norms == vector.norms and control.data != "" and control.method == method
    with activations.edit(organism, activations.Edit("resid.2", multiply=0.5)):
        edited = rated.direction(organism, excerpts, "resid.4", y)
        monkeypatch.setattr("lib.rated.following.NORM_CLIPS", 5)
        with pytest.raises(ValueError, match="excerpts must be 5 at most"):
            rated.direction(organism, excerpts, "resid.4", y)
    assert edited.data != vector.data


def test_bad_input_is_refused(excerpts, songs, organism):
    for wrong in ({"seconds": 7.0}, {"seconds": 2.2}, {"seconds": np.nan}):
        with pytest.raises(ValueError, match="multiple"):
            rated.read(organism, songs, **wrong)
    for wrong in ({"windows": 0}, {"windows": -1}, {"lag": np.inf}):
        with pytest.raises(ValueError, match="must be"):
            rated.read(organism, songs, **wrong)
    y = np.ones((60, 1))
    with pytest.raises(ValueError, match="more groups"):
        rated.held_out({"x": np.ones((4, 2))}, y[:4], [0, 0, 1, 1])
    with pytest.raises(ValueError, match="a row for each row of ratings"):
        rated.held_out({"x": np.ones((59, 2))}, y, GROUPS)
    with pytest.raises(ValueError, match="n_splits must be"):
        rated.held_out({"x": np.ones((60, 2))}, y, GROUPS, n_splits=-1)
    with pytest.raises(ValueError, match="permutations must be"):
        rated.scores({"x": np.ones((60, 2))}, np.ones((60, 2)), GROUPS, permutations=0)
    with pytest.raises(ValueError, match="values must be"):
        rated.by_song(excerpts, np.ones((3, 6, 2)))
    for y, method in ((np.ones(10), "rated"), (np.arange(3), "rated"), (np.arange(10), "other")):
        with pytest.raises(ValueError, match=r"rating|method"):
            rated.direction(organism, excerpts, "resid.4", y, method)
    with pytest.raises(ValueError, match="site must be one site"):
        rated.direction(organism, excerpts, "resid.*", np.arange(10))


def test_published_figures_are_correlations():
    numbers = rated.PUBLISHED[AXES]
    assert numbers.min().min() > 0 and numbers.max().max() < 1
