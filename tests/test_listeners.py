"""Listeners hear what the world says, and only audio that is audio."""

import shutil
import warnings

import librosa
import numpy as np
import pandas as pd
import pytest

from lib import cache
from lib.hearing import acoustics, listeners, spectra, timbre
from lib.organism import corpus, foreign, music, world
from lib.stats import Estimate

CLIPS = 150


@pytest.fixture(scope="module")
def held_out():
    return listeners.corpus_features(60, listeners.HELD_OUT_SEED)


@pytest.fixture(scope="module")
def audio():
    return corpus.sample(2, 5)[0]


@pytest.mark.parametrize("name", ["cues", "corpus"])
def test_listeners_hear_the_world(name, held_out):
    measured, table = held_out
    answers = listeners.get(name, CLIPS).hear(measured)
    assert np.corrcoef(answers["arousal"], table["arousal"])[0, 1] > 0.7
    assert np.corrcoef(answers["valence"], table["valence"])[0, 1] > 0.5
    assert ((answers["emotion"] == table["emotion"])[table["clear"]]).mean() > 0.5


def test_cues_have_one_name_and_sign(held_out):
    """What is measured goes up with what was set, and the profile is in the world's terms."""
    measured, table = held_out
    assert list(measured) == list(world.CUES) == list(acoustics.MEASURES)
    profile = listeners.get("cues", CLIPS).profile(measured)
    assert list(profile) == list(world.CUES)
    for cue in ("articulation", "dynamics", "register"):
        assert np.corrcoef(profile[cue], table[cue])[0, 1] > 0.4, cue


def test_features_are_kept_on_disk(held_out, monkeypatch):
    monkeypatch.setattr(acoustics, "measure_all", lambda *a: pytest.fail("measured again"))
    again, table = listeners.corpus_features(60, listeners.HELD_OUT_SEED)
    assert again.equals(held_out[0]) and table.equals(held_out[1])


def test_features_follow_from_all_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    calls = []

    def sample(n, seed, name):
        calls.append((n, seed, name))
        return np.tile(TONE[:32_000], (n, 1)), None

    monkeypatch.setattr(corpus, "sample", sample)
    for arguments in ((2, 1), (2, 2), (2, 1, "organism-decoupled"), (2, 1)):
        listeners.corpus_features(*arguments)
    assert len(calls) == 3, "the last is the first"
    monkeypatch.setattr(listeners, "LIBRARIES", ("librosa",))
    listeners.corpus_features(2, 1)
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "oracle"}, "listener must be one of"),
        ({"name": "cues", "n": 3}, "n must be"),
        ({"name": "cues", "n": 150.5}, "n must be"),
        ({"name": "clap", "source": 7}, "source must be"),
        ({"name": np.ptp, "levels": ["no", "no"]}, "levels must be different from each other"),
        ({"name": "tempo", "levels": "low"}, "levels must be a list of strings"),
    ],
)
def test_unknown_listeners_are_refused(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        listeners.get(**wrong)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cues", "list of listeners"),
        ([], "or more"),
        (["cues", "tempo"], r"say valence and arousal, .* do not. Got \['tempo'\]"),
    ],
)
def test_reliability_is_asked_of_a_list(names, message):
    with pytest.raises((ValueError, TypeError), match=message):
        listeners.reliability(60, CLIPS, names)


def test_a_listener_knows_the_error_of_the_table_that_was_asked_for_last():
    ear = listeners.get("cues", CLIPS)
    errors = []
    for seconds in (2.0, 1.5, 2.0):
        listeners.reliability(12, CLIPS, ["cues"], seconds=seconds)
        errors.append(ear.error)
    assert errors[0] == errors[2] != errors[1]


