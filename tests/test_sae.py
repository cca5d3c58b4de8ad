"""Sparse autoencoders: training, keeping, resuming, judging. Ground truth is a dictionary that we made."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from lib import activations, features, model, sae
from lib import rows as rows_module

DIM, TRUE = 24, 48


@pytest.fixture(scope="module")
def dictionary():
    directions = np.random.default_rng(0).normal(size=(TRUE, DIM))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def acts(dictionary):
    """400 clips of 32 frames: each a sparse sum of directions, off centre and far from scale 1."""
    rng = np.random.default_rng(1)
    codes = rng.exponential(1.0, (400, 32, TRUE)) * (rng.random((400, 32, TRUE)) < 3 / TRUE)
    x = 7.0 * (codes @ dictionary) + 5.0 + 0.05 * rng.normal(size=(400, 32, DIM))
    return xr.DataArray(x.astype(np.float32), dims=("clip", "frame", "dim"))


@pytest.fixture(scope="module")
def trained(acts, tmp_path_factory):
    return sae.train(acts, "batchtopk", 64, 3, passes=16, lr=3e-3, batch_size=512, progress=False)


def explained(s, x):
    x = torch.from_numpy(np.asarray(x).reshape(-1, DIM))
    with torch.no_grad():
        error = ((x - s(x)) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
        return 1 - error.item(), (s.encode(x) > 0).float().sum(1).mean().item()


def test_it_finds_the_true_directions(trained, acts, dictionary):
    found = features.matched(dictionary, trained.W_dec.detach().numpy())
    random = features.matched(dictionary, np.random.default_rng(5).normal(size=(64, DIM)))
    assert np.median(found) > 0.9 > 0.75 > np.median(random)
    ev, l0 = explained(trained, acts)
    assert ev > 0.85 and 2.5 < l0 < 3.5
    assert torch.linalg.vector_norm(trained.W_dec, dim=1).detach().numpy() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("architecture", sae.ARCHITECTURES)
def test_saved_and_loaded_are_the_same(architecture, acts, tmp_path):
    import sae_lens

    s = sae.train(acts, architecture, 64, 3, passes=6, lr=3e-3, batch_size=512, folder=tmp_path / "s", progress=False)
    again = sae_lens.SAE.load_from_disk(str(tmp_path / "s"))
    assert explained(again, acts) == explained(s, acts)
    ev, l0 = explained(s, acts)
    assert ev > 0
    if architecture in (
        "topk",
        "batchtopk",
        "matryoshka",
    ):  # a short run that kept the running threshold lets hundreds through
        assert 2 < l0 < 4
    assert again.cfg.metadata.training["architecture"] == architecture
    assert (tmp_path / "s" / "statistics.safetensors").exists() and not (tmp_path / "s" / "checkpoint").exists()


def test_batch_topk_selects_what_sae_lens_selects():
    from sae_lens.saes.batchtopk_sae import BatchTopK

    ours, theirs = sae._BatchTopK(4), BatchTopK(4)
    for step in range(4):
        x = torch.randn(64, 100, generator=torch.Generator().manual_seed(step)) * (1 if step < 2 else 0.2)
        assert torch.equal(ours(x), theirs(x))


def test_a_killed_training_goes_on_and_ends_the_same(acts, tmp_path, monkeypatch):
    settings = {"width": 32, "k": 3, "passes": 4, "batch_size": 256, "progress": False}
    whole = sae.train(acts, "topk", **settings)
    monkeypatch.setattr(sae, "SAVE_EVERY", 40)
    step, calls = sae.Rows._load, []

    def dying(self, passed, blocks):
        calls.append(passed)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return step(self, passed, blocks)

    monkeypatch.setattr(sae.Rows, "_load", dying)
    with pytest.raises(KeyboardInterrupt):
        sae.train(acts, "topk", folder=tmp_path / "s", **settings)
    assert json.loads((tmp_path / "s/checkpoint/plan.json").read_text())["width"] == 32
    monkeypatch.setattr(sae.Rows, "_load", step)
    with pytest.raises(ValueError, match=r"holds another training.*seed"):
        sae.train(acts, "topk", folder=tmp_path / "s", seed=1, **settings)
    resumed = sae.train(acts, "topk", folder=tmp_path / "s", **settings)
    assert torch.allclose(whole.W_dec, resumed.W_dec, atol=1e-5)
    monkeypatch.setattr(sae.Rows, "batches", lambda *a: pytest.fail("a finished training is loaded, not repeated"))
    sae.train(acts, "topk", folder=tmp_path / "s", **settings)


def test_rows_stream_each_row_once_a_pass_and_start_anywhere(acts, monkeypatch):
    monkeypatch.setattr(rows_module, "BUFFER", 4 * DIM * 3000)
    x = acts.copy()
    x[3, 5:] = np.nan
    rows = sae.Rows(x, 100, 0)
    assert rows.n == 400 * 32 - 27 and len(rows.buffers(0)) > 3
    per_pass = sum(int(rows.counts[b].sum()) // 100 for b in rows.buffers(0))
    stream = rows.batches()
    batches = [next(stream) for _ in range(per_pass + 5)]
    seen = torch.cat(batches[:per_pass])
    assert len(torch.unique(seen, dim=0)) == len(seen) > 0.9 * rows.n
    assert seen.mean().abs() < 0.02 and seen.std() == pytest.approx(1, abs=0.05)
    later = rows.batches(per_pass + 2)
    assert torch.equal(next(later), batches[per_pass + 2]) and torch.equal(next(later), batches[per_pass + 3])


def test_bad_input_is_refused_before_training(acts):
    for settings, message in (
        ({"architecture": "relu"}, "architecture must be one of"),
        ({"width": 8000}, "too few"),
        ({"width": 8, "k": 8}, "k must be smaller"),
        ({"width": -1}, "width must be a number above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            sae.train(acts, **{"width": 32, "k": 3, **settings})
    for bad, message in (
        (np.ones((500, 8)), "constant"),
        (np.where(np.arange(8) == 3, np.nan, np.random.default_rng(0).normal(size=(500, 8))), "NaN or infinite"),
        (np.full((500, 8), np.nan), "no activation"),
        (np.zeros(5), "Got shape"),
    ):
        with pytest.raises(ValueError, match=message):
            sae.train(bad, width=16, k=2)
    with pytest.raises(FileNotFoundError, match="no sparse autoencoder"):
        sae.load("nowhere")


@pytest.fixture(scope="module")
def organism():
    m = model.load("organism", "cpu")
    clips = m.generate([f"a {w} melody" for w in ("happy", "sad", "calm", "fast")] * 4, 2, seed=3, progress=False)
    return m, clips, activations.capture(m, clips, ["resid.4", "text"], progress=False)


def test_evaluate_splices_into_the_running_model(organism):
    m, clips, acts = organism
    perfect = sae.Basis(acts["resid.4"], "pca", m.lm.dim)
    found = sae.evaluate(perfect, m, "resid.4", clips)
    assert found["loss_recovered"].value == pytest.approx(1, abs=1e-3) and found["explained_variance"] > 0.999
    assert found["loss"] == pytest.approx(m.cross_entropy(clips).mean())
    few = sae.evaluate(sae.Basis(acts["resid.4"], "pca", 4), m, "resid.4", clips)
    none = sae.evaluate(sae.Basis(acts["resid.4"], "random", 4), m, "resid.4", clips)
    assert none["loss_recovered"].value < few["loss_recovered"].value < 1 and few["l0"] == 4
    with pytest.raises(ValueError, match="128 wide, but the SAE reads vectors of 192"):
        sae.evaluate(perfect, m, "text", clips)


def test_cross_entropy_is_audiocrafts(organism):
    m, clips, _ = organism
    attributes = [model.ConditioningAttributes(text={"description": p}) for p in clips.prompts[:1]]
    codes = torch.from_numpy(clips.tokens[:1])
    with torch.no_grad():
        out = m.lm.compute_predictions(codes, attributes, keep_only_valid_steps=False)
    reference = torch.nn.functional.cross_entropy(out.logits.flatten(0, 2), codes.flatten())
    assert m.cross_entropy(clips)[0] == pytest.approx(reference.item(), rel=1e-4)


def test_features_find_the_one_that_follows_a_label(trained, acts, dictionary):
    loud = np.arange(400) % 2 == 0
    x = acts.copy()
    x.values[loud] += 14 * dictionary[7].astype(np.float32)
    labels = pd.DataFrame({"loud": loud, "number": np.random.default_rng(2).normal(size=400)})
    table = sae.features(trained, x, labels)
    best = int(table["loud"].argmax())
    assert table["loud"][best] > 0.95 and abs(trained.W_dec[best].detach().numpy() @ dictionary[7]) > 0.9
    assert table["best"][best] == "loud" and table["answers"][best] == 1
    assert ((table["number high"] - 0.5).abs() < 0.15).all()
    means, stats_ = sae.activity(trained, x)
    assert means.shape == (400, 64) and stats_["density"].between(0, 1).all()
    with pytest.raises(ValueError, match="one row for each of 400"):
        sae.features(trained, x, labels[:3])
