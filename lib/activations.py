"""Read and write what happens inside a MusicGen: sites, capture, edit.

A *site* is a named place: ``text`` (T5 output, a vector a text token), ``cond`` (the same projected to the model's
width), ``embed`` (what enters block 0: token embeddings plus position), ``resid.i`` (what block i passes on),
``attn.i``, ``cross.i``, ``mlp.i`` (what each sublayer adds to it) and ``logits``. The model is pre-norm, so
``embed`` plus all that is added up to block i is ``resid.i``.

**Frames.** The model runs over positions. Position p predicts codebook k of frame p - k and has read codebook k of the
frames before it: frame t is first decided at position t. That position is what ``frame`` t means in a capture;
``delay=d`` takes position t + d instead (d up to the last codebook's delay). Logits are put at the frame and codebook
they predict.
"""

import fnmatch
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from lib import store
from lib.model import STREAMS, Clips, Model

OPERATIONS = ("add", "replace", "multiply", "ablate", "project", "interchange", "apply")


class _Stop(Exception):
    """Nothing behind the deepest site is asked for."""


@dataclass(frozen=True)
class Site:
    """A named place in a model.

    Attributes
    ----------
    name : str
    axis : str
        "frame" or "token".
    width : int
    equation : str
        Its place in the computation.
    """

    name: str
    axis: str
    width: int
    equation: str
    depth: int = field(repr=False)
    attach: Callable = field(repr=False)


# --------------------------------------------------------------------------------------------------- sites
def sites(model: Model) -> dict[str, Site]:
    """Every site of a model, in the order of the computation.

    Raises
    ------
    ValueError
        For an architecture other than MusicGen's text-to-music one (pre-norm, text through cross-attention).
    """
    lm = model.lm
    blocks = lm.transformer.layers
    conditioner = lm.condition_provider.conditioners["description"]
    if not blocks[0].norm_first or lm.fuser.fuse2cond["prepend"] or blocks[0].cross_attention is None:
        raise ValueError(f"{model.name} is no pre-norm MusicGen that reads its text through cross-attention.")
    width, found = lm.dim, []

    def add(name, axis, width, equation, attach):
        found.append(Site(name, axis, width, equation, len(found), attach))

    add("text", "token", conditioner.dim, "T5(prompt)", _on_t5(conditioner.t5))
    add("cond", "token", width, "W text", _on_conditioner(conditioner))
    add("embed", "frame", width, "Σₖ Eₖ[codeₖ] + position", _on_input(blocks[0]))
    for i, block in enumerate(blocks):
        stream = f"resid.{i - 1}" if i else "embed"
        add(f"attn.{i}", "frame", width, f"attention(LN({stream}))", _on_output(block.layer_scale_1))
        add(
            f"cross.{i}",
            "frame",
            width,
            f"cross-attention(LN({stream} + attn.{i}), cond)",
            _on_output(block.layer_scale_cross),
        )
        add(f"mlp.{i}", "frame", width, f"MLP(LN({stream} + attn.{i} + cross.{i}))", _on_output(block.layer_scale_2))
        add(f"resid.{i}", "frame", width, f"{stream} + attn.{i} + cross.{i} + mlp.{i}", _on_output(block))
    add("logits", "frame", lm.card, f"Uₖ LN(resid.{len(blocks) - 1})", _on_heads(lm.linears))
    return {site.name: site for site in found}


def at(model: Model, depth: float, kind: str = "resid") -> str:
    """The site of a kind at a relative depth, so that a question may be asked of models of any size.

    Parameters
    ----------
    depth : float, 0 to 1
        0 is the first block, 1 the last.
    kind : str
        "resid", "attn", "cross" or "mlp".

    Raises
    ------
    ValueError
        For a depth outside 0 to 1, or another kind.
    """
    if not 0 <= depth <= 1 or kind not in ("resid", "attn", "cross", "mlp"):
        raise ValueError(f"depth must be from 0 to 1, kind resid, attn, cross or mlp. Got {depth!r} and {kind!r}.")
    return f"{kind}.{round(depth * (len(model.lm.transformer.layers) - 1))}"


