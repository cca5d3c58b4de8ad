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
# **Method.** The same songs are read under *happy* and under *sad* prompts; the mean difference is
# a direction. It is added at every frame while the model sings for *sad* prompts, at several
# strengths (1 is the mean norm of the activations). The yardstick is the prompt: songs of the same
# seeds that were asked for *happy*. Method and strength are chosen on one half of the prompts and
# reported on the other. Directions are learned from other words (*cheerful*, *gloomy*, ...) than
# those steered.
#
# **Hypothesis.** On `organism`, sad → happy and calm → energetic succeed in at least 70 % of clips
# with at least 60 % of the prompt's effect. **Null and controls.** A random direction of the same
# norm; the direction of pairs whose kinds were swapped at random; stronger guidance;
# `organism-shuffled`, whose own direction must move valence no more than random ones do.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
strengths = [0.0, 0.08, 0.12, 0.16]
n = 32  # prompts steered
judged = 200  # rendered clips that listeners are judged on
learned_from = 24  # prompts of each kind
size = 32  # SAE features, and dimensions of a learned subspace
pairs = 64  # that a subspace is learned from
steps = 60
recipe = {}  # what differs from that of chapter 10's SAE (lib.book.chapter.Recipe)
seconds = 4.0
beside = ["organism-habit", "organism-shuffled"]
draws = 3  # random directions in the other organisms
ears = ["corpus", "cues"]  # first: names emotions; there are "vibenet", "clap"
seed = 900

# %%
import dataclasses

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from lib import (
    activations,
    causal,
    features,
    listeners,
    prompts,
    results,
    sae,
    show,
    stats,
    steering,
)
from lib.book import chapter

# %%
from lib.causal import variables
from lib.organism import world

# of organisms alone: others do not speak their language
models = chapter.models(
    model, beside if chapter.language(model) == "organism" else []
)
m = models[model]
site = activations.at(m, depth)
language = chapter.language(model)
judge = steering.Judge(m, ears)
PAIRS = {"sad → happy": ("sad", "happy"), "calm → energetic": ("calm", "energetic")}
CONTROLS = ("shuffled", "random")
METHODS = ("diffmeans", "away", "songs", "rfm", "SAE", "subspace", *CONTROLS)
print("instruments recognised in unsteered songs:", judge.instruments)


# %%
def asked(emotion, kind="name", count=n):
    """Prompts for an emotion: by its name, or by what implies it."""
    table = prompts.crossed(kind, count, language, seed)
    return list(table["prompt"][table["emotion"] == emotion])


# %% [markdown]
# Two directions come from earlier chapters: *SAE* keeps to the features of chapter 10 that differ
# most between both emotions, *subspace* to where interchange puts valence or arousal (chapter 21).
# *Away* is the difference of means together with a negative prompt: guidance leads away from *sad
# music* instead of from no text.


# %%
s = chapter.dictionary(m, site, **recipe).sae


def features_of(pair):
    """Directions of the SAE features that tell both emotions apart."""
    ends = [p for e in PAIRS[pair] for p in asked(e, "implied", learned_from)]
    songs = m.generate(ends, 3.0, seed, keep=True)
    activity = sae.activity(s, activations.capture(m, songs, site)[site])[0]
    high = np.arange(len(ends)) >= learned_from
    chosen = features.distinguishing(activity, high, size)
    return s.W_dec[chosen].detach().cpu().numpy()


# %%
def subspace_of(pair):
    """Directions of what the pair differs in: valence or arousal."""
    variable = "valence" if pair == "sad → happy" else "arousal"
    table = prompts.interchanges(variable, pairs, "train", seed)
    sung = variables.sing(m, table, 2.0, seed)
    settings = {"size": size, "steps": steps, "test": sung}
    return causal.locate(m, sung, variable, site, **settings).basis


# %%
def direction(singer, pair, method, at_site=site):
    """A direction of a model's own, from other words than those steered."""
    low, high = [asked(e, "implied", learned_from) for e in PAIRS[pair]]
    settings = {"seed": seed, "directions": None}
    if method in ("SAE", "subspace"):
        span = features_of if method == "SAE" else subspace_of
        settings["directions"] = span(pair)
    method = "diffmeans" if method == "away" else method
    return steering.direction(singer, high, low, at_site, method, **settings)


def steer(singer, pair, vector, levels, **settings):
    """Songs for the low end's prompts, pushed along a direction at several strengths."""
    settings = {"seconds": seconds, "seed": seed, "progress": False, **settings}
    return steering.generate(
        singer, asked(PAIRS[pair][0]), vector, levels, **settings
    )


# %%
def sweep(pair, method):
    """Songs at every strength, the unsteered ones among them."""
    away = {"negative": f"{PAIRS[pair][0]} music"} if method == "away" else {}
    vector = direction(m, pair, method)
    return {0.0: plain[pair], **steer(m, pair, vector, strengths[1:], **away)}


