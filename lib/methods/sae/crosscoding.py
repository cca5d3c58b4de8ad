"""One dictionary for two models: which features do they share, and which has only one?

A *crosscoder* (Lindsey et al. 2024) is a sparse autoencoder of the activations of two models side by
side, at the same block, over the same music. Every feature has one activation and a direction in
each model. Its **relative norm** (:attr:`Crosscoder.relative`) says whose it is: 0 the first
model's alone, 1 the second's alone, 1/2 both's.

That can deceive (Minder et al. 2025). A penalty on the length of directions makes short ones
shorter than they should be, until a feature of both looks like one of one (*complete shrinkage*); or
what a feature stands for is there in the other model, but carried by other features (*decoupling*).
Two things are done about it. The crosscoder is a BatchTopK one, which has no such penalty. And
**latent scaling** (:func:`scaling`) asks the activations themselves: by which factor must a
feature's activation be multiplied to explain what the reconstruction leaves of each model (with the
feature's own part put back), and what is reconstructed? The two models' ratio is near 0 only for a
feature that the other model does not have.

A difference between models may also lie in shared features, which they use differently:
:func:`moved` says how each model moves them, :func:`alike` how much two such changes agree. As
networks that were trained independently differ anyhow, two models that differ in one thing need a
control: two that differ in their seed alone.

sae-lens has no crosscoder, but its BatchTopK SAE on activations side by side is one: a feature
counts for sparsity by the length of both directions together.

References
----------
Lindsey et al. 2024, Sparse crosscoders for cross-layer features and model diffing. Minder et al.
2025, Overcoming sparsity artifacts in crosscoders to interpret chat-tuning.
"""

import importlib.metadata
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from ... import cache, check, stats
from . import batches, keeping, training
from .codes import frames

#: Relative norm up to which, or from 1 minus which, a feature is called one model's alone.
ALONE = 0.1
#: Ratios of latent scaling below which it is (Minder et al. 2025): of errors, of reconstructions.
ERROR = 0.2
RECONSTRUCTION = 0.5
#: Frames in which a feature must be active to be scaled.
LEAST = 30


@dataclass(frozen=True)
class Crosscoder:
    """A dictionary of two models' activations.

    Attributes
    ----------
    s : sae_lens.SAE
        Of both models' activations side by side, each part brought to mean 0 and mean square 1.
    means : list of np.ndarray [shape=(dim,)]
    scales : list of float
        Of each part.
    """

    s: object
    means: list
    scales: list

    def joined(self, *acts: xr.DataArray) -> xr.DataArray:
        """Both models' activations [clip, frame, dim] of the same clips side by side, scaled."""
        acts = _pair(acts)
        parts = [
            (np.asarray(some, np.float32) - mean) / np.float32(scale)
            for some, mean, scale in zip(acts, self.means, self.scales, strict=True)
        ]
        return xr.DataArray(np.concatenate(parts, -1), dims=("clip", "frame", "dim"))

    def codes(self, *acts: xr.DataArray) -> np.ndarray:
        """The activation of every feature, [clip, frame, feature], from both models' activations."""
        return frames(self.s, self.joined(*acts))

    @property
    def directions(self) -> list[np.ndarray]:
        """The features' directions in each model, [feature, dim] each, scaled."""
        return _parts(self.s.W_dec.detach().cpu().numpy(), self.means)

    @property
    def relative(self) -> np.ndarray:
        """The second model's share of the lengths of both directions, [feature], 0 to 1."""
        first, second = (np.linalg.norm(d, axis=1) for d in self.directions)
        return second / np.maximum(first + second, 1e-12)


def train(
    *acts: xr.DataArray,
    width: int = 768,
    k: float = 30,
    passes: float = 6,
    seed: int = 0,
    name: str = "crosscoder",
    progress: bool = True,
    **recipe,
) -> Crosscoder:
    """Train a crosscoder, or find what was trained before.

    Parameters
    ----------
    *acts : xr.DataArray [dims=(clip, frame, dim)]
        Of two models, at the same site, over the same clips.
    width, k, passes, seed, **recipe
        As for ``sae.train``.
    name : str
        Of its folder under ``artifacts/saes``, beside a hash of all that it follows from.
    progress : bool

    Raises
    ------
    ValueError
        Other than two parts, other clips; what ``sae.train`` refuses.
    """
    acts = _pair(acts)
    arrays = [np.asarray(some, np.float32) for some in acts]
    means = [some.mean((0, 1), dtype=float).astype(np.float32) for some in arrays]
    scales = [
        float(np.sqrt(np.mean((some - mean) ** 2, dtype=float)))
        for some, mean in zip(arrays, means, strict=True)
    ]
    if not np.isfinite(scales).all() or not min(scales):
        raise ValueError("acts hold missing or infinite values, or do not vary.")
    empty = Crosscoder(None, means, scales)
    how = {"width": width, "k": k, "passes": passes, "seed": seed, **recipe}
    rows = empty.joined(*acts)
    code = [cache.code(batches, keeping, training), importlib.metadata.version("sae-lens")]
    what = {"rows": rows.values, "recipe": how, "code": code}
    folder = keeping.FOLDER / f"{name}-{cache.digest(what)[:16]}"
    return Crosscoder(training.train(rows, folder=folder, progress=progress, **how), means, scales)


