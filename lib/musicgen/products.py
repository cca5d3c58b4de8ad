"""Products with a model's weights, resolved once for many passes.

A step of generation multiplies a few rows with many weights. Looking modules up and calling them
takes longer than small products do, so what is called is found once. Modules that somebody watches
are called, as audiocraft would; of all others only the weights are used.

On a CPU, oneDNN may lay large weights out itself (they are **packed**), which takes a second copy of
them and half of the time or less.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn.functional import layer_norm, linear

from . import sizing
from .hooks import is_watched

#: Where the CPU has no AVX-512, calling oneDNN costs more than it saves for weights of fewer numbers
#: (a product of 2 rows with 160 x 480 numbers: 60 microseconds instead of 24; with 1024 x 4096: 380
#: instead of 1,930), unless there are as many rows.
LARGE = 2**18
MANY_ROWS = 64


def may_pack(lm) -> bool:
    """Whether a second copy of a model's weights may be kept: it is in float32 on a CPU with
    oneDNN, and memory is free.
    """
    weight = lm.emb[0].weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return False
    size = sum(p.numel() for p in lm.parameters()) * weight.element_size()
    return torch.backends.mkldnn.is_available() and size <= sizing.SHARE * sizing.free("cpu")


class Block:
    """What a block is made of, each a function.

    Parameters
    ----------
    block : audiocraft.modules.transformer.StreamingTransformerLayer
    crossed : bool
        Whether it has cross-attention.
    rows : int, optional
        Pack weights for products with so many rows.

    Attributes
    ----------
    norms, scales : dict
        kind of sublayer -> function.
    attention, cross : Attention
    mlp : callable
    """

    def __init__(self, block, crossed: bool, rows: int | None):
        self.norms = {"attn": _norm(block.norm1), "mlp": _norm(block.norm2)}
        self.scales = {"attn": _scale(block.layer_scale_1), "mlp": _scale(block.layer_scale_2)}
        self.attention = Attention(block.self_attn, slice(None), rows)
        self.cross = None
        if crossed:
            self.norms["cross"] = _norm(block.norm_cross)
            self.scales["cross"] = _scale(block.layer_scale_cross)
            self.cross = Attention(block.cross_attention, slice(block.self_attn.embed_dim), rows)
        self._first = layer(block.linear1, rows)
        self._second = layer(block.linear2, rows)
        self._activation = block.activation

    def mlp(self, x):
        """What the MLP makes of a normed stream."""
        return self._second(self._activation(self._first(x)))


class Attention:
    """What an attention is made of.

    Parameters
    ----------
    module : audiocraft.modules.transformer.StreamingMultiheadAttention
    part : slice
        Which of its input weights belong to the stream: queries, keys and values, or queries alone.
    rows : int, optional

    Attributes
    ----------
    project, out : callable
        Of the stream, and of what the heads read.
    project_read : callable
        Keys and values of what is read instead of the stream.
    """

    def __init__(self, module, part: slice, rows: int | None):
        self.module = module
        self.project = _projection(module, part, rows)
        self.project_read = _projection(module, slice(part.stop, None), None)
        self.out = layer(module.out_proj, rows)
        self._as_float32 = module.attention_as_float32
        self._heads = module.num_heads

    def split(self, x, parts: int) -> tuple[torch.Tensor, ...]:
        """[row, position, parts * dim] -> so many tensors [row, head, position, dim of a head]."""
        heads = x.view(*x.shape[:2], parts, self._heads, -1).permute(2, 0, 3, 1, 4)
        return (heads.float() if self._as_float32 else heads).unbind(0)


def _projection(module, part, rows):
    """The product with some rows of an attention's input weights."""
    weight = module.in_proj_weight
    bias = module.in_proj_bias
    if rows is not None:
        return product(weight[part], None if bias is None else bias[part], rows)

    def project(x):  # cut out in every pass, so that gradients reach the whole
        own = None if bias is None else bias[part]
        return linear(x.to(weight.dtype), weight[part], own)

    return project


def heads(lm, rows: int | None) -> Callable:
    """The function that makes logits [row, n_q, position, card], float32, of a normed stream.

    Where weights are packed, all heads are one product.
    """
    if rows is None or is_watched(lm.linears) or not all(map(_is_plain, lm.linears)):
        each = [layer(head, None) for head in lm.linears]
        return lambda x: torch.stack([head(x).float() for head in each], 1)
    weight = torch.cat([head.weight.detach() for head in lm.linears])
    biases = [head.bias for head in lm.linears]
    bias = None if biases[0] is None else torch.cat([bias.detach() for bias in biases])
    together = product(weight, bias, rows)
    count = len(biases)

    def logits(x):
        return together(x).view(*x.shape[:2], count, -1).transpose(1, 2)

    return logits


def layer(module, rows: int | None) -> Callable:
    """A linear layer as a function; x is brought to the weights' precision."""
    if not _is_plain(module):
        return lambda x: module(x.to(module.weight.dtype))
    return product(module.weight, module.bias, rows)


def _is_plain(module):
    """Whether a linear layer is its weights and nothing else."""
    return not is_watched(module) and type(module).forward is nn.Linear.forward


def product(weight, bias, rows: int | None = None) -> Callable:
    """``x @ weight.T + bias`` as a function of x, packed for so many rows where that is faster."""
    if rows is not None and _pays(weight, rows):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    if weight.dtype == torch.float32:
        return partial(linear, weight=weight, bias=bias)
    return lambda x: linear(x.to(weight.dtype), weight, bias)


def _pays(weight, rows):
    widest = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return widest or weight.numel() >= LARGE or rows >= MANY_ROWS


def _norm(module):
    if is_watched(module) or type(module).forward is not nn.LayerNorm.forward:
        return module
    shape = module.normalized_shape
    weights = {"weight": module.weight, "bias": module.bias, "eps": module.eps}
    return partial(layer_norm, normalized_shape=shape, **weights)


def _scale(module):
    return _same if isinstance(module, nn.Identity) and not is_watched(module) else module


def _same(x):
    return x
