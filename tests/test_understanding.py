"""Measures of understanding, on evidence whose truth is known, and the rules that decide."""

import dataclasses

import numpy as np
import pytest

from lib import cache
from lib.book import execute, rules
from lib.hearing import acoustics, listeners
from lib.methods import understanding
from lib.methods.understanding import measures, songs, words
from lib.musicgen.model import SOURCES
from lib.organism import captions, music, world
from lib.prompts import wording

CUES = list(world.CUES)
CRITERIA = rules.criteria("35_understanding")


def evidence(kind, noise=0.3, seed=0):
    """Evidence of a subject that holds emotions, or in which a word follows one cue alone."""
    rng = np.random.default_rng(seed)
    table = understanding.bank(8)
    profiles = world.conditional_means()
    true = np.zeros((len(table), len(CUES)))
    for i, (word, emotion) in enumerate(table.itertuples(index=False)):
        if kind == "emotion":
            true[i] = profiles.loc[emotion]
        elif kind == "habit":
            cue, end = captions.HABITS[word]
            true[i, CUES.index(cue)] = 1 if end == "high" else -1
    true -= true.mean(0)
    directions = rng.standard_normal((len(CUES), 64))

    def effect(size=1.0):
        return size * true + noise * rng.standard_normal(true.shape)

    scale = 0.1 * rng.standard_normal((len(table), 64))
    return understanding.Evidence(
        words=table,
        own=effect(),
        sung=effect(),
        degree=effect(0.7),
        denied=effect(-0.5),
        heard=effect(),
        moved=effect(),
        weighed=(1.0 if kind == "emotion" else 0.0) + noise * rng.standard_normal(len(table)),
        states=true @ directions + scale,
        ends=np.stack([-directions, directions], 1) + 0.1 * rng.standard_normal((7, 2, 64)),
        kept=np.full(len(table), -0.02) + 0.05 * rng.standard_normal(len(table)),
    )


@pytest.mark.parametrize("kind", ["emotion", "habit", "nothing"])
def test_rules_tell_understanding_from_habit_and_from_nothing(kind):
    verdicts = rules.decide(understanding.numbers(evidence(kind)))
    assert set(verdicts) == set(CRITERIA)
    answers = {name: verdict.answer for name, verdict in verdicts.items()}
    named = {"emotion": "organism", "habit": "organism-habit", "nothing": "organism-shuffled"}[kind]
    for name, answer in answers.items():
        foretold = rules.foretold(named, name)
        assert not foretold or answer == foretold, (name, verdicts[name])
    assert rules.struck(rules.table({named: verdicts})) == {}


def test_a_habit_of_one_cue_has_nothing_when_it_is_set_aside():
    found = understanding.numbers(evidence("habit", noise=0.0))
    assert np.allclose(found["profile"], 0, atol=0.2) and found["tied"].mean() > 0.5
    assert understanding.numbers(evidence("emotion", noise=0.0))["profile"].mean() > 0.5


def test_profiles_are_of_other_words_only():
    sung = np.eye(4)[:, [0, 1, 2, 3]] * 5.0
    along = measures.along_profile(
        sung, sung, np.array(["a", "a", "b", "b"]), np.array([3, 3, 0, 0])
    )
    assert np.allclose(along, 0), "a word's own effect is no part of the profile it is held against"


def test_null_subjects_rarely_pass_and_intervals_cover():
    for kind in ("emotion", "habit"):
        asked = evidence(kind)
        numbers = understanding.numbers(asked)
        found = rules.trust(numbers, lambda rng, e=asked: understanding.dealt(e, rng), 100)
        assert set(found["claim"]) == {criterion.claim for criterion in CRITERIA.values()}
        assert all(rate.value <= 0.1 for rate in found["false positives"]), found
        assert all(0.90 < share.value < 0.99 for share in found["coverage"]), found


def test_a_null_subject_is_of_labels_alone():
    found = understanding.dealt(evidence("emotion"), np.random.default_rng(0))
    assert set(found) == set(CRITERIA) - {"tied", "weighed", "specific"}
    assert (
        abs(found["profile"].mean())
        < 0.3
        < understanding.numbers(evidence("emotion"))["profile"].mean()
    )


