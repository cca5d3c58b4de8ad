"""How well an SAE stands for a site: reconstruction, sparsity, and the loss of the model that runs
on
what it reconstructs."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr

from ... import cache, check, stats
from ...musicgen import Clips, Model, activations
from .bases import Basis
from .batches import together
from .placing import home

#: A feature that is active in a larger share of the rows is dense.
DENSE = 0.1


class Reference(NamedTuple):
    """What an SAE is compared with at a site.

    Attributes
    ----------
    acts : xr.DataArray [dims=(clip, frame or token, dim)]
    mean : np.ndarray [shape=(dim,)]
    plain, averaged, zeroed : np.ndarray [shape=(clip,)]
        Nats a token as the model is, with the mean in the site's place, and with zero.
    """

    acts: xr.DataArray
    mean: np.ndarray
    plain: np.ndarray
    averaged: np.ndarray
    zeroed: np.ndarray


@torch.no_grad()
def evaluate(s, model: Model, site: str, clips: Clips, stream: str = "cond") -> dict:
    """How well an SAE stands for a site: the table's row.

    Parameters
    ----------
    s : sae_lens.SAE or Basis
        On any device.
    model : Model
        Inside ``activations.edit``, the edited model is what the SAE stands in for.
    site : str
    clips : Clips
    stream : "cond" or "uncond"

    Returns
    -------
    dict
        features, l0 (mean number of active features), explained_variance (1 - squared error over
        variance), cosine (of vector and reconstruction, both without the mean), dead and dense
        (shares of features active never, and in more than 10 % of the rows), loss and loss_spliced
        (nats a token, without and with the reconstruction in place of the site), loss_recovered
        (``stats.Estimate``: 1 as good as the site itself, 0 as bad as its mean) and
        loss_recovered_zero (the same against a zeroed site).

    Raises
    ------
    ValueError
        No site, several, or one of another width.
    """
    site = own_site(s, model, site)
    reference = _reference(model, site, clips, stream)
    with activations.edit(model, activations.Edit(site, apply=s, stream=stream)):
        spliced = model.cross_entropy(clips, stream)
    return {
        **_reconstruction(s, reference),
        "loss": float(reference.plain.mean()),
        "loss_spliced": float(spliced.mean()),
        "loss_recovered": _recovered(reference.plain, spliced, reference.averaged),
        "loss_recovered_zero": _recovered(reference.plain, spliced, reference.zeroed),
    }


def own_site(s, model: Model, site: str) -> str:
    """The one site of a model at which an SAE is to stand.

    Raises
    ------
    ValueError
        No site, several, or one of another width.
    """
    found = activations.select(model, site)
    if len(found) != 1:
        names = [one.name for one in found]
        check.refuse(ValueError, "site", "one site", site, f"It names {len(names)}: {names[:3]}.")
    if s.W_dec.shape[1] != found[0].width:
        raise ValueError(
            f"{site} of {model.name} is {found[0].width} wide, but the SAE reads vectors of "
            f"{s.W_dec.shape[1]}."
        )
    return found[0].name


def _reconstruction(s, reference):
    """How sparsely and how closely vectors are reconstructed."""
    centre = torch.from_numpy(reference.mean)
    active = torch.zeros(s.W_dec.shape[0], dtype=torch.long)
    error = 0.0
    total = 0.0
    cosines = []
    n = 0
    for x in _rows(reference.acts, s):
        z = s.encode(home(s, x))
        z = s.keep(z) if isinstance(s, Basis) else z
        again = s.decode(z).float().cpu()
        active = active + (z != 0).sum(0).cpu()
        n += len(x)
        error += float(((x - again) ** 2).sum())
        total += float(((x - centre) ** 2).sum())
        cosines.append(torch.cosine_similarity(x - centre, again - centre, dim=1))
    rate = active.numpy() / n
    return {
        "features": len(rate),
        "l0": float(rate.sum()),
        "explained_variance": 1 - error / total,
        "cosine": float(torch.cat(cosines).mean()),
        "dead": float((rate == 0).mean()),
        "dense": float((rate > DENSE).mean()),
    }


def _rows(acts, s) -> Iterator[torch.Tensor]:
    """Vectors of some clips at a time, float32 [row, dim], without missing ones."""
    for some in together(acts, s):
        rows = some.reshape(-1, acts.shape[-1])
        yield torch.from_numpy(rows[~np.isnan(rows).all(1)])


def _recovered(plain, spliced, ruined):
    """The share of the loss between a ruined and the plain model that a reconstruction recovers."""

    def share(losses):
        mean = losses.mean(1)  # [resample, kind]
        return (mean[:, 2] - mean[:, 1]) / (mean[:, 2] - mean[:, 0])

    losses = np.stack([plain, spliced, ruined], 1)
    return stats.bootstrap(share, losses, n_resamples=500, many=True)


#: The last reference: a table compares many SAEs on the same clips, and a reference takes four
#: passes.
_last: dict[str, Reference] = {}


def _reference(model, site, clips, stream):
    """The reference of a site, kept in memory under all that it follows from."""
    try:
        edits = cache.digest(model.interventions)
    except TypeError:  # an edit whose content cannot be told: nothing is kept under it
        return _measured(model, site, clips, stream)
    what = cache.digest(
        model.identity(), edits, site, stream, clips.prompts, clips.tokens, clips.chroma
    )
    if what not in _last:
        reference = _measured(model, site, clips, stream)
        _last.clear()
        _last[what] = reference
    return _last[what]


def _measured(model, site, clips, stream):
    acts = activations.capture(model, clips, site, stream=stream, progress=False)[site]
    mean = np.nanmean(acts.values.reshape(-1, acts.shape[-1]), 0)
    plain = model.cross_entropy(clips, stream)
    with activations.edit(model, activations.Edit(site, replace=mean, stream=stream)):
        averaged = model.cross_entropy(clips, stream)
    with activations.edit(model, activations.Edit(site, multiply=0.0, stream=stream)):
        zeroed = model.cross_entropy(clips, stream)
    return Reference(acts, mean, plain, averaged, zeroed)
