"""Two directions that are learned by gradient descent on what the model predicts: ReFT-r1 and RePS.

Both are of rank one: a direction of one residual stream, added at every position under neutral
prompts. They learn from songs of the concept and of its contrary.

- **ReFT-r1** (Wu et al. 2025a) makes songs of the concept likely. What it adds to a song is as long as
  the mean of the largest projections of that song on the direction, so that the same direction must
  tell the concept, too; all other projections, and those of the contrary's songs, are kept small.
- **RePS** (Wu et al. 2025b) prefers, with the direction added at a length that is drawn anew in every
  step, a song of the concept to one of its contrary; and the other way round with what the stream
  has of the direction taken out.

References
----------
Wu, Arora, Geiger, Wang, Huang, Jurafsky, Manning and Potts 2025a, AxBench: steering LLMs? Even simple
baselines outperform sparse autoencoders. Wu, Yu, Arora, Manning and Potts 2025b, Improved
representation steering for language models.
"""

from typing import NamedTuple

import numpy as np
import torch

from ... import check
from ...musicgen import forward
from ...musicgen.model import Clips, Model
from .. import gradients
from ..causal import runs

METHODS = ("reft", "reps")
#: Share of a song's positions whose projections count as the largest (ReFT-r1).
LARGEST = 0.2
#: What other projections cost (ReFT-r1), nats a token for a projection of one norm.
SPARSE = 0.05
#: Lengths among which one is drawn in every step (RePS), mean norms.
LENGTHS = (0.1, 0.2, 0.3)


class _Music(NamedTuple):
    """Songs read under neutral prompts, up to the site."""

    run: runs.Recording
    tokens: torch.Tensor

    def part(self, rows):
        return self.run.end[rows], self.run.text.rows(rows), self.tokens[rows]


def train(
    model: Model,
    high: Clips,
    low: Clips,
    neutral: list[str],
    site: str,
    length: float,
    method: str,
    *,
    steps: int = 80,
    lr: float = 0.02,
    batch_size: int = 8,
    seed: int = 0,
) -> np.ndarray:
    """Learn a direction.

    Parameters
    ----------
    model : Model
    high, low : Clips
        Songs of the concept and of its contrary; the i-th of both have one neutral prompt.
    neutral : list of str
        That prompt.
    site : str
        resid.i.
    length : float
        One unit of strength (``vectors.norm``).
    method : "reft" or "reps"
    steps, lr, batch_size, seed : int, float, int, int

    Returns
    -------
    np.ndarray [shape=(dim,)]
        Of length 1.

    Raises
    ------
    ValueError
        Another method, not as many songs of both kinds and prompts, an edit in force.
    """
    check.choice("method", method, METHODS)
    n = check.same_length(high=high, low=low, neutral=neutral)
    for songs in (high, low):
        model.check_clips(songs, melody=False)
    length = check.number("length", length, 0, open_low=True)
    net = forward.undisturbed(model)
    start = runs.behind(net, site)
    kinds = [_read(model, net, songs, neutral, start) for songs in (high, low)]
    generator = torch.Generator().manual_seed(check.count("seed", seed, 0))
    first = torch.randn(model.lm.dim, generator=generator)
    raw = torch.nn.Parameter((first / first.norm()).to(model.device))
    optimiser = torch.optim.Adam([raw], lr=check.number("lr", lr, 0, open_low=True))
    steps = check.count("steps", steps)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(seed)
    loss_of = {"reft": _reft, "reps": _reps}[method]

    def likelihood(stream, text, tokens):
        end = net.run(stream, text, start=start)
        log_p = runs.log_probabilities(net, end, tokens.shape[-1])
        return log_p.gather(-1, tokens[..., None])[..., 0].mean((1, 2))

    for _ in range(steps):
        rows = torch.as_tensor(rng.choice(n, min(batch_size, n), replace=False))
        parts = [music.part(rows.to(model.device)) for music in kinds]
        loss = loss_of(likelihood, parts, raw / raw.norm(), length, rng)
        (raw.grad,) = gradients.of(loss, [raw], parts[0][-1].numel())
        del loss  # and with it the pass that it was made by
        optimiser.step()
        schedule.step()
    return (raw / raw.norm()).detach().cpu().numpy()


def _read(model, net, songs, neutral, start):
    run = runs.record(net, model.sequence(songs.tokens), neutral, stop=start)
    return _Music(run, torch.as_tensor(songs.tokens, device=model.device))


def _reft(likelihood, parts, direction, length, rng):
    """Minus the likelihood of the concept's songs with as much added as they have, what is not among
    their largest projections, and all that the contrary's songs have.
    """
    (stream, text, tokens), (other, _, _) = parts
    along = torch.relu(stream @ direction) / length
    largest = along.topk(max(1, round(LARGEST * along.shape[1]))).values
    added = largest.mean(1)[:, None, None] * length * direction
    rest = along.mean(1) - largest.sum(1) / along.shape[1]
    contrary = (torch.relu(other @ direction) / length).mean(1)
    return (SPARSE * (rest + contrary) - likelihood(stream + added, text, tokens)).mean()


def _reps(likelihood, parts, direction, length, rng):
    """Preference of the concept's songs with the direction, and of the contrary's without it.

    Likelihoods are means over tokens. In the paper that of the song which is to win counts the more,
    the less likely it is without steering, and at least once; between songs, which differ by less
    than a nat a token, that is once.
    """
    drawn = float(rng.choice(LENGTHS)) * length

    def pushed(stream):
        return stream + drawn * direction

    def without(stream):
        return stream - torch.relu(stream @ direction)[..., None] * direction

    wins = []
    for change, better in ((pushed, 0), (without, 1)):
        each = [likelihood(change(stream), *rest) for stream, *rest in parts]
        wins.append(each[better] - each[1 - better])
    return -sum(torch.nn.functional.logsigmoid(win) for win in wins).mean()
