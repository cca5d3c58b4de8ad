"""Token by token: what audiocraft's own ``generate`` computes, without what it repeats at every
step.

Keys and values of the text are computed once a clip and those of the past are written in place.
Text of different length shares a batch, because every row reads its own text alone (audiocraft's
cross-attention sees the padding of shorter rows). Every clip has its own random numbers, so that it
does not depend on the batch it is made in.

On CUDA the launches of a step are captured once and run again (:mod:`.graphs`): a step takes as
long as its kernels, not as Python. For that, all that changes from step to step lies in tensors
that stay where they are, the number of the step included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from . import graphs, melody
from .forward import Network, Past, Text
from .noise import Noise
from .run import Position, Visitors, put, take

#: Steps whose random numbers are drawn at once.
BLOCK = 32
#: What is wrong with a model, or an edit, whose logits are infinite or no numbers.
NOT_FINITE = (
    "The model's logits are not finite: it has left its precision's range, or an edit has driven it "
    "out. Load it with dtype='float32' (or 'bfloat16', which has float32's range), or edit less."
)
#: Where launches are captured, attention reads as many positions at every step: that many more
#: whenever these are full.
REACH = 256
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


@torch.no_grad()
def sample(
    lm,
    prompts: list[str],
    frames: int,
    noise: Noise,
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
    noise : Noise
        Random numbers of the clips, which go on from window to window.
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
    song = _Song(network, text, sequence.contiguous(), visitors, settings, noise)
    if graphs.possible(lm, visitors):
        song.run_captured(progress)
    else:
        song.run(progress)
    song.check()
    return pattern.revert_pattern_sequence(song.sequence, special_token=-1)[0][..., :frames]


class _Song:
    """The state of a batch that is being sampled, and the one step that moves it on.

    Parameters
    ----------
    sequence : torch.Tensor [shape=(clip, n_q, position)]
        In the delay pattern, with :data:`UNKNOWN` where a token is to be drawn.
    """

    def __init__(
        self,
        network: Network,
        text: Text,
        sequence: torch.Tensor,
        visitors: Visitors,
        settings: Settings,
        noise: Noise,
    ):
        self.network = network
        self.text = text
        self.sequence = sequence
        self.unknown = sequence == UNKNOWN
        self.visitors = visitors
        self.settings = settings
        self.clips, self.codebooks, positions = sequence.shape
        self.steps = positions - 1
        self.rows = text.values.shape[0]
        self.past = Past(network, text, self.rows, self.steps)
        self.noise = noise if settings.temperature > 0 else None
        self.drawn = None
        self.overflowed = torch.zeros(1, dtype=torch.bool, device=sequence.device)

    def run(self, progress: Callable[[], None]) -> None:
        """Every step, launch by launch."""
        for position in range(self.steps):
            self._draw_noise(position)
            progress()
            self.step(position)

    def run_captured(self, progress: Callable[[], None]) -> None:
        """Every step, by launches that are captured once for as many positions as attention
        reads.
        """
        position = torch.zeros(1, dtype=torch.long, device=self.sequence.device)
        self.past.follow(position)
        self.network.reserve(self.past.size)

        def step():
            self.step(position)
            position.add_(1)

        for first in range(0, self.steps, REACH):
            stop = min(first + REACH, self.steps)
            self.past.reach(stop)
            again = graphs.Repeated(step, self.sequence.device)
            for k in range(first, stop):
                self._draw_noise(k)
                progress()
                again()

    def check(self) -> None:
        """Refuse music from logits that were not finite.

        Raises
        ------
        OverflowError
        """
        if self.overflowed.item():
            raise OverflowError(NOT_FINITE)

    def _draw_noise(self, position):
        """The next block of random numbers, where the last one is used up."""
        if self.noise is None or position % BLOCK:
            return
        shape = (self.codebooks, self.network.lm.card)
        block = self.noise.draw(min(BLOCK, self.steps - position), *shape)
        if self.drawn is None:
            self.drawn = block
        else:
            self.drawn[: len(block)].copy_(block)

    def step(self, position: Position) -> None:
        """Read the tokens of a position, and write those of the next."""
        tokens = take(self.sequence, -1, position).repeat(self.rows // self.clips, 1, 1)
        logits = self.network.pass_through(
            tokens, self.text, self.visitors.at(position), self.past
        )[:, :, 0]
        self.overflowed.logical_or_(~torch.isfinite(logits.sum()))
        n = self.clips
        noise = None if self.noise is None else take(self.drawn, 0, position % BLOCK)[0]
        drawn = _next(logits[:n], logits[n : 2 * n], self.settings, noise)
        there = take(self.sequence, -1, position + 1)
        unknown = take(self.unknown, -1, position + 1)
        put(self.sequence, -1, position + 1, torch.where(unknown, drawn[..., None], there))


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
    return draw(logits / settings.temperature + noise, logits, settings.top_k)


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