def test_a_measure_takes_any_iterable_and_returns_the_same_for_every_clip():
    clips = [np.full(16_000, level) for level in (0.1, 0.2)]
    ear = listeners.Measure(lambda audio, rate: [audio.max(), 0.15], iter("ab"))
    assert ear.levels == ("a", "b") and list(ear(clips)["level"]) == ["b", "a"]
    fickle = listeners.Measure(lambda audio, rate: [1, 2] if audio.max() > 0.15 else 1, ["a", "b"])
    with pytest.raises(ValueError, match="must return the same for every clip"):
        fickle(clips)


@pytest.mark.parametrize(
    ("audios", "rate", "message"),
    [
        ([np.full(16_000, np.nan)], 16_000, r"audios\[0\] holds NaN"),
        ([np.zeros(16_000)], 0, "sample_rate must be a number above 0"),
        ([np.zeros(16_000, int)], 16_000, "float audio"),
        ([], 16_000, "audios is empty"),
    ],
)
def test_a_timbre_is_of_sound(audios, rate, message):
    with pytest.raises((ValueError, TypeError), match=message):
        timbre.describe(audios, rate)


def test_a_timbre_is_the_same_at_any_rate(audio):
    finer = librosa.resample(audio, orig_sr=16_000, target_sr=32_000)
    own, other = timbre.describe(audio, 16_000), timbre.describe(finer, 32_000)
    assert np.abs(own - other).max() < 0.1 * np.abs(own).max()


def test_a_listener_is_one_however_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(listeners.get, "__defaults__", (CLIPS, listeners.Clap.SOURCE, None, ()))
    assert listeners.get("cues") is listeners.get("cues", CLIPS) is listeners.get("cues", n=CLIPS)


# ------------------------------------------------------------------------------------------ spectra
def chord(*pitches, seconds=1.0):
    """Pure tones that sound together."""
    time = np.arange(round(seconds * spectra.RATE)) / spectra.RATE
    tones = [np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in pitches]
    return 0.1 * np.sum(tones, 0)


#: Distances of the upper two from the lowest of three pitches, as ``spectra.chords`` orders them.
DISTANCES = list(zip(*(np.triu_indices(spectra.FARTHEST, 1) + np.array(1)), strict=True))
MAJOR, MINOR = DISTANCES.index((4, 7)), DISTANCES.index((3, 7))


def together(*pitches, broken=False):
    """Triple correlations within a frame, half a second and the clip."""
    tones = [chord(pitch, seconds=0.5) for pitch in pitches]
    sound = np.concatenate(tones) if broken else np.sum(tones, 0)
    return spectra.chords(spectra.spectrogram(sound, spectra.LONG)).reshape(3, -1)


def test_chords_are_told_apart_in_any_key():
    """The order of distances counts, and the place on the scale does not."""
    for root in (50, 57, 64):
        major, minor = (together(root, root + third, root + 7)[0] for third in (4, 3))
        assert major[MAJOR] > 1.2 * minor[MAJOR] and minor[MINOR] > 1.2 * major[MINOR]
        other = together(root + 2, root + 6, root + 9)[0]
        assert np.linalg.norm(major - other) < 0.5 * np.linalg.norm(major - minor)


def test_broken_chords_are_heard_within_longer_stretches():
    major, minor = (together(60, 60 + third, 67, broken=True) for third in (4, 3))
    frame, _, clip = major - minor
    assert clip[MAJOR] > 0 > clip[MINOR]
    assert clip[MAJOR] - clip[MINOR] > 4 * abs(frame[MAJOR] - frame[MINOR])


def test_changes_are_found_at_their_rate():
    time = np.arange(4 * spectra.RATE) / spectra.RATE
    for rate in (2.0, 5.0):
        trembling = chord(69, seconds=4) * (1 + 0.5 * np.sin(2 * np.pi * rate * time))
        found = spectra.modulations(spectra.spectrogram(trembling, spectra.SHORT))
        octave = (69 - spectra.LOWEST) // spectra.OCTAVE
        strongest = found.reshape(-1, len(spectra.RATES) - 1)[octave].argmax()
        assert spectra.RATES[strongest] <= rate < spectra.RATES[strongest + 1]


