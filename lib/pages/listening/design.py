"""The design of a test and its page: blind names, balanced orders, the experimenter's key."""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import cache, check
from .. import embed, runtime
from ..audio import AUDIO, mp3_text
from .answers import VERSION

#: Scale -> question, name of its low end (1), name of its high end (9): the two scales of the
#: Self-Assessment Manikin (Bradley and Lang 1994), asked of the music and not of the listener.
RATINGS = {
    "valence": (
        "How does the music sound: sad or happy?",
        "very sad, unpleasant",
        "very happy, pleasant",
    ),
    "arousal": (
        "How does the music sound: calm or excited?",
        "very calm, sleepy",
        "very excited, awake",
    ),
}


@dataclass(frozen=True)
class ListeningTest:
    """A test to hand out, shown inline in a notebook.

    Attributes
    ----------
    data : dict
        All that the page holds: clips under names that say nothing, questions, and who hears what
        in which order.
    key : dict
        For the experimenter alone: ``clips`` {name: [condition, item]}, ``conditions`` (the first
        is the reference), and what :func:`read` needs to check answers.
    """

    data: dict
    key: dict

    def _repr_html_(self):
        return self._render("listening.html", alone=False)

    @property
    def html(self) -> str:
        """The page that stands alone. Its policy forbids it to fetch or send anything."""
        return self._render("listening_alone.html", alone=True)

    def _render(self, template, alone):
        data = self.data | {"alone": alone}
        return embed.render(template, place=embed.place("listening"), data=data)

    def save(self, folder: str | os.PathLike) -> Path:
        """Write index.html, to hand out, and key.json, to keep. Returns the page's path.

        Raises
        ------
        FileExistsError
            The folder holds the key of another test, without which its answers say nothing.
        """
        folder = check.path("folder", folder)
        key = json.dumps(self.key, indent=1)
        _refuse_another(folder / "key.json", key)
        cache.write(folder / "key.json", key)
        return cache.write(folder / "index.html", self.html)


def _refuse_another(file, key):
    """Keep the key of a test that may have been handed out."""
    if file.exists() and file.read_bytes() != key.encode():
        raise FileExistsError(
            f"{file} is the key of another test: without it nobody can read that test's answers. "
            "Choose another folder, or delete it."
        )


