"""Linear probes: what can be read out of vectors, beyond words, chance and the probe's own memory.

A probe is a ridge regression (one-hot targets for classes). It is tested on rows that share no
group with those it learned from: no lexical family, no template, no clip. Beside its score stand
what it reaches when the labels are permuted over whole groups (the null), and what it reaches on a
control task (Hewitt and Liang 2019: every word gets a random label, so only memory helps).

A ridge has as many targets as one likes, so all permuted labellings are fitted together. That is
why the null is drawn here and not by ``scipy.stats.permutation_test``, which would fit each of them
anew, and why scores are plain numpy: scikit-learn's ``balanced_accuracy_score`` gives the same
number in 25 times the time, and a probe needs some 1,200 of them.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from .. import check, stats

#: Penalties tried, for up to 100 dimensions; they grow in proportion beyond.
ALPHAS = np.logspace(0, 5, 11)


class Result(NamedTuple):
    """What a probe found.

    Attributes
    ----------
    score : stats.Estimate
        Balanced accuracy on held-out groups, or the correlation of prediction and label for
        numbers; the interval resamples groups.
    p : float
        Permutation p-value: labels permuted over groups within folds, all else the same.
    null : float
        Mean score of the permuted labels (what chance gives).
    control : float
        Score on the control task; NaN without groups.
    selectivity : float
        Score minus control, both with the words shared between training and test; NaN without
        groups.
    predictions : np.ndarray [shape=(n,)]
        Each row's prediction by a probe that saw none of its groups.
    """

    score: stats.Estimate
    p: float
    null: float
    control: float
    selectivity: float
    predictions: np.ndarray

    def __str__(self):
        return (
            f"{self.score}, null {self.null:.2f}, p = {self.p:.3g}, "
            f"selectivity {self.selectivity:.2f}"
        )


# ------------------------------------------------------------------------------------------ probing
def fit(
    X, y, groups=None, *, n_splits: int = 4, n_permutations: int = 200, seed: int = 0
) -> Result:
    """Probe ``X`` for ``y`` with grouped cross-validation.

    Parameters
    ----------
    X : array_like [shape=(n, dim)]
        An array or a DataArray with those dims.
    y : array_like [shape=(n,)]
        Classes (strings, integers, booleans) or numbers (floats). A missing label (None, NaN, "")
        is no class: it is refused, with the rows it is in.
    groups : array_like [shape=(n,) or (n, k)], or DataFrame, optional
        Test rows share no group of any column with training rows: with columns family and template,
        both are new to the probe. The first column is what labels are permuted over and what the
        control task memorises. Left out, every row is its own group.
    n_splits : int
        Folds a group column.
    n_permutations, seed : int

    Raises
    ------
    ValueError
        Shapes that do not match, NaN, missing labels or groups, one class only, groups that leave a
        fold without a class.
    """
    n_splits = check.count("n_splits", n_splits, 2)
    n_permutations = check.count("n_permutations", n_permutations, 0)
    X, y, groups = _check(X, y, groups, n_splits)
    classes = _classes(y)
    rng = np.random.default_rng(seed)
    folds, assigned = _folds(_kinds(y), groups, n_splits, rng)
    labellings = [y]
    for _ in range(n_permutations):
        labellings.append(_permuted(y, groups[:, 0], assigned[:, 0], rng))
    predictions = _predict(X, labellings, classes, folds)
    scores = np.array(
        [_score(*pair, classes) for pair in zip(labellings, predictions, strict=True)]
    )
    control, selectivity = _control(X, y, groups, classes, n_splits, rng)
    predicted = predictions[0]
    score = _scorer(y, predicted, classes)
    estimate = stats.bootstrap_groups(score, groups[:, 0], value=scores[0], seed=seed)
    p, null = _against_null(scores[0], scores[1:])
    return Result(estimate, p, null, control, selectivity, predicted)


def words(prompts, y, groups=None, **settings) -> Result:
    """The same probe on a bag of the prompts' words: what the words alone give."""
    prompts = check.texts("prompts", prompts)
    counter = CountVectorizer(token_pattern=r"[^\s,]+", binary=True)
    X = counter.fit_transform(prompts).toarray()
    return fit(X.astype(float), y, groups, **settings)


