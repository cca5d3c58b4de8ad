"""Tests keep away from the book's own results: their artifacts go to a temporary folder."""

import os
import tempfile

os.environ["BOOK_ARTIFACTS"] = tempfile.mkdtemp(prefix="book-artifacts-")
os.environ.setdefault("TQDM_MININTERVAL", "5")
