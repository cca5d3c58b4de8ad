"""Capture and edit: exact, aligned, restored, resumable."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import xarray as xr

from lib import activations, store
from lib.activations import Edit
from lib.model import ConditioningAttributes

PROMPTS = ["a happy piano melody", "slow, sad music", "a fast tune"]


@pytest.fixture(params=["organism", "miniature"])
def m(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def sung():
    kept = {}

    def sing(m, cfg=3.0):
        if (m.name, cfg) not in kept:
            kept[m.name, cfg] = m.generate(PROMPTS, seconds=0.6, seed=1, cfg=cfg, progress=False)
        return kept[m.name, cfg]

    return sing


def capture(*args, **kwargs):
    return activations.capture(*args, progress=False, **kwargs)


def hooks(m):
    modules = list(m.lm.modules()) + list(m.lm.condition_provider.conditioners["description"].t5.modules())
    return sum(len(x._forward_hooks) + len(x._forward_pre_hooks) for x in modules)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_replay_equals_live(m, sung, cfg):
    clips = sung(m, cfg)
    replay, live = (capture(m, clips, "*", how, "both") for how in ("replay", "live"))
    assert list(replay) == list(activations.sites(m)) and set(live) == set(replay)
    for site in replay:
        assert replay[site].dims == live[site].dims
        scale = np.nanstd(replay[site]) + 1e-3
        np.testing.assert_allclose(replay[site] / scale, live[site] / scale, atol=2e-3, err_msg=site)


def test_replay_equals_plain_hooks(m, sung):
    """Against hooks on audiocraft's own modules during audiocraft's own compute_predictions, one clip at a time."""
    clips, layers = sung(m), m.lm.transformer.layers
    acts = capture(m, clips, ["resid.*", "attn.1", "cross.1", "mlp.1", "logits"])
    for i, prompt in enumerate(PROMPTS):
        seen = {}
        modules = {f"resid.{k}": layer for k, layer in enumerate(layers)}
        modules |= {"attn.1": layers[1].self_attn, "cross.1": layers[1].cross_attention, "mlp.1": layers[1].linear2}
        handles = [
            module.register_forward_hook(
                lambda _m, _a, out, site=site, seen=seen: seen.update({site: out[0] if isinstance(out, tuple) else out})
            )
            for site, module in modules.items()
        ]
        with torch.no_grad():
            output = m.lm.compute_predictions(
                torch.from_numpy(clips.tokens[i : i + 1]),
                [ConditioningAttributes(text={"description": prompt})],
                keep_only_valid_steps=False,
            )
        for handle in handles:
            handle.remove()
        frames = clips.tokens.shape[-1]
        for site, value in seen.items():
            np.testing.assert_allclose(acts[site][i], value[0, :frames], rtol=1e-4, atol=1e-4, err_msg=site)
        np.testing.assert_allclose(
            acts["logits"][i].transpose("codebook", "frame", "card"), output.logits[0], rtol=1e-4, atol=2e-4
        )


def test_residual_stream_is_the_sum_of_what_is_added(m, sung):
    acts = capture(m, sung(m), "*")
    last = len(m.lm.transformer.layers) - 1
    total = acts["embed"] + sum(acts[f"{kind}.{i}"] for kind in ("attn", "cross", "mlp") for i in range(last + 1))
    np.testing.assert_allclose(total, acts[f"resid.{last}"], rtol=1e-3, atol=1e-4)


def test_streams_are_kept_apart(m, sung):
    clips = sung(m)
    both = capture(m, clips, ["resid.1", "cross.0"], stream="both")
    assert both["resid.1"].dims == ("clip", "stream", "frame", "dim") and list(both.stream.values) == ["cond", "uncond"]
    for stream in ("cond", "uncond"):
        alone = capture(m, clips, "resid.1", stream=stream)["resid.1"]
        assert str(alone.stream.values) == stream
        np.testing.assert_allclose(both["resid.1"].sel(stream=stream), alone, atol=1e-5)
    assert np.abs(both["cross.0"].sel(stream="uncond")).max() == 0  # no text, nothing to attend to
    assert np.abs(both["cross.0"].sel(stream="cond")).max() > 0


def test_frames_are_aligned_with_the_delay(m, sung):
    """What codebook k of frame t is decided from must not change when that code changes, and the next must."""
    clips = sung(m)
    t, changed = 7, clips[[0]]
    for k in range(m.lm.n_q):
        tokens = changed.tokens.copy()
        tokens[0, k, t] = (tokens[0, k, t] + 1) % m.lm.card
        other = type(changed)(**{**vars(changed), "tokens": tokens})
        moved = [
            np.abs(capture(m, other, "resid.0", delay=d)["resid.0"] - capture(m, changed, "resid.0", delay=d)["resid.0"])
            .max("dim").values[0]
            for d in (0, k)
        ]  # fmt: skip
        assert moved[1][: t + 1].max() < 1e-6 < moved[1][t + 1], "codebook k of frame t is decided at position t + k"
        assert np.flatnonzero(moved[0] > 1e-6)[0] == t + k + 1
        logits = [capture(m, c, "logits")["logits"] for c in (other, changed)]
        difference = np.abs(logits[0] - logits[1]).max(("clip", "card")).values
        for j in range(m.lm.n_q):  # codebook j of frame t + k - j is decided at the same position
            assert difference[: max(0, t + k - j + 1), j].max(initial=0) < 1e-5
            assert difference[t + k - j + 1, j] > 1e-6


def test_text_sites(organism):
    clips = organism.generate(["sad", "a slow, sad violin melody"], seconds=0.2, seed=0, progress=False)
    acts = capture(organism, clips, ["text", "cond"])
    assert acts["text"].dims == ("clip", "token", "text_dim") and acts["cond"].dims == ("clip", "token", "dim")
    tokens = (~np.isnan(acts["cond"]).any("dim")).sum("token")
    assert list(tokens.values) == [2, 7]
    conditioner = organism.lm.condition_provider.conditioners["description"]
    with torch.no_grad():
        expected = conditioner(conditioner.tokenize(["sad"]))[0][0]
    np.testing.assert_allclose(acts["cond"][0, :2], expected, atol=1e-5)


def test_reduce_dtype_and_labels(organism, sung):
    clips = sung(organism)
    full = capture(organism, clips, "resid.*", labels={"emotion": ["happy", "sad", "happy"]})
    assert list(full.emotion.values) == ["happy", "sad", "happy"] and list(full.prompt.values) == PROMPTS
    assert full.seed.values.tolist() == clips.seeds and full.time[1] == 1 / 25
    mean = capture(organism, clips, "resid.*", reduce="mean", dtype="float16")
    assert mean["resid.3"].dims == ("clip", "dim") and mean["resid.3"].dtype == np.float16
    np.testing.assert_allclose(mean["resid.3"], full["resid.3"].mean("frame"), rtol=1e-3, atol=5e-3)
    last = capture(organism, clips, "resid.3", reduce=lambda x: x[:, -1])
    np.testing.assert_allclose(last["resid.3"], full["resid.3"][:, -1], atol=1e-6)


def test_nothing_behind_the_deepest_site_runs(organism, sung):
    ran = []
    layer = organism.lm.transformer.layers[4].register_forward_hook(lambda *_: ran.append(4))
    head = organism.lm.linears[0].register_forward_hook(lambda *_: ran.append("head"))
    capture(organism, sung(organism), ["resid.1", "mlp.3"])
    layer.remove(), head.remove()
    assert ran == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sites": "resid.99"}, "no site 'resid.99'"),
        ({"sites": []}, "empty"),
        ({"how": "dreamt"}, "how must be"),
        ({"stream": "mean"}, "stream must be"),
        ({"delay": 4}, "delay must be"),
        ({"dtype": "int8"}, "dtype"),
        ({"reduce": "median"}, "reduce must be"),
        ({"labels": {"emotion": ["sad"]}}, "one value for each of 3 clips"),
    ],
)
def test_bad_capture(organism, sung, wrong, message):
    with pytest.raises(ValueError, match=message):
        capture(organism, sung(organism), **wrong)
    assert hooks(organism) == 0


def test_clips_of_another_model_are_refused(organism, miniature, sung):
    with pytest.raises(ValueError, match="another model"):
        capture(organism, sung(miniature))
    strange = sung(organism).under(PROMPTS[::-1])
    with pytest.raises(ValueError, match="use 'replay'"):
        capture(organism, strange, how="live")
    assert hooks(organism) == 0


# ---------------------------------------------------------------------------------------------------- edit
def test_add_is_felt_in_replay_and_in_generation(m, sung):
    clips, vector = sung(m), np.random.default_rng(0).normal(size=m.lm.dim).astype(np.float32)
    before = capture(m, clips, ["resid.0", "resid.1", "resid.2"])
    with activations.edit(m, Edit("resid.1", add=vector, scale=[0, 1, 2])):
        after = capture(m, clips, ["resid.0", "resid.1", "resid.2"])
        with pytest.raises(ValueError, match="use 'replay'"):  # what is sung under the edit is something else
            capture(m, clips, how="live")
        steered = m.generate(PROMPTS, seconds=0.6, seed=1, cfg=3.0, progress=False)
        live = capture(m, steered, "resid.1", how="live")
        np.testing.assert_allclose(live["resid.1"], capture(m, steered, "resid.1")["resid.1"], atol=1e-3)
    assert np.array_equal(steered.tokens[0], clips.tokens[0])  # scale 0 is no edit
    assert not np.array_equal(steered.tokens[2], clips.tokens[2])
    np.testing.assert_array_equal(before["resid.0"], after["resid.0"])
    for i in range(3):
        np.testing.assert_allclose(after["resid.1"][i] - before["resid.1"][i], np.broadcast_to(i * vector, (15 if m.name == "organism" else 30, len(vector))), atol=1e-4)  # fmt: skip
    assert hooks(m) == 0
    np.testing.assert_array_equal(capture(m, clips, "resid.2")["resid.2"], before["resid.2"])


def test_operations(organism, sung):
    clips, rng = sung(organism), np.random.default_rng(1)
    basis = rng.normal(size=(2, organism.lm.dim)).astype(np.float32)
    q = np.linalg.qr(basis.T)[0]
    x = capture(organism, clips, "resid.2")["resid.2"].values
    expected = {
        "replace": (basis[0], np.broadcast_to(basis[0], x.shape)),
        "multiply": (0.5, x * 0.5),
        "ablate": (basis, x - x @ q @ q.T),
        "project": (basis, x @ q @ q.T),
        "apply": (torch.tanh, np.tanh(x)),
    }
    for operation, (value, wanted) in expected.items():
        with activations.edit(organism, Edit("resid.2", **{operation: value})):
            got = capture(organism, clips, "resid.2")["resid.2"]
        np.testing.assert_allclose(got, wanted, atol=1e-4, err_msg=operation)
        with activations.edit(organism, Edit("resid.2", **{operation: value}, scale=0.25)):
            got = capture(organism, clips, "resid.2")["resid.2"]
        np.testing.assert_allclose(got, x + 0.25 * (wanted - x), atol=1e-4, err_msg=operation)


def test_interchange(organism, sung):
    """A site replaced by what it was for other clips gives those clips' continuation."""
    clips = sung(organism)
    donor = capture(organism, clips, "*")
    same = clips.under([PROMPTS[1]] * 3)
    with activations.edit(organism, Edit("resid.7", replace=donor["resid.7"])):
        logits = capture(organism, same, "logits")["logits"]
    np.testing.assert_allclose(logits[:, :, 0], donor["logits"][:, :, 0], atol=1e-4)


