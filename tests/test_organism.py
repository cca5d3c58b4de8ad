"""The worlds and their language."""

import numpy as np
import pytest

from lib.musicgen import miniature
from lib.organism import captions, corpus, music, world


def test_decoupled_world_differs_in_one_edge_only():
    a = world.sample(20_000, "organism", 1)
    b = world.sample(20_000, "organism-decoupled", 1)
    assert np.corrcoef(a["tempo"], a["dynamics"])[0, 1] > 0.45
    assert abs(np.corrcoef(b["tempo"], b["dynamics"])[0, 1]) < 0.03
    for cue in world.CUES:  # same marginals
        assert abs(a[cue].mean() - b[cue].mean()) < 0.03 and abs(a[cue].std() - b[cue].std()) < 0.03


def test_interventions_follow_the_graph():
    def effect(name, cue, on):
        high, low = (world.sample(20_000, name, 5, do={cue: v})[on].mean() for v in (1, 0))
        return high - low

    energy_path = sum(
        w * world.EDGES[c].get("arousal", 0) for c, w in world.EDGES["energy"].items()
    )
    expected = pytest.approx(0.45 + 0.6 * energy_path, abs=0.02)
    assert effect("organism", "tempo", "arousal") == expected
    assert effect("organism-decoupled", "tempo", "arousal") == pytest.approx(0.45, abs=0.02)
    assert effect("organism", "dynamics", "tempo") == pytest.approx(0, abs=0.02)
    assert effect("organism", "energy", "articulation") == pytest.approx(-0.7, abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"do": {"emotion": 1}}, "'emotion'"),
        ({"do": {"staccato": 1}}, "low articulation"),
        ({"do": {"tempo": np.nan}}, "tempo"),
        ({"world": "organism-reversed"}, "organism-reversed"),
        ({"n": 0}, "n must be"),
        ({"n": -3}, "n must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_wrong_samples_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        world.sample(**{"n": 5, **wrong})


def test_numpy_numbers_are_numbers():
    plain = corpus.table("organism", 5, 3)
    assert corpus.table("organism", np.int64(5), np.int32(3)).equals(plain)
    assert world.sample(5, seed=3, do={"tempo": np.float32(0.5)})["tempo"].eq(0.5).all()
    with pytest.raises(TypeError, match="n must be"):
        world.sample(2.5)


def test_only_points_are_emotions():
    names, clear = world.name_emotion([[0.9, 0.4], [0.02, 0.0]])
    assert names[0] == "happy" and clear.tolist() == [True, False]
    with pytest.raises(ValueError, match="NaN"):
        world.name_emotion([[np.nan, 0.0]])
    with pytest.raises(ValueError, match="points"):
        world.name_emotion([0.1, 0.2])
    with pytest.raises(ValueError, match="emotion must be"):
        world.conditional_means(["bored"], n=10)


def test_a_model_knows_its_world():
    class Loaded:
        name = "organism-decoupled"

    assert world.of(Loaded()) == world.of("organism-decoupled") == "organism-decoupled"
    assert world.of("facebook/musicgen-small") is None and world.of(None) is None


CAPTIONS = [
    "heartbroken",
    "a simple woodwind excerpt in a minor key",
    "a walking piano tune",
    "hushed sparse",
]
ARTICULATION = 1.9298886247431022


def test_the_worlds_are_those_the_shipped_models_learned():
    """A change of a word list, of an order or of a draw would make other worlds."""
    table = corpus.table("organism", 4, seed=100)
    assert list(table["caption"]) == CAPTIONS
    first = table.iloc[0]
    assert first["articulation"] == pytest.approx(ARTICULATION)
    assert world.to_cues(first).articulation == pytest.approx(0.65 + 0.17 * ARTICULATION)
    shuffled = corpus.table("organism-shuffled", 4, seed=100)
    assert shuffled.equals(table), "its captions are shuffled where it is trained and harvested"


def test_captions_say_only_what_is_there_and_keep_pairs_apart():
    table = world.sample(3000, seed=2)
    content = captions.words()
    rng = np.random.default_rng(0)
    seen = set()
    for row in table.to_dict("records"):
        text = captions.caption(row, rng).replace(",", "").split()
        named = [word for word in text if word in content]
        seen |= set(named)
        for word in named:
            family, level = content[word]
            if family == "emotion":
                assert row["clear"] and row["emotion"] == level
            elif family == "instrument":
                assert row["instrument"] == level
            else:
                assert captions.level(family, row[family]) == level
        assert not any(captions.held_out(a, b) for i, a in enumerate(named) for b in named[i + 1 :])
    assert seen == set(content)  # every word is learned ...
    emotions = [w for ws in captions.EMOTION_WORDS.values() for w in ws]
    instruments = [w for ws in captions.INSTRUMENT_WORDS.values() for w in ws]
    share = np.mean([captions.held_out(a, b) for a in emotions for b in instruments])
    assert 0.05 < share < 0.2  # ... but not every pair


def test_legato_is_high_articulation():
    assert captions.words()["legato"] == ("articulation", "high")
    assert captions.words()["staccato"] == ("articulation", "low")
    short, long = (music.Cues(articulation=share) for share in music.RANGES["articulation"])
    assert short.articulation < long.articulation
    with pytest.raises(ValueError, match="low articulation"):
        world.check_cue("cue", "staccato")


def test_words_have_one_meaning(monkeypatch):
    monkeypatch.setitem(captions.EMOTION_WORDS, "sad", ["sad", "slow"])
    with pytest.raises(ValueError, match="two lists"):
        captions._check_words()
    monkeypatch.setitem(captions.EMOTION_WORDS, "bored", ["bored"])
    with pytest.raises(ValueError, match="emotion"):
        captions._check_words()


def test_music_has_the_codec_rate():
    assert miniature.CODEC_CONFIG["sample_rate"] == music.SAMPLE_RATE
    audio, table = corpus.sample(2, 4)
    assert audio.shape == (2, corpus.SECONDS * music.SAMPLE_RATE) and len(table) == 2
