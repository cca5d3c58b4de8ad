"""What single features respond to: selectivity beside that of other directions, labels that must
hold on clips they were not made from, agreement of seeds.

Everything here works on *activity*, an array [clip, feature] of mean activations, whatever made it:
a sparse autoencoder, raw neurons or principal components. Labels belong to clips, so clips (or
groups of them) are what is resampled and permuted, never frames. A missing label (None, NaN, "") is
no class and no number: its clip does not count for the questions of that column.

Areas under ROC curves are computed from ranks, for all features at once: scikit-learn's
``roc_auc_score`` gives the same numbers one feature at a time, 30 times slower.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.stats import f, norm, rankdata

from .. import check, stats
from . import directions

AXES = ["valence", "arousal"]
#: AUROC from which a significant feature is called selective.
SELECTIVE = 0.7
#: Cosine with its partner in every other seed from which a feature may have a name.
STABLE = 0.7
#: AUROC from which a feature answers to something.
ANSWERS = 0.85
#: The original study: largest firing rate over mean firing rate.
ORIGINAL_CUT = 2.0
#: AUROC from which a feature may be one of those that a family of words is split over.
USEFUL = 0.55
#: Correlation of activity, and cosine of directions, beyond which two features are one.
SAME_ACTIVITY = 0.9
SAME_DIRECTION = 0.7
#: Share of a feature's variance that the causes explain if it answers to any.
EXPLAINED = 0.1


# ---------------------------------------------------------------------------------------- questions
def targets(labels: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Yes-or-no questions about clips: name -> (answer, whether it counts), both bool [clip].

    A column of classes gives one question a class ("happy" or not). A column of numbers asks for
    its upper against its lower third (or, of two numbers, for the larger), a column of bools for
    itself. Clips whose label is missing (None, NaN, "") do not count for that column's questions.

    Raises
    ------
    ValueError
        Nothing to ask, or two questions of the same name.
    """
    questions = {}
    for name, column in labels.items():
        for question, target in column_targets(str(name), column).items():
            if question in questions:
                raise ValueError(
                    f"Two columns of labels ask the same question, {question!r}: "
                    "give their classes different names."
                )
            questions[question] = target
    if not questions:
        raise ValueError("labels has no column with a label: there is nothing to tell apart.")
    return questions


def column_targets(name: str, column: pd.Series) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The questions of :func:`targets` that one column asks; none if it holds no label."""
    present = ~check.missing(column)
    if not present.any():
        return {}
    known = check.labels(name, column[present])
    if known.dtype.kind == "b":
        return {name: (_spread(known, present), present)}
    if known.dtype.kind not in "fi":
        classes = pd.unique(known)
        return {str(value): (_spread(known == value, present), present) for value in classes}
    if len(np.unique(known)) == 2:
        return {f"{name} high": (_spread(known == known.max(), present), present)}
    low, high = np.quantile(known, [1 / 3, 2 / 3])
    upper = _spread(known >= high, present)
    lower = _spread(known <= low, present)
    return {f"{name} high": (upper, upper | lower)}


def _spread(answer, present):
    """An answer about the clips that have a label, False for the others."""
    everywhere = np.zeros(len(present), bool)
    everywhere[present] = answer
    return everywhere


# ---------------------------------------------------------------------------- areas under the curve
def auroc(
    activity: np.ndarray, positive: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve of every feature: the chance that a clip with the label has more of
    it than one without (ties count half; Hanley and McNeil 1982).

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    positive : np.ndarray of bool [shape=(clip,)]
    counts : np.ndarray of bool [shape=(clip,)], optional
        Which clips count; by default all.

    Returns
    -------
    np.ndarray [shape=(feature,)]
        0.5 where all clips, or none, have the label.

    Raises
    ------
    ValueError, TypeError
        ``positive`` that is not one bool a clip; activity of other clips, or not finite.
    """
    positive = np.asarray(positive)
    if positive.ndim != 1 or positive.dtype.kind != "b":
        check.refuse(
            TypeError,
            "positive",
            "one bool for each clip",
            f"{positive.dtype} of shape {positive.shape}",
            "Compare labels with a class (labels == 'happy'), numbers with a threshold.",
        )
    activity = check.array("activity", activity, (len(positive), "feature"))
    counts = check.selector("counts", counts, len(positive))
    yes = positive[counts]
    if yes.all() or not yes.any():
        return np.full(activity.shape[1], 0.5)
    ranks = rankdata(activity[counts], axis=0)
    n = yes.sum()
    return (ranks[yes].sum(0) - n * (n + 1) / 2) / (n * (len(yes) - n))


