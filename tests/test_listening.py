"""The blind listening test:

its page in a real browser, what it refuses, what its analysis finds.
"""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from lib.pages import listening

RATE = 16_000
NOTHING = listening.Spread(rater=1.0, item=0.7, taste=0.0, noise=1.3, side=0.0)


def tone(frequency, seconds=0.6):
    return 0.2 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE).astype(
        np.float32
    )


def clips(conditions=("plain", "steered", "asked"), items=4):
    return {
        c: {f"item {i}": tone(200 + 90 * k + 17 * i) for i in range(items)}
        for k, c in enumerate(conditions)
    }


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
    assert (
        "default-src 'none'" in text
        and "fetch(" not in text
        and "http" not in text.replace("http-equiv", "")
    )
    sides = [
        sum(blind.key["clips"][a][0] == "plain" for a, b in row)
        for row in blind.data["orders"]["pair"]
    ]
    assert abs(np.mean(sides) - 4) < 0.01  # of 8 pairs with it, as often first as second
    again = listening.page(clips(), RATE, title="Listening to short pieces", seed=1)
    assert (
        again.key == blind.key
        and listening.page(clips(), RATE, title="x", seed=2).key["test"] != blind.key["test"]
    )


@pytest.mark.filterwarnings("ignore:.*digital silence")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": {"plain": {"a": tone(200)}}}, "two or more conditions"),
        ({"clips": {"plain": {"a": tone(200)}, "steered": {"b": tone(200)}}}, "the same items"),
        ({"clips": {1: {"a": tone(200)}, "1": {"a": tone(200)}}}, "two or more conditions"),
        ({"comparisons": [("plain", "other")]}, "pairs of two of"),
        ({"ratings": {}, "comparisons": []}, "ratings or comparisons"),
        ({"title": "Which is steered?"}, "not a blind test"),
        ({"clips": {c: {"a": np.zeros((3, 99))} for c in "ab"}}, "must be one clip"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_page_refuses(change, message):
    given = {"clips": clips(), "title": "Listening", **change}
    with pytest.raises(ValueError, match=message):
        listening.page(given.pop("clips"), RATE, **given)


def test_conditions_may_be_strengths(tmp_path):
    """As ``steering.generate`` returns them: {strength: clips}."""
    songs = {
        strength: {i: tone(200 + 100 * k + i) for i in range(2)}
        for k, strength in enumerate((0.0, np.float64(0.16), -0.16))
    }
    test = listening.page(songs, RATE, title="Listening", comparisons=iter([(0.0, 0.16)]))
    assert test.key["conditions"] == ["0.0", "0.16", "-0.16"]
    assert sorted(test.key["clips"].values())[0] == ["-0.16", "0"]
    json.dumps(test.key)
    files = listening.simulate(test, 3, {"valence": {0.16: 2.0}}, tmp_path)
    table = listening.read((file for file in files), test.key)
    assert set(table["condition"]) == {"0.0", "0.16", "-0.16"}
    assert set(table.loc[table["kind"] == "pair", "other"]) <= {"0.0", "0.16"}
    with pytest.raises(ValueError, match="not a blind test"):
        listening.page(songs, RATE, title="Which one has -0.16?")


def test_a_test_at_another_rate_is_another_test(blind):
    other = listening.page(clips(), 2 * RATE, title="Listening to short pieces", seed=1)
    assert other.key["clips"] == blind.key["clips"] and other.key["test"] != blind.key["test"]


def test_answers_come_back(blind, tmp_path):
    files = listening.simulate(blind, 3, {"valence": {"steered": 2.0}}, tmp_path, seed=3)
    table = listening.read(files, blind.key)
    assert len(table) == 3 * (12 * 2 + 12) and set(table["source"]) == {"simulated"}
    rated = table[table["kind"] == "rating"]
    assert (rated.groupby(["participant", "scale"])["answer"].count() == 12).all()
    assert rated["answer"].between(1, 9).all() and set(
        table.loc[table["kind"] == "pair", "answer"]
    ) <= {0, 1}
    path = blind.save(tmp_path / "test")
    assert path.name == "index.html" and listening.read(files, path.parent / "key.json").equals(
        table
    )


def _sealed(body):
    return listening.seal({k: v for k, v in body.items() if k != "checksum"})


def _changed(body, **fields):
    """A file whose first answer was changed by somebody who knows the checksum."""
    first = {**body["answers"][0], **fields}
    return _sealed({**body, "answers": [first, *body["answers"][1:]]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: "{", "the JSON that the page hands out"),
        (lambda d: "[]", "the fields"),
        (lambda d: json.dumps({k: v for k, v in d.items() if k != "started"}), "the fields"),
        (lambda d: json.dumps({**d, "participant": 9}), "something was changed"),
        (lambda d: _sealed({**d, "test": "0" * 12}), "answers to test"),
        (lambda d: _sealed({**d, "participant": 0}), "participant number from 1"),
        (lambda d: _sealed({**d, "participant": True}), "participant number from 1"),
        (lambda d: _sealed({**d, "source": "me"}), "the source 'page' or 'simulated'"),
        (lambda d: _sealed({**d, "answers": d["answers"][:-2]}), "missing: pair of"),
        (lambda d: _sealed({**d, "answers": d["answers"][::-1]}), "in their order"),
        (lambda d: _changed(d, answer={"valence": 10, "arousal": 3}), "whole numbers from 1 to 9"),
        (lambda d: _changed(d, answer={"valence": 7.0, "arousal": 3}), "whole numbers from 1 to 9"),
        (lambda d: _changed(d, answer={"valence": 7}), r"answers on \['valence', 'arousal'\]"),
        (lambda d: _changed(d, plays=0), "plays from 1"),
        (lambda d: _changed(d, ms=-1), "ms from 0"),
        (lambda d: _changed(d, kind="guess"), "the fields"),
        (lambda d: _changed(d, note="hello"), "the fields"),
    ],
)
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


