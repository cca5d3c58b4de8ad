"""The plane of valence and arousal: a point or a path in it, and the strengths that should lead there.

Two directions rarely move valence and arousal alone. What each does to what is heard is measured on songs of their own, and
inverted: a point asked for becomes two strengths. Whether songs land there is for other songs to show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib import activations, stats
from lib.activations import Edit
from lib.model import Clips, Model
from lib.steering.directions import Vector
from lib.steering.directions import _check as check
from lib.steering.effects import AXES, Judge

DESIGN = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7)]


@dataclass(frozen=True)
class Plane:
    """Two vectors and what they do.

    Attributes
    ----------
    vectors : tuple of Vector
        Of valence and of arousal, at the same sites.
    effect : np.ndarray [shape=(2, 2)]
        Heard valence and arousal (rows) for each strength (columns), standard deviations of the world's music.
    start : np.ndarray [shape=(2,)]
        What is heard without steering.
    slopes : dict
        "valence", "arousal" -> stats.Estimate of the axis' own entry of ``effect``; intervals resample songs.
    most : float
        Largest strength: what asks for more is shortened.
    """

    vectors: tuple[Vector, Vector]
    effect: np.ndarray
    start: np.ndarray
    slopes: dict[str, stats.Estimate]
    most: float

    def strengths(self, points) -> np.ndarray:
        """Strengths of both vectors [..., 2] for points (valence, arousal) [..., 2], in standard deviations."""
        points = np.asarray(points, float)
        if points.shape[-1:] != (2,) or not np.isfinite(points).all():
            raise ValueError(f"A point needs finite valence and arousal: shape (..., 2). Got shape {points.shape}.")
        wanted = (points - self.start) @ np.linalg.pinv(self.effect).T
        size = np.linalg.norm(wanted, axis=-1, keepdims=True)
        return wanted * np.minimum(1, self.most / np.maximum(size, 1e-12))


def calibrate(
    judge: Judge,
    vectors: Sequence[Vector],
    prompts: list[str],
    *,
    most: float = 0.12,
    seconds: float = 4.0,
    seed: int = 0,
) -> Plane:
    """Measure what two vectors do: songs for neutral prompts at nine pairs of strengths, heard by the judge's first listener.

    Raises
    ------
    ValueError
        Not two vectors of the same sites, no prompts, a strength that is not positive.
    """
    if len(vectors) != 2 or set(vectors[0].units) != set(vectors[1].units):
        raise ValueError("A plane needs two vectors, of valence and of arousal, at the same sites.")
    if not prompts or not most > 0:
        raise ValueError(f"prompts must not be empty and most positive. Got {len(prompts)} prompts, most {most}.")
    told, n = most * np.array(DESIGN, float), len(prompts)
    blank = Plane(tuple(vectors), np.eye(2), np.zeros(2), {}, most)
    songs = sing(judge.model, blank, prompts * len(told), np.repeat(told, n, 0), seconds, [*range(seed, seed + n)] * 9, raw=True)  # fmt: skip
    heard = judge.place(songs).reshape(len(told), n, 2)
    x = np.c_[np.ones(len(told)), told]
    each = np.linalg.pinv(x) @ heard.transpose(1, 0, 2)  # [song, (start, strengths), heard]
    slopes = {axis: stats.mean(each[:, 1 + i, i]) for i, axis in enumerate(AXES)}
    return Plane(tuple(vectors), each.mean(0)[1:].T, each.mean(0)[0], slopes, most)


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
        asked, heard (axes); slope (Estimate: both axes asked for in one regression; 1 lands where asked, 0 does not move);
        r (Estimate: correlation over points of a song). Intervals resample songs.
    """
    points, heard = np.asarray(points, float), np.asarray(heard, float)
    if heard.ndim != 3 or heard.shape[1:] != points.shape or len(heard) < 2:
        raise ValueError(f"heard must be (2 or more songs, {len(points)}, 2). Got shape {heard.shape}.")
    slopes = np.linalg.pinv(np.c_[np.ones(len(points)), points])[1:] @ heard  # [song, asked, heard]
    z, y = ((x - x.mean(-2, keepdims=True)) / x.std(-2, keepdims=True) for x in (points, heard))
    r = np.einsum("pa,sph->sah", z, y) / len(points)
    return pd.DataFrame(
        {"asked": a, "heard": h, "slope": stats.mean(slopes[:, i, j]), "r": stats.mean(r[:, i, j])}
        for i, a in enumerate(AXES)
        for j, h in enumerate(AXES)
    )


def sing(
    model: Model, plane: Plane, prompts: list[str], points, seconds: float = 4.0, seeds=0, *, raw: bool = False
) -> Clips:
    """Sing each prompt at its own point, or along its own path.

    Parameters
    ----------
    points : array_like [shape=(prompt, 2) or (prompt, time, 2)]
        Valence and arousal; a path's points are spread evenly over the song.
    raw : bool
        The points are strengths already.
    """
    points = np.asarray(points, float)
    if len(points) != len(prompts) or points.ndim not in (2, 3):
        raise ValueError(f"points must be one point or path for each of {len(prompts)} prompts. Got {points.shape}.")
    strengths = points if raw else plane.strengths(points)
    strengths = strengths[:, None] if strengths.ndim == 2 else strengths
    steps = int(seconds * model.frame_rate) + max(model.lm.pattern_provider.delays) + 1
    at, knots = np.linspace(0, 1, steps), np.linspace(0, 1, strengths.shape[1])
    curves = [[np.interp(at, knots, s[:, axis]) for s in strengths] for axis in range(2)]
    edits = []
    for vector, curve in zip(plane.vectors, curves, strict=True):
        check(model, vector)
        for site, unit in vector.units.items():
            edits.append(Edit(site, add=unit * vector.norms[site] / len(vector.units), scale=np.array(curve)))
    with activations.edit(model, *edits):
        return model.generate(list(prompts), seconds, seeds, progress=False)
