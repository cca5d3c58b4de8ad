"""Training: from activations to a sparse autoencoder.

sae-lens's own networks and trainer do the learning; what is ours is where the batches come from
(:mod:`~.batches`), that a killed run goes on (:mod:`~.keeping`), and a BatchTopK that is quick on a
CPU.
"""

import importlib.metadata
import json
import sys
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from tqdm.auto import tqdm

from ... import cache, check
from ...musicgen import Model
from .. import features as selectivity
from . import batches, keeping, transcoders
from .batches import Rows
from .responses import activity

ARCHITECTURES = ("standard", "topk", "batchtopk", "jumprelu", "matryoshka")
#: What rows of two vectors make (:mod:`~.transcoders`).
TRANSCODER = "transcoder"
#: Steps between checkpoints.
SAVE_EVERY = 500
#: Rows that training needs for every feature.
ROWS_A_FEATURE = 4


@dataclass(frozen=True)
class Recipe:
    """What a training follows from, beside the activations."""

    architecture: str = "batchtopk"
    width: int = 2048
    k: float = 16
    l1: float = 2.0
    lr: float = 5e-3
    passes: float = 3
    batch_size: int = 512
    seed: int = 0

    def checked(self) -> "Recipe":
        """The same with plain numbers.

        Raises
        ------
        ValueError, TypeError
            An architecture that there is not, or a number that makes no sense.
        """
        architecture = check.choice("architecture", self.architecture, (*ARCHITECTURES, TRANSCODER))
        width = check.count("width", self.width, 8 if architecture == "matryoshka" else 2)
        least = 1 if architecture == "topk" else 0
        k = check.number("k", self.k, least, width, open_low=not least, open_high=True)
        return Recipe(
            architecture,
            width,
            float(k),
            l1=float(check.number("l1", self.l1, 0)),
            lr=float(check.number("lr", self.lr, 0, open_low=True)),
            passes=float(check.number("passes", self.passes, 0, open_low=True)),
            batch_size=check.count("batch_size", self.batch_size),
            seed=check.count("seed", self.seed, 0),
        )


def train(
    acts,
    architecture: str = "batchtopk",
    width: int = 2048,
    k: float = 16,
    *,
    l1: float = 2.0,
    lr: float = 5e-3,
    passes: float = 3,
    batch_size: int = 512,
    seed: int = 0,
    folder=None,
    about: dict | None = None,
    device: str | None = None,
    progress: bool = True,
):
    """Train a sparse autoencoder on activations.

    Parameters
    ----------
    acts : xr.DataArray [dims=(clip, frame or token, dim)] or array_like [shape=(n, dim)]
        From ``activations.capture``; one in a store is read piece by piece. Missing tokens (all
        NaN) are left out.
    architecture : str
        "standard" (ReLU and L1), "topk", "batchtopk", "jumprelu" or "matryoshka" (BatchTopK,
        nested).
    width : int
        Number of features.
    k : float
        How many are active on average; all but "standard", whose sparsity follows from ``l1``.
    lr, passes, batch_size : float, float, int
        Adam's rate; how often each row is seen; rows a step. It is steps that count: half the rows
        a step, seen half as often, give the same in half the time.
    seed : int
    folder : str or Path, optional
        Where it is kept, with a checkpoint every 500 steps: an interrupted training goes on from
        there, a finished one is loaded. It belongs to this recipe and these very activations.
    about : dict, optional
        Kept in its metadata: model, site, stream. It says nothing about what is learned.
    device : str, optional
        CUDA if there is one, else CPU.

    Returns
    -------
    sae_lens.SAE
        On the CPU; it may be called with activations of any device and precision.

    Raises
    ------
    ValueError, TypeError
        Unknown architecture, width or k that make no sense, too few, constant or infinite
        activations, a folder that holds something else, a device that there is not, an ``about``
        that JSON cannot hold; before training starts.
    """
    check.choice("architecture", architecture, ARCHITECTURES)
    device = _device(device)
    about = _about(about)
    recipe = Recipe(architecture, width, k, l1, lr, passes, batch_size, seed).checked()
    rows = Rows(acts, recipe.batch_size, recipe.seed)
    folder = None if folder is None else check.path("folder", folder)
    return _train(rows, recipe, folder, about, device, progress)


