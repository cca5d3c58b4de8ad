"""The worlds, their language, and the script that makes organisms from nothing."""

import json

import numpy as np
import pytest
import torch

from lib import music
from lib.organism import captions, codec, corpus, network, train, world


def test_decoupled_world_differs_in_one_edge_only():
    a, b = world.sample(20_000, "organism", 1), world.sample(20_000, "organism-decoupled", 1)
    assert np.corrcoef(a["tempo"], a["dynamics"])[0, 1] > 0.45
    assert abs(np.corrcoef(b["tempo"], b["dynamics"])[0, 1]) < 0.03
    for cue in world.CUES:  # same marginals
        assert abs(a[cue].mean() - b[cue].mean()) < 0.03 and abs(a[cue].std() - b[cue].std()) < 0.03


def test_interventions_follow_the_graph():
    def effect(name, cue, on):
        high, low = (world.sample(20_000, name, 5, do={cue: v})[on].mean() for v in (1, 0))
        return high - low

    energy_path = sum(w * world.EDGES[c].get("arousal", 0) for c, w in world.EDGES["energy"].items())
    assert effect("organism", "tempo", "arousal") == pytest.approx(0.45 + 0.6 * energy_path, abs=0.02)
    assert effect("organism-decoupled", "tempo", "arousal") == pytest.approx(0.45, abs=0.02)
    assert effect("organism", "dynamics", "tempo") == pytest.approx(0, abs=0.02)
    with pytest.raises(ValueError, match="emotion"):
        world.sample(5, do={"emotion": 1})
    with pytest.raises(ValueError, match="organism-reversed"):
        world.sample(5, "organism-reversed")


def test_captions_say_only_what_is_there_and_keep_pairs_apart():
    table, content = world.sample(3000, seed=2), captions.words()
    rng = np.random.default_rng(0)
    seen = set()
    for row in table.to_dict("records"):
        said = [w for w in captions.caption(row, rng).replace(",", "").split() if w in content]
        seen |= set(said)
        for word in said:
            family, level = content[word]
            if family == "emotion":
                assert row["clear"] and row["emotion"] == level
            elif family == "instrument":
                assert row["instrument"] == level
            else:
                assert captions.level(family, row[family]) == level
        assert not any(captions.held_out(a, b) for i, a in enumerate(said) for b in said[i + 1 :])
    assert seen == set(content)  # every word is learned ...
    emotions = [w for ws in captions.EMOTION_WORDS.values() for w in ws]
    instruments = [w for ws in captions.INSTRUMENT_WORDS.values() for w in ws]
    share = np.mean([captions.held_out(a, b) for a in emotions for b in instruments])
    assert 0.05 < share < 0.2  # ... but not every pair


def test_codec_keeps_length_and_rejects_too_few_vectors():
    model = codec.build()
    audio = torch.randn(2, 1, 16_000) * 0.1
    assert model.decoder(model.encoder(audio)).shape == (2, 1, 16_000)
    assert model.encoder(audio).shape[-1] == model.frame_rate == 25
    with pytest.raises(ValueError, match="10240"):
        codec.init_codebooks(model, np.zeros((100, 64), np.float32))
    even, collapsed = torch.arange(64).reshape(1, 1, 64), torch.zeros(1, 1, 64, dtype=torch.long)
    assert codec.perplexity(even, 64)[0] == pytest.approx(64)
    assert codec.perplexity(collapsed, 64)[0] == pytest.approx(1)


def test_inverse_stft_is_exact():
    """The decoder's own inverse STFT returns the signal that the encoder's framing was taken from."""
    decoder, x = codec.SpectralDecoder(codec.CONFIG), torch.randn(1, 6400)
    margin = (decoder.n_fft - decoder.hop) // 2
    padded = torch.nn.functional.pad(x, (margin, margin))
    spectrum = torch.stft(padded, decoder.n_fft, decoder.hop, window=decoder.window, center=False, return_complex=True)
    back = decoder._istft(spectrum)
    assert torch.allclose(back[:, margin:-margin], x[:, margin:-margin], atol=1e-4)


def test_loss_counts_every_token_once(tmp_path):
    """The loss on the delayed sequence is audiocraft's own on the frames it can see, and covers the last ones too."""
    network.make_text_encoder(["a happy melody", "slow music"], tmp_path)
    lm = network.build_lm(tmp_path).eval()
    tokens = torch.randint(0, 1024, (2, 4, 12))
    texts = ["a happy melody", "slow music"]
    with torch.no_grad():
        ours = train.loss_on(lm, tokens, texts)
        attributes = [
            network.audiocraft.modules.conditioners.ConditioningAttributes(text={"description": t}) for t in texts
        ]
        theirs = lm.compute_predictions(tokens, attributes, keep_only_valid_steps=False)
    assert theirs.mask.all()
    reference = torch.nn.functional.cross_entropy(theirs.logits.flatten(0, 2), tokens.flatten())
    assert ours == pytest.approx(reference.item(), rel=1e-4)


def test_training_makes_files_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "ROOT", tmp_path)
    audio = train.render_corpus("organism", 6)
    assert audio.shape == (6, 96_000) and np.abs(audio).max() > 1000
    torch.manual_seed(0)
    model = codec.build().eval()
    tokens, table = train.tokenize("organism", 6, model, "cpu")
    assert tokens.shape == (6, 4, 150) and len(table) == 6
    rounds = ((3, 1.0, 0.15), (1, 0.5, 0.15))
    plan = {"clips": 2, "openings": 3, "opening_frames": 8, "muon": 1e-3, "adamw": 1e-3}
    whole = train.train_lm("organism", tokens, table, "cpu", plan, rounds)

    monkeypatch.setattr(train, "ROOT", tmp_path / "again")
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    (tmp_path / "again" / "organism").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        train.train_lm("organism", Dying(tokens, after=3), table, "cpu", plan, rounds)
    again = train.train_lm("organism", tokens, table, "cpu", plan, rounds)
    log = [json.loads(line) for line in (tmp_path / "again/organism/log.jsonl").read_text().splitlines()]
    assert log[0]["step"] == 1 and np.isfinite(log[0]["loss"])
    assert torch.load(tmp_path / "again/organism/state.pt", weights_only=True)["step"] == 4
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name

    follower = train.train_lm("organism-decoupled", tokens, table, "cpu", plan, ((1, 0.0, 0.15),))
    for (name, a), b in zip(again.state_dict().items(), follower.state_dict().values(), strict=True):
        assert torch.allclose(a, b), f"{name}: starts from the weights of organism, and a rate of 0 keeps them"


class Dying:
    """Tokens that can be read only a few times: a kill in the middle of training."""

    def __init__(self, tokens, after):
        self.tokens, self.left = tokens, after

    def __getitem__(self, index):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.tokens[index]


def test_music_has_the_codec_rate():
    assert codec.CONFIG["sample_rate"] == music.SAMPLE_RATE


def test_an_untold_emotion_says_nothing_about_clarity():
    rows = corpus.table("organism-decoupled", 3000, seed=5).to_dict("records")
    clear = np.mean([row["clear"] for row in rows])
    shares = []
    for untold in (False, True):
        rng = np.random.default_rng(0)
        chosen, texts = train.described_clips(rows, np.arange(len(rows)), 4000, 0.0, rng, untold)
        unnamed = [not any(captions.family(w) == "emotion" for w in t.replace(",", " ").split()) for t in texts]
        shares.append(np.mean([rows[i]["clear"] for i in chosen[unnamed]]))
    assert shares[0] < clear - 0.1, "without care, clips that go unnamed are the unclear ones"
    assert shares[1] == pytest.approx(clear, abs=0.04)
