"""Gradients that half precision does not swallow.

A loss is a mean over many tokens, so its gradient at a logit is as small as one over their number:
1 / 9600 for 8 clips of 6 s, times a difference of probabilities. Released models are in half
precision on CUDA by default, where numbers below 6e-8 are zero and those below 6e-5 lose digits. So
the mean is made a sum before it is differentiated, and the result is divided again (loss scaling:
Micikevicius et al. 2018).

References
----------
Micikevicius et al. 2018, Mixed precision training.
"""

from collections.abc import Sequence

import torch

#: By how much less is tried where a sum over many positions is too large for half precision.
LESS = 16


def of(value: torch.Tensor, inputs: Sequence[torch.Tensor], tokens: int) -> list[torch.Tensor]:
    """The gradient of a mean over tokens.

    Parameters
    ----------
    value : torch.Tensor [shape=()]
        What is differentiated. Nothing else should hold it, nor what it was made of: its graph is
        kept until it is let go.
    inputs : sequence of torch.Tensor
        With respect to what.
    tokens : int
        How many the mean is over. Of a sum of several means (of pairs, say), those of one.

    Returns
    -------
    list of torch.Tensor, float32
        One an input, of its shape. Of a model in float32 they are what ``torch.autograd.grad``
        gives, bit by bit; numbers that are not finite at any scale are returned as they are.

    Raises
    ------
    RuntimeError
        An input that the value does not follow from.
    """
    # a power of two: multiplied with it, a number keeps all its digits
    scale = 2 ** (max(1, tokens).bit_length() - 1)
    while True:
        found = torch.autograd.grad(value * scale, inputs, retain_graph=True)
        slopes = [slope.float() / scale for slope in found]
        if scale == 1 or all(slope.isfinite().all() for slope in slopes):
            return slopes
        scale = max(1, scale // LESS)
