"""MUSIFEAST-17 (van der Walle et al. 2025), as it is published."""

import csv
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from . import layout
from .dataset import Dataset
from .tables import Numbers, text_table

_STATIC = Numbers(
    "CLIP_NAME",
    {
        "valence_M": "valence",
        "arousal_M": "arousal",
        "valence_SD": "valence_std",
        "arousal_SD": "arousal_std",
    },
    named=True,
)
_ANSWERS = Numbers(
    "clip_name",
    {"clip_response.Valence": "valence", "clip_response.Arousal": "arousal"},
    named=True,
)
#: 701 people heard 17 clips each, of 356.
_RATERS = 701 * 17 / 356


class MUSIFEAST17(Dataset):
    """MUSIFEAST-17: 356 instrumental clips of 30 s in 17 genres, by 701 people in the UK and US.

    Read as github.com/HazelvdW/MUSIFEAST-17 has it, whose tables and clips were at hand: the
    normative table of all participants, and what each of them answered where ``data`` holds
    ``M17_raw_data_cleaned.csv``, whose headers are as ``Raw_data_description.pdf`` beside it gives
    them. Perceived valence and arousal on Likert scales from 1 to 5; nothing over time. A clip was
    heard by 33.5 people on average, which is taken for all where the answers are not there. By the
    published table the highest CCC (``reliability``) is 0.92 [0.90, 0.93] for valence and 0.98
    [0.98, 0.98] for arousal.

    References
    ----------
    van der Walle, Wu, Margulis and Jakubowski 2025, MUSIFEAST-17: MUsic Stimuli for Imagination,
    Familiarity, Emotion, and Aesthetic STudies across 17 genres, Behavior Research Methods 57(7).
    """

    name = "musifeast17"
    title = "MUSIFEAST-17"
    where = "https://github.com/HazelvdW/MUSIFEAST-17 (and its tables from https://osf.io/5ebz2)"
    licence = "tables: CC0 1.0; clips: of commercial recordings, fair use for academic research"
    citation = """@article{vanderwalle2025musifeast,
  title = {{MUSIFEAST-17}: {MUsic} Stimuli for Imagination, Familiarity, Emotion, and Aesthetic
    {STudies} across 17 genres},
  author = {van der Walle, Hazel A. and Wu, Wei and Margulis, Elizabeth H. and Jakubowski, Kelly},
  journal = {Behavior Research Methods}, volume = {57}, number = {7}, year = {2025},
  doi = {10.3758/s13428-025-02724-0}
}"""
    scale: ClassVar = {"static": (1.0, 5.0)}
    stamp_shift = 0.0
    last_song = 356
    named_songs = True
    label_files: ClassVar = {"static": "data/MUSIFEAST17_all.csv"}
    places: ClassVar = {
        "audio": "stimuli",
        "static": "data/MUSIFEAST17_all.csv",
        "answers": "data/M17_raw_data_cleaned.csv",
    }
    optional = ("answers",)
    published = (
        r"stimuli/.+\.(mp3|csv|pdf)|data/.+\.(csv|pdf)|docs/.+|app\.R|README[^/]*|LICEN[CS]E[^/]*"
    )

    def read_static(self) -> pd.DataFrame:
        """Labels of whole clips as published."""
        return _STATIC.read(self.paths["static"])

    def read_answers(self) -> pd.DataFrame:
        """What each participant answered, as published."""
        file = self.paths["answers"]
        return _ANSWERS.read(file) if file else super().read_answers()

    def read_artists(self) -> dict[str, str]:
        """The artist of each clip; the composer, where it is classical."""
        table = text_table(self.paths["static"]).dropna(subset=["CLIP_NAME", "ARTIST"])
        return dict(zip(table["CLIP_NAME"], table["ARTIST"].astype("str"), strict=True))

    @classmethod
    def usual_raters(cls, song_id) -> float:
        """The mean over clips."""
        return _RATERS

    @classmethod
    def made_ids(cls, songs: int, rng: np.random.Generator) -> list[str]:
        """Names as published."""
        names = [
            f"{g}_{f}_{i:02d}" for g in ("60s", "VG") for f in ("HIGH", "LOW") for i in range(89)
        ]
        return sorted(rng.choice(names, songs, replace=False).tolist())

    @classmethod
    def write_tables(
        cls, folder: Path, songs: pd.DataFrame, dynamic: pd.DataFrame, answers: pd.DataFrame
    ) -> None:
        """Write the tables of a made set as they are published, without most of their columns."""
        columns = {"song_id": "CLIP_NAME", "title": "TRACK_TITLE", "artist": "ARTIST"}
        columns |= {ours: header for header, ours in _STATIC.columns.items()}
        static = folder / layout.full(cls.places["static"])
        static.parent.mkdir()
        table = songs[list(columns)].rename(columns=columns)
        table.index = table.index + 1
        table.to_csv(static, quoting=csv.QUOTE_NONNUMERIC, index_label="")
        columns = {"song_id": "clip_name", "rater": "PROLIFIC_PID"}
        columns |= {ours: header for header, ours in _ANSWERS.columns.items()}
        answers = answers[list(columns)].rename(columns=columns)
        answers.to_csv(folder / cls.places["answers"], index=False)
