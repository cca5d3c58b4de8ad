"""Steering vectors: directions inside a model, how they are found, and how they are kept.

A direction lies between what a site holds for prompts of one kind and of another (*happy* and
*sad*, say). Songs of all prompts are read twice, once under a prompt of either kind: the music is
the same, so that what differs is what the words do, and not how the songs sound.

**Units.** A strength of 1 is the mean norm of the site's activations without what is common to all
of them. Residual streams grow from block to block, and a large share of what they hold is the same
for every input; in these units a strength means the same at every site and in every model.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydantic
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from ... import cache, check
from ...musicgen import activations
from ...musicgen.model import Model
from .. import directions as between_groups

#: How a direction is found; "songs" is "diffmeans" over each kind's own songs.
METHODS = ("diffmeans", "probe", "rfm", "songs", "random", "shuffled")
#: Where to look if nobody says where: a relative depth, block 3 of the organisms' six.
DEPTH = 0.57
#: Groups whose means are nearer to each other than this, in units of strength, differ by rounding.
LEAST = 1e-6


@dataclass(frozen=True)
class Vector:
    """Directions at one or several sites, for one model.

    Attributes
    ----------
    units : dict
        site -> direction of length 1, [dim].
    norms : dict
        site -> mean norm of its activations without what is common to all of them: one unit of
        strength.
    gaps : dict
        site -> how far apart both kinds of prompts lie along the direction, in units of strength.
    middles : dict
        site -> projection on the direction half-way between both kinds.
    method, model : str
        How it was found, and the name of the model.
    weights : str
        The model itself: ``Model.fingerprint``.
    data : str
        Digest of prompts, music and edits that it was found on.
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

    def __post_init__(self):
        """numpy's numbers become Python's, so that all of it can be written as JSON."""
        plain = {"units": {site: np.asarray(unit) for site, unit in self.units.items()}}
        for name in ("norms", "gaps", "middles"):
            plain[name] = {site: float(value) for site, value in getattr(self, name).items()}
        for name in ("positive", "negative"):
            plain[name] = [str(prompt) for prompt in getattr(self, name)]
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def save(self, file: str | Path) -> None:
        """Write a safetensors file that says what the vector was made from; whole or not at all."""
        file = check.path("file", file)
        units = {site: np.ascontiguousarray(unit, np.float32) for site, unit in self.units.items()}
        cache.write(file, safetensors.numpy.save(units, {"vector": header(self)}))


class Header(pydantic.BaseModel, extra="forbid"):
    """What a file says beside its directions; gaps and middles need not be known."""

    norms: dict[str, pydantic.FiniteFloat]
    gaps: dict[str, float]
    middles: dict[str, float]
    method: str
    model: str
    weights: str
    data: str
    positive: list[str]
    negative: list[str]


def header(vector: Vector) -> str:
    """What a file says of a vector beside its directions, as JSON: a :class:`Header`."""
    return json.dumps({name: value for name, value in vars(vector).items() if name != "units"})


def load(file: str | Path, model: Model) -> Vector:
    """Read a vector.

    Raises
    ------
    ValueError
        No such file, another kind of file, or a vector made for another model.
    """
    file = check.path("file", file)
    try:
        with safe_open(str(file), "np") as opened:
            text = (opened.metadata() or {})["vector"]
            units = {site: opened.get_tensor(site) for site in opened.keys()}
        told = Header.model_validate_json(text)
        if any(set(part) != set(units) for part in (told.norms, told.gaps, told.middles)):
            raise KeyError("norms, gaps and middles of every site")
    except (OSError, SafetensorError, KeyError, pydantic.ValidationError) as error:
        raise ValueError(f"{file} holds no steering vector: Vector.save writes them.") from error
    # in the order in which it was saved, which random directions are drawn in
    units = {site: units[site] for site in told.norms}
    vector = Vector(units=units, **told.model_dump())
    check_vector(model, vector)
    return vector


