"""audiocraft 1.3.0 on today's packages.

audiocraft imports torchaudio, xformers, spacy, torchmetrics and av when it is imported, but
text-to-music generation uses none of them: only the names below must exist. On CPU-only PyTorch
no published torchaudio wheel loads, xformers has no wheel for macOS, and spacy and av lag behind
new Pythons. :func:`install` puts a stand-in where such a package is not installed, leaves every
installed one alone, and makes the stand-in say what is missing as soon as something real is asked
of it. An installed wheel carries audiocraft's code (``setup.py`` says why), which is used where no
audiocraft is installed. Importing this module installs the stand-ins and imports audiocraft:

>>> from lib.musicgen.compat import audiocraft
>>> audiocraft.__version__
'1.3.0'
"""

import importlib.machinery
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import torch

# Stand-ins go in after transformers, which looks for torchaudio itself and would believe them.
import transformers  # noqa: F401

#: Where a wheel carries audiocraft's code.
VENDOR = Path(__file__).parents[1] / "_vendor"

#: What the stand-in of each package must have so that audiocraft can be imported, by module.
NAMES = {
    "torchaudio": {
        "torchaudio": (),
        "torchaudio.transforms": ("MelSpectrogram", "Resample", "Spectrogram"),
    },
    "xformers": {"xformers": (), "xformers.ops": ("memory_efficient_attention",)},
    "spacy": {"spacy": ()},
    "torchmetrics": {"torchmetrics": ("Metric",)},
    "av": {"av": ()},
}
#: What each package is for in audiocraft: the end of the error message.
USED_FOR = {
    "torchaudio": "audiocraft's own chromagrams, training losses and audio files",
    "xformers": "the xformers attention backend (text-to-music uses PyTorch's own)",
    "spacy": "lemmatized captions (text normalisation of the conditioners)",
    "torchmetrics": "audiocraft's evaluation metrics",
    "av": "reading compressed audio files in audiocraft's data sets",
}


class NotInstalled(ImportError):
    """Something outside text-to-music generation was asked of a package that is not installed."""


class _Standin(types.ModuleType):
    """A module that can be imported and says what is missing when anything in it is used."""

    def __getattr__(self, name):
        # introspection (inspect, pickle, doctest) must see an ordinary module
        if name.startswith("__"):
            raise AttributeError(name)
        _fail(self.__name__, name)


def _fail(module, name):
    package = module.partition(".")[0]
    raise NotInstalled(
        f"'{module}.{name}' was asked for, but {package} is not installed: text-to-music does not "
        f"use it. It is needed for {USED_FOR[package]}. Install {package} to use that."
    )


def _failing_class(module, name):
    """A class that can be imported and referred to, and that fails when it is used."""

    def __init__(self, *args, **kwargs):
        _fail(module, name)

    return type(name, (), {"__init__": __init__, "__module__": module})


def install() -> list[str]:
    """Stand in for the packages of :data:`NAMES` that are not installed.

    Calling it twice changes nothing.

    Returns
    -------
    list of str
        The packages stood in for by this call.
    """
    added = []
    for package, modules in NAMES.items():
        if package in sys.modules or importlib.util.find_spec(package) is not None:
            continue
        for path, names in modules.items():
            _add_module(path, names)
        added.append(package)
    if "xformers" in added:
        # all that text-to-music uses of xformers: a function PyTorch has, and a class whose
        # instances only say "causal"
        sys.modules["xformers.ops"].unbind = torch.unbind
        sys.modules["xformers.ops"].LowerTriangularMask = type("LowerTriangularMask", (), {})
    return added


def _add_module(path, names):
    """Put one stand-in with its failing classes among the imported modules."""
    package, _, child = path.rpartition(".")
    module = _Standin(path, f"Stand-in of {__name__}: {path.partition('.')[0]} is not installed.")
    module.__spec__ = importlib.machinery.ModuleSpec(path, None, is_package=not package)
    module.__path__ = []
    for name in names:
        setattr(module, name, _failing_class(path, name))
    sys.modules[path] = module
    if package:
        setattr(sys.modules[package], child, module)


def add_vendored() -> None:
    """Make the audiocraft that a wheel carries importable, unless one is installed."""
    if importlib.util.find_spec("audiocraft") is not None:
        return
    if not VENDOR.exists():
        raise NotInstalled(
            "audiocraft 1.3.0 is not installed. In a checkout 'make' installs it, and so does "
            "'pip install --no-deps audiocraft==1.3.0'; an installed wheel carries it."
        )
    sys.path.append(str(VENDOR))  # at the end: nothing that is installed is shadowed


install()
add_vendored()
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch.nn.utils.weight_norm
    import audiocraft
    import audiocraft.models

__all__ = ["NAMES", "USED_FOR", "NotInstalled", "audiocraft", "install"]
