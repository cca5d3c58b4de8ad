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
# **Method.** A *direction* is the difference of the means of what the model holds for two kinds of
# prompts. That of valence leads from prompts that imply tense or sad to those that imply happy or
# calm; that of arousal from calm or sad to happy or tense. *Steering* adds a direction to what one
# block holds while the model sings. Neither direction moves one axis alone, so what both do is
# measured on some songs; from this follows the push to any point. That plane is *straight*: a step
# to the right adds the same wherever one stands. What the model itself holds need not lie so. The
# pad below moves on a *curved* surface through what the words of every emotion, in three degrees,
# really add by *cross-attention*, the part that reads the text. Other songs are sent to a grid of
# points, and a *listener*, a program that never saw the model, says where they landed.
#
# **Hypothesis and controls.** Where songs are heard follows where they were asked to be: the
# *slope*, the change heard for each unit asked for, is above 0 on both axes (at 1 songs land where
# asked), and each axis moves itself more than the other. Random directions of the same length may
# move songs a little, as any push does. The straight plane nearest to the same measured points
# shows what the bend is good for. The same surface with its places *dealt* anew among the anchors
# (emotions in three degrees) shows what the places are good for: it pushes as hard, to where
# nothing should be. `organism-shuffled` was trained with captions of other clips, so words mean
# nothing: its own directions must move songs no further than random ones.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
most = 0.12  # largest strength of the two directions, mean norms
gains = [2.0, 4.0, 8.0]  # how much more is added than words add; tried
learned_from = 12  # prompts of each emotion
calibrated_on = 12  # songs
draws = 4  # pairs of random directions beside a model's own
chance_on = 6  # songs that these are pushed in
songs = 6  # songs that move over the whole grid
on_page = 2  # of these, how many can be played here
side = 5  # points of the grid along one axis
judging = {"ears": ("corpus",)}  # what differs from steering.Judge
beside = ["organism-shuffled"]
seconds = 4.0
seed = 930

# %%
import dataclasses
import itertools

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from lib import activations, prompts, results, show, stats, steering
from lib.book import chapter, doubts
from lib.pad import Pad
from lib.steering import surface

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
    count = learned_from + calibrated_on + songs
    return prompts.crossed("neutral", count, chapter.language(name), seed)


# %%
neutral = list(plain(model)["prompt"])
settings = {"seconds": seconds, "seed": seed}
judges = {
    name: steering.Judge(singer, **judging) for name, singer in models.items()
}


# %%
def on(name):
    """The songs that calibrate, of prompts that nothing was learned from."""
    return list(plain(name)["prompt"])[learned_from:][:calibrated_on]


def both(name):
    """The directions of valence and of arousal in a model."""
    singer, site = models[name], activations.at(models[name], depth)
    return [steering.direction(singer, *e, site, **settings) for e in kinds(name)]


def plane(name, vectors, some):
    """What two directions do to some songs."""
    return steering.calibrate(judges[name], vectors, some, most=most, **settings)


# %%
def by_chance(name):
    """What random directions do, as long as a model's own and other ones on each axis."""
    drawn = [
        steering.anywhere(vector, draws, seed + axis)
        for axis, vector in enumerate(planes[name].vectors)
    ]
    few = on(name)[:chance_on]
    return [plane(name, two, few) for two in zip(*drawn, strict=True)]


# %% [markdown]
# ## What the directions do
#
# How far does each direction move its own axis, at the largest strength in use?

# %%
judge = judges[model]
planes = {name: plane(name, both(name), on(name)) for name in models}
learned = planes[model]
drawn = {name: by_chance(name) for name in models}


# %%
def at_chance(name, axis):
    """How far random directions move an axis, either way."""
    return stats.mean([abs(two.slopes[axis].value) for two in drawn[name]])


effects = {}
for name, axis in itertools.product(models, AXES):
    effects[f"{name}: {axis}"] = planes[name].slopes[axis]
    effects[f"random, {name}: {axis}"] = at_chance(name, axis)
