"""Patching, paths, subspaces, mediation, perception, graph."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib import cache, prompts
from lib.hearing import acoustics
from lib.methods import causal
from lib.methods.causal import graph, mediation, patching, perception, subspaces
from lib.musicgen import activations
from lib.musicgen.activations import Edit
from lib.musicgen.store import StoreError
from lib.organism import captions, world


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
    assert np.abs(exact - quick).max() < 0.5


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


def test_mediation_by_what_is_heard_recovers_a_known_share():
    rng = np.random.default_rng(0)
    cause = np.repeat([0, 1], 150)
    energy = 1.0 * cause + rng.normal(size=300)
    heard = pd.DataFrame({"song": np.where(cause, "high", "low"), "energy": energy})
    heard["arousal"] = 0.5 * cause + 0.5 * energy + 0.3 * rng.normal(size=300)
    found = mediation.heard_path(heard, n_rep=60)
    assert found.loc["ACME (average)", "low"] < 0.5 < found.loc["ACME (average)", "high"]
    assert found.loc["Prop. mediated (average)", "estimate"] == pytest.approx(0.5, abs=0.12)
    few = [mediation.heard_path(heard, n_rep=3, seed=1) for _ in range(2)]
    pd.testing.assert_frame_equal(*few)  # the seed says what is drawn


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


def test_compare_counts_edges():
    edges = [("tempo", "energy"), ("energy", "tempo"), ("mode", "valence"), ("tempo", "arousal")]
    found = pd.DataFrame(edges, columns=["cause", "effect"]).assign(edge=[True, True, True, False])
    precision, recall, table = graph.compare(found, "organism")
    assert (precision, recall) == (2 / 3, 2 / 3)
    assert table["true"].tolist() == [0.6, 0.0, 0.75, 0.45]
    precision, recall, _ = graph.compare(found.assign(edge=False), "organism-shuffled")
    assert np.isnan(precision) and np.isnan(recall)
