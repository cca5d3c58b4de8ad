"""Figures: points and lines with their intervals, spreads, tables as heat maps.

Every figure shows in JupyterLab, in the static book and in an exported notebook.
"""

import functools
import json
import re
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .. import check, stats
from ..organism import world
from . import embed
from .colors import GRID, INK, MUTED, PAPER, color, looks, symbol

CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": False}
TITLE_WIDTH = 20  # letters of an axis' title in one line
LABEL_WIDTH = 18  # of a name beside an axis
LINE_HEIGHT = 16  # pixels of a further line in such a name
TITLE_HEIGHT = 30  # pixels that plotly leaves for a figure's title
MANY_ROWS, MANY_COLUMNS = 50, 20  # of a heat map: no longer each with its name
ROW_HEIGHT = 74  # pixels of a criterion
LANE_HEIGHT = 14  # pixels of each world within it, where they need more
#: Shapes of models from before.
HOLLOW = ("diamond-open", "square-open", "triangle-up-open", "circle-open", "star-open")


class Figure:
    """A plotly figure that is drawn natively in JupyterLab and from HTML everywhere else.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        Its look is set here: font, margins, grid, legend below.
    height : int
        Pixels.
    """

    def __init__(self, figure: go.Figure, height: int = 380):
        for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
            if axis.title.text:
                # a phone would cut off a long one
                axis.title.text = _wrapped(axis.title.text)
        figure.update_layout(
            template="plotly_white",
            font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
            margin={"l": 10, "r": 10, "t": 40, "b": 10},
            height=height,
            autosize=True,
            paper_bgcolor=PAPER,
            plot_bgcolor=PAPER,
            # at the figure's lower edge: a share of the plot's height leaves a gap in tall figures
            legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        )
        axes = {
            "automargin": True,
            "gridcolor": GRID,
            "zerolinecolor": GRID,
            "title_font_size": 13,
        }
        figure.update_xaxes(axes)
        figure.update_yaxes(axes)
        self.figure = figure

    def _repr_mimebundle_(self, include=None, exclude=None):
        native = {**json.loads(self.figure.to_json()), "config": CONFIG}
        return {"text/html": self.html(), "application/vnd.plotly.v1+json": native}

    def html(self) -> str:
        """The figure as a piece of a page."""
        # plotly never wraps a title: as text of the page a phone breaks it into lines
        height = self.figure.layout.height - TITLE_HEIGHT
        page = go.Figure(self.figure).update_layout(title=None, margin_t=10, height=height)
        # what a figure was drawn from is for whoever draws it again
        page.update_layout(meta=None)
        data = {"figure": json.loads(page.to_json()), "config": CONFIG, "plotly": plotly_script()}
        title = self.figure.layout.title.text or ""
        return embed.render(
            "figure.html",
            place=embed.place("figure"),
            title=title,
            told=told(self.figure),
            height=height,
            data=data,
            file=embed.numbers(numbers(self.figure), title),
        )


def told(figure: go.Figure) -> str:
    """What a figure shows, for whoever does not see it; its numbers are in the file beside it."""
    layout = figure.layout
    kind = "Heat map" if any(trace.type == "heatmap" for trace in figure.data) else "Chart"
    parts = [f"{kind}: {layout.title.text or 'no title'}"]
    for name, axis in (("from left to right", layout.xaxis), ("upwards", layout.yaxis)):
        if axis.title.text:
            parts.append(f"{name}: {axis.title.text}")
    series = [trace.name for trace in figure.data if trace.name]
    if series:
        parts.append(f"series: {', '.join(series)}")
    return _plain(". ".join(parts))


def _wrapped(text, width=TITLE_WIDTH):
    """A text of several lines, as plotly breaks them."""
    # a name is one word, whatever it is joined by: broken at its hyphen it would be another
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "<br>".join(lines) or text


def _plain(text):
    """A text in one line."""
    return text.replace("<br>", " ")


def numbers(figure: go.Figure) -> pd.DataFrame:
    """What a figure was drawn from, one row a point: series, x, y, of a heat map z, and intervals
    (low, high, or in what is told).
    """
    parts = []
    for trace in figure.data:
        if trace.type == "heatmap":
            z = pd.DataFrame(trace.z, index=trace.y, columns=trace.x).rename_axis("y")
            parts.append(z.reset_index().melt("y", var_name="x", value_name="z"))
            continue
        # a band, whose line tells its interval, or a line to compare with
        if trace.hoverinfo == "skip":
            continue
        columns = {"series": trace.name, "x": trace.x, "y": trace.y, "told": trace.text}
        part = pd.DataFrame({name: value for name, value in columns.items() if value is not None})
        part = part.replace("<br>", " ", regex=True)
        for axis in ("x", "y"):
            error = trace[f"error_{axis}"]
            if error.array is not None:
                part["low"] = np.asarray(part[axis]) - np.asarray(error.arrayminus)
                part["high"] = np.asarray(part[axis]) + np.asarray(error.array)
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


