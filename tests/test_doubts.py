"""What would change our mind is computed, and said in one way."""

import itertools

import jupytext
import numpy as np
import pytest

from lib.book import doubts, execute
from lib.book.rules import Verdict
from lib.stats import Estimate


def verdict(answer):
    return Verdict(answer, Estimate(0.5, 0.4, 0.6, 10), 0.01, 0.9)


VERDICTS = {
    "organism": {"shared": verdict("no"), "profile": verdict("yes")},
    "organism-habit": {"shared": verdict("no"), "profile": verdict("cannot tell")},
    "organism-habit-2": {"shared": verdict("no"), "profile": verdict("yes")},
    "untrained": {"shared": verdict("no")},
}


def test_each_doubt_is_said_with_its_answer():
    answers = {"a": True, "b": np.bool_(False), "c": doubts.UNSURE, "d": None}
    lines = doubts.told(answers).data.splitlines()[2:]
    assert lines == ["- *Met*: a.", "- *Not met*: b.", "- *Cannot tell*: c.", "- *Not run*: d."]
    with pytest.raises(ValueError, match="answer to 'a'"):
        doubts.told({"a": "perhaps"})


def test_one_model_of_a_world_is_enough():
    assert doubts.passed(VERDICTS, "organism-habit", "profile") is True
    assert doubts.passed(VERDICTS, "organism-habit", "shared") is False
    assert doubts.passed(VERDICTS, "organism-habit") is True
    assert doubts.passed(VERDICTS, "untrained") is False
    assert doubts.passed(VERDICTS, "organism-shuffled") is None
    assert doubts.passed(VERDICTS, "untrained", "profile") is None
    assert doubts.failed(VERDICTS, "organism") is True
    assert doubts.there(VERDICTS, "organism-habit", "profile") is True
    assert doubts.there(VERDICTS, "organism-habit", "shared") is False
    assert doubts.there(VERDICTS, "organism-shuffled") is None
    unsure = {"untrained": {"profile": verdict("cannot tell"), "shared": verdict("no")}}
    assert doubts.there(unsure, "untrained") == "cannot tell"
    assert doubts.there(unsure, "untrained", "shared") is False
    assert doubts.passed(unsure, "untrained") is False


@pytest.mark.parametrize(
    ("other", "answer"),
    [((0.5, 0.3, 0.7), True), ((0.4, 0.3, 0.5), doubts.UNSURE), ((0.1, 0, 0.2), False)],
)
def test_as_much_is_not_said_of_what_only_overlaps(other, answer):
    own = Estimate(0.5, 0.4, 0.6, 9)
    assert doubts.as_much(Estimate(*other, 9), own) == answer
    gap = Estimate(*(own.value - part for part in (other[0], other[2], other[1])), 9)
    assert doubts.no_more(gap) in (answer, doubts.UNSURE)


def test_one_answer_for_several():
    assert doubts.any_of([False, doubts.UNSURE, True]) is True
    assert doubts.any_of([None, False, doubts.UNSURE]) == doubts.UNSURE
    assert doubts.any_of([False, None]) is False
    assert doubts.any_of([]) is None


@pytest.mark.parametrize("name", execute.names())
def test_what_would_change_our_mind_is_followed_by_whether_it_has(name):
    cells = jupytext.read(execute.NOTEBOOKS / f"{name}.py").cells
    for before, cell in itertools.pairwise(cells):
        if "doubts.told" in cell.source:
            paragraphs = before.source.split("\n\n")
            assert paragraphs[-1].startswith("**What would change our mind.**")
