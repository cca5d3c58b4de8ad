"""What a store gives back is what memory would have held; nothing half written counts."""

import errno
import multiprocessing
import os
import pickle
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from zarr.storage import _local

from lib.musicgen import store
from lib.musicgen.store import Store, StoreError

SITES = {f"resid.{i}": (("clip", "frame", "dim"), (5, 3, 2), "float16") for i in (1, 3, 0, 6, 2)}


def labels(**more):
    known = {"clip": np.arange(5), "seed": ("clip", [4, 3, 2, 1, 0]), "stream": "cond"}
    known |= {name: ("clip", values) for name, values in more.items()}
    return xr.Dataset(coords=known, attrs={"model": "organism", "delay": 0})


def values(arrays=SITES):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(kind) for name, (_, shape, kind) in arrays.items()}


def fill(target, arrays, pieces=None):
    for piece in target.todo if pieces is None else pieces:
        target.write(piece, {name: array[piece] for name, array in arrays.items()})


def in_memory(coords, arrays, layout=SITES):
    return coords.assign({name: (layout[name][0], array) for name, array in arrays.items()})


def assert_same(disk, memory):
    """Names in order, dims, coordinates, types, values and attributes."""
    assert list(disk) == list(memory)
    assert list(disk.coords) == list(memory.coords)
    for name in memory.variables:
        assert disk[name].dtype == memory[name].dtype, name
    assert list(disk.indexes) == list(memory.indexes)
    xr.testing.assert_identical(disk.load(), memory)


def test_a_store_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    target = Store("~/a.zarr", SITES, labels(), {"model": "organism"})
    fill(target, values())
    assert target.todo == [] and target.url == str(tmp_path / "a.zarr")
    assert_same(store.open("~/a.zarr"), in_memory(labels(), values()))
    with pytest.raises(TypeError, match="store must be the path of a file or a folder"):
        store.open(3)


# ------------------------------------------------------------------------------- the same as memory
@pytest.mark.parametrize("place", ["a.zarr", "file", "memory"])
def test_what_is_read_back_is_what_was_written(tmp_path, place):
    url = {"file": f"file://{tmp_path}/b.zarr", "memory": "memory://test-store/a.zarr"}.get(
        place, tmp_path / place
    )
    coords = labels(
        **{
            "word order": ["a", "", "é", "d e", "f"],
            "per cent %": [0.5, np.nan, 1, 2, 3],
            "a/b": np.array(
                ["2020-01-01", "NaT", "2021-01-01", "2022-01-01", "2023-01-01"], "M8[ns]"
            ),
            ".zattrs": [True, False, True, True, False],
            "": np.arange(5, dtype=np.int16),
            "Seed": list("abcde"),
            "piece_done": np.zeros(5),
        }
    )
    coords["seed"].attrs["units"] = "none"
    target = Store(url, SITES, coords, {"model": "organism"}, piece=2)
    assert target.todo == [slice(0, 2), slice(2, 4), slice(4, 5)]
    fill(target, values())
    assert target.todo == []
    disk = store.open(url)
    assert not isinstance(disk["resid.1"].variable._data, np.ndarray), "read too early"
    assert_same(disk, in_memory(coords, values()))
    again = Store(url, SITES, coords, {"model": "organism"}, piece=2)
    assert again.todo == []


def test_arrays_are_indexed_as_in_memory(tmp_path):
    coords = labels()
    fill(Store(tmp_path / "a", SITES, coords, {}, piece=2), values())
    disk = store.open(tmp_path / "a")
    memory = in_memory(coords, values())
    for pick in (
        {"clip": [4, 0, 0]},
        {"clip": slice(None, None, -2), "frame": 1},
        {"clip": np.array([True, False, False, True, True]), "dim": [1]},
        {"clip": xr.DataArray([0, 2], dims="point"), "frame": xr.DataArray([1, 2], dims="point")},
    ):
        xr.testing.assert_identical(disk.isel(pick).load(), memory.isel(pick))
    xr.testing.assert_identical(disk["resid.3"].sel(clip=2).load(), memory["resid.3"].sel(clip=2))
    sent = pickle.loads(pickle.dumps(store.open(tmp_path / "a")["resid.3"]))
    xr.testing.assert_identical(sent.load(), memory["resid.3"])
    changed = store.open(tmp_path / "a")
    changed["resid.3"][0] = 0  # in memory alone
    assert not changed["resid.3"][0].any()
    back = disk.to_zarr(tmp_path / "copy", zarr_format=2)  # nothing of the store clings to it
    assert back is not None


