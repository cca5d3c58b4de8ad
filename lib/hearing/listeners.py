"""Listeners: anything that hears clips and answers with valence and arousal.

``get("cues")`` adds up measured cues with the weights of the organisms' world (ordered after
Eerola, Friberg and Bresin 2013) and was fitted to nothing. ``get("corpus")`` was trained on
measured cues of rendered music of that world. ``get("spectra")`` measures no cue: it learned from
spectra of music by another composer on other instruments (``organism.foreign``), as a model's codec
plays them, so that it shares neither measures nor music with the other two. These three name the
emotion. ``get("vibenet")`` and ``get("clap")`` are networks that others trained on recorded music.
Any function of a clip is a listener, too (:class:`Measure`): what it returns says of which concept.
A cue's name, an axis's and "instrument" are such measures that come ready.
A listener is only as good as its reliability on the audio at hand: :func:`reliability` measures it
on held-out music of the known world, and :func:`trusted` says who has a voice.

>>> from lib.hearing import listeners
>>> from lib.organism import music
>>> slow, fast = (music.clip(music.Cues(tempo=tempo), seconds=3) for tempo in (60, 160))
>>> arousal = listeners.get("cues")([slow, fast])["arousal"]
>>> bool(arousal[0] < arousal[1])
True
"""

import functools
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import librosa
import numpy as np
import pandas as pd
import soundfile
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import cache, check, stats
from ..organism import corpus, foreign, music, world
from . import acoustics, spectra, timbre

CUES = list(world.CUES)
AXES = ("valence", "arousal")
LISTENERS = ("cues", "corpus", "spectra", "vibenet", "clap")
#: Measures that come ready, for concepts with levels.
MEASURES = (*CUES, *AXES, "instrument")
#: Rendered clips that listeners learn from; tests make do with fewer.
TRAINING_CLIPS = int(os.environ.get("BOOK_LISTENER_CLIPS", "900"))
TRAINING_SEED = 900
HELD_OUT_SEED = 901
#: Seconds of the clips that "spectra" learns from: about as long as the songs that chapters sing.
EXCERPT = 3.0
#: What a listener must reach on held-out music to have a voice: where the intervals of its rank
#: correlations begin, and that of its accuracy if it names emotions (chance is 0.2).
BARS = {"valence": 0.5, "arousal": 0.5, "emotion": 0.4}
#: With fewer clips, an emotion or a cue's spread may be missing from what a listener learns.
FEWEST_CLIPS = 30
#: Libraries whose version the measured cues of rendered music follow from.
LIBRARIES = ("librosa", "numpy", "scipy", "pretty_midi", "tinysoundfont")


# ----------------------------------------------------------------------------------------- features
def features(audios, sample_rate: float) -> pd.DataFrame:
    """What the listeners "cues" and "corpus" hear: the measured cues, tempo as log2.

    Nothing finer: a listener that learned from clean clips and heard spectra, too (MFCC and their
    change), told corpus clips apart no better, and a codec's smoothing alone, which leaves the cues
    as they are, took its accuracy from 0.81 to 0.52. That is why "spectra" learns through a codec.

    Parameters
    ----------
    audios, sample_rate
        As for ``acoustics.measure_all``.

    Returns
    -------
    pd.DataFrame
        One row a clip, columns ``world.CUES``.
    """
    measured = acoustics.measure_all(audios, sample_rate)
    measured["tempo"] = np.log2(measured["tempo"])
    return measured


