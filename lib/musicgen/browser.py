"""A MusicGen as graphs that a browser runs: ONNX, from the one forward pass.

Three graphs (:func:`export`), each traced from the modules that the book runs itself:

- **text**: token numbers to the keys and values that every block's cross-attention reads, computed
  once a song, of the prompt and beside it of no text (what guidance leads away from);
- **step**: the tokens of one position, and keys and values of those before it, to the logits of the
  next. Everything a reader may change is an input: what is added to the residual stream behind any
  block, and how much of each attention head is let through;
- **codec**: tokens to sound, any number of frames.

Weights that half precision holds exactly are stored so and computed with in single precision: an
organism's are shipped in half precision, and so none of them changes.

The inverse Fourier transform at the end of the codec is written as products with sines and cosines,
because runtimes in browsers know no complex numbers.
"""

import copy
import importlib.metadata
import io
import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import cache
from . import forward, hooks, miniature, products, run
from .forward import Network, Text
from .run import STREAMS, Visitors

#: Most bytes of a model's weights in half precision: somebody waits for them.
MOST = 30_000_000
#: ONNX's version of operators.
OPSET = 18
#: Names of the graphs.
GRAPHS = ("text", "step", "codec")
#: Where they are kept, below ``cache.ROOT``.
FOLDER = "browser"
#: What they are traced from and by.
SOURCES = (forward, hooks, miniature, products, run)
WRITERS = ("torch", "onnx", "onnxscript", "transformers")


@dataclass(frozen=True)
class Shape:
    """What whoever runs the graphs must know.

    Attributes
    ----------
    blocks, heads, width : int
    codebooks, card : int
        Tokens of a frame, and how many there are of each; the number ``card`` stands for none yet.
    delays : tuple of int
        Positions by which each codebook comes later.
    positions : int
        Most positions of a song: room for keys and values.
    frame_rate, sample_rate : float, int
    context : int
        Frames on either side that the sound of a frame depends on.
    """

    blocks: int
    heads: int
    width: int
    codebooks: int
    card: int
    delays: tuple[int, ...]
    positions: int
    frame_rate: float
    sample_rate: int
    context: int


def check(model) -> None:
    """Refuse a model that a browser is not to load.

    Raises
    ------
    ValueError
        It is too large, made of other parts than an organism, or changed by edits or hooks; the
        message says which.
    """
    if model.interventions:
        raise ValueError(
            f"{model.name} must be as it was loaded. Got {_changed_by(model)}. Graphs hold weights "
            "alone, so remove it; what a page may change are their inputs, push and heads."
        )
    conditioner = model.lm.condition_provider.conditioners["description"]
    parts = {model.lm, conditioner.t5, model.codec}
    weights = {id(p): p.numel() for part in parts for p in part.parameters()}
    size = 2 * sum(weights.values())
    if size > MOST:
        raise ValueError(
            f"{model.name} is too large for a page: {sum(weights.values()) / 1e6:,.0f} million "
            f"weights are {size / 1e6:,.0f} MB even in half precision, and a reader would wait for "
            f"each of them. A page loads at most {MOST / 1e6:g} MB: an organism."
        )
    if not isinstance(_codec(model).decoder, miniature.SpectralDecoder):
        raise ValueError(
            f"{model.name} turns tokens into sound with another codec than the organisms' "
            "(miniature.build_codec), which alone is written for browsers."
        )
    if any(p.dtype != torch.float32 for p in (*model.lm.parameters(), *model.codec.parameters())):
        raise ValueError(
            f"{model.name} is loaded in half precision, in which browsers do not compute: load it "
            "with dtype='float32'."
        )
    if forward.prefixed(model.lm):
        raise ValueError(
            f"{model.name} reads text in front of the music. Only models that read it by "
            "cross-attention, as organisms do, are written for browsers."
        )


def _changed_by(model):
    """What changes a model's results besides its weights, as an error names it."""
    if model.edits:
        return f"the edit at {model.edits[0].site}"
    part, module, *_ = model.interventions[0]
    return f"a hook (or a function in the place of forward) on {part}: {module or 'the whole'}"


