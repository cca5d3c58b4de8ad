"""The networks of the organisms, and the factory that trains them."""

import itertools
import json
import shutil

import numpy as np
import pytest
import torch

from lib import cache
from lib.factory import __main__ as main
from lib.factory import codec, corpora, language, muon, plan, training
from lib.factory.plan import Batch, Round
from lib.musicgen import forward, miniature
from lib.organism import captions, corpus, world


# ---------------------------------------------------------------------------------------- miniature
def test_codec_keeps_length_and_rejects_too_few_vectors():
    model = miniature.build_codec()
    audio = torch.randn(2, 1, 16_000) * 0.1
    assert model.decoder(model.encoder(audio)).shape == (2, 1, 16_000)
    assert model.encoder(audio).shape[-1] == model.frame_rate == 25
    with pytest.raises(ValueError, match="10240"):
        codec.init_codebooks(model, np.zeros((100, 64), np.float32))


def test_inverse_stft_is_exact():
    """The decoder's own inverse STFT returns the signal that the encoder's framing was of."""
    decoder = miniature.SpectralDecoder(miniature.CODEC_CONFIG)
    x = torch.randn(1, 6400)
    margin = (decoder.n_fft - decoder.hop) // 2
    padded = torch.nn.functional.pad(x, (margin, margin))
    spectrum = torch.stft(
        padded,
        decoder.n_fft,
        decoder.hop,
        window=decoder.window,
        center=False,
        return_complex=True,
    )
    back = decoder._istft(spectrum)
    assert torch.allclose(back[:, margin:-margin], x[:, margin:-margin], atol=1e-4)


def damage(folder, how):
    if how == "weights missing":
        (folder / "model.safetensors").unlink()
    elif how == "weights cut":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 3])
    elif how == "configuration damaged":
        (folder / "config.json").write_text("{")
    elif how == "tokenizer missing":
        (folder / "text" / "tokenizer.json").unlink()
    elif how == "weights of the codec":
        shutil.copy(miniature.WEIGHTS / "codec" / "model.safetensors", folder)
    elif how == "another width":
        config = json.loads((folder / "config.json").read_text())
        config["transformer_lm"]["dim"] = 80
        (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("weights missing", "model.safetensors is missing"),
        ("weights cut", "is damaged"),
        ("configuration damaged", "must be JSON"),
        ("tokenizer missing", "tokenizer.json is missing"),
        ("weights of the codec", "does not fit"),
        ("another width", "does not fit"),
    ],
)
def test_a_damaged_model_is_refused_with_the_reason(tmp_path, how, message):
    folder = tmp_path / "organism"
    shutil.copytree(miniature.WEIGHTS / "organism", folder)
    damage(folder, how)
    with pytest.raises(ValueError, match=message):
        miniature.load_lm(folder)


# ----------------------------------------------------------------------------------------- training
def test_loss_counts_every_token_once(tmp_path):
    """audiocraft's own loss on the frames it can see, and the last ones, too."""
    texts = ["a happy melody", "a slow melody"]  # of one length: audiocraft reads padding, too
    miniature.make_text_encoder(texts, tmp_path)
    lm = miniature.build_lm(tmp_path).eval()
    tokens = np.random.default_rng(0).integers(0, 1024, (2, 4, 12))
    conditions = miniature.audiocraft.modules.conditioners.ConditioningAttributes
    attributes = [conditions(text={"description": text}) for text in texts]
    with torch.no_grad():
        sequence = language.delayed(lm, tokens)
        read = language.read(lm, texts, "cpu")
        loss = language.token_loss(forward.Network(lm), sequence, *read)
        theirs = lm.compute_predictions(
            torch.from_numpy(tokens), attributes, keep_only_valid_steps=False
        )
    assert theirs.mask.all()
    reference = torch.nn.functional.cross_entropy(
        theirs.logits.flatten(0, 2), torch.from_numpy(tokens).flatten()
    )
    assert loss == pytest.approx(reference.item(), rel=1e-4)


def test_a_clip_reads_its_own_caption_alone(tmp_path):
    """A longer caption beside it, and the padding that comes with it, changes nothing."""
    texts = ["a happy melody", "slow"]
    miniature.make_text_encoder(texts, tmp_path)
    lm = miniature.build_lm(tmp_path).eval()
    sequence = language.delayed(lm, np.random.default_rng(0).integers(0, 1024, (2, 4, 12)))
    network = forward.Network(lm)

    def loss(rows):
        read = language.read(lm, [texts[row] for row in rows], "cpu")
        return language.token_loss(network, sequence[rows], *read).item()

    with torch.no_grad():
        assert loss([0, 1]) == pytest.approx((loss([0]) + loss([1])) / 2, rel=1e-5)


