"""Record activations of clips at every timestep.

**Frames.** The model runs over positions. Position p predicts codebook k of frame p - k and has
read codebook k of the frames before it: frame t is first decided at position t. That position is
what ``frame`` t means in a capture; ``delay=d`` takes position t + d instead (d up to the last
codebook's delay). Logits are put at the frame and codebook they predict.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from .. import cache, check
from . import forward, melody, sizing, store
from .clips import Clips
from .model import SOURCES as MODEL_SOURCES
from .run import STREAMS, Part, Visitors
from .sites import Site, select

#: The code that activations follow from.
SOURCES = (*MODEL_SOURCES, sys.modules[__name__])


REMEDY = (
    "Load the model with dtype='float32' (or 'bfloat16', which has float32's range), or edit less."
)


class _Stop(Exception):
    """Nothing behind the deepest site is asked for."""


def capture(
    model,
    clips: Clips,
    sites: str | Iterable[str] = "resid.*",
    how: str = "replay",
    stream: str = "cond",
    *,
    reduce: str | Callable | None = None,
    dtype: str = "float32",
    delay: int = 0,
    labels=None,
    out=None,
    pieces=None,
    batch_size: int = 16,
    progress: bool = True,
) -> xr.Dataset:
    """Activations of clips at every timestep.

    Parameters
    ----------
    model : Model
    clips : Clips
        From ``model.generate`` or ``model.clips``.
    sites : str or list of str
        Names or globs.
    how : "replay" or "live"
        One parallel pass over the clips' tokens, or the clips generated once more step by step.
        Both give the same.
    stream : "cond", "uncond" or "both"
        "both" adds the dim ``stream``. "uncond" reads no text, whatever guidance led away from:
        clips with a negative prompt have it in a replay alone.
    reduce : None, "mean" or callable
        What becomes of the frame (or token) axis: kept, averaged, or given to the callable as a
        tensor [clip, frame, dim], which returns a tensor [clip, ...]. With ``out`` its content
        counts (``cache.digest``); a callable whose content cannot be told takes a name from
        ``cache.named``.
    dtype : str
        Of the result.
    delay : int
        Frame t is read at position t + delay.
    labels : mapping or DataFrame, optional
        name -> one value a clip: kept as coordinates (emotion, word, ...). Missing ones are ""
        among texts and NaN among numbers.
    out : str or Path, optional
        A zarr store to fill piece by piece instead of memory: for captures larger than memory, and
        for those that should survive a kill (the same call goes on where it was).
    pieces : list of slice, optional
        Which of the store's pieces to write (some of ``Store.todo``): then the store is returned as
        it is.

    Returns
    -------
    xr.Dataset or Store
        One variable a site, dims (clip, [stream,] frame or token, dim); for ``text`` the last is
        ``text_dim``, for ``logits`` there are codebook and card. Missing text tokens (shorter
        prompts) are NaN. Coordinates: prompt, seed, stream, time (s) and the labels.

    Raises
    ------
    ValueError
        Unknown site, stream, how or delay, labels that do not match the clips; before any work
        starts.
    OverflowError
        Values beyond the range of ``dtype``, or of the model's own precision.
    StoreError
        ``out`` holds something else, or the disk is full; what was captured is kept.
    """
    plan = _plan(model, clips, sites, how, stream, reduce, dtype, delay)
    batch_size = check.count("batch_size", batch_size)
    coords = _coordinates(model, clips, plan, labels)
    if pieces is not None and out is None:
        raise ValueError("pieces are those of a store: give out, too.")
    target = None
    todo = [slice(0, len(clips))]
    if out is not None:
        arrays = {
            name: (dims, (len(clips), *shape), dtype) for name, (dims, shape) in plan.layout.items()
        }
        target = store.Store(out, arrays, coords, _identity(model, clips, plan, coords), batch_size)
        todo = target.todo if pieces is None else pieces
    with tqdm(
        total=len(clips), desc=f"capture ({how})", unit="clip", disable=not progress, leave=False
    ) as bar:
        bar.update(len(clips) - sum(piece.stop - piece.start for piece in todo))
        for piece in todo:
            values = _piece(model, clips, range(piece.start, piece.stop), plan, batch_size, bar)
            if target is not None:
                target.write(piece, values)
    if target is not None:
        return store.open(out) if pieces is None else target
    return coords.assign({name: (plan.layout[name][0], values[name]) for name in values})


# ----------------------------------------------------------------------------------------------
# what is asked
@dataclass(frozen=True)
class _Plan:
    sites: list[Site]
    how: str
    streams: tuple[str, ...]
    reduce: Callable | None
    asked: object  # reduce as it was given
    dtype: str
    delay: int
    layout: dict  # site -> (dims, shape of one clip)


def _plan(model, clips, names, how, stream, reduce, dtype, delay):
    """What is asked, checked."""
    chosen = select(model, names)
    check.choice("how", how, ("replay", "live"))
    check.choice("stream", stream, (*STREAMS, "both"))
    delay = check.count("delay", delay, 0, max(model.lm.pattern_provider.delays))
    if not _is_float(dtype):
        raise ValueError(
            f"dtype must be a float type such as 'float32' or 'float16'. Got {dtype!r}."
        )
    if not (reduce is None or reduce == "mean" or callable(reduce)):
        raise ValueError(f"reduce must be None, 'mean' or a function. Got {reduce!r}.")
    model.check_clips(clips)
    function = _mean if reduce == "mean" else reduce
    streams = STREAMS if stream == "both" else (stream,)
    if how == "live" and "uncond" in streams and clips.settings.get("negative"):
        raise ValueError(
            f"stream must be 'cond' in a live capture of clips with a negative prompt. Got {stream!r}:"
            f" beside it they were sung with {clips.settings['negative']!r}, not without text. Use "
            "how='replay'."
        )
    tokens = max(model.text_lengths(clips.prompts))
    layout = {}
    for site in chosen:
        steps = tokens if site.axis == "token" else clips.tokens.shape[-1]
        layout[site.name] = _layout(model, site, steps, function, len(streams))
    return _Plan(chosen, how, streams, function, reduce, str(np.dtype(dtype)), delay, layout)


def _is_float(dtype):
    try:
        return np.dtype(dtype).kind == "f"
    except TypeError:  # numpy knows none by that name
        return False


def _mean(x):
    return x.mean(1)


def _layout(model, site, steps, function, streams):
    """Dims and shape of a site's variable, as (("clip", ...), shape without clips)."""
    dims = [site.axis, "text_dim" if site.name == "text" else "dim"]
    shape = [steps, site.width]
    if site.name == "logits":
        dims = ["frame", "codebook", "card"]
        shape = [steps, model.lm.n_q, site.width]
    if function is not None:
        shape = list(_reduced(function, torch.zeros(2, *shape), site).shape[1:])
        kept = len(shape) == len(dims) - 1
        dims = dims[1:] if kept else [f"{site.name}_{i}" for i in range(len(shape))]
    if streams == 2:
        dims = ["stream", *dims]
        shape = [2, *shape]
    return ("clip", *dims), tuple(shape)


