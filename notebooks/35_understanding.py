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
# **Method.** A habit ties a word to one cue. So for every word the strongest cue is found in songs
# of their own, and set aside. What is left is compared with the profile of the emotion's *other*
# words. Of a habit nothing is left.
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
coverage_draws = 1000

# %%
import pandas as pd

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
    for c in rules.criteria().values()
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
show.verdicts(found, "Understanding, criterion by criterion")

# %% [markdown]
# How many models of a world say what. ✓: all as foretold. ✗: one says the opposite.

# %%
show.table(rules.rates(found))

# %% [markdown]
# Struck: criteria about understanding that a subject passed which cannot have it.

# %%
struck = rules.struck(verdicts)
rows = [
    {"criterion": rules.criteria()[name].claim, "passed by": ", ".join(passed)}
    for name, passed in struck.items()
]
show.table(pd.DataFrame(rows or [{"criterion": "none", "passed by": ""}]))

# %% [markdown]
# ## How far the rules can be trusted
#
# *False positives*: how often a null subject gets a "yes", before any correction. It is the model's
# own evidence, with words dealt to emotions at random (or, where no emotion is asked for, with signs
# drawn). *Coverage*: how often the 95 % interval holds the mean of the population that as many words
# are drawn from. *Power*: how often the smallest effect that matters would get a "yes".

# %%
trusted = evidence[model]
false = rules.false_positives(trusted, null_subjects)
covered = rules.coverage(trusted, coverage_draws)
checks = pd.DataFrame(
    {
        "criterion": criterion.claim,
        "false positives": false[name],
        "coverage": covered[name],
        "power": verdicts[model][name].power,
    }
    for name, criterion in rules.criteria().items()
)
show.table(checks)

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
findings = [results.finding(*row) for row in rules.pooled(found)]
results.record("35_understanding", model, findings)
