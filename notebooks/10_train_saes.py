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
# **Question.** A vector in the residual stream mixes everything that the model knows at one moment. Is it a sum of a few
# features that each mean one thing, and does the model work with that sum?
#
# A **sparse autoencoder** (SAE) is trained to write every vector as a sum of few directions out of many (Bricken et al.
# 2023). The first study planned one on a hundred text embeddings and never trained it. Here it is trained on every frame
# of music whose causes are known, so that what it finds can be checked.
#
# **Bars, set beforehand**, for `organism`: at most 32 active features explain 85 % of the variance; the model that runs on
# the reconstruction keeps 90 % of what it knows (*loss recovered*); fewer than 5 % of the features are dead; for four of
# six cues and three of five emotions there is a single feature with AUROC ≥ 0.85 on unseen clips, better than the best
# neuron and the best principal component. **Controls.** Neurons, principal components and random directions, kept as
# sparse; other seeds; the same on `organism-shuffled`.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
clips = 3000  # half to learn from, half to judge by
seconds = 4.0
width = 1024
k = 30
passes = 8
seeds = 3
clips_judged = 48  # held-out clips, for the loss
sweep_clips = 200  # clips and width of the brief trainings of the sweep
sweep_width = 384
sweep_sparsity = [12, 30]

# %%
import tempfile

import numpy as np
import pandas as pd
import torch

from lib import activations, features, harvest, results, sae, show
from lib import model as musicgen
from lib.organism import captions

m = musicgen.load(model)
site = activations.at(m, depth)

# %% [markdown]
# ## Data
#
# Clips of the model's world, each under its own caption, and the residual stream of three blocks at every frame, kept in
# a store that is read piece by piece.

# %%
heard, labels = harvest.clips(m, clips, seconds=seconds)
acts = harvest.acts(m, heard, site)
residual = sum(acts[s][..., 0].size for s in acts if s != "text")
tokens = int(np.isfinite(acts["text"].values[..., 0]).sum())
print(f"{residual:,} residual vectors, {tokens:,} text tokens in context")
cut = clips // 2
train = np.arange(clips) < cut

# %% [markdown]
# ## Training
#
# `sae-lens` trains; activations are shuffled across clips and brought to mean 0 and scale 1, and both are folded back
# into the weights. BatchTopK (Bussmann et al. 2024) lets a frame use more features where there is more to say. Three
# seeds are trained; the one whose single features tell the causes best, on the clips it learned from, is chosen.

# %%
learned = acts[site][:cut]
saes = [sae.trained(m, learned, width, k, passes, seed) for seed in range(seeds)]
saes = sae.best_first(saes, learned, labels[:cut])
s = saes[0]

# %% [markdown]
# What is kept is an SAE in the format of `sae-lens`, on the activations as they are: nothing of this book is needed to
# read it.

# %%
import sae_lens

with tempfile.TemporaryDirectory() as folder:
    s.save_model(folder)
    again = sae_lens.SAE.load_from_disk(folder)
print(f"{again.cfg.d_in} → {again.cfg.d_sae}", again.cfg.metadata.training)

# %% [markdown]
# ## How good are they?
#
# Every architecture at several sparsities, trained briefly; then the long-trained ones, and what needs no training. All
# are judged on clips that none has seen: their reconstruction takes the site's place while the model predicts the music.


# %%
def judged(s, m=m):
    """The table's row, on clips that were not learned from."""
    return sae.evaluate(s, m, site, heard[-clips_judged:])


def brief(architecture, width, sparsity):
    """A short training; the sparsity of `standard` follows from its penalty instead."""
    aim = {"l1": 36 / sparsity} if architecture == "standard" else {"k": sparsity}
    return sae.train(
        acts[site][:sweep_clips], architecture, width, **aim, passes=passes
    )


