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
# # Can people hear it?
#
# **Question.** So far every listener of this book is a program. Do people hear the emotion that
# steering, a push inside the model while it sings, puts into a song?
#
# **Why it matters.** Programs can be fooled together. Emotion in music is what people hear, and
# only they can say.
#
# **Method.** In a blind test, made here from steered songs, everybody rates every song alone, then
# says of two versions of a song which one is happier. Orders are balanced (Williams 1949), and no
# name says what was done. The test runs below, and as a page of its own without a server: answers
# come back as a file. Two statistical models say what people heard. A mixed model of the ratings
# lets people and songs differ; a Bradley–Terry model makes one scale of the choices.
#
# **Hypothesis and control.** Steered songs are rated happier than unsteered ones, and songs pushed
# along a random direction of the same size are not.
#
# **Known answer.** Until a person has answered, raters with known effects are simulated, and the
# analysis must find these effects and no others. This shows that the analysis works, and says
# nothing about people.

# %% tags=["parameters"]
model = "organism"
answers = ""  # folder with the files that people have handed in
depth = 0.57  # where to look: 0 is the first block, 1 the last
strength = 0.16  # of steering, mean norms
items = 3  # songs, each in four versions
learned_from = 16  # prompts of each kind
seconds = 4.0
raters = 24  # simulated, if no person has answered
seed = 960

# %%
from pathlib import Path

from IPython.display import Markdown

from lib import (
    activations,
    cache,
    listening,
    prompts,
    results,
    show,
    stats,
    steering,
)
from lib import model as musicgen
from lib.book import chapter, doubts

# %%
m = musicgen.load(model)
site = activations.at(m, depth)
language = chapter.language(model)


def asked(emotion, kind="name", count=items):
    """Prompts for an emotion: by its name, or by what implies it."""
    table = prompts.crossed(kind, count, language, seed)
    return list(table["prompt"][table["emotion"] == emotion])


# %% [markdown]
# ## The songs
#
# *Plain*: asked for sad. *Steered*: the same prompt and seed, pushed from sad to happy along the
# difference of means (chapter 30), the plainest method, at a strength that should be heard.
# *Pushed*: along a random direction. *Asked*: asked for happy.


# %%
def steered(method):
    """Songs for sad prompts, pushed along a direction."""
    ends = [asked(e, "implied", learned_from) for e in ("happy", "sad")]
    vector = steering.direction(m, *ends, site, method, seed=seed)
    settings = {"seconds": seconds, "seed": seed, "progress": False}
    sung = steering.generate(m, asked("sad"), vector, [strength], **settings)
    return sung[strength]


songs = {
    "plain": m.generate(asked("sad"), seconds, seed, keep=True),
    "steered": steered("diffmeans"),
    "pushed": steered("random"),
    "asked": m.generate(asked("happy"), seconds, seed, keep=True),
}

# %% [markdown]
# ## The test
#
# Try it: this is the test itself. Your answers stay in your browser until you hand over the file
# that you get at the end.
#
# It runs on jsPsych (de Leeuw et al. 2023), a library for experiments in a browser: every song is
# ready before the first question, and the library's own record can be saved, too. The test can also
# be given on a crowdsourcing platform, where people are paid for short tasks. The link to the page
# then says who takes part (`?PROLIFIC_PID=...`), and the order of the songs follows from this id,
# as if drawn by lot. With `completion="CODE"`, `listening.page` shows at the end the code that such
# a platform asks for.

# %%
versions = {
    name: {f"song {i}": audio for i, audio in enumerate(clips.audio)}
    for name, clips in songs.items()
}
title = "How does this music sound?"
test = listening.page(versions, m.sample_rate, title=title, seed=seed)
folder = cache.ROOT / "listening_test" / results.folder(model).name
folder = folder / test.key["test"]
page = test.save(folder)
print(f"to hand out: {page.name} | to keep: key.json, beside it in {folder.name}")
test

# %% [markdown]
# ## The answers

