"""Training of the language models: tokens given captions."""

import shutil
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from .. import cache
from ..musicgen import miniature
from ..musicgen.compat import audiocraft
from ..organism import captions, world
from . import muon, plan, training

ConditioningAttributes = audiocraft.modules.conditioners.ConditioningAttributes

#: Steps between training states.
SAVE_EVERY = 200
#: At this size plain matrix products beat the fused attention kernel on a CPU by a third.
ATTENTION = {
    "cpu": [SDPBackend.MATH],
    "cuda": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
}
#: Matrices that Muon leaves to AdamW, by parts of their names: embeddings and heads.
NOT_FOR_MUON = ("emb.", "linears.", "t5.shared.", "embed_tokens.", "relative_attention_bias.")


def token_loss(lm: miniature.LMModel, tokens: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
    """Cross-entropy of every token given those before it and the text, mean over codebooks.

    Written on the delayed sequence itself, as the model is used when it generates, so the codes of
    the last frames that the delay pushes past the end are learned too.

    Parameters
    ----------
    lm : LMModel
    tokens : torch.Tensor [shape=(clip, n_q, frame)]
    texts : sequence of str
        One a clip; "" for none.
    """
    attributes = [ConditioningAttributes(text={"description": text or None}) for text in texts]
    pattern = lm.pattern_provider.get_pattern(tokens.shape[-1])
    sequence, _, _ = pattern.build_pattern_sequence(tokens, lm.special_token_id)
    logits = lm(sequence[..., :-1], attributes)  # [clip, n_q, step, card]
    target = sequence[..., 1:].flatten()
    return F.cross_entropy(logits.flatten(0, 2).float(), target, ignore_index=lm.special_token_id)


def draw_clips(
    rows: Sequence[dict],
    described: np.ndarray,
    n: int,
    dropped: float,
    rng: np.random.Generator,
    hide_clarity: bool,
) -> tuple[np.ndarray, list[str]]:
    """Random clips and their captions, drawn afresh.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the corpus's table.
    described : np.ndarray [shape=(clip,)]
        Which row a clip's caption describes: its own, or another.
    n : int
    dropped : float
        Share of captions left out.
    rng : np.random.Generator
    hide_clarity : bool
        See ``plan.CLARITY_HIDDEN_FROM``.

    Returns
    -------
    clips : np.ndarray [shape=(n,)]
    texts : list of str
        "" where the caption is left out.
    """
    chosen = []
    texts = []
    while len(chosen) < n:
        i = int(rng.integers(len(rows)))
        row = rows[described[i]]
        text = captions.caption(row, rng) if rng.random() >= dropped else ""
        unnamed = text and not names_emotion(text)
        # unclear clips go unnamed always, clear ones sometimes: leave out as many of the former
        if hide_clarity and unnamed and not row["clear"] and rng.random() > 1 - captions.NAMED:
            continue
        chosen.append(i)
        texts.append(text)
    return np.array(chosen), texts


def names_emotion(text: str) -> bool:
    """Whether a caption holds an emotion word."""
    return any(captions.family(word) == "emotion" for word in text.replace(",", " ").split())


def train(
    name: str,
    tokens: np.ndarray,
    table: pd.DataFrame,
    device: str,
    settings: dict = plan.LANGUAGE,
    rounds: Sequence[plan.Round] | None = None,
) -> miniature.LMModel:
    """Train one world's language model together with its text encoder.

    Parameters
    ----------
    name : str
        A key of ``world.WORLDS``.
    tokens : np.ndarray [shape=(clip, n_q, frame)]
    table : pd.DataFrame
        From ``corpora.tokenize``.
    device : str
    settings : dict
        With the keys of ``plan.LANGUAGE``.
    rounds : sequence of Round, optional
        ``plan.ROUNDS[name]`` by default.
    """
    rounds = rounds or plan.ROUNDS[name]
    total = sum(r.steps for r in rounds)
    folder = training.place(name)
    lm = _start(name, table, device)
    weights = [p for p in lm.parameters() if p.requires_grad]
    optimizers = _optimizers(lm, settings)
    follows = cache.digest(settings, rounds, tokens, table, lm.state_dict())
    first = training.resume(folder / "state.pt", follows, lm, *optimizers.values())
    # audiocraft drops the text of a whole batch at a time; clip by clip is the same in the mean and
    # less noisy
    lm.cfg_dropout.p = 0.0
    rows = table.to_dict("records")
    described = _described(name, len(rows))

    progress = tqdm(range(first, total), initial=first, total=total, desc=name)
    for step in progress:
        rng = np.random.default_rng([5, step])
        factor, dropped = training.schedule(step, rounds)
        for kind, optimizer in optimizers.items():
            training.set_rate(optimizer, settings[kind] * factor)
        whole_clips = step % 3 == 0
        n_clips = settings["clips"] if whole_clips else settings["openings"]
        n_frames = None if whole_clips else settings["opening_frames"]
        hide_clarity = step >= plan.CLARITY_HIDDEN_FROM.get(name, total)
        clips, texts = draw_clips(rows, described, n_clips, dropped, rng, hide_clarity)
        batch = torch.from_numpy(tokens[clips][..., :n_frames].astype(np.int64)).to(device)
        lm.train()
        with training.fast_autocast(device), sdpa_kernel(ATTENTION[device]):
            loss = token_loss(lm, batch, texts)
        training.descend(loss, weights, *optimizers.values())
        if step % 24 == 0:  # a step on whole clips
            progress.set_postfix(loss=f"{loss.item():.3f}")
            values = {"loss": loss.item(), "time": time.time()}
            training.log(folder / "log.jsonl", step=step + 1, **values)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
            training.checkpoint(folder / "state.pt", step + 1, follows, lm, *optimizers.values())
    return lm.eval()


def _start(name, table, device):
    """The model before its first step: untrained, or another's weights and words."""
    text = training.place(name) / "text"
    origin = plan.START.get(name)
    if origin is None:
        miniature.make_text_encoder(list(table["caption"]), text)
    else:
        trained = training.place(origin) / "state.pt"
        if not trained.exists():
            raise FileNotFoundError(f"{name} starts from {origin}: train that first ({trained}).")
        shutil.copytree(training.place(origin) / "text", text, dirs_exist_ok=True)
    torch.manual_seed(zlib.crc32(name.encode()))
    lm = miniature.build_lm(text, device)
    if origin is not None:
        training.resume(trained, None, lm)
    return lm


def _optimizers(lm, settings):
    matrices = [
        weight
        for name, weight in lm.named_parameters()
        if weight.ndim == 2 and not any(part in name for part in NOT_FOR_MUON)
    ]
    of_muon = set(map(id, matrices))
    others = [p for p in lm.parameters() if p.requires_grad and id(p) not in of_muon]
    return {
        "muon": muon.Muon(matrices, lr=settings["muon"]),
        "adamw": torch.optim.AdamW(
            others, lr=settings["adamw"], betas=(0.9, 0.95), weight_decay=0.01
        ),
    }


def _described(name, n):
    """Which clip's caption each clip gets."""
    own = np.arange(n)
    if world.WORLDS[name]["captions"] == "shuffled":
        return np.random.default_rng(7).permutation(n)
    return own


def export(name: str, lm: miniature.LMModel, folder: Path) -> None:
    """Write an organism as it is shipped."""
    miniature.save(lm, folder, miniature.LM_CONFIG)
    shutil.copytree(training.place(name) / "text", folder / "text", dirs_exist_ok=True)
