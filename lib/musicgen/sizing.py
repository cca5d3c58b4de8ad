"""How much memory and disk a model takes, known before anything is loaded, fetched or computed."""

import gc
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import pandas as pd
import psutil
import torch
import transformers

#: Most clips that the codec encodes or decodes at once: more are no faster.
CLIPS = 16
#: Most samples that it does at once. EnCodec at 32 kHz takes 35 to 55 MB for a second of audio
#: (measured): 16 clips of 30 s would take some 20 GB, this many samples take under 3 GB. The
#: organisms' longest clips, 6 s at 16 kHz, are below it by 16.
SAMPLES = 16 * 100_000
#: Share of the free memory that a batch may take.
SHARE = 0.5
#: Bytes of a number.
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


class Shape(NamedTuple):
    """What a MusicGen's size follows from (Copet et al. 2023, and the released configurations)."""

    blocks: int
    dim: int
    codebooks: int = 4
    cardinality: int = 2048
    text_dim: int = 768  #: of t5-base
    seconds: float = 30.0  #: longest clip
    frame_rate: float = 50.0
    melody: bool = False  #: reads a chromagram and its text as a prefix, without cross-attention


#: Blocks and width of the released models.
SIZES = {"small": (24, 1024), "medium": (48, 1536), "large": (48, 2048)}
#: The released text-to-music models; the stereo ones have four codebooks a channel.
SHAPES = {
    f"facebook/musicgen-{kind}{size}": Shape(blocks, dim, codebooks)
    for kind, codebooks in (("", 4), ("stereo-", 8))
    for size, (blocks, dim) in SIZES.items()
}
#: Those that follow a melody, too; the medium one's name says no size.
SHAPES |= {
    f"facebook/musicgen-{kind}melody{name}": Shape(*SIZES[size], codebooks, melody=True)
    for kind, codebooks in (("", 4), ("stereo-", 8))
    for name, size in (("", "medium"), ("-large", "large"))
}
#: Pitch classes of a chromagram.
PITCH_CLASSES = 12
#: Positions of a chromagram in front of the music.
CHROMA_FRAMES = 235


# --------------------------------------------------------------------------------------------
# weights
def parameters(shape: Shape) -> int:
    """Parameters of a language model.

    A block has four square matrices for attention to the past, four for attention to the text, two
    of four times the width, no biases and three norms; that of a melody model has no attention to
    the text and one norm less. Every codebook has an embedding and a head; the text has a
    projection, and so has a melody.
    """
    dim = shape.dim
    block = 12 * dim * dim + 4 * dim if shape.melody else 16 * dim * dim + 6 * dim
    embeddings = shape.codebooks * (shape.cardinality + 1) * dim
    heads = shape.codebooks * shape.cardinality * dim
    projection = (shape.text_dim + 1) * dim
    if shape.melody:
        projection += (PITCH_CLASSES + 1) * dim
    last_norm = 2 * dim
    return shape.blocks * block + embeddings + heads + projection + last_norm


@cache
def beside() -> dict[str, int]:
    """Parameters of what a released model needs besides: T5's encoder and EnCodec at 32 kHz.

    Counted on models without memory, built from the released configurations.
    """
    t5 = transformers.T5Config(
        d_model=768, d_ff=3072, d_kv=64, num_heads=12, num_layers=12, vocab_size=32128
    )
    codec = transformers.EncodecConfig(
        sampling_rate=32_000,
        num_filters=64,
        upsampling_ratios=[8, 5, 4, 4],
        codebook_size=2048,
        codebook_dim=128,
        hidden_size=128,
        target_bandwidths=[2.2],
        use_causal_conv=False,
        use_conv_shortcut=False,
        norm_type="weight_norm",
    )
    with torch.device("meta"):
        models = {
            "t5-base": transformers.T5EncoderModel(t5),
            "EnCodec": transformers.EncodecModel(codec),
        }
    return {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}


