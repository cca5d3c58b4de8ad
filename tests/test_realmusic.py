"""Rated music: what is read, for whom, and what steers."""

import numpy as np
import pytest
import xarray as xr

from lib import activations, datasets, realmusic, steering


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return datasets.make(tmp_path_factory.mktemp("made"), "deam", 12, 19.0, 5)


@pytest.fixture(scope="module")
def heard(organism, data):
    return realmusic.excerpts(organism, data, 14.0, 3.0)


def test_excerpts_are_the_songs(organism, data, heard):
    assert len(heard.clips) == len(heard.songs) == 12 and heard.clips.prompts == [""] * 12
    assert heard.audio.shape == (12, 3 * organism.sample_rate)
    first = data.audio(int(heard.songs["song_id"][0]), organism.sample_rate, 14.0, 3.0)
    assert np.allclose(heard.audio[0, : len(first)], first[: heard.audio.shape[1]])
    assert np.array_equal(organism.encode(heard.audio[:1], organism.sample_rate)[0], heard.clips.tokens[0])
    with pytest.raises(ValueError, match="0 of 12 songs last 25 s"):
        realmusic.excerpts(organism, data, 20.0, 5.0)
    with pytest.raises(ValueError, match="takes up to 6 s"):
        realmusic.excerpts(organism, data, 0.0, 7.0)


def test_acoustic_features_tell_loud_from_soft():
    rng = np.random.default_rng(0)
    audio = (rng.normal(0, 1, 16_000) * [[0.01], [0.1]]).astype(np.float32)
    found = realmusic.acoustic(audio, 16_000)
    assert found["mel"].shape == (2, 128) and found["librosa"].shape[0] == 2
    assert np.allclose((found["mel"][1] - found["mel"][0])[:64], 20, atol=0.5)  # ten times as loud: 20 dB
    assert all(np.isfinite(x).all() for x in found.values())


def test_reading_generalises_to_unseen_groups_only():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), 4)
    x = rng.normal(size=(120, 10))
    y = x[:, 0] + 0.2 * rng.normal(size=120)
    read = realmusic.scores(y, realmusic.read_out(x, y, groups))
    assert read["R²"].low > 0.8 and read["CCC"].low > 0.85
    # what only names the group cannot be read for groups that were not learned from
    own = rng.normal(size=30)[groups]
    told = realmusic.read_out(np.eye(30)[groups], own, groups)
    assert realmusic.scores(own, told)["R²"].value <= 0
    assert realmusic.beyond(y, realmusic.read_out(x, y, groups), np.full(120, y.mean())).low > 0.8


def test_concordance_asks_for_the_right_values():
    y = np.array([1.0, 2.0, 3.0, 4.0])
    assert realmusic.concordance(y, y) == pytest.approx(1)
    # Lin 1989: 2 cov / (var + var + difference of means squared)
    assert realmusic.concordance(y, 2 * y) == pytest.approx(2 * 2.5 / (1.25 + 5 + 2.5**2))
    assert realmusic.concordance(y, -y) < 0 and realmusic.concordance(y, np.full(4, 2.5)) == 0


def test_ratings_over_time_are_read_where_they_are(data, heard):
    rate, frames = heard.clips.frame_rate, heard.clips.tokens.shape[-1]
    labels = np.stack([
        datasets.aligned(data.dynamic(i), rate, frames, 14.0).values for i in heard.songs["song_id"]
    ])  # fmt: skip
    rng = np.random.default_rng(2)
    held = np.nan_to_num(labels) @ rng.normal(size=(2, 6)) + 0.01 * rng.normal(size=(*labels.shape[:2], 6))
    acts = xr.DataArray(held, dims=("clip", "frame", "dim"), name="resid.4")
    found = realmusic.over_time(acts, heard, data, 14.0)
    assert found.read.shape == (12, 6, 2) and np.isnan(found.rated[:, :2]).all()  # the first 15 s have no labels
    assert min(e.value for e in found.ccc.values()) > 0.9
    noise = xr.DataArray(rng.normal(size=held.shape), dims=acts.dims, name="resid.4")
    assert max(e.value for e in realmusic.over_time(noise, heard, data, 14.0).ccc.values()) < 0.5


def test_features_that_follow_a_rating_are_found_and_hold():
    rng = np.random.default_rng(3)
    y, learn = rng.normal(size=80), np.arange(80) % 2 == 0
    activity = np.abs(rng.normal(size=(80, 40)))
    activity[:, 7] = np.maximum(0, y + 0.3 * rng.normal(size=80))
    table = realmusic.tracking(activity, y, learn)
    assert table["feature"][0] == 7 and table["p_fdr"][0] < 1e-6 and table["held_out"][0] > 0.7
    assert (table["p_fdr"] < 0.05).sum() <= 3


def test_a_direction_from_ratings_steers(organism, heard):
    acts = activations.capture(organism, heard.clips, "resid.4", stream="uncond", progress=False)["resid.4"]
    y = heard.songs["arousal"].to_numpy()
    vector = realmusic.direction(organism, acts, y)
    assert np.linalg.norm(vector.units["resid.4"]) == pytest.approx(1) and vector.gaps["resid.4"] > 0
    songs = steering.generate(organism, ["a piano melody"], vector, [0.0, 0.3], seconds=0.6, progress=False)
    assert not np.array_equal(songs[0.0].tokens, songs[0.3].tokens)
    with pytest.raises(ValueError, match="ratings that differ"):
        realmusic.direction(organism, acts, np.ones(12))
