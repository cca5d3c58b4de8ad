"""Controlled sets of prompts: what is said is known, and nothing else varies.

A set is a DataFrame with columns ``prompt``, ``label`` and ``word``: every row names one thing by one word of the
organisms' language, in one of a few carrier phrases, balanced over labels.
"""

import pandas as pd

from lib.organism import captions

CARRIERS = ("a {} melody", "{} music", "a tune that sounds {}", "a {} piece")
MODE_CARRIERS = ("a melody in {}", "music in a {} key", "a tune in the {} mode", "a piece in {}")


def _article(prompt):
    return " ".join(
        "an" if word == "a" and following[:1] in "aeiou" else word
        for word, following in zip(prompt.split(), [*prompt.split()[1:], ""], strict=True)
    )


def _set(words_by_label, n, carriers):
    if n < 1:
        raise ValueError(f"n must be at least 1 prompt a label. Got {n!r}.")
    rows = []
    for label, words in words_by_label.items():
        for i in range(n):
            word = words[i % len(words)]
            carrier = carriers[(i + i // len(words)) % len(carriers)]
            rows.append((_article(carrier.format(word)), label, word))
    return pd.DataFrame(rows, columns=["prompt", "label", "word"])


def emotions(n: int = 36) -> pd.DataFrame:
    """``n`` prompts for each emotion, from emotion words alone."""
    return _set(captions.EMOTION_WORDS, n, CARRIERS)


def cue(name: str, n: int = 36) -> pd.DataFrame:
    """``n`` prompts for each end ("low", "high") of a cue, from words for that cue alone.

    Parameters
    ----------
    name : str
        A key of ``captions.CUE_WORDS``: tempo, dynamics, density, staccato, register, brightness, mode.
    """
    if name not in captions.CUE_WORDS:
        raise ValueError(f"cue must be one of {sorted(captions.CUE_WORDS)}. Got {name!r}.")
    if name == "mode":
        return _set({"low": ["minor"], "high": ["major"]}, n, MODE_CARRIERS)
    return _set({end: captions.CUE_WORDS[name][end] for end in ("low", "high")}, n, CARRIERS)
