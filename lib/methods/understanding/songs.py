"""What phrases make a model sing, in cues; and what state they put it in, over the same music."""

from collections.abc import Sequence

import numpy as np

from ... import cache
from ...hearing import acoustics, listeners
from ...musicgen import activations
from ...musicgen.model import SOURCES as MODEL_SOURCES
from ...musicgen.model import Clips, Model
from ...organism import music as rendered
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
    cues = sing_one_each(model, asked["phrase"], asked["take"], seconds)
    return cues.reshape(len(phrases), len(takes), len(CUES))


def sing_one_each(
    model: Model, phrases: Sequence[str], takes: Sequence[int], seconds: float
) -> np.ndarray:
    """The cues of one song a phrase, each in a take of its own, [song, cue]."""
    asked = [words.in_prompt(*both) for both in zip(phrases, takes, strict=True)]
    seeds = [FIRST_SEED + take for take in takes]
    return heard(model.generate(asked, seconds, seeds, keep=True, progress=False))


def heard(clips: Clips) -> np.ndarray:
    """Measured cues [clip, cue], kept."""

    def measure():
        return acoustics.measure_all(clips.audio, clips.sample_rate)[list(CUES)].to_numpy()

    what = {
        "audio": clips.audio,
        "rate": clips.sample_rate,
        # the measure of loudness is the renderer's own
        "code": cache.code(acoustics, rendered),
        "libraries": listeners.versions(),
    }
    return cache.keep(FOLDER, what, measure)


def states(model: Model, sites: Sequence[str], phrases: Sequence[str], music: Clips) -> np.ndarray:
    """The mean state under each phrase over the same pieces of music, [site, phrase, dim].

    Parameters
    ----------
    model : Model
    sites : sequence of str
        All of one width.
    phrases : sequence of str
    music : Clips
        One piece a take; piece i was sung in take i.
    """
    takes = range(len(music))
    asked = words.in_prompts(phrases, takes)
    tokens = np.tile(music.tokens, (len(phrases), 1, 1))
    clips = model.clips(tokens, list(asked["prompt"]), decode=False)
    settings = {"reduce": "mean", "batch_size": 64, "progress": False}
    found = activations.capture(model, clips, list(sites), **settings)
    vectors = np.stack([found[site].values for site in sites]).astype(np.float64)
    return vectors.reshape(len(sites), len(phrases), len(music), -1).mean(2)


def likelihoods(model: Model, phrases: Sequence[str], tokens: np.ndarray) -> np.ndarray:
    """Log-likelihood of music under each phrase alone, nats a token [phrase, piece]; kept.

    Parameters
    ----------
    model : Model
    phrases : sequence of str
    tokens : np.ndarray [shape=(piece, codebook, frame)]
    """

    def ask():
        found = []
        for phrase in phrases:
            clips = model.clips(tokens, [f"{phrase} music"] * len(tokens), decode=False)
            found.append(-model.cross_entropy(clips, batch_size=64))
        return np.array(found)

    what = {
        "model": model.identity(),
        "edits": model.interventions,
        "phrases": list(phrases),
        "tokens": tokens,
        "code": cache.code(*MODEL_SOURCES, likelihoods, type(model)),
    }
    return cache.keep(FOLDER, what, ask)
