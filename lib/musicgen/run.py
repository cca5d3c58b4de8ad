"""What one call is about: its clips, its streams and, for every pass, who reads or changes which
site.

All that a pass depends on travels as an argument. A :class:`Run` says what the rows of a batch are;
:class:`Visitors` are called at every site on the way. Nothing of it is left on the model.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch

#: Order of the rows of a batch under classifier-free guidance: first all conditional ones, then
#: all unconditional ones.
STREAMS = ("cond", "uncond")
#: The stream that reads other prompts over the same tokens (``generate(..., beside=prompts)``).
BESIDE = "beside"

#: Number of a step: an integer, or, where the same launches run at every step, a tensor [1] on the
#: device that is changed in place.
Position = int | torch.Tensor
Visitor = Callable[[torch.Tensor, Position], "torch.Tensor | None"]


def take(values: torch.Tensor, axis: int, position: Position, count: int = 1) -> torch.Tensor:
    """So many steps of values along an axis, from a position on: one, if that is a tensor."""
    if isinstance(position, int):
        return values.narrow(axis, position, count)
    return values.index_select(axis, position)


def put(values: torch.Tensor, axis: int, position: Position, step: torch.Tensor) -> None:
    """Write one step of values, in place."""
    if isinstance(position, int):
        values.narrow(axis, position, 1).copy_(step)
    else:
        values.index_copy_(axis, position, step)


@dataclass(frozen=True)
class Part:
    """Which clips of a larger call a call is about, so that work in pieces is the same as work at
    once.

    Attributes
    ----------
    clips : tuple of int
        Their numbers in the larger call.
    total : int
        How many the larger call has.
    """

    clips: tuple[int, ...]
    total: int

    def __post_init__(self):
        object.__setattr__(self, "clips", tuple(int(clip) for clip in self.clips))
        if any(not 0 <= clip < self.total for clip in self.clips):
            raise ValueError(
                f"A part's clips must be numbers from 0 to {self.total - 1}. Got {self.clips}."
            )

    def __getitem__(self, batch: Iterable[int]) -> "Part":
        """Some clips of this part."""
        return replace(self, clips=tuple(self.clips[i] for i in batch))


@dataclass(frozen=True)
class Run:
    """What the rows of a batch inside the language model are.

    Attributes
    ----------
    part : Part
        The clips: as many rows for each stream.
    streams : tuple of str
        First all rows of the first stream, then those of the next.
    frames : int
        Frames of each clip (a pass has more positions: the delay pattern's).
    lengths : tuple of int
        Text tokens of each clip's own prompt.
    """

    part: Part
    streams: tuple[str, ...]
    frames: int
    lengths: tuple[int, ...]


class Visitors:
    """Who reads or changes what at which site: functions ``(values, position) -> values or None``,
    called in order.

    ``values`` are [row, step, dim] ([row, codebook, step, card] at ``logits``), ``position`` is
    that of the first step. What a function returns takes the place of the values; None leaves them.
    """

    def __init__(
        self, functions: Mapping[str, Iterable[Visitor]] | None = None, position: Position = 0
    ):
        self.functions = {site: tuple(some) for site, some in (functions or {}).items() if some}
        self.position = position
        self._heads = {}
        for site in self.functions:
            kind, _, place = site.partition(".")
            if kind in ("head", "cross_head"):
                block, _, head = place.partition(".")
                self._heads.setdefault((kind, int(block)), []).append(int(head))

    def __call__(self, site: str, values: torch.Tensor) -> torch.Tensor:
        """The values of a site after everybody has seen them."""
        for function in self.functions.get(site, ()):
            changed = function(values, self.position)
            values = values if changed is None else changed
        return values

    def __contains__(self, site: str) -> bool:
        return site in self.functions

    def heads(self, kind: str, block: int) -> list[int]:
        """Which heads of a block somebody wants to see; kind "head" or "cross_head"."""
        return self._heads.get((kind, block), [])

    @property
    def repeatable(self) -> bool:
        """Whether all of them run the same operators at every step, and read nothing back: then the
        position may be a tensor (:func:`repeatable`).
        """
        every = [function for some in self.functions.values() for function in some]
        return all(getattr(function, "repeatable", False) for function in every)

    def at(self, position: Position) -> "Visitors":
        """The same, for a pass that begins at another position."""
        moved = object.__new__(Visitors)
        moved.functions = self.functions
        moved._heads = self._heads
        moved.position = position
        return moved

    def __add__(self, other: "Visitors") -> "Visitors":
        """These first, then the others."""
        sites = {**self.functions, **other.functions}
        both = {
            site: self.functions.get(site, ()) + other.functions.get(site, ()) for site in sites
        }
        return Visitors(both, self.position)


NOBODY = Visitors()


def keeping(sites: Iterable[str]) -> tuple[Visitors, dict[str, torch.Tensor]]:
    """Visitors that keep what some sites hold in one pass, and where: site -> [row, step, dim]."""
    kept = {}

    def keeper(site):
        def keep(values, position):
            kept[site] = values

        return keep

    return Visitors({site: [keeper(site)] for site in sites}), kept


def repeatable(function: Callable) -> Callable:
    """Mark a function of a site's values that runs the same operators at every step and reads
    nothing back, so that its launches may be captured once and run again (a CUDA graph).

    Raises
    ------
    TypeError
        It is no function.
    """
    if not callable(function):
        raise TypeError(f"repeatable marks a function of a site's values. Got {function!r}.")
    function.repeatable = True
    return function
