"""The same cues by another composer, on other instruments: music for a listener that must share
nothing with the organisms.

A listener that learned from the organisms' own kind of music may know its tonics, its chords and
its soundfont rather than what a cue sounds like. Here the cues are those of :class:`music.Cues`
and mean the same; all else is different. Tonics, chords, bars, melodies and accompaniment are
drawn anew, and no two clips have the same instrument: tones are sums of partials (additive
synthesis), whose weights, onsets and decays are drawn for every clip. No soundfont takes part.

>>> from lib.organism import foreign, music
>>> foreign.clip(music.Cues(tempo=140), seconds=2, seed=1).shape
(32000,)
"""

from collections.abc import Mapping
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd

from .. import check
from . import corpus, music, world

#: Pitch classes of the tonics: those that ``music.TONICS`` lacks.
TONICS = tuple(sorted(set(range(12)) - set(music.TONICS)))
#: Scale degrees of the chord roots, one chord a bar. The same three chords as in ``music``, as they
#: are what mode is heard from, in other orders.
PROGRESSIONS = ((0, 3, 4, 4), (0, 0, 3, 4), (0, 4, 4, 0), (0, 3, 3, 0), (0, 4, 3, 4), (0, 3, 4, 3))
#: Beats of a bar.
BARS = (2, 3)
#: What accompanies on the beats of a bar: "stride" has the bass on the first beat and the chord on
#: the others, "broken" one tone of the chord a beat, "held" the bass on every beat and the chord on
#: the first.
PATTERNS = ("stride", "broken", "held")
#: Partials of a tone, and the highest frequency of one, Hz.
PARTIALS = 16
HIGHEST = 7_500.0
#: Corner of the shelf that is the brightness, Hz, as in ``music``.
CORNER = 1_200.0
#: Seconds in which a released note dies.
RELEASE = 0.06


class Note(NamedTuple):
    """A note.

    Attributes
    ----------
    start, end : float
        Seconds.
    pitch : int
        MIDI.
    level : float
        Amplitude, 1 for the loudest.
    """

    start: float
    end: float
    pitch: int
    level: float


def sample(n: int, seed: int, name: str = "organism", seconds: float = corpus.SECONDS):
    """Clips of a world, played by this composer, on all cores.

    Parameters
    ----------
    n, seed : int
    name : str
        A key of ``world.WORLDS``.
    seconds : float

    Returns
    -------
    audio : np.ndarray [shape=(clip, sample)], float32
        At ``music.SAMPLE_RATE``.
    table : pd.DataFrame
        From ``corpus.table``; its instruments play no part.
    """
    table: pd.DataFrame = corpus.table(name, n, seed)
    jobs = (joblib.delayed(_render)(row, seconds) for row in table.to_dict("records"))
    return np.stack(joblib.Parallel(n_jobs=-1)(jobs)), table


def _render(row: Mapping, seconds):
    return clip(world.to_cues(row), seconds, row["clip_seed"])


