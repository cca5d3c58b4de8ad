"""Loading: the released format, and every way in which it can be wrong."""

import json
import os
import pickle
import time
from types import SimpleNamespace

import numpy as np
import pytest
import released
import safetensors.torch
import torch
import transformers
from omegaconf import OmegaConf
from released import copied

from lib import model
from lib.musicgen import loading, selfcheck


def test_released_format(folder):
    m = model.load(str(folder), "cpu")
    assert (m.sample_rate, m.frame_rate, m.max_seconds) == (32_000, 50.0, 30.0)
    clips = m.generate(["a happy melody", "a melody"], seconds=0.5, seed=0, progress=False)
    assert clips.tokens.shape == (2, 4, 25) and clips.audio.shape == (2, 16_000)
    assert m.encode(clips.audio, 32_000).shape == (2, 4, 25)
    # the weights are the file's: audiocraft's own T5 conditioner and projection, in the released
    # key layout
    saved = torch.load(folder / "state_dict.bin", weights_only=True)["best_state"]
    assert set(saved) == set(m.lm.state_dict())
    assert all(torch.equal(v.float(), m.lm.state_dict()[k]) for k, v in saved.items())
    alone = m.generate(["a melody"], seconds=0.5, seed=1, progress=False)
    assert np.array_equal(alone.tokens[0], clips.tokens[1])


@pytest.fixture
def training(folder, tmp_path):
    """The same model as audiocraft's trainer writes it, with all else that is in such a file."""
    copy = copied(folder, tmp_path / "experiment")
    state = torch.load(copy / "state_dict.bin", weights_only=False)
    package = {
        "best_state": {"model": state["best_state"]},
        "fsdp_best_state": {},
        "xp.cfg": OmegaConf.create(state["xp.cfg"]),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]},
        "history": [{"train": {"ce": 4.1}}],
    }
    for file in loading.FILES:
        (copy / file).unlink()
    return copy, package


def test_a_training_checkpoint_is_what_is_exported_from_it(training, folder):
    copy, package = training
    torch.save(package, copy / loading.TRAINING)
    exported = model.load(str(folder), "cpu").identity(audio=True)
    assert model.load(str(copy), "cpu").identity(audio=True) == exported
    # as fully sharded training keeps them
    best = package["best_state"]
    torch.save({**package, "best_state": {}, "fsdp_best_state": best}, copy / loading.TRAINING)
    assert model.load(str(copy), "cpu").identity(audio=True) == exported


def test_training_checkpoints_that_cannot_be_read(training):
    copy, package = training
    for change, message in (
        ({"best_state": {}}, "written before the first validation"),
        ({"best_state": Malicious()}, "holds more than weights"),
        ({"xp.cfg": {"compression_model_checkpoint": "/tmp/own.th"}}, "is not on the hub"),
    ):
        torch.save({**package, **change}, copy / loading.TRAINING)
        with pytest.raises(model.ModelError, match=message):
            model.load(str(copy), "cpu")


def test_audiogen(tmp_path):
    m = model.load(str(released.write_audiogen(tmp_path)), "cpu")
    assert (m.sample_rate, m.frame_rate, m.max_seconds) == (16_000, 50.0, 10.0)
    clips = m.generate(["a happy melody"], 0.4, progress=False)
    assert clips.audio.shape == (1, 6400) and np.abs(clips.audio).max() > 0
    assert m.encode(clips.audio, 16_000).shape == clips.tokens.shape


def test_a_folder_in_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert model.load(f"~/{folder.name}", "cpu").name == str(folder)


def test_unknown_model_lists_what_there_is():
    with pytest.raises(model.ModelError, match=r"organism-decoupled.*facebook/musicgen-small"):
        model.load("facebook/musicgen-tiny")
    with pytest.raises(model.ModelError, match="Style checkpoints read music through MERT"):
        model.load("facebook/musicgen-style")
    with pytest.raises(model.ModelError, match="device must be one of"):
        model.load("organism", device="tpu")


