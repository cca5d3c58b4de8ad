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
# # Which few edges carry a word?
#
# **Question.** A word enters at some heads, other heads and MLPs read what these wrote, and in the end
# the predictions change. Does a small part of the network do this work, and can it be found?
#
# **Method.** The network is taken as a graph: the text, every attention head and every MLP write into
# the residual stream, and every head, every MLP and the predictions read from it. An *edge* is what one
# of them writes as another reads it. A *circuit* is a set of edges. It is run with the other word
# everywhere but along its edges, so that what it brings back came along them. *Faithfulness* is the
# share of the word's whole effect that comes back: 0 for no edge, 1 for all of them.
#
# Which edges to take is decided by a score, on prompts and songs of their own: the gradient of the
# effect at the reader times the change of the writer (EAP), the same averaged along the way from one
# word to the other (EAP-IG, by the text or by each writer's output), or chance. The curve of
# faithfulness over the number of edges has two summaries, those of the benchmark MIB: CPR, the area
# below it (more is better), and CMD, its distance from 1 (less is better).
#
# **Hypothesis.** Of all edges the best 5 % carry more than 5 % drawn at random. **Control.**
# `organism-shuffled` was trained with captions of other clips: no word means anything, and there is
# nothing to carry. Nothing is foretold of `organism-habit`, in which a word does something and no
# emotion is anywhere: a circuit is how a word gets through, and no sign of understanding.

# %% tags=["parameters"]
model = "organism"
n = 12  # pairs of prompts to choose edges by, and as many to judge them by
draws = 5  # of random edges, for the verdict
seconds = 1.5
variables = ["emotion", "tempo", "mode"]
share = 0.05  # of all edges, for the hypothesis
beside = ["organism-habit", "organism-decoupled", "organism-shuffled"]
seed = 2400

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import prompts, results, show, stats
from lib.book import chapter, rules
from lib.causal import circuits

# %%
models = chapter.models(model, beside)
m = models[model]
methods = ("eap-ig-inputs", "eap-ig-activations", "eap", "random")


# %%
def songs(singer, variable, part):
    """Songs for both words of each pair; other pairs and seeds to choose and to judge by."""
    table = prompts.pairs(variable, 2 * n, seed)[part::2]
    first = seed + 1000 * part
    return [
        singer.generate(list(table[end]), seconds, first, keep=True)
        for end in ("high", "low")
    ]


def chosen_and_judged(singer, variable, method):
    """What a method's edges carry on other songs, by how many are taken (nats a token)."""
    found = circuits.scores(singer, *songs(singer, variable, 0), method)
    judge = songs(singer, variable, 1)
    curves = [
        circuits.curve(singer, *judge, found, signed) for signed in (True, False)
    ]
    return found, *curves


# %% [markdown]
# ## How many edges does it take?
#
# One line a method: the share of the word's effect that the best edges bring back, on prompts and songs
# by which none was chosen. The band is the interval over pairs.

# %%
scored = {}
carried = {}
for variable in variables:
    for method in methods:
        found = chosen_and_judged(m, variable, method)
        scored[variable, method], *carried[variable, method] = found


# %%
def faithful(variable, method):
    """The curve in shares, as estimates."""
    return [
        stats.mean(units) for units in circuits.shares(carried[variable, method][0])
    ]


sizes = [f"{size:.1%}" for size in circuits.SIZES]
first = variables[0]
show.curves(
    {method: (sizes, faithful(first, method)) for method in methods},
    f"{model}, {first}: what the best edges bring back",
    "share of all edges",
    "share of the effect",
    bar=1,
)

# %% [markdown]
# The same for every variable, in MIB's two numbers.

# %%
rows = []
areas = {}
for (variable, method), curves in carried.items():
    areas[variable, method] = circuits.areas(*map(circuits.shares, curves))
    rows.append({"variable": variable, "method": method, **areas[variable, method]})
show.table(pd.DataFrame(rows), "CPR: more is better. CMD: less is better.")

# %% [markdown]
# ## The same by chance, and where words mean nothing
#
# For the verdict the effect is taken in nats, because a share of nothing is no number: what the best
# `share` of the edges brings back, minus what as many drawn at random bring back.


# %%
def beyond_chance(singer):
    """Nats a token that the best edges carry beyond drawn ones, for each pair."""
    choose, judge = (songs(singer, variables[0], part) for part in (0, 1))
    found = [circuits.scores(singer, *choose, methods[0])]
    seeds = range(seed, seed + draws)
    found += [circuits.scores(singer, *choose, "random", seed=k) for k in seeds]
    chosen = [circuits.best(some, share) for some in found]
    best, *drawn = circuits.carried(singer, *judge, chosen)
    return best - np.mean(drawn, axis=0)


numbers = {
    name: {"circuit": beyond_chance(singer)} for name, singer in models.items()
}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(rules.beside(rules.table(verdicts)), "A few edges carry the word")

# %%
show.table(rules.trust(numbers[model]))

# %% [markdown]
# ## Who writes, and who reads?
#
# The best edges of the first variable, added up by the block of the writer and of the reader. Cross
# heads stand for the text that they read.

# %%
best_method = max(methods, key=lambda name: areas[first, name]["CPR"].value)
graph = scored[first, best_method]
kept = graph.where(circuits.best(graph, share)).fillna(0)


def place(node):
    """cross_head.1.3 -> cross 1"""
    kind, *block = node.split(".")
    return " ".join([kind.removesuffix("_head"), *block[:1]])


summed = kept.to_pandas().groupby(place, sort=False).sum()
summed = summed.T.groupby(place, sort=False).sum()
summed = 1000 * summed.loc[(summed != 0).any(axis=1), (summed != 0).any()]
show.heatmap(
    summed,
    f"{model}, {first}: from the writer (rows) to the reader (columns)",
    "millinats",
    numbers=False,
)

# %% [markdown]
# ## Do words for different things take the same way?
#
# Of the best edges of two variables, the share that is the same. As many drawn at random would share
# about as many as `share` says.

# %%
sets = {
    variable: circuits.best(scored[variable, best_method], share)
    for variable in variables
}
common = pd.DataFrame(
    {
        one: {
            other: (sets[one] & sets[other]).sum() / sets[one].sum()
            for other in sets
        }
        for one in sets
    }
)
show.heatmap(
    common, f"{model}: share of the best edges in common", "share", limit=1
)

# %% [markdown]
# ## What it means
#
# A steep curve says that few edges do the work, for prompts and songs that no edge was chosen by. (Some
# words come again among them: a variable has few.) It says how a word gets through, and not that what gets through is an emotion: that is asked in *The question
# itself*. Edges that different variables share are the way in for words in general.
#
# **What would change our mind.** Random edges that carry as much; a curve that falls where edges are
# added, by more than its interval; a circuit of the shuffled organism.

# %%
question = f"{first}: how much do the best edges bring back over all sizes (CPR)?"
found = [
    results.finding(question, model, method, areas[first, method]["CPR"])
    for method in methods
]
results.record("24_circuits", m, [*rules.findings(verdicts), *found])

# %%
few = circuits.shares(carried[first, best_method][0])[circuits.SIZES.index(share)]
chance = circuits.shares(carried[first, "random"][0])[circuits.SIZES.index(share)]
edges = int(np.isfinite(graph.values).sum())
Markdown(
    f"**Verdict.** Of the {edges:,} edges of {model}, the best {share:.0%} bring back "
    f"{stats.mean(few).value:.0%} of what a word for {first} does, and as many drawn at "
    f"random {stats.mean(chance).value:.0%}. They are found best by {best_method}."
)
