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


def test_wrong_pairs_are_refused():
    for wrong in ({"n": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="must be an integer"):
            prompts.pairs("tempo", **wrong)
    with pytest.raises(ValueError, match="part must be"):
        prompts.interchanges("tempo", 4, "all")
    with pytest.raises(ValueError, match="beside must be"):
        prompts.interchanges("tempo", 4, beside="colour")
