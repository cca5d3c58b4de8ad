"""Generate and capture in pieces, on many GPUs or machines or one piece after the other.

Ray starts a piece again when its worker dies, and what was written stays written. Workers load a
model by its name or folder; what was done to the one that is given travels with the pieces, or is
refused: edits in force are applied there, its adapter is added there, and a model whose weights
were changed is not taken for the one that workers load. On a cluster, this package must be
installed on every machine, and folders (of a model, of an adapter) must have the same path there.
"""

import importlib.util
import os
import platform
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from .. import check
from ..cache import digest
from ..musicgen import activations, hooks, loading, store
from ..musicgen.clips import Clips
from ..musicgen.model import Model
from ..musicgen.run import Part
from . import cluster
from .cluster import ScaleError


class Origin(NamedTuple):
    """What a worker needs to have the model that was given here.

    Attributes
    ----------
    name : str
        Of a released or shipped model, or the absolute path of a folder.
    device : str or None
        Its kind ("cpu", "cuda"); None takes the best that the worker has.
    identity : tuple of (part, digest) or None
        What the model consists of here (``Model.identity``, the codec included); None where there
        is none here.
    adapter : str or None
        The absolute path of an adapter's folder.
    """

    name: str
    device: str | None = None
    identity: tuple | None = None
    adapter: str | None = None

    def __str__(self):
        return self.name if self.adapter is None else f"{self.name} with {self.adapter}"


# ----------------------------------------------------------------------------------------- any work
def each(
    task: Callable,
    name: str | Model,
    items: Iterable,
    *,
    workers: int = 0,
    address: str | None = None,
    retries: int = 3,
    progress: bool = True,
) -> list:
    """``task(model, item)`` for every item, in order.

    Parameters
    ----------
    task : callable
        Gets the loaded model and one item; with workers, both it and what it returns must pickle,
        and what it changes elsewhere (a list that it appends to, say) stays on the worker.
    name : str or Model
        Every worker loads it once, by its name or folder: a given Model on the same kind of device,
        with its adapter, under the edits that are in force here.
    items : iterable
    workers : int
        0 works in this process. Else so many items are under way at once, each on a CPU, or on a
        GPU of its own where the cluster has any.
    address : str, optional
        Of a Ray cluster ("auto" for the one this machine belongs to); by default Ray is started
        here.
    retries : int
        How often an item whose worker died is started again.

    Raises
    ------
    ValueError, TypeError
        A number of workers or retries below 0, or none.
    ScaleError
        Ray is not installed, no cluster at ``address``, it vanished, a worker died more than
        ``retries`` times; something does not pickle; or workers load another model than the one
        given, because its weights were changed, or none.
    """
    workers = check.count("workers", workers, 0)
    retries = check.count("retries", retries, 0)
    items = list(items)
    if not items:
        return []
    if not workers:
        m = _model(name)
        shown = tqdm(items, desc="pieces", disable=not progress, leave=False)
        return [task(m, item) for item in shown]
    edits = name.edits if isinstance(name, Model) else ()
    job = _pickled_job(task, _origin(name), edits)
    return _spread(job, items, workers, address, retries, progress)


def _spread(job, items, workers, address, retries, progress):
    """The results of all items, in order."""
    results = [None] * len(items)
    packed = [_pickled(f"items[{number}]", item) for number, item in enumerate(items)]
    arriving = cluster.run(job, packed, workers, address, retries)
    label = f"pieces, {workers} workers"
    shown = tqdm(arriving, desc=label, total=len(items), disable=not progress, leave=False)
    for number, result in shown:
        results[number] = result
    return results


# ----------------------------------------------------------------------------------------- captures
def capture(
    name: str | Model,
    clips: Clips,
    sites: str | Iterable[str],
    out: str | Path,
    *,
    workers: int = 0,
    address: str | None = None,
    retries: int = 3,
    progress: bool = True,
    **settings,
) -> xr.Dataset:
    """``activations.capture`` into a store, spread over workers.

    Parameters
    ----------
    name : str or Model
    clips, sites, settings
        As in ``activations.capture``.
    out : str
        Where all workers can write: a shared folder, or any URL that fsspec knows
        ("s3://bucket/run", whose credentials every machine must have).
    workers, address, retries, progress
        As in :func:`each`.

    Returns
    -------
    xr.Dataset
        As from ``activations.capture``, which also goes on where this was interrupted, and the
        reverse.

    Raises
    ------
    ValueError
        As ``activations.capture``; a store in the memory of one process, with workers.
    StoreError
        ``out`` holds something else, or the disk is full.
    ScaleError
        As in :func:`each`; or a worker's machine does not find the store at ``out``.
    """
    workers = check.count("workers", workers, 0)
    retries = check.count("retries", retries, 0)
    out = _shared(out, workers)
    sites = sites if isinstance(sites, str) else list(sites)
    m = _model(name)
    if not workers:
        return activations.capture(
            m, clips, sites, out=out, pieces=None, progress=progress, **settings
        )
    target = activations.capture(m, clips, sites, out=out, pieces=[], progress=False, **settings)
    task = partial(
        _write,
        clips=clips.silent(),
        sites=sites,
        out=out,
        settings=settings,
        made=store.identity(out),
    )
    _each_piece(task, name, m, target.todo, workers, address, retries, progress)
    return store.open(out)


