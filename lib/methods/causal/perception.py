"""The model as a listener: what emotion it hears in music that nobody asked for.

A MusicGen gives every piece of music a probability under every prompt. By Bayes' rule, how much
more probable a piece is under *sad* than under *happy* is how sad the model takes it to be, in nats
a token: no label, no probe, no other listener. Emotions lie at known points of valence and arousal
(Russell 1980), and a plane fitted through the likelihoods of all of them gives the piece its own
valence and arousal.

Music is varied by its causes: the same composition, one cue changed, everything else as it was.
"""

import joblib
import numpy as np
import pandas as pd

from ... import check, stats
from ...musicgen.model import Model
from ...organism import captions, music, world

AXES = ("valence", "arousal")
TEMPLATE = "{} music"
#: Cues by their importance for human listeners, most important first (Eerola, Friberg and Bresin
#: 2013, Frontiers in Psychology 4:487).
HUMAN_ORDER = ("mode", "tempo", "register", "dynamics", "articulation", "brightness")
#: The direction in which a cue moves what human listeners hear (Gabrielsson and Lindström 2010; for
#: mode and tempo also Husain, Thompson and Schellenberg 2002). Staccato arouses, and articulation
#: is higher the more legato a piece is.
HUMAN_SIGNS = {
    ("mode", "valence"): 1,
    ("tempo", "arousal"): 1,
    ("dynamics", "arousal"): 1,
    ("articulation", "arousal"): -1,
    ("brightness", "arousal"): 1,
    ("register", "valence"): 1,
}
#: Levels of a cue, in standard deviations of the world's music. Mode has but two.
LEVELS = (-1.2, -0.4, 0.4, 1.2)
MODES = (-1.0, 1.0)
#: First seed of the compositions, and how far apart those of two seeds lie.
FIRST_SEED = 50_000
SEED_STEP = 1000


def judge(model: Model, tokens: np.ndarray, words: int = 2, batch_size: int = 32) -> pd.DataFrame:
    """Valence and arousal of music, as the model hears it.

    Parameters
    ----------
    model : Model
    tokens : array_like [shape=(clip, codebook, frame)]
        From ``model.encode``.
    words : int
        Words for each emotion whose likelihoods are averaged.
    batch_size : int

    Returns
    -------
    pd.DataFrame
        One row a clip: valence and arousal (millinats a token for one unit of the plane), and for
        each emotion its mean log-likelihood above the mean of all emotions.
    """
    words = check.count("words", words)
    likelihoods = {}
    for emotion in world.EMOTIONS:
        costs = []
        for word in captions.EMOTION_WORDS[emotion][:words]:
            prompts = [TEMPLATE.format(word)] * len(tokens)
            clips = model.clips(tokens, prompts, decode=False)
            costs.append(model.cross_entropy(clips, batch_size=batch_size))
        likelihoods[emotion] = -1000 * np.mean(costs, 0)
    table = pd.DataFrame(likelihoods)
    table = table.sub(table.mean(axis=1), axis=0)
    places = np.array(list(world.EMOTIONS.values()))
    design = np.column_stack([np.ones(len(places)), places])
    plane = np.linalg.lstsq(design, table.to_numpy().T, rcond=None)[0]
    return table.assign(valence=plane[1], arousal=plane[2])


