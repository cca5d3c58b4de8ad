"""Rated music: both published layouts are read, and what is wrong in a folder is named."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from lib import datasets, music
from lib.organism import world

SONGS, SECONDS, CHANGE = 6, 18.0, 16.5
STATIC = {
    "pmemo": "annotations/static_annotations.csv",
    "deam": f"{datasets._AVERAGED}/song_level/static_annotations_averaged_songs_1_2000.csv".translate({91: "", 93: ""}),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    above = tmp_path_factory.mktemp("made")
    return {name: datasets.make(above / name, name, SONGS, SECONDS, seed=3) for name in datasets.DATASETS}


@pytest.fixture(params=sorted(datasets.DATASETS))
def made(request, originals):
    return originals[request.param]


@pytest.fixture
def copy(made, tmp_path):
    """A made set one may damage."""
    shutil.copytree(made.folder, tmp_path / "copy")
    return datasets.load(tmp_path / "copy")


def told(rated):
    """The one problem of a folder, which the error tells as well."""
    report = datasets.load(rated.folder, rated.name).validate(strict=False)
    assert len(report) == 1, report.to_string()
    row = report.iloc[0]
    with pytest.raises(datasets.DatasetError) as error:
        datasets.load(rated.folder).validate()
    assert all(part in str(error.value) for part in row)
    return row


def edit(rated, change, file=None):
    """Change a table as text, header and blanks as they are."""
    path = rated.folder / (file or STATIC[rated.name])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


def put(rows, at, values):
    """Rows of a table with one column's cells, from the first song on, replaced."""
    changed = [row.split(",") for row in rows[1 : len(values) + 1]]
    changed = [",".join([*row[:at], value, *row[at + 1 :]]) for row, value in zip(changed, values, strict=True)]
    return [rows[0], *changed, *rows[len(values) + 1 :]]


# ------------------------------------------------------------------------------------------------- reading
def test_made_sets_are_whole_and_say_that_they_are_made(made):
    assert made.validate().empty
    assert made.made and "not the real" in str(made) and "not the real" in (made.folder / "MADE.txt").read_text()
    assert made.citation in str(made) and made.licence in str(made) and made.where in str(made)


def test_songs_have_labels_on_both_scales(made):
    songs, (low, high) = made.songs, made.scale["static"]
    assert len(songs) == SONGS and songs["song_id"].is_monotonic_increasing and songs.notna().all().all()
    assert np.allclose(songs["seconds"], SECONDS, atol=0.01)
    for axis in datasets.AXES:
        assert songs[f"{axis}_rated"].between(low, high).all()
        assert np.allclose(songs[axis], 2 * (songs[f"{axis}_rated"] - low) / (high - low) - 1)


def test_labels_are_the_worlds(made):
    """Songs that do not change (every second one) have the world's valence and arousal, whole and over time."""
    number = {row.song_id: int(row.file.stem) for row in made.songs.itertuples()}
    assert list(number) == list(number.values())
    known = (world.sample(SONGS, seed=3)[datasets.AXES] / 3).clip(-1, 1).to_numpy()
    assert np.allclose(made.songs[datasets.AXES].to_numpy()[::2], known[::2], atol=0.01)
    for i, song in enumerate(made.songs["song_id"]):
        over_time = made.dynamic(song)
        assert over_time["time"].tolist() == np.arange(15, SECONDS, 0.5).tolist()
        changed = over_time.loc[over_time["time"] >= CHANGE, datasets.AXES].to_numpy()
        assert np.allclose(over_time.loc[over_time["time"] < CHANGE, datasets.AXES], known[i], atol=0.001)
        assert np.ptp(changed, axis=0).max() == 0 and bool(np.linalg.norm(changed[0] - known[i]) > 0.2) == bool(i % 2)


def test_stamps_are_as_published(originals):
    pmemo, deam = (rated.dynamic(rated.songs["song_id"][0]) for rated in (originals["pmemo"], originals["deam"]))
    assert (pmemo["stamp"][0], deam["stamp"][0]) == (15.5, 15.0)
    assert (pmemo["time"] == deam["time"]).all()


