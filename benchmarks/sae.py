"""Training a sparse autoencoder from the store, end to end, against sae-lens's own trainer fed from
memory.

Same activations, same architecture, batches and steps; what differs is where the batches come from.
Beside it, what it costs to find a finished SAE again: a pass over the activations that hashes them.
"""

import tempfile
import time

import numpy as np
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

from lib import activations, harvest, model, sae

CLIPS = 400
WIDTH = 1024
K = 30
BATCH = 1024
PASSES = 4
REPEATS = 2


def baseline(rows):
    """Train with sae-lens on normalised activations in memory, shuffled; how many it read."""
    order = torch.randperm(len(rows))
    per_pass = len(rows) // BATCH
    steps = PASSES * per_pass
    config = SAETrainerConfig(
        total_training_samples=steps * BATCH,
        train_batch_size_samples=BATCH,
        device="cpu",
        lr=5e-3,
        lr_end=5e-4,
        lr_warm_up_steps=steps // 10,
        lr_decay_steps=steps // 3,
        dead_feature_window=50,
        n_checkpoints=0,
    )
    shape = {"d_in": rows.shape[1], "d_sae": WIDTH, "k": K, "device": "cpu"}
    own = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**shape))
    batches = (rows[order[i % per_pass * BATCH :][:BATCH]] for i in range(steps + 1))
    SAETrainer(config, own, batches).fit()
    return steps * BATCH


def ours(acts, folder=None):
    """Train with lib.sae; how many activations it read."""
    recipe = {"passes": PASSES, "batch_size": BATCH, "device": "cpu", "progress": False}
    sae.train(acts, "batchtopk", WIDTH, K, folder=folder, **recipe)
    return PASSES * acts.shape[0] * acts.shape[1]


def timed(function):
    """Activations a second, the best of a few runs."""
    best = 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        rows = function()
        best = max(best, rows / (time.perf_counter() - start))
    return best


m = model.load("organism")
clips, _ = harvest.clips(m, CLIPS)
with tempfile.TemporaryDirectory() as folder:
    store = f"{folder}/acts.zarr"
    x = activations.capture(m, clips, "resid.4", dtype="float16", out=store)["resid.4"]
    memory = x.values.astype(np.float32).reshape(-1, x.shape[-1])
    memory = torch.from_numpy((memory - memory.mean(0)) / memory.std())
    theirs = timed(lambda: baseline(memory))
    stored = timed(lambda: ours(x))
    loaded = timed(lambda: ours(x.load()))
    ours(x, f"{folder}/sae")
    start = time.perf_counter()
    ours(x, f"{folder}/sae")
    again = time.perf_counter() - start
print(f"{len(memory):,} activations of {memory.shape[1]}, {WIDTH} features, BatchTopK")
print(f"sae-lens trainer from memory (baseline)  {theirs:8,.0f} a second  1.00 x")
print(f"lib.sae.train from the store             {stored:8,.0f} a second  {stored / theirs:.2f} x")
print(f"lib.sae.train from memory                {loaded:8,.0f} a second  {loaded / theirs:.2f} x")
print(f"the store costs {100 * (loaded / stored - 1):.1f} %")
print(f"a finished SAE is found again in {again:.2f} s")
