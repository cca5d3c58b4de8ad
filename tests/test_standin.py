"""The library on an accelerator, or on what stands in for one (``standin.py``).

Registering a device changes PyTorch for good: ``on_standin.py`` runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def test_everything_runs_on_an_accelerator():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # small operators: more threads only wait
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:xdist", "-q"]
    done = subprocess.run(
        [*command, "--durations=5", TESTS / "on_standin.py"],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
