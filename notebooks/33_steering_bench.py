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
# # Which way of steering is best?
#
# **Question.** There are many ways of *steering*, that is, of moving a concept such as *happy* from
# inside a model while it sings. By one standard, which do more than an equally large push in a
# random direction, and does one do as well as asking in words?
#
# **Why it matters.** Methods are mostly shown on examples that their authors chose. A common test
# says which to use.
#
# **Method.** One protocol for all, as the benchmark AxBench has for language models (Wu et al.
# 2025). A concept is *induced* in songs of neutral prompts, or *suppressed* in songs that were
# asked for it. A way to steer is *found* on one part of the words, sentences and seeds, its
# strength is *chosen* on another, and what counts is *reported* on a third. Three numbers from 0 to
# 1 say how far independent listeners (programs) hear what is wanted, whether the rest of the
# prompt, its instrument, is kept, and how good the sound is. A song's *score* is their harmonic
# mean, which stays near the lowest: a song that fails in one has a score of 0.
#
# **Hypothesis and controls.** The best method that pushes *activations* (the numbers inside the
# model) scores higher than its *matched control*, and at most a tenth lower than asking. The
# matched control is the same method with all that it learned drawn at random, at the same places
# and strengths. Further controls are directions between groups that were dealt at random; one
# concept, an instrument, that is no emotion; and `organism-shuffled`. This small MusicGen was
# trained with captions of other clips: words mean nothing to it, and no method may beat its control
# there.

# %% tags=["parameters"]
model = "organism"
concepts = ["happy", "organ"]  # of steering.tasks.KNOWN; the command tries all
methods = []  # of steering.finding.METHODS; [] is all
design = {}  # what else differs from steering.bench.Design
n = 6  # prompts of each task that are reported
beside = ["organism-habit", "organism-shuffled"]
tried_beside = ["prompt", "text", "cross", "slider"]  # and the best
judging = {}  # what differs from steering.Judge
dictionary = {}  # what differs from steering.finding.DICTIONARY
null_subjects = 200
seed = 0

# %%
import pandas as pd
from IPython.display import Markdown, display

from lib import results, show, stats, steering
from lib.book import chapter, doubts, rules
from lib.steering import bench, finding, tasks

# %%
models = chapter.models(model, beside)
m = models[model]


def put_on_the_bench(name, which):
    """A model, its judge and its protocol."""
    how = {"methods": which, "n": n, "seed": seed, **design}
    how["language"] = chapter.language(name)
    sae = finding.dictionary(models[name], **dictionary)
    judge = steering.Judge(models[name], **judging)
    return bench.Bench(judge, bench.Design(concepts, **how), sae)


mine = put_on_the_bench(model, methods or list(finding.METHODS))

# %% [markdown]
# ## The methods, in a clause each
#
# *prompt* asks in words, *guidance* follows the prompt more strongly, and *negative* leads away
# from words for the contrary. *text* and *word* change how the prompt, or its one word, is
# represented. The others change the model's states, mostly the *residual stream*, the running sum
# of all blocks. *diffmeans* and *songs* add the difference of means between songs of both kinds
# (over the same music, or over each kind's own). *probe* takes the weights of a linear classifier,
# *rfm* (a recursive feature machine) learns which directions matter, and *das* (distributed
# alignment search) seeks the few dimensions whose exchange moves the concept. *feature* and
# *selection* use one or several features of a sparse autoencoder (chapter 10). *cross* changes what
# every cross-attention, where music reads the words, adds; *heads* the self-attention heads that
# tell the concept best. *reft* and *reps* are directions trained by gradient descent: ReFT-r1 makes
# songs of the concept likely, RePS prefers them to songs of its contrary. *distilled* is a direction
# for every cross-attention, trained to do what the concept's words do, and *slider* a small trained
# change of the weights (a LoRA adapter) that does. *monitored* pushes less where a probe says that
# the concept is there already. *random* and *shuffled* are controls.
#
# ## What is asked

# %%
columns = ["neutral", "high", "low", "kept"]
examples = [
    {"part": part, "concept": concept, **row[columns]}
    for part in tasks.PARTS
    for concept in concepts
    for _, row in tasks.rows(concept, part, 1, chapter.language(model)).iterrows()
]
show.table(pd.DataFrame(examples), "One row of each part and concept")

