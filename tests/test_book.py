"""Every notebook runs, the book builds without a warning, and its pages work in a real browser."""

import functools
import http.server
import re
import threading
import urllib.parse
from pathlib import Path

import jupytext
import nbformat
import pytest

from lib import cache, results
from lib.book import build, execute
from lib.pages import embed, runtime

#: Chapter 10's sparse autoencoder, for all chapters that read it.
RECIPE = {"clips": 160, "seconds": 2.0, "width": 128, "k": 12, "passes": 2, "seeds": 2}
#: What is asked of words (``understanding.Design``).
WORDS = {
    "each": 2,
    "takes": 1,
    "finding": 1,
    "few": 1,
    "pieces": 1,
    "heard": 1,
    "seconds": 1.0,
}
#: Neutral songs from which judges learn how instruments sound.
JUDGING = {"n": 24, "seconds": 1.0}
#: The notebooks with little work to do: every cell runs, on less.
SMALL = {
    "index": {"seconds": 1.0, "learned_from": 2},
    "00_meet_the_model": {"takes": 1, "seconds": 2.0},
    "01_known_answers": {
        "clips_measured": 24,
        "clips_each": 4,
        "clips_codec": 6,
        "samples": 10,
        "clips_training": 50,
        "clips_held_out": 20,
        "seconds": 2.0,
    },
    "02_activations": {"clips_each": 4, "seconds": 2.0},
    "03_emotion_geometry": {
        "n": 6,
        "audios": 2,
        "clips_mapped": 10,
        "permutations": 50,
        "seconds": 1.0,
        "beside": ["organism-shuffled"],
        "design": WORDS,
        "null_subjects": 20,
    },
    "04_probes": {
        "n": 11,
        "permutations": 8,
        "dealings": 1,
        "null_subjects": 3,
        "beside": ["organism-shuffled"],
        "seconds": 1.0,
    },
    "10_train_saes": {
        "recipe": RECIPE,
        "clips_judged": 8,
        "sweep_clips": 20,
        "sweep_width": 128,
        "sweep_sparsity": [8, 24],
    },
    "11_feature_explorer": {
        "recipe": RECIPE,
        "shown": 6,
        "pool": 12,
        "clips_each": 2,
        "clips_training": 150,
    },
    "12_monosemanticity": {
        "recipe": RECIPE,
        "n": 11,
        "seconds": 1.0,
        "permutations": 50,
        "null_subjects": 5,
        "beside": ["organism-shuffled"],
    },
    "13_feature_scores": {
        "recipe": RECIPE,
        "heard": 40,
        "strongest": 20,
        "planted": ["organism-planted"],
        "n_verify": 4,
        "least": 0.0,
        "small": {"clips": 40, "seconds": 2.0, "width": 64, "k": 12, "passes": 2},
        "shared": {"width": 64, "k": 12, "passes": 2},
        "shared_clips": 24,
        "n": 6,
    },
    "14_play_the_organism": {
        "recipe": RECIPE,
        "n": 11,
        "compared": 2,
        "seconds": 1.0,
    },
    "20_patching": {
        "n": 3,
        "seconds": 1.0,
        "ranges": 2,
        "heard_each": 1,
        "beside": ["organism-shuffled"],
    },
    "21_tempo_energy_emotion": {
        "learned_from": 4,
        "judged_on": 4,
        "steps": 2,
        "excerpt": 1.0,
        "transfers": 4,
        "carried": 4,
        "n": 4,
        "n_beside": 4,
        "random_subspaces": 2,
        "met": 2,
        "pieces": 2,
        "seconds": 1.0,
        "beside": ["organism-decoupled"],
    },
    "22_human_perception": {
        "pieces": 2,
        "n": 2,
        "seconds": 1.0,
        "learned_from": 4,
        "steps": 2,
        "size": 4,
        "beside": ["organism-shuffled"],
        "design": WORDS,
        "null_subjects": 20,
    },
    "23_planted_places": {
        "planted": ["organism-planted-2"],
        "n": 6,
        "n_edges": 2,
        "n_verify": 4,
        "seconds": 0.6,
        "least": 0.0,
        "variables": ["tempo", "energy", "valence"],
        "recipe": {"clips": 16, "seconds": 1.0, "width": 32, "k": 4, "passes": 1, "seeds": 1},
        "aligning": {"n": [4, 4], "steps": 2},
    },
    "24_circuits": {
        "n": 3,
        "draws": 2,
        "seconds": 0.4,
        "variables": ["emotion", "mode"],
        "beside": ["organism-shuffled"],
    },
    "25_hear_every_block": {"n": 4, "seconds": 1.0, "steps": 5, "confirmed": ["tempo", "energy"]},
    "26_from_word_to_note": {
        "recipe": RECIPE,
        "clips": 40,
        "width": 64,
        "k": 8,
        "passes": 2,
        "songs": 3,
        "graph_nodes": 60,
        "shown": 12,
    },
    "30_steering": {
        "n": 1,
        "words_from": 1,
        "n_choosing": 2,
        "learned_from": 2,
        "strengths": [0.0, 0.16],
        "seconds": 1.0,
        "judging": JUDGING,
        "judged": 12,
        "draws": 1,
        "beside": ["organism-shuffled"],
    },
    "31_emotion_pad": {
        "learned_from": 2,
        "calibrated_on": 2,
        "draws": 2,
        "chance_on": 2,
        "songs": 2,
        "on_page": 1,
        "side": 2,
        "seconds": 1.0,
        "judging": {"ears": ["corpus"], **JUDGING},
    },
    "32_listening_test": {"items": 2, "learned_from": 2, "seconds": 1.0, "raters": 4},
    "33_steering_bench": {
        "concepts": ["happy"],
        "methods": ["prompt", "diffmeans", "slider", "random"],
        "design": {"learned_from": 2, "learned_seconds": 0.6, "steps": 2, "seconds": 1.0},
        "n": 3,
        "judging": JUDGING,
        "dictionary": {"clips": 20, "seconds": 1.0, "width": 32, "k": 4, "passes": 1},
        "null_subjects": 5,
        "beside": ["organism-shuffled"],
    },
    "35_understanding": {
        "models_each": 1,
        "design": WORDS,
        "null_subjects": 20,
    },
    "40_real_music": {
        "recipe": RECIPE,
        "songs": 12,
        "others": 10,
        "permutations": 20,
        "n": 2,
        "lots": 1,
        "sung_seconds": 1.0,
        "judging": JUDGING,
    },
    "41_real_musicgen": {"clips": 3, "seconds": 1.0, "beside": ["organism-shuffled"]},
    "50_your_question": {
        "strengths": [0.5],
        "seconds": 1.0,
        "sung": 24,
        "learned_from": 2,
        "n": 6,
        "n_beside": 6,
        "draws": 1,
        "null_subjects": 5,
        "judging": {"training": 60},
    },
}


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    out = tmp_path_factory.mktemp("notebooks")
    done = execute.run(out=out, **SMALL)
    assert done == execute.names()
    return out


