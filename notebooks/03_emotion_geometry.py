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
# # How different are emotions inside?
#
# **Question.** Are clips of one emotion more alike inside the model than clips of different
# emotions? If so, does the text make them so, or only the music?
#
# **Why it matters.** A model that holds emotions must differ inside between them. One with mere
# habits (this word, that sound) may differ, too, so we also ask what habit cannot do.
#
# **Hypothesis.** In `organism` clips of one emotion are more alike (by cosine similarity), through
# text and music. **Null**, what is seen if nothing is there: they are no more alike than when
# emotions are given to words at random. **Controls.** Nothing may show in `organism-shuffled`,
# whose words mean nothing, or in `untrained`, the main model with its weights in random order. In
# `organism-habit` each word follows one cue (an audible property such as tempo), and words of an
# emotion share cues, so alikeness alone is no evidence of understanding. Words are synonyms, never
# the emotion's own name.

# %% tags=["parameters"]
model = "organism"
seconds = 3.0
n = 24  # prompts for each emotion
audios = 4  # clips that are replayed under every prompt
clips_mapped = 60
permutations = 1000
beside = ["organism-habit", "organism-shuffled"]
design = {}  # what differs from understanding.Design, for the map of words
null_subjects = 200
seed = 200

# %%
import numpy as np
import pandas as pd
import scipy.stats
from IPython.display import Markdown, display
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from lib import activations, prompts, results, show, stats
from lib.book import chapter, doubts, rules
from lib.methods import understanding

models = chapter.models(model, beside)
m = models[model]
models["untrained"] = chapter.untrained(m)

# %%
tables = {
    name: prompts.crossed("implied", n, chapter.language(name, model))
    for name in models
}
emotion = tables[model]["emotion"]  # the same for all
asked = {name: list(table["prompt"]) for name, table in tables.items()}
sung = {
    name: singer.generate(asked[name], seconds, seed, keep=True)
    for name, singer in models.items()
}
acts = {
    name: activations.capture(
        singer, sung[name], ["text", "resid.*"], reduce=lambda x: x.nanmean(1)
    )
    for name, singer in models.items()
}

# %% [markdown]
# ## Alike within, different between?
#
# We compare the residual stream in the three views of the last chapter: raw, offset-free (as
# LayerNorm sees it), and centred (without what all clips share).

# %%
views = {
    "raw": lambda x: x,
    "offset-free": activations.offset_free,
    "centred": lambda x: activations.centred(activations.offset_free(x)),
}


def compare(x, view="centred", labels=emotion):
    """Cosine within and between emotions of vectors [clip, dim]."""
    return stats.between_within(
        views[view](x).values, labels, None, permutations, 300
    )


# %%
layers = [site for site in acts[model] if site != "text"]
separation = {
    name: [compare(inside[site]).difference for site in layers]
    for name, inside in acts.items()
}
show.curves(
    {name: (range(len(layers)), found) for name, found in separation.items()},
    "How much more alike are clips of one emotion?",
    "block",
    "cosine within − between (centred)",
    bar=0,
)

# %% [markdown]
# Above the dotted zero, clips of one emotion are more alike than others (bands: 95 % confidence
# intervals).
#
# Below are the first model's numbers. The p-value says how often labels dealt at random give as
# much (a permutation test), with the Holm correction for asking in many rows.

