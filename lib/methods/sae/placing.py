"""An SAE on any device, for activations of any device and precision.

Models run in half precision on a GPU, an SAE is loaded in float32 on the CPU, and either may be
moved. Whoever asks an SAE brings the vectors to it and the answer back: :func:`encode` and
:func:`decode` do. Precision is changed where both precisions exist: MPS, for one, has no float64.
"""

from functools import partial

import torch


def encode(s, x: torch.Tensor) -> torch.Tensor:
    """Feature activations of vectors, computed where the SAE is and returned where the vectors are.

    Parameters
    ----------
    s : sae_lens.SAE or Basis
    x : torch.Tensor [shape=(..., dim)]
        On any device, of any precision.

    Returns
    -------
    torch.Tensor [shape=(..., feature)]
        On the device and in the precision of ``x``.
    """
    return back(s.encode(home(s, x)), x)


def decode(s, z: torch.Tensor) -> torch.Tensor:
    """Vectors [..., dim] from feature activations [..., feature], placed as :func:`encode` does."""
    return back(s.decode(home(s, z)), z)


def home(s, x: torch.Tensor) -> torch.Tensor:
    """A tensor brought to an SAE's device and precision."""
    return x.to(s.W_dec.dtype).to(s.W_dec.device)


def back(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A tensor brought to the device and precision of another."""
    return y.to(x.device).to(x.dtype)


def anywhere(s):
    """Let an SAE be called with tensors of any device and precision, as an edit of the running
    model
    calls it: ``activations.Edit(site, apply=s)``."""
    s.forward = partial(_forward, s)
    return s


def _forward(s, x):
    return back(type(s).forward(s, home(s, x)), x)
