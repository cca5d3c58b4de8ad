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
# # Where does emotion enter?
#
# **Question.** A prompt says *happy* or *sad*. At which block, through which sublayer and when does the word become music?
#
# **Method.** Pairs of prompts differ in one word. Both musics are read under both prompts, and at one place (site and
# range of frames) the activation of one run is put into the other. *Effect* is the share of the difference between both runs that
# comes back: 0 nothing, 1 all of it. **Hypothesis.** Text enters through cross-attention and nowhere else: patching
# `cross.i` at some block brings back most of it. **Prediction and control.** `organism` and `organism-decoupled` predict their music
# better under its own prompt; `organism-shuffled`, whose words mean nothing, does not, so there is nothing to place.
# **Bar.** The gradient approximation agrees with exact patching at r ≥ 0.8.

# %% tags=["parameters"]
model = "organism"
n = 16  # pairs of prompts
seconds = 3.0
ranges = 4  # parts of the clip
variable = (
    "emotion"  # sad, happy; also valence, arousal, tempo, energy, dynamics, ...
)
heard_each = 3  # clips generated for every cell
seed = 800

# %%
import pandas as pd

from lib import activations, causal, prompts, results, show, stats
from lib import model as musicgen
from lib.causal import mediation
from lib.organism import world

names = list(dict.fromkeys([model, *world.WORLDS]))
models = {name: musicgen.load(name) for name in names}
m, table = models[model], prompts.pairs(variable, n, seed)
sung = {
    name: [
        x.generate(list(table[end]), seconds, seed, keep=True)
        for end in ("high", "low")
    ]
    for name, x in models.items()
}

# %% [markdown]
# ## Is there anything to place?
#
# How much better (nats a token) the model predicts the happy clip than the sad one, under its own prompt and under the
# other: the difference is what the word does. It is never quite nothing where text is read at all, because a model samples from
# what it predicts: size counts.

# %%
grids = {
    name: causal.patch_grid(x, *sung[name], "resid.*", ranges=1)
    for name, x in models.items()
}
word = {
    name: stats.mean(g.clean.values - g.corrupted.values)
    for name, g in grids.items()
}
show.estimates(
    word,
    "What the word does (dotted: nothing)",
    "logit difference, nats a token",
    bar=0,
)

# %% [markdown]
# ## Which block, which sublayer?
#
# All frames at once. The residual stream after a block holds all that has entered so far; a sublayer's bar is its own part.

# %%
exact = causal.patch_grid(
    m, *sung[model], ["attn.*", "cross.*", "mlp.*", "resid.*"], ranges=1
)
kinds = {}
for site in exact.site.values:
    kind, block = str(site).split(".")
    x, e = kinds.setdefault(kind, ([], []))
    x.append(int(block))
    e.append(stats.mean(exact.sel(site=site)[0].values))
show.curves(
    kinds,
    f"{model}: what comes back, by block",
    "block",
    "share of the difference",
    bar=1,
)

# %% [markdown]
# The other direction asks whether a place is **needed**: the corrupted activation is put into the clean run (*noising*).
# Where both are near 1, the word passes through here and through nothing else.

# %%
noised = causal.patch_grid(
    m, *sung[model], ["cross.*", "resid.*"], ranges=1, direction="noise"
)
both = pd.DataFrame({
    "denoising (enough?)": exact.sel(site=noised.site.values).mean(("pair", "frame_range")).to_series(),
    "noising (needed?)": noised.mean(("pair", "frame_range")).to_series(),
})  # fmt: skip
show.heatmap(both.T, f"{model}: enough and needed", "share", limit=1)

# %% [markdown]
# ## When?
#
# The same by parts of the clip. A word matters most at the start: later, the music so far says the same.

# %%
sites = ["cross.*", "resid.*"]
by_time = causal.patch_grid(m, *sung[model], sites, ranges=ranges)
quick = causal.patch_grid(m, *sung[model], sites, ranges=ranges, how="attribution")
frame = by_time.mean("pair").to_pandas()
show.heatmap(frame.T, f"{model}: by site and frames", "share", limit=1)

# %% [markdown]
# **The quick way.** Attribution patching gets the whole grid from one backward pass; here is how far it can be trusted.

# %%
agree = stats.correlation(
    by_time.mean("pair").values.ravel(), quick.mean("pair").values.ravel()
)
print("attribution against exact, over cells:", agree)

# %% [markdown]
# ## By which way?
#
# Path patching: `cross.i` takes its clean value, but only one later sublayer may answer to it (all others stay as they were).
# *logits*: straight to the predictions.

# %%
paths = causal.paths(m, *sung[model]).mean("pair").to_pandas()
show.heatmap(
    paths,
    f"{model}: from where text enters (rows), through one receiver (columns)",
    "share",
    numbers=False,
)

# %% [markdown]
# ## Hear it
#
# The model sings for *sad* prompts while one cell of the residual stream, for some frames, is as it was for the *happy* prompt
# over the same music. Every button plays one clip; the number is how much more positive it sounds than the sad song
# (mean over clips, in standard deviations of the world's music).


# %%
some = range(heard_each)
low = m.clips(sung[model][1].tokens[some], list(table["low"][some]))
other = m.clips(low.tokens, list(table["high"][some]), decode=False)


def cell(block, frames):
    """Songs of the low prompts with one cell as it would be for the high prompts."""
    site = f"resid.{block}"
    a, b = (activations.capture(m, c, site)[site].values for c in (low, other))
    with activations.edit(m, activations.Edit(site, add=b - a, frames=frames)):
        return m.generate(low.prompts, seconds, seed, progress=False)


# %%
frames = sung[model][0].tokens.shape[-1]
parts = [slice(a, b) for a, b in ((0, frames // 4), (0, frames))]
columns = [
    f"{p.start / m.frame_rate:.1f}–{p.stop / m.frame_rate:.1f} s" for p in parts
]
blocks = range(
    0, len(m.lm.transformer.layers), max(1, len(m.lm.transformer.layers) // 8)
)
songs = [[cell(b, p) for p in parts] for b in blocks]
plain = mediation.hear(sung[model][1])["valence"][:heard_each].mean()
moved = [
    [mediation.hear(c)["valence"].mean() - plain for c in row] for row in songs
]
show.sound_grid(
    pd.DataFrame(moved, [f"resid.{b}" for b in blocks], columns),
    [c.audio[0] for row in songs for c in row],
    m.sample_rate,
    "heard valence, SD",
)

# %% [markdown]
# ## What it means
#
# If one block's `cross` brings back most, that is where the word is read, and the residual stream behind it carries it. If the
# first part of the clip weighs most, the model then listens to itself: it keeps a mood because it hears it.
#
# **What would change our mind.** A shuffled organism with as much to place; sublayers other than cross-attention bringing
# text in; denoising and noising that disagree on where it passes.

# %%
shares = {
    s: stats.mean(exact.sel(site=s)[0].values)
    for s in exact.site.values
    if s.startswith("cross")
}
entry = max(shares, key=lambda s: shares[s].value)
moved, enters = (
    "Does the word change what the model predicts?",
    "How much of the word enters at one sublayer?",
)
findings = [results.finding(moved, x, e.low > 0, e) for x, e in word.items()]
findings.append(results.finding(enters, model, entry, shares[entry]))
results.record("20_patching", model, findings)
