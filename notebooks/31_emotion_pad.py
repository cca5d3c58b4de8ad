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
# **Question.** Two numbers place an emotion on a plane: *valence*, how pleasant it is, and
# *arousal*, how excited. If the model holds both, two directions inside it should take a song to
# any point of the plane and along any path. Do songs land where they are asked to?
#
# **Why it matters.** Switching one emotion on may be a trick of sound. A plane that can be played
# would show that degrees and mixtures of emotion are held, too.
#
# **Method.** A *direction* is the difference of the means of what the model holds for two kinds
# of prompts. That of valence leads from prompts that imply tense or sad to those that imply happy
# or calm; that of arousal from calm or sad to happy or tense. *Steering* adds a direction to what
# one block holds while the model sings. Neither moves one axis alone, so what both do is measured
# on some songs, from which the push to any point follows. Other songs are sent to a grid of
# points, and a *listener*, a program that never saw the model, says where they landed.
#
# **Hypothesis and controls.** Where songs are heard follows where they were asked to be: the
# *slope*, the change heard for each unit asked for, is above 0 on both axes (at 1 songs land
# where asked), and each axis moves itself more than the other. Random directions of the same
# length may move songs a little, as any push does. `organism-shuffled` was trained with captions
# of other clips, so that words mean nothing: its own directions must move songs no further than
# random ones.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
most = 0.12  # largest strength, mean norms
learned_from = 12  # prompts of each emotion
calibrated_on = 12  # songs
songs = 6  # songs that move over the whole grid
on_page = 2  # of these, how many can be played here
side = 5  # points of the grid along one axis
judging = {"ears": ("corpus",)}  # what differs from steering.Judge
beside = ["organism-shuffled"]
seconds = 4.0
seed = 930

# %%
import dataclasses

import numpy as np
from IPython.display import Markdown, display

from lib import activations, prompts, results, show, stats, steering
from lib.book import chapter
from lib.pad import Pad

models = chapter.models(model, beside)
m = models[model]

# %%
AXES = {
    "valence": (("happy", "calm"), ("tense", "sad")),
    "arousal": (("happy", "tense"), ("calm", "sad")),
}


def kinds(name):
    """Prompts for both ends of both axes, in the language of a model."""
    implied = prompts.crossed("implied", learned_from, chapter.language(name), seed)
    return [
        [list(implied["prompt"][implied["emotion"].isin(end)]) for end in ends]
        for ends in AXES.values()
    ]


# %%
def plain(name):
    """Prompts for no emotion, in the language of a model."""
    count = calibrated_on + songs
    table = prompts.crossed("neutral", count, chapter.language(name), seed)
    return list(table["prompt"])


# %%
neutral = plain(model)
settings = {"seconds": seconds, "seed": seed}
judges = {
    name: steering.Judge(singer, **judging) for name, singer in models.items()
}


# %%
def plane(name, method="diffmeans"):
    """The directions of valence and of arousal in a model, and what they do."""
    at = activations.at(models[name], depth), method
    both = [
        steering.direction(models[name], *e, *at, **settings) for e in kinds(name)
    ]
    on = plain(name)[:calibrated_on]
    return steering.calibrate(judges[name], both, on, most=most, **settings)


# %% [markdown]
# ## What the directions do
#
# How far does each direction move its own axis, at the largest strength in use?

# %%
judge = judges[model]
learned = plane(model)
planes = {model: learned, "random directions": plane(model, "random")}
for name in list(models)[1:]:
    planes[name] = plane(name)
