"""Execute the notebooks that changed: each in a kernel of its own, with papermill.

A notebook is executed again when its text, its parameters, the weights of the model it asks, the
code or data of ``lib``, or the lock has changed since, and when its executed copy or its findings
are damaged; else the executed copy is kept. Comments and docstrings of ``lib`` change nothing. When
another model has new results, the figures that show it beside this one are drawn again, and nothing
is executed but the index.

A cell may take an hour; ``BOOK_TIMEOUT`` sets other seconds, or "none".

The copies about the default model lie beside their sources (``notebooks/*.ipynb``), where
JupyterLab finds them; those about any other in a folder of its own (:func:`folder`).
"""

import ast
import gc
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

import jupytext
import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError
from tqdm.auto import tqdm

from .. import cache, check
from ..organism import world
from . import findings, kernels, others, provenance

ROOT = Path(__file__).parents[2]
NOTEBOOKS = findings.NOTEBOOKS
DEFAULT = "organism"
TIMEOUT = 3600  # seconds a cell, unless BOOK_TIMEOUT says how many
WIDGET = "application/vnd.jupyter.widget-view+json"
#: The longest chapters among those that no other waits for (``python -m lib.book times``): begun last,
#: one of them would run alone at the end.
LONG = (
    "01_known_answers",
    "21_tempo_energy_emotion",
    "22_human_perception",
    "23_planted_places",
    "31_emotion_pad",
    "33_steering_bench",
    "35_understanding",
)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


# ------------------------------------------------------------------------------------ the notebooks
def names() -> list[str]:
    """The notebooks in the order of execution; the index last: it reads what others found."""
    found = sorted(file.stem for file in NOTEBOOKS.glob("*.py"))
    if not found:
        raise FileNotFoundError(
            f"There are no notebooks in {NOTEBOOKS}: they are in the book's repository, not in the "
            "installed package."
        )
    return [name for name in found if name != "index"] + ["index"]


def parameters(name: str) -> dict[str, str]:
    """The parameters that a notebook declares, with the source of their defaults."""
    for cell in as_written(name).cells:
        if _holds_parameters(cell):
            assignments = [n for n in ast.parse(cell.source).body if isinstance(n, ast.Assign)]
            return {node.targets[0].id: ast.unparse(node.value) for node in assignments}
    raise ValueError(f"notebooks/{name}.py has no cell tagged 'parameters'.")


def needs(name: str) -> set[str]:
    """The notebooks that must have run before this one.

    The first of its part and of the parts before it, which make what the others read. The index
    needs all.
    """
    others = [other for other in names() if other != "index"]
    if name == "index":
        return set(others)
    return {other for other in others if other < name and _opens_a_part(other)}


def folder(model: str = DEFAULT) -> Path:
    """Where the executed notebooks about a model lie."""
    if model == DEFAULT:
        return NOTEBOOKS
    return cache.ROOT / "notebooks" / findings.folder(model).name


def as_written(name: str) -> nbformat.NotebookNode:
    """A notebook as it was written, not executed."""
    return jupytext.read(NOTEBOOKS / f"{name}.py")


def _opens_a_part(name):
    """Whether a notebook is the first of its part: 00, 10, 20, ..."""
    return name[1] == "0"


def _holds_parameters(cell):
    return "parameters" in cell.metadata.get("tags", [])


