"""What is kept of a training: the finished SAE, or a checkpoint from which it goes on.

A folder belongs to one plan: the recipe and a hash of the activations. Another plan is refused,
never mixed in. Files are written whole, with checksums, and ``cfg.json`` last, which says that the
SAE is complete; a checkpoint appears whole or not at all.
"""

import contextlib
import json
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from ... import cache, check
from ...musicgen.converted import BROKEN
from .placing import anywhere

FOLDER = cache.ROOT / "saes"
CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
STATISTICS = "statistics.safetensors"
#: Files of a finished SAE, in the order in which they are written.
FILES = (WEIGHTS, STATISTICS, CONFIG)
CHECKPOINT = "checkpoint"
PLAN = "plan.json"
#: Where a finished SAE is put together; a killed run may leave one behind.
DRAFT = ".draft."
#: Seconds since the last file came into a draft, after which nobody writes it any more.
OLD = 3600.0
#: Rows that the threshold is set on, drawn from some blocks of about so many.
THRESHOLD_ROWS = 8192
THRESHOLD_POOL = 32_768


def load(folder):
    """The SAE in a folder, as ``sae_lens.SAE.load_from_disk`` reads it, on the CPU.

    It may be called with activations of any device and precision.

    Raises
    ------
    FileNotFoundError
        No SAE in this folder.
    ValueError
        A file is damaged, or no longer what was written with a checksum.
    """
    folder = check.path("folder", folder)
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(f"There is no sparse autoencoder in {folder}: it has no {CONFIG}.")
    changed = [name for name in FILES if _is_changed(folder / name)]
    if changed:
        raise ValueError(
            f"The sparse autoencoder in {folder} is damaged: {' and '.join(changed)} is not what "
            "was written. Train it anew in this folder, or copy it again."
        )
    return _opened(folder)


def _is_changed(file):
    """Whether a file is not what its checksum was taken of; what has none cannot be told."""
    if not file.with_name(f"{file.name}.note").exists():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that what is damaged is made again
        return cache.read(file) is None


def _opened(folder):
    """The SAE in a folder whose files are what was written."""
    import sae_lens

    try:
        return anywhere(sae_lens.SAE.load_from_disk(str(folder)))
    except BROKEN as error:
        raise ValueError(
            f"{folder} holds no sparse autoencoder that can be read ({type(error).__name__}: "
            f"{error}): {CONFIG} and {WEIGHTS} are expected, as sae_lens saves them. Copy it again."
        ) from error


