"""Diagrams of how something is built: a world's causes, a model's sites, its pattern of tokens."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from IPython.display import HTML

from .. import check
from ..musicgen.sites import Site
from . import embed
from .colors import COLORS, INK, MUTED, PAPER
from .figures import Figure

#: One colour for each kind of site: where text comes in, what sublayers add, the stream itself.
KINDS = {
    "text": COLORS["tense"],
    "cond": COLORS["tense"],
    "embed": INK,
    "attn": COLORS["happy"],
    "cross": COLORS["tense"],
    "head": COLORS["happy"],
    "cross_head": COLORS["tense"],
    "mlp": COLORS["calm"],
    "resid": INK,
    "logits": COLORS["sad"],
}
POSITIVE = "#7FB8D8"
NEGATIVE = "#EAAE7F"
CHANNELS = ("left", "right")


# ------------------------------------------------------------------------------------------- causes
def causal_graph(
    edges: dict[str, dict[str, float]], place: dict[str, tuple[float, float]], title: str
) -> Figure:
    """A weighted directed acyclic graph.

    Arrows are as wide as their weights, blue for positive, red for negative ones.

    Parameters
    ----------
    edges : dict
        Parent -> {child: weight}.
    place : dict
        Node -> (x, y).
    title : str

    Raises
    ------
    ValueError, TypeError
        A node that has no place.
    """
    place = check.mapping("place", place, "{node: (x, y)}", 1)
    edges = check.mapping("edges", edges, "{parent: {child: weight}}")
    for parent, children in edges.items():
        children = check.mapping(f"edges[{parent!r}]", children, "{child: weight}")
        for child, weight in children.items():
            check.number(f"edges[{parent!r}][{child!r}]", weight)
        lost = [node for node in (parent, *children) if node not in place]
        if lost:
            raise ValueError(f"place lacks {lost}: give every node of edges a place (x, y).")
    for node, where in place.items():
        check.array(f"place[{node!r}]", where, (2,))
    figure = go.Figure()
    for parent, children in edges.items():
        for child, weight in children.items():
            _add_arrow(figure, place[parent], place[child], weight)
            _add_weight(figure, place[parent], place[child], weight, f"{parent} → {child}")
    for node, (x, y) in place.items():
        figure.add_annotation(
            x=x,
            y=y,
            text=node,
            showarrow=False,
            bgcolor=PAPER,
            bordercolor=INK,
            borderpad=4,
            font={"size": 12},
        )
    x, y = zip(*place.values(), strict=True)
    figure.add_scatter(
        x=x, y=y, mode="markers", marker_opacity=0, showlegend=False, hoverinfo="skip"
    )
    figure.update_xaxes(visible=False, range=[min(x) - 0.5, max(x) + 0.5], fixedrange=True)
    figure.update_yaxes(visible=False, range=[min(y) - 0.5, max(y) + 0.5], fixedrange=True)
    figure.update_layout(title=title)
    return Figure(figure, height=460)


def _add_arrow(figure, start, end, weight):
    figure.add_annotation(
        x=end[0],
        y=end[1],
        ax=start[0],
        ay=start[1],
        xref="x",
        yref="y",
        axref="x",
        ayref="y",
        showarrow=True,
        arrowhead=2,
        text="",
        arrowwidth=1 + 3 * abs(weight),
        arrowsize=0.7,
        arrowcolor=POSITIVE if weight > 0 else NEGATIVE,
        standoff=30,
    )


def _add_weight(figure, start, end, weight, edge):
    # a third of the way: in the middle, the weights of arrows that cross would lie on each other
    figure.add_annotation(
        x=0.68 * start[0] + 0.32 * end[0],
        y=0.68 * start[1] + 0.32 * end[1],
        text=f"{weight:g}",
        showarrow=False,
        bgcolor=PAPER,
        borderpad=1,
        font={"size": 10, "color": MUTED},
        hovertext=f"{edge}: {weight:g}",
    )


# -------------------------------------------------------------------------------------------- sites
def site_map(sites: Mapping, batch: str = "clip") -> HTML:
    """The inside of a model to click on: every site with its shape and place in the computation.

    Parameters
    ----------
    sites : dict
        Name -> Site, from ``activations.sites``.
    batch : str
        What the first dimension of an activation counts.
    """
    sites = check.mapping("sites", sites, "{name: Site}, as activations.sites gives them")
    rows = [[]]
    for name, site in sites.items():
        if not isinstance(site, Site):
            check.refuse(TypeError, f"sites[{name!r}]", "a Site", site)
        kind = site.name.partition(".")[0]
        rows[-1].append(
            {
                "name": site.name,
                "color": KINDS[kind],
                "text": f"{site.name} = {site.equation}   [{batch}, {site.axis}, {site.width}]",
            }
        )
        if kind in ("cond", "embed", "resid", "logits"):
            rows.append([])
    return embed.output(
        "site_map.html", place=embed.place("site-map"), rows=[row for row in rows if row]
    )


# ------------------------------------------------------------------------------------------- tokens
def token_map(
    tokens: np.ndarray,
    delays: list[int],
    frame_rate: float,
    cardinality: int,
    channels: int | None = None,
) -> Figure:
    """The codebooks of one clip as the language model sees them: each delayed by its place.

    A stereo MusicGen encodes both channels on their own and interleaves their codebooks: codebook 0
    of the left channel, codebook 0 of the right, codebook 1 of the left, and so on (audiocraft's
    ``InterleaveStereoCompressionModel``). Both channels of a codebook have the same delay.

    Parameters
    ----------
    tokens : array_like [shape=(n_q, frame)]
        Of both channels, if there are two.
    delays : list of int [length n_q]
    frame_rate : float
        Hz.
    cardinality : int
        How many tokens a codebook has.
    channels : int, optional
        1 or 2; by default 2 if the delays come in pairs (0, 0, 1, 1, ...), as those of MusicGen's
        stereo models do.

    Raises
    ------
    ValueError, TypeError
        Tokens that are no integers [n_q, frame], delays of another length, an odd number of
        codebooks for two channels.
    """
    tokens = check.array("tokens", tokens, ("n_q", "frame"), integer=True)
    delays = [check.count(f"delays[{k}]", delay, 0) for k, delay in enumerate(delays)]
    check.same_length(tokens=tokens, delays=delays)
    if channels is None:
        channels = 2 if _in_pairs(delays) else 1
    frame_rate = check.number("frame_rate", frame_rate, 0, open_low=True)
    cardinality = check.count("cardinality", cardinality)
    names = _codebooks(len(tokens), check.count("channels", channels, 1, 2))
    positions = tokens.shape[1] + max(delays)
    grid = np.full((len(tokens), positions), np.nan)
    hover = np.full((len(tokens), positions), "", object)
    for row, (delay, name) in enumerate(zip(delays, names, strict=True)):
        grid[row, delay : delay + tokens.shape[1]] = tokens[row]
        hover[row, delay : delay + tokens.shape[1]] = [
            f"{name}, frame {frame}" for frame in range(tokens.shape[1])
        ]
    cells = go.Heatmap(
        z=grid,
        y=names,
        colorscale="Viridis",
        zmin=0,
        zmax=cardinality,
        text=hover,
        hovertemplate="position %{x}: %{text}<br>token %{z}<extra></extra>",
        hoverongaps=False,
        colorbar={"title": "token"},
    )
    figure = go.Figure(cells)
    figure.update_layout(
        title=_pattern(delays, channels),
        xaxis_title=f"sequence position ({frame_rate:g} a second)",
        yaxis_autorange="reversed",
    )
    return Figure(figure, height=260 + 20 * max(0, len(tokens) - 4))


def _in_pairs(delays):
    left, right = delays[::2], delays[1::2]
    return left == right and len(set(left)) == len(left) > 1


def _codebooks(n_q, channels):
    if channels == 1:
        return [f"codebook {k}" for k in range(n_q)]
    if n_q % 2:
        raise ValueError(f"Two channels need an even number of codebooks. Got {n_q}.")
    return [f"codebook {k}, {channel}" for k in range(n_q // 2) for channel in CHANNELS]


def _pattern(delays, channels):
    if delays[::channels] != list(range(len(delays) // channels)):
        return f"Codebooks are predicted later by their delays: {', '.join(map(str, delays))}"
    both = " in both channels" if channels == 2 else ""
    return f"Codebook k of frame t is predicted at position t + k{both}"
