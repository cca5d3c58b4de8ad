"""A quick look at a loaded model, which says what is wrong before hours are spent.

A checkpoint can fit its configuration and still be no MusicGen that works: weights that are not a
number, a text encoder that the language model does not listen to, a codec that is silent. Three
questions that take a second tell (:func:`examine`):

- does a replay of a few greedy steps predict the very tokens that were sung?
- does the text change what is predicted?
- does the codec play the tokens, and read what it played?
"""

import numpy as np
import torch

from .model import Model

#: Two prompts that must not be predicted alike.
PROMPTS = ("a happy melody", "slow sad music for piano")
FRAMES = 6
#: How much less likely than the likeliest (nats) a greedy token may be in a replay: other sums in
#: another order, in half precision.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.1}
#: Differences of log-probabilities that are none.
NOTHING = 1e-6


@torch.no_grad()
def examine(model: Model) -> None:
    """Ask the three questions.

    Parameters
    ----------
    model : Model

    Raises
    ------
    ValueError
        Saying which answer is wrong, and what that means.
    """
    seconds = FRAMES / model.frame_rate
    how = {"temperature": 0, "cfg": 1, "progress": False}
    try:
        clips = model.generate(list(PROMPTS), seconds, **how)
        own = _predicted(model, clips)
    except OverflowError as error:
        raise ValueError(
            "its predictions are not numbers. Its weights are damaged, or its products leave the "
            "range of its precision: try dtype='float32'."
        ) from error
    dtype = model.lm.transformer.layers[0].linear1.weight.dtype
    _check_replay(own, clips.tokens, TOLERANCE[dtype])
    other = _predicted(model, clips.under(PROMPTS[::-1]))
    if float((own - other).abs().max()) < NOTHING:
        raise ValueError(
            "its predictions are the same whatever the text says. Text encoder, projection and "
            "language model do not belong together, or cross-attention was never trained."
        )
    _check_codec(model, clips)


def _predicted(model, clips):
    """Log-probabilities [clip, codebook, frame, card] on the CPU, in the clips' order."""
    found = {}
    for batch, log_p in model.predictions(clips):
        found |= dict(zip(batch, log_p.cpu(), strict=True))
    return torch.stack([found[i] for i in range(len(clips))])


def _check_replay(log_p, tokens, allowed):
    sung = log_p.gather(-1, torch.as_tensor(tokens)[..., None])[..., 0]
    behind = float((log_p.amax(-1) - sung).max())
    if behind > allowed:
        raise ValueError(
            f"a replay does not predict what it sang (by {behind:.2g} nats; {allowed:g} allowed). "
            "What is captured would not be what was sung: do hooks change the model?"
        )


def _check_codec(model, clips):
    if not np.isfinite(clips.audio).all() or not np.abs(clips.audio).max() > 0:
        raise ValueError("its codec plays silence, or what is no sound. Its weights are damaged.")
    again = model.encode(clips.audio, clips.sample_rate)
    if again.shape != clips.tokens.shape:
        raise ValueError(
            f"its codec reads tokens of shape {again.shape} in what it played from "
            f"{clips.tokens.shape}: it is of another frame rate or number of codebooks."
        )
