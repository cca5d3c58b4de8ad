"""Capture: exact, aligned, resumable, named by all it follows from."""

import functools
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import xarray as xr

from lib import activations, cache, sizing, store
from lib.activations import Edit
from lib.musicgen import sampling
from lib.musicgen.compat import audiocraft

ConditioningAttributes = audiocraft.modules.conditioners.ConditioningAttributes

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


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_replay_equals_live(m, sung, cfg):
    clips = sung(m, cfg)
    replay, live = (capture(m, clips, "*", how, "both") for how in ("replay", "live"))
    assert list(replay) == list(activations.sites(m)) and set(live) == set(replay)
    for site in replay:
        assert replay[site].dims == live[site].dims
        scale = np.nanstd(replay[site]) + 1e-3
        np.testing.assert_allclose(
            replay[site] / scale, live[site] / scale, atol=2e-3, err_msg=site
        )


def test_replay_equals_plain_hooks(m, sung):
    """Against hooks on audiocraft's own modules during audiocraft's own compute_predictions, one
    clip at a time.
    """
    clips, layers = sung(m), m.lm.transformer.layers
    acts = capture(m, clips, ["resid.*", "attn.1", "cross.1", "mlp.1", "logits"])
    for i, prompt in enumerate(PROMPTS):
        seen = {}
        modules = {f"resid.{k}": layer for k, layer in enumerate(layers)}
        modules |= {
            "attn.1": layers[1].self_attn,
            "cross.1": layers[1].cross_attention,
            "mlp.1": layers[1].linear2,
        }
        handles = [
            module.register_forward_hook(
                lambda _m, _a, out, site=site, seen=seen: seen.update(
                    {site: out[0] if isinstance(out, tuple) else out}
                )
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
            np.testing.assert_allclose(
                acts[site][i], value[0, :frames], rtol=1e-4, atol=1e-4, err_msg=site
            )
        np.testing.assert_allclose(
            acts["logits"][i].transpose("codebook", "frame", "card"),
            output.logits[0],
            rtol=1e-4,
            atol=2e-4,
        )


def test_residual_stream_is_the_sum_of_what_is_added(m, sung):
    acts = capture(m, sung(m), "*")
    last = len(m.lm.transformer.layers) - 1
    total = acts["embed"] + sum(
        acts[f"{kind}.{i}"] for kind in ("attn", "cross", "mlp") for i in range(last + 1)
    )
    np.testing.assert_allclose(total, acts[f"resid.{last}"], rtol=1e-3, atol=1e-4)


def test_streams_are_kept_apart(m, sung):
    clips = sung(m)
    both = capture(m, clips, ["resid.1", "cross.0"], stream="both")
    assert both["resid.1"].dims == ("clip", "stream", "frame", "dim") and list(
        both.stream.values
    ) == ["cond", "uncond"]
    for stream in ("cond", "uncond"):
        alone = capture(m, clips, "resid.1", stream=stream)["resid.1"]
        assert str(alone.stream.values) == stream
        np.testing.assert_allclose(both["resid.1"].sel(stream=stream), alone, atol=1e-5)
    assert np.abs(both["cross.0"].sel(stream="uncond")).max() == 0  # no text, nothing to attend to
    assert np.abs(both["cross.0"].sel(stream="cond")).max() > 0


def test_frames_are_aligned_with_the_delay(m, sung):
    """What codebook k of frame t is decided from must not change when that code changes, and the
    next must.
    """
    clips = sung(m)
    t, changed = 7, clips[[0]]
    for k in range(m.lm.n_q):
        tokens = changed.tokens.copy()
        tokens[0, k, t] = (tokens[0, k, t] + 1) % m.lm.card
        other = type(changed)(**{**vars(changed), "tokens": tokens})
        moved = []
        for delay in (0, k):
            pair = [capture(m, c, "resid.0", delay=delay)["resid.0"] for c in (other, changed)]
            moved.append(np.abs(pair[0] - pair[1]).max("dim").values[0])
        assert moved[1][: t + 1].max() < 1e-6 < moved[1][t + 1], (
            "codebook k of frame t is decided at position t + k"
        )
        assert np.flatnonzero(moved[0] > 1e-6)[0] == t + k + 1
        logits = [capture(m, c, "logits")["logits"] for c in (other, changed)]
        difference = np.abs(logits[0] - logits[1]).max(("clip", "card")).values
        for j in range(m.lm.n_q):  # codebook j of frame t + k - j is decided at the same position
            assert difference[: max(0, t + k - j + 1), j].max(initial=0) < 1e-5
            assert difference[t + k - j + 1, j] > 1e-6


def test_text_sites(organism):
    clips = organism.generate(
        ["sad", "a slow, sad violin melody"], seconds=0.2, seed=0, progress=False
    )
    acts = capture(organism, clips, ["text", "cond"])
    assert acts["text"].dims == ("clip", "token", "text_dim") and acts["cond"].dims == (
        "clip",
        "token",
        "dim",
    )
    tokens = (~np.isnan(acts["cond"]).any("dim")).sum("token")
    assert list(tokens.values) == [2, 7]
    conditioner = organism.lm.condition_provider.conditioners["description"]
    with torch.no_grad():
        expected = conditioner(conditioner.tokenize(["sad"]))[0][0]
    np.testing.assert_allclose(acts["cond"][0, :2], expected, atol=1e-5)


def test_a_live_capture_keeps_the_rows_of_all_its_clips(organism, monkeypatch):
    """However few clips the model would sing at once."""
    clips = organism.generate(["sad music"] * 4, 0.2, 3, progress=False)
    whole = capture(organism, clips, ["resid.1", "cond"], "live", "both")
    monkeypatch.setattr(type(organism), "_at_once", lambda *_: 2)
    parts = capture(organism, clips, ["resid.1", "cond"], "live", "both")
    for site in whole:
        np.testing.assert_allclose(parts[site], whole[site], atol=1e-4)


def test_a_live_capture_goes_on_with_half(organism, monkeypatch):
    clips = organism.generate(["sad music"] * 4, 0.2, 3, progress=False)
    whole = capture(organism, clips, "resid.1", "live")
    sample = sampling.sample

    def small(lm, prompts, *given):
        found = sample(lm, prompts, *given)  # rows are kept before memory is full
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(sampling, "sample", small)
    with pytest.warns(UserWarning, match="to capture 4 at once: going on with 2"):
        parts = capture(organism, clips, "resid.1", "live")
    np.testing.assert_allclose(parts["resid.1"], whole["resid.1"], atol=1e-4)


def test_a_live_capture_counts_keys_and_values_of_both_streams(organism, sung, monkeypatch):
    clips = sung(organism)
    asked = []
    monkeypatch.setattr(sizing, "fits", lambda each, *_: (asked.append(each), 16)[1])
    for how, stream in (("replay", "both"), ("live", "cond")):
        capture(organism, clips, "resid.1", how, stream)
    steps = clips.tokens.shape[-1] + max(organism.lm.pattern_provider.delays)
    blocks = len(organism.lm.transformer.layers)
    more = sizing.keys_and_values(blocks, organism.lm.dim, steps, 2, 4)
    assert asked[1] >= asked[0] + more


def test_a_negative_prompt_is_no_stream_of_a_live_capture(organism):
    asked = {"seconds": 0.4, "seed": 1, "progress": False}
    clips = organism.generate(PROMPTS, negative="a very loud, fast and happy trumpet tune", **asked)
    sites = ["cond", "resid.2"]
    live, replay = (capture(organism, clips, sites, how) for how in ("live", "replay"))
    for site in live:
        np.testing.assert_allclose(live[site], replay[site], atol=2e-3)
    assert np.isnan(live["cond"]).any()
    for stream in ("uncond", "both"):
        with pytest.raises(ValueError, match=r"stream must be 'cond' .* very loud.* how='replay'"):
            capture(organism, clips, "resid.2", "live", stream)
    mute = capture(organism, clips, "cross.2", stream="uncond")["cross.2"]
    assert np.abs(mute).max() == 0


def test_reduce_dtype_and_labels(organism, sung):
    clips = sung(organism)
    full = capture(organism, clips, "resid.*", labels={"emotion": ["happy", "sad", "happy"]})
    assert (
        list(full.emotion.values) == ["happy", "sad", "happy"]
        and list(full.prompt.values) == PROMPTS
    )
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
        ({"reduce": lambda x: 0}, "first axis has the . clips .* Got int"),
        ({"reduce": lambda x: x.mean(0)}, r"first axis has the . clips .* Got \(\d+, 160\)"),
        ({"labels": {"emotion": ["sad"]}}, "one value for each of 3 clips"),
    ],
)
def test_bad_capture(organism, sung, wrong, message):
    with pytest.raises(ValueError, match=message):
        capture(organism, sung(organism), **wrong)
    assert organism.in_force == ()


