"""What an SAE or a basis makes of vectors, in one form: activations that are never negative, and
a direction each.

A basis has a sign where an SAE has two features. Kept as sparse, its k largest coordinates are split
into what lies along each axis and what lies against it, so that scores for features can be asked of
it as they are asked of an SAE.
"""

from typing import NamedTuple

import numpy as np
import torch
import xarray as xr

from ... import check
from .bases import Basis
from .batches import together, vectors
from .placing import home


class Code(NamedTuple):
    """Clips as mean activations, and what each feature stands for.

    Attributes
    ----------
    activity : np.ndarray [shape=(clip, feature)], float32
        Mean over frames, 0 or more.
    directions : np.ndarray [shape=(feature, dim)], float32
        What one unit of each adds to a vector.
    """

    activity: np.ndarray
    directions: np.ndarray


def code(s, acts: xr.DataArray) -> Code:
    """The code of some clips.

    Parameters
    ----------
    s : sae_lens.SAE or Basis
        A basis keeps its ``k`` largest coordinates and has two features an axis.
    acts : xr.DataArray [dims=(clip, frame, dim)]

    Raises
    ------
    ValueError
        Activations of another shape, or with missing frames.
    """
    means = [z.mean(1) for z in _pieces(s, acts)]
    return Code(np.concatenate(means), _directions(s))


def frames(s, acts: xr.DataArray) -> np.ndarray:
    """The activation of every feature in every frame, [clip, frame, feature], float32."""
    return np.concatenate(list(_pieces(s, acts)))


@torch.no_grad()
def _pieces(s, acts):
    """Activations of some clips at a time, [clip, frame, feature]."""
    acts = vectors(acts)
    if acts.ndim != 3 or acts.shape[-1] != s.W_dec.shape[1] or not len(acts):
        raise ValueError(f"acts must be [clip, frame, {s.W_dec.shape[1]}]. Got shape {acts.shape}.")
    for some in together(acts, s):
        check.array("acts", some, ("clip", "frame", "dim"), remedy="Give a site with all frames.")
        x = home(s, torch.from_numpy(some))
        z = s.encode(x)
        if isinstance(s, Basis):
            kept = s.keep(z)
            z = torch.cat([kept.relu(), (-kept).relu()], -1)
        yield z.float().cpu().numpy()


def _directions(s):
    directions = s.W_dec.detach().float().cpu().numpy()
    return np.concatenate([directions, -directions]) if isinstance(s, Basis) else directions
