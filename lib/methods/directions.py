"""The direction between two groups of vectors, found in one place for all methods.

Probing, steering, alignment search and the study of features all ask the same thing: activations
come in two groups (songs for *happy* and for *sad* prompts, say), and along which direction do
they differ? The plainest answer is the difference of the two means, and it is hard to beat (Wu et
al. 2025). The others are:

- ``probe``: the weights of a ridge classifier, whose strength is chosen by leave-one-out
  cross-validation;
- ``rfm``: a recursive feature machine (Radhakrishnan et al. 2024), the leading eigenvector of a
  kernel machine's average gradient outer product;
- ``random`` and ``shuffled``: controls. A direction drawn at random, and one found in the same way
  between groups that were dealt at random.

**Paired rows.** Where each vector of one group has a partner in the other (the same song, read
under either prompt), what a pair has in common tells nothing of the groups. It is taken off before
a classifier sees it, and the shuffled control swaps partners instead of dealing all rows anew.

>>> import numpy as np
>>> rows = np.array([[0.0, 1.0], [0.0, 3.0], [2.0, 1.0], [2.0, 3.0]])
>>> between(rows, [False, False, True, True]).tolist()
[2.0, 0.0]
"""

import numpy as np
from sklearn.linear_model import RidgeClassifierCV, RidgeCV

from .. import check

METHODS = ("diffmeans", "probe", "rfm", "random", "shuffled")

#: Strengths of the ridge among which cross-validation chooses.
ALPHAS = np.logspace(-2, 4, 13)

#: Rounds of the recursive feature machine, and its ridge.
ROUNDS = 4
RIDGE = 1e-3


