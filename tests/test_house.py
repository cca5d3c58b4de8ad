"""The house in order: rooms as the text says, no circles, thin notebooks, a clean lock."""

import ast
import importlib
import importlib.util
import json
import re
from pathlib import Path

import jupytext
import pytest

import lib
from lib import book

ROOT = Path(__file__).parent.parent
FILES = sorted(path for path in (ROOT / "lib").rglob("*.py") if "_vendor" not in path.parts)


def rooms():
    """The package graph as the docstring of lib has it: room -> rooms that it may import."""
    table = lib.__doc__.split("what is in it\n")[1].split("\n\n")[0]
    graph = {}
    rows = re.findall(r"^(\w+)? {2,}(.*)$", table, re.M)
    for room, rest in rows:
        imports = re.split(r" {2,}", rest)[0]
        if room:
            graph[room] = set()
            last = room
        graph[last] |= set(imports.split()) - {"-"}
    return graph


def room_of(file):
    return file.relative_to(ROOT / "lib").parts[0].removesuffix(".py")


def imported(file):
    """Rooms of lib that a file imports, wherever it does so."""
    package = ["lib", *file.relative_to(ROOT / "lib").parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            path = [*base, *(node.module or "").split(".")] if node.module else base
            assert node.level or path[0] != "lib", f"{file}: imports inside lib are relative"
            if path[:1] == ["lib"]:
                yield from path[1:2] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "lib" for alias in node.names), file


def test_the_text_in_lib_names_every_room():
    assert set(rooms()) == {room_of(file) for file in FILES} - {"__init__"}


@pytest.mark.parametrize("room", sorted(rooms()))
def test_a_room_imports_only_what_the_text_says(room):
    files = [file for file in FILES if room_of(file) == room]
    found = {name for file in files for name in imported(file)} - {room}
    assert found <= rooms()[room], f"{room} also imports {sorted(found - rooms()[room])}"


def test_the_arrows_form_no_circle():
    order = list(rooms())
    for room, imports in rooms().items():
        assert all(order.index(name) < order.index(room) for name in imports), room


def test_modules_of_a_room_form_no_circle():
    graph = {}
    for file in FILES:
        name = ".".join(file.relative_to(ROOT / "lib").with_suffix("").parts)
        graph[name.removesuffix(".__init__")] = module_imports(file)

    def visit(name, path):
        assert name not in path, f"circle: {[*path, name]}"
        for following in graph.get(name, ()):
            visit(following, [*path, name])

    for name in graph:
        visit(name, [])


def module_imports(file):
    """Modules of the same room that a file imports when it is imported."""
    package = list(file.relative_to(ROOT / "lib").parts[:-1])
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            path = [*base, *node.module.split(".")] if node.module else base
            for alias in node.names:
                for place in ([*path, alias.name], path):
                    if (ROOT / "lib" / Path(*place)).with_suffix(".py").exists():
                        found.add(".".join(place))
                        break
    return found


def test_short_names_lead_somewhere():
    for short, place in lib.NAMES.items():
        assert importlib.import_module(f"lib.{short}") is importlib.import_module(f"lib.{place}"), (
            short
        )
        assert importlib.util.find_spec(f"lib.{place}") is not None


def test_no_script_and_no_style_sheet_inside_python():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and len(node.value) > 60
            ):
                wrong = re.search(
                    r"=>|addEventListener|document\.|[{;]\s*(color|margin|padding):", node.value
                )
                assert not wrong or '"""' in ast.get_source_segment(file.read_text(), node)[:4], (
                    f"{file.name}:{node.lineno}: {node.value[:80]}"
                )


@pytest.mark.parametrize("name", book.names())
def test_notebooks_are_thin(name):
    notebook = jupytext.read(ROOT / "notebooks" / f"{name}.py")
    assert next(iter(book.parameters(name))) == "model"
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 20, cell.source
            # only the last value of a cell is shown
            for node in ast.parse(cell.source).body[:-1]:
                assert not (isinstance(node, ast.Expr) and ast.unparse(node).startswith("show.")), (
                    ast.unparse(node)
                )
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < 10, node.name


@pytest.mark.parametrize("name", book.names())
def test_notebooks_are_in_the_book(name):
    assert f"notebooks/{name}\n" in (ROOT / "_toc.yml").read_text() + "\n"


def test_notebooks_survive_the_round_trip():
    for name in book.names():
        text = (ROOT / "notebooks" / f"{name}.py").read_text()
        back = jupytext.reads(
            jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="ipynb"), fmt="ipynb"
        )
        assert [c.source for c in back.cells] == [
            c.source for c in jupytext.reads(text, fmt="py:percent").cells
        ]


def test_lock_is_pinned_and_names_no_host():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert re.match(r"^[A-Za-z0-9._-]+==[\w.+!]+( ; .+)?$", line), line
        assert not re.match(r"^(torch|torchaudio|xformers|encodec|spacy)==", line)


def test_the_lock_of_what_browsers_run_is_whole_and_names_no_host():
    project = ROOT / "lib" / "pages" / "npm"
    text = (project / "package-lock.json").read_text()
    assert "http" not in text and "resolved" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
    wanted = json.loads((project / "package.json").read_text())["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_benchmarks_measure_memory_as_it_is_held():
    for file in (ROOT / "benchmarks").glob("*.py"):
        # a high-water mark: that of whatever ran before; in bytes on macOS, elsewhere in kilobytes
        assert "ru_maxrss" not in file.read_text(), file.name


def test_the_page_is_no_benchmark_where_there_is_no_browser(monkeypatch, capsys):
    pytest.importorskip("playwright")
    spec = importlib.util.spec_from_file_location("page", ROOT / "benchmarks" / "page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    measured = []
    monkeypatch.setattr(page, "measure", measured.append)
    monkeypatch.setattr(
        page.shutil, "which", lambda name: name if name.endswith(" Chrome") else None
    )
    page.main()
    assert [program.endswith("/MacOS/Google Chrome") for program in measured] == [True]
    monkeypatch.setattr(page.shutil, "which", lambda name: None)
    page.main()
    assert len(measured) == 1 and "No browser found" in capsys.readouterr().out


def test_makefile_says_what_it_does():
    text = (ROOT / "Makefile").read_text()
    for target in ("book", "test", "lab", "notebooks", "bench", "organisms", "clean"):
        assert re.search(rf"^{target}:", text, re.M)
