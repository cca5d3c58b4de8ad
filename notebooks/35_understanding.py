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
# **Question.** Suppose that to one model *gloomy* means minor and *mournful* slow: two habits. To
# another both mean *sad*, and sad means slow, soft, minor and smooth at once: its words share
# something. One song cannot tell the two apart. What could?
#
# **Why it matters.** This is the book's question. Probes, features and steering can all succeed on
# a model that has nothing but habits.
#
# **What "understand" means here.** Five properties that habit lacks, stated so that they can be
# held against us. *Shared*: different words of one emotion lead to one state (the numbers inside
# the model) and one whole profile of cues (tempo, mode, loudness and other properties that a
# listener hears). *Integrating*: "very", "not" and a tempo beside the word shift the other cues as
# the emotion asks. *The same from sound as from words*: an emotion is heard in cues that its word
# does not follow. *Causal*: what one word adds inside, added where no emotion was asked for, moves
# the whole emotion. *Specific*: and nothing else.
#
# **Method.** A habit ties a word to one cue. So the strongest cue of every word is found in the
# state to which it leads, and set aside. The rest is compared with the profile of the emotion's
# *other* words. Of a habit little is left.
#
# **Controls.** The method is tried on *organisms*, small MusicGens trained on music that we made,
# several for each *world* (kind of captions and music). In the world of `organism-habit` each
# emotion's words *together* go with the same cues as in that of `organism`, but each word follows
# one cue. Its models must get a "yes" for text being tied to music and a "no" for all that would be
# understanding. In `organism-decoupled` tempo has no effect on energy, which leaves emotion as it
# was. `organism-shuffled` had captions of other clips, and *untrained* is the main model with its
# weights in random order: neither may get a "yes" for this tie, nor for understanding. A criterion
# passed by a model that cannot understand is *struck*: it counts for nothing.

# %% tags=["parameters"]
model = "organism"
models_each = 2  # at most so many models of a world
design = {}  # what differs from understanding.Design
null_subjects = 200

# %%
import pandas as pd
from IPython.display import Markdown

from lib import results, show
from lib.book import chapter, doubts, rules
from lib.methods import understanding

models = chapter.every(model, models_each)
models["untrained"] = chapter.untrained(models[model])

# %% [markdown]
# ## The rules, as they were written
#
# One file, `lib/book/rules.toml`, states what is measured for every criterion. It was written
# before the models were asked; what was changed later stands there with its date and reason.
# Verdicts are computed from it alone.

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

# %% [markdown]
# The *smallest effect* that matters is in standard deviations of neutral songs, or, for states, a
# difference of cosines (1: same direction, 0: unrelated).

# %%
changes = pd.DataFrame({"change": rules.history()[1:]})
show.table(changes, "Every later change of the rules, with its reason")

# %% [markdown]
# With these dates and reasons you can judge whether we moved the goalposts.
#
# ## What was found

# %% tags=["main"]
asked = understanding.Design(**design)
evidence = {name: understanding.gather(m, asked) for name, m in models.items()}
verdicts = {
    name: rules.decide(understanding.numbers(found))
    for name, found in evidence.items()
}
found = rules.table(verdicts)
show.verdicts(rules.beside(found), "Understanding, criterion by criterion")

# %% [markdown]
# Each point is one model with its 95 % interval over words. A "yes" lies wholly right of the solid
# line (no effect). A "no" lies wholly left of the dotted one (the smallest effect that matters),
# because finding nothing is not yet a "no". All else is "cannot tell".
#
# How many models of each world say what?

# %%
show.table(rules.rates(found))

# %% [markdown]
# ✓: all models say what was foretold from how their world was made; ✗: one says the opposite;
# *struck*: a model passed for which "no" was foretold.
#
# ## What could have been found
#
# The same effects can be measured in the music of the organisms' own world.

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
# Where the model stays far behind *in the world*, it has not learned all that its captions say
# (both in standard deviations of the cues). *Not* moves little in the world itself: most music is
# not sad, and most of that is not the opposite of sad.
#
# ## What the words' own embeddings give
#
# Before any music is made, a text encoder represents each word by numbers, its *embedding*, and may
# already know which words are alike. Here the measure for *shared* is taken from these.


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
# Where a *state* shows more than the *embedding* of the same model, the blocks have added it. Both
# are cosines in spaces of their own: they say which shows more, not how much was added. An
# organism's embeddings were trained with it, so its knowledge may lie there. Those of a released
# model are T5's, which never heard music: where they give as much, the model has added nothing.
#
# ## How far the rules can be trusted
#
# They are tried on *null subjects*, for which no claim is true: the model's own evidence with words
# dealt to emotions at random (where no emotion is asked for, with signs drawn).

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
# *false positives* (null subjects with a "yes") should be at most 0.05, *coverage* about 0.95 and
# *power* at least 0.8 (explained in [chapter 30](30_steering)).
#
# ## What it means
#
# A criterion on which `organism` gets a "yes" and `organism-habit` a "no" tells understanding from
# habit, and its answer about another model says something. One that both pass does not, however
# good it looks. One that `organism` fails may be blind.
#
# **Doubts.** "Understanding" here is no more than these properties of words, cues and states. A
# model could have all and feel nothing, or lack one because it was trained too briefly.
#
# **What would change our mind.** A model of habit that passes; one of `organism` that fails; a
# verdict that changes with other words, templates or seeds.

# %%
deciding = [name for name, rule in rules.criteria().items() if rule.decides]
doubts.told(
    {
        "a model of habit passes a criterion that decides": doubts.passed(
            verdicts, "organism-habit", *deciding
        ),
        "a model of `organism` fails one": doubts.failed(
            verdicts, "organism", *deciding
        ),
        "a verdict changes with other words, templates or seeds": None,
    }
)

# %%
results.record("35_understanding", models[model], rules.findings(verdicts))

# %%
Markdown(rules.in_words(verdicts))