def _device(device):
    """A device that there is: the one asked for, CUDA, or the CPU."""
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError):  # no device's name, or none that is here
        expected = "a device of this machine, such as 'cpu' or 'cuda'"
        check.refuse(ValueError, "device", expected, device)
    return str(device)


def _about(about):
    """What is kept as JSON, checked before anything is trained."""
    if about is None:
        return {}
    expected = "a dict of texts and numbers, as JSON holds them"
    if not isinstance(about, dict):
        check.refuse(TypeError, "about", expected, about)
    try:
        json.dumps(about)
    except (TypeError, ValueError) as error:
        check.refuse(TypeError, "about", expected, about, f"{error}.")
    return about


def trained(
    m: Model,
    acts: xr.DataArray,
    width: int,
    k: float,
    passes: float,
    seed: int = 0,
    *,
    device: str | None = None,
    progress: bool = True,
    **recipe,
):
    """The BatchTopK SAE of a model's site that the chapters share: trained once, kept under
    ``artifacts/saes``.

    Its folder is named by the activations' content, the recipe and the version of the code, so that
    it is found again wherever the model lies, and never for other activations.
    """
    device = _device(device)
    recipe = Recipe(width=width, k=k, passes=passes, seed=seed, **recipe).checked()
    parts = 2 if recipe.architecture == TRANSCODER else 1
    rows = Rows(acts, recipe.batch_size, recipe.seed, parts)
    site = str(acts.name)
    what = {"content": rows.content, "recipe": asdict(recipe), "code": _code()}
    name = f"{site}-{recipe.width}-{recipe.k:g}-{recipe.seed}-{cache.digest(what)[:16]}"
    about = {"model": m.name, "fingerprint": m.fingerprint, "site": site}
    return _train(rows, recipe, keeping.FOLDER / name, about, device, progress)


def transcoder(
    m: Model, acts: xr.DataArray, width: int = 512, k: float = 32, passes: float = 3, **how
):
    """The transcoder of one MLP, kept as :func:`trained` keeps an SAE.

    Parameters
    ----------
    m : Model
    acts : xr.DataArray [dims=(clip, position, dim)]
        From ``transcoders.recorded``.
    width, k, passes
        As of :func:`train`.
    **how
        seed, lr, batch_size, device, progress.

    Returns
    -------
    sae_lens.JumpReLUTranscoder
    """
    return trained(m, acts, width, k, passes, architecture=TRANSCODER, **how)


def best_first(saes: list, acts: xr.DataArray, labels: pd.DataFrame) -> list:
    """Seeds of one recipe, ordered by how well their best single features tell what is known of
    these clips (mean over the questions of ``features.targets``).

    Give the clips they learned from: others are for judging.
    """
    scores = []
    for s in saes:
        areas = selectivity.selectivity(activity(s, acts)[0], labels)
        scores.append((areas - 0.5).abs().max().mean())
    return [saes[i] for i in np.argsort(scores)[::-1]]


def _code():
    """The version of what trains."""
    ours = cache.code(batches, keeping, transcoders, sys.modules[__name__])
    return f"{ours}, sae-lens {importlib.metadata.version('sae-lens')}"


# ------------------------------------------------------------------------------------- the training
def _train(rows, recipe, folder, about, device, progress):
    """Train on checked rows, or find what was trained before."""
    if rows.n < ROWS_A_FEATURE * recipe.width:
        raise ValueError(
            f"{rows.n} activations are too few for {recipe.width} features: use at least "
            f"{ROWS_A_FEATURE * recipe.width}, or a smaller width."
        )
    plan = {
        **asdict(recipe),
        "rows": rows.n,
        "scale": float(f"{rows.scale:.4g}"),
        "content": rows.content,
    }
    if folder is not None:
        found = keeping.finished(folder, plan)
        if found is not None:
            return found
    steps = max(1, round(recipe.passes * rows.n / rows.batch_size))
    trainer = _trainer(rows, recipe, steps, device)
    first = 0 if folder is None else keeping.resume(folder, trainer, plan)
    description = f"{recipe.architecture} {recipe.width}"
    with tqdm(
        total=steps, initial=first, desc=description, disable=not progress, leave=False
    ) as bar:
        for step, batch in zip(range(first, steps), rows.batches(first), strict=False):
            trainer.maybe_reset_sparsity()
            trainer.step(batch)
            trainer.n_training_steps += 1
            bar.update()
            if folder is not None and (step + 1) % SAVE_EVERY == 0:
                keeping.checkpoint(folder, trainer, plan)
    return keeping.finish(trainer, rows, plan, about, folder)


