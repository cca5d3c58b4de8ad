"""Rated music: both published layouts are read, and what is wrong in a folder is named."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from lib import rated
from lib.organism import music, world
from lib.rated import AXES, DatasetError, made, tables

SONGS = 6
SECONDS = 18.0
CHANGE = 16.5
SEED = 3
_DEAM = "DEAM_Annotations/annotations/annotations averaged per song"
STATIC = {
    "pmemo": "annotations/static_annotations.csv",
    "deam": f"{_DEAM}/song_level/static_annotations_averaged_songs_1_2000.csv",
}
OVER_TIME = {
    "pmemo": "annotations/dynamic_annotations.csv",
    "deam": f"{_DEAM}/dynamic (per second annotations)/arousal.csv",
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    above = tmp_path_factory.mktemp("made")
    return {name: rated.make(above / name, name, SONGS, SECONDS, SEED) for name in STATIC}


@pytest.fixture(params=sorted(STATIC))
def original(request, originals):
    return originals[request.param]


@pytest.fixture
def copy(original, tmp_path):
    """A made set one may damage, in either layout."""
    shutil.copytree(original.folder, tmp_path / "copy")
    return rated.load(tmp_path / "copy")


@pytest.fixture
def pmemo(originals, tmp_path):
    """A made set one may damage, where the layout makes no difference."""
    shutil.copytree(originals["pmemo"].folder, tmp_path / "copy")
    return rated.load(tmp_path / "copy")


def problem(songs):
    """The one problem of a folder."""
    report = rated.load(songs.folder, songs.name).validate(strict=False)
    assert len(report) == 1, report.to_string()
    return report.iloc[0]


def edit(songs, change, place=None):
    """Change a table as text, header and blanks as they are."""
    path = songs.folder / (place or STATIC[songs.name])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


def put(lines, column, values):
    """Lines of a table with one column's cells, from the first song on, replaced."""
    cells = [line.split(",") for line in lines[1 : len(values) + 1]]
    changed = [
        ",".join([*row[:column], value, *row[column + 1 :]])
        for row, value in zip(cells, values, strict=True)
    ]
    return [lines[0], *changed, *lines[len(values) + 1 :]]


# ------------------------------------------------------------------------------------------ reading
def test_made_sets_are_whole_and_say_that_they_are_made(original):
    assert original.validate().empty and original.made
    assert "not the real" in (original.folder / "MADE.txt").read_text()
    text = str(original)
    assert "not the real" in text
    assert all(part in text for part in (original.citation, original.licence, original.where))


def test_songs_have_labels_on_both_scales(original):
    songs = original.songs
    low, high = original.scale["static"]
    assert len(songs) == SONGS and songs["song_id"].is_monotonic_increasing
    assert songs.notna().all().all() and np.allclose(songs["seconds"], SECONDS, atol=0.01)
    for axis in AXES:
        published = songs[f"{axis}_rated"]
        assert published.between(low, high).all()
        assert np.allclose(songs[axis], 2 * (published - low) / (high - low) - 1)


def test_labels_are_the_worlds_as_raters_hear_them(original):
    """Before a song changes (every second one does) labels are the world's valence and arousal, but
    for what few raters differ by: as much all along a song, so that songs which do not change have
    one label."""
    songs = original.songs
    assert list(songs["song_id"]) == [int(f.stem) for f in songs["file"]]
    known = (world.sample(SONGS, seed=SEED)[AXES] / 3).clip(-1, 1).to_numpy()
    errors = songs[[f"{axis}_sem" for axis in AXES]].to_numpy()
    for i, song in enumerate(songs["song_id"]):
        labels = original.dynamic(song)
        assert labels["time"].tolist() == np.arange(15, SECONDS, 0.5).tolist()
        late = labels["time"] >= CHANGE
        early = labels.loc[~late, AXES].to_numpy()
        changed = labels.loc[late, AXES].to_numpy()
        assert (np.abs(early - known[i]) < 4 * errors[i]).all()
        assert np.ptp(early, axis=0).max() == np.ptp(changed, axis=0).max() == 0
        assert bool(np.linalg.norm(changed[0] - early[0]) > 0.1) == bool(i % 2)
        if i % 2 == 0:
            assert np.allclose(songs.loc[i, AXES].astype(float), early[0], atol=0.01)


