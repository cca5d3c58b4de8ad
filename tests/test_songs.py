"""Songs longer than the model's limit, window by window, and several takes of a prompt."""

import numpy as np
import pytest
import torch

from lib import activations, model
from lib.musicgen.compat import audiocraft

Attributes = audiocraft.modules.conditioners.ConditioningAttributes
LIMIT = 0.8


@pytest.fixture(scope="module")
def short(organism):
    """The organism, as if it read 0.8 s at once."""
    lm, codec = organism.lm, organism.codec
    return model.Model("organism", lm, codec, "cpu", LIMIT, organism.defaults)


@pytest.mark.parametrize(("seconds", "stride"), [(2.0, 0.48), (1.4, 0.2), (1.6, 0.76)])
@pytest.mark.parametrize("begun", [0.0, 0.4])
def test_windows_are_audiocraft_s_own(short, seconds, stride, begun):
    prompts = ["sad music", "a happy melody"]
    given = short.generate(prompts, begun, 5, progress=False) if begun else None
    song = short.generate(
        prompts,
        seconds,
        temperature=0,
        stride=stride,
        prompt_audio=None if given is None else given.audio,
        progress=False,
    )
    theirs = audiocraft.models.MusicGen("organism", short.codec, short.lm, 30)
    theirs.max_duration = LIMIT
    theirs.set_generation_params(
        use_sampling=False,
        duration=seconds,
        cfg_coef=short.defaults["cfg"],
        extend_stride=stride,
    )
    start = None if given is None else short.encode(given.audio, given.sample_rate)
    for i, prompt in enumerate(prompts):  # side by side they would see each other's padding
        attributes, _ = theirs._prepare_tokens_and_attributes([prompt], None)
        read = None if start is None else torch.from_numpy(start[i : i + 1])
        wanted = theirs._generate_tokens(attributes, read)[0].numpy()
        np.testing.assert_array_equal(song.tokens[i], wanted)
    assert song.tokens.shape[-1] == round(seconds * 25) and song.settings["stride"] == stride


def test_long_songs_have_random_numbers_of_their_own(short):
    how = {"seconds": 2.0, "stride": 0.4, "progress": False}
    both = short.generate(["sad music", "a happy melody in a major key"], seed=3, **how)
    alone = short.generate(["a happy melody in a major key"], seed=4, **how)
    np.testing.assert_array_equal(both.tokens[1], alone.tokens[0])
    assert both.audio.shape == (2, 32_000)
    within = short.generate(["sad music"], LIMIT, 3, progress=False)
    np.testing.assert_array_equal(both.tokens[:1, :, :20], within.tokens)
    windows = both.tokens[0].reshape(4, 5, 10)  # none repeats another
    assert len({windows[:, k].tobytes() for k in range(5)}) == 5
    kept = short.generate(["sad music"], seed=3, keep=True, **how)
    np.testing.assert_array_equal(kept.tokens, both.tokens[:1])
    unneeded = short.generate(["sad music"], LIMIT, 3, stride=0.4, progress=False)
    np.testing.assert_array_equal(unneeded.tokens, within.tokens)
    assert unneeded.settings == within.settings


def test_long_songs_are_no_single_pass(short):
    song = short.generate(["sad music"], 1.2, stride=0.4, progress=False)
    for read in (
        lambda: activations.capture(short, song, "resid.1"),
        lambda: activations.capture(short, song, "resid.1", how="live"),
        lambda: short.cross_entropy(song),
    ):
        with pytest.raises(ValueError, match=r"reads 0.8 s at once. Look at a part"):
            read()
    part = short.clips(song.tokens[..., 10:], song.prompts)
    assert activations.capture(short, part, "resid.1", progress=False).sizes["frame"] == 20
    always = activations.Edit("resid.2", add=5 * np.sin(np.arange(160)))
    with activations.edit(short, always):
        moved = short.generate(["sad music"], 1.2, stride=0.4, progress=False)
    assert (moved.tokens[..., 20:] != song.tokens[..., 20:]).any()
    for along in ({"frames": [3]}, {"scale": np.ones((1, 30))}):
        edit = activations.Edit("resid.2", add=np.ones(160), **along)
        with (
            activations.edit(short, edit),
            pytest.raises(ValueError, match="changes along the frames"),
        ):
            short.generate(["sad music"], 1.2, stride=0.4, progress=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "give generate a stride"),
        ({"stride": LIMIT}, "stride must be a number in"),
        ({"stride": 0.01}, "stride must be a number in"),
        ({"stride": 0.4, "prompt_audio": 0.1 * np.ones(12_800)}, "less than 0.8 of it"),
    ],
)
def test_windows_that_cannot_be(short, wrong, message):
    with pytest.raises(ValueError, match=message):
        short.generate(["sad music"], 2.0, progress=False, **wrong)


def test_takes(organism):
    how = {"seconds": 0.4, "progress": False}
    prompts = ["sad music", "a happy melody"]
    clips = organism.generate(prompts, seed=7, takes=3, beside=["a", "b"], **how)
    assert clips.prompts == [prompts[0]] * 3 + [prompts[1]] * 3
    assert clips.seeds == [7, 8, 9, 10, 11, 12]
    assert len({tokens.tobytes() for tokens in clips.tokens}) == 6
    one = organism.generate(prompts[1:], seed=11, **how)
    np.testing.assert_array_equal(one.tokens[0], clips.tokens[4])
    same = organism.generate(prompts, seed=[1, 2, 1, 2], takes=2, **how)  # paired over prompts
    assert same.seeds == [1, 2, 1, 2]
    beginnings = organism.generate(prompts, **how)
    going_on = organism.generate(
        prompts, seconds=0.8, takes=2, prompt_audio=beginnings.audio, progress=False
    )
    start = organism.encode(beginnings.audio, beginnings.sample_rate)
    np.testing.assert_array_equal(going_on.tokens[..., :10], start[[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="another one for each of 2 takes"):
        organism.generate(prompts, seed=[1, 2, 3, 3], takes=2, **how)
    with pytest.raises(ValueError, match=r"each of 4 clips \(2 takes"):
        organism.generate(prompts, seed=[1, 2], takes=2, **how)
    with pytest.raises(ValueError, match="takes must be"):
        organism.generate(prompts, takes=0, **how)
