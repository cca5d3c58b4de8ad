"""What makes a notebook run again, and what is refused before anything runs; two tiny notebooks."""

import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import jupytext
import nbformat
import pytest
import torch
from nbclient.exceptions import CellTimeoutError

from lib import cache, show
from lib.book import __main__ as command
from lib.book import build, execute, findings, others, provenance, rules

TEXT = """# %% [markdown]
# # A title

# %% tags=["parameters"]
model = "organism"  # or a folder
n = 3

# %%
print(model, n)
"""


class Noon(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, zone=None):
        return datetime(2026, 1, 1, 12, tzinfo=zone)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two notebooks executed without a kernel; the list of what ran, with its parameters."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for name in ("00_first", "index"):
        (notebooks / f"{name}.py").write_text(TEXT)
    monkeypatch.setattr(execute, "NOTEBOOKS", notebooks)
    monkeypatch.setattr(provenance, "library", lambda: {"code": "as it is"})
    monkeypatch.setattr(cache, "ROOT", tmp_path / "artifacts")
    # findings are dated, and the index follows from them: the clock stands still between two runs
    monkeypatch.setattr(provenance, "datetime", Noon)
    done = []

    def without_a_kernel(notebook, unfinished, values, **settings):
        unfinished.touch()
        done.append(dict(values))
        if unfinished.name.startswith("00_first"):
            found = [findings.finding("Is it?", values["model"], True)]
            findings.record("00_first", values["model"], found)
        injected = nbformat.v4.new_code_cell("", metadata={"tags": ["injected-parameters"]})
        notebook.cells.insert(2, injected)
        return notebook

    monkeypatch.setattr(execute.papermill, "execute_notebook", without_a_kernel)
    return done


@pytest.fixture
def copies(tmp_path, folder):
    """Two folders of the same name with a checkpoint in the released format."""
    places = [tmp_path / part / "mine" for part in ("one", "other")]
    for place in places:
        shutil.copytree(folder, place)
    return places


# ------------------------------------------------------------------------------------- what is kept
def test_a_notebook_runs_once(runs):
    assert execute.run() == ["00_first", "index"] and execute.run() == []
    assert runs == [{"model": "organism"}] * 2
    executed = nbformat.read(execute.NOTEBOOKS / "00_first.ipynb", 4)
    source = jupytext.read(execute.NOTEBOOKS / "00_first.py")
    assert [c.source for c in executed.cells] == [c.source for c in source.cells]
    assert "Computed with model = 'organism'" in str(executed.cells[1].outputs)
    assert sorted(file.name for file in execute.NOTEBOOKS.glob("*.ipynb")) == [
        "00_first.ipynb",
        "index.ipynb",
    ]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"{}"])
def test_a_damaged_copy_is_made_again(runs, damage):
    execute.run()
    file = execute.NOTEBOOKS / "00_first.ipynb"
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert execute.run() == ["00_first"]
    assert (
        nbformat.read(file, 4).metadata["book"]
        == nbformat.reads(whole.decode(), 4).metadata["book"]
    )


def test_a_copy_without_a_cell_is_made_again(runs):
    execute.run()
    file = execute.NOTEBOOKS / "00_first.ipynb"
    notebook = nbformat.read(file, 4)
    del notebook.cells[-1]
    nbformat.write(notebook, file)
    assert execute.run() == ["00_first"]


def test_a_chapter_whose_findings_are_gone_or_damaged_runs_again(runs):
    execute.run()
    file = findings.folder("organism") / "00_first.json"
    kept = findings.read("00_first", "organism")
    for damaged in (None, file.read_bytes()[:-30]):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        assert execute.run(only=["00_first"]) == ["00_first"]
        assert findings.read("00_first", "organism") == kept


def test_the_index_runs_again_when_a_finding_changes(runs):
    execute.run()
    found = [findings.finding("Is it?", "organism", False)]
    findings.record("05_another", "organism", found)
    assert execute.run() == ["index"]
    # of any model: the index shows all
    findings.record("05_another", "organism-shuffled", found)
    assert execute.run() == ["index"] and execute.run() == []


