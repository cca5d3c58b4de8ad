"""Passes over music that exists, whose sites are kept: what patching puts from one into another.

Everything here runs parts of the model by :class:`~lib.musicgen.forward.Network`, the one forward
pass of the book, and refuses to do so inside ``activations.edit``: which edits should hold in which
of the two runs is a question that only their user could answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ...musicgen import forward, sizing
from ...musicgen.model import Clips, Model
from ...musicgen.run import keeping
from . import metrics


def sublayer(site: str) -> str:
    """The sublayer whose end a site is: "mlp.3" for resid.3, "attn.3" for head.3.0."""
    kind, block, *_ = site.split(".")
    kinds = {"resid": "mlp", "head": "attn", "cross_head": "cross"}
    return f"{kinds.get(kind, kind)}.{block}"


def behind(net: forward.Network, site: str) -> int:
    """Number of the first sublayer that a change of the site can reach."""
    return net.number[sublayer(site)] + 1


def stream_behind(net: forward.Network, site: str) -> str:
    """The site that holds the residual stream just after the sublayer of ``site``."""
    kind, block = sublayer(site).split(".")
    if kind == net.kinds[-1]:
        return f"resid.{block}"
    return f"before {net.names[behind(net, site)]}"


@dataclass(frozen=True)
class Recording:
    """One pass over some music under some prompts.

    Attributes
    ----------
    text : forward.Text
        What its cross-attention read.
    sites : dict
        site -> what it held, [row, position, dim], float32.
    end : torch.Tensor [shape=(row, position, dim)]
        The residual stream where the pass ended.
    """

    text: forward.Text
    sites: dict[str, torch.Tensor]
    end: torch.Tensor


@torch.no_grad()
def record(
    net: forward.Network, sequence, prompts: list[str], sites: Iterable[str] = (), stop=None
) -> Recording:
    """Run over music and keep what some sites hold.

    Parameters
    ----------
    sequence : torch.Tensor [shape=(row, n_q, position)]
        Delayed tokens (``Model.sequence``).
    prompts : list of str
        One a row. Those that come several times are read once.
    sites : iterable of str
    stop : int, optional
        Number of the sublayer before which the pass ends.
    """
    different = list(dict.fromkeys(prompts))
    text = net.read_text(different).rows([different.index(prompt) for prompt in prompts])
    visitors, kept = keeping(sites)
    end = net.run(net.embed(sequence, text, visitors), text, visitors, stop=stop)
    return Recording(text, kept, end)


def log_probabilities(net: forward.Network, stream, frames: int) -> torch.Tensor:
    """Of every token, [row, codebook, frame, card], from the last residual stream.

    Frame t of codebook k is predicted at position t + delay of k.
    """
    logits = net.logits(stream)
    aligned = [logits[:, k, delay : delay + frames] for k, delay in enumerate(net.delays)]
    return torch.stack(aligned, 1).log_softmax(-1)


def write_log_probabilities(net: forward.Network, log_p, stream, first: int) -> None:
    """The same from position ``first`` on, written over what ``log_p`` held there."""
    frames = log_p.shape[2]
    logits = net.logits(stream)
    for k, delay in enumerate(net.delays):
        skipped = max(delay - first, 0)
        frame = max(first - delay, 0)
        new = logits[:, k, skipped : skipped + frames - frame]
        log_p[:, k, frame:] = new.log_softmax(-1)


def bytes_of_a_row(model: Model, frames: int) -> int:
    """Bytes that one row takes on its way through the blocks, with its predictions and what a metric
    makes of them.
    """
    return model.bytes_of_a_pass(frames) + 4 * 4 * model.lm.n_q * frames * model.lm.card


def bytes_of_a_pair(model: Model, frames: int, sites: int) -> int:
    """Bytes that both runs of a pair take, over both musics, where so many sites are kept."""
    positions = frames + max(model.lm.pattern_provider.delays)
    streams = 2 * 4 * sites * positions * model.lm.dim
    predictions = 2 * 4 * model.lm.n_q * frames * model.lm.card
    return 2 * (bytes_of_a_row(model, frames) + streams + predictions)


@dataclass(frozen=True)
class PairedRuns:
    """The clean and the corrupted run of some pairs. Both read both musics: rows are (pair, music).

    Attributes
    ----------
    net : forward.Network
    tokens : torch.Tensor [shape=(pair, music, codebook, frame)]
    recordings : dict
        "clean", "corrupted" -> Recording.
    log_p : dict
        "clean", "corrupted" -> log-probabilities, [row, codebook, frame, card].
    metric : callable
    """

    net: forward.Network
    tokens: torch.Tensor
    recordings: dict[str, Recording]
    log_p: dict[str, torch.Tensor]
    metric: metrics.Metric

    @cached_property
    def scores(self) -> dict[str, torch.Tensor]:
        """The metric of the unpatched runs: "clean", "corrupted" -> [pair]."""
        return {name: self.score(values)[0] for name, values in self.log_p.items()}

    def score(self, log_p: torch.Tensor) -> torch.Tensor:
        """The metric of log-probabilities [cell * row, codebook, frame, card]: [cell, pair]."""
        pairs, musics = self.tokens.shape[:2]
        cells = log_p.reshape(-1, pairs, musics, *log_p.shape[1:])
        reference = self.log_p["clean"].reshape(cells.shape[1:])
        each = [self.metric(cell, self.tokens, reference) for cell in cells]
        return torch.stack([metrics.checked(values, pairs) for values in each])


def paired(
    net: forward.Network,
    model: Model,
    clips: dict[str, Clips],
    which: list[int],
    sites: Iterable[str],
    metric: metrics.Metric,
) -> PairedRuns:
    """Record both runs of some pairs.

    Parameters
    ----------
    clips : dict
        "clean", "corrupted" -> Clips.
    which : list of int
        Numbers of the pairs.
    sites : iterable of str
        What to keep.
    """
    musics = np.stack([part.tokens[which] for part in clips.values()], 1)
    sequence = model.sequence(musics.reshape(-1, *musics.shape[2:]))
    recordings = {}
    log_p = {}
    for name, part in clips.items():
        prompts = [part.prompts[i] for i in which for _ in clips]
        recordings[name] = record(net, sequence, prompts, sites)
        with torch.no_grad():
            log_p[name] = log_probabilities(net, recordings[name].end, musics.shape[-1])
    tokens = torch.as_tensor(musics, device=model.device)
    return PairedRuns(net, tokens, recordings, log_p, metric)


def check_ends(
    net: forward.Network,
    model: Model,
    clips: dict[str, Clips],
    which: list[int],
    metric: metrics.Metric,
    size: int,
) -> None:
    """Refuse a metric that tells nothing of some pairs, of which so many are run at once.

    Raises
    ------
    ValueError
        As ``metrics.check_ends``.
    """
    found = [
        paired(net, model, clips, part, (), metric).scores for part in sizing.parts(which, size)
    ]
    ends = {name: torch.cat([scores[name] for scores in found]) for name in clips}
    metrics.check_ends(metric, **ends)
