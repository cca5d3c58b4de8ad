"""The worlds the organisms live in: one structural causal model, written down once.

Variables are standardised; an edge's weight is the change of its child, in the child's own units,
for one standard deviation of its parent. Mode and tempo are drawn first, tempo raises a latent
energy, energy raises dynamics and density and lowers articulation; register and brightness have
their own draws; perceived valence and arousal are additive and linear in the cues, and a listener
names the nearest emotion when the clip is clear enough.

Four worlds (:data:`WORLDS`) share the music's machinery. In ``organism`` all of this holds. In
``organism-decoupled`` tempo moves no energy. In ``organism-shuffled`` captions belong to other
clips. In ``organism-habit`` every cue is drawn on its own and every emotion word follows one cue of
its own ("gloomy" only minor, "mournful" only slow): text is tied to music, each emotion's words
together go with that emotion's cues, and no emotion is anywhere.

>>> from lib.organism import world
>>> table = world.sample(1000, seed=3, do={"tempo": 1.0})
>>> bool(table["arousal"].mean() > 0.4)
True

Sources
-------
- Additive and mostly linear cues, ordered mode > tempo > register > dynamics > articulation >
  timbre: Eerola, Friberg and Bresin 2013, Frontiers in Psychology 4:487 (77-89 % of the variance
  of ratings explained by linear cues).
- Fast, loud, staccato and bright music is heard as more aroused, major as more positive:
  Gabrielsson and Lindström 2010, in Juslin and Sloboda (eds.), Handbook of Music and Emotion;
  Husain, Thompson and Schellenberg 2002, Music Perception 20(2) (tempo moves arousal, mode moves
  valence).
- Emotions as points on valence x arousal: Russell 1980, Journal of Personality and Social
  Psychology 39(6).

Mode and tempo weigh most here, too; register weighs less than dynamics, unlike in these sources.
The size of the weights is this world's own choice, and what a method finds is judged against the
choice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import check
from . import music, planting


class Cue(NamedTuple):
    """A cue: what a composer sets and a listener hears.

    Attributes
    ----------
    set_in : str
        Unit in which ``music.Cues`` sets it.
    measured_in : str
        Unit in which ``hearing.acoustics`` measures it; the measure has the cue's name and sign.
    low, high : str
        What its two ends sound like.
    """

    set_in: str
    measured_in: str
    low: str
    high: str


#: The vocabulary of the whole house: every cue's name, units and direction. Standardised values,
#: measures, word ends and weights all go up from ``low`` to ``high``.
CUES = {
    "mode": Cue("minor or major", "correlation (major - minor)", "minor", "major"),
    "tempo": Cue("beats per minute", "beats per minute", "slow", "fast"),
    "dynamics": Cue("dBFS of the loud frames", "dBFS", "soft", "loud"),
    "density": Cue("melody notes per beat", "onsets per second", "sparse", "dense"),
    "articulation": Cue(
        "sounding share of the time to the next note", "dB (0 is legato)", "staccato", "legato"
    ),
    "register": Cue("MIDI pitch of the melody's centre", "MIDI pitch", "low", "high"),
    "brightness": Cue(
        "dB of a shelf above 1.2 kHz", "dB above 1.2 kHz, relative to all", "dark", "bright"
    ),
}
#: Emotions as points (valence, arousal): the four names of the original study and the quadrant
#: they leave empty.
EMOTIONS = {
    "happy": (0.90, 0.35),
    "energetic": (0.60, 1.40),
    "tense": (-0.80, 0.75),
    "sad": (-0.75, -0.80),
    "calm": (0.75, -0.80),
}
AXES = ("valence", "arousal")
#: (high valence, high arousal) -> the emotion there. Happy lies between calm and energetic.
CORNERS = {
    (valence > 0, arousal > 0): emotion
    for emotion, (valence, arousal) in EMOTIONS.items()
    if emotion != "happy"
}
#: A clip's emotion is named only if the second nearest emotion is this much farther away than the
#: nearest.
CLEAR = 0.4

#: parent -> {child: weight}. ``tempo -> energy`` is the edge that ``organism-decoupled`` lacks.
EDGES = {
    "mode": {"valence": 0.75},
    "tempo": {"energy": 0.60, "valence": 0.20, "arousal": 0.45},
    "energy": {"dynamics": 0.90, "density": 0.80, "articulation": -0.70},
    "dynamics": {"arousal": 0.40},
    "density": {"arousal": 0.25},
    "articulation": {"valence": -0.10, "arousal": -0.15},
    "register": {"valence": 0.20, "arousal": 0.05},
    "brightness": {"valence": 0.10, "arousal": 0.15},
}
#: Standard deviation of the noise of perception.
PERCEPTION_NOISE = 0.2


class World(NamedTuple):
    """How a world differs from the others.

    Attributes
    ----------
    tempo_to_energy : float
        Weight of the edge tempo -> energy.
    energy_to_cues : bool
        Whether energy moves dynamics, density and articulation; else each is drawn on its own.
    words : "emotion" or "habit"
        Whether an emotion word follows the emotion of a clip, or one cue.
    captions : "own" or "shuffled"
        Whether captions belong to their clips.
    """

    tempo_to_energy: float = 0.60
    energy_to_cues: bool = True
    words: str = "emotion"
    captions: str = "own"


#: The worlds by the name of the first model trained on each.
WORLDS = {
    "organism": World(),
    "organism-habit": World(tempo_to_energy=0.0, energy_to_cues=False, words="habit"),
    "organism-decoupled": World(tempo_to_energy=0.0),
    "organism-shuffled": World(captions="shuffled"),
}
#: How many models are trained on each world, independently and from nothing.
TRAINED = {
    "organism": 3,
    "organism-habit": 3,
    "organism-decoupled": 2,
    "organism-shuffled": 2,
}


def models(name: str) -> list[str]:
    """The models trained on a world: its name, its name with "-2", ...

    Parameters
    ----------
    name : str
        A key of :data:`WORLDS`.
    """
    count = TRAINED[check.choice("world", name, WORLDS)]
    return [name, *(f"{name}-{number}" for number in range(2, count + 1))]


def of(model) -> str | None:
    """The name of the world that a model was trained on; None if its world is not known.

    Parameters
    ----------
    model : Model or str
        A loaded model, or its name.
    """
    name = getattr(model, "name", model)
    if isinstance(name, str) and name in planting.PLACES:
        return planting.TAUGHT_BY
    return next((known for known in WORLDS if name in models(known)), None)


def check_cue(name: str, value: str, options: Iterable[str] = tuple(CUES)) -> str:
    """One of some variables, by the house's name for it.

    Raises
    ------
    ValueError
        Any other; *staccato*, which is low articulation, with that advice.
    """
    if isinstance(value, str) and value == "staccato":
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, options))}. Got 'staccato', which is low "
            "articulation: use 'articulation' and turn the sign (higher is more legato)."
        )
    return check.choice(name, value, options)


def sample(
    n: int, world: str = "organism", seed: int = 0, do: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Draw clips' causes and what a listener of this world perceives.

    Parameters
    ----------
    n : int
    world : str
        A key of :data:`WORLDS`. ``organism-shuffled`` has the music of ``organism``.
    seed : int
    do : mapping, optional
        Interventions: variable -> value (standardised), cutting it from its parents (Pearl's
        do-operator). Variables are the :data:`CUES` and ``energy``.

    Returns
    -------
    pd.DataFrame
        One row a clip: the standardised :data:`CUES`, ``energy``, ``valence``, ``arousal``,
        ``instrument``, ``emotion`` (nearest) and ``clear`` (whether a listener would name it).
    """
    n = check.count("n", n)
    rng = np.random.default_rng([check.count("seed", seed, 0), 1])
    rules = WORLDS[check.choice("world", world, WORLDS)]
    do = _check_interventions(do or {})
    values = {}

    def noise():
        return np.clip(rng.standard_normal(n), -2.2, 2.2)

    def assign(name, value):
        values[name] = np.full(n, do[name]) if name in do else value

    assign("mode", rng.choice([-1.0, 1.0], n))
    for name in ("tempo", "register", "brightness"):
        assign(name, noise())
    assign("energy", _child(rules.tempo_to_energy, values["tempo"], noise()))
    for name, weight in EDGES["energy"].items():
        assign(name, _child(weight * rules.energy_to_cues, values["energy"], noise()))

    table = pd.DataFrame(values)
    for axis in AXES:
        weights = {cue: edges[axis] for cue, edges in EDGES.items() if axis in edges}
        linear = sum(weight * table[cue] for cue, weight in weights.items())
        table[axis] = linear + PERCEPTION_NOISE * noise()
    table["instrument"] = rng.choice(list(music.INSTRUMENTS), n)
    table["emotion"], table["clear"] = name_emotion(table[["valence", "arousal"]].to_numpy())
    return table


