"""Generation: lib.model against audiocraft's own MusicGen on the same organism, prompts and settings.

lib.model gives each clip its own random numbers and batches only prompts of equal length; this prints what that costs.
"""

import time

from lib import model
from lib.compat import audiocraft

PROMPTS = ["a happy melody", "sad music", "a calm piano tune", "fast and loud music", "a tense violin piece"] * 12
SECONDS, REPEATS = 6.0, 2


def best(function):
    """Shortest of a few runs, in seconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


m = model.load("organism", "cpu")
baseline = audiocraft.models.MusicGen("organism", m.codec, m.lm, max_duration=30)
baseline.set_generation_params(duration=SECONDS, top_k=250, cfg_coef=3.0)
theirs = best(lambda: baseline.generate(PROMPTS))
ours = best(lambda: m.generate(PROMPTS, SECONDS, progress=False))
by_16 = best(lambda: m.generate(PROMPTS, SECONDS, batch_size=16, progress=False))
print(f"{len(PROMPTS)} clips of {SECONDS:g} s on {m.device}")
print(f"audiocraft MusicGen.generate (baseline)  {theirs:6.2f} s  1.00 x")
print(f"lib.model.generate                       {ours:6.2f} s  {theirs / ours:.2f} x")
print(f"lib.model.generate, 16 at a time        {by_16:6.2f} s  {theirs / by_16:.2f} x")
