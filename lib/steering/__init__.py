"""Steering: emotion moved from inside, and what it does to the music."""

from lib.steering.directions import METHODS, Vector, combine, direction, edits, generate, load
from lib.steering.effects import Judge, dose, evaluate
from lib.steering.plane import Plane, calibrate, landing, sing

__all__ = ["METHODS", "Judge", "Plane", "Vector", "calibrate", "combine", "direction", "dose", "edits", "evaluate", "generate",
           "landing", "load", "sing"]  # fmt: skip
