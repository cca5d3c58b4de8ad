"""What the reader sees: compressed audio at its own level, figures for Lab, book and export."""

import ast
import base64
import hashlib
import io
import json
import re
from pathlib import Path

import nbconvert
import nbformat
import numpy as np
import pandas as pd
import plotly.offline
import pytest
import soundfile

from lib import stats
from lib.book import layout
from lib.musicgen.sites import Site
from lib.pages import audio, colors, embed, figures, runtime, show
from lib.pages.live import Live

RATE = 16_000
#: Seconds of a clip that does not end while a loaded machine looks at it.
LONG = 30
PLOTLY = "application/vnd.plotly.v1+json"


def sine(level, seconds=3, rate=RATE):
    return (level * np.sin(2 * np.pi * 440 * np.arange(seconds * rate) / rate)).astype(np.float32)


# ------------------------------------------------------------------------------------------ players
def test_players_keep_loudness_and_stay_small():
    loud, soft = (soundfile.read(io.BytesIO(show.mp3(sine(a), RATE)))[0] for a in (0.5, 0.05))
    ratio = np.sqrt(np.mean(loud**2) / np.mean(soft**2))
    assert ratio == pytest.approx(10, rel=0.1)
    assert len(show.mp3(sine(0.5, 6), RATE)) < 60_000


def written(html):
    """An output without the library in it."""
    return html.data.replace(embed.library(), "")


def test_player_is_reachable_and_named():
    page = written(show.player(sine(0.3), RATE, "a <sad> clip"))
    assert "<audio controls" in page and "autoplay" not in page
    assert "a &lt;sad&gt; clip" in page and 'src="data:audio/mpeg;base64,' in page


def test_grid_uses_the_colour_of_the_emotion():
    page = written(show.player_grid({"sad": {"one": sine(0.1)}, "calm": {"one": sine(0.1)}}, RATE))
    assert page.count("<audio") == 2
    assert show.COLORS["sad"] in page and show.COLORS["calm"] in page


def test_rows_and_columns_of_a_grid_may_be_numbers():
    clips = {-0.16: {0: sine(0.1)}, np.float64(0.5): {np.int64(3): sine(0.1)}}
    page = written(show.player_grid(clips, RATE))
    assert re.findall(r'aria-label="(.*?)"', page) == ["-0.16, 0", "0.5, 3"]


def test_spectrogram_shows_pitch():
    pages = [show.spectrogram(sine(0.5), RATE, "A4").data for _ in range(2)]
    assert "data:image/png" in pages[0]
    assert len(set(re.findall(r'id="(spectrogram-[0-9a-f]+)"', "".join(pages)))) == 2
    level = show.level(sine(0.01), RATE)
    assert level.shape[0] == 84 and level.mean(1).argmax() == 36  # A4 is 3 octaves above 55 Hz


def test_a_waveform_has_one_scale_and_every_channel():
    shape = audio.packed(np.stack([sine(1.0), sine(0.1)]), RATE)["shape"]
    left, right = (np.frombuffer(base64.b64decode(peaks), np.uint8) for peaks in shape["peaks"])
    assert shape["seconds"] == 3 and len(left) == len(right) == 240
    assert set(left) <= {254, 255} and set(right) <= {25, 26}
    assert audio.peaks(np.array([[0.0, -2.0]])).tolist() == [[0, 255]]


@pytest.mark.filterwarnings("ignore:.*digital silence")
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.zeros((3, 100)), ValueError),
        (np.zeros((1000, 2)), ValueError),
        (np.array([]), ValueError),
        (np.array([np.nan]), ValueError),
        (np.full(100, 20_000.0), ValueError),
        (np.full(100, 20_000, np.int16), TypeError),
    ],
)
def test_bad_audio(bad, error):
    with pytest.raises(error, match="player"):
        show.mp3(bad, RATE)


