"""Path patching: by which way does it go?

Patching a site tells what it is worth by all ways at once. Path patching (Wang et al. 2023) allows
one way only: the sender takes its clean value, every sublayer keeps what it added in the corrupted
run, except for one receiver, and only the receiver's answer goes on to change what comes after it.
A large effect says that the receiver reads what the sender wrote.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from ... import check
from ...musicgen import forward, sizing
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
        As in :func:`~.patching.patch_grid`; clean is put into corrupted. Senders are run together
        as far as memory allows.
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
    kept = {*names, *(f"before {name}" for name in net.names)}
    frames = clean.tokens.shape[-1]
    cell = _bytes_of_a_cell(model, corrupted)
    each = runs.bytes_of_a_pair(model, frames, len(kept)) + cell
    pairs_each = sizing.fits(each, model.device, pairs_each)
    runs.check_ends(net, model, clips, list(range(n)), function, pairs_each)
    pieces = sizing.parts(range(n), pairs_each)
    for piece in tqdm(pieces, desc="paths", disable=not progress, leave=False):
        both = runs.paired(net, model, clips, list(piece), kept, function)
        metrics.check_finite(function, *both.scores.values())
        together = sizing.fits(cell * len(piece), model.device, len(names))
        found[:, :, piece.start : piece.stop] = _piece(both, names, together)
        gap = both.scores["clean"] - both.scores["corrupted"]
        gaps[piece.start : piece.stop] = gap.cpu().numpy()
    return xr.DataArray(
        found / gaps.mean(),
        dims=("sender", "receiver", "pair"),
        coords={"sender": names, "receiver": [*net.names, LOGITS]},
        attrs={"model": model.name},
    )


def _bytes_of_a_cell(model, clips):
    """Bytes that one sender's change takes in one pair, over both musics: on its way, and its text,
    whose projections are kept for two numbers of senders.
    """
    frames = clips.tokens.shape[-1]
    blocks = len(model.lm.transformer.layers)
    words = max(model.text_lengths(list(clips.prompts)))
    text = sizing.keys_and_values(blocks, model.lm.dim, words, 2, sizing.BYTES["float32"])
    return 2 * (runs.bytes_of_a_row(model, frames) + text)


def _piece(both, senders, together):
    """Change of the metric, [sender, receiver, pair], so many senders at once; NaN where no path
    leads.
    """
    net = both.net
    take = both.recordings["corrupted"].sites
    give = both.recordings["clean"].sites
    change = {name: give[name] - take[name] for name in senders}
    # of so many cells at once; projections of the last two are kept: of whole parts and of the rest
    repeated = lru_cache(2)(both.recordings["corrupted"].text.repeat)
    found = np.full((len(senders), len(net.names) + 1, len(both.tokens)), np.nan)
    for number, receiver in enumerate([*net.names, LOGITS]):
        before = [k for k, name in enumerate(senders) if runs.behind(net, name) <= number]
        for part in sizing.parts(before, together):
            size = len(part)
            moved = torch.cat([change[senders[k]] for k in part])
            end = _through(both, receiver, number, moved, repeated(size), size)
            log_p = runs.log_probabilities(net, end, both.tokens.shape[-1])
            effect = both.score(log_p) - both.scores["corrupted"]
            found[part, number] = effect.cpu().numpy()
    return found


def _through(both, receiver, number, moved, text, size):
    """The last residual stream of the corrupted run if one receiver alone sees the change."""
    recording = both.recordings["corrupted"]
    if receiver == LOGITS:
        return recording.end.repeat(size, 1, 1) + moved
    before = recording.sites[f"before {receiver}"].repeat(size, 1, 1)
    stream = before + both.net.sublayer(receiver, before + moved, text)
    return both.net.run(stream, text, start=number + 1)
