"""Sparse autoencoders: training, keeping, resuming, judging. Ground truth is a dictionary that we
made."""

import copy
import importlib
import json
import os
import warnings
from pathlib import Path

import httpx
import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import xarray as xr
from released import copied

from lib.methods import features, sae
from lib.methods.sae import batches, influence, keeping, training
from lib.musicgen import activations, loading
from lib.musicgen.compat import audiocraft

ConditioningAttributes = audiocraft.modules.conditioners.ConditioningAttributes

DIM, TRUE = 24, 48
QUICK = {"width": 32, "k": 3, "passes": 2, "batch_size": 256, "progress": False}


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
    return xr.DataArray(x.astype(np.float32), dims=("clip", "frame", "dim"), name="resid.4")


@pytest.fixture(scope="module")
def trained(acts):
    return sae.train(acts, width=64, k=3, passes=16, lr=3e-3, batch_size=512, progress=False)


def refuse_to_train(patch):
    """From here on nothing may be trained."""
    patch.setattr(batches.Rows, "batches", lambda *_: pytest.fail("trained again"))


def explained(s, x):
    """Explained variance, and how many features are active."""
    x = torch.from_numpy(np.asarray(x).reshape(-1, DIM))
    with torch.no_grad():
        error = ((x - s(x)) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
        return 1 - error.item(), (s.encode(x) > 0).float().sum(1).mean().item()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that is a folder: what is put there lies at once where its client keeps what it fetched.

    SAELens's own upload and the hub's own client do the rest.
    """
    home = tmp_path / "hub"
    upload = importlib.import_module("sae_lens.training.upload_saes_to_huggingface")
    errors = huggingface_hub.errors

    def snapshot(repo_id):
        return home / f"models--{repo_id.replace('/', '--')}" / "snapshots" / ("0" * 40)

    def create_repo(repo_id):
        snapshot(repo_id).mkdir(parents=True)
        refs = snapshot(repo_id).parents[1] / "refs"
        refs.mkdir()
        (refs / "main").write_text("0" * 40)

    class Api:
        def repo_info(self, repo_id):
            if not snapshot(repo_id).exists():
                answer = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
                raise errors.RepositoryNotFoundError("no such repository", response=answer)

        def upload_folder(self, *, folder_path, path_in_repo, repo_id, allow_patterns, **_):
            for file in Path(folder_path).iterdir():
                if file.name in allow_patterns:
                    target = snapshot(repo_id) / path_in_repo / file.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(file.read_bytes())

        def upload_file(self, *, path_or_fileobj, path_in_repo, repo_id, **_):
            (snapshot(repo_id) / path_in_repo).write_bytes(path_or_fileobj.read())

    def metadata(url):
        if not any(home.rglob(url.rpartition("/")[2])):
            raise errors.EntryNotFoundError(url)

    monkeypatch.setattr(upload, "HfApi", Api)
    monkeypatch.setattr(upload, "create_repo", create_repo)
    monkeypatch.setattr(upload, "get_hf_file_metadata", metadata)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(loading, "hub_answers", lambda: True)
    monkeypatch.setenv("HF_TOKEN", "mine")
    return home


# ----------------------------------------------------------------------------------------- training
def test_it_finds_the_true_directions(trained, acts, dictionary):
    found = features.matched(dictionary, trained.W_dec.detach().numpy())
    random = features.matched(dictionary, np.random.default_rng(5).normal(size=(64, DIM)))
    assert np.median(found) > 0.9 > 0.75 > np.median(random)
    variance, active = explained(trained, acts)
    assert variance > 0.85 and 2.5 < active < 3.5
    lengths = torch.linalg.vector_norm(trained.W_dec, dim=1).detach().numpy()
    assert lengths == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("architecture", sae.ARCHITECTURES)
def test_saved_and_loaded_are_the_same(architecture, acts, tmp_path):
    import sae_lens

    recipe = {"width": 64, "k": 3, "passes": 4, "lr": 3e-3, "batch_size": 512}
    s = sae.train(acts, architecture, folder=tmp_path / "s", progress=False, **recipe)
    again = sae_lens.SAE.load_from_disk(str(tmp_path / "s"))
    variance, active = explained(s, acts)
    assert explained(again, acts) == (variance, active)
    assert variance > 0
    if architecture in ("topk", "batchtopk", "matryoshka"):
        assert 2 < active < 4  # the running threshold of a short run would let hundreds through
    assert again.cfg.metadata.training["architecture"] == architecture
    assert {file.name for file in (tmp_path / "s").iterdir() if not file.suffix == ".note"} == {
        "cfg.json",
        "sae_weights.safetensors",
        "statistics.safetensors",
    }


def test_batch_topk_selects_what_sae_lens_selects():
    from sae_lens.saes.batchtopk_sae import BatchTopK

    ours = training.BatchTopK(4)
    theirs = BatchTopK(4)
    for step in range(4):
        x = torch.randn(64, 100, generator=torch.Generator().manual_seed(step))
        x = x * (1 if step < 2 else 0.2)
        assert torch.equal(ours(x), theirs(x))


def test_bad_input_is_refused_before_training(acts):
    for settings, message in (
        ({"architecture": "relu"}, "architecture must be one of"),
        ({"width": 8000}, "too few"),
        ({"width": 8, "k": 8}, r"k must be a number in \(0, 8\). Got 8"),
        ({"width": -1}, "width must be an integer, 2 or more"),
        ({"architecture": "matryoshka", "width": 6}, "width must be an integer, 8 or more"),
        ({"batch_size": -1}, "batch_size must be an integer, 1 or more"),
        ({"passes": float("nan")}, "passes must be a number above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            sae.train(acts, **{"width": 32, "k": 3, **settings})
    gaps = np.random.default_rng(0).normal(size=(500, 8))
    gaps[:, 3] = np.nan
    for bad, message in (
        (np.ones((500, 8)), "constant"),
        (gaps, "NaN or infinite"),
        (np.full((500, 8), np.nan), "no activation"),
        (np.zeros(5), "Got shape"),
    ):
        with pytest.raises(ValueError, match=message):
            sae.train(bad, width=16, k=2)
    for wrong, message in (
        ({"about": {"a": np.float32(1)}}, "about must be a dict of texts and numbers"),
        ({"about": "resid.4"}, "about must be a dict"),
        ({"device": "gpu"}, "device must be a device of this machine"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            sae.train(acts, width=32, k=3, **wrong)
    with pytest.raises(TypeError, match="acts must be an array of real numbers"):
        sae.train(acts.values + 1j, width=16, k=2)
    with pytest.raises(FileNotFoundError, match="no sparse autoencoder"):
        sae.load("nowhere")


def test_clips_and_vectors_are_known_by_name_and_tensors_by_their_numbers(trained, acts):
    content = batches.Rows(acts, 256, 0).content
    turned = acts.transpose("dim", "clip", "frame")
    assert batches.Rows(turned, 256, 0).content == content
    whole, _ = sae.activity(trained, acts)
    for some in (turned, acts.transpose("frame", "clip", "dim")):
        assert np.allclose(sae.activity(trained, some)[0], whole)
    labels = pd.DataFrame({"loud": whole[:, 0] > np.median(whole[:, 0])})
    assert len(sae.features(trained, turned, labels)) == 64
    tensor = torch.tensor(acts.values, requires_grad=True)
    assert batches.Rows(tensor, 256, 0).content == content
    rounded = batches.Rows(tensor.bfloat16(), 256, 0)
    assert rounded.scale == pytest.approx(batches.Rows(acts, 256, 0).scale, rel=1e-2)
    gaps = acts.copy(deep=True)
    gaps[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="rows that are not wholly missing"):
        sae.activity(trained, gaps)


def test_numpys_numbers_are_welcome():
    plan = training.Recipe("topk", np.int64(32), np.float32(3), passes=np.int8(2)).checked()
    assert plan == training.Recipe("topk", 32, 3.0, passes=2.0)
    json.dumps(training.asdict(plan))


def test_rows_stream_each_row_once_a_pass_and_start_anywhere(acts, monkeypatch):
    monkeypatch.setattr(batches, "BUFFER", 4 * DIM * 3000)
    x = acts.copy(deep=True)
    x[3, 5:] = np.nan
    rows = batches.Rows(x, 100, 0)
    assert rows.n == 400 * 32 - 27 and len(rows.buffers(0)) > 3
    per_pass = sum(int(rows.counts[blocks].sum()) // 100 for blocks in rows.buffers(0))
    stream = rows.batches()
    read = [next(stream) for _ in range(per_pass + 5)]
    seen = torch.cat(read[:per_pass])
    assert len(torch.unique(seen, dim=0)) == len(seen) > 0.9 * rows.n
    assert seen.mean().abs() < 0.02 and seen.std() == pytest.approx(1, abs=0.05)
    later = rows.batches(per_pass + 2)
    assert torch.equal(next(later), read[per_pass + 2])
    assert torch.equal(next(later), read[per_pass + 3])


# ----------------------------------------------------------------------------- keeping and resuming
def test_a_folder_belongs_to_the_activations_it_was_trained_on(acts, tmp_path):
    """Other data of the same shape, mean and scale is another training, finished or not."""
    other = acts.copy(deep=True)
    other.values = acts.values[:, ::-1, ::1].copy()
    other.values[0] = acts.values[1]
    other.values[1] = acts.values[0]
    mine = batches.Rows(acts, 256, 0)
    theirs = batches.Rows(other, 256, 0)
    assert mine.scale == pytest.approx(theirs.scale) and mine.mean == pytest.approx(theirs.mean)
    assert mine.content != theirs.content == batches.Rows(other.copy(deep=True), 99, 1).content
    sae.train(acts, "topk", folder=tmp_path / "s", **QUICK)
    with pytest.raises(ValueError, match=r"holds another training.*content"):
        sae.train(other, "topk", folder=tmp_path / "s", **QUICK)


def test_a_killed_training_goes_on_and_ends_the_same(acts, tmp_path, monkeypatch):
    whole = sae.train(acts, "topk", **QUICK)
    monkeypatch.setattr(training, "SAVE_EVERY", 40)
    folder = tmp_path / "s"
    kill_in_second_pass(acts, folder, monkeypatch)
    note = json.loads((folder / "checkpoint" / "plan.json").read_text())
    assert note["plan"]["width"] == 32 and not (folder / "cfg.json").exists()
    with pytest.raises(ValueError, match=r"holds another training.*seed"):
        sae.train(acts, "topk", folder=folder, seed=1, **QUICK)
    with pytest.raises(ValueError, match=r"holds another training.*content"):
        sae.train(acts[::-1], "topk", folder=folder, **QUICK)
    begun_at = []
    read = batches.Rows.batches

    def counting(self, first=0):
        begun_at.append(first)
        return read(self, first)

    monkeypatch.setattr(batches.Rows, "batches", counting)
    resumed = sae.train(acts, "topk", folder=folder, **QUICK)
    assert begun_at == [40] and torch.allclose(whole.W_dec, resumed.W_dec, atol=1e-5)
    assert not list(folder.glob("*checkpoint*"))


def test_a_damaged_checkpoint_is_noticed(acts, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 40)
    kill_in_second_pass(acts, tmp_path / "s", monkeypatch)
    weights = tmp_path / "s" / "checkpoint" / keeping.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="damaged: the training begins anew"):
        again = sae.train(acts, "topk", folder=tmp_path / "s", **QUICK)
    assert torch.equal(sae.train(acts, "topk", **QUICK).W_dec, again.W_dec)


def kill_in_second_pass(acts, folder, monkeypatch):
    """Train until the second pass over the data, which fails."""
    load = batches.Rows._load

    def dying(self, number, blocks):
        if number:
            raise KeyboardInterrupt
        return load(self, number, blocks)

    with monkeypatch.context() as patch:
        patch.setattr(batches.Rows, "_load", dying)
        with pytest.raises(KeyboardInterrupt):
            sae.train(acts, "topk", folder=folder, **QUICK)


# ------------------------------------------------------------------------------------------ the hub
def test_what_is_pushed_is_pulled_here_and_by_sae_lens(hub, acts, tmp_path):
    import sae_lens

    s = sae.train(acts, "topk", folder=tmp_path / "s", about={"site": "resid.4"}, **QUICK)
    sae.push(tmp_path / "s", "me/saes", "resid.4")
    sae.push(s, "me/saes", "again")  # the repository is there now
    x = torch.from_numpy(acts.values[:3])
    for name in ("resid.4", "again"):
        for there in (sae.pull("me/saes", name), sae_lens.SAE.from_pretrained("me/saes", name)):
            assert torch.equal(there.encode(x), s.encode(x)) and (there.encode(x) > 0).any()
            assert there.cfg.metadata.about == {"site": "resid.4"}
    assert sae.pull("me/saes", "again")(x.double()).dtype == torch.float64
    assert "resid.4" in next(hub.rglob("README.md")).read_text()


def test_what_cannot_be_shared_is_told(hub, trained, tmp_path, monkeypatch):
    for wrong in ("saes", "https://hub/me/saes", ""):
        with pytest.raises(ValueError, match="repository must be 'owner/name'"):
            sae.push(trained, wrong, "resid.4")
    with pytest.raises(ValueError, match="name must be what the SAE is called"):
        sae.pull("me/saes", "../resid.4")
    with pytest.raises(FileNotFoundError, match="no sparse autoencoder"):
        sae.push(tmp_path, "me/saes", "resid.4")
    with pytest.raises(TypeError, match="s must be an SAE, or the folder of one"):
        sae.push({"W_dec": 1}, "me/saes", "resid.4")
    with pytest.raises(ValueError, match=r"no SAE 'resid.9' in me/saes: the hub has none"):
        sae.pull("me/saes", "resid.9")
    with monkeypatch.context() as patch:
        patch.delenv("HF_TOKEN")
        patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
        with pytest.raises(ValueError, match="Nobody is logged in"):
            sae.push(trained, "me/saes", "resid.4")
    monkeypatch.setattr(loading, "hub_answers", lambda: False)
    with pytest.raises(ValueError, match="does not answer: nothing was pushed"):
        sae.push(trained, "me/saes", "resid.4")
    with pytest.raises(ValueError, match="the hub does not answer, its cache has none"):
        sae.pull("me/saes", "resid.9")
    assert not hub.exists()


def test_a_finished_training_is_found_wherever_it_lies(acts, tmp_path, monkeypatch):
    first = sae.train(acts, "topk", folder=tmp_path / "s", about={"model": "/old"}, **QUICK)
    moved = (tmp_path / "s").rename(tmp_path / "moved")
    refuse_to_train(monkeypatch)
    again = sae.train(acts, "topk", folder=moved, about={"model": "/new"}, **QUICK)
    assert torch.equal(first.W_dec, again.W_dec)
    assert again.cfg.metadata.about == {"model": "/old"}


def test_a_damaged_sae_is_made_again(acts, tmp_path):
    first = sae.train(acts, "topk", folder=tmp_path / "s", **QUICK)
    weights = tmp_path / "s" / keeping.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged: it is made again"):
        again = sae.train(acts, "topk", folder=tmp_path / "s", **QUICK)
    assert torch.equal(first.W_dec, again.W_dec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sae.train(acts, "topk", folder=tmp_path / "s", **QUICK)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        sae.train(acts, "topk", folder=tmp_path / "file", **QUICK)


@pytest.fixture(scope="module")
def kept(acts, tmp_path_factory):
    """A folder in which an SAE was trained."""
    folder = tmp_path_factory.mktemp("kept") / "s"
    sae.train(acts, "topk", folder=folder, **QUICK)
    return folder


def unlike(name, content):
    return lambda folder: (folder / name).write_text(content)


def without_notes(change):
    """Change a folder that has no checksums, as one that sae_lens has written."""

    def both(folder):
        for note in folder.glob("*.note"):
            note.unlink()
        change(folder)

    return both


def turned(folder):
    file = folder / keeping.WEIGHTS
    weights = safetensors.torch.load_file(file)
    safetensors.torch.save_file(weights | {"W_dec": -weights["W_dec"]}, file)


def cut(folder):
    file = folder / keeping.WEIGHTS
    file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (turned, "sae_weights.safetensors is not what was written"),
        (unlike("cfg.json", "{}"), "cfg.json is not what was written"),
        (lambda folder: (folder / keeping.STATISTICS).unlink(), "statistics.* is not what was"),
        (without_notes(cut), "no sparse autoencoder that can be read"),
        (without_notes(unlike("cfg.json", "{}")), "no sparse autoencoder that can be read"),
        (without_notes(unlike("cfg.json", "[]")), "no sparse autoencoder that can be read"),
        (without_notes(unlike("cfg.json", "x")), "no sparse autoencoder that can be read"),
    ],
)
def test_a_damaged_folder_is_refused(kept, tmp_path, change, message):
    folder = copied(kept, tmp_path / "s")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sae.load(folder)
        change(folder)
        with pytest.raises(ValueError, match=message):
            sae.load(folder)


@pytest.mark.parametrize("content", ["{}", "[]", "x", '{"metadata": []}'])
def test_a_damaged_configuration_is_no_other_training(kept, tmp_path, content):
    folder = copied(kept, tmp_path / "s")
    plan = json.loads((folder / "cfg.json").read_text())["metadata"]["training"]
    assert keeping.finished(folder, plan) is not None
    (folder / "cfg.json").write_text(content)
    if "metadata" in content:  # somebody else's
        with pytest.raises(ValueError, match="holds another training"):
            keeping.finished(folder, plan)
        return
    with pytest.warns(UserWarning, match="is damaged: it is made again"):
        assert keeping.finished(folder, plan) is None


@pytest.mark.parametrize("note", [[], {}, {"plan": {"width": 32}}, {"plan": 3, "checksums": {}}])
def test_a_damaged_note_of_a_checkpoint(tmp_path, note):
    place = tmp_path / keeping.CHECKPOINT
    place.mkdir()
    (place / keeping.PLAN).write_text(json.dumps(note))
    with pytest.warns(UserWarning, match="damaged: the training begins anew"):
        assert keeping.resume(tmp_path, None, {"width": 32}) == 0


def test_what_another_process_is_writing_stays(acts, tmp_path):
    drafts = [
        tmp_path / f"{kind}.{age}.new"
        for kind in (keeping.DRAFT.rstrip("."), f".{keeping.CHECKPOINT}")
        for age in ("new", "old")
    ]
    for draft in drafts:
        draft.mkdir()
        if ".old." in draft.name:
            os.utime(draft, (0, 0))
    sae.train(acts, "topk", folder=tmp_path, **QUICK)
    assert [draft.exists() for draft in drafts] == [True, False] * 2


def test_what_chapters_share_is_named_by_content(organism, acts, monkeypatch):
    settings = {"batch_size": 256, "progress": False}
    before = set(sae.FOLDER.glob("*"))
    first = sae.trained(organism, acts, 32, 3, 1, **settings)
    assert len(set(sae.FOLDER.glob("*")) - before) == 1
    monkeypatch.setattr(organism, "name", "/somewhere/else")
    with monkeypatch.context() as patch:
        refuse_to_train(patch)
        assert torch.equal(sae.trained(organism, acts, 32, 3, 1, **settings).W_dec, first.W_dec)
    later = acts.copy(deep=True)
    later[-1, -1, -1] += 1  # the first clip is the same
    assert not torch.equal(sae.trained(organism, later, 32, 3, 1, **settings).W_dec, first.W_dec)
    monkeypatch.setattr(training, "_code", lambda: "another version")
    sae.trained(organism, acts, 32, 3.0, 1.0, **settings)
    assert len(set(sae.FOLDER.glob("*")) - before) == 3


# --------------------------------------------------------------------------------------- evaluation
@pytest.fixture(scope="module")
def sung(organism):
    prompts = [f"a {word} melody" for word in ("happy", "sad", "calm", "fast")] * 3
    clips = organism.generate(prompts, 1, seed=3, progress=False)
    return clips, activations.capture(organism, clips, ["resid.4", "text"], progress=False)


def test_evaluate_splices_into_the_running_model(organism, sung):
    clips, acts = sung
    perfect = sae.Basis(acts["resid.4"], "pca", organism.lm.dim)
    found = sae.evaluate(perfect, organism, "resid.4", clips)
    assert found["loss_recovered"].value == pytest.approx(1, abs=1e-3)
    assert found["explained_variance"] > 0.999
    assert found["loss"] == pytest.approx(organism.cross_entropy(clips).mean())
    few = sae.evaluate(sae.Basis(acts["resid.4"], "pca", 4), organism, "resid.4", clips)
    none = sae.evaluate(sae.Basis(acts["resid.4"], "random", 4), organism, "resid.4", clips)
    assert none["loss_recovered"].value < few["loss_recovered"].value < 1 and few["l0"] == 4
    with pytest.raises(ValueError, match="128 wide, but the SAE reads vectors of 160"):
        sae.evaluate(perfect, organism, "text", clips)
    with pytest.raises(ValueError, match=r"site must be one site\. Got 'resid\.\*'"):
        sae.evaluate(perfect, organism, "resid.*", clips)
    with pytest.raises(ValueError, match="k must be an integer, from 1 to 160"):
        sae.Basis(acts["resid.4"], "pca", 0)


def test_the_loss_is_audiocrafts(organism, sung):
    clips, _ = sung
    attributes = ConditioningAttributes(text={"description": clips.prompts[0]})
    codes = torch.from_numpy(clips.tokens[:1])
    with torch.no_grad():
        out = organism.lm.compute_predictions(codes, [attributes], keep_only_valid_steps=False)
    reference = torch.nn.functional.cross_entropy(out.logits.flatten(0, 2), codes.flatten())
    assert organism.cross_entropy(clips)[0] == pytest.approx(reference.item(), rel=1e-4)


def test_evaluate_knows_the_edits_in_force(organism, sung):
    """What an SAE stands in for is the model as it runs: within another edit, another."""
    clips, acts = sung
    basis = sae.Basis(acts["resid.4"], "pca", 16)
    losses = [sae.evaluate(basis, organism, "resid.4", clips)["loss"]]
    for factor in (0.0, 0.5):
        edit = activations.Edit("resid.2", multiply=factor)
        with activations.edit(organism, edit):
            losses.append(sae.evaluate(basis, organism, "resid.4", clips)["loss"])
            assert losses[-1] == pytest.approx(organism.cross_entropy(clips).mean())
    losses.append(sae.evaluate(basis, organism, "resid.4", clips)["loss"])
    assert len(set(losses)) == 3 and losses[0] == losses[-1]
    other = sae.evaluate(basis, organism, "resid.4", clips[::-1])["loss"]
    assert other == pytest.approx(losses[0])  # other clips, the same mean


def test_features_find_the_one_that_follows_a_label(trained, acts, dictionary):
    loud = np.arange(400) % 2 == 0
    x = acts.copy(deep=True)
    x.values[loud] += 14 * dictionary[7].astype(np.float32)
    numbers = np.random.default_rng(2).normal(size=400)
    labels = pd.DataFrame({"loud": loud, "number": numbers, "none": [None] * 400})
    table = sae.features(trained, x, labels)
    best = int(table["loud"].argmax())
    assert table["loud"][best] > 0.95
    assert abs(trained.W_dec[best].detach().numpy() @ dictionary[7]) > 0.9
    assert table["best"][best] == "loud" and table["answers"][best] == 1
    assert ((table["number high"] - 0.5).abs() < 0.15).all()
    with pytest.raises(ValueError, match="one row for each of 400"):
        sae.features(trained, x, labels[:3])
    with pytest.raises(ValueError, match="acts must be"):
        sae.activity(trained, acts[:, 0])


def test_activity_leaves_missing_tokens_out(trained, acts):
    whole, table = sae.activity(trained, acts)
    assert whole.shape == (400, 64) and table["density"].between(0, 1).all()
    gappy = acts.copy(deep=True)
    gappy[:, 20:] = np.nan
    assert sae.activity(trained, gappy)[0] == pytest.approx(sae.activity(trained, acts[:, :20])[0])


def test_best_first(trained, acts, dictionary):
    codes = acts.values.reshape(400, -1, DIM).mean(1) @ dictionary[7]
    labels = pd.DataFrame({"loud": codes > np.median(codes)})
    raw = sae.Basis(acts, "random", 3)
    assert sae.best_first([raw, trained, raw], acts, labels)[0] is trained


def test_effects_are_in_the_order_in_which_they_are_asked(organism, sung, monkeypatch):
    def loudness(_, clips):
        return pd.DataFrame({"dynamics": clips.audio.std(1)})

    monkeypatch.setattr(influence.listeners, "get", lambda *_: None)
    monkeypatch.setattr(influence, "_profile", loudness)
    clips, acts = sung
    basis = sae.Basis(acts["resid.4"], "pca", 8)
    activity, _ = sae.activity(basis, acts["resid.4"])
    found = sae.effects(basis, organism, "resid.4", clips, activity, [5, -1], 2, 1.0)
    assert list(found) == [5, 159]
    assert found[5]["up"] > 0 and found[5]["off"] > 0 and found[5]["cues"]["dynamics"].n == 2
    for which in ((5, -1), (feature for feature in [5, -1])):
        again = sae.effects(basis, organism, "resid.4", clips, activity, which, 2, 1.0)
        assert list(again) == [5, 159]
    with pytest.raises(ValueError, match="which must be integers from -160 to 159"):
        sae.effects(basis, organism, "resid.4", clips, activity, [160])
    monkeypatch.setattr(type(organism), "generate", lambda *_: pytest.fail("sung"))
    for wrong, message in (
        ({"site": "resid.44"}, "resid.44"),
        ({"seconds": 0.5}, "seconds must be a number, 1 or more"),
        ({"training": 3}, "training must be an integer, 30 or more"),
        ({"activity": activity[:, :9]}, "activity must be an array"),
    ):
        asked = {"site": "resid.4", "clips": clips, "activity": activity, "which": [5], **wrong}
        with pytest.raises(ValueError, match=message):
            sae.effects(basis, organism, **asked)


# ------------------------------------------------------------------------------------------ placing
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_sae_takes_any_precision_and_answers_in_it(trained, acts, dtype):
    x = torch.from_numpy(acts.values[0])
    z = sae.encode(trained, x.to(dtype))
    assert z.dtype == sae.decode(trained, z).dtype == trained(x.to(dtype)).dtype == dtype
    assert torch.allclose(trained(x.to(dtype)).float(), trained(x), rtol=0.02, atol=0.2)
    basis = sae.Basis(acts, "random", 3)
    assert basis(x.to(dtype)).dtype == sae.encode(basis, x.to(dtype)).dtype == dtype
    assert sae.encode(basis, x.double()).dtype == torch.float64


def test_a_copy_of_an_sae_is_its_own(trained, acts):
    x = torch.from_numpy(acts.values[0]).half()
    again = copy.deepcopy(trained)
    assert torch.equal(again(x), trained(x))
    with torch.no_grad():
        again.W_dec.zero_()
    assert not torch.equal(again(x), trained(x))
