"""Training a sparse autoencoder from the store, end to end, against sae-lens's own trainer fed from memory.

Same activations, same architecture, batches and steps; what differs is where the batches come from.
"""

import tempfile
import time

import numpy as np
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

from lib import activations, harvest, model, sae

CLIPS, WIDTH, K, BATCH, PASSES, REPEATS = 400, 1024, 30, 1024, 4, 2

m = model.load("organism")
clips, _ = harvest.clips(m, CLIPS)


def baseline(rows):
    """sae-lens's trainer on normalised activations in memory, shuffled."""
    order = torch.randperm(len(rows))
    per_pass = len(rows) // BATCH
    steps = PASSES * per_pass
    config = SAETrainerConfig(
        total_training_samples=steps * BATCH, train_batch_size_samples=BATCH, device="cpu", lr=5e-3, lr_end=5e-4,
        lr_warm_up_steps=steps // 10, lr_decay_steps=steps // 3, dead_feature_window=50, n_checkpoints=0,
    )  # fmt: skip
    own = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=rows.shape[1], d_sae=WIDTH, k=K, device="cpu"))
    SAETrainer(config, own, (rows[order[i % per_pass * BATCH :][:BATCH]] for i in range(steps + 1))).fit()
    return steps * BATCH


def timed(function):
    """Activations a second, the best of a few runs."""
    best = 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        rows = function()
        best = max(best, rows / (time.perf_counter() - start))
    return best


with tempfile.TemporaryDirectory() as folder:
    x = activations.capture(m, clips, "resid.4", dtype="float16", out=f"{folder}/acts.zarr")["resid.4"]
    memory = x.values.astype(np.float32).reshape(-1, x.shape[-1])
    memory = torch.from_numpy((memory - memory.mean(0)) / memory.std())

    def ours(acts):
        sae.train(acts, "batchtopk", WIDTH, K, passes=PASSES, batch_size=BATCH, device="cpu", progress=False)
        return PASSES * len(memory)

    theirs, stored, loaded = timed(lambda: baseline(memory)), timed(lambda: ours(x)), timed(lambda: ours(x.load()))
print(f"{len(memory):,} activations of {memory.shape[1]}, {WIDTH} features, BatchTopK")
print(f"sae-lens trainer from memory (baseline)  {theirs:8,.0f} a second  1.00 x")
print(f"lib.sae.train from the store             {stored:8,.0f} a second  {stored / theirs:.2f} x")
print(f"lib.sae.train from memory                {loaded:8,.0f} a second  {loaded / theirs:.2f} x")
print(f"the store costs {100 * (loaded / stored - 1):.1f} %")
