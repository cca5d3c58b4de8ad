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
# # Play the organism
#
# **Question.** What happens inside a model while it sings, and what becomes of the song when that
# is changed? Here a small MusicGen runs in the page: type words that it knows, let it sing, and
# push it while it does.
#
# The model is the *organism* of all other chapters, trained on music whose emotional causes are
# known, so that claims about it can be checked.
#
# **What you see.** The yellow dot is where the inside of the network is read to be at this moment.
# Songs for happy and calm words lie to the right (*valence*, how pleasant an emotion is), songs for
# happy and tense words further up (*arousal*, how excited it is). Coloured marks are where songs
# for each emotion lie on average. **What you can change.** A slider adds a *direction*, a list of
# numbers, to the *residual stream*, the running sum through which the network's layers talk to each
# other. The dot is read before the direction is added, so it moves only where the music has
# changed. Each *attention head*, a part that gathers from the music so far or from the words, can
# be switched off. *Guidance* says how strongly the words count.

# %% tags=["parameters"]
model = "organism"
depth = 0.57  # where to look: 0 is the first block, 1 the last
recipe = {}  # of chapter 10's sparse autoencoder: what differs from chapter.Recipe
n = 24  # prompts for each emotion, half of their words to learn from
shown = 6  # features beside the plane
compared = 20  # songs that must be the same here and in Python
seconds = 4.0
beside = ["organism-shuffled"]
seed = 1300

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
from IPython.display import Markdown

from lib import activations, features, prompts, results, sae, show, stats, steering
from lib import model as musicgen
from lib.book import chapter
from lib.musicgen import browser
from lib.pages import alive


# %% tags=["hide-input"]
def singer(name):
    """The model, or the first organism in its place where a page cannot hold it."""
    try:
        browser.check(found := musicgen.load(name))
        return found, ""
    except ValueError as error:
        return musicgen.load("organism"), f"{error} Here `organism` sings instead."


m, why = singer(model)
singers = chapter.models(m.name, beside)
Markdown(why)

# %% [markdown]
# ## What is read, and what is pushed
#
# Songs are sung for words that imply an emotion ("gloomy", "thrilling") and never for its name.
# Half of each emotion's words make the axes; songs for the other half show below whether these can
# be trusted.

# %% tags=["hide-input"]
AXES = {
    "valence": (("happy", "calm"), ("tense", "sad")),
    "arousal": (("happy", "tense"), ("calm", "sad")),
}
table = prompts.crossed("implied", n, "organism", seed)
words = table.groupby("emotion")["family"].unique()
learned_words = {word for some in words for word in sorted(some)[::2]}
is_learned = table["family"].isin(learned_words)
learn, test = table[is_learned], table[~is_learned]


# %% tags=["hide-input"]
def axis(singer, ends, method):
    """A direction between the words of both ends, from words to learn from."""
    both = [list(learn["prompt"][learn["emotion"].isin(end)]) for end in ends]
    site = activations.at(singer, depth)
    how = {"seconds": seconds, "seed": seed}
    return steering.direction(singer, *both, site, method, **how)


def axes(singer, method):
    """The directions of valence and of arousal."""
    return {name: axis(singer, ends, method) for name, ends in AXES.items()}


# %% tags=["hide-input"]
read = {name: axes(singer, "songs") for name, singer in singers.items()}
pushes = axes(m, "diffmeans")
site = activations.at(m, depth)


def places(name):
    """Where songs for unseen words are read to be [song, axis]."""
    singer, at = singers[name], activations.at(singers[name], depth)
    how = {"seed": seed + 500, "keep": True, "decode": False, "progress": False}
    songs = singer.generate(list(test["prompt"]), seconds, **how)
    held = activations.capture(singer, songs, at, progress=False)[at].values
    return np.stack([alive.along(v, held.mean(1)) for v in read[name].values()], 1)


found = {name: places(name) for name in singers}
marks = pd.DataFrame(found[m.name], columns=list(AXES))
marks = marks.groupby(test["emotion"].to_numpy()).mean()

# %% [markdown]
# *Features* are directions found by the sparse autoencoder of [chapter 10](10_train_saes), a
# network that writes what the model holds as a sum of a few parts. Shown are those whose labels
# hold best on clips that had no part in choosing them, one for each label.

# %% tags=["hide-input"]
dictionary = chapter.dictionary(m, site, **recipe)
activity, statistics = sae.activity(dictionary.sae, dictionary.acts[site])
named = features.name(activity, dictionary.labels, dictionary.train)
named = named[statistics["density"] > 0].sort_values("held_out", ascending=False)
best = named.drop_duplicates("label").head(shown)
some = alive.features(dictionary.sae, site, best["label"], statistics["peak"])

