"""The feature explorer: what it gathers. That it works in a browser is tested on the built book."""

import base64
import json
import re

import numpy as np
import pytest

from lib import activations, book, explorer, features, harvest, sae


@pytest.fixture(scope="module")
def explored(organism):
    clips, labels = harvest.clips(organism, 24, seconds=2)
    acts = activations.capture(organism, clips, "resid.4", progress=False)["resid.4"]
    basis = sae.Basis(acts, "pca", 8)
    activity, table = sae.activity(basis, acts)
    train = np.arange(24) < 12
    named = features.name(activity, labels, train)
    named.loc[1, "label"] = ""
    page = explorer.Explorer(
        basis, acts, clips.prompts, lambda rows: (organism.decode(clips.tokens[rows]), organism.sample_rate),
        features.selectivity(activity, labels), named, table["density"], [3, 1, 7], pool=10,
        effects=lambda which: sae.effects(basis, organism, "resid.4", clips, activity, which, 2, 1.0, training=60),
    )  # fmt: skip
    return page, activity


def test_cards_hold_what_excites_a_feature(explored):
    page, activity = explored
    card = page.data["features"][0]
    assert [f["id"] for f in page.data["features"]] == [3, 1, 7] and len(page.data["clips"]) == 10
    best = card["clips"]["most"][0][0]
    assert page.pool[best] == page.pool[np.argmax(activity[page.pool, 3])]
    curve = np.frombuffer(base64.b64decode(card["clips"]["most"][0][1]), np.uint8)
    assert len(curve) == 50 and curve.max() > 100
    assert sum(card["histogram"]) > 0 and len(card["near"]) == 6 and 3 not in card["near"]
    assert set(card["effects"]) == {"up", "off", "cues"} and card["effects"]["up"] > card["effects"]["off"] >= 0
    assert page.data["features"][1]["label"] == "" and "no label" in page.data["features"][1]["facts"][0]
    for name, audio in (("sound", "mp3"), ("picture", "png")):
        assert len(page.data["clips"][0][name]) > 500, audio


def test_the_page_needs_no_kernel_and_no_network(explored):
    text = explored[0].html()
    data = json.loads(re.search(r"explorer\(document.getElementById\('\w+'\),(.*),null\)\}\)\(\)</script>", text)[1])
    assert len(data["map"]) == 192 and data["seconds"] == 2
    assert not re.search(r"""(src|href)=["']?https?:|fetch\(|import\(""", text)


def test_a_kernel_answers_for_any_other_feature(explored):
    page, _ = explored
    bundle = page._repr_mimebundle_()
    assert {book.WIDGET, "text/html"} <= set(bundle)
    card = page.answer(100)
    assert card["id"] == 100 and card["effects"] and card["clips"]["most"]


def test_bad_input(explored):
    page, _ = explored
    with pytest.raises(ValueError, match="captions must be one for each of 4 clips"):
        explorer.Explorer(page.s, page.excerpts[:4], ["a"], None, page.areas, page.named, page.density, [0])
    with pytest.raises(ValueError, match="chosen must name features from 0 to 191"):
        explorer.Explorer(page.s, page.excerpts[:1], ["a"], None, page.areas, page.named, page.density, [400])
