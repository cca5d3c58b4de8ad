"""How well ratings are predicted, for artists that nothing was learned from: of the same set, or of
another.

Ridge regression, whose strength, and where several inputs compete also which input, are chosen on
the training folds alone. What is right by chance is known from ratings that were dealt to other
songs, artists whole.

References
----------
Castellon, Donahue and Liang 2021, Codified audio language modeling learns useful representations
for music information retrieval, ISMIR. Winkler et al. 2015, Multi-level block permutation,
NeuroImage 123, 253-268.
"""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from .. import check, stats
from .agreement import LEAVE_OUT, ccc, correlation, estimate, r2
from .labels import AXES

#: Strengths of ridge regression to choose from.
ALPHAS = np.logspace(-1, 6, 15)


# -------------------------------------------------------------------------------------- predictions
def held_out(
    inputs: Mapping[str, np.ndarray], ratings, groups, n_splits: int = 5
) -> dict[str, np.ndarray]:
    """Ridge predictions of groups that nothing was learned from.

    Parameters
    ----------
    inputs : mapping
        name -> [row, dim].
    ratings : array_like [shape=(row, target)]
    groups : array_like [shape=(row,)]
        Artists.
    n_splits : int
        Folds; within the training part as many again choose alpha, one for each target.

    Returns
    -------
    dict
        name -> predictions [row, target]; and "chosen": by the input that predicts the training
        part's folds best.

    Raises
    ------
    TypeError, ValueError
        Shapes that do not match, values or groups that are missing, too few groups.
    """
    ratings = check.array("ratings", ratings, ("row", "target"), remedy=LEAVE_OUT).astype(float)
    groups = _group_numbers(groups, len(ratings))
    n_splits = check.count("n_splits", n_splits, 2)
    inputs = {
        name: check.array(
            name,
            values,
            (len(ratings), "dim"),
            remedy=f"It takes a row for each row of ratings. {LEAVE_OUT}",
        )
        for name, values in inputs.items()
    }
    if len(set(groups)) <= n_splits:
        raise ValueError(
            f"{n_splits} folds, and folds in them, need more groups. Got {len(set(groups))}."
        )
    predictions = {name: np.empty_like(ratings) for name in (*inputs, "chosen")}
    for train, test in GroupKFold(n_splits).split(ratings, groups=groups):
        least = np.full(ratings.shape[1], np.inf)
        folds = _inner_folds(train, groups, n_splits)
        for name, values in inputs.items():
            error, found = _fit(values, ratings, train, test, folds)
            predictions[name][test] = found
            better = error < least
            predictions["chosen"][np.ix_(test, better)] = found[:, better]
            least = np.minimum(error, least)
    return predictions


def _inner_folds(train, groups, n_splits):
    """Rows to learn from and to choose by, all of them training rows."""
    n_splits = min(n_splits, len(set(groups[train])))
    folds = GroupKFold(n_splits).split(train, groups=groups[train])
    return [(train[learn], train[choose]) for learn, choose in folds]


def _fit(values, ratings, train, test, folds):
    """Squared error on the inner folds [target], and predictions of the test rows [row, target],
    each target with the alpha that does best on the inner folds."""
    errors = 0
    for learn, choose in folds:
        predicted = _ridges(values[learn], ratings[learn], values[choose])
        errors = errors + ((predicted - ratings[choose]) ** 2).sum(1)
    best = errors.argmin(0)
    targets = np.arange(ratings.shape[1])
    predicted = _ridges(values[train], ratings[train], values[test])
    return errors.min(0), predicted[best, :, targets].T


def _ridges(values, ratings, new):
    """Ridge predictions of new rows for every alpha, [alpha, row, target].

    Inputs are standardised by the training rows. One singular value decomposition serves all alphas
    and all targets, as scikit-learn's RidgeCV does not with folds of one's own.
    """
    mean = values.mean(0)
    scale = np.maximum(values.std(0), 1e-9)
    u, s, v = np.linalg.svd((values - mean) / scale, full_matrices=False)
    left = ((new - mean) / scale) @ v.T
    right = u.T @ (ratings - ratings.mean(0))
    each = [left @ (right * (s / (s**2 + alpha))[:, None]) for alpha in ALPHAS]
    return np.stack(each) + ratings.mean(0)


