"""Where the parts of a published set lie in a folder.

A layout maps a part's name to its place. What stands in brackets is a folder that some copies have
and others have not: ``[DEAM_audio/]MEMD_audio``.
"""

import re
from collections.abc import Mapping
from pathlib import Path

#: The file that tells a made set from the published one.
MARKER = "MADE.txt"


def find(layout: Mapping[str, str], folder: Path) -> dict[str, Path | None]:
    """Each part's path in a folder, None where it is not there."""
    found = {}
    for part, place in layout.items():
        candidates = (folder / full(place), folder / short(place))
        found[part] = next((path for path in candidates if path.exists()), None)
    return found


def full(place: str) -> str:
    """A place with the folders that may be left out."""
    return re.sub(r"[\[\]]", "", place)


def short(place: str) -> str:
    """A place without the folders that may be left out."""
    return re.sub(r"\[.*?\]", "", place)
