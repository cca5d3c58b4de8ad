"""A folder of one's own: audio, and a table of ratings."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from .. import check
from .dataset import Dataset
from .errors import AudioError, DatasetError
from .labels import AXES
from .tables import text_table

#: What a column holds -> headers it is known by, best first: in small letters, with "_" for all
#: that is no letter or digit ("Valence (mean)" is "valence_mean").
HEADERS = {
    "song": (
        *("file", "filename", "file_name", "path", "audio", "song_id", "songid", "music_id"),
        *("musicid", "track_id", "trackid", "clip_name", "song", "track", "clip", "id"),
    ),
    "valence": ("valence", "valence_mean", "mean_valence", "valence_m", "valence_rated"),
    "arousal": ("arousal", "arousal_mean", "mean_arousal", "arousal_m", "arousal_rated"),
    "valence_std": ("valence_std", "std_valence", "valence_sd", "sd_valence"),
    "arousal_std": ("arousal_std", "std_arousal", "arousal_sd", "sd_arousal"),
    "raters": ("raters", "n_raters", "num_raters", "number_of_raters", "n"),
    "rater": (
        *("rater", "rater_id", "worker_id", "workerid", "participant", "participant_id"),
        *("annotator", "annotator_id", "listener", "listener_id", "subject", "user_id"),
    ),
    "artist": ("artist", "artists", "artist_name", "performer"),
}
#: Endings of files that are audio.
_AUDIO = {".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav"}
#: A header that states a scale: "valence (1 to 9)".
_STATED = re.compile(
    r"(.+?)[\s_]*[(\[]\s*(-?\d+(?:\.\d+)?)\s*(?:to|\.\.|[-–,;:])\s*(-?\d+(?:\.\d+)?)\s*[)\]]"
)


class Folder(Dataset):
    """A folder with audio, anywhere in it, and a CSV table of ratings: see :func:`lib.rated.load`.

    Parameters
    ----------
    folder : Path
    table, columns, scale
        As :func:`lib.rated.load` takes them.

    Raises
    ------
    DatasetError
        If there is no table of ratings or more than one, it lacks a column, its scale is not
        stated, a rating lies outside it or is no number, a song stands in two rows without a
        column that says who rated, a song has no file, or two songs have the same one.
    """

    name = "folder"
    licence = "not known to this book"
    citation = ""
    stamp_shift = 0.0
    named_songs = True
    places: ClassVar = {}
    optional = ()
    published = ".+"

    def __init__(
        self,
        folder: Path,
        table: str | None = None,
        columns: Mapping[str, str] | None = None,
        scale: tuple[float, float] | None = None,
    ):
        folder = Path(folder).absolute()
        self.title = folder.name
        self.where = str(folder)
        self._table = folder / table if table else _only_table(folder)
        text, stated = _read(self._table, columns)
        self.axes = [axis for axis in AXES if axis in text]
        self.scale = {"static": _scale(self._table, scale, stated)}
        self.label_files = {"static": self._table.name}
        self._ratings = _numbers(self._table, text, self.scale["static"])
        self._files = _files(folder, self._table, self._ratings.index.unique())
        super().__init__(folder)

    def read_static(self) -> pd.DataFrame:
        """Labels of whole songs: of the table, or means and standard deviations over raters."""
        rows = self._ratings
        if "rater" in rows:
            by_song = rows.groupby("song_id")[self.axes]
            rows = by_song.mean().join(by_song.std().add_suffix("_std"))
        columns = [*AXES, *(f"{axis}_std" for axis in AXES), *({"raters"} & {*rows})]
        return rows.reindex(columns=columns)

    def read_answers(self) -> pd.DataFrame:
        """What each rater answered, where the table says who rated."""
        rows = self._ratings
        return rows.reindex(columns=AXES) if "rater" in rows else super().read_answers()

    def read_artists(self) -> dict[str, str]:
        """Artists, where the table has them."""
        rows = self._ratings
        return rows["artist"].dropna().to_dict() if "artist" in rows else {}

    def identity(self, song_id: str) -> str:
        """A song's name among the songs of all sets."""
        return f"{self.title} {song_id}"

    def file(self, song: str) -> Path:
        """A song's file."""
        return self._files[song]

    def recorded(self) -> set[str]:
        """The songs of the table: other audio in the folder is nobody's concern."""
        return set(self._files)

    def advice(self, error: AudioError | None = None) -> str:
        """What to do about a file."""
        return f"Put it right, or take the song out of {self._table.name}"


