"""The page in which an organism sings, in headless Chromium: what a reader waits for and whether it is
the same song.

Prints megabytes that are loaded, seconds until it can sing, seconds for a song of six seconds (as a
reader waits, and as the browser computes: on a loaded machine only the second says something) on a
desktop's and a phone's viewport, and how many of 20 songs are PyTorch's token by token. Where the book
is built, also seconds until the first sound of its front page can be played.
"""

import shutil
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
#: By name, and where macOS has it.
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
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


def a_browser():
    """The program of a browser on this machine; None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


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
    times = [process.cpu_times() for process in every if "chrom" in process.name().lower()]
    return sum(each.user + each.system for each in times)


def timed(function):
    """Seconds as a reader waits and as the browser computes, and what came out."""
    start, before = time.perf_counter(), busy()
    found = function()
    return time.perf_counter() - start, busy() - before, found


def main():
    """Measure the page, where there is a browser; the other benchmarks need none."""
    program = a_browser()
    if program is None:
        print(f"No browser found (looked for {', '.join(BROWSERS)}): the page was not measured.")
        return
    measure(program)


def measure(program):
    """Measure the page in a browser."""
    m = model.load("organism", "cpu")
    data, address = served(m)
    print(f"loaded: {data['bytes'] / 1e6:.1f} MB")
    prompts = list(corpus.table("organism", SONGS, seed=78)["caption"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, (width, height) in VIEWPORTS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            measure_songs(page, name, data, prompts[0])
        asked = [song(data, prompt, 0.0) for prompt in prompts]
        _, computed, sung = timed(lambda: page.evaluate(SING, [asked, data]))
        if build.front().exists():
            waited = first_sound(browser)
            print(f"front page: first sound after {waited:.1f} s, of a budget of {BUDGET:g} s")
        browser.close()
    ours = m.generate(prompts, SECONDS, temperature=0, progress=False).tokens
    same = [np.array_equal(each["tokens"], tokens) for each, tokens in zip(sung, ours, strict=True)]
    equal = f"{sum(same)} of {len(same)} songs of {SECONDS:g} s"
    print(f"the same as PyTorch's, token by token: {equal}")
    print(f"computed for each of them: {computed / len(same):.1f} s")


def served(m):
    """What the page holds, and its address: it is served until this ends."""
    ends = (["a happy melody", "a calm melody"], ["a tense melody", "a sad melody"])
    axis = steering.direction(m, *ends, activations.at(m, 0.57), seconds=1.0)
    panel = alive.Alive(m, {"valence": axis}, {"valence": axis})
    out = Path(tempfile.mkdtemp())
    pages = build.front(out).parent
    pages.mkdir(parents=True)
    build.front(out).write_text(f"<!doctype html>{panel.html()}")
    alive.copy(pages)
    server = build.server(out, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return embed.plain(panel.data), f"http://127.0.0.1:{server.server_port}/index.html"


def measure_songs(page, name, data, prompt):
    """Until it can sing, and a few songs."""
    waited, computed, _ = timed(lambda: page.evaluate(SING, [[], data]))
    print(f"{name}: ready after {waited:.1f} s ({computed:.1f} s computed)")
    few = [song(data, prompt, 0.9)] * 3
    _, computed, sung = timed(lambda: page.evaluate(SING, [few, data]))
    best = min(each["seconds"] for each in sung)
    print(
        f"{name}: {SECONDS:g} s of music in {best:.1f} s, the best of {len(few)}; loading and all "
        f"three {computed:.1f} s computed"
    )


if __name__ == "__main__":
    main()
