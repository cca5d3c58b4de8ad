"""Answers that participants hand in: what a file holds, and how it becomes a table."""

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from ... import check

VERSION = 1  # of the page and of the files it hands out
POINTS = 9  # of a rating
NUMBERS = (
    9999  # of participants who are given one; whoever comes by a link with an id has a larger one
)
KEEP = "Use the key.json that was saved with the page that was handed out."
AGAIN = "Ask for the file as it was downloaded."


# ------------------------------------------------------------------------------------- the checksum
def seal(body: dict) -> str:
    """The text of an answer file: canonical JSON with the SHA-256 of itself without the checksum.

    It shows accidents and edits by hand; it is no signature.
    """
    return _canonical(body | {"checksum": checksum(body)})


def checksum(body: dict) -> str:
    """SHA-256 of an answer file's content without its checksum."""
    return hashlib.sha256(_canonical(body).encode()).hexdigest()


def _canonical(x):
    return json.dumps(x, sort_keys=True, separators=(",", ":"))


# -------------------------------------------------------------------------------- what a file holds
def _expected(text: str) -> WrapValidator:
    """Say what was expected in plain words where a value does not fit."""

    def validate(value: Any, handler):
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("expected", "{text}", {"text": text}) from None

    return WrapValidator(validate)


def _whole(low: int, high: int | None = None):
    """A whole number; strict, so that neither a bool nor 7.0 is one."""
    text = f"from {low}" if high is None else f"from {low} to {high}"
    return Annotated[int, Field(strict=True, ge=low, le=high), _expected(f"whole numbers {text}")]


def _named(text: str, kind):
    return Annotated[kind, _expected(text)]


class _Whole(BaseModel):
    """All fields, and no other."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Rating(_Whole):
    """One clip, rated on every scale."""

    kind: Literal["rating"]
    clips: Annotated[list[str], Field(min_length=1, max_length=1), _expected("one clip")]
    answer: dict[str, _whole(1, POINTS)]
    ms: _named("ms from 0", _whole(0))
    plays: _named("plays from 1", _whole(1))


class Choice(_Whole):
    """Two clips, and which of them is more of something: the first (1) or the second (2)."""

    kind: Literal["pair"]
    clips: Annotated[list[str], Field(min_length=2, max_length=2), _expected("two clips")]
    answer: dict[str, _whole(1, 2)]
    ms: _named("ms from 0", _whole(0))
    plays: _named("plays from 2", _whole(2))


def _id(least: int):
    """What platforms call people, studies and sessions."""
    text = f"{least} to 64 letters, digits, _ and -"
    return _named(text, Annotated[str, Field(pattern=rf"^[A-Za-z0-9_-]{{{least},64}}$")])


class Platform(_Whole):
    """The link that brought a participant: whose it was, and whom it named.

    ``study`` and ``session`` are what the platform calls STUDY_ID and SESSION_ID (Prolific), hitId
    and assignmentId (Mechanical Turk), and empty where it names none.
    """

    name: _named("the platform 'prolific', 'mturk' or 'link'", Literal["prolific", "mturk", "link"])
    id: _id(1)
    study: _id(0)
    session: _id(0)

    @property
    def participant(self) -> int:
        """The number that follows from the id, and with it the row of the balanced orders.

        48 bits of a SHA-256: rows are drawn evenly, as if by lot, and among a thousand people two
        share a number with a probability below 1e-8.
        """
        drawn = hashlib.sha256(f"{self.name}:{self.id}".encode()).hexdigest()
        return NUMBERS + 1 + int(drawn[:12], 16)


class AnswerFile(_Whole):
    """What the page hands out: all answers of one participant, in the order they were given.

    ``platform`` is there for who came by a link with an id.
    """

    test: str
    version: int
    participant: _named("a participant number from 1 on", _whole(1))
    source: _named("the source 'page' or 'simulated'", Literal["page", "simulated"])
    started: str
    finished: str
    answers: list[Annotated[Rating | Choice, Field(discriminator="kind")]]
    checksum: str
    platform: Platform | None = None

    @property
    def who(self) -> str:
        """The participant, for an error."""
        known = f" ({self.platform.name} {self.platform.id})" if self.platform else ""
        return f"participant {self.participant}{known}"

    @property
    def trials(self) -> list[tuple[str, list[str]]]:
        """What was asked, in order: (kind, clips)."""
        return [(answer.kind, answer.clips) for answer in self.answers]


class Orders(BaseModel):
    """Who is asked what: participant p gets row (p - 1) modulo the number of rows."""

    rating: list[list[str]]
    pair: list[list[tuple[str, str]]]


class Key(BaseModel):
    """For the experimenter alone: which clip is which, and what every participant is asked."""

    test: str
    version: int
    conditions: list[str]
    ratings: list[str]
    pair: str
    clips: dict[str, tuple[str, str]]
    orders: Orders

    def plan(self, participant: int) -> list[tuple[str, list[str]]]:
        """What a participant is asked, in order: (kind, clips)."""
        rating = _row(self.orders.rating, participant)
        pair = _row(self.orders.pair, participant)
        single = [("rating", [clip]) for clip in rating]
        return single + [("pair", list(clips)) for clips in pair]

    def scales(self, kind: str) -> list[str]:
        """The scales of a kind of question."""
        return self.ratings if kind == "rating" else [self.pair]

    @classmethod
    def load(cls, key) -> "Key":
        """From ``ListeningTest.key`` or the path of its key.json."""
        where = "key"
        if not isinstance(key, dict):
            where = check.path("key", key)
            key = _json(where, "the key.json that was saved with the page", KEEP)
        try:
            return cls.model_validate(key)
        except ValidationError as error:
            raise ValueError(
                f"{where}: expected the key of a listening test. Got {_first(error)}. {KEEP}"
            ) from error


def _row(rows, participant):
    return rows[(participant - 1) % len(rows)] if rows else []


# ------------------------------------------------------------------------------------------ reading
def read(files: Iterable, key) -> pd.DataFrame:
    """Answers of all participants, checked.

    Parameters
    ----------
    files : iterable of path, or one path
        What the page handed out, one file a participant.
    key : dict or path
        ``ListeningTest.key``, or its key.json.

    Returns
    -------
    pd.DataFrame
        One row an answer: participant, source ("page" or "simulated"), kind ("rating" or "pair"),
        scale, item, condition and other (of a pair: what played as A and as B), position (of the
        question, from 1), answer (1 to 9; of a pair 1 for A, 0 for B), seconds.

    Raises
    ------
    ValueError
        No file, or one that is no JSON, changed, of another test, incomplete, malformed, or of a
        participant who is there already; it names the file and says what to do.
    """
    key = Key.load(key)
    if isinstance(files, str | os.PathLike):
        files = [files]
    rows = []
    seen = {}
    for file in [check.path("files", file) for file in files]:
        answered = _checked(file, key)
        first = seen.setdefault(answered.participant, file)
        if first is not file:
            raise ValueError(
                f"{file}: {answered.who} has answered already in {first}. Every participant needs a "
                "number or a link of their own and counts once: leave one of both files out."
            )
        rows += _rows(answered, key)
    if not rows:
        raise ValueError("No answer files. Expected the answers-*.json that the page hands out.")
    table = pd.DataFrame(rows)
    return table.astype({"condition": pd.CategoricalDtype(key.conditions)})


def _rows(answered, key):
    """One row for every scale of every question."""
    for position, given in enumerate(answered.answers, 1):
        is_pair = given.kind == "pair"
        condition, item = key.clips[given.clips[0]]
        other = key.clips[given.clips[1]][0] if is_pair else ""
        for scale, value in given.answer.items():
            yield {
                "participant": answered.participant,
                "source": answered.source,
                "kind": given.kind,
                "scale": scale,
                "item": item,
                "condition": condition,
                "other": other,
                "position": position,
                "answer": 2 - value if is_pair else value,
                "seconds": given.ms / 1000,
            }


def _checked(file, key):
    """An answer file, if it is whole and of this test."""
    answered = _parsed(file)
    body = answered.model_dump(exclude={"checksum"}, exclude_unset=True)
    if checksum(body) != answered.checksum:
        got = f"{answered.checksum!r}: something was changed"
        _refuse(file, "the checksum of its content", got, AGAIN)
    if (answered.test, answered.version) != (key.test, key.version):
        _refuse(
            file,
            f"answers to test {key.test}, version {key.version}",
            f"{answered.test!r}, {answered.version!r}",
            KEEP,
        )
    _check_participant(file, answered)
    _check_questions(file, answered, key)
    for given in answered.answers:
        scales = key.scales(given.kind)
        if set(given.answer) != set(scales):
            expected = f"answers on {scales} to {' and '.join(given.clips)}"
            _refuse(file, expected, sorted(given.answer), AGAIN)
    return answered


def _check_participant(file, answered):
    """Whether the number is one that was given, or the one that follows from the platform's id."""
    if answered.platform is None:
        if answered.participant > NUMBERS:
            got = f"{answered.participant}, and no platform"
            _refuse(file, f"a participant number from 1 to {NUMBERS}, or a platform", got, AGAIN)
    elif answered.participant != answered.platform.participant:
        expected = f"participant {answered.platform.participant}, who follows from the id"
        _refuse(file, expected, answered.who, AGAIN)


