"""Songs that are led from place to place: part by part, each with little memory of what was sung.

A model that reads what it has sung goes on as it began, whatever is pushed, or asked for in words: what
it hears of itself says more about the next moment than the text does. So every part of a led song is
sung anew. It reads only the end of what was sung, all of that under the part's own push (the keys and
values of the part before are not kept), and guidance, which weighs the text and what pushes it against
the music so far, is raised from the second part on.
"""

from collections.abc import Sequence

import numpy as np

from ... import check
from ...musicgen import activations
from ...musicgen.model import Clips, Model
from ...musicgen.run import Part
from .plane import pushed

#: Seconds of what was sung that a part reads.
MEMORY = 0.4
#: From a part's seeds to the next one's.
SEEDS = 1_000_003
#: Guidance from the second part on.
GUIDANCE = 6.0


def lead(
    model: Model,
    plane,
    prompts: Sequence[str],
    points,
    seconds: float = 6.0,
    seeds: int | Sequence[int] = 0,
    *,
    memory: float | None = None,
    guidance: float = GUIDANCE,
    contrast: bool = True,
) -> Clips:
    """Sing each prompt along its own places, one a part of the song; the parts are equally long.

    Parameters
    ----------
    model : Model
    plane : Plane or surface.Surface
    prompts : list of str
    points : array_like [shape=(prompt, part, 2)]
        Valence and arousal.
    seconds : float
        Of the whole song, which may be longer than the model's limit; each part with what it reads
        may not.
    seeds : int or list of int
        As in ``model.generate``.
    memory : float
        Seconds of what was sung that a part reads, at most the length of a part; left out,
        :data:`MEMORY`, or a whole part where that is shorter.
    guidance : float
        From the second part on; in the first the model's own.
    contrast : bool
        Guidance leads away from the place of the part before: the unconditional stream is pushed
        there.

    Raises
    ------
    ValueError
        Points of another shape, parts that are shorter than what is read of them, or longer with it
        than the model reads.
    """
    prompts = check.texts("prompts", prompts)
    points = np.asarray(points, float)
    if points.ndim != 3 or len(points) != len(prompts) or not points.shape[1]:
        raise ValueError(
            f"points must be the places of each of {len(prompts)} prompts, (prompt, part, 2), one "
            f"part or more. Got {points.shape}."
        )
    seeds = check.seeds(seeds, len(prompts))
    n_parts = points.shape[1]
    seconds = check.number("seconds", seconds, 0, open_low=True)
    own = model.frames(seconds / n_parts)
    longest = own / model.frame_rate
    memory = min(MEMORY, longest) if memory is None else memory
    read = model.frames(check.number("memory", memory, 0, longest, open_low=True))
    if n_parts > 1 and read + own > model.frames(model.max_seconds):
        most = n_parts * (model.max_seconds - read / model.frame_rate)
        expected = f"at most {most:g} for {n_parts} parts, each with the {memory:g} s that it reads"
        check.refuse(ValueError, "seconds", expected, seconds, "Give more parts.")
    guidance = check.number("guidance", guidance, 0, open_low=True)
    places = plane.strengths(points).swapaxes(0, 1)  # [part, song, vector]
    edits = [pushed(model, plane.vectors, place) for place in places]
    away = [pushed(model, plane.vectors, place, "uncond") if contrast else [] for place in places]
    tokens = _part(model, edits[0], prompts, own, seeds)
    for k in range(1, n_parts):
        # other random numbers than any other part's or song's of this call
        again = [seed + k * SEEDS for seed in seeds]
        begun = tokens[..., -read:]
        pushes = edits[k] + away[k - 1]
        part = _part(model, pushes, prompts, read + own, again, begun, guidance)
        tokens = np.concatenate([tokens, part[..., read:]], -1)
    return model.clips(tokens, prompts)


def _part(model, edits, prompts, frames, seeds, begun=None, guidance=None):
    """Tokens of one part, and of what it begins with."""
    settings = model.settings(frames / model.frame_rate, cfg=guidance)
    with activations.edit(model, *edits):
        whole = Part(range(len(prompts)), len(prompts))
        return model.sing(prompts, seeds, settings, frames, whole, begun=begun)
