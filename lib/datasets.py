"""Music that people rated, read from a folder: PMEmo and DEAM, in the shape of mirdata (which has neither).

>>> from lib import datasets
>>> rated = datasets.load("data/PMEmo2019")  # doctest: +SKIP
>>> rated.validate()  # doctest: +SKIP
>>> rated.songs, rated.audio(108, 32_000), rated.dynamic(108), rated.split()  # doctest: +SKIP

Nothing is ever downloaded: ``print(rated)`` says where the set is had, under which licence, and what to cite.
:func:`make` writes a small folder in exactly the published layout with music of the organisms' world in it, whose
valence and arousal are known; ``rated.made`` tells it from the real one.

===========  =========================================  ==========================================================
..           PMEmo (Zhang et al. 2018)                  DEAM (Aljanaki, Yang and Soleymani 2017)
===========  =========================================  ==========================================================
audio        794 choruses, ``chorus/<id>.mp3``          1,744 excerpts of 45 s, 58 songs (ids over 2000):
                                                        ``DEAM_audio/MEMD_audio/<id>.mp3``
labels of    767 songs, 0 to 1, arousal first:          1,802 songs, 1 to 9:
the whole    ``annotations/static_annotations.csv``     ``song_level/static_annotations_averaged_songs_*.csv``
labels over  every 0.5 s, 0 to 1:                       every 0.5 s, -1 to 1, a column a time:
time         ``annotations/dynamic_annotations.csv``    ``dynamic (per second annotations)/{valence,arousal}.csv``
first stamp  15.5 (s): the *end* of its half second     15000 (ms): the *start* of its half second
artists      ``metadata.csv``                           ``metadata/metadata_{2013,2014,2015}.csv``, ragged
===========  =========================================  ==========================================================

Both sets drop what was answered in the first 15 seconds. Neither publishes checksums (none found), so ``validate``
decodes every file instead and invents none.

What a stamp means could not be read in either paper; it was inferred. PMEmo's clip 108 lasts 49.1 s and its last stamp
is 49.0 (``docs/data/samples/108.json`` of its repository), its first is 15.5, and clips shorter than 15.5 s have no
labels (its issue 6): stamps are ends. DEAM's first stamp is 15.0, and code of its users reads an excerpt of 45 s up to
44.5: stamps are starts (those of its first part alone, emoMusic, go to 45.0). PMEmo's own baseline pairs a stamp with
the second of audio that follows it (``features.py``, ``dynamic_MER.ipynb``), half a second later than here. All that is
small against the 2 to 4 seconds that listeners take to answer (Aljanaki, Wiering and Veltkamp 2015): see ``lag`` of
:func:`aligned`.

Sources: README.txt, README.md, issues and notebooks of github.com/HuiZhangDB/PMEmo; the page of DEAM's first part
(cvml.unige.ch/databases/emoMusic); for DEAM's files the loaders and audits of those who have them, since its own
archive could not be opened here. Neither real set was at hand: layouts and headers are as these sources give them.

References
----------
Zhang, Zhang, Li, Yang and Sun 2018, The PMEmo dataset for music emotion recognition, ICMR, 135-142. Aljanaki, Yang and
Soleymani 2017, Developing a benchmark for emotional analysis of music, PLOS ONE 12(3):e0173392. Aljanaki, Wiering and
Veltkamp 2015, MediaEval 2015: A segmentation-based approach to continuous emotion tracking, CEUR 1436, paper 82.
Bittner et al. 2019, mirdata: Software for reproducible usage of datasets, ISMIR.
"""

import csv
import re
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import joblib
import librosa
import numpy as np
import pandas as pd
import soundfile
import xarray as xr

from lib import music
from lib.organism import world

