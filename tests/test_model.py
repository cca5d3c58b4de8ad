"""Loading, generating, encoding and decoding: organisms and the released format."""

import os
import pickle

import numpy as np
import pytest
import torch

from lib import generation, model, music
from lib.organism import network, world


def test_organism_sings(organism):
    clips = organism.generate(["a happy piano melody", "slow music"], seconds=1, seed=3, progress=False)
    assert clips.tokens.shape == (2, 4, 25) and clips.tokens.dtype == np.int64
    assert clips.audio.shape == (2, 16_000) and clips.audio.dtype == np.float32
    assert (clips.sample_rate, clips.frame_rate, clips.seeds) == (16_000, 25.0, [3, 4])
    assert clips.prompts == ["a happy piano melody", "slow music"] and len(clips) == 2
    assert np.array_equal(organism.decode(clips.tokens), clips.audio)
    assert np.abs(clips.audio).max() > 0.003  # it is not silence


def test_clip_does_not_depend_on_its_batch(organism):
    prompts = [
        "a sad melody",
        "loud",
        "an energetic, fast and bright-toned trumpet tune in a major key",
        "a calm melody",
    ]
    together = organism.generate(prompts, seconds=1.5, seed=5, progress=False)
    for i, prompt in enumerate(prompts):
        alone = organism.generate([prompt], seconds=1.5, seed=5 + i, progress=False)
        assert np.array_equal(alone.tokens[0], together.tokens[i])
    one_by_one = organism.generate(prompts, seconds=1.5, seed=5, batch_size=1, progress=False)
    assert np.array_equal(one_by_one.tokens, together.tokens)
    other = organism.generate(["a sad melody"] * 2, seconds=1.5, seed=[5, 6], progress=False).tokens
    assert not np.array_equal(other[0], other[1])


def test_clips_are_kept_on_disk_and_not_under_an_edit(organism, monkeypatch):
    from lib.activations import Edit, edit

    first = organism.generate(["sad", "calm"], seconds=0.4, seed=8, keep=True, progress=False)
    monkeypatch.setattr(organism.lm, "generate", lambda *a, **k: pytest.fail("generated again"))
    again = organism.generate(["sad", "calm"], seconds=0.4, seed=8, keep=True, progress=False)
    assert np.array_equal(first.tokens, again.tokens) and np.array_equal(first.audio, again.audio)
    monkeypatch.undo()
    with edit(organism, Edit("resid.3", add=5 * np.sin(np.arange(192)))):
        other = organism.generate(["sad", "calm"], seconds=0.4, seed=8, keep=True, progress=False)
    assert not np.array_equal(first.tokens, other.tokens)
    assert not np.array_equal(
        first.tokens, organism.generate(["sad", "calm"], seconds=0.4, seed=9, keep=True, progress=False).tokens
    )


def test_guidance_leads_away_from_a_negative_prompt(organism):
    prompts = ["a sad melody", "a slow and very sad piano melody"]
    settings = {"seconds": 0.6, "seed": 4, "temperature": 0, "progress": False}
    plain = organism.generate(prompts, **settings).tokens
    away = organism.generate(prompts, negative="a happy trumpet melody", **settings).tokens
    assert not np.array_equal(plain, away)
    alone = organism.generate(prompts[:1], negative="a happy trumpet melody", **settings).tokens
    assert np.array_equal(alone[0], away[0])
    # away from the prompt itself there is nowhere to go: as without guidance
    itself = organism.generate(prompts[:1], negative=prompts[0], **settings).tokens
    assert np.array_equal(itself, organism.generate(prompts[:1], cfg=1.0, **settings).tokens)


def test_some_clips_and_other_prompts(organism):
    clips = organism.generate(["sad", "calm", "happy"], seconds=0.4, seed=8, progress=False)
    some = clips[[2, 0, 2]]
    assert some.prompts == ["happy", "sad", "happy"] and some.seeds == [10, 8, 10] and len(clips[1:]) == 2
    assert np.array_equal(some.tokens, clips.tokens[[2, 0, 2]]) and np.array_equal(some.audio[1], clips.audio[0])
    moved = clips.under(["loud", "soft", ""])
    assert moved.prompts == ["loud", "soft", ""] and moved.tokens is clips.tokens
    with pytest.raises(ValueError, match="one for each of 3"):
        clips.under(["loud"])


def test_races_sample_the_softmax():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(1, 1, 4)
    noise = [next(generation._noise([seed], 1, (1, 4), "cpu")) for seed in range(4000)]
    for top_k, expected in ((4, [0.5, 0.3, 0.15, 0.05]), (2, [0.625, 0.375, 0, 0])):
        drawn = [generation._draw(logits + n, logits, top_k).item() for n in noise]
        assert np.allclose(np.bincount(drawn, minlength=4) / 4000, expected, atol=0.03)


