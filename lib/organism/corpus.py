"""The music of a world with its causes and its captions: what organisms and listeners learn from."""

import joblib
import numpy as np
import pandas as pd

from lib import music
from lib.organism import captions, world

SECONDS = 6.0


def table(name: str, n: int, seed: int) -> pd.DataFrame:
    """Clips of a world with their captions: what ``world.sample`` gives plus ``caption`` and ``clip_seed``."""
    frame = world.sample(n, name, seed)
    rng = np.random.default_rng([seed, 2])
    frame["caption"] = [captions.caption(row, rng) for row in frame.to_dict("records")]
    frame["clip_seed"] = np.arange(n) + 1_000_000 * seed
    return frame


def render(row: dict) -> np.ndarray:
    """Audio of one row of :func:`table`, int16 [sample] at 16 kHz."""
    return np.round(music.clip(world.to_cues(row), SECONDS, row["clip_seed"]) * 32767).astype(np.int16)


def sample(n: int, seed: int, name: str = "organism") -> tuple[np.ndarray, pd.DataFrame]:
    """Rendered clips, float32 [clip, sample] at 16 kHz, and their :func:`table`."""
    frame = table(name, n, seed)
    audio = joblib.Parallel(n_jobs=-1)(joblib.delayed(render)(row) for row in frame.to_dict("records"))
    return np.stack(audio).astype(np.float32) / 32768, frame