def _class_areas(ranks, classes, names):
    """AUROC of every feature for every class against all others, [feature, class]; of ranks."""
    hot = (classes[:, None] == names).astype(float)
    sizes = hot.sum(0)
    return (ranks.T @ hot - sizes * (sizes + 1) / 2) / (sizes * (len(hot) - sizes))


def _area_of_resamples(activity, positive):
    """A function from resamples of clips [resample, clip] to one feature's AUROC in each.

    Activity is ranked once; a resample then only counts how many clips with and without the label
    fall on each rank. Sorting every resample anew would take ten times as long.
    """
    levels, level = np.unique(activity, return_inverse=True)
    column = 2 * level + positive  # per level: without the label, with it

    def area(clips):
        offset = 2 * len(levels) * np.arange(len(clips))[:, None]
        counted = np.bincount(
            (column[clips] + offset).ravel(), minlength=2 * len(levels) * len(clips)
        )
        without, having = np.moveaxis(counted.reshape(len(clips), len(levels), 2), 2, 0)
        below = np.cumsum(without, 1) - without / 2
        n = having.sum(1)
        pairs = n * without.sum(1)
        return np.where(pairs > 0, (having * below).sum(1) / np.maximum(pairs, 1), 0.5)

    return area


def selectivity(activity: np.ndarray, labels: pd.DataFrame) -> pd.DataFrame:
    """AUROC of every feature (row) for every question of :func:`targets` (column)."""
    questions = targets(labels)
    return pd.DataFrame({name: auroc(activity, *target) for name, target in questions.items()})


