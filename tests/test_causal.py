import json
import re

import numpy as np
import pandas as pd
import pytest

from lib import activations, causal, prompts, show
from lib.activations import Edit
from lib.causal import graph, mediation, patching, perception, variables
from lib.organism import captions, world


@pytest.fixture(scope="module")
def songs(organism):
    """Happy and sad songs of pairs with prompts of two lengths."""
    table = prompts.pairs("emotion", 4)
    return [organism.generate(list(table[end]), 1.0, 0, progress=False) for end in ("high", "low")]


# ------------------------------------------------------------------------------------------------ patching
@pytest.mark.parametrize(("site", "direction"), [("resid.2", "denoise"), ("cross.1", "noise"), ("mlp.5", "denoise")])
def test_patching_is_what_edit_gives(organism, songs, site, direction):
    grid = causal.patch_grid(organism, *songs, site, ranges=[(3, 14)], direction=direction, progress=False)
    clean, corrupted = songs
    give, take = (clean, corrupted) if direction == "denoise" else (corrupted, clean)

    def said(prompts, edits=()):
        both = []
        for music in songs:
            clips = organism.clips(music.tokens, list(prompts), decode=False)
            with activations.edit(organism, *(e(clips) for e in edits)):
                both.append(-organism.cross_entropy(clips))
        return both[0] - both[1]

    def replace(clips):
        source = organism.clips(clips.tokens, give.prompts, decode=False)
        values = activations.capture(organism, source, site, progress=False)[site].values
        return Edit(site, replace=values, frames=range(3, 14))

    low, high = said(take.prompts), said(give.prompts)
    wanted = (said(take.prompts, [replace]) - low) / (high - low).mean()
    np.testing.assert_allclose(grid[0, 0].values, wanted, atol=2e-4)


def test_whole_blocks_and_the_last_one(organism, songs):
    grid = causal.patch_grid(organism, *songs, ["resid.0", "resid.7"], ranges=1, progress=False)
    assert grid.sel(site="resid.7").mean().item() == pytest.approx(1, abs=1e-4)
    assert abs(grid.sel(site="resid.0").mean().item()) < 0.5
    kl = causal.patch_grid(organism, *songs, ["resid.7"], "kl", ranges=1, progress=False)
    assert kl.mean().item() == pytest.approx(1, abs=1e-4) and (kl.clean.values == 0).all()


def test_attribution_approximates(organism, songs):
    exact, quick = (
        causal.patch_grid(organism, *songs, ["resid.*", "cross.*"], how=how, progress=False)
        for how in ("exact", "attribution")
    )
    assert np.corrcoef(exact.values.ravel(), quick.values.ravel())[0, 1] > 0.9
    assert np.abs(exact - quick).max() < 0.5


def test_paths_go_forward_and_add_up_where_nothing_follows(organism, songs):
    paths = causal.paths(organism, *songs, ["cross.7", "cross.1"], progress=False)
    behind = paths.sel(sender="cross.7")
    assert np.isnan(behind.sel(receiver=["attn.0", "cross.7"]).values).all()
    assert np.isfinite(behind.sel(receiver=["mlp.7", "logits"]).values).all()
    # through the last sublayer and straight on is all there is for the last cross-attention, to first order
    whole = causal.patch_grid(organism, *songs, "cross.7", ranges=1, progress=False)[0, 0]
    parts = behind.sel(receiver=["mlp.7", "logits"]).sum("receiver")
    assert np.abs(parts - whole.values).max() < 0.05 + 0.2 * np.abs(whole).max()


def test_a_long_grid_goes_on_after_a_kill(organism, songs, tmp_path, monkeypatch):
    plain = causal.patch_grid(organism, *songs, "resid.*", ranges=2, progress=False)
    own, calls = patching._exact, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(*args)

    where = tmp_path / "grid.zarr"
    monkeypatch.setattr(patching, "_exact", dies)
    with pytest.raises(KeyboardInterrupt):
        causal.patch_grid(organism, *songs, "resid.*", ranges=2, pairs_each=1, out=where, progress=False)
    again = causal.patch_grid(organism, *songs, "resid.*", ranges=2, pairs_each=1, out=where, progress=False)
    assert len(calls) == 5  # two pairs were kept, the third was begun again
    np.testing.assert_allclose(again.values, plain.values, atol=1e-4)


