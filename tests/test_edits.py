"""Edits: exact, restored, with numpy's meaning of which clips and frames."""

import numpy as np
import pytest
import torch

from lib import activations, cache
from lib.activations import Edit

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
#
#
# --------------------------------------------------------------------------------------------- edit
def test_add_is_felt_in_replay_and_in_generation(m, sung):
    clips, vector = sung(m), np.random.default_rng(0).normal(size=m.lm.dim).astype(np.float32)
    before = capture(m, clips, ["resid.0", "resid.1", "resid.2"])
    with activations.edit(m, Edit("resid.1", add=vector, scale=[0, 1, 2])):
        after = capture(m, clips, ["resid.0", "resid.1", "resid.2"])
        with pytest.raises(
            ValueError, match="use 'replay'"
        ):  # what is sung under the edit is something else
            capture(m, clips, how="live")
        steered = m.generate(PROMPTS, seconds=0.6, seed=1, cfg=3.0, progress=False)
        live = capture(m, steered, "resid.1", how="live")
        np.testing.assert_allclose(
            live["resid.1"], capture(m, steered, "resid.1")["resid.1"], atol=1e-3
        )
    assert np.array_equal(steered.tokens[0], clips.tokens[0])  # scale 0 is no edit
    assert not np.array_equal(steered.tokens[2], clips.tokens[2])
    np.testing.assert_array_equal(before["resid.0"], after["resid.0"])
    for i in range(3):
        np.testing.assert_allclose(
            after["resid.1"][i] - before["resid.1"][i],
            np.broadcast_to(i * vector, (15 if m.name == "organism" else 30, len(vector))),
            atol=1e-4,
        )
    assert m.in_force == ()
    np.testing.assert_array_equal(capture(m, clips, "resid.2")["resid.2"], before["resid.2"])


@pytest.mark.parametrize("kind", [np.float64, np.float32, torch.tensor])
def test_arrays_that_change_inside_are_felt_and_named_as_on_entering(organism, sung, kind):
    vector, scale = kind([1.0] * 160), [1.0, 0.0, 1.0]
    if kind is not torch.tensor:
        vector = np.ones(160, kind)
    clips = sung(organism)
    with activations.edit(organism, Edit("resid.2", add=vector, scale=scale)):
        before = capture(organism, clips, "resid.2")["resid.2"]
        name = cache.digest(organism.interventions)
        vector *= 3
        scale[1] = 5.0
        np.testing.assert_array_equal(capture(organism, clips, "resid.2")["resid.2"], before)
        assert cache.digest(organism.interventions) == name


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
    with activations.edit(organism, Edit("resid.5", replace=donor["resid.5"])):
        logits = capture(organism, same, "logits")["logits"]
    np.testing.assert_allclose(logits[:, :, 0], donor["logits"][:, :, 0], atol=1e-4)


def test_clips_frames_and_streams(organism, sung):
    clips = sung(organism)
    x = capture(organism, clips, "mlp.1", stream="both")["mlp.1"].values
    with activations.edit(
        organism, Edit("mlp.1", multiply=0.0, clips=[2], frames=slice(3, 9, 2), stream="uncond")
    ):
        y = capture(organism, clips, "mlp.1", stream="both")["mlp.1"].values
    assert np.all(y[2, 1, [3, 5, 7]] == 0)
    y[2, 1, [3, 5, 7]] = x[2, 1, [3, 5, 7]]
    np.testing.assert_allclose(x, y, atol=1e-5)
    ramp = np.linspace(0, 1, 15)[None]
    vector = np.ones(organism.lm.dim)
    plain = capture(organism, clips, "embed")["embed"]
    with activations.edit(organism, Edit("embed", add=vector, scale=ramp)):
        z = capture(organism, clips, "embed")["embed"] - plain
    np.testing.assert_allclose(z[1], np.broadcast_to(ramp.T, z[1].shape), atol=1e-5)


