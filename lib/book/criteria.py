"""What is written in ``rules.toml``: every criterion of the book, and what each world must give.

>>> from lib.book import criteria
>>> criteria.foretold("organism-habit-2", "profile")
'no'
"""

import functools
import tomllib
from pathlib import Path
from typing import Literal

import pydantic

from .. import cache, check
from ..organism import world

FILE = Path(__file__).parent / "rules.toml"
ANSWERS = ("yes", "no", "cannot tell")
#: What is foretold of a network before any training.
UNTRAINED = "untrained"


class Rule(pydantic.BaseModel, extra="forbid", frozen=True):
    """How every criterion is decided; see the head of ``rules.toml``."""

    level: float
    alpha: float
    power: float
    null_subjects: int


class Criterion(pydantic.BaseModel, extra="forbid", frozen=True):
    """One criterion.

    Attributes
    ----------
    chapter : str
        The notebook that asks it.
    claim, property, hypothesis, statistic, unit, null : str
    smallest : float
        Smallest effect of interest, in units of the statistic.
    decides : bool
        Whether it decides about understanding, or is a precondition.
    worlds : dict
        World (or "untrained") -> what must come out; "" where nothing is foretold.
    """

    chapter: str
    claim: str
    property: str
    hypothesis: str
    statistic: str
    unit: str
    null: str
    smallest: float
    decides: bool
    worlds: dict[str, Literal["yes", "no", "cannot tell", ""]]


class _File(pydantic.BaseModel, extra="forbid"):
    date: str
    changes: list[str]
    rule: Rule
    criteria: dict[str, Criterion]


@functools.cache
def _read():
    return _File.model_validate(tomllib.loads(FILE.read_text()))


def rule() -> Rule:
    """What holds for every criterion."""
    return _read().rule


def criteria(chapter: str | None = None) -> dict[str, Criterion]:
    """All criteria by name, in the order of the file; of one chapter alone if it is given.

    Raises
    ------
    ValueError
        A chapter without criteria.
    """
    known = _read().criteria
    if chapter is None:
        return known
    check.choice("chapter", chapter, dict.fromkeys(c.chapter for c in known.values()))
    return {name: c for name, c in known.items() if c.chapter == chapter}


def history() -> list[str]:
    """When the rules were written, and every later change with its reason."""
    return [f"{_read().date}: written", *_read().changes]


def version(chapter: str) -> str:
    """A hash of all that a chapter's verdicts follow from: the rule, and its criteria.

    What is foretold of a world decides nothing. "" of a chapter that decides nothing.
    """
    mine = {
        name: criterion.model_dump(exclude={"worlds"})
        for name, criterion in criteria().items()
        if criterion.chapter == chapter
    }
    return cache.digest(rule().model_dump(), mine)[:16] if mine else ""


def foretold(model: str, criterion: str) -> str:
    """What must come out for a model: "yes", "no", or "" where nothing is foretold."""
    check.choice("criterion", criterion, _read().criteria)
    key = UNTRAINED if model == UNTRAINED else world.of(model)
    return _read().criteria[criterion].worlds.get(key, "")
