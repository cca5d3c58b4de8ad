"""What may be patched: pairs of clips whose prompts differ in one thing, sites, and positions."""

import fnmatch
import itertools
from collections.abc import Iterable, Sequence
from numbers import Number

import numpy as np

from ... import check
from ...musicgen import activations
from ...musicgen.model import Clips, Model
from ...organism import captions, world

#: Sites that are added to the residual stream, or are the stream itself.
PATCHED = ("resid.*", "attn.*", "cross.*", "mlp.*", "head.*", "cross_head.*")


def check_pairs(clean: Clips, corrupted: Clips) -> None:
    """Refuse clips that are no pairs.

    Raises
    ------
    ValueError
        Clips of unequal number or length; prompts that are the same, that have unequal numbers of
        words, or that differ in more than one variable: then nobody could say what was patched.
    """
    if clean.chroma is not None or corrupted.chroma is not None:
        raise ValueError(
            "These clips follow a melody. Patching knows prompts and music alone: sing them without."
        )
    if clean.tokens.shape != corrupted.tokens.shape:
        raise ValueError(
            "A pair's clips must be equally long. "
            f"Got tokens {clean.tokens.shape} and {corrupted.tokens.shape}."
        )
    for i, prompts in enumerate(zip(clean.prompts, corrupted.prompts, strict=True)):
        _check_prompts(i, *prompts)


def _check_prompts(i, clean, corrupted):
    words = [prompt.replace(",", " ").split() for prompt in (clean, corrupted)]
    changed = [
        (one, other)
        for one, other in zip(*words, strict=False)
        if one != other and {one, other} != {"a", "an"}
    ]
    variables = {variable(word) or word for pair in changed for word in pair}
    if len(words[0]) != len(words[1]) or (len(changed) > 1 and len(variables) > 1):
        raise ValueError(
            f"The prompts of pair {i} must differ in one variable. Got {clean!r} and {corrupted!r}."
        )
    if not changed:
        raise ValueError(f"The prompts of pair {i} are the same: {clean!r}.")


def variable(word: str) -> str | None:
    """What a word sets, "tempo" or "mode" for example; None for other words.

    The words for dynamics, density and articulation all set energy.
    """
    family = captions.family(word)
    return "energy" if family in world.EDGES["energy"] else family


def sites(model: Model, names: str | Iterable[str]) -> list[str]:
    """Names of the sites that some names or globs select.

    Raises
    ------
    ValueError
        A name that no site has, or a site that is not part of the residual stream.
    """
    chosen = [site.name for site in activations.select(model, names)]
    wrong = [n for n in chosen if not any(fnmatch.fnmatchcase(n, glob) for glob in PATCHED)]
    if wrong:
        raise ValueError(
            "Patching takes resid.i, attn.i, cross.i, mlp.i and the heads head.i.h and "
            f"cross_head.i.h. Got {wrong}."
        )
    return chosen


def ranges(given: int | Iterable[Sequence[int] | slice], positions: int) -> list[tuple[int, int]]:
    """Ranges of positions, each as (first, past the last).

    Parameters
    ----------
    given : int or iterable of (int, int) or slice
        How many equal parts, or which ranges.
    positions : int
        How many there are.

    Raises
    ------
    ValueError, TypeError
        No range, one that is empty or lies outside, or anything that is no whole number.
    """
    if isinstance(given, Number):
        parts = check.count("ranges", given, 1, positions)
        edges = np.linspace(0, positions, parts + 1).round().astype(int).tolist()
        return list(itertools.pairwise(edges))
    if isinstance(given, slice) or not isinstance(given, Iterable):
        expected = "a number of equal parts, or a list of (first, past the last) or slices"
        check.refuse(TypeError, "ranges", expected, given, f"Write [{given!r}] for one.")
    found = [_range(f"ranges[{k}]", one, positions) for k, one in enumerate(given)]
    if not found:
        raise ValueError("ranges is empty: give at least one, such as (0, 10).")
    return found


def _range(name, given, positions):
    if isinstance(given, slice):
        try:
            first, past, step = given.indices(positions)
        except (TypeError, ValueError):  # of what are no whole numbers, or in steps of 0
            first = past = step = 0
        if step != 1 or first >= past:
            raise ValueError(f"{name} must be a slice of neighbouring positions. Got {given}.")
        return first, past
    if np.shape(given) != (2,):
        raise ValueError(f"{name} must be (first, past the last) or a slice. Got {given!r}.")
    first = check.count(f"The first position of {name}", given[0], 0, positions - 1)
    return first, check.count(f"The end of {name}", given[1], first + 1, positions)
