"""Do methods that say *where* find the place? Asked of organisms whose places are planted.

``organism.planting`` says where the text brings tempo, energy, mode, valence and arousal into the
planted organisms: by which heads, in which subspace of what these add to the stream, and so from
which block on. That it is so is measured first, by interchange (:func:`verify`). Then a method
gives every candidate a score, and the score is held against the truth:

- **heads** (:func:`heads`): which of the 30 heads of cross-attention bring the variable in?
- **axes** (:func:`axes`): along which of 160 axes is it added? The axes are turned: no axis of the
  network's own is one of them.
- **blocks** (:func:`blocks`): behind which of the six blocks is it there?

The area under the ROC curve is the chance that a true place is scored above another; the precision
at k is the share of true places among the k best, of k there are (:func:`scored`).

>>> import pandas as pd
>>> found = pd.DataFrame({"method": "a", "score": [3.0, 1.0, 2.0], "true": [True, False, False]})
>>> scored(found.assign(model="m", variable="tempo", what="heads"))["auroc"].tolist()
[1.0]

References
----------
Mueller et al. 2025, MIB: a mechanistic interpretability benchmark (localisation judged by known
truth). Gupta et al. 2024, InterpBench.
"""

import argparse
import sys
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import roc_auc_score

from .. import check, prompts, stats
from ..musicgen import Model, activations, forward, load
from ..musicgen.model import Clips
from ..musicgen.run import Visitors
from ..organism import planting
from . import directions as between_groups
from . import divergence, features, probes
from .causal import patching, runs, subspaces
from .sae.placing import encode

#: What heads, axes and blocks are scored by.
HEAD_METHODS = ("patching", "attribution", "change", "attention", "random")
AXIS_METHODS = ("das", "diffmeans", "probe", "rfm", "sae", "random")
BLOCK_METHODS = ("patching", "probe, same music", "probe, own songs", "random")


# ------------------------------------------------------------------------------------------- verify
def verify(
    m: Model,
    n: int = 48,
    seconds: float = 1.5,
    seed: int = 0,
    *,
    variables: Iterable[str] | None = None,
    batch_size: int = 24,
) -> pd.DataFrame:
    """Is everything where it was planted? Interchange accuracy on prompts and music of no lesson.

    Parameters
    ----------
    m : Model
        A planted organism.
    n : int
        Pairs of prompts a variable.
    seconds : float
        Of music for each.
    seed : int
    variables : iterable of str, optional
        Some of ``planting.VARIABLES``; by default all.
    batch_size : int

    Returns
    -------
    pd.DataFrame
        One row a variable and part: variable, what, accuracy, moves, keeps (as of
        ``causal.variables.judge``). Parts are the variable's heads; its subspace of what their
        sublayer adds; for comparison a random subspace and two heads beside; and all other heads,
        whose interchange must move everything but the variable (to the prompt *other*, asked of
        pairs that differ).

    Raises
    ------
    ValueError
        A model that is not planted, an unknown variable.
    """
    known = list(planting.places(m.name))
    chosen = known if variables is None else check.texts("variables", variables)
    places = {variable: planting.place(m.name, variable) for variable in chosen}
    n = check.count("n", n, 2)
    rows = []
    rng = np.random.default_rng(seed)
    for variable, place in places.items():
        table = prompts.interchanges(variable, n, "test", seed)
        pairs = subspaces.sing(m, table, seconds, seed)
        basis = planting.basis(m.name, variable)
        chance = between_groups.basis("random", rng.normal(size=basis.shape), basis.shape[1])
        others = [head for head in planting.heads(place.block) if head not in place.entry_heads]
        parts = {
            "its heads": (place.entry_heads, None),
            "its subspace": ([place.entry], basis),
            "two other heads": (others[:2], None),
            "a random subspace": ([place.entry], chance),
            "all other heads": (others, None),
        }
        differs = table["differs"].to_numpy(bool)
        distances = _distances(m, pairs, parts, batch_size)
        moved = distances.pop("all other heads")[differs]
        for what, distance in distances.items():
            rows.append((variable, what, *subspaces.accuracy(distance, differs)))
        fourth = stats.proportion(moved.argmin(1) == subspaces.COMPARED.index("other"))
        rows.append((variable, "all other heads", fourth, fourth, None))
    return pd.DataFrame(rows, columns=["variable", "what", "accuracy", "moves", "keeps"])