@pytest.mark.parametrize(
    ("show_it", "message"),
    [
        (lambda: show.player(sine(0.1), 0), "sample_rate must be an integer, 1 or more. Got 0"),
        (lambda: show.player(sine(0.1), "16000"), "sample_rate must be an integer"),
        (lambda: show.spectrogram(sine(0.1), -1), "sample_rate must be an integer"),
        (lambda: show.player_grid({"a": [sine(0.1)]}, RATE), r"clips\['a'\] must be {name: audio}"),
        (lambda: show.player_grid([sine(0.1)], RATE), "clips must be {row: {column: audio}}"),
        (lambda: show.switch_players({"a": 1}, RATE), r"clips\['a'\] must be {name: audio}"),
        (lambda: show.picture([[7.0]]), "values from 0 to 1. Got 7 to 7"),
        (lambda: show.picture([[-1.0, 0.5]]), "values from 0 to 1. Got -1 to 0.5"),
        (lambda: show.estimates({"a": 3.0}, "t", "u"), r"values\['a'\] must be a stats.Estimate"),
        (lambda: show.estimates([3.0], "t", "u"), "values must be {label: estimate}"),
        (lambda: show.curves({"a": ([0], [1.0])}, "t", "x", "y"), "estimate 0 of a must be"),
        (lambda: show.curves({"a": [1.0, 2.0]}, "t", "x", "y"), r"must be \(x values, estimates\)"),
        (lambda: show.scatter({}, "t", "x", "y"), "series must be .* of 1 or more"),
        (lambda: show.scatter({"a": [1.0]}, "t", "x", "y"), r"must be \(x values, y values\)"),
        (lambda: show.histogram({}, "t", "x"), "series must be .* of 1 or more"),
        (lambda: show.heatmap(pd.DataFrame({"a": ["x"]}), "t", "u"), "a DataFrame of numbers"),
        (lambda: show.heatmap(pd.DataFrame(), "t", "u"), r"one or more. Got \(0, 0\)"),
        (lambda: show.plane([[0, 1]], ["a"], ["merry"], "t"), "emotion must be one of .*'merry'"),
        (lambda: show.causal_graph({"a": {"b": 1}}, {"a": (0, 0)}, "t"), r"place lacks \['b'\]"),
        (lambda: show.site_map(["resid.1"]), "sites must be {name: Site}"),
        (lambda: show.site_map({"resid.1": 3}), r"sites\['resid.1'\] must be a Site"),
        (lambda: show.token_map([[1]], [0], "25", 10), "frame_rate must be a number"),
        (lambda: show.sound_map([[0, 1]], [], RATE, [], []), "maps must be {name: points"),
        (lambda: show.sound_grid("a", [], RATE, "u"), "frames must be a DataFrame, or"),
        (lambda: show.sound_grid(None, [], RATE, "u"), "frames must be a DataFrame, or"),
        (lambda: show.sound_grid({}, [], RATE, "u"), "frames must be .* of 1 or more"),
        (lambda: show.table([1]), "frame must be a DataFrame or a Series"),
    ],
)
def test_what_cannot_be_shown(show_it, message):
    with pytest.raises((ValueError, TypeError), match=message):
        show_it()


