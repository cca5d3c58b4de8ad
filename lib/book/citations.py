"""Citations as chapters write them ("Hewitt and Liang 2019"), made links to the page of references.

Notebooks hold plain text, which reads well in JupyterLab; links are made when pages are built, by
``sphinxcontrib-bibtex``.

>>> from lib.book import citations
>>> citations.linked("Probes (Hewitt and Liang 2019).", {"hewitt2019": ["Hewitt and Liang"]})
'Probes ({cite:t}`hewitt2019`).'
"""

import re
from collections.abc import Iterable, Mapping

from pybtex.database import Person, parse_file

from . import execute, glossary

FILE = "references.bib"


def sources() -> dict[str, list[str]]:
    """Every entry of the references: key -> how texts name its authors."""
    found = parse_file(str(execute.NOTEBOOKS / FILE)).entries
    return {key: names(entry.persons["author"]) for key, entry in found.items()}


def names(authors: Iterable[Person]) -> list[str]:
    """How a text may name some authors: all of them, or the first and "et al."."""
    last = [" ".join([*some.prelast_names, *some.last_names]) for some in authors]
    many = [f"{last[0]} et al."] if len(last) > 2 else []
    if "others" in last:
        return many
    *first, final = last
    return [f"{', '.join(first)} and {final}" if first else final, *many]


def linked(text: str, known: Mapping[str, Iterable[str]]) -> str:
    """A text with its citations linked, "(2019)" or "2019" behind the names.

    Parameters
    ----------
    text : str
        Markdown.
    known : mapping
        From :func:`sources`; the year ends the key.
    """
    for key, ways in known.items():
        year = key[-4:]
        for way in ways:
            spaced = r"\s+".join(map(re.escape, way.split()))
            pattern = re.compile(rf"(?<![\w-]){spaced},?\s+(?:\({year}\)|{year}(?!\w))")
            parts = glossary.APART.split(text)
            parts[::2] = [pattern.sub(f"{{cite:t}}`{key}`", part) for part in parts[::2]]
            text = "".join(parts)
    return text
