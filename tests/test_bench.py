"""The bench: tasks in three parts, levers of every kind, how they are found and kept, and scores."""

import dataclasses
import itertools
import json
import types

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch

from lib import cache, model, stats
from lib.book import rules
from lib.methods import divergence, steering
from lib.methods.steering import (
    bench,
    distilling,
    finding,
    keeping,
    rank_one,
    scores,
    sliders,
    tasks,
)
from lib.methods.steering import (
    levers as kinds,
)
from lib.musicgen import activations
from lib.musicgen.activations import Edit

SITE = "resid.3"
TASK = tasks.Task("happy", "induce")


# --------------------------------------------------------------------------------------------- tasks
@pytest.mark.parametrize("language", ["organism", "natural"])
@pytest.mark.parametrize("concept", tasks.CONCEPTS)
def test_parts_share_nothing(concept, language):
    parts = {part: tasks.rows(concept, part, 12, language) for part in tasks.PARTS}
    of_two = concept == "mode" and language == "organism"
    for one, other in itertools.combinations(tasks.PARTS, 2):
        for column in (
            "word_high",
            "word_low",
            "word_neutral",
            "template",
            "seed",
            "neutral",
            "high",
        ):
            shared = set(parts[one][column]) & set(parts[other][column]) - {""}
            found_and_chosen = of_two and {one, other} == {"find", "choose"}
            assert not shared or (found_and_chosen and column in ("word_high", "word_low")), column
    for table in parts.values():
        assert not set(table["word_high"]) & set(table["word_low"])
        assert not set(table["word_any"]) & set(table["word_high"])
        assert all(
            word in prompt for word, prompt in zip(table["word_high"], table["high"], strict=True)
        )
        assert all(
            kept in prompt for kept, prompt in zip(table["kept"], table["neutral"], strict=True)
        )


def test_sentences_are_the_same_for_every_concept():
    happy, tempo = (tasks.rows(concept, "report", 7) for concept in ("happy", "tempo"))
    assert list(happy["neutral"]) == list(tempo["neutral"])
    assert list(happy["seed"]) == list(tempo["seed"])
    organ = tasks.rows("organ", "report", 3)
    assert not any("organ" in prompt or "{" in prompt for prompt in organ["neutral"])
    assert tasks.keeps("organ") == "emotion" and tasks.keeps("happy") == "instrument"


def test_wrong_tasks_are_refused():
    with pytest.raises(ValueError, match="'gloomy'"):
        tasks.tasks(["gloomy"])
    with pytest.raises(ValueError, match="part must be one of"):
        tasks.words("happy", "test")
    with pytest.raises(ValueError, match="language"):
        tasks.rows("happy", "find", 2, "latin")
    with pytest.raises(ValueError, match="method must be one of"):
        bench.Design(methods=["magic"])
    with pytest.raises(ValueError, match="strength"):
        bench.Design(doses={"probe": [0.0]}).strengths("probe")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model", "organism-x"], "Unknown model 'organism-x'"),
        (["--concepts", "gloomy"], "'gloomy'"),
        (["--methods", "magic"], "method must be one of"),
        (["-n", "0"], "n must be an integer, 2 or more. Got 0."),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(given, message, monkeypatch):
    monkeypatch.setattr(bench, "run", lambda *_: pytest.fail("songs were sung"))
    with pytest.raises(SystemExit, match=message):
        bench.main(given)


# -------------------------------------------------------------------------------------------- levers
@pytest.fixture(scope="module")
def given(organism):
    sae = finding.dictionary(organism, clips=40, seconds=1.0, width=64, k=8, passes=1)
    how = {"seconds": 0.8, "steps": 2, "dictionary": sae}
    return finding.lesson(organism, "happy", 4, **how)


@pytest.fixture(scope="module")
def levers(given):
    return {method: finding.find(method, given) for method in finding.METHODS}


@pytest.fixture(scope="module")
def rows():
    return tasks.rows("happy", "report", 2)