moved = {
    which: stats.Estimate(*(most * v for v in slope[:3]), slope.n)
    for which, slope in effects.items()
}
show.estimates(
    moved,
    f"Each direction at strength {most:g}, on its own axis (dotted: nothing)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# A useful direction lies right of the dotted line (nothing) and of the random ones, which count
# however they move the axis, up or down. Bars are 95 % intervals (they hold the true value in 19 of
# 20 such studies), over songs or over random directions; the unit is the standard deviation of the
# organisms' training music.
#
# ## Curved or straight
#
# *Anchors* are five emotions in three degrees, and none. Each has a place, the valence and arousal
# that are heard when it is asked for, and an activation, what its words change while the same music
# is read. A surface that bends as little as it can leads through all of them (a thin-plate spline);
# beside it stands the flat plane nearest to them. Words add what they add at some moments, a push
# at all of them. So how much push is needed (the *gain*) is measured, for both.

# %%
learned_on = plain(model)[:learned_from]
anchors = prompts.graded(learned_on)
fitted = surface.fit(judge, anchors, list(learned_on["prompt"]), **settings)
shapes = {
    shape: surface.calibrated(
        judge,
        dataclasses.replace(fitted, shape=shape),
        on(model),
        gains,
        **settings,
    )
    for shape in surface.SHAPES
}
emotions = [name.split()[-1] for name in anchors]
show.plane(
    fitted.places[1:], list(anchors), emotions, "Where the anchors are heard"
)

# %% [markdown]
# Crosses are where emotions lie in the organisms' world: where points (degrees of an emotion, as
# the listener hears them) are near their cross, words take songs there.
#
# ## The pad
#
# Drag, or use the arrow keys, while it plays. Between points the nearest songs are faded into each
# other.

# %%
size = {"side": side, "seconds": seconds, "shown": on_page}
pad = Pad(judge, shapes["curved"], neutral[-songs:], seed=seed + 50, **size)
pad

# %% [markdown]
# The point that you choose is what is asked for, and the lines show where each song really landed.
#
# ## Does it tell the truth?
#
# Here are all songs of the grid, not only those on this page.

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
# The line of the axis asked for should rise along *where asked*, that of the other stay flat.

# %%
landed = steering.landing(pad.points, pad.heard)
show.table(landed, f"{model}: {songs} songs at {side * side} points each")

# %% [markdown]
# *slope* is the share of the distance that is covered; the correlation *r* is high where songs go
# the right way, however far.
#
# The same songs are now sent to the same points on four planes. *Error* is the distance between
# where a song was asked to be and where it is heard. *surprise* is how improbable a song is as
# music of any kind, in nats a token (one more is 2.7 times as unlikely). *instrument* is how often
# the prompt's instrument is recognised.


# %%
def sent(by):
    """The songs of the grid, each sent to every point on one plane."""
    n = len(pad.points)
    each = [prompt for prompt in neutral[-songs:] for _ in range(n)]
    seeds = np.repeat(np.arange(seed + 50, seed + 50 + songs), n).tolist()
    asked = np.tile(pad.points, (songs, 1))
    return steering.sing(m, by, each, asked, seconds, seeds)


def measured(by):
    """What is heard on one plane, every number a mean over the points of each song."""
    heard = judge.hear(sent(by))
    there = heard[[f"{judge.ear} {axis}" for axis in AXES]].to_numpy()
    error = np.linalg.norm(there - np.tile(pad.points, (songs, 1)), axis=1)
    columns = heard.assign(error=error)[["error", "surprise", "instrument"]]
    return columns.astype(float).groupby(
        np.repeat(np.arange(songs), len(pad.points))
    )


# %%
elsewhere = np.random.default_rng(seed).permutation(fitted.places[1:])
dealt = np.concatenate([fitted.places[:1], elsewhere])  # songs start where they did
sides = {**shapes, "dealt": dataclasses.replace(shapes["curved"], places=dealt)}
sides["two directions"] = learned
means = {name: measured(by).mean() for name, by in sides.items()}
rows = [
    {"plane": name} | {column: stats.mean(found[column]) for column in found}
    for name, found in means.items()
]
show.table(pd.DataFrame(rows), f"{model}: the same songs on four planes")

# %% [markdown]
# Where *dealt* has the same error as *curved*, songs do not land by the places of the anchors.
# Where *curved* has a smaller error than *straight*, its bend is worth something; where both agree
# within their intervals, the flat plane says as much.
#
# ## Along a path
#
# Halfway, each song is taken from one end of an axis to the other, and once more from there back.
# The difference counts, so that what a song does by itself cancels out. There are five ways. *One
# song*: the push changes while it is sung. *Asked*: nothing is pushed, the second half has another
# word in its prompt. *Parts*: the second half is sung anew, every note of the first read under the
# new push. *Led*: as parts, but the second half reads only the last moment of the first, guidance
# is raised, and it leads away from where the song was. *Dealt*: led on the dealt plane, its
# control.

# %%
ends = {"valence": [[-1, 0], [1, 0]], "arousal": [[0, -1], [0, 1]]}
words = {"valence": ("sad", "happy"), "arousal": ("calm", "energetic")}
whole = min(2 * seconds, m.max_seconds)
as_it_is = {"memory": whole / 2, "guidance": m.defaults["cfg"], "contrast": False}
path_seeds = [*range(seed + 80, seed + 80 + songs)]


def turned(axis, back):
    """The places, and the words, at both halves of a path."""
    places = np.repeat([ends[axis][::-1] if back else ends[axis]], songs, 0)
    return places, words[axis][::-1] if back else words[axis]


# %%
def told_anew(halves):
    """Songs whose second half has another word in its prompt."""
    begun, then = (list(anchored[word]) for word in halves)
    first = m.generate(begun, whole / 2, path_seeds, progress=False)
    seeds = [number + 1000 for number in path_seeds]
    return m.generate(then, whole, seeds, prompt_audio=first.audio, progress=False)


def along(way, places, halves):
    """Songs along a path; the dealt ones on the dealt plane, all others on the curved one."""
    if way == "asked":
        return told_anew(halves)
    given = m, sides["dealt" if way == "dealt" else "curved"], neutral[-songs:]
    if way == "one song":
        path = np.repeat(places, 50, axis=1)
        return steering.sing(*given, path, whole, path_seeds)
    how = as_it_is if way == "parts" else {}
    return steering.lead(*given, places, whole, path_seeds, **how)


# %%
WAYS = ["one song", "asked", "parts", "led", "dealt"]
anchored = prompts.graded(plain(model)[-songs:])
turns = list(itertools.product(WAYS, AXES, [False, True]))
sung = {turn: along(turn[0], *turned(*turn[1:])) for turn in turns}


def gain(songs):
    """What is heard in the second half minus in the first, [song, 2]."""
    halves = np.array_split(songs.audio, 2, axis=-1)
    first, second = [dataclasses.replace(songs, audio=half) for half in halves]
    return judge.place(second) - judge.place(first)


led = {
    (way, axis): (gain(sung[way, axis, False]) - gain(sung[way, axis, True])) / 4
    for way, axis in itertools.product(WAYS, AXES)
}

# %% tags=["main"]
followed = {
    f"{way}: {axis}": stats.mean(change[:, list(AXES).index(axis)])
    for (way, axis), change in led.items()
}
show.estimates(
    followed,
    f"{model}: how far songs follow (dotted: not at all; 1: where asked)",
    "slope",
    bar=0,
)

# %%
costs = {
    way: stats.mean(
        np.mean(
            [m.cross_entropy(sung[t], "uncond") for t in turns if t[0] == way], 0
        )
    )
    for way in WAYS
}
show.estimates(costs, f"{model}: how surprising these songs are", "nats a token")

# %% [markdown]
# At 1 the second half is heard as far from the first as it was asked to be, at 0 where the first
# was. Where *asked* lies at 0, too, it is not the push that fails: the model goes on as it began.
# The second figure is the price: a turn in mid-song is improbable music, the more so the better it
# is followed.
#
# ## What it means
#
# A slope between 0 and 1 means that the pad points the right way and falls short: it says
# *happier*, not *how happy*.
#
# **Doubts.** Where one axis drags the other along, the model or its world ties them together: happy
# music is faster than calm music. And the listener is a program; chapter 32 asks people.

# %%
own = landed[landed["asked"] == landed["heard"]].set_index("asked")
findings = []
for axis, slope in own["slope"].items():
    question = f"How far towards where the pad asks do songs land ({axis}, slope)?"
    findings.append(results.finding(question, model, stats.side(slope), slope))


# %%
def further(own, other):
    """How much a slope is above another, for the largest strength; both intervals count."""
    gap = most * (own.value - other.value)
    half = most * np.hypot(own.high - own.low, other.high - other.low) / 2
    return stats.Estimate(gap, gap - half, gap + half, own.n)


question = "How much further does the direction of {} move it than random ones do?"
gaps = {
    (name, axis): further(planes[name].slopes[axis], at_chance(name, axis))
    for name, axis in itertools.product(models, AXES)
}
for (name, axis), gap in gaps.items():
    answer = (question.format(axis), name, stats.side(gap), gap)
    findings.append(results.finding(*answer))

# %% [markdown]
# **What would change our mind.** Random directions that move songs as far; directions of a model
# whose words mean nothing that move songs further than random ones.

# %%
worded = [
    gaps[name, axis] for name in models if "shuffled" in name for axis in AXES
]
doubts.told(
    {
        "random directions move songs as far": doubts.any_of(
            doubts.no_more(gaps[model, axis]) for axis in AXES
        ),
        "directions of a model whose words mean nothing move songs further than random "
        "ones": any(gap.low > 0 for gap in worded) if worded else None,
    }
)

# %%
for way, axis in led:
    slope = followed[f"{way}: {axis}"]
    question = f"How far do songs follow a path along {axis} ({way}, slope)?"
    findings.append(results.finding(question, model, stats.side(slope), slope))
nearer = stats.mean(means["dealt"]["error"] - means["curved"]["error"])
question = "How much nearer do songs land than with the anchors' places dealt anew?"
findings.append(results.finding(question, model, stats.side(nearer), nearer))
bend = stats.mean(means["straight"]["error"] - means["curved"]["error"])
question = "How much nearer do songs land on the curved than on the straight plane?"
findings.append(results.finding(question, model, stats.side(bend), bend))
results.record("31_emotion_pad", m, findings)

# %%
slopes = ", ".join(
    f"{axis} {slope.value:.2f}" for axis, slope in own["slope"].items()
)
right = [axis for axis, slope in own["slope"].items() if slope.low > 0]
paths = {
    way: [axis for axis in AXES if followed[f"{way}: {axis}"].low > 0]
    for way in ("one song", "led", "dealt")
}

# %%
beyond = [axis for axis in AXES if gaps[model, axis].low > 0]
right, beyond, plainly, led_well, anew = (
    " and ".join(axes) or "neither axis"
    for axes in (right, beyond, *paths.values())
)
Markdown(
    f"**Verdict.** Asked for a point, songs go the right way in {right} (slopes: "
    f"{slopes}; 1 would land there). Its own direction is shown to move them further than "
    f"random ones of the same norm in {beyond}. Along a path within a song they follow a push "
    f"in {plainly}, led part by part in {led_well}, and with the anchors' places dealt "
    f"anew in {anew}. The bend of the curved plane "
    f"changes how far from there they land by {-bend.value:+.2f} [{-bend.high:+.2f}, "
    f"{-bend.low:+.2f}] standard deviations (below 0: nearer)."
)
