"""The plane of valence and arousal as it lies in the model: curved, between places that were measured.

A straight plane adds the same for each step to the right, wherever one stands. The model's own
activations need not lie so. Here *anchors* are kinds of songs, asked for in words: each has a place (the
valence and arousal that are heard in them) and a mean activation. A surface leads through all of them,
and a point of the plane becomes the activation that lies there, less the one at the start (as "manifold
steering" of language models does).

>>> import numpy as np
>>> corners = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
>>> through(corners, corners @ [[1.0], [2.0]])(np.array([[0.5, 0.5]])).round(6)
array([[1.5]])
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.interpolate import RBFInterpolator

from ... import cache, check
from ...musicgen import activations
from . import plane, vectors
from .judge import Judge

#: The least anchors that span a surface with a bend.
FEWEST = 4
SHAPES = ("curved", "straight")
#: Directions that are kept, of those in which anchors differ most: what few songs an anchor has in
#: common by chance lies in the others.
DIRECTIONS = 4
#: Tried by :func:`calibrated`.
GAINS = (1.0, 2.0, 4.0, 8.0)
#: A direction in which anchors differ by less than this share of the longest is rounding.
LEAST = 1e-6


@dataclass(frozen=True)
class Surface:
    """Where the activations of some sites lie, by valence and arousal; sung as a ``plane.Plane`` is.

    Attributes
    ----------
    vectors : tuple of Vector
        Directions at right angles that span the anchors' activations.
    places : np.ndarray [shape=(anchor, 2)]
        Valence and arousal that are heard, standard deviations of the world's music.
    coordinates : np.ndarray [shape=(anchor, vector)]
        Activations in strengths of the vectors, from those of all anchors' mean on.
    start : np.ndarray [shape=(2,)]
        What is heard without steering.
    most : float
        Largest strength: what asks for more is shortened.
    gain : float
        How much more is added than the words of an anchor add on average over frames: they add it
        where it counts, and a push everywhere.
    effect : np.ndarray [shape=(2, 2)]
        Heard valence and arousal (rows) for each step on the surface (columns): a step that is heard
        as less, or along the other axis too, is made up for. Left out, steps are as they are.
    shape : "curved" or "straight"
        Through all anchors, or the flat plane that is nearest to them.
    """

    vectors: tuple[vectors.Vector, ...]
    places: np.ndarray
    coordinates: np.ndarray
    start: np.ndarray
    most: float
    gain: float = 1.0
    effect: np.ndarray = field(default_factory=lambda: np.eye(2))
    shape: str = "curved"

    def __post_init__(self):
        check.choice("shape", self.shape, SHAPES)
        check.number("gain", self.gain, 0, open_low=True)
        check.number("most", self.most, 0, open_low=True)
        check.same_length(places=self.places, coordinates=self.coordinates)

    def strengths(self, points) -> np.ndarray:
        """Strengths of all vectors for points of the plane.

        Parameters
        ----------
        points : array_like [shape=(..., 2)]
            Valence and arousal, in standard deviations of the world's music.

        Returns
        -------
        np.ndarray [shape=(..., vector)]
        """
        steps = plane.steps(points, self.start, self.effect)
        fit = through if self.shape == "curved" else nearest_plane
        lies = fit(self.places, self.coordinates)
        goals = (self.start + steps).reshape(-1, 2)
        wanted = self.gain * (lies(goals) - lies(self.start[None]))
        return plane.shortened(wanted.reshape(*steps.shape[:-1], -1), self.most)


def through(places: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The least bent surface through values at places: a thin-plate spline (Duchon 1977).

    Parameters
    ----------
    places : np.ndarray [shape=(anchor, 2)]
    values : np.ndarray [shape=(anchor, vector)]
    """
    return RBFInterpolator(places, values, kernel="thin_plate_spline")


