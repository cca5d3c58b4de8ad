"""What features do: the music when one is turned up, the predictions when one is switched off."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from ... import check, prompts, stats
from ...hearing import listeners
from ...musicgen import Clips, Model, activations
from ...organism import world
from ..divergence import kl
from .evaluation import own_site
from .placing import back, home

#: Clips that excite a feature most, on which it is switched off.
TOP = 4
#: Seconds that cues are measured in, at least.
SHORTEST = 1.0


@torch.no_grad()
def effects(
    s,
    m: Model,
    site: str,
    clips: Clips,
    activity: np.ndarray,
    which,
    n: int = 6,
    seconds: float = 3.0,
    seed: int = 0,
    training: int = listeners.TRAINING_CLIPS,
) -> dict[int, dict]:
    """What features do: the music when one is turned up, the predictions when one is switched off.

    Turned up means that its direction is added at every frame, as strongly as the clip does that
    excites it most, while ``n`` clips are generated from neutral prompts; the same clips (same
    seeds) without it are what they are compared with.

    Parameters
    ----------
    s : sae_lens.SAE or Basis
        On any device.
    m : Model
    site : str
    clips : Clips
    activity : np.ndarray [shape=(clip, feature)]
        Mean activations in these clips, from ``sae.activity``.
    which : selector of features
        Of an iterable of integers, in its order and as often as asked.
    n, seconds, seed : int, float, int
        Of the generated clips.
    training : int
        Clips of the corpus whose mean and spread are the units of the cues.

    Returns
    -------
    dict
        feature -> up, off (nats a token between predictions with and without: in the neutral clips,
        and in the four clips that excite it most) and cues, {cue: ``stats.Estimate``} in standard
        deviations of the corpus.

    Raises
    ------
    ValueError, TypeError
        A site that there is not or of another width, activity of other clips or features; clips too
        short to be heard, or too few to learn from; before a song is sung.
    """
    n = check.count("n", n, 2)
    seconds = check.number("seconds", seconds, SHORTEST)
    seed = check.count("seed", seed, 0)
    training = check.count("training", training, listeners.FEWEST_CLIPS)
    site = own_site(s, m, site)
    activity = check.array("activity", activity, (len(clips), len(s.W_dec)))
    if isinstance(which, Iterable) and not isinstance(which, np.ndarray):
        which = list(which)  # a generator is read once, and numpy takes a tuple for coordinates
    check.selector("which", which, activity.shape[1])
    which = np.arange(activity.shape[1])[which].ravel()  # in the order and as often as asked
    if not len(which):
        return {}
    language = "natural" if world.of(m) is None else "organism"
    asked = list(prompts.crossed("neutral", n, language, seed)["prompt"])
    plain = m.generate(asked, seconds, seed, progress=False)
    directions = s.W_dec.detach().float().cpu().numpy()[which]
    added = directions * activity.max(0)[which, None]
    with activations.edit(m, activations.Edit(site, add=np.repeat(added, n, 0))):
        seeds = [*range(seed, seed + n)] * len(which)
        turned_up = m.generate(asked * len(which), seconds, seeds)
    listener = listeners.get("cues", training)
    before = _profile(listener, plain)
    after = _profile(listener, turned_up)
    found = {}
    for i, feature in enumerate(which):
        change = after.iloc[i * n : (i + 1) * n].reset_index(drop=True) - before
        top = clips[list(np.argsort(-activity[:, feature])[:TOP])]
        off = activations.Edit(site, apply=_without(s, int(feature)))
        found[int(feature)] = {
            "cues": {cue: stats.mean(column) for cue, column in change.items()},
            "up": _changed(m, plain, activations.Edit(site, add=added[i])),
            "off": _changed(m, top, off),
        }
    return found


def _profile(listener, clips):
    """What a listener hears in each clip, in standard deviations of the corpus."""
    return listener.profile(listeners.features(clips.audio, clips.sample_rate))


def _without(s, feature) -> Callable:
    """Vectors without what one feature adds to them."""

    def change(x):
        vectors = home(s, x)
        contribution = s.encode(vectors)[..., feature, None] * s.W_dec[feature]
        return back(vectors - contribution, x)

    return change


def _changed(m, clips, edit):
    """How far an edit moves the predictions, nats a token."""
    parts = []
    for batch, before in m.predictions(clips):
        # batch by batch: the predictions of all clips may fill the memory
        with activations.edit(m, edit):
            after = torch.cat([log_p for _, log_p in m.predictions(clips[batch])])
        parts.append(kl(before, after))
    return float(torch.cat(parts).mean())
