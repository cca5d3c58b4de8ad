"""Strength over time."""

from collections.abc import Iterable

import numpy as np

from ... import check

SCHEDULES = ("constant", "decay", "ramp")


def schedule(name: str | Iterable[float], steps: int, gamma: float = 0.98) -> np.ndarray:
    """Strength over time, as a share of the full strength.

    Parameters
    ----------
    name : str or iterable of float
        "constant", "decay" (``gamma ** step``), "ramp" (from 0 to 1), or a curve drawn over the
        clip: two or more numbers, between which lines are drawn.
    steps : int
    gamma : float

    Returns
    -------
    np.ndarray [shape=(step,)]
    """
    steps = check.count("steps", steps)
    if isinstance(name, str):
        check.choice("schedule", name, SCHEDULES)
        if name == "constant":
            return np.ones(steps)
        step = np.arange(steps)
        if name == "decay":
            return check.number("gamma", gamma, 0) ** step
        return step / max(steps - 1, 1)
    curve = check.array("A drawn schedule", np.asarray(list(name), float), ("point",))
    if len(curve) < 2:
        raise ValueError(f"A drawn schedule needs two or more numbers. Got {curve.tolist()}.")
    return np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(curve)), curve)
