"""Rated music whose songs have names: MERP, MUSIFEAST-17, and any folder with a table."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from lib import rated
from lib.rated import AXES, DatasetError, made

#: The header and a row of MUSIFEAST-17's table, as published (CC0).
MUSIFEAST = (
    '"","CLIP_NAME","GENRE","FAMILIARITY","TRACK_TITLE","ARTIST","MEDIA_RELATION_or_PERFORMER",'
    '"RELEASE_DATE","VOCALISATION","VOCALISATION_TYPE","CLIP_TIME_START","CLIP_TIME_END","group",'
    '"valence_M","valence_SD","arousal_M","arousal_SD","cluster"\n'
    '"2","60s_HIGH_02","60s","High","Crimson and Clover","Tommy James and the Shondells",NA,"1968",'
    '"yes","""-ah""",00:00:50,00:01:20,2,3.73529411764706,0.827878761780234,3.52941176470588,'
    "0.748140892485441,1\n"
)


@pytest.fixture(scope="module", params=["merp", "musifeast17"])
def named(request, tmp_path_factory):
    """A made set with noise instead of rendered music: what is tested is how it is read."""

    def noise(row, later, seconds, change, seed):
        return np.random.default_rng(seed).normal(0, 0.1, round(44_100 * seconds))

    folder = tmp_path_factory.mktemp("made") / request.param
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(made, "_wave", noise)
        return rated.make(folder, request.param, 6, 16.0, 3)


# ------------------------------------------------------------------------------------- named songs
def test_sets_with_names_are_found_out_and_whole(named):
    found = rated.load(named.folder.parent)
    assert type(found) is type(named) and found.validate().empty
    songs = found.songs
    assert songs[["valence", "arousal", "valence_sem", "raters"]].notna().all().all()
    assert [file.stem for file in songs["file"]] == songs["song_id"].tolist()
    assert found.audio(songs["song_id"][0], 16_000, 1.0, 2.0).shape == (32_000,)
    with pytest.raises(DatasetError, match="has no labels over time"):
        found.dynamic(songs["song_id"][0])
    with pytest.raises(DatasetError, match="no labelled song 'nothing'"):
        found.audio("nothing", 16_000)
    with pytest.raises(TypeError, match="song_id must be a text"):
        found.audio(3, 16_000)


def test_labels_are_means_over_the_answers(named):
    by_song = named.answers.groupby("song_id")[AXES]
    songs = named.songs.set_index("song_id")
    np.testing.assert_allclose(by_song.mean(), songs[AXES], atol=1e-6)
    assert (by_song.size() == songs["raters"]).all() and songs["raters"].min() > 30
    np.testing.assert_allclose(by_song.sem()["arousal"], songs["arousal_sem"], rtol=1e-6)


def test_a_song_of_deam_is_one_song(named):
    songs = named.songs
    if named.name == "merp":
        last = songs[songs["song_id"] == "deam_115"].iloc[0]
        assert last["song"] == "deam 115" and last["group"] == "song deam 115"
        assert (songs["artist"] == "").all()
    else:
        assert songs["artist"].str.startswith("Made artist").all()


def test_musifeast_as_published(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "stimuli").mkdir()
    (tmp_path / "data" / "MUSIFEAST17_all.csv").write_text(MUSIFEAST)
    song = rated.load(tmp_path).songs.iloc[0]
    assert song["song_id"] == "60s_HIGH_02" and song["group"] == "tommy james and the shondells"
    assert song["valence"] == pytest.approx((3.73529411764706 - 3) / 2)
    expected = 0.748140892485441 / np.sqrt(701 * 17 / 356) / 2
    assert song["arousal_sem"] == pytest.approx(expected)


def test_merp_without_its_columns(tmp_path):
    (tmp_path / "audio").mkdir()
    table = tmp_path / "annotations_filtered.parquet"
    pd.DataFrame({"song_id": ["a"], "valence": [[0.1]]}).to_parquet(table)
    with pytest.raises(DatasetError, match="no column arousal: its columns are song_id, valence"):
        rated.load(tmp_path)
    table.write_text("no parquet")
    with pytest.raises(DatasetError, match="no readable Parquet table"):
        rated.load(tmp_path)


# --------------------------------------------------------------------------------- a folder of one's own
@pytest.fixture
def own(tmp_path):
    """A folder with four songs, one of them in a folder of its own, and a way to write a table."""
    (tmp_path / "more").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    for place in ("a.wav", "b.flac", "7.ogg", "more/d.wav"):
        soundfile.write(tmp_path / place, noise, 16_000)

    def write(text, name="ratings.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_a_folder_of_ones_own(own):
    folder = own(
        "File,Valence (1 to 9),AROUSAL (1-9),Artist,valence_sd,n\n"
        "a.wav,1,5,Abba,2,4\nb,9,,Abba,,\n7,5,7,,1,16\nmore/d.wav,3,3,Cher,1,1\n"
    )
    songs = rated.load(folder)
    table = songs.songs.set_index("song_id")
    assert sorted(table.index) == ["7", "a.wav", "b", "more/d.wav"]
    assert table.loc["b", "valence"] == 1 and np.isnan(table.loc["b", "arousal"])
    assert table.loc["a.wav", "valence"] == -1 and table.loc["a.wav", "arousal"] == 0
    assert (
        table.loc["a.wav", "valence_sem"] == 2 / 2 / 4 and table.loc["7", "valence_sem"] == 1 / 16
    )
    assert np.isnan(table.loc["more/d.wav", "valence_sem"])  # of one rater
    assert table["group"].nunique() == 3 and table.loc["b", "group"] == "abba"
    assert table["seconds"].tolist() == [1.0] * 4
    assert songs.audio("7", 16_000).shape == (16_000,)
    assert songs.answers.empty and set(songs.split(0.5).test) <= set(table.index)


def test_a_row_a_rater(own):
    folder = own("worker_id,song,arousal\nx,a,0\ny,a,1\nx,b,0.5\ny,b,0.5\nz,b,0.5\n")
    songs = rated.load(folder, scale=(0, 1))
    table = songs.songs.set_index("song_id")
    assert table["arousal"].tolist() == [0, 0] and table["raters"].tolist() == [2, 3]
    assert table.loc["a", "arousal_std"] == pytest.approx(np.sqrt(0.5))
    assert table["valence"].isna().all() and songs.validate().empty
    assert songs.answers["arousal"].tolist() == [-1, 1, 0, 0, 0]


def test_who_left_an_axis_out_has_not_rated_it(own):
    rows = [
        f"{rater},{song},{2 + rater % 3},{rater if rater < 2 else ''}"
        for song in "ab"
        for rater in range(8)
    ]
    songs = rated.load(own("\n".join(["rater,song,arousal,valence", *rows])), scale=(0, 9)).songs
    assert songs["raters"].tolist() == [8, 8]
    np.testing.assert_allclose(songs["valence_sem"] * 4.5, np.sqrt(0.5) / np.sqrt(2))


def test_blanks_around_a_name_make_no_other_one(own):
    folder = own("file,valence,artist,rater\na,1,Bob,x\na ,5,Bob ,y\nb,3, Bob,x\n")
    table = rated.load(folder, scale=(1, 9)).songs
    assert table["song_id"].tolist() == ["a", "b"] and table["raters"].tolist() == [2, 1]
    assert table["artist"].tolist() == ["Bob"] * 2 and table["group"].nunique() == 1
    own("file,valence,rater\na,1,x\na,5,x \n")
    with pytest.raises(DatasetError, match="'a' of one rater: see row 3"):
        rated.load(folder, scale=(1, 9))


def test_columns_and_tables_can_be_named(own):
    own("clip,pleasure\na,2\nb,-2\n", "other.csv")
    folder = own("file,valence (-3 to 3)\na,0\n")
    assert len(rated.load(folder).songs) == 1
    columns = {"song": "clip", "valence": "pleasure"}
    songs = rated.load(folder, table="other.csv", columns=columns, scale=(-2, 2)).songs
    assert songs["valence"].tolist() == [1, -1]
    own("song_id,arousal\na,0\n", "third.csv")
    with pytest.raises(DatasetError, match=r"more than one table .*ratings.csv, third.csv"):
        rated.load(folder)
    with pytest.raises(ValueError, match="columns must be one of"):
        rated.load(folder, table="other.csv", columns={"pleasure": "pleasure"})
    with pytest.raises(TypeError, match="columns must be a mapping"):
        rated.load(folder, table="other.csv", columns=["clip"])
    with pytest.raises(ValueError, match="are for a folder of your own"):
        rated.load(folder, "deam", scale=(1, 9))


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("file,valence\na,2\n", {}, r"does not state one scale .*\(it states none\)"),
        ("file,valence (1 to 9),arousal (0 to 1)\na,2,1\n", {}, "states 1 to 9, 0 to 1"),
        ("file,valence (1 to 9),arousal\na,2,1\n", {}, "states 1 to 9, none"),
        ("file,valence\na,2\nb,9.5\n", {"scale": (1, 9)}, r"holds 9.5 for valence in row 3, outs"),
        ("file,valence\na,high\n", {"scale": (1, 9)}, "'high' for valence in row 2, which is no"),
        ("file,mood\na,2\n", {"scale": (1, 9)}, "holds no table of ratings. A folder of your own"),
        ("file,valence\na,2\ne.wav,3\n", {"scale": (1, 9)}, "1 of 2 songs .*: e.wav. Put"),
        ("file,valence\na,2\na,3\n", {"scale": (1, 9)}, "'a' and no column that says who rated"),
        ("file,valence,rater\na,2,x\na,3,x\n", {"scale": (1, 9)}, "'a' of one rater: see row 3"),
        ("file,valence\na,2\na ,3\n", {"scale": (1, 9)}, "'a' and no column that says who rated"),
        ("file,valence\na.wav,2\na,3\n", {"scale": (1, 9)}, "as two songs, 'a.wav' and 'a': both"),
        ("file,valence\n,2\n", {"scale": (1, 9)}, "names no song in row 2"),
        ('file,valence\n" ",2\n', {"scale": (1, 9)}, "names no song in row 2"),
        ("file,valence,n\na,2,0\n", {"scale": (1, 9)}, "holds 0 for raters in row 2, outside 1"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(own, text, settings, message):
    with pytest.raises(DatasetError, match=message):
        rated.load(own(text), **settings)


def test_a_scale_is_two_numbers(own):
    folder = own("file,valence\na,2\n")
    with pytest.raises(ValueError, match=r"scale must be a number above 9"):
        rated.load(folder, scale=(9, 1))
    with pytest.raises(TypeError, match="scale must be two numbers"):
        rated.load(folder, scale=9)


def test_a_folder_that_is_nothing_says_what_is_known(tmp_path):
    with pytest.raises(DatasetError) as error:
        rated.load(tmp_path)
    known = ("PMEmo expects", "DEAM expects", "MERP expects", "MUSIFEAST-17 expects", "of your own")
    assert all(name in str(error.value) for name in known)
