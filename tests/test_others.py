"""Other models stand beside the one that a page is about, with where they come from."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from lib import cache, results, show
from lib.book import criteria, others, packs, rules

LARGE = "facebook/musicgen-large"
CHAPTER = "35_understanding"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "ROOT", tmp_path / "artifacts")


def verdicts(**sizes):
    """Of every criterion the given size."""
    rng = np.random.default_rng(0)
    return rules.decide({name: rng.normal(size, 0.2, 20) for name, size in sizes.items()})


@pytest.fixture
def found():
    """The organism's verdicts, recorded as a chapter does."""
    decided = {name: verdicts(profile=1, shared=0.5) for name in ("organism", "untrained")}
    results.record(CHAPTER, "organism", rules.findings(decided))
    return rules.table(decided)


def record_large(chapter=CHAPTER, **sizes):
    decided = {LARGE: verdicts(**sizes), "organism": verdicts(**sizes)}
    explored = results.finding("How much?", LARGE, "much")
    results.record(chapter, LARGE, [*rules.findings(decided), explored])


def drawn(frame):
    figure = show.verdicts(frame, "Verdicts").figure
    return {" ".join(trace.name.split("<br>")): trace for trace in figure.data}


def test_a_model_alone_looks_as_it_did(found):
    assert rules.beside(found) is found
    assert others.evidence("organism").equals(results.evidence("organism"))
    assert others.sources("organism").empty
    assert list(drawn(found)) == ["organism", "untrained"]


def test_a_model_that_was_run_stands_beside_with_its_own_name_and_date(found):
    record_large(profile=0.8, tied=0.8)
    day = results.records(LARGE)[CHAPTER].provenance.day
    label = f"{LARGE} ({day})"
    both = rules.beside(found)
    added = both[both["recorded"]]
    # the same criteria alone; and the model itself, not its controls
    assert list(added["criterion"]) == ["profile"] and list(added["model"]) == [LARGE]
    assert both[~both["recorded"]][list(found)].equals(found)
    expected = results.read(CHAPTER, LARGE)[0].estimate
    assert tuple(added[["value", "low", "high"]].iloc[0]) == expected[:3]
    traces = drawn(both)
    assert list(traces) == ["organism", "untrained", label]
    assert traces["organism"].marker.symbol == "circle" != traces[label].marker.symbol
    assert traces[label].marker.color == show.MUTED
    assert list(traces[label].x) == pytest.approx(added["value"] / added["smallest"])
    # as rows within the criterion's row: below the page's own, above the next criterion's
    places = [trace.y[0] for trace in traces.values()]
    assert places == sorted(places, reverse=True) and places[0] - places[-1] < 1
    assert rules.rates(both)[label].tolist() == ["yes", ""]
    table = others.evidence("organism").set_index("question")
    assert table.loc["How much?", label] == "much" and table.loc["How much?", "organism"] == ""
    # seen from its own page the organism is a control that was asked again
    alone = rules.overview(LARGE)[lambda table: table["model"] == LARGE]
    assert set(rules.beside(alone).query("recorded")["model"]) == {"organism"}
    assert "recorded" not in rules.beside(rules.overview(LARGE))


def test_a_model_that_a_page_asked_again_is_not_drawn_twice(found):
    results.record(CHAPTER, "untrained", rules.findings({"untrained": verdicts(profile=0)}))
    assert rules.beside(found) is found


def test_what_a_chapter_found_that_is_gone_does_not_count(found, monkeypatch, tmp_path):
    results.record("07_old_name", "organism", [results.finding("Was it?", "organism", True)])
    record_large("35_old_name", profile=0.8)
    assert rules.beside(found) is found
    assert set(others.evidence("organism")["chapter"]) == {"35"}
    assert "How much?" not in set(others.evidence("organism")["question"])
    # but what came from elsewhere does, and all of it where there are no notebooks
    packs.export(LARGE, tmp_path / "large.json")
    with monkeypatch.context() as patch:
        patch.setattr(results, "NOTEBOOKS", tmp_path / "none")
        assert {"07", "35"} == set(others.evidence("organism")["chapter"])
        assert rules.beside(found)["recorded"].sum() == 1
    shutil.rmtree(results.place(LARGE))
    packs.keep(tmp_path / "large.json")
    assert rules.beside(found)["recorded"].sum() == 1
    assert "How much?" in set(others.evidence("organism")["question"])


