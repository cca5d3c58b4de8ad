"""A slider: an adapter of the weights that may be turned up and down (concept sliders: Gandikota et
al. 2024).

A product of two thin matrices (LoRA: Hu et al. 2022) is added to the output projections of every
attention, times the strength. It learns what the concept's words do (``distilling``).

References
----------
Gandikota, Materzyńska, Zhou, Torralba and Bau 2024, Concept sliders: LoRA adaptors for precise
control in diffusion models. Hu et al. 2022, LoRA: low-rank adaptation of large language models.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from torch.nn.utils import parametrize

from ... import check
from ...musicgen.model import Clips, Model
from .. import divergence
from . import distilling
from .levers import Steered, check_weights
from .tasks import Task

RANK = 4
#: Modules whose weights are changed, in every block that has them.
MODULES = ("self_attn.out_proj", "cross_attention.out_proj")


@dataclass(frozen=True)
class Slider:
    """Thin matrices for some weights of a model.

    Attributes
    ----------
    down, up : dict
        Name of a module -> [rank, in] and [out, rank].
    weights : str
        The model itself: ``Model.fingerprint``.
    about : dict
        Its card.
    """

    down: dict[str, np.ndarray]
    up: dict[str, np.ndarray]
    weights: str
    about: dict = field(default_factory=dict)

    @property
    def family(self) -> str:
        """As of ``levers.Push``."""
        sizes = [f"{self.size(name):.3g}" for name in sorted(self.down)]
        return " ".join(["slider", *sizes])

    def size(self, name: str) -> float:
        """Frobenius norm of what strength 1 adds to a module's weights."""
        return float(np.linalg.norm(self.up[name] @ self.down[name]))

    def steer(self, model: Model, task: Task, rows: pd.DataFrame, strength: float) -> Steered:
        """The prompts of the task, sung by changed weights."""
        strength = task.sign * check.number("strength", strength)
        prompts = list(rows[task.start])
        return Steered(prompts, weights=(self, strength) if strength else None)

    def anywhere(self, seed: int) -> "Slider":
        """Random matrices of the same rank, that add as much to every module."""
        rng = np.random.default_rng([check.count("seed", seed, 0), 8])
        drawn = replace(
            self,
            down={name: rng.normal(size=matrix.shape) for name, matrix in self.down.items()},
            up={name: rng.normal(size=matrix.shape) for name, matrix in self.up.items()},
        )
        up = {n: matrix * self.size(n) / drawn.size(n) for n, matrix in drawn.up.items()}
        return replace(drawn, up=up)

    def check(self, model: Model) -> None:
        """Refuse another model.

        Raises
        ------
        ValueError
        """
        check_weights("The slider", self.weights, model)

    @contextmanager
    def applied(self, model: Model, strength: float) -> Iterator[None]:
        """Inside this context the model's weights are changed; afterwards they are what they
        were. Several sliders add up.

        Raises
        ------
        ValueError, TypeError
            Another model, or a strength that is no finite number.
        """
        strength = check.number("strength", strength)
        weights = _beneath.get(model) or model.fingerprint
        check_weights("The slider", self.weights, model, weights)
        like = model.lm.emb[0].weight
        parts = {}
        for name in self.down:
            pair = (self.down[name], strength * self.up[name])
            parts[name] = _Added(*(torch.as_tensor(m).to(like) for m in pair))
        outermost = model not in _beneath
        _beneath[model] = weights
        try:
            with _changing(model, parts):
                yield
        finally:
            if outermost:
                del _beneath[model]


#: Fingerprint of a model without the sliders that are applied to it.
_beneath: WeakKeyDictionary = WeakKeyDictionary()


class _Added(torch.nn.Module):
    """A weight plus a product of two thin matrices."""

    def __init__(self, down, up):
        super().__init__()
        self.down = torch.nn.Parameter(down)
        self.up = torch.nn.Parameter(up)
        self.sign = 1.0

    def forward(self, weight):
        return weight + (self.sign * self.up @ self.down).to(weight.dtype)


@contextmanager
def _changing(model, parts):
    """Put parametrizations on modules' weights, and take them off again."""
    modules = dict(model.lm.named_modules())
    put = []
    try:
        for name, part in parts.items():
            parametrize.register_parametrization(modules[name], "weight", part)
            put.append((modules[name], part))
        yield
    finally:
        for module, part in put:
            _take_off(module, part)


def _take_off(module, part):
    """Take one parametrization of a weight off, and leave others there."""
    there = module.parametrizations["weight"]
    if len(there) > 1:
        del there[list(there).index(part)]
    else:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


def train(
    model: Model,
    music: Clips,
    neutral: list[str],
    high: list[str],
    low: list[str],
    *,
    rank: int = RANK,
    steps: int = 50,
    lr: float = 3e-3,
    batch_size: int = 8,
    seed: int = 0,
    about: dict | None = None,
) -> Slider:
    """Train a slider.

    Parameters
    ----------
    model : Model
    music : Clips
        What predictions are compared over.
    neutral, high, low : list of str
        One prompt a clip each: for neither, for the concept and for its contrary.
    rank, steps, lr, batch_size, seed : int, int, float, int, int
    about : dict, optional
        Its card.

    Raises
    ------
    ValueError
        Not one prompt of each kind a clip; an edit in force.
    """
    if model in _beneath:
        raise ValueError("A slider is applied to the model: leave its context, and train then.")
    neutral, high, low = distilling.check_lesson(model, music, neutral, high, low)
    distilling.check_descent(steps, lr, batch_size, seed)
    modules = dict(model.lm.named_modules())
    generator = torch.Generator().manual_seed(check.count("seed", seed, 0))
    parts = {}
    for name in _names(model):
        rows, columns = modules[name].weight.shape
        down = torch.randn(check.count("rank", rank), columns, generator=generator)
        parts[name] = _Added(down / columns**0.5, torch.zeros(rows, rank)).to(model.device)
    targets = [distilling.wanted(model, music, (neutral, high, low), sign) for sign in (1, -1)]
    learned = [matrix for part in parts.values() for matrix in (part.down, part.up)]

    def loss(batch, sign, target):
        for part in parts.values():
            part.sign = float(sign)
        prompts = [neutral[i] for i in batch]
        found = distilling.predicted(model, music.tokens[batch], prompts)
        return divergence.kl(target, found).mean()

    with _changing(model, parts):
        distilling.descend(loss, targets, learned, steps, lr, batch_size, seed)
    matrices = {name: (part.down, part.up) for name, part in parts.items()}
    down, up = (
        {name: pair[k].detach().cpu().numpy() for name, pair in matrices.items()} for k in (0, 1)
    )
    return Slider(down, up, model.fingerprint, about or {})


def _names(model):
    """The modules that are changed."""
    there = dict(model.lm.transformer.layers[0].named_modules())
    kinds = [kind for kind in MODULES if kind in there]
    blocks = range(len(model.lm.transformer.layers))
    return [f"transformer.layers.{i}.{kind}" for i in blocks for kind in kinds]
