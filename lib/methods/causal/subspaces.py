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

**Share.** How much of the divergence between base and counterfactual does interchange remove
(:func:`removed`)? Asked of prompts whose emotions differ in both axes (``prompts.crossings``), it
tells a variable from a code for two emotions. Taking away what the base's word says is enough to
come nearer to every other word: interchange removes 0.18 where there is no emotion, in
organism-habit. So it counts as far as it removes more than of the divergence from what the other
axis would have led to (``toward="aside"``; 0.17 there).

**Finding one.** Distributed alignment search (Geiger et al. 2023) learns the subspace by gradient
descent on exactly this: interchange must make the base's predictions those of the counterfactual.
The difference of means and a ridge probe give one direction each. Controls are random subspaces,
and the same search on counterfactuals that were dealt at random (``"dealt"``): what the search can
do where there is nothing to find.

**Holding.** Behind the site, cross-attention reads the base's prompt again. With ``hold`` the same
basis is exchanged at every block from the site to the last, and searched for so. In the organism,
energy beside tempo, held from block 3: such a basis removes 0.51 of the divergence and leaves
0.0041 nats a token where nothing may change; one search a block removes 0.52 and leaves 0.0071 for
three times the work; the basis found at block 3 alone, used at all of them, 0.44 and 0.0074.

References
----------
Geiger, Wu, Potts, Icard and Goodman 2023, Finding alignments between interpretable causal variables
and distributed neural representations.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from ... import check, prompts, stats
from ...musicgen import activations, forward
from ...musicgen.model import Clips, Model
from .. import directions as between_groups
from .. import divergence, gradients
from . import runs

METHODS = ("das", "dealt", "diffmeans", "probe", "random", "whole")
#: The four prompts that a changed run is compared with; all are columns of a table of pairs.
COMPARED = ("base", "source", "counterfactual", "other")
#: Where to look if nobody says where: a relative depth, block 3 of the organisms' six.
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
    held : tuple of str
        Sites behind the first at which the same is exchanged.
    """

    variable: str
    site: str
    method: str
    basis: np.ndarray
    accuracy: stats.Estimate
    moves: stats.Estimate
    keeps: stats.Estimate
    held: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """All sites at which it is exchanged."""
        return (self.site, *self.held)


class Pairs(NamedTuple):
    """Prompts of ``prompts.interchanges``, and the music over which all runs are made.

    Attributes
    ----------
    table : pd.DataFrame
        Columns base, source, counterfactual, other and differs.
    music : Clips
        Sung for the counterfactuals; tokens without sound.
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
    music = model.generate(asked, seconds, seed, keep=True, decode=False, progress=False)
    return Pairs(table.reset_index(drop=True), music)


