"""Exact scores of edges between heads and MLPs, against a plain loop that runs the whole network with
one edge less, one edge after the other.

Same pairs, same songs, same edges (those from some senders); results are compared. Beside it, what
the gradient's ways cost for all edges.
"""

import time

import numpy as np
import torch

from lib import model, prompts
from lib.causal import circuits

PAIRS = 4
SECONDS = 1.0
SENDERS = ["text", "cross_head.1.0", "mlp.2"]
REPEATS = 2


def plain(m, songs):
    """Every edge by a run of its own through all sublayers: scores by (receiver, sender)."""
    graph, metric = circuits._prepared(m, *songs, "logit_difference")
    ((_, there),) = circuits._pieces(m, graph, *songs, metric, PAIRS)
    whole = there.both.scores["clean"].mean().item()
    found = np.full(graph.edges.shape, np.nan)
    with torch.no_grad():
        for sender in SENDERS:
            at = graph.senders.index(sender)
            for receiver in np.flatnonzero(graph.edges[:, at]):
                weights = circuits._full(graph)
                weights[0, receiver, at] = 0
                found[receiver, at] = whole - there.score(there.run(weights)).mean().item()
    return found


def ours(m, songs, method="exact", senders=SENDERS):
    given = {"senders": senders, "pairs_each": PAIRS, "progress": False}
    return circuits.scores(m, *songs, method, **given).values


def timed(function):
    """Seconds, the best of a few runs, and what it gave."""
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        found = function()
        best = min(best, time.perf_counter() - start)
    return best, found


m = model.load("organism")
table = prompts.pairs("emotion", PAIRS)
songs = [m.generate(list(table[end]), SECONDS, progress=False) for end in ("high", "low")]
base, by_loop = timed(lambda: plain(m, songs))
fast, by_us = timed(lambda: ours(m, songs))
edges = int(np.isfinite(by_loop).sum())
print(f"{edges} edges, {PAIRS} pairs of {SECONDS:g} s; largest difference ", end="")
print(f"{np.nanmax(np.abs(by_loop - by_us)):.1e} nats")
print(f"plain loop (baseline)  {base:6.2f} s  1.00 x")
print(f"lib.causal.circuits    {fast:6.2f} s  {base / fast:.2f} x")
for method in ("eap", "eap-ig-inputs", "eap-ig-activations"):
    taken, found = timed(lambda method=method: ours(m, songs, method, None))
    print(f"{method:22} {taken:6.2f} s  for all {int(np.isfinite(found).sum())} edges")
