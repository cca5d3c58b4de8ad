"""All that a reader sees: players, figures, tables, in one visual language.

One colour an emotion, one shade an organism, everywhere; intervals drawn; audio never normalised, because loudness is a
cue. Everything is plain HTML that works in JupyterLab and in the static book, without a kernel and without a network.
"""

import base64
import html
import io
import json
import textwrap
import uuid
from pathlib import Path

import librosa
import numpy as np
import plotly.graph_objects as go
import soundfile
from IPython.display import HTML
from PIL import Image
from plotly.colors import sample_colorscale

from lib import stats
from lib.live import Live

#: One colour for each emotion, distinguishable with the common colour deficiencies (after Okabe and Ito 2008).
COLORS = {
    "happy": "#E69F00",
    "energetic": "#D55E00",
    "tense": "#AA3377",
    "sad": "#0072B2",
    "calm": "#009E73",
}
INK, MUTED, GRID = "#222222", "#666666", "#E5E5E5"
#: One shade for each organism; any other model is drawn in ink.
SHADES = {"organism": INK, "organism-decoupled": "#56B4E9", "organism-shuffled": "#999999"}
#: For series that are neither emotion nor organism (Okabe and Ito 2008).
PALETTE = ("#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255")
MP3_RATE = 24_000  # a rate every browser's MP3 decoder knows; lower ones are sometimes refused


def mp3(audio: np.ndarray, sample_rate: int, small: bool = False) -> bytes:
    """Audio as MP3, at its own level: nothing is normalised, only overloads are clipped.

    ``small`` takes three quarters of the bytes, for pages with many clips.
    """
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 1 or not len(audio) or not np.isfinite(audio).all():
        raise ValueError(f"A player needs finite mono audio of shape (sample,). Got shape {audio.shape}.")
    if sample_rate < MP3_RATE:
        audio, sample_rate = librosa.resample(audio, orig_sr=sample_rate, target_sr=MP3_RATE), MP3_RATE
    file = io.BytesIO()
    quality = {"compression_level": 0.6, "bitrate_mode": "VARIABLE"} if small else {}
    soundfile.write(file, np.clip(audio, -1, 1), sample_rate, format="MP3", subtype="MPEG_LAYER_III", **quality)
    return file.getvalue()


def _audio_tag(audio, sample_rate, label):
    source = base64.b64encode(mp3(audio, sample_rate)).decode()
    return (
        f'<audio controls preload="metadata" aria-label="{html.escape(label)}" style="width:100%;min-width:0;height:34px" '
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
        f' alt="Spectrogram of {html.escape(title)}: {seconds:.0f} s, 55 Hz to 7 kHz" src="{picture(level(audio, sample_rate)[::-1])}">'
        '<div class="cursor" style="position:absolute;top:0;bottom:0;left:0;width:2px;background:#fff;'
        'box-shadow:0 0 2px #000"></div></div>'
        f'<div style="display:flex;justify-content:space-between;font-size:.75em;color:{MUTED}"><span>0 s · 55 Hz at the '
        f"bottom, 7 kHz at the top</span><span>{seconds:g} s</span></div>"
        f"{_audio_tag(audio, sample_rate, title)}<script>{script}</script></div>"
    )


