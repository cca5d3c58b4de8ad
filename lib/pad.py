"""The emotion pad: a plane of valence and arousal to move in, and to hear where songs really land.

The static book holds songs steered to a grid of points and fades between neighbours; in JupyterLab, with a kernel, the same
page also sings at any point, and along a drawn path. Both run ``pad.js`` on the same data.
"""

import base64
from pathlib import Path

import numpy as np

from lib import show, steering
from lib.live import Live
from lib.organism import world

HERE = Path(__file__).parent
PATH = 200  # most points of a path that are followed


class Pad(Live):
    """Displays as a widget where a kernel runs, and as plain HTML in the book.

    Parameters
    ----------
    judge : steering.Judge
        Its first listener says where songs land.
    plane : steering.Plane
    prompts : list of str
        One song to move each.
    reach : float
        The grid goes from -reach to +reach on both axes, standard deviations of the world's music.
    side : int
        Points of the grid along one axis, at least 2.
    seconds, seed : float, int
        Length and seeds of the songs.
    shown : int, optional
        How many of the songs the page holds, from the first; by default all.

    Attributes
    ----------
    points : np.ndarray [shape=(side * side, 2)]
        What is asked for, valence running fastest.
    heard : np.ndarray [shape=(song, side * side, 2)]
        Where songs land.

    Raises
    ------
    ValueError
        No prompts, a grid without neighbours, before anything is sung.
    """

    name, script, style = "pad", (HERE / "pad.js").read_text(), (HERE / "pad.css").read_text()

    def __init__(
        self, judge: steering.Judge, plane: steering.Plane, prompts: list[str], reach: float = 1.0, side: int = 5,
        seconds: float = 4.0, seed: int = 0, shown: int | None = None,
    ):  # fmt: skip
        if not prompts or side < 2 or not reach > 0:
            raise ValueError(f"A pad needs prompts, side >= 2, reach > 0. Got {len(prompts)}, {side}, {reach}.")
        self.judge, self.plane, self.prompts = judge, plane, list(prompts)
        self.seconds, self.seed, self.reach = seconds, seed, reach
        line, n = np.linspace(-reach, reach, side), side * side
        self.points = np.array([(v, a) for a in line for v in line])
        each = np.repeat(np.arange(len(prompts)), n)
        songs = steering.sing(
            judge.model, plane, [prompts[i] for i in each], np.tile(self.points, (len(prompts), 1)), seconds,
            list(seed + each),
        )  # fmt: skip
        self.heard = judge.place(songs).reshape(len(prompts), n, 2)
        self.data = {
            "seconds": seconds,
            "colors": show.COLORS,
            "emotions": world.EMOTIONS,
            "reach": reach,
            "range": float(max(1.15 * reach, np.abs(self.heard).max(), np.abs(list(world.EMOTIONS.values())).max())),
            "points": self.points.tolist(),
            "songs": [
                {
                    "caption": prompt,
                    "sounds": [_sound(a, songs.sample_rate) for a in songs.audio[k * n : (k + 1) * n]],
                    "heard": self.heard[k].round(2).tolist(),
                }
                for k, prompt in enumerate(self.prompts[:shown])
            ],
        }

    def answer(self, asked: dict) -> dict:
        """Sing one song at a point or along a path, {"song": number, "path": [[valence, arousal], ...]}: gives "sound"
        (base64 MP3) and "heard" (valence, arousal)."""
        song, path = asked["song"], np.asarray(asked["path"], float)
        if not 0 <= song < len(self.prompts):
            raise ValueError(f"song must be from 0 to {len(self.prompts) - 1}. Got {song}.")
        if len(path) > PATH:
            path = path[np.linspace(0, len(path) - 1, PATH).astype(int)]
        sung = steering.sing(
            self.judge.model, self.plane, [self.prompts[song]], path[None], self.seconds, [self.seed + song]
        )
        return {"sound": _sound(sung.audio[0], sung.sample_rate), "heard": self.judge.place(sung)[0].round(2).tolist()}


def _sound(audio, rate):
    return base64.b64encode(show.mp3(audio, rate, small=True)).decode()