@pytest.mark.parametrize("rate", [4000, 37_800, 96_000])
def test_any_rate_is_played_and_drawn(rate):
    sound, played = soundfile.read(io.BytesIO(show.mp3(sine(0.5, 1, rate), rate)))
    assert played in audio.MP3_RATES and len(sound) / played == pytest.approx(1, abs=0.1)
    drawn = show.level(sine(0.01, 1, rate), rate)
    loudest = drawn[:, drawn.shape[1] // 2].argmax()
    assert len(drawn) == audio.SEMITONES and loudest == 36  # 440 Hz


# ------------------------------------------------------------------------------------------ figures
def all_figures():
    e = stats.Estimate(0.5, 0.4, 0.6, 10)
    frame = pd.DataFrame(np.eye(2), columns=["a", "b"], index=["c", "d"])
    series = {"organism": ([0, 1], [e, e]), "sad": ([0, 1], [e, e])}
    return {
        "estimates": show.estimates({"sad: one": e}, "title", "unit", bar=0.2),
        "graph": show.causal_graph({"a": {"b": 0.5}}, {"a": (0, 0), "b": (1, 1)}, "graph"),
        "tokens": show.token_map(np.arange(8).reshape(4, 2), [0, 1, 2, 3], 25, 10),
        "heatmap": show.heatmap(frame, "title", "unit"),
        "white heatmap": show.heatmap(frame * np.nan, "title", "unit"),
        "curves": show.curves(series, "title", "x", "y", bar=0),
        "histogram": show.histogram({"a": [1.0, 2.0, 2.0]}, "title", "x"),
    }


@pytest.mark.parametrize("name", all_figures())
def test_figures_serve_lab_and_page(name):
    bundle = all_figures()[name]._repr_mimebundle_()
    assert set(bundle) == {"text/html", PLOTLY}
    assert len(bundle["text/html"]) < 100_000


def test_a_page_without_plotly_loads_the_release_that_plotly_was_made_for():
    script = figures.plotly_script()
    version = plotly.offline.get_plotlyjs_version()
    assert script["src"] == f"https://cdn.plot.ly/plotly-{version}.min.js"
    content = plotly.offline.get_plotlyjs().encode()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert script["integrity"] == f"sha256-{digest}"


@pytest.fixture
def exported(tmp_path):
    """One notebook as ``jupyter nbconvert --to html`` writes it."""
    figure = all_figures()["curves"]
    notebook = nbformat.v4.new_notebook()
    for _ in range(2):
        output = nbformat.v4.new_output("display_data", data=figure._repr_mimebundle_())
        notebook.cells.append(nbformat.v4.new_code_cell("figure", outputs=[output]))
    path = tmp_path / "exported.html"
    path.write_text(nbconvert.HTMLExporter().from_notebook_node(notebook)[0])
    return path


def open_exported(browser, path, plotly_js):
    """The page; of all that lies outside it, plotly.js alone is there, or nothing."""
    page = browser.new_page()
    page.loads = []

    def route(route):
        url = route.request.url
        if url.startswith("file:"):
            route.continue_()
        elif url == figures.plotly_script()["src"] and plotly_js is not None:
            page.loads.append(url)
            headers = {"Access-Control-Allow-Origin": "*"}
            route.fulfill(body=plotly_js, content_type="text/javascript", headers=headers)
        else:
            route.abort()

    page.route("**/*", route)
    page.goto(path.as_uri())
    return page


def test_an_exported_notebook_shows_its_figures(browser, exported):
    page = open_exported(browser, exported, plotly.offline.get_plotlyjs())
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot').length === 2")
    assert page.locator(".js-plotly-plot .main-svg").count() >= 2
    assert len(page.loads) == 1  # once for both
    page.close()


#: The widths of the figures' places and of what is drawn in them, and the size of the letters there.
FITTED = """() => [...document.querySelectorAll('.js-plotly-plot')].map((place) => [
  place.clientWidth, place.querySelector('.main-svg').clientWidth,
  getComputedStyle(place.querySelector('.xtick text')).fontSize])"""


def test_a_figure_fits_a_place_that_changes_while_the_window_stays(browser, exported):
    """As when a scroll bar comes or a side bar goes: what it does not follow is cut off."""
    page = open_exported(browser, exported, plotly.offline.get_plotlyjs())
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot').length === 2")
    for width, letter in ((700, "13px"), (660, "13px"), (360, "10px"), (900, "13px")):
        page.evaluate("(width) => { document.body.style.width = `${width}px`; }", width)
        fits = f"() => ({FITTED})().every(([w, drawn, size]) => w === drawn && size === '{letter}')"
        page.wait_for_function(fits, timeout=10_000)
    page.close()


@pytest.mark.parametrize("plotly_js", [None, "window.Plotly = {newPlot() { alert('other'); }};"])
def test_an_exported_notebook_says_what_it_lacks(browser, exported, plotly_js):
    page = open_exported(browser, exported, plotly_js)
    page.wait_for_function("() => document.body.innerText.includes('could not be loaded')")
    assert figures.plotly_script()["src"] in page.locator(".plotly-graph-div").first.inner_text()
    page.close()


def test_labels_of_figures_may_be_numbers():
    e = stats.Estimate(0.5, 0.4, 0.6, 10)
    points = show.estimates({0.16: e, -1: e}, "title", "unit").figure
    assert [trace.y[0] for trace in points.data] == ["-1", "0.16"]
    assert points.layout.yaxis.type == "category"
    lines = show.curves({0.5: ((x for x in (0, 1)), (v for v in (e, e)))}, "title", "x", "y")
    assert lines.figure.data[1].name == "0.5" and list(lines.figure.data[1].y) == [0.5, 0.5]


def test_a_curve_needs_one_estimate_a_place():
    e = stats.Estimate(0.5, 0.4, 0.6, 10)
    with pytest.raises(ValueError, match="equally long"):
        show.curves({"a": ([0, 1, 2], [e, e])}, "title", "x", "y")


def test_curves_draw_intervals_in_the_colour_of_the_series():
    data = all_figures()["curves"].figure.data
    assert [trace.name for trace in data if trace.name] == ["organism", "sad"]
    assert list(data[2].y) == [0.6, 0.6, 0.4, 0.4]
    assert data[2].fillcolor == show.COLORS["sad"]


# ------------------------------------------------------------------------------------------- tokens
def test_tokens_are_drawn_with_their_delay():
    figure = all_figures()["tokens"].figure
    z = figure.data[0].z
    assert np.array_equal(np.isnan(z[1]), [True, False, False, True, True])
    assert z[3][3] == 6
    assert list(figure.data[0].y) == [f"codebook {k}" for k in range(4)]
    assert figure.layout.title.text == "Codebook k of frame t is predicted at position t + k"


def test_stereo_models_have_every_codebook_twice():
    # audiocraft's InterleaveStereoCompressionModel: 'c b k t -> b (k c) t'
    left = np.arange(8).reshape(4, 2)
    right = 100 + left
    tokens = np.stack([left, right], 1).reshape(8, 2)
    figure = show.token_map(tokens, [0, 0, 1, 1, 2, 2, 3, 3], 50, 2048).figure
    cells = figure.data[0]
    assert list(cells.y[:4]) == [
        "codebook 0, left",
        "codebook 0, right",
        "codebook 1, left",
        "codebook 1, right",
    ]
    assert cells.z[6][3] == left[3, 0] and cells.z[7][3] == right[3, 0]
    assert cells.text[7][4] == "codebook 3, right, frame 1" and cells.text[7][0] == ""
    assert "t + k in both channels" in figure.layout.title.text
    told = show.token_map(tokens, [0] * 8, 50, 2048, channels=2).figure
    assert list(told.data[0].y) == list(cells.y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": np.zeros((1, 4, 2), int)}, "tokens must be"),
        ({"tokens": np.zeros((4, 2))}, "tokens must be"),
        ({"delays": [0, 1, 2]}, "equally long"),
        ({"delays": [0, 1, 2, -1]}, "delays"),
        ({"channels": 3}, "channels"),
        ({"tokens": np.zeros((3, 2), int), "delays": [0, 1, 2], "channels": 2}, "even number"),
    ],
)
def test_token_map_refuses(change, message):
    given = {"tokens": np.zeros((4, 2), int), "delays": [0, 1, 2, 3], **change}
    with pytest.raises((ValueError, TypeError), match=message):
        show.token_map(**given, frame_rate=25, cardinality=10)


# ------------------------------------------------------------------------------------------- tables
def test_tables_write_estimates_and_marks():
    e = stats.Estimate(0.5, 0.4, 0.6, 10)
    frame = pd.DataFrame({"e": [e], "met": [True], "x": [1.23456], "t": ["<b>"]})
    page = show.table(frame).data
    assert "0.50\u00a0[0.40,\u00a00.60]<" in page
    for text in ("e (n = 10)", "✓", "1.23", "&lt;b&gt;"):
        assert text in page
    # where sizes differ, each is written
    frame = pd.DataFrame({"e": [e, e._replace(n=12)]})
    assert "0.50 [0.40, 0.60], n = 12" in show.table(frame).data.replace("\u00a0", " ")


