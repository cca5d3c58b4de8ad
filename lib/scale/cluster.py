"""Spread pickled work over Ray, from a process of its own.

When a cluster vanishes, Ray ends the process that was connected to it, without an exception. So a
process of its own talks to Ray: it reads one job from standard input and writes a message for each
item that is done. The process that asked, such as a notebook, lives on and says what happened.

That process runs this file as a script. It imports neither this package, whatever its name is where
it is installed, nor a model: what is in a job stays pickled until it reaches a worker.

:func:`run` is all that the rest of the package knows of Ray.
"""

import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

#: Seconds for a cluster to answer.
WAIT = 90.0
#: How often Ray is started on this machine. It gives its own processes 30 s, which is too short
#: where several others work on every core.
STARTS = 3
#: Seconds for one start.
START = 60.0
#: Seconds for Ray to tidy up.
TIDY = 30.0
#: Seconds to find out whether anything listens at an address; Ray itself would try for minutes.
KNOCK = 10.0


class ScaleError(RuntimeError):
    """Work could not be spread or did not come back: the message says what to do."""


class Job(NamedTuple):
    """What the process that talks to Ray is told."""

    task: bytes
    items: list[bytes]
    workers: int
    address: str | None
    retries: int


def run(
    task: bytes, items: list[bytes], workers: int, address: str | None, retries: int
) -> Iterator[tuple[int, object]]:
    """Call a pickled function on pickled items, ``workers`` of them at a time.

    Parameters
    ----------
    task : bytes
        A function of one argument.
    items : list of bytes
    workers : int
    address : str or None
        Of a Ray cluster; None starts Ray on this machine and ends it afterwards.
    retries : int
        How often an item whose worker died is started again.

    Yields
    ------
    int, object
        Number of the item and its result, as they come.

    Raises
    ------
    ScaleError
        No cluster, a cluster that vanished, or a worker that died more than ``retries`` times.
    Exception
        What the task itself raised; a RuntimeError that names it where it cannot be pickled.
    """
    with _process(workers) as (child, log):
        wait = WAIT if address is not None else STARTS * START
        late = threading.Timer(wait, child.kill)
        late.start()
        _send(child, Job(task, items, workers, address, retries))
        kind, *content = _receive(child)
        late.cancel()
        if kind == "ended":
            raise ScaleError(_nowhere(address, _last(log) or f"no answer within {wait:g} s"))
        while kind != "done":
            if kind == "ended":
                raise ScaleError(_gone(_last(log) or "Ray ended its own process"))
            if kind == "lost":
                raise ScaleError(content[0])
            if kind == "raised":
                raise pickle.loads(content[0])
            if kind == "item":
                number, result = content
                yield number, pickle.loads(result)
            kind, *content = _receive(child)


@contextmanager
def _process(workers):
    """The process that talks to Ray, and what it prints."""
    places = [os.path.abspath(place) for place in sys.path]  # "" is this process's own folder
    # threads of several workers on the same cores: one that waits must not keep the core busy
    sharing = {"OMP_WAIT_POLICY": "passive"} if workers > 1 else {}
    env = {
        "RAY_USAGE_STATS_ENABLED": "0",
        **sharing,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(places),
    }
    code = [
        sys.executable,
        "-P",
        os.path.abspath(__file__),
    ]  # -P: this folder is no place to import from
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env
        )
        try:
            yield child, log
        finally:
            child.terminate()
            try:
                child.wait(TIDY)
            except subprocess.TimeoutExpired:
                child.kill()
            child.communicate()


def _send(child, job):
    try:
        pickle.dump(tuple(job), child.stdin)
        child.stdin.flush()
    except OSError:
        pass  # it has ended: the next message says so


