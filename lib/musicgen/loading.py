"""Load a MusicGen: a shipped organism, a released model, or any other on the hub or in a folder, in
audiocraft's checkpoint format or in that of ``transformers``.

Checkpoints are read without running code from them, and every part (language model, text encoder,
tokenizer, codec) is checked against the others before anything is computed.
"""

import collections
import copy
import difflib
import functools
import json
import os
import re
import typing
import warnings
from pathlib import Path

import huggingface_hub
import omegaconf
import torch
import transformers
import yaml
from omegaconf import OmegaConf

from .. import check
from . import converted, forward, melody, miniature, selfcheck, sizing
from .compat import audiocraft
from .model import DEFAULTS, Model

builders = audiocraft.models.builders
T5Conditioner = audiocraft.modules.conditioners.T5Conditioner

RELEASED = tuple(sizing.SHAPES)
FILES = ("state_dict.bin", "compression_state_dict.bin")
#: What audiocraft's trainer writes into an experiment's folder.
TRAINING = "checkpoint.th"
#: How its configuration begins a reference to a codec on the hub.
PRETRAINED = "//pretrained/"
#: Files of a text encoder, and of a codec, on the hub.
T5_FILES = ("*.json", "*.model", "model.safetensors")
CODEC_FILES = ("*.json", "model.safetensors")
#: Seconds that the hub may take to answer at all.
PATIENCE = 5.0
STYLE = (
    "Style checkpoints read music through MERT and a quantizer, which audiocraft 1.3.0 does not have. "
    "Take a text-to-music model (facebook/musicgen-small) or one that follows a melody "
    "(facebook/musicgen-melody)."
)
#: What a melody checkpoint of audiocraft holds besides: a window that follows from its length.
WINDOW = f"condition_provider.conditioners.{melody.MELODY}.chroma.spec.window"
#: What may stand in the files of a whole T5 besides its encoder.
NO_ENCODER = ("decoder.", "lm_head.")
#: How codebooks may follow each other: all at once, or one behind the other.
PATTERNS = ("delay", "parallel")
#: What audiocraft raises where a configuration or weights are wrong.
WRONG = (*converted.BROKEN, omegaconf.errors.OmegaConfBaseException)
#: What an omegaconf configuration consists of where it was saved as an object: plain data, which
#: may be read.
CONFIGURATION = (
    omegaconf.DictConfig,
    omegaconf.ListConfig,
    omegaconf.base.ContainerMetadata,
    omegaconf.base.Metadata,
    omegaconf.nodes.AnyNode,
    omegaconf.nodes.BooleanNode,
    omegaconf.nodes.FloatNode,
    omegaconf.nodes.IntegerNode,
    omegaconf.nodes.StringNode,
)


class ModelError(ValueError):
    """A model cannot be loaded: the message says what was expected and what to do."""


def load(
    name: str,
    device: str | None = None,
    dtype: str | None = None,
    adapter: str | os.PathLike | None = None,
) -> Model:
    """Load a model.

    Parameters
    ----------
    name : str
        An organism ("organism", "organism-decoupled", "organism-shuffled"), a released model
        ("facebook/musicgen-small", "facebook/musicgen-stereo-melody", ...), any other on the hub
        ("owner/name"; "facebook/audiogen-medium" sings no music), or a folder: in audiocraft's
        checkpoint format, as its trainer writes one (``checkpoint.th``), or as ``transformers``
        saves one with its processor. A folder in audiocraft's formats may also hold what its
        checkpoint refers to (``t5-base/``, ``facebook/encodec_32khz/``, as Hugging Face folders);
        what it does not hold is fetched from the hub.
    device : str, optional
        "cpu", "cuda", "cuda:1", "mps"; by default the best there is.
    dtype : str, optional
        Of the language model's products: "float32", "bfloat16" or "float16"; norms and the residual
        stream stay in float32. By default float16 on CUDA for all but organisms, as in audiocraft,
        else float32.
    adapter : str or path, optional
        The folder of an adapter (LoRA and others), as PEFT saves it, on a model of ``transformers``:
        its changes are added to the weights.

    Raises
    ------
    ModelError
        Unknown name, missing file, damaged or unsafe checkpoint, parts that do not fit, unsupported
        conditioning, no connection; a model that does not work (``selfcheck``).
    MemoryError
        The weights would not fit: said before anything is fetched or read.
    """
    if str(name).startswith("~"):
        name = str(check.path("name", name))
    device = _check_device(device)
    if dtype is not None:
        check.choice("dtype", dtype, sizing.BYTES)
    if adapter is not None:
        adapter = check.path("adapter", adapter)
        return _load_adapted(name, device, dtype or sizing.dtype(device), adapter)
    if name in shipped():
        return _load_shipped(name, device, dtype or "float32")
    dtype = dtype or sizing.dtype(device)
    if isinstance(name, str | os.PathLike) and Path(name).is_dir():
        return _load_folder(str(name), Path(name), device, dtype)
    if name in RELEASED:
        shape = sizing.SHAPES[name]
        needed = sizing.weights(shape, device, dtype)
        sizing.check(name, needed, device, sizing.reading(shape))
        files = {file: _from_hub(name, file) for file in FILES}
        return _load_released(name, files, device, dtype)
    if str(name) == "facebook/musicgen-style":
        raise ModelError(f"{name} cannot be read. {STYLE}")
    if names_repository(name):
        return _load_folder(str(name), _model_folder(str(name)), device, dtype)
    raise ModelError(f"Unknown model {name!r}.{_known(str(name))}")


