"""Steering: move what a model feels while it sings, by a direction inside it.

A direction lies between what a site holds for prompts of one kind and of another. Its strength is counted in mean
norms of the site's activations without their common offset, so that a strength means the same at every site and in every model.
Steering is an ``activations.Edit``: one batch carries a whole dose-response curve.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open
from sklearn.linear_model import RidgeClassifierCV

from lib import activations
from lib.activations import Edit
from lib.model import Clips, Model

METHODS = ("diffmeans", "probe", "rfm", "songs", "random", "shuffled")
SCHEDULES = ("constant", "decay", "ramp")
BLOW_UP = 3.0  # times its own norm: beyond, a site holds little that is not the vector


@dataclass(frozen=True)
class Vector:
    """Directions at one or several sites, for one model.

    Attributes
    ----------
    units : dict
        site -> direction of length 1, [dim].
    norms : dict
        site -> mean norm of its activations without what is common to all of them: one unit of strength.
    gaps : dict
        site -> how far apart the two kinds of prompts lie along the direction, in units of strength.
    middles : dict
        site -> projection on the direction half-way between both kinds.
    method, model, weights, data : str
        How it was found; of which model (name and fingerprint); hash of the prompts and music.
    positive, negative : list of str
        Prompts.
    """

    units: dict[str, np.ndarray]
    norms: dict[str, float]
    gaps: dict[str, float]
    middles: dict[str, float]
    method: str
    model: str
    weights: str
    data: str
    positive: list[str]
    negative: list[str]

    def save(self, file) -> None:
        """Write a safetensors file that says what the vector was made from."""
        told = {k: v for k, v in vars(self).items() if k != "units"}
        safetensors.numpy.save_file(
            {site: v.astype(np.float32) for site, v in self.units.items()}, str(file), {"vector": json.dumps(told)}
        )


def load(file, model: Model) -> Vector:
    """Read a vector.

    Raises
    ------
    ValueError
        No such file, another kind of file, or a vector made for another model.
    """
    try:
        with safe_open(str(file), "np") as opened:
            told = json.loads((opened.metadata() or {})["vector"])
            units = {site: opened.get_tensor(site) for site in opened.keys()}
    except (OSError, SafetensorError, KeyError) as error:
        raise ValueError(f"{file} holds no steering vector: Vector.save writes them.") from error
    vector = Vector(units=units, **told)
    _check(model, vector)
    return vector


def direction(
    model: Model,
    positive: Sequence[str],
    negative: Sequence[str],
    site: str | Sequence[str] = "resid.4",
    method: str = "diffmeans",
    *,
    seconds: float = 3.0,
    seed: int = 0,
    directions: np.ndarray | None = None,
) -> Vector:
    """Find a direction.

    Songs of all prompts are read twice, under a prompt of either kind: the music is the same, so what differs is what the
    words do.

    Parameters
    ----------
    model : Model
    positive, negative : list of str
        Prompts of both kinds.
    site : str or list of str
        resid.i, one or several.
    method : str
        "diffmeans": between the means (the plainest, and hard to beat: Wu et al. 2025). "probe": a ridge classifier's
        weights. "rfm": recursive feature machine, the leading eigenvector of a kernel machine's average gradient outer product
        (Radhakrishnan et al. 2024; for music, Zhao et al. 2025). "songs": between the means over each kind's own songs, as
        is usual: it also holds how those songs sound. "random" and "shuffled": controls, a random direction, and that of
        pairs whose kinds are swapped at random. Or any name with ``directions``.
    seconds, seed : float, int
        Length and seeds of the songs.
    directions : array_like [shape=(k, dim)], optional
        Span to keep to (SAE features, a subspace of ``causal.locate``): the difference of means within it. With one
        site only.

    Raises
    ------
    ValueError
        Empty groups, unknown method or site, a direction that is zero or not finite.
    """
    positive, negative = list(positive), list(negative)
    if not positive or not negative:
        raise ValueError(f"Both groups need prompts. Got {len(positive)} positive and {len(negative)} negative.")
    sites = [s.name for s in activations.select(model, site)]
    if wrong := [s for s in sites if not s.startswith("resid.")]:
        raise ValueError(f"Directions lie in the residual stream (resid.i). Got {wrong}.")
    if directions is None and method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, or give directions. Got {method!r}.")
    n = len(positive) + len(negative)
    songs = model.generate(positive + negative, seconds, seed, keep=True, progress=False)
    runs = [songs.under([group[i % len(group)] for i in range(n)]) for group in (negative, positive)]
    if method == "songs":
        runs = [songs[len(positive) :], songs[: len(positive)]]
    low, high = (activations.capture(model, run, sites, progress=False) for run in runs)
    units, norms, gaps, middles = {}, {}, {}, {}
    for name in sites:
        frames = np.concatenate([low[name].values, high[name].values]).reshape(-1, low[name].shape[-1])
        norms[name] = float(np.linalg.norm(frames - frames.mean(0), axis=1).mean())
        a, b = low[name].values.mean(1), high[name].values.mean(1)
        v = _found(a, b, method, directions, np.random.default_rng(seed))
        if not np.isfinite(v).all() or not np.linalg.norm(v) > 1e-6 * norms[name]:
            raise ValueError(f"The direction at {name} by {method!r} is zero or not finite: are both groups the same?")
        units[name] = v / np.linalg.norm(v)
        ends = [float((x @ units[name]).mean()) for x in (a, b)]
        gaps[name], middles[name] = (ends[1] - ends[0]) / norms[name], sum(ends) / 2
    data = hashlib.sha256(repr((positive, negative)).encode() + songs.tokens.tobytes()).hexdigest()[:16]
    return Vector(units, norms, gaps, middles, method, model.name, model.fingerprint, data, positive, negative)


def _found(low, high, method, directions, rng):
    """A direction between rows [song, dim] of two kinds."""
    between = high.mean(0) - low.mean(0)
    if directions is not None:
        basis = np.linalg.qr(np.atleast_2d(np.asarray(directions, float)).T)[0]
        return basis @ (basis.T @ between)
    if method == "random":
        return rng.normal(size=len(between))
    if method == "shuffled":  # as many swapped as not, so that nothing of the difference itself is left
        kinds = rng.permutation(np.arange(len(low)) % 2) * 2.0 - 1
        return kinds[: len(low)] @ (high - low - between)
    if method in ("diffmeans", "songs"):
        return between
    middle = (low + high) / 2  # what is the song's own is taken off
    x, kind = np.concatenate([low - middle, high - middle]), np.repeat([False, True], len(low))
    if method == "probe":
        return RidgeClassifierCV(np.logspace(-2, 4, 13)).fit(x, kind).coef_.ravel()
    v = _recursive(x, kind)
    return v * np.sign(v @ between)


def _recursive(x, high, rounds=4, ridge=1e-3):
    """Recursive feature machine: kernel ridge regression with a Laplace kernel whose metric is the average gradient outer
    product of the last round's; returns its leading eigenvector."""
    x, y = (x - x.mean(0)) / x.std(), np.where(high, 1.0, -1.0)
    metric = np.eye(x.shape[1])
    for _ in range(rounds):
        z = x @ metric
        square = np.maximum((z * x).sum(1)[:, None] + (z * x).sum(1) - 2 * z @ x.T, 0)
        distance = np.sqrt(square)
        width = np.median(distance[distance > 0])
        kernel = np.exp(-distance / width)
        alpha = np.linalg.solve(kernel + ridge * np.eye(len(x)), y)
        slope = np.where(distance > 1e-9, kernel / np.maximum(distance, 1e-9), 0) / width * alpha[None]
        gradient = -(slope.sum(1)[:, None] * z - slope @ z)
        metric = gradient.T @ gradient / len(x)
        metric *= x.shape[1] / np.trace(metric)
    return np.linalg.eigh(metric)[1][:, -1]