def nearest_plane(places: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The flat plane nearest to values at places, by least squares; arguments as for :func:`through`."""
    weights = plane.regressed(places, values)
    return lambda points: np.column_stack([np.ones(len(points)), points]) @ weights


def fit(
    judge: Judge,
    anchors: Mapping[str, Sequence[str]],
    neutral: Sequence[str],
    sites: str | Sequence[str] | None = None,
    *,
    most: float = 20.0,
    seconds: float = 4.0,
    seed: int = 0,
) -> Surface:
    """Measure where the model's own activations lie.

    Every anchor's prompts are sung, with the same seeds for all; its place is what the judge's first
    listener hears in its songs. Its activation is the mean over the neutral songs, read under its own
    prompts, and their frames: the music is the same for all, so that what differs is what words do.

    Parameters
    ----------
    judge : Judge
    anchors : mapping
        Name -> prompts of one kind, as many of every kind.
    neutral : list of str
        Prompts for no emotion, as many as of an anchor: an anchor, too, and where songs start.
    sites : str or list of str
        Names or globs; left out, where text comes in (``activations.reading_text``).
    most : float
        Largest strength: 1 is how far an anchor lies from the mean of all at one site, on average.
    seconds, seed : float, int
        Of the songs.

    Raises
    ------
    ValueError
        Fewer than three anchors, not as many prompts of each, or sites that are not there.
    """
    kinds = {"neutral": neutral, **anchors}
    kinds = {name: check.texts(f"the prompts of {name!r}", given) for name, given in kinds.items()}
    n = len(kinds["neutral"])
    if len(kinds) < FEWEST or any(len(given) != n for given in kinds.values()):
        counts = {name: len(given) for name, given in kinds.items()}
        raise ValueError(
            f"A surface needs {FEWEST - 1} anchors or more, each with as many prompts as there are "
            f"neutral ones. Got {counts}."
        )
    model = judge.model
    sites = activations.reading_text(model) if sites is None else sites
    names = [site.name for site in activations.select(model, sites)]
    seeds = check.seeds(seed, n) * len(kinds)
    prompts = list(itertools.chain.from_iterable(kinds.values()))
    songs = model.generate(prompts, seconds, seeds, keep=True, progress=False)
    places = judge.place(songs).reshape(len(kinds), n, 2).mean(1)
    music = songs[:n]
    rows = {name: [] for name in names}
    for given in kinds.values():
        read = activations.capture(model, music.under(given), names, reduce="mean", progress=False)
        for name in names:
            rows[name].append(read[name].values.mean(0))
    norms = {name: vectors.norm(values) for name, values in rows.items()}
    means = np.concatenate([np.stack(rows[name]) / norms[name] for name in names], axis=1)
    _, sizes, directions = np.linalg.svd(means - means.mean(0), full_matrices=False)
    directions = directions[sizes > LEAST * sizes[0]][:DIRECTIONS]
    coordinates = (means - means.mean(0)) @ directions.T
    about = cache.digest(list(kinds), songs.tokens, model.interventions)
    spanning = tuple(_vector(model, along, norms, about, songs.prompts) for along in directions)
    return Surface(spanning, places, coordinates, places[0], most)


def _vector(model, direction, norms, data, prompts):
    """One direction over all sites, which together have length 1.

    ``applying.pushes`` shares a strength among sites.
    """
    widths = [site.width for site in activations.select(model, list(norms))]
    parts = np.split(len(norms) * direction, np.cumsum(widths)[:-1])
    units = dict(zip(norms, parts, strict=True))
    unknown = dict.fromkeys(norms, np.nan)
    made = {"model": model.name, "weights": model.fingerprint, "data": data}
    return vectors.Vector(
        units, norms, unknown, unknown, "surface", positive=prompts, negative=[], **made
    )


def calibrated(
    judge: Judge,
    surface: Surface,
    prompts: Sequence[str],
    gains: Sequence[float] = GAINS,
    reach: float = 1.0,
    *,
    seconds: float = 4.0,
    seed: int = 0,
) -> Surface:
    """The surface with gain and effect measured, on songs that count for nothing else.

    Steps are sung at every gain. The gain is the one whose songs land nearest to where they are asked
    to; the effect is that of its steps.

    Parameters
    ----------
    judge : Judge
    surface : Surface
    prompts : list of str
    gains : sequence of float
    reach : float
        How far steps lead, standard deviations of the world's music.
    seconds, seed : float, int

    Raises
    ------
    ValueError
        No gain, or one that is not positive; before anything is sung.
    """
    prompts = check.texts("prompts", prompts)
    tried = {gain: replace(surface, gain=gain) for gain in gains}
    if not tried:
        raise ValueError("gains is empty: give at least one positive number.")
    steps = check.number("reach", reach, 0, open_low=True) * np.array(plane.DESIGN)
    seeds = np.repeat(check.seeds(seed, len(prompts)), len(steps)).tolist()
    each = [prompt for prompt in prompts for _ in steps]
    asked = np.tile(surface.start + steps, (len(prompts), 1))
    heard = {
        gain: judge.place(plane.sing(judge.model, some, each, asked, seconds, seeds))
        for gain, some in tried.items()
    }
    best = min(tried, key=lambda gain: np.linalg.norm(heard[gain] - asked, axis=1).mean())
    landed = heard[best].reshape(len(prompts), len(steps), 2).mean(0)
    effect = plane.regressed(steps, landed)[1:].T
    # steps are divided by the whole: first by what is measured here, then by what was before
    return replace(tried[best], effect=effect @ surface.effect)
