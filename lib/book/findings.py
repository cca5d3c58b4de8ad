"""What each chapter found, kept for the verdict table of the index and for later chapters.

One JSON file a model and chapter below ``results`` in the folder of :mod:`lib.cache`.

>>> from lib import results
>>> results.finding("Is it there?", "organism", True).answer
'yes'
"""

from pathlib import Path

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass

from .. import cache, check
from ..organism import world
from ..stats import Estimate
from .criteria import CRITERIA, KNOWN


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="constants"))
class Finding:
    """An answer to one question about one model.

    Attributes
    ----------
    question, subject : str
        What was asked, and about which model.
    answer : str
        "yes", "no" or "cannot tell", or in words how much; True, False and None become the first
        three.
    estimate : stats.Estimate, optional
    criterion : str, optional
        Key of :data:`criteria.CRITERIA` that the answer decides.
    """

    question: str
    subject: str
    answer: str
    estimate: Estimate | None = None
    criterion: str | None = None

    @field_validator("answer", mode="before")
    @classmethod
    def _in_words(cls, answer):
        if isinstance(answer, str):
            return answer
        if answer is None:
            return "cannot tell"
        return "yes" if answer else "no"

    @field_validator("criterion")
    @classmethod
    def _exists(cls, criterion):
        if criterion is None:
            return None
        return check.choice("criterion", criterion, sorted(CRITERIA))

    @field_validator("estimate", mode="before")
    @classmethod
    def _plain_numbers(cls, estimate):
        """numpy's numbers are as good as Python's."""
        if estimate is None:
            return None
        value, low, high, n = estimate
        return Estimate(float(value), float(low), float(high), int(n))


_FINDINGS = TypeAdapter(list[Finding])


def finding(
    question: str,
    subject: str,
    answer: bool | str | None,
    estimate: Estimate | None = None,
    criterion: str | None = None,
) -> Finding:
    """One finding for :func:`record`; see :class:`Finding`. A subject given by path gets its name.

    Raises
    ------
    ValueError
        Unknown criterion.
    """
    return Finding(question, title(subject), answer, estimate, criterion)


def title(model: str) -> str:
    """What a model is called in findings.

    Its name; of one given by path, the folder's name and a hash of where it lies, because two
    folders may have the same name.
    """
    folder = Path(model)
    is_path = folder.is_dir() or folder.is_absolute() or str(model).startswith(".")
    if world.of(model) or not is_path:
        return str(model)
    folder = folder.resolve()
    return f"{folder.name}-{cache.digest(str(folder))[:8]}"


def folder(model: str) -> Path:
    """Where the findings about a model are kept."""
    return cache.ROOT / "results" / title(model).replace("/", "--")


def record(chapter: str, model: str, findings: list[Finding]) -> None:
    """Keep what a chapter found about a model and its controls, replacing what it found before.

    Parameters
    ----------
    chapter : str
        The notebook's file name without suffix.
    model : str
        The model that the book is about.
    findings : list of Finding
        Or of dictionaries with its fields.

    Raises
    ------
    ValueError
        A field is missing or cannot be what it says.
    """
    valid = _FINDINGS.validate_python(findings)
    content = _FINDINGS.dump_json(valid, indent=1)
    about = {"chapter": chapter, "model": model}
    cache.write(folder(model) / f"{chapter}.json", content, about=about)


def read(chapter: str, model: str) -> list[Finding] | None:
    """What a chapter found about a model; None if it has found nothing, or its file is damaged."""
    content = cache.read(folder(model) / f"{chapter}.json")
    return None if content is None else _FINDINGS.validate_json(content)


def read_all(model: str) -> dict[str, list[Finding]]:
    """What every chapter found about a model, in the order of the chapters."""
    chapters = sorted(file.stem for file in folder(model).glob("*.json"))
    found = {chapter: read(chapter, model) for chapter in chapters}
    return {chapter: findings for chapter, findings in found.items() if findings is not None}


def evidence(model: str) -> pd.DataFrame:
    """Every recorded finding about a model: one row a question, one column a subject.

    Returns
    -------
    pd.DataFrame
        Columns chapter (its number), question, one for each subject (the answer, with its
        estimate), and decides (the criterion).
    """
    rows = []
    for chapter, findings in read_all(model).items():
        for found in findings:
            rows.append(
                {
                    "chapter": chapter.split("_")[0],
                    "question": found.question,
                    "decides": CRITERIA.get(found.criterion, ""),
                    found.subject: _in_full(found),
                }
            )
    if not rows:
        return pd.DataFrame(columns=["chapter", "question", "decides"])
    asked = ["chapter", "question", "decides"]
    table = pd.DataFrame(rows).groupby(asked, sort=False).first().reset_index().fillna("")
    subjects = [column for column in table if column not in asked]
    return table[["chapter", "question", *subjects, "decides"]]


def _in_full(found):
    """An answer with its estimate, which no line break may divide."""
    if found.estimate is None:
        return found.answer
    return found.answer + f" ({found.estimate})".replace(" ", "\u00a0")


def verdicts(model: str) -> pd.DataFrame:
    """What the findings about a model decide: one row a criterion, one column a subject.

    Yes if all findings that decide a criterion say yes, no if one says no, else cannot tell; in
    brackets how many say yes. Of an organism, ✓ or ✗: whether that is what was known beforehand.
    """
    decisive = [f for findings in read_all(model).values() for f in findings if f.criterion]
    subjects = dict.fromkeys([title(model), *(found.subject for found in decisive)])
    rows = []
    for criterion, statement in CRITERIA.items():
        row = {"criterion": statement}
        for subject in subjects:
            answers = [
                found.answer.split(":")[0]
                for found in decisive
                if found.criterion == criterion and found.subject == subject
            ]
            row[subject] = _verdict(answers, KNOWN.get(subject, {}).get(criterion))
        rows.append(row)
    return pd.DataFrame(rows)


def _verdict(answers, known):
    if not answers:
        return "cannot tell: not tested"
    if "no" in answers:
        verdict = "no"
    elif set(answers) == {"yes"}:
        verdict = "yes"
    else:
        verdict = "cannot tell"
    mark = ""
    if known is not None and verdict != "cannot tell":
        mark = " ✓" if verdict == known else " ✗"
    return f"{verdict}{mark} ({answers.count('yes')} of {len(answers)})"
