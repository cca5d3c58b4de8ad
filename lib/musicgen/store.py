"""Keep labelled arrays on disk that do not fit in memory, or that a kill must not lose.

A store is filled by one :class:`Store` or by several at once (each worker opens its own), and read
by :func:`open`, which gives the ``xarray.Dataset`` that memory would have held: the same order,
names, types and attributes, with arrays that are read only where they are used.

On disk it is a zarr group of format 2 that other programs can read, too, at any URL that fsspec
knows ("s3://bucket/run", "memory://run", a path). A bucket's address and credentials are read from
where AWS's own tools read them (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, a profile). Four rules keep it
honest:

- Clips are written in pieces, one chunk a piece, and a piece counts only when its flag is set,
  which happens after its data. A run that is killed at any moment goes on where it was.
- A store counts only when its attributes say what it follows from, and they are written last.
- Every chunk carries a checksum and is uncompressed, so that its size on disk is known: a chunk
  that is missing or cut short is found by listing, one whose bytes have changed when it is read.
- Names and their order are kept in the attributes. Keys on disk are made from names, and may differ
  from them: "word order" is kept under "word%20order", because xarray separates names by spaces.
"""

import contextlib
import errno
import json
import math
import os
import shutil
import sys
import urllib.parse
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

import fsspec
import numcodecs
import numpy as np
import pandas as pd
import psutil
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from .. import check

CHECKSUM = numcodecs.CRC32()
CHECKSUM_BYTES = 4
#: Key of the flags. No name gives it: in keys made from names "%" stands before two digits.
DONE = "%done"
#: Where xarray looks for the dims of an array.
DIMS = "_ARRAY_DIMENSIONS"
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
#: Protocols of buckets, and what reads them: extra "scale".
BUCKETS = ("s3", "s3a")


class StoreError(ValueError):
    """A store cannot be used: the message says why and what to do."""


class Unreachable(StoreError):
    """What is at a URL could be neither read nor written: it says nothing of the data there."""