def test_another_model_s_results_are_drawn_without_executing_anything(runs):
    execute.run()
    copy = execute.NOTEBOOKS / "00_first.ipynb"
    executed = nbformat.read(copy, 4)
    decided = {"organism": rules.decide({"worded": [0.1, 0.2, 0.3]})}
    data = show.verdicts(rules.table(decided), "What the word does")._repr_mimebundle_()
    executed.cells[-1].outputs = [nbformat.v4.new_output("display_data", data=data)]
    nbformat.write(executed, copy)
    large = {"owner/large": rules.decide({"worded": [0.2, 0.3, 0.5]})}
    findings.record("20_patching", "owner/large", rules.findings(large))
    assert execute.run() == ["index"]
    drawn = nbformat.read(copy, 4).cells[-1].outputs[0].data[others.PLOTLY]
    assert [trace.name.replace("<br>", " ").split()[0] for trace in drawn.data] == [
        "organism",
        "owner/large",
    ]
    before = copy.stat().st_mtime_ns
    assert execute.run() == [] and copy.stat().st_mtime_ns == before


def test_outputs_follow_from_text_parameters_weights_and_lock(runs, tmp_path, monkeypatch):
    first = execute.key("00_first", {"model": "organism"}, "weights")
    assert first == execute.key("00_first", {"model": "organism"}, "weights")
    assert first != execute.key("00_first", {"model": "organism", "n": 4}, "weights")
    assert first != execute.key("00_first", {"model": "organism"}, "other weights")
    (execute.NOTEBOOKS / "00_first.py").write_text(TEXT + "\n# a comment that is shown\n")
    changed = execute.key("00_first", {"model": "organism"}, "weights")
    assert changed != first
    answers = tmp_path / "answers"
    answers.mkdir()
    named = {"model": "organism", "answers": str(answers), "beside": ["organism-habit"]}
    empty = execute.key("00_first", named, "weights")
    (answers / "1.json").write_text("{}")
    assert execute.key("00_first", named, "weights") != empty
    with monkeypatch.context() as patch:
        patch.setenv("BOOK_LISTENER_CLIPS", "77")
        assert execute.key("00_first", {"model": "organism"}, "weights") != changed
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy==0.1\n")
    assert execute.key("00_first", {"model": "organism"}, "weights") != changed


def test_files_that_a_chapter_itself_names_are_what_outputs_follow_from(runs):
    named = TEXT.replace("n = 3", 'n = 3\nconcept = ("mine.csv", "yours.csv")\nsize = len("ab")')
    (execute.NOTEBOOKS / "00_first.py").write_text(named)
    words = execute.NOTEBOOKS / "mine.csv"
    words.write_text("level,word,prompt\n")
    assert execute.run() == ["00_first", "index"] and execute.run() == []
    words.write_text("level,word,prompt\nhigh,merry,a merry song\n")
    assert execute.run() == ["00_first"]
    # what is passed stands in place of what is written there
    passed = {"model": "organism", "concept": ""}
    before = execute.key("00_first", passed)
    words.write_text("level,word,prompt\n")
    assert execute.key("00_first", passed) == before


def test_code_that_changes_while_chapters_run_counts_at_the_next_run(runs, monkeypatch):
    versions = iter("abcdef")
    monkeypatch.setattr(provenance, "library", lambda: {"code": next(versions)})
    monkeypatch.setattr(provenance, "code", lambda: "as it is")
    assert execute.run() == ["00_first", "index"]
    monkeypatch.setattr(provenance, "library", lambda: {"code": "a"})
    assert execute.run() == []
    monkeypatch.setattr(provenance, "library", lambda: {"code": "b"})
    assert execute.run() == ["00_first", "index"]


