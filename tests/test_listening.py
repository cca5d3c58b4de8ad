"""The blind listening test: its page in a real browser, what it refuses, and what its analysis finds where we know the truth."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from lib import listening

RATE = 16_000
NOTHING = listening.Spread(rater=1.0, item=0.7, taste=0.0, noise=1.3, side=0.0)


def tone(frequency, seconds=0.6):
    return 0.2 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def clips(conditions=("plain", "steered", "asked"), items=4):
    return {c: {f"item {i}": tone(200 + 90 * k + 17 * i) for i in range(items)} for k, c in enumerate(conditions)}


@pytest.fixture(scope="module")
def blind():
    return listening.page(clips(), RATE, title="Listening to short pieces", seed=1)


@pytest.mark.parametrize("n", [4, 5, 12])
def test_orders_are_balanced(n):
    orders = listening.williams(n)
    assert orders.shape == (n if n % 2 == 0 else 2 * n, n)
    assert all(sorted(o) == list(range(n)) for o in orders)
    for position in range(n):
        assert set(np.bincount(orders[:, position], minlength=n)) == {len(orders) // n}
    follows = pd.Series([(a, b) for o in orders for a, b in itertools.pairwise(o)]).value_counts()
    assert len(follows) == n * (n - 1) and follows.nunique() == 1


def test_the_page_is_blind_and_needs_no_network(blind):
    text = blind.html
    assert not any(name in text for name in ("plain", "steered", "asked", "item 0"))
    assert "default-src 'none'" in text and "fetch(" not in text and "http" not in text.replace("http-equiv", "")
    sides = [sum(blind.key["clips"][a][0] == "plain" for a, b in row) for row in blind.data["orders"]["pair"]]
    assert abs(np.mean(sides) - 4) < 0.01  # of 8 pairs with it, as often first as second
    again = listening.page(clips(), RATE, title="Listening to short pieces", seed=1)
    assert again.key == blind.key and listening.page(clips(), RATE, title="x", seed=2).key["test"] != blind.key["test"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": {"plain": {"a": tone(200)}}}, "two or more conditions"),
        ({"clips": {"plain": {"a": tone(200)}, "steered": {"b": tone(200)}}}, "with the same items"),
        ({"comparisons": [("plain", "other")]}, "pairs of two of"),
        ({"ratings": {}, "comparisons": []}, "ratings or comparisons"),
        ({"title": "Which is steered?"}, "not a blind test"),
    ],
)
def test_page_refuses(change, message):
    told = {"clips": clips(), "title": "Listening", **change}
    with pytest.raises(ValueError, match=message):
        listening.page(told.pop("clips"), RATE, **told)


def test_answers_come_back(blind, tmp_path):
    files = listening.simulate(blind, 3, {"valence": {"steered": 2.0}}, tmp_path, seed=3)
    table = listening.read(files, blind.key)
    assert len(table) == 3 * (12 * 2 + 12) and set(table["source"]) == {"simulated"}
    rated = table[table["kind"] == "rating"]
    assert (rated.groupby(["participant", "scale"])["answer"].count() == 12).all()
    assert rated["answer"].between(1, 9).all() and set(table.loc[table["kind"] == "pair", "answer"]) <= {0, 1}
    path = blind.save(tmp_path / "test")
    assert path.name == "index.html" and listening.read(files, path.parent / "key.json").equals(table)


def _sealed(body):
    return listening.seal({k: v for k, v in body.items() if k != "checksum"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: "{", "the JSON that the page hands out"),
        (lambda d: json.dumps({k: v for k, v in d.items() if k != "started"}), "the fields"),
        (lambda d: json.dumps({**d, "participant": 9}), "something was changed"),
        (lambda d: _sealed({**d, "test": "0" * 12}), "answers to test"),
        (lambda d: _sealed({**d, "participant": 0}), "participant number from 1"),
        (lambda d: _sealed({**d, "answers": d["answers"][:-2]}), "missing: pair of"),
        (lambda d: _sealed({**d, "answers": d["answers"][::-1]}), "in their order"),
        (lambda d: _sealed({**d, "answers": [{**d["answers"][0], "answer": {"valence": 10, "arousal": 3}}, *d["answers"][1:]]}), "whole numbers from 1 to 9"),
        (lambda d: _sealed({**d, "answers": [{**d["answers"][0], "plays": 0}, *d["answers"][1:]]}), "plays from 1"),
    ],
)  # fmt: skip
def test_read_refuses_what_is_not_whole(blind, tmp_path, change, message):
    (file,) = listening.simulate(blind, 1, {}, tmp_path)
    file.write_text(change(json.loads(file.read_text())))
    with pytest.raises(ValueError, match=message) as refused:
        listening.read([file], blind.key)
    assert str(file) in str(refused.value)


def test_read_counts_everybody_once(blind, tmp_path):
    (file,) = listening.simulate(blind, 1, {}, tmp_path)
    shutil.copy(file, tmp_path / "again.json")
    with pytest.raises(ValueError, match="participant 1 has answered already"):
        listening.read([file, tmp_path / "again.json"], blind.key)
    with pytest.raises(ValueError, match="No answer files"):
        listening.read([], blind.key)


def test_ratings_find_what_is_there_and_nothing_else(blind, tmp_path):
    files = listening.simulate(blind, 24, {"valence": {"steered": 1.5}}, tmp_path, spread=NOTHING, seed=5)
    found = listening.ratings(listening.read(files, blind.key), "valence").set_index("condition")
    assert found.loc["steered", "effect"].holds(1.5) and found.loc["steered", "p_holm"] < 1e-4
    assert found.loc["asked", "effect"].holds(0) and found.loc["asked", "p_holm"] > 0.05
    with pytest.raises(ValueError, match="scale 'loudness'"):
        listening.ratings(listening.read(files, blind.key), "loudness")


def test_preferences_find_what_is_there(blind, tmp_path):
    files = listening.simulate(
        blind, 60, {"happier": {"steered": 1.0}}, tmp_path, seed=8, spread=NOTHING._replace(side=0.5)
    )
    found = listening.preferences(listening.read(files, blind.key)).set_index("condition")
    assert found.loc["steered", "effect"].holds(1.0) and found.loc["asked", "effect"].holds(0)
    assert found.loc["(the first clip)", "effect"].holds(0.5)
    assert found.loc["steered", "preferred"].holds(1 / (1 + np.exp(-1)))


def test_false_alarms_are_as_rare_as_promised():
    alarms = listening.power(0, 12, 6, repetitions=2000, seed=1)
    assert alarms.low < 0.05 < alarms.high + 0.01
    assert listening.power(1.0, 20, 6, repetitions=500).low > 0.9
    few = listening.needed(0.7, 4, repetitions=400)
    assert listening.power(0.7, few, 4, repetitions=400).value >= 0.8 and few > 3
    assert listening.needed(0.01, 4, most=10, repetitions=100) is None


def test_agreement_is_that_of_shrout_and_fleiss():
    rated = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    rows = [(rater, "rating", "valence", f"item {i}", "plain", rated[i, rater]) for i in range(6) for rater in range(4)]
    table = pd.DataFrame(rows, columns=["participant", "kind", "scale", "item", "condition", "answer"])
    agreed = listening.agreement(table, "valence", n_resamples=50)
    assert agreed.single.value == pytest.approx(0.29, abs=0.005) and agreed.mean.value == pytest.approx(0.62, abs=0.005)
    with pytest.raises(ValueError, match="with gaps"):
        listening.agreement(table.iloc[1:], "valence")


def _answer(page, count):
    """Answer questions by keyboard alone."""
    for _ in range(count):
        rating = page.locator("h3").inner_text().startswith("Rate")
        for _ in range(1 if rating else 2):
            page.keyboard.press(" ")
            page.wait_for_timeout(900)
        for key in ("7", "4") if rating else ("b",):
            page.keyboard.press(key)
        before = page.locator("progress").get_attribute("value")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "(before) => document.querySelector('progress')?.getAttribute('value') !== before", arg=before
        )


def test_a_participant_answers_by_keyboard_and_goes_on_after_a_reload(browser, tmp_path):
    made = listening.page(clips(("plain", "steered"), 2), RATE, title="Listening", seed=4)
    path = made.save(tmp_path)
    page, wrong = browser.new_page(viewport={"width": 390, "height": 844}), []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.goto(path.as_uri())
    page.locator("input[type=number]").fill("3")
    page.keyboard.press("Enter")
    page.keyboard.press("5")  # nothing heard yet: nothing is answered
    assert page.locator("input:checked").count() == 0
    _answer(page, 3)
    page.reload()
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Begin or go on").click()
    assert page.locator("h3").inner_text() == "Rate: 4 of 4"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    with page.expect_download() as download:
        _answer(page, 3)
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    table = listening.read([file], path.parent / "key.json")  # the page's checksum is Python's
    assert set(table["source"]) == {"page"} and set(table["participant"]) == {3}
    assert set(table.loc[table["scale"] == "valence", "answer"]) == {7} and len(table) == 4 * 2 + 2
    assert page.locator("h3").inner_text() == "Thank you" and wrong == []
    page.close()