class Store:
    """A store being filled.

    Parameters
    ----------
    url : str or Path
    arrays : dict
        name -> (dims, shape, dtype). The first dim of each is ``clip``.
    coords : xarray.Dataset
        Coordinates, and the attributes that the finished dataset has; known beforehand.
    identity : dict
        What the content follows from (model, sites, prompts, ...), as JSON or as digests. A store
        made of other things is refused.
    piece : int
        Clips a piece, of a store that is made here. One that is there already keeps its own
        (:attr:`piece`), because its content does not depend on it.

    Raises
    ------
    StoreError
        If ``url`` holds a store with another identity, or something that is no store, or the disk
        is too small; or ``url`` cannot be reached.
    """

    def __init__(
        self,
        url: str | Path,
        arrays: Mapping[str, tuple],
        coords: xr.Dataset,
        identity: dict,
        piece: int = 16,
    ):
        self.url = _address(url)
        self.piece = check.count("piece", piece)
        self.arrays = dict(arrays)
        self.clips = next(iter(self.arrays.values()))[1][0]
        coords = _plain_coordinates(coords)
        self.keys = _keys([*coords.coords, *self.arrays])
        with _reaching(self.url):
            self.group = self._made(coords, self._manifest(coords, identity))

    def _made(self, coords, manifest):
        """The group of the store, which is made where there is none."""
        group = _open_group(self.url)
        if group is None or _unfinished(group):
            _refuse_what_is_no_store(self.url, group)
            _check_space(self.url, self.arrays)
            return self._create(coords, manifest)
        _refuse_another(self.url, group, manifest)
        self.piece = group.attrs["identity"]["piece"]
        self._mend_coordinates(group, coords)
        return group

    @property
    def todo(self) -> list[slice]:
        """Pieces not yet written, or whose data has been lost since, as slices of clips."""
        with _reaching(self.url):
            written = self.group[DONE][:] > 0
            lost = written & ~_whole_pieces(self.url, self.group, self._array_keys())
            for number in np.flatnonzero(lost).tolist():
                self.group[DONE][number] = 0
        missing = np.flatnonzero(~written | lost).tolist()
        return [self._slice(number) for number in missing]

    def write(self, where: slice, arrays: Mapping[str, np.ndarray]) -> None:
        """Write one piece, then its flag.

        Parameters
        ----------
        where : slice
            One of ``todo``.
        arrays : dict
            name -> values of these clips, for every array of the store.

        Raises
        ------
        ValueError
            No piece of this store, an array missing or unknown, or values of another shape.
        StoreError
            If the disk is full, or the store cannot be reached any more: the pieces written
            before are kept.
        """
        number = self._number(where)
        values = self._checked(where, arrays)
        try:
            with _reaching(self.url):
                for name, piece in values.items():
                    _write(self.group[self.keys[name]], where, piece)
                self.group[DONE][number] = 1
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            raise StoreError(
                f"No space left for {self.url}. Everything up to clip {where.start} is kept: free "
                "some space, or choose fewer sites, reduce='mean' or dtype='float16', and run the "
                "same call again."
            ) from error

    def _slice(self, number):
        start = number * self.piece
        return slice(start, min(start + self.piece, self.clips))

    def _number(self, where):
        number = where.start // self.piece
        if where.step not in (None, 1) or self._slice(number) != slice(where.start, where.stop):
            raise ValueError(
                f"where must be a piece of {self.piece} clips, as in todo. Got {where!r}."
            )
        return number

    def _checked(self, where, arrays):
        """Every array of the store, in its shape and type."""
        if set(arrays) != set(self.arrays):
            raise ValueError(
                f"arrays must be {list(self.arrays)}, written together. Got {list(arrays)}."
            )
        values = {}
        for name, (_, shape, dtype) in self.arrays.items():
            expected = (where.stop - where.start, *shape[1:])
            given = np.asarray(arrays[name])
            if given.shape != expected:
                raise ValueError(f"{name} must have shape {expected}. Got {given.shape}.")
            values[name] = given.astype(dtype, copy=False)
            if np.dtype(dtype).kind in "iu" and not np.array_equal(values[name], given):
                raise ValueError(f"{name} holds numbers that {np.dtype(dtype)} cannot hold.")
        return values

    def _array_keys(self):
        return [self.keys[name] for name in self.arrays]

    def _manifest(self, coords, identity):
        """All that a store says of itself. Lists, not dicts, where the order counts."""
        layout = [
            [name, list(dims), list(shape), str(np.dtype(dtype))]
            for name, (dims, shape, dtype) in self.arrays.items()
        ]
        extras = [self.keys[name] for name in coords.coords if name not in coords.dims]
        manifest = {
            "identity": {**identity, "piece": self.piece, "arrays": layout},
            "arrays": [[name, self.keys[name]] for name in self.arrays],
            "coords": [[name, self.keys[name]] for name in coords.coords],
            "attributes": coords.attrs,
            "coordinates": " ".join(extras),  # where xarray looks for their names
        }
        return json.loads(json.dumps(manifest, default=_to_json))

    def _create(self, coords, manifest):
        group = zarr.create_group(
            self.url, overwrite=True, zarr_format=2, attributes={"unfinished": True}
        )
        self._write_coordinates(group, coords)
        for name, (dims, shape, dtype) in self.arrays.items():
            chunks = (self.piece, *shape[1:])
            _create_array(group, self.keys[name], dims, shape, chunks, dtype)
        pieces = math.ceil(self.clips / self.piece)
        _create_array(group, DONE, ("piece",), (pieces,), (1,), "u1", fill_value=0)
        group.attrs.put(manifest)
        return group

    def _write_coordinates(self, group, coords):
        for name, coordinate in coords.coords.items():
            key = self.keys[name]
            values = coordinate.values
            shape = values.shape
            array = _create_array(group, key, coordinate.dims, shape, shape, values.dtype)
            array.attrs.update(json.loads(json.dumps(coordinate.attrs, default=_to_json)))
            _write(array, ..., values)

    def _mend_coordinates(self, group, coords):
        """Write coordinates anew that were lost (in a copy of a part, say); refuse others."""
        try:
            there = _read_coordinates(self.url, group)
        except StoreError:
            self._write_coordinates(group, coords)
            return
        pairs = {name: (coords[name].variable, there[name].variable) for name in coords.coords}
        different = [name for name, (now, before) in pairs.items() if not now.identical(before)]
        if different:
            raise StoreError(
                f"{self.url} was written with other values of {different}. Choose another place "
                "or delete it."
            )


def open(url: str | Path) -> xr.Dataset:
    """A finished store as a Dataset whose arrays are read only where they are used.

    Parameters
    ----------
    url : str or Path

    Returns
    -------
    xr.Dataset
        What memory would have held.

    Raises
    ------
    StoreError
        If there is no store, or pieces are missing, or ``url`` cannot be reached. Later, where
        arrays are read: if data was damaged; the pieces concerned are then written anew by the call
        that made the store.
    """
    url = _address(url)
    with _reaching(url):
        return _opened(url)