@pytest.fixture(scope="session")
def pages(executed, tmp_path_factory):
    return build.pages(executed, tmp_path_factory.mktemp("book"))


@pytest.fixture(scope="session")
def site(pages):
    handler = functools.partial(Quiet, directory=str(pages))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


DESKTOP, TABLET, PHONE = (1280, 900), (768, 1024), (390, 844)
CUT, BARRIERS = ((Path(__file__).parent / name).read_text() for name in ("cut.js", "barriers.js"))
#: Bytes of a page and of all that it loads by itself.
WEIGHT = "performance.getEntries().reduce((sum, part) => sum + (part.encodedBodySize ?? 0), 0)"
#: Pages without a notebook behind them.
OTHERS = ["notebooks/glossary", "notebooks/references", "search", "genindex"]


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request, browser, site):
    """A page that keeps what went wrong, and reaches nothing but the book."""
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    page.wrong = []
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.wrong.append(str(e)))
    page.on("requestfailed", lambda r: page.wrong.append(f"failed: {r.url[:200]}"))
    page.on(
        "response",
        lambda r: page.wrong.append(f"{r.status}: {r.url[:200]}") if r.status >= 400 else None,
    )

    def route(route):
        inside = route.request.url.startswith((site, "data:"))
        if not inside:
            page.wrong.append(f"outside: {route.request.url[:200]}")
        route.continue_() if inside else route.abort()

    page.route("**/*", route)
    yield page
    page.close()