def test_cells_are_sung_as_edits_one_by_one(organism, songs):
    low, high = songs[1][:2], songs[0].prompts[:2]
    cells = causal.sing_cells(organism, low, high, ["resid.1", "resid.7"], [(0, 8), (8, 25), (0, 25)], progress=False)
    assert list(cells) == [(s, a, b) for s in ("resid.1", "resid.7") for a, b in ((0, 8), (8, 25), (0, 25))]
    late = cells["resid.1", 8, 25]
    with activations.edit(organism, Edit("resid.1", interchange=np.eye(192), frames=range(8, 25))):
        alone = organism.generate(low.prompts, 1.0, low.seeds, beside=high, progress=False)
    assert (late.tokens == alone.tokens).all() and late.prompts == low.prompts
    assert (late.tokens[:, 0, :7] == low.tokens[:, 0, :7]).all() and (late.tokens != low.tokens).any()
    # all of the last block, at every frame: the other prompt's song (but for what lies behind the last frame)
    asked = organism.generate(high, 1.0, low.seeds, progress=False)
    assert (cells["resid.7", 0, 25].tokens[:, 0] == asked.tokens[:, 0]).all()
    away = causal.sing_cells(organism, low, high, "resid.1", [(8, 25)], stream="uncond", progress=False)
    assert (away["resid.1", 8, 25].tokens != late.tokens).any()
    with pytest.raises(ValueError, match=r"prompts must be one for each of 2 clips\. Got 1"):
        causal.sing_cells(organism, low, high[:1])


def test_pairs_are_checked_before_the_grid(organism, songs):
    def clips(*told):
        return organism.clips(songs[0].tokens[: len(told)], list(told), decode=False)

    happy = clips("a happy piano melody")
    with pytest.raises(ValueError, match="must differ in one variable"):
        causal.patch_grid(organism, happy, clips("a sad violin melody"))
    with pytest.raises(ValueError, match="are the same"):
        causal.patch_grid(organism, happy, happy)
    with pytest.raises(ValueError, match="equally long"):
        causal.patch_grid(organism, songs[0], happy)
    with pytest.raises(ValueError, match=r"resid\.i"):
        causal.patch_grid(organism, *songs, "text")
    with pytest.raises(ValueError, match="NaN"):
        causal.patch_grid(organism, *songs, metric=lambda p, t, r: p.flatten(1).mean(1) * float("nan"))
    with pytest.raises(ValueError, match="nothing to share"):
        causal.patch_grid(organism, *songs, metric=lambda p, t, r: p.flatten(1).mean(1) * 0)
    with pytest.raises(ValueError, match="metric must be"):
        causal.patch_grid(organism, *songs, metric="loss")
    with pytest.raises(ValueError, match="ranges must be"):
        causal.patch_grid(organism, *songs, ranges=0)
    with pytest.raises(ValueError, match="Ranges must lie"):
        causal.patch_grid(organism, *songs, ranges=[(0, 999)])
    with pytest.raises(ValueError, match="Senders"):
        causal.paths(organism, *songs, "resid.*")


def test_patching_a_released_model(miniature):
    # words with unequal numbers of text tokens, as real vocabularies have them
    table = pd.DataFrame({"high": ["happy music", "cheerful music"], "low": ["sad music", "gloomy music"]})
    lengths = [[miniature._length(p) for p in table[end]] for end in table]
    assert lengths[0] != lengths[1]
    both = [miniature.generate(list(table[e]), 1.0, 0, progress=False) for e in table]
    grid = causal.patch_grid(miniature, *both, "resid.*", ranges=1, progress=False)
    assert grid[-1].mean().item() == pytest.approx(1, abs=1e-3)
    alone = causal.patch_grid(miniature, *(c[1:] for c in both), "resid.*", ranges=1, progress=False)
    ratio = (grid.clean - grid.corrupted).mean() / (alone.clean - alone.corrupted).mean()
    assert np.allclose(grid[:, 0, 1] * ratio, alone[:, 0, 0], atol=1e-3)


# ------------------------------------------------------------------------------------------------- prompts
@pytest.mark.parametrize("variable", sorted(prompts.POLES))
def test_pairs_differ_in_one_variable(organism, variable):
    table = prompts.pairs(variable, 12)
    for row in table.itertuples():
        assert row.word_high in row.high and row.word_low in row.low
        a, b = (
            t.replace(w, "_").replace("an _", "a _") for t, w in ((row.high, row.word_high), (row.low, row.word_low))
        )
        assert a == b
    with pytest.raises(ValueError, match="variable must be"):
        prompts.pairs("colour")


