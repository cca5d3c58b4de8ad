"""Music that people rated, read from a folder; and rated music through a model.

>>> from lib import rated
>>> songs = rated.load("data/PMEmo2019")  # doctest: +SKIP
>>> songs.validate()  # doctest: +SKIP
>>> songs.songs, songs.audio(108, 32_000), songs.dynamic(108), songs.split()  # doctest: +SKIP

PMEmo, DEAM, MERP and MUSIFEAST-17 are known by their layouts; any other folder of audio will do if
a table of ratings lies in it (:func:`load` says what the table needs). Nothing is ever downloaded:
``print(songs)`` says where the set is had, under which licence, and what to cite. :func:`make` writes a small folder in exactly the published layout with music of the
organisms' world in it, whose valence and arousal are known; ``songs.made`` tells it from the real
one.

===========  =======================================  =============================================
..           PMEmo (Zhang et al. 2018)                DEAM (Aljanaki, Yang and Soleymani 2017)
===========  =======================================  =============================================
audio        794 choruses, ``chorus/<id>.mp3``        1,744 excerpts of 45 s, 58 songs (ids over
                                                      2000): ``DEAM_audio/MEMD_audio/<id>.mp3``
labels of    767 songs, 0 to 1, arousal first:        1,802 songs, 1 to 9: ``song_level/``
the whole    ``annotations/static_annotations.csv``   ``static_annotations_averaged_songs_*.csv``
labels over  every 0.5 s, 0 to 1:                     every 0.5 s, -1 to 1, a column a time:
time         ``annotations/dynamic_annotations.csv``  ``dynamic (per second annotations)/*.csv``
first stamp  15.5 (s): the *end* of its half second   15000 (ms): the *start* of its half second
artists      ``metadata.csv``                         ``metadata/metadata_{2013,2014,2015}.csv``,
                                                      ragged
===========  =======================================  =============================================

MERP (Koh et al. 2023; 54 whole songs) and MUSIFEAST-17 (van der Walle et al. 2025; 356 clips) are
read for whole songs alone. MUSIFEAST-17 was at hand; of the others layouts and headers are as their
own pages and their users give them (each module says which). Files:

- ``registry`` (which sets there are, :func:`load`), ``dataset`` (what a set offers), ``pmemo``,
  ``deam``, ``merp``, ``musifeast``, ``folder`` (one's own), ``layout``; ``validation`` (what is
  wrong in a folder), ``errors``
- ``tables`` (CSV to numbers), ``audio`` and ``mpeg`` (MP3 to samples, and whether it is whole),
  ``labels`` (scales, half seconds, :func:`aligned`), ``made`` (:func:`make`)
- ``excerpts`` (songs through a model), ``descriptors`` (plain features as baselines),
  ``prediction`` (ratings read for artists unseen, of the same set or another), ``agreement`` (how
  well), ``reliability`` (how well at best: raters disagree), ``following`` (features and
  directions), ``ear`` (a listener that learned from ratings)
"""

from .agreement import PUBLISHED, ccc, correlation, estimate, over_time, r2
from .dataset import Dataset, Split
from .deam import DEAM
from .ear import RatedListener, heard
from .errors import DatasetError
from .excerpts import Excerpts, acts, by_song, by_step, rated_steps, read
from .folder import Folder
from .following import direction, tracking
from .labels import AXES, STEP, UNLABELLED, aligned
from .layout import MARKER
from .made import make
from .merp import MERP
from .musifeast import MUSIFEAST17
from .pmemo import PMEmo
from .prediction import ALPHAS, held_out, scores, shuffles, transfer
from .registry import DATASETS, load
from .reliability import ceiling, rater_agreement

__all__ = [
    "ALPHAS",
    "AXES",
    "DATASETS",
    "DEAM",
    "MARKER",
    "MERP",
    "MUSIFEAST17",
    "PUBLISHED",
    "STEP",
    "UNLABELLED",
    "Dataset",
    "DatasetError",
    "Excerpts",
    "Folder",
    "PMEmo",
    "RatedListener",
    "Split",
    "acts",
    "aligned",
    "by_song",
    "by_step",
    "ccc",
    "ceiling",
    "correlation",
    "direction",
    "estimate",
    "heard",
    "held_out",
    "load",
    "make",
    "over_time",
    "r2",
    "rated_steps",
    "rater_agreement",
    "read",
    "scores",
    "shuffles",
    "tracking",
    "transfer",
]
