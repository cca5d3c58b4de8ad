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
# # Does the model hear emotion as people do?
#
# **Question.** For human listeners, mode (minor or major) matters most, then tempo, register (low
# or high), dynamics (soft or loud), articulation (short or connected notes) and timbre. These
# *cues* add up, mostly linearly (Eerola, Friberg and Bresin 2013). Tempo moves *arousal* (how
# excited an emotion is), and mode moves *valence* (how pleasant it is; Husain, Thompson and
# Schellenberg 2002). Is that so for the model?
#
# If it is, the model hears emotion by the causes that people hear it by. That is not yet
# understanding, because habit can hear cues, too.
#
# **Method.** *Judged*: one cue of a piece is changed and nothing else. How much more probable the
# piece then is to the model under words of one emotion than of others is, by Bayes' rule, what it
# hears. *Sung*: prompts ask for both ends of a cue, and a listener, a program that tells valence
# and arousal, hears the songs. **Null and control.** `organism-shuffled` (a small MusicGen trained
# with captions of other clips) and an untrained model should hear no more than words dealt to
# emotions at random do. `organism-habit`, whose words each follow one cue, hears cues as well.
# **Known answer.** What `organism` learned must agree with the weights of its world. **The unit**
# is the word: what a model hears in several pieces under one word is one answer, given many times.

# %% tags=["parameters"]
model = "organism"
pieces = 16  # pieces of music whose cues are set
n = 12  # pairs of songs for each cue
seconds = 3.0
depth = 0.29  # where tempo and mode are moved: 0 is the first block, 1 the last
size = 32  # dimensions of a subspace
steps = 60
learned_from = 48  # pairs of prompts
beside = ["organism-habit", "organism-shuffled"]
design = {}  # what differs from understanding.Design, for what each word hears
null_subjects = 200
seed = 870

# %%
import pandas as pd
import scipy.stats
from IPython.display import Markdown

from lib import activations, causal, prompts, results, show, stats
from lib.book import chapter, doubts, rules
from lib.causal import mediation, perception, variables
from lib.methods import understanding
from lib.organism import world

models = chapter.models(model, beside)
m = models[model]
models["untrained"] = chapter.untrained(m)
site = activations.at(m, depth)
AXES = ("valence", "arousal")

# %% [markdown]
# ## What each word hears
#
# Forty emotion words are asked about music that differs in one cue. How much likelier does the cue
# make the music under each word, and do the world's weights for the word's emotion say the same?

# %%
asked_for = understanding.Design(**design)
words = {
    name: understanding.hear(singer, asked_for) for name, singer in models.items()
}


# %% tags=["main"]
def hears(name, labels=None):
    """One number a word: what it hears, along what the weights of its emotion say."""
    table, heard = words[name]
    labels = table["emotion"] if labels is None else labels
    return {"hears": understanding.weighed_as_the_world(heard, labels)}


verdicts = {name: rules.decide(hears(name)) for name in models}
show.verdicts(
    rules.beside(rules.table(verdicts)), "Cues heard as the world weighs them"
)

# %% [markdown]
# "Yes" lies right of the solid line (no effect) and reaches the dotted one (the smallest effect that
# matters) or lies beyond it; "no" ends before the dotted one.


# %%
def dealt(rng):
    """A null subject: words dealt to emotions at random."""
    return hears(model, rng.permutation(words[model][0]["emotion"]))


show.table(rules.trust(hears(model), dealt, null_subjects))

# %% [markdown]
# Trust the rule where *false positives* ("yes" for words dealt at random) are rare, *coverage* is
# near 0.95 and *power* is high ([chapter 20](20_patching)).

# %%
table, heard = words[model]
by_emotion = pd.DataFrame(heard, columns=list(world.CUES)).groupby(table["emotion"])
show.heatmap(
    by_emotion.mean().loc[list(show.COLORS)],
    f"{model}: what words of each emotion hear in a cue's high end",
    "typical sizes",
    limit=2,
)

# %% [markdown]
# In red cells more of the cue (faster, major, louder, ...) makes music likelier under the emotion's
# words, in blue cells less likely, in units of a typical effect.
#
# ## What each cue does
#
# Each cue is raised by one standard deviation while everything else is held. The change of the
# model's judgement is counted in *millinats* a token (thousandths of a unit of information for each
# code of sound).

# %%
judged = {
    name: perception.effects(
        singer, pieces, seconds=seconds, seed=seed, cues=world.CUES
    )
    for name, singer in models.items()
}
show.estimates(
    {
        f"{name}: {row.cue} → {row.axis}": row.effect
        for name, table in judged.items()
        for row in table.sort_values("axis").itertuples()
    },
    "What the model hears when one cue changes (dotted: nothing)",
    "millinats a token",
    bar=0,
)

