"""What all training shares: states that survive a kill, learning rates, a log."""

import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .. import cache
from .plan import Round


def place(*parts: str) -> Path:
    """A folder of the factory below ``artifacts/organisms``, made if it is not there."""
    folder = cache.ROOT.joinpath("organisms", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# ------------------------------------------------------------------------------------------- states
def checkpoint(file: Path, step: int, follows: str, *objects) -> None:
    """Write a training state: a kill leaves the old one or the new one, never half of one.

    Parameters
    ----------
    file : Path
    step : int
        Steps done.
    follows : str
        Hash (``cache.digest``) of all that the training follows from.
    *objects
        Modules and optimizers.
    """
    state = {"step": step, "follows": follows, "states": [o.state_dict() for o in objects]}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    cache.write(file, buffer.getvalue())


def resume(file: Path, follows: str | None, *objects) -> int:
    """Load what :func:`checkpoint` wrote (or the first objects of it).

    Parameters
    ----------
    file : Path
    follows : str or None
        What the state must follow from; None takes any.
    *objects
        Modules and optimizers.

    Returns
    -------
    int
        The step to go on from: 0 where there is no state, or one that follows from other data or
        settings.
    """
    if not file.exists():
        return 0
    saved = torch.load(file, map_location="cpu", weights_only=True)
    if follows is not None and saved.get("follows") != follows:
        print(f"{file} follows from other data or settings: training starts from nothing.")
        return 0
    for loaded, state in zip(objects, saved["states"], strict=False):
        loaded.load_state_dict(state)
        if isinstance(loaded, torch.optim.Optimizer):
            _bring_rates(loaded)
    return saved["step"]


def _bring_rates(optimizer):
    """Put rates that are tensors where the weights are: a state is read into the machine's memory,
    and a recorded step takes what lies there for a constant.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"] = group["lr"].to(group["params"][0].device)


def log(file: Path, **values) -> None:
    """Append one line of JSON to a training log."""
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
    with file.open("a") as lines:
        lines.write(json.dumps(rounded) + "\n")


# -------------------------------------------------------------------------------------------- steps
def fast_autocast(device: str):
    """bfloat16 where the hardware multiplies it faster, else a context that changes nothing.

    That is on a GPU and on recent CPUs.
    """
    cpu_is_fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda" or cpu_is_fast)


def descend(loss: torch.Tensor, weights: Sequence, *optimizers: torch.optim.Optimizer) -> None:
    """One step of gradient descent; gradients are clipped to norm 1."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    for optimizer in optimizers:
        optimizer.step()


class Recorded:
    """A training step that a GPU records once for each shape of its arguments and then replays.

    A step of a small model is some thousand short kernels: launching them takes ten times as long
    as running them. The first step is taken plainly, so that the optimizers have their states.

    Parameters
    ----------
    step : callable
        Tensors -> loss; changes weights and optimizers in place.
    modules : sequence
        The modules and optimizers it changes.
    """

    WARM_UPS = 2

    def __init__(self, step: Callable, modules: Sequence):
        self.step = step
        self.modules = modules
        self.recordings = None
        # gradients are added up on the stream that first used the weights: all steps share one
        self.stream = torch.cuda.Stream()

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        outside = torch.cuda.current_stream()
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):
            loss = self._take(tensors)
        outside.wait_stream(self.stream)
        return loss

    def _take(self, tensors):
        if self.recordings is None:
            self.recordings = {}
            return self.step(*tensors)
        shapes = tuple(tensor.shape for tensor in tensors)
        if shapes not in self.recordings:
            self.recordings[shapes] = self._record(tensors)
        graph, places, loss = self.recordings[shapes]
        for kept, new in zip(places, tensors, strict=True):
            kept.copy_(new)
        graph.replay()
        return loss

    def _record(self, tensors):
        places = [tensor.clone() for tensor in tensors]
        before = [tensor.clone() for tensor in self._state()]
        for _ in range(self.WARM_UPS):
            self.step(*places)
        self._forget_gradients()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            loss = self.step(*places)
        with torch.no_grad():
            for tensor, value in zip(self._state(), before, strict=True):
                tensor.copy_(value)
        return graph, places, loss

    def _state(self):
        """Every tensor that a step changes."""
        for part in self.modules:
            if isinstance(part, torch.nn.Module):
                yield from part.parameters()
            else:
                for values in part.state.values():
                    yield from (v for v in values.values() if isinstance(v, torch.Tensor))

    def _forget_gradients(self):
        for part in self.modules:
            part.zero_grad(set_to_none=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all of an optimizer's groups a learning rate."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def cosine(step: int, total: int, warmup: int = 100, floor: float = 0.03) -> float:
    """Learning-rate factor: linear warm-up, then cosine decay to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def schedule(step: int, rounds: Sequence[Round]) -> tuple[float, Round]:
    """Learning-rate factor of a step in one of several rounds, and that round."""
    ends = np.cumsum([r.steps for r in rounds])
    number = int(np.searchsorted(ends, step, side="right"))
    current = rounds[number]
    first = int(ends[number]) - current.steps
    return float(current.rate * cosine(step - first, current.steps)), current
