"""Who judges steered songs: listeners, the model itself, and plain measures of sound.

Listeners judge that learned from rendered music alone, never from the clips a direction was found
on. Two of them must agree that a song sounds as wanted, and share nothing by default: "spectra"
learned from other music and measures no cue, "cues" learned from nothing. Of a concept of one's own
any function of a clip may judge; where there is none, the model itself is asked (:class:`Itself`).
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ... import cache, check
from ...hearing import listeners
from ...musicgen.model import Clips, Model
from ...organism import world
from ...prompts import Concept
from .instruments import Instruments

AXES = ("valence", "arousal")
#: Share of full scale from which a sample counts as clipped.
CLIPPED = 0.99


class Itself(listeners.Listener):
    """A model as the judge of its own songs: under which level's words is a song likeliest?

    It cannot be told from what only the model takes for the level: a listener is better evidence.

    Parameters
    ----------
    model : Model
    concept : Concept
    words : int
        Of each level, at most, each of a family of its own.
    """

    name = "itself"

    def __init__(self, model: Model, concept: Concept, words: int = 4):
        self.model = model
        self.levels = concept.levels
        first = concept.table.drop_duplicates("family").groupby("level", sort=False)
        self._asked = first.head(check.count("words", words, 2)).reset_index(drop=True)
        self._families = dict(zip(concept.table["prompt"], concept.table["family"], strict=True))

    def read(self, clips: Clips) -> pd.DataFrame:
        """Mean log-likelihood (nats a token) under each level's words, and the level of the most.

        Words of the family that a song was asked for with do not count for it.
        """
        own = np.array([self._families.get(prompt) for prompt in clips.prompts], object)
        found = np.full((len(clips), len(self._asked)), np.nan)
        for k, row in enumerate(self._asked.itertuples()):
            others = np.flatnonzero(own != row.family)
            if not len(others):
                continue
            under = clips[others].under([row.prompt] * len(others))
            found[others, k] = -self.model.cross_entropy(under)
        by_level = pd.DataFrame(found.T).groupby(self._asked["level"], sort=False).mean().T
        answers = by_level[list(self.levels)]
        return answers.assign(level=answers.idxmax(axis=1))


class Judge:
    """Hears songs once and answers for all tables.

    Parameters
    ----------
    model : Model
    ears : sequence of str or callable
        Listeners, as ``listeners.get`` takes them ("spectra", "cues", "corpus", "vibenet", "clap",
        any function of a clip); the first says where songs lie on its scales, and all of the first
        three name emotions. With "clap", agreement with the prompt is measured, too.
    n : int
        Songs of neutral prompts from which the instruments' sound is learned; with 0, nobody asks
        which instrument is heard.
    training : int
        Rendered clips that listeners learned from.
    seconds : float
        Length of the neutral songs.
    levels : sequence of str
        Of the concept that measures among the listeners are of.

    Attributes
    ----------
    instruments : stats.Estimate or None
        How often the instrument of an unsteered song is recognised.

    Raises
    ------
    ValueError, TypeError
        No listener, two of the same name, and as ``listeners.get``.
    """

    def __init__(
        self,
        model: Model,
        ears: Sequence[str | Callable] = ("spectra", "cues"),
        n: int = 64,
        training: int = listeners.TRAINING_CLIPS,
        seconds: float = 3.0,
        levels: Sequence[str] = (),
    ):
        if isinstance(ears, str) or not isinstance(ears, Sequence):
            check.refuse(TypeError, "ears", "a list of listeners", ears, "Write [ear] for one.")
        found = [listeners.get(ear, training, codec=model, levels=levels) for ear in ears]
        self.model = model
        self.ears = {ear.name: ear for ear in found}
        if len(self.ears) != len(found) or not found:
            names = [ear.name for ear in found]
            check.refuse(ValueError, "ears", "one listener or more, each with its own name", names)
        recogniser = Instruments(model, n, seconds) if check.count("n", n, 0) else None
        self.instruments = recogniser and recogniser.reliability
        self._recogniser = recogniser
        self._answers = {}

    @classmethod
    def of(cls, model: Model, concept: Concept, **settings) -> "Judge":
        """The judge of a concept: its own, or where it has none, the model itself.

        Parameters
        ----------
        model : Model
        concept : Concept
        **settings
            n (by default 0: nobody asks for the instrument), training, seconds.
        """
        given = concept.judge
        if given is None:
            given = Itself(model, concept)
        several = isinstance(given, Sequence) and not isinstance(given, str)
        ears = list(given) if several else [given]
        return cls(model, ears, **{"n": 0, **settings, "levels": concept.levels})

    @property
    def ear(self) -> str:
        """Name of the first listener."""
        return next(iter(self.ears))

    def place(self, clips: Clips) -> np.ndarray:
        """Valence and arousal [clip, 2] as the first listener hears them."""
        measured = listeners.features(clips.audio, clips.sample_rate)
        answer = _answer(self.ears[self.ear], clips, measured)
        if not set(AXES) <= set(answer):
            raise ValueError(f"The listener {self.ear!r} says nothing of {' and '.join(AXES)}.")
        return answer[list(AXES)].to_numpy()

    def calibrate(self, clips: Clips) -> None:
        """Tell measures of one number where their levels part.

        Parameters
        ----------
        clips : Clips
            Songs that were asked for every level equally often, none of them pushed.
        """
        for ear in self.ears.values():
            if hasattr(ear, "calibrate"):
                ear.calibrate(clips)
        self._answers = {}

    def named(self, clips: Clips) -> np.ndarray:
        """The emotion, or level of a concept, that all listeners which name any hear.

        Returns
        -------
        np.ndarray [shape=(clip,)], object
            Empty where they do not agree.

        Raises
        ------
        ValueError
            None of the listeners names anything, or a measure that was not calibrated.
        """
        answers = self.hear(clips)
        names = [_named(answers, name, ear) for name, ear in self.ears.items()]
        heard = np.array([some for some in names if some is not None], object)
        if not len(heard):
            raise ValueError(
                f"None of the listeners {list(self.ears)} names emotions or levels: 'spectra', "
                "'cues' and 'corpus' name emotions, measures the levels that they are given."
            )
        return np.where((heard == heard[0]).all(0), heard[0], "")

    def succeeded(self, clips: Clips, target: str) -> np.ndarray:
        """Which songs every listener that names emotions, or levels, hears as one, bool [clip].

        Raises
        ------
        ValueError
            As :meth:`named`, and for an emotion or level that the listeners do not know.
        """
        known = [ear.levels for ear in self.ears.values() if getattr(ear, "levels", ())]
        for levels in known or [world.EMOTIONS]:
            check.choice("target", target, levels)
        return self.named(clips) == target

    def scales(self, answers: pd.DataFrame) -> dict[str, str]:
        """What the first listener gives numbers of (valence and arousal, or a measure's own), each
        with its column in answers of :meth:`hear`.
        """
        start = f"{self.ear} "
        columns = [c for c in answers.select_dtypes("number") if c.startswith(start)]
        return {column.removeprefix(start): column for column in columns}

    def hear(self, clips: Clips) -> pd.DataFrame:
        """What is known of each clip, heard once however often it is asked for.

        A clip is known again by its content (sound, tokens and prompt), and by that of the model,
        which says how surprising it is. Inside ``activations.edit``, and with hooks on the model, it is always heard
        anew: edits may differ from clip to clip.

        Returns
        -------
        pd.DataFrame
            One row a clip: valence, arousal and, if it names one, emotion of every listener
            ("spectra valence", ...; of a measure its value, or one a level, and the level), the
            world's cues, surprise (nats a token of the unconditional stream: how far from any
            music the model knows), recoded (share of the tokens that come back when the codec
            encodes the song again: tokens that no sound has do not), loud (dBFS), clipped (share of
            samples), instrument and instrument share (whether the one asked for is heard, and its
            probability; unless ``n`` was 0), and with CLAP clap (agreement with the prompt).
        """
        if self.model.interventions:
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
        followed = [None] * len(clips) if clips.chroma is None else clips.chroma
        each = zip(clips.prompts, clips.tokens, clips.audio, followed, strict=True)
        return [cache.digest(shared, *content) for content in each]

    def _hear(self, clips):
        measured = listeners.features(clips.audio, clips.sample_rate)
        columns = {}
        for name, ear in self.ears.items():
            answer = _answer(ear, clips, measured)
            if "agreement" in answer:
                columns[name] = answer.pop("agreement").to_numpy()
            columns |= {f"{name} {what}": answer[what].to_numpy() for what in answer}
        columns |= listeners.get("cues").profile(measured)
        columns["surprise"] = self.model.cross_entropy(clips, "uncond")
        again = self.model.encode(clips.audio, clips.sample_rate)
        columns["recoded"] = (again == clips.tokens).mean((1, 2))
        columns["loud"] = measured["dynamics"].to_numpy()
        columns["clipped"] = (np.abs(clips.mono) >= CLIPPED).mean(1)
        if self._recogniser:
            columns |= self._recogniser.hear(clips)
        return pd.DataFrame(columns)


def _named(answers, name, ear):
    """What a listener names, [clip]; None if it names nothing."""
    for what in ("emotion", "level"):
        if f"{name} {what}" in answers:
            return answers[f"{name} {what}"].to_numpy(object)
    if getattr(ear, "levels", ()):
        raise ValueError(
            f"Where the levels of the measure {name!r} part is not known: Judge.calibrate(songs) "
            "first."
        )
    return None


def _answer(ear, clips, measured):
    """What a listener says of clips: from measured cues if these are all it hears."""
    if isinstance(ear, Itself):
        return ear.read(clips)
    if hasattr(ear, "hear"):
        return ear.hear(measured)
    if ear.name == "clap":
        return ear.answer(clips.mono, clips.sample_rate, clips.prompts)
    return ear.answer(clips.mono, clips.sample_rate)