def selective(
    activity: np.ndarray,
    classes,
    groups=None,
    n_permutations: int = 500,
    level: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Which features are selective for which class, beyond chance over all features and classes.

    The null permutes the classes over whole groups (prompt families, say); each feature's AUROC is
    compared with its own null (normal approximation) and the false-discovery rate is controlled
    over every feature and class (Benjamini and Hochberg 1995). Beside it stands the stricter
    family-wise test: beyond the largest AUROC of 95 % of the permutations (Westfall and Young
    1993).

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    classes : array_like [shape=(clip,)]
    groups : array_like [shape=(clip,)], optional
        By default every clip is its own group.
    n_permutations, level, seed : int, float, int

    Returns
    -------
    pd.DataFrame
        One row a feature and class: feature, class, auroc, p, q, selective (q below ``level`` and
        AUROC of at least 0.7), beyond_max, and ratio, the original study's criterion (largest mean
        activation of a class over the mean of all classes; its cut was 2).

    Raises
    ------
    ValueError
        Missing classes or groups; one class only; a group of more than one class.
    """
    n_permutations = check.count("n_permutations", n_permutations)
    level = check.number("level", level, 0, 1, open_low=True, open_high=True)
    seed = check.count("seed", seed, 0)
    activity = check.array("activity", activity, ("clip", "feature"))
    classes = check.labels("classes", classes, len(activity)).astype(str)
    groups = (
        np.arange(len(classes)) if groups is None else check.labels("groups", groups, len(activity))
    )
    _, first, groups = np.unique(groups, return_index=True, return_inverse=True)
    if (classes[first][groups] != classes).any():
        raise ValueError("Every group must be of one class: the permutation moves whole groups.")
    names = np.unique(classes)
    if len(names) < 2:
        raise ValueError(f"classes must hold two classes or more. Got {names[0]!r} alone.")
    ranks = rankdata(activity, axis=0)

    rng = np.random.default_rng(seed)
    observed = _class_areas(ranks, classes, names)
    permuted = [rng.permutation(classes[first])[groups] for _ in range(n_permutations)]
    null = np.stack([_class_areas(ranks, some, names) for some in permuted])
    p = norm.sf((observed - null.mean(0)) / np.maximum(null.std(0), 1e-9))
    varies = np.ptp(activity, axis=0) > 0
    p = np.where(varies[:, None], p, 1.0)
    means = np.stack([activity[classes == name].mean(0) for name in names], 1)
    ratio = means / np.maximum(means.mean(1, keepdims=True), 1e-12)
    feature, column = np.indices(observed.shape).reshape(2, -1)
    table = pd.DataFrame(
        {
            "feature": feature,
            "class": names[column],
            "auroc": observed.ravel(),
            "p": p.ravel(),
            "ratio": ratio.ravel(),
        }
    )
    table["q"] = stats.correct(table["p"], "fdr_bh")
    table["selective"] = (table["q"] < level) & (table["auroc"] >= SELECTIVE)
    table["beyond_max"] = table["auroc"] > np.quantile(null.max((1, 2)), 1 - level)
    return table


def counts(
    activity: dict[str, np.ndarray],
    directions: dict[str, np.ndarray],
    classes,
    groups=None,
    n_permutations: int = 500,
) -> pd.DataFrame:
    """How many features of several bases are selective for some class.

    A count says something only beside that of directions that nobody trained.

    Parameters
    ----------
    activity, directions : dict
        Name -> array [clip, feature], and array [feature, dim].
    classes, groups, n_permutations
        As for :func:`selective`.

    Returns
    -------
    pd.DataFrame
        One row a basis: basis, features (how many there are), selective, distinct (of these, see
        :func:`distinct`), classes (for how many there is one).
    """
    activity = {name: _activity(name, x, len(classes)) for name, x in activity.items()}
    directions = _directions_of(activity, directions)
    rows = []
    for name, x in activity.items():
        tests = selective(x, classes, groups, n_permutations)
        passed = tests[tests["selective"]].sort_values("auroc", ascending=False)
        chosen = passed["feature"].unique()
        rows.append(
            {
                "basis": name,
                "features": x.shape[1],
                "selective": len(chosen),
                "distinct": len(distinct(x[:, chosen], directions[name][chosen])),
                "classes": passed["class"].nunique(),
            }
        )
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------- beside other directions
def excess(
    activity: dict[str, np.ndarray], classes, families, halvings: int = 10, seed: int = 0
) -> pd.DataFrame:
    """How well one feature, chosen for a class on half of its families, tells the other half; and
    how much better than the best of other bases, whose features are chosen likewise.

    The families of every class are halved. On one half the feature with the largest AUROC (either
    sign) for each class is chosen; on the other, it tells the songs of each family of the class
    from those of other classes. Then the halves are swapped; all is averaged over several halvings.

    Parameters
    ----------
    activity : dict
        What is compared (the first with the others): name -> array [clip, feature].
    classes, families : array_like [shape=(clip,)]
        Every family belongs to one class.
    halvings, seed : int

    Returns
    -------
    pd.DataFrame
        One row a family (the index): class, an AUROC for each name, and excess: the first's minus
        that of the other with the best mean.

    Raises
    ------
    ValueError
        Missing classes or families; a family of two classes; a class with fewer than two families,
        or only one class; nothing to compare with; arrays that do not match.
    """
    halvings = check.count("halvings", halvings)
    activity = _check_bases(activity, len(classes))
    classes, families, class_of = _check_families(classes, families)
    rng = np.random.default_rng(seed)
    areas = {name: 0.0 for name in activity}
    for _ in range(halvings):
        half = np.isin(families, _first_half(class_of, rng))
        for name, x in activity.items():
            found = [_told(x, classes, families, half), _told(x, classes, families, ~half)]
            areas[name] = areas[name] + pd.concat(found)[class_of.index]
    table = pd.DataFrame({"class": class_of, **{n: area / halvings for n, area in areas.items()}})
    first, *others = activity
    best = table[others].mean().idxmax()
    return table.assign(excess=table[first] - table[best])


def _check_bases(activity, n):
    """Activity of two or more bases on the same clips."""
    if len(activity) < 2:
        raise ValueError(f"There is nothing to compare with: got {list(activity)} alone.")
    return {name: _activity(name, x, n) for name, x in activity.items()}


def _activity(name, activity, n):
    return check.array(f"activity[{name!r}]", activity, (n, "feature"))


def _directions_of(activity, directions):
    """The directions of every basis, [feature, dim] each: as many as there are features."""
    without = [name for name in activity if name not in directions]
    if without:
        raise ValueError(
            "directions must hold an array [feature, dim] for every basis. "
            f"{without[0]!r} has none."
        )
    return {
        name: check.array(f"directions[{name!r}]", directions[name], (x.shape[1], "dim"))
        for name, x in activity.items()
    }


def _check_families(classes, families):
    """Each clip's class and family, and the class of every family (a Series by family)."""
    classes = check.labels("classes", classes)
    families = check.labels("families", families, len(classes))
    pairs = pd.DataFrame({"family": families, "class": classes}).drop_duplicates()
    class_of = pairs.set_index("family")["class"]
    if class_of.index.has_duplicates:
        double = class_of.index[class_of.index.duplicated()][0]
        raise ValueError(f"Every family must be of one class. {double!r} is of several.")
    counts = class_of.value_counts()
    if len(counts) < 2 or counts.min() < 2:
        raise ValueError(
            "Two classes or more must have two families or more each. "
            f"Got {dict(counts)} families a class."
        )
    return classes, families, class_of