# %% [markdown]
# *neutral* prompts are steered towards the concept, *high* ones away from it. Asking uses the
# *high* word to induce and the *low* word to suppress; *kept* is the instrument that must stay.
#
# ## Alignment against preservation
#
# On the choosing part, every method sings at every strength. *Alignment* is how far songs are heard
# as wanted; *preservation* is the harmonic mean of the instrument kept and the quality.

# %%
chosen = mine.choose()
points = bench.points(chosen)
best = bench.best(chosen)
named = ["prompt", "diffmeans", "slider", "random"]
shown = [
    name for name in dict.fromkeys([best, *named]) if name in mine.design.methods
]


# %%
def line(method, aim):
    """A method's curve, in the order of preservation."""
    rows = bench.curve(chosen, method, aim)
    at = rows["preservation"].map(lambda estimate: estimate.value)
    order = at.sort_values().index
    return list(at[order]), list(rows["alignment"][order])


for aim in tasks.AIMS:
    lines = {method: line(method, aim) for method in shown}
    title = f"{aim}: alignment against preservation"
    display(show.curves(lines, title, "preservation", "alignment"))

# %% [markdown]
# Each point is one strength, and the best method runs nearest to the upper right corner.
#
# The area under its curve sums up a method: 1 would be always heard as wanted, with nothing lost.

# %%
areas = {
    f"{method}: {aim}": bench.area(chosen, method, aim)
    for method in mine.design.methods
    for aim in tasks.AIMS
}
for aim in tasks.AIMS:
    some = {n.split(":")[0]: e for n, e in areas.items() if n.endswith(aim)}
    ranked = dict(sorted(some.items(), key=lambda item: -item[1].value))
    plain = bench.curve(chosen[chosen["method"] == ""], "", aim).iloc[0]
    nothing = plain["alignment"].value * plain["preservation"].value
    display(show.estimates(ranked, f"{aim}: area", "area", nothing))

# %% [markdown]
# A method that is not clearly right of the dotted line does no better than not steering at all
# (bars are 95 % intervals).
#
# ## The table
#
# Strengths are those that scored best on the choosing part; prompts, words, sentences and seeds are
# new.

# %%
reported = mine.report(points)
detected = mine.detection()
table = bench.table(reported, detected)
show.table(table.drop(columns=["success", "kept", "quality"]), f"{model}: scores")

# %% [markdown]
# *above* is the score minus *control*, the mean score of the matched control, prompt by prompt: a
# method works where its interval lies above 0. *auroc*, the chance that the direction ranks a song
# that was asked for the concept above one that was not (0.5 is guessing), says what a direction can
# tell, not what it can move.
#
# What is the score made of?

# %%
asked = reported["method"].isin([best, "prompt", ""]) & (reported["draw"] < 0)
parts = reported[asked]
columns = ["success", "kept", "quality", "score"]
rows = [
    {"songs": name or "unsteered", "concept": concept, "aim": aim}
    | {column: stats.mean(some[column]) for column in columns}
    for (name, concept, aim), some in parts.groupby(["method", "concept", "aim"])
]
show.table(pd.DataFrame(rows), "What the score is made of")

# %% [markdown]
# The lowest of *success* (heard as wanted), *kept* (the instrument) and *quality* is what holds a
# score back.
#
# ## What steering costs
#
# The best method is used at shares of its chosen strength, on the reporting part.

# %%
swept = mine.doses(best, points)
each = dict(list(swept.groupby("share")))
lines = {
    column: (list(each), [stats.mean(some[column]) for some in each.values()])
    for column in columns
}
show.curves(
    lines, f"{best}: what more of it does", "share of the chosen strength", "0 to 1"
)

# %% [markdown]
# Where *success* stops rising or *kept* and *quality* fall, more steering only breaks songs.
#
# ## Hear it
#
# Each seed has four songs: not steered, steered by the best method, pushed by one draw of its
# control, and asked for in words.

# %%
players = {
    str(task): mine.played(best, task, points[best, task.aim], 0)
    for task in mine.tasks
}
show.switch_players(players, m.sample_rate)

