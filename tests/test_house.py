"""The house in order: layers, no circles, thin notebooks, a clean lock."""

import ast
import io
import re
import tokenize
from pathlib import Path

import jupytext
import pytest

from lib import book

ROOT = Path(__file__).parent.parent
ROWS = [
    {"compat", "stats", "music", "acoustics", "results", "store", "rows", "sizing", "cluster"},
    {"organism", "prompts", "generation", "datasets"},
    {"model"},
    {"activations"},
    {"listeners", "probes", "features", "harvest", "scale"},
    {"evaluation", "realmusic", "sae", "causal", "steering"},
    {"show", "book", "live", "realmusic"},
    {"explorer", "pad", "listening"},
]
ROW = {name: i for i, names in enumerate(ROWS) for name in names}


def imports(file):
    """Modules of lib that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lib":
            part = node.module.split(".")[1:]
            yield from part[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("lib."))


def modules():
    for file in (ROOT / "lib").rglob("*.py"):
        if file.name != "__init__.py":
            yield file.relative_to(ROOT / "lib").parts[0].removesuffix(".py"), file


def test_every_module_has_a_row():
    assert {name for name, _ in modules()} == set(ROW)


@pytest.mark.parametrize(("name", "file"), list(modules()), ids=lambda v: getattr(v, "stem", v))
def test_imports_point_upwards(name, file):
    for imported in imports(file):
        assert ROW[imported] <= ROW[name], f"{file.name} imports {imported}"


def test_no_import_circle():
    graph = {}
    for name, file in modules():
        graph.setdefault(name, set()).update(set(imports(file)) - {name})

    def visit(name, path):
        assert name not in path, f"circle: {[*path, name]}"
        for following in graph[name]:
            visit(following, [*path, name])

    for name in graph:
        visit(name, [])


def code_lines(file):
    """Lines that hold code: no blank ones, no comments, no docstrings (which may be as long as they are useful)."""
    source, told = file.read_text(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            told |= set(range(node.lineno, node.end_lineno + 1))
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({t.start[0] for t in tokens if t.type not in layout} - told)


def test_lib_stays_thin():
    lines = {file.name: code_lines(file) for _, file in modules()}
    # phase 0 takes about 2,900 lines; each of the four phases that follow may add 900
    assert max(lines.values()) < 400 and sum(lines.values()) < 6500, lines


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
                assert not (isinstance(node, ast.Expr) and ast.unparse(node).startswith("show.")), ast.unparse(node)
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < 10, node.name


@pytest.mark.parametrize("name", book.names())
def test_notebooks_are_in_the_book(name):
    assert f"notebooks/{name}\n" in (ROOT / "_toc.yml").read_text() + "\n"


def test_notebooks_survive_the_round_trip():
    for name in book.names():
        text = (ROOT / "notebooks" / f"{name}.py").read_text()
        back = jupytext.reads(jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="ipynb"), fmt="ipynb")
        assert [c.source for c in back.cells] == [c.source for c in jupytext.reads(text, fmt="py:percent").cells]


def test_lock_is_pinned_and_names_no_host():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert re.match(r"^[A-Za-z0-9._-]+==[\w.+!]+( ; .+)?$", line), line
        assert not re.match(r"^(torch|torchaudio|xformers|encodec|spacy)==", line)


def test_makefile_says_what_it_does():
    text = (ROOT / "Makefile").read_text()
    for target in ("book", "test", "lab", "notebooks", "bench", "organisms", "clean"):
        assert re.search(rf"^{target}:", text, re.M)
