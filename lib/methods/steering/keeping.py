"""Levers on disk: one safetensors file each, with what it is and its card beside its numbers."""

import json
from pathlib import Path

import numpy as np
import pydantic
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from ... import cache, check
from ...musicgen import activations
from ...musicgen.model import Model
from .levers import Push, Words
from .sliders import Slider
from .vectors import Header, Vector, header

#: Where a file says what it holds, and the parts of names of tensors.
KEY = "lever"
PARTS = ":"
#: Where it says the names of all tensors, in their order: a file itself has them by the alphabet,
#: and random directions are drawn in the order in which a lever has its sites or modules.
ORDER = "tensors"


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
    told |= {"is": type(lever).__name__, "about": lever.about, ORDER: list(tensors)}
    numbers = {name: np.ascontiguousarray(some, np.float32) for name, some in tensors.items()}
    cache.write(file, safetensors.numpy.save(numbers, {KEY: json.dumps(told)}))


def load(file: str | Path, model: Model) -> Push | Words | Slider:
    """Read a lever.

    Raises
    ------
    ValueError
        No such file, another kind of file, a damaged one, or a lever made for another model.
    """
    file = check.path("file", file)
    try:
        with safe_open(str(file), "np") as opened:
            told = json.loads((opened.metadata() or {})[KEY])
            there = list(opened.keys())
            names = told.pop(ORDER, there)  # older files do not say
            if sorted(names) != sorted(there):
                raise ValueError(f"it lacks, or has left over, {sorted({*names} ^ {*there})[:3]}")
            tensors = {name: opened.get_tensor(name) for name in names}
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
    try:
        _check_tensors(lever, model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged: {error} Save the lever again.") from error
    return lever


def _check_tensors(lever, model):
    """Refuse numbers that the model has no place for, and what is no number: a slider would fail
    while it sings.
    """
    if isinstance(lever, Push):
        sites = activations.sites(model, heads=True)
        for site, values in lever.centre.items():
            check.choice("a site of its centre", site, sites)
            check.array(f"centre of {site}", values, (sites[site].width,))
    if isinstance(lever, Slider):
        modules = dict(model.lm.named_modules())
        for name, down in lever.down.items():
            weight = getattr(modules.get(name), "weight", None)
            if weight is None or weight.ndim != 2:
                expected = f"one of {model.name} that has a matrix"
                check.refuse(ValueError, "a module of the slider", expected, name)
            rows, columns = weight.shape
            check.array(f"down of {name}", down, ("rank", columns))
            check.array(f"up of {name}", lever.up[name], (rows, len(down)))


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
    units = _named(tensors, "unit")
    for known in (head.norms, head.gaps, head.middles):
        _check_same(units, known)
    vector = Vector(units={site: units[site] for site in head.norms}, **head.model_dump())
    told["any_sites"] = tuple(told["any_sites"])
    return Push(vector, centre=_named(tensors, "centre"), **told)


def _words(told, tensors):
    return Words(**told)


def _slider(told, tensors):
    down, up = _named(tensors, "down"), _named(tensors, "up")
    _check_same(down, up)
    return Slider(down, up, **told)


def _check_same(some, others):
    """Refuse what has one of two parts, or none."""
    if not some or set(some) != set(others):
        alone = sorted(set(some) ^ set(others))[:3]
        raise ValueError(f"it holds no directions, or one part of two: {alone or 'nothing'}")


_MADE = {"Push": _push, "Words": _words, "Slider": _slider}
