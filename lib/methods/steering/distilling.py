"""What words do, learned by something that is no word: by vectors here, by weights in ``sliders``.

Music that exists is read under neutral prompts. What is trained must make the model predict what it
predicts without it, moved by what the concept's words change against those of its contrary (the
difference of their log-probabilities, times :data:`CONTRAST`); and the opposite where it is taken off.
Songs teach nothing of their own. To learn a prompt's effect by heart is called context distillation
(Askell et al. 2021).

References
----------
Askell et al. 2021, A general language assistant as a laboratory for alignment.
"""

from collections.abc import Mapping

import numpy as np
import torch

from ... import check
from ...musicgen import activations, sizing
from ...musicgen.model import Clips, Model
from ...musicgen.run import Visitors
from .. import divergence, gradients

#: How often the difference that words make is added at strength 1.
CONTRAST = 1.5
#: Clips that are read at once where nothing is learned.
AT_ONCE = 16


def train(
    model: Model,
    music: Clips,
    neutral: list[str],
    high: list[str],
    low: list[str],
    norms: Mapping[str, float],
    *,
    steps: int = 60,
    lr: float = 0.02,
    batch_size: int = 8,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Learn a vector for each of some sites, all together.

    Parameters
    ----------
    model : Model
    music : Clips
        What predictions are compared over.
    neutral, high, low : list of str
        One prompt a clip each: for neither, for the concept and for its contrary.
    norms : mapping
        Site -> its unit of strength (``vectors.norm``).
    steps, lr, batch_size, seed : int, float, int, int

    Returns
    -------
    dict
        Site -> what is added at strength 1, in units of its norm, [dim].

    Raises
    ------
    ValueError
        Not one prompt of each kind a clip; no site of the residual stream, or of what is added to
        it; an edit in force.
    """
    neutral, high, low = check_lesson(model, music, neutral, high, low)
    check_descent(steps, lr, batch_size, seed)
    if not norms:
        raise ValueError("norms is empty: name a site at which a vector is to be learned.")
    width = model.lm.dim
    norms = {site: check.number(f"norms[{site!r}]", norm, 0) for site, norm in norms.items()}
    there = activations.sites(model)
    learnable = [name for name, site in there.items() if site.axis == "frame" and name != "logits"]
    for site in norms:
        check.choice("a site of norms", site, learnable)
    learned = {site: torch.zeros(width, device=model.device, requires_grad=True) for site in norms}
    targets = [wanted(model, music, (neutral, high, low), sign) for sign in (1, -1)]

    def loss(batch, sign, target):
        added = {site: sign * norms[site] * vector for site, vector in learned.items()}
        pushing = Visitors({site: [_adding(vector)] for site, vector in added.items()})
        prompts = [neutral[i] for i in batch]
        return divergence.kl(target, predicted(model, music.tokens[batch], prompts, pushing)).mean()

    descend(loss, targets, list(learned.values()), steps, lr, batch_size, seed)
    return {site: vector.detach().cpu().numpy() for site, vector in learned.items()}


def _adding(vector):
    def add(values, position):
        return values + vector.to(values.dtype)

    return add


def check_lesson(model: Model, music: Clips, neutral: list, high: list, low: list) -> list:
    """The three kinds of prompts, as lists; refused is what nothing can be learned from.

    Raises
    ------
    ValueError, TypeError
        Not one prompt of each kind a clip; an edit in force.
    """
    model.check_clips(music, melody=False)
    given = {"neutral": neutral, "high": high, "low": low}
    prompts = [check.texts(name, some, len(music)) for name, some in given.items()]
    if model.edits:
        raise ValueError(
            "What words do is not learned inside activations.edit: leave the context first."
        )
    return prompts


def check_descent(steps, lr, batch_size, seed) -> None:
    """Refuse settings of :func:`descend`, before what it learns from is computed."""
    check.count("steps", steps)
    check.number("lr", lr, 0, open_low=True)
    check.count("batch_size", batch_size)
    check.count("seed", seed, 0)


def descend(loss, targets, learned, steps, lr, batch_size, seed) -> None:
    """Minimise ``loss(batch, sign, target)`` over some tensors, with strength 1 and -1 in turn.

    Parameters
    ----------
    loss : callable
        Of the numbers of some clips, a sign and what is to be predicted of them, on the device of
        what is learned: a mean over rows, codebooks and frames.
    targets : list of torch.Tensor
        Of all clips at strength 1 and at -1, as from :func:`wanted`; on any device.
    learned : list of torch.Tensor
    steps, lr, batch_size, seed : int, float, int, int
    """
    optimiser = torch.optim.Adam(learned, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(seed)
    n = len(targets[0])
    device = learned[0].device
    for step in range(steps):
        batch = rng.choice(n, min(batch_size, n), replace=False)
        which = step % 2
        target = targets[which][batch].to(device)
        tokens = target.shape[:-1].numel()
        slopes = gradients.of(loss(batch, (1, -1)[which], target), learned, tokens)
        for tensor, slope in zip(learned, slopes, strict=True):
            tensor.grad = slope
        optimiser.step()
        schedule.step()


def predicted(model: Model, tokens: np.ndarray, prompts: list[str], visitors=None) -> torch.Tensor:
    """Log-probabilities [clip, codebook, frame, card]; gradients flow."""
    logits = model.replay(tokens, prompts, visitors=visitors)
    frames = tokens.shape[-1]
    delays = model.lm.pattern_provider.delays
    aligned = torch.stack([logits[:, k, d : d + frames] for k, d in enumerate(delays)], 1)
    return aligned.float().log_softmax(-1)


@torch.no_grad()
def wanted(model: Model, music: Clips, prompts: tuple, sign: int) -> torch.Tensor:
    """What is to be predicted at strength ``sign``, as from :func:`predicted`, but on the CPU: that
    of all clips would fill an accelerator.

    Parameters
    ----------
    prompts : tuple
        Neutral, high and low ones.
    """
    found = []
    frames = music.tokens.shape[-1]
    predictions = 6 * 4 * model.lm.n_q * frames * model.lm.card
    size = sizing.fits(model.bytes_of_a_pass(frames) + predictions, model.device, AT_ONCE)
    for start in range(0, len(music), size):
        rows = slice(start, start + size)
        neutral, high, low = (predicted(model, music.tokens[rows], some[rows]) for some in prompts)
        found.append((neutral + sign * CONTRAST * (high - low)).log_softmax(-1).cpu())
    return torch.cat(found)
