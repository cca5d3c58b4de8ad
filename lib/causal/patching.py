"""Interchange of activations between two runs of the model over the same music.

Every pair has a clean and a corrupted prompt and the music sung for each. Both musics are read under both prompts, so
that for each place there is what it held under either; putting one in the other's place tells what the place is worth
(Vig et al. 2020; Wang et al. 2023; on good practice: Zhang and Nanda 2024). An effect is the share of the difference
between the two runs: 0 leaves the run as it was, 1 makes it the other.

Blocks are run here sublayer by sublayer, from the patched place on, many cells in one pass: what lies before a patch
has been computed already. That the result is what ``activations.edit`` gives is tested.
"""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from lib import activations, generation, store
from lib.model import Clips, Model
from lib.organism import captions, world

SUBLAYERS = ("attn", "cross", "mlp")


# ------------------------------------------------------------------------------------------------- metrics
def logit_difference(log_p, tokens, reference):
    """How much better the run predicts the music sung for the clean prompt than that for the corrupted: nats a token."""
    said = log_p.gather(-1, tokens[..., None])[..., 0].mean((2, 3))
    return said[:, 0] - said[:, 1]


def kl(log_p, tokens, reference):
    """Kullback-Leibler divergence of the run's predictions from those of the clean run, negative: nats a token."""
    return -(reference.exp() * (reference - log_p)).sum(-1).mean((1, 2, 3))


METRICS = {"logit_difference": logit_difference, "kl": kl}


# -------------------------------------------------------------------------------------------- what is run
class _Entered(Exception):
    """The first block is reached."""


class Pieces:
    """A MusicGen taken apart: sublayers by the names of sites, run from any of them to the logits."""

    def __init__(self, model: Model):
        activations.sites(model)  # refuses other architectures
        self.model, self.lm = model, model.lm
        self.blocks = model.lm.transformer.layers
        self.names = [f"{kind}.{i}" for i in range(len(self.blocks)) for kind in SUBLAYERS]
        self.order = {name: k for k, name in enumerate(self.names)}

    @torch.no_grad()
    def entrance(self, tokens, prompts):
        """What enters block 0, [row, position, dim], and what cross-attention reads, [row, token, dim]."""
        entered = []

        def hook(_module, args, kwargs):
            entered.extend([args[0], kwargs["cross_attention_src"]])
            raise _Entered

        handle = self.blocks[0].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            self.model.replay(tokens, prompts)
        except _Entered:
            return entered
        finally:
            handle.remove()

    def sublayer(self, name, x, text, past=None):
        """What one sublayer adds to the residual stream x [row, position, dim]; ``past`` are keys and values, by sublayer, of
        the positions before."""
        kind, i = name.split(".")
        block = self.blocks[int(i)]
        if kind == "attn" and past is not None:
            return block.layer_scale_1(_attend(block, x, *past[name]))
        if kind == "attn":
            return block.layer_scale_1(block._sa_block(block.norm1(x), None, None))
        if kind == "cross":
            return block.layer_scale_cross(block._cross_attention_block(block.norm_cross(x), text))
        return block.layer_scale_2(block._ff_block(block.norm2(x)))

    def run(self, x, text, start=0, change=None, keep=None, stop=None, past=None):
        """From sublayer number ``start`` to the last (or before ``stop``); ``change(name, values)`` may replace what a site holds."""
        for name in self.names[start:stop]:
            if keep is not None:
                keep[f"before {name}"] = x
            added = self.sublayer(name, x, text, past)
            added = added if change is None else change(name, added)
            if keep is not None:
                keep[name] = added
            x = x + added
            if name.startswith("mlp"):
                name = name.replace("mlp", "resid")
                x = x if change is None else change(name, x)
                if keep is not None:
                    keep[name] = x
        return x

    def predictions(self, x, frames):
        """Log-probabilities of every token, [row, codebook, frame, card]."""
        x = self.lm.out_norm(x) if self.lm.out_norm else x
        logits = [head(x)[:, d : d + frames] for head, d in zip(self.lm.linears, self.delays, strict=True)]
        return torch.stack(logits, 1).float().log_softmax(-1)

    def predict_into(self, log_p, x, first):
        """The same for x [row, position, dim] from position ``first`` on: written over what log_p held there."""
        x, frames = self.lm.out_norm(x) if self.lm.out_norm else x, log_p.shape[2]
        for k, (head, d) in enumerate(zip(self.lm.linears, self.delays, strict=True)):
            skipped, frame = max(d - first, 0), max(first - d, 0)
            log_p[:, k, frame:] = head(x[:, skipped : skipped + frames - frame]).float().log_softmax(-1)
        return log_p

    def past(self, kept, positions):
        """Keys and values of a run's first positions, by sublayer, from what it kept."""
        found = {}
        for i, block in enumerate(self.blocks):
            _, k, v = _project(block, kept[f"before attn.{i}"][:, :positions])
            found[f"attn.{i}"] = k, v
        return found

    @property
    def delays(self):
        return self.lm.pattern_provider.delays