@pytest.mark.parametrize("file", loading.FILES)
def test_folder_that_lacks_a_file(folder, tmp_path, file):
    for other in set(loading.FILES) - {file}:
        (tmp_path / other).write_bytes((folder / other).read_bytes())
    with pytest.raises(model.ModelError, match=f"lacks {file}"):
        model.load(str(tmp_path))


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("file", loading.FILES)
def test_damaged_and_malicious_checkpoints_are_refused(folder, tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    copy = copied(folder, tmp_path / "copy")
    for content in (
        b"",
        (folder / file).read_bytes()[:500],
        pickle.dumps({"best_state": Malicious()}),
    ):
        (copy / file).write_bytes(content)
        with pytest.raises(
            model.ModelError, match=f"{file} is damaged, or holds more than weights"
        ):
            model.load(str(copy))
    torch.save({"best_state": Malicious(), "xp.cfg": ""}, copy / file)
    with pytest.raises(model.ModelError, match="could run code"):
        model.load(str(copy))
    assert not (tmp_path / "owned").exists()


def test_checkpoint_that_is_none(folder, tmp_path):
    copy = copied(folder, tmp_path)
    torch.save({"weights": torch.zeros(1)}, copy / "state_dict.bin")
    with pytest.raises(model.ModelError, match="best_state"):
        model.load(str(copy))


def test_weights_that_do_not_fit(folder, tmp_path):
    copy = copied(folder, tmp_path)
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    package["xp.cfg"] = package["xp.cfg"].replace("num_layers: 3", "num_layers: 4")
    torch.save(package, copy / "state_dict.bin")
    with pytest.raises(model.ModelError, match="does not fit its own configuration"):
        model.load(str(copy))


def test_no_connection(monkeypatch, folder, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(model.ModelError, match="could not be fetched from the Hugging Face hub"):
        model.load("facebook/musicgen-small")
    for missing, name in (("t5-base", "t5-base"), ("facebook", "facebook/encodec_32khz")):
        copy = copied(folder, tmp_path / missing)
        (copy / missing).rename(tmp_path / f"away-{missing}")
        with pytest.raises(model.ModelError, match=f"{name} could not be fetched"):
            model.load(str(copy))


def test_a_model_from_the_hub_has_the_revision_that_was_fetched(monkeypatch, folder, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    for name, file in (("owner--one", "state_dict.bin"), ("owner--other", "config.json")):
        place = tmp_path / f"models--{name}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(commit)
        (place / "snapshots" / commit).mkdir(parents=True)
        (place / "snapshots" / commit / file).write_text("{}")
        assert loading.revision(name.replace("--", "/")) == commit
    for elsewhere in ("owner/third", "organism", str(folder)):
        assert loading.revision(elsewhere) is None


def test_a_codec_that_does_not_belong_to_the_model(folder, tmp_path):
    copy = copied(folder, tmp_path)
    (copy / "compression_state_dict.bin").write_bytes((copy / "state_dict.bin").read_bytes())
    with pytest.raises(
        model.ModelError,
        match=r"compression_state_dict.bin is no compression checkpoint.*compression_model",
    ):
        model.load(str(copy))
    reference = {"pretrained": "facebook/encodec_32khz"}
    torch.save(reference, copy / "compression_state_dict.bin")
    config = transformers.EncodecConfig.from_pretrained(copy / "facebook" / "encodec_32khz")
    config.codebook_size = 1024
    config.target_bandwidths = [2.0]
    transformers.EncodecModel(config).save_pretrained(copy / "facebook" / "encodec_32khz")
    with pytest.raises(
        model.ModelError, match=r"4 codebooks of 1024 tokens, its language model 4 of 2048"
    ):
        model.load(str(copy))


T5, CODEC = "t5-base", "facebook/encodec_32khz"


def without(part):
    return lambda weights: {name: w for name, w in weights.items() if part not in name}


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (T5, "block.1"),
        (T5, "shared"),
        (CODEC, "encoder"),
        (CODEC, "quantizer"),
        (CODEC, "lstm"),
        (CODEC, "codebook.embed"),
    ],
)
def test_weights_that_a_part_lacks_are_named(folder, tmp_path, part, lost):
    # a long path stands in what is said, twice, and must not push the cause out of it
    copy = copied(folder, tmp_path / "a folder with a long name" / "and another in it")
    released.reweigh(copy / part, without(lost))
    with pytest.raises(model.ModelError, match=rf"{part} .*missing_keys.*{lost}"):
        model.load(str(copy), "cpu")


@pytest.mark.parametrize(("layers", "told"), [(3, r"missing_keys.*block\.2"), (1, "unexpected")])
def test_a_text_encoder_of_another_depth(folder, tmp_path, layers, told):
    copy = copied(folder, tmp_path)
    file = copy / T5 / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_layers": layers}))
    with pytest.raises(model.ModelError, match=f"t5-base are not those .*{told}"):
        model.load(str(copy), "cpu")


def test_parts_as_they_lie_on_the_hub(folder, tmp_path):
    """A whole T5, whose table has a second name, and a codec with the older names of weights."""
    copy = copied(folder, tmp_path)

    def whole(weights):
        weights["encoder.embed_tokens.weight"] = weights["shared.weight"].clone()
        others = ("decoder.block.0.layer.0.SelfAttention.q.weight", "lm_head.weight")
        return weights | {name: torch.zeros(2, 2) for name in others}

    def older(weights):
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            new = f"parametrizations.weight.{new}"
            weights = {name.replace(new, old): w for name, w in weights.items()}
        return weights

    released.reweigh(copy / T5, whole)
    released.reweigh(copy / CODEC, older)
    own = model.load(str(folder), "cpu").identity(audio=True)
    assert model.load(str(copy), "cpu").identity(audio=True) == own
    for part in (T5, CODEC):
        file = copy / part / "model.safetensors"
        torch.save(safetensors.torch.load_file(file), file.with_name("pytorch_model.bin"))
        file.unlink()
    assert model.load(str(copy), "cpu").identity(audio=True) == own


@pytest.mark.parametrize("part", [T5, CODEC])
def test_damaged_parts(folder, tmp_path, part):
    copy = copied(folder, tmp_path)
    file = copy / part / "model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(model.ModelError, match=f"{part} cannot be read: .*header"):
        model.load(str(copy), "cpu")
    (copy / part / "config.json").write_text("[]")
    with pytest.raises(model.ModelError, match=rf"{part} is no"):
        model.load(str(copy), "cpu")


def test_a_codec_of_another_rate_or_other_channels(folder, tmp_path):
    slow = released.write_audiogen(tmp_path / "audiogen")
    codec = (slow / "compression_state_dict.bin").read_bytes()
    torch.save({"pretrained": CODEC}, slow / "compression_state_dict.bin")
    with pytest.raises(model.ModelError, match=r"sample_rate 32000, .* 16000: they do not belong"):
        model.load(str(slow), "cpu")
    copy = copied(folder, tmp_path / "copy")
    released.reconfigure(copy, channels=2)
    with pytest.raises(model.ModelError, match=r"channels 1, .* 2: they do not belong"):
        model.load(str(copy), "cpu")
    released.reconfigure(copy, channels=1)
    (copy / "compression_state_dict.bin").write_bytes(codec)
    with pytest.raises(model.ModelError, match=r"sample_rate 16000, .* 32000: they do not belong"):
        model.load(str(copy), "cpu")


def test_stereo_in_audiocrafts_format(folder, tmp_path):
    """A codec of one channel reads both, one after the other."""
    copy = copied(folder, tmp_path)
    stereo = {"use": True, "per_timestep": False}
    delays = [0, 0, 1, 1, 2, 2, 3, 3]
    released.reconfigure(
        copy,
        channels=2,
        interleave_stereo_codebooks=stereo,
        transformer_lm__n_q=8,
        codebooks_pattern__delay__delays=delays,
    )
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    state = package["best_state"]
    for name in list(state):
        kind, _, rest = name.partition(".")
        if kind in ("emb", "linears"):
            number, _, what = rest.partition(".")
            state[f"{kind}.{int(number) + 4}.{what}"] = state[name]
    torch.save(package, copy / "state_dict.bin")
    stereo = model.load(str(copy), "cpu")
    assert stereo.codec.channels == 2 and stereo.lm.n_q == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codebooks_pattern__delay__delays": [0, 1, 2]}, "delays .* must be 4 integers"),
        ({"codebooks_pattern__delay__delays": [0, 2, 1, 3]}, "delays .* must be 4 integers"),
        ({"codebooks_pattern__delay__delays": [0, 1, 2, "a"]}, "each of .*delays .* an integer"),
        ({"codebooks_pattern__delay__flatten_first": 2}, "flatten_first .* must be one of 0"),
        ({"codebooks_pattern__modeling": "unroll"}, "modeling .* 'parallel'. Got 'unroll'"),
        ({"transformer_lm__n_q": 8}, "delays .* must be 8 integers"),
        ({"transformer_lm__num_heads": 5}, "num_heads .* a divisor of the width, 32. Got 5"),
        ({"transformer_lm": None}, "transformer_lm.dim .* must be an integer"),
        ({"dataset__segment_duration": None}, "segment_duration .* must be a number above 0"),
        ({"dataset__segment_duration": "${nowhere}"}, "state_dict.bin is damaged: Interpolation"),
        ({"conditioners__description": {"model": "t5"}}, "name of a text encoder. Got None"),
        ({"conditioners__description__t5": {}}, "name of a text encoder. Got None"),
        ({"conditioners__description__t5__name": 3}, "name of a text encoder. Got 3"),
        ({"conditioners": [1]}, "conditioners in .* must be what the model is conditioned on"),
    ],
)
def test_configurations_that_no_model_has(folder, tmp_path, settings, message):
    copy = copied(folder, tmp_path)
    released.reconfigure(copy, **settings)
    with pytest.raises(model.ModelError, match=message):
        model.load(str(copy), "cpu")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (loading.FILES[0], {"xp.cfg": 3}, "xp.cfg in .* must be a configuration by names. Got 3"),
        (loading.FILES[0], {"xp.cfg": None}, "must be a configuration by names"),
        (loading.FILES[0], {"xp.cfg": [1]}, "must be a configuration by names"),
        (loading.FILES[0], {"best_state": [1]}, "best_state in .* must be weights by their names"),
        (loading.FILES[1], {"xp.cfg": 3, "best_state": {}}, "compression.* by names. Got 3"),
        (loading.FILES[1], {"xp.cfg": [1], "best_state": {}}, "compression.* by names"),
        (loading.FILES[1], {"pretrained": None}, "must be the name of a codec. Got None"),
        (loading.FILES[1], {"pretrained": 3}, "must be the name of a codec. Got 3"),
    ],
)
def test_packages_that_hold_something_else(folder, tmp_path, file, change, message):
    copy = copied(folder, tmp_path)
    package = torch.load(copy / file, weights_only=True)
    if "pretrained" not in change:
        package.pop("pretrained", None)
    torch.save({**package, **change}, copy / file)
    with pytest.raises(model.ModelError, match=message):
        model.load(str(copy), "cpu")


