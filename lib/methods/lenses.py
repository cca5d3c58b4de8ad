"""Read the residual stream of any block as predictions: what does the model hear so far?

Predictions are made from the last block's residual stream. A **lens** makes them from an earlier
one, so that each block can be heard:

- ``logit``: the stream goes through the model's last norm and heads as it is (nostalgebraist 2020).
  What a block holds in directions that the heads do not read is not seen.
- ``tuned``: one affine map a block comes first, learned until the lens predicts what the model
  predicts in the end (Belrose et al. 2023). It may put to use what the model itself does not.
- **skipped** (:func:`skipping`): the model sings, and the blocks behind one are left out at every
  step, so that it goes on from its own unfinished notes (DecoderLens: Langedijk et al. 2024; for
  MusicGen Vélez Vásquez et al., ISMIR 2024).

A lens shows what *can* be read, and this is an upper bound of what is known: the planted organisms
(``organism.planting``) show where it is wrong, because there it is known where a word comes in.

>>> from lib import model
>>> from lib.methods import lenses
>>> m = model.load("organism")
>>> clips = m.generate(["a sad melody"], seconds=0.4, progress=False)
>>> lenses.read(m, clips).dims
('block', 'clip', 'codebook', 'frame', 'token')

References
----------
nostalgebraist 2020, Interpreting GPT: the logit lens. Belrose et al. 2023, Eliciting latent
predictions from transformers with the tuned lens. Langedijk, Mohebbi, Sarti, Zuidema and Jumelet
2024, DecoderLens. Vélez Vásquez, Pouw, Burgoyne and Zuidema 2024, Exploring the inner mechanisms of
large generative music models.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from .. import cache, check
from ..musicgen import Model, activations, forward, sizing
from ..musicgen.model import SOURCES as MODEL_SOURCES
from ..musicgen.model import Clips
from . import divergence, gradients
from .causal import runs

#: Of the maps' training: positions at once, and Adam's rate.
POSITIONS = 512
RATE = 1e-3
#: Of least squares, in units of the streams' mean square.
RIDGE = 0.1
#: Positions that are learned from at most; of more music, some are drawn.
MOST = 16_384
#: Clips read at once.
TOGETHER = 16


@dataclass(frozen=True)
class Lens:
    """How the streams of all blocks are read.

    Attributes
    ----------
    model : Model
    maps : torch.Tensor [shape=(block, dim + 1, dim)], optional
        What is added to each stream: an affine map of it, whose last row is the constant. Without
        it, this is the logit lens.
    """

    model: Model
    maps: torch.Tensor | None = None

    def through(self, stream: torch.Tensor, block: int) -> torch.Tensor:
        """The stream [row, position, dim] behind a block, as the model's heads are to read it."""
        return stream if self.maps is None else stream + _mapped(stream, self.maps[block])


def _mapped(stream, weights):
    return stream @ weights[:-1] + weights[-1]


def tuned(m: Model, clips: Clips, steps: int = 60, seed: int = 0, progress: bool = True) -> Lens:
    """Learn one affine map a block, and keep them on disk.

    Parameters
    ----------
    m : Model
    clips : Clips
        Music to learn from, read under its own prompts: none that is looked at through the lens.
    steps, seed : int

    Raises
    ------
    ValueError
        Clips of another model, an edit in force, a hook on the model.
    """
    m.check_clips(clips, melody=False)
    steps = check.count("steps", steps)
    seed = check.count("seed", seed, 0)
    net = forward.undisturbed(m)

    def learn():
        return _learned(m, net, clips, steps, seed, progress).numpy()

    what = {
        "model": m.identity(),
        "clips": [clips.prompts, clips.tokens],
        "steps": steps,
        "seed": seed,
        "code": cache.code(*MODEL_SOURCES, divergence, gradients, runs, *LEARNING),
        "constants": [POSITIONS, RATE, RIDGE, MOST, TOGETHER],
    }
    maps = cache.keep("lenses", what, learn)
    return Lens(m, torch.from_numpy(maps).to(m.device))


