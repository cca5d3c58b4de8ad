"""A blind listening test and its analysis: what people hear, when they cannot know what they should hear.

Everybody rates every clip alone, then says of two versions of the same item which one is more of something. The page needs
no server and no network and names no condition; only the key, which the experimenter keeps, says which clip is which.
Simulated raters with known effects answer in the page's own format: they show what the analysis finds, not what people hear.
"""

import base64
import hashlib
import html
import itertools
import json
import re
import uuid
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
import statsmodels.api as sm
import statsmodels.formula.api as smf

from lib import show, stats
from lib.stats import Estimate

HERE = Path(__file__).parent
SCRIPT, STYLE = (HERE / "listening.js").read_text(), (HERE / "listening.css").read_text()
VERSION = 1  # of the page and of the files it hands out
POINTS = 9
#: Scale -> question, name of its low end (1), name of its high end (9): the two scales of the Self-Assessment Manikin
#: (Bradley and Lang 1994), asked of the music and not of the listener.
RATINGS = {
    "valence": ("How does the music sound: sad or happy?", "very sad, unpleasant", "very happy, pleasant"),
    "arousal": ("How does the music sound: calm or excited?", "very calm, sleepy", "very excited, awake"),
}
FIELDS = {"answers", "checksum", "finished", "participant", "source", "started", "test", "version"}


