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
# # What do we record?
#
# **Question.** What are the numbers inside the model, and do we record what we think we record?
#
# **Why it matters.** The first study of emotion in MusicGen reported that happy and sad music are
# 99.99 % alike inside, and concluded that emotion is not in the transformer. The number was right
# and meant nothing: it came from the recording and its arithmetic.
#
# **How it is done.** We record an organism (a small MusicGen that we trained), test whether the
# recording is exact, and repeat the study's errors on purpose.

# %% tags=["parameters"]
model = "organism"
seconds = 4.0
clips_each = 12  # clips for each emotion
seed = 100

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import activations, prompts, show, stats
from lib import model as musicgen

m = musicgen.load(model)
blocks = len(m.lm.transformer.layers)

# %% [markdown]
# ## Sites
#
# A *site* is a place where the model can be read and changed; the vector that it holds at one
# moment is its *activation*. All blocks read and write the **residual stream**, a running sum. Each
# adds what self-attention found in the music so far (`attn.i`), what cross-attention found in the
# text (`cross.i`), and what the MLP, a small network, made of both (`mlp.i`).

# %%
sites = activations.sites(m)
show.site_map(sites)

# %% [markdown]
# The model runs from top to bottom, one line a block: choose a site to see how it is computed and
# the shape of its activation.
#
# ## A recording
#
# Clips are generated from emotion words, then the residual stream of every block is read at every
# time step in one parallel pass over their tokens (`how="replay"`).

# %%
table = prompts.emotions(clips_each)
clips = m.generate(list(table["prompt"]), seconds, seed, keep=True)
acts = activations.capture(
    m, clips, "resid.*", stream="both", labels={"emotion": table["label"]}
)
acts

# %% [markdown]
# A click opens the array: every vector knows its prompt, emotion, second and stream (with or
# without text).
#
# ### Is replay what happened?
#
# Some clips are generated again and recorded while they arise (`how="live"`): not in one pass over
# whole clips, but in some hundred passes with a cache. If the recording is exact, the two differ by
# rounding only.

# %%
few = clips[[0, clips_each, 2 * clips_each]]
replay = activations.capture(m, few, "resid.*", "replay", "both")
live = activations.capture(m, few, "resid.*", "live", "both")
gaps = [
    float(np.abs(replay[site] - live[site]).max() / replay[site].std())
    for site in replay
]
print(f"largest difference: {max(gaps):.1e} standard deviations")

# %% [markdown]
# ## Five ways to be wrong
#
# *Cosine similarity* says how far two vectors point the same way: 1 the same, 0 unrelated, −1
# opposite. Computed for happy and sad music at the middle block, it can go wrong in five ways:
#
# 1. **Last step only.** Where each step overwrites the one before, only the last is kept.
# 2. **Mixed rows.** For classifier-free guidance (following the prompt by predicting with and
#    without it) the batch holds each clip twice, here `cond` and `uncond`. The study took them for
#    two codebooks (lists of codes for sound).
# 3. **Raw.** A constant on every channel makes all vectors alike. The model never sees it, because
#    its LayerNorm subtracts it.
# 4. **Delay steps.** Codebook *k* of frame *t* is predicted at position *t + k*. At the last
#    codebook's position, the model already knows most of frame *t*.
# 5. **One pair.** An interval needs many clips, and its unit is the clip, not the time step.


