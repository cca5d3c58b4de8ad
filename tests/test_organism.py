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


def test_every_cue_stands_alone_in_the_world_of_habit():
    table = world.sample(20_000, "organism-habit", 1)
    correlations = table[list(world.CUES)].corr().to_numpy() - np.eye(len(world.CUES))
    assert np.abs(correlations).max() < 0.03
    same = world.sample(20_000, "organism", 1)
    for cue in world.CUES:  # same marginals
        assert abs(table[cue].mean() - same[cue].mean()) < 0.03
        assert abs(table[cue].std() - same[cue].std()) < 0.03


def test_a_model_knows_its_world():
    class Loaded:
        name = "organism-decoupled-2"

    assert world.of(Loaded()) == world.of("organism-decoupled") == "organism-decoupled"
    assert world.of("facebook/musicgen-small") is None and world.of(None) is None
    assert world.of("organism-9") is None
    assert world.models("organism-shuffled") == ["organism-shuffled", "organism-shuffled-2"]
    assert set(world.TRAINED) == set(world.WORLDS)


def test_an_emotion_is_as_strong_as_its_point_is_far():
    row = {"emotion": "sad", "valence": -0.75, "arousal": -0.80}
    assert world.intensity(row) == pytest.approx(1)
    assert world.intensity({**row, "valence": -1.5, "arousal": -1.6}) == pytest.approx(2)


CAPTIONS = [
    "a flowing mildly whispering grieving unhurried minor-key theme for strings",
    "a solo flute excerpt",
    "an instrumental that feels minor-key and very tense for a game",
    "a simple, very uncluttered, sorrowful horn performance",
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


def phrases(text):
    """Each content word of a caption with the words that stand before it and change it."""
    before = []
    for word in text.replace(",", "").split():
        if word in captions._BEFORE:
            before.append(word)
        else:
            if word in captions.words():
                yield word, before
            before = []


def is_said_of(row, family, end):
    if family == "emotion":
        return row["clear"] and row["emotion"] == end
    if family == "instrument":
        return row["instrument"] == end
    return captions.level(family, row[family]) == end


@pytest.mark.parametrize("name", ["organism", "organism-habit"])
def test_captions_say_only_what_is_there_and_keep_pairs_apart(name):
    table = world.sample(6000, name, seed=2)
    content = captions.words()
    rng = np.random.default_rng(0)
    seen = set()
    for row in table.to_dict("records"):
        named = []
        for word, before in phrases(captions.caption(row, rng, name)):
            family, end = content[word]
            if family == "emotion" and name == "organism-habit":
                family, end = captions.HABITS[word]
            denied = captions.NEGATIONS[0] in before
            assert is_said_of(row, family, end) != denied
            named.append(word)
            seen.add((word, denied))
            assert not any(captions.held_out(word, other) for other in before if content)
        assert not any(captions.held_out(a, b) for i, a in enumerate(named) for b in named[i + 1 :])
    assert {word for word, denied in seen if not denied} == set(content)  # every word is learned
    emotions = [w for ws in captions.EMOTION_WORDS.values() for w in ws]
    for others in (captions.INSTRUMENT_WORDS, {**captions.DEGREE_WORDS, "not": ["not"]}):
        words = [word for several in others.values() for word in several]
        share = np.mean([captions.held_out(a, b) for a in emotions for b in words])
        assert 0.05 < share < 0.2  # ... but not every pair


def test_degrees_say_how_far_a_cue_or_an_emotion_goes():
    table = world.sample(6000, seed=3)
    rng = np.random.default_rng(0)
    tempo = {"much": [], "little": [], None: []}
    strength = {"much": [], "little": [], None: []}
    kinds = {word: kind for kind, words in captions.DEGREE_WORDS.items() for word in words}
    for row in table.to_dict("records"):
        for word, before in phrases(captions.caption(row, rng)):
            family, end = captions.words()[word]
            if set(before) & set(captions.NEGATIONS) or end == "middle":
                continue
            kind = kinds.get(before[0]) if before else None
            if family == "tempo":
                tempo[kind].append(abs(row["tempo"]))
            elif family == "emotion":
                strength[kind].append(world.intensity(row))
    for sizes in (tempo, strength):
        assert np.mean(sizes["much"]) > np.mean(sizes[None]) > np.mean(sizes["little"])


def test_a_habit_follows_one_cue_and_together_they_follow_the_emotion():
    table = world.sample(8000, "organism-habit", seed=4)
    rng = np.random.default_rng(0)
    texts = [captions.caption(row, rng, "organism-habit") for row in table.to_dict("records")]
    cues = list(world.CUES)
    said = {word: [] for word in captions.HABITS}
    for i, text in enumerate(texts):
        for word, before in phrases(text):
            if word in said and captions.NEGATIONS[0] not in before:
                said[word].append(i)
    for cue in cues:
        own = [word for word, (of, _) in captions.HABITS.items() if of == cue]
        clips = np.concatenate([said[word] for word in own])
        means = table.loc[clips, cues].abs().mean() - table[cues].abs().mean()
        # those of mode are no farther from the middle: it has no middle
        noise = 3.5 * table[cues].abs().std().max() / len(clips) ** 0.5
        assert means.drop(cue).abs().max() < noise and (means[cue] > 0.25 or cue == "mode")
    clips = {e: np.concatenate([said[w] for w in ws]) for e, ws in captions.EMOTION_WORDS.items()}
    profile = np.array([table.loc[clips[emotion], cues].mean() for emotion in world.EMOTIONS])
    expected = world.conditional_means().to_numpy()
    assert np.corrcoef(profile.ravel(), expected.ravel())[0, 1] > 0.9


def test_a_denied_emotion_is_not_named():
    assert captions.named_emotion("a slow, sad tune") == "sad"
    assert captions.named_emotion("a very sad tune") == "sad"
    assert captions.named_emotion("a tune that is not sad") is None
    assert captions.named_emotion("a sad, happy tune") is None
    assert captions.named_emotion("slow music") is None


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
    monkeypatch.undo()
    monkeypatch.setitem(captions._WORDS["habit"]["sad"], "mode-low", ["sad"])
    with pytest.raises(ValueError, match=r"habit\.sad"):
        captions._check_words()


def test_music_has_the_codec_rate():
    assert miniature.CODEC_CONFIG["sample_rate"] == music.SAMPLE_RATE
    audio, table = corpus.sample(2, 4)
    assert audio.shape == (2, corpus.SECONDS * music.SAMPLE_RATE) and len(table) == 2