def level(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-frequency spectrogram, 84 semitones from 55 Hz on, [pitch, time]: 0 is -60 dB or less, 1 is full scale."""
    spectrum = np.abs(librosa.cqt(np.asarray(audio), sr=sample_rate, hop_length=256, fmin=55, n_bins=84))
    return np.clip((librosa.amplitude_to_db(spectrum, ref=1.0) + 60) / 60, 0, 1)


def picture(level):
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
        for axis in (*figure.select_xaxes(), *figure.select_yaxes()):  # what plotly would cut off on a phone
            axis.title.text = axis.title.text and "<br>".join(textwrap.wrap(axis.title.text, 32))
        figure.update_layout(
            template="plotly_white",
            font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
            margin={"l": 10, "r": 10, "t": 40, "b": 10},
            height=height,
            autosize=True,
            legend={"orientation": "h", "y": -0.2 - 0.12 * ("<br>" in str(figure.layout.xaxis.title.text)), "x": 0},
        )
        figure.update_xaxes(automargin=True, gridcolor=GRID)
        figure.update_yaxes(automargin=True, gridcolor=GRID)
        self.figure = figure

    def _repr_mimebundle_(self, include=None, exclude=None):
        config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
        # plotly never wraps a title: on the page it is text, which a phone breaks into lines
        title = f'<div class="figure-title">{html.escape(self.figure.layout.title.text or "")}</div>'
        page = go.Figure(self.figure).update_layout(title=None, margin_t=10, height=self.figure.layout.height - 30)
        page = page.to_html(full_html=False, include_plotlyjs=False, include_mathjax=False, config=config)
        native = {**json.loads(self.figure.to_json()), "config": config}
        return {"text/html": title + page, "application/vnd.plotly.v1+json": native}


def estimates(
    values: dict[str, stats.Estimate], title: str, unit: str, bar: float | None = None, colors=None
) -> Figure:
    """Points with their intervals, one line each.

    Parameters
    ----------
    values : dict
        Label -> estimate. A label that begins with a model's or an emotion's name ("organism: text") has its colour.
    title, unit : str
    bar : float, optional
        A threshold, drawn as a dotted line.
    colors : dict, optional
        Other beginnings -> colour.
    """
    known = {**SHADES, **COLORS, **(colors or {})}
    figure = go.Figure()
    for label, e in reversed(values.items()):
        color = known.get(label.split(":")[0], INK)
        error = {"type": "data", "symmetric": False, "array": [e.high - e.value], "arrayminus": [e.value - e.low]}
        figure.add_scatter(
            x=[e.value], y=[label], error_x={**error, "color": color, "thickness": 2}, mode="markers", showlegend=False,
            marker={"color": color, "size": 10}, hovertemplate=f"{label}: {e}<extra></extra>",
        )  # fmt: skip
    if bar is not None:
        figure.add_vline(x=bar, line_dash="dot", line_color=MUTED)
    figure.update_layout(title=title, xaxis_title=unit)
    return Figure(figure, height=110 + 30 * len(values))


def curves(
    series: dict, title: str, x_title: str, y_title: str, bar: float | None = None, colors: dict | None = None
) -> Figure:
    """Lines with their interval as a band.

    Parameters
    ----------
    series : dict
        name -> (x values, list of stats.Estimate). Names of organisms and emotions get their colour.
    bar : float, optional
        A threshold or chance, dotted.
    colors : dict, optional
        name -> colour, for other names.
    """
    figure = go.Figure()
    for i, (name, (x, e)) in enumerate(series.items()):
        color = {**SHADES, **COLORS, **(colors or {})}.get(name, PALETTE[i % len(PALETTE)])
        x, low, high = list(x), [v.low for v in e], [v.high for v in e]
        figure.add_scatter(
            x=x + x[::-1], y=high + low[::-1], fill="toself", fillcolor=color, opacity=0.15, line_width=0, mode="lines",
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=x, y=[v.value for v in e], name=name, line={"color": color, "width": 2}, mode="lines+markers",
            text=[str(v) for v in e], hovertemplate="%{x}: %{text}<extra>" + name + "</extra>",
        )  # fmt: skip
    if bar is not None:
        figure.add_hline(y=bar, line_dash="dot", line_color=MUTED)
    figure.update_layout(
        title=title, xaxis_title=x_title, yaxis_title=y_title, legend_y=-0.2 if len(series) < 5 else -0.4
    )
    return Figure(figure, height=400 if len(series) < 5 else 480)


def histogram(series: dict, title: str, x_title: str, bins: int = 40) -> Figure:
    """How values are spread, one outline a series: ``{name: values}``, on common bins, as shares."""
    values = np.concatenate([np.asarray(v) for v in series.values()])
    edges = np.linspace(values.min(), values.max() + 1e-9, bins + 1)
    figure = go.Figure()
    for i, (name, v) in enumerate(series.items()):
        share = np.histogram(v, edges)[0] / len(v)
        figure.add_scatter(
            x=(edges[1:] + edges[:-1]) / 2, y=share, name=name, line_shape="hvh", fill="tozeroy", line_color=PALETTE[i]
        )
    figure.update_layout(title=title, xaxis_title=x_title, yaxis_title="share")
    return Figure(figure, height=320)


def sound_map(maps: dict[str, np.ndarray], audios, sample_rate: int, labels: list[str], titles: list[str]) -> HTML:
    """Maps of clips: every point is one, in its emotion's colour; click it (or press Enter on it) and it plays.

    Parameters
    ----------
    maps : dict
        Name -> points [clip, 2]; buttons change from one map to the next.
    audios : array_like [shape=(clip, sample)]
    labels, titles : list of str
        Emotions, and what is shown for the clip that plays.
    """
    places = []
    for points in maps.values():
        low, span = points.min(0), np.ptp(points, axis=0) + 1e-9
        places.append(np.round([20, 380] + [560, -360] * (points - low) / span).astype(int).tolist())
    dots = "".join(
        f'<circle r="7" fill="{COLORS.get(label, MUTED)}" fill-opacity=".8" stroke="#fff" tabindex="0" role="button" '
        f'style="cursor:pointer" aria-label="{html.escape(title)}"><title>{html.escape(title)}</title></circle>'
        for label, title in zip(labels, titles, strict=True)
    )
    key = "".join(
        f'<span style="color:{COLORS.get(label, MUTED)}">●</span> {html.escape(label)} &nbsp;'
        for label in dict.fromkeys(labels)
    )
    buttons = "".join(f"<button>{html.escape(name)}</button> " for name in maps)
    sources = json.dumps([base64.b64encode(mp3(a, sample_rate)).decode() for a in audios])
    name = f"m{uuid.uuid4().hex[:8]}"
    script = (
        f"(()=>{{const b=document.getElementById('{name}'),a=b.querySelector('audio'),t=b.querySelector('.now'),"
        f"c=[...b.querySelectorAll('circle')],p={json.dumps(places)},s={sources};let on=null;"
        "const place=k=>c.forEach((d,i)=>{d.setAttribute('cx',p[k][i][0]);d.setAttribute('cy',p[k][i][1])});place(0);"
        "b.querySelectorAll('button').forEach((x,k)=>x.addEventListener('click',()=>place(k)));"
        "const play=i=>{if(on)on.setAttribute('stroke','#fff');on=c[i];on.setAttribute('stroke','#000');"
        "t.textContent=on.getAttribute('aria-label');a.src='data:audio/mpeg;base64,'+s[i];a.play()};"
        "c.forEach((d,i)=>{d.addEventListener('click',()=>play(i));d.addEventListener('keydown',"
        "e=>{if(e.key==='Enter'||e.key===' '){e.preventDefault();play(i)}})})})()"
    )
    return HTML(
        f'<div id="{name}" class="sound-map" style="max-width:640px"><div>{buttons}{key}</div><svg viewBox="0 0 600 400" '
        f'style="width:100%;background:#fff" role="group" aria-label="Map of clips">{dots}</svg>'
        f'<div class="now" style="min-height:1.5em;color:{MUTED}">Choose a point to hear its clip.</div>'
        '<audio controls style="width:100%;height:34px" aria-label="the chosen clip"></audio>'
        f"<script>{script}</script></div>"
    )


class _Grid(Live):
    name, script, style = "grid", (Path(__file__).parent / "grid.js").read_text(), ""


def sound_grid(frames, audios, sample_rate: int, unit: str) -> HTML:
    """A table of numbers as a heat map of buttons: every cell plays its clip.

    Parameters
    ----------
    frames : DataFrame or dict of str to DataFrame
        Signed numbers; of several tables with the same rows and columns, a menu chooses which is shown.
    audios : array_like [shape=(cell, sample)]
        One clip a cell, row by row.
    """
    frames = frames if isinstance(frames, dict) else {"": frames}
    first = next(iter(frames.values()))
    if first.size != len(audios) or any(f.shape != first.shape for f in frames.values()):
        raise ValueError(f"sound_grid needs one clip and one number a cell. Got {len(audios)} clips for {first.size}.")
    grid = _Grid()
    grid.data = {
        "rows": list(map(str, first.index)), "columns": list(map(str, first.columns)), "names": list(frames), "unit": unit,
        "values": [f.to_numpy().ravel().round(4).tolist() for f in frames.values()],
        "sounds": [base64.b64encode(mp3(a, sample_rate, small=True)).decode() for a in audios],
    }  # fmt: skip
    return HTML(grid.html())


def site_map(sites: dict, batch: str = "clip") -> HTML:
    """The inside of a model to click on: every site with its shape and its place in the computation.

    Parameters
    ----------
    sites : dict
        From ``activations.sites``.
    """
    kinds = {"text": "#AA3377", "cond": "#AA3377", "embed": "#222222", "attn": "#E69F00", "cross": "#AA3377",
             "mlp": "#009E73", "resid": "#222222", "logits": "#0072B2"}  # fmt: skip

    def button(site):
        told = f"{site.name} = {site.equation}   [{batch}, {site.axis}, {site.width}]"
        return (
            f'<button data-told="{html.escape(told)}" style="border:1px solid {kinds[site.name.partition(".")[0]]};'
            f'background:#fff;color:#222;border-radius:6px;padding:2px 6px;font:inherit;font-size:.85em;cursor:pointer">'
            f"{html.escape(site.name)}</button>"
        )

    rows, row = [], []
    for site in sites.values():
        row.append(button(site))
        if site.name in ("cond", "embed", "logits") or site.name.startswith("resid."):
            rows.append(
                '<div style="display:flex;gap:6px;flex-wrap:wrap;margin:3px 0">' + "<span>→</span>".join(row) + "</div>"
            )
            row = []
    name = f"n{uuid.uuid4().hex[:8]}"
    script = (
        f"(()=>{{const b=document.getElementById('{name}'),t=b.querySelector('.told');b.querySelectorAll('button').forEach("
        "k=>k.addEventListener('click',()=>{b.querySelectorAll('button').forEach(o=>o.style.background='#fff');"
        "k.style.background='#FFF3C4';t.textContent=k.dataset.told}))})()"
    )
    return HTML(
        f'<div id="{name}" class="site-map"><div class="told" style="min-height:3em;padding:6px 10px;background:#F3F4F5;'
        f'border-left:4px solid {INK};color:#222;font-family:monospace;font-size:.9em">Choose a site.</div>'
        f"{''.join(rows)}<script>{script}</script></div>"
    )


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
                arrowwidth=1 + 3 * abs(weight), arrowsize=0.7, arrowcolor="#7FB8D8" if weight > 0 else "#EAAE7F",
                standoff=30,
            )  # fmt: skip
            figure.add_annotation(
                x=0.68 * x0 + 0.32 * x1, y=0.68 * y0 + 0.32 * y1, text=f"{weight:g}", showarrow=False, bgcolor="#FFFFFF",
                borderpad=1, font={"size": 10, "color": MUTED}, hovertext=f"{parent} → {child}: {weight:g}",
            )  # fmt: skip
    for node, (x, y) in place.items():
        figure.add_annotation(
            x=x, y=y, text=node, showarrow=False, bgcolor="#FFFFFF", bordercolor=INK, borderpad=4, font={"size": 12}
        )
    x, y = zip(*place.values(), strict=True)
    figure.add_scatter(x=x, y=y, mode="markers", marker_opacity=0, showlegend=False, hoverinfo="skip")
    figure.update_xaxes(visible=False, range=[min(x) - 0.5, max(x) + 0.5], fixedrange=True)
    figure.update_yaxes(visible=False, range=[min(y) - 0.5, max(y) + 0.5], fixedrange=True)
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


def heatmap(
    frame, title: str, unit: str, limit: float | None = None, numbers: bool = True, x_title: str = "", y_title: str = ""
) -> Figure:
    """A table of signed numbers as a heat map, centred on zero, with the numbers written into it or not."""
    limit = limit or float(np.nanmax(np.abs(frame.to_numpy())))
    figure = go.Figure(
        go.Heatmap(
            z=frame.to_numpy(), x=list(frame.columns), y=list(frame.index), colorscale="RdBu_r", zmin=-limit, zmax=limit,
            texttemplate="%{z:.1f}" if numbers else "", colorbar={"title": unit},
        )
    )  # fmt: skip
    figure.update_layout(title=title, yaxis_autorange="reversed", xaxis_title=x_title, yaxis_title=y_title)
    figure.update_yaxes(tickmode="linear" if len(frame) < 30 else "auto")
    return Figure(figure, height=max(300, 120 + (42 if numbers else 24) * len(frame)))


def table(frame, caption: str = "") -> HTML:
    """A DataFrame as a plain table that scrolls on a narrow screen; estimates are written with their intervals."""
    shown, names = frame.copy(), {}
    for column in shown:
        sizes = {v.n if isinstance(v, stats.Estimate) else None for v in shown[column]}
        if same := sizes != {None} and len(sizes) == 1:
            names[column] = f"{column} (n = {sizes.pop()})"
        shown[column] = [_told(_cell(v, not same)) for v in shown[column]]
    shown.columns = [html.escape(str(names.get(c, c))) for c in shown]
    body = shown.to_html(index=False, escape=False, border=0, justify="left")
    return HTML(f'<div style="overflow-x:auto"><div style="color:{MUTED}">{html.escape(caption)}</div>{body}</div>')


def _told(text):
    """A cell's text; sentences keep some width, or a narrow table would write them down one word a line."""
    text = html.escape(str(text))
    return f'<div style="min-width:15em">{text}</div>' if text.count(" ") > 5 else text


def _cell(value, with_n):
    if isinstance(value, stats.Estimate):
        told = str(value) if with_n else str(value).split(", n =")[0]
        return f"{value.value:.2f}" if np.isnan(value.low) else told.replace(" ", "\u00a0")
    value = "–" if value is None else value
    if isinstance(value, bool | np.bool_):
        return "✓" if value else "✗"
    return f"{value:.2f}" if isinstance(value, float) else value
