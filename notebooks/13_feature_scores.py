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
# # How good are the features by the field's own scores?
#
# **Question.** Are the features of the last chapters good by the scores on which the field compares
# them, and do these scores tell them from directions that nobody trained?
#
# A name is worth something only if it holds on music that had no part in choosing it, a score only
# if directions without meaning do badly on it.
#
# **Method.** A *sparse autoencoder* (SAE) is a network that writes what the model holds at one
# moment as a sum of few directions out of many, its *features*. Each is meant to stand for one
# thing, such as fast music. *Labels*, short names such as "tempo high", are tested as in Delphi
# (Paulo et al. 2024), but without a language model, as here the answers are known. *Usefulness* for
# questions about clips is tested as in SAEBench (Karvonen et al. 2025). *Truth*: are directions
# found that were planted on purpose, and the known difference between two models? Choices are made
# on the clips that the SAE learned from (the *learning clips*), and judged on others.
#
# **Hypothesis.** In every score the SAE is ahead of *neurons* (single coordinates), *principal
# components* (the directions along which activations vary most) and a random basis. **Controls.**
# These three, kept as sparse as the SAE: only the largest coordinates of each moment count. Also
# labels and sounds of other clips, random subspaces, and two models that differ only in their seed,
# the chance in their training.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
recipe = {}  # what differs from that of chapter 10's SAE (lib.book.chapter.Recipe)
heard = 200  # held-out clips that are listened to
strongest = 100  # features whose labels are best on the learning clips
planted = ["organism-planted", "organism-planted-2"]
n_verify = 16  # pairs of prompts to verify the planting by, and the least accuracy
least = 0.9
small = {"clips": 400, "seconds": 2.0, "width": 256, "k": 16, "passes": 6}
axes_each = 3  # true sources: the axes of a planted subspace that are used most
pair = ["organism", "organism-decoupled"]  # their worlds differ: tempo moves energy
control = ["organism", "organism-2"]  # only their seeds differ
shared = {"width": 512, "k": 30, "passes": 4}  # their crosscoder
shared_clips = 480
n = 48  # pairs of prompts a word
seed = 1300

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import (
    activations,
    cache,
    harvest,
    prompts,
    results,
    sae,
    show,
    stats,
)
from lib.book import chapter
from lib.hearing import acoustics, moments
from lib.methods import localisation
from lib.organism import planting
from lib.sae import benchmark, codes, crosscoding, scoring

# %%
m = chapter.models(model, [])[model]
site = activations.at(m, depth)
found = chapter.dictionary(m, site, **recipe)
labels = found.labels
acts = found.acts[site]

# %%
kinds = {"SAE": found.sae}
for kind in ("neurons", "pca", "random"):
    kinds[kind] = sae.Basis(found.learned, kind, found.recipe.k)
code = {name: codes.code(s, acts) for name, s in kinds.items()}
mean = acts.mean("frame").values.astype(np.float32)

# %% [markdown]
# ## Do labels say when a feature is active?
#
# **Detection.** A feature's label is a yes-or-no question about a clip's emotion or one of its
# *cues* (what a listener hears, such as tempo). It is the question that best tells, on the learning
# clips, those that excite the feature from those that leave it silent. Its score is the *balanced
# accuracy* on other clips: how often it is right, with exciting and silent clips weighing the same.

# %%
told = {
    name: scoring.detection(c.activity, labels, found.train)
    for name, c in code.items()
}
wrong = labels.sample(frac=1, random_state=seed).reset_index(drop=True)
astray = {
    name: scoring.detection(c.activity, wrong, found.train)
    for name, c in code.items()
}


# %%
def averages(tables, column, what):
    """The mean over all features, and over those with the best labels."""
    rows = {
        f"{name}: {what}, all": scoring.average(t[column]) for name, t in tables
    }
    for name, t in tables:
        best = scoring.average(t[column], told[name]["learned"], strongest)
        rows[f"{name}: {what}, best labels"] = best
    return rows


right = averages(told.items(), "held_out", "own clips")
null = averages(astray.items(), "held_out", "other clips")
show.estimates(
    {**right, **{label: e for label, e in null.items() if label.startswith("SAE")}},
    "Detection: does the label tell which clips excite the feature? (dotted: guessing)",
    "balanced accuracy",
    bar=0.5,
)