def _write(m, piece, clips, sites, out, settings, made):
    """Write one piece of a capture's store, on a worker."""
    _refuse_another_place(out, made)
    with _known(m):
        activations.capture(m, clips, sites, out=out, pieces=[piece], progress=False, **settings)


@contextmanager
def _known(m):
    """Let a worker's model say what it is without hashing all its weights for every piece.

    That holds inside a capture, which does not change them.
    """
    m.identity = partial(_identity, m)
    try:
        yield
    finally:
        del m.identity


@cache
def _identity(m, audio=False):
    return Model.identity(m, audio)


# --------------------------------------------------------------------------------------- generation
def generate(
    name: str | Model,
    prompts: Iterable[str],
    seconds: float = 6.0,
    seed: int | list[int] = 0,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    cfg: float | None = None,
    negative: str = "",
    beside: Iterable[str] = (),
    stride: float | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    workers: int = 0,
    at_once: int = 32,
    address: str | None = None,
    retries: int = 3,
    decode: bool = True,
    progress: bool = True,
) -> Clips:
    """``Model.generate``, spread over workers: the same clips.

    Parameters
    ----------
    name : str or Model
    prompts, seconds, seed, temperature, top_k, cfg, negative, beside, stride, batch_size
        As in ``Model.generate``.
    out : str, optional
        A store for the tokens, as in :func:`capture`: what is in it is not generated again, however
        the run before ended.
    at_once : int
        Clips a piece; a store that is there already keeps its own.
    decode : bool
        False leaves the audio empty: for so many clips that it would not fit in memory.
    workers, address, retries, progress
        As in :func:`each`.

    Raises
    ------
    ValueError, TypeError, StoreError, ScaleError
        As in ``Model.generate`` and :func:`capture`.
    """
    workers = check.count("workers", workers, 0)
    retries = check.count("retries", retries, 0)
    at_once = check.count("at_once", at_once)
    batch_size = check.count("batch_size", batch_size, optional=True)
    m = _model(name)
    prompts = check.texts("prompts", prompts)
    seeds = check.seeds(seed, len(prompts))
    beside = beside if isinstance(beside, str) else list(beside)
    if beside:
        beside = check.texts("beside", beside, len(prompts))
    settings = m.settings(seconds, temperature, top_k, cfg, negative, stride)
    pieces = [slice(k, min(k + at_once, len(prompts))) for k in range(0, len(prompts), at_once)]
    kept = made = None
    if out is not None:
        kept = _token_store(m, _shared(out, workers), prompts, seeds, settings, beside, at_once)
        pieces = store.Store(**kept).todo
        made = store.identity(kept["url"])
    task = partial(
        _sing,
        prompts=prompts,
        seeds=seeds,
        settings=settings,
        beside=beside,
        batch_size=batch_size,
        kept=kept,
        made=made,
    )
    parts = _each_piece(task, name, m, pieces, workers, address, retries, progress)
    tokens = np.concatenate(parts) if kept is None else _stored_tokens(kept["url"])
    audio = m.decode(tokens) if decode else np.zeros((len(tokens), 0), np.float32)
    return Clips(tokens, audio, m.sample_rate, m.frame_rate, prompts, seeds, settings)


def _sing(m, piece, prompts, seeds, settings, beside, batch_size, kept, made):
    """Generate one piece: its tokens, or into the store.

    Edits see the numbers that its clips have in the whole call.
    """
    if kept is not None:
        _refuse_another_place(kept["url"], made)
    tokens = m.sing(
        prompts[piece],
        seeds[piece],
        settings,
        m.frames(settings["seconds"]),
        Part(range(piece.start, piece.stop), len(prompts)),
        beside=beside[piece],
        size=batch_size,
    )
    if kept is None:
        return tokens
    store.Store(**kept).write(piece, {"tokens": tokens})
    return None


def _token_store(m, url, prompts, seeds, settings, beside, at_once):
    """The store of generated tokens, named by all that they follow from."""
    clips = len(prompts)
    what = m.follows_from(prompts, seeds, settings, beside, Part(range(clips), clips))
    identity = {key: digest(value) for key, value in what.items() if key != "settings"}
    kind = "int16" if m.lm.card <= np.iinfo(np.int16).max else "int32"
    shape = (clips, m.lm.n_q, m.frames(settings["seconds"]))
    coords = {"prompt": ("clip", np.array(prompts)), "seed": ("clip", np.array(seeds))}
    return {
        "url": url,
        "arrays": {"tokens": (("clip", "codebook", "frame"), shape, kind)},
        "coords": xr.Dataset(coords=coords),
        "identity": {**identity, **settings},
        "piece": at_once,
    }


