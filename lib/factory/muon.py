"""Muon in single precision: momentum, made orthogonal, for matrices.

``torch.optim.Muon`` orthogonalises in bfloat16, which a CPU without bfloat16 arithmetic emulates:
one step of an organism then took 7 s, eight times as long as the gradient. In single precision it
takes a tenth of a second.

Sources
-------
Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"
(kellerjordan.github.io/posts/muon); scaled to the step size of AdamW as in Liu et al. 2025, "Muon
is scalable for LLM training" (arXiv:2502.16982).
"""

from collections.abc import Iterable

import torch

#: Of the quintic iteration, and how often it is applied.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose singular values are all brought to about 1.

    Parameters
    ----------
    weights : iterable of torch.nn.Parameter [shape=(row, column)]
    lr, momentum, weight_decay : float
    """

    def __init__(
        self,
        weights: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ):
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(weights, settings)

    @torch.no_grad()
    def step(self):
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            for shape, matrices in _by_shape(group["params"]).items():
                updates = torch.stack([self._momentum(w, group["momentum"]) for w in matrices])
                # the root mean square of an orthogonal matrix, brought to that of AdamW's steps
                size = 0.2 * max(shape) ** 0.5
                for weight, update in zip(matrices, orthogonalised(updates), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-group["lr"] * size)

    def _momentum(self, weight, momentum):
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(state["momentum"], momentum)


def _by_shape(weights):
    """The matrices that have a gradient, those of one shape together."""
    grouped = {}
    for weight in weights:
        if weight.grad is not None:
            grouped.setdefault(tuple(weight.shape), []).append(weight)
    return grouped


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices with the same singular vectors, and singular values of about 1.

    Parameters
    ----------
    matrices : torch.Tensor [shape=(matrix, row, column)]

    Returns
    -------
    torch.Tensor [shape=(matrix, row, column)]
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if is_tall else x