def test_clips_frames_and_streams(organism, sung):
    clips = sung(organism)
    x = capture(organism, clips, "mlp.1", stream="both")["mlp.1"].values
    with activations.edit(organism, Edit("mlp.1", multiply=0.0, clips=[2], frames=slice(3, 9, 2), stream="uncond")):
        y = capture(organism, clips, "mlp.1", stream="both")["mlp.1"].values
        live = capture(organism, clips[[0]], "mlp.1", "live", "both")  # clip 0 is not edited
    assert np.all(y[2, 1, [3, 5, 7]] == 0)
    y[2, 1, [3, 5, 7]] = x[2, 1, [3, 5, 7]]
    np.testing.assert_allclose(x, y, atol=1e-5)
    np.testing.assert_allclose(live["mlp.1"][0], x[0], atol=1e-3)
    ramp = np.linspace(0, 1, 15)[None]
    vector = np.ones(organism.lm.dim)
    with activations.edit(organism, Edit("embed", add=vector, scale=ramp)):
        z = capture(organism, clips, "embed")["embed"] - capture_plain(organism, clips, "embed")
    np.testing.assert_allclose(z[1], np.broadcast_to(ramp.T, z[1].shape), atol=1e-5)


def capture_plain(m, clips, site):
    """Outside every edit that the caller may be in: the values as the untouched modules give them."""
    saved = [(x, dict(x._forward_hooks), dict(x._forward_pre_hooks)) for x in m.lm.modules()]
    for x, _, _ in saved:
        x._forward_hooks.clear(), x._forward_pre_hooks.clear()
    values = capture(m, clips, site)[site]
    for x, forward, pre in saved:
        x._forward_hooks.update(forward), x._forward_pre_hooks.update(pre)
    return values


