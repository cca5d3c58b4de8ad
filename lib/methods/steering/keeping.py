"""Levers on disk: one safetensors file each, with what it is and its card beside its numbers."""

import json
from pathlib import Path

import numpy as np
import pydantic
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from ... import cache, check
from ...musicgen.model import Model
from .levers import Push, Words
from .sliders import Slider
from .vectors import Header, Vector, header

#: Where a file says what it holds, and the parts of names of tensors.
KEY = "lever"
PARTS = ":"


def save(lever: Push | Words | Slider, file: str | Path) -> None:
    """Write a lever; whole or not at all.

    Raises
    ------
    TypeError
        Something else.
    """
    file = check.path("file", file)
    if isinstance(lever, Push):
        told, tensors = _of_push(lever)
    elif isinstance(lever, Words):
        told, tensors = _fields(lever, ("kind", "high", "low", "weights", "anything")), {}
    elif isinstance(lever, Slider):
        told = _fields(lever, ("weights",))
        tensors = {f"down{PARTS}{name}": matrix for name, matrix in lever.down.items()}
        tensors |= {f"up{PARTS}{name}": matrix for name, matrix in lever.up.items()}
    else:
        raise TypeError(f"A lever is a Push, Words or a Slider. Got {type(lever).__name__}.")
    told |= {"is": type(lever).__name__, "about": lever.about}
    numbers = {name: np.ascontiguousarray(some, np.float32) for name, some in tensors.items()}
    cache.write(file, safetensors.numpy.save(numbers, {KEY: json.dumps(told)}))


def load(file: str | Path, model: Model) -> Push | Words | Slider:
    """Read a lever.

    Raises
    ------
    ValueError
        No such file, another kind of file, or a lever made for another model.
    """
    file = check.path("file", file)
    try:
        with safe_open(str(file), "np") as opened:
            told = json.loads((opened.metadata() or {})[KEY])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        lever = _MADE[told.pop("is")](told, tensors)
    except (
        OSError,
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        pydantic.ValidationError,
    ) as error:
        raise ValueError(f"{file} holds no lever: keeping.save writes them ({error}).") from error
    lever.check(model)
    return lever


def _fields(lever, names):
    return {name: getattr(lever, name) for name in names}


def _of_push(lever):
    told = _fields(lever, ("where", "monitored", "any_sites"))
    told["vector"] = json.loads(header(lever.vector))
    tensors = {f"unit{PARTS}{site}": some for site, some in lever.vector.units.items()}
    tensors |= {f"centre{PARTS}{site}": some for site, some in lever.centre.items()}
    return told, tensors


def _named(tensors, kind):
    """Tensors of a kind by what they belong to."""
    start = f"{kind}{PARTS}"
    return {n.removeprefix(start): some for n, some in tensors.items() if n.startswith(start)}


def _push(told, tensors):
    head = Header.model_validate(told.pop("vector"))
    vector = Vector(units=_named(tensors, "unit"), **head.model_dump())
    told["any_sites"] = tuple(told["any_sites"])
    return Push(vector, centre=_named(tensors, "centre"), **told)


def _words(told, tensors):
    return Words(**told)


def _slider(told, tensors):
    return Slider(_named(tensors, "down"), _named(tensors, "up"), **told)


_MADE = {"Push": _push, "Words": _words, "Slider": _slider}
