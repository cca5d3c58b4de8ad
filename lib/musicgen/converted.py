"""A MusicGen as ``transformers`` keeps it, made into audiocraft's modules.

Most fine-tuned MusicGens are saved by ``transformers``: a folder with ``config.json``, weights in
safetensors (in one file or in shards) and the tokenizer. Its three parts become what everything
else here works on. ``transformers`` itself reads text encoder and codec; of the language model the
names of weights are translated (:func:`translated`), because audiocraft holds the three projections
of an attention in one matrix. The same tokens then get the same logits.

References
----------
``transformers``' own conversion in the other direction,
``models/musicgen/convert_musicgen_transformers.py``.
"""

import importlib.util
import json
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import safetensors
import torch
import transformers
from omegaconf import OmegaConf

from .. import check as checks
from . import forward, melody, miniature
from .compat import audiocraft

#: The one file of weights, and the list of several.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TOKENIZERS = ("tokenizer.json", "spiece.model")
#: What an adapter's folder holds.
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
#: What a folder holds that the hub is asked for.
FILES = ("*.json", "*.safetensors", "*.model")
#: Seconds of the released models' longest clips.
SECONDS = 30.0
#: Parts of names in ``transformers`` and in audiocraft.
NAMES = (
    (r"^decoder\.lm_heads\.", "linears."),
    (r"^decoder\.model\.decoder\.embed_tokens\.", "emb."),
    (r"^decoder\.model\.decoder\.layer_norm\.", "out_norm."),
    (r"^decoder\.model\.decoder\.layers\.", "transformer.layers."),
    (r"^enc_to_dec_proj\.", "condition_provider.conditioners.description.output_proj."),
    (r"^audio_enc_to_dec_proj\.", "condition_provider.conditioners.self_wav.output_proj."),
    (r"\.encoder_attn\.", ".cross_attention."),
    (r"\.fc1\.", ".linear1."),
    (r"\.fc2\.", ".linear2."),
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.encoder_attn_layer_norm\.", ".norm_cross."),
    (r"\.final_layer_norm\.", ".norm2."),
)
#: Kind -> class of ``transformers``.
KINDS = {
    "musicgen": "MusicgenForConditionalGeneration",
    "musicgen_melody": "MusicgenMelodyForConditionalGeneration",
}
#: Settings of a melody's chromagram, and the file that may hold others.
EXTRACTOR = "preprocessor_config.json"
CHROMA = {"n_fft": 16384, "hop_length": 4096}
#: What audiocraft's blocks compute in their middle.
ACTIVATIONS = ("gelu", "relu")
#: What ``transformers``, PEFT and sae_lens raise where a file is damaged or says what cannot be.
BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    safetensors.SafetensorError,
    huggingface_hub.errors.StrictDataclassError,
)
#: The projections of an attention that audiocraft holds in one matrix, in its order.
PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class Parts(NamedTuple):
    """What a folder holds, on audiocraft's side.

    Attributes
    ----------
    lm : LMModel
    codec : CompressionModel
    cfg : DictConfig
        With the keys of a released checkpoint's ``xp.cfg``.
    guidance : float
        The folder's own coefficient of classifier-free guidance.
    """

    lm: torch.nn.Module
    codec: torch.nn.Module
    cfg: object
    guidance: float


def is_one(folder: Path) -> bool:
    """Whether a folder is in the format of ``transformers``."""
    return (folder / "config.json").is_file() and not (folder / "state_dict.bin").is_file()


def check(folder: Path) -> None:
    """Refuse a folder that does not hold all that is needed, before anything is read.

    Raises
    ------
    ValueError
        No configuration of a MusicGen, a kind that cannot be read, a missing file or shard.
    """
    config = _json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in KINDS:
        raise ValueError(
            f"{folder / 'config.json'} is of model_type {kind!r}. Expected one of {list(KINDS)}: a "
            f"folder that save_pretrained of {' or '.join(KINDS.values())} has written."
        )
    parts = ("text_encoder", "audio_encoder", "decoder")
    missing = [part for part in parts if not isinstance(config.get(part), dict)]
    if missing:
        raise ValueError(
            f"{folder / 'config.json'} lacks {missing}, each a JSON object: it is no whole "
            "MusicGen."
        )
    _check_files(folder)


