"""Controlled sets of prompts: what is asked is known, and nothing else varies.

``sets`` (one thing named at a time, balanced: :func:`emotions`, :func:`cue`, :func:`crossed`,
:func:`graded`) ·
``contrasts`` (prompts that differ in one variable: :func:`pairs`, :func:`interchanges`; in
both axes of emotion: :func:`crossings`) ·
``concepts`` (a reader's own question: :class:`Concept`) ·
``wording`` (the sentences and scenes, from ``wording.toml``)

Every set is a DataFrame, one row a prompt or pair.

>>> from lib import prompts
>>> prompts.pairs("emotion", n=1)[["high", "low"]].values.tolist()
[['happy music for guitar', 'sad music for guitar']]
"""

from .concepts import LEARNED, READY, Concept
from .contrasts import AXES, CORNERS, POLES, crossings, interchanges, pairs
from .sets import KINDS, LANGUAGES, crossed, cue, emotions, graded
from .wording import (
    CARRIERS,
    FAMILIES,
    MODE_CARRIERS,
    PROFILES,
    SCENE_TEMPLATES,
    SCENES,
    TEMPLATES,
)

__all__ = [
    "AXES",
    "CARRIERS",
    "CORNERS",
    "FAMILIES",
    "KINDS",
    "LANGUAGES",
    "LEARNED",
    "MODE_CARRIERS",
    "POLES",
    "PROFILES",
    "READY",
    "SCENES",
    "SCENE_TEMPLATES",
    "TEMPLATES",
    "Concept",
    "crossed",
    "crossings",
    "cue",
    "emotions",
    "graded",
    "interchanges",
    "pairs",
]
