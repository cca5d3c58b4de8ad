"""Prompt sets say what they should, nothing else, and everything equally often."""

import numpy as np
import pytest

from lib import prompts
from lib.organism import captions, world


@pytest.mark.parametrize("kind", prompts.KINDS)
@pytest.mark.parametrize("language", prompts.LANGUAGES)
def test_crossed_prompts(kind, language):
    table = prompts.crossed(kind, 48, language)
    assert len(table) == (48 if kind == "neutral" else 240) and table["prompt"].is_unique
    names = set(world.EMOTIONS)
    assert set(table["emotion"]) == ({"neutral"} if kind == "neutral" else names)
    for column in ("template", "instrument"):
        counts = table.groupby(["emotion", column]).size()
        assert counts.max() - counts.min() <= 3
    content = table["prompt"].str.replace(",", "").str.split()
    if kind == "name":
        named = zip(content, table["emotion"], strict=True)
        assert all(names & set(words) == {emotion} for words, emotion in named)
    else:
        assert not any(names & set(words) for words in content)
    if language == "organism":
        families = content.map(lambda words: {captions.family(word) for word in words} - {None})
        expected = {"name": {"emotion"}, "implied": {"emotion"}, "neutral": set()}.get(kind)
        if expected is None:
            assert not families.map(lambda f: "emotion" in f).any()
        else:
            assert families.map(lambda f: f - {"instrument"} == expected).all()
    assert table.equals(prompts.crossed(kind, np.int64(48), language))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "hinted"}, "kind must be"),
        ({"kind": "name", "language": "latin"}, "language must be"),
        ({"kind": "name", "n": 0}, "n must be"),
        ({"kind": "name", "seed": -1}, "seed must be"),
        ({"kind": "name", "n": 49}, "at most 48"),
    ],
)
def test_bad_crossed_prompts(wrong, message):
    with pytest.raises(ValueError, match=message):
        prompts.crossed(**wrong)


def test_scenes_and_profiles_are_complete():
    assert set(prompts.SCENES) == set(prompts.PROFILES) == set(world.EMOTIONS)
    for profile in prompts.PROFILES.values():
        assert all(end in captions.CUE_WORDS[cue] for cue, end in profile.items())
    assert prompts.PROFILES["energetic"]["articulation"] == "low"  # staccato
    assert set(prompts.FAMILIES) <= set(captions.words())


def test_emotion_prompts_are_balanced_and_say_nothing_else():
    table = prompts.emotions(13)
    assert (table.groupby("label").size() == 13).all()
    content = captions.words()
    for row in table.itertuples():
        named = [content[word] for word in row.prompt.split() if word in content]
        assert named == [("emotion", row.label)]
    assert "an energetic melody" in set(prompts.emotions(40)["prompt"])


@pytest.mark.parametrize("cue", world.CUES)
def test_cue_prompts_say_one_thing(cue):
    content = captions.words()
    for row in prompts.cue(cue, 8).itertuples():
        named = [content[word] for word in row.prompt.split() if word in content]
        assert named == [(cue, row.label)]


def test_bad_prompt_sets():
    with pytest.raises(ValueError, match="loudness"):
        prompts.cue("loudness")
    with pytest.raises(ValueError, match="n must be"):
        prompts.emotions(0)
    for function in (prompts.cue, prompts.pairs, prompts.interchanges):
        with pytest.raises(ValueError, match="low articulation"):
            function("staccato")


def test_poles_go_up_with_their_variable():
    """The high end of every cue is what the world calls high."""
    for cue in world.CUES:
        low, high = prompts.POLES[cue]
        assert {captions.words()[word] for word in low} == {(cue, "low")}
        assert {captions.words()[word] for word in high} == {(cue, "high")}
    table = prompts.pairs("articulation", 10)
    assert set(table["word_high"]) == {"legato", "smooth", "flowing", "connected", "sustained"}
    assert set(table["word_low"]) == {"staccato", "detached", "short-noted", "clipped", "choppy"}
    assert (table["high"] != table["low"]).all()


