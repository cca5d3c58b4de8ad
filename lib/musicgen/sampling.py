"""Token by token: what audiocraft's own ``generate`` computes, without what it repeats at every
step.

Keys and values of the text are computed once a clip and those of the past are written in place.
Text of different length shares a batch, because every row reads its own text alone (audiocraft's
cross-attention sees the padding of shorter rows). Every clip has its own random numbers, so that it
does not depend on the batch it is made in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from . import melody
from .forward import Network, Past
from .run import Visitors

#: Steps whose random numbers are drawn at once.
BLOCK = 32
#: In the place of a token that is not drawn yet.
UNKNOWN = -1


@dataclass(frozen=True)
class Settings:
    """How tokens are drawn.

    Attributes
    ----------
    temperature : float
        0 takes the likeliest token.
    top_k : int
        Candidates.
    cfg : float
        Coefficient of classifier-free guidance; 1 is none.
    negative : str
        What guidance leads away from, instead of no text.
    """

    temperature: float
    top_k: int
    cfg: float
    negative: str = ""


class Window(NamedTuple):
    """A part of a song that is longer than what the model reads at once.

    Attributes
    ----------
    first, stop : int
        Frames of the song: from ``first`` on, up to ``stop``, which is not in it.
    """

    first: int
    stop: int


def windows(frames: int, limit: int, stride: int) -> list[Window]:
    """What a song is generated in: one window, or several that overlap, as audiocraft has them.

    Each begins ``stride`` frames behind the one before and goes on from the end of that, which it
    reads.

    Parameters
    ----------
    frames : int
        Of the song.
    limit : int
        Most frames of a window.
    stride : int
        From 1 to ``limit`` - 1; of no matter where one window is enough.
    """
    found = [Window(0, min(frames, limit))]
    while found[-1].stop < frames:
        first = found[-1].first + stride
        found.append(Window(first, min(frames, first + limit)))
    return found


def generators(seeds: list[int]) -> list[torch.Generator]:
    """Each clip's own random numbers: they go on from window to window."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


@torch.no_grad()
def sample(
    lm,
    prompts: list[str],
    frames: int,
    randomness: list[torch.Generator],
    settings: Settings,
    beside: list[str],
    visitors: Visitors,
    progress: Callable[[], None],
    begun: np.ndarray | None = None,
    chroma: np.ndarray | None = None,
) -> torch.Tensor:
    """Sample tokens, int64 [clip, n_q, frame].

    Parameters
    ----------
    lm : audiocraft.models.lm.LMModel
    prompts : list of str
    frames : int
    randomness : list of torch.Generator
        One a clip, from :func:`generators`.
    settings : Settings
    beside : list of str
        Prompts of a third stream, one a clip or none: it reads the clip's tokens and has no say in
        them.
    visitors : Visitors
        Who reads or changes what on the way; rows are [cond, uncond, beside], each with all clips.
    progress : callable
        Called before every step.
    begun : np.ndarray [shape=(clip, n_q, frame)], optional
        Tokens that the clips begin with: they are read, not drawn.
    chroma : np.ndarray [shape=(clip, chroma frame, pitch class)], optional
        Of the melody that all but the unconditional stream read.
    """
    n = len(prompts)
    every = [*prompts, *[settings.negative] * n, *beside]
    streams = len(every) // n
    network = Network(lm, rows=len(every))
    lengths = text_lengths(lm, prompts) * streams
    melodies = rows_of_chroma(lm, chroma, [k != 1 for k in range(streams)])
    text = network.read_text(every, visitors, lengths, melodies)
    pattern = lm.pattern_provider.get_pattern(frames)
    device = lm.emb[0].weight.device
    codes = torch.full((n, lm.n_q, frames), UNKNOWN, dtype=torch.long, device=device)
    if begun is not None:
        codes[..., : begun.shape[-1]] = torch.tensor(begun, device=device)
    sequence, _, _ = pattern.build_pattern_sequence(codes, lm.special_token_id)
    unknown = sequence == UNKNOWN
    steps = sequence.shape[-1] - 1
    past = Past(network, text, len(every), steps)
    noise = (
        gumbel_noise(randomness, steps, (lm.n_q, lm.card), device)
        if settings.temperature > 0
        else None
    )
    for step in range(steps):
        progress()
        tokens = sequence[..., step : step + 1].repeat(streams, 1, 1)
        logits = network.pass_through(tokens, text, visitors.at(step), past)[:, :, 0]
        drawn = _next(logits[:n], logits[n : 2 * n], settings, noise)
        there = sequence[..., step + 1]
        sequence[..., step + 1] = torch.where(unknown[..., step + 1], drawn, there)
    return pattern.revert_pattern_sequence(sequence, special_token=-1)[0][..., :frames]


def text_lengths(lm, prompts: list[str]) -> list[int]:
    """Number of text tokens of each prompt."""
    tokenizer = lm.condition_provider.conditioners[melody.TEXT].t5_tokenizer
    return [len(ids) for ids in tokenizer(list(prompts))["input_ids"]]


def rows_of_chroma(lm, chroma: np.ndarray | None, streams: list[bool]) -> torch.Tensor | None:
    """Chromagrams of the clips [clip, frame, pitch class] for all rows: silence in those streams
    that read no melody.
    """
    if chroma is None:
        return None
    conditioner = melody.of(lm)
    silence = conditioner.silence(len(chroma))
    given = torch.as_tensor(chroma).to(silence)
    return torch.cat([given if reads else silence for reads in streams])


def _next(cond, uncond, settings, noise):
    """The tokens that follow, [clip, n_q], by classifier-free guidance (Ho and Salimans 2022)."""
    logits = uncond + (cond - uncond) * settings.cfg
    if noise is None:
        return logits.argmax(-1)
    return draw(logits / settings.temperature + next(noise), logits, settings.top_k)


def gumbel_noise(
    randomness: list[torch.Generator], steps: int, shape: tuple[int, ...], device
) -> Iterator[torch.Tensor]:
    """Gumbel noise for every step, [clip, *shape]:

    the largest sum of logit and noise is a sample of the softmax.
    """
    for first in range(0, steps, BLOCK):
        count = min(BLOCK, steps - first)
        even = torch.stack(
            [torch.empty(count, *shape).uniform_(generator=g) for g in randomness], 1
        )
        yield from even.log_().neg_().log_().neg_().to(device)


def draw(race, logits, top_k):
    """The winner of each race [clip, n_q, card] among the ``top_k`` likeliest tokens."""
    if top_k >= race.shape[-1]:
        return race.argmax(-1)
    if race.device.type != "cpu":  # sorting costs an accelerator less than a wait for its answer
        return _among_likeliest(race, logits, top_k).argmax(-1)
    winner = race.argmax(-1)
    better = logits > logits.gather(-1, winner[..., None])
    out = better.sum(-1) >= top_k  # as good as never, so nothing is sorted for it
    if out.any():
        winner[out] = _among_likeliest(race[out], logits[out], top_k).argmax(-1)
    return winner


def _among_likeliest(race, logits, top_k):
    """The race without all but the ``top_k`` likeliest tokens."""
    least = logits.topk(top_k).values[..., -1:]
    return race.masked_fill(logits < least, -torch.inf)