def test_levels_are_those_of_the_sound():
    tone = chord(69)
    loud, quiet = (spectra.spectrogram(gain * tone, spectra.LONG) for gain in (1, 0.5))
    assert spectra.levels(loud).max() - spectra.levels(quiet).max() == pytest.approx(6.02, abs=0.1)
    # at its own pitch the level of a sine of amplitude 0.1
    assert loud[69 - spectra.LOWEST].max() == pytest.approx(-20, abs=2)
    assert loud.argmax(0)[5] == 69 - spectra.LOWEST


def test_spectra_are_of_any_rate_and_length():
    noise = np.random.default_rng(0).normal(0, 0.01, 48_000)
    same = [chord(60, 64, 67, seconds=s) + noise[: round(s * 16_000)] for s in (2.0, 3.0)]
    long, longer = spectra.describe(same)
    assert np.abs(long - longer)[:63].max() < 2
    import librosa

    fast = librosa.resample(same[0].astype(np.float32), orig_sr=16_000, target_sr=32_000)
    assert np.abs(spectra.describe([fast], 32_000)[0] - long)[:63].mean() < 0.5
    assert np.isfinite(spectra.describe([chord(60), 1e-9 * chord(60)])).all()
    with pytest.raises(ValueError, match="at least one second"):
        spectra.describe([chord(60)[:100]])


def test_the_spectral_listener_hears_music_it_shares_nothing_with(organism, monkeypatch):
    """It learned from foreign music through the codec, and measures no cue."""
    found = listeners.reliability(60, CLIPS, ("spectra",), organism, seconds=3.0)
    found = found.set_index(["audio", "what"])["estimate"].map(lambda estimate: estimate.value)
    assert found["codec", "arousal"] > 0.7 and found["codec", "valence"] > 0.4
    assert found["codec", "emotion"] > 0.4
    monkeypatch.setattr(acoustics, "_measure_one", lambda *a: pytest.fail("measured a cue"))
    heard = listeners.get("spectra", CLIPS, codec=organism)(corpus.sample(4, 7)[0])
    assert list(heard["emotion"]) == list(world.name_emotion(heard[list(listeners.AXES)])[0])
    assert (heard["valence_low"] < heard["valence"]).all()


def test_what_the_spectral_listener_learns_from_is_kept(organism, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    first, table = listeners.foreign_spectra(6, 3, organism)
    assert first.shape[0] == len(table) == 6
    plain, _ = listeners.foreign_spectra(6, 3)
    assert np.abs(plain - first).max() > 0.1, "the codec is heard"
    monkeypatch.setattr(foreign, "sample", lambda *a, **k: pytest.fail("rendered again"))
    assert np.array_equal(listeners.foreign_spectra(6, 3, organism)[0], first)
    with pytest.raises(BaseException, match="rendered again"):
        listeners.foreign_spectra(6, 4, organism)


def test_only_who_is_reliable_has_a_voice():
    bars = listeners.BARS
    rows = {
        (name, "codec", what): bar + (0.01 if name == "good" else -0.01)
        for name in ("good", "bad")
        for what, bar in bars.items()
    }
    rendered = {("bad", "rendered", what): 0.9 for what in bars}

    def voices(rows):
        columns = ["listener", "audio", "what", "estimate"]
        table = [(*key, Estimate(0.9, low, 1.0, 9)) for key, low in rows.items()]
        return listeners.trusted(pd.DataFrame(table, columns=columns))

    assert voices(rows) == {"good": True, "bad": False}
    assert voices(rows | rendered)["bad"] is False, "what counts is how songs sound"
    assert voices(rendered) == {"bad": True}
    one = rows | {("good", "codec", "emotion"): 0.1}
    assert voices(one)["good"] is False, "all that it says"


# -------------------------------------------------------------------------------------------- clips
def test_listeners_take_plain_audio():
    quiet = music.clip(music.Cues(tempo=60, dynamics=-35), 3)
    loud = music.clip(music.Cues(tempo=160, dynamics=-12), 3)
    ear = listeners.get("cues", CLIPS)
    arousal = ear(np.stack([quiet, loud]))["arousal"]
    assert arousal[0] < arousal[1]
    assert ear(clip for clip in [quiet, loud])["arousal"].equals(arousal)
    assert ear(quiet)["arousal"][0] == arousal[0]


TONE = (0.3 * np.sin(np.arange(48_000) / 9)).astype(np.float32)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "no clip"),
        ([np.full(16_000, np.nan)], "NaN"),
        ([TONE[:10]], "at least one second"),
        ([np.stack([TONE] * 3)], "must be one clip"),
        (np.stack([TONE, TONE], axis=1), "samples seem to come before channels"),
        ([np.stack([TONE, TONE], axis=1)], "samples seem to come before channels"),
        ((TONE * 32767).astype(np.int16), "divide by 32768"),
        ([TONE * 32767], "divide by"),
        (7, "list of clips"),
    ],
)
def test_bad_clips(bad, message):
    with pytest.raises((ValueError, TypeError), match=message):
        listeners.get("cues", CLIPS)(bad)