def sung(organism, lever, rows, strength, task=TASK):
    return bench.sing(organism, [bench.job(lever, task, rows, strength)], 0.6)[0].tokens


@pytest.fixture(scope="module")
def plain(organism, rows):
    return organism.generate(list(rows["neutral"]), 0.6, list(rows["seed"]), progress=False).tokens


@pytest.mark.parametrize("method", finding.METHODS)
def test_a_lever_at_strength_zero_is_nothing_and_else_something(
    method, organism, levers, rows, plain
):
    lever = levers[method]
    assert (sung(organism, lever, rows, 0.0) == plain).all()
    strength = 20 * max(bench.Design().strengths(method))
    assert (sung(organism, lever, rows, strength) != plain).any()
    assert lever.about["concept"] == "happy" and lever.about["method"] == method


@pytest.mark.parametrize("method", finding.METHODS)
def test_a_lever_is_kept_and_refused_by_another_model(method, organism, levers, rows, tmp_path):
    file = tmp_path / "lever.safetensors"
    keeping.save(levers[method], file)
    again = keeping.load(file, organism)
    strength = bench.Design().strengths(method)[-1]
    own = sung(organism, levers[method], rows, strength)
    assert (sung(organism, again, rows, strength) == own).all()
    assert again.about == levers[method].about and again.family == levers[method].family
    with pytest.raises(ValueError, match="was made for"):
        keeping.load(file, model.load("organism-2"))


def test_other_files_are_no_levers(organism, tmp_path):
    file = tmp_path / "other.safetensors"
    with pytest.raises(ValueError, match="holds no lever"):
        keeping.load(file, organism)
    cache.write(file, b"nothing")
    with pytest.raises(ValueError, match="holds no lever"):
        keeping.load(file, organism)
    with pytest.raises(TypeError, match="A lever is"):
        keeping.save("a lever", file)
    with pytest.raises(ValueError, match="file must be the path of a file or a folder"):
        keeping.load("s3://bucket/lever", organism)


#: Sites and modules that are not in the alphabet's order.
BLOCKS = (3, 1)


def slider(organism):
    rng = np.random.default_rng(0)
    names = [f"transformer.layers.{i}.self_attn.out_proj" for i in BLOCKS]
    width = organism.lm.dim
    down, up = (
        {name: rng.normal(size=shape) for name in names} for shape in ((2, width), (width, 2))
    )
    return sliders.Slider(down, up, organism.fingerprint)


def push(organism):
    rng = np.random.default_rng(0)
    sites = [f"resid.{i}" for i in BLOCKS]
    units, centre = (
        {site: rng.normal(size=organism.lm.dim) for site in sites} for _ in ("unit", "centre")
    )
    known = [dict.fromkeys(sites, 1.0) for _ in ("norms", "gaps", "middles")]
    made = (organism.name, organism.fingerprint, "data", ["happy"], ["sad"])
    vector = steering.Vector(units, *known, "songs", *made)
    return kinds.Push(vector, monitored=True, centre=centre)


def test_what_is_kept_has_the_same_controls(organism, tmp_path):
    file = tmp_path / "lever.safetensors"
    own = slider(organism)
    keeping.save(own, file)
    one, other = own.anywhere(2), keeping.load(file, organism).anywhere(2)
    assert list(own.down) == list(other.down) == list(other.up)
    for name in own.down:
        np.testing.assert_allclose(one.up[name], other.up[name], rtol=1e-5)
        np.testing.assert_allclose(one.down[name], other.down[name], rtol=1e-5)
    own = push(organism)
    keeping.save(own, file)
    one, other = (some.anywhere(2).vector for some in (own, keeping.load(file, organism)))
    assert list(one.units) == list(other.units)
    for site in one.units:
        np.testing.assert_allclose(one.units[site], other.units[site], rtol=1e-5)


def lose(start, also=None):
    """Take a tensor out of a file; with ``also``, what it says of its tensors, too."""

    def change(tensors, told):
        del tensors[next(name for name in tensors if name.startswith(start))]
        if also:
            del told[also]

    return change


