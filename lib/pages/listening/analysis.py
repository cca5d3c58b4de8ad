"""What people heard: how far a condition moves a rating, how often it wins, do raters agree."""

import itertools
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.special
import scipy.stats
import statsmodels.api as sm
import statsmodels.formula.api as smf

from ... import stats
from ...stats import Estimate

FIRST_CLIP = "(the first clip)"  # the row of the bias for what is heard first


def ratings(table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """How far each condition moves a rating from the reference, the first of ``condition``.

    A linear mixed model by restricted maximum likelihood, answer ~ condition, with crossed random
    effects of participant and item (Baayen, Davidson and Bates 2008) and of participant by
    condition, without which raters who differ in their taste make chance significant (Barr et al.
    2013). It speaks of other raters and of these items: few items cannot say how conditions would
    act on others.

    Parameters
    ----------
    table : pd.DataFrame
        From :func:`read`.
    scale : str

    Returns
    -------
    pd.DataFrame
        One row a condition but the reference: condition, effect (Estimate, points of the scale), p,
        p_holm (Holm 1979).
    """
    part = _part(table, "rating", scale)
    part = part.assign(condition=part["condition"].cat.remove_unused_categories())
    crossed = {
        "participant": "0 + C(participant)",
        "item": "0 + C(item)",
        "taste": "0 + C(participant):C(condition)",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of zero is a result, not a failure
        model = smf.mixedlm(
            "answer ~ C(condition)", part, groups=np.ones(len(part)), vc_formula=crossed
        )
        fit = model.fit(reml=True, method="powell")
    names = list(part["condition"].cat.categories[1:])
    values = fit.fe_params.to_numpy()[1:]
    errors = fit.bse_fe.to_numpy()[1:]
    return _effects(names, values, errors, part["participant"].nunique())


def preferences(table: pd.DataFrame, scale: str | None = None) -> pd.DataFrame:
    """Bradley-Terry strengths from the pairs (Bradley and Terry 1952).

    Logistic regression, logit P(A is chosen) = strength of A - strength of B + side. Every two
    conditions that were compared share one more comparison that both half won, so that a condition
    that always wins has a finite strength. The standard error is the larger one of the model's and
    of that clustered by participant (Liang and Zeger 1986).

    ``choix`` fits the same strengths, but knows no side: what is heard first is chosen more often,
    and without that term strengths shrink (a strength of 1.0 with a side of 2.0 comes back as 0.28,
    here as 0.92). It gives no standard errors, either. So this regression is statsmodels' own.

    Parameters
    ----------
    table : pd.DataFrame
        From :func:`read`.
    scale : str, optional
        Needed if the pairs were compared on several.

    Returns
    -------
    pd.DataFrame
        One row a condition but the reference, and the last "(the first clip)", the bias for what is
        heard first: condition, effect (Estimate, log odds of being chosen against the reference),
        preferred (Estimate, share against the reference), p, p_holm. Conditions that nobody compared
        have no row.

    Raises
    ------
    ValueError
        Fewer than three participants, several scales, or conditions that no chain of comparisons
        connects with the reference.
    """
    part = _part(table, "pair", scale)
    names = list(part["condition"].cat.categories)
    first = pd.Categorical(part["condition"], names).codes
    second = pd.Categorical(part["other"], names).codes
    # one column a condition, and the last for the side
    one = np.eye(len(names), len(names) + 1)
    side = np.eye(len(names) + 1)[-1]
    x = one[first] - one[second] + side
    compared = {(min(pair), max(pair)) for pair in zip(first, second, strict=True)}
    _check_connected(names, compared)
    shared = np.array([one[i] - one[j] for i, j in sorted(compared)])
    used = np.flatnonzero(np.abs(x).any(0))[1:]  # without the reference

    y = np.concatenate([part["answer"], np.ones(len(shared)), np.zeros(len(shared))])
    rows = np.concatenate([x, shared, shared])[:, used]
    weights = np.repeat([1.0, 0.5], [len(x), 2 * len(shared)])
    fit = sm.GLM(y, rows, sm.families.Binomial(), freq_weights=weights).fit()
    scores = x[:, used] * (y - fit.fittedvalues)[: len(x), None]
    errors, n = _errors(fit, scores, part["participant"])

    found = _effects([[*names, FIRST_CLIP][k] for k in used], fit.params, errors, n)
    shares = [
        Estimate(*map(float, scipy.special.expit(effect[:3])), n) for effect in found["effect"]
    ]
    found.insert(2, "preferred", shares)
    return found


def _check_connected(names, compared):
    """Refuse pairs that no chain of comparisons connects with the reference, names[0]: how far their
    strengths are from its own, nobody has heard.
    """
    reached = {0}
    for _ in names:  # no chain is longer
        reached.update(*(pair for pair in compared if reached & {*pair}))
    apart = [names[k] for k in sorted({*itertools.chain(*compared)} - reached)]
    if apart:
        raise ValueError(
            f"Conditions must be compared with the reference, {names[0]!r}, or with others that are. "
            f"Got {apart}, which are not. Leave their pairs out of the table, or give it a condition "
            "as its reference that is connected with all that were compared: the first category of "
            "the column condition (table['condition'].cat.reorder_categories)."
        )


def _errors(fit, scores, participants):
    """Standard errors of a fit, the larger of the model's and of those clustered by participant."""
    sums = pd.DataFrame(scores).groupby(participants.to_numpy()).sum().to_numpy()
    n = len(sums)
    bread = np.asarray(fit.cov_params())
    clustered = bread @ sums.T @ sums @ bread * n / (n - 1)
    return np.sqrt(np.maximum(np.diag(clustered), np.diag(bread))), n


def _part(table, kind, scale):
    """The answers of one kind on one scale."""
    part = table[table["kind"] == kind]
    scales = sorted(set(part["scale"]))
    if scale is not None:
        part = part[part["scale"] == scale]
    if part["participant"].nunique() < 3 or part["scale"].nunique() != 1:
        raise ValueError(
            f"Needs {kind}s on one scale by three or more participants. Got scale {scale!r} (there "
            f"are {scales}) by {part['participant'].nunique()}."
        )
    return part


def _effects(names, values, errors, n):
    """Wald tests with t quantiles at n - 1 degrees of freedom.

    Participants are the units, and they may be few.
    """
    reach = scipy.stats.t.ppf(0.975, n - 1) * errors
    p = 2 * scipy.stats.t.sf(np.abs(values / errors), n - 1)
    effects = [
        Estimate(float(value), float(value - half), float(value + half), n)
        for value, half in zip(values, reach, strict=True)
    ]
    columns = {"condition": names, "effect": effects, "p": p, "p_holm": stats.correct(p)}
    return pd.DataFrame(columns)


# ---------------------------------------------------------------------------------------- agreement
class Agreement(NamedTuple):
    """Intraclass correlation of one rater, ICC(2,1), and of the mean of all of them, ICC(2,k)."""

    single: Estimate
    mean: Estimate


def agreement(table: pd.DataFrame, scale: str, n_resamples: int = 2000, seed: int = 0) -> Agreement:
    """Do people agree? Absolute agreement of raters about clips, both drawn at random.

    With mean squares of the two-way analysis of variance for n clips (BMS), k raters (JMS) and the
    rest (EMS): ICC(2,1) = (BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n), ICC(2,k) =
    (BMS - EMS) / (BMS + (JMS - EMS) / n) (Shrout and Fleiss 1979). The same numbers are means over
    pairs of raters, which the bootstrap over raters needs: a rater who is drawn twice is never
    compared with themselves, which would look like agreement.

    Parameters
    ----------
    table : pd.DataFrame
        From :func:`read`.
    scale : str
    n_resamples, seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        Fewer than three raters, or one who has not rated all clips.
    """
    part = _part(table, "rating", scale)
    grid = part.pivot_table(
        index=["item", "condition"], columns="participant", values="answer", observed=True
    )
    if grid.isna().any(axis=None) or len(grid) < 2:
        raise ValueError(
            f"Agreement needs all ratings of two or more clips. Got a table {grid.shape} with gaps."
        )
    x = grid.to_numpy()
    n, k = x.shape
    covariance = np.cov(x.T)
    apart = (x.mean(0)[:, None] - x.mean(0)) ** 2 / 2

    def single(raters):
        times = np.bincount(raters, minlength=k)
        pairs = np.outer(times, times) * (1.0 - np.eye(k))
        clip = (pairs * covariance).sum() / pairs.sum()
        noise = np.diag(covariance) @ times / times.sum() - clip
        rater = (pairs * apart).sum() / pairs.sum() - noise / n
        return clip / (clip + noise + rater)

    one = stats.bootstrap(single, np.arange(k), n_resamples=n_resamples, seed=seed)
    of_mean = [k * value / (1 + (k - 1) * value) for value in one[:3]]  # Spearman and Brown
    return Agreement(one, Estimate(*of_mean, k))
