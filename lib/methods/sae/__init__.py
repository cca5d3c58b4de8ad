"""Sparse autoencoders: trained by sae-lens on our activations, judged against known answers.

An SAE here is an ordinary ``sae_lens`` SAE on raw activations: the mean and scale with which it was
trained (kept beside it in ``statistics.safetensors``) are folded into its weights, so
``SAE.load_from_disk`` reads its folder and nothing else is needed. Its decoder directions have
length 1, so a feature's activation is in the units of the site.

``training`` (from activations to an SAE) reads ``batches`` (shuffled, from memory or a store) and
goes through ``keeping`` (folder, checkpoint, resume). ``evaluation`` splices an SAE into the
running model, beside ``bases`` to compare it with; ``responses`` says what features respond to,
``influence`` what they do. ``placing`` lets an SAE on any device read activations of any device and
precision. ``transcoders`` are such dictionaries of what MLPs do. ``sharing`` puts SAEs on the
Hugging Face hub and fetches them (:func:`push`, :func:`pull`), ``exporting`` writes their features
for Neuronpedia (:func:`export`).

``codes`` (SAEs and bases in one form) is what the field's scores are asked of: ``scoring`` of
labels, ``benchmark`` of what features are good for. ``crosscoding`` trains one dictionary for two
models.

``sae_lens`` takes seconds to import, and only training and loading need it.
"""

from .bases import Basis
from .evaluation import evaluate
from .exporting import export
from .influence import effects
from .keeping import FOLDER, load
from .placing import decode, encode
from .responses import activity, features
from .sharing import pull, push
from .training import ARCHITECTURES, best_first, train, trained, transcoder

__all__ = [
    "ARCHITECTURES",
    "FOLDER",
    "Basis",
    "activity",
    "best_first",
    "decode",
    "effects",
    "encode",
    "evaluate",
    "export",
    "features",
    "load",
    "pull",
    "push",
    "train",
    "trained",
    "transcoder",
]