def turn(start, into):
    """Put another tensor in the place of one."""

    def change(tensors, told):
        name = next(name for name in tensors if name.startswith(start))
        tensors[name] = into(tensors[name])

    return change


def elsewhere(tensors, told):
    for name in list(tensors):
        tensors[name.replace("self_attn", "another")] = tensors.pop(name)
    told[keeping.ORDER] = list(tensors)


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (slider, lose("down:"), "it lacks, or has left over"),
        (slider, lose("up:", keeping.ORDER), "one part of two"),
        (slider, turn("up:", lambda some: some * np.nan), "up of .* holds NaN"),
        (slider, turn("up:", lambda some: some[:, :1]), "up of .* must be an array"),
        (slider, turn("down:", lambda some: some[:, :5]), "down of .* must be an array"),
        (slider, elsewhere, "a module of the slider must be one of organism"),
        (push, lose("unit:"), "it lacks, or has left over"),
        (push, lose("unit:", keeping.ORDER), "one part of two"),
        (push, turn("unit:", lambda some: some * np.nan), "zero or not finite"),
        (push, turn("unit:", lambda some: some[:5]), "has no resid"),
        (push, turn("centre:", lambda some: some * np.inf), "centre of .* holds NaN"),
        (push, turn("centre:", lambda some: some[:5]), "centre of .* must be an array"),
    ],
)
def test_a_damaged_lever_is_refused_before_it_sings(make, change, message, organism, tmp_path):
    file = tmp_path / "lever.safetensors"
    keeping.save(make(organism), file)
    with safetensors.safe_open(file, "np") as opened:
        told = json.loads(opened.metadata()[keeping.KEY])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    change(tensors, told)
    safetensors.numpy.save_file(tensors, file, {keeping.KEY: json.dumps(told)})
    with pytest.raises(ValueError, match=message):
        keeping.load(file, organism)


@pytest.mark.parametrize("method", finding.METHODS)
def test_a_control_differs_in_what_was_learned_alone(method, levers, rows, organism):
    lever = levers[method]
    one, same, other = (lever.anywhere(seed) for seed in (1, 1, 2))
    assert one.family == lever.family
    strength = bench.Design().strengths(method)[-1]
    steered = [some.steer(organism, TASK, rows, strength) for some in (lever, one, same, other)]
    if isinstance(lever, sliders.Slider):
        for name in lever.down:
            assert one.size(name) == pytest.approx(lever.size(name), rel=1e-3)
            assert not np.allclose(one.up[name], other.up[name])
    elif method in ("prompt", "guidance"):
        assert steered[1].prompts == list(rows["any"]) != steered[0].prompts
    elif method == "negative":
        negatives = [some.settings["negative"] for some in steered]
        assert negatives[1] == negatives[2] and len(set(negatives)) == 3
    else:
        units = [np.concatenate(list(some.vector.units.values())) for some in (lever, one, other)]
        lengths = [np.linalg.norm(some) for some in units]
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)
        cosines = np.corrcoef(units)[np.triu_indices(3, 1)]
        assert np.abs(cosines).max() < 0.5
        assert sorted(one.vector.norms.values()) == sorted(lever.vector.norms.values())
        assert len(one.vector.units) == len(lever.vector.units)


def test_levers_with_other_gates_or_norms_have_controls_of_their_own(levers):
    for name, changes in (
        ("monitored", {"gaps": {SITE: 9.0}}),
        ("heads", {"norms": dict.fromkeys(levers["heads"].vector.units, 9.0)}),
    ):
        lever = levers[name]
        other = dataclasses.replace(lever, vector=dataclasses.replace(lever.vector, **changes))
        assert other.family != lever.family


def test_the_aim_turns_the_direction(organism, levers, rows):
    how = (organism, tasks.Task("happy", "suppress"), rows, 0.3)
    away = levers["songs"].steer(*how)
    toward = levers["songs"].steer(organism, TASK, rows, 0.3)
    np.testing.assert_allclose(away.adds[SITE], -toward.adds[SITE])
    assert away.prompts == list(rows["high"]) and toward.prompts == list(rows["neutral"])
    length = np.linalg.norm(toward.adds[SITE][0])
    assert length == pytest.approx(0.3 * levers["songs"].vector.norms[SITE], rel=1e-4)


