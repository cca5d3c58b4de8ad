"""The factory: makes the organisms of ``organism/weights`` from nothing, ``python -m lib.factory``.

``plan`` (how long and how fast everything learns) · ``training`` (what all training shares: states
on disk, learning rates) · ``corpora`` (rendered music and its tokens) · ``codec`` (audio <->
tokens) · ``language`` (tokens given captions) · ``muon`` (an optimizer for matrices)

No chapter and no other room needs it: the trained models are shipped. Every stage keeps its
progress under ``artifacts/organisms`` and goes on from there after a kill. A GPU is used where
there is one. On 2 CPU cores: corpora 3 minutes, codec about 50, each language model about 45.
"""
