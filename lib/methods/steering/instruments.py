"""Whether the instrument that a prompt asks for is heard."""

from ... import check, prompts
from ...hearing import timbre
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
        described = timbre.describe(songs.mono, songs.sample_rate)
        self._recogniser = timbre.Recogniser(described, neutral["instrument"])
        self.reliability = self._recogniser.reliability

    def recognised(self, clips: Clips) -> list[bool]:
        """Whether the instrument of each prompt is heard; true where the prompt names none."""
        heard = self._recogniser.recognised(clips.mono, clips.sample_rate)
        asked = [_instrument(prompt) for prompt in clips.prompts]
        return [a is None or a == h for a, h in zip(asked, heard, strict=True)]


def _instrument(prompt):
    """The instrument that a prompt names, or None."""
    words = prompt.split()
    return next((name for name in captions.INSTRUMENT_WORDS if name in words), None)
