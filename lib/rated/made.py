"""Write a small set in a published layout: music of the organisms' world, and raters simulated."""

import sys
from os import PathLike
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import soundfile

from .. import cache, check
from ..organism import music, world
from . import layout, validation
from .dataset import Dataset
from .errors import DatasetError
from .labels import AXES, STEP, UNLABELLED, from_unit
from .registry import kind_of

SAMPLE_RATE = 44_100
#: A song that changes goes over into one this far away, in the world's valence and arousal.
_FAR = 1.5
#: How far raters of one song differ, where labels go from -1 to 1: MUSIFEAST-17's standard
#: deviations over raters are 0.46 for valence and 0.43 for arousal on average.
RATER_SPREAD = 0.4
#: How files are written.
_FORMATS = {
    ".mp3": {"subtype": "MPEG_LAYER_III", "format": "MP3"},
    ".wav": {"subtype": "PCM_16", "format": "WAV"},
}
_TEXT = (
    "This is not the real {title}. Nobody rated it.\n\n"
    "lib.datasets.make(name={name!r}, songs={songs}, seconds={seconds:g}, seed={seed}) of the "
    "MusicGen emotion book wrote it:\n"
    "music rendered from the organisms' world (lib/organism/world.py) in the layout of {title}. "
    "Its valence and arousal, divided\n"
    "by three and clipped to -1 to 1, are what a song expresses. Raters are simulated: each hears "
    "a song {spread:g} (standard\n"
    "deviation) off that, all along the song, and answers within -1 to 1; labels are means over "
    "as many raters as the\n"
    "real set has, on the published scale. In every second song the music and what it expresses "
    "change at {change:g} s, at\n"
    "once; what is said of a whole song is the mean over its time.\n"
)


def make(
    folder: str | PathLike,
    name: str = "pmemo",
    songs: int = 24,
    seconds: float = 20.0,
    seed: int = 0,
) -> Dataset:
    """Write a small set in the published layout: music of the organisms' world, whose valence and
    arousal are known, as raters who are simulated answer.

    Every second song goes over into one of another emotion (same instrument and tonic) half-way
    through its labelled part, at once. As many raters as the real set has differ by
    ``RATER_SPREAD``, each by as much all along a song, so that means, standard deviations and each
    rater's answers belong together. Ids have gaps, two songs share an artist, DEAM has both static
    files. ``MADE.txt`` in the folder says what it is, with the version of the code that made
    it and a hash of all files. A folder that holds the same made set is opened, not written again;
    where another version of the code made it, or a file of it is damaged, it is made again.

    Parameters
    ----------
    folder : str or Path
        New, empty, or of the same made set. It appears whole or not at all.
    name : {"pmemo", "deam", "merp", "musifeast17"}
    songs : int
        At least 4, at most the highest id of the real set (or its number of songs).
    seconds : float
        Of each song, at least 16: the first 15 have no labels.
    seed : int

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    DatasetError
        If the folder holds anything else: nothing else is ever overwritten.
    """
    kind = kind_of(name)
    songs = check.count("songs", songs, 4, kind.last_song)
    seconds = check.number("seconds", seconds, UNLABELLED + 2 * STEP)
    seed = check.count("seed", seed, 0)
    folder = Path(folder).expanduser().absolute()
    change = UNLABELLED + STEP * max(1, round((seconds - UNLABELLED) / 2 / STEP))
    settings = {"name": name, "songs": songs, "seconds": seconds, "seed": seed}
    text = _TEXT.format(title=kind.title, change=change, spread=RATER_SPREAD, **settings)
    if _holds(folder, kind, text):
        return kind(folder)
    with cache.replace_folder(folder) as new:
        _write(new, kind, songs, seconds, change, seed)
        (new / layout.MARKER).write_text(text + _version(new, kind))
    return kind(folder)


