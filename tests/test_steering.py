"""Steering vectors, how they are applied and kept, and who judges what they do."""

import dataclasses
import importlib.util
import json
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch

from lib import prompts
from lib.book import rules
from lib.hearing import listeners
from lib.methods import steering
from lib.methods.steering import instruments, vectors
from lib.musicgen import activations
from lib.musicgen.activations import Edit

SITE = "resid.3"


def asked(emotion, n=20, kind="name", seed=5):
    table = prompts.crossed(kind, n, seed=seed)
    return list(table["prompt"][table["emotion"] == emotion])


@pytest.fixture(scope="module")
def vector(organism):
    groups = asked("happy", kind="implied"), asked("sad", kind="implied")
    return steering.direction(organism, *groups, SITE, seconds=1.0)


@pytest.fixture(scope="module")
def swept(organism, vector):
    strengths = (np.float32(s) for s in [0, 0.125, 0.3125])
    how = {"seconds": 3.0, "seed": np.int64(70), "progress": False}
    return steering.generate(organism, (p for p in asked("sad")), vector, strengths, **how)


@pytest.fixture(scope="module")
def judge(organism):
    return steering.Judge(organism, ears=("corpus",), n=40, seconds=2.0)


def test_steering_moves_emotion_and_a_random_direction_less(organism, vector, swept, judge):
    reference = organism.generate(asked("happy"), 3.0, 70, progress=False)
    table = steering.evaluate(judge, swept, reference, "happy").set_index("strength")
    groups = asked("happy"), asked("sad")
    random = steering.direction(organism, *groups, method="random", seconds=1.0)
    how = {"seconds": 3.0, "seed": 70, "progress": False}
    other = steering.generate(organism, asked("sad"), random, [0.3125], **how)
    both = {0.0: swept[0.0], **other}
    control = steering.evaluate(judge, both, reference, "happy").set_index("strength")
    assert table.loc[0.3125, "share"].value > 0.4 > abs(control.loc[0.3125, "share"].value)
    assert table.loc[0.0, "share"].value == 0
    assert table.loc["prompt", "share"].value == pytest.approx(1)
    assert table.loc[0.0, "distance"] < 1e-3 < table.loc[0.125, "distance"]
    assert table.loc[0.0, "diversity"] == pytest.approx(1)
    with pytest.raises(ValueError, match="Strength 0 is needed"):
        steering.evaluate(judge, {0.125: swept[0.125]}, reference)
    with pytest.raises(ValueError, match="same seeds"):
        steering.evaluate(judge, swept, reference[:4])


def test_strength_zero_and_neighbours_change_nothing(organism, vector, swept):
    assert [type(strength) for strength in swept] == [float] * 3
    json.dumps(list(swept))
    plain = organism.generate(asked("sad"), 3.0, 70, progress=False)
    assert (swept[0.0].tokens == plain.tokens).all()
    how = {"seconds": 3.0, "seed": 70, "progress": False}
    alone = steering.generate(organism, asked("sad")[:2], vector, 0.3125, **how)
    assert (alone[0.3125].tokens == swept[0.3125].tokens[:2]).all()


def test_pushes_of_one_batch_leave_each_other_alone(organism, vector):
    """Several directions at once are what each is alone, also with the norm kept."""
    other = steering.anywhere(vector, 1)[0]
    prompts = asked("sad", 2)
    for keep_norm in (False, True):
        how = {"seconds": 1.0, "seed": 70, "keep_norm": keep_norm, "progress": False}
        pushes = [(vector, 0.3), (other, 0.3), (vector, 0.0)]
        together = steering.push(organism, prompts, pushes, negative="sad music", **how)
        for (one, strength), songs in zip(pushes, together, strict=True):
            alone = steering.generate(
                organism, prompts, one, [strength], negative="sad music", **how
            )[strength]
            assert (alone.tokens == songs.tokens).all()
            assert songs.prompts == prompts and songs.settings["negative"] == "sad music"
        assert (together[0].tokens != together[1].tokens).any()
    with pytest.raises(ValueError, match="pushes is empty"):
        steering.push(organism, prompts, [])


