"""Random numbers that follow from a seed and a place alone: the same in any batch, on any device.

Philox4x64-10 is a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"): a block of four 64-bit integers is a function of a key, here the clip's seed, and a
counter, here the number of the block among all that the clip needs: step by step, codebook by
codebook, token by token. numpy computes it on the CPU. On any other device PyTorch computes the
same integers from a seed and a counter, so that none are sent there.
"""

from collections.abc import Sequence

import numpy as np
import torch

#: The generator's constants: factors of the two products of a round, and what is added to the key.
FACTORS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10
#: Integers of 64 bits in a block, and numbers that are made of them.
BLOCK = 4
NUMBERS = 2 * BLOCK
LOW = 0xFFFFFFFF


class Noise:
    """Gumbel noise of some clips, which goes on from call to call.

    The largest sum of logit and noise is a sample of the softmax.

    Parameters
    ----------
    seeds : sequence of int
        One a clip.
    device : torch.device
    """

    def __init__(self, seeds: Sequence[int], device):
        self.seeds = [int(seed) for seed in seeds]
        self.device = torch.device(device)
        # sent there once, so that draws in the midst of a song wait for nothing
        self.keys = None if self.device.type == "cpu" else _keys(self.seeds, self.device)
        self.step = 0

    def draw(self, steps: int, codebooks: int, card: int) -> torch.Tensor:
        """Noise of the next steps, float32 [step, clip, codebook, card]."""
        a_step = codebooks * card
        blocks = -(-a_step // NUMBERS)
        even = self._uniform(self.step * blocks, steps * blocks)
        self.step += steps
        gumbel = even.log_().neg_().log_().neg_().view(len(self.seeds), steps, -1)
        return gumbel[..., :a_step].transpose(0, 1).reshape(steps, -1, codebooks, card)

    def _uniform(self, first, blocks):
        """Numbers between 0 and 1 (and neither of them), float32 [clip, 8 * blocks], of the blocks
        from number ``first`` on: the middles of 2 ** 23 equal steps, which float32 tells apart.
        """
        if self.keys is not None:
            bits = _by_torch(self.keys, first, blocks) >> 9
            return bits.float().add_(0.5).mul_(2.0**-23)
        even = np.empty((len(self.seeds), NUMBERS * blocks), np.float32)
        for seed, row in zip(self.seeds, even, strict=True):  # one by one stays in a core's cache
            row[:] = _by_numpy(seed, first, blocks) >> 9
            row += 0.5
            row *= 2.0**-23
        return torch.from_numpy(even)


def _by_numpy(seed, first, blocks):
    # numpy counts up before it makes a block
    counter = (first - 1) % 2**256
    words = np.random.Philox(key=seed, counter=counter).random_raw(BLOCK * blocks)
    return words.astype("<u8", copy=False).view("<u4")


def integers(seeds: Sequence[int], first: int, blocks: int, device) -> torch.Tensor:
    """Integers of 32 bits, int64 [seed, 8 * blocks], by PyTorch's operators alone."""
    return _by_torch(_keys(seeds, device), first, blocks)


def _keys(seeds, device):
    """Seeds as they are on a device, int64 [seed, 1]."""
    return torch.tensor([[_signed(seed)] for seed in seeds], device=device)


def _by_torch(seeds, first, blocks):
    keys = [seeds, 0]
    counter = torch.arange(first, first + blocks, device=seeds.device).expand(len(seeds), -1)
    zero = torch.zeros_like(counter)
    words = [counter, zero, zero, zero]
    for k in range(ROUNDS):
        key = [own + _signed(k * step) for own, step in zip(keys, KEY_STEPS, strict=True)]
        words = _round(words, key)
    words = torch.stack(words, -1)
    return torch.stack([words & LOW, (words >> 32) & LOW], -1).flatten(1)


def _round(words, key):
    first_high, first_low = _product(words[0], FACTORS[0])
    second_high, second_low = _product(words[2], FACTORS[1])
    return [
        second_high ^ words[1] ^ key[0],
        second_low,
        first_high ^ words[3] ^ key[1],
        first_low,
    ]


def _product(x, factor):
    """Both halves of a product of 128 bits, from four products of 64.

    int64 holds the same bits as an unsigned integer would; only shifts must not copy the sign.
    """
    low = factor & LOW
    high = factor >> 32
    x_low = x & LOW
    x_high = (x >> 32) & LOW
    middle = x_high * low + _upper(x_low * low)
    other = x_low * high + (middle & LOW)
    return x_high * high + _upper(middle) + _upper(other), x * _signed(factor)


def _upper(x):
    return (x >> 32) & LOW


def _signed(integer):
    """The integer of int64 with the same 64 bits."""
    integer %= 2**64
    return integer - 2**64 if integer >= 2**63 else integer
