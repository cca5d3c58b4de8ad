"""Where a variable lives: subspaces of a site, judged by interchange.

**The question.** Tempo can be read from a residual stream by a probe, but much can be read that the
model never uses. A subspace *carries* tempo if exchanging it exchanges tempo, and nothing else.

**Interchange.** Take a base prompt (*a slow piano piece*) and a source prompt (*a fast violin
piece*), and read one music under both. Put the source's component in the subspace into the base's
run. If the subspace carries tempo, the run now predicts what the model would predict for *a fast
piano piece*, the **counterfactual**: the source's tempo, everything else the base's.

**Accuracy.** The changed run's predictions are compared with those of four prompts: base, source,
counterfactual and the fourth combination (*a slow violin piece*). The nearest one, by
Kullback-Leibler divergence, should be the counterfactual. In half of the pairs the source has the
base's own tempo: there nothing may change (``keeps``), so that a subspace that does nothing is
right in half of the cases and one that carries everything in none of these. Words that a subspace
is judged by had no part in finding it.

**Finding one.** Distributed alignment search (Geiger et al. 2023) learns the subspace by gradient
descent on exactly this: interchange must make the base's predictions those of the counterfactual.
The difference of means and a ridge probe give one direction each, and random subspaces are the
control.

References
----------
Geiger, Wu, Potts, Icard and Goodman 2023, Finding alignments between interpretable causal variables
and distributed neural representations.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from ... import check, prompts, stats
from ...musicgen import activations
from ...musicgen.model import Clips, Model
from .. import directions as between_groups
from .. import divergence
from . import runs

METHODS = ("das", "diffmeans", "probe", "random", "whole")
#: The four prompts that a changed run is compared with; all are columns of a table of pairs.
COMPARED = ("base", "source", "counterfactual", "other")
#: Where to look if nobody says where: a relative depth, block 4 of the organisms' eight.
DEPTH = 0.57


class Subspace(NamedTuple):
    """A subspace of a site and what it carries.

    Attributes
    ----------
    variable, site, method : str
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
    """Prompts of ``prompts.interchanges``, and the music over which all runs are made.

    Attributes
    ----------
    table : pd.DataFrame
        Columns base, source, counterfactual, other and differs.
    music : Clips
        Sung for the counterfactuals.
    """

    table: pd.DataFrame
    music: Clips


def sing(model: Model, table: pd.DataFrame, seconds: float = 3.0, seed: int = 0) -> Pairs:
    """Sing what each row's counterfactual asks for.

    Raises
    ------
    ValueError
        A table without the columns that ``prompts.interchanges`` makes.
    """
    missing = {*COMPARED, "differs"} - set(table)
    if missing:
        raise ValueError(
            f"pairs need the columns {(*COMPARED, 'differs')} (prompts.interchanges makes them). "
            f"Missing: {sorted(missing)}."
        )
    asked = list(table["counterfactual"])
    music = model.generate(asked, seconds, seed, keep=True, progress=False)
    return Pairs(table.reset_index(drop=True), music)


