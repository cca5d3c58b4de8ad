"""Linear probes: what can be read out of vectors, beyond words, chance and the probe's own memory.

A probe is a ridge regression (one-hot targets for classes). It is tested on rows that share no group with those it
learned from: no lexical family, no template, no clip. Beside its score stand what it reaches when the labels are permuted over
whole groups (the null), and what it reaches on a control task (Hewitt and Liang 2019: every word gets a random label, so only
memory helps).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from lib import stats

ALPHAS = np.logspace(0, 5, 11)


class Result(NamedTuple):
    """What a probe found.

    Attributes
    ----------
    score : stats.Estimate
        Balanced accuracy on held-out groups, or the correlation of prediction and label for numbers; the interval
        resamples groups.
    p : float
        Permutation p-value: labels permuted over groups within folds, all else the same.
    null : float
        Mean score of the permuted labels (what chance gives).
    control : float
        Score on the control task; nan without groups.
    selectivity : float
        Score minus control, both with the words shared between training and test; nan without groups.
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
        return f"{self.score}, null {self.null:.2f}, p = {self.p:.3g}, selectivity {self.selectivity:.2f}"


def fit(X, y, groups=None, *, n_splits: int = 4, n_permutations: int = 200, seed: int = 0) -> Result:
    """Probe ``X`` for ``y`` with grouped cross-validation.

    Parameters
    ----------
    X : array_like [shape=(n, dim)]
        An array or a DataArray with those dims.
    y : array_like [shape=(n,)]
        Classes (strings, integers, booleans) or numbers (floats).
    groups : array_like [shape=(n,) or (n, k)], or DataFrame, optional
        Test rows share no group of any column with training rows: with columns family and template, both are new to the
        probe. The first column is what labels are permuted over and what the control task memorises. Left out, every
        row is its own group.
    n_splits : int
        Folds a group column.
    n_permutations, seed : int

    Raises
    ------
    ValueError
        Shapes that do not match, NaN, one class only, groups that leave a fold without a class.
    """
    X, y, groups = _check(X, y, groups, n_splits)
    numeric, rng = y.dtype.kind == "f", np.random.default_rng(seed)
    classes = None if numeric else np.unique(y)
    folds, assigned = _folds(y if not numeric else np.zeros(len(y), int), groups, n_splits, rng)
    labels = [y, *(_permuted(y, groups[:, 0], assigned[:, 0], rng) for _ in range(n_permutations))]
    predicted = _predict(X, labels, classes, folds)
    scores = np.array([_score(label, p, classes) for label, p in zip(labels, predicted, strict=True)])
    p = (1 + (scores[1:] >= scores[0] - 1e-12).sum()) / (1 + n_permutations) if n_permutations else np.nan
    control, selectivity = _control(X, y, groups, classes, n_splits, rng)
    estimate = stats.bootstrap_groups(
        lambda rows: _score(y[rows], predicted[0][rows], classes), groups[:, 0], value=scores[0], seed=seed
    )
    return Result(
        estimate, float(p), float(scores[1:].mean()) if n_permutations else np.nan, control, selectivity, predicted[0]
    )


def words(prompts, y, groups=None, **settings) -> Result:
    """The same probe on a bag of the prompts' words: what the words alone give."""
    X = CountVectorizer(token_pattern=r"[^\s,]+", binary=True).fit_transform(list(prompts)).toarray()
    return fit(X.astype(float), y, groups, **settings)


def sweep(acts, y, groups=None, **settings) -> pd.DataFrame:
    """One probe for each site of a Dataset from ``activations.capture`` (averaged over frames or tokens if it has them).

    Returns
    -------
    pd.DataFrame
        Columns site, kind ("resid"), layer (-1 for sites without), and the fields of :class:`Result` but predictions.
    """
    rows = []
    for site in acts:
        X = acts[site]
        X = X.mean([d for d in X.dims if d in ("frame", "token")])
        kind, _, layer = str(site).partition(".")
        found = fit(X, y, groups, **settings)._asdict()
        del found["predictions"]
        rows.append({"site": site, "kind": kind, "layer": int(layer) if layer else -1, **found})
    return pd.DataFrame(rows)


def transfer(X, y, X_new, y_new, groups_new=None, seed: int = 0) -> stats.Estimate:
    """Score on ``X_new`` of a probe that learned from all of ``X``; the interval resamples rows (or groups) of the new set.

    Each set is standardised by itself: a difference of the sets' means is no failure to transfer.
    """
    X, y, _ = _check(X, y, None, 2)
    X_new, y_new, groups = _check(X_new, y_new, groups_new, 2)
    classes = None if y.dtype.kind == "f" else np.unique(y)
    both = np.concatenate([StandardScaler().fit_transform(X), StandardScaler().fit_transform(X_new)])
    train, test = np.arange(len(y)), np.arange(len(y), len(both))
    predicted = _predict(both, [np.concatenate([y, y_new])], classes, [(train, test)])[0][test]
    return stats.bootstrap_groups(lambda rows: _score(y_new[rows], predicted[rows], classes), groups[:, 0], seed=seed)