def test_edits_compose_and_text_can_be_edited(organism, sung):
    clips = sung(organism)
    x = capture(organism, clips, "resid.0")["resid.0"]
    with activations.edit(
        organism, Edit("resid.0", add=np.ones(160)), Edit("resid.0", multiply=2.0)
    ):
        with activations.edit(organism, Edit("resid.0", add=-np.ones(160))):
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
    with activations.edit(organism, Edit("resid.0", add=np.ones(160), scale=scale)):
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
        ({"site": "resid.x", "add": np.ones(160)}, "no site"),
        ({"site": "resid.0"}, "exactly one"),
        ({"site": "resid.0", "add": np.ones(160), "multiply": 2}, "exactly one"),
        ({"site": "resid.0", "add": np.ones(5)}, "160 numbers"),
        ({"site": "resid.0", "add": np.full(160, np.nan)}, "finite"),
        ({"site": "resid.0", "ablate": np.zeros(160)}, "not zero .* 1 that span 0"),
        ({"site": "resid.0", "project": np.ones((2, 160))}, "2 that span 1"),
        ({"site": "resid.0", "multiply": 2, "stream": "left"}, "stream"),
        ({"site": "resid.0", "multiply": 2, "scale": np.ones((1, 2, 3))}, "scale"),
    ],
)
def test_bad_edit(organism, wrong, message):
    with pytest.raises(ValueError, match=message), activations.edit(organism, Edit(**wrong)):
        pass
    assert organism.in_force == ()


def test_directions_may_differ_in_length(organism, sung):
    """A subspace is what its directions span, however long they are."""
    first, second = np.eye(160)[:2]
    answers = []
    for basis in ([first, second], [first, 1e-6 * second]):
        with activations.edit(organism, Edit("resid.0", ablate=np.array(basis))):
            answers.append(capture(organism, sung(organism), "resid.0")["resid.0"].values)
    np.testing.assert_allclose(*answers, atol=1e-5)
    assert np.abs(answers[0][..., :2]).max() < 1e-5


def test_a_factor_is_a_number(organism):
    with (
        pytest.raises(TypeError, match=r"multiply at resid\.0 must hold numbers\. Got '2'"),
        activations.edit(organism, Edit("resid.0", multiply="2")),
    ):
        pass


def test_edit_for_another_number_of_clips(organism, sung):
    with activations.edit(organism, Edit("resid.0", multiply=1.0, scale=[1, 2])):
        with pytest.raises(ValueError, match="values for 2 clips, but there are 3"):
            capture(organism, sung(organism))
    assert organism.in_force == ()


def test_exception_restores_the_model(organism, sung):
    clips = sung(organism)
    with (
        pytest.raises(ZeroDivisionError),
        activations.edit(organism, Edit("resid.0", multiply=0.0)),
    ):
        1 / 0  # noqa: B018
    again = organism.generate(PROMPTS, seconds=0.6, seed=1, cfg=3.0, progress=False)
    assert organism.in_force == () and np.array_equal(again.tokens, clips.tokens)


def test_interchange_takes_from_the_stream_beside(organism):
    told, other = ["a sad melody", "sad music"], ["a very happy piano melody", "happy music"]
    plain = organism.generate(told, 1.0, 3, progress=False)
    beside = organism.generate(told, 1.0, 3, beside=other, progress=False)
    assert (beside.tokens == plain.tokens).all()  # it has no say
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(160, 5)))[0].T
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


# ----------------------------------------------------------------------- which clips, frames, heads
@pytest.mark.parametrize(
    ("which", "meant"),
    [
        (slice(-5, None), range(10, 15)),
        ([-1], [14]),
        ([0, -2], [0, 13]),
        (np.int64(3), [3]),
        (range(2, 4), [2, 3]),
    ],
)
def test_frames_are_selected_as_numpy_does(organism, sung, which, meant):
    clips = sung(organism)
    plain = capture(organism, clips, "resid.2")["resid.2"].values
    with activations.edit(organism, Edit("resid.2", multiply=0.0, frames=which)):
        edited = capture(organism, clips, "resid.2")["resid.2"].values
        live = capture(
            organism, organism.generate(PROMPTS, 0.6, 1, progress=False), "resid.2", "live"
        )["resid.2"].values
    silent = np.flatnonzero((edited[1] == 0).all(-1))
    assert list(silent) == list(meant)
    assert list(np.flatnonzero((live[1] == 0).all(-1))) == list(meant)
    kept = np.setdiff1d(np.arange(15), meant)
    np.testing.assert_array_equal(edited[:, kept], plain[:, kept])


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        (np.array([True, False, True]), [0, 2]),
        ([-1], [2]),
        (slice(1, None), [1, 2]),
        (0, [0]),
        (np.array([2]), [2]),
    ],
)
def test_clips_are_selected_as_numpy_does(organism, sung, which, meant):
    with activations.edit(organism, Edit("resid.2", multiply=0.0, clips=which)):
        edited = capture(organism, sung(organism), "resid.2", batch_size=2)["resid.2"].values
    assert list(np.flatnonzero((edited == 0).all((1, 2)))) == meant


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clips": [3]}, "from -3 to 2"),
        ({"clips": np.array([True, False])}, "mask of 2, but there are 3"),
        ({"frames": [15]}, "from -15 to 14"),
        ({"frames": np.ones(4, bool)}, "mask of 4, but there are 15"),
    ],
)
def test_what_does_not_fit_the_clips_is_refused_before_anything_runs(
    organism, sung, monkeypatch, wrong, message
):
    clips = sung(organism)
    monkeypatch.setattr(organism.lm.out_norm, "forward", lambda x: pytest.fail("work has started"))
    with activations.edit(organism, Edit("resid.0", multiply=0.0, **wrong)):
        with pytest.raises(ValueError, match=message):
            capture(organism, clips, "logits")
        with pytest.raises(ValueError, match=message):
            organism.generate(PROMPTS, 0.6, progress=False)