def select(model: Model, names: str | Iterable[str]) -> list[Site]:
    """Sites by name or glob ("resid.*"), in the order of the computation.

    Raises
    ------
    ValueError
        For a name that no site has; the message lists those there are.
    """
    there = sites(model)
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if not isinstance(name, str) or not fnmatch.filter(there, name):
            last = len(model.lm.transformer.layers) - 1
            raise ValueError(
                f"{model.name} has no site {name!r}. There are text, cond, embed, logits and attn.i, cross.i, mlp.i, "
                f"resid.i for i from 0 to {last}; globs such as 'resid.*' select several."
            )
    if not names:
        raise ValueError("sites is empty: name at least one, such as 'resid.*'.")
    return [site for site in there.values() if any(fnmatch.fnmatchcase(site.name, n) for n in names)]


def _on_output(module):
    def attach(handler):
        return [module.register_forward_hook(lambda _module, _args, output: handler(output))]

    return attach


def _on_input(module):
    def attach(handler):
        def hook(_module, args):
            changed = handler(args[0])
            return None if changed is None else (changed, *args[1:])

        return [module.register_forward_pre_hook(hook)]

    return attach


def _on_t5(t5):
    def attach(handler):
        def hook(_module, _args, output):
            changed = handler(output.last_hidden_state)
            if changed is not None:
                output.last_hidden_state = changed
            return output

        return [t5.register_forward_hook(hook)]

    return attach


def _on_conditioner(conditioner):
    def attach(handler):
        def hook(_module, _args, output):
            changed = handler(output[0])
            return output if changed is None else (changed, output[1])

        return [conditioner.register_forward_hook(hook)]

    return attach


def _on_heads(heads):
    def attach(handler):
        return [
            head.register_forward_hook(lambda _module, _args, output, k=k: handler(output, codebook=k))
            for k, head in enumerate(heads)
        ]

    return attach


@contextmanager
def _attached(*attachments):
    """Hooks that are gone on leaving, whatever happens."""
    with ExitStack() as stack:
        for attach, *handler in attachments:
            for handle in attach(*handler):
                stack.callback(handle.remove)
        yield


