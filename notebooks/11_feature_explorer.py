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
# **Question.** If a model's features mean something, can one hear what?
#
# **Why it matters.** A feature is one of the many directions from which the sparse autoencoder
# (SAE) of [chapter 10](10_train_saes) builds what the model holds at a moment. Labels for features
# are easy to make up, so they must be tested.
#
# **How labels are made.** Each feature is labelled by the cue (an audible property such as tempo)
# or emotion that it tells best on the clips that the SAE learned from. On others it is scored by its
# *AUROC*: the chance that the feature is more active in a clip that the label fits than in another
# (0.5 is guessing, 1 perfect). **Null.** Labels given to random directions in the same way. A
# feature has no label if it scores below 0.7, or if an SAE from another seed (random start) does
# not find it.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
recipe = {}  # what differs from that of chapter 10's SAE (lib.book.chapter.Recipe)
shown = 96  # features on this page; any other in JupyterLab
pool = 64  # example clips that they share
clips_each = 4  # clips generated with each feature turned up
clips_training = 900  # corpus clips whose spread is the unit of each cue

# %%
import numpy as np
from IPython.display import Markdown

from lib import activations, explorer, features, results, sae, show, stats
from lib import model as musicgen
from lib.book import chapter, doubts

m = musicgen.load(model)
site = activations.at(m, depth)
dictionary = chapter.dictionary(m, site, **recipe)
s = dictionary.sae
acts = dictionary.acts[site]
labels = dictionary.labels
train = dictionary.train

# %% [markdown]
# ## Labels

# %%
activity, statistics = sae.activity(s, acts)
density = statistics["density"]
areas = features.selectivity(activity[train], labels[train])
named = features.name(activity, labels, train)
stable = dictionary.stability()
unnamed = (named["held_out"] < features.SELECTIVE) | (stable < features.STABLE)
basis = sae.Basis(dictionary.learned, "random", int(dictionary.recipe.k))
null = features.name(sae.activity(basis, acts)[0], labels, train)
show.histogram(
    {"features": named["held_out"], "random directions": null["held_out"]},
    "How well a label predicts activation on unseen clips",
    "AUROC",
)

# %%
for name, table in (("features", named), ("random directions", null)):
    share = (table["held_out"] >= features.ANSWERS).mean()
    print(f"{name}: {share:.1%} hold a label")

# %% [markdown]
# A label further right holds better on unseen clips. A random direction is never silent and mixes
# all that goes on, so it tells most cues a little. Compare the outlines at their upper end, where a
# sparse feature would stand for something by itself. Most features answer to details of the sound
# that no cue names.
#
# ## Explore
#
# Choose a feature and listen to the music that excites it most, middling and least; the cursor runs
# over spectrum and activation together. These clips had no part in learning or labelling. Below the
# list every dot is a feature, near those whose directions are similar (t-SNE: who is near whom, not
# how far); coloured dots are on this page. *Turned up* adds the feature's direction, as strongly as
# it is ever active, to every frame of clips made from neutral prompts, and measures what changes.

# %%
named.loc[unnamed, "label"] = ""
best = np.where(unnamed, -1, named["held_out"]) - (density == 0)
chosen = [int(f) for f in np.argsort(-best, kind="stable")[:shown]]
cut = dictionary.cut
clips = dictionary.clips


def listen(rows):
    """Audio of some of the held-out clips."""
    return m.decode(clips.tokens[cut:][rows]), m.sample_rate


def turn_up(which):
    """What these features do, measured by editing the running model."""
    return sae.effects(
        s, m, site, clips, activity, which, clips_each, training=clips_training
    )


# %%
explorer.Explorer(
    s,
    acts[cut:],
    clips.prompts[cut:],
    listen,
    areas,
    named,
    density,
    chosen,
    stable,
    turn_up,
    pool,
)

# %% [markdown]
# A label is right if the clips that excite the feature most have what it names, and those that
# excite it least lack it.
#
# **Exercise.** Choose a feature whose label names a cue, listen, and then look at *Turned up*. Does
# the music change in that cue?
#
# <details>
# <summary>Answer</summary>
#
# If the cue's interval lies on the label's side of 0, pushing the feature moves what it goes with.
# If it holds 0, the feature may only report what is heard, as a thermometer reports heat and does
# not make it.
#
# </details>
#
# ## What it means
#
# A label that holds on unseen clips, for a feature that other seeds find too, is more than a story
# told about a picture. It still says only what a feature *goes with*; *turned up* says what it
# does.
#
# **What would change our mind.** Random directions whose labels hold as well.

# %%
hold, by_chance = (
    stats.proportion(table["held_out"] >= features.ANSWERS)
    for table in (named, null)
)
doubts.told(
    {"labels of random directions hold as well": doubts.as_much(by_chance, hold)}
)

# %%
holds = stats.proportion(~unnamed)
question = (
    "How many features have a label that holds on unseen clips and in every seed?"
)
answer = f"{int((~unnamed).sum())} of {len(named)}"
finding = results.finding(question, model, answer, holds)
results.record("11_feature_explorer", m, [finding])

# %%
doubt = "has happened" if by_chance.value >= hold.value else "has not happened"
Markdown(
    f"**Verdict.** {answer} features of {model} have a label that holds on unseen clips and in every "
    f"seed. What would change our mind {doubt}: labels tell nearly always (AUROC of at least "
    f"{features.ANSWERS}) for {hold.value:.1%} of features and for {by_chance.value:.1%} of random "
    "directions, which are never silent."
)
