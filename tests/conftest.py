"""Tests keep away from the book's own results: their artifacts go to a temporary folder."""

import os
import tempfile

os.environ["BOOK_ARTIFACTS"] = tempfile.mkdtemp(prefix="book-artifacts-")
os.environ["BOOK_LISTENER_CLIPS"] = "240"
os.environ.setdefault("TQDM_MININTERVAL", "5")

import pytest


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