def test_one_word_is_pushed_at_its_own_tokens(organism, levers, rows):
    steered = levers["word"].steer(organism, TASK, rows, 1.0)
    for prompt, word, added in zip(
        rows["neutral"], rows["word_neutral"], steered.adds["cond"], strict=True
    ):
        pushed = list(np.flatnonzero(np.abs(added).sum(1)))
        assert pushed == organism.tokens_of(prompt, word) and len(pushed) == 1
    assert organism.tokens_of("a happy piano melody", "glad") == []
    everywhere = levers["text"].steer(organism, TASK, rows, 1.0).adds["cond"]
    counts = (np.abs(everywhere).sum(2) > 0).sum(1)
    assert list(counts) == organism.text_lengths(list(rows["neutral"]))


def test_jobs_of_one_batch_leave_each_other_alone(organism, levers, rows):
    jobs = [
        bench.job(levers[method], TASK, rows, bench.Design().strengths(method)[-1])
        for method in ("songs", "text", "word", "heads", "monitored", "negative", "slider")
    ]
    together = bench.sing(organism, [*jobs, bench.job(None, TASK, rows)], 0.6)
    for job, songs in zip(jobs, together, strict=False):
        alone = bench.sing(organism, [job], 0.6)[0]
        assert (alone.tokens == songs.tokens).all() and alone.prompts == songs.prompts
    assert not organism.edits
    assert not torch.nn.utils.parametrize.is_parametrized(organism.lm)


def test_monitored_pushes_are_those_of_steering(organism, levers, rows):
    """The bench's edit of a whole batch is what ``steering.edits`` makes of one strength."""
    lever = levers["monitored"]
    steps = 40
    edits = steering.edits(organism, lever.vector, [0.4, 0.4], steps=steps, monitored=True)
    with activations.edit(organism, *edits):
        songs = organism.generate(list(rows["neutral"]), 0.6, list(rows["seed"]), progress=False)
    assert (sung(organism, lever, rows, 0.4) == songs.tokens).all()


def test_features_need_a_dictionary(given):
    bare = dataclasses.replace(given, dictionary=None)
    with pytest.raises(ValueError, match="sparse autoencoder"):
        finding.find("feature", bare)
    with pytest.raises(ValueError, match="method must be one of"):
        finding.find("magic", given)
    with pytest.raises(ValueError, match="equally long"):
        dataclasses.replace(given, high=given.high[:2])


# ----------------------------------------------------------------------------------- known answers
@pytest.fixture(scope="module")
def planted(organism):
    """A lesson whose two kinds differ by a direction that was planted by hand, as an edit."""
    table = tasks.rows("happy", "find", 16)
    prompts, seeds = list(table["neutral"]), list(table["seed"])
    table = table.assign(high=prompts, low=prompts)
    low = organism.generate(prompts, 1.0, seeds, progress=False)
    unit = np.random.default_rng(3).normal(size=organism.lm.dim)
    unit /= np.linalg.norm(unit)
    given = finding.Lesson(organism, "happy", table, low, low, SITE, steps=60)
    push = Edit(SITE, add=0.5 * given.norm(SITE) * unit)
    with activations.edit(organism, push):
        high = organism.generate(prompts, 1.0, seeds, progress=False)
    given = dataclasses.replace(given, high=high, _read={})
    music = given.music
    given._keep("paired", "low", music, SITE)
    given._keep("own", "low", low, SITE)
    with activations.edit(organism, push):
        given._keep("paired", "high", music, SITE)
        given._keep("own", "high", high, SITE)
    return given, unit