def test_interchanges_have_unseen_words_and_both_kinds():
    train, test = (prompts.interchanges("energy", 24, part, beside="tempo") for part in ("train", "test"))
    words = [
        {w for p in t["base"] for w in p.replace(",", "").split() if captions.family(w) == "dynamics"}
        for t in (train, test)
    ]
    assert not words[0] & words[1] and train["differs"].mean() == 0.5
    for row in test.itertuples():
        instrument = [
            next(w for w in p.split() if captions.family(w) == "instrument")
            for p in (row.base, row.counterfactual, row.source)
        ]
        assert instrument[0] == instrument[1] != instrument[2]
    with pytest.raises(ValueError, match="part must be"):
        prompts.interchanges("tempo", 4, "all")


# ----------------------------------------------------------------------------------------------- variables
@pytest.fixture(scope="module")
def pairs(organism):
    return [
        variables.sing(organism, prompts.interchanges("tempo", k, part), 1.5, k)
        for k, part in ((32, "train"), (16, "test"))
    ]


def test_alignment_search_finds_what_random_and_whole_do_not(organism, pairs):
    learned, test = pairs

    def find(method, **settings):
        return causal.locate(organism, learned, "tempo", "resid.2", method, 8, test=test, progress=False, **settings)

    random, das = find("random"), find("das", steps=40)
    whole = causal.locate(organism, learned, "tempo", "resid.5", "whole", test=test)
    assert random.accuracy.value <= 0.6 and random.keeps.value == 1  # a subspace that does nothing keeps everything
    assert whole.keeps.value < 0.5  # all of the site brings the instrument along
    assert das.accuracy.value > random.accuracy.value + 0.1 and das.keeps.value > 0.8
    np.testing.assert_allclose(das.basis @ das.basis.T, np.eye(8), atol=1e-4)
    for method in ("diffmeans", "probe"):
        assert find(method).basis.shape == (1, 192)
    given = find("given", directions=das.basis)
    assert given.method == "given" and given.moves == das.moves


def test_locate_checks_first(organism, pairs):
    for settings, message in (
        ({"size": 193}, "from 1 to 192"),
        ({"method": "magic"}, "method must be"),
        ({"site": "cross.1"}, "site must be"),
        ({"directions": np.ones((2, 5))}, r"shape \(size, 192\)"),
    ):
        with pytest.raises(ValueError, match=message):
            causal.locate(organism, pairs[0], "tempo", test=pairs[1], **settings)
    with pytest.raises(ValueError, match="need the columns"):
        variables.sing(organism, pd.DataFrame({"base": ["a"]}))


# ----------------------------------------------------------------------------------------------- mediation
def subspace(variable="energy", dim=192, site="resid.4"):
    return variables.Subspace(variable, site, "random", np.eye(4, dim), *[None] * 3)


def test_holding_all_of_the_last_block_is_the_other_prompt(organism):
    """With everything taken from the stream beside, the songs are those that its prompts ask for."""
    whole = variables.Subspace("energy", "resid.7", "whole", np.eye(192), *[None] * 3)
    found = causal.mediate(organism, subspaces=[whole], n=3, seconds=1.0)
    for held, asked in (("mediated", "high"), ("direct", "low")):
        assert (found.songs[held].tokens == found.songs[asked].tokens).all()
    nothing = mediation.dose(organism, "energy", whole, (0.0, 1.0), n=3, seconds=1.0)
    assert nothing.loc[nothing["scale"] == 1, "dynamics"].mean() > nothing.loc[nothing["scale"] == 0, "dynamics"].mean()


def test_mediate_runs_and_checks(organism):
    found = causal.mediate(organism, subspaces=[subspace()], n=2, seconds=1.0)
    assert set(found.songs) == {"low", "high", "direct", "mediated"} and len(found.heard) == 8
    other = mediation.of(found.heard, "tempo")
    low, high = (found.heard.loc[found.heard["song"] == s, "tempo"].to_numpy() for s in ("low", "high"))
    assert other.total.value == pytest.approx((high - low).mean())
    for settings, message in (
        ({"subspaces": []}, "locate 'energy' first"),
        ({"subspaces": [subspace("tempo")]}, "Expected subspaces of 'energy'"),
        ({"subspaces": [subspace(dim=64)]}, "192 dimensions"),
        ({"subspaces": [subspace()], "outcome": "colour"}, "outcome must be"),
        ({"subspaces": [subspace()], "cause": "colour"}, "variable must be"),
    ):
        with pytest.raises(ValueError, match=message):
            causal.mediate(organism, n=2, **settings)


