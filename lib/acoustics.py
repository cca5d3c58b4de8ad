"""Cues measured back from audio alone.

Conventions: audio is float, mono, shape (sample,); every measure is defined for any recording, not only for the
organisms' music. Loudness is never normalised away: it is a cue.

============  ===========================  ==============================================================
measure       unit                         how
============  ===========================  ==============================================================
tempo         beats per minute             librosa's tempogram with a log-normal prior around 105
mode          correlation (major - minor)  key profiles of Albrecht and Shanahan 2013 on CQT chroma
dynamics      dBFS                         95th percentile of the RMS of 50 ms frames
density       onsets per second            librosa's onset detection
articulation  dB (0 is legato)             spread of the levels of 10 ms frames (quartiles)
register      MIDI pitch                   where a constant-Q spectrum begins (5 % point)
brightness    dB                           energy above 1.2 kHz relative to all
============  ===========================  ==============================================================
"""

from itertools import groupby

import librosa
import numpy as np
import pandas as pd
import scipy.signal

from lib.music import loud_level

MEASURES = ("tempo", "mode", "dynamics", "density", "articulation", "register", "brightness")
# Key profiles of Albrecht and Shanahan 2013, Music Perception 31(1), from C major and C minor.
MAJOR = np.array([0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081])
MINOR = np.array([0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052])
RATE = 16_000
HOP = 128
TOGETHER = 8  # clips that share a constant-Q transform
_LOWEST = 33  # MIDI pitch of the constant-Q transform's first bin (A1)


def check_audio(audio, sample_rate=RATE, resample=True) -> np.ndarray:
    """Validate one mono clip and bring it to 16 kHz (unless ``resample`` is off).

    Raises
    ------
    ValueError
        If the audio is not one-dimensional, shorter than one second, or holds NaN or infinities.
    """
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 1:
        raise ValueError(f"audio must be one mono clip of shape (sample,). Got shape {audio.shape}.")
    if not np.isfinite(audio).all():
        raise ValueError("audio holds NaN or infinite samples: measure a clip that was decoded without errors.")
    if len(audio) < sample_rate:
        raise ValueError(f"audio must last at least one second. Got {len(audio) / sample_rate:.2f} s.")
    return (
        audio if sample_rate == RATE or not resample else librosa.resample(audio, orig_sr=sample_rate, target_sr=RATE)
    )


def measure(audio: np.ndarray, sample_rate: int = RATE) -> dict[str, float]:
    """All :data:`MEASURES` of one clip.

    Parameters
    ----------
    audio : np.ndarray [shape=(sample,)]
    sample_rate : int

    Returns
    -------
    dict
        Measure -> value, in the units of the module's table.
    """
    return _measured([audio], sample_rate)[0]


def measure_all(audios, sample_rate: int = RATE, progress: bool = False) -> pd.DataFrame:
    """:func:`measure` for each clip of ``audios`` [clip, sample]; one row a clip, on all cores."""
    import joblib
    from tqdm.auto import tqdm

    alike = [list(clips) for _, clips in groupby(map(np.asarray, audios), np.shape)]
    parts = [clips[k : k + TOGETHER] for clips in alike for k in range(0, len(clips), TOGETHER)]
    jobs = joblib.Parallel(n_jobs=-1, return_as="generator")(joblib.delayed(_measured)(p, sample_rate) for p in parts)
    rows = (row for part in jobs for row in part)
    return pd.DataFrame(list(tqdm(rows, total=len(audios), desc="measure", disable=not progress)), columns=MEASURES)


def _measured(clips, sample_rate):
    """Measures of some equally long clips: the filters of the constant-Q transform are made once for all of them."""
    clips = [check_audio(clip, sample_rate) for clip in clips]
    cqts = np.abs(librosa.cqt(np.stack(clips), sr=RATE, hop_length=512, fmin=librosa.midi_to_hz(_LOWEST), n_bins=72))
    rows = []
    for audio, cqt in zip(clips, cqts, strict=True):
        envelope = onset_envelope(audio)
        onsets = librosa.onset.onset_detect(onset_envelope=envelope, sr=RATE, hop_length=HOP, units="samples")
        rows.append({
            "tempo": tempo(envelope), "mode": mode_score(cqt), "dynamics": loud_level(audio, RATE),
            "density": len(onsets) / (len(audio) / RATE), "articulation": articulation(audio),
            "register": register(cqt), "brightness": brightness(audio),
        })  # fmt: skip
    return rows


