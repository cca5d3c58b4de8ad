"""Models that follow a melody: text and chromagram in front of the music."""

import librosa
import numpy as np
import pytest
import released
import torch
import transformers
from omegaconf import OmegaConf

from lib import activations, causal, harvest, model, sizing, steering
from lib.methods import lenses
from lib.methods.sae import transcoders
from lib.methods.steering import distilling, rank_one
from lib.musicgen import melody
from lib.musicgen.compat import audiocraft

RATE = 32_000
PROMPTS = ["a melody", "a very happy and calm melody", ""]
SHORT = {"seconds": 0.4, "progress": False}
SEEN = ["text", "cond", "embed", "resid.*", "attn.*", "mlp.*", "head.1.*", "logits"]


def tones(*pitches, seconds=1.0):
    """Tones one after the other, by MIDI number."""
    time = np.arange(round(seconds * RATE)) / RATE
    each = [0.4 * np.sin(2 * np.pi * librosa.midi_to_hz(pitch) * time) for pitch in pitches]
    return np.concatenate(each).astype(np.float32)


@pytest.fixture(scope="module")
def melodious(tmp_path_factory):
    return released.write(tmp_path_factory.mktemp("melody"), melody=True)


@pytest.fixture(scope="module")
def m(melodious):
    return model.load(str(melodious), "cpu")


@pytest.fixture(scope="module")
def sung(m):
    return m.generate(PROMPTS[:2], melody=np.stack([tones(60, 64), tones(67, 69)]), **SHORT)


# ---------------------------------------------------------------------------------- what is read
def test_a_chromagram_names_the_pitch():
    reader = melody.Chroma(8, RATE, 30)
    assert reader.length == sizing.CHROMA_FRAMES == 235
    wave = tones(60, 69, 71)
    found = reader.chroma(torch.from_numpy(wave)[None])[0].numpy()
    assert found.shape == (235, 12) and (found.sum(1) == 1).all()
    frames = len(wave) // 4096 + 1
    named = found.argmax(1)
    assert (named[1:6] == 0).all() and (named[9:14] == 9).all() and (named[18:22] == 11).all()
    np.testing.assert_array_equal(named[frames : 2 * frames], named[:frames])  # again and again
    power = np.abs(librosa.stft(wave, n_fft=2**14, hop_length=2**12, pad_mode="reflect")) ** 2
    wanted = librosa.filters.chroma(sr=RATE, n_fft=2**14, tuning=0) @ power
    shares = melody.Chroma(8, RATE, 30, argmax=False).chroma(torch.from_numpy(wave)[None])[0]
    np.testing.assert_allclose(shares[:frames].T, wanted / wanted.max(0), atol=1e-4)
    silence = reader.silence(2).numpy()
    assert (silence.argmax(-1) == 0).all() and silence.shape == (2, 235, 12)
    short = reader.chroma(torch.from_numpy(wave[:999])[None])
    assert short.shape == (1, 235, 12)


