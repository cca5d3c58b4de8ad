"""Work spread over Ray workers gives what one process gives, whatever dies on the way."""

import os

import numpy as np
import pytest
import torch

from lib import activations, model, scale, store

ray = pytest.importorskip("ray")
SITES = ("resid.4", "text")


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


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


def test_workers_give_the_same_bits_though_one_is_killed(cluster, clips, alone, tmp_path, monkeypatch):
    marker, write = str(tmp_path / "killed"), scale._write

    def killed_once(m, piece, **told):
        if piece.start == 4 and not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(1)
        write(m, piece, **told)

    monkeypatch.setattr(scale, "_write", killed_once)
    out = tmp_path / "b.zarr"
    spread = scale.capture("organism", clips, SITES, out, workers=2, batch_size=4, progress=False)
    assert os.path.exists(marker) and same(spread, alone)
    assert spread.attrs["identity"] == alone.attrs["identity"]
    before = {f: f.stat().st_mtime_ns for f in out.rglob("resid.4/*")}
    scale.capture("organism", clips, SITES, out, workers=2, batch_size=4, progress=False)
    assert before == {f: f.stat().st_mtime_ns for f in out.rglob("resid.4/*")}  # nothing is written twice


def test_a_worker_that_always_dies_ends_it_and_what_was_written_stays(cluster, clips, alone, tmp_path, monkeypatch):
    write = scale._write

    def deadly(m, piece, **told):
        if piece.start == 8:
            os._exit(1)
        write(m, piece, **told)

    out = tmp_path / "c.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(scale, "_write", deadly)
        with pytest.raises(scale.ScaleError, match="What they wrote is kept"):
            scale.capture("organism", clips, SITES, out, workers=1, retries=0, batch_size=4, progress=False)
    with pytest.raises(store.StoreError, match="1 of 3 pieces"):
        store.open(out)
    asked = []
    monkeypatch.setattr(scale, "_write", lambda m, piece, **told: (asked.append(piece), write(m, piece, **told)))
    again = scale.capture("organism", clips, SITES, out, batch_size=4, progress=False)  # in this process
    assert asked == [slice(8, 12)] and same(again, alone)


def test_clips_are_those_of_one_process(cluster, organism):
    prompts = ["a happy melody", "slow music", "sad"]
    spread = scale.generate("organism", prompts, 0.6, 9, workers=2, at_once=2, progress=False)
    whole = organism.generate(prompts, 0.6, 9, progress=False)
    assert np.array_equal(spread.tokens, whole.tokens) and np.array_equal(spread.audio, whole.audio)
    assert (spread.prompts, spread.seeds, spread.settings) == (whole.prompts, whole.seeds, whole.settings)


def test_any_work_is_spread_and_its_own_error_comes_back(cluster):
    def width(m, add):
        if add == 3:
            raise KeyError("three")
        return m.lm.dim + add, torch.get_num_threads()

    threads = torch.get_num_threads()
    assert scale.each(width, "organism", [1, 2], workers=2, progress=False) == [(193, threads), (194, threads)]
    with pytest.raises(KeyError, match="three"):
        scale.each(width, "organism", [1, 3], workers=1, progress=False)


def test_a_store_at_a_url(organism, clips, alone):
    out = "memory://scale-test/a.zarr"
    there = scale.capture("organism", clips, SITES, out, batch_size=4, progress=False)
    assert same(there, alone)
    with pytest.raises(ValueError, match="Workers cannot share memory://"):
        scale.capture("organism", clips, SITES, out, workers=2)


def test_bad_input(organism, clips, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="0 or more"):
        scale.each(print, "organism", [1], workers=-1)
    with pytest.raises(ValueError, match="give out, too"):
        activations.capture(organism, clips, SITES, pieces=[])
    monkeypatch.setattr(store.shutil, "disk_usage", lambda p: type("Usage", (), {"free": 1000})())
    monkeypatch.setattr(model.Model, "replay", lambda *a, **k: pytest.fail("work has started"))
    with pytest.raises(store.StoreError, match=r"would take 0\.0 GB, and 0\.0 GB are free"):
        scale.capture("organism", clips, SITES, tmp_path / "d.zarr")
    assert not (tmp_path / "d.zarr").exists()


def test_without_ray_or_cluster_it_says_what_to_do(monkeypatch):
    import sys

    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setattr(ray, "init", lambda **k: (_ for _ in ()).throw(ConnectionError("no answer")))
    with pytest.raises(scale.ScaleError, match=r"no Ray cluster at 'ray://nowhere:1' \(no answer\)"):
        scale.each(print, "organism", [1], workers=1, address="ray://nowhere:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(scale.ScaleError, match=r"pip install 'musicgen-emotion-book\[scale\]'"):
        scale.each(print, "organism", [1], workers=1)