# %%
def happy_sad(x):
    """Mean cosine over all pairs of a happy and a sad clip, with its interval over clips."""
    flat = x.values.reshape(len(x), -1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    happy = unit[table["label"] == "happy"]
    sad = unit[table["label"] == "sad"]
    return stats.bootstrap(lambda a, b: a.mean(0) @ b.mean(0), happy, sad)


# %%
middle = acts[f"resid.{blocks // 2 - 1}"]
mean = middle.sel(stream="cond").mean("frame")
free = activations.offset_free(mean)
late = activations.capture(
    m, clips, middle.name, delay=m.lm.n_q - 1, reduce="mean", progress=False
)[middle.name]

# %% tags=["main"]
ways = {
    "last step, both rows, raw": middle.isel(frame=-1),
    "all steps, both rows, raw": middle.mean("frame"),
    "all steps, conditional rows, raw": mean,
    "the same, offset-free": free,
    "the same, offset-free and centred": activations.centred(free),
    "the same, read at the last codebook": activations.centred(
        activations.offset_free(late)
    ),
}
show.estimates(
    {way: happy_sad(x) for way, x in ways.items()},
    "Cosine of happy and sad clips, by the way it is computed",
    "cosine",
)

# %% [markdown]
# Each line is one way to compute, with its 95 % confidence interval (values that fit the data):
# nothing but arithmetic moves the points. *Offset-free* is without each vector's own mean.
# *Centred* is without what all clips share, so that below 0 happy and sad lie on opposite sides.
#
# **Exercise.** In the line `mean = middle.sel(stream="cond").mean("frame")` add `+ 100` at the end.
# Which row changes, and which do not?
#
# <details>
# <summary>Answer</summary>
#
# The row "all steps, conditional rows, raw" goes almost to 1. The offset-free rows stay, because
# they subtract each vector's own mean. A similarity near 1 may come from a large constant alone.
#
# </details>
#
# ### The rows that read no text
#
# If the unconditional rows, which never see the prompt, tell happy from sad too, then the *music*
# made so far differs, not the text.

# %%
streams = {}
for stream in ("cond", "uncond"):
    differences = []
    for site in acts:
        x = activations.offset_free(acts[site].sel(stream=stream).mean("frame"))
        compared = stats.between_within(
            x.values, table["label"], table["prompt"], 50, 200
        )
        differences.append(compared.difference)
    streams[stream] = (range(len(differences)), differences)
show.curves(
    streams,
    "How much more alike are clips of one emotion?",
    "block",
    "cosine within − between emotions",
    bar=0,
    colors={"cond": show.INK, "uncond": "#CC79A7"},
)

# %% [markdown]
# Above the dotted zero, clips of one emotion are more alike than clips of different ones (bands are
# 95 % intervals). If `uncond` lies there too, a recording alone cannot say whether the model
# *holds* an emotion or hears its own music. The next chapter takes the two apart.
#
# ## When does it know?
#
# The residual stream changes over one clip, whose sound is shown below.

# %%
one = 0
clip = acts.isel(clip=one).sel(stream="cond")
x = activations.offset_free(clip.to_array("site"))
length = np.sqrt((x**2).sum("dim"))
show.heatmap(
    pd.DataFrame(
        (length / length.mean("frame") - 1).values,
        index=[str(site) for site in length.site.values],
        columns=np.round(length.time.values, 2),
    ),
    "Length of the residual stream over time, relative to its mean",
    "relative",
    numbers=False,
    x_title="seconds",
)

# %%
show.spectrogram(clips.audio[one], clips.sample_rate, clips.prompts[one])

# %% [markdown]
# Red is where a block's vector is longer than on average, blue where it is shorter: compare with
# where notes begin below.
#
# ## What it means
#
# A raw similarity says nothing about emotion before constants are taken away.
#
# **What would change our mind.** A replay that differs from the live run would mean that the
# recording is wrong, and a raw cosine that falls when emotions are further apart in sound would mean
# that it says something about emotion after all.

# %%
first, *_, last = (happy_sad(x) for x in ways.values())
Markdown(
    f"**Verdict.** What is recorded is what happened: a replay differs from the live run by at "
    f"most {max(gaps):.0e} standard deviations. How alike happy and sad clips look depends on the "
    f"arithmetic: in {model} their cosine is {first} by the last step alone, and {last} by the "
    "last way above. (The 99.99 % of the first study, of the large model, came from a constant "
    "that this model may lack; its 0.946 in chapter 03 is of the small one.)"
)
