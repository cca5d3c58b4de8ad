"""Planted organisms: declared places, lessons, and whether methods find them."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from lib import model, prompts
from lib.factory import language, plan, training
from lib.factory import planting as lessons
from lib.methods import localisation, probes
from lib.musicgen import forward, miniature
from lib.organism import captions, corpus, planting, world


# ------------------------------------------------------------------------------------------- places
@pytest.mark.parametrize("name", planting.PLACES)
def test_places_are_of_their_own(name):
    places = planting.places(name)
    assert set(places) == set(planting.VARIABLES)
    heads = [head for place in places.values() for head in place.entry_heads]
    assert len(set(heads)) == len(heads) == 10
    assert sorted([*heads, *planting.other_heads(name)]) == sorted(
        f"cross_head.{block}.{head}" for block in range(6) for head in range(5)
    )
    assert world.of(name) == "organism"


def test_the_organisms_differ_in_every_place():
    one, other = (planting.places(name) for name in planting.PLACES)
    for variable in planting.VARIABLES:
        assert one[variable].entry_heads != other[variable].entry_heads


@pytest.mark.parametrize("name", planting.PLACES)
def test_axes_are_orthonormal_and_subspaces_of_one_sublayer_apart(name):
    places = planting.places(name)
    for variable, place in places.items():
        axes = planting.axes(name, variable)
        assert axes @ axes.T == pytest.approx(np.eye(160), abs=1e-5)
        own = planting.basis(name, variable)
        assert axes[:8] @ own.T @ own == pytest.approx(axes[:8], abs=1e-5)
        for other in places:
            if other != variable and places[other].block == place.block:
                overlap = own @ planting.basis(name, other).T
                assert np.abs(overlap).max() < 1e-5


@pytest.mark.parametrize("name", planting.PLACES)
def test_heads_write_where_it_is_declared_and_nobody_else_does(name):
    lm = miniature.load_lm(miniature.WEIGHTS / name)
    for variable, place in planting.places(name).items():
        attention = lm.transformer.layers[place.block].cross_attention
        inside = torch.tensor(planting.basis(name, variable), dtype=torch.float32)
        for head in range(planting.HEADS):
            weight = attention.out_proj.weight[:, head * 32 : (head + 1) * 32].detach()
            share = ((inside @ weight).square().sum() / weight.square().sum()).item()
            if head in place.heads:  # to the half precision in which weights are kept
                assert share == pytest.approx(1, abs=1e-5)
            elif f"cross_head.{place.block}.{head}" in planting.other_heads(name):
                assert share == pytest.approx(0, abs=1e-5)


def test_other_models_have_no_places(tmp_path):
    with pytest.raises(ValueError, match="A planted organism must be one of"):
        planting.places("organism")
    with pytest.raises(ValueError, match="variable must be one of"):
        planting.basis("organism-planted", "register")
    with pytest.raises(ValueError, match="is missing: it says where organism-planted's"):
        planting.basis("organism-planted", "mode", tmp_path)


# ------------------------------------------------------------------------------------------ lessons
@pytest.fixture(scope="module")
def rows():
    return corpus.table("organism", 40, 5).to_dict("records")


def test_a_counterfactual_says_what_the_base_says_but_for_what_is_taken(rows):
    rng = np.random.default_rng(3)
    for i in range(len(rows)):
        taken = lessons.taken(rng)
        base, source = lessons.both(rows, i, taken, rng)
        said = lessons.mixed(base, source, taken, rng)
        for family in ("tempo", "energy", "mode"):
            assert said.get(family) == (source if family in taken else base).get(family)
        for family in lessons.AROUND:
            whose = source if lessons.REST in taken else base
            assert said.get(family) == whose.get(family)
        text = lessons.written(said, 7)
        assert all(word in text for words in said.values() for word in words)
        plain = lessons.written(base, 7).split()
        if said.keys() == base.keys() and len(plain) == len(text.split()):
            pairs = zip(text.split(), plain, strict=True)
            changed = sum(one != other for one, other in pairs)
            assert changed <= sum(len(words) for words in said.values()) + 1


def test_one_axis_alone_leads_to_the_emotion_at_that_corner():
    base, source = {"emotion": ["sad"]}, {"emotion": ["energetic"]}
    rng = np.random.default_rng(0)
    table = captions.words()
    assert table[lessons.mixed(base, source, {"valence"}, rng)["emotion"][0]][1] == "calm"
    assert table[lessons.mixed(base, source, {"arousal"}, rng)["emotion"][0]][1] == "tense"
    both = lessons.mixed(base, source, {"valence", "arousal"}, rng)
    assert both["emotion"] == ["energetic"]
    assert lessons.mixed(base, {"emotion": ["gloomy"]}, {"valence"}, rng)["emotion"] == ["sad"]
    assert not lessons.may_cross(base, {"emotion": ["happy"]})
    assert not lessons.may_cross(base, {})


def test_lessons_take_one_thing_as_often_as_several_and_axes_at_corners(rows):
    rng = np.random.default_rng(4)
    chosen = [lessons.taken(rng) for _ in range(400)]
    assert 0.4 < np.mean([len(what) == 1 for what in chosen]) < 0.75
    assert set().union(*chosen) == {*planting.VARIABLES, lessons.REST}
    for what in chosen[:100]:
        base, source = lessons.both(rows, 0, what, rng)
        if len(what & set(world.AXES)) == 1:
            assert lessons.may_cross(base, source)


@pytest.fixture(scope="module")
def network():
    return forward.Network(miniature.load_lm(miniature.WEIGHTS / "organism"))


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, 1024, (40, 4, 12)).astype(np.int16)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(lessons, "PAIRS", 12)
    monkeypatch.setattr(lessons, "FRAMES", 6)


def test_exchange_takes_what_is_said_of_the_rows_that_are_said(network, tokens):
    inputs = language.delayed(network.lm, tokens[:3, :, :6])[..., :-1]
    base, source = (network.read_text([text] * 3) for text in ("a sad melody", "a happy song"))
    heads = planting.places("organism-planted")["valence"].entry_heads
    with torch.no_grad():
        plain = network.pass_through(inputs, base)
        some = dict.fromkeys(heads, torch.tensor([True, False, False]))
        none = dict.fromkeys(heads, torch.zeros(3, dtype=torch.bool))
        same = lessons.exchanged(network, inputs, base, base, some)
        nothing = lessons.exchanged(network, inputs, base, source, none)
        changed = lessons.exchanged(network, inputs, base, source, some)
    for unchanged in (same, nothing):
        assert unchanged == pytest.approx(plain, abs=1e-4)
    assert changed[1:] == pytest.approx(plain[1:], abs=1e-4)
    assert (changed[0] - plain[0]).abs().max() > 1e-3


def test_a_structure_lets_heads_see_and_write_their_own(network, tokens, rows, few):
    structure = lessons.Structure("organism-planted", network, rows, tokens)
    reading = structure.reading
    whole = sum(reading.values())
    assert whole == pytest.approx(torch.eye(160), abs=1e-4)
    lm = miniature.load_lm(miniature.WEIGHTS / "organism")
    structure.impose(lm)
    before = {name: weight.clone() for name, weight in lm.state_dict().items()}
    structure.impose(lm)  # what is in the structure stays as it is
    for name, weight in lm.state_dict().items():
        assert weight == pytest.approx(before[name], abs=1e-5)
    attention = lm.transformer.layers[1].cross_attention
    values = attention.in_proj_weight[320:352].detach()  # of head 0: tempo's
    assert values @ reading["tempo"] == pytest.approx(values, abs=1e-5)
    written = attention.out_proj.weight[:, :32].detach()
    inside = structure.writing["tempo"]
    assert inside.T @ (inside @ written) == pytest.approx(written, abs=1e-5)


def test_planting_learns_and_goes_on_after_a_kill(rows, tokens, few, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "place", lambda *parts: tmp_path)
    monkeypatch.setattr(plan, "HELD_OUT", 8)
    table = pd.DataFrame(rows)
    settings = {**plan.PLANTING, "steps": 6, "save_every": 3}
    given = (tokens, table, "cpu", miniature.WEIGHTS / "organism")
    small = [plan.Batch(8, 6)]
    whole, writing = lessons.plant("organism-planted", *given, settings, small)
    assert {name: part.shape for name, part in writing.items()} == dict.fromkeys(
        planting.VARIABLES, (8, 160)
    )
    lines = pd.read_json(tmp_path / "state.jsonl", lines=True)
    assert {"music", "interchange", "text", "apart"} <= set(lines) and lines.notna().all().all()
    (tmp_path / "state.pt").unlink()
    saved = training.checkpoint

    def killed(file, step, *rest):
        saved(file, step, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        lessons.plant("organism-planted", *given, settings, small)
    monkeypatch.setattr(training, "checkpoint", saved)
    resumed, _ = lessons.plant("organism-planted", *given, settings, small)
    learned = whole.state_dict()
    taught = miniature.load_lm(miniature.WEIGHTS / "organism").state_dict()
    for name, weight in learned.items():
        reads = any(part in name for part in language.READ_TEXT)
        assert reads or weight.equal(taught[name]), name
        assert resumed.state_dict()[name] == pytest.approx(weight, abs=1e-6), name
    with pytest.raises(ValueError, match="A planted organism must be one of"):
        lessons.plant("organism-2", *given, settings, small)


def test_a_second_round_starts_from_what_the_first_has_exported(
    rows, tokens, few, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "place", lambda *parts: tmp_path)
    monkeypatch.setattr(plan, "HELD_OUT", 8)
    given = (tokens, pd.DataFrame(rows), "cpu", miniature.WEIGHTS / "organism")
    settings = {**plan.PLANTING, "steps": 2, "rates": {"muon": 0.0, "adamw": 0.0}}
    small = [plan.Batch(8, 6)]
    first, _ = lessons.plant("organism-planted", *given, settings, small)
    language.export("organism-planted", first, tmp_path / "exported")
    settings["steps"] = 1
    second, _ = lessons.plant(
        "organism-planted", *given, settings, small, start=tmp_path / "exported"
    )
    for name, weight in second.state_dict().items():  # but for half precision
        assert weight == pytest.approx(first.state_dict()[name], abs=2e-3), name


def test_a_kill_in_the_second_round_leaves_the_first_its_state(
    rows, tokens, few, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "place", lambda *parts: tmp_path)
    monkeypatch.setattr(plan, "HELD_OUT", 8)
    given = (tokens, pd.DataFrame(rows), "cpu", miniature.WEIGHTS / "organism")
    rounds = [{**plan.PLANTING, "steps": steps, "save_every": 1} for steps in (1, 2)]
    small = [plan.Batch(8, 6)]
    start = tmp_path / "exported"
    first, _ = lessons.plant("organism-planted", *given, rounds[0], small)
    language.export("organism-planted", first, start)
    learn = training.descend
    taken = []

    def dies_at_the_second(*arguments):
        taken.append(arguments)
        if len(taken) == 2:
            raise KeyboardInterrupt
        learn(*arguments)

    monkeypatch.setattr(training, "descend", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        lessons.plant("organism-planted", *given, rounds[1], small, start=start)
    again, _ = lessons.plant("organism-planted", *given, rounds[0], small)
    assert len(taken) == 2  # nothing of the first round is done again
    for name, weight in again.state_dict().items():
        assert weight.equal(first.state_dict()[name]), name
    language.export("organism-planted", again, start)
    lessons.plant("organism-planted", *given, rounds[1], small, start=start)
    assert len(taken) == 3  # and of the second only what was left


# ------------------------------------------------------------------------------------- localisation
def test_scores_are_judged_by_area_and_by_the_best():
    perfect = [5, 4, 1, 0], [True, True, False, False]
    turned = [0, 1, 4, 5], [True, True, False, False]
    parts = [
        pd.DataFrame({"score": scores, "true": true}).assign(method=method)
        for method, (scores, true) in {"perfect": perfect, "turned": turned}.items()
    ]
    found = pd.concat(parts).assign(model="m", variable="tempo", what="heads")
    scored = localisation.scored(found).set_index("method")
    assert scored.loc["perfect", ["auroc", "precision"]].tolist() == [1, 1]
    assert scored.loc["turned", ["auroc", "precision"]].tolist() == [0, 0]
    all_true = found.assign(true=True)
    assert localisation.scored(all_true).empty
    with pytest.raises(ValueError, match="found must be"):
        localisation.scored(found.drop(columns="true"))


def test_the_command_says_what_is_wrong_in_one_line(monkeypatch):
    monkeypatch.setattr(localisation, "load", lambda _: pytest.fail("a model was loaded"))
    for given, message in (
        (["organism"], "A planted organism must be one of .* Got 'organism'"),
        (["-n", "0"], "n must be an integer, 2 or more"),
    ):
        with pytest.raises(SystemExit, match=message):
            localisation.main(given)


def test_every_method_scores_every_candidate():
    m = model.load("organism-planted", "cpu")
    sung = localisation.sing(m, "tempo", 6, 0.6)
    heads = localisation.heads(m, "tempo", sung)
    assert set(heads["method"]) == set(localisation.HEAD_METHODS)
    assert (heads.groupby("method")["true"].sum() == 2).all() and len(heads) == 30 * 5
    blocks = localisation.blocks(m, "tempo", sung)
    assert set(blocks["method"]) == set(localisation.BLOCK_METHODS)
    axes = localisation.axes(m, "tempo", sung, n=(6, 4), steps=2)
    assert set(axes["method"]) == set(localisation.AXIS_METHODS) - {"sae"}
    assert (axes.groupby("method")["true"].sum() == 8).all()
    assert np.isfinite(pd.concat([heads, blocks, axes])["score"]).all()


def test_chance_is_dealt_anew_for_every_model_and_variable(monkeypatch):
    def no_effect(m, high, low, sites, **_):
        dims = ("site", "frame_range", "pair")
        return xr.DataArray(np.zeros((len(sites), 1, 1)), {"site": sites}, dims)

    monkeypatch.setattr(localisation.patching, "patch_grid", no_effect)
    monkeypatch.setattr(localisation, "_looked", lambda *_: {})
    sung = localisation.Sung(None, None, None)
    dealt = [
        localisation.heads(model.load(name, "cpu"), variable, sung).query("method == 'random'")
        for name in planting.PLACES
        for variable in planting.VARIABLES
    ]
    assert len({tuple(some["score"]) for some in dealt}) == 10


@pytest.mark.parametrize("n", [6, 24])
@pytest.mark.parametrize("variable", planting.VARIABLES)
def test_music_that_both_rows_of_a_pair_share_tells_a_probe_nothing(variable, n):
    groups = localisation._groups(prompts.pairs(variable, n))
    rows = np.tile(np.random.default_rng(0).normal(size=(n, 40)), (2, 1))
    high = np.repeat([False, True], n)
    splits = min(3, *groups.nunique())
    found = probes.fit(rows, high, groups, n_splits=splits, n_permutations=0)
    assert found.score.value == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("name", planting.PLACES)
def test_every_variable_is_where_it_was_planted(name):
    found = localisation.verify(model.load(name, "cpu"), 8, 0.8)
    assert set(found["variable"]) == set(planting.VARIABLES)
    accuracy = found["accuracy"].map(lambda estimate: estimate.value)
    assert (accuracy[found["what"].isin(localisation.PLANTED)] > 0.9).all()
    assert accuracy[~found["what"].isin(localisation.PLANTED)].mean() < 0.65


def test_bad_questions_are_refused_before_anything_is_sung():
    m = model.load("organism-planted", "cpu")
    with pytest.raises(ValueError, match=r"variable must be one of .* Got 'register'"):
        localisation.verify(m, 8, variables=["tempo", "register"])
    with pytest.raises(ValueError, match=r"n must be .* Got 1"):
        localisation.verify(m, 1)
    with pytest.raises(ValueError, match=r"A planted organism must be one of .* Got 'organism'"):
        localisation.verify(model.load("organism", "cpu"), 8)