def _first_half(class_of, rng):
    """Half of the families of every class; of an odd number either the smaller or the larger."""
    chosen = []
    for _, some in class_of.groupby(class_of):
        size = (len(some) + rng.integers(2)) // 2
        chosen += list(rng.permutation(some.index)[:size])
    return chosen


def _told(activity, classes, families, learn):
    """AUROC of every family that is not learned from, by the feature chosen for its class."""
    names = np.unique(classes)
    chances = _class_areas(rankdata(activity[learn], axis=0), classes[learn], names) - 0.5
    chosen = np.abs(chances).argmax(0)
    areas = {}
    for k, name in enumerate(names):
        signed = np.sign(chances[chosen[k], k]) * activity[~learn, chosen[k]]
        inside = classes[~learn] == name
        others = np.sort(signed[~inside])
        for family in np.unique(families[~learn][inside]):
            own = signed[families[~learn] == family]
            below = np.searchsorted(others, own) + np.searchsorted(others, own, "right")
            areas[family] = below.mean() / (2 * len(others))
    return pd.Series(areas)


def one_thing(
    activity: dict[str, np.ndarray],
    causes: pd.DataFrame,
    directions: dict[str, np.ndarray],
    seed: int = 0,
) -> pd.DataFrame:
    """How many causes a feature answers to, beside other directions that are as sparse.

    The activity of each other direction is cut at the level above which it is on as many clips as
    some feature of the first basis. Ranks of activity are then regressed on all causes together, so
    that a cause counts for what others do not explain. With the squared weights as shares, a
    feature answers to one over the sum of their squares: 1 if to one cause alone, n if to n alike.

    Parameters
    ----------
    activity : dict
        Name -> array [clip, feature]; the first is sparse: 0 where a feature is silent.
    causes : pd.DataFrame
        One row a clip, one column a cause, numbers; clips with a missing one do not count.
    directions : dict
        Name -> array [feature, dim], for :func:`distinct`.
    seed : int
        Which direction is as sparse as which feature.

    Returns
    -------
    pd.DataFrame
        One row a basis: basis, features, answering (how many have a tenth of their variance or more
        explained by the causes), distinct (of these), causes (their mean number, with its interval
        over features; None if fewer than two answer).

    Raises
    ------
    ValueError, TypeError
        Causes that are no numbers or not known of one clip; a first basis that is silent; a basis
        without directions; nothing to compare with; arrays that do not match.
    """
    activity = _check_bases(activity, len(causes))
    directions = _directions_of(activity, directions)
    x, known = _known_causes(causes)
    x = _standardised(x)
    first = next(iter(activity))
    density = (activity[first][known] > 0).mean(0)
    if not density.any():
        raise ValueError(
            f"activity[{first!r}] is silent on all clips: there is nothing that others could be as "
            "sparse as. Name the sparse basis first."
        )
    rng = np.random.default_rng(seed)
    rows = []
    for name, z in activity.items():
        z = z[known] if name == first else _as_sparse(z[known], density[density > 0], rng)
        numbers, explained = _causes_of(z, x)
        strongest = np.argsort(-explained)[: (explained >= EXPLAINED).sum()]
        rows.append(
            {
                "basis": name,
                "features": z.shape[1],
                "answering": len(strongest),
                "distinct": len(distinct(z[:, strongest], directions[name][strongest])),
                "causes": stats.mean(numbers[strongest]) if len(strongest) > 1 else None,
            }
        )
    return pd.DataFrame(rows)


