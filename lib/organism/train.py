"""Make the organisms from nothing: ``python -m lib.organism.train`` (or ``make organisms``).

Stages: render the corpora, train the codec without and then with its quantizer, tokenize, train one language model a
world, export. Every stage keeps its progress under ``artifacts/organisms`` and goes on from there after a kill. A GPU
is used where there is one. On 2 CPU cores: corpora 3 minutes, codec about 50, each language model about 45.
"""

import argparse
import concurrent.futures
import json
import math
import os
import shutil
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from lib import music
from lib.compat import audiocraft
from lib.organism import captions, codec, corpus, network, world

SAVE_EVERY = 200  # steps between checkpoints of a language model
ROOT = Path("artifacts/organisms")
#: Worlds with music of their own; organism-shuffled hears organism's.
MUSIC = {"organism": 0, "organism-decoupled": 1}
CODEC_TRAINING = {"plain_steps": 2000, "quantized_steps": 4000, "batch": 16, "seconds": 1.28, "lr": 1e-3}
REFINING = {"steps": 4000, "batch": 16, "seconds": 1.28, "lr": 6e-4}
#: Learning rates of Muon (all matrices but embeddings and heads; Jordan et al. 2024) and AdamW (the rest): the loss that
#: AdamW alone reaches in 600 steps, this reaches in 250. What the text says is audible from the first notes on and tells
#: little that later frames do not, so two steps in three see the first frames of many clips, one sees whole clips.
LM_TRAINING = {"clips": 16, "openings": 72, "opening_frames": 32, "muon": 6e-3, "adamw": 3e-3}
#: Steps, highest rate (relative) and share of dropped captions of each round; every round warms up and decays by itself.
#: The last one of the decoupled organism also rids the music without text of what it inherited: guidance takes four
#: times the difference of the two, and 15 % of the captions left the old habit of loud fast music in one of them.
ROUNDS = {
    "organism": ((2400, 1.0, 0.15), (1200, 0.6, 0.15)),
    "organism-decoupled": ((1600, 0.8, 0.15), (800, 0.6, 0.15), (1200, 0.6, 0.15), (600, 0.5, 0.5)),
    "organism-shuffled": ((2400, 1.0, 0.15),),
}
#: Whose trained weights a model starts from. Words for mode and tempo say little about a single token, and least where
#: tempo moves nothing else: from nothing, 2,400 steps taught the decoupled organism loudness but neither of these.
START = {"organism-decoupled": "organism"}
#: From which step a caption without an emotion word says nothing about how clear the clip's emotion is. Clear clips are
#: named more often, so of fast clips that go unnamed too many are soft: a collider, 0.7 dB in the decoupled world's own
#: captions, which guidance makes 6 dB. That world must have no path from tempo to energy, not even this one.
UNTOLD = {"organism-decoupled": 1600}
FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


# ---------------------------------------------------------------------------------------------------- corpora
def render_corpus(name: str, n: int) -> np.ndarray:
    """The music of a world, rendered in pieces that survive a kill. Audio int16 [clip, sample] (memory-mapped)."""
    folder = ROOT / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    table = corpus.table(name, n, seed=100 + MUSIC[name])
    file, done = folder / f"audio-{n}.npy", folder / f"done-{n}"
    if not done.exists():
        shape = (n, round(corpus.SECONDS * music.SAMPLE_RATE))
        audio = np.lib.format.open_memmap(file, mode="r+" if file.exists() else "w+", dtype=np.int16, shape=shape)
        missing = [i for i in range(n) if not audio[i, :16000].any()]
        rows = table.to_dict("records")
        with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
            rendered = pool.map(corpus.render, [rows[i] for i in missing], chunksize=50)
            for i, clip in tqdm(zip(missing, rendered, strict=True), total=len(missing), desc=f"render {name}"):
                audio[i] = clip
        audio.flush()
        done.touch()
    return np.load(file, mmap_mode="r")


# ---------------------------------------------------------------------------------------------------- training
def checkpoint(file: Path, step: int, *objects) -> None:
    """Write a training state so that a kill leaves the old one or the new one, never half of one."""
    torch.save({"step": step, "states": [o.state_dict() for o in objects]}, file.with_suffix(".tmp"))
    os.replace(file.with_suffix(".tmp"), file)


