"""Music with known causes: cues -> notes -> audio.

A :class:`Cues` says what a composer sets and a listener hears. :func:`compose` writes a short piece
that has them (melody, chords and bass over a four-bar progression, as a ``pretty_midi.PrettyMIDI``)
and :func:`render` plays it with TinySoundFont and the General MIDI soundfont that ``pretty_midi``
ships. Every cue reaches the audio by exactly one route, so that a difference in sound has one known
cause:

=============  ==================================================  =============================
cue            unit                                                where it acts
=============  ==================================================  =============================
tempo          beats per minute                                    bass and chord on every beat
mode           "major" or "minor"                                  scale and chord progression
density        melody notes per beat                               rhythm of the melody
articulation   sounding share of the time to the next note (0-1)   note lengths
register       MIDI pitch of the melody's centre                   pitches
instrument     a key of :data:`INSTRUMENTS`                        General MIDI program
dynamics       level of the loud frames, dBFS                      velocities, then output gain
brightness     gain of a high shelf above 1.2 kHz, dB              filter, loudness kept
=============  ==================================================  =============================

>>> from lib.organism import music
>>> fast = music.Cues(tempo=160, instrument="flute")
>>> music.clip(fast, seconds=2, seed=1).shape
(32000,)
>>> fast.but(tempo=80).tempo  # the same piece, half as fast
80
"""

from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pretty_midi
import scipy.signal

from .. import check

SAMPLE_RATE = 16_000
#: General MIDI programs of the instruments the music is played on.
INSTRUMENTS = {"piano": 0, "guitar": 24, "organ": 16, "violin": 40, "flute": 73, "trumpet": 56}
#: The organ's patch sounds an octave below its notes (measured); it is written an octave higher.
TRANSPOSE = {"organ": 12}
#: Pitch classes of the tonics: few, so that a model of a few million parameters can learn them all.
TONICS = (0, 2, 5, 9)  # C, D, F, A
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
#: Scale degrees of the chord roots, one chord a bar. Only the three primary chords, which all have
#: the third of their mode (I IV V are major, i iv v minor), so that mode is heard from the first
#: bar on.
PROGRESSIONS = ((0, 3, 4, 0), (0, 4, 0, 3), (0, 3, 0, 4), (0, 4, 3, 0))
#: Lowest and highest value of each cue that is a number.
RANGES = {
    "tempo": (50.0, 200.0),
    "density": (0.5, 3.0),
    "articulation": (0.2, 1.05),
    "register": (48.0, 84.0),
    "dynamics": (-45.0, -8.0),
    "brightness": (-24.0, 24.0),
}
#: Seconds: frames in which levels are measured, and the shortest clip.
FRAME = 0.05


@dataclass(frozen=True)
class Cues:
    """What a composer sets. Units in the module's table.

    Raises
    ------
    ValueError, TypeError
        If a value is outside :data:`RANGES` or no number, or the mode or instrument is unknown.
    """

    tempo: float = 110.0
    mode: str = "major"
    density: float = 1.3
    articulation: float = 0.7
    register: float = 66.0
    dynamics: float = -24.0
    brightness: float = 0.0
    instrument: str = "piano"

    def __post_init__(self):
        for name, (low, high) in RANGES.items():
            value = check.number(f"The cue '{name}'", getattr(self, name), low, high)
            object.__setattr__(self, name, value)
        check.choice("The cue 'mode'", self.mode, SCALES)
        check.choice("The cue 'instrument'", self.instrument, INSTRUMENTS)

    def but(self, **changes) -> "Cues":
        """These cues with some replaced: an intervention on the score."""
        return replace(self, **changes)

    def to_dict(self) -> dict:
        """Plain values, in the order of the fields."""
        return asdict(self)


