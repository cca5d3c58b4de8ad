"""Launches that are captured once and run again: what CUDA calls a graph.

A step of generation is hundreds of small kernels, and Python takes longer to launch them than a GPU
to run them. A graph launches all of them at once. What it runs reads and writes the same memory
every time, so whatever changes from step to step must lie in tensors that stay in place.
"""

from collections.abc import Callable

import torch

from .hooks import is_watched
from .run import Visitors

#: Runs before the capture, as PyTorch asks for: libraries prepare themselves at the first ones.
WARM = 3


def possible(lm, visitors: Visitors) -> bool:
    """Whether a model's steps may be captured: the device has graphs, no hook runs code of its own,
    and every visitor is repeatable.
    """
    device = lm.emb[0].weight.device
    known = hasattr(torch.get_device_module(device), "CUDAGraph")
    return known and visitors.repeatable and not any(map(is_watched, lm.modules()))


class Repeated:
    """A function without arguments, called launch by launch at first, and then captured.

    Parameters
    ----------
    function : callable
        Runs the same launches at every call, on tensors that stay where they are, and waits for
        none.
    device : torch.device
        Where the tensors are; it need not be the current device.
    """

    def __init__(self, function: Callable[[], None], device):
        self.function = function
        self.device = torch.device(device)
        self.module = torch.get_device_module(self.device)
        self.side = self.module.Stream(self.device)
        self.calls = 0
        self.graph = None

    def __call__(self) -> None:
        # streams and graphs are of the current device, whatever device the tensors are on
        with self.module.device(self.device):
            self._run()

    def _run(self):
        self.calls += 1
        if self.calls <= WARM:
            self._warm()
            return
        if self.graph is None:
            self.graph = self.module.CUDAGraph()
            with self.module.graph(self.graph, stream=self.side):
                self.function()
        self.graph.replay()

    def _warm(self):
        """On a stream of its own, as captured work is."""
        before = self.module.current_stream()
        self.side.wait_stream(before)
        with self.module.stream(self.side):
            self.function()
        before.wait_stream(self.side)
