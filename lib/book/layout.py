"""From an executed notebook to a page: the answer behind the question, code folded, citations and
terms linked. In JupyterLab a notebook stays as it was written.
"""

import re
from collections.abc import Iterable, Mapping

import nbformat

from . import citations, glossary

#: How the output begins that answers a chapter's question, and the paragraph that asks it.
ANSWER, QUESTION = "**Verdict", "**Question"
#: How the output begins that says what a notebook was computed with (``execute``).
COMPUTED = "*Computed with"
#: The tag of the cell whose figure answers a chapter's question.
MAIN = "main"
#: A panel in which the organism sings, once a reader opens it (``sing.js``).
PANEL = """\
<details class="singer"><summary>Hear the organism yourself: type words, press play, push it</summary>
<div class="alive" id="panel"><p>Here the organism sings in the served book: <code>make book</code>
opens it, and <code>python -m lib.book open</code> does so again.</p></div></details>"""


def page(
    notebook: nbformat.NotebookNode,
    terms: Iterable[str],
    known: Mapping[str, Iterable[str]],
    shared: str = "",
    rests: str = "",
    panel: str = "",
) -> tuple[nbformat.NotebookNode, list[str]]:
    """A notebook as a page shows it, and the terms of the glossary that it uses.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    terms : iterable of str
        From ``glossary.terms``.
    known : mapping
        From ``citations.sources``.
    shared : str
        A script that every page loads, so that no output needs to hold it.
    rests : str
        What the answer rests on, from ``findings.rests_on``.
    panel : str
        HTML that stands behind the answer and its figure.
    """
    ordered = folded(computed_last(answer_first(notebook, rests)))
    text, used = linked(cited(without(figure_first(ordered), shared), known), terms)
    return with_panel(text, panel), used


def dated(notebook: nbformat.NotebookNode, version: str) -> nbformat.NotebookNode:
    """A notebook that ends with the version of the book and the day on which it was executed."""
    ended = notebook.metadata.get("papermill", {}).get("end_time")
    results = f", with results of {ended[:10]}" if ended else ""
    last = nbformat.v4.new_markdown_cell(f"*Version {version} of this book{results}.*")
    return _but(notebook, cells=[*notebook.cells, last])


def title(notebook: nbformat.NotebookNode) -> str:
    """What a notebook is called."""
    return notebook.cells[0].source.splitlines()[0].removeprefix("# ")


def without(notebook: nbformat.NotebookNode, shared: str) -> nbformat.NotebookNode:
    """A notebook whose outputs lack a script."""
    return _but(notebook, cells=[_without(cell, shared) for cell in notebook.cells])


def _without(cell, shared):
    found = nbformat.from_dict(cell)
    for output in found.get("outputs", []):
        html = output.get("data", {}).get("text/html")
        if shared and html:
            output["data"]["text/html"] = html.replace(shared, "")
    return found


def cited(
    notebook: nbformat.NotebookNode, known: Mapping[str, Iterable[str]]
) -> nbformat.NotebookNode:
    """A notebook whose citations are linked to the references (``citations.sources``)."""
    return _with_texts(notebook, lambda text: citations.linked(text, known))


def linked(
    notebook: nbformat.NotebookNode, terms: Iterable[str]
) -> tuple[nbformat.NotebookNode, list[str]]:
    """A notebook whose first use of each term is linked to the glossary, and the terms it uses."""
    left = list(terms)

    def link(text):
        text, used = glossary.linked(text, left)
        left[:] = [term for term in left if term not in used]
        return text

    found = _with_texts(notebook, link)
    return found, [term for term in terms if term not in left]


def _with_texts(notebook, change):
    """A notebook with all its text changed, cell by cell."""
    cells = [
        _but(cell, source=change(cell.source)) if cell.cell_type == "markdown" else cell
        for cell in notebook.cells
    ]
    return _but(notebook, cells=cells)


def _but(node, **changes):
    """A copy of a notebook or cell with some parts changed."""
    return nbformat.from_dict({**node, **changes})


