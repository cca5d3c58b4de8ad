"""The shipped small models: their networks, and the files that hold them.

Released MusicGens have billions of parameters and no known truth inside. The book therefore ships
its own (*organisms*, see the room ``organism``), which are the same thing in small: audiocraft's
own language model, conditioners, delay pattern and residual vector quantizer, built by audiocraft's
own builders from a configuration with the keys of a released checkpoint. Only three parts are made
here, because a laptop cannot train the released ones:

- the **codec** (:func:`build_codec`): audiocraft's ``EncodecModel`` with an encoder and a decoder
  that work on short-time spectra. Encoder: STFT -> ConvNeXt blocks at 50 Hz -> strided
  convolution -> ConvNeXt blocks at 25 Hz -> latent. Decoder: the mirror image, ending in an
  inverse-STFT head that predicts log-magnitude and phase (Vocos: Siuzdak 2023, arXiv:2306.00814).
  Between them audiocraft's residual vector quantizer (SoundStream: Zeghidour et al. 2021,
  arXiv:2107.03312). A network on raw waveforms of the same cost learned nothing in the time a
  laptop has.
- the **text encoder** (:func:`load_text`): a T5 of three layers with a tokenizer in which a word
  of the captions is one token (:func:`make_text_encoder`).
- the **language model** (:func:`build_lm`): 6 blocks of width 160.

One folder holds one organism: ``config.json``, ``model.safetensors`` (half precision, the T5
inside it) and ``text/`` (tokenizer and T5 configuration in the Hugging Face format). The codec,
common to all, has a folder too. :func:`load_lm` and :func:`load_codec` read them; how they are
trained is the business of the room ``factory``.
"""

import json
from pathlib import Path

import safetensors.torch
import torch
import transformers
from omegaconf import OmegaConf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn import functional as F

from .compat import audiocraft

EncodecModel = audiocraft.models.encodec.EncodecModel
LMModel = audiocraft.models.lm.LMModel
T5Conditioner = audiocraft.modules.conditioners.T5Conditioner

#: Where the weights of the shipped models lie: one folder each, and ``codec``.
WEIGHTS = Path(__file__).parents[1] / "organism" / "weights"
TEXT_WIDTH = 128

CODEC_CONFIG = {
    "sample_rate": 16_000,
    "hop": 320,  # samples; spectra at 50 Hz, tokens at half of it
    "n_fft": 1280,
    "width": 256,
    "encoder_blocks": (3, 2),  # at 50 Hz, at 25 Hz
    "decoder_blocks": (2, 6),  # at 25 Hz, at 50 Hz
    "dimension": 64,
    "n_q": 4,
    "bins": 1024,
}
#: What all MusicGens have in common that read their text by cross-attention, under the keys of the
#: released checkpoints' ``xp.cfg``.
COMMON = {
    "lm_model": "transformer_lm",
    "codebooks_pattern": {
        "modeling": "delay",
        "delay": {"delays": [0, 1, 2, 3], "flatten_first": 0, "empty_initial": 0},
    },
    "transformer_lm": {
        "hidden_scale": 4,
        "dropout": 0.0,
        "activation": "gelu",
        "norm_first": True,
        "bias_ff": False,
        "bias_attn": False,
        "bias_proj": False,
        "causal": True,
        "custom": False,
        "memory_efficient": True,
        "attention_as_float32": False,
        "positional_embedding": "sin",
        "norm": "layer_norm",
    },
    "fuser": {
        "cross_attention_pos_emb": False,
        "cross_attention_pos_emb_scale": 1,
        "sum": [],
        "prepend": [],
        "cross": ["description"],
        "input_interpolate": [],
    },
    "conditioners": {"args": {}, "description": {"model": "t5"}},
}
#: Of an organism; text name, device and dtype are set on building.
LM_CONFIG = {
    **COMMON,
    "sample_rate": CODEC_CONFIG["sample_rate"],
    "channels": 1,
    "transformer_lm": {
        **COMMON["transformer_lm"],
        "dim": 160,
        "num_heads": 5,
        "num_layers": 6,
        "n_q": CODEC_CONFIG["n_q"],
        "card": CODEC_CONFIG["bins"],
        "weight_init": "gaussian",
        "depthwise_init": "current",
        "zero_bias_init": True,
    },
    "classifier_free_guidance": {"training_dropout": 0.15, "inference_coef": 2.0},
    "attribute_dropout": {"text": {"description": 0.0}},
    "conditioners": {
        "args": {},
        "description": {
            "model": "t5",
            "t5": {"finetune": True, "word_dropout": 0.0, "normalize_text": False},
        },
    },
    "dataset": {"segment_duration": 6.0},
    # chosen on other seeds than those of the evaluation: with more guidance the songs exaggerate
    # what their words say, with less they do not answer to all of it
    "generation": {"temperature": 0.9, "top_k": 250, "cfg": 2.0},
}


