"""A miniature of ``facebook/musicgen-small`` on disk, or its full shape: the same files, the same
keys, random weights.

The keys are those of audiocraft's ``musicgen_base_32khz`` solver with the ``musicgen_lm`` model and
``text2music`` conditioner (for melody models ``chroma2music``), which is what the released
``xp.cfg`` was made from. T5 and EnCodec lie
beside the checkpoints as Hugging Face folders, under the names that the checkpoints refer to.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import peft
import safetensors.torch
import torch
import transformers
from omegaconf import OmegaConf

from lib.musicgen.compat import audiocraft

CONFIG = """
solver: musicgen
sample_rate: 32000
channels: 1
compression_model_checkpoint: //pretrained/facebook/encodec_32khz
autocast: true
autocast_dtype: float16
tokens: {padding_with_special_token: false}
cache: {path: null, write: false, write_shard: 0, write_num_shards: 1}
lm_model: transformer_lm
codebooks_pattern:
  modeling: delay
  delay: {delays: [0, 1, 2, 3], flatten_first: 0, empty_initial: 0}
  unroll: {flattening: [0, 1, 2, 3], delays: [0, 0, 0, 0]}
  music_lm: {group_by: 2}
  coarse_first: {delays: [0, 0, 0]}
transformer_lm:
  dim: 32
  num_heads: 4
  num_layers: 3
  hidden_scale: 4
  n_q: 4
  card: 2048
  dropout: 0.0
  emb_lr: null
  activation: gelu
  norm_first: true
  bias_ff: false
  bias_attn: false
  bias_proj: false
  past_context: null
  causal: true
  custom: false
  memory_efficient: true
  attention_as_float32: false
  layer_scale: null
  positional_embedding: sin
  xpos: false
  checkpointing: none
  weight_init: gaussian
  depthwise_init: current
  zero_bias_init: true
  norm: layer_norm
  cross_attention: false
  qk_layer_norm: false
  qk_layer_norm_cross: false
  attention_dropout: null
  kv_repeat: 1
  two_step_cfg: false
classifier_free_guidance: {training_dropout: 0.3, inference_coef: 3.0}
attribute_dropout: {}
fuser:
  cross_attention_pos_emb: false
  cross_attention_pos_emb_scale: 1
  sum: []
  prepend: []
  cross: [description]
  input_interpolate: []
conditioners:
  args: {merge_text_conditions_p: 0.25, drop_desc_p: 0.5}
  description:
    model: t5
    t5: {name: t5-base, finetune: false, word_dropout: 0.3, normalize_text: false}
dataset: {batch_size: 192, num_workers: 10, segment_duration: 30, min_segment_ratio: 0.8, return_info: true}
generate: {lm: {use_sampling: true, top_k: 250, top_p: 0.0}}
optim: {epochs: 500, optimizer: dadam, lr: 1}
device: cuda
dtype: float16
"""


#: What audiocraft's ``chroma2music`` conditioner has instead.
MELODY = """
fuser: {cross: [], prepend: [self_wav, description]}
conditioners:
  self_wav:
    model: chroma_stem
    chroma_stem:
      sample_rate: ${sample_rate}
      n_chroma: 12
      radix2_exp: 14
      argmax: true
      match_len_on_eval: false
      eval_wavs: null
      n_eval_wavs: 100
      cache_path: null