def _coordinates(model, clips, plan, labels):
    """What is known about each clip and frame."""
    n = len(clips)
    frames = clips.tokens.shape[-1]
    coords = {
        "clip": np.arange(n),
        "prompt": ("clip", np.array(clips.prompts)),
        "seed": ("clip", np.array(clips.seeds)),
    }
    dims = {dim for dims, _ in plan.layout.values() for dim in dims}
    if "frame" in dims:
        coords["frame"] = np.arange(frames)
        coords["time"] = ("frame", np.arange(frames) / clips.frame_rate)
    coords["stream"] = list(plan.streams) if "stream" in dims else plan.streams[0]
    for name, values in () if labels is None else labels.items():
        if name in coords and name not in ("prompt", "seed"):
            raise ValueError(f"labels may not be called {name!r}: that is a dimension.")
        coords[str(name)] = ("clip", _label(name, values, n))
    return xr.Dataset(
        coords=coords, attrs={"model": model.name, "how": plan.how, "delay": plan.delay}
    )


def _label(name, values, n):
    """One label a clip, as a store holds it:

    missing ones are "" among texts and NaN among numbers.
    """
    if np.shape(values) != (n,):
        raise ValueError(
            f"labels[{name!r}] must hold one value for each of {n} clips. Got shape "
            f"{np.shape(values)}."
        )
    return store.plain(values)


def _identity(model, clips, plan, coords):
    """What a store's content follows from."""
    made = (clips.prompts, clips.tokens)
    if plan.how == "live":
        made = (*made, clips.seeds, clips.settings)
    if clips.chroma is not None:
        made = (*made, clips.chroma)
    interventions = model.interventions
    return {
        "model": cache.digest(model.identity()),
        "clips": f"{len(clips)}, {cache.digest(made)}",
        "labels": cache.digest(coords),
        "sites": [site.name for site in plan.sites],
        "how": plan.how,
        "streams": list(plan.streams),
        "reduce": plan.asked if plan.asked in (None, "mean") else cache.digest(plan.asked),
        "dtype": plan.dtype,
        "delay": plan.delay,
        "edits": cache.digest(interventions) if interventions else "none",
        "code": cache.code(*SOURCES),
    }


