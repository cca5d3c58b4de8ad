"""Read the tables of a published set: numbers by song, and who sings what.

What is missing in a table ("", "n/a", "nan", ...) is missing here, too (nan, or no artist): never
text and never a class. What is neither a number nor missing is said when it is read.
"""

import csv
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .errors import DatasetError

#: Headers, in small letters, of the columns with a song's number and its artist, best first.
_SONG = ("musicid", "song_id", "id")
_ARTIST = ("artist", "artists")
#: What stands in a table, in small letters, where nobody is known.
_NOBODY = {"", "-", "?", "n/a", "na", "nan", "none", "null", "<na>", "unknown", "unknown artist"}


@dataclass(frozen=True)
class Numbers:
    """Which columns of a table are read.

    Attributes
    ----------
    song : str
        Header of the column that holds the songs' numbers.
    columns : mapping or str
        Header -> our name; or a pattern with one group: every header that matches is read and named
        by the whole number in the group.
    named : bool
        Whether songs have names instead of numbers.
    """

    song: str
    columns: Mapping[str, str] | str
    named: bool = False

    def read(self, file: Path) -> pd.DataFrame:
        """The table, by ``song_id``; nan where nothing was answered.

        Warns of cells that hold text instead of a number, and of rows without a song's number.

        Raises
        ------
        DatasetError
            If the file is no table, or has not these columns.
        """
        table = text_table(file)
        names = self._names(table.columns)
        absent = [header for header in (self.song, *names) if header not in table]
        if absent:
            header = ", ".join(table)[:200]
            raise DatasetError(f"{file} has no column {', '.join(absent)}: its header is {header}.")
        table = table[[self.song, *names]].dropna(how="all")
        columns = list(names) if self.named else [self.song, *names]
        numbers = table[columns].apply(pd.to_numeric, errors="coerce")
        _warn_of_text(file, table[columns], numbers)
        songs = table[self.song] if self.named else numbers.pop(self.song)
        known = songs.notna() if self.named else _whole(file, songs)
        index = pd.Index(songs[known].astype("str" if self.named else int), name="song_id")
        return numbers[known].rename(columns=names).set_index(index)

    def _names(self, headers):
        if not isinstance(self.columns, str):
            return dict(self.columns)
        matches = {header: re.fullmatch(self.columns, header) for header in headers}
        names = {header: int(match[1]) for header, match in matches.items() if match}
        return names or {self.columns: 0}


def text_table(file: Path, dtype: type | None = None) -> pd.DataFrame:
    """A CSV as it stands, without blanks around its cells; of one type, if given.

    A cell of blanks alone is missing.

    Raises
    ------
    DatasetError
        If the file is no table.
    """
    settings = {"index_col": False, "low_memory": False, "skipinitialspace": True, "dtype": dtype}
    try:
        table = pd.read_csv(file, encoding="utf-8-sig", **settings)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(f"{file} is no readable CSV table ({error}). Get it again.") from error
    table = table.apply(_without_blanks)
    table.columns = [str(column).strip() for column in table]
    return table


def _without_blanks(column):
    """A column of texts without the blanks around them, which would make two names of one."""
    if not isinstance(column.dtype, pd.StringDtype):
        return column
    bare = column.str.strip()
    return bare.where(bare != "")


def _warn_of_text(file, table, numbers):
    wrong = table.notna() & numbers.isna()
    cells = [
        f"row {row + 2}, {column}: {table.loc[row, column]!r}"  # a file's header is its row 1
        for column in table.columns[wrong.any()]
        for row in table.index[wrong[column]]
    ]
    if cells:
        warnings.warn(
            f"{file} holds text where a number should be, read as missing ({len(cells)} cells): "
            f"{'; '.join(cells[:5])}. Correct the cells, or leave them empty.",
            stacklevel=4,
        )


def _whole(file, songs):
    """Rows whose song has a number."""
    known = songs.notna() & (songs % 1 == 0)
    if not known.all():
        rows = ", ".join(str(row + 2) for row in songs.index[~known][:5])
        warnings.warn(
            f"{file} has {(~known).sum()} rows that belong to no song (rows {rows}), which are "
            "left out: a song's number is a whole one.",
            stacklevel=4,
        )
    return known


def artists(file: Path) -> dict[int, str]:
    """Artist of each song of a table, which may be ragged; without songs whose artist is missing.

    Raises
    ------
    DatasetError
        If no column holds songs' numbers, or none artists.
    """
    with open(file, encoding="utf-8-sig", errors="replace", newline="") as lines:
        header, *rows = [[_bare(cell) for cell in row] for row in csv.reader(lines)] or [[]]
    names = [name.casefold() for name in header]
    song_column = next((names.index(name) for name in _SONG if name in names), None)
    artist_column = next((names.index(name) for name in _ARTIST if name in names), None)
    if song_column is None or artist_column is None:
        raise DatasetError(
            f"{file} names no song or no artist: its header is {', '.join(header)[:200]}."
        )
    found = {}
    for row in rows:
        if len(row) <= max(song_column, artist_column) or not row[song_column].isdigit():
            continue
        if row[artist_column].casefold() not in _NOBODY:
            found[int(row[song_column])] = row[artist_column]
    return found


def _bare(cell):
    return cell.strip().strip('"').strip()
