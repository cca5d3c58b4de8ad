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
# # Which features does the model use?
#
# **Question.** At each moment a model holds one vector that mixes everything it knows. Is it a sum
# of a few features that each mean one thing, and does the model work with that sum?
#
# **Why it matters.** If so, one could ask what each feature stands for, and whether one is an
# emotion.
#
# **How it is done.** A **sparse autoencoder** (SAE) is a network that learns to write every vector
# as a sum of few directions out of many (Bricken et al. 2023): its features, together its
# *dictionary*. The first study planned one and never trained it. Here it is trained on every frame
# of music whose causes are known, so that what it finds can be checked.
#
# **Bars**, thresholds that were set beforehand, for `organism`:
#
# - at most 32 active features at a time (*L0*) explain 85 % of the variance;
# - the model that runs on the reconstruction keeps 90 % of what it knows (*loss recovered*);
# - fewer than 5 % of the features are dead (never active);
# - for four of six cues (audible properties such as tempo) and three of five emotions, a single
#   feature has an AUROC of 0.85 or more on unseen clips, and more than the best neuron and the best
#   principal component. (*AUROC* is the chance that a clip of the kind has more of the feature than
#   another clip: 0.5 is guessing, 1 perfect.)
#
# **Controls.** Neurons (single coordinates), principal components (directions of largest spread)
# and random directions, made as sparse; other seeds; the same on `organism-shuffled`, whose words
# mean nothing.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
recipe = {}  # what differs from lib.book.chapter.Recipe, shown below
clips_judged = 48  # held-out clips, for the loss
sweep_clips = 200  # clips and width of the brief trainings of the sweep
sweep_width = 384
sweep_sparsity = [12, 30]

# %%
import tempfile

import numpy as np
import pandas as pd
import sae_lens
import torch
from IPython.display import Markdown

from lib import activations, features, harvest, results, sae, show
from lib import model as musicgen
from lib.book import chapter
from lib.organism import captions

m = musicgen.load(model)
site = activations.at(m, depth)
dictionary = chapter.dictionary(m, site, **recipe)
plan = dictionary.recipe

# %% [markdown]
# ## Data
#
# Clips of the model's world, each under its own caption, give the residual stream of three blocks
# at every frame. The SAE learns from the first three quarters and is judged on the rest.

# %%
clips = dictionary.clips
labels = dictionary.labels
acts = dictionary.acts
residual = sum(acts[name][..., 0].size for name in acts if name != "text")
tokens = int(np.isfinite(acts["text"].values[..., 0]).sum())
print(f"{residual:,} residual vectors, {tokens:,} text tokens in context")

# %% [markdown]
# ## Training
#
# `sae-lens` trains, on activations shuffled across clips and brought to mean 0 and scale 1.
# BatchTopK (Bussmann et al. 2024) lets a frame use more features where there is more to say. Of
# three seeds (random starts), the one whose single features tell the causes best on the learning
# clips is chosen. Chapters 11 to 14 and 40 read the same one.

# %%
s = dictionary.sae
show.table(plan.table(), "The recipe")

# %% [markdown]
# *width* is the number of features, *k* how many are active on average, and *passes* how often each
# vector is seen.
#
# The SAE is kept in the format of `sae-lens`, for the activations as they are: nothing of this book
# is needed to read it.

# %%
with tempfile.TemporaryDirectory() as folder:
    s.save_model(folder)
    again = sae_lens.SAE.load_from_disk(folder)
print(f"{again.cfg.d_in} → {again.cfg.d_sae}", again.cfg.metadata.training)

# %% [markdown]
# ## How good are they?
#
# Every architecture is trained briefly at several sparsities; beside these stand the long-trained
# SAEs and what needs no training. On unseen clips, each reconstruction takes the site's place while
# the model predicts the music.


# %%
def judge(s):
    """The table's row, on clips that were not learned from."""
    return sae.evaluate(s, m, site, clips[-clips_judged:])


