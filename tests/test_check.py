"""The one way to check input:

what is welcome, what is refused, and that the error names value, expectation and remedy.
"""

import pathlib

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lib import check


def test_numbers_of_numpy_are_welcome_and_come_back_as_pythons():
    assert check.count("n", np.int32(3)) == 3 and type(check.count("n", np.int32(3))) is int
    assert type(check.number("x", np.float32(0.5))) is float and check.number("x", 3) == 3
    assert check.count("n", None, optional=True) is None


@pytest.mark.parametrize("bad", [-1, 0, 2.0, "3", True, np.nan, None])
def test_what_is_no_count(bad):
    with pytest.raises((ValueError, TypeError), match=r"n must be an integer, 1 or more\. Got"):
        check.count("n", bad)


@pytest.mark.parametrize("bad", [0, 7, np.nan, np.inf, "1", True, None])
def test_what_is_no_number_in_an_interval(bad):
    with pytest.raises(
        (ValueError, TypeError), match=r"seconds must be a number in \(0, 6\]\. Got .*Shorter!"
    ):
        check.number("seconds", bad, 0, 6, open_low=True, remedy="Shorter!")


def test_choices_and_seeds():
    assert check.choice("how", "live", ("replay", "live")) == "live"
    with pytest.raises(ValueError, match=r"how must be one of 'replay', 'live'\. Got 'dreamt'"):
        check.choice("how", "dreamt", ("replay", "live"))
    assert check.seeds(3, 2) == [3, 4] and check.seeds(np.array([7, 1]), 2) == [7, 1]
    for bad in ([1], -1, 0.5, "ab", [0.5, 1]):
        with pytest.raises((ValueError, TypeError), match="seed"):
            check.seeds(bad, 2)


def test_texts_from_any_iterable():
    assert check.texts("prompts", (word for word in ("sad", "calm"))) == ["sad", "calm"]
    assert check.texts("prompts", pd.Series(["sad"])) == ["sad"]
    for bad, says in (
        ("sad", r"Write \['sad'\]"),
        ([], "is empty"),
        (["sad", 3], r"prompts\[1\] must be a string"),
        (5, "list"),
        (["a\ud800"], r"prompts\[0\] must be text that can be written as UTF-8"),
    ):
        with pytest.raises((ValueError, TypeError), match=says):
            check.texts("prompts", bad)
    with pytest.raises(ValueError, match=r"one for each of 3 clips\. Got 1"):
        check.texts("prompts", ["sad"], 3)


def test_mappings():
    assert check.mapping("clips", pd.Series([1], ["a"]), "{name: clip}") == {"a": 1}
    for bad, says in (([1], r"{name: clip}\. Got \[1\]"), ({}, "{name: clip}, of 1 or more")):
        with pytest.raises((ValueError, TypeError), match=f"clips must be {says}"):
            check.mapping("clips", bad, "{name: clip}", 1)


def test_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("~/a", tmp_path / "a", pathlib.PurePath("~/a")):
        assert check.path("folder", given) == tmp_path / "a"
    for bad in ("", " ", "a\0", "s3://bucket/a", "~nobody-here/a", b"a", 3, None):
        with pytest.raises((ValueError, TypeError), match=r"folder must be the path of .* Got"):
            check.path("folder", bad)


def test_a_url_that_was_made_a_path_is_no_folder():
    broken = pathlib.Path("s3://bucket") / "run"
    message = r"folder must be the path of .* on this machine\. Got .*s3:/bucket/run.* as text"
    with pytest.raises(ValueError, match=message):
        check.path("folder", broken)
    with pytest.raises(ValueError, match="Give a folder, not a URL"):
        check.path("folder", "s3://bucket/run")
    for fine in ("C:/run", "a/s3:/run", "./s3:/run", "a: b/run"):
        assert check.path("folder", fine) == pathlib.Path(fine)