def test_clips_of_another_model_are_refused(organism, miniature, sung):
    with pytest.raises(ValueError, match="another model"):
        capture(organism, sung(miniature))
    strange = sung(organism).under(PROMPTS[::-1])
    with pytest.raises(ValueError, match="use 'replay'"):
        capture(organism, strange, how="live")
    assert organism.in_force == ()


#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
# -------------------------------------------------------------------------------------------- store
def test_capture_to_disk_equals_memory_and_is_read_lazily(organism, sung, tmp_path):
    clips = sung(organism)[[0, 1, 2, 0, 2]]
    labels = {"emotion": list("abcab")}
    disk = capture(
        organism,
        clips,
        ["text", "resid.*"],
        stream="both",
        out=tmp_path / "a.zarr",
        batch_size=2,
        labels=labels,
    )
    memory = capture(organism, clips, ["text", "resid.*"], stream="both", labels=labels)
    assert set(disk.coords) == set(memory.coords)
    for name in memory:
        assert disk[name].dims == memory[name].dims
        np.testing.assert_allclose(disk[name], memory[name], rtol=1e-4, atol=1e-4)
    assert not isinstance(disk["resid.0"].variable._data, np.ndarray)
    again = capture(
        organism,
        clips,
        ["text", "resid.*"],
        stream="both",
        out=tmp_path / "a.zarr",
        batch_size=2,
        labels=labels,
    )
    xr.testing.assert_equal(again.load(), disk.load())