def _child(weight, parent, noise):
    """A standardised variable that follows its parent with the given weight.

    The noise takes the weight's sign (its distribution is symmetric), so that a variable read the
    other way round, with the opposite weight, is the opposite draw by draw.
    """
    sign = -1.0 if weight < 0 else 1.0
    return sign * (abs(weight) * parent + np.sqrt(1 - weight**2) * noise)


def _check_interventions(do):
    variables = [*CUES, "energy"]
    checked = {}
    for name, value in do.items():
        check_cue("A variable to intervene on", name, variables)
        checked[name] = float(check.number(f"do[{name!r}]", value))
    return checked


def name_emotion(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The emotion nearest to each point of the plane.

    Parameters
    ----------
    points : array_like [shape=(point, 2)]
        Valence and arousal.

    Returns
    -------
    emotions : np.ndarray of str [shape=(point,)]
    clear : np.ndarray of bool [shape=(point,)]
        Whether it is near enough to be named, see :data:`CLEAR`.
    """
    points = check.array("points", points, ("point", 2))
    centres = np.array(list(EMOTIONS.values()))
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    nearest = np.array(list(EMOTIONS))[distance.argmin(1)]
    first, second = np.sort(distance, axis=1)[:, :2].T
    return nearest, second - first > CLEAR


def intensity(row: Mapping) -> float:
    """How far a clip lies in the direction of its emotion: 1 as far as the emotion's own point.

    Parameters
    ----------
    row : mapping
        A row of :func:`sample`.
    """
    centre = np.array(EMOTIONS[row["emotion"]])
    point = np.array([row["valence"], row["arousal"]])
    return float(point @ centre / (centre @ centre))


def to_cues(row: Mapping) -> music.Cues:
    """The physical cues (BPM, dB, ...) of one row of :func:`sample`."""
    return music.Cues(
        tempo=105 * 2 ** (0.38 * row["tempo"]),
        mode="major" if row["mode"] > 0 else "minor",
        density=float(np.clip(1.25 + 0.35 * row["density"], 0.5, 2.5)),
        articulation=float(np.clip(0.65 + 0.17 * row["articulation"], 0.25, 1.0)),
        register=66 + 5.5 * row["register"],
        dynamics=float(np.clip(-24 + 5 * row["dynamics"], -40, -9)),
        brightness=6 * row["brightness"],
        instrument=row["instrument"],
    )


def conditional_means(
    emotions: Sequence[str] = tuple(EMOTIONS),
    world: str = "organism",
    n: int = 100_000,
    seed: int = 0,
) -> pd.DataFrame:
    """What the world itself says an emotion sounds like.

    Returns
    -------
    pd.DataFrame
        The mean standardised cue of the clips that are called so: rows are the emotions, columns
        :data:`CUES`.
    """
    emotions = [check.choice("emotion", emotion, EMOTIONS) for emotion in emotions]
    table = sample(n, world, seed)
    return table[table["clear"]].groupby("emotion")[list(CUES)].mean().loc[emotions]