def sweep(acts: xr.Dataset, y, groups=None, **settings) -> pd.DataFrame:
    """One probe for each site of a Dataset from ``activations.capture`` (averaged over frames or
    tokens if it has them).

    Returns
    -------
    pd.DataFrame
        Columns site, kind ("resid"), layer (-1 for sites without), and the fields of
        :class:`Result` but predictions.
    """
    rows = []
    for site in acts:
        X = acts[site]
        X = X.mean([dim for dim in X.dims if dim in ("frame", "token")])
        kind, _, layer = str(site).partition(".")
        found = fit(X, y, groups, **settings)._asdict()
        del found["predictions"]
        rows.append({"site": site, "kind": kind, "layer": int(layer) if layer else -1, **found})
    return pd.DataFrame(rows)


def transfer(X, y, X_new, y_new, groups_new=None, seed: int = 0) -> stats.Estimate:
    """Score on ``X_new`` of a probe that learned from all of ``X``; the interval resamples rows (or
    groups) of the new set.

    Each set is standardised by itself: a difference of the sets' means is no failure to transfer.
    """
    X, y, _ = _check(X, y, None, 2)
    X_new, y_new, groups = _check(X_new, y_new, groups_new, 2)
    classes = _classes(y)
    both = np.concatenate([StandardScaler().fit_transform(part) for part in (X, X_new)])
    train = np.arange(len(y))
    test = np.arange(len(y), len(both))
    predicted = _predict(both, [np.concatenate([y, y_new])], classes, [(train, test)])[0][test]
    return stats.bootstrap_groups(_scorer(y_new, predicted, classes), groups[:, 0], seed=seed)


# -------------------------------------------------------------------------------------------- input
def _check(X, y, groups, n_splits):
    """X float64 [row, dim], y [row], and the number of each row's group in every column [row,
    column]."""
    X = np.asarray(X)
    X = check.array(
        "X",
        X.astype(float) if X.dtype.kind == "b" else X,
        ("row", "dim"),
        remedy="Average or select frames first, and drop or fill rows that hold missing values.",
    )
    y = check.labels("y", y.values if isinstance(y, xr.DataArray) else y, len(X))
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("y holds infinite values.")
    if len(np.unique(y)) < 2:
        raise ValueError(f"y has one value only ({y[0]!r}): there is nothing to tell apart.")
    groups = _check_groups(groups, y, n_splits)
    return X.astype(float), y, groups


def _check_groups(groups, y, n_splits):
    if groups is None:
        groups = np.arange(len(y))
    groups = pd.DataFrame(groups.values if isinstance(groups, xr.DataArray) else groups)
    if len(groups) != len(y):
        raise ValueError(
            f"groups must hold one row for each of {len(y)} labels. Got shape {groups.shape}."
        )
    numbers = []
    for name in groups:
        column = check.labels(f"groups[{name!r}]", groups[name])
        numbers.append(np.unique(column.astype(str), return_inverse=True)[1])
        count = numbers[-1].max() + 1
        if count < n_splits:
            raise ValueError(
                f"Column {name!r} of groups has {count} groups; "
                f"{n_splits} folds need as many or more."
            )
    if y.dtype.kind != "f":
        for label in np.unique(y):
            if len(np.unique(numbers[0][y == label])) < 2:
                raise ValueError(
                    f"All rows of class {label!r} are of one group: no split can test it. "
                    "Give it a second."
                )
    return np.stack(numbers, 1)


def _classes(y):
    """The classes of labels; None where they are numbers."""
    return None if y.dtype.kind == "f" else np.unique(y)


def _kinds(y):
    """What folds are balanced over: classes, or nothing."""
    return np.zeros(len(y), int) if y.dtype.kind == "f" else y


# ---------------------------------------------------------------------------------- folds and nulls
def _folds(kinds, groups, n_splits, rng):
    """How rows are split so that no test row shares a group with its training rows.

    Returns
    -------
    pairs : list of (train, test)
        Row numbers; each row is tested once.
    assigned : np.ndarray [shape=(row, column)]
        Each row's fold in each column.
    """
    assigned = np.stack([_dealt(kinds, column, n_splits, rng) for column in groups.T], 1)
    pairs = []
    for cell in np.unique(assigned, axis=0):
        test = np.flatnonzero((assigned == cell).all(1))
        train = np.flatnonzero((assigned != cell).all(1))
        if set(np.unique(kinds[test])) - set(np.unique(kinds[train])):
            raise ValueError(
                "These groups leave a fold without some class to learn from: "
                "use fewer splits or more groups."
            )
        pairs.append((train, test))
    return pairs, assigned


