"""A chapter to take away: a notebook that brings the library along, and links to Colab and Binder.

All follows from ``CITATION.cff``. While it names no ``repository-code``, pages lead nowhere else, and
a notebook that was taken away says what it lacks. With ``repository-code:
"https://github.com/owner/name"`` every chapter has the theme's links to Colab and Binder, and a
notebook that was taken away installs the library at the commit that its page was built from.

Colab opens ``.ipynb`` files alone, and the sources are text. So both services open the branch
:data:`BRANCH`, to which ``.ci/notebooks`` pushes the notebooks when the book is published.

>>> from lib.book import takeaway
>>> taken = takeaway.notebook("30_steering", "https://github.com/owner/name", "abc123")
>>> "git+https://github.com/owner/name@abc123" in taken.cells[0].source
True
"""

import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
import yaml

from .. import check
from . import execute

CITATION = execute.ROOT / "CITATION.cff"
#: Where the notebooks lie that Colab and Binder open.
BRANCH = "as-notebooks"
#: The theme's links, beside the address.
LAUNCH = {
    "notebook_interface": "jupyterlab",
    "binderhub_url": "https://mybinder.org",
    "colab_url": "https://colab.research.google.com",
}
_ADDRESS = re.compile(r"https://github\.com/[\w-]+/[\w.-]+(?<!\.git)")
# A chapter says lib, as in a checkout; what pip installs has a name that is nobody else's.
_INSTALL = """\
# Brings the book's library where it is missing, as in Colab, and does nothing elsewhere.
import importlib.util
from pathlib import Path

if importlib.util.find_spec("lib") is None:
    %pip install -q "git+{address}@{commit}"
    importlib.invalidate_caches()
    package = Path(importlib.util.find_spec("musicgen_emotion").origin).parent
    package.with_name("lib").symlink_to(package)
    importlib.invalidate_caches()"""
_MISSING = """\
import importlib.util

if importlib.util.find_spec("lib") is None:
    raise ImportError(
        "This notebook needs the library of its book, which is not installed here. "
        "Open it where the book is: 'make lab' in its folder."
    )"""


def citation() -> dict:
    """What ``CITATION.cff`` says of the book: title, version, date-released, ..."""
    return yaml.safe_load(CITATION.read_text(encoding="utf-8"))


def address(about: Mapping) -> str | None:
    """Where the book's repository is, from :func:`citation`; None while it is nowhere.

    Raises
    ------
    ValueError
        Not an address on GitHub, the one host that Colab opens notebooks from.
    """
    found = about.get("repository-code")
    if found is not None and not (isinstance(found, str) and _ADDRESS.fullmatch(found)):
        check.refuse(
            ValueError,
            "repository-code in CITATION.cff",
            "https://github.com/owner/name and nothing behind it",
            found,
            "Colab and Binder open the book there; leave the line out to have no links.",
        )
    return found


def configured(text: str, place: str | None) -> str:
    """The book's ``_config.yml`` with links to Colab and Binder, if the repository is somewhere.

    Parameters
    ----------
    text : str
        Of ``_config.yml``.
    place : str, optional
        From :func:`address`.
    """
    if place is None:
        return text
    repository = {"url": place, "branch": BRANCH, "path_to_book": ""}
    links = {"repository": repository, "launch_buttons": LAUNCH}
    return f"{text.rstrip()}\n{yaml.safe_dump(links)}"


def notebook(name: str, place: str | None, commit: str | None) -> nbformat.NotebookNode:
    """A chapter as a notebook that has not been executed and can be, wherever it is opened.

    Parameters
    ----------
    name : str
        One of ``execute.names()``.
    place : str, optional
        From :func:`address`.
    commit : str, optional
        The commit to install. Where this or the place is not known, the first cell says what is
        missing instead of installing it.
    """
    taken = execute.as_written(name)
    known = place is not None and commit is not None
    cell = _INSTALL.format(address=place, commit=commit) if known else _MISSING
    first = nbformat.v4.new_code_cell(cell, id="install", metadata={"tags": ["install"]})
    taken.cells.insert(0, first)
    taken.metadata["kernelspec"] = execute.KERNEL
    return taken


def write(folder: Path) -> None:
    """Write all chapters as notebooks, over what the theme's button offers for download: the page
    with its folded code and linked terms, which is no notebook to work with.

    Parameters
    ----------
    folder : Path
        ``_sources/notebooks`` of the pages.
    """
    place = address(citation())
    commit = execute.commit()
    for name in execute.names():
        nbformat.write(notebook(name, place, commit), folder / f"{name}.ipynb")