def test_stamps_are_as_published(originals):
    first = {name: songs.dynamic(songs.songs["song_id"][0]) for name, songs in originals.items()}
    assert (first["pmemo"]["stamp"][0], first["deam"]["stamp"][0]) == (15.5, 15.0)
    assert (first["pmemo"]["time"] == first["deam"]["time"]).all()


def test_audio_is_the_music_that_was_rendered(originals):
    """The second song changes with its labels. numpy's numbers will do."""
    songs = originals["pmemo"]
    rows = world.sample(SONGS, seed=SEED)
    rate = music.SAMPLE_RATE
    cut = round(CHANGE * rate)
    for i in (0, 1):
        song = songs.songs["song_id"][i]
        rendered = music.clip(world.to_cues(rows.iloc[i]), SECONDS, 1000 * SEED + i)
        read = songs.audio(song, np.int64(rate))
        assert read.dtype == np.float32 and read.shape == rendered.shape
        assert np.corrcoef(read[:cut], rendered[:cut])[0, 1] > 0.98
        assert (abs(np.corrcoef(read[cut:], rendered[cut:])[0, 1]) > 0.9) == (i == 0)
    part = songs.audio(int(song), rate, start=np.float32(15.0), seconds=1.5)
    assert part.shape == (24_000,) and np.corrcoef(part, rendered[240_000:264_000])[0, 1] > 0.9


