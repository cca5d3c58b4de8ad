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
# # Meet the model
#
# **Question.** What does a MusicGen sound like when it is asked for an emotion, and what is inside
# it while it plays?
#
# **Why it matters.** To judge claims about numbers inside a model, one should have heard it and
# know its parts.
#
# **How it works.** MusicGen is three networks in a row. A *T5 encoder* turns the tokens of the
# prompt (pieces of words) into vectors (lists of numbers). A *language model*, a transformer, reads
# these through cross-attention and writes music as codes, a few for every frame (a few hundredths
# of a second). A *codec* turns codes into sound. Does the language model hold *emotion*, or only
# habits of words and sounds that go together?
#
# We begin with models small enough to know completely. An **organism** is a MusicGen of a few
# million parameters, trained on music whose causes we set ourselves, in one of four worlds:
#
# - `organism`: a faster tempo raises the energy of the music, and words name emotions.
# - `organism-habit`: each emotion word follows one cue, an audible property of music ("gloomy"
#   means only minor, "mournful" only slow).
# - `organism-decoupled`: like the first, but tempo does not raise energy.
# - `organism-shuffled`: captions belonged to other clips, so words say nothing. What a method
#   "finds" here, it has made up.
#
# The next chapter tests whether the organisms are what we say.

# %% tags=["parameters"]
model = "organism"  # or "facebook/musicgen-small", or a folder with a checkpoint
seconds = 6.0
seed = 11
takes = 2  # clips for each emotion and model

# %%
import pandas as pd
from IPython.display import Markdown

from lib import show
from lib.book import chapter

models = chapter.models(model)
m = models[model]

# %% [markdown]
# ## Listen
#
# Within one model and seed, which fixes the random draws, only the emotion's word differs. All
# players share one gain: loudness is part of the answer.

# %%
prompts = {
    emotion: f"{'an' if emotion[0] in 'aeiou' else 'a'} {emotion} melody"
    for emotion in show.COLORS
}
emotions = list(prompts) * takes
seeds = [seed + take for take in range(takes) for _ in prompts]
players = {emotion: {} for emotion in prompts}
for name, singer in models.items():
    clips = singer.generate([prompts[e] for e in emotions], seconds, seeds)
    sounds = clips.audio_at(m.sample_rate)
    for emotion, clip_seed, audio in zip(emotions, seeds, sounds, strict=True):
        players[emotion][f"{name}, seed {clip_seed}"] = audio
show.player_grid(players, m.sample_rate)

# %% [markdown]
# If a model answers the words, its rows differ in tempo, loudness and mode (major or minor), and in
# the same way for both seeds.
#
# Clips of the shuffled organism differ too, but not with the word. Telling *differing* from
# *answering* is the subject of the book. The ear is a poor judge of it, so we measure.
#
# **Exercise.** Let somebody play you the ten clips of `organism-shuffled` in random order. How many
# emotions must you guess rightly before you believe that the model answers?
#
# <details>
# <summary>Answer</summary>
#
# Guessing among five emotions gives two right of ten on average, but four or more in about one game
# of eight, so ten clips cannot tell. The next chapter uses many, and listeners whose errors are
# known.
#
# </details>
#
# ## Inside: text
#
# Each token becomes a vector; `</s>` marks the end. MusicGen follows prompts more closely by
# *classifier-free guidance*: it predicts each step with and without the prompt, and goes further in
# the direction in which the two differ. In the run without, the *unconditional stream*, text
# vectors are zero.

# %%
conditioner = m.lm.condition_provider.conditioners["description"]
prompt = "a slow, sad violin melody in a minor key"
ids = conditioner.tokenize([prompt])["input_ids"]
vectors = conditioner(conditioner.tokenize([prompt]))[0]
text = pd.DataFrame(
    {
        "token": conditioner.t5_tokenizer.convert_ids_to_tokens(ids[0].tolist()),
        "id": ids[0].tolist(),
        "norm of its vector": vectors[0].detach().norm(dim=-1).tolist(),
    }
)
show.table(text, prompt)

# %% [markdown]
# One row is one token, *id* its number in the vocabulary, *norm* the length of its vector.
#
# ## Inside: codebooks
#
# A frame of music is several tokens, one from each codebook (list of codes) of the codec: the first
# says most, the others refine it. Codebook *k* is delayed by *k* positions, so that each token can
# see the coarser ones of its own frame. Whoever labels positions with what is heard must undo the
# delay, as `lib` does.

# %%
clip = m.generate([prompt], seconds, seed)
shown = clip.tokens[0, :, : int(2 * m.frame_rate)]
show.token_map(
    shown, m.lm.pattern_provider.delays, m.frame_rate, m.codec.cardinality
)

# %% [markdown]
# Time runs to the right, one row is a codebook, and colour is the token's number: each row begins
# one position later than the row above.
#
# ## Inside: sound
#
# The same clip as a spectrogram, with pitch upwards (logarithmic) and time to the right.

# %%
show.spectrogram(clip.audio[0], clip.sample_rate, prompt)

# %% [markdown]
# The line follows the sound and a click moves it: notes and their overtones show as horizontal
# stripes.
#
# ## And its size
#
# The organisms have every part of a released MusicGen. What the book measures on them, it measures
# on `facebook/musicgen-small` by changing the parameter `model`.


# %%
def size(m):
    blocks = m.lm.transformer.layers
    return {
        "blocks": len(blocks),
        "width": m.lm.dim,
        "codebooks × size": f"{m.lm.n_q} × {m.codec.cardinality}",
        "frames a second": m.frame_rate,
        "million parameters": sum(p.numel() for p in m.lm.parameters()) / 1e6,
    }


sizes = [{"model": name, **size(singer)} for name, singer in models.items()]
show.table(pd.DataFrame(sizes))

# %% [markdown]
# *Blocks* are the equal layers of the transformer, *width* is how many values each passes on for
# every position.
#
# **What would change our mind.** If the first model's clips differed with the word no more than the
# shuffled organism's, there would be nothing to interpret. The next chapter measures that.

# %%
Markdown(
    f"**Verdict.** Nothing is decided here. {model} sings for every word; whether it answers the word "
    "is measured in the next chapter."
)
