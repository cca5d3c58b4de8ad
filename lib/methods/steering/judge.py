"""Who judges steered songs: listeners, the model itself, and plain measures of sound.

Listeners judge that learned from rendered music alone, never from the clips a direction was found
on. Two of them must agree that a song sounds as wanted, and share nothing by default: "spectra"
learned from other music and measures no cue, "cues" learned from nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ... import cache, check
from ...hearing import listeners
from ...musicgen.model import Clips, Model
from ...organism import world
from .instruments import Instruments

AXES = ("valence", "arousal")
#: Share of full scale from which a sample counts as clipped.
CLIPPED = 0.99


class Judge:
    """Hears songs once and answers for all tables.

    Parameters
    ----------
    model : Model
    ears : sequence of str
        Listeners ("spectra", "cues", "corpus", "vibenet", "clap"); the first says where songs lie
        on the plane, and all of the first three name emotions. With "clap", agreement with the
        prompt is measured, too.
    n : int
        Songs of neutral prompts from which the instruments' sound is learned.
    training : int
        Rendered clips that listeners learned from.
    seconds : float
        Length of the neutral songs.

    Attributes
    ----------
    instruments : stats.Estimate
        How often the instrument of an unsteered song is recognised.
    """

    def __init__(
        self,
        model: Model,
        ears: Sequence[str] = ("spectra", "cues"),
        n: int = 64,
        training: int = listeners.TRAINING_CLIPS,
        seconds: float = 3.0,
    ):
        names = check.texts("ears", ears)
        self.model = model
        self.ears = {name: listeners.get(name, training, codec=model) for name in names}
        recogniser = Instruments(model, n, seconds)
        self.instruments = recogniser.reliability
        self._recognised = recogniser.recognised
        self._answers = {}

    @property
    def ear(self) -> str:
        """Name of the first listener."""
        return next(iter(self.ears))

    def place(self, clips: Clips) -> np.ndarray:
        """Valence and arousal [clip, 2] as the first listener hears them."""
        measured = listeners.features(clips.audio, clips.sample_rate)
        answer = _answer(self.ears[self.ear], clips, measured)
        return answer[list(AXES)].to_numpy()

    def succeeded(self, clips: Clips, target: str) -> np.ndarray:
        """Which songs every listener that names emotions hears as one emotion, bool [clip].

        Raises
        ------
        ValueError
            None of the listeners names emotions, or an emotion that they do not know.
        """
        check.choice("target", target, world.EMOTIONS)
        answers = self.hear(clips).filter(like=" emotion")
        if answers.empty:
            raise ValueError(
                f"None of the listeners {list(self.ears)} names emotions: 'spectra', 'cues' and "
                "'corpus' do."
            )
        return (answers == target).all(axis=1).to_numpy()

    def hear(self, clips: Clips) -> pd.DataFrame:
        """What is known of each clip, heard once however often it is asked for.

        A clip is known again by its content (sound, tokens and prompt), and by that of the model,
        which says how surprising it is. Inside ``activations.edit`` it is always heard anew: edits
        may differ from clip to clip.

        Returns
        -------
        pd.DataFrame
            One row a clip: valence, arousal and, if it names one, emotion of every listener
            ("spectra valence", ...),
            the world's cues, surprise (nats a token of the unconditional stream: how far from any
            music the model knows), recoded (share of the tokens that come back when the codec
            encodes the song again: tokens that no sound has do not), loud (dBFS), clipped (share of
            samples), instrument (whether the one asked for is heard), and with CLAP clap (agreement
            with the prompt).
        """
        if self.model.edits:
            return self._hear(clips)
        known_by = self._names(clips)
        new = [i for i, name in enumerate(known_by) if name not in self._answers]
        if new:
            rows = self._hear(clips[new]).to_dict("records")
            self._answers.update(zip([known_by[i] for i in new], rows, strict=True))
        return pd.DataFrame([self._answers[name] for name in known_by])

    def _names(self, clips):
        """What each clip is known again by."""
        shared = cache.digest(self.model.identity(audio=True), clips.sample_rate)
        each = zip(clips.prompts, clips.tokens, clips.audio, strict=True)
        return [cache.digest(shared, *content) for content in each]

    def _hear(self, clips):
        measured = listeners.features(clips.audio, clips.sample_rate)
        columns = {}
        for name, ear in self.ears.items():
            answer = _answer(ear, clips, measured)
            columns |= {f"{name} {axis}": answer[axis].to_numpy() for axis in AXES}
            if "agreement" in answer:
                columns[name] = answer["agreement"].to_numpy()
            if "emotion" in answer:
                columns[f"{name} emotion"] = answer["emotion"].to_numpy()
        columns |= listeners.get("cues").profile(measured)
        columns["surprise"] = self.model.cross_entropy(clips, "uncond")
        again = self.model.encode(clips.audio, clips.sample_rate)
        columns["recoded"] = (again == clips.tokens).mean((1, 2))
        columns["loud"] = measured["dynamics"].to_numpy()
        columns["clipped"] = (np.abs(clips.mono) >= CLIPPED).mean(1)
        columns["instrument"] = self._recognised(clips)
        return pd.DataFrame(columns)


def _answer(ear, clips, measured):
    """What a listener says of clips: from measured cues if these are all it hears."""
    if hasattr(ear, "hear"):
        return ear.hear(measured)
    if ear.name == "clap":
        return ear.answer(clips.mono, clips.sample_rate, clips.prompts)
    return ear.answer(clips.mono, clips.sample_rate)
