"""Where a result comes from: which weights, in which precision, on what machine, by which code and
rules, with which libraries, and when.

>>> from lib.book import provenance
>>> found = provenance.of("20_patching", "organism")
>>> found.model, sorted(found.versions)
('organism', ['audiocraft', 'python', 'torch', 'transformers'])
"""

import functools
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import pydantic
import torch

from .. import cache
from . import criteria

#: What of ``lib`` no chapter uses: the factory makes the organisms, which count by their weights,
#: and audiocraft counts by its version.
APART = ("factory", "_vendor")
#: What of ``lib`` shows results and makes none.
SHOWN = ("pages",)
#: Settings from outside that results follow from.
SETTINGS = ("BOOK_LISTENER_CLIPS",)


class Provenance(pydantic.BaseModel, extra="forbid", frozen=True):
    """Where a chapter's findings about a model come from; None is what nobody told.

    Attributes
    ----------
    model : str
        What it is called (``results.title``).
    fingerprint : str, optional
        A hash of all its weights, codec included.
    revision : str, optional
        Its commit on the hub.
    dtype, device : str, optional
        Precision of the language model's products; a GPU with its name.
    code : str
        A hash of the code and data of ``lib`` that results follow from.
    rules : str
        A hash of the rules that decided (``criteria.version``).
    versions : dict
        Library -> version, Python among them.
    date : datetime
        When it was recorded, in UTC.
    """

    model: str
    fingerprint: str | None = None
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    code: str
    rules: str
    versions: dict[str, str]
    date: pydantic.AwareDatetime

    @property
    def day(self) -> str:
        """The date alone, as 2026-11-28."""
        return self.date.astimezone(UTC).date().isoformat()

    def differences(self, chapter: str) -> list[str]:
        """What it was made with that is not what is here now: "other rules", "other code".

        Parameters
        ----------
        chapter : str
            The notebook that recorded it.
        """
        is_other = {
            "other rules": self.rules != criteria.version(chapter),
            "other code": self.code != code(),
        }
        return [what for what, other in is_other.items() if other]


def of(chapter: str, title: str, model=None) -> Provenance:
    """The provenance of what is recorded now.

    Parameters
    ----------
    chapter : str
        The notebook.
    title : str
        What the model is called in findings.
    model : Model, optional
        The loaded model, which alone knows its weights, precision and device.
    """
    return Provenance(
        model=title,
        code=code(),
        rules=criteria.version(chapter),
        versions=_versions(),
        date=datetime.now(UTC).replace(microsecond=0),
        **({} if model is None else _loaded(model)),
    )


def _loaded(model):
    """What only a loaded model can tell."""
    from ..musicgen import loading

    identity = model.identity(audio=True)
    chip = f" ({torch.cuda.get_device_name(model.device)})" if model.device.type == "cuda" else ""
    return {
        "fingerprint": cache.digest(identity),
        "revision": loading.revision(model.name),
        "dtype": identity["dtype"].removeprefix("torch."),
        "device": f"{model.device}{chip}",
    }


def _versions():
    """Of what numbers depend on beside ``lib``."""
    # not before something is recorded: importing them takes seconds
    import transformers

    from ..musicgen.compat import audiocraft

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "audiocraft": audiocraft.__version__,
    }


# --------------------------------------------------------------------------------- the version of lib
def code() -> str:
    """A hash of what results follow from in ``lib``: code as it runs, data as it is; and how much
    listeners learn from, where that was set.
    """
    parts = {name: found for name, found in library().items() if Path(name).parts[0] not in SHOWN}
    parts |= {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}
    return cache.digest(parts)[:16]


def library() -> dict[str, str]:
    """Hashes of all files of ``lib`` that chapters use: code as it runs, data as it is.

    Hidden files and backups of editors are no part of it: file managers write such where one looks.
    """
    package = Path(__file__).parents[1]
    hashes = {}
    for file in sorted(package.rglob("*")):
        inside = file.relative_to(package)
        if file.is_file() and _is_used(inside):
            hashes[inside.as_posix()] = content(file, file.stat().st_mtime_ns)
    return hashes


def _is_used(inside):
    """Whether chapters use a file, by its place in the package."""
    if any(part.startswith(".") or part.endswith("~") for part in inside.parts):
        return False
    return inside.parts[0] not in APART and inside.suffix not in (".pyc", ".md")


@functools.cache
def content(file: Path, modified: int) -> str:
    """A hash of a file as it was when it was modified; of code, without comments and docstrings."""
    return cache.code(file) if file.suffix == ".py" else cache.digest(file.read_bytes())
