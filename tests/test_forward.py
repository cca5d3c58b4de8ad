"""The one forward pass:

audiocraft's own numbers, hooks that fire or are refused, sublayers run from anywhere.
"""

import numpy as np
import pytest
import torch

from lib import activations, cache, model
from lib.musicgen import forward, hooks
from lib.musicgen.compat import audiocraft
from lib.musicgen.run import Visitors

ConditioningAttributes = audiocraft.modules.conditioners.ConditioningAttributes


@pytest.fixture(params=["organism", "miniature"])
def m(request):
    return request.getfixturevalue(request.param)


def test_the_likeliest_tokens_are_audiocrafts(m):
    settings = {"max_gen_len": 40, "use_sampling": False, "cfg_coef": 4.0}
    theirs = []
    for prompt in (
        "sad music",
        "fast music",
    ):  # one at a time: a shorter text reads its padding there
        condition = ConditioningAttributes(text={"description": prompt})
        theirs.append(m.lm.generate(None, [condition], **settings).numpy()[0])
    # a longer neighbour in the batch changes nothing
    prompts = ["sad music", "a very calm piano tune", "fast music"]
    ours = m.generate(prompts, 40 / m.frame_rate, temperature=0, cfg=4.0, progress=False)
    assert (ours.tokens[[0, 2]] == np.stack(theirs)).all()
    assert not any("forward" in vars(module) for module in m.lm.modules())


def test_other_architectures_are_refused(organism, monkeypatch):
    monkeypatch.setattr(organism.lm.transformer.layers[0].self_attn, "past_context", 100)
    with pytest.raises(ValueError, match="a limited past"):
        forward.check(organism.lm)


def hooked(m):
    """Modules that audiocraft calls, by the name a reader would look for."""
    layer = m.lm.transformer.layers[1]
    conditioner = m.lm.condition_provider.conditioners["description"]
    return {
        "transformer": m.lm.transformer,
        "layer": layer,
        "self-attention": layer.self_attn,
        "cross-attention": layer.cross_attention,
        "output projection": layer.self_attn.out_proj,
        "norm": layer.norm1,
        "MLP": layer.linear1,
        "head": m.lm.linears[0],
        "embedding": m.lm.emb[0],
        "conditioner": conditioner,
        "text encoder": conditioner.t5,
    }


def test_hooks_of_ones_own_fire_in_replay_and_in_generation(m):
    clips = m.generate(["sad music"], 0.4, progress=False)
    for name, module in hooked(m).items():
        fired = []
        handle = module.register_forward_hook(lambda *_, fired=fired: fired.append(1))
        try:
            m.cross_entropy(clips)
            assert fired, name
            fired.clear()
            m.generate(["sad music"], 0.4, progress=False)
            assert fired, name
        finally:
            handle.remove()


def test_what_a_hook_changes_is_changed(m):
    clips = m.generate(["sad music"], 0.4, progress=False)
    with activations.edit(m, activations.Edit("resid.1", multiply=0.5)):
        wanted = activations.capture(m, clips, "logits", progress=False)["logits"]
        sung = m.generate(["sad music"], 0.4, temperature=0, cfg=1.0, progress=False).tokens
    handle = m.lm.transformer.layers[1].register_forward_hook(
        lambda _module, _args, output: 0.5 * output
    )
    try:
        found = activations.capture(m, clips, "logits", progress=False)["logits"]
        again = m.generate(["sad music"], 0.4, temperature=0, cfg=1.0, progress=False).tokens
    finally:
        handle.remove()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_array_equal(sung, again)


def test_nnsight_reads_and_changes_what_runs(m):
    nnsight = pytest.importorskip("nnsight")
    clips = m.generate(["sad music", "fast music"], 0.4, progress=False)
    greedy = {"seconds": 0.2, "temperature": 0, "cfg": 1.0, "progress": False}
    site = activations.capture(m, clips, "resid.1", progress=False)["resid.1"]
    with activations.edit(m, activations.Edit("resid.2", multiply=0.5)), torch.no_grad():
        wanted = m.replay(clips.tokens, clips.prompts)
        sung = m.generate(["sad music"], **greedy).tokens
    net = nnsight.NNsight(m.lm)
    assert m.interventions == ()
    try:
        # hooks of one's own in between take nothing away from it
        m.lm.transformer.layers[1].register_forward_hook(lambda *_: None).remove()
        with torch.no_grad(), net.trace(clips.tokens, clips.prompts, fn=m.replay):
            stream = net.transformer.layers[1].output.save()
            net.transformer.layers[2].output[:] *= 0.5
            heads = nnsight.save([head.output for head in net.linears])
            there = nnsight.save(m.interventions)
        with pytest.raises(TypeError, match="cannot be told"):
            cache.digest(there)
        with torch.no_grad(), net.trace(["sad music"], **greedy, fn=m.generate) as tracer:
            for _ in tracer.iter[: m.frames(0.2) + max(m.lm.pattern_provider.delays)]:
                net.transformer.layers[2].output[:] *= 0.5
            songs = nnsight.save(tracer.result)
    finally:
        for module in m.lm.modules():
            vars(module).pop("forward", None)
    np.testing.assert_allclose(stream[:, : site.sizes["frame"]], site, atol=1e-5)
    np.testing.assert_allclose(torch.stack(heads, 1), wanted, atol=1e-4)
    np.testing.assert_array_equal(songs.tokens, sung)


