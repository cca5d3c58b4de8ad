"""Loading, generating, encoding and decoding: organisms and the released format."""

import numpy as np
import pytest
import released
import torch

from lib import activations, cache, model
from lib.musicgen import loading, miniature, sampling, store
from lib.musicgen.noise import Noise
from lib.organism import music, planting, world


def test_organism_sings(organism):
    clips = organism.generate(
        ["a happy piano melody", "slow music"], seconds=1, seed=3, progress=False
    )
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


def test_clips_need_not_sound(organism, monkeypatch):
    asked = {"prompts": ["sad", "calm"], "seconds": 0.4, "seed": 8, "progress": False}
    heard = organism.generate(**asked)
    monkeypatch.setattr(organism.codec, "decode", lambda *_: pytest.fail("decoded"))
    silent = organism.generate(**asked, decode=False)
    assert np.array_equal(silent.tokens, heard.tokens)
    assert silent.audio.shape == (2, 0) and heard.audio.shape[1] > 0


def kept(m, **settings):
    return m.generate(
        ["sad", "calm"], seconds=0.4, seed=8, keep=True, progress=False, **settings
    ).tokens


def test_clips_are_kept_on_disk_by_all_they_follow_from(organism, monkeypatch):
    first = kept(organism)
    weight = organism.lm.transformer.layers[0].linear1.weight
    edit = activations.Edit("resid.3", add=5 * np.sin(np.arange(160)))
    with activations.edit(organism, edit):
        edited = kept(organism)
    with torch.no_grad():
        weight.data[:8] += 1
    changed = kept(organism)
    with torch.no_grad():
        weight.data[:8] -= 1
    assert not np.array_equal(first, edited) and not np.array_equal(first, changed)
    assert not np.array_equal(first, kept(organism, cfg=1.0))
    monkeypatch.setattr(organism, "sing", lambda *a, **k: pytest.fail("generated again"))
    assert np.array_equal(first, kept(organism))
    with activations.edit(organism, edit):
        assert np.array_equal(edited, kept(organism))


def test_damaged_clips_are_made_again(organism):
    first = kept(organism)
    for file in (cache.ROOT / "clips").glob("*.npy"):
        file.write_bytes(file.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="damaged"):
        assert np.array_equal(first, kept(organism))


def test_a_model_is_its_content(folder, miniature, tmp_path):
    moved = model.load(str(released.copied(folder, tmp_path / "moved")), "cpu")
    assert moved.fingerprint == miniature.fingerprint and moved.identity(
        audio=True
    ) == miniature.identity(audio=True)
    conditioner = moved.lm.condition_provider.conditioners["description"]
    with torch.no_grad():
        conditioner.t5.encoder.block[0].layer[0].SelfAttention.q.weight += 0.1
    assert (
        moved.fingerprint != miniature.fingerprint
    )  # the text encoder is no part of the checkpoint, and counts
    with torch.no_grad():
        next(moved.codec.parameters()).add_(0.1)
    assert moved.identity(audio=True)["codec"] != miniature.identity(audio=True)["codec"]


class Zero(torch.nn.Linear):
    def forward(self, x):
        return 0 * super().forward(x)


@pytest.mark.parametrize(
    "change",
    [
        lambda lm: setattr(lm.transformer.layers[2], "activation", torch.relu),
        lambda lm: setattr(lm.transformer.layers[0].norm1, "eps", 1e4),
        lambda lm: setattr(lm.transformer.layers[1].linear1, "__class__", Zero),
        lambda lm: setattr(lm.transformer.layers[1].self_attn, "num_heads", 10),
        lambda lm: setattr(lm.pattern_provider, "delays", [0, 2, 4, 6]),
    ],
    ids=["activation", "eps", "class", "heads", "delays"],
)
def test_a_model_is_its_settings_too(organism, change):
    other = model.load("organism", "cpu")
    assert other.fingerprint == organism.fingerprint and other.interventions == ()
    change(other.lm)
    assert other.fingerprint != organism.fingerprint


class Steep(torch.nn.Module):
    def __init__(self, by):
        super().__init__()
        self._by = by

    def forward(self, x):
        return torch.relu(self._by * x)


def test_a_model_is_what_modules_of_ones_own_hold_too():
    m = model.load("organism", "cpu")
    names = set()
    for by in (1.0, 2.0, torch.tensor(3.0)):
        m.lm.transformer.layers[2].activation = Steep(by)
        names.add(m.fingerprint)
    assert len(names) == 3


