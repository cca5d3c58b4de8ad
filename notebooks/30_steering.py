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
# **Question.** If a direction inside the model is an emotion, then pushing along it must change what is heard, by degrees, and leave the
# rest of the music whole. Does it?
#
# **Method.** The same songs are read under *happy* and under *sad* prompts; the mean difference is a direction. It is added at every
# frame while the model sings for *sad* prompts, at several strengths (1 is the mean norm of the activations). The yardstick is the prompt:
# songs of the same seeds that were asked for *happy*. Method and strength are chosen on one half of the prompts and reported on
# the other. Directions are learned from other words (*cheerful*, *gloomy*, ...) than those steered.
#
# **Hypothesis.** On `organism`, sad → happy and calm → energetic succeed in at least 70 % of clips with at least 60 % of the
# prompt's effect. **Null and controls.** A random direction of the same norm; the direction of pairs whose kinds were swapped at random;
# stronger guidance; `organism-shuffled`, whose own direction must move valence no more than random ones do.

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
clips = 3000  # of chapter 10's SAE
clip_seconds = 4.0
width = 1024
k = 30
passes = 8
seconds = 4.0
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
    harvest,
    listeners,
    prompts,
    results,
    sae,
    show,
    stats,
    steering,
)

# %%
from lib import model as musicgen
from lib.causal import variables
from lib.organism import world

m = musicgen.load(model)
site = activations.at(m, depth)
language = "organism" if model in world.WORLDS else "natural"
judge = steering.Judge(m, ears)
PAIRS = {"sad → happy": ("sad", "happy"), "calm → energetic": ("calm", "energetic")}
METHODS = (
    "diffmeans",
    "away",
    "songs",
    "rfm",
    "SAE",
    "subspace",
    "shuffled",
    "random",
)
print("instruments recognised in unsteered songs:", judge.instruments)


# %%
def asked(emotion, kind="name", count=n):
    """Prompts for an emotion: by its name, or by what implies it."""
    table = prompts.crossed(kind, count, language, seed)
    return list(table["prompt"][table["emotion"] == emotion])


# %% [markdown]
# Two directions come from earlier chapters: *SAE* keeps to the features of chapter 10 that differ most between both emotions,
# *subspace* to where interchange puts valence or arousal (chapter 21). *Away* is the difference of means together with a negative
# prompt: guidance leads away from *sad music* instead of from no text.


