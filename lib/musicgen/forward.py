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

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention

from . import melody
from .compat import audiocraft
from .run import NOBODY, Visitors

SUBLAYERS = ("attn", "cross", "mlp")
#: Bytes of weights of which a second copy is kept, in the layout that is fastest for few rows.
PACKED = 2**30


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

    def mask_behind(self, queries: int, keys: int, causal):
        """For attention of so many queries where the first of the keys are a prefix, of which each
        row reads its own; made once for all blocks.

        Parameters
        ----------
        causal : torch.Tensor of bool, optional
            What holds for every row.
        """
        if self.own is None:
            return causal
        if (queries, keys) not in self._mask:
            self._mask.clear()
            own = nn.functional.pad(self.own, (0, keys - self.own.shape[1]), value=True)
            own = own[:, None, None]
            self._mask[queries, keys] = own if causal is None else own & causal
        return self._mask[queries, keys]

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
    """

    def __init__(self, network: "Network", text: Text, rows: int, steps: int):
        attention = network.blocks[0].self_attn
        before = text.values.shape[1] if network.prefixed else 0
        size = (
            2,
            rows,
            attention.num_heads,
            before + steps,
            attention.embed_dim // attention.num_heads,
        )
        weight = attention.in_proj_weight
        self.kept = [weight.new_empty(size) for _ in network.blocks]
        self.length = before
        self.holds_prefix = network.prefixed
        if network.prefixed:
            for block, (keys, values) in text.prefix(network.run_prefix).items():
                self.kept[block][0, :, :, :before] = keys
                self.kept[block][1, :, :, :before] = values

    def extend(self, block: int, keys, values):
        """Those of all positions up to the new ones."""
        end = self.length + keys.shape[2]
        self.kept[block][0, :, :, self.length : end] = keys
        self.kept[block][1, :, :, self.length : end] = values
        if block == len(self.kept) - 1:
            self.length = end
        return self.kept[block][:, :, :, :end]


class FixedPast:
    """Keys and values of positions that stay as they were, in front of those that are run anew."""

    holds_prefix = False

    def __init__(self, kept: dict):
        self.kept = kept

    def extend(self, block: int, keys, values):
        """Those of the fixed positions and the new ones."""
        before_keys, before_values = self.kept[block]
        return torch.cat([before_keys, keys], 2), torch.cat([before_values, values], 2)


class _Keeping:
    """No past: keeps the keys and values of a pass, block -> both."""

    holds_prefix = True

    def __init__(self, kept: dict):
        self.kept = kept

    def extend(self, block: int, keys, values):
        self.kept[block] = keys, values
        return keys, values


class Network:
    """A MusicGen's language model, run sublayer by sublayer.

    Parameters
    ----------
    lm : audiocraft.models.lm.LMModel
    rows : int, optional
        Prepare the weights for products with so many rows, without gradients: on a CPU oneDNN takes
        half of the time or less if it may lay them out itself.
    """

    def __init__(self, lm, rows: int | None = None):
        self.lm = lm
        self.blocks = lm.transformer.layers
        self.prefixed = prefixed(lm)
        self.kinds = sublayers(lm)
        self.names = names(lm)
        self.number = {name: k for k, name in enumerate(self.names)}
        self.delays = lm.pattern_provider.delays
        self._before = {name: f"before {name}" for name in self.names}
        self._packed = {}
        self._positions = None
        if rows is not None and _packs(lm):
            self._pack(rows)

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
        x = x + self.lm.transformer.positional_scale * self._places(x.shape[1], x.device)
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
        first, count = visitors.position, x.shape[1]
        before = text.lengths if self.prefixed else 0
        if isinstance(before, int):
            places = self._places(before + first + count, x.device)[:, before + first :]
        else:  # one a row
            most = self._places(text.values.shape[1] + first + count, x.device)
            places = most[0, before + first + torch.arange(count, device=x.device)]
        x = x + self.lm.transformer.positional_scale * places
        return visitors("embed", x)

    def _places(self, end, device):
        """Positions from zero on, [1, end, dim]."""
        if self._positions is None or self._positions.shape[1] < end:
            self._positions = self._sines(max(end, 256), device)
        return self._positions[:, :end]

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
        heads = [self._linear(head, x).float() for head in self.lm.linears]
        return visitors("logits", torch.stack(heads, 1))

    # ---------------------------------------------------------------------------------------------
    # in blocks
    def _block(self, i, x, text, visitors, past):
        def through(x, src_mask=None, src_key_padding_mask=None, cross_attention_src=None):
            reads = _read(text, cross_attention_src)
            for k in range(len(self.kinds) * i, len(self.kinds) * (i + 1)):
                x = self._step(k, x, reads, visitors, past)
            return x

        read = None if self.prefixed else text.values
        return called_as(self.blocks[i], through, x, src_mask=None, cross_attention_src=read)

    def _step(self, k, x, text, visitors, past):
        """One sublayer: what it adds, added."""
        name = self.names[k]
        x = visitors(self._before[name], x)
        x = x + self.sublayer(name, x, text, visitors, past)
        if k % len(self.kinds) == len(self.kinds) - 1:
            x = visitors(f"resid.{k // len(self.kinds)}", x)
        return x

    def sublayer(
        self, name: str, x, text: Text, visitors: Visitors = NOBODY, past=None
    ) -> torch.Tensor:
        """What one sublayer adds to the residual stream x [row, position, dim]."""
        kind, _, i = name.partition(".")
        block = self.blocks[int(i)]
        if kind == "attn":
            normed = block.norm1(x)
            added = block.layer_scale_1(self._attend_past(int(i), normed, text, visitors, past))
        elif kind == "cross":
            added = block.layer_scale_cross(
                self._attend_text(int(i), block.norm_cross(x), text, visitors)
            )
        else:
            hidden = block.activation(self._linear(block.linear1, block.norm2(x)))
            added = block.layer_scale_2(self._linear(block.linear2, hidden))
        return visitors(name, added.float())

    def _attend_past(self, i, x, text, visitors, past):
        attention = self.blocks[i].self_attn

        def attend(query, key=None, value=None, **_):
            q, k, v = self._heads(attention, self._project(attention, query, slice(None)), 3)
            if past is not None:
                k, v = past.extend(i, k, v)
            behind = self.prefixed and text is not None
            if behind and (past is None or not past.holds_prefix):
                keys, values = text.prefix(self.run_prefix)[i]
                k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
            mask = _causal(q, k)
            if behind:
                mask = text.mask_behind(q.shape[2], k.shape[2], mask)
            z = self._weighted(f"pattern.{i}", q, k, v, mask, visitors)
            return self._joined("head", i, attention, z, visitors), None

        return called_as(attention, attend, x, x, x, need_weights=False)[0]

    def _attend_text(self, i, x, text, visitors):
        attention = self.blocks[i].cross_attention
        dim = attention.embed_dim

        def project(values):
            return self._heads(attention, self._project(attention, values, slice(dim, None)), 2)

        def attend(query, key=None, value=None, **_):
            (q,) = self._heads(attention, self._project(attention, query, slice(dim)), 1)
            k, v = _read(text, key).keys_and_values(i, project)
            z = self._weighted(f"cross_pattern.{i}", q, k, v, text.mask, visitors)
            return self._joined("cross_head", i, attention, z, visitors), None

        return called_as(attention, attend, x, text.values, text.values, need_weights=False)[0]

    @staticmethod
    def _heads(attention, x, parts):
        """[row, position, parts * dim] -> [part, row, head, position, dim of a head]."""
        heads = x.view(*x.shape[:2], parts, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        return heads.float() if attention.attention_as_float32 else heads

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

    def _joined(self, site, i, attention, z, visitors):
        """What the heads add together; each head's own share is a site of its own."""
        out = attention.out_proj
        added = self._linear(out, z.transpose(1, 2).flatten(2))
        size = z.shape[-1]
        for head in visitors.heads(site, i):
            weight = out.weight[:, head * size : (head + 1) * size]
            share = linear(z[:, head].to(weight.dtype), weight).float()
            changed = visitors(f"{site}.{i}.{head}", share)
            added = added if changed is share else added + (changed - share)
        return added

    def fixed_past(self, kept: dict, positions: int) -> FixedPast:
        """Keys and values of a pass's first positions, from what entered its self-attentions
        (``before attn.i``).
        """
        found = {}
        for i, block in enumerate(self.blocks):
            x = block.norm1(kept[f"before attn.{i}"][:, :positions])
            _, keys, values = self._heads(
                block.self_attn, self._project(block.self_attn, x, slice(None)), 3
            )
            found[i] = keys, values
        return FixedPast(found)

    # ------------------------------------------------------------------------------------- products
    # with weights
    def _linear(self, module, x):
        """A layer's product with its weights, in their precision."""
        packed = self._packed.get(module.weight.data_ptr())
        if packed is None or _is_watched(module):
            return module(x.to(module.weight.dtype))
        return packed(x)

    def _project(self, attention, x, part):
        """The product with some rows of an attention's input weights: queries, keys, values."""
        weight = attention.in_proj_weight[part]
        bias = attention.in_proj_bias
        packed = self._packed.get((weight.data_ptr(), len(weight)))
        if packed is not None:
            return packed(x)
        return linear(x.to(weight.dtype), weight, None if bias is None else bias[part])

    def _pack(self, rows):
        for module in [*self.lm.linears, *self.blocks.modules()]:
            if isinstance(module, torch.nn.Linear):
                self._packed[module.weight.data_ptr()] = _packed(module.weight, module.bias, rows)
        for block in self.blocks:
            attentions = [(block.self_attn, None)]
            if not self.prefixed:
                attentions.append((block.cross_attention, block.self_attn.embed_dim))
            for attention, size in attentions:
                weight = attention.in_proj_weight[:size]
                bias = attention.in_proj_bias
                bias = None if bias is None else bias[:size]
                self._packed[weight.data_ptr(), len(weight)] = _packed(weight, bias, rows)