def test_without_git_a_chapter_is_kept_all_the_same(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert execute.commit() is None
    assert execute.run(only=["00_first"]) == ["00_first"]
    assert "from commit unknown" in (execute.NOTEBOOKS / "00_first.ipynb").read_text()


def test_a_cell_that_takes_too_long_is_told_in_a_sentence(runs, monkeypatch):
    monkeypatch.delenv("BOOK_TIMEOUT", raising=False)
    limits = []

    def too_slow(*_, execution_timeout, **settings):
        limits.append(execution_timeout)
        raise CellTimeoutError.error_from_timeout_and_cell("Cell execution timed out", 9, None)

    monkeypatch.setattr(execute.papermill, "execute_notebook", too_slow)
    with pytest.raises(
        SystemExit, match=r"A cell of 00_first took longer than the 3600 s .* again"
    ):
        command.main(["run"])
    for given in ("20", "none", "0"):
        monkeypatch.setenv("BOOK_TIMEOUT", given)
        with pytest.raises(ValueError, match="A cell of 00_first"):
            execute.run()
    assert limits == [3600, 20, None, None]
    monkeypatch.setenv("BOOK_TIMEOUT", "an hour")
    with pytest.raises(ValueError, match=r"BOOK_TIMEOUT must be whole seconds.*Got 'an hour'"):
        execute.run()
    assert len(limits) == 4


def test_comments_and_docstrings_change_nothing(tmp_path):
    file = tmp_path / "code.py"
    versions = [
        'def double(x):\n    """Twice."""\n    return 2 * x\n',
        '"""A module."""\n\n\ndef double(x):\n    """Two times x."""\n    return 2 * x  # twice\n',
        "def double(x):\n    return x + x\n",
    ]
    hashes = []
    for i, text in enumerate(versions):
        file.write_text(text)
        hashes.append(provenance.content(file, i))
    assert hashes[0] == hashes[1] != hashes[2]
    hashes = [
        provenance.content(_written(tmp_path / "words.toml", text), i)
        for i, text in enumerate("ab")
    ]
    assert hashes[0] != hashes[1]


def _written(file, text):
    file.write_text(text)
    return file


def test_the_factory_is_no_part_of_a_chapter():
    used = provenance.library()
    assert "book/execute.py" in used and not any(name.startswith("factory") for name in used)


def test_nothing_begins_before_what_it_needs(monkeypatch):
    started = []
    assert execute._in_order(execute.names(), lambda name: started.append(name) or True, 2)
    assert sorted(started) == sorted(execute.names())
    for name in started:
        assert all(started.index(before) < started.index(name) for before in execute.needs(name))


def test_the_longest_begin_as_soon_as_they_may():
    assert set(execute.LONG) < set(execute.names())
    started = []
    execute._in_order(execute.names(), lambda name: started.append(name) or True, 1)
    short = [
        name for name in started if name not in execute.LONG and not execute._opens_a_part(name)
    ]
    for name in execute.LONG:
        behind = [other for other in short if execute.needs(other) >= execute.needs(name)]
        assert all(started.index(name) < started.index(other) for other in behind)


def test_what_file_managers_and_editors_leave_is_no_part_of_a_chapter(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "words.toml").write_text("a = 1")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "book" / "provenance.py"))
    before = provenance.library()
    assert list(before) == ["words.toml"]
    (tmp_path / ".idea").mkdir()
    for left in (".DS_Store", "book/.rules.toml.swp", ".idea/lib.xml", "words.toml~"):
        (tmp_path / left).write_text("left")
    assert provenance.library() == before


# ----------------------------------------------------------------------------------- models by path
def test_a_relative_folder_works_from_anywhere(runs, copies, monkeypatch):
    execute.run()
    kept = (execute.NOTEBOOKS / "00_first.ipynb").read_bytes()
    monkeypatch.chdir(copies[0].parent)
    assert execute.run("./mine") == ["00_first", "index"]
    assert runs[2:] == [{"model": str(copies[0])}] * 2
    assert execute.run(str(copies[0])) == []
    # beside, not in place of: what is about the organism, and about a folder of the same name
    assert execute.run(str(copies[1])) == ["00_first", "index"]
    assert (execute.NOTEBOOKS / "00_first.ipynb").read_bytes() == kept
    places = [execute.folder(str(place)) for place in copies]
    assert places[0] != places[1] and all(place.name.startswith("mine-") for place in places)
    for place, model in zip(places, copies, strict=True):
        assert f"Computed with model = '{model}'" in (place / "00_first.ipynb").read_text()
        assert findings.read("00_first", str(model))[0].subject == place.name


