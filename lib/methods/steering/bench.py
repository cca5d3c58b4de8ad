"""One protocol for every way of steering: found on one part, chosen on another, reported on a third.

For every concept and aim (``tasks``), every method (``finding``) steers the same prompts under the same
seeds, and every song gets a score (``scores``). Each method's strength is the one whose songs of the
choosing part score best over all concepts, for either aim apart; that alone is taken to the reporting
part. There each method stands beside its matched control: for each prompt some draws in which all that
the method learned is drawn anew, with everything else as it is, other draws for other prompts.

From the command line, for all concepts and methods::

    python -m lib.methods.steering.bench --model organism

>>> from lib.methods.steering import bench
>>> bench.Design(concepts=["happy"]).methods[:3]
('prompt', 'guidance', 'negative')
"""

import argparse
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from ... import check, stats
from ...musicgen import activations, load
from ...musicgen.model import Clips, Model
from ...organism import world
from .. import features
from . import applying, finding, scores, tasks
from .finding import METHODS, PUSHING
from .judge import Judge
from .levers import Push, Steered

#: Strengths that are tried. Where several sites share a strength, it must be larger.
DOSES = {
    "prompt": (1.0,),
    "guidance": (2.0, 4.0),
    "negative": (1.0, 2.0),
    "text": (0.25, 0.5, 1.0),
    "word": (1.0, 2.0, 4.0),
    "cross": (1.0, 2.0, 4.0),
    "heads": (4.0, 8.0, 16.0),
    "distilled": (2.0, 4.0, 8.0),
    "slider": (2.0, 4.0),
}
#: Of methods that are not there: those of a residual stream.
STREAM_DOSES = (0.1, 0.2, 0.4)
#: Songs of a batch.
AT_ONCE = 64
#: Seeds of controls between one concept and the next.
CONCEPT_SEEDS = 10_000
#: Shares of the chosen strength at which what steering costs is measured.
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Design:
    """How much is asked.

    Attributes
    ----------
    concepts, methods : sequence of str
        Of ``tasks.KNOWN`` and ``finding.METHODS``.
    learned_from : int
        Songs of each kind that methods learn from.
    chosen_from : int
        Prompts of each task that strengths are chosen on.
    n : int
        Prompts of each task that are reported.
    draws : int
        Draws of the matched control for each prompt.
    seconds, learned_seconds : float
        Of songs that are heard, and of those that methods learn from.
    steps : int
        Of what is trained.
    depth : float
        Where residual streams are pushed.
    language : "organism" or "natural"
    doses : mapping
        Method -> strengths, where they differ from :data:`DOSES`.
    seed : int
    """

    concepts: Sequence[str] = tasks.CONCEPTS
    methods: Sequence[str] = tuple(METHODS)
    learned_from: int = 24
    chosen_from: int = 4
    n: int = 6
    draws: int = 2
    seconds: float = 3.0
    learned_seconds: float = 2.0
    steps: int = 40
    depth: float = finding.DEPTH
    language: str = "organism"
    doses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self):
        tasks.tasks(self.concepts)
        object.__setattr__(self, "methods", tuple(check.texts("methods", self.methods)))
        for method in (*self.methods, *self.doses):
            check.choice("method", method, METHODS)
        for name in ("learned_from", "chosen_from", "n"):
            check.count(name, getattr(self, name), 2)
        check.count("draws", self.draws)

    def strengths(self, method: str) -> tuple[float, ...]:
        """What is tried of a method."""
        given = self.doses.get(method, DOSES.get(method, STREAM_DOSES))
        return tuple(check.number("strength", each, 0, open_low=True) for each in given)


@dataclass(frozen=True)
class Job:
    """Songs that are to be sung, one a row.

    Attributes
    ----------
    levers : sequence
        What steers each row; None sings unsteered.
    task : Task
    rows : pd.DataFrame
    strength : float
    about : dict
        What the result is known by.
    """

    levers: Sequence[Any]
    task: tasks.Task
    rows: pd.DataFrame
    strength: float = 0.0
    about: dict = field(default_factory=dict)


def job(lever, task, rows, strength=0.0, **about) -> Job:
    """A job of one lever for all rows."""
    return Job([lever] * len(rows), task, rows, strength, about)


