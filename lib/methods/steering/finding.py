"""Every way of finding what steers, from one lesson.

A **lesson** is what the finding part gives for a concept: prompts with a word of it, of its contrary
and with a neutral one, and the songs of the first two. All that is found is measured in one unit a
site: the mean norm of what it holds over these songs.

==================  ===============================================================================
method              what it is
==================  ===============================================================================
prompt              the report's own words (nothing is learned)
guidance            the same, with stronger guidance
negative            guidance away from words of the contrary
text                difference of means of the text's embeddings, added to all of them
word                the same of the one word's embedding, added to that alone
diffmeans           difference of means of a residual stream over the same music
songs               the same over each kind's own songs
probe               weights of a ridge classifier
rfm                 recursive feature machine
das                 difference of means within a subspace found by distributed alignment search
feature             decoder of the one SAE feature that tells best
selection           decoders of the features that tell best, each as much as it tells
cross               differences of means of what every cross-attention adds
heads               probes of the self-attention heads that tell best (SMITIN: Koo et al. 2025)
reft, reps          rank-one directions that are trained (``rank_one``)
distilled           vectors at every cross-attention that learn what the words do (``distilling``)
slider              an adapter of the weights that learns it (``sliders``)
monitored           as songs, with a strength that falls off where a probe says it is there
random, shuffled    controls: a direction drawn at random, and one between kinds dealt at random
==================  ===============================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from ... import cache, check
from ...musicgen import activations
from ...musicgen.model import Clips, Model
from .. import directions as between_groups
from .. import features, harvest, sae
from ..causal import subspaces
from . import distilling, rank_one, sliders, vectors
from .levers import Push, Words
from .tasks import rows

#: Where residual streams are pushed, a relative depth.
DEPTH = vectors.DEPTH
#: Heads that are pushed, at most.
HEADS = 8
#: Features of a selection.
SELECTED = 20
#: The SAE of the bench: rendered music, its seconds, features, active ones and passes.
DICTIONARY = {"clips": 300, "seconds": 2.0, "width": 512, "k": 16, "passes": 6}
#: Prompts of interchanges that a subspace is found on, and by which it is judged.
INTERCHANGES = (32, 8)


@dataclass(frozen=True)
class Lesson:
    """What the finding part gives for a concept.

    Attributes
    ----------
    model : Model
    concept : str
    rows : pd.DataFrame
        Columns neutral, high and low, as from ``tasks.rows``.
    high, low : Clips
        Songs under high and low prompts; the i-th of both are of row i.
    site : str
        resid.i.
    steps : int
        Of what is trained.
    dictionary : optional
        A sparse autoencoder of the site.
    seed : int
    norms : dict
        Site -> one unit of strength, as far as it was measured; lessons of one model may share it.
    """

    model: Model
    concept: str
    rows: pd.DataFrame
    high: Clips
    low: Clips
    site: str
    steps: int = 60
    dictionary: object = None
    seed: int = 0
    norms: dict = field(default_factory=dict, repr=False)
    _read: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        check.same_length(rows=self.rows, high=self.high, low=self.low)
        check.count("The number of rows of a lesson", len(self.rows), 2)
        check.count("steps", self.steps)

    @cached_property
    def music(self) -> Clips:
        """All songs, under neutral prompts; those of the contrary first."""
        tokens = np.concatenate([self.low.tokens, self.high.tokens])
        return self.model.clips(tokens, self._twice("neutral"), decode=False)

    @cached_property
    def data(self) -> str:
        """Digest of all that is learned from."""
        return cache.digest(self.rows, self.low.tokens, self.high.tokens, self.model.interventions)

    @property
    def kinds(self) -> np.ndarray:
        """Which rows of two groups, low ones first, are high."""
        return np.repeat([False, True], [len(self.low), len(self.high)])

    def _twice(self, column):
        return list(self.rows[column]) * 2

    def paired(self, site: str) -> tuple[np.ndarray, np.ndarray]:
        """Means of a site over all songs under low and under high prompts, each [song, dim]."""
        if ("paired", site) not in self._read:
            for end in ("low", "high"):
                self._keep("paired", end, self.music.under(self._twice(end)), site)
        low, high = (self._read["paired", site][end] for end in ("low", "high"))
        return low, high

    def own(self, site: str) -> tuple[np.ndarray, np.ndarray]:
        """Means of a site over each kind's own songs, each [song, dim]."""
        if ("own", site) not in self._read:
            self._keep("own", "low", self.low, site)
            self._keep("own", "high", self.high, site)
        low, high = (self._read["own", site][end] for end in ("low", "high"))
        return low, high

    def _keep(self, how, end, clips, site):
        """Read all sites of a kind at once."""
        glob = _glob(site)
        found = activations.capture(self.model, clips, glob, reduce="mean", progress=False)
        for name in found.data_vars:
            self._read.setdefault((how, str(name)), {})[end] = found[name].values

    def norm(self, site: str) -> float:
        """One unit of strength at a site."""
        if site not in self.norms:
            half = self.high[: max(2, len(self.high) // 2)]
            found = activations.capture(self.model, half, _glob(site), progress=False)
            for name in found.data_vars:
                values = found[name].values.reshape(-1, found[name].shape[-1])
                self.norms[str(name)] = vectors.norm(values[~np.isnan(values).any(1)])
        return self.norms[site]


def _glob(site):
    """All sites of the same kind; single heads of one block, as there are many."""
    kind, _, place = site.partition(".")
    if kind in ("head", "cross_head"):
        return f"{kind}.{place.split('.')[0]}.*"
    return f"{kind}.*" if kind == "cross" else site


def lesson(
    model: Model,
    concept: str,
    n: int = 24,
    *,
    seconds: float = 2.0,
    depth: float = DEPTH,
    language: str = "organism",
    steps: int = 60,
    dictionary=None,
    norms: dict | None = None,
    seed: int = 0,
) -> Lesson:
    """Sing the finding part of a concept.

    Parameters
    ----------
    model : Model
    concept : str
        As for ``tasks.rows``.
    n : int
        Songs of each kind.
    seconds : float
        Of each.
    depth : float
        Where the residual stream is pushed.
    language, seed
        As for ``tasks.rows``.
    steps : int
        Of what is trained.
    dictionary : optional
        A sparse autoencoder of that site; without one, its methods cannot be found.
    norms : dict, optional
        As of :class:`Lesson`.
    """
    table = rows(concept, "find", n, language, seed)
    how = {"seconds": seconds, "seed": list(table["seed"]), "keep": True, "decode": False}
    high, low = (model.generate(list(table[end]), progress=False, **how) for end in ("high", "low"))
    site = activations.at(model, depth)
    norms = {} if norms is None else norms
    return Lesson(model, concept, table, high, low, site, steps, dictionary, seed, norms)


def dictionary(model: Model, depth: float = DEPTH, **changes):
    """A small sparse autoencoder of the site that is pushed, trained once and kept.

    Parameters
    ----------
    model : Model
    depth : float
    **changes
        What differs from :data:`DICTIONARY`.
    """
    recipe = {**DICTIONARY, **changes}
    site = activations.at(model, depth)
    clips, _ = harvest.clips(model, recipe["clips"], seconds=recipe["seconds"])
    acts = activations.capture(model, clips, site, progress=False)[site]
    settings = {name: recipe[name] for name in ("width", "k", "passes")}
    return sae.trained(model, acts, **settings, progress=False)


# ---------------------------------------------------------------------------------------- directions
def _push(given, method, raw, ends, **how) -> Push:
    """A push from directions that have been found, site -> [dim] of any length."""
    vector = vectors.measured(
        given.model,
        raw,
        ends,
        {site: given.norm(site) for site in raw},
        method=method,
        data=given.data,
        positive=list(given.rows["high"]),
        negative=list(given.rows["low"]),
    )
    centre = {site: (low.mean(0) + high.mean(0)) / 2 for site, (low, high) in ends.items()}
    about = {"concept": given.concept, "method": method, "data": given.data}
    return Push(vector, centre=centre, about=about, **how)


def _between(method, site=None, own=False, name=None, **how) -> Callable:
    """A way of finding one direction a site between two groups of rows."""

    def find(given: Lesson) -> Push:
        raw = {}
        ends = {}
        for place in site(given) if site else [given.site]:
            ends[place] = given.own(place) if own else given.paired(place)
            both = np.concatenate(ends[place])
            high = np.repeat([False, True], [len(some) for some in ends[place]])
            raw[place] = between_groups.between(both, high, method, paired=not own, seed=given.seed)
        return _push(given, name or method, raw, ends, **how)

    return find


def _cross(given):
    """What every sublayer adds that reads text."""
    model = given.model
    return [site.name for site in activations.select(model, activations.reading_text(model))]


def _text(given):
    return ["cond"]


def _word(given: Lesson) -> Push:
    """Of the one word's embedding, read in every prompt at the word's own tokens."""
    ends = []
    for end in ("low", "high"):
        prompts = list(given.rows[end])
        clips = given.model.clips(given.high.tokens, prompts, decode=False)
        values = activations.capture(given.model, clips, "cond", progress=False)["cond"].values
        places = [
            given.model.tokens_of(*both)
            for both in zip(prompts, given.rows[f"word_{end}"], strict=True)
        ]
        ends.append(np.stack([row[some].mean(0) for row, some in zip(values, places, strict=True)]))
    raw = {"cond": ends[1].mean(0) - ends[0].mean(0)}
    return _push(given, "word", raw, {"cond": tuple(ends)}, where="word")


def _subspace(given: Lesson) -> Push:
    """The difference of means within what distributed alignment search finds."""
    rng = np.random.default_rng([given.seed, 9])
    parts = [_interchanges(given, n, rng) for n in INTERCHANGES]
    sung = [subspaces.sing(given.model, table, 1.5, given.seed + 50_000) for table in parts]
    how = {"test": sung[1], "steps": given.steps, "seed": given.seed, "progress": False}
    found = subspaces.locate(given.model, sung[0], given.concept, given.site, "das", **how)
    ends = {given.site: given.paired(given.site)}
    both = np.concatenate(ends[given.site])
    high = np.repeat([False, True], len(both) // 2)
    raw = {given.site: between_groups.between(both, high, span=found.basis)}
    return _push(given, "das", raw, ends)


def _interchanges(given, n, rng):
    """Prompts for interchange from the lesson's own: base and source differ in the concept in half
    of them, and always in their sentence.
    """
    made = []
    for i in range(n):
        here, there = (given.rows.iloc[k] for k in rng.choice(len(given.rows), 2, replace=False))
        base = ("low", "high")[(i // 2) % 2]
        source = base if i % 2 else {"low": "high", "high": "low"}[base]
        made.append(
            {
                "base": here[base],
                "source": there[source],
                "counterfactual": here[source],
                "other": there[base],
                "differs": base != source,
            }
        )
    return pd.DataFrame(made)


def _features(count, name) -> Callable:
    """Decoders of so many features that tell best, each as much as it tells."""

    def find(given: Lesson) -> Push:
        if given.dictionary is None:
            raise ValueError(f"{name!r} needs a sparse autoencoder: give the lesson a dictionary.")
        ends = {given.site: given.paired(given.site)}
        both = np.concatenate(given.own(given.site))
        high = np.repeat([False, True], len(both) // 2)
        activity = sae.encode(given.dictionary, torch.as_tensor(both, dtype=torch.float32))
        activity = activity.detach().cpu().numpy()
        chosen = features.distinguishing(activity, high, count)
        told = activity[high][:, chosen].mean(0) - activity[~high][:, chosen].mean(0)
        decoders = given.dictionary.W_dec.detach().cpu().numpy()[chosen]
        return _push(given, name, {given.site: told @ decoders}, ends)

    return find


def _heads(given: Lesson) -> Push:
    """Probes of the self-attention heads that tell best, judged on songs that had no part in fitting
    them, and then fitted to all.
    """
    there = activations.sites(given.model, heads=True)
    names = tuple(site for site in there if site.startswith("head."))
    half = np.arange(len(given.rows)) % 2 == 0
    told = {}
    for site in names:
        low, high = given.own(site)
        rows_of = [np.concatenate([low[part], high[part]]) for part in (half, ~half)]
        kinds = [np.repeat([False, True], part.sum()) for part in (half, ~half)]
        direction = between_groups.between(rows_of[0], kinds[0], "probe")
        told[site] = features.auroc((rows_of[1] @ direction)[:, None], kinds[1])[0]
    best = sorted(names, key=told.get, reverse=True)[: min(HEADS, len(names) - 1)]
    ends = {site: given.own(site) for site in best}
    kinds = np.repeat([False, True], len(given.rows))
    raw = {
        site: between_groups.between(np.concatenate(both), kinds, "probe")
        for site, both in ends.items()
    }
    return _push(given, "heads", raw, ends, any_sites=names)


def _trained(method) -> Callable:
    """A direction of rank one that is trained."""

    def find(given: Lesson) -> Push:
        direction = rank_one.train(
            given.model,
            given.high,
            given.low,
            list(given.rows["neutral"]),
            given.site,
            given.norm(given.site),
            method,
            steps=given.steps,
            seed=given.seed,
        )
        ends = {given.site: given.own(given.site)}
        return _push(given, method, {given.site: direction}, ends)

    return find


def _distilled(given: Lesson) -> Push:
    """As long at each site as it was learned: strength 1 is what was trained."""
    prompts = [given._twice(end) for end in ("neutral", "high", "low")]
    norms = {site: given.norm(site) for site in _cross(given)}
    how = {"steps": given.steps, "seed": given.seed}
    raw = distilling.train(given.model, given.music, *prompts, norms, **how)
    push = _push(given, "distilled", raw, {site: given.paired(site) for site in raw})
    units = {site: vector.astype(float) for site, vector in raw.items()}
    return replace(push, vector=replace(push.vector, units=units))


def _slider(given: Lesson) -> sliders.Slider:
    prompts = [given._twice(end) for end in ("neutral", "high", "low")]
    about = {"concept": given.concept, "method": "slider", "data": given.data}
    how = {"steps": given.steps, "seed": given.seed, "about": about}
    return sliders.train(given.model, given.music, *prompts, **how)


def _words(kind) -> Callable:
    def find(given: Lesson) -> Words:
        said = [list(dict.fromkeys(given.rows[f"word_{end}"])) for end in ("high", "low")]
        about = {"concept": given.concept, "method": kind, "data": given.data}
        return Words(kind, *said, weights=given.model.fingerprint, about=about)

    return find


#: Name -> what finds it in a lesson.
METHODS = {
    "prompt": _words("prompt"),
    "guidance": _words("guidance"),
    "negative": _words("negative"),
    "text": _between("diffmeans", _text, name="text"),
    "word": _word,
    "diffmeans": _between("diffmeans"),
    "songs": _between("diffmeans", own=True, name="songs"),
    "probe": _between("probe"),
    "rfm": _between("rfm"),
    "das": _subspace,
    "feature": _features(1, "feature"),
    "selection": _features(SELECTED, "selection"),
    "cross": _between("diffmeans", _cross, name="cross"),
    "heads": _heads,
    "reft": _trained("reft"),
    "reps": _trained("reps"),
    "distilled": _distilled,
    "slider": _slider,
    "monitored": _between("diffmeans", own=True, name="monitored", monitored=True),
    "random": _between("random"),
    "shuffled": _between("shuffled"),
}
#: Those that push activations: neither words nor weights, and no controls.
PUSHING = tuple(
    name
    for name in METHODS
    if name not in ("prompt", "guidance", "negative", "slider", "random", "shuffled")
)


def find(method: str, given: Lesson) -> Push | Words | sliders.Slider:
    """What steers, by one method.

    Raises
    ------
    ValueError
        An unknown method, a direction that is zero, a method of features without a dictionary.
    """
    check.choice("method", method, METHODS)
    return METHODS[method](given)
