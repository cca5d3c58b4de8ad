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
# # How does a word become a note?
#
# **Question.** [Chapter 24](24_circuits) finds which parts of the network carry a word. What do
# they say to each other? Can the way from one word of a prompt to one note of a song be written
# down step by step, in parts that one can hear?
#
# Such a drawing explains a single note, if it is true. Most of this chapter asks whether it is.
#
# **Method.** An *attribution graph* (Ameisen et al. 2025) is a drawing of who wrote what others
# read. An *MLP*, a part of the network that works on each moment alone, is hard to read. A
# *transcoder* is a sparse dictionary of it: it reads what the MLP reads, switches on a few
# *features* (directions meant to stand for one thing each), and writes what the MLP would write.
# All MLPs are replaced by theirs. What a transcoder gets wrong is added back as an *error*, so that
# the song stays as it is. With *attention* (what looks at words and earlier music) held as it was
# in this song, a feature reads a plain sum of what words, music and earlier features wrote. Each
# part of the sum is an arrow.
#
# **Hypotheses**, set beforehand. First, the graph foretells: when a node is taken out of the real
# model, in which all else may change, the note does what the graph says. This needs a correlation
# over nodes of at least 0.5, with its interval over songs above that of shuffled forecasts. Second,
# words have more influence in `organism`, a small MusicGen trained on music with known causes, than
# in `organism-shuffled`, whose captions belong to other clips and mean nothing.

# %% tags=["parameters"]
model = "organism"
recipe = {}  # what differs from that of chapter 10's music (lib.book.chapter.Recipe)
clips = 400  # of it: three quarters to learn from, the rest to judge by
width = 512  # features of a transcoder
k = 32  # of these active on average
passes = 3
songs = 12  # whose graphs are checked
first = 4  # frames of music before a token that is explained, at least
graph_nodes = 400  # features of a graph whose edges are found
shown = 36  # nodes of the drawing
beside = ["organism-shuffled"]
seed = 2600

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import features, prompts, results, sae, show, stats
from lib.book import chapter, doubts
from lib.causal import tracing
from lib.methods.sae import transcoders
from lib.pages import song_graph

# %%
models = chapter.models(model, beside)
m = models[model]
cut = clips * 3 // 4


# %%
def learned(singer):
    """Music, its labels, what MLPs do in it, and a transcoder a block."""
    shared = chapter.dictionary(singer, "resid.0", **recipe)
    music, labels = shared.clips[:clips], shared.labels[:clips]
    found = []
    blocks = []
    for acts in transcoders.recorded(singer, music):
        found.append(sae.transcoder(singer, acts[:cut], width, k, passes))
        blocks.append(acts)
    return music, labels, blocks, found


dictionaries = {name: learned(singer) for name, singer in models.items()}

# %% [markdown]
# ## How good are the replacements?
#
# On music that no transcoder has learned from.


# %%
def left(name):
    """What all replacements together leave of the predictions."""
    music, _, _, found = dictionaries[name]
    cost = tracing.replaced(models[name], found, music[cut:])
    silent, replaced = (
        cost[kind] - cost["plain"] for kind in ("silent", "replaced")
    )
    return stats.mean(1 - replaced / silent.mean())


quality = [
    {"model": name, "block": block, **sae_quality}
    for name, (_, _, blocks, found) in dictionaries.items()
    for block, sae_quality in enumerate(
        transcoders.quality(each, acts[cut:])
        for each, acts in zip(found, blocks, strict=True)
    )
]
kept = {name: left(name) for name in models}
show.table(pd.DataFrame(quality), "Transcoders on unseen clips")

# %% [markdown]
# Of so many *features* a block, *l0* are active on average and a share is *dead* (never active);
# *explained_variance* is the share of what the MLP adds that is explained.

# %%
show.estimates(kept, "Predictions left with all MLPs replaced", "share", bar=1)

