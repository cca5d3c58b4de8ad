"""How long and how fast everything learns: the numbers that were found to work."""

from typing import NamedTuple


class Round(NamedTuple):
    """A part of a language model's training, with a warm-up and a decay of its own.

    Attributes
    ----------
    steps : int
    rate : float
        Highest learning rate, relative to that of :data:`LANGUAGE`.
    dropped : float
        Share of clips whose caption is left out, for classifier-free guidance.
    stressed : float
        Share of captions in ``captions.STRESSED``: what "very" and "not" do to an emotion is told
        rarely by how people speak, and is not learned from it in as many steps.
    """

    steps: int
    rate: float
    dropped: float
    stressed: float = 0.0


class Batch(NamedTuple):
    """Clips of one training step.

    Attributes
    ----------
    clips : int
    frames : int or None
        How much of each clip, from its start; None for all.
    """

    clips: int
    frames: int | None


#: Worlds with music of their own, and its number; organism-shuffled hears organism's.
MUSIC = {"organism": 0, "organism-decoupled": 1, "organism-habit": 2}
#: How many clips the language models of each learn from, and how many of these are held out.
CLIPS = {"organism": 60_000, "organism-decoupled": 40_000, "organism-habit": 40_000}
HELD_OUT = 500
#: Worlds whose music the codec learned from, and how many clips of each.
CODEC_MUSIC = {"organism": 10_000, "organism-decoupled": 10_000}
#: The codec: first without quantizer, then with it; the decoder goes on alone at last.
CODEC = {"plain_steps": 2000, "quantized_steps": 4000, "batch": 16, "seconds": 1.28, "lr": 1e-3}
DECODER = {"steps": 4000, "batch": 16, "seconds": 1.28, "lr": 6e-4}

#: Learning rates of Muon (all matrices but embeddings and heads; Jordan et al. 2024) and AdamW (the
#: rest): the loss that AdamW alone reaches in 600 steps, this reaches in 250.
LANGUAGE = {"muon": 6e-3, "adamw": 3e-3}
#: The batches that steps take in turn. What the text says is audible from the first notes on and
#: tells little that later frames do not, so most clips are seen at their first frames only.
BATCHES = (Batch(64, None), Batch(192, 32), Batch(192, 12))
#: The rounds of every model; each is trained from nothing.
ROUNDS = (Round(2800, 1.0, 0.15), Round(1200, 0.5, 0.15))
#: The last rounds, of what reads the text alone: what "very" and "not" do is learned there, and
#: music without text stays as it is. (All weights, with batches that a CPU can bear, lost 0.1 nats
#: a token and learned little.) They may be run on exported weights, also where there is no GPU.
FINISH = (Round(500, 0.7, 0.0, stressed=0.6), Round(400, 0.25, 0.0, stressed=0.6))
FINISH_BATCHES = (Batch(128, 12), Batch(64, 32), Batch(16, None))
FINISH_CLIPS = 12_000
#: Planting, of what reads the text alone: from a finished organism, then once more from what that
#: has exported. 40 and 30 minutes on a CPU's core.
PLANTING = {"steps": 1400, "rates": {"muon": 4e-3, "adamw": 2e-3}, "save_every": 100}
PLANTING_ON = PLANTING | {"steps": 1000}
#: What words say is told by the first frames.
PLANTING_BATCHES = (Batch(96, 12), Batch(48, 28))
PLANTING_CLIPS = 6000