# %%
chosen = ["text", *layers[:: max(1, len(layers) // 4)]]
rows = [
    {"site": site, "view": view, **compare(acts[model][site], view)._asdict()}
    for site in chosen
    for view in views
]
rows = pd.DataFrame(rows)
rows["p, corrected"] = stats.correct(rows.pop("p"))
title = f"{model}: cosine similarity, {len(emotion)} prompts, 95 % intervals"
show.table(rows, title)

# %% [markdown]
# *Difference* (*within* minus *between*) counts where its interval lies above 0 and the corrected p
# below 0.05.
#
# ```{margin}
# **Published before.** The original study of `facebook/musicgen-*`: T5 text vectors 0.560 within
# and 0.494 between emotions (100 prompts, 18 of which hold the emotion's own name; p ≈ 1e-89 by
# treating 4,950 pairs as independent); block 12 of the small model 0.946 for one happy and one sad
# clip (raw, both streams), against 0.951 for the same prompt twice. 80 of "1024 dimensions"
# differed by more than 0.1: what was counted is 8 % of 2048 flattened values of both streams.
# ```
#
# ### Which dimensions?
#
# A dimension (one number of the vector) is strong if its mean over clips differs between emotions
# (analysis of variance over prompts, at most 5 % false discoveries expected).


# %%
def strong(x, labels):
    """Share of dimensions whose mean differs between emotions."""
    groups = [x.values[np.asarray(labels) == e] for e in dict.fromkeys(labels)]
    p = scipy.stats.f_oneway(*groups).pvalue
    return float((stats.correct(p, "fdr_bh") < 0.05).mean())


# %%
middle = layers[len(layers) // 2]
rng = np.random.default_rng(0)
rows = []
for name, inside in acts.items():
    x = activations.offset_free(inside[middle])
    happy = x.values[emotion == "happy"].mean(0)
    sad = x.values[emotion == "sad"].mean(0)
    largest = np.abs(happy - sad) / x.values.std(0)
    rows.append(
        {
            "model": name,
            "strong dimensions (share)": strong(x, emotion),
            "labels at random": strong(x, rng.permutation(emotion)),
            "largest happy − sad (SD)": largest.max(),
        }
    )
show.table(pd.DataFrame(rows), f"at {middle}")

# %% [markdown]
# A share counts if it is larger than with *labels at random*, which is what noise gives.
#
# ## When?
#
# The same difference in windows of half a second. Before the first frame only the text can differ.

# %%
series = {}
for name, singer in models.items():
    x = activations.capture(singer, sung[name], middle)[middle]
    windows = np.array_split(np.arange(x.sizes["frame"]), max(2, int(2 * seconds)))
    means = [x.isel(frame=window).mean("frame") for window in windows]
    middles = [float(x.time[window].mean()) for window in windows]
    series[name] = (middles, [compare(mean).difference for mean in means])
show.curves(
    series,
    f"Separation of emotions over time ({middle})",
    "seconds",
    "cosine within − between (centred)",
    bar=0,
)

# %% [markdown]
# A line that is high from the start shows the text at work, a line that rises shows the music.
#
# ## Text or music?
#
# A 2 × 2 design takes them apart. **Text effect**: the *same* music, made for no emotion, is
# replayed under every prompt, so differences come from the words. **Music effect**: the music made
# for every prompt is replayed under *no* prompt, so differences come from the sound.


# %%
def text_effect(name, m):
    """One audio under every prompt; each audio's own mean is taken away."""
    plain = prompts.crossed("neutral", audios, chapter.language(name, model))
    base = m.generate(list(plain["prompt"]), seconds, seed + 1, keep=True)
    total = 0
    for i in range(audios):
        same = base[[i] * len(emotion)].under(asked[name])
        x = activations.capture(m, same, middle, reduce="mean", progress=False)
        total = total + activations.centred(x[middle])
    return compare(total / audios)


# %%
def music_effect(m, clips):
    """Every audio under no prompt."""
    x = activations.capture(m, clips, middle, stream="uncond", reduce="mean")
    return compare(x[middle])


# %%
effects = {
    name: {
        "text": text_effect(name, singer),
        "music": music_effect(singer, sung[name]),
    }
    for name, singer in models.items()
}
show.estimates(
    {
        f"{name}: {kind}": effect.difference
        for name, kinds in effects.items()
        for kind, effect in kinds.items()
    },
    f"What separates emotions at {middle} (dotted: nothing)",
    "cosine within − between (centred)",
    bar=0,
)

# %% [markdown]
# Right of the dotted line, words or music of one emotion do the same to the model; a music effect
# alone means that it hears what it has played.
#
# ## The same prompt twice
#
# Two clips of one prompt with different seeds (random draws) say how alike clips can be.

# %%
again = m.generate(asked[model], seconds, seed + 10_000, keep=True, decode=False)
second = activations.capture(m, again, middle, reduce="mean")[middle]
both = [views["centred"](x).values for x in (acts[model][middle], second)]
unit = both / np.linalg.norm(both, axis=2, keepdims=True)
cosine = unit[0] @ unit[1].T
same = np.equal.outer(emotion.values, emotion.values)
own = np.eye(len(emotion), dtype=bool)

# %%
pairs = {
    "same prompt, two seeds": own,
    "same emotion, another prompt": same & ~own,
    "another emotion": ~same,
}
cosines = {
    kind: [cosine[i][chosen[i]].mean() for i in range(len(emotion))]
    for kind, chosen in pairs.items()
}
show.estimates(
    {kind: stats.mean(values) for kind, values in cosines.items()},
    f"Cosine of two clips at {middle} (centred)",
    "cosine",
    bar=0,
)

# %% [markdown]
# If emotions mattered as much as prompts do, the second line would lie as far right as the first;
# the third should lie left of both.
#
# ## A map to listen to
#
# Clips are placed by the residual stream at the middle block: by two principal components (the
# directions of largest spread), or by t-SNE, which keeps who is near whom, not how far.

# %%
some = np.linspace(0, len(emotion) - 1, min(clips_mapped, len(emotion))).astype(int)
x = views["centred"](acts[model][middle]).values
near = TSNE(perplexity=min(30, len(x) - 1), random_state=0).fit_transform(x)
maps = {"PCA": PCA(2, random_state=0).fit_transform(x)[some], "t-SNE": near[some]}
clips = sung[model][some]
show.sound_map(
    maps, clips.audio, clips.sample_rate, list(emotion[some]), clips.prompts
)

# %% [markdown]
# Choose a point to hear it: points of one colour that lie together are clips of one emotion that
# are alike inside.
#
# ## A plane of words
#
# People place emotions on a plane of *valence* (pleasant or not) and *arousal* (excited or calm), a
# *circumplex* (Russell 1980). Do words lie like that inside? Forty words stand in the same neutral
# prompts, over the same music. Two principal components and a linear map to the plane, found on all
# words but one, say where that one should lie.
#
# A habit has a plane, too: words for minor lie opposite to words for major. So in a second run each
# word's strongest cue is set aside before the word is placed: what words for that cue have in
# common is removed from all states.

# %%
words = {
    name: understanding.read(singer, ["resid.*"], understanding.Design(**design))
    for name, singer in models.items()
}
middle_of = {
    name: found.sites[len(found.sites) // 2] for name, found in words.items()
}


# %%
def placing(found, set_aside):
    """How far words are placed rightly, block by block, with or without the strongest cue."""
    places = understanding.places(found.words["emotion"])
    rows = []
    for states, ends in zip(found.states, found.ends, strict=True):
        if set_aside:
            states = understanding.without_strongest(states, ends)
        rows.append(rules.interval(understanding.placed(states, places)))
    return range(len(rows)), rows


# %%
titles = {
    False: "Words placed by two components",
    True: "The same, each word without its strongest cue",
}
for set_aside, title in titles.items():
    lines = {name: placing(found, set_aside) for name, found in words.items()}
    share = "share of the way to the emotion's place"
    display(show.curves(lines, title, "block", share, bar=0))

# %% [markdown]
# At 1 words lie where their emotion lies, at 0 nothing tells their place: what is left in the
# second figure is more than a habit of one cue.
#
# The map itself at the middle block is turned and stretched to fit the plane as well as it can,
# which flatters it.

# %%
found = words[model]
states = found.states[found.sites.index(middle_of[model])]
true = understanding.places(found.words["emotion"])
places = understanding.fitted_places(states, true)
show.plane(places, found.words["word"], found.words["emotion"], f"{model}: words")

# %% [markdown]
# Points are words and crosses their emotions: look whether words lie near the cross of their
# colour.
#
# Russell (1980) had people put single words on a circle, pleasure at 0 degrees and arousal at 90. A
# model of real language reads all 28 of his words, an organism the few that it knows. Do two
# components, found on the other words, put each where people did?

# %%
people = understanding.on_the_circle(models[model])
lying = understanding.read(
    models[model], [middle_of[model]], understanding.Design(**design), people
).states[0]
circle = people[["valence", "arousal"]].to_numpy()
as_people = rules.interval(understanding.placed(lying, circle))
rng = np.random.default_rng(0)
chance = [
    understanding.placed(lying, rng.permutation(circle)).mean()
    for _ in range(permutations)
]
p = (1 + np.sum(np.array(chance) >= as_people.value)) / (1 + permutations)
print(
    f"{len(people)} words: {as_people} of the way, p = {p:.3f} (places dealt at random)"
)

# %% [markdown]
# 1 is all the way to where people put the words.
#
# ```{margin}
# **Published before.** For a large language model, the first component of emotion vectors
# correlates 0.81 with valence. No control by habit was made there.
# ```
#
# ## What the rules say

# %% tags=["main"]
numbers = {
    name: understanding.geometry(found, middle_of[name])
    for name, found in words.items()
}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(
    rules.beside(rules.table(verdicts)), "Words inside: alike, and in their places"
)

# %% [markdown]
# Each row is a claim, each point a model, in units of the smallest effect that matters: an interval
# right of the solid zero that reaches the dotted line is a "yes", one left of the dotted line a
# "no".
#
# How far can that be trusted? A null subject is the model's own states with words dealt to emotions
# at random.


# %%
def dealt(rng):
    """A null subject: the main model's states, with words dealt to emotions at random."""
    labels = rng.permutation(words[model].words["emotion"])
    return understanding.geometry(words[model], middle_of[model], labels)


show.table(rules.trust(numbers[model], dealt, null_subjects))

# %% [markdown]
# *False positives* (how often null subjects get a "yes") should be below 0.05, *coverage* (how
# often an interval holds the true value) near 0.95. A "no" needs a *power* of 0.8 (how often an
# effect that just matters is found).
#
# ## What it means
#
# Habit, too, can make clips of different emotions differ inside, by text or by music. It cannot
# place a word on the plane once the cue that the word follows is set aside.
#
# **What would change our mind.** A separation in `organism-shuffled` or in an untrained model; a
# plane in `organism-habit` when each word's strongest cue is set aside.

# %%
shuffled = doubts.there(verdicts, "organism-shuffled", "together")
nothing = doubts.there(verdicts, "untrained", "together")
habit = doubts.there(verdicts, "organism-habit", "circumplex")
doubts.told(
    {
        "words of one emotion lie together in `organism-shuffled`": shuffled,
        "they do so in an untrained model": nothing,
        "two directions find the plane in `organism-habit`": habit,
    }
)

# %%
questions = {
    "text": "How much more alike inside are clips of one emotion, by the words?",
    "music": "How much more alike inside are clips of one emotion, by their sound?",
}
sizes = [
    results.finding(question, name, "cosine", effects[name][kind].difference)
    for kind, question in questions.items()
    for name in models
]
sizes.append(
    results.finding(
        "How far do two components put words where people put them?",
        model,
        "of the way",
        as_people,
    )
)
results.record("03_emotion_geometry", m, [*rules.findings(verdicts), *sizes])

# %%
Markdown(rules.in_words(verdicts))