def test_hooks_of_ones_own_name_what_is_kept(organism, tmp_path):
    first = kept(organism)
    clips = organism.clips(first, ["sad", "calm"], decode=False)
    out = {"reduce": "mean", "out": tmp_path / "x.zarr", "progress": False}
    plain = activations.capture(organism, clips, "resid.5", **out)["resid.5"].values
    layer = organism.lm.transformer.layers[4]
    for how in ("hook", "forward"):
        if how == "hook":
            handle = layer.register_forward_hook(lambda _module, _args, output: 0 * output)
        else:
            layer.norm2.forward = torch.zeros_like
        try:
            assert not np.array_equal(kept(organism), first)
            with pytest.raises(store.StoreError, match="edits"):
                activations.capture(organism, clips, "resid.5", **out)
        finally:
            handle.remove()
            vars(layer.norm2).pop("forward", None)
    assert np.array_equal(kept(organism), first) and organism.interventions == ()
    again = activations.capture(organism, clips, "resid.5", **out)["resid.5"].values
    assert np.array_equal(plain, again)


def test_pieces_of_a_call_see_the_whole_calls_edits(organism):
    prompts = ["sad", "calm", "happy", "loud"]
    vector = np.ones(160)
    for change in ({"clips": [0]}, {"scale": [0, 1, 2, 3]}):
        with activations.edit(organism, activations.Edit("resid.3", add=vector, **change)):
            whole = organism.generate(prompts, 0.4, 3, progress=False).tokens
            for some in ([0, 1], [2, 3]):
                part = model.Part(some, 4)
                asked = [prompts[i] for i in some]
                piece = organism.generate(
                    asked, 0.4, [3 + i for i in some], part=part, progress=False
                ).tokens
                assert np.array_equal(piece, whole[some])


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
    assert (
        some.prompts == ["happy", "sad", "happy"]
        and some.seeds == [10, 8, 10]
        and len(clips[1:]) == 2
    )
    assert np.array_equal(some.tokens, clips.tokens[[2, 0, 2]]) and np.array_equal(
        some.audio[1], clips.audio[0]
    )
    moved = clips.under(["loud", "soft", ""])
    assert moved.prompts == ["loud", "soft", ""] and moved.tokens is clips.tokens
    with pytest.raises(ValueError, match="one for each of 3"):
        clips.under(["loud"])


def test_races_sample_the_softmax():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(1, 1, 4)
    noise = [Noise([seed], "cpu").draw(1, 1, 4)[0] for seed in range(4000)]
    for top_k, expected in ((4, [0.5, 0.3, 0.15, 0.05]), (2, [0.625, 0.375, 0, 0])):
        drawn = [sampling.draw(logits + n, logits, top_k).item() for n in noise]
        assert np.allclose(np.bincount(drawn, minlength=4) / 4000, expected, atol=0.03)


def test_settings_matter(organism):
    def tokens(**settings):
        return organism.generate(
            ["a happy melody"], seconds=1, seed=0, progress=False, **settings
        ).tokens

    base = tokens()
    assert np.array_equal(base, tokens())
    assert not np.array_equal(base, tokens(temperature=0.5))
    assert not np.array_equal(base, tokens(cfg=1.0))
    greedy = organism.generate(
        ["a happy melody"] * 2, seconds=1, seed=[1, 2], temperature=0, progress=False
    ).tokens
    assert np.array_equal(greedy[0], greedy[1])
    assert np.array_equal(tokens(top_k=1), greedy[:1])


