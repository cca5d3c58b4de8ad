"""A chapter as a notebook to take away, and links that open it elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell

from lib.book import build, execute, layout, takeaway

ROOT = Path(__file__).parent.parent
#: Made up: there is no such repository.
ADDRESS = "https://github.com/example-owner/example.book"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


# ---------------------------------------------------------------------------------- what is cited
def test_the_citation_is_that_of_the_package():
    about = takeaway.citation()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert about["version"] == project["version"]
    assert about["license"] == project["license"]
    assert about["title"] in (ROOT / "README.md").read_text()
    assert about["cff-version"] == "1.2.0" and about["message"] and about["authors"][0]["name"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["date-released"])


def test_the_repository_is_nowhere_or_on_github():
    assert takeaway.address({}) is None
    assert takeaway.address({"repository-code": ADDRESS}) == ADDRESS


@pytest.mark.parametrize(
    "wrong",
    [
        "github.com/owner/name",
        "https://github.com/owner",
        "https://github.com/owner/name/tree/main",
        "https://github.com/owner/name.git",
        "https://example.org/owner/name",
        "",
        7,
    ],
)
def test_an_address_that_leads_nowhere_is_refused(wrong):
    with pytest.raises(ValueError, match=r"repository-code in CITATION.cff must be https://github"):
        takeaway.address({"repository-code": wrong})


# -------------------------------------------------------------------------------- what is taken away
@pytest.mark.parametrize("name", execute.names())
def test_a_notebook_to_take_away_is_the_chapter_and_what_it_needs(name):
    taken = takeaway.notebook(name, ADDRESS, COMMIT)
    nbformat.validate(taken)
    first, *others = taken.cells
    assert f'%pip install -q "git+{ADDRESS}@{COMMIT}"' in first.source
    assert [c.source for c in others] == [c.source for c in execute.as_written(name).cells]
    assert not any(cell.get("outputs") for cell in taken.cells)


@pytest.mark.parametrize(("place", "commit"), [(None, COMMIT), (ADDRESS, None)])
def test_without_an_address_or_a_commit_it_installs_nothing(place, commit):
    first = takeaway.notebook("30_steering", place, commit).cells[0].source
    assert "pip" not in first and "make lab" in first


@pytest.mark.parametrize("place", [ADDRESS, None])
def test_where_the_library_is_the_first_cell_does_nothing(place):
    shell = InteractiveShell()
    ran = shell.run_cell(takeaway.notebook("30_steering", place, COMMIT).cells[0].source)
    ran.raise_error()
    assert "package" not in shell.user_ns


#: Runs a cell where no lib is; pip gives what it was asked for, or does not know it.
ELSEWHERE = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell

sys.path[:] = [place for place in sys.path if not Path(place, "lib", "__init__.py").exists()]
shell = InteractiveShell()
installed = sys.argv[2]
shell.register_magic_function(lambda line: sys.path.insert(0, installed), magic_name="pip")
shell.run_cell(Path(sys.argv[1]).read_text()).raise_error()
shell.run_cell(Path(sys.argv[1]).read_text()).raise_error()  # once more: nothing to do
shell.run_cell("from lib import stats\\nprint(stats.__name__, stats.__file__)").raise_error()
"""


def elsewhere(tmp_path, place):
    (tmp_path / "cell").write_text(takeaway.notebook("index", place, COMMIT).cells[0].source)
    (tmp_path / "run.py").write_text(ELSEWHERE)
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "musicgen_emotion").symlink_to(ROOT / "lib")
    command = [sys.executable, "-P", "run.py", "cell", str(installed)]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True)