#: The parts of :func:`verify` that must be right.
PLANTED = ("its heads", "its subspace", "all other heads")


@torch.no_grad()
def _distances(m, pairs, parts, batch_size):
    """Of runs in which what some sites add (or its part in a subspace) is as in the source's, from
    those of all four prompts: part -> [pair, prompt].
    """
    net = forward.undisturbed(m)
    sites = {site for some, _ in parts.values() for site in some}
    found = {what: np.zeros((len(pairs.table), len(subspaces.COMPARED))) for what in parts}
    frames = pairs.music.tokens.shape[-1]
    for batch in m.batches(list(pairs.table["base"]), batch_size):
        sequence = m.sequence(pairs.music.tokens[batch])
        read = {
            name: runs.record(net, sequence, list(pairs.table[name].iloc[batch]), sites)
            for name in subspaces.COMPARED
        }
        plain = [runs.log_probabilities(net, run.end, frames) for run in read.values()]
        for what, (some, basis) in parts.items():
            give = {site: [_giver(read["source"].sites[site], basis)] for site in some}
            text = read["base"].text
            visitors = Visitors(give)
            end = net.run(net.embed(sequence, text, visitors), text, visitors)
            changed = runs.log_probabilities(net, end, frames)
            distances = [divergence.kl(log_p, changed) for log_p in plain]
            found[what][batch] = torch.stack(distances, 1).cpu().numpy()
    return found


def _giver(own, basis):
    if basis is None:
        return lambda x, position: own
    inside = torch.as_tensor(basis, dtype=torch.float32, device=own.device)
    return lambda x, position: x + ((own - x) @ inside.T) @ inside


# --------------------------------------------------------------------------------------- candidates
class Sung(NamedTuple):
    """Songs for both ends of a variable."""

    table: pd.DataFrame
    high: Clips
    low: Clips


def sing(m: Model, variable: str, n: int = 24, seconds: float = 2.0, seed: int = 0) -> Sung:
    """Songs for prompts that differ in a variable alone; tokens without sound."""
    table = prompts.pairs(variable, n, seed)
    high, low = (
        m.generate(list(table[end]), seconds, seed, decode=False) for end in ("high", "low")
    )
    return Sung(table, high, low)


def heads(m: Model, variable: str, sung: Sung, seed: int = 0) -> pd.DataFrame:
    """Scores of all heads of cross-attention, by each of :data:`HEAD_METHODS`.

    *patching* and *attribution*: the effect of the head, exact and by its gradient; *change*: how
    far its output moves from one prompt to the other, over the same music; *attention*: how much it
    looks at the word.

    Returns
    -------
    pd.DataFrame
        Columns model, variable, what ("heads"), method, candidate, score, true.
    """
    sites = [site.name for site in activations.select(m, "cross_head.*")]
    own = planting.place(m.name, variable).entry_heads
    how = {"patching": "exact", "attribution": "attribution"}
    found = {}
    for method, exactness in how.items():
        grid = patching.patch_grid(
            m, sung.high, sung.low, sites, ranges=1, how=exactness, progress=False
        )
        found[method] = grid.mean(("pair", "frame_range")).sel(site=sites).values
    found |= _looked(m, sung, sites)
    found["random"] = _chance(m, variable, "heads", seed).random(len(sites))
    return _table(m, variable, "heads", sites, [site in own for site in sites], found)


@torch.no_grad()
def _looked(m, sung, sites):
    """How far each head's output moves, and how much it looks at the word: [site] each."""
    net = forward.undisturbed(m)
    patterns = [f"cross_pattern.{i}" for i in range(len(net.blocks))]
    sequence = m.sequence(sung.high.tokens)
    high, low = (
        runs.record(net, sequence, list(some.prompts), [*sites, *patterns]).sites
        for some in (sung.high, sung.low)
    )
    moved = [float((high[site] - low[site]).mean((0, 1)).norm()) for site in sites]
    at = _places_of_words(m, sung.table)
    looked = []
    for site in sites:
        block, head = map(int, site.split(".")[1:])
        weights = high[f"cross_pattern.{block}"][:, head].mean(1)  # [row, token]
        looked.append(float(np.mean([weights[row, k].sum() for row, k in at])))
    return {"change": moved, "attention": looked}


