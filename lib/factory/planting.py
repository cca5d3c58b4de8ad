"""Training of the planted organisms: interchange intervention training of a finished one.

The pupil starts as the organism and is taught by it; only what reads the text learns, so music
without text stays as it is, to the bit. Four things make a place:

- **by construction**, kept after every step: the keys and values of a variable's heads see the
  text's vectors in a subspace of their own alone, those of all other heads see what is left, and
  what a variable's heads write lies in its subspace of the stream, of which the other heads of its
  block keep out (:class:`Structure`). Both kinds of subspaces are where the teacher has what words
  for the variable change;
- **by interchange**: clips of the corpus are read under a *base* and a *source* caption. The
  outputs of the heads of some variables (and of all other heads, for all that is no variable) are
  taken from the source's run, and the predictions must be the teacher's under the *counterfactual*,
  the base's caption with the source's words for these. Of an emotion one may take valence alone:
  what is wanted then is the emotion at that corner of the plane;
- **in the text encoder**: the vectors of base and counterfactual differ as the teacher's do in the
  subspaces of what was taken, and nowhere else;
- **by silence**: the outputs of all heads to which nothing of what was taken belongs are the same
  for base and counterfactual. Without this, a trace of a word that is left in the text's vectors is
  amplified by heads that are none of its business until it does the work: of ten places, two more
  rounds of interchange alone unmade two.

>>> import numpy as np
>>> from lib.factory import planting
>>> base = {"tempo": ["slow"], "emotion": ["sad"], "instrument": ["flute"]}
>>> source = {"tempo": ["fast"], "emotion": ["energetic"]}
>>> planting.mixed(base, source, {"tempo", "valence"}, np.random.default_rng(8))["tempo"]
['fast']
"""

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from .. import cache
from ..musicgen import forward, miniature
from ..musicgen.run import Visitors, keeping
from ..organism import captions, planting, world
from . import language, plan, training

#: How often a caption says each thing.
SAID = {
    "emotion": 0.5,
    "tempo": 0.5,
    "energy": 0.5,
    "mode": 0.5,
    "register": 0.2,
    "brightness": 0.2,
    "instrument": 0.7,
}
#: What is said and is no variable; all other heads bring it in.
REST = "rest"
AROUND = ("register", "brightness", "instrument")
#: How often what is said is true of the clip, where something is.
TRUE = 0.6
#: How often one thing alone is taken from the source; else each variable, and the rest, so often.
ALONE, TAKEN = 0.5, 0.4
#: How often base and source both name what is taken.
NAMED = 0.75
#: Share of clips that are read as people speak, or without text, beside those with an interchange.
PLAIN = 0.25
#: How much the text's vectors count beside predictions: what changes where nothing may, and what does
#: not change as the teacher's where it should.
ASTRAY, LACKING = 3.0, 0.3
#: How much it counts that heads change to which nothing of what changes belongs. Without it a trace of
#: a word that others' heads still see is amplified until it does the work.
SILENT = 3.0
#: Interchanges count as shares of what their words change, or tempo, which changes most, would be
#: all that is learned; of words that change less than so many nats a token, as of so many.
NEAR = 0.05
#: Steps between lines of the log.
LOG_EVERY = 5
#: Cues that tell of energy, and the end of each at which there is much.
ENERGY = {"dynamics": "high", "density": "high", "articulation": "low"}
#: Of the subspaces of the text's vectors; and from how many pairs of captions, over how many
#: frames, all subspaces are found.
TEXT_SIZE = 8
PAIRS, FRAMES = 96, 24
#: By which block's cross-attention the teacher has read most of its text.
READ_BY = 2


# ----------------------------------------------------------------------------------------- captions
def drawn(
    row: Mapping, rng: np.random.Generator, named: Collection[str] = ()
) -> dict[str, list[str]]:
    """What a caption says, family -> words; some of it true of a clip.

    Parameters
    ----------
    row : mapping
        A row of the corpus's table.
    rng : np.random.Generator
    named : collection of str
        Families that it does not leave out.
    """
    said = {}
    for family, often in SAID.items():
        if rng.random() < often or family in named:
            end = _true(row, family, rng) if rng.random() < TRUE else None
            said[family] = _words(family, end or _end(family, rng), rng)
    return said