def test_where_the_library_is_not_the_first_cell_brings_it(tmp_path):
    ran = elsewhere(tmp_path, ADDRESS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"lib.stats {tmp_path / 'installed' / 'lib'}" in ran.stdout


def test_where_it_cannot_be_brought_the_first_cell_says_so(tmp_path):
    ran = elsewhere(tmp_path, None)
    assert ran.returncode != 0
    assert "make lab" in ran.stdout + ran.stderr


# ------------------------------------------------------------------------------------------- pages
def built(folder, monkeypatch):
    """A book of two pages, a chapter and a page that is none, whose repository has an address."""
    about = {**takeaway.citation(), "repository-code": ADDRESS}
    monkeypatch.setattr(takeaway, "citation", lambda: about)
    monkeypatch.setattr(execute, "commit", lambda: COMMIT)
    monkeypatch.setattr(execute, "names", lambda: ["index"])
    source = folder / "executed"
    source.mkdir(parents=True)
    cells = [v4.new_markdown_cell("# A chapter\n\n**Question.** Is it?"), v4.new_code_cell("1")]
    papermill = {"end_time": "2026-11-30T12:00:00+00:00"}
    metadata = {"kernelspec": execute.KERNEL, "papermill": papermill}
    nbformat.write(v4.new_notebook(cells=cells, metadata=metadata), source / "index.ipynb")
    book = build._gather(source, folder)
    (book / "notebooks" / "glossary.md").write_text("# Words\n")
    toc = {"format": "jb-book", "root": "notebooks/index"}
    toc["chapters"] = [{"file": "notebooks/glossary"}]
    (book / "_toc.yml").write_text(yaml.safe_dump(toc))
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    command = [tool, "build", str(book), "--path-output", str(folder), "-W", "--keep-going", "-q"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    html = build.front(folder).parent
    takeaway.write(html / "_sources" / "notebooks")
    return html


def test_without_an_address_the_theme_is_told_of_no_link():
    text = (ROOT / "_config.yml").read_text()
    assert takeaway.configured(text, None) == text
    assert not {"repository", "launch_buttons"} & set(yaml.safe_load(text))


def links(html, page):
    return re.findall(r'href="([^"]+)"', (html / "notebooks" / page).read_text())


def test_with_an_address_chapters_open_in_colab_and_binder(tmp_path, monkeypatch):
    html = built(tmp_path, monkeypatch)
    place = f"{takeaway.BRANCH}/notebooks/index.ipynb"
    owner_and_name = ADDRESS.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{owner_and_name}/blob/{place}"
    binder = (
        f"https://mybinder.org/v2/gh/{owner_and_name}/{takeaway.BRANCH}"
        "?urlpath=lab/tree/notebooks/index.ipynb"
    )
    assert {colab, binder} <= set(links(html, "index.html"))
    assert not [link for link in links(html, "glossary.html") if "colab" in link]
    assert "../_sources/notebooks/index.ipynb" in links(html, "index.html")
    taken = nbformat.read(html / "_sources" / "notebooks" / "index.ipynb", 4)
    assert f"{ADDRESS}@{COMMIT}" in taken.cells[0].source
    last = f"Version {takeaway.citation()['version']} of this book, with results of 2026-11-30."
    assert last in (html / "notebooks" / "index.html").read_text()


def test_pages_of_chapters_that_are_gone_do_not_stay(tmp_path, monkeypatch):
    executed = v4.new_notebook(cells=[v4.new_markdown_cell("# A chapter")])
    nbformat.write(executed, tmp_path / "index.ipynb")
    monkeypatch.setattr(execute, "names", lambda: ["index"])
    out = tmp_path / "book"
    renamed = build.front(out).parent / "notebooks" / "07_old_name.html"
    renamed.parent.mkdir(parents=True)
    renamed.write_text('<div class="alive" data-graphs="0123456789abcdef"></div>')
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(build.subprocess, "run", lambda *_, **settings: failed)
    with pytest.raises(RuntimeError, match="did not build"):
        build.pages(tmp_path, out)
    assert not renamed.exists() and (out / "source" / "notebooks" / "index.ipynb").exists()


def test_without_git_notebooks_to_take_away_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "names", lambda: ["index"])
    monkeypatch.setenv("PATH", str(tmp_path))
    takeaway.write(tmp_path)
    first = nbformat.read(tmp_path / "index.ipynb", 4).cells[0].source
    assert "%pip" not in first and "make lab" in first


def test_a_page_ends_with_its_version_and_date():
    plain = v4.new_notebook(cells=[v4.new_markdown_cell("# Title")])
    assert layout.dated(plain, "1.2").cells[-1].source == "*Version 1.2 of this book.*"
    assert len(plain.cells) == 1


# ------------------------------------------------------------------------------- what services read
def test_binder_installs_by_the_recipe_of_every_machine(tmp_path):
    there = {**os.environ, "NB_PYTHON_PREFIX": str(tmp_path), "MAKEFLAGS": "n"}  # says, does not
    command = [str(ROOT / ".binder" / "postBuild")]
    ran = subprocess.run(command, cwd=ROOT, env=there, capture_output=True, text=True, check=True)
    assert f'"{tmp_path}/bin/python" -m pip install -q --no-deps -r requirements.txt' in ran.stdout
    assert f"touch {tmp_path}/ready" in ran.stdout
    binder, conda = (yaml.safe_load((ROOT / name).read_text()) for name in ENVIRONMENTS)
    assert binder == conda


ENVIRONMENTS = (".binder/environment.yml", "environment.yml")


def test_notebooks_go_to_a_branch_of_their_own(tmp_path):
    origin = tmp_path / "origin"
    here = tmp_path / "here"
    git("init", "--quiet", "--bare", str(origin))
    git("init", "--quiet", str(here))
    (here / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "notebooks", here / ".ci")
    (here / ".gitignore").write_text("_build/\nnotebooks/*.ipynb\n")
    (here / "notebooks").mkdir()
    (here / "notebooks" / "index.py").write_text("")
    git("add", ".", folder=here)
    git("-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qm", "All.", folder=here)
    git("remote", "add", "origin", str(origin), folder=here)
    taken = here / "_build" / "_build" / "html" / "_sources" / "notebooks"
    taken.mkdir(parents=True)
    (taken / "index.ipynb").write_text("{}")
    subprocess.run([str(here / ".ci" / "notebooks")], check=True)
    pushed = git("ls-tree", "-r", "--name-only", takeaway.BRANCH, folder=origin).split()
    assert {"notebooks/index.ipynb", "notebooks/index.py", ".ci/notebooks"} <= set(pushed)


def git(*arguments, folder=None):
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