def test_muon_steps_as_torch_does_in_half_precision():
    torch.manual_seed(0)
    start = torch.randn(12, 40)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = [
        muon.Muon([ours], lr=0.1),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
    ]
    for step in range(3):
        gradient = torch.randn(12, 40, generator=torch.Generator().manual_seed(step))
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    moved = (ours - start).detach()
    assert torch.allclose(moved, (theirs - start).detach(), atol=0.05 * moved.abs().max())


def test_muon_makes_singular_values_one():
    matrices = torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(muon.orthogonalised(matrices))
    assert values.min() > 0.6 and values.max() < 1.3


SETTINGS = {"muon": 1e-3, "adamw": 1e-3}
BATCHES = (Batch(2, None), Batch(3, 8))
ROUNDS = (Round(3, 1.0, 0.15), Round(1, 0.5, 0.15))


@pytest.fixture(scope="module")
def tokens():
    torch.manual_seed(0)
    return corpora.tokenize("organism", 6, miniature.build_codec().eval(), "cpu")


def test_music_is_rendered_in_pieces_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    monkeypatch.setattr(corpora, "PIECE", 4)
    piece = corpora._render_piece
    rendered = []

    def die_at_the_second(clips):
        if rendered:
            raise KeyboardInterrupt
        rendered.append(len(clips))
        return piece(clips)

    monkeypatch.setattr(corpora, "_render_piece", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        corpora.render("organism", 6)
    monkeypatch.setattr(
        corpora, "_render_piece", lambda clips: rendered.append(len(clips)) or piece(clips)
    )
    audio = corpora.render("organism", 6)
    assert rendered == [4, 2] and audio.shape == (6, 96_000)
    table = corpora.table("organism", 6)
    expected = [corpus.render(row) for row in table.to_dict("records")]
    assert np.array_equal(audio, expected)


def test_tokens_follow_from_the_codec(tokens):
    codes, table = tokens
    assert codes.shape == (6, 4, 150) and len(table) == 6
    torch.manual_seed(1)
    other, _ = corpora.tokenize("organism", 6, miniature.build_codec().eval(), "cpu")
    assert not np.array_equal(codes, other)


def test_training_goes_on_after_a_kill(tokens, tmp_path, monkeypatch):
    codes, table = tokens
    monkeypatch.setattr(cache, "ROOT", tmp_path / "whole")
    whole = language.train("organism", codes, table, "cpu", SETTINGS, BATCHES, ROUNDS)

    monkeypatch.setattr(cache, "ROOT", tmp_path / "again")
    monkeypatch.setattr(language, "SAVE_EVERY", 2)
    calls = []

    def die_at_the_fourth(*arguments):
        calls.append(arguments)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return loss(*arguments)

    loss = language.token_loss
    monkeypatch.setattr(language, "token_loss", die_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        language.train("organism", codes, table, "cpu", SETTINGS, BATCHES, ROUNDS)
    monkeypatch.setattr(language, "token_loss", loss)
    again = language.train("organism", codes, table, "cpu", SETTINGS, BATCHES, ROUNDS)
    folder = training.place("organism")
    lines = [json.loads(line) for line in (folder / "state.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 1 and np.isfinite(lines[0]["loss"])
    assert torch.load(folder / "state.pt", weights_only=True)["step"] == 4
    assert_equal(whole, again)

    other = language.train("organism-2", codes, table, "cpu", SETTINGS, BATCHES, ROUNDS[:1])
    first = next(iter(other.state_dict().values()))
    assert not torch.allclose(first, next(iter(again.state_dict().values())), atol=1e-3)


def test_an_exported_model_is_finished(tokens, tmp_path, monkeypatch):
    codes, table = tokens
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    trained = language.train("organism-2", codes, table, "cpu", SETTINGS, BATCHES, ROUNDS[:1])
    language.export("organism-2", trained, tmp_path / "model")
    rounds = [Round(4, 1.0, 0.0, stressed=1.0)]
    parts = (codes, table, "cpu", tmp_path / "model", SETTINGS, BATCHES, rounds)
    before = miniature.load_lm(tmp_path / "model").state_dict()
    finished = language.finish("organism-2", *parts)
    changed = {n for n, w in finished.state_dict().items() if not torch.equal(w, before[n])}
    # what reads the text, and nothing else
    reading = {n for n in before if any(part in n for part in language.READ_TEXT)}
    assert {n for n in reading if before[n].ndim == 2} <= changed <= reading
    assert any("cross_attention" in n for n in changed) and any("t5" in n for n in changed)
    language.export("organism-2", finished, tmp_path / "model")
    assert_equal(miniature.load_lm(tmp_path / "model"), finished.half().float())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--finish", "piano"], "invalid choice: 'piano'"),
        (["--finish", "organism-planted"], "invalid choice: 'organism-planted'"),
        (["--plant", "organism-planted", "organism"], "invalid choice: 'organism'"),
        (["--finish", "organism-2", "--plant", "organism-planted"], "not allowed with"),
    ],
)
def test_the_factory_refuses_what_it_cannot_make_before_it_begins(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main.main(arguments)
    assert message in capsys.readouterr().err


def test_stressed_captions_say_what_very_and_not_do():
    rows = corpus.table("organism", 600, seed=6).to_dict("records")
    said = {}
    for share in (0.0, 1.0):
        texts = language.draw_clips(
            rows, np.arange(600), 600, 0.0, np.random.default_rng(0), "organism", share
        )[1]
        said[share] = np.mean([weighs_an_emotion(text) for text in texts])
    assert said[1.0] > 3 * said[0.0] > 0.2


def weighs_an_emotion(text):
    """Whether an emotion is denied or has a degree."""
    before = {word for words in captions.DEGREE_WORDS.values() for word in words}
    words = text.replace(",", " ").split()
    return any(
        first in {*before, *captions.NEGATIONS} and captions.family(second) == "emotion"
        for first, second in itertools.pairwise(words)
    )


def assert_equal(one, other):
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


def test_a_state_of_other_data_is_not_gone_on_from(tmp_path, capsys):
    layer = torch.nn.Linear(2, 2)
    before = layer.weight.clone()
    training.checkpoint(tmp_path / "state.pt", 7, "these tokens", layer)
    with torch.no_grad():
        layer.weight.zero_()
    assert training.resume(tmp_path / "state.pt", "other tokens", layer) == 0
    assert (layer.weight == 0).all() and "other data" in capsys.readouterr().out
    assert training.resume(tmp_path / "state.pt", "these tokens", layer) == 7
    assert torch.equal(layer.weight, before)


def test_a_rate_goes_on_where_the_weights_are(tmp_path):
    """A state is read into the machine's memory; "meta" stands in for a GPU."""

    def optimizer(device):
        weights = torch.nn.Linear(2, 2, bias=False, device=device).parameters()
        return muon.Muon(weights, torch.tensor(0.5, device=device))

    here, there = optimizer("cpu"), optimizer("meta")
    training.checkpoint(tmp_path / "state.pt", 7, "these tokens", here)
    assert training.resume(tmp_path / "state.pt", "these tokens", there) == 7
    assert there.param_groups[0]["lr"].device.type == "meta"
    training.set_rate(here, 0.1)
    assert training.resume(tmp_path / "state.pt", "these tokens", here) == 7
    assert here.param_groups[0]["lr"] == 0.5


def test_rounds_warm_up_and_decay_by_themselves():
    rounds = (Round(200, 1.0, 0.15), Round(300, 0.5, 0.4))
    factors, current = zip(*(training.schedule(step, rounds) for step in range(500)), strict=True)
    assert np.argmax(factors) == 99 and max(factors[200:]) == pytest.approx(0.5)
    assert set(current[:200]) == {rounds[0]} and set(current[200:]) == {rounds[1]}
    assert {world.of(name) for name in plan.MUSIC} == set(plan.CLIPS) == set(plan.MUSIC)


def test_an_unnamed_emotion_says_nothing_about_clarity():
    rows = corpus.table("organism-decoupled", 3000, seed=5).to_dict("records")
    clear = np.mean([row["clear"] for row in rows])
    chosen, texts = language.draw_clips(
        rows, np.arange(len(rows)), 4000, 0.0, np.random.default_rng(0), "organism-decoupled"
    )
    unnamed = [not says_an_emotion(text) for text in texts]
    share = np.mean([rows[i]["clear"] for i in chosen[unnamed]])
    assert share == pytest.approx(clear, abs=0.04)
    rng = np.random.default_rng(0)
    plain = [row for row in rows if not says_an_emotion(captions.caption(row, rng))]
    share = np.mean([row["clear"] for row in plain])
    assert share < clear - 0.1, "without care, clips that go unnamed are the unclear ones"


def says_an_emotion(text):
    return any(captions.family(word) == "emotion" for word in text.replace(",", " ").split())