def _check_files(folder):
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ValueError(
            f"{folder} holds no tokenizer: {' or '.join(TOKENIZERS)} expected. Save the processor "
            "there, too (AutoProcessor.from_pretrained(...).save_pretrained(folder))."
        )
    files = _weights(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing == [WEIGHTS[0]]:
        raise ValueError(
            f"{folder} holds no weights: {' or '.join(WEIGHTS)} expected. Files of another kind "
            "(pytorch_model.bin) can run code and are not read: save it again with "
            "safe_serialization=True."
        )
    if missing:
        raise ValueError(
            f"{folder} lacks {missing}, of {len(files)} shards that {WEIGHTS[1]} names. Copy or "
            "download them again."
        )


def _weights(folder):
    """The files that hold the weights: one, or the shards that an index names."""
    whole, index = (folder / name for name in WEIGHTS)
    if not index.is_file():
        return [whole]
    shards = _json(index).get("weight_map")
    named = isinstance(shards, dict) and all(isinstance(name, str) for name in shards.values())
    if not named or not shards:
        raise ValueError(f"{index} is damaged: it names no shards. Copy or download it again.")
    return [folder / shard for shard in sorted(set(shards.values()))]


def _json(file):
    """The object in a file."""
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is damaged: it is not JSON ({error}).") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: it holds no JSON object.")
    return found


def numbers(folder: Path) -> int:
    """How many numbers the weights of a folder are, counted without reading them.

    Raises
    ------
    ValueError
        A damaged file.
    """
    total = 0
    for file in _weights(folder):
        try:
            with safetensors.safe_open(file, "pt") as opened:
                shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]
        except safetensors.SafetensorError as error:
            raise ValueError(f"{file} is damaged ({error}). Copy or download it again.") from error
        total += sum(torch.Size(shape).numel() for shape in shapes)
    return total


def read(folder: Path, device: str, dtype: str, adapter: Path | None = None) -> Parts:
    """Read a folder that :func:`check` has found whole.

    Parameters
    ----------
    folder : Path
    device, dtype : str
    adapter : Path, optional
        A folder that PEFT has written: its changes are added to the weights.

    Raises
    ------
    TypeError, ValueError
        Weights that are damaged, missing or of another shape; settings that audiocraft does not
        have; an adapter of another model.
    """
    model = _model(folder)
    if adapter is not None:
        model = _adapted(model, adapter)
    cfg = configuration(model.config, device, dtype)
    tokenizer = _tokenizer(folder)
    text = miniature.Text(model.text_encoder, tokenizer, cfg.transformer_lm.dim, device)
    lm = miniature.without_text(cfg)
    lm.condition_provider.conditioners["description"] = text.to(device)
    if forward.prefixed(lm):
        lm.condition_provider.conditioners["self_wav"] = _melody(folder, model.config, device)
    state = translated(model.state_dict(), text)
    lm.load_state_dict(state)
    codec = audiocraft.models.encodec.HFEncodecCompressionModel(model.audio_encoder.eval())
    codec = audiocraft.models.builders.get_wrapped_compression_model(codec, cfg).to(device)
    return Parts(lm, codec, cfg, _guidance(folder))


def _model(folder):
    """The whole model, by ``transformers``."""
    kind = KINDS[_json(folder / "config.json")["model_type"]]
    how = {"dtype": torch.float32, "use_safetensors": True}
    return whole(getattr(transformers, kind), folder, **how).eval()