def combine(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """One vector from several of the same model and sites: valence and arousal at once, for example. Its strength is that of
    the weighted sum, which is not brought back to length 1."""
    first = vectors[0]
    if {v.weights for v in vectors} != {first.weights} or any(set(v.units) != set(first.units) for v in vectors):
        raise ValueError("Vectors can be combined if they are of one model and of the same sites.")
    units = {s: sum(w * v.units[s] for v, w in zip(vectors, weights, strict=True)) for s in first.units}
    return replace(
        first, units=units, method="+".join(f"{w:g} {v.method}" for v, w in zip(vectors, weights, strict=True))
    )


def schedule(name: str | Sequence[float], steps: int, gamma: float = 0.98) -> np.ndarray:
    """Strength over time, [step]: "constant", "decay" (gamma^t), "ramp" (from 0 to 1), or a curve drawn over the clip."""
    if isinstance(name, str):
        if name not in SCHEDULES:
            raise ValueError(f"schedule must be one of {SCHEDULES}, or numbers over time. Got {name!r}.")
        t = np.arange(steps)
        return {"constant": np.ones(steps), "decay": gamma**t, "ramp": t / max(steps - 1, 1)}[name]
    curve = np.asarray(name, float)
    if curve.ndim != 1 or len(curve) < 2 or not np.isfinite(curve).all():
        raise ValueError(f"A drawn schedule needs two or more finite numbers. Got {name!r}.")
    return np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(curve)), curve)


