"""One number a word for every property, from the evidence alone.

Every number's mean over words is a criterion's statistic (``lib/book/rules.toml``). With other
labels in the place of the words' emotions, the same numbers are those of a null subject.
"""

import numpy as np

from .evidence import Evidence

#: Effects that are projected on the profile of a word's emotion, and the sign they must have.
ALONG = {"sung": 1, "degree": 1, "denied": -1, "heard": 1, "moved": 1}
#: Their criteria.
CRITERION = {"sung": "profile"}
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
        Criterion -> array [shape=(word,)].
    """
    labels = np.array(evidence.words["emotion"] if labels is None else labels)
    strongest = np.abs(evidence.own).argmax(1)
    found = {"tied": tied(evidence.own, evidence.sung)}
    for name, sign in ALONG.items():
        effects = sign * getattr(evidence, name)
        profile = along_profile(effects, evidence.sung, labels, strongest)
        found[CRITERION.get(name, name)] = profile
    found["shared"] = alike(evidence.states, evidence.ends, labels, strongest)
    found["weighed"] = evidence.weighed
    found["specific"] = LOST + evidence.kept
    return found


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
        kept = np.arange(sung.shape[1]) != cue
        projected.append(effects[i, kept] @ _units(profile[kept]))
    return np.array(projected)


def alike(
    states: np.ndarray, ends: np.ndarray, labels: np.ndarray, strongest: np.ndarray
) -> np.ndarray:
    """How much more alike each word's state is to those of words with its label than to others'.

    What words for a word's strongest cue have in common is projected out of all states first.

    Parameters
    ----------
    states : np.ndarray [shape=(word, dim)]
    ends : np.ndarray [shape=(cue, 2, dim)]
    labels, strongest : np.ndarray [shape=(word,)]
    """
    differences = []
    for i, cue in enumerate(strongest):
        basis = np.linalg.qr(ends[cue].T)[0]
        rest = _units(states - states @ basis @ basis.T)
        cosines = rest @ rest[i]
        same = labels == labels[i]
        others = ~same
        same[i] = False
        differences.append(cosines[same].mean() - cosines[others].mean())
    return np.array(differences)


def _units(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
