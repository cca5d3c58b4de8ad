"""MusicGens as ``transformers`` saves them: the same logits, and every way in which one is wrong."""

import importlib.util
import json
import os
import warnings

import numpy as np
import pytest
import released
import safetensors.torch
import torch
import transformers

from lib import model
from lib.musicgen.compat import audiocraft

Attributes = audiocraft.modules.conditioners.ConditioningAttributes
#: Kinds of models: channels of sound, and width (24 is that of the text encoder).
KINDS = {"mono": (1, 32), "stereo": (2, 32), "without projection": (1, 24)}


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    channels, dim = KINDS[request.param]
    folder = tmp_path_factory.mktemp("saved")
    return released.write_transformers(folder, channels, dim)


@pytest.fixture(scope="module")
def mono(tmp_path_factory):
    return released.write_transformers(tmp_path_factory.mktemp("mono"))


@pytest.fixture(scope="module")
def melodic(tmp_path_factory):
    return released.write_transformers(tmp_path_factory.mktemp("melodic"), melody=True)


def test_logits_are_those_of_transformers(saved):
    theirs = transformers.MusicgenForConditionalGeneration.from_pretrained(saved).eval()
    ours = model.load(str(saved), "cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved)
    for text in ("a happy melody", "a melody"):
        read = tokenizer([text], return_tensors="pt")
        codes = torch.randint(0, ours.lm.card, (1, ours.lm.n_q, 9))
        attributes = [Attributes(text={"description": text})]
        with torch.no_grad():
            wanted = theirs(**read, decoder_input_ids=codes[0]).logits
            provider = ours.lm.condition_provider
            found = ours.lm(codes, [], provider(provider.tokenize(attributes)))
        torch.testing.assert_close(found[0], wanted, atol=1e-5, rtol=0)
        assert wanted.std() > 0.01


def test_greedy_songs_are_those_of_transformers(saved):
    theirs = transformers.MusicgenForConditionalGeneration.from_pretrained(saved).eval()
    ours = model.load(str(saved), "cpu")
    assert ours.defaults["cfg"] == 2.5 and ours.max_seconds == 30
    read = transformers.AutoTokenizer.from_pretrained(saved)(
        ["a happy melody"], return_tensors="pt"
    )
    clips = ours.generate(["a happy melody"], seconds=0.4, top_k=1, progress=False)
    with torch.no_grad():
        audio = theirs.generate(
            **read, do_sample=False, guidance_scale=2.5, max_new_tokens=20 + ours.lm.n_q
        )
    # their song goes on, which its last frames hear
    heard = clips.audio.shape[-1] - 2 * 640
    wanted = audio[0].numpy()[..., :heard]
    np.testing.assert_allclose(np.atleast_2d(clips.audio[0])[..., :heard], wanted, atol=1e-4)
    assert wanted.std() > 0.01


def test_shards_and_half_precision(mono, tmp_path):
    whole = model.load(str(mono), "cpu")
    parts = released.write_transformers(tmp_path / "parts", max_shard_size="60KB")
    assert len(list(parts.glob("*.safetensors"))) > 2
    sharded = model.load(str(parts), "cpu")
    assert sharded.identity(audio=True) == whole.identity(audio=True)
    half = model.load(str(mono), "cpu", "bfloat16")
    assert half.lm.transformer.layers[0].linear1.weight.dtype == torch.bfloat16
    assert half.fingerprint != whole.fingerprint
    clips = whole.generate(["a melody"], seconds=0.4, progress=False)
    again = half.clips(clips.tokens, ["a melody"], decode=False)
    np.testing.assert_allclose(half.cross_entropy(again), whole.cross_entropy(clips), rtol=0.02)
    with pytest.raises(ValueError, match="dtype must be"):
        model.load(str(mono), "cpu", "int8")


def damaged(folder, name, change):
    """Change the JSON in a file."""
    told = json.loads((folder / name).read_text())
    change(told)
    (folder / name).write_text(json.dumps(told))


def lose(name):
    return lambda folder: (folder / name).unlink()


def turn(**settings):
    return lambda folder: damaged(folder, "config.json", lambda told: told.update(settings))


def widen(folder):
    damaged(folder, "config.json", lambda told: told["decoder"].update(num_hidden_layers=4))


def scramble(folder):
    (folder / "model.safetensors").write_bytes(b"no weights")


def foreign(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def turn_decoder(**settings):
    return lambda folder: damaged(folder, "config.json", lambda c: c["decoder"].update(settings))


def guide(scale):
    how = {"guidance_scale": scale}
    return lambda folder: damaged(folder, "generation_config.json", lambda c: c.update(how))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (turn_decoder(audio_channels=0), "got 0 channels"),
        (turn_decoder(audio_channels=4), "got 4 channels"),
        (turn_decoder(num_codebooks=0), "num_codebooks of the decoder must be an integer, 1"),
        (turn_decoder(vocab_size=None), "Field 'vocab_size' expected int"),
        (turn_decoder(activation_function="silu"), "activation_function .* Got 'silu'"),
        (turn_decoder(activation_function="gelu_new"), "activation_function .* Got 'gelu_new'"),
        (turn(decoder=[]), r"lacks \['decoder'\]"),
        (guide([3]), r"guidance_scale in .* must be a number in \[0, 100\]. Got \[3\]"),
        (guide(-1), r"guidance_scale in .* must be a number in \[0, 100\]. Got -1"),
        (lose("tokenizer.json"), "holds no tokenizer"),
        (lose("model.safetensors"), "holds no weights"),
        (foreign, "can run code and are not read"),
        (turn(model_type="t5"), "model_type 't5'. Expected one of"),
        (turn(model_type="musicgen_melody"), "not those that its config.json describes"),
        (lambda folder: damaged(folder, "config.json", lambda c: c.pop("decoder")), "lacks"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (widen, "not those that its config.json describes"),
        (scramble, "is damaged"),
        (
            lambda folder: (folder / "tokenizer.json").write_text("{}"),
            "tokenizer in .* cannot be read",
        ),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no JSON object"),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text("{}"),
            "names no shards",
        ),
    ],
)
def test_what_is_wrong_is_said(mono, tmp_path, damage, message):
    folder = released.copied(mono, tmp_path / "copy")
    damage(folder)
    with pytest.raises(model.ModelError, match=message):
        model.load(str(folder), "cpu")


