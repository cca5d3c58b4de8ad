"""Features that follow a rating, and directions between songs that are rated high and low."""

import numpy as np
import pandas as pd
import scipy.stats

from .. import cache, check, stats
from ..methods import directions
from ..methods.steering import Vector, vectors
from ..musicgen import activations
from ..musicgen.model import Model
from .excerpts import Excerpts, acts, by_song

#: Songs of each part in which a feature must be active.
ACTIVE = 4
#: Excerpts from which a site's mean norm is taken.
NORM_CLIPS = 256
METHODS = ("rated", "shuffled", "random")


def tracking(activity, rating, learned) -> pd.DataFrame:
    """Features that follow a rating, found on one part of the songs and checked on the other.

    Parameters
    ----------
    activity : array_like [shape=(song, feature)]
    rating : array_like [shape=(song,)]
    learned : array_like [shape=(song,)], bool
        Songs to find them on (or their numbers); the rest checks (no artist in both).

    Returns
    -------
    pd.DataFrame
        One row a feature that is active in four songs or more of each part, most tracking first:
        feature; rho (Spearman's), p (corrected by Benjamini and Hochberg); rho_new and p_new on the
        rest (p_new: one-sided, the same sign; corrected by Holm over the features found, 1 for the
        others); found (p < 0.05) and holds (p_new < 0.05).

    Raises
    ------
    TypeError, ValueError
        Values that are not finite, shapes that do not match, ratings that are all the same in one
        part.
    """
    activity = check.array("activity", activity, ("song", "feature"))
    rating = check.array("rating", rating, (len(activity),), remedy="Leave out songs not rated.")
    learned = check.selector("learned", learned, len(activity))
    parts = [(activity[part], rating[part]) for part in (learned, ~learned)]
    if any(len(ratings) == 0 or np.ptp(ratings) == 0 for _, ratings in parts):
        raise ValueError("Ratings are all the same in one part: give more songs.")
    alive = np.flatnonzero(np.all([_changes(values) for values, _ in parts], axis=0))
    found_on, checked_on = (_rank_correlations(values[:, alive], r) for values, r in parts)
    rho, p = found_on
    rho_new, p_two_sided = checked_on
    p = stats.correct(p, "fdr_bh") if len(alive) else p
    found = p < 0.05
    one_sided = np.where(rho * rho_new > 0, p_two_sided / 2, 1 - p_two_sided / 2)
    p_new = np.ones(len(alive))
    if found.any():
        p_new[found] = stats.correct(one_sided[found])
    table = pd.DataFrame(
        {
            "feature": alive,
            "rho": rho,
            "p": p,
            "rho_new": rho_new,
            "p_new": p_new,
            "found": found,
            "holds": p_new < 0.05,
        }
    )
    return table.sort_values("rho", key=np.abs, ascending=False, ignore_index=True)


def _changes(activity):
    """Which features are active in enough songs, and not equally in all."""
    return ((activity > 0).sum(0) >= ACTIVE) & (np.ptp(activity, axis=0) > 0)


def _rank_correlations(activity, rating):
    """Spearman's rho of each feature with the rating, and its two-sided p."""
    found = [scipy.stats.spearmanr(column, rating) for column in activity.T]
    return np.reshape(found, (-1, 2)).T


def direction(
    model: Model, excerpts: Excerpts, site: str, rating, method: str = "rated", seed: int = 0
) -> Vector:
    """The difference of means between the songs rated above and below the median, as ``steering``
    takes it.

    Parameters
    ----------
    site : str
    rating : array_like [shape=(song,)]
    method : str
        "rated"; or a control: "shuffled" (ratings dealt to other songs), "random" (any direction).
    seed : int

    Raises
    ------
    TypeError, ValueError
        Unknown method or site, a rating for each song missing, or all the same.
    """
    rating = _checked_rating(excerpts, rating)
    site = _one_site(model, excerpts, site)
    method = check.choice("method", method, METHODS)
    rng = np.random.default_rng(check.count("seed", seed, 0))
    high = _upper_half(rating)
    means = by_song(excerpts, acts(model, excerpts, site, progress=False)[site])
    if method == "shuffled":
        high = rng.permutation(high)
    between = "random" if method == "random" else "diffmeans"
    found = directions.between(means, high, between, seed=rng)
    some = np.sort(rng.permutation(len(excerpts.clips))[:NORM_CLIPS])
    frames = activations.capture(model, excerpts.clips[some], site, stream="uncond", progress=False)
    numbers = excerpts.songs["song_id"]
    names = [[f"song {number}" for number in numbers[part]] for part in (high, ~high)]
    return vectors.measured(
        model,
        {site: found},
        {site: (means[~high], means[high])},
        {site: vectors.norm(frames[site].values)},
        method=method,
        data=cache.digest(names, excerpts.clips.tokens, model.interventions),
        positive=names[0],
        negative=names[1],
    )


def _upper_half(rating):
    """Which songs are rated above the median; with many at the top, all of these."""
    middle = np.median(rating)
    return rating > middle if middle < rating.max() else rating >= rating.max()


def _checked_rating(excerpts, rating):
    n = len(excerpts.songs)
    remedy = f"It is a rating for each of {n} songs."
    rating = check.array("rating", rating, (n,), remedy=remedy)
    if np.ptp(rating) == 0:
        raise ValueError(f"rating must differ between songs. All {n} are {rating[0]:g}.")
    return rating


def _one_site(model, excerpts, site):
    """The name of a site, read as excerpts are."""
    if model.edits and len(excerpts.clips) > NORM_CLIPS:
        raise ValueError(
            f"Inside an edit, excerpts must be {NORM_CLIPS} at most: some of more would be other "
            f"clips to the edit. Got {len(excerpts.clips)}."
        )
    names = [found.name for found in activations.select(model, site)]
    if len(names) > 1:
        raise ValueError(f"site must be one site. Got {', '.join(names)}.")
    return names[0]
