"""A stand-in accelerator: the device "toy" computes on the CPU and refuses what a GPU refuses.

Most machines that run the tests have no GPU, and code that was only ever run on a CPU does not run
on one. A tensor on "toy" holds one on the CPU, and every operator on it goes through
:func:`dispatch`, which raises where CUDA or MPS raise: a CPU tensor among those of the device,
``.numpy()``, a CPU generator, float64 (which MPS lacks). Numbers are those of the CPU.
:data:`counts` counts launches, uploads and waits (what stops until the device is done).

It has graphs, too (:class:`Graph`): operators are recorded once and run again without the Python
between them, so that a number which Python counts stays what it was at the capture, and what may
not be captured raises.

What it does not show: kernels that only the CPU has, memory, speed, and races.

It is PyTorch's own way to write a backend in Python (``PrivateUse1``) with a wrapper subclass. A
process that has called :func:`install` cannot go back, so tests with it run in a process of their
own (``test_standin.py``).
"""

import collections
import contextlib

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "toy"
#: Number types that it lacks, as MPS does.
REFUSED = {torch.float64, torch.complex128}
#: "launches", "uploads" (from the CPU), "waits" (for the device) and "replays" (of graphs) so far.
counts = collections.Counter()

#: Operators whose answer the CPU waits for.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "_unique2"}
#: Operators that take indices from the CPU and upload them, as CUDA's do.
INDEX = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {"_to_copy", "copy_", "_copy_from", "_copy_from_and_resize"}
#: Operators that compute nothing.
VIEWS = {
    *("detach", "alias", "view", "_unsafe_view", "expand", "permute", "transpose", "t", "select"),
    *("slice", "split", "unsqueeze", "squeeze", "as_strided", "unbind", "split_with_sizes"),
    *("_reshape_alias", "unfold", "empty", "empty_strided"),
}


class Toy(torch.Tensor):
    """A tensor on the device; ``inner`` is the tensor on the CPU that holds its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __new__(cls, inner):
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=f"{NAME}:0",
        )
        self.inner = inner
        return self

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return dispatch(op, *args, **(kwargs or {}))

    def __repr__(self, **_):
        return f"Toy({self.inner!r})"

    # --------------------------------------------------------- what PyTorch does below all dispatch
    def numpy(self, *_, **__):
        raise TypeError(
            f"can't convert {NAME} device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )

    __array__ = numpy

    def tolist(self):
        return self.cpu().tolist()

    def __getitem__(self, index):
        return torch.Tensor.__getitem__(self, _as_tensors(index))

    def __setitem__(self, index, value):
        torch.Tensor.__setitem__(self, _as_tensors(index), value)

    def new_tensor(self, values, **options):
        return torch.tensor(values, **{"dtype": self.dtype, "device": self.device, **options})

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        torch.Tensor.data.__set__(self, other)
        self.inner = other.inner

    def untyped_storage(self):
        return self.inner.untyped_storage()

    def data_ptr(self):
        return self.inner.data_ptr()

    def __reduce_ex__(self, protocol):
        return _made_again, self._parts()

    def __deepcopy__(self, memo):
        return _made_again(*self._parts())

    def _parts(self):
        return self.detach().cpu(), isinstance(self, torch.nn.Parameter), self.requires_grad


def _made_again(values, is_parameter, requires_grad):
    if is_parameter:
        return torch.nn.Parameter(values.to(NAME), requires_grad)
    return values.to(NAME).requires_grad_(requires_grad)


def _as_tensors(index):
    """An index without lists and arrays, which C++ would upload unseen."""
    if isinstance(index, tuple):
        return tuple(map(_as_tensors, index))
    return torch.as_tensor(index) if isinstance(index, list | np.ndarray) else index


def _is_here(device):
    return device is not None and torch.device(device).type == NAME


# ------------------------------------------------------------------------------------- one operator
def dispatch(op, *args, **kwargs):
    """Run an operator: check where its tensors are, compute on the CPU, wrap what comes out."""
    name = op._schema.name.split("::")[1]
    flat = list(_leaves((args, kwargs)))
    toys = [x for x in flat if isinstance(x, Toy)]
    lands_here = _lands_here(name, args, kwargs, toys)
    if name in COPIES:
        _count_copy(name, args, lands_here)
    elif lands_here:
        _check_places(name, args, flat)
    if toys and _waits(name, flat):
        _count("waits")
    if lands_here and name not in VIEWS:
        counts["launches"] += 1
    inner_args, inner_kwargs = _mapped(_inner, (args, kwargs))
    inner_kwargs.pop("pin_memory", None)
    if name.startswith("_copy_from"):
        inner_args[1].copy_(inner_args[0])
        return args[1]
    if lands_here and Graph.capturing is not None:
        result = Graph.capturing.record(op, name, inner_args, inner_kwargs)
    else:
        result = _compute(op, name, inner_args, inner_kwargs)
    return _wrapped(name, result, toys) if lands_here else result


def _lands_here(name, args, kwargs, toys):
    """Whether the result is on the device."""
    if name == "copy_":
        return isinstance(args[0], Toy)
    if name.startswith("_copy_from"):
        return isinstance(args[1], Toy)
    if kwargs.get("device") is not None:
        return _is_here(kwargs["device"])
    return bool(toys)


def _count_copy(name, args, lands_here):
    source = args[1] if name == "copy_" else args[0]
    if lands_here != isinstance(source, Toy):
        _count("uploads" if lands_here else "waits")


def _count(what):
    if Graph.capturing is not None:
        raise RuntimeError(f"operation not permitted when stream is capturing: {what}")
    counts[what] += 1


def _check_places(name, args, flat):
    """Refuse the CPU's tensors and generators; numbers (no dimension) and indices may be there."""
    for x in flat:
        if isinstance(x, torch.Generator) and x.device.type == "cpu":
            raise RuntimeError(f"Expected a '{NAME}' generator but found 'cpu': aten::{name}")
        if not isinstance(x, torch.Tensor) or isinstance(x, Toy) or not x.ndim:
            continue
        if (
            name not in INDEX
            or not isinstance(args[0], Toy)
            or x.dtype not in (torch.long, torch.bool)
        ):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but aten::{name} got {NAME} and "
                f"a cpu tensor of shape {tuple(x.shape)}."
            )
        _count("uploads")


