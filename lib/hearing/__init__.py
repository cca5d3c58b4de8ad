"""What is heard in a clip, from its audio alone.

``acoustics`` (the cues of ``organism.world``, measured) · ``spectra`` (spectra and how they change,
with no cue measured) · ``listeners`` (who hears a clip and answers with valence and arousal)
"""
