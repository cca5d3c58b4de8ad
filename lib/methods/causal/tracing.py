"""One song's attribution graph: from a word, through features, to a note.

**The replacement.** Every MLP is replaced by its transcoder (``sae.transcoders``) and an *error*,
which is what the transcoder gets wrong at that position, so that nothing changes. Attention's
weights and the scales of the norms are held as they were in this song. All that is left is linear
between features: what a feature reads is a sum of what others wrote.

**Nodes** are words of the prompt as the cross-attention of each block reads them, the music that
was sung at each position (*sung*), features, errors, and the token that is to be explained, by how
far its logit is above the mean of all tokens. An **edge** is what one node adds to another: to the
activation of a feature, or to the logit (:func:`graph`). **Influence** is the share of a node in
all ways that end at the token, edges taken by size. Two scores say how much of the model the graph
holds: *replacement*, the share of ways that begin at words and music and not at errors, and
*completeness*, the share of what nodes read that is no error's (:func:`scores`).

**The check** (:func:`intervene`): a node is taken out of the real model, in which everything may
change, and what happens is held against what the graph foretells (:func:`foretold`).

References
----------
Ameisen et al. 2025, Circuit tracing: revealing computational graphs in language models (graph,
influence, both scores). Dunefsky et al. 2024, Transcoders find interpretable LLM feature circuits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import linear

from ... import check
from ...musicgen import forward, sizing
from ...musicgen.model import Clips, Model
from ...musicgen.run import Visitors, keeping
from .. import sae
from . import runs

KINDS = ("word", "sung", "feature", "error")
#: Targets whose edges are found before influence is weighed anew, and most rows of a pass.
TOGETHER = 64
#: Most clips of a pass.
PASSES = 16
#: Nodes whose edges are found, at most.
NODES = 1000


# --------------------------------------------------------------------------------------------- song
@dataclass(frozen=True)
class Target:
    """A token to be explained: of a codebook, at a frame."""

    codebook: int
    frame: int
    token: int


class Song:
    """A pass over one clip under its own prompt, with every MLP replaced.

    Parameters
    ----------
    m : Model
    transcoders : sequence of sae_lens.JumpReLUTranscoder
        One a block.
    clips : Clips
        Of one clip.

    Attributes
    ----------
    words : list of str
        The tokens of the prompt.
    activity : list of torch.Tensor [shape=(position, feature)]
        Activations of each block's features.
    errors : list of torch.Tensor [shape=(position, dim)]
        What each MLP adds beyond its transcoder.
    fingerprint : str
        ``Model.fingerprint`` at the time of the pass: what is asked later must be of the same.

    Raises
    ------
    ValueError
        Not one clip, not one transcoder a block, a model that does not read its text by
        cross-attention.
    """

    def __init__(self, m: Model, transcoders: Sequence, clips: Clips):
        m.check_clips(clips)
        _check_one(clips)
        if forward.prefixed(m.lm):
            raise ValueError(
                f"{m.name} reads its text in front of the music, not by cross-attention. Graphs are "
                "of text-to-music models."
            )
        self.model = m
        self.net = forward.undisturbed(m)
        self.fingerprint = m.fingerprint
        self.clips = clips
        self.transcoders = list(transcoders)
        _check_transcoders(m, self.transcoders)
        self._run()

    @torch.no_grad()
    def _run(self):
        net = self.net
        blocks = range(len(net.blocks))
        sites = [
            f"{when}{kind}.{i}" for i in blocks for kind in net.kinds for when in ("before ", "")
        ]
        sites += [f"{kind}.{i}" for i in blocks for kind in ("pattern", "cross_pattern")]
        keep, kept = keeping(["embed", *sites])
        self.sequence = self.model.sequence(self.clips.tokens)
        self.text = net.read_text(list(self.clips.prompts))
        self.end = net.run(net.embed(self.sequence, self.text, keep), self.text, keep)[0]
        self.kept = {site: values[0] for site, values in kept.items()}
        self.words = self._tokens_of_prompt()
        self.activity = []
        self.errors = []
        for i, transcoder in enumerate(self.transcoders):
            read = net.parts[i].norms["mlp"](self.kept[f"before mlp.{i}"])
            active = sae.encode(transcoder, read.float())
            self.activity.append(active)
            self.errors.append(self.kept[f"mlp.{i}"] - sae.decode(transcoder, active))

    def _tokens_of_prompt(self):
        conditioner = self.model.lm.condition_provider.conditioners["description"]
        ids = conditioner.tokenize([self.clips.prompts[0] or None])["input_ids"][0].tolist()
        tokens = conditioner.t5_tokenizer.convert_ids_to_tokens(ids)
        return [token.lstrip("▁") or "▁" for token in tokens]

    @cached_property
    def frozen(self) -> "_Frozen":
        """The linear pass."""
        return _Frozen(self)

    def position(self, target: Target) -> int:
        """At which position a token is predicted."""
        return target.frame + self.net.delays[target.codebook]

    def readout(self, target: Target) -> torch.Tensor:
        """What the last norm's output is multiplied with: the token's weights less the mean [dim]."""
        weight = self.model.lm.linears[target.codebook].weight.detach().float()
        return weight[target.token] - weight.mean(0)

    @torch.no_grad()
    def logits(self, ends: torch.Tensor, target: Target) -> torch.Tensor:
        """The token's logit less the mean of all, of last residual streams [row, position, dim]."""
        logits = self.net.logits(ends)[:, target.codebook, self.position(target)]
        return logits[:, target.token] - logits.mean(-1)