def onset_envelope(audio: np.ndarray) -> np.ndarray:
    """Onset strength at 125 frames a second (librosa's spectral flux of a log-mel spectrogram)."""
    mel = librosa.feature.melspectrogram(y=audio, sr=RATE, n_fft=1024, hop_length=HOP, n_mels=80)
    return librosa.onset.onset_strength(S=librosa.power_to_db(mel, top_db=60), sr=RATE, hop_length=HOP)


def tempo(envelope: np.ndarray) -> float:
    """Global tempo in BPM from an onset envelope at 125 frames a second.

    librosa's estimate from its tempogram of 6 s, whose windows are here 8 frames apart: they overlap by 99 %, and
    in 299 of 300 clips the tempo is the same within 1 %.
    """
    size = int(librosa.time_to_frames(6, sr=RATE, hop_length=HOP))
    padded = np.pad(envelope, size // 2, mode="linear_ramp", end_values=0)
    windows = librosa.util.frame(padded, frame_length=size, hop_length=8)
    windows = windows * librosa.filters.get_window("hann", size)[:, None]
    tempogram = librosa.util.normalize(librosa.autocorrelate(windows, axis=0), norm=np.inf, axis=0)
    return float(librosa.feature.tempo(tg=tempogram, sr=RATE, hop_length=HOP, start_bpm=105, std_bpm=1.0)[0])


def octave_error(measured: float | np.ndarray, true: float | np.ndarray, tolerance: float = 0.04) -> np.ndarray:
    """Whether a tempo is wrong by a metrical factor (2, 3, 3/2 or their inverses) and not by anything else."""
    ratio = np.asarray(measured) / np.asarray(true)
    return np.any([np.abs(ratio / k - 1) < tolerance for k in (2, 1 / 2, 3, 1 / 3, 3 / 2, 2 / 3)], axis=0)


def mode_score(cqt: np.ndarray) -> float:
    """Correlation of the best major key minus that of the best minor key: positive is major.

    Parameters
    ----------
    cqt : np.ndarray [shape=(72, frame)]
        Magnitudes of a constant-Q transform from A1 on, one bin a semitone.
    """
    energy = np.square(cqt).sum(1).reshape(-1, 12).sum(0)
    chroma = np.roll(energy, _LOWEST % 12)
    if not chroma.any():
        return 0.0
    best = [max(np.corrcoef(chroma, np.roll(profile, k))[0, 1] for k in range(12)) for profile in (MAJOR, MINOR)]
    return float(best[0] - best[1])


def articulation(audio: np.ndarray) -> float:
    """25th minus 75th percentile of the level of 10 ms frames, in dB: near 0 legato, very negative staccato.

    Quartiles, not extremes, so that neither a final rest nor the attacks decide.
    """
    frame = RATE // 100
    rms = np.sqrt(np.mean(np.square(audio[: len(audio) // frame * frame]).reshape(-1, frame), axis=1)) + 1e-6
    low, high = np.percentile(20 * np.log10(rms), [25, 75])
    return float(low - high)


def register(cqt: np.ndarray) -> float:
    """Where the sound begins: the 5 % point of the magnitude over pitch, as a MIDI pitch. Partials lie above it."""
    share = np.cumsum(cqt.mean(1))
    return (
        float(_LOWEST + np.interp(0.05 * share[-1], share, np.arange(len(share)))) if share[-1] > 0 else float(_LOWEST)
    )


def brightness(audio: np.ndarray, corner: float = 1200.0) -> float:
    """Energy above the corner frequency relative to all energy, in dB."""
    frequency, power = scipy.signal.welch(audio, RATE, nperseg=1024)
    return float(10 * np.log10((power[frequency > corner].sum() + 1e-12) / (power.sum() + 1e-12)))