def train_briefly(kind, width, sparsity):
    """A short training; the sparsity of `standard` follows from its penalty instead."""
    aim = {"l1": 36 / sparsity} if kind == "standard" else {"k": sparsity}
    few = acts[site][:sweep_clips]
    return sae.train(few, kind, width, **aim, passes=plan.passes)


# %%
sweep = {}
for kind in sae.ARCHITECTURES:
    saes = [train_briefly(kind, sweep_width, k) for k in sweep_sparsity]
    sweep[f"{kind} {sweep_width}"] = [judge(s) for s in saes]
narrow = sweep_width // 4
saes = [train_briefly("batchtopk", narrow, k) for k in sweep_sparsity]
sweep[f"batchtopk {narrow}"] = [judge(s) for s in saes]
for kind in ("neurons", "pca", "random"):
    bases = [sae.Basis(dictionary.learned, kind, k) for k in sweep_sparsity]
    sweep[kind] = [judge(basis) for basis in bases]
chosen = judge(s)

# %%
show.curves(
    {
        name: ([row["l0"] for row in rows], [row["loss_recovered"] for row in rows])
        for name, rows in {**sweep, "chosen": [chosen]}.items()
    },
    "Sparsity against loss recovered (dotted: the bar)",
    "active features (L0)",
    "loss recovered",
    bar=0.9,
)

# %% [markdown]
# At 1 the model does all of its work, at 0 no more than with the mean in place of every vector.
# Look how steeply a line falls as fewer features are active, which is the price of sparsity.
#
# **Exercise.** Set `sweep_sparsity = [3, 12, 30]`. Where will the new points lie?
#
# <details>
# <summary>Answer</summary>
#
# To the left of the others, and almost surely lower: three directions cannot say as much as thirty.
# A level line would mean that three at a time are enough.
#
# </details>
#
# The same recipe on `organism-shuffled`, whose music is the same, shows an SAE where words cannot
# matter.

# %%
shuffled = musicgen.load("organism-shuffled")
control = chapter.dictionary(shuffled, site, **{**recipe, "seeds": 1})
rows = {"batchtopk, chosen": chosen}
for i, other in enumerate(dictionary.others, 1):
    rows[f"batchtopk, another seed {i}"] = judge(other)
for name, brief in sweep.items():
    rows[f"{name}, brief"] = brief[-1]
rows["batchtopk on organism-shuffled"] = sae.evaluate(
    control.sae, shuffled, site, control.clips[-clips_judged:]
)
show.table(
    pd.DataFrame(rows).T.rename_axis("SAE").reset_index(),
    f"Held-out clips; loss in nats a token; {site}",
)

# %% [markdown]
# *Loss* is how badly the next tokens are predicted, in nats (a unit of information) a token;
# *spliced* means with the reconstruction in place. Of two equally sparse SAEs, the better has the
# higher *loss recovered*.
#
# ## Do they find the causes?
#
# For each cue, and each emotion that a caption names, the best feature, neuron and principal
# component are chosen on the learning clips and scored on the others.

# %%
compared = {
    "SAE": s,
    "neuron": sae.Basis(dictionary.learned, "neurons", plan.k),
    "pca": sae.Basis(dictionary.learned, "pca", plan.k),
}
activities = {
    what: sae.activity(directions, acts[site])[0]
    for what, directions in compared.items()
}
recovered = features.recovery(activities, labels, dictionary.train)
show.table(recovered, "AUROC on unseen clips")

# %% tags=["main"]
show.estimates(
    {
        f"{row.target}: {what}": getattr(row, what)
        for row in recovered.itertuples()
        for what in compared
    },
    "Best single feature, neuron and principal component on unseen clips (dotted: the bar)",
    "AUROC",
    bar=0.85,
)

# %% [markdown]
# *Beyond* is the feature's advantage, which counts if its interval lies above 0; points right of
# the dotted line meet the bar.
#
# ## Would another seed find the same?
#
# Each feature has one partner in every other seed; the cosine says how far their directions agree
# (1: the same). Only features that all seeds find are named in the next chapters.

