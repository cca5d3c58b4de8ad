"""Tests keep away from the book's own results: their artifacts go to a temporary folder."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

ARTIFACTS = Path(tempfile.mkdtemp(prefix="book-artifacts-"))
os.environ["BOOK_ARTIFACTS"] = str(ARTIFACTS)
os.environ["BOOK_LISTENER_CLIPS"] = "60"
os.environ.setdefault("TQDM_MININTERVAL", "5")
#: What follows from the code and the organisms alone: whichever worker comes first makes it for all.
ALIKE = ("hearing", "browser")
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ALIKE:
        (ARTIFACTS / name).symlink_to(Path(os.environ["SHARED_ARTIFACTS"]) / name)
else:
    for name in ALIKE:
        (ARTIFACTS / name).mkdir()
    os.environ["SHARED_ARTIFACTS"] = str(ARTIFACTS)


def pytest_configure(config):
    """Files that run side by side have a core each: more threads would stand in each other's way.

    Workers inherit it, and so numpy does, which a plugin of theirs imports before this file.
    """
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")


def pytest_unconfigure():
    shutil.rmtree(ARTIFACTS, ignore_errors=True)


@pytest.fixture(scope="session")
def organism():
    from lib import model

    return model.load("organism", "cpu")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A checkpoint folder in the released format."""
    import released

    return released.write(tmp_path_factory.mktemp("musicgen-miniature"))


@pytest.fixture(scope="session")
def miniature(folder):
    from lib import model

    return model.load(str(folder), "cpu")


def pytest_collection_modifyitems(items):
    """What waits in a browser in vain is tried once more, and the summary says so.

    A loaded machine keeps a browser waiting now and then; a fault of ours does so twice.
    """
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"]))


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        message = (
            f"No browser found (looked for {', '.join(BROWSERS)}): the built pages were not "
            "checked."
        )
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"],
        )
        yield browser
        browser.close()
