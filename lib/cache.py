"""The one place that names, writes and reads what is kept on disk.

*Named by all it follows from*: :func:`digest` hashes content, never a shape, a sum or an address.
That holds for arrays, tensors and tables as well as for functions (their code, their defaults, what
they close over and the globals they use) and modules with weights. *Whole or not at all*: files and
folders are written beside their place and moved there, with a checksum; what is damaged is noticed
and made again.

>>> from lib import cache
>>> cache.digest({"n": 3}) == cache.digest({"n": 3})
True
>>> cache.digest(lambda x: x + 1) == cache.digest(lambda x: x + 2)
False
"""

import ast
import dataclasses
import dis
import functools
import inspect
import io
import json
import os
import re
import shutil
import sys
import types
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import torch
import xarray as xr
import xxhash

from . import check

PACKAGE = Path(__file__).parent


def _root():
    """Where what is made is kept: ``BOOK_ARTIFACTS``, the checkout's folder, or the user's cache
    where the package is
    installed (never beside its code).

    Raises
    ------
    ValueError
        ``BOOK_ARTIFACTS`` is no folder, but a URL.
    """
    if os.environ.get("BOOK_ARTIFACTS"):
        place = check.path("BOOK_ARTIFACTS", os.environ["BOOK_ARTIFACTS"]).absolute()
        # processes that this one starts may have another working directory
        os.environ["BOOK_ARTIFACTS"] = str(place)
        return place
    if (PACKAGE.parent / "pyproject.toml").exists():
        return PACKAGE.parent / "artifacts"
    return Path(platformdirs.user_cache_dir("musicgen-emotion"))


ROOT = _root()
#: Where packages are installed, whatever the folder is called.
PACKAGES = Path(torch.__file__).parents[1]
#: How often a folder is moved where other processes move theirs.
ATTEMPTS = 100


# -----------------------------------------------------------------------------------------------
# what it is
def digest(*parts) -> str:
    """A hash of content, 32 hexadecimal digits.

    Parameters
    ----------
    *parts
        Numbers, texts, None, sequences, sets and mappings of them, arrays, tensors, xarray and
        pandas objects, dataclasses, functions, ``functools.partial``, modules with weights, and
        objects whose attributes are such.

    Raises
    ------
    TypeError
        Something whose content cannot be told (a generator, an open file): give it a name with
        :func:`named`.
    """
    state = xxhash.xxh3_128()
    _feed(state, parts, set())
    return state.hexdigest()


def named(name: str, function: Callable) -> Callable:
    """A function whose identity is the name that its user gives it:

    change the name when it computes something else.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a text. Got {name!r}.")

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    wrapped.content_name = name
    return wrapped


def code(*sources) -> str:
    """A hash of source code without comments and docstrings: the version of what computes
    something.

    Parameters
    ----------
    *sources : module, function, class or path of a file
    """
    return digest([_plain_source(source) for source in sources])


def _plain_source(source):
    if isinstance(source, os.PathLike):
        return _without_texts(Path(source).read_text())
    return _plain_object(source)


@functools.cache
def _plain_object(source):
    return _without_texts(inspect.cleandoc("\n" + inspect.getsource(source)))


def _without_texts(source):
    """Code as what it does: comments are no part of a syntax tree, and docstrings are left out."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                del body[0]
    return ast.dump(tree)


