"""Patching: cells a second of causal.patch_grid, against one hooked forward pass for each cell.

A cell is one site in one range of positions of one pair. The plain way (baseline) puts the clean
activation in place by a forward hook on audiocraft's own block and runs the model again, a cell at
a time. ``python benchmarks/patching.py small`` measures a model of *small*'s shape, with random
weights.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import released

from lib import causal, model, prompts

SMALL = "small" in sys.argv[1:]
PAIRS = 4 if SMALL else 8
SECONDS = 1.0 if SMALL else 4.0
RANGES = 4 if SMALL else 8
#: Cells that are measured the plain way.
PLAIN = 8 if SMALL else 64
SITES = ["resid.*"] if SMALL else ["resid.*", "cross.*"]


def load():
    """The organism, or a model of *small*'s shape."""
    if not SMALL:
        return model.load("organism", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        released.write(Path(folder), 24, 1024, 16)
        return model.load(folder, "cpu")


m = load()
table = prompts.pairs("emotion", PAIRS)
clean = m.generate(list(table["high"]), SECONDS, 0, progress=False)
corrupted = m.generate(list(table["low"]), SECONDS, 0, progress=False)
layers = m.lm.transformer.layers
delays = m.lm.pattern_provider.delays


@torch.no_grad()
def log_likelihood(tokens, prompts):
    """Mean log-probability of each of a pair's two songs."""
    logits = m.replay(tokens, prompts)
    frames = tokens.shape[-1]
    aligned = torch.stack([logits[:, k, d : d + frames] for k, d in enumerate(delays)], 1)
    each = aligned.log_softmax(-1).gather(-1, torch.as_tensor(tokens)[..., None])
    return each.mean((1, 2, 3))


def recorded(pair):
    """What every block of the clean run holds."""
    kept = [None] * len(layers)

    def keeper(i):
        def keep(module, args, out):
            kept[i] = out

        return keep

    handles = [layer.register_forward_hook(keeper(i)) for i, layer in enumerate(layers)]
    log_likelihood(musics(pair), [clean.prompts[pair]] * 2)
    for handle in handles:
        handle.remove()
    return kept


def musics(pair):
    return np.stack([clean.tokens[pair], corrupted.tokens[pair]])


def plain(cells):
    """One hooked pass a cell: (layer, first, past the last, pair); the clean run is kept."""
    kept = {}
    found = []
    for layer, first, past, pair in cells:
        if pair not in kept:
            kept[pair] = recorded(pair)
        source = kept[pair][layer]

        def put(module, args, out, source=source, first=first, past=past):
            out = out.clone()
            out[:, first:past] = source[:, first:past]
            return out

        handle = layers[layer].register_forward_hook(put)
        high, low = log_likelihood(musics(pair), [corrupted.prompts[pair]] * 2)
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
some = [
    (int(rng.integers(len(layers))), int(rng.integers(RANGES)), int(rng.integers(PAIRS)))
    for _ in range(PLAIN)
]
theirs, values = timed(lambda: plain([(i, edges[r], edges[r + 1], pair) for i, r, pair in some]))
gap = (exact.clean.values - exact.corrupted.values).mean()
mine = np.array(
    [
        exact.sel(site=f"resid.{i}").values[r, p] * gap + exact.corrupted.values[p]
        for i, r, p in some
    ]
)
difference = np.abs(mine - values).max()
print(
    f"{PAIRS} pairs x {len(exact.site)} sites x {RANGES} ranges; largest difference: "
    f"{difference:.1e}"
)
baseline = PLAIN / theirs
for name, rate in (
    ("one hooked pass a cell (baseline)", baseline),
    ("patch_grid, exact", exact.size / ours),
    ("patch_grid, attribution", exact.size / quick),
):
    print(f"{name:34} {rate:8.1f} cells/s {rate / baseline:6.1f} x")
