"""Patching, paths, subspaces, mediation, perception, graph."""

import functools
import itertools
import types

import numpy as np
import pandas as pd
import pytest
import sae_lens
import torch

from lib import cache, prompts, stats
from lib.hearing import acoustics
from lib.methods import causal, divergence
from lib.methods.causal import (
    graph,
    mediation,
    patching,
    perception,
    runs,
    subspaces,
    tracing,
)
from lib.methods.steering import distilling
from lib.musicgen import activations, forward, sizing
from lib.musicgen.activations import Edit
from lib.musicgen.model import SOURCES
from lib.musicgen.store import StoreError
from lib.organism import captions, world
from lib.prompts import concepts


@pytest.fixture(scope="module")
def songs(organism):
    """Happy and sad songs of pairs with prompts of two lengths."""
    table = prompts.pairs("emotion", 4)
    return [organism.generate(list(table[end]), 1.0, 0, progress=False) for end in ("high", "low")]


@pytest.fixture
def changed(organism):
    """A weight that can be changed and is put back."""
    weight = organism.lm.transformer.layers[3].linear1.weight
    kept = weight.detach().clone()
    yield weight
    with torch.no_grad():
        weight.copy_(kept)


# ----------------------------------------------------------------------------------------- patching
@pytest.mark.parametrize(
    ("site", "direction"),
    [("resid.2", "denoise"), ("cross.1", "noise"), ("mlp.5", "denoise"), ("head.3.1", "denoise")],
)
def test_patching_is_what_edit_gives(organism, songs, site, direction):
    how = {"ranges": [(3, 14)], "direction": direction, "progress": False}
    grid = causal.patch_grid(organism, *songs, site, **how)
    clean, corrupted = songs
    give, take = (clean, corrupted) if direction == "denoise" else (corrupted, clean)

    def difference(prompts, edits=()):
        both = []
        for music in songs:
            clips = organism.clips(music.tokens, list(prompts), decode=False)
            with activations.edit(organism, *(make(clips) for make in edits)):
                both.append(-organism.cross_entropy(clips))
        return both[0] - both[1]

    def replace(clips):
        source = organism.clips(clips.tokens, give.prompts, decode=False)
        values = activations.capture(organism, source, site, progress=False)[site].values
        return Edit(site, replace=values, frames=range(3, 14))

    low = difference(take.prompts)
    high = difference(give.prompts)
    wanted = (difference(take.prompts, [replace]) - low) / (high - low).mean()
    np.testing.assert_allclose(grid[0, 0].values, wanted, atol=2e-4)


def test_whole_blocks_and_the_last_one(organism, songs):
    grid = causal.patch_grid(organism, *songs, ["resid.0", "resid.5"], ranges=1, progress=False)
    assert grid.sel(site="resid.5").mean().item() == pytest.approx(1, abs=1e-4)
    assert abs(grid.sel(site="resid.0").mean().item()) < 0.5
    kl = causal.patch_grid(organism, *songs, ["resid.5"], "kl", ranges=1, progress=False)
    assert kl.mean().item() == pytest.approx(1, abs=1e-4) and (kl.clean.values == 0).all()


def test_attribution_approximates(organism, songs):
    sites = ["resid.*", "cross.*", "cross_head.1.*"]
    exact, quick = (
        causal.patch_grid(organism, *songs, sites, how=how, ranges=2, progress=False)
        for how in ("exact", "attribution")
    )
    assert np.corrcoef(exact.values.ravel(), quick.values.ravel())[0, 1] > 0.9
    assert np.abs(exact - quick).mean() < 0.1


def test_ranges_are_numpys_and_stay_apart(organism, songs):
    """numpy's whole numbers, slices, and ranges that begin at the same position."""
    how = {"sites": "resid.2", "progress": False, "pairs_each": np.int64(4)}
    several = causal.patch_grid(organism, *songs, **how, ranges=[(0, 4), (0, 12), slice(-8, None)])
    positions = songs[0].tokens.shape[-1] + 3
    assert list(several.frame_range.values) == ["0–3", "0–11", f"{positions - 8}–{positions - 1}"]
    for k, part in enumerate(([0, np.int32(4)], (0, 12), (positions - 8, positions))):
        alone = causal.patch_grid(organism, *songs, **how, ranges=(r for r in [part]))
        np.testing.assert_allclose(several[:, k], alone[:, 0], atol=1e-5)
    parts = causal.patch_grid(organism, *songs, **how, ranges=np.int64(2))
    assert parts.sizes["frame_range"] == 2


def test_paths_go_forward_and_add_up_where_nothing_follows(organism, songs):
    paths = causal.paths(organism, *songs, ["cross.5", "cross.1"], progress=False)
    behind = paths.sel(sender="cross.5")
    assert np.isnan(behind.sel(receiver=["attn.0", "cross.5"]).values).all()
    assert np.isfinite(behind.sel(receiver=["mlp.5", "logits"]).values).all()
    # for the last cross-attention there is nothing but the last sublayer, and straight on
    whole = causal.patch_grid(organism, *songs, "cross.5", ranges=1, progress=False)[0, 0]
    parts = behind.sel(receiver=["mlp.5", "logits"]).sum("receiver")
    assert np.abs(parts - whole.values).max() < 0.05 + 0.2 * np.abs(whole).max()


def by_first_frames(scale, frames=5):
    """A metric with a closure."""

    def metric(log_p, tokens, reference):
        each = log_p.gather(-1, tokens[..., None])[..., 0]
        return scale * (each[:, 0] - each[:, 1])[..., :frames].mean((1, 2))

    return metric