# %% [markdown]
# While one plays, the buttons put another in its place at the same moment: only *steered* and
# *asked* should change what is wanted.
#
# ## Where words mean nothing
#
# The models beside are steered at the same strengths by what some methods, the best among them,
# find in them. (`python -m lib.methods.steering.bench --model organism-shuffled` tries all
# methods.)

# %%
few = [name for name in mine.design.methods if name in (*tried_beside, best)]
everything = {model: reported}
for name in list(models)[1:]:
    everything[name] = put_on_the_bench(name, few).report(points)
passed = {
    name: bench.passing(found).set_index("method")
    for name, found in everything.items()
}
above = pd.DataFrame({name: found["above"] for name, found in passed.items()})
better = pd.DataFrame({name: found["better"] for name, found in passed.items()})
above = above.loc[few].join(better.loc[few], rsuffix=": better")
show.table(above.reset_index(), "Score above the matched control")

# %% [markdown]
# ✓ in a column *better* means that the score above the matched control is significant after Holm's
# correction for trying many methods; `organism-shuffled` should have no ✓.
#
# Three criteria for the best method were written down before it was measured, with their rules
# (`rules.toml`).

# %% tags=["main"]
numbers = {name: bench.numbers(found, best) for name, found in everything.items()}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(
    rules.beside(rules.table(verdicts)), f"The best method ({best}), by the rules"
)

# %% [markdown]
# A "yes" lies wholly right of the solid line (no effect) and reaches the dotted one (the smallest
# effect that matters) or lies beyond it; a "no" lies wholly left of the dotted one.
#
# The rules are tried on *null subjects*, for which no claim is true: for every prompt a lot decides
# which song counts as steered, that of the method or one of its control.

# %%
show.table(
    rules.trust(
        numbers[model], lambda rng: bench.dealt(reported, best, rng), null_subjects
    )
)

# %% [markdown]
# *false positives* (null subjects with a "yes") should be at most 0.05, *coverage* about 0.95 and
# *power* at least 0.8 (explained in [chapter 30](30_steering)).
#
# ## What it means
#
# A method above its control uses something that the model has. One that does as well as asking
# needs no words for this score. A direction with a high AUROC that beats no control tells songs
# apart without moving any: it is a correlate.
#
# **Doubts.** All this holds for these strengths, these listeners and songs of a few seconds. Each
# method found what it found once for each concept: the intervals hold for other songs, and not for
# what it would find from other words. And few random directions lie where songs differ; [chapter
# 30](30_steering) tries directions from many words beside a stronger control.
#
# **What would change our mind.** A method that beats its control where words mean nothing; a
# ranking that changes with other words or seeds.

# %%
doubts.told(
    {
        "the best method beats its control where words mean nothing": doubts.there(
            verdicts, "organism-shuffled", "benched"
        ),
        "the ranking changes with other words or seeds": None,
    }
)

# %%
kept = []
for name, more in passed[model]["above"].items():
    question = f"{name}: how much better than its matched control?"
    kept.append(results.finding(question, model, stats.side(more), more))
for name, estimate in areas.items():
    kept.append(results.finding(f"{name}: area", model, "area", estimate))
results.record("33_steering_bench", m, [*rules.findings(verdicts), *kept])

# %%
own = reported[reported["draw"] < 0].groupby("method")["score"].mean()
wrong = {name: list(t.index[t["better"]]) for name, t in passed.items()}
beaten = "; ".join(
    f"{name}: {', '.join(some) or 'none'}" for name, some in wrong.items()
)
control = own[best] - numbers[model]["benched"].mean()
told = {name: verdict.answer for name, verdict in verdicts[model].items()}
Markdown(
    f"**Verdict.** Of the methods that push activations *{best}* was chosen. It "
    f"scores {own[best]:.2f}, its control {control:.2f}, asking {own['prompt']:.2f}, "
    f"not steering {own['']:.2f}. Better than its control: *{told['benched']}*; as "
    f"good as asking: *{told['as_asked']}*; the instrument kept: *{told['kept']}*. "
    f"Methods above their control: {beaten}."
)
