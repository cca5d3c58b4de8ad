"""Clips with all that is known of them."""

import numpy as np
import pytest

from lib import harvest, model
from lib.organism import captions, corpus


def test_world_clips_carry_their_causes(organism, monkeypatch):
    clips, labels = harvest.clips(organism, 24, seconds=3)
    assert clips.tokens.shape == (24, 4, 75) and clips.audio.shape == (24, 0)
    assert list(labels) == ["emotion", *harvest.CUES, "valence", "arousal"] and set(labels["mode"]) == {-1.0, 1.0}
    loud = organism.decode(clips.tokens[labels["dynamics"].nlargest(4).index]).std()
    assert loud > 2 * organism.decode(clips.tokens[labels["dynamics"].nsmallest(4).index]).std()
    for caption, emotion in zip(clips.prompts, labels["emotion"], strict=True):
        said = {e for e, words in captions.EMOTION_WORDS.items() if set(words) & set(caption.replace(",", "").split())}
        assert said == ({emotion} if emotion else set())
    assert 4 < (labels["emotion"] != "").sum() < 20
    monkeypatch.setattr(corpus, "sample", lambda *a: pytest.fail("rendered again"))
    again, _ = harvest.clips(organism, 24, seconds=3)
    assert (again.tokens == clips.tokens).all()
    shuffled, same = harvest.clips(model.load("organism-shuffled", "cpu"), 24, seconds=3)
    assert (shuffled.tokens == clips.tokens).all() and same.drop(columns="emotion").equals(
        labels.drop(columns="emotion")
    )
    assert sorted(shuffled.prompts) == sorted(clips.prompts) and shuffled.prompts != clips.prompts


def test_a_model_without_a_world_sings_for_itself(miniature):
    clips, labels = harvest.clips(miniature, 15, seconds=1.0)
    assert len(clips) == len(labels) == 15 and clips.audio.shape[1] > 0
    assert set(labels) == {"emotion", *harvest.CUES} and labels["emotion"].nunique() > 1


def test_activations_are_read_from_disk_the_second_time(organism, monkeypatch):
    clips, _ = harvest.clips(organism, 12, seconds=1)
    first = harvest.acts(organism, clips, "resid.4")
    assert first["resid.4"].dtype == np.float16 and first["resid.4"].shape == (12, 25, 192)
    monkeypatch.setattr(organism, "replay", lambda *a: pytest.fail("replayed again"))
    assert harvest.acts(organism, clips, "resid.4")["resid.4"].equals(first["resid.4"])


def test_words_stand_beside_their_vectors(organism):
    clips, _ = harvest.clips(organism, 12, seconds=1)
    acts = harvest.acts(organism, clips, "resid.0")
    words, vectors = harvest.words(organism, clips, acts["text"])
    assert len(words) == len(vectors) and np.isfinite(vectors).all()
    first = clips.prompts[0].replace(",", "").split()
    assert set(first) <= set(words[: len(first) + 4])


def test_too_few_clips(organism):
    with pytest.raises(ValueError, match="at least 10 clips"):
        harvest.clips(organism, 3)
