"""Token by token: what audiocraft's own ``generate`` computes, without what it repeats at every step.

Keys and values of the text are computed once a clip, those of the past are written in place, and text of different length shares
a batch because every row reads its own text alone (audiocraft's cross-attention sees the padding of shorter rows).
Modules are called as modules wherever ``activations`` has a site, so that hooks see and change what they would in
audiocraft's loop.
"""

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from lib.compat import audiocraft

LINEARS = (torch.nn.Linear, torch.nn.modules.linear.NonDynamicallyQuantizableLinear)
ConditioningAttributes = audiocraft.modules.conditioners.ConditioningAttributes
BLOCK = 32  # steps whose random numbers are drawn at once
PACKED = 2**30  # bytes of weights of which a second copy is kept, in the layout that is fastest for few rows


def check(lm) -> None:
    """Refuse what no released text-to-music model has.

    Raises
    ------
    ValueError
    """
    attention, fused = lm.transformer.layers[0].self_attn, lm.fuser.fuse2cond
    wrong = {
        "norm_first = false": not lm.transformer.layers[0].norm_first,
        "rotary positions": attention.rope is not None,
        "a limited past": attention.past_context is not None,
        "normalised or shared keys": attention.qk_layer_norm or attention.kv_repeat != 1,
        "PyTorch's own attention modules": not attention.custom,
        "text elsewhere than in cross-attention": any(fused[k] for k in fused if k != "cross") or not fused["cross"],
    }
    if found := [name for name, there in wrong.items() if there]:
        raise ValueError(f"this book reads MusicGen's text-to-music architecture. This model has {', '.join(found)}.")


@torch.no_grad()
def generate(
    lm,
    prompts: list[str],
    lengths: list[int],
    frames: int,
    seeds: list[int],
    *,
    temperature: float,
    top_k: int,
    cfg: float,
    negative: tuple[str, int] | None = None,
    beside: list[tuple[str, int]] = (),
    at: Callable[[int], None],
) -> torch.Tensor:
    """Sample tokens, int64 [clip, n_q, frame].

    Parameters
    ----------
    lm : audiocraft.models.lm.LMModel
    prompts : list of str
    lengths : list of int
        Text tokens of each prompt.
    frames : int
    seeds : list of int
        A clip's random numbers are its own: it does not depend on its neighbours.
    temperature, top_k, cfg : float, int, float
        As in ``Model.generate``; temperature 0 takes the likeliest token.
    negative : (str, int), optional
        What guidance leads away from, instead of no text, and its number of text tokens.
    beside : list of (str, int), optional
        Prompts of a third stream, one a clip: it reads the clip's tokens and has no say in them.
    at : callable
        Told the position before every step.
    """
    n, device = len(prompts), lm.emb[0].weight.device
    told = [ConditioningAttributes(text={"description": p or None}) for p in prompts]
    away = lengths if negative is None else [negative[1]] * n  # text that is masked out is the same for any length
    null = [ConditioningAttributes(text={"description": negative and negative[0]}) for _ in prompts]
    third = [ConditioningAttributes(text={"description": prompt or None}) for prompt, _ in beside]
    text = _text(lm, told + null + third)
    pattern = lm.pattern_provider.get_pattern(frames)
    codes = torch.full((n, lm.n_q, frames), -1, dtype=torch.long, device=device)
    sequence, _, real = pattern.build_pattern_sequence(codes, lm.special_token_id)
    steps = sequence.shape[-1] - 1
    noise = _noise(seeds, steps, (lm.n_q, lm.card), device) if temperature > 0 else None
    with _remembering(lm, text, [*lengths, *away, *(length for _, length in beside)], steps):
        for step in range(steps):
            at(step)
            told, null = _step(lm, sequence[..., step : step + 1], step, len(text) // n).split(n)[:2]
            logits = null + (told - null) * cfg
            drawn = (
                logits.argmax(-1) if noise is None else _draw(logits.float() / temperature + next(noise), logits, top_k)
            )
            sequence[..., step + 1] = torch.where(real[:, step + 1], drawn, lm.special_token_id)
    return pattern.revert_pattern_sequence(sequence, special_token=-1)[0][..., :frames]


def _text(lm, conditions):
    """What cross-attention reads, [row, token, dim]."""
    provider = lm.condition_provider
    tensors = provider(provider.tokenize(conditions))
    return lm.fuser(lm.emb[0].weight.new_zeros(len(conditions), 1, lm.dim), tensors)[1]


def _step(lm, tokens, position, streams):
    """Logits [stream * clip, n_q, card] after the tokens [clip, n_q, 1] at a position."""
    x = sum(embed(tokens[:, k]) for k, embed in enumerate(lm.emb))
    where = torch.full((1, 1, 1), position, device=x.device)
    sine = audiocraft.modules.transformer.create_sin_embedding
    x = x + lm.transformer.positional_scale * sine(where, lm.dim, lm.transformer.max_period, dtype=x.dtype)
    x = x.repeat(streams, 1, 1)
    for block in lm.transformer.layers:
        x = block(x)
    x = lm.out_norm(x) if lm.out_norm else x
    return torch.stack([head(x)[:, 0] for head in lm.linears], 1)


@contextmanager
def _remembering(lm, text, lengths, steps):
    """Inside, blocks take one position after the other."""
    own = torch.arange(text.shape[1]) < torch.tensor(lengths)[:, None]
    mask = None if own.all() else own[:, None, None].to(text.device)
    blocks = lm.transformer.layers
    with packed(lm, len(text)) as pack:
        for block in blocks:
            past, told = _Past(block.self_attn, text, steps, pack), _Text(block.cross_attention, text, mask, pack)
            block.forward = partial(_block, block, past, told)
        try:
            yield
        finally:
            for block in blocks:
                del block.forward


@contextmanager
def packed(lm, rows):
    """Inside, the blocks' and heads' products with weights are those of :func:`_packing`, without gradients. Gives the function
    that prepares others."""
    pack = _packing(lm, rows)
    linears = [m for m in [*lm.linears, *lm.transformer.layers.modules()] if type(m) in LINEARS]
    for module in linears:
        module.forward = pack(module.weight, module.bias)
    try:
        yield pack
    finally:
        for module in linears:
            del module.forward


def _packing(lm, rows):
    """How products with weights are prepared: on a CPU oneDNN takes half of the time or less if it may lay them out itself."""
    weight = lm.emb[0].weight
    size = sum(p.numel() for p in lm.parameters()) * weight.element_size()
    if (
        weight.device.type != "cpu"
        or weight.dtype != torch.float32
        or size > PACKED
        or not torch.backends.mkldnn.is_available()
    ):
        return lambda w, b=None: lambda x: linear(x, w, b)

    def pack(w, b=None):
        packed = torch.ops.mkldnn._reorder_linear_weight(w.detach().contiguous(), rows)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, b, "none", [], "")

    return pack


