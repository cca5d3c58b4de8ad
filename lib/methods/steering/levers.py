"""Levers: all that steers, behind one interface, whatever it changes.

A lever says what becomes of some prompts at a strength (:meth:`steer`): other prompts, other
settings, something added at sites of the model, or weights that are changed for as long as it sings.
At strength 0 all of them sing what is sung without them, to the bit. Each has its **matched
control** (:meth:`anywhere`): everything as it is, but what was learned is drawn anew.

- :class:`Push`: directions that are added at sites: residual streams, what cross-attention or single
  heads add, the text's embeddings or those of one word.
- :class:`Words`: prompts, stronger guidance towards them, and a negative prompt. They learn nothing;
  their control says any other word.
- ``sliders.Slider``: an adapter of the weights.

A lever is kept with its card (what it was made from, for which model) in one safetensors file, and
is refused by every other model (``keeping``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ... import cache, check
from ...musicgen import activations
from ...musicgen.model import Model
from .applying import monitor, pushes
from .tasks import Task, words
from .vectors import Vector, anywhere, check_vector

#: Kinds of words.
KINDS = ("prompt", "guidance", "negative")
#: Words that a negative prompt says together.
TOGETHER = 4


@dataclass(frozen=True)
class Steered:
    """What a lever makes of some rows.

    Attributes
    ----------
    prompts : list of str
    adds : dict
        Site -> what is added, [clip, dim], or of a text's site [clip, token, dim].
    gates : dict
        Site -> what is added where a monitor asks for it (``applying.monitor``).
    settings : dict
        Of ``model.generate``: cfg and negative.
    weights : tuple or None
        A slider and its strength.
    """

    prompts: list[str]
    adds: dict[str, np.ndarray] = field(default_factory=dict)
    gates: dict[str, tuple] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    weights: tuple | None = None

    def row(self, place: int) -> "Steered":
        """The same of one row."""
        adds = {site: values[place : place + 1] for site, values in self.adds.items()}
        return replace(self, prompts=self.prompts[place : place + 1], adds=adds)


@dataclass(frozen=True)
class Push:
    """Directions that are added at sites.

    Attributes
    ----------
    vector : Vector
        Strength 1 is its norm at every site, shared by all of them; negative strengths lead away.
    where : "stream", "word"
        Of a text's site: at every token, or at those of the word in the concept's place.
    monitored : bool
        Strength follows a probe step by step, see ``steering.edits``.
    centre : dict
        Site -> mean of both kinds, [dim]: where a control's direction has its middle.
    any_sites : tuple of str
        Sites that a control draws its own from, as many as there are; empty for the same ones.
    about : dict
        Its card.
    """

    vector: Vector
    where: str = "stream"
    monitored: bool = False
    centre: dict = field(default_factory=dict)
    any_sites: tuple[str, ...] = ()
    about: dict = field(default_factory=dict)

    def __post_init__(self):
        check.choice("where", self.where, ("stream", "word"))

    @property
    def family(self) -> str:
        """Pushes of one family and strength have the same matched control."""
        units = self.vector.units
        sites = self.any_sites or sorted(units)
        lengths = [f"{np.linalg.norm(units[site]):.3g}" for site in sorted(units)]
        norms = sorted(f"{norm:.6g}" for norm in self.vector.norms.values())
        # a control keeps the gate of the lever that it stands beside
        gate = cache.digest(self.vector.gaps, self.centre) if self.monitored else ""
        return " ".join((*sites, *lengths, *norms, self.where, gate))

    def steer(self, model: Model, task: Task, rows: pd.DataFrame, strength: float) -> Steered:
        """The prompts of the task, with the direction added (or taken off, to suppress)."""
        prompts = list(rows[task.start])
        strength = task.sign * check.number("strength", strength)
        if strength == 0:
            return Steered(prompts)
        if self.monitored:
            sites = self.vector.units
            return Steered(prompts, gates={s: monitor(self.vector, s, strength) for s in sites})
        there = activations.sites(model, heads=True)
        adds = {}
        for site, push in pushes(self.vector).items():
            if there[site].axis == "frame":
                adds[site] = np.tile(strength * push, (len(rows), 1))
            else:
                places = self._tokens(model, prompts, rows[f"word_{task.start}"])
                adds[site] = strength * places[..., None] * push
        return Steered(prompts, adds)

    def _tokens(self, model, prompts, said):
        """Which tokens of each prompt are meant, [clip, token]; all, of a prompt without a word."""
        lengths = model.text_lengths(prompts)
        found = np.zeros((len(prompts), max(lengths)))
        for i, (prompt, word) in enumerate(zip(prompts, said, strict=True)):
            places = model.tokens_of(prompt, word) if self.where == "word" and word else []
            found[i, places or slice(lengths[i])] = 1
        return found

    def anywhere(self, seed: int) -> "Push":
        """The same with directions that are drawn evenly from all, and sites where these, too, were
        found.
        """
        (drawn,) = anywhere(self.vector, 1, seed)
        if self.any_sites:
            drawn = _at_other_sites(drawn, self.any_sites, seed)
        if self.monitored:
            middles = {site: self.centre[site] @ unit for site, unit in drawn.units.items()}
            drawn = replace(drawn, gaps=self.vector.gaps, middles=middles)
        return replace(self, vector=drawn)

    def detect(self, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """How much of the direction songs hold, [clip], from means over their frames or tokens.

        Parameters
        ----------
        found : mapping
            Site -> [clip, dim].
        """
        vector = self.vector
        along = [found[site] @ unit / vector.norms[site] for site, unit in vector.units.items()]
        return np.mean(along, 0)

    def check(self, model: Model) -> None:
        """Refuse another model, and a direction that points nowhere.

        Raises
        ------
        ValueError, TypeError
        """
        check_vector(model, self.vector)


def _at_other_sites(vector, sites, seed):
    """A vector's parts dealt to sites at random."""
    rng = np.random.default_rng([seed, 6])
    own = list(vector.units)
    chosen = [str(site) for site in rng.choice(sites, len(own), replace=False)]

    def moved(values):
        return {new: values[old] for old, new in zip(own, chosen, strict=True)}

    parts = {name: moved(getattr(vector, name)) for name in ("units", "norms", "gaps", "middles")}
    return replace(vector, **parts)