@pytest.mark.parametrize("keep_norm", [False, True])
def test_each_prompt_may_have_a_direction_of_its_own(organism, vector, keep_norm):
    prompts = asked("sad", 2)
    own = steering.anywhere(vector, 2)
    how = {"seconds": 1.0, "seed": 70, "keep_norm": keep_norm, "progress": False}
    mixed, _ = steering.push(organism, prompts, [(own, 0.3), (vector, 0.3)], **how)
    for k, one in enumerate(own):
        (alone,) = steering.push(organism, prompts, [(one, 0.3)], **how)
        assert (mixed.tokens[k] == alone.tokens[k]).all()
    with pytest.raises(ValueError, match=r"one for each of the 2 prompts\. Got 1"):
        steering.push(organism, prompts, [(own[:1], 0.3)])
    with pytest.raises(TypeError, match="vector must be a Vector"):
        steering.push(organism, prompts, [(3, 0.3)])


def test_random_directions_differ_in_nothing_but_where_they_point(organism, vector):
    drawn = steering.anywhere(vector, 40, seed=3)
    units = np.stack([one.units[SITE] for one in drawn])
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1)
    assert all(one.norms == vector.norms and one.weights == vector.weights for one in drawn)
    cosines = units @ vector.units[SITE]
    assert abs(cosines.mean()) < 0.05 and cosines.std() == pytest.approx(160**-0.5, rel=0.3)
    again = steering.anywhere(vector, 40, seed=3)
    assert all(np.array_equal(a.units[SITE], b) for a, b in zip(again, units, strict=True))
    half = steering.combine([vector], [0.5])
    assert np.linalg.norm(steering.anywhere(half, 1)[0].units[SITE]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="random vector cannot be monitored"):
        steering.edits(organism, drawn[0], [0.1], steps=3, monitored=True)


def test_edit_adds_what_it_says(organism, vector):
    songs = organism.generate(asked("sad", 2), 1.0, 0, progress=False)
    before = activations.capture(organism, songs, SITE, progress=False)[SITE].values
    strengths = [0.5, -1.0]
    after = {}
    for keep_norm in (False, True):
        how = {"steps": 30, "over": "ramp", "keep_norm": keep_norm}
        with activations.edit(organism, *steering.edits(organism, vector, strengths, **how)):
            found = activations.capture(organism, songs, SITE, progress=False)
        after[keep_norm] = found[SITE].values
    curve = steering.schedule("ramp", 30)[: before.shape[1]]
    along = (after[False] - before) @ vector.units[SITE] / vector.norms[SITE]
    assert np.allclose(along, np.outer(strengths, curve), atol=1e-3)
    norms = [np.linalg.norm(values[:, -1], axis=-1) for values in (before, after[True])]
    assert np.all(np.abs(norms[1] / norms[0] - 1) < 0.5)


def test_norms_are_kept_in_half_precision(organism, vector):
    """Squares of half-precision values beyond 256 overflow; norms are taken in float32."""
    (edit,) = steering.edits(organism, vector, [1.0], steps=3, keep_norm=True)
    x = torch.full((1, 2, 160), 300.0, dtype=torch.float16)
    changed = edit.apply(x)
    assert changed.dtype == x.dtype and torch.isfinite(changed).all()
    own, now = x.float().norm(dim=-1), changed.float().norm(dim=-1)
    torch.testing.assert_close(now, own, rtol=1e-3, atol=0)


def test_monitored_strength_falls_behind_the_middle(organism, vector):
    songs = organism.generate(asked("sad", 2), 1.0, 0, progress=False)
    plain = activations.capture(organism, songs, SITE, progress=False)[SITE].values
    edits = steering.edits(organism, vector, [0.2, 0.2], steps=30, monitored=True)
    with activations.edit(organism, *edits):
        after = activations.capture(organism, songs, SITE, progress=False)[SITE].values
    moved = (after - plain) @ vector.units[SITE] / vector.norms[SITE]
    where = plain @ vector.units[SITE]
    assert 0 <= moved.min() and moved.max() <= 0.2001
    assert np.corrcoef(where.ravel(), moved.ravel())[0, 1] < -0.5


