"""Music with known causes: cues -> notes -> audio.

A :class:`Cues` says what a composer sets and a listener hears. :func:`compose` writes a short piece that has them
(melody, chords and bass over a four-bar progression, as a ``pretty_midi.PrettyMIDI``) and :func:`render` plays it with
TinySoundFont and the General MIDI soundfont that ``pretty_midi`` ships. Every cue reaches the audio by exactly one
route, so that a difference in sound has one known cause:

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
"""

from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pretty_midi
import scipy.signal
import tinysoundfont

SAMPLE_RATE = 16_000
#: General MIDI programs of the instruments the music is played on.
#: The organ's patch sounds an octave below its notes (measured); it is written an octave higher.
INSTRUMENTS = {"piano": 0, "guitar": 24, "organ": 16, "violin": 40, "flute": 73, "trumpet": 56}
_TRANSPOSE = {"organ": 12}
#: Pitch classes of the tonics: few, so that a model of a few million parameters can learn them all.
TONICS = (0, 2, 5, 9)  # C, D, F, A
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
#: Scale degrees of the chord roots, one chord a bar. Only the three primary chords, which all have the third of their
#: mode (I IV V are major, i iv v minor), so that mode is heard from the first bar on.
PROGRESSIONS = ((0, 3, 4, 0), (0, 4, 0, 3), (0, 3, 0, 4), (0, 4, 3, 0))
RANGES = {
    "tempo": (50.0, 200.0),
    "density": (0.5, 3.0),
    "articulation": (0.2, 1.05),
    "register": (48.0, 84.0),
    "dynamics": (-45.0, -8.0),
    "brightness": (-24.0, 24.0),
}


