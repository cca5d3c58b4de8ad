"""Kernels that are forked from one process: each its own, and ended with what started them."""

import os
import signal
import time

import nbformat
import papermill
import pytest
from nbclient.exceptions import DeadKernelError

from lib.book import kernels

pytestmark = pytest.mark.skipif(not kernels._is_safe(), reason="no forks after imports here")


@pytest.fixture(scope="module", autouse=True)
def forked():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOLD", "everyone")
        patch.setattr(kernels, "IMPORTED", ("ipykernel.kernelapp", "lib.check"))
        with kernels.forked():
            yield


def run(tmp_path, *cells, **settings):
    """What the cells print, in a kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    executed = papermill.execute_notebook(
        notebook,
        tmp_path / "executed.ipynb",
        kernel_name="python3",
        progress_bar=False,
        cwd=tmp_path,
        **settings,
    )
    return [o.text.strip() for cell in executed.cells for o in cell.outputs if "text" in o]


def test_kernels_share_what_is_imported_and_nothing_else(tmp_path):
    cells = (
        "import os, sys; had = 'lib.check' in sys.modules and not hasattr(sys, 'mine')",
        "sys.mine = 1; print(had, os.getcwd(), os.environ['TOLD'], os.getpid(), os.getppid())",
        "print(__name__, sys.stdin.read() == '' or 'reads')",
        "import subprocess; print(subprocess.run(['false']).returncode)",
    )
    answers = [run(tmp_path, *cells) for _ in range(2)]
    for told, main, status in answers:
        assert told.startswith(f"True {tmp_path} everyone") and main.startswith("__main__")
        assert status == "1"
    (*_, first, parent), (*_, second, other) = (told.split() for told, *_ in answers)
    assert first != second and parent == other != str(os.getpid())
    assert has_ended(int(first)) and has_ended(int(second))


def test_a_kernel_that_dies_is_noticed(tmp_path):
    with pytest.raises(DeadKernelError):
        run(tmp_path, "import os; os._exit(1)")


def test_a_cell_that_takes_too_long_is_stopped(tmp_path):
    with pytest.raises(TimeoutError):
        run(tmp_path, "import time; time.sleep(600)", execution_timeout=1)


def test_kernels_end_with_their_ancestor(tmp_path):
    ancestor = kernels.Ancestor.of_all()
    cell = "import threading, os, signal; threading.Timer(0.2, os.kill, (os.getppid(), 9)).start()"
    with pytest.raises(DeadKernelError):
        run(tmp_path, cell, "import time; time.sleep(60)")
    with pytest.raises(RuntimeError, match="has ended"):
        ancestor.fork({"arguments": [], "cwd": "/", "env": {}})
    # and the next one has another
    assert run(tmp_path, "print(1 + 1)") == ["2"]


def has_ended(pid):
    """Whether a process is gone, within five seconds."""
    for _ in range(50):
        try:
            os.kill(pid, signal.SIG_DFL)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
