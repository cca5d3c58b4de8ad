"""Each cue reaches the sound by its own route, and is measured back."""

import json

import numpy as np
import pytest
import torch

from lib.hearing import acoustics
from lib.organism import corpus, foreign, music, world

BASE = music.Cues(tempo=100, density=1.0)
#: Cue -> its low and its high end.
CHANGES = {
    "tempo": ({"tempo": 70}, {"tempo": 140}),
    "mode": ({"mode": "minor"}, {"mode": "major"}),
    "dynamics": ({"dynamics": -32}, {"dynamics": -16}),
    "articulation": ({"articulation": 0.3}, {"articulation": 1.0}),
    "register": ({"register": 58}, {"register": 74}),
    "brightness": ({"brightness": -9}, {"brightness": 9}),
}


def test_same_seed_same_clip_whatever_came_before():
    cues = music.Cues(instrument="violin", articulation=1.0)
    first = music.clip(cues, 2, seed=4)
    music.clip(music.Cues(instrument="trumpet", dynamics=-10), 2, seed=5)
    assert np.array_equal(first, music.clip(cues, 2, seed=4))
    assert not np.array_equal(first, music.clip(cues, 2, seed=6))
    assert first.shape == (32_000,) and first.dtype == np.float32


@pytest.mark.parametrize("instrument", music.INSTRUMENTS)
def test_notes_sound_at_their_pitch(instrument):
    """The lowest strong partial of a held A is an A of the octave it is written in."""
    midi = music.pretty_midi.PrettyMIDI()
    track = music.pretty_midi.Instrument(music.INSTRUMENTS[instrument])
    pitch = 57 + music.TRANSPOSE.get(instrument, 0)
    track.notes.append(music.pretty_midi.Note(90, pitch, 0.0, 2.0))
    midi.instruments.append(track)
    audio = music.render(midi, music.Cues(), 2.0)[4000:20_384]
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    frequency = np.fft.rfftfreq(len(audio), 1 / music.SAMPLE_RATE)
    lowest = frequency[np.flatnonzero(spectrum > 0.1 * spectrum.max())[0]]
    assert lowest == pytest.approx(220, rel=0.02)


@pytest.mark.parametrize("tempo", [60, 180])
@pytest.mark.parametrize("instrument", ["piano", "organ"])
def test_only_dynamics_sets_the_level(tempo, instrument):
    for brightness in (-10, 10):
        audio = music.clip(
            music.Cues(tempo=tempo, instrument=instrument, brightness=brightness, dynamics=-25), 4
        )
        assert music.loud_level(audio, music.SAMPLE_RATE) == pytest.approx(-25, abs=0.1)


def test_interventions_are_heard_as_what_they_are():
    for measure, (low, high) in CHANGES.items():
        pairs = [
            [
                acoustics.measure(music.clip(BASE.but(**change), 6, seed))[measure]
                for change in (low, high)
            ]
            for seed in range(4)
        ]
        assert all(a < b for a, b in pairs), measure


@pytest.mark.parametrize(
    "bad",
    [
        {"tempo": 20},
        {"tempo": np.nan},
        {"mode": "dorian"},
        {"instrument": "kazoo"},
        {"dynamics": 3},
    ],
)
def test_bad_cues_are_named(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=f"cue '{name}'"):
        music.Cues(**bad)


def test_cues_are_plain_numbers():
    """numpy's numbers are welcome and can be written as JSON; text and truth values are none."""
    cues = music.Cues(tempo=np.float32(120), register=np.int64(60))
    assert json.loads(json.dumps(cues.to_dict()))["tempo"] == 120
    for wrong in ("fast", True, None):
        with pytest.raises(TypeError, match="cue 'tempo'"):
            music.Cues(tempo=wrong)


@pytest.mark.parametrize("seconds", [0, -1, 0.01, np.nan, np.inf])
def test_no_time_no_music(seconds):
    for function in (music.compose, music.clip):
        with pytest.raises(ValueError, match="seconds"):
            function(music.Cues(), seconds)


def test_tempo_of_a_click_track():
    for bpm in (72, 120, 150):
        clicks = np.zeros(6 * 16_000, np.float32)
        for beat in np.arange(0, 6, 60 / bpm):
            start = int(beat * 16_000)
            clicks[start : start + 400] += np.hanning(400) * np.sin(np.arange(400))
        measured = acoustics.measure(clicks)["tempo"]
        assert abs(measured / bpm - 1) < 0.04 or acoustics.octave_error(measured, bpm)


def test_octave_errors_are_told_from_others():
    assert acoustics.octave_error(60, 120) and acoustics.octave_error(180, 120)
    assert not acoustics.octave_error(120, 120) and not acoustics.octave_error(100, 120)


def test_level_of_a_sine_is_known():
    sine = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert music.loud_level(sine, 16_000) == pytest.approx(-3.01, abs=0.05)
    assert music.loud_level(np.zeros(16_000), 16_000) == -120


