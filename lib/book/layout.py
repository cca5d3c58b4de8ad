"""From an executed notebook to a page: the answer behind the question, code folded, citations and
terms linked. In JupyterLab a notebook stays as it was written.
"""

from collections.abc import Iterable, Mapping

import nbformat

from . import citations, glossary

#: How the output begins that answers a chapter's question, and the paragraph that asks it.
ANSWER, QUESTION = "**Verdict", "**Question"


def page(
    notebook: nbformat.NotebookNode, terms: Iterable[str], known: Mapping[str, Iterable[str]]
) -> tuple[nbformat.NotebookNode, list[str]]:
    """A notebook as a page shows it, and the terms of the glossary that it uses.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    terms : iterable of str
        From ``glossary.terms``.
    known : mapping
        From ``citations.sources``.
    """
    return linked(cited(folded(answer_first(notebook)), known), terms)


def title(notebook: nbformat.NotebookNode) -> str:
    """What a notebook is called."""
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