# ------------------------------------------------------------------------------------------------
# what is read
def _piece(model, clips, numbers, plan, batch_size, bar):
    """Activations of some clips: site -> array [clip, (stream,) ...]."""
    values = {
        name: np.full((len(numbers), *shape), np.nan, plan.dtype)
        for name, (_, shape) in plan.layout.items()
    }
    prompts = [clips.prompts[i] for i in numbers]
    frames = clips.tokens.shape[-1]
    size = sizing.fits(_clip_bytes(model, prompts, frames, plan), model.device, batch_size)
    batches = model.batches(prompts, size)

    def read(batch):
        return _batch(model, clips, [numbers[i] for i in batch], plan)

    for batch, found in sizing.each_batch(batches, read, "capture"):
        for name, part in found.items():
            where = (batch, *(slice(0, length) for length in part.shape[1:]))
            if plan.reduce is None and np.isnan(part).any():
                raise OverflowError(f"{name} holds what is no number. {REMEDY}")
            values[name][where] = _narrowed(name, part, plan.dtype)
        bar.update(len(batch))
    return values


def _clip_bytes(model, prompts, frames, plan):
    """What one clip takes: a pass, and what is kept of it. One that is sung runs both streams,
    whichever is asked for, and holds their keys and values.
    """
    numbers = sum(
        site.width * (model.lm.n_q if site.name == "logits" else 1) for site in plan.sites
    )
    of_a_stream = model.bytes_of_a_pass(frames) + 2 * 4 * numbers * frames
    if plan.how == "live":
        return len(STREAMS) * of_a_stream + model.bytes_of_singing(prompts, frames)
    return len(plan.streams) * of_a_stream


def _narrowed(name, values, dtype):
    """Values of a site in the precision that was asked for.

    Raises
    ------
    OverflowError
        They do not fit, or were infinite before.
    """
    if np.isinf(values).any():
        raise OverflowError(
            f"{name} holds infinite values: the model has left its own precision's range. {REMEDY}"
        )
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype, copy=False)
    if np.isinf(narrow).any():
        raise OverflowError(
            f"{name} reaches {np.nanmax(np.abs(values)):,.0f}, and {dtype} holds numbers up to "
            f"{np.finfo(dtype).max:,.0f}: capture it with dtype='float32'. What was written before "
            "is kept."
        )
    return narrow


@torch.no_grad()
def _batch(model, clips, numbers, plan):
    """Activations of some clips with equally long prompts: site -> array [clip, (stream,) ...]."""
    steps = clips.tokens.shape[-1] + max(model.lm.pattern_provider.delays)
    kept = {}
    readers = {site.name: [_reader(site, kept, plan, steps)] for site in plan.sites}
    part = Part(numbers, len(clips))
    prompts = [clips.prompts[i] for i in numbers]
    chroma = None if clips.chroma is None else clips.chroma[numbers]
    if plan.how == "live":
        seeds = [clips.seeds[i] for i in numbers]
        tokens = model.sing(
            prompts,
            seeds,
            clips.settings,
            clips.tokens.shape[-1],
            part,
            Visitors(readers),
            chroma=None if chroma is None else chroma[None],
        )
        if not np.array_equal(tokens, clips.tokens[numbers]):
            raise ValueError(
                "These clips are not what the model generates from their prompts and seeds: use "
                "'replay'."
            )
    else:
        try:
            model.replay(
                clips.tokens[numbers],
                prompts,
                plan.streams,
                chroma=chroma,
                part=part,
                visitors=Visitors(readers),
            )
        except _Stop:
            pass
    rows = STREAMS if plan.how == "live" else plan.streams
    return {
        site.name: _shaped(model, site, kept[site.name], plan, rows, clips, numbers)
        for site in plan.sites
    }


def _reader(site, kept, plan, steps):
    """A visitor that keeps what a site holds."""
    along = plan.how == "live" and site.axis == "frame"
    last = plan.how == "replay" and site is plan.sites[-1]

    def read(values, position):
        if along:
            axis = values.ndim - 2
            if site.name not in kept:
                kept[site.name] = values.new_empty((*values.shape[:axis], steps, values.shape[-1]))
            kept[site.name].narrow(axis, position, values.shape[axis]).copy_(values)
        else:
            kept[site.name] = values
        if last:
            raise _Stop

    return read


