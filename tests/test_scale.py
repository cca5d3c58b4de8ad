"""Work in pieces and on workers gives what one call gives, whatever dies on the way.

What dies here really dies. Where that is not the point, a worker is played by this process: it gets
what a worker gets, pickled, and loads a model of its own.
"""

import functools
import importlib
import os
import pickle
import socket
import sys
import threading
import types
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import released
import safetensors.torch
import torch
from ray import cloudpickle

import lib
from lib import activations, harvest, model, scale, store
from lib.musicgen import capture
from lib.musicgen.activations import Edit
from lib.scale import cluster, work

SITES = ("resid.4", "text")
PROMPTS = ["a happy melody", "slow music", "sad", "loud and fast music"] * 3
#: One value a clip, some clips of a larger call, and a function that closes over something.
STRENGTHS = np.linspace(0, 2, len(PROMPTS))
EDITS = (
    Edit("resid.2", add=np.ones(160), scale=STRENGTHS),
    Edit("mlp.3", multiply=0.0, clips=[0, -1]),
    Edit("resid.5", apply=lambda x: x + 0.1 * float(STRENGTHS[-1])),
)


@pytest.fixture(scope="module")
def clips(organism):
    return organism.generate(PROMPTS, 0.6, 3, progress=False)


@pytest.fixture(scope="module")
def edited(organism):
    with activations.edit(organism, *EDITS):
        return organism.generate(PROMPTS, 0.6, 3, progress=False)


