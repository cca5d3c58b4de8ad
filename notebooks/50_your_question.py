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
# # What does it know about your concept?
#
# **Question.** Emotion was this book's concept. Yours may be whether music is danceable, jazz or
# classical, acoustic or electric. Is the music tied to such words, can the concept be read inside,
# and does it move when pushed? As it stands, this chapter asks about the **instrument**.
#
# **Why it matters.** Controls are the laborious part of such a study, and this template brings them
# along: change one cell, and all runs on your concept.
#
# **Method.** A concept is a name, its levels (such as *jazz* and *classical*), and words and
# sentences that ask for each. What is found with half of a level's words is tried with the other
# half. A *judge* hears the songs: any function of a clip, or where there is none, the model itself.
#
# **Control.** In `organism-shuffled`, a small MusicGen trained with captions of other clips, words
# mean nothing. If it gets a "yes" for songs that follow words, or for steering, the study fools
# itself. For words that no organism reads, the control is an untrained model: the main model's
# weights in random order.

# %% tags=["parameters"]
model = "organism"
concept = "instrument"  # one that comes ready, or a CSV file: level, word, prompt
depth = 0.57  # where to read and push: 0 is the first block, 1 the last
strengths = [0.15, 0.3, 0.5, 0.8]  # one is chosen
seconds = 2.0
sung = 108  # songs, dealt to the levels
learned_from = 6  # prompts of each level that a direction is found on
n = 30  # prompts on which steering is tried
n_beside = 24  # the same for the models beside
draws = 4  # random directions of each song's own
null_subjects = 100
judging = {}  # what differs from steering.Judge
beside = ["organism-shuffled"]  # [] for words that no organism reads
seed = 500

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import activations, concepts, probes, results, show, stats, steering
from lib.book import chapter, doubts, rules

# %% [markdown]
# ## Your concept
#
# **This is the cell to change.** Say in a few lines what asks for your concept:
#
# ```python
# words = {
#     "no": ["ambient", "shapeless", "droning", "still"],
#     "yes": ["danceable", "groovy", "funky", "bouncing"],
# }
# your = concepts.Concept.from_words("danceable", words, judge=danceable)
# ```
#
# or in a file with one row a prompt, `concept = "jazz.csv"`:
#
# ```
# level,word,prompt
# classical,baroque,a slow baroque piece
# classical,romantic,a romantic quartet with a lively theme
# jazz,swing,a slow swing piece
# jazz,bebop,a bebop quartet with a lively theme
# ```
#
# With a judge of your own, write `concepts.Concept.read("jazz.csv", judge=swings)`. `danceable` and
# `swings` are functions of a clip's audio and sample rate that return one number, where levels go
# from low to high, or one number a level.
#
# Three rules keep the study honest. Give at least two words a level. Words that share a part count
# as one, because what is found with *guitar* is no surprise with *acoustic guitar*. Put all levels
# into the same sentences, or a probe may read the sentences instead. An organism reads only the few
# hundred words of its captions: other words are refused, and need a released model.


# %%
def asking(name):
    """The concept, in words that a model reads."""
    your = concepts.get(concept, chapter.language(name, model))
    your.check_words(models[name])
    return your


# %%
models = chapter.models(model, beside)
m = models[model]
if not beside:
    models["untrained"] = chapter.untrained(m)
asked = {name: asking(name) for name in models}
your = asked[model]
levels = your.levels
chance = 1 / len(levels)
words = your.table.groupby("level", sort=False)["word"].unique().map(", ".join)
show.table(words.reset_index(), f"{your.name}: levels and their words")