def page(
    clips: Mapping[str, Mapping[str, np.ndarray]],
    sample_rate: int,
    *,
    title: str,
    seed: int = 0,
    ratings: Mapping[str, tuple[str, str, str]] = RATINGS,
    comparisons: Iterable[tuple[str, str]] | None = None,
    question: tuple[str, str] = ("happier", "Which one sounds happier?"),
    completion: str | None = None,
) -> ListeningTest:
    """Make a blind test.

    Participant p gets row p of a balanced Latin square, first of the clips, then of the pairs; the
    sides of half of the pairs are swapped, of the other half for the next participant.

    Participants type the number that they were given, from 1 to 9999, or follow a link that says
    who they are: behind the page's address ``?participant=7`` or ``?participant=anna``, Prolific's
    ``?PROLIFIC_PID=...&STUDY_ID=...&SESSION_ID=...``, or what Mechanical Turk appends (``workerId``,
    ``hitId``, ``assignmentId``). The number, and with it the row, of whoever has an id that is none
    follows from the id (:class:`~lib.pages.listening.answers.Platform`): rows are then drawn by
    lot, balanced on average and not exactly.

    The page runs on jsPsych (de Leeuw et al. 2023), which npm installs once.

    Parameters
    ----------
    clips : dict
        {condition: {item: audio [shape=(sample,) or (2, sample)]}}; every condition has the same items. The first
        condition is the reference. Conditions and items that are no text, such as strengths, are
        called by their str from here on.
    sample_rate : int
        Hz.
    title : str
        What participants read; it must not name a condition.
    seed : int
        Which clip gets which name and place.
    ratings : dict
        {scale: (question, name of 1, name of 9)}; empty for no ratings.
    comparisons : iterable of (condition, condition), optional
        Pairs of conditions that are compared within every item; by default all, empty for none.
    question : (scale, text)
        What is asked of a pair.
    completion : str, optional
        What a crowdsourcing platform wants at the end: a code, which is shown, or an address that
        begins with https://, which becomes a link. It stands in the page's source, as everything
        does in a page without a server.

    Raises
    ------
    ValueError, TypeError
        Fewer than two conditions, items that differ between them, unknown conditions, nothing to
        ask, audio that is not one finite clip, a completion that is neither code nor address, or a
        text that names a condition.
    RuntimeError
        npm could not install jsPsych (:func:`lib.pages.runtime.files`); nothing is made then.
    """
    clips = _named(clips)
    conditions = list(clips)
    items = list(clips[conditions[0]])
    compared = _compared(comparisons, conditions)
    ratings = _ratings(ratings)
    question = _worded("question", question, ("scale", "question"))
    if not isinstance(title, str) or not title.strip():
        check.refuse(TypeError, "title", "a text", title)
    seed = check.count("seed", seed, 0)
    if not ratings and not compared:
        raise ValueError("A test needs ratings or comparisons. Got neither.")
    completion = _completion(completion)
    _check_blind(conditions, ratings, title, *question, *completion.values())
    sample_rate = check.count("sample_rate", sample_rate)
    sounds = {(c, i): check.clip(AUDIO, clips[c][i]) for c in conditions for i in items}
    runtime.files("jspsych")

    drawn_from = [VERSION, title, seed, ratings, compared, question, list(sounds)]
    draw, test = _identity(drawn_from, sounds, sample_rate)
    rng = np.random.default_rng(draw)
    names = [f"c{k + 1:02d}" for k in rng.permutation(len(sounds))]
    name_of = dict(zip(sounds, names, strict=True))
    common = {
        "test": test,
        "version": VERSION,
        "title": title,
        "orders": {
            "rating": np.array(sorted(names))[williams(len(names))].tolist() if ratings else [],
            "pair": _pair_orders(compared, items, name_of, rng),
        },
    }
    key = {
        "conditions": conditions,
        "ratings": list(ratings),
        "pair": question[0],
        "clips": {name: [*which] for which, name in name_of.items()},
    }
    sound_of = {name: mp3_text(sounds[which], sample_rate) for which, name in name_of.items()}
    data = {
        "ratings": [
            {"name": scale, "question": text, "low": low, "high": high}
            for scale, (text, low, high) in ratings.items()
        ],
        "pair": {"name": question[0], "question": question[1]},
        "completion": completion,
        "clips": {name: sound_of[name] for name in sorted(names)},  # an order that says nothing
    }
    return ListeningTest(common | data, common | key)


def _identity(drawn_from, sounds, sample_rate):
    """A number to draw names and orders from, and the test's name."""
    content = hashlib.sha256(repr(drawn_from).encode())
    for audio in sounds.values():
        content.update(np.ascontiguousarray(audio).tobytes())
    draw = int(content.hexdigest()[32:], 16)
    content.update(str(sample_rate).encode())  # at another rate the same samples sound otherwise
    return draw, content.hexdigest()[:12]


def _named(clips):
    """Conditions and items by their str, which must stay different and the same everywhere."""
    clips = check.mapping("clips", clips, "{condition: {item: audio}}")
    clips = {c: check.mapping(f"clips[{c!r}]", row, "{item: audio}") for c, row in clips.items()}
    named = {str(c): {str(i): audio for i, audio in row.items()} for c, row in clips.items()}
    there = {str(c): [str(i) for i in row] for c, row in clips.items()}
    items = set(next(iter(there.values()), []))
    whole = all(set(row) == items and len(row) == len(items) for row in there.values())
    if len(clips) < 2 or len(named) != len(clips) or not items or not whole:
        raise ValueError(f"clips needs two or more conditions with the same items. Got {there}.")
    return named