@pytest.mark.skipif(shutil.which("make") is None, reason="There is no make here.")
@pytest.mark.parametrize(("model", "at"), [("./mine", "called"), ("organism", "checkout")])
def test_make_names_a_folder_from_where_it_is_called(tmp_path, model, at):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text('#!/bin/sh\npwd -P; echo "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    (venv / "ready").write_text("")  # newer than the lock: nothing is installed
    called = tmp_path / "called"
    (called / "mine").mkdir(parents=True)
    checkout = Path(__file__).parents[1]
    command = ["make", "--no-print-directory", "-sC", checkout, "notebooks"]
    done = subprocess.run(
        [*command, f"VENV={venv}", f"MODEL={model}"],
        cwd=called,
        env={**os.environ, "PWD": str(called)},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    folder = {"called": called, "checkout": checkout}[at]
    assert done.stdout.splitlines() == [
        str(folder.resolve()),
        f"-P -m lib.book run --model {model}",
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="There is no make here.")
def test_make_works_below_a_folder_with_a_space_in_its_name(tmp_path):
    checkout = tmp_path / "my book"
    programs = checkout / ".venv" / "bin"
    for folder in (programs, checkout / "my model", checkout / "benchmarks"):
        folder.mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(Path(__file__).parents[1] / name, checkout)
    (checkout / "benchmarks" / "fast.py").write_text("")
    # where the book lies is asked for; all else is said
    for name in ("python", "jupyter", "ruff"):
        script = f'#!/bin/sh\ncase "$*" in *where*) pwd;; *) echo {name} "$@";; esac\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    (programs.parent / "ready").write_text("")  # newer than the lock: nothing is installed
    done = subprocess.run(
        ["make", "--no-print-directory", "-s", "book", "lab", "test", "bench", "MODEL=my model"],
        cwd=checkout,
        env={**os.environ, "PWD": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert not done.returncode and not done.stderr, done.stderr
    assert done.stdout.splitlines() == [
        *(f"python -P -m lib.book {what} --model my model" for what in ("run", "build", "open")),
        "jupyter lab index.ipynb",
        "ruff check .",
        "ruff format --check .",
        "python -m pytest",
        "python benchmarks/fast.py",
    ]


def test_changed_weights_of_a_folder_are_another_run(runs, copies):
    assert execute.run(str(copies[0])) == ["00_first", "index"]
    file = copies[0] / "state_dict.bin"
    state = torch.load(file, weights_only=False)
    state["best_state"]["linears.0.weight"][3, 5] += 1e-3
    torch.save(state, file)
    assert execute.run(str(copies[0])) == ["00_first", "index"]


def test_a_wrong_model_is_refused_before_anything_runs(runs, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for wrong, message in {"./nothing": "Unknown model", "./empty": "lacks state_dict.bin"}.items():
        with pytest.raises(SystemExit, match=message):
            command.main(["run", "--model", wrong])
    assert runs == [] and not list(tmp_path.rglob("*.ipynb"))


def test_bad_parameters_are_refused_before_anything_runs(runs, tmp_path):
    with pytest.raises(ValueError, match="Unknown notebook"):
        execute.run(only=["07_nothing"])
    with pytest.raises(ValueError, match=r"no parameter \['m'\]; it declares \['model', 'n'\]"):
        execute.run(**{"00_first": {"m": 1}})
    assert runs == [] and not list(tmp_path.rglob("*.ipynb"))


def test_a_notebook_without_parameters_is_told(runs):
    (execute.NOTEBOOKS / "00_first.py").write_text("# %% [markdown]\n# # A title\n")
    with pytest.raises(ValueError, match="no cell tagged 'parameters'"):
        execute.parameters("00_first")


def test_the_command_says_what_it_did(runs, capsys, copies):
    command.main(["run", "--only", "00_first"])
    command.main(["run", "--only", "00_first"])
    command.main(["where", "--model", str(copies[0])])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["executed: 00_first", "executed: nothing has changed"]
    assert lines[2] == str(execute.folder(str(copies[0])))
    for what in ("build", "times"):
        with pytest.raises(SystemExit, match=r"Not executed yet: \['index'\]"):
            command.main([what])
    with pytest.raises(SystemExit, match=r"There is no book at .* Run 'make book'"):
        command.main(["open", "--model", str(copies[0])])
    with pytest.raises(SystemExit, match=r"jobs must be an integer, 1 or more\. Got 0"):
        command.main(["run", "--jobs", "0"])
    assert build.folder() == build.BUILD != build.folder(str(copies[0]))
