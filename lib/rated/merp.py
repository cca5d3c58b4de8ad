"""MERP (Koh et al. 2023), as it is published."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from .dataset import Dataset
from .errors import DatasetError
from .labels import AXES

_ANSWERS = "annotations_filtered.parquet"
#: Rows of that table, a rater and song each, over the songs.
_RATERS = 3482 / 54
#: How the songs are named that are DEAM's.
_FROM_DEAM = "deam_"


class MERP(Dataset):
    """MERP: 54 whole songs, 50 of the Free Music Archive and 4 of DEAM, by 277 crowdworkers.

    Read as huggingface.co/datasets/amaai-lab/MERP has it: ``audio/<song_id>.wav``, and
    ``annotations_filtered.parquet``, the answers that its authors used: a row a rater and song,
    with song_id, and valence and arousal as what the rater answered ten times a second, rescaled
    to -1 to 1 for each rater. Layout and headers are as its card and those who read it give them;
    the set itself was not at hand. So its raw answers, which are on the sliders' own scale, are not
    read, and no labels over time are given: its authors cut each rater's answers to the length of
    their features, and a reader of the files finds 31.5 s of them for a song of 173.5 s, so that it
    is not known where in the song they stand.

    What a rater says of a whole song is the mean of the rater's answers; the song's label is the
    mean over its raters. No artists are given. A song of DEAM is the same song here and there
    (``song``), so that it is never learned from in one set and tested in the other.

    References
    ----------
    Koh, Cheuk, Heung, Agres and Herremans 2023, MERP: A music dataset with emotion ratings and
    raters' profile information, Sensors 23(1):382. Code: github.com/dorienh/MERP
    (``processing/pruning.py``).
    """

    name = "merp"
    title = "MERP"
    where = "https://huggingface.co/datasets/amaai-lab/MERP"
    licence = "ratings: CC BY 4.0; songs: Creative Commons, each its own"
    citation = """@article{koh2023merp,
  title = {{MERP}: A Music Dataset with Emotion Ratings and Raters' Profile Information},
  author = {Koh, En Yan and Cheuk, Kin Wai and Heung, Kwan Yee and Agres, Kat R. and
    Herremans, Dorien},
  journal = {Sensors}, volume = {23}, number = {1}, pages = {382}, year = {2023},
  doi = {10.3390/s23010382}
}"""
    scale: ClassVar = {"static": (-1.0, 1.0)}
    stamp_shift = 0.0
    last_song = 54
    named_songs = True
    suffix = ".wav"
    label_files: ClassVar = {"static": _ANSWERS}
    places: ClassVar = {"audio": "audio", "answers": _ANSWERS}
    optional = ()
    published = r"audio/.+\.wav|[^/]+\.(parquet|json|csv|md)|README[^/]*"

    def read_answers(self) -> pd.DataFrame:
        """The mean of what each rater answered during a song."""
        table = _table(self.paths["answers"])
        means = {axis: [np.mean(trace) for trace in table[axis]] for axis in AXES}
        index = pd.Index(table["song_id"].astype("str"), name="song_id")
        return pd.DataFrame(means, index=index, dtype=float)

    def read_static(self) -> pd.DataFrame:
        """Means and standard deviations over raters."""
        by_song = self.read_answers().groupby("song_id")
        return by_song.mean().join(by_song.std().add_suffix("_std"))

    def read_artists(self) -> dict[str, str]:
        """None is given."""
        return {}

    @classmethod
    def usual_raters(cls, song_id) -> float:
        """The mean over songs."""
        return _RATERS

    def identity(self, song_id: str) -> str:
        """A song's name among the songs of all sets: those of DEAM are DEAM's."""
        if song_id.startswith(_FROM_DEAM):
            return f"deam {song_id.removeprefix(_FROM_DEAM)}"
        return super().identity(song_id)

    @classmethod
    def made_ids(cls, songs: int, rng: np.random.Generator) -> list[str]:
        """Names as published; the last is a song of DEAM."""
        numbers = np.sort(rng.choice(900, songs - 1, replace=False))
        names = [f"{folder:02d}_{number}" for folder, number in enumerate(numbers)]
        return [*names, f"{_FROM_DEAM}115"]

    @classmethod
    def write_tables(
        cls, folder: Path, songs: pd.DataFrame, dynamic: pd.DataFrame, answers: pd.DataFrame
    ) -> None:
        """Write the answers of a made set as they are published: each rater's all the same."""
        samples = round(10 * songs["seconds"].iloc[0])
        table = answers[["song_id", *AXES]].copy()
        for axis in AXES:
            table[axis] = [np.full(samples, answer) for answer in table[axis]]
        table.to_parquet(folder / _ANSWERS, index=False)


def _table(file):
    """The table of answers, with the columns that are read."""
    try:
        table = pd.read_parquet(file)
    except (ValueError, OSError) as error:
        raise DatasetError(
            f"{file} is no readable Parquet table ({error}). Get it again."
        ) from error
    absent = [column for column in ("song_id", *AXES) if column not in table]
    if absent:
        header = ", ".join(map(str, table))[:200]
        raise DatasetError(f"{file} has no column {', '.join(absent)}: its columns are {header}.")
    return table
