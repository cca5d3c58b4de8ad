"""Cues measured back from audio alone.

Every measure has the name, the unit and the direction that ``organism.world.CUES`` gives its cue,
and is defined for any recording, not only for the organisms' music. Loudness is never normalised
away: it is a cue.

============  ==============================================================
measure       how
============  ==============================================================
mode          key profiles of Albrecht and Shanahan 2013 on CQT chroma
tempo         librosa's tempogram with a log-normal prior around 105
dynamics      95th percentile of the RMS of 50 ms frames
density       librosa's onset detection
articulation  spread of the levels of 10 ms frames (quartiles)
register      where a constant-Q spectrum begins (5 % point)
brightness    energy above 1.2 kHz relative to all
============  ==============================================================

>>> from lib.hearing import acoustics
>>> from lib.organism import music
>>> audio = music.clip(music.Cues(tempo=120, dynamics=-20.0), seconds=3)
>>> measured = acoustics.measure(audio)
>>> round(measured["tempo"]), round(measured["dynamics"])
(121, -20)
"""

from collections.abc import Iterable
from functools import cache
from itertools import groupby

import joblib
import librosa
import numpy as np
import pandas as pd
import scipy.signal
from tqdm.auto import tqdm

from .. import check
from ..organism import world
from ..organism.music import loud_level

#: Names of the measures: those of the cues.
MEASURES = tuple(world.CUES)
#: Key profiles of Albrecht and Shanahan 2013, Music Perception 31(1), from C major and C minor.
MAJOR = np.array(
    [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081]
)
MINOR = np.array(
    [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052]
)
#: Hz: everything is measured at this rate.
RATE = 16_000
HOP = 128
WINDOW = 1024
#: Hz: below twice the corner of :func:`brightness`, nothing above it is left to measure.
LEAST_RATE = 4_000
#: Clips that share a constant-Q transform.
TOGETHER = 8
#: MIDI pitch of the constant-Q transform's first bin (A1).
LOWEST_PITCH = 33


# -------------------------------------------------------------------------------------------- clips
def check_clips(audios, sample_rate: float = RATE) -> list[np.ndarray]:
    """Mono clips, one float32 array [sample] each, as they came otherwise.

    Of stereo the mean of both channels is heard.

    Parameters
    ----------
    audios : array_like [shape=(clip, sample), (clip, channel, sample) or (sample,)], or an iterable
    of clips [sample] or [channel, sample]
        Clips of an iterable may differ in length.
    sample_rate : float
        Hz.

    Raises
    ------
    ValueError, TypeError
        No clip; audio that is no float audio of about -1 to 1, has more than two channels or its
        samples before its channels, is shorter than one second, or holds NaN.
    """
    sample_rate = check.number("sample_rate", sample_rate, LEAST_RATE)
    if hasattr(audios, "shape"):
        clips = list(_mono("audio", audios))
    elif isinstance(audios, Iterable):
        clips = [check.clip(f"audio[{i}]", audio).mean(0) for i, audio in enumerate(audios)]
    else:
        check.refuse(TypeError, "audio", "an array [clip, sample] or a list of clips", audios)
    if not clips:
        raise ValueError("There is no clip to listen to: audio is empty.")
    for i, clip in enumerate(clips):
        if len(clip) < sample_rate:
            seconds = len(clip) / sample_rate
            raise ValueError(f"audio[{i}] must last at least one second. Got {seconds:.2f} s.")
    return clips


def _mono(name, audio):
    """Clips [clip, sample], the mean of their channels."""
    clips = check.audio(name, audio, channels=2)
    return clips.mean(1) if clips.ndim == 3 else clips


# ----------------------------------------------------------------------------------------- measures
def measure(audio: np.ndarray, sample_rate: float = RATE) -> dict[str, float]:
    """All :data:`MEASURES` of one clip.

    Parameters
    ----------
    audio : np.ndarray [shape=(sample,) or (channel, sample)]
        At least one second.
    sample_rate : float
        Hz.

    Returns
    -------
    dict
        Measure -> value, in the unit that ``world.CUES`` gives (``measured_in``).
    """
    return _measure_together(check_clips([audio], sample_rate), sample_rate)[0]


def measure_all(audios, sample_rate: float = RATE, progress: bool = False) -> pd.DataFrame:
    """:func:`measure` for each of some clips, on all cores.

    Parameters
    ----------
    audios
        As :func:`check_clips` takes them: in mono or stereo.
    sample_rate : float
        Hz.
    progress : bool
        Show a bar.

    Returns
    -------
    pd.DataFrame
        One row a clip, columns :data:`MEASURES`.
    """
    clips = check_clips(audios, sample_rate)
    parts = []
    for _, alike in groupby(clips, len):
        alike = list(alike)
        parts += [alike[k : k + TOGETHER] for k in range(0, len(alike), TOGETHER)]
    jobs = joblib.Parallel(n_jobs=-1, return_as="generator")(
        joblib.delayed(_measure_together)(part, sample_rate) for part in parts
    )
    rows = []
    with tqdm(total=len(clips), desc="measure", disable=not progress) as bar:
        for measured in jobs:
            rows += measured
            bar.update(len(measured))
    return pd.DataFrame(rows, columns=list(MEASURES))