@functools.cache
def plotly_script() -> dict[str, str]:
    """Where a page that has no plotly.js finds the release that this plotly was made for.

    Returns
    -------
    dict
        "src" and "integrity" of the script element that plotly itself writes for its CDN.
    """
    page = go.Figure().to_html(full_html=False, include_plotlyjs="cdn", include_mathjax=False)
    return {name: re.search(rf'{name}="([^"]+)"', page)[1] for name in ("src", "integrity")}


# ------------------------------------------------------------------------------------------- points
def estimates(
    values: dict[str, stats.Estimate],
    title: str,
    unit: str,
    bar: float | None = None,
    colors: dict | None = None,
) -> Figure:
    """Points with their intervals, one line each.

    Parameters
    ----------
    values : dict
        Label -> estimate. A label that begins with a model's or an emotion's name
        ("organism: text") has its colour.
    title, unit : str
    bar : float, optional
        A threshold, drawn as a dotted line.
    colors : dict, optional
        Other beginnings -> colour.
    """
    values = check.mapping("values", values, "{label: estimate}")
    for label, estimate in values.items():
        _check_estimate(f"values[{label!r}]", estimate)
    figure = go.Figure()
    lines = 0
    for label, estimate in reversed(values.items()):
        place = _wrapped(str(label), LABEL_WIDTH)
        lines += place.count("<br>")
        subject = str(label).split(":")[0]
        shade = color(subject, colors)
        interval = {
            "type": "data",
            "symmetric": False,
            "array": [estimate.high - estimate.value],
            "arrayminus": [estimate.value - estimate.low],
            "color": shade,
            "thickness": 2,
        }
        figure.add_scatter(
            x=[estimate.value],
            y=[place],
            error_x=interval,
            mode="markers",
            showlegend=False,
            marker={"color": shade, "size": 10, "symbol": symbol(subject)},
            hovertemplate=f"{label}: {estimate}<extra></extra>",
        )
    if bar is not None:
        figure.add_vline(x=bar, line_dash="dot", line_color=MUTED)
    # labels are names, also where they look like numbers
    figure.update_layout(title=title, xaxis_title=unit, yaxis_type="category")
    return Figure(figure, height=110 + 30 * len(values) + LINE_HEIGHT * lines)


def verdicts(found: pd.DataFrame, title: str) -> Figure:
    """Every criterion's estimate and interval on every model, against nothing and the margin.

    All criteria share one axis, in units of their smallest effect of interest: 0 is nothing, 1 is
    that effect.

    Parameters
    ----------
    found : pd.DataFrame
        Columns claim, model, world, answer, value, low, high and smallest. Rows whose column
        recorded is true are of other models, from before: they are drawn hollow and grey. The
        figure keeps the table as its "meta".
    title : str
    """
    claims = list(dict.fromkeys(found["claim"]))[::-1]
    worlds = list(dict.fromkeys(found["world"]))
    earlier = set(found[found["recorded"]]["world"]) if "recorded" in found else set()
    figure = go.Figure()
    for number, (name, some) in enumerate(found.groupby("world", sort=False)):
        models = list(dict.fromkeys(some["model"]))
        # worlds one below the other within a row, their models close together
        lift = 0.36 - 0.72 * (number + 0.5) / len(worlds)
        places = [
            claims.index(row.claim) + lift - 0.03 * models.index(row.model)
            for row in some.itertuples()
        ]
        value, low, high = (some[part] / some["smallest"] for part in ("value", "low", "high"))
        shade = MUTED if name in earlier else color(name)
        figure.add_scatter(
            x=value,
            y=places,
            name=_wrapped(name),
            mode="markers",
            marker={"color": shade, "size": 7, "symbol": _symbol(name, worlds, earlier)},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": high - value,
                "arrayminus": value - low,
                "color": shade,
                "thickness": 1.5,
                "width": 2,
            },
            text=[f"{row.model}: {row.answer}" for row in some.itertuples()],
            hovertemplate="%{text}<br>%{x:.2f}<extra></extra>",
        )
    figure.add_vline(x=0, line_color=MUTED)
    figure.add_vline(x=1, line_dash="dot", line_color=MUTED)
    ticks = [_wrapped(claim, LABEL_WIDTH) for claim in claims]
    figure.update_layout(
        title=title,
        xaxis_title="effect in units of the smallest that matters (dotted)",
        yaxis={
            "tickvals": list(range(len(claims))),
            "ticktext": ticks,
            "range": [-0.6, len(claims) - 0.4],
            "zeroline": False,
        },
        meta={"verdicts": embed.plain(found.to_dict("records"))},
    )
    lines = max(tick.count("<br>") + 1 for tick in ticks)
    each = max(ROW_HEIGHT, LANE_HEIGHT * len(worlds), LINE_HEIGHT * lines + 8)
    # on a phone every world has lines of its own in the legend
    return Figure(figure, height=130 + each * len(claims) + 2 * LANE_HEIGHT * len(worlds))