def whole(kind: type, folder: Path, besides: tuple[str, ...] = (), **how) -> torch.nn.Module:
    """A model or a part of one, by ``transformers``, which itself would leave random what the files
    lack.

    Parameters
    ----------
    kind : type
        A class of ``transformers``.
    folder : Path
    besides : tuple of str
        How names of weights begin that may be there and are not read.
    **how
        Settings of ``from_pretrained``.

    Raises
    ------
    ValueError
        Weights that are damaged, missing, left over or of another shape.
    """
    try:
        model, told = kind.from_pretrained(folder, output_loading_info=True, **how)
    except BROKEN as error:
        raise ValueError(
            f"{folder} cannot be read: {_cause(error)} Copy or download it again."
        ) from error
    found = {key: sorted(map(str, names)) for key, names in told.items()}
    left = found.get("unexpected_keys", [])
    found["unexpected_keys"] = [name for name in left if not name.startswith(besides)]
    wrong = {key: names[:3] for key, names in found.items() if names}
    if wrong:
        raise ValueError(
            f"The weights of {folder} are not those that its config.json describes: {wrong}. Copy "
            "or download it again."
        )
    return model


def _cause(error):
    """What went wrong, in one sentence: some say it in their second line."""
    lines = (str(error) or repr(error)).splitlines()[:2]
    return f"{' '.join(' '.join(lines).split()).rstrip('.')}."


def _tokenizer(folder):
    """The tokenizer, by ``transformers``, whose errors are of many kinds."""
    try:
        return transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        raise ValueError(
            f"The tokenizer in {folder} cannot be read ({type(error).__name__}: {error}). Save the "
            "processor there again."
        ) from error


def base(folder: Path) -> str | None:
    """The model that an adapter says it was trained on.

    Raises
    ------
    ValueError
        What it says is no name.
    """
    file = folder / ADAPTER[0]
    named = _json(file).get("base_model_name_or_path")
    if named is not None and not isinstance(named, str):
        expected = "the name or the folder of a model, or null"
        checks.refuse(ValueError, f"base_model_name_or_path in {file}", expected, named)
    return named or None


def _melody(folder, config, device):
    """The melody's conditioner, whose projection is yet to be read."""
    file = folder / EXTRACTOR
    told = {**CHROMA, **(_json(file) if file.is_file() else {})}
    for key in CHROMA:
        checks.count(f"{key} in {file}", told[key])
    exponent = told["n_fft"].bit_length() - 1
    if told["n_fft"] != 2**exponent or told["hop_length"] != told["n_fft"] // 4:
        raise ValueError(
            f"{file} asks for chromagrams of {told['n_fft']} samples every {told['hop_length']}. "
            "Expected a power of two, and a quarter of it."
        )
    rate = config.audio_encoder.sampling_rate
    seconds = (config.chroma_length - 1) * told["hop_length"] / rate
    width = config.decoder.hidden_size
    return melody.Chroma(width, rate, seconds, config.num_chroma, exponent, device=device)


def check_adapter(folder: Path) -> None:
    """Refuse what is no adapter, before anything is read.

    Raises
    ------
    ValueError
        A file that is missing or no configuration of an adapter, or no PEFT.
    """
    for name in ADAPTER:
        if not (folder / name).is_file():
            raise ValueError(f"{folder} lacks {name}. An adapter, as PEFT saves it, holds both.")
    if "peft_type" not in _json(folder / ADAPTER[0]):
        raise ValueError(
            f"{folder / ADAPTER[0]} names no peft_type: it is no adapter's configuration, as PEFT "
            "saves it. Save the adapter again."
        )
    if importlib.util.find_spec("peft") is None:
        raise ValueError("Adapters need PEFT: pip install peft.")


def _adapted(model, folder):
    """A model with an adapter's changes in its weights."""
    import peft

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*missing adapter keys")
            adapted = peft.PeftModel.from_pretrained(model, folder)
        _check_places(adapted, folder)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{folder / ADAPTER[1]} is damaged ({error}). Copy or download it again."
        ) from error
    except (*BROKEN, UserWarning) as error:
        named = base(folder)
        trained = f", but that which it was trained on ({named})" if named else ""
        raise ValueError(
            f"The adapter in {folder} does not fit this model{trained}: {_cause(error)}"
        ) from error
    return adapted.merge_and_unload()