# ------------------------------------------------------------------------- what outputs follow from
def key(
    name: str, values: Mapping, identity: str = "", library: Mapping[str, str] | None = None
) -> str:
    """A hash of everything that a notebook's outputs follow from.

    Parameters
    ----------
    name : str
    values : mapping
        Its parameters, where they are not the defaults that it declares.
    identity : str
        Of the model's weights (:func:`identify`).
    library : mapping, optional
        Hashes of the code and data of ``lib`` that it is executed with; by default of what they are
        now (``provenance.library``).
    """
    parts = {
        "notebook": (NOTEBOOKS / f"{name}.py").read_text(),
        "parameters": dict(values),
        "identity": identity,
        "lock": (ROOT / "requirements.txt").read_text(),
        "code": provenance.library() if library is None else dict(library),
        "files": _files({**_defaults(name), **values}),
        "settings": {name: os.environ.get(name, "") for name in provenance.SETTINGS},
    }
    if name == "index":
        # of every model: the index shows all of them beside each other
        found = sorted((cache.ROOT / "results").glob("[!.]*/*.json"))
        parts["chapters"] = names()
        parts["findings"] = {"/".join(file.parts[-2:]): file.read_bytes() for file in found}
    return cache.digest(parts)[:16]


def _defaults(name):
    """The values of a notebook's parameters that are written out in it."""
    found = {}
    for parameter, source in parameters(name).items():
        with suppress(ValueError, TypeError):  # computed: only the kernel knows it
            found[parameter] = ast.literal_eval(source)
    return found


def _files(values):
    """Size and time of change of all files that parameters name, or that are in a folder they name
    (answers, rated songs, a concept's words).
    """
    given = [value for key, value in values.items() if key != "model"]
    lists = [value if isinstance(value, list | tuple) else [value] for value in given]
    texts = [text for some in lists for text in some]
    found = {}
    for text in texts:
        place = NOTEBOOKS / Path(text).expanduser() if isinstance(text, str) and text else None
        if place is None or world.of(text) or not place.exists():
            continue
        for file in [place, *sorted(place.rglob("*"))]:
            if file.is_file():
                state = file.stat()
                found[str(file)] = [state.st_size, state.st_mtime_ns]
    return found


def resolve(model: str) -> str:
    """A model's name, or the whole path of its folder: kernels run in a folder of their own."""
    folder = Path(model).expanduser()
    if world.of(model) or not folder.is_dir():
        return model
    return str(folder.resolve())


def identify(model: str) -> str:
    """A hash of a model's weights, codec included, which are read for it once.

    Organisms count with the rest of ``lib``, whose data they are.

    Raises
    ------
    ModelError, MemoryError
        As :func:`lib.musicgen.load` raises them, before any notebook is executed.
    """
    if world.of(model):
        return model
    import torch

    from .. import musicgen

    identity = cache.digest(musicgen.load(model).identity(audio=True))
    if torch.cuda.is_available():  # the kernels need its memory
        gc.collect()
        torch.cuda.empty_cache()
    return identity


# ---------------------------------------------------------------------------------------- execution
def run(
    model: str = DEFAULT,
    only: list[str] | None = None,
    out: Path | None = None,
    jobs: int | None = None,
    **small: Mapping,
) -> list[str]:
    """Execute the notebooks that changed.

    Parameters
    ----------
    model : str
        A model's name, or a folder, from wherever this is called.
    only : list of str, optional
        Notebooks to consider; by default all.
    out : Path, optional
        Where the executed notebooks go; by default :func:`folder` of the model.
    jobs : int, optional
        How many are executed side by side; by default two of an organism, whose small matrices
        leave cores idle, and one of a model that fills the memory.
    **small : mapping
        Other parameters by notebook: ``run(**{"00_meet_the_model": {"seconds": 2}})``.

    Returns
    -------
    list of str
        The notebooks that were executed.

    Raises
    ------
    ValueError
        For an unknown notebook, a number of jobs below 1, a parameter that is not declared, a
        BOOK_TIMEOUT that is no number of seconds or a model that cannot be loaded, before anything
        is executed; and when a cell takes longer than it may.
    """
    jobs = check.count("jobs", jobs, optional=True)
    _limit()
    model = resolve(model)
    jobs = jobs or (2 if world.of(model) else 1)
    plans = _plans(model, only or names(), small)
    identity = identify(model)
    out = Path(out or folder(model))
    out.mkdir(parents=True, exist_ok=True)

    # taken once: kernels are forks of a process that imported lib before the first of them, and
    # what is changed after that counts at the next run
    library = provenance.library()

    def work(name):
        return _executed(name, plans[name], identity, library, out / f"{name}.ipynb")

    with _environment(jobs), kernels.forked():
        done = _in_order(list(plans), work, jobs)
    for name in plans:
        _refresh(out / f"{name}.ipynb")
    return [name for name in plans if done[name]]