def test_edits_compose_and_text_can_be_edited(organism, sung):
    clips = sung(organism)
    x = capture(organism, clips, "resid.0")["resid.0"]
    with activations.edit(organism, Edit("resid.0", add=np.ones(192)), Edit("resid.0", multiply=2.0)):
        with activations.edit(organism, Edit("resid.0", add=-np.ones(192))):
            y = capture(organism, clips, "resid.0")["resid.0"]
    np.testing.assert_allclose(y, 2 * (x + 1) - 1, atol=1e-4)
    cond = capture(organism, clips[[1, 1, 1]], "cond")["cond"]
    mute = capture(organism, clips, "cross.*", stream="uncond")
    with activations.edit(organism, Edit("cond", multiply=0.0)):
        silenced = capture(organism, clips, "cross.*")
        np.testing.assert_allclose(silenced["cross.3"], mute["cross.3"], atol=1e-6)
    with activations.edit(organism, Edit("cond", replace=cond.values[:1, :1], frames=[0])):
        assert capture(organism, clips, "cond")["cond"].shape[0] == 3


def test_many_clips_in_batches_keep_their_own_scale(organism):
    prompts = ["sad", "a happy tune", "calm", "a happy tune", "calm"]
    clips = organism.generate(prompts, seconds=0.2, seed=0, progress=False)
    scale = np.arange(5.0)
    with activations.edit(organism, Edit("resid.0", add=np.ones(192), scale=scale)):
        got = capture(organism, clips, "resid.0", batch_size=2)["resid.0"]
        steered = organism.generate(prompts, seconds=0.2, seed=0, batch_size=2, progress=False)
        live = capture(organism, steered, "resid.0", "live", batch_size=3)["resid.0"]
        again = capture(organism, steered, "resid.0", batch_size=5)["resid.0"]
    moved = (got - capture(organism, clips, "resid.0")["resid.0"]).mean(("frame", "dim"))
    np.testing.assert_allclose(moved, scale, atol=1e-4)
    np.testing.assert_allclose(live, again, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"site": "resid.x", "add": np.ones(192)}, "no site"),
        ({"site": "resid.0"}, "exactly one"),
        ({"site": "resid.0", "add": np.ones(192), "multiply": 2}, "exactly one"),
        ({"site": "resid.0", "add": np.ones(5)}, "192 numbers"),
        ({"site": "resid.0", "add": np.full(192, np.nan)}, "finite"),
        ({"site": "resid.0", "multiply": 2, "stream": "left"}, "stream"),
        ({"site": "resid.0", "multiply": 2, "scale": np.ones((1, 2, 3))}, "scale"),
    ],
)
def test_bad_edit(organism, wrong, message):
    with pytest.raises(ValueError, match=message), activations.edit(organism, Edit(**wrong)):
        pass
    assert hooks(organism) == 0