def _block(block, past, text, x):
    x = x + block.layer_scale_1(past(block.norm1(x)))
    x = x + block.layer_scale_cross(text(block.norm_cross(x)))
    return x + block.layer_scale_2(block._ff_block(block.norm2(x)))


class _Past:
    """Self-attention of one position over those before it."""

    def __init__(self, attention, text, steps, pack):
        self.attention, self.n, self.heads = attention, 0, attention.num_heads
        self.enter = pack(attention.in_proj_weight, attention.in_proj_bias)
        self.kept = text.new_empty((2, len(text), self.heads, steps, attention.embed_dim // self.heads))

    def __call__(self, x):
        qkv = self.enter(x).view(len(x), 3, self.heads, -1)
        self.kept[:, :, :, self.n] = qkv[:, 1:].transpose(0, 1)
        self.n += 1
        keys, values = self.kept[:, :, :, : self.n]
        return self.attention.out_proj(
            scaled_dot_product_attention(qkv[:, 0, :, None], keys, values).flatten(1)[:, None]
        )


class _Text:
    """Cross-attention of one position; ``mask`` [row, 1, 1, token] is true where a row's own text is."""

    def __init__(self, attention, text, mask, pack):
        self.attention, self.mask, self.heads = attention, mask, attention.num_heads
        d, weight, bias = attention.embed_dim, attention.in_proj_weight, attention.in_proj_bias
        self.enter = pack(weight[:d], None if bias is None else bias[:d])
        kv = linear(text, weight[d:], None if bias is None else bias[d:])
        self.keys, self.values = kv.view(*text.shape[:2], 2, self.heads, -1).permute(2, 0, 3, 1, 4).contiguous()

    def __call__(self, x):
        q = self.enter(x).view(len(x), self.heads, 1, -1)
        return self.attention.out_proj(
            scaled_dot_product_attention(q, self.keys, self.values, self.mask).flatten(1)[:, None]
        )


def _noise(seeds, steps, shape, device):
    """Gumbel noise for every step, [clip, *shape]: the largest sum of logit and noise is a sample of the softmax."""
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    for first in range(0, steps, BLOCK):
        count = min(BLOCK, steps - first)
        even = torch.stack([torch.empty(count, *shape).uniform_(generator=g) for g in generators], 1)
        yield from even.log_().neg_().log_().neg_().to(device)


def _draw(race, logits, top_k):
    """The winner of each race [clip, n_q, card] among the ``top_k`` likeliest tokens."""
    winner = race.argmax(-1, keepdim=True)
    if top_k < race.shape[-1]:
        out = (logits > logits.gather(-1, winner)).sum(-1) >= top_k  # as good as never, so nothing is sorted for it
        if out.any():
            kth = logits[out].topk(top_k).values[:, -1:]
            winner[out] = race[out].masked_fill(logits[out] < kth, -torch.inf).argmax(-1, keepdim=True)
    return winner[..., 0]
