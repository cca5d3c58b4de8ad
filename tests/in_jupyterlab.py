# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# What `test_lab.py` runs in JupyterLab: chapter 31's pad and chapter 11's explorer, with little
# behind them.

# %%
import numpy as np

from lib import activations, features, harvest, prompts, sae, steering
from lib import model as musicgen
from lib.pages.explorer import Explorer
from lib.pages.pad import Pad

m = musicgen.load("organism", "cpu")
table = prompts.crossed("implied", 1)
neutral = list(prompts.crossed("neutral", 2)["prompt"])[:2]


def direction(high, low):
    """From prompts of some emotions to those of others."""
    words = [list(table["prompt"][table["emotion"].isin(kind)]) for kind in (high, low)]
    return steering.direction(m, *words, seconds=0.5)


# %%
judge = steering.Judge(m, ears=("corpus",), n=40, seconds=1.0)
valence = direction(("happy", "calm"), ("tense", "sad"))
arousal = direction(("happy", "tense"), ("calm", "sad"))
plane = steering.calibrate(judge, [valence, arousal], neutral, seconds=1.0)
Pad(judge, plane, neutral, side=2, seconds=1.0, shown=1)

# %%
clips, labels = harvest.clips(m, 12, seconds=1)
acts = activations.capture(m, clips, "resid.4", progress=False)["resid.4"]
basis = sae.Basis(acts, "pca", 8)
activity, statistics = sae.activity(basis, acts)
named = features.name(activity, labels, np.arange(12) < 6)
areas = features.selectivity(activity, labels)
density = statistics["density"]


def listen(rows):
    """Audio of some clips."""
    return m.decode(clips.tokens[rows]), m.sample_rate


Explorer(basis, acts, clips.prompts, listen, areas, named, density, [3, 1])