def sing(emotion):
    """Unsteered songs of the same seeds."""
    return m.generate(asked(emotion), seconds, seed, keep=True)


plain = {pair: sing(low) for pair, (low, high) in PAIRS.items()}
reference = {pair: sing(high) for pair, (low, high) in PAIRS.items()}
sung = {(pair, method): sweep(pair, method) for pair in PAIRS for method in METHODS}


# %%
def evaluate(pair, clips, which):
    """What steering did to some of the songs: one row a strength."""
    part = {strength: songs[which] for strength, songs in clips.items()}
    return steering.evaluate(judge, part, reference[pair][which], PAIRS[pair][1])


def table(which):
    """Every method and strength on some of the songs."""
    tables = {
        (pair, method): evaluate(pair, clips, which)
        for (pair, method), clips in sung.items()
    }
    return pd.concat(tables, names=["pair", "method", "row"]).reset_index()


choosing = slice(0, None, 2)
reporting = slice(1, None, 2)
chosen_on = table(choosing)
reported = table(reporting)
pushed = ~reported["strength"].isin([0.0, "prompt"])

# %% [markdown]
# ## Dose and response
#
# Share of the prompt's effect on heard valence and arousal: 1 is as good as asking. Half of the
# prompts, none of which chose anything. Look at success beside it (in the table below): a push that
# only makes songs louder and faster has a share, too.

# %%
colors = dict(zip(METHODS, show.PALETTE, strict=False))
share = "share of the prompt's effect"


def steered(pair):
    """The rows of a pair that are reported, without the prompt's."""
    return reported[(reported["pair"] == pair) & (reported["strength"] != "prompt")]


for pair in PAIRS:
    lines = {
        method: (rows["strength"], list(rows["share"]))
        for method, rows in steered(pair).groupby("method", sort=False)
    }
    title = f"{pair}: what steering does"
    strength = "strength (mean norms)"
    display(show.curves(lines, title, strength, share, bar=1, colors=colors))

# %% [markdown]
# More strength, more effect? Spearman's correlation of strength with what is heard along the
# prompt's shift. It tells whether the order is right, not how much is moved: a weak push in any
# direction that makes songs a little louder has it, too.


# %%
def dose(pair, method):
    """Correlation of strength and response in the songs that are reported."""
    clips = {s: songs[reporting] for s, songs in sung[pair, method].items()}
    return steering.dose(judge, clips, reference[pair][reporting])


show.estimates(
    {f"{pair}: {method}": dose(pair, method) for pair, method in sung},
    "Does the response follow the dose?",
    "Spearman's ρ of strength and response",
    bar=0.9,
)

# %% [markdown]
# ## What does it cost?
#
# *Surprise*: how much less probable (nats a token) the song is than the unsteered one as music of
# any kind, without a prompt. Up and to the left is better: much effect, little damage. The *front*
# (grey) holds what nothing beats in both.


# %%
def values(column):
    """The values of a column of estimates."""
    return column.map(lambda estimate: estimate.value)


def front(part):
    """The points of which no other has more effect at less surprise."""
    cost = values(part["surprise"]).sort_values()
    gain = values(part["share"])[cost.index]
    best = gain[gain > gain.cummax().shift(fill_value=-np.inf)]
    exact = [stats.Estimate(value, value, value, n) for value in best]
    return list(cost[best.index]), exact


# %%
for pair in PAIRS:
    lines = {
        method: (list(values(rows["surprise"])), list(rows["share"]))
        for method, rows in steered(pair).groupby("method", sort=False)
    }
    lines["front"] = front(steered(pair))
    title = f"{pair}: effect against quality"
    surprise = "surprise, nats a token above the unsteered songs"
    grey = {**colors, "front": "#BBBBBB"}
    display(show.curves(lines, title, surprise, share, bar=1, colors=grey))

# %% [markdown]
# ## The best operating point
#
# Chosen on the first half by success and share, measured on the second. The random direction has
# the same norm. *Success*: share of songs heard as the emotion; *recoded*: change in the share of
# tokens that come back when the codec encodes the song again (below 0: artefacts); *distance*: of
# spectra to the unsteered songs; *diversity*: 1 is theirs; *instrument*: how often the one asked
# for is recognised; *silent*, *clipped*: shares.


# %%
def best(pair):
    """The row nearest to asking, of the half that chooses: success and a share up to 1."""
    rows = chosen_on[chosen_on["pair"] == pair]
    rows = rows[(rows["strength"] != "prompt") & ~rows["method"].isin(CONTROLS)]
    share = values(rows["share"]).clip(upper=1).fillna(0)
    return rows.loc[(values(rows["success"]) + share).idxmax()]


