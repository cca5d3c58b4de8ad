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
# **Question.** Is there a feature for *sad*, or are there features for slow, soft and minor, which
# sad music has together? And is what we find the work of the sparse autoencoder (SAE), the network
# that splits what a model holds into features?
#
# **Why it matters.** The first study hoped for 50 *selective* features an emotion, by a criterion
# without a null. Such a count means little: where a site (a place in the model) tells emotions
# apart, most directions through it do, random ones included. So a feature is judged by what it
# adds.
#
# **Hypothesis.** The feature chosen for an emotion on half of its word families tells the songs of
# the other half from those of other emotions. It does so better than what is chosen likewise from
# neurons (single coordinates), principal components (directions of largest spread) or as many random
# directions as there are features. **Null.** No difference. **Controls.**
# `organism-habit`, where each word follows one cue (an audible property such as tempo) and no
# emotion is to be found, and `organism-shuffled`, whose words mean nothing, each with an SAE of its
# own.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
recipe = {}  # what differs from that of chapter 10's SAE (lib.book.chapter.Recipe)
n = 36  # prompts for each emotion
seconds = 3.0
permutations = 500
beside = ["organism-habit", "organism-shuffled"]
null_subjects = 100
seed = 700

# %%
import pandas as pd
from IPython.display import Markdown

from lib import activations, features, harvest, prompts, results, sae, show, stats
from lib.book import chapter, doubts, rules
from lib.sae import bases

models = chapter.models(model, beside)
m = models[model]
sites = {name: activations.at(singer, depth) for name, singer in models.items()}

# %% [markdown]
# The model's SAE is that of [chapter 10](10_train_saes), the best of several seeds. Those beside it
# have one seed each: labels that mean nothing could not choose among several.

# %%
dictionaries = {}
for name, singer in models.items():
    one_seed = {} if name == model else {"seeds": 1}
    how = {**recipe, **one_seed}
    dictionaries[name] = chapter.dictionary(singer, sites[name], **how)

# %%
tables = {
    name: prompts.crossed("implied", n, chapter.language(name)) for name in models
}
unheard = {"seed": seed, "keep": True, "decode": False}
sung = {
    name: singer.generate(list(tables[name]["prompt"]), seconds, **unheard)
    for name, singer in models.items()
}

# %% [markdown]
# ## Features and what they are held against
#
# A feature's activation in a song is averaged over frames (moments). So are coordinates along
# neurons, principal components of the activations that the SAE learned from, and random directions.

# %%
directions = {}
for name, found in dictionaries.items():
    decoder = found.sae.W_dec.detach().cpu().numpy()
    others = bases.comparisons(found.learned, len(decoder))
    directions[name] = {"features": decoder, **others}


# %%
def along(name, acts):
    """Mean activation of every feature and coordinate along every direction, in each clip."""
    activity = {"features": sae.activity(dictionaries[name].sae, acts)[0]}
    mean = acts.mean("frame").values
    for basis, vectors in list(directions[name].items())[1:]:
        activity[basis] = mean @ vectors.T
    return activity


def answers(name, clips, stream="cond"):
    """The same for clips of a model."""
    site = sites[name]
    return along(
        name, activations.capture(models[name], clips, site, stream=stream)[site]
    )


activity = {name: answers(name, sung[name]) for name in models}

# %% [markdown]
# ## What the rules say
#
# The families of each emotion are halved. On one half, the feature (of either sign) that tells the
# emotion's songs best is chosen. On the other it is judged, family by family, against songs of
# other emotions' words that had no part in the choice. Then the halves change places, and all is
# repeated with other halves. The score is the *AUROC*: the chance that a song of the family has
# more of the feature than one of another emotion.

# %% tags=["main"]
told = {
    name: features.excess(activity[name], table["emotion"], table["family"])
    for name, table in tables.items()
}
areas = {
    f"{name}: {basis}": stats.mean(found[basis])
    for name, found in told.items()
    for basis in activity[name]
}
show.estimates(
    areas,
    "One feature, chosen on other words of its emotion (dotted: guessing)",
    "AUROC",
    bar=0.5,
)

# %% [markdown]
# Right of the dotted line is better than guessing, but what counts is whether *features* lie right
# of a model's other directions, with their 95 % confidence intervals.

# %%
numbers = {name: {"features": found["excess"]} for name, found in told.items()}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(
    rules.beside(rules.table(verdicts)),
    "Single features beyond the best other basis",
)

# %% [markdown]
# Each point is a model, in units of the smallest effect that matters: an interval right of the
# solid zero that reaches the dotted line is a "yes", one left of the dotted line a "no".
#
# How far can that be trusted? Null subjects are the model's own songs, with families dealt to
# emotions at random and everything chosen anew.

# %%
table = tables[model]
emotion_of = table.groupby("family")["emotion"].first()


def dealt(rng):
    """A null subject: families dealt to emotions at random."""
    emotions = dict(zip(emotion_of.index, rng.permutation(emotion_of), strict=True))
    random = table["family"].map(emotions)
    found = features.excess(activity[model], random, table["family"])
    return {"features": found["excess"]}


show.table(rules.trust(numbers[model], dealt, null_subjects))

