"""Circuits: which few edges between heads and MLPs carry what a word does?

**The graph.** Senders are the text, every head of self- and of cross-attention, and every MLP;
receivers are the same heads and MLPs and the logits. An edge leads from a sender to every receiver
behind it: what it adds to the residual stream, as that receiver reads it. The text has edges to the
heads of cross-attention. The music is the same in both runs of a pair and needs no node.

**A circuit** is a set of edges. It is run (:class:`Circuits`) with the corrupted prompt everywhere
but along its edges: every receiver reads the corrupted stream, plus what each sender *in the
circuit* now adds beyond what it added in the corrupted run. With no edge this is the corrupted run,
with all of them the clean one, to the last bits. What a circuit brings back is measured in nats a
token (:func:`carried`); as a share of the difference of both runs it is called **faithfulness**
(:func:`shares`).

**Scores** (:func:`scores`) say which edges to take:

- ``exact``: what the clean run loses without the edge;
- ``eap``: edge attribution patching (Nanda 2023; Syed et al. 2024). The gradient of the metric at
  the receiver's input, times the change of the sender's output, in the corrupted run;
- ``eap-ig-inputs``: the same gradient, averaged along the way from the corrupted text to the clean
  one (Hanna et al. 2024);
- ``eap-ig-activations``: averaged along the way of the sender's own output (Marks et al. 2024);
- ``random``.

**Curves.** Of the best 0.1 %, 0.2 %, ... of all edges the faithfulness is computed; the area below
is CPR (how much is brought back), the area between it and 1 is CMD (how near the circuit is to the
model), as in the benchmark MIB (:func:`areas`). Edges are taken by their signed scores for CPR and
by size for CMD.

References
----------
Syed, Rager and Conmy 2024, Attribution patching outperforms automated circuit discovery. Hanna,
Pezzelle and Belinkov 2024, Have faith in faithfulness. Marks et al. 2024, Sparse feature circuits.
Mueller et al. 2025, MIB: a mechanistic interpretability benchmark.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from sklearn.metrics import roc_auc_score
from torch.nn.functional import scaled_dot_product_attention
from tqdm.auto import tqdm

from ... import check, stats
from ...musicgen import forward, sizing
from ...musicgen.model import Clips, Model
from .. import gradients
from . import metrics, pairs, runs

METHODS = ("exact", "eap", "eap-ig-inputs", "eap-ig-activations", "random")
TEXT = "text"
LOGITS = "logits"
#: Shares of all edges at which curves are drawn (MIB's).
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: Numbers of float32 that the senders' changes of all circuits run at once may take.
NUMBERS = 2**27


# -------------------------------------------------------------------------------------------- graph
@dataclass(frozen=True)
class Graph:
    """The nodes of a model and which edges there are.

    Attributes
    ----------
    net : forward.Network
    """

    net: forward.Network

    def nodes(self, number: int) -> list[str]:
        """The nodes of a sublayer, by its number."""
        kind, block = self.net.names[number].split(".")
        if kind == "mlp":
            return [f"mlp.{block}"]
        count = self.net.blocks[int(block)].self_attn.num_heads
        site = "head" if kind == "attn" else "cross_head"
        return [f"{site}.{block}.{head}" for head in range(count)]

    @cached_property
    def stages(self) -> list[slice]:
        """Which receivers (and, with the text in front, which senders) a sublayer is."""
        sizes = [len(self.nodes(k)) for k in range(len(self.net.names))]
        ends = np.cumsum(sizes)
        return [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]

    @cached_property
    def receivers(self) -> list[str]:
        """Heads and MLPs in the order of the computation, then the logits."""
        parts = [self.nodes(k) for k in range(len(self.net.names))]
        return [*(node for part in parts for node in part), LOGITS]

    @cached_property
    def senders(self) -> list[str]:
        """The text, then heads and MLPs."""
        return [TEXT, *self.receivers[:-1]]

    @cached_property
    def edges(self) -> np.ndarray:
        """Which edges there are: bool [receiver, sender]."""
        there = np.zeros((len(self.receivers), len(self.senders)), bool)
        for stage in self.stages:
            there[stage, 1 : 1 + stage.start] = True
        there[-1, 1:] = True
        there[:, 0] = [node.startswith("cross_head.") for node in self.receivers]
        return there


# --------------------------------------------------------------------------------------------- runs
class Circuits:
    """Runs of circuits over some pairs.

    Parameters
    ----------
    graph : Graph
    both : runs.PairedRuns
        With all nodes kept, and what every sublayer reads.
    """

    def __init__(self, graph: Graph, both: runs.PairedRuns):
        self.graph = graph
        self.net = graph.net
        self.both = both
        self.take = both.recordings["corrupted"].sites
        self.text = {name: part.text for name, part in both.recordings.items()}

    @cached_property
    def change(self) -> torch.Tensor:
        """Of every sender but the text: its clean output minus its corrupted one [sender, ...]."""
        give = self.both.recordings["clean"].sites
        return torch.stack([give[node] - self.take[node] for node in self.graph.senders[1:]])

    @property
    def tokens(self) -> int:
        """How many a pair's metric is a mean over."""
        return self.both.tokens.shape[2:].numel()

    def score(self, end: torch.Tensor) -> torch.Tensor:
        """The metric of last residual streams [circuit, row, position, dim]: [circuit, pair]."""
        log_p = runs.log_probabilities(self.net, end.flatten(0, 1), self.both.tokens.shape[-1])
        return self.both.score(log_p)

    def run(
        self, weights: torch.Tensor, inputs: list | None = None, moved: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The last residual stream of some circuits.

        Parameters
        ----------
        weights : torch.Tensor [shape=(circuit, receiver, sender)]
            How much of each edge is there: 0 none, 1 all.
        inputs : list, optional
            Filled with what the receivers of each sublayer that runs read [circuit, receiver, row,
            position, dim], and the logits: where gradients are asked for.
        moved : torch.Tensor [shape=(circuit, sender, row, position, dim)], optional
            Changes of the first senders, as they are given: the pass begins behind them.

        Returns
        -------
        torch.Tensor [shape=(circuit, row, position, dim)]
        """
        parts = [] if moved is None else [moved]
        there = 0 if moved is None else moved.shape[1]
        for number, (name, stage) in enumerate(zip(self.net.names, self.graph.stages, strict=True)):
            if stage.start < there:
                continue
            x = self._read(weights[:, stage], self.take[f"before {name}"], parts)
            if inputs is not None:
                inputs.append(x)
            added = self._add(number, x, weights[:, stage, 0])
            own = torch.stack([self.take[node] for node in self.graph.nodes(number)])
            parts.append(added - own)
        end = self.both.recordings["corrupted"].end
        x = self._read(weights[:, -1:], end, parts)
        if inputs is not None:
            inputs.append(x)
        return x[:, 0]

    def without(self, number: int, edges: np.ndarray) -> torch.Tensor:
        """The last residual streams of the clean run without one edge each.

        Parameters
        ----------
        number : int
            The sublayer that the receivers belong to.
        edges : np.ndarray of int [shape=(edge, 2)]
            Number of the receiver in its sublayer, and of the sender.

        Returns
        -------
        torch.Tensor [shape=(edge, row, position, dim)]
        """
        clean = self.both.recordings["clean"]
        name = self.net.names[number]
        nodes = self.graph.nodes(number)
        receiver, sender = edges.T
        # one edge to each receiver is run at once: turns of an edge to the same receiver
        turn = np.array([np.sum(receiver[:k] == r) for k, r in enumerate(receiver)], int)
        shape = (1 + turn.max(), len(nodes))
        x = clean.sites[f"before {name}"].expand(*shape, *clean.end.shape).clone()
        of_text = torch.ones(shape, device=x.device)
        for place, (node, from_) in enumerate(zip(receiver, sender, strict=True)):
            if from_ == 0:
                of_text[turn[place], node] = 0
            else:
                x[turn[place], node] -= self.change[from_ - 1]
        added = self._add(number, x, of_text)[turn, receiver]
        own = torch.stack([clean.sites[nodes[node]] for node in receiver])
        streams = self._behind(number) + added - own
        rows = clean.text.repeat(len(edges))
        ends = self.net.run(streams.flatten(0, 1), rows, start=number + 1)
        return ends.unflatten(0, streams.shape[:2])

    def _behind(self, number):
        """The clean run's stream behind a sublayer."""
        clean = self.both.recordings["clean"]
        if number + 1 == len(self.net.names):
            return clean.end
        return clean.sites[f"before {self.net.names[number + 1]}"]

    @staticmethod
    def _read(weights, stream, parts):
        """What some receivers read, [circuit, receiver, row, position, dim]."""
        x = stream.expand(*weights.shape[:2], *stream.shape)
        first = 1
        for moved in parts:
            own = weights[:, :, first : first + moved.shape[1]]
            x = x + torch.einsum("crs,csbtd->crbtd", own, moved)
            first += moved.shape[1]
        # a leaf of its own wherever gradients are asked for
        return x if x.requires_grad or not torch.is_grad_enabled() else x.detach().requires_grad_()

    def _add(self, number, x, of_text):
        """What the nodes of a sublayer add, [circuit, receiver, row, position, dim]."""
        kind, block = self.net.names[number].split(".")
        part = self.net.parts[int(block)]
        normed = part.norms[kind](x)
        if kind == "mlp":
            return part.scales[kind](part.mlp(normed)).float()
        if kind == "attn":
            module = part.attention.module
            q, k, v = _projected(module, normed, 3)
            z = scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            module = part.cross.module
            (q,) = _projected(module, normed, 1)
            z = self._reads(int(block), part.cross, q, of_text)
        size = z.shape[-1]
        weight = module.out_proj.weight
        weight = weight.view(weight.shape[0], -1, size).transpose(0, 1)  # [head, dim, size]
        added = torch.einsum("crbts,rds->crbtd", z, weight)
        return part.scales[kind](added).float()

    def _reads(self, block, part, q, of_text):
        """What heads of cross-attention read of both texts, mixed by how much of the edge is there."""

        def project(values):
            return part.split(part.project_read(values), 2)

        read = []
        for name in ("corrupted", "clean"):
            text = self.text[name]
            k, v = (some.transpose(0, 1)[None] for some in text.keys_and_values(block, project))
            mask = None if text.mask is None else text.mask[None, None, :, 0]
            k, v = (some.expand(len(q), *some.shape[1:]) for some in (k, v))
            read.append(scaled_dot_product_attention(q, k, v, mask))
        dtype = read[0].dtype
        # in float32: the gradient of an edge is a sum over all positions, too large for halves
        corrupted, clean = (some.float() for some in read)
        mixed = corrupted + of_text[..., None, None, None] * (clean - corrupted)
        return mixed.to(dtype)


def _projected(module, x, parts):
    """Queries (keys, values) of each head from its own input [circuit, head, row, position, dim]."""
    heads = module.num_heads
    dim = module.embed_dim
    weight = module.in_proj_weight[: parts * dim]
    weight = weight.view(parts, heads, dim // heads, dim)
    x = x.to(weight.dtype)
    found = [torch.einsum("crbtd,rsd->crbts", x, own) for own in weight]
    if module.in_proj_bias is not None:
        biases = module.in_proj_bias[: parts * dim].view(parts, 1, heads, 1, 1, dim // heads)
        found = [some + bias for some, bias in zip(found, biases, strict=True)]
    return found


def _prepared(model, clean, corrupted, metric):
    """Checked input: the graph and the metric."""
    if forward.prefixed(model.lm):
        raise ValueError(
            f"{model.name} reads its text in front of the music, not by cross-attention. Circuits "
            "are of text-to-music models."
        )
    function = metrics.find(metric)
    for part in (clean, corrupted):
        model.check_clips(part)
    pairs.check_pairs(clean, corrupted)
    return Graph(forward.undisturbed(model)), function


def _pieces(model, graph, clean, corrupted, metric, pairs_each):
    """Pairs, and circuits over them."""
    nodes = graph.receivers[:-1]
    kept = {*nodes, *(f"before {name}" for name in graph.net.names)}
    clips = {"clean": clean, "corrupted": corrupted}
    n = len(clean)
    for first in range(0, n, pairs_each):
        which = range(first, min(first + pairs_each, n))
        both = runs.paired(graph.net, model, clips, list(which), kept, metric)
        yield which, Circuits(graph, both)


# ------------------------------------------------------------------------------------------- scores
def scores(
    model: Model,
    clean: Clips,
    corrupted: Clips,
    method: str = "eap-ig-activations",
    metric: str | Callable = "logit_difference",
    *,
    steps: int = 5,
    senders: Iterable[str] | None = None,
    pairs_each: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> xr.DataArray:
    """What every edge is worth.

    Parameters
    ----------
    model, clean, corrupted, metric
        As in :func:`~.patching.patch_grid`.
    method : str
        One of :data:`METHODS`.
    steps : int
        Of the integrated gradients.
    senders : iterable of str, optional
        Score the edges of these alone (``["text"]``: exact scores take one run an edge).
    pairs_each : int
        Pairs at once.
    seed : int
        Of random scores.

    Returns
    -------
    xr.DataArray [dims=(receiver, sender)]
        Nats a token, mean over pairs (random: from 0 to 1); NaN where there is no edge, or none was
        asked for.

    Raises
    ------
    ValueError
        As ``patch_grid``; an unknown method or sender, a model that reads no text by
        cross-attention.
    """
    check.choice("method", method, METHODS)
    steps = check.count("steps", steps)
    pairs_each = check.count("pairs_each", pairs_each)
    graph, function = _prepared(model, clean, corrupted, metric)
    asked = graph.edges.copy()
    if senders is not None:
        named = check.texts("senders", senders)
        chosen = [check.choice("sender", name, graph.senders) for name in named]
        asked &= np.isin(graph.senders, chosen)
    if method == "random":
        total = np.random.default_rng(check.count("seed", seed, 0)).random(asked.shape)
    else:
        total = _summed(
            model, graph, clean, corrupted, function, method, steps, asked, pairs_each, progress
        )
    return xr.DataArray(
        np.where(asked, total, np.nan),
        dims=("receiver", "sender"),
        coords={"receiver": graph.receivers, "sender": graph.senders},
        attrs={"model": model.name, "method": method},
    )


def _summed(model, graph, clean, corrupted, metric, method, steps, asked, pairs_each, progress):
    """Scores [receiver, sender], mean over pairs."""
    total = np.zeros(asked.shape)
    pieces = _pieces(model, graph, clean, corrupted, metric, pairs_each)
    with tqdm(total=len(clean), desc=method, unit="pair", disable=not progress, leave=False) as bar:
        for which, circuits in pieces:
            metrics.check_finite(metric, *circuits.both.scores.values())
            if method == "exact":
                total += _exact(circuits, asked)
            elif method == "eap-ig-activations":
                total += _along_activations(circuits, steps)
            else:
                places = [0.0] if method == "eap" else (np.arange(steps) + 0.5) / steps
                total += sum(_attributed(circuits, place) for place in places) / len(places)
            bar.update(len(which))
    return total / len(clean)


def _full(graph, count=1):
    """Weights of circuits with all edges, [circuit, receiver, sender]."""
    edges = torch.from_numpy(graph.edges).float().to(graph.net.lm.emb[0].weight.device)
    return edges.repeat(count, 1, 1)


def _at_once(circuits):
    """How many circuits' changes fit together."""
    rows = circuits.both.recordings["corrupted"].end.numel()
    return max(1, NUMBERS // (rows * len(circuits.graph.senders)))


@torch.no_grad()
def _exact(circuits, asked):
    """What the clean run loses without each edge, summed over pairs.

    Where one edge is missing, one receiver reads something else than in the clean run: all before it
    is as it was and is not run again, and what comes behind it is an ordinary pass.
    """
    found = np.zeros(asked.shape)
    whole = circuits.both.scores["clean"].sum().item()
    for number, stage in enumerate(circuits.graph.stages):
        places = np.argwhere(asked[stage])
        for some in sizing.parts(_by_receiver(places, stage), _at_once(circuits)):
            ends = circuits.without(number, some)
            found[some[:, 0] + stage.start, some[:, 1]] = _lost(circuits, whole, ends)
    places = np.flatnonzero(asked[-1])
    for some in sizing.parts(places, _at_once(circuits)):
        ends = circuits.both.recordings["clean"].end - circuits.change[some - 1]
        found[-1, some] = _lost(circuits, whole, ends)
    return found


def _lost(circuits, whole, ends):
    return whole - circuits.score(ends).sum(1).cpu().numpy()


def _by_receiver(places, stage):
    """Edges [receiver of the stage, sender] with receivers in turn: those of a stage are run side by
    side.
    """
    order = np.argsort(places[:, 0], kind="stable")
    turn = np.empty(len(places), int)
    for receiver in range(stage.stop - stage.start):
        own = order[places[order, 0] == receiver]
        turn[own] = np.arange(len(own))
    return places[np.argsort(turn, kind="stable")]


def _attributed(circuits, place):
    """Gradient at every receiver's input, at a place on the way from the corrupted text (0) to the
    clean one (1), times the change of every sender; summed over pairs.
    """
    of_inputs, of_text = _gradients(circuits, place)
    found = np.zeros(circuits.graph.edges.shape)
    found[:, 0] = of_text
    found[:, 1:] = _products(of_inputs, circuits.change)
    return found * circuits.graph.edges


def _gradients(circuits, place):
    """The metric's gradients there: at what the receivers of each sublayer read, and along the
    text's edges [receiver].
    """
    weights = _full(circuits.graph)
    weights[:, :, 0] *= place
    with torch.enable_grad():
        weights.requires_grad_()
        inputs = []
        end = circuits.run(weights, inputs)
        score = circuits.score(end).sum()
        *of_inputs, of_weights = gradients.of(score, [*inputs, weights], circuits.tokens)
    return of_inputs, of_weights[0, :, 0].cpu().numpy()


def _products(of_inputs, change):
    """Gradients at the receivers' inputs times changes of senders, [receiver, sender]."""
    rows = [
        torch.einsum("rbtd,sbtd->rs", gradient[0], change).cpu().numpy() for gradient in of_inputs
    ]
    return np.concatenate(rows)


def _along_activations(circuits, steps):
    """The same along the way of each sublayer's own outputs; all before it are as in the corrupted
    run.
    """
    graph = circuits.graph
    found = np.zeros(graph.edges.shape)
    for place in (np.arange(steps) + 0.5) / steps:
        found[:, 0] += _gradients(circuits, place)[1] / steps
        for stage in graph.stages:
            found[stage.stop :, 1 + stage.start : 1 + stage.stop] += (
                _behind(circuits, stage, place) / steps
            )
    return found * graph.edges


def _behind(circuits, stage, place):
    """Scores of the edges from a sublayer's nodes, [receiver behind, node]."""
    change = circuits.change[stage]
    moved = torch.zeros_like(circuits.change[: stage.stop])
    moved[stage] = place * change
    weights = _full(circuits.graph)
    weights[:, :, 0] = 0
    with torch.enable_grad():
        inputs = []
        end = circuits.run(weights, inputs, moved[None].requires_grad_())
        of_inputs = gradients.of(circuits.score(end).sum(), inputs, circuits.tokens)
    return _products(of_inputs, change)


# ------------------------------------------------------------------------------------- faithfulness
@torch.no_grad()
def carried(
    model: Model,
    clean: Clips,
    corrupted: Clips,
    edges: Sequence[np.ndarray],
    metric: str | Callable = "logit_difference",
    *,
    pairs_each: int = 8,
) -> np.ndarray:
    """How much of what the word does some circuits bring back.

    Parameters
    ----------
    model, clean, corrupted, metric, pairs_each
        As for :func:`scores`; on other pairs than those that edges were chosen by.
    edges : sequence of array_like of bool [shape=(receiver, sender)]
        The circuits (:func:`best`).

    Returns
    -------
    np.ndarray [shape=(circuit, pair)]
        The metric beyond that of the corrupted run, nats a token: 0 for no edges, for all of them
        the difference of both runs.
    """
    graph, function = _prepared(model, clean, corrupted, metric)
    chosen = [_checked(one, graph) for one in edges]
    found = np.zeros((len(chosen), len(clean)))
    for which, circuits in _pieces(model, graph, clean, corrupted, function, pairs_each):
        plain = circuits.both.scores
        metrics.check_finite(function, *plain.values())
        size = _at_once(circuits)
        for first in range(0, len(chosen), size):
            weights = torch.from_numpy(np.stack(chosen[first : first + size])).float()
            end = circuits.run(weights.to(model.device))
            back = circuits.score(end) - plain["corrupted"]
            found[first : first + size, list(which)] = back.cpu().numpy()
    return found


def curve(
    model: Model, clean: Clips, corrupted: Clips, found: xr.DataArray, signed: bool = True, **how
) -> np.ndarray:
    """What the best edges carry, by how many are taken: nats a token [size, pair].

    Parameters
    ----------
    model, clean, corrupted, **how
        As for :func:`carried`.
    found : xr.DataArray
        From :func:`scores`, of other pairs.
    signed : bool
        As for :func:`best`. Sizes are :data:`SIZES`.
    """
    chosen = [best(found, share, signed) for share in SIZES]
    return carried(model, clean, corrupted, chosen, **how)


def _checked(edges, graph):
    """Edges that there are, bool [receiver, sender]."""
    edges = np.asarray(edges)
    if edges.dtype != bool or edges.shape != graph.edges.shape:
        raise ValueError(
            f"A circuit is one bool for each of {graph.edges.shape} (receiver, sender). Got "
            f"{edges.dtype} {edges.shape}."
        )
    return edges & graph.edges


def best(found: xr.DataArray, share: float, signed: bool = True) -> np.ndarray:
    """The best edges: bool [receiver, sender].

    Parameters
    ----------
    found : xr.DataArray
        From :func:`scores`.
    share : float
        Of all edges; at least one is taken.
    signed : bool
        By what the edge brings, or by the size of it.
    """
    share = check.number("share", share, 0, 1, open_low=True)
    values = found.values if signed else np.abs(found.values)
    there = np.isfinite(values)
    count = max(1, round(share * there.sum()))
    order = np.argsort(np.where(there, -values, np.inf), axis=None, kind="stable")
    chosen = np.zeros(values.size, bool)
    chosen[order[:count]] = True
    return chosen.reshape(values.shape)


def shares(carried_by_size: np.ndarray) -> np.ndarray:
    """Faithfulness: a :func:`curve` in units of the mean difference of both runs [size, pair].

    Raises
    ------
    ValueError
        Runs that do not differ: there is nothing to share out.
    """
    carried_by_size = check.array("A curve", carried_by_size, (len(SIZES), "pair"))
    gap = carried_by_size[-1].mean()
    if abs(gap) < 1e-6:
        raise ValueError("Both runs predict the same: there is nothing to share out.")
    return carried_by_size / gap


def areas(by_signed: np.ndarray, by_size: np.ndarray) -> dict[str, stats.Estimate]:
    """CPR of edges taken by their signed scores, CMD of those taken by size, over pairs.

    Parameters
    ----------
    by_signed, by_size : array_like [shape=(size, pair)]
        From :func:`shares`.
    """
    return {
        "CPR": stats.bootstrap(_below, np.transpose(by_signed)),
        "CMD": stats.bootstrap(_beside, np.transpose(by_size)),
    }


def _below(pairs_shares):
    return np.trapezoid(_of_all(pairs_shares), SIZES)


def _beside(pairs_shares):
    return np.trapezoid(np.abs(1 - _of_all(pairs_shares)), SIZES)


def _of_all(pairs_shares):
    """Mean shares of what all edges bring to these very pairs: a ratio in every resample."""
    mean = pairs_shares.mean(0)
    return mean / mean[-1]


def recovery(found: xr.DataArray, true: Iterable[str]) -> float:
    """Area under the ROC curve of the text's edges: are those to the true heads scored highest?

    Parameters
    ----------
    found : xr.DataArray
        From :func:`scores`.
    true : iterable of str
        The heads by which a variable comes in (``organism.planting``).
    """
    edges = found.sel(sender=TEXT).dropna("receiver")
    return float(roc_auc_score(np.isin(edges.receiver.values, list(true)), edges.values))