@pytest.fixture(scope="module")
def alone(organism, clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "a.zarr"
    return activations.capture(organism, clips, SITES, out=out, batch_size=4, progress=False)


@pytest.fixture
def played(monkeypatch):
    """Workers played by this process; what they were given, as bytes."""
    given = []

    def run(task, items, workers, address, retries):
        given.append((task, items))
        for number, item in enumerate(items):
            yield number, pickle.loads(task)(pickle.loads(item))

    monkeypatch.setattr(cluster, "run", run)
    monkeypatch.setattr(work, "_loaded", work._loaded.__wrapped__)
    return given


def same(a, b):
    return all(np.array_equal(a[s].values, b[s].values, equal_nan=True) for s in SITES)


def left_behind():
    processes = psutil.Process().children(recursive=True)
    return [p.name() for p in processes if "ray" in p.name() or "gcs" in p.name()]


# ------------------------------------------------------------------------------ on workers that die
def test_workers_give_the_same_bits_though_one_is_killed(organism, clips, tmp_path, monkeypatch):
    """Under edits, too: they travel with the pieces."""
    marker = tmp_path / "killed"
    write = work._write

    def killed_once(m, piece, **told):
        if piece.start == 4 and not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(1)
        write(m, piece, **told)

    settings = {"batch_size": 4, "progress": False, "reduce": lambda x: x[:, ::2]}
    out = tmp_path / "b.zarr"
    with activations.edit(organism, *EDITS):
        here = activations.capture(organism, clips, SITES, out=tmp_path / "a.zarr", **settings)
        monkeypatch.setattr(work, "_write", killed_once)
        there = scale.capture(organism, clips, SITES, out, workers=np.int64(2), **settings)
        assert marker.exists()
        assert same(there, here)
        assert store.identity(out) == store.identity(tmp_path / "a.zarr")
        monkeypatch.setattr(cluster, "run", lambda *a: pytest.fail("started again"))
        again = scale.capture(organism, clips, SITES, out, workers=2, **settings)
        assert same(again, here)
    plain = activations.capture(organism, clips, SITES, progress=False, reduce=settings["reduce"])
    assert not same(there, plain)
    assert not left_behind()


def test_a_cluster_that_vanishes_loses_nothing_that_was_generated(
    organism, edited, tmp_path, monkeypatch
):
    """Under edits that number the clips of the whole call."""
    sing = work._sing
    out = tmp_path / "c.zarr"

    def until_the_end(m, piece, **told):
        if piece.start < 8:
            return sing(m, piece, **told)
        for process in (
            psutil.Process(os.getppid()).parent().children()
        ):  # all of Ray that this call started
            process.kill()
        os._exit(1)

    asked = {"prompts": PROMPTS, "seconds": 0.6, "seed": 3, "out": out, "at_once": 4}
    with activations.edit(organism, *EDITS):
        with monkeypatch.context() as patch:
            patch.setattr(work, "_sing", until_the_end)
            message = r"Workers are gone \(.+\). What they wrote is kept"
            with pytest.raises(scale.ScaleError, match=message):
                scale.generate(organism, **asked, workers=1, retries=0, progress=False)
        with pytest.raises(store.StoreError, match="1 of 3 pieces"):
            store.open(out)
        pieces = []
        monkeypatch.setattr(
            work, "_sing", lambda m, piece, **told: (pieces.append(piece), sing(m, piece, **told))
        )
        again = scale.generate(organism, **asked, progress=False)  # in this process
    assert pieces == [slice(8, 12)]
    assert np.array_equal(again.tokens, edited.tokens)
    assert np.array_equal(again.audio, edited.audio)
    assert again.prompts == edited.prompts
    assert again.seeds == edited.seeds
    assert again.settings == edited.settings


# what follows needs no model: the workers start quickly
def run(task, items=(1, 2), workers=2, address=None, retries=0):
    packed = [cloudpickle.dumps(item) for item in items]
    return sorted(cluster.run(cloudpickle.dumps(task), packed, workers, address, retries))


class Two(Exception):
    """One that is not made again from its message alone, as pickle does."""

    def __init__(self, what, why):
        super().__init__(f"{what}, because {why}")


class Held(Exception):
    """One that holds what cannot be pickled."""

    def __init__(self, what):
        super().__init__(what)
        self.lock = threading.Lock()


def test_an_error_that_cannot_travel_is_told_in_words():
    def fail(item):
        raise Two("lost", "late") if item else Held("lost")

    for item, message in enumerate(("Held: lost", "Two: lost, because late")):
        fine, packed = cluster._call(cloudpickle.dumps(fail), cloudpickle.dumps(item))
        told = pickle.loads(packed)
        assert not fine and str(told) == message
        assert "in fail" in told.__notes__[0]


def test_it_works_under_another_name_and_a_task_s_own_error_comes_back(tmp_path, monkeypatch):
    """Installed, the package has another name, and workers look for it under that."""
    (tmp_path / "another_name").symlink_to(Path(lib.__file__).parent)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    there = importlib.import_module("another_name.scale.cluster")
    check = importlib.import_module("another_name.check")
    try:
        assert there is not cluster
        task = cloudpickle.dumps(check.texts)  # as another_name.check.texts
        assert b"another_name" in task
        items = [cloudpickle.dumps("prompts"), cloudpickle.dumps("again")]
        with pytest.raises(TypeError, match="values") as caught:
            list(there.run(task, items, 1, None, 0))
        assert caught.value.__notes__[0].startswith("On a worker")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "another_name"]:
            del sys.modules[name]


def test_a_worker_that_always_dies_ends_it():
    with pytest.raises(scale.ScaleError, match=r"ActorDiedError.*run the same call again"):
        run(lambda item: os._exit(1))
    assert not left_behind()