def test_other_programs_can_read_it(tmp_path):
    coords = labels(**{"word order": list("abcde")})
    fill(Store(tmp_path / "a", SITES, coords, {}, piece=2), values())
    plain = xr.open_zarr(tmp_path / "a", consolidated=False, zarr_format=2, chunks=None)
    np.testing.assert_array_equal(plain["resid.3"], values()["resid.3"])
    assert plain["word%20order"].values.tolist() == list("abcde")
    assert "word%20order" in plain.coords


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["happy", None, "sad"], ["happy", "", "sad"]),
        (["happy", float("nan"), "sad"], ["happy", "", "sad"]),
        ([None, None], ["", ""]),
        (pd.Series(["a", pd.NA], dtype="string"), ["a", ""]),
        (pd.Series(["a", None, "b"], dtype="category"), ["a", "", "b"]),
        (pd.Series([1, pd.NA], dtype="Int64"), [1.0, np.nan]),
        (pd.Series([1, 2], dtype="Int64"), [1, 2]),
        (pd.Series([True, None], dtype="boolean"), [1.0, np.nan]),
        ([True, False], [True, False]),
        ([1, 2], [1, 2]),
        ([1.5, None], [1.5, np.nan]),
        ([1, "a"], ["1", "a"]),
        (np.array(["a", "bc"], dtype=np.dtypes.StringDType()), ["a", "bc"]),
    ],
)
def test_missing_labels_stay_missing(tmp_path, given, expected):
    got = store.plain(given)
    expected = np.array(expected)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    layout = {"x": (("clip",), (len(got),), "float32")}
    # the caller's own array is kept as memory would have it, whatever it was
    coords = xr.Dataset(coords={"label": ("clip", np.asarray(given, dtype=object))})
    target = Store(tmp_path / "a", layout, coords, {}, piece=2)
    fill(target, {"x": np.zeros(len(got), np.float32)})
    back = store.open(tmp_path / "a")["label"]
    assert back.dtype == expected.dtype
    np.testing.assert_array_equal(back, expected)


def test_token_0_is_no_empty_place(tmp_path):
    layout = {"tokens": (("clip", "frame"), (3, 2), "int16")}
    known = xr.Dataset(coords={"seed": ("clip", [0, 1, 2])})
    target = Store(tmp_path / "f.zarr", layout, known, {}, piece=2)
    target.write(slice(0, 2), {"tokens": np.zeros((2, 2))})
    target.write(slice(2, 3), {"tokens": [[0, 5]]})
    there = store.open(tmp_path / "f.zarr")["tokens"]
    assert there.dtype == np.int16
    assert there.values.tolist() == [[0, 0], [0, 0], [0, 5]]
    assert not target.todo


def test_a_store_goes_on_in_its_own_pieces_whatever_length_is_asked_for(tmp_path):
    url = tmp_path / "a.zarr"
    fill(Store(url, SITES, labels(), {}, piece=4), values(), [slice(0, 4)])
    for piece in (1, 5):
        again = Store(url, SITES, labels(), {}, piece=piece)
        assert again.piece == 4 and again.todo == [slice(4, 5)]
    with pytest.raises(ValueError, match="a piece of 4 clips"):
        fill(again, values(), [slice(0, 5)])
    fill(again, values())
    assert_same(store.open(url), in_memory(labels(), values()))
    assert store.identity(url)["piece"] == 4