def _places_of_words(m, table):
    """(row, tokens of the variable's word) of every prompt."""
    conditioner = m.lm.condition_provider.conditioners["description"]
    found = []
    for row, (prompt, words) in enumerate(zip(table["high"], table["word_high"], strict=True)):
        ids = conditioner.tokenize([prompt])["input_ids"][0].tolist()
        tokens = conditioner.t5_tokenizer.convert_ids_to_tokens(ids)
        said = words.replace(",", " ").split()
        found.append((row, [k for k, token in enumerate(tokens) if token in said]))
    return found


def axes(m: Model, variable: str, sung: Sung, sae=None, seed: int = 0, **aligning) -> pd.DataFrame:
    """Scores of the planted axes of what a variable's sublayer adds, by :data:`AXIS_METHODS`.

    Every method gives one direction, or several (the subspace of alignment search, which is found in
    the stream behind the sublayer's block; the decoders of the features that tell best); an axis is
    scored by its share of them. (Groups dealt at random are no control here: prompts differ in the
    variable alone, so every change between them lies along its axes.)

    Parameters
    ----------
    m : Model
    variable : str
    sung : Sung
    sae : optional
        A sparse autoencoder of what the sublayer adds; left out, so is the method.
    seed : int
    **aligning
        Of alignment search, as for ``causal.subspaces.learn``: n, steps and others.

    Returns
    -------
    pd.DataFrame
        As of :func:`heads`; candidates are numbers.
    """
    place = planting.place(m.name, variable)
    rows, high = _same_music(m, sung, [place.entry])
    rows = rows[place.entry]
    found = {}
    rng = _chance(m, variable, "axes", seed)
    for method in ("diffmeans", "probe", "rfm", "random"):
        found[method] = between_groups.between(rows, high, method, paired=True, seed=rng)[None]
    learned = subspaces.learn(
        m, variable, f"resid.{place.block}", seed=seed, progress=False, **aligning
    )
    found["das"] = learned.basis
    if sae is not None:
        found["sae"] = _feature_directions(sae, rows, high)
    directions = planting.axes(m.name, variable)
    own = np.arange(planting.WIDTH) < planting.SIZE
    scores = {name: ((some @ directions.T) ** 2).sum(0) for name, some in found.items()}
    return _table(m, variable, "axes", range(len(own)), own, scores)


def _feature_directions(sae, rows, high, count=planting.SIZE):
    """Decoders of the features that tell both ends apart best, each as long as it tells."""
    activity = encode(sae, torch.as_tensor(rows, dtype=torch.float32)).detach().cpu().numpy()
    chosen = features.distinguishing(activity, high, count)
    told = np.abs(activity[high][:, chosen].mean(0) - activity[~high][:, chosen].mean(0))
    return sae.W_dec.detach().cpu().numpy()[chosen] * told[:, None]


def blocks(m: Model, variable: str, sung: Sung, seed: int = 0) -> pd.DataFrame:
    """Scores of every block's residual stream, by each of :data:`BLOCK_METHODS`.

    Two probes read the same thing in two kinds of rows. Over the *same music* nothing differs but
    the prompt; in its *own songs* the music tells, too.

    Returns
    -------
    pd.DataFrame
        As of :func:`heads`.
    """
    sites = [f"resid.{block}" for block in range(planting.BLOCKS)]
    first = planting.place(m.name, variable).block
    grid = patching.patch_grid(m, sung.high, sung.low, sites, ranges=1, progress=False)
    found = {"patching": grid.mean(("pair", "frame_range")).sel(site=sites).values}
    same, high = _same_music(m, sung, sites)
    own = _own_songs(m, sung, sites)
    groups = _groups(sung.table)
    settings = {"n_splits": min(3, *groups.nunique()), "n_permutations": 0, "seed": seed}
    for name, rows in (("probe, same music", same), ("probe, own songs", own)):
        found[name] = [probes.fit(rows[s], high, groups, **settings).score.value for s in sites]
    found["random"] = _chance(m, variable, "blocks", seed).random(len(sites))
    true = [block >= first for block in range(planting.BLOCKS)]
    return _table(m, variable, "blocks", sites, true, found)


