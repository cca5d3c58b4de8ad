"""Patching: cells a second of causal.patch_grid against the plain way, one hooked forward pass for each cell.

A cell is one site in one range of frames of one pair. The plain way (baseline) puts the clean activation in place by a
forward hook on audiocraft's own block and runs the model again, a cell at a time.
"""

import time

import numpy as np
import torch

from lib import causal, model, prompts

PAIRS, SECONDS, RANGES, PLAIN = 8, 4.0, 8, 64
SITES = ["resid.*", "cross.*"]

m = model.load("organism", "cpu")
table = prompts.pairs("emotion", PAIRS)
clean, corrupted = (m.generate(list(table[end]), SECONDS, 0, progress=False) for end in ("high", "low"))
layers, delays = m.lm.transformer.layers, m.lm.pattern_provider.delays


def said(tokens, prompts):
    """Mean log-probability of each of a pair's two songs."""
    logits = m.replay(tokens, prompts)
    log_p = torch.stack([logits[:, k, d : d + tokens.shape[-1]] for k, d in enumerate(delays)], 1).log_softmax(-1)
    return log_p.gather(-1, torch.as_tensor(tokens)[..., None]).mean((1, 2, 3))


def plain(cells):
    """One hooked pass a cell: (layer, first, past the last, pair); the clean run is kept."""
    kept, found = {}, []
    for layer, first, last, pair in cells:
        tokens = np.stack([clean.tokens[pair], corrupted.tokens[pair]])
        if pair not in kept:
            kept[pair] = [None] * len(layers)
            handles = [
                x.register_forward_hook(lambda _m, _a, out, i=i, pair=pair: kept[pair].__setitem__(i, out))
                for i, x in enumerate(layers)
            ]
            m.replay(tokens, [clean.prompts[pair]] * 2)
            for handle in handles:
                handle.remove()

        def put(_module, _args, out, source=kept[pair][layer], first=first, last=last):
            out = out.clone()
            out[:, first:last] = source[:, first:last]
            return out

        handle = layers[layer].register_forward_hook(put)
        high, low = said(tokens, [corrupted.prompts[pair]] * 2)
        handle.remove()
        found.append((high - low).item())
    return np.array(found)


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def grid(how):
    return causal.patch_grid(m, clean, corrupted, SITES, ranges=RANGES, how=how, progress=False)


grid("attribution")
ours, exact = timed(lambda: grid("exact"))
quick, _ = timed(lambda: grid("attribution"))
edges = [*exact.start.values, clean.tokens.shape[-1] + max(delays)]
rng = np.random.default_rng(0)
some = [(int(rng.integers(len(layers))), int(rng.integers(RANGES)), int(rng.integers(PAIRS))) for _ in range(PLAIN)]
theirs, values = timed(lambda: plain([(i, edges[r], edges[r + 1], pair) for i, r, pair in some]))
gap = (exact.clean.values - exact.corrupted.values).mean()
mine = np.array([exact.sel(site=f"resid.{i}").values[r, p] * gap + exact.corrupted.values[p] for i, r, p in some])
print(
    f"{PAIRS} pairs x {len(exact.site)} sites x {RANGES} ranges; largest difference: {np.abs(mine - values).max():.1e}"
)
for name, rate in (
    ("one hooked pass a cell (baseline)", PLAIN / theirs),
    ("patch_grid, exact", exact.size / ours),
    ("patch_grid, attribution", exact.size / quick),
):
    print(f"{name:34} {rate:8.1f} cells/s {rate * theirs / PLAIN:6.1f} x")
