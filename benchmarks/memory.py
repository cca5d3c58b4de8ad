"""How much memory a call holds: for the benchmarks; measures nothing by itself."""

import ctypes.util
import gc
import threading
from contextlib import contextmanager

import psutil
import torch

GB = 1e9


class Held:
    """The most memory that is held while something runs, beyond what was held before, in GB.

    On a GPU that is PyTorch's; on a CPU the process's, looked at every few milliseconds. (The system's
    own high-water mark would be that of whatever ran before.)
    """

    def __init__(self):
        self.most = float("nan")

    @contextmanager
    def watched(self):
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            yield
            torch.cuda.synchronize()
            self.most = (torch.cuda.max_memory_allocated() - before) / GB
            return
        _give_back()
        process = psutil.Process()
        before = process.memory_info().rss
        done = threading.Event()
        seen = [before]

        def look():
            while not done.wait(0.003):
                seen.append(process.memory_info().rss)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
        self.most = (max(seen) - before) / GB


def _give_back():
    """Freed memory that glibc holds would hide what a call takes."""
    library = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None) if library else None
    if trim is not None:
        trim(0)