# -------------------------------------------------------------------------------------------- codec
class Block(nn.Module):
    """ConvNeXt block over time (Liu et al. 2022), [batch, width, frame] -> the same."""

    def __init__(self, width: int, expansion: int = 3):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.narrow(F.gelu(self.wide(y))) * self.scale
        return x + y.transpose(1, 2)


class SpectralEncoder(nn.Module):
    """Audio [batch, 1, sample] -> latent [batch, dimension, frame], one frame each 2 hops."""

    def __init__(self, config: dict):
        super().__init__()
        width = config["width"]
        fine, coarse = config["encoder_blocks"]
        self.n_fft = config["n_fft"]
        self.hop = config["hop"]
        self.hop_length = 2 * self.hop
        self.dimension = config["dimension"]
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.enter = nn.Conv1d(self.n_fft + 2, width, 3, padding=1)
        self.fine = nn.Sequential(*[Block(width) for _ in range(fine)])
        self.down = nn.Conv1d(width, width, 4, stride=2, padding=1)
        self.coarse = nn.Sequential(*[Block(width) for _ in range(coarse)])
        self.leave = nn.Conv1d(width, self.dimension, 3, padding=1)

    def forward(self, audio):
        audio = F.pad(audio[:, 0], (0, -audio.shape[-1] % self.hop_length))
        margin = (self.n_fft - self.hop) // 2
        spectrum = torch.stft(
            F.pad(audio, (margin, margin)),
            self.n_fft,
            self.hop,
            window=self.window,
            center=False,
            return_complex=True,
        )
        magnitude = spectrum.abs().clamp_min(1e-5)
        spectrum = spectrum * magnitude**-0.7  # power-law compression keeps soft partials visible
        x = torch.cat([spectrum.real, spectrum.imag], 1)
        return self.leave(self.coarse(self.down(self.fine(self.enter(x)))))


class SpectralDecoder(nn.Module):
    """Latent [batch, dimension, frame] -> audio [batch, 1, frame * 2 hops]."""

    def __init__(self, config: dict):
        super().__init__()
        width = config["width"]
        coarse, fine = config["decoder_blocks"]
        self.n_fft = config["n_fft"]
        self.hop = config["hop"]
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.enter = nn.Conv1d(config["dimension"], width, 3, padding=1)
        self.coarse = nn.Sequential(*[Block(width) for _ in range(coarse)])
        self.up = nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)
        self.fine = nn.Sequential(*[Block(width) for _ in range(fine)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, self.n_fft + 2)

    def forward(self, latent):
        log_magnitude, phase = self.polar(latent)
        spectrum = torch.polar(torch.exp(log_magnitude), phase)
        return self._istft(spectrum)[:, None]

    def polar(self, latent):
        """Logarithm of the magnitude, and phase, of the spectrum: each [batch, bin, frame at 50 Hz]."""
        x = self.fine(self.up(self.coarse(self.enter(latent))))
        # a phase needs more digits than bfloat16 has
        with torch.autocast(x.device.type, enabled=False):
            head = self.head(self.norm(x.float().transpose(1, 2)))
        log_magnitude, phase = head.transpose(1, 2).chunk(2, 1)
        return log_magnitude.clamp(max=7.0), phase

    def _istft(self, spectrum):
        """Inverse STFT with "same" padding: exactly one hop a frame, unlike ``torch.istft``."""
        n_frames = spectrum.shape[-1]
        size = (n_frames - 1) * self.hop + self.n_fft
        margin = (self.n_fft - self.hop) // 2
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1) * self.window[:, None]
        weights = self.window.square()[None, :, None].expand(1, -1, n_frames)
        audio = self._overlap_add(frames, size) / self._overlap_add(weights, size).clamp_min(1e-6)
        return audio[:, margin : size - margin]

    def _overlap_add(self, frames, size):
        """Frames [batch, n_fft, frame] added up one hop apart, [batch, size]."""
        added = F.fold(
            frames, output_size=(1, size), kernel_size=(1, self.n_fft), stride=(1, self.hop)
        )
        return added[:, 0, 0]