def dtype(device: str) -> str:
    """What a released language model is computed in: as in audiocraft, half precision on CUDA."""
    return "float16" if device.startswith("cuda") else "float32"


def weights(shape: Shape, device: str, kind: str | None = None) -> int:
    """Bytes of all weights on a device; text encoder and codec stay in float32.

    Parameters
    ----------
    shape : Shape
    device : str
    kind : str, optional
        A key of :data:`BYTES`; by default what is usual on the device.
    """
    language_model = parameters(shape) * BYTES[kind or dtype(device)]
    return language_model + sum(beside().values()) * BYTES["float32"]


def reading(shape: Shape) -> int:
    """Bytes of the machine's memory that a released checkpoint takes while it is read.

    Released checkpoints are in half precision.
    """
    return parameters(shape) * BYTES["float16"]


def numbers(file) -> int:
    """How many numbers a checkpoint's state holds, counted without reading them.

    Returns
    -------
    int
        0 where that cannot be told.
    """
    try:
        state = torch.load(file, map_location="meta", weights_only=True, mmap=True)
        return sum(value.numel() for value in state.get("best_state", {}).values())
    except Exception:  # whoever reads the file says what is wrong with it
        return 0


def free(device: str) -> int:
    """Bytes of memory that a device has left, with what PyTorch holds there in reserve."""
    if device.startswith("cuda"):
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserve
    if device.startswith("mps"):
        # more may be in use than is recommended
        left = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return max(0, left)
    return psutil.virtual_memory().available


def check(name: str, needed: int, device: str, read: int = 0) -> None:
    """Refuse a model that will not fit.

    Parameters
    ----------
    name : str
    needed : int
        Bytes of its weights on the device.
    device : str
    read : int
        Bytes of the checkpoint, which is read into the machine's memory meanwhile. That is the
        same memory unless the device is a GPU with its own.

    Raises
    ------
    MemoryError
        Naming what is needed, what is free and what to do.
    """
    if device.startswith("cuda"):
        demands = {device: needed, "cpu": read}
    else:
        demands = {device: needed + read}
    for where, size in demands.items():
        left = free(where)
        if size > left:
            raise MemoryError(
                f"{name} takes {size / 1e9:.1f} GB on {where} while it is loaded, and "
                f"{left / 1e9:.1f} GB are free. Choose a smaller model or another device (on CUDA "
                "weights take half as much), or end what holds the memory."
            )