def holds_table(folder: Path) -> bool:
    """Whether a folder holds a table of ratings of its own."""
    return bool(_tables(folder))


def expectation() -> str:
    """What a folder of one's own needs, in a sentence."""
    return (
        "A folder of your own needs audio and, in the folder itself, a CSV table with a column of "
        "songs (file or song_id) and one of valence or arousal, with the scale in the header as in "
        "'valence (1 to 9)' or given as scale=(1, 9)."
    )


# ------------------------------------------------------------------------------------------- tables
def _tables(folder):
    """CSV files of a folder that name songs and ratings."""
    found = []
    for file in sorted(folder.glob("*.csv")):
        try:
            named, _ = _named(text_table(file, str).columns)
        except DatasetError:
            continue
        if "song" in named and {*AXES} & {*named}:
            found.append(file)
    return found


def _only_table(folder):
    found = _tables(folder)
    if not found:
        raise DatasetError(f"{folder} holds no table of ratings. {expectation()}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DatasetError(
            f"{folder} holds more than one table of ratings ({names}): say which, as in "
            f"load(folder, table={found[0].name!r})."
        )
    return found[0]


def _named(headers):
    """What the columns hold -> their headers; and the scales that headers state."""
    plain = {}
    stated = {}
    for header in headers:
        match = _STATED.fullmatch(header.strip())
        name = match[1] if match else header
        key = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
        plain.setdefault(key, header)
        if match:
            stated[header] = (float(match[2]), float(match[3]))
    named = {}
    for what, known in HEADERS.items():
        header = next((plain[key] for key in known if key in plain), None)
        if header is not None:
            named[what] = header
    return named, stated


def _read(file, columns):
    """A table's columns by what they hold, as text; and the scale that each axis's header states,
    or None."""
    if columns is not None and not isinstance(columns, Mapping):
        expected = "a mapping from what a column holds to its header"
        check.refuse(TypeError, "columns", expected, columns)
    table = text_table(file, str)
    named, stated = _named(table.columns)
    for what, header in (columns or {}).items():
        named[check.choice("columns", what, HEADERS)] = header
    absent = [header for header in named.values() if header not in table]
    if "song" not in named:
        absent.append("file or song_id")
    if not {*AXES} & {*named}:
        absent.append("valence or arousal")
    if absent:
        raise DatasetError(
            f"{file} has no column {', '.join(absent)}: its header is {', '.join(table)[:200]}. Say "
            "which column is which, as in load(folder, columns={'song': ..., 'valence': ...})."
        )
    text = table[list(named.values())].dropna(how="all")
    text.columns = list(named)
    return text, [stated.get(named[axis]) for axis in AXES if axis in named]


def _scale(file, given, stated):
    """The scale that is given, or that headers state."""
    remedy = "Give the lowest and the highest rating that was possible, as in scale=(1, 9)."
    if given is not None:
        pair = list(given) if isinstance(given, tuple | list) else []
        if len(pair) != 2:
            check.refuse(TypeError, "scale", "two numbers", given, remedy)
        low = check.number("scale", pair[0], remedy=remedy)
        return low, check.number("scale", pair[1], low, open_low=True, remedy=remedy)
    if len({*stated}) != 1 or stated[0] is None or stated[0][0] >= stated[0][1]:
        said = ", ".join(f"{pair[0]:g} to {pair[1]:g}" if pair else "none" for pair in stated)
        raise DatasetError(
            f"{file} does not state one scale for its ratings (it states {said}): write it into "
            f"their headers, as in 'valence (1 to 9)', or give it. {remedy}"
        )
    return stated[0]