@pytest.mark.parametrize(
    "method, least",
    [
        ("diffmeans", 0.99),
        ("songs", 0.8),
        ("probe", 0.6),
        ("rfm", 0.6),
        ("reft", 0.25),
        ("reps", 0.25),
    ],
)
def test_a_direction_planted_by_hand_is_found(method, least, planted):
    """Of 160 dimensions: a random direction has a cosine of 0.08."""
    given, unit = planted
    assert finding.find(method, given).vector.units[SITE] @ unit > least


def test_a_random_direction_does_not_find_it(planted):
    given, unit = planted
    assert abs(finding.find("random", given).vector.units[SITE] @ unit) < 0.25


@pytest.mark.parametrize("kind", ["slider", "vectors"])
def test_what_words_do_is_learned_without_them(kind, organism, given):
    twice = {end: list(given.rows[end]) * 2 for end in ("neutral", "high", "low")}
    music, neutral = given.music, twice["neutral"]
    if kind == "slider":
        slider = sliders.train(organism, music, *twice.values(), steps=40, lr=5e-3)
    else:
        norms = {f"cross.{i}": given.norm(f"cross.{i}") for i in range(6)}
        vectors = distilling.train(organism, music, *twice.values(), norms, steps=40)
        assert vectors.keys() == norms.keys()

    def turned(strength):
        if kind == "slider":
            return slider.applied(organism, strength)
        some = {site: strength * norms[site] * vector for site, vector in vectors.items()}
        return activations.edit(organism, *(Edit(site, add=add) for site, add in some.items()))

    def apart(sign, strength):
        wanted = distilling.wanted(organism, music, tuple(twice.values()), sign)
        with torch.no_grad(), turned(strength):
            found = distilling.predicted(organism, music.tokens, neutral)
        return divergence.kl(wanted, found).mean().item()

    before = organism.fingerprint
    for sign in (1, -1):
        assert apart(sign, sign) < 0.8 * apart(sign, 0.0) < apart(sign, -sign)
    assert organism.fingerprint == before
    with pytest.raises(ValueError, match="neutral must be one for each of"):
        sliders.train(organism, music, neutral[:1], twice["high"], twice["low"])


def test_sliders_add_up_and_refuse_another_model(organism, given):
    music = given.music
    drawn = [
        sliders.Slider(
            {name: np.ones((1, 160), np.float32)},
            {name: np.full((160, 1), 0.01, np.float32)},
            organism.fingerprint,
        )
        for name in ("transformer.layers.1.self_attn.out_proj",) * 2
    ]
    plain = organism.cross_entropy(music)
    with drawn[0].applied(organism, 2.0):
        one = organism.cross_entropy(music)
        with drawn[1].applied(organism, 3.0):
            both = organism.cross_entropy(music)
        assert np.array_equal(organism.cross_entropy(music), one)
    with drawn[0].applied(organism, 5.0):
        np.testing.assert_allclose(organism.cross_entropy(music), both, atol=1e-4)
    assert np.array_equal(organism.cross_entropy(music), plain)
    other = dataclasses.replace(drawn[0], weights="of another")
    for slider, strength, says in ((other, 1.0, "was made for"), (drawn[0], np.nan, "strength")):
        with pytest.raises(ValueError, match=says), slider.applied(organism, strength):
            pass


def test_a_distilled_push_is_as_long_as_it_was_learned(given):
    push = finding.find("distilled", dataclasses.replace(given, steps=4))
    lengths = [np.linalg.norm(unit) for unit in push.vector.units.values()]
    assert len(set(np.round(lengths, 6))) == 6
    drawn = push.anywhere(3).vector
    assert np.allclose([np.linalg.norm(unit) for unit in drawn.units.values()], lengths)
    assert abs(drawn.units["cross.2"] @ push.vector.units["cross.2"]) < 0.5 * lengths[2] ** 2


