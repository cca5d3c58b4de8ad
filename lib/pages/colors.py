"""One visual language: one colour an emotion, one shade an organism, in every figure and player."""

#: One colour for each emotion, distinguishable with the common colour deficiencies (after Okabe
#: and Ito 2008).
COLORS = {
    "happy": "#E69F00",
    "energetic": "#D55E00",
    "tense": "#AA3377",
    "sad": "#0072B2",
    "calm": "#009E73",
}
INK = "#222222"
MUTED = "#666666"
GRID = "#E5E5E5"
#: One shade for each organism and for an untrained network; any other model is drawn in ink.
SHADES = {
    "organism": INK,
    "organism-habit": "#CC79A7",
    "organism-decoupled": "#56B4E9",
    "organism-shuffled": "#999999",
    "untrained": "#8C6D31",
}
#: For series that are neither emotion nor organism (Okabe and Ito 2008).
PALETTE = (
    "#222222",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#882255",
)


def color(name, others: dict | None = None, otherwise: str = INK) -> str:
    """The colour of an emotion or an organism.

    Parameters
    ----------
    name : str
        What is drawn; what is no text counts as its str.
    others : dict, optional
        Other names -> colour; they come first.
    otherwise : str
        For a name that has no colour of its own.
    """
    known = {**SHADES, **COLORS, **{str(key): value for key, value in (others or {}).items()}}
    return known.get(str(name), otherwise)
