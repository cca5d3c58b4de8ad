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
site = "resid.4"
strengths = [0.0, 0.08, 0.12, 0.16, 0.2]
n = 24  # prompts steered
learned_from = 24  # prompts of each kind
seconds = 4.0
seed = 900

# %%
import pandas as pd
from IPython.display import display

from lib import model as musicgen
from lib import prompts, results, show, stats, steering
from lib.organism import world

m = musicgen.load(model)
language = "organism" if model in world.WORLDS else "natural"
judge = steering.Judge(m)
PAIRS = {"sad → happy": ("sad", "happy"), "calm → energetic": ("calm", "energetic")}
METHODS = ("diffmeans", "songs", "rfm", "shuffled", "random")  # and "probe"
print("instruments recognised in unsteered songs:", judge.instruments)


# %%
def asked(emotion, kind="name", count=n):
    """Prompts for an emotion: by its name, or by what implies it."""
    table = prompts.crossed(kind, count, language, seed)
    return list(table["prompt"][table["emotion"] == emotion])


def sweep(x, pair, method, these=tuple(strengths), **how):
    """A dose-response curve along a direction of the model's own."""
    low, high = PAIRS[pair]
    kinds = [asked(e, "implied", learned_from) for e in (high, low)]
    vector = steering.direction(x, *kinds, site, method, seed=seed)
    settings = {"seconds": seconds, "seed": seed, "progress": False}
    return steering.generate(x, asked(low), vector, these, **settings, **how)


# %%
reference = {
    pair: m.generate(asked(high), seconds, seed, keep=True)
    for pair, (_, high) in PAIRS.items()
}
sung = {
    (pair, method): sweep(m, pair, method) for pair in PAIRS for method in METHODS
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
# Share of the prompt's effect on heard valence and arousal: 1 is as good as asking. Half of the prompts, none of which chose anything.

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
# ## What does it cost?
#
# *Surprise*: how much less probable (nats a token) the song is than the unsteered one as music of any kind, without a prompt. Up and to the
# left is better: much effect, little damage.

# %%
for pair in PAIRS:
    part = reported[(reported["pair"] == pair) & (reported["strength"] != "prompt")]
    lines = {
        k: ([e.value for e in g["surprise"]], list(g["share"]))
        for k, g in part.groupby("method", sort=False)
    }
    display(
        show.curves(
            lines,
            f"{pair}: effect against quality",
            "surprise, nats a token above the unsteered songs",
            "share of the prompt's effect",
            bar=1,
            colors=colors,
        )
    )

# %% [markdown]
# ## The best operating point
#
# Chosen on the first half by success, the rest is measured on the second. The random direction has the same norm.


# %%
def best(pair):
    """Method and strength with the most success on the half that chooses (ties: the least surprise)."""
    t = chosen_on[(chosen_on["pair"] == pair) & (chosen_on["strength"] != "prompt")]
    t = t[~t["method"].isin(["random", "shuffled"])]
    t = t.assign(hit=t["success"].map(lambda e: e.value), cost=t["surprise"].map(lambda e: e.value))  # fmt: skip
    return t.sort_values(["hit", "cost"], ascending=[False, True]).iloc[0]


point = {pair: best(pair) for pair in PAIRS}

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
show.table(
    compared[["pair", "method", "strength", "success", "share", "surprise", "distance", "diversity", "instrument", "silent", "clipped"]],
    "At the strength chosen on the other half",
)  # fmt: skip

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
# step by step by a probe, or at three sites at once. And without any direction: stronger guidance.


# %%
WAYS = {
    "constant": {}, "decay": {"schedule": "decay"}, "ramp": {"schedule": "ramp"}, "both streams": {"stream": "both"},
    "norm kept": {"keep_norm": True}, "monitored": {"monitored": True}, "guidance × 2": {"cfg": 2 * m.defaults["cfg"]},
}  # fmt: skip


# %%
def way(pair, name, how):
    """One way, measured on all prompts."""
    p = point[pair]
    s = 0.0 if name.startswith("guidance") else p["strength"]
    clips = sweep(m, pair, p["method"], (s,), **how)
    both = {0.0: sung[pair, p["method"]][0.0], name: clips[s]}
    row = steering.evaluate(judge, both, reference[pair], PAIRS[pair][1]).iloc[[1]]
    return row.assign(pair=pair)


pair = "sad → happy"
ways = pd.concat(way(pair, k, how) for k, how in WAYS.items())
show.table(
    ways[["strength", "success", "share", "surprise", "instrument"]],
    f"{pair}: the same direction, applied in other ways",
)

# %% [markdown]
# ## Hear it

# %%
shown = [s for s in strengths if s <= max(p["strength"] for p in point.values())]
for pair, p in point.items():
    clips = {
        asked(PAIRS[pair][0])[i]: {
            f"strength {s:g}": sung[pair, p["method"]][s].audio[i]
            for s in shown[::2]
        }
        | {"asked for it": reference[pair].audio[i]}
        for i in (1, 3)
    }
    display(show.player_grid(clips, m.sample_rate))

# %% [markdown]
# ## Where words mean nothing
#
# `organism-shuffled` is steered with its own direction and with random ones, at the strength chosen above.

# %%
x = musicgen.load("organism-shuffled")
s = point["sad → happy"]["strength"] or strengths[-1]
silent = {}
for method in ("diffmeans", "random"):
    clips = sweep(x, "sad → happy", method, (0.0, s))
    heard = [judge.hear(c)["corpus valence"] for c in clips.values()]
    silent[method] = stats.mean(heard[1] - heard[0])
show.estimates(
    {f"organism-shuffled: {k}": e for k, e in silent.items()},
    f"Change of heard valence at strength {s:g} (dotted: none)",
    "standard deviations of the world's music",
    bar=0,
)

# %% [markdown]
# ## What it means
#
# A direction that does what the prompt does, by degrees and at the prompt's own cost, is more than a correlate: the model *uses* it. A
# direction that only makes the music loud, fast and improbable is not an emotion, however well a probe reads it.
#
# **What would change our mind.** Random directions that succeed as often; shares of the prompt's effect that come with much more surprise
# than the prompt's songs have; cues that move against the world.

# %%
findings = []
for pair, p in point.items():
    t = compared[compared["pair"] == pair].set_index("method")
    mine, control = t.loc[p["method"]], t.loc["random"]
    good = mine["success"].value >= 0.7 and mine["share"].value >= 0.6
    answer = f"{'yes' if good else 'no'}: {p['method']} at {p['strength']:g}"
    findings += [
        {"question": f"Does steering take {pair}?", "subject": model, "answer": answer, "estimate": mine["success"]},
        {"question": f"How much of the prompt's effect ({pair})?", "subject": model, "answer": "share", "estimate": mine["share"]},
        {"question": f"Does a random direction take {pair}?", "subject": model, "answer": "yes" if control["success"].low > 0.2 else "no",
         "estimate": control["success"]},
    ]  # fmt: skip

apart = silent["diffmeans"].low > silent["random"].high
findings.append(
    {"question": "Does steering take sad → happy?", "subject": "organism-shuffled", "answer": "yes" if apart else "no",
     "estimate": silent["diffmeans"]}
)  # fmt: skip
results.record("30_steering", model, findings)