def test_a_long_grid_goes_on_after_a_kill(organism, songs, tmp_path, monkeypatch):
    how = {"sites": "resid.*", "ranges": 2, "pairs_each": 1, "progress": False}
    plain = causal.patch_grid(organism, *songs, metric=by_first_frames(2.0), **how)
    own = patching._Exact.__call__
    calls = []

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(*args)

    where = {"out": tmp_path / "grid.zarr"}
    monkeypatch.setattr(patching._Exact, "__call__", dies)
    with pytest.raises(KeyboardInterrupt):
        causal.patch_grid(organism, *songs, metric=by_first_frames(2.0), **how, **where)
    # the metric is another object with the same code and closure
    again = causal.patch_grid(organism, *songs, metric=by_first_frames(2.0), **how, **where)
    assert len(calls) == 5  # two pairs were kept, the third was begun again
    np.testing.assert_allclose(again.values, plain.values, atol=1e-4)


def test_a_grid_is_known_by_its_content(organism, songs, tmp_path, changed):
    how = {"ranges": 1, "progress": False, "how": "attribution", "out": tmp_path / "grid.zarr"}
    metric = by_first_frames(1.0)
    causal.patch_grid(organism, *songs, "resid.5", metric, **how)
    moved = songs[0].tokens[..., ::-1].copy()  # the same tokens and so the same sum
    others = [organism.clips(moved, songs[0].prompts, decode=False), songs[1]]
    with pytest.raises(StoreError, match="clean"):
        causal.patch_grid(organism, *others, "resid.5", metric, **how)
    with pytest.raises(StoreError, match="metric"):
        causal.patch_grid(organism, *songs, "resid.5", by_first_frames(3.0), **how)
    name = cache.named("first frames", metric)
    with pytest.raises(StoreError, match="metric"):
        causal.patch_grid(organism, *songs, "resid.5", name, **how)
    with torch.no_grad():
        changed.mul_(1.01)
    with pytest.raises(StoreError, match="model"):
        causal.patch_grid(organism, *songs, "resid.5", metric, **how)


def test_a_grid_is_named_by_all_that_runs_the_model():
    assert {*SOURCES, runs, divergence, patching} <= set(patching.SOURCES)


def test_parts_do_not_run_inside_edits_nor_with_hooks(organism, songs, pairs):
    attempts = [
        lambda: causal.patch_grid(organism, *songs, progress=False),
        lambda: causal.paths(organism, *songs, progress=False),
        lambda: causal.locate(organism, pairs[0], "tempo", method="random", test=pairs[1]),
        lambda: subspaces.judge(organism, pairs[1], "resid.2", np.eye(160)[:1]),
    ]
    for attempt in attempts:
        with (
            activations.edit(organism, Edit("resid.3", multiply=0.5)),
            pytest.raises(ValueError, match=r"Inside activations\.edit \(1 in force\)"),
        ):
            attempt()
    handle = organism.lm.transformer.layers[2].register_forward_hook(lambda *_: None)
    try:
        with pytest.raises(ValueError, match="hook on"):
            attempts[0]()
    finally:
        handle.remove()


def test_cells_are_sung_as_edits_one_by_one(organism, songs):
    low, high = songs[1][:2], songs[0].prompts[:2]
    ranges = [(0, 8), (8, 25), (0, 25)]
    sites = ["resid.1", "resid.5"]
    cells = causal.sing_cells(organism, low, iter(high), sites, ranges, progress=False)
    assert list(cells) == [(site, *part) for site in sites for part in ranges]
    late = cells["resid.1", 8, 25]
    with activations.edit(organism, Edit("resid.1", interchange=np.eye(160), frames=range(8, 25))):
        alone = organism.generate(low.prompts, 1.0, low.seeds, beside=high, progress=False)
    assert (late.tokens[..., :20] == alone.tokens[..., :20]).all() and late.prompts == low.prompts
    assert (late.tokens[:, 0, :7] == low.tokens[:, 0, :7]).all()
    assert (late.tokens != low.tokens).any()
    # the last block at every frame: the other prompt's song (but for what lies behind the last one)
    asked = organism.generate(high, 1.0, low.seeds, progress=False)
    assert (cells["resid.5", 0, 25].tokens[:, 0] == asked.tokens[:, 0]).all()
    how = {"stream": "uncond", "progress": False}
    away = causal.sing_cells(organism, low, high, "resid.1", [(8, 25)], **how)
    assert (away["resid.1", 8, 25].tokens != late.tokens).any()
    with pytest.raises(ValueError, match=r"prompts must be one for each of 2 clips\. Got 1"):
        causal.sing_cells(organism, low, high[:1])


def test_pairs_are_checked_before_the_grid(organism, songs):
    def clips(*prompts):
        return organism.clips(songs[0].tokens[: len(prompts)], list(prompts), decode=False)

    happy = clips("a happy piano melody")
    for other, message in (
        (clips("a sad violin melody"), "must differ in one variable"),
        (happy, "are the same"),
        (songs[0], "equally long"),
    ):
        with pytest.raises(ValueError, match=message):
            causal.patch_grid(organism, happy, other)
    with pytest.raises(ValueError, match="Senders"):
        causal.paths(organism, *songs, "resid.*")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sites": "text"}, ValueError, r"resid\.i"),
        ({"metric": "loss"}, ValueError, "metric must be"),
        ({"metric": lambda p, t, r: p.flatten(1).mean(1) * float("nan")}, ValueError, "NaN"),
        ({"metric": lambda p, t, r: p.flatten(1).mean(1) * 0}, ValueError, "nothing to share"),
        ({"metric": lambda p, t, r: p.mean()}, ValueError, r"each of 4 pairs. Got \(\)"),
        ({"ranges": 0}, ValueError, "ranges must be an integer, from 1 to 28"),
        ({"ranges": 2.5}, TypeError, "ranges must be an integer"),
        ({"ranges": True}, TypeError, "ranges must be an integer"),
        ({"ranges": []}, ValueError, "ranges is empty"),
        ({"ranges": [(0, 999)]}, ValueError, r"end of ranges\[0\] must be .* from 1 to 28"),
        ({"ranges": [(-3, 5)]}, ValueError, r"first position of ranges\[0\]"),
        ({"ranges": [(4, 4)]}, ValueError, r"end of ranges\[0\] must be .* from 5 to 28"),
        ({"ranges": [slice(5, 5)]}, ValueError, "neighbouring positions"),
        ({"ranges": [slice(0, 0.5)]}, ValueError, "neighbouring positions"),
        ({"ranges": [slice(0, 5, 0)]}, ValueError, "neighbouring positions"),
        ({"ranges": slice(0, 5)}, TypeError, r"Write \[slice\(0, 5, None\)\] for one"),
        ({"pairs_each": -1}, ValueError, "pairs_each must be"),
        ({"direction": "back"}, ValueError, "direction must be one of"),
        ({"how": "fast"}, ValueError, "how must be one of"),
    ],
)
def test_settings_are_checked_before_the_grid(organism, songs, settings, error, message):
    with pytest.raises(error, match=message):
        causal.patch_grid(organism, *songs, **settings)