def test_a_text_encoder_without_its_tokenizer(folder, tmp_path):
    copy = copied(folder, tmp_path)
    for file in ("tokenizer.json", "spiece.model"):
        (copy / "t5-base" / file).unlink(missing_ok=True)
    with pytest.raises(model.ModelError, match="holds no tokenizer"):
        model.load(str(copy))


def renamed(folder, tmp_path, name):
    copy = copied(folder, tmp_path)
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    package["xp.cfg"] = package["xp.cfg"].replace("name: t5-base", f"name: {name}")
    torch.save(package, copy / "state_dict.bin")
    return copy


def test_names_of_the_text_encoder(folder, tmp_path):
    assert model.load(str(renamed(folder, tmp_path / "a", "google-t5/t5-base")), "cpu").lm.dim == 32
    with pytest.raises(model.ModelError, match=r"one of t5-small, .* Got 'google/byt5-small'"):
        model.load(str(renamed(folder, tmp_path / "b", "google/byt5-small")))


def test_a_configuration_saved_as_an_object(folder, tmp_path):
    copy = copied(folder, tmp_path)
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    package["xp.cfg"] = OmegaConf.create(package["xp.cfg"])
    torch.save(package, copy / "state_dict.bin")
    assert model.load(str(copy), "cpu").lm.dim == 32