def _holds(folder, kind, text):
    """Whether a folder holds this made set, whole; an error if it holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    marker = folder / layout.MARKER
    written = marker.read_text() if marker.exists() else ""
    others = list(validation.strangers(folder, kind.published))
    if not written.startswith(text) or others:
        raise DatasetError(
            f"{folder} holds something else already. Choose another folder for the made set."
        )
    return written == text + _version(folder, kind)


def _version(folder, kind):
    """What makes the files of a folder, and what they hold."""
    code = cache.code(music, world, sys.modules[kind.__module__], sys.modules[__name__])
    files = {
        path.relative_to(folder).as_posix(): np.frombuffer(path.read_bytes(), np.uint8)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != layout.MARKER
    }
    return f"\nCode {code}, files {cache.digest(files)}.\n"


def _write(folder, kind, songs, seconds, change, seed):
    """Write the audio and the tables of a set."""
    rng = np.random.default_rng([seed, 7])
    ids = kind.made_ids(songs, rng)
    artists = rng.permutation(songs) // 2
    pool = world.sample(400, seed=seed + 1)
    audio = folder / layout.full(kind.places["audio"])
    audio.mkdir(parents=True)
    scale = kind.scale["static"]
    rows = []
    over_time = []
    answers = []
    for i, row in enumerate(world.sample(songs, seed=seed).to_dict("records")):
        later = _far_from(row, pool, rng) if i % 2 else None
        wave = _wave(row, later, seconds, change, 1000 * seed + i)
        file = audio / f"{ids[i]}{kind.suffix}"
        soundfile.write(file, wave, SAMPLE_RATE, **_FORMATS[kind.suffix])
        expressed = np.array([_expressed(part) for part in (row, row if later is None else later)])
        answered = _answered(expressed, round(kind.usual_raters(ids[i])), rng)
        if "dynamic" in kind.scale:
            over_time.append(_over_time(answered.mean(0), kind, ids[i], seconds, change))
        whole = np.average(answered, axis=1, weights=[change, seconds - change])
        whole = from_unit(pd.DataFrame(whole, columns=AXES), scale)
        answers.append(whole.assign(song_id=ids[i], rater=np.arange(len(whole))))
        rows.append((ids[i], file.name, f"Made song {i}", f"Made artist {artists[i]} of {seed}"))
    answers = pd.concat(answers, ignore_index=True)
    table = pd.DataFrame(rows, columns=["song_id", "file", "title", "artist"])
    by_song = answers.groupby("song_id")[AXES]
    spreads = by_song.std(ddof=kind.spread_ddof).add_suffix("_std")
    means = by_song.mean().join(spreads)
    table = table.join(means, on="song_id").assign(seconds=seconds)
    dynamic = pd.concat(over_time, ignore_index=True) if over_time else pd.DataFrame()
    kind.write_tables(folder, table, dynamic, answers)


def _far_from(row, pool, rng):
    """What a song goes over into: another's causes, with the song's instrument."""
    far = pool[np.hypot(*(pool[axis] - row[axis] for axis in AXES)) > _FAR]
    return {**far.iloc[rng.integers(len(far))], "instrument": row["instrument"]}


def _wave(row, later, seconds, change, seed):
    """A song at 44.1 kHz, of other causes from ``change`` (s) on if there are any."""
    rendered = music.clip(world.to_cues(row), seconds, seed)
    if later is not None:
        cut = round(change * music.SAMPLE_RATE)
        rest = music.clip(world.to_cues(later), seconds, seed)
        rendered = np.concatenate([rendered[:cut], rest[: len(rendered) - cut]])
    resampled = librosa.resample(rendered, orig_sr=music.SAMPLE_RATE, target_sr=SAMPLE_RATE)
    return np.clip(resampled, -1, 1)


def _expressed(row):
    """The world's valence and arousal, -1 to 1: within three standard deviations."""
    return np.clip([row[axis] / 3 for axis in AXES], -1, 1)


def _answered(expressed, raters, rng):
    """What raters answer in the two parts of a song, [rater, part, axis]."""
    off = RATER_SPREAD * rng.normal(size=(raters, 1, len(AXES)))
    return np.clip(expressed + off, -1, 1)


def _over_time(answered, kind, song, seconds, change):
    """Labels of every half second, of two parts with what is answered in them, [part, axis]."""
    times = np.arange(UNLABELLED, seconds - STEP + 1e-9, STEP)
    part = (times >= change).astype(int)
    labels = from_unit(pd.DataFrame(answered[part], columns=AXES), kind.scale["dynamic"])
    return labels.assign(song_id=song, stamp=times + kind.stamp_shift)
