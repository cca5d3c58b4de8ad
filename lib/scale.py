"""The same work on many GPUs or machines: pieces of clips spread over Ray workers, or done one after the other without them.

A piece is computed alike everywhere, with the same clips in the same batches and as many threads, so the result is the same
bit for bit on like machines. Ray starts a piece again when its worker dies; what was written stays written.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
from tqdm.auto import tqdm

from lib import activations, model, store
from lib.model import Clips


class ScaleError(RuntimeError):
    """Work could not be spread or did not come back: the message says what to do."""


def each(
    task: Callable,
    name: str,
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
    name : str
        Of the model; every worker loads it once.
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
    if not workers:
        m = model.load(name)
        return [task(m, item) for item in tqdm(items, desc="pieces", disable=not progress, leave=False)]
    ray = _connected(workers, address)
    gpus = min(1, ray.cluster_resources().get("GPU", 0))
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=retries)(_on_worker)
    told = ray.put(task)
    results, waiting, running = [None] * len(items), list(range(len(items)))[::-1], {}
    with tqdm(total=len(items), desc=f"pieces, {workers} workers", disable=not progress, leave=False) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    i = waiting.pop()
                    running[remote.remote(told, name, torch.get_num_threads(), items[i])] = i
                (done,), _ = ray.wait(list(running))
                results[running.pop(done)] = ray.get(done)
                bar.update()
        except ray.exceptions.RayTaskError as error:  # the task's own fault: as it would be raised here
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise ScaleError(
                f"Workers are gone ({type(error).__name__}: {str(error).splitlines()[0]}). What they wrote is kept: run "
                "the same call again when the cluster is back."
            ) from error
    return results


def capture(
    name: str, clips: Clips, sites, out, *, workers: int = 0, address: str | None = None, retries: int = 3,
    progress: bool = True, **how,
):  # fmt: skip
    """``activations.capture`` into a store, spread over workers.

    Parameters
    ----------
    name : str
        Of the model.
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
    if workers and str(out).startswith("memory:"):
        raise ValueError(f"Workers cannot share {out}: choose a folder or a URL that all of them reach.")
    out = out if "://" in str(out) else os.path.abspath(out)
    m = model.load(name)
    target = activations.capture(m, clips, sites, out=out, pieces=[], progress=False, **how)
    silent = Clips(clips.tokens, clips.audio[:, :0], *list(vars(clips).values())[2:])  # workers need no sound
    task = partial(_write, clips=silent, sites=sites, out=out, how=how)
    each(task, name, target.todo, workers=workers, address=address, retries=retries, progress=progress)
    return store.open(out)


def _write(m, piece, clips, sites, out, how):
    activations.capture(m, clips, sites, out=out, pieces=[piece], progress=False, **how)


def generate(
    name: str, prompts: list[str], seconds: float = 6.0, seed: int | list[int] = 0, *, workers: int = 0, at_once: int = 32,
    address: str | None = None, retries: int = 3, progress: bool = True, **settings,
) -> Clips:  # fmt: skip
    """``Model.generate``, spread over workers ``at_once`` clips a piece: the same clips."""
    seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
    items = [(prompts[k : k + at_once], seeds[k : k + at_once]) for k in range(0, len(prompts), at_once)]
    task = partial(_sing, seconds=seconds, settings=settings)
    parts = each(task, name, items, workers=workers, address=address, retries=retries, progress=progress)
    tokens, first = np.concatenate([p.tokens for p in parts]), parts[0]
    audio = model.load(name).decode(tokens)  # here, because a codec's last bits depend on the batch
    return Clips(tokens, audio, first.sample_rate, first.frame_rate, list(prompts), seeds, first.settings)


def _sing(m, item, seconds, settings):
    prompts, seeds = item
    return m.generate(prompts, seconds, seeds, progress=False, **settings)


# ------------------------------------------------------------------------------------------------- workers
@cache
def _loaded(name):
    return model.load(name)


def _on_worker(task, name, threads, item):
    torch.set_num_threads(threads)  # Ray says one: sums in another order would be other numbers
    return task(_loaded(name), item)


def _connected(workers, address):
    try:
        import ray
    except ImportError as error:
        raise ScaleError("Workers need Ray: pip install 'musicgen-emotion-book[scale]', or use workers=0.") from error
    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
    try:
        if address is None:
            ray.init(num_cpus=workers, **quiet)
        else:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise ScaleError(
            f"There is no Ray cluster at {address!r} ({str(error).splitlines()[0][:200]}). Start one with 'ray start "
            "--head', or leave address out to use this machine."
        ) from error
    return ray