def test_patching_a_released_model(miniature):
    """Words with unequal numbers of text tokens, as real vocabularies have them."""
    table = pd.DataFrame(
        {"high": ["happy music", "cheerful music"], "low": ["sad music", "gloomy music"]}
    )
    lengths = [miniature.text_lengths(list(table[end])) for end in table]
    assert lengths[0] != lengths[1]
    both = [miniature.generate(list(table[end]), 1.0, 0, progress=False) for end in table]
    grid = causal.patch_grid(miniature, *both, "resid.*", ranges=1, progress=False)
    assert grid[-1].mean().item() == pytest.approx(1, abs=1e-3)
    second = [clips[1:] for clips in both]
    alone = causal.patch_grid(miniature, *second, "resid.*", ranges=1, progress=False)
    ratio = (grid.clean - grid.corrupted).mean() / (alone.clean - alone.corrupted).mean()
    assert np.allclose(grid[:, 0, 1] * ratio, alone[:, 0, 0], atol=1e-3)


# ------------------------------------------------------------------------------------------- memory
@pytest.fixture
def drawn(organism):
    """Music of two pairs of the same length, drawn and not sung."""
    codes = np.random.default_rng(0).integers(0, organism.lm.card, (2, 2, 4, 6))
    words = ("happy", "sad")
    return [
        organism.clips(some, [f"a {word} piano melody"] * 2, decode=False)
        for some, word in zip(codes, words, strict=True)
    ]


@pytest.fixture
def together(monkeypatch):
    """Rows of each pass, and a switch that leaves no memory."""
    own = forward.Network.run
    seen = []

    def run(net, stream, *args, **settings):
        seen.append(len(stream))
        return own(net, stream, *args, **settings)

    monkeypatch.setattr(forward.Network, "run", run)
    return seen, lambda: monkeypatch.setattr(sizing, "free", lambda device: 1)


@pytest.mark.parametrize("how", ["exact", "attribution", "paths"])
def test_where_memory_is_short_less_is_run_at_once_and_no_number_changes(
    organism, drawn, together, how, tmp_path
):
    def ask(**settings):
        if how == "paths":
            return causal.paths(organism, *drawn, ["cross.4", "cross.5"], progress=False)
        sites = ["resid.4", "cross.5"]
        asked = {"how": how, "ranges": 2, "progress": False, **settings}
        return causal.patch_grid(organism, *drawn, sites, **asked)

    seen, leave_nothing = together
    plain = ask(out=tmp_path / "grid.zarr")
    assert max(seen) > 2
    seen.clear()
    leave_nothing()
    short = ask()
    assert set(seen) == {2}  # both musics of one pair
    np.testing.assert_allclose(short.values, plain.values, atol=1e-4)
    if how != "paths":  # a store goes on whatever memory there is
        assert ask(out=tmp_path / "grid.zarr").identical(plain)


