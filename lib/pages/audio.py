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

#: Hz, of an MP3, which knows no others above; lower ones some browsers refuse.
MP3_RATES = (24_000, 32_000, 44_100, 48_000)
PICTURE_RATE = 16_000  # Hz, at least: all semitones of the picture lie below half of it
LOWEST = 55.0  # Hz, of the picture
SEMITONES = 84
FLOOR = 60.0  # dB below full scale, drawn as darkest
SHADES_OF_PICTURE = 64
COLUMNS = 240  # of a waveform
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
    if sample_rate not in MP3_RATES:
        nearest = next((rate for rate in MP3_RATES if rate > sample_rate), MP3_RATES[-1])
        audio = librosa.resample(audio, orig_sr=sample_rate, target_sr=nearest)
        sample_rate = nearest
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


def packed(audio: np.ndarray, sample_rate: int, small: bool = True) -> dict:
    """A clip as pages hold it: its sound, and the shape that is drawn before anything is decoded.

    Parameters
    ----------
    audio, sample_rate, small
        As :func:`mp3` takes them.

    Returns
    -------
    dict
        "sound" (MP3 in base64) and "shape": "seconds", and "peaks", one base64 text a channel.
    """
    audio = check.clip(AUDIO, audio)
    sample_rate = check.count("sample_rate", sample_rate)
    shape = {
        "seconds": round(audio.shape[-1] / sample_rate, 3),
        "peaks": [base64.b64encode(channel.tobytes()).decode() for channel in peaks(audio)],
    }
    return {"sound": mp3_text(audio, sample_rate, small), "shape": shape}


def peaks(audio: np.ndarray) -> np.ndarray:
    """The waveform of a clip: the largest magnitude of each part, on one scale for all clips.

    Parameters
    ----------
    audio : np.ndarray [shape=(channel, sample)]
        From -1 to 1.

    Returns
    -------
    np.ndarray [shape=(channel, column), dtype=uint8]
        240 columns, or one a sample if there are fewer; 255 is full scale.
    """
    samples = audio.shape[-1]
    starts = np.linspace(0, samples, min(COLUMNS, samples), endpoint=False).astype(int)
    largest = np.maximum.reduceat(np.abs(audio), starts, axis=-1)
    return np.round(255 * largest.clip(max=1)).astype(np.uint8)


# ------------------------------------------------------------------------------------------ players
def player(audio: np.ndarray, sample_rate: int, title: str = "clip", color: str = INK) -> HTML:
    """One clip: its waveform with a cursor, to click on and to reach with the keyboard."""
    return embed.output(
        "player.html",
        place=embed.place("player"),
        clip=packed(audio, sample_rate, small=False),
        title=str(title),
        shade=_shade(color),
    )


def player_grid(clips: dict[str, dict[str, np.ndarray]], sample_rate: int) -> HTML:
    """Clips side by side, all at the same gain. On a narrow screen the columns stack; a column
    stands at the same place in every row.

    Parameters
    ----------
    clips : dict
        {row: {column: audio [shape=(sample,) or (2, sample)]}}. Rows named after emotions get their colour; names
        that are no text, such as strengths, are written as their str. Columns called "organism,
        seed 0", "organism, seed 1", ... form a group, which stays together.
    sample_rate : int
        Hz.
    """
    clips = _rows_of_clips(clips, "{row: {column: audio}}")
    columns = list(dict.fromkeys(column for row in clips.values() for column in row))
    rows = [
        {
            "name": str(name),
            "shade": _shade(color(name)),
            "groups": [
                {"name": group, "cells": [_cell(row, *member, sample_rate) for member in members]}
                for group, members in _groups(columns).items()
            ],
        }
        for name, row in clips.items()
    ]
    return embed.output(
        "player_grid.html", place=embed.place("players"), count=len(columns), rows=rows
    )


