"""What is heard in a clip, from its audio alone.

``acoustics`` (the cues of ``organism.world``, measured) · ``listeners`` (who hears a clip and
answers with valence and arousal)
"""
