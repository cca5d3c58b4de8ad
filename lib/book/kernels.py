"""Kernels that start with everything imported: forks of one process that has.

What chapters import (PyTorch, transformers, audiocraft, ...) takes 6 to 17 seconds of a core in
every new process, and the book has nineteen. On Linux without a GPU, where a process may be forked
after its imports, they are imported once. Elsewhere kernels start as they always do.

>>> with forked():  # doctest: +SKIP
...     papermill.execute_notebook("00_meet_the_model.ipynb", "executed.ipynb")
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

#: What is imported before the forks, and only imported: what computes may start threads, which a
#: fork would not have.
IMPORTED = (
    "ipykernel.kernelapp",
    # with nearly all of lib, audiocraft, librosa and plotly
    "lib.book.chapter",
    "lib.book.rules",
    "lib.pages.show",
    "lib.rated",
    # librosa imports its parts, and numba with them, when they are first used
    "librosa.core.constantq",
    "librosa.feature.spectral",
    "librosa.onset",
    "librosa.sequence",
    "plotly.graph_objects",
    "sae_lens",
    "sklearn.linear_model",
    "sklearn.manifold",
    "statsmodels.api",
)
#: Functions (module, name) that are called before the forks, where their modules are imported. All
#: chapters ask for what they keep in memory: the version of the library alone takes 3 seconds.
ASKED = (("lib.book.provenance", "code"),)
NAME = "forked"


@contextlib.contextmanager
def forked() -> Iterator[None]:
    """While this lasts, kernels that this process starts are forks where that is safe."""
    if not _is_safe():
        yield
        return
    factory = KernelProvisionerFactory.instance()
    group = KernelProvisionerFactory.GROUP_NAME
    factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:ForkedProvisioner", group)
    before = factory.default_provisioner_name
    factory.default_provisioner_name = NAME
    try:
        yield
    finally:
        factory.default_provisioner_name = before
        Ancestor.end()


def _is_safe():
    """Whether a process may be forked after its imports: macOS forbids it, and so does CUDA."""
    if sys.platform != "linux":
        return False
    import torch

    return not torch.cuda.is_available()


# ------------------------------------------------------------------------- in the process of the book
class ForkedProvisioner(LocalProvisioner):
    """Starts a kernel as a fork; all else is as with a kernel of its own process."""

    async def launch_kernel(self, cmd, **kwargs):
        """Fork instead of starting ``cmd``, whose arguments the fork gets."""
        place = {"cwd": str(kwargs.get("cwd") or os.getcwd()), "env": dict(kwargs["env"])}
        self.process = Fork(Ancestor.of_all().fork({"arguments": cmd[cmd.index("-f") :], **place}))
        # the fork leads a group of its own
        self.pid = self.pgid = self.process.pid
        self.cwd = place["cwd"]
        return self.connection_info


class Fork:
    """What a provisioner asks of a process, about one that is not this process's child."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int):
        self.pid = pid

    def poll(self) -> int | None:
        """None while it runs. How it ended only its parent could tell."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self) -> int:
        """Wait until it has ended."""
        while self.poll() is None:
            time.sleep(0.05)
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Ancestor:
    """The process that kernels are forked from, as this process sees it."""

    _running = None
    _lock = threading.Lock()

    def __init__(self):
        command = [sys.executable, "-P", "-m", __name__, *IMPORTED]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, **pipes)

    @classmethod
    def of_all(cls) -> "Ancestor":
        """The one there is, made now if there is none or it has ended."""
        with cls._lock:
            if cls._running is None or cls._running._process.poll() is not None:
                cls._running = cls()
            return cls._running

    @classmethod
    def end(cls) -> None:
        """End it, if there is one. Kernels that still run end with it."""
        with cls._lock:
            if cls._running is not None:
                # closes its input, at whose end it ends
                cls._running._process.communicate()
            cls._running = None

    def fork(self, request: dict) -> int:
        """The process id of a new kernel.

        Parameters
        ----------
        request : dict
            ``arguments`` (of ipykernel), ``cwd`` and ``env``.
        """
        with self._lock, contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self._process.stdin, flush=True)
            if answer := self._process.stdout.readline():
                return int(answer)
        raise RuntimeError(
            "The process that kernels are forked from has ended: what it said is above. "
            "'python -m lib.book.kernels lib.book.chapter' starts one by hand."
        )


# ------------------------------------------------------------------ in the process that is forked from
def serve(imported: Iterable[str]) -> None:
    """Import modules, then fork a kernel for every line that comes, until no more can come."""
    for module in imported:
        importlib.import_module(module)
    for module, name in ASKED:
        if module in sys.modules:
            getattr(sys.modules[module], name)()
    # ended kernels leave nothing behind
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become_kernel(**json.loads(line))
            return
        print(pid, flush=True)


def _become_kernel(arguments, cwd, env):
    """In a fork: be a kernel until it is shut down."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # standard output was for process ids
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    # it ends when its parent does
    sys.argv = ["ipykernel_launcher", *arguments, f"--IPKernelApp.parent_handle={os.getppid()}"]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    serve(sys.argv[1:])