def direction(
    model: Model,
    positive: Iterable[str],
    negative: Iterable[str],
    site: str | Sequence[str] | None = None,
    method: str = "diffmeans",
    *,
    seconds: float = 3.0,
    seed: int = 0,
    directions: np.ndarray | None = None,
) -> Vector:
    """Find a direction from prompts of one kind to prompts of another.

    Parameters
    ----------
    model : Model
    positive, negative : list of str
        Prompts of both kinds.
    site : str or list of str, optional
        resid.i, one or several; left out, the one at relative depth 0.57.
    method : str
        "diffmeans": between the means (the plainest, and hard to beat: Wu et al. 2025). "probe": a
        ridge classifier's weights. "rfm": recursive feature machine (Radhakrishnan et al. 2024; for
        music, Zhao et al. 2025). "songs": between the means over each kind's own songs, as is
        usual: it also holds how those songs sound. "random" and "shuffled": controls, a random
        direction, and that of pairs whose kinds are swapped at random. Or any name with
        ``directions``.
    seconds, seed : float, int
        Length and seeds of the songs.
    directions : array_like [shape=(k, dim)], optional
        Span to keep to (SAE features, a subspace of ``causal.locate``): the difference of means
        within it. With one site only.

    Raises
    ------
    ValueError
        Empty groups, unknown method or site, a direction that is zero or not finite.
    """
    positive = check.texts("positive", positive)
    negative = check.texts("negative", negative)
    sites = _residual_sites(model, site)
    if directions is None:
        check.choice("method", method, METHODS)
    else:
        directions = check.array("directions", directions, ("size", model.lm.dim))
        if len(sites) > 1 or not directions.any():
            raise ValueError(
                f"directions belong to one site, and one of them at least is not zero. Got "
                f"{len(sites)} sites."
            )
    how = {"keep": True, "decode": False, "progress": False}
    songs = model.generate(positive + negative, seconds, seed, **how)
    runs = _runs(songs, positive, negative, method)
    low, high = (activations.capture(model, run, sites, progress=False) for run in runs)
    raw = {}
    norms = {}
    ends = {}
    for name in sites:
        norms[name] = norm(np.concatenate([low[name].values, high[name].values]))
        ends[name] = low[name].values.mean(1), high[name].values.mean(1)
        raw[name] = _between(*ends[name], method, directions, seed)
    about = {
        "method": method,
        "data": cache.digest(positive, negative, songs.tokens, model.interventions),
        "positive": positive,
        "negative": negative,
    }
    return measured(model, raw, ends, norms, **about)


def measured(
    model: Model,
    directions: Mapping[str, np.ndarray],
    ends: Mapping[str, tuple[np.ndarray, np.ndarray]],
    norms: Mapping[str, float],
    *,
    method: str,
    data: str,
    positive: list[str],
    negative: list[str],
) -> Vector:
    """A vector from directions that have been found.

    Parameters
    ----------
    model : Model
    directions : mapping
        site -> direction of any length, [dim].
    ends : mapping
        site -> rows of both kinds, from which the direction leads and to which, each [row, dim].
    norms : mapping
        site -> one unit of strength (:func:`norm`).
    method, data, positive, negative
        As in ``Vector``.

    Raises
    ------
    ValueError
        A direction that is zero or not finite.
    """
    units = {}
    gaps = {}
    middles = {}
    for site, found in directions.items():
        # of the groups, not of the direction: the weights of a probe have another unit
        apart = np.linalg.norm(ends[site][1].mean(0) - ends[site][0].mean(0))
        if not np.isfinite(found).all() or not found.any() or not apart > LEAST * norms[site]:
            raise ValueError(
                f"The direction at {site} by {method!r} is zero or not finite: are both groups the "
                "same?"
            )
        units[site] = between_groups.scaled(found)
        low, high = (float((rows @ units[site]).mean()) for rows in ends[site])
        gaps[site] = (high - low) / norms[site]
        middles[site] = (low + high) / 2
    about = {"method": method, "data": data, "positive": positive, "negative": negative}
    made = {"model": model.name, "weights": model.fingerprint}
    return Vector(units, dict(norms), gaps, middles, **about, **made)


def norm(values: np.ndarray) -> float:
    """Mean norm of vectors [..., dim] without what is common to all of them."""
    rows = np.asarray(values)
    rows = rows.reshape(-1, rows.shape[-1]).astype(np.result_type(rows, np.float32))
    return float(np.linalg.norm(rows - rows.mean(0), axis=1).mean())


