"""Read and write what happens inside a MusicGen: sites, capture, edit.

``sites`` names the places, ``capture`` records them, ``attention`` gives the attention's weights
and ``edit`` changes what the places hold while the model runs. :mod:`~.sites` says what each place
is, :mod:`~.capture` what a frame is.
"""

from .capture import attention, capture, centred, offset_free
from .edits import OPERATIONS, Edit, edit
from .run import STREAMS, repeatable
from .sites import Site, at, reading_text, select, sites

__all__ = [
    "OPERATIONS",
    "STREAMS",
    "Edit",
    "Site",
    "at",
    "attention",
    "capture",
    "centred",
    "edit",
    "offset_free",
    "reading_text",
    "repeatable",
    "select",
    "sites",
]