# %%
stable = dictionary.stability()
directions = s.W_dec.detach().cpu().numpy()
random = np.random.default_rng(0).normal(size=directions.shape)
chance = features.matched(directions, random)
show.histogram(
    {"other seeds": stable, "random directions": chance},
    "Cosine of each feature with its partner",
    "cosine",
)

# %% [markdown]
# The further *other seeds* lies right of *random directions* (chance), the more features are found
# again.
#
# ## Text
#
# Another SAE reads the text encoder's output, one vector a token in its caption. Is there one
# feature for an emotion's words, are there several (*splitting*), or is the feature silent on some
# word because another has taken it over (*absorption*; Chanin et al. 2024)?

# %%
words, vectors = harvest.words(m, clips, acts["text"])
text = acts["text"][: dictionary.cut]
s_text = sae.trained(m, text, plan.width // 4, plan.k / 3, 4 * plan.passes)
active = sae.encode(s_text, torch.from_numpy(vectors)).detach().numpy()
directions = s_text.W_dec.detach().cpu().numpy()
families = []
for emotion, family in captions.EMOTION_WORDS.items():
    if set(family) & set(words):
        row = features.absorbed(active, directions, vectors, words, family)
        families.append({"emotion": emotion, **row})
show.table(
    pd.DataFrame(families), "Features of the text encoder's output, by emotion"
)

# %% [markdown]
# *Main* is the feature that tells the emotion's words best, *recall* the share of words on which it
# is active, *splits* how many features cover all words, and *absorbed* the share that another has
# taken over.
#
# ## Are the bars met?


# %%
def with_a_feature(targets):
    """Which of these one feature tells, better than any neuron or component."""
    found = []
    for row in recovered[recovered["target"].isin(targets)].to_dict("records"):
        beyond = min(row["beyond neuron"].low, row["beyond pca"].low)
        if row["SAE"].value >= 0.85 and beyond > 0:
            found.append(row["target"])
    return found


# %%
cues = with_a_feature([f"{cue} high" for cue in harvest.CUES])
emotions = with_a_feature(set(labels["emotion"]))
l0 = chosen["l0"]
explained = chosen["explained_variance"]
lost = chosen["loss_recovered"]
dead = chosen["dead"]
bars = [
    ("active features", f"{l0:.1f}", "≤ 32", l0 <= 32),
    ("explained variance", f"{explained:.2f}", "≥ 0.85", explained >= 0.85),
    ("loss recovered", str(lost), "≥ 0.90", lost.value >= 0.90),
    ("dead features", f"{dead:.3f}", "< 0.05", dead < 0.05),
    ("cues with a feature", ", ".join(cues), "4 of 6", len(cues) >= 4),
    ("emotions with a feature", ", ".join(emotions), "3 of 5", len(emotions) >= 3),
]
show.table(pd.DataFrame(bars, columns=["what", "found", "bar", "met"]))

# %% [markdown]
# ## What it means
#
# If the bars are met, most of what the block carries is a sum of few directions, the model works
# almost as well with that sum, and a listener would name some of its terms. A cue without a feature
# of its own is not absent: a component or a neuron may hold it, or several features share it.
#
# **What would change our mind.** Random directions or single neurons that tell the causes as well;
# features that no other seed finds.

# %%
question = (
    "How much of the model's work is done with sparse features in a block's place?"
)
subjects = {model: chosen, shuffled.name: rows["batchtopk on organism-shuffled"]}
findings = []
for name, row in subjects.items():
    lost = row["loss_recovered"]
    findings.append(results.finding(question, name, "share", lost))
results.record("10_train_saes", m, findings)

# %%
missed = [what for what, _, _, met in bars if not met]
Markdown(
    f"**Verdict.** With {l0:.0f} active features of {s.cfg.d_sae}, the SAE explains {explained:.0%} of "
    f"the variance and keeps {chosen['loss_recovered']} of what {model} knows. Single features "
    f"tell {len(cues)} of {len(harvest.CUES)} cues and {len(emotions)} emotions better than any "
    f"neuron or component. Bars missed: {', '.join(missed) or 'none'}."
)