def _waits(name, flat):
    if name in INDEX:  # how many there are must be known
        return any(isinstance(x, torch.Tensor) and x.dtype == torch.bool for x in flat[1:])
    return name in WAITS


def _inner(x):
    if isinstance(x, Toy):
        return x.inner
    return torch.device("cpu") if isinstance(x, torch.device) and x.type == NAME else x


def _compute(op, name, args, kwargs):
    if name == "_to_copy":
        return args[0].to(kwargs.get("dtype") or args[0].dtype, copy=True)
    if name == "_fused_sdp_choice":
        return 0  # plain mathematics
    if name == "_thnn_fused_lstm_cell":
        return _lstm_cell(*args)
    return op(*args, **kwargs)


def _lstm_cell(from_input, from_hidden, cell, *biases):
    """What an accelerator's LSTM is made of; the CPU has no such operator."""
    gates = from_input + from_hidden
    for bias in biases:
        gates = gates if bias is None else gates + bias
    entry, forget, candidate, output = gates.chunk(4, 1)
    cell = forget.sigmoid() * cell + entry.sigmoid() * candidate.tanh()
    return output.sigmoid() * cell.tanh(), cell, gates


def _wrapped(name, result, toys):
    """Tensors of a result as tensors of the device; one that was given stays the same object."""
    known = {id(x.inner): x for x in toys}

    def wrap(x):
        if not isinstance(x, torch.Tensor):
            return x
        if x.dtype in REFUSED:
            raise TypeError(f"{NAME} has no {x.dtype}, as MPS has none (aten::{name}).")
        return known[id(x)] if id(x) in known else Toy(x)

    return _mapped(wrap, result)


def _leaves(x):
    """What is in lists, tuples and dicts."""
    if isinstance(x, list | tuple):
        for one in x:
            yield from _leaves(one)
    elif isinstance(x, dict):
        yield from _leaves(list(x.values()))
    else:
        yield x


def _mapped(function, x):
    """The same lists, tuples and dicts of what a function makes of what is in them."""
    if isinstance(x, list | tuple):
        made = [_mapped(function, one) for one in x]
        return made if isinstance(x, list) else tuple(made)
    if isinstance(x, dict):
        return {name: _mapped(function, one) for name, one in x.items()}
    return function(x)


