"""Circuits: runs of edges, their scores, curves."""

import numpy as np
import pytest
import torch

from lib import prompts
from lib.methods import causal
from lib.methods.causal import circuits
from lib.musicgen import forward


@pytest.fixture(scope="module")
def songs(organism):
    table = prompts.pairs("emotion", 4)
    return [organism.generate(list(table[end]), 0.6, 0, progress=False) for end in ("high", "low")]


@pytest.fixture(scope="module")
def graph(organism):
    return circuits.Graph(forward.undisturbed(organism))


def test_the_graph_is_of_heads_and_mlps_in_the_order_of_the_computation(graph):
    edges = graph.edges
    assert edges.shape == (67, 67) and edges.sum() == 2121
    at = {node: k for k, node in enumerate(graph.receivers)}
    sent = {node: k for k, node in enumerate(graph.senders)}
    assert edges[at["cross_head.2.0"], sent["text"]] and not edges[at["head.2.0"], sent["text"]]
    assert edges[at["mlp.2"], sent["cross_head.2.4"]] and edges[at["logits"], sent["head.0.0"]]
    assert not edges[at["head.2.1"], sent["head.2.0"]] and not edges[at["head.2.1"], sent["mlp.2"]]


def organism_difference(organism, songs):
    """What the word does to each pair, by cross-entropies."""
    gains = []
    for prompts_of in songs:
        under = [some.under(list(prompts_of.prompts)) for some in songs]
        costs = [organism.cross_entropy(some) for some in under]
        gains.append(costs[1] - costs[0])
    return gains[0] - gains[1]


def test_no_edge_is_the_corrupted_run_and_all_edges_are_the_clean_one(organism, songs, graph):
    nothing = np.zeros_like(graph.edges)
    found = circuits.carried(organism, *songs, [nothing, graph.edges], pairs_each=3)
    assert found.shape == (2, 4) and (found[0] == 0).all()
    whole = organism_difference(organism, songs)
    assert found[1] == pytest.approx(whole, abs=1e-5)


def test_a_circuit_of_one_node_is_what_patching_gives(organism, songs, graph):
    """All edges but those to one head: what *noising* this head of the clean run leaves."""
    node = "mlp.3"
    without = graph.edges.copy()
    without[:, graph.senders.index(node)] = False
    found, whole = circuits.carried(organism, *songs, [without, graph.edges])
    grid = causal.patch_grid(organism, *songs, node, ranges=1, direction="noise", progress=False)
    share = (whole - found) / whole.mean()
    assert share == pytest.approx(grid.values.ravel(), abs=1e-3)


def test_exact_scores_are_single_runs_and_gradients_come_near(organism, songs, graph):
    given = {"senders": ["text"], "progress": False}
    exact = circuits.scores(organism, *songs, "exact", **given).sel(sender="text")
    there = np.isfinite(exact.values)
    assert there.sum() == 30
    best = str(exact.receiver.values[np.nanargmax(exact.values)])
    without = graph.edges.copy()
    without[graph.receivers.index(best), 0] = False
    whole, left = circuits.carried(organism, *songs, [graph.edges, without]).mean(1)
    assert exact.sel(receiver=best).item() == pytest.approx(whole - left, abs=1e-6)
    agree = {}
    for method in ("eap", "eap-ig-inputs"):
        found = circuits.scores(organism, *songs, method, **given).sel(sender="text").values
        agree[method] = np.corrcoef(found[there], exact.values[there])[0, 1]
    assert agree["eap-ig-inputs"] > 0.9
    # the integral along the way is complete: the text's edges share out all that the word does
    assert np.nansum(found) == pytest.approx(whole, rel=0.02)