def test_audio_is_the_music_that_was_rendered(made):
    song, row = made.songs["song_id"][0], world.sample(SONGS, seed=3).iloc[0]
    rendered = music.clip(world.to_cues(row), SECONDS, 3000)
    whole = made.audio(song, music.SAMPLE_RATE)
    assert whole.dtype == np.float32 and whole.shape == rendered.shape
    assert np.corrcoef(whole, rendered)[0, 1] > 0.98
    part = made.audio(song, music.SAMPLE_RATE, start=15.0, seconds=1.5)
    assert part.shape == (24_000,)
    assert np.corrcoef(part, rendered[240_000:264_000])[0, 1] > 0.98
    assert made.audio(song, 32_000, 15.0, 60.0).shape == (96_000,)
    with pytest.raises(datasets.DatasetError, match=r"nothing from 60 s on"):
        made.audio(song, 32_000, start=60.0)
    with pytest.raises(datasets.DatasetError, match="no labelled song 0"):
        made.audio(0, 32_000)
    with pytest.raises(ValueError, match="start must be"):
        made.audio(song, 32_000, start=-1.0)


def test_music_changes_with_its_labels(made):
    song, row = made.songs["song_id"][1], world.sample(SONGS, seed=3).iloc[1]
    rendered = music.clip(world.to_cues(row), SECONDS, 3001)
    heard, cut = made.audio(song, music.SAMPLE_RATE), round(CHANGE * music.SAMPLE_RATE)
    assert np.corrcoef(heard[:cut], rendered[:cut])[0, 1] > 0.98
    assert abs(np.corrcoef(heard[cut:], rendered[cut:])[0, 1]) < 0.5


def test_a_stereo_song_is_averaged(copy):
    file = copy.songs["file"][0]
    left = np.sin(np.arange(44_100 * 18) / 30) * 0.4
    soundfile.write(file, np.stack([left, np.zeros_like(left)], 1), 44_100, "MPEG_LAYER_III", format="MP3")
    heard = copy.audio(copy.songs["song_id"][0], 44_100, 1.0, 2.0)
    assert heard.shape == (88_200,) and np.abs(heard).max() == pytest.approx(0.2, abs=0.02)


# ----------------------------------------------------------------------------------------------- alignment
def test_alignment_of_a_known_step():
    labels = pd.DataFrame({"time": [15.0, 15.5, 16.0], "valence": [-1.0, -1.0, 1.0], "arousal": [0.0, 0.0, 0.5]})
    frames = datasets.aligned(labels, frame_rate=50, frames=150, start=14.0)
    valence = frames.sel(axis="valence").to_numpy()
    assert frames.dims == ("frame", "axis") and frames["time"][50] == 15.0
    assert np.isnan(valence[:50]).all() and (valence[50:100] == -1).all() and (valence[100:125] == 1).all()
    assert np.isnan(valence[125:]).all()
    assert (frames.sel(axis="arousal")[100:125] == 0.5).all()
    late = datasets.aligned(labels, 50, 150, start=14.0, lag=0.5).sel(axis="valence").to_numpy()
    assert np.array_equal(late[25:100], valence[50:125], equal_nan=True)


def test_alignment_leaves_holes_open_and_takes_any_rate():
    labels = pd.DataFrame({"time": [15.0, 16.0], "valence": [0.1, 0.2], "arousal": [0.0, 0.0]})
    assert np.allclose(datasets.aligned(labels, 2, 4, 14.5)[:, 0], [np.nan, 0.1, np.nan, 0.2], equal_nan=True)
    coarse = datasets.aligned(labels, 75, 75, 15.0)[:, 0]
    assert int(coarse.notnull().sum()) == 37  # 37 of 75 frames have their middle in the first half second
    with pytest.raises(ValueError, match="dynamic must be what"):
        datasets.aligned(labels.drop(columns="time"), 50, 10)
    with pytest.raises(ValueError, match="must be positive"):
        datasets.aligned(labels, 0, 10)


def test_alignment_of_a_made_step(made):
    song = made.songs["song_id"][1]
    frames = datasets.aligned(made.dynamic(song), 50, round(SECONDS * 50))
    change = np.flatnonzero(np.abs(np.diff(frames.to_numpy(), axis=0)).max(1) > 0.01)
    assert np.isnan(frames[:750]).all() and not np.isnan(frames[750:]).any()
    assert change.tolist() == [CHANGE * 50 - 1]


# ------------------------------------------------------------------------------------------------- splits
@pytest.mark.parametrize("seed", range(4))
def test_splits_share_no_song_and_no_artist(made, seed):
    train, test = split = made.split(test=0.34, seed=seed)
    songs = made.songs.set_index("song_id")
    assert sorted([*train, *test]) == sorted(songs.index) and len(test) == 2
    assert not set(songs.loc[train, "artist"]) & set(songs.loc[test, "artist"])
    assert np.array_equal(split.test, made.split(0.34, seed).test)


