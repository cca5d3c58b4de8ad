"""What is wrong in a folder of rated music, compared with the set as published."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np

from . import audio
from .errors import AudioError
from .labels import STEP, UNLABELLED
from .layout import MARKER

#: Files that systems leave behind anywhere.
_LITTER = r"(.*/)?(\.|__MACOSX/|Thumbs\.db|desktop\.ini).*"


class Problem(NamedTuple):
    """One thing that is wrong."""

    kind: str
    file: str
    problem: str
    advice: str

    def __str__(self):
        return f"- {self.kind}: {self.file} {self.problem}. {self.advice}."


def problems(rated) -> list[Problem]:
    """All that is wrong with a ``Dataset``; every file is decoded."""
    labels = [*_ranges(rated), *_repeated(rated), *_holes(rated)]
    return [*_audio(rated), *labels, *strangers(rated.folder, rated.published)]


def strangers(folder: Path, published: str) -> Iterator[Problem]:
    """Files that are no part of the published set, nor litter of a system."""
    usual = rf"{MARKER}|{_LITTER}|{published}"
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if path.is_file() and not re.fullmatch(usual, place):
            advice = "Nothing reads it; move it elsewhere"
            yield Problem("unexpected", place, "is not part of the set", advice)


def _audio(rated):
    """Problems of songs, one at most for each: of all that are labelled or have a file."""
    songs = sorted({*rated.static.index, *rated.recorded()})
    check = joblib.delayed(_song_problem)
    found = joblib.Parallel(n_jobs=-1, prefer="threads")(check(rated, song) for song in songs)
    return [problem for problem in found if problem is not None]


def _song_problem(rated, song):
    file = rated.file(song)
    place = f"{file.parent.name}/{file.name}"
    labelled = rated.last_label(song)
    try:
        found = audio.decoded_length(file, labelled)
    except AudioError as error:
        return Problem(error.kind, place, error.problem, rated.advice(error))
    if labelled - found.sound_end > audio.SILENCE:
        problem = (
            f"is digitally silent from {found.sound_end:.1f} s on, but its labels go to "
            f"{labelled:.1f} s"
        )
        return Problem("silent", place, problem, rated.advice())
    if found.seconds < UNLABELLED + STEP:  # has no labels in the published set either
        return None
    if song not in rated.static.index:
        advice = "Nothing reads it; get the annotations again or delete it"
        return Problem("unexpected", place, "has no labels", advice)
    if not labelled and len(rated.over_time):
        advice = f"Get the annotations again from {rated.where}"
        return Problem("missing", place, "has no labels over time", advice)
    return None


def _ranges(rated):
    tables = {"static": rated.static, "dynamic": rated.over_time}
    for kind, (low, high) in rated.scale.items():
        table = tables[kind]
        for axis in rated.axes:
            wrong = table.index[~table[axis].between(low - 1e-6, high + 1e-6)]
            if len(wrong):
                problem = (
                    f"has {axis} outside {low:g} to {high:g}, or none, for song {_numbers(wrong)}"
                )
                place = rated.label_files[kind].format(axis=axis)
                yield Problem("range", place, problem, rated.advice())


def _repeated(rated):
    again = rated.static.index[rated.static.index.duplicated()]
    if len(again):
        problem = f"has more than one row for song {_numbers(again)}"
        yield Problem("twice", rated.label_files["static"], problem, rated.advice())
    over_time = rated.over_time.reset_index()
    again = over_time["song_id"][over_time.duplicated(["song_id", "stamp"])]
    if len(again):
        problem = f"has more than one label at one time of song {_numbers(again)}"
        yield Problem("twice", _dynamic_place(rated), problem, rated.advice())


def _holes(rated):
    """Labels without a time, and half seconds without a label between others that have one."""
    table = rated.over_time.reset_index().sort_values(["song_id", "stamp"])
    timeless = table["stamp"].isna()
    if timeless.any():
        problem = f"has labels without a time for song {_numbers(table['song_id'][timeless])}"
        yield Problem("hole", _dynamic_place(rated), problem, rated.advice())
    gaps = table.groupby("song_id")["stamp"].diff() > 1.5 * STEP
    if gaps.any():
        songs = _numbers(table["song_id"][gaps])
        problem = f"has no label for half seconds between others of song {songs}"
        yield Problem("hole", _dynamic_place(rated), problem, rated.advice())


def _dynamic_place(rated):
    return rated.label_files["dynamic"].format(axis="*")


def _numbers(songs):
    """The first songs' numbers, each once."""
    return ", ".join(map(str, dict.fromkeys(np.asarray(songs)[:20].tolist())))