def _known(name):
    """What may have been meant, and all that there is."""
    near = {known.split("/")[-1]: known for known in (*RELEASED, *shipped())}
    close = difflib.get_close_matches(name.split("/")[-1], near, 1)
    return (
        f"{f' Did you mean {near[close[0]]!r}?' if close else ''} Expected one of {shipped()}, one "
        f"of {list(RELEASED)}, another model on the hub ('owner/name'), or a folder that holds "
        f"{' and '.join(FILES)}, or config.json and {converted.WEIGHTS[0]}."
    )


def shipped() -> list[str]:
    """Names of the models that come with the book."""
    return sorted(
        file.parent.parent.name for file in miniature.WEIGHTS.glob("*/text/tokenizer.json")
    )


def names_repository(name):
    """Whether it is the name of a repository on the hub: "owner/name"."""
    return re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(name)) is not None


def revision(name: str) -> str | None:
    """The commit on the hub of a model that was fetched from there.

    Parameters
    ----------
    name : str
        "owner/name".

    Returns
    -------
    str, optional
        None of an organism, of a folder, and of what this machine's cache does not hold.
    """
    if not names_repository(name) or Path(name).is_dir():
        return None
    for file in (FILES[0], "config.json"):
        cached = huggingface_hub.try_to_load_from_cache(name, file)
        if isinstance(cached, str):
            # the cache's folders: snapshots/<commit>/<file>
            return Path(cached).parent.name
    return None


def _load_folder(name, folder, device, dtype):
    """In whichever format."""
    if converted.is_one(folder):
        return _load_converted(name, folder, device, dtype)
    if (folder / TRAINING).is_file() and not (folder / FILES[0]).exists():
        return _load_training(name, folder, device, dtype)
    files = {file: _in_folder(folder, file) for file in FILES}
    return _load_released(name, files, device, dtype)


def _load_adapted(name, device, dtype, adapter):
    """A model of ``transformers`` with an adapter."""
    if name in shipped():
        raise ModelError(f"{name} takes no adapter: adapters belong to models of transformers.")
    try:
        converted.check_adapter(adapter)
        base = converted.base(adapter)
    except ValueError as error:
        raise ModelError(str(error)) from error
    if base != name and {base, name} <= set(RELEASED):
        raise ModelError(f"The adapter in {adapter} was trained on {base}, not on {name}.")
    folder = Path(name) if Path(name).is_dir() else _model_folder(str(name))
    if not (folder / "config.json").is_file():  # a released model has files of either format
        raise ModelError(
            f"{folder} is not in the format of transformers, to which adapters belong: it needs "
            f"config.json and {converted.WEIGHTS[0]}."
        )
    if base is not None and not _is_same(base, str(name)):
        warnings.warn(
            f"The adapter in {adapter} says that it was trained on {base}, not on {name}: on other "
            "weights it does something else. Load the model that it names.",
            stacklevel=3,
        )
    # absolute: elsewhere, folders of the same names are other ones
    whole = os.path.abspath(name) if Path(name).is_dir() else str(name)
    added = os.path.abspath(adapter)
    model = _load_converted(f"{whole} + {added}", folder, device, dtype, adapter)
    model.adapted = (whole, added)
    return model