def test_songs_that_are_not_there_are_refused(originals):
    songs = originals["pmemo"]
    song = songs.songs["song_id"][0]
    with pytest.raises(DatasetError, match="no labelled song 0"):
        songs.audio(0, 32_000)
    with pytest.raises(DatasetError, match=r"nothing from 60 s on\. Get it again from http"):
        songs.audio(song, 32_000, start=60.0)
    for wrong in ({"start": -1.0}, {"seconds": 0}, {"start": np.nan}, {"sample_rate": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            songs.audio(song, **{"sample_rate": 32_000, **wrong})
    with pytest.raises(TypeError, match="song_id must be an integer"):
        songs.dynamic("12")


# ---------------------------------------------------------------------------------------- alignment
def test_alignment_of_a_known_step():
    labels = pd.DataFrame(
        {"time": [15.0, 15.5, 16.0], "valence": [-1.0, -1.0, 1.0], "arousal": [0.0, 0.0, 0.5]}
    )
    frames = rated.aligned(labels, frame_rate=50, frames=150, start=14.0)
    valence = frames.sel(axis="valence").to_numpy()
    assert frames.dims == ("frame", "axis") and frames["time"][50] == 15.0
    assert np.isnan(valence[:50]).all() and np.isnan(valence[125:]).all()
    assert (valence[50:100] == -1).all() and (valence[100:125] == 1).all()
    assert (frames.sel(axis="arousal")[100:125] == 0.5).all()
    late = rated.aligned(labels, 50, 150, start=14.0, lag=0.5).sel(axis="valence").to_numpy()
    assert np.array_equal(late[25:100], valence[50:125], equal_nan=True)


def test_alignment_leaves_holes_open_and_takes_any_rate():
    labels = pd.DataFrame({"time": [15.0, 16.0], "valence": [0.1, 0.2], "arousal": [0.0, 0.0]})
    holes = rated.aligned(labels, 2, np.int64(4), 14.5)[:, 0]
    assert np.allclose(holes, [np.nan, 0.1, np.nan, 0.2], equal_nan=True)
    coarse = rated.aligned(labels, 75, 75, 15.0)[:, 0]
    assert int(coarse.notnull().sum()) == 37  # so many have their middle in the first half second
    unanswered = labels.assign(valence=[np.nan, 0.2])
    assert np.isnan(rated.aligned(unanswered, 2, 4, 14.5)[1, 0])
    with pytest.raises(ValueError, match="dynamic must be what"):
        rated.aligned(labels.drop(columns="time"), 50, 10)
    for wrong in ((0, 10), (50, 0), (50, 10, np.nan), (50, 10, 0, np.inf)):
        with pytest.raises(ValueError, match="must be"):
            rated.aligned(labels, *wrong)


def test_alignment_of_a_made_step(original):
    song = original.songs["song_id"][1]
    frames = rated.aligned(original.dynamic(song), 50, round(SECONDS * 50))
    change = np.flatnonzero(np.abs(np.diff(frames.to_numpy(), axis=0)).max(1) > 0.01)
    assert np.isnan(frames[:750]).all() and not np.isnan(frames[750:]).any()
    assert change.tolist() == [CHANGE * 50 - 1]


# ------------------------------------------------------------------------------------------- splits
def test_splits_share_no_song_and_no_artist(original):
    songs = original.songs.set_index("song_id")
    for seed in range(4):
        train, test = original.split(test=0.34, seed=seed)
        assert sorted([*train, *test]) == sorted(songs.index) and len(test) == 2
        assert not set(songs.loc[train, "artist"]) & set(songs.loc[test, "artist"])
        assert np.array_equal(test, original.split(0.34, np.int64(seed)).test)


def test_splits_go_by_the_artist_credited_first(pmemo):
    names = ["Abba", "Abba feat. Cher", "ABBA & Cher", "Cher", '"Cher, Abba"', ""]
    edit(pmemo, lambda lines: put(lines, 3, names), "metadata.csv")
    songs = rated.load(pmemo.folder).songs
    alone = f"song pmemo {songs['song_id'][5]}"
    assert songs["group"].tolist() == ["abba"] * 3 + ["cher"] * 2 + [alone]
    (pmemo.folder / "metadata.csv").unlink()
    unnamed = rated.load(pmemo.folder)
    assert unnamed.songs["group"].is_unique and len(unnamed.split(0.5).test) == 3
    for wrong in (1.5, np.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            unnamed.split(test=wrong)


# ---------------------------------------------------------------------------------- what is missing
def test_missing_artists_are_no_artist(pmemo):
    edit(
        pmemo,
        lambda lines: put(lines, 3, ["n/a", "nan", "None", "", "NULL", "unknown"]),
        "metadata.csv",
    )
    songs = rated.load(pmemo.folder).songs
    assert (songs["artist"] == "").all() and songs["group"].is_unique


@pytest.mark.parametrize("value", ["", "n/a", " NaN"])
def test_missing_ratings_are_missing(copy, value):
    edit(copy, lambda lines: put(lines, 1, [value]))
    songs = rated.load(copy.folder).songs
    axis = {"pmemo": "arousal", "deam": "valence"}[copy.name]
    assert np.isnan(songs[axis][0]) and songs.notna().sum().sum() == songs.size - 2
    row = problem(copy)
    assert (
        row["kind"] == "range"
        and f"{axis} outside" in row["problem"]
        and "or none" in row["problem"]
    )


def test_text_for_a_rating_is_missing_and_said(pmemo):
    edit(pmemo, lambda lines: put(lines, 1, ["0.5", "seven"]))
    with pytest.warns(UserWarning, match=r"row 3, Arousal\(mean\): 'seven'\. Correct the cells"):
        songs = rated.load(pmemo.folder).songs
    assert np.isnan(songs["arousal"][1]) and songs["arousal"].notna().sum() == SONGS - 1


def test_rows_of_no_song_are_left_out_and_said(pmemo):
    edit(pmemo, lambda lines: [*lines, ",0.1,0.2", "12.5,0.1,0.2"])
    with pytest.warns(UserWarning, match=r"2 rows that belong to no song \(rows 8, 9\)"):
        assert len(rated.load(pmemo.folder).songs) == SONGS


def test_half_seconds_without_an_answer_have_no_label(pmemo):
    place = OVER_TIME["pmemo"]
    edit(pmemo, lambda lines: put(lines, 2, ["0.5", ""]), place)
    songs = rated.load(pmemo.folder)
    song = int((pmemo.folder / place).read_text().splitlines()[2].split(",")[0])
    assert songs.dynamic(song)["time"].tolist()[:2] == [15.0, 16.0]
    assert np.isnan(rated.aligned(songs.dynamic(song), 2, 1, 15.5)).all()
    row = problem(pmemo)
    assert row["kind"] == "range" and f"or none, for song {song}" in row["problem"]
    edit(pmemo, lambda lines: [*lines[:2], *lines[3:]], place)
    assert problem(pmemo)["kind"] == "hole"


# ------------------------------------------------------------------------------------------- damage
def test_problems_are_listed_and_raised(pmemo):
    pmemo.songs["file"][2].unlink()
    songs = rated.load(pmemo.folder)
    row = problem(songs)
    assert row["kind"] == "missing" and row["file"].endswith(pmemo.songs["file"][2].name)
    with pytest.raises(DatasetError) as error:
        songs.validate()
    assert all(part in str(error.value) for part in row)
    assert np.isnan(songs.songs["seconds"][2])
    with pytest.raises(DatasetError, match="is missing"):
        songs.audio(songs.songs["song_id"][2], 32_000)


def write(file, samples):
    soundfile.write(file, samples, 44_100, "MPEG_LAYER_III", format="MP3")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda old: b"", "is empty"),
        (lambda old: b"<html>404</html>" * 99, "cannot be decoded"),
        (lambda old: old[: len(old) // 3], r"breaks off after \d\.\d of 18\.1 s"),
    ],
    ids=["empty", "html", "cut to a third"],
)
def test_damaged_audio(pmemo, content, expected):
    file = pmemo.songs["file"][1]
    file.write_bytes(content(file.read_bytes()))
    row = problem(pmemo)
    assert row["kind"] == "damaged" and "Get it again from" in row["advice"]
    assert pd.Series([row["problem"]]).str.contains(expected).all()
    songs = rated.load(pmemo.folder)
    assert np.isnan(songs.songs["seconds"][1])
    for seconds in (None, 1.0):  # a part that is there is of another song, perhaps
        with pytest.raises(DatasetError, match=expected):
            songs.audio(songs.songs["song_id"][1], 16_000, seconds=seconds)


def test_audio_that_does_not_reach_its_labels(pmemo):
    noise = np.random.default_rng(0).normal(0, 0.1, 44_100 * 18)
    file = pmemo.songs["file"][0]
    write(file, noise[: 44_100 * 16])
    row = problem(pmemo)
    assert row["kind"] == "short" and "has 16.0 s, but its labels go to 18.0 s" in row["problem"]
    with pytest.raises(DatasetError, match=r"labels go to 18\.0 s"):
        rated.load(pmemo.folder).audio(pmemo.songs["song_id"][0], 16_000)
    noise[44_100 * 16 :] = 0
    write(file, noise)
    row = problem(pmemo)
    assert row["kind"] == "silent" and "silent from 16." in row["problem"]


def test_labels_out_of_range(copy):
    edit(copy, lambda lines: put(lines, 1, ["11.5"]))
    row = problem(copy)
    axis = {"pmemo": "arousal", "deam": "valence"}[copy.name]
    assert row["kind"] == "range" and f"{axis} outside" in row["problem"]
    assert str(copy.songs["song_id"][0]) in row["problem"] and "static_annotations" in row["file"]
    edit(copy, lambda lines: put(lines, 1, ["0.5" if copy.name == "pmemo" else "5"]))
    edit(
        copy,
        lambda lines: put(lines, {"pmemo": 2, "deam": 1}[copy.name], ["7"]),
        OVER_TIME[copy.name],
    )
    row = problem(copy)
    assert row["kind"] == "range" and OVER_TIME[copy.name].endswith(row["file"])


def test_labels_given_twice(pmemo):
    edit(pmemo, lambda lines: [*lines, lines[1]])
    assert problem(pmemo)["kind"] == "twice" and len(rated.load(pmemo.folder).songs) == SONGS
    edit(pmemo, lambda lines: lines[:-1])
    edit(pmemo, lambda lines: [*lines, lines[1]], OVER_TIME["pmemo"])
    row = problem(pmemo)
    assert row["kind"] == "twice" and row["file"] == OVER_TIME["pmemo"]


def test_unexpected_files(pmemo):
    (pmemo.folder / "copy of 12.wav").write_bytes(b"")
    (pmemo.folder / ".DS_Store").write_bytes(b"")
    row = problem(pmemo)
    assert (row["kind"], row["file"]) == ("unexpected", "copy of 12.wav")


def test_audio_without_labels(pmemo):
    """PMEmo has 27 choruses under 15.5 s, which have audio and no labels."""
    extra = pmemo.songs["file"][0].with_name("999.mp3")
    write(extra, np.random.default_rng(0).normal(0, 0.1, 44_100 * 12))
    assert rated.load(pmemo.folder).validate().empty
    shutil.copy(pmemo.songs["file"][0], extra)
    row = problem(pmemo)
    assert row["kind"] == "unexpected" and row["file"].endswith("999.mp3")
    assert "no labels" in row["problem"]


# ------------------------------------------------------------------------------------------ layouts
def test_wrong_layouts(original, tmp_path):
    with pytest.raises(DatasetError, match=r"There is no folder .* is had from http"):
        rated.load(tmp_path / "nothing")
    expected = r"PMEmo expects chorus.*DEAM expects \[DEAM_audio/\]MEMD_audio"
    with pytest.raises(DatasetError, match=expected):
        rated.load(tmp_path)
    other = "deam" if original.name == "pmemo" else "pmemo"
    title = rated.DATASETS[other].title
    with pytest.raises(DatasetError, match=f"has not the layout of {title}"):
        rated.load(original.folder, other)
    with pytest.raises(ValueError, match="name must be one of"):
        rated.load(original.folder, "emomusic")


def test_a_table_that_is_missing_or_no_table(copy):
    path = copy.folder / STATIC[copy.name]
    content = path.read_text()
    path.write_text("")
    with pytest.raises(DatasetError, match=f"{path.name} is no readable CSV"):
        rated.load(copy.folder)
    path.write_text(content.replace("rousal", "rage"))
    with pytest.raises(DatasetError, match=r"has no column .*rousal.*its header is"):
        rated.load(copy.folder)
    path.unlink()
    with pytest.raises(DatasetError, match=f"lacks .*{path.name}"):
        rated.load(copy.folder, copy.name)


def test_folders_above_the_layout_will_do_from_any_folder(originals, tmp_path, monkeypatch):
    shutil.copytree(originals["pmemo"].folder, tmp_path / "unpacked" / "PMEmo2019")
    monkeypatch.chdir(tmp_path)
    songs = rated.load("unpacked")
    monkeypatch.chdir("/")
    expected = originals["pmemo"].songs
    assert songs.songs.drop(columns="file").equals(expected.drop(columns="file"))
    assert len(songs.audio(songs.songs["song_id"][0], 16_000, 0, 1.0)) == 16_000


def test_deam_as_its_archives_unpack(originals, tmp_path):
    """MEMD_audio, annotations and metadata side by side: no DEAM_audio, no DEAM_Annotations."""
    kaggle = originals["deam"]
    for place in ("DEAM_audio/MEMD_audio", "DEAM_Annotations/annotations", "metadata"):
        shutil.copytree(kaggle.folder / place, tmp_path / place.split("/")[-1])
    official = rated.load(tmp_path)
    assert not official.made and official.validate().empty
    assert official.songs.drop(columns="file").equals(kaggle.songs.drop(columns="file"))


def test_deam_headers_as_published(originals, tmp_path):
    """Blanks after commas, eight columns more for whole songs (one with an odd blank), and one more
    of arousal."""
    deam = originals["deam"]
    level = deam.folder / STATIC["deam"]
    header = "song_id, valence_mean, valence_std, arousal_mean, arousal_std\n"
    assert level.read_text().startswith(header)
    whole = level.with_name("static_annotations_averaged_songs_2000_2058.csv").read_text()
    names = whole.splitlines()[0].split(",")
    assert names[3] == " valence_ max_mean" and len(names) == 13
    arousal = deam.folder / OVER_TIME["deam"]
    times = {
        axis: arousal.with_name(f"{axis}.csv").read_text().splitlines()[0].split(",")
        for axis in AXES
    }
    assert times["valence"][:3] == ["song_id", "sample_15000ms", "sample_15500ms"]
    assert len(times["arousal"]) == len(times["valence"]) + 1
    assert deam.songs["song_id"].max() > 2000
    shutil.copytree(deam.folder, tmp_path / "plain")
    edit(rated.load(tmp_path / "plain"), lambda lines: [lines[0].replace(" ", ""), *lines[1:]])
    plain = rated.load(tmp_path / "plain").songs
    assert plain.drop(columns="file").equals(deam.songs.drop(columns="file"))


def test_ragged_tables_of_songs(tmp_path):
    file = tmp_path / "songs.csv"
    file.write_text('Id,Title,Artist\n1,a,"\tAbba"\n2,b\n3,c,Cher,more,cells\nx,d,Dido\n')
    assert tables.artists(file) == {1: "Abba", 3: "Cher"}
    file.write_text("Id,Title\n1,a\n")
    with pytest.raises(DatasetError, match="names no song or no artist"):
        tables.artists(file)


# --------------------------------------------------------------------------------------------- made
def test_made_sets_overwrite_nothing_else(originals, tmp_path):
    songs = originals["pmemo"]
    (tmp_path / "mine.txt").write_text("mine")
    for folder, seed in ((tmp_path, SEED), (songs.folder, SEED + 1)):
        with pytest.raises(DatasetError, match="holds something else already"):
            rated.make(folder, "pmemo", SONGS, SECONDS, seed)
    before = songs.songs["file"][0].stat().st_mtime_ns
    again = rated.make(songs.folder, "pmemo", np.int64(SONGS), np.float64(SECONDS), np.int64(SEED))
    assert again.songs.equals(songs.songs)
    assert songs.songs["file"][0].stat().st_mtime_ns == before
    for wrong in (
        {"seconds": 10},
        {"songs": 3},
        {"songs": 1001},
        {"seed": -1},
        {"seconds": np.nan},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            rated.make(tmp_path / "new", "pmemo", **wrong)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def quick_waves(monkeypatch):
    """A moment of noise instead of rendered music: for tests of how a set is written."""

    def noise(row, later, seconds, change, seed):
        return np.random.default_rng(seed).normal(0, 0.1, 44_100)

    monkeypatch.setattr(made, "_wave", noise)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_or_outdated_made_set_is_made_again(quick_waves, tmp_path, monkeypatch):
    def make():
        return rated.make(tmp_path / "set", "pmemo", 4, 16.0)

    songs = make()
    whole = files(songs.folder)
    with monkeypatch.context() as patched:
        patched.setattr(made, "_write", lambda *arguments: pytest.fail("was made again"))
        make()
    songs.songs["file"][0].write_bytes(whole[songs.songs["file"][0].name][:2000])
    assert make().songs["seconds"].notna().all()
    songs.folder.joinpath(STATIC["pmemo"]).unlink()
    assert len(make().songs) == 4
    remade = files(songs.folder)
    monkeypatch.setattr(made.cache, "code", lambda *sources: "other code")
    make()
    assert files(songs.folder)["MADE.txt"] != remade["MADE.txt"]
    (songs.folder / "mine.txt").write_text("mine")
    songs.songs["file"][0].write_bytes(b"")
    with pytest.raises(DatasetError, match="holds something else already"):
        make()


def test_an_interrupted_making_leaves_nothing(quick_waves, tmp_path, monkeypatch):
    written = []

    def write_two(*arguments, **settings):
        written.append(arguments)
        if len(written) > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(made.soundfile, "write", write_two)
    with pytest.raises(KeyboardInterrupt):
        rated.make(tmp_path / "set", "deam", 4, 16.0)
    assert not list(tmp_path.iterdir())