"""


def write(
    folder: Path, blocks: int = 3, dim: int = 32, heads: int = 4, melody: bool = False
) -> Path:
    """Make the folder and return it; ``melody`` makes a model that follows one.

    Text encoder and codec are miniatures whatever the language model's shape.
    """
    _t5(folder / "t5-base")
    _encodec(folder / "facebook" / "encodec_32khz")
    cfg, small = OmegaConf.create(CONFIG), OmegaConf.create(CONFIG)
    if melody:
        cfg, small = (OmegaConf.merge(each, OmegaConf.create(MELODY)) for each in (cfg, small))
        del small.conditioners["self_wav"]  # Demucs would be fetched
    for each in (cfg, small):
        each.transformer_lm.update({"dim": dim, "num_heads": heads, "num_layers": blocks})
    small.device, small.dtype = "cpu", "float32"
    small.conditioners.description.t5.name = str(folder / "t5-base")
    conditioner = audiocraft.modules.conditioners.T5Conditioner
    before = conditioner.MODELS, conditioner.MODELS_DIMS
    conditioner.MODELS = [*before[0], str(folder / "t5-base")]
    conditioner.MODELS_DIMS = {**before[1], str(folder / "t5-base"): 24}
    del small.conditioners["args"]
    torch.manual_seed(0)
    lm = audiocraft.models.builders.get_lm_model(small)
    conditioner.MODELS, conditioner.MODELS_DIMS = before
    if melody:  # as audiocraft's conditioner saves itself: a projection and a window
        conditioner = torch.nn.Module()
        conditioner.output_proj = torch.nn.Linear(12, dim)
        conditioner.chroma = torch.nn.Module()
        conditioner.chroma.spec = torch.nn.Module()
        conditioner.chroma.spec.register_buffer("window", torch.hann_window(2**14))
        lm.condition_provider.conditioners["self_wav"] = conditioner
    state = {k: v.half() for k, v in lm.state_dict().items()}
    package = {
        "best_state": state,
        "xp.cfg": OmegaConf.to_yaml(cfg),
        "version": "1.3.0",
        "exported": True,
    }
    torch.save(package, folder / "state_dict.bin")
    reference = {"pretrained": "facebook/encodec_32khz", "exported": True, "version": "1.3.0"}
    torch.save(reference, folder / "compression_state_dict.bin")
    return folder


#: The configuration of audiocraft's own codec, as facebook/audiogen-medium holds one.
CODEC = """
compression_model: encodec
sample_rate: 16000
channels: 1
encodec:
  autoencoder: seanet
  quantizer: rvq
  sample_rate: ${sample_rate}
  channels: ${channels}
  causal: false
  renormalize: false
seanet:
  dimension: 16
  channels: ${channels}
  causal: false
  n_filters: 4
  n_residual_layers: 1
  ratios: [8, 5, 4, 2]
  norm: weight_norm
  pad_mode: constant
  true_skip: true
  lstm: 1
  encoder: {}
  decoder: {}