def test_notebooks_run_and_keep_their_source(executed):
    for name in execute.names():
        notebook = nbformat.read(executed / f"{name}.ipynb", 4)
        assert notebook.metadata["book"]["key"]
        assert notebook.metadata["jupytext"]["formats"] == "ipynb,py:percent"
        assert "widgets" not in notebook.metadata
        source = jupytext.read(execute.NOTEBOOKS / f"{name}.py")
        assert [c.source for c in notebook.cells] == [c.source for c in source.cells]
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                assert output.output_type != "error" and output.get("name") != "stderr"


def test_nothing_is_executed_twice(executed):
    assert execute.run(out=executed, **SMALL) == []


def test_chapters_share_one_sparse_autoencoder(executed):
    """Of the model one for each seed and one of the text; of the shuffled organism one."""
    folders = [folder.name for folder in (cache.ROOT / "saes").iterdir() if folder.is_dir()]
    blocks = [name for name in folders if name.startswith("resid.") and "-128-12-" in name]
    assert len(blocks) == RECIPE["seeds"] + 1, folders


def test_all_notebooks_are_needed_for_the_pages(tmp_path):
    with pytest.raises(FileNotFoundError, match="make notebooks"):
        build.pages(tmp_path, tmp_path / "out")


def test_the_index_shows_what_was_found(pages):
    assert len(results.evidence("organism")) >= 2
    text = (pages / "notebooks" / "index.html").read_text()
    assert "How often is the emotion of a word heard" in text


def test_chapters_can_be_taken_away_and_no_link_is_dead(pages):
    """The book's repository has no public address yet (``tests/test_takeaway.py`` gives it one)."""
    for name in execute.names():
        text = (pages / "notebooks" / f"{name}.html").read_text()
        assert f"../_sources/notebooks/{name}.ipynb" in text
        assert "colab.research" not in text and "mybinder" not in text
        taken = nbformat.read(pages / "_sources" / "notebooks" / f"{name}.ipynb", 4)
        assert taken.cells[0].metadata["tags"] == ["install"]


def test_pages_are_small(pages):
    for file in (pages / "notebooks").glob("*.html"):
        assert file.stat().st_size < 6e6, file.name
        # every page loads it once
        assert embed.library() not in file.read_text(), file.name


#: Whether as many figures are drawn.
DRAWN = "n => document.querySelectorAll('.js-plotly-plot .main-svg').length >= n"


def settled(page, wrong):
    """What a script finds wrong, once the page has had time to draw itself anew."""
    for _ in range(20):
        if not page.evaluate(wrong):
            return []
        page.wait_for_timeout(250)
    return page.evaluate(wrong)


@pytest.fixture(scope="module")
def axe():
    """axe-core, and the pages' widths and shades that it is asked about."""
    return runtime.files("axe")[0].read_text()


def drawn(executed, name):
    """How many figures a page holds; those without a notebook hold none."""
    if name in OTHERS:
        return 0
    cells = nbformat.read(executed / f"{Path(name).name}.ipynb", 4).cells
    outputs = [o for c in cells for o in c.get("outputs", [])]
    figures = sum("application/vnd.plotly.v1+json" in o.get("data", {}) for o in outputs)
    # the main one stands behind the answer, too
    return figures + any("main" in c.metadata.get("tags", []) for c in cells)


