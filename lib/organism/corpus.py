"""The music of a world with its causes and its captions: what organisms and listeners learn from.

>>> from lib.organism import corpus
>>> audio, table = corpus.sample(2, seed=1)
>>> audio.shape, list(table["instrument"])
((2, 96000), ['violin', 'organ'])
"""

from collections.abc import Mapping

import joblib
import numpy as np
import pandas as pd

from .. import check
from . import captions, music, world

SECONDS = 6.0


def table(name: str, n: int, seed: int) -> pd.DataFrame:
    """Clips of a world with their captions, not yet rendered.

    Parameters
    ----------
    name : str
        A key of ``world.WORLDS``.
    n, seed : int

    Returns
    -------
    pd.DataFrame
        What ``world.sample`` gives, ``caption``, and ``clip_seed`` (of the composition).
    """
    n = check.count("n", n)
    seed = check.count("seed", seed, 0)
    clips = world.sample(n, name, seed)
    rng = np.random.default_rng([seed, 2])
    clips["caption"] = [captions.caption(row, rng, name) for row in clips.to_dict("records")]
    clips["clip_seed"] = np.arange(n) + 1_000_000 * seed
    return clips


def render(row: Mapping) -> np.ndarray:
    """Audio of one row of :func:`table`, int16 [sample] at 16 kHz."""
    audio = music.clip(world.to_cues(row), SECONDS, row["clip_seed"])
    return np.round(audio * 32767).astype(np.int16)


def sample(n: int, seed: int, name: str = "organism") -> tuple[np.ndarray, pd.DataFrame]:
    """Rendered clips of a world, on all cores.

    Returns
    -------
    audio : np.ndarray [shape=(clip, sample)], float32
        At ``music.SAMPLE_RATE``.
    table : pd.DataFrame
        From :func:`table`.
    """
    clips = table(name, n, seed)
    rendered = joblib.Parallel(n_jobs=-1)(
        joblib.delayed(render)(row) for row in clips.to_dict("records")
    )
    return np.stack(rendered).astype(np.float32) / 32768, clips
