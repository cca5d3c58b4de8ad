"""What somebody does who has installed the wheel: ``test_wheel.py`` runs it in such a place."""

import importlib.util
import pkgutil

import numpy as np

assert importlib.util.find_spec("lib") is None
assert importlib.util.find_spec("audiocraft") is None

import musicgen_emotion  # noqa: E402
from musicgen_emotion import activations, model  # noqa: E402

m = model.load("organism", "cpu")
clips = m.generate(["sad music"], 1, keep=True, progress=False)
np.save("tokens.npy", clips.tokens)
acts = activations.capture(m, clips, "resid.4", progress=False)
assert np.isfinite(acts["resid.4"]).all()

import audiocraft  # noqa: E402

assert "_vendor" in audiocraft.__file__

# a folder is named from where one is
mine = model.load("mine", "cpu")
assert mine.generate(["happy"], 0.1, progress=False).tokens.shape == (1, 4, 5)

# every module imports what is there, but for those that run the book in its checkout
for module in pkgutil.walk_packages(musicgen_emotion.__path__, "musicgen_emotion."):
    if module.name.split(".")[1] not in ("book", "_vendor"):
        importlib.import_module(module.name)
for short in musicgen_emotion.NAMES:
    if not musicgen_emotion.NAMES[short].startswith("book"):
        importlib.import_module(f"musicgen_emotion.{short}")
