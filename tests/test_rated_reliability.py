"""What raters' disagreement allows, and what carries over from one set to another."""

import numpy as np
import pandas as pd
import pytest

from lib import rated
from lib.rated import AXES

SONGS = 150
RATERS = 8


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def simulated(rng, spread, songs=SONGS, raters=RATERS):
    """Songs whose true ratings vary by 1, answers that vary by ``spread``, and the table of both."""
    truth = rng.normal(size=(songs, 1, 2))
    answers = truth + spread * rng.normal(size=(songs, raters, 2))
    table = pd.DataFrame(answers.mean(1), columns=AXES)
    errors = answers.std(1, ddof=1) / np.sqrt(raters)
    for a, axis in enumerate(AXES):
        table[f"{axis}_sem"] = errors[:, a]
    table = table.assign(raters=float(raters), group=np.arange(songs) // 2)
    long = pd.DataFrame(answers.reshape(-1, 2), columns=AXES)
    return truth[:, 0], table, long.assign(song_id=np.repeat(np.arange(songs), raters))


# ------------------------------------------------------------------------------------------ ceiling
def test_the_ceiling_is_what_the_truth_itself_reaches(rng):
    """Reliability of means over 8 raters who differ by twice as much as songs: 1 / (1 + 4 / 8)."""
    truth, table, _ = simulated(rng, 2.0)
    limit = rated.ceiling(table).set_index("axis")
    for a, axis in enumerate(AXES):
        row = limit.loc[axis]
        assert row["r2"].low < 1 / 1.5 < row["r2"].high and row["one"].low < 0.2 < row["one"].high
        assert row["ccc"].value == pytest.approx(np.sqrt(row["r2"].value)) and row["ccc"].n == 75
        reached = rated.correlation(table[axis], truth[:, a])
        assert row["ccc"].low < reached < row["ccc"].high
        best = truth[:, a] / row["ccc"].value  # spread as the labels are
        assert rated.ccc(table[axis], best) == pytest.approx(reached, abs=0.02)
        assert rated.ccc(table[axis], truth[:, a]) < rated.ccc(table[axis], best) + 1e-3


def test_raters_who_agree_set_no_limit_and_noise_leaves_nothing(rng):
    _, agreeing, _ = simulated(rng, 0.0)
    assert rated.ceiling(agreeing)["ccc"][0].value == 1
    noise = agreeing.assign(valence_sem=5.0)
    assert rated.ceiling(noise)["ccc"][0].value == 0
    unknown = agreeing.assign(valence_sem=np.nan)
    assert rated.ceiling(unknown)["axis"].tolist() == ["arousal"]
    assert rated.ceiling(unknown.assign(raters=np.nan)).empty


def test_the_ceiling_of_published_deviations(tmp_path, monkeypatch):
    """DEAM's divide by the number of raters, and give the standard errors of the answers."""
    monkeypatch.setattr("lib.rated.made._wave", lambda *_: np.full(44_100, 0.1))
    songs = rated.make(tmp_path / "deam", "deam", 6, 16.0)
    table = songs.songs.set_index("song_id")
    counted = table["raters"].tolist()
    assert counted == [10.0] * 5 + [5.0]  # the last is a whole song
    errors = songs.answers.groupby("song_id")["valence"].sem()
    np.testing.assert_allclose(table["valence_sem"][errors.index], errors, atol=0.001)
    assert len(errors) == 5
    songs.paths["answers"].unlink()
    untold = rated.load(songs.folder)
    assert untold.answers.empty and untold.songs["raters"].tolist() == counted


# ---------------------------------------------------------------------------------------- agreement
def test_alpha_and_icc_by_hand():
    """Krippendorff's alpha and ICC(1,1) of three songs, unequal numbers of raters."""
    answers = pd.DataFrame(
        {"song_id": [1, 1, 2, 2, 2, 3, 3, 4], "valence": [1, 2, 4, 5, 6, 8, 8, 9.0]}
    )
    row = rated.rater_agreement(answers.assign(arousal=np.nan))
    assert row["axis"].tolist() == ["valence"] and (row["songs"][0], row["answers"][0]) == (3, 7)
    values = answers["valence"].to_numpy()[:7]
    pairs = [
        (1 * 2) / 1,
        (1 + 4 + 1) * 2 / 2,
        0,
    ]  # squared differences over ordered pairs, over m - 1
    observed = sum(pairs) / 7
    expected = ((values[:, None] - values) ** 2).sum() / (7 * 6)
    assert row["alpha"][0].value == pytest.approx(1 - observed / expected)
    within = (0.5 + 2 + 0) / 4
    means = np.array([1.5, 5, 8])
    m = np.array([2, 3, 2])
    between = (m * (means - values.mean()) ** 2).sum() / 2
    usual = (7 - (m**2).sum() / 7) / 2
    icc = (between - within) / (between + (usual - 1) * within)
    assert row["icc"][0].value == pytest.approx(icc)


def test_agreement_is_one_raters_reliability(rng):
    _, table, answers = simulated(rng, 2.0)
    agreement = rated.rater_agreement(answers)
    limit = rated.ceiling(table)
    for a in range(2):
        one = limit["one"][a].value
        assert agreement["icc"][a].value == pytest.approx(one, abs=0.01)
        assert agreement["alpha"][a].value == pytest.approx(one, abs=0.01)
        assert agreement["alpha"][a].low < 0.2 < agreement["alpha"][a].high
    shuffled = answers.assign(song_id=rng.permutation(answers["song_id"]))
    assert (np.abs([e.value for e in rated.rater_agreement(shuffled)["alpha"]]) < 0.06).all()
    assert rated.rater_agreement(answers.iloc[:0]).empty


# ----------------------------------------------------------------------------------------- transfer
def a_set(rng, name, songs=60, weight=1.0, level=0.0):
    """Songs in pairs by one artist: valence follows the first input, arousal the second."""
    x = rng.normal(size=(songs, 6))
    y = level + weight * x[:, :2] + 0.3 * rng.normal(size=(songs, 2))
    table = pd.DataFrame(y, columns=AXES)
    table["song"] = [f"{name} {i}" for i in range(songs)]
    table["group"] = [f"{name} artist {i // 2}" for i in range(songs)]
    return {"signal": x, "noise": rng.normal(size=(songs, 6))}, table


def test_what_is_learned_carries_over(rng):
    x, songs = a_set(rng, "one")
    new_x, new_songs = a_set(rng, "two", 40, level=3.0)
    table = rated.transfer(x, songs, new_x, new_songs, permutations=100)
    rows = table.set_index(["input", "axis"])
    for axis in AXES:
        signal = rows.loc[("signal", axis)]
        assert signal["r"].low > 0.8 and signal["p"] <= 6 / 101 and signal["songs"] == 40
        assert signal["ccc"].value < 0.5 and signal["r2"].value < 0  # the other set is 3 higher
        assert signal["r"].n == 20 and abs(signal["null"]) < 0.1
        assert rows.loc[("noise", axis), "p"] > 0.05
        assert rows.loc[("chosen", axis), "r"].value == signal["r"].value


def test_nothing_carries_over_where_signs_differ(rng):
    x, songs = a_set(rng, "one")
    new_x, new_songs = a_set(rng, "two", weight=-1.0)
    table = rated.transfer(x, songs, new_x, new_songs, permutations=50).set_index("input")
    assert all(estimate.high < -0.5 for estimate in table.loc["signal", "r"])


def test_no_song_and_no_artist_is_shared(rng):
    """An artist's mark gives the rating away: not if the artist is left out."""
    x, songs = a_set(rng, "one")
    marked = {"mark": np.repeat(np.eye(30), 2, axis=0)}
    new = songs.copy()
    new["song"] = [f"two {i}" for i in range(60)]
    fresh = np.arange(60) < 20
    new.loc[fresh, "group"] = [f"two artist {i // 2}" for i in range(20)]
    new.loc[[0, 1], "song"] = ["one 0", "one 1"]  # by another artist's name
    with pytest.warns(UserWarning, match="42 of 60 songs of the second set are by artists of the"):
        table = rated.transfer(marked, songs, marked, new, permutations=20)
    assert (table["songs"] == 18).all()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="songs of 0 artists"):
        rated.transfer(x, songs, x, songs)


def test_transfer_needs_what_both_sets_have(rng):
    x, songs = a_set(rng, "one")
    new_x, new_songs = a_set(rng, "two")
    with pytest.raises(ValueError, match="the same names"):
        rated.transfer(x, songs, {"signal": new_x["signal"]}, new_songs)
    valence = new_songs.assign(arousal=np.nan)
    table = rated.transfer(x, songs, new_x, valence, permutations=5)
    assert set(table["axis"]) == {"valence"}
    with pytest.raises(ValueError, match="no axis in common"):
        rated.transfer(x, songs.assign(valence=np.nan), new_x, valence)
    holes = new_songs.assign(valence=new_songs["valence"].where(new_songs.index > 3))
    with pytest.raises(ValueError, match=r"ratings holds NaN .* Leave out rows"):
        rated.transfer(x, songs, new_x, holes)
