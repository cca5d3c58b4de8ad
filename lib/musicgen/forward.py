"""The one forward pass: text, embedding, blocks sublayer by sublayer and head by head, logits.

Generation, replay, capture, patching and alignment search all run this. A block is

    x = x + self-attention(norm1(x)) + cross-attention(norm_cross(...), text) + MLP(norm2(...))

and every term has a name at which :class:`~.run.Visitors` may read or change it::

    text  cond  embed  [ before attn.i  head.i.h  attn.i  before cross.i  cross_head.i.h  cross.i
                         before mlp.i  mlp.i  resid.i ]  logits

``pattern.i`` and ``cross_pattern.i`` are attention's weights [row, head, query, key], to be read
only.

MusicGen's melody models have no cross-attention: a chromagram and the text stand in front of the
music, and self-attention reads them (the **prefix**). Nothing in the prefix reads the music behind
it, so it is run once, and its keys and values are kept with the text. Everything else is about the
music's positions alone: what sites hold, what visitors see, what is counted from zero. Positions of
a row go on from the end of its own prefix, whatever the length of the others.

Numbers are audiocraft's own: its modules hold the weights and are called where it calls them, so
that hooks on them fire, and nnsight works on them. The residual stream, and so every sum, is
float32; only products with weights are in the weights' precision.

With nnsight (``pip install nnsight``), which may run ``replay``, ``generate`` or anything else::

    net = nnsight.NNsight(m.lm)
    with torch.no_grad(), net.trace(clips.tokens, clips.prompts, fn=m.replay):
        stream = net.transformer.layers[1].output.save()  # [clip, position, dim]: resid.1
        net.transformer.layers[3].output[:] *= 0.5
        heads = [head.output.save() for head in net.linears]  # logits of each codebook
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention

from . import hooks, melody
from .compat import audiocraft
from .hooks import called_as
from .products import Block, heads, may_pack
from .run import NOBODY, Visitors

SUBLAYERS = ("attn", "cross", "mlp")


def check(lm) -> None:
    """Refuse what no released text-to-music or melody model has.

    Raises
    ------
    ValueError
    """
    block = lm.transformer.layers[0]
    attention = block.self_attn
    fused = lm.fuser.fuse2cond
    read = {how: sorted(some) for how, some in fused.items() if some}
    known = [{"cross": [melody.TEXT]}, {"prepend": [melody.TEXT]}]
    known.append({"prepend": sorted([melody.MELODY, melody.TEXT])})
    wrong = {
        "norm_first = false": not block.norm_first,
        "rotary positions": attention.rope is not None,
        "a limited past": attention.past_context is not None,
        "normalised or shared keys": attention.qk_layer_norm or attention.kv_repeat != 1,
        "PyTorch's own attention modules": not attention.custom,
        f"conditions that are read as {read}": read not in known,
        "positions added to the text": lm.fuser.cross_attention_pos_emb,
        "layer scales": not isinstance(block.layer_scale_1, torch.nn.Identity),
    }
    found = [name for name, there in wrong.items() if there]
    if found:
        raise ValueError(
            f"this book reads MusicGen's text-to-music and melody architectures. This model has "
            f"{', '.join(found)}."
        )


def prefixed(lm) -> bool:
    """Whether text (and melody) stand in front of the music, instead of in cross-attention."""
    return bool(lm.fuser.fuse2cond["prepend"])


def sublayers(lm) -> tuple[str, ...]:
    """Kinds of sublayers of a block, in the order of the computation."""
    return tuple(kind for kind in SUBLAYERS if kind != "cross" or not prefixed(lm))


def names(lm) -> list[str]:
    """Sublayers in the order of the computation: attn.0, cross.0, mlp.0, attn.1, ..."""
    return [f"{kind}.{i}" for i in range(len(lm.transformer.layers)) for kind in sublayers(lm)]


def past_dtype(lm) -> torch.dtype:
    """What attention's keys and values are kept in: the weights' precision, or float32 where a
    checkpoint asks for attention in float32.
    """
    attention = lm.transformer.layers[0].self_attn
    if attention.attention_as_float32:
        return torch.float32
    return attention.in_proj_weight.dtype


@dataclass(frozen=True)
class Text:
    """What cross-attention reads, or a prefix.

    Attributes
    ----------
    values : torch.Tensor [shape=(row, token, dim)]
        Of a prefix: the melody, then the text.
    own : torch.Tensor of bool [shape=(row, token)], optional
        Which tokens are a row's own text and no padding; None where all are.
    """

    values: torch.Tensor
    own: torch.Tensor | None = None
    _projected: dict = field(default_factory=dict, repr=False)
    _mask: dict = field(default_factory=dict, repr=False)

    def repeat(self, n: int) -> "Text":
        """The same rows ``n`` times."""
        own = None if self.own is None else self.own.repeat(n, 1)
        return Text(self.values.repeat(n, 1, 1), own)

    def rows(self, index) -> "Text":
        """Some rows."""
        return Text(self.values[index], None if self.own is None else self.own[index])

    @property
    def mask(self):
        """For attention: [row, 1, 1, token], or None."""
        return None if self.own is None else self.own[:, None, None]

    @cached_property
    def lengths(self):
        """Tokens of each row without padding: [row, 1], or one number for all."""
        return self.values.shape[1] if self.own is None else self.own.sum(1, keepdim=True)

    def keys_and_values(self, block: int, project: Callable):
        """Of one block, projected once however often they are asked for:

        two tensors [row, head, token, dim].
        """
        if block not in self._projected:
            self._projected[block] = project(self.values)
        return self._projected[block]

    def mask_behind(self, keys: int, causal):
        """For attention where the first of so many keys are a prefix, of which each row reads its
        own.

        Parameters
        ----------
        causal : torch.Tensor of bool or None
            What holds for every row.
        """
        if self.own is None:
            return causal
        if keys not in self._mask:
            self._mask.clear()
            own = nn.functional.pad(self.own, (0, keys - self.own.shape[1]), value=True)
            self._mask[keys] = own[:, None, None]
        return self._mask[keys] if causal is None else self._mask[keys] & causal

    def prefix(self, run: Callable):
        """The same of a prefix, block -> keys and values; ``run(text, kept)`` fills ``kept``."""
        if not self._projected:
            run(self, self._projected)
        return self._projected


class Past:
    """Keys and values of the positions so far, written in place:

    generation takes one position after the other.

    Attributes
    ----------
    holds_prefix : bool
        Whether those of the prefix are in front of them.
    size : int
        Positions that there is room for, those of the prefix included.
    """

    def __init__(self, network: "Network", text: Text, rows: int, steps: int):
        attention = network.blocks[0].self_attn
        self.before = text.values.shape[1] if network.prefixed else 0
        self.size = self.before + steps
        heads = attention.num_heads
        shape = (2, rows, heads, self.size, attention.embed_dim // heads)
        weight = attention.in_proj_weight
        kind = past_dtype(network.lm)
        self.kept = [weight.new_empty(shape, dtype=kind) for _ in network.blocks]
        self.holds_prefix = network.prefixed
        self._length = self.before
        self._position = None
        if network.prefixed:
            for block, (keys, values) in text.prefix(network.run_prefix).items():
                self.kept[block][0, :, :, : self.before] = keys
                self.kept[block][1, :, :, : self.before] = values

    def follow(self, position: torch.Tensor) -> None:
        """Read from now on where the next position is, int64 [1], instead of counting; then
        attention reads as many positions at every step.
        """
        for kept in self.kept:  # what is not there yet is read, too, with weight zero
            kept[:, :, :, self.before :].zero_()
        self._position = position
        self._numbers = torch.arange(self.size, device=position.device)

    def reach(self, steps: int) -> None:
        """How many positions of the music attention reads where they are not counted."""
        self._length = self.before + steps

    def extend(self, block: int, keys, values):
        """Those of all positions up to the new ones; and, where they are not counted, of some that
        are not there yet and that :meth:`mask` hides.
        """
        kept = self.kept[block]
        if self._position is not None:
            where = self._position + self.before
            kept[0].index_copy_(2, where, keys)
            kept[1].index_copy_(2, where, values)
            return kept[:, :, :, : self._length]
        end = self._length + keys.shape[2]
        kept[0, :, :, self._length : end] = keys
        kept[1, :, :, self._length : end] = values
        if block == len(self.kept) - 1:
            self._length = end
        return kept[:, :, :, :end]

    def mask(self, q, k):
        """Which keys a query reads, for attention: see :func:`_causal`."""
        if self._position is None:
            return _causal(q, k)
        return (self._numbers[: self._length] <= self._position + self.before)[None, None, None]


class FixedPast:
    """Keys and values of positions that stay as they were, in front of those that are run anew."""

    holds_prefix = False

    def __init__(self, kept: dict):
        self.kept = kept

    def extend(self, block: int, keys, values):
        """Those of the fixed positions and the new ones."""
        before_keys, before_values = self.kept[block]
        return torch.cat([before_keys, keys], 2), torch.cat([before_values, values], 2)

    def mask(self, q, k):
        """As of :class:`Past`."""
        return _causal(q, k)


class _Keeping:
    """No past: keeps the keys and values of a pass, block -> both."""

    holds_prefix = True

    def __init__(self, kept: dict):
        self.kept = kept

    def extend(self, block: int, keys, values):
        self.kept[block] = keys, values
        return keys, values

    def mask(self, q, k):
        return _causal(q, k)


class Network:
    """A MusicGen's language model, run sublayer by sublayer.

    Parameters
    ----------
    lm : audiocraft.models.lm.LMModel
    rows : int, optional
        Prepare for many passes over so many rows, without gradients: weights are laid out as is
        fastest (:mod:`.products`), and the heads' are put together.
    """

    def __init__(self, lm, rows: int | None = None):
        self.lm = lm
        self.blocks = lm.transformer.layers
        self.prefixed = prefixed(lm)
        self.kinds = sublayers(lm)
        self.names = names(lm)
        self.number = {name: k for k, name in enumerate(self.names)}
        self.delays = lm.pattern_provider.delays
        self._before = [f"before {name}" for name in self.names]
        self._after = [f"resid.{i}" for i in range(len(self.blocks))]
        rows = rows if rows is not None and may_pack(lm) else None
        self.parts = [Block(block, not self.prefixed, rows) for block in self.blocks]
        self._heads = heads(lm, rows)
        self._positions = None

    # --------------------------------------------------------------------------------------------
    # whole pass
    def read_text(
        self,
        prompts: list[str | None],
        visitors: Visitors = NOBODY,
        lengths: list[int] | None = None,
        chroma=None,
    ) -> Text:
        """Text as cross-attention reads it, or a prefix. Each row reads its own tokens;

        without text (None or "") it reads zeros.

        Parameters
        ----------
        prompts : list of str or None
        visitors : Visitors
        lengths : list of int, optional
            How many zeros a row without text reads in a prefix, where their number counts; by
            default one. In audiocraft it is the number of tokens of the text beside it.
        chroma : torch.Tensor [shape=(row, chroma frame, pitch class)], optional
            Of the melody in a prefix; by default silence.
        """
        conditioner = self.lm.condition_provider.conditioners["description"]
        inputs = conditioner.tokenize([prompt or None for prompt in prompts])
        if self.prefixed:
            return self._read_prefix(inputs, lengths or [1] * len(prompts), chroma, visitors)
        text = self.condition(inputs, visitors)
        return Text(text.values) if text.own.all() else text

    def _read_prefix(self, inputs, lengths, chroma, visitors):
        mask = inputs["attention_mask"]
        zeros = torch.tensor(lengths, device=mask.device)
        count = torch.where(mask.any(1), mask.sum(1), zeros)
        lacking = max(int(count.max()) - mask.shape[1], 0)
        inputs = {name: nn.functional.pad(some, (0, lacking)) for name, some in inputs.items()}
        values = self.condition(inputs, visitors).values
        own = torch.arange(values.shape[1], device=mask.device) < count[:, None]
        values, own = values[:, : count.max()], own[:, : count.max()]
        conditioner = melody.of(self.lm)
        if conditioner is not None:
            chroma = conditioner.silence(len(values)) if chroma is None else chroma
            read = called_as(conditioner, self._project_chroma, chroma)
            values = torch.cat([read, values.to(read)], 1)
            own = torch.cat([own.new_ones(read.shape[:2]), own], 1)
        return Text(values) if own.all() else Text(values, own)

    def _project_chroma(self, chroma):
        projection = melody.of(self.lm).output_proj
        return projection(chroma.to(projection.weight))

    def run_prefix(self, text: Text, kept: dict) -> None:
        """Run a prefix, and keep its keys and values: block -> two tensors [row, head, token, dim].

        Padding behind a row's own text is run, too, and read by nobody.
        """
        x = text.values.float()
        x = x + self.lm.transformer.positional_scale * self._places(0, x.shape[1], x.device)
        self.run(x, None, stop=len(self.names) - 1, past=_Keeping(kept))

    def condition(self, inputs: dict, visitors: Visitors = NOBODY) -> Text:
        """Text as cross-attention reads it, from the tokenizer's ids and mask [row, token]."""
        conditioner = self.lm.condition_provider.conditioners["description"]
        gradients = torch.is_grad_enabled()

        def condition(inputs):
            mask = inputs["attention_mask"]
            # as audiocraft has it: with gradients another attention kernel runs, whose last bits
            # differ
            with torch.set_grad_enabled(conditioner.finetune), conditioner.autocast:
                hidden = conditioner.t5(**inputs).last_hidden_state
            hidden = visitors("text", hidden if gradients else hidden.detach())
            values = conditioner.output_proj(
                hidden.to(conditioner.output_proj.weight)
            ) * mask.unsqueeze(-1)
            return visitors("cond", values), mask

        values, mask = called_as(conditioner, condition, inputs)
        return Text(values, mask.bool() | ~mask.bool().any(1, keepdim=True))

    def pass_through(
        self, sequence, text: Text, visitors: Visitors = NOBODY, past=None
    ) -> torch.Tensor:
        """Logits [row, n_q, position, card] of delayed tokens [row, n_q, position]."""
        if self.prefixed:
            text.prefix(self.run_prefix)  # before any part of the model runs for the music

        def transform(x, cross_attention_src=None, src_mask=None):
            x = self.place(x, text, visitors)
            return self.run(x, _read(text, cross_attention_src), visitors, past=past)

        x = self.tokens(sequence)
        read = None if self.prefixed else text.values
        x = called_as(self.lm.transformer, transform, x, cross_attention_src=read, src_mask=None)
        return self.logits(x, visitors)

    def embed(self, sequence, text: Text, visitors: Visitors = NOBODY) -> torch.Tensor:
        """What enters block 0, [row, position, dim]: token embeddings plus position."""
        return self.place(self.tokens(sequence), text, visitors)

    def tokens(self, sequence) -> torch.Tensor:
        """The sum of the codebooks' embeddings."""
        return sum(embed(sequence[:, k]) for k, embed in enumerate(self.lm.emb)).float()

    def place(self, x, text: Text, visitors: Visitors) -> torch.Tensor:
        """Embeddings with their positions, from that of the pass on; behind a prefix."""
        first = visitors.position
        if self.prefixed:
            if isinstance(first, int):
                self.reserve(text.values.shape[1] + first + x.shape[1], x.device)
            first = first + text.lengths
        places = self._places(first, x.shape[1], x.device)
        return visitors("embed", x + self.lm.transformer.positional_scale * places)

    def _places(self, first, count, device):
        """So many positions from one on, [1 or row, count, dim].

        ``first`` is a number, or a tensor: of one for all rows [1], or of one a row [row, 1]. Then
        there must be room (:meth:`reserve`).
        """
        if isinstance(first, int):
            self.reserve(first + count, device)
            return self._positions[:, first : first + count]
        if count == 1 and first.ndim == 1:
            return self._positions.index_select(1, first)
        return self._positions[0, first + torch.arange(count, device=device)]

    def reserve(self, count: int, device=None) -> None:
        """Make room for so many positions."""
        if self._positions is None or self._positions.shape[1] < count:
            device = self.lm.emb[0].weight.device if device is None else device
            self._positions = self._sines(max(count, 256), device)

    def _sines(self, n, device):
        where = torch.arange(n, device=device).view(1, -1, 1)
        period = self.lm.transformer.max_period
        sines = audiocraft.modules.transformer.create_sin_embedding
        return sines(where, self.lm.dim, period, dtype=torch.float32)

    def run(
        self, x, text: Text, visitors: Visitors = NOBODY, *, start: int = 0, stop=None, past=None
    ):
        """The residual stream from sublayer number ``start`` on, to the last or up to ``stop``
        (which does not run).
        """
        stop = len(self.names) if stop is None else stop
        k = start
        while k < stop:
            whole = k % len(self.kinds) == 0 and k + len(self.kinds) <= stop
            if whole:
                x = self._block(k // len(self.kinds), x, text, visitors, past)
                k += len(self.kinds)
            else:
                x = self._step(k, x, text, visitors, past)
                k += 1
        return x

    def logits(self, x, visitors: Visitors = NOBODY) -> torch.Tensor:
        """[row, n_q, position, card], float32."""
        x = self.lm.out_norm(x) if self.lm.out_norm else x
        return visitors("logits", self._heads(x))

    # ---------------------------------------------------------------------------------------------
    # in blocks
    def _block(self, i, x, text, visitors, past):
        block = self.blocks[i]
        first = len(self.kinds) * i

        def through(x, src_mask=None, src_key_padding_mask=None, cross_attention_src=None):
            reads = _read(text, cross_attention_src)
            for k in range(first, first + len(self.kinds)):
                x = self._step(k, x, reads, visitors, past)
            return x

        read = None if self.prefixed else text.values
        return called_as(block, through, x, src_mask=None, cross_attention_src=read)

    def _step(self, k, x, text, visitors, past):
        """One sublayer: what it adds, added."""
        x = visitors(self._before[k], x)
        x = x + self.sublayer(self.names[k], x, text, visitors, past)
        i, kind = divmod(k, len(self.kinds))
        return visitors(self._after[i], x) if kind == len(self.kinds) - 1 else x

    def sublayer(
        self, name: str, x, text: Text, visitors: Visitors = NOBODY, past=None
    ) -> torch.Tensor:
        """What one sublayer adds to the residual stream x [row, position, dim]."""
        i, kind = divmod(self.number[name], len(self.kinds))
        kind = self.kinds[kind]
        part = self.parts[i]
        normed = part.norms[kind](x)
        if kind == "attn":
            added = self._attend_past(i, normed, text, visitors, past)
        elif kind == "cross":
            added = self._attend_text(i, normed, text, visitors)
        else:
            added = part.mlp(normed)
        return visitors(name, part.scales[kind](added).float())

    def _attend_past(self, i, x, text, visitors, past):
        part = self.parts[i].attention

        def attend(query, key=None, value=None, **_):
            q, k, v = part.split(part.project(query), 3)
            if past is not None:
                k, v = past.extend(i, k, v)
            behind = self.prefixed and text is not None
            if behind and (past is None or not past.holds_prefix):
                keys, values = text.prefix(self.run_prefix)[i]
                k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
            mask = _causal(q, k) if past is None else past.mask(q, k)
            if behind:
                mask = text.mask_behind(k.shape[2], mask)
            z = self._weighted(f"pattern.{i}", q, k, v, mask, visitors)
            return self._joined("head", i, part, z, visitors), None

        return called_as(part.module, attend, x, x, x, need_weights=False)[0]

    def _attend_text(self, i, x, text, visitors):
        part = self.parts[i].cross

        def project(values):
            return part.split(part.project_read(values), 2)

        def attend(query, key=None, value=None, **_):
            (q,) = part.split(part.project(query), 1)
            k, v = _read(text, key).keys_and_values(i, project)
            z = self._weighted(f"cross_pattern.{i}", q, k, v, text.mask, visitors)
            return self._joined("cross_head", i, part, z, visitors), None

        return called_as(part.module, attend, x, text.values, text.values, need_weights=False)[0]

    @staticmethod
    def _weighted(name, q, k, v, mask, visitors):
        """What each head reads, [row, head, query, dim].

        ``mask`` is None, "causal" or true where attention may go.
        """
        if name in visitors:
            visitors(name, _pattern(q, k, mask))
        if isinstance(mask, str):
            return scaled_dot_product_attention(q, k, v, is_causal=True)
        return scaled_dot_product_attention(q, k, v, mask)

    @staticmethod
    def _joined(site, i, part, z, visitors):
        """What the heads add together; each head's own share is a site of its own."""
        added = part.out(z.transpose(1, 2).flatten(2))
        size = z.shape[-1]
        for head in visitors.heads(site, i):
            weight = part.module.out_proj.weight[:, head * size : (head + 1) * size]
            share = linear(z[:, head].to(weight.dtype), weight).float()
            changed = visitors(f"{site}.{i}.{head}", share)
            added = added if changed is share else added + (changed - share)
        return added

    def fixed_past(self, kept: dict, positions: int) -> FixedPast:
        """Keys and values of a pass's first positions, from what entered its self-attentions
        (``before attn.i``).
        """
        found = {}
        for i, part in enumerate(self.parts):
            x = part.norms["attn"](kept[f"before attn.{i}"][:, :positions])
            _, keys, values = part.attention.split(part.attention.project(x), 3)
            found[i] = keys, values
        return FixedPast(found)


# -------------------------------------------------------------------------------------------------
# details
def undisturbed(model, rows: int | None = None) -> Network:
    """A model's network as it is by itself, to be run in parts.

    Parameters
    ----------
    model : Model
    rows : int, optional
        As for :class:`Network`.

    Raises
    ------
    ValueError
        Inside ``activations.edit``, or with hooks of one's own on the model.
    """
    if model.edits:
        raise ValueError(
            f"Inside activations.edit ({len(model.edits)} in force) parts of the model cannot be run: "
            "it would not be known which of the runs an edit belongs to. Leave the context first."
        )
    hooks.check(model.lm, parts=True)
    return Network(model.lm, rows)


def _read(text, given):
    """The text, unless a hook has put something else in its place."""
    return text if given is None or given is text.values else Text(given, text.own)


def _causal(q, k):
    """A position reads itself and those before it;

    ``k`` may begin with positions that ``q`` lacks.
    """
    queries = q.shape[2]
    keys = k.shape[2]
    if queries == 1:
        return None
    if queries == keys:
        return "causal"
    return torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)


def _pattern(q, k, mask):
    """Attention's weights, [row, head, query, key], float32."""
    scores = q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5
    if isinstance(mask, str):
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1)