def answer_first(notebook: nbformat.NotebookNode, rests: str = "") -> nbformat.NotebookNode:
    """A notebook whose computed answer stands behind the paragraph that asks the question, in a box
    that says what the answer rests on.
    """
    first, *cells = notebook.cells
    answers = [answer for cell in cells for answer in _texts(cell, ANSWER)]
    parts = first.source.split("\n\n")
    asks = [number for number, part in enumerate(parts) if part.startswith(QUESTION)]
    if not answers or not asks:
        return notebook
    head = f"In short ({rests})" if rests else "In short"
    box = f":::{{admonition}} {head}\n:class: tip\n{answers[-1]}\n:::"
    parts.insert(asks[0] + 1, box)
    kept = [cell for cell in cells if not _texts(cell, ANSWER)]
    return _but(notebook, cells=[_but(first, source="\n\n".join(parts)), *kept])


def figure_first(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook that shows the figure of its main cell (tagged so) behind its answer, too."""
    first, *cells = notebook.cells
    begin, end, rest = first.source.partition("\n:::\n")
    drawn = [
        output
        for cell in cells
        if MAIN in cell.metadata.get("tags", [])
        for output in cell.outputs
        if "plotly-graph-div" in output.get("data", {}).get("text/html", "")
    ]
    if not end or not drawn:
        return notebook
    # a cell without a source would be left out
    again = nbformat.v4.new_code_cell(
        "# the main figure", metadata={"tags": ["remove-input"]}, outputs=[_elsewhere(drawn[-1])]
    )
    parts = [
        _but(first, source=f"{begin}{end}"),
        again,
        nbformat.v4.new_markdown_cell(rest.strip()),
    ]
    return _but(notebook, cells=[*parts, *cells])


def with_panel(notebook: nbformat.NotebookNode, panel: str) -> nbformat.NotebookNode:
    """A notebook with a panel behind its answer, and behind the figure that stands there."""
    first, *cells = notebook.cells
    begin, end, rest = first.source.partition("\n:::\n")
    if not end or not panel:
        return notebook
    text = [rest.strip()] if rest.strip() else []
    figure = [] if text else cells[:1]
    added = [nbformat.v4.new_markdown_cell(source) for source in (panel, *text)]
    head = _but(first, source=f"{begin}{end}")
    return _but(notebook, cells=[head, *figure, *added, *cells[len(figure) :]])


def _elsewhere(output):
    """An output that can stand on a page twice: its places have other names."""
    html = output["data"]["text/html"]
    for name in set(re.findall(r'id="([\w-]+)"', html)):
        html = html.replace(name, f"{name}-first")
    return _but(output, data={**output["data"], "text/html": html})


def computed_last(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook that says at its end what it was computed with: nobody reads a page for that."""
    told = [text for cell in notebook.cells for text in _texts(cell, COMPUTED)]
    cells = [
        _but(cell, outputs=[each for each in cell.outputs if not _says(each).startswith(COMPUTED)])
        if _texts(cell, COMPUTED)
        else cell
        for cell in notebook.cells
    ]
    return _but(notebook, cells=[*cells, *map(nbformat.v4.new_markdown_cell, told)])


def _texts(cell, beginning):
    """The texts among a cell's outputs that begin in some way."""
    texts = map(_says, cell.get("outputs", []))
    return [text for text in texts if text.startswith(beginning)]


def _says(output):
    return output.get("data", {}).get("text/markdown", "")


def folded(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Code is folded, and code that shows nothing is put before the code behind it. A reader opens it
    with a click.
    """
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tags = [*cell.metadata.get("tags", []), "hide-input"]
            cell = _but(cell, metadata={**cell.metadata, "tags": tags})
            before = cells[-1] if cells else None
            if before is not None and before.cell_type == "code" and not before.outputs:
                cell = _but(cell, source=f"{before.source}\n\n\n{cell.source}")
                cells.pop()
        cells.append(cell)
    return _but(notebook, cells=cells)