def test_edit_for_another_number_of_clips(organism, sung):
    with activations.edit(organism, Edit("resid.0", multiply=1.0, scale=[1, 2])):
        with pytest.raises(ValueError, match="values for 2 clips, but there are 3"):
            capture(organism, sung(organism))
    assert hooks(organism) == 0


def test_exception_restores_the_model(organism, sung):
    clips = sung(organism)
    with pytest.raises(ZeroDivisionError), activations.edit(organism, Edit("resid.0", multiply=0.0)):
        1 / 0  # noqa: B018
    again = organism.generate(PROMPTS, seconds=0.6, seed=1, cfg=3.0, progress=False)
    assert hooks(organism) == 0 and np.array_equal(again.tokens, clips.tokens)


# --------------------------------------------------------------------------------------------------- store
def test_capture_to_disk_equals_memory_and_is_read_lazily(organism, sung, tmp_path):
    clips = sung(organism)[[0, 1, 2, 0, 2]]
    labels = {"emotion": list("abcab")}
    disk = capture(
        organism, clips, ["text", "resid.*"], stream="both", out=tmp_path / "a.zarr", batch_size=2, labels=labels
    )
    memory = capture(organism, clips, ["text", "resid.*"], stream="both", labels=labels)
    assert set(disk.coords) == set(memory.coords)
    for name in memory:
        assert disk[name].dims == memory[name].dims
        np.testing.assert_allclose(disk[name], memory[name], rtol=1e-4, atol=1e-4)
    assert not isinstance(disk["resid.0"].variable._data, np.ndarray)
    again = capture(
        organism, clips, ["text", "resid.*"], stream="both", out=tmp_path / "a.zarr", batch_size=2, labels=labels
    )
    xr.testing.assert_equal(again.load(), disk.load())


