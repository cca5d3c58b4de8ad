"""Activation patching: what each place in the model, at each time, is worth.

**The question.** A model that is asked for *a happy piano melody* sings something else than one
that is asked for *a sad piano melody*. The word enters somewhere, is held somewhere, and does its
work somewhere. Where? Two runs differ in everything at once, so looking at either tells nothing.
Putting one activation of one run into the other tells what that one place contributes.

**Two runs over the same music.** Every pair has a clean prompt (*happy*) and a corrupted one
(*sad*), and the music that was sung for each. Both musics are read under both prompts, so that
between the clean and the corrupted run nothing differs but the word. A run that reads *happy*
predicts the happy music better than the sad one, and the other way round: the **metric** is this
difference of predictions, in nats a token (``metrics``).

**Patching.** Take the corrupted run. At one site (the residual stream after block 3, say), in one
range of positions, put in what the clean run holds there, and let everything behind it follow. How
much of the clean run's metric comes back? That share is the **effect**: 0 leaves the corrupted run
as it was, 1 makes it the clean one. This is *denoising*: is the place enough to bring the word
back? *Noising* is the reverse, a corrupted activation in the clean run: is the place needed? A
place through which all of the word passes is both.

**Reading a grid.** ``patch_grid`` returns one effect for every site, range and pair. Of the
organism, for *happy* instead of *sad* (16 pairs of 3 s, means)::

                first half   second half
    cross.0        0.07         0.00       little of the word is read at once
    cross.1        0.45         0.18       most of it is read here
    resid.1        0.52         0.18       the stream behind it carries what was read
    resid.3        0.72         0.21       later blocks add to it, cross.2 most
    resid.5        0.79         0.21       all that the predictions are made from

The last block over all positions gives 1: a check that costs nothing. The first half weighs more,
because later the music so far tells the same. Effects of sites that feed each other do not add up.

**Exact, or quick.** The exact grid runs the model once for each cell. Only what can change is run:
sublayers behind the site and positions from the range on, because attention is causal; keys and
values of earlier positions are kept. *Attribution patching* gets all cells from one backward pass:
the gradient of the metric at the site, times the change (Nanda 2023; Kramár et al. 2024). It is
the first order of the same, good where the change is small.

**What it cannot say.** A place with an effect holds what the word changed; it need not hold it in
a form that anything reads as happiness, and several places may each be enough. ``path_patching``
asks by which way it goes, ``subspaces`` which part of a place carries it.

References
----------
Vig et al. 2020, Investigating gender bias in language models using causal mediation analysis.
Wang et al. 2023, Interpretability in the wild. Zhang and Nanda 2024, Towards best practices of
activation patching. Nanda 2023, Attribution patching. Kramár et al. 2024, AtP*.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from ... import cache, check
from ...musicgen import forward, run, sizing, store
from ...musicgen.model import SOURCES as MODEL_SOURCES
from ...musicgen.model import Clips, Model
from .. import divergence, gradients
from . import metrics, pairs, runs

#: Which run gives what is patched, and which takes it.
DIRECTIONS = {"denoise": ("clean", "corrupted"), "noise": ("corrupted", "clean")}
#: The code that a grid follows from, beside its metric.
SOURCES = (*MODEL_SOURCES, runs, divergence, gradients, sys.modules[__name__])


def patch_grid(
    model: Model,
    clean: Clips,
    corrupted: Clips,
    sites: str | Sequence[str] = ("resid.*", "cross.*"),
    metric: str | Callable = "logit_difference",
    *,
    ranges: int | Sequence[tuple[int, int]] = 4,
    direction: str = "denoise",
    how: str = "exact",
    pairs_each: int = 16,
    out: str | Path | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """What each site, in each range of positions, is worth.

    Parameters
    ----------
    model : Model
    clean, corrupted : Clips
        The music sung for the prompts of each pair (``model.generate`` with the same seeds, say).
        Clip i of both is a pair; its prompts have equally many words and differ in those about one
        thing. Text tokens need no counterparts: each run reads its own text.
    sites : str or list of str
        resid.i, attn.i, cross.i, mlp.i, head.i.h, cross_head.i.h; globs.
    metric : "logit_difference", "kl" or callable
        See ``metrics``. A callable gets log-probabilities [pair, music, codebook, frame, card],
        tokens [pair, music, codebook, frame] and the clean run's log-probabilities, and returns one
        number a pair, [pair]. Music 0 was sung for the clean prompt.
    ranges : int or list of (first, past the last) or slice
        How many equal parts of the positions, or which.
    direction : "denoise" or "noise"
        Clean activations into the corrupted run (is this place enough?), or the reverse (is it
        needed?).
    how : "exact" or "attribution"
        One run for every cell, or the first-order approximation of all by one backward pass.
    pairs_each : int
        Pairs written together to ``out``, and computed together as far as memory allows.
    out : str or Path, optional
        A zarr store that survives a kill: the same call goes on where it was. It knows music,
        prompts, weights and the metric's code, and refuses to go on with others. A callable whose
        content cannot be told takes a name from ``cache.named``.

    Returns
    -------
    xr.DataArray
        Dims (site, frame_range, pair): shares of the mean difference between the clean and the
        corrupted run. Coordinates: start, first position of a range; clean and corrupted, the
        metric of the unpatched runs.

    Raises
    ------
    ValueError
        Clips that do not match, prompts with different numbers of words or that differ in more than
        one variable, sites that are not in the residual stream, a metric that gives NaN or cannot
        tell the runs apart, an edit in force; before the grid starts.
    StoreError
        ``out`` holds something else.
    """
    pairs_each = check.count("pairs_each", pairs_each)
    grid = _grid(model, clean, corrupted, sites, metric, ranges, direction, how)
    n = len(clean)
    together = sizing.fits(grid.bytes_of_a_pair, model.device, min(n, pairs_each))
    grid.check_metric(range(min(n, pairs_each)), together)
    rows = 2 * together * (clean.tokens.shape[-1] + max(grid.net.delays))
    measure = _Exact(forward.undisturbed(model, rows)) if how == "exact" else _attributed
    arrays = grid.layout(n)
    found = {name: np.full(shape, np.nan, kind) for name, (_, shape, kind) in arrays.items()}
    target = None
    todo = [slice(k, min(k + pairs_each, n)) for k in range(0, n, pairs_each)]
    if out is not None:
        coords = xr.Dataset(coords={"clip": np.arange(n)})
        target = store.Store(out, arrays, coords, grid.identity(), pairs_each)
        todo = target.todo
    shown = {"desc": f"patch ({how})", "unit": "pair", "disable": not progress, "leave": False}
    with tqdm(total=n, **shown) as bar:
        bar.update(n - sum(piece.stop - piece.start for piece in todo))
        for piece in todo:
            cells = grid.cells(range(piece.start, piece.stop), measure, together)
            for name, values in cells.items():
                found[name][piece] = values
            if target is not None:
                target.write(piece, cells)
            bar.update(piece.stop - piece.start)
    if target is not None:
        found = {name: array.values for name, array in store.open(out).items()}
    return _shares(grid, found)


# ------------------------------------------------------------------------------------ what is asked
@dataclass(frozen=True)
class _Grid:
    """What a grid is about, checked."""

    model: Model
    net: forward.Network
    clips: dict[str, Clips]
    sites: list[str]
    ranges: list[tuple[int, int]]
    direction: str
    how: str
    metric: metrics.Metric

    @cached_property
    def kept(self) -> set[str]:
        """The sites that patching needs of both runs."""
        kept = {*self.sites, *(runs.stream_behind(self.net, site) for site in self.sites)}
        return kept | {f"before attn.{i}" for i in range(len(self.net.blocks))}

    @property
    def bytes_of_a_pair(self) -> int:
        """What a pair takes: both runs, and one that is patched, or one with its gradients."""
        frames = self.clips["clean"].tokens.shape[-1]
        positions = frames + max(self.net.delays)
        width = self.model.lm.dim
        blocks = len(self.net.blocks)
        if self.how == "exact":  # keys and values of what stays
            more = sizing.keys_and_values(blocks, width, positions, 1, sizing.BYTES["float32"])
        else:  # what every block did, and at every site what is added and its gradient
            more = blocks * self.model.bytes_of_a_pass(frames)
            more += 2 * 4 * len(self.sites) * positions * width
        more += runs.bytes_of_a_row(self.model, frames)
        return runs.bytes_of_a_pair(self.model, frames, len(self.kept)) + 2 * more

    def check_metric(self, which, together) -> None:
        """Refuse a metric that tells nothing of some pairs, of which so many are run at once."""
        which = list(which)
        runs.check_ends(self.net, self.model, self.clips, which, self.metric, together)

    def cells(self, which, measure, together) -> dict[str, np.ndarray]:
        """A piece of the grid, so many pairs at once: effect [pair, site, range], and both unpatched
        runs' [pair].
        """
        found = [self._cells(part, measure) for part in sizing.parts(which, together)]
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _cells(self, which, measure):
        both = runs.paired(self.net, self.model, self.clips, list(which), self.kept, self.metric)
        effect = measure(both, self)
        found = {"effect": effect.permute(2, 0, 1), **both.scores}
        return {name: values.float().cpu().numpy() for name, values in found.items()}

    def layout(self, n):
        """Of the arrays: name -> (dims, shape, type)."""
        shape = (n, len(self.sites), len(self.ranges))
        return {
            "effect": (("clip", "site", "frame_range"), shape, "float32"),
            "clean": (("clip",), (n,), "float32"),
            "corrupted": (("clip",), (n,), "float32"),
        }

    def identity(self):
        """All that a grid follows from."""
        clean = self.clips["clean"]
        corrupted = self.clips["corrupted"]
        return {
            "model": cache.digest(self.model.identity()),
            "clean": cache.digest(clean.prompts, clean.tokens),
            "corrupted": cache.digest(corrupted.prompts, corrupted.tokens),
            "sites": self.sites,
            "ranges": [list(part) for part in self.ranges],
            "direction": self.direction,
            "how": self.how,
            "metric": cache.digest(self.metric),
            "code": cache.code(*SOURCES),
        }


def _grid(model, clean, corrupted, sites, metric, ranges, direction, how):
    names = pairs.sites(model, sites)
    function = metrics.find(metric)
    check.choice("direction", direction, DIRECTIONS)
    check.choice("how", how, ("exact", "attribution"))
    for clips in (clean, corrupted):
        model.check_clips(clips)
    pairs.check_pairs(clean, corrupted)
    net = forward.undisturbed(model)
    parts = pairs.ranges(ranges, clean.tokens.shape[-1] + max(net.delays))
    clips = {"clean": clean, "corrupted": corrupted}
    return _Grid(model, net, clips, names, parts, direction, how, function)


def _shares(grid, found):
    """Effects as shares of the mean difference between both runs."""
    gap = (found["clean"] - found["corrupted"]).mean()
    sign = 1 if grid.direction == "denoise" else -1
    coords = {
        "site": grid.sites,
        "frame_range": [f"{first}–{past - 1}" for first, past in grid.ranges],
        "start": ("frame_range", [first for first, _ in grid.ranges]),
        "clean": ("pair", found["clean"]),
        "corrupted": ("pair", found["corrupted"]),
    }
    return xr.DataArray(
        found["effect"].transpose(1, 2, 0) / (sign * gap),
        dims=("site", "frame_range", "pair"),
        coords=coords,
        attrs={"model": grid.model.name, "direction": grid.direction, "how": grid.how},
    )


# ------------------------------------------------------------------------------- how it is measured
@dataclass(frozen=True)
class _Exact:
    """One run for every cell, by a network whose products are prepared for it."""

    net: forward.Network

    @torch.no_grad()
    def __call__(self, both, grid):
        """The metric, minus that of the run that is patched into: [site, range, pair]."""
        giver, taker = DIRECTIONS[grid.direction]
        columns = [self._range(both, grid.sites, part, giver, taker) for part in grid.ranges]
        return torch.stack(columns, 1) - both.scores[taker]

    def _range(self, both, sites, part, giver, taker):
        """The metric with each site patched in one range: [site, pair]. Earlier positions stay."""
        first, past = part
        give = both.recordings[giver].sites
        take = both.recordings[taker].sites
        text = both.recordings[taker].text
        earlier = self.net.fixed_past(take, first) if first else None
        log_p = both.log_p[taker].clone()
        scores = []
        for site in sites:
            stream = take[runs.stream_behind(self.net, site)][:, first:].clone()
            stream[:, : past - first] += (give[site] - take[site])[:, first:past]
            start = runs.behind(self.net, site)
            end = self.net.run(stream, text, start=start, past=earlier)
            runs.write_log_probabilities(self.net, log_p, end, first)
            scores.append(both.score(log_p)[0])
        return torch.stack(scores)


def _attributed(both, grid):
    """The same to first order: the metric's gradient where it is patched, times the change."""
    giver, taker = DIRECTIONS[grid.direction]
    give = both.recordings[giver].sites
    take = both.recordings[taker].sites
    added = {site: torch.zeros_like(take[site], requires_grad=True) for site in grid.sites}
    adders = {site: [lambda x, position, leaf=leaf: x + leaf] for site, leaf in added.items()}
    with torch.enable_grad():
        text = both.recordings[taker].text
        end = both.net.run(take["before attn.0"], text, run.Visitors(adders))
        log_p = runs.log_probabilities(both.net, end, both.tokens.shape[-1])
        tokens = both.tokens.shape[2:].numel()
        slopes = gradients.of(both.score(log_p).sum(), list(added.values()), tokens)
    effects = []
    for site, slope in zip(grid.sites, slopes, strict=True):
        change = ((give[site] - take[site]) * slope).sum(-1)  # [row, position]
        change = change.reshape(*both.tokens.shape[:2], -1).sum(1)  # [pair, position]
        effects.append(torch.stack([change[:, first:past].sum(1) for first, past in grid.ranges]))
    return torch.stack(effects).detach()
