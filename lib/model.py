"""Load any MusicGen; generate, encode, decode.

>>> from lib import model
>>> m = model.load("organism")
>>> clips = m.generate(["a happy piano melody"], seconds=1, seed=0, progress=False)
>>> clips.tokens.shape, clips.audio.shape
((1, 4, 25), (1, 16000))
"""

import hashlib
import json
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import numpy as np
import torch
import yaml
from omegaconf import OmegaConf
from tqdm.auto import tqdm

from lib import generation, sizing
from lib.compat import audiocraft
from lib.organism import network, world
from lib.results import ARTIFACTS

builders = audiocraft.models.builders
ConditioningAttributes = audiocraft.modules.conditioners.ConditioningAttributes
T5Conditioner = audiocraft.modules.conditioners.T5Conditioner

RELEASED = tuple(sizing.SHAPES)
PREFIXED = (
    "Melody and style checkpoints read text as a prefix and have no cross-attention, which this book follows words through. "
    "Take facebook/musicgen-small, -medium or -large, or their stereo- variants."
)
FILES = ("state_dict.bin", "compression_state_dict.bin")
CACHE_BYTES = 4 * 2**30  # of attention keys and values while clips are generated
#: Sampling settings where a model's own configuration gives none: those of audiocraft's MusicGen.
DEFAULTS = {"temperature": 1.0, "top_k": 250, "cfg": 3.0}


#: Order of the rows of a batch under classifier-free guidance: first all conditional ones, then all unconditional ones.
STREAMS = ("cond", "uncond")


class Rows(NamedTuple):
    """The rows of a batch inside the language model: ``clips`` of the first of ``streams``, then those of the next."""

    clips: list[int]
    streams: tuple[str, ...]
    total: int  # clips in the whole call


@cache
def _sampler():
    """A hash of the code that draws tokens: another sampler would draw others."""
    return zlib.crc32(Path(generation.__file__).read_bytes())


class ModelError(ValueError):
    """A model cannot be loaded: the message says what was expected and what to do."""


@dataclass(frozen=True)
class Clips:
    """Generated clips.

    Attributes
    ----------
    tokens : np.ndarray [shape=(clip, n_q, frame)], int64
    audio : np.ndarray [shape=(clip, sample)], float32
    sample_rate, frame_rate : int, float
        In Hz.
    prompts : list of str
    seeds : list of int
    settings : dict
        seconds, temperature, top_k and cfg.
    """

    tokens: np.ndarray
    audio: np.ndarray
    sample_rate: int
    frame_rate: float
    prompts: list[str]
    seeds: list[int]
    settings: dict

    def __len__(self):
        return len(self.prompts)

    def __getitem__(self, which) -> "Clips":
        """Some of the clips, by slice or by list of numbers (which may repeat)."""
        which = np.arange(len(self))[which].reshape(-1)
        prompts, seeds = [self.prompts[i] for i in which], [self.seeds[i] for i in which]
        return replace(self, tokens=self.tokens[which], audio=self.audio[which], prompts=prompts, seeds=seeds)

    def under(self, prompts: list[str]) -> "Clips":
        """The same music under other prompts, for replay."""
        prompts = _check_prompts(prompts)
        if len(prompts) != len(self):
            raise ValueError(f"prompts must be one for each of {len(self)} clips. Got {len(prompts)}.")
        return replace(self, prompts=prompts)