@pytest.mark.parametrize("channels", [1, 2])
def test_logits_are_those_of_transformers(tmp_path, channels):
    saved = released.write_transformers(tmp_path, channels, melody=True)
    theirs = transformers.MusicgenMelodyForConditionalGeneration.from_pretrained(saved).eval()
    ours = model.load(str(saved), "cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved)
    for given in (None, tones(60, 64)):
        clips = ours.generate(PROMPTS[:2], temperature=0, melody=given, **SHORT)
        found = ours.replay(clips.tokens, clips.prompts, chroma=clips.chroma).detach()
        sequence = ours.sequence(clips.tokens)
        for i, prompt in enumerate(clips.prompts):  # in a batch they would see each other's padding
            read = tokenizer([prompt], return_tensors="pt")
            if given is not None:
                read["input_features"] = torch.from_numpy(clips.chroma[i : i + 1])
            with torch.no_grad():
                wanted = theirs(**read, decoder_input_ids=sequence[i]).logits
            wanted = wanted[:, -sequence.shape[-1] :]
            torch.testing.assert_close(found[i], wanted, atol=1e-5, rtol=0)
            assert wanted.std() > 0.01


def audiocraft_sings(m, prompt, seconds, given=None, limit=30.0, stride=0.3):
    theirs = audiocraft.models.MusicGen("melody", m.codec, m.lm, 30)
    theirs.max_duration = limit
    how = {"use_sampling": False, "cfg_coef": m.defaults["cfg"]}
    theirs.set_generation_params(duration=seconds, extend_stride=stride, **how)
    waves = None if given is None else [torch.from_numpy(given)[None]]
    attributes, _ = theirs._prepare_tokens_and_attributes([prompt], None, waves)
    return theirs._generate_tokens(attributes, None)[0].numpy()


@pytest.mark.parametrize("given", [None, tones(60, 67, seconds=0.4)])
def test_greedy_songs_are_audiocraft_s_own(m, given):
    clips = m.generate(PROMPTS, temperature=0, melody=given, **SHORT)
    for tokens, prompt in zip(clips.tokens, PROMPTS, strict=True):
        np.testing.assert_array_equal(tokens, audiocraft_sings(m, prompt, 0.4, given))


def test_long_songs_follow_the_melody_as_audiocraft_s_do(m):
    short = model.Model("melody", m.lm, m.codec, "cpu", 0.5, m.defaults)
    # the chromagram stays as long as in training: here the melody of a window is repeated
    given = tones(60, 62, 64, 65, 67, seconds=0.3)
    clips = short.generate(
        PROMPTS[:2], 1.3, temperature=0, melody=given, stride=0.3, progress=False
    )
    for tokens, prompt in zip(clips.tokens, PROMPTS, strict=False):
        wanted = audiocraft_sings(short, prompt, 1.3, given, limit=0.5)
        np.testing.assert_array_equal(tokens, wanted)


def test_half_precision(melodious, m, sung):
    half = model.load(str(melodious), "cpu", "bfloat16")
    assert half.lm.transformer.layers[0].linear1.weight.dtype == torch.bfloat16
    np.testing.assert_allclose(half.cross_entropy(sung), m.cross_entropy(sung), rtol=0.02)


# ----------------------------------------------------------------------------- rows for themselves
def test_a_clip_does_not_depend_on_its_batch(m):
    given = np.stack([tones(60, 62), tones(64, 65), tones(67, 69)])
    how = {"melody": given, "beside": PROMPTS[::-1], "negative": "sad", **SHORT}
    together = m.generate(PROMPTS, seed=3, **how)
    for i, prompt in enumerate(PROMPTS):
        own = {"melody": given[i], "beside": [PROMPTS[2 - i]]}
        alone = m.generate([prompt], seed=3 + i, **{**how, **own})
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[i])
    plain = m.generate(PROMPTS, seed=3, **{**how, "melody": None})
    assert (plain.tokens != together.tokens).any((1, 2)).all()
    takes = m.generate(PROMPTS[:2], takes=2, melody=given[:2], **SHORT)
    np.testing.assert_array_equal(takes.chroma, takes.chroma[[0, 0, 2, 2]])


def test_replay_is_what_was_sung(m, sung):
    how = {"stream": "both", "progress": False}
    there = activations.capture(m, sung, SEEN, how="live", **how)
    again = activations.capture(m, sung, SEEN, how="replay", **how)
    assert there["resid.1"].sizes == {"clip": 2, "stream": 2, "frame": 20, "dim": 32}
    for name in there:
        np.testing.assert_allclose(again[name], there[name], atol=1e-5, err_msg=name)
    alone = activations.capture(m, sung[1], SEEN, **how)
    np.testing.assert_allclose(alone["resid.2"], again["resid.2"][1:], atol=1e-5)
    unconditional = activations.capture(m, sung, "resid.2", stream="uncond", progress=False)
    np.testing.assert_allclose(unconditional["resid.2"], again["resid.2"][:, 1], atol=1e-5)
    added = sum(again[f"{kind}.1"] for kind in ("attn", "mlp"))
    np.testing.assert_allclose(again["resid.0"] + added, again["resid.1"], atol=1e-5)
    heads = sum(again[f"head.1.{h}"] for h in range(4))
    np.testing.assert_allclose(heads, again["attn.1"], atol=1e-5)
    silent = activations.capture(m, m.clips(sung.tokens, sung.prompts), "resid.2", progress=False)
    assert np.abs(silent["resid.2"].values - again["resid.2"].values[:, 0]).max() > 1e-3