# ----------------------------------------------------------------------------- what chance would do
def shuffles(groups, n: int, seed: int = 0) -> np.ndarray:
    """Permutations [n, row] that keep artists whole (Winkler et al. 2015).

    Artists with equally many songs change places, and so do the songs of each.
    """
    numbers = _group_numbers(groups)
    n = check.count("n", n, 0)
    rng = np.random.default_rng(check.count("seed", seed, 0))
    members = [np.flatnonzero(numbers == group) for group in np.unique(numbers)]
    orders = np.empty((n, len(numbers)), int)
    for order in orders:
        for size in {len(rows) for rows in members}:
            equal = [rows for rows in members if len(rows) == size]
            for rows, source in zip(equal, rng.permutation(len(equal)), strict=True):
                order[rows] = rng.permutation(equal[source])
    return orders


def _group_numbers(groups, n=None):
    """Groups as numbers, in the order of their names; a missing one is refused."""
    names = check.labels("groups", groups, n).astype(str)
    return np.unique(names, return_inverse=True)[1]


# ------------------------------------------------------------------------------------------- scores
def scores(
    inputs: Mapping[str, np.ndarray],
    ratings,
    groups,
    permutations: int = 1000,
    seed: int = 0,
    n_splits: int = 5,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """How well songs' ratings are predicted from each input, beside shuffled ratings.

    Parameters
    ----------
    inputs : mapping
        name -> [song, dim].
    ratings : array_like [shape=(song, 2)]
        Valence and arousal.
    groups : array_like [shape=(song,)]
        Artists.
    permutations, seed, n_splits : int

    Returns
    -------
    table : pd.DataFrame
        One row an input (and "chosen") and axis: input, axis, r2 and ccc (Estimates; intervals
        resample artists), null (mean ccc of shuffled ratings), p (of ccc, corrected by Holm over
        inputs and axes).
    predictions : dict
        As :func:`held_out` gives them, [song, axis].
    """
    dims = ("song", len(AXES))
    ratings = check.array("ratings", ratings, dims, remedy=LEAVE_OUT).astype(float)
    permutations = check.count("permutations", permutations)
    orders = shuffles(groups, permutations, seed)
    labellings = np.stack([ratings, *(ratings[order] for order in orders)], -1)
    found = held_out(inputs, labellings.reshape(len(ratings), -1), groups, n_splits)
    rows = []
    predictions = {}
    for name, predicted in found.items():
        predicted = predicted.reshape(labellings.shape)  # [song, axis, labelling]
        predictions[name] = predicted[..., 0]
        for a, axis in enumerate(AXES):
            each = [ccc(labellings[:, a, k], predicted[:, a, k]) for k in range(permutations + 1)]
            estimates = [
                estimate(score, ratings[:, a], predicted[:, a, 0], groups, seed=seed)
                for score in (r2, ccc)
            ]
            # the unshuffled ratings are one of the labellings, so that p is never 0
            p = np.mean(np.array(each) >= each[0] - 1e-12)
            rows.append((name, axis, *estimates, np.mean(each[1:]), p))
    table = pd.DataFrame(rows, columns=["input", "axis", "r2", "ccc", "null", "p"])
    return table.assign(p=stats.correct(table["p"])), predictions


# ----------------------------------------------------------------------------------- another set
def transfer(
    inputs: Mapping[str, np.ndarray],
    songs: pd.DataFrame,
    new_inputs: Mapping[str, np.ndarray],
    new_songs: pd.DataFrame,
    permutations: int = 1000,
    seed: int = 0,
    n_splits: int = 5,
) -> pd.DataFrame:
    """How well one set's ratings are predicted by what was learned from another's.

    Everything is learned and chosen on the first set. Songs of the second that are also in the
    first, or whose artist is, are left out with a warning: an artist who is not told cannot be. All
    ratings go from -1 to 1, whatever their published scales; raters of two sets may still use a
    scale differently, which lowers R² and CCC and leaves the correlation as it is.

    Parameters
    ----------
    inputs, new_inputs : mapping
        name -> [song, dim], of either set; the same names.
    songs, new_songs : pd.DataFrame
        ``songs`` of either set's ``Excerpts``: valence, arousal, song, group.
    permutations, seed, n_splits : int

    Returns
    -------
    pd.DataFrame
        One row an input (and "chosen", by the first set's folds) and axis that both sets rate:
        input, axis, songs (tested), r, r2 and ccc (Estimates; intervals resample the second set's
        artists), null (mean ccc of ratings dealt to other songs of the second set), p (of ccc,
        corrected by Holm over rows).

    Raises
    ------
    TypeError, ValueError
        If inputs do not match, a rating is missing, or too few artists are left.
    """
    if set(inputs) != set(new_inputs):
        raise ValueError(
            f"inputs of both sets must have the same names. Got {sorted(inputs)} and "
            f"{sorted(new_inputs)}."
        )
    permutations = check.count("permutations", permutations)
    axes = [axis for axis in AXES if songs[axis].notna().any() and new_songs[axis].notna().any()]
    if not axes:
        raise ValueError("The two sets rate no axis in common: nothing carries over.")
    apart = _apart(songs, new_songs)
    tested = new_songs[apart]
    both = {
        name: np.concatenate([values, np.asarray(new_inputs[name])[apart]])
        for name, values in inputs.items()
    }
    ratings = pd.concat([songs, tested])[axes].to_numpy(float)
    predictions = _carried_over(both, ratings, songs["group"], n_splits)
    groups = tested["group"].to_numpy()
    orders = shuffles(groups, permutations, seed)
    rows = []
    for name, predicted in predictions.items():
        for a, axis in enumerate(axes):
            truth = ratings[len(songs) :, a]
            estimates = [
                estimate(score, truth, predicted[:, a], groups, seed=seed)
                for score in (correlation, r2, ccc)
            ]
            each = np.array([ccc(truth[order], predicted[:, a]) for order in orders])
            # the ratings as they are count as one of the orders, so that p is never 0
            p = (1 + (each >= estimates[-1].value - 1e-12).sum()) / (1 + permutations)
            rows.append((name, axis, len(truth), *estimates, each.mean(), p))
    columns = ["input", "axis", "songs", "r", "r2", "ccc", "null", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p=stats.correct(table["p"]))


def _apart(songs, new_songs):
    """Which songs of the second set are not in the first, nor by its artists; warns of others."""
    apart = ~(new_songs["group"].isin(songs["group"]) | new_songs["song"].isin(songs["song"]))
    if not apart.all():
        warnings.warn(
            f"{(~apart).sum()} of {len(new_songs)} songs of the second set are by artists of the "
            "first, or in it, and left out.",
            stacklevel=3,
        )
    artists = new_songs["group"][apart].nunique()
    if artists < 2:
        raise ValueError(
            f"The second set has songs of {artists} artists that are not in the first: two are "
            "needed."
        )
    return apart.to_numpy()


def _carried_over(inputs, ratings, groups, n_splits):
    """Predictions of all rows that have no group, learned from those that have, [row, target]."""
    ratings = check.array("ratings", ratings, ("song", "axis"), remedy=LEAVE_OUT)
    groups = _group_numbers(groups)
    n_splits = check.count("n_splits", n_splits, 2)
    if len(set(groups)) < 2:
        raise ValueError(f"The first set needs two artists or more. Got {len(set(groups))}.")
    train = np.arange(len(groups))
    test = np.arange(len(groups), len(ratings))
    folds = _inner_folds(train, groups, n_splits)
    predictions = {}
    chosen = np.empty((len(test), ratings.shape[1]))
    least = np.full(ratings.shape[1], np.inf)
    for name, values in inputs.items():
        values = check.array(name, values, (len(ratings), "dim"), remedy=LEAVE_OUT)
        error, predictions[name] = _fit(values, ratings, train, test, folds)
        better = error < least
        chosen[:, better] = predictions[name][:, better]
        least = np.minimum(error, least)
    return {**predictions, "chosen": chosen}
