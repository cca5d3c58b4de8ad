"""DEAM (Aljanaki, Yang and Soleymani 2017), as it is published."""

import re
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from . import layout
from .dataset import Dataset
from .labels import AXES, STEP
from .tables import Numbers

_AVERAGED = "[DEAM_Annotations/]annotations/annotations averaged per song"
_EACH_RATER = "[DEAM_Annotations/]annotations/annotations per each rater"
_SONG_LEVEL = "song_level/static_annotations_averaged_songs"
_PER_SECOND = "dynamic (per second annotations)"
_STATIC = Numbers(
    "song_id",
    {
        "valence_mean": "valence",
        "arousal_mean": "arousal",
        "valence_std": "valence_std",
        "arousal_std": "arousal_std",
    },
)
_ANSWERS = Numbers("SongId", {"Valence": "valence", "Arousal": "arousal"})
#: A column a time, in milliseconds.
_DYNAMIC = Numbers("song_id", r"sample_(\d+)ms")
#: Song ids from which on the songs are whole, in a table of their own.
_WHOLE_SONGS = 2001
#: Headers of that table with their blanks, and one too many, as published.
_WHOLE_HEADER = (
    "song_id, valence_mean, valence_std, valence_ max_mean, valence_max_std, valence_min_mean, "
    "valence_min_std, arousal_mean, arousal_std, arousal_max_mean, arousal_max_std, "
    "arousal_min_mean, arousal_min_std"
).split(",")
_EXCERPT_HEADER = [name for name in _WHOLE_HEADER if not re.search("max|min", name)]
#: Lowest song id of each year's table of songs -> its header and a line, padded and ragged as
#: published.
_SONG_TABLES = {
    1: (
        "song_id,file_name,Artist,Song title,start of the segment (min.sec),"
        "end of the segment (min.sec),Genre\n",
        '{song_id},{file},"\t{artist}","\t{title}",0,0.2,"\tmade"\n',
    ),
    1001: (
        "Id,Artist,Album,Track,Genre,segment start,segment end\n",
        "{song_id},{artist},,{title},made,0,20,made,too\n",
    ),
    2001: (
        "id,Filename,title,artist,album,genre\n",
        "{song_id},{file},{title},{artist},n/a,made\n",
    ),
}


