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
# # What does each block hear?
#
# **Question.** A MusicGen makes its music in a stack of *blocks*, one behind the other. Is a
# half-finished model already playing, and from which block on can one hear what the prompt asks
# for?
#
# If a word can be heard early, later blocks only refine it. If it comes late, whoever wants to find
# or change emotion must look there.
#
# **Method.** The model predicts from the *residual stream*, the running sum of all blocks, behind
# its last block. A *lens* predicts from the stream of an earlier block. The *logit lens* sends it
# as it is through the model's last steps. The *tuned lens* first changes it by one affine map a
# block (each number becomes a weighted sum of all, plus a constant), learned until the lens
# predicts what the model does. Both are read over songs that exist, and their predictions are made
# sound. A third way, called *DecoderLens* elsewhere, is to *skip*: all blocks behind one are left
# out while the model sings, so that it goes on from its own unfinished notes.
#
# **Prediction and control.** What a lens shows can be read; the model need not use it. In the
# *planted* organism, a small MusicGen, we know by which block a word comes in ([chapter
# 23](23_planted_places)): a lens that shows its effect earlier is wrong. And where the logit lens
# is blind to what is there in another form, the tuned lens must show more.

# %% tags=["parameters"]
model = "organism"
n = 16  # songs to learn the tuned lens from, and as many to look at
seconds = 3.0
variable = "emotion"
planted = "organism-planted"
confirmed = ["tempo", "energy", "arousal"]  # some of its variables
steps = 60  # that a tuned lens learns for
seed = 2500

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import activations, prompts, results, show, stats
from lib.book import chapter
from lib.causal import mediation
from lib.methods import lenses
from lib.organism import planting

# %%
m = chapter.models(model, [])[model]
blocks = len(m.lm.transformer.layers)
names = [f"block {block}" for block in range(blocks)]


# %%
def sung(singer, kind, first):
    """Songs for both words of each pair, and their table."""
    table = prompts.pairs(kind, n, first)
    asked = [*table["high"], *table["low"]]
    return table, singer.generate(asked, seconds, first, keep=True)


def lens_of(singer, kind):
    """The tuned lens, learned from songs of its own."""
    return lenses.tuned(singer, sung(singer, kind, seed + 1)[1], steps)


table, songs = sung(m, variable, seed)
kinds = {"logit lens": lenses.Lens(m), "tuned lens": lens_of(m, variable)}

# %% [markdown]
# ## How well does each block predict the song?

# %% tags=["main"]
cost = {name: lenses.cross_entropy(m, songs, lens) for name, lens in kinds.items()}
show.curves(
    {
        name: (list(range(blocks)), [stats.mean(units) for units in values])
        for name, values in cost.items()
    },
    f"{model}: what the song costs, by block",
    "block",
    "nats a token",
    bar=float(np.log(m.lm.card)),
)

# %% [markdown]
# The lower a line, the better a block predicts the song's own tokens (codes of sound), in *nats* a
# token (a unit of information, 1.44 bits). The dotted line is guessing, the last block is the model
# itself, and bands are 95 % intervals.
#
# ## From which block on is the word heard?
#
# The same music is read under both words of a pair.

# %%
music = songs[n:].under(list(table["low"])), songs[n:].under(list(table["high"]))
apart = {
    name: lenses.heard_difference(m, *music, lens) for name, lens in kinds.items()
}
show.curves(
    {
        name: (list(range(blocks)), [stats.mean(1000 * units) for units in values])
        for name, values in apart.items()
    },
    f"{model}, {variable}: how far two words are apart, by block",
    "block",
    "millinats a token",
)

# %% [markdown]
# Where a line leaves zero, the word begins to change what this block predicts (in thousandths of a
# nat). Where the tuned lens rises before the logit lens, the word is there in a form that the
# model's last steps do not read yet.
#
# ## Hear it
#
# One song for the second word of a pair. In the first two columns every token is drawn from what
# the block predicts, given the true song so far. In the third the model sings for the same prompt
# and seed with all later blocks skipped.

# %%
one = songs[:1]
heard = {
    name: lenses.tokens(lenses.read(m, one, lens), m.defaults["temperature"], seed)
    for name, lens in kinds.items()
}
heard = {
    name: [m.decode(each)[0] for each in found] for name, found in heard.items()
}
skipped = []
for block in range(blocks):
    with activations.edit(m, *lenses.skipping(m, block)):
        skipped.append(m.generate(list(table["high"]), seconds, seed))
heard["later blocks skipped"] = [songs_of.audio[0] for songs_of in skipped]
columns = {
    name: dict(zip(names, some, strict=True)) for name, some in heard.items()
}
rows = {name: {kind: columns[kind][name] for kind in columns} for name in names}
show.player_grid(rows, m.sample_rate)

# %% [markdown]
# Go down a column and listen for the first row that is music to you; the last row is the whole
# model.
#
# In songs with skipped blocks, how much *valence* (how pleasant) and *arousal* (how excited) is
# heard for one word minus the other?