def _learned(m, net, clips, steps, seed, progress):
    """Maps [block, dim + 1, dim] on the CPU; the last block's is zero: there is nothing to learn."""
    blocks = len(net.blocks)
    rng = np.random.default_rng(seed)
    streams = _streams(m, net, clips, rng)
    width = m.lm.dim
    last = streams[-1]
    maps = torch.zeros(blocks, width + 1, width, device=m.device)
    for block in tqdm(range(blocks - 1), desc="tuned lens", disable=not progress, leave=False):
        maps[block] = _least_squares(streams[block], last - streams[block])
        weights = torch.nn.Parameter(maps[block].clone())
        optimiser = torch.optim.Adam([weights], lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            some = rng.integers(len(last), size=POSITIONS)
            weights.grad = _slope(net, streams[block][some][None], last[some][None], weights)
            optimiser.step()
            schedule.step()
        maps[block] = weights.detach()
    return maps.cpu()


def _slope(net, read, last, weights):
    """Gradient of the divergence between what the model predicts in the end and what is read, with
    respect to a block's map; of streams [1, position, dim].
    """
    with torch.no_grad():
        wanted = net.logits(last).log_softmax(-1)
    found = net.logits(read + _mapped(read, weights)).log_softmax(-1)
    loss = divergence.kl(wanted, found).mean()
    return gradients.of(loss, [weights], wanted.shape[:-1].numel())[0]


def _least_squares(stream, wanted):
    """The affine map that comes nearest to what is wanted: where learning starts."""
    ones = torch.ones(len(stream), 1)
    read = torch.cat([stream.cpu(), ones], 1).double()
    squares = read.T @ read
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=torch.float64)
    found = torch.linalg.solve(squares + ridge, read.T @ wanted.cpu().double())
    return found.float().to(stream.device)


