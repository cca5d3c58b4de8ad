"""What understanding an emotion would be, measured: properties that habit lacks.

A model that understands *sad* holds one thing for all sad words, lets it move every cue of sadness,
weighs it against what else it is told, hears it in music that has it, and can be moved by it. A
model of habits ties every word to a cue and no word to an emotion. What both have in common, a
word's own strongest cue, is therefore set aside in every measure here.

``words`` (a bank of emotion words and the prompts around them) · ``songs`` (what they make the
model sing, and the state they put it in) · ``evidence`` (all that is asked of a model) ·
``measures`` (one number a word for each property) · ``truth`` (how large effects are in the
world's own music)

The rules by which numbers become yes, no or cannot tell are the book's (``lib/book/rules.toml``).
"""

from .evidence import Design, Evidence, States, embedded, gather, hear, read
from .measures import (
    alike,
    dealt,
    fitted_places,
    geometry,
    numbers,
    placed,
    places,
    strongest_inside,
    weighed_as_the_world,
    without_strongest,
)
from .truth import sizes
from .words import bank, on_the_circle

__all__ = [
    "Design",
    "Evidence",
    "States",
    "alike",
    "bank",
    "dealt",
    "embedded",
    "fitted_places",
    "gather",
    "geometry",
    "hear",
    "numbers",
    "on_the_circle",
    "placed",
    "places",
    "read",
    "sizes",
    "strongest_inside",
    "weighed_as_the_world",
    "without_strongest",
]