class FakeRay:
    """As much of Ray as spreads items: calls are done one after the other, when they are asked for.

    ``places`` actors run at once, each on a GPU; an item that is n times in ``deadly`` kills n.
    """

    exceptions = types.SimpleNamespace(
        RayActorError=type("RayActorError", (Exception,), {}),
        ObjectLostError=type("ObjectLostError", (Exception,), {}),
        OutOfMemoryError=type("OutOfMemoryError", (Exception,), {}),
    )

    def __init__(self, places, deadly=(), death="RayActorError"):
        self.places = places
        self.death = getattr(self.exceptions, death)
        self.deadly = list(deadly)
        self.actors = []
        self.alive = []

    def cluster_resources(self):
        return {"GPU": float(self.places)}

    def remote(self, **asked):
        assert asked["num_gpus"] == 1
        return lambda kept: types.SimpleNamespace(remote=self.start)

    def start(self):
        actor = types.SimpleNamespace(number=len(self.actors))
        call = lambda task, item: (actor.number, item)  # noqa: E731
        actor.call = types.SimpleNamespace(remote=call)
        self.actors.append(actor)
        self.alive.append(actor.number)
        return actor

    def put(self, value):
        return value

    def wait(self, calls):
        """Actors that were started later wait for a place."""
        running = [call for call in calls if call[0] in self.alive[: self.places]]
        assert running, "all that is under way waits for ever"
        return running[:1], None

    def get(self, call):
        _, item = call
        if item in self.deadly:
            self.deadly.remove(item)
            raise self.death
        return True, item

    def kill(self, actor):
        self.alive.remove(actor.number)


@pytest.mark.parametrize("death", vars(FakeRay.exceptions))
def test_a_worker_keeps_its_process_and_another_takes_a_dead_ones_item(death):
    ray = FakeRay(2, [3], death)
    told = []
    items = list(range(8))
    cluster._spread(ray, cluster.Job(b"", items, 2, None, 1), lambda *what: told.append(what))
    assert sorted(told) == [("item", item, item) for item in items]
    assert len(ray.actors) == 3 and not ray.alive

    told.clear()
    ray = FakeRay(2, [3, 3], death)
    with pytest.raises(ray.death):
        cluster._spread(ray, cluster.Job(b"", items, 2, None, 1), lambda *what: told.append(what))
    assert ("item", 3, 3) not in told


def test_workers_for_whom_there_is_no_gpu_wait_until_there_is_one():
    ray = FakeRay(1)
    told = []
    cluster._spread(
        ray, cluster.Job(b"", [0, 1, 2, 3], 3, None, 0), lambda *what: told.append(what)
    )
    assert sorted(told) == [("item", item, item) for item in range(4)]


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


# ------------------------------------------------------------------ edits and changed models travel
@pytest.mark.parametrize("workers", [0, 1])
def test_pieces_are_edited_as_one_call_is(organism, clips, edited, played, workers):
    asked = {"seconds": 0.6, "seed": 3, "at_once": np.int32(5), "decode": False, "workers": workers}
    with activations.edit(organism, *EDITS):
        sung = scale.generate(organism, iter(PROMPTS), **asked, progress=False)
    assert np.array_equal(sung.tokens, edited.tokens)
    assert not np.array_equal(sung.tokens[0], clips.tokens[0])
    assert np.array_equal(scale.generate(organism, PROMPTS, **asked).tokens, clips.tokens)


def test_the_stream_beside_is_cut_into_pieces(organism, played):
    basis = np.eye(160)[:8]
    prompts = PROMPTS[:3]
    beside = PROMPTS[1:4]
    with activations.edit(organism, Edit("resid.3", interchange=basis)):
        whole = organism.generate(prompts, 0.4, 1, beside=beside, progress=False)
        for workers in (0, 1):
            parts = scale.generate(
                organism, prompts, 0.4, 1, beside=iter(beside), at_once=2, workers=workers
            )
            assert np.array_equal(parts.tokens, whole.tokens)
    assert not np.array_equal(whole.tokens, organism.generate(prompts, 0.4, 1).tokens)


def test_what_cannot_be_sent_is_refused_with_the_reason(organism, clips, tmp_path, played):
    lock = threading.Lock()

    def locked(x):
        with lock:
            return x

    with activations.edit(organism, Edit("resid.1", apply=locked)):
        with pytest.raises(scale.ScaleError, match=r"The edits in force cannot .*lock.*workers=0"):
            scale.generate(organism, PROMPTS[:1], 0.2, workers=1)
    with pytest.raises(scale.ScaleError, match=r"The task cannot be sent .*lock"):
        scale.each(lambda m, item: locked(item), organism, [1], workers=1)
    with pytest.raises(scale.ScaleError, match=r"Items\[1\] cannot be sent .*lock"):
        scale.each(print, organism, [1, lock], workers=1)
    assert not played


