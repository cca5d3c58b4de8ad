"""Execute the notebooks and build the book: ``python -m lib.book run | build | open | times``.

A notebook is executed again when its text, its parameters, anything in ``lib`` or the lock has changed since; else its
executed copy is kept. Executed notebooks lie beside their sources (``notebooks/*.ipynb``), where JupyterLab finds them.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import webbrowser
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import jupytext
import nbformat
import papermill
from tqdm.auto import tqdm

from lib.organism import world

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "_build"
WIDGET = "application/vnd.jupyter.widget-view+json"
TIMEOUT = 3600  # seconds a cell


def names() -> list[str]:
    """The notebooks in the order of execution: the index last, because it reads what the others found."""
    found = sorted(p.stem for p in NOTEBOOKS.glob("*.py"))
    return [n for n in found if n != "index"] + ["index"]


def parameters(name: str) -> dict[str, str]:
    """The parameters a notebook declares, with the source of their defaults."""
    notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = [line.split("#")[0] for line in cell.source.splitlines() if "=" in line.split("#")[0]]
            return {line.split("=")[0].strip(): line.split("=", 1)[1].strip() for line in lines}
    raise ValueError(f"notebooks/{name}.py has no cell tagged 'parameters'.")


def key(name: str, values: dict) -> str:
    """Hash of everything a notebook's outputs follow from."""
    digest = hashlib.sha256(repr(sorted(values.items())).encode())
    own = [NOTEBOOKS / f"{name}.py", ROOT / "requirements.txt"]
    for file in own + sorted(
        p for p in (ROOT / "lib").rglob("*") if p.suffix in (".py", ".js", ".css", ".json", ".safetensors")
    ):
        digest.update(file.read_bytes())
    if name == "index":
        from lib import results

        for file in sorted((results.ARTIFACTS / "results").rglob("*.json")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def needs(name: str) -> set[str]:
    """The notebooks that must have run before this one: the first of its part and of the parts before it, which make what
    the others read. The index needs all."""
    before = [n for n in names() if n < name and n != "index"]
    return set(before) if name == "index" else {n for n in before if n[1] == "0"}


def run(
    model: str = "organism", only: list[str] | None = None, out: Path = NOTEBOOKS, jobs: int | None = None, **small
) -> list[str]:
    """Execute the notebooks that changed.

    Parameters
    ----------
    model : str
        Passed to every notebook as ``model``.
    only : list of str, optional
        Notebooks to consider; by default all.
    out : Path
        Where the executed notebooks go.
    jobs : int, optional
        How many are executed side by side; by default two of an organism, whose small matrices leave cores idle, and one
        of a model that fills the memory.
    **small : dict
        Other parameters by notebook: ``run(**{"00_meet_the_model": {"seconds": 2}})``.

    Returns
    -------
    list of str
        The notebooks that were executed.

    Raises
    ------
    ValueError
        For an unknown notebook or a parameter it does not declare, before anything runs.
    """
    chosen = only or names()
    if unknown := (set(chosen) | set(small)) - set(names()):
        raise ValueError(f"Unknown notebook {sorted(unknown)}. There are {names()}.")
    plans = {name: {"model": model, **small.get(name, {})} for name in chosen}
    for name, values in plans.items():
        if unknown := set(values) - set(parameters(name)):
            raise ValueError(f"{name} has no parameter {sorted(unknown)}; it declares {list(parameters(name))}.")
    out.mkdir(parents=True, exist_ok=True)
    jobs = jobs or (2 if model in world.WORLDS else 1)
    # notebooks side by side share the cores: more threads stand in each other's way, and those that wait leave theirs
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // jobs)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # first those that others wait for
    waiting, running, done = sorted(chosen, key=lambda n: (n[1] != "0", n)), {}, []
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(chosen), desc="notebooks") as bar:
        while waiting or running:
            ready = [n for n in waiting if not needs(n) & {*waiting, *running.values()}][: jobs - len(running)]
            for name in ready:
                waiting.remove(name)
                running[pool.submit(_executed, name, plans[name], out / f"{name}.ipynb")] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                done += [name] if future.result() else []
                bar.update()
    return [n for n in chosen if n in done]


