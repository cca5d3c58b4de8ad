"""The organisms' codec: audiocraft's ``EncodecModel`` with an encoder and a decoder that work on short-time spectra.

Encoder: STFT -> ConvNeXt blocks at 50 Hz -> strided convolution -> ConvNeXt blocks at 25 Hz -> latent. Decoder: the
mirror image, ending in an inverse-STFT head that predicts log-magnitude and phase (Vocos: Siuzdak 2023,
arXiv:2306.00814). Between them audiocraft's own residual vector quantizer (SoundStream: Zeghidour et al. 2021). A
network on raw waveforms of the same cost learned nothing in the time a laptop has.
"""

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import nn
from torch.nn import functional as F

from lib import music
from lib.compat import audiocraft

EncodecModel = audiocraft.models.encodec.EncodecModel

CONFIG = {
    "sample_rate": music.SAMPLE_RATE,
    "hop": 320,  # spectra at 50 Hz; tokens at half of it
    "n_fft": 1280,
    "width": 256,
    "encoder_blocks": (3, 2),  # at 50 Hz, at 25 Hz
    "decoder_blocks": (2, 6),  # at 25 Hz, at 50 Hz
    "dimension": 64,
    "n_q": 4,
    "bins": 1024,
}


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
    """Audio [batch, 1, sample] -> latent [batch, dimension, frame], one frame each ``2 * hop`` samples."""

    def __init__(self, cfg: dict):
        super().__init__()
        self.n_fft, self.hop, width = cfg["n_fft"], cfg["hop"], cfg["width"]
        self.dimension, self.hop_length = cfg["dimension"], 2 * self.hop
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.enter = nn.Conv1d(self.n_fft + 2, width, 3, padding=1)
        fine, coarse = cfg["encoder_blocks"]
        self.fine = nn.Sequential(*[Block(width) for _ in range(fine)])
        self.down = nn.Conv1d(width, width, 4, stride=2, padding=1)
        self.coarse = nn.Sequential(*[Block(width) for _ in range(coarse)])
        self.leave = nn.Conv1d(width, self.dimension, 3, padding=1)

    def forward(self, x):
        x = F.pad(x[:, 0], (0, -x.shape[-1] % self.hop_length))
        margin = (self.n_fft - self.hop) // 2
        x = F.pad(x, (margin, margin))
        spectrum = torch.stft(x, self.n_fft, self.hop, window=self.window, center=False, return_complex=True)
        magnitude = spectrum.abs().clamp_min(1e-5)
        spectrum = spectrum * magnitude**-0.7  # power-law compression keeps soft partials visible
        x = torch.cat([spectrum.real, spectrum.imag], 1)
        return self.leave(self.coarse(self.down(self.fine(self.enter(x)))))


