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
# # Can emotion be read out, beyond the words of the prompt?
#
# **Question.** Can emotion be read from the inside of the model, and can more be read there than
# from the prompt's words alone, before the model has computed anything?
#
# **Why it matters.** A *probe* is a simple classifier that reads something from activations, the
# vectors inside a model. The original study's probe reached 96 %, but some of its prompts held the
# emotion's own name: it may have read the word.
#
# **How it is done.** In the main test no prompt names its emotion, and the probe is tested on **words and
# templates it never saw**: whole word families and sentence patterns are held out together.
# **Hypothesis.** What the blocks compute makes emotion more legible than it was. **Null.** The same
# with labels dealt anew to families. **Controls.** Three probes need no block that has read the
# prompt. They read the *static embeddings* (the text encoder's input vectors, before any layer has
# run), a bag of words (which words occur), and the stream without text, which hears only the music.
# Three models stand beside the main one: `organism-habit` (each word follows one audible cue),
# `organism-shuffled` (words mean nothing) and `untrained` (the main one with its weights in random
# order).

# %% tags=["parameters"]
model = "organism"
seconds = 3.0
n = 48  # prompts for each emotion
permutations = 200
dealings = 4  # of the words to folds, over which shares are averaged
beside = ["organism-habit", "organism-shuffled"]
null_subjects = 200
seed = 300

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import activations, listeners, probes, prompts, results, show, stats
from lib.book import chapter, doubts, rules

models = chapter.models(model, beside)
m = models[model]
models["untrained"] = chapter.untrained(m)
tables = {
    name: prompts.crossed("implied", n, chapter.language(name, model))
    for name in models
}
asked = {name: list(table["prompt"]) for name, table in tables.items()}
groups = {name: table[["family", "template"]] for name, table in tables.items()}
emotion = tables[model]["emotion"]  # the same for all
chance = 1 / emotion.nunique()

# %%
last = f"resid.{len(m.lm.transformer.layers) - 1}"
sung = {
    name: singer.generate(asked[name], seconds, seed, keep=True)
    for name, singer in models.items()
}


def inside(name, sites, stream):
    """A model's activations at some sites, averaged over frames or tokens."""
    how = {"stream": stream, "reduce": lambda x: x.nanmean(1)}
    return activations.capture(models[name], sung[name], sites, **how)


acts = {name: inside(name, ["text", "resid.*"], "cond") for name in models}
without_text = {name: inside(name, "resid.*", "uncond") for name in models}
static = {name: probes.static(models[name], asked[name]) for name in models}

# %% [markdown]
# ## By layer
#
# The score is *balanced accuracy*: the share of prompts that are named rightly, averaged over
# emotions.


# %%
def by_layer(name):
    """Scores from the words to the last block."""
    how = {"n_permutations": permutations if name == model else 0}
    blocks = probes.sweep(acts[name], emotion, groups[name], **how)
    first = probes.fit(static[name], emotion, groups[name], **how)._asdict()
    first = {"site": "static embeddings", "layer": -2, **first}
    return pd.concat([pd.DataFrame([first]), blocks], ignore_index=True)


found = {name: by_layer(name) for name in models}
show.curves(
    {name: (table["layer"], table["score"]) for name, table in found.items()},
    "Emotion read along the way (−2: static embeddings; −1: text encoder)",
    "block",
    "balanced accuracy, unseen words and templates (dotted: chance)",
    bar=chance,
)

# %% [markdown]
# The blocks have added something where a line rises above its values at −2 and −1 (bands: 95 %
# confidence intervals).

# %%
how = {"n_permutations": permutations}
words = probes.words(asked[model], emotion, groups[model], **how)
rows = [found[model], pd.DataFrame([{"site": "bag of words", **words._asdict()}])]
rows = pd.concat(rows).drop(columns=["kind", "layer", "predictions"])
rows["p"] = stats.correct(rows["p"])
show.table(rows, f"{model}: what a probe reads of unseen words, site by site")