point = {pair: best(pair) for pair in PAIRS}
columns = ["pair", "method", "strength", "success", "share", "surprise"]
columns += ["recoded", "distance", "diversity", "instrument"]
show.table(
    reported.loc[pushed, columns], "Every method and strength, on the second half"
)

# %%
rows = []
for pair, chosen in point.items():
    part = reported[reported["pair"] == pair]
    at_strength = part["strength"] == chosen["strength"]
    rows.append(
        part[at_strength & part["method"].isin([chosen["method"], *CONTROLS])]
    )
    asking = part[part["strength"] == "prompt"]
    asking = asking[asking["method"] == chosen["method"]]
    rows.append(asking.assign(method="prompt"))
compared = pd.concat(rows)
show.table(
    compared[[*columns, "silent", "clipped"]],
    "At the strength chosen on the other half",
)

# %% [markdown]
# Do the listeners agree, and how far can each be trusted? *corpus* learned emotions from rendered
# music, *cues* adds up measured cues by the world's weights. Reliability: rank correlation with
# what the world's listeners perceive, on rendered music that this model's codec has encoded
# (chapter 01).

# %%
trust = listeners.reliability(judged, names=tuple(ears), codec=m)
trust = trust[(trust["audio"] == "codec") & (trust["what"] != "emotion")]
trust = {f"{row.listener} {row.what}": row.estimate for row in trust.itertuples()}
last = pd.DataFrame([{"pair": "reliability", "method": "", **trust}])
show.table(
    pd.concat([compared[["pair", "method", *trust]], last]),
    "Change of what each listener hears, standard deviations of the world's music; "
    "last: reliability",
)

# %% [markdown]
# What else moves? Every cue, in standard deviations of the world's music. The prompt moves what the
# world says belongs to the emotion; a good direction moves the same.

# %%
for pair in PAIRS:
    part = compared[(compared["pair"] == pair) & (compared["method"] != "shuffled")]
    cues = {
        f"{row.method}: {cue}": getattr(row, cue)
        for cue in world.CUES
        for row in part.itertuples()
    }
    shades = {point[pair]["method"]: show.PALETTE[2], "random": show.PALETTE[5]}
    unit = "standard deviations"
    display(show.estimates(cues, f"{pair}: cues", unit, bar=0, colors=shades))

# %% [markdown]
# ## Ways to apply it
#
# The same direction and strength: on the conditional stream alone, on both streams, fading, rising,
# with the norm kept, with the strength set step by step by a probe. Without any direction: stronger
# guidance, and guidance away from *sad* (a negative prompt alone).


# %%
pair = "sad → happy"
chosen = point[pair]
away = {"negative": "sad music"} if chosen["method"] == "away" else {}
WAYS = {
    "constant": away,
    "decay": {"schedule": "decay", **away},
    "ramp": {"schedule": "ramp", **away},
    "both streams": {"stream": "both", **away},
    "norm kept": {"keep_norm": True, **away},
    "monitored": {"monitored": True, **away},
    "guidance × 2": {"cfg": 2 * m.defaults["cfg"]},
    "negative prompt": {"negative": "sad music"},
}
WITHOUT = ("guidance × 2", "negative prompt")  # a direction: strength 0


# %%
def way(name, settings):
    """One way, measured on all prompts."""
    strength = 0.0 if name in WITHOUT else chosen["strength"]
    vector = direction(
        m, pair, "diffmeans" if name in WITHOUT else chosen["method"]
    )
    clips = steer(m, pair, vector, [strength], **settings)
    both = {0.0: plain[pair], name: clips[strength]}
    return evaluate(pair, both, slice(None)).iloc[[1]]


ways = pd.concat(way(name, settings) for name, settings in WAYS.items())
show.table(
    ways.rename(columns={"strength": "way"})[
        ["way", "success", "share", "surprise", "instrument"]
    ],
    f"{pair}: the same direction, applied in other ways",
)

# %% [markdown]
# ## Where to push
#
# The difference of means at the chosen strength, at every block, on the second half of the prompts.


# %%
def at_block(block):
    """One block's row."""
    vector = direction(m, pair, "diffmeans", f"resid.{block}")
    clips = steer(m, pair, vector, [chosen["strength"]])
    table = evaluate(pair, {0.0: plain[pair], **clips}, reporting)
    return table.iloc[[1]].assign(site=f"resid.{block}")


blocks = pd.concat(map(at_block, range(len(m.lm.transformer.layers))))
show.table(
    blocks[["site", "success", "share", "surprise", "instrument"]],
    f"{pair}: the difference of means, by block",
)

# %% [markdown]
# ## Hear it