AXES = ["valence", "arousal"]
#: Seconds between two labels, and seconds at the start of a clip that have none, in both sets.
STEP, UNLABELLED = 0.5, 15.0
MARKER = "MADE.txt"
_MADE = """This is not the real {title}. Nobody rated it.

lib.datasets.make(name={name!r}, songs={songs}, seconds={seconds:g}, seed={seed}) of the MusicGen emotion book wrote it:
music rendered from the organisms' world (lib/organism/world.py) in the layout of {title}. The labels are that world's
valence and arousal, divided by three, clipped to -1 to 1 and put on the published scale. In every second song the music
and its labels change at {change:g} s, at once; the label of a whole song is the mean over its time.
"""
_PMEMO_MEANS = ["Arousal(mean)", "Valence(mean)"]
_PMEMO_SONG = "musicId,fileName,title,artist,album,duration,chorus_start_time,chorus_end_time".split(",")
_AVERAGED = "[DEAM_Annotations/]annotations/annotations averaged per song"
_DEAM_FULL = (
    "song_id, valence_mean, valence_std, valence_ max_mean, valence_max_std, valence_min_mean, valence_min_std,"
    " arousal_mean, arousal_std, arousal_max_mean, arousal_max_std, arousal_min_mean, arousal_min_std"
).split(",")
_DEAM_SONGS = {  # lowest id of a year's table: its header and a line, padded and ragged as published
    1: """song_id,file_name,Artist,Song title,start of the segment (min.sec),end of the segment (min.sec),Genre
{song_id},{file},"\t{artist}","\t{title}",0,0.2,"\tmade"
""",
    1001: """Id,Artist,Album,Track,Genre,segment start,segment end
{song_id},{artist},,{title},made,0,20,made,too
""",
    2001: """id,Filename,title,artist,album,genre
{song_id},{file},{title},{artist},n/a,made
""",
}


class DatasetError(ValueError):
    """A folder cannot be used as a set of rated music: the message says what is wrong where, and what to do."""


class Split(NamedTuple):
    """Song ids of two parts that share no song and, where artists are known, no artist.

    Attributes
    ----------
    train, test : np.ndarray [shape=(song,)], int
    """

    train: np.ndarray
    test: np.ndarray