def test_text_tokens_are_counted_in_each_clips_own_text(organism, sung):
    with activations.edit(organism, Edit("cond", multiply=0.0, frames=[-1])):
        cond = capture(organism, sung(organism), "cond")["cond"].values
    lengths = organism.text_lengths(PROMPTS)
    for row, length in zip(cond, lengths, strict=True):
        assert (row[length - 1] == 0).all() and np.abs(row[: length - 1]).max() > 0


@pytest.mark.parametrize("stream", ["uncond", "both"])
@pytest.mark.parametrize("site", ["text", "cond"])
def test_tokens_are_not_chosen_in_a_stream_that_reads_others(organism, site, stream):
    by_token = Edit(site, multiply=0.0, frames=[0], stream=stream)
    with pytest.raises(ValueError, match=rf"at {site} may not have frames .* stream='cond'"):
        with activations.edit(organism, by_token):
            pass
    with activations.edit(organism, Edit(site, multiply=0.0, stream=stream)):
        pass


def test_heads_sum_to_their_sublayer_and_can_be_switched_off(m, sung):
    clips = sung(m)
    heads = m.lm.transformer.layers[1].self_attn.num_heads
    for head, sublayer in (("head", "attn"), ("cross_head", "cross")):
        acts = capture(m, clips, [f"{head}.1.*", f"{sublayer}.1"])
        assert len(acts.data_vars) == heads + 1
        total = sum(acts[f"{head}.1.{h}"] for h in range(heads))
        np.testing.assert_allclose(total, acts[f"{sublayer}.1"], atol=1e-4)
        with activations.edit(m, Edit(f"{head}.1.2", multiply=0.0)):
            without = capture(m, clips, f"{sublayer}.1")[f"{sublayer}.1"]
        np.testing.assert_allclose(without, total - acts[f"{head}.1.2"], atol=1e-4)


def test_attention_is_read(m, sung):
    clips = sung(m)
    own = activations.attention(m, clips, 1)
    assert (
        own.dims == ("clip", "head", "frame", "key")
        and own.shape[2:] == (clips.tokens.shape[-1],) * 2
    )
    np.testing.assert_allclose(own.sum("key"), 1, atol=1e-5)
    assert np.triu(own.values[0, 0], 1).max() == 0  # nothing reads what comes after it
    text = activations.attention(m, clips, 1, "cross")
    np.testing.assert_allclose(np.nansum(text, -1), 1, atol=1e-5)
    # what a head adds is its values, weighted so
    block = m.lm.transformer.layers[1]
    acts = capture(m, clips, ["resid.0", "head.1.0"])
    size = m.lm.dim // block.self_attn.num_heads
    with torch.no_grad():
        x = block.norm1(torch.from_numpy(acts["resid.0"].values))
        values = x @ block.self_attn.in_proj_weight[2 * m.lm.dim : 2 * m.lm.dim + size].T
        added = (
            torch.from_numpy(own.values[:, 0])
            @ values
            @ block.self_attn.out_proj.weight[:, :size].T
        )
    np.testing.assert_allclose(acts["head.1.0"], added, atol=1e-3)


def test_a_number_of_numpys_is_a_number(organism, sung):
    with activations.edit(
        organism, Edit("resid.2", multiply=np.float32(0), scale=np.float64(1), clips=np.int32(1))
    ):
        edited = capture(organism, sung(organism), "resid.2")["resid.2"].values
    assert [bool((clip == 0).all()) for clip in edited] == [False, True, False]


def test_what_a_function_returns_is_checked(organism, sung):
    clips = sung(organism)
    with activations.edit(organism, Edit("resid.2", apply=lambda x: x.double())):
        np.testing.assert_array_equal(
            capture(organism, clips, "resid.2")["resid.2"],
            capture(organism, clips, "resid.2")["resid.2"],
        )
    with (
        activations.edit(organism, Edit("resid.2", apply=lambda x: x[:1])),
        pytest.raises(ValueError, match="must return"),
    ):
        capture(organism, clips, "resid.2")
