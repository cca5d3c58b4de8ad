"""All that is asked of a model about its understanding of emotion words."""

from dataclasses import dataclass

import numpy as np

from ... import check
from ...musicgen import activations
from ...musicgen.model import Model
from ...organism import captions, music
from ..causal import perception
from ..steering.instruments import Instruments
from . import songs, words

#: Levels of a cue in standard deviations, low and high.
ENDS = (-1.2, 1.2)
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
        Songs of each word, others, in which its strongest cue is found.
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
        Effects in the songs in which the strongest cue is found.
    sung, degree, denied, heard, moved : np.ndarray [shape=(word, cue)]
        Effects of the word alone, of "very" against "slightly", of "not", of the cue on the
        likelihood under the word (in typical sizes), and of the word's state added.
    weighed : np.ndarray [shape=(word,)]
        How much less a tempo moves energy beside the word than beside a neutral one.
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


def gather(model: Model, design: Design | None = None) -> Evidence:
    """Ask a model everything."""
    return _Asking(model, design or Design()).all()


class _Asking:
    def __init__(self, model, design):
        self.model = model
        self.design = design
        self.words = words.bank(design.each)
        self.names = list(self.words["word"])
        self.site = activations.at(model, design.depth)
        first = design.finding
        self.takes = range(first, first + design.takes)
        # further takes, of which a few
        self.few = range(first + design.takes, first + design.takes + design.few)
        neutral = self._sing(words.NEUTRAL, NEUTRAL_TAKES).reshape(-1, len(songs.CUES))
        spread = neutral.std(0)
        # a cue that no neutral song varies in is measured in its own unit
        self.spread = np.where(spread > 0, spread, 1.0)

    def all(self):
        states, ends = self._states()
        moved, kept = self._move(states)
        return Evidence(
            words=self.words,
            own=self._effect(self._sing(self.names, range(self.design.finding))),
            sung=self._effect(self._sing(self.names, self.takes)),
            degree=self._degree(),
            denied=self._effect(self._sing([f"not {word}" for word in self.names], self.few)),
            heard=self._hear(),
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
        emotion word. Density is left out: onsets a second hold the tempo itself.
        """
        plain = self._fast_minus_slow(words.NEUTRAL, range(2 * len(self.few)))
        return plain.mean() - self._fast_minus_slow(self.names, self.few)

    def _fast_minus_slow(self, phrases, takes):
        fast, slow = (
            self._energy([f"{phrase}, {tempo}" for phrase in phrases], takes).mean(1)
            for tempo in ("fast", "slow")
        )
        return fast - slow

    def _energy(self, phrases, takes):
        cues = self._sing(phrases, takes) / self.spread
        loud, legato = (songs.CUES.index(cue) for cue in ("dynamics", "articulation"))
        return (cues[..., loud] - cues[..., legato]) / np.sqrt(2)

    def _states(self):
        asked = words.in_prompts(words.NEUTRAL[:1], range(self.design.pieces))
        seeds = [songs.FIRST_SEED + STATE_TAKES + take for take in asked["take"]]
        pieces = self._generate(asked["prompt"], seeds)
        states = songs.state(self.model, self.site, self.names, pieces)
        table = words.cues()
        vectors = songs.state(self.model, self.site, list(table["word"]), pieces)
        vectors -= vectors.mean(0)
        ends = [
            [
                vectors[(table["cue"] == cue) & (table["end"] == end)].mean(0)
                for end in ("low", "high")
            ]
            for cue in songs.CUES
        ]
        return states - states.mean(0), np.array(ends)

    def _move(self, states):
        """Songs of neutral prompts with a word's state added, against the same without; every word
        has takes of its own.
        """
        few = len(self.few)
        takes = range(OWN_TAKES, OWN_TAKES + few * len(self.names))
        asked = words.in_prompts(words.NEUTRAL[:1], takes)
        seeds = [songs.FIRST_SEED + take for take in takes]
        added = self.design.strength * np.repeat(states, few, axis=0)
        plain = self._generate(asked["prompt"], seeds)
        with activations.edit(self.model, activations.Edit(self.site, add=added, stream="cond")):
            moved = self._generate(asked["prompt"], seeds)
        change = songs.heard(moved) - songs.heard(plain)
        instruments = Instruments(self.model, seconds=self.design.seconds)
        recognised, before = (
            np.array(instruments.recognised(clips), float) for clips in (moved, plain)
        )
        kept = (recognised - before).reshape(-1, few).mean(1)
        return self._effect(change.reshape(len(self.names), few, -1)), kept

    def _generate(self, prompts, seeds):
        seconds = self.design.seconds
        return self.model.generate(list(prompts), seconds, seeds, keep=True, progress=False)

    def _hear(self):
        """How much likelier a cue's high end is than its low end under each word."""
        n = self.design.heard
        audio = [
            perception.varied({cue: level}, n, seconds=2.0)
            for cue in songs.CUES
            for level in _levels(cue)
        ]
        tokens = self.model.encode(np.concatenate(audio), music.SAMPLE_RATE)
        likelihoods = []
        for word in self.names:
            clips = self.model.clips(tokens, [f"{word} music"] * len(tokens), decode=False)
            likelihoods.append(-self.model.cross_entropy(clips, batch_size=64))
        by_end = np.reshape(likelihoods, (len(self.names), len(songs.CUES), 2, n)).mean(-1)
        gained = by_end[..., 1] - by_end[..., 0]
        gained -= gained.mean(0)
        return gained / np.sqrt((gained**2).mean())


def _levels(cue):
    return perception.MODES if cue == "mode" else ENDS
