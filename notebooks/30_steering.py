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
# # Can we move emotion without breaking the music?
#
# **Question.** If a direction inside the model is an emotion, then pushing along it must change
# what is heard, by degrees, and leave the rest of the music whole. Does it?
#
# **Method.** A direction leads from what the model holds for sad prompts to what it holds for happy
# ones. It is added at every frame while the model sings for other sad prompts. Strength 1 is the
# mean norm of the activations. A song is a *success* if two judges, who share nothing, both hear
# the wanted emotion among five. The way and its strength are chosen on some prompts and tried on
# others, with new words, templates and seeds.
#
# **Hypothesis.** Songs are heard as wanted more often than when pushed anywhere, and more often
# with more strength. **Null and control.** Ten random directions, with everything else equal: norm,
# schedule, negative prompt, seeds. In `organism-shuffled` words mean nothing, so its own direction
# must do no more than these.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to push: 0 is the first block, 1 the last
strengths = [0.0, 0.08, 0.16, 0.24]
learned_from = 24  # prompts of each kind
n_choosing = 16  # prompts a pair, on which the way is chosen
n = 48  # prompts a pair, on which it is tried: at most 64
n_beside = 32  # the same for the models beside
draws = 10  # random directions
judged = 400  # rendered clips that judges are judged on
seconds = 3.0
ears = ["spectra", "cues"]  # there are "corpus", "vibenet", "clap"
judging = {}  # what else differs from steering.Judge
rated_music = ""  # a folder that chapter 40 reads, such as DEAM: one more judge learns from it
rated_songs = ""  # a folder of a MusicGen's songs that people rated: the judges are asked of them
beside = ["organism-habit", "organism-shuffled"]
seed = 900

# %%
import functools
import itertools

import pandas as pd
from IPython.display import Markdown, display

from lib import (
    activations,
    datasets,
    listeners,
    prompts,
    results,
    show,
    stats,
    steering,
)
from lib.book import chapter, rules

# %%
models = chapter.models(model, beside)
m = models[model]
third = [datasets.RatedListener(datasets.load(f)) for f in [rated_music] if f]
judges = {
    name: steering.Judge(singer, [*ears, *third], **judging)
    for name, singer in models.items()
}
judge = judges[model]
PAIRS = {"sad → happy": ("sad", "happy"), "calm → energetic": ("calm", "energetic")}
LEARNING, CHOOSING, TRYING = range(3)
later = seed + 10_000  # of the songs that are tried
FEWEST = 528  # prompts an emotion, that every part has every word and template


# %%
def asked(name, emotion, part, count):
    """Prompts in a model's language, from a third of an emotion's words."""
    table = prompts.crossed("implied", FEWEST, chapter.language(name), seed)
    table = table[table["emotion"] == emotion]
    words = pd.factorize(table["family"])[0] % 3
    templates = table["template"] % 2 == (part == TRYING)
    there = table["prompt"][(words == part) & templates]
    return list(there.sample(count, random_state=seed))


# %%
def how(pair, away):
    """Settings of songs, with a negative prompt or without."""
    negative = {"negative": f"{PAIRS[pair][0]} music"} if away else {}
    return {"seconds": seconds, "progress": False, "keep": True, **negative}


def direction(name, pair, method):
    """A direction of a model's own."""
    low, high = [asked(name, e, LEARNING, learned_from) for e in PAIRS[pair]]
    site = activations.at(models[name], depth)
    settings = {"seconds": seconds, "seed": seed}
    return steering.direction(models[name], high, low, site, method, **settings)


# %% [markdown]
# ## Can the judges be trusted?
#
# *spectra* knows no cue. It learned from spectra and their changes, of music that another composer
# wrote for other instruments, as the model's codec plays it. *cues* learned nothing: it adds up
# measured cues by the world's weights. Held-out music of the organisms' world, through the codec,
# shows how well each recovers what is perceived: rank correlation for valence and arousal, share of
# clear clips for the emotion (chance: 0.2). A judge whose interval does not begin above the bar has
# no voice, and what is heard then decides nothing.


# %%
def trust(name):
    """How reliable the judges are on what a model's codec plays."""
    settings = {"names": (*ears, *third), "codec": models[name], "seconds": seconds}
    return listeners.reliability(judged, **settings)


reliability = {name: trust(name) for name in models}
heard_well = {
    name: all(listeners.trusted(table).values())
    for name, table in reliability.items()
}
rows = reliability[model][reliability[model]["audio"] == "codec"].drop(
    columns="audio"
)
show.table(
    rows.assign(bar=rows["what"].map(listeners.BARS)), "Judges on held-out music"
)

# %% [markdown]
# All that music is rendered. Whoever has songs of a MusicGen that people rated
# (`rated_songs`) asks the judges of them, too, and a judge that people do not agree with has no
# voice either. With `rated_music`, one more judge must agree, which learned from recordings that
# people rated.

# %%
for folder in filter(None, [rated_songs]):
    people = datasets.heard(judge.ears.values(), datasets.load(folder))
    agreed = all(listeners.trusted(people).values())
    heard_well = {name: told and agreed for name, told in heard_well.items()}
    display(show.table(people, "Judges on songs that people rated"))