# ------------------------------------------------------------------------------------------ the page
@dataclass(frozen=True)
class ListeningTest:
    """A test to hand out, shown inline in a notebook.

    Attributes
    ----------
    data : dict
        All that the page holds: clips under names that say nothing, questions, and who hears what in which order.
    key : dict
        For the experimenter alone: ``clips`` {name: [condition, item]}, ``conditions`` (the first is the reference), and
        what :func:`read` needs to check answers.
    """

    data: dict
    key: dict

    def _part(self, ears):
        name = f"l{uuid.uuid4().hex[:8]}"
        data = json.dumps(self.data, separators=(",", ":")).replace("</", "<\\/")
        return (
            f'<style>{STYLE}</style><div id="{name}" class="listening" role="group" aria-label="Listening test" '
            f'data-lm-suppress-shortcuts="true"></div><script>(()=>{{{SCRIPT}\n'
            f"const root=document.getElementById('{name}');listening(root,{data},{ears})}})()</script>"
        )

    def _repr_html_(self):
        return self._part("root")

    @property
    def html(self) -> str:
        """The page that stands alone. Its policy forbids it to fetch or send anything."""
        policy = (
            "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
        )
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width,initial-scale=1"><meta http-equiv="Content-Security-Policy" content="{policy}">'
            f'<link rel="icon" href="data:,"><title>{html.escape(self.data["title"])}</title></head>'
            f'<body style="margin:0">{self._part("document")}</body></html>'
        )

    def save(self, folder) -> Path:
        """Write index.html, to hand out, and key.json, to keep. Returns the page's path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(self.html, encoding="utf-8")
        (folder / "key.json").write_text(json.dumps(self.key, indent=1), encoding="utf-8")
        return folder / "index.html"


def williams(n: int) -> np.ndarray:
    """Balanced Latin square [order, position]: over its n orders (2n if n is odd) every thing stands equally often at every
    position, and follows every other one equally often (Williams 1949)."""
    first = [(i + 1) // 2 if i % 2 else -(i // 2) for i in range(n)]
    rows = (np.array(first, int) + np.arange(n)[:, None]) % max(n, 1)
    return rows if n % 2 == 0 else np.concatenate([rows, rows[:, ::-1]])


def page(
    clips: dict[str, dict[str, np.ndarray]], sample_rate: int, *, title: str, seed: int = 0,
    ratings: dict[str, tuple[str, str, str]] = RATINGS, comparisons: Sequence[tuple[str, str]] | None = None,
    question: tuple[str, str] = ("happier", "Which one sounds happier?"),
) -> ListeningTest:  # fmt: skip
    """Make a blind test. Participant p gets row p of a balanced Latin square, first of the clips, then of the pairs; the sides
    of half of the pairs are swapped, of the other half for the next participant.

    Parameters
    ----------
    clips : dict
        {condition: {item: audio [shape=(sample,)]}}; every condition has the same items. The first condition is the reference.
    sample_rate : int
        Hz.
    title : str
        What participants read; it must not name a condition.
    seed : int
        Which clip gets which name and place.
    ratings : dict
        {scale: (question, name of 1, name of 9)}; empty for no ratings.
    comparisons : sequence of (condition, condition), optional
        Pairs of conditions that are compared within every item; by default all, empty for none.
    question : (scale, text)
        What is asked of a pair.

    Raises
    ------
    ValueError
        Fewer than two conditions, items that differ between them, unknown conditions, nothing to ask, audio that is not
        finite mono, or a text that names a condition.
    """
    conditions, items = list(clips), list(next(iter(clips.values()), {}))
    if len(conditions) < 2 or not items or any(set(of) != set(items) for of in clips.values()):
        there = {c: list(of) for c, of in clips.items()}
        raise ValueError(f"clips needs two or more conditions with the same items. Got {there}.")
    compared = list(itertools.combinations(conditions, 2) if comparisons is None else map(tuple, comparisons))
    if any(len({*pair} & {*conditions}) != 2 or len(pair) != 2 for pair in compared):
        raise ValueError(f"comparisons must be pairs of two of {conditions}. Got {compared}.")
    if not ratings and not compared:
        raise ValueError("A test needs ratings or comparisons. Got neither.")
    told = [title, *question, *(text for scale, texts in ratings.items() for text in (scale, *texts))]
    for name, text in itertools.product(conditions, told):
        if re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE):
            raise ValueError(f"Participants would read the condition {name!r} in {text!r}: not a blind test.")
    sounds = {(c, i): clips[c][i] for c in conditions for i in items}
    digest = hashlib.sha256(repr([VERSION, title, seed, ratings, compared, question, list(sounds)]).encode())
    for audio in sounds.values():
        digest.update(np.ascontiguousarray(audio, np.float32).tobytes())
    rng = np.random.default_rng(int(digest.hexdigest()[32:], 16))
    names = [f"c{k + 1:02d}" for k in rng.permutation(len(sounds))]
    named = dict(zip(sounds, names, strict=True))
    trials = [([named[c, i] for c in pair], j + k) for j, pair in enumerate(compared) for k, i in enumerate(items)]
    rating = np.array(sorted(names))[williams(len(names))].tolist() if ratings else []
    orders = {"rating": rating, "pair": _sides([trials[k] for k in rng.permutation(len(trials))])}
    common = {"test": digest.hexdigest()[:12], "version": VERSION, "title": title, "orders": orders}
    told = {name: [*which] for which, name in named.items()}
    key = {"conditions": conditions, "ratings": list(ratings), "pair": question[0], "clips": told}
    scales = [dict(zip(("name", "question", "low", "high"), (s, *t), strict=True)) for s, t in ratings.items()]
    coded = {
        name: base64.b64encode(show.mp3(sounds[tuple(told[name])], sample_rate, small=True)).decode()
        for name in sorted(names)
    }
    data = {"ratings": scales, "pair": dict(zip(("name", "question"), question, strict=True)), "clips": coded}
    return ListeningTest(common | data, common | key)


def _sides(trials):
    """Orders of pairs, each a ([name, name], number): half of them are swapped, and the other half in the next order; all is
    turned over in the second round, so that no pair's side goes with its position."""
    rounds = itertools.product(range(2), enumerate(williams(len(trials))))
    return [
        [trials[k][0][:: -1 if (trials[k][1] + row + turn) % 2 else 1] for k in order] for turn, (row, order) in rounds
    ]


# ------------------------------------------------------------------------------------------ answers
def seal(body: dict) -> str:
    """The text of an answer file: canonical JSON with the SHA-256 of itself without the checksum. It shows accidents and
    edits by hand; it is no signature."""
    return _canonical(body | {"checksum": hashlib.sha256(_canonical(body).encode()).hexdigest()})


def _canonical(x):
    return json.dumps(x, sort_keys=True, separators=(",", ":"))