def test_a_series_is_a_table_with_its_index():
    html = show.table(pd.Series([0.5, None], ["sad", "calm"], name="share")).data
    assert html.index("<th>share</th>") < html.index("<td>sad</td>") < html.index("<td>0.50</td>")


def test_a_long_table_shows_ten_rows_and_opens_the_others_from_the_keyboard(browser, tmp_path):
    frame = pd.DataFrame({"what": [f"row {i}" for i in range(12)]})
    assert "<details" not in show.table(frame[:10]).data
    assert "1 more row<" in show.table(frame[:11]).data
    html = show.table(frame, "Many").data
    assert len(_file(html)[1]) == 12
    page = opened(browser, html, tmp_path)
    last = page.get_by_text("row 11", exact=True)
    assert page.get_by_text("row 9", exact=True).is_visible() and not last.is_visible()
    page.get_by_text("2 more rows").focus()
    page.keyboard.press("Enter")
    last.wait_for(state="visible")
    assert page.get_by_role("region", name="Many, more rows").count() == 1
    page.keyboard.press("Enter")
    last.wait_for(state="hidden")
    page.close()


# ------------------------------------------------------------------------------ pictures that sound
def test_sound_map_has_a_clip_behind_every_point():
    maps = {"PCA": np.random.default_rng(0).normal(size=(3, 2)), "t-SNE": np.zeros((3, 2))}
    labels = ["sad", "calm", "sad"]
    titles = ["a <b>", "c", "d"]
    data = drawn_from(show.sound_map(maps, [sine(0.1)] * 3, RATE, labels, titles))
    assert [point["title"] for point in data["points"]] == titles and len(data["clips"]) == 3
    assert data["names"] == list(maps) and np.shape(data["places"]) == (2, 3, 2)
    calm = {"color": show.COLORS["calm"], "shape": "diamond"}
    assert data["key"][1] == {"name": "calm", **calm} and data["points"][1] == {
        "title": "c",
        **calm,
    }
    lazy = show.sound_map(maps, (sine(0.1) for _ in range(3)), RATE, iter(labels), iter(titles))
    assert drawn_from(lazy) == data
    with pytest.raises(ValueError, match="equally long"):
        show.sound_map(maps, [sine(0.1)] * 3, RATE, labels, titles[:2])


def drawn_from(output):
    """The data of what a script draws."""
    return json.loads(re.search(r"getElementById\(\S+\), (.*), null\);", output.data)[1])


def opened(browser, html, tmp_path, head="", width=1280):
    """A page that keeps what went wrong, and reaches nothing but itself."""
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'>{head}<body>{html}</body>")
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)

    def route(route):
        inside = route.request.url.startswith(("file:", "data:"))
        if not inside:
            page.wrong.append(f"outside: {route.request.url[:200]}")
        route.continue_() if inside else route.abort()

    page.route("**/*", route)
    page.goto(path.as_uri())
    return page


def test_a_point_of_the_map_plays(browser, tmp_path):
    maps = {"PCA": np.array([[0.0, 0.0], [1.0, 1.0]]), "t-SNE": np.array([[0.0, 1.0], [1.0, 0.0]])}
    html = show.sound_map(maps, [sine(0.1)] * 2, RATE, ["sad", "calm"], ["first", "second"]).data
    page = opened(browser, html, tmp_path)
    point = page.locator("path.point").nth(1)
    assert point.get_attribute("transform").startswith("translate(580,20)")
    page.get_by_role("button", name="t-SNE").click()
    assert point.get_attribute("transform").startswith("translate(580,380)")
    page.locator("path.point").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator(".now").inner_text() == "second"
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.1")
    assert point.get_attribute("class") == "point on" and page.wrong == []
    page.close()


def test_a_cell_without_a_number_plays_all_the_same(browser, tmp_path):
    frame = pd.DataFrame([[0.5, np.nan]], index=[0.16], columns=[1, 2])
    html = show.sound_grid(frame, (sine(0.1) for _ in range(2)), RATE, "SD").data
    page = opened(browser, html, tmp_path)
    assert page.locator(".sound-grid button").all_inner_texts() == ["0.50", "–"]
    page.locator(".sound-grid button").nth(1).click()
    assert page.locator(".now").inner_text() == "0.16, 2: – SD"
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.1")
    assert page.wrong == []
    page.close()


def test_site_map_tells_shape_and_equation(browser, tmp_path):
    sites = {"resid.0": Site("resid.0", "frame", 160, "embed + attn.0")}
    html = show.site_map(sites).data
    assert html.count("<button") == 1
    page = opened(browser, html, tmp_path)
    page.get_by_role("button", name="resid.0").click()
    told = page.locator(".site").inner_text()
    assert told.startswith("resid.0 = embed + attn.0") and "[clip, frame, 160]" in told
    page.close()


# --------------------------------------------------------------------------------- scripts and data
class Doubler(Live):
    kind = "pad"
    scripts = ("elements",)

    def __init__(self):
        self.data = {"n": np.float32(1.5), "missing": np.nan, "text": "</script><!-- <script>"}

    def answer(self, question):
        if question < 0:
            raise ValueError("question must not be negative")
        return {"doubled": np.int64(2 * question)}


