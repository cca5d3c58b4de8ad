"""The one direction between two groups, and the one divergence."""

import numpy as np
import pytest
import torch

from lib.methods import directions, divergence

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def groups():
    """Rows of two groups that differ along the third axis, partners in the same order."""
    low = RNG.normal(size=(20, 6)).astype(np.float32)
    high = low + np.eye(6, dtype=np.float32)[2] * RNG.uniform(1, 3, size=(20, 1)).astype("f4")
    return np.concatenate([low, high]), np.repeat([False, True], 20)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("method", ["diffmeans", "probe", "rfm"])
def test_every_method_finds_the_direction(groups, method, paired):
    found = directions.between(*groups, method, paired=paired, unit=True)
    assert found[2] > (0.99 if paired else 0.7) and np.linalg.norm(found) == pytest.approx(1)


def test_a_probe_of_pairs_leaves_whole_pairs_out():
    """With more dimensions than pairs, and noise: half of a pair would give the other half away, and
    a penalty that is too small would win."""
    rng = np.random.default_rng(3)
    wanted = np.eye(160)[0]
    low = rng.normal(size=(16, 160))
    rows = np.concatenate([low, low + wanted + rng.normal(size=(16, 160))])
    high = np.repeat([False, True], 16)
    found = directions.between(rows, high, "probe", paired=True, unit=True)
    plain = directions.between(rows, high, unit=True)
    assert found @ plain > 0.99 and found @ wanted > 0.95 * plain @ wanted


def test_the_difference_of_means_is_one_in_any_order_and_precision(groups):
    rows, high = groups
    wanted = rows[high].mean(0) - rows[~high].mean(0)
    np.testing.assert_array_equal(directions.between(rows, high), wanted)
    order = RNG.permutation(len(rows))
    np.testing.assert_allclose(directions.between(rows[order], high[order]), wanted, atol=1e-6)
    half = directions.between((300 * rows).astype(np.float16), high)  # squares beyond 65,504
    assert half.dtype == np.float32
    np.testing.assert_allclose(half / 300, wanted, atol=2e-3)
    assert np.isfinite(directions.between((300 * rows).astype("f2"), high, unit=True)).all()
    tensor = torch.tensor(rows, dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_allclose(directions.between(tensor, torch.tensor(high)), wanted, atol=2e-2)


def test_controls_hold_nothing_of_the_difference(groups):
    rows, high = groups
    random = directions.between(rows, high, "random", seed=3)
    np.testing.assert_array_equal(random, np.random.default_rng(3).normal(size=6))
    dealt = directions.between(rows, high, "shuffled", seed=3)
    again = np.random.default_rng(3).permutation(high)
    np.testing.assert_array_equal(dealt, rows[again].mean(0) - rows[~again].mean(0))
    swapped = directions.between(rows, high, "shuffled", paired=True)
    assert abs(swapped[2]) < 10 and np.allclose(swapped[[0, 1, 3, 4, 5]], 0, atol=1e-4)


def test_a_span_is_kept_to(groups):
    rows, high = groups
    span = np.eye(6)[[0, 2]] + 0.5 * np.eye(6)[[2, 0]]
    wanted = np.where(np.isin(range(6), [0, 2]), directions.between(rows, high), 0)
    for given in (span, span.astype(np.float16), torch.tensor(span, dtype=torch.bfloat16)):
        found = directions.between(rows, high, span=given)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_recursive_feature_machine_finds_what_matters():
    x = RNG.normal(size=(200, 12))
    high = np.tanh(2 * x[:, 3]) + 0.1 * RNG.normal(size=200) > 0
    assert abs(directions.recursive_feature_machine(x, high)[3]) > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "method must be one of"),
        ({"high": np.zeros(40, bool)}, "Both groups need rows"),
        ({"high": np.arange(40)}, "one bool for each of 40"),
        ({"high": np.arange(40) < 5, "paired": True}, "equal groups. Got 5 high and 35"),
        ({"rows": np.full((40, 6), np.nan)}, "NaN or infinite"),
        ({"rows": np.ones((40, 6)), "unit": True}, "zero or not finite"),
        ({"span": np.ones((2, 5))}, r"span must be .* shape \(size, 6\)"),
        ({"span": np.ones((2, 6))}, "independent of each other. Got 2 that span 1"),
        ({"rows": np.ones((40, 6)), "method": "rfm"}, "Nothing tells the two groups apart"),
        (
            {"rows": np.tile(RNG.normal(size=(20, 6)), (2, 1)), "method": "rfm", "paired": True},
            "apart",
        ),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_what_makes_no_direction_is_refused(groups, changes, message):
    rows, high = groups
    with pytest.raises(ValueError, match=message):
        directions.between(**{"rows": rows, "high": high, **changes})


def test_divergence_is_the_mean_over_tokens():
    p, q = (torch.from_numpy(RNG.normal(size=(3, 2, 5, 7))).log_softmax(-1) for _ in range(2))
    wanted = (p.exp() * (p - q)).sum(-1).mean((1, 2))
    found = divergence.kl(p, q)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted.float())
    assert (divergence.kl(p, p) == 0).all()
    torch.testing.assert_close(divergence.kl(p.half(), q.half()), wanted.float(), atol=5e-3, rtol=0)