def emotions_in(table, column):
    """The emotion that each prompt of a column names."""
    words = captions.words()
    said = table[column].str.replace(",", "").str.split()
    return [
        next(words[word][1] for word in prompt if words.get(word, "")[:1] == ("emotion",))
        for prompt in said
    ]


@pytest.mark.parametrize(
    ("axis", "third"),
    [
        ("valence", {"tense": "energetic", "energetic": "tense", "sad": "calm", "calm": "sad"}),
        ("arousal", {"tense": "sad", "sad": "tense", "energetic": "calm", "calm": "energetic"}),
    ],
)
def test_crossings_move_one_axis_to_a_third_emotion(axis, third):
    across = {"tense": "calm", "calm": "tense", "energetic": "sad", "sad": "energetic"}
    table = prompts.crossings(axis, 48)
    assert {*table} == {*prompts.interchanges(axis, 2), "aside"} and table["differs"].all()
    base = emotions_in(table, "base")
    assert set(base) == set(across) - set(prompts.LEARNED[axis])
    assert base.count(base[0]) == 24
    assert emotions_in(table, "source") == [across[emotion] for emotion in base]
    assert emotions_in(table, "counterfactual") == [third[emotion] for emotion in base]
    for fourth in ("other", "aside"):
        assert emotions_in(table, fourth) == [across[third[emotion]] for emotion in base]
    # the world's own places: the third has the source's end of the axis, and the base's of the other
    moved = prompts.AXES.index(axis)
    for start, source, end in zip(
        *(emotions_in(table, name) for name in ("base", "source", "counterfactual")), strict=True
    ):
        places = [np.sign(world.EMOTIONS[emotion]) for emotion in (start, source, end)]
        assert places[2][moved] == places[1][moved] != places[0][moved]
        assert places[2][1 - moved] == places[0][1 - moved] != places[1][1 - moved]


def test_crossings_have_unseen_words_used_equally_often():
    for axis in prompts.AXES:
        seen = set(" ".join(prompts.interchanges(axis, 200)["base"]).split())
        table = prompts.crossings(axis, 48)
        words = [
            word
            for prompt in table["base"]
            for word in prompt.split()
            if captions.family(word) == "emotion"
        ]
        counts = [words.count(word) for word in set(words)]
        assert len(words) == 48 and max(counts) - min(counts) <= 1 and not seen & set(words)
        for row in table.itertuples():
            on = [
                next(word for word in prompt.split() if captions.family(word) == "instrument")
                for prompt in (row.base, row.counterfactual, row.aside, row.source, row.other)
            ]
            assert on[0] == on[1] == on[2] != on[3] == on[4]
    assert table.equals(prompts.crossings("arousal", 48))
    assert not table.equals(prompts.crossings("arousal", 48, seed=1))


def test_crossings_of_one_axis_lead_to_the_source():
    learned = list(prompts.LEARNED["valence"])
    table = prompts.crossings("valence", 12, bases=learned, both=False)
    assert emotions_in(table, "base") == ["sad", "calm"] * 6
    assert emotions_in(table, "source") == emotions_in(table, "counterfactual")
    assert emotions_in(table, "source") == ["calm", "sad"] * 6
    assert emotions_in(table, "other") == ["sad", "calm"] * 6
    assert emotions_in(table, "aside") == ["tense", "energetic"] * 6
    for wrong, message in (
        ({"axis": "tempo"}, "axis must be"),
        ({"axis": "valence", "bases": ["happy"]}, "base must be"),
        ({"axis": "valence", "bases": []}, "bases is empty"),
        ({"axis": "valence", "n": 0}, "n must be"),
        ({"axis": "valence", "part": "all"}, "part must be"),
    ):
        with pytest.raises(ValueError, match=message):
            prompts.crossings(**wrong)


def test_wrong_pairs_are_refused():
    for wrong in ({"n": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="must be an integer"):
            prompts.pairs("tempo", **wrong)
    with pytest.raises(ValueError, match="part must be"):
        prompts.interchanges("tempo", 4, "all")
    with pytest.raises(ValueError, match="beside must be"):
        prompts.interchanges("tempo", 4, beside="colour")
