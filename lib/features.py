"""What single features respond to: selectivity, labels that must hold on clips they were not made from, agreement of seeds.

Everything here works on *activity*, an array [clip, feature] of mean activations, whatever made it: a sparse autoencoder,
raw neurons or principal components. Labels belong to clips, so clips (or groups of them) are what is resampled and
permuted, never frames.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.stats import f, norm, rankdata

from lib import stats

SELECTIVE = 0.7  # AUROC from which a significant feature is called selective
STABLE = 0.7  # cosine with its partner in every other seed from which a feature may have a name
ANSWERS = 0.85  # AUROC from which a feature answers to something
ORIGINAL_CUT = 2.0  # the original study: largest firing rate over mean firing rate


def targets(labels: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Yes-or-no questions about clips: name -> (answer, whether it counts), both bool [clip].

    A column of classes gives one question a class ("happy" or not; empty strings do not count). A column of numbers asks
    for its upper against its lower third, a column of bools for itself.
    """
    found = {}
    for name, column in labels.items():
        values = column.to_numpy()
        if values.dtype.kind == "b":
            found[name] = (values, np.ones(len(values), bool))
        elif values.dtype.kind in "fi" and len(np.unique(values)) == 2:
            found[f"{name} high"] = (values == values.max(), np.ones(len(values), bool))
        elif values.dtype.kind in "fi":
            low, high = np.quantile(values, [1 / 3, 2 / 3])
            found[f"{name} high"] = (values >= high, (values >= high) | (values <= low))
        else:
            given = values.astype(str) != ""
            found |= {str(v): (values == v, given) for v in pd.unique(values[given])}
    if not found:
        raise ValueError("labels has no column: there is nothing to tell apart.")
    return found


