"""How the sound of clips is coloured, and which instrument that is."""

from collections.abc import Sequence

import librosa
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import check, stats
from . import acoustics

#: Rendered clips that a recogniser of instruments learns from, at most.
CLIPS = 300
#: Parts of the clips, each of which is named by what has learned from the others.
FOLDS = 4


def enough(instruments: Sequence[str]) -> np.ndarray:
    """Instruments of clips that one can learn from.

    Raises
    ------
    ValueError
        Fewer than ``FOLDS`` clips of every instrument.
    """
    names = np.asarray(instruments)
    most = max(np.unique(names, return_counts=True)[1], default=0)
    if most < FOLDS:
        raise ValueError(
            f"Instruments are learned from {FOLDS} clips or more of one of them. Got {len(names)} "
            f"clips, at most {most} of one instrument: give more."
        )
    return names


def describe(audios: Sequence[np.ndarray], sample_rate: float) -> np.ndarray:
    """Mean and spread over time of MFCCs without loudness, [clip, 38].

    Of clips at any rate, as they sound at ``acoustics.RATE``: a recogniser may learn at one rate
    and hear at another.

    Raises
    ------
    ValueError, TypeError
        No clip, clips that are no mono float audio or not finite, a sample rate of 0.
    """
    sample_rate = check.number("sample_rate", sample_rate, 0, open_low=True)
    return np.stack([_describe_one(audio, sample_rate) for audio in _clips(audios)])


def _describe_one(audio, sample_rate):
    rate = acoustics.RATE
    if sample_rate != rate:
        audio = librosa.resample(audio, orig_sr=sample_rate, target_sr=rate)
    mfcc = librosa.feature.mfcc(y=audio, sr=rate, n_mfcc=20, n_fft=1024, hop_length=512)
    return np.concatenate([mfcc[1:].mean(1), mfcc[1:].std(1)])


def _clips(audios):
    """Clips of finite floats, [sample] each."""
    clips = [check.array(f"audios[{i}]", one, ("sample",)) for i, one in enumerate(audios)]
    if not clips:
        raise ValueError("audios is empty: give at least one clip.")
    for i, clip in enumerate(clips):
        if clip.dtype.kind != "f":
            check.refuse(TypeError, f"audios[{i}]", "float audio, from -1 to 1", clip.dtype)
    return clips


class Recogniser:
    """Logistic regression from timbre to the instrument.

    ``recogniser(audio, sample_rate)`` gives every instrument's probability, as a mapping.

    Parameters
    ----------
    described : np.ndarray [shape=(clip, 38)]
        From :func:`describe`.
    instruments : sequence of str
        One a clip.

    Attributes
    ----------
    reliability : stats.Estimate
        Share of clips whose instrument is named by one that did not learn from them.

    Raises
    ------
    ValueError
        Too few clips of every instrument.
    """

    def __init__(self, described: np.ndarray, instruments: Sequence[str]):
        instruments = enough(instruments)
        self.classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        answers = cross_val_predict(self.classifier, described, instruments, cv=FOLDS)
        self.reliability = stats.proportion(answers == instruments)
        self.classifier.fit(described, instruments)

    def shares(self, audios: Sequence[np.ndarray], sample_rate: float) -> pd.DataFrame:
        """Every instrument's probability, one row a clip and one column an instrument."""
        found = self.classifier.predict_proba(describe(audios, sample_rate))
        return pd.DataFrame(found, columns=self.classifier.classes_)

    def __call__(self, audio: np.ndarray, sample_rate: float) -> dict[str, float]:
        return self.shares([audio], sample_rate).iloc[0].to_dict()
