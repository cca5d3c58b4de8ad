"""Steering: a dose-response sweep in one batch against one unsteered batch of the same size, and against one clip at a time.

One clip at a time (baseline) is how steering is usually run: a vector added by a hook, one strength and one prompt a call.
"""

import time

from lib import activations, model, prompts, steering

PROMPTS, SECONDS, STRENGTHS, ALONE = 8, 4.0, (0.0, 0.04, 0.08, 0.12, 0.16), 4

m = model.load("organism", "cpu")
table = prompts.crossed("name", PROMPTS)
asked = {e: list(table["prompt"][table["emotion"] == e]) for e in ("sad", "happy")}
vector = steering.direction(m, asked["happy"], asked["sad"], seconds=1.0)
total = PROMPTS * len(STRENGTHS)


def best(function, repeats=3):
    """Shortest of a few runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def alone():
    """Some of the clips, each in a call of its own."""
    for i in range(ALONE):
        with activations.edit(m, *steering.edits(m, vector, [0.08], steps=200)):
            m.generate([asked["sad"][i]], SECONDS, i, progress=False)


sweep = best(lambda: steering.generate(m, asked["sad"], vector, STRENGTHS, seconds=SECONDS, progress=False))
plain = best(lambda: m.generate(asked["sad"] * len(STRENGTHS), SECONDS, progress=False))
single = best(alone, 1) / ALONE * total
print(f"{len(STRENGTHS)} strengths x {PROMPTS} prompts, clips of {SECONDS:g} s, on {m.device}")
print(f"one clip at a time (baseline)     {total / single:6.2f} clips/s   1.00 x")
print(f"one unsteered batch               {total / plain:6.2f} clips/s  {single / plain:5.2f} x")
print(f"steering.generate, all at once    {total / sweep:6.2f} clips/s  {single / sweep:5.2f} x")
print(f"steering costs {100 * (sweep / plain - 1):.1f} % over the unsteered batch")
