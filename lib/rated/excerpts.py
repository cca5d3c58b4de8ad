"""Rated music through a model: excerpts of songs, and what the model holds of them.

Music is encoded and replayed without text, so nothing but the music itself can tell. Ratings come
in half seconds, and so do all inputs.
"""

import warnings
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import torch
import xarray as xr
from tqdm.auto import tqdm

from .. import check
from ..musicgen import activations
from ..musicgen.clips import Clips
from ..musicgen.model import Model
from .dataset import Dataset
from .descriptors import describe, step_average
from .errors import DatasetError
from .labels import AXES, STEP, aligned

#: Songs without which nothing is learned and tested.
LEAST = 10


class Excerpts(NamedTuple):
    """Parts of rated songs.

    Attributes
    ----------
    clips : Clips
        Tokens of the excerpts, under no text, without audio.
    song : np.ndarray [shape=(excerpt,)], int
        Row of ``songs``.
    start : np.ndarray [shape=(excerpt,)], s
    ratings : np.ndarray [shape=(excerpt, step, 2)]
        Valence and arousal of each half second, -1 to 1, averaged over the codec's frames in it;
        nan where not rated.
    features : dict
        "mel-spectrogram" and "librosa" -> [excerpt, step, dim]: the baselines, from the audio
        before the codec.
    songs : pd.DataFrame
        Of the dataset, without songs that are too short, damaged or not rated.
    """

    clips: Clips
    song: np.ndarray
    start: np.ndarray
    ratings: np.ndarray
    features: dict[str, np.ndarray]
    songs: pd.DataFrame


def read(
    model: Model,
    rated: Dataset,
    seconds: float = 6.0,
    windows: int = 3,
    lag: float = 0.0,
    progress: bool = True,
) -> Excerpts:
    """Encode excerpts of every song, spread evenly from its beginning to its end.

    Songs that cannot be used (damaged, or without a rating of the whole song) are left out with a
    warning that names them.

    Parameters
    ----------
    seconds : float
        Of an excerpt; a multiple of half a second, within the model's limit.
    windows : int
        Excerpts a song, fewer where it is too short for so many that are not the same.
    lag : float, s
        How long listeners take to answer: see :func:`aligned`.

    Raises
    ------
    TypeError, ValueError
        For lengths or numbers that make no sense, or if fewer than ten songs can be read.
    """
    seconds = _excerpt_seconds(seconds, model.max_seconds)
    windows = check.count("windows", windows)
    lag = check.number("lag", lag)
    songs = _usable_songs(rated, seconds)
    rate = model.sample_rate
    kept = []
    tokens = []
    features = []
    rows = []
    for index, song in enumerate(tqdm(songs["song_id"], "read", disable=not progress, leave=False)):
        try:
            audio = rated.audio(song, rate)
        except DatasetError as error:
            warnings.warn(f"Song {song} is left out. {error}", stacklevel=2)
            continue
        starts = _starts(len(audio) / rate, seconds, windows)
        parts = np.stack([_part(audio, start, seconds, rate) for start in starts])
        tokens.append(model.encode(parts, rate))
        features += [describe(part, rate) for part in parts]
        frames = tokens[0].shape[-1]
        for start in starts:
            ratings = _ratings(rated, song, model.frame_rate, frames, start, lag)
            rows.append((len(kept), start, ratings))
        kept.append(index)
    songs = songs.iloc[kept].reset_index(drop=True)
    _check_enough(songs, rated, seconds)
    clips = model.clips(np.concatenate(tokens), [""] * len(rows), decode=False)
    song, start, ratings = (np.array(column) for column in zip(*rows, strict=True))
    stacked = {name: np.stack([one[name] for one in features]) for name in features[0]}
    return Excerpts(clips, song, start, ratings, stacked, songs)


def _excerpt_seconds(seconds, longest):
    remedy = f"It is a multiple of {STEP} s, up to the model's limit of {longest:g} s."
    seconds = check.number("seconds", seconds, STEP, longest, remedy=remedy)
    if seconds % STEP:
        raise ValueError(f"seconds must be a multiple of {STEP}. Got {seconds!r}.")
    return seconds