# ------------------------------------------------------------------------------------------------- details
def _check(X, y, groups, n_splits):
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n, dim). Got {X.shape}: average or select frames first.")
    if y.shape != (len(X),):
        raise ValueError(f"y must hold one label for each of {len(X)} rows. Got shape {y.shape}.")
    if not np.isfinite(X).all():
        raise ValueError(f"X holds NaN or infinite values in {(~np.isfinite(X)).any(1).sum()} rows: drop or fill them.")
    y = y.astype(str) if y.dtype.kind == "O" else y
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("y holds NaN or infinite values.")
    if len(np.unique(y)) < 2:
        raise ValueError(f"y has one value only ({y[:1]}): there is nothing to tell apart.")
    groups = np.arange(len(y))[:, None] if groups is None else np.asarray(groups)
    groups = groups[:, None] if groups.ndim == 1 else groups
    if groups.ndim != 2 or len(groups) != len(y):
        raise ValueError(f"groups must hold one row for each of {len(y)} labels. Got shape {groups.shape}.")
    groups = np.stack([np.unique(column.astype(str), return_inverse=True)[1] for column in groups.T], 1)
    for k, column in enumerate(groups.T):
        if column.max() + 1 < n_splits:
            raise ValueError(
                f"Column {k} of groups has {column.max() + 1} groups; {n_splits} folds need as many or more."
            )
    if y.dtype.kind != "f":
        for label in np.unique(y):
            if len(np.unique(groups[y == label, 0])) < 2:
                raise ValueError(
                    f"All rows of class {label!r} are of one group: no split can test it. Give it a second."
                )
    return X.astype(float), y, groups


def _folds(y, groups, n_splits, rng):
    """(train, test) pairs of row numbers: each row is tested once, by rows that share none of its groups. And each row's
    fold in each column."""
    assigned = []
    for column in groups.T:
        fold = np.full(column.max() + 1, -1)
        for label in np.unique(y):  # the groups of each class are dealt evenly
            new = [g for g in rng.permutation(np.unique(column[y == label])) if fold[g] < 0]
            start = rng.integers(n_splits)
            fold[new] = (start + np.arange(len(new))) % n_splits
        assigned.append(fold[column])
    assigned = np.stack(assigned, 1)
    pairs = []
    for cell in np.unique(assigned, axis=0):
        test, train = np.flatnonzero((assigned == cell).all(1)), np.flatnonzero((assigned != cell).all(1))
        if set(np.unique(y[test])) - set(np.unique(y[train])):
            raise ValueError(
                "These groups leave a fold without some class to learn from: use fewer splits or more groups."
            )
        pairs.append((train, test))
    return pairs, assigned


def _permuted(y, group, fold, rng):
    """Labels permuted over whole groups where each has one label (else over rows), within folds.

    Folds hold every class evenly. Permuting across them would not, and a class rare in training is common in the test:
    scores of such a null lie below chance and make noise look significant.
    """
    first, inverse = np.unique(group, return_index=True, return_inverse=True)[1:]
    if (y[first][inverse] != y).any():
        first, inverse = np.arange(len(y)), np.arange(len(y))
    labels = y[first]
    for f in np.unique(fold):
        here = np.flatnonzero(fold[first] == f)
        labels[here] = labels[rng.permutation(here)]
    return labels[inverse]


def _predict(X, labels, classes, folds):
    """Held-out predictions for every labelling at once: a ridge has as many targets as one likes."""
    columns = [_targets(label, classes) for label in labels]
    width, Y = columns[0].shape[1], np.concatenate(columns, 1)
    out = np.empty_like(Y)
    for train, test in folds:
        scaler = StandardScaler().fit(X[train])
        ridge = RidgeCV(ALPHAS * max(1.0, X.shape[1] / 100), alpha_per_target=True).fit(
            scaler.transform(X[train]), Y[train]
        )
        out[test] = ridge.predict(scaler.transform(X[test])).reshape(len(test), -1)
    parts = np.split(out, out.shape[1] // width, 1)
    return [part[:, 0] if classes is None else classes[part.argmax(1)] for part in parts]


def _targets(y, classes):
    if classes is None:
        return y[:, None]
    hot = (y[:, None] == classes).astype(float)
    return hot / hot.mean(0)  # every class weighs the same, however many rows it has


def _score(y, predicted, classes):
    if classes is None:
        return float(np.corrcoef(y, predicted)[0, 1]) if np.std(predicted) > 0 else 0.0
    return float(np.mean([(predicted[y == c] == c).mean() for c in classes if (y == c).any()]))


def _control(X, y, groups, classes, n_splits, rng):
    """Task and control task where training and test share the words, so that memory can help."""
    if len(np.unique(groups[:, 0])) == len(y):
        return np.nan, np.nan
    rest = groups[:, 1:] if groups.shape[1] > 1 else np.arange(len(y))[:, None]
    kinds = np.zeros(len(y), int) if classes is None else y
    words = groups[:, 0].max() + 1
    given = rng.normal(size=words) if classes is None else rng.permutation(np.resize(classes, words))
    random = given[groups[:, 0]]
    folds, _ = _folds(kinds, rest, n_splits, rng)
    task, control = _predict(X, [y, random], classes, folds)
    control = _score(random, control, classes)
    return control, _score(y, task, classes) - control
