"""Model organisms: real MusicGens in miniature whose world is known.

``world`` (the causal model that makes cues, perceived emotion and named emotion) · ``captions`` (its language) ·
``codec`` (audio <-> tokens) · ``network`` (T5, language model, files) · ``train`` (makes them from nothing) ·
``evaluate`` (the held-out bars)
"""