@pytest.mark.parametrize("told", [{"n_fft": None}, {"n_fft": 0}, {"hop_length": 4.5}])
def test_settings_of_a_melody_that_are_no_numbers(melodic, tmp_path, told):
    folder = released.copied(melodic, tmp_path / "copy")
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    with pytest.raises(model.ModelError, match=f"{next(iter(told))} in .* must be an integer"):
        model.load(str(folder), "cpu")


def test_a_missing_shard_is_named(tmp_path):
    folder = released.write_transformers(tmp_path, max_shard_size="60KB")
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(model.ModelError, match=gone.name):
        model.load(str(folder), "cpu")


def test_a_bare_name_suggests_the_whole_one():
    with pytest.raises(model.ModelError, match="Did you mean 'facebook/musicgen-small'"):
        model.load("musicgen-small")


# ----------------------------------------------------------------------------------------- adapters
def named(base):
    return {"base_model_name_or_path": base}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(named(["a"])), r"base_model_name_or_path in .* Got \['a'\]"),
        (lambda c: c.clear(), "names no peft_type: it is no adapter's configuration"),
        (lambda c: c.update(r="a"), r"does not fit this model, but that .*\(/.*: '<=' not"),
        (lambda c: c.update(named(None), r=0), "does not fit this model: `r` should be"),
    ],
)
def test_configurations_of_no_adapter(mono, adapter, tmp_path, change, message):
    folder = released.copied(adapter[0], tmp_path / "copy")
    damaged(folder, "adapter_config.json", change)
    with pytest.raises(model.ModelError, match=message):
        model.load(str(mono), "cpu", adapter=folder)


def test_a_damaged_adapter(mono, adapter, tmp_path):
    folder = released.copied(adapter[0], tmp_path / "copy")
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(model.ModelError, match=r"adapter_model.safetensors is damaged \(.*header"):
        model.load(str(mono), "cpu", adapter=folder)


