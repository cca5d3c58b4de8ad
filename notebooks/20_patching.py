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
# **Question.** A prompt says *happy* or *sad*. At which block, through which sublayer and when does
# the word become music?
#
# **Method.** Pairs of prompts differ in one word. Both musics are read under both prompts, and at
# one place (site and range of frames) the activation of one run is put into the other. *Effect* is
# the share of the difference between both runs that comes back: 0 nothing, 1 all of it.
# **Hypothesis.** Text enters through cross-attention and nowhere else: patching `cross.i` at some
# block brings back most of it. **Prediction and control.** Models whose words mean something predict
# their music better under its own prompt, habit or not; `organism-shuffled` does not, so there is
# nothing to place. Of an untrained model the same was foretold, and it was wrong: weights in random
# order read the prompt, too, and what such a model plays is likeliest under it. That a word changes
# a prediction is not yet that it means something, so the criterion is struck.

# %% tags=["parameters"]
model = "organism"
n = 16  # pairs of prompts
seconds = 3.0
ranges = 4  # parts of the clip
variable = (
    "emotion"  # sad, happy; or valence, arousal, tempo, energy, dynamics, ...
)
heard_each = 4  # clips generated for every cell
beside = ["organism-habit", "organism-decoupled", "organism-shuffled"]
seed = 800

# %%
import itertools

import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import causal, prompts, results, show, stats
from lib.book import chapter, rules
from lib.causal import mediation

# %%
models = chapter.models(model, beside)
m = models[model]
models["untrained"] = chapter.untrained(m)
table = prompts.pairs(variable, n, seed)
sung = {
    name: [
        singer.generate(list(table[end]), seconds, seed, keep=True)
        for end in ("high", "low")
    ]
    for name, singer in models.items()
}

# %% [markdown]
# ## Is there anything to place?
#
# Both musics of a pair are read under both prompts. How much better (nats a token) does the model
# predict each under its own than under the other? That is what the word does.


# %%
def gained(singer, high, low):
    """What the word does to each pair: under its own prompt less under the other."""

    def cost(music, words):
        return singer.cross_entropy(music.under(list(words.prompts)))

    own = cost(low, high) - cost(high, high)
    other = cost(low, low) - cost(high, low)
    return own - other


numbers = {name: {"worded": gained(models[name], *sung[name])} for name in models}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(rules.beside(rules.table(verdicts)), "What the word does")

# %%
show.table(rules.trust(numbers[model]))

# %% [markdown]
# ## Which block, which sublayer?
#
# All frames at once. The residual stream after a block holds all that has entered so far; a
# sublayer's line is its own part.

# %%
exact = causal.patch_grid(
    m, *sung[model], ["attn.*", "cross.*", "mlp.*", "resid.*"], ranges=1
)
kinds = {kind: ([], []) for kind in ("attn", "cross", "mlp", "resid")}
for site in exact.site.values:
    kind, block = str(site).split(".")
    blocks, shares = kinds[kind]
    blocks.append(int(block))
    shares.append(stats.mean(exact.sel(site=site)[0].values))
show.curves(
    kinds,
    f"{model}: what comes back, by block",
    "block",
    "share of the difference",
    bar=1,
)

# %% [markdown]
# The other direction asks whether a place is **needed**: the corrupted activation is put into the
# clean run (*noising*). Where both are near 1, the word passes through here and through nothing
# else.

# %%
noised = causal.patch_grid(
    m, *sung[model], ["cross.*", "resid.*"], ranges=1, direction="noise"
)
same_sites = exact.sel(site=noised.site.values)
both = {
    "denoising (enough?)": same_sites.mean(("pair", "frame_range")).to_series(),
    "noising (needed?)": noised.mean(("pair", "frame_range")).to_series(),
}
show.heatmap(pd.DataFrame(both).T, f"{model}: enough and needed", "share", limit=1)

# %% [markdown]
# ## When?
#
# The same by parts of the clip. A word matters most at the start: later, the music so far says the
# same.

# %%
sites = ["cross.*", "resid.*"]
by_time = causal.patch_grid(m, *sung[model], sites, ranges=ranges)
quick = causal.patch_grid(m, *sung[model], sites, ranges=ranges, how="attribution")
frames = sung[model][0].tokens.shape[-1]
bounds = np.append(by_time.start.values, frames) / m.frame_rate
by_site = by_time.mean("pair").to_pandas()
by_site.columns = [
    f"{start:.1f}–{end:.1f}" for start, end in itertools.pairwise(bounds)
]
show.heatmap(
    by_site.T,
    f"{model}: by site and time",
    "share",
    limit=1,
    y_title="time, s",
)