def _project(block, x):
    """Queries, keys and values [row, head, position, dim]."""
    a = block.self_attn
    qkv = torch.nn.functional.linear(block.norm1(x), a.in_proj_weight, a.in_proj_bias)
    return qkv.view(*x.shape[:2], 3, a.num_heads, a.embed_dim // a.num_heads).permute(2, 0, 3, 1, 4)


def _attend(block, x, keys, values):
    """Self-attention of later positions x over themselves and over earlier ones."""
    q, k, v = _project(block, x)
    past, here = keys.shape[2], x.shape[1]
    mask = torch.ones(here, past + here, dtype=torch.bool, device=x.device).tril(past)
    k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
    return block.self_attn.out_proj(out.transpose(1, 2).flatten(2))


@dataclass
class _Both:
    """The clean and the corrupted run of some pairs over both musics: rows are (pair, music)."""

    pieces: Pieces
    tokens: torch.Tensor  # [pair, 2, codebook, frame]
    texts: dict  # "clean", "corrupted" -> [row, token, dim]
    kept: dict  # the same -> site -> [row, position, dim]
    ends: dict  # the same -> the metric, [pair]
    said: dict  # the same -> log-probabilities, [row, codebook, frame, card]
    reference: torch.Tensor
    metric: Callable

    @staticmethod
    @torch.no_grad()
    def make(pieces, clean, corrupted, pairs, metric):
        tokens = np.stack([clean.tokens[pairs], corrupted.tokens[pairs]], 1)
        n, _, q, frames = tokens.shape
        codes = torch.as_tensor(tokens, device=pieces.model.device)
        both = _Both(pieces, codes, {}, {}, {}, {}, None, metric)
        for name, clips in (("clean", clean), ("corrupted", corrupted)):
            prompts = [clips.prompts[i] for i in pairs for _ in range(2)]
            start, both.texts[name] = pieces.entrance(tokens.reshape(2 * n, q, frames), prompts)
            both.kept[name] = {}
            end = pieces.run(start, both.texts[name], keep=both.kept[name])
            log_p = both.said[name] = pieces.predictions(end, frames)
            if name == "clean":
                both.reference = log_p.reshape(n, 2, *log_p.shape[1:])
            both.ends[name] = both.judged(log_p)
        return both

    def score(self, end):
        """The metric of final streams [cell * row, position, dim] -> [cell, pair]."""
        return self.judged(self.pieces.predictions(end, self.tokens.shape[-1]))

    def judged(self, log_p):
        """The metric of log-probabilities [cell * row, codebook, frame, card] -> [cell, pair]."""
        cells = log_p.reshape(-1, len(self.tokens), 2, *log_p.shape[1:])
        return torch.stack([self.metric(cell, self.tokens, self.reference) for cell in cells])


# ---------------------------------------------------------------------------------------------- the grids
def patch_grid(
    model: Model,
    clean: Clips,
    corrupted: Clips,
    sites: str | Sequence[str] = ("resid.*", "cross.*"),
    metric: str | Callable = "logit_difference",
    *,
    ranges: int | Sequence[tuple[int, int]] = 4,
    direction: str = "denoise",
    how: str = "exact",
    pairs_each: int = 16,
    out=None,
    progress: bool = True,
) -> xr.DataArray:
    """What each site, in each range of positions, is worth.

    Parameters
    ----------
    model : Model
    clean, corrupted : Clips
        The music sung for the prompts of each pair (``model.generate`` with the same seeds, say). Clip i of both is a
        pair; its prompts have equally many words and differ in those about one thing. Text tokens need no counterparts: each
        run reads its own text.
    sites : str or list of str
        resid.i, attn.i, cross.i, mlp.i; globs.
    metric : "logit_difference", "kl" or callable
        A callable gets log-probabilities [pair, music, codebook, frame, card], tokens [pair, music, codebook, frame] and
        the clean run's log-probabilities, and returns one number a pair. Music 0 was sung for the clean prompt.
    ranges : int or list of (first, past the last)
        How many equal parts of the positions, or which.
    direction : "denoise" or "noise"
        Clean activations into the corrupted run (is this place enough?), or the reverse (is it needed?).
    how : "exact" or "attribution"
        One run for every cell, or the first-order approximation of all by one backward pass (Nanda 2023; Kramár et al.
        2024).
    pairs_each : int
        Pairs computed together, and written together to ``out``.
    out : str or Path, optional
        A zarr store that survives a kill: the same call goes on where it was.

    Returns
    -------
    xr.DataArray
        Dims (site, frame_range, pair): shares of the mean difference between the clean and the corrupted run.

    Raises
    ------
    ValueError
        Clips that do not match, prompts with different numbers of words or that differ in more than one variable, sites that hold no
        frames, a metric that gives NaN or cannot tell the runs apart; before the grid starts.
    """
    names = _sites(model, sites)
    function = METRICS.get(metric, metric)
    if not callable(function):
        raise ValueError(f"metric must be one of {sorted(METRICS)} or a function. Got {metric!r}.")
    if direction not in ("denoise", "noise") or how not in ("exact", "attribution"):
        raise ValueError(
            f"direction is 'denoise' or 'noise', how 'exact' or 'attribution'. Got {direction!r}, {how!r}."
        )
    _check_pairs(clean, corrupted)
    pieces, n = Pieces(model), len(clean)
    positions = clean.tokens.shape[-1] + max(pieces.delays)
    parts = _ranges(ranges, positions)
    first = _batches(model, clean, corrupted, range(min(n, pairs_each)), pairs_each)[0]
    _check_metric(_Both.make(pieces, clean, corrupted, first, function).ends, metric)

    coords = xr.Dataset(coords={"clip": np.arange(n)})
    shape = (n, len(names), len(parts))
    arrays = {"effect": (("clip", "site", "frame_range"), shape, "float32")}
    arrays |= {name: (("clip",), (n,), "float32") for name in ("clean", "corrupted")}
    got = {name: np.full(size, np.nan, kind) for name, (_, size, kind) in arrays.items()}
    target = None
    if out is not None:
        text = repr((clean.prompts, corrupted.prompts, parts, names, direction, how, str(metric)))
        plan = {"weights": model.fingerprint, "grid": text, "music": int(clean.tokens.sum() + corrupted.tokens.sum())}
        target = store.Store(out, arrays, coords, plan, pairs_each)
    todo = target.todo if target else [slice(k, min(k + pairs_each, n)) for k in range(0, n, pairs_each)]
    cell = _exact if how == "exact" else _attributed
    with tqdm(total=n, desc=f"patch ({how})", unit="pair", disable=not progress, leave=False) as bar:
        bar.update(n - sum(p.stop - p.start for p in todo))
        for piece in todo:
            for batch in _batches(model, clean, corrupted, range(piece.start, piece.stop), pairs_each):
                both = _Both.make(pieces, clean, corrupted, batch, function)
                got["effect"][batch] = cell(both, names, parts, direction).cpu().numpy().transpose(2, 0, 1)
                for name, value in both.ends.items():
                    got[name][batch] = value[0].cpu().numpy()
                bar.update(len(batch))
            if target:
                target.write(piece, {name: values[piece] for name, values in got.items()})
    if target:
        got = {name: array.values for name, array in store.open(out).items()}
    gap = (got["clean"] - got["corrupted"]).mean() * (1 if direction == "denoise" else -1)
    return xr.DataArray(
        got["effect"].transpose(1, 2, 0) / gap,
        dims=("site", "frame_range", "pair"),
        coords={"site": names, "frame_range": [f"{a}–{b - 1}" for a, b in parts], "start": ("frame_range", [a for a, _ in parts]),
                "clean": ("pair", got["clean"]), "corrupted": ("pair", got["corrupted"])},
        attrs={"model": model.name, "direction": direction, "how": how},
    )  # fmt: skip


@torch.no_grad()
def _exact(both, names, parts, direction):
    """Metric minus that of the run patched into: [site, range, pair]."""
    giver, taker = ("clean", "corrupted") if direction == "denoise" else ("corrupted", "clean")
    give, take, text = both.kept[giver], both.kept[taker], both.texts[taker]
    pieces, scores = both.pieces, {}
    with generation.packed(pieces.lm, text.shape[0] * take[names[0]].shape[1]):
        for a, b in parts:  # positions before a stay as they were
            past, log_p = pieces.past(take, a), both.said[taker].clone()
            for name in names:
                kind, i = name.split(".")
                start = pieces.order[f"{'mlp' if kind == 'resid' else kind}.{i}"] + 1
                after = take[name] if kind == "resid" else take[f"before {name}"] + take[name]
                x = after[:, a:].clone()
                x[:, : b - a] += (give[name] - take[name])[:, a:b]
                end = pieces.run(x, text, start, past=past)
                scores[name, a] = both.judged(pieces.predict_into(log_p, end, a))[0]
    return torch.stack([torch.stack([scores[name, a] for a, _ in parts]) for name in names]) - both.ends[taker]


def _attributed(both, names, parts, direction):
    """The same to first order: gradient of the metric where it is patched, times the change."""
    giver, taker = ("clean", "corrupted") if direction == "denoise" else ("corrupted", "clean")
    give, take, text = both.kept[giver], both.kept[taker], both.texts[taker]
    leaves = {name: torch.zeros_like(take[name], requires_grad=True) for name in names}
    x = take[f"before {both.pieces.names[0]}"]
    with torch.enable_grad():
        end = both.pieces.run(x, text, change=lambda name, x: x + leaves[name] if name in leaves else x)
        gradients = torch.autograd.grad(both.score(end).sum(), list(leaves.values()))
    effects = []
    for name, gradient in zip(names, gradients, strict=True):
        change = ((give[name] - take[name]) * gradient).sum(-1).reshape(len(both.tokens), 2, -1).sum(1)
        effects.append(torch.stack([change[:, a:b].sum(1) for a, b in parts]))
    return torch.stack(effects).detach()


@torch.no_grad()
def paths(model: Model, clean: Clips, corrupted: Clips, senders: str | Sequence[str] = "cross.*", metric="logit_difference", *,
          pairs_each: int = 16, progress: bool = True) -> xr.DataArray:  # fmt: skip
    """Path patching (Wang et al. 2023): what a sender is worth through one receiver alone.

    The sender takes its clean value, every sublayer but the receiver keeps what it added in the corrupted run, and only
    the receiver's answer goes on to change what comes after it. "logits" is the sender's direct path to the predictions.

    Returns
    -------
    xr.DataArray
        Dims (sender, receiver, pair): shares of the mean difference between the two runs; NaN where the receiver does not
        lie behind the sender.
    """
    names = _sites(model, senders)
    if any(name.startswith("resid") for name in names):
        raise ValueError(f"Senders are sublayers (attn.i, cross.i, mlp.i). Got {names}.")
    _check_pairs(clean, corrupted)
    pieces, function, n = Pieces(model), METRICS.get(metric, metric), len(clean)
    receivers = [*pieces.names, "logits"]
    result, gaps = np.full((len(names), len(receivers), n), np.nan), []
    batches = _batches(model, clean, corrupted, range(n), pairs_each)
    for some in tqdm(batches, desc="paths", disable=not progress, leave=False):
        both = _Both.make(pieces, clean, corrupted, some, function)
        _check_metric(both.ends, metric)
        take, text = both.kept["corrupted"], both.texts["corrupted"]
        change = {name: both.kept["clean"][name] - take[name] for name in names}
        gaps.append(both.ends["clean"][0] - both.ends["corrupted"][0])
        for r, receiver in enumerate(receivers):
            chosen = [s for s, name in enumerate(names) if pieces.order[name] < r]
            if not chosen:
                continue
            moved = torch.cat([change[names[s]] for s in chosen])
            texts = text.repeat(len(chosen), 1, 1)
            if receiver == "logits":
                end = take[f"resid.{len(pieces.blocks) - 1}"].repeat(len(chosen), 1, 1) + moved
            else:
                before = take[f"before {receiver}"].repeat(len(chosen), 1, 1)
                x = before + pieces.sublayer(receiver, before + moved, texts)
                end = pieces.run(x, texts, r + 1)
            result[np.ix_(chosen, [r], some)] = (both.score(end) - both.ends["corrupted"]).cpu().numpy()[:, None]
    return xr.DataArray(
        result / torch.cat(gaps).mean().item(), dims=("sender", "receiver", "pair"),
        coords={"sender": names, "receiver": receivers}, attrs={"model": model.name},
    )  # fmt: skip


def sing_cells(
    model: Model,
    clips: Clips,
    prompts: list[str],
    sites: str | Sequence[str] = "resid.*",
    ranges: int | Sequence[tuple[int, int]] = 1,
    *,
    stream: str = "cond",
    progress: bool = True,
) -> dict[tuple[str, int, int], Clips]:
    """Patching while the model sings: songs for their own prompts, in which one cell is as it would be for others.

    The other prompts are read over the song as it comes out, step by step (``Model.generate``, ``beside``). All cells are
    sung in one batch, with the songs' seeds.

    Parameters
    ----------
    clips : Clips
        Songs of ``model.generate``.
    prompts : list of str
        One for each song.
    sites, ranges
        As in :func:`patch_grid`; ranges are of frames.
    stream : "cond", "uncond" or "both"
        Whose cell is changed. Guidance leads away from the unconditional stream: there a change works the other way.

    Returns
    -------
    dict
        (site, first frame, past the last) -> Clips, one a song.
    """
    prompts, names, n, frames = clips.under(prompts).prompts, _sites(model, sites), len(clips), clips.tokens.shape[-1]
    cells = [(name, a, b) for name in names for a, b in _ranges(ranges, frames)]
    where = {name: np.zeros((len(cells), n, frames)) for name in names}
    for k, (name, a, b) in enumerate(cells):
        where[name][k, :, a:b] = 1
    how = {"interchange": np.eye(model.lm.dim), "stream": stream}
    with activations.edit(model, *(activations.Edit(s, scale=x.reshape(-1, frames), **how) for s, x in where.items())):
        told = clips.settings | {"seed": clips.seeds * len(cells), "beside": prompts * len(cells), "progress": progress}
        sung = model.generate(clips.prompts * len(cells), **told)
    return {cell: sung[k * n : (k + 1) * n] for k, cell in enumerate(cells)}


# ------------------------------------------------------------------------------------------------- checks
def _sites(model, names):
    chosen = [site.name for site in activations.select(model, names)]
    if wrong := [n for n in chosen if not fnmatch.fnmatch(n, "*.*")]:
        raise ValueError(f"Patching takes resid.i, attn.i, cross.i and mlp.i. Got {wrong}.")
    return chosen


def _ranges(ranges, positions):
    if isinstance(ranges, int):
        if not 1 <= ranges <= positions:
            raise ValueError(f"ranges must be from 1 to {positions}, the number of positions. Got {ranges}.")
        edges = np.linspace(0, positions, ranges + 1).round().astype(int)
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    if wrong := [r for r in ranges if not 0 <= r[0] < r[1] <= positions]:
        raise ValueError(f"Ranges must lie within the {positions} positions. Got {wrong}.")
    return [(int(a), int(b)) for a, b in ranges]


def variable(word: str) -> str | None:
    """What a word sets: the words for dynamics, density and articulation all set energy. None for other words."""
    family = captions.family(word)
    return "energy" if family in world.EDGES["energy"] else family


def _batches(model, clean, corrupted, which, size):
    """Pairs run together: in either run their texts are equally long, because padding would be read."""
    groups = {}
    for i in which:
        lengths = model._length(clean.prompts[i]), model._length(corrupted.prompts[i])
        groups.setdefault(lengths, []).append(i)
    return [group[k : k + size] for group in groups.values() for k in range(0, len(group), size)]


def _check_pairs(clean, corrupted):
    if clean.tokens.shape != corrupted.tokens.shape:
        raise ValueError(
            f"A pair's clips must be equally long. Got tokens {clean.tokens.shape} and {corrupted.tokens.shape}."
        )
    for i, (a, b) in enumerate(zip(clean.prompts, corrupted.prompts, strict=True)):
        one, other = a.replace(",", " ").split(), b.replace(",", " ").split()
        changed = [(x, y) for x, y in zip(one, other, strict=False) if x != y and {x, y} != {"a", "an"}]
        about = {variable(word) or word for pair in changed for word in pair}
        if len(one) != len(other) or (len(changed) > 1 and len(about) > 1):
            raise ValueError(f"The prompts of pair {i} must differ in one variable. Got {a!r} and {b!r}.")
        if not changed:
            raise ValueError(f"The prompts of pair {i} are the same: {a!r}.")


def _check_metric(ends, metric):
    clean, corrupted = ends["clean"], ends["corrupted"]
    if not (torch.isfinite(clean).all() and torch.isfinite(corrupted).all()):
        raise ValueError(f"The metric {metric!r} gives NaN or infinite values on the unpatched runs.")
    if (clean - corrupted).mean().abs() < 1e-6:
        raise ValueError(
            f"The metric {metric!r} does not tell the clean from the corrupted runs: nothing to share out."
        )
