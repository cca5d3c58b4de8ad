"""The methods: how emotion is looked for inside a model, and moved.

- ``probes``: what can be read out of vectors, beyond words, chance and the probe's own memory.
- ``harvest``, ``sae``, ``features``: music with all that is known of it, sparse autoencoders
  trained on its activations, and what single features respond to.
- ``directions``: the one direction between two groups of vectors, for all methods.
- ``divergence``, ``gradients``: how far apart two predictions are, and what that follows from,
  in half precision, too.
- ``causal``: what causes what, by exchanging activations between runs.
- ``lenses``: predictions, and music, from the residual stream of any block.
- ``localisation``: do methods that say where find the place, where it is known?
- ``steering``: emotion moved from inside, and what it does to the music.
- ``validation``: is each organism what we say?
"""