def test_settings_matter(organism):
    def tokens(**settings):
        return organism.generate(["a happy melody"], seconds=1, seed=0, progress=False, **settings).tokens

    base = tokens()
    assert np.array_equal(base, tokens())
    assert not np.array_equal(base, tokens(temperature=0.5))
    assert not np.array_equal(base, tokens(cfg=1.0))
    greedy = organism.generate(["a happy melody"] * 2, seconds=1, seed=[1, 2], temperature=0, progress=False).tokens
    assert np.array_equal(greedy[0], greedy[1])
    assert np.array_equal(tokens(top_k=1), greedy[:1])


def test_encode_takes_any_rate(organism):
    clip = music.clip(music.Cues(), 2.0)
    tokens = organism.encode(clip, 16_000)
    assert tokens.shape == (1, 4, 50)
    higher = np.interp(np.arange(88_200) / 44_100, np.arange(32_000) / 16_000, clip)
    assert organism.encode(np.stack([higher, higher]), 44_100).shape == (2, 4, 50)
    assert np.corrcoef(np.abs(organism.decode(tokens)[0]), np.abs(clip))[0, 1] > 0.2


def test_released_format(folder):
    m = model.load(str(folder), "cpu")
    assert (m.sample_rate, m.frame_rate, m.max_seconds) == (32_000, 50.0, 30.0)
    clips = m.generate(["a happy melody", "a melody"], seconds=0.5, seed=0, progress=False)
    assert clips.tokens.shape == (2, 4, 25) and clips.audio.shape == (2, 16_000)
    assert m.encode(clips.audio, 32_000).shape == (2, 4, 25)
    # the weights are the file's: audiocraft's own T5 conditioner and projection, in the released key layout
    saved = torch.load(folder / "state_dict.bin", weights_only=True)["best_state"]
    assert set(saved) == set(m.lm.state_dict())
    assert all(torch.equal(v.float(), m.lm.state_dict()[k]) for k, v in saved.items())
    alone = m.generate(["a melody"], seconds=0.5, seed=1, progress=False)
    assert np.array_equal(alone.tokens[0], clips.tokens[1])


def test_unknown_model_lists_what_there_is():
    with pytest.raises(model.ModelError, match=r"organism-decoupled.*facebook/musicgen-small"):
        model.load("facebook/musicgen-tiny")
    for name in ("facebook/musicgen-melody", "facebook/musicgen-stereo-melody-large", "facebook/musicgen-style"):
        with pytest.raises(model.ModelError, match="have no cross-attention"):
            model.load(name)
    with pytest.raises(model.ModelError, match="device must be one of"):
        model.load("organism", device="tpu")


@pytest.mark.parametrize("file", model.FILES)
def test_folder_that_lacks_a_file(folder, tmp_path, file):
    for other in set(model.FILES) - {file}:
        (tmp_path / other).write_bytes((folder / other).read_bytes())
    with pytest.raises(model.ModelError, match=f"lacks {file}"):
        model.load(str(tmp_path))


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def _copy(folder, tmp_path):
    for path in folder.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("file", model.FILES)