# ------------------------------------------------------------------------- what is refused, and why
def test_a_store_of_something_else_is_refused(tmp_path):
    url = tmp_path / "a.zarr"
    fill(Store(url, SITES, labels(), {"model": "a", "n": np.int64(3)}), values())
    for change in (
        {"identity": {"model": "b", "n": 3}},
        {"identity": {"model": "a"}},
        {"arrays": dict(reversed(SITES.items()))},
        {"arrays": {name: (dims, shape, "float32") for name, (dims, shape, _) in SITES.items()}},
        {"coords": labels(emotion=list("abcde"))},
    ):
        same = {"arrays": SITES, "coords": labels(), "identity": {"model": "a", "n": 3}}
        with pytest.raises(StoreError, match="written from something else"):
            Store(url, **{**same, **change})
    moved = labels().assign_coords(seed=("clip", [0] * 5))
    with pytest.raises(StoreError, match=r"other values of \['seed'\]"):
        Store(url, SITES, moved, {"model": "a", "n": 3})
    assert store.identity(url)["model"] == "a"
    assert_same(store.open(url), in_memory(labels(), values()))


def test_what_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    xr.Dataset({"x": ("a", [1])}).to_zarr(tmp_path / "group", zarr_format=2)
    for place in ("mine", "mine/thesis.txt", "group"):
        with pytest.raises(StoreError, match="not a store"):
            Store(tmp_path / place, SITES, labels(), {})
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    for place in ("mine", "nothing", "group"):
        with pytest.raises(StoreError, match="no store"):
            store.open(tmp_path / place)
    (tmp_path / "empty").mkdir()
    fill(Store(tmp_path / "empty", SITES, labels(), {}), values())
    assert len(store.open(tmp_path / "empty")) == 5


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        (slice(0, 2), {"resid.1": None}, "written together"),
        (slice(0, 2), {"extra": np.zeros((2, 3, 2))}, "written together"),
        (slice(0, 2), {"resid.0": np.zeros((2, 3))}, "must have shape"),
        (slice(0, 2), {"resid.0": np.zeros((1, 3, 2))}, "must have shape"),
        (slice(0, 4), {}, "piece of 2 clips"),
        (slice(1, 3), {}, "piece of 2 clips"),
        (slice(4, 6), {}, "piece of 2 clips"),
    ],
)
def test_a_piece_is_written_whole(tmp_path, where, change, message):
    target = Store(tmp_path / "a", SITES, labels(), {}, piece=2)
    given = {name: array[:2] for name, array in values().items()} | change
    given = {name: array for name, array in given.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        target.write(where, given)
    assert len(target.todo) == 3


def test_numbers_that_do_not_fit_are_refused(tmp_path):
    layout = {"tokens": (("clip",), (2,), "int16")}
    target = Store(tmp_path / "a", layout, xr.Dataset(coords={"clip": [0, 1]}), {})
    for wrong in ([0, 40_000], [0.5, 0]):
        with pytest.raises(ValueError, match="int16 cannot hold"):
            target.write(slice(0, 2), {"tokens": wrong})


def test_names_are_text_and_name_one_thing():
    with pytest.raises(StoreError, match=r"must be text\. Got 3"):
        Store("memory://test-store/b", SITES, labels().assign_coords({3: ("clip", range(5))}), {})
    with pytest.raises(StoreError, match="both a label and an array"):
        Store("memory://test-store/b", SITES, labels(**{"resid.0": np.arange(5)}), {})


def test_too_small_a_disk_is_refused_beforehand(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})()
    memory = type("Memory", (), {"available": 100})()
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(store.psutil, "virtual_memory", lambda: memory)
    for url in (tmp_path / "a", f"file://{tmp_path}/a", "memory://test-store/c"):
        with pytest.raises(StoreError, match=r"would take 0\.0 GB, and 0\.0 GB are free"):
            Store(url, SITES, labels(), {})
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------- half written, damaged
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    target = Store(tmp_path / "a", SITES, labels(), {}, piece=2)
    fill(target, values(), [slice(0, 2)])

    def full(array, where, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(StoreError, match=r"up to clip 2 is kept.*run the same call again"):
            fill(target, values())
    with pytest.raises(StoreError, match=r"2 of 3 pieces .* not written yet"):
        store.open(tmp_path / "a")
    again = Store(tmp_path / "a", SITES, labels(), {}, piece=2)
    assert again.todo == [slice(2, 4), slice(4, 5)]
    fill(again, values())
    assert_same(store.open(tmp_path / "a"), in_memory(labels(), values()))


def damage(file, how):
    content = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    else:
        content[-1] ^= 1
        file.write_bytes(content)


@pytest.mark.parametrize("how", ["gone", "cut", "empty"])
def test_data_that_was_lost_is_named_and_written_again(tmp_path, how):
    fill(Store(tmp_path / "a", SITES, labels(), {}, piece=2), values())
    damage(tmp_path / "a" / "resid.3" / "1.0.0", how)
    with pytest.raises(StoreError, match=r"1 of 3 pieces of .* has been lost"):
        store.open(tmp_path / "a")
    again = Store(tmp_path / "a", SITES, labels(), {}, piece=2)
    assert again.todo == [slice(2, 4)]
    with pytest.raises(StoreError, match=r"1 of 3 pieces .* not written yet"):
        store.open(tmp_path / "a")
    fill(again, values())
    assert_same(store.open(tmp_path / "a"), in_memory(labels(), values()))


def test_changed_bytes_are_noticed_and_written_again(tmp_path):
    fill(Store(tmp_path / "a", SITES, labels(), {}, piece=2), values())
    damage(tmp_path / "a" / "resid.3" / "1.0.0", "changed")
    disk = store.open(tmp_path / "a")
    disk["resid.0"].load()
    with pytest.raises(StoreError, match="damaged since it was written"):
        disk["resid.3"].load()
    again = Store(tmp_path / "a", SITES, labels(), {}, piece=2)
    assert again.todo == [slice(2, 4)]
    fill(again, values())
    assert store.verify(tmp_path / "a") == []
    assert_same(store.open(tmp_path / "a"), in_memory(labels(), values()))
    damage(tmp_path / "a" / "resid.1" / "0.0.0", "changed")
    assert store.verify(tmp_path / "a") == [0]


@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_lost_labels_are_noticed_and_written_again(tmp_path, how):
    coords = labels(emotion=list("abcde"))
    fill(Store(tmp_path / "a", SITES, coords, {}, piece=2), values())
    damage(tmp_path / "a" / "emotion" / "0", how)
    with pytest.raises(StoreError, match=r"values of 'emotion' .* lost or damaged"):
        store.open(tmp_path / "a")
    assert Store(tmp_path / "a", SITES, coords, {}, piece=2).todo == []
    assert_same(store.open(tmp_path / "a"), in_memory(coords, values()))


class Killed(Exception):
    """Here the process would have died."""


def test_a_store_killed_while_it_was_made_is_made_again(tmp_path, monkeypatch):
    """Whatever number of files a kill leaves, the next call makes the store from the beginning."""
    put = _local._put
    written = []

    def counting(path, value, **how):
        if len(written) == limit:
            raise Killed
        written.append(path)
        return put(path, value, **how)

    monkeypatch.setattr(_local, "_put", counting)
    site = {"resid.1": SITES["resid.1"]}
    coords = labels().drop_vars(["seed", "stream"])
    limit = None
    Store(tmp_path / "whole", site, coords, {}, piece=2)
    files = len(written)
    assert files > 8
    for limit in range(files):
        written.clear()
        place = tmp_path / f"killed-{limit}"
        with pytest.raises(Killed):
            Store(place, site, coords, {}, piece=2)
        with pytest.raises(StoreError, match="no store"):
            store.open(place)
        written.clear()
        limit = None
        fill(Store(place, site, coords, {}, piece=2), values(site))
        assert_same(store.open(place), in_memory(coords, values(site)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_writer_loses_at_most_its_piece(tmp_path):
    url = tmp_path / "a"
    fork = multiprocessing.get_context("fork")
    reader, writer = fork.Pipe(duplex=False)

    def work():
        write = store._write

        def slow(array, where, values):
            writer.send(array.basename)
            time.sleep(0.02)
            write(array, where, values)

        store._write = slow
        fill(Store(url, SITES, labels(), {}, piece=1), values())

    process = fork.Process(target=work)
    process.start()
    for _ in range(16):  # three coordinates, two pieces of five sites, half of the third
        assert reader.poll(60) and reader.recv()
    process.kill()
    process.join()
    with pytest.raises(StoreError, match="not written yet"):
        store.open(url)
    target = Store(url, SITES, labels(), {}, piece=1)
    assert 0 < len(target.todo) < 5
    fill(target, values())
    assert_same(store.open(url), in_memory(labels(), values()))