def _known_causes(causes):
    """Causes as numbers [clip, cause], of the clips of which all are known, and which these are."""
    check.count("The number of columns of causes", causes.shape[1])
    known = ~np.any([check.missing(causes[name]) for name in causes], axis=0)
    check.count("The number of clips with all causes", int(known.sum()))
    columns = [check.labels(f"causes[{name!r}]", causes[name][known]) for name in causes]
    for name, column in zip(causes, columns, strict=True):
        if column.dtype.kind not in "bif":
            remedy = "Give a column a class, with pandas.get_dummies say."
            check.refuse(TypeError, f"causes[{name!r}]", "numbers", column[0], remedy)
    numbers = np.column_stack(columns).astype(float)
    return check.array("causes", numbers, ("clip", "cause")), known


def _as_sparse(activity, density, rng):
    """Activity above a level of its own, such that each is on as many clips as one of some others
    is."""
    shares = rng.choice(density, activity.shape[1])
    levels = [np.quantile(x, 1 - share) for x, share in zip(activity.T, shares, strict=True)]
    return np.maximum(activity - np.array(levels), 0)


def _causes_of(activity, causes):
    """Number of causes that each feature answers to, and share of its variance that they explain,
    both [feature]; of standardised causes [clip, cause]."""
    ranks = _standardised(rankdata(activity, axis=0))
    weights = np.linalg.lstsq(causes, ranks, rcond=None)[0]
    left = 1 - (causes @ weights).var(0)
    n, size = causes.shape
    explained = 1 - left * (n - 1) / max(n - size - 1, 1)  # adjusted for the number of causes
    squared = weights**2
    return squared.sum(0) ** 2 / np.maximum((squared**2).sum(0), 1e-12), explained


def _standardised(columns):
    """Columns with mean 0 and standard deviation 1; zeros where nothing varies."""
    return (columns - columns.mean(0)) / np.maximum(columns.std(0), 1e-9)


