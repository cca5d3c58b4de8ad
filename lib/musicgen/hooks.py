"""Hooks of one's own, and nnsight: which modules are watched, and how they still see what they would.

The book runs the parts of a model itself. A module that nobody watches is not called, only its
weights are used; one that somebody watches is called where audiocraft would call it.
"""

import functools
from collections.abc import Callable

import torch

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


#: Modules whose parts are run here.
_RUN_IN_PARTS = (
    audiocraft.modules.conditioners.T5Conditioner,
    audiocraft.modules.conditioners.WaveformConditioner,
    audiocraft.modules.transformer.StreamingTransformer,
    audiocraft.modules.transformer.StreamingTransformerLayer,
    audiocraft.modules.transformer.StreamingMultiheadAttention,
)
for _kind in _RUN_IN_PARTS:
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


def parts(lm, codec) -> dict:
    """The networks of a MusicGen, by name."""
    text = lm.condition_provider.conditioners["description"].t5
    return {"language model": lm, "text encoder": text, "codec": codec}


def there(lm, codec) -> list:
    """All hooks of one's own, and functions in the place of a module's forward: what changes what
    is computed without changing a weight.

    Returns
    -------
    list
        (part, module, kind, function), for ``cache.digest``.
    """
    found = []
    for part, network in parts(lm, codec).items():
        for name, module in network.named_modules():
            replaced = vars(module).get("forward")
            if _of_nnsight(replaced):
                replaced = _NnsightTrace() if _traces(replaced) else None
            if replaced is not None:
                found.append((part, name, "forward", replaced))
            for kind in HOOKS[:2]:
                found += [(part, name, kind, hook) for hook in getattr(module, kind).values()]
    return found


def _check_forward(name, module, uncalled):
    """Refuse a forward that would not run: of a subclass, or put in the place of the model's own."""
    kind = next((known for known in _RUN_IN_PARTS if isinstance(module, known)), None)
    replaced = vars(module).get("forward")
    # which runs what the class says
    replaced = None if _of_nnsight(replaced) else replaced
    subclassed = kind is not None and type(module).forward is not kind.forward
    if subclassed or (replaced is not None and (kind is not None or name in uncalled)):
        raise ValueError(
            f"{name or 'The language model'} has a forward of its own, which would not run: this "
            "book runs the parts of that module itself. Use hooks on it, activations.edit, or "
            "change the modules inside it."
        )


class _NnsightTrace:
    """Stands for what nnsight does in a trace: it cannot be told, so nothing is kept under it."""

    __slots__ = ()


def _of_nnsight(forward):
    """Whether nnsight has put it in the place of a module's forward."""
    return type(forward).__module__.partition(".")[0] == "nnsight"


def _traces(forward):
    """Whether nnsight reads or changes something just now; yes where it cannot be asked."""
    try:
        return forward.state.active()[0] is not None
    except AttributeError:
        return True


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
    if torch.nn.modules.module._has_any_global_hook():
        raise ValueError(
            "There is a hook on all modules (torch.nn.modules.module.register_module_...), which "
            "would not fire where this book uses a module's weights alone. Remove it, and put hooks "
            "on the modules you mean."
        )
    for name, module in lm.named_modules():
        _check_forward(name, module, uncalled)
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
