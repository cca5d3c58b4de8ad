"""The feature explorer: every feature of a sparse autoencoder, to click on and to hear.

The static book holds the features asked for. In JupyterLab, with a kernel, the same page asks for
any other. Example clips come from one pool that all features share, so that a page stays small.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.manifold import TSNE

from .. import check
from ..methods import sae
from . import embed
from .audio import level, packed, picture
from .colors import COLORS
from .live import Live

MOST, MIDDLING, LEAST = 4, 2, 2  # clips shown
CANDIDATES = 12  # of the clips that excite a feature most, some should be in the pool
BINS = 20  # of the histogram
NEAR = 6  # features with the most similar directions
NEIGHBOURS = 12  # that each direction of the map keeps near, about
BLOCK = 16  # clips that are encoded at once
THINNED = 4  # of a picture's columns, one in four is drawn


class Explorer(Live):
    """Displays as a widget where a kernel runs, and as plain HTML in the book.

    Parameters
    ----------
    s : sae_lens.SAE or sae.Basis
    acts : xr.DataArray [dims=(clip, frame, dim)]
        Activations of the clips that examples are taken from; read piece by piece.
    captions : list of str
        What is said of each clip.
    sound : callable
        Numbers of clips -> their audio [clip, sample], and its rate.
    areas : pd.DataFrame [feature x question]
        AUROC, from ``features.selectivity``.
    named : pd.DataFrame
        One row a feature, from ``features.name``: label, held_out. An empty label is none.
    density : array_like [shape=(feature,)]
        Share of frames where each is active.
    chosen : list of int
        Features the static page holds.
    stable : array_like, optional
        Cosine with the partner in other seeds.
    effects : callable, optional
        Features -> {feature: {"up": nats, "off": nats, "cues": {cue: Estimate}}}, from
        ``sae.effects``.
    pool : int
        Number of example clips.

    Raises
    ------
    ValueError, TypeError
        Captions that are not one for each clip, a feature that is not there.
    """

    kind = "explorer"
    scripts = (*embed.SOUND, "explorer")

    def __init__(
        self,
        s,
        acts: xr.DataArray,
        captions: Iterable[str],
        sound: Callable,
        areas: pd.DataFrame,
        named: pd.DataFrame,
        density,
        chosen: Iterable[int],
        stable=None,
        effects: Callable | None = None,
        pool: int = 64,
    ):
        captions = check.texts("captions", captions, len(acts))
        chosen = [check.count("chosen feature", f, 0, len(areas) - 1) for f in chosen]
        if not chosen:
            raise ValueError(f"chosen must name features from 0 to {len(areas) - 1}. Got none.")
        self.s = s
        self.areas = areas
        self.named = named
        self.density = np.asarray(density)
        self.stable = stable
        self.effects = effects or (lambda features: {})
        self.directions = s.W_dec.detach().float().cpu()
        self.profile = profile(s, acts)
        size = min(check.count("pool", pool), len(acts))
        self.pool = choose_pool(self.profile.means[:, chosen], size)
        self.excerpts = acts[self.pool].values.astype(np.float32)
        audio, rate = sound(self.pool)
        effects_of_chosen = self.effects(chosen)
        self.data = {
            "colors": COLORS,
            "sorts": ["how well the label holds", *map(str, areas.columns), "density"],
            "labels": sorted({named["label"][f] for f in chosen} - {""}),
            "clips": [
                {
                    **packed(clip, rate),
                    "picture": picture(level(clip, rate)[::-1, ::THINNED]),
                    "caption": captions[i],
                }
                for clip, i in zip(audio, self.pool, strict=True)
            ],
            "features": [self.card(f, effects_of_chosen.get(f)) for f in chosen],
            "map": map_directions(self.directions.numpy()),
        }

    def answer(self, question: int) -> dict:
        """A feature's card, with what it does."""
        feature = check.count("feature", question, 0, len(self.areas) - 1)
        return self.card(feature, self.effects([feature]).get(feature))

    def told(self) -> list[str]:
        """The features with their labels, and the captions of the clips."""
        cards = self.data["features"]
        named = [f"Feature {card['id']}: {card['label'] or 'no label'}" for card in cards]
        return named + [clip["caption"] for clip in self.data["clips"]]

    def card(self, feature: int, effect: dict | None = None) -> dict:
        """All that is shown of one feature.

        Parameters
        ----------
        feature : int
        effect : dict, optional
            What turning it up and switching it off does, as ``effects`` says it.
        """
        label, held_out = self.named.loc[feature, ["label", "held_out"]]
        areas = self.areas.loc[feature]
        order = [held_out if label else 0, *areas, self.density[feature]]
        return {
            "id": int(feature),
            "label": str(label),
            "density": float(self.density[feature]),
            "peak": float(self.profile.peak[feature]),
            "facts": self._facts(feature, label, held_out),
            "histogram": self.profile.counts[feature].tolist(),
            "goes": [[str(question), round(float(area), 3)] for question, area in areas.items()],
            "sorts": [round(float(value), 3) for value in order],
            "clips": self._examples(feature),
            "near": self._near(feature),
            "effects": None if not effect else _shown(effect),
        }

    def _facts(self, feature, label, held_out):
        facts = ["no label holds on unseen clips"]
        if label:
            facts = [f"label on unseen clips: AUROC {held_out:.2f}"]
        if self.stable is not None:
            facts.append(f"cosine with its partner in other seeds: {self.stable[feature]:.2f}")
        return facts

    def _near(self, feature):
        """Features whose directions are most similar."""
        own = self.directions[feature]
        cosine = torch.nn.functional.cosine_similarity(self.directions, own, dim=1)
        order = cosine.argsort(descending=True)[: NEAR + 1]
        return [int(other) for other in order if other != feature]

    def _examples(self, feature):
        """Clips that excite a feature most, middling and least: [number in the pool, curve]."""
        means = self.profile.means[self.pool, feature]
        order = np.argsort(-means)
        most = [i for i in order[:MOST] if means[i] > 0]
        rest = [i for i in order if i not in most]
        active = [i for i in rest if means[i] > 0]
        middling = []
        if len(active) > MIDDLING:
            first = max(0, len(active) // 2 - 1)
            middling = active[first : len(active) // 2 - 1 + MIDDLING]
        least = [i for i in rest[::-1] if i not in middling][:LEAST]
        groups = {"most": most, "middling": middling, "least": least}
        return {
            name: [[int(i), self._curve(feature, i)] for i in numbers]
            for name, numbers in groups.items()
        }

    def _curve(self, feature, number):
        """How active a feature is over a clip, one byte a frame, in base64."""
        frames = _encode(self.s, self.excerpts[number])[:, feature]
        share = np.clip(frames / max(self.profile.peak[feature], 1e-9), 0, 1)
        return base64.b64encode(np.round(255 * share).astype(np.uint8).tobytes()).decode()


def _shown(effect):
    """An effect as the page shows it: cues with their intervals."""
    cues = [
        [cue, *(round(value, 2) for value in estimate[:3])]
        for cue, estimate in effect["cues"].items()
    ]
    return {"up": effect["up"], "off": effect["off"], "cues": cues}


@torch.no_grad()
def _encode(s, acts):
    """Activations of features, from vectors [..., dim]."""
    return sae.encode(s, torch.from_numpy(np.asarray(acts, np.float32))).numpy()


@dataclass(frozen=True)
class Profile:
    """How active features are in some clips.

    Attributes
    ----------
    means : np.ndarray [shape=(clip, feature)]
    peak : np.ndarray [shape=(feature,)]
        Largest activation of a frame.
    counts : np.ndarray [shape=(feature, bin)]
        Frames whose activation is positive, by its share of the peak.
    """

    means: np.ndarray
    peak: np.ndarray
    counts: np.ndarray


def profile(s, acts) -> Profile:
    """How active features are, in two passes over the clips.

    Parameters
    ----------
    s : sae_lens.SAE or sae.Basis
    acts : xr.DataArray or array_like [shape=(clip, frame, dim)]
    """
    means = []
    peak = 0.0
    for start in range(0, len(acts), BLOCK):
        z = _encode(s, acts[start : start + BLOCK])
        means.append(z.mean(1))
        peak = np.maximum(peak, z.max((0, 1)))
    counts = np.zeros((len(peak), BINS), int)
    for start in range(0, len(acts), BLOCK):
        z = _encode(s, acts[start : start + BLOCK]).reshape(-1, len(peak))
        row, feature = (z > 0).nonzero()
        bins = (z[row, feature] / peak[feature] * BINS).astype(int).clip(max=BINS - 1)
        np.add.at(counts, (feature, bins), 1)
    return Profile(np.concatenate(means), peak, counts)


def choose_pool(means: np.ndarray, size: int) -> np.ndarray:
    """Clips among which most features find some that excite them.

    Greedy cover: each clip in turn is the one that is among the favourites of most features that
    still lack some.

    Parameters
    ----------
    means : np.ndarray [shape=(clip, feature)]
    size : int
        How many clips.
    """
    favourite = np.zeros(means.shape, bool)
    best = np.argsort(-means, axis=0)[: min(CANDIDATES, len(means))]
    np.put_along_axis(favourite, best, True, axis=0)
    favourite &= means > 0
    lacking = np.full(means.shape[1], MOST)
    pool = []
    for _ in range(size):
        # among clips that help equally, the one that excites more
        gain = (favourite * lacking.clip(min=0)).sum(1) + 1e-6 * means.mean(1)
        gain[pool] = -1
        pool.append(int(gain.argmax()))
        lacking = lacking - favourite[pool[-1]]
    return np.array(pool)


def map_directions(directions: np.ndarray) -> list[list[float]]:
    """t-SNE of directions, to look at and not as evidence.

    Returns
    -------
    list
        One (x, y) a feature, in a picture of 400 x 300.
    """
    mapper = TSNE(metric="cosine", perplexity=min(NEIGHBOURS, len(directions) - 1), random_state=0)
    places = mapper.fit_transform(np.asarray(directions))
    low, high = np.quantile(places, [0.01, 0.99], axis=0)
    share = ((places - low) / (high - low + 1e-9)).clip(0, 1)
    return np.round([8, 8] + [384, 284] * share, 1).tolist()
