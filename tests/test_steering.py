import dataclasses

import numpy as np
import pytest

from lib import activations, prompts, steering
from lib.steering.directions import _recursive, schedule

SITE = "resid.4"


def asked(emotion, n=8, kind="name", seed=5):
    table = prompts.crossed(kind, n, seed=seed)
    return list(table["prompt"][table["emotion"] == emotion])


@pytest.fixture(scope="module")
def vector(organism):
    return steering.direction(organism, asked("happy", 8, "implied"), asked("sad", 8, "implied"), SITE, seconds=1.0)


@pytest.fixture(scope="module")
def swept(organism, vector):
    return steering.generate(organism, asked("sad"), vector, [0, 0.08, 0.16], seconds=3.0, seed=70, progress=False)


def test_steering_moves_emotion_and_a_random_direction_less(organism, vector, swept):
    judge = steering.Judge(organism, ears=("corpus",), n=40, seconds=2.0)
    reference = organism.generate(asked("happy"), 3.0, 70, progress=False)
    table = steering.evaluate(judge, swept, reference, "happy").set_index("strength")
    random = steering.direction(organism, asked("happy"), asked("sad"), SITE, "random", seconds=1.0)
    other = steering.generate(organism, asked("sad"), random, [0, 0.16], seconds=3.0, seed=70, progress=False)
    control = steering.evaluate(judge, other, reference, "happy").set_index("strength")
    assert table.loc[0.16, "share"].value > 0.4 > abs(control.loc[0.16, "share"].value)
    assert table.loc[0.0, "share"].value == 0 and table.loc["prompt", "share"].value == pytest.approx(1)
    assert table.loc[0.0, "distance"] < 1e-3 < table.loc[0.08, "distance"]
    assert steering.dose(judge, swept, reference).value > 0.4
    with pytest.raises(ValueError, match="Strength 0 is needed"):
        steering.evaluate(judge, {0.16: swept[0.16]}, reference)


def test_strength_zero_and_neighbours_change_nothing(organism, vector, swept):
    plain = organism.generate(asked("sad"), 3.0, 70, progress=False)
    assert (swept[0.0].tokens == plain.tokens).all()
    alone = steering.generate(organism, asked("sad")[:2], vector, [0.16], seconds=3.0, seed=70, progress=False)
    assert (alone[0.16].tokens == swept[0.16].tokens[:2]).all()


def test_edit_adds_what_it_says(organism, vector):
    songs = organism.generate(asked("sad", 2), 1.0, 0, progress=False)
    before = activations.capture(organism, songs, SITE, progress=False)[SITE].values
    strengths = [0.5, -1.0]
    for how in ({}, {"keep_norm": True}):
        told = steering.edits(organism, vector, strengths, steps=30, over="ramp", **how)
        with activations.edit(organism, *told):
            after = activations.capture(organism, songs, SITE, progress=False)[SITE].values
        curve = schedule("ramp", 30)[: before.shape[1]]
        if how:
            kept = np.linalg.norm(after[:, -1], axis=-1) / np.linalg.norm(before[:, -1], axis=-1)
            assert np.all(np.abs(kept - 1) < 0.5)
            continue
        along = (after - before) @ vector.units[SITE] / vector.norms[SITE]
        assert np.allclose(along, np.outer(strengths, curve), atol=1e-3)


def test_monitored_strength_falls_behind_the_middle(organism, vector):
    songs = organism.generate(asked("sad", 2), 1.0, 0, progress=False)
    plain = activations.capture(organism, songs, SITE, progress=False)[SITE].values
    with activations.edit(organism, *steering.edits(organism, vector, [0.2, 0.2], steps=30, monitored=True)):
        after = activations.capture(organism, songs, SITE, progress=False)[SITE].values
    moved = (after - plain) @ vector.units[SITE] / vector.norms[SITE]
    where = plain @ vector.units[SITE]
    assert 0 <= moved.min() and moved.max() <= 0.2001 and np.corrcoef(where.ravel(), moved.ravel())[0, 1] < -0.5


def test_recursive_feature_machine_finds_the_direction():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 12))
    found = _recursive(x, np.tanh(2 * x[:, 3]) + 0.1 * rng.normal(size=200) > 0)
    assert abs(found[3]) > 0.9


def test_vectors_survive_the_disk_and_refuse_strangers(organism, vector, tmp_path):
    vector.save(tmp_path / "happy.safetensors")
    again = steering.load(tmp_path / "happy.safetensors", organism)
    assert np.allclose(again.units[SITE], vector.units[SITE]) and again.positive == vector.positive
    dataclasses.replace(vector, weights="00000000").save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="was made for organism"):
        steering.load(tmp_path / "other.safetensors", organism)
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no steering vector"):
        steering.load(tmp_path / "no.safetensors", organism)


def test_bad_input(organism, vector):
    with pytest.raises(ValueError, match="Both groups need prompts"):
        steering.direction(organism, [], ["sad"])
    with pytest.raises(ValueError, match="method must be one of"):
        steering.direction(organism, ["happy"], ["sad"], method="magic")
    with pytest.raises(ValueError, match="residual stream"):
        steering.direction(organism, ["happy"], ["sad"], "cross.2")
    with pytest.raises(ValueError, match="zero or not finite"):
        steering.direction(organism, ["sad music"], ["sad music"], SITE, seconds=1.0)
    with pytest.raises(ValueError, match="strengths must be finite"):
        steering.edits(organism, vector, [np.nan], steps=3)
    with pytest.raises(ValueError, match="schedule must be one of"):
        steering.edits(organism, vector, [1], steps=3, over="sometimes")
    with pytest.warns(UserWarning, match=r"5\.0 times the site's own norm"):
        steering.edits(organism, vector, [5.0], steps=3)
    broken = dataclasses.replace(vector, units={SITE: np.zeros(192)})
    with pytest.raises(ValueError, match="zero or not finite"):
        steering.edits(organism, broken, [1], steps=3)
    with pytest.raises(ValueError, match=r"no resid\.4 with 7"):
        steering.edits(organism, dataclasses.replace(vector, units={SITE: np.ones(7)}), [1], steps=3)


def test_combined_directions(organism, vector):
    both = steering.combine([vector, vector], [0.5, -0.25])
    assert np.allclose(both.units[SITE], 0.25 * vector.units[SITE])
    other = dataclasses.replace(vector, weights="0")
    with pytest.raises(ValueError, match="of one model"):
        steering.combine([vector, other], [1, 1])
