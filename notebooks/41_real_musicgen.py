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
# # Ask a real MusicGen
#
# **Question.** So far an organism was asked, a small MusicGen whose answers are known. What does it
# take to ask `facebook/musicgen-small`, `-medium` or `-large`, and how are the answers to be read?
#
# **Why it matters.** The book is about MusicGen; its organisms only test the methods.
#
# **Method.** Every chapter takes the model as its first parameter, and chooses by itself blocks by
# relative depth (`depth`), prompts in natural words, and the device. Memory and disk are computed
# from the released shapes, time is extrapolated from this machine and this page's model.
#
# **What to expect.** A released model may fail where the organism succeeds: that is an answer. On
# models of the same make the methods were shown to find what is there, and to stay silent where
# nothing is. That they find everything in a larger one is not shown.

# %% tags=["parameters"]
model = "organism"
clips = 16  # that are timed
seconds = 3.0
beside = ["organism-habit", "organism-shuffled"]
seed = 990

# %%
import time

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from sklearn.metrics.pairwise import cosine_similarity

from lib import activations, prompts, results, show, sizing, stats
from lib.book import chapter, doubts, rules
from lib.organism import world

models = chapter.models(model, beside)
m = models[model]
models["untrained"] = chapter.untrained(m)
language = chapter.language(model)

# %% [markdown]
# ## How to run it
#
# ```sh
# make notebooks MODEL=facebook/musicgen-small  # every chapter
# make book MODEL=facebook/musicgen-small       # and its pages
# ```
#
# The first run fetches weights from the Hugging Face hub, and nothing else. A folder with a
# checkpoint in audiocraft's format does as well as a name. On CUDA (an NVIDIA GPU) the language
# model runs in half precision, elsewhere in single. Stereo is kept; what is measured is the mean of
# both channels. `melody` checkpoints can be read and steered, too. But they read text in front of
# the music and have no *cross-attention*, the part of a block by which music reads words: chapter
# 20 asks for text-to-music. `style` checkpoints are refused. An interrupted run goes on where it
# was.
#
# All models that were run stand side by side, on the first page and in each chapter's verdicts.
# Results travel: a larger machine exports them as one file of numbers, without music, and whoever
# has the book imports it and runs `make book`. What other rules or code made is marked.
#
# ```sh
# python -m lib.book export --model facebook/musicgen-large large.json
# python -m lib.book import large.json
# ```
#
# ## How much memory

# %%
show.table(
    sizing.table(10.0).round(2),
    "Released models. Weights include the text encoder and the codec",
)

# %% [markdown]
# Compare a model's gigabytes with those of your GPU or your machine (the codec turns sound into
# tokens and back).
#
# A model that does not fit is refused, with both numbers, before anything is fetched. While it
# loads on a CPU, a checkpoint is in memory twice, as stored and as used. Batches take at most half
# of the free memory; where that was too much they are halved, with a warning each time. A value that
# half precision (float16) cannot hold is refused; the message says where it was and what to do.
#
# ## The same song everywhere
#
# On every device a song's random numbers follow from its seed, the step, the codebook (one of the
# lists of codes that describe each moment) and the token alone. Products may differ in their last
# bits between devices and, on a GPU, with the number of clips in a batch. So a seed gives the same
# song on the same machine, except where two tokens were all but tied; from there the song goes its
# own way. Half precision has more such ties.
#
# ## Which blocks

# %%
depths = [0.0, 0.25, 0.5, 0.57, 0.75, 1.0]
released = dict(list(sizing.SHAPES.items())[:3])
blocks = {"this model": len(m.lm.transformer.layers)}
for name, shape in released.items():
    blocks[name.removeprefix("facebook/musicgen-")] = shape.blocks
table = pd.DataFrame({"relative depth": depths})
for name, count in blocks.items():
    table[name] = [f"resid.{round(depth * (count - 1))}" for depth in depths]
show.table(table, "The same question in models of any size")

# %% [markdown]
# Each column names the block that stands for a relative depth (0 is the first, 1 the last) in one
# model: `resid.3` is the *residual stream*, the running sum of all blocks, behind block 3.
#
# ## How much disk
#
# *Activations*, the numbers inside the model, are kept on disk as they are read.

# %%
disk = pd.concat(sizing.disk(name, 10_000, 30.0) for name in released)
show.table(
    disk.round(3), "In half precision; in single precision it is twice as much"
)

