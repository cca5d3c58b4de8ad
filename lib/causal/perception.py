"""The model as a listener: what emotion it hears in music that nobody asked for.

A MusicGen gives every piece of music a probability under every prompt. By Bayes' rule, how much more probable a piece is
under *sad* than under *happy* is how sad the model takes it to be, in nats a token: no label, no probe, no other
listener. Emotions lie at known points of valence and arousal (Russell 1980), and a plane fitted through the likelihoods
of all of them gives the piece its own valence and arousal.

Music is varied by its causes: the same composition, one cue changed, everything else as it was.
"""

import joblib
import numpy as np
import pandas as pd

from lib import music, stats
from lib.model import Model
from lib.organism import captions, world

TEMPLATE = "{} music"
#: Cues by their importance for human listeners, most important first (Eerola, Friberg and Bresin 2013).
HUMAN_ORDER = ("mode", "tempo", "register", "dynamics", "staccato", "brightness")
#: The direction in which a cue moves what human listeners hear (Gabrielsson and Lindström 2010; for mode and tempo also
#: Husain, Thompson and Schellenberg 2002).
HUMAN_SIGNS = {
    ("mode", "valence"): 1, ("tempo", "arousal"): 1, ("dynamics", "arousal"): 1, ("staccato", "arousal"): 1,
    ("brightness", "arousal"): 1, ("register", "valence"): 1,
}  # fmt: skip


def judge(model: Model, tokens: np.ndarray, words: int = 2, batch_size: int = 32) -> pd.DataFrame:
    """Valence and arousal of music, as the model hears it.

    Parameters
    ----------
    model : Model
    tokens : array_like [shape=(clip, codebook, frame)]
        From ``model.encode``.
    words : int
        Words for each emotion whose likelihoods are averaged.

    Returns
    -------
    pd.DataFrame
        One row a clip: valence and arousal (millinats a token for one unit of the plane), and for each emotion its mean
        log-likelihood above the mean of all emotions.
    """
    said = {}
    for emotion in world.EMOTIONS:
        told = [TEMPLATE.format(w) for w in captions.EMOTION_WORDS[emotion][:words]]
        runs = [
            model.cross_entropy(model.clips(tokens, [p] * len(tokens), decode=False), batch_size=batch_size)
            for p in told
        ]
        said[emotion] = -1000 * np.mean(runs, 0)
    table = pd.DataFrame(said)
    table = table.sub(table.mean(axis=1), axis=0)
    places = np.column_stack([np.ones(len(world.EMOTIONS)), np.array(list(world.EMOTIONS.values()))])
    plane = np.linalg.lstsq(places, table.to_numpy().T, rcond=None)[0]
    return table.assign(valence=plane[1], arousal=plane[2])


def varied(do: dict[str, float], n: int, seed: int = 0, seconds: float = 3.0) -> np.ndarray:
    """``n`` pieces of the world's middle with some cues set (in standard deviations), float32 [clip, sample].

    The i-th piece is the same composition on the same instrument and in the same mode whatever is set. ``energy`` sets
    what it causes: dynamics, density and staccato, each by its weight.
    """
    do = dict(do)
    if unknown := set(do) - {*world.CUES, "energy"}:
        raise ValueError(f"Cannot set {sorted(unknown)}: choose from {[*world.CUES, 'energy']}.")
    for name, weight in world.EDGES["energy"].items() if "energy" in do else ():
        do[name] = do.get(name, 0.0) + weight * do["energy"]
    instruments = list(music.INSTRUMENTS)
    rows = [
        {
            **dict.fromkeys(world.CUES, 0.0),
            "mode": (-1.0, 1.0)[i % 2],
            "instrument": instruments[i // 2 % len(instruments)],
        }
        for i in range(n)
    ]
    jobs = [(world.to_cues({**row, **do}), seconds, 50_000 + 1000 * seed + i) for i, row in enumerate(rows)]
    return np.stack(joblib.Parallel(n_jobs=-1)(joblib.delayed(music.clip)(*job) for job in jobs))


def effects(
    model: Model,
    n: int = 12,
    levels=(-1.2, -0.4, 0.4, 1.2),
    seconds: float = 3.0,
    seed: int = 0,
    cues=(*world.CUES, "energy"),
) -> pd.DataFrame:
    """How each cue, changed alone, changes what the model hears.

    Returns
    -------
    pd.DataFrame
        One row a cue and axis: cue, axis, effect (slope for one standard deviation; the interval resamples pieces), linear
        (share of the variance over levels that a line explains), quadratic (what a parabola adds), slopes (one a piece).
    """
    rows = []
    for cue in cues:
        steps = (-1.0, 1.0) if cue == "mode" else levels
        tokens = model.encode(np.concatenate([varied({cue: z}, n, seed, seconds) for z in steps]), music.SAMPLE_RATE)
        heard = judge(model, tokens)
        for axis in ("valence", "arousal"):
            y = heard[axis].to_numpy().reshape(len(steps), n)
            rows.append({"cue": cue, "axis": axis, **_line(np.array(steps), y)})
    return pd.DataFrame(rows)


def _line(z, y):
    """Slope of each piece, and how straight the mean of all is."""
    slopes = np.polyfit(z, y, 1)[0]
    within = (y - y.mean(0)).mean(1)
    total, shares = (within**2).sum(), []
    for degree in (1, 2):
        fitted = np.polyval(np.polyfit(z, within, degree), z) if len(z) > degree else within
        shares.append(1 - ((within - fitted) ** 2).sum() / total)
    return {"effect": stats.mean(slopes), "linear": shares[0], "quadratic": shares[1] - shares[0], "slopes": slopes}


def interaction(
    model: Model, first: str, second: str, n: int = 12, step: float = 1.0, seconds: float = 3.0, seed: int = 0
):
    """Whether two cues add up: a 2 x 2 design with everything else held.

    Returns
    -------
    pd.DataFrame
        One row an axis: both main effects, and the interaction (difference of differences), each halved to the scale of
        one step.
    """
    cells = [(a, b) for a in (-step, step) for b in (-step, step)]
    audio = np.concatenate([varied({first: a, second: b}, n, seed, seconds) for a, b in cells])
    heard = judge(model, model.encode(audio, music.SAMPLE_RATE))
    rows = []
    for axis in ("valence", "arousal"):
        ll, lh, hl, hh = heard[axis].to_numpy().reshape(4, n)
        parts = {first: hl + hh - ll - lh, second: lh + hh - ll - hl, "interaction": hh - hl - lh + ll}
        rows.append({"axis": axis, **{name: stats.mean(values / 4) for name, values in parts.items()}})
    return pd.DataFrame(rows)
