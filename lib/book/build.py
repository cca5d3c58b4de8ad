"""Build the book's pages from executed notebooks, and open them."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import nbformat

from . import citations, execute, glossary

BUILD = execute.ROOT / "_build"
#: Where the book is served, unless somebody else is there: then at any port that is free.
PORT = 8625


def folder(model: str = execute.DEFAULT) -> Path:
    """Where the book about a model is built."""
    if model == execute.DEFAULT:
        return BUILD
    return BUILD / execute.folder(model).name


def front(out: Path = BUILD) -> Path:
    """The book's first page."""
    return Path(out) / "_build" / "html" / "index.html"


def pages(source: Path = execute.NOTEBOOKS, out: Path = BUILD) -> Path:
    """Build the book, with warnings as errors.

    Parameters
    ----------
    source : Path
        Folder of the executed notebooks.
    out : Path
        Where the book is built.

    Returns
    -------
    Path
        The folder of the HTML pages.

    Raises
    ------
    FileNotFoundError
        A notebook has not been executed.
    RuntimeError
        A warning.
    """
    source = Path(source)
    out = Path(out)
    execute.check_executed(source)
    book = _gather(source, out)
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    command = [tool, "build", str(book), "--path-output", str(out), "-W", "--keep-going", "-q"]
    if subprocess.run(command, cwd=out).returncode:
        raise RuntimeError("The book did not build without warnings: see the messages above.")
    from ..pages import alive  # importing it takes seconds, which opening the book does not

    alive.copy(front(out).parent)
    return front(out).parent


def _gather(source, out):
    """Copy all that the book is built from into one folder."""
    import plotly

    book = out / "source"
    shutil.rmtree(book, ignore_errors=True)
    (book / "notebooks").mkdir(parents=True)
    for file in ("_config.yml", "_toc.yml"):
        shutil.copy(execute.ROOT / file, book)
    _write_pages(source, book / "notebooks")
    shutil.copytree(execute.NOTEBOOKS / "static", book / "_static")
    shutil.copy(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", book / "_static")
    return book


def _write_pages(source, out):
    """Every notebook as a page, and the glossary with the pages that use its terms."""
    text = (execute.NOTEBOOKS / glossary.FILE).read_text(encoding="utf-8")
    terms = glossary.terms(text)
    known = citations.sources()
    chapters = {term: {} for term in terms}
    for name in execute.names():
        notebook = nbformat.read(source / f"{name}.ipynb", nbformat.NO_CONVERT)
        page, used = linked(cited(page_of(notebook), known), terms)
        nbformat.write(page, out / f"{name}.ipynb")
        for term in used:
            chapters[term][name] = _title(notebook)
    for file in (citations.FILE, "references.md"):
        shutil.copy(execute.NOTEBOOKS / file, out)
    (out / glossary.FILE).write_text(glossary.with_chapters(text, chapters), encoding="utf-8")


def _title(notebook):
    return notebook.cells[0].source.splitlines()[0].removeprefix("# ")


def cited(notebook: nbformat.NotebookNode, known) -> nbformat.NotebookNode:
    """A notebook whose citations are linked to the references (``citations.sources``)."""
    cells = [
        nbformat.from_dict({**cell, "source": citations.linked(cell.source, known)})
        if cell.cell_type == "markdown"
        else cell
        for cell in notebook.cells
    ]
    return nbformat.from_dict({**notebook, "cells": cells})


def linked(
    notebook: nbformat.NotebookNode, terms: Iterable[str]
) -> tuple[nbformat.NotebookNode, list[str]]:
    """A notebook whose first use of each term is linked to the glossary, and the terms it uses."""
    left = list(terms)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source, used = glossary.linked(cell.source, left)
            left = [term for term in left if term not in used]
            cell = nbformat.from_dict({**cell, "source": source})
        cells.append(cell)
    found = [term for term in terms if term not in left]
    return nbformat.from_dict({**notebook, "cells": cells}), found


#: How the output begins that answers a chapter's question, and the paragraph that asks it.
ANSWER, QUESTION = "**Verdict", "**Question"


def page_of(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook as a page shows it: its answer stands behind its question, and code is folded."""
    return folded(answer_first(notebook))


def answer_first(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook whose computed answer stands behind the paragraph that asks the question."""
    first, *cells = notebook.cells
    answers = [answer for cell in cells for answer in _answers(cell)]
    parts = first.source.split("\n\n")
    asks = [number for number, part in enumerate(parts) if part.startswith(QUESTION)]
    if not answers or not asks:
        return notebook
    box = f":::{{admonition}} In short\n:class: tip\n{answers[-1]}\n:::"
    parts.insert(asks[0] + 1, box)
    first = nbformat.from_dict({**first, "source": "\n\n".join(parts)})
    kept = [cell for cell in cells if not _answers(cell)]
    return nbformat.from_dict({**notebook, "cells": [first, *kept]})


def _answers(cell):
    """The answers among a cell's outputs."""
    texts = [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
    return [text for text in texts if text.startswith(ANSWER)]


def folded(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Code is folded, and code that shows nothing is put before the code behind it. A reader opens it
    with a click.
    """
    cells = []
    for cell in notebook.cells:
        before = cells[-1] if cells else None
        if cell.cell_type == "code":
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            if before is not None and before.cell_type == "code" and not before.outputs:
                cell.source = f"{before.source}\n\n\n{cell.source}"
                cells.pop()
        cells.append(cell)
    return nbformat.from_dict({**notebook, "cells": cells})


def show(out: Path = BUILD) -> None:
    """Serve the built book on this machine alone and open it in a browser, until it is interrupted.

    Pages whose organism sings load files, which browsers refuse to a page that is opened from disk.
    Nothing is served where nobody is to see it (``CI`` is set).

    Raises
    ------
    FileNotFoundError
        It has not been built.
    """
    if not front(out).exists():
        raise FileNotFoundError(f"There is no book at {front(out)}. Run 'make book' first.")
    if os.environ.get("CI"):
        return
    with server(out) as serving:
        address = f"http://127.0.0.1:{serving.server_port}/index.html"
        print(f"The book is at {address} until you press Ctrl-C here.", flush=True)
        webbrowser.open(address)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print()


def server(out: Path = BUILD, port: int = PORT) -> http.server.ThreadingHTTPServer:
    """A server of the built book's files, on the loopback address: nobody else reaches it."""
    handler = functools.partial(_Files, directory=str(front(out).parent))
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError:
        return _Server(("127.0.0.1", 0), handler)


class _Server(http.server.ThreadingHTTPServer):
    """One that says nothing of a browser which has gone before it was answered."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Files(http.server.SimpleHTTPRequestHandler):
    """Files with the types that browsers ask for, whatever this machine calls them; no log."""

    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *args):
        pass
