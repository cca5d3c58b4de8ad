"""Rated music heard by a model without text, and what can be read from it: against acoustics, over time, and to steer by.

Predictions are always for songs of artists that were not learned from.
"""

from collections.abc import Sequence
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import scipy.stats
import xarray as xr
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from lib import datasets, stats
from lib.model import Clips, Model
from lib.steering import Vector

AXES = ["valence", "arousal"]
LEAST = 10  # songs of two artists or more, without which nothing is learned and tested


class Excerpts(NamedTuple):
    """The same seconds of every song that has them."""

    clips: Clips  #: without text
    audio: np.ndarray  #: [clip, sample], at the model's rate
    songs: pd.DataFrame  #: rows of ``Dataset.songs``, one a clip


def excerpts(model: Model, data: datasets.Dataset, start: float, seconds: float) -> Excerpts:
    """Seconds ``start`` to ``start + seconds`` of every song, as tokens.

    Raises
    ------
    ValueError
        Longer than the model takes, or fewer than ten songs are long enough.
    """
    if not 0 < seconds <= model.max_seconds or start < 0:
        raise ValueError(f"{model.name} takes up to {model.max_seconds:g} s. Got start {start!r}, seconds {seconds!r}.")
    songs = data.songs[~(data.songs["seconds"] < start + seconds)].reset_index(drop=True)
    if len(songs) < LEAST:
        raise ValueError(f"{len(songs)} of {len(data.songs)} songs last {start + seconds:g} s: at least {LEAST} must.")
    size = int(seconds * model.sample_rate)
    each = tqdm(songs["song_id"], desc="decode", leave=False)
    sounds = [data.audio(i, model.sample_rate, start, seconds) for i in each]
    audio = np.stack([np.pad(x[:size], (0, max(0, size - len(x)))) for x in sounds])
    clips = model.clips(model.encode(audio, model.sample_rate), [""] * len(songs), decode=False)
    return Excerpts(clips, audio, songs)


def acoustic(audio: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    """What needs no model: "mel" (mean and spread of a log-mel spectrogram) and "librosa" (the same of MFCC, chroma, spectral
    contrast, centroid, rolloff, flatness, loudness, onset strength, and the tempo), each [clip, feature]."""
    found = [_acoustic(x, rate) for x in tqdm(audio, desc="librosa", leave=False)]
    return {name: np.stack([f[name] for f in found]) for name in ("mel", "librosa")}


def _acoustic(x, rate):
    how = {"sr": rate, "n_fft": 2048, "hop_length": 512}
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=x, n_mels=64, **how), amin=1e-8, top_db=None)
    spectrum, onset = np.abs(librosa.stft(x, n_fft=2048, hop_length=512)), librosa.onset.onset_strength(y=x, sr=rate)
    parts = [
        librosa.feature.mfcc(S=mel, n_mfcc=20),
        librosa.feature.chroma_stft(S=spectrum**2, sr=rate, tuning=0.0),
        librosa.feature.spectral_contrast(S=spectrum, sr=rate, n_bands=5),
        librosa.feature.spectral_centroid(S=spectrum, sr=rate),
        librosa.feature.spectral_rolloff(S=spectrum, sr=rate),
        librosa.feature.spectral_flatness(S=spectrum),
        librosa.amplitude_to_db(librosa.feature.rms(S=spectrum, frame_length=2048), amin=1e-5, top_db=None),
        onset[None],
    ]
    tempo = librosa.feature.tempo(onset_envelope=onset, sr=rate)
    told = np.concatenate([f(p, axis=1) for p in parts for f in (np.mean, np.std)] + [tempo])
    return {"mel": np.concatenate([mel.mean(1), mel.std(1)]), "librosa": told}


# ------------------------------------------------------------------------------------------------- reading
def read_out(x, y, groups, n_splits: int = 5) -> np.ndarray:
    """Predictions [row] by ridge regression for rows whose group was not learned from; its strength is chosen within the training
    rows."""
    learner = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 6, 13)))
    folds = GroupKFold(min(n_splits, len(set(groups))))
    return cross_val_predict(learner, np.asarray(x, float), np.asarray(y, float), groups=groups, cv=folds)


def concordance(y, predicted) -> float:
    """Lin's concordance correlation coefficient (Lin 1989): 1 only if predictions are right, not merely in line."""
    y, predicted = np.asarray(y, float), np.asarray(predicted, float)
    apart = (y.mean() - predicted.mean()) ** 2
    return float(2 * np.cov(y, predicted, bias=True)[0, 1] / max(y.var() + predicted.var() + apart, 1e-12))


def scores(y, predicted) -> dict[str, stats.Estimate]:
    """R² and concordance, with intervals over songs."""
    return {
        "R²": stats.bootstrap(r2_score, y, predicted, paired=True),
        "CCC": stats.bootstrap(concordance, y, predicted, paired=True),
    }


def beyond(y, predicted, baseline) -> stats.Estimate:
    """R² of predictions minus that of a baseline's, over the same songs."""
    return stats.bootstrap(lambda y, a, b: r2_score(y, a) - r2_score(y, b), y, predicted, baseline, paired=True)


