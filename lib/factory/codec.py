"""Training of the codec whose networks ``musicgen.miniature`` describes."""

import time
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import nn
from tqdm.auto import tqdm

from .. import cache, check
from ..musicgen import miniature
from ..organism.music import loud_level
from . import plan, training

#: Steps between training states.
SAVE_EVERY = 250


# -------------------------------------------------------------------------------------------- parts
class SpectralLoss(nn.Module):
    """Multi-resolution loss between two waveforms [batch, 1, sample].

    Log-mel L1, magnitude distance and a little waveform L1, summed over window lengths.
    """

    def __init__(self, sample_rate: int, windows: Sequence[int] = (256, 512, 1024, 2048, 4096)):
        super().__init__()
        self.windows = windows
        for size in windows:
            mel = librosa.filters.mel(sr=sample_rate, n_fft=size, n_mels=min(96, size // 16))
            self.register_buffer(f"window{size}", torch.hann_window(size))
            self.register_buffer(f"mel{size}", torch.from_numpy(mel))

    def forward(self, output, target):
        loss = 0.5 * (output - target).abs().mean() / target.abs().mean().clamp_min(1e-3)
        for size in self.windows:
            loss = loss + self._distance(size, output, target)
        return loss / len(self.windows)

    def _distance(self, size, output, target):
        mel = getattr(self, f"mel{size}")
        a = self._magnitudes(size, output)
        b = self._magnitudes(size, target)
        log_mel = (torch.log(mel @ a + 1e-4) - torch.log(mel @ b + 1e-4)).abs().mean()
        # compressed linear magnitudes see single partials, which a mel band blurs
        a = (a + 1e-6) ** 0.5
        b = (b + 1e-6) ** 0.5
        return log_mel + (a - b).norm() / b.norm()

    def _magnitudes(self, size, wave):
        window = getattr(self, f"window{size}")
        return torch.stft(wave[:, 0], size, size // 4, window=window, return_complex=True).abs()


@torch.no_grad()
def init_codebooks(codec: miniature.EncodecModel, latents: np.ndarray, seed: int = 0) -> None:
    """Set the residual codebooks by k-means on latents of a trained encoder.

    Parameters
    ----------
    codec : EncodecModel
    latents : np.ndarray [shape=(vector, dimension)]
        At least ten vectors a bin, else codebooks come out collapsed.
    seed : int
    """
    bins = codec.cardinality
    latents = check.array("latents", latents, ("vector", codec.encoder.dimension))
    if len(latents) < 10 * bins:
        raise ValueError(
            f"k-means needs at least 10 vectors a bin: {10 * bins}. Got {len(latents)}."
        )
    residual = latents.astype(np.float32)
    for layer in codec.quantizer.vq.layers:
        kmeans = MiniBatchKMeans(
            bins, batch_size=8192, n_init=1, max_iter=30, random_state=seed
        ).fit(residual)
        counts = np.bincount(kmeans.labels_, minlength=bins).astype(np.float32)
        book = layer._codebook
        book.embed.copy_(torch.from_numpy(kmeans.cluster_centers_))
        # about one batch's worth of evidence
        book.cluster_size.copy_(torch.from_numpy(counts / counts.sum() * 600))
        book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
        book.inited.fill_(True)
        residual = residual - kmeans.cluster_centers_[kmeans.labels_]


@torch.no_grad()
def restore_level(codec: miniature.EncodecModel, audio: np.ndarray) -> float:
    """Give the decoder back the level it loses.

    A magnitude learned under an uncertain phase comes out too small.

    Parameters
    ----------
    codec : EncodecModel
    audio : np.ndarray [shape=(clip, sample)], float32

    Returns
    -------
    float
        The gain that was added, in dB.
    """
    wave = torch.from_numpy(audio)[:, None].to(next(codec.parameters()).device)
    decoded = codec.decode(codec.encode(wave)[0], None)[:, 0].cpu().numpy()
    lost = [
        loud_level(before, codec.sample_rate) - loud_level(after, codec.sample_rate)
        for before, after in zip(audio, decoded, strict=True)
    ]
    gain = np.mean(lost)
    n_magnitudes = codec.decoder.n_fft // 2 + 1
    codec.decoder.head.bias[:n_magnitudes] += gain * np.log(10) / 20
    return float(gain)


def excerpts(corpora: Sequence[np.ndarray], step: int, size: int, length: int) -> torch.Tensor:
    """Random excerpts at random gain, [size, 1, length]; the same for the same step.

    Parameters
    ----------
    corpora : sequence of np.ndarray [shape=(clip, sample)], int16
    step, size, length : int
    """
    rng = np.random.default_rng([3, step])
    chosen = []
    for _ in range(size):
        audio = corpora[rng.integers(len(corpora))]
        start = rng.integers(audio.shape[1] - length)
        chosen.append(audio[rng.integers(len(audio)), start : start + length])
    wave = torch.from_numpy(np.stack(chosen).astype(np.float32) / 32768)[:, None]
    gain = torch.from_numpy(10 ** (rng.uniform(-4, 2, (size, 1, 1)) / 20)).float()
    return (wave * gain).clamp(-1, 1)


# ----------------------------------------------------------------------------------------- training
def train(
    corpora: Sequence[np.ndarray], device: str, settings: dict = plan.CODEC
) -> miniature.EncodecModel:
    """Train the codec without quantizer, set its codebooks by k-means, train on with it.

    Parameters
    ----------
    corpora : sequence of np.ndarray [shape=(clip, sample)], int16
    device : str
    settings : dict
        With the keys of ``plan.CODEC``.
    """
    folder = training.place("codec")
    torch.manual_seed(0)
    codec = miniature.build_codec().to(device)
    loss_function = SpectralLoss(codec.sample_rate).to(device)
    weights = [p for p in codec.parameters() if p.requires_grad]
    optimizer = _optimizer(weights, settings["lr"])
    length = round(settings["seconds"] * codec.sample_rate)
    plain_steps = settings["plain_steps"]
    total = plain_steps + settings["quantized_steps"]
    follows = cache.digest(settings, miniature.CODEC_CONFIG, list(corpora))
    first = training.resume(folder / "state.pt", follows, codec, optimizer)

    progress = tqdm(range(first, total), initial=first, total=total, desc="codec")
    for step in progress:
        if step == plain_steps:
            init_codebooks(codec, _latents(codec, corpora, length, device))
        training.set_rate(optimizer, settings["lr"] * _codec_rate(step, settings))
        audio = excerpts(corpora, step, settings["batch"], length).to(device)
        codec.train()
        output, penalty = _reconstruct(codec, audio, step >= plain_steps, device)
        loss = loss_function(output[..., :length].float(), audio)
        training.descend(loss + 0.25 * penalty, weights, optimizer)
        if step % 50 == 49:
            progress.set_postfix(loss=f"{loss.item():.3f}")
            values = {"loss": loss.item(), "penalty": float(penalty), "time": time.time()}
            training.log(folder / "log.jsonl", step=step + 1, **values)
        if step % SAVE_EVERY == SAVE_EVERY - 1 or step + 1 == total:
            training.checkpoint(folder / "state.pt", step + 1, follows, codec, optimizer)
    return codec.eval()


def _optimizer(weights, rate):
    return torch.optim.AdamW(weights, lr=rate, betas=(0.8, 0.95), weight_decay=1e-2)


def _codec_rate(step, settings):
    """Each of the two phases has its own warm-up and decay; the first decays only half-way."""
    plain_steps = settings["plain_steps"]
    if step < plain_steps:
        return training.cosine(step, 2 * plain_steps)
    return 0.6 * training.cosine(step - plain_steps, settings["quantized_steps"])


@torch.no_grad()
def _latents(codec, corpora, length, device):
    """Latents of excerpts that training never sees, [vector, dimension]."""
    latents = []
    for i in range(60):
        audio = excerpts(corpora, 10_000_000 + i, 16, length).to(device)
        latents.append(codec.encoder(audio).transpose(1, 2).reshape(-1, codec.encoder.dimension))
    return torch.cat(latents).cpu().numpy()


def _reconstruct(codec, audio, quantize, device):
    """The audio that comes back, and the quantizer's penalty (0 without it)."""
    with training.fast_autocast(device):
        latent = codec.encoder(audio)
    latent = latent.float()
    penalty = 0.0
    if quantize:
        quantized = codec.quantizer(latent, codec.frame_rate)
        latent = quantized.x
        penalty = quantized.penalty
    with training.fast_autocast(device):
        return codec.decoder(latent), penalty


def refine_decoder(
    codec: miniature.EncodecModel,
    corpora: Sequence[np.ndarray],
    device: str,
    settings: dict = plan.DECODER,
) -> miniature.EncodecModel:
    """Train the decoder on, encoder and codebooks fixed: better sound from the same tokens."""
    folder = training.place("codec")
    loss_function = SpectralLoss(codec.sample_rate).to(device)
    weights = list(codec.decoder.parameters())
    optimizer = _optimizer(weights, settings["lr"])
    length = round(settings["seconds"] * codec.sample_rate)
    total = settings["steps"]
    follows = cache.digest(settings, codec.state_dict(), list(corpora))
    first = training.resume(folder / "decoder.pt", follows, codec.decoder, optimizer)

    progress = tqdm(range(first, total), initial=first, total=total, desc="decoder")
    for step in progress:
        audio = excerpts(corpora, step + 1_000_000, settings["batch"], length).to(device)
        training.set_rate(optimizer, settings["lr"] * training.cosine(step, total))
        with torch.no_grad(), training.fast_autocast(device):
            latent = codec.decode_latent(codec.encode(audio)[0])
        with training.fast_autocast(device):
            output = codec.decoder(latent.float())
        loss = loss_function(output[..., :length].float(), audio)
        training.descend(loss, weights, optimizer)
        if step % 50 == 49:
            progress.set_postfix(loss=f"{loss.item():.3f}")
            values = {"loss": loss.item(), "time": time.time()}
            training.log(folder / "log.jsonl", decoder_step=step + 1, **values)
        if step % SAVE_EVERY == SAVE_EVERY - 1 or step + 1 == total:
            file = folder / "decoder.pt"
            training.checkpoint(file, step + 1, follows, codec.decoder, optimizer)
    codec.eval()
    clips = np.stack([corpora[i % len(corpora)][i] for i in range(100)])
    gain = restore_level(codec, clips.astype(np.float32) / 32768)
    print(f"decoder: level raised by {gain:.2f} dB")
    return codec


def export(codec: miniature.EncodecModel, folder: Path) -> None:
    """Write the codec as it is shipped."""
    miniature.save(codec, folder, miniature.CODEC_CONFIG)