# %% [markdown]
# Sparse autoencoders (chapter 10) learn from *every frame*; most comparisons need the *mean*, one
# average a clip.
#
# ## How long
#
# What this machine needs for this page's model is measured now and multiplied up to 10,000 clips of
# 30 s. These cost somewhat more, because attention looks back at all that came before.

# %%
asked = list(prompts.crossed("neutral", clips, language, seed)["prompt"])[:clips]
started = time.perf_counter()
sung = m.generate(asked, seconds, seed, progress=False)
generating = time.perf_counter() - started
site = activations.at(m, 0.57)
started = time.perf_counter()
activations.capture(m, sung, site, progress=False)
capturing = time.perf_counter() - started

# %%
music = clips * seconds
on_gpu = m.device.type == "cuda"
machine = torch.cuda.get_device_name() if on_gpu else m.device.type.upper()
table = pd.DataFrame(
    {
        "what": ["generate", "capture one site"],
        "seconds of music a second": [music / generating, music / capturing],
        "hours for 10,000 clips of 30 s, extrapolated": [
            3e5 / music * generating / 3600,
            3e5 / music * capturing / 3600,
        ],
    }
)
show.table(table.round(2), f"{model} on {machine}, {clips} clips at once")

# %% [markdown]
# At 1 second of music a second, the model takes as long as a listener.
#
# Below, the same for released shapes, if this machine did as many operations a second for them (two
# for each parameter and token). Large matrices use a GPU better than an organism's; `python
# benchmarks/released.py small large` measures that, with random weights.

# %%
parts = [*m.lm.transformer.parameters(), *m.lm.linears.parameters()]
own = sum(parameter.numel() for parameter in parts)
# operations a parameter and token: generation computes both streams
operations = {"generate": 4, "capture one site": 2}
duration = {"generate": generating, "capture one site": capturing}
rates = {
    work: number * own * music * m.frame_rate / duration[work]
    for work, number in operations.items()
}
rows = []
for name, shape in released.items():
    each = sizing.parameters(shape) * 10_000 * 30 * shape.frame_rate
    row = {"model": name.removeprefix("facebook/")}
    for work, number in operations.items():
        row[f"{work}, hours"] = number * each / rates[work] / 3600
    rows.append(row)
speed = [f"{work} {rate / 1e9:.0f} Gflop/s" for work, rate in rates.items()]
title = f"10,000 clips of 30 s, at the rates here: {', '.join(speed)}"
show.table(pd.DataFrame(rows).round(1), title)

# %% [markdown]
# Read the hours as an order of magnitude.
#
# ## Many GPUs
#
# `lib.scale` spreads the work over a Ray cluster, piece by piece, with the same result bit for bit
# on like machines. Pieces lie in one zarr store (arrays on disk) at any URL. A worker that dies is
# replaced; when the whole cluster is lost, the same call goes on where it was, with workers or
# without.
#
# ```python
# from lib import harvest, scale
#
# cluster = {"workers": 8, "address": "auto"}  # without an address, on this machine
# clips = scale.generate("facebook/musicgen-large", prompts, 30, out="s3://bucket/songs", **cluster)
# acts = scale.capture("facebook/musicgen-large", clips, "resid.27", "s3://bucket/acts", **cluster)
# # what SAEs learn from; its folder must be shared
# clips, labels = harvest.clips(m, 10_000, seconds=30, **cluster)
# ```
#
# `s3://` wants the extra `scale`. Every machine needs the same version of this package. A disk too
# small for a capture is refused beforehand; what a bucket holds cannot be known.
#
# ## How to read the differences
#
# | in the organism | in a released model |
# | --- | --- |
# | every cause is known: ✓ and ✗ say whether a method was right | no known answers; the organisms stay beside it as controls |
# | listeners (programs that judge) learned from music of the same world | the same listeners, on music they do not know: trust differences, not levels |
# | 6 blocks | the same relative depth, in the table above; whether depth means the same there is a question, not a given |
# | bars (thresholds set beforehand): better than the decoupled and the shuffled organism, and an interval away from the null (what is seen if nothing is there) | the interval and the permutation still count; bars that name a true value do not |
# | one sound an instrument, one tempo a song | mixtures: measured cues are noisier, effects look smaller |
# | captions of known words | words mean what they meant in training data that nobody can see |
#
# ## Beside the original study
#
# An earlier study (in this book the original one) compared what block 12 of `musicgen-small` holds
# for a happy and for a sad clip. It reported a *cosine* (1: both vectors point the same way, 0:
# unrelated) of 0.9461, and of 0.9508 for the same prompt twice, one clip each. It also reported
# that a *probe*, a simple classifier, tells four emotions from the text encoder's output with an
# accuracy of 0.96; chapter 04 asks that again, with words the probe never saw. Those cosines mix
# the runs with and without text, which MusicGen computes side by side. The published activations
# (of `large`) share a constant offset, which the model's own layer norm removes; whether those of
# `small` do, nobody has published. Here the cosine is taken again for pairs of clips, with and
# without what all clips share.


