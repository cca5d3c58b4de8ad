"""The factory: makes the organisms of ``organism/weights`` from nothing, ``python -m lib.factory``.

``plan`` (how long and how fast everything learns) · ``training`` (what all training shares: states
on disk, learning rates) · ``corpora`` (rendered music and its tokens) · ``codec`` (audio <->
tokens) · ``language`` (tokens given captions) · ``planting`` (variables brought in by declared
heads) · ``muon`` (an optimizer for matrices)

No chapter and no other room needs it: the trained models are shipped. Every stage keeps its
progress under ``artifacts/organisms`` and goes on from there after a kill. A GPU is used where
there is one: the first ten took 7.5 minutes of an H200, side by side, after the codec.
On 2 CPU cores: codec about 50 minutes, music and tokens of a world 20 to 30, each language model
about three hours.
"""
