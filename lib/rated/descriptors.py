"""What plain audio features tell of an excerpt: the baselines of all that a model tells.

Means over half seconds, as ratings come in them.
"""

import librosa
import numpy as np

from .labels import STEP

#: Analysis frames a second.
HOPS = 50
#: Quietest power and amplitude that count, so that digital silence has a level.
_LEAST_POWER = 1e-8
_LEAST_AMPLITUDE = 1e-5


def describe(audio: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Plain features of an excerpt by half seconds.

    Parameters
    ----------
    audio : np.ndarray [shape=(sample,)]
    sample_rate : int, Hz

    Returns
    -------
    dict
        "mel-spectrogram": 64 bands in dB; "librosa": timbre (MFCC, spectral contrast and centroid),
        chroma, level, onset strength, and the logarithm of the excerpt's tempo. Each [step, dim].
    """
    hop = sample_rate // HOPS
    spectrum = np.abs(librosa.stft(audio, n_fft=2048, hop_length=hop))
    power = librosa.feature.melspectrogram(S=spectrum**2, sr=sample_rate, n_mels=64)
    mel = librosa.power_to_db(power, amin=_LEAST_POWER, top_db=None)
    onset = librosa.onset.onset_strength(S=mel, sr=sample_rate)
    level = librosa.feature.rms(S=spectrum)
    described = [
        librosa.feature.mfcc(S=mel, n_mfcc=20),
        librosa.feature.chroma_stft(S=spectrum**2, sr=sample_rate, tuning=0.0),
        librosa.feature.spectral_contrast(S=spectrum, sr=sample_rate, fmin=100.0),
        librosa.feature.spectral_centroid(S=spectrum, sr=sample_rate),
        librosa.amplitude_to_db(level, amin=_LEAST_AMPLITUDE, top_db=None),
        onset[None],
    ]
    tempo = librosa.feature.tempo(onset_envelope=onset, sr=sample_rate, hop_length=hop)
    average = step_average(len(audio) // hop, sample_rate / hop)
    frames = average.shape[1]
    by_step = average @ np.concatenate(described)[:, :frames].T
    tempi = np.repeat(np.log(tempo), len(average))
    return {
        "mel-spectrogram": average @ mel[:, :frames].T,
        "librosa": np.c_[by_step, tempi],
    }


def step_average(frames: int, frame_rate: float) -> np.ndarray:
    """Matrix [step, frame] that takes the mean over each whole half second."""
    middles = (np.arange(frames) + 0.5) / frame_rate
    steps = np.arange(int(frames / frame_rate / STEP + 1e-6))
    inside = (middles // STEP == steps[:, None]).astype(float)
    return inside / inside.sum(1, keepdims=True)
