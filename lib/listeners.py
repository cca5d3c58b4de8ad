"""Listeners: anything that hears clips and answers with valence and arousal.

``get("cues")`` adds up measured cues with the weights of the organisms' world (ordered after Eerola, Friberg and
Bresin 2013) and was fitted to nothing. ``get("corpus")`` was trained on rendered music of that world, from spectra and
measured cues, and also names the emotion. A listener is only as good as its reliability on the audio at hand:
:func:`reliability` measures it on held-out music of the known world.
"""

import zlib
from functools import cache
from pathlib import Path

import joblib
import librosa
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib import acoustics, music, results, stats
from lib.organism import world

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
TRAINING_CLIPS, TRAINING_SEED, HELD_OUT_SEED = 1500, 900, 901
SECONDS = 6.0


def corpus(n: int, seed: int, world_name: str = "organism") -> tuple[np.ndarray, pd.DataFrame]:
    """Rendered music of a world: audio float32 [clip, sample] at 16 kHz, and its causes (``world.sample``)."""
    table = world.sample(n, world_name, seed)
    jobs = [(world.to_cues(row), SECONDS, 1_000_000 * seed + i) for i, row in enumerate(table.to_dict("records"))]
    return np.stack(joblib.Parallel(n_jobs=-1)(joblib.delayed(music.clip)(*job) for job in jobs)), table


def features(audios, sample_rate: int) -> pd.DataFrame:
    """What the corpus listener hears: measured cues, and mean and spread of MFCC and of their change."""
    cues = acoustics.measure_all(audios, sample_rate)
    cues["tempo"] = np.log2(cues["tempo"])
    rows = joblib.Parallel(n_jobs=-1)(joblib.delayed(_spectral)(np.asarray(a), sample_rate) for a in audios)
    spectra = pd.DataFrame(rows, columns=[f"spectrum{i}" for i in range(len(rows[0]))])
    return pd.concat([cues, spectra], axis=1)


def corpus_features(n: int, seed: int, world_name: str = "organism") -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`features` of rendered music with its causes; kept on disk until the code they follow from changes."""
    code = zlib.crc32(b"".join(Path(m.__file__).read_bytes() for m in (music, acoustics, world)))
    return _corpus_features(n, seed, world_name, code)


@CACHE.cache
def _corpus_features(n, seed, world_name, code):
    audio, table = corpus(n, seed, world_name)
    return features(audio, music.SAMPLE_RATE), table


class CueListener:
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

    def __call__(self, audios, sample_rate: int = music.SAMPLE_RATE) -> pd.DataFrame:
        return self.hear(features(*_audio(audios, sample_rate)))


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
        self.columns = list(reference)
        self.regression = ridge.fit(reference, table[["valence", "arousal"]])
        self.classifier = logistic.fit(reference[clear], table["emotion"][clear])

    def hear(self, heard: pd.DataFrame) -> pd.DataFrame:
        """Valence, arousal and emotion from :func:`features`."""
        heard = heard[self.columns]
        answer = pd.DataFrame(self.regression.predict(heard), columns=["valence", "arousal"])
        answer["emotion"] = self.classifier.predict(heard)
        return answer


@cache
def get(name: str, n: int = TRAINING_CLIPS):
    """A listener by name: "cues" or "corpus". ``listener(clips)`` gives a DataFrame with valence, arousal, emotion."""
    if name not in ("cues", "corpus"):
        raise ValueError(f"listener must be 'cues' or 'corpus'. Got {name!r}.")
    heard, table = corpus_features(n, TRAINING_SEED)
    return CueListener(heard) if name == "cues" else CorpusListener(heard, table)


def reliability(n: int = 400, training: int = TRAINING_CLIPS) -> pd.DataFrame:
    """How well each listener recovers what the world's listeners perceive, on music it never heard.

    Returns
    -------
    pd.DataFrame
        Columns listener, what ("valence": rank correlation, "arousal", "emotion": accuracy on clear clips), estimate.
    """
    heard, table = corpus_features(n, HELD_OUT_SEED)
    clear, rows = table["clear"].to_numpy(), []
    for name in ("cues", "corpus"):
        answer = get(name, training).hear(heard)
        for axis in ("valence", "arousal"):
            rows.append((name, axis, stats.rank_correlation(answer[axis], table[axis])))
        rows.append((name, "emotion", stats.proportion((answer["emotion"] == table["emotion"])[clear])))
    return pd.DataFrame(rows, columns=["listener", "what", "estimate"])


def _audio(audios, sample_rate):
    """Arrays from clips of ``model.generate`` or from arrays."""
    return (audios.audio, audios.sample_rate) if hasattr(audios, "audio") else (audios, sample_rate)


def _spectral(audio, sample_rate):
    audio = acoustics.check_audio(audio, sample_rate)
    mfcc = librosa.feature.mfcc(y=audio, sr=acoustics.RATE, n_mfcc=20, n_fft=1024, hop_length=320, n_mels=64)
    return np.concatenate([mfcc.mean(1), mfcc.std(1), np.abs(np.diff(mfcc, axis=1)).mean(1)])