def shape(model) -> Shape:
    """What whoever runs a model's graphs must know."""
    lm = model.lm
    delays = tuple(int(delay) for delay in lm.pattern_provider.delays)
    return Shape(
        blocks=len(lm.transformer.layers),
        heads=lm.transformer.layers[0].self_attn.num_heads,
        width=lm.dim,
        codebooks=lm.n_q,
        card=lm.card,
        delays=delays,
        positions=model.frames(model.max_seconds) + max(delays),
        frame_rate=model.frame_rate,
        sample_rate=model.sample_rate,
        context=_context(_codec(model).decoder),
    )


def export(model) -> dict[str, bytes]:
    """The graphs of a model, as ONNX files.

    Parameters
    ----------
    model : Model
        An organism, in float32.

    Returns
    -------
    dict
        "text", "step" and "codec" -> the file's content. Inputs and outputs (row 0 reads the
        prompt, row 1 no text)::

            text   ids int32 [1, token], said float32 [1] (0: no text at all)
                   -> text float32 [block, 2, row, head, token, dim of a head]
            step   tokens int32 [1, codebook, 1], position int32 [1], text,
                   past float32 [block, 2, row, head, position, dim of a head],
                   push float32 [block, row, width], heads float32 [2, block, head]
                   -> logits float32 [row, codebook, card], new (as past, of one position),
                   streams float32 [block, row, width]
            codec  tokens int32 [1, codebook, frame] -> sound float32 [sample]

        ``push`` is added to what a block passes on, ``streams`` is what it passes on then;
        ``heads`` multiplies what heads add, of self- and of cross-attention.

    Raises
    ------
    ValueError
        As of :func:`check`.
    """
    check(model)
    about = shape(model)
    size = model.lm.dim // about.heads
    rows = len(STREAMS)
    token = torch.export.Dim("token", min=1, max=1024)
    frame = torch.export.Dim("frame", min=2, max=4096)
    kept = (about.blocks, 2, rows, about.heads)
    text = torch.zeros(*kept, 5, size)
    step = {
        "tokens": torch.full((1, about.codebooks, 1), about.card, dtype=torch.int32),
        "position": torch.zeros(1, dtype=torch.int32),
        "text": text,
        "past": torch.zeros(*kept, about.positions, size),
        "push": torch.zeros(about.blocks, rows, about.width),
        "heads": torch.ones(2, about.blocks, about.heads),
    }
    tokens = torch.zeros(1, about.codebooks, 9, dtype=torch.int32)
    lm, codec = (copy.deepcopy(part).to("cpu") for part in (model.lm, _codec(model)))
    return {
        "text": _graph(
            _Reading(lm),
            {"ids": torch.ones(1, 5, dtype=torch.int32), "said": torch.ones(1)},
            ["text"],
            {"ids": {1: token}, "said": None},
        ),
        "step": _graph(
            _Step(lm),
            step,
            ["logits", "new", "streams"],
            {**dict.fromkeys(step), "text": {4: token}},
        ),
        "codec": _graph(_Sound(codec), {"tokens": tokens}, ["sound"], {"tokens": {2: frame}}),
    }


def files(model) -> Path:
    """The folder that holds a model's graphs, ``text.onnx`` and so on; written once and kept."""
    check(model)
    what = {
        "model": model.identity(audio=True),
        "seconds": model.max_seconds,
        "code": cache.code(*SOURCES, Path(__file__)),
        "versions": [importlib.metadata.version(name) for name in WRITERS],
    }
    folder = cache.place(FOLDER, what)
    if not folder.exists():
        graphs = export(model)
        with cache.replace_folder(folder) as new:
            for name, content in graphs.items():
                (new / f"{name}.onnx").write_bytes(content)
    return folder


