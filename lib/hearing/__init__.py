"""What is heard in a clip, from its audio alone.

``acoustics`` (the cues of ``organism.world``, measured) · ``moments`` (what sounds in every frame)
· ``spectra`` (spectra and how they change,
with no cue measured) · ``timbre`` (how a clip's sound is coloured, and which instrument that is) ·
``listeners`` (who hears a clip and answers with valence and arousal, or with any concept)
"""