# %% [markdown]
# Each level's words are split in halves below.
#
# ## The rules, before anything is sung
#
# "Yes" needs a 95 % interval (it holds the true value in 19 of 20 such studies) above nothing and p
# below 0.05 (the chance of such a result if nothing were there, corrected for several claims by
# Holm's method). "No" needs an interval below the smallest effect that matters, and enough power to
# have found it. All else is "cannot tell".
#
# 1. **Songs follow the words.** A song is heard as the level that its prompt asks for. Share of a
#    word's songs, minus chance; one number a word. Null (what is seen if nothing is there): levels
#    dealt to words at random.
# 2. **It can be read inside**, for words that the probe never saw (nor their sentences, if there
#    are enough), above chance, **and beyond the words' embeddings**: more often than from the words
#    before any block, or from a bag of words. One number a family of words that share a part. Null:
#    levels permuted over families.
# 3. **A direction steers.** A direction found on half of the words leads songs of the other half to
#    another level, more often than random directions of the same length. One number a song.
#
# The smallest effects are yours and not in the book's `rules.toml`, so what is found is
# exploratory.

# %%
FOLLOWS = "Songs follow the words"
READ = "It can be read inside, for unseen words"
BEYOND = "It can be read beyond the words' embeddings"
STEERS = "A direction found on some words steers songs of others"
smallest = {FOLLOWS: 0.15, READ: 0.1, BEYOND: 0.1, STEERS: 0.15}

# %% [markdown]
# ## Is the music tied to the words?