def test_what_is_trained_refuses_bad_input(organism, given):
    songs = (given.high, given.low, list(given.rows["neutral"]), SITE, 1.0)
    with pytest.raises(ValueError, match="method must be one of"):
        rank_one.train(organism, *songs, "dpo")
    with pytest.raises(ValueError, match="length"):
        rank_one.train(organism, *songs[:4], 0.0, "reft")
    with activations.edit(organism, Edit(SITE, multiply=0.5)):
        with pytest.raises(ValueError, match=r"activations\.edit"):
            rank_one.train(organism, *songs, "reps")
        with pytest.raises(ValueError, match=r"activations\.edit"):
            sliders.train(organism, given.music, *[["a"] * len(given.music)] * 3)
    prompts = [["a"] * len(given.music)] * 3
    for norms, says in (({}, "name a site"), ({SITE: np.nan}, "norms"), ({"text": 1.0}, "a site")):
        with pytest.raises(ValueError, match=says):
            distilling.train(organism, given.music, *prompts, norms)
    with pytest.raises(ValueError, match="batch_size"):
        distilling.train(organism, given.music, *prompts, {SITE: 1.0}, batch_size=0)
    with pytest.raises(TypeError, match="neutral must be a list of strings"):
        sliders.train(organism, given.music, "a" * len(given.music), *prompts[1:])


# -------------------------------------------------------------------------------------------- scores
def test_harmonic_means():
    assert scores.harmonic([1.0], [1.0], [1.0]) == [1.0]
    assert scores.harmonic([1.0], [0.0], [1.0]) == [0.0]
    assert scores.harmonic([0.5], [1.0], [1.0])[0] == pytest.approx(0.75)
    with pytest.raises(ValueError, match="from 0 to 1"):
        scores.harmonic([1.2], [1.0])


def listener(organism, songs, **answers):
    """Somebody who hears what he is told."""
    told = {"surprise": 3.0, "recoded": 0.2, "loud": -20.0, "clipped": 0.0}
    told |= {"instrument": True, "instrument share": 0.6}
    told |= {"ear emotion": "happy", "other emotion": "happy", "ear arousal": 0.0, "mode": 1.0}
    frame = pd.DataFrame([{**told, **answers}] * len(songs))
    ears = {"ear": None, "other": None}
    return types.SimpleNamespace(model=organism, ears=ears, hear=lambda clips: frame)


def test_a_perfect_song_scores_one_and_a_failed_one_none(organism, rows):
    songs = organism.generate(list(rows["neutral"]), 1.0, 5, progress=False)
    other = organism.generate(list(rows["neutral"]), 1.0, 9, progress=False)
    judge = listener(organism, songs)
    plain = scores.unsteered(judge, songs, other)
    kept = list(rows["kept"])

    def scored(task=TASK, **answers):
        heard = listener(organism, songs, **answers).hear(songs)
        return scores.score(judge, songs, task, kept, plain, heard)

    assert (scored()["score"] == 1).all()
    suppress = tasks.Task("happy", "suppress")
    assert (scored(suppress)["score"] == 0).all()
    sad = {"ear emotion": "sad", "other emotion": "sad"}
    assert (scored(**sad)["score"] == 0).all() and (scored(suppress, **sad)["score"] == 1).all()
    assert (scored(**{"ear emotion": "sad"})["success"] == 0.5).all()
    assert (scored(**{"instrument share": 0.0})["score"] == 0).all()
    assert (scored(**{"instrument share": 0.3})["kept"] == 0.5).all()
    assert (scored(instrument=False)["recognised"] == 0).all()
    assert (scored(loud=-90.0)["score"] == 0).all() and (scored(clipped=0.5)["score"] == 0).all()
    less = scored(surprise=4.0)["quality"]
    assert less.to_numpy() == pytest.approx((np.exp(-1) + 2) / 3)
    assert (scored(tasks.Task("arousal", "induce"))["success"] == 0.5).all()
    assert (scored(tasks.Task("mode", "suppress"))["success"] == 0).all()


