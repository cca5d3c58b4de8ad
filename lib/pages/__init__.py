"""What a reader sees: figures, players and pages that answer.

==============  ====================================================================================
``show``        all that a chapter shows, under one name
``colors``      one colour an emotion, one shade an organism
``audio``       players with their waveforms, and the picture of a sound
``figures``     points and lines with their intervals, spreads, heat maps
``diagrams``    a world's causes, a model's sites, its pattern of tokens
``sounding``    a map and a table of clips that play where they are clicked
``tables``      tables with estimates
``explorer``    every feature of a sparse autoencoder, to click on and to hear
``pad``         the plane of valence and arousal, to move in
``alive``       an organism that sings in the reader's browser
``runtime``     what browsers run of others: packages of npm, as one lock has them
``listening``   a blind listening test: its page, its answers, their analysis
``live``        what a page needs that a kernel may answer
``embed``       from the files in ``static`` (scripts, styles, markup) to one output
==============  ====================================================================================
"""