def test_without_a_network_it_is_said_at_once(folder, tmp_path, monkeypatch):
    copy = copied(folder, tmp_path / "copy")
    (copy / "t5-base").rename(tmp_path / "away")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(model.ModelError, match="t5-base could not be fetched"):
        model.load(str(copy))
    assert time.monotonic() - start < 60


def test_a_network_that_comes_later_is_found(monkeypatch):
    happens = iter([OSError("no network"), None])

    def head(address, timeout):
        if error := next(happens):
            raise error

    session = SimpleNamespace(head=head)
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: session)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://later.invalid")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    # that it is there is remembered
    assert [loading.hub_answers() for _ in range(3)] == [False, True, True]


def test_a_device_that_is_not_there():
    for device in ("cuda:7", "gpu", "xpu", "cpu:1"):
        with pytest.raises(model.ModelError, match="device must be one of"):
            model.load("organism", device=device)


def test_a_device_by_its_index_alone(monkeypatch):
    def cuda(index):
        return torch.device("cuda", index)

    module = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
    there = SimpleNamespace(device=cuda, get_device_module=lambda kind: module)
    monkeypatch.setattr(loading, "torch", there)
    assert loading._check_device(1) == "cuda:1"
    with pytest.raises(model.ModelError, match=r"device must be one of .*Got 2\."):
        loading._check_device(2)
    monkeypatch.undo()
    with pytest.raises(model.ModelError, match=r"device must be one of .*Got 99\."):
        model.load("organism", device=99)


