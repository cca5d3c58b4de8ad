"""The curved plane: through its anchors, from its start, and no further than it may."""

import dataclasses
import types

import numpy as np
import pytest

from lib import steering
from lib.methods.steering import surface

SITE = "resid.4"
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
    return surface.fit(judge, anchors, ["a plain melody"] * 2, SITE, seconds=1.0, seed=3)


def test_a_surface_leads_through_its_anchors(fitted, places):
    assert fitted.places == pytest.approx(places)
    added = fitted.strengths(places)
    whole = fitted.coordinates - fitted.coordinates[0]
    assert added[0] == pytest.approx(0) and fitted.start == pytest.approx(places[0])
    sizes = np.linalg.norm(whole, axis=1)
    short = sizes <= fitted.most
    assert added[short] == pytest.approx(whole[short], abs=1e-6)


def test_its_directions_are_at_right_angles_and_span_the_anchors(fitted):
    units = np.stack([vector.units[SITE] for vector in fitted.vectors])
    assert units @ units.T == pytest.approx(np.eye(len(units)), abs=1e-4)
    assert len(units) == len(WORDS)


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
    points = np.array([[0.5, 0.5], [-0.5, 0.5]])
    sung = []

    def place(songs):
        sung.append(songs)
        return np.tile(points, (len(songs) // 2, 1)) + (0.0 if len(sung) == 2 else 1.0)

    listener = types.SimpleNamespace(model=organism, place=place)
    prompts = ["a plain melody", "a nice song"]
    found = surface.tuned(listener, fitted, prompts, points, (0.5, 2.0, 4.0), seconds=0.5)
    assert found.gain == 2.0 and len(sung) == 3 and len(sung[0]) == 4
    alone = steering.sing(organism, found, prompts[:1], points[:1], 0.5)
    assert (alone.tokens[0] == sung[1].tokens[0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": {"happy": ["a happy melody"]}}, "3 anchors or more"),
        ({"anchors": dict.fromkeys(WORDS, ["a happy melody"] * 2)}, "as many prompts"),
        ({"site": "attn.4"}, "residual stream"),
        ({"site": "resid.*"}, "one site"),
    ],
)
def test_fit_refuses(judge, change, message):
    given = {"anchors": {n: [p] for n, p in WORDS.items()}, "site": SITE} | change
    with pytest.raises(ValueError, match=message):
        surface.fit(judge, given["anchors"], ["a plain melody"], given["site"], seconds=0.5)


def test_a_surface_refuses_what_makes_no_sense(fitted):
    with pytest.raises(ValueError, match="shape"):
        dataclasses.replace(fitted, shape="round")
    with pytest.raises(ValueError, match="gain"):
        dataclasses.replace(fitted, gain=0.0)
    with pytest.raises(ValueError, match="valence and arousal"):
        fitted.strengths([[1.0, 2.0, 3.0]])
