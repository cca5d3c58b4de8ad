"""The organisms' text encoder and language model, and their files.

Everything is built by audiocraft's own builders from a configuration with the keys of a released MusicGen, only
smaller. A folder holds one organism: ``config.json``, ``model.safetensors`` (half precision, the T5 inside it) and
``text/`` (tokenizer and T5 configuration in the Hugging Face format). The codec, common to all, has a folder too.
"""

import json
from pathlib import Path

import safetensors.torch
import torch
import transformers
from omegaconf import OmegaConf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from lib.compat import audiocraft
from lib.organism import codec

T5Conditioner = audiocraft.modules.conditioners.T5Conditioner
LMModel = audiocraft.models.lm.LMModel

WEIGHTS = Path(__file__).parent / "weights"
TEXT_WIDTH = 128
#: The keys are those of the released MusicGen checkpoints' ``xp.cfg``; text name, device and dtype are set on building.
LM_CONFIG = {
    "lm_model": "transformer_lm",
    "sample_rate": codec.CONFIG["sample_rate"],
    "channels": 1,
    "codebooks_pattern": {
        "modeling": "delay",
        "delay": {"delays": [0, 1, 2, 3], "flatten_first": 0, "empty_initial": 0},
    },
    "transformer_lm": {
        "dim": 192,
        "num_heads": 6,
        "num_layers": 8,
        "hidden_scale": 4,
        "n_q": codec.CONFIG["n_q"],
        "card": codec.CONFIG["bins"],
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
        "weight_init": "gaussian",
        "depthwise_init": "current",
        "zero_bias_init": True,
        "norm": "layer_norm",
    },
    "classifier_free_guidance": {"training_dropout": 0.15, "inference_coef": 3.0},
    "attribute_dropout": {"text": {"description": 0.0}},
    "fuser": {
        "cross_attention_pos_emb": False,
        "cross_attention_pos_emb_scale": 1,
        "sum": [],
        "prepend": [],
        "cross": ["description"],
        "input_interpolate": [],
    },
    "conditioners": {
        "args": {},
        "description": {"model": "t5", "t5": {"finetune": True, "word_dropout": 0.0, "normalize_text": False}},
    },
    "dataset": {"segment_duration": 6.0},
    # chosen on other seeds than those of the evaluation: colder than audiocraft's 1.0 keeps the mode clear
    "generation": {"temperature": 0.65, "top_k": 250, "cfg": 4.0},
}


def make_text_encoder(captions: list[str], folder: Path) -> None:
    """Make a tokenizer of the captions' words and write it with a T5 configuration as a Hugging Face folder.

    A word of the captions is one token; a word never seen is spelt in letters. T5's special tokens and its final ``</s>`` are kept.
    """
    normalizer = normalizers.Lowercase()
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(",", "isolated")])
    seen = sorted({word for c in captions for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(c))})
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-'.,!?"
    spelling = [*letters, *(f"##{letter}" for letter in letters)]
    vocabulary = dict.fromkeys(["<pad>", "</s>", "<unk>", *spelling, *seen])
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
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


class OrganismT5(T5Conditioner):
    """audiocraft's T5 conditioner on a folder that holds tokenizer and configuration; the weights come with the LM's."""

    def __init__(self, folder: Path, output_dim: int, device: str, finetune: bool = True, word_dropout: float = 0.0):
        super(T5Conditioner, self).__init__(TEXT_WIDTH, output_dim)
        self.name, self.device, self.finetune, self.word_dropout = "organism-t5", device, finetune, word_dropout
        self.normalize_text = False
        self.autocast = audiocraft.utils.autocast.TorchAutocast(enabled=False)
        self.t5_tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        self.t5 = transformers.T5EncoderModel(transformers.T5Config.from_pretrained(folder))
        # T5's own scale of 1 suits Adafactor's relative steps; for AdamW's absolute ones words would hardly move
        self.t5.shared.weight.data.mul_(0.05)


def build_lm(text: Path, device: str = "cpu", config: dict = LM_CONFIG) -> LMModel:
    """An untrained language model with its text encoder, made by audiocraft's builders.

    Parameters
    ----------
    text : Path
        Folder written by :func:`make_text_encoder`.
    """
    cfg = OmegaConf.create({**config, "device": device, "dtype": "float32"})
    t5 = cfg.conditioners.pop("description").t5
    lm = audiocraft.models.builders.get_lm_model(cfg)
    lm.condition_provider.conditioners["description"] = OrganismT5(
        text, cfg.transformer_lm.dim, device, t5.finetune, t5.word_dropout
    )
    lm.cfg = cfg
    return lm.to(device)


def save(model: torch.nn.Module, folder: Path, config: dict) -> None:
    """Write weights (half precision) and configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    safetensors.torch.save_file(_without_ties(state), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def load_codec(folder: Path = WEIGHTS / "codec", device: str = "cpu"):
    """The organisms' codec, ready to encode and decode."""
    config = json.loads((folder / "config.json").read_text())
    model = codec.build(config)
    _load(model, folder / "model.safetensors")
    return model.to(device).eval()


def load_lm(folder: Path, device: str = "cpu") -> LMModel:
    """An organism's language model."""
    config = json.loads((folder / "config.json").read_text())
    lm = build_lm(folder / "text", device, config)
    _load(lm, folder / "model.safetensors")
    return lm.eval()


def _without_ties(state):
    # T5 holds its embedding table twice, under two names: one is enough on disk
    return {k: v for k, v in state.items() if not k.endswith("t5.encoder.embed_tokens.weight")}


def _load(model, file):
    state = {k: v.float() if v.is_floating_point() else v for k, v in safetensors.torch.load_file(file).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [k for k in missing if not k.endswith("t5.encoder.embed_tokens.weight")]
    if missing or unexpected:
        raise ValueError(f"{file} does not fit its config.json: missing {missing[:3]}, unexpected {unexpected[:3]}.")