def _executed(name, values, target):
    """Execute a notebook unless it is up to date; whether it was executed."""
    if target.exists() and nbformat.read(target, 4).metadata.get("book", {}).get("key") == key(name, values):
        return False
    _execute(name, values, target)
    return True


def _execute(name, values, target):
    notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    unfinished, start = target.with_suffix(".running.ipynb"), time.time()
    executed = papermill.execute_notebook(
        notebook,
        unfinished,
        values,
        cwd=NOTEBOOKS,
        kernel_name="python3",
        execution_timeout=TIMEOUT,
        progress_bar=False,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors; not that its port on this machine is unencrypted
    )
    # the cells stay those of the source, so that JupyterLab may save both; what was injected is told as an output
    executed.cells = [c for c in executed.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    told = (
        f"*Computed with {', '.join(f'{k} = {v!r}' for k, v in values.items())} from commit "
        f"{commit.strip() or 'unknown'} in {time.time() - start:.0f} s on {os.cpu_count()} cores.*"
    )
    for cell in executed.cells:
        if cell.cell_type != "code":
            continue
        # progress bars are for whoever runs the notebook: their last state means nothing on a page, and a widget without
        # its kernel is what it says in HTML, if it says anything
        for o in cell.outputs:
            if "text/html" in o.get("data", {}):
                o["data"].pop(WIDGET, None)
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr" and WIDGET not in o.get("data", {})]
        if "parameters" in cell.metadata.get("tags", []):
            cell.outputs.append(nbformat.v4.new_output("display_data", data={"text/markdown": told}))
    executed.metadata.pop("widgets", None)
    executed.metadata["jupytext"] = {"formats": "ipynb,py:percent"}
    # the key is taken after the run, as a notebook may be the one that writes what the index reads
    executed.metadata["book"] = {"key": key(name, values)}
    nbformat.write(executed, unfinished)
    os.replace(unfinished, target)


def build(source: Path = NOTEBOOKS, out: Path = BUILD) -> Path:
    """Build the book from executed notebooks, with warnings as errors. Returns the folder of the HTML pages."""
    missing = [n for n in names() if not (source / f"{n}.ipynb").exists()]
    if missing:
        raise FileNotFoundError(f"Not executed yet: {missing}. Run 'make notebooks' first.")
    import plotly

    book = out / "source"
    shutil.rmtree(book, ignore_errors=True)
    (book / "notebooks").mkdir(parents=True)
    for file in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / file, book)
    for name in names():
        shutil.copy(source / f"{name}.ipynb", book / "notebooks")
    shutil.copytree(NOTEBOOKS / "static", book / "_static")
    shutil.copy(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", book / "_static")
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    command = [tool, "build", str(book), "--path-output", str(out), "-W", "--keep-going"]
    if subprocess.run([*command, "-q"], cwd=out).returncode:
        raise RuntimeError("The book did not build without warnings: see the messages above.")
    return out / "_build" / "html"


def times(source: Path = NOTEBOOKS, n: int = 3) -> list[tuple[float, str, str]]:
    """The ``n`` longest cells: seconds, notebook, first line."""
    cells = []
    for name in names():
        for cell in nbformat.read(source / f"{name}.ipynb", 4).cells:
            if seconds := cell.metadata.get("papermill", {}).get("duration"):
                cells.append((seconds, name, cell.source.strip().splitlines()[0]))
    return sorted(cells, reverse=True)[:n]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "build", "open", "times"])
    parser.add_argument("--model", default="organism", help="passed to every notebook")
    parser.add_argument("--only", nargs="*", help="notebooks to consider")
    parser.add_argument("--jobs", type=int, help="how many are executed side by side")
    args = parser.parse_args(argv)
    page = BUILD / "_build" / "html" / "index.html"
    if args.what == "run":
        print("executed:", ", ".join(run(args.model, args.only, jobs=args.jobs)) or "nothing has changed")
    elif args.what == "build":
        print("The book is at", build() / "index.html")
    elif args.what == "open" and not os.environ.get("CI"):
        webbrowser.open(page.as_uri())
    elif args.what == "times":
        for seconds, name, line in times():
            print(f"{seconds:6.1f} s  {name}: {line}")


if __name__ == "__main__":
    main()
