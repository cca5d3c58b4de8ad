"""The music that organisms learn from: rendered, and as the codec's tokens."""

import concurrent.futures
import math
import os

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from .. import cache
from ..organism import corpus, music, world
from . import plan, training

#: Clips written together: what a kill can cost.
PIECE = 500
#: Clips encoded together.
TOGETHER = 50


def table(name: str, n: int) -> pd.DataFrame:
    """Causes and captions of the music that a world's models learn from."""
    return corpus.table(name, n, seed=100 + plan.MUSIC[name])


def render(name: str, n: int) -> np.ndarray:
    """The music of a world, rendered in pieces that survive a kill.

    Returns
    -------
    np.ndarray [shape=(clip, sample)], int16
        Memory-mapped.
    """
    clips = table(name, n)
    file = training.place("corpus") / f"{name}-{_identity(clips)}.npy"
    progress = file.with_suffix(".done")
    shape = (n, round(corpus.SECONDS * music.SAMPLE_RATE))
    first = int(progress.read_text()) if file.exists() and progress.exists() else 0
    if first < n:
        mode = "r+" if first else "w+"
        audio = np.lib.format.open_memmap(file, mode=mode, dtype=np.int16, shape=shape)
        for start in tqdm(range(first, n, PIECE), desc=f"render {name}"):
            piece = _render_piece(clips.iloc[start : start + PIECE])
            audio[start : start + len(piece)] = piece
            audio.flush()
            cache.write(progress, str(start + len(piece)))
    return np.load(file, mmap_mode="r")


def _identity(clips):
    """What rendered clips follow from."""
    causes = clips.drop(columns="caption")
    code = cache.code(music, world, corpus.render)
    return cache.digest(causes, corpus.SECONDS, code)[:20]


def _render_piece(clips):
    """Audio int16 [clip, sample] of some rows of the table, on all cores."""
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        rendered = pool.map(corpus.render, clips.to_dict("records"), chunksize=25)
        return np.stack(list(rendered))


def tokenize(name: str, n: int, codec, device: str) -> tuple[np.ndarray, pd.DataFrame]:
    """A world's music as tokens, rendered and encoded in pieces that survive a kill.

    Parameters
    ----------
    name : str
        A key of ``plan.MUSIC``.
    n : int
    codec : EncodecModel
    device : str

    Returns
    -------
    tokens : np.ndarray [shape=(clip, n_q, frame)], int16
    table : pd.DataFrame
        From :func:`table`.
    """
    clips = table(name, n)
    weights = cache.digest(codec.state_dict())
    pieces = []
    for start in tqdm(range(0, n, PIECE), desc=f"tokens {name}"):
        piece = clips.iloc[start : start + PIECE]

        def compute(piece=piece):
            return encode(_render_piece(piece), codec, device)

        what = {"codec": weights, "music": _identity(piece)}
        pieces.append(cache.keep("organisms/tokens", what, compute))
    return np.concatenate(pieces), clips


@torch.no_grad()
def encode(audio: np.ndarray, codec, device: str) -> np.ndarray:
    """Audio int16 [clip, sample] as tokens int16 [clip, n_q, frame]."""
    tokens = []
    for part in np.array_split(audio, math.ceil(len(audio) / TOGETHER)):
        wave = torch.from_numpy(part.astype(np.float32) / 32768)[:, None].to(device)
        tokens.append(codec.encode(wave)[0].cpu().numpy().astype(np.int16))
    return np.concatenate(tokens)
