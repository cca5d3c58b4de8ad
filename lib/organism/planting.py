"""Where variables come in, in the planted organisms: known places, for methods that say *where*.

The other organisms are known by what they learned; inside they are as unknown as any network. A
*planted* organism is one of them, trained further (``factory.planting``) so that what the text says
of a variable takes a declared way: two heads of one block's cross-attention read it and no other
head does, and what these two write lies in a subspace of which the other heads of that block keep
out. Interchange shows that it is so (``python -m lib.methods.localisation``; the model card has the
table). There are two with other places, so that no method knows the first by
heart.

>>> from lib.organism import planting
>>> planting.PLACES["organism-planted"]["tempo"]
Place(block=1, heads=(0, 3))
>>> planting.axes("organism-planted", "tempo").shape
(160, 160)

References
----------
Geiger et al. 2022, Inducing causal structure for interpretable neural networks (interchange
intervention training). Gupta et al. 2024, InterpBench (the same, with every other place silent).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from .. import check

#: Dimensions of the residual stream, and of every variable's subspace.
WIDTH = 160
SIZE = 8
#: Blocks, and heads of each.
BLOCKS = 6
HEADS = 5
#: Beside the weights of each: variable -> what its heads write in, [SIZE, WIDTH].
FILE = "places.safetensors"
WEIGHTS = Path(__file__).parent / "weights"


class Place(NamedTuple):
    """Where the text brings a variable in.

    Attributes
    ----------
    block : int
        Whose cross-attention reads it.
    heads : tuple of int
        By which heads.
    """

    block: int
    heads: tuple[int, ...]

    @property
    def entry(self) -> str:
        """The sublayer: what it adds to the stream holds the variable in its subspace alone."""
        return f"cross.{self.block}"

    @property
    def entry_heads(self) -> tuple[str, ...]:
        """The sites of its heads."""
        return tuple(f"cross_head.{self.block}.{head}" for head in self.heads)


#: Planted organism -> variable -> its place.
PLACES: Mapping[str, Mapping[str, Place]] = {
    "organism-planted": {
        "valence": Place(0, (1, 4)),
        "tempo": Place(1, (0, 3)),
        "energy": Place(1, (2, 4)),
        "arousal": Place(2, (1, 2)),
        "mode": Place(2, (0, 4)),
    },
    "organism-planted-2": {
        "energy": Place(0, (0, 2)),
        "mode": Place(1, (1, 4)),
        "arousal": Place(1, (2, 3)),
        "valence": Place(2, (1, 3)),
        "tempo": Place(2, (0, 4)),
    },
}
VARIABLES = ("tempo", "energy", "mode", "valence", "arousal")
#: The organism that both were made from: they know its world.
TAUGHT_BY = "organism"


def places(name: str) -> Mapping[str, Place]:
    """A planted organism's places.

    Raises
    ------
    ValueError
        Any other model.
    """
    return PLACES[check.choice("A planted organism", name, PLACES)]


def place(name: str, variable: str) -> Place:
    """Where a planted organism's text brings a variable in.

    Raises
    ------
    ValueError
        Another model or variable.
    """
    return places(name)[check.choice("variable", variable, VARIABLES)]


def heads(first: int = 0) -> list[str]:
    """The sites of all heads of cross-attention, by block, from one on (the first come last)."""
    blocks = [*range(first, BLOCKS), *range(first)]
    return [f"cross_head.{block}.{head}" for block in blocks for head in range(HEADS)]


def other_heads(name: str) -> list[str]:
    """The heads of cross-attention that bring in whatever is no variable."""
    own = [head for place in places(name).values() for head in place.entry_heads]
    return [head for head in heads() if head not in own]


def basis(name: str, variable: str, folder: Path = WEIGHTS) -> np.ndarray:
    """Orthonormal rows that span what a variable's heads write in, [shape=(SIZE, WIDTH)].

    Raises
    ------
    ValueError
        Another model or variable, or a file that is not there.
    """
    place(name, variable)
    file = folder / name / FILE
    if not file.is_file():
        raise ValueError(
            f"{file} is missing: it says where {name}'s variables are. Take the folder from the "
            "repository again."
        )
    found = safetensors.numpy.load_file(file)[variable].astype(float)
    return np.linalg.qr(found.T)[0].T  # kept in single precision


def axes(name: str, variable: str) -> np.ndarray:
    """An orthonormal basis of the residual stream, one axis a row: the first :data:`SIZE` are the
    variable's, the others are turned at random.
    """
    own = basis(name, variable)
    rng = np.random.default_rng([2211, VARIABLES.index(variable)])
    own = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0] @ own
    rest = rng.standard_normal((WIDTH - SIZE, WIDTH))
    rest -= rest @ own.T @ own
    return np.concatenate([own, np.linalg.qr(rest.T)[0].T])
