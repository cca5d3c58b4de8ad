"""All that a reader sees: players, figures, tables, in one visual language.

One colour an emotion, one marker a model, everywhere; intervals drawn; audio never normalised, because loudness is a
cue. Everything is plain HTML that works in JupyterLab and in the static book, without a kernel and without a network.
"""

import base64
import html
import io
import json
import uuid

import librosa
import numpy as np
import plotly.graph_objects as go
import soundfile
from IPython.display import HTML
from PIL import Image
from plotly.colors import sample_colorscale

from lib import stats

#: One colour for each emotion, distinguishable with the common colour deficiencies (after Okabe and Ito 2008).
COLORS = {
    "happy": "#E69F00",
    "energetic": "#D55E00",
    "tense": "#AA3377",
    "sad": "#0072B2",
    "calm": "#009E73",
}
INK, MUTED, GRID = "#222222", "#666666", "#E5E5E5"
#: Shade and marker of each organism; any other model is drawn as "model".
MODELS = {
    "organism": (INK, "circle"),
    "organism-decoupled": ("#56B4E9", "square"),
    "organism-shuffled": ("#999999", "x"),
    "codec": ("#CC79A7", "diamond"),
    "corpus": ("#CC79A7", "diamond-open"),
}
MP3_RATE = 24_000  # a rate every browser's MP3 decoder knows; lower ones are sometimes refused


def mp3(audio: np.ndarray, sample_rate: int) -> bytes:
    """Audio as MP3, at its own level: nothing is normalised, only overloads are clipped."""
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 1 or not len(audio) or not np.isfinite(audio).all():
        raise ValueError(f"A player needs finite mono audio of shape (sample,). Got shape {audio.shape}.")
    if sample_rate < MP3_RATE:
        audio, sample_rate = librosa.resample(audio, orig_sr=sample_rate, target_sr=MP3_RATE), MP3_RATE
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1, 1), sample_rate, format="MP3", subtype="MPEG_LAYER_III")
    return file.getvalue()


def _audio_tag(audio, sample_rate, label):
    source = base64.b64encode(mp3(audio, sample_rate)).decode()
    return (
        f'<audio controls preload="none" aria-label="{html.escape(label)}" style="width:100%;min-width:0;height:34px" '
        f'src="data:audio/mpeg;base64,{source}"></audio>'
    )


def player(audio: np.ndarray, sample_rate: int, title: str = "clip", color: str = INK) -> HTML:
    """One clip with the browser's own controls, which a keyboard can reach."""
    return HTML(
        f'<div style="border-left:4px solid {color};padding-left:8px;max-width:420px;margin:4px 0">'
        f"<div>{html.escape(title)}</div>{_audio_tag(audio, sample_rate, title)}</div>"
    )


def player_grid(clips: dict[str, dict[str, np.ndarray]], sample_rate: int) -> HTML:
    """Clips side by side: ``{row: {column: audio}}``, all at the same gain. Rows named after emotions get their colour.

    On a narrow screen the columns stack.
    """
    rows = []
    for row, columns in clips.items():
        color = COLORS.get(row, INK)
        cells = "".join(
            f'<div style="flex:1 1 180px;min-width:0"><div style="font-size:.8em;color:{MUTED}">{html.escape(name)}</div>'
            f"{_audio_tag(audio, sample_rate, f'{row}, {name}')}</div>"
            for name, audio in columns.items()
        )
        rows.append(
            f'<div style="border-left:6px solid {color};padding:2px 0 6px 10px;margin:8px 0">'
            f'<strong style="color:{color}">{html.escape(row)}</strong>'
            f'<div style="display:flex;flex-wrap:wrap;gap:4px 14px">{cells}</div></div>'
        )
    return HTML(f'<div class="player-grid">{"".join(rows)}</div>')