def test_dose_of_nothing_is_the_plain_song(organism):
    table = mediation.dose(organism, "energy", subspace(), (0.0, 1.0), n=2, seconds=1.0)
    plain = organism.generate(list(prompts.pairs("energy", 2)["low"]), 1.0, 0, progress=False)
    np.testing.assert_allclose(table.loc[table["scale"] == 0, "dynamics"], mediation.hear(plain)["dynamics"], atol=1e-5)
    with pytest.raises(ValueError, match="not 'tempo'"):
        mediation.dose(organism, "tempo", subspace(), n=2)


def test_mediation_by_what_is_heard_recovers_a_known_share():
    rng = np.random.default_rng(0)
    cause = np.repeat([0, 1], 200)
    energy = 1.0 * cause + rng.normal(size=400)
    heard = pd.DataFrame({"song": np.where(cause, "high", "low"), "energy": energy})
    heard["arousal"] = 0.5 * cause + 0.5 * energy + 0.3 * rng.normal(size=400)
    found = mediation.heard_path(heard, n_rep=200)
    assert found.loc["ACME (average)", "low"] < 0.5 < found.loc["ACME (average)", "high"]
    assert found.loc["Prop. mediated (average)", "estimate"] == pytest.approx(0.5, abs=0.12)


# ---------------------------------------------------------------------------------------------- perception
def test_varied_changes_one_thing():
    from lib import acoustics

    soft, loud = (perception.varied({"dynamics": z}, 2, seconds=2.0) for z in (-1.0, 1.0))
    heard = [acoustics.measure_all(a) for a in (soft, loud)]
    assert (heard[1]["dynamics"] - heard[0]["dynamics"]).between(8, 12).all()  # 5 dB a standard deviation
    np.testing.assert_allclose(heard[0]["register"], heard[1]["register"], atol=0.5)
    with pytest.raises(ValueError, match="Cannot set"):
        perception.varied({"colour": 1.0}, 2)


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


# --------------------------------------------------------------------------------------------------- graph
def test_true_edges_follow_the_world():
    own, apart = graph.true_edges("organism"), graph.true_edges("organism-decoupled")
    assert own["tempo", "energy"] == 0.6 and apart["tempo", "energy"] == 0
    effect = [world.sample(4000, seed=1, do={"energy": z})["arousal"].mean() for z in (-1, 1)]
    assert own["energy", "arousal"] == pytest.approx((effect[1] - effect[0]) / 2, abs=0.03)


def test_compare_counts_edges():
    pairs = [("tempo", "energy"), ("energy", "tempo"), ("mode", "valence"), ("tempo", "arousal")]
    found = pd.DataFrame(pairs, columns=["cause", "effect"]).assign(edge=[True, True, True, False])
    precision, recall, table = graph.compare(found, "organism")
    assert (precision, recall) == (2 / 3, 2 / 3) and table["true"].tolist() == [0.6, 0.0, 0.75, 0.45]
    precision, recall, _ = graph.compare(found.assign(edge=False), "organism-shuffled")
    assert np.isnan(precision) and np.isnan(recall)


def test_sound_grid_has_a_clip_in_every_cell():
    frame = pd.DataFrame([[0.5, -1.0], [0.0, 0.2]], ["a<b", "</script>"], ["x", "y"])
    sounds = [np.zeros(1600, np.float32)] * 4
    page = show.sound_grid({"valence": frame, "arousal": -frame}, sounds, 16_000, "SD").data
    told = json.loads(re.search(r"grid\(document.getElementById\('\w+'\),(.*),null\)\}\)\(\)</script>", page)[1])
    assert told["rows"] == ["a<b", "</script>"] and told["columns"] == ["x", "y"] and len(told["sounds"]) == 4
    assert told["names"] == ["valence", "arousal"] and told["values"] == [[0.5, -1, 0, 0.2], [-0.5, 1, 0, -0.2]]
    assert page.count("</script>") == 1  # nothing that ends the script early
    with pytest.raises(ValueError, match="Got 3 clips for 4"):
        show.sound_grid(frame, sounds[:3], 16_000, "SD")