def test_what_other_rules_or_code_made_is_said(found, monkeypatch):
    record_large(profile=0.8)
    record_large("20_patching", worded=0.8)
    packs.export(LARGE, cache.ROOT / "large.json")
    monkeypatch.setattr(cache, "ROOT", cache.ROOT / "elsewhere")
    results.record(CHAPTER, "organism", rules.findings({"organism": verdicts(profile=1)}))
    changed = criteria.criteria()["profile"].model_copy(update={"smallest": 0.25})
    monkeypatch.setitem(criteria.criteria(), "profile", changed)
    said = packs.keep(cache.ROOT.parent / "large.json").splitlines()
    assert said[0] == f"Imported 2 chapters about {LARGE}."
    assert said[1:] == [f"Other rules than here, and shown as such: {CHAPTER}."]
    label = rules.beside(found).query("recorded")["world"].iloc[0]
    assert label.startswith(f"{LARGE} (imported, 20") and label.endswith(", other rules)")
    whole = [*found["criterion"], "worded"]
    asked = pd.DataFrame({**found.iloc[0], "criterion": name} for name in whole)
    assert rules.beside(asked)["world"].iloc[-1].endswith(", partly other rules)")
    own, large = others.sources("organism").to_dict("records")
    assert (own["run"], large["run"]) == ("here", "imported")
    assert large["rules and code"] == "other rules (chapters 35)" and large["model"] == LARGE
    assert "other rules" in own["rules and code"] and "torch" in large["versions"]


def test_results_of_different_weights_are_all_named(organism):
    results.record("01_known_answers", "organism", [])
    results.record("02_activations", organism, [results.finding("Is it?", "organism", True)])
    file = results.folder("organism") / "02_activations.json"
    content = json.loads(file.read_text())
    for chapter, commit in {"00_meet_the_model": "1" * 40, "11_feature_explorer": "2" * 40}.items():
        content["provenance"]["revision"] = commit
        cache.write(file.with_name(f"{chapter}.json"), json.dumps(content), about={})
    results.record("01_known_answers", LARGE, [])
    row = others.sources("organism").iloc[0]
    hashed = cache.digest(organism.identity(audio=True))[:8]
    assert row["weights"] == f"commit 11111111, commit 22222222, hash {hashed}"
    assert row["precision"] == "float32" and row["rules and code"] == "as here"


def test_the_first_page_says_what_answers_rest_on(organism):
    def bases():
        return others.scope("organism").set_index("what")["basis"].to_dict()

    results.record("01_known_answers", organism, [results.finding("Is it?", "organism", True)])
    people, songs = "people who listen", "songs that people rated"
    assert bases()["model organisms, whose truth is known"] == "measured"
    assert {bases()[what] for what in (people, songs, "released MusicGens")} == {"not run"}
    heard = [results.finding("Do people hear it?", "organism", "cannot tell")]
    results.record("32_listening_test", organism, heard, "simulated")
    assert bases()[people] == "simulated" and bases()[songs] == "not run"
    found = results.evidence("organism")
    assert found["organism"].tolist() == ["yes", "cannot tell"]
    assert found["rests on"].tolist() == ["what was measured", "what was simulated"]
    assert results.rests_on("32_listening_test", "organism") == "simulated, organism"
    assert results.rests_on("31_emotion_pad", "organism") == "measured, organism"
    results.record("40_real_music", LARGE, [results.finding("Is it?", LARGE, True)])
    assert bases()[songs] == "measured" and bases()["released MusicGens"] == f"measured: {LARGE}"
    with pytest.raises(ValueError, match="basis must be one of"):
        results.record("01_known_answers", organism, [], "guessed")


def test_only_released_models_that_were_asked_count_as_such(tmp_path):
    def bases(model):
        return others.scope(model).set_index("what")["basis"].to_dict()

    own = str(tmp_path)
    title = results.title(own)
    for model in (own, LARGE):
        assert bases(model)["released MusicGens"] == "not run"
        assert "other MusicGens" not in bases(model)
    results.record("01_known_answers", own, [results.finding("Is it?", title, True)])
    found = bases(own)
    assert found["released MusicGens"] == "not run"
    assert found["other MusicGens"] == f"measured: {title}"
    results.record("01_known_answers", LARGE, [results.finding("Is it?", LARGE, True)])
    assert bases(own)["released MusicGens"] == f"measured: {LARGE}"
