"""The organism in the page: its graphs are the network, its scripts the library, and it sings."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import psutil
import pytest
import sae_lens
import torch

from lib import activations, sae, steering
from lib.book import build, execute, layout
from lib.musicgen import browser, load, noise
from lib.organism import corpus
from lib.pages import alive

SITE = "resid.3"
#: What readers may ask for: captions of the world, none, words that it spells, and no sentence.
ODD = ["", "Ein trauriges Lied, bitte!", "sad,sad ,  VERY\tsad", "über-fast", "x" * 101 + " song"]
SONGS = 20
SECONDS = 2.0
#: Milliseconds that a loaded machine may take for what takes an idle one a second.
PATIENCE = 120_000

#: Another sound of the page, as players announce it; it tells when it is to stop.
OTHER = """() => {
  const other = document.body.appendChild(document.createElement('audio'));
  other.pause = () => { window.paused = true; };
  other.dispatchEvent(new Event('play'));
}"""
#: What a page does, without the page.
SING = (Path(__file__).parent / "sing.js").read_text()


@pytest.fixture(scope="module")
def prompted():
    """Prompts of the organism's language."""
    return [*corpus.table("organism", SONGS - 1, seed=77)["caption"], ""]


@pytest.fixture(scope="module")
def axes(organism):
    """Directions between a few words, by name."""
    ends = {"valence": (["happy", "calm"], ["tense", "sad"])}
    ends["arousal"] = (["happy", "tense"], ["calm", "sad"])
    return {
        name: steering.direction(
            organism, *[[f"a {word} melody" for word in end] for end in both], SITE, seconds=1.0
        )
        for name, both in ends.items()
    }


