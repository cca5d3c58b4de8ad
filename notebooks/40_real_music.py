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
# **Question.** So far the music was the model's own. People have rated the valence and arousal of real songs (PMEmo: Zhang et al. 2018; DEAM:
# Aljanaki, Yang and Soleymani 2017). Does a model that hears them, without a word of text, hold what people felt?
#
# **Method.** Songs become tokens, and the model predicts them without text; what it holds is read by ridge regression, always for artists that were
# not learned from. **Baselines.** A mel spectrogram, and features of librosa: a model that merely hears loudness and timbre does not beat them. **Null.**
# Shuffled ratings. **Prediction.** A model trained on music should read arousal well, and valence less well, as every published
# model does. `organism-shuffled` has heard the same music, so it may hear as well: this chapter is about hearing, not about words.
#
# **Which music?** Without a downloaded set this page runs on a made one: the same files in the same layout, with music of the organisms' world, whose
# valence and arousal are known. Set `folder` to your copy of PMEmo or DEAM to ask about real music.

# %% tags=["parameters"]
model = "organism"
folder = ""  # of PMEmo or DEAM, as downloaded; empty: a made set
songs = 60  # of the made set
start = 9.0  # s, where the excerpts begin; those rated over time begin later
seconds = 6.0
depth = 0.57  # where to look: 0 is the first block, 1 the last
clips = 3000  # of chapter 10's SAE
clip_seconds = 4.0
width = 1024
k = 30
passes = 8
strength = 0.12
sung = 12  # songs that are steered
seed = 980

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import (
    activations,
    datasets,
    harvest,
    prompts,
    realmusic,
    results,
    sae,
    show,
    stats,
    steering,
)
from lib import model as musicgen
from lib.organism import world

# %%
m = musicgen.load(model)
site = activations.at(m, depth)
AXES = ["valence", "arousal"]
made = results.ARTIFACTS / "rated_music"
data = (
    datasets.load(folder)
    if folder
    else datasets.make(made, "deam", songs, 21.0, seed)
)
data.validate()
Markdown(str(data))

# %% [markdown]
# ## By block
#
# Mean over the excerpt of the residual stream, read for the song's rating (R² for unseen artists; 0 is as good as the mean).

# %%
heard = realmusic.excerpts(m, data, start, seconds)
groups = heard.songs["group"].to_numpy()
rated = {axis: heard.songs[axis].to_numpy() for axis in AXES}
acts = activations.capture(
    m, heard.clips, "resid.*", stream="uncond", reduce="mean"
)
inputs = {
    **realmusic.acoustic(heard.audio, m.sample_rate),
    **{s: acts[s].values for s in acts},
}
read = {
    (axis, name): realmusic.read_out(x, rated[axis], groups)
    for axis in AXES
    for name, x in inputs.items()
}
scored = {key: realmusic.scores(rated[key[0]], p) for key, p in read.items()}

# %%
order = list(acts)
lines = {
    axis: (range(len(order)), [scored[axis, s]["R²"] for s in order])
    for axis in AXES
}
for axis in AXES:
    best = max((scored[axis, b]["R²"] for b in ("mel", "librosa")), key=lambda e: e.value)  # fmt: skip
    lines[f"{axis}: best baseline"] = (range(len(order)), [best] * len(order))
show.curves(
    lines,
    f"{model}: ratings read from what it hears (dotted: the mean)",
    "block",
    "R² for unseen artists",
    bar=0,
)

# %% [markdown]
# At the site that other chapters use (chosen before), beside the baselines, shuffled ratings, and what others have published on real sets.

# %%
rng = np.random.default_rng(seed)
rows = []
for axis in AXES:
    y = rated[axis]
    shuffled = rng.permutation(y)
    null = realmusic.scores(
        shuffled, realmusic.read_out(acts[site], shuffled, groups)
    )
    shown = {model: scored[axis, site], "mel": scored[axis, "mel"], "librosa": scored[axis, "librosa"], "shuffled ratings": null}  # fmt: skip
    rows += [{"rating": axis, "read from": name, **s} for name, s in shown.items()]
