"""The other models beside the one that a page is about: what they gave when they were run here, or
in an imported pack.

Their verdicts are read, never computed again, and are drawn as what they are: with their name,
where they come from, and a word where other rules or other code made them.
"""

from collections.abc import Mapping

import pandas as pd

from .. import cache
from ..organism import world
from ..pages import embed, figures
from . import findings as results
from .criteria import foretold

#: How an output of a notebook holds a plotly figure.
PLOTLY = "application/vnd.plotly.v1+json"
#: The chapters that ask about people: of songs that they rated, and of what they hear.
RATED, LISTENED = "40_real_music", "32_listening_test"


def beside(found: pd.DataFrame) -> pd.DataFrame:
    """Verdicts, and after them what all other models gave for the same criteria.

    Parameters
    ----------
    found : pd.DataFrame
        From ``rules.table`` or ``rules.overview``.

    Returns
    -------
    pd.DataFrame
        The same table where there are no others; else with their rows at the end, each in a
        "world" of its own that says where it comes from, and with a column recorded: whether a row
        is one of these.
    """
    asked = found.drop_duplicates("criterion").set_index("criterion", drop=False)
    answered = {(results.title(row.model), row.criterion) for row in found.itertuples()}
    rows = []
    for title in results.models():
        wanted = {name for name in asked.index if (title, name) not in answered}
        kept = _that_decide(title, wanted)
        about = {"model": title, "world": f"{title} ({_source(kept)})"}
        for record in kept.values():
            for verdict in _own(record, title):
                if verdict.criterion in wanted:
                    rows.append({**asked.loc[verdict.criterion], **about, **_answered(verdict)})
    if not rows:
        return found
    others = pd.DataFrame(rows).drop(columns=["p", "power"], errors="ignore").assign(recorded=True)
    return pd.concat([found.assign(recorded=False), others], ignore_index=True)


def _that_decide(title, criteria):
    """The records of a model that decide one of some criteria, by chapter."""
    return {
        chapter: record
        for chapter, record in results.of_this_book(title).items()
        if any(found.criterion in criteria for found in _own(record, title))
    }


def _own(record, title):
    """What a record says of the model itself; its controls were asked again, or can be."""
    return [found for found in record.findings if found.subject == title]


def _answered(verdict):
    """What is the model's own in a row."""
    estimate = verdict.estimate
    return {
        "foretold": foretold(verdict.subject, verdict.criterion),
        "answer": verdict.answer,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
    }


def _source(kept):
    """Where records come from, in few words: the last day, and what differs from here."""
    days = [record.provenance.day for record in kept.values() if record.provenance]
    said = ["imported"] if any(record.imported for record in kept.values()) else []
    said.append(max(days, default="nobody knows when"))
    for what, chapters in differences(kept).items():
        said.append(what if len(chapters) == len(kept) else f"partly {what}")
    return ", ".join(said)


def differences(kept: Mapping[str, results.Record]) -> dict[str, list[str]]:
    """What records were made with that is not what is here now -> the chapters of which it holds."""
    found = {}
    for chapter, record in kept.items():
        told = record.provenance
        for what in told.differences(chapter) if told else ["unknown rules and code"]:
            found.setdefault(what, []).append(chapter)
    return found


# ---------------------------------------------------------------------------------- the verdict page
def evidence(model: str) -> pd.DataFrame:
    """Every finding of the book's chapters about a model as ``results.evidence`` has it, and beside
    it what the other models gave: a column each."""
    own = results.title(model)
    rows = []
    for title in [own, *_others(own)]:
        kept = results.of_this_book(title)
        for chapter, record in kept.items():
            if title == own:
                rows += [(chapter, found, found.subject) for found in record.findings]
            else:
                column = f"{title} ({_source(kept)})"
                rows += [(chapter, found, column) for found in _own(record, title)]
    rows.sort(key=lambda row: row[0])
    return results.tabulated(rows)


