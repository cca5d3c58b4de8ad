"""Linear probes: what can be read out of vectors, beyond words, chance and the probe's own memory.

A probe is a ridge regression (one-hot targets for classes). It is tested on rows that share no
group with those it learned from: no lexical family, no template, no clip. Beside its score stand
what it reaches when the labels are permuted over whole groups (the null), and what it reaches on a
control task (Hewitt and Liang 2019: every word gets a random label, so only memory helps).

A ridge has as many targets as one likes, so all permuted labellings are fitted together. That is
why the null is drawn here and not by ``scipy.stats.permutation_test``, which would fit each of them
anew, and why scores are plain numpy: scikit-learn's ``balanced_accuracy_score`` gives the same
number in 25 times the time, and a probe needs some 1,200 of them.

A probe of a model with many blocks may take the best of them only if the rows that it is tested on
had no say in it: :func:`families` chooses the block inside the split, and holds the probe against
others of what needs no block (:func:`static`, :func:`bag`).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from .. import check, stats
from ..musicgen import Model

#: Penalties tried, for up to 100 dimensions; they grow in proportion beyond.
ALPHAS = np.logspace(0, 5, 6)
#: Labellings that a nested probe learns together: all their predictions are kept at once.
TOGETHER = 50


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
    seed = check.count("seed", seed, 0)
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
    return fit(bag(prompts), y, groups, **settings)


def sweep(acts: xr.Dataset, y, groups=None, **settings) -> pd.DataFrame:
    """One probe for each site of a Dataset from ``activations.capture`` (averaged over frames or
    tokens if it has them).

    Returns
    -------
    pd.DataFrame
        Columns site, kind ("resid"), layer (a head's is its block; -1 for sites without), and the
        fields of :class:`Result` but predictions.
    """
    rows = []
    for site in acts:
        kind, layer = _placed(str(site))
        found = fit(_averaged(acts[site]), y, groups, **settings)._asdict()
        del found["predictions"]
        rows.append({"site": site, "kind": kind, "layer": layer, **found})
    return pd.DataFrame(rows)


def _placed(site):
    """A site's kind and block: head.1.2 is of block 1."""
    kind, *numbers = site.split(".")
    return kind, int(numbers[0]) if numbers and numbers[0].isdigit() else -1


def transfer(X, y, X_new, y_new, groups_new=None, seed: int = 0) -> stats.Estimate:
    """Score on ``X_new`` of a probe that learned from all of ``X``; the interval resamples rows (or
    groups) of the new set.

    Each set is standardised by itself: a difference of the sets' means is no failure to transfer.

    Raises
    ------
    ValueError
        As :func:`fit`, for either set; a new set of another width, or of classes that were not
        learned.
    """
    seed = check.count("seed", seed, 0)
    X, y, _ = _check(X, y, None, 2)
    X_new, y_new, groups = _check(X_new, y_new, groups_new, 2)
    if X_new.shape[1] != X.shape[1]:
        raise ValueError(
            f"X_new must be as wide as X: {X.shape[1]}. Got {X_new.shape[1]}. Take the same site."
        )
    _check_learned(y, y_new)
    classes = _classes(y)
    both = np.concatenate([StandardScaler().fit_transform(part) for part in (X, X_new)])
    train = np.arange(len(y))
    test = np.arange(len(y), len(both))
    predicted = _predict(both, [np.concatenate([y, y_new])], classes, [(train, test)])[0][test]
    return stats.bootstrap_groups(_scorer(y_new, predicted, classes), groups[:, 0], seed=seed)


def _check_learned(y, y_new):
    """Refuse labels that a probe of others cannot name."""
    kinds = ["numbers" if some.dtype.kind == "f" else "classes" for some in (y, y_new)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"y holds {kinds[0]} and y_new {kinds[1]}: give both as floats, or both as classes."
        )
    unknown = sorted(set(y_new.tolist()) - set(y.tolist()), key=str)
    if kinds[0] == "classes" and unknown:
        raise ValueError(
            f"y_new must hold classes of y only: {np.unique(y).tolist()[:10]}. Got {unknown[:10]}. "
            "Drop these rows, or write both sets' labels alike."
        )


def _averaged(X):
    """Activations without their frames or tokens."""
    if not isinstance(X, xr.DataArray):
        return X
    return X.mean([dim for dim in X.dims if dim in ("frame", "token")])


# ------------------------------------------------------------------------------ what needs no block
def bag(prompts) -> np.ndarray:
    """Which words each prompt holds: 0 or 1, [prompt, word]."""
    prompts = check.texts("prompts", prompts)
    if not any(prompt.replace(",", " ").strip() for prompt in prompts):
        raise ValueError("prompts hold no word: there is nothing to count.")
    counter = CountVectorizer(token_pattern=r"[^\s,]+", binary=True)
    return counter.fit_transform(prompts).toarray().astype(float)


@torch.no_grad()
def static(m: Model, prompts) -> np.ndarray:
    """What a model knows of words before anything is computed: the text encoder's input embeddings,
    averaged over the tokens of each prompt.

    Parameters
    ----------
    m : Model
    prompts : list of str

    Returns
    -------
    np.ndarray [shape=(prompt, text_dim)], float32
        Zeros for an empty prompt, as cross-attention reads them.
    """
    conditioner = m.lm.condition_provider.conditioners["description"]
    inputs = conditioner.tokenize(check.texts("prompts", prompts))
    own = inputs["attention_mask"][..., None]
    embeddings = conditioner.t5.get_input_embeddings()(inputs["input_ids"]).float()
    mean = (embeddings * own).sum(1) / own.sum(1).clamp(min=1)
    return mean.cpu().numpy()


# ---------------------------------------------------------------------- beyond what needs no block
def families(
    spaces: Mapping, y, groups, *, n_splits: int = 4, repeats: int = 4, seed: int = 0
) -> pd.DataFrame:
    """How much of every family is named rightly, by probes of several spaces on the same folds.

    Of a space with many blocks, the best block is chosen inside the split (nested
    cross-validation): rows that share a fold of any column with the test rows take no part in it.

    Parameters
    ----------
    spaces : mapping
        Name -> array [row, dim], or a mapping of them (a Dataset from ``activations.capture``) of
        which one is chosen; frames and tokens are averaged.
    y : array_like [shape=(row,)]
        Classes.
    groups : DataFrame or array_like [shape=(row,) or (row, k)]
        As for :func:`fit`; the first column holds the families.
    n_splits : int
        Folds a group column.
    repeats : int
        How often the groups are dealt to folds anew; shares are averaged.
    seed : int

    Returns
    -------
    pd.DataFrame
        One row a family, one column a space: shares from 0 to 1.

    Raises
    ------
    ValueError
        As :func:`fit`; numbers for classes; no groups, no space, or one without blocks.
    """
    seed = check.count("seed", seed, 0)
    spaces, y, groups, names = _check_spaces(spaces, y, groups, n_splits)
    rng = np.random.default_rng(seed)
    dealt = [_folds(y, groups, n_splits, rng)[1] for _ in range(check.count("repeats", repeats))]
    right = {name: _right(blocks, y[None], dealt)[0] for name, blocks in spaces.items()}
    return pd.DataFrame(right).groupby(names, sort=False).mean().rename_axis("family")


def permuted_families(
    space, y, groups, n: int = 200, *, n_splits: int = 4, seed: int = 0
) -> np.ndarray:
    """What :func:`families` finds in one space when labels are permuted over families.

    Labels are permuted within folds, as for :func:`fit`, so that many permutations are fitted
    together: every 50 on a dealing of their own. The shares of several dealings cannot be averaged
    here, as labels would be even in the folds of one alone. With folds dealt anew for every
    permutation of `organism`, 0 of 60 passed the rules with four dealings, 1 of 100 with one.

    Parameters
    ----------
    space, y, groups, n_splits, seed
        As for :func:`families`.
    n : int
        Permutations.

    Returns
    -------
    np.ndarray [shape=(permutation, family)]
        Shares, families in the same order.
    """
    n = check.count("n", n)
    seed = check.count("seed", seed, 0)
    spaces, y, groups, names = _check_spaces({"space": space}, y, groups, n_splits)
    rng = np.random.default_rng(seed)
    right = []
    for start in range(0, n, TOGETHER):
        assigned = _folds(y, groups, n_splits, rng)[1]
        labellings = [
            _permuted(y, groups[:, 0], assigned[:, 0], rng) for _ in range(min(TOGETHER, n - start))
        ]
        right.append(_right(spaces["space"], np.array(labellings), [assigned]))
    shares = pd.DataFrame(np.concatenate(right).T)
    return shares.groupby(names, sort=False).mean().to_numpy().T


def excess(shares: pd.DataFrame, chance: float) -> dict[str, np.ndarray]:
    """Chapter 4's criteria, one number a family.

    Parameters
    ----------
    shares : pd.DataFrame
        From :func:`families`: the probe of the blocks first, then the baselines.
    chance : float
        Share that guessing names rightly.

    Returns
    -------
    dict
        "legible": beyond chance. "beyond_words": beyond the baseline with the best mean.
    """
    check.count("The number of spaces", shares.shape[1], 2)
    chance = check.number("chance", chance, 0, 1)
    probe, *baselines = shares
    best = shares[baselines].mean().idxmax()
    return {
        "legible": shares[probe].to_numpy() - chance,
        "beyond_words": (shares[probe] - shares[best]).to_numpy(),
    }


# -------------------------------------------------------------------------------------------- input
def _check_spaces(spaces, y, groups, n_splits):
    """Spaces as lists of arrays [row, dim], classes as numbers, groups, and each row's family."""
    n_splits = check.count("n_splits", n_splits, 2)
    if not len(spaces) or groups is None:
        raise ValueError("Name at least one space, and give the groups: families come first.")
    clean = {}
    for name, space in spaces.items():
        blocks = list(space.values()) if isinstance(space, Mapping) else [space]
        if not blocks:
            raise ValueError(f"Space {name!r} has no block.")
        checked = [_check(_averaged(X), y, groups, n_splits) for X in blocks]
        clean[name] = [X for X, _, _ in checked]
    _, y, numbers = checked[0]
    if y.dtype.kind == "f":
        raise ValueError("y holds numbers: only of classes can a share be named rightly.")
    names = pd.DataFrame(groups).iloc[:, 0].to_numpy()
    return clean, np.unique(y, return_inverse=True)[1], numbers, names


def _check(X, y, groups, n_splits):
    """X float64 [row, dim], y [row], and the number of each row's group in every column [row,
    column]."""
    X = np.asarray(check.untensored(X))
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
    """Labels permuted over whole groups, within folds.

    Folds hold every class evenly. Permuting across them would not, and a class rare in training is
    common in the test: scores of such a null lie below chance and make noise look significant.

    Where labels vary inside groups, groups of one size change places with all their labels, and
    labels are permuted inside each. Permuting all rows instead would let a label that hardly varies
    inside a group count as many units as the group has rows.
    """
    first, inverse = np.unique(group, return_index=True, return_inverse=True)[1:]
    if (y[first][inverse] != y).any():
        return y[_exchanged(inverse, fold, rng)]
    labels = y[first]
    for f in np.unique(fold):
        inside = np.flatnonzero(fold[first] == f)
        labels[inside] = labels[rng.permutation(inside)]
    return labels[inverse]


def _exchanged(group, fold, rng):
    """The row that each row's label comes from: of a group of its size and fold, in any order."""
    alike = {}
    for rows in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
        alike.setdefault((fold[rows[0]], len(rows)), []).append(rows)
    source = np.empty(len(group), int)
    for blocks in alike.values():
        for rows, k in zip(blocks, rng.permutation(len(blocks)), strict=True):
            source[rows] = rng.permutation(blocks[k])
    return source


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


def _right(blocks, labellings, dealt):
    """How often every row is named rightly by nested probes, over all dealings [labelling, row]."""
    # such small fits take ten times as long where several threads wait for one another
    with threadpool_limits(1):
        return np.mean([_nested(blocks, labellings, some) == labellings for some in dealt], axis=0)


def _nested(blocks, labellings, assigned):
    """Held-out predictions for every labelling [labelling, row], by the block that is best for it
    inside the split.

    A test cell is a fold of each column. Its block is chosen by how well it names the other cells
    that share no fold with it, each by a probe of rows that share no fold with either.
    """
    cells = np.unique(assigned, axis=0)
    classes = np.unique(labellings)
    rows = np.arange(len(assigned))
    known = {}

    def predicted(*excluded):
        """By every block, [block, labelling, row], for rows that the probe did not learn from."""
        train = rows[np.all([(assigned != cell).all(1) for cell in excluded], axis=0)]
        # two pairs of cells with the same folds leave out the same rows
        if train.tobytes() not in known:
            fold = (train, np.setdiff1d(rows, train))
            found = [_predict(X, list(labellings), classes, [fold]) for X in blocks]
            known[train.tobytes()] = np.array(found)
        return known[train.tobytes()]

    out = np.empty_like(labellings)
    for cell in cells:
        test = rows[(assigned == cell).all(1)]
        found = predicted(cell)
        best = np.zeros(len(labellings), int)
        if len(blocks) > 1:
            best = _best_blocks(predicted, cell, cells, assigned, labellings)
        out[:, test] = found[best, np.arange(len(best))][:, test]
    return out


def _best_blocks(predicted, cell, cells, assigned, labellings):
    """The block that names the rows outside a cell best, for every labelling [labelling]."""
    right = 0
    for other in cells[(cells != cell).all(1)]:
        inside = (assigned == other).all(1)
        right = right + (inside & (predicted(cell, other) == labellings)).sum(2)
    return right.argmax(0)


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
