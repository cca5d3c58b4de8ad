"""The one way to set a chapter up."""

import numpy as np
import pytest

from lib import activations, cache, features, sae
from lib.book import chapter
from lib.organism import world

SMALL = {"clips": 40, "seconds": 1.0, "width": 64, "k": 6, "passes": 1, "seeds": 3}


@pytest.fixture(scope="module")
def dictionary(organism):
    return chapter.dictionary(organism, activations.at(organism, 0.57), **SMALL)


def test_organisms_stand_beside_a_model():
    assert list(chapter.models("organism-shuffled", [])) == ["organism-shuffled"]
    assert list(chapter.models("organism", ["organism"])) == ["organism"]
    assert chapter.ORGANISMS == tuple(world.WORLDS)


def test_prompts_are_in_the_model_s_language():
    assert {chapter.language(name) for name in chapter.ORGANISMS} == {"organism"}
    assert chapter.language("facebook/musicgen-small") == "natural"
    assert chapter.language("organism-habit", "facebook/musicgen-small") == "organism"
    assert chapter.language("untrained", "organism") == "organism"
    assert chapter.language("untrained", "facebook/musicgen-small") == "natural"


def test_all_chapters_read_one_sparse_autoencoder(dictionary, organism, monkeypatch):
    def unexpected(*args, **settings):
        raise AssertionError("nothing is trained or chosen twice")

    chosen = dictionary.sae
    monkeypatch.setattr(features, "selectivity", unexpected)  # what a choice looks at
    monkeypatch.setattr(sae.training, "_trainer", unexpected)
    again = chapter.dictionary(organism, activations.at(organism, 0.57), **SMALL)
    assert cache.digest(again.sae.state_dict()) == cache.digest(chosen.state_dict())
    assert again.sae.cfg.metadata.training == chosen.cfg.metadata.training


def test_the_chosen_seed_tells_the_causes_best(dictionary):
    cut = dictionary.cut
    ordered = sae.best_first(dictionary.saes[::-1], dictionary.learned, dictionary.labels[:cut])
    assert ordered[0] is dictionary.sae
    assert len(dictionary.saes) == 3 and dictionary.others == dictionary.saes[1:]
    assert dictionary.train.sum() == cut == len(dictionary.learned) == 30
    assert len(dictionary.clips) == len(dictionary.labels) == 40


def test_a_feature_is_as_stable_as_its_worst_partner(dictionary):
    stable = dictionary.stability()
    assert stable.shape == (64,) and np.all(np.abs(stable) <= 1 + 1e-6)


def test_one_seed_is_not_chosen_among(organism):
    one = chapter.dictionary(organism, "resid.4", **{**SMALL, "seeds": 1})
    assert len(one.saes) == 1 and one.others == []
    with pytest.raises(ValueError, match="seeds must be an integer, 2 or more"):
        one.stability()


@pytest.mark.parametrize(
    "change",
    [{"clips": 5}, {"width": 0}, {"k": 64}, {"passes": 0}, {"seeds": 0}, {"seconds": -1.0}],
)
def test_a_recipe_that_makes_no_sense_is_refused(organism, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        chapter.dictionary(organism, "resid.4", **{**SMALL, **change})


def test_an_unknown_setting_is_refused(organism):
    with pytest.raises(TypeError, match="widht"):
        chapter.dictionary(organism, "resid.4", widht=3)


def test_the_recipe_is_shown_as_a_table():
    assert chapter.Recipe().table()["setting"].tolist()[0] == "clips"
