"""PMEmo (Zhang et al. 2018), as it is published."""

from pathlib import Path
from typing import ClassVar

import pandas as pd

from .dataset import Dataset
from .labels import STEP
from .tables import Numbers

_SONG_COLUMNS = {
    "musicId": "song_id",
    "fileName": "file",
    "title": "title",
    "artist": "artist",
    "album": "album",
    "duration": "seconds",
    "chorus_start_time": "begin",
    "chorus_end_time": "end",
}
# arousal stands first in all of its tables
_MEANS = {"Arousal(mean)": "arousal", "Valence(mean)": "valence"}
_SPREADS = {"Arousal(std)": "arousal_std", "Valence(std)": "valence_std"}
_STATIC = Numbers("musicId", _MEANS)
_STATIC_STD = Numbers("musicId", _SPREADS)
_DYNAMIC = Numbers("musicId", {"frameTime": "stamp", **_MEANS})


class PMEmo(Dataset):
    """PMEmo2019: 794 choruses of chart pop, 767 of them labelled, by 457 listeners.

    The licence in its repository is of its code; none is stated for the data, and whole songs are
    withheld for copyright: use it for research and pass nothing on.

    Layout and headers are as README.txt, README.md, issues and notebooks of
    github.com/HuiZhangDB/PMEmo give them; the set itself was not at hand. At least ten listeners
    rated a song (huisblog.cn/PMEmo): with ten for all, the ceiling that their disagreement sets is
    rather too low than too high. Whether their standard deviations divide by their number or by one
    less is not said; by one less is taken for granted.

    References
    ----------
    Zhang, Zhang, Li, Yang and Sun 2018, The PMEmo dataset for music emotion recognition, ICMR,
    135-142.
    """

    name = "pmemo"
    title = "PMEmo"
    where = (
        "https://github.com/HuiZhangDB/PMEmo (its README links the archive, about 1.3 GB: "
        "PMEmo2019)"
    )
    licence = (
        "none stated for the data (MIT is of the code); choruses under their owners' copyright, "
        "for research"
    )
    citation = """@inproceedings{zhang2018pmemo,
  title = {The PMEmo Dataset for Music Emotion Recognition},
  author = {Zhang, Kejun and Zhang, Hui and Li, Simeng and Yang, Changyuan and Sun, Lingyun},
  booktitle = {Proceedings of the 2018 ACM on International Conference on Multimedia Retrieval},
  pages = {135--142}, year = {2018}, doi = {10.1145/3206025.3206037}
}"""
    scale: ClassVar = {"static": (0.0, 1.0), "dynamic": (0.0, 1.0)}
    stamp_shift = STEP  # a stamp is the end of its half second
    last_song = 1000
    label_files: ClassVar = {
        "static": "annotations/static_annotations.csv",
        "dynamic": "annotations/dynamic_annotations.csv",
    }
    places: ClassVar = {
        "audio": "chorus",
        "std": "annotations/static_annotations_std.csv",
        "metadata": "metadata.csv",
        **label_files,
    }
    optional = ("metadata",)
    published = (
        r"chorus/\d+\.mp3|annotations/(static|dynamic)_annotations(_std)?\.csv|metadata\.csv"
        r"|netease_soundcloud\.csv|README[^/]*|(EDA|comments|features|lyrics)/.+"
    )

    def read_static(self) -> pd.DataFrame:
        """Labels of whole songs as published."""
        means = _STATIC.read(self.paths["static"])
        spreads = _STATIC_STD.read(self.paths["std"])
        return means.join(spreads[~spreads.index.duplicated()])

    @classmethod
    def usual_raters(cls, song_id) -> float:
        """Ten rated a song at least."""
        return 10.0

    def read_dynamic(self) -> pd.DataFrame:
        """Labels over time as published."""
        return _DYNAMIC.read(self.paths["dynamic"])

    @classmethod
    def write_tables(
        cls, folder: Path, songs: pd.DataFrame, dynamic: pd.DataFrame, answers: pd.DataFrame
    ) -> None:
        """Write the tables of a made set as they are published."""
        ends = [_clock(seconds) for seconds in songs["seconds"]]
        songs = songs.assign(album="", begin="00:00", end=ends)
        for part, table, columns in (
            ("metadata", songs, _SONG_COLUMNS),
            ("std", songs, {"musicId": "song_id", **_SPREADS}),
            ("dynamic", dynamic, {"musicId": "song_id", "frameTime": "stamp", **_MEANS}),
            ("static", songs, {"musicId": "song_id", **_MEANS}),
        ):
            file = folder / cls.places[part]
            file.parent.mkdir(exist_ok=True)
            written = table[list(columns.values())].round(4)
            written.to_csv(file, header=list(columns), index=False)


def _clock(seconds):
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