def _is_same(base, name):
    """Whether an adapter's base is the model that is loaded, as far as names tell: what is not on
    this machine may lie in a folder of the same name here.
    """
    if base == name or not Path(name).is_dir():
        return base == name
    if Path(base).is_dir():
        return os.path.samefile(base, name)
    return Path(base).name == Path(name).resolve().name


def _load_converted(name, folder, device, dtype, adapter=None):
    try:
        converted.check(folder)
        weights = converted.numbers(folder)
        # read in float32, and copied while the language model is made
        reading = weights * sizing.BYTES["float32"]
        sizing.check(name, weights * sizing.BYTES[dtype], device, reading)
        parts = converted.read(folder, device, dtype, adapter)
        forward.check(parts.lm)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{name}: {error}") from error
    lm = _uniform(parts.lm, getattr(torch, dtype))
    _check_parts(name, lm, parts.codec, parts.cfg)
    defaults = {**DEFAULTS, "cfg": parts.guidance}
    seconds = parts.cfg.dataset.segment_duration
    return _examined(Model(name, lm, parts.codec, device, seconds, defaults))


def _examined(model):
    """The model, after a quick look at whether it works."""
    try:
        selfcheck.examine(model)
    except ValueError as error:
        raise ModelError(f"{model.name} was read, but {error}") from error
    return model


def _load_shipped(name, device, dtype):
    folder = miniature.WEIGHTS / name
    try:
        lm = miniature.load_lm(folder, device)
        codec = miniature.load_codec(device=device)
    except ValueError as error:
        raise ModelError(str(error)) from error
    config = json.loads((folder / "config.json").read_text())
    lm.transformer.to(getattr(torch, dtype))
    return Model(
        name,
        _uniform(lm, getattr(torch, dtype)),
        codec,
        device,
        config["dataset"]["segment_duration"],
        config.get("generation", DEFAULTS),
    )


def _check_device(device):
    """A device that is there: the one asked for, or the best."""
    if device is None:
        return next(kind for kind in ("cuda", "mps", "cpu") if _devices(kind))
    try:
        asked = torch.device(device)
        there = _devices(asked.type)
    except (
        RuntimeError,
        TypeError,
        AttributeError,
    ):  # no name of a device, or of one that this torch knows nothing of
        asked = None
        there = 0
    if not there or (asked.index or 0) >= there:
        known = [f"{kind} ({_devices(kind)})" for kind in ("cpu", "cuda", "mps") if _devices(kind)]
        raise ModelError(
            f"device must be one of {', '.join(known)}, or None for the best. Got {device!r}."
        )
    return str(asked)  # of an index alone, too, its kind is named


def _devices(kind):
    """How many devices of a kind there are."""
    if kind == "cpu":
        return 1
    module = torch.get_device_module(kind)
    return module.device_count() if module.is_available() else 0


# ---------------------------------------------------------------------------------------------- the
# released format
def _load_released(name, files, device, dtype):
    """audiocraft's own loading, except that files run no code and references may be resolved
    beside them.
    """
    folder = Path(name).absolute() if Path(name).is_dir() else None
    weights = sum(map(sizing.numbers, files.values())) * sizing.BYTES[dtype]
    sizing.check(name, weights, device, sum(Path(file).stat().st_size for file in files.values()))
    state = _read(files["state_dict.bin"], ("best_state", "xp.cfg"))
    package = _read(files["compression_state_dict.bin"], ())
    return _assembled(name, files, state, package, folder, device, dtype)


def _load_training(name, folder, device, dtype):
    """A checkpoint of audiocraft's trainer: its best weights, as ``audiocraft.utils.export`` takes
    them.
    """
    file = folder / TRAINING
    sizing.check(name, 0, device, file.stat().st_size)
    package = _read(file, ("best_state", "xp.cfg"))
    best = package.get("fsdp_best_state") or package["best_state"]
    if not isinstance(best, dict) or not best.get("model"):
        raise ModelError(
            f"{file} holds no best weights: it was written before the first validation. Take one "
            "that was written later."
        )
    state = {"best_state": best["model"], "xp.cfg": package["xp.cfg"]}
    files = {FILES[0]: file, FILES[1]: folder / FILES[1]}
    if files[FILES[1]].is_file():
        codec = _read(files[FILES[1]], ())
    else:
        files[FILES[1]] = file
        codec = {"pretrained": _trained_on(file, state)}
    return _assembled(name, files, state, codec, folder.absolute(), device, dtype)