def between(
    rows,
    high,
    method: str = "diffmeans",
    *,
    paired: bool = False,
    span=None,
    unit: bool = False,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """A direction that leads from one group of vectors to the other.

    Parameters
    ----------
    rows : array_like [shape=(row, dim)]
        Vectors of both groups. Half precision is computed in float32.
    high : array_like of bool [shape=(row,)]
        Which rows are of the group that the direction leads to.
    method : str
        One of ``METHODS``.
    paired : bool
        The i-th row of one group is the partner of the i-th row of the other.
    span : array_like [shape=(k, dim)], optional
        Keep to what lies in the span of these directions (SAE features, a subspace): the
        difference of means within it, whatever the method.
    unit : bool
        Return a vector of length 1.
    seed : int or np.random.Generator
        Of the controls.

    Returns
    -------
    np.ndarray [shape=(dim,)]
        As long as the method makes it: the difference of means has the length of the difference.

    Raises
    ------
    ValueError
        Rows that are not finite, an empty group, groups of unequal size where rows are paired, an
        unknown method, with ``unit`` a direction that is zero, and with "rfm" groups that nothing
        tells apart.
    """
    rows = _in_full_precision(check.array("rows", check.untensored(rows), ("row", "dim")))
    high = _groups(check.untensored(high), len(rows), paired)
    if not isinstance(seed, np.random.Generator):
        seed = check.count("seed", seed, 0)
    rng = np.random.default_rng(seed)
    if span is not None:
        inside = basis("span", span, rows.shape[1])
        found = inside.T @ (inside @ difference_of_means(rows, high))
    elif check.choice("method", method, METHODS) == "random":
        found = rng.normal(size=rows.shape[1])
    elif method == "shuffled":
        found = _shuffled(rows, high, paired, rng)
    elif method == "diffmeans":
        found = difference_of_means(rows, high)
    elif method == "probe":
        found = _ridge_of_pairs(rows, high) if paired else _ridge(rows, high)
    else:
        own = _without_what_pairs_share(rows, high) if paired else rows
        found = _recursive_towards(own, high)
    return scaled(found) if unit else found


def difference_of_means(rows: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean of the rows that are ``high`` minus the mean of the others, [dim]."""
    return rows[high].mean(0) - rows[~high].mean(0)


def scaled(vector: np.ndarray) -> np.ndarray:
    """A vector brought to length 1; one that has no direction is refused."""
    length = np.linalg.norm(vector)
    if not np.isfinite(length) or length == 0:
        raise ValueError("The direction is zero or not finite: are both groups the same?")
    return vector / length


def basis(name: str, directions, dim: int) -> np.ndarray:
    """Orthonormal rows that span the same as some directions.

    Parameters
    ----------
    name : str
        What to call the directions in an error.
    directions : array_like or torch.Tensor [shape=(k, dim) or (dim,)]
        Of any precision and on any device: computed in float64 on the CPU, because no accelerator
        decomposes half precision and some lack the decomposition altogether.
    dim : int

    Returns
    -------
    np.ndarray [shape=(k, dim)], float64

    Raises
    ------
    ValueError
        Another width, values that are not finite, more directions than dimensions, and directions
        of which some are sums of others: an orthonormal basis of them would hold what nobody asked
        for.
    """
    directions = np.atleast_2d(check.untensored(directions))
    directions = check.array(name, directions, ("size", dim))
    directions = directions.astype(float)
    spanned = np.linalg.matrix_rank(directions)
    if spanned < len(directions):
        raise ValueError(
            f"{name} must be directions that are independent of each other. Got {len(directions)} "
            f"that span {spanned} dimensions. Leave out those that are zero or sums of others."
        )
    return np.linalg.qr(directions.T)[0].T


def _in_full_precision(rows):
    return rows.astype(np.result_type(rows, np.float32))


def _groups(high, n, paired):
    high = np.asarray(high)
    if high.shape != (n,) or high.dtype.kind != "b":
        raise ValueError(
            f"high must be one bool for each of {n} rows. Got {high.dtype} {high.shape}."
        )
    size = int(high.sum())
    if size in (0, n):
        raise ValueError(f"Both groups need rows. Got {size} high and {n - size} low.")
    if paired and 2 * size != n:
        raise ValueError(f"Pairs need equal groups. Got {size} high and {n - size} low rows.")
    return high


def _without_what_pairs_share(rows, high):
    """Rows minus the mean of their pair."""
    middle = (rows[~high] + rows[high]) / 2
    own = np.empty_like(rows)
    own[high] = rows[high] - middle
    own[~high] = rows[~high] - middle
    return own


def _shuffled(rows, high, paired, rng):
    """The difference of means of groups dealt at random.

    Of pairs as many are swapped as not, and the mean difference is taken off first, so that
    nothing of the difference itself is left.
    """
    if not paired:
        return difference_of_means(rows, rng.permutation(high))
    differences = rows[high] - rows[~high]
    signs = rng.permutation(np.arange(len(differences)) % 2) * 2.0 - 1
    return signs @ (differences - difference_of_means(rows, high))


def _ridge(rows, high):
    return RidgeClassifierCV(ALPHAS).fit(rows - rows.mean(0), high).coef_.ravel()


def _ridge_of_pairs(rows, high):
    """The same where rows are partners: of their differences, so that the penalty is chosen on whole
    pairs. Of a pair that is split, each half would give the other away.
    """
    differences = rows[high] - rows[~high]
    ridge = RidgeCV(ALPHAS, fit_intercept=False)
    return ridge.fit(differences, np.ones(len(differences))).coef_


def _recursive_towards(rows, high):
    """The recursive feature machine's direction, with the sign of the difference of means."""
    found = recursive_feature_machine(rows, high)
    return found * np.sign(found @ difference_of_means(rows, high))


def recursive_feature_machine(rows: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The direction along which a kernel machine that learns its own metric tells two groups apart.

    Kernel ridge regression with a Laplace kernel; its average gradient outer product becomes the
    metric in which the next round measures distances.

    Parameters
    ----------
    rows : np.ndarray [shape=(row, dim)]
    high : np.ndarray of bool [shape=(row,)]

    Returns
    -------
    np.ndarray [shape=(dim,)]
        The leading eigenvector of the last metric, length 1; its sign means nothing.

    References
    ----------
    Radhakrishnan, Beaglehole, Pandit and Belkin 2024, Science 383; for music, Zhao et al. 2025.
    """
    spread = rows.std()
    if spread == 0:
        _refuse_the_same()
    x = (rows - rows.mean(0)) / spread
    y = np.where(high, 1.0, -1.0)
    dim = x.shape[1]
    metric = np.eye(dim)
    for _ in range(ROUNDS):
        gradient = _kernel_gradient(x, y, metric)
        metric = gradient.T @ gradient / len(x)
        size = np.trace(metric)
        if not np.isfinite(size) or size == 0:
            _refuse_the_same()
        metric *= dim / size
    return np.linalg.eigh(metric)[1][:, -1]


def _refuse_the_same():
    raise ValueError(
        "Nothing tells the two groups apart: their rows are the same, or do not vary. Give groups "
        "that differ."
    )


def _kernel_gradient(x, y, metric):
    """Gradient of the fitted kernel machine at each of its own points, [row, dim]."""
    z = x @ metric
    own = (z * x).sum(1)
    distance = np.sqrt(np.maximum(own[:, None] + own - 2 * z @ x.T, 0))
    width = np.median(distance[distance > 0])
    kernel = np.exp(-distance / width)
    alpha = np.linalg.solve(kernel + RIDGE * np.eye(len(x)), y)
    apart = distance > 1e-9
    slope = np.where(apart, kernel / np.maximum(distance, 1e-9), 0) / width * alpha[None]
    return -(slope.sum(1)[:, None] * z - slope @ z)