# %%
def inside(name, emotion, seed):
    """Mean activations of clips that are asked for an emotion."""
    singer = models[name]
    table = prompts.crossed("name", clips, chapter.language(name, model), seed)
    named = list(table["prompt"][table["emotion"] == emotion])
    songs = singer.generate(named, seconds, seed, progress=False)
    site = activations.at(singer, 12 / 23)
    acts = activations.capture(singer, songs, site, reduce="mean", progress=False)
    return acts[site].values


# %%
SHARED = "without what all clips share, here"


def seen(x, common):
    """Activations in three ways."""
    offset = x.mean(-1, keepdims=True)
    return {
        "raw, here": x,
        "without the offset, here": x - offset,
        SHARED: x - common,
    }


# %%
def alike(name):
    """Cosines with sad clips, of happy and of sad clips by other random numbers."""
    sad = inside(name, "sad", seed)
    others = inside(name, "happy", seed + 500), inside(name, "sad", seed + 500)
    common = np.concatenate([sad, *others]).mean(0)
    one = seen(sad, common)
    many = [seen(x, common) for x in others]
    return [
        {w: np.diag(cosine_similarity(one[w], x[w])) for w in one} for x in many
    ]


cosines = {name: alike(name) for name in models}

# %%
found = dict(zip(("happy, sad", "sad, sad again"), cosines[model], strict=True))
original = {"happy, sad": 0.9461, "sad, sad again": 0.9508}
is_small = model == "facebook/musicgen-small"
rows = []
for pair, found_here in found.items():
    raw = stats.mean(found_here["raw, here"])
    row = {
        "cosine of": pair,
        "published (small, one clip each)": f"{original[pair]:.4f}",
        "again, small": raw if is_small else "not computed here",
    }
    rows.append(
        row | {way: stats.mean(values) for way, values in found_here.items()}
    )
show.table(pd.DataFrame(rows), f"{model}, {activations.at(m, 12 / 23)}")

# %% [markdown]
# Within a column, emotion shows only as far as *happy, sad* is lower than *sad, sad again*. *again,
# small* is the published model measured by our methods, where its weights are there.

# %% tags=["main"]
numbers = {
    name: {"apart": again[SHARED] - happy[SHARED]}
    for name, (happy, again) in cosines.items()
}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(
    rules.beside(rules.table(verdicts)),
    "Happy and sad inside, beyond singing twice",
)

# %% [markdown]
# A "yes" lies wholly right of the solid line (no effect) and reaches the dotted one (the smallest
# effect that matters) or lies beyond it; a "no" lies wholly left of the dotted one; bars are 95 % intervals (they hold the true value in 19 of 20 such
# studies). The *untrained* model, the main one's weights in random order, and `organism-shuffled`,
# whose words mean nothing, show how much is chance.

# %%
show.table(rules.trust(numbers[model]))

# %% [markdown]
# To trust the rule, *false positives* should be at most 0.05, *coverage* about 0.95 and *power* at
# least 0.8 (explained in [chapter 30](30_steering)).
#
# ## What it means
#
# A cosine of 0.9461 alone says nothing about emotion, unless one knows how much of it any two clips
# share.
#
# **Doubts.** Songs that differ in emotion differ in sound, too, so this is no more than a
# precondition of holding emotion.
#
# **What would change our mind.** A released model in which happy and sad songs are as alike inside
# as sad songs are, once what all songs share is taken away.

# %%
released = world.of(model) is None
same = doubts.failed(verdicts, model) if released else None
doubts.told({"happy and sad songs are as alike in a released model": same})

# %%
results.record("41_real_musicgen", m, rules.findings(verdicts))

# %%
Markdown(rules.in_words(verdicts))