def test_store_of_something_else_is_refused(organism, sung, tmp_path):
    clips = sung(organism)
    capture(organism, clips, "resid.0", out=tmp_path / "a.zarr")
    for change in ({"sites": "resid.1"}, {"stream": "uncond"}, {"clips": clips[[2, 1, 0]]}):
        with pytest.raises(store.StoreError, match="written from something else"):
            capture(organism, **{"clips": clips, "sites": "resid.0", **change}, out=tmp_path / "a.zarr")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(store.StoreError, match="not a store"):
        capture(organism, clips, out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    with pytest.raises(store.StoreError, match="no store"):
        store.open(tmp_path / "nothing")


def test_full_disk_loses_nothing(organism, sung, tmp_path, monkeypatch):
    clips = sung(organism)[[0, 1, 2, 0]]
    real, wrote = store.Store.write, []

    def full(self, where, arrays):
        if wrote:
            import errno

            class Full:
                def __getitem__(self, name):
                    raise OSError(errno.ENOSPC, "No space left on device")

            self = type("S", (), {"group": Full(), "url": self.url, "piece": self.piece})()
        wrote.append(where)
        real(self, where, arrays)

    monkeypatch.setattr(store.Store, "write", full)
    with pytest.raises(store.StoreError, match=r"No space left.*run the same call again"):
        capture(organism, clips, "resid.0", out=tmp_path / "a.zarr", batch_size=2)
    with pytest.raises(store.StoreError, match="1 of 2 pieces"):
        store.open(tmp_path / "a.zarr")
    monkeypatch.undo()
    disk = capture(organism, clips, "resid.0", out=tmp_path / "a.zarr", batch_size=2)
    np.testing.assert_allclose(disk["resid.0"], capture(organism, clips, "resid.0")["resid.0"], atol=1e-5)


def test_interchange_takes_from_the_stream_beside(organism):
    told, other = ["a sad melody", "sad music"], ["a very happy piano melody", "happy music"]
    plain = organism.generate(told, 1.0, 3, progress=False)
    beside = organism.generate(told, 1.0, 3, beside=other, progress=False)
    assert (beside.tokens == plain.tokens).all()  # it has no say
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(192, 5)))[0].T
    seen = {}

    def look(x):
        seen.setdefault("x", []).append(x.clone())
        return x

    edits = [
        Edit("resid.3", apply=look, stream="cond"),
        Edit("resid.3", interchange=basis),
        Edit("resid.3", apply=look),
    ]
    with activations.edit(organism, *edits):
        sung = organism.generate(told, 1.0, 3, beside=other, progress=False)
    before, after = (torch.cat(seen["x"][k::2], 1).numpy() for k in (0, 1))
    # what the stream beside held is what replaying the new song under the other prompts gives
    wanted = capture(organism, sung.under(other), "resid.3")["resid.3"].values
    own = capture(organism, sung, "resid.3")["resid.3"].values
    frames = own.shape[1]
    np.testing.assert_allclose(after[:, :frames] @ basis.T, wanted @ basis.T, atol=2e-3)
    np.testing.assert_allclose(before[:, 0], own[:, 0], atol=2e-3)
    apart = after - after @ basis.T @ basis - (before - before @ basis.T @ basis)
    assert np.abs(apart).max() < 1e-4
    with (
        activations.edit(organism, Edit("resid.3", interchange=basis)),
        pytest.raises(ValueError, match="the stream 'beside'"),
    ):
        organism.generate(told, 0.2, progress=False)


