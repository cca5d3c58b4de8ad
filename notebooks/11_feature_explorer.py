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
# # What does each feature respond to?
#
# **Question.** If features mean something, it should be heard. Choose a feature, and listen to the music that excites it
# most, middling and least: the cursor runs over the spectrum and over the feature's activation together.
#
# **How labels are made.** Each feature is labelled by the cue or emotion it tells best on half of the clips, and
# the label is scored on the others: the AUROC with which the label predicts the feature on clips that had no part in
# choosing it. **Null.** Labels given to random directions in the same way. A feature has no label if it scores below
# 0.7, or if another seed does not find it.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
clips = 3000  # half to learn from, half to judge by
seconds = 4.0
width = 1024
k = 30
passes = 8
seeds = 3
shown = 96  # features on this page; any other in JupyterLab
pool = 64  # example clips that they share
clips_each = 4  # clips generated with each feature turned up
clips_training = 900  # corpus clips whose spread is the unit of each cue

# %%
import numpy as np

from lib import activations, explorer, features, harvest, results, sae, show, stats
from lib import model as musicgen

m = musicgen.load(model)
site = activations.at(m, depth)
heard, labels = harvest.clips(m, clips, seconds=seconds)
acts = harvest.acts(m, heard, site)[site]
cut = clips // 2
train = np.arange(clips) < cut
saes = [sae.trained(m, acts[:cut], width, k, passes, seed) for seed in range(seeds)]
saes = sae.best_first(saes, acts[:cut], labels[:cut])
s = saes[0]

# %% [markdown]
# ## Labels

# %%
activity, density = sae.activity(s, acts)
areas = features.selectivity(activity[train], labels[train])
named = features.name(activity, labels, train)
directions = [x.W_dec.detach().numpy() for x in saes]
stable = np.min(
    [features.matched(directions[0], d) for d in directions[1:]], axis=0
)
unnamed = (named["held_out"] < features.SELECTIVE) | (stable < features.STABLE)
random = sae.activity(sae.Basis(acts[:cut], "random", int(k)), acts)[0]
null = features.name(random, labels, train)
show.histogram(
    {"features": named["held_out"], "random directions": null["held_out"]},
    "How well a label predicts activation on unseen clips",
    "AUROC",
)

# %%
for name, held in (("features", named), ("random directions", null)):
    print(
        f"{name}: {(held['held_out'] >= features.ANSWERS).mean():.1%} hold a label"
    )

# %% [markdown]
# A random direction mixes everything that is going on and is never silent, so it tells most cues a little. Features are
# to be judged by the upper end: does a sparse one stand for something by itself? Most answer to details of the sound that
# no cue names.
#
# ## Explore
#
# In the picture below the list every dot is a feature, near those whose directions are similar (UMAP: who is near whom,
# not how far). Coloured dots are on this page. Clips are those that had no part in learning or labelling. *Turned up*
# adds the feature's direction to every frame while a few clips are made from neutral prompts, as strongly as it is ever
# active, and measures what changes against the same clips without it.

# %%
named.loc[unnamed, "label"] = ""
best = np.where(unnamed, -1, named["held_out"]) - (density["density"] == 0)
chosen = [int(f) for f in np.argsort(-best, kind="stable")[:shown]]


def turned(which):
    """What these features do, measured by editing the running model."""
    return sae.effects(
        s, m, site, heard, activity, which, clips_each, training=clips_training
    )


explorer.Explorer(
    s, acts[cut:], heard.prompts[cut:],
    lambda rows: (m.decode(heard.tokens[cut:][rows]), m.sample_rate),
    areas, named, density["density"], chosen, stable, turned, pool,
)  # fmt: skip

# %% [markdown]
# ## What it means
#
# Labels that hold on unseen clips, for features that other seeds find too, are more than stories told about pictures.
# They still say what a feature *goes with*; whether the model uses it, "turned up" says: a feature labelled *fast* whose
# music does not become faster is a thermometer, not a stove.
#
# **What would change our mind.** Random directions whose labels hold as well.

# %%
holds = stats.proportion(~unnamed)
question = (
    "How many features have a label that holds on unseen clips and in every seed?"
)
answer = f"{int((~unnamed).sum())} of {len(named)}"
results.record(
    "11_feature_explorer", model, [results.finding(question, model, answer, holds)]
)