def distinct(activity: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The features that are not the same as one before them.

    Two are the same if their activity correlates beyond 0.9 or their directions have a cosine
    beyond 0.7, of either sign.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
        In order of importance.
    directions : np.ndarray [shape=(feature, dim)]
        What each stands for: the rows of a decoder or basis.

    Returns
    -------
    np.ndarray of int
        Numbers of features.
    """
    check.same_length(activity=np.transpose(activity), directions=directions)
    if not len(directions):
        return np.array([], int)
    activity = check.array("activity", activity, ("clip", "feature"))
    directions = check.array("directions", directions, ("feature", "dim"))
    curves = _unit((activity - activity.mean(0)).T)
    pointing = _unit(directions)
    same = np.abs(curves @ curves.T) > SAME_ACTIVITY
    same |= np.abs(pointing @ pointing.T) > SAME_DIRECTION
    kept = []
    for i in range(len(same)):
        if not same[i, kept].any():
            kept.append(i)
    return np.array(kept, int)


# -------------------------------------------------------------------------------- causes and labels
def recovery(
    activity: dict[str, np.ndarray], labels: pd.DataFrame, train: np.ndarray, n_resamples: int = 300
) -> pd.DataFrame:
    """Is there one feature for each cause? Chosen on the training clips, scored on the others.

    Parameters
    ----------
    activity : dict
        What is compared (the first with each of the others): name -> array [clip, feature]. Of
        every feature both signs may be the answer, so that neurons and directions are not judged
        worse than features that cannot be negative.
    labels : pd.DataFrame
    train : np.ndarray of bool [shape=(clip,)], or any selector of clips

    Returns
    -------
    pd.DataFrame
        One row a question that has both answers among the training clips and among the others:
        target, feature, then for each name its AUROC, and "beyond NAME", the first's advantage, all
        with bootstrap intervals over held-out clips.

    Raises
    ------
    ValueError
        No question has both answers on both sides.
    """
    activity = {name: _activity(name, x, len(labels)) for name, x in activity.items()}
    n_resamples = check.count("n_resamples", n_resamples)
    rows = []
    for target, split in _judged(labels, train).items():
        rows.append({"target": target, **_compared(activity, *split, n_resamples)})
    return pd.DataFrame(rows)


def _judged(labels, train):
    """Questions that the training clips can teach and the others judge: name -> positive, learn and
    judge, bool [clip] each."""
    train = check.selector("train", train, len(labels))
    found = {}
    for target, (positive, counts) in targets(labels).items():
        learn = counts & train
        judge = counts & ~train
        if all(positive[part].any() and not positive[part].all() for part in (learn, judge)):
            found[target] = (positive, learn, judge)
    if not found:
        raise ValueError(
            "No question of labels has clips of both answers among the training clips and among "
            f"the others. train holds {train.sum()} of {len(train)} clips: choose about half, of every "
            "class."
        )
    return found


def _compared(activity, positive, learn, judge, n_resamples):
    """The best feature of each kind for one question, chosen on some clips, judged on others."""
    first, *others = activity
    chosen = {}
    areas = {}
    for name, x in activity.items():
        area = auroc(x, positive, learn)
        chosen[name] = int(np.abs(area - 0.5).argmax())
        signed = x[judge, chosen[name]] * np.sign(area[chosen[name]] - 0.5)
        areas[name] = _area_of_resamples(signed, positive[judge])
    n = int(judge.sum())
    row = {"feature": chosen[first]}
    for name in activity:
        row[name] = _over_clips(areas[name], n, n_resamples)
    for name in others:
        beyond = _minus(areas[first], areas[name])
        row[f"beyond {name}"] = _over_clips(beyond, n, n_resamples)
    return row


def _minus(area, other):
    return lambda clips: area(clips) - other(clips)


def _over_clips(area, n, n_resamples):
    return stats.bootstrap(area, np.arange(n), n_resamples=n_resamples, many=True)


def name(activity: np.ndarray, labels: pd.DataFrame, train: np.ndarray) -> pd.DataFrame:
    """A label for every feature from the training clips, with its score on the others.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    labels : pd.DataFrame
    train : np.ndarray of bool [shape=(clip,)], or any selector of clips

    Returns
    -------
    pd.DataFrame
        One row a feature: label (the question it tells best; "... low" or "not ..." where it falls
        silent), auroc on the training clips, held_out on the rest: a label that does not predict
        activation on unseen clips is none. Questions without both answers on either side are not
        asked.

    Raises
    ------
    ValueError
        No question has both answers on both sides.
    """
    activity = check.array("activity", activity, (len(labels), "feature"))
    questions = _judged(labels, train)
    inside = np.column_stack([auroc(activity, p, learn) for p, learn, _ in questions.values()])
    outside = np.column_stack([auroc(activity, p, judge) for p, _, judge in questions.values()])
    rows = np.arange(activity.shape[1])
    best = np.abs(inside - 0.5).argmax(1)
    learned = inside[rows, best]
    held_out = outside[rows, best]
    rises = learned >= 0.5
    risen = np.array(list(questions))
    fallen = np.array([opposite(question) for question in questions])
    return pd.DataFrame(
        {
            "label": np.where(rises, risen[best], fallen[best]),
            "auroc": np.where(rises, learned, 1 - learned),
            "held_out": np.where(rises, held_out, 1 - held_out),
        }
    )


def opposite(question: str) -> str:
    """What a feature answers to that falls silent where the question is answered with yes."""
    if question.endswith(" high"):
        return question.removesuffix("high") + "low"
    return f"not {question}"


def distinguishing(activity: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
    """The ``size`` features whose activity differs most between two kinds of clips, in standard
    deviations.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    high : bool np.ndarray [shape=(clip,)]
        Which kind a clip is.
    size : int

    Raises
    ------
    ValueError
        Clips of one kind only; more features than there are.
    """
    size = check.count("size", size, 1, activity.shape[1])
    gap = directions.difference_of_means(activity, _both_kinds(high, len(activity)))
    return np.argsort(-np.abs(gap) / (activity.std(0) + 1e-6))[:size]


def _both_kinds(high, n):
    high = np.asarray(high)
    if high.shape != (n,) or high.dtype.kind != "b" or not 0 < high.sum() < n:
        raise ValueError(
            f"high must be one bool for each of {n} clips, with clips of both kinds. "
            f"Got {high.dtype} of shape {high.shape}, {int(high.sum())} of them high."
        )
    return high


def category_or_axes(activity: np.ndarray, labels: pd.DataFrame) -> pd.DataFrame:
    """Does a feature follow valence and arousal, or the emotion as a category beyond them?

    Linear regressions over the clips whose emotion, valence and arousal are known; the gain of the
    category is tested by an F-test for nested models, corrected over features (Benjamini and
    Hochberg). All features are regressed together: ``statsmodels`` tests nested models one at a
    time.

    Parameters
    ----------
    activity : np.ndarray [shape=(clip, feature)]
    labels : pd.DataFrame
        With columns emotion, valence, arousal, and cues.

    Returns
    -------
    pd.DataFrame
        One row a feature: axes, category, both (shares of variance explained), gain (both - axes),
        q, and cues: of how many of the numeric labels but valence and arousal it tells high from
        low (AUROC of at least 0.85).

    Raises
    ------
    ValueError
        A column that is not there; one emotion only; too few clips of which all three are known.
    """
    without = [c for c in (*AXES, "emotion") if c not in labels]
    if without:
        raise ValueError(
            f"labels must have the columns valence, arousal and emotion. Without {without}."
        )
    activity = check.array("activity", activity, (len(labels), "feature"))
    clear = ~np.any([check.missing(labels[c]) for c in ("emotion", *AXES)], axis=0)
    known = labels[clear]
    y = activity[clear] - activity[clear].mean(0)
    axes = known[AXES].to_numpy(float)
    category = pd.get_dummies(known["emotion"]).to_numpy(float)[:, 1:]
    free = len(y) - 1 - axes.shape[1] - category.shape[1]
    if not category.shape[1] or free < 1:
        raise ValueError(
            "A category beyond the axes needs two emotions or more, and more clips than emotions "
            f"and axes. Got {known['emotion'].nunique()} emotions of {len(y)} clips."
        )
    total = np.maximum((y**2).sum(0), 1e-12)

    def explained(*columns):
        x = np.column_stack([np.ones(len(y)), *columns])
        left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        return 1 - (left**2).sum(0) / total

    alone = explained(axes)
    named = explained(category)
    both = explained(axes, category)
    ratio = ((both - alone) / category.shape[1]) / np.maximum((1 - both) / free, 1e-12)
    cues = selectivity(activity, labels.drop(columns=["emotion", *AXES]))
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
    """A label from a language model: ``complete`` takes the question as text and returns the
    answer.

    Score it as any other: does it say which unseen clips excite the feature?
    """
    listed = [f"+ {caption}" for caption in captions_of_top]
    listed += [f"- {caption}" for caption in captions_of_rest]
    question = (
        "Clips marked + excite a feature of a music model, clips marked - do not. In at most six "
        "words, what do the + clips share that the - clips lack? Answer with these words only."
    )
    return complete("\n".join([question, *listed])).strip()


# ------------------------------------------------------------------------------- seeds and families
def matched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each of the first decoder's directions with its partner in the second, one to one
    (Hungarian method, as in Paulo and Belrose 2025).

    Parameters
    ----------
    a, b : np.ndarray [shape=(feature, dim)]

    Returns
    -------
    np.ndarray [shape=(feature,)]
        0 for those without partner.
    """
    a = check.array("a", a, ("feature", "dim"))
    b = check.array("b", b, ("feature", a.shape[1]))
    cosine = _unit(a) @ _unit(b).T
    rows, columns = linear_sum_assignment(-cosine)
    best = np.zeros(len(a))
    best[rows] = cosine[rows, columns]
    return best


def _unit(directions):
    return directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)