# %% [markdown]
# ## Effect against cost
#
# Three ways to find a direction: *diffmeans*, the difference of means over the same songs, read
# under both kinds of prompts; *songs*, the same over each kind's own songs; *rfm*, a recursive
# feature machine. Each alone and with a negative prompt (*away*: guidance leads away from *sad
# music* instead of from no text). *Surprise* is how much less probable (nats a token) the model
# finds the song, as music of any kind, than the unsteered one. Up and to the left is better; every
# point is a strength. Dotted: songs of the same seeds that were asked for the target.

# %%
WAYS = list(itertools.product(("diffmeans", "songs", "rfm"), (False, True)))


def sung(emotion, pair):
    """Unsteered songs of the same seeds."""
    some = asked(model, emotion, CHOOSING, n_choosing)
    return m.generate(some, seed=seed, **how(pair, False))


plain = {pair: sung(low, pair) for pair, (low, high) in PAIRS.items()}
reference = {pair: sung(high, pair) for pair, (low, high) in PAIRS.items()}


# %%
def sweep(pair, method, away):
    """What every strength does, one row each, and the target's own prompts last."""
    vector = direction(model, pair, method)
    settings = {"seed": seed, **how(pair, away)}
    low, high = PAIRS[pair]
    some = asked(model, low, CHOOSING, n_choosing)
    songs = steering.generate(m, some, vector, strengths[1:], **settings)
    songs = {0.0: plain[pair], **songs}
    return steering.evaluate(judge, songs, reference[pair], high)


swept = {(pair, *way): sweep(pair, *way) for pair in PAIRS for way in WAYS}


# %%
def values(rows, column):
    """The values of a column of estimates."""
    return rows[column].map(lambda estimate: estimate.value)


def effect_and_cost(pair, way):
    """A curve: its places and estimates."""
    rows = swept[pair, *way].iloc[:-1]
    return list(values(rows, "surprise")), list(rows["success"])


for pair in PAIRS:
    lines = {
        f"{method}, away" if away else method: effect_and_cost(pair, (method, away))
        for method, away in WAYS
    }
    bar = values(swept[pair, *WAYS[0]], "success").iloc[-1]
    title = f"{pair}: effect against cost"
    surprise = "surprise, nats a token above the unsteered songs"
    display(show.curves(lines, title, surprise, "success", bar=bar))

# %% [markdown]
# Chosen is what comes nearest to asking: the most success, plus the share of the prompt's effect on
# the plane of valence and arousal (at most 1), which speaks where nothing succeeds.


# %%
def nearest(pair):
    """Method, whether it leads away, and strength."""
    rows = {way: swept[pair, *way].iloc[1:-1] for way in WAYS}
    rows = pd.concat(rows, names=["method", "away", "row"]).reset_index()
    share = values(rows, "share").clip(upper=1).fillna(0)
    best = rows.loc[(values(rows, "success") + share).idxmax()]
    return best["method"], bool(best["away"]), float(best["strength"])


point = {pair: nearest(pair) for pair in PAIRS}
columns = ["method", "away from the low end", "strength"]
chosen = pd.DataFrame(point, index=columns).T.rename_axis("pair").reset_index()
show.table(chosen, "Chosen, for all models")

# %% [markdown]
# ## Dose and response
#
# The chosen way on prompts, templates and seeds that chose nothing: not at all, at half and at the
# whole strength. The other organisms are steered in the same way, each along directions of its own.
# Along a line nothing differs but the dose: songs without a push have the negative prompt, too.


# %%
def attempt(name, pair):
    """A trial: the doses and the random directions."""
    low, high = PAIRS[pair]
    method, away, strength = point[pair]
    some = asked(name, low, TRYING, n if name == model else n_beside)
    vector = direction(name, pair, method)
    settings = {"seed": later, **how(pair, away)}
    found = (models[name], some, high, vector, strength, draws)
    return steering.attempt(*found, **settings)


# %%
trials = {(name, pair): attempt(name, pair) for name in models for pair in PAIRS}
heard = {
    (name, pair): steering.listen(judges[name], trial)
    for (name, pair), trial in trials.items()
}

# %%
for pair in PAIRS:
    doses = [dose * point[pair][2] for dose in steering.DOSES]
    lines = {
        name: (
            doses,
            [stats.proportion(column) for column in heard[name, pair].success.T],
        )
        for name in models
    }
    by_chance = stats.mean(heard[model, pair].by_chance)
    lines["random directions"] = (doses[-1:], [by_chance])
    title = f"{pair}: does success follow the dose?"
    display(show.curves(lines, title, "strength (mean norms)", "success"))

# %% [markdown]
# ## At the chosen point
#
# All songs have the same seeds. *Random*: ten directions with everything else equal. *Kinds
# swapped*: the direction of pairs whose kinds were swapped at random, which lies where prompts
# differ, but not as these do. *Asked for*: prompts of the target. *By spectra*, *by cues*: share of
# songs that one judge hears as wanted; success needs both. *Valence* and *arousal* (by the first
# judge, in units of the world), *surprise* and *recoded* are differences from no push; *recoded* is
# the share of tokens that come back when the codec encodes the song again (below 0: artefacts).