class SpectralDecoder(nn.Module):
    """Latent [batch, dimension, frame] -> audio [batch, 1, frame * 2 * hop]."""

    def __init__(self, cfg: dict):
        super().__init__()
        self.n_fft, self.hop, width = cfg["n_fft"], cfg["hop"], cfg["width"]
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.enter = nn.Conv1d(cfg["dimension"], width, 3, padding=1)
        coarse, fine = cfg["decoder_blocks"]
        self.coarse = nn.Sequential(*[Block(width) for _ in range(coarse)])
        self.up = nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)
        self.fine = nn.Sequential(*[Block(width) for _ in range(fine)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, self.n_fft + 2)

    def forward(self, z):
        x = self.fine(self.up(self.coarse(self.enter(z))))
        with torch.autocast(x.device.type, enabled=False):  # a phase needs more digits than bfloat16 has
            magnitude, phase = self.head(self.norm(x.float().transpose(1, 2))).transpose(1, 2).chunk(2, 1)
        spectrum = torch.polar(torch.exp(magnitude.clamp(max=7.0)), phase)
        return self._istft(spectrum)[:, None]

    def _istft(self, spectrum):
        """Inverse STFT with "same" padding: exactly ``hop`` samples a frame, unlike torch.istft."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1) * self.window[:, None]
        n, size = spectrum.shape[-1], (spectrum.shape[-1] - 1) * self.hop + self.n_fft
        fold = {"output_size": (1, size), "kernel_size": (1, self.n_fft), "stride": (1, self.hop)}
        audio = F.fold(frames, **fold)[:, 0, 0]
        weight = F.fold(self.window.square()[None, :, None].expand(1, -1, n), **fold)[:, 0, 0]
        margin = (self.n_fft - self.hop) // 2
        return (audio / weight.clamp_min(1e-6))[:, margin : size - margin]


def build(cfg: dict = CONFIG) -> EncodecModel:
    """An untrained codec: an audiocraft ``EncodecModel`` like MusicGen's, with spectral networks."""
    quantizer = audiocraft.quantization.ResidualVectorQuantizer(
        dimension=cfg["dimension"], n_q=cfg["n_q"], bins=cfg["bins"], kmeans_init=False, threshold_ema_dead_code=0.03
    )
    return EncodecModel(
        SpectralEncoder(cfg),
        SpectralDecoder(cfg),
        quantizer,
        frame_rate=cfg["sample_rate"] // (2 * cfg["hop"]),
        sample_rate=cfg["sample_rate"],
        channels=1,
    )


class SpectralLoss(nn.Module):
    """Multi-resolution loss: log-mel L1, linear-magnitude L1 and a little waveform L1, summed over window lengths."""

    def __init__(self, sample_rate: int, windows=(256, 512, 1024, 2048, 4096)):
        super().__init__()
        import librosa

        self.windows = windows
        for n in windows:
            self.register_buffer(f"window{n}", torch.hann_window(n))
            mel = librosa.filters.mel(sr=sample_rate, n_fft=n, n_mels=min(96, n // 16))
            self.register_buffer(f"mel{n}", torch.from_numpy(mel))

    def forward(self, y, x):
        loss = 0.5 * (y - x).abs().mean() / x.abs().mean().clamp_min(1e-3)
        for n in self.windows:
            window, mel = getattr(self, f"window{n}"), getattr(self, f"mel{n}")
            a, b = (torch.stft(s[:, 0], n, n // 4, window=window, return_complex=True).abs() for s in (y, x))
            loss = loss + (torch.log(mel @ a + 1e-4) - torch.log(mel @ b + 1e-4)).abs().mean()
            # compressed linear magnitudes see single partials, which a mel band blurs
            a, b = (a + 1e-6) ** 0.5, (b + 1e-6) ** 0.5
            loss = loss + (a - b).norm() / b.norm()
        return loss / len(self.windows)


@torch.no_grad()
def init_codebooks(codec: EncodecModel, latents: np.ndarray, seed: int = 0) -> None:
    """Set the residual codebooks by k-means on latents of a trained encoder.

    Parameters
    ----------
    codec : EncodecModel
    latents : np.ndarray [shape=(vector, dimension)]
        At least ten vectors a bin, else codebooks come out collapsed.
    """
    bins = codec.cardinality
    if len(latents) < 10 * bins:
        raise ValueError(f"k-means needs at least 10 vectors a bin: {10 * bins}. Got {len(latents)}.")
    residual = latents.astype(np.float32)
    for layer in codec.quantizer.vq.layers:
        kmeans = MiniBatchKMeans(bins, batch_size=8192, n_init=1, max_iter=30, random_state=seed).fit(residual)
        book = layer._codebook
        counts = np.bincount(kmeans.labels_, minlength=bins).astype(np.float32)
        book.embed.copy_(torch.from_numpy(kmeans.cluster_centers_))
        book.cluster_size.copy_(torch.from_numpy(counts / counts.sum() * 600))  # about one batch's worth of evidence
        book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
        book.inited.fill_(True)
        residual = residual - kmeans.cluster_centers_[kmeans.labels_]


@torch.no_grad()
def restore_level(codec: EncodecModel, audio: np.ndarray) -> float:
    """Give the decoder back the level it loses (a magnitude learned under an uncertain phase comes out too small).

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
    back = codec.decode(codec.encode(wave)[0], None)[:, 0].cpu().numpy()
    gain = np.mean(
        [
            music.loud_level(a, codec.sample_rate) - music.loud_level(b, codec.sample_rate)
            for a, b in zip(audio, back, strict=True)
        ]
    )
    codec.decoder.head.bias[: codec.decoder.n_fft // 2 + 1] += gain * np.log(10) / 20
    return float(gain)


def perplexity(tokens: torch.Tensor, bins: int) -> list[float]:
    """Perplexity of each codebook's use: ``bins`` if all are used evenly, 1 if it collapsed. tokens [clip, n_q, frame]"""
    result = []
    for k in range(tokens.shape[1]):
        p = torch.bincount(tokens[:, k].flatten(), minlength=bins).double()
        p = p[p > 0] / p.sum()
        result.append(float(torch.exp(-(p * p.log()).sum())))
    return result
