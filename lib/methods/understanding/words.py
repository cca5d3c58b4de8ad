"""A bank of emotion words, and prompts that differ in nothing but the word."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ... import check
from ...musicgen.model import Model
from ...organism import captions
from ...prompts import TEMPLATES, wording

#: What stands in for an emotion word where none is to be said.
NEUTRAL = ("simple", "short", "brief", "original")


def bank(each: int = 8) -> pd.DataFrame:
    """Emotion words.

    Parameters
    ----------
    each : int
        Words of each emotion, from 2 to 12.

    Returns
    -------
    pd.DataFrame
        Columns word and emotion.
    """
    each = check.count("each", each, 2, min(map(len, captions.EMOTION_WORDS.values())))
    rows = [
        (word, emotion)
        for emotion, words in captions.EMOTION_WORDS.items()
        for word in words[:each]
    ]
    return pd.DataFrame(rows, columns=["word", "emotion"])


def on_the_circle(model: Model) -> pd.DataFrame:
    """Words that people have placed on the circle of affect, of those that a model reads.

    Russell (1980, *A circumplex model of affect*) had people sort 28 words for feelings and scaled
    them around a circle: 0 degrees is pleasure, 90 is arousal.

    Parameters
    ----------
    model : Model
        An organism's small language has 11 of them.

    Returns
    -------
    pd.DataFrame
        Columns word, valence and arousal (a place on the unit circle).
    """
    read = [word for word in wording.CIRCUMPLEX if not model.unread([word])]
    angles = np.deg2rad([wording.CIRCUMPLEX[word] for word in read])
    return pd.DataFrame({"word": read, "valence": np.cos(angles), "arousal": np.sin(angles)})


def cues() -> pd.DataFrame:
    """Words for the two ends of every cue: columns word, cue, end."""
    rows = [
        (word, cue, end)
        for cue, ends in captions.CUE_WORDS.items()
        for end in ("low", "high")
        for word in ends[end]
    ]
    return pd.DataFrame(rows, columns=["word", "cue", "end"])


def in_prompts(phrases: Sequence[str], takes: Sequence[int]) -> pd.DataFrame:
    """Every phrase in every take: a take is one template, one instrument and one seed.

    Parameters
    ----------
    phrases : sequence of str
        What is said in the place of one word: "sad", "very sad", "sad, fast".
    takes : sequence of int
        From 0; every 48 the same template and instrument come again, under another seed.

    Returns
    -------
    pd.DataFrame
        Columns phrase, take and prompt, takes in the inner loop.
    """
    rows = [(phrase, take, in_prompt(phrase, take)) for phrase in phrases for take in takes]
    return pd.DataFrame(rows, columns=["phrase", "take", "prompt"])


def in_prompt(phrase: str, take: int) -> str:
    """The prompt for a phrase in a take, as in :func:`in_prompts`."""
    instruments = list(captions.INSTRUMENT_WORDS)
    row, column = divmod(take % (len(TEMPLATES) * len(instruments)), len(TEMPLATES))
    instrument = instruments[(row + column) % len(instruments)]
    prompt = TEMPLATES[column].format(word=phrase, instrument=instrument)
    return wording.with_articles(prompt)