def test_a_changed_model_is_used_here_and_refused_elsewhere(clips, tmp_path, played):
    changed = model.load("organism", "cpu")
    with torch.no_grad():
        changed.lm.transformer.layers[3].linear2.weight.mul_(0.5)
    expected = changed.generate(PROMPTS[:2], 0.4, 3, progress=False)
    here = scale.generate(changed, PROMPTS[:2], 0.4, 3, at_once=1, progress=False)
    assert np.array_equal(here.tokens, expected.tokens)
    assert not np.array_equal(here.tokens, clips.tokens[:2, :, :10])
    message = r"given in language model: .* Save the changed model .* workers=0"
    with pytest.raises(scale.ScaleError, match=message):
        scale.generate(changed, PROMPTS[:2], 0.4, 3, workers=1)
    with pytest.raises(scale.ScaleError, match=message):
        scale.capture(changed, clips, SITES, tmp_path / "a.zarr", workers=1)
    with pytest.raises(scale.ScaleError, match=message):
        scale.each(print, changed, [1], workers=1)
    conditioner = changed.lm.condition_provider.conditioners["description"]
    with torch.no_grad():
        conditioner.t5.shared.weight[5] += 1
    with pytest.raises(scale.ScaleError, match="given in language model and text encoder: "):
        scale.each(print, changed, [1], workers=1)
    louder = model.load("organism", "cpu")
    with torch.no_grad():
        next(louder.codec.parameters()).mul_(2)
    with pytest.raises(scale.ScaleError, match="given in codec: "):  # a task may decode
        scale.each(print, louder, [1], workers=1)


def test_hooks_do_not_travel(organism, played):
    handle = organism.lm.transformer.layers[4].register_forward_hook(lambda *_: None)
    try:
        with pytest.raises(scale.ScaleError, match=r"hook.*transformer\.layers\.4.*workers=0"):
            scale.generate(organism, PROMPTS[:1], 0.2, workers=1)
    finally:
        handle.remove()
    assert not played


def test_a_model_that_workers_cannot_load_is_refused(played):
    by_hand = model.load("organism", "cpu")
    by_hand.name = "organism, by hand"
    with pytest.raises(scale.ScaleError, match=r"load organism, by hand .* no model.*workers=0"):
        scale.generate(by_hand, PROMPTS[:1], 0.2, workers=1)


def test_an_adapter_reaches_workers(tmp_path, played, monkeypatch):
    """Wherever it was loaded from; another one, or none any more, is refused."""
    base = released.write_transformers(tmp_path / "base")
    released.write_adapter(tmp_path / "adapter", base)
    monkeypatch.chdir(tmp_path)
    adapted = model.load(str(base), "cpu", adapter="adapter")
    monkeypatch.chdir("/")
    asked = {"prompts": ["a melody", "a happy melody"], "seconds": 0.4, "seed": 3}
    here = adapted.generate(**asked, progress=False)
    there = scale.generate(adapted, **asked, at_once=1, workers=1, progress=False)
    assert np.array_equal(there.tokens, here.tokens)
    assert np.array_equal(there.audio, here.audio)
    plain = model.load(str(base), "cpu").generate(**asked, progress=False)
    assert not np.array_equal(plain.tokens, here.tokens)
    clips = replace(here, audio=here.audio[:, :0])
    acts = scale.capture(adapted, clips, "resid.1", tmp_path / "a", workers=1, progress=False)
    expected = activations.capture(adapted, clips, "resid.1", progress=False)
    assert np.array_equal(acts["resid.1"].values, expected["resid.1"].values)

    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    told = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({name: weight * 2 for name, weight in told.items()}, weights)
    message = r"load .*base with .*adapter by its name, .* differs .* in language model"
    with pytest.raises(scale.ScaleError, match=message):
        scale.generate(adapted, **asked, workers=1)
    weights.unlink()
    with pytest.raises(scale.ScaleError, match=r"adapter by its name, .* lacks adapter_model"):
        scale.generate(adapted, **asked, workers=1)


