"""The book: how a chapter is set up, what it decides and found, how it is executed and built.

========== =========================================================================================
chapter    the one way to set a chapter up: models, organisms beside, language, chapter 10's SAE
criteria   what the book decides, and what each organism must give: data
findings   what chapters found: kept, listed, and turned into verdicts (``from lib import results``)
provenance where a result comes from: weights, precision, device, code, rules, versions, date
doubts     what would change our mind, and whether it has happened
others     what other models gave, beside the one that a page is about
packs      results as one file that travels: exported here, imported elsewhere
execute    run the notebooks that changed
kernels    their kernels, forked from one process that has imported everything
layout     from a notebook to a page: answer first, code folded, terms and citations linked
glossary   the terms, linked where a page uses them first, and back
citations  the references, linked where a page cites them
takeaway   a chapter as a notebook to take away, and the links that open it in Colab and Binder
build      from executed notebooks to HTML pages, and a server for them
========== =========================================================================================

``python -m lib.book run | build | open | times | where | export | import`` does the last three from
a shell. Importing this package imports none of it: a notebook that records a finding needs no
papermill.
"""

import importlib

#: What the package answers for its modules, which are imported when they are asked for.
_HOME = {
    "NOTEBOOKS": "execute",
    "names": "execute",
    "needs": "execute",
    "parameters": "execute",
    "run": "execute",
    "times": "execute",
}


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
