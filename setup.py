"""Builds the wheel: the folder ``lib`` becomes the package ``musicgen_emotion``, audiocraft inside.

audiocraft 1.3.0 demands torch 2.1.0, av 11 and an xformers of its time, which no Python of today
installs, although text-to-music needs none of them (``lib/musicgen/compat.py``). pip cannot be told
"this package, but not what it asks for". So the wheel does not ask for audiocraft: it carries its
unchanged code (MIT, Meta Platforms) under ``musicgen_emotion/_vendor``, which is imported only
where no audiocraft is installed. pip fetches it here, by its hash, when the wheel is built.

Everything else about the package is in ``pyproject.toml``.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

FOLDER = "lib"
PACKAGE = "musicgen_emotion"
AUDIOCRAFT = "1.3.0"
SHA256 = "d82ade3eb4f934ee1adb438ae687a2bf59d33ca4a20039beab072548c038ac80"


class BuildWithAudiocraft(build_py):
    """What setuptools does, and audiocraft's code in the package."""

    def run(self):
        package = Path(FOLDER) if self.editable_mode else Path(self.build_lib, PACKAGE)
        if not self.editable_mode:
            # an earlier build may have left modules that have moved since
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        vendor = package / "_vendor" / "audiocraft"
        shutil.rmtree(vendor, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            extract(download(Path(folder)), vendor)


def download(folder: Path) -> Path:
    """Fetch audiocraft's source distribution, and nothing that it asks for, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"audiocraft=={AUDIOCRAFT} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    # to read its metadata pip runs its setup.py, for which setuptools is here already
    command += ["--no-binary", "audiocraft", "--no-build-isolation"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    if subprocess.run(command).returncode:
        raise RuntimeError(
            f"The wheel carries the code of audiocraft {AUDIOCRAFT}, and pip could not fetch it: "
            "see its message above. Building needs a package index, or a folder that holds the "
            "source distribution, named in PIP_FIND_LINKS."
        )
    return next(folder.glob("audiocraft-*.tar.gz"))


def extract(archive: Path, target: Path) -> None:
    """Put the modules and the licence of a source distribution into a folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts[1:]  # without "audiocraft-1.3.0"
            is_module = parts[:1] == ("audiocraft",) and parts[-1].endswith(".py")
            if not member.isfile() or not (is_module or parts == ("LICENSE",)):
                continue
            path = target.joinpath(*parts[1:]) if is_module else target / "LICENSE"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tar.extractfile(member).read())


setup(
    packages=[
        PACKAGE + name.removeprefix(FOLDER)
        for name in find_packages(include=[FOLDER, f"{FOLDER}.*"])
    ],
    package_dir={PACKAGE: FOLDER},
    package_data={PACKAGE: ["**/*"]},  # JavaScript, CSS, word lists, configurations, weights
    exclude_package_data={"": ["*.pyc"]},
    cmdclass={"build_py": BuildWithAudiocraft},
)