def test_edges_of_a_graph_are_found_one_by_one_where_memory_is_short(
    organism, drawn, together, monkeypatch
):
    seen, leave_nothing = together
    own = tracing._Frozen.leaves

    def leaves(frozen, rows):
        seen.append(rows)
        return own(frozen, rows)

    monkeypatch.setattr(tracing._Frozen, "leaves", leaves)
    size = {"d_in": 160, "d_out": 160, "d_sae": 6, "device": "cpu", "apply_b_dec_to_input": False}
    configuration = sae_lens.JumpReLUTranscoderConfig(**size)
    generator = torch.Generator().manual_seed(0)
    learned = [sae_lens.JumpReLUTranscoder(configuration) for _ in range(6)]
    for transcoder in learned:
        for weight in (transcoder.W_enc, transcoder.W_dec):
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    song = tracing.Song(organism, learned, drawn[0][:1])
    target = tracing.Target(0, 1, int(drawn[0].tokens[0, 0, 1]))

    def ask():
        found = tracing.graph(song, target, nodes=3)
        return found.edges, tracing.intervene(found, [0, 1, 2])

    seen.clear()
    plain = ask()
    assert max(seen) == 3
    seen.clear()
    leave_nothing()
    short = ask()
    assert set(seen) == {1}
    for one, other in zip(plain, short, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_what_is_wanted_of_all_clips_stays_on_the_cpu(organism, drawn, monkeypatch):
    """The meta device stands for an accelerator: nothing can be computed with what is left there."""
    away = torch.empty(2, 4, 6, organism.lm.card, device="meta")
    monkeypatch.setattr(type(organism), "predictions", lambda *_, **__: [([0, 1], away)])
    copied = []
    monkeypatch.setattr(
        torch.Tensor, "cpu", lambda some: copied.append(some) or torch.zeros(some.shape)
    )
    assert subspaces._predicted(organism, drawn[0], 2).device.type == "cpu" and len(copied) == 1
    monkeypatch.setattr(distilling, "predicted", lambda *_, **__: away)
    words = (["music"] * 2, drawn[0].prompts, drawn[1].prompts)
    assert distilling.wanted(organism, drawn[0], words, 1).device.type == "cpu"


# ------------------------------------------------------------------------------------------ prompts
@pytest.mark.parametrize("variable", sorted(prompts.POLES))
def test_pairs_differ_in_one_variable(variable):
    table = prompts.pairs(variable, 12)
    for row in table.itertuples():
        assert row.word_high in row.high and row.word_low in row.low
        high = row.high.replace(row.word_high, "_").replace("an _", "a _")
        low = row.low.replace(row.word_low, "_").replace("an _", "a _")
        assert high == low


def test_interchanges_have_unseen_words_and_both_kinds():
    parts = [prompts.interchanges("energy", 24, part, beside="tempo") for part in ("train", "test")]
    words = [
        {
            word
            for prompt in table["base"]
            for word in prompt.replace(",", "").split()
            if captions.family(word) == "dynamics"
        }
        for table in parts
    ]
    assert not words[0] & words[1] and parts[0]["differs"].mean() == 0.5
    for row in parts[1].itertuples():
        instruments = [
            next(word for word in prompt.split() if captions.family(word) == "instrument")
            for prompt in (row.base, row.counterfactual, row.source)
        ]
        assert instruments[0] == instruments[1] != instruments[2]
    for wrong in (
        lambda: prompts.pairs("colour"),
        lambda: prompts.interchanges("tempo", 4, "all"),
    ):
        with pytest.raises(ValueError, match="must be"):
            wrong()


# ---------------------------------------------------------------------------------------- subspaces
@pytest.fixture(scope="module")
def pairs(organism):
    return [
        subspaces.sing(organism, prompts.interchanges("tempo", n, part), 1.5, n)
        for n, part in ((32, "train"), (16, "test"))
    ]


def test_alignment_search_finds_what_random_and_whole_do_not(organism, pairs):
    learned, test = pairs

    def find(method, site="resid.2", **settings):
        how = {"size": np.int64(8), "test": test, "progress": False, **settings}
        return causal.locate(organism, learned, "tempo", site, method, **how)

    random = find("random")
    das = find("das", steps=40, lr=np.float32(0.03))
    whole = find("whole", "resid.5")
    assert random.accuracy.value <= 0.6
    assert random.keeps.value == 1  # a subspace that does nothing keeps everything
    assert whole.keeps.value < 0.5  # all of the site brings the instrument along
    assert das.accuracy.value > random.accuracy.value + 0.1 and das.keeps.value > 0.8
    np.testing.assert_allclose(das.basis @ das.basis.T, np.eye(8), atol=1e-4)
    for method in ("diffmeans", "probe"):
        assert find(method).basis.shape == (1, 160)
    # any directions that span the same: not orthonormal, in half precision, a tensor
    spanning = torch.from_numpy(np.tri(8) @ das.basis).half()
    given = find("given", directions=spanning)
    assert given.method == "given" and given.moves == das.moves
    assert all(p.grad is None for p in organism.lm.parameters())  # the search leaves nothing behind


def test_a_search_on_dealt_counterfactuals_finds_less(organism, pairs):
    learned, test = pairs
    how = {"size": 4, "steps": 40, "batch_size": 8, "test": test, "progress": False}
    differs = test.table["differs"]
    asked = subspaces.Pairs(test.table[differs].reset_index(), test.music[differs.to_numpy()])
    share = {
        method: subspaces.removed(
            organism, asked, causal.locate(organism, learned, "tempo", "resid.2", method, **how)
        )
        for method in ("das", "dealt", "random")
    }
    assert share["das"].mean() > 0.2 > abs(share["random"].mean())
    assert share["das"].mean() > share["dealt"].mean() + 0.2
    dealt = subspaces._dealt(organism, learned, 0)
    kept = ["base", "source", "differs"]
    assert dealt.table[kept].equals(learned.table[kept])
    was = list(learned.table["counterfactual"])
    now = list(dealt.table["counterfactual"])
    assert now != was and sorted(now) == sorted(was)
    # every counterfactual keeps the music that was sung for it
    sung = {prompt: learned.music.tokens[i] for i, prompt in enumerate(was)}
    twice = {prompt for prompt in was if was.count(prompt) > 1}
    for i, prompt in enumerate(now):
        assert prompt in twice or (dealt.music.tokens[i] == sung[prompt]).all()
    assert dealt.music.prompts == now


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"site": "attn.1"}, "site must be one of resid.i. Got 'attn.1'"),
        ({"method": "magic"}, "method must be one of"),
        ({"variable": "nothing"}, "variable must be one of"),
        ({"n": 4}, "n must be"),
        ({"n": (4, 0)}, "n must be"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_is_sung(
    organism, monkeypatch, wrong, message
):
    monkeypatch.setattr(subspaces, "sing", lambda *_: pytest.fail("sung"))
    with pytest.raises((ValueError, TypeError), match=message):
        subspaces.learn(organism, **{"variable": "tempo", "site": "resid.1", **wrong})


def test_the_ends_of_a_variable_are_told_by_whole_words(organism, monkeypatch):
    said = ["a happy melody", "an unhappy melody", "a sad tune", "a cheerful piano loop"]
    songs = organism.generate(said, 0.4, progress=False)
    found = []
    monkeypatch.setattr(
        subspaces.between_groups, "between", lambda acts, high, method: found.append(list(high))
    )
    pairs = types.SimpleNamespace(music=songs, table=pd.DataFrame({"base": said}))
    subspaces._between_ends(organism, pairs, "emotion", "resid.1", "diffmeans")
    assert found == [[True, False, False, True]]


def test_removed_is_all_or_nothing_where_it_must_be(organism, pairs):
    differs = pairs[1].table["differs"].to_numpy()
    asked = subspaces.Pairs(pairs[1].table[differs].reset_index(drop=True), pairs[1].music[differs])
    whole = subspaces.Subspace("tempo", "resid.5", "whole", np.eye(160), *[None] * 3)

    def removed(name, subspace=whole):
        table = asked.table.assign(source=asked.table[name])
        return subspaces.removed(
            organism, subspaces.Pairs(table, asked.music), subspace, batch_size=3
        )

    # all of the last block as the counterfactual has it
    assert removed("counterfactual").mean() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(removed("base"), 0, atol=1e-4)
    assert removed("source").mean() < 0  # the source's instrument comes along
    # any column can be what the change is held against
    turned = asked.table.rename(columns={"counterfactual": "aside", "other": "counterfactual"})
    aside = subspaces.Pairs(turned.assign(other=turned["source"]), asked.music)
    found = subspaces.removed(organism, aside, whole, toward="aside")
    np.testing.assert_allclose(found, removed("source"), atol=1e-4)
    with pytest.raises(ValueError, match="toward must be"):
        subspaces.removed(organism, asked, whole, toward="nobody")
    with pytest.raises(ValueError, match="nothing to remove"):
        table = asked.table.assign(counterfactual=asked.table["base"])
        subspaces.removed(organism, subspaces.Pairs(table, asked.music), whole)


def test_shares_are_not_ruled_by_pairs_that_hardly_differ():
    before = np.array([1.0, 1.0, 1e-6])
    after = np.array([0.5, 0.5, 0.1])
    found = subspaces.shares(before, after)
    assert found.mean() == pytest.approx(0.45, abs=1e-3)  # of its own, the last pair's is -100,000
    np.testing.assert_allclose(subspaces.shares(before, 0 * before).mean(), 1)
    assert (subspaces.shares(before, before) == 0).all()
    assert subspaces.shares(2 * before, 2 * after) == pytest.approx(found)
    with pytest.raises(ValueError, match="nothing to remove"):
        subspaces.shares(np.zeros(2), np.ones(2))
    # a control that does harm lends no merit
    beyond = subspaces.beyond(np.array([0.3, 0.3, 0.0]), np.array([0.1, -5.0, -5.0]))
    np.testing.assert_allclose(beyond, [0.2, 0.3, 0.0])


def test_holding_exchanges_at_every_site(organism, pairs):
    """The same as exchanging by hand, block by block."""
    few = subspaces.Pairs(pairs[1].table[:4], pairs[1].music[:4])
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(160, 6)))[0].T
    sites = ["resid.2", "resid.4"]
    projection = torch.as_tensor(basis.T @ basis, dtype=torch.float32)
    before, after = [], []
    for i in range(4):
        music = {
            name: organism.clips(few.music.tokens[[i]], [few.table[name][i]], decode=False)
            for name in ("base", "source", "counterfactual")
        }
        net = forward.undisturbed(organism)
        sequence = organism.sequence(music["source"].tokens)
        there = runs.record(net, sequence, music["source"].prompts, sites).sites

        def exchange(x, own):
            return x + (own - x) @ projection

        edits = [Edit(s, apply=functools.partial(exchange, own=there[s])) for s in sites]
        wanted, plain = (predicted(organism, music[name]) for name in ("counterfactual", "base"))
        with activations.edit(organism, *edits):
            changed = predicted(organism, music["base"])
        before.append(divergence.kl(wanted, plain).item())
        after.append(divergence.kl(wanted, changed).item())
    held = subspaces.Subspace("tempo", "resid.2", "given", basis, *[None] * 3, ("resid.4",))
    found = subspaces.removed(organism, few, held)
    np.testing.assert_allclose(found, subspaces.shares(before, after), atol=1e-3)
    alone = subspaces.removed(organism, few, held._replace(held=()))
    assert not np.allclose(found, alone, atol=1e-2)
    # what is found so is held to the last block
    how = {"test": few, "steps": 2, "progress": False, "size": 2}
    located = causal.locate(organism, few, "tempo", "resid.3", hold=True, **how)
    assert located.sites == ("resid.3", "resid.4", "resid.5")
    random = subspaces.random_like(located, 3)
    assert list(random) == ["random 1", "random 2", "random 3"]
    for some in random.values():
        assert some.sites == located.sites and some.basis.shape == located.basis.shape
        np.testing.assert_allclose(some.basis @ some.basis.T, np.eye(2), atol=1e-6)
    assert abs(random["random 1"].basis @ random["random 2"].basis.T).max() < 0.5


