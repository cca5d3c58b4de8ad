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
    lr : float or torch.Tensor
        A tensor can be changed in a step that was recorded (``training.Recorded``).
    momentum, weight_decay : float
    """

    def __init__(
        self,
        weights: Iterable[torch.nn.Parameter],
        lr: float | torch.Tensor,
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
                updates = torch.stack(self._momenta(matrices, group["momentum"]))
                # the root mean square of an orthogonal matrix, brought to that of AdamW's steps
                size = 0.2 * max(shape) ** 0.5
                moves = orthogonalised(updates) * (group["lr"] * size)
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_sub_(matrices, list(moves.unbind()))

    def _momenta(self, matrices, momentum):
        """Nesterov's look ahead of each matrix."""
        for weight in matrices:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        gradients = [weight.grad for weight in matrices]
        kept = [self.state[weight]["momentum"] for weight in matrices]
        torch._foreach_lerp_(kept, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, kept, momentum)


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
