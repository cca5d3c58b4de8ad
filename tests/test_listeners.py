"""Listeners hear what the world says; the bars judge only what they should."""

import numpy as np
import pandas as pd
import pytest

from lib import evaluation, listeners, music, prompts, results
from lib.organism import captions, world


@pytest.fixture(scope="module")
def held_out():
    return listeners.corpus_features(60, listeners.HELD_OUT_SEED)


@pytest.mark.parametrize("name", ["cues", "corpus"])
def test_listeners_hear_the_world(name, held_out):
    heard, table = held_out
    answer = listeners.get(name, 150).hear(heard)
    assert np.corrcoef(answer["arousal"], table["arousal"])[0, 1] > 0.7
    assert np.corrcoef(answer["valence"], table["valence"])[0, 1] > 0.5
    assert ((answer["emotion"] == table["emotion"])[table["clear"]]).mean() > 0.5


def test_features_are_kept_on_disk(held_out, monkeypatch):
    monkeypatch.setattr(listeners, "corpus", lambda *a: pytest.fail("rendered again"))
    assert listeners.corpus_features(60, listeners.HELD_OUT_SEED)[0].equals(held_out[0])


def test_unknown_listener():
    with pytest.raises(ValueError, match="'cues' or 'corpus'"):
        listeners.get("oracle")


def test_listeners_take_plain_audio():
    audio = np.stack(
        [music.clip(music.Cues(tempo=60, dynamics=-35), 3), music.clip(music.Cues(tempo=160, dynamics=-12), 3)]
    )
    arousal = listeners.get("cues", 150)(audio)["arousal"]
    assert arousal[0] < arousal[1]


def test_emotion_prompts_are_balanced_and_say_nothing_else():
    table = prompts.emotions(13)
    assert (table.groupby("label").size() == 13).all()
    content = captions.words()
    for row in table.itertuples():
        said = [content[w] for w in row.prompt.split() if w in content]
        assert said == [("emotion", row.label)]
    assert "an energetic melody" in set(prompts.emotions(40)["prompt"])


@pytest.mark.parametrize("cue", captions.CUE_WORDS)
def test_cue_prompts_say_one_thing(cue):
    content = captions.words()
    for row in prompts.cue(cue, 8).itertuples():
        assert [content[w] for w in row.prompt.split() if w in content] == [(cue, row.label)]


def test_bad_prompt_sets():
    with pytest.raises(ValueError, match="loudness"):
        prompts.cue("loudness")
    with pytest.raises(ValueError, match="n must be"):
        prompts.emotions(0)


def _sung(world_name, held, table, n=30):
    """A perfect singer: corpus clips of a world, filed under the prompts that would describe them."""
    del world_name
    rows = []
    clear = table["clear"]
    for emotion in world.EMOTIONS:
        rows += [(i, "emotion", emotion) for i in table.index[clear & (table["emotion"] == emotion)]]
    for cue in evaluation.CUE_TESTS:
        for end, sign in (("high", 1), ("low", -1)):
            rows += [(i, cue, end) for i in table.index[sign * table[cue] > 0.6][:n]]
    index, test, label = zip(*rows, strict=True)
    filed = pd.DataFrame({"test": test, "label": label})
    return pd.concat([filed, held.loc[list(index)].reset_index(drop=True)], axis=1)


def test_a_perfect_singer_meets_the_bars_and_a_deaf_one_does_not():
    listener = listeners.get("corpus", 150)
    held, table = listeners.corpus_features(200, 955)
    sung = _sung("organism", held, table)
    bars = evaluation.bars("organism", sung, listener, 0.8).set_index("what")
    assert bars.loc[
        ["Cohen's d, fast - slow", "major and minor told apart", "cue profile against the world"], "met"
    ].all()
    assert bars.loc[evaluation.LOUDNESS_GAP, "met"]
    rng = np.random.default_rng(0)
    deaf = sung.assign(label=sung.groupby("test")["label"].transform(lambda s: rng.permutation(s.to_numpy())))
    bars = evaluation.bars("organism", deaf, listener, 0.8).set_index("what")
    assert not bars["met"].any()


def test_decoupled_world_shows_no_loudness_gap():
    held, table = listeners.corpus_features(200, 956, "organism-decoupled")
    assert evaluation.loudness_gap(_sung("organism-decoupled", held, table)).holds(0)


def test_findings_become_verdicts():
    rows = [("organism", evaluation.RECOGNISED, listeners.stats.proportion([True] * 9 + [False]))]
    bars = pd.DataFrame(rows, columns=["organism", "what", "estimate"])
    results.record("01_test", "some/model", evaluation.findings(bars))
    table = results.verdicts("some/model")
    assert table["organism"][0].startswith("yes (0.90 [")
    assert results.verdicts("never run").empty
    with pytest.raises(ValueError, match="subject"):
        results.record("01_test", "some/model", [{"question": "?", "answer": "", "estimate": None}])
