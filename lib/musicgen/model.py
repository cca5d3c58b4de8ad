"""One MusicGen, and the one way to use it: generate, encode, decode, replay.

>>> from lib import model
>>> m = model.load("organism")
>>> clips = m.generate(["a happy piano melody"], seconds=1, seed=0, progress=False)
>>> clips.tokens.shape, clips.audio.shape
((1, 4, 25), (1, 16000))
"""

import json
import re
from dataclasses import replace

import numpy as np
import torch
from tqdm.auto import tqdm

from .. import cache, check
from . import edits, forward, graphs, hooks, noise, products, run, sampling, sizing
from . import melody as melodies
from .clips import Clips
from .compat import audiocraft
from .run import BESIDE, STREAMS, Part, Run, Visitors

#: Most clips that are generated at once.
AT_ONCE = 64
#: Sampling settings where a model's own configuration gives none: those of audiocraft's MusicGen.
DEFAULTS = {"temperature": 1.0, "top_k": 250, "cfg": 3.0}
#: The code that generated tokens follow from.
SOURCES = (forward, products, hooks, run, edits, sampling, noise, graphs, melodies)


class Model:
    """A MusicGen: audiocraft's language model and codec, with one way to use both.

    Attributes
    ----------
    name : str
        As it was loaded.
    lm, codec
        audiocraft's language model and compression model. Hooks of one's own on parts of ``lm``
        fire, or are refused.
    device : torch.device
    max_seconds : float
        The longest clip.
    defaults : dict
        Sampling settings where none are given.
    in_force : tuple of edits.Prepared
        Edits in force; every call hands them on to what runs.
    adapted : tuple of str, optional
        Name of the model that was loaded, and absolute path of the adapter that was added to its
        weights.
    """

    def __init__(self, name, lm, codec, device, max_seconds, defaults=DEFAULTS):
        self.name = name
        self.lm = lm.eval()
        self.codec = codec.eval()
        self.device = torch.device(device)
        self.max_seconds = float(max_seconds)
        self.defaults = dict(defaults)
        self.in_force: tuple[edits.Prepared, ...] = ()
        self.adapted: tuple[str, str] | None = None

    def __repr__(self):
        return (
            f"<MusicGen {self.name} on {self.device}: {len(self.lm.transformer.layers)} blocks of "
            f"{self.lm.dim}>"
        )

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return int(self.codec.sample_rate)

    @property
    def frame_rate(self) -> float:
        """Frames (codec time steps) a second."""
        return float(self.codec.frame_rate)

    @property
    def edits(self) -> tuple:
        """Edits in force (``with activations.edit(model, ...)``), each once."""
        found = {
            id(prepared.edit): prepared.edit for prepared in self.in_force
        }  # a glob stands for several sites
        return tuple(found.values())

    @property
    def interventions(self) -> tuple:
        """All that changes results and is no part of the model: edits in force, hooks of one's own
        and functions in the place of a module's ``forward``. What is kept is named by it, too.
        """
        return (*self.edits, *hooks.there(self.lm, self.codec))

    # ---------------------------------------------------------------------------------------------
    # what it is
    def identity(self, audio: bool = False) -> dict[str, str]:
        """What results follow from: the content of all weights in play and the settings of the
        modules that hold them, as they are now.

        Weights are read anew at every call, so that a change is noticed; where a model lies does
        not matter. What changes results without changing the model is not in here
        (:attr:`interventions`).

        Parameters
        ----------
        audio : bool
            Whether audio enters or leaves: then the codec counts, too.
        """
        tokenizer = self.lm.condition_provider.conditioners["description"].t5_tokenizer
        networks = hooks.parts(self.lm, self.codec)
        if not audio:
            del networks["codec"]
        found = {
            name: cache.digest(dict(network.state_dict()), cache.settings(network))
            for name, network in networks.items()
        }
        delays = list(self.lm.pattern_provider.delays)
        return found | {
            "tokenizer": cache.digest(_vocabulary(tokenizer)),
            "delays": cache.digest(delays, self.lm.fuser.fuse2cond),
            "dtype": str(self.lm.transformer.layers[0].linear1.weight.dtype),
        }

    @property
    def fingerprint(self) -> str:
        """One hash of :meth:`identity`."""
        return cache.digest(self.identity())

    # ---------------------------------------------------------------------------------------------
    # generating
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
        takes: int = 1,
        batch_size: int | None = None,
        prompt_audio: np.ndarray | None = None,
        prompt_sample_rate: int | None = None,
        melody: np.ndarray | None = None,
        melody_sample_rate: int | None = None,
        stride: float | None = None,
        keep: bool = False,
        decode: bool = True,
        progress: bool = True,
        part: Part | None = None,
    ) -> Clips:
        """Sample one clip for each prompt, or several.

        A clip depends on its prompt, its seed and the settings alone, not on the batch it was made
        in: every clip has its own random numbers, the same on every device (``noise``), and reads
        its own text alone. Products over more rows, or on another device, may differ in their last
        bits, so that a token which was all but a tie may turn out otherwise.

        Parameters
        ----------
        prompts : list of str
            An empty string is an unconditional clip.
        seconds : float, 0 < seconds
            More than ``max_seconds`` with ``stride`` only.
        seed : int or list of int
            One seed a clip; an integer s gives the clips s, s + 1, s + 2, ...
        temperature, top_k, cfg : float, int, float
            Sampling temperature (0 takes the likeliest token), number of candidates, and the
            coefficient of classifier-free guidance (1 is none). Left out, the model's own defaults.
        negative : str
            Negative prompt: guidance leads away from it instead of from no text.
        beside : list of str, optional
            Other prompts for the clips, which a third stream reads over the same tokens:
            ``Edit.interchange`` takes from it.
        takes : int
            Clips of each prompt, one after the other, each with a seed of its own.
        batch_size : int, optional
            Clips at once; left out, as many as half of the device's free memory holds, at most 64.
            Where memory does not suffice after all, batches are halved, with a warning each time.
        prompt_audio : array_like, optional
            What the clips begin with, the same for all or one a prompt, as for :meth:`encode`: each
            goes on from there. It is part of the clip and of its seconds.
        prompt_sample_rate : int, optional
            Left out, the model's own.
        melody : array_like [shape=(sample,), (clip, sample) or (clip, channel, sample)], optional
            What a melody model follows, the same for all or one a prompt: the loudest pitch class
            of the audio as it is given (``melody.Chroma``), repeated or cut to the model's limit.
            The unconditional stream reads silence, and so does every stream without a melody.
        melody_sample_rate : int, optional
            Left out, the model's own.
        stride : float, optional
            Seconds, less than ``max_seconds``, by which a song that is longer than the model's
            limit goes on at a time, as in audiocraft's MusicGen (there 18): the model reads the
            last ``max_seconds - stride`` seconds of what there is, at positions that begin anew,
            and nothing before them. Such clips cannot be captured as a whole, because no one pass
            has read them.
        keep : bool
            Keep the tokens on disk (under ``artifacts/clips``), so that chapters which ask for the
            same clips share them. They are named by all that they follow from, edits included.
        decode : bool
            Whether they sound. Without, which takes a third less time on a CPU, their audio is
            empty, shape (clip, 0), as of :meth:`clips`.
        part : Part, optional
            Which clips of a larger call these are, for edits that differ from clip to clip.

        Returns
        -------
        Clips
        """
        prompts = check.texts("prompts", prompts)
        settings = self.settings(seconds, temperature, top_k, cfg, negative, stride)
        beside = beside if isinstance(beside, str) else list(beside)
        if beside:
            beside = check.texts("beside", beside, len(prompts))
        batch_size = check.count("batch_size", batch_size, optional=True)
        frames = self.frames(settings["seconds"])
        begun = None
        if prompt_audio is None and prompt_sample_rate is not None:
            raise ValueError("prompt_sample_rate is that of prompt_audio, and there is none.")
        if prompt_audio is not None:
            begun = self._begun(prompt_audio, prompt_sample_rate, len(prompts), frames)
        chroma = None
        if melody is None and melody_sample_rate is not None:
            raise ValueError("melody_sample_rate is that of a melody, and there is none.")
        if melody is not None:
            windows = self._windows(frames, settings)
            chroma = self._chroma(melody, melody_sample_rate, len(prompts), windows)
        takes = check.count("takes", takes)
        prompts, beside = _repeated(prompts, takes), _repeated(beside, takes)
        begun = None if begun is None else np.repeat(begun, takes, 0)
        chroma = None if chroma is None else np.repeat(chroma, takes, 1)
        seeds = check.seeds(seed, len(prompts), takes)
        part = part or Part(range(len(prompts)), len(prompts))

        def sing():
            return self.sing(
                prompts,
                seeds,
                settings,
                frames,
                part,
                beside=beside,
                begun=begun,
                chroma=chroma,
                size=batch_size,
                progress=progress,
            )

        if keep:
            what = self.follows_from(prompts, seeds, settings, beside, part)
            if begun is not None:
                what["begun"] = begun
            if chroma is not None:
                what["chroma"] = chroma
            tokens = cache.keep("clips", what, sing)
        else:
            tokens = sing()
        return replace(
            self._clips(tokens, prompts, seeds, settings, decode),
            begun=0.0 if begun is None else begun.shape[-1] / self.frame_rate,
            chroma=None if chroma is None else chroma[0],
        )

    def _begun(self, audio, sample_rate, n, frames):
        """Tokens that the clips begin with, int64 [clip, n_q, frame]."""
        sample_rate = self.sample_rate if sample_rate is None else sample_rate
        tokens = self.encode(audio, sample_rate)
        if len(tokens) not in (1, n):
            raise ValueError(
                f"prompt_audio must be one clip, or one for each of {n} prompts. Got {len(tokens)}."
            )
        most = min(frames, self.frames(self.max_seconds))
        if tokens.shape[-1] >= most:
            raise ValueError(
                f"prompt_audio lasts {tokens.shape[-1] / self.frame_rate:g} s, and there must be "
                f"less than {most / self.frame_rate:g} of it: seconds counts what is given, too, "
                f"and the model reads {self.max_seconds:g} s at once."
            )
        return np.broadcast_to(tokens, (n, *tokens.shape[1:]))

    def _chroma(self, audio, sample_rate, n, windows):
        """Chromagrams of the melody that clips follow, float32 [window, clip, frame, pitch class]."""
        reader = melodies.of(self.lm)
        if reader is None:
            raise ValueError(f"{self.name} reads no melody: facebook/musicgen-melody does.")
        audio = check.audio("melody", audio, channels=2)
        sample_rate = self.sample_rate if sample_rate is None else sample_rate
        sample_rate = check.count("melody_sample_rate", sample_rate, 1, 10**6)
        if len(audio) not in (1, n):
            raise ValueError(
                f"melody must be one clip, or one for each of {n} prompts. Got {len(audio)}."
            )
        wave = torch.from_numpy(audio if audio.ndim == 3 else audio[:, None])
        convert = audiocraft.data.audio_utils.convert_audio
        wave = convert(wave, sample_rate, reader.sample_rate, 1)[:, 0]
        found = [reader.chroma(wave)]
        if len(windows) > 1:  # audiocraft's own lengthens the audio then, not the chromagram
            samples = int(self.max_seconds * reader.sample_rate)
            starts = [int(first / self.frame_rate * reader.sample_rate) for first, _ in windows]
            parts = [melodies.from_window(wave, start, samples) for start in starts]
            found = [reader.chroma(part) for part in parts]
        chroma = torch.stack(found).cpu().numpy()
        return np.broadcast_to(chroma, (len(windows), n, *chroma.shape[2:]))

    def frames(self, seconds: float) -> int:
        """Frames of a clip of some length."""
        return max(1, int(seconds * self.frame_rate + 1e-6))

    def settings(
        self, seconds, temperature=None, top_k=None, cfg=None, negative="", stride=None
    ) -> dict:
        """Checked settings, with the model's own defaults where none are given."""
        limit = self.max_seconds
        remedy = (
            f"The model's limit is {limit:g} s. Longer songs are made window by window: give "
            f"generate a stride of less than that, such as stride={0.6 * limit:g}."
        )
        given = {"temperature": temperature, "top_k": top_k, "cfg": cfg}
        given = {
            name: self.defaults[name] if value is None else value for name, value in given.items()
        }
        settings = {
            "seconds": check.number(
                "seconds",
                seconds,
                0,
                limit if stride is None else np.inf,
                open_low=True,
                remedy=remedy,
            ),
            "temperature": check.number("temperature", given["temperature"], 0, 10),
            "top_k": check.count("top_k", given["top_k"], 1, 10**6),
            "cfg": check.number("cfg", given["cfg"], 0, 100),
        }
        if negative is not None and check.texts("negative", [negative]) != [""]:
            settings["negative"] = negative
        if stride is not None:
            frame = 1 / self.frame_rate
            stride = check.number("stride", stride, frame, limit, open_high=True)
            if seconds > limit:  # it is of no matter for others, which are the same without it
                settings["stride"] = stride
        return settings

    def follows_from(self, prompts, seeds, settings, beside, part: Part) -> dict:
        """All that generated tokens follow from."""
        interventions = self.interventions
        return {
            "model": self.identity(),
            "code": cache.code(*SOURCES),
            "prompts": prompts,
            "seeds": seeds,
            "settings": settings,
            "beside": beside,
            "edits": [interventions, part] if interventions else None,
        }

    def sing(
        self,
        prompts,
        seeds,
        settings,
        frames,
        part,
        visitors=None,
        *,
        beside=(),
        begun=None,
        chroma=None,
        size=None,
        progress=False,
    ) -> np.ndarray:
        """Tokens, int64 [clip, n_q, frame], of checked input: what ``generate`` and live captures
        run.

        Parameters
        ----------
        settings : dict
            Of ``Clips``.
        part : Part
        visitors : Visitors, optional
            Who reads, behind the edits in force. They see all clips in one batch, whatever
            ``size``, because what they keep is of its rows; what to do where memory does not
            suffice is left to the caller.
        begun : np.ndarray [shape=(clip, n_q, frame)], optional
            Tokens that the clips begin with.
        chroma : np.ndarray [shape=(window, clip, chroma frame, pitch class)], optional
            Of the melody that they follow.
        """
        hooks.check(self.lm)
        streams = (*STREAMS, BESIDE) if beside else STREAMS
        windows = self._windows(frames, settings)
        self._check_edits(part, frames, streams, len(windows))
        delay = max(self.lm.pattern_provider.delays)
        steps = sum(stop - first + delay for first, stop in windows)
        lengths = self.text_lengths(prompts)
        positions = windows[0].stop + delay + self._prefix(lengths)
        if visitors is not None:
            size = len(prompts)
        size = size or self._at_once(positions, len(streams))
        batches = sizing.parts(range(len(prompts)), size)
        drawn = sampling.Settings(
            settings["temperature"],
            int(settings["top_k"]),
            settings["cfg"],
            settings.get("negative", ""),
        )
        tokens = np.zeros((len(prompts), self.lm.n_q, frames), np.int64)
        known = 0
        if begun is not None:
            known = begun.shape[-1]
            tokens[..., :known] = begun
        with tqdm(
            total=len(batches) * steps,
            desc="generate",
            unit="step",
            disable=not progress,
            leave=False,
        ) as bar:

            def sing_batch(batch):
                rows = slice(batch.start, batch.stop)
                randomness = noise.Noise(seeds[rows], self.device)
                there = known
                for k, (first, stop) in enumerate(windows):
                    about = Run(
                        part[batch], streams, stop - first, tuple(lengths[i] for i in batch)
                    )
                    codes = sampling.sample(
                        self.lm,
                        prompts[rows],
                        stop - first,
                        randomness,
                        drawn,
                        beside[rows] if beside else [],
                        self._visitors(about, visitors),
                        bar.update,
                        tokens[rows, :, first:there] if there > first else None,
                        None if chroma is None else chroma[k][rows],
                    )
                    tokens[rows, :, first:stop] = codes.cpu().numpy()
                    there = stop

            if visitors is not None:
                sing_batch(*batches)
            else:
                for _ in sizing.each_batch(batches, sing_batch, "generate"):
                    pass
        return tokens

    def _prefix(self, lengths):
        """Most positions in front of the music."""
        if not forward.prefixed(self.lm):
            return 0
        reader = melodies.of(self.lm)
        return max(lengths) + (0 if reader is None else reader.length)

    def _windows(self, frames, settings):
        """What songs are generated in; one window where they are no longer than the limit."""
        stride = settings.get("stride", self.max_seconds)
        return sampling.windows(frames, self.frames(self.max_seconds), self.frames(stride))

    def _at_once(self, steps, streams):
        """How many clips are generated at once: what each takes must fit into the memory that is
        free.
        """
        return sizing.fits(self._bytes_of_steps(steps, streams), self.device, AT_ONCE)

    def _bytes_of_steps(self, steps, streams):
        """What one clip takes: keys and values of all streams, logits and random numbers."""
        blocks = len(self.lm.transformer.layers)
        each = forward.past_dtype(self.lm).itemsize
        kept = sizing.keys_and_values(blocks, self.lm.dim, steps, streams, each)
        drawn = (3 * sampling.BLOCK + 4 * streams) * self.lm.n_q * self.lm.card * 4
        return kept + drawn

    def _check_edits(self, part, frames, streams, windows=1):
        for prepared in self.in_force:
            prepared.check(part, frames, streams)
            if windows > 1 and prepared.along_frames:
                raise ValueError(
                    f"{prepared.where} changes along the frames, and these songs are made in "
                    f"{windows} windows whose positions begin anew. Give an edit that is the same "
                    f"at all frames, or at most {self.max_seconds:g} s."
                )

    def _visitors(self, about: Run, readers: Visitors | None) -> Visitors:
        """Edits in force, then whoever reads what they leave."""
        functions = {}
        for prepared in self.in_force:
            functions.setdefault(prepared.site.name, []).append(prepared.visitor(about))
        visitors = Visitors(functions)
        return visitors if readers is None else visitors + readers

    def check_clips(self, clips: Clips, melody: bool = True) -> None:
        """Refuse clips of another model, and those that no one pass of it can read.

        The melody is part of them: one that this model does not read is refused, too, and any where
        ``melody`` is false.

        Raises
        ------
        ValueError
        """
        tokens = clips.tokens
        if not tokens.size or tokens.dtype.kind not in "iu" or tokens.min() < 0:
            check.refuse(
                ValueError,
                "clips",
                "some, with tokens of integers from 0 on",
                f"{len(clips)} clips, tokens {tokens.dtype} of shape {tokens.shape}",
                "model.generate and model.clips give such.",
            )
        if tokens.ndim != 3 or tokens.shape[1] != self.lm.n_q or tokens.max() >= self.lm.card:
            raise ValueError(
                f"{self.name} has {self.lm.n_q} codebooks of {self.lm.card} tokens. The clips hold "
                "tokens of shape "
                f"{tokens.shape} up to {tokens.max()}: are they of another model?"
            )
        reader = melodies.of(self.lm)
        read = None if reader is None else (len(clips), reader.length, reader.dim)
        if clips.chroma is not None and clips.chroma.shape != read:
            raise ValueError(
                f"The clips follow a melody, a chromagram of shape {clips.chroma.shape}, and "
                f"{self.name} reads {'none' if read is None else read}: are they of another model?"
            )
        if clips.chroma is not None and not melody:
            raise ValueError(
                "These clips follow a melody, and this reads prompts and music alone: "
                "model.clips(clips.tokens, clips.prompts) is the same music without it."
            )
        most = self.frames(self.max_seconds) + 1
        if tokens.shape[-1] > most:
            raise ValueError(
                f"The clips last {tokens.shape[-1] / self.frame_rate:g} s, and {self.name} reads "
                f"{self.max_seconds:g} s at once. Look at a part of them, which is read as music "
                "that begins there: model.clips(clips.tokens[..., first:stop], clips.prompts)."
            )

    # ---------------------------------------------------------------------------------------- audio
    # <-> tokens
    @torch.no_grad()
    def encode(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Audio to tokens.

        Parameters
        ----------
        audio : array_like [shape=(sample,), (clip, sample) or, for a stereo model, (clip, channel,
        sample)]
            Floats of about -1 to 1 at any rate. A stereo model plays mono on both channels.
        sample_rate : int

        Returns
        -------
        np.ndarray [shape=(clip, n_q, frame)], int64

        Raises
        ------
        TypeError, ValueError
            Integers, samples before channels, NaN, nothing, or more than the model's longest clip.
        """
        audio = check.audio("audio", audio, channels=self.codec.channels)
        if self.codec.channels > 1:
            _check_channels(audio)
        sample_rate = check.count("sample_rate", sample_rate, 1, 10**6)
        seconds = audio.shape[-1] / sample_rate
        if seconds > self.max_seconds + 1 / self.frame_rate:
            raise ValueError(
                f"audio must be at most {self.max_seconds:g} s long, the model's limit. Got "
                f"{seconds:g} s: take excerpts."
            )
        audio = audio if audio.ndim == 3 else audio[:, None]
        convert = audiocraft.data.audio_utils.convert_audio
        samples = round(seconds * self.sample_rate)

        def encode(batch):
            wave = torch.from_numpy(audio[batch.start : batch.stop])
            wave = convert(wave, sample_rate, self.sample_rate, self.codec.channels)
            return self.codec.encode(wave.to(self.device))[0].cpu()

        return torch.cat(self._by_codec(len(audio), samples, encode, "encode")).numpy()

    @torch.no_grad()
    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens [clip, n_q, frame] to audio, float32 [clip, sample];

        of a stereo model [clip, channel, sample].
        """
        tokens = self._tokens(tokens)
        codes = torch.from_numpy(tokens.astype(np.int64))
        samples = round(tokens.shape[-1] / self.frame_rate * self.sample_rate)

        def decode(batch):
            some = codes[batch.start : batch.stop].to(self.device)
            return self.codec.decode(some, None).float().cpu()

        audio = torch.cat(self._by_codec(len(codes), samples, decode, "decode")).numpy()
        return audio[:, 0] if self.codec.channels == 1 else audio

    def _by_codec(self, n, samples, work, what):
        """What the codec makes of so many clips, some at a time."""
        size = sizing.clips_at_once(samples, self.codec.channels)
        batches = sizing.parts(range(n), size)
        return [found for _, found in sizing.each_batch(batches, work, what)]

    def clips(self, tokens: np.ndarray, prompts: list[str], decode: bool = True) -> Clips:
        """Clips of music that exists (from ``encode``), under prompts of one's choice.

        ``decode=False`` leaves their audio empty, shape (clip, 0): for so many that it would not
        fit in memory.
        """
        tokens = self._tokens(tokens)
        prompts = check.texts("prompts", prompts, len(tokens))
        settings = {"seconds": tokens.shape[-1] / self.frame_rate}
        return self._clips(tokens, prompts, [0] * len(prompts), settings, decode)

    def _tokens(self, tokens):
        """Tokens [clip, n_q, frame] that this model has, as numpy holds them."""
        tokens = tokens.detach().cpu() if isinstance(tokens, torch.Tensor) else tokens
        tokens = check.array("tokens", tokens, ("clip", self.lm.n_q, "frame"), integer=True)
        if tokens.min() < 0 or tokens.max() >= self.codec.cardinality:
            raise ValueError(
                f"tokens must be from 0 to {self.codec.cardinality - 1}. Got values from "
                f"{tokens.min()} to {tokens.max()}."
            )
        return tokens

    def _clips(self, tokens, prompts, seeds, settings, decode=True):
        audio = self.decode(tokens) if decode else np.zeros((len(tokens), 0), np.float32)
        return Clips(tokens, audio, self.sample_rate, self.frame_rate, prompts, seeds, settings)

    # ------------------------------------------------------------------------------------ replaying
    def replay(
        self,
        tokens: np.ndarray,
        prompts: list[str],
        streams: tuple[str, ...] = ("cond",),
        *,
        chroma: np.ndarray | None = None,
        part: Part | None = None,
        visitors: Visitors | None = None,
    ) -> torch.Tensor:
        """One teacher-forced pass over tokens that exist.

        Parameters
        ----------
        tokens : np.ndarray [shape=(clip, n_q, frame)]
        prompts : list of str
        streams : tuple of "cond" and "uncond"
        chroma : np.ndarray [shape=(clip, chroma frame, pitch class)], optional
            Of the melody that the conditional stream reads (``Clips.chroma``).
        part : Part, optional
            Which clips of a larger call these are, for edits that differ from clip to clip.
        visitors : Visitors, optional
            Who reads, behind the edits in force.

        Returns
        -------
        torch.Tensor [shape=(stream * clip, n_q, position, card)]
            Logits; position p predicts codebook k of frame p - delay[k]. Gradients flow unless
            torch.no_grad() is on.

        Raises
        ------
        TypeError, ValueError
            Tokens that the model does not have, not one prompt a clip, another stream.
        """
        hooks.check(self.lm)
        tokens = self._tokens(tokens)
        prompts = check.texts("prompts", prompts, len(tokens))
        streams = tuple(check.choice("streams", each, STREAMS) for each in _listed(streams))
        n = len(prompts)
        part = part or Part(range(n), n)
        lengths = self.text_lengths(prompts)
        about = Run(part, streams, tokens.shape[-1], tuple(lengths))
        self._check_edits(part, about.frames, about.streams)
        visitors = self._visitors(about, visitors)
        network = forward.Network(self.lm)
        rows = [prompt if stream == "cond" else None for stream in streams for prompt in prompts]
        melody = sampling.rows_of_chroma(self.lm, chroma, [s == "cond" for s in streams])
        text = network.read_text(rows, visitors, lengths * len(streams), melody)
        return network.pass_through(
            self.sequence(tokens).repeat(len(streams), 1, 1), text, visitors
        )

    def sequence(self, tokens: np.ndarray) -> torch.Tensor:
        """Tokens in the delay pattern, as the language model reads them:

        int64 [clip, n_q, position] on the device.
        """
        codes = torch.as_tensor(np.asarray(tokens), dtype=torch.long).to(self.device)
        pattern = self.lm.pattern_provider.get_pattern(codes.shape[-1])
        sequence, _, _ = pattern.build_pattern_sequence(codes, self.lm.special_token_id)
        return sequence[..., :-1]

    @torch.no_grad()
    def predictions(self, clips: Clips, stream: str = "cond", batch_size: int = 16):
        """Log-probabilities of every token in teacher-forced passes.

        Yields
        ------
        list of int, torch.Tensor [shape=(clip, n_q, frame, card)], float32
            Numbers of clips, and what is predicted of them.
        """
        check.choice("stream", stream, STREAMS)
        self.check_clips(clips)
        frames = clips.tokens.shape[-1]
        delays = self.lm.pattern_provider.delays

        def predict(batch):
            logits = self.replay(
                clips.tokens[batch],
                [clips.prompts[i] for i in batch],
                (stream,),
                chroma=None if clips.chroma is None else clips.chroma[batch],
                part=Part(batch, len(clips)),
            )
            aligned = torch.stack([logits[:, k, d : d + frames] for k, d in enumerate(delays)], 1)
            return aligned.float().log_softmax(-1)

        size = check.count("batch_size", batch_size)
        each = self.bytes_of_a_pass(frames) + 3 * 4 * self.lm.n_q * frames * self.lm.card
        batches = self.batches(clips.prompts, sizing.fits(each, self.device, size))
        yield from sizing.each_batch(batches, predict, "predict")

    def bytes_of_a_pass(self, frames: int) -> int:
        """Bytes that one clip takes on its way through the blocks (``sizing.one_pass``)."""
        positions = frames + max(self.lm.pattern_provider.delays) + self._prefix([0])
        return sizing.one_pass(self.lm.dim, positions)

    def bytes_of_singing(self, prompts: list[str], frames: int) -> int:
        """Bytes that the longest of some prompts takes while a clip is sung, both streams."""
        delay = max(self.lm.pattern_provider.delays)
        positions = frames + delay + self._prefix(self.text_lengths(prompts))
        return self._bytes_of_steps(positions, len(STREAMS))

    def cross_entropy(self, clips: Clips, stream: str = "cond", batch_size: int = 16) -> np.ndarray:
        """Nats a token that a teacher-forced pass over each clip costs, float64 [clip]:

        frames and codebooks averaged.
        """
        losses = np.zeros(len(clips))
        for batch, log_p in self.predictions(clips, stream, batch_size):
            codes = torch.as_tensor(clips.tokens[batch]).to(log_p.device)
            losses[batch] = -log_p.gather(-1, codes[..., None]).mean((1, 2, 3)).cpu().numpy()
        if np.isnan(losses).any():
            raise OverflowError(sampling.NOT_FINITE)
        return losses

    def batches(self, prompts: list[str], size: int) -> list[list[int]]:
        """Numbers of prompts with equally many text tokens, at most ``size`` together."""
        groups = {}
        for i, length in enumerate(self.text_lengths(prompts)):
            groups.setdefault(length, []).append(i)
        return [part for group in groups.values() for part in sizing.parts(group, size)]

    def text_lengths(self, prompts: list[str]) -> list[int]:
        """Number of text tokens of each prompt."""
        return sampling.text_lengths(self.lm, check.texts("prompts", prompts))

    def tokens_of(self, prompt: str, word: str) -> list[int]:
        """Numbers of the text tokens of a word, or of several side by side, where a prompt first has
        it; none where it has not.
        """
        found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", prompt)
        if found is None:
            return []
        spans = self._tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
        return [k for k, (a, b) in enumerate(spans) if a < found.end() and b > found.start()]

    def unread(self, texts: list[str]) -> list[str]:
        """Words of some texts that the text encoder cannot have learned.

        Its tokenizer knows no token for them, or spells them letter by letter as the organisms' does
        with what was in no caption.
        """
        tokenizer = self._tokenizer
        texts = check.texts("texts", texts)
        words = dict.fromkeys(word for text in texts for word in text.replace(",", " ").split())
        unknown = []
        for word in words:
            ids = tokenizer(word, add_special_tokens=False)["input_ids"]
            spelled = any(piece.startswith("##") for piece in tokenizer.convert_ids_to_tokens(ids))
            if spelled or tokenizer.unk_token_id in ids:
                unknown.append(word)
        return unknown

    @property
    def _tokenizer(self):
        return self.lm.condition_provider.conditioners["description"].t5_tokenizer


def _check_channels(audio):
    """Refuse what may be two clips, or the two channels of one."""
    if audio.ndim == 2 and len(audio) == 2:
        remedy = "Write audio[None] for one clip in stereo, audio[:, None] for two clips."
        expected = "of shape (clip, channel, sample), where (2, sample) may mean two things"
        check.refuse(ValueError, "audio", expected, audio.shape, remedy)


def _listed(streams):
    """Streams as a list; one alone is no list of letters."""
    if isinstance(streams, str):
        check.refuse(TypeError, "streams", "a tuple of texts", streams, f"Write ({streams!r},).")
    return list(streams)


def _repeated(texts, times):
    """Each text so often, one after the other."""
    return [text for text in texts for _ in range(times)]


def _vocabulary(tokenizer):
    """All that a tokenizer's answers follow from, as one text: that is hashed at once."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps(sorted(tokenizer.get_vocab().items()))
    parts = json.loads(backend.to_str())
    for state in ("padding", "truncation"):  # of the last call
        parts.pop(state, None)
    return json.dumps(parts, sort_keys=True)