def clip(cues: Cues, seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """Compose and render in one call.

    Returns
    -------
    np.ndarray [shape=(seconds * SAMPLE_RATE,)], float32
    """
    return render(compose(cues, seconds, seed), cues, seconds)


# -------------------------------------------------------------------------------------- composition
def compose(cues: Cues, seconds: float = 6.0, seed: int = 0) -> pretty_midi.PrettyMIDI:
    """Write a piece with the given cues.

    Bass and chord fall on every beat, so the tempo can be heard; the melody walks over the scale
    in steps and small leaps, lands on chord tones on strong beats, and has ``density`` notes a beat
    on average.

    Parameters
    ----------
    cues : Cues
    seconds : float
        At least :data:`FRAME`.
    seed : int
        Chooses tonic, progression, melody and rhythm; the same seed gives the same notes under
        other cues wherever the cue does not change them.

    Returns
    -------
    pretty_midi.PrettyMIDI
    """
    seconds = check.number("seconds", seconds, FRAME)
    rng = np.random.default_rng(check.count("seed", seed, 0))
    tonic = int(rng.choice(TONICS))
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    melody = _Melody(rng, cues, tonic)
    track = _Track(cues, seconds)
    beat = 60.0 / cues.tempo
    for i in range(int(np.ceil(seconds / beat))):
        start = i * beat
        root = progression[(i // 4) % 4]
        bass, *chord = _triad(cues, tonic, root)
        first_of_bar = i % 4 == 0
        track.add(start, beat, bass, louder=8 if first_of_bar else 0)
        for pitch in chord:
            track.add(start, beat, pitch, louder=-8 if first_of_bar else -14)
        n_notes = melody.notes_in_beat()
        for j in range(n_notes):
            pitch = melody.step(root, land=j == 0)
            gap = beat / n_notes
            track.add(start + j * beat / n_notes, gap, pitch, louder=12 if j == 0 else 4)
    return track.to_midi()


class _Track:
    """The notes of a piece, played as its cues say.

    Parameters
    ----------
    cues : Cues
    seconds : float
        Notes end here at the latest; none starts in the last 50 ms.
    """

    def __init__(self, cues, seconds):
        self.cues = cues
        self.seconds = seconds
        self.velocity = int(np.clip(80 + 2.2 * (cues.dynamics + 24), 35, 120))
        self.notes = []

    def add(self, start, gap, pitch, louder):
        """A note at ``start``, ``gap`` seconds before the next one of its voice."""
        if start >= self.seconds - 0.05:
            return
        velocity = int(np.clip(self.velocity + louder, 20, 127))
        written = int(pitch) + TRANSPOSE.get(self.cues.instrument, 0)
        end = min(start + max(self.cues.articulation * gap, 0.06), self.seconds)
        self.notes.append(pretty_midi.Note(velocity, written, start, end))

    def to_midi(self):
        midi = pretty_midi.PrettyMIDI(initial_tempo=self.cues.tempo)
        program = INSTRUMENTS[self.cues.instrument]
        instrument = pretty_midi.Instrument(program, name=self.cues.instrument)
        instrument.notes = sorted(self.notes, key=lambda note: note.start)
        midi.instruments.append(instrument)
        return midi


class _Melody:
    """A random walk over the scale, centred on the register and pulled back to it."""

    def __init__(self, rng, cues, tonic):
        self.rng = rng
        self.cues = cues
        self.tonic = tonic
        scale = SCALES[cues.mode]
        self.pitches = np.array([p for p in range(36, 97) if (p - tonic) % 12 in scale])
        self.position = int(np.abs(self.pitches - cues.register).argmin())

    def notes_in_beat(self):
        fewest = int(np.floor(self.cues.density))
        draw = self.rng.random()  # always, so that later choices do not depend on the density
        return fewest + int(draw < self.cues.density - fewest)

    def step(self, root, land):
        """The next pitch; a tone of the chord on ``root`` if the melody is to ``land``."""
        home = np.clip((self.cues.register - self.pitches[self.position]) / 5, -1, 1)
        last = len(self.pitches) - 1
        leap = int(np.round(self.rng.choice([-2, -1, -1, 1, 1, 2]) + home))
        self.position = int(np.clip(self.position + leap, 0, last))
        if land:
            tones = _chord_tones(self.cues.mode, self.tonic, root)
            while self.pitches[self.position] % 12 not in tones:
                self.position += 1 if home >= 0 and self.position < last else -1
        return self.pitches[self.position]


def _chord_tones(mode, tonic, root):
    """Pitch classes of the triad on a scale degree, root first."""
    return [(tonic + SCALES[mode][(root + third) % 7]) % 12 for third in (0, 2, 4)]


def _triad(cues, tonic, root):
    """Bass note and close-position triad on a scale degree, below the melody."""
    tones = _chord_tones(cues.mode, tonic, root)
    bass = _nearest(tones[0], cues.register - 20)
    return [bass, *(_nearest(tone, cues.register - 9) for tone in tones)]


def _nearest(pitch_class, centre):
    return pitch_class + 12 * round((centre - pitch_class) / 12)


# ---------------------------------------------------------------------------------------- synthesis
def render(midi: pretty_midi.PrettyMIDI, cues: Cues, seconds: float = 6.0) -> np.ndarray:
    """Play a piece: synthesize, filter to the brightness, set the level.

    The level of the loud frames (95th percentile of the RMS of 50 ms frames) is set to
    ``cues.dynamics`` after everything else, so neither tempo nor instrument nor brightness changes
    how loud a clip is: only the cue does.

    Returns
    -------
    np.ndarray [shape=(seconds * SAMPLE_RATE,)], float32
    """
    n_samples = round(check.number("seconds", seconds, FRAME) * SAMPLE_RATE)
    audio = _shelf(_synthesize(midi, n_samples), cues.brightness)
    audio *= 10 ** ((cues.dynamics - loud_level(audio, SAMPLE_RATE)) / 20)
    peak = np.abs(audio).max()
    return (audio * min(1.0, 0.99 / max(peak, 1e-9))).astype(np.float32)


def loud_level(audio: np.ndarray, sample_rate: int) -> float:
    """Level of the loud frames: 95th percentile of the RMS of 50 ms frames.

    Parameters
    ----------
    audio : np.ndarray [shape=(sample,)]
        At least one frame.
    sample_rate : int

    Returns
    -------
    float
        dBFS; silence gives -120.
    """
    frame = round(FRAME * sample_rate)
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    rms = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    return float(20 * np.log10(max(np.percentile(rms, 95), 1e-6)))


@cache
def _synth():
    try:
        import tinysoundfont  # here: without it everything but new music works
    except ImportError as error:
        raise ImportError(
            "New music of the organisms' world is played by tinysoundfont, which is not installed: "
            "'pip install --no-deps tinysoundfont' (playing into arrays needs no pyaudio)."
        ) from error

    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
    soundfont = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
    return synth, synth.sfload(str(soundfont))


def _synthesize(midi, n_samples):
    """The piece as TinySoundFont plays it, mono, before filter and level."""
    synth, soundfont = _synth()
    synth.sounds_off()
    # let the last clip's releases die, so a clip never depends on the one before
    synth.generate(SAMPLE_RATE // 4)
    audio = np.zeros(n_samples, np.float32)
    position = 0
    for channel, track in enumerate(midi.instruments):
        synth.program_select(channel, soundfont, 0, track.program)
    for time, is_start, channel, pitch, velocity in [*_events(midi), (n_samples, 0, 0, 0, 0)]:
        if time > position:
            stereo = np.frombuffer(synth.generate(time - position), np.float32).reshape(-1, 2)
            audio[position:time] = stereo.mean(1)[: n_samples - position]
            position = time
        if is_start:
            synth.noteon(channel, pitch, velocity)
        else:
            synth.noteoff(channel, pitch)
    return audio


def _events(midi):
    """(sample, is_start, channel, pitch, velocity) in order of time, ends before starts."""
    events = []
    for channel, track in enumerate(midi.instruments):
        for note in track.notes:
            start = round(note.start * SAMPLE_RATE)
            end = round(note.end * SAMPLE_RATE)
            events.append((start, 1, channel, note.pitch, note.velocity))
            events.append((end, 0, channel, note.pitch, 0))
    return sorted(events)


def _shelf(audio, gain_db, corner=1200.0):
    """First-order high shelf: the band above the corner raised by ``gain_db``, below unchanged."""
    # some of the soundfont's samples sit on a constant offset, which is no sound but would count
    # as level
    highpass = scipy.signal.butter(2, 30.0, "high", fs=SAMPLE_RATE, output="sos")
    audio = scipy.signal.sosfilt(highpass, audio)
    numerator, denominator = scipy.signal.butter(1, corner, "low", fs=SAMPLE_RATE)
    low = scipy.signal.lfilter(numerator, denominator, audio)
    return low + 10 ** (gain_db / 20) * (audio - low)