# %% [markdown]
# Right of the dotted line, more of the cue makes the model hear more of the axis; models in which
# words mean nothing should lie on the line.
#
# ## Beside the world, the songs and people

# %%
asked = pd.concat(
    {cue: prompts.pairs(cue, n, seed) for cue in world.CUES}, names=["cue", "pair"]
)
seeds = [seed + pair for _, pair in asked.index]
ends = {}
for end in ("high", "low"):
    songs = m.generate(list(asked[end]), seconds, seeds, keep=True)
    ends[end] = mediation.hear(songs).set_index(asked.index)
change = (ends["high"] - ends["low"]).groupby("cue")
sung = {
    (cue, axis): stats.mean(part[axis]) for cue, part in change for axis in AXES
}

# %%
table = judged[model].copy()
keys = list(zip(table["cue"], table["axis"], strict=True))
signs = {1: "+", -1: "−"}
table["sung"] = [sung[pair] for pair in keys]
table["world"] = [world.EDGES[cue].get(axis, 0.0) for cue, axis in keys]
table["people"] = [signs.get(perception.HUMAN_SIGNS.get(pair), "") for pair in keys]

# %%
columns = ["cue", "axis", "effect", "sung", "world", "people"]
columns += ["linear", "quadratic"]
ordered = table.sort_values(["axis", "world"], ascending=[True, False])
show.table(
    ordered[columns],
    "effect: judged, millinats; sung: SD; people: sign (Gabrielsson and Lindström "
    "2010); linear, quadratic: shares of variance",
)

# %% [markdown]
# Of the columns, *effect* and *sung* are the model's, *world* is the true weight, *people* the
# direction in human listeners. A *linear* share near 1 says that the effect is a straight line
# (*quadratic*: what a curve adds).

# %%
judgement = table["effect"].map(lambda effect: effect.value)
singing = table["sung"].map(lambda effect: effect.value)
agree = {
    "judged and the world": stats.rank_correlation(judgement, table["world"]),
    "sung and the world": stats.rank_correlation(singing, table["world"]),
    "judged and sung": stats.rank_correlation(judgement, singing),
}
show.estimates(
    agree, "Agreement over cues and axes (rank correlation)", "Spearman's ρ", bar=0
)

# %% [markdown]
# At a rank correlation of 1 both put the effects in the same order; at 0 (dotted) the orders have
# nothing in common.
#
# It depends on a convention, which end of a cue counts as high (here high articulation is legato).
# Read it as a summary of the table, not as evidence.
#
# **Order of importance.** How far does each cue move the judgement on both axes together? Cues
# stand in the order of people, most important first.

# %%
length = (judgement**2).groupby(table["cue"]).sum() ** 0.5
human = pd.Series(range(len(perception.HUMAN_ORDER), 0, -1), perception.HUMAN_ORDER)
length = length[human.index]
order = scipy.stats.spearmanr(length, human)
show.table(
    pd.DataFrame({"cue": human.index, "judged, millinats": length.values}),
    f"Rank correlation with people: {order.statistic:.2f} (p = {order.pvalue:.2f}, "
    f"{len(human)} cues)",
)

# %% [markdown]
# If the model weighs cues as people do, the numbers fall from top to bottom; from so few cues, only
# a very high rank correlation (in the title) could be told from chance.

# %%
people = [perception.HUMAN_SIGNS.get(pair, 0) for pair in keys]
as_people = [
    sign * value > 0 for sign, value in zip(people, judgement, strict=True) if sign
]
print("signs as people's:", stats.proportion(as_people))

# %% [markdown]
# The line above is the share of cues and axes whose direction is that of people, where one is
# known.
#
# ## Do cues add up? Tempo and mode apart?
#
# Slow and fast are crossed with minor and major, everything else held. For people, tempo moves
# arousal and not valence, mode the reverse (Husain et al. 2002), and neither changes what the other
# does (Eerola et al. 2013).

# %%
crossed = {
    name: perception.interaction(
        singer, "tempo", "mode", pieces, seconds=seconds, seed=seed
    )
    for name, singer in models.items()
}
show.estimates(
    {
        f"{name}: {row.axis}, {part}": getattr(row, part)
        for name, table in crossed.items()
        for row in table.itertuples()
        for part in ("tempo", "mode", "interaction")
    },
    "Tempo and mode, two by two (dotted: no effect)",
    "millinats a token",
    bar=0,
)

# %% [markdown]
# As in people, *tempo* should leave the dotted line of no effect in arousal alone, *mode* in
# valence alone, and *interaction* (what both do beyond their sum) nowhere.
#
# **Moved inside.** The same without words or notes. A *subspace* (a few directions) of tempo, or of
# mode, is learned soon after the text has entered, as in [chapter 21](21_tempo_energy_emotion). It
# alone is moved while the model sings for slow, or for minor, prompts.


