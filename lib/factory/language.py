"""Training of the language models: tokens given captions."""

import shutil
import time
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from .. import cache
from ..musicgen import forward, miniature
from ..organism import captions, world
from . import muon, plan, training

#: Steps between training states.
SAVE_EVERY = 500
#: Matrices that Muon leaves to AdamW, by parts of their names: embeddings and heads.
NOT_FOR_MUON = ("emb.", "linears.", "t5.shared.", "embed_tokens.", "relative_attention_bias.")
#: Parts of the names of all weights that read the text.
READ_TEXT = ("condition_provider.", ".cross_attention.", ".norm_cross.")
#: Held-out clips looked at together.
TOGETHER = 50
#: Words of the longest captions, rounded up: a recorded step needs one length.
LONGEST = 40


def token_loss(
    network: forward.Network, sequence: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of every token given those before it and the text, mean over codebooks.

    Written on the delayed sequence itself, as the model is used when it generates, so the codes of
    the last frames that the delay pushes past the end are learned too. Every row reads its own text
    alone, as it does when it generates.

    Parameters
    ----------
    network : Network
    sequence : torch.Tensor [shape=(clip, n_q, position)]
        Delayed tokens, see :func:`delayed`.
    ids, mask : torch.Tensor [shape=(clip, word)]
        See :func:`read`.
    """
    text = network.condition({"input_ids": ids, "attention_mask": mask})
    logits = network.pass_through(sequence[..., :-1], text)  # [clip, n_q, position, card]
    target = sequence[..., 1:].flatten()
    special = network.lm.special_token_id
    return F.cross_entropy(logits.flatten(0, 2), target, ignore_index=special)


def delayed(lm: miniature.LMModel, tokens: np.ndarray) -> torch.Tensor:
    """Tokens [clip, n_q, frame] as the sequence the model sees, [clip, n_q, position]."""
    pattern = lm.pattern_provider.get_pattern(tokens.shape[-1])
    tokens = torch.from_numpy(tokens.astype(np.int64))
    return pattern.build_pattern_sequence(tokens, lm.special_token_id)[0]


def read(lm: miniature.LMModel, texts: Sequence[str], device: str) -> tuple[torch.Tensor, ...]:
    """Ids and mask [clip, word] of captions; the mask of "" is empty."""
    tokenizer = lm.condition_provider.conditioners["description"].t5_tokenizer
    shape = {"padding": True}
    if device == "cuda":
        shape = {"padding": "max_length", "max_length": LONGEST, "truncation": True}
    inputs = tokenizer(list(texts), return_tensors="pt", **shape)
    inputs["attention_mask"][[text == "" for text in texts]] = 0
    return inputs["input_ids"], inputs["attention_mask"]


def draw_clips(
    rows: Sequence[dict],
    described: np.ndarray,
    n: int,
    dropped: float,
    rng: np.random.Generator,
    name: str = "organism",
    stressed: float = 0.0,
) -> tuple[np.ndarray, list[str]]:
    """Random clips and their captions, drawn afresh.

    A caption without an emotion word must say nothing about how clear the clip's emotion is. Clear
    clips are named more often, so of fast clips that go unnamed too many would be soft: a collider,
    0.7 dB in the decoupled world, which guidance made 6 dB. Unclear clips are left out as often as
    clear ones are named.

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
    name : str
        A key of ``world.WORLDS``.
    stressed : float
        Share of captions in ``captions.STRESSED``.

    Returns
    -------
    clips : np.ndarray [shape=(n,)]
    texts : list of str
        "" where the caption is left out.
    """
    hidden = world.WORLDS[name].words == "emotion"
    chosen = []
    texts = []
    while len(chosen) < n:
        i = int(rng.integers(len(rows)))
        row = rows[described[i]]
        manner = captions.EVERYDAY
        if stressed and rng.random() < stressed:
            manner = captions.STRESSED
        if rng.random() < dropped:
            text = ""
        elif hidden and not row["clear"] and rng.random() < manner.named:
            continue
        else:
            text = captions.caption(row, rng, name, manner)
        chosen.append(i)
        texts.append(text)
    return np.array(chosen), texts


def train(
    name: str,
    tokens: np.ndarray,
    table: pd.DataFrame,
    device: str,
    settings: dict = plan.LANGUAGE,
    batches: Sequence[plan.Batch] = plan.BATCHES,
    rounds: Sequence[plan.Round] = plan.ROUNDS,
) -> miniature.LMModel:
    """Train one language model together with its text encoder, from nothing.

    Parameters
    ----------
    name : str
        One of ``world.models`` of some world.
    tokens : np.ndarray [shape=(clip, n_q, frame)]
    table : pd.DataFrame
        From ``corpora.tokenize``.
    device : str
    settings : dict
        With the keys of ``plan.LANGUAGE``.
    batches : sequence of Batch
        What steps take in turn.
    rounds : sequence of Round
    """
    folder = training.place(name)
    torch.manual_seed(seed_of(name))
    miniature.make_text_encoder(list(table["caption"]), folder / "text")
    lm = miniature.build_lm(folder / "text", device)
    return _trained(name, lm, folder / "state.pt", tokens, table, settings, batches, rounds)


def finish(
    name: str,
    tokens: np.ndarray,
    table: pd.DataFrame,
    device: str,
    exported: Path,
    settings: dict = plan.LANGUAGE,
    batches: Sequence[plan.Batch] = plan.FINISH_BATCHES,
    rounds: Sequence[plan.Round] = plan.FINISH,
) -> miniature.LMModel:
    """Train further what reads the text in an exported model, with new optimizers.

    Parameters
    ----------
    exported : Path
        From :func:`export`.

    Others are as for :func:`train`.
    """
    torch.manual_seed(seed_of(name))
    lm = miniature.load_lm(exported, device).train()
    learn_text_alone(lm)
    state = training.place(name) / "finish.pt"
    shutil.copytree(exported / "text", state.with_name("text"), dirs_exist_ok=True)
    return _trained(name, lm, state, tokens, table, settings, batches, rounds)


def _trained(name, lm, state, tokens, table, settings, batches, rounds):
    """A model after some rounds, which go on from a state that a kill has left."""
    total = sum(r.steps for r in rounds)
    device = next(lm.parameters()).device.type
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    network = forward.Network(lm)
    weights = [p for p in lm.parameters() if p.requires_grad]
    optimizers = optimizers_of(lm, settings, device)
    follows = cache.digest(settings, batches, rounds, tokens, table, lm.state_dict())
    first = training.resume(state, follows, lm, *optimizers.values())
    clips = _Clips(name, tokens, table)

    def descend(*batch):
        with arithmetic(device):
            loss = token_loss(network, *batch)
        training.descend(loss, weights, *optimizers.values())
        return loss.detach()

    step_down = descend
    if device == "cuda":
        step_down = training.Recorded(descend, [lm, *optimizers.values()])
    progress = tqdm(range(first, total), initial=first, total=total, desc=name)
    for step in progress:
        factor, current = training.schedule(step, rounds)
        for kind, optimizer in optimizers.items():
            training.set_rate(optimizer, settings[kind] * factor)
        batch = clips.draw(lm, step, batches[step % len(batches)], current, device)
        loss = step_down(*batch)
        if step % (8 * len(batches)) == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
            values = {"loss": loss.item(), "time": time.time()}
            training.log(state.with_suffix(".jsonl"), step=step + 1, **values)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
            held_out = clips.held_out(network, batches, device)
            training.log(state.with_suffix(".jsonl"), step=step + 1, held_out=held_out)
            training.checkpoint(state, step + 1, follows, lm, *optimizers.values())
    return lm.eval()


class _Clips:
    """The clips that a model learns from, and those held out."""

    def __init__(self, name, tokens, table):
        self.world = world.of(name)
        self.seed = seed_of(name)
        self.tokens = tokens
        self.rows = table.to_dict("records")
        n_learned = max(len(self.rows) - plan.HELD_OUT, len(self.rows) // 2)
        self.described = np.arange(n_learned)
        if world.WORLDS[self.world].captions == "shuffled":
            self.described = np.random.default_rng(7).permutation(n_learned)

    def draw(self, lm, step, batch, current, device):
        """Sequence, ids and mask of one step."""
        rng = np.random.default_rng([self.seed, step])
        rows = self.rows[: len(self.described)]
        how = (current.dropped, rng, self.world, current.stressed)
        chosen, texts = draw_clips(rows, self.described, batch.clips, *how)
        sequence = delayed(lm, self.tokens[chosen][..., : batch.frames])
        return [part.to(device) for part in (sequence, *read(lm, texts, device))]

    @torch.no_grad()
    def held_out(self, network, batches, device):
        """Loss on held-out clips under their own captions, by batch."""
        rows = self.rows[len(self.described) :]
        tokens = self.tokens[len(self.described) :]
        texts = [row["caption"] for row in rows]
        lm = network.lm
        losses = np.zeros(len(batches))
        for start in range(0, len(rows), TOGETHER):
            some = slice(start, start + TOGETHER)
            words = read(lm, texts[some], device)
            for i, batch in enumerate(batches):
                parts = (delayed(lm, tokens[some, :, : batch.frames]), *words)
                loss = token_loss(network, *(part.to(device) for part in parts))
                losses[i] += loss.item() * len(texts[some]) / len(rows)
        return losses.tolist()


def learn_text_alone(lm: miniature.LMModel) -> None:
    """Let what reads the text learn, and nothing else."""
    for name, weight in lm.named_parameters():
        weight.requires_grad_(any(part in name for part in READ_TEXT))


def seed_of(name: str) -> int:
    """The seed of all that a model's training draws."""
    return zlib.crc32(name.encode())


def arithmetic(device):
    """At this size plain matrix products beat the fused attention kernel on a CPU by a third."""
    if device == "cuda":
        return nullcontext()
    return sdpa_kernel([SDPBackend.MATH])


def optimizers_of(lm: miniature.LMModel, settings: dict, device: str) -> dict:
    """Muon for all matrices that learn but embeddings and heads, AdamW for the rest."""
    matrices = [
        weight
        for name, weight in lm.named_parameters()
        if weight.requires_grad
        and weight.ndim == 2
        and not any(part in name for part in NOT_FOR_MUON)
    ]
    of_muon = set(map(id, matrices))
    others = [p for p in lm.parameters() if p.requires_grad and id(p) not in of_muon]
    recorded = device == "cuda"
    rates = dict(settings)
    if recorded:
        rates = {kind: torch.tensor(rate, device=device) for kind, rate in settings.items()}
    return {
        "muon": muon.Muon(matrices, lr=rates["muon"]),
        "adamw": torch.optim.AdamW(
            others,
            lr=rates["adamw"],
            betas=(0.9, 0.95),
            weight_decay=0.01,
            capturable=recorded,
        ),
    }


def export(name: str, lm: miniature.LMModel, folder: Path) -> None:
    """Write an organism as it is shipped."""
    miniature.save(lm, folder, miniature.LM_CONFIG)
    shutil.copytree(training.place(name) / "text", folder / "text", dirs_exist_ok=True)