def _check_places(adapted, folder):
    """Refuse changes for which the model has no place: PEFT passes over them without a word."""
    import peft

    prefix = getattr(adapted.base_model, "prefix", None)
    if prefix is None:
        raise ValueError("it changes what the model reads, and no weights that could be merged")
    with safetensors.safe_open(folder / ADAPTER[1], "pt") as opened:
        given = {name for name in opened.keys() if prefix in name}
    # without a look at the hub for the size of the vocabulary
    placed = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    unplaced = sorted(given - set(placed))
    if unplaced:
        raise ValueError(
            f"{len(unplaced)} of its {len(given)} weights have no place: {unplaced[0]}"
        )


def configuration(config, device: str, dtype: str):
    """The keys of a released checkpoint's ``xp.cfg``, from a configuration of ``transformers``.

    Raises
    ------
    ValueError
        No codebooks or blocks, neither one channel nor two, or an activation that audiocraft does
        not have.
    """
    decoder = config.decoder
    for key in ("num_codebooks", "num_hidden_layers"):
        checks.count(f"{key} of the decoder", getattr(decoder, key))
    channels = checks.choice("audio_channels of the decoder", decoder.audio_channels, (1, 2))
    computed = decoder.activation_function
    checks.choice("activation_function of the decoder", computed, ACTIVATIONS)
    delays = [k // channels for k in range(decoder.num_codebooks)]
    own = {
        "solver": "musicgen",
        "sample_rate": config.audio_encoder.sampling_rate,
        "channels": channels,
        "device": device,
        "dtype": dtype,
        "codebooks_pattern": {"delay": {"delays": delays}},
        "interleave_stereo_codebooks": {"use": channels == 2, "per_timestep": False},
        "transformer_lm": {
            "dim": decoder.hidden_size,
            "num_heads": decoder.num_attention_heads,
            "num_layers": decoder.num_hidden_layers,
            "hidden_scale": decoder.ffn_dim / decoder.hidden_size,
            "n_q": decoder.num_codebooks,
            "card": decoder.vocab_size,
            "activation": computed,
        },
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {},
        "dataset": {"segment_duration": SECONDS},
    }
    if config.model_type == "musicgen_melody":
        own["fuser"] = {"cross": [], "prepend": ["self_wav", "description"]}
        own["conditioners"] = {"self_wav": {"model": "chroma_stem"}}
    return OmegaConf.merge(miniature.COMMON, own)


def translated(state: dict, text: miniature.Text) -> dict:
    """Weights of a language model under audiocraft's names.

    Parameters
    ----------
    state : dict
        Of a class of :data:`KINDS`; what belongs to text encoder and codec is left out.
    text : miniature.Text
        Its projection is the identity where the folder has none: then both widths are the same.
    """
    found = {}
    for name, weight in state.items():
        parts = ("decoder.", "enc_to_dec_proj.", "audio_enc_to_dec_proj.")
        if name.startswith(parts) and "embed_positions" not in name:
            found[_name(name)] = weight
    for name in [name for name in found if name.endswith(f".{PROJECTIONS[0]}.weight")]:
        attention = name.removesuffix(f"{PROJECTIONS[0]}.weight")
        parts = [found.pop(f"{attention}{part}.weight") for part in PROJECTIONS]
        found[f"{attention}in_proj_weight"] = torch.cat(parts)
    projection = "condition_provider.conditioners.description.output_proj"
    if f"{projection}.weight" not in found:
        found[f"{projection}.weight"] = torch.eye(text.output_proj.out_features)
        found[f"{projection}.bias"] = torch.zeros(text.output_proj.out_features)
    return found


def _name(name):
    for pattern, instead in NAMES:
        name = re.sub(pattern, instead, name)
    return name


def _guidance(folder):
    file = folder / "generation_config.json"
    told = _json(file).get("guidance_scale") if file.is_file() else None
    if told is None:
        return 3.0
    return float(checks.number(f"guidance_scale in {file}", told, 0, 100))
