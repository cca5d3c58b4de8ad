"""What a model takes is said beforehand, and is right."""

import numpy as np
import pytest
import torch

from lib import activations, model, sizing
from lib.musicgen import loading, sampling


def test_parameters_are_those_of_the_model(miniature):
    lm = miniature.lm
    conditioner = lm.condition_provider.conditioners["description"]
    shape = sizing.Shape(len(lm.transformer.layers), lm.dim, lm.n_q, lm.card, conditioner.dim)
    assert sizing.parameters(shape) == sum(p.numel() for p in lm.parameters())


def test_released_sizes_are_the_known_ones():
    # the sum of the files of facebook/musicgen-small on the hub is 587 million parameters
    small = sizing.parameters(sizing.SHAPES["facebook/musicgen-small"]) + sum(
        sizing.beside().values()
    )
    assert small == pytest.approx(587e6, rel=0.01)
    table = sizing.table().set_index("model")
    assert 3.2e3 < table.loc["musicgen-large", "parameters, millions"] < 3.3e3
    gpu, cpu = table["weights on a GPU, GB"], table["weights on a CPU, GB"]
    assert (gpu < cpu).all() and (cpu < 2 * gpu).all()


def test_what_does_not_fit_is_refused_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr(sizing, "free", lambda device: 10_000)
    monkeypatch.setattr(loading, "_read", lambda *a: pytest.fail("read"))
    monkeypatch.setattr(loading, "_from_hub", lambda *a: pytest.fail("fetched"))
    message = r"musicgen-large takes 20\.2 GB on cpu while it is loaded, and 0\.0 GB are free"
    with pytest.raises(MemoryError, match=message):
        model.load("facebook/musicgen-large", "cpu")
    with pytest.raises(MemoryError, match="Choose a smaller model"):
        model.load(str(folder), "cpu")


def test_a_checkpoint_is_counted_without_being_read(folder, miniature, tmp_path):
    held = sum(value.numel() for value in miniature.lm.state_dict().values())
    assert sizing.numbers(folder / "state_dict.bin") == held
    (tmp_path / "damaged.bin").write_bytes(b"no checkpoint")
    assert sizing.numbers(tmp_path / "damaged.bin") == 0
    assert sizing.numbers(folder / "compression_state_dict.bin") == 0


def test_on_a_gpu_weights_and_checkpoint_lie_in_different_memories(monkeypatch):
    monkeypatch.setattr(sizing, "free", lambda device: 8e9 if device == "cuda" else 5e9)
    sizing.check("fits", 7e9, "cuda", 4e9)
    with pytest.raises(
        MemoryError, match=r"6\.0 GB on cpu while it is loaded, and 5\.0 GB are free"
    ):
        sizing.check("large", 7e9, "cuda", 6e9)
    with pytest.raises(MemoryError, match=r"9\.0 GB on cuda .* 8\.0 GB"):
        sizing.check("large", 9e9, "cuda", 1e9)
    with pytest.raises(MemoryError, match=r"6\.0 GB on cpu"):
        sizing.check("large", 4e9, "cpu", 2e9)


def test_free_memory_is_measured():
    assert 1e8 < sizing.free("cpu") < 1e14


def test_what_pytorch_holds_in_reserve_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 60)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 25)
    assert sizing.free("cuda:1") == 10 + 60 - 25
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 50)
    for taken, left in ((20, 30), (70, 0)):
        monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda taken=taken: taken)
        assert sizing.free("mps") == left


def test_a_failed_attempts_memory_is_given_back_on_mps_too(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append(1))
    sizing._tidy()
    assert emptied


def test_disk_is_what_a_store_holds(tmp_path, miniature):
    clips = miniature.generate(["happy music"] * 2, 1.0, 0, progress=False)
    activations.capture(
        miniature, clips, "resid.1", dtype="float16", out=tmp_path / "a.zarr", progress=False
    )
    held = sum(f.stat().st_size for f in (tmp_path / "a.zarr").rglob("resid.1/0*"))
    large = sizing.disk("facebook/musicgen-large", 1, 1.0).set_index("sites")
    steps = clips.tokens.shape[-1]
    a_second = large.loc["one residual site", "bytes a second"] * miniature.lm.dim / 2048
    assert 2 * a_second <= held <= 2 * a_second * 17  # a piece of 16 clips is one chunk
    assert steps == 50
    every = large.loc["every site of every block", "bytes a second"]
    assert every == 192 * a_second * 2048 / miniature.lm.dim


@pytest.mark.parametrize(
    ("seconds", "rate", "channels", "clips"),
    [
        (6, 16_000, 1, 16),  # the organisms' longest, as many as ever
        (6.04, 16_000, 1, 16),
        (1, 32_000, 1, 16),
        (5, 32_000, 1, 10),
        (10, 32_000, 1, 5),
        (10, 32_000, 2, 2),
        (30, 32_000, 1, 1),
        (30, 32_000, 2, 1),
        (600, 32_000, 1, 1),
    ],
)
def test_what_the_codec_does_at_once_is_bounded_by_samples(seconds, rate, channels, clips):
    samples = round(seconds * rate)
    assert sizing.clips_at_once(samples, channels) == clips
    together = clips * channels * seconds * rate
    assert clips == 1 or together <= sizing.SAMPLES
    assert 0 < sizing.clips_at_once(0) <= 16