# %% [markdown]
# Points are means over features with a 95 % interval: *own clips* should lie right of the dotted
# line, and labels of *other clips* on it. *Best labels* are those of the features that did best on
# the learning clips.
#
# **Fuzzing.** Now the sound of a single *frame*, a few hundredths of a second, must tell within one
# clip when the feature is active. Measured are level, onset, brightness and lowest pitch, there and
# in the frame before, the last that the model has read. One measure is chosen for each feature on
# half of the clips and judged on the other half by the *AUROC*, the chance that it puts an active
# frame above a silent one. The controls are the sound of another clip and the mere *position* of
# the frame, as some features follow the time since the beginning.

# %%
some = np.arange(found.cut, len(acts))[:heard]
audio = m.decode(found.clips.tokens[some])
sound = moments.measure(audio, m.sample_rate, found.clips.frame_rate)
sound = sound[:, : acts.shape[1]]
before = np.concatenate([sound[:, :1], sound[:, :-1]], 1)
heard_as = [
    f"{name}, {when}" for when in ("before", "now") for name in moments.MEASURES
]
sound = np.concatenate([before, sound], 2)
half = np.arange(len(some)) < len(some) // 2
place = np.broadcast_to(np.arange(sound.shape[1])[:, None], (*sound.shape[:2], 1))


# %%
def fuzzed(s):
    """Scores by the sound, by that of other clips, and by position."""
    z = codes.frames(s, acts[some])
    return {
        "own sound": scoring.fuzzing(z, sound, heard_as, half),
        "other clips": scoring.fuzzing(z, np.roll(sound, 1, 0), heard_as, half),
        "position": scoring.fuzzing(z, place.astype(float), ["position"], half),
    }


# %%
fuzzing = {name: fuzzed(s) for name, s in kinds.items()}
show.estimates(
    {
        f"{name}: {what}": scoring.average(t["held_out"])
        for name, tables in fuzzing.items()
        for what, t in tables.items()
    },
    "Fuzzing: which frames of a clip excite the feature? (dotted: guessing)",
    "AUROC within a clip",
    bar=0.5,
)

# %% [markdown]
# *Own sound* should lie to the right of both its controls.
#
# **Intruders.** Four clips excite a feature, and one does not. A judge who is told nothing, and
# sees seven measures of the sound of each, looks for the odd one. A *hard* intruder has the same
# level of the labelled cue, so that finding it takes more than the label says; an *easy* one is any
# silent clip.

# %%
measured = acoustics.measure_all(audio, m.sample_rate)
deaf = measured.sample(frac=1, random_state=seed).reset_index(drop=True)
known = labels.iloc[some].reset_index(drop=True)
intruders = {
    (name, what): scoring.intruder(
        c.activity[some], told[name], known, ear, seed=seed
    )
    for name, c in code.items()
    for what, ear in (("own sound", measured), ("other clips", deaf))
}

# %%
rows = [
    {
        "features": name,
        "measures of": what,
        **{
            kind: scoring.average(t[kind], told[name]["learned"], strongest)
            for kind in ("easy", "hard")
        },
    }
    for (name, what), t in intruders.items()
]
show.table(pd.DataFrame(rows), "Intruders found, best labels (0.20 by guessing)")

# %% [markdown]
# Shares of intruders found should be above 0.20 for *own sound* and near 0.20 for *other clips*.
#
# ## Are a few features enough?
#
# **k-sparse probing** (Gurnee et al. 2023). A *probe* is a simple classifier that reads something
# from the model. This one sees only the k features that differ most between yes and no on the
# learning clips.

# %% tags=["main"]
sparse = {name: c.activity for name, c in code.items()}
probed = benchmark.k_sparse(sparse, mean, labels, found.train)
dense = stats.mean([e.value for e in probed[probed["k"] == 1]["dense"]])
accuracy = {
    name: (
        list(benchmark.PROBED),
        [
            stats.mean([e.value for e in some[name]])
            for _, some in probed.groupby("k")
        ],
    )
    for name in code
}
show.curves(
    accuracy,
    "Probes of k features, mean over questions (dotted: all dimensions)",
    "k",
    "balanced accuracy",
    bar=dense.value,
)