@pytest.mark.parametrize("name", [*(f"notebooks/{name}" for name in execute.names()), *OTHERS])
@pytest.mark.parametrize("page", [PHONE], ids=["phone"], indirect=True)
def test_page(name, page, site, executed, axe):
    """Opened on a phone in the dark, and in a window that is made wide and light: all is drawn,
    nothing is cut off, and nothing is what axe-core calls serious or critical.
    """
    page.emulate_media(reduced_motion="reduce")  # colours change at once
    page.goto(f"{site}/{name}.html", wait_until="load")
    page.evaluate(axe)
    figures = drawn(executed, name)
    looks = [(PHONE, "dark"), (DESKTOP, "light")]
    # what stands beside the text is the same on all pages, and hidden on a phone
    looks += [(DESKTOP, "dark")] if name == "notebooks/index" else []
    for (width, height), shade in looks:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("shade => { document.documentElement.dataset.theme = shade; }", shade)
        page.wait_for_function(DRAWN, arg=figures)
        assert page.locator(".js-plotly-plot").count() == figures
        assert settled(page, CUT) == []
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{wide} pixels too wide at {width}"
        assert page.evaluate(BARRIERS) == [], (width, shade)
    assert page.evaluate(WEIGHT) < 6e6
    assert page.wrong == []


def test_figures_are_drawn_for_the_dark_and_told_in_words(page, site):
    page.goto(f"{site}/notebooks/03_emotion_geometry.html", wait_until="load")
    plot = page.locator(".js-plotly-plot").first
    plot.wait_for()
    paper = "() => document.querySelector('.js-plotly-plot').layout.paper_bgcolor"
    for shade in ("dark", "light"):
        page.evaluate("shade => { document.documentElement.dataset.theme = shade; }", shade)
        expected = {"dark": "#121212", "light": "#FFFFFF"}[shade]
        page.wait_for_function(f"() => ({paper})() === '{expected}'")
    for figure in page.locator(".drawn-figure").all():
        caption = figure.locator("figcaption").inner_text().removesuffix(" CSV")
        assert caption in figure.locator("[role=img]").get_attribute("aria-label")
    assert page.wrong == []


def test_whoever_wants_no_motion_sees_none(browser, site):
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{site}/notebooks/index.html", wait_until="load")
    moving = """() => [...document.querySelectorAll('*')].filter((node) => {
      const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(node);
      return transitionDuration !== '0s' || animationName !== 'none' || scrollBehavior === 'smooth';
    }).length"""
    assert page.evaluate(moving) == 0
    page.close()


@pytest.mark.parametrize("page", [DESKTOP, TABLET, PHONE], ids=str, indirect=True)
def test_the_menus_open_and_close(page, site):
    page.goto(f"{site}/notebooks/index.html", wait_until="load")
    chapter = page.locator(".bd-links a").first
    there = chapter.is_visible()
    assert there == (page.viewport_size["width"] > 1000)
    for shown in (not there, there):
        if shown or there:  # a menu that covers the page is left by the keyboard
            page.locator(".primary-toggle:visible").click()
        else:
            page.keyboard.press("Escape")
        chapter.wait_for(state="visible" if shown else "hidden")
    assert page.wrong == []


def test_the_front_page_is_heard_without_scrolling(page, site):
    page.goto(f"{site}/notebooks/index.html", wait_until="load")
    player = page.locator(".player-grid .sound").first
    play = player.locator("button.play")
    box = play.bounding_box()
    assert page.evaluate("window.scrollY") == 0
    assert 0 <= box["y"] <= page.viewport_size["height"] - box["height"]
    play.click()
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.1")
    assert page.wrong == []