def test_schedules():
    assert steering.schedule("constant", 4).tolist() == [1] * 4
    assert steering.schedule("ramp", 3).tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(steering.schedule("decay", 3), [1, 0.98, 0.98**2])
    assert steering.schedule((x for x in [0, 2]), np.int64(3)).tolist() == [0, 1, 2]
    for wrong, message in (
        ("sometimes", "schedule must be one of"),
        ([1.0], "two or more numbers"),
        ([1.0, np.nan], "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            steering.schedule(wrong, 3)


# ------------------------------------------------------------------------------------- what is kept
def test_vectors_survive_the_disk(organism, vector, tmp_path):
    file = tmp_path / "happy.safetensors"
    norms = {SITE: np.float32(vector.norms[SITE])}
    dataclasses.replace(vector, norms=norms).save(file)  # numpy's numbers are written as plain ones
    again = steering.load(file, organism)
    assert np.allclose(again.units[SITE], vector.units[SITE])
    assert again.norms == {SITE: float(norms[SITE])} and type(again.norms[SITE]) is float
    assert again.positive == vector.positive and again.data == vector.data


def exported(vector, file, change=lambda fields, tensors: None):
    """Write a control vector as ``repeng``'s own ``export_gguf`` does, without what is ours."""
    gguf = pytest.importorskip("gguf")
    fields = {"controlvector.model_hint": "musicgen"}
    tensors = {"direction.3": 2.0 * vector.units[SITE]}
    change(fields, tensors)
    writer = gguf.GGUFWriter(file, "controlvector")
    for name, text in fields.items():
        writer.add_string(name, text)
    writer.add_uint32("controlvector.layer_count", len(tensors))
    for name, values in tensors.items():
        writer.add_tensor(name, np.asarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_vectors_go_out_as_control_vectors_and_come_back(organism, vector, tmp_path):
    gguf = pytest.importorskip("gguf")
    file = tmp_path / "happy.gguf"
    norms = {SITE: vector.norms[SITE], "resid.1": 0.5}
    more = {"units": {**vector.units, "resid.1": -vector.units[SITE]}, "norms": norms}
    more |= {name: dict.fromkeys(norms, 1.5) for name in ("gaps", "middles")}
    two = dataclasses.replace(vector, **more)
    steering.export_gguf(two, file)
    again = steering.import_gguf(file, organism)
    assert dataclasses.replace(again, units={}) == dataclasses.replace(two, units={})
    for site, unit in two.units.items():
        np.testing.assert_allclose(again.units[site], unit, atol=1e-6)
    # what repeng adds with a coefficient of 1 is what strength 1 adds here
    reader = gguf.GGUFReader(file)
    adds = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert set(adds) == {"direction.3", "direction.1"}
    for edit in steering.edits(organism, two, [1.0], steps=2):
        push = adds[f"direction.{edit.site.split('.')[1]}"]
        np.testing.assert_allclose(np.squeeze(edit.add), push, rtol=1e-5)
    (control,) = steering.anywhere(vector, 1)
    steering.export_gguf(control, file)
    assert np.isnan(steering.import_gguf(file, organism).gaps[SITE])


def test_a_control_vector_of_repeng_is_read(organism, vector, tmp_path):
    exported(vector, tmp_path / "theirs.gguf")
    theirs = steering.import_gguf(tmp_path / "theirs.gguf", organism)
    np.testing.assert_allclose(theirs.units[SITE], vector.units[SITE], atol=1e-6)
    assert theirs.norms == {SITE: pytest.approx(2)}
    (edit,) = steering.edits(organism, theirs, [1.0], steps=2)
    np.testing.assert_allclose(np.squeeze(edit.add), 2 * vector.units[SITE], atol=1e-5)
    with pytest.raises(ValueError, match="cannot be monitored"):
        steering.edits(organism, theirs, [1.0], steps=2, monitored=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, t: f.update({"controlvector.model_hint": "llama"}), "for a 'llama', not for"),
        (lambda f, t: t.update({"direction.40": t.pop("direction.3")}), "no resid.40"),
        (lambda f, t: t.update({"direction.3": np.ones(7)}), "no resid.3 with 7 dimensions"),
        (lambda f, t: t.update({"direction.3": np.zeros(160)}), "zero or not finite"),
        (lambda f, t: t.update({"blk.3": t.pop("direction.3")}), "no tensor in it is called"),
        (lambda f, t: f.update({"musicgen_emotion.vector": "{}"}), "is damaged"),
    ],
)
def test_control_vectors_that_do_not_fit_are_refused(organism, vector, tmp_path, change, message):
    exported(vector, tmp_path / "wrong.gguf", change)
    with pytest.raises(ValueError, match=message):
        steering.import_gguf(tmp_path / "wrong.gguf", organism)


def test_what_is_no_control_vector_is_refused(organism, miniature, vector, tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    file = tmp_path / "happy.gguf"
    steering.export_gguf(vector, file)
    with pytest.raises(ValueError, match="was made for organism"):
        steering.import_gguf(file, miniature)
    content = file.read_bytes()
    for wrong in (b"", b"nothing", content[:60], content[:-400]):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match="holds no control vector"):
            steering.import_gguf(file, organism)
    with pytest.raises(ValueError, match="holds no control vector"):
        steering.import_gguf(tmp_path / "no.gguf", organism)
    elsewhere = dataclasses.replace(
        vector, units={"cross.2": vector.units[SITE]}, norms={"cross.2": 1}
    )
    with pytest.raises(ValueError, match="residual stream"):
        steering.export_gguf(elsewhere, file)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install gguf"):
        steering.export_gguf(vector, file)


def test_a_vector_is_written_whole_or_not_at_all(vector, tmp_path, monkeypatch):
    file = tmp_path / "happy.safetensors"
    vector.save(file)
    before = file.read_bytes()

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        dataclasses.replace(vector, method="other").save(file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_random_directions_are_the_same_after_loading(organism, vector, tmp_path):
    sites = ["resid.3", "resid.1", "resid.2"]
    several = {
        name: dict.fromkeys(sites, getattr(vector, name)[SITE])
        for name in ("units", "norms", "gaps", "middles")
    }
    several = dataclasses.replace(vector, **several)
    several.save(tmp_path / "a")
    again = steering.load(tmp_path / "a", organism)
    assert list(again.units) == sites
    for one, other in zip(steering.anywhere(several, 2), steering.anywhere(again, 2), strict=True):
        assert all(np.array_equal(one.units[site], other.units[site]) for site in sites)


def test_vectors_lie_in_the_home_folder(organism, vector, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    vector.save("~/a")
    assert (tmp_path / "a").is_file() and steering.load("~/a", organism).data == vector.data
    with pytest.raises(TypeError, match="file must be the path of a file or a folder"):
        vector.save(None)
    pytest.importorskip("gguf")
    steering.export_gguf(vector, "~/b")
    assert (tmp_path / "b").is_file()
    assert steering.import_gguf("~/b", organism).data == vector.data


def test_strangers_are_refused(organism, vector, tmp_path):
    file = tmp_path / "happy.safetensors"
    vector.save(file)
    weight = organism.lm.transformer.layers[4].linear2.weight
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[0, 100] += 1e-3  # one number, behind the first of its tensor
        with pytest.raises(ValueError, match="was made for organism"):
            steering.load(file, organism)
        with pytest.raises(TypeError, match="vector must be a Vector, as"):
            steering.generate(organism, ["sad"], np.ones(160))
        with pytest.raises(ValueError, match="was made for organism"):
            steering.edits(organism, vector, [0.1], steps=3)
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    steering.load(file, organism)

    content = file.read_bytes()
    other = {"vector": json.dumps({"norms": {}, "method": "?"})}
    for wrong in (
        b"nothing",
        content[:-40],
        safetensors.numpy.save({SITE: np.ones(160, np.float32)}),
        safetensors.numpy.save({SITE: np.ones(160, np.float32)}, other),
    ):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match="holds no steering vector"):
            steering.load(file, organism)
    with pytest.raises(ValueError, match="holds no steering vector"):
        steering.load(tmp_path / "no.safetensors", organism)


def test_a_direction_knows_what_it_was_found_on(organism, vector):
    groups = {"positive": asked("happy", 2), "negative": asked("sad", 2)}
    plain = steering.direction(organism, **groups, seconds=0.5)
    generated = {name: (prompt for prompt in group) for name, group in groups.items()}
    again = steering.direction(organism, **generated, seconds=0.5)
    assert plain.data == again.data and plain.weights == organism.fingerprint
    assert list(plain.units) == [SITE]  # where no site is given: at a relative depth
    with activations.edit(organism, Edit("resid.2", multiply=0.9)):
        assert steering.direction(organism, **groups, seconds=0.5).data != plain.data


def test_the_default_site_fits_any_depth(miniature):
    found = steering.direction(miniature, ["happy music"], ["sad music"], seconds=0.5)
    assert list(found.units) == [activations.at(miniature, 0.57)]


def test_combined_directions(organism, vector):
    both = steering.combine((v for v in [vector, vector]), [np.float32(0.5), -0.25])
    assert np.allclose(both.units[SITE], 0.25 * vector.units[SITE])
    longer = dataclasses.replace(vector, norms={SITE: 3 * vector.norms[SITE]})
    both = steering.combine([vector, longer], [1.0, 1.0])
    assert np.allclose(both.units[SITE], 4 * vector.units[SITE]), "each in its own unit"
    with pytest.raises(ValueError, match="cannot be monitored"):
        steering.edits(organism, both, [0.1], steps=3, monitored=True)
    other = dataclasses.replace(vector, weights="0")
    with pytest.raises(ValueError, match="of one model"):
        steering.combine([vector, other], [1, 1])
    with pytest.raises(ValueError, match="equally long"):
        steering.combine([vector, vector], [1])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"positive": []}, ValueError, "positive is empty"),
        ({"positive": "happy music"}, TypeError, "positive must be a list"),
        ({"method": "magic"}, ValueError, "method must be one of"),
        ({"site": "cross.2"}, ValueError, "residual stream"),
        ({"positive": ["sad music"]}, ValueError, "zero or not finite"),
        ({"site": "resid.*", "directions": np.eye(160)[:2]}, ValueError, "belong to one site"),
        ({"directions": np.ones((1, 7))}, ValueError, r"shape \(size, 160\)"),
    ],
)
def test_what_makes_no_direction_is_refused(organism, settings, error, message):
    groups = {"positive": ["happy music"], "negative": ["sad music"], "seconds": 0.5}
    with pytest.raises(error, match=message):
        steering.direction(organism, **{**groups, **settings})


