"""The one way to set a chapter up: which models, in which language, and which sparse autoencoder.

>>> from lib.book import chapter
>>> models = chapter.models("organism")
>>> list(models), chapter.language("organism-habit")
(['organism', 'organism-habit', 'organism-decoupled', 'organism-shuffled'], 'organism')

The site of a chapter is ``activations.at(m, depth)``: the block at a relative depth, in a model of
any size. The listeners of a chapter on steering are those of ``steering.Judge``.
"""

import copy
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
import xarray as xr

from .. import cache, check
from ..methods import features, harvest, sae
from ..musicgen import Clips, Model, load
from ..organism import world
from .criteria import UNTRAINED

#: The organisms that stand beside a model where a chapter does not say which, and show what a
#: method's answer is worth: the first model of each world.
ORGANISMS = tuple(world.WORLDS)


def models(model: str, beside: Iterable[str] | None = None) -> dict[str, Model]:
    """The model that the book asks, then those that stand beside it (by default all organisms),
    each once."""
    beside = ORGANISMS if beside is None else beside
    return {name: load(name) for name in dict.fromkeys([model, *beside])}


def language(model: str, spoken: str | None = None) -> str:
    """The language of prompts for a model, as in ``prompts.crossed``: of the organisms' words
    ("organism") or of any words ("natural").

    Parameters
    ----------
    model : str
        Whatever the book asks, organisms beside it are asked in their own language. "untrained"
        has none: it is asked as the model that it was made from.
    spoken : str, optional
        That model.
    """
    name = spoken if model == UNTRAINED and spoken else model
    return "natural" if world.of(name) is None else "organism"


def every(model: str, each: int = 3) -> dict[str, Model]:
    """The model that the book asks, then the models trained on every world.

    Parameters
    ----------
    model : str
    each : int
        At most so many of a world.
    """
    each = check.count("each", each)
    return models(model, [name for known in world.WORLDS for name in world.models(known)[:each]])


def untrained(m: Model, seed: int = 0) -> Model:
    """A model of the same architecture that has learned nothing, called "untrained".

    Every weight tensor keeps its numbers, in random order: all is as in the model, but for what was
    learned.
    """
    generator = torch.Generator().manual_seed(check.count("seed", seed, 0))
    lm = copy.deepcopy(m.lm)
    with torch.no_grad():
        for weight in lm.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return Model(UNTRAINED, lm, m.codec, m.device, m.max_seconds, m.defaults)


# ---------------------------------------------------------------------------- the book's dictionary
@dataclass(frozen=True)
class Recipe:
    """How the book's sparse autoencoders are made: BatchTopK, on a block of the residual stream.

    Attributes
    ----------
    clips : int
        Pieces of music: three quarters to learn from, the others to judge by.
    seconds : float
        Of each.
    width, k : int, int
        Features, and how many are active on average.
    passes : float
        How often each vector is seen.
    seeds : int
        How many are trained; the one whose single features tell the causes best is chosen.
    """

    clips: int = 2000
    seconds: float = 4.0
    width: int = 1024
    k: int = 30
    passes: float = 3
    seeds: int = 3

    def __post_init__(self):
        check.count("clips", self.clips, harvest.FEWEST)
        check.number("seconds", self.seconds, 0, open_low=True)
        check.count("width", self.width, 2)
        check.count("k", self.k, 1, self.width - 1)
        check.number("passes", self.passes, 0, open_low=True)
        check.count("seeds", self.seeds)

    def table(self) -> pd.DataFrame:
        """One row a setting."""
        return pd.DataFrame({"setting": list(asdict(self)), "value": list(asdict(self).values())})


@dataclass(frozen=True)
class Dictionary:
    """A model's sparse autoencoders at one site and all that belongs to them, read when asked for.

    Attributes
    ----------
    model : Model
    site : str
    recipe : Recipe
    """

    model: Model
    site: str
    recipe: Recipe

    @cached_property
    def _music(self):
        return harvest.clips(self.model, self.recipe.clips, seconds=self.recipe.seconds)

    @property
    def clips(self) -> Clips:
        """All clips, without audio: ``model.decode`` the tokens of those to hear."""
        return self._music[0]

    @property
    def labels(self) -> pd.DataFrame:
        """What is known of each clip, as from ``harvest.clips``."""
        return self._music[1]

    @cached_property
    def acts(self) -> xr.Dataset:
        """Activations of the site, its neighbours and the text, as from ``harvest.acts``."""
        return harvest.acts(self.model, self.clips, self.site)

    @property
    def cut(self) -> int:
        """How many clips, the first, are learned from; the others are for judging."""
        return self.recipe.clips * 3 // 4

    @property
    def train(self) -> np.ndarray:
        """Which clips are learned from: bool [clip]."""
        return np.arange(self.recipe.clips) < self.cut

    @property
    def learned(self) -> xr.DataArray:
        """The activations that are learned from [clip, frame, dim]."""
        return self.acts[self.site][: self.cut]

    @cached_property
    def saes(self) -> list:
        """One SAE a seed, the chosen one first."""
        recipe = self.recipe
        trained = [
            sae.trained(self.model, self.learned, recipe.width, recipe.k, recipe.passes, seed)
            for seed in range(recipe.seeds)
        ]
        return [trained[seed] for seed in self._order(trained)]

    @property
    def sae(self):
        """The chosen SAE: what chapters mean by *chapter 10's*."""
        return self.saes[0]

    @property
    def others(self) -> list:
        """Those of the other seeds."""
        return self.saes[1:]

    def stability(self) -> np.ndarray:
        """Cosine of each feature with its partner in the seed that finds it least, [feature]."""
        check.count("seeds", self.recipe.seeds, 2)
        ours, *others = [s.W_dec.detach().cpu().numpy() for s in self.saes]
        return np.min([features.matched(ours, other) for other in others], axis=0)

    def _order(self, trained):
        """The seeds, best first: chosen once, as it takes a look at all that was learned from."""
        if len(trained) == 1:
            return [0]
        labels = self.labels[: self.cut]

        def compute():
            ordered = sae.best_first(trained, self.learned, labels)
            return [next(i for i, s in enumerate(trained) if s is best) for best in ordered]

        what = {
            "saes": [s.state_dict() for s in trained],
            "content": [s.cfg.metadata.training["content"] for s in trained],
            "labels": labels,
            "code": cache.code(sae.best_first, sae.activity, features),
        }
        return cache.keep("saes/order", what, compute, ".json")


def dictionary(model: Model, site: str, **changes) -> Dictionary:
    """The sparse autoencoder of chapter 10, which all chapters share.

    It is trained once and kept on disk, named by the model's weights, the recipe and the code, so
    that chapters 10, 11, 12, 21, 30 and 40 read the same one.

    Parameters
    ----------
    model : Model
    site : str
        ``activations.at(model, depth)``.
    **changes
        What differs from :class:`Recipe`.

    Raises
    ------
    TypeError, ValueError
        A setting that the recipe does not have, or that makes no sense.
    """
    return Dictionary(model, site, Recipe(**changes))