def never(state):
    state["linears.0.weight"].fill_(float("nan"))


def deaf(state):
    for name in state:
        if "cross_attention.out_proj" in name:
            state[name].zero_()


@pytest.mark.parametrize(
    ("damage", "message"),
    [(never, "predictions are not numbers"), (deaf, "whatever the text says")],
)
def test_a_model_that_does_not_work_is_refused(folder, tmp_path, damage, message):
    copy = copied(folder, tmp_path / "copy")
    package = torch.load(copy / "state_dict.bin", weights_only=True)
    damage(package["best_state"])
    torch.save(package, copy / "state_dict.bin")
    with pytest.raises(model.ModelError, match=message):
        model.load(str(copy), "cpu")


def test_what_a_look_at_a_model_finds(miniature, monkeypatch):
    selfcheck.examine(miniature)
    monkeypatch.setattr(
        miniature, "decode", lambda tokens: np.zeros((len(tokens), 640), np.float32)
    )
    with pytest.raises(ValueError, match="plays silence"):
        selfcheck.examine(miniature)
    monkeypatch.undo()
    tokens = miniature.sing

    def other(*arguments, **settings):
        return (tokens(*arguments, **settings) + 1) % miniature.lm.card

    monkeypatch.setattr(miniature, "sing", other)
    with pytest.raises(ValueError, match="does not predict what it sang"):
        selfcheck.examine(miniature)
