"""Model organisms: music and language whose causes are known, and the MusicGens that learned them.

``world`` (the causal model that makes cues, perceived emotion and named emotion) · ``captions``
(its language) · ``music`` (cues -> notes -> audio) · ``corpus`` (all of it put together) ·
``foreign`` (the same cues by another composer on other instruments) · ``planting`` (where variables
are, in the organisms whose places are known) · ``weights/`` (the trained models;
``musicgen.miniature`` reads them, the room ``factory`` makes them)
"""