# %% [markdown]
# With all MLPs replaced and no error added back, 1 (dotted) is as good as the model, 0 as good as
# MLPs that always add their mean; lines are 95 % intervals.
#
# ## One song
#
# One *token* (code of sound) is explained, from the codebook (list of codes) that decides most
# about the sound. The prompt counts most for it: its probability falls furthest when the sad word
# is exchanged for a happy one. The song that is drawn is the one in which most ways to the token
# begin at words. A feature has a label only if it tells a cue (such as tempo) or an emotion apart
# well, on clips that it learned from and on others.


# %%
def traced(singer, found, one, other):
    """The graph of the token for which the prompt counts most."""
    song = tracing.Song(singer, found, one)
    return tracing.graph(
        song, tracing.most_told(singer, one, other, first=first), graph_nodes
    )


def sung(singer):
    """Pairs of prompts, and a song for the first of each."""
    table = prompts.pairs("emotion", songs, seed)
    return table, singer.generate(list(table["low"]), 2.0, seed)


table, all_songs = sung(m)
music, labels, blocks, found = dictionaries[model]
graphs = [
    traced(m, found, all_songs[i : i + 1], other)
    for i, other in enumerate(table["high"])
]

# %%
train = np.arange(clips) < cut
named = [
    features.name(sae.activity(each, acts[..., : m.lm.dim])[0], labels, train)
    for each, acts in zip(found, blocks, strict=True)
]
label_of = song_graph.labelled(named, features.SELECTIVE)
shares_of_words = [tracing.begun(graph, "word")[-1] for graph in graphs]
best = int(np.argmax(shares_of_words))
small = tracing.prune(graphs[best], shown, 0.95, begins="word")
without = tracing.intervene(small)[-1]
print(table["low"][best])
show.song_graph(
    small, without, label_of, [acts[cut:] for acts in blocks], music[cut:]
)

# %% [markdown]
# Columns are moments, rows blocks, from the words at the left to the token at the top. Choose a
# node, by a click or with the arrow keys, to see what it reads and writes and what happens to the
# token without it, and to hear the clips in which it is most active.
#
# Only the nodes on most of the ways from words to the token are drawn; music and errors are left
# out.
#
# ## Does the graph tell the truth?
#
# In each song the nodes of most influence are taken out, one at a time.

# %%
checks = [tracing.checked(graph) for graph in graphs]
every = pd.concat(checks)
show.scatter(
    {
        kind: (some["foretold"], some["measured"])
        for kind, some in every[every["what"] == "token"].groupby(
            "kind", sort=False
        )
    },
    f"{model}: the token's logit without a node, all songs",
    "foretold by the graph",
    "measured in the model",
)

# %% [markdown]
# Each point is a node; on the dotted line forecast and measurement of the token's *logit* (its
# score before probabilities are made) agree.


# %%
def agreement(table, what, shuffled=False):
    """Correlation of forecast and measurement over nodes, in one song."""
    some = table[table["what"] == what]
    foretold = some["foretold"].to_numpy()
    if shuffled:
        foretold = np.random.default_rng(seed).permutation(foretold)
    return np.corrcoef(foretold, some["measured"])[0, 1]


# %% tags=["main"]
agreements = {
    f"{what}{', forecasts shuffled' * shuffled}": stats.mean(
        [agreement(each, what, shuffled) for each in checks]
    )
    for what in ("token", "feature")
    for shuffled in (False, True)
}
show.estimates(
    agreements,
    "Do forecasts agree with what is measured? (dotted: the bar)",
    "correlation, mean over songs",
    bar=0.5,
)

# %% [markdown]
# Rows without *shuffled* should lie right of the bar of 0.5 (dotted), those of shuffled forecasts
# near 0; *feature* asks the same of features that read the node.
#
# ## How much of the model is in a graph, and how much of it are words?


# %%
def shares(graph):
    """Both scores, and where ways begin."""
    kinds = graph.nodes.groupby("kind")["influence"].sum()
    begins = kinds.reindex(["word", "sung", "error"], fill_value=0)
    words = float(begins["word"] / begins.sum())
    return {**tracing.scores(graph), "words": words}