def test_silent_clips_are_named():
    with pytest.warns(UserWarning, match="digital silence"):
        listeners.get("cues", CLIPS)([np.zeros(32_000)])


def test_clips_without_sound_are_refused(organism):
    clips = organism.generate(["a sad tune"], seconds=1, progress=False)
    assert np.isfinite(listeners.get("cues", CLIPS)(clips)["valence"]).all()
    with pytest.raises(ValueError, match="not decoded"):
        listeners.get("cues", CLIPS)(clips.silent())


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_files_are_read_whole_or_refused(tmp_path, kind):
    import soundfile

    ear = listeners.get("cues", CLIPS)
    audio = music.clip(music.Cues(tempo=140), 6)
    file = tmp_path / f"song.{kind}"
    format = {"format": "MP3", "subtype": "MPEG_LAYER_III"} if kind == "mp3" else {}
    soundfile.write(file, np.repeat(audio, 2).reshape(-1, 2), 44_100, **format)
    assert ear([file, str(file)])["arousal"].nunique() == 1
    if kind in ("flac", "mp3"):  # of the others, a cut file says itself that it is shorter
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 3])
        with pytest.raises(ValueError, match=r"damaged|cannot be read"):
            ear(file)
    file.write_bytes(b"no music")
    with pytest.raises(ValueError, match="cannot be read as audio"):
        ear(file)
    with pytest.raises(ValueError, match="cannot be read as audio"):
        ear(tmp_path / "nothing.wav")


def test_every_listener_answers_alike_with_intervals(tmp_path):
    import soundfile

    audio, _ = corpus.sample(24, 77)
    soundfile.write(tmp_path / "a.wav", audio[0], music.SAMPLE_RATE)
    found = listeners.reliability(24, CLIPS)
    assert set(found["listener"]) == {"cues", "corpus", "vibenet"}
    assert set(found["audio"]) == {"rendered"}
    arousal = found["estimate"][found["what"] == "arousal"]
    assert arousal.map(lambda estimate: estimate.value)[:2].min() > 0.6
    for name in ("cues", "corpus", "vibenet"):
        answers = listeners.get(name, CLIPS)(audio[:2])
        assert (answers["valence_low"] < answers["valence"]).all()
        assert (answers["arousal"] < answers["arousal_high"]).all()
        from_file = listeners.get(name, CLIPS)([tmp_path / "a.wav"])
        assert from_file["arousal"][0] == pytest.approx(answers["arousal"][0], abs=0.05)