def _trained_on(file, state):
    """The codec whose tokens a model was trained on, by its name on the hub."""
    reference = str(_settings(file, state).get("compression_model_checkpoint"))
    if not reference.startswith(PRETRAINED):
        raise ModelError(
            f"{file} was trained on the codec {reference}, which is not on the hub. Put it beside "
            f"as {FILES[1]} (audiocraft.utils.export.export_encodec writes it)."
        )
    return reference.removeprefix(PRETRAINED)


def _assembled(name, files, state, package, folder, device, dtype):
    """A model from the contents of a checkpoint's two files."""
    file = files["state_dict.bin"]
    try:
        cfg = _configuration(name, file, state, folder, device, dtype)
    except omegaconf.errors.OmegaConfBaseException as error:
        raise ModelError(f"The configuration in {file} is damaged: {_first(error)}") from error
    lm = _language_model(name, file, state, cfg)
    codec = _codec(package, files["compression_state_dict.bin"], folder, device)
    codec = _wrapped(name, codec, cfg).to(device)
    _check_parts(name, lm, codec, cfg)
    return _examined(Model(name, lm, codec, device, cfg.dataset.segment_duration))


def _settings(file, package):
    """A file's configuration, which may be text or an object."""
    given = package["xp.cfg"]
    try:
        cfg = OmegaConf.create(given)
    except (yaml.YAMLError, omegaconf.errors.OmegaConfBaseException):
        cfg = None
    if not OmegaConf.is_dict(cfg) or not cfg:
        what = f"xp.cfg in {file}"
        remedy = "audiocraft.utils.export writes one."
        _checked(check.refuse, ValueError, what, "a configuration by names", given, remedy)
    OmegaConf.set_struct(cfg, False)
    return cfg


def _checked(judge, *arguments):
    """What a check of input says of a file, as this module says it."""
    try:
        return judge(*arguments)
    except omegaconf.errors.OmegaConfBaseException:  # some are ValueErrors, and name no file
        raise
    except (TypeError, ValueError) as error:
        raise ModelError(str(error)) from error


def _configuration(name, file, state, folder, device, dtype):
    """The checkpoint's own configuration, for this device and with its text encoder found."""
    cfg = _settings(file, state)
    cfg.device = device
    cfg.dtype = dtype
    conditioners = cfg.get("conditioners") or {}
    if not isinstance(conditioners, collections.abc.Mapping):
        expected = "what the model is conditioned on, by names"
        _checked(check.refuse, TypeError, f"conditioners in {file}", expected, conditioners)
    for key in (
        "cache_path",
        "merge_text_conditions_p",
        "drop_desc_p",
    ):  # training options audiocraft drops as well
        for part in (conditioners.get("args"), conditioners):
            if part is not None:
                part.pop(key, None)
    read = {key: _kind(part) for key, part in conditioners.items() if key != "args"}
    if "style" in read.values():
        raise ModelError(f"{name} cannot be read. {STYLE}")
    if read not in ({melody.TEXT: "t5"}, {melody.TEXT: "t5", melody.MELODY: "chroma_stem"}):
        raise ModelError(
            f"{name} is conditioned on {read or 'nothing'}. This book reads models of text "
            f"({melody.TEXT}: t5), with or without a melody ({melody.MELODY}: chroma_stem)."
        )
    _checked(_check_settings, file, cfg)
    text = conditioners[melody.TEXT].t5
    text.name = _register_t5(_text_encoder(text.name, folder))
    return cfg


def _kind(part):
    """What a conditioner is."""
    return part.get("model") if OmegaConf.is_dict(part) else str(part)


