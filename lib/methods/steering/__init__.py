"""Steering: emotion, or any concept, moved from inside, and what it does to the music.

- ``vectors``: a direction between two kinds of prompts (:func:`direction`), kept in a file, and
  random ones to compare it with (:func:`anywhere`). ``control_vectors``: the same in ``repeng``'s
  format (:func:`export_gguf`, :func:`import_gguf`).
- ``schedules`` and ``applying``: strength over time, and songs at several strengths
  (:func:`generate`) or in several directions (:func:`push`; the edits alone: :func:`edits`).
- ``judge``: who hears the songs (:class:`Judge`; the model itself: :class:`Itself`).
- ``effects``: what steering did, beside what the prompt would have done (:func:`evaluate`).
- ``trials``: one way of steering against other directions (:func:`word_pairs`, :func:`attempt`,
  :func:`listen`, :func:`together`, :func:`numbers`, :func:`dealt`, :func:`compare`).
- ``plane``: two directions at once, as a plane of valence and arousal (:func:`calibrate`,
  :func:`sing`, :func:`landing`). ``surface``: the same, curved as the model's activations lie.
  ``leading``: songs that are led from place to place (:func:`lead`).

Every way of steering, held to one standard:

- ``tasks``: concepts to induce or suppress, with prompts in three parts that share nothing.
- ``levers``: all that steers, behind one interface; ``sliders``: adapters of the weights among them;
  ``keeping``: both on disk, with their cards.
- ``finding``: every way of finding one; ``rank_one``: those that train a direction.
- ``scores``: heard as wanted, the prompt kept, still music.
- ``bench``: the protocol (``python -m lib.methods.steering.bench``).
"""

from .applying import edits, generate, push
from .control_vectors import export_gguf, import_gguf
from .effects import evaluate
from .judge import Itself, Judge
from .leading import lead
from .plane import Plane, calibrate, landing, sing
from .schedules import SCHEDULES, schedule
from .trials import (
    DOSES,
    Heard,
    Trial,
    attempt,
    compare,
    dealt,
    listen,
    numbers,
    together,
    word_pairs,
)
from .vectors import METHODS, Vector, anywhere, combine, direction, load

__all__ = [
    "DOSES",
    "METHODS",
    "SCHEDULES",
    "Heard",
    "Itself",
    "Judge",
    "Plane",
    "Trial",
    "Vector",
    "anywhere",
    "attempt",
    "calibrate",
    "combine",
    "compare",
    "dealt",
    "direction",
    "edits",
    "evaluate",
    "export_gguf",
    "generate",
    "import_gguf",
    "landing",
    "lead",
    "listen",
    "load",
    "numbers",
    "push",
    "schedule",
    "sing",
    "together",
    "word_pairs",
]