# --------------------------------------------------------------------------------------------- CLAP
@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory):
    """A CLAP in miniature, in the format of the released one."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("clap")
    text = {
        "vocab_size": 300,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    audio = {
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [1, 1],
        "hidden_size": 16,
    }
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    transformers.ClapModel(config).save_pretrained(folder)
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz, "]
    letters = {symbol: number for number, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    extractor = transformers.ClapFeatureExtractor(truncation="rand_trunc")
    transformers.ClapProcessor(extractor, fast).save_pretrained(folder)
    return folder


def test_clap_from_a_folder_in_its_format(clap_folder, audio):
    clap = listeners.get("clap", source=clap_folder)
    assert np.isfinite(clap(audio)[["valence", "arousal"]]).all(axis=None)
    prompts = ["happy music", "a gloomy, negative song"]
    own = clap.answer(audio, 16_000, prompts)["agreement"]
    other = clap.answer(audio, 16_000, (text for text in prompts[::-1]))["agreement"]
    assert own.shape == (2,) and np.abs([own, other]).max() <= 1 + 1e-6
    assert not np.allclose(own, other)
    with pytest.raises(ValueError, match="one for each of 2"):
        clap.answer(audio, 16_000, prompts[:1])


def test_clap_hears_many_clips_piece_by_piece(clap_folder, audio, monkeypatch):
    clap = listeners.get("clap", source=str(clap_folder))
    together = clap(audio)
    monkeypatch.setattr(listeners.Clap, "TOGETHER", 1)
    np.testing.assert_allclose(clap(audio), together, atol=1e-5)


def test_clap_hears_all_of_a_long_clip_each_time(clap_folder, audio):
    clap = listeners.get("clap", source=str(clap_folder))
    rate = 48_000  # its own
    piece, other = (np.resize(clip, 8 * rate) for clip in audio)
    long = [np.concatenate([piece, other]), piece]
    prompts = ["happy music"] * 2
    heard = clap.answer(long, rate, prompts)
    pd.testing.assert_frame_equal(heard, clap.answer(long, rate, prompts))
    halves = clap._embed_audio([piece, other], rate)
    whole = halves.mean(0) / np.linalg.norm(halves.mean(0))
    np.testing.assert_allclose(clap._embed_audio(long, rate), [whole, halves[0]], atol=1e-4)


def test_clap_takes_no_window_for_longer_than_it_is(clap_folder, audio, monkeypatch):
    """With "fusion", transformers picks one clip of a batch at random."""
    import torch

    clap = listeners.Clap(clap_folder)
    asked = []

    def embed(input_features, is_longer):
        asked.append(is_longer)
        return torch.ones(len(input_features), 8)

    monkeypatch.setattr(clap.processor.feature_extractor, "truncation", "fusion")
    monkeypatch.setattr(clap.network, "get_audio_features", embed)
    clap._embed_audio([np.tile(audio[0], 4), audio[1]], 16_000)
    assert [longer.any().item() for longer in asked] == [False] and len(asked[0]) > 2


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("tokenizer*", "tokenizer is missing"),
        ("model.safetensors", "no CLAP that can be read"),
        ("config.json", "no CLAP that can be read"),
        ("processor_config.json", "no CLAP that can be read"),
    ],
)
def test_a_clap_with_a_part_missing_is_refused(clap_folder, tmp_path, lost, message):
    folder = tmp_path / "clap"
    shutil.copytree(clap_folder, folder)
    for file in folder.glob(lost):
        file.unlink()
    with pytest.raises(ValueError, match=message):
        listeners.get("clap", source=folder)


def test_a_damaged_clap_is_refused(clap_folder, tmp_path):
    import safetensors.torch

    folder = tmp_path / "clap"
    shutil.copytree(clap_folder, folder)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="no CLAP that can be read"):
        listeners.get("clap", source=str(folder))
    weights.write_bytes(content)
    state = {f"other.{k}": v for k, v in safetensors.torch.load_file(weights).items()}
    safetensors.torch.save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="weights lack"):
        listeners.get("clap", source=str(folder))


def test_a_clap_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="need no download"):
        listeners.get("clap", source=str(tmp_path / "nothing"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="no CLAP that can be read"):
            listeners.get("clap", source=tmp_path / "empty")
