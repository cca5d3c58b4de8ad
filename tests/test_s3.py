"""In a bucket a store is what it is in a folder, to the byte, and what is wrong there is said.

The bucket is real to all that reach it: moto serves S3's protocol on this machine, and workers and
fsspec know of it by the variables that AWS's own tools read.
"""

import logging
import sys
import urllib.request

import fsspec
import numpy as np
import pytest
import s3fs
import xarray as xr
from moto.server import ThreadedMotoServer

from lib import activations, scale, store
from lib.musicgen import capture
from lib.musicgen.store import Store
from lib.scale import work

SITES = ("resid.4", "text")
PROMPTS = ["a happy melody", "slow music", "sad", "loud and fast music"] * 3
TINY = {"x": (("clip", "dim"), (5, 3), "float32")}
LABELS = xr.Dataset(coords={"seed": ("clip", [4, 3, 2, 1, 0])})
VALUES = np.arange(15, dtype=np.float32).reshape(5, 3)


@pytest.fixture(scope="module")
def server():
    """The address of a server with a bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    told = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield told["AWS_ENDPOINT_URL"]
    s3fs.S3FileSystem.clear_instance_cache()
    moto.stop()


@pytest.fixture
def url(server, tmp_path):
    return f"s3://bucket/{tmp_path.parent.name}-{tmp_path.name}/a.zarr"


@pytest.fixture(scope="module")
def clips(organism):
    return organism.generate(PROMPTS, 0.6, 3, progress=False)


@pytest.fixture(scope="module")
def folder(organism, clips, tmp_path_factory):
    """The same capture in a folder."""
    out = tmp_path_factory.mktemp("here") / "a.zarr"
    activations.capture(organism, clips, SITES, out=out, batch_size=4, progress=False)
    return out


def files(place):
    """The files at a place, as they are now."""
    filesystem, root = fsspec.core.url_to_fs(str(place))
    filesystem.invalidate_cache()
    return filesystem, root


def content(place):
    """Every file of a store -> its bytes."""
    filesystem, root = files(place)
    return {file.removeprefix(root): filesystem.cat_file(file) for file in filesystem.find(root)}


def fill(target, pieces=None):
    for piece in target.todo if pieces is None else pieces:
        target.write(piece, {"x": VALUES[piece]})


def refuse_all(server, refuse):
    """Let the server refuse whoever has no account there, which is everybody; or nobody."""
    accepted = b"0" if refuse else b"inf"
    kind = {"Content-Type": "text/plain"}
    asked = urllib.request.Request(f"{server}/moto-api/reset-auth", accepted, kind)
    urllib.request.urlopen(asked).close()


# ------------------------------------------------------------------------- the same as in a folder
def test_a_capture_is_that_of_a_folder(organism, clips, folder, url, monkeypatch):
    there = activations.capture(organism, clips, SITES, out=url, batch_size=4, progress=False)
    xr.testing.assert_identical(there.load(), store.open(folder).load())
    assert content(url) == content(folder)
    assert store.identity(url) == store.identity(folder)
    assert store.verify(url) == []
    monkeypatch.setattr(capture, "_piece", lambda *a: pytest.fail("captured again"))
    again = activations.capture(organism, clips, SITES, out=url, batch_size=4, progress=False)
    xr.testing.assert_identical(again.load(), there)
    with pytest.raises(store.StoreError, match=f"{url} was written from something else .*delay: 0"):
        activations.capture(organism, clips, SITES, out=url, batch_size=4, delay=1)


def test_workers_fill_it_and_what_is_lost_is_written_again(
    organism, clips, folder, url, monkeypatch
):
    piece = capture._piece
    asked = {"sites": SITES, "out": url, "batch_size": 4, "progress": False}
    there = scale.capture(organism, clips, **asked, workers=1)
    xr.testing.assert_identical(there.load(), store.open(folder).load())
    assert content(url) == content(folder)

    filesystem, root = files(url)
    filesystem.rm_file(f"{root}/resid.4/1.0.0")
    with pytest.raises(store.StoreError, match=r"1 of 3 pieces of s3://.* has been lost"):
        store.open(url)
    pieces = []
    monkeypatch.setattr(
        capture,
        "_piece",
        lambda m, c, numbers, *a: (pieces.append(numbers), piece(m, c, numbers, *a))[1],
    )
    scale.capture(organism, clips, **asked)
    assert pieces == [range(4, 8)]
    assert content(url) == content(folder)


def test_songs_go_on_where_they_were(organism, clips, url, tmp_path, monkeypatch):
    sing = work._sing
    asked = {"prompts": PROMPTS, "seconds": 0.6, "seed": 3, "at_once": 4, "progress": False}

    def until_the_end(m, piece, **told):
        if piece.start == 8:
            raise KeyboardInterrupt
        sing(m, piece, **told)

    with monkeypatch.context() as patch:
        patch.setattr(work, "_sing", until_the_end)
        with pytest.raises(KeyboardInterrupt):
            scale.generate(organism, **asked, out=url)
    with pytest.raises(store.StoreError, match=r"1 of 3 pieces of s3://.* not written yet"):
        store.open(url)
    pieces = []
    monkeypatch.setattr(
        work, "_sing", lambda m, piece, **told: (pieces.append(piece), sing(m, piece, **told))
    )
    songs = scale.generate(organism, **asked, out=url)
    assert pieces == [slice(8, 12)]
    assert np.array_equal(songs.tokens, clips.tokens)
    assert np.array_equal(songs.audio, clips.audio)
    scale.generate(organism, **asked, out=tmp_path / "b.zarr", decode=False)
    assert content(url) == content(tmp_path / "b.zarr")
    with pytest.raises(store.StoreError, match=r"written from something else .*seeds: "):
        scale.generate(organism, **asked | {"seed": 4}, out=url)


def test_changed_bytes_and_lost_labels_are_noticed(url):
    fill(Store(url, TINY, LABELS, {}, piece=2))
    filesystem, root = files(url)
    chunk = bytearray(filesystem.cat_file(f"{root}/x/1.0"))
    chunk[-1] ^= 1
    filesystem.pipe_file(f"{root}/x/1.0", bytes(chunk))
    with pytest.raises(store.StoreError, match=f"Data of {url} has been damaged"):
        store.open(url)["x"].load()
    filesystem.rm_file(f"{root}/seed/0")
    again = Store(url, TINY, LABELS, {}, piece=2)
    assert again.todo == [slice(2, 4)]
    fill(again)
    there = store.open(url)
    assert np.array_equal(there["x"].values, VALUES)
    assert there["seed"].values.tolist() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("place", ["s3", "memory"])
def test_what_is_no_store_is_left_alone(place, server, tmp_path):
    root = {"s3": "s3://bucket", "memory": "memory://bucket"}[place] + f"/{tmp_path.name}"
    filesystem, _ = files(root)
    filesystem.pipe_file(f"{root}/mine/thesis.txt", b"precious")
    filesystem.pipe_file(f"{root}/mine/more/notes.txt", b"precious")
    for taken in (root, f"{root}/mine", f"{root}/mine/thesis.txt"):
        with pytest.raises(store.StoreError, match=f"{taken} exists and is not a store"):
            Store(taken, TINY, LABELS, {})
    assert filesystem.cat_file(f"{root}/mine/thesis.txt") == b"precious"
    assert len(filesystem.find(root)) == 2
    with pytest.raises(store.StoreError, match=f"There is no store of activations at {root}/no"):
        store.open(f"{root}/nothing")


def test_a_whole_bucket_is_no_place(server):
    """What deletes a folder's content to begin anew would delete an empty bucket itself."""
    s3fs.S3FileSystem().mkdir("empty-bucket")
    for url in ("s3://empty-bucket", "s3://empty-bucket/"):
        with pytest.raises(
            store.StoreError, match=r"whole bucket\. Name .*: s3://empty-bucket/run"
        ):
            Store(url, TINY, LABELS, {})
    assert "empty-bucket" in s3fs.S3FileSystem().ls("", refresh=True)


