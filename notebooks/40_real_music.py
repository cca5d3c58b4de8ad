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
# # Does the model hear what people hear in real music?
#
# **Question.** Until here the music was the model's own, or made like its training music. Several
# collections hold real songs rated by people for *valence* (how pleasant an emotion is) and
# *arousal* (how excited): PMEmo (Zhang et al. 2018), DEAM (Aljanaki, Yang and Soleymani 2017), MERP
# (Koh et al. 2023) and MUSIFEAST-17 (van der Walle et al. 2025). Can the ratings be read from a
# model that only listens, without text? Do its features follow them, and can they steer what it
# sings?
#
# **Why it matters.** A model can follow emotion words and still not hear what people hear. No
# caption has touched these ratings.
#
# **Which music?** Without a download this page makes synthetic music in PMEmo's layout, with
# simulated raters. This shows that the pipeline works and says nothing about people. For people,
# set `folder` to a copy of one of these collections, or to any folder of audio with a table of
# ratings (see `help(rated.load)`).
#
# **Method.** The model reads songs, as tokens, without text. *Ridge regression*, a linear model,
# then reads the ratings from each block's *residual stream*, the running sum of all blocks. It is
# tested on artists from whom nothing was learned; its settings and the block are chosen on the
# training songs alone. **Baselines** are a mel-spectrogram (loudness by pitch) and common measures
# of sound from the library librosa. The **ceiling** comes from the raters: nothing can perfectly
# predict the mean of a few people who disagree. **Null and controls** are ratings dealt to other
# songs and, for steering, directions between halves drawn by lot, and random ones.
#
# **Predictions.** Arousal is read better than valence, as in everything published. The baselines
# suffice for most of arousal; the model adds to valence. Directions from rated music move what is
# heard.

# %% tags=["parameters"]
model = "organism"
folder = ""  # of PMEmo, DEAM, MERP, MUSIFEAST-17 or your own; empty: a made set
scale = (
    None  # of your own folder: (lowest, highest) rating, if its table does not say
)
second = ""  # another such folder, to test on; empty: none, or a second made set
songs = 48  # of the made set
others = 16  # songs of the second made set
seconds = 6.0  # of an excerpt
windows = 3  # excerpts a song
lag = 2.0  # seconds that people take to answer; made songs have none
permutations = 1000
depth = 0.57  # of the SAE and of steering: 0 is the first block, 1 the last
recipe = {}  # what differs from that of chapter 10's SAE (lib.book.chapter.Recipe)
strengths = [0.08, 0.16]  # rising; and the same downwards
n = 12  # prompts steered
lots = 3  # directions between halves drawn by lot
sung_seconds = 3.0
judging = {}  # what differs from steering.Judge
seed = 940

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from lib import (
    activations,
    cache,
    prompts,
    rated,
    results,
    sae,
    show,
    stats,
    steering,
)
from lib import model as musicgen
from lib.book import chapter
from lib.rated import AXES

# %%
m = musicgen.load(model)
site = activations.at(m, depth)
if folder:
    dataset = rated.load(folder, scale=scale)
else:
    made = cache.ROOT / "rated" / f"pmemo-{songs}-{seed}"
    dataset = rated.make(made, "pmemo", songs, 21.0, seed)
kind = "MADE music, raters simulated" if dataset.made else dataset.title
print(dataset)

# %%
length = min(seconds, m.max_seconds)
excerpts = rated.read(m, dataset, length, windows, 0.0 if dataset.made else lag)
table = excerpts.songs
artist = table["group"].to_numpy()
ratings = table[AXES].to_numpy()
steps = rated.rated_steps(excerpts)
print("music:", kind)
print(
    f"{len(table)} of {len(dataset.songs)} songs, {len(set(artist))} artists, "
    f"{len(excerpts.clips)} excerpts of {length:g} s, {steps.sum()} rated half seconds"
)
over_time = steps.any()  # not all sets have labels over time
together = np.corrcoef(ratings.T)[0, 1]
print(f"correlation of valence and arousal ratings: {together:.2f}")