def _trainer(rows, recipe, steps, device):
    """sae-lens's trainer with an SAE that has learned nothing yet."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(recipe.seed)
    model = _untrained(recipe, rows.dim // rows.parts, steps).to(device)
    config = SAETrainerConfig(
        total_training_samples=steps * rows.batch_size,
        train_batch_size_samples=rows.batch_size,
        device=device,
        lr=recipe.lr,
        lr_end=recipe.lr / 10,
        lr_warm_up_steps=min(200, steps // 10),
        lr_decay_steps=steps // 3,
        dead_feature_window=max(20, min(400, steps // 10)),
        n_checkpoints=0,
    )
    return SAETrainer(config, model, iter(()))


def _untrained(recipe, dim, steps):
    """An SAE of sae-lens, on the CPU: its weights are drawn alike for every device."""
    import sae_lens

    shared = {"d_in": dim, "d_sae": recipe.width, "device": "cpu", "dtype": "float32"}
    if recipe.architecture == "standard":
        config = sae_lens.StandardTrainingSAEConfig(
            **shared, l1_coefficient=recipe.l1, l1_warm_up_steps=steps // 4
        )
        return sae_lens.StandardTrainingSAE(config)
    if recipe.architecture == "topk":
        config = sae_lens.TopKTrainingSAEConfig(**shared, k=round(recipe.k))
        return sae_lens.TopKTrainingSAE(config)
    if recipe.architecture == "jumprelu":
        config = sae_lens.JumpReLUTrainingSAEConfig(
            **shared,
            jumprelu_sparsity_loss_mode="quadratic",
            target_l0=recipe.k,
            l0_coefficient=1.0,
            l0_warm_up_steps=steps // 4,
            jumprelu_bandwidth=0.1,
            jumprelu_init_threshold=0.1,
            jumprelu_ste_to_input=True,
        )
        return sae_lens.JumpReLUTrainingSAE(config)
    if recipe.architecture == TRANSCODER:
        model = transcoders.untrained(shared, recipe.k)
    elif recipe.architecture == "batchtopk":
        config = sae_lens.BatchTopKTrainingSAEConfig(**shared, k=recipe.k)
        model = sae_lens.BatchTopKTrainingSAE(config)
    else:
        widths = [recipe.width // 8, recipe.width // 4, recipe.width // 2, recipe.width]
        config = sae_lens.MatryoshkaBatchTopKTrainingSAEConfig(
            **shared, k=recipe.k, matryoshka_widths=widths
        )
        model = sae_lens.MatryoshkaBatchTopKTrainingSAE(config)
    model.activation_fn = BatchTopK(recipe.k)
    # A running threshold in float64, which MPS does not have; the one that is kept is set at the
    # end.
    model.topk_threshold = model.topk_threshold.float()
    return model


class BatchTopK(torch.nn.Module):
    """The largest k x rows activations of a batch, as ``sae_lens`` selects them.

    Those that a look at the batch before says are far too small are not sorted: five times as fast
    on a CPU.
    """

    def __init__(self, k: float):
        super().__init__()
        self.k = k
        self.floor = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations [row, feature] with all but the largest set to zero."""
        acts = x.relu()
        flat = acts.flatten()
        values = flat.detach()
        wanted = int(self.k * acts.shape[:-1].numel())
        candidates = (values > self.floor).nonzero()[:, 0]
        if len(candidates) < wanted:
            candidates = (values > 0).nonzero()[:, 0]
        if len(candidates) > wanted:
            top = torch.topk(values[candidates], wanted, sorted=False)
            candidates = candidates[top.indices]
            self.floor = 0.8 * top.values.min().item()
        kept = torch.zeros_like(flat).scatter(0, candidates, flat[candidates])
        return kept.reshape(acts.shape)
