"""Verdicts from rules written beforehand: ``rules.toml`` is read, and nothing else decides.

A chapter hands over one number a unit for each of its criteria and models:

>>> import numpy as np
>>> from lib.book import rules
>>> clear = np.random.default_rng(0).normal(1, 0.5, 40)
>>> verdicts = {"organism": rules.decide({"profile": clear})}
>>> verdicts["organism"]["profile"].answer
'yes'
>>> rules.findings(verdicts)[0].criterion
'profile'
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from .. import check, stats
from ..organism import world
from . import findings as results
from .criteria import ANSWERS, UNTRAINED, criteria, foretold, history, rule
from .others import beside

__all__ = [
    "Verdict",
    "beside",
    "criteria",
    "decide",
    "findings",
    "foretold",
    "history",
    "in_words",
    "interval",
    "overview",
    "rates",
    "rule",
    "struck",
    "table",
    "trust",
]


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


def decide(
    numbers: Mapping[str, np.ndarray], own: Mapping[str, float] | None = None
) -> dict[str, Verdict]:
    """All verdicts of a chapter on one model.

    Parameters
    ----------
    numbers : mapping
        Criterion -> one number a unit.
    own : mapping, optional
        Claim -> smallest effect that matters: the questions of a reader's own, in place of the
        criteria of the file. They are decided by the same rule, and are exploratory.

    Returns
    -------
    dict
        Criterion -> Verdict; p-values are corrected over these criteria (Holm).

    Raises
    ------
    ValueError
        A criterion that is not in the rules, fewer than three units, numbers that are not finite.
    """
    smallest = _smallest(own)
    values = {}
    for name, units in numbers.items():
        check.choice("criterion", name, smallest)
        values[name] = check.array(f"numbers[{name!r}]", np.asarray(units, float), ("unit",))
        check.count(f"The number of units of {name}", len(values[name]), 3)
    p_values = stats.correct([_p(units) for units in values.values()])
    verdicts = {}
    for (name, units), p in zip(values.items(), p_values, strict=True):
        estimate = interval(units)
        power = _power(units, smallest[name])
        answer = _answer(estimate, p, power, smallest[name])
        verdicts[name] = Verdict(answer, estimate, float(p), power)
    return verdicts


def _smallest(own):
    """Criterion, or claim of one's own -> smallest effect that matters."""
    if own is None:
        return {name: criterion.smallest for name, criterion in criteria().items()}
    return {
        claim: check.number(f"The smallest effect of {claim!r}", effect, 0, open_low=True)
        for claim, effect in own.items()
    }


def interval(units: np.ndarray) -> stats.Estimate:
    """Mean with its t interval at the level of the rules."""
    return stats.mean(units, rule().level)


def _p(units):
    """Of no effect; without spread, as the value says."""
    if np.std(units) == 0:
        return 1.0 if np.mean(units) == 0 else 0.0
    return float(scipy.stats.ttest_1samp(units, 0).pvalue)


def _power(units, smallest):
    """Of the test at the smallest effect of interest (noncentral t)."""
    error = scipy.stats.sem(units)
    if 100 * error < smallest:  # certain, and beyond what the noncentral t is computed for
        return 1.0
    degrees = len(units) - 1
    critical = scipy.stats.t.ppf((1 + rule().level) / 2, degrees)
    return float(scipy.stats.nct.sf(critical, degrees, smallest / error))


def _answer(estimate, p, power, smallest):
    if estimate.high < smallest:
        return "no" if power >= rule().power else "cannot tell"
    return "yes" if estimate.low > 0 and p < rule().alpha else "cannot tell"


