"""A folder of rated music: its songs, their audio and ratings, and splits that share no artist.

In the shape of mirdata's loaders (Bittner et al. 2019), which has none of these sets. Nothing
is ever downloaded: ``print(rated)`` says where a set is had, under which licence, and what to cite.

References
----------
Bittner et al. 2019, mirdata: Software for reproducible usage of datasets, ISMIR.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from .. import check
from . import audio, layout, tables, validation
from .errors import AudioError, DatasetError
from .labels import AXES, to_unit

#: What separates the artist credited first from others.
_GUESTS = r"\s*[,;/&]\s*|\s+(?:feat|ft|featuring|with|x)\b"


class Split(NamedTuple):
    """Song ids of two parts that share no song and, where artists are known, no artist.

    Attributes
    ----------
    train, test : np.ndarray [shape=(song,)], int or str
    """

    train: np.ndarray
    test: np.ndarray


class Dataset:
    """A folder of rated music. Use :func:`lib.rated.load`.

    Attributes
    ----------
    name, title : str
        Key of ``DATASETS``; as its authors write it.
    licence, citation, where : str
        What one may do with it, the BibTeX entry of its paper, and where it is had.
    scale : dict
        "static" (whole songs) and "dynamic" (over time): lowest and highest label as published.
    folder : Path
        The folder that holds the published layout, maybe below the one given.
    made : bool
        Whether ``make`` wrote it: then nobody rated anything.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    where: ClassVar[str]
    scale: ClassVar[Mapping[str, tuple[float, float]]]
    #: Seconds from the beginning of the half second that a label describes to its stamp.
    stamp_shift: ClassVar[float]
    #: The highest number of a song, or how many there are where they have names.
    last_song: ClassVar[int]
    #: Whether songs have names instead of numbers, and how their files end.
    named_songs: ClassVar[bool] = False
    suffix: ClassVar[str] = ".mp3"
    #: What the published standard deviations over raters divide by: their number, less this.
    spread_ddof: ClassVar[int] = 1
    #: The axes that are rated.
    axes: Sequence[str] = AXES
    #: Part -> place, as ``layout`` reads them, and the parts that may be absent.
    places: ClassVar[Mapping[str, str]]
    optional: ClassVar[tuple[str, ...]]
    #: Where labels of either kind lie, for messages; "{axis}" stands for valence or arousal.
    label_files: ClassVar[Mapping[str, str]]
    #: Pattern of all files that the published set may hold.
    published: ClassVar[str]

    def __init__(self, folder: Path):
        self.folder = Path(folder).absolute()  # of use from any working directory
        self.made = (self.folder / layout.MARKER).exists()
        self.paths = layout.find(self.places, self.folder)
        self.static = self.read_static()
        self.over_time = self.read_dynamic()

    def __repr__(self):
        made = " (made)" if self.made else ""
        return f"<{self.title}{made}: {len(self.static)} songs in {self.folder}>"

    def __str__(self):
        lines = [
            f"{self.title}: {len(self.static)} songs in {self.folder}",
            f"licence: {self.licence}",
            f"from: {self.where}",
            "checksums: none published",
            self.citation,
        ]
        if self.made:
            lines.insert(0, f"MADE by this book, not the real {self.title}: nobody rated it.")
        return "\n".join(lines)

    # -------------------------------------------------------------------- what a published set adds
    def read_static(self) -> pd.DataFrame:
        """Labels of whole songs as published: valence, arousal, valence_std, arousal_std."""
        raise NotImplementedError

    def read_dynamic(self) -> pd.DataFrame:
        """Labels over time as published: stamp (s), valence, arousal; by song_id, a row a label.

        Empty where the set has none.
        """
        return _nothing("stamp", *AXES)

    def read_answers(self) -> pd.DataFrame:
        """What each rater answered, as published: valence, arousal; by song_id, a row a rater.

        Empty where the set has none.
        """
        return _nothing(*AXES)

    def read_artists(self) -> dict:
        """The artist of each song, where known."""
        place = self.paths["metadata"]
        if place is None:
            return {}
        files = sorted(place.glob("*.csv")) if place.is_dir() else [place]
        return {song: artist for file in files for song, artist in tables.artists(file).items()}

    @classmethod
    def usual_raters(cls, song_id) -> float:
        """How many people rated a song, where no table tells; nan where unknown."""
        return np.nan

    def identity(self, song_id) -> str:
        """A song's name among the songs of all sets."""
        return f"{self.name} {song_id}"

    @classmethod
    def made_ids(cls, songs: int, rng: np.random.Generator) -> list:
        """Ids of a made set, with gaps; the last is the highest there is."""
        lower = 1 + rng.choice(cls.last_song - 1, songs - 1, replace=False)
        return [*np.sort(lower), cls.last_song]

    @classmethod
    def write_tables(
        cls, folder: Path, songs: pd.DataFrame, dynamic: pd.DataFrame, answers: pd.DataFrame
    ) -> None:
        """Write the tables of a made set as they are published."""
        raise NotImplementedError

    @classmethod
    def missing(cls, folder: Path) -> list[str]:
        """Places of the layout that a folder lacks."""
        found = layout.find(cls.places, folder)
        return [
            cls.places[part]
            for part, path in found.items()
            if path is None and part not in cls.optional
        ]

    # --------------------------------------------------------------------------- what a reader asks
    @cached_property
    def songs(self) -> pd.DataFrame:
        """One row a labelled song, by id.

        Returns
        -------
        pd.DataFrame
            song_id; file; seconds (nan where the file is missing, damaged or cut: ``validate`` says
            how); valence and arousal on -1 to 1; valence_rated and arousal_rated as published, and
            valence_std and arousal_std over raters on that scale; raters (how many: counted where
            answers are given, else as the set's authors say); valence_sem and arousal_sem, the
            standard errors of the mean over them, on -1 to 1; song (its name among the songs of all
            sets); artist ("" where unknown); group (the artist credited first, else the song): what
            must not be on both sides of a split, as ``groups`` of ``probes.fit`` too (songs that
            share only a guest may be). A rating that is missing is nan, and so is what is not told.
        """
        columns = [*AXES, *(f"{axis}_std" for axis in AXES)]
        static = self.static.loc[~self.static.index.duplicated()].sort_index()
        table = static[columns].reset_index()
        files = [self.file(song) for song in table["song_id"]]
        table.insert(1, "file", files)
        table.insert(2, "seconds", [_seconds(file) for file in files])
        for axis in AXES:
            table[f"{axis}_rated"] = table[axis]
        table[AXES] = to_unit(table[AXES], self.scale["static"])
        table["raters"] = self._raters(static)
        half_range = np.ptp(self.scale["static"]) / 2
        for axis in AXES:
            # a rater may have answered one axis alone
            raters = self._raters(static, axis)
            degrees = np.where(raters > 1, raters - 1 + self.spread_ddof, np.nan)
            table[f"{axis}_sem"] = table[f"{axis}_std"] / np.sqrt(degrees) / half_range
        known = self.read_artists()
        artist = pd.Series([known.get(song, "") for song in table["song_id"]], dtype=str)
        first = artist.str.casefold().str.split(_GUESTS, regex=True).str[0]
        song = pd.Series([self.identity(song) for song in table["song_id"]], dtype=str)
        group = first.where(first.str.len() > 0, "song " + song)
        return table.assign(song=song, artist=artist, group=group)

    @cached_property
    def answers(self) -> pd.DataFrame:
        """What each rater said of whole songs, where the set gives it.

        Returns
        -------
        pd.DataFrame
            song_id, valence and arousal on -1 to 1: a row a rater and song. Empty where not given.
        """
        answers = self.read_answers()[AXES].astype(float)
        return to_unit(answers, self.scale["static"]).reset_index()

    def audio(
        self, song_id, sample_rate: int, start: float = 0.0, seconds: float | None = None
    ) -> np.ndarray:
        """A song, or a part of it.

        Parameters
        ----------
        song_id : int, or str where songs have names
        sample_rate : int, Hz
            Resampled to.
        start, seconds : float
            In the song; to its end if not given.

        Returns
        -------
        np.ndarray [shape=(sample,)], float32
            The mean of the channels; fewer samples than asked for where the song ends.

        Raises
        ------
        TypeError, ValueError
            If ``start`` is below 0, or ``seconds`` is not above 0.
        DatasetError
            If there is no such song, or it ends before ``start``, or its file is missing, damaged,
            or cut: shorter than its own header says or than its labels go, even where the part
            asked for is there.
        """
        song = self.known(song_id)
        sample_rate = check.count("sample_rate", sample_rate)
        start = check.number("start", start, 0)
        seconds = check.number("seconds", seconds, 0, open_low=True, optional=True)
        file = self.file(song)
        try:
            return audio.load(file, sample_rate, start, seconds, self.last_label(song))
        except AudioError as error:
            raise DatasetError(f"{file} {error.problem}. {self.advice(error)}.") from error

    def dynamic(self, song_id) -> pd.DataFrame:
        """What was answered over time.

        Returns
        -------
        pd.DataFrame
            time (s): the start of the half second a label describes, from 15.0 on; valence and
            arousal on -1 to 1; stamp (s): the time as published (``labels`` says what it means).
            Half seconds without an answer on both axes have no row.

        Raises
        ------
        DatasetError
            If the song is unknown or has none.
        """
        song = self.known(song_id)
        table = self._labels_of(song).dropna()
        if table.empty:
            raise DatasetError(f"Song {song} of {self.title} has no labels over time.")
        table = table.sort_values("stamp").reset_index(drop=True)
        table[AXES] = to_unit(table[AXES], self.scale["dynamic"])
        return table.assign(time=table["stamp"] - self.stamp_shift)[["time", *AXES, "stamp"]]

    def split(self, test: float = 0.2, seed: int = 0) -> Split:
        """Songs to learn from and songs to test on, drawn by ``group`` of :attr:`songs`.

        Parameters
        ----------
        test : float
            Share of the songs, met from below by whole groups (one group at least).
        seed : int

        Raises
        ------
        TypeError, ValueError
            If ``test`` is no share, or all songs are of one group.
        """
        remedy = "It is a share of the songs, between 0 and 1."
        test = check.number("test", test, 0, 1, open_low=True, open_high=True, remedy=remedy)
        seed = check.count("seed", seed, 0)
        groups = self.songs["group"]
        sizes = groups.value_counts().sort_index().sample(frac=1, random_state=seed)
        if len(sizes) < 2:
            raise ValueError(f"A split needs songs of two artists or more. {self!r} has one.")
        fits = sizes.cumsum() <= round(test * len(groups))
        fits.iloc[0] = True
        inside = groups.isin(sizes.index[fits])
        ids = self.songs["song_id"].to_numpy()
        return Split(ids[~inside], ids[inside])

    def validate(self, strict: bool = True) -> pd.DataFrame:
        """Compare the folder with what it should be, decoding every file (minutes for a whole set).

        No set publishes checksums (none found), so none are compared.

        Parameters
        ----------
        strict : bool
            Raise if anything is wrong; else only tell.

        Returns
        -------
        pd.DataFrame
            One row a problem: kind ("missing", "damaged", "short", "silent", "range", "hole",
            "twice", "unexpected"), file, problem, advice. Empty if all is well.

        Raises
        ------
        DatasetError
            If ``strict``: lists the problems, file by file.
        """
        problems = validation.problems(self)
        if strict and problems:
            lines = "\n".join(map(str, problems[:50]))
            raise DatasetError(
                f"Problems of {self.title} in {self.folder}: {len(problems)} (50 shown at most).\n"
                f"{lines}"
            )
        return pd.DataFrame(problems, columns=validation.Problem._fields)

    # -------------------------------------------------------------------------------------- details
    def file(self, song) -> Path:
        """A song's file."""
        return self.paths["audio"] / f"{song}{self.suffix}"

    def recorded(self) -> set:
        """The songs that have a file."""
        stems = {path.stem for path in self.paths["audio"].glob(f"*{self.suffix}")}
        return stems if self.named_songs else {int(stem) for stem in stems if stem.isdigit()}

    def known(self, song_id):
        """A labelled song's number or name, or an error."""
        if self.named_songs and not isinstance(song_id, str):
            check.refuse(TypeError, "song_id", "a text, as in songs['song_id']", song_id)
        song = song_id if self.named_songs else check.count("song_id", song_id, 0)
        if song not in self.static.index:
            raise DatasetError(
                f"{self.title} in {self.folder} has no labelled song {song!r}: see "
                "songs['song_id']."
            )
        return song

    def last_label(self, song) -> float:
        """The last stamp of a song, s; 0 without any."""
        stamps = self._labels_of(song)["stamp"].dropna()
        return float(stamps.max()) if len(stamps) else 0.0

    def advice(self, error: AudioError | None = None) -> str:
        """What to do about a file."""
        again = f"Get it again from {self.where}"
        return f"{again}. {error.advice}" if error and error.advice else again

    def _labels_of(self, song):
        return self.over_time[self.over_time.index == song]

    def _raters(self, static, axis=None):
        """How many people rated each song of a table, on any axis or on one."""
        usual = [self.usual_raters(song) for song in static.index]
        told = static["raters"] if "raters" in static else pd.Series(usual, static.index, float)
        by_song = self.answers.groupby("song_id")
        counted = by_song.size() if axis is None else by_song[axis].count()
        return counted.reindex(static.index).fillna(told).to_numpy(float)


def _nothing(*columns):
    """A table of labels without a row."""
    index = pd.Index([], name="song_id")
    return pd.DataFrame({column: np.empty(0) for column in columns}, index=index)


def _seconds(file):
    try:
        return audio.length(file).seconds
    except AudioError:
        return np.nan