def _plan(key, participant):
    """What a participant is asked, in order: (kind, clips)."""
    rows = {kind: of[(participant - 1) % len(of)] if of else [] for kind, of in key["orders"].items()}
    return [("rating", [c]) for c in rows["rating"]] + [("pair", list(c)) for c in rows["pair"]]


def read(files: Iterable, key) -> pd.DataFrame:
    """Answers of all participants, checked.

    Parameters
    ----------
    files : iterable of path
        What the page handed out, one file a participant.
    key : dict or path
        ``ListeningTest.key``, or its key.json.

    Returns
    -------
    pd.DataFrame
        One row an answer: participant, source ("page" or "simulated"), kind ("rating" or "pair"), scale, item, condition
        and other (of a pair: what played as A and as B), position (of the question, from 1), answer (1 to 9; of a pair 1
        for A, 0 for B), seconds.

    Raises
    ------
    ValueError
        No file, or one that is no JSON, changed, of another test, incomplete, malformed, or of a participant who is there
        already; it names the file and says what to do.
    """
    key = key if isinstance(key, dict) else json.loads(Path(key).read_text(encoding="utf-8"))
    seen, rows = {}, []
    for file in map(Path, files):
        data = _checked(file, key)
        if (first := seen.setdefault(data["participant"], file)) is not file:
            raise ValueError(
                f"{file}: participant {data['participant']} has answered already in {first}. Every participant needs a "
                "number of their own and counts once: leave one of both files out."
            )
        for position, given in enumerate(data["answers"], 1):
            (condition, item), (other, _) = (key["clips"][c] for c in (given["clips"] * 2)[:2])
            pair = given["kind"] == "pair"
            rows += [
                (data["participant"], data["source"], given["kind"], scale, item, condition, other if pair else "",
                 position, 2 - value if pair else value, given["ms"] / 1000)
                for scale, value in given["answer"].items()
            ]  # fmt: skip
    if not rows:
        raise ValueError("No answer files. Expected the answers-*.json that the page hands out.")
    columns = ["participant", "source", "kind", "scale", "item", "condition", "other", "position", "answer", "seconds"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"condition": pd.CategoricalDtype(key["conditions"])})


def _checked(file, key):
    """An answer file, if it is whole."""

    def refuse(expected, got, do):
        raise ValueError(f"{file}: expected {expected}. Got {got}. {do}")

    again = "Ask for the file as it was downloaded."
    try:
        data = json.loads(file.read_bytes())
    except ValueError as error:
        refuse("the JSON that the page hands out", error, again)
    if not isinstance(data, dict) or set(data) != FIELDS:
        refuse(f"the fields {sorted(FIELDS)}", sorted(data) if isinstance(data, dict) else type(data).__name__, again)
    if json.loads(seal({k: v for k, v in data.items() if k != "checksum"}))["checksum"] != data["checksum"]:
        refuse("the checksum of its content", f"{data['checksum']!r}: something was changed", again)
    if (data["test"], data["version"]) != (key["test"], key["version"]):
        refuse(
            f"answers to test {key['test']}, version {key['version']}", f"{data['test']!r}, {data['version']!r}",
            "Use the key that was saved with the page that was handed out.",
        )  # fmt: skip
    who = data["participant"]
    if type(who) is not int or who < 1 or data["source"] not in ("page", "simulated"):
        refuse(
            "a participant number from 1 on and the source 'page' or 'simulated'", f"{who!r}, {data['source']!r}", again
        )
    expected, given = _plan(key, who), data["answers"]
    try:
        trials = [(a["kind"], a["clips"]) for a in given]
    except (TypeError, KeyError) as error:
        refuse("answers with kind and clips", f"{type(error).__name__} {error}", again)
    if missing := [f"{kind} of {' and '.join(clips)}" for kind, clips in expected if (kind, clips) not in trials]:
        do = f"Ask participant {who} to open the page again with the same number: it goes on where they stopped."
        refuse(f"{len(expected)} answers", f"{len(given)}; missing: {', '.join(missing)}", do)
    if trials != expected:
        refuse(f"the {len(expected)} questions of participant {who} in their order", f"{len(given)} others", again)
    for a in given:
        scales, most = (key["ratings"], POINTS) if a["kind"] == "rating" else ([key["pair"]], 2)
        if set(a) != {"answer", "clips", "kind", "ms", "plays"} or not isinstance(a["answer"], dict):
            refuse("answer, clips, kind, ms and plays", a, again)
        if set(a["answer"]) != set(scales) or not all(type(v) is int and 1 <= v <= most for v in a["answer"].values()):
            refuse(f"whole numbers from 1 to {most} for {scales} of {a['clips']}", a["answer"], again)
        if not all(type(a[k]) is int and a[k] >= low for k, low in (("ms", 0), ("plays", len(a["clips"])))):
            refuse(f"whole ms from 0 and plays from {len(a['clips'])}", (a["ms"], a["plays"]), again)
    return data


