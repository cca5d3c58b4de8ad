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
# **Question.** There are many ways to move a concept from inside: a difference of means, a probe, one
# feature, single heads, directions and adapters that are trained. Held to one standard, which of them
# do more than a push of their size in any direction, and does one do as well as asking in words?
#
# **Method.** One protocol for all, as AxBench has for language (Wu et al. 2025). A concept is *induced*
# in songs of neutral prompts, or *suppressed* in songs that were asked for it. What steers is *found*
# on one part of the words, sentences and seeds, its strength is *chosen* on another, and what counts is
# *reported* on a third; the parts share nothing. A song's score is the harmonic mean of three numbers
# from 0 to 1: how far independent listeners hear what is wanted, whether the rest of the prompt (the
# instrument) is kept, and the quality. A song that fails in one of them has no score.
#
# **Hypothesis.** The best method that pushes activations scores higher than its matched control and at
# most a tenth lower than asking. **Null and controls.** Of every method the same with all that it
# learned drawn anew (sites, norms, strengths as they are), other draws for other prompts; directions
# between kinds that were dealt at random; one concept, an instrument, that is no emotion; and
# `organism-shuffled`, whose words mean nothing: no method may beat its control there.

# %% tags=["parameters"]
model = "organism"
concepts = ["happy", "sad", "arousal", "organ"]  # of steering.tasks.KNOWN
methods = []  # of steering.finding.METHODS; [] is all
design = {}  # what else differs from steering.bench.Design
n = 6  # prompts of each task that are reported
beside = ["organism-habit", "organism-shuffled"]
tried_beside = [
    "prompt",
    "text",
    "songs",
    "cross",
    "reft",
    "slider",
]  # and the best
judging = {}  # what differs from steering.Judge
dictionary = {}  # what differs from steering.finding.DICTIONARY
null_subjects = 200
seed = 0

# %%
import pandas as pd
from IPython.display import Markdown, display

from lib import results, show, stats, steering
from lib.book import chapter, rules
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
# ## What is asked
#
# One sentence of every part. *Neutral* prompts are steered towards the concept; *high* ones away from
# it; asking uses the *high* word to induce and the *low* word to suppress.

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
# ## Alignment against preservation
#
# On the choosing part, every method at every strength. *Alignment* is how far songs are heard as wanted,
# *preservation* the harmonic mean of the prompt kept and of quality. Up and to the right is better. More
# strength aligns more and preserves less, until it does neither.

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
# The area under these curves (1: always heard as wanted, nothing lost), of all methods, both aims
# together. The dotted line is that of not steering at all.

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
# ## The table
#
# At the strengths that scored best on the choosing part, on prompts, words, sentences and seeds that
# chose nothing. *Control*: mean score of the matched control. *Above*: score minus control, prompt by
# prompt. *AUROC*: how well the same direction tells songs that were asked for the concept from others.

# %%
reported = mine.report(points)
detected = mine.detection()
table = bench.table(reported, detected)
show.table(table.drop(columns=["success", "kept", "quality"]), f"{model}: scores")

# %% [markdown]
# The same with what the score is made of, for the best method, for asking, and for not steering.

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
# ## What steering costs
#
# The best method at shares of its chosen strength (1 is what was chosen), on the reporting part:
# success rises and falls again, as what is broken is not heard as anything.

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
# ## Hear it
#
# Songs of one seed: not steered, steered by the best method at the chosen strength, pushed by one draw
# of its control, and asked for in words. While one plays, the buttons put another in its place at the
# same moment.

# %%
players = {
    str(task): mine.played(best, task, points[best, task.aim], 0)
    for task in mine.tasks
}
show.switch_players(players, m.sample_rate)

# %% [markdown]
# ## Where words mean nothing
#
# The models beside are steered by what some of the methods find in themselves, the best among them, at
# the same strengths. How much better than its control is each method? (p after Holm's correction over
# methods. `python -m lib.methods.steering.bench --model organism-shuffled` tries all.)

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
# The criteria of `rules.toml`, for the best method. The line is nothing; the dotted line is the smallest
# effect that matters.

# %%
numbers = {name: bench.numbers(found, best) for name, found in everything.items()}
verdicts = {name: rules.decide(units) for name, units in numbers.items()}
show.verdicts(
    rules.beside(rules.table(verdicts)), f"The best method ({best}), by the rules"
)

# %% [markdown]
# How far the rules can be trusted here. A null subject: for every prompt, which of the songs counts as
# steered is dealt among it and those of the control.

# %%
show.table(
    rules.trust(
        numbers[model], lambda rng: bench.dealt(reported, best, rng), null_subjects
    )
)

# %% [markdown]
# ## What it means
#
# A method above its control uses something that the model has; one that does as well as asking has all
# that the words have. A direction that tells songs apart and moves none (a high AUROC, nothing above its
# control) is a correlate. What is found here holds for these strengths, these listeners and songs of a
# few seconds, and a score says nothing of which part of it failed: the table of parts does.
#
# **What would change our mind.** A method that beats its control where words mean nothing; a ranking
# that turns with other words or seeds.

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
