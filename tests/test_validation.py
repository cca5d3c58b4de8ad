"""The bars judge only what they should."""

from types import SimpleNamespace

import librosa
import numpy as np
import pandas as pd
import pytest

from lib import stats
from lib.book import findings as book
from lib.hearing import listeners
from lib.methods import validation
from lib.organism import world


def sung_by_a_perfect_singer(measured, table, n=30):
    """Corpus clips, filed under the prompts that would describe them."""
    rows = []
    clear = table["clear"]
    for emotion in world.EMOTIONS:
        clips = table.index[clear & (table["emotion"] == emotion)]
        rows += [(i, "emotion", emotion) for i in clips]
    for cue in validation.CUE_TESTS:
        for end, sign in (("high", 1), ("low", -1)):
            rows += [(i, cue, end) for i in table.index[sign * table[cue] > 0.6][:n]]
    clips, tests, labels = zip(*rows, strict=True)
    words = [f"{label} {k % 5}" for k, label in enumerate(labels)]
    filed = pd.DataFrame({"test": tests, "label": labels, "word": words})
    return pd.concat([filed, measured.loc[list(clips)].reset_index(drop=True)], axis=1)


def test_a_perfect_singer_meets_the_bars_and_a_deaf_one_does_not(monkeypatch):
    monkeypatch.setattr(validation.own_sizes, "__defaults__", (160,))
    listener = listeners.get("corpus", 150)
    sung = sung_by_a_perfect_singer(*listeners.corpus_features(200, 955))
    bars = validation.bars("organism", sung, listener, 0.8).set_index("what")
    must = [what for what in bars.index if what.startswith(("Cohen", "... relative to the world"))]
    assert len(must) == 2 * len(world.CUES)
    must.append("cue profile against the world")
    assert bars.loc[[*must, validation.LOUDNESS_GAP], "met"].all()
    # in another order of rows they say the same
    turned = validation.bars("organism", sung[::-1], listener, 0.8).set_index("what")
    assert turned.loc[validation.RECOGNISED, "estimate"].value == pytest.approx(
        bars.loc[validation.RECOGNISED, "estimate"].value
    )
    rng = np.random.default_rng(0)
    shuffled = sung.groupby("test")["label"].transform(lambda s: rng.permutation(s.to_numpy()))
    deaf = sung.assign(label=shuffled)
    assert not validation.bars("organism", deaf, listener, 0.8)["met"].any()
    # what the shuffled organism must be
    bars = validation.bars("organism-shuffled", deaf, listener).set_index("what")
    assert list(bars["bar"]) == ["contains 0.20", "contains 0"]
    # words of habit tell of cues, not of emotions
    habit = validation.bars("organism-habit-2", sung, listener, 0.8)["what"]
    assert validation.RECOGNISED not in set(habit) and "Cohen's d, fast - slow" in set(habit)
    with pytest.raises(ValueError, match="held_out"):
        validation.bars("organism", sung, listener, np.nan)


def test_words_are_the_units_of_what_is_recognised():
    songs = pd.DataFrame(
        {
            "label": ["happy"] * 5 + ["sad"] * 4,
            "word": ["glad"] * 3 + ["merry"] * 2 + ["blue"] * 4,
            "heard": ["happy"] * 3 + ["sad"] * 2 + ["sad"] * 2 + ["happy"] * 2,
        }
    )
    ear = SimpleNamespace(hear=lambda songs: pd.DataFrame({"emotion": songs["heard"]}))
    found = validation._accuracy(songs, ear)
    assert found == stats.mean([1.0, 0.0, 0.5]) and found.n == 3


def test_a_perfect_codec_of_another_rate_and_in_stereo_keeps_everything():
    def encode(audio, sample_rate):
        perfect.sound = librosa.resample(audio[:, 0], orig_sr=sample_rate, target_sr=32_000)
        return np.tile(np.arange(64), (len(audio), 4, 1))

    def decode(tokens):
        return np.stack([0.5 * perfect.sound, 1.5 * perfect.sound], 1)

    codec = SimpleNamespace(cardinality=64)
    perfect = SimpleNamespace(encode=encode, decode=decode, codec=codec, sample_rate=32_000)
    kept = validation.codec_round_trip(perfect, 4).set_index("what")
    assert kept["met"].all()
    assert kept.loc["chroma correlation", "estimate"].value > 0.99


def test_decoupled_world_shows_no_loudness_gap():
    held_out = listeners.corpus_features(200, 956, "organism-decoupled")
    assert validation.loudness_gap(sung_by_a_perfect_singer(*held_out)).holds(0)


def test_perplexity_counts_what_is_used():
    even = np.arange(64).reshape(1, 1, 64)
    collapsed = np.zeros((1, 1, 64), int)
    assert validation.perplexity(even)[0] == pytest.approx(64)
    assert validation.perplexity(collapsed)[0] == pytest.approx(1)
    with pytest.raises(TypeError, match="tokens"):
        validation.perplexity(even / 2)


def test_a_command_that_makes_no_sense_ends_with_one_line_before_any_work(monkeypatch):
    monkeypatch.setattr(listeners, "get", lambda *_: pytest.fail("learned"))
    for n in ("0", "1"):
        with pytest.raises(SystemExit, match=f"n must be an integer, 2 or more. Got {n}"):
            validation.main(["-n", n])


def test_findings_become_verdicts():
    recognised = stats.proportion([True] * 9 + [False])
    unknown = stats.Estimate(np.nan, np.nan, np.nan, 2)
    rows = [
        ("organism", validation.RECOGNISED, recognised),
        ("organism", validation.LOUDNESS_GAP, unknown),
    ]
    bars = pd.DataFrame(rows, columns=["organism", "what", "estimate"])
    found = [book.finding(*finding) for finding in validation.findings(bars)]
    assert [finding.answer for finding in found] == ["above 0.2", "cannot tell from 0"]
    book.record("01_test", "some/model", found[:1])
    table = book.evidence("some/model")
    assert table["organism"][0].startswith("above 0.2\u00a0(0.90\u00a0[")
    assert book.evidence("never run").empty