# ---------------------------------------------------------------------------------------- what runs
def fits(each: int, device, most: int) -> int:
    """How many items of so many bytes a device's free memory holds at once.

    Parameters
    ----------
    each : int
        Bytes of one item while it is worked on.
    device : torch.device or str
    most : int
        More are no faster.

    Returns
    -------
    int
        From 1 to ``most``.
    """
    room = int(SHARE * free(str(device)))
    return max(1, min(most, room // max(1, each)))


def each_batch(
    batches: Iterable[Sequence[int]], work: Callable[[Sequence[int]], object], what: str
) -> Iterator[tuple[Sequence[int], object]]:
    """Work on batches one after the other. Where memory does not suffice, the batch and all behind
    it are halved, down to single items if need be, and a warning says so each time; what is done
    stays done.

    Parameters
    ----------
    batches : iterable of sequence of int
    work : callable
        Makes something of a batch.
    what : str
        What is done, for the warning.

    Yields
    ------
    sequence of int, object
        A batch, and what was made of it.

    Raises
    ------
    MemoryError
        A single item is too much, too.
    """
    waiting = deque(batches)
    while waiting:
        batch = waiting.popleft()
        try:
            found = work(batch)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise MemoryError(
                    f"Memory does not suffice to {what} a single clip ({error}). Use shorter clips "
                    "or fewer sites, or end what holds the memory. A store keeps what was written "
                    "to it before; what was in memory alone is lost."
                ) from error
        else:
            yield batch, found
            continue
        # behind 'except', whose traceback holds the memory
        _tidy()
        half = -(-len(batch) // 2)
        warnings.warn(
            f"Memory does not suffice to {what} {len(batch)} at once: going on with {half}.",
            stacklevel=2,
        )
        waiting = deque(part for whole in [batch, *waiting] for part in parts(whole, half))


def parts(items: Sequence, size: int) -> list[Sequence]:
    """Items in their order, at most ``size`` together."""
    return [items[k : k + size] for k in range(0, len(items), size)]


def _is_out_of_memory(error):
    """CUDA has an exception of its own; the CPU's allocator and MPS say it in words."""
    told = str(error).lower()
    known = "allocate memory" in told or "out of memory" in told
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or known


def _tidy():
    """Give back what the failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def clips_at_once(samples: int, channels: int = 1) -> int:
    """How many clips the codec encodes or decodes at once, so that memory is bounded.

    Parameters
    ----------
    samples : int
        Of each clip and channel.
    channels : int
        Those of a stereo codec go through it one beside the other.

    Returns
    -------
    int
        From 1 to 16: a clip that is longer than memory allows goes alone.
    """
    return max(1, min(CLIPS, SAMPLES // max(1, samples * channels)))


def cache_of(shape: Shape, seconds: float, device: str) -> int:
    """Bytes of attention's keys and values for one clip that is generated, both streams."""
    steps = int(seconds * shape.frame_rate) + shape.codebooks
    if shape.melody:
        steps += CHROMA_FRAMES
    return keys_and_values(shape.blocks, shape.dim, steps, 2, BYTES[dtype(device)])


def keys_and_values(blocks: int, dim: int, steps: int, streams: int, each: int) -> int:
    """Bytes of attention's keys and values for one clip, of numbers of ``each`` bytes."""
    return 2 * streams * steps * dim * blocks * each


def one_pass(dim: int, positions: int) -> int:
    """Bytes that one clip takes on its way through the blocks: the stream, and the widest that is
    made of it, in float32.
    """
    return 4 * 12 * positions * dim


# ------------------------------------------------------------------------------------------- tables
def table(seconds: float = 10.0) -> pd.DataFrame:
    """What each released model takes, one row a model.

    Parameters
    ----------
    seconds : float
        Length of a clip that is generated.
    """
    rows = []
    for name, shape in SHAPES.items():
        on_cpu = weights(shape, "cpu")
        row = {
            "model": name.removeprefix("facebook/"),
            "blocks": shape.blocks,
            "width": shape.dim,
            "codebooks": shape.codebooks,
            "parameters, millions": round(parameters(shape) / 1e6),
            "weights on a GPU, GB": weights(shape, "cuda") / 1e9,
            "weights on a CPU, GB": on_cpu / 1e9,
            "GB while loading on a CPU": (on_cpu + reading(shape)) / 1e9,
            f"GB more for each clip of {seconds:g} s (GPU)": cache_of(shape, seconds, "cuda") / 1e9,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def disk(name: str, clips: int, seconds: float, kind: str = "float16") -> pd.DataFrame:
    """What activations of a released model take on disk, one row a choice of sites.

    Parameters
    ----------
    name : str
        Key of ``SHAPES``.
    clips, seconds : int, float
        How many, and how long each.
    kind : str
        "float16" or "float32".
    """
    shape = SHAPES[name]
    choices = {
        "one residual site": 1,
        "every residual site": shape.blocks,
        "every site of every block": (3 if shape.melody else 4) * shape.blocks,
    }
    rows = []
    for choice, sites in choices.items():
        a_frame = sites * shape.dim * BYTES[kind]
        a_second = a_frame * shape.frame_rate
        row = {
            "model": name.removeprefix("facebook/"),
            "sites": choice,
            "as": kind,
            "bytes a second": int(a_second),
            "every frame, GB": a_second * clips * seconds / 1e9,
            "mean, GB": a_frame * clips / 1e9,
        }
        rows.append(row)
    return pd.DataFrame(rows)
