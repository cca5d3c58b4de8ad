"""All that a chapter shows its reader, under one name: ``from lib import show``.

Players and pictures of sound, figures, diagrams, maps to click on and tables, in one visual
language: one colour an emotion, one shade an organism, intervals drawn. Everything is HTML that
works in JupyterLab and in the static book, without a kernel and without a network.
"""

from .audio import level, mp3, picture, player, player_grid, spectrogram, switch_players
from .colors import COLORS, GRID, INK, MUTED, PALETTE, SHADES
from .diagrams import causal_graph, site_map, token_map
from .figures import Figure, curves, estimates, heatmap, histogram, plane, scatter, verdicts
from .song_graph import song_graph
from .sounding import sound_grid, sound_map
from .tables import table

__all__ = [
    "COLORS",
    "GRID",
    "INK",
    "MUTED",
    "PALETTE",
    "SHADES",
    "Figure",
    "causal_graph",
    "curves",
    "estimates",
    "heatmap",
    "histogram",
    "level",
    "mp3",
    "picture",
    "plane",
    "player",
    "player_grid",
    "scatter",
    "site_map",
    "song_graph",
    "sound_grid",
    "sound_map",
    "spectrogram",
    "switch_players",
    "table",
    "token_map",
    "verdicts",
]
