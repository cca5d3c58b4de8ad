"""The feature explorer: every feature of a sparse autoencoder, to click on and to hear.

The static book holds the features asked for; in JupyterLab, with a kernel, the same page asks for any other. Both run
``explorer.js`` on the same data. Example clips come from one pool that all features share, so that a page stays small.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from lib import show
from lib.live import Live

HERE = Path(__file__).parent
MOST, MIDDLING, LEAST = 4, 2, 2  # clips shown
CANDIDATES = 12  # of the clips that excite a feature most, some should be in the pool
BINS, NEAR = 20, 6


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
        Features -> {feature: {"up": nats, "off": nats, "cues": {cue: Estimate}}}, from ``sae.effects``.
    pool : int
        Number of example clips.
    """

    name, script, style = "explorer", (HERE / "explorer.js").read_text(), (HERE / "explorer.css").read_text()

    def __init__(
        self, s, acts: xr.DataArray, captions, sound: Callable, areas: pd.DataFrame, named: pd.DataFrame, density,
        chosen: list[int], stable=None, effects: Callable | None = None, pool: int = 64,
    ):  # fmt: skip
        if len(captions) != len(acts):
            raise ValueError(f"captions must be one for each of {len(acts)} clips. Got {len(captions)}.")
        if missing := set(chosen) - set(range(len(areas))) or not chosen:
            raise ValueError(f"chosen must name features from 0 to {len(areas) - 1}. Got {missing or 'none'}.")
        self.s, self.areas, self.named, self.effects = s, areas, named, effects or (lambda which: {})
        self.density, self.stable = np.asarray(density), stable
        self.activity, self.peak, self.counts = _profile(s, acts)
        self.pool = _pool(self.activity[:, chosen], min(pool, len(acts)))
        audio, rate = sound(self.pool)
        self.excerpts, self.seconds = acts[self.pool].values.astype(np.float32), audio.shape[1] / rate
        done = self.effects(chosen)
        self.data = {
            "seconds": self.seconds,
            "colors": show.COLORS,
            "sorts": ["how well the label holds", *areas.columns, "density"],
            "labels": sorted({named["label"][f] for f in chosen} - {""}),
            "clips": [
                {
                    "sound": base64.b64encode(show.mp3(a, rate, small=True)).decode(),
                    "picture": show.picture(show.level(a, rate)[::-1, ::4]),
                    "caption": captions[i],
                }
                for a, i in zip(audio, self.pool, strict=True)
            ],
            "features": [self.card(f, done.get(f)) for f in chosen],
            "map": _map(s.W_dec.detach().cpu().numpy()),
        }

    def answer(self, asked: int) -> dict:
        """A feature's card."""
        return self.card(asked)

    def card(self, feature: int, effect: dict | None = None) -> dict:
        """All that is shown of one feature."""
        if effect is None:
            effect = self.effects([feature]).get(feature) if hasattr(self, "data") else None
        label, held_out = self.named.loc[feature, ["label", "held_out"]]
        area = self.areas.loc[feature]
        facts = [f"label on unseen clips: AUROC {held_out:.2f}"] if label else ["no label holds on unseen clips"]
        if self.stable is not None:
            facts.append(f"cosine with its partner in other seeds: {self.stable[feature]:.2f}")
        direction = self.s.W_dec.detach()
        cosine = torch.nn.functional.cosine_similarity(direction, direction[feature], dim=1)
        near = [int(f) for f in cosine.argsort(descending=True)[: NEAR + 1] if f != feature]
        return {
            "id": int(feature),
            "label": str(label),
            "density": float(self.density[feature]),
            "peak": float(self.peak[feature]),
            "facts": facts,
            "histogram": self.counts[feature].tolist(),
            "goes": [[q, round(float(v), 3)] for q, v in area.items()],
            "sorts": [round(float(v), 3) for v in (held_out if label else 0, *area, self.density[feature])],
            "clips": self._examples(feature),
            "near": near,
            "effects": effect
            and {
                "up": effect["up"],
                "off": effect["off"],
                "cues": [[cue, *(round(x, 2) for x in e[:3])] for cue, e in effect["cues"].items()],
            },
        }

    def _examples(self, feature):
        """[number in the pool, activation curve] of the clips that excite a feature most, middling and least."""
        means = self.activity[self.pool, feature]
        order = np.argsort(-means)
        most = [i for i in order[:MOST] if means[i] > 0]
        rest = [i for i in order if i not in most]
        active = [i for i in rest if means[i] > 0]
        middle = len(active) // 2
        middling = active[max(0, middle - 1) : middle - 1 + MIDDLING] if len(active) > MIDDLING else []
        least = [i for i in rest[::-1] if i not in middling][:LEAST]
        return {
            name: [[int(i), self._curve(feature, i)] for i in numbers]
            for name, numbers in (("most", most), ("middling", middling), ("least", least))
        }

    @torch.no_grad()
    def _curve(self, feature, number):
        z = self.s.encode(torch.from_numpy(self.excerpts[number]))[:, feature].numpy()
        level = np.clip(z / max(self.peak[feature], 1e-9), 0, 1)
        return base64.b64encode(np.round(255 * level).astype(np.uint8).tobytes()).decode()


@torch.no_grad()
def _profile(s, acts, block=16):
    """Mean activation [clip, feature], peak [feature] and histogram [feature, bin], in two passes over the clips."""
    means, peak = [], 0.0
    for i in range(0, len(acts), block):
        z = s.encode(torch.from_numpy(np.asarray(acts[i : i + block], np.float32)))
        means.append(z.mean(1).numpy())
        peak = np.maximum(peak, z.amax((0, 1)).numpy())
    counts = np.zeros((len(peak), BINS), int)
    for i in range(0, len(acts), block):
        z = s.encode(torch.from_numpy(np.asarray(acts[i : i + block], np.float32))).flatten(0, 1)
        row, feature = (z > 0).nonzero(as_tuple=True)
        level = (z[row, feature].numpy() / peak[feature] * BINS).astype(int).clip(max=BINS - 1)
        np.add.at(counts, (feature.numpy(), level), 1)
    return np.concatenate(means), peak, counts


def _pool(activity, size):
    """Clips among which most features find some that excite them: greedy cover of each feature's favourites."""
    favourite = np.zeros(activity.shape, bool)
    np.put_along_axis(favourite, np.argsort(-activity, axis=0)[: min(CANDIDATES, len(activity))], True, axis=0)
    favourite &= activity > 0
    wanted, pool = np.full(activity.shape[1], MOST), []
    for _ in range(size):
        gain = (favourite * wanted.clip(min=0)).sum(1) + 1e-6 * activity.mean(1)
        gain[pool] = -1
        pool.append(int(gain.argmax()))
        wanted = wanted - favourite[pool[-1]]
    return np.array(pool)


def _map(directions):
    """UMAP of directions, [feature, (x, y)] in a picture of 400 x 300. To look at, not evidence."""
    import umap

    place = umap.UMAP(n_neighbors=12, min_dist=0.3, metric="cosine", random_state=0, n_jobs=1).fit_transform(directions)
    low, high = np.quantile(place, [0.01, 0.99], axis=0)
    return np.round([8, 8] + [384, 284] * ((place - low) / (high - low + 1e-9)).clip(0, 1), 1).tolist()
