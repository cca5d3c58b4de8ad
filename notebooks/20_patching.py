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
# **Question.** A prompt says *happy* or *sad*. Where in the network, through which parts and when
# in the song does the word become music?
#
# A known place can be looked at, held and changed. If none stands out, nothing inside can be called
# the model's idea of the word.
#
# **Method.** In each *block* of the network, self-attention (`attn`) looks at the music so far and
# cross-attention (`cross`) at the prompt's words; an MLP (`mlp`), a small network, works on each
# moment alone. These *sublayers* add to the *residual stream* (`resid`), a running sum that later
# blocks read. *Activation patching* starts from two prompts that differ in one word. The songs for
# both are read under both, so that two runs over the same music differ in that word alone. What one
# *site*, such as `cross.1` (cross-attention in block 1), holds in one run is put into the other.
# The *effect* is the share of the runs' difference that comes back: 0 nothing, 1 all.
#
# **Hypothesis.** Text enters through cross-attention and nowhere else: patching it in some block
# brings back most of the effect. **Prediction and control.** Models whose words do something
# predict a song better under its own prompt. These are `organism` (a small MusicGen trained on
# music with known causes), `organism-habit` (every word follows one sound, no emotion is held) and
# `organism-decoupled` (in its world tempo moves no energy). `organism-shuffled`, trained with
# captions of other clips, has nothing to place. Of an *untrained* model we foretold the same,
# wrongly: random weights read the prompt, too, and what they play is likeliest under it. As a
# changed prediction does not yet mean that a word means something, this criterion is *struck*: it
# decides nothing in the book.

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
from lib.book import chapter, doubts, rules
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
# ## Does the word do anything?
#
# How much better is each song predicted under its own prompt than under the other? We count in
# *nats* (a unit of information, 1.44 bits) for each *token*, one code of sound.


# %% tags=["main"]
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

# %% [markdown]
# Points are models with a 95 % interval (it holds the truth in 95 of 100 repetitions). "Yes" lies
# right of the solid line (no effect) and reaches the dotted one (the smallest effect that matters)
# or lies beyond it; "no" ends before the dotted one.

# %%
show.table(rules.trust(numbers[model]))

# %% [markdown]
# Trust the rule where *false positives* ("yes" where nothing is) are rare, *coverage* (intervals
# that hold the truth) is near 0.95 and *power* (seeing the smallest effect that matters) is high.
#
# ## Which block, which sublayer?
#
# The whole song is patched at once.

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
# The word is read where `cross` peaks; `resid` shows all that has come in so far, and the dotted
# line is the whole difference.
#
# Happy values in the sad run show whether a place is *enough* (*denoising*), the reverse whether it
# is *needed* (*noising*).

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
# Where both rows of a `cross` site are near 1, the word comes in there and nowhere else. Of `resid`
# sites nothing else can be expected once it has come in, because all passes through them.
#
# ## When?
#
# A word should matter most at the start: later, the music so far says the same.

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
# The redder a cell, the more of the word's effect its site brings back in its stretch of time.
#
# **The quick way.** *Attribution patching* estimates the whole grid from one backward pass: what a
# small change of a site would do (the gradient), times how much it differs.

# %%
agree = stats.correlation(
    by_time.mean("pair").values.ravel(), quick.mean("pair").values.ravel()
)
print("correlation of the quick grid with the exact one, over cells:", agree)

# %% [markdown]
# At a correlation of 1 the quick grid could stand in for the exact one.
#
# ## By which way?
#
# *Path patching*: `cross` takes its happy value, but all later sublayers except one stay as in the
# sad run.

# %%
paths = causal.paths(m, *sung[model]).mean("pair").to_pandas()
show.heatmap(
    paths,
    f"{model}: from where text enters (rows), through one receiver (columns)",
    "share",
    numbers=False,
)

# %% [markdown]
# Red cells are the ways that the word takes; *logits* is the direct way to the scores of the next
# token.
#
# ## Hear it
#
# The model sings for *sad* prompts, but for some time one block's residual stream is as the *happy*
# prompt would have it over the same song.

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
# Each cell is a block (row) for a stretch of time (column), and plays its song. The number says how
# much more of a measure is heard than in the plain sad song, in standard deviations of the world's
# music (*valence* is how pleasant, *arousal* how excited).
#
# **By stream.** *Classifier-free guidance* leads the song away from what the model would sing
# without text (the *unconditional stream*, `uncond`). So we foretell that the exchange works the
# other way in that stream, because guidance then leads away from *happy*. The cell was chosen on
# other songs.

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
# The prediction holds where `uncond` lies left of the dotted line of no change, and `cond`, the
# stream with text, right of it.
#
# ## What it means
#
# In the block that the verdict names the word is read, and the residual stream carries it on. A
# large share in the beginning would fit a model that later keeps a mood because it hears it, but
# does not show that. **Doubts.** Where `uncond` makes songs happier, too, the prediction has
# failed. Guidance takes the difference of two predictions several times, so *away from happy* may
# lead out of the music that the model knows, and not to *sad*.
#
# **What would change our mind.** A shuffled organism with as much to place; sublayers other than
# cross-attention that bring text in; denoising and noising that disagree about where it passes.

# %%
entering = {
    site: stats.mean(exact.sel(site=site)[0].values) for site in exact.site.values
}
sublayers = {
    site: share
    for site, share in entering.items()
    if site.split(".")[0] in ("attn", "cross", "mlp")
}
largest = max(sublayers, key=lambda site: sublayers[site].value)
doubts.told(
    {
        "the shuffled organism has as much to place": doubts.there(
            verdicts, "organism-shuffled"
        ),
        "another sublayer than cross-attention brings most in": not largest.startswith(
            "cross"
        ),
    }
)

# %% [markdown]
# **Exercise 1.** Set `variable = "tempo"` in the first code cell. Does tempo enter where emotion
# does, and what would that mean?
#
# <details><summary>Answer</summary>
#
# If both verdicts name the same block, it is the way in for words in general, and no seat of
# emotion. If not, the model reads different words at different depths; it was free to learn either.
#
# </details>
#
# **Exercise 2.** In *Hear it*, play the cells of one row from left to right. Does the song stay
# happy when the exchange ends?
#
# <details><summary>Answer</summary>
#
# In the first column only the beginning is exchanged. If its song stays happy, the model goes on
# from what it has sung, or from the exchanged states, which later moments can look at. If it falls
# back to sad, the word is read anew at every step. The numbers, of whole songs, cannot tell.
#
# </details>

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
    f"comes in at one place: the cross-attention of block {entry.split('.')[1]}. "
    f"{early:.0%} of that falls into the first part of the song, {late:.0%} into "
    "the last."
)
