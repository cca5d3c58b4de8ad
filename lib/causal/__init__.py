"""Interventions: what causes what inside the model, and between what it is told and what is heard."""

from lib.causal.mediation import mediate
from lib.causal.patching import patch_grid, paths, sing_cells
from lib.causal.variables import locate

__all__ = ["locate", "mediate", "patch_grid", "paths", "sing_cells"]