moved = {
    f"{name}: {axis}": stats.Estimate(*(most * v for v in slope[:3]), slope.n)
    for name, both in planes.items()
    for axis, slope in both.slopes.items()
}
show.estimates(
    moved,
    f"Each direction at strength {most:g}, on its own axis (dotted: nothing)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# Each point is a direction with its 95 % interval (which holds the true value in 19 of 20 such
# studies); a useful one lies right of the dotted line (nothing) and of the random one. The unit
# is the standard deviation of the organisms' training music.
#
# ## The pad
#
# Drag, or use the arrow keys, while it plays. Between points the nearest songs are faded into
# each other.

# %%
size = {"side": side, "seconds": seconds, "shown": on_page}
pad = Pad(judge, learned, neutral[-songs:], seed=seed + 50, **size)
pad

# %% [markdown]
# The point that you choose is what is asked for, and the lines show where each song really
# landed.
#
# ## Does it tell the truth?
#
# The lines above show it song by song. Here are all songs of the grid, also those that are not on
# this page.

# %%
line = np.unique(pad.points[:, 0])


def heard_by_asked(asked, axis):
    """Means of one axis as heard, by what was asked of another (their numbers)."""
    columns = [pad.points[:, asked] == value for value in line]
    return [stats.mean(pad.heard[:, column, axis].mean(1)) for column in columns]


for i, axis in enumerate(AXES):
    curves = {
        f"{name} heard": (line, heard_by_asked(i, j)) for j, name in enumerate(AXES)
    }
    curves["where asked"] = (line, [stats.Estimate(v, v, v, songs) for v in line])
    title = f"{axis} asked for: what is heard"
    asked = f"{axis} asked for, standard deviations"
    display(show.curves(curves, title, asked, "heard, standard deviations", bar=0))

# %% [markdown]
# From left to right more is asked for: the line of that axis should rise along *where asked*, and
# that of the other axis stay flat.

# %%
landed = steering.landing(pad.points, pad.heard)
show.table(landed, f"{model}: {songs} songs at {side * side} points each")

# %% [markdown]
# Each row is one axis asked for and one heard: *slope* is the share of the distance that is
# covered, and the correlation *r* is high where songs go the right way, however far.
#
# ## Along a path
#
# Here the push moves from one end of an axis to the other while a song is sung. The same songs
# are also led back, and the difference of both is taken, so that what a song does by itself
# cancels out.

# %%
ends = {"valence": [[-1, 0], [1, 0]], "arousal": [[0, -1], [0, 1]]}
lead = {
    "seconds": min(2 * seconds, m.max_seconds),
    "seeds": [*range(seed + 80, seed + 80 + songs)],
}


def gain(path):
    """Second half minus first half, [song, 2]."""
    sung = steering.sing(m, learned, neutral[-songs:], [path] * songs, **lead)
    halves = np.array_split(sung.audio, 2, axis=-1)
    first, second = [dataclasses.replace(sung, audio=half) for half in halves]
    return judge.place(second) - judge.place(first)


led = {axis: gain(path) - gain(path[::-1]) for axis, path in ends.items()}

# %%
followed = {
    f"{axis} led: {name}": stats.mean(change[:, j] / 2)
    for axis, change in led.items()
    for j, name in enumerate(AXES)
}
show.estimates(
    followed,
    f"{model}: second half minus first half (dotted: no change)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# Each point is the change from the first half of a song to the second: an axis that was *led*
# should lie right of the dotted line (no change), and the other axis near it.
#
# ## What it means
#
# The verdict names the axes on which songs go the right way, and those on which they go further
# than a random direction takes them. A slope between 0 and 1 means that the pad points the right
# way and falls short: it says *happier*, not *how happy*.
#
# **Doubts.** Where one axis drags the other along, the model or its world ties them together:
# happy music is faster than calm music. And the listener is a program; chapter 32 asks people.
#
# **What would change our mind.** Random directions, or directions of a model whose words mean
# nothing, that move songs as far.

# %%
own = landed[landed["asked"] == landed["heard"]].set_index("asked")
findings = []
for axis, slope in own["slope"].items():
    question = f"How far towards where the pad asks do songs land ({axis}, slope)?"
    findings.append(results.finding(question, model, stats.side(slope), slope))


# %%
def further(own, other):
    """How much longer one slope is than another, for the largest strength; both intervals count."""
    gap = most * (abs(own.value) - abs(other.value))
    half = most * np.hypot(own.high - own.low, other.high - other.low) / 2
    return stats.Estimate(gap, gap - half, gap + half, own.n)


question = "How much further does the direction of {} move it than a random one?"
gaps = {
    (name, axis): further(planes[name].slopes[axis], other)
    for name in models
    for axis, other in planes["random directions"].slopes.items()
}
for (name, axis), gap in gaps.items():
    answer = (question.format(axis), name, stats.side(gap), gap)
    findings.append(results.finding(*answer))

# %%
for axis in AXES:
    change = followed[f"{axis} led: {axis}"]
    question = f"How far do songs follow a path along {axis} (slope)?"
    findings.append(results.finding(question, model, stats.side(change), change))
results.record("31_emotion_pad", m, findings)

# %%
slopes = ", ".join(
    f"{axis} {slope.value:.2f}" for axis, slope in own["slope"].items()
)
right = [axis for axis, slope in own["slope"].items() if slope.low > 0]
paths = [axis for axis in AXES if followed[f"{axis} led: {axis}"].low > 0]
beyond = [axis for axis in AXES if gaps[model, axis].low > 0]
right, beyond, paths = (
    " and ".join(axes) or "neither axis" for axes in (right, beyond, paths)
)
Markdown(
    f"**Verdict.** Asked for a point, songs go the right way in {right} (slopes: "
    f"{slopes}; 1 would land there). Its own direction moves them further than a random one "
    f"of the same norm in {beyond}: elsewhere any push does as much, and a slope "
    "says nothing of what was learned. Led along a path within a song, they follow in "
    f"{paths}."
)