class DEAM(Dataset):
    """DEAM (MediaEval 2013 to 2015): 1,802 songs, of the Free Music Archive and others, by
    crowdworkers.

    Read from its archives as unpacked (``MEMD_audio``, ``annotations``, ``metadata``) or from the
    copy on Kaggle (``DEAM_audio/MEMD_audio``, ``DEAM_Annotations/annotations``). Its headers have
    blanks after the commas, and the file of the songs over 2000 has eight columns more. The folder
    says "per second", the labels come twice a second. ``arousal.csv`` has a column more than
    ``valence.csv``: a label counts where both have one. What each rater answered of whole songs is
    read of the excerpts (``annotations per each rater/song_level``: workerID, SongId, Valence,
    Arousal, as users read them); the file of the songs over 2000 has other columns, and is not. At
    least ten workers rated an excerpt, five a whole song (Aljanaki, Yang and Soleymani 2017). The
    standard deviations divide by the number of raters: all 24 that a copy's page shows
    (huggingface.co/datasets/Rehead/DEAM_stripped_vocals) follow so from whole answers of ten or
    five raters, and six of them if divided by one less.

    Layout and headers are as the page of DEAM's first part (cvml.unige.ch/databases/emoMusic) and
    the loaders and audits of those who have the files give them; its archive could not be opened
    here.

    References
    ----------
    Aljanaki, Yang and Soleymani 2017, Developing a benchmark for emotional analysis of music, PLOS
    ONE 12(3):e0173392.
    """

    name = "deam"
    title = "DEAM"
    where = (
        "https://cvml.unige.ch/databases/DEAM (DEAM_audio.zip, DEAM_Annotations.zip, metadata.zip, "
        "about 1.3 GB)"
    )
    licence = (
        "songs: Creative Commons, each its own; the rest: CC BY-NC, as users quote its manual.pdf "
        "(not seen)"
    )
    citation = """@article{aljanaki2017developing,
  title = {Developing a benchmark for emotional analysis of music},
  author = {Aljanaki, Anna and Yang, Yi-Hsuan and Soleymani, Mohammad},
  journal = {PLOS ONE}, volume = {12}, number = {3}, pages = {e0173392}, year = {2017},
  doi = {10.1371/journal.pone.0173392}
}"""
    scale: ClassVar = {"static": (1.0, 9.0), "dynamic": (-1.0, 1.0)}
    stamp_shift = 0.0  # a stamp is the beginning of its half second
    last_song = 2058
    spread_ddof = 0
    label_files: ClassVar = {
        "static": f"{_SONG_LEVEL}_*.csv",
        "dynamic": f"{_PER_SECOND}/{{axis}}.csv",
    }
    places: ClassVar = {
        "audio": "[DEAM_audio/]MEMD_audio",
        "static": f"{_AVERAGED}/{_SONG_LEVEL}_1_2000.csv",
        "full": f"{_AVERAGED}/{_SONG_LEVEL}_2000_2058.csv",
        "valence": f"{_AVERAGED}/{_PER_SECOND}/valence.csv",
        "arousal": f"{_AVERAGED}/{_PER_SECOND}/arousal.csv",
        "answers": f"{_EACH_RATER}/song_level/static_annotations_songs_1_2000.csv",
        "metadata": "metadata",
    }
    optional = ("full", "answers", "metadata")
    published = (
        r"(DEAM_audio/)?MEMD_audio/\d+\.mp3"
        r"|(DEAM_Annotations/)?annotations/annotations (averaged|per each).+\.csv"
        r"|(metadata|features)/.+|manual\.pdf|README[^/]*|[A-Za-z_]+\.zip"
    )

    def read_static(self) -> pd.DataFrame:
        """Labels of whole songs as published."""
        files = [self.paths[part] for part in ("static", "full") if self.paths[part]]
        return pd.concat([_STATIC.read(file) for file in files])

    def read_dynamic(self) -> pd.DataFrame:
        """Labels over time as published."""
        tables = {axis: self._axis_over_time(axis) for axis in AXES}
        both = pd.concat(tables, axis=1).dropna().rename_axis(["song_id", "stamp"])
        both = both.reset_index("stamp")
        return both.assign(stamp=both["stamp"] / 1000)

    def read_answers(self) -> pd.DataFrame:
        """What each rater answered of the excerpts, as published."""
        file = self.paths["answers"]
        return _ANSWERS.read(file) if file else super().read_answers()

    @classmethod
    def usual_raters(cls, song_id) -> float:
        """Ten rated an excerpt, five a whole song."""
        return 5.0 if song_id >= _WHOLE_SONGS else 10.0

    def _axis_over_time(self, axis):
        """One axis by song and time: a row a label."""
        table = _DYNAMIC.read(self.paths[axis])
        again = table.index.duplicated()
        if again.any():
            warnings.warn(
                f"{self.paths[axis]} has more than one row for song {table.index[again][0]} "
                f"({again.sum()} rows in all): the first counts.",
                stacklevel=2,
            )
        return table[~again].stack()

    @classmethod
    def write_tables(
        cls, folder: Path, songs: pd.DataFrame, dynamic: pd.DataFrame, answers: pd.DataFrame
    ) -> None:
        """Write the tables of a made set as they are published."""
        places = {part: folder / layout.full(place) for part, place in cls.places.items()}
        for path in (
            places["metadata"] / "any",
            *map(places.get, ("static", "valence", "answers")),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
        _write_songs(places["metadata"], songs)
        for axis in AXES:
            _write_over_time(places[axis], dynamic, axis)
        _write_static(places, songs)
        _write_answers(places["answers"], answers)


def _write_songs(folder, songs):
    for year, (lowest, (header, line)) in enumerate(_SONG_TABLES.items(), 2013):
        rows = songs[songs["song_id"].between(lowest, lowest + 999)].to_dict("records")
        text = header + "".join(line.format(**row) for row in rows)
        (folder / f"metadata_{year}.csv").write_text(text)


def _write_over_time(file, dynamic, axis):
    wide = dynamic.pivot(index="song_id", columns="stamp", values=axis).round(4)
    if axis == "arousal":  # one column more, as published
        wide[wide.columns.max() + STEP] = np.nan
    wide.rename(columns=lambda stamp: f"sample_{1000 * stamp:.0f}ms").to_csv(file)


def _write_static(places, songs):
    table = pd.DataFrame({name: songs[_source(name)] for name in _WHOLE_HEADER}).round(2)
    whole = songs["song_id"] >= _WHOLE_SONGS
    table[whole].to_csv(places["full"], index=False)
    table.loc[~whole, _EXCERPT_HEADER].to_csv(places["static"], index=False)


def _write_answers(file, answers):
    table = answers[answers["song_id"] < _WHOLE_SONGS].round(4)
    columns = {"rater": "workerID", "song_id": "SongId", "valence": "Valence", "arousal": "Arousal"}
    table[list(columns)].rename(columns=columns).to_csv(file, index=False)


def _source(header):
    """The made column that stands under a header: an axis's means are one, and its spreads."""
    name = header.strip()
    if name == "song_id":
        return name
    axis = name.split("_")[0]
    return f"{axis}_std" if name.endswith("std") else axis
