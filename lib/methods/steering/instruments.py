"""Whether the instrument that a prompt asks for is heard."""

import re

import pandas as pd

from ... import check, prompts
from ...hearing import timbre
from ...musicgen.model import Clips, Model
from ...organism import captions, world

#: Seeds of the neutral prompts, and of their songs.
PROMPT_SEED = 77
SONG_SEED = 7700


class Instruments:
    """Recognises instruments by their timbre, learned from a model's own neutral songs.

    Parameters
    ----------
    model : Model
    n : int
        Songs.
    seconds : float
        Of each.

    Attributes
    ----------
    reliability : stats.Estimate
        How often the instrument of an unsteered song is recognised.

    Raises
    ------
    ValueError
        Too few songs, before any is sung.
    """

    def __init__(self, model: Model, n: int = 64, seconds: float = 3.0):
        language = "natural" if world.of(model) is None else "organism"
        neutral = prompts.crossed("neutral", check.count("n", n), language, seed=PROMPT_SEED)
        timbre.enough(neutral["instrument"])
        asked = list(neutral["prompt"])
        songs = model.generate(asked, seconds, SONG_SEED, keep=True, progress=False)
        described = timbre.describe(songs.mono, songs.sample_rate)
        self._recogniser = timbre.Recogniser(described, neutral["instrument"])
        self.reliability = self._recogniser.reliability

    def hear(self, clips: Clips) -> pd.DataFrame:
        """What is heard of the instrument that each prompt names.

        Returns
        -------
        pd.DataFrame
            One row a clip: instrument (whether it is the likeliest) and instrument share (its
            probability); true and 1 where the prompt names none.
        """
        shares = self._recogniser.shares(clips.mono, clips.sample_rate)
        asked = [_instrument(prompt) for prompt in clips.prompts]
        likeliest = shares.idxmax(axis=1)
        rows = [
            (name is None or name == heard, 1.0 if name is None else shares.at[i, name])
            for i, (name, heard) in enumerate(zip(asked, likeliest, strict=True))
        ]
        return pd.DataFrame(rows, columns=["instrument", "instrument share"])


def _instrument(prompt):
    """The instrument that a prompt names, by any of its words, or None."""
    said = set(re.findall(r"[\w-]+", prompt.casefold()))
    named = captions.INSTRUMENT_WORDS.items()
    return next((name for name, words in named if said & {name, *words}), None)
