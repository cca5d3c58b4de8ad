"""Directions to compare an SAE with: neurons, principal components, random ones."""

import numpy as np
import torch

from ... import check
from .batches import Rows
from .placing import back, home

KINDS = ("neurons", "pca", "random")


def comparisons(acts, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Directions to hold single features of an SAE against, whose coordinates need no training.

    Parameters
    ----------
    acts : as for ``sae.train``
        What principal components are found on.
    n : int
        How many random directions: as many as the SAE has features.
    seed : int
        Of the random directions.

    Returns
    -------
    dict
        "neurons", "principal components" and "random directions" -> array [direction, dim] of unit
        length, float32. The first two are as many as there are dimensions.
    """
    components = Basis(acts, "pca", 1).W_dec.numpy()
    drawn = np.random.default_rng(seed).normal(size=(check.count("n", n), components.shape[1]))
    drawn = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return {
        "neurons": np.eye(components.shape[1], dtype=np.float32),
        "principal components": components,
        "random directions": drawn.astype(np.float32),
    }


class Basis:
    """Vectors by their k largest coordinates in a fixed orthonormal basis.

    Parameters
    ----------
    acts : as for ``sae.train``
    kind : "neurons", "pca" or "random"
    k : int
        How many coordinates a vector may keep: what an SAE is given, too.
    seed : int
        Of the random basis.

    Attributes
    ----------
    W_dec : torch.Tensor [shape=(dim, dim)], float32
        The directions, one a row.
    mean : torch.Tensor [shape=(dim,)], float32
    """

    def __init__(self, acts, kind: str, k: int, seed: int = 0):
        check.choice("kind", kind, KINDS)
        rows = Rows(acts, 1024, seed)
        self.kind = kind
        self.k = check.count("k", k, 1, rows.dim)
        self.mean = torch.from_numpy(rows.mean)
        self.W_dec = torch.from_numpy(_directions(rows, kind, seed).astype(np.float32).copy())

    def to(self, device) -> "Basis":
        """Move it to a device."""
        self.mean = self.mean.to(device)
        self.W_dec = self.W_dec.to(device)
        return self

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """All coordinates of vectors [..., dim]; of them, ``__call__`` keeps the k largest."""
        return (x - self.mean) @ self.W_dec.T

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """From coordinates to vectors."""
        return z @ self.W_dec + self.mean

    def keep(self, z: torch.Tensor) -> torch.Tensor:
        """Zero all but the k coordinates with the largest size."""
        top = z.abs().topk(self.k, dim=-1).indices
        return torch.zeros_like(z).scatter(-1, top, z.gather(-1, top))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Vectors as they are with k coordinates, on the device and in the precision of ``x``."""
        return back(self.decode(self.keep(self.encode(home(self, x)))), x)


def _directions(rows, kind, seed):
    """An orthonormal basis, one direction a row, float64; principal components with the largest
    first."""
    if kind == "neurons":
        return np.eye(rows.dim)
    if kind == "random":
        return np.linalg.qr(np.random.default_rng(seed).normal(size=(rows.dim, rows.dim)))[0]
    scatter = np.zeros((rows.dim, rows.dim))
    for block in rows.blocks:
        centred = rows.read(block).astype(np.float64) - rows.mean
        scatter = scatter + centred.T @ centred
    return np.linalg.eigh(scatter)[1].T[::-1]