def test_silence_is_no_no():
    rng = np.random.default_rng(0)
    spread = {"profile": rng.normal(0, 3, 12)}
    assert rules.decide(spread)["profile"].answer == "cannot tell"
    still = {"profile": rng.normal(0, 0.1, 40)}
    verdict = rules.decide(still)["profile"]
    assert verdict.answer == "no" and verdict.power > 0.99
    assert rules.decide({"profile": rng.normal(0.1, 0.02, 40)})["profile"].answer == "no"
    assert rules.decide({"profile": np.ones(5)})["profile"].answer == "yes"


def test_what_habit_passes_is_struck():
    verdicts = {
        name: rules.decide(understanding.numbers(evidence("emotion")))
        for name in ("organism", "organism-habit-2")
    }
    struck = rules.struck(rules.table(verdicts))
    told = rules.in_words(verdicts)
    assert told.startswith(f"**Verdict.** In {next(iter(verdicts))}, ")
    assert ("Struck, because a model passed" in told) == bool(struck)
    assert set(struck) == {name for name, c in CRITERIA.items() if c.decides}
    assert all(models == ["organism-habit-2"] for models in struck.values())
    table = rules.table(verdicts)
    assert set(table["world"]) == {"organism", "organism-habit"} and len(table) == 18


def test_every_world_is_foretold_by_every_criterion():
    for criterion in rules.criteria().values():
        assert {*world.WORLDS} <= set(criterion.worlds) <= {*world.WORLDS, rules.UNTRAINED}
        assert f"{criterion.chapter}.py" in {file.name for file in execute.NOTEBOOKS.glob("*.py")}
    assert rules.history()[0].endswith(": written")
    assert rules.foretold("facebook/musicgen-small", "profile") == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mood": [1.0, 2.0, 3.0]}, "criterion must be"),
        ({"profile": [1.0, np.nan, 3.0]}, "NaN"),
        ({"profile": [1.0, 2.0]}, "units of profile"),
    ],
)
def test_wrong_numbers_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        rules.decide(wrong)


def circumplex(seed=0, ends=True):
    """States of words that hold their emotion's place, or one cue alone, in 64 dimensions."""
    rng = np.random.default_rng(seed)
    table = understanding.bank(8)
    cues = rng.standard_normal((len(CUES), 64)) / 8
    states = np.zeros((len(table), 64))
    for i, (word, emotion) in enumerate(table.itertuples(index=False)):
        cue, end = captions.HABITS[word]
        if ends:
            states[i] = (1 if end == "high" else -1) * cues[CUES.index(cue)]
        else:
            states[i] = np.array(world.EMOTIONS[emotion]) @ cues[:2]
    states += 0.03 * rng.standard_normal(states.shape)
    both = np.stack([-cues, cues], 1)
    return understanding.States(table, ["resid.2"], (states - states.mean(0))[None], both[None])


def test_places_of_emotions_are_found_and_those_of_habits_are_none_without_their_cue():
    emotions = circumplex(ends=False)
    verdicts = rules.decide(understanding.geometry(emotions, "resid.2"))
    assert verdicts["together"].answer == "yes"
    places = understanding.places(emotions.words["emotion"])
    placed = understanding.placed(emotions.states[0], places)
    assert 0.8 < placed.mean() < 1.1
    habits = circumplex(ends=True)
    strongest = understanding.strongest_inside(habits.states[0], habits.ends[0])
    known = [CUES.index(captions.HABITS[word][0]) for word in habits.words["word"]]
    assert (strongest == known).mean() > 0.95
    verdict = rules.decide(understanding.geometry(habits, "resid.2"))["circumplex"]
    assert verdict.answer == "no", verdict


def test_places_are_told_by_other_words():
    found = circumplex(ends=False)
    true = understanding.places(found.words["emotion"])
    rng = np.random.default_rng(0)
    null = [understanding.placed(found.states[0], rng.permutation(true)).mean() for _ in range(20)]
    assert abs(np.mean(null)) < 0.1
    fitted = understanding.fitted_places(found.states[0], true)
    assert fitted.shape == (40, 2) and np.abs(fitted - true).mean() < 0.2