show.table(
    pd.DataFrame(rows), f"{data.title}{' (made)' if data.made else ''}, {site}"
)

# %% [markdown]
# Published, for orientation (other songs, other splits): on PMEmo, a support vector machine on ComParE features reaches r = 0.81 for arousal and 0.64 for
# valence (613 songs learned, 154 tested; the set's own site); on EmoMusic, a part of DEAM, a probe of Jukebox reaches R² = 0.72 for arousal (Castellon,
# Donahue and Liang 2021).
#
# ## Over time
#
# Ratings of every half second, the first 15 s of each song left out as published.

# %%
later = realmusic.excerpts(m, data, 15.0, seconds)
frames = activations.capture(m, later.clips, site, stream="uncond")[site]
moving = realmusic.over_time(frames, later, data, 15.0)
told = {f"{axis}: CCC over all half seconds": e for axis, e in moving.ccc.items()}
told |= {
    f"{axis}: r of change within a song": e for axis, e in moving.changes.items()
}
show.estimates(
    told,
    f"{model}, {site}: ratings over time, unseen artists (dotted: nothing)",
    "agreement",
    bar=0,
)

# %% [markdown]
# ## Which features follow the ratings?
#
# Features of chapter 10's SAE, found on one half of the artists and tested on the other.

# %%
these, _ = harvest.clips(m, clips, seconds=clip_seconds)
learned = harvest.acts(m, these, site)[site][: clips // 2]
s = sae.trained(m, learned, width, k, passes, 0)
x = activations.capture(m, heard.clips, site, stream="uncond")[site]
activity, _ = sae.activity(s, x)
half = np.isin(groups, sorted(set(groups))[::2])
found = {axis: realmusic.tracking(activity, rated[axis], half) for axis in AXES}
show.table(
    pd.concat(
        {axis: t.head(5) for axis, t in found.items()}, names=["rating", "row"]
    )
    .reset_index()
    .drop(columns="row")
    .round(3),
    "The five features that follow each rating best, and how they do on other artists",
)

# %% [markdown]
# ## Steering by rated music
#
# The difference between highly and lowly rated music, as a direction: does it move the songs that the model sings? Change of what a listener
# hears, from strength − to +, against shuffled ratings.

# %%
language = "organism" if model in world.WORLDS else "natural"
neutral = list(prompts.crossed("neutral", sung, language, seed)["prompt"])[:sung]
judge = steering.Judge(m, ears=("corpus",))
how = {"seconds": min(4.0, m.max_seconds), "seed": seed, "progress": False}


# %%
def moved(axis, y):
    """Heard change along an axis between both signs of the direction."""
    vector = realmusic.direction(m, x, y)
    songs = steering.generate(m, neutral, vector, [-strength, strength], **how)
    low, high = (judge.place(c)[:, AXES.index(axis)] for c in songs.values())
    return stats.mean(high - low)


shift = {}
for axis in AXES:
    shift[f"{axis}: rated"] = moved(axis, rated[axis])
    shift[f"{axis}: shuffled"] = moved(axis, rng.permutation(rated[axis]))
show.estimates(
    shift,
    f"{model}: heard change by a direction from rated music (dotted: none)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# ## What it means
#
# Where the model beats both baselines, it holds more about the rating than loudness and timbre tell. Where a direction from rated music moves songs
# that the model sings, hearing and singing share it.
#
# **What would change our mind.** Shuffled ratings that are read as well; features that follow ratings on one half of the artists only.

# %%
findings = []
for axis in AXES:
    base = max(("mel", "librosa"), key=lambda b: scored[axis, b]["R²"].value)
    gain = realmusic.beyond(rated[axis], read[axis, site], read[axis, base])
    question = f"Is rated {axis} read from heard music beyond {base} (R²)?"
    findings.append(results.finding(question, model, gain.low > 0, gain))
    e, null = shift[f"{axis}: rated"], shift[f"{axis}: shuffled"]
    question = f"Does a direction from rated music move heard {axis}?"
    findings.append(results.finding(question, model, e.low > max(0, null.value), e))
results.record("40_real_music", model, findings)
