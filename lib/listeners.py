"""Listeners: anything that hears clips and answers with valence and arousal.

``get("cues")`` adds up measured cues with the weights of the organisms' world (ordered after Eerola, Friberg and
Bresin 2013) and was fitted to nothing. ``get("corpus")`` was trained on measured cues of rendered music of that world and
names the emotion. A listener is only as good as its reliability on the audio at hand: :func:`reliability` measures it
on held-out music of the known world.
"""

import os
import warnings
import zlib
from functools import cache
from pathlib import Path
from typing import ClassVar

import joblib
import librosa
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib import acoustics, music, results, stats
from lib.organism import corpus, world

CACHE = joblib.Memory(results.ARTIFACTS / "cache", verbose=0)
#: Measure of lib.acoustics -> the world's cue it measures, and its sign.
MEASURED = {
    "mode": ("mode", 1),
    "tempo": ("tempo", 1),
    "dynamics": ("dynamics", 1),
    "density": ("density", 1),
    "articulation": ("staccato", -1),
    "register": ("register", 1),
    "brightness": ("brightness", 1),
}
#: Rendered clips that listeners learn from; tests make do with fewer.
TRAINING_CLIPS = int(os.environ.get("BOOK_LISTENER_CLIPS", "900"))
TRAINING_SEED, HELD_OUT_SEED = 900, 901


def features(audios, sample_rate: int) -> pd.DataFrame:
    """What listeners hear: the measured cues, tempo as log2.

    Nothing finer: a listener that also heard spectra (MFCC and their change) told corpus clips apart no better, and a
    codec's smoothing alone, which leaves the cues as they are, took its accuracy from 0.81 to 0.52.
    """
    cues = acoustics.measure_all(audios, sample_rate)
    cues["tempo"] = np.log2(cues["tempo"])
    return cues


