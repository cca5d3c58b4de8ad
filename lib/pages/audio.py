"""Clips to listen to and to look at: players, and the picture of a sound.

Audio is compressed and never normalised, because loudness is a cue: what is louder in the music is
louder in the player.
"""

import base64
import io

import librosa
import numpy as np
import soundfile
from IPython.display import HTML
from PIL import Image
from plotly.colors import sample_colorscale

from .. import check
from . import embed
from .colors import INK, color

MP3_RATE = 24_000  # Hz, known to every browser's MP3 decoder; lower rates are sometimes refused
LOWEST = 55.0  # Hz, of the picture
SEMITONES = 84
FLOOR = 60.0  # dB below full scale, drawn as darkest
SHADES_OF_PICTURE = 64
AUDIO = "The player's audio"


# -------------------------------------------------------------------------------------------- sound
def mp3(audio: np.ndarray, sample_rate: int, small: bool = False) -> bytes:
    """Audio as MP3, at its own level: nothing is normalised, only overloads are clipped.

    Parameters
    ----------
    audio : array_like [shape=(sample,) or (2, sample)]
        Mono or stereo, from -1 to 1.
    sample_rate : int
        Hz.
    small : bool
        Take three quarters of the bytes, for pages with many clips.

    Raises
    ------
    ValueError, TypeError
        Anything but one finite clip of floats, in mono or stereo.
    """
    audio = check.clip(AUDIO, audio)
    sample_rate = check.count("sample_rate", sample_rate)
    if sample_rate < MP3_RATE:
        audio = librosa.resample(audio, orig_sr=sample_rate, target_sr=MP3_RATE)
        sample_rate = MP3_RATE
    quality = {"compression_level": 0.6, "bitrate_mode": "VARIABLE"} if small else {}
    file = io.BytesIO()
    soundfile.write(
        file,
        np.clip(audio, -1, 1).T,
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        **quality,
    )
    return file.getvalue()


def mp3_text(audio: np.ndarray, sample_rate: int, small: bool = True) -> str:
    """Audio as MP3 in base64, as the data of a page hold it."""
    return base64.b64encode(mp3(audio, sample_rate, small)).decode()


def _source(audio, sample_rate):
    return f"data:audio/mpeg;base64,{mp3_text(audio, sample_rate, small=False)}"


# ------------------------------------------------------------------------------------------ players
def player(audio: np.ndarray, sample_rate: int, title: str = "clip", color: str = INK) -> HTML:
    """One clip with the browser's own controls, which a keyboard can reach."""
    return embed.output(
        "player.html", sound=_source(audio, sample_rate), title=str(title), color=color
    )


def player_grid(clips: dict[str, dict[str, np.ndarray]], sample_rate: int) -> HTML:
    """Clips side by side, all at the same gain; on a narrow screen the columns stack.

    Parameters
    ----------
    clips : dict
        {row: {column: audio [shape=(sample,) or (2, sample)]}}. Rows named after emotions get their colour; names
        that are no text, such as strengths, are written as their str.
    sample_rate : int
        Hz.
    """
    rows = [
        {
            "name": str(name),
            "color": color(name),
            "cells": [
                {"name": str(column), "sound": _source(audio, sample_rate)}
                for column, audio in columns.items()
            ],
        }
        for name, columns in clips.items()
    ]
    return embed.output("player_grid.html", rows=rows)


def switch_players(clips: dict[str, dict[str, np.ndarray]], sample_rate: int) -> HTML:
    """Songs that stand in for one another: while one plays, a button puts another in its place at
    the same moment, so that nothing differs but what was done to it.

    Parameters
    ----------
    clips : dict
        {row: {kind: audio [shape=(sample,) or (2, sample)]}}; the first kind is there at first.
    sample_rate : int
        Hz.

    Raises
    ------
    ValueError
        A row of songs that are not equally long.
    """
    for name, kinds in clips.items():
        check.same_length(**{f"{name}, {kind}": np.asarray(a).T for kind, a in kinds.items()})
    rows = [
        {
            "name": str(name),
            "kinds": [
                {"name": str(kind), "sound": mp3_text(audio, sample_rate)}
                for kind, audio in kinds.items()
            ],
        }
        for name, kinds in clips.items()
    ]
    return HTML(
        embed.drawn("switch-players", {"rows": rows}, ["elements", "alone", "switch_players"])
    )


def spectrogram(audio: np.ndarray, sample_rate: int, title: str = "clip") -> HTML:
    """A log-frequency spectrogram over its player.

    A cursor follows the sound, and a click on the picture seeks.
    """
    return embed.output(
        "spectrogram.html",
        place=embed.place("spectrogram"),
        title=str(title),
        seconds=np.shape(audio)[-1] / sample_rate,
        picture=picture(level(audio, sample_rate)[::-1]),
        sound=_source(audio, sample_rate),
    )


# ----------------------------------------------------------------------------------------- pictures
def level(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-frequency spectrogram of one clip, of stereo that of the mean of both channels.

    Returns
    -------
    np.ndarray [shape=(pitch, time)]
        84 semitones from 55 Hz on; 0 is -60 dB or less, 1 is full scale.
    """
    spectrum = librosa.cqt(
        check.clip(AUDIO, audio).mean(0),
        sr=sample_rate,
        hop_length=256,
        fmin=LOWEST,
        n_bins=SEMITONES,
    )
    decibels = librosa.amplitude_to_db(np.abs(spectrum), ref=1.0)
    return np.clip((decibels + FLOOR) / FLOOR, 0, 1)


def picture(level: np.ndarray) -> str:
    """A picture of values in [0, 1] as a data URI, dark to bright.

    Parameters
    ----------
    level : array_like [shape=(row, column)]
        The first row is drawn at the top.
    """
    level = check.array("level", level, ("row", "column"))
    darkest_to_brightest = sample_colorscale("Magma", SHADES_OF_PICTURE, colortype="tuple")
    image = Image.fromarray(np.round(level * (SHADES_OF_PICTURE - 1)).astype(np.uint8), mode="P")
    image.putpalette([round(255 * channel) for rgb in darkest_to_brightest for channel in rgb])
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