def test_a_direction_may_be_short_if_its_groups_differ(organism):
    """The weights of a probe have another unit than activations."""
    low = np.random.default_rng(0).normal(size=(6, 160))
    ends = {SITE: (low, low + 1e-3)}
    about = {"method": "probe", "data": "", "positive": ["a"], "negative": ["b"]}
    found = vectors.measured(organism, {SITE: np.full(160, 1e-9)}, ends, {SITE: 10.0}, **about)
    assert found.gaps[SITE] == pytest.approx(1e-3 * np.sqrt(160) / 10)
    with pytest.raises(ValueError, match="zero or not finite"):
        vectors.measured(organism, {SITE: np.ones(160)}, {SITE: (low, low)}, {SITE: 10.0}, **about)


def test_what_cannot_be_applied_is_refused(organism, vector):
    with pytest.raises(ValueError, match="NaN or infinite"):
        steering.edits(organism, vector, [np.nan], steps=3)
    with pytest.raises(ValueError, match="schedule must be one of"):
        steering.edits(organism, vector, [1], steps=3, over="sometimes")
    with pytest.raises(ValueError, match="steps must be"):
        steering.edits(organism, vector, [1], steps=0)
    with pytest.warns(UserWarning, match=r"5\.0 times the site's own norm"):
        steering.edits(organism, vector, [5.0], steps=3)
    for wrong, says in ((np.zeros((2, 160)), "not zero"), (np.ones(3), "directions must be")):
        with pytest.raises(ValueError, match=says):
            steering.direction(organism, ["happy music"], ["sad music"], directions=wrong)
    broken = dataclasses.replace(vector, units={SITE: np.zeros(160)})
    with pytest.raises(ValueError, match="zero or not finite"):
        steering.edits(organism, broken, [1], steps=3)
    narrow = dataclasses.replace(vector, units={SITE: np.ones(7)})
    with pytest.raises(ValueError, match=r"no resid\.3 with 7"):
        steering.edits(organism, narrow, [1], steps=3)