def _feed(state, value, seen):
    """Add one value to a hash, with its kind, so that 1, "1" and [1] differ."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _feed_dataclass(state, value, seen)
    for kinds, feed in _FEEDS:
        if isinstance(value, kinds):
            return feed(state, value, seen)
    return _feed_object(state, value, seen)


def _mark(state, kind, text=""):
    state.update(f"{kind}({text})".encode())


def _but_not_inside_itself(feed):
    """The same, except that what lies inside itself (a module that holds the network it is part of)
    is not gone through again there.
    """

    @functools.wraps(feed)
    def guarded(state, value, seen):
        here = ("inside", id(value))
        if here in seen:
            return _mark(state, "inside", type(value).__qualname__)
        seen.add(here)
        try:
            feed(state, value, seen)
        finally:
            seen.discard(here)

    return guarded


def _feed_plain(state, value, seen):
    value = value.item() if isinstance(value, np.generic) else value
    _mark(state, type(value).__name__, repr(value))


@_but_not_inside_itself
def _feed_sequence(state, value, seen):
    _mark(state, "sequence", str(len(value)))
    for item in value:
        _feed(state, item, seen)


def _feed_set(state, value, seen):
    _mark(state, "set", str(sorted(digest(item) for item in value)))


def _feed_mapping(state, value, seen):
    """Keys in an order of their own: that of their hashes."""
    _mark(state, "mapping", str(len(value)))
    for key, item in sorted(
        ((digest(key), item) for key, item in value.items()), key=lambda pair: pair[0]
    ):
        _mark(state, "key", key)
        _feed(state, item, seen)


def _feed_array(state, value, seen):
    if value.dtype.kind == "O":
        _mark(state, "objects", str(value.shape))
        return _feed_sequence(state, value.ravel().tolist(), seen)
    _mark(state, "array", f"{value.dtype.str}{value.shape}")
    state.update(np.ascontiguousarray(value).view(np.uint8).data if value.size else b"")


def _feed_tensor(state, value, seen):
    """Through the machine's memory: a GPU's tensors are copied one by one."""
    value = value.detach().cpu().contiguous()
    _mark(state, "tensor", f"{value.dtype}{tuple(value.shape)}")
    if value.numel():
        state.update(value.reshape(-1).view(torch.uint8).numpy().data)


def _feed_frame(state, value, seen):
    frame = value.to_frame() if isinstance(value, pd.Series) else value
    _mark(state, type(value).__name__)
    _feed(state, [str(column) for column in frame.columns], seen)
    _feed(state, frame.index.to_numpy(), seen)
    for column in range(frame.shape[1]):
        _feed(state, frame.iloc[:, column].to_numpy(), seen)


def _feed_data_array(state, value, seen):
    _mark(state, "DataArray", str((value.name, value.dims)))
    _feed(state, {str(name): np.asarray(item) for name, item in value.coords.items()}, seen)
    _feed(state, value.values, seen)


def _feed_dataset(state, value, seen):
    _mark(state, "Dataset")
    _feed(state, {str(name): value[name] for name in value.data_vars}, seen)
    _feed(state, {str(name): np.asarray(item) for name, item in value.coords.items()}, seen)


@_but_not_inside_itself
def _feed_dataclass(state, value, seen):
    """What its fields hold and, of a class of the user's, what it does with that."""
    _mark(state, "dataclass", type(value).__qualname__)
    if _is_users(type(value)):
        _feed_class(state, type(value), seen)
    _feed(
        state, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, seen
    )


@_but_not_inside_itself
def _feed_module(state, value, seen):
    """A network: its classes, its settings (of a class of the user's all that it holds), and its
    weights and buffers, those that no state dict holds included.
    """
    _mark(state, "network")
    for name, module in value.named_modules():
        _mark(state, name)
        _feed_class(state, type(module), seen)
        if _is_users(type(module)):
            _feed(state, _held(module), seen)
            continue
        library = _of_library(type(module))
        own = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
        _feed(state, {k: v for k, v in own.items() if not library or _is_setting(v)}, seen)
    _feed(state, {**dict(value.named_buffers()), **value.state_dict()}, seen)


def _held(module):
    """What a module holds beside what every module has: parameters, buffers, parts, hooks."""
    return {name: item for name, item in vars(module).items() if name not in _OF_EVERY_MODULE}


