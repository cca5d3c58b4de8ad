"""What the organisms' world itself gives for some of the measures: how large an effect could be."""

import numpy as np

from ...organism import captions, world
from .measures import along

#: Clips that are drawn.
CLIPS = 40_000
SEED = 41


def sizes(name: str = "organism", n: int = CLIPS) -> dict[str, float]:
    """Effects of emotion words in a world's own music, in standard deviations of its cues.

    As in ``measures``: along each emotion's profile without its strongest cue, mean over emotions.
    A model that learned its captions perfectly, and sang as the world does, would give these.

    Parameters
    ----------
    name : str
        A key of ``world.WORLDS`` in which words follow emotions.
    n : int
        Clips.

    Returns
    -------
    dict
        Criterion ("profile", "degree", "denied") -> size.
    """
    table = world.sample(n, name, SEED)
    clear = table[table["clear"]].reset_index(drop=True)
    cues = clear[list(world.CUES)].to_numpy()
    cues = cues - cues.mean(0)
    emotions = clear["emotion"].to_numpy()
    intensity = np.array([world.intensity(row) for row in clear.to_dict("records")])
    limits = (captions.SLIGHT_EMOTION, captions.STRONG_EMOTION)
    degrees = np.array([captions.degree(size, *limits) for size in intensity], dtype=object)
    found = {"profile": [], "degree": [], "denied": []}
    for emotion in world.EMOTIONS:
        own = emotions == emotion
        much, little = (cues[own & (degrees == kind)].mean(0) for kind in ("much", "little"))
        profile = cues[own].mean(0)
        strongest = np.abs(profile).argmax()
        effects = {"profile": profile, "degree": much - little, "denied": -cues[~own].mean(0)}
        for criterion, effect in effects.items():
            found[criterion].append(along(effect, profile, strongest))
    return {criterion: float(np.mean(values)) for criterion, values in found.items()}
