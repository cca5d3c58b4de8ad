"""Where a variable lives: subspaces of a site, judged by interchange.

A subspace carries a variable if putting the source run's component there into the base run makes the model predict what
it predicts for the counterfactual prompt (the source's variable, everything else the base's). Each subspace is judged on
words that had no part in finding it: over the same music, whose predictions are nearest to those of the changed run, those for
base, source, counterfactual or the fourth combination? Half of the sources have the base's own value and must change
nothing, so that a subspace that does nothing is right in half of the cases.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeClassifierCV
from tqdm.auto import tqdm

from lib import activations, prompts, stats
from lib.causal.patching import Pieces
from lib.model import Clips, Model

METHODS = ("das", "diffmeans", "probe", "random", "whole")
WHAT = ("base", "source", "counterfactual", "other")


class Subspace(NamedTuple):
    """A subspace of a site and what it carries.

    Attributes
    ----------
    basis : np.ndarray [shape=(size, dim)]
        Orthonormal rows.
    accuracy : stats.Estimate
        Interchange accuracy on unseen words, mean of both kinds of pairs.
    moves, keeps : stats.Estimate
        Accuracy on pairs that differ in the variable, and on pairs that do not.
    """

    variable: str
    site: str
    method: str
    basis: np.ndarray
    accuracy: stats.Estimate
    moves: stats.Estimate
    keeps: stats.Estimate


class Pairs(NamedTuple):
    """Prompts of ``prompts.interchanges`` with the music sung for the counterfactuals, over which all runs are made."""

    table: pd.DataFrame
    music: Clips


def sing(model: Model, table: pd.DataFrame, seconds: float = 3.0, seed: int = 0) -> Pairs:
    """Sing what each row's counterfactual asks for."""
    if missing := set(WHAT) - set(table):
        raise ValueError(
            f"pairs need the columns {WHAT} (prompts.interchanges makes them). Missing: {sorted(missing)}."
        )
    music = model.generate(list(table["counterfactual"]), seconds, seed, keep=True, progress=False)
    return Pairs(table.reset_index(drop=True), music)


