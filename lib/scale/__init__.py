"""The same work on many GPUs or machines.

``work`` cuts it into pieces of clips and does them one after the other here, or hands them to
``cluster``, which spreads them over Ray workers. A piece is computed alike everywhere: the same
clips in the same batches, under the same edits, with as many threads. So the result is the same,
bit for bit on like machines.
"""

from .cluster import ScaleError
from .work import capture, each, generate

__all__ = ["ScaleError", "capture", "each", "generate"]
