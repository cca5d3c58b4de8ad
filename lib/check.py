"""The one way to check input: every function returns the clean value or says what is wrong with it.

An error names the value, what was expected and what to do: ``"{name} must be {expected}. Got
{value}. {remedy}"``. A wrong type is a :class:`TypeError`, a wrong value a :class:`ValueError`.
numpy's integers and floats are as welcome as Python's and come back as Python's, so that they may
be written as JSON; a bool is no number.

>>> from lib import check
>>> check.count("batch_size", -1)
Traceback (most recent call last):
...
ValueError: batch_size must be an integer, 1 or more. Got -1.
"""

import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd

#: Floating audio beyond this is not within -1 to 1 with some overshoot: it was scaled as integers.
LOUDEST = 8.0
#: More channels than any recording here has: an axis that is longer counts samples.
CHANNELS = 8


#: The largest integer of 64 bits.
LARGEST_SEED = 2**63 - 1
#: How a URL begins that was made a path, which takes one slash from it ("s3:/bucket/run"). A single
#: letter is the drive of a Windows path.
LOST_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
#: What text a missing value becomes where a list is turned into text: by numpy, of text and NaN.
WAS_MISSING = ("nan", "NaN", "None", "<NA>", "NaT")


def refuse(kind: type[Exception], name: str, expected: str, value, remedy: str = ""):
    """Raise an error in the form that all checks share."""
    text = repr(value)
    if len(text) > 200:
        text = f"{text[:200]} ..."
    raise kind(f"{name} must be {expected}. Got {text}. {remedy}".rstrip())


# ------------------------------------------------------------------------------------------------
# numbers
def count(
    name: str, value, low: int = 1, high: int | None = None, optional: bool = False
) -> int | None:
    """A whole number from ``low`` to ``high``; None passes if ``optional``."""
    if value is None and optional:
        return None
    limits = f"{low} or more" if high is None else f"from {low} to {high}"
    expected = f"an integer, {limits}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        refuse(TypeError, name, expected, value)
    if value < low or (high is not None and value > high):
        refuse(ValueError, name, expected, value)
    return int(value)


def number(
    name: str,
    value,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
    remedy: str = "",
    optional: bool = False,
) -> float | None:
    """A finite number from ``low`` to ``high``; an open end is not included."""
    if value is None and optional:
        return None
    expected = f"a number{_interval(low, high, open_low, open_high)}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        refuse(TypeError, name, expected, value, remedy)
    inside = (
        low <= value <= high
        and not (open_low and value == low)
        and not (open_high and value == high)
    )
    if not math.isfinite(value) or not inside:
        refuse(ValueError, name, expected, value, remedy)
    return int(value) if isinstance(value, Integral) else float(value)


def _interval(low, high, open_low, open_high):
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f" above {low:g}" if open_low else f", {low:g} or more"
    if low == -math.inf:
        return f" below {high:g}" if open_high else f", {high:g} or less"
    return f" in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"


def choice(name: str, value, options: Iterable):
    """One of some options."""
    options = list(options)
    if not any(
        value is option or (type(value) is type(option) and value == option) for option in options
    ):
        refuse(ValueError, name, f"one of {', '.join(map(repr, options))}", value)
    return value


def seeds(seed, n: int, takes: int = 1) -> list[int]:
    """One seed for each of ``n`` clips: those given, or ``seed``, ``seed + 1``, ...

    ``takes`` clips that follow each other are of one prompt: their seeds must differ.
    """
    if isinstance(seed, Integral) and not isinstance(seed, bool):
        first = count("seed", seed, 0)
        return _small(first + i for i in range(n))
    if isinstance(seed, str) or not isinstance(seed, Iterable):
        refuse(TypeError, "seed", "an integer, or one integer for each prompt", seed)
    given = list(seed)
    if len(given) != n:
        each = "prompts" if takes == 1 else f"clips ({takes} takes of each prompt)"
        refuse(ValueError, "seed", f"an integer, or one integer for each of {n} {each}", given)
    given = [count(f"seed[{i}]", value, 0) for i, value in enumerate(given)]
    if any(len(set(given[i : i + takes])) < takes for i in range(0, n, takes)):
        refuse(
            ValueError,
            "seed",
            f"another one for each of {takes} takes of a prompt",
            given,
            "With the same seed they would be the same clip.",
        )
    return _small(given)


def _small(given):
    """Seeds that every device and every store can hold."""
    given = list(given)
    for seed in given:
        if seed > LARGEST_SEED:
            refuse(ValueError, "seed", f"at most {LARGEST_SEED} for every clip", seed)
    return given