def test_data_are_json_and_stay_inside_their_script():
    page = Doubler().html()
    assert page.count("</script>") == 1 and "<!--" not in page
    data = json.loads(re.search(r"draw\(.*?\), (.*), null\);", page)[1])
    assert data == {"n": 1.5, "missing": None, "text": "</script><!-- <script>"}


def test_a_page_asks_its_kernel(browser):
    live = Doubler()
    sent = []

    class Widget:
        send = sent.append

    for question in (21, -1):
        live._on_message(Widget, {"id": "x", "question": question}, [])
    assert sent == [
        {"id": "x", "answer": {"doubled": 42}},
        {"id": "x", "answer": {"error": "question must not be negative"}},
    ]
    # the other end: what anywidget runs, with a kernel that doubles
    own = "function draw(root, data, ask) { root.drawn = ask(data.n); }"
    script = "\n".join([embed.script(*embed.SOUND), own, embed.script("live")])
    page = browser.new_page()
    answer = page.evaluate(
        """async (source) => {
            const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
            const module = await import(url);
            let receive;
            const model = {
                get: () => ({ n: 21 }),
                on: (name, callback) => { receive = callback; },
                send: ({ id, question }) => receive({ id, answer: 2 * question }),
            };
            const el = {};
            module.default.render({ model, el });
            return el.drawn;
        }""",
        script,
    )
    assert answer == 42
    assert page.evaluate("typeof window.WaveSurfer") == "function"
    page.close()


@pytest.mark.parametrize("file", sorted(Path(embed.__file__).parent.rglob("*.py")), ids=str)
def test_no_script_and_no_style_sheet_in_a_string(file):
    foreign = re.compile(
        r"<script|<style|=>|addEventListener|document\.|style=|\{[^{}]*:[^{}]*;\s*\}"
    )
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not foreign.search(node.value), (node.lineno, node.value)


def test_verdicts_share_one_axis_and_keep_each_world_s_shade():
    rows = [
        ("One state", "organism", "organism", "yes", 1.0, 0.6, 1.4, 0.5),
        ("One state", "organism-2", "organism", "yes", 0.8, 0.4, 1.2, 0.5),
        ("One state", "untrained", "untrained", "no", 0.0, -0.1, 0.1, 0.5),
        ("A plane", "organism", "organism", "cannot tell", 0.1, -0.1, 0.3, 0.2),
    ]
    columns = ["claim", "model", "world", "answer", "value", "low", "high", "smallest"]
    drawn = show.verdicts(pd.DataFrame(rows, columns=columns), "Verdicts").figure
    worlds = {trace.name: trace for trace in drawn.data}
    assert set(worlds) == {"organism", "untrained"}
    assert list(worlds["organism"].x) == pytest.approx([2.0, 1.6, 0.5])
    assert list(worlds["organism"].error_x.array) == pytest.approx([0.8, 0.8, 1.0])
    assert worlds["untrained"].marker.color == show.SHADES["untrained"]
    places = worlds["organism"].y
    assert len(set(places)) == 3 and round(places[0]) == round(places[1]) == 1


def test_a_plane_of_words_has_every_word_and_the_emotions_places():
    points = [[0.5, 0.2], [-0.7, -0.6], [0.8, 0.4]]
    drawn = show.plane(points, ["glad", "gloomy", "merry"], ["happy", "sad", "happy"], "Words")
    happy = [trace for trace in drawn.figure.data if trace.name == "happy"]
    assert list(happy[0].x) == [0.5, 0.8] and list(happy[0].text) == ["glad", "merry"]
    crosses = [trace for trace in drawn.figure.data if trace.marker.symbol == "cross-thin"]
    assert {(c.x[0], c.y[0]) for c in crosses} == {(0.9, 0.35), (-0.75, -0.8)}
    with pytest.raises(ValueError, match="names"):
        show.plane(points, ["glad"], ["happy"] * 3, "Words")


# ------------------------------------------------------------------------------------ numbers behind
def _file(page):
    """The name and the table of the file that a page offers."""
    name, address = re.search(
        r'download="([^"]+)" href="data:text/csv[^,]*,([^"]+)"', page
    ).groups()
    return name, pd.read_csv(io.BytesIO(base64.b64decode(address)))


def test_a_table_is_offered_as_a_file():
    estimate = stats.Estimate(0.5, 0.25, 0.75, 12)
    page = show.table(pd.DataFrame({"what": ["a, b"], "found": [estimate]}), "Two; words").data
    name, table = _file(page)
    assert name == "two-words.csv"
    assert table.iloc[0].tolist() == ["a, b", 0.5, 0.25, 0.75, 12]


def test_a_figure_is_offered_as_a_file():
    values = {
        "happy": stats.Estimate(0.5, 0.25, 0.75, 12),
        "sad": stats.Estimate(0.1, 0.0, 0.3, 12),
    }
    name, table = _file(show.estimates(values, "Two emotions", "share").html())
    assert name == "two-emotions.csv"
    table = table.set_index("y").loc[["happy", "sad"], ["x", "low", "high"]]
    assert table.to_numpy() == pytest.approx(np.array([[0.5, 0.25, 0.75], [0.1, 0.0, 0.3]]))
    _, cells = _file(show.heatmap(pd.DataFrame({"a": [1.0, 2.0]}, index=["p", "q"]), "", "").html())
    assert cells.to_dict("list") == {"y": ["p", "q"], "x": ["a", "a"], "z": [1.0, 2.0]}
    _, points = _file(show.curves({"line": ([0, 1], list(values.values()))}, "", "", "").html())
    assert points["x"].tolist() == [0, 1] and points["told"].str.contains("0.25").tolist() == [
        True,
        False,
    ]


