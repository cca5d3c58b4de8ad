"""A listener that learned from music that people rated; and how well any listener hears what people
rated.

The listeners of ``hearing`` learned from rendered music of a known world. A judge of a real
MusicGen's songs should also have heard real music, as people hear it.
"""

from collections.abc import Iterable

import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import check
from ..hearing import listeners, spectra
from ..organism import world
from .agreement import correlation, estimate, rank_correlation
from .dataset import Dataset
from .errors import DatasetError
from .labels import AXES
from .prediction import ALPHAS, held_out

#: Seconds that are heard of each song, from its middle.
SECONDS = 15.0
#: Fewest songs to learn from: several artists in each of five folds, and in each fold of these.
FEWEST = 30
FOLDS = 5


class RatedListener(listeners.Listener):
    """Learned from rated music: ridge regression from spectra to valence and arousal.

    Its answers are in standard deviations of the ratings around their mean, and its emotion is the
    nearest on that plane. ``listeners.get``, ``listeners.reliability`` and ``steering.Judge`` take
    it in a name's place.

    Parameters
    ----------
    rated : Dataset
        From :func:`lib.rated.load`, with both axes.
    seconds : float
        Heard of each song, from its middle.

    Attributes
    ----------
    heard : dict
        Axis -> stats.Estimate: correlation with the ratings of artists that nothing was learned
        from.
    error : dict
        Axis -> standard deviation of its answers around the ratings of such artists.

    Raises
    ------
    DatasetError
        Fewer than 30 songs that are rated on both axes and whole.
    """

    name = "rated"
    levels = tuple(world.EMOTIONS)

    def __init__(self, rated: Dataset, seconds: float = SECONDS):
        songs = _usable(rated)
        if len(songs) < FEWEST:
            raise DatasetError(
                f"{rated.folder} has {len(songs)} songs that are whole and rated for valence and "
                f"arousal. A listener needs {FEWEST} to learn from: give a larger set."
            )
        described = spectra.describe(_middles(rated, songs, seconds), spectra.RATE)
        ratings = songs[AXES].to_numpy(float)
        ratings = (ratings - ratings.mean(0)) / ratings.std(0)
        groups = songs["group"].to_numpy()
        predicted = held_out({"spectra": described}, ratings, groups, FOLDS)["spectra"]
        self.heard = {
            axis: estimate(correlation, ratings[:, k], predicted[:, k], groups)
            for k, axis in enumerate(AXES)
        }
        errors = (predicted - ratings).std(0, ddof=1)
        self.error = dict(zip(AXES, errors.tolist(), strict=True))
        folds = list(GroupKFold(FOLDS).split(described, groups=groups))
        ridge = RidgeCV(ALPHAS, cv=folds)
        self._regression = make_pipeline(StandardScaler(), ridge).fit(described, ratings)

    def answer(self, audio, sample_rate):
        places = self._regression.predict(spectra.describe(audio, sample_rate))
        answers = pd.DataFrame(places, columns=AXES)
        answers["emotion"], _ = world.name_emotion(places)
        return answers


def heard(
    ears: Iterable[listeners.Listener], rated: Dataset, seconds: float = SECONDS
) -> pd.DataFrame:
    """How well listeners hear what people rated: best asked of songs of a MusicGen that people rated.

    Parameters
    ----------
    ears : iterable of Listener
        Who hear valence and arousal, and learned nothing from these songs.
    rated : Dataset
        From :func:`lib.rated.load`.
    seconds : float
        Heard of each song, from its middle.

    Returns
    -------
    pd.DataFrame
        Columns listener, audio ("rated"), what (an axis), estimate (rank correlation with the
        ratings): as from ``listeners.reliability``, so that ``listeners.trusted`` says who has a
        voice.

    Raises
    ------
    DatasetError
        Fewer than ten songs that are whole and rated, or all by one artist.
    """
    songs = _usable(rated)
    if len(songs) < 10:
        raise DatasetError(
            f"{rated.folder} has {len(songs)} songs that are whole and rated for valence and "
            "arousal. A correlation needs ten or more."
        )
    if songs["group"].nunique() < 2:
        raise DatasetError(
            f"All songs of {rated.folder} that are whole and rated are by one artist: how far what is "
            "found holds for others cannot be told. Give songs of two or more, or leave the artists "
            "out where each song was made on its own."
        )
    audio = _middles(rated, songs, seconds)
    rows = []
    for ear in ears:
        answers = ear(audio, spectra.RATE)
        for axis in AXES:
            agreement = estimate(rank_correlation, songs[axis], answers[axis], songs["group"])
            rows.append((ear.name, "rated", axis, agreement))
    return pd.DataFrame(rows, columns=["listener", "audio", "what", "estimate"])


def _usable(rated):
    """Songs that are whole and rated on both axes."""
    songs = rated.songs
    there = songs["seconds"].notna() & songs[AXES].notna().all(axis=1)
    return songs[there].reset_index(drop=True)


def _middles(rated, songs, seconds):
    """The middle of every song, a list of mono clips at the rate of ``spectra``."""
    seconds = check.number("seconds", seconds, 1.0)
    found = []
    for row in songs.itertuples():
        start = max(0.0, (row.seconds - seconds) / 2)
        lasts = min(seconds, row.seconds)
        found.append(rated.audio(row.song_id, spectra.RATE, start, lasts))
    return found