def _usable_songs(rated, seconds):
    """Songs that are rated, whole and long enough; warns of those that should be and are not."""
    songs = rated.songs
    damaged = songs["seconds"].isna()
    axes = [axis for axis in AXES if songs[axis].notna().any()] or AXES
    unrated = songs[axes].isna().any(axis=1)
    for wrong, reason in ((damaged, "damaged or missing"), (unrated, "without a rating")):
        if wrong.any():
            numbers = ", ".join(map(str, songs["song_id"][wrong][:20]))
            warnings.warn(
                f"{wrong.sum()} of {len(songs)} songs are {reason} and left out (song {numbers}): "
                f"validate() of {rated!r} says more.",
                stacklevel=3,
            )
    usable = songs[(songs["seconds"] >= seconds) & ~unrated].reset_index(drop=True)
    _check_enough(usable, rated, seconds)
    return usable


def _check_enough(songs, rated, seconds):
    if len(songs) < LEAST:
        raise ValueError(
            f"{LEAST} songs of {seconds:g} s are needed. {rated!r} has {len(songs)}: see its "
            "validate()."
        )


def _starts(length, seconds, windows):
    """Where the excerpts of a song begin, s: whole half seconds from its beginning to its end."""
    last = max(0, (length - seconds) // STEP)
    return np.unique(np.round(np.linspace(0, last, windows))) * STEP


def _part(audio, start, seconds, rate):
    size = round(seconds * rate)
    return librosa.util.fix_length(audio[round(start * rate) :], size=size)


def _ratings(rated, song, frame_rate, frames, start, lag):
    """Ratings of an excerpt's half seconds, [step, axis]: nan where a frame has none."""
    average = step_average(frames, frame_rate)
    try:
        labels = aligned(rated.dynamic(song), frame_rate, frames, start, lag).to_numpy()
    except DatasetError:  # some songs, and all of some sets, were not rated over time
        labels = np.full((frames, len(AXES)), np.nan)
    unrated = average @ np.isnan(labels) > 0
    return np.where(unrated, np.nan, average @ np.nan_to_num(labels))


def acts(model: Model, excerpts: Excerpts, sites="resid.*", progress: bool = True) -> xr.Dataset:
    """Activations without text, averaged over half seconds.

    Parameters
    ----------
    sites : str or list of str
        Names or globs, as ``activations.capture`` takes them.

    Returns
    -------
    xr.Dataset
        A variable a site, [excerpt, step, dim].
    """
    frames = excerpts.clips.tokens.shape[-1]
    average = torch.as_tensor(step_average(frames, model.frame_rate), dtype=torch.float32)

    def halves(values):
        """Means over half seconds, [clip, step, dim]."""
        return torch.einsum("sf,cfd->csd", average.to(values.device), values.float())

    return activations.capture(
        model, excerpts.clips, sites, stream="uncond", reduce=halves, progress=progress
    )


def by_song(excerpts: Excerpts, values, spread: bool = False) -> np.ndarray:
    """Mean over all half seconds of a song, [song, dim].

    Parameters
    ----------
    values : array_like [shape=(excerpt, step, dim)]
    spread : bool
        Put their standard deviation beside it: [song, 2 dim].
    """
    values = _by_excerpt(excerpts, values)
    rows = []
    for song in range(len(excerpts.songs)):
        steps = values[excerpts.song == song].reshape(-1, values.shape[-1])
        mean = steps.mean(0)
        rows.append(np.r_[mean, steps.std(0)] if spread else mean)
    return np.stack(rows)


def by_step(excerpts: Excerpts, values) -> np.ndarray:
    """Every rated half second, with the mean of its excerpt up to it beside it: [row, 2 dim].

    So all inputs get the same past.

    Parameters
    ----------
    values : array_like [shape=(excerpt, step, dim)]
    """
    values = _by_excerpt(excerpts, values)
    past = np.cumsum(values, 1) / np.arange(1, values.shape[1] + 1)[:, None]
    return np.concatenate([values, past], -1)[rated_steps(excerpts)]


def rated_steps(excerpts: Excerpts) -> np.ndarray:
    """Which half seconds were rated, [excerpt, step]."""
    return np.isfinite(excerpts.ratings).all(-1)


def _by_excerpt(excerpts, values):
    dims = (len(excerpts.song), "step", "dim")
    return check.array("values", values, dims).astype(float)
