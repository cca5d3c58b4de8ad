"""The sets that can be read, and how a folder is opened."""

from collections.abc import Mapping
from os import PathLike

from .. import check
from .dataset import Dataset
from .deam import DEAM
from .errors import DatasetError
from .folder import Folder, expectation, holds_table
from .merp import MERP
from .musifeast import MUSIFEAST17
from .pmemo import PMEmo

#: The published sets.
DATASETS: dict[str, type[Dataset]] = {kind.name: kind for kind in (PMEmo, DEAM, MERP, MUSIFEAST17)}


def kind_of(name: str) -> type[Dataset]:
    """The class of a published set by its name."""
    return DATASETS[check.choice("name", name, DATASETS)]


def load(
    folder: str | PathLike,
    name: str | None = None,
    *,
    table: str | None = None,
    columns: Mapping[str, str] | None = None,
    scale: tuple[float, float] | None = None,
) -> Dataset:
    """Open a folder of rated music: a published set, or audio with a table of ratings of your own.

    A folder of your own holds audio, anywhere in it, and a CSV table in the folder itself: a row a
    song, or a row a song and rater. Its columns are known by their headers, whatever their case:
    the song (``file``, a path or a name with or without its ending, or ``song_id``), ``valence``
    and ``arousal`` (one will do), and where there are any, ``valence_std`` and ``arousal_std`` over
    raters (which divide by their number less one), ``raters`` (how many), ``rater`` (who: then a
    row is one rater's answer), and ``artist`` (no artist is on both sides of a split).

    Parameters
    ----------
    folder : str or Path
        Holds the published layout, itself or up to two folders below; or audio and a table.
    name : {"pmemo", "deam", "merp", "musifeast17", "folder"}, optional
        Found out from the layout if not given.
    table : str, optional
        The table's name, if there are several. With this or any of what follows the folder is read
        as your own.
    columns : mapping, optional
        What a column holds ("song", "valence", "arousal", "valence_std", "arousal_std", "raters",
        "rater" or "artist") -> its header, where it is not known.
    scale : (float, float), optional
        The lowest and the highest rating that was possible. Not needed where the headers state it,
        as in "valence (1 to 9)".

    Raises
    ------
    TypeError, ValueError
        If ``name``, ``columns`` or ``scale`` make no sense.
    DatasetError
        If the folder has none of the layouts (says what was expected and is missing), or a table
        cannot be read.

    Examples
    --------
    >>> from lib import datasets
    >>> datasets.load("my_music", scale=(1, 7)).songs  # doctest: +SKIP
    """
    check.choice("name", name, [None, *DATASETS, Folder.name])
    folder = check.path("folder", folder)
    own = {"table": table, "columns": columns, "scale": scale}
    asked = name == Folder.name or any(value is not None for value in own.values())
    kinds = list(DATASETS.values()) if name in (None, Folder.name) else [kind_of(name)]
    sources = " ".join(f"{kind.title} is had from {kind.where}." for kind in kinds)
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. {sources}")
    if asked:
        if name not in (None, Folder.name):
            raise ValueError(
                f"table, columns and scale are for a folder of your own: those of {name} are known."
            )
        return Folder(folder, **own)
    expectations = []
    for kind in kinds:
        root = min(_candidates(folder), key=lambda path: len(kind.missing(path)))
        lacks = ", ".join(kind.missing(root))
        if not lacks:
            return kind(root)
        needed = [place for part, place in kind.places.items() if part not in kind.optional]
        expectations.append(f"{kind.title} expects {', '.join(needed)}; {root} lacks {lacks}.")
    if name is None and holds_table(folder):
        return Folder(folder)
    titles = " or ".join(kind.title for kind in kinds)
    own_sentence = f" {expectation()}" if name is None else ""
    raise DatasetError(
        f"{folder} has not the layout of {titles}. {' '.join(expectations)}{own_sentence} {sources}"
    )


def _candidates(folder):
    """A folder and those up to two below it."""
    below = sorted([*folder.glob("*"), *folder.glob("*/*")])
    return [folder, *(path for path in below if path.is_dir())]
