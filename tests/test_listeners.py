"""Listeners hear what the world says; the bars judge only what they should."""

import numpy as np
import pandas as pd
import pytest

from lib import evaluation, listeners, music, prompts, results
from lib.organism import captions, corpus, world


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
    monkeypatch.setattr(corpus, "sample", lambda *a: pytest.fail("rendered again"))
    assert listeners.corpus_features(60, listeners.HELD_OUT_SEED)[0].equals(held_out[0])


def test_unknown_listener():
    with pytest.raises(ValueError, match="must be one of"):
        listeners.get("oracle")


def test_listeners_take_plain_audio():
    audio = np.stack(
        [music.clip(music.Cues(tempo=60, dynamics=-35), 3), music.clip(music.Cues(tempo=160, dynamics=-12), 3)]
    )
    arousal = listeners.get("cues", 150)(audio)["arousal"]
    assert arousal[0] < arousal[1]


def test_every_listener_answers_alike_with_intervals(tmp_path):
    import soundfile

    audio, _ = corpus.sample(24, 77)
    soundfile.write(tmp_path / "a.wav", audio[0], music.SAMPLE_RATE)
    found = listeners.reliability(24, 150)
    assert set(found["listener"]) == {"cues", "corpus", "vibenet"} and set(found["audio"]) == {"rendered"}
    assert found["estimate"][found["what"] == "arousal"].map(lambda e: e.value)[:2].min() > 0.6
    for name in ("cues", "corpus", "vibenet"):
        answer = listeners.get(name, 150)(audio[:2])
        assert (answer["valence_low"] < answer["valence"]).all() and (answer["arousal"] < answer["arousal_high"]).all()
        from_file = listeners.get(name, 150)([tmp_path / "a.wav"])
        assert from_file["arousal"][0] == pytest.approx(answer["arousal"][0], abs=0.05)


def test_clap_from_a_folder_in_its_format(tmp_path):
    """The real loading code on a miniature; without hub or folder, a clear message."""
    import transformers

    text = {
        "vocab_size": 300,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    audio = {"patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 1], "hidden_size": 16}
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    transformers.ClapModel(config).save_pretrained(tmp_path)
    letters = {c: i for i, c in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz, "])}
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    transformers.ClapProcessor(transformers.ClapFeatureExtractor(truncation="rand_trunc"), fast).save_pretrained(
        tmp_path
    )
    clap, audio = listeners.get("clap", source=str(tmp_path)), corpus.sample(2, 5)[0]
    answer = clap(audio)
    assert np.isfinite(answer[["valence", "arousal"]]).all(axis=None)
    told = ["happy music", "a gloomy, negative song"]
    own, other = (clap.answer(audio, 16_000, t)["agreement"] for t in (told, told[::-1]))
    assert own.shape == (2,) and np.abs([own, other]).max() <= 1 + 1e-6 and not np.allclose(own, other)
    with pytest.raises(ValueError, match="need no download"):
        listeners.get("clap", source=str(tmp_path / "nothing"))


@pytest.mark.parametrize("bad", [[], [np.array([np.nan] * 16_000)], [np.zeros(10)], [np.zeros((2, 16_000))]])
def test_bad_clips(bad):
    with pytest.raises(ValueError):
        listeners.get("cues", 150)(bad)


@pytest.mark.parametrize("kind", prompts.KINDS)
@pytest.mark.parametrize("language", ["organism", "natural"])
def test_crossed_prompts(kind, language):
    table = prompts.crossed(kind, 48, language)
    assert len(table) >= (48 if kind == "neutral" else 240) and table["prompt"].is_unique
    assert set(table["emotion"]) == ({"neutral"} if kind == "neutral" else set(world.EMOTIONS))
    names = set(world.EMOTIONS)
    for column in ("template", "instrument"):
        counts = table.groupby(["emotion", column]).size()
        assert counts.max() - counts.min() <= 3
    said = table["prompt"].str.replace(",", "").str.split()
    if kind == "name":
        assert all(names & set(words) == {e} for words, e in zip(said, table["emotion"], strict=True))
    else:
        assert not any(names & set(words) for words in said)
    if language == "organism":
        families = said.map(lambda words: {captions.words()[w][0] for w in words if w in captions.words()})
        expected = {"name": {"emotion"}, "implied": {"emotion"}, "neutral": set()}.get(kind)
        if expected is None:
            assert not families.map(lambda f: "emotion" in f).any()
        else:
            assert (families.map(lambda f: f - {"instrument"}) == families.map(lambda _: expected)).all()
    assert table.equals(prompts.crossed(kind, 48, language))


def test_bad_crossed_prompts():
    for wrong in ({"kind": "hinted"}, {"kind": "name", "language": "latin"}, {"kind": "name", "n": 0}):
        with pytest.raises(ValueError):
            prompts.crossed(**wrong)
    with pytest.raises(ValueError, match="at most 48"):
        prompts.crossed("name", 49)


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
    filed = pd.DataFrame({"test": test, "label": label, "word": [f"{end} {k % 5}" for k, end in enumerate(label)]})
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
    table = results.evidence("some/model")
    assert table["organism"][0].startswith("yes\u00a0(0.90\u00a0[")
    assert results.evidence("never run").empty
    with pytest.raises(ValueError, match="subject"):
        results.record("01_test", "some/model", [{"question": "?", "answer": "", "estimate": None}])