def corpus_features(
    n: int, seed: int, world_name: str = "organism"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`features` of rendered music with its causes, kept on disk.

    Returns
    -------
    measured, table : pd.DataFrame
        One row a clip: :func:`features`, and ``corpus.table``.
    """
    table = corpus.table(world_name, n, seed)
    what = {
        "causes": table[[*CUES, "instrument", "clip_seed"]],
        "code": cache.code(music, world, corpus.render, corpus.sample, acoustics, features),
        "seconds": corpus.SECONDS,
        "libraries": versions(),
    }

    def compute():
        audio, _ = corpus.sample(n, seed, world_name)
        return features(audio, music.SAMPLE_RATE).to_numpy()

    return pd.DataFrame(cache.keep("hearing", what, compute), columns=CUES), table


def foreign_spectra(n: int, seed: int, codec=None) -> tuple[np.ndarray, pd.DataFrame]:
    """What "spectra" learns from, kept on disk: ``spectra.describe`` of foreign music.

    Parameters
    ----------
    n, seed : int
    codec : Model, optional
        Plays the music: it is encoded and decoded again.

    Returns
    -------
    described : np.ndarray [shape=(clip, number)]
    table : pd.DataFrame
        From ``corpus.table``.
    """
    table = corpus.table("organism", n, seed)
    what = {
        "causes": table[[*CUES, "clip_seed"]],
        "code": cache.code(foreign, music, world, spectra),
        "codec": _content(codec),
        "seconds": EXCERPT,
        "libraries": versions(),
    }

    def compute():
        audio, _ = foreign.sample(n, seed, seconds=EXCERPT)
        return spectra.describe(*played(audio, codec))

    return cache.keep("hearing/spectra", what, compute), table


def corpus_timbres(n: int, seed: int, codec=None) -> tuple[np.ndarray, np.ndarray]:
    """What "instrument" learns from, kept on disk: timbres of rendered music.

    Parameters
    ----------
    n, seed : int
    codec : Model, optional
        Plays the music: it is encoded and decoded again.

    Returns
    -------
    described : np.ndarray [shape=(clip, number)]
    instruments : np.ndarray [shape=(clip,)]
        Their names.
    """
    table = corpus.table("organism", n, seed)
    what = {
        "causes": table[[*CUES, "instrument", "clip_seed"]],
        "code": cache.code(music, world, corpus.render, corpus.sample, timbre),
        "codec": _content(codec),
        "seconds": EXCERPT,
        "libraries": versions(),
    }

    def compute():
        audio, _ = corpus.sample(n, seed)
        return timbre.describe(*played(audio[:, : round(EXCERPT * music.SAMPLE_RATE)], codec))

    return cache.keep("hearing/timbre", what, compute), table["instrument"].to_numpy()


def versions() -> dict[str, str]:
    """Of the libraries that rendered music and its measures follow from."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def played(audio: np.ndarray, codec=None) -> tuple[np.ndarray, int]:
    """Rendered music [clip, sample] as a model's codec plays it, in mono, and its sample rate;
    without one, as it is.
    """
    if codec is None:
        return audio, music.SAMPLE_RATE
    # two clips in mono could be taken for one in stereo
    tokens = codec.encode(audio[:, None], music.SAMPLE_RATE)
    return decoded(tokens, codec), codec.sample_rate


def decoded(tokens: np.ndarray, codec) -> np.ndarray:
    """What a model's codec plays of tokens, [clip, sample]: of stereo the mean of both channels."""
    audio = codec.decode(tokens)
    return audio.mean(1) if audio.ndim == 3 else audio


def _content(codec):
    """What a codec is known by: organisms share one."""
    return None if codec is None else cache.digest(dict(codec.codec.state_dict()))


# ---------------------------------------------------------------------------------------- listeners
class Listener:
    """Something that hears clips and answers with valence and arousal.

    ``listener(audios, sample_rate)`` takes clips of ``model.generate``, an array [clip, sample], or
    a list of arrays and of paths to audio files. It returns a DataFrame with valence and arousal on
    the listener's own scale and, once ``error`` is known, the ends of their 95 % intervals
    (valence_low, ...): where it would put other clips that sound just as happy or aroused, on
    rendered music.

    Attributes
    ----------
    name : str
    reliability : stats.Estimate or None
        How often it names what is there, where that is known of this one alone.
    levels : tuple of str
        What it names: emotions, or the levels of a concept; none if it names nothing.
    error : dict or None
        Axis -> standard deviation of its answers given what is perceived, from
        :func:`reliability`.
    """

    name = "listener"
    levels: tuple[str, ...] = ()
    reliability: stats.Estimate | None = None
    error: dict[str, float] | None = None

    def answer(self, audio, sample_rate: float) -> pd.DataFrame:
        """Valence and arousal (and emotion, if it names one) of some mono clips."""
        raise NotImplementedError

    def __call__(self, audios, sample_rate: float = music.SAMPLE_RATE) -> pd.DataFrame:
        answers = self.answer(*_clips(audios, sample_rate))
        for axis, error in (self.error or {}).items():
            answers[f"{axis}_low"] = answers[axis] - 1.96 * error
            answers[f"{axis}_high"] = answers[axis] + 1.96 * error
        return answers


class CueListener(Listener):
    """Standardised measured cues times published weights.

    Nothing is fitted; the corpus only gives mean and spread.

    Parameters
    ----------
    reference : pd.DataFrame
        :func:`features` of the music whose mean and spread are the unit.
    """

    name = "cues"
    levels = tuple(world.EMOTIONS)

    def __init__(self, reference: pd.DataFrame):
        self.centre = reference[CUES].mean()
        self.spread = reference[CUES].std()

    def profile(self, measured: pd.DataFrame) -> pd.DataFrame:
        """Standardised cues (columns ``world.CUES``) from :func:`features`; mode is 1 or -1."""
        profile = (measured[CUES] - self.centre) / self.spread
        profile["mode"] = np.sign(measured["mode"])
        return profile

    def hear(self, measured: pd.DataFrame) -> pd.DataFrame:
        """Valence, arousal and emotion from :func:`features`."""
        profile = self.profile(measured)
        answers = pd.DataFrame({axis: _weighted(profile, axis) for axis in AXES})
        answers["emotion"], _ = world.name_emotion(answers.to_numpy())
        return answers

    def answer(self, audio, sample_rate):
        return self.hear(features(audio, sample_rate))


def _weighted(profile, axis):
    """The world's weights times the cues, added up."""
    return sum(
        edges[axis] * profile[cue]
        for cue, edges in world.EDGES.items()
        if cue in profile and axis in edges
    )


class CorpusListener(CueListener):
    """Trained on rendered music: ridge regression for the axes, logistic for the emotion.

    The emotion is learned from clear clips, those a listener of the world would name.

    Parameters
    ----------
    reference, table : pd.DataFrame
        From :func:`corpus_features`.
    """

    name = "corpus"

    def __init__(self, reference: pd.DataFrame, table: pd.DataFrame):
        super().__init__(reference)
        measured = reference[CUES]
        clear = table["clear"].to_numpy()
        ridge = RidgeCV(np.logspace(-2, 4, 13))
        logistic = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced")
        self.regression = make_pipeline(StandardScaler(), ridge)
        self.regression.fit(measured, table[list(AXES)])
        self.classifier = make_pipeline(StandardScaler(), logistic)
        self.classifier.fit(measured[clear], table["emotion"][clear])

    def hear(self, measured: pd.DataFrame) -> pd.DataFrame:
        """Valence, arousal and emotion from :func:`features`."""
        measured = measured[CUES]
        answers = pd.DataFrame(self.regression.predict(measured), columns=list(AXES))
        answers["emotion"] = self.classifier.predict(measured)
        return answers


class SpectraListener(Listener):
    """Ridge regression from spectra to the axes; the emotion is the nearest on the plane.

    That names emotions of foreign music as well as a classifier does (0.70 against 0.66 of clips
    that had no part in the training, with 0.2 for chance), with nothing more to learn.

    Parameters
    ----------
    described : np.ndarray [shape=(clip, number)]
    table : pd.DataFrame
        From :func:`foreign_spectra`.
    """

    name = "spectra"
    levels = tuple(world.EMOTIONS)

    def __init__(self, described: np.ndarray, table: pd.DataFrame):
        ridge = RidgeCV(np.logspace(-2, 5, 15), alpha_per_target=True)
        self.regression = make_pipeline(StandardScaler(), ridge)
        self.regression.fit(described, table[list(AXES)].to_numpy())

    def answer(self, audio, sample_rate):
        places = self.regression.predict(spectra.describe(audio, sample_rate))
        answers = pd.DataFrame(places, columns=list(AXES))
        answers["emotion"], _ = world.name_emotion(places)
        return answers


class Measure(Listener):
    """Any function of a clip as a listener, of any concept.

    Parameters
    ----------
    function : callable
        (audio float32 [sample], sample rate in Hz) -> a number; or one number a level, as a
        sequence in their order or a mapping: the level with the largest is the one that is heard.
    levels : iterable of str
        Of the concept, each once. Where the function returns one number, from low to high: which of
        them is heard is known once :meth:`calibrate` has said where they part.
    name : str, optional
        The function's own, if left out.

    Attributes
    ----------
    cuts : np.ndarray or None
        Where the levels of a number part, [level - 1].
    """

    def __init__(self, function: Callable, levels: Iterable[str] = (), name: str | None = None):
        self.function = function
        self.levels = _levels(levels)
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.cuts = None

    def calibrate(self, audios, sample_rate: float = music.SAMPLE_RATE) -> None:
        """Learn where the levels of a number part: into equally many of some clips.

        Parameters
        ----------
        audios, sample_rate
            As for any listener: clips that were asked for every level equally often.
        """
        answers = self(audios, sample_rate)
        if "value" in answers and self.levels:
            shares = np.arange(1, len(self.levels)) / len(self.levels)
            self.cuts = np.quantile(answers["value"], shares)

    def answer(self, audio, sample_rate):
        """One column "value", or one a level; and "level", which is heard, where that is known."""
        return self.named([self._one(clip, sample_rate) for clip in audio])

    def named(self, values) -> pd.DataFrame:
        """Answers from numbers [clip] or [clip, level]."""
        lengths = {np.shape(value) for value in values}
        if len(lengths) > 1:
            raise ValueError(
                f"The measure {self.name!r} must return the same for every clip: one number, or one "
                "a level. It returns a number for some clips and several for others."
            )
        values = np.asarray(values, float)
        if values.ndim == 1:
            answers = pd.DataFrame({"value": values})
            if self.cuts is None:
                return answers
            heard = np.searchsorted(self.cuts, values)
        else:
            answers = pd.DataFrame(values, columns=list(self.levels))
            heard = values.argmax(1)
        return answers.assign(level=np.array(self.levels)[heard])

    def _one(self, clip, sample_rate):
        """A number of one clip, or a list of one a level."""
        given = self.function(clip, sample_rate)
        if isinstance(given, Mapping):
            if missing := set(self.levels) - set(given):
                raise ValueError(
                    f"The measure {self.name!r} must return a number for each of "
                    f"{', '.join(self.levels)}. Missing: {', '.join(sorted(missing))}."
                )
            given = [given[level] for level in self.levels]
        if np.ndim(given) == 0:
            what = f"What the measure {self.name!r} returns"
            return check.number(what, given.item() if hasattr(given, "item") else given)
        what = f"What the measure {self.name!r} returns for {', '.join(self.levels) or 'no level'}"
        return check.array(what, given, (len(self.levels),)).astype(float).tolist()


def _levels(levels):
    """The levels of a concept, each once, from any iterable; none if it is empty."""
    if isinstance(levels, Iterable) and not isinstance(levels, str):
        levels = list(levels)
        if not levels:
            return ()
    found = tuple(check.texts("levels", levels))
    if len(set(found)) < len(found):
        check.refuse(ValueError, "levels", "different from each other", found)
    return found


class CueMeasure(Measure):
    """A measured cue, or an axis of emotion as "cues" hears it, as a measure of a concept.

    Parameters
    ----------
    what : str
        A cue or an axis.
    levels : sequence of str
        From low to high.
    n : int
        As for :func:`get`.
    """

    def __init__(self, what: str, levels: Iterable[str], n: int = TRAINING_CLIPS):
        super().__init__(self.hear, levels, what)
        self.n = n

    def hear(self, measured: pd.DataFrame) -> pd.DataFrame:
        """The answers from :func:`features`."""
        if self.name in AXES:
            measured = _trained("cues", self.n).hear(measured)
        return self.named(measured[self.name])

    def answer(self, audio, sample_rate):
        return self.hear(features(audio, sample_rate))


class VibeNet(Listener):
    """An EfficientNet distilled on Spotify-like labels of the Free Music Archive.

    The ``vibenet`` package has the weights inside. It was made for recorded music. Arousal is its
    "energy"; both lie between 0 and 1.
    """

    name = "vibenet"

    def __init__(self):
        with warnings.catch_warnings():
            # its reader of files misses ffmpeg, which is not used here
            warnings.simplefilter("ignore")
            import vibenet

            self.network = vibenet.load_model()

    def answer(self, audio, sample_rate):
        padded = [librosa.util.fix_length(a, size=max(len(a), sample_rate)) for a in audio]
        scores = self.network.predict(padded, sample_rate)
        return pd.DataFrame([{"valence": s.valence, "arousal": s.energy} for s in scores])


class Clap(Listener):
    """CLAP (Wu et al. 2023): how much nearer a clip is to one description than to its opposite.

    Averaged over wordings, and over a clip: the network hears ten seconds at once, so that a longer
    clip is heard in equally long windows.

    Parameters
    ----------
    source : str
        Name on the Hugging Face hub, or a folder in its format.

    Raises
    ------
    ValueError
        The source is not there, damaged, or no CLAP.
    """

    name = "clap"
    SOURCE = "laion/larger_clap_music"
    POLES: ClassVar = {
        "valence": (
            ("happy music", "a joyful, positive song"),
            ("sad music", "a gloomy, negative song"),
        ),
        "arousal": (
            ("energetic music", "an exciting, intense song"),
            ("calm music", "a quiet, relaxing song"),
        ),
    }
    #: Clips embedded at once: their spectrograms are large.
    TOGETHER = 16

    def __init__(self, source: str = SOURCE):
        self.processor, self.network = _load_clap(source)

    def answer(self, audio, sample_rate, prompts: Iterable[str] | None = None):
        """Valence and arousal of some mono clips.

        Given each clip's prompt, also its cosine with the clip ("agreement"): the usual CLAP score
        of adherence.
        """
        clips = self._embed_audio(audio, sample_rate)
        answers = pd.DataFrame()
        for axis, (high, low) in self.POLES.items():
            toward = clips @ self._embed_texts(high).T
            away = clips @ self._embed_texts(low).T
            answers[axis] = toward.mean(1) - away.mean(1)
        if prompts is not None:
            texts = self._embed_texts(check.texts("prompts", prompts, len(clips)))
            answers["agreement"] = (clips * texts).sum(1)
        return answers

    def _embed_audio(self, audio, sample_rate):
        """One vector of unit length a clip, [clip, dim]."""
        extractor = self.processor.feature_extractor
        parts = []
        for start in range(0, len(audio), self.TOGETHER):
            clips = [
                librosa.resample(clip, orig_sr=sample_rate, target_sr=extractor.sampling_rate)
                for clip in audio[start : start + self.TOGETHER]
            ]
            parts += self._embed_cut([_windows(clip, extractor.nb_max_samples) for clip in clips])
        return np.stack(parts)

    def _embed_cut(self, clips):
        """One vector a clip, of clips in windows: the direction of the windows' mean."""
        windows = [window for clip in clips for window in clip]
        embedded = [
            self._embed_windows(windows[start : start + self.TOGETHER])
            for start in range(0, len(windows), self.TOGETHER)
        ]
        ends = np.cumsum([len(clip) for clip in clips])[:-1]
        means = [part.mean(0) for part in np.split(np.concatenate(embedded), ends)]
        return [mean / np.linalg.norm(mean) for mean in means]

    def _embed_windows(self, windows):
        rate = self.processor.feature_extractor.sampling_rate
        inputs = self.processor(audio=windows, sampling_rate=rate, return_tensors="pt")
        # no window is; with truncation "fusion", the extractor would call one so at random
        inputs["is_longer"] = inputs["is_longer"] & False
        return _unit_vectors(self.network.get_audio_features, inputs)

    def _embed_texts(self, texts):
        inputs = self.processor(text=list(texts), return_tensors="pt", padding=True)
        return _unit_vectors(self.network.get_text_features, inputs)


def _windows(clip, longest):
    """A clip in as few equally long windows as have at most so many samples: of more, the extractor
    would take a part at random.
    """
    return np.array_split(clip, -(-len(clip) // longest))


def _unit_vectors(embed, inputs):
    """Embeddings of unit length, [clip or text, dim]."""
    import torch

    with torch.no_grad():
        embedded = embed(**inputs)
    embedded = getattr(embedded, "pooler_output", embedded)
    return (embedded / embedded.norm(dim=-1, keepdim=True)).numpy()


def _load_clap(source):
    """Processor and network of a CLAP; the hub is asked only for what is not on this machine."""
    advice = "The listeners 'cues', 'corpus', 'spectra' and 'vibenet' need no download."
    try:
        if Path(source).is_dir():
            return _read_clap(source, local_files_only=True)
        return _read_cached_or_fetch_clap(source)
    except Exception as error:  # transformers and the hub raise many kinds for what is not right
        cause = (str(error) or repr(error)).splitlines()[0][:1000]
        if Path(source).is_dir():
            raise ValueError(
                f"The folder {str(source)!r} holds no CLAP that can be read: {cause} It must hold "
                f"what save_pretrained of a ClapModel and a ClapProcessor writes. {advice}"
            ) from error
        raise ValueError(
            f"The listener 'clap' needs {source!r} from the Hugging Face hub, or a folder that "
            f"holds it (listeners.get('clap', source=folder)): {cause} {advice}"
        ) from error


def _read_cached_or_fetch_clap(source):
    try:
        return _read_clap(source, local_files_only=True)
    except OSError:  # not, or not all of it, on this machine
        import huggingface_hub

        # one question first: where nobody answers, transformers would ask again for minutes
        huggingface_hub.HfApi().model_info(source, timeout=10)
        return _read_clap(source, local_files_only=False)


def _read_clap(source, local_files_only):
    import transformers

    processor = transformers.ClapProcessor.from_pretrained(
        source, local_files_only=local_files_only
    )
    network, report = transformers.ClapModel.from_pretrained(
        source, local_files_only=local_files_only, output_loading_info=True
    )
    _check_clap(processor, network, report["missing_keys"])
    return processor, network.eval()


def _check_clap(processor, network, missing):
    """transformers only warns where weights are missing, and makes a tokenizer of its own."""
    missing = sorted(set(missing) & set(dict(network.named_parameters())))
    if missing:
        raise ValueError(f"its weights lack {len(missing)} parameters, {missing[0]} first.")
    tokens = processor.tokenizer("happy music", add_special_tokens=False)["input_ids"]
    text = processor.tokenizer.decode(tokens, skip_special_tokens=True)
    if text.replace(" ", "") != "happymusic":
        raise ValueError(
            f"its tokenizer is missing or damaged: it reads 'happy music' as {text!r}."
        )


def get(
    name: str | Callable,
    n: int = TRAINING_CLIPS,
    source: str | os.PathLike = Clap.SOURCE,
    codec=None,
    levels: Iterable[str] = (),
) -> Listener:
    """A listener by name, the same one each time; or one from any function of a clip.

    Parameters
    ----------
    name : str or callable
        One of :data:`LISTENERS` or :data:`MEASURES`; a function, as :class:`Measure` takes it; or a
        listener, which is returned as it is.
    n : int
        Clips that "cues" takes mean and spread from, and that "corpus" and "spectra" learn from.
    source : str or path
        Hub name or folder of CLAP.
    codec : Model, optional
        Whose songs "spectra" and "instrument" will hear: they learn from music that this model's
        codec has played.
    levels : iterable of str, optional
        Of the concept that a measure is of, each once.

    Raises
    ------
    ValueError, TypeError
        An unknown name, too few clips; a source that is not there, damaged, or no CLAP.
    """
    if isinstance(name, Listener):
        return name
    levels = _levels(levels)
    if callable(name):
        return Measure(name, levels)
    check.choice("listener", name, (*LISTENERS, *MEASURES))
    n = check.count("n", n, FEWEST_CLIPS)
    if name == "instrument":
        return _recogniser(n, codec, levels or tuple(music.INSTRUMENTS))
    if name in MEASURES:
        return CueMeasure(name, levels, n)
    if not isinstance(source, str | os.PathLike):
        check.refuse(TypeError, "source", "a name on the Hugging Face hub or a folder", source)
    if name == "vibenet":
        return _vibenet()
    if name == "clap":
        return _clap(os.fspath(source))
    if name == "spectra":
        return _spectral(n, codec)
    return _trained(name, n)


@functools.cache
def _trained(name, n):
    measured, table = corpus_features(n, TRAINING_SEED)
    return CueListener(measured) if name == "cues" else CorpusListener(measured, table)


#: Number of clips and content of the codec -> listener.
_SPECTRAL = {}


def _spectral(n, codec):
    known_by = n, _content(codec)
    if known_by not in _SPECTRAL:
        _SPECTRAL[known_by] = SpectraListener(*foreign_spectra(n, TRAINING_SEED, codec))
    return _SPECTRAL[known_by]


#: The same -> what recognises instruments.
_RECOGNISERS = {}


def _recogniser(n, codec, levels):
    n = min(n, timbre.CLIPS)
    known_by = n, _content(codec)
    if known_by not in _RECOGNISERS:
        _RECOGNISERS[known_by] = timbre.Recogniser(*corpus_timbres(n, TRAINING_SEED, codec))
    measure = Measure(_RECOGNISERS[known_by], levels, "instrument")
    measure.reliability = _RECOGNISERS[known_by].reliability
    return measure


@functools.cache
def _vibenet():
    return VibeNet()


@functools.cache
def _clap(source):
    return Clap(source)


# -------------------------------------------------------------------------------------- reliability
def reliability(
    n: int = 400,
    training: int = TRAINING_CLIPS,
    names: Iterable[str | Listener] = ("cues", "corpus", "vibenet"),
    codec=None,
    seconds: float = corpus.SECONDS,
) -> pd.DataFrame:
    """How well each listener recovers what the world's listeners perceive, on held-out music.

    From then on the listeners know their ``error`` and answer with intervals.

    Parameters
    ----------
    n, training : int
        Held-out clips; clips the listeners learned from.
    names : iterable of str or Listener
        As :func:`get` takes them.
    codec : Model, optional
        Play the same music through this model's codec too: its own kind of audio.
    seconds : float
        Only the beginning of each clip, as long as the songs that will be judged.

    Returns
    -------
    pd.DataFrame
        Columns listener, audio ("rendered" or "codec"), what ("valence": rank correlation,
        "arousal", "emotion": accuracy on clear clips), estimate.
    """
    if isinstance(names, str):
        check.refuse(TypeError, "names", "a list of listeners", names, "Write [name] for one.")
    names = tuple(names)
    if not names:
        check.refuse(ValueError, "names", "one listener or more", names)
    seconds = check.number("seconds", seconds, 1.0, corpus.SECONDS)
    known_by = n, training, *names, _content(codec), seconds
    if known_by not in _RELIABILITY:
        _RELIABILITY[known_by] = _measured_reliability(n, training, names, codec, seconds)
    table, errors = _RELIABILITY[known_by]
    for name, error in zip(names, errors, strict=True):
        get(name, training, codec=codec).error = dict(error)
    return table.copy()


#: All that reliability follows from -> the table, and the error of each listener.
_RELIABILITY = {}


def _measured_reliability(n, training, names, codec, seconds):
    listeners = [get(name, training, codec=codec) for name in names]
    if other := [ear.name for ear in listeners if isinstance(ear, Measure)]:
        wanted = "listeners that say valence and arousal, which measures of a concept do not"
        check.refuse(ValueError, "names", wanted, other)
    audio, table = corpus.sample(n, HELD_OUT_SEED)
    audio = audio[:, : round(seconds * music.SAMPLE_RATE)]
    rows = []
    errors = []
    # measures of whole clips are on disk
    known = corpus_features(n, HELD_OUT_SEED)[0] if seconds == corpus.SECONDS else None
    for listener, answer in _answers(listeners, audio, music.SAMPLE_RATE, known):
        rows += _recovered(listener, "rendered", answer, table)
        errors.append({axis: _residual(answer[axis], table[axis]) for axis in AXES})
    if codec is not None:
        for listener, answer in _answers(listeners, *played(audio, codec)):
            rows += _recovered(listener, "codec", answer, table)
    return pd.DataFrame(rows, columns=["listener", "audio", "what", "estimate"]), errors


def trusted(found: pd.DataFrame) -> dict[str, bool]:
    """Who has a voice: whether the intervals of all that a listener says begin above :data:`BARS`.

    Parameters
    ----------
    found : pd.DataFrame
        From :func:`reliability`, or of songs that people rated (``rated.heard``). Where there is a
        codec, its audio counts.

    Returns
    -------
    dict
        Listener -> bool.
    """
    if (found["audio"] == "codec").any():
        found = found[found["audio"] == "codec"]
    voices = {}
    for row in found.itertuples():
        above = row.estimate.low >= BARS[row.what]
        voices[row.listener] = voices.get(row.listener, True) and bool(above)
    return voices


def _answers(listeners, audio, sample_rate, measured=None):
    """Each listener with its answers; those that hear cues share their measures."""
    for listener in listeners:
        if isinstance(listener, CueListener):
            measured = features(audio, sample_rate) if measured is None else measured
            yield listener, listener.hear(measured)
        else:
            yield listener, listener.answer(audio, sample_rate)


def _recovered(listener, kind, answers, table):
    """What a listener's answers say of what is perceived: rows of :func:`reliability`."""
    rows = []
    for axis in AXES:
        agreement = stats.rank_correlation(answers[axis], table[axis])
        rows.append((listener.name, kind, axis, agreement))
    if "emotion" in answers:
        right = (answers["emotion"] == table["emotion"])[table["clear"].to_numpy()]
        rows.append((listener.name, kind, "emotion", stats.proportion(right)))
    return rows


def _residual(answers, truth):
    """Standard deviation of the answers around their line over the truth."""
    slope, intercept = np.polyfit(truth, answers, 1)
    return float(np.std(answers - slope * truth - intercept, ddof=2))


# -------------------------------------------------------------------------------------------- clips
def _clips(audios, sample_rate):
    """Checked mono clips at one rate, from clips of ``model.generate``, arrays or files."""
    if hasattr(audios, "audio"):
        if not audios.audio.size:
            raise ValueError("These clips were not decoded: give model.decode(clips.tokens).")
        return acoustics.check_clips(audios.audio, audios.sample_rate), audios.sample_rate
    if isinstance(audios, str | os.PathLike):
        audios = [audios]
    if not hasattr(audios, "shape") and isinstance(audios, Iterable):
        audios = [_read(a, sample_rate) if isinstance(a, str | os.PathLike) else a for a in audios]
    return acoustics.check_clips(audios, sample_rate), sample_rate


def _read(file, sample_rate):
    """The mean of a file's channels at another rate, float32 [sample]."""
    try:
        with soundfile.SoundFile(file) as sound:
            promised = sound.frames
            rate = sound.samplerate
            audio = sound.read(dtype="float32", always_2d=True).mean(1)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(
            f"{file} cannot be read as audio ({error}). WAV, FLAC, OGG and MP3 are read."
        ) from error
    if len(audio) < promised:
        raise ValueError(
            f"{file} is damaged: {promised / rate:.1f} s by its header, of which "
            f"{len(audio) / rate:.1f} s can be decoded. Take it from its source again."
        )
    return librosa.resample(audio, orig_sr=rate, target_sr=sample_rate)