def _opened(url):
    group = _finished(url)
    flags = group[DONE][:]
    missing = int((flags == 0).sum())
    if missing:
        raise StoreError(
            f"{missing} of {len(flags)} pieces of {url} are not written yet: run the call that "
            "made it again."
        )
    keys = dict(group.attrs["arrays"])
    lost = int((~_whole_pieces(url, group, keys.values())).sum())
    if lost:
        raise StoreError(
            f"Data of {lost} of {len(flags)} pieces of {url} has been lost since it was written "
            "(was it copied in part?): run the call that made it again, which writes them anew."
        )
    coords = _read_coordinates(url, group)
    arrays = {}
    for name, key in keys.items():
        arrays[name] = xr.Variable(group[key].attrs[DIMS], _lazy(url, group[key]))
    return coords.assign(arrays)


def identity(url: str | Path) -> dict:
    """What the content of a store follows from.

    Raises
    ------
    StoreError
        If there is no store, or it cannot be reached.
    """
    url = _address(url)
    with _reaching(url):
        return dict(_finished(url).attrs["identity"])


def verify(url: str | Path) -> list[int]:
    """Read a whole store and mark damaged pieces, so that they are written anew.

    Returns
    -------
    list of int
        Numbers of the damaged pieces; the call that made the store writes them again.

    Raises
    ------
    StoreError
        If there is no store, or it cannot be reached.
    """
    url = _address(url)
    with _reaching(url):
        return _damaged(url)


def _damaged(url):
    """Numbers of the damaged pieces, whose flags are taken away."""
    group = _finished(url)
    keys = dict(group.attrs["arrays"]).values()
    whole = _whole_pieces(url, group, keys)
    damaged = []
    for number in np.flatnonzero(group[DONE][:]).tolist():
        if not whole[number] or not all(_readable(group[key], number) for key in keys):
            group[DONE][number] = 0
            damaged.append(number)
    return damaged


def plain(values) -> np.ndarray:
    """Labels as an array that a store can hold, the same in memory and on disk.

    Numbers, truth values, times and text keep their type. What is missing (None, NaN, NA) stays
    missing: "" in text, NaN in numbers and in truth values.

    Parameters
    ----------
    values : array_like
        Also a column of a table, of any of pandas' types.

    Returns
    -------
    np.ndarray
        Of the same shape, and no array of objects.
    """
    # of a plain list numpy would make text, "nan" and "None" included, if one of its items is text
    values = np.asarray(values, dtype=None if hasattr(values, "dtype") else object)
    if values.dtype.kind in "biufcmM" or (values.dtype.kind == "U" and values.dtype.itemsize):
        return values
    missing = np.asarray(pd.isna(values))
    present = values[~missing].tolist()
    if present and all(isinstance(value, Real) for value in present):
        kind = np.asarray(present).dtype if not missing.any() else float
        return np.where(missing, np.nan, values).astype(kind)
    text = np.array(["" if pd.isna(value) else str(value) for value in values.ravel().tolist()])
    return text.reshape(values.shape).astype(text.dtype if text.dtype.itemsize else "<U1")


# ------------------------------------------------------------------------------------- what is read
class _OnDisk(BackendArray):
    """An array that is read where it is used; xarray indexes it as it does its own."""

    def __init__(self, url, array):
        self.url = url
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, key):
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)

    def _read(self, key):
        try:
            with _reaching(self.url):
                return self.array.oindex[key]
        except Unreachable:
            raise
        except (RuntimeError, ValueError) as error:  # the checksum differs, or there is none
            # where only reading is allowed, nothing is marked
            with contextlib.suppress(OSError, Unreachable):
                verify(self.url)
            raise StoreError(
                f"Data of {self.url} has been damaged since it was written. Run the call that made "
                "it again, which writes the damaged pieces anew."
            ) from error


def _lazy(url, array):
    """An array that xarray reads where it is used, and keeps in memory where all of it was read."""
    lazy = indexing.LazilyIndexedArray(_OnDisk(url, array))
    return indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))


def _read_coordinates(url, group):
    """Coordinates in memory, with their attributes and those of the dataset."""
    coords = {}
    for name, key in group.attrs["coords"]:
        try:
            array = group[key]
            if not _whole_chunks(url, array, 1)[0]:
                raise RuntimeError("a chunk is not whole")
            attributes = array.attrs.asdict()
            coords[name] = xr.Variable(attributes.pop(DIMS), np.asarray(array[...]), attributes)
        except (KeyError, RuntimeError, ValueError) as error:
            raise StoreError(
                f"The values of {name!r} in {url} have been lost or damaged since they were "
                "written: run the call that made the store again, which writes them anew."
            ) from error
    return xr.Dataset(coords=coords, attrs=group.attrs["attributes"])