def test_splits_go_by_the_artist_credited_first(copy):
    if copy.name != "pmemo":
        pytest.skip("one layout is enough")
    names = ["Abba", "Abba feat. Cher", "ABBA & Cher", "Cher", '"Cher, Abba"', ""]
    edit(copy, lambda rows: put(rows, 3, names), "metadata.csv")
    songs = datasets.load(copy.folder).songs
    assert songs["group"].tolist() == ["abba"] * 3 + ["cher"] * 2 + [f"song {songs['song_id'][5]}"]
    (copy.folder / "metadata.csv").unlink()
    unnamed = datasets.load(copy.folder)
    assert unnamed.songs["group"].is_unique and len(unnamed.split(0.5).test) == 3
    with pytest.raises(ValueError, match="between 0 and 1"):
        unnamed.split(test=1.5)


# ------------------------------------------------------------------------------------------------- damage
def test_missing_audio(copy):
    copy.songs["file"][2].unlink()
    row = told(copy)
    assert row["kind"] == "missing" and row["file"].endswith(copy.songs["file"][2].name)
    assert np.isnan(datasets.load(copy.folder).songs["seconds"][2])
    with pytest.raises(datasets.DatasetError, match="is missing"):
        datasets.load(copy.folder).audio(copy.songs["song_id"][2], 32_000)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda old: b"", "is empty"),
        (lambda old: b"<html>404</html>" * 99, "cannot be decoded"),
        (lambda old: old[: len(old) // 2], "breaks off"),
    ],
    ids=["empty", "html", "truncated"],
)
def test_damaged_audio(copy, content, said):
    file = copy.songs["file"][1]
    file.write_bytes(content(file.read_bytes()))
    row = told(copy)
    assert row["kind"] == "damaged" and said in row["problem"] and "Get it again from" in row["advice"]


def test_audio_shorter_than_its_labels(copy):
    file = copy.songs["file"][0]
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 44_100 * 16), 44_100, "MPEG_LAYER_III", format="MP3")
    row = told(copy)
    assert row["kind"] == "short" and "has 16.0 s, but its labels go to" in row["problem"]


@pytest.mark.parametrize("value", ["11.5", ""], ids=["too high", "none"])
def test_labels_out_of_range(copy, value):
    edit(copy, lambda rows: put(rows, 1, [value]))
    row = told(copy)
    axis = {"pmemo": "arousal", "deam": "valence"}[copy.name]
    assert row["kind"] == "range" and f"{axis} outside" in row["problem"]
    assert str(copy.songs["song_id"][0]) in row["problem"] and "static_annotations" in row["file"]


def test_labels_over_time_out_of_range(copy):
    file = {"pmemo": "annotations/dynamic_annotations.csv", "deam": copy._labels["dynamic"].format(axis="arousal")}
    path = next(copy.folder.rglob(file[copy.name].rsplit("/")[-1])).relative_to(copy.folder)
    edit(copy, lambda rows: put(rows, {"pmemo": 2, "deam": 1}[copy.name], ["7"]), path)
    row = told(copy)
    assert (row["kind"], row["file"]) == ("range", file[copy.name])


def test_song_labelled_twice(copy):
    edit(copy, lambda rows: [*rows, rows[1]])
    assert told(copy)["kind"] == "twice" and len(datasets.load(copy.folder).songs) == SONGS


def test_unexpected_files(copy):
    (copy.folder / "copy of 12.wav").write_bytes(b"")
    (copy.folder / ".DS_Store").write_bytes(b"")
    row = told(copy)
    assert (row["kind"], row["file"]) == ("unexpected", "copy of 12.wav")


def test_audio_without_labels(copy):
    shutil.copy(copy.songs["file"][0], copy.songs["file"][0].with_name("999.mp3"))
    row = told(copy)
    assert row["kind"] == "unexpected" and row["file"].endswith("999.mp3") and "no labels" in row["problem"]


def test_clips_too_short_to_be_labelled_are_as_published(copy):
    """PMEmo has 27 choruses under 15.5 s, which have audio and no labels."""
    clip = np.random.default_rng(0).normal(0, 0.1, 44_100 * 12)
    soundfile.write(copy.songs["file"][0].with_name("999.mp3"), clip, 44_100, "MPEG_LAYER_III", format="MP3")
    assert datasets.load(copy.folder).validate().empty


