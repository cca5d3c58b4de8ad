"""What chapters found is kept whole, told apart by model, and turned into verdicts."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import torch

from lib import cache, results
from lib.book import criteria, rules
from lib.stats import Estimate


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "ROOT", tmp_path / "artifacts")


def test_findings_are_read_as_they_were_recorded():
    found = [
        results.finding("Is it?", "organism", np.bool_(True), Estimate(0.5, 0.25, 0.75, 8), "path"),
        results.finding("How much?", "organism", "3 of 4", Estimate(np.float32(1), np.nan, 2, 3)),
        results.finding("Who knows?", "organism-shuffled", None),
    ]
    results.record("01_a", "organism", found)
    again = results.read("01_a", "organism")
    assert [f.answer for f in again] == ["yes", "3 of 4", "cannot tell"]
    assert again[0] == found[0] and again[1].estimate.n == 3 and np.isnan(again[1].estimate.low)
    assert results.read("02_b", "organism") is None and results.evidence("never run").empty


def test_the_evidence_is_one_row_a_question_and_one_column_a_subject():
    both = ("organism", "organism-shuffled")
    found = [results.finding("Is it?", name, True, Estimate(0.9, 0.6, 1, 10)) for name in both]
    results.record("01_a", "organism", found)
    decided = results.finding("And?", "organism", "no", Estimate(0, -0.1, 0.1, 9), "path")
    results.record("02_b", "organism", [decided])
    table = results.evidence("organism")
    assert list(table) == ["chapter", "question", *both, "decides", "rests on"]
    assert table["organism"][0] == "yes\u00a0(0.90\u00a0[0.60,\u00a01.00],\u00a0n\u00a0=\u00a010)"
    assert list(table["organism-shuffled"])[1] == ""
    assert list(table["decides"]) == ["exploratory", rules.criteria()["path"].property]


def test_the_overview_holds_every_verdict_in_the_order_of_the_rules():
    rng = np.random.default_rng(0)
    clear = {"profile": rng.normal(2, 0.5, 40), "shared": rng.normal(0, 0.05, 40)}
    verdicts = {name: rules.decide(clear) for name in ("organism", "organism-habit-2", "untrained")}
    results.record("35_understanding", "organism", rules.findings(verdicts))
    early = {"organism": rules.decide({"together": rng.normal(1, 0.2, 40)})}
    explored = results.finding("How much?", "organism", "much")
    results.record("03_emotion_geometry", "organism", [explored, *rules.findings(early)])
    found = rules.overview("organism")
    in_order = ["together", *["profile"] * 3, *["shared"] * 3]
    assert list(found["criterion"]) == in_order
    assert rules.struck(found) == {"profile": ["organism-habit-2", "untrained"]}
    rates = rules.rates(found).set_index("chapter")
    assert rates.loc["03", "organism"] == "yes ✓" and rates.loc["03", "organism-habit"] == ""
    profile, shared = rates.loc["35"].itertuples(index=False)
    assert profile[0].startswith("struck: ") and not shared[0].startswith("struck")
    assert list(rates.loc["35"]["organism-habit"]) == ["yes ✗", "no ✓"]
    assert list(rates.loc["35"]["organism"]) == ["yes ✓", "no ✗"]
    assert rules.overview("never run").empty


def test_a_criterion_counts_from_its_own_chapter_alone():
    decided = rules.findings({"organism": rules.decide({"profile": [0.9, 1.0, 1.1, 1.2]})})
    # before it moved, and from a chapter that was renamed since
    for chapter in ("30_steering", "35_old_name"):
        results.record(chapter, "organism", decided)
    assert rules.overview("organism").empty
    results.record("35_understanding", "organism", decided)
    assert list(rules.overview("organism")["criterion"]) == ["profile"]


def test_a_model_without_a_world_has_a_column_of_its_own():
    verdicts = {"facebook/musicgen-small": rules.decide({"profile": [0.9, 1.0, 1.1, 1.2]})}
    results.record("35_understanding", "facebook/musicgen-small", rules.findings(verdicts))
    found = rules.overview("facebook/musicgen-small")
    assert list(found["world"]) == ["facebook/musicgen-small"] and list(found["foretold"]) == [""]
    assert rules.rates(found)["facebook/musicgen-small"].tolist() == ["yes"]


def test_what_is_no_finding_is_refused():
    with pytest.raises(ValueError, match=r"criterion must be one of .* Got 'emotion'"):
        results.finding("?", "organism", True, None, "emotion")
    with pytest.raises(ValueError, match=r"answer of 'path' must be one of"):
        results.finding("?", "organism", "much", Estimate(0, 0, 0, 3), "path")
    with pytest.raises(ValueError, match="needs an estimate"):
        results.finding("?", "organism", True, None, "path")
    with pytest.raises(ValueError, match="subject"):
        results.record("01_a", "organism", [{"question": "?", "answer": "", "estimate": None}])
    with pytest.raises(ValueError, match=r"estimate must be four numbers.* Got 0\.5"):
        results.finding("?", "organism", True, 0.5)
    for answer in (np.nan, pd.NA, 0.3, Estimate(0.5, 0.4, 0.6, 8)):
        with pytest.raises(ValueError, match="answer must be a text, True, False or None"):
            results.finding("?", "organism", answer)
    assert results.read("01_a", "organism") is None


def test_a_damaged_file_is_no_finding():
    results.record("01_a", "organism", [results.finding("Is it?", "organism", True)])
    file = results.folder("organism") / "01_a.json"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="damaged"):
        assert results.read("01_a", "organism") is None
    results.record("01_a", "organism", [results.finding("Is it?", "organism", False)])
    assert results.read("01_a", "organism")[0].answer == "no"
    assert json.loads(file.read_text())["findings"][0]["answer"] == "no"


def test_a_file_from_before_provenance_is_read_and_one_of_other_criteria_does_not_count():
    found = results.finding("Is it?", "organism", True, Estimate(0.5, 0.2, 0.8, 8), "path")
    results.record("01_a", "organism", [found])
    file = results.folder("organism") / "01_a.json"
    content = json.loads(file.read_text())
    cache.write(file, json.dumps(content["findings"]), about={})
    assert results.read("01_a", "organism") == [found]
    assert results.records("organism")["01_a"].provenance is None
    assert results.models() == ["organism"]
    content["findings"][0]["criterion"] = "of_last_year"
    cache.write(file, json.dumps(content), about={})
    with pytest.warns(UserWarning, match="another version of the book .* 'of_last_year'"):
        assert results.read_all("organism") == {}


def test_a_record_says_where_it_comes_from(organism, miniature):
    results.record("35_understanding", organism, [])
    told = results.records("organism")["35_understanding"].provenance
    assert told.fingerprint == cache.digest(organism.identity(audio=True))
    assert (told.model, told.revision) == ("organism", None)
    assert (told.dtype, told.device) == ("float32", "cpu")
    assert told.versions["torch"] == str(torch.__version__) and told.versions["audiocraft"]
    assert abs(datetime.now(UTC) - told.date) < timedelta(minutes=1)
    assert told.differences("35_understanding") == []
    assert told.differences("30_steering") == ["other rules"]
    results.record("35_understanding", miniature, [])
    assert [name.rpartition("-")[0] for name in results.models()] == ["musicgen-miniature0", ""]
    text = (results.folder(miniature.name) / "35_understanding.json").read_text()
    assert miniature.name not in text


def test_what_is_foretold_is_no_rule_and_what_matters_is(monkeypatch):
    before = criteria.version("20_patching"), criteria.version("30_steering")
    changed = criteria.criteria()["worded"].model_copy(update={"worlds": {}})
    monkeypatch.setitem(criteria.criteria(), "worded", changed)
    assert criteria.version("20_patching") == before[0]
    changed = changed.model_copy(update={"smallest": 0.03})
    monkeypatch.setitem(criteria.criteria(), "worded", changed)
    assert criteria.version("20_patching") != before[0]
    assert criteria.version("30_steering") == before[1] and criteria.version("00_meet") == ""


def test_folders_of_one_name_keep_their_findings_apart(tmp_path, monkeypatch):
    folders = [tmp_path / part / "mine" for part in ("one", "other")]
    for folder, answer in zip(folders, (True, False), strict=True):
        folder.mkdir(parents=True)
        found = [results.finding("Is it?", str(folder), answer)]
        results.record("01_a", str(folder), found)
    titles = [results.title(str(folder)) for folder in folders]
    assert titles[0] != titles[1] and all(title.startswith("mine-") for title in titles)
    monkeypatch.chdir(tmp_path / "one")
    assert results.title("./mine") == results.title("mine") == titles[0]
    assert results.read("01_a", "mine")[0].subject == titles[0]
    assert results.evidence(str(folders[1]))[titles[1]].tolist() == ["no"]
    assert results.title("organism") == "organism"
    assert results.title("facebook/musicgen-small") == "facebook/musicgen-small"


def test_adapters_and_the_models_they_are_added_to_keep_their_findings_apart(tmp_path):
    bases = ("facebook/musicgen-small", *(str(tmp_path / part / "mine") for part in "ab"))
    adapters = [str(tmp_path / part / "lora") for part in "ab"]
    called = {results.title(f"{base} + {adapter}") for base in bases for adapter in adapters}
    assert len(called) == 6 and not any(str(tmp_path) in title for title in called)
    assert all(results.title(title) == title for title in called)
    hub = results.title(f"{bases[0]} + {adapters[0]}")
    assert hub.startswith("facebook/musicgen-small + lora-")


def test_findings_are_rows_of_a_table():
    found = [results.finding("Is it?", "organism", True)]
    assert pd.DataFrame(found)["answer"].tolist() == ["yes"]


def test_recording_needs_no_papermill():
    code = (
        "from lib import results; import sys; print({'papermill', 'jupytext'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "set()"