@dataclass(frozen=True)
class Words:
    """Words instead of directions.

    Attributes
    ----------
    kind : str
        "prompt": the prompt asks for what is wanted, from strength 0 (exclusive) on. "guidance":
        the same, and the coefficient of guidance, less one, is ``strength`` times the model's own.
        "negative": the prompt is as it was, and guidance leads away from a negative prompt with
        that coefficient.
    high, low : list of str
        Words that a negative prompt may say (of the finding part): to suppress the concept, and to
        induce it.
    weights : str
        The model itself: ``Model.fingerprint``.
    anything : bool
        Whether it is a control, which says any word.
    about : dict
        Its card.
    """

    kind: str
    high: tuple[str, ...]
    low: tuple[str, ...]
    weights: str
    anything: bool = False
    about: dict = field(default_factory=dict)

    def __post_init__(self):
        check.choice("kind", self.kind, KINDS)
        object.__setattr__(self, "high", tuple(check.texts("high", self.high)))
        object.__setattr__(self, "low", tuple(check.texts("low", self.low)))

    @property
    def family(self) -> str:
        """As of :class:`Push`."""
        return self.kind

    def steer(self, model: Model, task: Task, rows: pd.DataFrame, strength: float) -> Steered:
        """Prompts that ask for what is wanted, or lead away from the contrary."""
        strength = check.number("strength", strength, 0)
        if strength == 0:
            return Steered(list(rows[task.start]))
        asked = "any" if self.anything else task.asked
        if self.kind == "prompt":
            return Steered(list(rows[asked]))
        cfg = {"cfg": 1 + strength * (model.defaults["cfg"] - 1)}
        if self.kind == "guidance":
            return Steered(list(rows[asked]), settings=cfg)
        away = self.low if task.aim == "induce" or self.anything else self.high
        text = f"{', '.join(away[:TOGETHER])} music"
        return Steered(list(rows[task.start]), settings={**cfg, "negative": text})

    def anywhere(self, seed: int) -> "Words":
        """The same with any words: those of the rows, or of any other concept."""
        rng = np.random.default_rng([check.count("seed", seed, 0), 7])
        return replace(self, low=tuple(rng.permutation(_anything())), anything=True)

    def check(self, model: Model) -> None:
        """Refuse another model.

        Raises
        ------
        ValueError
        """
        check_weights(f"The {self.kind}", self.weights, model)


def _anything():
    """Words of the finding part for anything."""
    names = ("happy", "energetic", "tense", "sad", "calm", "tempo", "dynamics", "register")
    return [word for name in names for word in words(name, "find")[0]]


def check_weights(what: str, weights: str, model: Model, now: str | None = None) -> None:
    """Refuse what was made for another model.

    Parameters
    ----------
    now : str, optional
        The model's fingerprint, where it is known without what changes it just now.

    Raises
    ------
    ValueError
    """
    now = now or model.fingerprint
    if weights != now:
        raise ValueError(
            f"{what} was made for the model {weights}, not for {model.name} ({now}): find it anew."
        )
