"""Work spread over Ray workers gives what one process gives, whatever dies on the way. What dies here really dies."""

import os
import socket
import sys

import numpy as np
import psutil
import pytest
import xarray as xr
from ray import cloudpickle

from lib import activations, cluster, harvest, model, scale, store

SITES = ("resid.4", "text")


@pytest.fixture(scope="module")
def clips(organism):
    return organism.generate(["a happy melody", "slow music", "sad", "loud and fast music"] * 3, 0.6, 3, progress=False)


@pytest.fixture(scope="module")
def alone(organism, clips, tmp_path_factory):
    return activations.capture(
        organism, clips, SITES, out=tmp_path_factory.mktemp("one") / "a.zarr", batch_size=4, progress=False
    )


def same(a, b):
    return all(np.array_equal(a[s].values, b[s].values, equal_nan=True) for s in SITES)


def left_behind():
    return [p.name() for p in psutil.Process().children(recursive=True) if "ray" in p.name() or "gcs" in p.name()]


def test_workers_give_the_same_bits_though_one_is_killed(organism, clips, alone, tmp_path, monkeypatch):
    marker, write = str(tmp_path / "killed"), scale._write

    def killed_once(m, piece, **told):
        if piece.start == 4 and not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(1)
        write(m, piece, **told)

    monkeypatch.setattr(scale, "_write", killed_once)
    out = tmp_path / "b.zarr"
    spread = scale.capture(organism, clips, SITES, out, workers=2, batch_size=4, progress=False)
    assert os.path.exists(marker) and same(spread, alone)
    assert spread.attrs["identity"] == alone.attrs["identity"]
    monkeypatch.setattr(cluster, "run", lambda *a: pytest.fail("started again"))
    assert same(scale.capture(organism, clips, SITES, out, workers=2, batch_size=4, progress=False), alone)
    assert not left_behind()


def test_a_cluster_that_vanishes_loses_nothing_that_was_generated(organism, clips, tmp_path, monkeypatch):
    sing, out = scale._sing, tmp_path / "c.zarr"

    def until_the_end(m, piece, **told):
        if piece.start < 8:
            return sing(m, piece, **told)
        for process in psutil.Process(os.getppid()).parent().children():  # all of Ray that this call has started
            process.kill()
        os._exit(1)

    with monkeypatch.context() as patch:
        patch.setattr(scale, "_sing", until_the_end)
        with pytest.raises(scale.ScaleError, match=r"Workers are gone \(.+\). What they wrote is kept"):
            scale.generate(organism, clips.prompts, 0.6, 3, out=out, workers=1, at_once=4, retries=0, progress=False)
    with pytest.raises(store.StoreError, match="1 of 3 pieces"):
        store.open(out)
    asked = []
    monkeypatch.setattr(scale, "_sing", lambda m, piece, **told: (asked.append(piece), sing(m, piece, **told)))
    again = scale.generate(organism, clips.prompts, 0.6, 3, out=out, at_once=4, progress=False)  # in this process
    assert asked == [slice(8, 12)]
    assert np.array_equal(again.tokens, clips.tokens) and np.array_equal(again.audio, clips.audio)
    assert (again.prompts, again.seeds, again.settings) == (clips.prompts, clips.seeds, clips.settings)


# what follows needs no model: the workers start quickly
def run(task, items=(1, 2), workers=2, address=None, retries=0):
    return sorted(cluster.run(cloudpickle.dumps(task), list(map(cloudpickle.dumps, items)), workers, address, retries))


def test_results_come_in_numbers_and_a_task_s_own_error_comes_back():
    def work(item):
        if item == 3:
            raise KeyError("three")
        return item * 2

    with pytest.raises(KeyError, match="three") as caught:
        run(work, (1, 3))
    assert "in work" in caught.value.__notes__[0]


def test_a_worker_that_always_dies_ends_it():
    with pytest.raises(scale.ScaleError, match=r"WorkerCrashedError.*run the same call again"):
        run(lambda item: os._exit(1))
    assert not left_behind()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto", "nonsense"])
