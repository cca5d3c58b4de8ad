"""How far apart two predictions are: one measure for patching, alignment search and autoencoders.

>>> import torch
>>> even, sure = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
>>> round(kl(even, sure).item(), 3), round(kl(sure, even).item(), 3)
(0.511, 0.368)
"""

import torch


def kl(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence, nats a token: what it costs to expect q where p is true.

    Parameters
    ----------
    log_p, log_q : torch.Tensor [shape=(row, ..., token)]
        Log-probabilities over the last axis, of any precision. For a clip under two prompts the
        shape is (clip, codebook, frame, card).

    Returns
    -------
    torch.Tensor [shape=(row,)], float32
        The mean over all that lies between the first axis and the last. Gradients flow.

    References
    ----------
    Kullback and Leibler 1951, On information and sufficiency, Annals of Mathematical Statistics 22.
    """
    each = torch.nn.functional.kl_div(
        log_q.float(), log_p.float(), reduction="none", log_target=True
    )
    return each.sum(-1).reshape(len(each), -1).mean(1)