def _groups(table):
    """What no test row may share with a training row: its words, and its pair (the same music, or
    songs of one seed, with opposite labels). Low first.

    Pairs that words join are one group, which holds both ends equally, so that no fold learns from
    more of one end. Where words join all pairs, words and pairs are columns of their own.
    """
    ends = np.concatenate([table["word_low"], table["word_high"]])
    words, numbers = np.unique(ends, return_inverse=True)
    low, high = np.split(numbers, 2)
    said_together = coo_array((np.ones(len(table)), (low, high)), (len(words), len(words)))
    count, joined = connected_components(said_together, directed=False)
    if count > 1:
        return pd.DataFrame({"joined": joined[numbers]})
    return pd.DataFrame({"word": ends, "pair": np.tile(np.arange(len(table)), 2)})


def _same_music(m, sung, sites):
    """Mean activations under both prompts over the songs of the low end, low first; and which rows
    are high.
    """
    music = [sung.low.under(list(some.prompts)) for some in (sung.low, sung.high)]
    return _means(m, music, sites), np.repeat([False, True], len(sung.low))


def _own_songs(m, sung, sites):
    return _means(m, [sung.low, sung.high], sites)


def _means(m, parts, sites):
    found = [activations.capture(m, some, sites, reduce="mean", progress=False) for some in parts]
    return {site: np.concatenate([some[site].values for some in found]) for site in sites}


def _chance(m, variable, what, seed):
    """Random numbers of this model's and variable's own: units that share them are one unit."""
    return np.random.default_rng([seed, zlib.crc32(f"{m.name} {variable} {what}".encode())])


def _table(m, variable, what, candidates, true, scores):
    parts = [
        pd.DataFrame(
            {
                "model": m.name,
                "variable": variable,
                "what": what,
                "method": method,
                "candidate": list(candidates),
                "score": np.asarray(values, float),
                "true": np.asarray(true, bool),
            }
        )
        for method, values in scores.items()
    ]
    return pd.concat(parts, ignore_index=True)


# ---------------------------------------------------------------------------------------- judgement
def scored(found: pd.DataFrame) -> pd.DataFrame:
    """How well scores tell true places from others.

    Parameters
    ----------
    found : pd.DataFrame
        Rows of :func:`heads`, :func:`axes` and :func:`blocks`, of any models and variables.

    Returns
    -------
    pd.DataFrame
        One row a model, variable, kind of candidate and method: auroc, precision (at k). Candidates
        that are all true (a variable that is there from the first block on) tell nothing and are
        left out.
    """
    missing = {"model", "variable", "what", "method", "score", "true"} - set(found)
    if missing:
        check.refuse(ValueError, "found", "a table of localisation's own", sorted(found))
    rows = []
    for names, some in found.groupby(["model", "variable", "what", "method"], sort=False):
        if some["true"].nunique() == 2:
            area = roc_auc_score(some["true"], some["score"])
            rows.append((*names, float(area), _precision(some)))
    return pd.DataFrame(rows, columns=["model", "variable", "what", "method", "auroc", "precision"])


def _precision(some):
    k = int(some["true"].sum())
    return float(some.nlargest(k, "score")["true"].mean())


def main(argv=None):
    """The command line; an input that is refused ends with its message instead of a traceback."""
    parser = argparse.ArgumentParser(prog="localisation", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(planting.PLACES), metavar="MODEL")
    parser.add_argument("-n", type=int, default=96, help="pairs of prompts a variable")
    arguments = parser.parse_args(argv)
    try:
        _do(arguments)
    except (ValueError, FileNotFoundError, MemoryError) as error:
        sys.exit(f"{error}")


def _do(arguments):
    n = check.count("n", arguments.n, 2)
    for name in arguments.models:
        planting.places(name)
    for name in arguments.models:
        print(name)
        found = verify(load(name), n)
        print(found.map(str).to_string(index=False))


if __name__ == "__main__":
    main()
