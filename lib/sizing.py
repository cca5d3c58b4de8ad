"""How much memory a model takes, known before anything is loaded or fetched."""

from functools import cache
from typing import NamedTuple

import pandas as pd
import psutil
import torch
import transformers


class Shape(NamedTuple):
    """What a MusicGen's size follows from (Copet et al. 2023, and the released configurations)."""

    blocks: int
    dim: int
    codebooks: int = 4
    cardinality: int = 2048
    text_dim: int = 768  #: of t5-base
    seconds: float = 30.0  #: longest clip
    frame_rate: float = 50.0


SIZES = {"small": (24, 1024), "medium": (48, 1536), "large": (48, 2048)}
SHAPES = {
    f"facebook/musicgen-{kind}{size}": Shape(*shape, codebooks)
    for kind, codebooks in (("", 4), ("stereo-", 8))
    for size, shape in SIZES.items()
}
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


def parameters(shape: Shape) -> int:
    """Parameters of the language model: per block four square matrices for attention to the past, four to the text and two of
    four times the width, no biases, three norms; one embedding and one head a codebook; the text's projection."""
    d, k, card = shape.dim, shape.codebooks, shape.cardinality
    block = 16 * d * d + 6 * d
    return shape.blocks * block + k * (card + 1) * d + k * card * d + (shape.text_dim + 1) * d + 2 * d


@cache
def beside() -> dict[str, int]:
    """Parameters of what a released model needs besides: the encoder of t5-base and EnCodec at 32 kHz, counted on models
    without memory."""
    t5 = transformers.T5Config(d_model=768, d_ff=3072, d_kv=64, num_heads=12, num_layers=12, vocab_size=32128)
    codec = transformers.EncodecConfig(
        sampling_rate=32_000, num_filters=64, upsampling_ratios=[8, 5, 4, 4], codebook_size=2048, codebook_dim=128,
        hidden_size=128, target_bandwidths=[2.2], use_causal_conv=False, use_conv_shortcut=False, norm_type="weight_norm",
    )  # fmt: skip
    with torch.device("meta"):
        built = {"t5-base": transformers.T5EncoderModel(t5), "EnCodec": transformers.EncodecModel(codec)}
    return {name: sum(p.numel() for p in m.parameters()) for name, m in built.items()}


def dtype(device: str) -> str:
    """What a released language model is computed in, as audiocraft has it: half precision on CUDA alone."""
    return "float16" if device.startswith("cuda") else "float32"


def weights(shape: Shape, device: str) -> int:
    """Bytes of all weights on a device; text encoder and codec stay in float32."""
    return parameters(shape) * BYTES[dtype(device)] + sum(beside().values()) * BYTES["float32"]


def cache_of(shape: Shape, seconds: float, device: str) -> int:
    """Bytes of attention's keys and values for one clip that is generated, both streams."""
    steps = int(seconds * shape.frame_rate) + shape.codebooks
    return 2 * 2 * steps * shape.dim * shape.blocks * BYTES[dtype(device)]


def free(device: str) -> int:
    """Bytes of memory that a device has left."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    if device.startswith("mps"):
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return psutil.virtual_memory().available


def reading(shape: Shape) -> int:
    """Bytes of the machine's memory that a released checkpoint (in half precision) takes while it is read."""
    return parameters(shape) * BYTES["float16"]


def numbers(file) -> int:
    """How many numbers a checkpoint's state holds, counted without reading them; 0 where that cannot be told."""
    try:
        state = torch.load(file, map_location="meta", weights_only=True, mmap=True)
        return sum(value.numel() for value in state.get("best_state", {}).values())
    except Exception:  # whoever reads the file says what is wrong with it
        return 0


def check(name: str, needed: int, device: str, read: int = 0) -> None:
    """Refuse what will not fit: the weights on their device and, meanwhile, the checkpoint that is read into the machine's
    memory (which is the same memory unless the device is a GPU with its own).

    Raises
    ------
    MemoryError
        Naming what is needed, what is free and what to do.
    """
    own = device.startswith("cuda")
    for where, size in ((device, needed + (not own) * read), ("cpu", own * read)):
        if size > (left := free(where)):
            raise MemoryError(
                f"{name} takes {size / 1e9:.1f} GB on {where} while it is loaded, and {left / 1e9:.1f} GB are free. Choose a "
                "smaller model or another device (on CUDA weights take half as much), or end what holds the memory."
            )


def table(seconds: float = 10.0) -> pd.DataFrame:
    """One row a released text-to-music model: parameters, memory on a GPU and on a CPU, and for each clip generated at once."""
    rows = []
    for name, shape in SHAPES.items():
        rows.append({
            "model": name.removeprefix("facebook/"), "blocks": shape.blocks, "width": shape.dim, "codebooks": shape.codebooks,
            "parameters, millions": round(parameters(shape) / 1e6),
            "weights on a GPU, GB": weights(shape, "cuda") / 1e9,
            "weights on a CPU, GB": weights(shape, "cpu") / 1e9,
            "GB while loading on a CPU": (weights(shape, "cpu") + reading(shape)) / 1e9,
            f"GB more for each clip of {seconds:g} s (GPU)": cache_of(shape, seconds, "cuda") / 1e9,
        })  # fmt: skip
    return pd.DataFrame(rows)


def disk(name: str, clips: int, seconds: float, kind: str = "float16") -> pd.DataFrame:
    """What activations of a released model take on disk: one row a choice of sites.

    Parameters
    ----------
    name : str
        Key of ``SHAPES``.
    clips, seconds : int, float
        How many, and how long each.
    kind : str
        "float16" or "float32".
    """
    shape, size = SHAPES[name], BYTES[kind]
    sites = {"one residual site": 1, "every residual site": shape.blocks, "every site of every block": 4 * shape.blocks}
    return pd.DataFrame(
        {
            "model": name.removeprefix("facebook/"), "sites": sites_name, "as": kind,
            "bytes a second": int(n * shape.dim * shape.frame_rate * size),
            "every frame, GB": n * shape.dim * shape.frame_rate * size * clips * seconds / 1e9,
            "mean, GB": n * shape.dim * size * clips / 1e9,
        }
        for sites_name, n in sites.items()
    )  # fmt: skip
