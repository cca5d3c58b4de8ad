"""What chapters found is kept whole, told apart by model, and turned into verdicts."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib import cache, results
from lib.book.criteria import CRITERIA, KNOWN
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
    results.record("02_b", "organism", [results.finding("And?", "organism", "much", None, "path")])
    table = results.evidence("organism")
    assert list(table) == ["chapter", "question", *both, "decides"]
    assert table["organism"][0] == "yes\u00a0(0.90\u00a0[0.60,\u00a01.00],\u00a0n\u00a0=\u00a010)"
    assert list(table["organism-shuffled"])[1] == "" and table["decides"][1] == CRITERIA["path"]


def test_verdicts_follow_from_all_findings_that_decide():
    answers = {"organism": [True, True], "organism-shuffled": [True, False], "mine": [True, None]}
    for name, pair in answers.items():
        found = [results.finding(f"{i}?", name, a, None, "features") for i, a in enumerate(pair)]
        results.record(f"1{len(name)}_x", "organism", found)
    row = results.verdicts("organism").set_index("criterion").loc[CRITERIA["features"]]
    assert row["organism"] == "yes ✓ (2 of 2)" and row["organism-shuffled"] == "no ✓ (1 of 2)"
    assert row["mine"] == "cannot tell (1 of 2)"
    steering = results.verdicts("organism").set_index("criterion").loc[CRITERIA["steering"]]
    assert steering["organism"] == "cannot tell: not tested"


def test_every_known_verdict_is_about_a_criterion():
    for known in KNOWN.values():
        assert set(known) == set(CRITERIA) - {"quality"} and set(known.values()) <= {"yes", "no"}


def test_what_is_no_finding_is_refused():
    with pytest.raises(ValueError, match=r"criterion must be one of .* Got 'emotion'"):
        results.finding("?", "organism", True, None, "emotion")
    with pytest.raises(ValueError, match="subject"):
        results.record("01_a", "organism", [{"question": "?", "answer": "", "estimate": None}])
    assert results.read("01_a", "organism") is None


def test_a_damaged_file_is_no_finding():
    results.record("01_a", "organism", [results.finding("Is it?", "organism", True)])
    file = results.folder("organism") / "01_a.json"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="damaged"):
        assert results.read("01_a", "organism") is None
    results.record("01_a", "organism", [results.finding("Is it?", "organism", False)])
    assert results.read("01_a", "organism")[0].answer == "no"
    assert json.loads(file.read_text())[0]["answer"] == "no"


def test_folders_of_one_name_keep_their_findings_apart(tmp_path, monkeypatch):
    folders = [tmp_path / part / "mine" for part in ("one", "other")]
    for folder, answer in zip(folders, (True, False), strict=True):
        folder.mkdir(parents=True)
        found = [results.finding("Is it?", str(folder), answer, None, "path")]
        results.record("01_a", str(folder), found)
    titles = [results.title(str(folder)) for folder in folders]
    assert titles[0] != titles[1] and all(title.startswith("mine-") for title in titles)
    monkeypatch.chdir(tmp_path / "one")
    assert results.title("./mine") == results.title("mine") == titles[0]
    assert results.read("01_a", "mine")[0].subject == titles[0]
    assert list(results.verdicts("mine"))[1:] == [titles[0]]
    assert results.evidence(str(folders[1]))[titles[1]].tolist() == ["no"]
    assert results.title("organism") == "organism"
    assert results.title("facebook/musicgen-small") == "facebook/musicgen-small"


def test_findings_are_rows_of_a_table():
    found = [results.finding("Is it?", "organism", True)]
    assert pd.DataFrame(found)["answer"].tolist() == ["yes"]


def test_recording_needs_no_papermill():
    code = (
        "from lib import results; import sys; print({'papermill', 'jupytext'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "set()"