# %%
these, _ = harvest.clips(m, clips, seconds=clip_seconds)
learned = harvest.acts(m, these, site)[site][: clips // 2]
dictionary = sae.trained(m, learned, width, k, passes, 0)


def features_of(pair):
    """Directions of the SAE features that tell both emotions apart."""
    ends = [p for e in PAIRS[pair] for p in asked(e, "implied", learned_from)]
    songs = m.generate(ends, 3.0, seed, keep=True)
    acts = activations.capture(m, songs, site)[site]
    high = np.arange(len(ends)) >= learned_from
    chosen = features.distinguishing(sae.activity(dictionary, acts)[0], high, size)
    return dictionary.W_dec[chosen].detach().numpy()


# %%
def subspace_of(pair):
    """Directions of what the pair differs in: valence or arousal."""
    variable = "valence" if pair == "sad → happy" else "arousal"
    table = prompts.interchanges(variable, pairs, "train", seed)
    sung = variables.sing(m, table, 2.0, seed)
    told = {"size": size, "steps": steps, "test": sung}
    return causal.locate(m, sung, variable, site, **told).basis


# %%
def direction(x, pair, method, where=site):
    """A direction of a model's own, from other words than those steered."""
    low, high = PAIRS[pair]
    kinds = [asked(e, "implied", learned_from) for e in (high, low)]
    span = {"SAE": features_of, "subspace": subspace_of}.get(method)
    own = None if span is None else span(pair)
    method = "diffmeans" if method == "away" else method
    return steering.direction(x, *kinds, where, method, seed=seed, directions=own)


def sweep(x, pair, method, these=tuple(strengths[1:]), vector=None, **how):
    """Songs at several strengths."""
    low, vector = PAIRS[pair][0], vector or direction(x, pair, method)
    if method == "away":
        how["negative"] = f"{low} music"
    settings = {"seconds": seconds, "seed": seed, "progress": False}
    return steering.generate(x, asked(low), vector, these, **settings, **how)


# %%
plain, reference = (
    {p: m.generate(asked(e[i]), seconds, seed, keep=True) for p, e in PAIRS.items()}
    for i in (0, 1)
)
sung = {
    (pair, method): {0.0: plain[pair], **sweep(m, pair, method)}
    for pair in PAIRS
    for method in METHODS
}


# %%
def row(pair, clips, half):
    """One method on one half of the prompts."""
    part = {s: c[half] for s, c in clips.items()}
    return steering.evaluate(judge, part, reference[pair][half], PAIRS[pair][1])


def table(half):
    """Every method and strength on one half of the prompts."""
    tables = {(pair, k): row(pair, c, half) for (pair, k), c in sung.items()}
    return pd.concat(tables, names=["pair", "method", "row"]).reset_index()


chosen_on, reported = table(slice(0, None, 2)), table(slice(1, None, 2))

# %% [markdown]
# ## Dose and response
#
# Share of the prompt's effect on heard valence and arousal: 1 is as good as asking. Half of the prompts, none of which chose anything. Look at
# success beside it (in the table below): a push that only makes songs louder and faster has a share, too.

# %%
colors = dict(zip(METHODS, show.PALETTE, strict=False))
for pair in PAIRS:
    part = reported[(reported["pair"] == pair) & (reported["strength"] != "prompt")]
    lines = {
        k: (g["strength"], list(g["share"]))
        for k, g in part.groupby("method", sort=False)
    }
    display(
        show.curves(
            lines,
            f"{pair}: what steering does",
            "strength (mean norms)",
            "share of the prompt's effect",
            bar=1,
            colors=colors,
        )
    )

# %% [markdown]
# More strength, more effect? Spearman's correlation of strength with what is heard along the prompt's shift. It tells whether the order is
# right, not how much is moved: a weak push in any direction that makes songs a little louder has it, too.

# %%
half = slice(1, None, 2)
show.estimates(
    {
        f"{pair}: {method}": steering.dose(
            judge, {s: c[half] for s, c in clips.items()}, reference[pair][half]
        )
        for (pair, method), clips in sung.items()
    },
    "Does the response follow the dose?",
    "Spearman's ρ of strength and response",
    bar=0.9,
)

# %% [markdown]
# ## What does it cost?
#
# *Surprise*: how much less probable (nats a token) the song is than the unsteered one as music of any kind, without a prompt. Up and to the
# left is better: much effect, little damage. The *front* (grey) holds what nothing beats in both.


# %%
def front(part):
    """The points of which no other has more effect at less surprise."""
    cost, gain = (part[c].map(lambda e: e.value) for c in ("surprise", "share"))
    order = cost.sort_values().index
    best = order[gain[order].gt(gain[order].cummax().shift(fill_value=-np.inf))]
    exact = [stats.Estimate(*[gain[i]] * 3, n) for i in best]
    return [cost[i] for i in best], exact


# %%
for pair in PAIRS:
    part = reported[(reported["pair"] == pair) & (reported["strength"] != "prompt")]
    lines = {
        k: ([e.value for e in g["surprise"]], list(g["share"]))
        for k, g in part.groupby("method", sort=False)
    }
    lines["front"] = front(part)
    display(
        show.curves(
            lines,
            f"{pair}: effect against quality",
            "surprise, nats a token above the unsteered songs",
            "share of the prompt's effect",
            bar=1,
            colors={**colors, "front": "#BBBBBB"},
        )
    )

# %% [markdown]
# ## The best operating point
#
# Chosen on the first half by success and share, measured on the second. The random direction has the same norm. *Success*: share of songs heard as
# the emotion; *recoded*: change in the share of tokens that come back when the codec encodes the song again (below 0: artefacts); *distance*:
# of spectra to the unsteered songs; *diversity*: 1 is theirs; *instrument*: how often the one asked for is recognised; *silent*, *clipped*: shares.


# %%
def best(pair):
    """Method and strength nearest to asking on the half that chooses: most success, and a share up to 1."""
    t = chosen_on[(chosen_on["pair"] == pair) & (chosen_on["strength"] != "prompt")]
    t = t[~t["method"].isin(["random", "shuffled"])]
    success, share = (t[c].map(lambda e: e.value) for c in ("success", "share"))
    return t.loc[(success + share.clip(upper=1).fillna(0)).idxmax()]


point = {pair: best(pair) for pair in PAIRS}
columns = ["pair", "method", "strength", "success", "share", "surprise", "recoded", "distance", "diversity", "instrument", "silent", "clipped"]  # fmt: skip
pushed = ~reported["strength"].isin([0.0, "prompt"])
show.table(
    reported.loc[pushed, columns[:-2]],
    "Every method and strength, on the second half",
)

# %%
rows = []
for pair, p in point.items():
    t = reported[reported["pair"] == pair]
    wanted = t["method"].isin([p["method"], "shuffled", "random"])
    asking = t[(t["strength"] == "prompt") & (t["method"] == p["method"])]
    rows += [
        t[wanted & (t["strength"] == p["strength"])],
        asking.assign(method="prompt"),
    ]
compared = pd.concat(rows)
show.table(compared[columns], "At the strength chosen on the other half")

# %% [markdown]
# Do the listeners agree, and how far can each be trusted? *corpus* learned emotions from rendered music, *cues* adds up measured cues by
# the world's weights. Reliability: rank correlation with what the world's listeners perceive, on rendered music that this model's codec has
# encoded (chapter 01).

# %%
trust = listeners.reliability(judged, names=tuple(ears), codec=m)
trust = trust[(trust["audio"] == "codec") & (trust["what"] != "emotion")]
trust = {f"{r.listener} {r.what}": r.estimate for r in trust.itertuples()}
last = pd.DataFrame([{"pair": "reliability", "method": "", **trust}])
show.table(
    pd.concat([compared[["pair", "method", *trust]], last]),
    "Change of what each listener hears, standard deviations of the world's music; last: reliability",
)

# %% [markdown]
# What else moves? Every cue, in standard deviations of the world's music. The prompt moves what the world says belongs to the emotion; a good
# direction moves the same.

# %%
for pair in PAIRS:
    part = compared[
        (compared["pair"] == pair) & ~compared["method"].isin(["shuffled"])
    ]
    show_cues = {
        f"{r.method}: {cue}": getattr(r, cue)
        for cue in world.CUES
        for r in part.itertuples()
    }
    shades = {point[pair]["method"]: show.PALETTE[2], "random": show.PALETTE[5]}
    display(
        show.estimates(
            show_cues, f"{pair}: cues", "standard deviations", bar=0, colors=shades
        )
    )

# %% [markdown]
# ## Ways to apply it
#
# The same direction and strength: on the conditional stream alone, on both streams, fading, rising, with the norm kept, with the strength set
# step by step by a probe. Without any direction: stronger guidance, and guidance away from *sad* (a negative prompt alone).


# %%
WAYS = {
    "constant": {}, "decay": {"schedule": "decay"}, "ramp": {"schedule": "ramp"}, "both streams": {"stream": "both"},
    "norm kept": {"keep_norm": True}, "monitored": {"monitored": True}, "guidance × 2": {"cfg": 2 * m.defaults["cfg"], "part": 0}, "negative prompt": {"negative": "sad music", "part": 0},
}  # fmt: skip


# %%
def way(pair, name, part=1.0, **how):
    """One way, measured on all prompts."""
    p = point[pair]
    s, method = part * p["strength"], p["method"] if part else "diffmeans"
    clips = sweep(m, pair, method, (s,), **how)
    both = {0.0: sung[pair, p["method"]][0.0], name: clips[s]}
    row = steering.evaluate(judge, both, reference[pair], PAIRS[pair][1]).iloc[[1]]
    return row.assign(pair=pair)


pair = "sad → happy"
ways = pd.concat(way(pair, k, **how) for k, how in WAYS.items())
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
    p, low = point[pair], asked(PAIRS[pair][0])
    vector = direction(m, pair, "diffmeans", f"resid.{block}")
    settings = {"seconds": seconds, "seed": seed, "progress": False}
    clips = steering.generate(m, low, vector, [p["strength"]], **settings)
    both = {0.0: plain[pair][half], p["strength"]: clips[p["strength"]][half]}
    row = steering.evaluate(judge, both, reference[pair][half], PAIRS[pair][1])
    return row.iloc[[1]].assign(site=f"resid.{block}")


blocks = pd.concat(map(at_block, range(len(m.lm.transformer.layers))))
show.table(
    blocks[["site", "success", "share", "surprise", "instrument"]],
    f"{pair}: the difference of means, by block",
)

# %% [markdown]
# ## Hear it

# %%
for pair, p in point.items():
    clips = {
        asked(PAIRS[pair][0])[i]: {
            f"strength {s:g}": sung[pair, p["method"]][s].audio[i]
            for s in (0.0, p["strength"])
        }
        | {"asked for it": reference[pair].audio[i]}
        for i in (1, 3)
    }
    display(show.player_grid(clips, m.sample_rate))

# %% [markdown]
# ## Where words mean nothing
#
# Every other organism is steered with its own difference of means and with random directions, at the largest strength, all on the same songs.
# A single random direction may point anywhere and do something; so there are several, each counted as moving up. In `organism-shuffled` its own must
# do no more than these.

# %%
pair, at = "sad → happy", strengths[-1]


def anywhere(vector, rng):
    """The same vector, pointing in a random direction."""
    unit = rng.normal(size=len(vector.units[site]))
    return dataclasses.replace(vector, units={site: unit / np.linalg.norm(unit)})


def shifts(x):
    """Heard valence, song by song: moved by a model's own direction, and by random ones."""
    own, rng = direction(x, pair, "diffmeans"), np.random.default_rng(seed)
    plain = x.generate(
        asked(PAIRS[pair][0]), seconds, seed, keep=True, progress=False
    )
    vectors = [own, *(anywhere(own, rng) for _ in range(draws))]
    songs = [sweep(x, pair, "", (at,), v)[at] for v in vectors]
    own, *random = (judge.place(c)[:, 0] - judge.place(plain)[:, 0] for c in songs)
    return own, np.mean([np.sign(r.mean()) * r for r in random], 0)


# %%
names = [] if model not in world.WORLDS else [w for w in world.WORLDS if w != model]
both = {name: shifts(musicgen.load(name)) for name in names}
further = {name: stats.mean(own - random) for name, (own, random) in both.items()}
moved = {}
for name, (own, random) in both.items():
    moved[f"{name}: own direction"] = stats.mean(own)
    moved[f"{name}: random ones"] = stats.mean(random)
    moved[f"{name}: own minus random"] = further[name]
show.estimates(
    moved,
    f"Change of heard valence at strength {at:g} (dotted: none)",
    "standard deviations of the world's music",
    bar=0,
) if names else None

# %% [markdown]
# ## What it means
#
# A direction that does what the prompt does, by degrees and at the prompt's own cost, is more than a correlate: the model *uses* it. A
# direction that only makes the music loud, fast and improbable is not an emotion, however well a probe reads it.
#
# **What would change our mind.** Random directions that succeed as often; shares of the prompt's effect that come with much more surprise
# than the prompt's songs have; cues that move against the world.


# %%
def followed(pair, method, t):
    """Whether the response follows the dose, and the cues those of the prompt's songs."""
    clips = {s: c[half] for s, c in sung[pair, method].items()}
    cues = [[t.loc[k, c].value for c in world.CUES] for k in (method, "prompt")]
    return steering.dose(judge, clips, reference[pair][half]), stats.correlation(
        *cues
    )


# %%
findings = []
for pair, p in point.items():
    t = compared[compared["pair"] == pair].set_index("method")
    mine, control = t.loc[p["method"]], t.loc["random"]
    at = f"({p['method']} at {p['strength']:g})"
    good = mine["success"].value >= 0.7 and mine["share"].value >= 0.6
    cheap = mine["surprise"].high < control["surprise"].value
    dose, alike = followed(pair, p["method"], t)
    told = [
        (f"Does steering take {pair} {at}?", good, mine["success"], "steering"),
        (f"How much of the prompt's effect {at}?", "share", mine["share"], None),
        (f"Does the response follow the dose ({pair}, Spearman of 0.9)?", dose.value >= 0.9, dose, None),
        (f"Do cues move as when asked ({pair}, correlation over cues)?", alike.low > 0, alike, None),
        (f"Does a random direction take {pair}?", control["success"].low > 0.5, control["success"], None),
        (f"Is the music as probable as after a random push {at}?", cheap, mine["surprise"], "quality"),
    ]  # fmt: skip
    findings += [results.finding(q, model, *rest) for q, *rest in told]

# %%
question = "Does an organism's own direction move valence further than random ones?"
for name, e in further.items():
    findings.append(results.finding(question, name, e.low > 0, e, "steering"))
results.record("30_steering", model, findings)

# %%
told = []
for pair, p in point.items():
    t = compared[compared["pair"] == pair].set_index("method")
    mine, asking = t.loc[p["method"]], t.loc["prompt"]
    told.append(
        f"{pair} ({p['method']} at {p['strength']:g}): {mine['success'].value:.0%} of songs are heard as wanted (asked for: "
        f"{asking['success'].value:.0%}), with {mine['share'].value:.0%} of the prompt's effect. The instrument is recognised in "
        f"{mine['instrument'].value:.0%} (asked for: {asking['instrument'].value:.0%}), and the music is {mine['surprise'].value:.1f} "
        f"nats a token less probable than unsteered (asked for: {asking['surprise'].value:.1f})."
    )
Markdown("**Verdict.** " + " ".join(told))
