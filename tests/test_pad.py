"""The emotion pad and the plane behind it.

That the page works in a browser is tested on the built book, too.
"""

import re

import numpy as np
import pytest

from lib import prompts
from lib.methods import steering
from lib.pages import embed
from lib.pages.pad import Pad

NEUTRAL = list(prompts.crossed("neutral", 4)["prompt"])
WIDGET = "application/vnd.jupyter.widget-view+json"
#: What anywidget does with a page: it draws it, and keeps what is to be called when it goes.
DRAWN = """async ([script, data]) => {
  const { default: widget } = await import(`data:text/javascript,${encodeURIComponent(script)}`);
  const model = { on() {}, send() {}, get: () => data };
  window.leave = await widget.render({ model, el: document.body });
}"""


@pytest.fixture(scope="module")
def plane(organism):
    table = prompts.crossed("implied", 3, seed=930)
    judge = steering.Judge(organism, ears=("corpus",), n=40, seconds=2.0)
    ends = ((("happy", "calm"), ("tense", "sad")), (("happy", "tense"), ("calm", "sad")))
    vectors = [
        steering.direction(
            organism, *(list(table["prompt"][table["emotion"].isin(e)]) for e in end), seconds=1.0
        )
        for end in ends
    ]
    return judge, steering.calibrate(judge, vectors, NEUTRAL, seconds=2.0)


@pytest.fixture(scope="module")
def made(plane):
    return Pad(*plane, NEUTRAL[:2], side=2, seconds=1.0, seed=40, shown=1)


def test_both_directions_move_their_axis(plane):
    _, p = plane
    assert p.slopes["arousal"].value > 2 and p.slopes["valence"].value > 0
    assert p.effect.shape == (2, 2) and p.effect[1, 1] == pytest.approx(p.slopes["arousal"].value)


def test_points_become_strengths(plane):
    _, p = plane
    near = p.start + p.effect @ [0.01, -0.02]
    assert np.allclose(p.strengths(near), [0.01, -0.02])
    assert np.allclose(p.strengths(p.start), 0)
    assert np.linalg.norm(p.strengths([[50, 50], [-50, 1]]), axis=-1) == pytest.approx([p.most] * 2)
    with pytest.raises(ValueError, match="finite valence and arousal"):
        p.strengths([np.nan, 0])


def test_a_path_is_sung_along_its_points(organism, plane):
    _, p = plane
    point = [[1.0, 0.5]]
    how = {"seconds": 1.0, "seeds": 3}
    still = steering.sing(organism, p, NEUTRAL[:1], point, **how)
    assert np.array_equal(
        still.tokens, steering.sing(organism, p, NEUTRAL[:1], [point * 2], **how).tokens
    )
    led = steering.sing(organism, p, NEUTRAL[:1], [[p.start, [3.0, 3.0]]], **how)
    plain = organism.generate(NEUTRAL[:1], 1.0, 3, progress=False)
    assert led.tokens[0, 0, 0] == plain.tokens[0, 0, 0] and not np.array_equal(
        led.tokens, plain.tokens
    )
    with pytest.raises(ValueError, match="one point or path for each of 1"):
        steering.sing(organism, p, NEUTRAL[:1], [[0, 0], [1, 1]])


def test_landing_finds_slopes_that_are_there():
    rng = np.random.default_rng(0)
    points = np.array([(v, a) for a in (-1, 0, 1) for v in (-1, 0, 1)], float)
    heard = points @ [[0.6, 0.0], [0.3, 0.9]] + rng.normal(0, 0.05, (8, 9, 2))
    t = steering.landing(points, heard).set_index(["asked", "heard"])["slope"]
    assert t["valence", "valence"].holds(0.6) and t["arousal", "valence"].holds(0.3)
    assert t["arousal", "arousal"].holds(0.9) and t["valence", "arousal"].holds(0.0)
    with pytest.raises(ValueError, match="2 or more songs"):
        steering.landing(points, heard[0])


def test_the_page_holds_what_it_shows(made):
    assert made.points.tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    assert made.heard.shape == (2, 4, 2)
    (song,) = made.data["songs"]
    assert len(song["sounds"]) == 4 and min(map(len, song["sounds"])) > 500
    assert song["caption"] == NEUTRAL[0]
    assert np.allclose(song["heard"], made.heard[0], atol=0.006)
    assert {WIDGET, "text/html"} <= set(made._repr_mimebundle_())
    own = made.html().replace(embed.library(), "")
    assert not re.search(r"""(src|href)=["']?https?:|fetch\(|import\(""", own)


def test_a_kernel_sings_where_it_is_asked(made):
    at_grid = made.answer({"song": 0, "path": [[1.0, 1.0]]})
    song = made.data["songs"][0]
    assert at_grid["heard"] == song["heard"][3]
    # the last bits depend on what is sung beside it
    assert len(at_grid["sound"]) == len(song["sounds"][3])
    assert len(made.answer({"song": 0, "path": [[-1, -1], [1, 1]] * 150})["sound"]) > 500


def test_a_pad_that_goes_takes_its_sound_along(made, browser):
    opened = browser.new_page()
    script = str(embed.script(*made.scripts, "live"))
    opened.evaluate(DRAWN, [script, embed.plain(made.data)])
    opened.get_by_role("button", name="Play", exact=True).click()
    opened.wait_for_function("() => document.body.pad.level() > 0.001")
    opened.evaluate("() => window.leave()")
    assert opened.evaluate("() => document.body.pad.level()") == 0
    opened.close()


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"song": 5, "path": [[0, 0]]}, "song must be an integer, from 0 to 1. Got 5"),
        ({"song": 0, "path": [[0, 0, 0]]}, "path must be an array"),
        ({"song": 0, "path": []}, "path must be an array"),
        ({"song": 0, "path": [[0, None]]}, "path holds NaN"),
    ],
)
def test_a_kernel_refuses_on_the_page(made, question, message):
    assert message in made._answer_or_error(question)["error"]


def test_songs_may_come_from_a_generator(plane):
    lazy = Pad(*plane, (prompt for prompt in NEUTRAL[:1]), side=2, seconds=np.float32(1), seed=40)
    assert lazy.prompts == NEUTRAL[:1] and len(lazy.data["songs"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": 1}, "side must be an integer, 2 or more"),
        ({"reach": 0}, "reach must be a number above 0"),
        ({"reach": np.inf}, "reach must be a number above 0"),
        ({"seconds": -1}, "seconds must be a number above 0"),
        ({"prompts": []}, "prompts is empty"),
        ({"prompts": NEUTRAL[0]}, "prompts must be a list"),
        ({"shown": 0}, "shown must be"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sung(plane, change, message):
    given = {"prompts": NEUTRAL[:1], **change}
    with pytest.raises((ValueError, TypeError), match=message):
        Pad(*plane, **given)
