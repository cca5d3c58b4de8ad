"""The emotion pad: a plane of valence and arousal to move in, and to hear where songs really land.

The static book holds songs steered to a grid of points and fades between neighbours. In JupyterLab,
with a kernel, the same page also sings at any point, and along a drawn path.
"""

import itertools
from collections.abc import Iterable

import numpy as np

from .. import check
from ..methods import steering
from ..organism import world
from . import embed
from .audio import mp3_text, packed
from .colors import COLORS, symbol
from .live import Live

PART = 1.0  # seconds, the shortest part of a song that follows a path


class Pad(Live):
    """Displays as a widget where a kernel runs, and as plain HTML in the book.

    Parameters
    ----------
    judge : steering.Judge
        Its first listener says where songs land.
    plane : steering.Plane or surface.Surface
    prompts : list of str
        One song to move each.
    reach : float
        The grid goes from -reach to +reach on both axes, standard deviations of the world's music.
    side : int
        Points of the grid along one axis, at least 2.
    seconds : float
        Length of the songs.
    seed : int
        Of the first song; each has the next.
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
    ValueError, TypeError
        No prompts, a grid without neighbours, before anything is sung.
    """

    kind = "pad"
    scripts = (*embed.SOUND, "pad")

    def __init__(
        self,
        judge: steering.Judge,
        plane: steering.Plane,
        prompts: Iterable[str],
        reach: float = 1.0,
        side: int = 5,
        seconds: float = 4.0,
        seed: int = 0,
        shown: int | None = None,
    ):
        self.judge = judge
        self.plane = plane
        self.prompts = check.texts("prompts", prompts)
        self.reach = check.number("reach", reach, 0, open_low=True)
        self.seconds = check.number("seconds", seconds, 0, open_low=True)
        self.seed = check.count("seed", seed, 0)
        shown = check.count("shown", shown, optional=True)
        line = np.linspace(-self.reach, self.reach, check.count("side", side, 2))
        self.points = np.array([(v, a) for a, v in itertools.product(line, line)])
        songs = self._sing_grid()
        self.heard = judge.place(songs).reshape(len(self.prompts), len(self.points), 2)
        self.data = self._data(songs, shown)

    def _sing_grid(self):
        """Every song at every point."""
        n = len(self.points)
        song = np.repeat(np.arange(len(self.prompts)), n)
        return steering.sing(
            self.judge.model,
            self.plane,
            [self.prompts[i] for i in song],
            np.tile(self.points, (len(self.prompts), 1)),
            self.seconds,
            [self.seed + int(i) for i in song],
        )

    def _data(self, songs, shown):
        emotions = list(world.EMOTIONS.values())
        n = len(self.points)
        return {
            "seconds": self.seconds,
            "colors": COLORS,
            "shapes": {name: symbol(name) for name in COLORS},
            "emotions": world.EMOTIONS,
            "reach": self.reach,
            # the plane shows all points, all songs and all emotions
            "range": float(
                max(1.15 * self.reach, np.abs(self.heard).max(), np.abs(emotions).max())
            ),
            "points": self.points,
            "songs": [
                {
                    "caption": prompt,
                    "sounds": [
                        mp3_text(audio, songs.sample_rate)
                        for audio in songs.audio[k * n : (k + 1) * n]
                    ],
                    "heard": self.heard[k].round(2).tolist(),
                }
                for k, prompt in enumerate(self.prompts[:shown])
            ],
        }

    def told(self) -> list[str]:
        """The prompts of the songs."""
        return [song["caption"] for song in self.data["songs"]]

    def _parts(self, path):
        """One place for each part of a song, [part, 2]: the mean of a stretch of the path."""
        count = min(len(path), max(1, int(self.seconds / PART)))
        return np.array([some.mean(0) for some in np.array_split(path, count)])

    def answer(self, question: dict) -> dict:
        """Sing one song at a point or along a path.

        Parameters
        ----------
        question : dict
            "song": its number; "path": [[valence, arousal], ...].

        Returns
        -------
        dict
            "sound" and "shape" (``audio.packed``) and "heard" (valence, arousal).
        """
        song = check.count("song", question["song"], 0, len(self.prompts) - 1)
        path = check.array("path", np.asarray(question["path"], float), ("point", 2))
        given = self.judge.model, self.plane, [self.prompts[song]]
        places = self._parts(path)[None]
        sung = steering.lead(*given, places, self.seconds, [self.seed + song])
        return {
            **packed(sung.audio[0], sung.sample_rate),
            "heard": self.judge.place(sung)[0].round(2).tolist(),
        }
