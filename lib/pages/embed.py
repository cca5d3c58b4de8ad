"""From files to one output of a notebook: markup, scripts, styles and data in one piece of HTML.

A reader's page has no server behind it: an output works in JupyterLab, in the static book and in an
exported notebook because all that it needs is inside it. Markup (Jinja2 templates), scripts and
style sheets are files in ``static``; an output holds only those it uses.
"""

import base64
import functools
import re
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import runtime

STATIC = Path(__file__).parent / "static"
#: What every sound needs (``sound.js``): these scripts, in this order.
SOUND = ("wavesurfer", "elements", "vector", "alone", "sound")


def output(template: str, **values) -> HTML:
    """What a notebook shows, from a template; texts in it are escaped."""
    return HTML(render(template, **values))


def render(template: str, **values) -> str:
    """The text of a template in ``static``."""
    return _environment().get_template(template).render(**values)


def drawn(kind: str, data, scripts: Sequence[str], told: Iterable[str] = ()) -> str:
    """A place of its own and the script that draws data into it.

    Parameters
    ----------
    kind : str
        Class of the place, and with underscores the name of its style sheet.
    data : dict
        See :func:`plain`.
    scripts : sequence of str
        Names of scripts, the last of which has a function ``draw(root, data, ask)``.
    told : iterable of str
        What is drawn in words: the book's search finds it.
    """
    sheets = styles(kind, scripts)
    return render(
        "drawn.html",
        kind=kind,
        place=place(kind),
        data=plain(data),
        scripts=scripts,
        sheets=sheets,
        told=list(dict.fromkeys(told)),
    )


def numbers(frame: pd.DataFrame, title: str) -> dict[str, str]:
    """A table as a file that a reader may save: its name, and its address in the page."""
    words = re.findall(r"\w+", title.lower())
    text = base64.b64encode(frame.to_csv(index=False).encode()).decode()
    return {
        "name": f"{'-'.join(words[:8]) or 'numbers'}.csv",
        "address": f"data:text/csv;charset=utf-8;base64,{text}",
    }


def place(kind: str) -> str:
    """An id that no other output has."""
    return f"{kind}-{uuid.uuid4().hex[:8]}"


def script(*names: str) -> Markup:
    """Scripts, one after the other; "wavesurfer" is the library of that name."""
    return Markup(
        "\n".join(library() if name == "wavesurfer" else _lean(f"{name}.js") for name in names)
    )


def package(*names: str) -> Markup:
    """Scripts that others have written, by their names in ``runtime.FILES``, one after the other."""
    return Markup("\n".join(runtime.text(name) for name in names))


def style(*names: str) -> Markup:
    """Style sheets, one after the other, behind the shades that they name; hyphens count as
    underscores."""
    sheets = ["shades", *(name.replace("-", "_") for name in names)]
    return Markup("\n".join(_lean(f"{name}.css") for name in sheets))


def styles(kind: str, scripts: Sequence[str]) -> list[str]:
    """The style sheets of a place that scripts draw in."""
    return ["panel", *(["sound"] if "sound" in scripts else []), kind]


@functools.cache
def library() -> str:
    """wavesurfer.js as outputs hold it, so that they need no other file: a page that has it already
    (the built book, a notebook whose other output holds it) does not run it again.

    Where npm cannot bring it there is none, and a warning says why, once: the browser's own players do
    without.
    """
    try:
        found = runtime.text("wavesurfer")
    except (RuntimeError, OSError) as error:
        warnings.warn(f"Sounds are shown without a waveform. {error}", stacklevel=2)
        found = ""
    return render("library.js", library=Markup(found))


def plain(value):
    """Data as JSON has them: numpy's numbers and arrays as Python's, None for what is not finite.

    JSON knows no NaN: a page could not read it, and a kernel may not send it.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


@functools.cache
def _lean(file):
    """A file without indentation, blank lines and comments: outputs repeat it."""
    text = re.sub(r"/\*.*?\*/", "", (STATIC / file).read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@functools.cache
def _environment():
    environment = Environment(
        loader=FileSystemLoader(STATIC),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # as short as it may be, in the order that is given, and never NaN, which is no JSON
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals.update(package=package, script=script, style=style, SOUND=SOUND)
    return environment