def corpus_features(n: int, seed: int, world_name: str = "organism") -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`features` of rendered music with its causes; kept on disk until the code they follow from changes."""
    sources = [__file__, *(m.__file__ for m in (music, acoustics, corpus, world))]
    code = zlib.crc32(b"".join(Path(source).read_bytes() for source in sources))
    return _corpus_features(n, seed, world_name, code)


@CACHE.cache
def _corpus_features(n, seed, world_name, code):
    audio, table = corpus.sample(n, seed, world_name)
    return features(audio, music.SAMPLE_RATE), table


class Listener:
    """Something that hears clips and answers with valence and arousal.

    ``listener(audios, sample_rate)`` takes clips of ``model.generate``, an array [clip, sample], or a list of arrays and
    of paths to audio files. It returns a DataFrame with valence and arousal on the listener's own scale and, once
    ``error`` is known, the ends of their 95 % intervals (valence_low, ...): where it would put other clips that sound
    just as happy or aroused, on rendered music.
    """

    name = "listener"
    error: dict[str, float] | None = None  # axis -> standard deviation of its answers given what is perceived

    def answer(self, audio: np.ndarray, sample_rate: int) -> pd.DataFrame:
        """Valence and arousal (and emotion, if it names one) of some mono clips."""
        raise NotImplementedError

    def __call__(self, audios, sample_rate: int = music.SAMPLE_RATE) -> pd.DataFrame:
        answer = self.answer(*_audio(audios, sample_rate))
        for axis, error in (self.error or {}).items():
            answer[f"{axis}_low"], answer[f"{axis}_high"] = answer[axis] - 1.96 * error, answer[axis] + 1.96 * error
        return answer


class CueListener(Listener):
    """Standardised measured cues times published weights. Nothing is fitted; the corpus only gives mean and spread."""

    name = "cues"

    def __init__(self, reference: pd.DataFrame):
        heard = reference[list(MEASURED)]
        self.centre, self.spread = heard.mean(), heard.std()

    def profile(self, heard: pd.DataFrame) -> pd.DataFrame:
        """Standardised cues (columns of ``world.CUES``) from :func:`features`."""
        z = (heard[list(MEASURED)] - self.centre) / self.spread
        z["mode"] = np.sign(heard["mode"])
        return pd.DataFrame({cue: sign * z[measure] for measure, (cue, sign) in MEASURED.items()})

    def hear(self, heard: pd.DataFrame) -> pd.DataFrame:
        """Valence, arousal and emotion from :func:`features`."""
        z = self.profile(heard)
        answer = pd.DataFrame(
            {axis: sum(w[axis] * z[cue] for cue, w in world.EDGES.items() if cue in z and axis in w)
             for axis in ("valence", "arousal")}
        )  # fmt: skip
        answer["emotion"], _ = world.name_emotion(answer.to_numpy())
        return answer

    def answer(self, audio, sample_rate):
        return self.hear(features(audio, sample_rate))


class CorpusListener(CueListener):
    """Trained on rendered music: ridge regression for valence and arousal, logistic regression for the emotion.

    The emotion is learned from clear clips, those a listener of the world would name.
    """

    name = "corpus"

    def __init__(self, reference: pd.DataFrame, table: pd.DataFrame):
        super().__init__(reference)
        clear = table["clear"].to_numpy()
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
        logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))
        reference = reference[list(MEASURED)]
        self.regression = ridge.fit(reference, table[["valence", "arousal"]])
        self.classifier = logistic.fit(reference[clear], table["emotion"][clear])

    def hear(self, heard: pd.DataFrame) -> pd.DataFrame:
        """Valence, arousal and emotion from :func:`features`."""
        heard = heard[list(MEASURED)]
        answer = pd.DataFrame(self.regression.predict(heard), columns=["valence", "arousal"])
        answer["emotion"] = self.classifier.predict(heard)
        return answer


class VibeNet(Listener):
    """An EfficientNet distilled on Spotify-like labels of the Free Music Archive (the ``vibenet`` package, weights inside).

    It was made for recorded music. Arousal is its "energy"; both lie between 0 and 1.
    """

    name = "vibenet"

    def __init__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its reader of files misses ffmpeg, which is not used here
            import vibenet

            self.network = vibenet.load_model()

    def answer(self, audio, sample_rate):
        said = self.network.predict(
            [librosa.util.fix_length(a, size=max(len(a), sample_rate)) for a in audio], sample_rate
        )
        return pd.DataFrame([{"valence": s.valence, "arousal": s.energy} for s in said])


class Clap(Listener):
    """CLAP (Wu et al. 2023): how much nearer a clip is to one description than to its opposite, averaged over wordings."""

    name = "clap"
    SOURCE = "laion/larger_clap_music"
    POLES: ClassVar = {
        "valence": (("happy music", "a joyful, positive song"), ("sad music", "a gloomy, negative song")),
        "arousal": (("energetic music", "an exciting, intense song"), ("calm music", "a quiet, relaxing song")),
    }

    def __init__(self, source: str = SOURCE):
        import transformers

        try:
            self.processor = transformers.ClapProcessor.from_pretrained(source)
            self.network = transformers.ClapModel.from_pretrained(source).eval()
        except (OSError, ValueError) as error:  # nothing there, or no name of a repository
            raise ValueError(
                f"The listener 'clap' needs {source!r} from the Hugging Face hub, or a folder that holds it "
                "(listeners.get('clap', source=folder)). The listeners 'cues', 'corpus' and 'vibenet' need no download."
            ) from error

    def answer(self, audio, sample_rate, prompts: list[str] | None = None):
        """Given each clip's prompt, also its cosine with the clip ("agreement"): the usual CLAP score of adherence."""
        rate = self.processor.feature_extractor.sampling_rate
        clips = [librosa.resample(a, orig_sr=sample_rate, target_sr=rate) for a in audio]
        told = self.processor(audio=clips, sampling_rate=rate, return_tensors="pt")
        heard = self._unit(self.network.get_audio_features, told)
        poles = {axis: [self._read(p) for p in ends] for axis, ends in self.POLES.items()}
        said = pd.DataFrame({a: (heard @ up.T).mean(1) - (heard @ low.T).mean(1) for a, (up, low) in poles.items()})
        return said if prompts is None else said.assign(agreement=(heard * self._read(prompts)).sum(1))

    def _read(self, texts):
        told = self.processor(text=list(texts), return_tensors="pt", padding=True)
        return self._unit(self.network.get_text_features, told)

    @staticmethod
    def _unit(embed, inputs):
        import torch

        with torch.no_grad():
            features = embed(**inputs)
        features = getattr(features, "pooler_output", features)
        return (features / features.norm(dim=-1, keepdim=True)).numpy()