# %% [markdown]
# **The quick way.** Attribution patching gets the whole grid from one backward pass; here is how
# far it can be trusted.

# %%
agree = stats.correlation(
    by_time.mean("pair").values.ravel(), quick.mean("pair").values.ravel()
)
print("attribution against exact, over cells:", agree)

# %% [markdown]
# ## By which way?
#
# Path patching: `cross.i` takes its clean value, but only one later sublayer may answer to it (all
# others stay as they were). *logits*: straight to the predictions.

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
# The model sings for *sad* prompts while one cell of the residual stream, for some frames, is as
# the *happy* prompt would have it over the song as it comes out. Every button plays one clip; the
# number is how much more of the chosen measure is heard than in the sad song (mean over
# `heard_each` clips, in standard deviations of the world's music).

# %%
low = sung[model][1][:heard_each]
plain = mediation.hear(low).mean()
blocks = len(m.lm.transformer.layers)
shown = [f"resid.{block}" for block in range(0, blocks, max(1, blocks // 8))]
parts = [(0, frames // 4), (frames // 4, frames), (0, frames)]
cells = causal.sing_cells(m, low, list(table["high"][:heard_each]), shown, parts)
measured = {cell: mediation.hear(clips).mean() for cell, clips in cells.items()}


# %%
def grid(measure):
    """How one measure changes, by site and frames."""
    values = [means[measure] for means in measured.values()]
    values = np.reshape(values, (len(shown), -1))
    return pd.DataFrame(values - plain[measure], shown, columns)


columns = [
    f"{start / m.frame_rate:.1f}–{end / m.frame_rate:.1f} s" for start, end in parts
]
measures = ("valence", "arousal", *mediation.HEARD[:-2])
show.sound_grid(
    {measure: grid(measure) for measure in measures},
    [clips.audio[0] for clips in cells.values()],
    m.sample_rate,
    "SD",
)

# %% [markdown]
# **By stream.** The model sings with guidance: away from what it would sing without text (the
# unconditional stream). Prediction: the same exchange there works the other way, because guidance
# then leads away from *happy*. The cell was chosen on other songs.

# %%
best = max(measured, key=lambda cell: measured[cell]["valence"])
best_site, *best_frames = best
rest = slice(heard_each, None) if n > heard_each + 1 else slice(None)
others = sung[model][1][rest]
happy = list(table["high"][rest])
by_stream = {}
for stream in ("cond", "uncond", "both"):
    songs = causal.sing_cells(
        m, others, happy, best_site, [tuple(best_frames)], stream=stream
    )[best]
    change = mediation.hear(songs) - mediation.hear(others)
    for measure in ("valence", "mode"):
        by_stream[f"{stream}: {measure}"] = stats.mean(change[measure])
show.estimates(
    by_stream,
    f"{best_site} as for happy, by stream (dotted: no change)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# ## What it means
#
# If one block's `cross` brings back most, that is where the word is read, and the residual stream
# behind it carries it. If the first part of the clip weighs most, the model may then listen to itself
# and keep a mood because it hears it; that it does is not shown here.
#
# Where exchanging the unconditional stream makes songs happier, too, *away from happy* is not
# *sad*: guidance takes the difference of two prompts several times, which leads out of the music
# that the model knows, and minor gets lost.
#
# **What would change our mind.** A shuffled organism with as much to place; sublayers other than
# cross-attention bringing text in; denoising and noising that disagree on where it passes.

# %%
shares = {
    site: stats.mean(exact.sel(site=site)[0].values)
    for site in exact.site.values
    if site.startswith("cross")
}
entry = max(shares, key=lambda site: shares[site].value)

# %%
question = "How much of the word enters at one sublayer?"
sizes = [results.finding(question, model, entry, shares[entry])]
question = "How well does the gradient approximation agree with exact patching (r)?"
sizes.append(results.finding(question, model, "correlation", agree))
question = "Exchanged in the unconditional stream, how much happier is it?"
sizes.append(results.finding(question, model, "SD", by_stream["uncond: valence"]))
results.record("20_patching", m, [*rules.findings(verdicts), *sizes])

# %%
by_part = by_time.sel(site=entry).mean("pair").values
early, late = by_part[[0, -1]] / by_part.sum()
Markdown(
    f"**Verdict.** Of all that the word does to {model}, {shares[entry].value:.0%} "
    f"comes in at one place: where block {entry.split('.')[1]} looks at the text. "
    f"{early:.0%} of that falls into the first part of the song, {late:.0%} into "
    "the last."
)
