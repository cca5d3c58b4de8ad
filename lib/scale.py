"""The same work on many GPUs or machines: pieces of clips spread over Ray workers, or done one after the other without them.

A piece is computed alike everywhere, with the same clips in the same batches and as many threads, so the result is the same
bit for bit on like machines (in other batches the last bits of activations differ). Ray starts a piece again when its worker
dies; what was written stays written. On a cluster, this package must be installed on every machine.
"""

import os
import zlib
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from lib import activations, cluster, model, store
from lib.cluster import ScaleError
from lib.model import Clips, Model


def each(
    task: Callable,
    name: str | Model,
    items: Sequence,
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
        Gets the loaded model and one item; with workers, both it and what it returns must pickle.
    name : str or Model
        Every worker loads the model of this name once.
    items : sequence
    workers : int
        0 works in this process. Else so many items are under way at once, each on a CPU, or on a GPU of its own where the cluster has any.
    address : str, optional
        Of a Ray cluster ("auto" for the one this machine belongs to); by default Ray is started here.
    retries : int
        How often an item whose worker died is started again.

    Raises
    ------
    ValueError
        A number of workers or retries below 0.
    ScaleError
        Ray is not installed, no cluster at ``address``, it vanished, or a worker died more than ``retries`` times.
    """
    if workers < 0 or retries < 0:
        raise ValueError(f"workers and retries must be 0 or more. Got {workers} and {retries}.")
    if not items:
        return []
    show = {"disable": not progress, "leave": False}
    if not workers:
        m = _model(name)
        return [task(m, item) for item in tqdm(items, desc="pieces", **show)]
    try:
        from ray import cloudpickle
    except ImportError as error:
        raise ScaleError("Workers need Ray: pip install 'musicgen-emotion-book[scale]', or use workers=0.") from error
    name = name.name if isinstance(name, Model) else name
    name = os.path.abspath(name) if os.path.isdir(name) else name
    told = cloudpickle.dumps(partial(_on_worker, task, name, torch.get_num_threads()))
    results = [None] * len(items)
    done = cluster.run(told, [cloudpickle.dumps(item) for item in items], workers, address, retries)
    for i, result in tqdm(done, desc=f"pieces, {workers} workers", total=len(items), **show):
        results[i] = result
    return results


def capture(
    name: str | Model, clips: Clips, sites, out, *, workers: int = 0, address: str | None = None, retries: int = 3,
    progress: bool = True, **how,
):  # fmt: skip
    """``activations.capture`` into a store, spread over workers.

    Parameters
    ----------
    name : str or Model
    clips, sites, how
        As in ``activations.capture``.
    out : str
        Where all workers can write: a shared folder, or any URL that fsspec knows.

    Returns
    -------
    xr.Dataset
        As from ``activations.capture``, which also goes on where this was interrupted, and the reverse.

    Raises
    ------
    ValueError
        A store in the memory of one process.
    StoreError, ScaleError
    """
    out, m = _shared(out, workers), _model(name)
    target = activations.capture(m, clips, sites, out=out, pieces=[], progress=False, **how)
    silent = Clips(clips.tokens, clips.audio[:, :0], *list(vars(clips).values())[2:])  # workers need no sound
    task = partial(_write, clips=silent, sites=sites, out=out, how=how)
    each(task, m, target.todo, workers=workers, address=address, retries=retries, progress=progress)
    return store.open(out)


def _write(m, piece, clips, sites, out, how):
    activations.capture(m, clips, sites, out=out, pieces=[piece], progress=False, **how)


def generate(
    name: str | Model, prompts: list[str], seconds: float = 6.0, seed: int | list[int] = 0, *, out=None, workers: int = 0,
    at_once: int = 32, address: str | None = None, retries: int = 3, decode: bool = True, progress: bool = True, **settings,
) -> Clips:  # fmt: skip
    """``Model.generate``, spread over workers ``at_once`` clips a piece: the same clips.

    Parameters
    ----------
    out : str, optional
        A store for the tokens, as in ``capture``: what is in it is not generated again, however the run before ended.
    decode : bool
        False leaves the audio empty: for so many clips that it would not fit in memory.
    """
    if at_once < 1:
        raise ValueError(f"at_once must be 1 clip or more. Got {at_once!r}.")
    m, prompts = _model(name), model._check_prompts(prompts)
    seeds, seconds = model._check_seeds(seed, prompts), model._number("seconds", seconds, 0, m.max_seconds)
    brief = m.generate(prompts[:1], min(seconds, 0.2), seeds[:1], progress=False, **settings)  # bad settings end here
    used = {**brief.settings, "seconds": seconds}
    pieces = [slice(k, min(k + at_once, len(prompts))) for k in range(0, len(prompts), at_once)]
    kept = None
    if out is not None:
        shape = (len(prompts), m.lm.n_q, max(1, int(seconds * m.frame_rate + 1e-6)))
        known = zlib.crc32(
            repr((m.fingerprint, str(m.lm.emb[0].weight.dtype), model._sampler(), prompts, seeds)).encode()
        )
        kept = {
            "url": _shared(out, workers), "arrays": {"tokens": (("clip", "codebook", "frame"), shape, "int16")},
            "coords": xr.Dataset(coords={"prompt": ("clip", prompts), "seed": ("clip", seeds)}), "piece": at_once,
            "identity": {"model": m.name, "clips": f"{known:08x}", **used},
        }  # fmt: skip
        pieces = store.Store(**kept).todo
    task = partial(_sing, prompts=prompts, seeds=seeds, seconds=seconds, settings=settings, kept=kept)
    parts = each(task, m, pieces, workers=workers, address=address, retries=retries, progress=progress)
    tokens = np.concatenate(parts) if out is None else store.open(kept["url"])["tokens"].values.astype(np.int64)
    audio = m.decode(tokens) if decode else np.zeros((len(tokens), 0), np.float32)
    return Clips(tokens, audio, m.sample_rate, m.frame_rate, prompts, seeds, used)


def _sing(m, piece, prompts, seeds, seconds, settings, kept):
    tokens = m.generate(prompts[piece], seconds, seeds[piece], progress=False, **settings).tokens
    if kept is None:
        return tokens
    return store.Store(**kept).write(piece, {"tokens": tokens})


# ------------------------------------------------------------------------------------------------- details
def _model(name):
    return name if isinstance(name, Model) else model.load(name)


def _shared(out, workers):
    if workers and str(out).startswith("memory:"):
        raise ValueError(f"Workers cannot share {out}: choose a folder or a URL that all of them reach.")
    return str(out) if "://" in str(out) else os.path.abspath(out)


@cache
def _loaded(name):
    return model.load(name)


def _on_worker(task, name, threads, item):
    torch.set_num_threads(threads)  # Ray says one: sums in another order would be other numbers
    return task(_loaded(name), item)