# %% [markdown]
# The sooner a line comes near the dotted one, the fewer features hold the answer; bands are
# intervals over questions.

# %%
one = probed[probed["k"] == 1].drop(columns="k")
show.table(one, "One feature a question, on unseen clips")

# %% [markdown]
# *Target* is the question, *dense* the probe of all dimensions.
#
# ## Can something be taken out, and nothing else?
#
# **Targeted perturbation** (TPP) takes the features of one question out of every frame: how much
# more accuracy does its own probe lose than others? **Spurious correlation removal** (SCR): a probe
# learned one cue from clips in which a second cue always went along. What share of its errors is
# mended when the features of the second are taken out?

# %%
cues = labels[list(harvest.CUES)]
asked = {"cues": cues, "emotions": labels[["emotion"]]}
taken = pd.concat(
    benchmark.perturbation(mean, c, table, found.train).assign(features=name, of=of)
    for name, c in code.items()
    for of, table in asked.items()
)
mended = {
    name: benchmark.removal(mean, c, cues, found.train) for name, c in code.items()
}

# %%
rows = [
    {
        "features": name,
        "taken out": size,
        **{
            f"TPP, {of}": stats.mean(part["tpp"]) for of, part in some.groupby("of")
        },
        "SCR": benchmark.removed_share(mended[name][mended[name]["size"] == size]),
    }
    for (name, size), some in taken.groupby(["features", "size"], sort=False)
]
use = pd.DataFrame(rows)
show.table(use, "Targeted perturbation (TPP), spurious correlation removal (SCR)")

# %% [markdown]
# More is better: TPP is 0 where other probes lose as much, SCR is 1 where all is mended; *taken
# out* is the number of features.
#
# ## Does a planted direction have a feature of its own?
#
# Organisms are small MusicGens trained on music whose causes are known. In the *planted* ones it is
# also known in which *subspace* (a few directions together) a variable such as tempo is written.
# Only places that *interchange* confirms are asked: what they hold is taken from one run into
# another, and the variable must follow ([chapter 23](23_planted_places)). The directions along
# which most is written are the true sources, and each is matched with one feature.


# %%
def found_in(name, variable):
    """How well each kind of features finds the sources of a variable, and of no variable."""
    own = planting.basis(name, variable)
    drawn = np.random.default_rng(seed).normal(size=own.shape[::-1])
    spaces = {"planted": own, "random": np.linalg.qr(drawn)[0].T}
    entry = planting.place(name, variable).entry
    singer = chapter.models(name, [])[name]
    there = chapter.dictionary(singer, entry, seeds=1, **small)
    return rows_of(there, there.acts[entry][there.cut :], spaces)


def rows_of(there, held_out, spaces):
    """One row for each kind of features and each subspace."""
    for kind in kinds:
        k = there.recipe.k
        s = there.sae if kind == "SAE" else sae.Basis(there.learned, kind, k)
        for space, basis in spaces.items():
            scores = benchmark.sources(s, held_out, basis, axes_each)
            yield {"features": kind, "subspace": space, **scores}


# %%
confirmed = []
for name, singer in chapter.models(planted[0], planted[1:]).items():
    verified = localisation.verify(singer, n_verify, seed=seed)
    verified = verified[verified["what"].isin(localisation.PLANTED)]
    right_by = (
        verified["accuracy"].map(lambda e: e.value).groupby(verified["variable"])
    )
    confirmed += [(name, what) for what, e in right_by.min().items() if e >= least]
truth = pd.DataFrame(row for place in confirmed for row in found_in(*place))
print("confirmed:", ", ".join(f"{what} of {name}" for name, what in confirmed))

# %%
by_kind = truth.groupby(["features", "subspace"], sort=False)
matched = pd.DataFrame(
    [
        {
            "features": kind,
            "subspace": space,
            "MCC": scoring.average(some["mcc"]),
            "cosine": scoring.average(some["cosine"]),
        }
        for (kind, space), some in by_kind
    ]
)
show.table(matched, "Sources and their features, over the confirmed variables")