def build_codec(config: dict = CODEC_CONFIG) -> EncodecModel:
    """An untrained codec: an audiocraft ``EncodecModel`` like MusicGen's, with spectral networks.

    Parameters
    ----------
    config : dict
        With the keys of :data:`CODEC_CONFIG`.
    """
    quantizer = audiocraft.quantization.ResidualVectorQuantizer(
        dimension=config["dimension"],
        n_q=config["n_q"],
        bins=config["bins"],
        kmeans_init=False,
        threshold_ema_dead_code=0.03,
    )
    return EncodecModel(
        SpectralEncoder(config),
        SpectralDecoder(config),
        quantizer,
        frame_rate=config["sample_rate"] // (2 * config["hop"]),
        sample_rate=config["sample_rate"],
        channels=1,
    )


# ------------------------------------------------------------------------------------- text encoder
def make_text_encoder(captions: list[str], folder: Path) -> None:
    """Make a tokenizer of the captions' words and a T5 configuration, as a Hugging Face folder.

    A word of the captions is one token; a word never seen is spelt in letters. T5's special tokens
    and its final ``</s>`` are kept.

    Parameters
    ----------
    captions : list of str
    folder : Path
        Made if it does not exist.
    """
    tokenizer = _word_tokenizer(captions)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=64,
    )
    config = transformers.T5Config(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=TEXT_WIDTH,
        d_kv=32,
        d_ff=256,
        num_layers=3,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
    )
    fast.save_pretrained(folder)
    config.save_pretrained(folder)


def _word_tokenizer(captions):
    normalizer = normalizers.Lowercase()
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(",", "isolated")]
    )
    words = set()
    for caption in captions:
        pieces = splitter.pre_tokenize_str(normalizer.normalize_str(caption))
        words.update(word for word, _ in pieces)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-'.,!?"
    spelling = [*letters, *(f"##{letter}" for letter in letters)]
    vocabulary = dict.fromkeys(["<pad>", "</s>", "<unk>", *spelling, *sorted(words)])
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="<unk>"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return tokenizer


class Text(T5Conditioner):
    """audiocraft's T5 conditioner around a text encoder and a tokenizer that are there already.

    audiocraft's own constructor takes only the names of released T5s and fetches their weights.

    Parameters
    ----------
    t5 : transformers.T5EncoderModel
    tokenizer : transformers.PreTrainedTokenizerBase
    output_dim : int
        Width of the language model.
    device : str
    finetune : bool
        Whether the text encoder learns: then its weights are part of the language model's.
    word_dropout : float
    """

    def __init__(
        self,
        t5,
        tokenizer,
        output_dim: int,
        device: str,
        finetune: bool = False,
        word_dropout: float = 0.0,
    ):
        super(T5Conditioner, self).__init__(t5.config.d_model, output_dim)
        self.name = t5.config.name_or_path
        self.device = device
        self.finetune = finetune
        self.word_dropout = word_dropout
        self.normalize_text = False
        self.autocast = audiocraft.utils.autocast.TorchAutocast(enabled=False)
        self.t5_tokenizer = tokenizer
        if finetune:
            self.t5 = t5
        else:  # as in audiocraft: what does not learn is not part of the state
            self.__dict__["t5"] = t5.to(device).eval()


