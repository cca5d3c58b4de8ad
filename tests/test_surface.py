"""The curved plane: through its anchors, from its start, and no further than it may."""

import dataclasses
import types

import numpy as np
import pytest

from lib import steering
from lib.methods.steering import applying, plane, surface
from lib.musicgen import activations

WORDS = {"happy": "a happy melody", "calm": "a calm melody", "sad": "a sad melody"}


@pytest.fixture(scope="module")
def places():
    """What the listener of these tests hears: neutral songs in the middle."""
    return np.array([[0.0, 0.0], [0.8, 0.5], [0.6, -0.8], [-0.7, -0.3]])


@pytest.fixture(scope="module")
def judge(organism, places):
    """Hears every kind of songs at its place."""
    return types.SimpleNamespace(
        model=organism, place=lambda songs: np.repeat(places, len(songs) // len(places), 0)
    )


@pytest.fixture(scope="module")
def fitted(judge):
    anchors = {name: [prompt] * 2 for name, prompt in WORDS.items()}
    return surface.fit(judge, anchors, ["a plain melody"] * 2, seconds=1.0, seed=3)


def test_a_surface_leads_through_its_anchors(fitted, places):
    assert fitted.places == pytest.approx(places)
    added = fitted.strengths(places)
    whole = fitted.coordinates - fitted.coordinates[0]
    assert added[0] == pytest.approx(0) and fitted.start == pytest.approx(places[0])
    sizes = np.linalg.norm(whole, axis=1)
    short = sizes <= fitted.most
    assert added[short] == pytest.approx(whole[short], abs=1e-6)


def test_its_directions_are_at_right_angles_and_span_the_anchors(fitted):
    assert len(fitted.vectors) == len(WORDS)
    units = [np.concatenate([*vector.units.values()]) for vector in fitted.vectors]
    lengths = np.stack(units) / len(fitted.vectors[0].units)
    assert lengths @ lengths.T == pytest.approx(np.eye(len(WORDS)), abs=1e-4)


def test_what_is_added_is_what_the_words_add(fitted, organism, places):
    """At gain 1, on average over songs and frames, at every site."""
    songs = organism.generate(["a plain melody"] * 2, 1.0, [3, 4], progress=False)
    name = list(fitted.vectors[0].units)[2]
    under = [songs.under([prompt] * 2) for prompt in ("a plain melody", WORDS["happy"])]
    plain, happy = (
        activations.capture(organism, some, name, reduce="mean", progress=False)[name].values
        for some in under
    )
    strengths = dataclasses.replace(fitted, most=100.0).strengths(places[1])
    parts = [applying.pushes(vector)[name] for vector in fitted.vectors]
    assert strengths @ np.stack(parts) == pytest.approx((happy - plain).mean(0), abs=1e-3)


def test_gain_and_limit(fitted):
    far = dataclasses.replace(fitted, most=100.0)
    point = np.array([0.3, 0.2])
    twice = dataclasses.replace(far, gain=2.0).strengths(point)
    assert twice == pytest.approx(2 * far.strengths(point))
    near = dataclasses.replace(fitted, most=0.01).strengths(point)
    assert np.linalg.norm(near) == pytest.approx(0.01)


def test_a_straight_surface_is_a_plane_and_a_curved_one_is_not(fitted):
    far = dataclasses.replace(fitted, most=100.0)
    line = np.array([[-0.5, 0.1], [0.0, 0.1], [0.5, 0.1]])
    for shape, bent in (("straight", False), ("curved", True)):
        left, middle, right = dataclasses.replace(far, shape=shape).strengths(line)
        assert (np.abs((left + right) / 2 - middle).max() > 1e-3) == bent


def test_songs_are_sung_on_a_surface_and_the_nearest_gain_is_chosen(fitted, organism):
    """Here the second gain leads furthest, as far as asked in valence and half as far in arousal."""
    steps = np.array(plane.DESIGN)
    sung = []

    def place(songs):
        sung.append(songs)
        reached = np.array([1.0, 0.5]) if len(sung) == 2 else 0.0
        return np.tile(fitted.start + reached * steps, (len(songs) // len(steps), 1))

    listener = types.SimpleNamespace(model=organism, place=place)
    prompts = ["a plain melody", "a nice song"]
    found = surface.calibrated(listener, fitted, prompts, (0.5, 2.0, 4.0), seconds=0.5)
    assert found.gain == 2.0 and len(sung) == 3 and len(sung[0]) == 2 * len(steps)
    assert found.effect == pytest.approx(np.diag([1.0, 0.5]))
    twice = found.strengths(fitted.start + np.array([0.0, 0.1]))
    once = dataclasses.replace(found, effect=np.eye(2)).strengths(
        fitted.start + np.array([0.0, 0.2])
    )
    assert twice == pytest.approx(once)


def test_a_surface_that_is_calibrated_again_takes_both_measurements(fitted, organism):
    """Songs land where a turn and then a stretch lead: the stretch is undone first, and then the turn."""
    steps = np.array(plane.DESIGN)
    turn = np.array([[1.0, 0.5], [0.0, 1.0]])
    stretch = np.diag([2.0, 1.0])
    found = fitted
    for effect in (turn, stretch):
        landed = fitted.start + steps @ effect.T
        listener = types.SimpleNamespace(model=organism, place=lambda _, landed=landed: landed)
        found = surface.calibrated(listener, found, ["a plain melody"], (1.0,), seconds=0.5)
    assert found.effect == pytest.approx(stretch @ turn)
    point = fitted.start + np.array([0.02, 0.01])
    inner = fitted.start + np.linalg.inv(turn) @ np.linalg.inv(stretch) @ (point - fitted.start)
    plain = dataclasses.replace(fitted, gain=found.gain)
    assert found.strengths(point) == pytest.approx(plain.strengths(inner))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": {"happy": ["a happy melody"]}}, "3 anchors or more"),
        ({"anchors": dict.fromkeys(WORDS, ["a happy melody"] * 2)}, "as many prompts"),
        ({"site": "attn.17"}, "no site"),
    ],
)
def test_fit_refuses(judge, change, message):
    given = {"anchors": {n: [p] for n, p in WORDS.items()}, "site": "cross.*"} | change
    with pytest.raises(ValueError, match=message):
        surface.fit(judge, given["anchors"], ["a plain melody"], given["site"], seconds=0.5)


def test_a_surface_refuses_what_makes_no_sense(fitted):
    with pytest.raises(ValueError, match="shape"):
        dataclasses.replace(fitted, shape="round")
    with pytest.raises(ValueError, match="gain"):
        dataclasses.replace(fitted, gain=0.0)
    with pytest.raises(ValueError, match="valence and arousal"):
        fitted.strengths([[1.0, 2.0, 3.0]])


def test_a_led_song_is_sung_part_by_part_with_little_memory(fitted, organism, monkeypatch):
    far = dataclasses.replace(fitted, gain=4.0, most=20.0)
    prompts, points = ["a plain melody", "a nice song"], np.array([[[0.5, 0.3], [-0.5, 0.1]]] * 2)
    sung = []
    sing = organism.sing

    def listened(prompts, seeds, settings, *rest, begun=None, **more):
        sung.append((settings["cfg"], begun))
        return sing(prompts, seeds, settings, *rest, begun=begun, **more)

    monkeypatch.setattr(organism, "sing", listened)
    led = steering.lead(organism, far, prompts, points, 2.0, 7, memory=0.4, guidance=9.0)
    monkeypatch.undo()
    half = organism.frames(1.0)
    assert led.tokens.shape[-1] == 2 * half
    alone = steering.sing(organism, far, prompts, points[:, 0], 1.0, 7)
    assert (led.tokens[..., :half] == alone.tokens).all()
    (own, nothing), (raised, begun) = sung
    assert own != 9.0 and nothing is None and raised == 9.0
    assert (begun == led.tokens[..., half - organism.frames(0.4) : half]).all()
    other = steering.lead(organism, far, prompts, points[:, ::-1], 2.0, 7)
    assert (other.tokens[..., half:] != led.tokens[..., half:]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [[0.0, 0.0]]}, "prompt, part, 2"),
        ({"points": np.zeros((1, 0, 2))}, "one part or more"),
        ({"memory": 1.5}, "memory"),
        ({"guidance": 0.0}, "guidance"),
        ({"seconds": 30.0}, r"seconds must be at most 11.2 for 2 parts.*Got 30.*more parts"),
    ],
)
def test_lead_refuses(fitted, organism, change, message):
    given = {"points": [[[0.0, 0.0], [1.0, 0.0]]], "seconds": 2.0} | change
    with pytest.raises(ValueError, match=message):
        steering.lead(organism, fitted, ["a plain melody"], **given)