# %% [markdown]
# Beside the *score* stand its p-value (with the Holm correction for asking at many sites) and the
# *null*, the mean score with permuted labels. The *control* is what the same probe can memorise
# (random labels for the same words; Hewitt and Liang 2019), **selectivity** the score without it. A
# bag of words cannot say anything about words it never saw; static embeddings can.
#
# ## What the rules say
#
# The best of many blocks looks good by luck, so the block is chosen without the words and templates
# that are tested. Every word family gives one number, the share of its prompts that are named
# rightly, averaged over four ways to split.


# %%
def named(name):
    """Share of each family's prompts that every probe names rightly."""
    spaces = {
        "blocks": acts[name].drop_vars("text"),
        "static embeddings": static[name],
        "bag of words": probes.bag(asked[name]),
        "stream without text": without_text[name],
    }
    return probes.families(spaces, emotion, groups[name], repeats=dealings)


shares = {name: named(name) for name in models}
means = {
    name: {what: stats.mean(table[what]) for what in table}
    for name, table in shares.items()
}
show.table(
    pd.DataFrame([{"model": name, **found} for name, found in means.items()]),
    f"Share of a family's prompts that are named rightly (chance {chance:.2f})",
)

# %% [markdown]
# If the blocks add anything, *blocks* is above chance and above the other three columns.

# %% tags=["main"]
numbers = {name: probes.excess(table, chance) for name, table in shares.items()}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(
    rules.beside(rules.table(verdicts)),
    "What a probe reads, beyond chance and beyond words",
)

# %% [markdown]
# Each row is a claim, each point a model, in units of the smallest effect that matters: an interval
# right of the solid zero that reaches the dotted line is a "yes", one left of the dotted line a
# "no".
#
# How far can that be trusted? Null subjects have nothing to find: for the first claim, labels are
# permuted over families; for the second, each family's number gets a random sign.

# %%
blocks = acts[model].drop_vars("text")
permuted = probes.permuted_families(blocks, emotion, groups[model], null_subjects)
subjects = iter(permuted - chance)
trusted = rules.trust(
    numbers[model], lambda rng: {"legible": next(subjects)}, null_subjects
)
show.table(trusted)

# %% [markdown]
# As in [chapter 3](03_emotion_geometry), *false positives* should be below 0.05, *coverage* near
# 0.95, and a "no" needs a *power* of 0.8.
#
# ## From the music, not the text
#
# What a probe can tell from audio tokens and from the spectrum, without any model, is in the sound.

# %%
clips = sung[model]
heard = {
    "stream without text": without_text[model][last],
    "audio tokens": [np.bincount(t[0], minlength=m.lm.card) for t in clips.tokens],
    "spectrum": [show.level(a, clips.sample_rate).mean(1) for a in clips.audio],
}
how = {"groups": groups[model], "n_permutations": 0}
sound = {kind: probes.fit(x, emotion, **how).score for kind, x in heard.items()}
show.estimates(
    sound,
    f"{model}: emotion read from what holds no text (dotted: chance)",
    "balanced accuracy",
    bar=chance,
)

# %% [markdown]
# Right of the dotted line, emotion can be read from the sound; the model adds to it only if `stream
# without text` lies right of the other two.
#
# ## Over time
#
# The last block, in windows of half a second, with the text (`cond`) and without (`uncond`).


# %%
def over_time(stream):
    """Scores in windows of half a second, with their middles in seconds."""
    x = activations.capture(m, sung[model], last, stream=stream)[last]
    windows = np.array_split(np.arange(x.sizes["frame"]), max(2, int(2 * seconds)))
    means = [x.isel(frame=window).mean("frame") for window in windows]
    middles = [float(x.time[window].mean()) for window in windows]
    how = {"groups": groups[model], "n_permutations": 0}
    return middles, [probes.fit(mean, emotion, **how).score for mean in means]


# %%
series = {stream: over_time(stream) for stream in ("cond", "uncond")}
show.curves(
    series,
    f"{model}: when emotion can be read ({last}; dotted: chance)",
    "seconds",
    "balanced accuracy",
    bar=chance,
    colors={"cond": show.INK, "uncond": "#CC79A7"},
)