def sing(model: Model, jobs: Sequence[Job], seconds: float) -> list[Clips]:
    """The songs of some jobs: as many in one batch as their settings and weights allow, and those
    that are the same for several jobs once.

    Parameters
    ----------
    model : Model
    jobs : sequence of Job
    seconds : float

    Returns
    -------
    list of Clips
        One a job, of one clip a row.
    """
    units: dict[tuple, tuple[Steered, int]] = {}
    names = [[] for _ in jobs]
    for each, own in zip(jobs, names, strict=True):
        parts = _parts(model, each)
        for lever, steered, seed in zip(each.levers, parts, each.rows["seed"], strict=True):
            signed = each.task.sign * each.strength if lever else 0.0
            name = (id(lever), signed, steered.prompts[0], int(seed))
            units[name] = steered, int(seed)
            own.append(name)
    groups: dict[tuple, list[tuple]] = {}
    for name, (steered, _) in units.items():
        groups.setdefault(batch_of(steered), []).append(name)
    sung: dict[tuple, Clips] = {}
    for members in groups.values():
        for first in range(0, len(members), AT_ONCE):
            some = members[first : first + AT_ONCE]
            songs = _together(model, [units[name] for name in some], seconds)
            sung.update((name, songs[k]) for k, name in enumerate(some))
    return [_joined([sung[name] for name in some]) for some in names]


def batch_of(steered: Steered) -> tuple:
    """Songs with the same can be sung together."""
    slider, strength = steered.weights or (None, 0.0)
    return (*sorted(steered.settings.items()), id(slider), strength)


def _parts(model, each) -> list[Steered]:
    """What a job makes of each row; a lever of several rows is asked once."""
    places: dict[int, list[int]] = {}
    for place, lever in enumerate(each.levers):
        places.setdefault(id(lever), []).append(place)
    found = {}
    for some in places.values():
        steered = _steered(model, each.levers[some[0]], each, each.rows.iloc[some])
        found.update((place, steered.row(k)) for k, place in enumerate(some))
    return [found[place] for place in range(len(each.levers))]


def _steered(model, lever, each, rows):
    if lever is None:
        return Steered(list(rows[each.task.start]))
    return lever.steer(model, each.task, rows, each.strength)


def _joined(clips):
    """Several sets of clips as one."""
    return replace(
        clips[0],
        tokens=np.concatenate([some.tokens for some in clips]),
        audio=np.concatenate([some.audio for some in clips]),
        prompts=[prompt for some in clips for prompt in some.prompts],
        seeds=[seed for some in clips for seed in some.seeds],
    )


def _together(model, units, seconds):
    """Songs with the same settings and weights, in one batch."""
    parts, seeds = zip(*units, strict=True)
    prompts = [part.prompts[0] for part in parts]
    slider, strength = parts[0].weights or (None, 0.0)
    weights = slider.applied(model, strength) if slider else nullcontext()
    how = {**parts[0].settings, "batch_size": AT_ONCE, "progress": False}
    with weights, activations.edit(model, *_edits(model, parts)):
        return model.generate(prompts, seconds, list(seeds), **how)


def _edits(model, parts):
    """The edits of a batch: what is added at a site is one edit for all of its clips."""
    found = []
    longest = max(model.text_lengths([part.prompts[0] for part in parts]))
    for site in dict.fromkeys(site for part in parts for site in part.adds):
        values = [
            np.atleast_2d(part.adds[site][0]) if site in part.adds else None for part in parts
        ]
        shapes = np.array([some.shape for some in values if some is not None])
        added = np.zeros((len(parts), *shapes.max(0)), np.float32)
        for row, some in zip(added, values, strict=True):
            if some is not None:
                row[: len(some)] = some
        # a lever was asked for rows of longer prompts, too, which are sung in another batch
        added = added[:, :longest] if added.ndim == 3 else added
        found.append(activations.Edit(site, add=added))
    for site in dict.fromkeys(site for part in parts for site in part.gates):
        width = activations.sites(model, heads=True)[site].width
        nothing = (np.zeros(width), np.zeros(width), 0.0)
        gates = [part.gates.get(site, nothing) for part in parts]
        change = applying.gated(model, *map(np.stack, zip(*gates, strict=True)))
        found.append(activations.Edit(site, apply=change))
    return found