def test_a_file_may_pass_through_an_editor(blind, tmp_path):
    (file,) = listening.simulate(blind, 1, {}, tmp_path)
    before = listening.read([file], blind.key)
    file.write_bytes(file.read_text().encode("utf-8-sig") + b"\r\n")
    assert listening.read([file], blind.key).equals(before)


def test_a_key_is_checked(blind, tmp_path):
    files = listening.simulate(blind, 1, {}, tmp_path)
    with pytest.raises(ValueError, match=r"the key of a listening test.*conditions"):
        listening.read(files, {k: v for k, v in blind.key.items() if k != "conditions"})


def test_ratings_find_what_is_there_and_nothing_else(blind, tmp_path):
    files = listening.simulate(
        blind, 24, {"valence": {"steered": 1.5}}, tmp_path, spread=NOTHING, seed=5
    )
    found = listening.ratings(listening.read(files, blind.key), "valence").set_index("condition")
    assert found.loc["steered", "effect"].holds(1.5) and found.loc["steered", "p_holm"] < 1e-4
    assert found.loc["asked", "effect"].holds(0) and found.loc["asked", "p_holm"] > 0.05
    with pytest.raises(ValueError, match="scale 'loudness'"):
        listening.ratings(listening.read(files, blind.key), "loudness")


def test_preferences_find_what_is_there(blind, tmp_path):
    spread = NOTHING._replace(side=0.5)
    effects = {"happier": {"steered": 1.0}}
    files = listening.simulate(blind, 60, effects, tmp_path, seed=8, spread=spread)
    found = listening.preferences(listening.read(files, blind.key)).set_index("condition")
    assert found.loc["steered", "effect"].holds(1.0) and found.loc["asked", "effect"].holds(0)
    assert found.loc["(the first clip)", "effect"].holds(0.5)
    assert found.loc["steered", "preferred"].holds(1 / (1 + np.exp(-1)))