def _whole_pieces(url, group, keys):
    """Which pieces have all their data, for all of these arrays: bool [piece]."""
    pieces = group[DONE].shape[0]
    whole = np.ones(pieces, bool)
    for key in keys:
        if key not in group:
            raise StoreError(f"{url} has lost its array {key!r}. Delete it and make it again.")
        whole &= _whole_chunks(url, group[key], pieces)
    return whole


def _whole_chunks(url, array, pieces):
    """Which chunks along the first axis are there in their full size: bool [piece].

    One listing, because a request for each chunk would take minutes on distant storage.
    """
    filesystem, root = fsspec.core.url_to_fs(url)
    folder = f"{root.rstrip('/')}/{array.basename}"
    filesystem.invalidate_cache(folder)
    found = filesystem.find(folder, detail=True)
    size = math.prod(array.chunks) * array.dtype.itemsize + CHECKSUM_BYTES
    rest = ".0" * (array.ndim - 1)
    files = [found.get(f"{folder}/{number}{rest}", {}) for number in range(pieces)]
    return np.array([file.get("size") == size for file in files])


def _readable(array, number):
    """Whether a piece of an array can be read: its checksum is that of its bytes."""
    size = array.chunks[0]
    try:
        array[number * size : (number + 1) * size]
    except (RuntimeError, ValueError):
        return False
    return True


# ---------------------------------------------------------------------------------- what is written
def _create_array(group, key, dims, shape, chunks, dtype, fill_value=None):
    array = group.create_array(
        key,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=[CHECKSUM],
        fill_value=fill_value,
        overwrite=True,
    )
    array.attrs[DIMS] = list(dims)
    return array


def _write(array, where, values):
    array = array.with_config({"write_empty_chunks": True})  # a chunk that is not there is lost
    array[where] = values


def _keys(names):
    """name -> key on disk.

    Names that differ in capitals alone get keys that differ otherwise, too: on some disks "Key"
    and "key" are one file.
    """
    keys = {}
    taken = set()
    for name in names:
        if not isinstance(name, str):
            raise StoreError(f"Names of labels and arrays must be text. Got {name!r}.")
        if name in keys:
            raise StoreError(f"{name!r} names both a label and an array: rename the label.")
        key = _key(name)
        while key.casefold() in taken:
            key += "~"
        taken.add(key.casefold())
        keys[name] = key
    return keys


def _key(name):
    """A name without spaces, slashes and what else a path or a URL cannot hold; no hidden file."""
    key = urllib.parse.quote(name, safe="")
    if key.startswith("."):
        key = f"%2E{key[1:]}"
    return key or "%00"


def _plain_coordinates(coords):
    """Coordinates without arrays of objects."""
    plain_ones = {}
    for name, coordinate in coords.coords.items():
        plain_ones[name] = (coordinate.dims, plain(coordinate.values), coordinate.attrs)
    return xr.Dataset(coords=plain_ones, attrs=coords.attrs)


def _to_json(value):
    """What JSON does not know: numpy's numbers and arrays; anything else as text."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


# ---------------------------------------------------------------------------- what is not to be had
@contextlib.contextmanager
def _reaching(url):
    """Say what to do where storage behind a URL cannot be used; what a disk says is clear."""
    if "://" not in url:
        yield
        return
    try:
        yield
    except ImportError as error:
        extra = "pip install 'musicgen-emotion-book[scale]'"
        todo = extra if _protocol(url) in BUCKETS else "Install that, or choose another place"
        raise Unreachable(f"{url} needs a package that is not here ({error}): {todo}.") from error
    except _refusals() as error:
        if getattr(error, "errno", None) in FULL_DISK:
            raise
        _forget(url)
        raise Unreachable(_why_unreachable(url, error)) from error


def _refusals():
    """What storage raises; only what is loaded can have raised anything."""
    amazon = sys.modules.get("botocore.exceptions")
    return (OSError,) if amazon is None else (OSError, amazon.BotoCoreError)


def _why_unreachable(url, error):
    said = f"{type(error).__name__}: {error}".splitlines()[0][:1000]
    todo = "Check the network, and the permission to list, read, write and delete there"
    if _protocol(url) in BUCKETS:
        todo = (
            f"{todo}: that of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or of a profile), on "
            "every machine that works; for a server other than Amazon's, AWS_ENDPOINT_URL is its "
            "address"
        )
    return (
        f"{url} cannot be used ({said}). {todo}. Then run the same call again: what was written is "
        "kept."
    )


def _forget(url):
    """Connect anew next time: fsspec keeps connections, with the credentials that they had."""
    with contextlib.suppress(ImportError, ValueError):
        fsspec.get_filesystem_class(_protocol(url)).clear_instance_cache()


def _protocol(url):
    return url.partition("://")[0]


# -------------------------------------------------------------------------------- what may be there
def _address(url):
    """A URL as zarr takes it: of a place on this machine's disk, its path."""
    if isinstance(url, str):
        url = url.removeprefix("file://")
        if "://" in url:
            return url
    return str(check.path("The place of a store", url))


