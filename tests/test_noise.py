"""Random numbers follow from a seed and a place alone, and are numpy's Philox on every device."""

import numpy as np
import pytest
import torch
from scipy import stats

from lib.musicgen import noise
from lib.musicgen.noise import Noise

SEEDS = [0, 7, 2**40 + 3, 2**63 - 1]


@pytest.mark.parametrize("first", [0, 1, 12345, 2**33])
def test_an_accelerator_computes_what_numpy_does(first):
    there = noise.integers(SEEDS, first, 50, "cpu").numpy()
    words = [np.random.Philox(key=seed, counter=first) for seed in SEEDS]
    for row, generator in zip(there, words, strict=True):
        expected = generator.random_raw(200).view("<u4")  # numpy's first block is one further
        np.testing.assert_array_equal(row[8:], expected[:-8])
    here = np.stack([noise._by_numpy(seed, first, 50) for seed in SEEDS])
    np.testing.assert_array_equal(here, there)


def test_noise_depends_on_seed_and_place_alone():
    whole = Noise(SEEDS, "cpu").draw(6, 3, 10)
    assert whole.shape == (6, 4, 3, 10)
    alone = Noise(SEEDS[2:3], "cpu")
    parts = torch.cat([alone.draw(4, 3, 10), alone.draw(2, 3, 10)])
    assert torch.equal(parts, whole[:, 2:3])
    assert len(whole.unique()) == whole.numel()


def test_seeds_are_sent_to_a_device_once(monkeypatch):
    drawn = Noise(SEEDS, "meta")
    monkeypatch.setattr(torch, "tensor", lambda *_, **__: pytest.fail("sent again"))
    assert drawn.draw(2, 3, 10).shape == drawn.draw(2, 3, 10).shape == (2, 4, 3, 10)


def test_it_is_gumbel_noise():
    drawn = Noise(range(8), "cpu").draw(10, 4, 1024)
    assert torch.isfinite(drawn).all()
    assert stats.kstest(drawn.numpy().ravel(), "gumbel_r").pvalue > 0.01


@pytest.mark.parametrize("bits", [0, 2**32 - 1])
def test_the_outermost_numbers_are_finite(bits, monkeypatch):
    monkeypatch.setattr(noise, "_by_numpy", lambda *_: np.full(8, bits, np.uint32))
    assert torch.isfinite(Noise([0], "cpu").draw(1, 1, 8)).all()