def test_a_model_decodes_no_more_at_once(organism, monkeypatch):
    sizes = []
    decode = organism.codec.decode
    monkeypatch.setattr(
        organism.codec, "decode", lambda codes, *a: (sizes.append(len(codes)), decode(codes, *a))[1]
    )
    tokens = np.zeros((5, organism.lm.n_q, 25), np.int64)
    whole = organism.decode(tokens)
    monkeypatch.setattr(sizing, "SAMPLES", 2 * organism.sample_rate)
    parts = organism.decode(tokens)
    assert sizes == [5, 2, 2, 1]
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_batches_follow_from_free_memory(organism, monkeypatch):
    sizes = []
    predict = organism.replay
    monkeypatch.setattr(
        organism,
        "replay",
        lambda tokens, *a, **k: (sizes.append(len(tokens)), predict(tokens, *a, **k))[1],
    )
    clips = organism.generate(["sad music"] * 6, 0.4, progress=False)
    whole = organism.cross_entropy(clips)
    each = organism.bytes_of_a_pass(10) + 3 * 4 * 4 * 10 * organism.lm.card
    monkeypatch.setattr(sizing, "free", lambda device: 2 * 4 * each)
    parts = organism.cross_entropy(clips)
    assert sizes == [6, 4, 2]
    np.testing.assert_allclose(parts, whole, rtol=1e-4)
    assert sizing.fits(10**15, "cpu", 64) == 1
    assert sizing.fits(1, "cpu", 64) == 64


FULL = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
    "CPU": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"),
    "numpy": MemoryError("Unable to allocate 3 TiB for an array"),
}


@pytest.mark.parametrize("kind", FULL)
def test_too_large_a_batch_is_halved(kind):
    done = []

    def work(batch):
        if len(batch) > 2:
            raise FULL[kind]
        done.append(list(batch))
        return sum(batch)

    with pytest.warns(UserWarning, match="suffice to sing 4 at once: going on with 2"):
        found = list(sizing.each_batch([range(0, 4), range(4, 7)], work, "sing"))
    assert done == [[0, 1], [2, 3], [4, 5], [6]]
    assert [total for _, total in found] == [1, 5, 9, 6]


def test_batches_are_halved_down_to_one_and_what_is_done_is_kept():
    def work(batch):
        if len(batch) > (4 if 0 in batch else 1):  # others take memory, too, after the first
            raise FULL["CUDA"]
        return list(batch)

    with pytest.warns(UserWarning) as told:
        found = [made for _, made in sizing.each_batch([range(4), range(4, 8)], work, "sing")]
    assert [str(one.message)[-16:] for one in told] == ["going on with 2.", "going on with 1."]
    assert found == [[0, 1, 2, 3], [4], [5], [6], [7]]


def test_what_is_too_large_alone_is_refused():
    def work(batch):
        raise FULL["CUDA"]

    with pytest.warns(UserWarning, match="going on with"):
        with pytest.raises(MemoryError, match=r"suffice to sing a single clip .* memory alone"):
            list(sizing.each_batch([range(4)], work, "sing"))
    with pytest.raises(ZeroDivisionError):
        list(sizing.each_batch([range(4)], lambda batch: 1 / 0, "sing"))
    with pytest.raises(RuntimeError, match="shape"):
        list(sizing.each_batch([range(4)], _wrong, "sing"))


def _wrong(batch):
    raise RuntimeError("the shape is wrong")


@pytest.mark.parametrize("what", ["generate", "capture", "decode", "encode", "predict"])
def test_calls_go_on_with_half(organism, what, monkeypatch):
    clips = organism.generate(["sad music", "happy music"] * 2, 0.4, progress=False)
    calls = {
        "generate": (sampling, "sample", 2, lambda: organism.generate(clips.prompts, 0.4).tokens),
        "capture": (
            model.Model,
            "replay",
            1,
            lambda: activations.capture(organism, clips)["resid.2"],
        ),
        "decode": (organism.codec, "decode", 0, lambda: organism.decode(clips.tokens)),
        "encode": (organism.codec, "encode", 0, lambda: organism.encode(clips.audio, 16000)),
        "predict": (model.Model, "replay", 1, lambda: organism.cross_entropy(clips)),
    }
    place, name, position, call = calls[what]
    whole = call()
    original = getattr(place, name)

    def small(*given, **named):
        if len(given[1 if what == "generate" else position]) > 2:
            raise FULL["CUDA"]
        return original(*given, **named)

    monkeypatch.setattr(place, name, small)
    with pytest.warns(UserWarning, match=f"suffice to {what} 4 at once: going on with 2"):
        parts = call()
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-4)
