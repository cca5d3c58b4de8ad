"""Tables: estimates with their intervals, marks for yes and no, sentences that keep some width."""

import html

import numpy as np
import pandas as pd
from IPython.display import HTML
from markupsafe import Markup

from .. import check, stats
from . import embed

SENTENCE = 5  # spaces; a text with more is given some width
ROWS = 10  # shown at once; those below them are folded


def table(frame: pd.DataFrame | pd.Series, caption: str = "") -> HTML:
    """A DataFrame as a plain table that scrolls on a narrow screen; a Series with its index.

    Estimates are written with their intervals; where all of a column rest on the same number of
    units, the number stands in its head. A table of more than ten rows shows the first ten, and the
    others when they are opened, by a click or from the keyboard; its file holds all of them.
    """
    if isinstance(frame, pd.Series):
        name = "value" if frame.name is None else frame.name
        frame = frame.reset_index(name=name)
    if not isinstance(frame, pd.DataFrame):
        check.refuse(TypeError, "frame", "a DataFrame or a Series", frame)
    heads = []
    columns = []
    for i, name in enumerate(frame.columns):
        values = list(frame.iloc[:, i])
        sizes = {value.n if isinstance(value, stats.Estimate) else None for value in values}
        same_size = len(sizes) == 1 and sizes != {None}
        head = f"{name} (n = {sizes.pop()})" if same_size else str(name)
        heads.append(html.escape(head))
        columns.append([_cell(_text(value, not same_size)) for value in values])
    shown = pd.DataFrame(dict(enumerate(columns)))
    shown.columns = heads
    return embed.output(
        "table.html",
        caption=str(caption),
        table=_markup(shown[:ROWS]),
        rest=_markup(shown[ROWS:]) if len(shown) > ROWS else "",
        folded=len(shown) - ROWS,
        file=embed.numbers(_numbers(frame), str(caption)),
    )


def _markup(shown):
    """Rows whose texts are markup already, with the heads above them."""
    return Markup(shown.to_html(index=False, escape=False, border=0, justify="left"))


def _numbers(frame):
    """The same for a file: estimates as four columns."""
    columns = {}
    for i, name in enumerate(frame.columns):
        values = list(frame.iloc[:, i])
        if any(isinstance(value, stats.Estimate) for value in values):
            for part in ("value", "low", "high", "n"):
                columns[f"{name}: {part}"] = [getattr(value, part, None) for value in values]
        else:
            columns[str(name)] = values
    return pd.DataFrame(columns)


def _cell(text):
    """A cell's markup; a sentence keeps some width, or a narrow table would stack its words."""
    text = html.escape(text)
    return f'<div class="sentence">{text}</div>' if text.count(" ") > SENTENCE else text


def _text(value, with_size):
    if isinstance(value, stats.Estimate):
        return _estimate(value, with_size)
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "✓" if value else "✗"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _estimate(estimate, with_size):
    if np.isnan(estimate.low):
        return f"{estimate.value:.2f}"
    text = str(estimate) if with_size else str(estimate).split(", n =")[0]
    return text.replace(" ", "\u00a0")  # an interval is not broken into lines
