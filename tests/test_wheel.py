"""The wheel: what is in it, what it asks for, and that it works where there is no checkout.

It is built as ``pip install .`` builds it, and installed in an environment that holds what it asks for and nothing else:
no ``lib``, no audiocraft. To make that cheap, its packages are those of the test environment, seen through links.
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
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
#: What only a checkout uses; its packages are in the dependency groups.
CHECKOUT_ONLY = ("book",)
#: Packages that are asked for when they are needed, each with the extra that brings it.
OPTIONAL = {"ray": "scale", "tinysoundfont": "synthesis"}
ELSEWHERE = Path(__file__).parent / "wheel_elsewhere.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel. The checkout is copied first, as building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__", "_vendor")
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "out",
        ".",
    ]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if (
        built.returncode
        and "pip could not fetch it" in built.stdout + built.stderr
        and not os.environ.get("CI")
    ):
        pytest.skip(
            "No package index can be reached, from which the wheel's copy of audiocraft comes."
        )
    assert not built.returncode, built.stdout + built.stderr
    (found,) = (folder / "out").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def requirements(wheel):
    """What the wheel asks for: ordinary requirements, and those of each extra."""
    (distribution,) = metadata.distributions(path=[str(_unpacked(wheel))])
    return [Requirement(text) for text in distribution.requires]


def _unpacked(wheel):
    folder = wheel.parent / "unpacked"
    if not folder.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def test_it_holds_the_library_and_its_data(names):
    folder = ROOT / "lib"
    wanted = {
        f"musicgen_emotion/{file.relative_to(folder).as_posix()}"
        for file in folder.rglob("*")
        if file.is_file() and not {"__pycache__", "_vendor"} & set(file.parts)
    }
    assert wanted <= names
    for suffix in (".js", ".css", ".toml", ".json", ".safetensors"):
        assert any(name.endswith(suffix) for name in wanted), suffix


def test_it_takes_no_common_name(names):
    assert {name.split("/")[0] for name in names} == {
        "musicgen_emotion",
        "musicgen_emotion_book-0.1.0.dist-info",
    }


def test_it_carries_audiocraft_with_its_licence(wheel, names):
    vendored = {name for name in names if "/_vendor/" in name}
    assert {name.split("/")[2] for name in vendored} == {"audiocraft"}
    assert "musicgen_emotion/_vendor/audiocraft/models/lm.py" in vendored
    with zipfile.ZipFile(wheel) as archive:
        licence = archive.read("musicgen_emotion/_vendor/audiocraft/LICENSE").decode()
    assert licence.startswith("MIT License") and "Meta Platforms" in licence


def test_it_asks_for_what_it_imports(requirements):
    asked = {canonicalize_name(one.name) for one in requirements if one.marker is None}
    extras = {canonicalize_name(one.name) for one in requirements if one.marker is not None}
    assert (
        "audiocraft" not in asked | extras
    )  # its own pins would make the wheel impossible to install
    assert extras == set(OPTIONAL)
    distributions = metadata.packages_distributions()
    for file in (ROOT / "lib").rglob("*.py"):
        if file.relative_to(ROOT / "lib").parts[0] in (*CHECKOUT_ONLY, "_vendor"):
            continue
        for package in _imported(file) - set(OPTIONAL) - {"audiocraft"}:
            assert set(map(canonicalize_name, distributions[package])) & asked, (
                f"{file.name} imports {package}"
            )


def _imported(file):
    """Packages outside the standard library that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


@pytest.fixture(scope="module")
def environment(wheel, requirements, tmp_path_factory):
    """A Python with the wheel and what it asks for; returns its interpreter and where the wheel lies."""
    folder = tmp_path_factory.mktemp("environment")
    packages = folder / "packages"
    packages.mkdir()
    for distribution in _needed(requirements):
        for top in {file.parts[0] for file in distribution.files} - {".."}:
            link = packages / top
            if not link.exists():
                link.symlink_to(distribution.locate_file(top))
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    site = Path(where.stdout.strip())
    (site / "packages.pth").write_text(str(packages))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(install, check=True)
    return python, site


def _needed(requirements):
    """Distributions that are asked for, directly or by others."""
    found = {}
    todo = [one for one in requirements if one.marker is None]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        distribution = metadata.distribution(name)
        extras = {"", *requirement.extras}
        if extras <= found.get(name, (set(),))[0]:
            continue
        found[name] = (extras | found.get(name, (set(),))[0], distribution)
        for text in distribution.requires or ():
            further = Requirement(text)
            if further.marker is None or any(
                further.marker.evaluate({"extra": extra}) for extra in extras
            ):
                todo.append(further)
    return [distribution for _, distribution in found.values()]


def test_it_works_elsewhere(environment, organism, folder, tmp_path):
    python, site = environment
    before = _files(site)
    clean = {
        name: value
        for name, value in os.environ.items()
        if not re.match("BOOK_|PYTHON|PYTEST_", name)
    }
    clean |= {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "LOCALAPPDATA": str(tmp_path / "cache"),
    }
    work = tmp_path / "work"
    shutil.copytree(folder, work / "mine")
    done = subprocess.run(
        [python, "-W", "ignore", ELSEWHERE], cwd=work, env=clean, capture_output=True, text=True
    )
    assert not done.returncode, done.stdout + done.stderr
    clips = organism.generate(["sad music"], 1, progress=False)
    assert np.array_equal(np.load(work / "tokens.npy"), clips.tokens)
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and "clips" in file.parts]
    assert kept and all("musicgen-emotion" in file.parts for file in kept)
    assert _files(site) == before


def _files(folder):
    return {file for file in folder.rglob("*") if "__pycache__" not in file.parts}
