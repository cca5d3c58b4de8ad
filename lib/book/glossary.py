"""Terms of the glossary, linked where a page uses them first, and back.

``notebooks/glossary.md`` explains them. Notebooks hold plain text, which reads well in JupyterLab;
links are made when pages are built.

>>> from lib.book import glossary
>>> glossary.linked("A *site* of the model.", ["site"])
('A *{term}`site <site>`* of the model.', ['site'])
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial

FILE = "glossary.md"
#: What is no running text: code, links, headings, rows of tables, directives.
APART = re.compile(
    r"(```.*?```|:::.*?:::|`[^`]*`|\[[^\]]*\]\([^)]*\)|^#.*?$|^\|.*?$|\{[^}]*\}`[^`]*`)",
    re.S | re.M,
)
_DEFINED = re.compile(r"^(?! )(\S.*)\n((?:  .*\n?)+)", re.M)


def terms(text: str) -> dict[str, str]:
    """The terms of a glossary page, with what explains them."""
    (inside,) = re.findall(r"```\{glossary\}\n(.*?)```", text, re.S)
    return {term: " ".join(said.split()) for term, said in _DEFINED.findall(inside)}


def linked(text: str, wanted: Iterable[str]) -> tuple[str, list[str]]:
    """A text with the first use of each term linked.

    Parameters
    ----------
    text : str
        Markdown.
    wanted : iterable of str
        Longer terms come first, or a part of one would be linked.

    Returns
    -------
    text : str
    used : list of str
        The terms that were found.
    """
    used = []
    for term in sorted(wanted, key=len, reverse=True):
        words = r"\s+".join(map(re.escape, term.split()))
        pattern = re.compile(rf"(?<![\w-])({words}(?:s|es)?)(?![\w-])", re.I)
        parts = APART.split(text)
        for number in range(0, len(parts), 2):
            found, count = pattern.subn(partial(_role, term), parts[number], count=1)
            if count:
                parts[number] = found
                used.append(term)
                break
        text = "".join(parts)
    return text, used


def _role(term, match):
    return f"{{term}}`{' '.join(match[1].split())} <{term}>`"


def with_chapters(text: str, chapters: Mapping[str, Mapping[str, str]]) -> str:
    """A glossary page on which every term names the chapters that use it.

    Parameters
    ----------
    text : str
        The page.
    chapters : mapping
        Term -> file of a chapter -> its title.
    """

    def named(match):
        term, said = match.groups()
        links = [f"[{title}]({file})" for file, title in chapters.get(term, {}).items()]
        return f"{term}\n{said}" + (f"\n  Used in: {', '.join(links)}.\n" if links else "")

    return _DEFINED.sub(named, text)