def locate(
    model: Model,
    pairs: Pairs,
    variable: str,
    site: str = "resid.4",
    method: str = "das",
    size: int = 4,
    *,
    test: Pairs | None = None,
    directions: np.ndarray | None = None,
    steps: int = 60,
    lr: float = 0.03,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> Subspace:
    """Find a variable's subspace and judge it by interchange.

    Parameters
    ----------
    model : Model
    pairs : Pairs
        From :func:`sing`: what the subspace is found on.
    variable : str
        Its name.
    site : str
        resid.i.
    method : str
        "das": distributed alignment search (Geiger et al. 2023), a subspace learned so that interchange makes the base's
        predictions those of the counterfactual. "diffmeans" and "probe": the direction between the means of both ends, and a ridge
        classifier's, averaged over frames (one direction). "random": a random subspace. "whole": all of the site.
        "given": ``directions``, of SAE features for example.
    size : int
        Of das and random.
    test : Pairs
        Pairs of unseen words to judge by; by default the model sings them.
    directions : array_like [shape=(size, dim)]
    steps, lr, batch_size : int, float, int
        Of das.

    Raises
    ------
    ValueError
        Unknown method, a site that is no residual stream, a subspace larger than the site, directions of another width;
        before anything runs.
    """
    width = _width(model, site)
    if directions is not None:
        directions = np.atleast_2d(np.asarray(directions, float))
        if directions.shape[1] != width or not np.isfinite(directions).all():
            raise ValueError(f"directions at {site} must be finite, of shape (size, {width}). Got {directions.shape}.")
        size, method = len(directions), method if method not in METHODS else "given"
    elif method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, or give directions. Got {method!r}.")
    if not 1 <= size <= width:
        raise ValueError(f"{site} has {width} dimensions: size must be from 1 to {width}. Got {size}.")
    if test is None:
        test = sing(model, prompts.interchanges(variable, len(pairs.table), "test", seed))
    runs = _Runs(model, site)
    rng = np.random.default_rng(seed)
    if directions is not None:
        basis = directions
    elif method == "random":
        basis = rng.normal(size=(size, width))
    elif method == "whole":
        basis = np.eye(width)  # all of it
    elif method == "das":
        basis = _aligned(runs, pairs, size, steps, lr, batch_size, seed, progress)
    else:
        basis = _between(model, pairs, variable, site, method)
    basis = np.linalg.qr(np.atleast_2d(basis).T)[0].T  # orthonormal
    return Subspace(variable, site, method, basis, *judge(model, test, site, basis, batch_size))


@torch.no_grad()
def judge(model: Model, pairs: Pairs, site: str, basis: np.ndarray, batch_size: int = 16):
    """Interchange accuracy of a subspace: (mean of both kinds, pairs that differ, pairs that do not)."""
    runs, n = _Runs(model, site), len(pairs.table)
    P, far = _matrix(model, basis), np.zeros((n, len(WHAT)))
    for k in range(0, n, batch_size):
        rows = np.arange(k, min(k + batch_size, n))
        changed = _in_order(_swapped(runs, pairs, rows, P))
        for w, what in enumerate(WHAT):
            unchanged = model.clips(pairs.music.tokens[rows], list(pairs.table[what].iloc[rows]), decode=False)
            said = _in_order(model.predictions(unchanged, batch_size=batch_size))
            far[rows, w] = _divergence(said, changed).cpu()
    differs = pairs.table["differs"].to_numpy(bool)
    # where base and source share the variable, so do base and counterfactual, source and the fourth: their words differ
    right = np.where(differs, far.argmin(1) == 2, np.minimum(far[:, 0], far[:, 2]) < np.minimum(far[:, 1], far[:, 3]))
    moves, keeps = (stats.proportion(right[mask]) for mask in (differs, ~differs))
    both = stats.bootstrap(lambda a, b: (a.mean() + b.mean()) / 2, right[differs], right[~differs])
    return both, moves, keeps


def _matrix(model, basis):
    return torch.as_tensor(np.asarray(basis), dtype=torch.float32, device=model.device)


def _divergence(wanted, log_p):
    """Kullback-Leibler divergence, nats a token, [row]."""
    return (wanted.exp() * (wanted - log_p)).sum(-1).mean((1, 2))


def _in_order(parts):
    """One tensor of what comes as (row numbers, tensor)."""
    parts = list(parts)
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return torch.cat([values for _, values in parts])[order]


class _Runs:
    """Runs over given music under base and source prompts, cut at a site."""

    def __init__(self, model, site):
        self.pieces, self.site = Pieces(model), site
        self.start = self.pieces.order[site.replace("resid", "mlp")] + 1

    @torch.no_grad()
    def before(self, tokens, prompts):
        """The site's values and the text for rows whose prompts may differ in length: [(rows, x, text)]."""
        found = []
        for batch in self.pieces.model.batches(prompts, len(prompts)):
            x, text = self.pieces.entrance(tokens[batch], [prompts[i] for i in batch])
            kept = {}
            self.pieces.run(x, text, keep=kept, stop=self.start)
            found.append((batch, kept[self.site], text))
        return found

    def after(self, x, text, frames):
        """Log-probabilities from the site's values on."""
        return self.pieces.predictions(self.pieces.run(x, text, self.start), frames)


def _swapped(runs, pairs, rows, P):
    """Predictions of base runs whose component in the subspace is the source's: (positions within rows, log-probabilities)."""
    tokens, table = pairs.music.tokens[rows], pairs.table.iloc[rows]
    source = _in_order((batch, x) for batch, x, _ in runs.before(tokens, list(table["source"])))
    for batch, x, text in runs.before(tokens, list(table["base"])):
        yield batch, runs.after(x + ((source[batch] - x) @ P.T) @ P, text, tokens.shape[-1])


def _aligned(runs, pairs, size, steps, lr, batch_size, seed, progress):
    """Distributed alignment search: the rotation whose first directions make interchange give the counterfactual."""
    model, tokens, rng = runs.pieces.model, pairs.music.tokens, np.random.default_rng(seed)
    wanted = _in_order(model.predictions(pairs.music, batch_size=batch_size))
    source = _in_order((batch, x) for batch, x, _ in runs.before(tokens, list(pairs.table["source"])))
    base = [  # what lies before the site does not change: prepared once, in batches of equally long prompts
        (batch[k : k + batch_size], x[k : k + batch_size], text[k : k + batch_size])
        for batch, x, text in runs.before(tokens, list(pairs.table["base"]))
        for k in range(0, len(batch), batch_size)
    ]
    torch.manual_seed(seed)
    raw = torch.nn.Parameter(torch.randn(size, source.shape[-1]).to(source) / source.shape[-1] ** 0.5)
    optimiser = torch.optim.Adam([raw], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in tqdm(range(steps), desc="alignment search", disable=not progress, leave=False):
        if step % len(base) == 0:
            order = rng.permutation(len(base))
        batch, x, text = base[order[step % len(base)]]
        P = torch.linalg.qr(raw.T).Q.T
        log_p = runs.after(x + ((source[batch] - x) @ P.T) @ P, text, tokens.shape[-1])
        optimiser.zero_grad()
        _divergence(wanted[batch], log_p).mean().backward()
        optimiser.step(), schedule.step()
    return torch.linalg.qr(raw.detach().T).Q.T.cpu().numpy()


def _between(model, pairs, variable, site, method):
    """One direction between a variable's ends: of the means, or a ridge classifier's."""
    table = pairs.table
    clips = model.clips(pairs.music.tokens, list(table["base"]), decode=False)
    acts = activations.capture(model, clips, site, reduce="mean", progress=False)[site].values
    high = np.array([any(w in p for w in prompts.POLES[variable][1]) for p in table["base"]])
    if high.all() or not high.any():
        raise ValueError(f"All base prompts are at one end of {variable!r}: no direction lies between.")
    if method == "diffmeans":
        return acts[high].mean(0) - acts[~high].mean(0)
    return RidgeClassifierCV(np.logspace(-2, 4, 13)).fit(acts - acts.mean(0), high).coef_.ravel()


def _width(model, site):
    there = activations.sites(model)
    if site not in there or not site.startswith("resid."):
        raise ValueError(f"site must be one of resid.i. Got {site!r}.")
    return there[site].width
