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
# **Question.** For human listeners, mode matters most, then tempo, register, dynamics, articulation and timbre; cues add up, mostly
# linearly (Eerola, Friberg and Bresin 2013); tempo moves arousal and mode moves valence (Husain, Thompson and Schellenberg 2002). Is that
# so for the model?
#
# **Method.** *Judged*: one cue of a piece is changed and nothing else; by Bayes' rule, how much more probable the piece is under words of
# one emotion than under others is what the model hears in it. *Sung*: prompts ask for both ends of a cue, and a listener says how the songs
# sound. **Null and control.** `organism-shuffled` judges nothing beyond chance. **Known answer.** The organism's world has weights of its
# own, which follow people's in order; what it learned must agree with them.

# %% tags=["parameters"]
model = "organism"
pieces = 16  # pieces of music whose cues are set
n = 12  # pairs of songs for each cue
seconds = 3.0
depth = 0.29  # where tempo and mode are moved: 0 is the first block, 1 the last
size = 32  # dimensions of a subspace
steps = 60
learned_from = 48  # pairs of prompts
seed = 870

# %%
import pandas as pd
import scipy.stats
from IPython.display import Markdown

from lib import activations, causal, prompts, results, show, stats
from lib import model as musicgen
from lib.causal import mediation, perception, variables
from lib.organism import world

names = list(dict.fromkeys([model, *world.WORLDS]))
models = {name: musicgen.load(name) for name in names}
m = models[model]
site = activations.at(m, depth)

# %% [markdown]
# ## What each cue does
#
# One standard deviation of one cue, everything else held: change of the model's judgement in thousandths of a nat a token.

# %%
judged = {
    name: perception.effects(x, pieces, seconds=seconds, seed=seed, cues=world.CUES)
    for name, x in models.items()
}
show.estimates(
    {
        f"{name}: {r.cue} → {r.axis}": r.effect
        for name, t in judged.items()
        for r in t.sort_values("axis").itertuples()
    },
    "What the model hears when one cue changes (dotted: nothing)",
    "millinats a token",
    bar=0,
)

# %% [markdown]
# ## Beside the world, the songs and people


# %%
asked = pd.concat(
    {cue: prompts.pairs(cue, n, seed) for cue in world.CUES}, names=["cue", "pair"]
)
seeds = [seed + pair for _, pair in asked.index]
high, low = (
    mediation.hear(
        m.generate(list(asked[end]), seconds, seeds, keep=True)
    ).set_index(asked.index)
    for end in ("high", "low")
)
change = (high - low).groupby("cue")
songs = {
    cue: {axis: stats.mean(part[axis]) for axis in ("valence", "arousal")}
    for cue, part in change
}

# %%
table = judged[model].copy()
keys = list(zip(table["cue"], table["axis"], strict=True))
table["sung"] = [songs[cue][axis] for cue, axis in keys]
table["world"] = [world.EDGES[cue].get(axis, 0.0) for cue, axis in keys]
table["people"] = [{1: "+"}.get(perception.HUMAN_SIGNS.get(k), "") for k in keys]
columns = [
    "cue",
    "axis",
    "effect",
    "sung",
    "world",
    "people",
    "linear",
    "quadratic",
]
show.table(
    table[columns].sort_values(["axis", "world"], ascending=[True, False]),
    "effect: judged, millinats; sung: SD; people: sign (Gabrielsson and Lindström 2010); linear, quadratic: shares of variance",
)

# %%
values = {name: table[name].map(lambda e: e.value) for name in ("effect", "sung")}
agree = {
    "judged and the world": stats.rank_correlation(
        values["effect"], table["world"]
    ),
    "sung and the world": stats.rank_correlation(values["sung"], table["world"]),
    "judged and sung": stats.rank_correlation(values["effect"], values["sung"]),
}
show.estimates(
    agree, "Agreement over cues and axes (rank correlation)", "Spearman's ρ", bar=0
)

# %% [markdown]
# **Order of importance.** Length of each cue's effect over both axes, in the order of people (most important first).

# %%
length = table.assign(v=values["effect"] ** 2).groupby("cue")["v"].sum() ** 0.5
human = pd.Series(range(len(perception.HUMAN_ORDER), 0, -1), perception.HUMAN_ORDER)
ordered = scipy.stats.spearmanr(length[human.index], human)
show.table(
    pd.DataFrame(
        {"cue": human.index, "judged, millinats": length[human.index].values}
    ),
    f"Rank correlation with people: {ordered.statistic:.2f} (p = {ordered.pvalue:.2f}, {len(human)} cues)",
)
# %%
signs = table[table["people"] == "+"]
right = stats.proportion([e.value > 0 for e in signs["effect"]])
print("signs as people's:", right)