def combine(vectors: Iterable[Vector], weights: Iterable[float]) -> Vector:
    """One vector from several of the same model and sites: valence and arousal at once, say.

    Its strength is that of the weighted sum, each vector in its own unit, which is not brought back
    to length 1. Where both kinds of prompts lie along it is not measured: it cannot be monitored
    (gaps and middles are not a number).

    Raises
    ------
    ValueError
        Vectors of several models or of other sites, or not one finite weight for each.
    """
    vectors = list(vectors)
    weights = [check.number(f"weights[{k}]", weight) for k, weight in enumerate(weights)]
    if not vectors:
        raise ValueError("vectors is empty: give at least one.")
    check.same_length(vectors=vectors, weights=weights)
    first = vectors[0]
    models = {vector.weights for vector in vectors}
    if len(models) > 1 or any(set(vector.units) != set(first.units) for vector in vectors):
        raise ValueError("Vectors can be combined if they are of one model and of the same sites.")
    units = {}
    for site in first.units:
        units[site] = sum(
            weight * vector.norms[site] / first.norms[site] * vector.units[site]
            for vector, weight in zip(vectors, weights, strict=True)
        )
    names = [f"{weight:g} {vector.method}" for vector, weight in zip(vectors, weights, strict=True)]
    unknown = dict.fromkeys(units, np.nan)
    return replace(first, units=units, gaps=unknown, middles=unknown, method="+".join(names))


def anywhere(vector: Vector, n: int = 10, seed: int = 0) -> list[Vector]:
    """Vectors that differ from one in nothing but where they point: random directions.

    Parameters
    ----------
    vector : Vector
    n, seed : int
        How many random directions, drawn evenly from all.

    Returns
    -------
    list of Vector
        With the lengths and norms of the one given. Where both kinds of prompts lie along a random
        direction is not measured: they cannot be monitored (gaps and middles are not a number).
    """
    rng = np.random.default_rng([check.count("seed", seed, 0), 5])
    unknown = dict.fromkeys(vector.units, np.nan)
    drawn = []
    for _ in range(check.count("n", n)):
        units = {
            site: np.linalg.norm(unit) * between_groups.scaled(rng.normal(size=len(unit)))
            for site, unit in vector.units.items()
        }
        drawn.append(replace(vector, units=units, gaps=unknown, middles=unknown, method="random"))
    return drawn


def check_vector(model: Model, *vectors: Vector) -> None:
    """Refuse a vector of another model, one that points nowhere, and what is no vector.

    Raises
    ------
    ValueError, TypeError
    """
    for vector in vectors:
        if not isinstance(vector, Vector):
            wanted = "a Vector, as steering.direction, load and import_gguf give"
            check.refuse(TypeError, "vector", wanted, vector)
    # reads all weights
    fingerprint = model.fingerprint
    there = activations.sites(model, heads=True)
    for vector in vectors:
        if vector.weights != fingerprint:
            raise ValueError(
                f"The vector was made for {vector.model} ({vector.weights}), not for {model.name} "
                f"({fingerprint})."
            )
        for site, unit in vector.units.items():
            if site not in there or unit.shape != (there[site].width,):
                raise ValueError(f"{model.name} has no {site} with {len(unit)} dimensions.")
            if not np.isfinite(unit).all() or not np.any(unit):
                raise ValueError(f"The vector at {site} is zero or not finite.")


def _residual_sites(model, site):
    if site is None:
        return [activations.at(model, DEPTH)]
    names = [found.name for found in activations.select(model, site)]
    wrong = [name for name in names if not name.startswith("resid.")]
    if wrong:
        raise ValueError(f"Directions lie in the residual stream (resid.i). Got {wrong}.")
    return names


def _runs(songs, positive, negative, method):
    """The clips that are read for either kind, negative ones first."""
    if method == "songs":
        return songs[len(positive) :], songs[: len(positive)]
    n = len(songs)
    return [
        songs.under([group[i % len(group)] for i in range(n)]) for group in (negative, positive)
    ]


def _between(low, high, method, directions, seed):
    """The one direction between rows [song, dim] of two kinds."""
    rows = np.concatenate([low, high])
    kinds = np.repeat([False, True], [len(low), len(high)])
    if method == "songs" or directions is not None:
        return between_groups.between(rows, kinds, span=directions)
    return between_groups.between(rows, kinds, method, paired=True, seed=seed)
