"""Simulated raters: what the analysis finds where the truth is known, and how many are needed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats

from ... import cache, check, stats
from ...stats import Estimate
from .answers import POINTS, Key, seal
from .design import ListeningTest

ALPHA = 0.05


class Spread(NamedTuple):
    """How simulated raters differ: standard deviations in points of the scale, and a side's logits.

    Assumptions of an order that ratings of music have, not measurements: replace them by those of a
    pilot.
    """

    rater: float = 1.0  #: use of the scale
    item: float = 0.7
    taste: float = 0.5  #: each rater's own view of each condition
    noise: float = 1.3
    side: float = 0.2  #: logits for the first clip of a pair


TYPICAL = Spread()


def simulate(
    test: ListeningTest,
    raters: int,
    effects: dict[str, dict[str, float]],
    folder,
    *,
    spread: Spread = TYPICAL,
    seed: int = 0,
) -> list[Path]:
    """Answer files of simulated raters with known effects, in the page's format.

    Their source is "simulated", where that of people is "page".

    Parameters
    ----------
    test : ListeningTest
    raters : int
        Participants 1 to ``raters``.
    effects : dict
        {scale: {condition: effect}}: points for ratings, logits for the pairs' scale; 0 for what is
        not named.
    folder : path
        Where the files go.
    spread : Spread
    seed : int

    Raises
    ------
    ValueError, TypeError
        A scale or condition that the test does not have, or an effect that is no number.
    """
    key = Key.load(test.key)
    scales = [*key.ratings, key.pair]
    effect = _complete(effects, scales, key.conditions)
    folder = check.path("folder", folder)
    rng = np.random.default_rng(check.count("seed", seed, 0))
    items = sorted({item for _, item in key.clips.values()})
    liked = {(scale, item): rng.normal(0, spread.item) for scale in scales for item in items}
    files = []
    for participant in range(1, check.count("raters", raters) + 1):
        body = {
            "test": key.test,
            "version": key.version,
            "participant": participant,
            "source": "simulated",
            "answers": _answers(key, participant, effect, liked, spread, rng),
            "started": "",
            "finished": "",
        }
        # not as people's are called, which may lie there
        file = folder / f"simulated-{key.test}-{participant}.json"
        files.append(cache.write(file, seal(body)))
    return files


def _answers(key, participant, effect, liked, spread, rng):
    """All answers of one rater, whose use of the scales and taste are drawn first."""
    bias = {scale: rng.normal(0, spread.rater) for scale in [*key.ratings, key.pair]}
    taste = {which: rng.normal(0, spread.taste) for which in effect}
    answers = []
    for kind, clips in key.plan(participant):
        conditions = [key.clips[clip][0] for clip in clips]
        item = key.clips[clips[0]][1]
        answer = {}
        if kind == "rating":
            for scale in key.ratings:
                which = (scale, conditions[0])
                mean = effect[which] + bias[scale] + liked[scale, item] + taste[which]
                answer[scale] = int(_points(mean + rng.normal(0, spread.noise)))
        else:
            first, second = (effect[key.pair, condition] for condition in conditions)
            share = scipy.special.expit(first - second + spread.side)
            answer[key.pair] = 1 if rng.random() < share else 2
        ms = int(rng.integers(4000, 12000))
        answers.append(
            {"answer": answer, "clips": clips, "kind": kind, "ms": ms, "plays": len(clips)}
        )
    return answers


def _complete(effects, scales, conditions):
    """The effect of every condition on every scale, {(scale, condition): effect}."""
    given = {
        (str(scale), str(condition)): effect
        for scale, row in effects.items()
        for condition, effect in row.items()
    }
    named = {str(scale) for scale in effects}
    unknown = (named - set(scales)) | ({condition for _, condition in given} - set(conditions))
    if unknown:
        raise ValueError(
            f"effects name {sorted(unknown)}; the test has {scales} and {list(conditions)}."
        )
    for (scale, condition), effect in given.items():
        check.number(f"effects[{scale!r}][{condition!r}]", effect)
    return {
        (scale, condition): given.get((scale, condition), 0.0)
        for scale in scales
        for condition in conditions
    }


def _points(x):
    """What a rater ticks: whole points around the middle of the scale."""
    return np.clip(np.round((POINTS + 1) / 2 + np.asarray(x)), 1, POINTS).astype(int)


# -------------------------------------------------------------------------------------------- power
def power(
    effect: float,
    raters: int,
    items: int,
    *,
    spread: Spread = TYPICAL,
    comparisons: int = 1,
    repetitions: int = 1000,
    seed: int = 0,
) -> Estimate:
    """How often a test finds an effect: share of simulated tests with p < 0.05 / ``comparisons``.

    The analysis is the paired t-test of two conditions over raters' means, which is what the mixed
    model comes to when every rater hears every item in both.

    Parameters
    ----------
    effect : float
        Points of the scale; 0 gives the rate of false alarms.
    raters : int
        Three or more.
    items : int
    spread : Spread
    comparisons : int
        Conditions tested against the reference: Bonferroni's bound, the strictest step of Holm's.
    repetitions, seed : int

    Returns
    -------
    Estimate
        With Wilson's interval for the number of repetitions.
    """
    effect = check.number("effect", effect)
    raters = check.count("raters", raters, 3)
    items = check.count("items", items)
    repetitions = check.count("repetitions", repetitions)
    rng = np.random.default_rng(seed)
    each = (repetitions, raters)
    rater = rng.normal(0, spread.rater, each)[..., None]
    base = rater + rng.normal(0, spread.item, (repetitions, 1, items))
    means = []
    for shift in (0.0, effect):
        taste = rng.normal(0, spread.taste, each)[..., None]
        noise = rng.normal(0, spread.noise, (*each, items))
        means.append(_points(base + shift + taste + noise).mean(2))
    change = means[1] - means[0]
    error = change.std(1, ddof=1) / np.sqrt(raters)
    t = change.mean(1) / np.maximum(error, 1e-12)
    p = 2 * scipy.stats.t.sf(np.abs(t), raters - 1)
    return stats.proportion(p < ALPHA / check.count("comparisons", comparisons))


def needed(effect: float, items: int, wanted: float = 0.8, most: int = 200, **how) -> int | None:
    """The fewest raters whose test finds an effect with power ``wanted``.

    Parameters
    ----------
    effect : float
        Points of the scale.
    items : int
    wanted : float, 0 < wanted < 1
    most : int
        The largest number that is tried.
    **how
        As for :func:`power`.

    Returns
    -------
    int or None
        None if ``most`` do not suffice.
    """
    wanted = check.number("wanted", wanted, 0, 1, open_low=True, open_high=True)
    few = 3
    many = most
    if power(effect, many, items, **how).value < wanted:
        return None
    while few < many:
        middle = (few + many) // 2
        if power(effect, middle, items, **how).value < wanted:
            few = middle + 1
        else:
            many = middle
    return many
