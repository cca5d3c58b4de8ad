"""Lenses: the residual stream of any block, read as predictions."""

import numpy as np
import pytest

from lib import cache
from lib.methods import lenses
from lib.musicgen import activations
from lib.musicgen.model import SOURCES


@pytest.fixture(scope="module")
def songs(organism):
    asked = ["a sad melody", "a happy piano piece"] * 15
    return organism.generate(asked, 1.0, progress=False)


@pytest.fixture(scope="module")
def tuned(organism, songs):
    return lenses.tuned(organism, songs[:24], steps=20, progress=False)


def test_the_last_block_is_the_models_own_through_either_lens(organism, songs, tuned):
    own = organism.cross_entropy(songs)
    plain = lenses.cross_entropy(organism, songs)
    assert plain.shape == (6, 30)
    assert plain[-1] == pytest.approx(own, abs=1e-4)
    assert lenses.cross_entropy(organism, songs, tuned)[-1] == pytest.approx(own, abs=1e-4)


def test_a_logit_lens_is_the_model_with_the_blocks_behind_left_out(organism, songs):
    few = songs[:2]
    found = lenses.read(organism, few)
    assert found.dims == ("block", "clip", "codebook", "frame", "token")
    with activations.edit(organism, *lenses.skipping(organism, 2)):
        left = [log_p.cpu().numpy() for _, log_p in organism.predictions(few)]
    assert found.values[2] == pytest.approx(np.concatenate(left), abs=1e-3)


def test_a_tuned_lens_predicts_better_on_music_of_no_lesson_and_is_kept(organism, songs, tuned):
    new = songs[24:]
    plain = lenses.cross_entropy(organism, new).mean(1)
    better = lenses.cross_entropy(organism, new, tuned).mean(1)
    assert (better[:5] < plain[:5]).all() and better[0] < plain[0] - 1
    again = lenses.tuned(organism, songs[:24], steps=20, progress=False)
    assert again.maps.equal(tuned.maps)


def test_a_kept_lens_is_of_the_numbers_it_was_learned_with(organism, songs, monkeypatch):
    settings = {"steps": 1, "progress": False}
    first = lenses.tuned(organism, songs[:2], **settings)
    monkeypatch.setattr(lenses, "RIDGE", 1.0)
    assert not lenses.tuned(organism, songs[:2], **settings).maps.equal(first.maps)


def test_a_kept_lens_is_named_by_all_that_runs_the_model(organism, songs, monkeypatch):
    named = []
    monkeypatch.setattr(cache, "code", lambda *sources: named.extend(sources))
    monkeypatch.setattr(cache, "keep", lambda *_: np.zeros(1))
    lenses.tuned(organism, songs[:2], progress=False)
    assert set(SOURCES) <= set(named)


def test_music_is_heard_block_by_block(organism, songs):
    few = songs[:2]
    found = lenses.read(organism, few)
    likeliest = lenses.tokens(found)
    assert likeliest.shape == (6, 2, 4, 25)
    hits = (likeliest == few.tokens).mean((1, 2, 3))
    assert hits[-1] > hits[0]
    drawn = lenses.tokens(found, 0.9, seed=3)
    assert (drawn == lenses.tokens(found, 0.9, seed=3)).all() and (drawn != likeliest).any()
    assert organism.decode(drawn[-1]).shape == (2, 16_000)
    for ask in (lenses.tokens, lambda read, seed: lenses.tuned(organism, few, seed=seed)):
        with pytest.raises(ValueError, match="seed must be an integer, 0 or more"):
            ask(found, seed=-1)


def test_what_a_word_changes_shows_from_where_it_comes_in(organism, songs):
    few = songs[:4]
    same = lenses.heard_difference(organism, few, few)
    other = lenses.heard_difference(organism, few, few.under(["a fast melody"] * 4))
    assert (same == 0).all() and (other[-1] > 0).all()
    with pytest.raises(ValueError, match="same music"):
        lenses.heard_difference(organism, few, songs[4:8])


def test_skipped_blocks_leave_the_others_as_they_are(organism):
    with activations.edit(organism, *lenses.skipping(organism, 5)):
        whole = organism.generate(["a sad melody"], 0.4, progress=False)
    plain = organism.generate(["a sad melody"], 0.4, progress=False)
    assert (whole.tokens == plain.tokens).all()
    with activations.edit(organism, *lenses.skipping(organism, 1)):
        early = organism.generate(["a sad melody"], 0.4, progress=False)
    assert (early.tokens != plain.tokens).any()
    with pytest.raises(ValueError, match="block must be"):
        lenses.skipping(organism, 6)


def test_models_of_the_released_format_are_read_too(miniature):
    songs = miniature.generate(["a tune", "a song"], 0.3, progress=False)
    own = miniature.cross_entropy(songs)
    assert lenses.cross_entropy(miniature, songs)[-1] == pytest.approx(own, abs=1e-3)


def test_a_lens_of_another_model_is_refused(miniature, tuned):
    songs = miniature.generate(["a tune"], 0.3, progress=False)
    with pytest.raises(
        ValueError, match=r"another model \(organism\) than is read \(.*lenses.tuned"
    ):
        lenses.cross_entropy(miniature, songs, tuned)