def test_edits_are_of_the_music_s_frames(m, sung):
    plain = activations.capture(m, sung, ["resid.1", "resid.2"], progress=False)
    with activations.edit(m, activations.Edit("resid.1", multiply=0.0, frames=[4])):
        edited = activations.capture(m, sung, ["resid.1", "resid.2"], progress=False)
    changed = (np.abs(edited["resid.1"] - plain["resid.1"]) > 0).any(("clip", "dim"))
    assert list(np.flatnonzero(changed)) == [4]
    later = (np.abs(edited["resid.2"] - plain["resid.2"]) > 1e-6).any(("clip", "dim"))
    assert not later[:4].any() and later[4:].all()
    with activations.edit(m, activations.Edit("cond", multiply=0.0, clips=[1])):
        deaf = activations.capture(m, sung, "resid.2", progress=False)
        moved = m.generate(PROMPTS[:2], temperature=0, cfg=1.0, **SHORT).tokens
    assert (deaf["resid.2"][0] == plain["resid.2"][0]).all()
    assert np.abs(deaf["resid.2"][1] - plain["resid.2"][1]).max() > 1e-4
    still = m.generate(PROMPTS[:1], temperature=0, cfg=1.0, **SHORT).tokens
    np.testing.assert_array_equal(moved[0], still[0])


def test_attention_reads_the_prefix(m, sung):
    read = activations.attention(m, sung, 1)
    lengths = m.text_lengths(sung.prompts)
    assert lengths[0] < lengths[1]
    keys = {name: int((read["part"] == name).sum()) for name in ("melody", "text", "frame")}
    assert keys == {"melody": 235, "text": lengths[1], "frame": 20}
    np.testing.assert_allclose(read.sum("key"), 1, atol=1e-5)
    missing = np.isnan(read.isel(head=0, frame=0)).sum("key")
    assert list(missing) == [lengths[1] - lengths[0], 0]
    music = read.isel(key=(read["part"] == "frame").values)
    assert (music.values[..., np.triu_indices(20, 1)[0], np.triu_indices(20, 1)[1]] == 0).all()
    with pytest.raises(ValueError, match="kind must be one of 'self'"):
        activations.attention(m, sung, 1, "cross")


def test_hooks_fire_for_prefix_and_music(m, sung):
    layer = m.lm.transformer.layers[1]
    parts = [layer, layer.self_attn, layer.linear1, m.lm.transformer, melody.of(m.lm)]
    for part in parts:
        fired = []
        handle = part.register_forward_hook(lambda *_, fired=fired: fired.append(1))
        try:
            m.cross_entropy(sung)
            assert fired
        finally:
            handle.remove()


# ----------------------------------------------------------------------------------------- methods
def test_patching(m):
    pair = ["a happy melody", "a calm melody"]
    clean, corrupted = (m.generate([prompt], **SHORT) for prompt in pair)
    sites = ["resid.*", "attn.*", "mlp.2", "head.1.0"]
    grid = causal.patch_grid(m, clean, corrupted, sites, ranges=2, progress=False)
    whole = causal.patch_grid(m, clean, corrupted, "resid.2", ranges=1, progress=False)
    assert float(whole[0, 0, 0]) == pytest.approx(1, abs=1e-3)
    # a patched site by an edit of the same values, for the second half
    held = activations.capture(m, clean.under([pair[0]]), "attn.1", progress=False)
    assert np.isfinite(grid).all() and held["attn.1"].shape == (1, 20, 32)
    guess = causal.patch_grid(
        m, clean, corrupted, sites, ranges=2, how="attribution", progress=False
    )
    assert np.corrcoef(grid.values.ravel(), guess.values.ravel())[0, 1] > 0.9
    paths = causal.paths(m, clean, corrupted, ["attn.1", "mlp.0"], progress=False)
    assert list(paths["receiver"].values)[:2] == ["attn.0", "mlp.0"]
    for refused in (causal.patch_grid, causal.paths):
        with pytest.raises(ValueError, match=r"no site 'cross.\*'. It reads text in front"):
            refused(m, clean, corrupted, progress=False)
    follows = m.generate([pair[0]], melody=tones(60), **SHORT)
    with pytest.raises(ValueError, match="follow a melody"):
        causal.patch_grid(m, follows, corrupted, "resid.1", progress=False)
    with pytest.raises(ValueError, match="follow a melody, and cannot be sung again"):
        causal.sing_cells(m, follows, [pair[1]], ["resid.1"], 1, progress=False)


