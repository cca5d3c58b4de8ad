"""audiocraft 1.3.0 on today's stack.

audiocraft imports torchaudio, xformers, spacy, torchmetrics and av when it is imported, but text-to-music generation
uses none of them: only the names below must exist. On CPU-only PyTorch no published torchaudio wheel loads, xformers
has no wheel for macOS, and spacy and av lag behind new Pythons. :func:`install` puts a stand-in where such a package is not
installed, leaves every installed one alone, and makes the stand-in say what is missing as soon as something real is
asked of it.
"""

import importlib.machinery
import importlib.util
import sys
import types
import warnings

import torch

# Stand-ins go in after transformers, which looks for torchaudio itself and would believe them.
import transformers  # noqa: F401

#: What the stand-in of each package must have so that audiocraft can be imported, by module.
NAMES = {
    "torchaudio": {"torchaudio": (), "torchaudio.transforms": ("MelSpectrogram", "Resample", "Spectrogram")},
    "xformers": {"xformers": (), "xformers.ops": ("memory_efficient_attention",)},
    "spacy": {"spacy": ()},
    "torchmetrics": {"torchmetrics": ("Metric",)},
    "av": {"av": ()},
}
#: What each package is for in audiocraft: the end of the error message.
USED_FOR = {
    "torchaudio": "melody (chroma) conditioning, training losses and audio files",
    "xformers": "the xformers attention backend (text-to-music uses PyTorch's own)",
    "spacy": "lemmatized captions (text normalisation of the conditioners)",
    "torchmetrics": "audiocraft's evaluation metrics",
    "av": "reading compressed audio files in audiocraft's data sets",
}


class NotInstalled(ImportError):
    """Something outside text-to-music generation was asked of a package that is not installed."""


class _Standin(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):  # introspection (inspect, pickle, doctest) must see an ordinary module
            raise AttributeError(name)
        _fail(self.__name__, name)


def _fail(module, name):
    package = module.partition(".")[0]
    raise NotInstalled(
        f"'{module}.{name}' was asked for, but {package} is not installed: the book's text-to-music path does not use "
        f"it. It is needed for {USED_FOR[package]}. Install {package} to use that."
    )


def _named(module, name):
    """A class that can be imported and referred to, and that fails when it is used."""

    def __init__(self, *args, **kwargs):
        _fail(module, name)

    return type(name, (), {"__init__": __init__, "__module__": module})


def install() -> list[str]:
    """Stand in for the packages of :data:`NAMES` that are not installed. Calling it twice changes nothing.

    Returns
    -------
    list of str
        The packages stood in for now.
    """
    added = []
    for package, modules in NAMES.items():
        if package in sys.modules or importlib.util.find_spec(package) is not None:
            continue
        for path, names in modules.items():
            module = _Standin(path, f"Stand-in of lib.compat: {package} is not installed.")
            module.__spec__ = importlib.machinery.ModuleSpec(path, None, is_package="." not in path)
            module.__path__ = []
            for name in names:
                setattr(module, name, _named(path, name))
            sys.modules[path] = module
            parent, _, child = path.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
        added.append(package)
    if "xformers" in added:
        # all that text-to-music uses of xformers: a function PyTorch has, and a class whose instances only say "causal"
        sys.modules["xformers.ops"].unbind = torch.unbind
        sys.modules["xformers.ops"].LowerTriangularMask = type("LowerTriangularMask", (), {})
    return added


install()
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch.nn.utils.weight_norm
    import audiocraft
    import audiocraft.models

__all__ = ["NAMES", "USED_FOR", "NotInstalled", "audiocraft", "install"]
