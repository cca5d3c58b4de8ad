"""How far raters agree, and how well anything can predict what they said on average.

A song's label is a mean over a few people, and another few would have said something else. The
reliability of such means, 1 less the variance of their error over their own variance, is the share
of a label's variance that belongs to the song: ICC(1,k), a one-way random-effects intraclass
correlation of means over k raters (Shrout and Fleiss 1979; McGraw and Wong 1996). The error's
variance is the mean over songs of s²/k, with s the standard deviation over a song's raters.

No prediction correlates with labels by more than the square root of their reliability (Spearman
1904), or explains more of their variance than the reliability. The highest CCC is the square root
too: of predictions b·t, with t what the labels would be if everybody had rated, it is largest at
b = 1 / sqrt(reliability), where it is the correlation. That a rater's leniency counts as error here
is right where each song has raters of its own, as crowds rate.

References
----------
Spearman 1904, The proof and measurement of association between two things, American Journal of
Psychology 15, 72-101. Spearman 1910 and Brown 1910, British Journal of Psychology 3, 271-322 (the
reliability of k raters from that of one, and back). Shrout and Fleiss 1979, Intraclass
correlations: uses in assessing rater reliability, Psychological Bulletin 86, 420-428. McGraw and
Wong 1996, Forming inferences about some intraclass correlation coefficients, Psychological Methods
1, 30-46. Krippendorff 2004, Content analysis (2nd ed.), chapter 11. Donner 1986, A review of
inference procedures for the intraclass correlation coefficient, International Statistical Review
54, 67-82 (unequal numbers of raters).
"""

import numpy as np
import pandas as pd

from .. import stats
from .labels import AXES

#: Songs without which nothing is estimated.
LEAST = 3


def ceiling(songs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The best that any prediction of songs' labels can do, given how far their raters differ.

    Parameters
    ----------
    songs : pd.DataFrame
        From ``Dataset.songs``, or ``Excerpts.songs``: valence and arousal, their standard errors
        ``valence_sem`` and ``arousal_sem``, ``raters``, and ``group``.
    seed : int

    Returns
    -------
    pd.DataFrame
        One row an axis whose standard errors are known: axis, songs (how many), raters (their mean
        number), one (reliability of one rater, by Spearman and Brown's formula), r2 (highest R²:
        the reliability of the labels), ccc (highest CCC and correlation: its square root).
        Estimates, whose intervals resample artists; 0 where raters differ more than songs do.
        Empty where no standard error is known.
    """
    rows = []
    for axis in AXES:
        known = songs[songs[[axis, f"{axis}_sem", "raters"]].notna().all(axis=1)]
        if len(known) >= LEAST and known["group"].nunique() > 1:
            raters = known["raters"].mean()
            r2 = _reliability(known, axis, seed)
            one = _mapped(r2, lambda value, k=raters: value / (k - (k - 1) * value))
            rows.append((axis, len(known), raters, one, r2, _mapped(r2, np.sqrt)))
    return pd.DataFrame(rows, columns=["axis", "songs", "raters", "one", "r2", "ccc"])


def _reliability(songs, axis, seed):
    """Reliability of means over raters."""
    ratings = songs[axis].to_numpy(float)
    errors = songs[f"{axis}_sem"].to_numpy(float) ** 2

    def reliability(rows):
        variance = ratings[rows].var(ddof=1)
        return max(0.0, 1 - errors[rows].mean() / variance) if variance > 0 else 0.0

    return stats.bootstrap_groups(reliability, songs["group"].to_numpy(), seed=seed)


def _mapped(estimate, function):
    """An estimate of a rising function of what was estimated."""
    ends = (estimate.value, estimate.low, estimate.high)
    return stats.Estimate(*(float(function(end)) for end in ends), estimate.n)


def rater_agreement(answers: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How far single raters agree about songs.

    Parameters
    ----------
    answers : pd.DataFrame
        From ``Dataset.answers``: song_id, valence, arousal, a row a rater and song. Songs with one
        answer are left out.
    seed : int

    Returns
    -------
    pd.DataFrame
        One row an axis with answers: axis, songs, answers (how many), alpha (Krippendorff's alpha
        for interval data), icc (ICC(1,1), for unequal numbers of raters). Estimates, whose
        intervals resample songs. Both are 1 where raters agree and 0 where they agree by chance.
        Empty where nobody's answers are known.
    """
    rows = []
    for axis in AXES:
        by_song = answers.dropna(subset=axis).groupby("song_id")[axis]
        table = by_song.agg(["size", "mean", "var"])
        table = table[table["size"] > 1].to_numpy(float)
        if len(table) >= LEAST:
            estimates = [
                stats.bootstrap_groups(
                    lambda songs, table=table, score=score: score(*_squares(table[songs])),
                    np.arange(len(table)),
                    seed=seed,
                )
                for score in (_alpha, _icc)
            ]
            rows.append((axis, len(table), int(table[:, 0].sum()), *estimates))
    return pd.DataFrame(rows, columns=["axis", "songs", "answers", "alpha", "icc"])


def _squares(table):
    """Raters of each song, and sums of squares within each song and between songs."""
    raters, means, variances = table.T
    grand = np.average(means, weights=raters)
    return raters, variances * (raters - 1), (raters * (means - grand) ** 2).sum()


def _alpha(raters, within, between):
    """Krippendorff's alpha: 1 less observed over expected disagreement, as squared differences."""
    n = raters.sum()
    observed = 2 * (raters * within / (raters - 1)).sum() / n
    expected = 2 * (within.sum() + between) / (n - 1)
    return 1 - observed / expected if expected > 0 else 1.0


def _icc(raters, within, between):
    """ICC(1,1) from the mean squares of a one-way analysis of variance."""
    n = raters.sum()
    songs = len(raters)
    usual = (n - (raters**2).sum() / n) / (songs - 1)
    inside = within.sum() / (n - songs)
    outside = between / (songs - 1)
    spread = outside + (usual - 1) * inside
    return (outside - inside) / spread if spread > 0 else 1.0
