"""Verdicts from rules written beforehand: ``rules.toml`` is read, and nothing else decides.

>>> import numpy as np
>>> from lib.book import rules
>>> clear = np.random.default_rng(0).normal(1, 0.5, 40)
>>> rules.decide({"profile": clear})["profile"].answer
'yes'
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pydantic
import scipy.stats

from .. import check, stats
from ..methods import understanding
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
    claim, property, hypothesis, statistic, unit, null : str
    smallest : float
        Smallest effect of interest, in units of the statistic.
    decides : bool
        Whether it decides about understanding, or is a precondition.
    worlds : dict
        World (or "untrained") -> what must come out; "" where nothing is foretold.
    """

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


@cache
def _read():
    return _File.model_validate(tomllib.loads(FILE.read_text()))


def rule() -> Rule:
    """What holds for every criterion."""
    return _read().rule


def criteria() -> dict[str, Criterion]:
    """All criteria by name, in the order of the file."""
    return _read().criteria


def history() -> list[str]:
    """When the rules were written, and every later change with its reason."""
    return [f"{_read().date}: written", *_read().changes]


class Verdict(NamedTuple):
    """What a criterion says of a model.

    Attributes
    ----------
    answer : "yes", "no" or "cannot tell"
    estimate : stats.Estimate
        With the t interval over units.
    p : float
        Corrected.
    power : float
        Share of subjects with the smallest effect of interest, and this spread and number of units,
        that would get a "yes".
    """

    answer: str
    estimate: stats.Estimate
    p: float
    power: float


def decide(numbers: Mapping[str, np.ndarray]) -> dict[str, Verdict]:
    """All verdicts on one model.

    Parameters
    ----------
    numbers : mapping
        Criterion -> one number a unit, as from ``understanding.numbers``.

    Returns
    -------
    dict
        Criterion -> Verdict.
    """
    known = criteria()
    values = {}
    for name, units in numbers.items():
        check.choice("criterion", name, known)
        values[name] = check.array(f"numbers[{name!r}]", units, ("unit",))
        check.count(f"The number of units of {name}", len(values[name]), 3)
    p_values = stats.correct([_p(units) for units in values.values()])
    verdicts = {}
    for (name, units), p in zip(values.items(), p_values, strict=True):
        estimate = interval(units)
        power = _power(units, known[name].smallest)
        answer = _answer(estimate, p, power, known[name].smallest)
        verdicts[name] = Verdict(answer, estimate, float(p), power)
    return verdicts


def interval(units: np.ndarray) -> stats.Estimate:
    """Mean with its t interval at the level of the rules."""
    mean = float(np.mean(units))
    error = scipy.stats.sem(units)
    if error == 0:
        return stats.Estimate(mean, mean, mean, len(units))
    low, high = scipy.stats.t.interval(rule().level, len(units) - 1, mean, error)
    return stats.Estimate(mean, float(low), float(high), len(units))


def _p(units):
    """Of no effect; without spread, as the value says."""
    if np.std(units) == 0:
        return 1.0 if np.mean(units) == 0 else 0.0
    return float(scipy.stats.ttest_1samp(units, 0).pvalue)


def _power(units, smallest):
    """Of the test at the smallest effect of interest (noncentral t)."""
    error = scipy.stats.sem(units)
    if error == 0:
        return 1.0
    degrees = len(units) - 1
    critical = scipy.stats.t.ppf((1 + rule().level) / 2, degrees)
    return float(scipy.stats.nct.sf(critical, degrees, smallest / error))


def _answer(estimate, p, power, smallest):
    if estimate.high < smallest:
        return "no" if power >= rule().power else "cannot tell"
    return "yes" if estimate.low > 0 and p < rule().alpha else "cannot tell"


# ----------------------------------------------------------------------- how far rules can be trusted
def false_positives(
    evidence: understanding.Evidence, subjects: int | None = None, seed: int = 0
) -> dict[str, stats.Estimate]:
    """How often each criterion says yes, uncorrected, to subjects that have nothing.

    A null subject is the same evidence with words dealt to emotions at random, or, where the
    criterion does not ask for an emotion, with the signs of the words' numbers drawn.

    Parameters
    ----------
    evidence : Evidence
    subjects : int, optional
        As the rules say by default.
    seed : int
    """
    found = {name: [] for name in criteria()}
    for numbers in _null_subjects(evidence, subjects, seed):
        for name, units in numbers.items():
            found[name].append(_answer(interval(units), 0.0, 1.0, 0.0) == "yes")
    return {name: stats.proportion(yes) for name, yes in found.items()}


def coverage(
    evidence: understanding.Evidence, subjects: int | None = None, seed: int = 0
) -> dict[str, stats.Estimate]:
    """How often each criterion's interval holds the mean of what its units are drawn from.

    The units found are taken for the population, and as many are drawn from them with replacement.
    """
    rng = np.random.default_rng(seed)
    held = {}
    for name, units in understanding.numbers(evidence).items():
        drawn = rng.choice(units, (subjects or 5 * rule().null_subjects, len(units)))
        held[name] = stats.proportion([interval(some).holds(units.mean()) for some in drawn])
    return held


