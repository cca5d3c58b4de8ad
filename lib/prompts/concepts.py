"""A concept: what a reader asks a model about, as levels and the prompts that ask for each.

Emotion, valence, arousal, the instrument and every cue of ``organism.world`` come ready
(:func:`get`); a concept of one's own is a few lines (:meth:`Concept.from_words`) or one CSV file
(:meth:`Concept.read`). Whatever takes prompts or labels takes a concept: ``concept.table`` holds
both, with the groups by which probes are split; ``prompts.pairs`` and ``prompts.interchanges``, and
with them patching and ``causal.locate``, take it in a variable's place; ``steering.Judge`` takes
its judge and its levels.

>>> from lib import concepts
>>> words = {"no": ["static", "ambient", "formless"], "yes": ["danceable", "groovy", "funky"]}
>>> concept = concepts.Concept.from_words("danceable", words)
>>> concept.levels, concept.asked("yes", 2)
(('no', 'yes'), ['a tune that sounds funky', 'a tune that sounds danceable'])
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .. import check
from ..organism import captions, world
from . import wording
from .wording import LANGUAGES

#: Columns of a concept's table.
COLUMNS = ("level", "word", "family", "template", "prompt")
#: The concepts that come ready.
READY = ("emotion", *world.CUES, "valence", "arousal", "instrument")
#: Axis of the plane of emotions -> emotions that differ in it alone, at its low and high end.
LEARNED = {"valence": ("sad", "calm"), "arousal": ("calm", "energetic")}
#: Fewest letters of a part of a word by which two words are one family.
PART = 4
PARTS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Concept:
    """Something that a prompt may ask for, in two levels or more.

    Attributes
    ----------
    name : str
    table : pd.DataFrame
        One row a prompt: level, word, family (words that a split must not part), template (the
        prompt with {} for the word) and prompt.
    judge : callable, str or a sequence of them, optional
        Who hears it, as ``listeners.get`` takes it: any function of a clip's audio and sample rate
        that returns a number, or one number a level; a listener or its name. Where it is a number,
        levels go from low to high. Without a judge, the model itself is asked.

    Raises
    ------
    ValueError
        A column is missing; fewer than two levels; a level whose words are all of one family; a
        word, family or prompt in two levels, or a prompt that is there twice.
    """

    name: str
    table: pd.DataFrame
    judge: Callable | str | Sequence | None = None

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name:
            check.refuse(TypeError, "name", "a text", self.name)
        object.__setattr__(self, "table", _checked(self.name, self.table))

    @classmethod
    def from_words(
        cls,
        name: str,
        words: Mapping[str, Iterable[str]],
        templates: Iterable[str] = wording.CARRIERS,
        families: Mapping[str, str] | None = None,
        judge=None,
    ) -> "Concept":
        """Every word in every template.

        Parameters
        ----------
        name : str
        words : mapping
            Level -> words, at least two families of them.
        templates : iterable of str
            Sentences with {} for the word.
        families : mapping, optional
            Word -> its family. Left out, words of a level that share a part of four letters or more
            are of one: "guitar" and "acoustic guitar".
        judge : optional
            As in :class:`Concept`.

        Raises
        ------
        ValueError
            A template without {} or with other braces, and as in :class:`Concept`.
        """
        if not isinstance(words, Mapping):
            check.refuse(TypeError, "words", "a mapping of levels to their words", words)
        templates = check.texts("templates", templates)
        for template in templates:
            if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
                expected = "a sentence with one {} in it, and no other braces"
                check.refuse(ValueError, "A template", expected, template)
        rows = [
            (str(level), word, template, _said(template, word))
            for level, some in words.items()
            for word in check.texts(f"words[{level!r}]", some)
            for template in templates
        ]
        table = pd.DataFrame(rows, columns=["level", "word", "template", "prompt"])
        if families is not None:
            table["family"] = [families.get(word, word) for word in table["word"]]
        return cls(name, table, judge)

    @classmethod
    def read(cls, file: str | os.PathLike, name: str | None = None, judge=None) -> "Concept":
        """A concept from a CSV file, named after it.

        Its columns are level and word, and if they are not the usual ones, prompt; family and
        template are welcome. Without prompts, every word is put into every usual sentence.

        Raises
        ------
        FileNotFoundError, ValueError
            No such file, no table, and as in :class:`Concept`.
        """
        file = check.path("file", file)
        if not file.is_file():
            raise FileNotFoundError(
                f"There is no file {file}: a CSV file with the columns level and word is expected."
            )
        try:
            # "NA" and "null" are words, too
            table = pd.read_csv(file, dtype=str, skipinitialspace=True, keep_default_na=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{file} cannot be read as a table ({error}): a CSV file in UTF-8 is expected."
            ) from error
        name = file.stem if name is None else name
        if "prompt" in table:
            return cls(name, table, judge)
        _need(name, table, ("level", "word"))
        words = {level: list(dict.fromkeys(some["word"])) for level, some in _by_level(name, table)}
        families = (
            dict(zip(table["word"], table["family"], strict=True)) if "family" in table else None
        )
        return cls.from_words(name, words, families=families, judge=judge)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels, in the order of the table."""
        return tuple(dict.fromkeys(self.table["level"]))

    def between(self, low: str, high: str) -> "Concept":
        """The same concept with two of its levels, in this order."""
        for level in (low, high):
            check.choice("level", level, self.levels)
        parts = [self.table[self.table["level"] == level] for level in dict.fromkeys((low, high))]
        return replace(self, table=pd.concat(parts))

    def part(self, name: str) -> pd.DataFrame:
        """The rows of every second family of each level: "train" or "test"."""
        start = PARTS.index(check.choice("part", name, PARTS))
        kept = [
            some[some["family"].isin(pd.unique(some["family"])[start::2])]
            for _, some in self.table.groupby("level", sort=False)
        ]
        return pd.concat(kept).reset_index(drop=True)

    def draw(self, each: int, part: str | None = None, seed: int = 0) -> pd.DataFrame:
        """Some rows of every level: words as often as one another, in the same sentences.

        Parameters
        ----------
        each : int
            Prompts for each level; where there are fewer, they come again (their songs will differ
            by their seeds).
        part : "train" or "test", optional
            Of which half of the words.
        seed : int
        """
        each = check.count("each", each)
        rows = self.table if part is None else self.part(part)
        rng = np.random.default_rng(check.count("seed", seed, 0))
        templates = rng.permutation(pd.unique(rows["template"]))
        place = rows["template"].map({template: k for k, template in enumerate(templates)})
        mixed = rows.assign(place=place).sample(frac=1, random_state=rng).sort_values("place")
        mixed["turn"] = mixed.groupby("word").cumcount()
        mixed = mixed.sort_values("turn", kind="stable")[list(COLUMNS)]
        chosen = []
        for level in self.levels:
            there = mixed[mixed["level"] == level]
            chosen.append(there.iloc[np.arange(each) % len(there)])
        return pd.concat(chosen).reset_index(drop=True)

    def split(self, rows: pd.DataFrame) -> dict:
        """By what, and how often, a probe of some rows is split, as ``probes`` takes it.

        Families are always held out; templates, too, where every level has all of its families in
        enough of them that something of it is left in every fold.

        Parameters
        ----------
        rows : pd.DataFrame
            From :meth:`draw`.

        Returns
        -------
        dict
            groups (DataFrame, one row a prompt) and n_splits (at most 4).

        Raises
        ------
        ValueError
            Rows of a level that are all of one family.
        """
        families = rows.groupby("level")["family"].nunique()
        n = int(min(4, families.min()))
        if n < 2:
            raise ValueError(
                f"All rows for {families.idxmin()!r} of {self.name!r} are of one family: draw more."
            )
        templates = rows["template"].nunique()
        held = rows.groupby(["level", "template"])["family"].nunique()
        whole = held.eq(families, level="level").groupby("level").sum().min()
        crossed = templates >= n and whole > np.ceil(templates / n) + 1
        columns = ["family", "template"] if crossed else ["family"]
        return {"groups": rows[columns], "n_splits": n}

    def asked(self, level: str, n: int, part: str | None = None, seed: int = 0) -> list[str]:
        """Some prompts of one level, drawn as in :meth:`draw`."""
        check.choice("level", level, self.levels)
        rows = self.draw(n, part, seed)
        return list(rows["prompt"][rows["level"] == level])

    def pairs(self, n: int = 24, seed: int = 0) -> pd.DataFrame:
        """Prompts that differ in the word alone, as from ``prompts.pairs``.

        Words meet only words of as many parts, so that prompts are equally long.

        Returns
        -------
        pd.DataFrame
            Columns high and low (the prompts), word_high, word_low, template.

        Raises
        ------
        ValueError
            More than two levels (see :meth:`between`), no template for words of both, or no words
            of equally many parts.
        """
        rng = np.random.default_rng([check.count("seed", seed, 0), len(self.name)])
        low, high = (pd.unique(rows["word"]) for rows in self._ends(self.table))
        meeting = [(h, lo) for h in high for lo in low if len(h.split()) == len(lo.split())]
        if not meeting:
            raise ValueError(f"No word for {self.levels[1]!r} is as long as one of the other end.")
        # every word in turn: the rows of a Latin square
        meeting.sort(
            key=lambda two: (list(low).index(two[1]) - list(high).index(two[0])) % len(low)
        )
        templates = self._templates(rng)
        rows = []
        for i in range(check.count("n", n)):
            words = meeting[i % len(meeting)]
            template = templates[(i + i // len(meeting)) % len(templates)]
            prompts = [_said(template, word) for word in words]
            rows.append((*prompts, *words, template))
        return pd.DataFrame(rows, columns=["high", "low", "word_high", "word_low", "template"])

    def interchanges(self, n: int = 24, part: str = "train", seed: int = 0) -> pd.DataFrame:
        """Base and source prompts for interchange, as from ``prompts.interchanges``.

        Base and source differ in the level in half of the rows, and always in their template.

        Returns
        -------
        pd.DataFrame
            Columns base, source, counterfactual (the source's word in the base's template), other
            (the reverse), differs, high (whether the base is of the second level).
        """
        parts = (check.count("seed", seed, 0), len(self.name), part == "test")
        rng = np.random.default_rng([int(p) for p in parts])
        ends = [pd.unique(rows["word"]) for rows in self._ends(self.part(part))]
        templates = self._templates(rng, 2)
        rows = []
        for i in range(check.count("n", n)):
            differs = i % 2 == 0
            end = (i // 2) % 2
            base = rng.choice(ends[end])
            source = rng.choice(ends[1 - end if differs else end])
            here, there = rng.choice(templates, 2, replace=False)
            said = [(here, base), (there, source), (here, source), (there, base)]
            rows.append((*(_said(*one) for one in said), differs, bool(end)))
        columns = ["base", "source", "counterfactual", "other", "differs", "high"]
        return pd.DataFrame(rows, columns=columns)

    def check_words(self, model) -> None:
        """Refuse a model that cannot read the concept's words.

        An organism reads the few hundred words of its captions; a released model reads English.
        What it cannot read of the sentences around them is only warned of.

        Raises
        ------
        ValueError
            Names the words.
        """
        unread = model.unread(pd.unique(self.table["word"]))
        if unread:
            raise ValueError(
                f"{model.name} has never read these words of {self.name!r}: {', '.join(unread)}. "
                "Leave them out, or ask a model of real language."
            )
        around = model.unread(pd.unique(self.table["prompt"]))
        if around:
            warnings.warn(
                f"{model.name} has never read these words of the prompts: {', '.join(around)}.",
                stacklevel=2,
            )

    def _ends(self, table):
        """The rows of both levels, low first."""
        if len(self.levels) != 2:
            raise ValueError(
                f"{self.name!r} has {len(self.levels)} levels: choose two of them, as in "
                f"concept.between({self.levels[0]!r}, {self.levels[1]!r})."
            )
        return [table[table["level"] == level] for level in self.levels]

    def _templates(self, rng, fewest=1):
        """Templates in random order that both levels share."""
        low, high = (set(rows["template"]) for rows in self._ends(self.table))
        shared = [t for t in pd.unique(self.table["template"]) if t in low & high and "{}" in t]
        if len(shared) < fewest:
            raise ValueError(
                f"{self.name!r} has {len(shared)} templates that both levels share, and {fewest} "
                "are needed: prompts must hold their word, in the same sentences for all words."
            )
        return [shared[i] for i in rng.permutation(len(shared))]


def _said(template, word):
    return wording.with_articles(template.replace("{}", word))


# -------------------------------------------------------------------------------------------- input
def _checked(name, table):
    """A table with all columns, in their order."""
    if not isinstance(table, pd.DataFrame):
        check.refuse(TypeError, "table", "a DataFrame with one row a prompt", type(table))
    _need(name, table, ("level", "word", "prompt"))
    table = table.reset_index(drop=True)
    given = [column for column in COLUMNS if column in table]
    for column in given:
        labels = check.labels(f"Column {column!r} of {name!r}", table[column])
        table[column] = [str(label).strip() for label in labels]
    if "template" not in given:
        table["template"] = [
            _template(*row) for row in zip(table["word"], table["prompt"], strict=True)
        ]
    if "family" not in given:
        of = {}
        for _, some in table.groupby("level", sort=False):
            of |= _families(list(pd.unique(some["word"])))
        table["family"] = table["word"].map(of)
    _check_levels(name, table)
    return table[list(COLUMNS)]


def _need(name, table, columns):
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"The table of {name!r} must have the columns {', '.join(columns)}. Missing: "
            f"{', '.join(missing)}; there are {', '.join(map(str, table.columns))}."
        )


def _by_level(name, table):
    for column in ("level", "word"):
        check.labels(f"Column {column!r} of {name!r}", table[column])
    return table.groupby("level", sort=False)


def _check_levels(name, table):
    levels = list(pd.unique(table["level"]))
    if len(levels) < 2:
        raise ValueError(f"{name!r} must have two levels or more. Got {levels}.")
    for column in ("word", "family", "prompt"):
        several = table.groupby(column, sort=False)["level"].nunique()
        for value in several.index[several > 1]:
            between = list(pd.unique(table["level"][table[column] == value]))
            raise ValueError(
                f"The {column} {value!r} stands for several levels of {name!r}, {between}: it must "
                "tell them apart."
            )
    twice = table["prompt"][table["prompt"].duplicated()]
    if len(twice):
        raise ValueError(f"The prompt {twice.iloc[0]!r} is in the table of {name!r} twice.")
    for level, some in table.groupby("level", sort=False):
        if some["family"].nunique() < 2:
            words = ", ".join(pd.unique(some["word"]))
            raise ValueError(
                f"All words for {level!r} of {name!r} are of one family ({words}): what is found "
                "with some words could not be tried on others. Add words that share no part."
            )


def _template(word, prompt):
    """The prompt with {} for its word; the prompt itself if it does not hold it."""
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", prompt)
    if found is None or "{" in prompt:
        return prompt
    return re.sub(r"\ban? \{\}", "a {}", prompt[: found.start()] + "{}" + prompt[found.end() :])


def _families(words):
    """Word -> the first word of its family: words that share a part, also by way of others."""
    families = []
    for word in words:
        parts = {part.lower() for part in re.split(r"[\s-]+", word) if len(part) >= PART}
        alike = [family for family in families if family[1] & parts]
        families = [family for family in families if not family[1] & parts]
        members = [one for family in alike for one in family[0]]
        families.append(([*members, word], parts.union(*(family[1] for family in alike))))
    return {word: members[0] for members, _ in families for word in members}


# -------------------------------------------------------------------------------------------- ready
def get(name: str | os.PathLike, language: str = "organism") -> Concept:
    """A concept that comes ready, or one from a CSV file.

    Parameters
    ----------
    name : str
        One of :data:`READY`, or the path of a CSV file (:meth:`Concept.read`).
    language : "organism" or "natural"
        Words that the organisms know, or those for a model of real language.

    Raises
    ------
    ValueError
        An unknown name or language.
    """
    check.choice("language", language, LANGUAGES)
    if str(name).endswith(".csv"):
        return Concept.read(name)
    check.choice("concept", name, READY)
    if name == "instrument":
        return _instrument(language)
    if name == "mode":
        return _mode(language)
    emotions = captions.EMOTION_WORDS
    if name == "emotion":
        words, judge = emotions, ("spectra", "cues")
    elif name in LEARNED:
        low, high = LEARNED[name]
        words, judge = {"low": emotions[low], "high": emotions[high]}, name
    else:
        ends = {end: captions.CUE_WORDS[name][end] for end in ("low", "high")}
        words, judge = {end: _adjectives(some) for end, some in ends.items()}, name
    families = wording.FAMILIES if name in ("emotion", *LEARNED) else None
    return Concept.from_words(name, words, families=families, judge=judge)


def _adjectives(words):
    return [word for word in words if word not in wording.NO_ADJECTIVES]


def _instrument(language):
    if language == "natural":
        words, families = wording.INSTRUMENTS, None
    else:  # to an organism every word is a symbol of its own, whatever its letters
        words = captions.INSTRUMENT_WORDS
        families = {word: word for some in words.values() for word in some}
    return Concept.from_words("instrument", words, wording.NOUN_CARRIERS, families, "instrument")


def _mode(language):
    if language == "natural":
        return Concept.from_words("mode", wording.MODES, wording.MODE_CARRIERS, judge="mode")
    ends = {end: captions.CUE_WORDS["mode"][end] for end in ("low", "high")}
    families = {word: word for words in ends.values() for word in words}
    return Concept.from_words("mode", ends, families=families, judge="mode")
