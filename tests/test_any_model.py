"""Every chapter runs on a released model: here on a miniature of the released format, with four codebooks at 50 Hz and T5."""

import jupytext
import pytest
from test_book import SMALL

from lib import book, results


@pytest.mark.parametrize("name", book.names())
def test_chapter_runs_on_the_released_format(name, folder):
    told = {**SMALL.get(name, {}), "model": str(folder)}
    there = {"__name__": name}
    for cell in jupytext.read(book.NOTEBOOKS / f"{name}.py").cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}.py", "exec"), there)
            there |= told if "parameters" in cell.metadata.get("tags", []) else {}
    if name not in ("00_meet_the_model", "02_activations", "index"):
        assert name[:2] in set(results.evidence(str(folder))["chapter"])
