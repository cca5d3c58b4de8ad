"""A blind listening test and its analysis: what people hear who do not know what they should hear.

Everybody rates every clip alone, then says of two versions of the same item which one is more of
something. The page needs no server and no network and names no condition; only the key, which the
experimenter keeps, says which clip is which. Simulated raters with known effects answer in the
page's own format: they show what the analysis finds, not what people hear.

``design`` makes the page, ``answers`` reads what it hands out, ``analysis`` says what was heard,
and ``simulation`` invents raters and counts how many are needed.
"""

from .analysis import Agreement, agreement, preferences, ratings
from .answers import POINTS, VERSION, read, seal
from .design import RATINGS, ListeningTest, page, williams
from .simulation import TYPICAL, Spread, needed, power, simulate

__all__ = [
    "POINTS",
    "RATINGS",
    "TYPICAL",
    "VERSION",
    "Agreement",
    "ListeningTest",
    "Spread",
    "agreement",
    "needed",
    "page",
    "power",
    "preferences",
    "ratings",
    "read",
    "seal",
    "simulate",
    "williams",
]