def _compared(comparisons, conditions):
    """Pairs of conditions that are compared."""
    if comparisons is None:
        return list(itertools.combinations(conditions, 2))
    expected = f"pairs of two of {conditions}, each of them once"
    if isinstance(comparisons, str) or not isinstance(comparisons, Iterable):
        check.refuse(TypeError, "comparisons", expected, comparisons)
    comparisons = list(comparisons)
    if any(isinstance(pair, str) or not isinstance(pair, Iterable) for pair in comparisons):
        check.refuse(TypeError, "comparisons", expected, comparisons)
    compared = [tuple(map(str, pair)) for pair in comparisons]
    pairs = [frozenset(pair) & {*conditions} for pair in compared]
    whole = all(len(pair) == len(known) == 2 for pair, known in zip(compared, pairs, strict=True))
    if not whole or len(set(pairs)) < len(pairs):
        check.refuse(ValueError, "comparisons", expected, compared)
    return compared


def _ratings(ratings):
    """Scale -> question, name of 1, name of 9."""
    parts = ("question", "name of 1", "name of 9")
    ratings = check.mapping("ratings", ratings, f"{{scale: ({', '.join(parts)})}}")
    return {
        str(scale): _worded(f"ratings[{scale!r}]", texts, parts) for scale, texts in ratings.items()
    }


def _worded(name, texts, parts):
    """Texts that participants read, one for each part."""
    texts = tuple(check.texts(name, texts))
    if len(texts) != len(parts):
        check.refuse(ValueError, name, f"{len(parts)} texts ({', '.join(parts)})", texts)
    return texts


def _completion(completion):
    """What a participant gets at the end: {"code": ...}, {"address": ...}, or nothing."""
    if completion is None:
        return {}
    (text,) = check.texts("completion", [completion])
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        return {"code": text}
    if re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?([/?][!-~]*)?", text):
        return {"address": text}
    expected = "a code of 1 to 64 letters, digits, _ and -, or an address that begins with https://"
    return check.refuse(ValueError, "completion", expected, completion)


def _check_blind(conditions, ratings, *texts):
    """Participants read all of these texts: none may name a condition."""
    texts = list(texts)
    for scale, more in ratings.items():
        texts += [scale, *more]
    for name, text in itertools.product(conditions, texts):
        # a code may join words by an underscore, which is no letter here
        if re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", text, re.IGNORECASE):
            raise ValueError(
                f"Participants would read the condition {name!r} in {text!r}: not a blind test."
            )


# ------------------------------------------------------------------------------------------- orders
def williams(n: int) -> np.ndarray:
    """Balanced Latin square (Williams 1949).

    Over its orders every thing stands equally often at every position, and follows every other one
    equally often.

    Returns
    -------
    np.ndarray [shape=(order, position)]
        n orders, 2n if n is odd.
    """
    first = [(i + 1) // 2 if i % 2 else -(i // 2) for i in range(n)]
    rows = (np.array(first, int) + np.arange(n)[:, None]) % max(n, 1)
    return rows if n % 2 == 0 else np.concatenate([rows, rows[:, ::-1]])


def _pair_orders(compared, items, name_of, rng):
    """Orders of pairs [name, name], one a participant.

    Half of them are swapped, and the other half in the next order; all is turned over in the second
    round, so that no pair's side goes with its position.
    """
    trials = [
        ([name_of[condition, item] for condition in pair], j + k)
        for j, pair in enumerate(compared)
        for k, item in enumerate(items)
    ]
    trials = [trials[k] for k in rng.permutation(len(trials))]
    orders = []
    for turn, (row, order) in itertools.product(range(2), enumerate(williams(len(trials)))):
        pairs = []
        for k in order:
            pair, number = trials[k]
            swapped = (number + row + turn) % 2 == 1
            pairs.append(pair[::-1] if swapped else pair)
        orders.append(pairs)
    return orders
