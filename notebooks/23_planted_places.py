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
# # Can methods find the place?
#
# **Question.** The chapters before this one say *where* a word enters and which directions carry it. Is
# that true? In a network that was only trained nobody can know.
#
# **Method.** Two organisms were trained further so that what the text says of tempo, energy, mode, valence
# and arousal should take a declared way: two heads of one block's cross-attention read it, no other head
# does, and what they add to the residual stream lies in a subspace of eight dimensions of its own
# (*interchange intervention training*, helped by what heads are allowed to see and to write). They sing
# less well than the model that taught them (see the model card). The two have other places, so that no
# method can know the first by heart. First
# it is measured that everything is where it should be. Then each method gives all candidates a score,
# and the score is held against the truth: the area under the ROC curve (AUROC) is the chance that a
# true place is scored above another one, 0.5 by luck.
#
# **Hypothesis.** The best method has an AUROC of 0.8 or more in both organisms. **Control.** Random
# scores: 0.5. Reading is not using, so probes should do worse than methods that change something.

# %% tags=["parameters"]
model = "organism"  # whose book this is; what is asked are
planted = ["organism-planted", "organism-planted-2"]
n = 24  # pairs of prompts a variable
n_edges = 6  # pairs for the edges of circuits
n_verify = 32  # pairs to verify the planting by
least = 0.9  # accuracy below which a variable is not where it should be
seconds = 2.0
seed = 2300

# %%
import pandas as pd
from IPython.display import Markdown

from lib import results, show, stats
from lib.book import chapter
from lib.causal import circuits
from lib.methods import localisation
from lib.organism import planting

# %%
m = chapter.models(model, [])[model]
organisms = chapter.models(planted[0], planted[1:])
rows = [
    {
        "organism": name,
        "variable": variable,
        "enters by": ", ".join(place.entry_heads),
        "is added by": place.entry,
    }
    for name in organisms
    for variable, place in planting.PLACES[name].items()
]
show.table(pd.DataFrame(rows), "What was declared")

# %% [markdown]
# ## Is everything in its place?
#
# Interchange on prompts and songs of no lesson: what the heads (or their sublayer, in the subspace) add
# under another prompt is put in. The prediction nearest to the changed run, of those for four prompts, must be
# the counterfactual: that variable the other prompt's, all else the same. In half of the pairs the
# variable is the same, and nothing may change. A part that does nothing is right in half of all cases.
# *All other heads* must move everything else and leave the variable.


# %%
def verified(name):
    """Accuracy of what was planted, and of places beside it."""
    found = localisation.verify(organisms[name], n_verify, seed=seed)
    return found.assign(organism=name)


found_places = pd.concat([verified(name) for name in organisms])
parts = found_places.pivot(
    index=["organism", "variable"], columns="what", values="accuracy"
)
show.table(
    parts[list(dict.fromkeys(found_places["what"]))].reset_index(),
    "Interchange accuracy (of all other heads: everything else moved)",
)

# %% [markdown]
# Only what is confirmed can judge a method: variables that fall below `least` in any of the first three
# parts are left out from here on.

# %%
true = found_places[found_places["what"].isin(localisation.PLANTED)]
true = true.assign(value=[estimate.value for estimate in true["accuracy"]])
confirmed = true.groupby(["organism", "variable"])["value"].min()
left_out = [" of ".join(pair[::-1]) for pair in confirmed.index[confirmed < least]]
confirmed = confirmed[confirmed >= least]
print("left out:", ", ".join(left_out) or "none")

# %% [markdown]
# ## Who finds it?
#
# Candidates are the 30 heads of cross-attention (two are true), 160 axes of what their sublayer adds
# (eight are true; no axis of the network's own is one of them) and the blocks.


# %%
def asked(singer, variable, sung):
    """All scores of one variable."""
    small = {"clips": 300, "seconds": 2.0, "width": 512, "seeds": 1}
    site = planting.place(singer.name, variable).entry
    sae = chapter.dictionary(singer, site, **small).sae
    parts = [localisation.heads(singer, variable, sung, seed)]
    parts.append(localisation.axes(singer, variable, sung, sae, seed))
    parts.append(localisation.blocks(singer, variable, sung, seed))
    return pd.concat(parts)


songs = {
    (name, what): localisation.sing(organisms[name], what, n, seconds, seed)
    for name, what in confirmed.index
}
found = pd.concat(
    asked(organisms[name], what, sung) for (name, what), sung in songs.items()
)
scored = localisation.scored(found)

# %%
areas = {
    what: {
        method: stats.mean(some["auroc"]) for method, some in part.groupby("method")
    }
    for what, part in scored.groupby("what")
}
show.estimates(
    {f"{what}: {method}": e for what in areas for method, e in areas[what].items()},
    "Area under the ROC curve, over variables and organisms",
    "AUROC (dotted: luck)",
    bar=0.5,
)

# %% [markdown]
# Each method in each organism, with the precision among the best (as many as are true).

# %%
by_model = scored.groupby(["what", "method", "model"], sort=False)
means = by_model[["auroc", "precision"]].mean().unstack().round(2)
means.columns = [f"{measure}, {name}" for measure, name in means.columns]
show.table(means.reset_index(), "Who finds what, by organism")

# %% [markdown]
# ## And the edges of circuits?
#
# The scores of *Which few edges carry a word?*, for the edges from the text to the heads of
# cross-attention.


# %%
def text_edges(name, variable, method):
    """How well a method tells the true edges from the text."""
    _, high, low = songs[name, variable]
    few = slice(n_edges)
    singer = organisms[name]
    edges = circuits.scores(singer, high[few], low[few], method, senders=["text"])
    return circuits.recovery(edges, planting.place(name, variable).entry_heads)


methods = ("exact", "eap", "eap-ig-inputs", "random")
edges = {
    method: [text_edges(name, what, method) for name, what in songs]
    for method in methods
}
of_edges = {method: stats.mean(values) for method, values in edges.items()}
show.estimates(of_edges, "Edges from the text", "AUROC (dotted: luck)", bar=0.5)

# %% [markdown]
# ## What it means
#
# A method that finds the place here may be believed elsewhere, as far as the elsewhere is like this; one
# that does not find it here should not be believed at all. Where a probe reads a variable behind a block
# by which it has not come in, the song told it: in its own songs a model can be read everywhere.
#
# **What would change our mind.** Planting that interchange does not confirm (accuracy below
# `least`): the verdict counts them; random
# scores away from 0.5.

# %%
best = {
    what: max(some, key=lambda name: some[name].value)
    for what, some in areas.items()
}
question = "How well is the planted place found (AUROC)?"
sizes = [
    results.finding(question, f"{what}: {method}", "AUROC", areas[what][method])
    for what in areas
    for method in areas[what]
]
question = "How well are the text's true edges found (AUROC)?"
sizes += [
    results.finding(question, method, "AUROC", e) for method, e in of_edges.items()
]
results.record("23_planted_places", m, sizes)

# %%
named = {
    what: f"{best[what]} ({areas[what][best[what]].value:.2f})" for what in best
}
Markdown(
    f"**Verdict.** Interchange confirms {len(confirmed)} of "
    f"{len(confirmed) + len(left_out)} places (accuracy {confirmed.min():.2f} or more). "
    f"Heads are found best by {named['heads']}, axes by {named['axes']}, blocks by "
    f"{named['blocks']}; random scores get {areas['heads']['random'].value:.2f}, "
    f"{areas['axes']['random'].value:.2f} and {areas['blocks']['random'].value:.2f}."
)
