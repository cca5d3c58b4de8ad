"""What each notebook found, kept for the verdict table of the index and for later chapters.

One JSON file a notebook and model under ``artifacts/results``; ``BOOK_ARTIFACTS`` moves the folder (tests do).
"""

import json
import os
from pathlib import Path

import pandas as pd

from lib.stats import Estimate

ARTIFACTS = Path(os.environ.get("BOOK_ARTIFACTS", Path(__file__).parent.parent / "artifacts"))


def record(notebook: str, model: str, findings: list[dict]) -> None:
    """Keep what a notebook found about a model, replacing what it found before.

    Parameters
    ----------
    notebook : str
        File name without suffix.
    model : str
    findings : list of dict
        Each with ``question``, ``subject`` (which model it is about), ``answer`` (a short text) and ``estimate``
        (a ``stats.Estimate`` or None).
    """
    for finding in findings:
        if missing := {"question", "subject", "answer", "estimate"} - set(finding):
            raise ValueError(f"A finding needs {sorted(missing)}. Got {finding!r}.")
    folder = ARTIFACTS / "results" / model.replace("/", "--")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{notebook}.json").write_text(json.dumps(findings, indent=1))


def verdicts(model: str) -> pd.DataFrame:
    """Every recorded finding for a model: one row a question, one column a subject, in the order of the notebooks."""
    rows = []
    for file in sorted((ARTIFACTS / "results" / model.replace("/", "--")).glob("*.json")):
        for finding in json.loads(file.read_text()):
            estimate = finding["estimate"] and Estimate(*finding["estimate"])
            answer = finding["answer"] + (f" ({estimate})" if estimate else "")
            rows.append({"chapter": file.stem, "question": finding["question"], finding["subject"]: answer})
    if not rows:
        return pd.DataFrame(columns=["chapter", "question"])
    return pd.DataFrame(rows).groupby(["chapter", "question"], sort=False).first().reset_index().fillna("")