# ------------------------------------------------------------------------------------------ judging
def test_too_few_songs_to_learn_instruments_from_are_refused_before_any_is_sung(
    organism, monkeypatch
):
    monkeypatch.setattr(type(organism), "generate", None)
    with pytest.raises(ValueError, match="4 clips or more of one of them"):
        steering.Judge(organism, ears=("corpus",), n=3, seconds=1.0)


def test_a_judge_knows_clips_by_their_content(organism, judge, swept, monkeypatch):
    songs = swept[0.0][:2]
    heard = []
    own = steering.Judge._hear

    def counted(self, clips):
        heard.append(len(clips))
        return own(self, clips)

    monkeypatch.setattr(steering.Judge, "_hear", counted)
    judge._answers.clear()
    first = judge.hear(songs)
    again = judge.hear(dataclasses.replace(songs, audio=songs.audio.copy()))
    assert heard == [2] and first.equals(again)
    # the same tokens with other sound: half as loud
    quiet = judge.hear(dataclasses.replace(songs, audio=songs.audio / 2))
    assert heard == [2, 2]
    np.testing.assert_allclose(first["loud"] - quiet["loud"], 6.02, atol=0.1)
    # one known and one new
    judge.hear(swept[0.0][1:3])
    assert heard == [2, 2, 1]
    # how surprising a clip is depends on the model as it is
    with activations.edit(organism, Edit("resid.3", multiply=0.5, stream="both")):
        edited = judge.hear(songs)
    assert (edited["surprise"] - first["surprise"]).abs().min() > 0.01
    assert judge.hear(songs).equals(first) and heard == [2, 2, 1, 2]


