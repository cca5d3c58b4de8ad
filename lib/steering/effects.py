"""What steering does: to the emotion that is heard, to everything else, and to the music's quality.

Listeners judge that learned from rendered music alone, never from the clips a direction was found on. The yardstick is the
prompt: songs of the same seeds that were asked for the target.
"""

import librosa
import numpy as np
import pandas as pd
import scipy.linalg
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib import listeners, prompts, stats
from lib.model import Clips, Model
from lib.organism import captions, world

AXES = ("valence", "arousal")
SILENT, CLIPPED = -60.0, 0.99  # dBFS of the loud frames; share of full scale


class Judge:
    """Hears songs once and answers for all tables.

    Parameters
    ----------
    model : Model
    ears : sequence of str
        Listeners ("cues", "corpus", "vibenet", "clap"); the first names emotions. With "clap", agreement with the prompt is
        measured, too.
    n : int
        Songs of neutral prompts from which the instruments' sound is learned.
    training : int
        Rendered clips that listeners learned from.
    """

    def __init__(self, model: Model, ears=("corpus", "cues"), n=64, training=listeners.TRAINING_CLIPS, seconds=3.0):
        self.model, self.ears = model, {name: listeners.get(name, training) for name in ears}
        language = "organism" if model.name in world.WORLDS else "natural"
        neutral = prompts.crossed("neutral", n, language, seed=77)
        songs = model.generate(list(neutral["prompt"]), seconds, 7700, keep=True, progress=False)
        timbre = np.stack([_timbre(a, songs.sample_rate) for a in songs.audio])
        learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        told = cross_val_predict(learner, timbre, neutral["instrument"], cv=4)
        #: how often the instrument of an unsteered song is recognised
        self.instruments = stats.proportion(told == neutral["instrument"].to_numpy())
        self.instrument = learner.fit(timbre, neutral["instrument"])
        self._heard = {}

    def place(self, clips: Clips) -> np.ndarray:
        """Valence and arousal [clip, 2] as the first listener hears them."""
        ear = next(iter(self.ears.values()))
        said = ear.hear(listeners.features(clips.audio, clips.sample_rate)) if hasattr(ear, "hear") else ear(clips)
        return said[list(AXES)].to_numpy()

    def hear(self, clips: Clips) -> pd.DataFrame:
        """What is known of each clip, heard once however often it is asked for.

        One row a clip: emotion, valence and arousal of every listener ("corpus valence", ...), the world's cues, surprise
        (nats a token of the unconditional stream: how far from any music the model knows), recoded (share of the tokens that
        come back when the codec encodes the song again: tokens that no sound has do not), loud (dBFS), clipped, whether the
        instrument asked for is heard, and with CLAP its agreement with the prompt.
        """
        names = [(p, t.tobytes()) for p, t in zip(clips.prompts, clips.tokens, strict=True)]
        if new := [i for i, name in enumerate(names) if name not in self._heard]:
            rows = self._hear(clips[new]).to_dict("records")
            self._heard |= {names[i]: row for i, row in zip(new, rows, strict=True)}
        return pd.DataFrame([self._heard[name] for name in names])

    def _hear(self, clips):
        measured = listeners.features(clips.audio, clips.sample_rate)
        parts = {}
        for name, ear in self.ears.items():
            texts = [clips.prompts] if name == "clap" else []
            said = ear.hear(measured) if hasattr(ear, "hear") else ear.answer(clips.audio, clips.sample_rate, *texts)
            parts |= {f"{name} {axis}": said[axis].to_numpy() for axis in AXES}
            if "agreement" in said:
                parts[name] = said["agreement"].to_numpy()
            if "emotion" in said and "emotion" not in parts:
                parts["emotion"] = said["emotion"].to_numpy()
        told = self.instrument.predict(np.stack([_timbre(a, clips.sample_rate) for a in clips.audio]))
        asked = [next((w for w in captions.INSTRUMENT_WORDS if w in p.split()), None) for p in clips.prompts]
        return pd.DataFrame(parts | {
            **listeners.get("cues").profile(measured),
            "surprise": self.model.cross_entropy(clips, "uncond"),
            "recoded": (self.model.encode(clips.audio, clips.sample_rate) == clips.tokens).mean((1, 2)),
            "loud": measured["dynamics"].to_numpy(),
            "clipped": (np.abs(clips.audio) >= CLIPPED).mean(1),
            "instrument": [a is None or a == t for a, t in zip(asked, told, strict=True)],
        })  # fmt: skip


