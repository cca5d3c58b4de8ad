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
# # How different are emotions inside?
#
# **Question.** Are clips of one emotion more alike inside the model than clips of different emotions? And if they are, is
# it the text that makes them so, or only the music?
#
# **Hypothesis.** In `organism` they are, through both. **Null.** The difference of the mean cosine within and between
# emotions is what it is when labels are dealt to prompts at random. **Control.** `organism-shuffled` has words that mean
# nothing: nothing may show there. The unit is the prompt. The words are synonyms, never the emotion's own name.

# %% tags=["parameters"]
model = "organism"
seconds = 4.0
n = 24  # prompts for each emotion
audios = 4  # clips that are replayed under every prompt
clips_mapped = 60
permutations = 1000
seed = 200

# %%
import numpy as np
import pandas as pd
import scipy.stats
import umap
from sklearn.decomposition import PCA

from lib import activations, prompts, results, show, stats
from lib import model as musicgen
from lib.organism import world

names = list(dict.fromkeys([model, *world.WORLDS]))
models = {name: musicgen.load(name) for name in names}

# %%
table = prompts.crossed(
    "implied", n, "organism" if model in world.WORLDS else "natural"
)
emotion = table["emotion"]
sung = {
    name: m.generate(list(table["prompt"]), seconds, seed, keep=True)
    for name, m in models.items()
}
acts = {
    name: activations.capture(
        m, sung[name], ["text", "resid.*"], reduce=lambda x: x.nanmean(1)
    )
    for name, m in models.items()
}

# %% [markdown]
# ## Alike within, different between?
#
# The same three views as in the last chapter: raw, offset-free (as LayerNorm sees it), and centred (without what all
# clips share). Only the scale changes between the first two and the third: the p-value is about the same thing.

# %%
views = {
    "raw": lambda x: x,
    "offset-free": activations.offset_free,
    "centred": lambda x: activations.centred(activations.offset_free(x)),
}


def compare(x, view="centred", labels=emotion):
    """Cosine within and between emotions of vectors [clip, dim]."""
    return stats.between_within(
        views[view](x).values, labels, None, permutations, 300
    )


# %%
found = {name: {site: compare(a[site]) for site in a} for name, a in acts.items()}
layers = [site for site in acts[model] if site != "text"]
show.curves(
    {
        name: (range(len(layers)), [f[site].difference for site in layers])
        for name, f in found.items()
    },
    "How much more alike are clips of one emotion?",
    "block",
    "cosine within − between (centred)",
    bar=0,
)

# %% [markdown]
# The whole table, for the first model. p-values are of the permutation test, Holm-corrected over all rows.