# ------------------------------------------------------------------------------------------------- capture
def capture(
    model: Model,
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
        One parallel pass over the clips' tokens, or the clips generated once more step by step. Both give the same.
    stream : "cond", "uncond" or "both"
        "both" adds the dim ``stream``.
    reduce : None, "mean" or callable
        What becomes of the frame (or token) axis: kept, averaged, or given to the callable as a tensor
        [clip, frame, dim], which returns a tensor [clip, ...].
    dtype : str
        Of the result.
    delay : int
        Frame t is read at position t + delay.
    labels : mapping or DataFrame, optional
        name -> one value a clip: kept as coordinates (emotion, word, ...).
    out : str or Path, optional
        A zarr store to fill piece by piece instead of memory: for captures larger than memory, and for those that
        should survive a kill (the same call goes on where it was).
    pieces : list of slice, optional
        Which of the store's pieces to write (some of ``Store.todo``): then the store is returned as it is.

    Returns
    -------
    xr.Dataset or Store
        One variable a site, dims (clip, [stream,] frame or token, dim); for ``text`` the last is ``text_dim``, for
        ``logits`` there are codebook and card. Missing text tokens (shorter prompts) are NaN. Coordinates: prompt, seed,
        stream, time (s) and the labels.

    Raises
    ------
    ValueError
        Unknown site, stream, how or delay, labels that do not match the clips; before any work starts.
    StoreError
        ``out`` holds something else, or the disk is full; what was captured is kept.
    """
    plan = _Plan.make(model, clips, sites, how, stream, reduce, dtype, delay)
    coords = _coordinates(model, clips, plan, labels)
    n = len(clips)
    if out is None:
        if pieces is not None:
            raise ValueError("pieces are those of a store: give out, too.")
        target, todo = None, [slice(0, n)]
    else:
        arrays = {site: (dims, (n, *shape), dtype) for site, (dims, shape) in plan.layout.items()}
        target = store.Store(out, arrays, coords, _identity(model, clips, plan, labels), batch_size)
        todo = target.todo if pieces is None else pieces
    with tqdm(total=n, desc=f"capture ({how})", unit="clip", disable=not progress, leave=False) as bar:
        bar.update(n - sum(p.stop - p.start for p in todo))
        for piece in todo:
            clips_here = range(piece.start, piece.stop)
            got = {s: np.full((len(clips_here), *shape), np.nan, dtype) for s, (_, shape) in plan.layout.items()}
            for batch in model.batches([clips.prompts[i] for i in clips_here], batch_size):
                for site, values in _batch(model, clips, [clips_here[i] for i in batch], plan).items():
                    got[site][(batch, *(slice(0, size) for size in values.shape[1:]))] = values
                bar.update(len(batch))
            if target is not None:
                target.write(piece, got)
    if target is not None:
        return store.open(out) if pieces is None else target
    result = coords.assign({site: (plan.layout[site][0], got[site]) for site in got})
    return result.assign_attrs(model=model.name, how=how, delay=delay)


@dataclass(frozen=True)
class _Plan:
    sites: list[Site]
    how: str
    streams: tuple[str, ...]
    reduce: Callable | None
    reduced: str
    dtype: str
    delay: int
    layout: dict  # site -> (dims, shape of one clip)

    @staticmethod
    def make(model, clips, names, how, stream, reduce, dtype, delay):
        chosen = select(model, names)
        if how not in ("replay", "live"):
            raise ValueError(f"how must be 'replay' or 'live'. Got {how!r}.")
        if stream not in (*STREAMS, "both"):
            raise ValueError(f"stream must be 'cond', 'uncond' or 'both'. Got {stream!r}.")
        delays = model.lm.pattern_provider.delays
        if not isinstance(delay, int) or not 0 <= delay <= max(delays):
            raise ValueError(f"delay must be an integer from 0 to {max(delays)}. Got {delay!r}.")
        if np.dtype(dtype).kind != "f":
            raise ValueError(f"dtype must be a float type such as 'float32' or 'float16'. Got {dtype!r}.")
        if clips.tokens.ndim != 3 or clips.tokens.shape[1] != model.lm.n_q or clips.tokens.max() >= model.lm.card:
            raise ValueError(
                f"{model.name} has {model.lm.n_q} codebooks of {model.lm.card} tokens. The clips hold tokens of shape "
                f"{clips.tokens.shape} up to {clips.tokens.max()}: are they of another model?"
            )
        if not (reduce is None or reduce == "mean" or callable(reduce)):
            raise ValueError(f"reduce must be None, 'mean' or a function. Got {reduce!r}.")
        function = (lambda x: x.mean(1)) if reduce == "mean" else reduce
        streams = STREAMS if stream == "both" else (stream,)
        tokens = max(map(model._length, clips.prompts))
        layout = {}
        for site in chosen:
            steps = tokens if site.axis == "token" else clips.tokens.shape[-1]
            dims, shape = [site.axis, "text_dim" if site.name == "text" else "dim"], [steps, site.width]
            if site.name == "logits":
                dims, shape = ["frame", "codebook", "card"], [steps, model.lm.n_q, site.width]
            if function is not None:
                shape = list(function(torch.zeros(1, *shape)).shape[1:])
                dims = dims[1:] if len(shape) == len(dims) - 1 else [f"{site.name}_{i}" for i in range(len(shape))]
            if stream == "both":
                dims, shape = ["stream", *dims], [2, *shape]
            layout[site.name] = (("clip", *dims), tuple(shape))
        reduced = reduce if isinstance(reduce, str | None) else getattr(reduce, "__qualname__", "function")
        return _Plan(chosen, how, streams, function, str(reduced), dtype, delay, layout)


def _batch(model, clips, batch, plan):
    """Activations of some clips with equally long prompts: site -> array [clip, (stream,) ...]."""
    kept, frames = {}, clips.tokens.shape[-1]
    live, deepest = plan.how == "live", plan.sites[-1]
    steps = frames + max(model.lm.pattern_provider.delays)

    def handler(site):
        def keep(x, codebook=None):
            x = x.detach()  # audiocraft's text conditioner turns gradients on where T5 was trained along
            key = site.name if codebook is None else (site.name, codebook)
            if live and site.axis == "frame":
                if key not in kept:
                    kept[key] = x.new_empty((len(x), steps, x.shape[-1]))
                kept[key][:, model.position : model.position + x.shape[1]] = x
            else:
                kept[key] = x
            if site is deepest and site.name != "logits" and not live:
                raise _Stop

        return keep

    with (
        torch.no_grad(),
        model.numbered(batch, len(clips)),
        _attached(*((site.attach, handler(site)) for site in plan.sites)),
    ):
        prompts = [clips.prompts[i] for i in batch]
        if live:
            again = model.generate(
                prompts, seed=[clips.seeds[i] for i in batch], batch_size=len(batch), progress=False, **clips.settings
            )
            if not np.array_equal(again.tokens, clips.tokens[batch]):
                raise ValueError(
                    "These clips are not what the model generates from their prompts and seeds: use 'replay'."
                )
        else:
            try:
                model.replay(clips.tokens[batch], prompts, plan.streams)
            except _Stop:
                pass
    rows = STREAMS if live else plan.streams
    return {
        site.name: _shape(site, kept, plan, rows, len(batch), frames, model.lm.pattern_provider.delays)
        for site in plan.sites
    }


def _shape(site, kept, plan, rows, n, frames, delays):
    """From rows and positions to clips, streams and frames."""
    if site.name == "logits":  # codebook k of frame t is predicted at position t + delay of k
        x = torch.stack([kept[site.name, k][:, d : d + frames] for k, d in enumerate(delays)], 2)
    else:
        x = kept[site.name]
        x = x[:, plan.delay : plan.delay + frames] if site.axis == "frame" else x
    parts = [x[n * rows.index(s) : n * (rows.index(s) + 1)] for s in plan.streams]
    if plan.reduce is not None:
        parts = [plan.reduce(part) for part in parts]
    x = parts[0] if len(parts) == 1 else torch.stack(parts, 1)
    return x.float().cpu().numpy()


def _coordinates(model, clips, plan, labels):
    """What is known about each clip and frame."""
    n, frames = len(clips), clips.tokens.shape[-1]
    coords = {"clip": np.arange(n), "prompt": ("clip", clips.prompts), "seed": ("clip", clips.seeds)}
    dims = {d for dims, _ in plan.layout.values() for d in dims}
    if "frame" in dims:
        coords |= {"frame": np.arange(frames), "time": ("frame", np.arange(frames) / clips.frame_rate)}
    coords["stream"] = list(plan.streams) if "stream" in dims else plan.streams[0]
    for name, values in labels.items() if labels is not None else ():
        values = np.asarray(values)
        if values.shape != (n,):
            raise ValueError(f"labels[{name!r}] must hold one value for each of {n} clips. Got shape {values.shape}.")
        if name in coords and name not in ("prompt", "seed"):
            raise ValueError(f"labels may not be called {name!r}: that is a dimension.")
        coords[name] = ("clip", values.astype(str) if values.dtype.kind == "O" else values)
    return xr.Dataset(coords=coords)


def _identity(model, clips, plan, labels):
    """What a store's content follows from."""
    text = "\n".join(clips.prompts).encode() + clips.tokens.tobytes() + repr(clips.seeds).encode()
    known = "" if labels is None else repr({k: list(map(str, v)) for k, v in labels.items()})
    return {
        "model": model.name,
        "weights": model.fingerprint,
        "clips": f"{len(clips)}, {zlib.crc32(text):08x}",
        "labels": f"{zlib.crc32(known.encode()):08x}",
        "sites": [site.name for site in plan.sites],
        "how": plan.how,
        "streams": list(plan.streams),
        "reduce": plan.reduced,
        "dtype": plan.dtype,
        "delay": plan.delay,
    }


def offset_free(x: xr.DataArray) -> xr.DataArray:
    """Vectors without their own mean over channels: what a pre-norm block sees of the residual stream.

    A constant added to all channels changes a raw cosine and nothing else, because LayerNorm subtracts it.
    """
    return x - x.mean(x.dims[-1])


def centred(x: xr.DataArray) -> xr.DataArray:
    """Vectors without what is common to all clips."""
    return x - x.mean("clip")


# ---------------------------------------------------------------------------------------------------- edit
@dataclass(frozen=True)
class Edit:
    """A change to a site: exactly one operation, y = f(x), applied as x + scale * (f(x) - x).

    Attributes
    ----------
    site : str
        Name or glob.
    add : array_like [shape=(dim,), (clip, dim) or (clip, step, dim)]
        f(x) = x + add.
    replace : array_like, same shapes
        f(x) = replace.
    multiply : float or array_like [shape=(dim,)]
        f(x) = x * multiply.
    ablate : array_like [shape=(dim,) or (k, dim)]
        f(x) = x without its component in the span of these directions.
    project : array_like [shape=(dim,) or (k, dim)]
        f(x) = that component alone.
    interchange : array_like [shape=(dim,) or (k, dim)]
        f(x) = x with that component as the stream "beside" has it: ``generate(..., beside=prompts)`` runs that stream, over
        the tokens that the edited one leads to (interchange intervention: Geiger et al. 2023).
    apply : callable
        f itself, on a tensor [row, step, dim]: a sparse autoencoder's reconstruction, for example.
    scale : float or array_like [shape=(clip,), (clip, step) or (1, step)]
        0 changes nothing, 1 all; one value a clip makes a dose-response curve of one batch.
    clips, frames : sequence of int, optional
        Which clips, which steps (frames, or text tokens); by default all. Step t is position t, as in ``capture``.
    stream : "cond", "uncond" or "both"
    """

    site: str
    add: object = None
    replace: object = None
    multiply: object = None
    ablate: object = None
    project: object = None
    interchange: object = None
    apply: Callable | None = None
    scale: object = 1.0
    clips: Iterable[int] | None = None
    frames: Iterable[int] | slice | None = None
    stream: str = "cond"


@contextmanager
def edit(model: Model, *edits: Edit):
    """Change sites while the model runs: inside this context, ``generate``, ``capture`` and ``replay`` feel the edits.

    Edits of the same site compose in the order in which they are given. A site captured inside the context is seen as
    edited. On leaving, also by an exception, the model is what it was.

    Raises
    ------
    ValueError
        Unknown site, wrong shape, not exactly one operation, values that are not finite; before anything runs. A number
        of values that does not match the number of clips, when the model runs.
    """
    attachments = []
    for e in edits:
        for site in select(model, e.site):
            attachments.append((site.attach, _editor(model, site, e)))
    with _attached(*attachments):
        model.edits += 1
        try:
            yield model
        finally:
            model.edits -= 1


def _editor(model, site, e):
    """The hook's function for one edit of one site, after checking all that can be checked beforehand."""
    given = [name for name in OPERATIONS if getattr(e, name) is not None]
    if len(given) != 1:
        raise ValueError(f"An edit needs exactly one of {', '.join(OPERATIONS)}. Got {given or 'none'}.")
    if e.stream not in (*STREAMS, "both"):
        raise ValueError(f"stream must be 'cond', 'uncond' or 'both'. Got {e.stream!r}.")
    operation, where = given[0], f"{given[0]} at {site.name}"
    value = getattr(e, operation) if operation == "apply" else _values(model, site, operation, getattr(e, operation))
    scale = _tensor(model, e.scale, f"scale of {where}")
    if scale.ndim > 2:
        raise ValueError(f"scale of {where} must be a number, one a clip, or [clip, step]. Got {tuple(scale.shape)}.")
    scale = scale.reshape(*scale.shape, *[1] * (3 - scale.ndim))
    chosen = None if e.clips is None else set(map(int, e.clips))
    along, streams = operation in ("add", "replace"), set(STREAMS if e.stream == "both" else (e.stream,))

    def handler(x, codebook=None):
        rows = model.rows
        if rows is None:
            raise RuntimeError("An edit works inside generate, capture and replay.")
        n, first = len(rows.clips), model.position if site.axis == "frame" else 0
        factor = _at(scale, rows, first, x, f"scale of {where}")
        there = _at(value, rows, first, x, where) if along else value
        if along and value.shape[1] > 1:  # past the last step given, nothing is changed
            factor = factor * (torch.arange(first, first + x.shape[1], device=x.device) < value.shape[1])[:, None]
        if chosen is not None:
            factor = factor * torch.tensor([c in chosen for c in rows.clips], device=x.device)[:, None, None]
        if e.frames is not None:
            factor = factor * _steps(e.frames, first, x.shape[1]).to(x.device)[:, None]
        parts = dict(zip(rows.streams, x.split(n), strict=True))
        if operation == "interchange" and "beside" not in parts:
            raise ValueError(f"{where} takes from the stream 'beside', which generate(..., beside=prompts) runs.")
        for stream in streams & set(parts):
            own = parts[stream]
            parts[stream] = own + factor.to(x) * (_operate(operation, there, own, parts.get("beside")) - own)
        return torch.cat(list(parts.values()))

    return handler


def _operate(operation, value, x, beside):
    if operation == "apply":
        return value(x)
    value = value.to(x)
    if operation == "multiply":
        return x * value
    if operation in ("ablate", "project"):
        inside = (x @ value) @ value.T
        return inside if operation == "project" else x - inside
    if operation == "interchange":
        return x + ((beside - x) @ value) @ value.T
    return x + value if operation == "add" else value


def _values(model, site, operation, given):
    """Checked values of an operation: [clip or 1, step or 1, dim], an orthonormal basis [dim, k], or a factor."""
    value = _tensor(model, given, f"{operation} at {site.name}")
    basis = operation in ("ablate", "project", "interchange")
    axes = {"multiply": (0, 1)}.get(operation, (1, 2) if basis else (1, 2, 3))
    if value.ndim not in axes or (value.ndim and value.shape[-1] != site.width):
        raise ValueError(
            f"{operation} at {site.name} needs values whose last axis has {site.width} numbers. Got {tuple(value.shape)}."
        )
    if basis:
        return torch.linalg.qr(torch.atleast_2d(value).T).Q
    if operation == "multiply":
        return value
    return value if value.ndim == 3 else torch.atleast_2d(value)[:, None]


def _tensor(model, values, where):
    tensor = torch.as_tensor(np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values))
    if tensor.is_complex() or tensor.dtype == torch.bool or not torch.isfinite(tensor.float()).all():
        raise ValueError(f"{where} must hold finite numbers.")
    return tensor.float().to(model.device)


def _at(values, rows, first, x, where):
    """The part of values [clip or 1, step or 1, ...] that belongs to these rows and steps; past the last step: zero."""
    if values.shape[0] not in (1, rows.total):
        raise ValueError(f"{where} holds values for {values.shape[0]} clips, but there are {rows.total}.")
    here = values if values.shape[0] == 1 else values[rows.clips]
    if values.shape[1] == 1:
        return here
    here = here[:, first : first + x.shape[1]]
    return torch.nn.functional.pad(here, (0, 0, 0, x.shape[1] - here.shape[1]))


def _steps(frames, first, n):
    """Which of the steps first, first + 1, ... are among ``frames``."""
    steps = torch.arange(first, first + n)
    if isinstance(frames, slice):
        start, stop, stride = frames.start or 0, frames.stop, frames.step or 1
        inside = (steps >= start) & ((steps - start) % stride == 0)
        return inside if stop is None else inside & (steps < stop)
    return torch.isin(steps, torch.as_tensor(list(frames)))