def _check_unchanged(song):
    """That the model is as it was when the song was run: parts of that pass are kept."""
    forward.undisturbed(song.model)
    now = song.model.fingerprint
    if now != song.fingerprint:
        raise ValueError(
            f"{song.model.name} has changed since this song was run through it (fingerprint {now}, "
            f"then {song.fingerprint}): make the Song and its graph again."
        )


def _check_one(clips):
    if len(clips) != 1:
        raise ValueError(f"A graph is of one song: give clips[k : k + 1]. Got {len(clips)}.")


def _check_transcoders(m, transcoders):
    blocks = len(m.lm.transformer.layers)
    if len(transcoders) != blocks:
        raise ValueError(f"{m.name} has {blocks} blocks. Got {len(transcoders)} transcoders.")
    for transcoder in transcoders:
        if transcoder.W_enc.shape[0] != m.lm.dim:
            raise ValueError(
                f"{m.name} is {m.lm.dim} wide. Got a transcoder that reads vectors of "
                f"{transcoder.W_enc.shape[0]}."
            )


@torch.no_grad()
def replaced(
    m: Model, transcoders: Sequence, clips: Clips, blocks: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """What music costs under its own prompts, nats a token and clip, with transcoders in place of MLPs.

    Parameters
    ----------
    m : Model
    transcoders : sequence of sae_lens.JumpReLUTranscoder
        One a block.
    clips : Clips
    blocks : sequence of int, optional
        Whose MLPs are replaced, all at once; by default every block's.

    Returns
    -------
    dict
        plain (the model's own), replaced, and silent (with these MLPs adding at every position what
        they add on average in the model's own pass over all clips): each [shape=(clip,)].

    Raises
    ------
    ValueError
        Not one transcoder a block, a block that there is not, clips of another model.
    """
    m.check_clips(clips)
    _check_transcoders(m, transcoders)
    net = forward.undisturbed(m)
    blocks = range(len(net.blocks)) if blocks is None else blocks
    blocks = [check.count("block", block, 0, len(net.blocks) - 1) for block in blocks]
    means = {block: _Mean() for block in blocks}
    adding = Visitors({f"mlp.{block}": [mean.add] for block, mean in means.items()})
    putting = Visitors({f"mlp.{block}": [mean.put] for block, mean in means.items()})
    return {
        "plain": _costs(m, net, clips, adding),  # first: the means are known behind it
        "replaced": _costs(m, net, clips, _replacing(net, transcoders, blocks)),
        "silent": _costs(m, net, clips, putting),
    }


def _replacing(net, transcoders, blocks):
    read = {}

    def before(block):
        def keep(values, position):
            read[block] = net.parts[block].norms["mlp"](values).float()

        return keep

    def written(block):
        def write(values, position):
            transcoder = transcoders[block]
            return sae.decode(transcoder, sae.encode(transcoder, read.pop(block)))

        return write

    functions = {f"before mlp.{block}": [before(block)] for block in blocks}
    return Visitors(functions | {f"mlp.{block}": [written(block)] for block in blocks})


class _Mean:
    """Mean over all clips and positions of what a site holds, to be put in its place."""

    def __init__(self):
        self.total = 0.0
        self.count = 0

    def add(self, values, position):
        self.total = self.total + values.float().sum((0, 1))
        self.count += values.shape[0] * values.shape[1]

    def put(self, values, position):
        return (self.total / self.count).to(values).expand_as(values)


def _costs(m, net, clips, visitors):
    """Nats a token of all clips, in their order whatever passes they are in."""
    found = np.zeros(len(clips), np.float32)
    each = runs.bytes_of_a_row(m, clips.tokens.shape[-1])
    size = sizing.fits(each, m.device, PASSES)
    for batch in m.batches(list(clips.prompts), size):
        found[batch] = _cost(m, net, clips, batch, visitors)
    return found


def _cost(m, net, clips, batch, visitors):
    """Nats a token of some clips."""
    text = net.read_text([clips.prompts[i] for i in batch])
    sequence = m.sequence(clips.tokens[batch])
    end = net.run(net.embed(sequence, text, visitors), text, visitors)
    log_p = runs.log_probabilities(net, end, clips.tokens.shape[-1])
    tokens = torch.as_tensor(clips.tokens[batch], device=m.device)
    return -log_p.gather(-1, tokens[..., None])[..., 0].mean((1, 2)).cpu().numpy()


def most_told(m: Model, clips: Clips, other: str, codebook: int = 0, first: int = 0) -> Target:
    """The sung token for which the prompt counts most: whose log-probability falls furthest under
    another prompt.

    Parameters
    ----------
    m : Model
    clips : Clips
        Of one clip.
    other : str
        The other prompt.
    codebook, first : int
        Of which codebook, and from which frame on.
    """
    m.check_clips(clips)
    _check_one(clips)
    codebook = check.count("codebook", codebook, 0, clips.tokens.shape[1] - 1)
    first = check.count("first", first, 0, clips.tokens.shape[2] - 1)
    net = forward.undisturbed(m)
    sequence = m.sequence(clips.tokens.repeat(2, 0))
    end = runs.record(net, sequence, [clips.prompts[0], other]).end
    with torch.no_grad():
        log_p = runs.log_probabilities(net, end, clips.tokens.shape[-1])[:, codebook]
    tokens = torch.as_tensor(clips.tokens[0, codebook], device=m.device)
    own, others = log_p.gather(-1, tokens.expand(2, -1)[..., None])[..., 0]
    frame = first + int((own - others)[first:].argmax())
    return Target(codebook, frame, int(tokens[frame]))


class _Frozen:
    """The pass of a song as a linear function of what its nodes write."""

    def __init__(self, song: Song):
        self.song = song
        self.blocks = song.net.blocks
        self.kept = song.kept
        self.values = song.text.values[0].float()

    def leaves(self, rows: int):
        """What nodes write, for so many targets: the music [row, position, dim]; of each block the
        words [row, token, dim] and the MLP [row, position, dim].
        """
        blocks = range(len(self.blocks))
        sung = self.kept["embed"].expand(rows, -1, -1)
        words = [self.values.expand(rows, -1, -1) for _ in blocks]
        written = [self.kept[f"mlp.{i}"].expand(rows, -1, -1) for i in blocks]
        every = [sung, *words, *written]
        every = [leaf.clone().requires_grad_(torch.is_grad_enabled()) for leaf in every]
        return every[0], every[1 : 1 + len(words)], every[1 + len(words) :]

    def run(self, sung, words, written):
        """What each block's MLP reads, and what the last norm gives: lists of [row, position, dim]."""
        x = sung
        reads = []
        for i, block in enumerate(self.blocks):
            normed = self._normed(block.norm1, x, self.kept[f"before attn.{i}"])
            x = x + self._attended(block.self_attn, normed, self.kept[f"pattern.{i}"])
            x = x + self._attended(block.cross_attention, words[i], self.kept[f"cross_pattern.{i}"])
            reads.append(self._normed(block.norm2, x, self.kept[f"before mlp.{i}"]))
            x = x + written[i]
        norm = self.song.model.lm.out_norm
        return reads, self._normed(norm, x, self.song.end) if norm else x

    @staticmethod
    def _normed(norm, x, true):
        """A norm with the scale that it had for the true stream [position, dim]."""
        scale = (true.var(-1, unbiased=False, keepdim=True) + norm.eps).rsqrt()
        return (x - x.mean(-1, keepdim=True)) * scale * norm.weight.float() + norm.bias.float()

    @staticmethod
    def _attended(module, read, pattern):
        """An attention with the weights [head, query, key] that it had."""
        dim = module.embed_dim
        bias = None if module.in_proj_bias is None else module.in_proj_bias[2 * dim :].float()
        values = linear(read, module.in_proj_weight[2 * dim :].float(), bias)
        values = values.unflatten(-1, (module.num_heads, -1))
        mixed = torch.einsum("hqk,rkhd->rqhd", pattern, values).flatten(-2)
        out = module.out_proj
        return linear(mixed, out.weight.float(), None if out.bias is None else out.bias.float())

    @torch.no_grad()
    def of_word(self, block: int, token: int) -> torch.Tensor:
        """What one word adds by a block's cross-attention [position, dim]."""
        module = self.blocks[block].cross_attention
        pattern = self.kept[f"cross_pattern.{block}"]
        without = self.values[None].clone()
        without[:, token] = 0
        whole = self._attended(module, self.values[None], pattern)
        return (whole - self._attended(module, without, pattern))[0]


# -------------------------------------------------------------------------------------------- graph
@dataclass(frozen=True)
class Graph:
    """Nodes and edges that lead to a token.

    Attributes
    ----------
    song : Song
    target : Target
    nodes : pd.DataFrame
        One row a node: kind, block (-1: none), position (of a word: its number in the prompt),
        feature (-1: none), activation (of features), influence. The last row is the token.
    edges : np.ndarray [shape=(node, node)]
        What the second adds to the first: to a feature's activation, or to the token's logit.
    """

    song: Song
    target: Target
    nodes: pd.DataFrame
    edges: np.ndarray


def graph(song: Song, target: Target, nodes: int = NODES) -> Graph:
    """The attribution graph of a token.

    Edges are found for the token, then for the features of most influence, some at a time, until so
    many features are reached; others are left out.

    Parameters
    ----------
    song : Song
    target : Target
    nodes : int
        Features, at most.

    Raises
    ------
    ValueError
        A target that the song does not have; a model that has changed since, is edited, or has
        hooks.
    """
    _check_unchanged(song)
    _check_target(song, target)
    nodes = check.count("nodes", nodes)
    table = _sources(song, song.position(target))
    writes = _Writes(song, table)
    rows = [writes.edges([target])]
    order = [len(table)]  # the token comes behind all sources
    features = np.flatnonzero(table["kind"] == "feature")
    left = set(features.tolist())
    while left and len(order) <= nodes:
        influence = _influence(np.concatenate(rows), np.array(order), len(table))
        best = sorted(left, key=lambda node: -influence[node])
        chosen = [node for node in best if influence[node] > 0][
            : min(TOGETHER, 1 + nodes - len(order))
        ]
        if not chosen:
            break
        rows.append(writes.edges(table.iloc[chosen].to_dict("records")))
        order += chosen
        left -= set(chosen)
    return _assembled(song, target, table, np.concatenate(rows), np.array(order))


def _check_target(song, target):
    check.count("codebook", target.codebook, 0, song.clips.tokens.shape[1] - 1)
    check.count("frame", target.frame, 0, song.clips.tokens.shape[2] - 1)
    check.count("token", target.token, 0, song.model.lm.card - 1)


def _sources(song, last):
    """All that can write before a position's prediction, one row a node."""
    rows = []
    blocks = range(len(song.transcoders))
    for block in blocks:
        rows += [("word", block, j, -1, np.nan) for j in range(len(song.words))]
    rows += [("sung", -1, position, -1, np.nan) for position in range(last + 1)]
    for block in blocks:
        active = song.activity[block][: last + 1].cpu().numpy()
        rows += [
            ("feature", block, int(p), int(f), float(active[p, f]))
            for p, f in np.argwhere(active > 0)
        ]
        rows += [("error", block, position, -1, np.nan) for position in range(last + 1)]
    return pd.DataFrame(rows, columns=["kind", "block", "position", "feature", "activation"])


def _bytes_of_a_row(song):
    """What one row of a pass takes: of every block its way through it, and what is held of its MLP
    and of its words, with gradients.
    """
    dim = song.model.lm.dim
    positions = len(song.end)
    held = 4 * 4 * (positions + len(song.words)) * dim
    return len(song.transcoders) * (sizing.one_pass(dim, positions) + held)


class _Writes:
    """Edges from all sources to some targets."""

    def __init__(self, song, table):
        self.song = song
        self.table = table
        self.groups = {
            (kind, block): part.index.to_numpy()
            for (kind, block), part in table.groupby(["kind", "block"])
        }

    def edges(self, targets):
        """[target, source], as many at once as memory allows; targets are features' rows or a
        :class:`Target`.
        """
        size = sizing.fits(_bytes_of_a_row(self.song), self.song.model.device, TOGETHER)
        return np.concatenate([self._edges(some) for some in sizing.parts(targets, size)])

    def _edges(self, targets):
        song = self.song
        with torch.enable_grad():
            sung, words, written = song.frozen.leaves(len(targets))
            reads, last = song.frozen.run(sung, words, written)
            total = sum(self._read(row, reads, last, target) for row, target in enumerate(targets))
            gradients = torch.autograd.grad(total, [sung, *words, *written], allow_unused=True)
        blocks = len(words)
        found = np.zeros((len(targets), len(self.table)))
        self._add(found, "sung", -1, gradients[0], song.kept["embed"])
        for block in range(blocks):
            self._add(found, "word", block, gradients[1 + block], song.frozen.values)
            of_mlp = gradients[1 + blocks + block]
            self._add(found, "error", block, of_mlp, song.errors[block])
            self._add_features(found, block, of_mlp)
        return found

    def _read(self, row, reads, last, target):
        if isinstance(target, Target):
            return last[row, self.song.position(target)] @ self.song.readout(target)
        transcoder = self.song.transcoders[target["block"]]
        encoder = transcoder.W_enc[:, target["feature"]].detach().to(last)
        return reads[target["block"]][row, target["position"]] @ encoder

    def _add(self, found, kind, block, gradient, written):
        nodes = self.groups.get((kind, block))
        if nodes is None or gradient is None:
            return
        where = self.table["position"].iloc[nodes].tolist()
        found[:, nodes] = (gradient[:, where] * written[where]).sum(-1).cpu().numpy()

    def _add_features(self, found, block, gradient):
        nodes = self.groups.get(("feature", block))
        if nodes is None or gradient is None:
            return
        part = self.table.iloc[nodes]
        where = part["position"].tolist()
        activation = torch.tensor(part["activation"].tolist())
        decoder = self.song.transcoders[block].W_dec.detach()[part["feature"].tolist()]
        write = (activation[:, None] * decoder.float().cpu()).to(gradient)
        for row in range(len(found)):  # not all at once: memory
            found[row, nodes] = (gradient[row, where] * write).sum(-1).cpu().numpy()


def _shares(edges):
    """Edges by size, as shares of all that a node reads."""
    size = np.abs(edges)
    return size / np.maximum(size.sum(1, keepdims=True), 1e-12)


def _influence(rows, order, sources):
    """Of every source on the token: rows are the edges of the nodes in ``order``, the token first."""
    shares = _shares(rows)
    inner = np.asarray(order[1:])
    flow = shares[0]
    total = flow.copy()
    while len(inner) and flow[inner].any():
        flow = flow[inner] @ shares[1:]
        total += flow
    return total[:sources]


def _assembled(song, target, table, rows, order):
    """A graph of the nodes whose edges are known, and of those that have none."""
    known = np.sort(order[1:])
    plain = np.flatnonzero(table["kind"] != "feature")
    kept = np.sort(np.concatenate([known, plain]))
    nodes = table.iloc[kept].reset_index(drop=True)
    edges = np.zeros((len(kept) + 1, len(kept) + 1))
    places = np.append(np.searchsorted(kept, order[1:]), len(kept))
    edges[np.roll(places, 1), :-1] = rows[:, kept]
    token = ("token", len(song.transcoders), song.position(target), -1, np.nan)
    nodes.loc[len(nodes)] = dict(zip(nodes.columns, token, strict=True))
    return _weighed(Graph(song, target, nodes, edges))


def _weighed(found):
    """With the influence of each node on the token; the token's own is 1."""
    shares = _shares(found.edges)
    flow = shares[-1]
    total = flow.copy()
    while flow.any():
        flow = flow @ shares
        total += flow
    total[-1] = 1
    return replace(found, nodes=found.nodes.assign(influence=total))


def scores(found: Graph) -> dict[str, float]:
    """How much of the model a graph holds: replacement and completeness, each from 0 to 1."""
    influence = found.nodes["influence"].to_numpy()
    kind = found.nodes["kind"]
    error = (kind == "error").to_numpy()
    begins = kind.isin(["word", "sung"]).to_numpy()
    shares = _shares(found.edges)
    reads = shares.any(1)
    sound = 1 - shares[reads][:, error].sum(1)
    weights = influence[reads]
    of_begins = influence[begins].sum()
    return {
        "replacement": float(of_begins / (of_begins + influence[error].sum())),
        "completeness": float((sound * weights).sum() / weights.sum()),
    }


def begun(found: Graph, kind: str) -> np.ndarray:
    """Of all ways that end at a node, the share that begins at nodes of one kind [node].

    Parameters
    ----------
    kind : str
        "word", "sung" or "error".
    """
    check.choice("kind", kind, ("word", "sung", "error"))
    shares = _shares(found.edges)
    own = (found.nodes["kind"] == kind).to_numpy(float)
    total = own.copy()
    flow = shares @ own
    while flow.any():
        total += flow
        flow = shares @ flow
    return total


def prune(found: Graph, nodes: int = 40, edges: float = 0.9, begins: str | None = None) -> Graph:
    """The nodes of most influence, and of their edges those that carry most of it.

    Parameters
    ----------
    found : Graph
    nodes : int
        How many, beside the token.
    edges : float
        Share of the influence that the kept edges carry.
    begins : str, optional
        Count only ways that begin at nodes of one kind, as of :func:`begun`, and keep a quarter of
        the places for these.

    Returns
    -------
    Graph
        Influence is as it was in the whole graph. Features from which no kept edge leads on, and
        those that none leads to, are left out.
    """
    nodes = check.count("nodes", nodes)
    edges = check.number("edges", edges, 0, 1, open_low=True)
    influence = found.nodes["influence"].to_numpy()
    share = np.ones(len(influence)) if begins is None else begun(found, begins)
    order = np.argsort(-(influence * share)[:-1], kind="stable")
    if begins is not None:
        first = (found.nodes["kind"] == begins).to_numpy()[order]
        order = np.concatenate([order[first][: max(1, nodes // 4)], order[~first]])
    kept = np.append(np.sort(order[:nodes]), len(influence) - 1)
    table = found.nodes.iloc[kept].reset_index(drop=True)
    ways = influence[:, None] * _shares(found.edges) * share
    inside = _strongest(found.edges[np.ix_(kept, kept)], ways[np.ix_(kept, kept)], edges)
    return _connected(Graph(found.song, found.target, table, inside))


def _strongest(edges, weights, share):
    """The edges that carry a share of all weight; the others are 0."""
    order = np.argsort(-weights, axis=None, kind="stable")
    carried = np.cumsum(weights.ravel()[order])
    count = int(np.searchsorted(carried, share * carried[-1])) + 1
    strong = np.zeros(weights.size, bool)
    strong[order[:count]] = True
    return np.where(strong.reshape(weights.shape), edges, 0)


def _connected(found):
    """Without nodes that lead nowhere, and features that nothing leads to."""
    while True:
        there = found.edges != 0
        leads = there.any(0)
        reads = there.any(1) | (found.nodes["kind"] != "feature").to_numpy()
        stays = np.flatnonzero(leads & reads | (found.nodes["kind"] == "token").to_numpy())
        if len(stays) == len(found.nodes):
            return found
        table = found.nodes.iloc[stays].reset_index(drop=True)
        found = replace(found, nodes=table, edges=found.edges[np.ix_(stays, stays)])


# ------------------------------------------------------------------------------------- intervention
def foretold(found: Graph) -> np.ndarray:
    """What a graph says happens to each node if another is taken out, by all ways [target, source].

    Features are taken to stay active, or the change is no longer linear.
    """
    size = len(found.edges)
    total = np.linalg.inv(np.eye(size) - _per_activation(found)) - np.eye(size)
    return -total * _own(found)


def _own(found):
    """By how much each node changes if it is taken out: a feature by its activation, others by 1."""
    activation = found.nodes["activation"].to_numpy(float)
    return np.where(np.isnan(activation), 1.0, activation)


def _per_activation(found):
    return found.edges / _own(found)


@torch.no_grad()
def intervene(found: Graph, sources: Sequence[int] | None = None) -> np.ndarray:
    """What does happen in the model if a node is taken out: what it writes is taken off where it
    writes it, and everything behind may change.

    Parameters
    ----------
    found : Graph
    sources : sequence of int, optional
        Numbers of nodes; by default all but the token.

    Returns
    -------
    np.ndarray [shape=(target, source)]
        Change of what each feature reads (its activation before the threshold) and of the token's
        logit; NaN where the target is neither.

    Raises
    ------
    ValueError
        A node that there is not; a model that has changed since, is edited, or has hooks.
    """
    _check_unchanged(found.song)
    last = len(found.nodes) - 1
    sources = range(last) if sources is None else sources
    sources = [check.count("source", source, 0, last - 1) for source in sources]
    plain = _read_by(found, found.song.kept, found.song.end)[:, 0]
    columns = []
    size = sizing.fits(_bytes_of_a_row(found.song), found.song.model.device, TOGETHER)
    for some in sizing.parts(sources, size):
        columns.append(_read_by(found, *_without(found, some)) - plain[:, None])
    return np.concatenate(columns, 1)


def checked(found: Graph, count: int = 40) -> pd.DataFrame:
    """What the graph foretells beside what happens, for the nodes of most influence.

    Parameters
    ----------
    found : Graph
        Whole, not pruned: what is foretold goes by all ways.
    count : int
        Nodes that are taken out.

    Returns
    -------
    pd.DataFrame
        One row a change: source, target (numbers of nodes), kind (of the source), what ("token" or
        "feature": the target), foretold, measured. Of features, those that read the source directly.
    """
    influence = found.nodes["influence"].to_numpy()[:-1]
    count = check.count("count", count)
    sources = np.argsort(-influence, kind="stable")[:count]
    sources = sources[influence[sources] > 0]
    told = foretold(found)[:, sources]
    happens = intervene(found, sources)
    reads = (found.edges[:, sources] != 0) & np.isfinite(happens)
    reads[-1] = True
    target, column = np.nonzero(reads)
    kinds = found.nodes["kind"].to_numpy()
    return pd.DataFrame(
        {
            "source": sources[column],
            "target": target,
            "kind": kinds[sources[column]],
            "what": kinds[target],
            "foretold": told[target, column],
            "measured": happens[target, column],
        }
    )


def _without(found, sources):
    """A pass in which each row lacks one node: what sites hold, and the last stream."""
    song = found.song
    net = song.net
    rows = len(sources)
    taken = {}
    for row, source in enumerate(sources):
        site, written = _written(song, found.nodes.iloc[source])
        if site not in taken:
            taken[site] = torch.zeros(rows, *written.shape, device=written.device)
        taken[site][row] = written
    take = Visitors({site: [_taker(written)] for site, written in taken.items()})
    keep, kept = keeping(f"before mlp.{i}" for i in range(len(net.blocks)))
    text = song.text.rows([0] * rows)
    visitors = take + keep
    sequence = song.sequence.repeat(rows, 1, 1)
    end = net.run(net.embed(sequence, text, visitors), text, visitors)
    return kept, end


def _taker(written):
    return lambda values, position: values - written


def _written(song, node):
    """Where a node writes, and what: [position, dim]."""
    block, position = int(node["block"]), int(node["position"])
    if node["kind"] == "word":
        return f"cross.{block}", song.frozen.of_word(block, position)
    site = "embed" if node["kind"] == "sung" else f"mlp.{block}"
    written = torch.zeros_like(song.kept[site])
    if node["kind"] == "sung":
        written[position] = song.kept[site][position]
    elif node["kind"] == "error":
        written[position] = song.errors[block][position]
    else:
        decoder = song.transcoders[block].W_dec[int(node["feature"])]
        written[position] = node["activation"] * decoder.to(written)
    return site, written


def _read_by(found, kept, end):
    """What features and the token read in some rows, [node, row]."""
    song = found.song
    end = end if end.ndim == 3 else end[None]
    reads = np.full((len(found.nodes), len(end)), np.nan)
    for number, node in enumerate(found.nodes.itertuples()):
        if node.kind == "feature":
            stream = kept[f"before mlp.{node.block}"]
            stream = stream if stream.ndim == 3 else stream[None]
            normed = song.net.parts[node.block].norms["mlp"](stream[:, node.position]).float()
            encoder = song.transcoders[node.block].W_enc[:, node.feature].to(normed)
            reads[number] = (normed @ encoder).cpu().numpy()
    reads[-1] = song.logits(end, found.target).cpu().numpy()
    return reads