def auroc(activity: np.ndarray, positive: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve of every feature: the chance that a clip with the label has more of it than one without
    (ties count half; Hanley and McNeil 1982).

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    positive, counts : np.ndarray of bool [shape=(clip,)]
    """
    counts = np.ones(len(positive), bool) if counts is None else counts
    yes = np.asarray(positive, bool)[counts]
    if yes.all() or not yes.any():
        return np.full(activity.shape[1], 0.5)
    ranks = rankdata(activity[counts], axis=0)
    n = yes.sum()
    return (ranks[yes].sum(0) - n * (n + 1) / 2) / (n * (len(yes) - n))


def selectivity(activity: np.ndarray, labels: pd.DataFrame) -> pd.DataFrame:
    """AUROC of every feature (row) for every question of :func:`targets` (column)."""
    return pd.DataFrame({name: auroc(activity, *target) for name, target in targets(labels).items()})


def selective(
    activity: np.ndarray, classes, groups=None, n_permutations: int = 500, level: float = 0.05, seed: int = 0
) -> pd.DataFrame:
    """Which features are selective for which class, beyond chance over all features and classes.

    The null permutes the classes over whole groups (prompt families, say); each feature's AUROC is compared with its own
    null (normal approximation) and the false-discovery rate is controlled over every feature and class (Benjamini and
    Hochberg 1995). Beside it stands the stricter family-wise test: beyond the largest AUROC of 95 % of the permutations
    (Westfall and Young 1993).

    Returns
    -------
    pd.DataFrame
        One row a feature and class: feature, class, auroc, p, q, selective (q below ``level`` and AUROC of at least
        0.7), beyond_max, and ratio, the original study's criterion (largest mean activation of a class over the mean of
        all classes; its cut was 2).
    """
    classes = np.asarray(classes).astype(str)
    groups = np.arange(len(classes)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    first = np.unique(groups, return_index=True)[1]
    if (classes[first][groups] != classes).any():
        raise ValueError("Every group must be of one class: the permutation moves whole groups.")
    names, ranks = np.unique(classes), rankdata(activity, axis=0)

    def areas(shuffled):
        hot = (shuffled[:, None] == names).astype(float)
        sizes = hot.sum(0)
        return (ranks.T @ hot - sizes * (sizes + 1) / 2) / (sizes * (len(hot) - sizes))

    rng, observed = np.random.default_rng(seed), areas(classes)
    null = np.stack([areas(rng.permutation(classes[first])[groups]) for _ in range(n_permutations)])
    p = norm.sf((observed - null.mean(0)) / np.maximum(null.std(0), 1e-9))
    p = np.where(np.ptp(activity, axis=0)[:, None] > 0, p, 1.0)
    means = np.stack([activity[classes == c].mean(0) for c in names], 1)
    ratio = means / np.maximum(means.mean(1, keepdims=True), 1e-12)
    feature, column = np.indices(observed.shape).reshape(2, -1)
    table = pd.DataFrame(
        {"feature": feature, "class": names[column], "auroc": observed.ravel(), "p": p.ravel(), "ratio": ratio.ravel()}
    )
    table["q"] = stats.correct(table["p"], "fdr_bh")
    table["selective"] = (table["q"] < level) & (table["auroc"] >= SELECTIVE)
    table["beyond_max"] = table["auroc"] > np.quantile(null.max((1, 2)), 1 - level)
    return table


def recovery(
    activity: dict[str, np.ndarray], labels: pd.DataFrame, train: np.ndarray, n_resamples: int = 300
) -> pd.DataFrame:
    """Is there one feature for each cause? Chosen on the training clips, scored on the others.

    Parameters
    ----------
    activity : dict
        What is compared (the first with each of the others): name -> array [clip, feature]. Of every feature both signs
        may be the answer, so that neurons and directions are not judged worse than features that cannot be negative.
    labels : pd.DataFrame
    train : np.ndarray of bool [shape=(clip,)]

    Returns
    -------
    pd.DataFrame
        One row a question: target, feature, then for each name its AUROC, and "beyond NAME", the first's advantage, all
        with bootstrap intervals over held-out clips.
    """
    rows, (ours, *others) = [], activity
    for target, (positive, counts) in targets(labels).items():
        on, off = counts & train, counts & ~train
        curves, chosen = {}, {}
        for name, x in activity.items():
            area = auroc(x, positive, on)
            best = int(np.abs(area - 0.5).argmax())
            chosen[name] = best
            curves[name] = x[off, best] * np.sign(area[best] - 0.5)
        yes = positive[off]
        if yes.all() or not yes.any() or not positive[on].any():
            continue
        table = np.column_stack([yes, *curves.values()])

        row = {"target": target, "feature": chosen[ours]}
        for k, name in enumerate(activity):
            row[name] = stats.bootstrap(lambda s, k=k: _area(s, k), table, n_resamples=n_resamples)
        for k, name in enumerate(others, 1):
            row[f"beyond {name}"] = stats.bootstrap(
                lambda s, k=k: _area(s, 0) - _area(s, k), table, n_resamples=n_resamples
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _area(table, k):
    return auroc(table[:, k + 1 : k + 2], table[:, 0] > 0)[0]


def name(activity: np.ndarray, labels: pd.DataFrame, train: np.ndarray) -> pd.DataFrame:
    """A label for every feature from the training clips, with its score on the others.

    Returns
    -------
    pd.DataFrame
        One row a feature: label (the question it tells best; "... low" or "not ..." where it falls silent), auroc on the training
        clips, held_out on the rest: a label that does not predict activation on unseen clips is none.
    """
    questions = targets(labels)
    inside = np.column_stack([auroc(activity, p, c & train) for p, c in questions.values()])
    outside = np.column_stack([auroc(activity, p, c & ~train) for p, c in questions.values()])
    best = np.abs(inside - 0.5).argmax(1)
    rows = np.arange(len(best))
    up = inside[rows, best] >= 0.5
    names = np.array(list(questions))
    fallen = np.array([q[:-5] + " low" if q.endswith(" high") else f"not {q}" for q in questions])
    return pd.DataFrame(
        {
            "label": np.where(up, names[best], fallen[best]),
            "auroc": np.where(up, inside[rows, best], 1 - inside[rows, best]),
            "held_out": np.where(up, outside[rows, best], 1 - outside[rows, best]),
        }
    )


def distinguishing(activity: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
    """The ``size`` features whose activity differs most between two kinds of clips, in standard deviations.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    high : bool np.ndarray [shape=(clip,)]
        Which kind a clip is.
    """
    if not 0 < high.sum() < len(high) or not 1 <= size <= activity.shape[1]:
        told = f"{high.sum()} of {len(high)} clips and size {size}"
        raise ValueError(f"Needs clips of both kinds and 1 to {activity.shape[1]} features. Got {told}.")
    gap = activity[high].mean(0) - activity[~high].mean(0)
    return np.argsort(-np.abs(gap) / (activity.std(0) + 1e-6))[:size]


def category_or_axes(activity: np.ndarray, labels: pd.DataFrame) -> pd.DataFrame:
    """Does a feature follow valence and arousal, or the emotion as a category beyond them?

    Linear regressions over the clips with a clear emotion; the gain of the category is tested by an F-test for nested
    models, corrected over features (Benjamini and Hochberg).

    Returns
    -------
    pd.DataFrame
        One row a feature: axes, category, both (shares of variance explained), gain (both - axes), q, and cues: of how
        many of the numeric labels but valence and arousal it tells high from low (AUROC of at least 0.85).
    """
    clear = labels["emotion"].to_numpy() != ""
    y, told = activity[clear] - activity[clear].mean(0), labels[clear]
    axes = told[["valence", "arousal"]].to_numpy()
    category = pd.get_dummies(told["emotion"]).to_numpy(float)[:, 1:]
    total = np.maximum((y**2).sum(0), 1e-12)

    def explained(*columns):
        x = np.column_stack([np.ones(len(y)), *columns])
        return 1 - ((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum(0) / total

    alone, named, both = explained(axes), explained(category), explained(axes, category)
    free = len(y) - 1 - axes.shape[1] - category.shape[1]
    ratio = ((both - alone) / category.shape[1]) / np.maximum((1 - both) / free, 1e-12)
    cues = selectivity(activity, labels.drop(columns=["emotion", "valence", "arousal"]))
    return pd.DataFrame(
        {
            "axes": alone,
            "category": named,
            "both": both,
            "gain": both - alone,
            "q": stats.correct(f.sf(ratio, category.shape[1], free), "fdr_bh"),
            "cues": ((cues - 0.5).abs() >= ANSWERS - 0.5).sum(axis=1),
        }
    )


def ask(captions_of_top, captions_of_rest, complete: Callable[[str], str]) -> str:
    """A label from a language model: ``complete`` takes the question as text and returns the answer.

    Score it as any other: does it say which unseen clips excite the feature?
    """
    listed = "\n".join(f"+ {c}" for c in captions_of_top) + "\n" + "\n".join(f"- {c}" for c in captions_of_rest)
    return complete(
        "Clips marked + excite a feature of a music model, clips marked - do not. In at most six words, what do the + "
        f"clips share that the - clips lack? Answer with these words only.\n{listed}"
    ).strip()


def matched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each of the first decoder's directions with its partner in the second, one to one (Hungarian method, as
    in Paulo and Belrose 2025). Arrays [feature, dim]; returns [feature], 0 for those without partner."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in (a, b))
    cosine = a @ b.T
    rows, columns = linear_sum_assignment(-cosine)
    best = np.zeros(len(a))
    best[rows] = cosine[rows, columns]
    return best


def absorbed(activity: np.ndarray, decoder: np.ndarray, vectors: np.ndarray, words, family) -> dict[str, float]:
    """Feature splitting and absorption for one family of words (after Chanin et al. 2024, "A is for Absorption").

    Parameters
    ----------
    activity : np.ndarray [shape=(token, feature)]
        Activations on single text tokens.
    decoder : np.ndarray [shape=(feature, dim)]
    vectors : np.ndarray [shape=(token, dim)]
        What was encoded.
    words : sequence of str
        The word of every token.
    family : collection of str
        The words that mean the same.

    Returns
    -------
    dict
        main: the feature that tells the family best; auroc; recall: the share of the family's words on which it fires at
        least half the time; splits: how many features it takes until every word of the family has one that fires;
        absorbed: the share of the family's words where the main feature is silent while another feature, that points
        along the family's direction (difference in means) and is specific to that word, carries most of it.
    """
    words = np.asarray(words)
    inside = np.isin(words, list(family))
    if not inside.any() or inside.all():
        raise ValueError("Of the tokens, some must be of the family and some must not.")
    area = auroc(activity, inside)
    main = int(area.argmax())
    there = [w for w in family if (words == w).any()]
    fires = np.stack([(activity[words == w] > 0).mean(0) >= 0.5 for w in there])  # [word, feature]
    direction = vectors[inside].mean(0) - vectors[~inside].mean(0)
    direction /= np.linalg.norm(direction)
    along = (activity[inside] * (decoder @ direction)).clip(0)
    lost = 0
    for k, word in enumerate(there):
        share = along[words[inside] == word].mean(0)
        top = int(share.argmax())
        own = (activity[words == word, top].mean() + 1e-9) / (activity[inside, top].mean() + 1e-9)
        lost += bool(not fires[k, main] and top != main and share[top] > 0.4 * share.sum() and own > 2)
    left, splits = np.ones(len(there), bool), 0
    useful = area >= SELECTIVE - 0.15
    while left.any():
        gain = (fires[left] & useful).sum(0)
        if not gain.max():
            break
        left &= ~fires[:, int(gain.argmax())]
        splits += 1
    return {
        "main": main,
        "auroc": float(area[main]),
        "recall": float(fires[:, main].mean()),
        "splits": splits,
        "absorbed": lost / len(there),
    }