# %% [markdown]
# Where the lines lie apart, the text tells more than the music made by then.
#
# ## Named, implied, told by cues
#
# Three ways to ask for an emotion: by its name, by other words, and by the cues alone ("slow, soft,
# minor-key"), each with templates held out. Across (→), a probe that learned from implied words is
# asked about names and about cues. The block is the middle one, which no score has chosen.

# %%
middle = activations.at(m, 0.5)
language = chapter.language(model)
read = {}
for kind in ("implied", "name", "cues"):
    table = prompts.crossed(kind, n, language)
    how = {"seed": seed, "keep": True, "decode": False}
    clips = m.generate(list(table["prompt"]), seconds, **how)
    x = activations.capture(m, clips, middle, reduce="mean")[middle].values
    read[kind] = (x, table["emotion"].to_numpy(), table["template"])

# %%
kinds = {
    kind: probes.fit(*data, n_permutations=0).score for kind, data in read.items()
}
for target in ("name", "cues"):
    learned, asked_about = read["implied"][:2], read[target][:2]
    kinds[f"implied → {target}"] = probes.transfer(*learned, *asked_about)
show.estimates(
    kinds,
    f"{model}, {middle}: by how the emotion is asked for (dotted: chance)",
    "balanced accuracy",
    bar=chance,
)

# %% [markdown]
# If both ways of asking end in one representation, the points with an arrow lie right of the dotted
# line.
#
# ## Valence, arousal and every cue
#
# Cues, *valence* (pleasant or not) and *arousal* (excited or calm) are measured from the clips'
# audio; probes read them from the last block of the stream without text.

# %%
listener = listeners.get("cues")
measured = listeners.features(sung[model].audio, sung[model].sample_rate)
axes = listener.hear(measured)[["valence", "arousal"]]
targets = pd.concat([listener.profile(measured), axes], axis=1)
varied = targets.loc[:, targets.nunique() > 1]

# %%
known = {}
for name, values in varied.items():
    y = values.to_numpy(float)
    x = without_text[model][last]
    known[name] = probes.fit(x, y, groups[model], n_permutations=0).score
show.estimates(
    known,
    "What the model knows about its own music (dotted: nothing)",
    "correlation",
    bar=0,
)

# %% [markdown]
# Points are correlations on clips of unseen words: at 1 the prediction is perfect.
#
# ## What it means
#
# A probe says what *can* be read, not what the model uses; to learn that, one must change the model
# (phase 2). It says something about the blocks only where they add to what was there before. In the
# organisms the text encoder was trained with the blocks, so words used alike lie together, and
# static embeddings may hold all that a probe can find. A released model's text encoder learned from
# text alone, where *gloomy* and *mournful* lie together though no song was ever heard. And a score
# above chance is not understanding: habit can make emotion legible, too.
#
# **What would change our mind.** A shuffled organism or an untrained model above chance; an excess
# over static embeddings that the shuffled organism has, too; false positives far above 5 %.

# %%
shuffled = [
    doubts.there(verdicts, "organism-shuffled", name)
    for name in ("legible", "beyond_words")
]
often = trusted["false positives"]
doubts.told(
    {
        "the shuffled organism is read above chance": shuffled[0],
        "an untrained model is": doubts.there(verdicts, "untrained", "legible"),
        "the shuffled organism has more than static embeddings": shuffled[1],
        "false positives come more often than 5 %": any(
            e.low > 0.05 for e in often
        ),
    }
)

# %%
questions = {
    "static embeddings": "How often do static embeddings name an unseen word's emotion?",
    "stream without text": "How often does the stream without text name it?",
}
sizes = [
    results.finding(question, name, "share", means[name][what])
    for what, question in questions.items()
    for name in models
]
question = "How well does a probe of implied words name emotions told by cues?"
sizes.append(
    results.finding(question, model, "balanced accuracy", kinds["implied → cues"])
)
results.record("04_probes", m, [*rules.findings(verdicts), *sizes])

# %%
Markdown(rules.in_words(verdicts))
