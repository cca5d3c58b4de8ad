"""What is heard at every moment of a clip, frame by frame.

The cues of :mod:`~lib.hearing.acoustics` say one number a clip. These change within it, so that
what happens inside a model at a frame can be set beside what sounds there.

>>> import numpy as np
>>> from lib.hearing import moments
>>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
>>> moments.measure([tone], 16_000, frame_rate=25).shape
(1, 50, 4)
"""

import librosa
import numpy as np

from .. import check
from . import acoustics

#: Level in dB; onset strength (spectral flux); the octave of the spectrum's centroid; the octave
#: below which a twentieth of the sound lies.
MEASURES = ("level", "onset", "brightness", "register")
WINDOW = 2048
#: Of the level, 80 dB below full scale.
FLOOR = 1e-4


def measure(audios, sample_rate: float, frame_rate: float) -> np.ndarray:
    """All :data:`MEASURES` at every frame.

    Parameters
    ----------
    audios, sample_rate
        As for ``acoustics.measure_all``, all equally long.
    frame_rate : float
        Hz: of a codec's frames, say. It must divide ``acoustics.RATE``.

    Returns
    -------
    np.ndarray [shape=(clip, frame, measure)], float32

    Raises
    ------
    ValueError
        Another frame rate, clips of different length, and what ``acoustics.check_clips`` refuses.
    """
    clips = acoustics.check_clips(audios, sample_rate)
    if len({len(clip) for clip in clips}) > 1:
        raise ValueError("audio must hold clips of one length: measure others apart.")
    hop = acoustics.RATE / check.number("frame_rate", frame_rate, 1, acoustics.RATE)
    if hop != round(hop):
        check.refuse(ValueError, "frame_rate", f"a divisor of {acoustics.RATE} Hz", frame_rate)
    frames = round(len(clips[0]) * frame_rate / sample_rate)
    found = [_measure_one(clip, sample_rate, int(hop), frames) for clip in clips]
    return np.stack(found).astype(np.float32)


def _measure_one(clip, sample_rate, hop, frames):
    """[frame, measure] of one clip."""
    if sample_rate != acoustics.RATE:
        clip = librosa.resample(clip, orig_sr=sample_rate, target_sr=acoustics.RATE)
    # half a hop on: frame t stands for what sounds from t on, so its middle is there
    spectrum = np.abs(librosa.stft(clip[hop // 2 :], n_fft=WINDOW, hop_length=hop))
    level = librosa.feature.rms(S=spectrum, frame_length=WINDOW)[0]
    mel = librosa.feature.melspectrogram(S=spectrum**2, sr=acoustics.RATE, n_mels=80)
    decibels = librosa.power_to_db(mel, top_db=60)
    onset = librosa.onset.onset_strength(S=decibels, sr=acoustics.RATE, center=False)
    heard = spectrum + 1e-6  # of silence, a flat spectrum
    centroid = librosa.feature.spectral_centroid(S=heard, sr=acoustics.RATE)[0]
    low = librosa.feature.spectral_rolloff(S=heard, sr=acoustics.RATE, roll_percent=0.05)[0]
    decibel = 20 * np.log10(np.maximum(level, FLOOR))
    found = np.stack([decibel, onset, np.log2(centroid), np.log2(np.maximum(low, 1.0))], 1)
    return np.pad(found, ((0, max(0, frames - len(found))), (0, 0)), mode="edge")[:frames]