def edits(
    model: Model,
    vector: Vector,
    strengths: Sequence[float],
    *,
    steps: int,
    over: str | Sequence[float] = "constant",
    stream: str = "cond",
    keep_norm: bool = False,
    monitored: bool = False,
) -> list[Edit]:
    """The edits that steer clip i with ``strengths[i]``; all sites share a strength equally.

    Parameters
    ----------
    steps : int
        Positions that the schedule spans.
    over : str or list of float
        See :func:`schedule`.
    keep_norm : bool
        Bring what the site holds back to its own norm after adding.
    monitored : bool
        Strength follows a probe step by step (as in SMITIN: Koo et al. 2024): full while the stream lies on the far side of
        the middle between both kinds, less the further it has come to the wanted one.
    """
    _check(model, vector)
    strengths = np.asarray(strengths, float)
    if not np.isfinite(strengths).all():
        raise ValueError(f"strengths must be finite. Got {strengths}.")
    length = max(np.linalg.norm(u) for u in vector.units.values())
    if (worst := np.abs(strengths).max() * length) > BLOW_UP:
        warnings.warn(
            f"Strength {worst:.1f} adds {worst:.1f} times the site's own norm: expect broken music.", stacklevel=3
        )
    curve, found = schedule(over, steps), []
    for site, unit in vector.units.items():
        step = unit * vector.norms[site] / len(vector.units)
        if not (keep_norm or monitored):
            found.append(Edit(site, add=strengths[:, None] * step, scale=curve[None], stream=stream))
            continue
        for strength in np.unique(strengths[strengths != 0]):
            change = _changed(vector, site, strength * step, np.sign(strength), keep_norm, monitored)
            clips = np.flatnonzero(strengths == strength)
            found.append(Edit(site, apply=change, scale=curve[None], clips=clips, stream=stream))
    return found


def _changed(vector, site, add, sign, keep_norm, monitored) -> Callable:
    unit, spread = vector.units[site], max(abs(vector.gaps[site]) * vector.norms[site], 1e-9)

    def change(x):
        y = torch.as_tensor(add).to(x)
        if monitored:
            along = (x @ torch.as_tensor(unit).to(x) - vector.middles[site]) / spread * sign
            y = y * torch.sigmoid(-4 * along)[..., None]
        y = x + y
        return y * x.norm(dim=-1, keepdim=True) / y.norm(dim=-1, keepdim=True) if keep_norm else y

    return change


def generate(
    model: Model,
    prompts: list[str],
    vector: Vector,
    strengths: Sequence[float] = (-2, -1, 0, 1, 2),
    schedule: str | Sequence[float] = "constant",
    *,
    seconds: float = 6.0,
    seed: int = 0,
    stream: str = "cond",
    keep_norm: bool = False,
    monitored: bool = False,
    progress: bool = True,
    **settings,
) -> dict[float, Clips]:
    """Sing every prompt at every strength, in one batch.

    Returns
    -------
    dict
        strength -> Clips, one a prompt. The i-th clip has the same seed at every strength.
    """
    prompts, strengths = list(prompts), [float(s) for s in strengths]
    n, steps = len(prompts), int(seconds * model.frame_rate) + max(model.lm.pattern_provider.delays) + 1
    each = np.repeat(strengths, n)
    told = edits(
        model, vector, each, steps=steps, over=schedule, stream=stream, keep_norm=keep_norm, monitored=monitored
    )
    with activations.edit(model, *told):
        songs = model.generate(
            prompts * len(strengths), seconds, [*range(seed, seed + n)] * len(strengths), progress=progress, **settings
        )
    return {s: songs[k * n : (k + 1) * n] for k, s in enumerate(strengths)}


def _check(model, vector):
    if vector.weights != model.fingerprint:
        raise ValueError(
            f"The vector was made for {vector.model} ({vector.weights}), not for {model.name} ({model.fingerprint})."
        )
    there = activations.sites(model)
    for site, unit in vector.units.items():
        if site not in there or unit.shape != (there[site].width,):
            raise ValueError(f"{model.name} has no {site} with {len(unit)} dimensions.")
        if not np.isfinite(unit).all() or not np.any(unit):
            raise ValueError(f"The vector at {site} is zero or not finite.")
