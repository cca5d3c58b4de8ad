"""Read a song's file, mixed to one channel, at any sample rate; or say that it is not whole."""

from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import soundfile

from . import mpeg
from .errors import AudioError
from .labels import STEP

#: Seconds of digital silence at its end that make a file suspicious: what was padded is silent to
#: the last bit, as recorded music hardly is.
SILENCE = 1.0
_BLOCK = 2**18
_REWRITE = (
    "If it is as published, write it anew with such a header: ffmpeg -i OLD.mp3 -c copy NEW.mp3"
)


class Length(NamedTuple):
    """How long a file is.

    Attributes
    ----------
    seconds : float
    promised : bool
        Whether its header tells how long it should be.
    """

    seconds: float
    promised: bool


class Decoded(NamedTuple):
    """How long a file is when decoded.

    Attributes
    ----------
    seconds : float
    sound_end : float, s
        Where digital silence begins that lasts to the end.
    """

    seconds: float
    sound_end: float


def length(file: Path) -> Length:
    """How long a file is, by its headers: nothing is decoded.

    Raises
    ------
    AudioError
        It is missing, no audio, or not all there.
    """
    if not file.exists():
        raise AudioError(file, "is missing", kind="missing")
    if not file.stat().st_size:
        raise AudioError(file, "is empty (0 bytes)")
    frames = _frames(file)
    if frames is not None and frames.fault:
        raise AudioError(file, frames.fault, "" if frames.promised else _REWRITE)
    with _opened(file) as sound:
        announced = sound.frames / sound.samplerate
        if "(should be" in sound.extra_info:  # so libsndfile notes that a WAV was cut
            raise AudioError(file, f"breaks off after {announced:.1f} s: its header tells of more")
        if frames is None:
            return Length(announced, True)
        if announced < frames.seconds - _slack(sound):
            raise AudioError(
                file,
                f"has {frames.seconds:.1f} s, of which {announced:.1f} s would be read: its bit "
                "rate changes, and it has no Xing header to tell its length",
                _REWRITE,
            )
    return Length(min(announced, frames.seconds), frames.promised is not None)


def load(
    file: Path,
    sample_rate: int,
    start: float = 0.0,
    seconds: float | None = None,
    labelled: float = 0.0,
) -> np.ndarray:
    """The mean of a file's channels, resampled: float32 [sample].

    Decoded from its beginning on, because a seek inside an MP3 gives other samples.

    Parameters
    ----------
    sample_rate : int, Hz
    start, seconds : float
        A part of it, shorter where the file ends; to its end if ``seconds`` is None.
    labelled : float, s
        Where its last label stands.

    Raises
    ------
    AudioError
        It is not all there (even if the part asked for is), or ends before ``start``.
    """
    expected = length(file)
    _check_labels(file, expected.seconds, labelled)
    end = expected.seconds if seconds is None else min(expected.seconds, start + seconds)
    with _opened(file) as sound:
        rate = sound.samplerate
        decoded = sound.read(round(end * rate), dtype="float32", always_2d=True)
        found = Decoded(len(decoded) / rate, _sound_end(decoded) / rate)
        _check_decoded(file, expected, found, end, _slack(sound))
    part = decoded.mean(1)[round(start * rate) :]
    if not len(part):
        raise AudioError(file, f"has {found.seconds:.1f} s: nothing from {start:g} s on")
    resampled = librosa.resample(part, orig_sr=rate, target_sr=sample_rate)
    return resampled[: round(len(part) / rate * sample_rate)]


def decoded_length(file: Path, labelled: float = 0.0) -> Decoded:
    """Decode all of a file, block by block, to see how long it is.

    Parameters
    ----------
    labelled : float, s
        Where its last label stands.

    Raises
    ------
    AudioError
        It is missing, no audio, not all there, or ends before its labels do.
    """
    expected = length(file)
    samples = sound_end = 0
    with _opened(file) as sound:
        left = round(expected.seconds * sound.samplerate)
        while len(block := sound.read(min(_BLOCK, left), dtype="float32", always_2d=True)):
            block_end = _sound_end(block)
            sound_end = samples + block_end if block_end else sound_end
            samples += len(block)
            left -= len(block)
        found = Decoded(samples / sound.samplerate, sound_end / sound.samplerate)
        _check_decoded(file, expected, found, expected.seconds, _slack(sound))
    _check_labels(file, found.seconds, labelled)
    return found


@contextmanager
def _opened(file):
    try:
        with soundfile.SoundFile(file) as sound:
            yield sound
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(file, "cannot be decoded as audio") from error


def _frames(file):
    """The frames of an MP3; None of other formats, in whose samples chance makes some, too."""
    try:
        with soundfile.SoundFile(file) as sound:
            if sound.format != "MP3":
                return None
    except (soundfile.SoundFileError, OSError):
        pass  # its frames may say why it cannot be opened
    return mpeg.read(file)


def _slack(sound):
    """Seconds by which a whole MP3 may decode to less than its frames last."""
    return mpeg.TOLERANCE * mpeg.LONGEST / sound.samplerate


def _sound_end(samples):
    """Number of samples up to the last one that is not silent, of [sample, channel]."""
    loud = np.flatnonzero(samples.any(1))
    return int(loud[-1]) + 1 if len(loud) else 0


def _check_decoded(file, expected, found, end, slack):
    """Refuse a file that decodes to less than it should up to ``end`` (s)."""
    if found.seconds < end - slack:
        problem = f"breaks off after {found.seconds:.1f} of {expected.seconds:.1f} s"
        raise AudioError(file, problem)
    at_end = found.seconds >= expected.seconds - slack
    if at_end and not expected.promised and found.seconds - found.sound_end > SILENCE:
        raise AudioError(
            file,
            f"has sound for {found.sound_end:.1f} of {found.seconds:.1f} s and digital silence "
            "from there on, and no Xing header tells its length",
            _REWRITE,
        )


def _check_labels(file, seconds, labelled):
    """Refuse a file that ends before its labels do."""
    if seconds < labelled - STEP:
        problem = f"has {seconds:.1f} s, but its labels go to {labelled:.1f} s"
        raise AudioError(file, problem, "It may be another clip, or cut", kind="short")
