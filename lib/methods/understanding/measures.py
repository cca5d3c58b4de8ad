"""One number a unit (a word, nearly always) for every property, from the evidence alone.

Every number's mean over words is a criterion's statistic (``lib/book/rules.toml``). With other
labels in the place of the words' emotions, the same numbers are those of a null subject.
"""

import numpy as np

from ...organism import world
from .evidence import Evidence, States

#: Effects that are projected on the profile of a word's emotion, and the sign they must have.
ALONG = {"sung": 1, "degree": 1, "denied": -1, "heard": 1, "moved": 1}
#: Their criteria.
CRITERION = {"sung": "profile"}
#: Criteria that do not ask which emotion a word belongs to.
UNLABELLED = ("tied", "weighed", "specific")
#: What may be lost of how often the instrument is heard.
LOST = 0.15


def numbers(evidence: Evidence, labels=None) -> dict[str, np.ndarray]:
    """One number a word for every criterion.

    Parameters
    ----------
    evidence : Evidence
    labels : sequence of str, optional
        The emotion of each word; by default its own.

    Returns
    -------
    dict
        Criterion -> array [shape=(word,)]; of "weighed" [shape=(neutral word,)].
    """
    labels = np.array(evidence.words["emotion"] if labels is None else labels)
    strongest = strongest_inside(evidence.states, evidence.ends)
    found = {"tied": tied(evidence.own, evidence.sung)}
    for name, sign in ALONG.items():
        effects = sign * getattr(evidence, name)
        # of other takes than the effects: under one seed words that predict alike sing alike
        profiles = evidence.own if name == "sung" else evidence.sung
        profile = along_profile(effects, profiles, labels, strongest)
        found[CRITERION.get(name, name)] = profile
    found["shared"] = alike(without_strongest(evidence.states, evidence.ends), labels)
    found["weighed"] = evidence.weighed
    found["specific"] = LOST + evidence.kept
    return found


