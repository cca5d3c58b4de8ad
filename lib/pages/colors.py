"""One visual language: one colour, shape and dash an emotion and an organism, in every figure and player.

Nobody needs to see colours: what has a colour of its own has a shape of its own, too, and a dash.
What stands in for each colour on a dark page is told in ``static/shades.css``.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

#: One colour for each emotion, distinguishable with the common colour deficiencies (after Okabe
#: and Ito 2008).
COLORS = {
    "happy": "#E69F00",
    "energetic": "#D55E00",
    "tense": "#AA3377",
    "sad": "#0072B2",
    "calm": "#009E73",
}
INK = "#222222"
PAPER = "#FFFFFF"
MUTED = "#666666"
GRID = "#E5E5E5"
#: One shade for each organism and for an untrained network; any other model is drawn in ink.
SHADES = {
    "organism": INK,
    "organism-habit": "#CC79A7",
    "organism-decoupled": "#56B4E9",
    "organism-shuffled": "#999999",
    "untrained": "#8C6D31",
}
#: For series that are neither emotion nor organism (Okabe and Ito 2008).
PALETTE = (
    "#222222",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#882255",
)
#: Shapes of points, as plotly calls them (``static/vector.js`` draws the same).
SYMBOLS = {
    "happy": "circle",
    "energetic": "triangle-up",
    "tense": "x",
    "sad": "square",
    "calm": "diamond",
    "organism": "circle",
    "organism-habit": "diamond",
    "organism-decoupled": "square",
    "organism-shuffled": "x",
    "untrained": "triangle-down",
}
#: Dashes of lines, as plotly calls them.
DASHES = {
    "happy": "solid",
    "energetic": "dash",
    "tense": "dot",
    "sad": "dashdot",
    "calm": "longdash",
    "organism": "solid",
    "organism-habit": "dash",
    "organism-decoupled": "dashdot",
    "organism-shuffled": "dot",
    "untrained": "longdash",
}
#: For series that are neither.
OTHER_SYMBOLS = (
    "circle",
    "diamond",
    "square",
    "triangle-up",
    "x",
    "triangle-down",
    "star",
    "hexagon",
)
OTHER_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


class Look(NamedTuple):
    """How a series is drawn."""

    color: str
    symbol: str
    dash: str


def looks(names: Iterable, others: dict | None = None) -> dict[str, Look]:
    """One look for each series of a figure; no two have the same colour, as far as colours last.

    Parameters
    ----------
    names : iterable
        What is drawn; what is no text counts as its str.
    others : dict, optional
        Other names -> colour; they come first.
    """
    names = [str(name) for name in names]
    colors = _filled(names, {name: color(name, others, "") for name in names}, PALETTE)
    symbols = _filled(names, SYMBOLS, OTHER_SYMBOLS)
    dashes = _filled(names, DASHES, OTHER_DASHES)
    return {name: Look(colors[name], symbols[name], dashes[name]) for name in names}


def _filled(names, known, others):
    """Known values, and for other names those that are not taken."""
    found = {name: known[name] for name in names if known.get(name)}
    free = [value for value in others if value not in found.values()]
    rest = itertools.cycle(free or others)
    return {name: found.get(name) or next(rest) for name in dict.fromkeys(names)}


def symbol(name) -> str:
    """The shape of an emotion or an organism; a circle for what has none of its own."""
    return SYMBOLS.get(str(name), "circle")


def color(name, others: dict | None = None, otherwise: str = INK) -> str:
    """The colour of an emotion or an organism.

    Parameters
    ----------
    name : str
        What is drawn; what is no text counts as its str.
    others : dict, optional
        Other names -> colour; they come first.
    otherwise : str
        For a name that has no colour of its own.
    """
    known = {**SHADES, **COLORS, **{str(key): value for key, value in (others or {}).items()}}
    return known.get(str(name), otherwise)