def test_players_play_and_the_cursor_follows(page, site):
    page.goto(f"{site}/notebooks/00_meet_the_model.html", wait_until="load")
    ready = page.evaluate(
        """Promise.all([...document.querySelectorAll('audio')].map(a => new Promise(done => {
             a.onloadedmetadata = () => done(a.duration); a.onerror = () => done(-1); a.preload = 'auto'; a.load();
           })))"""
    )
    assert len(ready) >= 16 and min(ready) > 1.5, ready
    box = page.locator(".spectrogram .picture")
    box.scroll_into_view_if_needed()
    cursor = page.locator(".spectrogram [part=cursor]")
    start = cursor.bounding_box()["x"]
    page.evaluate("document.querySelector('.spectrogram audio').play()")
    page.wait_for_timeout(700)
    assert cursor.bounding_box()["x"] > start + 20
    page.evaluate("document.querySelector('.spectrogram audio').pause()")
    area = box.bounding_box()
    page.mouse.click(area["x"] + 0.5 * area["width"], area["y"] + 20)
    page.wait_for_timeout(300)
    assert cursor.bounding_box()["x"] == pytest.approx(area["x"] + 0.5 * area["width"], abs=12)
    play = page.locator(".player-grid button.play").first
    play.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('.player-grid audio').paused")
    assert page.wrong == []