def test_a_store_killed_while_it_was_made_is_made_again(url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_write_coordinates", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store(url, TINY, LABELS, {}, piece=2)
    with pytest.raises(store.StoreError, match="no store"):
        store.open(url)
    fill(Store(url, TINY, LABELS, {}, piece=2))
    assert np.array_equal(store.open(url)["x"].values, VALUES)


# ----------------------------------------------------------------------- what is wrong, and is said
def test_no_bucket(server):
    for use in (store.open, store.identity, lambda url: Store(url, TINY, LABELS, {})):
        with pytest.raises(store.StoreError, match=r"no bucket for s3://nowhere/a\..*Make it"):
            use("s3://nowhere/a")


def test_who_has_no_permission_is_told_and_goes_on_when_he_has_it(server, url):
    target = Store(url, TINY, LABELS, {}, piece=2)
    fill(target, [slice(0, 2)])
    message = rf"{url} cannot be used \(PermissionError: .*AWS_ACCESS_KEY_ID.*was written is kept"
    refuse_all(server, True)
    try:
        for use in (store.open, store.verify, lambda url: Store(url, TINY, LABELS, {}, piece=2)):
            with pytest.raises(store.StoreError, match=message):
                use(url)
        with pytest.raises(store.StoreError, match=message):
            fill(target, [slice(2, 4)])
        with pytest.raises(store.StoreError, match=message):
            assert target.todo
    finally:
        refuse_all(server, False)
    again = Store(url, TINY, LABELS, {}, piece=2)
    assert again.todo == [slice(2, 4), slice(4, 5)]
    fill(again)
    there = store.open(url)
    refuse_all(server, True)
    try:
        with pytest.raises(store.StoreError, match=message):  # not: that it is damaged
            there["x"].load()
    finally:
        refuse_all(server, False)
    assert np.array_equal(store.open(url)["x"].values, VALUES)
    assert store.verify(url) == []


def test_no_server_is_said_and_the_right_one_is_found_afterwards(server, url, monkeypatch):
    fill(Store(url, TINY, LABELS, {}, piece=2))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(store.StoreError, match=rf"{url} cannot be used \(.*AWS_ENDPOINT_URL"):
        store.open(url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert np.array_equal(store.open(url)["x"].values, VALUES)


def test_without_what_reads_buckets_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    loaded = sys.modules["fsspec.registry"]._registry  # fsspec.registry itself is a mapping
    monkeypatch.delitem(loaded, "s3", raising=False)
    with pytest.raises(store.StoreError, match=r"pip install 'musicgen-emotion-book\[scale\]'"):
        Store("s3://bucket/a", TINY, LABELS, {})
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(store.StoreError, match=r"gs://bucket/a needs a package .*gcsfs"):
        store.open("gs://bucket/a")
    with pytest.raises(store.StoreError, match=r"s4://bucket/a begins with no protocol"):
        store.open("s4://bucket/a")
