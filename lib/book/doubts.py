"""What would change our mind, and whether it has happened: a chapter says the first in words, and
computes the second beside it.

>>> from lib.book import doubts
>>> print(doubts.told({"random directions do as much": False}).data)
**Has it happened?**
<BLANKLINE>
- *Not met*: random directions do as much.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from IPython.display import Markdown

from .. import check
from ..organism import world
from ..stats import Estimate
from .rules import Verdict

UNSURE = "cannot tell"
#: What is known of a doubt -> how it is said; nothing is known of what this build has not run.
SAID = {True: "met", False: "not met", UNSURE: UNSURE, None: "not run"}


def told(doubts: Mapping[str, bool | str | None]) -> Markdown:
    """Each thing that would change our mind, and whether it has happened.

    Parameters
    ----------
    doubts : mapping
        What would change our mind, in words -> True where it has happened, False where it has not,
        "cannot tell", or None where this build has not run what would tell.

    Raises
    ------
    ValueError
        Another answer.
    """
    lines = [f"- *{_said(text, answer).capitalize()}*: {text}." for text, answer in doubts.items()]
    return Markdown("\n".join(["**Has it happened?**", "", *lines]))


def _said(text, answer):
    plain = answer.item() if isinstance(answer, np.generic) else answer
    return SAID[check.choice(f"The answer to {text!r}", plain, SAID)]


def passed(verdicts: Mapping[str, Mapping[str, Verdict]], of: str, *names: str) -> bool | None:
    """Whether a model of a world got a "yes"; None where none of them was asked.

    Parameters
    ----------
    verdicts : mapping
        Model -> criterion -> Verdict.
    of : str
        A world, or "untrained".
    *names : str
        The criteria that count; by default all.
    """
    return _answered("yes", verdicts, of, names)


def failed(verdicts: Mapping[str, Mapping[str, Verdict]], of: str, *names: str) -> bool | None:
    """Whether a model of a world got a "no"; see :func:`passed`."""
    return _answered("no", verdicts, of, names)


def there(verdicts: Mapping[str, Mapping[str, Verdict]], of: str, *names: str) -> bool | str | None:
    """Whether what criteria ask about is there in a model of a world: True with a "yes", False where
    all say "no", else "cannot tell"; see :func:`passed`.
    """
    sure = _answered("yes", verdicts, of, names)
    if sure is False and _answered(UNSURE, verdicts, of, names):
        return UNSURE
    return sure


def _answered(answer, verdicts, of, names):
    answers = [
        verdict.answer
        for model, found in verdicts.items()
        if of in (model, world.of(model))
        for name, verdict in found.items()
        if not names or name in names
    ]
    return answer in answers if answers else None


def as_much(other: Estimate, own: Estimate) -> bool | str:
    """Whether something else does as much as what is claimed: True where its estimate is as large,
    False where both intervals lie apart, else "cannot tell".
    """
    if other.value >= own.value:
        return True
    return False if other.high < own.low else UNSURE


def no_more(gap: Estimate) -> bool | str:
    """Whether nothing is left of a difference: True where it is not above zero, False where its whole
    interval is, else "cannot tell".
    """
    if gap.value <= 0:
        return True
    return False if gap.low > 0 else UNSURE


def any_of(answers: Iterable[bool | str | None]) -> bool | str | None:
    """One answer for several: the first of True, "cannot tell", False that is among them."""
    answers = list(answers)
    return next((answer for answer in (True, UNSURE, False) if answer in answers), None)