def scope(model: str) -> pd.DataFrame:
    """What the answers of a page rest on: measured, simulated or not run.

    Returns
    -------
    pd.DataFrame
        Columns what and basis: of model organisms, released MusicGens, other MusicGens (where any
        was measured), songs that people rated and people who listened.
    """
    from ..musicgen import loading  # importing it takes seconds, which nothing else here needs

    own = results.title(model)
    known = [title for title in [own, *_others(own)] if results.of_this_book(title)]
    organisms = [title for title in known if world.of(title) is not None]
    released = [title for title in known if title in loading.RELEASED]
    further = [title for title in known if title not in {*organisms, *released}]
    rows = [
        ("model organisms, whose truth is known", "measured" if organisms else "not run"),
        ("released MusicGens", f"measured: {', '.join(released)}" if released else "not run"),
    ]
    if further:
        rows.append(("other MusicGens", f"measured: {', '.join(further)}"))
    for what, chapter in (("songs that people rated", RATED), ("people who listen", LISTENED)):
        found = [each for title in known for each in _found(title, chapter)]
        bases = {each.basis for each in found}
        rows.append((what, "measured" if "measured" in bases else "".join(bases) or "not run"))
    return pd.DataFrame(rows, columns=["what", "basis"])


def _found(title, chapter):
    kept = results.of_this_book(title).get(chapter)
    return kept.findings if kept else []


def _others(own):
    return [title for title in results.models() if title != own]


def sources(model: str) -> pd.DataFrame:
    """Where the results of every model come from: one row a model, the page's own first.

    Returns
    -------
    pd.DataFrame
        No rows where no other model has results. Where the chapters of a model come from different
        weights, machines or versions, all are named.
    """
    own = results.title(model)
    others = _others(own)
    if not others:
        return pd.DataFrame()
    return pd.DataFrame([_row(title) for title in [own, *others] if results.of_this_book(title)])


def _row(title):
    kept = results.of_this_book(title)
    told = [record.provenance for record in kept.values() if record.provenance]
    imported = any(record.imported for record in kept.values())
    here = any(record.imported is None for record in kept.values())
    ran = ["here"] * here + ["imported"] * imported
    return {
        "model": title,
        "run": " and ".join(ran),
        "when": _each(p.day for p in told),
        "weights": _each(_weights(p) for p in told),
        "precision": _each(p.dtype for p in told),
        "device": _each(p.device for p in told),
        "versions": _each(f"{n} {v}" for p in told for n, v in p.versions.items()),
        "rules and code": _remarks(kept),
    }


def _weights(found):
    """The commit on the hub, or else the hash of all weights: as much of it as tells them apart."""
    if found.revision:
        return f"commit {found.revision[:8]}"
    return found.fingerprint and f"hash {found.fingerprint[:8]}"


def _each(values):
    """All different values; "not told" of none."""
    return ", ".join(sorted({value for value in values if value})) or "not told"


def _remarks(kept):
    """By what a model's results were made, where that is not what is here now."""
    said = []
    for what, chapters in differences(kept).items():
        numbers = ", ".join(chapter.split("_")[0] for chapter in chapters)
        said.append(f"{what} (chapters {numbers})")
    return "; ".join(said) or "as here"


# ------------------------------------------------------------------------------------ executed copies
def refresh(notebook) -> bool:
    """Draw the figures of verdicts in an executed notebook again, with the other models as they are
    now; whether any has changed.

    A chapter takes minutes, or hours of a large model, and nothing in it has changed but what
    stands beside it.
    """
    changed = False
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            again = _again(output.get("data", {}).get(PLOTLY, {}).get("layout", {}))
            if again is not None:
                output["data"].update(again)
                changed = True
    return changed


def _again(layout):
    """A figure of verdicts as it would be now; None of others, and where nothing has changed."""
    rows = layout.get("meta", {}).get("verdicts")
    if not rows or "criterion" not in rows[0]:
        return None
    drawn = pd.DataFrame(rows)
    own = drawn
    if "recorded" in drawn:
        own = drawn[~drawn["recorded"].astype(bool)].drop(columns="recorded")
    now = beside(own)
    if cache.digest(embed.plain(now.to_dict("records"))) == cache.digest(embed.plain(rows)):
        return None
    return figures.verdicts(now, layout["title"]["text"])._repr_mimebundle_()