def _null_subjects(evidence, subjects, seed):
    rng = np.random.default_rng(seed)
    own = evidence.words["emotion"].to_numpy()
    unlabelled = understanding.numbers(evidence)
    for _ in range(subjects or rule().null_subjects):
        numbers = understanding.numbers(evidence, rng.permutation(own))
        for name in ("tied", "weighed", "specific"):
            centred = unlabelled[name] - unlabelled[name].mean()
            numbers[name] = centred * rng.choice([-1.0, 1.0], len(centred))
        yield numbers


# ------------------------------------------------------------------------------------ over all models
def foretold(model: str, criterion: str) -> str:
    """What must come out for a model: "yes", "no", or "" where nothing is foretold."""
    key = UNTRAINED if model == UNTRAINED else world.of(model)
    return criteria()[criterion].worlds.get(key, "")


def struck(verdicts: Mapping[str, Mapping[str, Verdict]]) -> dict[str, list[str]]:
    """The criteria about understanding that a subject passed which cannot have it.

    Parameters
    ----------
    verdicts : mapping
        Model -> criterion -> Verdict.

    Returns
    -------
    dict
        Criterion -> the models that passed it against what is foretold.
    """
    passed = {}
    for name, criterion in criteria().items():
        if not criterion.decides:
            continue
        wrong = [
            model
            for model, found in verdicts.items()
            if foretold(model, name) == "no" and found[name].answer == "yes"
        ]
        if wrong:
            passed[name] = wrong
    return passed


def table(verdicts: Mapping[str, Mapping[str, Verdict]]) -> pd.DataFrame:
    """One row a criterion and model: what was found, and what had to be."""
    rows = []
    for model, found in verdicts.items():
        for name, verdict in found.items():
            rows.append(
                {
                    "criterion": name,
                    "claim": criteria()[name].claim,
                    "model": model,
                    "world": UNTRAINED if model == UNTRAINED else world.of(model) or model,
                    "answer": verdict.answer,
                    "foretold": foretold(model, name),
                    "value": verdict.estimate.value,
                    "low": verdict.estimate.low,
                    "high": verdict.estimate.high,
                    "smallest": criteria()[name].smallest,
                    "p": verdict.p,
                    "power": verdict.power,
                }
            )
    return pd.DataFrame(rows)


def rates(found: pd.DataFrame) -> pd.DataFrame:
    """How many models of each world say what: one row a criterion, one column a world.

    Parameters
    ----------
    found : pd.DataFrame
        From :func:`table`.

    Returns
    -------
    pd.DataFrame
        Cells like "yes 3 of 3 ✓"; ✓ where all models say what was foretold, ✗ where one says the
        opposite.
    """
    rows = []
    for name, criterion in criteria().items():
        row = {"claim": criterion.claim}
        for subject, some in found[found["criterion"] == name].groupby("world", sort=False):
            row[subject] = _rate(list(some["answer"]), some["foretold"].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows)


def _rate(answers, expected):
    most = max(ANSWERS, key=answers.count)
    told = most if len(answers) == 1 else f"{most} {answers.count(most)} of {len(answers)}"
    if expected and set(answers) == {expected}:
        return f"{told} ✓"
    opposite = {"yes": "no", "no": "yes"}.get(expected)
    return f"{told} ✗" if opposite in answers else told


def pooled(found: pd.DataFrame) -> list[tuple[str, str, str, stats.Estimate]]:
    """What all models of a world say together, for the book's findings.

    Returns
    -------
    list of tuple
        (claim, world, answer, estimate): "yes" or "no" where all models agree, else "cannot tell";
        the mean over models and the range of their intervals.
    """
    rows = []
    for (name, subject), some in found.groupby(["criterion", "world"], sort=False):
        agreed = set(some["answer"])
        answer = agreed.pop() if len(agreed) == 1 else "cannot tell"
        estimate = stats.Estimate(
            some["value"].mean(), some["low"].min(), some["high"].max(), len(some)
        )
        rows.append((criteria()[name].claim, subject, answer, estimate))
    return rows


def overview(found: list) -> pd.DataFrame:
    """What the chapter on understanding left in the book's findings, one row a claim and world.

    Parameters
    ----------
    found : list of Finding
        From :func:`pooled`; empty where the chapter was not executed.

    Returns
    -------
    pd.DataFrame
        Columns claim, model, world, answer, value, low, high, smallest.
    """
    smallest = {criterion.claim: criterion.smallest for criterion in criteria().values()}
    rows = [
        {
            "claim": each.question,
            "model": each.subject,
            "world": each.subject,
            "answer": each.answer,
            **dict(zip(("value", "low", "high"), each.estimate, strict=False)),
            "smallest": smallest[each.question],
        }
        for each in found
    ]
    columns = ["claim", "model", "world", "answer", "value", "low", "high", "smallest"]
    return pd.DataFrame(rows, columns=columns)
