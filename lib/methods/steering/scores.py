"""The score of a song: heard as wanted, the rest of its prompt kept, and still music.

Three numbers from 0 to 1, and their harmonic mean (as AxBench scores concept, instruction and fluency,
from 0 to 2 there: Wu et al. 2025). One that is 0 makes the score 0: a song in another key of
happiness that is noise has not been steered.

- **success**: of an emotion the share of the judge's listeners that name it (of its suppression, that
  do not). Of an axis or a cue how much of the world's music lies lower, were it normal: 0.5 in the
  middle, mean over the listeners that say it. Of an instrument whether it is named, by one who learned
  from the world's own music.
- **kept**: the probability of the instrument that the prompt names, as a share of what unsteered
  songs have, by one who learned from this model's own unsteered songs (where the instrument is moved:
  the share of listeners that hear the emotion which the prompt names). With CLAP among the listeners, the mean of that and of the cosine
  with the prompt, as a share of what unsteered songs have.
- **quality**: the mean of three. *Likely*: exp(-d), where d is how much less probable the song is than
  unsteered ones, as music of any kind (nats a token). *Near*: distance between two sets of unsteered
  songs, as a share of the Fréchet distance between these and the steered ones; the same for all songs
  of a set. *Codec*: the share of its tokens that come back when the song is encoded again, as a share
  of what unsteered songs have. A silent song, or one that is clipped for a tenth of its time, has
  none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from ... import check, stats
from ...hearing import listeners
from ...musicgen.model import Clips
from ...organism import captions, world
from . import effects, tasks
from .judge import Judge

COLUMNS = ("success", "kept", "quality")
#: Share of samples from which a clipped song has no quality.
RUINED = 0.1


def harmonic(*parts) -> np.ndarray:
    """Harmonic mean of numbers from 0 to 1; 0 where one of them is.

    Raises
    ------
    ValueError
        A number outside 0 to 1.
    """
    values = np.stack([np.asarray(part, float) for part in parts])
    if not ((values >= 0) & (values <= 1)).all():
        check.refuse(ValueError, "What is averaged", "from 0 to 1", values.tolist())
    whole = values.min(0) > 0
    inverse = (1 / np.where(whole, values, 1.0)).mean(0)
    return np.where(whole, 1 / inverse, 0.0)


class Unsteered(NamedTuple):
    """What unsteered songs of some rows are like: two songs a row.

    Attributes
    ----------
    surprise, recoded, instrument : float
        Means, see ``Judge.hear``; the last of the instrument's probability.
    clap : float or None
        CLAP's agreement with what the prompts say beside the concept.
    spectra : np.ndarray [shape=(clip, frame, mel)]
        Of the first songs.
    apart : float
        Fréchet distance between the first songs and the second.
    """

    surprise: float
    recoded: float
    instrument: float
    clap: float | None
    spectra: np.ndarray
    apart: float


def unsteered(
    judge: Judge, first: Clips, second: Clips, rest: Sequence[str] | None = None
) -> Unsteered:
    """The measure of quality, from two songs of every row.

    Parameters
    ----------
    judge : Judge
    first, second : Clips
    rest : sequence of str, optional
        What each prompt says beside the concept; left out, all of it.
    """
    check.same_length(first=first, second=second)
    heard = pd.concat([judge.hear(first), judge.hear(second)])
    spectra = [effects.mel_frames(songs) for songs in (first, second)]
    follow = [_follow(judge, songs, rest) for songs in (first, second)]
    clap = None if follow[0] is None else float(np.mean(follow))
    means = [float(heard[name].mean()) for name in ("surprise", "recoded", "instrument share")]
    return Unsteered(*means, clap, spectra[0], effects.frechet(*spectra))


def score(
    judge: Judge,
    songs: Clips,
    task: tasks.Task,
    kept: Sequence[str],
    plain: Unsteered,
    answers: pd.DataFrame | None = None,
    rest: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every song's parts and score.

    Parameters
    ----------
    judge : Judge
        Of the model that sang.
    songs : Clips
        One a row of the task.
    task : Task
    kept : sequence of str
        What each row keeps, as in ``tasks.rows``.
    plain : Unsteered
        Of the same rows.
    answers : pd.DataFrame, optional
        Of ``judge.hear``, where the songs were heard before.
    rest : sequence of str, optional
        As in :func:`unsteered`: whatever a song was asked for, and whatever it should lose, it is
        held against the same text.

    Returns
    -------
    pd.DataFrame
        One row a song: success, kept, quality and score, from 0 to 1; heard (success before a task
        that suppresses turns it) and recognised (whether the instrument is the likeliest, 0 or 1).
    """
    answers = judge.hear(songs) if answers is None else answers
    heard = presence(judge, songs, answers, task.concept)
    found = pd.DataFrame({"heard": heard})
    found["success"] = heard if task.aim == "induce" else 1 - heard
    found["recognised"] = answers["instrument"].to_numpy(float)
    follow = _follow(judge, songs, rest)
    found["kept"] = _kept(judge, answers, task, kept, plain, follow)
    found["quality"] = _quality(songs, answers, plain)
    found["score"] = harmonic(*(found[name] for name in COLUMNS))
    return found


