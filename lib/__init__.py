"""The thin library behind the book: does MusicGen understand emotion, or only correlate patterns?

Modules by layer; each imports only from rows above it (``tests/test_house.py`` checks that):

1. ``compat`` (audiocraft on today's stack) · ``stats`` · ``music`` · ``acoustics`` · ``results``
2. ``organism`` (the world, its captions, its codec and networks, training) · ``prompts`` · ``model``
3. ``listeners`` (who hears a clip and says what they heard)
4. ``evaluation`` (is each organism what we say?)
5. ``show`` (players and figures: all that a reader sees) · ``book`` (execute the notebooks, build the pages)
"""
