"""A listener that learned from ratings, and listeners asked of music that people rated."""

import copy

import numpy as np
import pandas as pd
import pytest

from lib import listeners, rated, steering
from lib.rated import AXES


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two made sets of other artists."""
    folder = tmp_path_factory.mktemp("rated")
    return [
        rated.make(folder / f"{seed}", "pmemo", songs=36, seconds=16.0, seed=seed)
        for seed in (1, 2)
    ]


@pytest.fixture(scope="module")
def ear(sets):
    return rated.RatedListener(sets[0], 6.0)


def test_it_hears_what_raters_of_other_artists_felt(ear, sets):
    assert all(ear.heard[axis].low > 0.2 and ear.error[axis] > 0 for axis in AXES)
    people = rated.heard([ear, listeners.get("cues")], sets[1], 6.0)
    assert set(people["listener"]) == {"rated", "cues"} and set(people["what"]) == {*AXES}
    assert all(estimate.low > 0.2 for estimate in people["estimate"])
    assert set(listeners.trusted(people)) == {"rated", "cues"}


def test_it_judges_songs_beside_others(ear, organism):
    judge = steering.Judge(organism, ["cues", ear], n=0)
    songs = organism.generate(["a sad melody", "a happy melody"], 1.0, progress=False)
    answers = judge.hear(songs)
    assert {"rated valence", "rated arousal", "rated emotion", "cues emotion"} <= set(answers)
    found = listeners.reliability(12, 60, ("cues", ear), seconds=2.0)
    assert set(found["listener"]) == {"cues", "rated"}
    assert listeners.get(ear) is ear


class Deaf(listeners.Listener):
    name = "deaf"

    def answer(self, audio, sample_rate):
        drawn = np.random.default_rng(0).normal(size=(len(audio), 2))
        return pd.DataFrame(drawn, columns=list(AXES))


def test_whom_people_do_not_agree_with_has_no_voice(sets):
    assert listeners.trusted(rated.heard([Deaf()], sets[1], 6.0)) == {"deaf": False}


def test_songs_of_one_artist_are_no_songs_of_several(sets):
    one = copy.copy(sets[1])
    one.songs = sets[1].songs.assign(group="one artist")
    with pytest.raises(rated.DatasetError, match="by one artist"):
        rated.heard([Deaf()], one, 6.0)


def test_the_interval_of_what_is_heard_resamples_artists(sets):
    songs = sets[1].songs
    few = copy.copy(sets[1])
    few.songs = songs.assign(group=[f"artist {k % 3}" for k in range(len(songs))])
    one, other = (rated.heard([Deaf()], each, 6.0)["estimate"][0] for each in (sets[1], few))
    assert one.value == other.value and one.n != other.n == 3


def test_too_few_songs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.rated.made._wave", lambda *_: np.full(44_100, 0.1))
    few = rated.make(tmp_path / "few", songs=8)
    with pytest.raises(rated.DatasetError, match="has 8 songs"):
        rated.RatedListener(few)
    with pytest.raises(rated.DatasetError, match="needs ten or more"):
        rated.heard([], few)
