"""All that is asked of a model about its understanding of emotion words."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ... import check
from ...musicgen import activations
from ...musicgen.model import Model
from ...organism import captions, music
from .. import probes
from ..causal import perception
from ..steering.instruments import Instruments
from . import songs, words

#: Levels of a cue in standard deviations, low and high.
ENDS = (-1.2, 1.2)
END_NAMES = ("low", "high")
#: Takes of the neutral songs whose spread is the unit of effects.
NEUTRAL_TAKES = range(100, 112)
#: First takes of the pieces over which states are read, and of songs that a state is added to.
STATE_TAKES = 500
OWN_TAKES = 1000


@dataclass(frozen=True)
class Design:
    """How much is asked.

    Attributes
    ----------
    each : int
        Words of each emotion.
    takes : int
        Songs of each word whose cues are its effect.
    finding : int
        Songs of each word, others, that its effect is held against.
    few : int
        Songs of each word with a degree, denied, beside a tempo, and with its state added.
    pieces : int
        Pieces of neutral music over which states are read.
    heard : int
        Pieces of music for both ends of each cue that the model judges.
    seconds : float
        Of every song.
    depth : float
        Where states are read and added: relative depth of the block.
    strength : float
        How often a word's state is added.
    """

    each: int = 8
    takes: int = 4
    finding: int = 2
    few: int = 2
    pieces: int = 8
    heard: int = 4
    seconds: float = 3.0
    depth: float = 0.5
    strength: float = 2.0

    def __post_init__(self):
        for name in ("takes", "finding", "few", "pieces", "heard"):
            check.count(name, getattr(self, name))
        check.number("seconds", self.seconds, 1)
        check.number("depth", self.depth, 0, 1)
        check.number("strength", self.strength)


@dataclass(frozen=True)
class Evidence:
    """What was found. Effects are [word, cue] in standard deviations of neutral songs.

    Attributes
    ----------
    words : pd.DataFrame
        Columns word and emotion.
    own : np.ndarray [shape=(word, cue)]
        Effects in songs of their own, for what songs share that share nothing but the word.
    sung, degree, denied, heard, moved : np.ndarray [shape=(word, cue)]
        Effects of the word alone, of "very" against "slightly", of "not", of the cue on the
        likelihood under the word (in typical sizes), and of the word's state added.
    weighed : np.ndarray [shape=(neutral word,)]
        How much less a tempo moves energy beside words than beside the neutral word that stands for
        them, in takes of the words' own.
    states : np.ndarray [shape=(word, dim)]
    ends : np.ndarray [shape=(cue, 2, dim)]
        Mean states of the words for the low and the high end of each cue, without the mean of all.
    kept : np.ndarray [shape=(word,)]
        How often the instrument was heard with the word's state added, minus without.
    """

    words: object
    own: np.ndarray
    sung: np.ndarray
    degree: np.ndarray
    denied: np.ndarray
    heard: np.ndarray
    moved: np.ndarray
    weighed: np.ndarray
    states: np.ndarray
    ends: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class States:
    """What words do inside, over the same music.

    Attributes
    ----------
    words : pd.DataFrame
        Columns word and emotion, or those of the bank that was given.
    sites : list of str
    states : np.ndarray [shape=(site, word, dim)]
        Without the mean of all words.
    ends : np.ndarray [shape=(site, cue, 2, dim)]
        As in :class:`Evidence`.
    """

    words: object
    sites: list
    states: np.ndarray
    ends: np.ndarray


def read(
    model: Model,
    sites: Sequence[str],
    design: Design | None = None,
    bank: pd.DataFrame | None = None,
) -> States:
    """What words do at several sites of one width.

    Parameters
    ----------
    model : Model
    sites : sequence of str
        Names or globs.
    design : Design, optional
    bank : pd.DataFrame, optional
        Words to ask for instead of the design's: a column word, and what else is known of them.
    """
    asking = _Asking(model, design or Design(), bank)
    sites = [site.name for site in activations.select(model, list(sites))]
    return States(asking.words, sites, *asking.read(sites))


def embedded(model: Model, design: Design | None = None) -> States:
    """The words' own embeddings in the place of states, as one site called "embeddings": what is
    there before any layer.
    """
    bank = words.bank((design or Design()).each)
    table = words.cues()
    states = probes.static(model, list(bank["word"])).astype(np.float64)
    cues = probes.static(model, list(table["word"])).astype(np.float64)
    return States(bank, ["embeddings"], (states - states.mean(0))[None], _ends(cues[None], table))


def hear(model: Model, design: Design | None = None) -> tuple[object, np.ndarray]:
    """What a model hears: the bank of words (as in :class:`Evidence`), and its field ``heard``."""
    asking = _Asking(model, design or Design())
    return asking.words, asking.hear()


def gather(model: Model, design: Design | None = None) -> Evidence:
    """Ask a model everything."""
    return _Asking(model, design or Design()).all()


class _Asking:
    def __init__(self, model, design, bank=None):
        self.model = model
        self.design = design
        self.words = words.bank(design.each) if bank is None else bank
        self.names = list(self.words["word"])
        self.site = activations.at(model, design.depth)
        first = design.finding
        self.takes = range(first, first + design.takes)
        # further takes, of which a few
        self.few = range(first + design.takes, first + design.takes + design.few)

    @cached_property
    def spread(self):
        """Of each cue in neutral songs: the unit of effects."""
        neutral = self._sing(words.NEUTRAL, NEUTRAL_TAKES).reshape(-1, len(songs.CUES))
        spread = neutral.std(0)
        # a cue that no neutral song varies in is measured in its own unit
        return np.where(spread > 0, spread, 1.0)

    def all(self):
        (states,), (ends,) = self.read([self.site])
        moved, kept = self._move(states)
        return Evidence(
            words=self.words,
            own=self._effect(self._sing(self.names, range(self.design.finding))),
            sung=self._effect(self._sing(self.names, self.takes)),
            degree=self._degree(),
            denied=self._effect(self._sing([f"not {word}" for word in self.names], self.few)),
            heard=self.hear(),
            moved=moved,
            weighed=self._weigh(),
            states=states,
            ends=ends,
            kept=kept,
        )

    def _sing(self, phrases, takes):
        return songs.sing(self.model, phrases, takes, self.design.seconds)

    def _effect(self, cues):
        """What each word changes that others do not: [word, take, cue] -> [word, cue]."""
        means = cues.mean(1)
        return (means - means.mean(0)) / self.spread

    def _degree(self):
        much, little = (captions.DEGREE_WORDS[kind][0] for kind in ("much", "little"))
        more = self._sing([f"{much} {word}" for word in self.names], self.few)
        less = self._sing([f"{little} {word}" for word in self.names], self.few)
        return self._effect(more - less)

    def _weigh(self):
        """Fast minus slow in what tempo moves beside a neutral word, minus the same beside an
        emotion word, both in takes that no other word has: means over the emotion words that share a
        neutral one, and its luck.
        """
        neutral = captions.NEUTRAL_ADJECTIVES[: len(self.names)]
        beside = list(itertools.islice(itertools.cycle(neutral), len(self.names)))
        less = self._fast_minus_slow(beside) - self._fast_minus_slow(self.names)
        return np.array([less[k :: len(neutral)].mean() for k in range(len(neutral))])

    def _fast_minus_slow(self, phrases):
        phrases = list(phrases)
        fast, slow = (
            self._energy([f"{phrase}, {tempo}" for phrase in phrases]) for tempo in ("fast", "slow")
        )
        return fast - slow

    def _energy(self, phrases):
        """Dynamics minus articulation of songs in takes of their own, [phrase]. Density is left
        out: onsets a second hold the tempo itself.
        """
        few = len(self.few)
        takes = self._own_takes()
        asked = [phrase for phrase in phrases for _ in range(few)]
        cues = songs.sing_one_each(self.model, asked, takes, self.design.seconds) / self.spread
        loud, legato = (songs.CUES.index(cue) for cue in ("dynamics", "articulation"))
        energy = (cues[:, loud] - cues[:, legato]) / np.sqrt(2)
        return energy.reshape(len(phrases), few).mean(1)

    def _own_takes(self):
        """A few takes for each word that no other word has, one after the other."""
        return range(OWN_TAKES, OWN_TAKES + len(self.few) * len(self.names))

    def read(self, sites):
        """States of the words [site, word, dim] and of the ends of cues [site, cue, end, dim],
        without what all of their kind share.
        """
        asked = words.in_prompts(words.NEUTRAL[:1], range(self.design.pieces))
        seeds = [songs.FIRST_SEED + STATE_TAKES + take for take in asked["take"]]
        pieces = self._generate(asked["prompt"], seeds)
        table = words.cues()
        states = songs.states(self.model, sites, self.names, pieces)
        vectors = songs.states(self.model, sites, list(table["word"]), pieces)
        return states - states.mean(1, keepdims=True), _ends(vectors, table)

    def _move(self, states):
        """Songs of neutral prompts with a word's state added, against the same without; every word
        has takes of its own.
        """
        few = len(self.few)
        takes = self._own_takes()
        asked = words.in_prompts(words.NEUTRAL[:1], takes)
        seeds = [songs.FIRST_SEED + take for take in takes]
        added = self.design.strength * np.repeat(states, few, axis=0)
        plain = self._generate(asked["prompt"], seeds)
        with activations.edit(self.model, activations.Edit(self.site, add=added, stream="cond")):
            moved = self._generate(asked["prompt"], seeds)
        change = songs.heard(moved) - songs.heard(plain)
        instruments = Instruments(self.model, seconds=self.design.seconds)
        recognised, before = (
            instruments.hear(clips)["instrument"].to_numpy(float) for clips in (moved, plain)
        )
        kept = (recognised - before).reshape(-1, few).mean(1)
        return self._effect(change.reshape(len(self.names), few, -1)), kept

    def _generate(self, prompts, seeds):
        seconds = self.design.seconds
        return self.model.generate(list(prompts), seconds, seeds, keep=True, progress=False)

    def hear(self):
        """How much likelier a cue's high end is than its low end under each word."""
        n = self.design.heard
        audio = [
            perception.varied({cue: level}, n, seconds=2.0)
            for cue in songs.CUES
            for level in _levels(cue)
        ]
        tokens = self.model.encode(np.concatenate(audio), music.SAMPLE_RATE)
        likelihoods = songs.likelihoods(self.model, self.names, tokens)
        by_end = likelihoods.reshape(len(self.names), len(songs.CUES), 2, n).mean(-1)
        gained = by_end[..., 1] - by_end[..., 0]
        gained -= gained.mean(0)
        return gained / np.sqrt((gained**2).mean())


def _ends(vectors, table):
    """Means of words for both ends of every cue [site, cue, end, dim], without the mean of all,
    from vectors [site, word, dim].
    """
    vectors = vectors - vectors.mean(1, keepdims=True)
    ends = [
        [vectors[:, (table["cue"] == cue) & (table["end"] == end)].mean(1) for end in END_NAMES]
        for cue in songs.CUES
    ]
    return np.moveaxis(np.array(ends), 2, 0)


def _levels(cue):
    return perception.MODES if cue == "mode" else ENDS