@pytest.fixture(scope="module")
def autoencoder(organism):
    """An SAE whose numbers are random, in the format of chapter 10's."""
    config = sae_lens.JumpReLUSAEConfig(
        d_in=organism.lm.dim, d_sae=8, apply_b_dec_to_input=True, device="cpu"
    )
    s = sae_lens.JumpReLUSAE(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in (s.W_enc, s.W_dec, s.b_enc, s.b_dec, s.threshold):
            values.copy_(torch.randn(values.shape, generator=generator))
        s.threshold.abs_()
    return s


@pytest.fixture(scope="module")
def panel(organism, axes, autoencoder):
    some = alive.features(autoencoder, SITE, {2: "tempo high", 5: "sad"}, np.full(8, 40.0))
    return alive.Alive(organism, axes, axes, some, {"sad": [-1.0, -0.8], "happy": [0.9, 0.4]})


@pytest.fixture(scope="module")
def site(panel, tmp_path_factory):
    """A built book of one page, served as ``make book`` serves it."""
    out = tmp_path_factory.mktemp("alive")
    pages = build.front(out).parent
    (pages / "notebooks").mkdir(parents=True)
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>t</title>"
    head += "<link rel=icon href='data:,'><script src='../_static/sing.js'></script>"
    for name, body in (("play", panel.html()), ("chapter", layout.PANEL)):
        text = f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>"
        (pages / "notebooks" / f"{name}.html").write_text(text)
    shutil.copytree(execute.NOTEBOOKS / "static", pages / "_static")
    alive.copy(pages)
    server = build.server(out, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request, browser, site):
    """A page that keeps what went wrong, reaches nothing but the book, and counts what it loads."""
    width, height = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, reduced_motion=motion(width)
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.wrong, page.loaded = [], []
    page.on("console", lambda m: page.wrong.append(m.text) if m.type != "log" else None)
    page.on("pageerror", lambda e: page.wrong.append(str(e)))
    page.on("request", lambda r: page.loaded.append(r.url))
    context.route("**/*", lambda r: r.continue_() if r.request.url.startswith(site) else r.abort())
    page.goto(f"{site}/notebooks/play.html", wait_until="load")
    yield page
    outside = [url for url in page.loaded if not url.startswith((site, "data:", "blob:"))]
    context.close()
    assert page.wrong == [] and outside == []


def busy():
    """Seconds that the browser's processes have computed so far: what a song takes on an idle machine,
    however loaded this one is."""
    every = psutil.Process().children(recursive=True)
    times = [process.cpu_times() for process in every if "chrom" in process.name()]
    return sum(time.user + time.system for time in times)


def motion(width):
    """Half of the pages are for somebody who wants none."""
    return "reduce" if width < 1000 else "no-preference"


def rest(data):
    """Changes that change nothing."""
    shape = data["shape"]
    gates = [1] * (2 * shape["blocks"] * shape["heads"])
    return {"strengths": [0] * len(data["levers"]), "gates": gates, "guidance": 2.0}


def song(data, prompt, seed=0, temperature=0.0, seconds=SECONDS, **changes):
    """What a worker is asked for."""
    frames = round(seconds * data["shape"]["frameRate"])
    how = {"seed": seed, "frames": frames, "temperature": temperature, "topK": 250}
    return {"prompt": prompt, "how": how, "changes": {**rest(data), **changes}}


# --------------------------------------------------------------------------------------- the graphs
def test_the_graphs_are_the_network(organism, prompted):
    some = [*prompted[:4], *ODD[:2]]
    ours = organism.generate(some, SECONDS, temperature=0, progress=False).tokens
    assert np.array_equal(browser.tokens(organism, some, SECONDS), ours)


def test_pushes_and_switched_off_heads_are_edits(organism):
    generator = np.random.default_rng(0)
    shape = browser.shape(organism)
    push = np.zeros((shape.blocks, 2, shape.width), np.float32)
    push[1, 0], push[4, 1] = generator.normal(size=(2, shape.width))
    heads = np.ones((2, shape.blocks, shape.heads), np.float32)
    heads[0, 2, 3], heads[1, 3, 1] = 0, 0.5
    edits = [
        activations.Edit("resid.1", add=push[1, 0]),
        activations.Edit("resid.4", add=push[4, 1], stream="uncond"),
        activations.Edit("head.2.3", multiply=0.0, stream="both"),
        activations.Edit("cross_head.3.1", multiply=0.5, stream="both"),
    ]
    prompt = ["a sad violin melody"]
    with activations.edit(organism, *edits):
        ours = organism.generate(prompt, SECONDS, temperature=0, progress=False).tokens
    plain = organism.generate(prompt, SECONDS, temperature=0, progress=False).tokens
    theirs = browser.tokens(organism, prompt, SECONDS, push, heads)
    assert np.array_equal(theirs, ours) and not np.array_equal(ours, plain)


def test_part_of_a_song_sounds_as_it_does_in_the_whole(organism):
    onnxruntime = pytest.importorskip("onnxruntime")
    clip = organism.generate(["a happy piano song"], 4.0, progress=False)
    codec = onnxruntime.InferenceSession(str(browser.files(organism) / "codec.onnx"))
    tokens = clip.tokens.astype(np.int32)
    (whole,) = codec.run(None, {"tokens": tokens})
    assert np.abs(whole - clip.audio[0]).max() < 1e-5
    around, hop = browser.shape(organism).context, whole.size // tokens.shape[-1]
    for margin, same in ((around, True), (2, False)):
        (part,) = codec.run(None, {"tokens": tokens[..., 40 - margin : 50 + margin]})
        middle = part[margin * hop : (margin + 10) * hop]
        assert (np.abs(middle - whole[40 * hop : 50 * hop]).max() < 1e-5) == same


def test_other_models_are_refused_and_told_why(miniature, organism, monkeypatch):
    with pytest.raises(ValueError, match="another codec than the organisms'"):
        browser.check(miniature)
    with pytest.raises(ValueError, match="dtype='float32'"):
        browser.check(load("organism", "cpu", "bfloat16"))
    handle = organism.lm.out_norm.register_forward_hook(lambda _module, _args, output: 0 * output)
    with pytest.raises(ValueError, match=r"organism must be as .* a hook.*out_norm"):
        browser.files(organism)
    handle.remove()
    with (
        activations.edit(organism, activations.Edit("resid.2", multiply=0.0)),
        pytest.raises(ValueError, match=r"as it was loaded.* the edit at resid\.2"),
    ):
        alive.Alive(organism, {}, {})
    monkeypatch.setattr(browser, "MOST", 1e6)
    with pytest.raises(ValueError, match=r"too large for a page: \d+ million weights are \d+ MB"):
        alive.Alive(organism, {}, {})


def test_a_page_without_its_graphs_is_refused(tmp_path):
    (tmp_path / "page.html").write_text('<div class="alive" data-graphs="0123456789abcdef"></div>')
    with pytest.raises(FileNotFoundError, match="make notebooks"):
        alive.copy(tmp_path)


# -------------------------------------------------------------------------------------- the scripts
@pytest.mark.parametrize("page", [(1280, 900)], indirect=True)
def test_scripts_compute_what_the_library_does(page, panel, organism, axes, autoencoder, prompted):
    script = "async (seeds) => { const { integers } = await import('/alive/noise.mjs');"
    script += " return seeds.map(([seed, first]) => [...integers(seed, first, 5)]); }"
    places = [(0, 0), (930, 7), (2**40 + 5, 2**33 + 1), (2**53 - 1, 2**32 - 2)]
    theirs = page.evaluate(script, places)
    ours = [noise.integers([seed], first, 5, "cpu")[0].tolist() for seed, first in places]
    assert theirs == ours

    script = "async ([texts, data]) => { const t = await import('/alive/tokenizer.mjs');"
    script += (
        " return texts.map((text) => [t.tokenize(text, data), t.unread(text, data).length]); }"
    )
    texts = [*prompted, *ODD, "\u00a0sad\u2003song\ufeff", "İstanbul ΟΔΟΣ"]
    tokenizer = organism.lm.condition_provider.conditioners["description"].t5_tokenizer
    theirs = page.evaluate(script, [texts, panel.data["tokenizer"]])
    assert [ids for ids, _ in theirs] == tokenizer(texts)["input_ids"]
    known = [not unread for _, unread in theirs]
    assert known[: len(prompted)] == [not organism.unread([text]) for text in prompted]

    shape = browser.shape(organism)
    streams = np.random.default_rng(1).normal(size=(shape.blocks, 2, shape.width)).astype("f4") * 3
    script = "async ([streams, data]) => { const r = await import('/alive/readings.mjs');"
    script += " const n = r.changed({ strengths: [0.5, 0, 0, 0], gates: [], guidance: 2 }, data);"
    script += " const pushed = streams.map((value, i) => value + n.push[i]);"
    script += " return { push: [...n.push], ...r.readings(pushed, n, data) }; }"
    read = page.evaluate(script, [streams.ravel().tolist(), panel.data])
    held = torch.from_numpy(streams[3, 0])
    active = sae.encode(autoencoder, held)[[2, 5]].detach().numpy()
    assert active.any() and np.allclose(read["active"], active, atol=1e-4)
    assert np.allclose(read["place"], [alive.along(v, streams[3, 0]) for v in axes.values()])
    push = np.reshape(read["push"], streams.shape)
    vector = axes["valence"]
    assert np.allclose(push[3, 0], 0.5 * vector.units[SITE] * vector.norms[SITE])
    assert np.count_nonzero(push[[0, 1, 2, 4, 5]]) == 0 == np.count_nonzero(push[3, 1])


@pytest.mark.parametrize("page", [(1280, 900)], indirect=True)
def test_a_browser_sings_the_same_songs(page, panel, organism, axes, prompted):
    data = panel.data
    chance = {"seed": 41, "temperature": 0.9}
    gates = rest(data)["gates"]
    gates[7] = 0  # self-attention, block 1, head 2
    changed = song(data, prompted[0], strengths=[0.2, 0, 0, 0], gates=gates)
    asked = [song(data, prompt) for prompt in prompted]
    sung = page.evaluate(SING, [[*asked, song(data, prompted[1], **chance), changed], data])
    ours = organism.generate(prompted, SECONDS, temperature=0, progress=False)
    same = [np.array_equal(s["tokens"], t) for s, t in zip(sung, ours.tokens, strict=False)]
    assert sum(same) == len(same) == SONGS
    assert np.abs(np.array(sung[0]["sound"]) - ours.audio[0]).max() < 1e-5
    held = activations.capture(organism, ours[:1], SITE, progress=False)[SITE].values[0]
    places = np.stack([alive.along(vector, held) for vector in axes.values()], 1)
    assert np.allclose(sung[0]["places"], places, atol=1e-3)

    drawn = organism.generate(prompted[1:2], SECONDS, 41, temperature=0.9, progress=False)
    assert np.array_equal(sung[SONGS]["tokens"], drawn.tokens[0])

    off = activations.Edit("head.1.2", multiply=0.0, stream="both")
    push = steering.edits(organism, axes["valence"], [0.2], steps=100)
    with activations.edit(organism, off, *push):
        steered = organism.generate(prompted[:1], SECONDS, temperature=0, progress=False)
    assert np.array_equal(sung[-1]["tokens"], steered.tokens[0])
    assert not np.array_equal(sung[-1]["tokens"], sung[0]["tokens"])


# ----------------------------------------------------------------------------------------- the page
def test_a_reader_plays_it(page, panel):
    """With the keyboard alone, as far as a song; nothing is loaded before it is asked for."""
    within = 15 if page.viewport_size["width"] > 1000 else 20
    graphs = [url for url in page.loaded if url.endswith((".onnx", ".wasm"))]
    assert graphs == []
    field = page.get_by_role("combobox", name="What should it sing?")
    field.fill("")
    field.press_sequentially("a gloo")
    assert page.get_by_role("option").all_inner_texts()[0].split() == ["gloomy", "sad"]
    field.press("ArrowDown")
    field.press("Enter")
    field.press_sequentially("violin songg")
    assert field.input_value() == "a gloomy violin songg"
    assert "songg" in page.locator(".alive .note").inner_text()
    field.press("Backspace")
    assert page.locator(".alive .note").inner_text() == ""
    page.get_by_role("button", name="Load the organism").press("Enter")
    sing = page.get_by_role("button", name="Sing", exact=False).first
    sing.wait_for(state="visible", timeout=PATIENCE)
    assert int(page.locator(".alive").get_attribute("data-bytes")) < 45e6
    loaded = {url.rsplit("/", 1)[-1] for url in page.loaded if "/alive/" in url}
    assert {"text.onnx", "step.onnx", "codec.onnx"} <= loaded
    page.get_by_role("slider", name="valence").press("End")
    before = busy()
    sing.press("Enter")
    state = "document.querySelector('.alive').alive"
    page.wait_for_function(f"{state}.level > 0.001", timeout=PATIENCE)
    page.get_by_role("slider", name="arousal").press("Home")
    page.locator(".alive summary").press("Enter")
    page.get_by_role("button", name="self-attention, block 1, head 2").press("Enter")
    page.wait_for_function(f"{state}.takes[0].seconds", timeout=PATIENCE)
    assert 0.1 < busy() - before < within
    assert page.locator(".alive .dot").get_attribute("visibility") == "visible"
    told = page.get_by_role("status")
    page.wait_for_function(
        "document.querySelector('.alive .said').textContent.startsWith('Sung')", timeout=PATIENCE
    )
    assert "valence" in told.inner_text()
    page.get_by_role("button", name="Again, unsteered").press("Enter")
    page.wait_for_function(
        f"{state}.takes.length === 2 && {state}.position > 0.3", timeout=PATIENCE
    )
    before = page.evaluate(f"[{state}.heard, {state}.position]")
    page.get_by_role("button", name="as sung").press("Enter")
    page.wait_for_timeout(200)
    after = page.evaluate(f"[{state}.heard, {state}.position]")
    assert (before[0], after[0]) == (1, 0) and before[1] != after[1] > 0
    first, second = page.evaluate(f"{state}.takes.map(({{ tokens }}) => tokens)")
    assert not np.array_equal(first, second)
    page.evaluate(OTHER)  # another sound of the page begins
    page.wait_for_function(f"{state}.position === null", timeout=PATIENCE)
    page.get_by_role("button", name="Listen again").press("Enter")
    page.wait_for_function(f"window.paused && {state}.position > 0", timeout=PATIENCE)
    page.get_by_role("button", name="Stop").press("Enter")
    assert page.evaluate(f"{state}.position") is None
    for width in (page.viewport_size["width"], 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


@pytest.mark.parametrize("page", [(390, 844)], indirect=True)
def test_a_chapter_opens_it_as_a_panel(page, site):
    """Nothing of it is loaded before it is opened; then it sings, and closed or not it fits. With
    it, its sound goes, which nobody could stop any more."""
    page.wait_for_load_state("networkidle")
    before = len(page.loaded)
    page.goto(f"{site}/notebooks/chapter.html", wait_until="networkidle")
    assert not any("/alive/" in url for url in page.loaded[before:])
    page.locator("summary").first.press("Enter")
    page.get_by_role("button", name="Load the organism").press("Enter")
    page.get_by_role("button", name="Sing", exact=False).first.press("Enter")
    state = "document.querySelector('.alive').alive"
    page.wait_for_function(f"{state}.level > 0.001", timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    border = "getComputedStyle(document.querySelector('.alive')).borderTopStyle"
    assert page.evaluate(border) == "solid"
    names = {url.rsplit("/", 1)[-1] for url in page.loaded[before:]}
    assert {"panel.json", "panel.css", "step.onnx"} <= names
    page.wait_for_function(
        "document.querySelector('.alive .said').textContent.startsWith('Sung')", timeout=PATIENCE
    )
    page.get_by_role("button", name="Listen again").press("Enter")
    page.wait_for_function(f"{state}.position > 0", timeout=PATIENCE)
    page.locator("summary").first.press("Enter")
    page.wait_for_function(f"{state}.position === null", timeout=PATIENCE)


def test_labels_are_said_as_one_says_them():
    said = {
        "tempo low": "tempo: slow",
        "arousal high": "arousal: high",
        "not energetic": "anything but energetic",
        "sad": "sad",
    }
    assert {label: alive.in_words(label) for label in said} == said


def test_pages_and_notebooks_tell_whether_one_sings(panel):
    assert alive.sings(panel.html()) and alive.sings(json.dumps(panel.html()))
    assert not alive.sings(layout.PANEL)


def test_the_book_is_served_to_this_machine_alone(site):
    for file, kind in (
        ("page.mjs", "text/javascript"),
        ("runtime/ort-wasm-simd-threaded.wasm", "application/wasm"),
    ):
        with urlopen(f"{site}/alive/{file}") as answer:
            assert answer.headers["Content-Type"] == kind
    assert site.startswith("http://127.0.0.1:")


def test_opening_the_book_serves_it(tmp_path, monkeypatch, capsys):
    opened = []

    def serve(server):
        fetched = ThreadPoolExecutor(1).submit(lambda: urlopen(opened[0]).read())
        server.handle_request()
        opened.append(fetched.result())
        raise KeyboardInterrupt

    build.front(tmp_path).parent.mkdir(parents=True)
    build.front(tmp_path).write_text("the book")
    monkeypatch.setattr(build.webbrowser, "open", opened.append)
    monkeypatch.setattr(build._Server, "serve_forever", serve)
    monkeypatch.setenv("CI", "1")
    build.show(tmp_path)
    assert opened == []
    monkeypatch.delenv("CI")
    build.show(tmp_path)
    address, answer = opened
    assert answer == b"the book" and address.startswith("http://127.0.0.1:")
    assert address in capsys.readouterr().out


def test_features_are_called_as_one_says_it(panel):
    names = [feature["name"] for feature in panel.data["features"]]
    assert names == ["tempo: fast (feature 2)", "sad (feature 5)"]


def test_a_page_from_disk_says_how_to_serve_it(panel):
    assert "python -m lib.book open" in panel.html()