def clip(cues: music.Cues, seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """Compose and play in one call.

    Returns
    -------
    np.ndarray [shape=(seconds * music.SAMPLE_RATE,)], float32
        The level of the loud frames is ``cues.dynamics``.
    """
    notes = compose(cues, seconds, seed)
    audio = _shelf(play(notes, seconds, seed), cues.brightness)
    audio *= 10 ** ((cues.dynamics - music.loud_level(audio, music.SAMPLE_RATE)) / 20)
    peak = np.abs(audio).max()
    return (audio * min(1.0, 0.99 / max(peak, 1e-9))).astype(np.float32)


# -------------------------------------------------------------------------------------- composition
def compose(cues: music.Cues, seconds: float = 6.0, seed: int = 0) -> list[Note]:
    """Write a piece with the given cues; the seed chooses all else.

    Something falls on every beat, so that the tempo can be heard. The melody jumps between tones of
    the chord and walks between neighbours of the scale.
    """
    seconds = check.number("seconds", seconds, music.FRAME)
    rng = np.random.default_rng([check.count("seed", seed, 0), 3])
    piece = _Piece(cues, rng)
    beat = 60.0 / cues.tempo
    notes = []
    for i in range(int(np.ceil(seconds / beat))):
        notes += piece.accompaniment(i, beat)
        notes += piece.melody(i, beat)
    return [note for note in notes if note.start < seconds - 0.05]


class _Piece:
    """What a piece draws once, and its voices beat by beat."""

    def __init__(self, cues, rng):
        self.cues = cues
        self.rng = rng
        self.tonic = int(rng.choice(TONICS))
        self.chords = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
        self.bar = int(rng.choice(BARS))
        self.pattern = PATTERNS[rng.integers(len(PATTERNS))]
        self.jumps = rng.uniform(0.2, 0.7)
        self.below = rng.integers(7, 13)
        self.at = cues.register

    def accompaniment(self, i, beat):
        bass, *chord = self._voices(i)
        place = i % self.bar
        if self.pattern == "broken":
            tones = {[bass, chord[1], chord[2]][place]: beat}
        elif self.pattern == "stride":
            tones = dict.fromkeys([bass] if place == 0 else chord, beat)
        else:
            tones = {bass: beat} | (dict.fromkeys(chord, self.bar * beat) if place == 0 else {})
        level = 0.8 if place == 0 else 0.55
        return [self._note(i * beat, gap, pitch, level) for pitch, gap in tones.items()]

    def melody(self, i, beat):
        fewest = int(np.floor(self.cues.density))
        count = fewest + int(self.rng.random() < self.cues.density - fewest)
        gap = beat / max(count, 1)
        return [self._note(i * beat + j * gap, gap, self._next(i), 1.0) for j in range(count)]

    def _next(self, i):
        """The next pitch of the melody: a tone of the chord, or a neighbour in the scale."""
        degrees = music.SCALES[self.cues.mode]
        near = np.arange(self.at - 8, self.at + 8).round().astype(int)
        scale = near[np.isin((near - self.tonic) % 12, degrees)]
        if self.rng.random() < self.jumps:
            tones = {pitch % 12 for pitch in self._voices(i)}
            scale = scale[np.isin(scale % 12, list(tones))]
        # nearer to where the melody is and to the register is likelier
        apart = np.abs(scale - self.at) + np.abs(scale - self.cues.register)
        odds = np.exp(-apart / 4) * (scale != round(self.at))
        self.at = int(self.rng.choice(scale, p=odds / odds.sum()))
        return self.at

    def _voices(self, i):
        """Bass, root, third and fifth of the chord of a beat."""
        degrees = music.SCALES[self.cues.mode]
        root = self.chords[(i // self.bar) % len(self.chords)]
        classes = [(self.tonic + degrees[(root + third) % 7]) % 12 for third in (0, 2, 4)]
        middle = self.cues.register - self.below
        bass = _lowest_from(classes[0], middle - 17)
        return [bass, *(_lowest_from(one, middle - 6) for one in classes)]

    def _note(self, start, gap, pitch, level):
        end = start + max(self.cues.articulation * gap, 0.06)
        return Note(start, end, int(pitch), level)


def _lowest_from(pitch_class, pitch):
    """The lowest pitch of a class that is not below another."""
    pitch = int(np.ceil(pitch))
    return pitch + (pitch_class - pitch) % 12


# -------------------------------------------------------------------------------------------- sound
def play(notes: list[Note], seconds: float, seed: int = 0) -> np.ndarray:
    """Notes on an instrument that the seed draws, before filter and level, [sample]."""
    instrument = _Instrument(np.random.default_rng([seed, 4]))
    length = round(seconds * music.SAMPLE_RATE)
    audio = np.zeros(length)
    for note in notes:
        first = round(note.start * music.SAMPLE_RATE)
        tone = instrument.tone(note.pitch, note.end - note.start)[: length - first]
        audio[first : first + len(tone)] += note.level * tone
    return audio


class _Instrument:
    """Weights, onset and decay of partials: struck or plucked if they die away, else blown."""

    def __init__(self, rng):
        order = np.arange(1, PARTIALS + 1)
        self.weights = order ** -rng.uniform(0.4, 2.0) * np.exp(rng.normal(0, 0.5, PARTIALS))
        self.weights[1::2] *= rng.uniform(0.1, 1.0)  # few even partials, as in a clarinet
        self.struck = rng.random() < 0.5
        self.onset = rng.uniform(0.002, 0.01) if self.struck else rng.uniform(0.01, 0.08)
        self.decay = rng.uniform(0.2, 1.2)
        self.damping = rng.uniform(0.0, 0.5)  # how much faster higher partials die
        self.vibrato = 0.0 if self.struck else rng.uniform(0.0, 0.006)
        self.phases = rng.uniform(0, 2 * np.pi, PARTIALS)

    def tone(self, pitch, duration):
        """One note, with its release."""
        time = np.arange(round((duration + RELEASE) * music.SAMPLE_RATE)) / music.SAMPLE_RATE
        frequency = 440.0 * 2 ** ((pitch - 69) / 12)
        cycles = frequency * (time - self.vibrato / 33 * np.cos(33 * time))
        envelope = np.minimum(1, time / self.onset)
        envelope *= np.clip((duration + RELEASE - time) / RELEASE, 0, 1)
        audible = np.arange(1, PARTIALS + 1) * frequency < HIGHEST
        tone = np.zeros(len(time))
        for k in np.flatnonzero(audible):
            partial = self.weights[k] * np.sin(2 * np.pi * (k + 1) * cycles + self.phases[k])
            if self.struck:
                partial *= np.exp(-time / self.decay * (1 + self.damping * k))
            tone += partial
        return tone * envelope / np.linalg.norm(self.weights)


def _shelf(audio, gain_db):
    """The band above the corner raised, that below unchanged (first order)."""
    ratio = 1j * np.fft.rfftfreq(len(audio), 1 / music.SAMPLE_RATE) / CORNER
    gain = (1 + 10 ** (gain_db / 20) * ratio) / (1 + ratio)
    return np.fft.irfft(np.fft.rfft(audio) * gain, len(audio))