def _packs(lm):
    weight = lm.emb[0].weight
    size = sum(p.numel() for p in lm.parameters()) * weight.element_size()
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return plain and size <= PACKED and torch.backends.mkldnn.is_available()


def _packed(weight, bias, rows):
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


# -------------------------------------------------------------------------------------------------
# details
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


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: Attribute of a module that holds what it runs instead of its own forward.
INSTEAD = "_runs_instead"


def _may_run_another(kind) -> None:
    """Let modules of a class run a function in the place of their own forward.

    Not by an attribute ``forward`` of the module: there nnsight puts its own, which runs what the
    class says.
    """
    own = kind.forward

    @functools.wraps(own)
    def forward(self, *args, **kwargs):
        instead = vars(self).get(INSTEAD)
        return own(self, *args, **kwargs) if instead is None else instead(*args, **kwargs)

    kind.forward = forward


for _kind in (
    audiocraft.modules.conditioners.T5Conditioner,
    audiocraft.modules.conditioners.WaveformConditioner,
    audiocraft.modules.transformer.StreamingTransformer,
    audiocraft.modules.transformer.StreamingTransformerLayer,
    audiocraft.modules.transformer.StreamingMultiheadAttention,
):
    _may_run_another(_kind)


def called_as(module, function: Callable, *args, **kwargs):
    """``function(*args, **kwargs)`` as if it were the module's own forward:

    hooks on the module fire, and nnsight reads and changes what enters and leaves it.
    """
    if not _is_watched(module):
        return function(*args, **kwargs)
    vars(module)[INSTEAD] = function
    try:
        return module(*args, **kwargs)
    finally:
        del vars(module)[INSTEAD]


def _is_watched(module):
    """Whether it has hooks, or a ``forward`` of its own (nnsight's)."""
    return "forward" in vars(module) or any(getattr(module, kind) for kind in HOOKS)


def check_hooks(lm, parts: bool = False) -> None:
    """Refuse hooks that would not fire.

    Parameters
    ----------
    parts : bool
        Whether only parts of the model run, as in patching: then no hook of one's own is taken.

    Raises
    ------
    ValueError
        Naming the module, the reason and the remedy.
    """
    uncalled = {"", "condition_provider", "fuser", "cfg_dropout", "att_dropout"}
    for name, module in lm.named_modules():
        if not any(getattr(module, kind) for kind in HOOKS):
            continue
        if parts:
            raise ValueError(
                f"There is a hook on {name or 'the language model'}, and this runs parts of the "
                "model again and again, "
                "where it would not fire as in a whole pass. Remove it, or use activations.capture "
                "and activations.edit."
            )
        if name in uncalled or "dropout" in name:
            raise ValueError(
                f"A hook on {name or 'the language model itself'} would never fire: this book runs "
                "the model's parts "
                "itself. Put it on transformer, its layers or what is inside them, or use "
                "activations.capture and "
                "activations.edit."
            )
