"""The plane of valence and arousal: points and paths in it, and strengths that should lead there.

Two directions rarely move valence and arousal alone. What each does to what is heard is measured on
songs of their own, and inverted: a point asked for becomes two strengths. Whether songs land there
is for other songs to show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ... import check, stats
from ...musicgen import activations
from ...musicgen.activations import Edit
from ...musicgen.model import Clips, Model
from . import applying
from .judge import AXES, Judge
from .vectors import Vector, check_vector

#: Pairs of strengths at which a plane is measured, as shares of the largest.
DESIGN = (
    (0, 0),
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (0.7, 0.7),
    (0.7, -0.7),
    (-0.7, 0.7),
    (-0.7, -0.7),
)


@dataclass(frozen=True)
class Plane:
    """Two vectors and what they do.

    Attributes
    ----------
    vectors : tuple of Vector
        Of valence and of arousal, at the same sites.
    effect : np.ndarray [shape=(2, 2)]
        Heard valence and arousal (rows) for each strength (columns), standard deviations of the
        world's music.
    start : np.ndarray [shape=(2,)]
        What is heard without steering.
    slopes : dict
        "valence", "arousal" -> stats.Estimate of the axis' own entry of ``effect``; intervals
        resample songs.
    most : float
        Largest strength: what asks for more is shortened.
    """

    vectors: tuple[Vector, Vector]
    effect: np.ndarray
    start: np.ndarray
    slopes: dict[str, stats.Estimate]
    most: float

    def strengths(self, points) -> np.ndarray:
        """Strengths of both vectors for points of the plane.

        Parameters
        ----------
        points : array_like [shape=(..., 2)]
            Valence and arousal, in standard deviations of the world's music.

        Returns
        -------
        np.ndarray [shape=(..., 2)]
        """
        return shortened(steps(points, self.start, self.effect), self.most)


def steps(points, start: np.ndarray, effect: np.ndarray) -> np.ndarray:
    """What leads from a place to points of the plane, where steps have an effect of their own.

    Parameters
    ----------
    points : array_like [shape=(..., 2)]
        Valence and arousal.
    start : np.ndarray [shape=(2,)]
    effect : np.ndarray [shape=(2, 2)]
        Heard valence and arousal (rows) for each step (columns).

    Returns
    -------
    np.ndarray [shape=(..., 2)]

    Raises
    ------
    ValueError
        Points that are not finite pairs.
    """
    points = np.asarray(points, float)
    if points.shape[-1:] != (2,) or not np.isfinite(points).all():
        raise ValueError(
            f"A point needs finite valence and arousal: shape (..., 2). Got shape {points.shape}."
        )
    return (points - start) @ np.linalg.pinv(effect).T


def shortened(strengths: np.ndarray, most: float) -> np.ndarray:
    """Strengths [..., vector] whose length is at most ``most``, in their own direction."""
    size = np.linalg.norm(strengths, axis=-1, keepdims=True)
    return strengths * np.minimum(1, most / np.maximum(size, 1e-12))


def calibrate(
    judge: Judge,
    vectors: Sequence[Vector],
    prompts: Sequence[str],
    *,
    most: float = 0.12,
    seconds: float = 4.0,
    seed: int = 0,
) -> Plane:
    """Measure what two vectors do.

    Songs for neutral prompts are sung at nine pairs of strengths and heard by the judge's first
    listener; a plane is fitted to each song by least squares.

    Parameters
    ----------
    judge : Judge
    vectors : sequence of two Vector
        Of valence and of arousal.
    prompts : list of str
    most : float
        Largest strength.
    seconds, seed : float, int
        Of the songs.

    Raises
    ------
    ValueError
        Not two vectors of the same sites, fewer than two prompts, a strength that is not positive.
    """
    vectors = tuple(vectors)
    if len(vectors) != 2 or set(vectors[0].units) != set(vectors[1].units):
        raise ValueError("A plane needs two vectors, of valence and of arousal, at the same sites.")
    prompts = check.texts("prompts", prompts)
    most = check.number("most", most, 0, open_low=True)
    n = len(prompts)
    strengths = most * np.array(DESIGN, float)
    curves = np.repeat(strengths, n, 0)[:, None]
    seeds = check.seeds(seed, n) * len(strengths)
    songs = _led(judge.model, vectors, prompts * len(strengths), curves, seconds, seeds)
    places = judge.place(songs).reshape(len(strengths), n, 2)
    fitted = regressed(strengths, places.transpose(1, 0, 2))  # [song, (start, strengths), axis]
    slopes = {axis: stats.mean(fitted[:, 1 + i, i]) for i, axis in enumerate(AXES)}
    mean = fitted.mean(0)
    return Plane(vectors, mean[1:].T, mean[0], slopes, most)


def sing(
    model: Model,
    plane: Plane,
    prompts: Sequence[str],
    points,
    seconds: float = 4.0,
    seeds: int | Sequence[int] = 0,
) -> Clips:
    """Sing each prompt at its own point, or along its own path.

    Parameters
    ----------
    model : Model
    plane : Plane or surface.Surface
        Anything with vectors, and strengths for points.
    prompts : list of str
    points : array_like [shape=(prompt, 2) or (prompt, time, 2)]
        Valence and arousal; a path's points are spread evenly over the song.
    seconds : float
    seeds : int or list of int
        As in ``model.generate``.
    """
    prompts = check.texts("prompts", prompts)
    points = np.asarray(points, float)
    if len(points) != len(prompts) or points.ndim not in (2, 3):
        raise ValueError(
            f"points must be one point or path for each of {len(prompts)} prompts. "
            f"Got {points.shape}."
        )
    strengths = plane.strengths(points)
    curves = strengths[:, None] if strengths.ndim == 2 else strengths
    return _led(model, plane.vectors, prompts, curves, seconds, seeds)


def _led(model, vectors, prompts, curves, seconds, seeds):
    """Songs along curves of strengths [song, time, vector]."""
    seconds = check.number("seconds", seconds, 0, model.max_seconds, open_low=True)
    at = np.linspace(0, 1, applying.positions(model, seconds))
    knots = np.linspace(0, 1, curves.shape[1])
    scales = np.array([[np.interp(at, knots, each) for each in curve.T] for curve in curves])
    with activations.edit(model, *pushed(model, vectors, scales.swapaxes(1, 2))):
        return model.generate(prompts, seconds, seeds, progress=False)


def pushed(
    model: Model, vectors: Sequence[Vector], strengths: np.ndarray, stream: str = "cond"
) -> list[Edit]:
    """The edits that push each song by its own strengths of several vectors.

    Parameters
    ----------
    model : Model
    vectors : sequence of Vector
    strengths : np.ndarray [shape=(song, vector) or (song, step, vector)]
    stream : str
        As in ``Edit``.

    Raises
    ------
    ValueError
        A vector of another model.
    """
    found = []
    for vector, scale in zip(vectors, np.moveaxis(strengths, -1, 0), strict=True):
        check_vector(model, vector)
        for site, push in applying.pushes(vector).items():
            found.append(Edit(site, add=push, scale=scale, stream=stream))
    return found


def regressed(given: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least squares of values on some numbers: the constant, then a slope for each number.

    Parameters
    ----------
    given : np.ndarray [shape=(case, number)]
    values : np.ndarray [shape=(..., case, value)]

    Returns
    -------
    np.ndarray [shape=(..., 1 + number, value)]
    """
    return np.linalg.pinv(np.column_stack([np.ones(len(given)), given])) @ values