def settings(network: torch.nn.Module) -> str:
    """A hash of what a network computes with its weights: the classes of its parts and their
    settings (activation, eps, number of heads, ...).

    Of a library's classes the name counts and not the version; where a model came from, where it
    runs and what matters in training alone do not. Of a class of the user's nobody knows what
    matters: all that its modules hold counts, tensors and buffers that no state dict holds included,
    except what cannot be told (a lock, an open file), which counts by its class.
    """
    state = xxhash.xxh3_128()
    for name, module in network.named_modules():
        kind = type(module)
        _mark(state, name, f"{kind.__module__}.{kind.__qualname__}")
        if _is_users(kind):
            _feed_class(state, kind, set())
            _feed_computed_with(state, module, {("inside", id(network))})
            continue
        for key, value in sorted(vars(module).items()):
            if not key.startswith("_") and key not in _NO_SETTINGS and _is_setting(value):
                _mark(state, key)
                _feed_setting(state, value)
    return state.hexdigest()


def _feed_computed_with(state, module, seen):
    """What a module of the user's holds beside what its state dict does."""
    held = {name: item for name, item in _held(module).items() if name not in _ELSEWHERE}
    held |= {name: module._buffers[name] for name in module._non_persistent_buffers_set}
    for name, item in sorted(held.items()):
        _mark(state, name)
        _feed_if_told(state, item, seen, ("held", name))


def _feed_setting(state, value):
    """A setting; a library's function counts by its name."""
    if isinstance(value, list | tuple):
        _mark(state, "sequence", str(len(value)))
        for item in value:
            _feed_setting(state, item)
    elif inspect.isbuiltin(value) or (inspect.isroutine(value) and _of_library(value)):
        _mark(state, "function", f"{value.__module__}.{value.__qualname__}")
    else:
        _feed(state, value, set())


#: Attributes of modules that change nothing of what they compute.
_NO_SETTINGS = {
    *("training", "name", "name_or_path", "device", "checkpointing", "gradient_checkpointing"),
    *("p", "dropout", "word_dropout", "finetune", "lr", "weight_decay", "cfg_coef", "forward"),
}

#: What every module has.
_OF_EVERY_MODULE = frozenset(vars(torch.nn.Module()))
#: Attributes of a user's module that change nothing (where it runs), or count elsewhere: a function
#: in the place of ``forward`` is an intervention.
_ELSEWHERE = ("device", "forward")


def _is_setting(value):
    """A plain value, a list of such, or a function."""
    if isinstance(value, list | tuple):
        return all(map(_is_setting, value))
    return value is None or isinstance(value, bool | int | float | str) or inspect.isroutine(value)


def _feed_partial(state, value, seen):
    _mark(state, "partial")
    _feed(state, [value.func, value.args, value.keywords], seen)


def _feed_method(state, value, seen):
    _mark(state, "method")
    _feed(state, value.__func__, seen)
    _feed(state, value.__self__, seen)


def _feed_builtin(state, value, seen):
    module = getattr(value, "__module__", None) or type(value).__module__
    _mark(state, "builtin", f"{module}.{getattr(value, '__qualname__', value.__name__)}")
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType | type):
        _feed(state, owner, seen)


def _feed_class(state, value, seen):
    """A class: what it inherits and all that it defines, unless it belongs to a library."""
    _mark(state, "class", f"{value.__module__}.{value.__qualname__}")
    if value in seen or value.__module__ == "builtins":
        return
    seen.add(value)
    if _of_library(value):
        return _mark(state, "version", _version(value.__module__))
    for base in value.__bases__:
        _feed_class(state, base, seen)
    for name, item in sorted(vars(value).items()):
        functions = _functions(item)
        if functions:
            _mark(state, name)
            for function in functions:
                _feed_member(state, function, seen)
        elif not name.startswith("__") and name not in _OF_EVERY_CLASS:
            _mark(state, name)
            if not isinstance(item, types.MemberDescriptorType | types.GetSetDescriptorType):
                _feed(state, item, seen)


def _feed_member(state, function, seen):
    """A function of a class; of this package's the code alone: what it needs of the rest, callers
    name by :func:`code`.
    """
    if _is_ours(function.__module__):
        return _feed_code(state, function.__code__, seen)
    _feed_function(state, function, seen)