def _receive(child):
    """The next message: its kind and its content."""
    try:
        return pickle.load(child.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        return ("ended",)


def _last(log):
    """The last line that Ray printed, without its time and place."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].split("] ", 1)[-1][:300] if lines else ""


def _nowhere(address, why):
    if address is None:
        return (
            f"Ray did not start on this machine ({why}). Run the same call again when the machine "
            "is less busy, or use workers=0."
        )
    return (
        f"There is no Ray cluster at {address!r} ({why}). Start one with 'ray start --head' (with "
        "RAY_AUTH_TOKEN here as there if it asks for a token), or leave address out to use this "
        "machine."
    )


def _gone(why):
    return (
        f"Workers are gone ({why}). What they wrote is kept: run the same call again when the "
        "cluster is back."
    )


# -------------------------------------------------------------------- the process that talks to Ray
def _serve():
    """Read one job, spread it, and write a message for each item."""
    job = Job(*pickle.load(sys.stdin.buffer))
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Ray prints is no message

    def tell(*message):
        pickle.dump(message, messages)
        messages.flush()

    import ray

    try:
        _connect(ray, job)
    except Exception as error:  # Ray raises that itself
        tell("lost", _nowhere(job.address, str(error).splitlines()[0][:300]))
        return
    tell("ready")
    try:
        _spread(ray, job, tell)
    except ray.exceptions.RayError as error:
        tell("lost", _gone(_reason(ray, error)))
        return
    tell("done")


def _connect(ray, job):
    if job.address is None:
        _start(ray, job.workers)
        return
    host, _, port = job.address.rpartition(":")
    if port.isdigit() and "://" not in job.address:
        socket.create_connection((host, int(port)), KNOCK).close()
    ray.init(job.address, log_to_driver=False, configure_logging=False)


def _start(ray, workers):
    """Start Ray on this machine."""
    for start in range(STARTS):
        try:
            ray.init(
                "local",
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
            return
        except Exception:
            ray.shutdown()
            if start == STARTS - 1:
                raise


class _Worker:
    """A process that keeps the model that it loaded from item to item: an actor, in Ray's words.

    After a task that used a GPU, Ray ends the process, so that each item would load the model anew.
    """

    def call(self, task, item):
        return _call(task, item)


def _spread(ray, job, tell):
    """Keep as many items under way as there are workers; tell of each that is done."""
    gpus = min(1, ray.cluster_resources().get("GPU", 0))
    worker_class = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Worker)
    kinds = ray.exceptions
    # the last of them is what Ray says of a worker that it ended for want of memory
    died = (kinds.RayActorError, kinds.ObjectLostError, kinds.OutOfMemoryError)
    task = ray.put(job.task)
    waiting = list(range(len(job.items)))[::-1]
    deaths = [0] * len(job.items)
    idle = []
    running = {}
    while waiting or running:
        while waiting and len(running) < job.workers:
            number = waiting.pop()
            worker = idle.pop() if idle else worker_class.remote()
            running[worker.call.remote(task, job.items[number])] = (number, worker)
        (done,), _ = ray.wait(list(running))
        number, worker = running.pop(done)
        try:
            fine, result = ray.get(done)
        except died:
            ray.kill(worker)  # one that cannot be reached may live on, and hold its GPU
            deaths[number] += 1
            if deaths[number] > job.retries:
                raise
            waiting.append(number)
            continue
        if waiting:
            idle.append(worker)
        else:
            ray.kill(worker)  # so that one can start which waits for a CPU or GPU, with its item
        if fine:
            tell("item", number, result)
        else:
            tell("raised", result)


def _call(task, item):
    """On a worker: whether it went well, and the result or what was raised, pickled."""
    from ray import cloudpickle

    try:
        return True, cloudpickle.dumps(pickle.loads(task)(pickle.loads(item)))
    except Exception as error:
        return False, _packed(error, f"On a worker:\n{traceback.format_exc()}")


def _packed(error, note):
    """An exception with a note, pickled; one that does not survive that, in words."""
    from ray import cloudpickle

    error.add_note(note)
    try:
        packed = cloudpickle.dumps(error)
        pickle.loads(packed)
        return packed
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(note)
        return cloudpickle.dumps(told)


def _reason(ray, error):
    """What Ray's error says, in one line; of a task's error that is the last one."""
    last = isinstance(error, ray.exceptions.RayTaskError)
    line = str(error).splitlines()[-1 if last else 0]
    return f"{type(error).__name__}: {line[:200]}"


if __name__ == "__main__":
    _serve()