# %% [markdown]
# *Planted* rows should be far above *random* rows, both in *MCC* (mean correlation of a source with
# its feature) and in the *cosine* of their directions (1: the same).
#
# ## What have two models in common?
#
# A **crosscoder** (Lindsey et al. 2024) is one dictionary for two models: each feature has one
# activation, and a direction in each model. In the world of `organism` tempo raises energy; in that
# of `organism-decoupled` it does not, and all else is the same. `organism` and `organism-2`, the
# control, differ only in their seed. Both models of a pair read the same music, half of it from
# either world.
#
# A feature seems to be one model's alone if its direction in the other is short: if the *relative
# norm*, the second model's share of both lengths, is below 0.1 or above 0.9. As this can be an
# accident of training, *latent scaling* (Minder et al. 2025) asks how strongly each model's
# activations have the feature: 1 says that both have it alike, 0 that one lacks it.

# %%
singers = chapter.models(pair[0], [*pair[1:], *control])
where = activations.at(singers[pair[0]], depth)
each = shared_clips // 2
parts = [harvest.clips(singers[name], each, seed)[0] for name in pair]
mixed = np.arange(2 * each).reshape(2, each).T.ravel()  # one of each world in turn
tokens = np.concatenate([part.tokens for part in parts])[mixed]
captions = [*parts[0].prompts, *parts[1].prompts]
captions = [captions[i] for i in mixed]
music = singers[pair[0]].clips(tokens, captions, decode=False)
learn = 2 * len(music) // 3
read = {
    name: harvest.acts(singer, music, where)[where]
    for name, singer in singers.items()
}


# %%
def crosscoder(names):
    """The crosscoder of two models."""
    learned = [read[name][:learn] for name in names]
    label = "-".join(["cross", where, *names])
    return crosscoding.train(*learned, name=label, **shared)


pairs = {"worlds differ": pair, "seeds differ": control}
cross = {what: crosscoder(names) for what, names in pairs.items()}
scaled = {
    what: crosscoding.scaling(cross[what], *[read[name][learn:] for name in names])
    for what, names in pairs.items()
}

# %%
rows = [
    {
        "pair": f"{' and '.join(pairs[what])} ({what})",
        "features": len(t),
        "alone, by norms": int((t["by_norm"] != "").sum()),
        "alone, after scaling": int((t["alone"] != "").sum()),
        "spread of relative norms": float(t["relative"].std()),
        "ratio, error": scoring.average(t["error"]),
        "ratio, reconstruction": scoring.average(t["reconstruction"]),
    }
    for what, t in scaled.items()
]
show.table(pd.DataFrame(rows), "Whose are the features?")

# %% [markdown]
# Only what *worlds differ* has beyond *seeds differ* is due to the worlds: features that seem
# *alone* by either test, and ratios of latent scaling away from 1. These are given for what the
# dictionary leaves over (*error*) and for what it explains (*reconstruction*).
#
# Models may also use shared features differently. So one model alone reads the other word of a pair
# ("fast" for "slow") over the same music. Where tempo raises energy, a word for tempo should move
# the features that a word for energy moves.


# %%
def stream(name, songs):
    """A model's residual stream over some songs."""
    return activations.capture(singers[name], songs, where, progress=False)[where]


def streams(names, word):
    """Both models' streams over the same music, under the low word and the high one."""
    table = prompts.pairs(word, n, seed)
    songs = music[list(learn + np.arange(n) % (len(music) - learn))]
    ends = [songs.under(list(table[end])) for end in ("low", "high")]
    return [[stream(name, end) for name in names] for end in ends]


words = ("tempo", "energy", "mode")
moves = {
    (what, word): crosscoding.moved(cross[what], *streams(names, word))
    for what, names in pairs.items()
    for word in words
}

# %%
within = {}
for what, names in pairs.items():
    for k, name in enumerate(names):
        both = moves[what, "tempo"][k], moves[what, "energy"][k]
        within[f"{name} ({what})"] = crosscoding.alike(*both)
between = {
    f"{word}, {what}": crosscoding.alike(*moves[what, word])
    for word in words
    for what in pairs
}
show.estimates(
    {
        **{f"{name}: tempo as energy": e for name, e in within.items()},
        **{f"both models, {name}": e for name, e in between.items()},
    },
    "How alike are the moves of two words in a model, and of one word in two models?",
    "cosine over shared features",
    bar=0,
)

