"""The process that talks to Ray, apart from the one that asked.

When a cluster vanishes, Ray ends the process that was connected to it, without an exception. So that is a process of its
own: it reads one job from standard input and writes a message for each item that is done, and the one that asked, such as
a notebook, lives on and says what happened. What is in the job stays pickled here: no model is imported.
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

WAIT = 90.0  #: seconds for a cluster to answer


class ScaleError(RuntimeError):
    """Work could not be spread or did not come back: the message says what to do."""


def run(
    task: bytes, items: list[bytes], workers: int, address: str | None, retries: int
) -> Iterator[tuple[int, object]]:
    """Call a pickled task on pickled items, ``workers`` at a time; yields (number of the item, result) as they come.

    Raises
    ------
    ScaleError
        No cluster, a cluster that vanished, or a worker that died more than ``retries`` times.
    Exception
        What the task itself raised.
    """
    with _process() as (child, said):
        late = threading.Timer(WAIT, child.kill)
        late.start()
        kind, *told = _exchange(child, (task, items, workers, address, retries))
        late.cancel()
        if kind == "ended":
            raise ScaleError(_nowhere(address, _last(said) or f"no answer within {WAIT:g} s"))
        while kind != "done":
            if kind == "ended":
                raise ScaleError(_gone(_last(said) or "Ray ended its own process"))
            if kind == "lost":
                raise ScaleError(told[0])
            if kind == "raised":
                raise pickle.loads(told[0])
            if kind == "item":
                yield told[0], pickle.loads(told[1])
            kind, *told = _exchange(child)


@contextmanager
def _process():
    env = {"RAY_USAGE_STATS_ENABLED": "0", **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = [sys.executable, "-c", "from lib import cluster; cluster.serve()"]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=env)
        try:
            yield child, said
        finally:
            child.terminate()  # Ray tidies up
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
            child.communicate()


def _exchange(child, job=None):
    """Send a job if there is one; the next message."""
    try:
        if job is not None:
            pickle.dump(job, child.stdin)
            child.stdin.flush()
        return pickle.load(child.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        return ("ended",)


def _last(said):
    """The last thing that Ray said, without its time and place."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1].split("] ", 1)[-1][:300] if lines else ""


def _nowhere(address, why):
    return (
        f"There is no Ray cluster at {address!r} ({why}). Start one with 'ray start --head' (with RAY_AUTH_TOKEN here as "
        "there if it asks for a token), or leave address out to use this machine."
    )


def _gone(why):
    return f"Workers are gone ({why}). What they wrote is kept: run the same call again when the cluster is back."


# ------------------------------------------------------------------------------------------------ that process
def serve() -> None:
    """Read one job, spread it, tell of each item."""
    task, items, workers, address, retries = pickle.load(sys.stdin.buffer)
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Ray prints is no message

    def tell(*message):
        pickle.dump(message, messages)
        messages.flush()

    import ray

    try:
        _connect(ray, workers, address)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return tell("lost", _nowhere(address, str(error).splitlines()[0][:300]))
    tell("ready")
    gpus = min(1, ray.cluster_resources().get("GPU", 0))
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=retries)(_call)
    told, waiting, running = ray.put(task), list(enumerate(items))[::-1], {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                i, item = waiting.pop()
                running[remote.remote(told, item)] = i
            (done,), _ = ray.wait(list(running))
            fine, result = ray.get(done)
            tell(*(("item", running.pop(done), result) if fine else ("raised", result)))
    except ray.exceptions.RayError as error:
        line = str(error).splitlines()[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0]
        return tell("lost", _gone(f"{type(error).__name__}: {line[:200]}"))
    tell("done")


def _connect(ray, workers, address):
    if address is None:
        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
        return
    host, _, port = address.rpartition(":")
    if port.isdigit() and "://" not in address:  # Ray itself would try for minutes
        socket.create_connection((host, int(port)), 10).close()
    ray.init(address, log_to_driver=False, configure_logging=False)


def _call(task, item):
    """On a worker: the result, or what was raised, pickled."""
    from ray import cloudpickle

    try:
        return True, cloudpickle.dumps(pickle.loads(task)(pickle.loads(item)))
    except Exception as error:
        error.add_note(f"On a worker:\n{traceback.format_exc()}")
        return False, cloudpickle.dumps(error)