def _stored_tokens(url):
    return store.open(url)["tokens"].values.astype(np.int64)


# ------------------------------------------------------------------------------ here and on workers
def _each_piece(task, name, m, pieces, workers, address, retries, progress):
    """As :func:`each`, for a model that was loaded here: workers must have the same."""
    if not workers or not pieces:
        return each(task, m, pieces, progress=progress)
    job = _pickled_job(task, _origin(name, m), m.edits)
    return _spread(job, pieces, workers, address, retries, progress)


def _model(name):
    return name if isinstance(name, Model) else loading.load(name)


def _origin(given, loaded=None):
    """How workers have the model that was given, as it is here."""
    here = given if isinstance(given, Model) else loaded
    changed = [] if here is None else hooks.there(here.lm, here.codec)
    if changed:
        part, module, *_ = changed[0]
        raise ScaleError(
            f"There is a hook, or a function in the place of forward, on {module or 'the whole'} of "
            f"the {part}, and workers load the model anew, without it. Remove it, use "
            "activations.edit, which workers get, or workers=0."
        )
    if isinstance(given, Model):
        name, adapter = given.adapted or (given.name, None)
        return Origin(_absolute(name), given.device.type, _frozen(given), adapter)
    return Origin(_absolute(given), None, None if loaded is None else _frozen(loaded))


def _frozen(m):
    return tuple(m.identity(audio=True).items())


def _absolute(name):
    """A folder's absolute path, which means the same to a worker; any other name as it is."""
    if name not in loading.shipped() and os.path.isdir(name):
        return os.path.abspath(name)
    return name


def _shared(out, workers):
    """A place that means the same to every worker."""
    if workers and str(out).startswith("memory:"):
        raise ValueError(
            f"Workers cannot share {out}: choose a folder or a URL that all of them reach."
        )
    return str(out) if "://" in str(out) else str(check.path("out", out).absolute())


def _refuse_another_place(url, made):
    """Refuse to work where a place is not the one at which the call made its store.

    On a machine that does not share it, a worker would make a store of its own, and what it wrote
    there would be found missing after all the work.

    Parameters
    ----------
    url : str
    made : dict
        The identity of the store that was made.
    """
    try:
        found = store.identity(url)
    except store.Unreachable:
        raise
    except store.StoreError:
        found = None
    if found != made:
        raise ScaleError(
            f"A worker on {platform.node()} does not find at {url} the store that this call made "
            "there: its machine has another folder of that name, or none. Choose a folder that all "
            "machines share, or a bucket (s3://bucket/run)."
        )


def _pickled_job(task, origin, edits):
    """The function that workers call on each item."""
    _pickled("the edits in force", edits)  # apart, so that an error names them
    job = partial(_on_worker, task, origin, edits, torch.get_num_threads())
    return _pickled("the task", job)


def _pickled(what, value):
    """Pickled as Ray does it, functions and classes of a notebook included."""
    if importlib.util.find_spec("ray") is None:
        raise ScaleError(
            "Workers need Ray: pip install 'musicgen-emotion-book[scale]', or use workers=0."
        )
    from ray import cloudpickle

    try:
        return cloudpickle.dumps(value)
    except Exception as error:  # pickling calls whatever methods an object has
        raise ScaleError(
            f"{what[:1].upper()}{what[1:]} cannot be sent to workers ({type(error).__name__}: "
            f"{error}). Use workers=0, or leave out what does not pickle."
        ) from error


def _on_worker(task, origin, edits, threads, item):
    torch.set_num_threads(threads)  # Ray says one: sums in another order would be other numbers
    m = _loaded(origin)
    with activations.edit(m, *edits):
        return task(m, item)


@cache
def _loaded(origin):
    """The model on a worker, loaded once, and the same as where the work was given.

    Raises
    ------
    ScaleError
        It is another one, or there is none by that name.
    """
    if origin.identity is None:
        return loading.load(origin.name, origin.device)
    wanted = dict(origin.identity)
    dtype = wanted["dtype"].removeprefix("torch.")
    try:
        m = loading.load(origin.name, origin.device, dtype, origin.adapter)
    except loading.ModelError as error:
        raise ScaleError(
            f"Workers load {origin} by its name, and here that gives no model: {error} Save the "
            "model as a folder that workers reach and load that, or use workers=0."
        ) from error
    found = m.identity(audio=True)
    different = [part for part in wanted if wanted[part] != found.get(part)]
    if "dtype" in different:
        raise ScaleError(
            f"Workers compute {origin} in {found['dtype']}, and it was loaded in "
            f"{wanted['dtype']} where the work was given: results would differ. Give the work on a "
            "machine with the same kind of device, or a model loaded for one that workers have."
        )
    if different:
        raise ScaleError(
            f"Workers load {origin} by its name, and what they load differs from the model "
            f"given in {' and '.join(different)}: its weights were changed after loading, or the "
            "files are others. Save the changed model as a folder and load that, or use workers=0."
        )
    return m