# ------------------------------------------------------------------------------------------ analysis
def _part(table, kind, scale):
    part = table[(table["kind"] == kind) & (table["scale"] == scale if scale else True)]
    if part["participant"].nunique() < 3 or part["scale"].nunique() != 1:
        there = sorted(set(table.loc[table["kind"] == kind, "scale"]))
        raise ValueError(
            f"Needs {kind}s on one scale by three or more participants. Got scale {scale!r} (there are {there}) by "
            f"{part['participant'].nunique()}."
        )
    return part


def _effects(names, values, errors, n):
    """Wald tests with t quantiles at n - 1 degrees of freedom: participants are the units, and they may be few."""
    reach, p = scipy.stats.t.ppf(0.975, n - 1) * errors, 2 * scipy.stats.t.sf(np.abs(values / errors), n - 1)
    estimates = [Estimate(float(v), float(v - r), float(v + r), n) for v, r in zip(values, reach, strict=True)]
    return pd.DataFrame({"condition": names, "effect": estimates, "p": p, "p_holm": stats.correct(p)})


def ratings(table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """How far each condition moves a rating from the reference, which is the first category of ``condition``.

    A linear mixed model by restricted maximum likelihood, answer ~ condition, with crossed random effects of participant and
    item (Baayen, Davidson and Bates 2008) and of participant by condition, without which raters who differ in their taste
    make chance significant (Barr et al. 2013). It speaks of other raters and of these items: few items cannot say how
    conditions would act on others.

    Returns
    -------
    pd.DataFrame
        One row a condition but the reference: condition, effect (Estimate, points of the scale), p, p_holm (Holm 1979).
    """
    part = _part(table, "rating", scale)
    part = part.assign(condition=part["condition"].cat.remove_unused_categories())
    crossed = {
        "participant": "0 + C(participant)", "item": "0 + C(item)", "taste": "0 + C(participant):C(condition)",
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of zero is a result, not a failure
        model = smf.mixedlm("answer ~ C(condition)", part, groups=np.ones(len(part)), vc_formula=crossed)
        fit = model.fit(reml=True, method="powell")
    names = list(part["condition"].cat.categories[1:])
    values, errors = fit.fe_params.to_numpy()[1:], fit.bse_fe.to_numpy()[1:]
    return _effects(names, values, errors, part["participant"].nunique())


def preferences(table: pd.DataFrame, scale: str | None = None) -> pd.DataFrame:
    """Bradley-Terry strengths from the pairs: log odds of being chosen against the reference (Bradley and Terry 1952).

    Logistic regression, logit P(A is chosen) = strength of A - strength of B + side. Every two conditions that were
    compared share one more comparison that both half won, so that a condition that always wins has a finite strength. The
    standard error is the larger one of the model's and of that clustered by participant (Liang and Zeger 1986).

    Returns
    -------
    pd.DataFrame
        One row a condition but the reference, and the last "(the first clip)", the bias for what is heard first: condition,
        effect (Estimate, logits), preferred (Estimate, share against the reference), p, p_holm.
    """
    part = _part(table, "pair", scale)
    names = list(part["condition"].cat.categories)
    a, b = (pd.Categorical(part[side], names).codes for side in ("condition", "other"))
    one = np.eye(len(names), len(names) + 1)
    won = np.array([one[i] - one[j] for i, j in sorted({(min(p), max(p)) for p in zip(a, b, strict=True)})])
    x = one[a] - one[b] + np.eye(len(names) + 1)[-1]  # the last column is the side
    used = np.flatnonzero(np.abs(x).any(0))[1:]
    y = np.concatenate([part["answer"], np.ones(len(won)), np.zeros(len(won))])
    weights = np.repeat([1.0, 0.5], [len(x), 2 * len(won)])
    model = sm.GLM(y, np.concatenate([x, won, won])[:, used], sm.families.Binomial(), freq_weights=weights)
    fit = model.fit()
    rest = x[:, used] * (y - fit.fittedvalues)[: len(x), None]
    sums = pd.DataFrame(rest).groupby(part["participant"].to_numpy()).sum().to_numpy()
    n, bread = len(sums), np.asarray(fit.cov_params())
    clustered = bread @ sums.T @ sums @ bread * n / (n - 1)
    errors = np.sqrt(np.maximum(np.diag(clustered), np.diag(bread)))
    found = _effects([[*names, "(the first clip)"][k] for k in used], fit.params, errors, n)
    found.insert(2, "preferred", [Estimate(*map(float, scipy.special.expit(e[:3])), n) for e in found["effect"]])
    return found


class Agreement(NamedTuple):
    """Intraclass correlation of one rater, ICC(2,1), and of the mean of all of them, ICC(2,k)."""

    single: Estimate
    mean: Estimate


def agreement(table: pd.DataFrame, scale: str, n_resamples: int = 2000, seed: int = 0) -> Agreement:
    """Do people agree? Absolute agreement of raters about clips, both drawn at random (Shrout and Fleiss 1979).

    With mean squares of the two-way analysis of variance for n clips (BMS), k raters (JMS) and the rest (EMS):
    ICC(2,1) = (BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n), ICC(2,k) = (BMS - EMS) / (BMS + (JMS - EMS) / n).
    The same numbers are means over pairs of raters, which the bootstrap over raters needs: a rater who is drawn twice is
    never compared with themselves, which would look like agreement.

    Raises
    ------
    ValueError
        Fewer than three raters, or one who has not rated all clips.
    """
    part = _part(table, "rating", scale)
    grid = part.pivot_table(index=["item", "condition"], columns="participant", values="answer", observed=True)
    if grid.isna().any(axis=None) or len(grid) < 2:
        raise ValueError(f"Agreement needs all ratings of two or more clips. Got a table {grid.shape} with gaps.")
    x = grid.to_numpy()
    n, k = x.shape
    cov, apart = np.cov(x.T), (x.mean(0)[:, None] - x.mean(0)) ** 2 / 2

    def single(raters):
        times = np.bincount(raters, minlength=k)
        pairs = np.outer(times, times) * (1.0 - np.eye(k))
        clip = (pairs * cov).sum() / pairs.sum()
        noise = np.diag(cov) @ times / times.sum() - clip
        return clip / (clip + noise + (pairs * apart).sum() / pairs.sum() - noise / n)

    one = stats.bootstrap(single, np.arange(k), n_resamples=n_resamples, seed=seed)
    many = [k * v / (1 + (k - 1) * v) for v in one[:3]]  # Spearman and Brown
    return Agreement(one, Estimate(*many, k))


# ------------------------------------------------------------------------------------------ simulation
class Spread(NamedTuple):
    """How simulated raters differ: standard deviations in points of the scale, and logits for the first clip of a pair.

    Assumptions of an order that ratings of music have, not measurements: replace them by those of a pilot.
    """

    rater: float = 1.0  #: use of the scale
    item: float = 0.7
    taste: float = 0.5  #: each rater's own view of each condition
    noise: float = 1.3
    side: float = 0.2


TYPICAL = Spread()


def simulate(
    test: ListeningTest,
    raters: int,
    effects: dict[str, dict[str, float]],
    folder,
    *,
    spread: Spread = TYPICAL,
    seed: int = 0,
) -> list[Path]:
    """Answer files of simulated raters with known effects, in the page's format but for their source, "simulated".

    Parameters
    ----------
    test : ListeningTest
    raters : int
        Participants 1 to ``raters``.
    effects : dict
        {scale: {condition: effect}}: points for ratings, logits for the pairs' scale; 0 for what is not named.
    folder : path
        Where the files go.

    Raises
    ------
    ValueError
        A scale or condition that the test does not have.
    """
    key, folder = test.key, Path(folder)
    scales = [*key["ratings"], key["pair"]]
    if unknown := (set(effects) - set(scales)) | ({c for of in effects.values() for c in of} - set(key["conditions"])):
        raise ValueError(f"effects name {sorted(unknown)}; the test has {scales} and {key['conditions']}.")
    folder.mkdir(parents=True, exist_ok=True)
    rng, files = np.random.default_rng(seed), []
    items = sorted({item for _, item in key["clips"].values()})
    liked = {(s, i): rng.normal(0, spread.item) for s in scales for i in items}
    effect = {(s, c): effects.get(s, {}).get(c, 0.0) for s in scales for c in key["conditions"]}
    for who in range(1, raters + 1):
        bias = {s: rng.normal(0, spread.rater) for s in scales}
        taste = {sc: rng.normal(0, spread.taste) for sc in effect}
        answers = []
        for kind, clips in _plan(key, who):
            (c, item), (other, _) = (key["clips"][name] for name in (clips * 2)[:2])
            if kind == "rating":
                means = {s: effect[s, c] + bias[s] + liked[s, item] + taste[s, c] for s in key["ratings"]}
                answer = {s: int(_points(m + rng.normal(0, spread.noise))) for s, m in means.items()}
            else:
                logit = effect[key["pair"], c] - effect[key["pair"], other] + spread.side
                answer = {key["pair"]: 1 if rng.random() < scipy.special.expit(logit) else 2}
            ms, plays = int(rng.integers(4000, 12000)), len(clips)
            answers.append({"answer": answer, "clips": clips, "kind": kind, "ms": ms, "plays": plays})
        body = {k: key[k] for k in ("test", "version")} | {
            "participant": who,
            "source": "simulated",
            "answers": answers,
        }
        files.append(folder / f"answers-{key['test']}-{who}.json")
        files[-1].write_text(seal(body | {"started": "", "finished": ""}))
    return files


def _points(x):
    """What a rater ticks: whole points around the middle of the scale."""
    return np.clip(np.round(5 + np.asarray(x)), 1, POINTS).astype(int)


def power(
    effect: float, raters: int, items: int, *, spread: Spread = TYPICAL, comparisons: int = 1, repetitions: int = 1000,
    seed: int = 0,
) -> Estimate:  # fmt: skip
    """How often a test finds an effect: share of simulated tests with p < 0.05 / ``comparisons``.

    The analysis is the paired t-test of two conditions over raters' means, which is what the mixed model comes to when every
    rater hears every item in both.

    Parameters
    ----------
    effect : float
        Points of the scale; 0 gives the rate of false alarms.
    raters, items : int
    spread : Spread
    comparisons : int
        Conditions tested against the reference: Bonferroni's bound, the strictest step of Holm's.

    Returns
    -------
    Estimate
        With Wilson's interval for the number of repetitions.
    """
    if raters < 3 or items < 1:
        raise ValueError(f"Power needs three or more raters and one or more items. Got {raters} and {items}.")
    rng, shape = np.random.default_rng(seed), (repetitions, raters)
    base = rng.normal(0, spread.rater, shape)[..., None] + rng.normal(0, spread.item, (repetitions, 1, items))
    low, high = (
        _points(
            base + shift + rng.normal(0, spread.taste, shape)[..., None] + rng.normal(0, spread.noise, (*shape, items))
        ).mean(2)
        for shift in (0.0, effect)
    )
    change = high - low
    t = change.mean(1) / np.maximum(change.std(1, ddof=1) / np.sqrt(raters), 1e-12)
    return stats.proportion(2 * scipy.stats.t.sf(np.abs(t), raters - 1) < 0.05 / comparisons)


def needed(effect: float, items: int, wanted: float = 0.8, most: int = 200, **how) -> int | None:
    """The fewest raters whose test finds an effect with power ``wanted``, or None if ``most`` do not suffice."""
    few, many = 3, most
    if power(effect, many, items, **how).value < wanted:
        return None
    while few < many:
        middle = (few + many) // 2
        if power(effect, middle, items, **how).value < wanted:
            few = middle + 1
        else:
            many = middle
    return many