#: What somebody runs who has xarray and zarr, and not this library.
ELSEWHERE = """
import json, sys
import xarray
acts = xarray.open_zarr(sys.argv[1])
assert "lib" not in sys.modules
one = acts["resid.1"].sel(stream="uncond", clip=1).mean("frame")
told = {name: acts[name].values.tolist() for name in ("prompt", "emotion", "seed", "time")}
print(json.dumps([list(acts["resid.1"].dims), told, one.values.tolist()]))
"""


def test_plain_xarray_opens_a_capture(organism, sung, tmp_path):
    clips = sung(organism)
    labels = {"emotion": ["happy", "sad", ""]}
    where = tmp_path / "a.zarr"
    ours = capture(organism, clips, ["resid.1", "text"], stream="both", out=where, labels=labels)
    # isolated: neither this folder nor PYTHONPATH is on its path
    command = [sys.executable, "-I", "-c", ELSEWHERE, str(where)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    dims, told, one = json.loads(done.stdout)
    assert tuple(dims) == ours["resid.1"].dims
    assert told == {name: ours[name].values.tolist() for name in told}
    wanted = ours["resid.1"].sel(stream="uncond", clip=1).mean("frame")
    np.testing.assert_allclose(one, wanted, rtol=1e-6)


def test_a_live_store_of_other_music_is_refused(organism, sung, tmp_path):
    clips = sung(organism)
    capture(organism, clips, "resid.0", "live", out=tmp_path / "a.zarr")
    with activations.edit(organism, Edit("resid.3", multiply=0.0)):
        other = organism.generate(PROMPTS, 0.6, 1, cfg=3.0, progress=False)
    with pytest.raises(store.StoreError, match="clips"):
        capture(organism, other, "resid.0", "live", out=tmp_path / "a.zarr")


def test_store_of_something_else_is_refused(organism, sung, tmp_path):
    clips = sung(organism)
    capture(organism, clips, "resid.0", out=tmp_path / "a.zarr")
    for change in (
        {"sites": "resid.1"},
        {"stream": "uncond"},
        {"clips": clips[[2, 1, 0]]},
        {"labels": {"a": [1, 2, 3]}},
    ):
        with pytest.raises(store.StoreError, match="written from something else"):
            capture(
                organism, **{"clips": clips, "sites": "resid.0", **change}, out=tmp_path / "a.zarr"
            )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(store.StoreError, match="not a store"):
        capture(organism, clips, out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    with pytest.raises(store.StoreError, match="no store"):
        store.open(tmp_path / "nothing")


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
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        lines = [process.stdout.readline() for _ in range(2)]
        assert all(line.startswith("writing") for line in lines), lines
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert int(lines[0].split()[1]) in ((0,), (4, 8))[kills - 1]
    clips = organism.generate(prompts, seconds=0.2, seed=4, progress=False)
    todo = []
    write = store.Store.write
    store.Store.write = lambda self, where, arrays: (
        todo.append(where.start),
        write(self, where, arrays),
    )[1]
    try:
        disk = activations.capture(
            organism, clips, "resid.*", out=url, batch_size=4, progress=False
        )
    finally:
        store.Store.write = write
    assert 0 < len(todo) < 6  # some pieces were kept, and only the others are done again
    memory = capture(organism, clips, "resid.*", batch_size=4)
    for name in memory:
        np.testing.assert_allclose(disk[name], memory[name], rtol=1e-4, atol=1e-4)


# --------------------------------------------------------------------- named by all it follows from
def test_an_edit_is_part_of_what_a_store_follows_from(organism, sung, tmp_path):
    clips = sung(organism)
    with activations.edit(organism, Edit("resid.4", multiply=0.0)):
        edited = capture(organism, clips, "resid.5", out=tmp_path / "a.zarr")["resid.5"].values
        again = capture(organism, clips, "resid.5", out=tmp_path / "a.zarr")["resid.5"].values
    np.testing.assert_array_equal(edited, again)
    with pytest.raises(store.StoreError, match="edits"):
        capture(organism, clips, "resid.5", out=tmp_path / "a.zarr")
    with (
        activations.edit(organism, Edit("resid.4", multiply=0.5)),
        pytest.raises(store.StoreError, match="edits"),
    ):
        capture(organism, clips, "resid.5", out=tmp_path / "a.zarr")
    plain = capture(organism, clips, "resid.5", out=tmp_path / "b.zarr")["resid.5"].values
    np.testing.assert_allclose(plain, capture(organism, clips, "resid.5")["resid.5"], atol=1e-5)
    assert np.abs(plain - edited).max() > 1


def test_the_code_of_a_reduction_is_part_of_it(organism, sung, tmp_path):
    clips = sung(organism)
    high = capture(organism, clips, "resid.5", reduce=lambda x: x.amax(1), out=tmp_path / "a.zarr")[
        "resid.5"
    ].values
    same = capture(organism, clips, "resid.5", reduce=lambda x: x.amax(1), out=tmp_path / "a.zarr")[
        "resid.5"
    ].values
    np.testing.assert_array_equal(high, same)
    with pytest.raises(store.StoreError, match="reduce"):
        capture(organism, clips, "resid.5", reduce=lambda x: x.amin(1), out=tmp_path / "a.zarr")
    for dim in (1, 2):
        part = functools.partial(torch.sum, dim=dim)
        capture(organism, clips, "resid.5", reduce=part, out=tmp_path / f"{dim}.zarr")
    with pytest.raises(store.StoreError, match="reduce"):
        capture(
            organism,
            clips,
            "resid.5",
            reduce=functools.partial(torch.sum, dim=2),
            out=tmp_path / "1.zarr",
        )
    named = cache.named("highest", Unpicklable())
    capture(organism, clips, "resid.5", reduce=named, out=tmp_path / "named.zarr")


class Unpicklable:
    __slots__ = ()
    __qualname__ = __name__ = "highest"

    def __call__(self, x):
        return x.amax(1)


def test_changed_weights_are_noticed(organism, sung, tmp_path):
    clips = sung(organism)
    capture(organism, clips, "resid.1", out=tmp_path / "a.zarr")
    weight = organism.lm.transformer.layers[0].linear1.weight
    before = weight.data.clone()
    weight.data[100, 100] += 1
    try:
        with pytest.raises(store.StoreError, match="model"):
            capture(organism, clips, "resid.1", out=tmp_path / "a.zarr")
    finally:
        weight.data.copy_(before)
    capture(organism, clips, "resid.1", out=tmp_path / "a.zarr")


def test_what_is_read_back_is_what_memory_would_have_given(organism, sung, tmp_path):
    """Sites in the order of the computation, labels with a space, missing labels missing."""
    clips = sung(organism)
    labels = {
        "word order": ["a", None, "c"],
        "tempo": [1.0, np.nan, 3.0],
        "fast": [True, False, True],
    }
    how = {"sites": ["resid.*", "embed"], "reduce": "mean", "labels": labels}
    disk = capture(organism, clips, **how, out=tmp_path / "a.zarr").load()
    memory = capture(organism, clips, **how)
    assert (
        list(disk.data_vars)
        == list(memory.data_vars)
        == ["embed", *(f"resid.{i}" for i in range(6))]
    )
    assert list(disk.coords) == list(memory.coords) and "word order" in disk.coords
    xr.testing.assert_identical(disk, memory)
    assert disk["word order"].values.tolist() == ["a", "", "c"]


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_bad_batch_size(organism, sung, batch_size):
    clips = sung(organism)
    for call in (
        lambda: capture(organism, clips, batch_size=batch_size),
        lambda: organism.generate(PROMPTS, 0.4, batch_size=batch_size, progress=False),
        lambda: organism.cross_entropy(clips, batch_size=batch_size),
    ):
        with pytest.raises(
            (ValueError, TypeError), match="batch_size must be an integer, 1 or more"
        ):
            call()
    assert capture(organism, clips, "resid.0", batch_size=np.int64(2))["resid.0"].shape[0] == 3


def test_what_leaves_a_precision_is_refused(organism, tmp_path):
    clips = organism.generate(["sad music", "happy music"], 0.4, progress=False)
    huge = activations.Edit("resid.2", multiply=1e6)
    with activations.edit(organism, huge):
        wide = activations.capture(organism, clips, "resid.2", progress=False)
        assert np.isfinite(wide["resid.2"]).all()
        message = (
            r"resid\.2 reaches [\d,]+, and float16 holds numbers up to 65,504.*dtype='float32'"
        )
        for out in (None, tmp_path / "a.zarr"):
            with pytest.raises(OverflowError, match=message):
                activations.capture(
                    organism, clips, "resid.2", dtype="float16", out=out, progress=False
                )


def test_numbers_that_are_not_finite_are_refused(organism):
    clips = organism.generate(["sad music", "happy music"], 0.4, progress=False)
    nothing = activations.Edit("resid.2", apply=lambda x: x * float("nan"))
    with activations.edit(organism, nothing):
        with pytest.raises(OverflowError, match=r"resid\.2 holds what is no number"):
            activations.capture(organism, clips, "resid.2", progress=False)
    infinite = activations.Edit("resid.2", apply=lambda x: x / 0)
    with activations.edit(organism, infinite):
        with pytest.raises(OverflowError, match=r"resid\.2 holds infinite values"):
            activations.capture(organism, clips, "resid.2", progress=False)
        with pytest.raises(OverflowError, match="logits are not finite"):
            organism.generate(["sad music"], 0.4, progress=False)
        with pytest.raises(OverflowError, match="logits are not finite"):
            organism.cross_entropy(clips)


def test_a_type_that_numpy_lacks_is_refused(organism):
    clips = organism.generate(["sad music"], 0.4, progress=False)
    with pytest.raises(ValueError, match=r"float type such as .float32. .* Got .bfloat16."):
        activations.capture(organism, clips, "resid.2", dtype="bfloat16")