# %% [markdown]
# ## Play
#
# Sliders work about two seconds late, because the model sings a little ahead. After a song that you
# have pushed, *Again, unsteered* sings it once more with the same random choices (the *seed*) and
# nothing changed; you can switch between the two at any moment.

# %%
alive.Alive(m, read[m.name], pushes, some, marks.T.to_dict("list"))

# %% [markdown]
# Watch whether the yellow dot goes to the mark of the emotion that you asked for, and listen
# whether the music does.
#
# ## Is it the same organism?
#
# The page runs three *graphs*, the network's computations in a form for browsers. If they are the
# network that PyTorch runs in all other chapters, both choose the same *token* (one code of sound)
# wherever the likeliest is taken. One different token would change all that follow. But sums in
# another order differ in their last digits, so two tokens that all but tie may change places. How
# often that happens without any page is the yardstick, when PyTorch sings the songs one by one and
# all at once.

# %%
few = list(test["prompt"].sample(compared, random_state=seed))
how = {"temperature": 0, "progress": False}
alone = m.generate(few, seconds, batch_size=1, **how).tokens
together = m.generate(few, seconds, **how).tokens
theirs = browser.tokens(m, few, seconds)
same = stats.proportion((alone == theirs).all((1, 2)))
itself = stats.proportion((alone == together).all((1, 2)))
Markdown(
    f"Songs that are the same, token by token: {same}. PyTorch's own, one by one and "
    f"all at once: {itself}. (With 95 % intervals.)"
)

# %% [markdown]
# The page passes where its share of equal songs is no smaller than PyTorch's own, as far as the
# intervals can tell.
#
# ## Can the dot be believed?
#
# Each word that had no part in the axes has one number: where its songs are read to be. The *AUROC*
# is the chance that a word of the upper end lies higher than one of the lower end: 1 is always, 0.5
# is guessing. To `organism-shuffled`, which was trained with captions of other clips, no word means
# anything.


# %%
def told(name, k, ends):
    """How often words of one end lie above those of the other."""
    of_words = pd.Series(found[name][:, k]).groupby(test["word"].to_numpy()).mean()
    emotions = test.groupby("word")["emotion"].first()
    high, low = (of_words[emotions.isin(end)].to_numpy() for end in ends)
    return stats.bootstrap(lambda a, b: (a[:, None] > b).mean(), high, low)


trust = {
    f"{name}: {axis}": told(name, k, ends)
    for name in singers
    for k, (axis, ends) in enumerate(AXES.items())
}
show.estimates(
    trust, "Words told apart by where their songs are read", "AUROC", 0.5
)

# %% [markdown]
# An axis can be believed where the organism's interval lies right of the dotted line, and that of
# `organism-shuffled` does not.

# %%
question = (
    "Does the place on the plane of {} tell words it was not made from (AUROC)?"
)
findings = []
for label, estimate in trust.items():
    name, of = label.split(": ")
    answer = stats.side(estimate, 0.5)
    findings.append(results.finding(question.format(of), name, answer, estimate))
if not why:
    results.record("14_play_the_organism", m, findings)

# %%
right = [of for of in AXES if trust[f"{m.name}: {of}"].low > 0.5]
Markdown(
    f"**Verdict.** {same.value:.0%} of {same.n} songs are the same, token by token, from "
    f"the page's graphs and from PyTorch, which agrees with itself in {itself.value:.0%}. "
    f"The dot tells unseen words apart on {' and '.join(right) or 'neither axis'}; on an "
    "axis that is not named here it must not be believed."
)

# %% [markdown]
# ## What it means
#
# What you hear is the network that the book asks, and what you see is read from it. Neither says
# that it *understands*: a network that ties words to sounds by habit would move the dot, too
# ([chapter 35](35_understanding) tells the two apart). Does a push change the whole song, as a word
# does, or one property alone? And does the dot follow, although it does not read the push?
#
# **What would change our mind.** Songs that differ between the page and PyTorch more often than
# PyTorch's own do; a shuffled organism whose dot tells words apart.
#
# **Exercise.** Sing for a sad word with *guidance* at 1, and with the same seed at 6. Does more
# guidance mean that the model understands the word better?
#
# <details><summary>Answer</summary>
#
# Guidance is how many times the difference between predictions with and without the words counts.
# At 6 whatever the word does is easier to hear, but it is the same network with the same word.
# Habit is enlarged as much as understanding, so guidance cannot tell them apart.
#
# </details>
