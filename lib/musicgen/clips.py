"""Clips: generated or recorded excerpts with all that is known of how they came about."""

from dataclasses import dataclass, replace

import numpy as np

from .. import check


@dataclass(frozen=True)
class Clips:
    """Some clips of equal length.

    Attributes
    ----------
    tokens : np.ndarray [shape=(clip, n_q, frame)], int64
    audio : np.ndarray [shape=(clip, sample)], float32
        Empty, shape (clip, 0), where it was not decoded.
    sample_rate, frame_rate : int, float
        In Hz.
    prompts : list of str
    seeds : list of int
    settings : dict
        seconds, temperature, top_k, cfg and, if there was one, the negative prompt.
    """

    tokens: np.ndarray
    audio: np.ndarray
    sample_rate: int
    frame_rate: float
    prompts: list[str]
    seeds: list[int]
    settings: dict

    def __len__(self):
        return len(self.prompts)

    def __getitem__(self, which) -> "Clips":
        """Some of the clips, by number, slice, mask or list of numbers (which may repeat)."""
        which = np.arange(len(self))[which].reshape(-1)
        return replace(
            self,
            tokens=self.tokens[which],
            audio=self.audio[which],
            prompts=[self.prompts[i] for i in which],
            seeds=[self.seeds[i] for i in which],
        )

    def under(self, prompts: list[str]) -> "Clips":
        """The same music under other prompts, for replay."""
        return replace(self, prompts=check.texts("prompts", prompts, len(self)))

    def silent(self) -> "Clips":
        """The same without sound: what another machine needs to read them."""
        return replace(self, audio=self.audio[:, :0])
