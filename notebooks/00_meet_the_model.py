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
# while it plays?
#
# MusicGen is three networks in a row. A **T5 encoder** turns the prompt into one vector a text
# token. A **language model** (a transformer) reads them through cross-attention and writes music as
# discrete tokens, frame by frame. A **codec** turns tokens into sound. Everything this book asks is
# about the second: does it hold *emotion*, or only the habits of words and sounds that go together?
#
# We begin with models small enough to know completely: the **organisms**, MusicGens of a few
# million parameters made of the same parts and trained on music whose causes we set ourselves. One
# learned a world in which tempo raises energy and words name emotions (`organism`), one a world in
# which every emotion word follows a single cue of its own (`organism-habit`: "gloomy" only minor,
# "mournful" only slow), one a world where tempo raises no energy (`organism-decoupled`), and one read
# captions that belonged to other clips (`organism-shuffled`): its words say nothing about its music,
# so whatever a method "finds" in it is the method's own imagination. The next chapter shows that
# they are what we say.

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
# The prompts name an emotion and nothing else. Every clip is drawn with the seed shown, and a seed
# gives the same random numbers to every model and prompt, so that what differs in a row is the
# model and what differs in a column is the word. All players share one gain: loudness is part of
# what the model says.

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
    for emotion, clip_seed, audio in zip(emotions, seeds, clips.audio, strict=True):
        players[emotion][f"{name}, seed {clip_seed}"] = audio
show.player_grid(players, m.sample_rate)

# %% [markdown]
# If the first model answers the words, its five rows differ in tempo, loudness and mode. The
# shuffled organism's rows differ too, as any two clips do, but not with the word. That difference
# between *differing* and *answering* is the subject of the book, and the ear is a poor judge of it:
# chapter by chapter we measure.
#
# ## Inside: text
#
# The prompt becomes tokens; each token becomes a vector that the transformer can attend to. The
# final `</s>` is one of them. When a clip is generated without its prompt (the *unconditional*
# stream that classifier-free guidance needs), these vectors are zero.

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
# ## Inside: codebooks
#
# A frame of music is several tokens at once, one from each codebook of the codec: the first says
# most, the others refine. MusicGen does not predict them together. Codebook *k* is delayed by *k*
# positions, so that each can see the coarser ones of its own frame. Whoever labels positions with
# what is heard must undo the delay; `lib` does it wherever it speaks of frames.

# %%
clip = m.generate([prompt], seconds, seed)
shown = clip.tokens[0, :, : int(2 * m.frame_rate)]
show.token_map(
    shown, m.lm.pattern_provider.delays, m.frame_rate, m.codec.cardinality
)

# %% [markdown]
# ## Inside: sound
#
# The same clip as a spectrogram, pitch upwards on a logarithmic scale. The line follows the sound;
# a click moves it.

# %%
show.spectrogram(clip.audio[0], clip.sample_rate, prompt)

# %% [markdown]
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
# **What would change our mind.** If the first model's rows did not differ more than the shuffled
# organism's do, there would be nothing to interpret. That is measured, not heard, in the next
# chapter.

# %%
Markdown(
    f"**Verdict.** Nothing is decided here. {model} sings for every word; whether it answers the word "
    "is measured in the next chapter."
)