def test_no_cluster_at_an_address(address, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address == "auto" and os.path.exists("/tmp/ray/ray_current_cluster"):
        pytest.skip("this machine has a cluster of its own")
    with pytest.raises(scale.ScaleError, match=f"no Ray cluster at '{address}'.*ray start"):
        run(print, address=address)


def test_an_address_that_never_answers(monkeypatch):
    monkeypatch.setattr(cluster, "WAIT", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(scale.ScaleError, match="no Ray cluster at"):
            run(print, address=f"127.0.0.1:{silent.getsockname()[1]}")


# without workers
def test_a_store_at_a_url(organism, clips, alone, monkeypatch):
    out = "memory://scale-test/a.zarr"
    there = scale.capture(organism, clips, SITES, out, batch_size=4, progress=False)
    assert same(there, alone)
    with pytest.raises(ValueError, match="Workers cannot share memory://"):
        scale.capture(organism, clips, SITES, out, workers=2)
    monkeypatch.setattr(store.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    with pytest.raises(store.StoreError, match="are free"):
        scale.capture(organism, clips, SITES, "memory://scale-test/b.zarr", progress=False)


def test_data_that_was_lost_is_named_and_written_again(organism, clips, alone, tmp_path, monkeypatch):
    out = tmp_path / "half.zarr"
    scale.capture(organism, clips, SITES, out, batch_size=4, progress=False)
    next(iter(out.rglob("resid.4/1.*"))).unlink()  # the store is copied without one file
    with pytest.raises(store.StoreError, match=r"1 of 3 pieces of .* has been lost"):
        store.open(out)
    asked, write = [], scale._write
    monkeypatch.setattr(scale, "_write", lambda m, piece, **told: (asked.append(piece), write(m, piece, **told)))
    assert same(scale.capture(organism, clips, SITES, out, batch_size=4, progress=False), alone)
    assert asked == [slice(4, 8)]


def test_clips_in_a_store_are_those_of_these_prompts(organism, clips, tmp_path):
    out = tmp_path / "d.zarr"
    first = scale.generate(organism, clips.prompts[:3], 0.2, 3, out=out, at_once=2, decode=False, progress=False)
    direct = organism.generate(clips.prompts[:3], 0.2, 3, progress=False)
    assert first.audio.shape == (3, 0) and np.array_equal(first.tokens, direct.tokens)
    for change in ({"seed": 4}, {"seconds": 0.4}, {"cfg": 1.0}):
        with pytest.raises(store.StoreError, match="written from something else"):
            scale.generate(organism, clips.prompts[:3], **{"seconds": 0.2, "seed": 3, **change}, out=out, at_once=2)


def test_token_0_is_no_empty_place(tmp_path):
    known = xr.Dataset(coords={"seed": ("clip", [0, 1, 2])})
    target = store.Store(tmp_path / "f.zarr", {"tokens": (("clip", "frame"), (3, 2), "int16")}, known, {}, piece=2)
    target.write(slice(0, 2), {"tokens": np.zeros((2, 2))})
    target.write(slice(2, 3), {"tokens": [[0, 5]]})
    there = store.open(tmp_path / "f.zarr")["tokens"]
    assert there.dtype == np.int16 and there.values.tolist() == [[0, 0], [0, 0], [0, 5]] and not target.todo


def test_harvests_are_spread(organism, miniature, monkeypatch):
    asked = []
    monkeypatch.setattr(
        cluster, "run", lambda task, items, *how: asked.append(how) or iter(enumerate(items[:0]))
    )  # nothing comes back: the store says so
    with pytest.raises(store.StoreError, match="not written yet"):
        harvest.clips(miniature, 12, seed=77, seconds=0.5, workers=3, address="there:1")
    these, _ = harvest.clips(organism, 10, seed=77, seconds=1)
    with pytest.raises(store.StoreError, match="not written yet"):
        harvest.acts(organism, these, "resid.3", workers=2)
    assert [how[:2] for how in asked] == [(3, "there:1"), (2, None)]


def test_bad_input(organism, clips, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="0 or more"):
        scale.each(print, "organism", [1], workers=-1)
    with pytest.raises(ValueError, match="give out, too"):
        activations.capture(organism, clips, SITES, pieces=[])
    for wrong, error in ({"seed": [1]}, ValueError), ({"seconds": 99}, ValueError), ({"top_k": 0}, ValueError):
        with pytest.raises(error):
            scale.generate(organism, clips.prompts, **wrong, out=tmp_path / "e.zarr")
    with pytest.raises(ValueError, match="at_once"):
        scale.generate(organism, clips.prompts, at_once=0)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda p: type("Usage", (), {"free": 1000})())
    monkeypatch.setattr(model.Model, "replay", lambda *a, **k: pytest.fail("work has started"))
    with pytest.raises(store.StoreError, match=r"would take 0\.0 GB, and 0\.0 GB are free"):
        scale.capture(organism, clips, SITES, tmp_path / "d.zarr")
    assert not list(tmp_path.iterdir())


def test_without_ray_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(scale.ScaleError, match=r"pip install 'musicgen-emotion-book\[scale\]'"):
        scale.each(print, "organism", [1], workers=1)
