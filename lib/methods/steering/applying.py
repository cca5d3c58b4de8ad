"""Apply a vector while the model sings.

Steering is an ``activations.Edit``: at every step, a multiple of the direction is added to what the
site holds. One batch carries a whole dose-response curve, or many directions, because an edit may
hold one strength a clip.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from ... import check
from ...musicgen import activations
from ...musicgen.activations import Edit
from ...musicgen.model import Clips, Model
from . import schedules
from .vectors import Vector, check_vector

#: Times its own norm: beyond, a site holds little that is not the vector.
BLOW_UP = 3.0
#: How steeply a monitored strength falls off behind the middle between both kinds.
STEEPNESS = 4.0


def pushes(vector: Vector) -> dict[str, np.ndarray]:
    """What strength 1 adds at each site, [dim]; all sites share a strength equally."""
    n = len(vector.units)
    return {site: unit * vector.norms[site] / n for site, unit in vector.units.items()}


def positions(model: Model, seconds: float) -> int:
    """Positions of a pass over a clip of some length, that of the delay pattern's tail included."""
    return model.frames(seconds) + max(model.lm.pattern_provider.delays) + 1


def edits(
    model: Model,
    vector: Vector | Sequence[Vector],
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
    model : Model
    vector : Vector, or a list of them
        For all clips, or one a clip.
    strengths : sequence of float
        One a clip.
    steps : int
        Positions that the schedule spans.
    over : str or list of float
        See :func:`~.schedules.schedule`.
    stream : "cond", "uncond" or "both"
    keep_norm : bool
        Bring what the site holds back to its own norm after adding.
    monitored : bool
        Strength follows a probe step by step (as in SMITIN: Koo et al. 2024): full while the stream
        lies on the far side of the middle between both kinds, less the further it has come to the
        wanted one.

    Raises
    ------
    ValueError
        A vector of another model, strengths that are not finite, not one vector a clip, an unknown
        schedule; a vector that cannot be monitored.
    """
    strengths = check.array("strengths", _numbers(strengths), ("clip",)).astype(float)
    vectors = _one_each("vector", vector, len(strengths), "clip")
    each = _by_vector(vectors)
    check_vector(model, *(one for _, one in each))
    curve = schedules.schedule(over, steps)
    adds: dict[str, np.ndarray] = {}
    changes = []
    for clips, one in each:
        if monitored and not np.isfinite([*one.gaps.values(), *one.middles.values()]).all():
            raise ValueError(
                f"The {one.method} vector cannot be monitored: its gaps are not known."
            )
        own = strengths[clips]
        _warn_of_blow_up(one, own)
        for site, push in pushes(one).items():
            if not (keep_norm or monitored):
                whole = adds.setdefault(site, np.zeros((len(vectors), len(push))))
                whole[clips] = own[:, None] * push
                continue
            for strength in np.unique(own[own != 0]):
                change = changed(model, one, site, strength, keep_norm, monitored)
                some = clips[own == strength]
                changes.append(
                    Edit(site, apply=change, scale=curve[None], clips=some, stream=stream)
                )
    added = [Edit(site, add=add, scale=curve[None], stream=stream) for site, add in adds.items()]
    return added + changes


def generate(
    model: Model,
    prompts: Iterable[str],
    vector: Vector,
    strengths: Iterable[float] = (-2, -1, 0, 1, 2),
    schedule: str | Sequence[float] = "constant",
    **how,
) -> dict[float, Clips]:
    """Sing every prompt at every strength, in one batch.

    Parameters
    ----------
    model : Model
    prompts : list of str
    vector : Vector
    strengths : sequence of float
        In mean norms of the site's activations.
    schedule, **how
        As for :func:`push`.

    Returns
    -------
    dict
        strength (a float) -> Clips, one a prompt.
    """
    given = check.array("strengths", _numbers(strengths), ("strength",)).astype(float).tolist()
    strengths = list(dict.fromkeys(given))
    songs = push(model, prompts, [(vector, each) for each in strengths], schedule, **how)
    return dict(zip(strengths, songs, strict=True))


def push(
    model: Model,
    prompts: Iterable[str],
    pushes: Sequence[tuple[Vector | Sequence[Vector], float]],
    schedule: str | Sequence[float] = "constant",
    *,
    seconds: float = 6.0,
    seed: int | Sequence[int] = 0,
    stream: str = "cond",
    keep_norm: bool = False,
    monitored: bool = False,
    progress: bool = True,
    **settings,
) -> list[Clips]:
    """Sing every prompt under each of several pushes, all in one batch.

    Parameters
    ----------
    model : Model
    prompts : list of str
    pushes : sequence of (Vector, float)
        Directions, each with its strength: one for all prompts, or a list of one a prompt.
    schedule : str or list of float
        Strength over time, see :func:`~.schedules.schedule`.
    seconds, seed
        As in ``model.generate``; the i-th prompt has the same seed under every push.
    stream, keep_norm, monitored
        See :func:`edits`.
    **settings
        Of ``model.generate``: what there is one of a prompt (melody, prompt_audio, beside), too.

    Returns
    -------
    list of Clips
        One a push, of one clip a prompt.

    Raises
    ------
    ValueError
        No push, several takes, and as in :func:`edits`.
    """
    if "takes" in settings:
        raise ValueError("Songs are not pushed in several takes: give the prompts several times.")
    prompts = check.texts("prompts", prompts)
    pushes = [(vector, check.number("strength", strength)) for vector, strength in pushes]
    if not pushes:
        raise ValueError("pushes is empty: give at least one direction with its strength.")
    seconds = check.number("seconds", seconds, 0, model.max_seconds, open_low=True)
    n = len(prompts)
    how = {"stream": stream, "keep_norm": keep_norm, "monitored": monitored, "over": schedule}
    how["steps"] = positions(model, seconds)
    vectors = [one for vector, _ in pushes for one in _one_each("vector", vector, n, "prompt")]
    strengths = np.repeat([strength for _, strength in pushes], n)
    steering = edits(model, vectors, strengths, **how)
    seeds = check.seeds(seed, n) * len(pushes)
    settings = {name: _each_push(value, n, len(pushes)) for name, value in settings.items()}
    with activations.edit(model, *steering):
        songs = model.generate(prompts * len(pushes), seconds, seeds, progress=progress, **settings)
    return [songs[k * n : (k + 1) * n] for k in range(len(pushes))]


def _one_each(name, vector, n, each):
    """A vector for each of n clips or prompts, as a list."""
    if not isinstance(vector, list | tuple):
        return [vector] * n
    if len(vector) != n:
        raise ValueError(
            f"{name} must be one Vector, or a list of one for each of the {n} {each}s. Got "
            f"{len(vector)} of them."
        )
    return list(vector)


def _each_push(value, n, times):
    """A setting of all clips, from what may be one of each prompt: audio or texts."""
    if isinstance(value, np.ndarray) and value.ndim > 1 and len(value) == n:
        return np.concatenate([value] * times)
    if isinstance(value, list | tuple) and len(value) == n:
        return list(value) * times
    return value


def _by_vector(vectors):
    """Each of some vectors once, with the clips it is for."""
    clips: dict[int, list[int]] = {}
    for clip, vector in enumerate(vectors):
        clips.setdefault(id(vector), []).append(clip)
    return [(np.array(some), vectors[some[0]]) for some in clips.values()]


def _numbers(values):
    """An array from a number or any iterable, a generator too."""
    if isinstance(values, np.ndarray):
        return np.atleast_1d(values)
    return np.array(list(values) if isinstance(values, Iterable) else [values])


def _warn_of_blow_up(vector, strengths):
    # several sites share the strength (pushes)
    length = max(np.linalg.norm(unit) for unit in vector.units.values()) / len(vector.units)
    worst = np.abs(strengths).max() * length
    if worst > BLOW_UP:
        warnings.warn(
            f"Strength {worst:.1f} adds {worst:.1f} times the site's own norm: expect broken "
            "music.",
            stacklevel=3,
        )


def changed(
    model: Model, vector: Vector, site: str, strength: float, keep_norm: bool, monitored: bool
) -> Callable:
    """The change of a site, [row, step, dim], by one strength.

    The tensors are put on the model's device once; sums and norms are float32 whatever the site's
    precision, because squares of half-precision activations overflow.
    """
    push = _tensor(model, strength * pushes(vector)[site])
    gate = gated(model, *monitor(vector, site, strength))

    @activations.repeatable
    def change(x):
        stream = x.float()
        if monitored:
            steered = gate(stream)
        else:
            steered = stream + push
        if keep_norm:
            own = stream.norm(dim=-1, keepdim=True)
            now = steered.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            steered = steered * own / now
        return steered.to(x.dtype)

    return change


def monitor(vector: Vector, site: str, strength: float) -> tuple:
    """What a monitored push of a site needs: what is added [dim], the way there that is one unit of
    progress [dim], and how much of it the middle between both kinds has.
    """
    spread = max(abs(vector.gaps[site]) * vector.norms[site], 1e-9)
    way = np.sign(strength) * vector.units[site] / spread
    return strength * pushes(vector)[site], way, np.sign(strength) * vector.middles[site] / spread


def gated(model: Model, push, way, middle) -> Callable:
    """The change of a site by a push whose strength falls off as the stream gets there.

    Parameters
    ----------
    model : Model
    push, way : array_like [shape=(dim,) or (row, dim)]
        From :func:`monitor`, the same for all rows or one each.
    middle : float or array_like [shape=(row,)]
    """
    push, way, middle = (_tensor(model, some) for some in (push, way, middle))
    if push.ndim == 2:
        push, way, middle = push[:, None], way[:, None], middle[:, None]

    @activations.repeatable
    def change(x):
        stream = x.float()
        along = (stream * way).sum(-1) - middle
        return (stream + push * torch.sigmoid(-STEEPNESS * along)[..., None]).to(x.dtype)

    return change


def _tensor(model, values):
    return torch.as_tensor(np.asarray(values, np.float32), device=model.device)