def load_text(folder: Path, output_dim: int, device: str, **training) -> Text:
    """An untrained text encoder, whose weights come with those of the language model.

    Parameters
    ----------
    folder : Path
        Written by :func:`make_text_encoder`.
    output_dim, device, **training
        As for :class:`Text`.
    """
    t5 = transformers.T5EncoderModel(transformers.T5Config.from_pretrained(folder))
    # T5's own scale of 1 suits Adafactor's relative steps; for AdamW's absolute ones words would
    # hardly move
    t5.shared.weight.data.mul_(0.05)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    return Text(t5, tokenizer, output_dim, device, **training)


# ----------------------------------------------------------------------------------- language model
def build_lm(text: Path, device: str = "cpu", config: dict = LM_CONFIG) -> LMModel:
    """An untrained language model with its text encoder, made by audiocraft's builders.

    Parameters
    ----------
    text : Path
        Folder written by :func:`make_text_encoder`.
    device : str
    config : dict
        With the keys of :data:`LM_CONFIG`.

    Returns
    -------
    LMModel
        Its configuration is ``lm.cfg``.
    """
    cfg = OmegaConf.create({**config, "device": device, "dtype": "float32"})
    t5 = cfg.conditioners.description.t5
    lm = without_text(cfg)
    lm.condition_provider.conditioners["description"] = load_text(
        text, cfg.transformer_lm.dim, device, finetune=t5.finetune, word_dropout=t5.word_dropout
    )
    return lm.to(device)


def without_text(cfg) -> LMModel:
    """A language model by audiocraft's builders, whose text encoder is yet to be put in its place.

    Parameters
    ----------
    cfg : DictConfig
        With the keys of :data:`LM_CONFIG`, device and dtype; it becomes ``lm.cfg``.
    """
    for name in ("description", "self_wav"):  # the builders would fetch them, and Demucs
        cfg.conditioners.pop(name, None)
    lm = audiocraft.models.builders.get_lm_model(cfg)
    lm.cfg = cfg
    return lm


# -------------------------------------------------------------------------------------------- files
def save(model: nn.Module, folder: Path, config: dict) -> None:
    """Write ``model.safetensors`` (half precision) and ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    for name, value in model.state_dict().items():
        if not _is_tied(name):
            state[name] = value.half().contiguous() if value.is_floating_point() else value
    safetensors.torch.save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def load_codec(folder: Path = WEIGHTS / "codec", device: str = "cpu") -> EncodecModel:
    """The organisms' codec, ready to encode and decode.

    Raises
    ------
    ValueError
        If a file of the folder is missing or damaged, or does not fit the others.
    """
    codec = build_codec(_read_config(folder))
    _load_state(codec, folder / "model.safetensors")
    return codec.to(device).eval()


def load_lm(folder: Path, device: str = "cpu") -> LMModel:
    """An organism's language model, with its text encoder inside.

    Raises
    ------
    ValueError
        If a file of the folder is missing or damaged, or does not fit the others.
    """
    config = _read_config(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        _require(folder / "text" / name)
    lm = build_lm(folder / "text", device, config)
    _load_state(lm, folder / "model.safetensors")
    return lm.eval()


def _require(file):
    if not file.is_file():
        raise ValueError(
            f"{file} is missing. The folder of a shipped model holds config.json and "
            "model.safetensors, that of an organism also text/ (tokenizer and T5 configuration): "
            "take the folder from the repository again."
        )


def _read_config(folder):
    file = folder / "config.json"
    _require(file)
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} must be JSON, as miniature.save writes it: {error}") from error


def _is_tied(name):
    """T5 holds its embedding table twice, under two names: one is enough on disk."""
    return name.endswith("t5.encoder.embed_tokens.weight")


def _load_state(model, file):
    """Fill a model with the weights of a file, in single precision."""
    _require(file)
    try:
        saved = safetensors.torch.load_file(file)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}. Take it from its source again.") from error
    state = {k: v.float() if v.is_floating_point() else v for k, v in saved.items()}
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # another size
        raise ValueError(f"{file} does not fit its config.json: {error}") from error
    missing = [name for name in missing if not _is_tied(name)]
    if missing or unexpected:
        raise ValueError(
            f"{file} does not fit its config.json: missing {missing[:3]}, "
            f"unexpected {unexpected[:3]}."
        )
