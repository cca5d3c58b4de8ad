"""Released shapes with random weights on this device: time and peak memory of

generation, capture, decoding, SAE training, patching and steering.

Random weights take as long as trained ones. Text encoder and codec are miniatures: what is measured
is the language model; the real codec's shape is measured by itself (``codec``).
``python benchmarks/released.py small large codec``; without names, small, large and codec on a GPU,
and a miniature and codec where there is none. "Of a product" is the share of what one large product
of matrices reaches here, counting two operations a parameter and token.

Memory is the most that is held beyond what the model held before the call; on a CPU, what the
process holds more, looked at every few milliseconds. Beside it stands what follows from the shape
(``computed``), which is all there is for models that do not fit: ``--computed`` prints that alone.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import released
from memory import GB, Held

from lib import activations, causal, model, sae, sizing, steering
from lib.musicgen import sampling
from lib.musicgen.compat import audiocraft

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
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
    """Seconds (the better of two runs), what came out, and the most memory that the first held, in
    GB.
    """
    held = Held()
    start = time.perf_counter()
    with held.watched():
        result = function()
    first = time.perf_counter() - start
    start = time.perf_counter()
    result = function()
    if GPU:
        torch.cuda.synchronize()
    return min(first, time.perf_counter() - start), result, held.most


def product():
    """Operations a second of one large product, in the precision of the language model."""
    n = 8192 if GPU else 1024
    kind = torch.float16 if GPU else torch.float32
    a = torch.randn(n, n, device="cuda" if GPU else "cpu", dtype=kind)
    return 2 * n**3 / min(timed(lambda: a @ a)[0] for _ in range(5))


def tell(what, seconds, memory, rate, unit, operations=None, computed=None):
    share = "" if operations is None else f"  {operations / seconds / PEAK:6.1%} of a product"
    held = f"{memory:6.2f} GB" + ("" if computed is None else f" (computed {computed:.2f})")
    print(f"  {what:44} {seconds:8.2f} s {rate:12,.1f} {unit:16} {held:27}{share}")


def computed(shape, clips, seconds):
    """GB beyond the weights that calls take, from the shape alone."""
    frames = int(seconds * shape.frame_rate)
    precision = sizing.BYTES[sizing.dtype(DEVICE)]
    weights = sizing.parameters(shape) * precision
    packed = 0 if GPU or weights > sizing.SHARE * sizing.free("cpu") else weights
    logits = shape.codebooks * shape.cardinality * 4
    drawn = (3 * sampling.BLOCK + 8) * logits
    a_pass = sizing.one_pass(shape.dim, frames)
    # on the device and fetched in float32, and what is returned in float16
    kept = shape.blocks * frames * shape.dim * (4 + 4 + 2)
    return {
        "generate": (packed + clips * (sizing.cache_of(shape, seconds, DEVICE) + drawn)) / GB,
        "capture": clips * (a_pass + kept) / GB,
        "predict": clips * (a_pass + 3 * frames * logits) / GB,
    }


def tell_computed(name):
    """What a model would take that is not loaded."""
    shape = shape_of(name)
    weights = sizing.parameters(shape) * sizing.BYTES[sizing.dtype(DEVICE)] / GB
    held = computed(shape, CLIPS, SECONDS)
    print(
        f"{name}: computed, not measured: weights {weights:.2f} GB; beyond them, for {CLIPS} clips "
        f"of {SECONDS:g} s, " + ", ".join(f"{call} {size:.2f} GB" for call, size in held.items())
    )


def shape_of(name):
    blocks, dim, _ = SHAPES[name]
    return sizing.Shape(blocks, dim, text_dim=24)


def measure_codec():
    """The codec's real shape, with random weights: memory is bounded by samples, not by clips."""
    with tempfile.TemporaryDirectory() as folder:
        m = model.load(str(released.write(Path(folder))))
    config = transformers.EncodecConfig.from_dict(REAL_CODEC)
    m.codec.model = transformers.EncodecModel(config).to(m.device).eval()
    print("EnCodec at 32 kHz, its released shape")
    rng = np.random.default_rng(0)
    for clips, seconds in ((1, 30.0), (12, 5.0)):
        codes = rng.integers(0, 2048, (clips, 4, int(seconds * 50)))
        spent, audio, memory = timed(lambda codes=codes: m.decode(codes))
        rate = clips * seconds / spent
        tell(f"decode {clips} clips of {seconds:g} s", spent, memory, rate, "clip seconds/s")
        spent, _, memory = timed(lambda audio=audio: m.encode(audio, 32_000))
        tell(
            f"encode {clips} clips of {seconds:g} s",
            spent,
            memory,
            clips * seconds / spent,
            "clip seconds/s",
        )


#: Of facebook/encodec_32khz.
REAL_CODEC = {
    "sampling_rate": 32_000,
    "num_filters": 64,
    "upsampling_ratios": [8, 5, 4, 4],
    "codebook_size": 2048,
    "codebook_dim": 128,
    "hidden_size": 128,
    "target_bandwidths": [2.2],
    "use_causal_conv": False,
    "use_conv_shortcut": False,
    "norm_type": "weight_norm",
}


def measure(name, folder):
    blocks, dim, heads = SHAPES[name]
    m = model.load(str(released.write(folder, blocks, dim, heads)))
    size = sizing.parameters(shape_of(name))
    expected = computed(shape_of(name), CLIPS, SECONDS)
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
            computed(shape_of(name), n, SECONDS)["generate"],
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
        expected["capture"],
    )
    largest = {
        kind: float(np.abs(acts[f"resid.{i}"].values.astype(np.float32)).max())
        for kind, i in (("first", 0), ("middle", blocks // 2), ("last", blocks - 1))
    }
    print(
        "  largest value of the residual stream (float16 holds 65,504), random weights: "
        + ", ".join(f"{kind} block {value:,.0f}" for kind, value in largest.items())
    )
    seconds, _, memory = timed(lambda: m.cross_entropy(clips))
    tell(
        "predict",
        seconds,
        memory,
        CLIPS * frames / seconds,
        "frames/s",
        2 * size * CLIPS * frames,
        expected["predict"],
    )
    if not GPU and size > 1e9:
        print("  the rest would take an hour on a CPU")
        return
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


names = [name for name in sys.argv[1:] if not name.startswith("-")]
names = names or (["small", "large", "codec"] if GPU else ["miniature", "codec"])
if "--computed" in sys.argv:
    for name in set(names) & set(SHAPES):
        tell_computed(name)
    sys.exit()
PEAK = product()
print(
    f"{torch.cuda.get_device_name() if GPU else 'CPU'}: one large product {PEAK / 1e12:,.2f} "
    f"Tflop/s; {CLIPS} clips of {SECONDS:g} s"
)
for name in names:
    if name == "codec":
        measure_codec()
        continue
    with tempfile.TemporaryDirectory() as folder:
        measure(name, Path(folder))