# -------------------------------------------------------------------------------------------- texts
def texts(name: str, values, n: int | None = None) -> list[str]:
    """A list of strings from any iterable of them (a generator, too);

    one string alone is refused.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        refuse(TypeError, name, "a list of strings", values, f"Write [{values!r}] for one.")
    values = list(values)
    if not values:
        raise ValueError(
            f"{name} is empty: give at least one (an empty string is an unconditional clip)."
        )
    for i, value in enumerate(values):
        if not isinstance(value, str):
            refuse(TypeError, f"{name}[{i}]", "a string", value)
    if n is not None and len(values) != n:
        raise ValueError(f"{name} must be one for each of {n} clips. Got {len(values)}.")
    return [_whole_letters(f"{name}[{i}]", str(value)) for i, value in enumerate(values)]


def _whole_letters(name, text):
    """A text that can be written as UTF-8: half of a character, as broken files leave it, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        refuse(
            ValueError,
            name,
            "text that can be written as UTF-8",
            text,
            f"The character at {error.start} is half of one: read the text again, as UTF-8.",
        )
    return text


def mapping(name: str, values, expected: str, fewest: int = 0) -> dict:
    """Things by their names: a dict, or a column of a table with its index.

    Parameters
    ----------
    expected : str
        What it looks like, as in "{row: {column: audio}}".
    fewest : int
        How many there must be.
    """
    if not isinstance(values, Mapping | pd.Series):
        refuse(TypeError, name, expected, values)
    if len(values) < fewest:
        refuse(ValueError, name, f"{expected}, of {fewest} or more", values)
    return dict(values.items())


def path(name: str, value) -> Path:
    """A place on this machine's disk; what begins with ~ is in the home folder.

    Parameters
    ----------
    value : str or path

    Raises
    ------
    TypeError, ValueError
        Something else, nothing, or a URL, also one that was made a ``Path`` before.
    """
    expected = "the path of a file or a folder"
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        refuse(TypeError, name, expected, value)
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        refuse(ValueError, name, expected, value)
    on_disk = f"{expected} on this machine"
    if "://" in text:
        refuse(ValueError, name, on_disk, value, "Give a folder, not a URL.")
    if LOST_SLASH.match(text):
        remedy = "Where URLs are welcome, write one as text, 's3://bucket/run': a Path breaks it."
        refuse(ValueError, name, on_disk, value, remedy)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        refuse(ValueError, name, expected, value, f"There is no such user: write './{text}'.")


# ------------------------------------------------------------------------------------------- arrays
def array(
    name: str,
    values,
    dims: Sequence[str | int],
    *,
    finite: bool = True,
    integer: bool = False,
    remedy: str = "",
) -> np.ndarray:
    """An array of numbers with these dims:

    a name stands for any size but 0, a number for exactly that size.
    """
    values = np.asarray(values)
    kind = "integers" if integer else "numbers"
    expected = f"an array of {kind}, shape ({', '.join(map(str, dims))})"
    if values.dtype.kind not in ("iu" if integer else "iuf"):
        refuse(TypeError, name, expected, f"{values.dtype} of shape {values.shape}", remedy)
    fits = values.ndim == len(dims) and all(
        size == dim if isinstance(dim, Integral) else size > 0
        for size, dim in zip(values.shape, dims, strict=False)
    )
    if not fits:
        refuse(ValueError, name, expected, values.shape, remedy)
    if finite and values.dtype.kind == "f" and not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"{name} holds NaN or infinite values ({wrong} of {values.size}). {remedy}".rstrip()
        )
    return values


def shape(value) -> tuple | str:
    """The shape of an array, or the type of what has none, for an error."""
    return tuple(value.shape) if hasattr(value, "shape") else type(value).__name__