def test_what_reads_music_alone_says_so(m, sung):
    neutral = ["music"] * 2
    for call in (
        lambda: lenses.cross_entropy(m, sung),
        lambda: next(iter(transcoders.recorded(m, sung))),
        lambda: distilling.train(m, sung, neutral, neutral, neutral, {"resid.1": 1.0}),
        lambda: rank_one.train(m, sung, sung, neutral, "resid.1", 1.0, "reft"),
    ):
        with pytest.raises(ValueError, match="follow a melody, and this reads prompts and music"):
            call()
    plain = m.clips(sung.tokens, sung.prompts)
    np.testing.assert_allclose(
        lenses.cross_entropy(m, plain)[-1], m.cross_entropy(plain), atol=1e-4
    )
    stores = [harvest.acts(m, some, "resid.1")["resid.1"].values for some in (sung, plain)]
    assert np.abs(stores[0] - stores[1]).max() > 0.01


def test_each_prompt_is_pushed_with_its_own_melody(m, sung):
    direction = steering.direction(m, ["happy music"], ["calm music"], "resid.1", seconds=0.4)
    melodies = np.stack([tones(60, 64), tones(67, 69)])
    how = {**SHORT, "melody": melodies}
    pushed = steering.generate(m, PROMPTS[:2], direction, [0.0, 0.3], **how)
    np.testing.assert_array_equal(pushed[0.0].tokens, sung.tokens)
    np.testing.assert_array_equal(pushed[0.3].chroma, sung.chroma)
    with pytest.raises(ValueError, match="several takes"):
        steering.generate(m, PROMPTS[:2], direction, [0.3], takes=2, **SHORT)


def test_sites(m):
    names = list(activations.sites(m, heads=True))
    assert not [name for name in names if "cross" in name]
    assert names[:5] == ["text", "cond", "embed", "head.0.0", "head.0.1"]
    assert activations.at(m, 1.0, "attn") == "attn.2"
    with pytest.raises(ValueError, match="kind must be one of"):
        activations.at(m, 0.5, "cross")


# ------------------------------------------------------------------------------------ clips, files
def test_clips_keep_their_melody(m, sung, tmp_path):
    sung.save(tmp_path / "clips")
    again = model.Clips.load(tmp_path / "clips")
    np.testing.assert_array_equal(again.chroma, sung.chroma)
    np.testing.assert_array_equal(sung[[1, 0, 1]].chroma, sung.chroma[[1, 0, 1]])
    kept = m.generate(PROMPTS[:1], melody=tones(60), keep=True, **SHORT)
    other = m.generate(PROMPTS[:1], melody=tones(66), keep=True, **SHORT)
    assert (kept.tokens != other.tokens).any()


def test_what_has_no_melody_says_so(m, miniature, sung):
    with pytest.raises(ValueError, match="reads no melody"):
        miniature.generate(["a melody"], melody=tones(60), **SHORT)
    with pytest.raises(ValueError, match="reads none: are they of another model"):
        activations.capture(miniature, sung, "resid.1")
    for wrong, message in (
        ({"melody": np.stack([tones(60)] * 3)}, "one for each of 2 prompts. Got 3"),
        ({"melody": np.full(RATE, np.nan)}, "melody holds NaN"),
        ({"melody_sample_rate": 8000}, "that of a melody, and there is none"),
    ):
        with pytest.raises(ValueError, match=message):
            m.generate(PROMPTS[:2], **wrong, **SHORT)


def test_size(m):
    lm = m.lm
    text = lm.condition_provider.conditioners["description"].dim
    shape = sizing.Shape(len(lm.transformer.layers), lm.dim, text_dim=text, melody=True)
    assert sizing.parameters(shape) == sum(p.numel() for p in lm.parameters())
    # the language model of facebook/musicgen-melody, by its name on the hub: 1.5 billion
    released_one = sizing.parameters(sizing.SHAPES["facebook/musicgen-melody"])
    assert released_one == pytest.approx(1.4e9, rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditioners": {"self_wav": {"model": "style"}}}, "through MERT"),
        ({"conditioners": {"genre": {"model": "lut"}}}, "is conditioned on .*'genre': 'lut'"),
        (
            {"conditioners": {"self_wav": {"chroma_stem": {"colour": 1}}}},
            "melody conditioner has settings that are not known",
        ),
        (
            {"fuser": {"prepend": ["description"], "sum": ["self_wav"]}},
            "conditions that are read",
        ),
    ],
)
def test_other_conditions_are_refused(melodious, tmp_path, change, message):
    copy = released.copied(melodious, tmp_path / "copy")
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    cfg = OmegaConf.merge(OmegaConf.create(package["xp.cfg"]), change)
    package["xp.cfg"] = OmegaConf.to_yaml(cfg)
    torch.save(package, copy / "state_dict.bin")
    with pytest.raises(model.ModelError, match=message):
        model.load(str(copy), "cpu")