def test_two_measurements_are_drawn_with_the_line_on_which_they_agree():
    figure = show.scatter({"word": ([0, 2], [1, 3]), "sung": ([-1], [0])}, "t", "x", "y").figure
    first, second, line = figure.data
    assert first.marker.symbol != second.marker.symbol
    assert list(line.x) == list(line.y) == [-1, 3]
    with pytest.raises(ValueError, match="y of series"):
        show.scatter({"a": ([0, 1], [1])}, "t", "x", "y")


# ------------------------------------------------------------------------------ players in a browser
def sounds(page, what):
    """A property of every audio element."""
    return page.evaluate(
        "name => [...document.querySelectorAll('audio')].map((audio) => audio[name])", what
    )


def until(page, condition):
    """Wait until something is true of all audio elements, a."""
    page.wait_for_function(f"() => (a => {condition})([...document.querySelectorAll('audio')])")


def cursor(page, number=0):
    return page.locator(".wave [part=cursor]").nth(number).bounding_box()


def test_a_player_goes_by_keys(browser, tmp_path):
    page = opened(browser, show.player(sine(0.5, LONG), RATE, "a clip").data, tmp_path)
    place = page.get_by_role("slider", name="Place in a clip")
    assert sounds(page, "readyState") == [0] and not page.locator("audio").is_visible()
    there = cursor(page)["x"]
    page.keyboard.press("Tab")
    assert page.get_by_role("button", name="Play a clip").evaluate(
        "b => document.activeElement === b"
    )
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    until(page, "a[0].currentTime > 0.3")
    assert cursor(page)["x"] > there
    page.keyboard.press("Enter")
    assert sounds(page, "paused") == [True]
    (before,) = sounds(page, "currentTime")
    page.keyboard.press("ArrowRight")
    assert sounds(page, "currentTime") == pytest.approx([before + 0.25], abs=1e-4)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    assert place.get_attribute("aria-valuenow") == "0.0"
    page.keyboard.press("End")
    assert place.get_attribute("aria-valuetext") == "30.0 of 30.0 seconds"
    # JupyterLab's own shortcuts keep away
    assert page.locator(".sound").get_attribute("data-lm-suppress-shortcuts") == "true"
    assert page.wrong == []
    page.close()


def test_a_player_repeats(browser, tmp_path):
    page = opened(browser, show.player(sine(0.5), RATE, "a clip").data, tmp_path)
    again = page.get_by_role("button", name="Repeat a clip")
    page.get_by_role("slider").focus()
    page.keyboard.press("l")
    assert again.get_attribute("aria-pressed") == "true" and sounds(page, "loop") == [True]
    page.keyboard.press("Space")
    until(page, "a[0].currentTime > 0")
    page.evaluate("document.querySelector('audio').currentTime = 2.8")
    until(page, "a[0].currentTime < 2 && a[0].currentTime > 0.1 && !a[0].paused")
    again.click()
    assert again.get_attribute("aria-pressed") == "false" and sounds(page, "loop") == [False]
    page.close()


def test_a_click_seeks_before_anything_is_loaded(browser, tmp_path):
    page = opened(browser, show.player(sine(0.5), RATE, "a clip").data, tmp_path)
    area = page.locator(".wave").bounding_box()
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + 10)
    assert sounds(page, "currentTime") == pytest.approx([1.5], abs=0.05)
    assert cursor(page)["x"] == pytest.approx(area["x"] + area["width"] / 2, abs=4)
    page.get_by_role("button", name="Play a clip").click()
    until(page, "a[0].currentTime > 1.6")
    assert page.get_by_role("button", name="Pause a clip").count() == 1 and page.wrong == []
    page.close()


def test_players_stop_each_other(browser, tmp_path):
    html = show.player_grid({"sad": {"one": sine(0.1, LONG), "two": sine(0.1, LONG)}}, RATE).data
    page = opened(browser, html, tmp_path)
    page.get_by_role("button", name="Play sad, one").click()
    until(page, "a[0].currentTime > 0.1")
    page.get_by_role("button", name="Play sad, two").click()
    until(page, "a[1].currentTime > 0.1")
    assert sounds(page, "paused") == [True, False] and page.wrong == []
    page.close()


def test_the_cursor_runs_over_the_spectrogram(browser, tmp_path):
    page = opened(browser, show.spectrogram(sine(0.5), RATE, "A4").data, tmp_path)
    picture, wave = (page.locator(name).bounding_box() for name in (".picture", ".wave"))
    assert picture["x"] == wave["x"] and picture["width"] == wave["width"]
    assert cursor(page)["height"] == pytest.approx(wave["height"]) and wave["height"] > 200
    page.mouse.click(picture["x"] + 0.5 * picture["width"], picture["y"] + 100)
    assert sounds(page, "currentTime") == pytest.approx([1.5], abs=0.05)
    assert cursor(page)["x"] == pytest.approx(picture["x"] + 0.5 * picture["width"], abs=4)
    assert page.wrong == []
    page.close()