def test_encode_takes_any_rate(organism):
    clip = music.clip(music.Cues(), 2.0)
    tokens = organism.encode(clip, 16_000)
    assert tokens.shape == (1, 4, 50)
    higher = np.interp(np.arange(88_200) / 44_100, np.arange(32_000) / 16_000, clip)
    assert organism.encode(np.stack([higher, higher]), 44_100).shape == (2, 4, 50)
    assert np.corrcoef(np.abs(organism.decode(tokens)[0]), np.abs(clip))[0, 1] > 0.2


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"prompts": []}, ValueError, "at least one"),
        ({"prompts": "a sad melody"}, TypeError, "list of strings"),
        ({"prompts": ["sad", 3]}, TypeError, r"prompts\[1\] must be a string"),
        ({"seconds": 0}, ValueError, "seconds must be a number in"),
        ({"seconds": -1}, ValueError, "seconds must be a number in"),
        ({"seconds": 7}, ValueError, r"6\]. Got 7. The model's limit"),
        ({"seconds": "long"}, TypeError, "seconds must be a number"),
        ({"seed": -1}, ValueError, "0 or more"),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
        ({"seed": [1, 2]}, ValueError, "each of 1 prompts"),
        ({"temperature": float("nan")}, ValueError, "temperature"),
        ({"top_k": 0}, ValueError, "top_k"),
        ({"top_k": 2.5}, TypeError, "top_k must be an integer"),
        ({"negative": 0}, TypeError, r"negative\[0\] must be a string"),
        ({"prompt_audio": np.ones(9), "prompt_sample_rate": 0}, ValueError, "sample_rate must be"),
        ({"cfg": -1}, ValueError, "cfg"),
        ({"beside": "a"}, TypeError, "beside must be a list of strings"),
        ({"beside": [3]}, TypeError, r"beside\[0\] must be a string"),
        ({"beside": ["a", "b"]}, ValueError, "beside must be one for each of 1 clips. Got 2"),
    ],
)
def test_bad_input_is_refused_before_work_starts(organism, monkeypatch, arguments, error, says):
    monkeypatch.setattr(sampling, "sample", lambda *a, **k: pytest.fail("work has started"))
    with pytest.raises(error, match=says):
        organism.generate(**{"prompts": ["sad"], "progress": False, **arguments})


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.full((1, 16_000), np.nan), "NaN"),
        (np.zeros((1, 2, 16_000), np.float32), "2 channels"),
        (np.zeros((0, 16_000)), "audio must be float audio"),
        (np.zeros((16_000, 2), np.float32), "samples seem to come before channels"),
        (np.zeros(16_000, np.int16), "divide by 32768"),
        (np.sin(np.arange(16_000)) * 20_000, "divide by the scale"),
        (np.ones((1, 200_000)), "at most 6 s long"),
    ],
)
def test_bad_audio(organism, bad, says):
    with pytest.raises((ValueError, TypeError), match=says):
        organism.encode(bad, 16_000)


def test_silence_is_pointed_out(organism):
    with pytest.warns(UserWarning, match="digital silence in 1 clips"):
        organism.encode(np.stack([np.zeros(16_000), np.sin(np.arange(16_000))]), 16_000)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 25), int),
        np.zeros((1, 3, 25), int),
        np.zeros((1, 4, 25)),
        np.full((1, 4, 5), 1024),
    ],
)
def test_bad_tokens(organism, bad):
    for call in (organism.decode, lambda tokens: organism.replay(tokens, ["sad"])):
        with pytest.raises((ValueError, TypeError), match="tokens must be"):
            call(bad)


@pytest.mark.parametrize(
    ("prompts", "streams", "says"),
    [
        (["sad"], "cond", r"streams must be a tuple of texts.*Write \('cond',\)"),
        (["sad"], ("conditional",), "streams must be one of 'cond', 'uncond'"),
        (["sad", "calm"], ("cond",), "one for each of 1 clips"),
        ("s", ("cond",), "a list of strings"),
    ],
)
def test_a_replay_of_what_is_not_there(organism, prompts, streams, says):
    with pytest.raises((ValueError, TypeError), match=says):
        organism.replay(np.zeros((1, 4, 5), int), prompts, streams)


def test_no_clips_and_words_that_are_no_list(organism):
    none = organism.generate(["sad"], 0.2, progress=False)[:0]
    with pytest.raises(ValueError, match="clips must be some"):
        activations.capture(organism, none, "resid.1", progress=False)
    with pytest.raises(TypeError, match="texts must be a list of strings"):
        organism.unread("a zzzyx melody")
    with pytest.raises(TypeError, match="sites must be the name of a site"):
        activations.select(organism, 4)
    with pytest.raises(TypeError, match="edits must be Edits"), activations.edit(organism, "embed"):
        pass


def test_shipped_weights_are_small_and_documented():
    files = [p for p in miniature.WEIGHTS.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 120e6
    assert not [p for p in files if p.suffix in (".bin", ".pt", ".pkl")]
    trained = [each for name in world.WORLDS for each in world.models(name)]
    assert sorted([*trained, *planting.PLACES]) == loading.shipped()
    for folder in ("codec", *trained, *planting.PLACES):
        assert (miniature.WEIGHTS / folder / "config.json").exists()
    card = (miniature.WEIGHTS / "README.md").read_text()
    assert all(name in card for name in (*world.WORLDS, *planting.PLACES))


def test_clips_of_music_that_exists(organism):
    made = organism.generate(["a happy melody", "sad music"], 1, progress=False)
    again = organism.clips(made.tokens, ["slow", "fast music"])
    assert (again.audio == made.audio).all() and again.prompts == ["slow", "fast music"]
    assert organism.clips(made.tokens, ["slow", "fast"], decode=False).audio.shape == (2, 0)
    with pytest.raises(ValueError, match="one for each of 2 clips"):
        organism.clips(made.tokens, ["slow"])