def test_arrays():
    assert check.array("x", [[1, 2]], ("row", 2)).shape == (1, 2)
    for bad, says in (
        ([[1, 2, 3]], r"\(row, 2\)"),
        ([[np.nan, 1]], "NaN"),
        ([["a", "b"]], "numbers"),
        ([1, 2], r"\(row, 2\)"),
    ):
        with pytest.raises((ValueError, TypeError), match=says):
            check.array("x", bad, ("row", 2))
    with pytest.raises(TypeError, match="integers"):
        check.array("x", [0.5], ("row",), integer=True)
    assert check.same_length(x=[1], y=[2]) == 1
    with pytest.raises(ValueError, match="x 1, y 2"):
        check.same_length(x=[1], y=[1, 2])


@pytest.mark.parametrize(
    "which",
    [
        None,
        0,
        -1,
        [0, -1],
        (1,),
        range(2),
        slice(-2, None),
        slice(None, None, 2),
        np.array([1, 0, 1, 0], bool),
    ],
)
def test_selectors_mean_what_they_mean_to_numpy(which):
    wanted = np.zeros(4, bool)
    wanted[
        slice(None) if which is None else list(which) if isinstance(which, range | tuple) else which
    ] = True
    np.testing.assert_array_equal(check.selector("clips", which, 4), wanted)


@pytest.mark.parametrize(
    "which", [4, [-5], np.ones(3, bool), [0.5], "first", [[0, 1]], slice(0.5, None)]
)
def test_selectors_that_are_none(which):
    with pytest.raises((ValueError, TypeError), match="clips"):
        check.selector("clips", which, 4)


def test_a_missing_label_is_no_class():
    assert check.missing(["a", "", None, np.nan, pd.NA, pd.NaT, 0]).tolist() == [
        False,
        True,
        True,
        True,
        True,
        True,
        False,
    ]
    assert (
        check.labels("y", ["a", "b"]).dtype.kind == "U"
        and check.labels("y", [1, 2]).dtype.kind == "i"
    )
    assert check.labels("y", pd.Series([True, False], dtype=object)).dtype == bool
    assert check.labels("y", xr.DataArray(np.array(["a", "b"]))).tolist() == ["a", "b"]
    for bad in (["a", None], [1.0, np.nan], pd.Series(["a", pd.NA]), np.array(["a", ""])):
        with pytest.raises(ValueError, match=r"y has 1 missing labels \(rows 1\).*Drop these rows"):
            check.labels("y", bad)
    # numpy turns what is missing into text before it can be looked for
    for bad in (["a", " "], np.array(["a", np.nan]), pd.Series(["a", None], dtype=object).map(str)):
        with pytest.raises(ValueError, match=r"y has 1 missing labels \(rows 1\)"):
            check.labels("y", bad)
    with pytest.raises(ValueError, match="one label for each of 3 rows"):
        check.labels("y", ["a"], 3)


def test_audio_in_the_books_convention():
    wave = np.sin(np.arange(16_000))
    assert (
        check.audio("audio", wave).shape == (1, 16_000)
        and check.audio("audio", wave).dtype == np.float32
    )
    assert check.audio("audio", np.stack([wave, wave])[None], channels=2).shape == (1, 2, 16_000)
    for bad, says in (
        (np.stack([wave, wave], 1), "before channels"),
        ((wave * 32767).astype(np.int16), "divide by 32768"),
        (wave * 32767, "32768 for 16 bits"),
        (wave * np.nan, "NaN"),
        (np.zeros(0), "float audio"),
        (np.stack([wave, wave])[None], "2 channels"),
    ):
        with pytest.raises((ValueError, TypeError), match=says):
            check.audio("audio", bad)


def test_seeds_fit_every_device_and_store():
    assert check.seeds(2**63 - 2, 2) == [2**63 - 2, 2**63 - 1]
    for seed in (2**63, [0, 2**63]):
        with pytest.raises(ValueError, match=r"seed must be at most \d+ for every clip\. Got 9223"):
            check.seeds(seed, 2)