def spectrogram(audio: np.ndarray, sample_rate: int, title: str = "clip") -> HTML:
    """A log-frequency spectrogram over its player; a cursor follows the sound, a click on the picture seeks."""
    spectrum = np.abs(librosa.cqt(np.asarray(audio), sr=sample_rate, hop_length=256, fmin=55, n_bins=84))
    level = np.clip((librosa.amplitude_to_db(spectrum, ref=1.0) + 60) / 60, 0, 1)[::-1]
    name, seconds = f"s{uuid.uuid4().hex[:8]}", len(audio) / sample_rate
    script = (
        f"(()=>{{const b=document.getElementById('{name}'),a=b.querySelector('audio'),c=b.querySelector('.cursor'),"
        f"p=b.querySelector('.picture');const move=()=>{{c.style.left=100*a.currentTime/{seconds}+'%';"
        "if(!a.paused)requestAnimationFrame(move)};['play','timeupdate','seeked'].forEach(e=>a.addEventListener(e,move));"
        f"p.addEventListener('click',e=>{{const r=p.getBoundingClientRect();"
        f"a.currentTime={seconds}*(e.clientX-r.left)/r.width}})}})()"
    )
    return HTML(
        f'<div id="{name}" style="max-width:720px"><div>{html.escape(title)}</div>'
        f'<div class="picture" style="position:relative;cursor:pointer"><img style="width:100%;height:180px;display:block"'
        f' alt="Spectrogram of {html.escape(title)}: {seconds:.0f} s, 55 Hz to 7 kHz" src="{_png(level)}">'
        '<div class="cursor" style="position:absolute;top:0;bottom:0;left:0;width:2px;background:#fff;'
        'box-shadow:0 0 2px #000"></div></div>'
        f'<div style="display:flex;justify-content:space-between;font-size:.75em;color:{MUTED}"><span>0 s · 55 Hz at the '
        f"bottom, 7 kHz at the top</span><span>{seconds:g} s</span></div>"
        f"{_audio_tag(audio, sample_rate, title)}<script>{script}</script></div>"
    )


def _png(level):
    """A picture of values in [0, 1] as a data URI, dark to bright."""
    image = Image.fromarray(np.round(level * 63).astype(np.uint8), mode="P")
    palette = sample_colorscale("Magma", 64, colortype="tuple")
    image.putpalette([round(255 * channel) for color in palette for channel in color])
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


class Figure:
    """A plotly figure that is drawn natively in JupyterLab and from HTML in the static book."""

    def __init__(self, figure: go.Figure, height: int = 380):
        figure.update_layout(
            template="plotly_white",
            font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
            margin={"l": 10, "r": 10, "t": 40, "b": 10},
            height=height,
            autosize=True,
            legend={"orientation": "h", "y": -0.2, "x": 0},
        )
        figure.update_xaxes(automargin=True, gridcolor=GRID)
        figure.update_yaxes(automargin=True, gridcolor=GRID)
        self.figure = figure

    def _repr_mimebundle_(self, include=None, exclude=None):
        config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
        page = self.figure.to_html(full_html=False, include_plotlyjs=False, include_mathjax=False, config=config)
        native = {**json.loads(self.figure.to_json()), "config": config}
        return {"text/html": page, "application/vnd.plotly.v1+json": native}


def estimates(rows, title: str, unit: str, bar: float | None = None) -> Figure:
    """Points with their intervals, one line each.

    Parameters
    ----------
    rows : list of (label, stats.Estimate, color)
    title, unit : str
    bar : float, optional
        A threshold, drawn as a dotted line.
    """
    rows = rows[::-1]
    figure = go.Figure()
    for label, e, color in rows:
        error = {"type": "data", "symmetric": False, "array": [e.high - e.value], "arrayminus": [e.value - e.low]}
        figure.add_scatter(
            x=[e.value], y=[label], error_x={**error, "color": color, "thickness": 2}, mode="markers", showlegend=False,
            marker={"color": color, "size": 10}, hovertemplate=f"{label}: {e}<extra></extra>",
        )  # fmt: skip
    if bar is not None:
        figure.add_vline(x=bar, line_dash="dot", line_color=MUTED)
    figure.update_layout(title=title, xaxis_title=unit)
    return Figure(figure, height=110 + 30 * len(rows))


