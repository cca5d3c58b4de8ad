"""Pictures that sound: a map and a table of clips, each of which plays where it is clicked."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import check
from . import embed
from .audio import packed
from .colors import MUTED, color, symbol
from .figures import table_of_numbers

WIDTH, HEIGHT, EDGE = 600, 400, 20  # of the map's drawing


def sound_map(
    maps: dict[str, np.ndarray],
    audios: Iterable,
    sample_rate: int,
    labels: Iterable,
    titles: Iterable,
) -> HTML:
    """Maps of clips: every point is one, in its emotion's colour, and plays when it is chosen.

    A click chooses a point, or Enter on the one that has the focus.

    Parameters
    ----------
    maps : dict
        Name -> points [clip, 2]; buttons change from one map to the next.
    audios : array_like [shape=(clip, sample)]
    sample_rate : int
        Hz.
    labels, titles : list
        Emotions, and what is shown for the clip that plays.

    Raises
    ------
    ValueError
        Points, audio, labels and titles that are not one for each clip.
    """
    maps = check.mapping("maps", maps, "{name: points [clip, 2]}")
    audios = list(audios)
    labels = [str(label) for label in labels]
    titles = [str(title) for title in titles]
    n = check.same_length(audios=audios, labels=labels, titles=titles)
    data = {
        "names": [str(name) for name in maps],
        "places": [_places(name, points, n) for name, points in maps.items()],
        "key": [{"name": label, **_look(label)} for label in dict.fromkeys(labels)],
        "points": [
            {"title": title, **_look(label)} for label, title in zip(labels, titles, strict=True)
        ],
        "clips": [packed(audio, sample_rate, small=False) for audio in audios],
    }
    return HTML(embed.drawn("sound-map", data, [*embed.SOUND, "sound_map"], titles))


def _look(label):
    """A point's colour and shape."""
    return {"color": color(label, None, MUTED), "shape": symbol(label)}


def _places(name, points, n):
    """Points of a map as places in the drawing, y downwards."""
    points = check.array(f"map {name!r}", points, (n, 2))
    low = points.min(0)
    span = np.ptp(points, axis=0) + 1e-9
    corner = np.array([EDGE, HEIGHT - EDGE])
    size = np.array([WIDTH - 2 * EDGE, 2 * EDGE - HEIGHT])
    return np.round(corner + size * (points - low) / span).astype(int)


def sound_grid(
    frames: pd.DataFrame | dict[str, pd.DataFrame],
    audios: Iterable,
    sample_rate: int,
    unit: str,
) -> HTML:
    """A table of numbers as a heat map of buttons: every cell plays its clip.

    Parameters
    ----------
    frames : DataFrame or dict of str to DataFrame
        Signed numbers; of several tables with the same rows and columns, a menu chooses which is
        shown. A cell without a number is left white.
    audios : array_like [shape=(cell, sample)]
        One clip a cell, row by row.
    sample_rate : int
        Hz.
    unit : str

    Raises
    ------
    ValueError
        Tables of different rows or columns, or another number of clips than of cells.
    """
    if isinstance(frames, pd.DataFrame):
        frames = {"": frames}
    frames = check.mapping("frames", frames, "a DataFrame, or {name: DataFrame}", 1)
    values = [table_of_numbers(f"frames[{name!r}]", frame) for name, frame in frames.items()]
    audios = list(audios)
    first = next(iter(frames.values()))
    same = all(
        frame.axes[0].equals(first.index) and frame.axes[1].equals(first.columns)
        for frame in frames.values()
    )
    if first.size != len(audios) or not same:
        raise ValueError(
            "sound_grid needs one clip and one number a cell, and tables with the same rows and "
            f"columns. Got {len(audios)} clips for {first.size} cells."
        )
    data = {
        "rows": [str(row) for row in first.index],
        "columns": [str(column) for column in first.columns],
        "names": [str(name) for name in frames],
        "unit": unit,
        "values": [numbers.ravel().round(4) for numbers in values],
        "clips": [packed(audio, sample_rate) for audio in audios],
    }
    return HTML(embed.drawn("sound-grid", data, (*embed.SOUND, "sound_grid")))