LISTENERS = ("cues", "corpus", "vibenet", "clap")


@cache
def get(name: str, n: int = TRAINING_CLIPS, source: str = Clap.SOURCE) -> Listener:
    """A listener by name.

    Parameters
    ----------
    name : "cues", "corpus", "vibenet" or "clap"
    n : int
        Rendered clips that "cues" takes mean and spread from and "corpus" learns from.
    source : str
        Hub name or folder of CLAP.
    """
    if name == "vibenet":
        return VibeNet()
    if name == "clap":
        return Clap(source)
    if name not in LISTENERS:
        raise ValueError(f"listener must be one of {LISTENERS}. Got {name!r}.")
    heard, table = corpus_features(n, TRAINING_SEED)
    return CueListener(heard) if name == "cues" else CorpusListener(heard, table)


def reliability(
    n: int = 400, training: int = TRAINING_CLIPS, names=("cues", "corpus", "vibenet"), codec=None
) -> pd.DataFrame:
    """How well each listener recovers what the world's listeners perceive, on music it never heard.

    From then on the listeners know their ``error`` and answer with intervals.

    Parameters
    ----------
    n, training : int
        Held-out clips; clips the listeners learned from.
    names : sequence of str
    codec : Model, optional
        Play the same music through this model's codec too: its own kind of audio.

    Returns
    -------
    pd.DataFrame
        Columns listener, audio ("rendered" or "codec"), what ("valence": rank correlation, "arousal", "emotion":
        accuracy on clear clips), estimate.
    """
    audio, table = corpus.sample(n, HELD_OUT_SEED)
    kinds = {"rendered": audio}
    if codec is not None:
        kinds["codec"] = codec.decode(codec.encode(audio, music.SAMPLE_RATE))
    clear, rows = table["clear"].to_numpy(), []
    for kind, sound in kinds.items():
        rate, heard = music.SAMPLE_RATE if kind == "rendered" else codec.sample_rate, None
        for name in names:
            listener = get(name, training)
            if isinstance(listener, CueListener):
                if heard is None:
                    heard = corpus_features(n, HELD_OUT_SEED)[0] if kind == "rendered" else features(sound, rate)
                answer = listener.hear(heard)
            else:
                answer = listener.answer(sound, rate)
            for axis in ("valence", "arousal"):
                rows.append((name, kind, axis, stats.rank_correlation(answer[axis], table[axis])))
            if "emotion" in answer:
                rows.append((name, kind, "emotion", stats.proportion((answer["emotion"] == table["emotion"])[clear])))
            if kind == "rendered":
                listener.error = {axis: _residual(answer[axis], table[axis]) for axis in ("valence", "arousal")}
    return pd.DataFrame(rows, columns=["listener", "audio", "what", "estimate"])


def _residual(answer, truth):
    """Standard deviation of the answers around their line over the truth."""
    slope, intercept = np.polyfit(truth, answer, 1)
    return float(np.std(answer - slope * truth - intercept, ddof=2))


def _audio(audios, sample_rate):
    """Mono clips at one rate, from clips of ``model.generate``, arrays or files."""
    if hasattr(audios, "audio"):
        return audios.audio, audios.sample_rate
    if isinstance(audios, str | Path) or (isinstance(audios, np.ndarray) and audios.ndim == 1):
        audios = [audios]
    if not len(audios):
        raise ValueError("There is no clip to listen to.")
    loaded = [librosa.load(a, sr=sample_rate)[0] if isinstance(a, str | Path) else a for a in audios]
    return [acoustics.check_audio(a, sample_rate, resample=False) for a in loaded], sample_rate