def _check_settings(file, cfg):
    """Refuse what audiocraft itself would only assert, or meet while it sings."""

    def told(key):
        found = OmegaConf.select(cfg, key)
        return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found

    def called(key):
        return f"{key} in {file}"

    key = f"conditioners.{melody.TEXT}.t5.name"
    _check_name(called(key), told(key), "the name of a text encoder")
    key = "dataset.segment_duration"
    check.number(called(key), told(key), 0, open_low=True)
    width = check.count(called("transformer_lm.dim"), told("transformer_lm.dim"))
    key = "transformer_lm.num_heads"
    heads = check.count(called(key), told(key))
    if width % heads:
        check.refuse(ValueError, called(key), f"a divisor of the width, {width}", heads)
    key = "codebooks_pattern.modeling"
    kind = told(key)
    if kind is None:
        # the older place, which takes the delays as they come
        check.choice(called(key), told("transformer_lm.q_modeling"), PATTERNS)
    elif check.choice(called(key), kind, PATTERNS) == "delay":
        codebooks = check.count(called("transformer_lm.n_q"), told("transformer_lm.n_q"))
        _check_delays(called, told, codebooks)


def _check_name(what, name, expected):
    if not isinstance(name, str) or not name.strip():
        check.refuse(ValueError, what, expected, name)


def _check_delays(called, told, codebooks):
    for name in ("flatten_first", "empty_initial"):
        key = f"codebooks_pattern.delay.{name}"
        check.choice(called(key), told(key) or 0, (0,))
    key = "codebooks_pattern.delay.delays"
    delays = told(key)
    if delays is None:
        return
    expected = f"{codebooks} integers, one a codebook, none smaller than that before it"
    if not isinstance(delays, list) or len(delays) != codebooks:
        check.refuse(ValueError, called(key), expected, delays)
    numbers = [check.count(f"each of {called(key)}", delay, 0) for delay in delays]
    if numbers != sorted(numbers):
        check.refuse(ValueError, called(key), expected, delays)


def _language_model(name, file, state, cfg):
    weights = state["best_state"]
    if not isinstance(weights, dict):
        what = f"best_state in {file}"
        remedy = "audiocraft.utils.export writes them."
        _checked(check.refuse, TypeError, what, "weights by their names", weights, remedy)
    weights = {key: value for key, value in weights.items() if key != WINDOW}
    try:
        encoder = Path(cfg.conditioners[melody.TEXT].t5.name)
        # audiocraft reads it, too, and would leave random what its files lack
        converted.whole(transformers.T5EncoderModel, encoder, NO_ENCODER)
    except ValueError as error:
        raise ModelError(f"The text encoder of {name} cannot be read: {error}") from error
    try:
        lm = _built(cfg)
        lm.load_state_dict(weights)
    except OSError as error:
        raise ModelError(f"The text encoder of {name} cannot be read: {_first(error)}") from error
    except WRONG as error:
        raise ModelError(f"{file} does not fit its own configuration: {_first(error)}") from error
    lm.cfg = cfg
    try:
        forward.check(lm)
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from error
    return _uniform(lm, getattr(torch, cfg.dtype))


def _built(cfg):
    """By audiocraft's builders, which would load Demucs for the melody: its conditioner is put in
    its place here.
    """
    chroma = cfg.conditioners.get(melody.MELODY)
    without = copy.deepcopy(cfg)
    without.conditioners.pop(melody.MELODY, None)
    lm = builders.get_lm_model(without)
    if chroma is not None:
        lm.condition_provider.conditioners[melody.MELODY] = melody.build(
            dict(chroma.chroma_stem), lm.dim, cfg.dataset.segment_duration, cfg.device
        )
    return lm


def _uniform(lm, dtype):
    """All products in one precision. audiocraft makes only the blocks half and hides the rest
    behind autocast; here
    norms and the residual stream stay in float32, and every other weight is ``dtype``."""
    for module in (*lm.emb, *lm.linears):
        module.to(dtype)
    norms = [module for module in lm.modules() if isinstance(module, torch.nn.LayerNorm)]
    for norm in norms:
        norm.float()
    return lm


def _wrapped(name, codec, cfg):
    """The codec with what the configuration puts around it, as for two channels."""
    try:
        return builders.get_wrapped_compression_model(codec, cfg)
    except WRONG as error:
        raise ModelError(
            f"The codec of {name} does not fit the language model's configuration: {_first(error)}"
        ) from error