def _numbers(file, text, scale):
    """The rows of a table by song, with numbers for what are numbers."""
    if text["song"].isna().any():
        raise DatasetError(f"{file} names no song in row {_row_numbers(text['song'].isna())}.")
    numbers = [what for what in text if what not in ("song", "artist", "rater")]
    rows = text.copy()
    for what in numbers:
        rows[what] = pd.to_numeric(text[what], errors="coerce")
        wrong = text[what].notna() & ~np.isfinite(rows[what])
        if wrong.any():
            raise DatasetError(
                f"{file} holds {text[what][wrong].iloc[0]!r} for {what} in row {_row_numbers(wrong)}, "
                "which is no number: correct it, or leave the cell empty."
            )
    _check_limits(file, rows, scale)
    _check_once(file, rows)
    return rows.set_index(pd.Index(rows.pop("song"), name="song_id"))


def _check_limits(file, rows, scale):
    """Refuse numbers that cannot be."""
    low, high = scale
    limits = dict.fromkeys(AXES, (low, high))
    limits |= dict.fromkeys([f"{axis}_std" for axis in AXES], (0, high - low))
    limits["raters"] = (1, np.inf)
    for what, (least, most) in limits.items():
        if what in rows:
            wrong = rows[what].notna() & ~rows[what].between(least, most)
            if wrong.any():
                raise DatasetError(
                    f"{file} holds {rows[what][wrong].iloc[0]:g} for {what} in row {_row_numbers(wrong)}, "
                    f"outside {least:g} to {most:g}: correct it, or state another scale."
                )


def _check_once(file, rows):
    """Refuse a song that has two rows of the same rater, or of nobody in particular."""
    if "rater" in rows and rows["rater"].isna().any():
        raise DatasetError(
            f"{file} does not say who rated in row {_row_numbers(rows['rater'].isna())}."
        )
    again = rows.duplicated(["song", *({"rater"} & {*rows})])
    if again.any():
        who = "of one rater" if "rater" in rows else "and no column that says who rated (rater)"
        song = rows["song"][again].iloc[0]
        raise DatasetError(
            f"{file} has more than one row for song {song!r} {who}: see row {_row_numbers(again)}."
        )


def _row_numbers(wrong):
    """The first rows that are wrong, as a reader counts them: a file's header is its row 1."""
    return ", ".join(str(row + 2) for row in wrong.index[wrong][:5])


# -------------------------------------------------------------------------------------------- files
def _files(folder, table, songs):
    """Each song's file: where its cell says, or the audio in the folder that has its name."""
    audio = sorted(path for path in folder.rglob("*") if path.suffix.casefold() in _AUDIO)
    by_name = {}
    for path in audio:
        for key in (path.name, path.stem):
            by_name.setdefault(key, set()).add(path)
    found = {}
    wrong = []
    for song in songs:
        places = {folder / song} if (folder / song).is_file() else by_name.get(song, set())
        if len(places) == 1:
            found[song] = next(iter(places))
        else:
            wrong.append(f"{song} ({len(places)} files)" if places else song)
    if wrong:
        raise DatasetError(
            f"{len(wrong)} of {len(songs)} songs of {table} do not have one audio file in {folder}: "
            f"{', '.join(wrong[:10])}. Put the files there, or take the songs out of the table."
        )
    _check_apart(table, found)
    return found


def _check_apart(table, files):
    """Refuse two songs with one file, which a split could put onto both of its sides."""
    known = {}
    for song, file in files.items():
        other = known.setdefault(file.resolve(), song)
        if other != song:
            raise DatasetError(
                f"{table} names one file as two songs, {other!r} and {song!r}: both are {file}. Give "
                "the song one name in all of its rows, or take one of the two out."
            )
