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
# # Does MusicGen understand emotion?
#
# **Do music generation models understand emotion, or do they only correlate patterns?** Ask
# MusicGen for a sad melody and it plays slowly, softly, in minor. It may hold something like
# sadness, from which slow, soft and minor follow; or only a habit, that this word goes with those
# sounds. The two can sound alike. They differ inside, and this book looks there.
#
# It cannot fool itself, because it ships its own test subjects. The **organisms** are real
# MusicGens in miniature, trained on music whose emotional causes are known. Every method must first
# find what is there in `organism`, find no path from tempo to energy in `organism-decoupled`, which
# learned a world without it, and stay silent on `organism-shuffled`, whose words never meant
# anything. `organism-habit` is the correlation itself: each of its emotion words follows one cue of
# its own, and no emotion is anywhere. What calls that understanding cannot tell the two apart. Then the same notebooks run on `facebook/musicgen-*` by changing one parameter. An
# answer of "no" is worth as much as a "yes".

# %% tags=["parameters"]
model = "organism"

# %% [markdown]
# ## Understanding, or habit?
#
# The properties that understanding has and habit lacks, from [chapter 35](35_understanding): the
# mean over the models of each world, and the widest of their intervals. 1 is the smallest effect
# that matters.

# %%
from lib import results, show
from lib.book import rules

show.verdicts(
    rules.overview(results.read("35_understanding", model) or []),
    "Does it understand? By world",
)

# %% [markdown]
# ## The verdict so far
#
# Filled from what the chapters found when this book was built. A criterion is met where every
# finding that decides it says yes, and not where one says no; in brackets, how many say yes. ✓: as
# was known beforehand from how the organism was made. ✗: a method failed.

# %%
show.table(results.verdicts(model))

# %% [markdown]
# The evidence, with 95 % intervals:

# %%
show.table(results.evidence(model))

# %% [markdown]
# ## The way through
#
# **Phase 0, foundation.** [Meet the model](00_meet_the_model) lets you hear the organisms and look
# inside. [Known answers](01_known_answers) draws their world and shows that cues, listeners and
# organisms can be trusted, and how far. [What do we record?](02_activations) reads the inside at
# every time step, and repeats four famous errors on purpose. [How different are emotions
# inside?](03_emotion_geometry) separates what the text does from what the music does. [Can emotion
# be read out?](04_probes) tests probes on words they never saw.
#
# **Phase 1, features.** [Which features does the model use?](10_train_saes) trains sparse
# autoencoders and checks them against the known causes. [What does each feature respond
# to?](11_feature_explorer) lets you hear it. [Are features about one thing?](12_monosemanticity)
# asks whether that thing is emotion: the word, the sound, or both.
#
# **Phase 2, causes.** [Where does emotion enter?](20_patching) exchanges activations between a
# happy and a sad run. [Is there a path?](21_tempo_energy_emotion) holds energy while tempo changes.
# [As people do?](22_human_perception) sets the model's hearing beside that of human listeners.
#
# **Phase 3, steering.** [Can we move emotion?](30_steering) pushes along a direction, with the
# prompt as the yardstick. [Can you play it?](31_emotion_pad) gives you a plane of valence and
# arousal to move in, and shows where songs really land. [Can people hear it?](32_listening_test)
# hands out a blind test and analyses what comes back.
#
# **The question itself.** [Does it understand, or is it habit?](35_understanding) asks every model of
# every world, by rules that were written beforehand.
#
# **Real music, real MusicGen.** [Does it hear what people hear?](40_real_music) reads human ratings
# from songs that the model hears. [Ask a real MusicGen](41_real_musicgen) says what that takes, and
# how to read the answers.
#
# ## Run it yourself
#
# `make lab` opens these pages as notebooks. To ask about your own MusicGen, run
# `make notebooks MODEL=facebook/musicgen-small`, or pass a folder with a checkpoint in audiocraft's
# format.
