"""A results pack goes from one machine to another, whole or not at all."""

import json
import re

import numpy as np
import pytest

from lib import cache, results
from lib.book import __main__ as command
from lib.book import packs, rules
from lib.stats import Estimate

SMALL = "facebook/musicgen-small"


def record(model, answer="much"):
    decided = {name: rules.decide({"worded": [0.1, 0.2, 0.4]}) for name in (model, "untrained")}
    results.record("20_patching", model, rules.findings(decided))
    unknown = Estimate(0.5, np.nan, np.nan, 3)
    results.record("40_real_music", model, [results.finding("How?", model, answer, unknown)])


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Goes to another machine's artifacts."""

    def go(name):
        monkeypatch.setattr(cache, "ROOT", tmp_path / name)

    go("here")
    return go


@pytest.fixture
def pack(tmp_path, elsewhere):
    """A pack from another machine."""
    elsewhere("there")
    record(SMALL)
    file = tmp_path / "small.json"
    command.main(["export", "--model", SMALL, str(file)])
    elsewhere("here")
    return file


def changed(pack, change, checksum=True):
    content = json.loads(pack.read_text())
    change(content)
    if checksum:
        content["checksum"] = cache.digest(content["records"])
    pack.write_text(json.dumps(content))
    return str(pack)


def test_a_pack_arrives_as_it_was_sent(pack, elsewhere, capsys):
    elsewhere("there")
    sent = results.records(SMALL)
    elsewhere("here")
    assert results.models() == []
    command.main(["import", str(pack)])
    assert f"Imported 2 chapters about {SMALL}." in capsys.readouterr().out
    kept = results.records(SMALL)
    assert results.models() == [SMALL] and list(kept) == list(sent)
    for chapter, record in kept.items():
        assert cache.digest(record.findings) == cache.digest(sent[chapter].findings)
        assert record.provenance == sent[chapter].provenance
        assert record.imported is not None and sent[chapter].imported is None
    # what was imported can be sent on, and is the same
    again = pack.with_name("again.json")
    command.main(["export", "--model", SMALL, str(again)])
    assert again.read_bytes() == pack.read_bytes()
    command.main(["import", str(again)])
    assert "are here already" in capsys.readouterr().out


def test_a_pack_of_a_folder_names_no_path(tmp_path, elsewhere, miniature):
    record(miniature.name)
    results.record("01_a", miniature, [])
    file = packs.export(miniature.name, tmp_path / "mine.json")
    assert str(tmp_path) not in file.read_text() and miniature.name not in file.read_text()
    title = results.title(miniature.name)
    elsewhere("there")
    packs.keep(file)
    assert results.models() == [title] and results.read("01_a", title) == []


def test_results_that_are_here_are_replaced_only_on_demand(pack):
    record(SMALL, "little")
    results.record("01_a", SMALL, [])
    with pytest.raises(SystemExit) as refused:
        command.main(["import", str(pack)])
    said = str(refused.value)
    assert "Other findings: 40_real_music. The same findings: 20_patching. Only here: 01_a." in said
    assert "--replace" in said and results.read("40_real_music", SMALL)[0].answer == "little"
    command.main(["import", "--replace", str(pack)])
    assert list(results.records(SMALL)) == ["20_patching", "40_real_music"]
    assert results.read("40_real_music", SMALL)[0].answer == "much"


@pytest.mark.filterwarnings("ignore:.*of another version of the book")
def test_results_that_cannot_be_read_are_replaced_only_on_demand(pack):
    newer = results.folder(SMALL) / "20_patching.json"
    cache.write(newer, '{"findings": "than this version knows"}', about={})
    with pytest.raises(SystemExit) as refused:
        command.main(["import", str(pack)])
    said = str(refused.value)
    assert f"Here, but cannot be read: {newer}." in said and "--replace" in said
    assert f"copy {newer.parent} to keep them" in said
    assert "Only in the pack: 40_real_music." in said and "than this version" in newer.read_text()
    command.main(["import", "--replace", str(pack)])
    assert list(results.records(SMALL)) == ["20_patching", "40_real_music"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="2"), "its format must be an integer. Got '2'"),
        (lambda c: c.update(format=2), "format 2, and this book reads format 1"),
        (lambda c: c.update(kind="a letter"), "is no results pack"),
        (lambda c: c.update(model="../../elsewhere"), "model: String should match"),
        (lambda c: c.update(model="/root/mine"), "model: String should match"),
        (lambda c: c.update(model="other"), f"20_patching is about '{SMALL}', not 'other'"),
        (lambda c: c.update(records={}), "it holds no chapter"),
        (lambda c: c["records"].update({"../x": c["records"].pop("20_patching")}), "should match"),
        (lambda c: c["records"]["20_patching"].update(provenance=None), "nobody told where"),
        (lambda c: c["records"]["20_patching"]["provenance"].pop("rules"), "rules: Field required"),
        (
            lambda c: c["records"]["20_patching"]["findings"][0].update(criterion="wordless"),
            r"20_patching → findings → 0 → criterion: criterion must be one of .* Got 'wordless'",
        ),
        (
            lambda c: c["records"]["20_patching"]["findings"][0].update(estimate=[1, 2]),
            "estimate",
        ),
        (
            lambda c: c["records"]["20_patching"]["findings"][0].update(answer="maybe"),
            "answer of 'worded' must be one of",
        ),
    ],
)
def test_a_wrong_pack_is_refused_and_nothing_is_kept(pack, change, message):
    with pytest.raises(SystemExit, match=message):
        command.main(["import", changed(pack, change)])
    assert results.models() == [] and not cache.ROOT.exists()


def test_a_damaged_pack_is_refused(pack):
    whole = pack.read_text()
    pack.write_text(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged, or no results pack"):
        packs.load(pack)
    pack.write_bytes(b"\xff\xfe\x00RIFF")
    with pytest.raises(ValueError, match="is damaged, or no results pack"):
        packs.load(pack)
    value = re.search(r"0\.23\d+", whole)[0]
    pack.write_text(whole.replace(value, "0.83", 1))
    with pytest.raises(ValueError, match="its checksum does not fit"):
        packs.load(pack)
    with pytest.raises(FileNotFoundError, match=r"There is no file .*nothing\.json"):
        packs.load(pack.with_name("nothing.json"))


def test_what_cannot_be_sent_is_said(elsewhere, tmp_path):
    record(SMALL)
    with pytest.raises(SystemExit, match=rf"no results about organism .* \['{SMALL}'\]"):
        command.main(["export", str(tmp_path / "x.json")])
    file = results.folder(SMALL) / "20_patching.json"
    cache.write(file, json.dumps(json.loads(file.read_text())["findings"]), about={})
    with pytest.raises(SystemExit, match=r"Nobody knows .*\['20_patching'\]"):
        command.main(["export", "--model", SMALL, str(tmp_path / "x.json")])
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SystemExit, match=r"cannot be read: .*20_patching\.json"):
        command.main(["export", "--model", SMALL, str(tmp_path / "x.json")])
    hidden = tmp_path / ".hid"
    hidden.mkdir()
    record(str(hidden))
    with pytest.raises(SystemExit, match=r"begins with no dot.*rename the model's folder"):
        command.main(["export", "--model", str(hidden), str(tmp_path / "x.json")])
    for wrong in (["export"], ["run", "x.json"], ["import", "--model", SMALL, "x.json"]):
        with pytest.raises(SystemExit):
            command.main(wrong)
    assert not (tmp_path / "x.json").exists()