def landing(points, heard) -> pd.DataFrame:
    """Where songs land, against where they were asked to.

    Parameters
    ----------
    points : array_like [shape=(point, 2)]
        Valence and arousal asked for.
    heard : array_like [shape=(song, point, 2)]
        Valence and arousal of the same songs.

    Returns
    -------
    pd.DataFrame
        asked, heard (axes); slope (Estimate: both axes asked for in one regression; 1 lands where
        asked, 0 does not move); r (Estimate: correlation over points of a song). Intervals resample
        songs.
    """
    points = np.asarray(points, float)
    places = np.asarray(heard, float)
    if places.ndim != 3 or places.shape[1:] != points.shape or len(places) < 2:
        raise ValueError(
            f"heard must be (2 or more songs, {len(points)}, 2). Got shape {places.shape}."
        )
    slopes = regressed(points, places)[:, 1:]  # [song, asked, heard]
    r = np.einsum("pa,sph->sah", _standardised(points), _standardised(places)) / len(points)
    rows = []
    for i, asked in enumerate(AXES):
        for j, axis in enumerate(AXES):
            row = {"asked": asked, "heard": axis}
            row |= {"slope": stats.mean(slopes[:, i, j]), "r": stats.mean(r[:, i, j])}
            rows.append(row)
    return pd.DataFrame(rows)


def _standardised(values):
    """Over points, the axis before the last."""
    centred = values - values.mean(-2, keepdims=True)
    return centred / values.std(-2, keepdims=True)