# %%
def swapped(pair):
    """Songs pushed along the direction of swapped kinds."""
    _, away, strength = point[pair]
    some = asked(model, PAIRS[pair][0], TRYING, n)
    pushed = [(direction(model, pair, "shuffled"), strength)]
    return steering.push(m, some, pushed, seed=later, **how(pair, away))[0]


def asking(pair):
    """Songs whose prompts ask for the target."""
    some = asked(model, PAIRS[pair][1], TRYING, n)
    return m.generate(some, seed=later, **how(pair, False))


# %%
others = {
    pair: {"kinds swapped": swapped(pair), "asked for": asking(pair)}
    for pair in PAIRS
}
compared = {
    pair: steering.compare(judge, trials[model, pair], others[pair])
    for pair in PAIRS
}
table = pd.concat(compared, names=["pair", "row"]).reset_index()
show.table(table.drop(columns="row"), f"{model}, with the strength chosen before")

# %% [markdown]
# ## Hear it

# %%
for pair in PAIRS:
    trial = trials[model, pair]
    players = {
        trial.doses[0].prompts[i]: {
            "no push": trial.doses[0].audio[i],
            "half": trial.doses[1].audio[i],
            "chosen": trial.doses[2].audio[i],
            "a random direction": trial.drawn[0].audio[i],
            "asked for": others[pair]["asked for"].audio[i],
        }
        for i in (0, 1)
    }
    display(show.player_grid(players, m.sample_rate))

# %% [markdown]
# ## Where words mean nothing
#
# The criteria of `rules.toml`, on both pairs' prompts together. The line is nothing; the dotted
# line is the smallest effect that matters. A judge without a voice leaves *steered* and *dosed*
# undecided.


# %%
def numbers(name):
    """One number a prompt for every criterion."""
    return steering.numbers(steering.together(heard[name, pair] for pair in PAIRS))


# %%
def decided(name):
    """The verdicts on a model."""
    found = rules.decide(numbers(name))
    if not heard_well[name]:
        for key in ("steered", "dosed"):
            found[key] = found[key]._replace(answer="cannot tell")
    return found


verdicts = {name: decided(name) for name in models}
show.verdicts(
    rules.beside(rules.table(verdicts)),
    "What steering does, criterion by criterion",
)

# %% [markdown]
# How far the rules can be trusted here. A null subject: for every prompt, which of the songs counts
# as steered is dealt among it and those of random directions, and so are its doses (for *harmless*,
# signs are drawn).

# %%
everything = steering.together(heard[model, pair] for pair in PAIRS)
null = functools.partial(steering.dealt, everything)
show.table(rules.trust(numbers(model), null))

# %% [markdown]
# ## What it means
#
# A direction that makes songs be heard as wanted by judges who share nothing, more often than any
# push of its size, is more than a correlate: the model *uses* it. That may be habit, too: a word's
# one cue, moved from inside. Where only the measured cues say so, and the spectra do not, the push
# may have fooled the measure. The pairs may differ, as loud and fast can be had note by note, minor
# and major only by chords; the figures show them apart, the criteria together. So a "yes" may rest
# on one of them: the verdict says what each gives alone.
#
# **What would change our mind.** Random directions that succeed as often; success that needs far
# less probable music than asking does; an organism of shuffled captions that can be steered.

# %%
kept = []


def keep(question, name, answer, estimate):
    """An exploratory finding."""
    kept.append(results.finding(question, name, answer, estimate))


beyond = {
    which: stats.mean(steering.numbers(found)["steered"])
    for which, found in heard.items()
}
for (name, pair), more in beyond.items():
    question = (
        f"{pair}: how much more often than random directions does steering succeed?"
    )
    keep(question, name, stats.side(more), more)

# %%
for pair, rows in compared.items():
    rows = rows.set_index("songs")
    method, away, strength = point[pair]
    way = f"{method}{', away' if away else ''} at {strength:g}"
    keep(
        f"{pair}: success at half the strength", model, way, rows["success"]["half"]
    )
    keep(f"{pair}: success of asking", model, "share", rows["success"]["asked for"])
    keep(f"{pair}: surprise", model, "nats a token", rows["surprise"]["chosen"])
results.record("30_steering", m, [*rules.findings(verdicts), *kept])


# %%
def told(pair):
    """What was found of a pair, in a sentence."""
    rows = compared[pair].set_index("songs")
    share = {kind: f"{rows['success'][kind].value:.0%}" for kind in rows.index}
    return (
        f"{pair}: {share['chosen']} of steered songs are heard as wanted by both "
        f"judges ({share['no push']} without a push, {share['random']} in random directions, "
        f"{share['asked for']} when asked for), at {rows['surprise']['chosen'].value:+.1f} "
        f"nats a token. Beyond random directions: {beyond[model, pair]}."
    )


Markdown("**Verdict.** " + " ".join(told(pair) for pair in PAIRS))