class Dataset:
    """A folder of rated music. Use :func:`load`.

    Attributes
    ----------
    name, title : str
        Key of :data:`DATASETS`; as its authors write it.
    licence, citation, where : str
        What one may do with it, the BibTeX entry of its paper, and where it is had.
    scale : dict
        "static" and "dynamic": lowest and highest label as published.
    folder : Path
        The folder that holds the published layout, maybe below the one given.
    made : bool
        Whether :func:`make` wrote it: then nobody rated anything.
    """

    def __init__(self, folder: Path):
        self.folder, self.made, self._paths = folder, (folder / MARKER).exists(), self._find(folder)
        self._static, self._dynamic = self._read_static(), self._read_dynamic()

    def __repr__(self):
        return f"<{self.title}{' (made)' if self.made else ''}: {len(self._static)} songs in {self.folder}>"

    def __str__(self):
        made = f"MADE by this book, not the real {self.title}: nobody rated it.\n" if self.made else ""
        said = f"{made}{self.title}: {len(self._static)} songs in {self.folder}\nlicence: {self.licence}\n"
        return f"{said}from: {self.where}\nchecksums: none published\n{self.citation}"

    @cached_property
    def songs(self) -> pd.DataFrame:
        """One row a labelled song, by id.

        Returns
        -------
        pd.DataFrame
            song_id; file; seconds (as the file's header says; nan where it cannot be read); valence and arousal on -1
            to 1; valence_rated and arousal_rated as published, and valence_std and arousal_std over raters on that
            scale; artist ("" where unknown); group (the artist credited first, else the song): what must not be on both
            sides of a split, as ``groups`` of ``probes.fit`` too (songs that share only a guest may be).
        """
        table = self._static[~self._static.index.duplicated()].sort_index().reset_index()
        table.insert(1, "file", [self._file(song) for song in table["song_id"]])
        table.insert(2, "seconds", [_measured(file, decode=False)[0] for file in table["file"]])
        for axis in AXES:
            table[f"{axis}_rated"] = table[axis]
        table[AXES] = _rescaled(table[AXES], self.scale["static"])
        known = self._artists()
        table["artist"] = artist = pd.Series([known.get(song, "") for song in table["song_id"]], dtype=str)
        first = artist.str.casefold().str.split(r"\s*[,;/&]\s*|\s+(?:feat|ft|featuring|with|x)\b", regex=True).str[0]
        return table.assign(group=first.where(first.str.len() > 0, "song " + table["song_id"].astype(str)))

    def audio(self, song_id: int, sample_rate: int, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
        """A song, or a part of it.

        Decoded from its beginning on: a seek inside an MP3 gives other samples.

        Parameters
        ----------
        song_id : int
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
        ValueError
            If ``start`` is below 0, or ``seconds`` is not above 0.
        DatasetError
            If there is no such song, its file is missing or damaged, or it ends before ``start``.
        """
        file = self._file(self._known(song_id))
        if start < 0 or (seconds is not None and seconds <= 0):
            raise ValueError(f"start must be 0 or more and seconds more than 0. Got {start!r} and {seconds!r}.")
        try:
            with soundfile.SoundFile(file) as sound:
                rate, end = sound.samplerate, -1 if seconds is None else round((start + seconds) * sound.samplerate)
                decoded = sound.read(end, dtype="float32", always_2d=True).mean(1)
        except (soundfile.SoundFileError, OSError) as error:
            raise DatasetError(f"{file} {_measured(file)[2]}. Get it again from {self.where}") from error
        part = decoded[round(start * rate) :]
        if not len(part):
            raise DatasetError(f"{file} has {len(decoded) / rate:.1f} s: nothing from {start:g} s on.")
        return librosa.resample(part, orig_sr=rate, target_sr=sample_rate)[: round(len(part) / rate * sample_rate)]

    def dynamic(self, song_id: int) -> pd.DataFrame:
        """What was answered over time.

        Returns
        -------
        pd.DataFrame
            time (s): the start of the half second a label describes, from 15.0 on; valence and arousal on -1 to 1;
            stamp (s): the time as published (see the module for what it means in which set).

        Raises
        ------
        DatasetError
            If the song is unknown or has none.
        """
        if self._known(song_id) not in self._dynamic.index:
            raise DatasetError(f"Song {song_id} of {self.title} has no labels over time.")
        table = self._dynamic.loc[[song_id]].sort_values("stamp").reset_index(drop=True)
        table[AXES] = _rescaled(table[AXES], self.scale["dynamic"])
        return table.assign(time=table["stamp"] - self._stamp)[["time", *AXES, "stamp"]]

    def split(self, test: float = 0.2, seed: int = 0) -> Split:
        """Songs to learn from and songs to test on, drawn by ``group`` of :attr:`songs`.

        Parameters
        ----------
        test : float
            Share of the songs, met from below by whole groups (one group at least).
        seed : int

        Raises
        ------
        ValueError
            If ``test`` is no share, or all songs are of one group.
        """
        sizes = self.songs["group"].value_counts().sort_index().sample(frac=1, random_state=seed)
        if not 0 < test < 1 or len(sizes) < 2:
            raise ValueError(f"test must be between 0 and 1, of two artists or more. Got {test!r} of {len(sizes)}.")
        drawn = sizes.index[(sizes.cumsum() <= round(test * len(self.songs))) | (np.arange(len(sizes)) == 0)]
        inside, ids = self.songs["group"].isin(drawn), self.songs["song_id"].to_numpy()
        return Split(ids[~inside], ids[inside])

    def validate(self, strict: bool = True) -> pd.DataFrame:
        """Compare the folder with what it should be, decoding every file (some minutes for a whole set).

        Parameters
        ----------
        strict : bool
            Raise if anything is wrong; else only tell.

        Returns
        -------
        pd.DataFrame
            One row a problem: kind ("missing", "damaged", "short", "range", "twice", "unexpected"), file, problem,
            advice. Empty if all is well.

        Raises
        ------
        DatasetError
            If ``strict``: lists the problems, file by file.
        """
        there = (int(file.stem) for file in self._paths["audio"].glob("*.mp3") if file.stem.isdigit())
        ids = sorted({*self._static.index, *there})
        heard = joblib.Parallel(n_jobs=-1, prefer="threads")(joblib.delayed(_measured)(self._file(i)) for i in ids)
        rows = [row for song, found in zip(ids, heard, strict=True) for row in self._wrong_audio(song, *found)]
        rows += [*self._wrong_labels(), *self._strangers()]
        report = pd.DataFrame(rows, columns=["kind", "file", "problem", "advice"])
        if strict and len(report):
            said = "\n".join(f"- {kind}: {file} {problem}. {advice}" for kind, file, problem, advice in rows[:50])
            raise DatasetError(f"Problems of {self.title} in {self.folder}: {len(rows)} (50 shown at most).\n{said}")
        return report

    @classmethod
    def _find(cls, folder):
        """What of the layout is in a folder: path, or None. In the layout, what stands in brackets may be left out."""
        found = {}
        for key, place in cls._layout.items():
            either = [folder / re.sub(r"[\[\]]", "", place), folder / re.sub(r"\[.*?\]", "", place)]
            found[key] = next((path for path in either if path.exists()), None)
        return found

    @classmethod
    def _missing(cls, folder):
        return [cls._layout[key] for key, path in cls._find(folder).items() if not path and key not in cls._optional]

    def _file(self, song):
        return self._paths["audio"] / f"{song}.mp3"

    def _known(self, song):
        if song not in self._static.index:
            raise DatasetError(f"{self.title} in {self.folder} has no labelled song {song!r}: see songs['song_id'].")
        return song

    def _artists(self):
        files = self._paths["metadata"] and (sorted(self._paths["metadata"].glob("*.csv")) or [self._paths["metadata"]])
        return {song: artist for file in files or () for song, artist in _credits(file)}

    def _wrong_audio(self, song, announced, decoded, fault):
        file, again = f"{self._paths['audio'].name}/{song}.mp3", f"Get it again from {self.where}"
        stamps = self._dynamic.loc[[song], "stamp"] if song in self._dynamic.index else ()
        needed = max(stamps, default=announced)
        if fault:
            yield "missing" if fault == "is missing" else "damaged", file, fault, again
        elif decoded < needed - STEP and announced - decoded > STEP:
            yield "damaged", file, f"breaks off after {decoded:.1f} of {announced:.1f} s", again
        elif decoded < needed - STEP:
            yield "short", file, f"has {decoded:.1f} s, but its labels go to {needed:.1f} s", f"A wrong clip? {again}"
        elif decoded >= UNLABELLED + STEP:  # shorter ones have no labels in the published set either
            if song not in self._static.index:
                yield "unexpected", file, "has no labels", "Nothing reads it; get the annotations again or delete it"
            elif not len(stamps):
                yield "missing", file, "has no labels over time", f"Get the annotations again from {self.where}"

    def _wrong_labels(self):
        again, some = f"Get it again from {self.where}", lambda ids: ", ".join(map(str, dict.fromkeys(ids[:20])))
        for kind, table in (("static", self._static), ("dynamic", self._dynamic)):
            low, high = self.scale[kind]
            for axis in AXES:
                wrong = table.index[~table[axis].between(low - 1e-6, high + 1e-6)]
                if len(wrong):
                    said = f"has {axis} outside {low:g} to {high:g}, or none, for song {some(wrong)}"
                    yield "range", self._labels[kind].format(axis=axis), said, again
        if self._static.index.has_duplicates:
            twice = self._static.index[self._static.index.duplicated()]
            yield "twice", self._labels["static"], f"has more than one row for song {some(twice)}", again

    def _strangers(self):
        for path in sorted(self.folder.rglob("*")):
            inside = path.relative_to(self.folder).as_posix()
            usual = rf"{MARKER}|(.*/)?(\.|__MACOSX/|Thumbs\.db|desktop\.ini).*|{self._published}"
            if path.is_file() and not re.fullmatch(usual, inside):
                yield "unexpected", inside, "is not part of the set", "Nothing reads it; move it elsewhere"


class PMEmo(Dataset):
    """PMEmo2019: 794 choruses of chart pop, 767 of them labelled, by 457 listeners.

    The licence in its repository is of its code; none is stated for the data, and whole songs are withheld for
    copyright: use it for research and pass nothing on.
    """

    name, title, _stamp, _last = "pmemo", "PMEmo", STEP, 1000
    where = "https://github.com/HuiZhangDB/PMEmo (its README links the archive, about 1.3 GB: PMEmo2019)"
    licence = "none stated for the data (MIT is of the code); choruses under their owners' copyright, for research"
    citation = """@inproceedings{zhang2018pmemo,
  title = {The PMEmo Dataset for Music Emotion Recognition},
  author = {Zhang, Kejun and Zhang, Hui and Li, Simeng and Yang, Changyuan and Sun, Lingyun},
  booktitle = {Proceedings of the 2018 ACM on International Conference on Multimedia Retrieval},
  pages = {135--142}, year = {2018}, doi = {10.1145/3206025.3206037}
}"""
    scale: ClassVar = {"static": (0.0, 1.0), "dynamic": (0.0, 1.0)}
    _labels: ClassVar = {kind: f"annotations/{kind}_annotations.csv" for kind in ("static", "dynamic")}
    _layout: ClassVar = {
        **{"audio": "chorus", "std": "annotations/static_annotations_std.csv", "metadata": "metadata.csv"},
        **_labels,
    }
    _optional = ("metadata",)
    _published = (
        r"chorus/\d+\.mp3|annotations/(static|dynamic)_annotations(_std)?\.csv|metadata\.csv|netease_soundcloud\.csv"
        r"|README[^/]*|(EDA|comments|features|lyrics)/.+"
    )

    def _read_static(self):
        means = _table(self._paths["static"], "musicId", {f"{axis.title()}(mean)": axis for axis in AXES})
        spread = _table(self._paths["std"], "musicId", {f"{axis.title()}(std)": f"{axis}_std" for axis in AXES})
        return means.join(spread[~spread.index.duplicated()])

    def _read_dynamic(self):
        columns = {"frameTime": "stamp", **{f"{axis.title()}(mean)": axis for axis in AXES}}
        return _table(self._paths["dynamic"], "musicId", columns).dropna()

    @classmethod
    def _write(cls, folder, songs, dynamic):
        clock = [f"{int(s) // 60:02d}:{int(s) % 60:02d}" for s in songs["seconds"]]
        songs = songs.assign(album="", begin="00:00", end=clock)
        for key, table, columns, header in (
            (
                "metadata",
                songs,
                ["song_id", "file", "title", "artist", "album", "seconds", "begin", "end"],
                _PMEMO_SONG,
            ),
            ("std", songs, ["song_id", "std", "std"], ["musicId", "Arousal(std)", "Valence(std)"]),
            ("dynamic", dynamic, ["song_id", "stamp", *AXES[::-1]], ["musicId", "frameTime", *_PMEMO_MEANS]),
            ("static", songs, ["song_id", *AXES[::-1]], ["musicId", *_PMEMO_MEANS]),
        ):
            (folder / cls._layout[key]).parent.mkdir(exist_ok=True)
            table[columns].round(4).to_csv(folder / cls._layout[key], header=header, index=False)


class DEAM(Dataset):
    """DEAM (MediaEval 2013 to 2015): 1,802 songs of the Free Music Archive and others, by crowdworkers.

    Read from its archives as unpacked (``MEMD_audio``, ``annotations``, ``metadata``) or from the copy on Kaggle
    (``DEAM_audio/MEMD_audio``, ``DEAM_Annotations/annotations``). Its headers have blanks after the commas, and the
    file of the songs over 2000 has eight columns more. The folder says "per second", the labels come twice a second.
    ``arousal.csv`` has a column more than ``valence.csv``: a label counts where both have one.
    """

    name, title, _stamp, _last = "deam", "DEAM", 0.0, 2058
    where = "https://cvml.unige.ch/databases/DEAM (DEAM_audio.zip, DEAM_Annotations.zip, metadata.zip, about 1.3 GB)"
    licence = "songs: Creative Commons, each its own; the rest: CC BY-NC, as users quote its manual.pdf (not seen)"
    citation = """@article{aljanaki2017developing,
  title = {Developing a benchmark for emotional analysis of music},
  author = {Aljanaki, Anna and Yang, Yi-Hsuan and Soleymani, Mohammad},
  journal = {PLOS ONE}, volume = {12}, number = {3}, pages = {e0173392}, year = {2017},
  doi = {10.1371/journal.pone.0173392}
}"""
    scale: ClassVar = {"static": (1.0, 9.0), "dynamic": (-1.0, 1.0)}
    _labels: ClassVar = {
        "static": "song_level/static_annotations_averaged_songs_*.csv",
        "dynamic": "dynamic (per second annotations)/{axis}.csv",
    }
    _layout: ClassVar = {
        "audio": "[DEAM_audio/]MEMD_audio",
        "static": f"{_AVERAGED}/song_level/static_annotations_averaged_songs_1_2000.csv",
        "full": f"{_AVERAGED}/song_level/static_annotations_averaged_songs_2000_2058.csv",
        "valence": f"{_AVERAGED}/dynamic (per second annotations)/valence.csv",
        "arousal": f"{_AVERAGED}/dynamic (per second annotations)/arousal.csv",
        "metadata": "metadata",
    }
    _optional = ("full", "metadata")
    _published = (
        r"(DEAM_audio/)?MEMD_audio/\d+\.mp3|(DEAM_Annotations/)?annotations/annotations (averaged|per each).+\.csv"
        r"|(metadata|features)/.+|manual\.pdf|README[^/]*|[A-Za-z_]+\.zip"
    )

    def _read_static(self):
        columns = {f"{axis}{end}": axis + end.replace("_mean", "") for end in ("_mean", "_std") for axis in AXES}
        return pd.concat([_table(self._paths[k], "song_id", columns) for k in ("static", "full") if self._paths[k]])

    def _read_dynamic(self):
        wide = {axis: _table(self._paths[axis], "song_id", r"sample_(\d+)ms") for axis in AXES}
        once = {axis: table[~table.index.duplicated()].stack() for axis, table in wide.items()}
        both = pd.concat(once, axis=1).dropna().rename_axis(["song_id", "stamp"]).reset_index("stamp")
        return both.assign(stamp=both["stamp"] / 1000)

    @classmethod
    def _write(cls, folder, songs, dynamic):
        places = {key: folder / re.sub(r"[\[\]]", "", place) for key, place in cls._layout.items()}
        for path in (places["metadata"] / "metadata", places["static"], places["valence"]):
            path.parent.mkdir(parents=True, exist_ok=True)
        for year, (low, table) in enumerate(_DEAM_SONGS.items(), 2013):
            header, line = table.splitlines(keepends=True)
            rows = songs[songs["song_id"].between(low, low + 999)].to_dict("records")
            file = places["metadata"] / f"metadata_{year}.csv"
            file.write_text(header + "".join(line.format(**row) for row in rows))
        for axis in AXES:
            wide = dynamic.pivot(index="song_id", columns="stamp", values=axis).round(4)
            if axis == "arousal":
                wide[wide.columns.max() + STEP] = np.nan
            wide.rename(columns=lambda t: f"sample_{1000 * t:.0f}ms").to_csv(places[axis])
        full, short = songs["song_id"] > 2000, [name for name in _DEAM_FULL if not re.search("max|min", name)]
        source = [name if name == "song_id" else "std" if "std" in name else name[1:8] for name in _DEAM_FULL]
        static = songs[source].round(2).set_axis(_DEAM_FULL, axis=1)
        static[full].to_csv(places["full"], index=False)
        static.loc[~full, short].to_csv(places["static"], index=False)


DATASETS: dict[str, type[Dataset]] = {"pmemo": PMEmo, "deam": DEAM}


def load(folder, name: str | None = None) -> Dataset:
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
        If the folder has neither layout (says what was expected and is missing), or a table cannot be read.
    """
    folder, kinds = Path(folder), [_kind(name)] if name else list(DATASETS.values())
    where = " ".join(f"{kind.title} is had from {kind.where}." for kind in kinds)
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. {where}")
    below = [path for path in sorted([*folder.glob("*"), *folder.glob("*/*")]) if path.is_dir()]
    wanting = []
    for kind in kinds:
        root = min((folder, *below), key=lambda path: len(kind._missing(path)))
        if not kind._missing(root):
            return kind(root)
        expected = ", ".join(place for key, place in kind._layout.items() if key not in kind._optional)
        wanting.append(f"{kind.title} expects {expected}; {root} lacks {', '.join(kind._missing(root))}.")
    titles = " or ".join(kind.title for kind in kinds)
    raise DatasetError(f"{folder} has not the layout of {titles}. {' '.join(wanting)} {where}")


def aligned(dynamic: pd.DataFrame, frame_rate: float, frames: int, start=0.0, lag=0.0) -> xr.DataArray:
    """Labels over time, one for each frame of a codec: a frame has the label of the half second its middle falls in.

    Parameters
    ----------
    dynamic : pd.DataFrame
        From :meth:`Dataset.dynamic`: a label at ``time`` describes the half second from there on.
    frame_rate : float, Hz
    frames : int
    start : float, s
        Where in the song the first frame begins.
    lag : float, s
        How long listeners take to answer: a frame gets the label given this much later. 2 to 4 s by Aljanaki, Wiering
        and Veltkamp 2015; 0 leaves the labels where they were published.

    Returns
    -------
    xr.DataArray [frame, axis]
        valence and arousal; nan where there is no label, as in the first 15 s; ``time`` (s): where a frame begins.

    Raises
    ------
    ValueError
        If the table is empty or lacks a column, or rate or number of frames is not positive.
    """
    if dynamic.empty or not {"time", *AXES} <= set(dynamic):
        raise ValueError(
            f"dynamic must be what Dataset.dynamic gives. Got columns {list(dynamic)}, {len(dynamic)} rows."
        )
    if frame_rate <= 0 or frames < 1:
        raise ValueError(f"frame_rate and frames must be positive. Got {frame_rate!r} and {frames!r}.")
    times = start + np.arange(frames) / frame_rate
    table = dynamic.sort_values("time")
    answered = times + 0.5 / frame_rate + lag
    at = np.searchsorted(table["time"], answered + 1e-9, side="right") - 1
    values = np.where((at >= 0)[:, None], table[AXES].to_numpy(float)[at], np.nan)
    values[answered >= table["time"].to_numpy()[at] + STEP] = np.nan
    return xr.DataArray(values, dims=("frame", "axis"), coords={"axis": AXES, "time": ("frame", times)})


def make(folder, name: str = "pmemo", songs: int = 24, seconds: float = 20.0, seed: int = 0) -> Dataset:
    """Write a small set in the published layout: music of the organisms' world, whose valence and arousal are known.

    Every second song goes over into one of another emotion (same instrument and tonic) half-way through its labelled
    part, at once; ids have gaps, two songs share an artist, DEAM has both static files. A folder with the same made set
    is opened, not written again. ``MADE.txt`` in it says what it is.

    Parameters
    ----------
    folder : str or Path
        New, empty, or of the same made set.
    name : {"pmemo", "deam"}
    songs : int
        At least 4, at most the highest id of the real set.
    seconds : float
        Of each song, at least 16: the first 15 have no labels.
    seed : int

    Raises
    ------
    ValueError
        If an argument is out of range.
    DatasetError
        If the folder holds anything else: nothing is ever overwritten.
    """
    kind, folder = _kind(name), Path(folder)
    if not 4 <= songs <= kind._last or seconds < UNLABELLED + 2 * STEP:
        raise ValueError(
            f"A made set needs 4 songs of {UNLABELLED + 2 * STEP:g} s or more. Got {songs!r} of {seconds!r} s."
        )
    change = UNLABELLED + STEP * max(1, round((seconds - UNLABELLED) / 2 / STEP))
    said = _MADE.format(title=kind.title, name=name, songs=songs, seconds=seconds, seed=seed, change=change)
    marker, audio = folder / MARKER, folder / re.sub(r"[\[\]]", "", kind._layout["audio"])
    if folder.exists() and any(folder.iterdir()) and not (marker.exists() and marker.read_text() == said):
        raise DatasetError(f"{folder} holds something else already. Choose another folder for the made set.")
    if marker.exists() and not kind._missing(folder):
        return kind(folder)
    audio.mkdir(parents=True, exist_ok=True)
    marker.write_text(said)
    rng, table, dynamic = np.random.default_rng([seed, 7]), [], []
    ids = [*np.sort(1 + rng.choice(kind._last - 1, songs - 1, replace=False)), kind._last]
    artists, pool = rng.permutation(songs) // 2, world.sample(400, seed=seed + 1)
    times = np.arange(UNLABELLED, seconds - STEP + 1e-9, STEP)
    for i, row in enumerate(world.sample(songs, seed=seed).to_dict("records")):
        far = pool[np.hypot(*(pool[axis] - row[axis] for axis in AXES)) > 1.5]
        later = {**far.iloc[rng.integers(len(far))], "instrument": row["instrument"]} if i % 2 else row
        heard = [music.clip(world.to_cues(part), seconds, 1000 * seed + i) for part in (row, later)]
        cut = round(change * music.SAMPLE_RATE) if i % 2 else len(heard[0])
        both = np.concatenate([heard[0][:cut], heard[1][: len(heard[0]) - cut]])
        wave = np.clip(librosa.resample(both, orig_sr=music.SAMPLE_RATE, target_sr=44_100), -1, 1)
        soundfile.write(audio / f"{ids[i]}.mp3", wave, 44_100, "MPEG_LAYER_III", format="MP3")
        felt = np.clip([[part[axis] / 3 for axis in AXES] for part in (row, later)], -1, 1)
        over_time = _rated(pd.DataFrame(felt[(times >= change).astype(int)], columns=AXES), kind.scale["dynamic"])
        dynamic.append(over_time.assign(song_id=ids[i], stamp=times + kind._stamp))
        whole = _rated(np.average(felt, axis=0, weights=[change, seconds - change]), kind.scale["static"])
        table.append((ids[i], f"{ids[i]}.mp3", f"Made song {i}", f"Made artist {artists[i]}", *whole))
    written = pd.DataFrame(table, columns=["song_id", "file", "title", "artist", *AXES])
    written["std"] = np.ptp(kind.scale["static"]) / 2 * world.PERCEPTION_NOISE / 3
    kind._write(folder, written.assign(seconds=seconds), pd.concat(dynamic, ignore_index=True))
    return kind(folder)


# ------------------------------------------------------------------------------------------------- details
def _kind(name):
    if name not in DATASETS:
        raise ValueError(f"name must be one of {sorted(DATASETS)}. Got {name!r}.")
    return DATASETS[name]


def _rescaled(values, scale):
    """From a published scale to -1 to 1."""
    return 2 * (values - scale[0]) / (scale[1] - scale[0]) - 1


def _rated(values, scale):
    """From -1 to 1 to a published scale."""
    return scale[0] + (values + 1) / 2 * (scale[1] - scale[0])


def _table(file, key, columns):
    """Numbers of a CSV by song id: some columns renamed, or those that match a pattern by the number in them."""
    try:
        table = pd.read_csv(file, encoding="utf-8-sig", index_col=False, low_memory=False)
    except (ValueError, OSError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        raise DatasetError(f"{file} is no readable CSV table ({error}). Get it again.") from error
    table.columns = [str(column).strip() for column in table]
    if isinstance(columns, str):
        columns = {column: int(hit[1]) for column in table if (hit := re.fullmatch(columns, column))} or {columns: 0}
    if missing := [column for column in (key, *columns) if column not in table]:
        raise DatasetError(f"{file} has no column {', '.join(missing)}: its header is {', '.join(table)[:200]}.")
    table = table[[key, *columns]].apply(pd.to_numeric, errors="coerce").dropna(subset=key).rename(columns=columns)
    return table.astype({key: int}).set_index(key).rename_axis("song_id")


def _credits(file):
    """(song id, artist) of a table of songs, which may be ragged."""
    with open(file, encoding="utf-8-sig", errors="replace", newline="") as lines:
        head, *rows = [[cell.strip().strip('"').strip() for cell in row] for row in csv.reader(lines)] or [[]]
    at = {name.casefold(): k for k, name in reversed([*enumerate(head)])}
    song, artist = at.get("musicid", at.get("song_id", at.get("id"))), at.get("artist", at.get("artists"))
    if song is None or artist is None:
        raise DatasetError(f"{file} names no song or no artist: its header is {', '.join(head)[:200]}.")
    for row in rows:
        if len(row) > max(song, artist) and row[song].isdigit() and row[artist].casefold() != "n/a":
            yield int(row[song]), row[artist]


def _measured(file, decode=True):
    """Seconds its header promises, seconds that can be decoded, and what is wrong ("" if nothing) with a file."""
    try:
        with soundfile.SoundFile(file) as sound:
            blocks = iter(lambda: len(sound.read(2**18)), 0) if decode else ()
            return sound.frames / sound.samplerate, sum(blocks) / sound.samplerate, ""
    except (soundfile.SoundFileError, OSError):
        present = "cannot be decoded as audio" if file.exists() and file.stat().st_size else "is empty (0 bytes)"
        return np.nan, np.nan, present if file.exists() else "is missing"