# %% [markdown]
# At a cosine of 1 the same features move in the same way, at 0 (dotted) the moves have nothing in
# common. The upper rows compare two words in one model, the lower rows one word in two models.
#
# ## For others
#
# The features with the best labels are written in the form that
# [Neuronpedia](https://neuronpedia.org), a public site for looking at features, reads. It holds
# their most active clips, histograms and the tokens that they make likelier, beside the SAE that
# SAELens reads. A text token is here a codec frame.

# %%
order = np.argsort(-told["SAE"]["learned"].fillna(0).to_numpy())[:strongest]
folder = cache.ROOT / "neuronpedia" / f"{cache.digest(m.name, site, recipe)[:16]}"
clips = found.clips[list(some)]
files = sae.export(
    found.sae, m, site, clips, acts[some], folder, "res-book", which=order
)
size = sum(file.stat().st_size for file in files) / 2**20
print(f"{len(order)} features in {len(files)} files, {size:.1f} MiB")

# %% [markdown]
# ## What it means
#
# Where neurons, components or a random basis do as well, a score tells of this place in the model
# and not of the features. A label can be right and still say little: hard intruders that are found
# show what it leaves out. Features that answer a question nearly as well as all dimensions, and
# leave other questions alone when taken out, are likely units of the model itself. **Doubts.** We
# ask about cues and emotions alone: a clear feature of anything else gets a poor label.
#
# **What would change our mind.** Scores that do not fall when labels, sounds or sources are
# another's; a crosscoder that finds as much between two seeds as between two worlds.
#
# **Exercise.** Where *Detection* is computed, replace `labels.sample(frac=1, random_state=seed)` by
# `labels`. What becomes of the row *other clips*, and why is it needed?
#
# <details><summary>Answer</summary>
#
# It becomes the same as *own clips*, because labels are no longer dealt to other clips. A label is
# the best of many questions, which looks good where it was chosen even if nothing is there. The row
# shows what is left of that on new clips.
#
# </details>

# %%
question = "How well do labels tell which unseen clips excite a feature?"
sizes = [
    results.finding(question, f"{model}: {name}", "balanced accuracy", e)
    for name, e in right.items()
    if name.endswith("best labels")
]
question = "How well does one feature answer a question (k-sparse probe)?"
sizes += [
    results.finding(question, f"{model}: {name}", "balanced accuracy", values[0])
    for name, (_, values) in accuracy.items()
]
question = "How alike are the moves of tempo's and energy's words (crosscoder)?"
sizes += [
    results.finding(question, name, "cosine", e) for name, e in within.items()
]
results.record("13_feature_scores", m, sizes)

# %%
labelled = {name: right[f"{name}: own clips, best labels"].value for name in code}
first = {name: accuracy[name][1][0].value for name in code}
five = use[use["taken out"] == benchmark.REMOVED[1]].set_index("features")
tpp = five["TPP, cues"].map(lambda e: e.value)
truths = matched[matched["subspace"] == "planted"].set_index("features")["cosine"]
cosines = truths.map(lambda e: e.value)


# %%
def against(values):
    """The SAE's number, and the best of the others with its name."""
    others = {name: value for name, value in dict(values).items() if name != "SAE"}
    best = max(others, key=others.get)
    return f"{values['SAE']:.2f} ({best}: {others[best]:.2f})"


apart = [between[f"tempo, {what}"].value for what in pairs]
own = [f"{e.value:.2f} in {name.split(' ')[0]}" for name, e in within.items()]
Markdown(
    f"**Verdict.** In {model} the SAE gets these scores (the best of neurons, components "
    f"and a random basis in brackets): accuracy of the best labels {against(labelled)}; "
    f"of probes with one feature {against(first)}, where all dimensions get "
    f"{dense.value:.2f}; loss when five features are taken out, beyond that of other "
    f"questions, {against(tpp)}; cosine with planted sources {against(cosines)}. Words "
    f"for tempo and for energy move shared features alike by {own[0]}, {own[1]} and "
    f"{own[3]} (cosine), and words for tempo move them alike in two worlds by "
    f"{apart[0]:.2f}, in two seeds by {apart[1]:.2f}."
)
