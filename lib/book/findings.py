"""What each chapter found, kept for the verdict table of the index and for later chapters.

One JSON file a model and chapter below ``results`` in the folder of :mod:`lib.cache`.

>>> from lib import results
>>> results.finding("Is it there?", "organism", True).answer
'yes'
"""

from pathlib import Path

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, field_validator, model_validator
from pydantic.dataclasses import dataclass

from .. import cache, check
from ..organism import world
from ..stats import Estimate
from .criteria import ANSWERS, criteria


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
        The criterion of ``rules.toml`` that gave the answer; a finding without one is exploratory.
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
        return check.choice("criterion", criterion, sorted(criteria()))

    @model_validator(mode="after")
    def _is_decided(self):
        """Only the rules decide, and they leave an estimate."""
        if self.criterion is not None:
            check.choice(f"The answer of {self.criterion!r}", self.answer, ANSWERS)
            if self.estimate is None:
                raise ValueError(f"A finding that decides {self.criterion!r} needs an estimate.")
        return self

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
        estimate), and decides (the criterion's property, or "exploratory").
    """
    rows = []
    for chapter, findings in read_all(model).items():
        for found in findings:
            rows.append(
                {
                    "chapter": chapter.split("_")[0],
                    "question": found.question,
                    "decides": _decided(found),
                    found.subject: _in_full(found),
                }
            )
    if not rows:
        return pd.DataFrame(columns=["chapter", "question", "decides"])
    asked = ["chapter", "question", "decides"]
    table = pd.DataFrame(rows).groupby(asked, sort=False).first().reset_index().fillna("")
    subjects = [column for column in table if column not in asked]
    return table[["chapter", "question", *subjects, "decides"]]


def _decided(found):
    """What a finding decides."""
    return criteria()[found.criterion].property if found.criterion else "exploratory"


def _in_full(found):
    """An answer with its estimate, which no line break may divide."""
    if found.estimate is None:
        return found.answer
    return found.answer + f" ({found.estimate})".replace(" ", "\u00a0")