@dataclass(frozen=True)
class Cues:
    """What a composer sets. Units in the module's table.

    Raises
    ------
    ValueError
        If a value is outside :data:`RANGES`, or the mode or instrument is unknown.
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
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"The cue '{name}' must be between {low:g} and {high:g}. Got {value!r}.")
        for name, known in (("mode", SCALES), ("instrument", INSTRUMENTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"The cue '{name}' must be one of {sorted(known)}. Got {getattr(self, name)!r}.")

    def but(self, **changes) -> "Cues":
        """These cues with some replaced: an intervention on the score."""
        return replace(self, **changes)

    def to_dict(self) -> dict:
        """Plain values, in the order of the fields."""
        return asdict(self)


def compose(cues: Cues, seconds: float = 6.0, seed: int = 0) -> pretty_midi.PrettyMIDI:
    """Write a piece with the given cues.

    Bass and chord fall on every beat, so the tempo can be heard; the melody walks over the scale in steps and small
    leaps, lands on chord tones on strong beats, and has ``density`` notes a beat on average.

    Parameters
    ----------
    cues : Cues
    seconds : float > 0
    seed : int
        Chooses tonic, progression, melody and rhythm; the same seed gives the same notes under other cues wherever
        the cue does not change them.

    Returns
    -------
    pretty_midi.PrettyMIDI
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive. Got {seconds!r}.")
    rng = np.random.default_rng(seed)
    tonic = int(rng.choice(TONICS))
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    beat = 60.0 / cues.tempo
    velocity = int(np.clip(80 + 2.2 * (cues.dynamics + 24), 35, 120))
    notes = []

    def add(start, gap, pitch, loud):
        end = min(start + max(cues.articulation * gap, 0.06), seconds)
        if start < seconds - 0.05:
            notes.append(
                pretty_midi.Note(
                    int(np.clip(velocity + loud, 20, 127)), int(pitch) + _TRANSPOSE.get(cues.instrument, 0), start, end
                )
            )

    melody = _Melody(rng, cues, tonic)
    for i in range(int(np.ceil(seconds / beat))):
        start, root = i * beat, progression[(i // 4) % 4]
        strong = i % 4 == 0
        bass, *chord = _triad(cues, tonic, root)
        add(start, beat, bass, 8 if strong else 0)
        for pitch in chord:
            add(start, beat, pitch, -8 if strong else -14)
        n = melody.notes_in_beat()
        for j in range(n):
            add(start + j * beat / n, beat / n, melody.step(root, land=j == 0), 12 if j == 0 else 4)
    midi = pretty_midi.PrettyMIDI(initial_tempo=cues.tempo)
    track = pretty_midi.Instrument(INSTRUMENTS[cues.instrument], name=cues.instrument)
    track.notes = sorted(notes, key=lambda note: note.start)
    midi.instruments.append(track)
    return midi


def render(midi: pretty_midi.PrettyMIDI, cues: Cues, seconds: float = 6.0) -> np.ndarray:
    """Play a piece: synthesize, filter to the brightness, set the level.

    The level of the loud frames (95th percentile of the RMS of 50 ms frames) is set to ``cues.dynamics`` after
    everything else, so neither tempo nor instrument nor brightness changes how loud a clip is: only the cue does.

    Returns
    -------
    np.ndarray [shape=(seconds * SAMPLE_RATE,)], float32
    """
    n = round(seconds * SAMPLE_RATE)
    audio = _shelf(_synthesize(midi, n), cues.brightness)
    audio *= 10 ** ((cues.dynamics - loud_level(audio, SAMPLE_RATE)) / 20)
    peak = np.abs(audio).max()
    return (audio * min(1.0, 0.99 / max(peak, 1e-9))).astype(np.float32)


def clip(cues: Cues, seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """Compose and render in one call. Returns float32 audio at :data:`SAMPLE_RATE`, shape (sample,)."""
    return render(compose(cues, seconds, seed), cues, seconds)


def loud_level(audio: np.ndarray, sample_rate: int) -> float:
    """Level of the loud frames: 95th percentile of the RMS of 50 ms frames, in dBFS. Silence gives -120."""
    frame = round(0.05 * sample_rate)
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    rms = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    return float(20 * np.log10(max(np.percentile(rms, 95), 1e-6)))


class _Melody:
    """A random walk over the scale, centred on the register and pulled back to it."""

    def __init__(self, rng, cues, tonic):
        self.rng, self.cues, self.tonic = rng, cues, tonic
        self.pitches = np.array([p for p in range(36, 97) if (p - tonic) % 12 in SCALES[cues.mode]])
        self.at = int(np.abs(self.pitches - cues.register).argmin())

    def notes_in_beat(self):
        low = int(np.floor(self.cues.density))
        draw = self.rng.random()  # drawn always, so that a seed's later choices do not depend on the density
        return low + int(draw < self.cues.density - low)

    def step(self, root, land):
        home = np.clip((self.cues.register - self.pitches[self.at]) / 5, -1, 1)
        self.at += int(np.round(self.rng.choice([-2, -1, -1, 1, 1, 2]) + home))
        self.at = int(np.clip(self.at, 0, len(self.pitches) - 1))
        if land:
            tones = {(self.tonic + SCALES[self.cues.mode][(root + k) % 7]) % 12 for k in (0, 2, 4)}
            while self.pitches[self.at] % 12 not in tones:
                self.at += 1 if home >= 0 and self.at + 1 < len(self.pitches) else -1
        return self.pitches[self.at]


def _triad(cues, tonic, root):
    """Bass note and close-position triad on a scale degree, below the melody."""
    classes = [(tonic + SCALES[cues.mode][(root + k) % 7]) % 12 for k in (0, 2, 4)]

    def nearest(pitch_class, centre):
        return pitch_class + 12 * round((centre - pitch_class) / 12)

    return [nearest(classes[0], cues.register - 20)] + [nearest(c, cues.register - 9) for c in classes]


@cache
def _synth():
    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
    soundfont = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
    return synth, synth.sfload(str(soundfont))


def _synthesize(midi, n):
    synth, soundfont = _synth()
    synth.sounds_off()
    synth.generate(SAMPLE_RATE // 4)  # let the last clip's releases die, so a clip never depends on the one before
    events = []
    for channel, track in enumerate(midi.instruments):
        synth.program_select(channel, soundfont, 0, track.program)
        for note in track.notes:
            events.append((round(note.start * SAMPLE_RATE), 1, channel, note.pitch, note.velocity))
            events.append((round(note.end * SAMPLE_RATE), 0, channel, note.pitch, 0))
    audio, at = np.zeros(n, np.float32), 0
    for time, on, channel, pitch, velocity in [*sorted(events), (n, 0, 0, 0, 0)]:
        if time > at:
            stereo = np.frombuffer(synth.generate(time - at), np.float32).reshape(-1, 2)
            audio[at:time] = stereo.mean(1)[: n - at]
            at = time
        if on:
            synth.noteon(channel, pitch, velocity)
        else:
            synth.noteoff(channel, pitch)
    return audio


def _shelf(audio, gain_db, corner=1200.0):
    """First-order high shelf: the low band unchanged, the band above the corner raised by ``gain_db``."""
    # some of the soundfont's samples sit on a constant offset, which is no sound but would count as level
    audio = scipy.signal.sosfilt(scipy.signal.butter(2, 30.0, "high", fs=SAMPLE_RATE, output="sos"), audio)
    b, a = scipy.signal.butter(1, corner, "low", fs=SAMPLE_RATE)
    low = scipy.signal.lfilter(b, a, audio)
    return low + 10 ** (gain_db / 20) * (audio - low)