# %%
def locate(variable):
    """The subspace of a cue."""
    pairs = prompts.interchanges(variable, learned_from, "train", seed)
    learned = variables.sing(m, pairs, 2.0)
    return causal.locate(m, learned, variable, site, size=size, steps=steps)


def move(variable, subspace):
    """Change of what is heard when one subspace goes from its low to its high end."""
    table = mediation.dose(m, variable, subspace, (0, 1), n=2 * n, seconds=seconds)
    low, high = [part.set_index("pair") for _, part in table.groupby("scale")]
    return {axis: stats.mean(high[axis] - low[axis]) for axis in AXES}


# %%
subspaces = {variable: locate(variable) for variable in ("tempo", "mode")}
moved = {variable: move(variable, subspaces[variable]) for variable in subspaces}
show.estimates(
    {
        f"{variable} moved: {axis}": effect
        for variable, effects in moved.items()
        for axis, effect in effects.items()
    },
    f"{model}: one subspace moved, heard in the songs (dotted: no effect)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# Again tempo should move arousal, and mode valence, away from the dotted line.

# %%
show.estimates(
    {variable: subspace.accuracy for variable, subspace in subspaces.items()},
    "Are these subspaces tempo and mode? (interchange accuracy on unseen words)",
    "share of pairs (0.5: does nothing)",
    bar=0.8,
)

# %% [markdown]
# Check this first: what a subspace left of the dotted line moves tells little, because it does not
# carry its variable well. *Interchange accuracy* is how often exchanging a subspace between two
# runs exchanges that variable and nothing else; one at 0.5 does nothing.
#
# ## What it means
#
# As each cue was moved alone, a model that agrees with its world has heard the causes and not what
# goes with them. **Doubts.** That is no sign of understanding: a model of habit may agree as well.
# An organism agrees with people as far as its world does, which in part was made after them
# ([chapter 1](01_known_answers)); of a released model agreement would say more.
#
# **What would change our mind.** A shuffled or untrained model that hears as the world weighs;
# signs against people's; interactions as large as the main effects.

# %%
larger = [
    doubts.as_much(row.interaction, max(row.tempo, row.mode, key=lambda e: e.value))
    for row in crossed[model].itertuples()
]
doubts.told(
    {
        "a shuffled model hears as the world weighs": doubts.there(
            verdicts, "organism-shuffled"
        ),
        "an untrained model does": doubts.there(verdicts, "untrained"),
        "a sign is against people's": not all(as_people),
        "an interaction is as large as the main effects": doubts.any_of(larger),
    }
)

# %% [markdown]
# **Exercise 1.** Set `pieces = 4`. Which intervals should grow, and why not that of the first
# figure?
#
# <details><summary>Answer</summary>
#
# Those of *What each cue does* and *Do cues add up?* grow, because their unit is the piece of
# music. The first figure has one number for each word, and as many words as before.
#
# </details>
#
# **Exercise 2.** Set `size = 1`, one direction for tempo and one for mode. Why must you look at the
# last figure before the one above it?
#
# <details><summary>Answer</summary>
#
# If its accuracy is near 0.5, one direction does not carry the variable, and songs that do not
# change tell nothing about the model.
#
# </details>

# %%
effect = moved["mode"]["valence"]
question = "How much does moving mode inside move heard valence?"
sizes = [results.finding(question, model, stats.side(effect), effect)]
question = (
    "How well do the model's weights agree with the world's, over cues and axes?"
)
sizes.append(
    results.finding(
        question, model, "rank correlation", agree["judged and the world"]
    )
)
question = "How many of the signs are people's?"
sizes.append(results.finding(question, model, "share", stats.proportion(as_people)))
results.record("22_human_perception", m, [*rules.findings(verdicts), *sizes])

# %%
unlike = []
for row in table.itertuples():
    crosswise = (row.cue, row.axis) in (("mode", "arousal"), ("tempo", "valence"))
    if crosswise and not row.effect.holds(0):
        unlike.append(f"{row.cue} moves {row.axis}")
for row in crossed[model].itertuples():
    if not row.interaction.holds(0):
        size = f"{row.interaction.value:.1f} millinats"
        unlike.append(f"tempo and mode interact in {row.axis} ({size})")
strongest = table.assign(size=judgement.abs()).sort_values("size")
strongest = strongest.drop_duplicates("axis", keep="last").set_index("axis")["cue"]
Markdown(
    f"**Verdict.** {model} hears how happy music is above all in its "
    f"{strongest['valence']}, and how exciting in its {strongest['arousal']}; people "
    f"hear the one in mode and the other in tempo. {sum(as_people)} of "
    f"{len(as_people)} signs are those of people. Unlike in people: "
    f"{', '.join(unlike) or 'nothing that was tested'}."
)