class Ear:
    """A listener that names the emotions it is told to, one a clip."""

    name = "told"

    def __init__(self, *emotions):
        self.emotions = emotions

    def answer(self, audio, sample_rate):
        zeros = np.zeros(len(audio))
        answers = pd.DataFrame({"valence": zeros, "arousal": zeros})
        return answers.assign(emotion=self.emotions) if self.emotions else answers


def test_success_needs_every_listener_that_names_emotions(judge, swept, monkeypatch):
    songs = swept[0.0][:3]
    one, other = Ear("happy", "happy", "sad"), Ear("happy", "calm", "happy")
    for ears, expected in (
        ({"one": one, "other": other}, [True, False, False]),
        ({"one": one, "silent": Ear()}, [True, True, False]),
    ):
        monkeypatch.setattr(judge, "ears", ears)
        monkeypatch.setattr(judge, "_answers", {})
        assert judge.succeeded(songs, "happy").tolist() == expected
    monkeypatch.setattr(judge, "ears", {"silent": Ear()})
    monkeypatch.setattr(judge, "_answers", {})
    with pytest.raises(ValueError, match="names emotions or levels: 'spectra', 'cues'"):
        judge.succeeded(songs, "happy")
    with pytest.raises(ValueError, match="target must be one of"):
        judge.succeeded(songs, "bored")