def _pair(acts):
    """Activations of two models, with clips first and vectors last."""
    if len(acts) != 2:
        raise ValueError(f"A crosscoder is of two models. Got activations of {len(acts)}.")
    acts = [batches.vectors(some) for some in acts]
    shapes = [check.shape(some) for some in acts]
    if any(len(shape) != 3 for shape in shapes) or shapes[0][:2] != shapes[1][:2]:
        raise ValueError(
            f"acts must be two arrays [clip, frame, dim] of the same clips and frames. Got {shapes}."
        )
    return acts


def _parts(joined, means):
    return np.split(joined, [len(means[0])], 1)


# -------------------------------------------------------------------------------------- differences
def moved(c: Crosscoder, low: list, high: list) -> list[np.ndarray]:
    """How every feature's activity changes when one model alone reads something else.

    The other model's part stays as it was, so what changes is what one model says of the features
    that both share.

    Parameters
    ----------
    c : Crosscoder
    low, high : list of xr.DataArray [dims=(clip, frame, dim)]
        Of both models, before and after: the same music under two prompts, say.

    Returns
    -------
    list of np.ndarray [shape=(clip, feature)]
        For the first model and for the second: mean over frames, after minus before.
    """
    before = c.codes(*low).mean(1)
    changed = [(high[0], low[1]), (low[0], high[1])]
    return [c.codes(*acts).mean(1) - before for acts in changed]


def alike(one: np.ndarray, other: np.ndarray, n_resamples: int = 500) -> stats.Estimate:
    """Cosine of two mean changes [clip, feature], with an interval over clips (the same of both)."""
    check.array("other", other, np.shape(one))

    def cosine(x, y):
        x = x.mean(-2)
        y = y.mean(-2)
        lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
        return (x * y).sum(-1) / np.maximum(lengths, 1e-12)

    return stats.bootstrap(cosine, one, other, n_resamples=n_resamples, paired=True, many=True)


# ----------------------------------------------------------------------------------- latent scaling
def scaling(c: Crosscoder, *acts: xr.DataArray) -> pd.DataFrame:
    """How strongly each model has every feature, by its activations and not by its directions.

    Minder et al. ask, in both models, for the factor of one direction that best explains a target
    by a feature's activation, because their models share a basis. Networks that were trained
    independently share none, so the direction is left free here: the factor is the length of the
    least-squares direction. Its square is the product of the directions found in two halves of the
    clips, which for a model without the feature is 0 on average (a length is not).

    Parameters
    ----------
    c : Crosscoder
    *acts : xr.DataArray [dims=(clip, frame, dim)]
        Of clips that it did not learn from, four or more.

    Returns
    -------
    pd.DataFrame
        One row a feature: active (frames), relative (norm), error and reconstruction (the factor in
        the model in which the feature is shorter over that in the other, from 0 on; the targets are
        what the reconstruction leaves over, with the feature's own part put back, and what is
        reconstructed; NaN where it is active in fewer than :data:`LEAST` frames of a half), by_norm
        and alone: "first", "second", or "" for both, by the relative norm and after latent scaling.

    Raises
    ------
    ValueError
        Too few clips; what :meth:`Crosscoder.joined` refuses.
    """
    joined = c.joined(*acts).values
    check.count("The number of clips", len(joined), 4)
    halves = [_Sums(c, some) for some in (joined[::2], joined[1::2])]
    found = {
        what: _ratio([half.directions(what) for half in halves], c.relative)
        for what in ("error", "reconstruction")
    }
    active = [half.active for half in halves]
    table = pd.DataFrame({"active": sum(active), "relative": c.relative, **found})
    table.loc[np.minimum(*active) < LEAST, ["error", "reconstruction"]] = np.nan
    return _called(table).rename_axis("feature")


class _Sums:
    """Some clips, as what regressions on the features' activations need."""

    def __init__(self, c, joined):
        x = joined.reshape(-1, joined.shape[-1])
        z = frames(c.s, xr.DataArray(joined)).reshape(len(x), -1)
        self.active = (z > 0).sum(0)
        weights = c.s.W_dec.detach().cpu().numpy()
        again = z @ weights + c.s.b_dec.detach().cpu().numpy()
        centred = z - z.mean(0)
        power = np.maximum((centred**2).sum(0), 1e-12)[:, None]
        of_error = weights + centred.T @ (x - again) / power
        of_reconstruction = centred.T @ again / power
        self.found = {
            "error": _parts(of_error, c.means),
            "reconstruction": _parts(of_reconstruction, c.means),
        }

    def directions(self, what):
        """Least-squares directions in both models, [feature, dim] each."""
        return self.found[what]


def _ratio(halves, relative):
    """Factor in the model in which each feature is shorter over that in the other, [feature]."""
    squares = [(one * other).sum(1) for one, other in zip(*halves, strict=True)]
    first, second = np.sqrt(np.maximum(squares, 0))
    weaker, stronger = (
        np.where(relative < 0.5, *pair) for pair in ((second, first), (first, second))
    )
    return np.where(stronger > 0, weaker / np.maximum(stronger, 1e-12), np.nan)


def _called(table):
    """With whose each feature is called, by its norms and after latent scaling."""
    names = np.select(
        [table["relative"] <= ALONE, table["relative"] >= 1 - ALONE], ["first", "second"], ""
    )
    holds = (table["error"] < ERROR) & (table["reconstruction"] < RECONSTRUCTION)
    return table.assign(by_norm=names, alone=np.where(holds, names, ""))
