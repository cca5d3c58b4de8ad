"""Results packs: all that was found about a model, with where it comes from, as one JSON file.

Somebody with a GPU runs the book on a large model and sends the pack; whoever imports it sees that
model beside their own. A pack holds numbers and words, no audio, no weights and no path of the
machine that made it.

``python -m lib.book export --model facebook/musicgen-large large.json``
``python -m lib.book import large.json``
"""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pydantic

from .. import cache, check
from . import findings as results
from . import others

#: What the first lines of a pack say that it is.
KIND = "results of the MusicGen emotion book"
#: The newest format that this code reads, and the one that it writes.
FORMAT = 1

#: They become names of files and folders: nothing in them may lead anywhere else.
Chapter = Annotated[str, pydantic.StringConstraints(pattern=r"^\w{1,80}$")]
_WORD = r"[^./\\<>\x00-\x1f][^/\\<>\x00-\x1f]{0,120}"
Title = Annotated[str, pydantic.StringConstraints(pattern=f"^{_WORD}(/{_WORD})?$")]


class Pack(pydantic.BaseModel, extra="forbid", ser_json_inf_nan="constants"):
    """The content of a pack.

    Attributes
    ----------
    kind, format : str, int
        What this is.
    model : str
        What the model is called in findings.
    records : dict
        Chapter -> findings and where they come from.
    checksum : str
        Of the records, so that damage is noticed.
    """

    kind: str = KIND
    format: int = FORMAT
    model: Title
    records: dict[Chapter, results.Record]
    checksum: str = ""

    @pydantic.model_validator(mode="after")
    def _is_about_one_model(self):
        if not self.records:
            raise ValueError("it holds no chapter")
        for chapter, record in self.records.items():
            if record.provenance is None:
                raise ValueError(f"nobody told where the findings of {chapter} come from")
            if record.provenance.model != self.model:
                other = record.provenance.model
                raise ValueError(f"chapter {chapter} is about {other!r}, not {self.model!r}")
        return self


def export(model: str, file: Path) -> Path:
    """Write all results about a model as a pack.

    Parameters
    ----------
    model : str
        A name or a folder, as it was run.
    file : Path
        Replaced if it is there.

    Raises
    ------
    FileNotFoundError
        The model has no results here.
    ValueError
        Some cannot be read, were recorded before it was kept where they come from, or have names
        that a pack cannot hold.
    """
    file = check.path("file", file)
    title = results.title(model)
    kept = results.records(title)
    if damaged := _unreadable(title, kept):
        raise ValueError(
            f"Some results about {title} cannot be read: {_listed(damaged)}. A pack holds all or "
            f"none. Run 'python -m lib.book run --model {title}' again, or delete them."
        )
    if not kept:
        raise FileNotFoundError(
            f"There are no results about {title} here. There are some about "
            f"{results.models() or 'no model'}. Run 'python -m lib.book run --model {title}' first."
        )
    if unknown := [chapter for chapter, record in kept.items() if record.provenance is None]:
        raise ValueError(
            f"Nobody knows where the results of {unknown} come from: they are older than that was "
            f"kept. Run 'python -m lib.book run --model {title}' again."
        )
    records = {
        chapter: dataclasses.replace(record, imported=None) for chapter, record in kept.items()
    }
    try:
        pack = Pack(model=title, records=records)
    except pydantic.ValidationError as error:
        raise ValueError(
            f"The results about {title} cannot be sent: {_first(error)}. In a pack a model's name "
            "begins with no dot, and a chapter's is letters, digits and underscores: rename the "
            "model's folder or the chapter, and run it again."
        ) from error
    content = json.loads(pack.model_dump_json())
    content["checksum"] = cache.digest(content["records"])
    return cache.write(file, json.dumps(content, indent=1) + "\n")


def _unreadable(title, kept):
    """Files of a model's results that are not among the records that could be read."""
    return [file for file in sorted(results.place(title).glob("*.json")) if file.stem not in kept]


def _listed(files):
    return ", ".join(map(str, files))


