"""What each notebook found, kept for the verdict table of the index and for later chapters.

One JSON file a notebook and model under ``artifacts/results``; ``BOOK_ARTIFACTS`` moves the folder (tests do).
"""

import json
import os
from pathlib import Path

import pandas as pd

from lib.stats import Estimate

ARTIFACTS = Path(os.environ.get("BOOK_ARTIFACTS", Path(__file__).parent.parent / "artifacts"))

#: What the book decides, by key: the original study's four criteria, then two of ours.
CRITERIA = {
    "activations": "Activations tell emotions apart",
    "features": "Features are about one thing, and about emotion",
    "causes": "Causes act as in human hearing",
    "steering": "Steering moves emotion coherently",
    "path": "Tempo acts on arousal through energy",
    "quality": "Steering costs no more than a random push of the same size",
}
#: What each organism must give, set by how it was made: organism, organism-decoupled, organism-shuffled.
KNOWN = {
    "organism": dict.fromkeys(("activations", "features", "causes", "steering", "path"), "yes"),
    "organism-decoupled": {**dict.fromkeys(("activations", "features", "causes", "steering"), "yes"), "path": "no"},
    "organism-shuffled": dict.fromkeys(("activations", "features", "causes", "steering", "path"), "no"),
}


def finding(
    question: str, subject: str, answer: bool | str | None, estimate=None, criterion: str | None = None
) -> dict:
    """One finding for :func:`record`.

    Parameters
    ----------
    question, subject : str
        What was asked, and about which model.
    answer : bool, None or str
        Yes, no, cannot tell; a text says how much where there is no yes or no.
    estimate : stats.Estimate, optional
    criterion : str, optional
        Key of ``CRITERIA`` that a yes or no decides.
    """
    if criterion is not None and criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {sorted(CRITERIA)}. Got {criterion!r}.")
    if not isinstance(answer, str):
        answer = "cannot tell" if answer is None else "yes" if answer else "no"
    return {"question": question, "subject": subject, "answer": answer, "estimate": estimate, "criterion": criterion}


def record(notebook: str, model: str, findings: list[dict]) -> None:
    """Keep what a notebook found about a model, replacing what it found before.

    Parameters
    ----------
    notebook : str
        File name without suffix.
    model : str
    findings : list of dict
        As :func:`finding` makes them.
    """
    for finding in findings:
        if missing := {"question", "subject", "answer", "estimate"} - set(finding):
            raise ValueError(f"A finding needs {sorted(missing)}. Got {finding!r}.")
    folder = ARTIFACTS / "results" / model.replace("/", "--")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{notebook}.json").write_text(json.dumps(findings, indent=1))


def _kept(model):
    """Every recorded finding for a model, in the order of the notebooks, with its chapter."""
    files = sorted((ARTIFACTS / "results" / model.replace("/", "--")).glob("*.json"))
    return [{"chapter": f.stem, **found} for f in files for found in json.loads(f.read_text())]


def evidence(model: str) -> pd.DataFrame:
    """Every recorded finding for a model: one row a question, one column a subject, in the order of the notebooks."""
    rows = []
    for found in _kept(model):
        estimate = found["estimate"] and Estimate(*found["estimate"])
        answer = found["answer"] + (f" ({estimate})".replace(" ", "\u00a0") if estimate else "")
        row = {"chapter": found["chapter"].split("_")[0], "question": found["question"], found["subject"]: answer}
        rows.append(row | {"decides": CRITERIA.get(found.get("criterion"), "")})
    if not rows:
        return pd.DataFrame(columns=["chapter", "question"])
    table = pd.DataFrame(rows).groupby(["chapter", "question", "decides"], sort=False).first().reset_index().fillna("")
    return table[[*(c for c in table if c != "decides"), "decides"]]


def verdicts(model: str) -> pd.DataFrame:
    """One row a criterion, one column a subject: yes if all findings that decide it say yes, no if one says no, else cannot
    tell; how many of them say yes; and, of an organism, whether that is what was known beforehand (✓ or ✗)."""
    kept = [found for found in _kept(model) if found.get("criterion")]
    rows = []
    for criterion, name in CRITERIA.items():
        row = {"criterion": name}
        for subject in dict.fromkeys([model, *(found["subject"] for found in kept)]):
            of = (criterion, subject)
            said = [found["answer"].split(":")[0] for found in kept if (found["criterion"], found["subject"]) == of]
            row[subject] = _verdict(said, KNOWN.get(subject, {}).get(criterion))
        rows.append(row)
    return pd.DataFrame(rows)


def _verdict(said, known):
    if not said:
        return "cannot tell: not tested"
    answer = "no" if "no" in said else "yes" if set(said) == {"yes"} else "cannot tell"
    mark = "" if known is None or answer == "cannot tell" else " ✓" if answer == known else " ✗"
    return f"{answer}{mark} ({said.count('yes')} of {len(said)})"