# %% [markdown]
# ## What does each block know of a whole song's rating?
#
# The block's states are averaged over a song's excerpts. Predictions are scored by CCC, the
# concordance correlation coefficient (Lin 1989): 1 only where they equal the ratings, and not
# merely rise with them. The ceiling is the square root of the ratings' reliability, the share of
# their variance that other raters would have given, too (ICC(1,k), Shrout and Fleiss 1979).

# %%
acts = rated.acts(m, excerpts)
blocks = {name: rated.by_song(excerpts, acts[name]) for name in acts}
plain = {
    name: rated.by_song(excerpts, x, spread=True)
    for name, x in excerpts.features.items()
}
settings = {"permutations": permutations, "seed": seed}
by_block, read = rated.scores(blocks, ratings, artist, **settings)
by_plain, read_plain = rated.scores(plain, ratings, artist, **settings)
ceiling = rated.ceiling(table, seed)

# %%
lines = {}
for axis in AXES:
    part = by_block[(by_block["axis"] == axis) & (by_block["input"] != "chosen")]
    lines[axis] = (range(len(part)), list(part["ccc"]))
    for row in by_plain[by_plain["axis"] == axis].itertuples():
        if row.input != "chosen":
            same = [row.ccc] * len(part)
            lines[f"{axis}: {row.input}"] = (range(len(part)), same)
for row in ceiling.itertuples():
    same = [row.ccc] * len(blocks)
    lines[f"{row.axis}: ceiling"] = (range(len(blocks)), same)
show.curves(
    lines,
    f"{kind}: ratings read from {model}, artists unseen (dotted: nothing)",
    "block",
    "CCC",
    bar=0,
)

# %% [markdown]
# Look whether a model's line rises above its level baselines, and how far it stays below the
# ceiling (bars are 95 % intervals over artists, which hold the true value in 19 of 20 such
# studies).

# %%
both = pd.concat([by_block, by_plain.replace("chosen", "chosen baseline")])
show.table(
    both.sort_values("axis", kind="stable", ascending=False),
    f"{kind}. null: mean CCC of {permutations} times shuffled ratings; chosen: on the "
    "training folds",
)

# %% [markdown]
# The rows *chosen* count, as their input was chosen on training songs. *null* is the score with
# ratings dealt to other songs, *p* the chance of doing as well with those (corrected for all blocks
# and both axes, by Holm's method).

# %%
if len(dataset.answers):
    agreed = rated.rater_agreement(dataset.answers, seed)
    display(show.table(agreed, "How far single raters agree"))
show.table(
    ceiling,
    f"{kind}: the best that any prediction can reach, given how far raters differ (raters: "
    "people a song; one: reliability of one of them)",
)

# %% [markdown]
# *alpha* and *icc* say how far single raters agree (1 fully, 0 by chance), *one* is the reliability
# of one of them, *r2* and *ccc* are the highest scores that can be reached.
#
# **Beyond plain features?** The chosen block against the baseline chosen likewise.


# %% tags=["main"]
def gain(axis, score):
    """The chosen block's score minus the chosen baseline's."""
    a = AXES.index(axis)
    mine = read["chosen"][:, a]
    other = read_plain["chosen"][:, a]
    return rated.estimate(score, ratings[:, a], mine, artist, other)


gains = {
    f"{axis}: {name}": gain(axis, score)
    for axis in AXES
    for name, score in (("R²", rated.r2), ("CCC", rated.ccc))
}
show.estimates(
    gains, f"{kind}: model minus best baseline (dotted: none)", "difference", bar=0
)

# %% [markdown]
# Right of the dotted line the model holds more than plain features do (R² is the explained share of
# the ratings' variance).
#
# **Published scores** give the scale of things.

# %%
show.table(rated.PUBLISHED, "published by others")

# %% [markdown]
# They are of other models, splits and inputs, on the real collections: no comparison with made
# music.
#
# ## Does it carry over to another set?
#
# All is learned and chosen on the songs above and tested on a second collection, without songs or
# artists that are in both.

# %%
target = rated.load(second) if second else None
if target is None and dataset.made:
    made = cache.ROOT / "rated" / f"deam-{others}-{seed + 1}"
    target = rated.make(made, "deam", others, 21.0, seed + 1)

