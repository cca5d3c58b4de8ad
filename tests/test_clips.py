"""Clips: some of them, kept in a folder, gone on with."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from lib import causal
from lib.musicgen.clips import Clips
from lib.musicgen.compat import audiocraft


@pytest.fixture(scope="module")
def clips(organism):
    return organism.generate(["sad music", "NA"], 0.8, [3, 9], cfg=1.5, progress=False)


def test_clips_sound_the_same_at_another_rate(clips):
    assert clips.audio_at(clips.sample_rate) is clips.audio
    time = np.arange(clips.sample_rate) / clips.sample_rate
    tone = np.sin(2 * np.pi * 440 * time, dtype=np.float32)
    both = dataclasses.replace(clips, audio=np.stack([tone, tone]))
    faster = both.audio_at(2 * clips.sample_rate)
    assert faster.shape == (2, 2 * clips.sample_rate)
    assert np.abs(np.fft.rfft(faster[1])).argmax() == 440  # Hz, of one second


def test_saved_clips_come_back(clips, tmp_path):
    folder = clips.save(tmp_path / "mine")
    again = Clips.load(folder)
    assert again.prompts == ["sad music", "NA"] and again.seeds == [3, 9]
    assert again.settings == clips.settings and again.frame_rate == clips.frame_rate
    np.testing.assert_array_equal(again.tokens, clips.tokens)
    np.testing.assert_array_equal(again.audio, clips.audio)
    table = pd.read_csv(folder / "clips.csv", keep_default_na=False)
    assert list(table["prompt"]) == clips.prompts and set(table["cfg"]) == {1.5}
    audio, rate = soundfile.read(folder / table["file"][1])
    assert rate == 16_000 and len(audio) == clips.audio.shape[1]
    with pytest.raises(FileExistsError, match="is not empty"):
        clips.save(folder)
    silent = Clips.load(clips.silent().save(tmp_path / "silent"))
    assert silent.audio.shape == (2, 0) and (silent.tokens == clips.tokens).all()


@pytest.mark.parametrize(
    "prompts",
    [["001", "12"], ["1.10", "2"], ["a\rb", "c\nd\r\n"], ["NA", ""], ["null", ' "x", \\ é']],
)
def test_any_prompt_comes_back(clips, tmp_path, prompts):
    again = Clips.load(clips.silent().under(prompts).save(tmp_path / "a"))
    assert again.prompts == prompts and again.seeds == [3, 9]


def test_an_interrupted_save_leaves_nothing(clips, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            clips.save(tmp_path / "mine")
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    assert len(Clips.load(clips.save(tmp_path / "mine"))) == 2
    with pytest.raises(FileExistsError, match="is a file"):
        clips.save(tmp_path / "mine" / "clips.csv")


def test_clips_lie_in_the_home_folder_and_nowhere_unclear(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert clips.silent().save("~/zz") == tmp_path / "zz"
    assert Clips.load("~/zz").prompts == clips.prompts
    for wrong, kind in (
        (3, TypeError),
        (b"a", TypeError),
        ("", ValueError),
        ("s3://a", ValueError),
    ):
        with pytest.raises(kind, match="folder must be the path of a file or a folder"):
            clips.save(wrong)


def test_damaged_clips_are_refused(clips, tmp_path):
    folder = clips.save(tmp_path / "a")
    (folder / "0001.wav").unlink()
    with pytest.raises(ValueError, match="damaged clips: 0001"):
        Clips.load(folder)
    folder = clips.save(tmp_path / "b")
    np.save(folder / "tokens.npy", clips.tokens[:1])
    with pytest.raises(ValueError, match="clips"):
        Clips.load(folder)
    (folder / "clips.csv").unlink()
    with pytest.raises(ValueError, match="lacks clips"):
        Clips.load(folder)
    folder = clips.save(tmp_path / "c")
    table = pd.read_csv(folder / "clips.csv")
    table.drop(columns="seed").to_csv(folder / "clips.csv", index=False)
    with pytest.raises(ValueError, match=r"clips.csv lacks the columns \['seed'\]: it has"):
        Clips.load(folder)
    table.to_csv(folder / "clips.csv", index=False)
    (folder / "clips.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Clips.load(folder)


# ------------------------------------------------------------------------------------ going on
def test_songs_go_on_from_given_audio(organism, clips):
    how = {"seconds": 1.6, "progress": False}
    song = organism.generate(["sad music"] * 2, prompt_audio=clips.audio, **how)
    given = organism.encode(clips.audio, clips.sample_rate)
    assert song.begun == pytest.approx(0.8) and song.tokens.shape[-1] == 40
    np.testing.assert_array_equal(song.tokens[..., :20], given)
    assert (
        song.tokens[..., 20:] != organism.generate(["sad music"] * 2, **how).tokens[..., 20:]
    ).any()
    # each clip for itself, whatever is beside it; one beginning may serve for all
    alone = organism.generate(["sad music"], prompt_audio=clips.audio[0], **how)
    np.testing.assert_array_equal(alone.tokens[0], song.tokens[0])
    both = organism.generate(["sad music"] * 2, seed=[0, 0], prompt_audio=clips.audio[0], **how)
    np.testing.assert_array_equal(both.tokens[1], alone.tokens[0])
    kept = organism.generate(["sad music"], prompt_audio=clips.audio[0], keep=True, **how)
    np.testing.assert_array_equal(kept.tokens, alone.tokens)
    other = organism.generate(["sad music"], prompt_audio=clips.audio[1], keep=True, **how)
    assert (other.tokens != kept.tokens).any()


def test_going_on_is_audiocraft_s_own(organism, clips):
    given = organism.encode(clips.audio[:1], clips.sample_rate)
    song = organism.generate(
        ["sad music"], 1.2, prompt_audio=clips.audio[:1], temperature=0, progress=False
    )
    attributes = [
        audiocraft.modules.conditioners.ConditioningAttributes(text={"description": "sad music"})
    ]
    with torch.no_grad():
        wanted = organism.lm.generate(
            torch.from_numpy(given),
            attributes,
            max_gen_len=30,
            use_sampling=False,
            cfg_coef=organism.defaults["cfg"],
        )
    np.testing.assert_array_equal(song.tokens, wanted.numpy())


def test_audio_that_cannot_be_gone_on_with(organism, clips):
    with pytest.raises(ValueError, match="seconds counts what is given"):
        organism.generate(["a"] * 2, 0.8, prompt_audio=clips.audio)
    with pytest.raises(ValueError, match="that of prompt_audio, and there is none"):
        organism.generate(["a"], 0.8, prompt_sample_rate=8000)
    with pytest.raises(ValueError, match="one for each of 3 prompts"):
        organism.generate(["a"] * 3, 2.0, prompt_audio=clips.audio)
    song = organism.generate(["a"] * 2, 1.0, prompt_audio=clips.audio, progress=False)
    with pytest.raises(ValueError, match="cannot be sung again"):
        causal.sing_cells(organism, song, ["b"] * 2, ["resid.1"], 2, progress=False)