def predicted(model, clips):
    """Log-probabilities of one clip."""
    ((_, log_p),) = model.predictions(clips)
    return log_p


def test_locate_checks_first(organism, pairs):
    for settings, error, message in (
        ({"size": 161}, ValueError, "from 1 to 160"),
        ({"size": 2.5}, TypeError, "size must be an integer"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"batch_size": -1}, ValueError, "batch_size must be"),
        ({"lr": float("nan")}, ValueError, "lr must be"),
        ({"method": "magic"}, ValueError, "method must be"),
        ({"site": "cross.1"}, ValueError, "site must be"),
        ({"directions": np.ones((2, 5))}, ValueError, r"shape \(size, 160\)"),
        ({"directions": np.ones((2, 160))}, ValueError, "independent of each other"),
    ):
        with pytest.raises(error, match=message):
            causal.locate(organism, pairs[0], "tempo", test=pairs[1], **settings)
    for variable in ("mode", "register", "arousal", concepts.get("mode")):  # "low" is in "slow"
        with pytest.raises(ValueError, match="These are no pairs of"):
            causal.locate(organism, pairs[0], variable, test=pairs[1], method="random")
    with pytest.raises(ValueError, match="need the columns"):
        subspaces.sing(organism, pd.DataFrame({"base": ["a"]}))


def test_where_to_look_is_a_relative_depth(organism, miniature):
    table = prompts.interchanges("tempo", 4, "train")
    for m, site in ((organism, "resid.3"), (miniature, activations.at(miniature, 0.57))):
        few = subspaces.sing(m, table, 0.5)
        assert causal.locate(m, few, "tempo", method="random", test=few).site == site