def test_workers_have_the_precision_that_was_given(played):
    half = model.load("organism", "cpu", "bfloat16")
    (kind,) = scale.each(lambda m, item: m.identity()["dtype"], half, [0], workers=1)
    assert kind == half.identity()["dtype"] == "torch.bfloat16"
    assert model.load("organism", "cpu").identity()["dtype"] == "torch.float32"


def test_another_precision_is_refused(organism, played, monkeypatch):
    identity = model.Model.identity
    monkeypatch.setattr(
        model.Model,
        "identity",
        lambda m, audio=False: (
            identity(m, audio) | ({} if m is organism else {"dtype": "torch.float16"})
        ),
    )
    with pytest.raises(scale.ScaleError, match=r"in torch\.float16, and it was .* torch\.float32"):
        scale.each(print, organism, [1], workers=1)


def test_a_relative_folder_is_found_from_anywhere(folder, tmp_path, played, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "organism").mkdir()  # a name of ours is no folder
    monkeypatch.chdir(folder.parent)
    relative = Path(folder.name)
    mine = model.load(str(relative), "cpu")
    by_hand = cluster.run

    def from_elsewhere(*job):
        monkeypatch.chdir(tmp_path / "there")
        yield from by_hand(*job)

    monkeypatch.setattr(cluster, "run", from_elsewhere)
    for given in (mine, relative, str(relative)):
        monkeypatch.chdir(folder.parent)
        (dim,) = scale.each(lambda m, item: m.lm.dim, given, [0], workers=1)
        assert dim == mine.lm.dim
    monkeypatch.chdir(tmp_path)
    assert scale.each(lambda m, item: m.name, "organism", [0], workers=1) == ["organism"]


def test_clips_travel_without_their_sound(organism, clips, tmp_path, played):
    loud = replace(clips, audio=np.full((len(clips), 10**6), 0.1, np.float32))
    scale.capture(organism, loud, SITES, tmp_path / "a.zarr", workers=1, progress=False)
    ((task, _),) = played
    assert len(task) < 100_000


@pytest.mark.parametrize("there", [None, "another"])
def test_a_worker_without_the_shared_folder_is_told_at_once(
    organism, clips, tmp_path, played, monkeypatch, there
):
    """On its machine there is nothing at that place, or the store of another call."""
    by_hand = cluster.run
    out = tmp_path / "a.zarr"

    def on_another_machine(*job):
        out.rename(tmp_path / "the caller's")
        if there:
            scale.generate(organism, ["sad"], 0.2, 9, out=out, decode=False, progress=False)
        yield from by_hand(*job)

    monkeypatch.setattr(cluster, "run", on_another_machine)
    message = rf"does not find at {out} the store .* all machines share, or a bucket \(s3://"
    with pytest.raises(scale.ScaleError, match=message):
        scale.generate(organism, PROMPTS[:2], 0.2, out=out, at_once=1, workers=1, progress=False)
    assert out.exists() == bool(there)
    (tmp_path / "the caller's").rename(tmp_path / "before")
    if there:
        out.rename(tmp_path / "that of another call")
    with pytest.raises(scale.ScaleError, match=message):
        scale.capture(organism, clips, SITES, out, workers=1, progress=False)
    assert out.exists() == bool(there)


def counted(monkeypatch):
    """The models whose weights are hashed, one entry a time."""
    asked = []
    identity = model.Model.identity

    def count(m, audio=False):
        asked.append(m)
        return identity(m, audio)

    monkeypatch.setattr(model.Model, "identity", count)
    return asked


def test_weights_are_not_hashed_for_every_piece(organism, clips, alone, tmp_path, monkeypatch):
    asked = counted(monkeypatch)
    out = tmp_path / "a.zarr"
    here = scale.capture(organism, clips, SITES, out, batch_size=4, progress=False)
    assert same(here, alone)
    assert asked == [organism]