# %% [markdown]
# ## Do cues add up? Tempo and mode apart?
#
# Two by two: slow and fast, minor and major, everything else held. People's answer (Husain et al. 2002): tempo moves arousal,
# not valence; mode moves valence, not arousal; no interaction (Eerola et al. 2013).

# %%
crossed = {
    name: perception.interaction(
        x, "tempo", "mode", pieces, seconds=seconds, seed=seed
    )
    for name, x in models.items()
}
show.estimates(
    {
        f"{name}: {r.axis}, {part}": getattr(r, part)
        for name, t in crossed.items()
        for r in t.itertuples()
        for part in ("tempo", "mode", "interaction")
    },
    "Tempo and mode, two by two (dotted: no effect)",
    "millinats a token",
    bar=0,
)

# %% [markdown]
# **Moved inside.** The same question without words or notes: the subspace of tempo, or of mode, is learned (chapter 21) soon after the text
# has entered (chapter 20), and moved alone while the model sings for slow, or for minor, prompts.


# %%
def moved(variable):
    """Change of what is heard when one subspace goes from its low to its high end."""
    pairs = prompts.interchanges(variable, learned_from, "train", seed)
    learned = variables.sing(m, pairs, 2.0)
    found = causal.locate(m, learned, variable, site, size=size, steps=steps)
    songs = mediation.dose(m, variable, found, (0, 1), n=2 * n, seconds=seconds)
    ends = [part.set_index("pair") for _, part in songs.groupby("scale")]
    change = ends[1] - ends[0]
    heard = {axis: stats.mean(change[axis]) for axis in ("valence", "arousal")}
    return heard, found.accuracy


# %%
inside = {variable: moved(variable) for variable in ("tempo", "mode")}
show.estimates(
    {
        f"{v} moved: {axis}": e
        for v, (part, _) in inside.items()
        for axis, e in part.items()
    },
    f"{model}: one subspace moved, heard in the songs (dotted: no effect)",
    "standard deviations of the world's music",
    bar=0,
)

# %%
show.estimates(
    {v: accuracy for v, (_, accuracy) in inside.items()},
    "Are these subspaces tempo and mode? (interchange accuracy on unseen words)",
    "share of pairs (0.5: does nothing)",
    bar=0.8,
)

# %% [markdown]
# ## What it means
#
# An organism that agrees with its world heard the causes, not their company: each cue was moved alone. Agreement with people
# is then agreement of the world with people, which is known for the organism and open for a released model.
#
# **What would change our mind.** A shuffled organism with effects; signs against people's; interactions as large as the main effects.


# %%
def beyond_chance(name):
    """More effects than one in twenty: else their order is that of noise."""
    apart = [not e.holds(0) for e in judged[name]["effect"]]
    return scipy.stats.binomtest(sum(apart), len(apart), 0.05).pvalue < 0.05


# %%
weights = "Do cues move the model's judgement as the world says (rank correlation)?"
apart = "Does tempo move arousal more than mode does, and mode valence?"
inside_too = "Does moving mode inside move heard valence?"
heard, accuracy = inside["mode"][0]["valence"], inside["mode"][1]
answer = heard.low > 0 if accuracy.value >= 0.8 else None
findings = [results.finding(inside_too, model, answer, heard)]
for name in names:
    effect = judged[name]["effect"].map(lambda e: e.value)
    agreed = stats.rank_correlation(effect, table["world"])
    two = crossed[name].set_index("axis")
    arousal = two.loc["arousal", "tempo"].low > two.loc["arousal", "mode"].value
    valence = two.loc["valence", "mode"].low > two.loc["valence", "tempo"].value
    answer = (
        agreed.low > 0 if beyond_chance(name) else "no: no effects beyond chance"
    )
    findings += [
        results.finding(weights, name, answer, agreed, "causes"),
        results.finding(apart, name, arousal and valence, None, "causes"),
    ]
results.record("22_human_perception", model, findings)

# %%
unlike = [
    f"{r.cue} moves {r.axis}"
    for r in table.itertuples()
    if (r.cue, r.axis) in (("mode", "arousal"), ("tempo", "valence"))
    and not r.effect.holds(0)
]
unlike += [
    f"tempo and mode interact in {r.axis} ({r.interaction.value:.1f} millinats)"
    for r in crossed[model].itertuples()
    if not r.interaction.holds(0)
]
strongest = table.assign(size=values["effect"].abs()).sort_values("size")
strongest = strongest.drop_duplicates("axis", keep="last").set_index("axis")["cue"]
Markdown(
    f"**Verdict.** {model} hears how happy music is above all in its {strongest['valence']}, and how exciting in its "
    f"{strongest['arousal']}; people hear the one in mode and the other in tempo. {sum(e.value > 0 for e in signs['effect'])} "
    f"of {len(signs)} signs are those of people. Unlike in people: {', '.join(unlike) or 'nothing that was tested'}."
)