# ---------------------------------------------------------------------------------------- mediation
def subspace(variable="energy", dim=160, site="resid.4"):
    return subspaces.Subspace(variable, site, "random", np.eye(4, dim), *[None] * 3)


def test_holding_all_of_the_last_block_is_the_other_prompt(organism):
    """With everything taken from the stream beside, songs are those that its prompts ask for."""
    whole = subspaces.Subspace("energy", "resid.5", "whole", np.eye(160), *[None] * 3)
    found = causal.mediate(organism, subspaces=(s for s in [whole]), n=3, seconds=1.0)
    assert set(found.songs) == {"low", "high", "direct", "mediated"} and len(found.heard) == 12
    for held, asked in (("mediated", "high"), ("direct", "low")):
        assert (found.songs[held].tokens == found.songs[asked].tokens).all()
    assert found.mediated.value == pytest.approx(found.total.value)
    assert found.direct.value == pytest.approx(0)
    other = mediation.effects_on(found.heard, "tempo")
    low, high = (
        found.heard.loc[found.heard["song"] == s, "tempo"].to_numpy() for s in ("low", "high")
    )
    assert other.total.value == pytest.approx((high - low).mean())
    # by degrees: nothing of it is the plain song, all of it the one for the other prompt
    table = mediation.dose(
        organism, "energy", whole, (0.0, np.float32(1)), n=np.int64(3), seconds=1.0
    )
    plain = organism.generate(list(prompts.pairs("energy", 3)["low"]), 1.0, 0, progress=False)
    dynamics = table.set_index("scale")["dynamics"]
    np.testing.assert_allclose(dynamics[0.0], mediation.hear(plain)["dynamics"], atol=1e-5)
    assert dynamics[1.0].mean() > dynamics[0.0].mean()


def test_mediation_checks_first(organism):
    for settings, message in (
        ({"subspaces": []}, "locate 'energy' first"),
        ({"subspaces": [subspace("tempo")]}, "Expected subspaces of 'energy'"),
        ({"subspaces": [subspace(dim=64)]}, "160 dimensions"),
        ({"subspaces": [subspace()], "outcome": "colour"}, "outcome must be"),
        ({"subspaces": [subspace()], "cause": "colour"}, "must be"),
        ({"subspaces": [subspace()], "n": 1}, "n must be"),
    ):
        with pytest.raises(ValueError, match=message):
            causal.mediate(organism, **{"n": 2, **settings})
    with pytest.raises(ValueError, match="not 'tempo'"):
        mediation.dose(organism, "tempo", subspace(), n=2)


def test_nulls_are_sung_beside_the_mediator_and_change_nothing_of_it(organism):
    rng = np.random.default_rng(0)
    own, other = (
        subspaces.Subspace("energy", "resid.3", "given", rng.normal(size=(24, 160)), *[None] * 3)
        for _ in range(2)
    )
    own = own._replace(held=("resid.5",))
    how = {"n": 3, "seconds": 1.0}
    nulls = {"twin": own, "other": other._replace(variable="mode")}
    found = causal.mediate(organism, subspaces=[own], nulls=nulls, **how)
    assert list(found.songs) == ["low", "high", "direct", "mediated", "twin", "other"]
    alone = causal.mediate(organism, subspaces=[own], **how)
    for song in ("low", "high", "direct", "mediated"):
        assert (found.songs[song].tokens == alone.songs[song].tokens).all()
    assert (found.songs["twin"].tokens == found.songs["mediated"].tokens).all()
    second = causal.mediate(organism, subspaces=[other], **how)
    assert (found.songs["other"].tokens == second.songs["mediated"].tokens).all()
    assert (found.songs["other"].tokens != found.songs["mediated"].tokens).any()
    twin = found.heard[found.heard["song"] != "other"]
    np.testing.assert_allclose(mediation.beyond(twin, "dynamics"), 0)
    with pytest.raises(ValueError, match="called 'low'"):
        causal.mediate(organism, subspaces=[own], nulls={"low": own}, **how)
    # each pair meets one of both nulls, in turn, and sings what it sang before
    some = causal.mediate(organism, subspaces=[own], nulls=nulls, met=1, **how)
    for null, rows in (("twin", [0, 2]), ("other", [1])):
        met = some.heard[some.heard["song"] == null]
        assert list(met["pair"]) == rows
        assert (some.songs[null].tokens == found.songs[null].tokens[rows]).all()
    apart = mediation.beyond(some.heard, "dynamics")
    assert apart[0] == apart[2] == 0 != apart[1]
    with pytest.raises(ValueError, match="met must be"):
        causal.mediate(organism, subspaces=[own], nulls=nulls, met=3, **how)


def test_nulls_are_met_equally_often():
    met = np.concatenate(mediation._dealt(22, 11, 3))
    assert (np.bincount(met) == 3).all()
    assert {len(rows) for rows in mediation._dealt(22, 11, 3)} == {6}


def test_beyond_is_what_nulls_do_not_mediate():
    values = {"low": 1.0, "high": 9.0, "direct": 7.0, "mediated": 4.0, "one": 2.0, "two": 1.0}
    rows = [
        {"song": song, "pair": pair, "dynamics": value + pair}
        for song, value in values.items()
        for pair in range(3)
    ]
    heard = pd.DataFrame(rows)
    np.testing.assert_allclose(mediation.beyond(heard, "dynamics"), [2.5, 2.5, 2.5])
    mediated = (heard["song"] == "mediated") * heard["pair"]
    words = heard["pair"].map({0: "fast", 1: "quick", 2: "fast"})
    unlike = heard.assign(dynamics=heard["dynamics"] + mediated, word=words)
    np.testing.assert_allclose(mediation.beyond(unlike, "dynamics"), [2.5, 3.5, 4.5])
    np.testing.assert_allclose(mediation.beyond(unlike, "dynamics", by="word"), [3.5, 3.5])
    with pytest.raises(ValueError, match="no nulls"):
        mediation.beyond(heard[~heard["song"].isin(["one", "two"])], "dynamics")
    effects = mediation.effects_on(heard, "dynamics")
    assert (effects.total.value, effects.direct.value, effects.mediated.value) == (8, 6, 3)
    assert effects.share == 3 / 8


