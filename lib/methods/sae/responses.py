"""What features respond to: how active each is, in which clips, and which labels it tells."""

import numpy as np
import pandas as pd
import torch
import xarray as xr

from .. import features as selectivity
from .batches import together, vectors
from .placing import home


@torch.no_grad()
def activity(s, acts: xr.DataArray) -> tuple[np.ndarray, pd.DataFrame]:
    """Mean activation of every feature in every clip, and how each feature is active.

    Activations are read piece by piece, and encoded where the SAE is.

    Parameters
    ----------
    s : sae_lens.SAE or Basis
    acts : xr.DataArray [dims=(clip, frame or token, dim)]
        Missing tokens (all NaN) do not count.

    Returns
    -------
    activity : np.ndarray [shape=(clip, feature)], float32
    table : pd.DataFrame
        One row a feature: density (share of rows where it is active), mean (where active), peak.

    Raises
    ------
    ValueError, TypeError
        Activations of another shape; infinite or partly missing rows; anything but real numbers.
    """
    acts = vectors(acts)
    if acts.ndim != 3 or acts.shape[-1] != s.W_dec.shape[1] or not len(acts):
        raise ValueError(
            f"acts must be [clip, frame or token, {s.W_dec.shape[1]}]. Got shape {acts.shape}."
        )
    means = []
    peaks = []
    active = torch.zeros(s.W_dec.shape[0], dtype=torch.long)
    total = torch.zeros(s.W_dec.shape[0])
    n = 0
    for some in together(acts, s):
        x = torch.from_numpy(some)
        there = ~x.isnan().all(-1)
        if not x[there].isfinite().all():
            raise ValueError(
                "acts holds NaN or infinite values in rows that are not wholly missing."
            )
        mask = there.to(s.W_dec.device)
        z = s.encode(home(s, x.nan_to_num())).float() * mask[..., None]
        means.append((z.sum(1) / mask.sum(1)[:, None]).cpu().numpy())
        peaks.append(z.amax((0, 1)).cpu())
        active = active + (z != 0).sum((0, 1)).cpu()
        total = total + z.sum((0, 1)).cpu()
        n += int(there.sum())
    table = pd.DataFrame(
        {
            "density": (active / n).numpy(),
            "mean": (total / active.clip(min=1)).numpy(),
            "peak": torch.stack(peaks).amax(0).numpy(),
        }
    )
    return np.concatenate(means), table.rename_axis("feature")


def features(s, acts: xr.DataArray, labels: pd.DataFrame | None = None) -> pd.DataFrame:
    """Statistics of every feature of an SAE.

    Parameters
    ----------
    s, acts : as for :func:`activity`
    labels : pd.DataFrame, optional
        One row a clip.

    Returns
    -------
    pd.DataFrame
        One row a feature: density, mean, peak and, with labels, the question it tells best, how
        many columns of ``labels`` it answers to, and its AUROC for each question they pose
        (``features.targets``).

    Raises
    ------
    ValueError
        Labels that are not one row a clip.
    """
    acts = vectors(acts)
    if labels is not None and len(labels) != len(acts):
        raise ValueError(
            f"labels must hold one row for each of {len(acts)} clips. Got {len(labels)}."
        )
    means, table = activity(s, acts)
    if labels is None:
        return table
    area = selectivity.selectivity(means, labels)
    distance = (area - 0.5).abs()
    table["best"] = area.columns[distance.to_numpy().argmax(1)]
    answers = {}
    for column in labels:
        questions = list(selectivity.column_targets(str(column), labels[column]))
        answers[column] = (distance[questions] >= selectivity.ANSWERS - 0.5).any(axis=1)
    table["answers"] = pd.DataFrame(answers).sum(axis=1)
    return pd.concat([table, area], axis=1).rename_axis("feature")
