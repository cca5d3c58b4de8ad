"""The page in which an organism sings, in headless Chromium: what a reader waits for and whether it is
the same song.

Prints megabytes that are loaded, seconds until it can sing, seconds for a song of six seconds (as a
reader waits, and as the browser computes: on a loaded machine only the second says something) on a
desktop's and a phone's viewport, and how many of 20 songs are PyTorch's token by token. Where the book
is built, also seconds until the first sound of its front page can be played.
"""

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import sync_playwright

from lib import activations, model, steering
from lib.book import build
from lib.organism import corpus
from lib.pages import alive, embed

SING = (Path(__file__).parents[1] / "tests" / "sing.js").read_text()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VIEWPORTS = {"desktop": (1280, 900), "phone": (390, 844)}
SECONDS = 6.0
SONGS = 20
PATIENCE = 10 * 60 * 1000
BUDGET = 2.0  # seconds until the front page can be heard
#: A promise of the seconds from navigation until the first player can play.
FIRST_SOUND = """new Promise((done) => {
    const audio = document.querySelector('.sound audio');
    audio.oncanplay = () => done(performance.now() / 1000);
    audio.preload = 'auto';
    audio.load();
})"""


def song(data, prompt, temperature):
    """What a worker is asked for."""
    shape = data["shape"]
    frames = round(SECONDS * shape["frameRate"])
    how = {"seed": 1, "frames": frames, "temperature": temperature, "topK": 250}
    gates = [1] * (2 * shape["blocks"] * shape["heads"])
    changes = {"strengths": [0] * len(data["levers"]), "gates": gates}
    return {"prompt": prompt, "how": how, "changes": {**changes, "guidance": 2.0}}


def first_sound(browser):
    """Seconds from navigation until the first sound of the built book's front page can be played."""
    with build.server(port=0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        page = browser.new_page()
        address = f"http://127.0.0.1:{serving.server_port}/notebooks/index.html"
        page.goto(address, wait_until="domcontentloaded")
        seconds = page.evaluate(FIRST_SOUND)
        page.close()
        serving.shutdown()
    return seconds


def busy():
    """Seconds that the browser's processes have computed."""
    every = psutil.Process().children(recursive=True)
    times = [process.cpu_times() for process in every if "chrom" in process.name()]
    return sum(each.user + each.system for each in times)


def timed(function):
    """Seconds as a reader waits and as the browser computes, and what came out."""
    start, before = time.perf_counter(), busy()
    found = function()
    return time.perf_counter() - start, busy() - before, found


m = model.load("organism", "cpu")
ends = (["a happy melody", "a calm melody"], ["a tense melody", "a sad melody"])
axis = steering.direction(m, *ends, activations.at(m, 0.57), seconds=1.0)
panel = alive.Alive(m, {"valence": axis}, {"valence": axis})
data = embed.plain(panel.data)
out = Path(tempfile.mkdtemp())
pages = build.front(out).parent
pages.mkdir(parents=True)
build.front(out).write_text(f"<!doctype html>{panel.html()}")
alive.copy(pages)
server = build.server(out, 0)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/index.html"
print(f"loaded: {data['bytes'] / 1e6:.1f} MB")

found = next(filter(None, map(shutil.which, BROWSERS)), None)
if found is None:
    sys.exit("No browser found: the page was not measured.")
prompts = list(corpus.table("organism", SONGS, seed=78)["caption"])
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
    for name, (width, height) in VIEWPORTS.items():
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        waited, computed, _ = timed(lambda page=page: page.evaluate(SING, [[], data]))
        print(f"{name}: ready after {waited:.1f} s ({computed:.1f} s computed)")
        few = [song(data, prompts[0], 0.9)] * 3
        _, computed, sung = timed(lambda page=page, few=few: page.evaluate(SING, [few, data]))
        best = min(each["seconds"] for each in sung)
        print(
            f"{name}: {SECONDS:g} s of music in {best:.1f} s, the best of {len(few)}; loading and all "
            f"three {computed:.1f} s computed"
        )
    asked = [song(data, prompt, 0.0) for prompt in prompts]
    _, computed, sung = timed(lambda: page.evaluate(SING, [asked, data]))
    if build.front().exists():
        waited = first_sound(browser)
        print(f"front page: first sound after {waited:.1f} s, of a budget of {BUDGET:g} s")
    browser.close()
ours = m.generate(prompts, SECONDS, temperature=0, progress=False).tokens
same = [np.array_equal(each["tokens"], tokens) for each, tokens in zip(sung, ours, strict=True)]
print(f"the same as PyTorch's, token by token: {sum(same)} of {len(same)} songs of {SECONDS:g} s")
print(f"computed for each of them: {computed / len(same):.1f} s")