def absorbed(
    activity: np.ndarray, decoder: np.ndarray, vectors: np.ndarray, words, family
) -> dict[str, float]:
    """Feature splitting and absorption for one family of words (after Chanin et al. 2024, "A is for
    Absorption").

    Parameters
    ----------
    activity : np.ndarray [shape=(token, feature)]
        Activations on single text tokens.
    decoder : np.ndarray [shape=(feature, dim)]
    vectors : np.ndarray [shape=(token, dim)]
        What was encoded.
    words : sequence of str
        The word of every token.
    family : iterable of str
        The words that mean the same; one that is named twice counts once.

    Returns
    -------
    dict
        main: the feature that tells the family best; auroc; recall: the share of the family's words
        on which it fires at least half the time; splits: how many features it takes until every
        word of the family has one that fires; absorbed: the share of the family's words where the
        main feature is silent while another feature, that points along the family's direction
        (difference in means) and is specific to that word, carries most of it.
    """
    words = np.asarray(words)
    family = list(dict.fromkeys(check.texts("family", family)))
    inside = np.isin(words, family)
    if not inside.any() or inside.all():
        raise ValueError("Of the tokens, some must be of the family and some must not.")
    area = auroc(activity, inside)
    main = int(area.argmax())
    there = [word for word in family if (words == word).any()]
    fires = np.stack(
        [(activity[words == word] > 0).mean(0) >= 0.5 for word in there]
    )  # [word, feature]
    direction = directions.between(vectors, inside, unit=True)
    along = (activity[inside] * (decoder @ direction)).clip(0)
    lost = 0
    for k, word in enumerate(there):
        share = along[words[inside] == word].mean(0)
        top = int(share.argmax())
        on_word = activity[words == word, top].mean()
        on_family = activity[inside, top].mean()
        own = (on_word + 1e-9) / (on_family + 1e-9)
        silent = not fires[k, main] and top != main
        lost += bool(silent and share[top] > 0.4 * share.sum() and own > 2)
    return {
        "main": main,
        "auroc": float(area[main]),
        "recall": float(fires[:, main].mean()),
        "splits": _splits(fires, area >= USEFUL),
        "absorbed": lost / len(there),
    }


def _splits(fires, useful):
    """How many useful features it takes, greedily, until one fires on every word [word,
    feature]."""
    left = np.ones(len(fires), bool)
    splits = 0
    while left.any():
        gain = (fires[left] & useful).sum(0)
        if not gain.max():
            break
        left &= ~fires[:, int(gain.argmax())]
        splits += 1
    return splits