def test_a_worker_hashes_its_weights_once(organism, clips, alone, tmp_path, played, monkeypatch):
    monkeypatch.setattr(work, "_loaded", functools.cache(work._loaded))
    asked = counted(monkeypatch)
    out = tmp_path / "a.zarr"
    there = scale.capture(organism, clips, SITES, out, batch_size=4, workers=1, progress=False)
    assert same(there, alone)
    ((_, pieces),) = played
    assert len(pieces) == 3
    # when it is loaded, and as what the store follows from
    assert len([m for m in asked if m is not organism]) == 2


def test_a_capture_goes_on_with_another_batch_size(organism, clips, alone, tmp_path, monkeypatch):
    """As the error of memory that does not suffice says."""
    out = tmp_path / "a.zarr"
    activations.capture(organism, clips, SITES, out=out, batch_size=4, pieces=[slice(0, 4)])
    sizes = []
    batches = model.Model.batches
    monkeypatch.setattr(
        model.Model, "batches", lambda m, p, size: (sizes.append(size), batches(m, p, size))[1]
    )
    again = scale.capture(organism, clips, SITES, out, batch_size=2, progress=False)
    assert sizes == [2, 2]
    for site in SITES:
        np.testing.assert_allclose(again[site].values, alone[site].values, atol=1e-4)


# ---------------------------------------------------------------------------------- without workers
def test_a_store_at_a_url(organism, clips, alone, monkeypatch):
    out = "memory://scale-test/a.zarr"
    there = scale.capture(organism, clips, iter(SITES), out, batch_size=4, progress=False)
    assert same(there, alone)
    with pytest.raises(ValueError, match="Workers cannot share memory://"):
        scale.capture(organism, clips, SITES, out, workers=2)
    memory = type("Memory", (), {"available": 1000})
    monkeypatch.setattr(store.psutil, "virtual_memory", memory)
    with pytest.raises(store.StoreError, match="are free"):
        scale.capture(organism, clips, SITES, "memory://scale-test/b.zarr", progress=False)


def test_data_that_was_lost_is_named_and_written_again(
    organism, clips, alone, tmp_path, monkeypatch
):
    out = tmp_path / "half.zarr"
    scale.capture(organism, clips, SITES, out, batch_size=4, progress=False)
    next(iter(out.rglob("resid.4/1.*"))).unlink()  # the store is copied without one file
    with pytest.raises(store.StoreError, match=r"1 of 3 pieces of .* has been lost"):
        store.open(out)
    asked = []
    piece = capture._piece
    monkeypatch.setattr(
        capture,
        "_piece",
        lambda m, c, numbers, *a: (asked.append(numbers), piece(m, c, numbers, *a))[1],
    )
    again = scale.capture(organism, clips, SITES, out, batch_size=4, progress=False)
    assert same(again, alone)
    assert asked == [range(4, 8)]


def test_clips_in_a_store_are_those_of_all_that_was_asked(organism, clips, tmp_path, monkeypatch):
    out = tmp_path / "d.zarr"
    asked = {"prompts": PROMPTS[:3], "seconds": 0.2, "seed": 3, "at_once": 2, "out": out}
    first = scale.generate(organism, **asked, decode=False, progress=False)
    direct = organism.generate(PROMPTS[:3], 0.2, 3, progress=False)
    assert first.audio.shape == (3, 0)
    assert np.array_equal(first.tokens, direct.tokens)
    for change, named in (
        ({"seed": 4}, "seeds"),
        ({"seconds": 0.4}, "seconds"),
        ({"cfg": 1.0}, "cfg"),
        ({"negative": "sad"}, "negative"),
        ({"prompts": PROMPTS[1:4]}, "prompts"),
        ({"beside": PROMPTS[1:4]}, "beside"),
    ):
        with pytest.raises(store.StoreError, match=f"written from something else .*{named}: "):
            scale.generate(organism, **{**asked, **change})
    with activations.edit(organism, Edit("resid.1", multiply=0.5)):
        with pytest.raises(store.StoreError, match="edits: "):
            scale.generate(organism, **asked)
    changed = model.load("organism", "cpu")
    with torch.no_grad():
        changed.lm.transformer.layers[3].linear2.weight[7, 300] += 1
    with pytest.raises(store.StoreError, match="model: "):
        scale.generate(changed, **asked)
    monkeypatch.setattr(work, "_sing", lambda *a, **k: pytest.fail("generated again"))
    same_model = model.load("organism", "cpu")
    same_model.name = "moved"
    again = scale.generate(same_model, **asked)
    assert np.array_equal(again.tokens, direct.tokens)
    assert np.array_equal(again.audio, direct.audio)