def locate(
    model: Model,
    pairs: Pairs,
    variable: str,
    site: str | None = None,
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
    site : str, optional
        resid.i; left out, the one at relative depth 0.57.
    method : str
        "das": distributed alignment search. "diffmeans" and "probe": the direction between the
        means of both ends, and a ridge classifier's, averaged over frames (one direction).
        "random": a random subspace. "whole": all of the site. "given": ``directions``.
    size : int
        Of das and random.
    test : Pairs
        Pairs of unseen words to judge by; by default the model sings them.
    directions : array_like [shape=(size, dim)], optional
        What spans the subspace, of SAE features for example.
    steps, lr, batch_size : int, float, int
        Of das.
    seed : int
    progress : bool

    Raises
    ------
    ValueError
        Unknown method, a site that is no residual stream, a subspace larger than the site,
        directions of another width, an edit in force; before anything runs.
    """
    site = activations.at(model, DEPTH) if site is None else site
    width = _width(model, site)
    if directions is None:
        check.choice("method", method, METHODS)
        size = check.count("size", size, 1, width)
    else:
        directions = between_groups.basis("directions", directions, width)
        method = "given" if method in METHODS else method
    search = {
        "steps": check.count("steps", steps),
        "lr": check.number("lr", lr, 0, open_low=True),
        "batch_size": check.count("batch_size", batch_size),
        "seed": check.count("seed", seed, 0),
    }
    check.same_length(table=pairs.table, music=pairs.music)
    cut = _Cut(model, site)
    if test is None:
        test = sing(model, prompts.interchanges(variable, len(pairs.table), "test", seed))
    if directions is not None:
        found = directions
    elif method == "random":
        found = np.random.default_rng(seed).normal(size=(size, width))
    elif method == "whole":
        found = np.eye(width)
    elif method == "das":
        found = _aligned(cut, pairs, size, progress=progress, **search)
    else:
        found = _between_ends(model, pairs, variable, site, method)
    basis = between_groups.basis("The subspace", found, width)
    accuracy = judge(model, test, site, basis, search["batch_size"])
    return Subspace(variable, site, method, basis, *accuracy)


def judge(
    model: Model, pairs: Pairs, site: str, basis: np.ndarray, batch_size: int = 16
) -> tuple[stats.Estimate, stats.Estimate, stats.Estimate]:
    """Interchange accuracy of a subspace.

    Parameters
    ----------
    model : Model
    pairs : Pairs
    site : str
        resid.i.
    basis : array_like [shape=(size, dim)]
        Directions that span it.
    batch_size : int

    Returns
    -------
    tuple of stats.Estimate
        The mean of both kinds of pairs, pairs that differ, pairs that do not.
    """
    basis = between_groups.basis("basis", basis, _width(model, site))
    batch_size = check.count("batch_size", batch_size)
    n = check.same_length(table=pairs.table, music=pairs.music)
    cut = _Cut(model, site)
    projection = torch.as_tensor(basis, dtype=torch.float32, device=model.device)
    distance = np.concatenate(
        [
            _distances(cut, pairs, np.arange(k, min(k + batch_size, n)), projection)
            for k in range(0, n, batch_size)
        ]
    )
    differs = pairs.table["differs"].to_numpy(bool)
    right = _right(distance, differs)
    moves = stats.proportion(right[differs])
    keeps = stats.proportion(right[~differs])
    both = stats.bootstrap(_mean_of_means, right[differs], right[~differs])
    return both, moves, keeps


def _right(distance, differs):
    """Which pairs are answered rightly, from distances [pair, COMPARED].

    Where base and source share the variable, base and counterfactual ask for the same in other
    words, and so do source and the fourth.
    """
    as_base = np.minimum(distance[:, 0], distance[:, 2])
    as_source = np.minimum(distance[:, 1], distance[:, 3])
    counterfactual = COMPARED.index("counterfactual")
    return np.where(differs, distance.argmin(1) == counterfactual, as_base < as_source)


def _mean_of_means(one, other):
    return (one.mean() + other.mean()) / 2


@torch.no_grad()
def _distances(cut, pairs, rows, projection):
    """Divergence of the changed run from those of all four prompts, [row, COMPARED]."""
    tokens = pairs.music.tokens[rows]
    read = {name: cut.read(tokens, list(pairs.table[name].iloc[rows])) for name in COMPARED}
    base = read["base"]
    exchanged = _exchanged(base.end, read["source"].end, projection)
    changed = cut.predictions(exchanged, base.text)
    unchanged = (cut.predictions(run.end, run.text) for run in read.values())
    distances = [divergence.kl(log_p, changed) for log_p in unchanged]
    return torch.stack(distances, 1).cpu().numpy()


def _exchanged(base, source, projection):
    """base [row, position, dim] with its component in a subspace [size, dim] taken from source."""
    return base + ((source - base) @ projection.T) @ projection


class _Cut:
    """Runs over music under prompts, cut at a residual stream."""

    def __init__(self, model, site):
        self.model = model
        self.net = runs.network(model)
        self.start = runs.behind(self.net, site)

    def read(self, tokens, prompts):
        """A recording that ends at the site."""
        return runs.record(self.net, self.model.sequence(tokens), prompts, stop=self.start)

    def predictions(self, stream, text):
        """Log-probabilities [row, codebook, frame, card] from the site's values on."""
        end = self.net.run(stream, text, start=self.start)
        frames = stream.shape[1] - max(self.net.delays)
        return runs.log_probabilities(self.net, end, frames)


def _aligned(cut, pairs, size, *, steps, lr, batch_size, seed, progress):
    """Distributed alignment search: the subspace whose interchange gives the counterfactual.

    What lies before the site does not change and is computed once; of what lies behind, only the
    gradient with respect to the subspace is.
    """
    model = cut.model
    wanted = _predicted(model, pairs.music, batch_size)
    # batches of equally long prompts: no step is spent on padding
    batches = model.batches(list(pairs.table["base"]), batch_size)
    base = [cut.read(*_part(pairs, "base", batch)) for batch in batches]
    source = [cut.read(*_part(pairs, "source", batch)) for batch in batches]
    width = model.lm.dim
    generator = torch.Generator().manual_seed(seed)
    raw = torch.nn.Parameter(torch.randn(size, width, generator=generator) / width**0.5)
    optimiser = torch.optim.Adam([raw], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(seed)
    for step in tqdm(range(steps), desc="alignment search", disable=not progress, leave=False):
        if step % len(batches) == 0:
            order = rng.permutation(len(batches))
        k = order[step % len(batches)]
        # the few numbers of the basis live on the CPU: not every accelerator decomposes
        projection = torch.linalg.qr(raw.T).Q.T.to(model.device)
        exchanged = _exchanged(base[k].end, source[k].end, projection)
        log_p = cut.predictions(exchanged, base[k].text)
        loss = divergence.kl(wanted[batches[k]], log_p).mean()
        (raw.grad,) = torch.autograd.grad(loss, [raw])
        optimiser.step()
        schedule.step()
    return raw.detach().numpy()


def _part(pairs, name, batch):
    """Music and prompts of some pairs."""
    return pairs.music.tokens[batch], list(pairs.table[name].iloc[batch])


def _predicted(model, clips, batch_size):
    """Log-probabilities of all clips, [clip, codebook, frame, card]."""
    found = None
    for batch, log_p in model.predictions(clips, batch_size=batch_size):
        if found is None:
            found = log_p.new_empty((len(clips), *log_p.shape[1:]))
        found[batch] = log_p
    return found


def _between_ends(model, pairs, variable, site, method):
    """The one direction between a variable's ends, [dim]."""
    clips = model.clips(pairs.music.tokens, list(pairs.table["base"]), decode=False)
    acts = activations.capture(model, clips, site, reduce="mean", progress=False)[site].values
    ends = prompts.POLES[variable][1]
    high = np.array([any(word in prompt for word in ends) for prompt in pairs.table["base"]])
    if high.all() or not high.any():
        raise ValueError(
            f"All base prompts are at one end of {variable!r}: no direction lies between."
        )
    return between_groups.between(acts, high, method)


def _width(model, site):
    there = activations.sites(model)
    if site not in there or not site.startswith("resid."):
        raise ValueError(f"site must be one of resid.i. Got {site!r}.")
    return there[site].width
