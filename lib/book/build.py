"""Build the book's pages from executed notebooks, and open them."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import ClassVar

import nbformat

from . import citations, execute, findings, glossary, layout, takeaway

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
    """Build the book, with warnings as errors, in place of the one that was built before.

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
    # pages of chapters that were renamed or deleted would stay
    shutil.rmtree(out / "_build", ignore_errors=True)
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    command = [tool, "build", str(book), "--path-output", str(out), "-W", "--keep-going", "-q"]
    if subprocess.run(command, cwd=out).returncode:
        raise RuntimeError("The book did not build without warnings: see the messages above.")
    # importing these takes seconds, which opening the book does not
    from ..pages import alive, runtime

    built = front(out).parent
    alive.copy(built)
    takeaway.write(built / "_sources" / "notebooks")
    # put there now: every script that is there before is loaded by every page
    for file in runtime.files("plotly"):
        shutil.copy(file, built / "_static")
    return built


def _gather(source, out):
    """Copy all that the book is built from into one folder."""
    book = out / "source"
    shutil.rmtree(book, ignore_errors=True)
    (book / "notebooks").mkdir(parents=True)
    shutil.copy(execute.ROOT / "_toc.yml", book)
    config = (execute.ROOT / "_config.yml").read_text(encoding="utf-8")
    place = takeaway.address(takeaway.citation())
    (book / "_config.yml").write_text(takeaway.configured(config, place), encoding="utf-8")
    _write_pages(source, book / "notebooks")
    shutil.copytree(execute.NOTEBOOKS / "static", book / "_static")
    (book / "_static" / "wavesurfer.js").write_text(_library(), encoding="utf-8")
    return book


def _library():
    """wavesurfer.js as outputs hold it."""
    from ..pages import embed  # importing it takes seconds, which opening the book does not

    return embed.library()


def _write_pages(source, out):
    """Every notebook as a page, and the glossary with the pages that use its terms."""
    from ..pages import alive  # importing it takes seconds, which opening the book does not

    text = (execute.NOTEBOOKS / glossary.FILE).read_text(encoding="utf-8")
    terms = glossary.terms(text)
    known = citations.sources()
    chapters = {term: {} for term in terms}
    version = takeaway.citation()["version"]
    files = {name: source / f"{name}.ipynb" for name in execute.names()}
    singing = [name for name, file in files.items() if alive.sings(file.read_text("utf-8"))]
    for name, file in files.items():
        notebook = nbformat.read(file, nbformat.NO_CONVERT)
        panel = layout.PANEL if singing and name not in singing else ""
        rests = _rests_on(name, notebook)
        page, used = layout.page(notebook, terms, known, _library(), rests, panel)
        nbformat.write(layout.dated(page, version), out / f"{name}.ipynb")
        for term in used:
            chapters[term][name] = layout.title(notebook)
    for file in (citations.FILE, "references.md"):
        shutil.copy(execute.NOTEBOOKS / file, out)
    (out / glossary.FILE).write_text(glossary.with_chapters(text, chapters), encoding="utf-8")


def _rests_on(chapter, notebook):
    """What a chapter's answer rests on; nothing is said of a notebook that papermill did not execute."""
    model = notebook.metadata.get("papermill", {}).get("parameters", {}).get("model")
    return findings.rests_on(chapter, model) if model else ""


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
