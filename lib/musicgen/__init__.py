"""What a MusicGen is, and how it is loaded, run, read and changed.

``model`` (generate, encode, decode, replay; :func:`load`) runs ``sampling``, which runs
``forward``, the one forward pass. ``run`` says what the rows of a pass are and who visits which of
its ``sites``: ``capture`` reads them (into memory or into a ``store``), ``edits`` change them.
``melody`` is the chromagram that some models read in front of the music.
``activations`` gathers what a chapter needs of these three. ``loading`` reads the released format,
``miniature`` the shipped one, ``sizing`` says beforehand what fits, and ``compat`` lets audiocraft
of 2023 run on today's libraries. ``browser`` writes an organism as graphs (ONNX) that a page runs.
"""

from . import activations, forward, sizing, store
from .clips import Clips
from .loading import ModelError, load
from .model import Model
from .run import STREAMS, Part

__all__ = [
    "STREAMS",
    "Clips",
    "Model",
    "ModelError",
    "Part",
    "activations",
    "forward",
    "load",
    "sizing",
    "store",
]