def _dealt(kinds, column, n_splits, rng):
    """Each row's fold: the groups of each class are dealt evenly."""
    fold = np.full(column.max() + 1, -1)
    for kind in np.unique(kinds):
        mixed = rng.permutation(np.unique(column[kinds == kind]))
        new = [group for group in mixed if fold[group] < 0]
        start = rng.integers(n_splits)
        fold[new] = (start + np.arange(len(new))) % n_splits
    return fold[column]


def _permuted(y, group, fold, rng):
    """Labels permuted over whole groups where each has one label (else over rows), within folds.

    Folds hold every class evenly. Permuting across them would not, and a class rare in training is
    common in the test: scores of such a null lie below chance and make noise look significant.
    """
    first, inverse = np.unique(group, return_index=True, return_inverse=True)[1:]
    if (y[first][inverse] != y).any():
        first = np.arange(len(y))
        inverse = np.arange(len(y))
    labels = y[first]
    for f in np.unique(fold):
        inside = np.flatnonzero(fold[first] == f)
        labels[inside] = labels[rng.permutation(inside)]
    return labels[inverse]


def _against_null(score, null):
    """Permutation p-value of a score, and the mean of the null."""
    if not len(null):
        return np.nan, np.nan
    at_least = (null >= score - 1e-12).sum()
    return float((1 + at_least) / (1 + len(null))), float(null.mean())


# ---------------------------------------------------------------------------------------- the ridge
def _predict(X, labellings, classes, folds):
    """Held-out predictions for every labelling at once."""
    targets = [_targets(labels, classes) for labels in labellings]
    width = targets[0].shape[1]
    Y = np.concatenate(targets, 1)
    out = np.empty_like(Y)
    alphas = ALPHAS * max(1.0, X.shape[1] / 100)
    for train, test in folds:
        scaler = StandardScaler().fit(X[train])
        ridge = RidgeCV(alphas, alpha_per_target=True).fit(scaler.transform(X[train]), Y[train])
        out[test] = ridge.predict(scaler.transform(X[test])).reshape(len(test), -1)
    parts = np.split(out, out.shape[1] // width, 1)
    if classes is None:
        return [part[:, 0] for part in parts]
    return [classes[part.argmax(1)] for part in parts]


def _targets(y, classes):
    """What the ridge predicts, [row, class]; every class weighs the same, however many rows it
    has."""
    if classes is None:
        return y[:, None]
    hot = (y[:, None] == classes).astype(float)
    return hot / hot.mean(0)


def _score(y, predicted, classes):
    """Balanced accuracy, or the correlation of numbers (0 for a flat prediction)."""
    return _scorer(y, predicted, classes)(slice(None))


def _scorer(y, predicted, classes):
    """A function from row numbers to their score, quick enough for a bootstrap."""
    if classes is None:
        return lambda rows: _correlation(y[rows], predicted[rows])
    of_class = (y[:, None] == classes).astype(float)
    right = of_class * (predicted == y)[:, None]

    def balanced_accuracy(rows):
        n = of_class[rows].sum(0)
        return float((right[rows].sum(0)[n > 0] / n[n > 0]).mean())

    return balanced_accuracy


def _correlation(y, predicted):
    return float(np.corrcoef(y, predicted)[0, 1]) if np.std(predicted) > 0 else 0.0


def _control(X, y, groups, classes, n_splits, rng):
    """Score on the control task, and how much better the task itself is learned.

    Both where training and test share the words, so that memory can help.
    """
    if len(np.unique(groups[:, 0])) == len(y):
        return np.nan, np.nan
    rest = groups[:, 1:] if groups.shape[1] > 1 else np.arange(len(y))[:, None]
    n_words = groups[:, 0].max() + 1
    if classes is None:
        given = rng.normal(size=n_words)
    else:
        given = rng.permutation(np.resize(classes, n_words))
    random = given[groups[:, 0]]
    folds, _ = _folds(_kinds(y), rest, n_splits, rng)
    task, control = _predict(X, [y, random], classes, folds)
    control_score = _score(random, control, classes)
    return control_score, _score(y, task, classes) - control_score