# ------------------------------------------------------------------------------------------- graphs
class Graph:
    """Stands in for ``torch.cuda.CUDAGraph``: operators that run again on the same memory."""

    capturing = None

    def __init__(self):
        self.launches = []
        self.before = []

    @classmethod
    @contextlib.contextmanager
    def graph(cls, graph, stream):
        """Record what is launched, which changes nothing, as on CUDA."""
        stream.check()
        cls.capturing = graph
        try:
            yield
        finally:
            cls.capturing = None
            for tensor, values in reversed(graph.before):
                tensor.copy_(values)
            graph.before.clear()

    def record(self, op, name, args, kwargs):
        """Run an operator and remember it; what it writes to is remembered as it was."""
        for argument, value in zip(op._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before.append((value, value.clone()))
        result = _compute(op, name, args, kwargs)
        given = {_memory(x) for x in _leaves((args, kwargs))}
        made = [None if _memory(x) in given else x for x in _leaves(result)]  # None: a view
        writes = op._schema.name.endswith("_") or "out" in kwargs
        if not name.startswith("empty") and (writes or any(x is not None for x in made)):
            self.launches.append((op, name, args, kwargs, made))
        return result

    def replay(self):
        """All of it once more."""
        counts["replays"] += 1
        for op, name, args, kwargs, made in self.launches:
            result = _leaves(_compute(op, name, args, kwargs))
            for old, new in zip(made, result, strict=True):
                if old is not None:
                    old.copy_(new)


def _memory(x):
    return x.untyped_storage().data_ptr() if isinstance(x, torch.Tensor) else None


class _Stream:
    """Never ahead; of the current device, as on CUDA, unless another is given."""

    def __init__(self, device=None):
        index = None if device is None else torch.device(device).index
        self.index = _Backend.current if index is None else index

    def wait_stream(self, other):
        if other.index != self.index:
            raise RuntimeError(f"a stream of device {self.index} waits for device {other.index}")

    def check(self):
        """Refuse to capture on another device than the current one."""
        if self.index != _Backend.current:
            raise RuntimeError(
                f"a stream of device {self.index}, and {_Backend.current} is current"
            )


# -------------------------------------------------------------------------------------- the backend
class _Making(TorchFunctionMode):
    """``torch.tensor(..., device=...)`` fills memory below all dispatch: upload what it makes."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.tensor, torch.as_tensor) and _is_here(kwargs.get("device")):
            return function(*args, **{**kwargs, "device": None}).to(NAME)
        return function(*args, **kwargs)


def _apply_and_tie(self, *args, apply=torch.nn.Module._apply, **kwargs):
    """``Module._apply``, after which shared parameters are still shared, as on CUDA and MPS."""
    places = collections.defaultdict(list)
    for module in self.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                places[parameter].append((module, name))
    result = apply(self, *args, **kwargs)
    for (first, first_name), *others in places.values():
        for module, name in others:
            module._parameters[name] = first._parameters[first_name]
    return result


class _Backend:
    """What ``torch.get_device_module`` gives: one device, whose autocast is half precision. Streams
    alone know of a second one.
    """

    current = 0

    def is_available(self):
        return True

    def is_initialized(self):
        return True

    def _is_in_bad_fork(self):
        return False

    def current_device(self):
        return _Backend.current

    @contextlib.contextmanager
    def device(self, device):
        """Make another device the current one; one without a number changes nothing."""
        before = _Backend.current
        index = torch.device(device).index
        _Backend.current = before if index is None else index
        try:
            yield
        finally:
            _Backend.current = before

    def device_count(self):
        return 1

    def manual_seed_all(self, seed):
        pass

    def get_amp_supported_dtype(self):
        return [torch.float16]

    CUDAGraph = Graph
    graph = staticmethod(Graph.graph)
    Stream = _Stream
    stream = contextlib.nullcontext

    def current_stream(self):
        return _Stream()


def install():
    """Make the device; keep what is returned, as the registrations end with it."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    library = torch.library.Library("_", "IMPL")
    library.fallback(dispatch, "PrivateUse1")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    _Making().__enter__()
    torch.nn.Module._apply = _apply_and_tie
    return library