def test_scores_along_activations_are_gradients_of_the_runs_that_they_describe(organism, songs):
    """One sender, one receiver: a numerical derivative of a circuit's weight at the same place."""
    few = [some[:2] for some in songs]
    found = circuits.scores(organism, *few, "eap-ig-activations", steps=1, progress=False)
    graph, metric = circuits._prepared(organism, *few, "logit_difference")
    ((_, there),) = circuits._pieces(organism, graph, *few, metric, 8)
    sender, receiver = "mlp.1", "mlp.4"
    stage = graph.stages[graph.net.number[sender]]
    moved = torch.zeros_like(there.change[: stage.stop])
    moved[stage] = 0.5 * there.change[stage]
    weights = circuits._full(graph, 2)
    weights[:, :, 0] = 0
    step = 0.05
    where = graph.receivers.index(receiver), graph.senders.index(sender)
    weights[0][where] += step
    weights[1][where] -= step
    ends = there.score(there.run(weights, moved=moved.repeat(2, 1, 1, 1, 1))).sum(1)
    slope = (ends[0] - ends[1]).item() / (2 * step) / 0.5  # moved by half of the change
    score = found.sel(receiver=receiver, sender=sender).item()
    assert score == pytest.approx(slope / len(few[0]), rel=0.02, abs=1e-6)


def test_the_best_edges_are_taken_by_sign_or_by_size_and_curves_have_areas(organism, songs, graph):
    found = circuits.scores(organism, *songs, "eap", progress=False)
    one = circuits.best(found, 1e-6)
    assert one.sum() == 1 and found.values[one][0] == np.nanmax(found.values)
    by_size = circuits.best(found, 0.01, signed=False)
    assert by_size.sum() == 21
    assert np.abs(found.values[by_size]).min() >= np.nanmax(
        np.abs(found.values[graph.edges & ~by_size])
    )
    whole = circuits.best(found, 1.0)
    assert (whole == graph.edges).all()
    drawn = [circuits.scores(organism, *songs, "random", seed=s) for s in (0, 1)]
    assert not drawn[0].equals(drawn[1])


def test_curves_have_areas(organism, songs):
    perfect = np.ones((10, 6))
    areas = circuits.areas(perfect, perfect)
    assert areas["CPR"].value == pytest.approx(0.999) and areas["CMD"].value == 0
    unlike = np.tile(
        np.array([1.0, 2.0, 3.0, 6.0]) / 3, (10, 1)
    )  # pairs with more to carry or less
    for area in circuits.areas(unlike, unlike).values():
        assert area.high - area.low < 1e-9, "of what all edges bring to the very pairs drawn"
    found = circuits.scores(organism, *songs, "eap-ig-inputs", progress=False)
    drawn = circuits.scores(organism, *songs, "random")
    best, chance = (
        circuits.shares(circuits.curve(organism, *songs, some)) for some in (found, drawn)
    )
    assert best[-1].mean() == pytest.approx(1) and best.shape == (10, 4)
    assert circuits.areas(best, best)["CPR"].value > circuits.areas(chance, chance)["CPR"].value
    with pytest.raises(ValueError, match="nothing to share out"):
        circuits.shares(np.zeros((10, 3)))
    edges = found.sel(sender="text").dropna("receiver")
    highest = str(edges.receiver.values[edges.values.argmax()])
    assert circuits.recovery(found, [highest]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "guess"}, "method must be one of"),
        ({"senders": ["mlp.99"]}, "sender must be one of"),
        ({"steps": 0}, "steps must be"),
        ({"metric": "loss"}, "metric must be one of"),
    ],
)
def test_bad_questions_are_refused(organism, songs, change, message):
    with pytest.raises(ValueError, match=message):
        circuits.scores(organism, *songs, **{"progress": False, **change})


def test_circuits_of_another_shape_and_models_without_cross_attention_are_refused(
    organism, songs, miniature, monkeypatch
):
    with pytest.raises(ValueError, match="one bool for each of"):
        circuits.carried(organism, *songs, [np.ones((3, 3), bool)])
    monkeypatch.setattr(circuits.forward, "prefixed", lambda lm: True)
    with pytest.raises(ValueError, match="not by cross-attention"):
        circuits.scores(miniature, *songs)


def test_a_model_of_the_released_format_has_circuits(miniature):
    texts = ["a happy tune", "a happy song"], ["a sad tune", "a sad song"]
    songs = [miniature.generate(some, 0.3, 0, progress=False) for some in texts]
    found = circuits.scores(miniature, *songs, "eap-ig-inputs", progress=False)
    edges = circuits.Graph(forward.undisturbed(miniature)).edges
    both = circuits.carried(miniature, *songs, [np.zeros_like(edges), edges])
    assert (both[0] == 0).all() and np.abs(both[1]).max() > 0
    assert np.isfinite(found.values[edges]).all()
