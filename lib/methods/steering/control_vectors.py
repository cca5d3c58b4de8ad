"""Steering vectors in the format of ``repeng``: a control vector, in a GGUF file.

What :func:`export_gguf` writes, ``repeng.ControlVector.import_gguf`` reads, and the other way
round (Vogel 2024, https://vgel.me/posts/representation-engineering). ``direction.i`` is what a
coefficient of 1 adds to what block i passes on, which is what strength 1 adds to resid.i. What
such a file cannot say (whose vector it is, how long one unit of strength is, how it was found) is
written in a field of our own, which others pass over.

Needs the package ``gguf``.
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

from ... import cache, check
from ...musicgen.model import Model
from .applying import pushes
from .vectors import Header, Vector, check_vector, header

ARCHITECTURE = "controlvector"
#: What ``repeng`` calls a model: its ``model_type`` in ``transformers``.
MODEL_TYPE = "musicgen"
HINT = f"{ARCHITECTURE}.model_hint"
COUNT = f"{ARCHITECTURE}.layer_count"
#: The field of our own.
OURS = "musicgen_emotion.vector"


def export_gguf(vector: Vector, file: str | Path) -> None:
    """Write a control vector; whole or not at all.

    Raises
    ------
    ValueError
        A vector at a site that is no residual stream, or no package ``gguf``.
    """
    file = check.path("file", file)
    gguf = _gguf()
    directions = {_layer(site): push for site, push in pushes(vector).items()}
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.gguf"
        writer = gguf.GGUFWriter(draft, ARCHITECTURE)
        writer.add_string(HINT, MODEL_TYPE)
        writer.add_uint32(COUNT, len(directions))
        writer.add_string(OURS, header(vector))
        for layer, push in directions.items():
            writer.add_tensor(f"direction.{layer}", np.ascontiguousarray(push, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        cache.write(file, draft.read_bytes())


def import_gguf(file: str | Path, model: Model) -> Vector:
    """Read a control vector.

    Parameters
    ----------
    file : str or Path
        From :func:`export_gguf`, or from ``repeng``. The latter does not say for which MusicGen it
        was made: that it is this one cannot be checked beyond its width and blocks.
    model : Model

    Returns
    -------
    Vector
        Of a file from ``repeng``: strength 1 is its coefficient 1, and it cannot be monitored,
        because it does not say where either kind of prompts lies (gaps and middles are not a
        number).

    Raises
    ------
    ValueError
        No such file, another kind of file, a vector made for another model, or no package
        ``gguf``.
    """
    file = check.path("file", file)
    fields, directions = _read(file)
    if OURS in fields:
        vector = _ours(file, fields[OURS], directions)
    else:
        vector = _theirs(file, fields, directions, model)
    check_vector(model, vector)
    return vector


def _ours(file, text, directions):
    """The vector that was exported: its units, from what strength 1 adds."""
    try:
        told = Header.model_validate_json(text)
    except ValueError as error:
        raise ValueError(f"{OURS} in {file} is damaged: export the vector again.") from error
    if set(told.norms) != set(directions):
        raise ValueError(
            f"{file} holds directions at {sorted(directions)}, and {OURS} in it tells of "
            f"{sorted(told.norms)}: export the vector again."
        )
    units = {
        site: direction * len(directions) / told.norms[site]
        for site, direction in directions.items()
    }
    return Vector(units=units, **told.model_dump())


def _theirs(file, fields, directions, model):
    """A vector of which only the directions are known."""
    hint = fields.get(HINT)
    if not str(hint).startswith(MODEL_TYPE):
        raise ValueError(f"The control vector in {file} is for a {hint!r}, not for a MusicGen.")
    lengths = {site: float(np.linalg.norm(direction)) for site, direction in directions.items()}
    unknown = dict.fromkeys(directions, np.nan)
    return Vector(
        # a direction of length 0 is refused with those that are not finite
        units={site: direction / (lengths[site] or 1.0) for site, direction in directions.items()},
        norms={site: len(directions) * length for site, length in lengths.items()},
        gaps=unknown,
        middles=unknown,
        method="control vector",
        model=model.name,
        weights=model.fingerprint,
        data=cache.digest(directions),
        positive=[],
        negative=[],
    )


def _read(file):
    """Fields of a GGUF file, and its directions by site."""
    gguf = _gguf()
    try:
        reader = gguf.GGUFReader(file)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        directions = {}
        for tensor in reader.tensors:
            kind, _, layer = tensor.name.partition(".")
            if kind == "direction":
                directions[f"resid.{int(layer)}"] = _numbers(tensor)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ValueError(
            f"{file} holds no control vector: export_gguf, or repeng's, writes them ({error})."
        ) from error
    if not directions:
        raise ValueError(f"{file} holds no control vector: no tensor in it is called direction.i.")
    return fields, directions


def _numbers(tensor):
    """A direction, copied out of the file."""
    if tensor.data.dtype.kind != "f":
        raise ValueError(f"{tensor.name} is quantised")
    return np.array(tensor.data, np.float32)


def _layer(site):
    kind, _, layer = site.partition(".")
    if kind != "resid":
        raise ValueError(f"A control vector lies in the residual stream (resid.i). Got {site!r}.")
    return int(layer)


def _gguf():
    if importlib.util.find_spec("gguf") is None:
        raise ValueError("Control vectors need the package gguf: pip install gguf.")
    import gguf

    return gguf