@torch.no_grad()
def _streams(m, net, clips, rng):
    """Residual streams behind every block, at all positions of some clips or at some drawn ones: a
    list of [position, dim].
    """
    parts = [[] for _ in net.blocks]
    for batch in m.batches(list(clips.prompts), _together(m, clips)):
        streams = _recorded(m, net, clips, batch)
        rows = streams[0].shape[:2].numel()
        fair = max(1, MOST * len(batch) // len(clips))
        kept = rng.choice(rows, min(rows, fair), replace=False)
        for part, stream in zip(parts, streams, strict=True):
            part.append(stream.flatten(0, 1)[kept])
    return [torch.cat(part) for part in parts]


def _together(m, clips):
    """How many clips are read at once: streams behind all blocks, and two predictions of each."""
    frames = clips.tokens.shape[-1]
    streams = 2 * 4 * len(m.lm.transformer.layers) * frames * m.lm.dim
    predictions = 2 * 3 * 4 * m.lm.n_q * frames * m.lm.card
    each = m.bytes_of_a_pass(frames) + streams + predictions
    return sizing.fits(each, m.device, TOGETHER)


def _recorded(m, net, clips, batch):
    """The residual stream behind every block of some clips: a list of [row, position, dim]."""
    sites = [f"resid.{i}" for i in range(len(net.blocks))]
    asked = [clips.prompts[i] for i in batch]
    recording = runs.record(net, m.sequence(clips.tokens[batch]), asked, sites)
    return [recording.sites[site] for site in sites]


#: The code that kept maps follow from, beside what runs the model.
LEARNING = (_learned, _slope, _least_squares, _streams, _recorded, _mapped)


# ------------------------------------------------------------------------------------------ reading
def read(m: Model, clips: Clips, lens: Lens | None = None) -> xr.DataArray:
    """Log-probabilities of every token, by block.

    Parameters
    ----------
    m : Model
    clips : Clips
        Music, read under its own prompts.
    lens : Lens, optional
        By default the logit lens.

    Returns
    -------
    xr.DataArray [dims=(block, clip, codebook, frame, token)], float32
        The last block's are the model's own.
    """
    m.check_clips(clips, melody=False)
    found = None
    for batch, block, log_p in _read(m, clips, _of(m, lens)):
        if found is None:
            blocks = len(m.lm.transformer.layers)
            found = np.empty((blocks, len(clips), *log_p.shape[1:]), np.float32)
        found[block, batch] = log_p.cpu().numpy()
    return xr.DataArray(found, dims=("block", "clip", "codebook", "frame", "token"))


@torch.no_grad()
def _read(m, clips, lens) -> Iterator[tuple[list[int], int, torch.Tensor]]:
    """Batch, block and log-probabilities [row, codebook, frame, card]."""
    net = forward.undisturbed(m)
    frames = clips.tokens.shape[-1]
    for batch in m.batches(list(clips.prompts), _together(m, clips)):
        for block, stream in enumerate(_recorded(m, net, clips, batch)):
            stream = lens.through(stream, block)
            yield batch, block, runs.log_probabilities(net, stream, frames)


def cross_entropy(m: Model, clips: Clips, lens: Lens | None = None) -> np.ndarray:
    """What the music costs as each block reads it, nats a token [block, clip].

    Parameters
    ----------
    As for :func:`read`.
    """
    m.check_clips(clips, melody=False)
    tokens = torch.as_tensor(clips.tokens, device=m.device)
    found = np.zeros((len(m.lm.transformer.layers), len(clips)))
    for batch, block, log_p in _read(m, clips, _of(m, lens)):
        each = log_p.gather(-1, tokens[batch][..., None])[..., 0]
        found[block, batch] = -each.mean((1, 2)).cpu().numpy()
    return found


@torch.no_grad()
def heard_difference(m: Model, one: Clips, other: Clips, lens: Lens | None = None) -> np.ndarray:
    """How much a block's predictions tell two prompts apart, nats a token [block, clip].

    The divergence between what it reads under either prompt, over the same music.

    Parameters
    ----------
    m : Model
    one, other : Clips
        The same music under two prompts each (``Clips.under``).
    lens : Lens, optional

    Raises
    ------
    ValueError
        Clips that are not of the same music, a lens of another model.
    """
    for some in (one, other):
        m.check_clips(some, melody=False)
    if not np.array_equal(one.tokens, other.tokens):
        raise ValueError("Both clips must be of the same music: use clips.under(prompts).")
    lens = _of(m, lens)
    net = forward.undisturbed(m)
    found = np.zeros((len(net.blocks), len(one)))
    frames = one.tokens.shape[-1]
    for batch in m.batches(list(one.prompts), _together(m, one)):
        both = [_recorded(m, net, some, batch) for some in (one, other)]
        for block, streams in enumerate(zip(*both, strict=True)):
            first, second = (
                runs.log_probabilities(net, lens.through(stream, block), frames)
                for stream in streams
            )
            found[block, batch] = divergence.kl(first, second).cpu().numpy()
    return found


def _of(m, lens):
    """The lens to read a model through: one of its own, by default the logit lens."""
    if lens is not None and lens.model is not m:
        raise ValueError(
            f"The lens was made for another model ({lens.model.name}) than is read ({m.name}): "
            "lenses.tuned makes one of this."
        )
    return lens or Lens(m)


# ------------------------------------------------------------------------------------------ hearing
def tokens(read_by_block: xr.DataArray, temperature: float = 0.0, seed: int = 0) -> np.ndarray:
    """Music as each block hears it: a token for every place, given the true music before it.

    Parameters
    ----------
    read_by_block : xr.DataArray
        From :func:`read`.
    temperature : float
        0 takes the likeliest.
    seed : int
        The same noise for all blocks, so that they differ by what they hear alone.

    Returns
    -------
    np.ndarray [shape=(block, clip, codebook, frame)], int64
        ``Model.decode`` makes sound of each block's.
    """
    temperature = check.number("temperature", temperature, 0, 10)
    seed = check.count("seed", seed, 0)
    log_p = read_by_block.values
    if temperature == 0:
        return log_p.argmax(-1)
    noise = np.random.default_rng(seed).gumbel(size=log_p.shape[1:]).astype(np.float32)
    return (log_p / temperature + noise).argmax(-1)


def skipping(m: Model, block: int) -> list[activations.Edit]:
    """Edits under which the blocks behind one add nothing: ``activations.edit(m, *edits)``.

    Parameters
    ----------
    m : Model
    block : int
        The last one that runs.
    """
    last = len(m.lm.transformer.layers)
    block = check.count("block", block, 0, last - 1)
    return [
        activations.Edit(f"{kind}.{i}", multiply=0.0, stream="both")
        for i in range(block + 1, last)
        for kind in forward.sublayers(m.lm)
    ]
