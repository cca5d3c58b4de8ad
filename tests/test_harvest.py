"""Clips with all that is known of them, and their activations on disk."""

import numpy as np
import pytest

from lib import cache, model
from lib.hearing import listeners
from lib.methods import harvest
from lib.musicgen import activations
from lib.organism import captions, corpus


@pytest.fixture(scope="module")
def world_clips(organism):
    return harvest.clips(organism, 24, seconds=3)


def never(name):
    return lambda *_, **__: pytest.fail(f"{name} ran again")


def stores():
    return set((cache.ROOT / harvest.FOLDER).glob("*.zarr"))


def test_world_clips_carry_their_causes(organism, world_clips):
    clips, labels = world_clips
    assert clips.tokens.shape == (24, 4, 75) and clips.audio.shape == (24, 0)
    assert list(labels) == ["emotion", *harvest.CUES, "valence", "arousal"]
    assert set(labels["mode"]) == {-1.0, 1.0}
    loudest = organism.decode(clips.tokens[labels["dynamics"].nlargest(4).index]).std()
    softest = organism.decode(clips.tokens[labels["dynamics"].nsmallest(4).index]).std()
    assert loudest > 2 * softest
    for caption, emotion in zip(clips.prompts, labels["emotion"], strict=True):
        words = set(caption.replace("not ", "not-").replace(",", "").split())
        named = {e for e, names in captions.EMOTION_WORDS.items() if set(names) & words}
        assert named == ({emotion} if emotion else set())
    assert 4 < (labels["emotion"] != "").sum() < 20


def test_music_is_rendered_once_for_all_organisms_that_share_it(organism, world_clips, monkeypatch):
    clips, labels = world_clips
    render = corpus.sample
    monkeypatch.setattr(corpus, "sample", never("rendering"))
    again, _ = harvest.clips(organism, 24, seconds=3)
    assert (again.tokens == clips.tokens).all()
    shuffled, same = harvest.clips(model.load("organism-shuffled", "cpu"), 24, seconds=3)
    assert (shuffled.tokens == clips.tokens).all()
    assert same.drop(columns="emotion").equals(labels.drop(columns="emotion"))
    assert sorted(shuffled.prompts) == sorted(clips.prompts) and shuffled.prompts != clips.prompts
    monkeypatch.setattr(corpus, "sample", render)
    other, _ = harvest.clips(organism, 24, seed=8, seconds=3)
    assert (other.tokens != clips.tokens).any()


def test_other_libraries_render_music_anew(organism, world_clips, monkeypatch):
    def renders(*_):
        raise LookupError

    monkeypatch.setattr(corpus, "sample", renders)
    monkeypatch.setattr(listeners, "LIBRARIES", ("numpy",))
    with pytest.raises(LookupError):
        harvest.clips(organism, 24, seconds=3)


def test_a_model_without_a_world_sings_for_itself(miniature, monkeypatch):
    clips, labels = harvest.clips(miniature, 15, seconds=1.0)
    assert len(clips) == len(labels) == 15 and clips.audio.shape[1] > 0
    assert set(labels) == {"emotion", *harvest.CUES} and labels["emotion"].nunique() > 1
    with activations.edit(miniature, activations.Edit("resid.0", multiply=0.0)):
        edited, _ = harvest.clips(miniature, 15, seconds=1.0)
    assert (edited.tokens != clips.tokens).any()
    monkeypatch.setattr(miniature, "name", "/it/was/moved")
    monkeypatch.setattr(miniature, "sing", never("singing"))
    again, _ = harvest.clips(miniature, 15, seconds=1.0)
    assert (again.tokens == clips.tokens).all()


def test_activations_are_read_from_disk_the_second_time(organism, world_clips, monkeypatch):
    clips = world_clips[0][:12]
    first = harvest.acts(organism, clips, "resid.4")
    assert set(first) == {"resid.3", "resid.4", "resid.5", "text"}
    assert first["resid.4"].dtype == np.float16 and first["resid.4"].shape == (12, 75, 160)
    assert list(harvest.acts(organism, clips, "mlp.1")) == ["mlp.1"]
    monkeypatch.setattr(organism, "replay", never("replay"))
    assert harvest.acts(organism, clips, "resid.4")["resid.4"].equals(first["resid.4"])


def test_other_music_of_the_same_shape_is_other_activations(organism, world_clips):
    """Music of one's own has no seeds: only what it is tells two sets of it apart."""
    tokens = world_clips[0].tokens
    prompts = ["my own music"] * 10
    mine = harvest.acts(organism, organism.clips(tokens[:10], prompts, decode=False), "resid.4")
    theirs = organism.clips(tokens[10:20], prompts, decode=False)
    found = harvest.acts(organism, theirs, "resid.4")["resid.4"]
    expected = activations.capture(organism, theirs, "resid.4", progress=False)["resid.4"]
    assert np.allclose(found, expected, atol=0.05, rtol=1e-3)
    assert not np.allclose(mine["resid.4"], found, atol=0.05, rtol=1e-3)


def test_activations_know_edits_and_changed_weights(organism, world_clips):
    clips = world_clips[0][:10]
    plain = harvest.acts(organism, clips, "resid.4")["resid.4"].values
    with activations.edit(organism, activations.Edit("resid.2", multiply=0.5)):
        edited = harvest.acts(organism, clips, "resid.4")["resid.4"].values
    weight = organism.lm.transformer.layers[0].linear2.weight
    original = weight.data.clone()
    weight.data *= 0.5
    changed = harvest.acts(organism, clips, "resid.4")["resid.4"].values
    weight.data = original
    before = stores()
    again = harvest.acts(organism, clips, "resid.4")["resid.4"].values
    assert np.array_equal(plain, again) and stores() == before
    assert not np.array_equal(plain, edited) and not np.array_equal(plain, changed)


def test_a_damaged_harvest_is_made_again(organism, world_clips):
    clips, _ = world_clips
    for file in (cache.ROOT / harvest.FOLDER).glob("*.npy"):
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="damaged"):
        again, _ = harvest.clips(organism, 24, seconds=3)
    assert (again.tokens == clips.tokens).all()


def test_words_stand_beside_their_vectors(organism, world_clips):
    clips = world_clips[0][:12]
    acts = harvest.acts(organism, clips, "resid.0")
    words, vectors = harvest.words(organism, clips, acts["text"])
    assert len(words) == len(vectors) and np.isfinite(vectors).all()
    first = clips.prompts[0].replace(",", "").split()
    assert set(first) <= set(words[: len(first) + 4])
    with pytest.raises(TypeError, match="Give the site 'text'"):
        harvest.words(organism, clips, acts["resid.0"])
    with pytest.raises(ValueError, match="equally long"):
        harvest.words(organism, clips[:5], acts["text"])
    with pytest.raises(ValueError, match="text must be of these clips"):
        harvest.words(organism, clips, acts["text"][:, :3])


def test_bad_input(organism):
    with pytest.raises(ValueError, match=r"n must be an integer, 10 or more\. Got 3"):
        harvest.clips(organism, 3)
    with pytest.raises(ValueError, match=r"seconds must be a number in \(0, 6\]. Got 30"):
        harvest.clips(organism, 12, seconds=30)