class Model:
    """A MusicGen: audiocraft's language model ``lm`` and codec ``codec``, with one way to use both."""

    def __init__(self, name, lm, codec, device, max_seconds, defaults=DEFAULTS):
        self.name, self.lm, self.codec, self.device = name, lm.eval(), codec.eval(), torch.device(device)
        self.max_seconds, self.defaults = float(max_seconds), dict(defaults)
        self.rows: Rows | None = None  # what the rows of the batch inside the language model are, while it runs
        self.position = 0  # where the pass through the language model that runs began
        self._numbering = None
        self.edits = 0  # edits in force

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return int(self.codec.sample_rate)

    @property
    def frame_rate(self) -> float:
        """Frames (codec time steps) a second."""
        return float(self.codec.frame_rate)

    @torch.no_grad()
    def generate(
        self,
        prompts: list[str],
        seconds: float = 6.0,
        seed: int | list[int] = 0,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        cfg: float | None = None,
        negative: str = "",
        beside: list[str] = (),
        batch_size: int | None = None,
        keep: bool = False,
        progress: bool = True,
    ) -> Clips:
        """Sample one clip for each prompt.

        A clip depends on its prompt, its seed and the settings alone, not on the batch it was made in: every clip has
        its own random numbers and reads its own text alone (``generation``).

        Parameters
        ----------
        prompts : list of str
            An empty string is an unconditional clip.
        seconds : float, 0 < seconds <= max_seconds
        seed : int or list of int
            One seed a clip; an integer s gives the clips s, s + 1, s + 2, ...
        temperature, top_k, cfg : float, int, float
            Sampling temperature (0 takes the likeliest token), number of candidates, and the coefficient of
            classifier-free guidance (1 is none). Left out, the model's own defaults.
        negative : str
            Negative prompt: guidance leads away from it instead of from no text.
        beside : list of str, optional
            Other prompts for the clips, which a third stream reads over the same tokens: ``activations.Edit.interchange``
            takes from it.
        batch_size : int, optional
            Clips at once; left out, as many as keep their attention within 4 GiB, at most 64.
        keep : bool
            Keep the clips on disk (under ``artifacts/clips``), so that chapters which ask for the same clips share them.
            Inside an edit nothing is kept.

        Returns
        -------
        Clips
        """
        prompts, seeds = _check_prompts(prompts), _check_seeds(seed, prompts)
        settings = {"seconds": _number("seconds", seconds, 0, self.max_seconds, "the model's limit")}
        for key, given, high in (("temperature", temperature, 10), ("top_k", top_k, 1e6), ("cfg", cfg, 100)):
            value = self.defaults[key] if given is None else given
            settings[key] = _number(key, value, 0, high, include_low=key != "top_k")
        if negative:
            settings["negative"] = _check_prompts([negative])[0]
        beside = _check_prompts(beside, "beside") if len(beside) else []
        if len(beside) not in (0, len(prompts)):
            raise ValueError(f"beside must be one prompt for each of {len(prompts)} clips. Got {len(beside)}.")
        frames = max(1, int(settings["seconds"] * self.frame_rate + 1e-6))
        keep = keep and not self.edits
        if keep:
            kept = self._kept(prompts, seeds, settings)
            if kept.exists():
                tokens = np.load(kept)
                return Clips(tokens, self.decode(tokens), self.sample_rate, self.frame_rate, prompts, seeds, settings)
        tokens = np.zeros((len(prompts), self.lm.n_q, frames), np.int64)
        steps = frames + max(getattr(self.lm.pattern_provider, "delays", [0]))
        third = [(p, self._length(p)) for p in beside]
        streams = (*STREAMS, "beside") if third else STREAMS
        size, lengths = batch_size or self._together(steps, len(streams)), [self._length(p) for p in prompts]
        batches = [list(range(k, min(k + size, len(prompts)))) for k in range(0, len(prompts), size)]
        with tqdm(total=len(batches) * steps, desc="generate", unit="step", disable=not progress, leave=False) as bar:

            def at(position):
                self.position = position
                bar.update()

            for batch in batches:
                with self._running(batch, streams, len(prompts)):
                    codes = generation.generate(
                        self.lm,
                        [prompts[i] for i in batch],
                        [lengths[i] for i in batch],
                        frames,
                        [seeds[i] for i in batch],
                        temperature=settings["temperature"],
                        top_k=int(settings["top_k"]),
                        cfg=settings["cfg"],
                        negative=(negative, self._length(negative)) if negative else None,
                        beside=[third[i] for i in batch] if third else (),
                        at=at,
                    )
                tokens[batch] = codes.cpu().numpy()
        if keep:
            kept.parent.mkdir(parents=True, exist_ok=True)
            new = kept.with_suffix(f".{os.getpid()}.tmp")  # another notebook may be keeping the same
            with new.open("wb") as file:
                np.save(file, tokens)
            os.replace(new, kept)
        audio = self.decode(tokens)
        return Clips(tokens, audio, self.sample_rate, self.frame_rate, prompts, seeds, settings)

    def _together(self, steps, streams):
        """How many clips are generated at once: their keys and values, for all streams, must fit."""
        weights = self.lm.emb[0].weight
        clip = 2 * streams * steps * self.lm.dim * len(self.lm.transformer.layers) * weights.element_size()
        return int(np.clip(CACHE_BYTES // clip, 1, 64))

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the weights: of some of each tensor, so that it is quick for large models."""
        crc = 0
        for name, value in sorted(self.lm.state_dict().items()):
            crc = zlib.crc32(name.encode() + value.flatten()[:64].float().cpu().numpy().tobytes(), crc)
        return f"{crc:08x}"

    def _kept(self, prompts, seeds, settings):
        """Where clips of these prompts, seeds and settings, by this sampler, are kept on disk."""
        key = hashlib.sha256(repr((self.fingerprint, _sampler(), prompts, seeds, sorted(settings.items()))).encode())
        return ARTIFACTS / "clips" / f"{key.hexdigest()[:20]}.npy"

    @torch.no_grad()
    def encode(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Audio [clip, sample] (or [sample]) at any rate -> tokens, int64 [clip, n_q, frame]."""
        audio = torch.as_tensor(np.asarray(audio), dtype=torch.float32)
        if audio.ndim not in (1, 2) or audio.numel() == 0:
            raise ValueError(f"audio must have shape (clip, sample) or (sample,). Got {tuple(audio.shape)}.")
        if not torch.isfinite(audio).all():
            raise ValueError("audio holds NaN or infinite samples: check how it was read or decoded.")
        sample_rate = int(_number("sample_rate", sample_rate, 0, 1e6))
        audio = audiocraft.data.audio_utils.convert_audio(
            torch.atleast_2d(audio)[:, None], sample_rate, self.sample_rate, self.codec.channels
        )
        codes = [self.codec.encode(part.to(self.device))[0].cpu() for part in audio.split(16)]
        return torch.cat(codes).numpy().astype(np.int64)

    @torch.no_grad()
    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens [clip, n_q, frame] -> audio, float32 [clip, sample]; stereo is mixed down."""
        tokens = torch.as_tensor(np.asarray(tokens))
        expected = f"an integer array of shape (clip, {self.lm.n_q}, frame) with values below {self.codec.cardinality}"
        if tokens.ndim != 3 or tokens.shape[1] != self.lm.n_q or tokens.is_floating_point() or 0 in tokens.shape:
            raise ValueError(f"tokens must be {expected}. Got {tokens.dtype} of shape {tuple(tokens.shape)}.")
        if tokens.min() < 0 or tokens.max() >= self.codec.cardinality:
            raise ValueError(f"tokens must be {expected}. Got values from {tokens.min()} to {tokens.max()}.")
        audio = [self.codec.decode(part.to(self.device).long(), None).mean(1).cpu() for part in tokens.split(16)]
        return torch.cat(audio).float().numpy()

    def clips(self, tokens: np.ndarray, prompts: list[str], decode: bool = True) -> Clips:
        """Clips of music that exists (from ``encode``), under prompts of one's choice.

        ``decode=False`` leaves their audio empty, shape (clip, 0): for so many that it would not fit in memory.
        """
        prompts, tokens = _check_prompts(prompts), np.asarray(tokens)
        if len(tokens) != len(prompts):
            raise ValueError(f"prompts must be one for each of {len(tokens)} clips. Got {len(prompts)}.")
        audio = self.decode(tokens) if decode else np.zeros((len(tokens), 0), np.float32)
        settings = {"seconds": tokens.shape[-1] / self.frame_rate}
        return Clips(tokens, audio, self.sample_rate, self.frame_rate, prompts, [0] * len(prompts), settings)

    def replay(self, tokens: np.ndarray, prompts: list[str], streams: tuple[str, ...] = ("cond",)) -> torch.Tensor:
        """One teacher-forced pass over tokens that exist, for prompts with equally many text tokens.

        Parameters
        ----------
        tokens : np.ndarray [shape=(clip, n_q, frame)]
        prompts : list of str
        streams : tuple of "cond" and "uncond"

        Returns
        -------
        torch.Tensor [shape=(stream * clip, n_q, position, card)]
            Logits; position p predicts codebook k of frame p - delay[k]. Gradients flow unless torch.no_grad() is on.
        """
        attributes = [ConditioningAttributes(text={"description": p or None}) for p in prompts]
        null = [ConditioningAttributes(text={"description": None}) for _ in prompts]
        conditions = [a for s in streams for a in (attributes if s == "cond" else null)]
        codes = torch.as_tensor(np.asarray(tokens), dtype=torch.long, device=self.device)
        pattern = self.lm.pattern_provider.get_pattern(codes.shape[-1])
        sequence, _, _ = pattern.build_pattern_sequence(codes, self.lm.special_token_id)
        sequence = sequence[..., :-1].repeat(len(streams), 1, 1)
        with self._running(range(len(prompts)), streams, len(prompts)):
            provider = self.lm.condition_provider
            return self.lm(sequence, [], provider(provider.tokenize(conditions)))

    @torch.no_grad()
    def predictions(self, clips: Clips, stream: str = "cond", batch_size: int = 16):
        """Log-probabilities of every token in teacher-forced passes: yields (numbers of clips, [clip, n_q, frame, card])."""
        frames, delays = clips.tokens.shape[-1], self.lm.pattern_provider.delays
        for batch in self.batches(clips.prompts, batch_size):
            with self.numbered(batch, len(clips)):
                logits = self.replay(clips.tokens[batch], [clips.prompts[i] for i in batch], (stream,))
            aligned = torch.stack([logits[:, k, d : d + frames] for k, d in enumerate(delays)], 1)
            yield batch, aligned.float().log_softmax(-1)

    def cross_entropy(self, clips: Clips, stream: str = "cond", batch_size: int = 16) -> np.ndarray:
        """Nats a token that a teacher-forced pass over each clip costs, float64 [clip]: frames and codebooks averaged."""
        losses = np.zeros(len(clips))
        for batch, log_p in self.predictions(clips, stream, batch_size):
            codes = torch.as_tensor(clips.tokens[batch], device=log_p.device)
            losses[batch] = -log_p.gather(-1, codes[..., None]).mean((1, 2, 3)).cpu().numpy()
        return losses

    def batches(self, prompts: list[str], size: int) -> list[list[int]]:
        """Indices of prompts with equally many text tokens, at most ``size`` together."""
        groups = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(self._length(prompt), []).append(i)
        return [group[k : k + size] for group in groups.values() for k in range(0, len(group), size)]

    @contextmanager
    def numbered(self, clips: list[int], total: int):
        """Tell edits which clips of a larger set of ``total`` the calls inside are about."""
        before, self._numbering = self._numbering, (list(clips), total)
        try:
            yield
        finally:
            self._numbering = before

    @contextmanager
    def _running(self, clips, streams, total):
        if self._numbering is not None:
            clips, total = [self._numbering[0][i] for i in clips], self._numbering[1]
        self.rows, self.position = Rows(list(clips), tuple(streams), total), 0
        try:
            yield
        finally:
            self.rows = None

    def _length(self, prompt):
        """Number of text tokens of a prompt."""
        conditioner = self.lm.condition_provider.conditioners["description"]
        return int(conditioner.tokenize([prompt])["input_ids"].shape[1])


def load(name: str, device: str | None = None) -> Model:
    """Load a model.

    Parameters
    ----------
    name : str
        An organism ("organism", "organism-decoupled", "organism-shuffled"), a released model
        ("facebook/musicgen-small", ...), or a folder in audiocraft's checkpoint format. A folder may also hold what
        its checkpoint refers to (``t5-base/``, ``facebook/encodec_32khz/``, as Hugging Face folders); what it does
        not hold is fetched from the hub.
    device : str, optional
        "cpu", "cuda", "mps"; by default the best there is.

    Raises
    ------
    ModelError
        Unknown name, missing file, damaged or unsafe checkpoint, unsupported conditioning, no connection.
    MemoryError
        The weights would not fit: said before anything is fetched or read.
    """
    device = _check_device(device)
    if name in world.WORLDS:
        config = json.loads((network.WEIGHTS / name / "config.json").read_text())
        lm, codec = network.load_lm(network.WEIGHTS / name, device), network.load_codec(device=device)
        return Model(name, lm, codec, device, config["dataset"]["segment_duration"], config.get("generation", DEFAULTS))
    if isinstance(name, str | os.PathLike) and Path(name).is_dir():
        return _load_released(str(name), {file: _in_folder(Path(name), file) for file in FILES}, device)
    if name in RELEASED:
        shape = sizing.SHAPES[name]
        sizing.check(name, sizing.weights(shape, device), device, sizing.reading(shape))
        return _load_released(name, {file: _from_hub(name, file) for file in FILES}, device)
    if str(name).startswith("facebook/musicgen-") and any(kind in str(name) for kind in ("melody", "style")):
        raise ModelError(f"{name} cannot be read. {PREFIXED}")
    raise ModelError(
        f"Unknown model {name!r}. Expected one of {sorted(world.WORLDS)}, one of {list(RELEASED)}, or a folder that "
        f"holds {' and '.join(FILES)}."
    )


# ------------------------------------------------------------------------------------- the released format
def _load_released(name, files, device):
    """audiocraft's own loading, except that files run no code and references may be resolved beside them."""
    beside = Path(name) if Path(name).is_dir() else None
    weights = sum(map(sizing.numbers, files.values())) * sizing.BYTES[sizing.dtype(device)]
    sizing.check(name, weights, device, sum(Path(file).stat().st_size for file in files.values()))
    state = _read(files["state_dict.bin"], ("best_state", "xp.cfg"))
    compression = _read(files["compression_state_dict.bin"], ())
    cfg = OmegaConf.create(state["xp.cfg"])
    cfg.device, cfg.dtype = device, sizing.dtype(device)
    for key in ("cache_path", "merge_text_conditions_p", "drop_desc_p"):  # training options audiocraft drops as well
        for part in (cfg.conditioners.get("args"), cfg.conditioners):
            if part is not None and key in part:
                OmegaConf.set_struct(part, False)
                del part[key]
    unsupported = [k for k, v in cfg.conditioners.items() if k != "args" and v.model != "t5"]
    if unsupported:
        raise ModelError(f"{name} is conditioned on {unsupported}, not on text alone. {PREFIXED}")
    for conditioner in (v for k, v in cfg.conditioners.items() if k != "args"):
        conditioner.t5.name = _register_t5(conditioner.t5.name, beside)
    try:
        lm = builders.get_lm_model(cfg)
        lm.load_state_dict(state["best_state"])
    except OSError as error:
        raise ModelError(_offline(conditioner.t5.name)) from error
    except (RuntimeError, KeyError, AttributeError) as error:
        raise ModelError(f"{files['state_dict.bin']} does not fit its own configuration: {error}") from error
    lm.cfg = cfg
    try:
        generation.check(lm)
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from error
    codec = _compression(compression, files["compression_state_dict.bin"], beside, device)
    codec = builders.get_wrapped_compression_model(codec, cfg)
    return Model(name, lm, codec.to(device), device, cfg.dataset.segment_duration)


def _compression(package, file, beside, device):
    if "pretrained" not in package:
        if not {"xp.cfg", "best_state"} <= set(package):
            raise ModelError(f"{file} must hold 'pretrained' or 'xp.cfg' and 'best_state'. Got {sorted(package)[:5]}.")
        cfg = OmegaConf.create(package["xp.cfg"])
        cfg.device = device
        codec = builders.get_compression_model(cfg)
        codec.load_state_dict(package["best_state"])
        return codec
    reference = package["pretrained"]
    local = _local(reference, beside)
    try:
        return audiocraft.models.encodec.HFEncodecCompressionModel(
            audiocraft.models.encodec.HFEncodecModel.from_pretrained(local or reference)
        )
    except OSError as error:
        raise ModelError(_offline(reference)) from error


def _register_t5(name, beside):
    """Make audiocraft's T5 conditioner accept a local T5 folder: its list of names is its registry."""
    local = _local(name, beside)
    if local is None:
        return name
    try:
        width = json.loads((Path(local) / "config.json").read_text())["d_model"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{local} is not a T5 folder: config.json with 'd_model' expected ({error}).") from error
    T5Conditioner.MODELS = [*T5Conditioner.MODELS, local]
    T5Conditioner.MODELS_DIMS = {**T5Conditioner.MODELS_DIMS, local: width}
    return local


def _local(reference, beside):
    """The folder beside the checkpoint that holds what it refers to, by full or last name; None if there is none."""
    if beside is None:
        return None
    found = [beside / part for part in (reference, reference.split("/")[-1]) if (beside / part).is_dir()]
    return str(found[0]) if found else None


def _in_folder(folder, file):
    if not (folder / file).is_file():
        raise ModelError(
            f"{folder} lacks {file}. A folder in audiocraft's checkpoint format holds {' and '.join(FILES)} "
            "(audiocraft.utils.export writes both)."
        )
    return folder / file


def _from_hub(name, file):
    try:
        return Path(huggingface_hub.hf_hub_download(name, file))
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise ModelError(_offline(f"{name}/{file}")) from error


def _offline(what):
    return (
        f"{what} could not be fetched from the Hugging Face hub and is not in its cache. Connect to the internet once, "
        "or pass a local folder that holds it; model='organism' needs no download."
    )


def _read(file, keys):
    """A checkpoint's content, read without running code from the file."""
    try:
        package = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged and for unsafe files
        raise ModelError(
            f"{file} is damaged, or holds more than weights (it could run code, so it is not loaded). Download it "
            f"again, or export it with audiocraft.utils.export. First cause: {(str(error) or repr(error)).splitlines()[0][:200]}"
        ) from error
    if not isinstance(package, dict) or any(key not in package for key in keys):
        raise ModelError(f"{file} must hold a dictionary with {list(keys)}, as audiocraft.utils.export writes it.")
    if isinstance(package.get("xp.cfg"), str):
        try:
            yaml.safe_load(package["xp.cfg"])
        except yaml.YAMLError as error:
            raise ModelError(f"{file} holds a configuration that is not YAML: {error}") from error
    return package


# ------------------------------------------------------------------------------------------------- details
def _check_prompts(prompts, name="prompts"):
    if isinstance(prompts, str) or not hasattr(prompts, "__iter__"):
        raise TypeError(f"{name} must be a list of strings. Got {prompts!r}; write [{prompts!r}] for one clip.")
    prompts = list(prompts)
    if not prompts:
        raise ValueError("prompts is empty: give at least one prompt (an empty string is an unconditional clip).")
    for i, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise TypeError(f"{name}[{i}] must be a string. Got {type(prompt).__name__} {prompt!r}.")
    return [str(p) for p in prompts]


def _check_seeds(seed, prompts):
    if isinstance(seed, Integral) and not isinstance(seed, bool):
        seeds = [int(seed) + i for i in range(len(prompts))]
    elif hasattr(seed, "__len__") and all(isinstance(s, Integral) and not isinstance(s, bool) for s in seed):
        seeds = [int(s) for s in seed]
    else:
        raise TypeError(f"seed must be an integer or one integer a prompt. Got {seed!r}.")
    if len(seeds) != len(prompts) or min(seeds) < 0:
        raise ValueError(f"seed must give one number >= 0 for each of {len(prompts)} prompts. Got {seed!r}.")
    return seeds


def _number(name, value, low, high, limit="", include_low=False):
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(value):
        raise TypeError(f"{name} must be a number. Got {value!r}.")
    if value > high or value < low or (value == low and not include_low):
        bracket = "[" if include_low else "("
        raise ValueError(
            f"{name} must be in {bracket}{low:g}, {high:g}]{', ' + limit if limit else ''}. Got {value!r}."
        )
    return value


def _check_device(device):
    if device is None:
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    known = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = str(device).partition(":")[0]
    if not known.get(kind, False):
        there = [k for k, available in known.items() if available]
        raise ModelError(f"device must be one of {there} on this machine, or None for the best. Got {device!r}.")
    return str(device)