def _functions(item):
    """The functions of a member of a class: of a method, a property, ..."""
    if isinstance(item, property):
        found = [item.fget, item.fset, item.fdel]
    elif isinstance(item, staticmethod | classmethod):
        found = [item.__func__]
    elif isinstance(item, functools.cached_property):
        found = [item.func]
    else:
        found = [item]
    return [function for function in found if isinstance(function, types.FunctionType)]


def _feed_imported(state, value, seen, used=frozenset()):
    """A module: a library by name and version; any other by what it defines, as it is loaded.

    Parameters
    ----------
    used : set of str
        Attributes that whoever looks the module up asks for: they count whatever they are. Of all
        others, those do whose content can be told.
    """
    _mark(state, "module", f"{value.__name__} {getattr(value, '__version__', '')}")
    if _of_library(value) or _of_python(value.__name__):
        return
    for name, item in sorted(vars(value).items()):
        place = ("defined", value.__name__, name, used if _is_module(item) else None)
        if name.startswith("__") or place in seen:
            continue
        if name in used:
            seen.add(place)
            _mark(state, name)
            _feed_asked(state, item, seen, used)
        elif isinstance(item, _DEFINED) or _is_setting(item):
            _mark(state, name)
            _feed_if_told(state, item, seen, place)


def _feed_asked(state, value, seen, asked):
    """What somebody looks up by its name; of a module, what it is asked for counts in any case."""
    if _is_module(value):
        return _feed_imported(state, value, seen, asked)
    _feed(state, value, seen)


def _feed_if_told(state, value, seen, place):
    """What may be of no matter: its content, all of it, or its class where that cannot be told.

    Parameters
    ----------
    place : tuple
        Where it is held, which is not gone through again.
    """
    inside = xxhash.xxh3_128()
    tried = seen | {place}
    try:
        if ("untold", place) in seen:
            raise TypeError
        _feed(inside, value, tried)
    except TypeError:
        # modules that look one another up would try the same again and again
        seen |= {("untold", place)} | set(filter(_is_untold, tried))
        return _mark(state, "untold", type(value).__qualname__)
    seen |= tried
    _mark(state, "told", inside.hexdigest())


def _is_untold(entry):
    return isinstance(entry, tuple) and entry[0] == "untold"


def _feed_function(state, value, seen):
    """Code, defaults, what it closes over and the globals it names;

    libraries count by name and version.
    """
    if hasattr(value, "content_name"):
        return _mark(state, "named", value.content_name)
    if id(value) in seen:
        return _mark(state, "again", value.__qualname__)
    seen.add(id(value))
    if _of_library(value):
        return _mark(
            state,
            "library",
            f"{value.__module__}.{value.__qualname__} {_version(value.__module__)}",
        )
    _mark(state, "function")
    _feed_code(state, value.__code__, seen)
    _feed(state, [value.__defaults__, value.__kwdefaults__], seen)
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        _feed_cell(state, cell, seen, value.__code__, name)
    for name in sorted(_names(value.__code__)):
        if name in value.__globals__:
            _mark(state, "global", name)
            _feed_looked_up(state, value.__globals__[name], seen, value.__code__, name)


def _feed_looked_up(state, value, seen, compiled, name):
    """What code looks up by a name."""
    asked = frozenset(_asked_for(compiled, name) if _is_module(value) else ())
    _feed_asked(state, value, seen, asked)


def _feed_cell(state, cell, seen, compiled, name):
    try:
        content = cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return _mark(state, "empty")
    _feed_looked_up(state, content, seen, compiled, name)


def _feed_code(state, value, seen):
    _mark(state, "code", value.co_name if value.co_name == "<lambda>" else "")
    state.update(value.co_code)
    _feed(state, [value.co_names, value.co_varnames, value.co_freevars], seen)
    for constant in value.co_consts:
        if isinstance(constant, types.CodeType):
            _feed_code(state, constant, seen)
        else:
            _feed_plain(state, constant, seen)