def test_an_adapter_on_another_model_than_its_own(mono, adapter, tmp_path):
    folder = released.copied(adapter[0], tmp_path / "copy")
    stereo = released.write_transformers(tmp_path / "stereo", channels=2)
    with pytest.warns(UserWarning, match=f"was trained on {mono}, not on {stereo}"):
        model.load(str(stereo), "cpu", adapter=folder)
    for same in (f"{mono}/", f"/gone/{mono.name}", None):  # it may have been moved here
        damaged(folder, "adapter_config.json", lambda c: c.update(named(same)))  # noqa: B023
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*was trained on")
            model.load(str(mono), "cpu", adapter=folder)


@pytest.fixture(scope="module")
def adapter(mono, tmp_path_factory):
    """A LoRA adapter with random weights, and the model with it, by PEFT."""
    folder = tmp_path_factory.mktemp("adapter")
    return folder, released.write_adapter(folder, mono)


def test_an_adapter_is_added(mono, adapter):
    folder, theirs = adapter
    ours = model.load(str(mono), "cpu", adapter=folder)
    assert str(folder) in ours.name
    assert ours.fingerprint != model.load(str(mono), "cpu").fingerprint
    tokenizer = transformers.AutoTokenizer.from_pretrained(mono)
    codes = torch.randint(0, ours.lm.card, (1, ours.lm.n_q, 9))
    with torch.no_grad():
        read = tokenizer(["a happy melody"], return_tensors="pt")
        wanted = theirs(**read, decoder_input_ids=codes[0]).logits
        provider = ours.lm.condition_provider
        attributes = [Attributes(text={"description": "a happy melody"})]
        found = ours.lm(codes, [], provider(provider.tokenize(attributes)))
    torch.testing.assert_close(found[0], wanted, atol=1e-4, rtol=0)


def test_a_model_with_an_adapter_is_named_by_where_both_lie(mono, adapter, monkeypatch):
    monkeypatch.chdir(mono.parent)
    beside = os.path.relpath(adapter[0])
    adapted = model.load(mono.name, "cpu", adapter=beside)
    assert adapted.name == f"{mono} + {adapter[0]}"
    assert adapted.adapted == (str(mono), str(adapter[0]))


def test_an_adapter_of_a_deeper_model(mono, adapter, tmp_path):
    """Its shapes fit, and PEFT itself leaves out what has no place."""
    folder = released.copied(adapter[0], tmp_path / "deeper")
    weights = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    deeper = {name.replace(".layers.2.", ".layers.3."): w.clone() for name, w in weights.items()}
    safetensors.torch.save_file({**deeper, **weights}, folder / "adapter_model.safetensors")
    with pytest.raises(
        model.ModelError, match=r"does not fit this model.*have no place.*layers\.3"
    ):
        model.load(str(mono), "cpu", adapter=folder)


def test_an_adapter_that_does_not_fit(mono, adapter, folder, tmp_path, monkeypatch):
    audiocrafts = folder
    folder, _ = adapter
    wider = released.write_transformers(tmp_path / "wider", dim=64)
    with pytest.raises(model.ModelError, match=r"does not fit this model, .*size mismatch"):
        model.load(str(wider), "cpu", adapter=folder)
    elsewhere = released.copied(folder, tmp_path / "elsewhere")
    damaged(elsewhere, "adapter_config.json", lambda c: c.update(target_modules=["nowhere"]))
    with pytest.raises(model.ModelError, match="does not fit this model"):
        model.load(str(mono), "cpu", adapter=elsewhere)
    with pytest.raises(model.ModelError, match="is not in the format of transformers"):
        model.load(str(audiocrafts), "cpu", adapter=folder)
    other = released.copied(folder, tmp_path / "other")
    damaged(
        other,
        "adapter_config.json",
        lambda c: c.update(base_model_name_or_path="facebook/musicgen-stereo-small"),
    )
    with pytest.raises(model.ModelError, match="trained on facebook/musicgen-stereo-small, not on"):
        model.load("facebook/musicgen-small", "cpu", adapter=other)
    with pytest.raises(model.ModelError, match="lacks adapter_config"):
        model.load(str(mono), "cpu", adapter=tmp_path)
    with pytest.raises(model.ModelError, match="organism takes no adapter"):
        model.load("organism", adapter=folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(model.ModelError, match="pip install peft"):
        model.load(str(mono), "cpu", adapter=folder)
