"""What somebody does who has installed the wheel: run by ``test_wheel.py`` in an environment of its own."""

import importlib.util
import pkgutil

import numpy as np

assert importlib.util.find_spec("lib") is None
assert importlib.util.find_spec("audiocraft") is None

import musicgen_emotion  # noqa: E402
from musicgen_emotion import activations, causal, listeners, model, probes, sae, stats, steering  # noqa: E402, F401

m = model.load("organism", "cpu")
clips = m.generate(["sad music"], 1, keep=True, progress=False)
np.save("tokens.npy", clips.tokens)
acts = activations.capture(m, clips, "resid.4", progress=False)
assert np.isfinite(acts["resid.4"]).all()

import audiocraft  # noqa: E402

assert "_vendor" in audiocraft.__file__

# a folder is named from where one is
assert model.load("mine", "cpu").generate(["happy"], 0.1, progress=False).tokens.shape == (1, 4, 5)

# every module is there and imports what is there, but for those that run the book in its checkout or need an extra
for module in pkgutil.walk_packages(musicgen_emotion.__path__, "musicgen_emotion."):
    part = module.name.split(".")[1]
    if part not in ("book", "_vendor"):
        importlib.import_module(module.name)