# ----------------------------------------------------------------------- how far rules can be trusted
def trust(
    numbers: Mapping[str, np.ndarray],
    null: Callable[[np.random.Generator], Mapping[str, np.ndarray]] | None = None,
    subjects: int | None = None,
    seed: int = 0,
    own: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """False positives, coverage and power of criteria, for the units at hand.

    Parameters
    ----------
    numbers : mapping
        Criterion -> one number a unit, as for :func:`decide`.
    null : callable, optional
        Draws a null subject: the same mapping (or part of it) with labels dealt at random.
        Criteria that it does not give get the units' own numbers without their mean, with signs
        drawn.
    subjects : int, optional
        Null subjects; as the rules say by default. Five times as many samples are drawn for the
        coverage.
    seed : int
    own : mapping, optional
        As for :func:`decide`.

    Returns
    -------
    pd.DataFrame
        One row a criterion: claim; false positives (share of null subjects with a "yes", before
        any correction); coverage (how often the interval holds the mean of a population like the
        units found, when as many are drawn from it with replacement); power (at the smallest effect
        that matters).
    """
    rng = np.random.default_rng(check.count("seed", seed, 0))
    subjects = rule().null_subjects if subjects is None else check.count("subjects", subjects)
    values = {name: np.asarray(units, float) for name, units in numbers.items()}
    smallest = _smallest(own)
    passed = {name: [] for name in values}
    for _ in range(subjects):
        drawn = dict(null(rng)) if null else {}
        for name, units in values.items():
            signs = rng.choice([-1.0, 1.0], len(units))
            subject = drawn.get(name, (units - units.mean()) * signs)
            passed[name].append(_answer(interval(subject), 0.0, 1.0, 0.0) == "yes")
    rows = []
    for name, units in values.items():
        samples = rng.choice(units, (5 * subjects, len(units)))
        rows.append(
            {
                "claim": criteria()[name].claim if own is None else name,
                "false positives": stats.proportion(passed[name]),
                "coverage": stats.proportion([interval(s).holds(units.mean()) for s in samples]),
                "power": _power(units, smallest[name]),
            }
        )
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------------------ over all models
def struck(found: pd.DataFrame) -> dict[str, list[str]]:
    """The criteria that a model passed of which "no" is foretold.

    Parameters
    ----------
    found : pd.DataFrame
        From :func:`table` or :func:`overview`.

    Returns
    -------
    dict
        Criterion -> the models that passed it.
    """
    wrong = found[(found["foretold"] == "no") & (found["answer"] == "yes")]
    return {name: list(some["model"]) for name, some in wrong.groupby("criterion", sort=False)}


def table(
    verdicts: Mapping[str, Mapping[str, Verdict]], own: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """One row a criterion and model: what was found, and what had to be.

    Parameters
    ----------
    verdicts : mapping
        Model -> criterion -> Verdict.
    own : mapping, optional
        As for :func:`decide`.
    """
    return pd.DataFrame(
        {
            **_asked(name, model, own),
            "answer": verdict.answer,
            "value": verdict.estimate.value,
            "low": verdict.estimate.low,
            "high": verdict.estimate.high,
            "p": verdict.p,
            "power": verdict.power,
        }
        for model, found in verdicts.items()
        for name, verdict in found.items()
    )


def in_words(verdicts: Mapping[str, Mapping[str, Verdict]]) -> str:
    """The answer of a chapter in two sentences, in Markdown: what its model said, and whether a model
    passed that cannot have what is asked for.

    Parameters
    ----------
    verdicts : mapping
        Model -> criterion -> Verdict; the model that the book asks comes first.
    """
    model, own = next(iter(verdicts.items()))
    found = table(verdicts)
    told = [
        f"{criteria()[name].claim.lower()}: *{verdict.answer}* ({verdict.estimate})"
        for name, verdict in own.items()
    ]
    doubts = [
        f"{criteria()[name].claim.lower()} ({', '.join(wrong)})"
        for name, wrong in struck(found).items()
    ]
    against = "No model passed whose world rules it out"
    if doubts:
        against = f"Struck, because a model passed whose world rules it out: {'; '.join(doubts)}"
    return f"**Verdict.** In {model}, {'; '.join(told)}. {against}."


def _asked(name, model, own=None):
    """What is known of a criterion and a model before the answer."""
    trained_on = UNTRAINED if model == UNTRAINED else world.of(model) or model
    about = {"criterion": name, "chapter": "", "claim": name, "decides": False, "model": model}
    about |= {"world": trained_on, "foretold": ""}
    if own is not None:
        return {**about, "smallest": own[name]}
    criterion = criteria()[name]
    about |= {"chapter": criterion.chapter, "claim": criterion.claim}
    about |= {"decides": criterion.decides, "foretold": foretold(model, name)}
    return {**about, "smallest": criterion.smallest}


def findings(
    verdicts: Mapping[str, Mapping[str, Verdict]], own: Mapping[str, float] | None = None
) -> list[results.Finding]:
    """Verdicts as the book's findings, for ``results.record``; of claims of one's own, as
    exploratory ones."""
    found = []
    for model, answers in verdicts.items():
        for name, verdict in answers.items():
            claim, criterion = (criteria()[name].claim, name) if own is None else (name, None)
            about = (claim, model, verdict.answer, verdict.estimate, criterion)
            found.append(results.finding(*about))
    return found


def overview(model: str) -> pd.DataFrame:
    """Every verdict that the chapters left about a model and those beside it, in the order of the
    rules; each from the chapter alone that asks it now, since another may have asked it before.

    Returns
    -------
    pd.DataFrame
        The columns of :func:`table` but p and power; no rows where no chapter was executed.
    """
    order = list(criteria())
    decided = [
        found
        for chapter, record in results.of_this_book(results.title(model)).items()
        for found in record.findings
        if found.criterion and criteria()[found.criterion].chapter == chapter
    ]
    decided.sort(key=lambda found: order.index(found.criterion))
    rows = [
        {
            **_asked(found.criterion, found.subject),
            "answer": found.answer,
            "value": found.estimate.value,
            "low": found.estimate.low,
            "high": found.estimate.high,
        }
        for found in decided
    ]
    columns = [*_asked(order[0], model), "answer", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).astype({"decides": bool})


def rates(found: pd.DataFrame) -> pd.DataFrame:
    """How many models of each world say what: one row a criterion, one column a world.

    Parameters
    ----------
    found : pd.DataFrame
        From :func:`table` or :func:`overview`.

    Returns
    -------
    pd.DataFrame
        Cells like "yes 3 of 3 ✓"; ✓ where all models say what was foretold, ✗ where one says the
        opposite. The claim of a criterion that is :func:`struck` says so.
    """
    passed = struck(found)
    rows = []
    for name, some in found.groupby("criterion", sort=False):
        claim = some["claim"].iloc[0]
        row = {"chapter": some["chapter"].iloc[0].split("_")[0]}
        row["claim"] = f"struck: {claim}" if name in passed else claim
        for subject, models in some.groupby("world", sort=False):
            row[subject] = _rate(list(models["answer"]), models["foretold"].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def _rate(answers, expected):
    most = max(ANSWERS, key=answers.count)
    told = most if len(answers) == 1 else f"{most} {answers.count(most)} of {len(answers)}"
    if expected and set(answers) == {expected}:
        return f"{told} ✓"
    opposite = {"yes": "no", "no": "yes"}.get(expected)
    return f"{told} ✗" if opposite in answers else told