# %%
measures = ["valence", "arousal"]
changes = []
for block, songs_of in enumerate(skipped):
    with activations.edit(m, *lenses.skipping(m, block)):
        others = m.generate(list(table["low"]), seconds, seed)
    changes.append((mediation.hear(songs_of) - mediation.hear(others))[measures])
show.curves(
    {
        axis: (
            list(range(blocks)),
            [stats.mean(change[axis]) for change in changes],
        )
        for axis in measures
    },
    f"{model}: heard difference between the words, later blocks skipped",
    "last block that runs",
    "standard deviations",
    bar=0,
)

# %% [markdown]
# Where a line leaves the dotted one, the blocks up to there are enough for the difference to be
# heard.
#
# ## Where lenses are wrong

# %%
p = chapter.models(planted, [])[planted]
places = {kind: planting.places(planted)[kind] for kind in confirmed}
shown = {}
for kind in places:
    pairs, some = sung(p, kind, seed)
    both = some[n:].under(list(pairs["low"])), some[n:].under(list(pairs["high"]))
    plain, tuned = (
        lenses.heard_difference(p, *both, lens).mean(1)
        for lens in (lenses.Lens(p), lens_of(p, kind))
    )
    shown[kind] = {"logit lens": plain / plain[-1], "tuned lens": tuned / tuned[-1]}

# %%
frame = pd.DataFrame(
    {
        f"{kind}, {name}": values
        for kind, both in shown.items()
        for name, values in both.items()
    },
    index=[f"{block}" for block in range(len(p.lm.transformer.layers))],
).T
show.heatmap(
    frame,
    f"{planted}: share of the final difference",
    "share",
    limit=1,
    x_title="block",
)

# %% [markdown]
# Cells are how far two words are apart as a share of the last block's difference. What lies above 0
# before a variable's own block is an artefact of the lens, or the little that the planting let
# through elsewhere.

# %%
entry = {kind: place.block for kind, place in places.items()}
before = [
    shown[kind]["tuned lens"][block]
    for kind in places
    for block in range(entry[kind])
]
at_entry = {
    name: stats.mean([shown[kind][name][entry[kind]] for kind in places])
    for name in kinds
}
show.estimates(
    {
        "before the word comes in (tuned lens)": stats.mean(before),
        "at the block that brings it in, logit lens": at_entry["logit lens"],
        "at the block that brings it in, tuned lens": at_entry["tuned lens"],
    },
    f"{planted}: what the lenses show",
    "share of the final difference",
    bar=0,
)

# %% [markdown]
# The first row should lie on the dotted line: before its block hardly anything of a word can be
# there. In the others more is better, and 1 is all of the final difference.
#
# ## What it means
#
# A word that the tuned lens shows earlier than the logit lens is there, in a form that the model
# does not use as it is. Where a block predicts well long before the last one, later blocks only
# refine. **Doubts.** A lens says what can be read. What is used is asked in [chapter
# 24](24_circuits).
#
# **What would change our mind.** A lens that shows a word's effect before it comes in, in an
# organism whose places are known.
#
# **Exercise 1.** In *Hear it*, find in each column the first row that you would call music. Why may
# the third column need more blocks than the others?
#
# <details><summary>Answer</summary>
#
# In the first two columns each block adds one token to the true song so far. In the third it has
# only what it has sung itself, so that every error becomes part of what it goes on from.
#
# </details>
#
# **Exercise 2.** Set `variable = "tempo"`. Which blocks does the verdict name now, and can a word
# be heard before any block has read it?
#
# <details><summary>Answer</summary>
#
# Words for different things may be read at different depths. No word can be heard before the first
# block whose cross-attention reads it, because over the same music nothing else differs. What a
# lens shows before is its own error, measured in *Where lenses are wrong*.
#
# </details>

# %%
question = "What does the song cost as the middle block reads it, nats a token?"
middle = blocks // 2
found = [
    results.finding(question, model, name, stats.mean(values[middle]))
    for name, values in cost.items()
]
question = "How far apart are two words before they come in, planted (share)?"
found.append(results.finding(question, planted, "share", stats.mean(before)))
results.record("25_hear_every_block", m, found)

# %%
half = {
    name: int(np.argmax(values.mean(1) > values[-1].mean() / 2))
    for name, values in apart.items()
}
Markdown(
    f"**Verdict.** In {model}, half of what a word for {variable} changes can be read behind "
    f"block {half['tuned lens']} by the tuned lens, and behind block {half['logit lens']} by the "
    f"logit lens. Where the truth is known, the lenses show {stats.mean(before).value:.0%} of the "
    "final difference before a word has come in, and at the block that brings it in "
    f"{at_entry['tuned lens'].value:.0%} (tuned) and {at_entry['logit lens'].value:.0%} (logit)."
)