def test_words_that_people_placed_are_those_a_model_reads(organism, miniature):
    bank = understanding.on_the_circle(organism)
    assert {"happy", "tense", "sad", "calm"} < set(bank["word"]) < set(wording.CIRCUMPLEX)
    corners = bank.set_index("word")
    assert corners.loc["happy", "valence"] > 0.9 and corners.loc["tense", "arousal"] > 0.9
    assert corners.loc["sad", "valence"] < -0.8 and corners.loc["calm", "arousal"] < -0.6
    assert len(understanding.on_the_circle(miniature)) == 28
    found = understanding.read(organism, ["resid.4"], understanding.Design(pieces=2), bank)
    assert found.states.shape == (1, len(bank), organism.lm.dim)


def test_cues_heard_as_the_world_weighs_them():
    table = understanding.bank(8)
    weights = np.array([[world.EDGES[c].get(a, 0) for a in ("valence", "arousal")] for c in CUES])
    places = np.array([world.EMOTIONS[e] for e in table["emotion"]])
    heard = places @ weights.T
    along = understanding.weighed_as_the_world(heard, table["emotion"])
    assert np.allclose(along, np.linalg.norm(heard, axis=1))
    assert np.allclose(understanding.weighed_as_the_world(-heard, table["emotion"]), -along)


def test_states_are_read_at_several_sites(organism):
    design = understanding.Design(each=2, takes=1, finding=1, few=1, pieces=1, heard=1, seconds=1)
    found = understanding.read(organism, ["resid.1", "resid.3"], design)
    assert found.sites == ["resid.1", "resid.3"]
    assert found.states.shape == (2, 10, organism.lm.dim)
    assert found.ends.shape == (2, 7, 2, organism.lm.dim)
    assert np.allclose(found.states.mean(1), 0) and not np.allclose(*found.states)
    words_alone = understanding.embedded(organism, design)
    assert words_alone.states.shape[:2] == (1, 10) and words_alone.ends.shape[:3] == (1, 7, 2)
    assert all(
        np.isfinite(units).all()
        for units in understanding.geometry(words_alone, "embeddings").values()
    )
    one = understanding.gather(organism, understanding.Design(**{**vars(design), "depth": 0.6}))
    assert np.allclose(one.states, found.states[1])


def test_the_world_says_how_large_effects_can_be():
    found = understanding.sizes(n=8000)
    assert found["profile"] > 0.9 and found["degree"] > 0.7
    assert 0 < found["denied"] < rules.criteria()["denied"].smallest


def test_takes_differ_in_everything_but_the_phrase():
    table = words.in_prompts(["sad", "very happy"], [0, 1])
    first, second = (table[table["phrase"] == phrase]["prompt"] for phrase in ("sad", "very happy"))
    assert [a.replace("sad", "very happy") for a in first] == list(second)
    assert first.nunique() == 2
    assert words.in_prompt("very happy", 1) == list(second)[1]
    every = words.in_prompts(["sad"], range(48))
    assert every["prompt"].nunique() > 40
    with pytest.raises(ValueError, match="each"):
        understanding.bank(13)


def test_what_is_kept_is_named_by_all_it_follows_from(organism, monkeypatch):
    named = []
    kept = []
    monkeypatch.setattr(cache, "code", lambda *sources: named.append(set(sources)))
    monkeypatch.setattr(cache, "keep", lambda folder, what, make: kept.append(what))
    tokens = np.zeros((1, 4, 5), int)
    songs.likelihoods(organism, ["sad"], tokens)
    songs.heard(organism.clips(tokens, ["sad music"]))
    likelihood, heard = named
    assert set(SOURCES) < likelihood and {acoustics, music} <= heard
    assert set(kept[1]["libraries"]) == set(listeners.LIBRARIES)


def test_a_model_is_asked_once(organism):
    design = understanding.Design(each=2, takes=1, finding=1, few=1, pieces=1, heard=1, seconds=1)
    found = understanding.gather(organism, design)
    shapes = {field.name: getattr(found, field.name).shape for field in dataclasses.fields(found)}
    assert shapes.pop("states") == (10, organism.lm.dim)
    assert shapes.pop("ends") == (7, 2, organism.lm.dim)
    assert shapes.pop("weighed") == shapes.pop("kept") == (10,)
    assert shapes.pop("words") == (10, 2) and set(shapes.values()) == {(10, 7)}
    assert not organism.edits
    numbers = understanding.numbers(found)
    assert all(np.isfinite(units).all() for units in numbers.values())
    again = understanding.numbers(understanding.gather(organism, design))
    assert all(np.allclose(units, again[name]) for name, units in numbers.items())