TONE = (0.3 * np.sin(np.arange(32_000) / 9)).astype(np.float32)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.stack([TONE] * 3), "must be one clip"),
        (np.stack([TONE, TONE], axis=1), "samples seem to come before channels"),
        (np.full(16_000, np.nan), "NaN"),
        (TONE[:100], "at least one second"),
        ((TONE * 32767).astype(np.int16), "divide by 32768"),
        (TONE * 32767, "divide by"),
        ([], "Got"),
    ],
)
def test_bad_audio_is_refused(bad, message):
    with pytest.raises((ValueError, TypeError), match=message):
        acoustics.measure(bad)
    with pytest.raises((ValueError, TypeError), match=message):
        acoustics.measure_all([TONE, bad])


def test_clips_of_any_form_are_measured_alike():
    """Arrays, tensors, lists of unequal clips and generators; a wrong rate is named."""
    alone = acoustics.measure(TONE)
    assert list(alone) == list(acoustics.MEASURES) == list(world.CUES)
    both = torch.from_numpy(np.stack([TONE, TONE[::-1].copy()]))
    for clips in (both, both[:, None], list(both), (clip for clip in [TONE, TONE[:20_000]])):
        assert acoustics.measure_all(clips).iloc[0].to_dict() == pytest.approx(alone)
    with pytest.raises(ValueError, match="sample_rate"):
        acoustics.measure(TONE, 0)


def test_silence_is_measured_with_a_warning():
    with pytest.warns(UserWarning, match="digital silence"):
        assert acoustics.measure(np.zeros(32_000))["dynamics"] == -120


# ----------------------------------------------------------------------------------- foreign music
def test_foreign_music_shares_causes_and_nothing_else():
    """The same rows of the world, but other tonics, chords, notes and sounds."""
    audio, table = foreign.sample(3, 5, seconds=2.0)
    ours, rows = corpus.sample(3, 5)
    assert table.equals(rows) and audio.shape == (3, 32_000) and audio.dtype == np.float32
    for one, other in zip(audio, ours, strict=True):
        assert abs(np.corrcoef(one, other[:32_000])[0, 1]) < 0.2
    assert not set(foreign.TONICS) & set(music.TONICS)
    assert not set(foreign.PROGRESSIONS) & set(music.PROGRESSIONS)
    again = foreign.clip(world.to_cues(table.iloc[1]), 2.0, table["clip_seed"][1])
    assert np.array_equal(again, audio[1])


@pytest.mark.parametrize("mode", music.SCALES)
def test_foreign_notes_are_of_one_scale_around_the_register(mode):
    cues = music.Cues(mode=mode, density=2.0, register=70)
    for seed in range(12):
        notes = foreign.compose(cues, 6.0, seed)
        classes = {note.pitch % 12 for note in notes}
        fitting = [
            tonic
            for tonic in foreign.TONICS
            if classes <= {(tonic + step) % 12 for step in music.SCALES[mode]}
        ]
        assert fitting, seed
        melody = [note.pitch for note in notes if note.level == 1.0]
        assert abs(np.mean(melody) - 70) < 3
        assert max(note.pitch for note in notes if note.level < 1.0) < 70


def test_foreign_melodies_have_their_density_and_articulation():
    for density, articulation in ((0.5, 0.3), (2.0, 0.9)):
        cues = music.Cues(tempo=120, density=density, articulation=articulation)
        notes = [foreign.compose(cues, 10.0, seed) for seed in range(20)]
        melodies = [[note for note in some if note.level == 1.0] for some in notes]
        assert np.mean([len(some) for some in melodies]) == pytest.approx(20 * density, rel=0.15)
        first = melodies[0][0]
        gap = 0.5 / max(round(density), 1)
        assert first.end - first.start == pytest.approx(articulation * gap, rel=0.01)


def test_cues_are_heard_in_foreign_music():
    for measure, (low, high) in CHANGES.items():
        clips = [
            [foreign.clip(BASE.but(**change), 4, seed) for seed in range(8)]
            for change in (low, high)
        ]
        means = [acoustics.measure_all(some)[measure].mean() for some in clips]
        assert means[0] < means[1], measure


def test_foreign_instruments_sound_at_their_pitch_and_level():
    for seed in range(6):
        audio = foreign.play([foreign.Note(0.0, 1.0, 69, 1.0)], 1.0, seed)
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
        strong = np.flatnonzero(spectrum > 0.05 * spectrum.max())
        assert np.abs((strong / 440) - np.round(strong / 440)).max() < 0.03, "only its partials"
        clip = foreign.clip(music.Cues(dynamics=-21, brightness=6), 3, seed)
        assert music.loud_level(clip, music.SAMPLE_RATE) == pytest.approx(-21, abs=0.1)
    with pytest.raises(ValueError, match="seconds"):
        foreign.clip(music.Cues(), 0)