# %%
if target is not None:
    new = rated.read(m, target, length, windows)
    heard = rated.acts(m, new)
    new_blocks = {name: rated.by_song(new, heard[name]) for name in heard}
    new_plain = {
        name: rated.by_song(new, x, spread=True) for name, x in new.features.items()
    }
    carried = {
        model: rated.transfer(blocks, table, new_blocks, new.songs, **settings),
        "baseline": rated.transfer(plain, table, new_plain, new.songs, **settings),
    }

# %%
if target is not None:
    chosen = [
        rows[rows["input"] == "chosen"].assign(input=name)
        for name, rows in carried.items()
    ]
    whose = "MADE music" if target.made else target.title
    caption = (
        f"Learned from {kind}, tested on {whose}; input chosen on the first set"
    )
    display(show.table(pd.concat(chosen), caption))

# %% [markdown]
# Compare the model with the baseline: where raters of the two collections use the scale
# differently, *ccc* falls and *r*, the plain correlation, does not.
#
# ## Over time
#
# Some collections have ratings for every half second. Agreement *within* a song is hard, as its
# general level does not help. Each input gets the half second and the mean of the excerpt up to it.

# %%
song = np.repeat(excerpts.song[:, None], steps.shape[1], 1)[steps]
moving = excerpts.ratings[steps]
sources = {model: acts, "baseline": excerpts.features} if over_time else {}
inputs = {
    name: {key: rated.by_step(excerpts, x) for key, x in source.items()}
    for name, source in sources.items()
}
over = {
    name: rated.held_out(x, moving, artist[song])["chosen"]
    for name, x in inputs.items()
}
within = {
    (axis, name): rated.over_time(moving[:, a], p[:, a], song)
    for a, axis in enumerate(AXES)
    for name, p in over.items()
}

# %%
agreement = {}
for (axis, name), by_song in within.items():
    a = AXES.index(axis)
    label = f"{axis}, {name}"
    everywhere = rated.estimate(
        rated.ccc, moving[:, a], over[name][:, a], artist[song]
    )
    agreement[f"{label}: CCC, all half seconds"] = everywhere
    agreement[f"{label}: CCC within a song"] = stats.mean(by_song["ccc"])
    agreement[f"{label}: r within a song"] = stats.mean(by_song["r"])
    agreement[f"{label}: null, other songs' ratings"] = stats.mean(by_song["null"])

# %%
if over_time:
    caption = f"{kind}: ratings over time, artists unseen (dotted: nothing)"
    display(show.estimates(agreement, caption, "agreement", bar=0))
else:
    print(f"{kind} has no labels over time.")

# %% [markdown]
# The rows *within a song*, how well changes are followed, count as far as they lie above the
# *null*, the same predictions against other songs' ratings.