def of_songs(singer, found):
    """The same for every song of a model."""
    table, own = sung(singer)
    others = enumerate(table["high"])
    return [
        shares(traced(singer, found, own[i : i + 1], text)) for i, text in others
    ]


# %%
parts = {model: [shares(graph) for graph in graphs]}
for name in beside:
    parts[name] = of_songs(models[name], dictionaries[name][3])
units = {name: pd.DataFrame(rows) for name, rows in parts.items()}
estimates = {
    f"{name}: {what}": stats.mean(units[name][what])
    for what in ("replacement", "completeness", "words")
    for name in models
}
show.estimates(estimates, "What graphs of all songs hold", "share")

# %% [markdown]
# *Words*, the share of ways that begin at words, should be larger in `organism` than in
# `organism-shuffled`. *Replacement* is the share of ways that begin at words or music, not at an
# error; *completeness* the share of what nodes read that comes from no error.
#
# ## What it means
#
# Where the first hypothesis is met, an arrow is more than a picture: the model does with the song
# what the graph says. *Words* says how much of one token words decide; the rest is the music so
# far, and errors. **Doubts.** Errors are what no feature explains. Attention is taken as it was, so
# *why* a head looks where it looks is in no arrow.
#
# **What would change our mind.** Shuffled forecasts that agree as well; words that weigh as much in
# `organism-shuffled`.

# %%
true, chance = (agreements[kind] for kind in ("token", "token, forecasts shuffled"))
weights = {name: estimates[f"{name}: words"] for name in models}
shuffled = weights.get("organism-shuffled")
doubts.told(
    {
        "shuffled forecasts agree as well": doubts.as_much(chance, true),
        "words weigh as much in `organism-shuffled`": (
            shuffled and doubts.as_much(shuffled, weights[model])
        ),
    }
)

# %% [markdown]
# **Exercise 1.** In *One song*, follow a word's strongest arrow to a feature, and play its clips.
# Do they sound like its label, and like the word?
#
# <details><summary>Answer</summary>
#
# The arrow says that the feature reads the word, the label is about the clips that excite it. Where
# these two disagree, the label may be wrong, or the feature stands for several things. One without
# a label need not be meaningless, as only cues and emotions were asked for.
#
# </details>
#
# **Exercise 2.** Set `k = 8`, so that fewer features of a transcoder are active. Which numbers
# should get worse, and why does the song still sound the same?
#
# <details><summary>Answer</summary>
#
# Fewer features explain less of what each MLP adds, so errors grow and *replacement* and
# *completeness* should fall. The song stays as it is, because what a transcoder gets wrong is
# always added back. So a graph can be exact and explain little.
#
# </details>

# %%
question = "Does an attribution graph foretell what happens if a node is taken out?"
answers = [
    results.finding(question, model, name, estimate)
    for name, estimate in agreements.items()
]
question = "What share of the ways to a note begins at words?"
for name in models:
    answers.append(
        results.finding(question, name, "share", estimates[f"{name}: words"])
    )
results.record("26_from_word_to_note", m, answers)

# %%
true, chance = (agreements[kind] for kind in ("token", "token, forecasts shuffled"))
met = "met" if true.value >= 0.5 and true.low > chance.high else "not met"
mine, *theirs = (estimates[f"{name}: words"] for name in models)
more = [
    stats.difference(units[model]["words"], units[name]["words"]) for name in beside
]
second = "met" if more and all(gap.low > 0 for gap in more) else "not met"
Markdown(
    f"**Verdict.** In {model} the graph's forecasts agree with what happens (correlation "
    f"{true}, shuffled {chance}): the first bar is {met}. All MLPs replaced leave {kept[model]} "
    f"of the predictions. Of the ways to a note a share of {mine} begins at words, and beside it "
    f"{'; '.join(f'{name}: {one}' for name, one in zip(beside, theirs, strict=True))}: the "
    f"second bar is {second}."
)