# %%
chosen = ["text", *layers[:: max(1, len(layers) // 4)]]
rows = [
    {"site": site, "view": view, **compare(acts[model][site], view)._asdict()}
    for site in chosen
    for view in views
]
rows = pd.DataFrame(rows)
rows["p, corrected"] = stats.correct(rows.pop("p"))
show.table(
    rows, f"{model}: cosine similarity, {len(table)} prompts, 95 % intervals"
)

# %% [markdown]
# ```{margin}
# **Published before.** The original study of `facebook/musicgen-*`: T5 text vectors 0.560 within and 0.494 between
# emotions (100 prompts, 18 of which hold the emotion's own name; p ≈ 1e-89 by treating 4,950 pairs as independent);
# block 12 of the small model 0.946 for one happy and one sad clip (raw, both streams), against 0.951 for the same
# prompt twice. 80 of "1024 dimensions" differed by more than 0.1: 8 % of 2048 flattened values.
# ```
#
# ### Which dimensions?
#
# A dimension is strong if its mean over clips differs between emotions (analysis of variance over prompts, false
# discovery rate 5 %). The same count with labels dealt at random is what noise gives.


# %%
def strong(x, labels):
    """Share of dimensions whose mean differs between emotions."""
    groups = [x.values[np.asarray(labels) == e] for e in dict.fromkeys(labels)]
    p = scipy.stats.f_oneway(*groups).pvalue
    return float((stats.correct(p, "fdr_bh") < 0.05).mean())


# %%
rng = np.random.default_rng(0)
rows = []
for name, a in acts.items():
    x = activations.offset_free(a[layers[len(layers) // 2]])
    happy, sad = (x.values[(emotion == e).values] for e in ("happy", "sad"))
    largest = np.abs(happy.mean(0) - sad.mean(0)) / x.values.std(0)
    rows.append(
        {
            "model": name,
            "strong dimensions (share)": strong(x, emotion),
            "labels at random": strong(x, rng.permutation(emotion)),
            "largest happy − sad (SD)": largest.max(),
        }
    )
show.table(pd.DataFrame(rows), f"at {layers[len(layers) // 2]}")

# %% [markdown]
# ## When?
#
# The same difference in windows of half a second. Before the first frame only the text can differ.

# %%
middle = layers[len(layers) // 2]
series = {}
for name, m in models.items():
    x = activations.capture(m, sung[name], middle)[middle]
    steps = np.array_split(np.arange(x.sizes["frame"]), max(2, int(2 * seconds)))
    found_here = [compare(x.isel(frame=s).mean("frame")).difference for s in steps]
    series[name] = ([float(x.time[s].mean()) for s in steps], found_here)
show.curves(
    series,
    f"Separation of emotions over time ({middle})",
    "seconds",
    "cosine within − between (centred)",
    bar=0,
)

# %% [markdown]
# ## Text or music?
#
# A 2 × 2 design takes them apart. **Text effect**: the *same* music, made for no emotion, replayed under every prompt:
# whatever differs then comes from the words. **Music effect**: the music made for every prompt, replayed under *no*
# prompt: whatever differs then comes from the sound.

# %%
neutral = prompts.crossed("neutral", audios)["prompt"].tolist()


def text_effect(m):
    """One audio under every prompt; each audio's own mean is taken away."""
    base = m.generate(neutral, seconds, seed + 1, keep=True)
    x = 0
    for i in range(audios):
        same = base[[i] * len(table)].under(list(table["prompt"]))
        got = activations.capture(m, same, middle, reduce="mean", progress=False)
        x = x + activations.centred(got[middle])
    return compare(x / audios)


# %%
def music_effect(m, clips):
    """Every audio under no prompt."""
    x = activations.capture(m, clips, middle, stream="uncond", reduce="mean")
    return compare(x[middle])


# %%
effects = {
    name: {"text": text_effect(m), "music": music_effect(m, sung[name])}
    for name, m in models.items()
}
show.estimates(
    {
        f"{name}: {kind}": e.difference
        for name, kinds in effects.items()
        for kind, e in kinds.items()
    },
    f"What separates emotions at {middle} (dotted: nothing)",
    "cosine within − between (centred)",
    bar=0,
)

# %% [markdown]
# ## The same prompt twice
#
# Two clips of one prompt with different seeds say how alike clips can be. If emotions mattered as much as prompts do,
# clips of one emotion would be as alike as that.

# %%
m = models[model]
again = m.generate(list(table["prompt"]), seconds, seed + 10_000, keep=True)
second = activations.capture(m, again, middle, reduce="mean")[middle]
pair = np.stack([views["centred"](x).values for x in (acts[model][middle], second)])
unit = pair / np.linalg.norm(pair, axis=2, keepdims=True)
cosine = unit[0] @ unit[1].T
same = np.equal.outer(emotion.values, emotion.values)
own = np.eye(len(table), dtype=bool)

# %%
pairs = {
    "same prompt, two seeds": own,
    "same emotion, another prompt": same & ~own,
    "another emotion": ~same,
}
each = range(len(table))
show.estimates(
    {
        k: stats.mean([cosine[i][w[i]].mean() for i in each])
        for k, w in pairs.items()
    },
    f"Cosine of two clips at {middle} (centred)",
    "cosine",
    bar=0,
)

# %% [markdown]
# ## A map to listen to
#
# Every point is a clip, placed by the residual stream at the middle block: two principal components, or UMAP's picture
# of the neighbourhoods (which keeps who is near whom, not how far). Choose a point to hear it.

# %%
some = np.linspace(0, len(table) - 1, min(clips_mapped, len(table))).astype(int)
x = views["centred"](acts[model][middle]).values
maps = {
    "PCA": PCA(2, random_state=0).fit_transform(x)[some],
    "UMAP": umap.UMAP(random_state=0, n_jobs=1).fit_transform(x)[some],
}
show.sound_map(
    maps,
    sung[model].audio[some],
    sung[model].sample_rate,
    list(emotion[some]),
    list(table["prompt"][some]),
)

# %% [markdown]
# ## What it means
#
# Emotions are different inside if the curve of a model lies above zero where the shuffled organism's does not. The
# 2 × 2 design says why: a text effect means that words of one emotion do the same thing to the model while it hears the
# same music, which is what "holding an emotion" would need; a music effect alone would mean that the model only hears
# what it has played.
#
# **What would change our mind.** A separation in `organism-shuffled`; or a text effect that vanishes for words that were
# never used to choose the layer.


# %%
asked = {
    "text": ("Do words of one emotion do the same inside?", "activations"),
    "music": ("Is the emotion in the music it has made?", None),
}
findings = []
for kind, (question, criterion) in asked.items():
    for name in names:
        e = effects[name][kind]
        found = e.p < 0.05 and e.difference.low > 0
        findings.append(
            results.finding(question, name, found, e.difference, criterion)
        )
results.record("03_emotion_geometry", model, findings)