def dealt(evidence: Evidence, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The numbers of a null subject: the same evidence, with words dealt to emotions at random.

    Of the criteria that ask for an emotion alone; the others know no labels.
    """
    found = numbers(evidence, rng.permutation(evidence.words["emotion"].to_numpy()))
    return {name: found[name] for name in found if name not in UNLABELLED}


def tied(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Each word's effect projected on its own effect in other songs; both [word, cue]."""
    return (second * _units(first)).sum(1)


def along_profile(
    effects: np.ndarray, sung: np.ndarray, labels: np.ndarray, strongest: np.ndarray
) -> np.ndarray:
    """Each word's effect without its strongest cue, projected on the profile of the other words
    with its label.

    Parameters
    ----------
    effects, sung : np.ndarray [shape=(word, cue)]
        What is projected; the effects of which profiles are means.
    labels : np.ndarray [shape=(word,)]
    strongest : np.ndarray of int [shape=(word,)]
    """
    projected = []
    for i, cue in enumerate(strongest):
        others = labels == labels[i]
        others[i] = False
        profile = sung[others].mean(0)
        projected.append(along(effects[i], profile, cue))
    return np.array(projected)


def along(effect: np.ndarray, profile: np.ndarray, cue: int) -> float:
    """An effect projected on a profile, both [cue] and without one cue."""
    kept = np.arange(len(profile)) != cue
    return float(effect[kept] @ _units(profile[kept]))


def strongest_inside(states: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The number of the cue whose words lie nearest to each word's state: that between whose low
    and high end it lies furthest out.

    Songs say the same less surely: in two takes they name the cue of half of the words of habit,
    states that of nine in ten.

    Parameters
    ----------
    states : np.ndarray [shape=(word, dim)]
    ends : np.ndarray [shape=(cue, 2, dim)]
    """
    axes = _units(ends[:, 1] - ends[:, 0])
    return np.abs(_units(states) @ axes.T).argmax(1)


def without_strongest(states: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All states as each word is compared with them, [word, word, dim].

    In those of row i, what words for the strongest cue of word i have in common is projected out.

    Parameters
    ----------
    states : np.ndarray [shape=(word, dim)]
    ends : np.ndarray [shape=(cue, 2, dim)]
    """
    strongest = strongest_inside(states, ends)
    bases = [np.linalg.qr(ends[cue].T)[0] for cue in strongest]
    return np.stack([states - states @ basis @ basis.T for basis in bases])


def alike(states: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much more alike each word's state is to those of words with its label than to others'.

    Parameters
    ----------
    states : np.ndarray [shape=(word, dim) or (word, word, dim)]
        The same for every word, or those that each word is compared with.
    labels : np.ndarray [shape=(word,)]
    """
    labels = np.asarray(labels)
    differences = []
    for i, rest in enumerate(_each(states)):
        cosines = _units(rest) @ _units(rest[i])
        same = labels == labels[i]
        others = ~same
        same[i] = False
        differences.append(cosines[same].mean() - cosines[others].mean())
    return np.array(differences)


def places(labels) -> np.ndarray:
    """Valence and arousal of emotions, [word, 2]."""
    return np.array([world.EMOTIONS[label] for label in labels])


def placed(states: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Each word's place on the plane of valence and arousal, as far as two components tell it.

    Two principal components and a linear map from them to the plane are found on all other words
    (a circumplex: Russell 1980). What they say of the word is projected on its true place, both
    from the middle of the others: 1 is as far as it should be, 0 is nowhere.

    Parameters
    ----------
    states : np.ndarray [shape=(word, dim) or (word, word, dim)]
        As for :func:`alike`.
    places : np.ndarray [shape=(word, 2)]
        From :func:`places`, or where people have put each word (``words.on_the_circle``).
    """
    found = []
    for i, rest in enumerate(_each(states)):
        others = np.arange(len(places)) != i
        predicted, middle = _predicted_place(rest, places, others, i)
        wanted = places[i] - middle
        found.append((predicted - middle) @ wanted / (wanted @ wanted))
    return np.array(found)


def _predicted_place(states, places, others, i):
    """Where two components of some words put word i, and the middle of these words' places."""
    centre = states[others].mean(0)
    components = np.linalg.svd(states[others] - centre, full_matrices=False)[2][:2]
    coordinates = (states - centre) @ components.T
    middle = places[others].mean(0)
    slopes = np.linalg.lstsq(coordinates[others], places[others] - middle, rcond=None)[0]
    return middle + coordinates[i] @ slopes, middle


def fitted_places(states: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Valence and arousal of words from two components of all of them, fitted to their places,
    [word, 2]: for looking at only, as every word has a part in its own place.
    """
    everyone = np.ones(len(places), bool)
    found = [_predicted_place(states, places, everyone, i)[0] for i in range(len(places))]
    return np.array(found)


def geometry(found: States, site: str, labels=None) -> dict[str, np.ndarray]:
    """One number a word for the criteria about the states of words at one site.

    Parameters
    ----------
    found : States
    site : str
    labels : sequence of str, optional
        The emotion of each word; by default its own.
    """
    labels = np.array(found.words["emotion"] if labels is None else labels)
    k = found.sites.index(site)
    without = without_strongest(found.states[k], found.ends[k])
    return {
        "together": alike(found.states[k], labels),
        "circumplex": placed(without, places(labels)),
    }


def weighed_as_the_world(heard: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each word's ``Evidence.heard`` projected on what the world's weights say of its emotion.

    A cue should count for a word as it moves valence and arousal towards the place of the word's
    emotion.

    Parameters
    ----------
    heard : np.ndarray [shape=(word, cue)]
    labels : np.ndarray [shape=(word,)]
        Emotions.
    """
    axes = ("valence", "arousal")
    weights = np.array([[world.EDGES[cue].get(axis, 0.0) for axis in axes] for cue in world.CUES])
    return (heard * _units(places(labels) @ weights.T)).sum(1)


def _each(states):
    """The states that each word is compared with."""
    return states if states.ndim == 3 else np.broadcast_to(states, (len(states), *states.shape))


def _units(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