@pytest.mark.parametrize(
    ("name", "outcome", "direct", "mediated"),
    [
        ("organism", "dynamics", 0.0, 0.6 * 0.9),
        ("organism", "arousal", 0.45, 0.6 * (0.9 * 0.4 + 0.8 * 0.25 + 0.7 * 0.15)),
        ("organism-decoupled", "dynamics", 0.0, 0.0),
        ("organism-decoupled", "arousal", 0.45, 0.0),
        ("organism-habit", "dynamics", 0.0, 0.0),
    ],
)
def test_a_world_says_what_passes_through_energy(name, outcome, direct, mediated):
    """By its own do-operator, as by the product of the weights along the way."""
    found = mediation.in_world(name, outcome, n=500)
    assert found["direct"] == pytest.approx(direct, abs=1e-6)
    assert found["mediated"] == pytest.approx(mediated, abs=1e-3)
    assert found["total"] == pytest.approx(direct + mediated, abs=1e-3)


# --------------------------------------------------------------------------------------- perception
def test_varied_changes_one_thing():
    soft, loud = (perception.varied({"dynamics": z}, 2, seconds=2.0) for z in (-1.0, 1.0))
    heard = [acoustics.measure_all(audio) for audio in (soft, loud)]
    assert (heard[1]["dynamics"] - heard[0]["dynamics"]).between(8, 12).all()  # 5 dB an SD
    np.testing.assert_allclose(heard[0]["register"], heard[1]["register"], atol=0.5)
    with pytest.raises(ValueError, match="Cannot set"):
        perception.varied({"colour": 1.0}, 2)


def test_energy_plays_louder_denser_and_less_legato():
    calm, wild = (perception.varied({"energy": z}, 4, seconds=2.0) for z in (-1.2, 1.2))
    heard = [acoustics.measure_all(audio).mean() for audio in (calm, wild)]
    assert heard[1]["dynamics"] > heard[0]["dynamics"] and heard[1]["density"] > heard[0]["density"]
    assert heard[1]["articulation"] < heard[0]["articulation"]
    assert set(perception.HUMAN_ORDER) < set(world.CUES) < {*mediation.HEARD, "density"}
    for (cue, axis), sign in perception.HUMAN_SIGNS.items():
        assert np.sign(world.EDGES[cue][axis]) == sign


def test_the_model_hears_mode_as_valence(organism):
    found = perception.interaction(organism, "tempo", "mode", 6, seconds=2.0).set_index("axis")
    assert found.loc["valence", "mode"].low > 0
    assert found.loc["valence", "mode"].value > abs(found.loc["arousal", "mode"].value)
    assert found.loc["arousal", "tempo"].value > 0


def test_a_cue_does_not_interact_with_itself(organism):
    with pytest.raises(ValueError, match="second must be another cue than 'tempo'"):
        perception.interaction(organism, "tempo", "tempo", 2)


def test_a_line_is_told_from_a_bend():
    z = np.array([-1.0, -0.5, 0.5, 1.0])
    straight = perception._line(z, np.outer(z, [2.0, 3.0]))
    bent = perception._line(z, np.outer(z**2 - (z**2).mean(), [1.0, 1.0]))
    assert straight["effect"].value == pytest.approx(2.5) and straight["linear"] == pytest.approx(1)
    assert bent["linear"] == pytest.approx(0, abs=1e-9) and bent["quadratic"] == pytest.approx(1)


# -------------------------------------------------------------------------------------------- graph
def test_true_edges_follow_the_world():
    own, apart = graph.true_edges("organism"), graph.true_edges("organism-decoupled")
    assert own["tempo", "energy"] == 0.6 and apart["tempo", "energy"] == 0
    effect = [world.sample(4000, seed=1, do={"energy": z})["arousal"].mean() for z in (-1, 1)]
    assert own["energy", "arousal"] == pytest.approx((effect[1] - effect[0]) / 2, abs=0.03)

    assert graph.true_edges("organism-shuffled") == {}
    habit = graph.true_edges("organism-habit")
    assert habit["tempo", "energy"] == 0
    # "happy", "joyful", "sad", "tense" follow the mode, "energetic" and "calm" the tempo
    assert habit["mode", "valence"] > 0.3 > abs(habit["mode", "arousal"])
    assert habit["tempo", "arousal"] > 0.15


def test_one_rule_finds_edges_of_known_size():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=40)
    noise -= noise.mean()
    values = {
        "large": 0.5 + noise,
        "small but sure": 0.05 + 0.01 * noise,
        "large but unsure": 0.15 + noise,
        "nothing at all": np.zeros(40),
        "downwards": -0.4 + 0.5 * noise,
    }
    rows = [("tempo", name, "sung", some) for name, some in values.items()]
    found = graph.decided(pd.DataFrame(rows, columns=["cause", "effect", "how", "values"]))
    assert found.set_index("effect")["edge"].to_dict() == {
        "large": True,
        "small but sure": False,
        "large but unsure": False,
        "nothing at all": False,
        "downwards": True,
    }
    assert found["size"].iloc[0].value == pytest.approx(0.5)


def test_a_prompt_that_moves_nothing_makes_no_effect_large(monkeypatch):
    """Songs whose tempo the prompt leaves alone, and by chance their energy, too."""
    rng = np.random.default_rng(0)

    class Still:
        def generate(self, asked, *_, **__):
            return asked

    monkeypatch.setattr(
        mediation,
        "hear",
        lambda asked: pd.DataFrame(0.01 * rng.normal(size=(len(asked), 3)), columns=graph.CUES),
    )
    for _, _, _, values in graph._sung(Still(), "tempo", 20, 1.0, 0):
        assert abs(np.mean(values)) < 0.02


