"""Transcoders: sparse features of what an MLP does, instead of what a site holds.

A transcoder reads what an MLP reads and writes what the MLP adds (Dunefsky et al. 2024). Its
features are directions of both: one to which it listens, one in which it writes. With all MLPs
replaced, the way from a word to a note leads through features (``causal.tracing``).

What is kept is ``sae_lens``'s ``JumpReLUTranscoder``. ``sae_lens`` has no training for transcoders:
its BatchTopK trainer learns from rows in which both vectors stand one behind the other.

References
----------
Dunefsky, Chlenski and Nanda 2024, Transcoders find interpretable LLM feature circuits. Ameisen et
al. 2025, Circuit tracing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache as once

import numpy as np
import torch
import xarray as xr

from ... import check
from ...musicgen import Clips, Model, forward
from ...musicgen.run import keeping
from .batches import vectors
from .placing import decode, encode

#: Clips run together.
TOGETHER = 16
#: Bytes of what MLPs read and write that are held at once; one block's are, whatever they take.
BYTES = 2**30


# -------------------------------------------------------------------------------------- activations
def recorded(m: Model, clips: Clips) -> Iterator[xr.DataArray]:
    """What every MLP reads and writes over music under its own prompts, block by block.

    Parameters
    ----------
    m : Model
    clips : Clips

    Yields
    ------
    xr.DataArray [dims=(clip, position, dim)]
        Named "mlp.0" and so on, clips in their own order: of each position the normed stream that
        the MLP reads, then what it adds.

    Raises
    ------
    ValueError
        Clips of another model, an edit in force, hooks of one's own on the model.
    """
    m.check_clips(clips, melody=False)
    net = forward.undisturbed(m)
    positions = clips.tokens.shape[-1] + max(net.delays)
    each = 4 * 2 * m.lm.dim * len(clips) * positions
    group = max(1, BYTES // each)
    batches = _batches(m, clips)
    order = np.argsort(np.concatenate(batches))  # batches are of equally long prompts
    for first in range(0, len(net.blocks), group):
        blocks = range(first, min(first + group, len(net.blocks)))
        found = [_of_batch(m, net, clips, batch, blocks) for batch in batches]
        for block, parts in zip(blocks, zip(*found, strict=True), strict=True):
            acts = np.concatenate(parts)[order]
            yield xr.DataArray(acts, dims=("clip", "position", "dim"), name=f"mlp.{block}")


def _batches(m, clips):
    return m.batches(list(clips.prompts), TOGETHER)


@torch.no_grad()
def _of_batch(m, net, clips, batch, blocks):
    """A list of [clip, position, 2 * dim], one a block."""
    text = net.read_text([clips.prompts[i] for i in batch])
    keep, kept = keeping(f"{when}mlp.{block}" for block in blocks for when in ("before ", ""))
    sequence = m.sequence(clips.tokens[batch])
    stop = net.number[f"mlp.{blocks[-1]}"] + 1
    net.run(net.embed(sequence, text), text, keep, stop=stop)
    found = []
    for block in blocks:
        read = net.parts[block].norms["mlp"](kept[f"before mlp.{block}"])
        both = torch.cat([read.float(), kept[f"mlp.{block}"]], -1)
        found.append(both.cpu().numpy())
    return found


# ----------------------------------------------------------------------------------------- training
def untrained(shared: dict, k: float):
    """A transcoder that has learned nothing, to be trained as an SAE is.

    Parameters
    ----------
    shared : dict
        Of ``sae_lens``'s configuration: d_in (of what is written, too), d_sae, device, dtype.
    k : float
        Features that are active on average.
    """
    training, configuration = _classes()
    return training(configuration(**shared, k=k, apply_b_dec_to_input=False))


@once
def _classes():
    """The training class and its configuration; made when asked for, as ``sae_lens`` takes seconds to
    import.
    """
    import sae_lens

    class Configuration(sae_lens.BatchTopKTrainingSAEConfig):
        @property
        def d_out(self):
            return self.d_in

        def get_inference_config_class(self):
            return sae_lens.JumpReLUTranscoderConfig

    class Training(sae_lens.BatchTopKTrainingSAE):
        """Encodes the first half of each row, and is judged by the second."""

        def __init__(self, configuration):
            super().__init__(configuration)
            plain = self.mse_loss_fn
            self.mse_loss_fn = lambda found, row: plain(found, self._written(row))

        def _written(self, row):
            return row[..., self.cfg.d_in :]

        def encode_with_hidden_pre(self, x):
            return super().encode_with_hidden_pre(x[..., : self.cfg.d_in])

        def calculate_aux_loss(self, step_input, **found):
            step_input = replace(step_input, sae_in=self._written(step_input.sae_in))
            return super().calculate_aux_loss(step_input=step_input, **found)

    return Training, Configuration


# ------------------------------------------------------------------------------------------ judging
@torch.no_grad()
def quality(transcoder, acts: xr.DataArray) -> dict[str, float]:
    """How well a transcoder says what its MLP adds, on clips that it did not learn from.

    Parameters
    ----------
    transcoder : sae_lens.JumpReLUTranscoder
    acts : xr.DataArray [dims=(clip, position, dim)]
        Of its block, from :func:`recorded`.

    Returns
    -------
    dict
        features, l0 (active on average), explained_variance, dead (share of features never active).
    """
    read, written = _halves(acts)
    spread = (written - written.mean(0)).square().sum()
    error = 0.0
    uses = 0
    size = _at_once(transcoder)
    for some, wanted in zip(read.split(size), written.split(size), strict=True):
        active = encode(transcoder, some)
        error += (wanted - decode(transcoder, active)).square().sum()
        uses += (active > 0).sum(0)
    return {
        "features": len(uses),
        "l0": float(uses.sum() / len(read)),
        "explained_variance": float(1 - error / spread),
        "dead": float((uses == 0).float().mean()),
    }


@torch.no_grad()
def peaks(
    transcoder, acts: xr.DataArray, features: Iterable[int], count: int = 3
) -> dict[int, list[tuple[int, int, float]]]:
    """Where some features are most active: feature -> clip, position and activation, the most active
    clips first. Clips in which a feature is silent are left out.

    Parameters
    ----------
    transcoder : sae_lens.JumpReLUTranscoder
    acts : xr.DataArray [dims=(clip, position, dim)]
        Of its block, from :func:`recorded`.
    features : iterable of int
    count : int
        Clips of each.
    """
    count = check.count("count", count)
    last = transcoder.W_dec.shape[0] - 1
    features = [check.count("feature", feature, 0, last) for feature in features]
    read, _ = _halves(acts)
    parts = [encode(transcoder, some)[:, features] for some in read.split(_at_once(transcoder))]
    active = torch.cat(parts).unflatten(0, acts.shape[:2])
    highest, where = active.max(1)
    found = {}
    for column, feature in enumerate(features):
        best = highest[:, column].argsort(descending=True)[:count].tolist()
        found[feature] = [
            (clip, int(where[clip, column]), float(highest[clip, column]))
            for clip in best
            if highest[clip, column] > 0
        ]
    return found


def _at_once(transcoder):
    """Rows whose features are held at once, and what is made of them."""
    return max(1, BYTES // (4 * 4 * len(transcoder.W_dec)))


def _halves(acts):
    """What is read and what is written, [row, dim] each."""
    rows = torch.from_numpy(np.asarray(vectors(acts), np.float32)).flatten(0, 1)
    return rows.chunk(2, -1)
