"""What phrases make a model sing, in cues; and what state they put it in, over the same music."""

from collections.abc import Sequence

import numpy as np

from ... import cache
from ...hearing import acoustics
from ...musicgen import activations
from ...musicgen.model import Clips, Model
from ...organism import world
from . import words

CUES = tuple(world.CUES)
#: Where measures of songs are kept.
FOLDER = "understanding"
#: Seed of the first take.
FIRST_SEED = 61_000


def sing(model: Model, phrases: Sequence[str], takes: Sequence[int], seconds: float) -> np.ndarray:
    """The cues of songs, [phrase, take, cue]. The songs of a take share seed, template and
    instrument.
    """
    asked = words.in_prompts(phrases, takes)
    seeds = [FIRST_SEED + take for take in asked["take"]]
    clips = model.generate(list(asked["prompt"]), seconds, seeds, keep=True, progress=False)
    return heard(clips).reshape(len(phrases), len(takes), len(CUES))


def heard(clips: Clips) -> np.ndarray:
    """Measured cues [clip, cue], kept."""

    def measure():
        return acoustics.measure_all(clips.audio, clips.sample_rate)[list(CUES)].to_numpy()

    what = {"audio": clips.audio, "rate": clips.sample_rate, "code": cache.code(acoustics)}
    return cache.keep(FOLDER, what, measure)


def state(model: Model, site: str, phrases: Sequence[str], music: Clips) -> np.ndarray:
    """The mean state under each phrase over the same pieces of music, [phrase, dim].

    Parameters
    ----------
    model : Model
    site : str
    phrases : sequence of str
    music : Clips
        One piece a take; piece i was sung in take i.
    """
    takes = range(len(music))
    asked = words.in_prompts(phrases, takes)
    tokens = np.tile(music.tokens, (len(phrases), 1, 1))
    clips = model.clips(tokens, list(asked["prompt"]), decode=False)
    found = activations.capture(model, clips, site, reduce="mean", batch_size=64, progress=False)
    vectors = found[site].values.astype(np.float64)
    return vectors.reshape(len(phrases), len(music), -1).mean(1)
