"""Activations as training reads them: shuffled across clips, from memory or from a store, and the same again from any
batch on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import xarray as xr

BLOCK = 16  # clips read together: the piece in which a store is written
BUFFER = 256 * 2**20  # bytes of activations shuffled together


class Rows:
    """Activations as an endless, shuffled stream of batches that follows from the seed alone.

    Blocks of clips are read in a new order in every pass, shuffled in a buffer across clips, while the next buffer is
    read in the background. ``batches(first)`` goes on after ``first`` batches without reading what lies before.

    Attributes
    ----------
    n, dim : int
    mean : np.ndarray [shape=(dim,)]
    scale : float
        Root mean square of what is left after the mean is taken off.
    """

    def __init__(self, acts, batch_size: int, seed: int):
        self.acts = acts if isinstance(acts, xr.DataArray) else np.asarray(acts)
        if self.acts.ndim not in (2, 3):
            raise ValueError(f"acts must be [clip, frame, dim] or [row, dim]. Got shape {self.acts.shape}.")
        self.dim, self.seed = self.acts.shape[-1], seed
        size = BLOCK if self.acts.ndim == 3 else 4096
        self.blocks = [slice(s, s + size) for s in range(0, len(self.acts), size)]
        counts, total, square = [], np.zeros(self.dim), np.zeros(self.dim)
        for block in self.blocks:
            x = self.read(block).astype(np.float64)
            counts.append(len(x))
            total, square = total + x.sum(0), square + (x**2).sum(0)
        self.counts, self.n = np.array(counts), sum(counts)
        if not self.n:
            raise ValueError("acts holds no activation.")
        self.mean = (total / self.n).astype(np.float32)
        variance = float(np.mean(square / self.n - (total / self.n) ** 2))
        if not np.isfinite(variance):
            raise ValueError("acts holds NaN or infinite values in rows that are not wholly missing.")
        if variance <= 1e-12 * max(1.0, float(np.mean(square / self.n))):
            raise ValueError("acts are constant: there is nothing to learn.")
        self.scale, self.batch_size = variance**0.5, min(batch_size, self.n)

    def read(self, block: slice) -> np.ndarray:
        """Rows of one block that are not missing, float32 [n, dim]."""
        x = np.asarray(self.acts[block], np.float32).reshape(-1, self.dim)
        return x[~np.isnan(x).all(1)]

    def buffers(self, passed: int) -> list[np.ndarray]:
        """Which blocks are shuffled together in one pass over the data, in order."""
        order = np.random.default_rng([self.seed, passed]).permutation(len(self.blocks))
        filled = np.cumsum(self.counts[order]) // max(1, BUFFER // (4 * self.dim))
        return [order[filled == b] for b in np.unique(filled)]

    def batches(self, first: int = 0) -> Iterator[torch.Tensor]:
        """Normalised batches [batch_size, dim], from batch number ``first`` on."""
        plan = self._plan(first)
        with ThreadPoolExecutor(1) as reader:
            passed, blocks, skip = next(plan)
            ahead = reader.submit(self._load, passed, blocks)
            for passed, blocks, following in plan:
                x, ahead = ahead.result(), reader.submit(self._load, passed, blocks)
                for start in range(skip * self.batch_size, len(x) - self.batch_size + 1, self.batch_size):
                    yield x[start : start + self.batch_size]
                skip = following

    def _plan(self, first):
        """(pass, blocks, batches to skip) of every buffer that is to be read, without end."""
        passed, done = 0, 0
        while True:
            for blocks in self.buffers(passed):
                inside = int(self.counts[blocks].sum()) // self.batch_size
                if done + inside > first:
                    yield passed, blocks, max(0, first - done)
                done += inside
            passed += 1

    def _load(self, passed, blocks):
        x = np.concatenate([self.read(self.blocks[b]) for b in blocks])
        order = np.random.default_rng([self.seed, passed, int(blocks[0])]).permutation(len(x))
        return torch.from_numpy(((x - self.mean) / np.float32(self.scale))[order])