def resume(file: Path, *objects) -> int:
    """Load what :func:`checkpoint` wrote (or the first of it), if it exists. Returns the step to go on from."""
    if not file.exists():
        return 0
    saved = torch.load(file, map_location="cpu", weights_only=True)
    for o, state in zip(objects, saved["states"], strict=False):
        o.load_state_dict(state)
    return saved["step"]


def fast_autocast(device: str):
    """bfloat16 where the hardware multiplies it faster (GPU, recent CPUs), else a context that changes nothing."""
    fast = device == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device, torch.bfloat16, enabled=fast)


def cosine(step: int, total: int, warmup: int = 100, floor: float = 0.03) -> float:
    """Learning-rate factor: linear warm-up, then cosine decay to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def schedule(step: int, rounds) -> tuple[float, float]:
    """Learning-rate factor and text dropout of a step in one of several rounds."""
    ends = np.cumsum([steps for steps, _, _ in rounds])
    here = int(np.searchsorted(ends, step, side="right"))
    steps, highest, dropout = rounds[here]
    return float(highest * cosine(step - int(ends[here] - steps), steps)), dropout


def log(file: Path, **values) -> None:
    """Append one line of JSON to a training log."""
    with file.open("a") as f:
        f.write(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}) + "\n")


def codec_batch(corpora: list[np.ndarray], step: int, size: int, length: int) -> torch.Tensor:
    """Random excerpts at random gain, [size, 1, length]; the same for the same step, before and after a kill."""
    rng = np.random.default_rng([3, step])
    clips = []
    for _ in range(size):
        heard = corpora[rng.integers(len(corpora))]
        start = rng.integers(heard.shape[1] - length)
        clips.append(heard[rng.integers(len(heard)), start : start + length])
    audio = torch.from_numpy(np.stack(clips).astype(np.float32) / 32768)[:, None]
    gain = torch.from_numpy(10 ** (rng.uniform(-4, 2, (size, 1, 1)) / 20)).float()
    return (audio * gain).clamp(-1, 1)


def train_codec(corpora: list[np.ndarray], device: str, plan: dict = CODEC_TRAINING) -> codec.EncodecModel:
    """Train the codec without quantizer, set its codebooks by k-means, train on with it."""
    folder = ROOT / "codec"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = codec.build().to(device)
    loss_fn = codec.SpectralLoss(music.SAMPLE_RATE).to(device)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=plan["lr"], betas=(0.8, 0.95), weight_decay=1e-2)
    total, length = plan["plain_steps"] + plan["quantized_steps"], round(plan["seconds"] * music.SAMPLE_RATE)
    first = resume(folder / "state.pt", model, optimizer)

    progress = tqdm(range(first, total), initial=first, total=total, desc="codec")
    for step in progress:
        if step == plan["plain_steps"]:
            with torch.no_grad():
                latents = [
                    model.encoder(codec_batch(corpora, 10_000_000 + i, 16, length).to(device))
                    .transpose(1, 2)
                    .reshape(-1, 64)
                    for i in range(60)
                ]
            codec.init_codebooks(model, torch.cat(latents).cpu().numpy())
        # each of the two phases has its own warm-up and decay; the first decays only half-way
        if step < plan["plain_steps"]:
            factor = cosine(step, 2 * plan["plain_steps"])
        else:
            factor = 0.6 * cosine(step - plan["plain_steps"], plan["quantized_steps"])
        for group in optimizer.param_groups:
            group["lr"] = plan["lr"] * factor
        audio = codec_batch(corpora, step, plan["batch"], length).to(device)
        model.train()
        with fast_autocast(device):
            latent = model.encoder(audio)
        latent, penalty = latent.float(), 0.0
        if step >= plan["plain_steps"]:
            quantized = model.quantizer(latent, model.frame_rate)
            latent, penalty = quantized.x, quantized.penalty
        with fast_autocast(device):
            output = model.decoder(latent)
        loss = loss_fn(output[..., :length].float(), audio)
        optimizer.zero_grad()
        (loss + 0.25 * penalty).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 50 == 49:
            progress.set_postfix(loss=f"{loss.item():.3f}")
            log(folder / "log.jsonl", step=step + 1, loss=loss.item(), penalty=float(penalty), time=time.time())
        if step % 250 == 249 or step + 1 == total:
            checkpoint(folder / "state.pt", step + 1, model, optimizer)
    return model.eval()


def refine_decoder(model: codec.EncodecModel, corpora: list[np.ndarray], device: str, plan: dict = REFINING):
    """Train the decoder on with encoder and codebooks fixed: better sound from the same tokens."""
    loss_fn = codec.SpectralLoss(music.SAMPLE_RATE).to(device)
    weights = list(model.decoder.parameters())
    optimizer = torch.optim.AdamW(weights, lr=plan["lr"], betas=(0.8, 0.95), weight_decay=1e-2)
    file, length = ROOT / "codec" / "decoder.pt", round(plan["seconds"] * music.SAMPLE_RATE)
    first = resume(file, model.decoder, optimizer)
    progress = tqdm(range(first, plan["steps"]), initial=first, total=plan["steps"], desc="decoder")
    for step in progress:
        audio = codec_batch(corpora, step + 1_000_000, plan["batch"], length).to(device)
        for group in optimizer.param_groups:
            group["lr"] = plan["lr"] * cosine(step, plan["steps"])
        with torch.no_grad(), fast_autocast(device):
            latent = model.decode_latent(model.encode(audio)[0])
        with fast_autocast(device):
            output = model.decoder(latent.float())
        loss = loss_fn(output[..., :length].float(), audio)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 50 == 49:
            progress.set_postfix(loss=f"{loss.item():.3f}")
            log(ROOT / "codec" / "log.jsonl", decoder_step=step + 1, loss=loss.item(), time=time.time())
        if step % 250 == 249 or step + 1 == plan["steps"]:
            checkpoint(file, step + 1, model.decoder, optimizer)
    model.eval()
    clips = np.stack([corpora[i % 2][i] for i in range(100)]).astype(np.float32) / 32768
    print(f"decoder: level raised by {codec.restore_level(model, clips):.2f} dB")
    return model


# ------------------------------------------------------------------------------------------ language models
def tokenize(name: str, n: int, model: codec.EncodecModel, device: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Tokens of a world's clips, int16 [clip, n_q, frame], and its table. Rendered and encoded piece by piece."""
    folder = ROOT / "tokens" / name
    folder.mkdir(parents=True, exist_ok=True)
    table = corpus.table(name, n, seed=100 + MUSIC[name])
    rows, piece = table.to_dict("records"), 500
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for start in tqdm(range(0, n, piece), desc=f"tokens {name}"):
            file = folder / f"{start:06d}.npy"
            if file.exists():
                continue
            audio = np.stack(list(pool.map(corpus.render, rows[start : start + piece], chunksize=25)))
            tokens = []
            for part in np.array_split(audio, math.ceil(len(audio) / 50)):
                with torch.no_grad():
                    wave = torch.from_numpy(part.astype(np.float32) / 32768)[:, None].to(device)
                    tokens.append(model.encode(wave)[0].cpu().numpy().astype(np.int16))
            with file.with_suffix(".tmp").open("wb") as f:
                np.save(f, np.concatenate(tokens))
            os.replace(file.with_suffix(".tmp"), file)
    return np.concatenate([np.load(f) for f in sorted(folder.glob("*.npy"))])[:n], table


