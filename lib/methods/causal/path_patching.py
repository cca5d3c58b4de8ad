"""Path patching: by which way does it go?

Patching a site tells what it is worth by all ways at once. Path patching (Wang et al. 2023) allows
one way only: the sender takes its clean value, every sublayer keeps what it added in the corrupted
run, except for one receiver, and only the receiver's answer goes on to change what comes after it.
A large effect says that the receiver reads what the sender wrote.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from ... import check
from ...musicgen import forward
from ...musicgen.model import Clips, Model
from . import metrics, pairs, runs

#: The receiver that is no sublayer: the predictions themselves, reached directly.
LOGITS = "logits"


@torch.no_grad()
def paths(
    model: Model,
    clean: Clips,
    corrupted: Clips,
    senders: str | Sequence[str] = "cross.*",
    metric: str | Callable = "logit_difference",
    *,
    pairs_each: int = 16,
    progress: bool = True,
) -> xr.DataArray:
    """What each sender is worth through each receiver alone.

    Parameters
    ----------
    model, clean, corrupted, metric, pairs_each
        As in :func:`~.patching.patch_grid`; clean is put into corrupted.
    senders : str or list of str
        attn.i, cross.i, mlp.i, head.i.h, cross_head.i.h; globs.

    Returns
    -------
    xr.DataArray
        Dims (sender, receiver, pair): shares of the mean difference between the two runs; NaN where
        the receiver does not lie behind the sender. Receivers are all sublayers, and "logits": the
        sender's direct path to the predictions.

    Raises
    ------
    ValueError
        As ``patch_grid``, and for senders that are the stream itself.
    """
    names = pairs.sites(model, senders)
    if any(name.startswith("resid") for name in names):
        raise ValueError(f"Senders are sublayers and heads, not the stream itself. Got {names}.")
    pairs_each = check.count("pairs_each", pairs_each)
    function = metrics.find(metric)
    for part in (clean, corrupted):
        model.check_clips(part)
    pairs.check_pairs(clean, corrupted)
    net = forward.undisturbed(model)
    clips = {"clean": clean, "corrupted": corrupted}
    n = len(clean)
    found = np.full((len(names), len(net.names) + 1, n), np.nan)
    gaps = np.zeros(n)
    pieces = [range(k, min(k + pairs_each, n)) for k in range(0, n, pairs_each)]
    kept = {*names, *(f"before {name}" for name in net.names)}
    for piece in tqdm(pieces, desc="paths", disable=not progress, leave=False):
        both = runs.paired(net, model, clips, list(piece), kept, function)
        metrics.check_ends(function, **both.scores)
        found[:, :, piece.start : piece.stop] = _piece(both, names)
        gap = both.scores["clean"] - both.scores["corrupted"]
        gaps[piece.start : piece.stop] = gap.cpu().numpy()
    return xr.DataArray(
        found / gaps.mean(),
        dims=("sender", "receiver", "pair"),
        coords={"sender": names, "receiver": [*net.names, LOGITS]},
        attrs={"model": model.name},
    )


def _piece(both, senders):
    """Change of the metric, [sender, receiver, pair]; NaN where no path leads."""
    net = both.net
    take = both.recordings["corrupted"].sites
    give = both.recordings["clean"].sites
    change = {name: give[name] - take[name] for name in senders}
    texts = {}
    found = np.full((len(senders), len(net.names) + 1, len(both.tokens)), np.nan)
    for number, receiver in enumerate([*net.names, LOGITS]):
        before = [k for k, name in enumerate(senders) if runs.behind(net, name) <= number]
        if not before:
            continue
        size = len(before)
        if size not in texts:  # of so many cells at once; their projections are kept
            texts[size] = both.recordings["corrupted"].text.repeat(size)
        moved = torch.cat([change[senders[k]] for k in before])
        end = _through(both, receiver, number, moved, texts[size], size)
        log_p = runs.log_probabilities(net, end, both.tokens.shape[-1])
        effect = both.score(log_p) - both.scores["corrupted"]
        found[before, number] = effect.cpu().numpy()
    return found


def _through(both, receiver, number, moved, text, size):
    """The last residual stream of the corrupted run if one receiver alone sees the change."""
    recording = both.recordings["corrupted"]
    if receiver == LOGITS:
        return recording.end.repeat(size, 1, 1) + moved
    before = recording.sites[f"before {receiver}"].repeat(size, 1, 1)
    stream = before + both.net.sublayer(receiver, before + moved, text)
    return both.net.run(stream, text, start=number + 1)