def evaluate(judge: Judge, clips: dict[float, Clips], reference: Clips, target: str | None = None) -> pd.DataFrame:
    """One row a strength.

    Parameters
    ----------
    judge : Judge
    clips : dict
        From ``steering.generate``; must hold strength 0, what all shifts are measured against.
    reference : Clips
        Songs whose prompts ask for the target, with the same seeds: a share of 1 is their effect.
    target : str, optional
        Emotion.

    Returns
    -------
    pd.DataFrame
        strength; success (share heard as the target); valence and arousal (shift by the first listener, and by every one:
        "cues valence", ...); share (of the
        prompt's shift in the plane of valence and arousal); one column a cue (shift, standard deviations of the world's music); surprise
        (nats a token above the unsteered songs); recoded (shift; below 0: codec artefacts); with CLAP, clap (shift of the cosine
        with the prompt); distance (Fréchet distance of mel-spectrogram frames to the unsteered songs);
        diversity (mean distance between clips, over that of the unsteered); instrument, silent, clipped. The last row,
        strength "prompt", is the reference.
    """
    if 0.0 not in clips:
        raise ValueError(f"Strength 0 is needed to compare with. Got {sorted(clips)}.")
    if len(reference) != len(clips[0.0]) or reference.seeds != clips[0.0].seeds:
        raise ValueError("reference must have the same number of clips and the same seeds as the steered clips.")
    songs = {**clips, "prompt": reference}
    heard = {s: judge.hear(c) for s, c in songs.items()}
    plain, ear = heard[0.0], next(iter(judge.ears))
    plane = [f"{ear} {axis}" for axis in AXES]
    ask = (heard["prompt"][plane] - plain[plane]).mean().to_numpy()
    frames = {s: np.stack([_mel(a, c.sample_rate) for a in c.audio]) for s, c in songs.items()}
    spread = _spread(frames[0.0])
    rows = []
    for s, h in heard.items():
        shift = h.select_dtypes("number") - plain.select_dtypes("number")
        row = {"strength": s}
        if target is not None:
            row["success"] = stats.proportion(h["emotion"] == target)
        row |= {axis: stats.mean(shift[c]) for axis, c in zip(AXES, plane, strict=True)}
        row["share"] = stats.mean(shift[plane].to_numpy() @ ask / (ask @ ask))
        row |= {what: stats.mean(shift[what]) for what in shift if what not in ("loud", "clipped")}
        row |= {"distance": _frechet(frames[0.0], frames[s]), "diversity": _spread(frames[s]) / spread}
        row |= {"silent": float((h["loud"] < SILENT).mean()), "clipped": float(h["clipped"].mean())}
        row["instrument"] = stats.proportion(h["instrument"])
        rows.append(row)
    return pd.DataFrame(rows)


def dose(judge: Judge, clips: dict[float, Clips], reference: Clips) -> stats.Estimate:
    """Spearman's correlation of strength with the mean of what is heard along the prompt's shift; the interval resamples
    clips."""
    plane = [f"{next(iter(judge.ears))} {axis}" for axis in AXES]
    heard = {s: judge.hear(c)[plane].to_numpy() for s, c in clips.items()}
    ask = (judge.hear(reference)[plane].to_numpy() - heard[0.0]).mean(0)
    along = np.stack([h @ ask for h in heard.values()], 1)
    return stats.bootstrap(lambda x: spearmanr(list(heard), x.mean(0)).statistic, along, n_resamples=500)


def _timbre(audio, rate):
    mfcc = librosa.feature.mfcc(y=audio, sr=rate, n_mfcc=20, n_fft=1024, hop_length=512)[1:]
    return np.concatenate([mfcc.mean(1), mfcc.std(1)])


def _mel(audio, rate):
    mel = librosa.feature.melspectrogram(y=audio, sr=rate, n_fft=1024, hop_length=512, n_mels=24)
    return librosa.power_to_db(mel, ref=1.0, amin=1e-8, top_db=None).T


def _frechet(a, b):
    """Fréchet distance (Dowson and Landau 1982) between normal distributions fitted to frames [clip, frame, mel]."""
    a, b = (x.reshape(-1, x.shape[-1]) for x in (a, b))
    A, B = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(A @ B).real
    return float(np.sqrt(max(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(A + B - 2 * root), 0)))


def _spread(frames):
    means = frames.mean(1)
    return np.linalg.norm(means[:, None] - means[None], axis=-1).sum() / (len(means) * (len(means) - 1))
