"""Clips: generated or recorded excerpts with all that is known of how they came about.

On disk (:meth:`Clips.save`) they are a folder that anybody can open: one WAV file a clip,
``clips.csv`` with their prompts, seeds and settings, ``tokens.npy``, ``clips.json`` with what
all have in common and, where a melody was given, ``chroma.npy``.
"""

import csv
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import soundfile

from .. import cache, check

TABLE = "clips.csv"
TOKENS = "tokens.npy"
CHROMA = "chroma.npy"
COMMON = "clips.json"
#: What is read of the table.
COLUMNS = ("file", "prompt", "seed")


@dataclass(frozen=True)
class Clips:
    """Some clips of equal length.

    Attributes
    ----------
    tokens : np.ndarray [shape=(clip, n_q, frame)], int64
    audio : np.ndarray [shape=(clip, sample) or, of a stereo model, (clip, channel, sample)], float32
        Empty, shape (clip, 0), where it was not decoded.
    sample_rate, frame_rate : int, float
        In Hz.
    prompts : list of str
    seeds : list of int
    settings : dict
        seconds, temperature, top_k, cfg and, if there was one, the negative prompt.
    begun : float
        Seconds at the start of each clip that were given, not generated.
    chroma : np.ndarray [shape=(clip, chroma frame, pitch class)], optional
        Of the melody that each clip was generated with: the model reads it in a replay, too. Of a
        song longer than the model's limit, that of its first window.
    """

    tokens: np.ndarray
    audio: np.ndarray
    sample_rate: int
    frame_rate: float
    prompts: list[str]
    seeds: list[int]
    settings: dict
    begun: float = 0.0
    chroma: np.ndarray | None = None

    def __len__(self):
        return len(self.prompts)

    @property
    def mono(self) -> np.ndarray:
        """The audio in mono, [clip, sample]: of stereo the mean of both channels."""
        return self.audio.mean(1) if self.audio.ndim == 3 else self.audio

    def audio_at(self, sample_rate: int) -> np.ndarray:
        """The audio at another sample rate in Hz, for a page on which clips of several models stand
        beside each other.
        """
        rate = check.count("sample_rate", sample_rate, 1)
        if rate == self.sample_rate:
            return self.audio
        return librosa.resample(self.audio, orig_sr=self.sample_rate, target_sr=rate)

    def __getitem__(self, which) -> "Clips":
        """Some of the clips, by number, slice, mask or list of numbers (which may repeat)."""
        which = np.arange(len(self))[which].reshape(-1)
        return replace(
            self,
            tokens=self.tokens[which],
            audio=self.audio[which],
            prompts=[self.prompts[i] for i in which],
            seeds=[self.seeds[i] for i in which],
            chroma=None if self.chroma is None else self.chroma[which],
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a clip: its file (as :meth:`save` names it), prompt, seed and settings."""
        files = [f"{i:04d}.wav" for i in range(len(self))]
        table = pd.DataFrame({"file": files, "prompt": self.prompts, "seed": self.seeds})
        return table.assign(**self.settings, begun=self.begun)

    def save(self, folder: str | os.PathLike) -> Path:
        """Write the clips into a folder of their own, which appears whole or not at all.

        Parameters
        ----------
        folder : str or path
            Made if it does not exist; it must be empty.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        FileExistsError
            The folder holds something, or is a file.
        """
        folder = check.path("folder", folder)
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file: choose an empty folder, or a new one.")
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty: choose a folder that is, or a new one.")
        # a link stays one, and "." has a name
        with cache.replace_folder(folder.resolve()) as new:
            self._write(new)
        return folder

    def _write(self, folder):
        table = self.to_frame()
        if self.audio.shape[-1]:
            for file, audio in zip(table["file"], self.audio, strict=True):
                soundfile.write(folder / file, audio.T, self.sample_rate, "FLOAT")
        # every text in quotation marks: a prompt may hold what ends a line
        how = {"quoting": csv.QUOTE_NONNUMERIC, "lineterminator": "\n"}
        table.to_csv(folder / TABLE, index=False, **how)
        np.save(folder / TOKENS, self.tokens)
        if self.chroma is not None:
            np.save(folder / CHROMA, self.chroma)
        common = {"sample_rate": self.sample_rate, "frame_rate": self.frame_rate}
        common |= {"settings": self.settings, "begun": self.begun}
        (folder / COMMON).write_text(json.dumps(common, indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Clips":
        """The clips that :meth:`save` has written.

        Raises
        ------
        ValueError
            A file that is missing or damaged, or that does not fit the others.
        """
        folder = check.path("folder", folder)
        for name in (TABLE, TOKENS, COMMON):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} lacks {name}. Clips.save writes it: save them again.")
        table = _read_table(folder / TABLE)
        try:
            tokens = np.load(folder / TOKENS, allow_pickle=False)
            sung = (folder / CHROMA).is_file()
            chroma = np.load(folder / CHROMA, allow_pickle=False) if sung else None
            common = json.loads((folder / COMMON).read_text())
            audio = _read_audio(folder, table["file"], common["sample_rate"])
            prompts, seeds = table["prompt"].tolist(), table["seed"].tolist()
        except (ValueError, KeyError, TypeError, soundfile.SoundFileError) as error:
            raise ValueError(f"{folder} holds damaged clips: {error}") from error
        check.same_length(**{TABLE: prompts, TOKENS: tokens})
        if chroma is not None:
            check.same_length(**{TABLE: prompts, CHROMA: chroma})
        return cls(tokens, audio, prompts=prompts, seeds=seeds, chroma=chroma, **common)

    def under(self, prompts: list[str]) -> "Clips":
        """The same music under other prompts, for replay."""
        return replace(self, prompts=check.texts("prompts", prompts, len(self)))

    def silent(self) -> "Clips":
        """The same without sound: what another machine needs to read them."""
        return replace(self, audio=self.mono[:, :0])


def _read_table(file):
    """The table of clips, with the columns that are read of it."""
    try:
        table = pd.read_csv(file, keep_default_na=False, dtype={"file": str, "prompt": str})
    except ValueError as error:
        raise ValueError(f"{file.parent} holds damaged clips: {error}") from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ValueError(
            f"{file} lacks the columns {missing}: it has {list(table)}. Clips.save writes "
            f"{list(COLUMNS)} and what was given beside them."
        )
    return table


def _read_audio(folder, files, sample_rate):
    """Audio [clip, (channel,) sample]; empty where none was saved."""
    there = [(folder / file).is_file() for file in files]
    if not any(there):
        return np.zeros((len(files), 0), np.float32)
    if not all(there):
        raise ValueError(f"{files[there.index(False)]} is missing")
    read = [soundfile.read(folder / file, dtype="float32") for file in files]
    rates = {rate for _, rate in read}
    if rates != {sample_rate}:
        raise ValueError(f"sound files of {sorted(rates)} Hz, and {sample_rate} Hz were saved")
    return np.stack([audio.T for audio, _ in read])