def presence(judge: Judge, songs: Clips, answers: pd.DataFrame, concept: str) -> np.ndarray:
    """How far a concept is heard in songs, from 0 to 1, [clip]."""
    check.choice("concept", concept, tasks.KNOWN)
    if concept in world.EMOTIONS:
        return _named(judge, answers, [concept] * len(answers))
    if concept in world.AXES:
        said = [answers[f"{ear} {concept}"] for ear in judge.ears if f"{ear} {concept}" in answers]
        return np.mean([scipy.stats.norm.cdf(values) for values in said], 0)
    if concept == "mode":
        return (answers["mode"] > 0).to_numpy(float)
    if concept in world.CUES:
        return scipy.stats.norm.cdf(answers[concept])
    ear = listeners.get("instrument", codec=judge.model)
    return (ear(songs)["level"] == concept).to_numpy(float)


def _named(judge, answers, emotions):
    """Share of the listeners that name emotions which name these, [clip]."""
    columns = [f"{ear} emotion" for ear in judge.ears if f"{ear} emotion" in answers]
    if not columns:
        raise ValueError(f"None of the listeners {list(judge.ears)} names emotions.")
    return np.mean([answers[column].to_numpy() == np.asarray(emotions) for column in columns], 0)


def _follow(judge, songs, rest):
    """CLAP's agreement of songs with texts, [clip]; None where it is not among the listeners."""
    ear = judge.ears.get("clap")
    if ear is None:
        return None
    texts = songs.prompts if rest is None else list(rest)
    return ear.answer(songs.mono, songs.sample_rate, texts)["agreement"].to_numpy()


def _kept(judge, answers, task, kept, plain, follow):
    if tasks.keeps(task.concept) == "instrument":
        share = answers["instrument share"].to_numpy() / max(plain.instrument, 1e-6)
        there = np.clip(share, 0, 1)
    else:
        there = _named(judge, answers, [_emotion(word) for word in kept])
    if follow is None:
        return there
    return (there + np.clip(follow / max(plain.clap, 1e-6), 0, 1)) / 2


def _emotion(word):
    """The emotion that a word is of."""
    return next(name for name, words in captions.EMOTION_WORDS.items() if word in words)


def _quality(songs, answers, plain):
    likely = np.exp(-np.maximum(answers["surprise"] - plain.surprise, 0))
    distance = effects.frechet(plain.spectra, effects.mel_frames(songs))
    near = plain.apart / max(distance, plain.apart) if plain.apart > 0 else float(distance == 0)
    codec = np.clip(answers["recoded"] / plain.recoded, 0, 1) if plain.recoded > 0 else 1.0
    there = (answers["loud"] > effects.SILENT) & (answers["clipped"] < RUINED)
    return (there * (likely + near + codec) / 3).to_numpy()


def preserved(scored: pd.DataFrame) -> np.ndarray:
    """What is left of the prompt and of the music: harmonic mean of kept and quality, [clip]."""
    return harmonic(scored["kept"], scored["quality"])


def area(alignment, preservation) -> float:
    """Area under alignment against preservation, from 0 to 1.

    The curve says, for every preservation, the most alignment that any strength reaches with as much or
    more (the hypervolume above nothing: Zitzler and Thiele 1999). Steering that always succeeds and
    breaks nothing has 1.

    Parameters
    ----------
    alignment, preservation : array_like [shape=(strength,)]
        Means of songs at each strength, that of no steering included: from 0 to 1.
    """
    alignment = check.array("alignment", np.asarray(alignment, float), ("strength",))
    preservation = check.array("preservation", np.asarray(preservation, float), ("strength",))
    check.same_length(alignment=alignment, preservation=preservation)
    order = np.argsort(preservation)
    places = np.concatenate([[0.0], preservation[order]])
    best = np.maximum.accumulate(alignment[order][::-1])[::-1]
    return float((np.diff(places) * best).sum())


def area_over_prompts(alignment, preservation) -> stats.Estimate:
    """:func:`area` of means over prompts, with an interval that resamples prompts.

    Parameters
    ----------
    alignment, preservation : array_like [shape=(prompt, strength)]
    """

    def statistic(alignment, preservation):
        return area(alignment.mean(0), preservation.mean(0))

    both = (np.asarray(alignment, float), np.asarray(preservation, float))
    return stats.bootstrap(statistic, *both, n_resamples=300, paired=True)