#: Of the first canvas of a waveform: how many rows are painted, and in which colour.
PAINTED = """(node) => {
  const canvas = node.querySelector('.wave > div').shadowRoot.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const rows = new Set();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 127) rows.add(Math.floor(i / 4 / canvas.width));
  }
  const middle = 4 * canvas.width * Math.floor(canvas.height / 2);
  return { rows: rows.size, color: [...data.slice(middle, middle + 3)] };
}"""


def test_loud_clips_look_loud(browser, tmp_path):
    html = show.player_grid({"sad": {"loud": sine(1.0), "soft": sine(0.1)}}, RATE).data
    page = opened(browser, html, tmp_path)
    page.wait_for_timeout(300)
    loud, soft = (node.evaluate(PAINTED)["rows"] for node in page.locator(".sound").all())
    assert loud == 44 and soft == pytest.approx(4.4, abs=2)
    page.close()


def luminance(color):
    """Relative luminance, as WCAG 2 defines it."""
    share = np.array(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


DARK = """<style>
  html { background: #fff; color: #222832; }
  html[data-theme='dark'] { background: #14181e; color: #ced6dd; }
</style>"""


def test_waveforms_stand_out_on_light_and_dark_paper(browser, tmp_path):
    rows = {name: {"clip": sine(0.5)} for name in [*show.COLORS, *show.SHADES]}
    page = opened(browser, show.player_grid(rows, RATE).data, tmp_path, head=DARK)
    for theme, paper in (("light", [255, 255, 255]), ("dark", [20, 24, 30])):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        page.wait_for_timeout(300)
        for node in page.locator(".sound").all():
            drawn = node.evaluate(PAINTED)["color"]
            assert contrast(drawn, paper) >= 3, (theme, drawn)
    assert page.wrong == []
    page.close()


@pytest.mark.parametrize("width", [390, 700, 1280])
def test_columns_of_a_grid_do_not_mix(browser, tmp_path, width):
    columns = [f"{name}, seed {seed}" for name in ("a", "b", "c") for seed in (0, 1)]
    clips = {emotion: {column: sine(0.3, 1) for column in columns} for emotion in ("sad", "happy")}
    del clips["sad"]["a, seed 1"]
    page = opened(browser, show.player_grid(clips, RATE).data, tmp_path, width=width)
    places = {}
    lines = {}
    for node in page.locator(".sound").all():
        row, name, take = node.locator("audio").get_attribute("aria-label").split(", ")
        box = node.bounding_box()
        places.setdefault((name, take), set()).add(round(box["x"]))
        lines.setdefault(round(box["y"]), []).append((row, name, take))
    assert all(len(found) == 1 for found in places.values())  # the same place in every row
    for line in lines.values():
        assert len({row for row, *_ in line}) == 1
        members = {name for _, name, _ in line}
        assert len(members) in (1, 3), line  # one group, or all of them
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.close()


@pytest.fixture
def without_npm(monkeypatch):
    def refuse(folder):
        raise RuntimeError("npm could not install")

    def forget():
        runtime.text.cache_clear()
        embed.library.cache_clear()

    monkeypatch.setattr(runtime, "_install", refuse)
    monkeypatch.setattr(runtime, "FILES", {"wavesurfer": ("nowhere.js",)})
    forget()
    yield
    forget()


def test_without_the_library_sounds_keep_the_browser_s_controls(without_npm, browser, tmp_path):
    songs = {"a": {"one": sine(0.1, LONG), "two": sine(0.1, LONG)}}
    with pytest.warns(UserWarning, match="without a waveform.*npm could not install"):
        html = [show.player(sine(0.5), RATE).data]
    html.append(show.spectrogram(sine(0.5), RATE).data)
    html.append(show.switch_players(songs, RATE).data)
    page = opened(browser, "".join(html), tmp_path)
    assert page.get_by_text("waveforms need wavesurfer.js").count() == 3
    assert page.locator("audio:visible").count() == 3 and page.locator(".wave").count() == 0
    page.evaluate("document.querySelectorAll('audio')[2].play()")
    until(page, "a[2].currentTime > 0.2")
    page.get_by_role("button", name="two").click()
    until(page, "a[3].currentTime > 0.4")
    assert sounds(page, "muted") == [False, False, True, False] and page.wrong == []
    page.close()


def test_an_exported_notebook_draws_waveforms_beside_a_loader_of_modules(browser, tmp_path):
    head = """<script>
      window.taken = 0;
      window.define = () => { window.taken += 1; };
      window.define.amd = {};
    </script>"""
    html = "".join(show.player(sine(0.5), RATE).data for _ in range(2))
    page = opened(browser, html, tmp_path, head=head)
    page.wait_for_timeout(200)
    assert page.locator(".wave canvas").count() >= 2 and page.evaluate("window.taken") == 0
    assert page.wrong == []
    page.close()


def test_the_book_holds_the_library_once(browser, tmp_path):
    data = {"text/html": show.player(sine(0.5), RATE).data}
    output = nbformat.v4.new_output("display_data", data=data)
    cells = [nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_code_cell(outputs=[output] * 2)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    page, _ = layout.page(notebook, [], {}, embed.library())
    assert notebook.cells[1].outputs[0].data["text/html"] == data["text/html"]
    html = page.cells[1].outputs[0].data["text/html"]
    assert len(html) < len(data["text/html"]) - 40_000
    (tmp_path / "wavesurfer.js").write_text(embed.library())
    page = opened(browser, html, tmp_path, head='<script src="wavesurfer.js"></script>')
    page.locator(".wave canvas").first.wait_for(state="attached")
    assert page.wrong == []
    page.close()


def test_songs_that_stand_in_for_one_another_are_equally_long():
    songs = {"induce happy": {"unsteered": sine(0.1), "steered": sine(0.1)}}
    page = written(show.switch_players(songs, RATE))
    assert "induce happy" in page and page.count('"sound":') == 2
    with pytest.raises(ValueError, match="equally long"):
        show.switch_players({"a": {"b": sine(0.1), "c": sine(0.1, 2)}}, RATE)


def test_another_song_stands_in_at_the_same_moment(browser, tmp_path):
    songs = {
        name: {"plain": sine(0.1, LONG), "steered": sine(0.8, LONG)} for name in ("first", "second")
    }
    page = opened(browser, show.switch_players(songs, RATE).data, tmp_path)
    page.get_by_role("button", name="Play first").click()
    until(page, "a[0].currentTime > 0.3 && a[1].currentTime > 0.3")
    assert sounds(page, "muted") == [False, True, False, True]
    soft = page.locator(".sound").first.evaluate(PAINTED)["rows"]
    steered = page.get_by_role("button", name="steered").first
    steered.click()
    until(page, "Math.abs(a[0].currentTime - a[1].currentTime) < 0.1")
    assert min(sounds(page, "currentTime")[:2]) > 0.3
    assert sounds(page, "muted")[:2] == [True, False]
    until(page, "!a[0].paused && !a[1].paused && a[2].paused && a[3].paused")
    assert steered.get_attribute("aria-pressed") == "true"
    there = cursor(page)["x"]
    until(page, "a[1].currentTime > 1.5")
    assert cursor(page)["x"] > there
    page.wait_for_function(
        f"soft => ({PAINTED})(document.querySelector('.sound')).rows > 3 * soft", arg=soft
    )
    # one song at a time, and nothing of it goes on unheard
    page.get_by_role("button", name="Play second").click()
    until(page, "a[2].currentTime > 0.1")
    until(page, "a[0].paused && a[1].paused && !a[2].paused && !a[3].paused")
    page.get_by_role("button", name="Pause second").click()
    until(page, "a.every((one) => one.paused)")
    assert page.wrong == []
    page.close()


# ------------------------------------------------------------------------------------------- colours
def parts(color):
    """Red, green and blue of a colour in hexadecimal digits."""
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def test_every_colour_has_one_for_dark_pages_that_is_seen_there():
    sheet = (embed.STATIC / "shades.css").read_text()
    dark = dict(re.findall(r"--shade-([0-9a-f]{6}): (#[0-9a-f]{6});", sheet))
    drawn = [*show.COLORS.values(), *show.SHADES.values(), *show.PALETTE, show.INK, show.MUTED]
    for color in drawn:
        assert contrast(parts(dark[color[1:].lower()]), parts(dark["ffffff"])) >= 3, color
    assert contrast(parts(dark[show.INK[1:]]), parts(dark["ffffff"])) >= 7


def test_no_two_series_look_alike():
    names = [*show.COLORS, "standard", "random", "songs"]
    for group in (names, list(show.SHADES), ["front", "songs"], ["organism", "random"]):
        looks = colors.looks(group).values()
        for part in ("color", "symbol", "dash"):
            enough = len(group) <= 6 or part == "color"
            assert not enough or len({getattr(look, part) for look in looks}) == len(group), part
    figure = all_figures()["curves"].figure
    lines = {t.name: (t.marker.symbol, t.line.dash) for t in figure.data if t.name}
    assert lines == {"organism": ("circle", "solid"), "sad": ("square", "dashdot")}


def test_a_figure_is_told_in_words_and_its_file_is_not_empty():
    found = all_figures()
    words = figures.told(found["curves"].figure)
    assert words == "Chart: title. from left to right: x. upwards: y. series: organism, sad"
    assert figures.told(found["heatmap"].figure).startswith("Heat map: title")
    for name in ("estimates", "curves", "histogram", "heatmap"):
        assert len(figures.numbers(found[name].figure)), name
    long = show.estimates(
        {"a label of many words that needs lines": stats.Estimate(1, 0, 2, 3)}, "t", "u"
    )
    assert "<br>" in long.figure.data[0].y[0]
    assert figures.numbers(long.figure)["y"].tolist() == ["a label of many words that needs lines"]


def test_a_figure_follows_the_page_into_the_dark(browser, tmp_path):
    script = f"<script>{plotly.offline.get_plotlyjs()}</script>"
    page = opened(browser, all_figures()["curves"].html(), tmp_path, script)
    background = "() => document.querySelector('.js-plotly-plot')?.layout.paper_bgcolor"
    page.wait_for_function(f"() => ({background})() === '#FFFFFF'")
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
    page.wait_for_function(f"() => ({background})() === '#121212'")
    shade = page.evaluate("() => document.querySelector('.js-plotly-plot').data[3].line.color")
    assert shade == "#4da6e0" and page.wrong == []  # sad
    page.close()