# %%
collected = sorted(Path(answers).glob("answers-*.json")) if answers else []
known = {
    "valence": {"steered": 1.2, "asked": 1.6},
    "arousal": {"steered": 0.6, "asked": 0.6},
    "happier": {"steered": 0.9, "asked": 1.2},
}
aside = cache.ROOT / "listening_test" / "simulated"
files = collected or listening.simulate(test, raters, known, aside, seed=seed)
table = listening.read(files, test.key)
people = set(table["source"]) == {"page"}
who = "people" if people else "SIMULATED raters"
print(f"{table['participant'].nunique()} {who}, {len(table)} answers")

# %% tags=["main"]
rated = {scale: listening.ratings(table, scale) for scale in ("valence", "arousal")}
shown = {}
for scale, effects in rated.items():
    for row in effects.itertuples():
        shown[f"{scale}: {row.condition}"] = row.effect
        if not people:
            true = known[scale].get(row.condition, 0.0)
            exact = stats.Estimate(true, true, true, raters)
            shown[f"{scale}: {row.condition}, true"] = exact
show.estimates(
    dict(sorted(shown.items())),
    f"Ratings by {who}: difference from plain (dotted: none)",
    "points of 9",
    bar=0,
)

# %%
preferred = listening.preferences(table)
show.table(
    preferred[["condition", "effect", "preferred", "p_holm"]],
    f"Which one is happier? {who}; logits, and share against plain",
)

# %%
agreed = {}
for scale in rated:
    one, all_of_them = listening.agreement(table, scale)
    agreed[f"{scale}: one rater"] = one
    agreed[f"{scale}: mean of all"] = all_of_them
show.estimates(
    agreed,
    f"Do {who} agree? (intraclass correlation)",
    "ICC(2,1) and ICC(2,k)",
)

# %% [markdown]
# ## How many people does it take?
#
# Share of simulated tests that find an effect of a given size, at the variances of
# `listening.TYPICAL`: assumptions, to be replaced by those of a pilot. Three conditions are tested
# against one.

# %%
sizes = (0.5, 0.8, 1.2)
counts = (6, 12, 18, 24, 36, 48)
design = {"items": items, "comparisons": 3, "repetitions": 400, "seed": seed}
curves = {
    f"{size:g} points": (
        counts,
        [listening.power(size, n, **design) for n in counts],
    )
    for size in sizes
}
show.curves(
    curves,
    "Power by number of people",
    "people",
    "share of tests that find it",
    bar=0.8,
)

# %%
design["repetitions"] = 200
for size in sizes:
    print(f"{size:g} points: {listening.needed(size, **design)} people")

# %% [markdown]
# ## What it means
#
# Simulated answers show only how many of the known effects the analysis finds, and the figure above
# how many people would be needed. To find out what people hear, hand out `index.html`, collect the
# files in a folder, and run this chapter with `answers` set to it.
#
# **Doubts.** A few people and songs speak for themselves alone, and those who rate many versions of
# a song may guess what the test is about.
#
# **What would change our mind.** People who rate steered songs as they rate plain ones, or who hear
# a random push as happy.

# %%
heard = rated["valence"].set_index("condition")["effect"]
happened = {
    "people rate steered songs as they rate plain ones": doubts.no_more(
        heard["steered"]
    ),
    "they hear a random push as happy": heard["pushed"].low > 0,
}
# of people alone: simulated raters say what they were made to say
doubts.told({text: answer if people else None for text, answer in happened.items()})

# %%
question = "Do people hear the steered emotion (points of 9)?"
effect = heard["steered"]
if people:
    findings = [results.finding(question, model, stats.side(effect), effect)]
else:
    answer = "cannot tell: no person has answered"
    findings = [results.finding(question, model, answer)]
    holds = [
        row.effect.holds(known[scale].get(row.condition, 0.0))
        for scale, effects in rated.items()
        for row in effects.itertuples()
    ]
    question = "Does the listening test find known effects of simulated raters?"
    answer = f"{sum(holds)} of {len(holds)} intervals hold them"
    findings.append(results.finding(question, model, answer))
basis = "measured" if people else "simulated"
results.record("32_listening_test", m, findings, basis)

# %%
said = ", ".join(f"{found.question} *{found.answer}*" for found in findings)
Markdown(f"**Verdict.** Answers of {who}. {said}.")