# ------------------------------------------------------------------------------------------------- layouts
def test_wrong_layouts(made, tmp_path):
    with pytest.raises(datasets.DatasetError, match=r"There is no folder .* is had from http"):
        datasets.load(tmp_path / "nothing")
    with pytest.raises(datasets.DatasetError, match=r"PMEmo expects chorus.*DEAM expects \[DEAM_audio/\]MEMD_audio"):
        datasets.load(tmp_path)
    other = "deam" if made.name == "pmemo" else "pmemo"
    with pytest.raises(datasets.DatasetError, match=f"has not the layout of {datasets.DATASETS[other].title}"):
        datasets.load(made.folder, other)
    with pytest.raises(ValueError, match="name must be one of"):
        datasets.load(made.folder, "emomusic")


def test_a_table_that_is_missing_or_no_table(copy):
    path = copy.folder / STATIC[copy.name]
    kept = path.read_text()
    path.write_text("")
    with pytest.raises(datasets.DatasetError, match=f"{path.name} is no readable CSV"):
        datasets.load(copy.folder)
    path.write_text(kept.replace("rousal", "rage"))
    with pytest.raises(datasets.DatasetError, match=r"has no column .*rousal.*its header is"):
        datasets.load(copy.folder)
    path.unlink()
    with pytest.raises(datasets.DatasetError, match=f"lacks .*{path.name}"):
        datasets.load(copy.folder, copy.name)


def test_folders_above_the_layout_will_do(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "unpacked" / "PMEmo2019")
    assert datasets.load(tmp_path).songs.drop(columns="file").equals(made.songs.drop(columns="file"))


def test_deam_as_its_archives_unpack(originals, tmp_path):
    """MEMD_audio, annotations and metadata side by side: no DEAM_audio, no DEAM_Annotations."""
    kaggle = originals["deam"]
    for place in ("DEAM_audio/MEMD_audio", "DEAM_Annotations/annotations", "metadata"):
        shutil.copytree(kaggle.folder / place, tmp_path / place.split("/")[-1])
    official = datasets.load(tmp_path)
    assert not official.made and official.validate().empty
    assert official.songs.drop(columns="file").equals(kaggle.songs.drop(columns="file"))


def test_deam_headers_as_published(originals, tmp_path):
    """Blanks after commas, eight columns more for the songs over 2000 (one with an odd blank), one more of arousal."""
    deam = originals["deam"]
    level = deam.folder / STATIC["deam"]
    assert level.read_text().startswith("song_id, valence_mean, valence_std, arousal_mean, arousal_std\n")
    full = level.with_name("static_annotations_averaged_songs_2000_2058.csv").read_text().splitlines()
    assert full[0].split(",")[3] == " valence_ max_mean" and len(full[0].split(",")) == 13
    over_time = level.parent.parent / "dynamic (per second annotations)"
    headers = [(over_time / f"{axis}.csv").read_text().splitlines()[0].split(",") for axis in ("valence", "arousal")]
    assert headers[0][:3] == ["song_id", "sample_15000ms", "sample_15500ms"] and len(headers[1]) == len(headers[0]) + 1
    assert deam.songs["song_id"].max() > 2000
    without = tmp_path / "plain"
    shutil.copytree(deam.folder, without)
    edit(datasets.load(without), lambda rows: [rows[0].replace(" ", ""), *rows[1:]])
    assert datasets.load(without).songs.drop(columns="file").equals(deam.songs.drop(columns="file"))


def test_made_sets_overwrite_nothing(made, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(datasets.DatasetError, match="holds something else already"):
        datasets.make(tmp_path, made.name)
    with pytest.raises(datasets.DatasetError, match="holds something else already"):
        datasets.make(made.folder, made.name, SONGS, SECONDS, seed=4)
    with pytest.raises(ValueError, match="4 songs of 16 s or more"):
        datasets.make(tmp_path / "new", made.name, seconds=10)
    before = made.songs["file"][0].stat().st_mtime_ns
    assert datasets.make(made.folder, made.name, SONGS, SECONDS, seed=3).songs.equals(made.songs)
    assert made.songs["file"][0].stat().st_mtime_ns == before


def test_an_interrupted_making_goes_on(copy):
    (copy.folder / STATIC[copy.name]).unlink()
    again = datasets.make(copy.folder, copy.name, SONGS, SECONDS, seed=3)
    assert again.validate().empty and len(again.songs) == SONGS