def _check_parts(name, lm, codec, cfg):
    """Refuse a codec that does not speak the language model's tokens, and a text encoder that
    cannot read.
    """
    if codec.num_codebooks != lm.n_q or codec.cardinality != lm.card:
        raise ModelError(
            f"The codec of {name} has {codec.num_codebooks} codebooks of {codec.cardinality} "
            "tokens, its language model "
            f"{lm.n_q} of {lm.card}: they do not belong together. Take both files from one export."
        )
    for key in ("sample_rate", "channels"):
        told, there = cfg.get(key), getattr(codec, key)
        if told is not None and told != there:
            raise ModelError(
                f"The codec of {name} has {key} {there}, its language model's configuration "
                f"{told}: they do not belong together. Take both files from one export."
            )
    conditioner = lm.condition_provider.conditioners["description"]
    ids = conditioner.t5_tokenizer("a happy melody", add_special_tokens=False)["input_ids"]
    unknown = ids.count(conditioner.t5_tokenizer.unk_token_id)
    if not ids or 2 * unknown >= len(ids):
        raise ModelError(
            f"The tokenizer of {conditioner.name} reads 'a happy melody' as {unknown} unknown "
            f"tokens of {len(ids)}. Put its "
            "tokenizer.json (or spiece.model) into the text encoder's folder."
        )
    size = conditioner.t5.get_input_embeddings().num_embeddings
    if (
        len(conditioner.t5_tokenizer) > size + 128
    ):  # released T5s pad their table, never the tokenizer
        raise ModelError(
            f"The tokenizer of {conditioner.name} has more words than its encoder's table ({size})."
        )


# ----------------------------------------------------------------------------------------------
# codec and text
def _codec(package, file, folder, device):
    """The compression model that a file holds or refers to."""
    if "pretrained" in package:
        reference = package["pretrained"]
        _checked(_check_name, f"'pretrained' in {file}", reference, "the name of a codec")
        source = _referred(reference, folder, CODEC_FILES)
        encodec = audiocraft.models.encodec
        try:
            network = converted.whole(encodec.HFEncodecModel, Path(source))
            return encodec.HFEncodecCompressionModel(network)
        except WRONG as error:
            raise ModelError(
                f"{source} is no EnCodec folder that can be read: {_first(error)}"
            ) from error
    wanted = (
        "It must hold 'pretrained' (a reference), or 'xp.cfg' and 'best_state' of a compression "
        "model"
    )
    if not {"xp.cfg", "best_state"} <= set(package):
        raise ModelError(
            f"{file} is no compression checkpoint. {wanted}. Got {sorted(map(str, package))[:5]}."
        )
    cfg = _settings(file, package)
    cfg.device = device
    if "compression_model" not in cfg:
        raise ModelError(
            f"{file} is no compression checkpoint: its configuration has no 'compression_model'. "
            f"{wanted}."
        )
    try:
        codec = builders.get_compression_model(cfg)
        codec.load_state_dict(package["best_state"])
    except WRONG as error:
        raise ModelError(f"{file} does not fit its own configuration: {_first(error)}") from error
    return codec


def _text_encoder(name, folder):
    """The folder of a text encoder that a checkpoint refers to."""
    known = [kind for kind in T5Conditioner.MODELS if "/" in kind or kind.startswith("t5-")]
    source = name.removeprefix("google-t5/")
    if _local(source, folder) is None and not Path(source).is_dir() and source not in known:
        raise ModelError(
            f"The text encoder must be one of {', '.join(known)}, or a folder of that name beside "
            "the checkpoint. Got "
            f"{name!r}."
        )
    found = Path(_referred(source, folder, T5_FILES))
    tokenizers = ("tokenizer.json", "spiece.model")
    if not any((found / file).is_file() for file in tokenizers):
        raise ModelError(
            f"{found} holds no tokenizer: {' or '.join(tokenizers)} expected. Copy it from the "
            "text encoder."
        )
    return found


