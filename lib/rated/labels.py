"""What a rating is: two axes, a published scale, and half seconds along a song.

PMEmo and DEAM drop what was answered in the first 15 seconds and publish a label every half second.

What a stamp means could not be read in either paper; it was inferred. PMEmo's clip 108 lasts 49.1 s
and its last stamp is 49.0 (``docs/data/samples/108.json`` of its repository), its first is 15.5,
and clips shorter than 15.5 s have no labels (its issue 6): stamps are ends. DEAM's first stamp is
15.0, and code of its users reads an excerpt of 45 s up to 44.5: stamps are starts (those of its
first part alone, emoMusic, go to 45.0). PMEmo's own baseline pairs a stamp with the second of audio
that follows it (``features.py``, ``dynamic_MER.ipynb``), half a second later than here. All that is
small against the 2 to 4 seconds that listeners take to answer: see ``lag`` of :func:`aligned`.

References
----------
Aljanaki, Wiering and Veltkamp 2015, MediaEval 2015: A segmentation-based approach to continuous
emotion tracking, CEUR 1436, paper 82.
"""

import numpy as np
import pandas as pd
import xarray as xr

from .. import check

AXES = ["valence", "arousal"]
#: Seconds between two labels.
STEP = 0.5
#: Seconds at the start of a song that have no labels.
UNLABELLED = 15.0


def to_unit(values, scale: tuple[float, float]):
    """From a published scale (lowest, highest) to -1 to 1."""
    low, high = scale
    return 2 * (values - low) / (high - low) - 1


def from_unit(values, scale: tuple[float, float]):
    """From -1 to 1 to a published scale (lowest, highest)."""
    low, high = scale
    return low + (values + 1) / 2 * (high - low)


def aligned(
    dynamic: pd.DataFrame, frame_rate: float, frames: int, start: float = 0.0, lag: float = 0.0
) -> xr.DataArray:
    """Labels over time, one for each frame of a codec.

    A frame has the label of the half second that its middle falls in.

    Parameters
    ----------
    dynamic : pd.DataFrame
        From ``Dataset.dynamic``: a label at ``time`` describes the half second from there on.
    frame_rate : float, Hz
    frames : int
    start : float, s
        Where in the song the first frame begins.
    lag : float, s
        How long listeners take to answer: a frame gets the label given this much later. 2 to 4 s by
        Aljanaki, Wiering and Veltkamp 2015; 0 leaves the labels where they were published.

    Returns
    -------
    xr.DataArray [frame, axis]
        valence and arousal; nan where there is no label, as in the first 15 s; ``time`` (s): where
        a frame begins.

    Raises
    ------
    TypeError, ValueError
        If the table is empty or lacks a column, or rate or number of frames is not positive.
    """
    frame_rate = check.number("frame_rate", frame_rate, 0, open_low=True)
    frames = check.count("frames", frames)
    start = check.number("start", start)
    lag = check.number("lag", lag)
    if not {"time", *AXES} <= set(dynamic) or not dynamic["time"].notna().any():
        raise ValueError(
            f"dynamic must be what Dataset.dynamic gives. Got columns {list(dynamic)}, "
            f"{len(dynamic)} rows."
        )
    table = dynamic.dropna(subset="time").sort_values("time")
    label_times = table["time"].to_numpy(float)
    times = start + np.arange(frames) / frame_rate
    answered = times + 0.5 / frame_rate + lag
    # the last label that begins before the answer; 1e-9 s for times that are not exact in binary
    index = np.searchsorted(label_times, answered + 1e-9, side="right") - 1
    values = table[AXES].to_numpy(float)[index]
    values[(index < 0) | (answered >= label_times[index] + STEP)] = np.nan
    coords = {"axis": AXES, "time": ("frame", times)}
    return xr.DataArray(values, dims=("frame", "axis"), coords=coords)
