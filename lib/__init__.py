"""Does MusicGen understand emotion, or does it only correlate patterns? The library behind the
book.

Rooms, from the ground up. A room imports only those named in its row (``tests/test_house.py``
checks this table against the code), so that the arrows never form a circle.

========  ==============================================  ==========================================
room      imports                                         what is in it
========  ==============================================  ==========================================
stats     -                                               estimates with intervals, tests
check     -                                               the one way to check input
cache     check                                           what is kept on disk: named, written, read
musicgen  check cache                                     a MusicGen: load, run, read, change
organism  check cache                                     worlds whose truth is known
hearing   stats check cache organism                      what is heard: acoustics, listeners
prompts   check organism                                  what is asked: prompts, concepts
scale     check cache musicgen                            the same work on many machines
methods   stats check cache musicgen organism hearing     probes, SAEs, causes, steering, validation
          prompts scale
rated     stats check cache musicgen organism hearing     music that people rated
          methods
factory   check cache musicgen organism                   trains the organisms; nobody imports it
pages     stats check cache musicgen organism hearing     what a reader sees and plays
          prompts methods
book      stats check cache musicgen organism hearing     chapters: set-up, findings, execution
          prompts scale methods rated pages
========  ==============================================  ==========================================

Short names for what a chapter uses most, whatever room it is in: ``from lib import model,
activations, probes, sae, features, harvest, causal, steering, concepts, listeners, datasets, show,
results`` (:data:`NAMES`).

>>> from lib import activations, model
>>> m = model.load("organism")
>>> clips = m.generate(["a sad violin melody"], seconds=1, progress=False)
>>> activations.capture(m, clips, "resid.4", progress=False)["resid.4"].dims
('clip', 'frame', 'dim')
"""

import importlib
import importlib.abc
import importlib.machinery
import sys

#: Short name -> where it is. ``lib.causal.graph`` and the like follow.
NAMES = {
    "model": "musicgen",
    "activations": "musicgen.activations",
    "store": "musicgen.store",
    "sizing": "musicgen.sizing",
    "compat": "musicgen.compat",
    "music": "organism.music",
    "acoustics": "hearing.acoustics",
    "listeners": "hearing.listeners",
    "concepts": "prompts.concepts",
    "probes": "methods.probes",
    "features": "methods.features",
    "harvest": "methods.harvest",
    "sae": "methods.sae",
    "causal": "methods.causal",
    "causal.variables": "methods.causal.subspaces",
    "steering": "methods.steering",
    "evaluation": "methods.validation",
    "datasets": "rated",
    "realmusic": "rated",
    "cluster": "scale.cluster",
    "show": "pages.show",
    "pad": "pages.pad",
    "explorer": "pages.explorer",
    "listening": "pages.listening",
    "results": "book.findings",
}


class _ShortNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its short name; it stays one module, however it is called."""

    def find_spec(self, fullname, path=None, target=None):
        for short in sorted(NAMES, key=len, reverse=True):
            prefix = f"{__name__}.{short}"
            if fullname == prefix or fullname.startswith(f"{prefix}."):
                place = f"{__name__}.{NAMES[short]}{fullname[len(prefix) :]}"
                return importlib.machinery.ModuleSpec(fullname, self, origin=place)
        return None

    def create_module(self, spec):
        module = importlib.import_module(spec.origin)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        """It has been executed;

        importing it under a second name must not change what it says of itself.
        """
        module.__spec__ = module.__spec__.loader_state


if not any(
    type(finder).__name__ == "_ShortNames" and finder.__module__ == __name__
    for finder in sys.meta_path
):
    sys.meta_path.insert(0, _ShortNames())