def finished(folder: Path, plan: dict):
    """The SAE that a folder holds; None if there is none yet, or if it is damaged.

    Raises
    ------
    ValueError
        The folder is a file, or holds an SAE of another plan.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: folder must be a folder, or a name not yet used.")
    if not (folder / CONFIG).exists():
        return None
    there = _read_json(folder / CONFIG)
    if there is not None:
        metadata = there.get("metadata")
        _refuse_another(folder, metadata.get("training") if _is_told(metadata) else None, plan)
    if any(cache.read(folder / name) is None for name in FILES):
        return None
    return _opened(folder)


def _read_json(file):
    """What a file tells by names; None if it is damaged."""
    try:
        found = json.loads(file.read_text())
    except ValueError:
        return None
    return found if _is_told(found) else None


def _is_told(found):
    return isinstance(found, dict) and bool(found)


def _refuse_another(folder, there, plan):
    there = there if _is_told(there) else {}
    if there == plan:
        return
    changed = [
        f"{name}: {there.get(name)} there, {plan.get(name)} now"
        for name in {**there, **plan}
        if there.get(name) != plan.get(name)
    ]
    raise ValueError(
        f"{folder} holds another training ({'; '.join(changed)}). "
        "Choose another folder or delete it."
    )


# -------------------------------------------------------------------------------------- checkpoints
def checkpoint(folder: Path, trainer, plan: dict) -> None:
    """Keep a training that is under way; the last checkpoint goes only when this one is whole."""
    with cache.replace_folder(folder / CHECKPOINT) as new:
        trainer.sae.save_model(new)
        trainer.save_trainer_state(new)
        note = {"plan": plan, "checksums": _checksums(new)}
        cache.write(new / PLAN, json.dumps(note))


def resume(folder: Path, trainer, plan: dict) -> int:
    """Bring a trainer to where a checkpoint was; returns how many steps are done.

    Raises
    ------
    ValueError
        The checkpoint is of another plan.
    """
    kept = folder / CHECKPOINT
    if not (kept / PLAN).exists():
        return 0
    note = _read_json(kept / PLAN) or {}
    if _is_told(note.get("plan")):
        _refuse_another(folder, note["plan"], plan)
    if note.get("plan") != plan or note.get("checksums") != _checksums(kept):
        warnings.warn(f"{kept} is damaged: the training begins anew.", stacklevel=3)
        return 0
    trainer.sae.load_weights_from_checkpoint(kept)
    trainer.load_trainer_state(kept)
    return trainer.n_training_steps


def _checksums(folder):
    files = sorted(file for file in folder.iterdir() if file.name != PLAN)
    return {file.name: cache.digest(file.read_bytes()) for file in files}


# --------------------------------------------------------------------------------- the finished SAE
@torch.no_grad()
def finish(trainer, rows, plan: dict, about: dict, folder: Path | None):
    """From a training SAE on normalised activations to an SAE on raw ones, saved and read back."""
    import sae_lens

    trainer.sae.fold_W_dec_norm()
    trainer.set_final_sae_metadata()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _remove(_abandoned(folder, f"{DRAFT}*"))
    with tempfile.TemporaryDirectory(dir=folder, prefix=DRAFT) as place:
        place = Path(place)
        trainer.sae.save_inference_model(place)
        sae = sae_lens.SAE.load_from_disk(str(place))
        _to_raw(sae, rows, plan)
        sae.cfg.metadata.training = plan
        sae.cfg.metadata.about = about
        sae.save_model(place)
        statistics = {
            "mean": torch.from_numpy(rows.mean),
            "scale": torch.tensor(rows.scale),
            "rows": torch.tensor(rows.n),
        }
        safetensors.torch.save_file(statistics, place / STATISTICS)
        if folder is not None:
            for name in FILES:
                cache.write(folder / name, (place / name).read_bytes(), about=about)
            _remove([folder / CHECKPOINT, *_abandoned(folder, f".{CHECKPOINT}.*")])
        return _opened(place)


def _abandoned(folder, pattern):
    """Drafts that killed runs have left: another process may be writing a newer one."""
    found = []
    for draft in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # its writer has just moved it
            if time.time() - draft.stat().st_mtime > OLD:
                found.append(draft)
    return found


def _remove(folders):
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _to_raw(sae, rows, plan):
    """Fold the means and scales of what is read and of what is written into the weights: of an SAE
    both are the same, a transcoder's rows hold one behind the other.
    """
    means = torch.from_numpy(rows.mean).reshape(rows.parts, -1)
    scales = torch.from_numpy(rows.scales).reshape(rows.parts, -1)[:, 0]
    read, written = float(scales[0]), float(scales[-1])
    if not sae.cfg.apply_b_dec_to_input:
        sae.b_enc.data -= means[0] @ sae.W_enc / read
    sae.W_enc.data *= written / read
    sae.b_enc.data *= written
    sae.b_dec.data = sae.b_dec * written + means[-1]
    if hasattr(sae, "threshold"):
        sae.threshold.data *= written
        if plan["architecture"] in ("batchtopk", "matryoshka", "transcoder"):
            sae.threshold.data[:] = _threshold(sae, rows, plan["k"])


def _threshold(sae, rows, k):
    """Where to cut so that k features are active on average.

    During training sae-lens follows the cut with a moving average that starts at 0: after a short
    run it would let hundreds through.
    """
    blocks = np.random.default_rng(rows.seed).permutation(len(rows.blocks))
    rows_a_block = max(1, rows.n // len(blocks))
    some = blocks[: 1 + THRESHOLD_POOL // rows_a_block]
    pool = np.concatenate([rows.read(rows.blocks[block]) for block in some])
    drawn = np.random.default_rng(rows.seed).permutation(len(pool))[:THRESHOLD_ROWS]
    sample = torch.from_numpy(pool[drawn, : rows.dim // rows.parts])
    hidden = (sae.process_sae_in(sample) @ sae.W_enc + sae.b_enc).relu().flatten()
    return torch.topk(hidden, max(1, int(k * len(sample))), sorted=False).values.min()