def test_two_conditions_without_a_side_are_log_odds():
    """20 of 30 pairs won, the sides of both halves exchanged, and half a win added to either."""
    rows = [
        {"participant": i % 10, "kind": "pair", "scale": "happier", "condition": first,
         "other": second, "answer": won if first == "b" else 1 - won}
        for i, won in enumerate([1] * 20 + [0] * 10)
        for first, second in (("a", "b"), ("b", "a"))
    ]  # fmt: skip
    table = pd.DataFrame(rows).astype({"condition": pd.CategoricalDtype(["a", "b"])})
    found = listening.preferences(table).set_index("condition")["effect"]
    assert found["b"].value == pytest.approx(np.log(40.5 / 20.5), abs=1e-6)
    assert found["(the first clip)"].value == pytest.approx(0, abs=1e-6)


def test_false_alarms_are_as_rare_as_promised():
    alarms = listening.power(0, 12, 6, repetitions=2000, seed=1)
    assert alarms.low < 0.05 < alarms.high + 0.01
    assert listening.power(1.0, 20, 6, repetitions=500).low > 0.9
    few = listening.needed(0.7, 4, repetitions=400)
    assert listening.power(0.7, few, 4, repetitions=400).value >= 0.8 and few > 3
    assert listening.needed(0.01, 4, most=10, repetitions=100) is None


def test_agreement_is_that_of_shrout_and_fleiss():
    rated = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    )
    rows = [
        (rater, "rating", "valence", f"item {i}", "plain", rated[i, rater])
        for i in range(6)
        for rater in range(4)
    ]
    table = pd.DataFrame(
        rows, columns=["participant", "kind", "scale", "item", "condition", "answer"]
    )
    agreed = listening.agreement(table, "valence", n_resamples=50)
    assert agreed.single.value == pytest.approx(0.29, abs=0.005)
    assert agreed.mean.value == pytest.approx(0.62, abs=0.005)
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
        moved = "(before) => document.querySelector('progress')?.getAttribute('value') !== before"
        page.wait_for_function(moved, arg=before)


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


REFUSED = """
Object.defineProperty(window, 'localStorage', {
  get() { throw new DOMException('denied', 'SecurityError'); },
});
"""
FULL = (
    "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"
)
IGNORED = "Storage.prototype.setItem = () => {};"


@pytest.mark.parametrize("storage", [REFUSED, FULL, IGNORED], ids=["refused", "full", "ignored"])
def test_a_browser_that_keeps_nothing_promises_nothing(browser, tmp_path, storage):
    made = listening.page(clips(("plain", "steered"), 1), RATE, title="Listening", seed=4)
    path = made.save(tmp_path)
    page = browser.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.add_init_script(storage)
    page.goto(path.as_uri())
    text = page.locator(".listening").inner_text()
    assert "This browser keeps nothing" in text and "cannot go on later" in text
    assert "go on later with the same number" not in text
    page.locator("input[type=number]").fill("5")
    page.keyboard.press("Enter")
    assert "Do not close this page" in page.locator(".listening").inner_text()
    with page.expect_download() as download:
        _answer(page, 3)  # all of them: two ratings and a pair
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    table = listening.read([file], path.parent / "key.json")
    assert set(table["participant"]) == {5} and len(table) == 2 * 2 + 1
    assert "answers are gone" in page.locator(".listening").inner_text() and wrong == []
    # another one may answer on the same page
    page.get_by_role("button", name="Another participant").click()
    assert page.locator("input[type=number]").input_value() == ""
    page.close()


def test_a_browser_that_keeps_answers_says_so(browser, tmp_path, blind):
    page = browser.new_page()
    page.goto(blind.save(tmp_path).as_uri())
    text = page.locator(".listening").inner_text()
    assert "go on later with the same number" in text and "keeps nothing" not in text
    page.close()