def _measure_together(clips, sample_rate):
    """Measures of some equally long clips.

    The filters of the constant-Q transform are made once for all of them, and each of Welch's segments
    is cut once.
    """
    if sample_rate != RATE:
        clips = [librosa.resample(clip, orig_sr=sample_rate, target_sr=RATE) for clip in clips]
    together = np.stack(clips)
    spectra = librosa.cqt(
        together,
        sr=RATE,
        hop_length=512,
        fmin=librosa.midi_to_hz(LOWEST_PITCH),
        n_bins=72,
    )
    parts = zip(clips, np.abs(spectra), brightness(together), strict=True)
    return [_measure_one(*part) for part in parts]


def _measure_one(audio, cqt, bright):
    envelope = onset_envelope(audio)
    onsets = librosa.onset.onset_detect(
        onset_envelope=envelope, sr=RATE, hop_length=HOP, units="samples"
    )
    return {
        "mode": mode_score(cqt),
        "tempo": tempo(envelope),
        "dynamics": loud_level(audio, RATE),
        "density": len(onsets) / (len(audio) / RATE),
        "articulation": articulation(audio),
        "register": register(cqt),
        "brightness": float(bright),
    }


def onset_envelope(audio: np.ndarray) -> np.ndarray:
    """Onset strength at 125 frames a second: librosa's spectral flux of a log-mel spectrogram."""
    power = np.abs(librosa.stft(audio, n_fft=WINDOW, hop_length=HOP)) ** 2
    decibels = librosa.power_to_db(_mel_filters() @ power, top_db=60)
    return librosa.onset.onset_strength(S=decibels, sr=RATE, hop_length=HOP)


@cache
def _mel_filters():
    """Made once: librosa's own mel spectrogram makes them anew for every clip."""
    return librosa.filters.mel(sr=RATE, n_fft=WINDOW, n_mels=80)


def tempo(envelope: np.ndarray) -> float:
    """Global tempo in BPM from an onset envelope at 125 frames a second.

    librosa's estimate from its tempogram of 6 s, whose windows are here 8 frames apart: they
    overlap by 99 %, and in 299 of 300 clips the tempo is the same within 1 %.
    """
    size = int(librosa.time_to_frames(6, sr=RATE, hop_length=HOP))
    padded = np.pad(envelope, size // 2, mode="linear_ramp", end_values=0)
    windows = librosa.util.frame(padded, frame_length=size, hop_length=8)
    windows = windows * librosa.filters.get_window("hann", size)[:, None]
    tempogram = librosa.util.normalize(librosa.autocorrelate(windows, axis=0), norm=np.inf, axis=0)
    found = librosa.feature.tempo(tg=tempogram, sr=RATE, hop_length=HOP, start_bpm=105, std_bpm=1.0)
    return float(found[0])


def octave_error(
    measured: float | np.ndarray, true: float | np.ndarray, tolerance: float = 0.04
) -> np.ndarray:
    """Whether a tempo is wrong by a metrical factor (2, 3, 3/2 or their inverses)."""
    ratio = np.asarray(measured) / np.asarray(true)
    factors = (2, 1 / 2, 3, 1 / 3, 3 / 2, 2 / 3)
    return np.any([np.abs(ratio / factor - 1) < tolerance for factor in factors], axis=0)


def mode_score(cqt: np.ndarray) -> float:
    """Correlation of the best major key minus that of the best minor key: positive is major.

    Parameters
    ----------
    cqt : np.ndarray [shape=(72, frame)]
        Magnitudes of a constant-Q transform from A1 on, one bin a semitone.
    """
    energy = np.square(cqt).sum(1).reshape(-1, 12).sum(0)
    chroma = np.roll(energy, LOWEST_PITCH % 12)
    if not chroma.any():
        return 0.0
    return float(_best_key(chroma, MAJOR) - _best_key(chroma, MINOR))


def _best_key(chroma, profile):
    """Highest correlation of a chroma vector with a key profile on any of the twelve tonics."""
    turned = [np.roll(profile, tonic) for tonic in range(12)]
    return np.corrcoef(chroma, turned)[0, 1:].max()


def articulation(audio: np.ndarray) -> float:
    """25th minus 75th percentile of the level of 10 ms frames: near 0 legato, low staccato.

    Quartiles, not extremes, so that neither a final rest nor the attacks decide. In dB.
    """
    frame = RATE // 100
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    rms = np.sqrt(np.mean(np.square(frames), axis=1)) + 1e-6
    first, third = np.percentile(20 * np.log10(rms), [25, 75])
    return float(first - third)


def register(cqt: np.ndarray) -> float:
    """Where the sound begins: the 5 % point of the magnitude over pitch, as a MIDI pitch.

    Partials lie above it.

    Parameters
    ----------
    cqt : np.ndarray [shape=(72, frame)]
        As for :func:`mode_score`.
    """
    share = np.cumsum(cqt.mean(1))
    if share[-1] == 0:
        return float(LOWEST_PITCH)
    return float(LOWEST_PITCH + np.interp(0.05 * share[-1], share, np.arange(len(share))))


def brightness(audio: np.ndarray, corner: float = 1200.0) -> np.ndarray:
    """Energy above the corner frequency relative to all energy, in dB.

    Parameters
    ----------
    audio : np.ndarray [shape=(..., sample)]
    corner : float
        Hz.

    Returns
    -------
    np.ndarray [shape=(...)]
    """
    frequency, power = scipy.signal.welch(audio, RATE, nperseg=1024)
    # in one order, whatever stands beside: a clip's measures depend on nothing else
    above = np.ascontiguousarray(power[..., frequency > corner]).sum(-1) + 1e-12
    return 10 * np.log10(above / (power.sum(-1) + 1e-12))
