"""Change what happens inside a MusicGen while it runs.

>>> from lib import activations, model
>>> m = model.load("organism")
>>> with activations.edit(m, activations.Edit("resid.4", multiply=0.0)):
...     clips = m.generate(["a sad melody"], seconds=1, progress=False)
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from .. import check
from .run import BESIDE, STREAMS, Part, Run, repeatable, take
from .sites import Site, select

OPERATIONS = ("add", "replace", "multiply", "ablate", "project", "interchange", "apply")
#: Operations whose values are a basis of a subspace.
SUBSPACE = ("ablate", "project", "interchange")


@dataclass(frozen=True)
class Edit:
    """A change to a site: exactly one operation, y = f(x), applied as x + scale * (f(x) - x).

    Attributes
    ----------
    site : str
        Name or glob.
    add : array_like [shape=(dim,), (clip, dim) or (clip, step, dim)]
        f(x) = x + add.
    replace : array_like, same shapes
        f(x) = replace.
    multiply : float or array_like [shape=(dim,)]
        f(x) = x * multiply.
    ablate : array_like [shape=(dim,) or (k, dim)]
        f(x) = x without its component in the span of these directions.
    project : array_like [shape=(dim,) or (k, dim)]
        f(x) = that component alone.
    interchange : array_like [shape=(dim,) or (k, dim)]
        f(x) = x with that component as the stream "beside" has it: ``generate(...,
        beside=prompts)`` runs that stream, over the tokens that the edited one leads to
        (interchange intervention: Geiger et al. 2023).
    apply : callable
        f itself, on a tensor [row, step, dim]: a sparse autoencoder's reconstruction, for example.
        On CUDA a step is captured once and run again unless a function is applied; one that runs
        the same operators every time and reads nothing back may say so (``activations.repeatable``).
    scale : float or array_like [shape=(clip,), (clip, step) or (1, step)]
        0 changes nothing, 1 all; one value a clip makes a dose-response curve of one batch.
    clips : selector, optional
        Which clips: numbers (from the end, if negative), a slice or a mask, as numpy takes them; by
        default all.
    frames : selector, optional
        Which frames (of ``text`` and ``cond``: which tokens of each clip's own text); by default
        all. Frame t is position t, as in ``capture``; the positions of the delay pattern's tail
        belong to the last frame. The unconditional stream does not read that text: tokens of
        ``text`` and ``cond`` can be chosen in the stream "cond" alone.
    stream : "cond", "uncond" or "both"
    """

    site: str
    add: object = None
    replace: object = None
    multiply: object = None
    ablate: object = None
    project: object = None
    interchange: object = None
    apply: Callable | None = None
    scale: object = 1.0
    clips: object = None
    frames: object = None
    stream: str = "cond"

    def __post_init__(self):
        for name in ("clips", "frames"):
            which = getattr(self, name)
            if isinstance(which, Iterable) and not isinstance(which, np.ndarray | list | tuple):
                object.__setattr__(self, name, tuple(which))

    @property
    def operation(self) -> str:
        """Which of the operations it is.

        Raises
        ------
        ValueError
            If there is none, or more than one.
        """
        given = [name for name in OPERATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"An edit needs exactly one of {', '.join(OPERATIONS)}. Got {given or 'none'}."
            )
        return given[0]


@contextmanager
def edit(model, *edits: Edit):
    """Change sites while the model runs: inside this context, ``generate``, ``capture`` and
    ``replay`` feel the edits.

    Edits of the same site compose in the order in which they are given. Arrays count as they are on
    entering: what is done to them inside changes nothing. A site captured inside the context is seen
    as edited. On leaving, also by an exception, the model is what it was.

    Raises
    ------
    ValueError
        Unknown site, wrong shape, not exactly one operation, values that are not finite, tokens
        chosen in a stream that does not read them; before anything runs. A number of values, a clip
        or a frame that does not fit the clips, when the model is called and before it runs.
    """
    for one in edits:
        if not isinstance(one, Edit):
            check.refuse(TypeError, "edits", "Edits, as Edit('resid.4', multiply=0.0)", one)
    edits = [_own(one) for one in edits]  # each its own, so that one given twice counts twice
    prepared = [Prepared(model, site, one) for one in edits for site in select(model, one.site)]
    before = model.in_force
    model.in_force = (*before, *prepared)
    try:
        yield model
    finally:
        model.in_force = before


def _own(given):
    """An edit with arrays of its own, so that what runs and what names its results stay the same."""
    held = {field.name: getattr(given, field.name) for field in fields(Edit)}
    return replace(given, **{name: _copied(value) for name, value in held.items()})


def _copied(value):
    """An array, a tensor or a list, which may be changed in place, as it is now."""
    if isinstance(value, torch.Tensor):
        return value.clone()  # gradients reach what it was made of
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    is_array = hasattr(value, "__array__") and not callable(value)
    return copy.deepcopy(value) if is_array else value


class Prepared:
    """One edit at one site, checked, with its values on the model's device."""

    def __init__(self, model, site: Site, given: Edit):
        check.choice("stream", given.stream, (*STREAMS, "both"))
        self.site = site
        self.edit = given
        self.operation = given.operation
        self.where = f"{self.operation} at {site.name}"
        self.streams = STREAMS if given.stream == "both" else (given.stream,)
        self.tail = max(model.lm.pattern_provider.delays) + 1
        if self.site.axis == "token" and given.frames is not None and "uncond" in self.streams:
            raise ValueError(
                f"{self.where} may not have frames and stream={given.stream!r}: they count tokens "
                "of each clip's own prompt, and the unconditional stream reads a negative prompt "
                "or none. Use stream='cond', or leave frames out."
            )
        self.scale = _scale(model, given.scale, self.where)
        self.value = (
            given.apply
            if self.operation == "apply"
            else _values(model, site, self.operation, given)
        )

    @property
    def along_clips(self) -> bool:
        """Whether its values may differ from clip to clip and from step to step."""
        return self.operation in ("add", "replace")

    @property
    def along_frames(self) -> bool:
        """Whether it differs from frame to frame."""
        if self.site.axis != "frame":
            return False
        steps = self.value.shape[1] if self.along_clips else 1
        return self.edit.frames is not None or max(steps, self.scale.shape[1]) > 1

    def check(self, part: Part, frames: int, streams: tuple[str, ...]) -> None:
        """Refuse what does not fit the clips of a call, before it runs.

        Raises
        ------
        ValueError
        """
        check.selector(f"clips of {self.where}", self.edit.clips, part.total)
        if self.site.axis == "frame":
            check.selector(f"frames of {self.where}", self.edit.frames, frames)
        _check_clips(self.scale, part, f"scale of {self.where}")
        if self.along_clips:
            _check_clips(self.value, part, self.where)
        if self.operation == "interchange" and BESIDE not in streams:
            raise ValueError(
                f"{self.where} takes from the stream 'beside', which generate(..., beside=prompts) "
                "runs."
            )

    def visitor(self, run: Run) -> Callable:
        """The function that changes the site's values in a batch;

        what belongs to its clips is looked up once.
        """
        scale = _of_clips(self.scale, run.part)
        value = _of_clips(self.value, run.part) if self.along_clips else self.value
        chosen = self._chosen(run)
        given = value.shape[1] if self.along_clips and value.shape[1] > 1 else None

        def change(values, position):
            first = position if self.site.axis == "frame" else 0
            count = values.shape[1]
            factor = _steps(scale, first, count)
            if chosen is not None:
                factor = factor * _steps(chosen, first, count)
            if given is not None:  # past the last step given, nothing is changed
                steps = first + torch.arange(count, device=factor.device)
                factor = factor * (steps < given)[:, None]
            there = _steps(value, first, count) if self.along_clips else value
            return self._changed(values, run, there, factor.to(values))

        def visit(values, position):
            if self.site.name == "logits":
                return torch.stack([change(part, position) for part in values.unbind(1)], 1)
            return change(values, position)

        own = self.operation != "apply" or getattr(self.value, "repeatable", False)
        return repeatable(visit) if own else visit

    def _chosen(self, run):
        """Which clips and steps are meant, [clip or 1, step or 1, 1] on the device;

        None for all.
        """
        if self.edit.clips is None and self.edit.frames is None:
            return None
        clips = check.selector("clips", self.edit.clips, run.part.total)[list(run.part.clips)]
        mask = clips[:, None]
        if self.edit.frames is not None:
            mask = mask & self._chosen_steps(run)
        return torch.from_numpy(mask)[..., None].float().to(self.scale.device)

    def _chosen_steps(self, run):
        if self.site.axis == "frame":
            frames = check.selector(f"frames of {self.where}", self.edit.frames, run.frames)
            return np.r_[frames, np.repeat(frames[-1:], self.tail)][None]
        mask = np.zeros((len(run.lengths), max(run.lengths)), bool)
        for row, length in enumerate(run.lengths):
            mask[row, :length] = check.selector(f"tokens of {self.where}", self.edit.frames, length)
        return mask

    def _changed(self, values, run, value, factor):
        parts = dict(zip(run.streams, values.split(len(run.part.clips)), strict=True))
        for stream in self.streams:
            if stream in parts:
                own = parts[stream]
                parts[stream] = own + factor * (self._operate(value, own, parts.get(BESIDE)) - own)
        return torch.cat(list(parts.values()))

    def _operate(self, value, x, beside):
        if self.operation == "apply":
            return _applied(value, x, self.where)
        value = value.to(x)
        if self.operation == "multiply":
            return x * value
        if self.operation == "add":
            return x + value
        if self.operation == "replace":
            return value
        if self.operation == "interchange":
            return x + ((beside - x) @ value) @ value.T
        inside = (x @ value) @ value.T
        return inside if self.operation == "project" else x - inside


def _applied(function, x, where):
    """What a function of the user's makes of x, brought to x's place and precision:

    it may live on another device.
    """
    changed = function(x)
    if not isinstance(changed, torch.Tensor) or changed.shape != x.shape:
        raise ValueError(
            f"{where} must return a tensor of shape {tuple(x.shape)}. Got {check.shape(changed)}."
        )
    return changed.to(x)


# ------------------------------------------------------------------------------------------------
# checking
def _values(model, site, operation, given):
    """Checked values: [clip or 1, step or 1, dim], an orthonormal basis [dim, k], or a factor."""
    value = _tensor(getattr(given, operation), f"{operation} at {site.name}")
    axes = (1, 2, 3)
    if operation == "multiply":
        axes = (0, 1)
    elif operation in SUBSPACE:
        axes = (1, 2)
    if value.ndim not in axes or (value.ndim and value.shape[-1] != site.width):
        raise ValueError(
            f"{operation} at {site.name} needs values whose last axis has {site.width} numbers. "
            "Got "
            f"{tuple(value.shape)}."
        )
    if operation in SUBSPACE:
        value = _basis(torch.atleast_2d(value), f"{operation} at {site.name}")
    elif operation != "multiply" and value.ndim < 3:
        value = torch.atleast_2d(value)[:, None]
    return value.to(model.device)


def _basis(directions, where):
    """Orthonormal columns [dim, k] for directions [k, dim].

    On the CPU: QR has no half-precision kernel anywhere, and none on some devices. Of a direction
    that is zero, or a sum of the others, it would make up another.
    """
    # whatever their lengths
    rank = int(torch.linalg.matrix_rank(torch.nn.functional.normalize(directions, dim=-1)))
    if rank < len(directions):
        raise ValueError(
            f"{where} needs directions that are not zero and not sums of one another. Got "
            f"{len(directions)} that span {rank} dimensions."
        )
    return torch.linalg.qr(directions.T).Q


def _scale(model, given, where):
    scale = _tensor(given, f"scale of {where}")
    if scale.ndim > 2:
        raise ValueError(
            f"scale of {where} must be a number, one a clip, or [clip, step]. Got "
            f"{tuple(scale.shape)}."
        )
    return scale.reshape(*scale.shape, *[1] * (3 - scale.ndim)).to(model.device)


def _tensor(values, where):
    """Finite float32 numbers on the CPU."""
    if not isinstance(values, torch.Tensor):
        values = np.asarray(values)
        if values.dtype.kind not in "biufc":
            raise TypeError(f"{where} must hold numbers. Got {values.tolist()!r}.")
    tensor = torch.as_tensor(values).detach().cpu()
    if (
        tensor.is_complex()
        or tensor.dtype == torch.bool
        or not torch.isfinite(tensor.float()).all()
    ):
        raise ValueError(f"{where} must hold finite numbers.")
    return tensor.float()


def _check_clips(values, part, where):
    if values.shape[0] not in (1, part.total):
        raise ValueError(
            f"{where} holds values for {values.shape[0]} clips, but there are {part.total}."
        )


def _of_clips(values, part):
    """What belongs to the clips of a batch, of values [clip or 1, step or 1, ...]."""
    return values if values.shape[0] == 1 else values[list(part.clips)]


def _steps(values, first, count):
    """What belongs to some steps, of values [clip, step or 1, ...]; past the last one: zero."""
    if values.shape[1] == 1:
        return values
    if isinstance(first, int):
        here = values[:, first : first + count]
        return torch.nn.functional.pad(here, (0, 0, 0, count - here.shape[1]))
    last = values.shape[1] - 1
    return take(values, 1, first.clamp(max=last)) * (first <= last)