# ------------------------------------------------------------------------------------------ protocol
class Bench:
    """A model on the bench.

    Parameters
    ----------
    judge : Judge
        Of the model, with the instrument.
    design : Design
    dictionary : optional
        A sparse autoencoder of the site that is pushed; left out, a small one is trained.
    """

    def __init__(self, judge: Judge, design: Design, dictionary=None):
        self.judge = judge
        self.model = judge.model
        self.design = design
        self.tasks = tasks.tasks(design.concepts)
        self._dictionary = dictionary
        self._sung: dict[str, tuple] = {}

    def rows(self, concept: str, part: str) -> pd.DataFrame:
        """The rows of a part, as from ``tasks.rows``."""
        design = self.design
        count = {"choose": design.chosen_from, "report": design.n}[part]
        return tasks.rows(concept, part, count, design.language, design.seed)

    @cached_property
    def lessons(self) -> dict[str, finding.Lesson]:
        """What each concept is learned from."""
        design = self.design
        dictionary = self._dictionary
        if dictionary is None and {"feature", "selection"} & set(design.methods):
            dictionary = finding.dictionary(self.model, design.depth)
        how = {"seconds": design.learned_seconds, "depth": design.depth, "seed": design.seed}
        how |= {"language": design.language, "steps": design.steps, "dictionary": dictionary}
        norms: dict = {}
        return {
            concept: finding.lesson(self.model, concept, design.learned_from, norms=norms, **how)
            for concept in design.concepts
        }

    @cached_property
    def levers(self) -> dict[tuple[str, str], Any]:
        """(method, concept) -> what steers."""
        return {
            (method, concept): finding.find(method, lesson)
            for method in self.design.methods
            for concept, lesson in self.lessons.items()
        }

    # ------------------------------------------------------------------------------------- songs
    def unsteered(self, task: tasks.Task, part: str) -> tuple[Clips, Clips, scores.Unsteered]:
        """Songs of the task's own prompts, twice, the second under seeds of no other song; and what
        they are like.
        """
        rows = self.rows(task.concept, part)
        name = str((list(rows[task.start]), part))
        if name not in self._sung:
            again = rows.assign(seed=rows["seed"] + tasks.SEEDS // 2)
            jobs = [job(None, task, some) for some in (rows, again)]
            songs = sing(self.model, jobs, self.design.seconds)
            plain = scores.unsteered(self.judge, *songs, list(rows["neutral"]))
            self._sung[name] = *songs, plain
        return self._sung[name]

    def score(self, jobs: Sequence[Job], part: str) -> pd.DataFrame:
        """Sing some jobs and score their songs: one row a song, with what the job is known by."""
        found = []
        sung = sing(self.model, jobs, self.design.seconds)
        heard = self.judge.hear(_joined(sung))
        ends = np.cumsum([len(songs) for songs in sung])
        for each, songs, end in zip(jobs, sung, ends, strict=True):
            *_, plain = self.unsteered(each.task, part)
            answers = heard.iloc[end - len(songs) : end].reset_index(drop=True)
            rest = (list(each.rows["kept"]), plain, answers, list(each.rows["neutral"]))
            scored = scores.score(self.judge, songs, each.task, *rest)
            about = {**each.task._asdict(), "strength": each.strength, **each.about}
            found.append(scored.assign(row=each.rows.index, **about))
        return pd.concat(found, ignore_index=True)

    # ------------------------------------------------------------------------------------- parts
    def choose(self) -> pd.DataFrame:
        """The songs of the choosing part, every method at every strength; and unsteered ones, of
        strength 0 and no method.
        """
        jobs = []
        for task in self.tasks:
            rows = self.rows(task.concept, "choose")
            jobs.append(job(None, task, rows, method=""))
            jobs += [
                job(self.levers[method, task.concept], task, rows, strength, method=method)
                for method in self.design.methods
                for strength in self.design.strengths(method)
            ]
        return self.score(jobs, "choose")

    def report(self, points: Mapping[tuple[str, str], float]) -> pd.DataFrame:
        """The songs of the reporting part: every method at its chosen strength, and its matched
        control; and unsteered ones.

        Parameters
        ----------
        points : mapping
            (method, aim) -> strength, from :func:`points`.

        Returns
        -------
        pd.DataFrame
            As of :meth:`score`, with method, and draw: which of a prompt's draws of the control it
            is, -1 of the method itself.
        """
        jobs = []
        drawn: dict = {}
        for task in self.tasks:
            rows = self.rows(task.concept, "report")
            jobs.append(job(None, task, rows, method="", draw=-1))
            for method in self.design.methods:
                lever = self.levers[method, task.concept]
                strength = points[method, task.aim]
                jobs.append(job(lever, task, rows, strength, method=method, draw=-1))
                for draw in range(self.design.draws):
                    levers = [
                        self._drawn(lever, task.concept, place, draw, drawn)
                        for place in range(len(rows))
                    ]
                    about = {"method": method, "draw": draw}
                    jobs.append(Job(levers, task, rows, strength, about))
        return self.score(jobs, "report")

    def _drawn(self, lever, concept, place, draw, drawn):
        """A draw of a lever's control: other ones for other concepts and prompts, the same for both
        aims.
        """
        name = (lever.family, concept, place, draw)
        if name not in drawn:
            own = CONCEPT_SEEDS * list(self.lessons).index(concept)
            number = own + place * self.design.draws + draw
            drawn[name] = lever.anywhere(self.design.seed + number)
        return drawn[name]

    def doses(self, method: str, points: Mapping[tuple[str, str], float]) -> pd.DataFrame:
        """The songs of the reporting part at shares of the chosen strength (:data:`SHARES`), with a
        column share; 0 is unsteered.
        """
        jobs = []
        for task in self.tasks:
            rows = self.rows(task.concept, "report")
            lever = self.levers[method, task.concept]
            for share in (0.0, *SHARES):
                strength = share * points[method, task.aim]
                jobs.append(job(lever, task, rows, strength, method=method, share=share))
        return self.score(jobs, "report")

    def detection(self) -> pd.DataFrame:
        """How well each direction tells songs that were asked for the concept from others, of the
        reporting part: columns method, concept and auroc.
        """
        pushes = {name: lever for name, lever in self.levers.items() if isinstance(lever, Push)}
        rows = []
        for concept in self.design.concepts:
            own = {name: lever for name, lever in pushes.items() if name[1] == concept}
            sites = sorted({site for lever in own.values() for site in lever.vector.units})
            groups = self._asked_and_others(concept) if own else ()
            values = [_means(self.model, songs, sites) for songs in groups]
            kinds = np.repeat([True, False], [len(songs) for songs in groups])
            for (method, _), lever in own.items():
                along = np.concatenate([lever.detect(some) for some in values])
                area = float(features.auroc(along[:, None], kinds)[0])
                rows.append({"method": method, "concept": concept, "auroc": area})
        return pd.DataFrame(rows, columns=["method", "concept", "auroc"])

    def _asked_and_others(self, concept):
        """Songs under prompts with the concept's words; and under neutral ones and its
        contrary's.
        """
        asks = tasks.Task(concept, "suppress")
        asked, *_ = self.unsteered(asks, "report")
        neutral, *_ = self.unsteered(tasks.Task(concept, "induce"), "report")
        rows = self.rows(concept, "report")
        contrary = rows.assign(high=rows["low"])
        (contrary,) = sing(self.model, [job(None, asks, contrary)], self.design.seconds)
        tokens = np.concatenate([neutral.tokens, contrary.tokens])
        prompts = [*neutral.prompts, *contrary.prompts]
        return asked, self.model.clips(tokens, prompts, decode=False)

    def played(self, method: str, task: tasks.Task, strength: float, row: int) -> dict:
        """A song of the reporting part without steering, steered, by one draw of its control, and as
        it was asked for: name -> audio.
        """
        rows = self.rows(task.concept, "report").iloc[[row]]
        lever = self.levers[method, task.concept]
        jobs = {"unsteered": job(None, task, rows), "steered": job(lever, task, rows, strength)}
        jobs["control"] = job(lever.anywhere(self.design.seed + row), task, rows, strength)
        asked = rows.assign(**{task.start: rows[task.asked]})
        jobs["asked"] = job(None, task, asked)
        songs = sing(self.model, list(jobs.values()), self.design.seconds)
        return {name: some.audio[0] for name, some in zip(jobs, songs, strict=True)}


def _means(model, songs, sites):
    """Means over frames or tokens, site -> [clip, dim]."""
    found = activations.capture(model, songs, sites, reduce="mean", progress=False)
    return {site: found[site].values for site in sites}


# -------------------------------------------------------------------------------------- what follows
def points(chosen: pd.DataFrame) -> dict[tuple[str, str], float]:
    """The strength of each method and aim whose songs score best, over all concepts of
    :meth:`Bench.choose`; of equal ones the lowest.
    """
    steered = chosen[chosen["method"] != ""]
    means = steered.groupby(["method", "aim", "strength"])["score"].mean()
    best = means.groupby(level=["method", "aim"]).idxmax()
    return {(method, aim): float(strength) for method, aim, strength in best}


def best(chosen: pd.DataFrame, among: Iterable[str] = PUSHING) -> str:
    """The method whose songs score best on the choosing part, at its best strengths."""
    means = chosen.groupby(["method", "aim", "strength"])["score"].mean()
    tops = means.groupby(level=["method", "aim"]).max().groupby(level="method").mean()
    return str(tops[tops.index.isin(list(among))].idxmax())


def against_control(reported: pd.DataFrame, method: str) -> np.ndarray:
    """Score of a method's song minus the mean of its control's draws, one number a prompt of a
    task.
    """
    some = reported[reported["method"] == method]
    unit = ["concept", "aim", "row"]
    own = some[some["draw"] < 0].set_index(unit)["score"]
    control = some[some["draw"] >= 0].groupby(unit)["score"].mean()
    return (own - control.reindex(own.index)).to_numpy()


def numbers(reported: pd.DataFrame, method: str) -> dict[str, np.ndarray]:
    """What the rules of the book decide by, for one method: benched, as_asked and kept."""
    unit = ["concept", "aim", "row"]
    own = reported[reported["draw"] < 0].set_index(unit)
    steered, asked = (own[own["method"] == name] for name in (method, "prompt"))
    asked = asked.reindex(steered.index)
    named = [tasks.keeps(name) == "instrument" for name, *_ in steered.index]
    kept = steered["recognised"] - 0.8 * asked["recognised"]
    return {
        "benched": against_control(reported, method),
        "as_asked": (steered["score"] - asked["score"] + 0.1).to_numpy(),
        "kept": kept.to_numpy()[named],
    }


def dealt(reported: pd.DataFrame, method: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """:func:`numbers` (benched alone) of a subject whose method is as good as any draw of its
    control: which song counts as steered is dealt anew for every prompt.
    """
    some = reported[reported["method"] == method]
    songs = some.pivot(index=["concept", "aim", "row"], columns="draw", values="score")
    mixed = rng.permuted(songs.to_numpy(), axis=1)
    return {"benched": mixed[:, 0] - mixed[:, 1:].mean(1)}


def table(
    reported: pd.DataFrame, detected: pd.DataFrame, by: Sequence[str] = ("method", "aim")
) -> pd.DataFrame:
    """The table of the bench: one row a method and aim (or concept, too).

    Parameters
    ----------
    reported, detected : pd.DataFrame
        From :meth:`Bench.report` and :meth:`Bench.detection`.
    by : sequence of str
        Of method, concept and aim.

    Returns
    -------
    pd.DataFrame
        Columns of ``by``, strength, score, control, above (score minus control), success, kept and
        quality: estimates over prompts; and auroc, mean over concepts.
    """
    rows = []
    areas = detected.groupby([n for n in by if n in ("method", "concept")])["auroc"].mean()
    for names, some in reported[reported["method"] != ""].groupby(list(by), sort=False):
        told = dict(zip(by, names, strict=True))
        method = told["method"]
        own, control = some[some["draw"] < 0], some[some["draw"] >= 0]
        row = {**told, "strength": float(own["strength"].mean())}
        row["score"] = stats.mean(own["score"])
        row["control"] = stats.mean(control.groupby(["concept", "aim", "row"])["score"].mean())
        row["above"] = stats.mean(against_control(some, method))
        row |= {name: stats.mean(own[name]) for name in ("success", "kept", "quality")}
        key = [told[name] for name in by if name in ("method", "concept")]
        row["auroc"] = areas.get(tuple(key) if len(key) > 1 else key[0], None)
        rows.append(row)
    return pd.DataFrame(rows)


def passing(reported: pd.DataFrame) -> pd.DataFrame:
    """Which methods do better than their control: one row a method.

    Returns
    -------
    pd.DataFrame
        Columns method, above (Estimate over prompts of tasks), p (t test of nothing, after Holm's
        correction over methods) and better (whether p is below 0.05 and it lies above 0).
    """
    names = [name for name in dict.fromkeys(reported["method"]) if name]
    values = [against_control(reported, name) for name in names]
    p = [1.0 if np.std(v) == 0 else float(scipy.stats.ttest_1samp(v, 0).pvalue) for v in values]
    corrected = stats.correct(p)
    rows = [
        {
            "method": n,
            "above": stats.mean(v),
            "p": float(q),
            "better": bool(q < 0.05 and v.mean() > 0),
        }
        for n, v, q in zip(names, values, corrected, strict=True)
    ]
    return pd.DataFrame(rows)


def curve(chosen: pd.DataFrame, method: str, aim: str) -> pd.DataFrame:
    """Alignment against preservation over the strengths of a method: one row a strength, unsteered
    first; columns strength, alignment and preservation (estimates over prompts).
    """
    each = _by_strength(chosen, method, aim)
    rows = [
        {
            "strength": strength,
            "alignment": stats.mean(some["success"]),
            "preservation": stats.mean(scores.preserved(some)),
        }
        for strength, some in each
    ]
    return pd.DataFrame(rows)


def area(chosen: pd.DataFrame, method: str, aim: str) -> stats.Estimate:
    """Area under :func:`curve`; its interval resamples prompts."""
    parts = [some for _, some in _by_strength(chosen, method, aim)]
    alignment, preservation = (
        np.stack([values(some) for some in parts], 1)
        for values in (lambda some: some["success"].to_numpy(), scores.preserved)
    )
    return scores.area_over_prompts(alignment, preservation)


def _by_strength(chosen, method, aim):
    """(strength, songs) of a method and the unsteered, songs in the same order."""
    some = chosen[(chosen["aim"] == aim) & chosen["method"].isin(["", method])]
    return [(s, part.sort_values(["concept", "row"])) for s, part in some.groupby("strength")]


def overhead(bench: Bench, strengths: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Seconds of a sweep of all methods over the reporting part, and of as many unsteered songs in
    batches of the same sizes.

    Returns
    -------
    dict
        sweep, unsteered and ratio.
    """
    swept: dict[tuple, list[Job]] = {}
    for (method, concept), lever in bench.levers.items():
        for task in tasks.tasks([concept]):
            each = job(lever, task, bench.rows(concept, "report"), strengths[method, task.aim])
            steered = _steered(bench.model, lever, each, each.rows)
            swept.setdefault(batch_of(steered), []).append(each)
    seconds = {}
    for name, keep in (("sweep", True), ("unsteered", False)):
        start = time.perf_counter()
        for number, some in enumerate(swept.values()):
            plain = [_unsteered(each, 1000 * number + k) for k, each in enumerate(some)]
            sing(bench.model, some if keep else plain, bench.design.seconds)
        seconds[name] = time.perf_counter() - start
    return {**seconds, "ratio": seconds["sweep"] / seconds["unsteered"]}


def _unsteered(each, number):
    """The same rows without steering, under seeds of their own so that every song is sung."""
    rows = each.rows.assign(seed=each.rows["seed"] + 20 * tasks.SEEDS + 1000 * number)
    return job(None, each.task, rows)


def run(judge: Judge, design: Design, dictionary=None) -> dict:
    """The whole protocol: bench, chosen, points, reported and detected."""
    bench = Bench(judge, design, dictionary)
    chosen = bench.choose()
    at = points(chosen)
    found = {"bench": bench, "chosen": chosen, "points": at}
    return {**found, "reported": bench.report(at), "detected": bench.detection()}


def main(argv=None):
    """The command line; an input that is refused ends with its message instead of a traceback."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="organism")
    parser.add_argument("--concepts", nargs="+", default=list(tasks.CONCEPTS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("-n", type=int, default=6, help="prompts of each task that are reported")
    arguments = parser.parse_args(argv)
    try:
        _do(arguments)
    except (ValueError, FileNotFoundError, MemoryError) as error:
        sys.exit(f"{error}")


def _do(arguments):
    design = Design(arguments.concepts, arguments.methods, n=arguments.n)
    model = load(arguments.model)
    if world.of(model) is None:
        design = replace(design, language="natural")
    found = run(Judge(model), design)
    for by in (("method", "aim"), ("method", "concept", "aim")):
        shown = table(found["reported"], found["detected"], by)
        print(shown.map(lambda value: str(value).split(", n")[0]).to_string(index=False))
    print(passing(found["reported"]).to_string(index=False))
    seconds = overhead(found["bench"], found["points"])
    print(", ".join(f"{name} {value:.2f}" for name, value in seconds.items()))


if __name__ == "__main__":
    main()