def _symbol(name, worlds, earlier):
    """Models from before are told apart by their shape."""
    if name not in earlier:
        return symbol(name)
    number = [world for world in worlds if world in earlier].index(name)
    return HOLLOW[number % len(HOLLOW)]


# -------------------------------------------------------------------------------------------- lines
def curves(
    series: dict,
    title: str,
    x_title: str,
    y_title: str,
    bar: float | None = None,
    colors: dict | None = None,
) -> Figure:
    """Lines with their interval as a band.

    Parameters
    ----------
    series : dict
        Name -> (x values, list of stats.Estimate). Names of organisms and emotions get their
        colour.
    title, x_title, y_title : str
    bar : float, optional
        A threshold or chance, dotted.
    colors : dict, optional
        Name -> colour, for other names.
    """
    series = _pairs(series, "(x values, estimates)")
    figure = go.Figure()
    look = looks(series, colors)
    for name, (places, values) in series.items():
        _add_curve(figure, str(name), places, values, look[str(name)])
    if bar is not None:
        figure.add_hline(y=bar, line_dash="dot", line_color=MUTED)
    figure.update_layout(title=title, xaxis_title=x_title, yaxis_title=y_title)
    return Figure(figure, height=400 if len(series) < 5 else 480)


def _pairs(series, expected, fewest=0):
    """Two lists for every name."""
    series = check.mapping("series", series, f"{{name: {expected}}}", fewest)
    for name, parts in series.items():
        whole = isinstance(parts, Sequence | np.ndarray) and len(parts) == 2
        if not whole or not all(_is_list(part) for part in parts):
            check.refuse(TypeError, f"series[{name!r}]", expected, parts)
    return {name: (list(first), list(second)) for name, (first, second) in series.items()}


def _is_list(values):
    return isinstance(values, Iterable) and not isinstance(values, str)


def _check_estimate(name, value):
    if not all(hasattr(value, part) for part in ("value", "low", "high")):
        remedy = "stats.bootstrap gives one; Estimate(x, nan, nan, n) has no interval."
        check.refuse(TypeError, name, "a stats.Estimate (value, low, high, n)", value, remedy)


def _add_curve(figure, name, places, values, look):
    check.same_length(**{f"x of {name}": places, f"estimates of {name}": values})
    for number, value in enumerate(values):
        _check_estimate(f"estimate {number} of {name}", value)
    low = [value.low for value in values]
    high = [value.high for value in values]
    figure.add_scatter(
        x=places + places[::-1],
        y=high + low[::-1],
        fill="toself",
        fillcolor=look.color,
        opacity=0.15,
        line_width=0,
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=places,
        y=[value.value for value in values],
        name=name,
        line={"color": look.color, "width": 2, "dash": look.dash},
        marker={"color": look.color, "size": 8, "symbol": look.symbol},
        mode="lines+markers",
        text=[str(value) for value in values],
        hovertemplate="%{x}: %{text}<extra>" + name + "</extra>",
    )


def plane(points: np.ndarray, names, emotions, title: str) -> Figure:
    """Named points on the plane of valence and arousal, and where the emotions lie (crosses).

    Parameters
    ----------
    points : array_like [shape=(point, 2)]
        Valence and arousal.
    names, emotions : sequence of str
        What each point is called, and its emotion.
    title : str
    """
    points = check.array("points", np.asarray(points), ("point", 2))
    names = np.asarray(names)
    emotions = np.asarray(emotions)
    check.same_length(points=points, names=names, emotions=emotions)
    for emotion in emotions:
        check.choice("emotion", str(emotion), world.EMOTIONS)
    figure = go.Figure()
    for emotion in dict.fromkeys(emotions):
        some = emotions == emotion
        shade = color(emotion)
        figure.add_scatter(
            x=points[some, 0],
            y=points[some, 1],
            name=emotion,
            mode="markers",
            marker={"color": shade, "size": 9, "symbol": symbol(emotion)},
            text=names[some],
            hovertemplate="%{text}<br>%{x:.2f}, %{y:.2f}<extra>" + emotion + "</extra>",
        )
        valence, arousal = world.EMOTIONS[emotion]
        cross = {"color": shade, "size": 14, "symbol": "cross-thin", "line_width": 3}
        cross["line_color"] = shade
        figure.add_scatter(
            x=[valence],
            y=[arousal],
            mode="markers",
            marker=cross,
            showlegend=False,
            hovertemplate=f"{emotion}<extra></extra>",
        )
    figure.update_layout(title=title, xaxis_title="valence", yaxis_title="arousal")
    return Figure(figure, height=420)


