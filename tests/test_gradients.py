"""Gradients of means over many tokens, which half precision swallows unless they are scaled."""

import numpy as np
import pytest
import torch

from lib import model, prompts
from lib.methods import causal, divergence, gradients, lenses
from lib.methods.causal import circuits, subspaces
from lib.methods.steering import distilling, rank_one
from lib.musicgen import forward

CLIPS, FRAMES = 2, 6
#: Of a clip; the organism has four codebooks.
TOKENS = 4 * FRAMES


def mean_of(weights, read, shift):
    """A mean divergence between predictions that are nearly the same, and its shift."""
    logits = torch.nn.functional.linear((read + shift).to(weights.dtype), weights).float()
    wanted = torch.nn.functional.linear(read.to(weights.dtype), weights).float().log_softmax(-1)
    return divergence.kl(wanted, logits.log_softmax(-1)).mean()


def test_what_half_precision_swallows_is_kept():
    generator = torch.Generator().manual_seed(0)
    weights = 0.1 * torch.randn(256, 8, generator=generator)
    read = torch.randn(16_384, 8, generator=generator)
    exact, swallowed, kept = (torch.full((16_384, 8), 0.1).requires_grad_() for _ in range(3))
    (wanted,) = torch.autograd.grad(mean_of(weights, read, exact), [exact])
    (plain,) = torch.autograd.grad(mean_of(weights.half(), read, swallowed), [swallowed])
    (scaled,) = gradients.of(mean_of(weights.half(), read, kept), [kept], len(read))
    assert (plain == 0).float().mean() > 0.5
    assert (scaled == 0).float().mean() < 0.05
    apart = (scaled - wanted).norm() / wanted.norm()
    assert apart < 0.1 < (plain - wanted).norm() / wanted.norm()


def test_in_float32_they_are_what_autograd_gives():
    weights = torch.randn(64, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    read = torch.randn(100, 8, generator=torch.Generator().manual_seed(2))
    (wanted,) = torch.autograd.grad(mean_of(weights, read, 0.5), [weights])
    (found,) = gradients.of(mean_of(weights, read, 0.5), [weights], 100)
    assert found.equal(wanted)


def test_a_sum_that_is_too_large_for_half_precision_is_scaled_by_less():
    weight = torch.ones(1, dtype=torch.float16, requires_grad=True)
    read = torch.full((2048,), 100, dtype=torch.float16)
    (found,) = gradients.of((weight * read).float().mean(), [weight], 2048)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(100)


def test_a_lens_of_a_model_in_half_precision_learns_from_the_same_gradients():
    slopes = []
    generator = torch.Generator().manual_seed(0)
    last = torch.randn(1, 4096, 160, generator=generator)
    read = last + 0.01 * torch.randn(1, 4096, 160, generator=generator)
    for dtype in ("float32", "float16"):
        net = forward.undisturbed(model.load("organism", "cpu", dtype))
        weights = torch.zeros(161, 160, requires_grad=True)
        slopes.append(lenses._slope(net, read, last, weights))
    exact, half = slopes
    assert (half - exact).norm() < 0.1 * exact.norm()


# ------------------------------------------------------------------------------------------- places
@pytest.fixture(scope="module")
def songs(organism):
    """Music of a pair, drawn and not sung."""
    table = prompts.pairs("emotion", CLIPS)
    codes = np.random.default_rng(0).integers(0, organism.lm.card, (2, CLIPS, 4, FRAMES))
    return [
        organism.clips(some, list(table[end]), decode=False)
        for some, end in zip(codes, ("high", "low"), strict=True)
    ]


def attribution(organism, songs):
    causal.patch_grid(organism, *songs, "resid.5", how="attribution", progress=False)


def edges(organism, songs):
    graph, metric = circuits._prepared(organism, *songs, "logit_difference")
    ((_, some),) = circuits._pieces(organism, graph, *songs, metric, CLIPS)
    circuits._gradients(some, 0.0)
    circuits._behind(some, graph.stages[-1], 0.5)


def search(organism, songs):
    # one batch: prompts of the same length
    table = prompts.interchanges("tempo", CLIPS, "train").iloc[[0] * CLIPS]
    pairs = subspaces.Pairs(table, songs[0])
    how = {"steps": 1, "batch_size": CLIPS, "lr": 0.1, "seed": 0, "progress": False}
    subspaces._aligned(subspaces._Cut(organism, "resid.5"), pairs, 2, **how)


def distilled(organism, songs):
    words = (["music"] * CLIPS, list(songs[0].prompts), list(songs[1].prompts))
    distilling.train(organism, songs[0], *words, {"resid.5": 1.0}, steps=1)


def reft(organism, songs):
    rank_one.train(organism, *songs, ["music"] * CLIPS, "resid.5", 1.0, "reft", steps=1)


def lens(organism, songs):
    lenses.tuned(organism, songs[0], steps=1, progress=False)


PLACES = {
    attribution: TOKENS,  # a sum over pairs
    edges: TOKENS,
    search: CLIPS * TOKENS,
    distilled: CLIPS * TOKENS,
    reft: CLIPS * TOKENS,
    lens: 4 * lenses.POSITIONS,
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_every_place_says_how_many_tokens_its_mean_is_over(organism, songs, place, monkeypatch):
    own = gradients.of
    told = []

    def of(value, inputs, tokens):
        told.append(tokens)
        return own(value, inputs, tokens)

    monkeypatch.setattr(gradients, "of", of)
    place(organism, songs)
    assert set(told) == {PLACES[place]}