def _local_path(url):
    """The path of a store on this machine's disk; None for other URLs."""
    return None if "://" in url else Path(os.path.abspath(url))


def _open_group(url):
    path = _local_path(url)
    if path is not None and not path.is_dir():  # zarr would make a folder of it
        return None
    if path is None and not _names(url):
        return None
    try:
        return zarr.open_group(url, mode="r+", zarr_format=2)
    except (FileNotFoundError, zarr.errors.GroupNotFoundError):
        return None


def _finished(url):
    group = _open_group(url)
    if group is None or "identity" not in group.attrs:
        raise StoreError(f"There is no store of activations at {url}.")
    if "arrays" not in group.attrs:
        raise StoreError(f"{url} was written by an older version. Delete it and make it again.")
    return group


def _unfinished(group):
    """Whether a group is a store that was killed while it was made."""
    attributes = group.attrs.asdict()
    return bool(attributes.get("unfinished")) or not (attributes or list(group.keys()))


def _refuse_what_is_no_store(url, group):
    """Refuse to overwrite a file, or a place with other things in it, or a whole bucket."""
    if _local_path(url) is None and "/" not in fsspec.core.url_to_fs(url)[1].rstrip("/"):
        raise StoreError(f"{url} is a whole bucket. Name a place in it: {url.rstrip('/')}/run.")
    if group is not None and group.attrs.get("unfinished"):
        return
    if all(name.startswith(".z") for name in _names(url)):
        return  # nothing, or a group that was killed at birth
    raise StoreError(f"{url} exists and is not a store of activations. Choose another place.")


def _names(url):
    """Names of what lies at a URL; its own, where it is a file."""
    path = _local_path(url)
    if path is None:
        return _names_in_storage(url)
    if path.is_dir():
        return [file.name for file in path.iterdir()]
    return [path.name] if path.exists() else []


def _names_in_storage(url):
    """By one listing, which also shows whether the storage can be reached."""
    if _protocol(url) not in fsspec.available_protocols():
        raise StoreError(
            f"{url} begins with no protocol that fsspec knows. Expected a path, or a URL such as "
            "s3://bucket/run."
        )
    filesystem, root = fsspec.core.url_to_fs(url)
    root = root.rstrip("/")
    filesystem.invalidate_cache(root)
    try:
        found = filesystem.ls(root, detail=False)
    except FileNotFoundError as error:
        if _lacks_bucket(error):
            raise Unreachable(
                f"There is no bucket for {url}. Make it, or choose another; for a server other "
                "than Amazon's, AWS_ENDPOINT_URL is its address."
            ) from error
        return []
    return [place.rstrip("/").rpartition("/")[2] for place in found]


def _lacks_bucket(error):
    """Whether it is the bucket that was not found, by what Amazon's client says."""
    told = getattr(error.__cause__, "response", {})
    return told.get("Error", {}).get("Code") == "NoSuchBucket"


def _refuse_another(url, group, manifest):
    """Refuse a store that follows from something else; into what pieces it is cut does not count."""
    there = group.attrs.get("identity")
    if there is None:
        raise StoreError(f"{url} exists and is not a store of activations. Choose another place.")
    now = manifest["identity"]
    counting = {*there, *now} - {"piece"}
    different = sorted(key for key in counting if there.get(key) != now.get(key))
    if not different and group.attrs.get("coords") != manifest["coords"]:
        different = ["coords"]
        there = group.attrs
        now = manifest
    if different:
        found = "; ".join(
            f"{key}: {_short(there.get(key))} there, {_short(now.get(key))} now"
            for key in different
        )
        raise StoreError(
            f"{url} was written from something else ({found}). Choose another place or delete it."
        )


def _check_space(url, arrays):
    """Refuse what disk (or memory://) cannot hold, before any of it is computed.

    The space behind other URLs is not known.
    """
    path = _local_path(url)
    if path is not None:
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        free = shutil.disk_usage(there).free
    elif url.startswith("memory://"):
        free = psutil.virtual_memory().available
    else:
        return
    needed = sum(math.prod(shape) * np.dtype(dtype).itemsize for _, shape, dtype in arrays.values())
    if needed > free:
        raise StoreError(
            f"{url} would take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Choose "
            "another place, fewer sites, reduce='mean' or dtype='float16'."
        )


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