def test_two_judges_who_share_nothing_by_default(organism):
    judge = steering.Judge(organism, n=24, training=60, seconds=1.0)
    assert list(judge.ears) == ["spectra", "cues"]
    assert judge.ears["spectra"] is listeners.get("spectra", 60, codec=organism)
    heard = judge.hear(organism.generate(asked("sad", 2), 1.0, 3, progress=False))
    assert {"spectra emotion", "cues emotion", "spectra valence"} <= set(heard)


# ------------------------------------------------------------------------------------------- trials
def made_up(success, by_chance, surprise, anyhow, n=400, draws=10, seed=0):
    """What a judge would say where the truth is known: chances of success and mean surprise."""
    rng = np.random.default_rng(seed)
    return steering.Heard(
        (rng.random((n, 3)) < success).astype(float),
        (rng.random((n, draws)) < by_chance).astype(float),
        rng.normal(surprise, 0.2, n),
        rng.normal(anyhow, 0.2, (n, draws)),
    )


def test_numbers_find_what_is_there():
    found = steering.numbers(made_up([0.1, 0.4, 0.7], 0.2, 3.5, 3.3))
    assert found["steered"].mean() == pytest.approx(0.5, abs=0.08)
    assert found["dosed"].mean() == pytest.approx(0.6, abs=0.1)
    assert found["harmless"].mean() == pytest.approx(-0.1, abs=0.05)
    assert all(units.shape == (400,) for units in found.values())
    verdicts = rules.decide(found)
    assert [verdicts[name].answer for name in found] == ["yes", "yes", "no"]


def test_numbers_find_nothing_where_nothing_is():
    found = steering.numbers(made_up([0.3, 0.3, 0.3], 0.3, 3.3, 3.3))
    verdicts = rules.decide(found)
    assert [verdicts[name].answer for name in found] == ["no", "no", "yes"]
    always = steering.numbers(made_up([1.0, 1.0, 1.0], 1.0, 3.3, 3.3))
    assert not always["steered"].any() and np.abs(always["dosed"]).max() < 1e-9


def test_a_dealt_subject_has_no_effect():
    heard = made_up([0.0, 0.5, 1.0], 0.0, 3.5, 3.3, n=60)
    rng = np.random.default_rng(1)
    dealt = [steering.dealt(heard, rng) for _ in range(200)]
    assert list(dealt[0]) == ["steered", "dosed"]
    for name in dealt[0]:
        means = [subject[name].mean() for subject in dealt]
        assert abs(np.mean(means)) < 4 * np.std(means) / 200**0.5
    trust = rules.trust(steering.numbers(heard), lambda rng: steering.dealt(heard, rng))
    assert trust["false positives"].map(lambda found: found.value).max() < 0.1


