"""What a run's predictions are worth: one number a pair, by which patched runs are compared.

A metric is called with

- ``log_p`` [pair, music, codebook, frame, card]: log-probabilities of every token, in the run that
  is judged;
- ``tokens`` [pair, music, codebook, frame]: the music itself. Music 0 was sung for the clean prompt
  of its pair, music 1 for the corrupted one;
- ``reference`` [pair, music, codebook, frame, card]: log-probabilities in the clean run;

and returns one number a pair, larger where the run is more like the clean one. Any function of this
form may stand in for those here.
"""

from collections.abc import Callable

import torch

from .. import divergence

Metric = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def logit_difference(log_p, tokens, reference):
    """How much better a run predicts the music sung for the clean prompt: nats a token, [pair].

    The mean log-probability of the clean music's tokens minus that of the corrupted music's. Linear
    in log-probabilities and therefore additive over tokens, which is why Wang et al. (2023) and
    Zhang and Nanda (2024) prefer it.
    """
    each = log_p.gather(-1, tokens[..., None])[..., 0].mean((2, 3))
    return each[:, 0] - each[:, 1]


def negative_divergence(log_p, tokens, reference):
    """Kullback-Leibler divergence of a run from the clean one, negative: nats a token, [pair]."""
    return -divergence.kl(reference, log_p)


METRICS = {"logit_difference": logit_difference, "kl": negative_divergence}


def find(metric: str | Metric) -> Metric:
    """A metric by its name, or a function of one's own.

    Raises
    ------
    ValueError
        Neither a name of ``METRICS`` nor a function.
    """
    found = METRICS.get(metric) if isinstance(metric, str) else metric
    if not callable(found):
        raise ValueError(f"metric must be one of {sorted(METRICS)} or a function. Got {metric!r}.")
    return found


def checked(values, n: int) -> torch.Tensor:
    """What a metric returned, if it is one number for each of ``n`` pairs.

    Raises
    ------
    ValueError
    """
    if not isinstance(values, torch.Tensor) or values.shape != (n,):
        found = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
        raise ValueError(
            f"A metric must return a tensor with one number for each of {n} pairs. Got {found}."
        )
    return values


def check_ends(metric: Metric, clean: torch.Tensor, corrupted: torch.Tensor) -> None:
    """Refuse a metric that cannot share out the difference between two unpatched runs.

    Parameters
    ----------
    metric : callable
        For the error.
    clean, corrupted : torch.Tensor [shape=(pair,)]
        What it returned for each of the two.

    Raises
    ------
    ValueError
        NaN, or the same for both runs.
    """
    check_finite(metric, clean, corrupted)
    if (clean - corrupted).mean().abs() < 1e-6:
        raise ValueError(
            f"The metric {_name(metric)} does not tell the clean from the corrupted runs: there is nothing "
            "to share out."
        )


def check_finite(metric: Metric, *values: torch.Tensor) -> None:
    """Refuse a metric that gives NaN or infinite values on the unpatched runs.

    Raises
    ------
    ValueError
    """
    if not all(torch.isfinite(some).all() for some in values):
        raise ValueError(
            f"The metric {_name(metric)} gives NaN or infinite values on the unpatched runs."
        )


def _name(metric):
    return getattr(metric, "__name__", repr(metric))