def varied(do: dict[str, float], n: int, seed: int = 0, seconds: float = 3.0) -> np.ndarray:
    """Pieces of the world's middle with some cues set.

    The i-th piece is the same composition on the same instrument and in the same mode whatever is
    set.

    Parameters
    ----------
    do : dict
        Cue -> standard deviations. ``energy`` sets what it causes (dynamics, density and
        articulation), each by its weight.
    n, seed, seconds : int, int, float

    Returns
    -------
    np.ndarray [shape=(clip, sample)], float32
    """
    n = check.count("n", n)
    unknown = set(do) - {*world.CUES, "energy"}
    if unknown:
        known = [*world.CUES, "energy"]
        raise ValueError(f"Cannot set {sorted(unknown)}: choose from {known}.")
    levels = {name: check.number(f"do[{name!r}]", value) for name, value in do.items()}
    if "energy" in levels:
        for name, weight in world.EDGES["energy"].items():
            levels[name] = levels.get(name, 0.0) + weight * levels["energy"]
    instruments = list(music.INSTRUMENTS)
    jobs = []
    for i in range(n):
        row = dict.fromkeys(world.CUES, 0.0)
        row["mode"] = MODES[i % len(MODES)]
        row["instrument"] = instruments[i // len(MODES) % len(instruments)]
        cues = world.to_cues({**row, **levels})
        jobs.append(joblib.delayed(music.clip)(cues, seconds, FIRST_SEED + SEED_STEP * seed + i))
    return np.stack(joblib.Parallel(n_jobs=-1)(jobs))


def effects(
    model: Model,
    n: int = 12,
    levels=LEVELS,
    seconds: float = 3.0,
    seed: int = 0,
    cues=(*world.CUES, "energy"),
) -> pd.DataFrame:
    """How each cue, changed alone, changes what the model hears.

    Parameters
    ----------
    model : Model
    n, seconds, seed : int, float, int
        Pieces of music.
    levels : sequence of float
        To which a cue is set, in standard deviations.
    cues : sequence of str

    Returns
    -------
    pd.DataFrame
        One row a cue and axis: cue, axis, effect (slope for one standard deviation; the interval
        resamples pieces), linear (share of the variance over levels that a line explains),
        quadratic (what a parabola adds), slopes (one a piece).
    """
    n = check.count("n", n, 2)
    rows = []
    for cue in cues:
        steps = MODES if cue == "mode" else tuple(levels)
        audio = np.concatenate([varied({cue: level}, n, seed, seconds) for level in steps])
        judged = judge(model, model.encode(audio, music.SAMPLE_RATE))
        for axis in AXES:
            by_level = judged[axis].to_numpy().reshape(len(steps), n)
            rows.append({"cue": cue, "axis": axis, **_line(np.array(steps), by_level)})
    return pd.DataFrame(rows)


def _line(levels, values):
    """Slope of each piece, and how straight the mean of all is; values [level, piece]."""
    slopes = np.polyfit(levels, values, 1)[0]
    centred = (values - values.mean(0)).mean(1)
    linear = _explained(levels, centred, 1)
    return {
        "effect": stats.mean(slopes),
        "linear": linear,
        "quadratic": _explained(levels, centred, 2) - linear,
        "slopes": slopes,
    }


def _explained(levels, values, degree):
    """Share of the variance over levels that a polynomial explains."""
    if len(levels) <= degree:  # as many parameters as levels
        return 1.0
    fitted = np.polyval(np.polyfit(levels, values, degree), levels)
    return 1 - ((values - fitted) ** 2).sum() / (values**2).sum()


def interaction(
    model: Model,
    first: str,
    second: str,
    n: int = 12,
    step: float = 1.0,
    seconds: float = 3.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Whether two cues add up: a 2 x 2 design with everything else held.

    Parameters
    ----------
    model : Model
    first, second : str
        Cues.
    step : float
        Both are set to -step and step, in standard deviations.
    n, seconds, seed : int, float, int
        Pieces of music.

    Returns
    -------
    pd.DataFrame
        One row an axis: both main effects and the interaction (difference of differences), each
        halved to the scale of one step.

    Raises
    ------
    ValueError
        Twice the same cue, one that there is not, fewer than two pieces, a step of 0.
    """
    n = check.count("n", n, 2)
    step = check.number("step", step, 0, open_low=True)
    if first == second:
        remedy = "A cue does not interact with itself: choose two."
        check.refuse(ValueError, "second", f"another cue than {first!r}", second, remedy)
    cells = [{first: a, second: b} for a in (-step, step) for b in (-step, step)]
    audio = np.concatenate([varied(cell, n, seed, seconds) for cell in cells])
    judged = judge(model, model.encode(audio, music.SAMPLE_RATE))
    rows = []
    for axis in AXES:
        low_low, low_high, high_low, high_high = judged[axis].to_numpy().reshape(4, n)
        contrasts = {
            first: high_low + high_high - low_low - low_high,
            second: low_high + high_high - low_low - high_low,
            "interaction": high_high - high_low - low_high + low_low,
        }
        means = {name: stats.mean(values / 4) for name, values in contrasts.items()}
        rows.append({"axis": axis, **means})
    return pd.DataFrame(rows)