def causal_graph(edges: dict[str, dict[str, float]], place: dict[str, tuple[float, float]], title: str) -> Figure:
    """A weighted directed acyclic graph: arrows as wide as their weights, blue for positive, red for negative.

    Parameters
    ----------
    edges : dict
        parent -> {child: weight}.
    place : dict
        node -> (x, y).
    """
    figure = go.Figure()
    for parent, children in edges.items():
        for child, weight in children.items():
            (x0, y0), (x1, y1) = place[parent], place[child]
            figure.add_annotation(
                x=x1, y=y1, ax=x0, ay=y0, xref="x", yref="y", axref="x", ayref="y", showarrow=True, arrowhead=2, text="",
                arrowwidth=1 + 4 * abs(weight), arrowcolor="#0072B2" if weight > 0 else "#D55E00", standoff=26,
                startstandoff=24, opacity=0.55,
            )  # fmt: skip
            figure.add_scatter(
                x=[0.6 * x0 + 0.4 * x1], y=[0.6 * y0 + 0.4 * y1], mode="text", text=[f"{weight:g}"], showlegend=False,
                textfont={"size": 10, "color": MUTED}, hovertemplate=f"{parent} → {child}: {weight:g}<extra></extra>",
            )  # fmt: skip
    x, y = zip(*place.values(), strict=True)
    figure.add_scatter(
        x=x, y=y, mode="markers+text", text=list(place), textposition="middle center", showlegend=False,
        textfont={"size": 11}, marker={"size": 46, "color": "#FFFFFF", "line": {"color": INK, "width": 1}}, hoverinfo="skip",
    )  # fmt: skip
    pad = 0.6
    figure.update_xaxes(visible=False, range=[min(x) - pad, max(x) + pad], fixedrange=True)
    figure.update_yaxes(visible=False, range=[min(y) - pad, max(y) + pad], fixedrange=True)
    figure.update_layout(title=title)
    return Figure(figure, height=460)


def token_map(tokens: np.ndarray, delays: list[int], frame_rate: float, cardinality: int) -> Figure:
    """The codebooks of one clip [n_q, frame] as the language model sees them: each delayed by its place."""
    n_q, frames = tokens.shape
    grid = np.full((n_q, frames + max(delays)), np.nan)
    for k, delay in enumerate(delays):
        grid[k, delay : delay + frames] = tokens[k]
    hover = [[f"codebook {k}, frame {s - delays[k]}" for s in range(grid.shape[1])] for k in range(n_q)]
    figure = go.Figure(
        go.Heatmap(
            z=grid, y=[f"codebook {k}" for k in range(n_q)], colorscale="Viridis", zmin=0, zmax=cardinality, text=hover,
            hovertemplate="position %{x}: %{text}<br>token %{z}<extra></extra>", colorbar={"title": "token"},
        )
    )  # fmt: skip
    figure.update_layout(
        title="Codebook k of frame t is predicted at position t + k",
        xaxis_title=f"sequence position ({frame_rate:g} a second)",
        yaxis_autorange="reversed",
    )
    return Figure(figure, height=260)


def heatmap(frame, title: str, unit: str, limit: float | None = None) -> Figure:
    """A table of signed numbers as a heat map, centred on zero."""
    limit = limit or float(np.nanmax(np.abs(frame.to_numpy())))
    figure = go.Figure(
        go.Heatmap(
            z=frame.to_numpy(), x=list(frame.columns), y=list(frame.index), colorscale="RdBu_r", zmin=-limit, zmax=limit,
            texttemplate="%{z:.1f}", colorbar={"title": unit},
        )
    )  # fmt: skip
    figure.update_layout(title=title, yaxis_autorange="reversed")
    return Figure(figure, height=120 + 42 * len(frame))


def table(frame, caption: str = "") -> HTML:
    """A DataFrame as a plain table that scrolls on a narrow screen; estimates are written with their intervals."""
    shown = frame.copy()
    for column in shown:
        shown[column] = [_cell(v) for v in shown[column]]
    body = shown.to_html(index=False, escape=True, border=0, justify="left")
    return HTML(f'<div style="overflow-x:auto"><div style="color:{MUTED}">{html.escape(caption)}</div>{body}</div>')


def _cell(value):
    if isinstance(value, stats.Estimate):
        return f"{value.value:.2f}" if np.isnan(value.low) else str(value)
    if isinstance(value, bool | np.bool_):
        return "✓" if value else "✗"
    return f"{value:.2f}" if isinstance(value, float) else value