def test_harvests_are_spread(organism, miniature, monkeypatch):
    asked = []

    def nothing(task, items, *how):
        asked.append(how)
        return iter(())

    monkeypatch.setattr(cluster, "run", nothing)  # nothing comes back: the store says so
    with pytest.raises(store.StoreError, match="not written yet"):
        harvest.clips(miniature, 12, seed=77, seconds=0.5, workers=3, address="there:1")
    these, _ = harvest.clips(organism, 10, seed=77, seconds=1)
    with pytest.raises(store.StoreError, match="not written yet"):
        harvest.acts(organism, these, "resid.3", workers=2)
    assert [how[:2] for how in asked] == [(3, "there:1"), (2, None)]


def test_a_task_is_done_in_order_here_or_there(organism, played):
    for given, workers in ((organism, 0), (organism, 2), ("organism", 2)):
        for edits, expected in ((None, 0), (EDITS, len(EDITS))):
            context = activations.edit(organism, *edits) if edits else nullcontext()
            with context:
                found = scale.each(
                    lambda m, item: (item, len(m.edits)), given, iter("ab"), workers=workers
                )
            wanted = expected if given is organism else 0
            assert found == [("a", wanted), ("b", wanted)]
    assert scale.each(print, "organism", [], workers=2) == []


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"workers": -1}, ValueError, "workers must be an integer, 0 or more"),
        ({"workers": True}, TypeError, "workers must be an integer"),
        ({"retries": -1}, ValueError, "retries must be an integer, 0 or more"),
        ({"at_once": 0}, ValueError, "at_once must be an integer, 1 or more"),
        ({"batch_size": -1}, ValueError, "batch_size must be an integer, 1 or more"),
        ({"seed": [1]}, ValueError, "one integer for each of 12 prompts"),
        ({"seconds": 99}, ValueError, "seconds must be"),
        ({"top_k": 0}, ValueError, "top_k must be"),
        ({"beside": ["sad"]}, ValueError, "beside must be one for each of 12"),
        ({"beside": "sad"}, TypeError, "beside must be a list of strings"),
        ({"prompts": "sad"}, TypeError, "prompts must be a list of strings"),
    ],
)
def test_bad_input_is_refused_before_anything_is_kept(organism, tmp_path, wrong, error, message):
    with pytest.raises(error, match=message):
        scale.generate(organism, **{"prompts": PROMPTS, **wrong}, out=tmp_path / "e.zarr")
    assert not list(tmp_path.iterdir())


def test_bad_captures_are_refused_before_work_starts(organism, clips, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="give out, too"):
        activations.capture(organism, clips, SITES, pieces=[])
    with pytest.raises(ValueError, match="batch_size must be"):
        scale.capture(organism, clips, SITES, tmp_path / "d.zarr", batch_size=-1)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(model.Model, "replay", lambda *a, **k: pytest.fail("work has started"))
    with pytest.raises(store.StoreError, match=r"would take 0\.0 GB, and 0\.0 GB are free"):
        scale.capture(organism, clips, SITES, tmp_path / "d.zarr")
    assert not list(tmp_path.iterdir())


def test_without_ray_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(scale.ScaleError, match=r"pip install 'musicgen-emotion-book\[scale\]'"):
        scale.each(print, "organism", [1], workers=1)