def _register_t5(folder):
    """Make audiocraft's T5 conditioner accept a folder: its list of names is its registry."""
    try:
        width = check.count("d_model", json.loads((folder / "config.json").read_text())["d_model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder} is not a T5 folder: config.json with 'd_model' expected ({error})."
        ) from error
    if str(folder) not in T5Conditioner.MODELS:
        T5Conditioner.MODELS = [*T5Conditioner.MODELS, str(folder)]
    T5Conditioner.MODELS_DIMS = {**T5Conditioner.MODELS_DIMS, str(folder): width}
    return str(folder)


# ------------------------------------------------------------------------------------------------
# finding files
def _referred(reference, folder, patterns):
    """The folder that a checkpoint's reference means:

    beside it, on this machine, in the hub's cache, or fetched.
    """
    local = _local(reference, folder)
    if local is not None:
        return local
    if Path(reference).is_dir():
        return reference
    return _snapshot(reference, patterns)


def _local(reference, folder):
    """The folder beside the checkpoint that holds what it refers to, by full or last name;

    None if there is none.
    """
    if folder is None:
        return None
    found = [
        folder / part for part in (reference, reference.split("/")[-1]) if (folder / part).is_dir()
    ]
    return str(found[0]) if found else None


def _in_folder(folder, file):
    if not (folder / file).is_file():
        raise ModelError(
            f"{folder} lacks {file}. A folder in audiocraft's checkpoint format holds "
            f"{' and '.join(FILES)} "
            "(audiocraft.utils.export writes both)."
        )
    return folder / file


def _from_hub(name, file):
    cached = huggingface_hub.try_to_load_from_cache(name, file)
    if isinstance(cached, str):
        return Path(cached)
    _check_connection(f"{name}/{file}")
    try:
        return Path(huggingface_hub.hf_hub_download(name, file))
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise ModelError(_offline(f"{name}/{file}")) from error


def _snapshot(name, patterns):
    """The folder of a repository on the hub, from its cache or fetched."""
    wanted = {"allow_patterns": list(patterns)}
    try:
        return huggingface_hub.snapshot_download(name, local_files_only=True, **wanted)
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError):
        pass
    _check_connection(name)
    try:
        return huggingface_hub.snapshot_download(name, **wanted)
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise ModelError(_offline(name)) from error


def _model_folder(name):
    """The folder of a model on the hub, in whichever format."""
    try:
        return Path(_snapshot(name, (*FILES, *converted.FILES)))
    except ModelError as error:
        raise ModelError(f"{error}{_known(name)}") from error


def _check_connection(what):
    """Refuse at once where the hub does not answer: its own client tries again for minutes."""
    if not hub_answers():
        raise ModelError(_offline(what))


def hub_answers() -> bool:
    """Whether the Hugging Face hub can be reached; asked until it has answered once."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    try:
        _reach(huggingface_hub.constants.ENDPOINT)
    except Exception:  # whatever the client's library raises, nobody answered
        return False
    return True


@functools.cache  # that keeps no errors: whoever connects after one is asked for again
def _reach(address):
    huggingface_hub.utils.get_session().head(address, timeout=PATIENCE)


def _offline(what):
    return (
        f"{what} could not be fetched from the Hugging Face hub and is not in its cache. Connect "
        "to the internet once, "
        "or pass a local folder that holds it; model='organism' needs no download."
    )


# ----------------------------------------------------------------------------------------------
# reading files
def _read(file, keys):
    """A checkpoint's content, read without running code from the file."""
    try:
        with torch.serialization.safe_globals(_plain_classes()):
            package = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged and for unsafe files
        raise ModelError(
            f"{file} is damaged, or holds more than weights (it could run code, so it is not "
            "loaded). Download it "
            f"again, or export it with audiocraft.utils.export. First cause: {_first(error)}"
        ) from error
    if not isinstance(package, dict) or any(key not in package for key in keys):
        found = (
            sorted(map(str, package))[:5] if isinstance(package, dict) else type(package).__name__
        )
        raise ModelError(
            f"{file} must hold a dictionary with {list(keys)}, as audiocraft.utils.export writes "
            f"it. Got {found}."
        )
    if isinstance(package.get("xp.cfg"), str):
        try:
            yaml.safe_load(package["xp.cfg"])
        except yaml.YAMLError as error:
            raise ModelError(f"{file} holds a configuration that is not YAML: {error}") from error
    return package


def _plain_classes():
    """Classes whose objects are data: those of a configuration, and the containers in them."""
    return [
        *CONFIGURATION,
        typing.Any,
        dict,
        list,
        int,
        str,
        float,
        bool,
        collections.defaultdict,
        collections.OrderedDict,
    ]


def _first(error):
    """The first line of what went wrong: whole paths stand in it, so it is cut late."""
    return (str(error) or repr(error)).splitlines()[0][:1000]