rvq: {n_q: 4, q_dropout: false, bins: 2048, kmeans_init: false}
device: cpu
"""


def write_audiogen(folder: Path) -> Path:
    """Make a folder in the format of facebook/audiogen-medium: sounds at 16 kHz, 10 s, and a codec
    of audiocraft's own.
    """
    write(folder)
    package = torch.load(folder / "state_dict.bin", weights_only=True)
    own = {"solver": "audiogen", "sample_rate": 16_000, "dataset": {"segment_duration": 10}}
    cfg = OmegaConf.merge(OmegaConf.create(package["xp.cfg"]), own)
    torch.save({**package, "xp.cfg": OmegaConf.to_yaml(cfg)}, folder / "state_dict.bin")
    torch.manual_seed(5)
    codec = audiocraft.models.builders.get_compression_model(OmegaConf.create(CODEC))
    saved = {"best_state": codec.state_dict(), "xp.cfg": CODEC, "version": "1.3.0"}
    torch.save(saved | {"exported": True}, folder / "compression_state_dict.bin")
    return folder


def _t5(folder):
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(c, -5.0) for c in "abcdefghijklmnopqrstuvwxyz"] + [
        ("▁happy", -1.0),
        ("▁melody", -1.0),
        ("▁a", -1.0),
    ]
    transformers.T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)
    config = transformers.T5Config(
        vocab_size=len(pieces),
        d_model=24,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
    )
    torch.manual_seed(1)
    transformers.T5EncoderModel(config).save_pretrained(folder)


def _encodec(folder):
    # facebook/encodec_32khz: mono, 50 frames a second, 4 codebooks of 2048 at 2.2 kbps
    config = transformers.EncodecConfig(
        target_bandwidths=[2.2],
        sampling_rate=32_000,
        audio_channels=1,
        normalize=False,
        chunk_length_s=None,
        num_filters=4,
        num_residual_layers=1,
        upsampling_ratios=[8, 5, 4, 4],
        norm_type="weight_norm",
        hidden_size=16,
        codebook_size=2048,
        codebook_dim=16,
        num_lstm_layers=1,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    torch.manual_seed(2)
    codec = transformers.EncodecModel(config).eval()
    with (
        torch.no_grad()
    ):  # codebooks where the encoder's output is: random ones would make one token of all sounds
        sound = torch.randn(16, 1, 32_000).cumsum(-1) * torch.logspace(-4, -2, 16)[:, None, None]
        heard = codec.encoder(sound).transpose(1, 2).flatten(0, 1)
        for layer in codec.quantizer.layers:
            embed = layer.codebook.embed
            embed.copy_(heard[torch.randint(len(heard), (len(embed),))])
            heard = heard - embed[torch.cdist(heard, embed).argmin(1)]
    codec.save_pretrained(folder)


def write_transformers(
    folder: Path,
    channels: int = 1,
    dim: int = 32,
    melody: bool = False,
    blocks: int = 3,
    heads: int = 4,
    **how,
) -> Path:
    """Make a MusicGen with random weights, saved by ``transformers``, and return its folder.

    Parameters
    ----------
    folder : Path
    channels : int
        Of sound: two have eight codebooks.
    dim : int
        Width of the language model; that of the text encoder is 24.
    melody : bool
        Whether it follows a melody.
    blocks, heads : int
    **how
        Settings of ``save_pretrained``.
    """
    parts = folder / "parts"
    _t5(parts / "t5")
    _encodec(parts / "encodec")
    kind = "MusicgenMelody" if melody else "Musicgen"
    decoder = getattr(transformers, f"{kind}ForCausalLM")(
        getattr(transformers, f"{kind}DecoderConfig")(
            vocab_size=2048,
            num_hidden_layers=blocks,
            ffn_dim=4 * dim,
            num_attention_heads=heads,
            hidden_size=dim,
            num_codebooks=4 * channels,
            audio_channels=channels,
        )
    )
    torch.manual_seed(3)
    for weight in decoder.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(
        text_encoder=transformers.T5EncoderModel.from_pretrained(parts / "t5"),
        audio_encoder=transformers.EncodecModel.from_pretrained(parts / "encodec"),
        decoder=decoder,
    )
    if melody:
        torch.nn.init.normal_(model.audio_enc_to_dec_proj.weight, std=0.3)
    model.generation_config.guidance_scale = 2.5
    model.save_pretrained(folder, **how)
    transformers.T5Tokenizer.from_pretrained(parts / "t5").save_pretrained(folder)
    shutil.rmtree(parts)
    return folder


def copied(folder: Path, to: Path) -> Path:
    """A copy of a folder, to be damaged."""
    for path in folder.rglob("*"):
        if path.is_file():
            target = to / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return to


def reweigh(folder: Path, change: Callable) -> None:
    """Change the weights in a Hugging Face folder: ``change`` maps a dict of them to another."""
    file = folder / "model.safetensors"
    weights = change(safetensors.torch.load_file(file))
    safetensors.torch.save_file(weights, file, {"format": "pt"})


def reconfigure(folder: Path, **settings) -> None:
    """Change a checkpoint's ``xp.cfg``: settings by dotted names, with __ for a dot."""
    package = torch.load(folder / "state_dict.bin", weights_only=True)
    cfg = OmegaConf.create(package["xp.cfg"])
    for name, value in settings.items():
        OmegaConf.update(cfg, name.replace("__", "."), value, merge=False)
    torch.save({**package, "xp.cfg": OmegaConf.to_yaml(cfg)}, folder / "state_dict.bin")


def write_adapter(folder: Path, base: Path) -> peft.PeftModel:
    """Save a LoRA adapter with random weights, and return the model of ``transformers`` with it."""
    model = transformers.MusicgenForConditionalGeneration.from_pretrained(base)
    asked = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "fc1"])
    adapted = peft.get_peft_model(model, asked)
    torch.manual_seed(4)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.save_pretrained(folder)
    return adapted.eval()
