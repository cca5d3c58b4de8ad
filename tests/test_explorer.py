"""The feature explorer: what it gathers. That it works in a browser is tested on the built book."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from lib.methods import features, harvest, sae
from lib.musicgen import activations
from lib.pages import embed, explorer

WIDGET = "application/vnd.jupyter.widget-view+json"
#: A kernel that answers when it is told to.
ASK = """<script>window.asked = {};
window.ask = (id) => new Promise((resolve) => { window.asked[id] = resolve; });</script>"""


@pytest.fixture(scope="module")
def given(organism):
    clips, labels = harvest.clips(organism, 24, seconds=2)
    acts = activations.capture(organism, clips, "resid.4", progress=False)["resid.4"]
    basis = sae.Basis(acts, "pca", 8)
    activity, table = sae.activity(basis, acts)
    train = np.arange(24) < 12
    named = features.name(activity, labels, train)
    named.loc[1, "label"] = ""

    def effects(which):
        return sae.effects(basis, organism, "resid.4", clips, activity, which, 2, 1.0, training=60)

    return {
        "s": basis,
        "acts": acts,
        "captions": clips.prompts,
        "sound": lambda rows: (organism.decode(clips.tokens[rows]), organism.sample_rate),
        "areas": features.selectivity(activity, labels),
        "named": named,
        "density": table["density"],
        "chosen": [3, 1, 7],
        "pool": 10,
        "effects": effects,
    }


@pytest.fixture(scope="module")
def page(given):
    return explorer.Explorer(**given)


def test_cards_hold_what_excites_a_feature(page):
    card = page.data["features"][0]
    assert [f["id"] for f in page.data["features"]] == [3, 1, 7] and len(page.data["clips"]) == 10
    best = card["clips"]["most"][0][0]
    means = page.profile.means
    assert page.pool[best] == page.pool[np.argmax(means[page.pool, 3])]
    curve = np.frombuffer(base64.b64decode(card["clips"]["most"][0][1]), np.uint8)
    assert len(curve) == 50 and curve.max() > 100
    assert sum(card["histogram"]) > 0 and len(card["near"]) == 6 and 3 not in card["near"]
    assert set(card["effects"]) == {"up", "off", "cues"}
    assert card["effects"]["up"] > 0 and card["effects"]["off"] > 0
    silent = page.data["features"][1]
    assert silent["label"] == "" and "no label" in silent["facts"][0]
    for name, kind in (("sound", "mp3"), ("picture", "png")):
        assert len(page.data["clips"][0][name]) > 500, kind


def test_the_profile_counts_every_active_frame_once(page, given):
    z = sae.encode(page.s, torch.from_numpy(given["acts"].values)).numpy()
    assert np.allclose(page.profile.means, z.mean(1), atol=1e-5)
    assert np.allclose(page.profile.peak, z.max((0, 1)))
    assert np.array_equal(page.profile.counts.sum(1), (z > 0).sum((0, 1)))


def test_the_page_needs_no_kernel_and_no_network(page):
    text = page.html()
    data = json.loads(re.search(r"draw\(document\.getElementById\(\S+\), (.*), null\);", text)[1])
    assert len(data["map"]) == 160 and data["clips"][0]["shape"]["seconds"] == 2
    # the library could fetch a sound; ours are in the page, with their peaks
    # what the book's search finds
    assert f"<li>{page.told()[0]}</li>" in text and page.told()[0].startswith("Feature 3: ")
    assert page.data["clips"][0]["caption"] in page.told()
    own = text.replace(embed.library(), "")
    assert not re.search(r"""(src|href)=["']?https?:|fetch\(|import\(""", own)


def test_a_kernel_answers_for_any_other_feature(page):
    assert {WIDGET, "text/html"} <= set(page._repr_mimebundle_())
    card = page.answer(100)
    assert card["id"] == 100 and card["effects"] and card["clips"]["most"]
    assert "feature must be an integer, from 0 to 159" in page._answer_or_error(160)["error"]


def test_captions_and_features_may_come_one_by_one(given):
    lazy = explorer.Explorer(
        **given
        | {
            "captions": (caption for caption in given["captions"]),
            "chosen": (np.int64(f) for f in (3, 1)),
            "effects": None,
            "pool": np.int64(4),
        }
    )
    assert [f["id"] for f in lazy.data["features"]] == [3, 1]
    assert lazy.data["clips"][0]["caption"] in given["captions"]
    json.dumps(lazy.data, allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"captions": ["a"]}, "captions must be one for each of 24 clips"),
        ({"chosen": [400]}, "chosen feature must be an integer, from 0 to 159. Got 400"),
        ({"chosen": []}, "chosen must name features from 0 to 159"),
        ({"pool": 0}, "pool must be an integer, 1 or more"),
    ],
)
def test_bad_input(given, change, message):
    with pytest.raises(ValueError, match=message):
        explorer.Explorer(**given | change)


def test_the_page_opens_on_a_feature_with_its_clips(page, browser, tmp_path):
    file = tmp_path / "explorer.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'><body>{page.html()}")
    opened = browser.new_page()
    wrong = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(file.as_uri())
    first = page.data["features"][0]
    assert opened.locator(".card h3").inner_text().startswith(f"Feature {first['id']}: ")
    clips = sum(map(len, first["clips"].values()))
    assert opened.locator(".card .sound.drawn .picture").count() == clips > 0
    opened.get_by_role("button", name="Play").first.click()
    opened.wait_for_function("() => document.querySelector('audio').currentTime > 0.1")
    assert wrong == []
    opened.close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_late_answer_leaves_the_card_to_the_next_choice(page, browser, tmp_path, fails):
    asking = page.html().replace(", null);", ", window.ask);")
    file = tmp_path / "explorer.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'><body>{ASK}{asking}")
    opened = browser.new_page()
    opened.goto(file.as_uri())
    search, heading = opened.get_by_label("Search features"), opened.locator(".card h3")
    search.fill("100")
    opened.get_by_role("button", name="feature 100").click()
    assert opened.locator(".card p").inner_text() == "Asking the kernel …"
    search.fill("7")
    opened.locator(".list [data-id='7']").click()
    answer = {"error": "no"} if fails else embed.plain(page.answer(100))
    opened.evaluate("(answer) => window.asked[100](answer)", answer)
    assert heading.inner_text().startswith("Feature 7: ")
    # what has been answered is not asked again
    search.fill("100")
    opened.get_by_role("button", name="feature 100").click()
    asks = opened.locator(".card p", has_text="Asking the kernel").count()
    assert heading.inner_text().startswith("Feature 100") and asks == fails
    opened.close()
