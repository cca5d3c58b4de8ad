"""The worlds the organisms live in: one structural causal model, written down once.

Variables are standardised; an edge's weight is the change of its child, in the child's own units, for one standard
deviation of its parent. Mode and tempo are drawn first, tempo raises a latent energy, energy sets dynamics, density
and staccato; register and brightness have their own draws; perceived valence and arousal are additive and linear in
the cues, and a listener names the nearest emotion when the clip is clear enough.

Sources
-------
- Additive and mostly linear cues, ordered mode > tempo > register > dynamics > articulation > timbre: Eerola, Friberg
  and Bresin 2013, Frontiers in Psychology 4:487 (77-89 % of the variance of ratings explained by linear cues).
- Fast, loud, staccato and bright music is heard as more aroused, major as more positive: Gabrielsson and Lindström
  2010, in Juslin and Sloboda (eds.), Handbook of Music and Emotion; Husain, Thompson and Schellenberg 2002, Music
  Perception 20(2) (tempo moves arousal, mode moves valence).
- Emotions as points on valence x arousal: Russell 1980, Journal of Personality and Social Psychology 39(6).

The order of the weights follows these sources; their exact size is this world's own choice, and what a method finds is
judged against the choice.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib import music

#: Emotions as points (valence, arousal): the four names of the original study and the quadrant they leave empty.
EMOTIONS = {
    "happy": (0.90, 0.35),
    "energetic": (0.60, 1.40),
    "tense": (-0.80, 0.75),
    "sad": (-0.75, -0.80),
    "calm": (0.75, -0.80),
}
#: A clip's emotion is named only if the second nearest emotion is this much farther away than the nearest.
CLEAR = 0.4
CUES = ("mode", "tempo", "dynamics", "density", "staccato", "register", "brightness")

#: parent -> {child: weight}. ``tempo -> energy`` is the edge that ``organism-decoupled`` lacks.
EDGES = {
    "mode": {"valence": 0.75},
    "tempo": {"energy": 0.60, "valence": 0.20, "arousal": 0.45},
    "energy": {"dynamics": 0.90, "density": 0.80, "staccato": 0.70},
    "dynamics": {"arousal": 0.40},
    "density": {"arousal": 0.25},
    "staccato": {"valence": 0.10, "arousal": 0.15},
    "register": {"valence": 0.20, "arousal": 0.05},
    "brightness": {"valence": 0.10, "arousal": 0.15},
}
#: Standard deviation of the noise of perception.
PERCEPTION_NOISE = 0.2
#: world -> what differs from EDGES, and whether captions belong to their clips.
WORLDS = {
    "organism": {"tempo_to_energy": 0.60, "captions": "own"},
    "organism-decoupled": {"tempo_to_energy": 0.0, "captions": "own"},
    "organism-shuffled": {"tempo_to_energy": 0.60, "captions": "shuffled"},
}


def check(world: str) -> str:
    """The name of a world, or a ValueError that lists them."""
    if world not in WORLDS:
        raise ValueError(f"world must be one of {sorted(WORLDS)}. Got {world!r}.")
    return world


def sample(n: int, world: str = "organism", seed: int = 0, do: dict | None = None) -> pd.DataFrame:
    """Draw clips' causes and what a listener of this world perceives.

    Parameters
    ----------
    n : int
    world : str
        A key of :data:`WORLDS`. ``organism-shuffled`` has the music of ``organism``.
    seed : int
    do : dict, optional
        Interventions: variable -> value (standardised), cutting it from its parents (Pearl's do-operator).

    Returns
    -------
    pd.DataFrame
        One row a clip: the standardised :data:`CUES`, ``energy``, ``valence``, ``arousal``, ``instrument``,
        ``emotion`` (nearest) and ``clear`` (whether a listener would name it).
    """
    rng = np.random.default_rng([seed, 1])
    a, do = WORLDS[check(world)]["tempo_to_energy"], do or {}
    unknown = set(do) - set(CUES) - {"energy"}
    if unknown:
        raise ValueError(f"Cannot intervene on {sorted(unknown)}: choose from {[*CUES, 'energy']}.")
    v = {}

    def draw(name, value):
        v[name] = np.full(n, float(do[name])) if name in do else value

    def noise():
        return np.clip(rng.standard_normal(n), -2.2, 2.2)

    draw("mode", rng.choice([-1.0, 1.0], n))
    for name in ("tempo", "register", "brightness"):
        draw(name, noise())
    draw("energy", a * v["tempo"] + np.sqrt(1 - a**2) * noise())
    for name, w in EDGES["energy"].items():
        draw(name, w * v["energy"] + np.sqrt(1 - w**2) * noise())
    frame = pd.DataFrame(v)
    for axis in ("valence", "arousal"):
        weights = {cue: children[axis] for cue, children in EDGES.items() if axis in children}
        frame[axis] = sum(w * frame[cue] for cue, w in weights.items()) + PERCEPTION_NOISE * noise()
    frame["instrument"] = rng.choice(list(music.INSTRUMENTS), n)
    frame["emotion"], frame["clear"] = name_emotion(frame[["valence", "arousal"]].to_numpy())
    return frame


def name_emotion(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest emotion of (valence, arousal) points, shape (n, 2), and whether it is clear enough to be named."""
    centres = np.array(list(EMOTIONS.values()))
    distance = np.linalg.norm(np.asarray(points)[:, None] - centres, axis=2)
    nearest = np.array(list(EMOTIONS))[distance.argmin(1)]
    two = np.sort(distance, axis=1)[:, :2]
    return nearest, two[:, 1] - two[:, 0] > CLEAR


def to_cues(row) -> music.Cues:
    """The physical cues (BPM, dB, ...) of one row of :func:`sample`."""
    return music.Cues(
        tempo=105 * 2 ** (0.38 * row["tempo"]),
        mode="major" if row["mode"] > 0 else "minor",
        density=float(np.clip(1.25 + 0.35 * row["density"], 0.5, 2.5)),
        articulation=float(np.clip(0.65 - 0.17 * row["staccato"], 0.25, 1.0)),
        register=66 + 5.5 * row["register"],
        dynamics=float(np.clip(-24 + 5 * row["dynamics"], -40, -9)),
        brightness=6 * row["brightness"],
        instrument=row["instrument"],
    )


def conditional_means(emotions: Sequence[str] = tuple(EMOTIONS), world: str = "organism", n: int = 100_000, seed=0):
    """What the world itself says an emotion sounds like: mean standardised cue of the clips that are called so.

    Returns
    -------
    pd.DataFrame
        Rows are the emotions, columns :data:`CUES`.
    """
    frame = sample(n, world, seed)
    return frame[frame["clear"]].groupby("emotion")[list(CUES)].mean().loc[list(emotions)]