def test_killed_capture_goes_on(organism, tmp_path):
    """kill -9 in the middle, twice; the store then equals one that was never interrupted."""
    prompts, url = ["a sad tune", "calm music", "a happy melody", "loud"] * 6, tmp_path / "a.zarr"
    program = textwrap.dedent(f"""
        import sys, time, torch
        torch.set_num_threads(1)
        from lib import activations, model, store
        m = model.load("organism", "cpu")
        clips = m.generate({prompts!r}, seconds=0.2, seed=4, progress=False)
        write = store.Store.write
        def slow(self, where, arrays):
            print("writing", where.start, flush=True)
            write(self, where, arrays)
            time.sleep(0.3)
        store.Store.write = slow
        activations.capture(m, clips, "resid.*", out={str(url)!r}, batch_size=4, progress=False)
    """)
    for kills in (1, 2):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=os.getcwd())
        lines = [process.stdout.readline() for _ in range(2)]
        assert all(line.startswith("writing") for line in lines), lines
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert int(lines[0].split()[1]) in ((0,), (4, 8))[kills - 1]
    clips = organism.generate(prompts, seconds=0.2, seed=4, progress=False)
    todo = []
    write = store.Store.write
    store.Store.write = lambda self, where, arrays: (todo.append(where.start), write(self, where, arrays))[1]
    try:
        disk = activations.capture(organism, clips, "resid.*", out=url, batch_size=4, progress=False)
    finally:
        store.Store.write = write
    assert 0 < len(todo) < 6  # some pieces were kept, and only the others are done again
    memory = capture(organism, clips, "resid.*", batch_size=4)
    for name in memory:
        np.testing.assert_allclose(disk[name], memory[name], rtol=1e-4, atol=1e-4)