def _check_questions(file, answered, key):
    """Whether these are all questions of this participant, in their order."""
    planned = key.plan(answered.participant)
    missing = [
        f"{kind} of {' and '.join(clips)}"
        for kind, clips in planned
        if (kind, clips) not in answered.trials
    ]
    if missing:
        _refuse(
            file,
            f"{len(planned)} answers",
            f"{len(answered.answers)}; missing: {', '.join(missing)}",
            f"Ask {answered.who} to open the page again in the same browser, with the same number "
            "or link: it goes on where they stopped, if the browser kept the answers.",
        )
    if answered.trials != planned:
        _refuse(
            file,
            f"the {len(planned)} questions of {answered.who} in their order",
            f"{len(answered.answers)} others",
            AGAIN,
        )


def _parsed(file):
    data = _json(file, "the JSON that the page hands out", AGAIN)
    try:
        return AnswerFile.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        expected = f"the fields {sorted(_part(problem['loc']).model_fields)}"
        if problem["type"] == "expected":
            expected = problem["msg"]
        _refuse(file, expected, _first(error), AGAIN)


def _json(file, expected, remedy):
    """What a file holds."""
    if not file.is_file():
        _refuse(file, expected, "a folder" if file.is_dir() else "no file", remedy)
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        return _refuse(file, expected, error, remedy)


def _part(place):
    """What a file holds at the place of an error."""
    parts = {"answers": Rating, "platform": Platform}
    return parts[place[0]] if len(place) > 1 else AnswerFile


def _first(error):
    """The first value that does not fit, and where it stands."""
    problem = error.errors()[0]
    value = repr(problem["input"])
    if len(value) > 80:
        value = f"{value[:80]} ..."
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    reason = "" if problem["type"] == "expected" else f" ({problem['msg'].lower()})"
    return f"{value} at {place.removeprefix('.') or 'the top'}{reason}"


def _refuse(file, expected, got, remedy):
    raise ValueError(f"{file}: expected {expected}. Got {got}. {remedy}")