def _plans(model, chosen, small):
    """The parameters of every chosen notebook, checked."""
    if unknown := (set(chosen) | set(small)) - set(names()):
        raise ValueError(f"Unknown notebook {sorted(unknown)}. There are {names()}.")
    plans = {name: {"model": model, **small.get(name, {})} for name in chosen}
    for name, values in plans.items():
        declared = parameters(name)
        if unknown := set(values) - set(declared):
            raise ValueError(
                f"{name} has no parameter {sorted(unknown)}; it declares {list(declared)}."
            )
    return plans


@contextmanager
def _environment(jobs):
    """What kernels inherit at their start: this very ``lib``, and their share of the cores."""
    before = dict(os.environ)
    paths = [str(ROOT), *filter(None, [before.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    # notebooks side by side share the cores: more threads stand in each other's way, and those that
    # wait leave theirs
    share = str(max(1, os.cpu_count() // jobs))
    os.environ.setdefault("OMP_NUM_THREADS", share)
    # processes of joblib: with one core no others are started, each of which would import all anew
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", share)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _in_order(chosen: list[str], work: Callable[[str], bool], jobs: int) -> dict[str, bool]:
    """Do the work for every notebook, side by side, but none before those that it needs."""
    # first those that others wait for, then the longest
    waiting = sorted(chosen, key=lambda name: (not _opens_a_part(name), name not in LONG, name))
    running = {}
    done = {}
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(chosen), desc="notebooks") as bar:
        while waiting or running:
            unfinished = {*waiting, *running.values()}
            ready = [name for name in waiting if not needs(name) & unfinished]
            for name in ready[: jobs - len(running)]:
                waiting.remove(name)
                running[pool.submit(work, name)] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                done[running.pop(future)] = future.result()
                bar.update()
    return done


def _executed(name, values, identity, library, target):
    """Execute a notebook unless its copy is up to date; whether it was executed."""
    # taken before the run: what changes while it lasts makes the copy out of date
    expected = key(name, values, identity, library)
    if _is_current(name, values["model"], target, expected):
        return False
    _execute(name, values, target, expected)
    return True


def _is_current(name, model, target, expected):
    """Whether an executed copy is whole and follows from what is there now, with its findings."""
    try:
        executed = nbformat.read(target, 4)
        nbformat.validate(executed)
        made = executed.metadata["book"]
        cells = [cell.source for cell in executed.cells]
    except (OSError, ValueError, KeyError, AttributeError, nbformat.ValidationError):
        return False
    if made.get("key") != expected or cells != [cell.source for cell in as_written(name).cells]:
        return False
    return made.get("findings") == _found(name, model)


def _found(name, model):
    """A hash of what a chapter's findings about a model are now; None if there are none."""
    found = findings.read(name, model)
    return None if found is None else cache.digest(found)


def _execute(name, values, target, made_from):
    """Execute a notebook and keep its copy, whole or not at all."""
    notebook = as_written(name)
    notebook.metadata["kernelspec"] = KERNEL
    # papermill saves after every cell: whoever waits can look
    unfinished = target.with_suffix(".running.ipynb")
    start = time.time()
    with _told_when_too_slow(name):
        executed = papermill.execute_notebook(
            notebook,
            unfinished,
            dict(values),
            cwd=NOTEBOOKS,
            kernel_name="python3",
            execution_timeout=_limit(),
            progress_bar=False,
            # errors; not that its port on this machine is unencrypted
            extra_arguments=["--IPKernelApp.log_level=40"],
        )
    _clean(executed)
    _tell_parameters(executed, values, time.time() - start)
    executed.metadata["jupytext"] = {"formats": "ipynb,py:percent"}
    executed.metadata["book"] = {"key": made_from, "findings": _found(name, values["model"])}
    cache.write(target, nbformat.writes(executed))
    unfinished.unlink()


def _limit():
    """Seconds that a cell may take; None without a limit."""
    given = os.environ.get("BOOK_TIMEOUT", "") or str(TIMEOUT)
    if given in ("0", "none"):
        return None
    if not given.isdecimal():
        check.refuse(ValueError, "BOOK_TIMEOUT", "whole seconds, or 'none' for no limit", given)
    return int(given)


@contextmanager
def _told_when_too_slow(name):
    """Say which chapter took too long and what to do, instead of what the kernel's client says."""
    try:
        yield
    except CellTimeoutError as error:
        if "waiting for IOPub" in str(error):  # the cell ended, and what it printed did not arrive
            raise
        raise ValueError(
            f"A cell of {name} took longer than the {_limit()} s that one may take. Run it again "
            "with more, 'make notebooks BOOK_TIMEOUT=36000', or without a limit, BOOK_TIMEOUT=none: "
            "what is stored by now (songs, trained networks) is not made again."
        ) from error


def _refresh(copy):
    """Draw the other models beside a chapter's verdicts as they are now, without executing it."""
    executed = nbformat.read(copy, 4)
    if others.refresh(executed):
        cache.write(copy, nbformat.writes(executed))


def _clean(executed):
    """Leave the cells of the source with what they show on a page.

    The cell that papermill injects goes, so that JupyterLab may save the copy and its source.
    Progress bars are for whoever runs the notebook; a widget without its kernel is what it says in
    HTML, if it says anything.
    """
    executed.metadata.pop("widgets", None)
    executed.cells = [
        cell
        for cell in executed.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for cell in executed.cells:
        if cell.cell_type == "code":
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):
                    output["data"].pop(WIDGET, None)
            cell.outputs = [output for output in cell.outputs if _belongs_on_a_page(output)]


def _belongs_on_a_page(output):
    return output.get("name") != "stderr" and WIDGET not in output.get("data", {})


def _tell_parameters(executed, values, seconds):
    """Say below the cell of the parameters what the notebook was computed with."""
    given = ", ".join(f"{name} = {value!r}" for name, value in values.items())
    text = (
        f"*Computed with {given} from commit {(commit() or 'unknown')[:7]} in {seconds:.0f} s "
        f"on {os.cpu_count()} cores.*"
    )
    for cell in executed.cells:
        if _holds_parameters(cell):
            shown = nbformat.v4.new_output("display_data", data={"text/markdown": text})
            cell.outputs.append(shown)


def commit() -> str | None:
    """The commit of this checkout; None where git knows of none, or is not installed."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def check_executed(source: Path) -> None:
    """Refuse a folder that lacks the executed copy of a notebook.

    Raises
    ------
    FileNotFoundError
    """
    missing = [name for name in names() if not (source / f"{name}.ipynb").exists()]
    if missing:
        raise FileNotFoundError(f"Not executed yet: {missing}. Run 'make notebooks' first.")


def times(source: Path | None = None, n: int = 10) -> list[tuple[float, str, str]]:
    """The ``n`` longest cells of executed notebooks: seconds, notebook, first line."""
    source = Path(source or NOTEBOOKS)
    check_executed(source)
    cells = []
    for name in names():
        for cell in nbformat.read(source / f"{name}.ipynb", 4).cells:
            if seconds := cell.metadata.get("papermill", {}).get("duration"):
                cells.append((seconds, name, cell.source.strip().splitlines()[0]))
    return sorted(cells, reverse=True)[:n]
