"""Generation: tokens a second of ``model.generate`` against audiocraft's own MusicGen and against
``transformers``, on the same weights, prompts and settings.

``python benchmarks/generate.py organism small``: shapes, of :data:`SHAPES`; by default the
organism's on a CPU, and the organism's, small and large on a GPU. Weights are random, which takes as
long. Text encoder and codec are miniatures: what is measured is the language model. The three take
turns, and the best of a few turns counts, so that a machine that slows down slows all of them.

``model.generate`` gives each clip its own random numbers, and lets it read its own text alone; the
ratios hold what that costs. Both are first asked for the likeliest tokens, which must be equal (for
prompts of equal length: audiocraft lets the shorter ones read their neighbours' padding).
"""

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import released

from lib import model
from lib.musicgen.compat import audiocraft


class Shape(NamedTuple):
    """What is generated at once, by a model of some shape."""

    blocks: int
    dim: int
    heads: int
    seconds: float
    clips: tuple[int, ...]


GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
SHAPES = {
    "organism": Shape(6, 160, 4, 3.0, (1, 8, 60)),
    "small": Shape(24, 1024, 16, 10.0 if GPU else 1.0, (1, 16) if GPU else (1, 4)),
    "medium": Shape(48, 1536, 24, 10.0 if GPU else 1.0, (1, 16) if GPU else (1, 4)),
    "large": Shape(48, 2048, 32, 10.0 if GPU else 0.5, (1, 16) if GPU else (1,)),
}
PROMPTS = ["a happy melody", "sad music", "a calm piano tune", "fast music", "a tense piece"] * 12
ALIKE = ["sad music", "fast music"]
TURNS = 4


def timed(function):
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def contest(functions):
    """The shortest time of each function, in seconds; they take turns."""
    times = [[timed(function) for function in functions] for _ in range(TURNS)]
    return np.min(times, 0)


def measure(name, shape, folder):
    size = {"dim": shape.dim, "blocks": shape.blocks, "heads": shape.heads}
    released.write_transformers(folder, **size)
    m = model.load(str(folder), DEVICE)
    theirs = audiocraft.models.MusicGen(name, m.codec, m.lm, max_duration=30)
    other = transformers.MusicgenForConditionalGeneration.from_pretrained(
        folder, dtype=m.lm.emb[0].weight.dtype
    ).to(DEVICE)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    theirs.set_generation_params(duration=shape.seconds, use_sampling=False, cfg_coef=3.0)
    wanted = theirs.generate(ALIKE, return_tokens=True)[1].cpu().numpy()
    likeliest = m.generate(ALIKE, shape.seconds, temperature=0, cfg=3.0, progress=False)
    equal = np.mean(wanted == likeliest.tokens)
    print(f"{name} on {DEVICE}, clips of {shape.seconds:g} s: likeliest tokens equal {equal:.1%}")

    theirs.set_generation_params(duration=shape.seconds, top_k=250, cfg_coef=3.0)
    frames = m.frames(shape.seconds)
    settings = {"guidance_scale": 3.0, "do_sample": True, "top_k": 250}
    settings["cache_implementation"] = "static"

    def by_transformers(prompts):
        inputs = tokenizer(prompts, padding=True, return_tensors="pt").to(DEVICE)
        steps = frames + m.lm.n_q
        with torch.no_grad():
            other.generate(**inputs, **settings, max_new_tokens=steps - 1)

    for n in shape.clips:
        prompts = PROMPTS[:n]
        seconds = contest(
            [
                lambda prompts=prompts: theirs.generate(prompts),
                lambda prompts=prompts: by_transformers(prompts),
                lambda prompts=prompts: m.generate(prompts, shape.seconds, progress=False),
            ]
        )
        rates = n * m.lm.n_q * frames / seconds
        print(
            f"{n:3} at once, tokens a second: audiocraft {rates[0]:8,.0f}   transformers "
            f"{rates[1]:8,.0f}   model.generate {rates[2]:8,.0f}: {rates[2] / rates[0]:.2f} x "
            f"audiocraft, {rates[2] / rates[1]:.2f} x transformers"
        )


warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
for name in sys.argv[1:] or (["organism", "small", "large"] if GPU else ["organism"]):
    with tempfile.TemporaryDirectory() as folder:
        measure(name, SHAPES[name], Path(folder))