# %%
some = []
if over_time:
    changes = within["arousal", model].sort_values("ccc", ascending=False)
    some = changes["song"].iloc[[0, len(changes) // 2]]
pictures = {}
for i in some:
    here = song == i
    x = np.arange(here.sum()) / 2
    for what, line in (("rated", moving), ("read", over[model])):
        exact = [stats.Estimate(v, v, v, 1) for v in line[here, 1]]
        pictures[f"song {table['song_id'][i]}, {what}"] = (x, exact)
if pictures:
    display(
        show.curves(
            pictures,
            "Arousal in the best and in the middle song",
            "rated seconds of the excerpts",
            "arousal (-1 to 1)",
        )
    )

# %% [markdown]
# In both songs *read* should rise and fall with *rated*.
#
# ## Do features follow ratings?
#
# A *sparse autoencoder* (SAE) writes the block's state as a sum of few *features* out of many.
# Features that follow a rating are found on one half of the artists and must hold on the other. The
# SAE of chapter 10 never saw these songs.

# %%
s = chapter.dictionary(m, site, **recipe).sae
active = activations.capture(
    m,
    excerpts.clips,
    site,
    stream="uncond",
    reduce=lambda x: sae.encode(s, x).mean(1).detach(),
)[site]
active = rated.by_song(excerpts, active.values[:, None])
half = table["song_id"].isin(dataset.split(0.5, seed).train).to_numpy()
follow = {
    axis: rated.tracking(active, ratings[:, a], half) for a, axis in enumerate(AXES)
}

# %%
first = [features.head(6).assign(rating=axis) for axis, features in follow.items()]
show.table(
    pd.concat(first).astype({"feature": str}),
    f"{kind}: the features that follow a rating best; rho and p on one half of the "
    "artists, rho_new and p_new on the other",
)

# %% [markdown]
# *rho* and *p* are the rank correlation and its chance on the first half. A feature holds if
# *rho_new* on the other has the same sign and *p_new* is below 0.05 (both p corrected for the
# number of features).

# %%
for axis, features in follow.items():
    best = features.head(20)
    same = (best["rho"] * best["rho_new"] > 0).mean()
    print(
        f"{axis}: {len(features)} features alive, {features['found'].sum()} found, "
        f"{features['holds'].sum()} of them hold; same sign in {same:.0%} of the "
        "twenty that follow it best"
    )

# %% [markdown]
# If hardly any hold, or only half of the signs agree, what was found was chance.
#
# ## Steering by rated music
#
# The mean state over the upper half of the rated songs minus that over the lower is a *direction*,
# learned without any word. *Steering* adds it while the model sings for prompts without emotion.
# *Valence alone* uses what arousal does not tell of valence. Controls are directions between halves
# drawn by lot, which differ in sound, too, and a random direction.

# %%
judge = steering.Judge(m, **judging)
neutral = prompts.crossed("neutral", n, chapter.language(model), seed)
neutral = list(neutral["prompt"])
settings = {"seconds": sung_seconds, "seed": seed, "progress": False}
unsteered = m.generate(neutral, keep=True, **settings)
line = np.polyfit(ratings[:, 1], ratings[:, 0], 1)
by = {
    **{axis: ratings[:, a] for a, axis in enumerate(AXES)},
    "valence alone": ratings[:, 0] - np.polyval(line, ratings[:, 1]),
}


# %%
def sing(y, method="rated", number=0, pushes=strengths[-1:]):
    """Songs at several strengths of a direction, both ways."""
    vector = rated.direction(m, excerpts, site, y, method, seed + number)
    both = sorted({sign * s for s in pushes for sign in (-1, 1)})
    sung = steering.generate(m, neutral, vector, both, **settings)
    return dict(sorted({**sung, 0.0: unsteered}.items()))


def slope(name):
    """Heard valence and arousal a unit of strength, [song, axis]."""
    levels = np.array(list(sung[name]))
    return np.tensordot(levels / (levels @ levels), places[name], 1)


# %%
sung = {axis: sing(by[axis], pushes=strengths) for axis in AXES}
sung["valence alone"] = sing(by["valence alone"])
sung["random"] = sing(by["valence"], "random")
controls = ["random"]
for i in range(lots):
    controls.append(f"by lot {i + 1}")
    sung[controls[-1]] = sing(by["valence"], "shuffled", i)
before = judge.place(unsteered)
places = {
    name: np.stack([judge.place(c) if s else before for s, c in pushed.items()])
    for name, pushed in sung.items()
}
slopes = {name: slope(name) for name in sung}

# %%
lines = {}
for name in by:
    for a, axis in enumerate(AXES):
        moved = [stats.mean(x) for x in (places[name] - before)[..., a]]
        lines[f"{name}: heard {axis}"] = (list(sung[name]), moved)
show.curves(
    lines,
    f"{model}: heard change by directions learned from {kind}",
    "strength (mean norms)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# A direction that works gives a rising line on its own axis (left is against it; a strength of 1 is
# the mean length of what is there).

# %%
show.estimates(
    {
        f"{name}: heard {axis}": stats.mean(x[:, a])
        for a, axis in enumerate(AXES)
        for name, x in slopes.items()
    },
    "Slope of what is heard, songs resampled (dotted: none)",
    "standard deviations for each unit of strength",
    bar=0,
)

# %% [markdown]
# A slope of such a line counts as far as it lies further from the dotted line (none) than those of
# *random* and *by lot*.

# %%
players = {
    f"{neutral[0]}: {axis}": {
        f"strength {strength:g}": clips.audio[0]
        for strength, clips in sung[axis].items()
    }
    for axis in AXES
}
show.player_grid(players, m.sample_rate)

# %% [markdown]
# Listen from the lowest strength to the highest: the named axis should change, and the music stay
# music.
#
# ## What it means
#
# On made music all this is known to be there: what is missed here would be missed in as many real
# songs at best, if they are no easier. On real collections a gain over both baselines is what the model knows beyond loudness,
# timbre and tempo. A direction learned from people's ratings that moves songs shows that hearing
# and singing share it.
#
# **Doubts.** A direction, named by its rating, may move the other axis more than its own: ratings
# of real songs go together, and so do their sounds.
#
# **What would change our mind.** Shuffled ratings that are read as well; baselines that do as well;
# features that follow ratings for one half of the artists only; halves drawn by lot that steer as
# far.


# %%
def beyond(axis):
    """Slope on the direction's own axis, minus that of the control that moves it furthest."""
    a = AXES.index(axis)
    other = max((slopes[c][:, a] for c in controls), key=lambda x: abs(x.mean()))
    return stats.mean(slopes[axis][:, a] - np.sign(other.mean()) * other)


def followed(axis):
    """How much closer predictions follow a song's ratings than other songs'."""
    by_song = within[axis, model]
    return stats.mean(by_song["ccc"] - by_song["null"])


def held(axis):
    """The share of the features found that hold for other artists."""
    found = follow[axis]["found"]
    return stats.proportion(follow[axis]["holds"][found]) if found.any() else None


# %%
findings = []


def find(question, answer, estimate):
    """Keep a finding about the model and this music."""
    findings.append(results.finding(f"{kind}: {question}", model, answer, estimate))


# %%
for axis in AXES:
    row = by_block[by_block["input"] == "chosen"].set_index("axis").loc[axis]
    told = f"{stats.side(row['ccc'])}, p = {row['p']:.2g}"
    find(
        f"How well is rated {axis} read from the music alone (CCC)?",
        told,
        row["ccc"],
    )
    gained = gains[f"{axis}: CCC"]
    question = (
        f"How much better is {axis} read than from plain audio features (CCC)?"
    )
    find(question, stats.side(gained), gained)
    if over_time:
        time = followed(axis)
        question = (
            f"How well is {axis} followed within songs (CCC above other songs')?"
        )
        find(question, stats.side(time), time)

# %%
for row in ceiling.itertuples():
    question = f"How well can {row.axis} be read at best, as raters disagree (CCC)?"
    find(question, "at most", row.ccc)

# %%
for axis in AXES:
    share = held(axis)
    kept = "none found" if share is None else "share"
    find(
        f"How many features that follow {axis} hold for other artists?", kept, share
    )
    further = beyond(axis)
    question = f"How much further does a direction from rated {axis} steer than any control?"
    find(question, stats.side(further), further)

# %%
basis = "measured" if folder else "simulated"
results.record("40_real_music", m, findings, basis)
show.table(
    pd.DataFrame(findings)[["question", "answer", "estimate"]],
    "What was found. Predicted: arousal read better than valence; more gained over plain "
    "features in valence; directions that steer",
)

# %% [markdown]
# *answer* says on which side of nothing the interval of *estimate* lies; compare it with the
# predictions in the table's title.

# %%
told = []
for axis in AXES:
    chosen = (
        by_block[by_block["input"] == "chosen"].set_index("axis").loc[axis, "ccc"]
    )
    gained = gains[f"{axis}: CCC"]
    told.append(f"{axis} with a CCC of {chosen}, {gained} beyond plain features")
Markdown(f"**Verdict.** On {kind}, {model} holds ratings: {'; '.join(told)}.")

# %% [markdown]
# ## Exercise
#
# **Change one line.** Double the number of songs, `songs = 96`, and run the chapter again. Which
# should change more, the model's CCC or the ceiling? Decide before you look.
#
# <details><summary>Answer</summary>
#
# The model's: ridge regression learns from more songs, so predictions for unseen artists should get
# better. The ceiling depends on how many people rate a song and how far they differ, which stays
# the same; only its interval narrows.
#
# </details>