# %%
kinds = [(a, sweep_width) for a in sae.ARCHITECTURES]
kinds += [("batchtopk", sweep_width // 4)]
sweep = {
    f"{kind} {w}": [judged(brief(kind, w, l0)) for l0 in sweep_sparsity]
    for kind, w in kinds
}
for kind in ("neurons", "pca", "random"):
    sweep[kind] = [judged(sae.Basis(learned, kind, l0)) for l0 in sweep_sparsity]
chosen = judged(s)

# %%
show.curves(
    {
        name: ([r["l0"] for r in rows], [r["loss_recovered"] for r in rows])
        for name, rows in {**sweep, "chosen": [chosen]}.items()
    },
    "Sparsity against loss recovered (dotted: the bar)",
    "active features (L0)",
    "loss recovered",
    bar=0.9,
)

# %% [markdown]
# The same recipe on `organism-shuffled`, whose music is the same and whose captions mean nothing, shows what an SAE looks
# like where words cannot matter.

# %%
other = musicgen.load("organism-shuffled")
heard_other, _ = harvest.clips(other, clips, seconds=seconds)
acts_other = harvest.acts(other, heard_other, site)
s_other = sae.trained(other, acts_other[site][:cut], width, k, passes)
rows = {
    f"batchtopk, another seed {i}": judged(x) for i, x in enumerate(saes[1:], 1)
}
rows = {"batchtopk, chosen": chosen, **rows}
rows |= {f"{name}, brief": r for name, found in sweep.items() for r in found[-1:]}
rows["batchtopk on organism-shuffled"] = sae.evaluate(
    s_other, other, site, heard_other[-clips_judged:]
)
show.table(
    pd.DataFrame(rows).T.rename_axis("SAE").reset_index(),
    f"Held-out clips; loss in nats a token; {site}",
)

# %% [markdown]
# ## Do they find the causes?
#
# For each cue, and each emotion that a caption names, the best single feature is chosen on the learning clips and scored on the others, beside the
# best neuron and the best principal component chosen in the same way. An advantage counts if its interval excludes 0.

# %%
activity, table = sae.activity(s, acts[site])
compared = {
    "SAE": activity,
    "neuron": sae.activity(sae.Basis(learned, "neurons", k), acts[site])[0],
    "pca": sae.activity(sae.Basis(learned, "pca", k), acts[site])[0],
}
recovered = features.recovery(compared, labels, train)
show.table(recovered, "AUROC on unseen clips")

# %%
show.estimates(
    {
        f"{r.target}: {what}": getattr(r, what)
        for r in recovered.itertuples()
        for what in compared
    },
    "Best single feature, neuron and principal component on unseen clips (dotted: the bar)",
    "AUROC",
    bar=0.85,
)

# %% [markdown]
# ## Would another seed find the same?
#
# Each feature's partner in every other seed, one to one; the cosine of their directions. Only features that all seeds
# find are given a name in the next chapters. Random directions show what chance gives.

# %%
directions = [x.W_dec.detach().numpy() for x in saes]
stable = np.min(
    [features.matched(directions[0], d) for d in directions[1:]], axis=0
)
chance = features.matched(
    directions[0], np.random.default_rng(0).normal(size=directions[0].shape)
)
show.histogram(
    {"other seeds": stable, "random directions": chance},
    "Cosine of each feature with its partner",
    "cosine",
)

# %% [markdown]
# ## Text
#
# An SAE on the text encoder's output, one vector a token in its caption. Is there one feature for an emotion's words, are
# there several (*splitting*), or is the feature silent on some word because another has taken it over (*absorption*;
# Chanin et al. 2024)?

# %%
words, vectors = harvest.words(m, heard, acts["text"])
s_text = sae.trained(m, acts["text"][:cut], width // 4, k / 3, 4 * passes)
fired = s_text.encode(torch.from_numpy(vectors)).detach().numpy()
show.table(
    pd.DataFrame(
        {
            "emotion": e,
            **features.absorbed(
                fired, s_text.W_dec.detach().numpy(), vectors, words, family
            ),
        }
        for e, family in captions.EMOTION_WORDS.items()
        if set(family) & set(words)
    ),
    "Features of the text encoder's output, by emotion",
)

# %% [markdown]
# ## Are the bars met?


# %%
def told(targets):
    """Which of these one feature tells, better than any neuron or component."""
    rows = recovered[recovered["target"].isin(targets)].to_dict("records")
    beyond = ("beyond neuron", "beyond pca")
    return [
        r["target"]
        for r in rows
        if r["SAE"].value >= 0.85 and all(r[b].low > 0 for b in beyond)
    ]


# %%
cues = told([f"{cue} high" for cue in harvest.CUES])
emotions = told(set(labels["emotion"]))
lost = chosen["loss_recovered"]
bars = [
    ("active features", f"{chosen['l0']:.1f}", "≤ 32", chosen["l0"] <= 32),
    ("explained variance", f"{chosen['explained_variance']:.2f}", "≥ 0.85", chosen["explained_variance"] >= 0.85),
    ("loss recovered", str(lost), "≥ 0.90", lost.value >= 0.90),
    ("dead features", f"{chosen['dead']:.3f}", "< 0.05", chosen["dead"] < 0.05),
    ("cues with a feature", ", ".join(cues), "4 of 6", len(cues) >= 4),
    ("emotions with a feature", ", ".join(emotions), "3 of 5", len(emotions) >= 3),
]  # fmt: skip
show.table(pd.DataFrame(bars, columns=["what", "found", "bar", "met"]))

# %% [markdown]
# ## What it means
#
# If the bars are met, most of what the block carries is a sum of few directions, the model works almost as well with
# that sum, and some of its terms are things a listener would name. A cue without a feature of its own is not absent: a
# component or a neuron may hold it, or several features share it.
#
# **What would change our mind.** Random directions or single neurons that tell the causes as well; features that no
# other seed finds.

# %%
question = "Does the model work with sparse features in place of a block?"
judged = {model: chosen, other.name: rows["batchtopk on organism-shuffled"]}
findings = []
for name, row in judged.items():
    lost = row["loss_recovered"]
    findings.append(results.finding(question, name, lost.value >= 0.9, lost))
results.record("10_train_saes", model, findings)