def same_length(**sequences) -> int:
    """The common length of some named sequences."""
    lengths = {name: len(values) for name, values in sequences.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{' and '.join(lengths)} must be equally long. Got {listed}.")
    return next(iter(lengths.values()))


def selector(name: str, which, n: int) -> np.ndarray:
    """Which of ``n`` things are meant, as a mask:

    None (all), a number, numbers, a slice or a mask, with numpy's meaning.

    Raises
    ------
    ValueError
        A number outside -n to n - 1, or a mask of another length.
    TypeError
        Anything that numpy would not take as an index.
    """
    mask = np.zeros(n, bool)
    if which is None:
        return ~mask
    if isinstance(which, slice):
        for bound in (which.start, which.stop, which.step):
            count(f"a bound of {name}", bound, -(2**63), optional=True)
        if which.step == 0:
            refuse(ValueError, name, "a slice with a step", which)
        mask[which] = True
        return mask
    given = (
        list(which) if isinstance(which, Iterable) and not isinstance(which, np.ndarray) else which
    )
    index = np.atleast_1d(np.asarray(given))
    if index.size == 0:
        return mask
    if index.ndim != 1 or index.dtype.kind not in "iub":
        refuse(TypeError, name, "None, integers, a slice or a mask", which)
    if index.dtype.kind == "b" and len(index) != n:
        raise ValueError(f"{name} is a mask of {len(index)}, but there are {n}.")
    if index.dtype.kind != "b" and (index.min() < -n or index.max() >= n):
        refuse(ValueError, name, f"integers from {-n} to {n - 1} (there are {n})", which)
    mask[index] = True
    return mask


# ------------------------------------------------------------------------------------------- labels
def missing(values) -> np.ndarray:
    """Which values are missing: None, NaN, NA, NaT, or a blank text. Missing is no class."""
    values = pd.Series(_objects(values))
    blank = values.map(lambda value: isinstance(value, str) and not value.strip())
    return (values.isna() | blank).to_numpy(bool)


def labels(name: str, values, n: int | None = None) -> np.ndarray:
    """One label a row, of classes (text, integers, booleans) or numbers; a missing one is refused.

    Returns
    -------
    np.ndarray [shape=(row,)]
        Objects become text, if they are no numbers.
    """
    listed = np.asarray(_objects(values), dtype=object)
    if listed.ndim != 1 or (n is not None and len(listed) != n):
        wanted = "one label a row" if n is None else f"one label for each of {n} rows"
        raise ValueError(f"{name} must hold {wanted}. Got shape {np.shape(values)}.")
    gone = missing(listed) | pd.Series(listed, dtype=object).isin(WAS_MISSING).to_numpy()
    if gone.any():
        rows = ", ".join(map(str, np.flatnonzero(gone)[:5]))
        raise ValueError(
            f"{name} has {gone.sum()} missing labels (rows "
            f"{rows}{' ...' if gone.sum() > 5 else ''}): a missing label "
            "is no class. Drop these rows, or give them a label."
        )
    return typed(listed)


def typed(values: np.ndarray) -> np.ndarray:
    """Objects as what all of them are: booleans, integers, floats, else text."""
    kinds = {type(value.item() if isinstance(value, np.generic) else value) for value in values}
    if kinds <= {bool}:
        return values.astype(bool)
    if kinds <= {int}:
        return values.astype(int)
    if kinds <= {int, float}:
        return values.astype(float)
    return np.array([str(value) for value in values])


def _objects(values):
    """Values as plain objects, whatever holds them: a list, an array, pandas or xarray."""
    if isinstance(values, pd.Series | pd.Index):
        return values.astype(object).to_numpy()
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    plain = isinstance(values, Iterable) and not isinstance(values, np.ndarray | str)
    return list(values) if plain else values


# -------------------------------------------------------------------------------------------- audio
def audio(name: str, values, *, channels: int = 1) -> np.ndarray:
    """Audio in the book's convention: floats of about -1 to 1, clips first, samples last.

    Parameters
    ----------
    values : array_like [shape=(sample,), (clip, sample) or (clip, channel, sample)]
    channels : int
        How many the third shape may have (one is always welcome).

    Returns
    -------
    np.ndarray [shape=(clip, sample) or (clip, channel, sample)], float32

    Raises
    ------
    TypeError, ValueError
        Integers, floats on an integer's scale, samples before channels, NaN, nothing.
    """
    values = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    expected = f"{name} must be float audio of shape (clip, sample) or (sample,)"
    if channels > 1:
        expected = f"{expected}, or (clip, {channels}, sample)"
    if values.dtype.kind in "iu":
        scale = 2 ** (8 * values.dtype.itemsize - 1)
        raise TypeError(f"{expected}, from -1 to 1. Got {values.dtype}: divide by {scale}.")
    if values.dtype.kind != "f" or values.ndim not in (1, 2, 3) or values.size == 0:
        raise ValueError(f"{expected}. Got {values.dtype} of shape {values.shape}.")
    if values.ndim > 1 and values.shape[-1] <= CHANNELS < values.shape[-2]:
        raise ValueError(
            f"{expected}. Got {values.shape}: samples seem to come before channels. Transpose it, "
            "or average the "
            "channels (audio.mean(-1))."
        )
    if values.ndim == 3 and values.shape[1] not in (1, channels):
        raise ValueError(f"{expected}. Got {values.shape}: {values.shape[1]} channels.")
    _check_level(name, values)
    return np.atleast_2d(values.astype(np.float32))


def clip(name: str, values) -> np.ndarray:
    """One clip of audio, as :func:`audio` takes it, in mono or stereo.

    Parameters
    ----------
    values : array_like [shape=(sample,) or (channel, sample)]

    Returns
    -------
    np.ndarray [shape=(channel, sample)], float32
        One channel or two.
    """
    found = audio(name, values)
    if found.ndim != 2 or len(found) > 2:
        raise ValueError(
            f"{name} must be one clip, of shape (sample,) or, in stereo, (2, sample). Got shape "
            f"{np.shape(values)}: take one clip, or the mean of the channels (audio.mean(0))."
        )
    return found


def _check_level(name, values):
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite samples: check how it was read or decoded.")
    peak = float(np.abs(values).max())
    if peak > LOUDEST:
        raise ValueError(
            f"{name} must lie between about -1 and 1. Got a peak of {peak:g}: divide by the scale "
            "of its integers "
            "(32768 for 16 bits)."
        )
    silent = ~np.atleast_2d(values).any(-1)
    if silent.any():
        warnings.warn(f"{name} holds digital silence in {int(silent.sum())} clips.", stacklevel=3)


# ------------------------------------------------------------------------------------------ tensors
def untensored(values):
    """What a torch tensor holds as a numpy array, of any device, precision and history; anything
    else as it is."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    # numpy knows no bfloat16
    return (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
