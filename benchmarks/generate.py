"""Generation: tokens a second of lib.model against audiocraft's own MusicGen, same model, prompts
and settings.

lib.model gives each clip its own random numbers, and lets it read its own text alone; the ratios
hold what that costs. Both are first asked for the likeliest tokens, which must be equal (for
prompts of equal length: audiocraft lets the shorter ones read their neighbours' padding).
"""

import time

import numpy as np

from lib import model
from lib.musicgen.compat import audiocraft

PROMPTS = [
    "a happy melody",
    "sad music",
    "a calm piano tune",
    "fast and loud music",
    "a tense violin piece",
] * 12
ALIKE = ["sad music", "fast music", "happy music", "calm music"]
SECONDS = 6.0
REPEATS = 3


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
baseline.set_generation_params(duration=SECONDS, use_sampling=False, cfg_coef=3.0)
theirs = baseline.generate(ALIKE, return_tokens=True)[1].numpy()
ours = m.generate(ALIKE, SECONDS, temperature=0, cfg=3.0, progress=False).tokens
print(f"likeliest tokens equal: {np.mean(theirs == ours):.2%} of {ours.size}")

baseline.set_generation_params(duration=SECONDS, top_k=250, cfg_coef=3.0)
print(
    f"clips of {SECONDS:g} s on {m.device}: tokens a second, times audiocraft's MusicGen.generate "
    "(baseline)"
)
for n in (1, 8, len(PROMPTS)):
    tokens = n * m.lm.n_q * int(SECONDS * m.frame_rate)
    theirs = tokens / best(lambda: baseline.generate(PROMPTS[:n]))  # noqa: B023
    ours = tokens / best(lambda: m.generate(PROMPTS[:n], SECONDS, progress=False))  # noqa: B023
    print(
        f"{n:3} at once: audiocraft {theirs:7,.0f}  1.00 x   lib.model {ours:7,.0f}  "
        f"{ours / theirs:.2f} x"
    )