def _shaped(model, site, values, plan, rows, clips, numbers):
    """From rows and positions to clips, streams and frames."""
    n = len(numbers)
    frames = clips.tokens.shape[-1]
    if site.name == "logits":  # codebook k of frame t is predicted at position t + delay of k
        delays = model.lm.pattern_provider.delays
        values = torch.stack([values[:, k, d : d + frames] for k, d in enumerate(delays)], 2)
    elif site.axis == "frame":
        values = values[:, plan.delay : plan.delay + frames]
    else:  # a negative prompt, sung beside them, may be longer
        values = values[:, : model.text_lengths([clips.prompts[numbers[0]]])[0]]
    parts = [values[n * rows.index(s) : n * (rows.index(s) + 1)] for s in plan.streams]
    if plan.reduce is not None:
        parts = [_reduced(plan.reduce, part, site) for part in parts]
    values = parts[0] if len(parts) == 1 else torch.stack(parts, 1)
    return values.float().cpu().numpy()


def _reduced(function, values, site):
    """What a reduction makes of [clip, ...], checked."""
    found = function(values)
    if not isinstance(found, torch.Tensor) or not found.ndim or len(found) != len(values):
        raise ValueError(
            f"reduce must return a tensor whose first axis has the {len(values)} clips it was "
            f"given, of {site.name} {tuple(values.shape)}. Got {check.shape(found)}."
        )
    return found


def attention(
    model, clips: Clips, block: int, kind: str = "self", stream: str = "cond", batch_size: int = 8
):
    """Attention's weights in one block, in a teacher-forced pass.

    Parameters
    ----------
    block : int
    kind : "self" or "cross"
        Over the positions so far, or over the text. A melody model has no "cross": there "self" is
        over the prefix, too.
    stream : "cond" or "uncond"

    Returns
    -------
    xr.DataArray [dims=(clip, head, frame, key)]
        Each row over ``key`` (a position, or a text token) sums to 1; float32. Missing text tokens
        are NaN. Of a melody model, keys are first the melody, then the text, then the positions:
        the coordinate ``part`` says which.
    """
    blocks = model.lm.transformer.layers
    block = check.count("block", block, 0, len(blocks) - 1)
    prefixed = forward.prefixed(model.lm)
    check.choice("kind", kind, ("self",) if prefixed else ("self", "cross"))
    check.choice("stream", stream, STREAMS)
    model.check_clips(clips)
    frames = clips.tokens.shape[-1]
    parts = {"frame": frames} if kind == "self" else {}
    if prefixed or kind == "cross":
        parts = {"text": max(model.text_lengths(clips.prompts)), **parts}
    if prefixed and melody.of(model.lm) is not None:
        parts = {"melody": melody.of(model.lm).length, **parts}
    keys = sum(parts.values())
    values = np.full(
        (len(clips), blocks[block].self_attn.num_heads, frames, keys), np.nan, np.float32
    )
    site = f"pattern.{block}" if kind == "self" else f"cross_pattern.{block}"
    for batch in model.batches(clips.prompts, check.count("batch_size", batch_size)):
        found = []
        visitors = Visitors({site: [lambda pattern, position, found=found: found.append(pattern)]})
        prompts = [clips.prompts[i] for i in batch]
        with torch.no_grad():
            model.replay(
                clips.tokens[batch],
                prompts,
                (stream,),
                chroma=None if clips.chroma is None else clips.chroma[batch],
                part=Part(batch, len(clips)),
                visitors=visitors,
            )
        pattern = found[0][:, :, :frames].float().cpu().numpy()
        delay = max(model.lm.pattern_provider.delays) if kind == "self" else 0
        pattern = pattern[..., : pattern.shape[-1] - delay]
        before = pattern.shape[-1] - frames if kind == "self" else pattern.shape[-1]
        values[batch, :, :, :before] = pattern[..., :before]
        values[batch, :, :, keys - parts.get("frame", 0) :] = pattern[..., before:]
    coords = {
        "clip": np.arange(len(clips)),
        "prompt": ("clip", clips.prompts),
        "frame": np.arange(frames),
    }
    if prefixed:
        coords["part"] = ("key", np.repeat(list(parts), list(parts.values())))
    return xr.DataArray(values, dims=("clip", "head", "frame", "key"), coords=coords, name=site)


def offset_free(x: xr.DataArray) -> xr.DataArray:
    """Vectors without their own mean over channels: what a pre-norm block sees of the residual
    stream.

    A constant added to all channels changes a raw cosine and nothing else, because LayerNorm
    subtracts it.
    """
    return x - x.mean(x.dims[-1])


def centred(x: xr.DataArray) -> xr.DataArray:
    """Vectors without what is common to all clips."""
    return x - x.mean("clip")
