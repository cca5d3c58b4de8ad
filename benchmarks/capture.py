"""Capture: all layers at all timesteps of clips that exist, against (a) hooks during step-by-step
generation, which is how
the original study did it, and (b) plain hooks on one forward pass of audiocraft's own model.

Prints seconds, ratios and the most memory that the first run held beyond what was held before it,
looked at every few milliseconds.
"""

import time

import numpy as np
import torch
from memory import Held

from lib import activations, model
from lib.musicgen.compat import audiocraft

ConditioningAttributes = audiocraft.modules.conditioners.ConditioningAttributes

PROMPTS = ["a happy melody", "a sad melody", "a calm melody", "a fast melody"] * 4
SECONDS = 6.0
REPEATS = 5


def best(function, repeats=REPEATS):
    """Shortest of a few runs in seconds, and the most memory that the first held, in MB."""

    def seconds():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    held = Held()
    with held.watched():
        times = [seconds()]
    times += [seconds() for _ in range(repeats - 1)]
    return min(times), 1000 * held.most


m = model.load("organism", "cpu")
clips = m.generate(PROMPTS, SECONDS, seed=0, progress=False)
layers = m.lm.transformer.layers
theirs = audiocraft.models.MusicGen("organism", m.codec, m.lm, max_duration=30)
theirs.set_generation_params(duration=SECONDS, cfg_coef=m.defaults["cfg"])


def plain_hooks():
    seen = {}
    handles = [
        x.register_forward_hook(lambda _m, _a, out, i=i: seen.update({i: out}))
        for i, x in enumerate(layers)
    ]
    attributes = [ConditioningAttributes(text={"description": p}) for p in PROMPTS]
    with torch.no_grad():
        m.lm.compute_predictions(torch.from_numpy(clips.tokens), attributes)
    for handle in handles:
        handle.remove()
    return seen


def live_hooks(generate=lambda: m.generate(PROMPTS, SECONDS, seed=0, progress=False)):
    seen = {i: [] for i in range(len(layers))}
    handles = [
        x.register_forward_hook(lambda _m, _a, out, i=i: seen[i].append(out))
        for i, x in enumerate(layers)
    ]
    generate()
    for handle in handles:
        handle.remove()
    return {i: torch.cat(steps, 1) for i, steps in seen.items()}


def capture(sites="resid.*"):
    return activations.capture(m, clips, sites, progress=False)


capture()
plain_hooks()
ours, memory = best(capture)
middle, _ = best(lambda: capture(f"resid.{len(layers) // 2 - 1}"))
plain, plain_memory = best(plain_hooks)
live, live_memory = best(lambda: live_hooks(lambda: theirs.generate(PROMPTS)), 2)
n = len(clips)
frames = clips.tokens.shape[-1]
error = np.abs(capture()["resid.5"].values - live_hooks()[5][:n, :frames].numpy()).max()
print(
    f"{n} clips x {frames} frames x {len(layers)} layers on {m.device}; largest difference to (a): "
    f"{error:.1e}"
)
print(f"(a) hooks during generation (baseline)   {live:6.2f} s   1.0 x   +{live_memory:.0f} MB")
print(
    f"(b) plain hooks on one forward pass      {plain:6.2f} s  {live / plain:4.1f} x   "
    f"+{plain_memory:.0f} MB"
)
print(
    f"activations.capture, all layers          {ours:6.2f} s  {live / ours:4.1f} x   +{memory:.0f} "
    f"MB  ({ours / plain:.2f} of (b))"
)
print(f"activations.capture, the middle layer    {middle:6.2f} s  {live / middle:4.1f} x")
