"""Activations as training reads them: shuffled across clips, from memory or from a store, and the
same again from any batch on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import xarray as xr

from ... import cache, check

#: Clips read together: the piece in which a store is written.
BLOCK = 16
#: Rows read together where there are no clips.
ROWS = 4096
#: Bytes of activations shuffled together, and of what an SAE makes of rows at once.
BUFFER = 256 * 2**20


def vectors(acts):
    """Activations with clips first and vectors last, whatever order a labelled array has them in;
    tensors as arrays.

    Raises
    ------
    TypeError
        Anything but real numbers.
    """
    if not isinstance(acts, xr.DataArray):
        acts = np.asarray(check.untensored(acts))
    if acts.dtype.kind not in "iuf":
        kind = f"{acts.dtype} of shape {acts.shape}"
        check.refuse(TypeError, "acts", "an array of real numbers", kind)
    last = [dim for dim in ("dim", "text_dim") if dim in getattr(acts, "dims", ())]
    if not last:
        return acts
    first = ["clip"] if "clip" in acts.dims else []
    return acts.transpose(*first, ..., *last)


def together(acts, s) -> Iterator[np.ndarray]:
    """Activations of some clips at a time, float32: as many as bound what an SAE makes of them.

    Parameters
    ----------
    acts : xr.DataArray [dims=(clip, frame or token, dim)]
    s : sae_lens.SAE or Basis
    """
    a_clip = 4 * acts.shape[1] * max(s.W_dec.shape)
    clips = max(1, min(BLOCK, BUFFER // a_clip))
    for start in range(0, len(acts), clips):
        yield np.asarray(acts[start : start + clips], np.float32)


class Rows:
    """Activations as an endless, shuffled stream of batches that follows from the seed alone.

    Blocks of clips are read in a new order in every pass, shuffled in a buffer across clips, while
    the next buffer is read in the background. ``batches(first)`` goes on after ``first`` batches
    without reading what lies before.

    Parameters
    ----------
    acts : xr.DataArray [dims=(clip, frame or token, dim)] or array_like [shape=(row, dim)]
        Rows that are wholly NaN are missing and left out.
    batch_size, seed : int
    parts : int
        Of how many vectors of equal length a row is put together, each with a scale of its own:
        two where one is to be told from the other.

    Attributes
    ----------
    n, dim : int
        Rows, and numbers in each.
    mean : np.ndarray [shape=(dim,)]
    scale : float
        Root mean square of what is left after the mean is taken off.
    scales : np.ndarray [shape=(dim,)]
        The same of each part.
    content : str
        A hash of all rows: other activations have another, whatever their shape and scale.

    Raises
    ------
    ValueError, TypeError
        Neither two nor three axes; no row; infinite or partly missing rows; constant activations;
        anything but real numbers.
    """

    def __init__(self, acts, batch_size: int, seed: int, parts: int = 1):
        self.acts = vectors(acts)
        if self.acts.ndim not in (2, 3):
            raise ValueError(
                f"acts must be [clip, frame, dim] or [row, dim]. Got shape {self.acts.shape}."
            )
        self.dim = self.acts.shape[-1]
        self.seed = seed
        self.parts = parts
        size = BLOCK if self.acts.ndim == 3 else ROWS
        self.blocks = [slice(start, start + size) for start in range(0, len(self.acts), size)]
        self._measure()
        self.batch_size = min(batch_size, self.n)

    def _measure(self):
        """Count, mean, scale and content of all rows, in one pass over them."""
        counts = []
        hashes = []
        total = np.zeros(self.dim)
        square = np.zeros(self.dim)
        for block in self.blocks:
            rows = self.read(block)
            hashes.append(cache.digest(rows))
            rows = rows.astype(np.float64)
            counts.append(len(rows))
            total = total + rows.sum(0)
            square = square + (rows**2).sum(0)
        self.counts = np.array(counts)
        self.n = sum(counts)
        if not self.n:
            raise ValueError("acts holds no activation.")
        self.mean = (total / self.n).astype(np.float32)
        each = square / self.n - (total / self.n) ** 2
        variance = float(each.mean())
        if not np.isfinite(variance):
            raise ValueError(
                "acts holds NaN or infinite values in rows that are not wholly missing."
            )
        of_parts = each.reshape(self.parts, -1).mean(1)
        if of_parts.min() <= 1e-12 * max(1.0, float(np.mean(square / self.n))):
            raise ValueError("acts are constant: there is nothing to learn.")
        self.scale = variance**0.5
        self.scales = np.repeat(of_parts**0.5, self.dim // self.parts).astype(np.float32)
        self.content = cache.digest(hashes)

    def read(self, block: slice) -> np.ndarray:
        """Rows of one block that are not missing, float32 [row, dim]."""
        rows = np.asarray(self.acts[block], np.float32).reshape(-1, self.dim)
        return rows[~np.isnan(rows).all(1)]

    def buffers(self, number: int) -> list[np.ndarray]:
        """Which blocks are shuffled together in one pass over the data, in order."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.blocks))
        rows_at_once = max(1, BUFFER // (4 * self.dim))
        filled = np.cumsum(self.counts[order]) // rows_at_once
        return [order[filled == buffer] for buffer in np.unique(filled)]

    def batches(self, first: int = 0) -> Iterator[torch.Tensor]:
        """Normalised batches [batch_size, dim], from batch number ``first`` on, without end."""
        plan = self._plan(first)
        with ThreadPoolExecutor(1) as reader:
            number, blocks, skip = next(plan)
            ahead = reader.submit(self._load, number, blocks)
            for number, blocks, next_skip in plan:
                rows = ahead.result()
                ahead = reader.submit(self._load, number, blocks)
                last = len(rows) - self.batch_size
                for start in range(skip * self.batch_size, last + 1, self.batch_size):
                    yield rows[start : start + self.batch_size]
                skip = next_skip

    def _plan(self, first):
        """(number of the pass, blocks, batches to skip) of every buffer that is to be read."""
        number = 0
        done = 0
        while True:
            for blocks in self.buffers(number):
                inside = int(self.counts[blocks].sum()) // self.batch_size
                if done + inside > first:
                    yield number, blocks, max(0, first - done)
                done += inside
            number += 1

    def _load(self, number, blocks):
        """Normalised rows of some blocks, shuffled."""
        rows = np.concatenate([self.read(self.blocks[block]) for block in blocks])
        order = np.random.default_rng([self.seed, number, int(blocks[0])]).permutation(len(rows))
        return torch.from_numpy(((rows - self.mean) / self.scales)[order])