# %%
def sing(name):
    """Prompts of a model, words in equal numbers, and their songs."""
    table = asked[name].draw(max(1, sung // len(levels)), seed=seed)
    how = {"seconds": seconds, "seed": seed, "keep": True, "progress": False}
    return table, models[name].generate(list(table["prompt"]), **how)


tables, songs = {}, {}
for name in models:
    tables[name], songs[name] = sing(name)
judges = {
    name: steering.Judge.of(models[name], asked[name], **judging) for name in models
}
for name, judge in judges.items():
    judge.calibrate(songs[name])
heard = {name: judge.named(songs[name]) for name, judge in judges.items()}

# %% [markdown]
# The judge of the instrument learned from music of the organisms' world, played through the model's
# codec (the network that turns sound into tokens and back).

# %%
rows = [(name, ear.reliability) for name, ear in judges[model].ears.items()]
show.table(pd.DataFrame(rows, columns=["judge", "names what is there"]))

# %% [markdown]
# This is how often it is right on music that it did not learn from.


# %%
def follows(name, wanted):
    """Share of each word's songs that are heard as wanted, minus chance."""
    right = pd.Series(heard[name] == np.asarray(wanted, object))
    by_word = right.groupby(tables[name]["word"], sort=False).mean()
    return by_word.to_numpy() - chance


numbers = {name: {FOLLOWS: follows(name, tables[name]["level"])} for name in models}
as_asked = {
    f"{name}: {level}": stats.proportion(heard[name][rows] == level)
    for name in models
    for level, rows in tables[name].groupby("level", sort=False).indices.items()
}
show.estimates(as_asked, "Songs heard as asked (dotted: chance)", "share", chance)

# %% [markdown]
# Right of the dotted line, songs of a level follow its words (bars are 95 % intervals).

# %%
first = tables[model].groupby("level", sort=False).head(1)
sounds = {name: songs[name].audio_at(m.sample_rate) for name in models}
players = {
    row.level: {name: sounds[name][row.Index] for name in models}
    for row in first.itertuples()
}
show.player_grid(players, m.sample_rate)

# %% [markdown]
# Listen down a column: the levels should differ in the model and not in its control.
#
# ## Can it be read inside, beyond the words' embeddings?
#
# A *probe*, a simple linear classifier, reads the *residual stream* (the running sum of all blocks)
# at a block fixed beforehand, and is tested on words that it never saw. The same probe reads the
# words' *static embeddings* (their representation before any block), a *bag of words* (which words
# there are), and the *stream without text*, the run that hears the music alone.


# %%
def inside(name, stream):
    """One block's activations in a stream, averaged over frames."""
    site = activations.at(models[name], depth)
    how = {"stream": stream, "reduce": "mean", "progress": False}
    return activations.capture(models[name], songs[name], site, **how)[site]


def read(name):
    """Share of each family's prompts that every probe names rightly."""
    prompts = list(tables[name]["prompt"])
    spaces = {"block": inside(name, "cond")}
    spaces["static embeddings"] = probes.static(models[name], prompts)
    spaces["bag of words"] = probes.bag(prompts)
    spaces["stream without text"] = inside(name, "uncond")
    split = asked[name].split(tables[name])
    return probes.families(spaces, tables[name]["level"], **split)


# %%
shares = {name: read(name) for name in models}
for name, table in shares.items():
    found = probes.excess(table.drop(columns="stream without text"), chance)
    numbers[name] |= {READ: found["legible"], BEYOND: found["beyond_words"]}
told = {
    f"{name}: {what}": stats.mean(t[what])
    for name, t in shares.items()
    for what in t
}
show.estimates(
    told, "Levels of unseen words, read (dotted: chance)", "share", chance
)

# %% [markdown]
# Right of the dotted line (chance) levels can be read. What *block* has beyond *static embeddings*
# and *bag of words*, the blocks have added; what *stream without text* gives, the model knows from
# the sound.
#
# ## Does a direction steer songs of other words?
#
# A *direction* from one level to the next (and from the last to the first) is the difference of
# what the model holds for both, added while it sings. On the first half of the words directions are
# found, and one strength for all, the lowest that succeeds most (1 is the mean length of what is
# there). Both are tried on the other half, beside random directions.

# %%
WAYS = list(zip(levels, [*levels[1:], levels[0]], strict=True))
how = {"seconds": seconds, "progress": False}


def direction(name, low, high):
    """From one level to another, on the first half of the words."""
    ends = [
        asked[name].asked(end, learned_from, "train", seed) for end in (high, low)
    ]
    site = activations.at(models[name], depth)
    return steering.direction(models[name], *ends, site, seconds=seconds, seed=seed)


vectors = {(name, way): direction(name, *way) for name in models for way in WAYS}


# %%
def tried(way):
    """Success at every strength, of a few songs of the first half."""
    few = your.asked(way[0], 2, "train", seed + 1)
    pushes = [(vectors[model, way], strength) for strength in strengths]
    pushed = steering.push(m, few, pushes, seed=seed + 1, **how)
    return [judges[model].succeeded(some, way[1]).mean() for some in pushed]


by_strength = np.mean([tried(way) for way in WAYS], axis=0)
strength = strengths[int(by_strength.argmax())]


# %%
def attempt(name, way):
    """Songs of the other half at all doses, and in random directions."""
    low, high = way
    each = max(1, (n if name == model else n_beside) // len(WAYS))
    some = asked[name].asked(low, each, "test", seed)
    found = (vectors[name, way], draws * len(some), seed + WAYS.index(way))
    drawn = steering.anywhere(*found)
    push = (vectors[name, way], strength, [drawn[k::draws] for k in range(draws)])
    settings = {"seed": seed + 10_000, **how}
    return steering.attempt(models[name], some, high, *push, **settings)


trials = {(name, way): attempt(name, way) for name in models for way in WAYS}
steered = {}
for name in models:
    parts = [steering.listen(judges[name], trials[name, way]) for way in WAYS]
    steered[name] = steering.together(parts)
    numbers[name] |= {STEERS: steering.numbers(steered[name])["steered"]}

# %%
doses = [dose * strength for dose in steering.DOSES]
lines = {
    name: (doses, [stats.proportion(column) for column in found.success.T])
    for name, found in steered.items()
}
by_chance = stats.mean(steered[model].by_chance.mean(1))
lines[f"{model}, random directions"] = (doses[-1:], [by_chance])
show.curves(lines, "Songs heard as steered", "strength (mean norms)", "success")

# %% [markdown]
# Where a line rises to the right, a stronger push leads more songs to the wanted level; the single
# point is random directions (bars are 95 % intervals).

# %%
players = {}
for low, high in WAYS[:3]:
    trial = trials[model, (low, high)]
    kinds = {"no push": trial.doses[0], "half": trial.doses[1]}
    kinds |= {"chosen": trial.doses[2], "a random direction": trial.controls[0]}
    players[f"{low} → {high}"] = {
        kind: some.audio[0] for kind, some in kinds.items()
    }
show.player_grid(players, m.sample_rate)

# %% [markdown]
# Listen along a row: *chosen* should sound like the second level, and *a random direction* should
# not.
#
# ## What the rules say

# %% tags=["main"]
verdicts = {name: rules.decide(units, smallest) for name, units in numbers.items()}
show.verdicts(rules.table(verdicts, smallest), f"{your.name}, claim by claim")

# %% [markdown]
# A "yes" lies wholly right of the solid line (no effect) and reaches the dotted one (the smallest
# effect that matters) or lies beyond it; a "no" lies wholly left of the dotted one.
#
# The rules are tried on *null subjects*, for which no claim is true: levels are dealt to words and
# families at random, and a lot decides which song counts as steered.

# %%
labels = tables[model]
split = {**your.split(labels), "n": null_subjects}
permuted = probes.permuted_families(inside(model, "cond"), labels["level"], **split)
subjects = iter(permuted - chance)


def null(rng):
    """A subject of which none of the claims is true."""
    of = labels.drop_duplicates("word").set_index("word")["level"]
    dealt = pd.Series(rng.permutation(of), of.index)
    subject = {FOLLOWS: follows(model, labels["word"].map(dealt))}
    subject[STEERS] = steering.dealt(steered[model], rng)["steered"]
    return subject | {READ: next(subjects)}


show.table(rules.trust(numbers[model], null, null_subjects, own=smallest))

# %% [markdown]
# *false positives* (null subjects with a "yes") should be at most 0.05, *coverage* (intervals that
# hold the true mean) about 0.95, and *power* (finding the smallest effect that matters) at least
# 0.8.
#
# ## What it means
#
# Songs may follow words out of habit, and what a probe reads may be there without being used. A
# direction that moves songs of other words shows that the music answers to it, not that the model
# uses it when nobody pushes. None of it says that the concept is *one* thing
# for the model, as [chapter 35](35_understanding) asks of emotion.
#
# **Doubts.** All songs of a way share one direction: what steers here may not steer along one from
# other words, and few random directions lie where songs differ ([chapter 30](30_steering) has a
# stronger control). Where the embeddings give as much as the block, a probe tells only about words. The
# judge is the weakest link: find out how often yours is right. A model that judges its own songs
# says nothing about what people hear.
#
# **What would change our mind.** A control that gets a "yes" for songs that follow words, or for
# steering; random directions that succeed as often; other words of the same levels that give
# another answer.

# %%
controls = {name: found for name, found in verdicts.items() if name != model}
answers = [
    found[claim].answer
    for found in controls.values()
    for claim in (FOLLOWS, STEERS)
]
doubts.told(
    {
        "a control passes for following words or for steering": "yes" in answers,
        "random directions succeed as often": doubts.no_more(
            verdicts[model][STEERS].estimate
        ),
        "other words of the same levels give another answer": None,
    }
)

# %%
cost = stats.mean(steered[model].surprise - steered[model].anyhow.mean(1))
question = f"{your.name}: how much less probable are steered songs than along random directions?"
sizes = [results.finding(question, model, "nats a token", cost)]
found = rules.findings(verdicts, smallest)
results.record("50_your_question", m, [*found, *sizes])

# %%
answers = "; ".join(
    f"{claim.lower()}: *{verdict.answer}* ({verdict.estimate})"
    for claim, verdict in verdicts[model].items()
)
wrong = [
    name
    for name in models
    if name != model
    and "yes" in (verdicts[name][FOLLOWS].answer, verdicts[name][STEERS].answer)
]
struck = f" Struck: {', '.join(wrong)} passed, too." if wrong else ""
Markdown(f"**Verdict** on {your.name} in {model}: {answers}.{struck}")