def test_hooks_that_would_never_fire_are_refused(organism):
    for module in (organism.lm, organism.lm.fuser, organism.lm.transformer.layers[0].dropout1):
        handle = module.register_forward_hook(lambda *_: None)
        try:
            with pytest.raises(ValueError, match="would never fire"):
                organism.generate(["sad music"], 0.4, progress=False)
        finally:
            handle.remove()
    everywhere = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(ValueError, match="hook on all modules"):
            organism.generate(["sad music"], 0.4, progress=False)
    finally:
        everywhere.remove()
    handle = organism.lm.transformer.layers[0].register_forward_hook(lambda *_: None)
    try:
        with pytest.raises(ValueError, match="runs parts of the model"):
            hooks.check(organism.lm, parts=True)
    finally:
        handle.remove()


@pytest.mark.parametrize("how", ["class", "attribute", "of all"])
def test_a_forward_that_would_never_run_is_refused(how):
    other = model.load("organism", "cpu")
    layer = other.lm.transformer.layers[2]
    if how == "class":
        layer.__class__ = type("Other", (type(layer),), {"forward": lambda self, x, **_: x})
    elif how == "attribute":
        layer.forward = lambda x, **_: x
    else:
        other.lm.forward = lambda *_: None
    with pytest.raises(ValueError, match="has a forward of its own, which would not run"):
        other.generate(["sad music"], 0.4, progress=False)


@torch.no_grad()
def test_a_pass_may_begin_anywhere(m):
    clips = m.generate(["sad music", "fast music"], 0.6, progress=False)
    kept = {}

    def keep(site):
        return lambda values, position: kept.update({site: values})

    network = forward.Network(m.lm)
    names = [*network.names, *(f"before {name}" for name in network.names)]
    visitors = Visitors({site: [keep(site)] for site in names})
    text = network.read_text(clips.prompts)
    x = network.embed(m.sequence(clips.tokens), text)
    end = network.run(x, text, visitors)
    for start in (1, 4, 7):
        name = network.names[start]
        np.testing.assert_allclose(
            network.run(kept[f"before {name}"], text, start=start), end, atol=1e-4
        )
    # positions that stay as they were need not be run again
    past = network.fixed_past(kept, 5)
    later = network.run(x[:, 5:], text, past=past)
    np.testing.assert_allclose(later, end[:, 5:], atol=1e-4)
    packed = forward.Network(m.lm, rows=x.shape[0] * x.shape[1])
    np.testing.assert_allclose(packed.run(x, text), end, rtol=1e-4, atol=1e-3)


class Doubled(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_heads_of_ones_own_sing_as_they_are_replayed():
    m = model.load("organism", "cpu")
    plain = m.generate(["sad music"], 0.4, progress=False)
    for head in m.lm.linears:
        head.__class__ = Doubled
    clips = m.generate(["sad music"], 0.4, progress=False)
    assert not np.array_equal(clips.tokens, plain.tokens)
    asked = {"sites": "logits", "progress": False}
    live, replay = (activations.capture(m, clips, how=how, **asked) for how in ("live", "replay"))
    np.testing.assert_allclose(live["logits"], replay["logits"], atol=1e-2)


def test_half_precision_with_attention_in_float32(folder):
    m = model.load(str(folder), "cpu", dtype="bfloat16")
    before = m.bytes_of_singing(["sad music"], 5)
    for layer in m.lm.transformer.layers:
        layer.self_attn.attention_as_float32 = True
        layer.cross_attention.attention_as_float32 = True
    clips = m.generate(["sad music"], 0.1, temperature=0, progress=False)
    live, replay = (
        activations.capture(m, clips, "resid.1", how, progress=False)["resid.1"]
        for how in ("live", "replay")
    )
    np.testing.assert_allclose(live, replay, atol=0.05 * float(abs(replay).max()))
    assert m.bytes_of_singing(["sad music"], 5) > before


def test_gradients_flow(organism):
    clips = organism.generate(["sad music"], 0.4, progress=False)
    loss = organism.replay(clips.tokens, clips.prompts).logsumexp(-1).mean()
    loss.backward()
    weight = organism.lm.transformer.layers[0].linear1.weight
    assert weight.grad.abs().max() > 0
    organism.lm.zero_grad()