def _names(compiled):
    """The globals that a function and those inside it look up."""
    names = {
        i.argval for i in dis.get_instructions(compiled) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in compiled.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _asked_for(compiled, name):
    """The attributes that a function and those inside it ask a variable of elsewhere for: of
    ``mine.sub.PUSH``, sub and PUSH.
    """
    found = set()
    follows = False
    for step in dis.get_instructions(compiled):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and follows:
            found.add(step.argval)
        elif step.opname != "EXTENDED_ARG":
            elsewhere = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF")
            follows = step.opname in elsewhere and step.argval == name
    inside = (part for part in compiled.co_consts if isinstance(part, types.CodeType))
    return found.union(*(_asked_for(part, name) for part in inside))


def _is_module(value):
    return isinstance(value, types.ModuleType)


def _is_users(kind):
    """Whether a class is neither a library's nor Python's nor this package's."""
    return not _of_library(kind) and not _of_python(kind.__module__)


def _of_library(value):
    """Whether a function, class or module belongs to an installed library, which counts by its
    version.
    """
    name = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
    file = getattr(sys.modules.get(name), "__file__", None) if name != "__main__" else None
    return bool(file) and _is_installed(file)


@functools.cache
def _is_installed(file):
    """Whether a file lies where packages are installed."""
    place = Path(file)
    return place.is_relative_to(PACKAGES) or bool(
        {"site-packages", "dist-packages"} & set(place.parts)
    )


def _of_python(module):
    """Whether a module, by name, is Python's own, or this package's."""
    return module.partition(".")[0] in sys.stdlib_module_names or _is_ours(module)


def _is_ours(module):
    """Whether a module, by name, is this package's."""
    return module.partition(".")[0] == __name__.partition(".")[0]


def _version(module):
    package = sys.modules.get(module.partition(".")[0])
    return getattr(package, "__version__", "")


def _feed_object(state, value, seen):
    """Any other object: its class and its attributes."""
    if id(value) in seen:
        return _mark(state, "again", type(value).__qualname__)
    seen.add(id(value))
    if not hasattr(value, "__dict__"):
        raise TypeError(
            f"What a {type(value).__name__} holds cannot be told, so nothing can be kept under it. "
            "Use an array, a "
            "list or a function; cache.named('a name', function) gives any function a name."
        )
    _feed_class(state, type(value), seen)
    _feed(state, vars(value), seen)


#: What a class has without defining it.
_OF_EVERY_CLASS = ("_abc_impl",)
#: What counts of a module though nobody asks for it, beside plain settings.
_DEFINED = (
    types.FunctionType,
    type,
    np.ndarray,
    torch.Tensor,
    Mapping,
    list,
    tuple,
    types.ModuleType,
)
_FEEDS = (
    (
        (bool, int, float, complex, str, bytes, type(None), np.generic, type(...), range),
        _feed_plain,
    ),
    (re.Pattern, lambda state, value, seen: _mark(state, "pattern", repr(value))),
    (slice, lambda state, value, seen: _mark(state, "slice", repr(value))),
    (torch.dtype, lambda state, value, seen: _mark(state, "dtype", str(value))),
    (torch.device, lambda state, value, seen: _mark(state, "device", str(value))),
    (os.PathLike, lambda state, value, seen: _mark(state, "path", os.fspath(value))),
    (torch.nn.Module, _feed_module),
    (torch.Tensor, _feed_tensor),
    (np.ndarray, _feed_array),
    ((pd.DataFrame, pd.Series), _feed_frame),
    (xr.DataArray, _feed_data_array),
    (xr.Dataset, _feed_dataset),
    (dict, _but_not_inside_itself(_feed_mapping)),
    (Mapping, _feed_mapping),
    ((list, tuple), _feed_sequence),
    ((set, frozenset), _feed_set),
    (functools.partial, _feed_partial),
    (types.MethodType, _feed_method),
    (types.FunctionType, _feed_function),
    ((types.BuiltinFunctionType, types.MethodDescriptorType, np.ufunc), _feed_builtin),
    (type, _feed_class),
    (types.ModuleType, _feed_imported),
)


# ------------------------------------------------------------------------------------------------
# keeping it
def keep(folder: str, what: Mapping, compute: Callable[[], object], suffix: str = ".npy"):
    """What is kept under all that it follows from; computed and kept if it is not there.

    Parameters
    ----------
    folder : str
        Below :data:`ROOT`.
    what : mapping
        All that the value follows from, the version of the code that computes it (:func:`code`)
        included.
    compute : callable
        Gives the value where it is not there, or where it is damaged.
    suffix : ".npy", ".npz", ".json" or ".parquet"
        An array; a dict of arrays; plain values; a table.
    """
    file = place(folder, what, suffix)
    content = read(file)
    if content is not None:
        return _FORMATS[suffix][1](io.BytesIO(content))
    value = compute()
    buffer = io.BytesIO()
    _FORMATS[suffix][0](buffer, value)
    write(file, buffer.getvalue(), about={name: _brief(part) for name, part in what.items()})
    buffer.seek(0)
    return _FORMATS[suffix][1](buffer)


def place(folder: str, what: Mapping, suffix: str = "") -> Path:
    """Where something is kept: named by a hash of all that it follows from."""
    return ROOT / folder / f"{digest(what)[:20]}{suffix}"


def write(file, content: bytes | str, about: Mapping | None = None) -> Path:
    """Write a file whole or not at all;

    with ``about``, what it follows from and a checksum are written beside it.
    """
    file = Path(file)
    content = content.encode() if isinstance(content, str) else content
    file.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(file)
    try:
        new.write_bytes(content)
        os.replace(new, file)
    finally:
        new.unlink(missing_ok=True)
    if about is not None:
        note = {"checksum": xxhash.xxh3_128_hexdigest(content), "what": dict(about)}
        write(_note(file), json.dumps(note, indent=1, default=str))
    return file


def read(file) -> bytes | None:
    """What :func:`write` wrote with a checksum;

    None if it is not there, or no longer what was written.
    """
    try:
        content = Path(file).read_bytes()
        checksum = json.loads(_note(Path(file)).read_text())["checksum"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if checksum != xxhash.xxh3_128_hexdigest(content):
        warnings.warn(f"{file} is damaged: it is made again.", stacklevel=3)
        return None
    return content


@contextmanager
def replace_folder(folder):
    """A folder that appears whole or not at all:

    what is written into the one given moves to ``folder`` at the end.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(folder)
    new.mkdir()
    try:
        yield new
        _move(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _move(new, folder):
    """Put a folder in the place of another. Of processes that do so at once, the last one stays."""
    for attempt in range(ATTEMPTS):
        old = _beside(folder)
        with suppress(FileNotFoundError):
            os.replace(folder, old)
        try:
            os.replace(new, folder)
            return
        except OSError:  # another process was quicker
            if attempt == ATTEMPTS - 1:
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _beside(path):
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")


def _note(file):
    return file.with_name(f"{file.name}.note")


def _brief(value):
    text = value if isinstance(value, int | float | str) else repr(value)
    return text if not isinstance(text, str) or len(text) < 200 else f"{text[:200]} ..."


def _save_arrays(file, value):
    np.savez(file, **value)


def _load_arrays(file):
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


_FORMATS = {
    ".npy": (
        lambda file, value: np.save(file, value, allow_pickle=False),
        lambda file: np.load(file, allow_pickle=False),
    ),
    ".npz": (_save_arrays, _load_arrays),
    ".json": (
        lambda file, value: file.write(json.dumps(value).encode()),
        lambda file: json.loads(file.read()),
    ),
    ".parquet": (lambda file, value: value.to_parquet(file), pd.read_parquet),
}
