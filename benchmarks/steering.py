"""Steering: a dose-response sweep in one batch, against unsteered songs and one clip at a time.

One clip at a time (baseline) is how steering is usually run: a vector added by a hook, one strength
and one prompt a call.
"""

import time

import numpy as np

from lib import activations, model, prompts, steering

PROMPTS = 8
SECONDS = 4.0
STRENGTHS = (0.0, 0.04, 0.08, 0.12, 0.16)
#: Clips that are sung one at a time.
ALONE = 4
#: The best of so many counts.
TURNS = 5

m = model.load("organism", "cpu")
table = prompts.crossed("name", PROMPTS)
asked = {
    emotion: list(table["prompt"][table["emotion"] == emotion]) for emotion in ("sad", "happy")
}
vector = steering.direction(m, asked["happy"], asked["sad"], seconds=1.0)
total = PROMPTS * len(STRENGTHS)


def timed(function):
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alone():
    """Some of the clips, each in a call of its own."""
    for i in range(ALONE):
        with activations.edit(m, *steering.edits(m, vector, [0.08], steps=200)):
            m.generate([asked["sad"][i]], SECONDS, i, progress=False)


def sweep():
    steering.generate(m, asked["sad"], vector, STRENGTHS, seconds=SECONDS, progress=False)


def plain():
    m.generate(asked["sad"] * len(STRENGTHS), SECONDS, progress=False)


single = timed(alone) / ALONE * total
# they take turns, so that a machine that slows down slows both
steered, unsteered = np.min([[timed(sweep), timed(plain)] for _ in range(TURNS)], 0)
print(f"{len(STRENGTHS)} strengths x {PROMPTS} prompts, clips of {SECONDS:g} s, on {m.device}")
for name, seconds in (
    ("one clip at a time (baseline)", single),
    ("one unsteered batch", unsteered),
    ("steering.generate, all at once", steered),
):
    print(f"{name:31} {total / seconds:8.2f} clips/s {single / seconds:6.2f} x")
print(f"steering costs {100 * (steered / unsteered - 1):.1f} % over the unsteered batch")
