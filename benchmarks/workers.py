"""Workers on one machine: clips a second of generating and capturing with 1, 2 and 4 of them, against
the same pieces in this process (baseline).

``start`` is what a call with workers costs before its first piece and after its last: Ray, a process
for each worker, the libraries and the model in it. Ratios are given without it and with it.

Workers of one machine share its cores, and each takes as many threads as the process that gave the
work, because sums in another order would be other numbers. So with as many threads as cores, which
is the default, workers of one machine gain only what a single process leaves idle; beyond that they
make it slower, though their threads do not keep a core busy while they wait. The second curve has
one thread everywhere, the process that gives the work included (OMP_NUM_THREADS=1 does that): there
as many workers as free cores can help. And for songs as short as these the start costs more than
the work. What workers are for are large models, on a GPU each, and other machines.

Whatever the number of workers, the results must be the same bit for bit, which is checked.
"""

import tempfile
import time
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch

from lib import activations, model, scale, store
from lib.musicgen.run import Part

PROMPTS = ["a happy melody", "a sad melody", "a calm melody", "a fast melody"] * 8
SEEDS = list(range(len(PROMPTS)))
SECONDS = 2.0
PIECE = 4
SITES = "resid.*"
WORKERS = (0, 1, 2, 4)
#: Seconds for all workers to be there.
PATIENCE = 120.0


def meet(m, folder, workers):
    """Wait until as many workers have come; where one process does all, there is nobody to meet."""
    Path(folder, uuid.uuid4().hex).touch()
    late = time.monotonic() + PATIENCE
    while len(list(Path(folder).iterdir())) < workers and time.monotonic() < late:
        time.sleep(0.01)


def sing(m, piece, settings):
    """Tokens of a piece, as ``scale.generate`` has its workers make them."""
    part = Part(range(piece.start, piece.stop), len(PROMPTS))
    frames = m.frames(SECONDS)
    return m.sing(PROMPTS[piece], SEEDS[piece], settings, frames, part)


def read(m, piece, clips, out):
    """Activations of a piece into a store, as ``scale.capture`` has its workers capture them."""
    activations.capture(m, clips, SITES, out=out, batch_size=PIECE, pieces=[piece], progress=False)


def timed(m, item):
    """What one item gives, and when it began and ended."""
    begin = time.time()
    result = item(m)
    return begin, time.time(), result


def measure(m, clips, workers, folder):
    """Seconds of start, of generating and of capturing; the tokens and the activations."""
    out = folder / "acts"
    settings = m.settings(SECONDS, None, None, None, "", None)
    pieces = [slice(k, k + PIECE) for k in range(0, len(PROMPTS), PIECE)]
    activations.capture(m, clips, SITES, out=out, batch_size=PIECE, pieces=[], progress=False)
    items = []
    for name, work in (
        ("sing", partial(sing, settings=settings)),
        ("read", partial(read, clips=clips.silent(), out=str(out))),
    ):
        place = folder / name
        place.mkdir()
        items += [partial(meet, folder=str(place), workers=workers) for _ in range(workers or 1)]
        items += [partial(work, piece=piece) for piece in pieces]
    start = time.time()
    results = scale.each(timed, m, items, workers=workers, progress=False)
    whole = time.time() - start
    sung, captured = (results[k : k + len(items) // 2] for k in (0, len(items) // 2))
    generating, capturing = span(sung[workers or 1 :]), span(captured[workers or 1 :])
    tokens = np.concatenate([result for _, _, result in sung[workers or 1 :]])
    return whole - generating - capturing, generating, capturing, tokens, store.open(out).load()


def span(results):
    """Seconds from the first beginning to the last end."""
    return max(end for _, end, _ in results) - min(begin for begin, _, _ in results)


def curve(m, clips):
    """Print one line for each number of workers."""
    n = len(PROMPTS)
    for workers in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            start, *seconds, tokens, acts = measure(m, clips, workers, Path(folder))
        if not workers:
            baseline = seconds
            expected = tokens, acts
        same = np.array_equal(tokens, expected[0]) and acts.identical(expected[1])
        parts = [f"{workers} workers, start {start if workers else 0:5.1f} s"]
        for name, own, alone in zip(("generate", "capture"), seconds, baseline, strict=True):
            whole = own + (start if workers else 0)
            parts.append(
                f"{name} {n / own:6.1f} clips/s {alone / own:5.2f} x ({n / whole:5.1f}, "
                f"{alone / whole:.2f} x with the start)"
            )
        print("   ".join(parts), flush=True)
        if not same:
            raise SystemExit(f"The results of {workers} workers differ from those of none.")


m = model.load("organism", "cpu")
cores = psutil.cpu_count()
threads = torch.get_num_threads()
for count in dict.fromkeys((threads, 1)):
    torch.set_num_threads(count)
    clips = m.generate(PROMPTS, SECONDS, SEEDS, progress=False)
    print(
        f"{len(PROMPTS)} clips of {SECONDS:g} s in pieces of {PIECE}, {cores} cores, threads a "
        f"process: {count}; no workers is the baseline"
    )
    curve(m, clips)