# %% [markdown]
# As in [chapter 3](03_emotion_geometry), *false positives* should be below 0.05, *coverage* near
# 0.95, and a "no" needs a *power* of 0.8.
#
# ## How many are selective?
#
# As before, features count that tell one emotion's songs from all others with an AUROC of at least
# 0.7, beyond chance. (Labels are permuted over families, with at most 5 % false discoveries
# expected over all features and emotions.) *Distinct* counts those that behave or point alike as
# one.

# %%
counted = [
    features.counts(
        activity[name],
        directions[name],
        table["emotion"],
        table["family"],
        permutations,
    ).assign(model=name)
    for name, table in tables.items()
]
ordered = ["model", "basis", "features", "selective", "distinct", "classes"]
title = "Selective for some emotion; and for how many of them (classes)"
show.table(pd.concat(counted)[ordered], title)

# %% [markdown]
# Only a surplus of *selective* over directions that nobody trained says something about features;
# *classes* is how many emotions have one.
#
# ## One thing, or a mixture of cues?
#
# How many cues does a feature answer to, for what the other cues do not explain? Cues are known of
# the music that the SAE was made with (without a known world, they are measured). Sparse
# activations look simpler than they are, so every other direction is cut to be active in as many
# clips as some feature is. Only unseen clips count, and only features of which the cues explain a
# tenth of the variance or more.


# %%
def one_thing(name):
    """How many cues features and other directions answer to, on held-out music."""
    found = dictionaries[name]
    held_out = along(name, found.acts[sites[name]][found.cut :])
    cues = found.labels[found.cut :][list(harvest.CUES)]
    table = features.one_thing(held_out, cues, directions[name])
    return table.assign(model=name)


things = pd.concat([one_thing(name) for name in models])
ordered = ["model", "basis", "features", "answering", "distinct", "causes"]
show.table(
    things[ordered], "How many of six cues a direction answers to (1: one alone)"
)

# %% [markdown]
# *Answering* is how many pass that mark, *causes* how many of the six cues one of them answers to
# on average: the nearer to 1, the more a direction is about one thing.
#
# ## The word, the sound, or both?
#
# The features that tell an emotion best in the songs above are asked about the **sound alone** (the
# same songs, replayed without text) and the **word alone** (one song made for no emotion, replayed
# under every prompt). They were chosen on all songs, so *as sung* flatters.

# %%
table = tables[model]
plain = prompts.crossed("neutral", 1, chapter.language(model))
neutral = m.generate(list(plain["prompt"]), seconds, **unheard)
same = neutral[[0] * len(table)].under(list(table["prompt"]))
heard = {
    "as sung": activity[model]["features"],
    "sound alone": answers(model, sung[model], "uncond")["features"],
    "word alone": answers(model, same)["features"],
}
areas = {
    how: features.selectivity(x, table[["emotion"]]) for how, x in heard.items()
}

# %%
strongest = areas["as sung"].idxmax()
rows = [
    {
        "emotion": e,
        "feature": i,
        **{how: area.loc[i, e] for how, area in areas.items()},
    }
    for e, i in strongest.items()
]
rows = pd.DataFrame(rows)
found = dictionaries[model]
if "valence" in found.labels:
    x = sae.activity(found.sae, found.acts[sites[model]][found.cut :])[0]
    kinds = features.category_or_axes(x[:, strongest], found.labels[found.cut :])
    rows = rows.assign(axes=kinds["axes"], name=kinds["gain"], cues=kinds["cues"])
show.table(rows, f"{model}: AUROC under each condition, and shares of variance")

# %% [markdown]
# A feature with a high AUROC for sound alone hears; for word alone, it has read; for both, it joins
# them, which is what "holding an emotion" asks for. Where the world is known, *axes* is how much of
# its activation *valence* (pleasant or not) and *arousal* (excited or calm) explain, *name* what
# the emotion's name adds, and *cues* how many cues it tells high from low. A feature that follows
# the axes and gains nothing from the name stands for a place on a plane, not for a category.
#
# ## What it means
#
# An SAE has found an emotion if one of its features tells it for words that had no part in the
# choice, and no neuron, component or random direction does as well. Where random directions do, the
# site holds the emotion, or the sound of it, but not as one thing.
#
# **What would change our mind.** The same excess in `organism-habit`, whose features can be about
# cues only; any in `organism-shuffled`.

# %%
doubts.told(
    {
        "single features are ahead in `organism-habit`, too": doubts.there(
            verdicts, "organism-habit"
        ),
        "they are in `organism-shuffled`": doubts.there(
            verdicts, "organism-shuffled"
        ),
    }
)

# %%
question = "How many cues does a feature answer to?"
causes = things[things["basis"] == "features"].set_index("model")["causes"]
sizes = [
    results.finding(question, name, "of six", causes[name])
    for name in models
    if causes[name] is not None
]
question = "How well does one feature tell an emotion for words never chosen on?"
sizes += [
    results.finding(question, name, "AUROC", stats.mean(told[name]["features"]))
    for name in models
]
results.record("12_monosemanticity", m, [*rules.findings(verdicts), *sizes])

# %%
Markdown(rules.in_words(verdicts))