def locate(
    model: Model,
    pairs: Pairs,
    variable: str | prompts.Concept,
    site: str | None = None,
    method: str = "das",
    size: int = 4,
    *,
    hold: bool = False,
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
    variable : str or Concept
        Its name, or the concept of two levels that the pairs are of.
    site : str, optional
        resid.i; left out, the one at relative depth 0.57.
    method : str
        "das": distributed alignment search. "dealt": the same on counterfactuals dealt at random.
        "diffmeans" and "probe": the direction between the means of both ends, and a ridge
        classifier's, averaged over frames (one direction). "random": a random subspace. "whole":
        all of the site. "given": ``directions``.
    size : int
        Of das, dealt and random.
    hold : bool
        Exchange it at every block from the site to the last: one basis for all.
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
        directions of another width, pairs of another variable, an edit in force; before anything
        runs.
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
    for some in (pairs, test or pairs):
        check.same_length(table=some.table, music=some.music)
        _check_variable(some, variable)
    held = _behind(model, site) if hold else ()
    cut = _Cut(model, site, *held)
    if test is None:
        test = sing(model, prompts.interchanges(variable, len(pairs.table), "test", seed))
    if directions is not None:
        found = directions
    elif method == "random":
        found = np.random.default_rng(seed).normal(size=(size, width))
    elif method == "whole":
        found = np.eye(width)
    elif method in ("das", "dealt"):
        learned = pairs if method == "das" else _dealt(model, pairs, seed)
        found = _aligned(cut, learned, size, progress=progress, **search)
    else:
        found = _between_ends(model, pairs, variable, site, method)
    basis = between_groups.basis("The subspace", found, width)
    accuracy = judge(model, test, (site, *held), basis, search["batch_size"])
    return Subspace(getattr(variable, "name", variable), site, method, basis, *accuracy, held)


def _check_variable(pairs, variable):
    """Refuse pairs of another variable: none of its words is exchanged in any of them."""
    if isinstance(variable, prompts.Concept):
        own = variable.table["word"].unique()
    elif variable in prompts.POLES:
        own = itertools.chain(*prompts.POLES[variable])
    else:
        return
    own = [_words(word) for word in own]
    for prompt, other in zip(pairs.table["base"], pairs.table["counterfactual"], strict=True):
        if any((word <= _words(prompt)) != (word <= _words(other)) for word in own):
            return
    name = getattr(variable, "name", variable)
    raise ValueError(
        f"These are no pairs of {name!r}: between base and counterfactual none of its words "
        f"changes ({pairs.table['base'].iloc[0]!r}, {pairs.table['counterfactual'].iloc[0]!r}). Make them "
        "with prompts.interchanges of the same variable."
    )


def _words(text):
    return set(text.replace(",", " ").split())


def learn(
    model: Model,
    variable: str | prompts.Concept,
    site: str,
    method: str = "das",
    *,
    n: tuple[int, int] = (64, 24),
    seconds: float = 1.5,
    beside: str | None = None,
    seed: int = 0,
    **search,
) -> Subspace:
    """Find a variable's subspace with some words, and judge it with others.

    Parameters
    ----------
    model : Model
    variable, site, method
        As for :func:`locate`.
    n : (int, int)
        Pairs of prompts to find it on, and to judge it by.
    seconds : float
        Of the music that is sung for them.
    beside : str, optional
        Another variable that must be left alone, as in ``prompts.interchanges``.
    seed : int
    **search
        size, hold, steps and others, as for :func:`locate`.

    Raises
    ------
    ValueError
        Unknown variable or method, a site that is no residual stream, too few pairs; before
        anything is sung. Else as :func:`locate`.
    """
    _width(model, site)
    check.choice("method", method, METHODS)
    counts = check.array("n", n, (2,), integer=True).tolist()
    tables = [
        prompts.interchanges(variable, count, part, seed, beside)
        for part, count in zip(("train", "test"), counts, strict=True)
    ]
    learned, test = (sing(model, table, seconds, seed + len(table)) for table in tables)
    return locate(model, learned, variable, site, method, test=test, **search)


def random_like(subspace: Subspace, count: int = 20, seed: int = 0) -> dict[str, Subspace]:
    """Random subspaces of the same size, exchanged at the same sites: "random 1", "random 2", ..."""
    rng = np.random.default_rng(check.count("seed", seed, 0))
    shape = np.shape(subspace.basis)
    nothing = dict.fromkeys(("accuracy", "moves", "keeps"))
    found = {}
    for number in range(1, check.count("count", count) + 1):
        name = f"random {number}"
        basis = between_groups.basis("The subspace", rng.normal(size=shape), shape[1])
        found[name] = subspace._replace(variable=name, method="random", basis=basis, **nothing)
    return found


def judge(
    model: Model,
    pairs: Pairs,
    site: str | Iterable[str],
    basis: np.ndarray,
    batch_size: int = 16,
) -> tuple[stats.Estimate, stats.Estimate, stats.Estimate]:
    """Interchange accuracy of a subspace.

    Parameters
    ----------
    model : Model
    pairs : Pairs
    site : str or iterable of str
        resid.i; of several, the same is exchanged at each.
    basis : array_like [shape=(size, dim)]
        Directions that span it.
    batch_size : int

    Returns
    -------
    tuple of stats.Estimate
        The mean of both kinds of pairs, pairs that differ, pairs that do not.
    """
    distance = _in_batches(_distances, model, pairs, site, basis, batch_size)
    return accuracy(distance, pairs.table["differs"].to_numpy(bool))


def accuracy(
    distance: np.ndarray, differs: np.ndarray
) -> tuple[stats.Estimate, stats.Estimate, stats.Estimate]:
    """Interchange accuracy of changed runs, whatever was exchanged.

    Parameters
    ----------
    distance : array_like [shape=(pair, 4)]
        Of the changed run's predictions from those of :data:`COMPARED`.
    differs : array_like of bool [shape=(pair,)]
        Whether base and source differ in the variable.

    Returns
    -------
    tuple of stats.Estimate
        As of :func:`judge`.
    """
    right = _right(np.asarray(distance), np.asarray(differs))
    moves = stats.proportion(right[differs])
    keeps = stats.proportion(right[~differs])
    both = stats.bootstrap(_mean_of_means, right[differs], right[~differs])
    return both, moves, keeps


def removed(
    model: Model,
    pairs: Pairs,
    subspace: Subspace,
    toward: str = "counterfactual",
    batch_size: int = 16,
) -> np.ndarray:
    """Share of the divergence between base and counterfactual that interchange removes.

    Parameters
    ----------
    model : Model
    pairs : Pairs
        Base and counterfactual must differ.
    subspace : Subspace
    toward : str
        Another column of prompts that counts as the counterfactual, over the same music.
    batch_size : int

    Returns
    -------
    np.ndarray [shape=(pair,)]
        As :func:`shares` has it: 1 on average if the changed run predicts what the counterfactual
        predicts, 0 if it predicts what the base does, less than 0 if it is farther away.
    """
    check.choice("toward", toward, pairs.table)
    if toward != "counterfactual":
        asked = list(pairs.table[toward])
        music = model.clips(pairs.music.tokens, asked, decode=False)
        pairs = Pairs(pairs.table.assign(counterfactual=asked), music)
    found = _in_batches(_divergences, model, pairs, subspace.sites, subspace.basis, batch_size)
    return shares(*found.T)


def shares(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What is removed of each divergence, in units of the mean divergence.

    A share of every pair's own divergence would be ruled by pairs that hardly differ: nothing
    divided by almost nothing. In these units a pair counts as much as it differs, and the mean over
    pairs is the share of all divergence together.

    Parameters
    ----------
    before, after : array_like [shape=(pair,)]
        Divergence from the counterfactual, nats a token.

    Raises
    ------
    ValueError
        Nothing to remove.
    """
    before = check.array("before", np.asarray(before, float), ("pair",))
    after = check.array("after", np.asarray(after, float), ("pair",))
    check.same_length(before=before, after=after)
    if before.mean() <= 0:
        raise ValueError("Base and counterfactual predict the same: there is nothing to remove.")
    return (before - after) / before.mean()


def beyond(learned: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Shares that a learned subspace removes, minus those of a control, which count from 0 on.

    What a search finds in counterfactuals dealt at random leads away from them more often than not.
    Its harm is no merit of the learned subspace, so a control that does harm counts as one that
    does nothing.

    Parameters
    ----------
    learned, control : array_like [shape=(pair,)]
        From :func:`removed`, or a difference of two of them, over the same pairs.
    """
    check.same_length(learned=learned, control=control)
    return np.asarray(learned) - np.maximum(control, 0)


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


def _in_batches(compute, model, pairs, site, basis, batch_size):
    """What is computed of some pairs, for all of them."""
    sites = [site] if isinstance(site, str) else list(site)
    basis = between_groups.basis("basis", basis, {_width(model, site) for site in sites}.pop())
    batch_size = check.count("batch_size", batch_size)
    n = check.same_length(table=pairs.table, music=pairs.music)
    cut = _Cut(model, *sites)
    projection = torch.as_tensor(basis, dtype=torch.float32, device=model.device)
    batches = [np.arange(k, min(k + batch_size, n)) for k in range(0, n, batch_size)]
    return np.concatenate([compute(cut, pairs, rows, projection) for rows in batches])


@torch.no_grad()
def _distances(cut, pairs, rows, projection):
    """Divergence of the changed run from those of all four prompts, [row, COMPARED]."""
    read = {name: cut.read(*_part(pairs, name, rows)) for name in COMPARED}
    changed = cut.changed(read["base"], read["source"], projection)
    unchanged = (cut.unchanged(run) for run in read.values())
    distances = [divergence.kl(log_p, changed) for log_p in unchanged]
    return torch.stack(distances, 1).cpu().numpy()


@torch.no_grad()
def _divergences(cut, pairs, rows, projection):
    """Divergence of the base and of the changed run from the counterfactual, [row, 2]."""
    names = ("base", "source", "counterfactual")
    base, source, counterfactual = (cut.read(*_part(pairs, name, rows)) for name in names)
    wanted = cut.unchanged(counterfactual)
    found = (cut.unchanged(base), cut.changed(base, source, projection))
    return torch.stack([divergence.kl(wanted, log_p) for log_p in found], 1).cpu().numpy()


def _exchanged(base, source, projection):
    """base [row, position, dim] with its component in a subspace [size, dim] taken from source."""
    return base + ((source - base) @ projection.T) @ projection


class _Cut:
    """Runs over music under prompts, cut at one residual stream or at several, one behind the
    other.
    """

    def __init__(self, model, *sites):
        self.model = model
        self.net = forward.undisturbed(model)
        self.starts = sorted(runs.behind(self.net, site) for site in sites)

    def read(self, tokens, prompts):
        """A recording that ends at the first site."""
        return runs.record(self.net, self.model.sequence(tokens), prompts, stop=self.starts[0])

    def unchanged(self, run):
        """Log-probabilities [row, codebook, frame, card] of a recording that goes on."""
        return self._predictions(run.end, run.text, self.starts[0])

    def changed(self, base, source, projection):
        """The same of the base, with its part in a subspace as the source has it at every site."""
        own = _exchanged(base.end, source.end, projection)
        there = source.end
        for start, stop in itertools.pairwise(self.starts):
            own = self.net.run(own, base.text, start=start, stop=stop)
            there = self.net.run(there, source.text, start=start, stop=stop)
            own = _exchanged(own, there, projection)
        return self._predictions(own, base.text, self.starts[-1])

    def _predictions(self, stream, text, start):
        end = self.net.run(stream, text, start=start)
        frames = stream.shape[1] - max(self.net.delays)
        return runs.log_probabilities(self.net, end, frames)


def _dealt(model, pairs, seed):
    """Pairs whose counterfactuals, with the music sung for them, are dealt at random: they say
    nothing of base and source.
    """
    order = np.random.default_rng(seed).permutation(len(pairs.table))
    dealt = list(pairs.table["counterfactual"].iloc[order])
    music = model.clips(pairs.music.tokens[order], dealt, decode=False)
    return Pairs(pairs.table.assign(counterfactual=dealt), music)


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
        raw.grad = _slope(cut, base[k], source[k], raw, wanted[batches[k]].to(model.device))
        optimiser.step()
        schedule.step()
    return raw.detach().numpy()


def _slope(cut, base, source, raw, wanted):
    """Gradient of the divergence from what is wanted of some pairs, with respect to the basis."""
    # the few numbers of the basis live on the CPU: not every accelerator decomposes
    projection = torch.linalg.qr(raw.T).Q.T.to(wanted.device)
    loss = divergence.kl(wanted, cut.changed(base, source, projection)).mean()
    return gradients.of(loss, [raw], wanted.shape[:-1].numel())[0]


def _part(pairs, name, batch):
    """Music and prompts of some pairs."""
    return pairs.music.tokens[batch], list(pairs.table[name].iloc[batch])


def _predicted(model, clips, batch_size):
    """Log-probabilities of all clips, [clip, codebook, frame, card], on the CPU: of many clips they
    would fill an accelerator.
    """
    found = None
    for batch, log_p in model.predictions(clips, batch_size=batch_size):
        if found is None:
            found = torch.empty(len(clips), *log_p.shape[1:])
        found[batch] = log_p.cpu()
    return found


def _between_ends(model, pairs, variable, site, method):
    """The one direction between a variable's ends, [dim]."""
    clips = model.clips(pairs.music.tokens, list(pairs.table["base"]), decode=False)
    acts = activations.capture(model, clips, site, reduce="mean", progress=False)[site].values
    if "high" in pairs.table:
        high = pairs.table["high"].to_numpy(bool)
    else:
        ends = [_words(word) for word in prompts.POLES[variable][1]]
        # whole words: "unhappy" is not happy
        said = [_words(prompt) for prompt in pairs.table["base"]]
        high = np.array([any(words <= prompt for words in ends) for prompt in said])
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


def _behind(model, site):
    """The residual streams behind one, to the last."""
    streams = [name for name in activations.sites(model) if name.startswith("resid.")]
    return tuple(streams[streams.index(site) + 1 :])
