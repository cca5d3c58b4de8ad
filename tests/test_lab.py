"""The live pages in a real JupyterLab: a kernel answers what a reader asks of them."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jupytext
import pytest

HERE = Path(__file__).parent
PATIENCE = 180_000  # milliseconds, until a kernel has started and run


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of JupyterLab with one notebook in it."""
    folder = tmp_path_factory.mktemp("lab")
    jupytext.write(jupytext.read(HERE / "in_jupyterlab.py"), folder / "live.ipynb")
    places = ("CONFIG", "DATA", "RUNTIME")
    own = {f"JUPYTER_{place}_DIR": str(folder / place.lower()) for place in places}
    own["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    settings = ["--no-browser", "--allow-root", "--port=0", "--IdentityProvider.token="]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *settings, f"--ServerApp.root_dir={folder}"],
            cwd=folder,
            env=os.environ | own,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _address(server, folder)
        finally:
            server.terminate()
            server.wait(30)


def _address(server, folder):
    """Where the server says that it listens."""
    for _ in range(600):
        for file in (folder / "runtime").glob("jpserver-*.json"):
            # half written, it is read again
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads(file.read_text())["url"]
        if server.poll() is not None:
            break
        time.sleep(0.1)
    pytest.fail((folder / "log.txt").read_text())


@pytest.fixture(scope="module")
def notebook(lab, browser):
    """The notebook, with all its cells run."""
    page = browser.new_page(viewport={"width": 1400, "height": 2400})
    page.set_default_timeout(PATIENCE)
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(f"{lab}doc/tree/live.ipynb")
    # until then nothing in the menus can be chosen
    page.get_by_text("| Idle").wait_for()
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    failed = ".jp-OutputArea-output pre:has-text('Traceback')"
    page.wait_for_selector(f".explorer .card h3, {failed}")
    assert page.locator(failed).all_inner_texts() == []
    yield page
    page.close()


def test_the_pad_sings_where_it_is_asked(notebook):
    pad = notebook.locator(".pad").first
    pad.locator(".plane").focus()
    for _ in range(4):
        notebook.keyboard.press("ArrowUp")
    pad.get_by_role("button", name="Sing here").click()
    said = pad.locator(".sung p")
    said.first.wait_for()
    assert said.first.inner_text().startswith("Asked for valence +0.0, arousal +0.4; a listener")
    pad.get_by_role("button", name="Play").last.click()
    notebook.wait_for_function(
        "() => [...document.querySelectorAll('.sung audio')].some((a) => a.currentTime > 0.1)"
    )
    assert notebook.wrong == []


def test_the_explorer_shows_a_feature_that_its_page_does_not_hold(notebook):
    explorer = notebook.locator(".explorer").first
    assert explorer.locator(".list button").count() == 2
    explorer.get_by_label("Search features").fill("100")
    explorer.get_by_role("button", name="feature 100").click()
    card = explorer.locator(".card")
    card.get_by_role("heading", name="Feature 100: ").wait_for()
    assert card.locator(".clip .picture").count() > 0
    assert notebook.wrong == []
