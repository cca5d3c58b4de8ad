"""Patching while the model sings: hear what a cell does."""

from collections.abc import Sequence

import numpy as np

from ... import check
from ...musicgen import activations
from ...musicgen.model import Clips, Model
from . import pairs


def sing_cells(
    model: Model,
    clips: Clips,
    prompts: Sequence[str],
    sites: str | Sequence[str] = "resid.*",
    ranges: int | Sequence[tuple[int, int]] = 1,
    *,
    stream: str = "cond",
    progress: bool = True,
) -> dict[tuple[str, int, int], Clips]:
    """Songs for their own prompts, in which one cell is as it would be for others.

    The other prompts are read over the song as it comes out, step by step (``Model.generate``,
    ``beside``). All cells are sung in one batch, with the songs' seeds.

    Parameters
    ----------
    model : Model
    clips : Clips
        Songs of ``model.generate``.
    prompts : list of str
        One for each song.
    sites : str or list of str
        As in :func:`~.patching.patch_grid`.
    ranges : int or list of (first, past the last) or slice
        As there, but of frames.
    stream : "cond", "uncond" or "both"
        Whose cell is changed. Guidance leads away from the unconditional stream: there a change
        works the other way.

    Returns
    -------
    dict
        (site, first frame, past the last) -> Clips, one a song.
    """
    if clips.begun:
        raise ValueError(
            f"These clips go on from {clips.begun:g} s of given audio, and cannot be sung again "
            "from their prompts and seeds: generate them without prompt_audio."
        )
    if clips.chroma is not None:
        raise ValueError(
            "These clips follow a melody, and cannot be sung again from their prompts and seeds: "
            "generate them without."
        )
    n = len(clips)
    frames = clips.tokens.shape[-1]
    prompts = check.texts("prompts", prompts, n)
    names = pairs.sites(model, sites)
    parts = pairs.ranges(ranges, frames)
    cells = [(name, first, past) for name in names for first, past in parts]
    everything = np.eye(model.lm.dim)
    edits = [
        activations.Edit(
            name, interchange=everything, scale=_scale(cells, name, n, frames), stream=stream
        )
        for name in names
    ]
    again = {
        **clips.settings,
        "seed": list(clips.seeds) * len(cells),
        "beside": prompts * len(cells),
        "progress": progress,
    }
    with activations.edit(model, *edits):
        songs = model.generate(list(clips.prompts) * len(cells), **again)
    return {cell: songs[k * n : (k + 1) * n] for k, cell in enumerate(cells)}


def _scale(cells, name, n, frames):
    """1 where a site's cells are exchanged, 0 elsewhere: [cell * clip, frame]."""
    scale = np.zeros((len(cells), n, frames))
    for k, (site, first, past) in enumerate(cells):
        if site == name:
            scale[k, :, first:past] = 1
    return scale.reshape(-1, frames)
