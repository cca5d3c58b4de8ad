"""What is raised when rated music cannot be used."""

from pathlib import Path


class DatasetError(ValueError):
    """A folder, table or song is not as published: says what is wrong where, and what to do."""


class AudioError(DatasetError):
    """A song's file cannot be read whole.

    Attributes
    ----------
    kind : str
        "missing", "damaged", or "short" (for its labels).
    problem : str
        What is wrong, as it follows the file's name.
    advice : str
        What to do if getting the file again does not help; "" if nothing.
    """

    def __init__(self, file: Path, problem: str, advice: str = "", kind: str = "damaged"):
        super().__init__(f"{file} {problem}. Get it again. {advice}".rstrip())
        self.kind = kind
        self.problem = problem
        self.advice = advice
