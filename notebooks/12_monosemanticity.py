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
# **Question.** Is there a feature for *sad*, or are there features for slow, soft and minor, of which sad music has many?
# And does a feature answer to the word, to the sound, or to both?
#
# **Method.** The model sings for emotion words that never name a cue. A feature is *selective* for an emotion if its
# activation tells that emotion's clips from all others beyond chance: labels are permuted over whole lexical families,
# and the false-discovery rate is controlled over all features and emotions (5 %), with AUROC ≥ 0.7. **Null and control:**
# `organism-shuffled`, whose words mean nothing, must have no selective feature beyond that rate. The original study's
# criterion (mean activation of one emotion at least twice the mean of all) stands beside it: it has no null.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
clips = 3000  # half to learn from, half to judge by
width = 1024
k = 30
passes = 8
seeds = 3
n = 36  # prompts for each emotion
seconds = 4.0
permutations = 500
seed = 700

# %%
import numpy as np
import pandas as pd

from lib import activations, features, harvest, prompts, results, sae, show, stats
from lib import model as musicgen
from lib.organism import world

names = [model] if model not in world.WORLDS else [model, "organism-shuffled"]
names = list(dict.fromkeys(names))
models = {name: musicgen.load(name) for name in names}
site = activations.at(models[model], depth)
language = "organism" if model in world.WORLDS else "natural"

# %%
saes, learned = {}, {}
for name, m in models.items():
    heard, labels = harvest.clips(m, clips, seconds=seconds)
    acts = harvest.acts(m, heard, site)[site]
    cut = clips // 2
    train = np.arange(clips) < cut
    # only the model's chosen seed matters here; the shuffled organism's labels could not choose
    some = range(seeds if name == model else 1)
    tried = [sae.trained(m, acts[:cut], width, k, passes, seed) for seed in some]
    saes[name] = sae.best_first(tried, acts[:cut], labels[:cut])[0]
    learned[name] = (acts, labels, train)

# %% [markdown]
# ## Selective features

# %%
implied = prompts.crossed("implied", n, language)
sung = {
    name: m.generate(list(implied["prompt"]), seconds, seed, keep=True)
    for name, m in models.items()
}


def answers(name, clips, stream="cond"):
    """Mean activation of every feature in each clip."""
    acts = activations.capture(models[name], clips, site, stream=stream)[site]
    return sae.activity(saes[name], acts)[0]


# %%
found = {
    name: features.selective(
        answers(name, sung[name]),
        implied["emotion"],
        implied["family"],
        permutations,
    )
    for name in models
}
# %%
counts = pd.DataFrame(
    {
        "model": name,
        "emotion": emotion,
        "selective": int(t["selective"].sum()),
        "beyond the largest of the null": int(
            (t["selective"] & t["beyond_max"]).sum()
        ),
        "original's criterion": int((t["ratio"] >= features.ORIGINAL_CUT).sum()),
        "best AUROC": t["auroc"].max(),
    }
    for name, all_of in found.items()
    for emotion, t in all_of.groupby("class", sort=False)
)
show.table(
    counts,
    "The original study hoped for 50 selective features an emotion, by a cut of 2 on the ratio of means",
)

# %% [markdown]
# ## The word, the sound, or both?
#
# The same features under four conditions: the emotion's own **name** in the prompt; only its **cues** in the prompt; the
# **sound alone** (the clips above, replayed without text); the **word alone** (music made for no emotion, replayed under
# every prompt).

# %%
m = models[model]


def sing(kind, first):
    """Prompts of one kind, and the model's clips of them."""
    table = prompts.crossed(kind, n if kind != "neutral" else 1, language)
    return m.generate(list(table["prompt"]), seconds, first, keep=True), table


# %%
neutral, _ = sing("neutral", seed)
same = neutral[[0] * len(implied)].under(list(implied["prompt"]))
conditions = {
    "implied": (sung[model], implied, "cond"),
    "name": (*sing("name", seed + 5000), "cond"),
    "cues": (*sing("cues", seed + 9000), "cond"),
    "sound alone": (sung[model], implied, "uncond"),
    "word alone": (same, implied, "cond"),
}
heard_in = {
    name: features.selectivity(answers(model, c, stream), t[["emotion"]])
    for name, (c, t, stream) in conditions.items()
}

# %%
selective = found[model][found[model]["selective"]]
strongest = (
    selective.sort_values("auroc", ascending=False)
    .groupby("class", sort=False)
    .head(3)
)
show.table(
    pd.DataFrame(
        {
            "feature": r.feature,
            "emotion": r._2,
            **{c: a.loc[r.feature, r._2] for c, a in heard_in.items()},
        }
        for r in strongest.itertuples()
    ),
    "AUROC of the three most selective features of each emotion, under each condition",
)

# %%
pairs = [(r.feature, r._2) for r in selective.itertuples()]
sound, word = (
    np.array([heard_in[c].loc[f, e] for f, e in pairs])
    for c in ("sound alone", "word alone")
)
kinds = np.select(
    [(sound >= 0.7) & (word >= 0.7), sound >= 0.7, word >= 0.7],
    ["both", "sound", "word"],
    "neither alone",
)
show.table(
    pd.crosstab(
        selective["class"].to_numpy(), kinds, rownames=["emotion"], colnames=[None]
    ).reset_index(),
    "Selective features by what excites them (AUROC of at least 0.7)",
)

# %% [markdown]
# ## One thing, or a mixture of cues?
#
# On the world's own music the causes are known. For each selective feature: how much of its activation follows from
# valence and arousal, how much the emotion's name adds to them, and how many cues it answers to (AUROC of at least 0.85).
# A feature for an emotion as a *category* would gain from the name.

# %%
acts, labels, train = learned[model]
activity, _ = sae.activity(saes[model], acts)
some = selective["feature"].unique()
show.table(
    features.category_or_axes(activity[:, some], labels)
    .assign(feature=some)
    .sort_values("gain", ascending=False)
    .head(12),
    "Share of variance explained, where the name adds most (clips whose caption names an emotion)",
) if "valence" in labels else None

# %% [markdown]
# ## What it means
#
# A feature that answers to the sound alone hears; one that answers to the word alone has read; one that answers to both
# joins them, which is what "holding an emotion" asks for. A feature whose activation follows from valence and arousal,
# and gains nothing from the emotion's name, stands for a place on a plane, not for a category.
#
# **What would change our mind.** Selective features in `organism-shuffled`, or selective features that vanish for
# lexical families that had no part in choosing them.

# %%
question = "Is there a selective feature for three of five emotions?"
findings = []
for name in names:
    some = counts[(counts["model"] == name) & (counts["selective"] > 0)]
    share = stats.proportion([e in set(some["emotion"]) for e in show.COLORS])
    enough = share.value >= 0.6
    findings.append(results.finding(question, name, enough, share, "features"))
results.record("12_monosemanticity", model, findings)