def test_clap_holds_songs_against_the_rest_of_their_prompts(organism, rows):
    """Whatever they were asked for, or should lose."""
    songs = organism.generate(list(rows["high"]), 1.0, 5, progress=False)
    judge = listener(organism, songs)
    rest = list(rows["neutral"])

    def answer(audio, sample_rate, prompts):
        there = 0.4 if list(prompts) == rest else 0.1
        return pd.DataFrame({"agreement": np.full(len(audio), there)})

    judge.ears["clap"] = types.SimpleNamespace(answer=answer)
    plain = scores.unsteered(judge, songs, songs, rest)
    assert plain.clap == pytest.approx(0.4)
    heard = judge.hear(songs)
    for task in (TASK, tasks.Task("happy", "suppress")):
        found = scores.score(judge, songs, task, list(rows["kept"]), plain, heard, rest)
        assert found["kept"].to_numpy() == pytest.approx(1)
    assert scores.unsteered(judge, songs, songs).clap == pytest.approx(0.1)


def test_areas():
    assert scores.area([1.0, 1.0], [1.0, 0.5]) == 1
    assert scores.area([0.0, 0.0], [1.0, 1.0]) == 0
    assert scores.area([0.2, 1.0], [1.0, 0.5]) == pytest.approx(0.6)
    assert scores.area([0.2, 0.1], [1.0, 0.5]) == pytest.approx(0.2)
    found = scores.area_over_prompts([[0.2, 1.0], [0.2, 1.0]], [[1.0, 0.5], [1.0, 0.5]])
    assert found.value == found.low == pytest.approx(0.6)


# ------------------------------------------------------------------------------------------ protocol
@pytest.fixture(scope="module")
def ran(organism):
    methods = ["prompt", "songs", "monitored", "random"]
    how = {"learned_from": 2, "chosen_from": 2, "n": 2, "seconds": 1.0, "learned_seconds": 0.6}
    how["doses"] = {"songs": [0.2, 0.4], "monitored": [0.4], "random": [0.2]}
    design = bench.Design(["happy", "organ"], methods, steps=2, **how)
    return bench.run(steering.Judge(organism, n=24, training=60, seconds=1.0), design)


def test_the_protocol(ran):
    methods = ran["bench"].design.methods
    assert set(ran["points"]) == set(itertools.product(methods, tasks.AIMS))
    for (method, _), strength in ran["points"].items():
        assert strength in ran["bench"].design.strengths(method)
    reported = ran["reported"]
    assert len(reported) == 4 * 2 * (1 + len(methods) * 3)
    assert reported[["success", "kept", "quality", "score"]].stack().between(0, 1).all()
    assert set(ran["detected"]["method"]) == {"songs", "monitored", "random"}
    shown = bench.table(reported, ran["detected"])
    assert len(shown) == 2 * len(methods) and shown["score"].map(type).eq(stats.Estimate).all()
    by_concept = bench.table(reported, ran["detected"], ("method", "concept", "aim"))
    assert len(by_concept) == 4 * len(methods)
    passed = bench.passing(reported)
    assert list(passed["method"]) == list(methods)
    assert bench.best(ran["chosen"]) in ("songs", "monitored")


def test_the_rules_decide_by_numbers_of_the_bench(ran):
    found = bench.numbers(ran["reported"], "songs")
    assert set(found) == set(rules.criteria("33_steering_bench"))
    assert [len(units) for units in found.values()] == [8, 8, 4]
    asked = bench.numbers(ran["reported"], "prompt")
    np.testing.assert_allclose(asked["as_asked"], 0.1)
    verdicts = rules.decide(found)
    assert verdicts["benched"].estimate.n == 8
    drawn = bench.dealt(ran["reported"], "songs", np.random.default_rng(0))
    assert drawn["benched"].shape == (8,)


def test_curves_begin_unsteered(ran):
    shown = bench.curve(ran["chosen"], "songs", "induce")
    assert list(shown["strength"]) == [0.0, *ran["bench"].design.strengths("songs")]
    assert 0 <= bench.area(ran["chosen"], "songs", "induce").value <= 1
    swept = ran["bench"].doses("songs", ran["points"])
    assert sorted(set(swept["share"])) == [0.0, *bench.SHARES]
    heard = ran["bench"].played("songs", TASK, 0.4, 0)
    assert list(heard) == ["unsteered", "steered", "control", "asked"]
    assert len({audio.shape for audio in heard.values()}) == 1
