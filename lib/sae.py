"""Sparse autoencoders: trained by sae-lens on our activations, judged against known answers.

An SAE here is an ordinary ``sae_lens`` SAE on raw activations: the mean and scale with which it was trained (kept beside
it in ``statistics.safetensors``) are folded into its weights, so ``SAE.load_from_disk`` reads its folder and nothing else
is needed. Its decoder directions have length 1, so a feature's activation is in the units of the site.

``sae_lens`` takes seconds to import, and only training and loading need it.
"""

import inspect
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch
import xarray as xr
from tqdm.auto import tqdm

from lib import activations, listeners, prompts, results, stats
from lib import features as selectivity
from lib.model import Clips, Model
from lib.organism import world
from lib.rows import BLOCK, Rows

ARCHITECTURES = ("standard", "topk", "batchtopk", "jumprelu", "matryoshka")
FOLDER = results.ARTIFACTS / "saes"
SAVE_EVERY = 500  # steps
DENSE = 0.1  # a feature that is active more often than this is dense


# ------------------------------------------------------------------------------------------------ training
def train(
    acts,
    architecture: str = "batchtopk",
    width: int = 2048,
    k: float = 16,
    *,
    l1: float = 2.0,
    lr: float = 5e-3,
    passes: float = 4,
    batch_size: int = 1024,
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
        From ``activations.capture``; one in a store is read piece by piece. Missing tokens (all NaN) are left out.
    architecture : str
        "standard" (ReLU and L1), "topk", "batchtopk", "jumprelu" or "matryoshka" (BatchTopK, nested).
    width : int
        Number of features.
    k : float
        How many are active on average; all but "standard", whose sparsity follows from ``l1``.
    lr, passes, batch_size : float, float, int
        Adam's rate; how often each row is seen; rows a step.
    seed : int
    folder : str or Path, optional
        Where it is kept, with a checkpoint every 500 steps: an interrupted training goes on from there, a finished one
        is loaded.
    about : dict, optional
        Kept in its metadata: model, site, stream.
    device : str, optional
        CUDA if there is one, else CPU.

    Returns
    -------
    sae_lens.SAE

    Raises
    ------
    ValueError
        Unknown architecture, width or k that make no sense, too few, constant or infinite activations, a folder that
        holds something else; before training starts.
    """
    _check(architecture, width, k, passes, batch_size)
    rows = Rows(acts, batch_size, seed)
    if rows.n < 4 * width:
        raise ValueError(
            f"{rows.n} activations are too few for {width} features: use at least {4 * width}, or a smaller width."
        )
    plan = {"architecture": architecture, "width": width, "k": k, "l1": l1, "lr": lr, "passes": passes, "seed": seed}
    plan |= {"batch_size": batch_size, "rows": rows.n, "scale": float(f"{rows.scale:.4g}"), **(about or {})}
    if folder is not None and (finished := _finished(Path(folder), plan)) is not None:
        return finished
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    steps = max(1, round(passes * rows.n / rows.batch_size))
    torch.manual_seed(seed)
    model = _untrained(architecture, rows.dim, width, k, l1, steps, device)
    config = SAETrainerConfig(
        total_training_samples=steps * rows.batch_size, train_batch_size_samples=rows.batch_size, device=device, lr=lr,
        lr_end=lr / 10, lr_warm_up_steps=min(200, steps // 10), lr_decay_steps=steps // 3,
        dead_feature_window=max(20, min(400, steps // 10)), n_checkpoints=0,
    )  # fmt: skip
    trainer = SAETrainer(config, model, iter(()))
    first = _resume(folder, trainer, plan)
    with tqdm(total=steps, initial=first, desc=f"{architecture} {width}", disable=not progress, leave=False) as bar:
        for step, batch in zip(range(first, steps), rows.batches(first), strict=False):
            trainer.maybe_reset_sparsity()
            trainer.step(batch)
            trainer.n_training_steps += 1
            bar.update()
            if folder is not None and (step + 1) % SAVE_EVERY == 0:
                _checkpoint(Path(folder), trainer, plan)
    return _finish(trainer, rows, plan, folder)


def trained(m: Model, acts: xr.DataArray, width: int, k: float, passes: float, seed: int = 0, **settings):
    """The BatchTopK SAE of a model's site that the chapters share: trained once, kept under ``artifacts/saes``."""
    site = str(acts.name)
    what = repr((m.fingerprint, acts.shape, acts[0].values.tobytes(), passes, settings, inspect.signature(train)))
    name = f"{site}-{width}-{k:g}-{seed}-{zlib.crc32(what.encode()):08x}"
    folder = FOLDER / m.name.replace("/", "--") / name
    about = {"model": m.name, "fingerprint": m.fingerprint, "site": site}
    return train(acts, width=width, k=k, passes=passes, seed=seed, folder=folder, about=about, **settings)


def best_first(saes: list, acts: xr.DataArray, labels: pd.DataFrame) -> list:
    """Seeds of one recipe, ordered by how well their best single features tell what is known of these clips (mean over
    the questions of ``features.targets``). Give the clips they learned from: others are for judging."""
    scores = [(selectivity.selectivity(activity(s, acts)[0], labels) - 0.5).abs().max().mean() for s in saes]
    return [saes[i] for i in np.argsort(scores)[::-1]]


def load(folder):
    """The SAE in a folder, as ``sae_lens.SAE.load_from_disk`` reads it."""
    import sae_lens

    if not (Path(folder) / "cfg.json").exists():
        raise FileNotFoundError(f"There is no sparse autoencoder in {folder}: it has no cfg.json.")
    return sae_lens.SAE.load_from_disk(str(folder))


def _check(architecture, width, k, passes, batch_size):
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}. Got {architecture!r}.")
    for name, value in (("width", width), ("k", k), ("passes", passes), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a number above 0. Got {value!r}.")
    if k >= width:
        raise ValueError(f"k must be smaller than width. Got k={k}, width={width}.")


def _untrained(architecture, dim, width, k, l1, steps, device):
    import sae_lens

    shared = {"d_in": dim, "d_sae": width, "device": device, "dtype": "float32"}
    warm = {"standard": "l1_warm_up_steps", "jumprelu": "l0_warm_up_steps"}
    own = {
        "standard": {"l1_coefficient": l1},
        "topk": {"k": round(k)},
        "batchtopk": {"k": k},
        "jumprelu": {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": k, "l0_coefficient": 1.0,
                     "jumprelu_bandwidth": 0.1, "jumprelu_init_threshold": 0.1, "jumprelu_ste_to_input": True},
        "matryoshka": {"k": k, "matryoshka_widths": [width // 8, width // 4, width // 2, width]},
    }[architecture]  # fmt: skip
    if architecture in warm:
        own[warm[architecture]] = steps // 4
    kind = {"standard": "Standard", "topk": "TopK", "batchtopk": "BatchTopK", "jumprelu": "JumpReLU"}
    name = kind.get(architecture, "MatryoshkaBatchTopK")
    model = getattr(sae_lens, f"{name}TrainingSAE")(getattr(sae_lens, f"{name}TrainingSAEConfig")(**shared, **own))
    if architecture in ("batchtopk", "matryoshka"):
        model.activation_fn = _BatchTopK(k)
    return model.to(device)


class _BatchTopK(torch.nn.Module):
    """The largest k x rows activations of a batch, as ``sae_lens`` selects them, without sorting those that a look at the
    batch before says are far too small: five times as fast on a CPU."""

    def __init__(self, k: float):
        super().__init__()
        self.k, self.floor = k, 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        acts = x.relu()
        flat, wanted = acts.flatten(), int(self.k * acts.shape[:-1].numel())
        candidates = (flat.detach() > self.floor).nonzero()[:, 0]
        if len(candidates) < wanted:
            candidates = (flat.detach() > 0).nonzero()[:, 0]
        if len(candidates) > wanted:
            top = torch.topk(flat.detach()[candidates], wanted, sorted=False)
            candidates, self.floor = candidates[top.indices], 0.8 * top.values.min().item()
        return torch.zeros_like(flat).scatter(0, candidates, flat[candidates]).reshape(acts.shape)


# ------------------------------------------------------------------------------------- keeping and resuming
def _finished(folder, plan):
    """The SAE that a folder holds, if it is the one that is asked for."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: folder must be a folder, or a name not yet used.")
    if (folder / "cfg.json").exists():
        there = json.loads((folder / "cfg.json").read_text())["metadata"].get("training")
        if there == plan:
            return load(folder)
        _refuse(folder, there, plan)
    return None


def _refuse(folder, there, plan):
    there = there or {}
    changed = [
        f"{k}: {there.get(k)} there, {plan.get(k)} now" for k in {**there, **plan} if there.get(k) != plan.get(k)
    ]
    raise ValueError(f"{folder} holds another training ({'; '.join(changed)}). Choose another folder or delete it.")


def _checkpoint(folder, trainer, plan):
    """Written beside the last one, which goes only when this one is whole."""
    new, kept = folder / "checkpoint.new", folder / "checkpoint"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    trainer.sae.save_model(new)
    trainer.save_trainer_state(new)
    (new / "plan.json").write_text(json.dumps(plan))
    shutil.rmtree(kept, ignore_errors=True)
    os.replace(new, kept)


def _resume(folder, trainer, plan):
    kept = folder and next(
        (Path(folder) / n for n in ("checkpoint", "checkpoint.new") if (Path(folder) / n / "plan.json").exists()), None
    )
    if not kept:
        return 0
    there = json.loads((kept / "plan.json").read_text())
    if there != plan:
        _refuse(folder, there, plan)
    trainer.sae.load_weights_from_checkpoint(kept)
    trainer.load_trainer_state(kept)
    return trainer.n_training_steps


@torch.no_grad()
def _finish(trainer, rows, plan, folder):
    """From a training SAE on normalised activations to an SAE on raw ones, saved and read back."""
    trainer.sae.fold_W_dec_norm()
    trainer.set_final_sae_metadata()
    folder, parent = Path(folder) if folder else None, Path(folder).parent if folder else None
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as place:
        out = Path(place) / "sae"
        trainer.sae.save_inference_model(out)
        sae = load(out)
        sae.cfg.metadata.training = plan
        mean = torch.from_numpy(rows.mean)
        if not sae.cfg.apply_b_dec_to_input:
            sae.b_enc.data -= mean @ sae.W_enc / rows.scale
        sae.b_enc.data *= rows.scale
        sae.b_dec.data = sae.b_dec * rows.scale + mean
        if hasattr(sae, "threshold"):
            sae.threshold.data *= rows.scale
            if plan["architecture"] in ("batchtopk", "matryoshka"):
                sae.threshold.data[:] = _threshold(sae, rows, plan["k"])
        sae.save_model(out)
        kept = {"mean": mean, "scale": torch.tensor(rows.scale), "rows": torch.tensor(rows.n)}
        safetensors.torch.save_file(kept, out / "statistics.safetensors")
        if folder:
            folder.mkdir(exist_ok=True)
            shutil.copytree(out, folder, dirs_exist_ok=True)
            for old in ("checkpoint", "checkpoint.new"):
                shutil.rmtree(folder / old, ignore_errors=True)
        return load(out)


def _threshold(sae, rows, k):
    """Where to cut so that k features are active on average. During training sae-lens follows the cut with a moving
    average that starts at 0: after a short run it would let hundreds through."""
    blocks = np.random.default_rng(rows.seed).permutation(len(rows.blocks))
    picked = np.concatenate([rows.read(rows.blocks[b]) for b in blocks[: 1 + 32_768 // max(1, rows.n // len(blocks))]])
    rng = np.random.default_rng(rows.seed)
    sample = torch.from_numpy(picked[rng.permutation(len(picked))[:8192]])
    hidden = (sae.process_sae_in(sample) @ sae.W_enc + sae.b_enc).relu().flatten()
    return torch.topk(hidden, max(1, int(k * len(sample))), sorted=False).values.min()


# ---------------------------------------------------------------------------------------------- evaluation
class Basis:
    """Directions to compare an SAE with: the k largest coordinates in a fixed orthonormal basis.

    Parameters
    ----------
    acts : as for :func:`train`
    kind : "neurons", "pca" or "random"
    k : int
        How many coordinates a vector may keep: what an SAE is given, too.
    """

    def __init__(self, acts, kind: str, k: int, seed: int = 0):
        if kind not in ("neurons", "pca", "random"):
            raise ValueError(f"kind must be 'neurons', 'pca' or 'random'. Got {kind!r}.")
        rows = Rows(acts, 1024, seed)
        self.kind, self.k, self.mean = kind, k, torch.from_numpy(rows.mean)
        if kind == "neurons":
            basis = np.eye(rows.dim)
        elif kind == "random":
            basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(rows.dim, rows.dim)))[0]
        else:
            blocks = (rows.read(b).astype(np.float64) - rows.mean for b in rows.blocks)
            basis = np.linalg.eigh(sum(x.T @ x for x in blocks))[1].T[::-1]
        self.W_dec = torch.from_numpy(basis.astype(np.float32).copy())

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """All coordinates; of them, ``__call__`` keeps the k largest."""
        return (x - self.mean.to(x)) @ self.W_dec.to(x).T

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """From coordinates to vectors."""
        return z @ self.W_dec.to(z) + self.mean.to(z)

    def keep(self, z: torch.Tensor) -> torch.Tensor:
        """Zero all but the k coordinates with the largest size."""
        top = z.abs().topk(self.k, dim=-1).indices
        return torch.zeros_like(z).scatter(-1, top, z.gather(-1, top))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(self.keep(self.encode(x)))


@torch.no_grad()
def evaluate(s, model: Model, site: str, clips: Clips, stream: str = "cond") -> dict:
    """How well an SAE stands for a site: the table's row.

    Returns
    -------
    dict
        features, l0 (mean number of active features), explained_variance (1 - squared error over variance), cosine
        (of vector and reconstruction, both without the mean), dead and dense (shares of features active never, and in
        more than 10 % of the rows), loss and loss_spliced (nats a token, without and with the reconstruction in place of
        the site), loss_recovered (``stats.Estimate``: 1 as good as the site itself, 0 as bad as its mean) and
        loss_recovered_zero (the same against a zeroed site).

    Raises
    ------
    ValueError
        A site of another width.
    """
    width = activations.select(model, site)[0].width
    if s.W_dec.shape[1] != width:
        raise ValueError(f"{site} of {model.name} is {width} wide, but the SAE reads vectors of {s.W_dec.shape[1]}.")
    x, mean, plain, averaged, zeroed = _reference(model, site, clips, stream)
    counts, error, total, cosines, n = 0, 0.0, 0.0, [], 0
    for part in _parts(x):
        z = s.encode(part)
        z = s.keep(z) if isinstance(s, Basis) else z
        back = s.decode(z)
        centre = torch.from_numpy(mean)
        counts, n = counts + (z != 0).sum(0), n + len(part)
        error, total = error + float(((part - back) ** 2).sum()), total + float(((part - centre) ** 2).sum())
        cosines.append(torch.cosine_similarity(part - centre, back - centre, dim=1))
    rate = counts.numpy() / n

    with activations.edit(model, activations.Edit(site, apply=s, stream=stream)):
        levels = [plain, model.cross_entropy(clips, stream), averaged, zeroed]

    def recovered(against):
        def statistic(rows):
            gap = rows[:, against].mean() - rows[:, 0].mean()
            return (rows[:, against].mean() - rows[:, 1].mean()) / gap

        return stats.bootstrap(statistic, np.stack(levels, 1), n_resamples=500)

    return {
        "features": len(rate),
        "l0": float(rate.sum()),
        "explained_variance": 1 - error / total,
        "cosine": float(torch.cat(cosines).mean()),
        "dead": float((rate == 0).mean()),
        "dense": float((rate > DENSE).mean()),
        "loss": float(levels[0].mean()),
        "loss_spliced": float(levels[1].mean()),
        "loss_recovered": recovered(2),
        "loss_recovered_zero": recovered(3),
    }


_LAST = {}  # what the SAEs of one table are compared with: the same clips again and again


def _reference(model, site, clips, stream):
    """Activations, their mean, and the clips' losses as they are, with the mean and with zero in the site's place."""
    key = (model.fingerprint, model.edits, site, stream, tuple(clips.prompts), zlib.crc32(clips.tokens.tobytes()))
    if key not in _LAST:
        x = activations.capture(model, clips, site, stream=stream, progress=False)[site]
        mean = np.nanmean(x.values.reshape(-1, x.shape[-1]), 0)
        losses = [model.cross_entropy(clips, stream)]
        for change in ({"replace": mean}, {"multiply": 0.0}):
            with activations.edit(model, activations.Edit(site, stream=stream, **change)):
                losses.append(model.cross_entropy(clips, stream))
        _LAST.clear()
        _LAST[key] = (x, mean, *losses)
    return _LAST[key]


@torch.no_grad()
def activity(s, acts: xr.DataArray) -> tuple[np.ndarray, pd.DataFrame]:
    """Mean activation of every feature in every clip, and how each feature is active. Reads piece by piece.

    Returns
    -------
    activity : np.ndarray [shape=(clip, feature)], float32
    table : pd.DataFrame
        One row a feature: density (share of rows where it is active), mean (where active), peak.
    """
    means, count, total, peak, n = [], 0, 0.0, None, 0
    for block in range(0, len(acts), BLOCK):
        x = torch.from_numpy(np.asarray(acts[block : block + BLOCK], np.float32))
        there = ~x.isnan().all(-1)
        z = s.encode(x.nan_to_num()) * there[..., None]
        means.append((z.sum(1) / there.sum(1)[:, None]).numpy())
        on = z != 0
        count, total, n = count + on.sum((0, 1)), total + z.sum((0, 1)), n + int(there.sum())
        high = z.amax((0, 1))
        peak = high if peak is None else torch.maximum(peak, high)
    table = pd.DataFrame(
        {"density": (count / n).numpy(), "mean": (total / count.clip(min=1)).numpy(), "peak": peak.numpy()}
    )
    return np.concatenate(means), table.rename_axis("feature")


def features(s, acts: xr.DataArray, labels: pd.DataFrame | None = None) -> pd.DataFrame:
    """Statistics of every feature of an SAE: density, mean, peak and, with labels of the clips, its AUROC for each question
    they pose (``features.targets``), the one it tells best, and how many columns of ``labels`` it answers to."""
    means, table = activity(s, acts)
    if labels is None:
        return table
    if len(labels) != len(acts):
        raise ValueError(f"labels must hold one row for each of {len(acts)} clips. Got {len(labels)}.")
    area = selectivity.selectivity(means, labels)
    table["best"] = area.columns[(area - 0.5).abs().to_numpy().argmax(1)]
    answers = {}
    for column in labels:
        mine = list(selectivity.targets(labels[[column]]))
        answers[column] = ((area[mine] - 0.5).abs() >= selectivity.ANSWERS - 0.5).any(axis=1)
    table["answers"] = pd.DataFrame(answers).sum(axis=1)
    return pd.concat([table, area], axis=1).rename_axis("feature")


@torch.no_grad()
def effects(
    s,
    m: Model,
    site: str,
    clips: Clips,
    activity: np.ndarray,
    which,
    n: int = 6,
    seconds: float = 3.0,
    seed: int = 0,
    training: int = listeners.TRAINING_CLIPS,
) -> dict[int, dict]:
    """What features do: the music when one is turned up, the predictions when one is switched off.

    Turned up means that its direction is added at every frame, as strongly as the clip does that excites it most, while
    ``n`` clips are generated from neutral prompts; the same clips (same seeds) without it are what they are compared with.

    Parameters
    ----------
    clips : Clips
    activity : np.ndarray [shape=(clip, feature)]
        Mean activations in these clips, from :func:`activity`.
    which : list of int
        Features.
    training : int
        Clips of the corpus whose mean and spread are the units of the cues.

    Returns
    -------
    dict
        feature -> up, off (nats a token between predictions with and without: in the neutral clips, and in the four
        clips that excite it most) and cues, {cue: ``stats.Estimate``} in standard deviations of the corpus.
    """
    language = "organism" if m.name in world.WORLDS else "natural"
    asked = list(prompts.crossed("neutral", n, language, seed)["prompt"])
    plain = m.generate(asked, seconds, seed, progress=False)
    ear = listeners.get("cues", training)
    before = ear.profile(listeners.features(plain.audio, plain.sample_rate))
    add = s.W_dec.detach().cpu().numpy()[which] * activity.max(0)[which, None]
    with activations.edit(m, activations.Edit(site, add=np.repeat(add, n, 0))):
        sung = m.generate(asked * len(which), seconds, [*range(seed, seed + n)] * len(which))
    after = ear.profile(listeners.features(sung.audio, sung.sample_rate))
    found = {}
    for k, feature in enumerate(which):
        change = after.iloc[k * n : (k + 1) * n].reset_index(drop=True) - before
        top = clips[list(np.argsort(-activity[:, feature])[:4])]
        off = activations.Edit(site, apply=lambda x, f=feature: x - s.encode(x)[..., f, None] * s.W_dec[f])
        found[int(feature)] = {
            "cues": {cue: stats.mean(column) for cue, column in change.items()},
            "up": _divergence(m, plain, activations.Edit(site, add=add[k])),
            "off": _divergence(m, top, off),
        }
    return found


def _divergence(m, clips, edit):
    """Mean Kullback-Leibler divergence (nats a token) of the predictions without an edit from those with it."""
    parts = []
    plain = list(m.predictions(clips))
    with activations.edit(m, edit):
        for (_, p), (_, q) in zip(plain, m.predictions(clips), strict=True):
            parts.append((p.exp() * (p - q)).sum(-1).flatten())
    return float(torch.cat(parts).mean())


def _parts(x):
    for block in range(0, len(x), BLOCK):
        rows = np.asarray(x[block : block + BLOCK], np.float32).reshape(-1, x.shape[-1])
        yield torch.from_numpy(rows[~np.isnan(rows).all(1)])