def test_the_explorer_answers(page, site):
    page.goto(f"{site}/notebooks/11_feature_explorer.html", wait_until="load")
    title, buttons = page.locator(".explorer .card h3"), page.locator(".explorer .list button")
    assert buttons.count() == SMALL["11_feature_explorer"]["shown"]
    first = title.inner_text()
    buttons.nth(3).click()
    assert title.inner_text() != first
    number = title.inner_text().split()[1].rstrip(":")
    page.get_by_label("Search features").fill(number)
    assert buttons.count() == 1
    page.get_by_label("Search features").fill("")
    page.get_by_label("Sort by").select_option("density")
    values = [float(text) for text in page.locator(".explorer .list button span").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    ready = page.evaluate(
        """Promise.all([...document.querySelectorAll('.explorer audio')].map(a => new Promise(done => {
             a.onloadedmetadata = () => done(a.duration); a.onerror = () => done(-1); a.load(); })))"""
    )
    assert len(ready) >= 3 and min(ready) > 1.5, ready
    page.evaluate("document.querySelector('.explorer audio').play()")
    page.wait_for_timeout(600)
    cursor = page.locator(".explorer [part=cursor]").first
    assert float(cursor.evaluate("cursor => cursor.style.left").rstrip("%")) > 2
    page.locator(".explorer .map circle[r='2.2']").first.dispatch_event("click")
    assert "JupyterLab" in page.locator(".explorer .card").inner_text()
    page.locator(".explorer .map circle[r='4.5']").last.dispatch_event("click")
    assert page.locator(".explorer audio").count() >= 3
    assert page.wrong == []


def test_the_search_finds_a_feature_a_prompt_and_a_term(page, site, pages):
    text = (pages / "notebooks" / "11_feature_explorer.html").read_text()
    told = re.findall(r"<li>(.*?)</li>", text.split('<div class="asleep">')[-1])
    feature = next(line for line in told if line.startswith("Feature "))
    prompt = next(line for line in told if not line.startswith("Feature "))
    wanted = {
        feature: "11_feature_explorer",
        prompt: "11_feature_explorer",
        "logit lens": "glossary",
    }
    for words, name in wanted.items():
        page.goto(f"{site}/search.html?q={urllib.parse.quote(words)}")
        page.wait_for_selector(f"#search-results a[href*='{name}']")
        # it reads the pages that it has found; left before that, it would say that it failed
        page.wait_for_load_state("networkidle")
    assert page.wrong == []


def test_a_cell_of_the_patching_grid_plays(page, site):
    page.goto(f"{site}/notebooks/20_patching.html")
    grid = page.locator(".sound-grid")
    cell, before = grid.locator("button").nth(4), grid.locator("button").nth(4).inner_text()
    cell.click()
    page.wait_for_function("() => document.querySelector('.sound-grid audio').currentTime > 0.1")
    assert f"valence {before} SD" in grid.locator(".now").inner_text()
    grid.get_by_label("what is shown").select_option("tempo")
    assert f"tempo {cell.inner_text()} SD" in grid.locator(".now").inner_text()
    assert page.wrong == []


def test_the_pad_plays_moves_and_follows_a_path(page, site):
    page.goto(f"{site}/notebooks/31_emotion_pad.html")

    def inside(what):
        return page.evaluate(f"() => document.querySelector('.pad').pad.{what}")

    assert inside("weights()") == [0.25] * 4 and inside("level()") == 0
    page.locator(".pad .plane").focus()
    page.keyboard.press("ArrowRight")
    weights = inside("weights()")
    assert weights[1] > weights[0] and weights[3] > weights[2] and sum(weights) == pytest.approx(1)
    page.keyboard.press(" ")
    page.wait_for_function("() => document.querySelector('.pad').pad.level() > 0.001")
    page.get_by_role("button", name="Draw a path").click()
    box = page.locator(".pad .plane").bounding_box()
    corner = [box["x"] + box["width"] / 4, box["y"] + box["height"] / 4]
    page.mouse.move(*corner)
    page.mouse.down()
    page.mouse.move(corner[0] + box["width"] / 2, corner[1] + box["height"] / 2, steps=8)
    page.mouse.up()
    there = page.locator(".pad .said").inner_text()
    page.get_by_role("button", name="Follow it").click()
    page.wait_for_timeout(300)
    assert page.locator(".pad .said").inner_text() != there
    page.get_by_role("button", name="Stop", exact=True).click()
    said = page.locator(".pad .said").inner_text()
    page.wait_for_timeout(200)
    assert page.locator(".pad .said").inner_text() == said and inside("level()") == 0
    page.get_by_role("button", name="Play", exact=True).dblclick()  # the second stops the first
    page.wait_for_timeout(500)
    assert page.get_by_role("button", name="Play", exact=True).count() == 1
    assert inside("level()") == 0
    assert page.wrong == []


def test_one_sound_plays_at_a_time(page, site):
    page.goto(f"{site}/notebooks/00_meet_the_model.html", wait_until="load")
    silent = "i => document.querySelectorAll('audio')[i].paused"
    for i in (0, 1):
        page.evaluate("i => document.querySelectorAll('audio')[i].play()", i)
    assert page.evaluate(silent, 0) and not page.evaluate(silent, 1)
    page.locator(".spectrogram .wave").focus()
    seeking = "document.querySelector('.spectrogram audio').currentTime"
    there = page.evaluate(seeking)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(seeking) == pytest.approx(there + 0.25, abs=0.1)


def test_the_song_graph_answers(page, site):
    page.goto(f"{site}/notebooks/26_from_word_to_note.html", wait_until="load")
    title = page.locator(".song-graph h3")
    assert title.inner_text().startswith("token")
    page.locator(".song-graph li button").first.click()
    first = title.inner_text()
    assert not first.startswith("token")
    assert page.locator(".song-graph .node.on").get_attribute("aria-label") == first
    page.keyboard.press("ArrowRight")
    assert title.inner_text() != first
    for node in page.locator(".song-graph .node").all():
        node.dispatch_event("click")
        heard = page.locator(".song-graph audio").count()
        assert heard or title.inner_text().startswith("feature")
    assert page.wrong == []


@pytest.mark.parametrize("name", [name for name in execute.names() if name != "index"])
def test_a_chapter_begins_with_its_answer(name, pages):
    text = (pages / "notebooks" / f"{name}.html").read_text()
    asks, answers = text.index("<strong>Question.</strong>"), text.index("In short")
    assert asks < answers < text.index("</section>")
    assert text.count("<strong>Verdict") == 1
    assert re.search(r"In short \((measured|simulated), organism\)", text)
    assert ('id="panel"' in text) == (name != "14_play_the_organism")


def test_code_is_folded_and_numbers_are_offered(page, site):
    page.goto(f"{site}/notebooks/26_from_word_to_note.html", wait_until="load")
    code = page.locator("div.cell_input").nth(1)
    assert not code.is_visible()
    page.locator("details.hide summary").nth(1).click()
    code.wait_for(state="visible")
    assert page.locator("a.numbers[download$='.csv']").count() >= 3
