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
# # Are features about one thing, and is it emotion?
#
# **Question.** Is there a feature for *sad*, or are there features for slow, soft and minor, of
# which sad music has many? And does a feature answer to the word, to the sound, or to both?
#
# **Method.** The model sings for emotion words that never name a cue. A feature is *selective* for
# an emotion if its activation tells that emotion's clips from all others beyond chance: labels are
# permuted over whole lexical families, and the false-discovery rate is controlled over all features
# and emotions (5 %), with AUROC ≥ 0.7. **Null and control:** `organism-shuffled`, whose words mean
# nothing, must have no selective feature beyond that rate. The original study's criterion (mean
# activation of one emotion at least twice the mean of all) stands beside it: it has no null.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
recipe = {}  # what differs from that of chapter 10's SAE (lib.book.chapter.Recipe)
n = 36  # prompts for each emotion
seconds = 4.0
permutations = 500
seed = 700

# %%
import numpy as np
import pandas as pd

from lib import activations, features, prompts, results, sae, show, stats
from lib.book import chapter

models = chapter.models(model, chapter.controls(model, "organism-shuffled"))
m = models[model]
site = activations.at(m, depth)
language = chapter.language(model)

# %% [markdown]
# The SAE is that of [chapter 10](10_train_saes), and the shuffled organism's is the one that stands
# beside it there: a single seed, because labels that mean nothing cannot choose among several.

# %%
dictionaries = {model: chapter.dictionary(m, site, **recipe)}
for name in list(models)[1:]:
    one_seed = {**recipe, "seeds": 1}
    dictionaries[name] = chapter.dictionary(models[name], site, **one_seed)

# %% [markdown]
# ## Selective features

# %%
implied = prompts.crossed("implied", n, language)
sung = {
    name: singer.generate(list(implied["prompt"]), seconds, seed, keep=True)
    for name, singer in models.items()
}


def answers(name, clips, stream="cond"):
    """Mean activation of every feature in each clip."""
    acts = activations.capture(models[name], clips, site, stream=stream)[site]
    return sae.activity(dictionaries[name].sae, acts)[0]


# %%
labels = (implied["emotion"], implied["family"])
found = {
    name: features.selective(answers(name, sung[name]), *labels, permutations)
    for name in models
}


# %%
def count(tests):
    """How many features pass each criterion."""
    selective = tests["selective"]
    return {
        "selective": int(selective.sum()),
        "beyond the largest of the null": int(sum(selective & tests["beyond_max"])),
        "original's criterion": int(sum(tests["ratio"] >= features.ORIGINAL_CUT)),
        "best AUROC": tests["auroc"].max(),
    }


counts = pd.DataFrame(
    {"model": name, "emotion": emotion, **count(tests)}
    for name, all_tests in found.items()
    for emotion, tests in all_tests.groupby("class", sort=False)
)
hoped = "50 selective features an emotion, by a cut of 2 on the ratio of means"
show.table(counts, f"The original study hoped for {hoped}")

# %% [markdown]
# ## The word, the sound, or both?
#
# The same features under four conditions: the emotion's own **name** in the prompt; only its
# **cues** in the prompt; the **sound alone** (the clips above, replayed without text); the **word
# alone** (music made for no emotion, replayed under every prompt).


# %%
def sing(kind, first):
    """The model's clips of one kind of prompts, and these."""
    table = prompts.crossed(kind, n if kind != "neutral" else 1, language)
    return m.generate(list(table["prompt"]), seconds, first, keep=True), table


# %%
neutral = sing("neutral", seed)[0]
same = neutral[[0] * len(implied)].under(list(implied["prompt"]))
conditions = {
    "implied": (sung[model], implied, "cond"),
    "name": (*sing("name", seed + 5000), "cond"),
    "cues": (*sing("cues", seed + 9000), "cond"),
    "sound alone": (sung[model], implied, "uncond"),
    "word alone": (same, implied, "cond"),
}
areas = {
    name: features.selectivity(answers(model, clips, stream), table[["emotion"]])
    for name, (clips, table, stream) in conditions.items()
}

# %%
selective = found[model][found[model]["selective"]]
ordered = selective.sort_values("auroc", ascending=False)
strongest = ordered.groupby("class", sort=False).head(3)
rows = []
for feature, emotion in zip(strongest["feature"], strongest["class"], strict=True):
    under = {name: area.loc[feature, emotion] for name, area in areas.items()}
    rows.append({"feature": feature, "emotion": emotion, **under})
show.table(
    pd.DataFrame(rows),
    "AUROC of the three most selective features of each emotion, under each condition",
)


# %%
def excites(condition):
    """Whether each selective feature answers under a condition."""
    pairs = zip(selective["feature"], selective["class"], strict=True)
    return np.array([areas[condition].loc[f, e] >= 0.7 for f, e in pairs], bool)


sound = excites("sound alone")
word = excites("word alone")
kinds = np.select(
    [sound & word, sound, word], ["both", "sound", "word"], "neither alone"
)
emotions = selective["class"].to_numpy()
table = pd.crosstab(emotions, kinds, rownames=["emotion"], colnames=[None])
show.table(
    table.reset_index(),
    "Selective features by what excites them (AUROC of at least 0.7)",
)

# %% [markdown]
# ## One thing, or a mixture of cues?
#
# On the world's own music the causes are known. For each selective feature: how much of its
# activation follows from valence and arousal, how much the emotion's name adds to them, and how
# many cues it answers to (AUROC of at least 0.85). A feature for an emotion as a *category* would
# gain from the name.

# %%
dictionary = dictionaries[model]
activity = sae.activity(dictionary.sae, dictionary.acts[site])[0]
some = selective["feature"].unique()


def most_gained():
    """The features whose activation the emotion's name explains best beyond the axes."""
    table = features.category_or_axes(activity[:, some], dictionary.labels)
    table = table.assign(feature=some).sort_values("gain", ascending=False)
    return table.head(12)


known = "valence" in dictionary.labels
show.table(
    most_gained(),
    "Share of variance explained, where the name adds most (clips whose caption names an emotion)",
) if known else None

# %% [markdown]
# ## What it means
#
# A feature that answers to the sound alone hears; one that answers to the word alone has read; one
# that answers to both joins them, which is what "holding an emotion" asks for. A feature whose
# activation follows from valence and arousal, and gains nothing from the emotion's name, stands for
# a place on a plane, not for a category.
#
# **What would change our mind.** Selective features in `organism-shuffled`, or selective features
# that vanish for lexical families that had no part in choosing them.

# %%
question = "Is there a selective feature for three of five emotions?"
findings = []
for name in models:
    some = counts[(counts["model"] == name) & (counts["selective"] > 0)]
    share = stats.proportion([e in set(some["emotion"]) for e in show.COLORS])
    enough = share.value >= 0.6
    findings.append(results.finding(question, name, enough, share, "features"))
results.record("12_monosemanticity", model, findings)
