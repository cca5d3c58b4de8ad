"""Rated music through a model: excerpts, what its blocks and what plain audio features tell of the ratings, and directions.

Music is encoded and replayed without text, so nothing but the music itself can tell. Ratings come in half seconds, and so
do all inputs. Whoever is tested, is tested on artists that nothing was learned from: alphas, blocks and baselines are chosen
on the training folds alone.

References
----------
Lin 1989, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45, 255-268. Castellon, Donahue and
Liang 2021, Codified audio language modeling learns useful representations for music information retrieval, ISMIR. Winkler
et al. 2015, Multi-level block permutation, NeuroImage 123, 253-268.
"""

import hashlib
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import scipy.stats
import torch
import xarray as xr
from sklearn.model_selection import GroupKFold
from tqdm.auto import tqdm

from lib import activations, datasets, stats
from lib.datasets import AXES, STEP
from lib.model import Clips, Model
from lib.steering import Vector

ALPHAS = np.logspace(-1, 6, 15)
#: Songs without which nothing is learned and tested; analysis frames a second of the plain audio features; excerpts
#: from which a site's mean norm is taken.
LEAST, HOPS, NORM_CLIPS = 10, 50, 256
#: What others reached on the real sets, by other models, splits and inputs: for the scale of things, not a comparison.
PUBLISHED = pd.DataFrame(
    [
        ("PMEmo", "R²", 0.55, 0.79, "Music2Emo, as its README says (Kang and Herremans 2025)"),
        ("PMEmo", "r", 0.644, 0.813, "SVR on audio features, 613 and 154 songs, PMEmo's site (Zhang et al. 2018)"),
        ("DEAM", "R²", 0.52, 0.62, "Music2Emo, as its README says (Kang and Herremans 2025)"),
        ("EmoMusic, of DEAM", "R²", 0.65, 0.76, "Music2Emo, as its README says (Kang and Herremans 2025)"),
        ("EmoMusic, of DEAM", "R²", 0.617, 0.721, "probe of Jukebox (Castellon, Donahue and Liang 2021)"),
        ("EmoMusic, of DEAM", "R²", 0.458, 0.678, "probe of CLMR (in Castellon, Donahue and Liang 2021)"),
    ],
    columns=["music", "measure", "valence", "arousal", "by"],
)


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
        Valence and arousal of each half second, -1 to 1, averaged over the codec's frames in it; nan where not rated.
    features : dict
        "mel-spectrogram" and "librosa" -> [excerpt, step, dim]: the baselines, from the audio before the codec.
    songs : pd.DataFrame
        Of ``datasets``, without songs too short or unreadable.
    """

    clips: Clips
    song: np.ndarray
    start: np.ndarray
    ratings: np.ndarray
    features: dict[str, np.ndarray]
    songs: pd.DataFrame


def read(
    model: Model, rated: datasets.Dataset, seconds: float = 6.0, windows: int = 3, lag: float = 0.0, progress=True
) -> Excerpts:
    """Encode excerpts of every song, spread evenly from its beginning to its end.

    Parameters
    ----------
    seconds : float
        Of an excerpt; a multiple of half a second, within the model's limit.
    windows : int
        Excerpts a song, fewer where it is too short for so many that are not the same.
    lag : float, s
        How long listeners take to answer: see ``datasets.aligned``.

    Raises
    ------
    ValueError
        For lengths or numbers that make no sense, or if fewer than ten songs can be read.
    """
    if not STEP <= seconds <= model.max_seconds or seconds % STEP or windows < 1:
        limits = f"seconds must be a multiple of {STEP} up to the model's {model.max_seconds:g}, windows 1 or more."
        raise ValueError(f"{limits} Got {seconds!r} and {windows!r}.")
    songs = rated.songs[rated.songs["seconds"] >= seconds].reset_index(drop=True)
    if len(songs) < LEAST:
        raise ValueError(f"{LEAST} songs of {seconds:g} s are needed. {rated!r} has {len(songs)}: see its validate().")
    rate, size = model.sample_rate, round(seconds * model.sample_rate)
    rows, tokens, features = [], [], []
    for i, song in enumerate(tqdm(songs["song_id"], desc="read", disable=not progress, leave=False)):
        audio = rated.audio(song, rate)
        last = max(0, (len(audio) / rate - seconds) // STEP)
        starts = np.unique(np.round(np.linspace(0, last, windows))) * STEP
        heard = np.stack([librosa.util.fix_length(audio[round(t * rate) :], size=size) for t in starts])
        tokens.append(model.encode(heard, rate))
        features += [_features(part, rate) for part in heard]
        rows += [(i, t, _ratings(rated, song, model.frame_rate, tokens[0].shape[-1], t, lag)) for t in starts]
    clips = model.clips(np.concatenate(tokens), [""] * len(rows), decode=False)
    song, start, ratings = (np.array(column) for column in zip(*rows, strict=True))
    return Excerpts(clips, song, start, ratings, {k: np.stack([f[k] for f in features]) for k in features[0]}, songs)


def _ratings(rated, song, rate, frames, start, lag):
    average = _average(frames, rate)
    try:
        labels = datasets.aligned(rated.dynamic(song), rate, frames, start, lag).to_numpy()
    except datasets.DatasetError:  # some songs of both sets were not rated over time
        labels = np.full((frames, len(AXES)), np.nan)
    return np.where(average @ np.isnan(labels) > 0, np.nan, average @ np.nan_to_num(labels))


def _average(frames, rate):
    """Matrix [step, frame] that takes the mean over each whole half second."""
    step = (np.arange(frames) + 0.5) / rate // STEP
    hot = (step == np.arange(int(frames / rate / STEP + 1e-6))[:, None]).astype(float)
    return hot / hot.sum(1, keepdims=True)


def _features(audio, rate):
    """Mel-spectrogram (dB) and librosa's descriptors of an excerpt, by half seconds."""
    hop = rate // HOPS
    spectrum = np.abs(librosa.stft(audio, n_fft=2048, hop_length=hop))
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=rate, n_mels=64), amin=1e-8, top_db=None)
    onset = librosa.onset.onset_strength(S=mel, sr=rate)
    described = [
        librosa.feature.mfcc(S=mel, n_mfcc=20),
        librosa.feature.chroma_stft(S=spectrum**2, sr=rate, tuning=0.0),
        librosa.feature.spectral_contrast(S=spectrum, sr=rate, fmin=100.0),
        librosa.feature.spectral_centroid(S=spectrum, sr=rate),
        librosa.amplitude_to_db(librosa.feature.rms(S=spectrum), amin=1e-5, top_db=None),
        onset[None],
    ]
    tempo = np.log(librosa.feature.tempo(onset_envelope=onset, sr=rate, hop_length=hop))
    average = _average(len(audio) // hop, rate / hop)
    steps = [average @ x[:, : average.shape[1]].T for x in (mel, np.concatenate(described))]
    return {"mel-spectrogram": steps[0], "librosa": np.c_[steps[1], np.repeat(tempo, len(average))]}


def acts(model: Model, excerpts: Excerpts, sites="resid.*", progress: bool = True) -> xr.Dataset:
    """Activations without text, averaged over half seconds: a variable a site, [excerpt, step, dim]."""
    average = torch.as_tensor(_average(excerpts.clips.tokens.shape[-1], model.frame_rate), dtype=torch.float32)

    def halves(x):
        return torch.einsum("sf,cfd->csd", average.to(x.device), x.float())

    return activations.capture(model, excerpts.clips, sites, stream="uncond", reduce=halves, progress=progress)


def by_song(excerpts: Excerpts, x, spread: bool = False) -> np.ndarray:
    """Mean over all half seconds of a song (with ``spread``, their standard deviation beside it): [song, dim]."""
    x = np.asarray(x, float)
    parts = [x[excerpts.song == i].reshape(-1, x.shape[-1]) for i in range(len(excerpts.songs))]
    return np.stack([np.r_[p.mean(0), p.std(0)] if spread else p.mean(0) for p in parts])


def by_step(excerpts: Excerpts, x) -> np.ndarray:
    """Every rated half second, with the mean of its excerpt up to it beside it: [row, 2 dim]. All inputs get the same past."""
    x = np.asarray(x, float)
    past = np.cumsum(x, 1) / np.arange(1, x.shape[1] + 1)[:, None]
    return np.concatenate([x, past], -1)[rated_steps(excerpts)]


def rated_steps(excerpts: Excerpts) -> np.ndarray:
    """Which half seconds were rated, [excerpt, step]."""
    return np.isfinite(excerpts.ratings).all(-1)


# ------------------------------------------------------------------------------------------------- probes
def ccc(y, predicted) -> float:
    """Concordance correlation coefficient (Lin 1989): 1 is agreement; 0 if either is constant."""
    y, predicted = np.asarray(y, float), np.asarray(predicted, float)
    both = np.mean((y - y.mean()) * (predicted - predicted.mean()))
    return float(2 * both / max(y.var() + predicted.var() + (y.mean() - predicted.mean()) ** 2, 1e-12))


def r2(y, predicted) -> float:
    """Share of the variance that is explained; below 0 where the mean would do better."""
    y = np.asarray(y, float)
    return float(1 - ((y - predicted) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-12))


def held_out(inputs: dict[str, np.ndarray], y, groups, n_splits: int = 5) -> dict[str, np.ndarray]:
    """Ridge predictions of groups that nothing was learned from.

    Parameters
    ----------
    inputs : dict
        name -> [row, dim].
    y : array_like [shape=(row, target)]
    groups : array_like [shape=(row,)]
    n_splits : int
        Folds; within the training part as many again choose alpha, one for each target.

    Returns
    -------
    dict
        name -> predictions [row, target]; and "chosen": by the input that predicts the training part's folds best.

    Raises
    ------
    ValueError
        Shapes that do not match, values that are not finite, too few groups.
    """
    y, groups = np.asarray(y, float), np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    if y.ndim != 2 or any(len(x) != len(y) for x in (groups, *inputs.values())):
        raise ValueError(f"y must be (row, target), with an input and a group for each row. Got y of shape {y.shape}.")
    if len(set(groups)) <= n_splits:
        raise ValueError(f"{n_splits} folds, and folds in them, need more groups. Got {len(set(groups))}.")
    if wrong := [name for name, x in {"y": y, **inputs}.items() if not np.isfinite(x).all()]:
        raise ValueError(f"{', '.join(wrong)} hold values that are not finite: leave such rows out.")
    out, each = {name: np.empty_like(y) for name in (*inputs, "chosen")}, np.arange(y.shape[1])
    for train, test in GroupKFold(n_splits).split(y, groups=groups):
        least = np.full(y.shape[1], np.inf)
        inner = GroupKFold(min(n_splits, len(set(groups[train])))).split(train, groups=groups[train])
        inner = [(train[a], train[b]) for a, b in inner]
        for name, x in inputs.items():
            error = sum(((_ridges(x[a], y[a], x[b]) - y[b]) ** 2).sum(1) for a, b in inner)
            best, error = error.argmin(0), error.min(0)
            out[name][test] = _ridges(x[train], y[train], x[test])[best, :, each].T
            better = np.ix_(test, error < least)
            out["chosen"][better], least = out[name][better], np.minimum(error, least)
    return out


def _ridges(x, y, new):
    """Ridge predictions for every alpha [alpha, row, target], inputs standardised by the training rows."""
    mean, scale = x.mean(0), np.maximum(x.std(0), 1e-9)
    u, s, v = np.linalg.svd((x - mean) / scale, full_matrices=False)
    left, right = ((new - mean) / scale) @ v.T, u.T @ (y - y.mean(0))
    return np.stack([left @ (right * (s / (s**2 + a))[:, None]) for a in ALPHAS]) + y.mean(0)


def shuffles(groups, n: int, seed: int = 0) -> np.ndarray:
    """Permutations [n, row] that keep artists whole: those with equally many songs change places, and the songs of each
    (Winkler et al. 2015)."""
    rng, inverse = np.random.default_rng(seed), np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    members, out = [np.flatnonzero(inverse == g) for g in np.unique(inverse)], np.empty((n, len(inverse)), int)
    for row in out:
        for size in {len(m) for m in members}:
            same = [m for m in members if len(m) == size]
            for to, source in zip(same, rng.permutation(len(same)), strict=True):
                row[to] = rng.permutation(same[source])
    return out


def scores(inputs: dict[str, np.ndarray], y, groups, permutations: int = 1000, seed: int = 0, n_splits: int = 5):
    """How well songs' ratings are predicted from each input, beside shuffled ratings.

    Returns
    -------
    table : pd.DataFrame
        One row an input (and "chosen") and axis: input, axis, r2 and ccc (Estimates; intervals resample artists), null
        (mean ccc of shuffled ratings), p (of ccc, corrected by Holm over inputs and axes).
    predictions : dict
        As :func:`held_out` gives them, [song, axis].
    """
    y, orders = np.asarray(y, float), shuffles(groups, permutations, seed)
    many = np.stack([y, *(y[order] for order in orders)], -1)  # [song, axis, labelling]
    found, rows = held_out(inputs, many.reshape(len(y), -1), groups, n_splits), []
    found = {name: p.reshape(many.shape) for name, p in found.items()}
    for name, p in found.items():
        for a, axis in enumerate(AXES):
            each = np.array([ccc(many[:, a, k], p[:, a, k]) for k in range(many.shape[-1])])
            told = [estimate(f, y[:, a], p[:, a, 0], groups, seed=seed) for f in (r2, ccc)]
            rows.append((name, axis, *told, each[1:].mean(), (each >= each[0] - 1e-12).mean()))
    table = pd.DataFrame(rows, columns=["input", "axis", "r2", "ccc", "null", "p"])
    return table.assign(p=stats.correct(table["p"])), {name: p[..., 0] for name, p in found.items()}


def estimate(score, y, predicted, groups, other=None, seed: int = 0) -> stats.Estimate:
    """A score with an interval that resamples artists; with ``other``, what it is above that of other predictions."""

    def statistic(rows):
        value = score(y[rows], predicted[rows])
        return value if other is None else value - score(y[rows], other[rows])

    return stats.bootstrap_groups(statistic, groups, seed=seed)


def over_time(y, predicted, song) -> pd.DataFrame:
    """Agreement within each song whose ratings change: song, ccc, r (0 for a flat prediction), and null: mean ccc with the
    ratings of all other such songs."""
    y, predicted, song = (np.asarray(x) for x in (y, predicted, song))
    both = {i: (y[song == i], predicted[song == i]) for i in np.unique(song) if np.ptp(y[song == i]) > 1e-9}
    rows = []
    for i, (told, p) in both.items():
        r = np.corrcoef(told, p)[0, 1] if np.std(p) > 0 else 0.0
        null = [ccc(other[: len(p)], p[: len(other)]) for j, (other, _) in both.items() if j != i]
        rows.append((i, ccc(told, p), r, np.mean(null) if null else np.nan))
    return pd.DataFrame(rows, columns=["song", "ccc", "r", "null"])


# ------------------------------------------------------------------------------------ features and directions
def tracking(activity: np.ndarray, rating: np.ndarray, learned: np.ndarray) -> pd.DataFrame:
    """Features that follow a rating, found on one part of the songs and checked on the other.

    Parameters
    ----------
    activity : np.ndarray [shape=(song, feature)]
    rating : np.ndarray [shape=(song,)]
    learned : np.ndarray [shape=(song,)], bool
        Songs to find them on; the rest checks (no artist in both).

    Returns
    -------
    pd.DataFrame
        One row a feature that is active in four songs or more of each part, most tracking first: feature; rho
        (Spearman's), p (corrected by Benjamini and Hochberg); rho_new and p_new on the rest (p_new: one-sided, the
        same sign; corrected by Holm over the features found, 1 for the others); found (p < 0.05) and holds (p_new < 0.05).
    """
    parts = [(activity[part], rating[part]) for part in (learned, ~learned)]
    alive = np.flatnonzero(np.all([((a > 0).sum(0) >= 4) & (np.ptp(a, axis=0) > 0) for a, _ in parts], axis=0))
    if any(np.ptp(r) == 0 for _, r in parts):
        raise ValueError("Ratings are all the same in one part: give more songs.")
    both = [np.reshape([scipy.stats.spearmanr(a[:, f], r) for f in alive], (-1, 2)) for a, r in parts]
    (rho, p), (new, again) = (part.T for part in both)
    if not len(alive):
        return pd.DataFrame(
            dict.fromkeys(("feature", "rho", "p", "rho_new", "p_new"), rho) | dict.fromkeys(("found", "holds"), rho > 0)
        )
    p, again, p_new = stats.correct(p, "fdr_bh"), np.where(rho * new > 0, again / 2, 1 - again / 2), np.ones(len(alive))
    found = p < 0.05
    if found.any():
        p_new[found] = stats.correct(again[found])
    told = {"rho": rho, "p": p, "rho_new": new, "p_new": p_new, "found": found, "holds": p_new < 0.05}
    return pd.DataFrame({"feature": alive, **told}).sort_values("rho", key=np.abs, ascending=False, ignore_index=True)


def direction(model: Model, excerpts: Excerpts, site: str, rating, method: str = "rated", seed: int = 0) -> Vector:
    """The difference of means between the songs rated above and below the median, as ``steering`` takes it.

    Parameters
    ----------
    rating : array_like [shape=(song,)]
    method : str
        "rated"; or a control: "shuffled" (ratings dealt to other songs), "random" (any direction).

    Raises
    ------
    ValueError
        Unknown method, a rating for each song missing, or all the same.
    """
    rating, songs = np.asarray(rating, float), excerpts.songs
    if method not in ("rated", "shuffled", "random"):
        raise ValueError(f"method must be 'rated', 'shuffled' or 'random'. Got {method!r}.")
    if rating.shape != (len(songs),) or not np.isfinite(rating).all() or np.ptp(rating) == 0:
        raise ValueError(f"rating must be a number for each of {len(songs)} songs, not all the same.")
    rng, means = np.random.default_rng(seed), by_song(excerpts, acts(model, excerpts, site, progress=False)[site])
    high = rating > np.median(rating) if np.median(rating) < rating.max() else rating >= rating.max()
    high = rng.permutation(high) if method == "shuffled" else high
    v = rng.normal(size=means.shape[1]) if method == "random" else means[high].mean(0) - means[~high].mean(0)
    unit, some = v / np.linalg.norm(v), np.sort(rng.permutation(len(excerpts.clips))[:NORM_CLIPS])
    frames = activations.capture(model, excerpts.clips[some], site, stream="uncond", progress=False)[site].values
    norm = float(np.linalg.norm(frames - frames.mean((0, 1)), axis=-1).mean())
    ends = [float((means[part] @ unit).mean()) for part in (~high, high)]
    names = [[f"song {i}" for i in songs["song_id"][part]] for part in (high, ~high)]
    data = hashlib.sha256(repr(names).encode() + excerpts.clips.tokens.tobytes()).hexdigest()[:16]
    numbers = ({site: x} for x in (unit, norm, (ends[1] - ends[0]) / norm, sum(ends) / 2))
    return Vector(*numbers, method, model.name, model.fingerprint, data, *names)