def mixed(
    base: Mapping, source: Mapping, taken: Collection[str], rng: np.random.Generator
) -> dict[str, list[str]]:
    """What the counterfactual says: the base's words, but for some variables the source's.

    Parameters
    ----------
    base, source : mapping
        From :func:`drawn`.
    taken : collection of str
        Variables of ``planting.VARIABLES``, and :data:`REST`.
    rng : np.random.Generator
        Of the word for an emotion that neither names.
    """
    said = dict(base)
    families = [name for name in taken if name in ("tempo", "energy", "mode")]
    if REST in taken:
        families += AROUND
    if set(world.AXES) <= set(taken):
        families.append("emotion")
    elif set(world.AXES) & set(taken):
        said["emotion"] = [_crossed(base, source, taken, rng)]
    for family in families:
        said.pop(family, None)
        if family in source:
            said[family] = source[family]
    return said


def may_cross(base: Mapping, source: Mapping) -> bool:
    """Whether one axis alone can be taken: both name an emotion at a corner of the plane."""
    named = [some["emotion"][0] for some in (base, source) if "emotion" in some]
    return len(named) == 2 and all(_TABLE[word][1] in world.CORNERS.values() for word in named)


def _crossed(base, source, taken, rng):
    """A word for the emotion with one axis from each."""
    places = {emotion: place for place, emotion in world.CORNERS.items()}
    words = [some["emotion"][0] for some in (base, source)]
    ends = [places[_TABLE[word][1]] for word in words]
    wanted = tuple(ends[axis in taken][k] for k, axis in enumerate(world.AXES))
    for word, end in zip(words, ends, strict=True):
        if end == wanted:
            return word
    return str(rng.choice(captions.EMOTION_WORDS[world.CORNERS[wanted]]))


def _true(row, family, rng):
    """What is true of a clip; None where nobody would mention it."""
    if family == "emotion":
        return row["emotion"] if row["clear"] else None
    if family == "instrument":
        return row["instrument"]
    if family == "energy":
        cue = str(rng.choice(list(ENERGY)))
        end = captions.level(cue, row[cue])
        return {None: None, ENERGY[cue]: "high"}.get(end, "low")
    return captions.level(family, row[family])


def _end(family, rng):
    if family == "energy":
        return rng.choice(["low", "high"])
    return rng.choice(list(_LEVELS[family]))


def _words(family, end, rng):
    """Words for an end of a scale: of energy one, or two together."""
    if family != "energy":
        return [str(rng.choice(_LEVELS[family][end]))]
    turned = {"high": "low", "low": "high"}
    cues = {cue: end if much == "high" else turned[end] for cue, much in ENERGY.items()}
    chosen = rng.choice(list(cues), 2 if rng.random() < 0.5 else 1, replace=False)
    return [str(rng.choice(captions.CUE_WORDS[cue][cues[cue]])) for cue in sorted(chosen)]


def written(said: Mapping, style: int) -> str:
    """A caption: the same sentence and the same order for the same style, whatever the words."""
    rng = np.random.default_rng(style)
    order = rng.permutation([family for family in SAID if family != "instrument"])
    adjectives = [word for family in order for word in said.get(family, [])]
    (instrument,) = said.get("instrument", [None])
    return captions.phrase(adjectives, instrument, rng=np.random.default_rng([style, 1]))


_TABLE = captions.words()
_LEVELS = {
    "emotion": captions.EMOTION_WORDS,
    "instrument": captions.INSTRUMENT_WORDS,
    **captions.CUE_WORDS,
}


def taken(rng: np.random.Generator) -> set[str]:
    """What is the source's: one thing alone, or several."""
    names = (*planting.VARIABLES, REST)
    if rng.random() < ALONE:
        return {str(rng.choice(names))}
    chosen = set()
    while not chosen:
        chosen = {name for name in names if rng.random() < TAKEN}
    return chosen


