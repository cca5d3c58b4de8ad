"""The melody that some MusicGens read: which pitch class is loudest, some eight times a second.

MusicGen's melody models read two things in front of the music: a chromagram and the text. In
training the chromagram was that of the music without drums and bass, which a network of 2021
(Demucs) took out first. That network is not used here: **this is a plain chromagram of the audio
as it is given**. A melody that is sung or played alone loses nothing by it; of a whole mix, take
out drums and bass before, if you can. Without a melody these models read what audiocraft gives them
then: the chromagram of silence.

References
----------
Copet et al. 2023, Simple and controllable music generation, section 2.3; audiocraft's
``ChromaStemConditioner`` and ``ChromaExtractor``, whose numbers these are.
"""

import librosa
import torch
from torch.nn import functional as F

from .compat import audiocraft

conditioners = audiocraft.modules.conditioners

#: What audiocraft calls the two conditions.
MELODY, TEXT = "self_wav", "description"
#: Settings of audiocraft's conditioner that only say where audio comes from, or that are always so
#: when music is generated.
IDLE = ("match_len_on_eval", "eval_wavs", "n_eval_wavs", "cache_path")


class Chroma(conditioners.WaveformConditioner):
    """A chromagram, projected to the model's width.

    Parameters
    ----------
    output_dim : int
        Width of the language model.
    sample_rate : int
        Of the audio, Hz.
    duration : float
        Seconds of audio that the model reads: a shorter melody is repeated, a longer one cut.
    n_chroma : int
        Pitch classes.
    radix2_exp : int
        The spectra's window is two to the power of this, in samples, and its step a quarter of it.
    argmax : bool
        One for the loudest pitch class and zero for the others, instead of each one's share of the
        loudest.
    """

    def __init__(
        self,
        output_dim: int,
        sample_rate: int,
        duration: float,
        n_chroma: int = 12,
        radix2_exp: int = 14,
        argmax: bool = True,
        device: str = "cpu",
    ):
        super().__init__(n_chroma, output_dim, device)
        self._use_masking = False  # as audiocraft has it when it generates
        self.sample_rate = sample_rate
        self.argmax = argmax
        self.window = 2**radix2_exp
        self.step = self.window // 4
        self.length = int(sample_rate * duration + 1e-6) // self.step + 1
        filters = librosa.filters.chroma(
            sr=sample_rate, n_fft=self.window, tuning=0, n_chroma=n_chroma
        )
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)
        self.to(device)

    @torch.no_grad()
    def chroma(self, wave: torch.Tensor) -> torch.Tensor:
        """Chromagrams [row, length, n_chroma], float32, of audio [row, sample]."""
        wave = wave.to(self.filters)
        lacking = max(self.window - wave.shape[-1], 0)
        wave = F.pad(wave, (lacking // 2, lacking - lacking // 2))
        window = torch.hann_window(self.window, device=wave.device)
        spectra = torch.stft(wave, self.window, self.step, window=window, return_complex=True)
        power = spectra.abs().square() / window.square().sum()
        found = F.normalize(self.filters @ power, p=torch.inf, dim=-2, eps=1e-6).mT
        if self.argmax:
            found = F.one_hot(found.argmax(-1), found.shape[-1]).to(found)
        times = -(-self.length // found.shape[1])
        return found.repeat(1, times, 1)[:, : self.length]

    def silence(self, rows: int) -> torch.Tensor:
        """What is read without a melody, [row, length, n_chroma]."""
        return self.chroma(self.filters.new_zeros(1, 1)).expand(rows, -1, -1)

    def _get_wav_embedding(self, x):
        """What audiocraft asks of it, of audio [row, 1, sample]."""
        return self.chroma(x.wav.mean(1))

    def _downsampling_factor(self):
        return self.step


def of(lm) -> Chroma | None:
    """The melody conditioner of a language model; None if it reads no melody."""
    there = lm.condition_provider.conditioners
    return there[MELODY] if MELODY in there else None


def build(settings: dict, output_dim: int, duration: float, device: str) -> Chroma:
    """From the settings of audiocraft's ``chroma_stem``.

    Raises
    ------
    ValueError
        A setting that is not known.
    """
    own = {key: value for key, value in settings.items() if key not in IDLE}
    try:
        return Chroma(output_dim, duration=duration, device=device, **own)
    except TypeError as error:
        raise ValueError(
            f"its melody conditioner has settings that are not known: {own}"
        ) from error


def from_window(wave: torch.Tensor, first: int, samples: int) -> torch.Tensor:
    """A melody from one of its samples on, repeated as often as needed, [row, samples].

    So audiocraft has it where a song is generated in windows.
    """
    where = torch.arange(first, first + samples, device=wave.device) % wave.shape[-1]
    return wave[..., where]