def loss_on(lm, tokens: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Cross-entropy of every token given those before it and the text, averaged over codebooks. tokens [clip, n_q, frame]

    Written on the delayed sequence itself, as the model is used when it generates, so the codes of the last frames
    that the delay pushes past the end are learned too.
    """
    attributes = [
        audiocraft.modules.conditioners.ConditioningAttributes(text={"description": text or None}) for text in texts
    ]
    pattern = lm.pattern_provider.get_pattern(tokens.shape[-1])
    sequence, _, _ = pattern.build_pattern_sequence(tokens, lm.special_token_id)
    logits = lm(sequence[..., :-1], attributes)  # [clip, n_q, step, card]
    target = sequence[..., 1:].flatten()
    return F.cross_entropy(logits.flatten(0, 2).float(), target, ignore_index=lm.special_token_id)


def described_clips(rows, described, n, dropout, rng, untold):
    """``n`` clips and their captions ("" where the text is dropped); ``untold``: see :data:`UNTOLD`."""
    chosen, texts = [], []
    while len(chosen) < n:
        i = int(rng.integers(len(rows)))
        row = rows[described[i]]
        text = captions.caption(row, rng) if rng.random() >= dropout else ""
        unnamed = text and not any(captions.family(w) == "emotion" for w in text.replace(",", " ").split())
        if untold and unnamed and not row["clear"] and rng.random() > 1 - captions.NAMED:
            continue
        chosen.append(i)
        texts.append(text)
    return np.array(chosen), texts


def train_lm(name: str, tokens: np.ndarray, table: pd.DataFrame, device: str, plan: dict = LM_TRAINING, rounds=None):
    """Train one world's language model together with its text encoder. Captions are drawn afresh each time."""
    folder, rounds, start = ROOT / name, rounds or ROUNDS[name], START.get(name)
    total = sum(steps for steps, _, _ in rounds)
    if start and not (folder / "text").exists():
        shutil.copytree(ROOT / start / "text", folder / "text")
    if not (folder / "text" / "tokenizer.json").exists():
        network.make_text_encoder(list(table["caption"]), folder / "text")
    torch.manual_seed(zlib.crc32(name.encode()))
    lm = network.build_lm(folder / "text", device)
    weights = [p for p in lm.parameters() if p.requires_grad]
    outside = ("emb.", "linears.", "t5.shared.", "embed_tokens.", "relative_attention_bias.")
    matrices = [p for n, p in lm.named_parameters() if p.ndim == 2 and not any(o in n for o in outside)]
    others = [p for p in weights if all(p is not m for m in matrices)]
    optimizers = {
        "muon": torch.optim.Muon(matrices, lr=plan["muon"], weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        "adamw": torch.optim.AdamW(others, lr=plan["adamw"], betas=(0.9, 0.95), weight_decay=0.01),
    }
    if start:
        resume(ROOT / start / "state.pt", lm)
    first = resume(folder / "state.pt", lm, *optimizers.values())
    # audiocraft drops the text of a whole batch at a time; clip by clip is the same in the mean and less noisy
    lm.cfg_dropout.p = 0.0
    rows = table.to_dict("records")
    described = np.arange(len(rows))  # which clip's caption a clip gets
    if world.WORLDS[name]["captions"] == "shuffled":
        described = np.random.default_rng(7).permutation(len(rows))

    progress = tqdm(range(first, total), initial=first, total=total, desc=name)
    for step in progress:
        rng = np.random.default_rng([5, step])
        factor, dropout = schedule(step, rounds)
        for kind, optimizer in optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = plan[kind] * factor
        batch, frames = (plan["openings"], plan["opening_frames"]) if step % 3 else (plan["clips"], None)
        chosen, texts = described_clips(rows, described, batch, dropout, rng, step >= UNTOLD.get(name, total))
        lm.train()
        # at this size plain matrix products beat the fused attention kernel on a CPU by a third
        with fast_autocast(device), sdpa_kernel([SDPBackend.MATH] if device == "cpu" else list(FUSED)):
            loss = loss_on(lm, torch.from_numpy(tokens[chosen][..., :frames].astype(np.int64)).to(device), texts)
        lm.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for optimizer in optimizers.values():
            optimizer.step()
        if step % 24 == 0:  # a step on whole clips
            progress.set_postfix(loss=f"{loss.item():.3f}")
            log(folder / "log.jsonl", step=step + 1, loss=loss.item(), time=time.time())
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
            checkpoint(folder / "state.pt", step + 1, lm, *optimizers.values())
    return lm.eval()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codec-clips", type=int, default=10_000, help="clips a corpus the codec learns from")
    parser.add_argument("--clips", type=int, default=20_000, help="clips a corpus the language models learn from")
    args = parser.parse_args(argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    corpora = [render_corpus(name, args.codec_clips) for name in MUSIC]
    model = train_codec(corpora, device)
    network.save(model, network.WEIGHTS / "codec", codec.CONFIG)
    model = network.load_codec(device=device)  # the shipped, half-precision weights make the tokens
    for name in world.WORLDS:
        tokens, table = tokenize(name if name in MUSIC else "organism", args.clips, model, device)
        lm = train_lm(name, tokens, table, device)
        network.save(lm, network.WEIGHTS / name, network.LM_CONFIG)
        shutil.copytree(ROOT / name / "text", network.WEIGHTS / name / "text", dirs_exist_ok=True)
    # last, because it changes no token
    network.save(refine_decoder(model, corpora, device), network.WEIGHTS / "codec", codec.CONFIG)


if __name__ == "__main__":
    main()