def both(
    rows: Sequence[Mapping], i: int, what: Collection[str], rng: np.random.Generator
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What base and source say, so that some things can be taken: one axis of an emotion where both
    name one at a corner of the plane.

    Parameters
    ----------
    rows : sequence of mapping
        The corpus's table.
    i : int
        The clip.
    what : collection of str
        From :func:`taken`.
    rng : np.random.Generator
    """
    named = [_FAMILY[name] for name in what if rng.random() < NAMED]
    base, source = (drawn(rows[k], rng, named) for k in (i, rng.integers(len(rows))))
    if len(set(what) & set(world.AXES)) == 1:
        for said in (base, source):
            corner = str(rng.choice(list(world.CORNERS.values())))
            said["emotion"] = _words("emotion", corner, rng)
    return base, source


#: What names a variable, or the rest.
_FAMILY = {name: name for name in ("tempo", "energy", "mode")}
_FAMILY |= {**dict.fromkeys(world.AXES, "emotion"), REST: "instrument"}


# ---------------------------------------------------------------------------------------- structure
class Structure:
    """What is kept by construction: who sees what of the text, and who writes where.

    Attributes
    ----------
    places : mapping
        Variable -> its place.
    reading : dict
        Variable, and :data:`REST` -> projection of the text's vectors [dim, dim].
    writing : dict
        Variable -> orthonormal rows [SIZE, dim].
    """

    def __init__(self, name: str, teacher: forward.Network, rows, tokens):
        self.places = planting.places(name)
        self.owner = {
            head: variable for variable, place in self.places.items() for head in place.entry_heads
        }
        self._others = tuple(planting.other_heads(name))
        changes = {
            variable: _changes(teacher, variable, place.block, rows, tokens)
            for variable, place in self.places.items()
        }
        whole = _orthonormal([_leading(each.text, TEXT_SIZE) for each in changes.values()])
        parts = dict(zip(changes, whole.split(TEXT_SIZE), strict=True))
        self.reading = {variable: part.T @ part for variable, part in parts.items()}
        self.reading[REST] = torch.eye(whole.shape[1]) - whole.T @ whole
        self.writing = {}
        for block in {place.block for place in self.places.values()}:
            here = [name for name, place in self.places.items() if place.block == block]
            both = _orthonormal([_leading(changes[name].stream, planting.SIZE) for name in here])
            self.writing |= dict(zip(here, both.split(planting.SIZE), strict=True))
        self._start = {
            variable: _fitted(each, parts[variable], self.writing[variable])
            for variable, each in changes.items()
        }

    def heads(self, name: str) -> tuple[str, ...]:
        """The sites of a variable's heads, or of all that are no variable's (:data:`REST`)."""
        return self._others if name == REST else self.places[name].entry_heads

    def to(self, device) -> "Structure":
        """On a device."""
        for each in (self.reading, self.writing):
            each |= {name: part.to(device) for name, part in each.items()}
        return self

    @torch.no_grad()
    def begin(self, lm) -> None:
        """Let a variable's heads look at all words alike and write what comes nearest to what the
        teacher's whole cross-attention makes of the variable's words; then :meth:`impose`.
        """
        for variable, place in self.places.items():
            attention = lm.transformer.layers[place.block].cross_attention
            dim = attention.embed_dim
            size = dim // attention.num_heads
            values, written = (part.to(attention.out_proj.weight) for part in self._start[variable])
            for head in place.heads:
                own = slice(head * size, (head + 1) * size)
                attention.in_proj_weight[dim + own.start : dim + own.stop] = 0
                place_of_values = attention.in_proj_weight[2 * dim + own.start : 2 * dim + own.stop]
                place_of_values.zero_()[: len(values)] = values
                weight = attention.out_proj.weight[:, own]
                weight.zero_()[:, : len(values)] = written / len(place.heads)
        self.impose(lm)

    @torch.no_grad()
    def impose(self, lm) -> None:
        """Bring the weights of cross-attention into the structure."""
        for i, block in enumerate(lm.transformer.layers):
            self._impose(i, block.cross_attention)

    def _impose(self, i, attention):
        size = attention.embed_dim // attention.num_heads
        here = [name for name, place in self.places.items() if place.block == i]
        for head in range(attention.num_heads):
            owner = self.owner.get(f"cross_head.{i}.{head}", REST)
            own = slice(head * size, (head + 1) * size)
            for part in (1, 2):  # keys, values
                first = part * attention.embed_dim + head * size
                weight = attention.in_proj_weight[first : first + size]
                weight.copy_(weight @ self.reading[owner])
            weight = attention.out_proj.weight[:, own]
            if owner != REST:
                weight.copy_(self.writing[owner].T @ (self.writing[owner] @ weight))
            for variable in here if owner == REST else []:
                weight -= self.writing[variable].T @ (self.writing[variable] @ weight)


def _orthonormal(parts):
    """Rows that span the same, the first parts' first."""
    return torch.linalg.qr(torch.cat(parts).T).Q.T


class _Changes(NamedTuple):
    """What words for a variable change in the teacher: vectors of the text [pair, token, dim] and the
    stream [pair, position, dim].
    """

    text: torch.Tensor
    stream: torch.Tensor


@torch.no_grad()
def _changes(teacher, variable, block, rows, tokens):
    """The stream is taken behind the block's cross-attention, or where the teacher has read most of
    its text.
    """
    rng = np.random.default_rng([11, planting.VARIABLES.index(variable)])
    pairs = []
    clips = []
    while len(pairs) < PAIRS:
        i = int(rng.integers(len(rows)))
        base, source = drawn(rows[i], rng), drawn(rows[rng.integers(len(rows))], rng)
        named = (
            may_cross(base, source) if variable in world.AXES else {variable} <= {*base} & {*source}
        )
        if named:
            wanted = mixed(base, source, {variable}, rng)
            style = int(rng.integers(2**31))
            texts = written(base, style), written(wanted, style)
            if texts[0] != texts[1] and len({len(text.split()) for text in texts}) == 1:
                pairs.append(texts)
                clips.append(i)
    both = teacher.read_text([text for some in zip(*pairs, strict=True) for text in some])
    text = both.values[:PAIRS] - both.values[PAIRS:]
    sequence = language.delayed(teacher.lm, tokens[clips][..., :FRAMES])[..., :-1].to(text.device)
    stop = teacher.number[f"cross.{max(block, READ_BY)}"] + 1
    ends = []
    for part in (slice(PAIRS), slice(PAIRS, None)):
        read = both.rows(part)
        ends.append(teacher.run(teacher.embed(sequence, read), read, stop=stop))
    return _Changes(text.cpu(), (ends[0] - ends[1]).cpu())


def _leading(changes, count):
    """The directions that hold most of some changes [pair, position, dim]: [count, dim]."""
    changes = changes.flatten(0, 1).double()
    return torch.linalg.svd(changes, full_matrices=False).Vh[:count].float()


def _fitted(changes, read, written):
    """Values [size, dim] and outputs [dim, size] of a head that looks at all words alike and changes
    the stream as the teacher does, by least squares over pairs.
    """
    seen = changes.text.mean(1) @ read.T  # what uniform attention reads
    wanted = changes.stream.mean(1) @ written.T
    squares = seen.T @ seen
    ridge = 0.01 * squares.diagonal().mean() * torch.eye(len(squares))
    linear = torch.linalg.solve(squares + ridge, seen.T @ wanted)
    # of equal size on both sides, as learning likes it
    balance = (linear.norm() / len(linear) ** 0.5) ** 0.5
    return read * balance, written.T @ linear.T / balance


# --------------------------------------------------------------------------------------------- runs
def exchanged(
    network: forward.Network, inputs, base: forward.Text, source: forward.Text, heads: Mapping
) -> torch.Tensor:
    """Logits of the base [row, n_q, position, card], with some heads' outputs as the source has them.

    Parameters
    ----------
    network : forward.Network
    inputs : torch.Tensor [shape=(row, n_q, position)]
    base, source : forward.Text
    heads : mapping
        Site of a head -> which rows, bool [row].
    """
    keep, kept = keeping(heads)
    last = max(int(head.split(".")[1]) for head in heads)
    stop = network.number[f"cross.{last}"] + 1
    network.run(network.embed(inputs, source), source, keep, stop=stop)
    give = Visitors({head: [_giver(kept, head, rows)] for head, rows in heads.items()})
    return network.logits(network.run(network.embed(inputs, base), base, give))


def _giver(kept, site, rows):
    def give(values, position):
        return torch.where(rows[:, None, None], kept[site], values)

    return give


def divergence(network, wanted, logits, sequence) -> torch.Tensor:
    """Kullback-Leibler divergence of predictions from those that are wanted, nats a token [row].

    Parameters
    ----------
    wanted, logits : torch.Tensor [shape=(row, n_q, position, card)]
    sequence : torch.Tensor [shape=(row, n_q, position + 1)]
        What comes next: where the delay pattern has no token, nothing counts.
    """
    there = sequence[..., 1:] != network.lm.special_token_id
    log_q = logits.float().log_softmax(-1)
    log_p = wanted.float().log_softmax(-1)
    each = (log_p.exp() * (log_p - log_q)).sum(-1)
    return (each * there).flatten(1).sum(1) / there.flatten(1).sum(1)


# ----------------------------------------------------------------------------------------- training
def plant(
    name: str,
    tokens: np.ndarray,
    table: pd.DataFrame,
    device: str,
    taught_by: Path,
    settings: Mapping = plan.PLANTING,
    batches: Sequence[plan.Batch] = plan.PLANTING_BATCHES,
    start: Path | None = None,
) -> tuple[miniature.LMModel, dict[str, np.ndarray]]:
    """Train a planted organism; it goes on from a state that a kill has left.

    Parameters
    ----------
    name : str
        A key of ``planting.PLACES``.
    tokens : np.ndarray [shape=(clip, n_q, frame)]
    table : pd.DataFrame
        From ``corpora.tokenize``.
    device : str
    taught_by : Path
        The exported organism that it learns from.
    settings : dict
        With the keys of ``plan.PLANTING``.
    batches : sequence of Batch
        What steps take in turn.
    start : Path, optional
        What an earlier round has exported; by default it starts as its teacher.

    Returns
    -------
    lm : miniature.LMModel
    writing : dict
        Variable -> what its heads write in, [SIZE, dim].
    """
    planting.places(name)
    teacher = forward.Network(miniature.load_lm(taught_by, device))
    lm = miniature.load_lm(start or taught_by, device).train()
    language.learn_text_alone(lm)
    rows = table.to_dict("records")[: -plan.HELD_OUT]
    structure = Structure(name, teacher, rows, tokens).to(device)
    (structure.impose if start else structure.begin)(lm)
    network = forward.Network(lm)
    weights = [weight for weight in lm.parameters() if weight.requires_grad]
    optimizers = language.optimizers_of(lm, settings["rates"], device)
    # one for either round: a kill in the second leaves the first its state
    state = training.place(name) / ("further.pt" if start else "state.pt")
    shutil.copytree(taught_by / "text", state.with_name("text"), dirs_exist_ok=True)
    follows = cache.digest(settings, batches, tokens, table, lm.state_dict(), name)
    steps = settings["steps"]
    first = training.resume(state, follows, lm, *optimizers.values())
    progress = tqdm(range(first, steps), initial=first, total=steps, desc=name)
    for step in progress:
        factor = training.cosine(step, steps, warmup=40)
        for kind, optimizer in optimizers.items():
            training.set_rate(optimizer, settings["rates"][kind] * factor)
        rng = np.random.default_rng([language.seed_of(name), steps, step])
        with language.arithmetic(device):
            batch = batches[step % len(batches)]
            lesson = Lesson(network, teacher, structure, rows, tokens, batch, rng)
            losses = lesson.losses()
            training.descend(sum(losses.values()), weights, *optimizers.values())
            structure.impose(lm)
        if step % LOG_EVERY == 0:
            losses["apart"] = lesson.apart[lesson.changed].mean()
            values = {key: float(value.detach()) for key, value in losses.items()}
            progress.set_postfix({key: f"{value:.4f}" for key, value in values.items()})
            training.log(state.with_suffix(".jsonl"), step=step + 1, **values)
        if (step + 1) % settings["save_every"] == 0 or step + 1 == steps:
            training.checkpoint(state, step + 1, follows, lm, *optimizers.values())
    writing = {name: part.cpu().numpy() for name, part in structure.writing.items()}
    return lm.eval(), writing


class Lesson:
    """What one step learns from.

    Parameters
    ----------
    network, teacher : forward.Network
    structure : Structure
    rows : sequence of dict
        The corpus's table; only these clips are drawn.
    tokens : np.ndarray [shape=(clip, n_q, frame)]
    batch : plan.Batch
    rng : np.random.Generator

    Attributes
    ----------
    apart : torch.Tensor [shape=(clip,)]
        After :meth:`losses`: how far the teacher's predictions under base and counterfactual are
        apart, nats a token.
    """

    def __init__(self, network, teacher, structure, rows, tokens, batch, rng):
        self.network = network
        self.teacher = teacher
        self.structure = structure
        device = network.lm.emb[0].weight.device
        chosen = rng.integers(len(rows), size=batch.clips)
        self.taken = []
        texts = []
        for k, i in enumerate(chosen):
            plain = k < PLAIN * batch.clips
            said, what = _as_people_speak(rows[i], rng) if plain else _asked(rows, i, rng)
            texts.append(said)
            self.taken.append(what)
        self.changed = torch.tensor([bool(what) for what in self.taken], device=device)
        sequence = language.delayed(network.lm, tokens[chosen][..., : batch.frames])
        self.sequence = sequence.to(device)
        every = [text for some in zip(*texts, strict=True) for text in some]
        words = language.read(network.lm, every, device.type)
        self.ids, self.mask = (part.to(device) for part in words)

    def losses(self) -> dict[str, torch.Tensor]:
        """Divergence from the teacher's predictions, of clips as they are and of exchanged ones; and
        how far changes of the text's vectors are from those that they should be.
        """
        n = len(self.sequence)
        with training.fast_autocast(self.sequence.device.type):
            text = self.network.condition({"input_ids": self.ids, "attention_mask": self.mask})
            base, source, wanted = (text.rows(slice(k * n, (k + 1) * n)) for k in range(3))
            logits = exchanged(self.network, self.inputs, base, source, self._heads())
            aim, plain = (self._taught(k) for k in (2, 0))
        each = divergence(self.network, aim, logits, self.sequence)
        self.apart = divergence(self.network, aim, plain, self.sequence)
        weights = self.changed / (self.apart + NEAR)
        return {
            "music": each[~self.changed].mean(),
            "interchange": (weights * each).sum() / weights.sum(),
            "text": self._text(base.values.float() - wanted.values.float()),
            "silent": SILENT * self._silent(base, wanted),
        }

    def _silent(self, base, wanted):
        """How far the heads of what is not taken change from base to counterfactual, as a share of what
        the teacher's heads change in all. Of captions with equally many words.
        """
        same = self._same()
        rest = self._moved(self.network, base, wanted, same)
        with torch.no_grad():
            ends = [self._teachers_text(k) for k in (0, 2)]
            whole = self._moved(self.teacher, *ends, same)
        outside = {head: ~rows[same] for head, rows in self._heads().items()}
        astray = sum((rest[head] * outside[head]).sum() for head in rest)
        return astray / sum(each.sum() for each in whole.values()).clamp(min=1e-6)

    def _moved(self, network, one, other, rows):
        """Squared change of each head's output from one text to another: head -> [row]."""
        ends = []
        with training.fast_autocast(self.sequence.device.type):
            for text in (one, other):
                keep, kept = keeping(planting.heads())
                text = text.rows(rows)
                x = network.embed(self.inputs[rows], text)
                network.run(x, text, keep, stop=network.number[f"cross.{planting.BLOCKS - 1}"] + 1)
                ends.append(kept)
        first, second = ends
        return {
            head: (first[head] - second[head]).float().square().mean(1).sum(1) for head in first
        }

    def _same(self):
        """Which clips' base and counterfactual differ, and have equally many words."""
        n = len(self.sequence)
        lengths = self.mask.sum(1)
        return (lengths[:n] == lengths[2 * n :]) & self.changed

    @property
    def inputs(self):
        """What is read: all tokens but the last."""
        return self.sequence[..., :-1]

    def _heads(self):
        """Which rows of which heads are the source's."""
        heads = {}
        for name in (*self.structure.places, REST):
            own = self.structure.heads(name)
            rows = torch.tensor([name in what for what in self.taken], device=self.changed.device)
            heads |= dict.fromkeys(own, rows)
        return heads

    def _text(self, change):
        """What is wrong with the change of the text's vectors from counterfactual to base, as shares of
        the teacher's change: what lies outside of the subspaces of what was taken, and what is not
        the teacher's inside. (Without the second, vectors were unlearned.) Of captions with equally
        many words.
        """
        same = self._same()
        reading = self.structure.reading
        nothing = torch.zeros_like(reading[REST])
        allowed = torch.stack(
            [sum((reading[name] for name in what), nothing) for what in self.taken]
        )
        aim = self._teachers_text(0).values - self._teachers_text(2).values
        inside = torch.einsum("btd,bde->bte", change, allowed)
        wanted = torch.einsum("btd,bde->bte", aim, allowed)
        whole = aim[same].square().sum().clamp(min=1e-6)
        astray = (change - inside)[same].square().sum() / whole
        lacking = (inside - wanted)[same].square().sum() / whole
        return ASTRAY * astray + LACKING * lacking

    @torch.no_grad()
    def _taught(self, k):
        """The teacher's logits under the k-th captions."""
        return self.teacher.pass_through(self.inputs, self._teachers_text(k))

    @torch.no_grad()
    def _teachers_text(self, k):
        n = len(self.sequence)
        some = slice(k * n, (k + 1) * n)
        return self.teacher.condition(
            {"input_ids": self.ids[some], "attention_mask": self.mask[some]}
        )


def _as_people_speak(row, rng):
    """A caption of the corpus, or none, three times; nothing is taken."""
    text = row["caption"] if rng.random() < 0.7 else ""
    return (text, text, text), set()


def _asked(rows, i, rng):
    """Base, source and counterfactual, and what is taken."""
    what = taken(rng)
    base, source = both(rows, i, what, rng)
    style = int(rng.integers(2**31))
    wanted = mixed(base, source, what, rng)
    return (written(base, style), written(source, style + 1), written(wanted, style)), what
