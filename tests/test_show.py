"""What the reader sees: compressed audio at its own level, figures for Lab and for the page."""

import io
import re

import numpy as np
import pandas as pd
import pytest
import soundfile

from lib import show, stats


def sine(level, seconds=3, rate=16_000):
    return (level * np.sin(2 * np.pi * 440 * np.arange(seconds * rate) / rate)).astype(np.float32)


def test_players_keep_loudness_and_stay_small():
    loud, soft = (soundfile.read(io.BytesIO(show.mp3(sine(a), 16_000)))[0] for a in (0.5, 0.05))
    ratio = np.sqrt(np.mean(loud**2) / np.mean(soft**2))
    assert ratio == pytest.approx(10, rel=0.1)
    assert len(show.mp3(sine(0.5, 6), 16_000)) < 60_000


def test_player_is_reachable_and_named():
    page = show.player(sine(0.3), 16_000, "a <sad> clip").data
    assert "<audio controls" in page and "autoplay" not in page
    assert "a &lt;sad&gt; clip" in page and 'src="data:audio/mpeg;base64,' in page


def test_grid_uses_the_colour_of_the_emotion():
    page = show.player_grid({"sad": {"one": sine(0.1)}, "calm": {"one": sine(0.1)}}, 16_000).data
    assert page.count("<audio") == 2 and show.COLORS["sad"] in page and show.COLORS["calm"] in page


def test_spectrogram_shows_where_the_sound_is():
    page = show.spectrogram(sine(0.5), 16_000, "A4").data
    assert "data:image/png" in page and "requestAnimationFrame" in page
    assert len(set(re.findall(r'id="(s[0-9a-f]+)"', page + show.spectrogram(sine(0.5), 16_000).data))) == 2


@pytest.mark.parametrize("bad", [np.zeros((2, 100)), np.array([]), np.array([np.nan])])
def test_bad_audio(bad):
    with pytest.raises(ValueError, match="player"):
        show.mp3(bad, 16_000)


def figures():
    e = stats.Estimate(0.5, 0.4, 0.6, 10)
    frame = pd.DataFrame(np.eye(2), columns=["a", "b"], index=["c", "d"])
    return {
        "estimates": show.estimates({"sad: one": e}, "title", "unit", bar=0.2),
        "graph": show.causal_graph({"a": {"b": 0.5}}, {"a": (0, 0), "b": (1, 1)}, "graph"),
        "tokens": show.token_map(np.arange(8).reshape(4, 2), [0, 1, 2, 3], 25, 10),
        "heatmap": show.heatmap(frame, "title", "unit"),
        "curves": show.curves({"organism": ([0, 1], [e, e]), "sad": ([0, 1], [e, e])}, "title", "x", "y", bar=0),
    }


@pytest.mark.parametrize("name", figures())
def test_figures_serve_lab_and_page(name):
    bundle = figures()[name]._repr_mimebundle_()
    assert set(bundle) == {"text/html", "application/vnd.plotly.v1+json"}
    assert "cdn" not in bundle["text/html"] and len(bundle["text/html"]) < 100_000


def test_tokens_are_drawn_with_their_delay():
    z = figures()["tokens"].figure.data[0].z
    assert np.array_equal(np.isnan(z[1]), [True, False, False, True, True])
    assert z[3][3] == 6


def test_tables_write_estimates_and_marks():
    frame = pd.DataFrame({"e": [stats.Estimate(0.5, 0.4, 0.6, 10)], "met": [True], "x": [1.23456], "t": ["<b>"]})
    page = show.table(frame).data
    assert (
        "0.50\u00a0[0.40,\u00a00.60]<" in page
        and "e (n = 10)" in page
        and "✓" in page
        and "1.23" in page
        and "&lt;b&gt;" in page
    )
    frame = pd.DataFrame({"e": [stats.Estimate(0.5, 0.4, 0.6, 10), stats.Estimate(0.5, 0.4, 0.6, 12)]})
    assert "0.50 [0.40, 0.60], n = 12" in show.table(frame).data.replace("\u00a0", " "), (
        "where sizes differ, each is told"
    )


def test_curves_draw_intervals_in_the_colour_of_the_series():
    data = figures()["curves"].figure.data
    assert [d.name for d in data if d.name] == ["organism", "sad"]
    assert list(data[2].y) == [0.6, 0.6, 0.4, 0.4] and data[2].fillcolor == show.COLORS["sad"]


def test_sound_map_has_a_clip_behind_every_point():
    maps = {"PCA": np.random.default_rng(0).normal(size=(3, 2)), "UMAP": np.zeros((3, 2))}
    page = show.sound_map(maps, [sine(0.1)] * 3, 16_000, ["sad", "calm", "sad"], ["a <b>", "c", "d"]).data
    assert page.count("<circle") == 3 == page.count("tabindex") and page.count("<button>") == 2
    assert "a &lt;b&gt;" in page and show.COLORS["calm"] in page and page.count("<audio") == 1


def test_site_map_tells_shape_and_equation():
    from lib.activations import Site

    sites = {"resid.0": Site("resid.0", "frame", 192, "embed + attn.0", 0, None)}
    page = show.site_map(sites).data
    assert "resid.0 = embed + attn.0" in page and "[clip, frame, 192]" in page and page.count("<button") == 1
