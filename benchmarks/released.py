"""Released shapes with random weights on this device:

generation, capture, SAE training, patching and steering.

Random weights take as long as trained ones. Text encoder and codec are miniatures: what is measured
is the language model. ``python benchmarks/released.py small large``; without names, small and large
on a GPU, and a miniature where there is none. "Of a product" is the share of what one large product
of matrices reaches here, counting two operations a parameter and token.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import released

from lib import activations, causal, model, sae, sizing, steering
from lib.musicgen.compat import audiocraft

GPU = torch.cuda.is_available()
SHAPES = {
    "miniature": (3, 32, 4),
    "small": (24, 1024, 16),
    "medium": (48, 1536, 24),
    "large": (48, 2048, 32),
}
SECONDS = 10.0 if GPU else 2.0
CLIPS = 16 if GPU else 4
HAPPY = ["a happy melody"] * CLIPS
SAD = ["a sad melody"] * CLIPS


def timed(function):
    """Seconds (the better of two runs), what came out, and the most memory that was held on a GPU,
    in GB.
    """
    times = []
    for _ in range(2):
        if GPU:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = function()
        if GPU:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times), result, torch.cuda.max_memory_allocated() / 1e9 if GPU else float("nan")


def product():
    """Operations a second of one large product, in the precision of the language model."""
    n = 8192 if GPU else 1024
    kind = torch.float16 if GPU else torch.float32
    a = torch.randn(n, n, device="cuda" if GPU else "cpu", dtype=kind)
    return 2 * n**3 / min(timed(lambda: a @ a)[0] for _ in range(5))


def tell(what, seconds, memory, rate, unit, operations=None):
    share = "" if operations is None else f"  {operations / seconds / PEAK:6.1%} of a product"
    held = f" {memory:6.1f} GB" if GPU else ""
    print(f"  {what:44} {seconds:8.2f} s {rate:12,.1f} {unit:16}{held}{share}")


def measure(name, folder):
    blocks, dim, heads = SHAPES[name]
    m = model.load(str(released.write(folder, blocks, dim, heads)))
    size = sizing.parameters(sizing.Shape(blocks, dim, text_dim=24))
    frames = int(SECONDS * m.frame_rate)
    print(
        f"{name}: {blocks} blocks of {dim}, {size / 1e6:,.0f} M parameters, "
        f"{m.lm.emb[0].weight.dtype}, {m.device}"
    )
    theirs = audiocraft.models.MusicGen(name, m.codec, m.lm, max_duration=30)
    for n in (1, CLIPS):
        theirs.set_generation_params(duration=SECONDS, use_sampling=False)
        base, (_, tokens), _ = timed(lambda n=n: theirs.generate(SAD[:n], return_tokens=True))
        seconds, clips, memory = timed(
            lambda n=n: m.generate(SAD[:n], SECONDS, temperature=0, progress=False)
        )
        equal = (torch.as_tensor(clips.tokens) == tokens.cpu()).float().mean().item()
        what = f"generate {n}, {base / seconds:.2f} x audiocraft, {equal:.0%} equal"
        tell(
            what,
            seconds,
            memory,
            n * frames * m.lm.n_q / seconds,
            "tokens/s",
            2 * 2 * size * n * frames,
        )
    clips = m.generate(SAD, SECONDS, 0, progress=False)
    seconds, acts, memory = timed(
        lambda: activations.capture(m, clips, "resid.*", dtype="float16", progress=False)
    )
    tell(
        "capture every block, every frame",
        seconds,
        memory,
        CLIPS * frames / seconds,
        "frames/s",
        2 * size * CLIPS * frames,
    )
    site = activations.at(m, 0.57)
    rows = CLIPS * frames
    width = min(4 * dim, rows // 4)
    seconds, _, memory = timed(
        lambda: sae.train(acts[site], width=width, k=min(32, width // 2), passes=8, progress=False)
    )
    tell(
        f"train an SAE of {width} features",
        seconds,
        memory,
        8 * rows / seconds,
        "activations/s",
        8 * rows * 6 * 2 * dim * width,
    )
    high, low = (m.generate(p[:4], SECONDS, 0, progress=False) for p in (HAPPY, SAD))
    seconds, grid, memory = timed(
        lambda: causal.patch_grid(m, high, low, "resid.*", ranges=4, progress=False)
    )
    tell(
        "patch every block, four ranges, four pairs",
        seconds,
        memory,
        grid.size / seconds,
        "cells/s",
    )
    vector = steering.direction(m, HAPPY[:4], SAD[:4], site, seconds=min(SECONDS, 3.0))
    plain, _, _ = timed(lambda: m.generate(SAD, SECONDS, progress=False))
    half = CLIPS // 2
    seconds, _, memory = timed(
        lambda: steering.generate(m, SAD[:half], vector, [0, 0.1], seconds=SECONDS, progress=False)
    )
    tell(
        f"steer two strengths, {seconds / plain - 1:+.1%} over plain",
        seconds,
        memory,
        CLIPS * SECONDS / seconds,
        "clip seconds/s",
    )


PEAK = product()
print(
    f"{torch.cuda.get_device_name() if GPU else 'CPU'}: one large product {PEAK / 1e12:,.2f} "
    f"Tflop/s; {CLIPS} clips of {SECONDS:g} s"
)
for name in sys.argv[1:] or (["small", "large"] if GPU else ["miniature"]):
    with tempfile.TemporaryDirectory() as folder:
        measure(name, Path(folder))
