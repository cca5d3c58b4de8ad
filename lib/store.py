"""Labelled arrays on disk, written piece by piece: what does not fit in memory, and what a kill must not lose.

A store is a zarr group that ``xarray.open_zarr`` reads. Its clips are written in pieces, one chunk a piece, and a piece
counts only when its flag is set after its data: a run killed at any moment goes on where it was, nothing lost, nothing
doubled. Any URL that fsspec knows will do ("s3://bucket/run", "memory://run", a path).
"""

import errno
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import psutil
import xarray as xr
import zarr

DONE = "piece_done"


class StoreError(ValueError):
    """A store cannot be used: the message says why and what to do."""


class Store:
    """A store being filled.

    Parameters
    ----------
    url : str or Path
    arrays : dict
        name -> (dims, shape, dtype). The first dim of each is ``clip``.
    coords : xarray.Dataset
        Coordinates, known beforehand.
    identity : dict
        What the content follows from (model, sites, prompts, ...), as JSON. A store made of other things is refused.
    piece : int
        Clips a piece.

    Raises
    ------
    StoreError
        If ``url`` holds a store with another identity, or something that is no store, or the disk is too small.
    """

    def __init__(self, url, arrays: dict, coords: xr.Dataset, identity: dict, piece: int = 16):
        self.url, self.piece, self.names = str(url), piece, set(arrays)
        self.clips = next(iter(arrays.values()))[1][0]
        identity = json.loads(json.dumps({**identity, "piece": piece}, sort_keys=True))
        found = _open_group(self.url)
        if found is None or found.attrs.get("unfinished"):  # no store, or one killed while it was made
            if found is None and "://" not in self.url and Path(self.url).exists():
                raise StoreError(f"{self.url} exists and is not a store of activations. Choose another place.")
            _check_space(self.url, arrays)
            self.group = _create(self.url, arrays, coords, identity, piece, -(-self.clips // piece))
            return
        there = found.attrs.get("identity")
        if there is None:
            raise StoreError(f"{self.url} exists and is not a store of activations. Choose another place.")
        if different := sorted(k for k in {*there, *identity} if there.get(k) != identity.get(k)):
            said = "; ".join(f"{k}: {_short(there.get(k))} there, {_short(identity.get(k))} now" for k in different)
            raise StoreError(f"{self.url} was written from something else ({said}). Choose another place or delete it.")
        self.group = found

    @property
    def todo(self) -> list[slice]:
        """The pieces not yet written, or whose data has been lost since (a copy of a part, say), as slices of clips."""
        flags = self.group[DONE][:]
        arrays = [a for name, a in self.group.arrays() if name in self.names]
        if any(a.nchunks_initialized < flags.sum() for a in arrays):
            for k in map(int, np.flatnonzero(flags)):
                if any(_blank(a[k * self.piece : (k + 1) * self.piece]) for a in arrays):
                    flags[k] = self.group[DONE][k] = 0
        return [
            slice(k * self.piece, min((k + 1) * self.piece, self.clips)) for k in map(int, np.flatnonzero(flags == 0))
        ]

    def write(self, where: slice, arrays: dict[str, np.ndarray]) -> None:
        """Write one piece, then its flag.

        Raises
        ------
        StoreError
            If the disk is full: the pieces written before are kept.
        """
        try:
            with zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is not there is lost
                for name, values in arrays.items():
                    self.group[name][where] = values
            self.group[DONE][where.start // self.piece] = 1
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreError(
                f"No space left for {self.url}. Everything up to clip {where.start} is kept: free some space, or choose "
                "fewer sites, reduce='mean' or dtype='float16', and run the same call again."
            ) from error


def open(url) -> xr.Dataset:
    """A finished store as a Dataset whose arrays are read only where they are used.

    Raises
    ------
    StoreError
        If there is no store, or pieces are missing.
    """
    group = _open_group(str(url))
    if group is None or "identity" not in group.attrs:
        raise StoreError(f"There is no store of activations at {url}.")
    missing = int((group[DONE][:] == 0).sum())
    if missing:
        raise StoreError(f"{missing} of {group[DONE].shape[0]} pieces of {url} are not written yet: run capture again.")
    aside = {DONE, "clip", *group.attrs["coordinates"].split()}
    data = [a for n, a in group.arrays() if a.attrs["_ARRAY_DIMENSIONS"][:1] == ["clip"] and n not in aside]
    lost = [a.nchunks - a.nchunks_initialized for a in data]
    if any(lost):
        raise StoreError(
            f"Data of {max(lost)} of {group[DONE].shape[0]} pieces of {url} has been lost since it was written (was "
            "it copied in part?): run capture again, which writes them anew."
        )
    dataset = xr.open_zarr(str(url), chunks=None, consolidated=False, zarr_format=2, decode_times=False)
    return dataset.drop_vars(DONE).assign_attrs(identity=group.attrs["identity"])


def _check_space(url, arrays):
    """Refuse what the disk (or memory://) cannot hold, before any of it is computed; other URLs' space is not known."""
    url = url.removeprefix("file://")
    if "://" in url and not url.startswith("memory://"):
        return
    needed = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for _, shape, dtype in arrays.values())
    there = next(folder for folder in [Path(url).absolute(), *Path(url).absolute().parents] if folder.exists())
    left = psutil.virtual_memory().available if "://" in url else shutil.disk_usage(there).free
    if needed > left:
        raise StoreError(
            f"{url} would take {needed / 1e9:.1f} GB, and {left / 1e9:.1f} GB are free. Choose another place, fewer sites, "
            "reduce='mean' or dtype='float16'."
        )


def _create(url, arrays, coords, identity, piece, pieces):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numcodecs warns of its own renaming
        xr.Dataset(coords=coords.coords, attrs={"unfinished": 1}).to_zarr(
            url, mode="w", zarr_format=2, consolidated=False
        )
    group = zarr.open_group(url, mode="r+", zarr_format=2)
    for name, (dims, shape, dtype) in arrays.items():
        array = group.create_array(
            name, shape=shape, chunks=(piece, *shape[1:]), dtype=dtype, compressors=None,
            fill_value=np.nan if np.dtype(dtype).kind == "f" else None,  # xarray would read a fill value as NaN
        )  # fmt: skip
        array.attrs.update({"_ARRAY_DIMENSIONS": list(dims)})
    done = group.create_array(DONE, shape=(pieces,), chunks=(1,), dtype="u1", compressors=None, fill_value=0)
    done.attrs["_ARRAY_DIMENSIONS"] = ["piece"]
    aside = " ".join(str(n) for n in coords.coords if n not in coords.dims)
    group.attrs.put({"coordinates": aside, "identity": identity})
    return group


def _blank(values):
    """Whether nothing was ever written there."""
    return bool(np.isnan(values).all() or not np.any(values))


def _open_group(url):
    try:
        return zarr.open_group(url, mode="r+", zarr_format=2)
    except (FileNotFoundError, zarr.errors.GroupNotFoundError):
        return None


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
