"""Hooks of one's own, and nnsight: which modules are watched, and how they still see what they would.

The book runs the parts of a model itself. A module that nobody watches is not called, only its
weights are used; one that somebody watches is called where audiocraft would call it.
"""

import functools
from collections.abc import Callable

from .compat import audiocraft

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: Attribute of a module that holds what it runs instead of its own forward.
INSTEAD = "_runs_instead"


def _may_run_another(kind) -> None:
    """Let modules of a class run a function in the place of their own forward.

    Not by an attribute ``forward`` of the module: there nnsight puts its own, which runs what the
    class says.
    """
    own = kind.forward

    @functools.wraps(own)
    def forward(self, *args, **kwargs):
        instead = vars(self).get(INSTEAD)
        return own(self, *args, **kwargs) if instead is None else instead(*args, **kwargs)

    kind.forward = forward


for _kind in (
    audiocraft.modules.conditioners.T5Conditioner,
    audiocraft.modules.conditioners.WaveformConditioner,
    audiocraft.modules.transformer.StreamingTransformer,
    audiocraft.modules.transformer.StreamingTransformerLayer,
    audiocraft.modules.transformer.StreamingMultiheadAttention,
):
    _may_run_another(_kind)


def called_as(module, function: Callable, *args, **kwargs):
    """``function(*args, **kwargs)`` as if it were the module's own forward:

    hooks on the module fire, and nnsight reads and changes what enters and leaves it.
    """
    if not is_watched(module):
        return function(*args, **kwargs)
    vars(module)[INSTEAD] = function
    try:
        return module(*args, **kwargs)
    finally:
        del vars(module)[INSTEAD]


def is_watched(module):
    """Whether it has hooks, or a ``forward`` of its own (nnsight's)."""
    return "forward" in vars(module) or any(getattr(module, kind) for kind in HOOKS)


def check(lm, parts: bool = False) -> None:
    """Refuse hooks that would not fire.

    Parameters
    ----------
    parts : bool
        Whether only parts of the model run, as in patching: then no hook of one's own is taken.

    Raises
    ------
    ValueError
        Naming the module, the reason and the remedy.
    """
    uncalled = {"", "condition_provider", "fuser", "cfg_dropout", "att_dropout"}
    for name, module in lm.named_modules():
        if not any(getattr(module, kind) for kind in HOOKS):
            continue
        if parts:
            raise ValueError(
                f"There is a hook on {name or 'the language model'}, and this runs parts of the "
                "model again and again, "
                "where it would not fire as in a whole pass. Remove it, or use activations.capture "
                "and activations.edit."
            )
        if name in uncalled or "dropout" in name:
            raise ValueError(
                f"A hook on {name or 'the language model itself'} would never fire: this book runs "
                "the model's parts "
                "itself. Put it on transformer, its layers or what is inside them, or use "
                "activations.capture and "
                "activations.edit."
            )