def test_damaged_and_malicious_checkpoints_are_refused(folder, tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    copy = _copy(folder, tmp_path / "copy")
    for content in (b"", (folder / file).read_bytes()[:500], pickle.dumps({"best_state": Malicious()})):
        (copy / file).write_bytes(content)
        with pytest.raises(model.ModelError, match=f"{file} is damaged, or holds more than weights"):
            model.load(str(copy))
    torch.save({"best_state": Malicious(), "xp.cfg": ""}, copy / file)
    with pytest.raises(model.ModelError, match="could run code"):
        model.load(str(copy))
    assert not (tmp_path / "owned").exists()


def test_checkpoint_that_is_none(folder, tmp_path):
    copy = _copy(folder, tmp_path)
    torch.save({"weights": torch.zeros(1)}, copy / "state_dict.bin")
    with pytest.raises(model.ModelError, match="best_state"):
        model.load(str(copy))


def test_weights_that_do_not_fit(folder, tmp_path):
    copy = _copy(folder, tmp_path)
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    package["xp.cfg"] = package["xp.cfg"].replace("num_layers: 3", "num_layers: 4")
    torch.save(package, copy / "state_dict.bin")
    with pytest.raises(model.ModelError, match="does not fit its own configuration"):
        model.load(str(copy))


def test_melody_conditioning_is_named(folder, tmp_path):
    copy = _copy(folder, tmp_path)
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    package["xp.cfg"] = package["xp.cfg"].replace(
        "conditioners:\n", "conditioners:\n  self_wav: {model: chroma_stem}\n"
    )
    torch.save(package, copy / "state_dict.bin")
    with pytest.raises(model.ModelError, match="self_wav"):
        model.load(str(copy))


def test_no_connection(monkeypatch, folder, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(model.ModelError, match="could not be fetched from the Hugging Face hub"):
        model.load("facebook/musicgen-small")
    for missing, name in (("t5-base", "t5-base"), ("facebook", "facebook/encodec_32khz")):
        copy = _copy(folder, tmp_path / missing)
        (copy / missing).rename(tmp_path / f"away-{missing}")
        with pytest.raises(model.ModelError, match=f"{name} could not be fetched"):
            model.load(str(copy))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"prompts": []}, ValueError, "at least one prompt"),
        ({"prompts": "a sad melody"}, TypeError, "list of strings"),
        ({"prompts": ["sad", 3]}, TypeError, r"prompts\[1\] must be a string"),
        ({"seconds": 0}, ValueError, "seconds must be in"),
        ({"seconds": -1}, ValueError, "seconds must be in"),
        ({"seconds": 7}, ValueError, r"6\], the model's limit"),
        ({"seconds": "long"}, TypeError, "seconds must be a number"),
        ({"seed": -1}, ValueError, ">= 0"),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
        ({"seed": [1, 2]}, ValueError, "1 prompts"),
        ({"temperature": float("nan")}, TypeError, "temperature"),
        ({"top_k": 0}, ValueError, "top_k"),
        ({"cfg": -1}, ValueError, "cfg"),
        ({"beside": "a"}, TypeError, "beside must be a list of strings"),
        ({"beside": [3]}, TypeError, r"beside\[0\] must be a string"),
        ({"beside": ["a", "b"]}, ValueError, "beside must be one prompt for each of 1 clips. Got 2"),
    ],
)
def test_bad_input_is_refused_before_work_starts(organism, monkeypatch, arguments, error, says):
    monkeypatch.setattr(organism.lm, "generate", lambda *a, **k: pytest.fail("work has started"))
    with pytest.raises(error, match=says):
        organism.generate(**{"prompts": ["sad"], "progress": False, **arguments})


@pytest.mark.parametrize("bad", [np.full((1, 16_000), np.nan), np.zeros((1, 2, 16_000)), np.zeros((0, 16_000))])
def test_bad_audio(organism, bad):
    with pytest.raises(ValueError, match="audio"):
        organism.encode(bad, 16_000)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 25), int), np.zeros((1, 3, 25), int), np.zeros((1, 4, 25)), np.full((1, 4, 5), 1024)]
)
def test_bad_tokens(organism, bad):
    with pytest.raises(ValueError, match="tokens must be"):
        organism.decode(bad)


def test_shipped_weights_are_small_and_documented():
    files = [p for p in network.WEIGHTS.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 60e6
    assert not [p for p in files if p.suffix in (".bin", ".pt", ".pkl")]
    for name in ("codec", *world.WORLDS):
        assert (network.WEIGHTS / name / "config.json").exists()
    card = (network.WEIGHTS / "README.md").read_text()
    assert all(name in card for name in world.WORLDS)


def test_clips_of_music_that_exists(organism):
    made = organism.generate(["a happy melody", "sad music"], 1, progress=False)
    again = organism.clips(made.tokens, ["slow", "fast music"])
    assert (again.audio == made.audio).all() and again.prompts == ["slow", "fast music"]
    assert organism.clips(made.tokens, ["slow", "fast"], decode=False).audio.shape == (2, 0)
    with pytest.raises(ValueError, match="one for each of 2 clips"):
        organism.clips(made.tokens, ["slow"])


def test_the_likeliest_tokens_are_audiocrafts(organism):
    conditions = [model.ConditioningAttributes(text={"description": p}) for p in ("sad music", "fast music")]
    theirs = organism.lm.generate(None, conditions, max_gen_len=50, use_sampling=False, cfg_coef=4.0).numpy()
    # a longer neighbour in the batch changes nothing
    ours = organism.generate(
        ["sad music", "a very calm piano tune", "fast music"], 2, temperature=0, cfg=4.0, progress=False
    )
    assert (ours.tokens[[0, 2]] == theirs).all()
    assert not any("forward" in vars(module) for module in organism.lm.modules())


def test_other_architectures_are_refused(organism, monkeypatch):
    monkeypatch.setattr(organism.lm.transformer.layers[0].self_attn, "past_context", 100)
    with pytest.raises(ValueError, match="a limited past"):
        generation.check(organism.lm)