# ------------------------------------------------------------------------------------------------- over time
class OverTime(NamedTuple):
    """Ratings that change within songs, and what is read from the model at the same time."""

    ccc: dict[str, stats.Estimate]  #: by axis, over all half seconds; intervals resample songs
    changes: dict[str, stats.Estimate]  #: by axis, correlation over songs of rated with read change within a song
    read: np.ndarray  #: [clip, step, axis]
    rated: np.ndarray  #: [clip, step, axis]


def over_time(acts: xr.DataArray, these: Excerpts, data: datasets.Dataset, start: float, lag: float = 0.0) -> OverTime:
    """Read ratings of every half second from frames [clip, frame, dim].

    Parameters
    ----------
    start : float
        Where in the songs the excerpts begin, s.
    lag : float
        How long listeners take to answer, s.
    """
    frames, rate = acts.sizes["frame"], these.clips.frame_rate
    labels = np.stack([
        datasets.aligned(data.dynamic(i), rate, frames, start, lag).values for i in these.songs["song_id"]
    ])  # fmt: skip
    width = round(datasets.STEP * rate)
    steps = frames // width
    cut = steps * width
    x = acts.values[:, :cut].reshape(len(acts), steps, width, -1).mean(2)
    y = labels[:, :cut].reshape(len(acts), steps, width, 2).mean(2)
    there = np.isfinite(y).all(-1)
    song = np.repeat(np.arange(len(x)), steps).reshape(len(x), steps)
    groups = these.songs["group"].to_numpy()[song]
    read = np.full_like(y, np.nan)
    for k in range(2):
        read[there, k] = read_out(x[there], y[there][:, k], groups[there])
    ccc, changes = {}, {}
    for k, axis in enumerate(AXES):
        rows = [(y[i, t, k], read[i, t, k]) for i, t in enumerate(there) if t.any()]
        ccc[axis] = stats.bootstrap(
            lambda some, rows=rows: concordance(*(np.concatenate([rows[int(i)][j] for i in some]) for j in (0, 1))),
            np.arange(len(rows)),
            n_resamples=500,
        )
        apart = np.array([[v[-len(v) // 2 :].mean() - v[: len(v) // 2].mean() for v in row] for row in rows])
        moved = np.abs(apart[:, 0]) > 0.05
        if moved.sum() >= 5:
            changes[axis] = stats.correlation(*apart[moved].T)
    return OverTime(ccc, changes, read, y)


# ------------------------------------------------------------------------------------------------- features, directions
def tracking(activity: np.ndarray, y: np.ndarray, learn: np.ndarray) -> pd.DataFrame:
    """Features that follow a rating, found on some songs and tested on the others.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    y : np.ndarray [shape=(clip,)]
    learn : bool np.ndarray [shape=(clip,)]
        Songs to find them on.

    Returns
    -------
    pd.DataFrame
        feature; found (Spearman's rank correlation where it was found); p_fdr (Benjamini and Hochberg 1995, over features that are
        active in a tenth of the songs); held_out (rank correlation on the other songs); by p_fdr.
    """
    alive = np.flatnonzero((activity[learn] > 0).mean(0) >= 0.1)
    rows = []
    for f in alive:
        r, p = scipy.stats.spearmanr(activity[learn, f], y[learn])
        rows.append((int(f), r, p, scipy.stats.spearmanr(activity[~learn, f], y[~learn]).statistic))
    table = pd.DataFrame(rows, columns=["feature", "found", "p_fdr", "held_out"]).dropna()
    return table.assign(p_fdr=stats.correct(table["p_fdr"], "fdr_bh")).sort_values("p_fdr").reset_index(drop=True)


def direction(model: Model, acts: xr.DataArray, y: Sequence[float], method: str = "rated") -> Vector:
    """A steering vector from music: between the means of its upper and its lower half by a rating.

    Parameters
    ----------
    acts : xr.DataArray [dims=(clip, frame, dim)]
        Its name is the site.
    y : [clip]
        Ratings (or shuffled ones, as a control).
    """
    y, site = np.asarray(y, float), str(acts.name)
    if len(y) != len(acts) or len(np.unique(y)) < 2:
        raise ValueError(f"y must hold ratings that differ, one for each of {len(acts)} clips. Got {len(y)}.")
    x, high = acts.values.mean(1), y > np.median(y)
    between = x[high].mean(0) - x[~high].mean(0)
    unit = between / np.linalg.norm(between)
    frames = acts.values.reshape(-1, acts.shape[-1])
    norm = float(np.linalg.norm(frames - frames.mean(0), axis=1).mean())
    ends = [float((x[part] @ unit).mean()) for part in (~high, high)]
    return Vector(
        {site: unit}, {site: norm}, {site: (ends[1] - ends[0]) / norm}, {site: sum(ends) / 2}, method, model.name,
        model.fingerprint, "rated music", [], [],
    )  # fmt: skip
