"""Spectra and how they change, over time and over pitch: what a clip sounds like, with no cue
measured.

Three groups of numbers (:func:`describe`), of spectrograms with one band a semitone:

- *levels*: quantiles over time of the level of every third of an octave;
- *modulations*: power of the changes of every octave's level, by their rate;
- *chords*: how strongly three pitches sound together, by the two distances between them, averaged
  over all places of the scale and over time: the triple correlation of the spectrum over pitch. It
  does not depend on the key, and it keeps the order of distances, which an autocorrelation loses
  (Lohmann and Wirnitzer 1984, Proceedings of the IEEE 72(7)): a major triad holds the same
  distances as a minor one, in the other order. Pitches that sound together in one frame, within
  half a second and within the clip count apart, so that broken chords are heard, too.

>>> import numpy as np
>>> from lib.hearing import spectra
>>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
>>> spectra.describe([tone]).shape
(1, 989)
"""

from functools import cache

import joblib
import librosa
import numpy as np

from . import acoustics

#: Hz: everything is heard at this rate.
RATE = acoustics.RATE
HOP = 512
#: Samples of a window that tells pitches apart, and of one that tells moments apart.
LONG = 4096
SHORT = 1024
#: MIDI pitch of the lowest band, and how many bands there are.
LOWEST = 33
BANDS = 84
#: Mean square below which there is nothing, 80 dB below full scale.
FLOOR = 1e-8
QUANTILES = (0.1, 0.5, 0.9)
#: Bands whose levels, and whose changes, are taken together.
THIRD = 4
OCTAVE = 12
#: Edges of the rates of change, Hz, and over how many frames they are resolved.
RATES = np.geomspace(0.7, 15.5, 15)
RESOLVED = 512
#: Largest distance between pitches, in semitones.
FARTHEST = 24
#: Frames within which pitches sound together; None is the whole clip.
TOGETHER = (1, 16, None)
#: Semitones on either side that a pitch must stand out from.
AROUND = 4


def describe(audios, sample_rate: float = RATE) -> np.ndarray:
    """Levels, modulations and chords of clips, on all cores.

    Parameters
    ----------
    audios, sample_rate
        As for ``acoustics.measure_all``.

    Returns
    -------
    np.ndarray [shape=(clip, number)], float32
        In dB, in logarithms of square dB, and in shares.
    """
    clips = acoustics.check_clips(audios, sample_rate)
    jobs = (joblib.delayed(_describe_one)(clip, sample_rate) for clip in clips)
    return np.stack(joblib.Parallel(n_jobs=-1, batch_size=8)(jobs)).astype(np.float32)


def _describe_one(clip, sample_rate):
    if sample_rate != RATE:
        clip = librosa.resample(clip, orig_sr=sample_rate, target_sr=RATE)
    fine = spectrogram(clip, LONG)
    quick = spectrogram(clip, SHORT)
    return np.concatenate([levels(fine), modulations(quick), chords(fine)])


# ------------------------------------------------------------------------------------- spectrograms
def spectrogram(clip: np.ndarray, window: int) -> np.ndarray:
    """Level of every semitone, dB of full scale, [band, frame].

    Parameters
    ----------
    clip : np.ndarray [shape=(sample,)]
        At :data:`RATE`.
    window : int
        Samples.
    """
    power = np.abs(librosa.stft(clip, n_fft=window, hop_length=HOP)) ** 2
    # a sine of amplitude 1 has a magnitude of a quarter of a Hann window's length
    return 10 * np.log10(_semitones(window) @ (power / (window / 4) ** 2) + FLOOR)


@cache
def _semitones(window):
    """Triangular filters [band, bin] around the semitones.

    Where bins lie farther apart than semitones, the two nearest share a band.
    """
    frequencies = librosa.fft_frequencies(sr=RATE, n_fft=window)
    pitches = LOWEST + np.arange(BANDS)
    places = librosa.hz_to_midi(np.maximum(frequencies, 1.0))
    filters = np.maximum(0, 1 - np.abs(places - pitches[:, None]))
    bins = librosa.midi_to_hz(pitches) / (RATE / window)
    shared = np.maximum(0, 1 - np.abs(np.arange(len(frequencies)) - bins[:, None]))
    coarse = filters.sum(1, keepdims=True) < 0.5
    return np.where(coarse, shared, filters).astype(np.float32)


# -------------------------------------------------------------------------------------- the numbers
def levels(bands: np.ndarray) -> np.ndarray:
    """Quantiles over time of the level of every third of an octave, dB, from :func:`spectrogram`.

    The third of an octave moves faster than the quantile.
    """
    quantiles = np.quantile(bands, QUANTILES, axis=1)
    return quantiles.reshape(len(QUANTILES), -1, THIRD).mean(2).ravel()


def modulations(bands: np.ndarray) -> np.ndarray:
    """Logarithm of the power of the changes of every octave's level, by their rate.

    From :func:`spectrogram`; the rate (between two of :data:`RATES`) moves faster than the octave.
    """
    octaves = bands.reshape(-1, OCTAVE, bands.shape[1]).mean(1)
    changes = octaves - octaves.mean(1, keepdims=True)
    window = np.hanning(changes.shape[1])
    length = max(RESOLVED, changes.shape[1])
    power = np.abs(np.fft.rfft(changes * window, length)) ** 2 / (window**2).sum()
    rates = np.fft.rfftfreq(length, HOP / RATE)
    number = np.digitize(rates, RATES)
    parts = [power[:, number == k].mean(1) for k in range(1, len(RATES))]
    return np.log(np.stack(parts, 1) + 1e-4).ravel()


def chords(bands: np.ndarray) -> np.ndarray:
    """Triple correlation over pitch, within every one of :data:`TOGETHER`.

    From :func:`spectrogram`; the distances, from (1, 2) to (23, 24) semitones, move faster than the
    stretches of time.
    """
    around = 2 * AROUND + 1
    padded = np.pad(bands, ((AROUND, AROUND), (0, 0)), "edge")
    ground = np.lib.stride_tricks.sliding_window_view(padded, around, axis=0).mean(-1)
    peaks = np.maximum(0, bands - ground)
    return np.concatenate([_triples(_averaged(peaks, frames)) for frames in TOGETHER])


def _averaged(peaks, frames):
    """Means over overlapping stretches of some frames, [band, stretch]."""
    if frames is None or frames > peaks.shape[1]:
        return peaks.mean(1, keepdims=True)
    if frames == 1:
        return peaks
    stretches = np.lib.stride_tricks.sliding_window_view(peaks, frames, axis=1)
    return stretches[:, :: frames // 2].mean(-1)


def _triples(peaks):
    """How strongly three pitches sound together, by the distances of two from the lowest."""
    peaks = peaks / (np.linalg.norm(peaks, axis=0) + 1e-6)
    above = np.lib.stride_tricks.sliding_window_view(peaks, FARTHEST + 1, axis=0)
    lowest = peaks[: len(above), :, None]
    pairs = np.tensordot(above * lowest, above, axes=([0, 1], [0, 1])) / peaks.shape[1]
    return pairs[1:, 1:][np.triu_indices(FARTHEST, 1)]
