"""Steering: emotion moved from inside, and what it does to the music.

- ``vectors``: a direction between two kinds of prompts (:func:`direction`), kept in a file.
- ``schedules`` and ``applying``: strength over time, and songs at several strengths
  (:func:`generate`; the edits alone: :func:`edits`).
- ``judge``: who hears the songs (:class:`Judge`).
- ``effects``: what steering did, beside what the prompt would have done (:func:`evaluate`,
  :func:`dose`).
- ``plane``: two directions at once, as a plane of valence and arousal (:func:`calibrate`,
  :func:`sing`, :func:`landing`).
"""

from .applying import edits, generate
from .effects import dose, evaluate
from .judge import Judge
from .plane import Plane, calibrate, landing, sing
from .schedules import SCHEDULES, schedule
from .vectors import METHODS, Vector, combine, direction, load

__all__ = [
    "METHODS",
    "SCHEDULES",
    "Judge",
    "Plane",
    "Vector",
    "calibrate",
    "combine",
    "direction",
    "dose",
    "edits",
    "evaluate",
    "generate",
    "landing",
    "load",
    "schedule",
    "sing",
]
