"""Interventions: what causes what inside the model, and between what it is asked and what it sings.

- ``patching`` (:func:`patch_grid`): what each site is worth at each time. Read its first page.
- ``path_patching`` (:func:`paths`): by which way it goes from one site to another.
- ``circuits``: which few edges between heads and MLPs carry what a word does.
- ``tracing``: one song's attribution graph, from a word through features to a note.
- ``cells`` (:func:`sing_cells`): patching while the model sings, to be heard.
- ``subspaces`` (:func:`locate`): which part of a site carries a variable.
- ``mediation`` (:func:`mediate`): how much of a cause acts through a mediator.
- ``perception``: what emotion the model hears in music whose cues were set.
- ``graph``: which variables cause which, from all of these.

``runs``, ``pairs`` and ``metrics`` are what the first five are made of.
"""

from . import subspaces as variables  # the chapters' name for it
from .cells import sing_cells
from .mediation import mediate
from .patching import patch_grid
from .path_patching import paths
from .subspaces import locate

__all__ = ["locate", "mediate", "patch_grid", "paths", "sing_cells", "variables"]
