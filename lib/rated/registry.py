"""The sets that can be read, and how a folder is opened."""

from os import PathLike
from pathlib import Path

from .. import check
from .dataset import Dataset
from .deam import DEAM
from .errors import DatasetError
from .pmemo import PMEmo

DATASETS: dict[str, type[Dataset]] = {kind.name: kind for kind in (PMEmo, DEAM)}


def kind_of(name: str) -> type[Dataset]:
    """The class of a set by its name."""
    return DATASETS[check.choice("name", name, DATASETS)]


def load(folder: str | PathLike, name: str | None = None) -> Dataset:
    """Open a folder of rated music.

    Parameters
    ----------
    folder : str or Path
        Holds the published layout, itself or up to two folders below.
    name : {"pmemo", "deam"}, optional
        Found out from the layout if not given.

    Raises
    ------
    ValueError
        If ``name`` is unknown.
    DatasetError
        If the folder has neither layout (says what was expected and is missing), or a table cannot
        be read.
    """
    kinds = list(DATASETS.values()) if name is None else [kind_of(name)]
    folder = Path(folder).expanduser()
    sources = " ".join(f"{kind.title} is had from {kind.where}." for kind in kinds)
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. {sources}")
    below = sorted([*folder.glob("*"), *folder.glob("*/*")])
    candidates = [folder, *(path for path in below if path.is_dir())]
    expectations = []
    for kind in kinds:
        root = min(candidates, key=lambda path: len(kind.missing(path)))
        lacks = ", ".join(kind.missing(root))
        if not lacks:
            return kind(root)
        needed = [place for part, place in kind.places.items() if part not in kind.optional]
        expectations.append(f"{kind.title} expects {', '.join(needed)}; {root} lacks {lacks}.")
    titles = " or ".join(kind.title for kind in kinds)
    raise DatasetError(
        f"{folder} has not the layout of {titles}. {' '.join(expectations)} {sources}"
    )