def tokens(model, prompts, seconds: float, push=None, heads=None) -> np.ndarray:
    """What a model's graphs sing, taking the likeliest token at every step: int64 [prompt, codebook,
    frame].

    The page does the same in JavaScript; here onnxruntime runs the graphs, one song after the other.

    Parameters
    ----------
    model : Model
    prompts : list of str
    seconds : float
    push : np.ndarray [shape=(block, row, width)], optional
    heads : np.ndarray [shape=(2, block, head)], optional
        As the graph takes them (:func:`export`).
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1  # steps are too small to share
    folder = files(model)
    read, step = (
        onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), settings)
        for name in ("text", "step")
    )
    about = shape(model)
    tokenizer = model.lm.condition_provider.conditioners["description"].t5_tokenizer
    given = {
        "push": np.zeros((about.blocks, len(STREAMS), about.width)) if push is None else push,
        "heads": np.ones((2, about.blocks, about.heads)) if heads is None else heads,
    }
    given = {name: np.asarray(values, np.float32) for name, values in given.items()}
    songs = []
    for prompt in prompts:
        ids = np.array([tokenizer(prompt)["input_ids"]], np.int32)
        said = np.array([bool(prompt)], np.float32)
        (text,) = read.run(None, {"ids": ids, "said": said})
        song = _sung(step, about, {"text": text, **given}, model.frames(seconds), model.defaults)
        songs.append(song)
    return np.stack(songs)


def _sung(step, about, given, frames, defaults):
    """The likeliest tokens of one song, [codebook, frame]."""
    size = about.width // about.heads
    past = np.zeros((about.blocks, 2, len(STREAMS), about.heads, about.positions, size), np.float32)
    song = np.zeros((about.codebooks, frames), np.int64)
    books = np.arange(about.codebooks)
    latest = np.full(about.codebooks, about.card, np.int32)
    for position in range(frames + max(about.delays)):
        now = {"tokens": latest[None, :, None], "position": np.array([position], np.int32)}
        (cond, uncond), new, _ = step.run(None, {**now, "past": past, **given})
        past[..., position, :] = new[..., 0, :]
        likeliest = (uncond + (cond - uncond) * np.float32(defaults["cfg"])).argmax(-1)
        frame = position - np.array(about.delays)
        there = (frame >= 0) & (frame < frames)
        latest = np.where(there, likeliest, about.card).astype(np.int32)
        song[books[there], frame[there]] = likeliest[there]
    return song


def _codec(model):
    """The codec itself, where something is wrapped around it."""
    return getattr(model.codec, "model", model.codec)


# ------------------------------------------------------------------------------------- what is traced
class _Reading(nn.Module):
    """Token numbers to what cross-attention reads, in every block."""

    def __init__(self, lm):
        super().__init__()
        self.lm = lm
        self.conditioner = lm.condition_provider.conditioners["description"]
        self.t5 = self.conditioner.t5.to("cpu")  # it is no part of some models' own

    def forward(self, ids, said):
        ids = ids.long()
        hidden = self.t5(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        read = self.conditioner.output_proj(hidden) * said
        values = torch.cat([read, torch.zeros_like(read)])
        both = []
        for part in Network(self.lm).parts:
            cross = part.cross
            both.append(torch.stack(cross.split(cross.project_read(values), 2)))
        return torch.stack(both)


class _Step(nn.Module):
    """One position of a song, of both rows."""

    def __init__(self, lm):
        super().__init__()
        self.lm = lm

    def forward(self, tokens, position, text, past, push, heads):
        network = _Gated(self.lm, heads)
        network.reserve(past.shape[4], push.device)
        before = _Before(past, position)
        streams = []
        visits = {f"resid.{i}": [_pushed(by, streams)] for i, by in enumerate(push)}
        visitors = Visitors(visits, position.long())
        read = Text(push, None, {i: (both[0], both[1]) for i, both in enumerate(text)})
        tokens = tokens.long().expand(len(STREAMS), -1, -1)
        logits = network.pass_through(tokens, read, visitors, before)
        return logits[:, :, 0], torch.stack(before.new), torch.stack(streams)[:, :, 0]


def _pushed(by, streams):
    """Who adds to what a block passes on, and keeps the sum."""

    def visit(values, position):
        changed = values + by[:, None]
        streams.append(changed)
        return changed

    return visit


class _Gated(Network):
    """The forward pass with a gate behind each attention head, [self or cross, block, head].

    Visitors at each head's own site could do the same, by a product a head: five times the nodes.
    """

    def __init__(self, lm, gates):
        super().__init__(lm)
        self.gates = dict(zip(("head", "cross_head"), gates, strict=True))

    def _joined(self, site, i, part, z, visitors):
        return part.out((z * self.gates[site][i][:, None, None]).transpose(1, 2).flatten(2))


class _Before:
    """Keys and values of the positions so far, which are given and as many at every step: those
    from ``position`` on are not there yet and are not read."""

    holds_prefix = False

    def __init__(self, past, position):
        self.past = past
        self.position = position
        self.new = []

    def extend(self, block, keys, values):
        self.new.append(torch.stack([keys, values]))
        kept = self.past[block]
        return torch.cat([kept[0], keys], 2), torch.cat([kept[1], values], 2)

    def mask(self, q, k):
        size = self.past.shape[4]
        numbers = torch.arange(size + 1, device=k.device)
        return ((numbers < self.position) | (numbers == size))[None, None, None]


class _Sound(nn.Module):
    """Tokens to sound, in real numbers."""

    def __init__(self, codec):
        super().__init__()
        self.quantizer = codec.quantizer
        self.decoder = codec.decoder
        size = codec.decoder.n_fft
        turns = 2 * math.pi * torch.arange(size, dtype=torch.float64) / size
        self.register_buffer("cosines", torch.cos(turns).float())
        self.register_buffer("sines", torch.sin(turns).float())

    def forward(self, tokens):
        latent = self.quantizer.decode(tokens.long())
        log_magnitude, phase = self.decoder.polar(latent)
        magnitude = torch.exp(log_magnitude)
        real = (magnitude * torch.cos(phase))[0].T
        imaginary = (magnitude * torch.sin(phase))[0].T
        frames = self._inverse_transform(real, imaginary) * self.decoder.window
        window = self.decoder.window.square().expand(frames.shape[0], -1)
        sound = self._overlap_add(frames) / self._overlap_add(window).clamp_min(1e-6)
        margin = (self.decoder.n_fft - self.decoder.hop) // 2
        return sound[margin:-margin]

    def _inverse_transform(self, real, imaginary):
        """Spectra [frame, bin] to waves [frame, n_fft]: each bin but the first and the last stands
        for two."""
        size = self.decoder.n_fft
        bins = torch.arange(size // 2 + 1, device=real.device)
        turns = (bins[:, None] * torch.arange(size, device=real.device)) % size
        share = torch.where((bins == 0) | (bins == size // 2), 1.0, 2.0) / size
        return (real * share) @ self.cosines[turns] - (imaginary * share) @ self.sines[turns]

    def _overlap_add(self, frames):
        """Frames [frame, n_fft] added up one hop apart, [sample]."""
        hop = self.decoder.hop
        count = self.decoder.n_fft // hop
        parts = frames.unflatten(1, (count, hop)).unbind(1)
        added = [nn.functional.pad(part, (0, 0, k, count - 1 - k)) for k, part in enumerate(parts)]
        return sum(added).flatten()


def _context(decoder):
    """Frames on either side that the sound of a frame depends on: half the width of every
    convolution, and of a spectrum's window."""
    fine = sum(block.depthwise.padding[0] for block in decoder.fine)
    fine += math.ceil(decoder.n_fft / (2 * decoder.hop)) + decoder.up.kernel_size[0] // 2
    coarse = sum(block.depthwise.padding[0] for block in decoder.coarse)
    return coarse + decoder.enter.padding[0] + math.ceil(fine / 2) + 1


# -------------------------------------------------------------------------------------------- files
@torch.no_grad()
def _graph(module, inputs, outputs, dynamic):
    """The ONNX file of a module."""
    # of what the exporter tells about itself, errors
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    file = io.BytesIO()
    program.save(file)
    return _halved(file.getvalue())


def _halved(content):
    """The same graph, with weights in half precision wherever that changes none of them."""
    import onnx
    from onnx import helper, numpy_helper

    graph = onnx.load_model_from_string(content)
    casts = []
    for weight in graph.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < 64 or not np.array_equal(half.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    del graph.graph.value_info[:]
    graph.graph.doc_string = ""
    for node in graph.graph.node:  # where in the source each came from
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(graph)
    return graph.SerializeToString(deterministic=True)
