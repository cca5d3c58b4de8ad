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
# **Question.** Every listener of this book so far is a program. Do people hear the emotion that steering puts into a song?
#
# **Method.** A blind test, made here from steered songs: everybody rates every song alone, then says of two versions of the same song which
# one is happier. Orders are balanced (Williams 1949) and no name says what was done. It runs below, and as a page of its own that needs no
# server: the answers come back as a file. A mixed model and a Bradley–Terry model say what people heard.
#
# **Hypothesis.** Steered songs are rated happier than unsteered ones. **Null and control.** Songs pushed along a random direction of the same
# size are not. **Known answer.** As long as no person has answered, raters with known effects are simulated: the analysis must
# find these and no others. Simulated raters show that the analysis works, and say nothing about people.

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

from lib import activations, listening, prompts, results, show, stats, steering
from lib import model as musicgen
from lib.organism import world

m = musicgen.load(model)
site = activations.at(m, depth)
language = "organism" if model in world.WORLDS else "natural"


def asked(emotion, kind="name", count=items):
    """Prompts for an emotion: by its name, or by what implies it."""
    table = prompts.crossed(kind, count, language, seed)
    return list(table["prompt"][table["emotion"] == emotion])


# %% [markdown]
# ## The songs
#
# *Plain*: asked for sad. *Steered*: the same prompt and seed, pushed from sad to happy along the difference of means (chapter 30), the plainest
# method, at a strength that should be heard. *Pushed*: along a random direction.
# *Asked*: asked for happy.


# %%
def steered(method):
    """Songs for sad prompts, pushed along a direction."""
    ends = [asked(e, "implied", learned_from) for e in ("happy", "sad")]
    vector = steering.direction(m, *ends, site, method, seed=seed)
    settings = {"seconds": seconds, "seed": seed, "progress": False}
    return steering.generate(m, asked("sad"), vector, [strength], **settings)[
        strength
    ]


songs = {
    "plain": m.generate(asked("sad"), seconds, seed, keep=True),
    "steered": steered("diffmeans"),
    "pushed": steered("random"),
    "asked": m.generate(asked("happy"), seconds, seed, keep=True),
}

# %% [markdown]
# ## The test
#
# Try it: it is the test itself. What you answer stays in your browser, until you hand over the file that it gives you at the end.

# %%
heard = {
    name: {f"song {i}": audio for i, audio in enumerate(clips.audio)}
    for name, clips in songs.items()
}
test = listening.page(heard, m.sample_rate, title="How does this music sound?", seed=seed)  # fmt: skip
page = test.save(results.ARTIFACTS / "listening_test" / model.replace("/", "--"))
print(
    "to hand out:",
    page.name,
    "| to keep:",
    "key.json, beside it in",
    page.parent.name,
)
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
aside = results.ARTIFACTS / "listening_test" / "simulated"
files = collected or listening.simulate(test, raters, known, aside, seed=seed)
table = listening.read(files, test.key)
people = set(table["source"]) == {"page"}
who = "people" if people else "SIMULATED raters"
print(f"{table['participant'].nunique()} {who}, {len(table)} answers")

# %%
rated = {s: listening.ratings(table, s) for s in ("valence", "arousal")}
shown = {
    f"{s}: {r.condition}": r.effect
    for s, t in rated.items()
    for r in t.itertuples()
}
if not people:
    shown |= {
        f"{s}: {c}, true": stats.Estimate(*[known[s].get(c, 0.0)] * 3, raters)
        for s in rated
        for c in rated[s]["condition"]
    }
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
agreed = {s: listening.agreement(table, s) for s in rated}
show.estimates(
    {
        f"{s}: {part}": e
        for s, a in agreed.items()
        for part, e in zip(("one rater", "mean of all"), a, strict=True)
    },
    f"Do {who} agree? (intraclass correlation)",
    "ICC(2,1) and ICC(2,k)",
)

# %% [markdown]
# ## How many people does it take?
#
# Share of simulated tests that find an effect of a given size, at the variances of `listening.TYPICAL`: assumptions, to be replaced by those of a
# pilot. Three conditions are tested against one.

# %%
sizes, counts = (0.5, 0.8, 1.2), (6, 12, 18, 24, 36, 48)
how = {"items": items, "comparisons": 3, "repetitions": 400, "seed": seed}
curves = {
    f"{size:g} points": (counts, [listening.power(size, n, **how) for n in counts])
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
need = {s: listening.needed(s, **{**how, "repetitions": 200}) for s in sizes}
print({f"{s:g} points": f"{n} people" for s, n in need.items()})

# %% [markdown]
# ## What it means
#
# While the answers are simulated, only this: the analysis finds effects that are there, finds none for the random push, and says how many
# people would be needed. To find out what people hear, hand out `index.html`, collect the files in a folder, and run this chapter with
# `answers` set to it.
#
# **What would change our mind.** People who rate steered songs as they rate plain ones, or who hear a random push as happy.

# %%
steered_by = rated["valence"].set_index("condition").loc["steered", "effect"]
found = [
    results.finding(
        "Do people hear the steered emotion (points of 9)?",
        model,
        steered_by.low > 0 if people else "cannot tell: no person has answered",
        steered_by if people else None,
        "steering" if people else None,
    )
]
holds = [e.holds(known[s].get(c, 0.0)) for s, t in rated.items() for c, e in zip(t["condition"], t["effect"], strict=True)]  # fmt: skip
if not people:
    question = "Does the listening test find known effects of simulated raters?"
    found.append(results.finding(question, model, f"{sum(holds)} of {len(holds)} intervals hold them"))  # fmt: skip
results.record("32_listening_test", model, found)
