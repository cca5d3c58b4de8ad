"""What each chapter found, and where it comes from: kept for the verdict table of the index, for
later chapters, and for the pages of other models.

One JSON file a model and chapter below ``results`` in the folder of :mod:`lib.cache`.

>>> from lib import results
>>> results.finding("Is it there?", "organism", True).answer
'yes'
"""

import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import (
    AwareDatetime,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from .. import cache, check
from ..organism import world
from ..stats import Estimate
from . import provenance
from .criteria import ANSWERS, criteria
from .provenance import Provenance

_CONFIG = ConfigDict(ser_json_inf_nan="constants")
#: The book's chapters as they are written; there are none beside an installed package.
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
#: What an answer rests on: what was asked about, or what stands in for it (raters that are programs,
#: where the question is about people).
BASES = ("measured", "simulated")


@dataclass(frozen=True, config=_CONFIG)
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
    basis : str
        One of :data:`BASES`: what the answer rests on.
    """

    question: str
    subject: str
    answer: str
    estimate: Estimate | None = None
    criterion: str | None = None
    basis: Literal["measured", "simulated"] = "measured"

    @field_validator("answer", mode="before")
    @classmethod
    def _in_words(cls, answer):
        if isinstance(answer, str):
            return answer
        if answer is None:
            return "cannot tell"
        if isinstance(answer, bool | np.bool_):
            return "yes" if answer else "no"
        remedy = "A number with its interval is the estimate; where nobody can tell, write None."
        check.refuse(ValueError, "answer", "a text, True, False or None", answer, remedy)

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
        try:
            value, low, high, n = estimate
            return Estimate(float(value), float(low), float(high), int(n))
        except TypeError as error:
            wanted = "four numbers: value, low, high, n"
            raise ValueError(f"estimate must be {wanted}. Got {estimate!r}.") from error


@dataclass(frozen=True, config=_CONFIG)
class Record:
    """What one chapter found about one model and its controls, and where that comes from.

    Attributes
    ----------
    findings : list of Finding
    provenance : Provenance, optional
        None in files from before it was kept.
    imported : datetime, optional
        When it came from a pack, in UTC; None of what was found on this machine.
    """

    findings: list[Finding]
    provenance: Provenance | None = None
    imported: AwareDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_before(cls, content):
        """Files from before provenance was kept hold the list alone."""
        return {"findings": content} if isinstance(content, list) else content


_FINDINGS = TypeAdapter(list[Finding])
_RECORD = TypeAdapter(Record)


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
    folders may have the same name. The same of an adapter, behind the model that it was added to.
    """
    folder = Path(model).expanduser()
    base, added, adapter = str(model).partition(f" + {os.sep}")  # as loading names it
    if added and not folder.is_dir():
        return f"{title(base)} + {_placed(Path(os.sep + adapter))}"
    is_path = folder.is_dir() or folder.is_absolute() or str(model).startswith(".")
    return str(model) if world.of(model) or not is_path else _placed(folder)


def _placed(folder):
    """A folder's name, and a hash of where it lies."""
    folder = folder.resolve()
    return f"{folder.name}-{cache.digest(str(folder))[:8]}"


def folder(model: str) -> Path:
    """Where the findings about a model are kept."""
    return place(title(model))


def place(title: str) -> Path:
    """Where the findings about a model are kept, by what it is called in them."""
    return cache.ROOT / "results" / title.replace("/", "--")


def record(chapter: str, model, findings: list[Finding], basis: str = "measured") -> None:
    """Keep what a chapter found about a model and its controls, replacing what it found before.

    Parameters
    ----------
    chapter : str
        The notebook's file name without suffix.
    model : Model or str
        The model that the book is about. Of a loaded one, its weights, precision and device are
        kept with the findings; of its name alone nobody knows them.
    findings : list of Finding
        Or of dictionaries with its fields.
    basis : str
        One of :data:`BASES`: what all of them rest on.

    Raises
    ------
    ValueError
        A field is missing or cannot be what it says.
    """
    check.choice("basis", basis, BASES)
    valid = [replace(found, basis=basis) for found in _FINDINGS.validate_python(findings)]
    is_name = isinstance(model, str | os.PathLike)
    called = title(model if is_name else model.name)
    loaded = None if is_name else model
    write(place(called), chapter, Record(valid, provenance.of(chapter, called, loaded)))


def write(folder: Path, chapter: str, record: Record) -> None:
    """Write one record into a folder of findings."""
    about = {"chapter": chapter, "model": folder.name}
    cache.write(folder / f"{chapter}.json", _RECORD.dump_json(record, indent=1), about=about)


def read(chapter: str, model: str) -> list[Finding] | None:
    """What a chapter found about a model; None if it has found nothing, or its file is damaged."""
    kept = _read(folder(model) / f"{chapter}.json")
    return None if kept is None else kept.findings


def _read(file):
    """A record; None, with a warning, of one that this code and its rules cannot read."""
    content = cache.read(file)
    if content is None:
        return None
    try:
        return _RECORD.validate_json(content)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        message = f"{file} is of another version of the book and does not count: {reason}"
        warnings.warn(message, stacklevel=3)
        return None


def read_all(model: str) -> dict[str, list[Finding]]:
    """What every chapter found about a model, in the order of the chapters."""
    return {chapter: kept.findings for chapter, kept in records(title(model)).items()}


def records(title: str) -> dict[str, Record]:
    """All records about a model, by what it is called in findings, in the order of the chapters."""
    files = sorted(place(title).glob("*.json"))
    kept = {file.stem: _read(file) for file in files}
    return {chapter: found for chapter, found in kept.items() if found is not None}


def of_this_book(title: str) -> dict[str, Record]:
    """The records about a model that count on a page, in the order of the chapters.

    What was found on this machine by a chapter that the book no longer has (it was renamed or
    deleted) does not count. What was imported does, and so does all of it where there are no
    notebooks.
    """
    chapters = {file.stem for file in NOTEBOOKS.glob("*.py")}
    has_notebooks = "index" in chapters
    return {
        chapter: kept
        for chapter, kept in records(title).items()
        if chapter in chapters or kept.imported is not None or not has_notebooks
    }


def models() -> list[str]:
    """What the models are called of which there are records here, run or imported."""
    names = set()
    for folder in (cache.ROOT / "results").glob("[!.]*/"):
        kept = next((found for file in folder.glob("*.json") if (found := _read(file))), None)
        if kept is not None:
            named = kept.provenance.model if kept.provenance else folder.name.replace("--", "/")
            names.add(named)
    return sorted(names)


def rests_on(chapter: str, model: str) -> str:
    """What a chapter's answer about a model rests on, as a page says it: the bases of its findings
    (what it says without keeping any is measured, too), and the model.
    """
    bases = {found.basis for found in read(chapter, model) or []} or {"measured"}
    said = " and ".join(basis for basis in BASES if basis in bases)
    return f"{said}, {title(model)}"


def evidence(model: str) -> pd.DataFrame:
    """Every recorded finding about a model: one row a question, one column a subject.

    Returns
    -------
    pd.DataFrame
        Columns chapter (its number), question, one for each subject (the answer, with its
        estimate), decides (the criterion's property, or "exploratory"), and rests on (its basis).
    """
    return tabulated(
        (chapter, found, found.subject)
        for chapter, findings in read_all(model).items()
        for found in findings
    )


def tabulated(findings: Iterable[tuple[str, Finding, str]]) -> pd.DataFrame:
    """Findings as one row a question and one column a subject.

    Parameters
    ----------
    findings : iterable of (str, Finding, str)
        The chapter, what it found, and the column that it goes to.
    """
    rows = []
    for chapter, found, column in findings:
        rows.append(
            {
                "chapter": chapter.split("_")[0],
                "question": found.question,
                "decides": _decided(found),
                "rests on": f"what was {found.basis}",
                column: _in_full(found),
            }
        )
    if not rows:
        return pd.DataFrame(columns=["chapter", "question", "decides", "rests on"])
    asked = ["chapter", "question", "decides", "rests on"]
    table = pd.DataFrame(rows).groupby(asked, sort=False).first().reset_index().fillna("")
    subjects = [column for column in table if column not in asked]
    return table[["chapter", "question", *subjects, "decides", "rests on"]]


def _decided(found):
    """What a finding decides."""
    return criteria()[found.criterion].property if found.criterion else "exploratory"


def _in_full(found):
    """An answer with its estimate, which no line break may divide."""
    if found.estimate is None:
        return found.answer
    return found.answer + f" ({found.estimate})".replace(" ", "\u00a0")
