"""Whether the instrument that a prompt asks for is heard."""

import librosa
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ... import check, prompts, stats
from ...musicgen.model import Clips, Model
from ...organism import captions, world

#: Seeds of the neutral prompts, and of their songs.
PROMPT_SEED = 77
SONG_SEED = 7700


class Instruments:
    """Recognises instruments by their timbre, learned from a model's own neutral songs.

    Parameters
    ----------
    model : Model
    n : int
        Songs.
    seconds : float
        Of each.

    Attributes
    ----------
    reliability : stats.Estimate
        How often the instrument of an unsteered song is recognised.
    """

    def __init__(self, model: Model, n: int = 64, seconds: float = 3.0):
        language = "natural" if world.of(model) is None else "organism"
        neutral = prompts.crossed("neutral", check.count("n", n), language, seed=PROMPT_SEED)
        asked = list(neutral["prompt"])
        songs = model.generate(asked, seconds, SONG_SEED, keep=True, progress=False)
        heard = timbres(songs)
        self.classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        answers = cross_val_predict(self.classifier, heard, neutral["instrument"], cv=4)
        self.reliability = stats.proportion(answers == neutral["instrument"].to_numpy())
        self.classifier.fit(heard, neutral["instrument"])

    def recognised(self, clips: Clips) -> list[bool]:
        """Whether the instrument of each prompt is heard; true where the prompt names none."""
        played = self.classifier.predict(timbres(clips))
        asked = [_instrument(prompt) for prompt in clips.prompts]
        return [a is None or a == p for a, p in zip(asked, played, strict=True)]


def _instrument(prompt):
    """The instrument that a prompt names, or None."""
    words = prompt.split()
    return next((name for name in captions.INSTRUMENT_WORDS if name in words), None)


def timbres(clips: Clips) -> np.ndarray:
    """How the sound of clips is coloured: mean and spread of MFCCs without loudness, [clip, 38]."""
    rows = []
    for audio in clips.mono:
        mfcc = librosa.feature.mfcc(
            y=audio, sr=clips.sample_rate, n_mfcc=20, n_fft=1024, hop_length=512
        )[1:]
        rows.append(np.concatenate([mfcc.mean(1), mfcc.std(1)]))
    return np.stack(rows)