def load(file: Path) -> Pack:
    """Read a pack and check all of it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no pack, is damaged, is of a newer format, or names a criterion that the rules do not
        have.
    """
    file = check.path("file", file)
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is damaged, or no results pack: {error}.") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ValueError(
            f"{file} is no results pack. 'python -m lib.book export results.json' writes one."
        )
    made_as = content.get("format")
    if type(made_as) is not int:
        raise ValueError(
            f"{file} is damaged: its format must be an integer. Got {made_as!r}. Export it again."
        )
    if made_as > FORMAT:
        raise ValueError(
            f"{file} is of format {made_as}, and this book reads format {FORMAT}: it was made by a "
            "newer one. Update this one."
        )
    if content.get("checksum") != cache.digest(content.get("records")):
        raise ValueError(
            f"{file} is damaged, or was changed by hand: its checksum does not fit. Export it again."
        )
    try:
        return Pack.model_validate(content)
    except pydantic.ValidationError as error:
        raise ValueError(f"{file} cannot be read: {_first(error)}") from error


def _first(error):
    """Where the first thing that is wrong stands, and what it is."""
    found = error.errors()[0]
    place = " → ".join(str(part) for part in found["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}{': ' if place else ''}{found['msg'].removeprefix('Value error, ')}{more}"


def keep(file: Path, replace: bool = False) -> str:
    """Import a pack: its model's results are from now on among those of this machine.

    Parameters
    ----------
    file : Path
    replace : bool
        Put it in place of the results that the model has here already, all of them.

    Returns
    -------
    str
        What was imported, and what of it was made by other rules or other code than those here.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`load` raises them; the model has other results here, or some that cannot be read.
    """
    pack = load(file)
    here = results.records(pack.model)
    if here and _origin(here) == _origin(pack.records):
        return f"All {len(here)} chapters about {pack.model} are here already."
    damaged = _unreadable(pack.model, here)
    if (here or damaged) and not replace:
        raise ValueError(_conflict(pack, here, damaged))
    _put(pack)
    said = [f"Imported {len(pack.records)} chapters about {pack.model}."]
    for what, chapters in others.differences(pack.records).items():
        said.append(f"{what.capitalize()} than here, and shown as such: {', '.join(chapters)}.")
    return "\n".join(said)


def _put(pack):
    """Keep a pack's records, all or none."""
    now = datetime.now(UTC).replace(microsecond=0)
    place = results.place(pack.model)
    place.parent.mkdir(parents=True, exist_ok=True)
    with cache.replace_folder(place) as folder:
        for chapter, record in pack.records.items():
            results.write(folder, chapter, dataclasses.replace(record, imported=now))


def _origin(records):
    """What was found and where, whether it was imported or not."""
    return {
        chapter: (cache.digest(record.findings), record.provenance)
        for chapter, record in records.items()
    }


def _conflict(pack, here, damaged):
    """What is different here and in a pack, and which files here cannot be read."""
    found = {"Other findings": [], "The same findings": [], "Only in the pack": [], "Only here": []}
    unknown = {file.stem for file in damaged}
    for chapter in sorted({*pack.records, *here} - unknown):
        if chapter not in here:
            kind = "Only in the pack"
        elif chapter not in pack.records:
            kind = "Only here"
        else:
            both = (here[chapter].findings, pack.records[chapter].findings)
            kind = (
                "The same findings"
                if cache.digest(both[0]) == cache.digest(both[1])
                else "Other findings"
            )
        found[kind].append(chapter)
    said = [f"{kind}: {', '.join(chapters)}." for kind, chapters in found.items() if chapters]
    first = f"'python -m lib.book export --model {pack.model} FILE' keeps them first"
    if damaged:  # which no pack can hold
        said.append(f"Here, but cannot be read: {_listed(damaged)}.")
        first = f"copy {results.place(pack.model)} to keep them"
    return (
        f"{pack.model} has results here already. {' '.join(said)} --replace puts the pack in place "
        f"of all of them; {first}."
    )