def test_a_trial_compares_like_with_like(organism, vector, judge):
    prompts = asked("sad", 2)
    how = {"seconds": 1.0, "seed": 5, "negative": "sad music", "progress": False}
    ways = steering.anywhere(vector, 3 * 2, 5)
    controls = [ways[k : k + 2] for k in (0, 2, 4)]
    trial = steering.attempt(organism, prompts, "happy", vector, 0.2, controls, **how)
    plain = organism.generate(prompts, **how)
    assert (trial.doses[0].tokens == plain.tokens).all(), "no push, and all else as it is"
    assert len(trial.doses) == len(steering.DOSES) and len(trial.controls) == 3
    for songs in (*trial.doses, *trial.controls):
        assert songs.prompts == prompts and songs.seeds == plain.seeds
        assert songs.settings == plain.settings
    (first,) = steering.push(organism, prompts, [(ways[2:4], 0.2)], **how)
    assert (trial.controls[1].tokens == first.tokens).all(), "each prompt may have its own"
    heard = steering.listen(judge, trial)
    assert heard.success.shape == (2, 3) and heard.by_chance.shape == (2, 3)
    assert heard.surprise[0] == judge.hear(trial.doses[-1])["surprise"][0]
    both = steering.together([heard, heard])
    assert both.anyhow.shape == (4, 3) and steering.numbers(both)["steered"].shape == (4,)
    table = steering.compare(judge, trial, {"asked": plain}).set_index("songs")
    assert list(table.index) == ["no push", "half", "chosen", "control", "asked"]
    assert table.loc["asked", "surprise"].value == table.loc["no push", "surprise"].value == 0
    assert table.loc["chosen", "success"] == table.loc["chosen", "by corpus"]
    assert abs(table.loc["chosen", "arousal"].value) > 0
    for nothing in ([], vector):
        with pytest.raises(ValueError, match="controls must be a list of one direction or more"):
            steering.attempt(organism, prompts, "happy", vector, 0.2, nothing, **how)


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a sad fiddle tune", "violin"),
        ("calm Piano, slow", "piano"),
        ("an electric-organ loop", "organ"),
        ("a melody", None),
        ("hornpipes and pianissimo", None),
    ],
)
def test_an_instrument_is_named_by_any_of_its_words(prompt, named):
    assert instruments._instrument(prompt) == named


def test_sites_that_share_a_strength_are_no_blow_up(organism, vector):
    several = dataclasses.replace(
        vector,
        units={f"resid.{k}": vector.units[SITE] for k in range(6)},
        norms=dict.fromkeys([f"resid.{k}" for k in range(6)], vector.norms[SITE]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steering.edits(organism, several, [4.0], steps=3)
    with pytest.warns(UserWarning, match="expect broken"):
        steering.edits(organism, vector, [4.0], steps=3)


def test_prompts_of_one_direction_count_as_one_unit(organism, vector, judge):
    prompts = asked("sad", 4)
    how = {"seconds": 1.0, "seed": 5, "progress": False}
    trial = steering.attempt(organism, prompts, "happy", vector, 0.2, [vector], **how)
    each = steering.listen(judge, trial)
    units = steering.listen(judge, trial, ["b", "a", "b", "a"])
    for name, values in each._asdict().items():
        expected = [values[[0, 2]].mean(0), values[[1, 3]].mean(0)]
        np.testing.assert_allclose(getattr(units, name), expected, err_msg=name)
    np.testing.assert_array_equal(units.by_chance[:, 0], units.success[:, 2])
    with pytest.raises(ValueError, match="units must hold one label for each of 4 rows"):
        steering.listen(judge, trial, ["a", "b"])
    with pytest.raises(ValueError, match="units has 1 missing labels"):
        steering.listen(judge, trial, ["a", "b", None, "a"])


def test_word_pairs_share_no_word():
    words = {"sad": ["s1", "s2", "s3"], "happy": ["h1", "h2"], "calm": ["c1"]}
    pairs = steering.word_pairs(words, "sad", "happy", 40, seed=1)
    assert [(pair.low, pair.high) for pair in pairs] == [("s1", "h1"), ("s2", "h2")]
    controls = [control for pair in pairs for control in pair.controls]
    assert len(controls) == 80 and pairs == steering.word_pairs(words, "sad", "happy", 40, seed=1)
    for one, other in controls:
        assert one != other and one[0] == other[0], "another word of the same emotion"
    assert {one[0] for one, _ in controls} == {"s", "h"}, "where there are two"
    with pytest.raises(ValueError, match="low must be one of"):
        steering.word_pairs(words, "gloomy", "happy")
    with pytest.raises(ValueError, match="two words of one emotion"):
        steering.word_pairs({"sad": ["s1"], "happy": ["h1", "h1"]}, "sad", "happy")
    with pytest.raises(TypeError, match=r"words\['sad'\] must be a list of strings"):
        steering.word_pairs({"sad": "s1", "happy": ["h1", "h2"]}, "sad", "happy")