def _rows_of_clips(clips, expected):
    """Clips by row, and by what they are called in it."""
    rows = check.mapping("clips", clips, expected)
    return {
        name: check.mapping(f"clips[{name!r}]", row, "{name: audio}") for name, row in rows.items()
    }


def _cell(row, column, name, sample_rate):
    """One clip of a row under the name that its column has in its group; None where there is none."""
    clip = packed(row[column], sample_rate, small=False) if column in row else None
    return {"name": name, "label": str(column), "clip": clip}


def _groups(columns):
    """Groups of columns -> their members, each with its name in the group. Columns that do not share
    the beginning of their names are one group, which has no name.
    """
    groups = {}
    for column in columns:
        group, _, name = str(column).rpartition(", ")
        groups.setdefault(group, []).append((column, name))
    if "" in groups or len(groups) == len(columns):
        return {"": [(column, str(column)) for column in columns]}
    return groups


def _shade(color):
    """What a waveform is drawn in; ink is the page's own, which is light on dark paper."""
    return None if color == INK else color


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
    clips = _rows_of_clips(clips, "{row: {kind: audio}}")
    for name, kinds in clips.items():
        check.same_length(**{f"{name}, {kind}": np.asarray(a).T for kind, a in kinds.items()})
    rows = [
        {
            "name": str(name),
            "kinds": [
                {"name": str(kind), **packed(audio, sample_rate)} for kind, audio in kinds.items()
            ],
        }
        for name, kinds in clips.items()
    ]
    told = [f"{name}: {', '.join(map(str, kinds))}" for name, kinds in clips.items()]
    scripts = (*embed.SOUND, "switch_players")
    return HTML(embed.drawn("switch-players", {"rows": rows}, scripts, told))


def spectrogram(audio: np.ndarray, sample_rate: int, title: str = "clip") -> HTML:
    """The waveform of a clip over its log-frequency spectrogram, with one cursor through both.

    The cursor follows the sound; a click anywhere seeks, and so do arrow keys.
    """
    # The picture is ours, not that of wavesurfer's plugin. The plugin has a logarithmic axis, but its
    # bins are those of one Fourier transform of the decoded sound: at 55 Hz, where semitones lie
    # 3 Hz apart, they cannot tell one tone from the next, and its colours go by the loudest bin of
    # each clip. Ours has one row a semitone and one scale for all clips, and needs no decoding.
    return embed.output(
        "spectrogram.html",
        place=embed.place("spectrogram"),
        title=str(title),
        clip=packed(audio, sample_rate, small=False),
        picture=picture(level(audio, sample_rate)[::-1]),
    )


# ----------------------------------------------------------------------------------------- pictures
def level(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-frequency spectrogram of one clip, of stereo that of the mean of both channels.

    Returns
    -------
    np.ndarray [shape=(pitch, time)]
        84 semitones from 55 Hz on; 0 is -60 dB or less, 1 is full scale.
    """
    audio = check.clip(AUDIO, audio).mean(0)
    sample_rate = check.count("sample_rate", sample_rate)
    if sample_rate < PICTURE_RATE:
        audio = librosa.resample(audio, orig_sr=sample_rate, target_sr=PICTURE_RATE)
        sample_rate = PICTURE_RATE
    spectrum = librosa.cqt(
        audio,
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

    Raises
    ------
    ValueError, TypeError
        Values that are no numbers from 0 to 1.
    """
    level = check.array("level", level, ("row", "column"))
    low, high = float(level.min()), float(level.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"level must hold values from 0 to 1. Got {low:g} to {high:g}: scale or clip them."
        )
    darkest_to_brightest = sample_colorscale("Magma", SHADES_OF_PICTURE, colortype="tuple")
    image = Image.fromarray(np.round(level * (SHADES_OF_PICTURE - 1)).astype(np.uint8), mode="P")
    image.putpalette([round(255 * channel) for rgb in darkest_to_brightest for channel in rgb])
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