def scatter(series: dict, title: str, x_title: str, y_title: str) -> Figure:
    """Points of two measurements in the same unit, and the line on which both agree.

    Parameters
    ----------
    series : dict
        Name -> (x values, y values).
    title, x_title, y_title : str
    """
    series = _pairs(series, "(x values, y values)", 1)
    figure = go.Figure()
    ends = []
    look = looks(series)
    for name, (x, y) in series.items():
        x = check.array(f"x of series {name!r}", x, ("value",))
        y = check.array(f"y of series {name!r}", y, (len(x),))
        ends += [*x, *y]
        shade, shape, _ = look[str(name)]
        marker = {"color": shade, "size": 7, "opacity": 0.6, "symbol": shape}
        figure.add_scatter(x=x, y=y, name=str(name), mode="markers", marker=marker)
    ends = [min(ends), max(ends)]
    line = {"color": MUTED, "dash": "dot"}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, showlegend=False, hoverinfo="skip")
    figure.update_layout(title=title, xaxis_title=x_title, yaxis_title=y_title)
    return Figure(figure, height=420)


def histogram(series: dict, title: str, x_title: str, bins: int = 40) -> Figure:
    """How values are spread, one outline a series, on common bins, as shares.

    Parameters
    ----------
    series : dict
        Name -> values, finite numbers.
    title, x_title : str
    bins : int
    """
    series = check.mapping("series", series, "{name: values}", 1)
    arrays = {
        str(name): check.array(f"series {name!r}", list(values), ("value",))
        for name, values in series.items()
    }
    everything = np.concatenate(list(arrays.values()))
    edges = np.linspace(everything.min(), everything.max() + 1e-9, check.count("bins", bins) + 1)
    figure = go.Figure()
    look = looks(arrays)
    for name, values in arrays.items():
        figure.add_scatter(
            x=(edges[1:] + edges[:-1]) / 2,
            y=np.histogram(values, edges)[0] / len(values),
            name=name,
            line_shape="hvh",
            fill="tozeroy",
            line={"color": look[name].color, "dash": look[name].dash},
        )
    figure.update_layout(title=title, xaxis_title=x_title, yaxis_title="share")
    return Figure(figure, height=320)


# ----------------------------------------------------------------------------------------- heat map
def table_of_numbers(name: str, frame: pd.DataFrame) -> np.ndarray:
    """The numbers of a table, [row, column]; what is missing is NaN."""
    expected = "a DataFrame of numbers"
    if not isinstance(frame, pd.DataFrame):
        check.refuse(TypeError, name, expected, frame)
    try:
        values = frame.to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError):
        check.refuse(TypeError, name, expected, frame.dtypes.to_dict(), "Leave other columns out.")
    if not values.size:
        check.refuse(ValueError, name, f"{expected}, one or more", values.shape)
    return values


def heatmap(
    frame: pd.DataFrame,
    title: str,
    unit: str,
    limit: float | None = None,
    numbers: bool = True,
    x_title: str = "",
    y_title: str = "",
) -> Figure:
    """A table of signed numbers as a heat map, centred on zero.

    Parameters
    ----------
    frame : pd.DataFrame
    title, unit : str
    limit : float, optional
        Where the colours end; by default at the largest size in the table.
    numbers : bool
        Write them into the cells.
    x_title, y_title : str

    Raises
    ------
    ValueError, TypeError
        No table of numbers, or an empty one.
    """
    z = table_of_numbers("frame", frame)
    limit = check.number("limit", limit, 0, open_low=True, optional=True)
    if limit is None:
        limit = float(np.abs(z[np.isfinite(z)]).max(initial=0))
    cells = go.Heatmap(
        z=z,
        x=list(frame.columns),
        y=[_wrapped(row, LABEL_WIDTH) if isinstance(row, str) else row for row in frame.index],
        colorscale="RdBu_r",
        zmin=-limit,
        zmax=limit,
        texttemplate="%{z:.1f}" if numbers else "",
        # below: beside them it would leave a phone's cells no room
        colorbar={
            "title": {"text": unit, "side": "bottom"},
            "orientation": "h",
            "thickness": 12,
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
        },
    )
    figure = go.Figure(cells)
    figure.update_layout(
        title=title, yaxis_autorange="reversed", xaxis_title=x_title, yaxis_title=y_title
    )
    # every name is written where there is room for it
    figure.update_yaxes(tickmode="linear" if len(frame) < MANY_ROWS else "auto")
    if all(isinstance(column, str) for column in frame.columns) and frame.shape[1] < MANY_COLUMNS:
        figure.update_xaxes(tickmode="linear")
    return Figure(figure, height=max(320, 180 + (42 if numbers else 24) * len(frame)))