def test_words_are_the_units_of_a_graph(monkeypatch):
    """An effect that the two words of mode have, alike in all their prompts, is none of mode's."""

    class Echo:
        def generate(self, asked, *_, **__):
            return asked

    def hear(asked):
        high = np.array([float("major" in text) for text in asked])
        compound = np.array([float("-key" in text) for text in asked])
        return pd.DataFrame({"tempo": high * (1 + compound), "energy": high, "mode": high})

    monkeypatch.setattr(mediation, "hear", hear)
    rows = graph._sung(Echo(), "mode", 32, 1.0, 0)
    values = {effect: sorted(some) for _, effect, _, some in rows}
    assert values == {"tempo": [1, 2], "energy": [1, 1]}
    found = graph.decided(pd.DataFrame(rows, columns=["cause", "effect", "how", "values"]))
    assert found["p"].isna().all() and not found["edge"].any()


def test_bayes_rule_places_music():
    equal = pd.DataFrame(0.0, index=range(2), columns=list(world.EMOTIONS))
    middle = np.mean(list(world.EMOTIONS.values()), 0)
    np.testing.assert_allclose(graph.expected_places(equal, 200), [middle, middle])
    sure = equal.assign(sad=[1000.0, 0.0])  # one nat a token
    np.testing.assert_allclose(
        graph.expected_places(sure, 200), [world.EMOTIONS["sad"], middle], atol=1e-6
    )
    # twice as likely: weighed so
    twice = equal.assign(sad=1000 * np.log(2) / 200)
    places = np.array(list(world.EMOTIONS.values()))
    weighed = (places.sum(0) + world.EMOTIONS["sad"]) / 6
    np.testing.assert_allclose(graph.expected_places(twice, 200)[0], weighed)


def test_compare_counts_edges():
    edges = [("tempo", "energy"), ("energy", "tempo"), ("mode", "valence"), ("tempo", "arousal")]
    found = pd.DataFrame(edges, columns=["cause", "effect"]).assign(edge=[True, True, True, False])
    found = found.assign(size=[stats.mean([0.4, 0.6])] * len(found), p=0.5)
    compared = graph.compare(found, "organism")
    assert (compared.precision, compared.recall, compared.right) == (2 / 3, 2 / 3, 0.5)
    assert compared.table["true"].tolist() == [0.6, 0.0, 0.75, 0.45]
    # three of four edges dealt at random: three times of four two hits, else three
    assert compared.chance == pytest.approx(0.75 * 0.5 + 0.25 * 1.0) and compared.p == 1
    right = graph.compare(found.assign(edge=[True, False, True, True]), "organism")
    assert right.right == 1 and right.p == pytest.approx(0.25)
    # a world without edges can be told rightly and wrongly, but never better than by chance
    for edge, share in (([False] * 4, 1.0), ([True, False, False, False], 0.75)):
        shuffled = graph.compare(found.assign(edge=edge), "organism-shuffled")
        assert (shuffled.right, shuffled.chance, shuffled.p) == (share, share, 1)
        assert np.isnan(shuffled.recall) and np.isnan(shuffled.precision) == (share == 1)


def test_an_edge_of_the_wrong_sign_is_not_the_true_one():
    edges = [("tempo", "energy"), ("energy", "tempo"), ("mode", "valence"), ("tempo", "arousal")]
    up, down = stats.mean([0.4, 0.6]), stats.mean([-0.6, -0.4])
    found = pd.DataFrame(edges, columns=["cause", "effect"])
    found = found.assign(edge=[True, False, True, False], size=[up, up, down, up], p=0.5)
    compared = graph.compare(found, "organism")
    assert (compared.precision, compared.recall, compared.right) == (1 / 2, 1 / 3, 0.5)
    dealt = [
        graph.compare(found.assign(edge=np.isin(range(4), some)), "organism")
        for some in itertools.combinations(range(4), 2)
    ]
    assert compared.chance == pytest.approx(np.mean([other.right for other in dealt]))
    share = np.mean([other.recall >= compared.recall for other in dealt])
    assert compared.p == pytest.approx(share)


def test_what_was_not_tested_is_not_compared():
    edges = [("tempo", "energy"), ("energy", "tempo"), ("mode", "tempo")]
    found = pd.DataFrame(edges, columns=["cause", "effect"])
    found = found.assign(size=[stats.mean([0.4, 0.6])] * 3)
    found = found.assign(edge=[True, False, False], p=[0.01, 1.0, np.nan])
    compared = graph.compare(found, "organism")
    assert compared.right == 1 and compared.p == 0.5 and len(compared.table) == 3
    nothing = graph.compare(found.assign(edge=False, p=np.nan), "organism")
    assert np.isnan(nothing.right) and nothing.p == 1


def test_the_null_of_a_graph_is_dealt_edges():
    candidates = [(cause, effect) for cause in graph.CUES for effect in (*graph.CUES, *graph.AXES)]
    found = pd.DataFrame([c for c in candidates if c[0] != c[1]], columns=["cause", "effect"])
    found = found.assign(size=[stats.mean([0.4, 0.6])] * len(found), p=0.5)
    rng = np.random.default_rng(0)
    edge = np.arange(len(found)) % 3 == 0
    compared = graph.compare(found.assign(edge=edge), "organism")
    dealt = [
        graph.compare(found.assign(edge=rng.permutation(edge)), "organism").right
        for _ in range(400)
    ]
    assert np.mean(dealt) == pytest.approx(compared.chance, abs=0.03)
    assert np.mean(np.array(dealt) >= compared.right) == pytest.approx(compared.p, abs=0.08)


def test_mode_in_music_is_heard_as_valence(organism):
    (_, _, _, valence), (_, _, _, arousal) = graph._heard(organism, "mode", 6, 2.0, 0)
    assert valence.mean() > 0.3 > abs(arousal.mean())
