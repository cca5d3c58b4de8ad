# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Can you play emotion like an instrument?
#
# **Question.** Valence and arousal span a plane. If the model holds both, two directions should take a song to any point of it, and along any
# path. Do songs land where they are asked to?
#
# **Method.** One direction lies between prompts that imply happy or calm and prompts that imply tense or sad (valence), one between
# happy or tense and calm or sad (arousal). Neither moves one axis alone, so what both do is measured on some songs and inverted.
# Other songs are then steered to a grid of points, and a listener that never saw the model says where they are.
#
# **Hypothesis.** On songs that calibrated nothing, what is heard follows what is asked: slopes above 0 on both axes (1: lands where
# asked), and each axis moves itself more than the other. **Null and controls.** Random directions of the same norm, which may move a little, as any
# push does; `organism-shuffled` with its own directions must move no further than those.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
most = 0.12  # largest strength, mean norms
learned_from = 12  # prompts of each emotion
calibrated_on = 12  # songs
songs = 6  # songs that move over the whole grid
on_page = 2  # of these, how many can be played here
side = 5  # points of the grid along one axis
seconds = 4.0
seed = 930

# %%
import dataclasses

import numpy as np
from IPython.display import Markdown, display

from lib import activations, prompts, results, show, stats, steering
from lib import model as musicgen
from lib.organism import world
from lib.pad import Pad

# %%
m = musicgen.load(model)
site = activations.at(m, depth)
language = "organism" if model in world.WORLDS else "natural"
AXES = {
    "valence": (("happy", "calm"), ("tense", "sad")),
    "arousal": (("happy", "tense"), ("calm", "sad")),
}
implied = prompts.crossed("implied", learned_from, language, seed)
neutral = prompts.crossed("neutral", calibrated_on + songs, language, seed)
neutral = list(neutral["prompt"])
kinds = {
    axis: [list(implied["prompt"][implied["emotion"].isin(end)]) for end in ends]
    for axis, ends in AXES.items()
}


# %%
def plane(x, method="diffmeans"):
    """The directions of valence and of arousal in a model, and what they do."""
    judge = steering.Judge(x, ears=("corpus",))
    told = {"seconds": seconds, "seed": seed}
    both = [steering.direction(x, *k, site, method, **told) for k in kinds.values()]
    measured_on = neutral[:calibrated_on]
    return judge, steering.calibrate(judge, both, measured_on, most=most, **told)


# %% [markdown]
# ## What the directions do
#
# Change of what is heard, for the largest strength.

# %%
judge, learned = plane(m)
planes = {model: learned, "random directions": plane(m, "random")[1]}
if model in world.WORLDS:
    shuffled = musicgen.load("organism-shuffled")
    planes["organism-shuffled"] = plane(shuffled)[1]
moved = {
    f"{name}: {axis}": stats.Estimate(*(most * v for v in slope[:3]), slope.n)
    for name, p in planes.items()
    for axis, slope in p.slopes.items()
}
show.estimates(
    moved,
    f"Each direction at strength {most:g}, on its own axis (dotted: nothing)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# ## The pad
#
# Drag, or use the arrow keys, while it plays. Where songs are close in the plane they are faded into each other.

# %%
how = {"side": side, "seconds": seconds, "shown": on_page}
pad = Pad(judge, learned, neutral[-songs:], seed=seed + 50, **how)
pad

# %% [markdown]
# ## Does it tell the truth?
#
# The lines above show it song by song. Over all songs of the grid, including those that are not on this page: what is heard, by
# what was asked.

# %%
line = np.unique(pad.points[:, 0])
for i, axis in enumerate(AXES):
    curves = {
        f"{h} heard": (line, [stats.mean(pad.heard[:, pad.points[:, i] == v, j].mean(1)) for v in line])
        for j, h in enumerate(AXES)
    }  # fmt: skip
    curves["where asked"] = (line, [stats.Estimate(v, v, v, songs) for v in line])
    display(
        show.curves(
            curves,
            f"{axis} asked for: what is heard",
            f"{axis} asked for, standard deviations",
            "heard, standard deviations",
            bar=0,
        )
    )

# %%
landed = steering.landing(pad.points, pad.heard)
show.table(landed, f"{model}: {songs} songs at {side * side} points each")

# %% [markdown]
# ## Along a path
#
# Songs that are led from one end of an axis to the other, minus songs led back: change of what is heard from the first to the
# second half. Nothing that a song does by itself survives the difference.

# %%
ends = {"valence": [[-1, 0], [1, 0]], "arousal": [[0, -1], [0, 1]]}
lead = {
    "seconds": min(2 * seconds, m.max_seconds),
    "seeds": [*range(seed + 80, seed + 80 + songs)],
}


def gain(path):
    """Second half minus first half, [song, 2]."""
    sung = steering.sing(m, learned, neutral[-songs:], [path] * songs, **lead)
    halves = np.array_split(sung.audio, 2, axis=1)
    heard = [judge.place(dataclasses.replace(sung, audio=half)) for half in halves]
    return heard[1] - heard[0]


led = {axis: gain(path) - gain(path[::-1]) for axis, path in ends.items()}

# %%
followed = {
    f"{axis} led: {heard}": stats.mean(change[:, j] / 2)
    for axis, change in led.items()
    for j, heard in enumerate(AXES)
}
show.estimates(
    followed,
    f"{model}: second half minus first half (dotted: no change)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# ## What it means
#
# Where slopes are above 0 and below 1 the pad points the right way and falls short: it says *happier*, not *how happy*. Where one axis drags the
# other along, the model, or its world, ties them together: happy music is faster than calm music.
#
# **What would change our mind.** Random directions, or directions of a model whose words mean nothing, that move songs as far.

# %%
own = landed[landed["asked"] == landed["heard"]].set_index("asked")
cross = landed[landed["asked"] != landed["heard"]].set_index("asked")
findings = []
for axis, e in own["slope"].items():
    true = e.low > 0 and e.value > abs(cross.loc[axis, "slope"].value)
    findings.append(
        results.finding(
            f"Do songs land where the pad asks ({axis}, slope)?",
            model,
            true,
            e,
            "steering",
        )
    )


# %%
def further(own, other):
    """How much longer one slope is than another, for the largest strength; both intervals count."""
    gap = most * (abs(own.value) - abs(other.value))
    half = most * np.hypot(own.high - own.low, other.high - other.low) / 2
    return stats.Estimate(gap, gap - half, gap + half, own.n)


for name in [k for k in planes if k != "random directions"]:
    for axis, other in planes["random directions"].slopes.items():
        e = further(planes[name].slopes[axis], other)
        question = (
            f"Does the direction of {axis} move it further than a random one?"
        )
        findings.append(results.finding(question, name, e.low > 0, e, "steering"))
for axis in AXES:
    e = followed[f"{axis} led: {axis}"]
    question = f"Do songs follow a path along {axis}?"
    findings.append(results.finding(question, model, e.low > 0, e))
results.record("31_emotion_pad", model, findings)

# %%
slopes = ", ".join(f"{axis} {e.value:.2f}" for axis, e in own["slope"].items())
paths = [axis for axis in AXES if followed[f"{axis} led: {axis}"].low > 0]
Markdown(
    f"**Verdict.** Asked for a point, songs go the right way and fall short (slopes: {slopes}; 1 would land there). "
    f"Led along a path within a song, they follow in {' and '.join(paths) or 'neither axis'}."
)