# %%
for pair, chosen in point.items():
    songs = sung[pair, chosen["method"]][chosen["strength"]]
    players = {
        plain[pair].prompts[i]: {
            "strength 0": plain[pair].audio[i],
            f"strength {chosen['strength']:g}": songs.audio[i],
            "asked for it": reference[pair].audio[i],
        }
        for i in (1, 3)
    }
    display(show.player_grid(players, m.sample_rate))

# %% [markdown]
# ## Where words mean nothing
#
# Every other organism is steered with its own difference of means and with random directions, at
# the largest strength, all on the same songs. A single random direction may point anywhere and do
# something; so there are several, each counted as moving up. In `organism-shuffled` its own must do
# no more than these.

# %%
pair = "sad → happy"
most = strengths[-1]


def anywhere(vector, rng):
    """The same vector, pointing in a random direction."""
    unit = rng.normal(size=len(vector.units[site]))
    return dataclasses.replace(vector, units={site: unit / np.linalg.norm(unit)})


def shift(singer, vector):
    """How far a vector moves heard valence, song by song."""
    settings = {"keep": True, "progress": False}
    unsteered = singer.generate(asked(PAIRS[pair][0]), seconds, seed, **settings)
    songs = steer(singer, pair, vector, [most])[most]
    return judge.place(songs)[:, 0] - judge.place(unsteered)[:, 0]


# %%
further = {}
moved = {}
for name in list(models)[1:]:
    rng = np.random.default_rng(seed)
    vector = direction(models[name], pair, "diffmeans")
    own = shift(models[name], vector)
    random = [shift(models[name], anywhere(vector, rng)) for _ in range(draws)]
    random = np.mean([np.sign(change.mean()) * change for change in random], 0)
    further[name] = stats.mean(own - random)
    moved[f"{name}: own direction"] = stats.mean(own)
    moved[f"{name}: random ones"] = stats.mean(random)
    moved[f"{name}: own minus random"] = further[name]
show.estimates(
    moved,
    f"Change of heard valence at strength {most:g} (dotted: none)",
    "standard deviations of the world's music",
    bar=0,
) if moved else None

# %% [markdown]
# ## What it means
#
# A direction that does what the prompt does, by degrees and at the prompt's own cost, is more than
# a correlate: the model *uses* it. A direction that only makes the music loud, fast and improbable
# is not an emotion, however well a probe reads it.
#
# **What would change our mind.** Random directions that succeed as often; shares of the prompt's
# effect that come with much more surprise than the prompt's songs have; cues that move against the
# world.


# %%
findings = []


def find(question, answer, estimate):
    """Keep a finding about the model."""
    findings.append(results.finding(question, model, answer, estimate))


def chosen_rows(pair):
    """What the chosen point did, the same strength at random, and the prompt."""
    rows = compared[compared["pair"] == pair].set_index("method")
    return rows.loc[point[pair]["method"]], rows.loc["random"], rows.loc["prompt"]


def cues_of(row):
    """How far each cue moved."""
    return [row[cue].value for cue in world.CUES]


# %%
for pair, chosen in point.items():
    mine, random, asking = chosen_rows(pair)
    at = f"({chosen['method']} at {chosen['strength']:g})"
    find(f"How often does steering take {pair} {at}?", "share", mine["success"])
    find(f"How much of the prompt's effect {at}?", "share", mine["share"])
    response = dose(pair, chosen["method"])
    find(f"Does the response follow the dose ({pair})?", "Spearman's ρ", response)
    alike = stats.correlation(cues_of(mine), cues_of(asking))
    find(f"Do cues move as when asked ({pair})?", "correlation over cues", alike)
    taken = random["success"]
    find(f"How often does a random direction take {pair}?", "share", taken)
    find(f"How surprising is the music {at}?", "nats a token", mine["surprise"])

# %%
question = (
    "How much further does a model's own direction move valence than random ones?"
)
for name, gain in further.items():
    findings.append(results.finding(question, name, stats.side(gain), gain))
results.record("30_steering", model, findings)


# %%
def percent(row, column):
    """A share as text."""
    return f"{row[column].value:.0%}"


sentences = []
for pair, chosen in point.items():
    mine, _, asking = chosen_rows(pair)
    sentences.append(
        f"{pair} ({chosen['method']} at {chosen['strength']:g}): "
        f"{percent(mine, 'success')} of songs are heard as wanted (asked for: "
        f"{percent(asking, 'success')}), with {percent(mine, 'share')} of the prompt's "
        f"effect. The instrument is recognised in {percent(mine, 'instrument')} (asked "
        f"for: {percent(asking, 'instrument')}), and the music is "
        f"{mine['surprise'].value:.1f} nats a token less probable than unsteered "
        f"(asked for: {asking['surprise'].value:.1f})."
    )
Markdown("**Verdict.** " + " ".join(sentences))
