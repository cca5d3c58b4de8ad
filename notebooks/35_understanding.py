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
# # Does it understand, or is it habit?
#
# **Question.** A model for which *gloomy* means minor and *mournful* means slow has two habits. One
# for which both mean *sad*, and sad means slow, soft, minor and smooth at once, holds something that
# its words share. From one song you cannot tell the two apart. What could?
#
# **What "understand" means here.** Five properties that habit lacks, stated so that they can be used
# against us. *Shared*: different words of one emotion lead to one state and one whole profile of
# cues. *Integrating*: "very", "not" and a tempo beside the word shift the other cues as the emotion
# asks. *The same from sound as from words*: an emotion is heard in cues that its word does not
# follow. *Causal*: what one word adds inside, added where no emotion was asked for, moves the whole
# emotion. *Specific*: and nothing else.
#
# **Method.** A habit ties a word to one cue. So for every word the strongest cue is found in the
# state it leads to, beside those of words for cues, and set aside. What is left is compared with
# the profile of the emotion's *other* words. Of a habit nothing is left.
#
# **Null and controls.** In the world of `organism-habit` the words of each emotion *together* go
# with the same cues as in that of `organism`, but each follows one cue of its own. Its models must
# get a "yes" for text being tied to music and a "no" for everything that would be understanding. A
# criterion that they pass is struck. So is one that a model passes whose captions belonged to other
# clips, or an untrained one (the main model's weights in random order). Every world has several
# models, each trained from nothing. **Rules.** One file, `lib/book/rules.toml`, states every
# criterion's statistic, unit, null, smallest effect that matters and predictions. It was written
# before the models were asked, and verdicts are computed from it alone.

# %% tags=["parameters"]
model = "organism"
models_each = 3  # at most so many models of a world
design = {}  # what differs from understanding.Design
null_subjects = 200

# %%
import pandas as pd
from IPython.display import Markdown

from lib import results, show
from lib.book import chapter, rules
from lib.methods import understanding

models = chapter.every(model, models_each)
models["untrained"] = chapter.untrained(models[model])

# %% [markdown]
# ## The rules, as they were written
#
# An effect is in standard deviations of neutral songs (of states: a difference of cosines). "No"
# needs an interval below the smallest effect that matters: silence is no "no".

# %%
written = pd.DataFrame(
    {
        "claim": c.claim,
        "property": c.property,
        "statistic": c.statistic,
        "smallest effect": c.smallest,
    }
    for c in rules.criteria("35_understanding").values()
)
show.table(written, "; ".join(rules.history()[:1]))

# %%
changes = pd.DataFrame({"change": rules.history()[1:]})
show.table(changes, "Every later change of the rules, with its reason")

# %% [markdown]
# ## What was found
#
# Every point is one model, with its 95 % interval over words. The line is nothing; the dotted line
# is the smallest effect that matters.

# %%
asked = understanding.Design(**design)
evidence = {name: understanding.gather(m, asked) for name, m in models.items()}
verdicts = {
    name: rules.decide(understanding.numbers(found))
    for name, found in evidence.items()
}
found = rules.table(verdicts)
show.verdicts(rules.beside(found), "Understanding, criterion by criterion")

# %% [markdown]
# How many models of a world say what. ✓: all as foretold. ✗: one says the opposite. *Struck*: a
# criterion that a model passed of which "no" is foretold.

# %%
show.table(rules.rates(found))

# %% [markdown]
# ## What could have been found
#
# How large these effects are in the music of the organisms' own world, in standard deviations of
# its cues. Where the models stay far behind, they have not learned what their captions say. *Not*
# moves little in the world itself: most music is not sad, and most of it is not the opposite of
# sad.

# %%
possible = understanding.sizes()
mine = found[found["model"] == model].set_index("criterion")
sizes = pd.DataFrame(
    {
        "claim": mine.loc[name, "claim"],
        "in the world": size,
        model: mine.loc[name, "value"],
    }
    for name, size in possible.items()
)
show.table(sizes)

# %% [markdown]
# ## What the words' own embeddings give
#
# A text encoder knows which words are alike before any music is made. The same measure as for
# *shared*, on the embeddings of the words before any layer: what a state shows beyond this, the
# blocks have added. An organism's embeddings were trained together with it, so that its knowledge
# may lie there. Those of a released model are T5's, which never heard music: where they give as
# much, the model has added nothing.


# %%
def given(name):
    """How much more alike embeddings of one emotion's words are."""
    embedded = understanding.embedded(models[name], asked)
    parts = (embedded.states[0], embedded.ends[0])
    return understanding.alike(
        understanding.without_strongest(*parts), embedded.words["emotion"]
    )


compared = {}
for name in models:
    compared[f"{name}: state"] = verdicts[name]["shared"].estimate
    compared[f"{name}: embedding"] = rules.interval(given(name))
show.estimates(
    compared,
    "Words of one emotion, alike without their strongest cue (dotted: nothing)",
    "cosine with own emotion minus with others",
    bar=0,
)

# %% [markdown]
# ## How far the rules can be trusted
#
# *False positives*: how often a null subject gets a "yes", before any correction. It is the model's
# own evidence, with words dealt to emotions at random (or, where no emotion is asked for, with signs
# drawn). *Coverage*: how often the 95 % interval holds the mean of the population that as many words
# are drawn from. *Power*: how often the smallest effect that matters would get a "yes".

# %%
trusted = evidence[model]
show.table(
    rules.trust(
        understanding.numbers(trusted),
        lambda rng: understanding.dealt(trusted, rng),
        null_subjects,
    )
)

# %% [markdown]
# ## What it means
#
# Where `organism` gets a "yes" and `organism-habit` a "no", the criterion tells understanding from
# habit, and its answer about any other model says something. Where both get a "yes", it does not,
# however well it looks. Where `organism` gets a "no", either its training did not reach that far or
# the method is blind: a "no" about another model is then worth nothing.
#
# "Understanding" here is no more than these properties of words, cues and states. A model could have
# all of them and feel nothing, and could lack one of them for want of a longer training.
#
# **What would change our mind.** A model of habit that passes; one of `organism` that fails; a
# verdict that turns with other words, templates or seeds.

# %%
results.record("35_understanding", models[model], rules.findings(verdicts))

# %%
Markdown(rules.in_words(verdicts))
