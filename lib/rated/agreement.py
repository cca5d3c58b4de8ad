"""How well predictions of ratings agree with the ratings.

References
----------
Lin 1989, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45, 255-268.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from .. import check, stats

#: Least variance to divide by, so that constant ratings give 0 and no warning.
_LEAST_VARIANCE = 1e-12
#: What to do about missing values.
LEAVE_OUT = "Leave out rows that are not rated, or hold values that are not finite."
#: What others reached on the real sets, by other models, splits and inputs: for the scale of
#: things, not a comparison.
PUBLISHED = pd.read_csv(Path(__file__).with_name("published.csv"))


def ccc(ratings, predicted) -> float:
    """Concordance correlation coefficient (Lin 1989): 1 is agreement; 0 if either is constant."""
    ratings, predicted = _same_shape(ratings, predicted)
    covariance = np.mean((ratings - ratings.mean()) * (predicted - predicted.mean()))
    apart = (ratings.mean() - predicted.mean()) ** 2
    spread = max(ratings.var() + predicted.var() + apart, _LEAST_VARIANCE)
    return float(2 * covariance / spread)


def correlation(ratings, predicted) -> float:
    """Pearson's correlation: level and spread of predictions do not count; 0 if either is
    constant."""
    ratings, predicted = _same_shape(ratings, predicted)
    spread = np.sqrt(ratings.var() * predicted.var())
    covariance = np.mean((ratings - ratings.mean()) * (predicted - predicted.mean()))
    return float(covariance / spread) if spread > _LEAST_VARIANCE else 0.0


def rank_correlation(ratings, predicted) -> float:
    """Spearman's correlation: only the order counts; 0 if either is constant."""
    ratings, predicted = _same_shape(ratings, predicted)
    return correlation(rankdata(ratings), rankdata(predicted))


def r2(ratings, predicted) -> float:
    """Share of the variance that is explained; below 0 where the mean would do better."""
    # by hand: it is resampled thousands of times, and sklearn's r2_score takes 40 times as long
    ratings, predicted = _same_shape(ratings, predicted)
    variation = ((ratings - ratings.mean()) ** 2).sum()
    return float(1 - ((ratings - predicted) ** 2).sum() / max(variation, _LEAST_VARIANCE))


def _same_shape(ratings, predicted):
    ratings = np.asarray(ratings, float)
    predicted = np.asarray(predicted, float)
    if ratings.shape != predicted.shape:
        raise ValueError(
            "ratings and predictions must have one shape. "
            f"Got {ratings.shape} and {predicted.shape}."
        )
    return ratings, predicted


def estimate(
    score: Callable, ratings, predicted, groups, other=None, seed: int = 0
) -> stats.Estimate:
    """A score with an interval that resamples artists.

    Parameters
    ----------
    score : callable
        :func:`ccc`, :func:`correlation`, :func:`rank_correlation` or :func:`r2`.
    ratings, predicted : np.ndarray [shape=(row,)]
    groups : array_like [shape=(row,)]
        Artists.
    other : np.ndarray [shape=(row,)], optional
        Other predictions: then the estimate is of the score above theirs.
    """
    ratings = check.array("ratings", ratings, ("row",))
    predicted = check.array("predicted", predicted, (len(ratings),))
    groups = check.labels("groups", groups, len(ratings))
    if other is not None:
        other = check.array("other", other, (len(ratings),))

    def statistic(rows):
        value = score(ratings[rows], predicted[rows])
        return value if other is None else value - score(ratings[rows], other[rows])

    return stats.bootstrap_groups(statistic, groups, seed=seed)


def over_time(ratings, predicted, song) -> pd.DataFrame:
    """Agreement within each song whose ratings change.

    Parameters
    ----------
    ratings, predicted : array_like [shape=(step,)]
        Half seconds of all songs, in the order of time within each.
    song : array_like [shape=(step,)]

    Returns
    -------
    pd.DataFrame
        song, ccc, r (0 for a flat prediction), and null: mean ccc with the ratings of all other
        such songs.
    """
    ratings = check.array("ratings", ratings, ("step",), remedy=LEAVE_OUT)
    predicted = check.array("predicted", predicted, (len(ratings),), remedy=LEAVE_OUT)
    song = check.labels("song", song, len(ratings))
    parts = {i: (ratings[song == i], predicted[song == i]) for i in np.unique(song)}
    moving = {i: part for i, part in parts.items() if np.ptp(part[0]) > 1e-9}
    rows = []
    for i, (rated, read) in moving.items():
        r = np.corrcoef(rated, read)[0, 1] if np.std(read) > 0 else 0.0
        null = [
            ccc(other[: len(read)], read[: len(other)])
            for j, (other, _) in moving.items()
            if j != i
        ]
        rows.append((i, ccc(rated, read), r, np.mean(null) if null else np.nan))
    return pd.DataFrame(rows, columns=["song", "ccc", "r", "null"])
