"""Every public call that touches tensors, on the stand-in accelerator: run by ``test_standin.py``.

Each function of :data:`CALLS` takes a :class:`Subject` and returns what its user gets. It must be
the same on the CPU and on the device: in float32, and with a miniature of the released format in
half precision against float32. What is left on one device, what is read without being fetched, and
what MPS lacks raises there.

Its name makes this no test file: pytest runs it where it is asked to, in a process of its own.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import sae_lens
import standin
import torch
import xarray as xr

REGISTERED = standin.install()

from lib import prompts  # noqa: E402
from lib.methods import causal, lenses, sae, steering  # noqa: E402
from lib.methods.causal import (  # noqa: E402
    circuits,
    mediation,
    perception,
    subspaces,
    tracing,
)
from lib.methods.sae import transcoders  # noqa: E402
from lib.methods.steering import distilling, rank_one, sliders  # noqa: E402
from lib.musicgen import (  # noqa: E402
    Clips,
    Model,
    activations,
    edits,
    forward,
    graphs,
    load,
    products,
    sampling,
    sizing,
)
from lib.musicgen.activations import Edit  # noqa: E402
from lib.musicgen.noise import Noise  # noqa: E402
from lib.pages.explorer import Explorer  # noqa: E402
from lib.pages.pad import Pad  # noqa: E402

DEVICE = standin.NAME
#: Where an SAE may be while the model is on the device.
PLACES = (DEVICE, "cpu")
#: Length of the songs.
FRAMES = 5
#: In half precision: what is found step by step, by gradients, ends further away; and so does the
#: direction between groups that are nearly the same, whose difference is of a few last bits (0.28 of
#: the largest number on a CPU without half-precision arithmetic; of a wrong answer it is 1 or more).
TOLERANCES = {"locate": 0.15, "locate_between": 0.5}
HAPPY = ["a happy melody", "happy music"]
SAD = ["a sad melody", "sad music"]


@dataclasses.dataclass
class Subject:
    """A model on some device, and music to work on that was sung on the CPU."""

    model: Model
    happy: Clips
    sad: Clips
    sae: object
    acts: xr.DataArray  # of the site, on which the SAE was trained

    @property
    def site(self):
        return activations.at(self.model, 0.5)

    @property
    def seconds(self):
        return FRAMES / self.model.frame_rate

    def sing(self, **settings):
        return self.model.generate(HAPPY, self.seconds, progress=False, **settings)


CALLS = {}
#: Those that are about the model itself, and so are made of the organism, too.
OF_MODEL = []


def call(function):
    CALLS[function.__name__] = function
    return function


def call_of_model(function):
    OF_MODEL.append(function.__name__)
    return call(function)


# ------------------------------------------------------------------------------- run, read, change
@call_of_model
def generate(s):
    away = {"temperature": 0, "negative": "sad noise", "beside": SAD}
    return s.sing(), s.sing(**away), s.sing(top_k=3, cfg=1.0, batch_size=1)


@call_of_model
def encode_and_decode(s):
    audio = np.sin(np.arange(8000) / 9)[None] / 2
    return s.model.encode(audio, s.model.sample_rate), s.model.decode(s.happy.tokens)


@call_of_model
def replay(s):
    with torch.no_grad():
        logits = s.model.replay(s.happy.tokens[:1], HAPPY[:1], ("cond", "uncond"))
    assert logits.device.type == s.model.device.type
    return logits, s.model.cross_entropy(s.happy)


@call_of_model
def gradients(s):
    norm = s.model.lm.transformer.layers[0].norm1.weight
    logits = s.model.replay(s.happy.tokens[:1], HAPPY[:1])
    return torch.autograd.grad(logits.logsumexp(-1).mean(), norm)


@call_of_model
def capture(s, tmp_path):
    everything = ["*", "head.1.0", "cross_head.1.1"]
    how = {"progress": False}
    return (
        activations.capture(s.model, s.happy, everything, stream="both", **how),
        activations.capture(s.model, s.sing(), ["text", "resid.*"], how="live", **how),
        activations.capture(s.model, s.happy, s.site, reduce="mean", dtype="float16", **how),
        activations.capture(s.model, s.happy, "mlp.1", reduce=_loudest, out=tmp_path / "1", **how),
        [activations.attention(s.model, s.happy, 1, kind) for kind in ("self", "cross")],
    )


def _loudest(x):
    return x.amax(1)


def _edits(s):
    """Edits of every kind, with numbers from the CPU and from the model's own device."""
    rng = np.random.default_rng(0)
    dim = s.model.lm.dim
    vector = rng.normal(size=dim)
    plane = rng.normal(size=(2, dim))
    there = torch.tensor(vector, dtype=torch.float32, device=s.model.device)
    each = rng.normal(size=(len(HAPPY), 1, dim))
    return {
        "add": Edit(s.site, add=vector, scale=np.linspace(0, 1, len(HAPPY))),
        "add from the device": Edit(s.site, add=there, frames=slice(1, 3)),
        "replace": Edit("attn.1", replace=each, clips=[0], stream="both"),
        "multiply": Edit("mlp.*", multiply=0.5, frames=[-1]),
        "multiply a head": Edit("head.1.1", multiply=vector),
        "ablate": Edit("cross.1", ablate=there),
        "project": Edit(s.site, project=plane, scale=0.5),
        "apply": Edit(s.site, apply=lambda x: x - x.mean(-1, keepdim=True)),
        "apply on the CPU": Edit("embed", apply=lambda x: x.cpu().double() * 1.5),
        "text": Edit("cond", multiply=0.5, frames=[0]),
        "logits": Edit("logits", multiply=0.9),
        "interchange": Edit("resid.1", interchange=plane),
    }


@call_of_model
def edit(s):
    changes = _edits(s)
    with activations.edit(s.model, *changes.values()):
        songs = s.sing(beside=SAD)
    losses = {}
    for name in changes.keys() - {"interchange"}:
        with activations.edit(s.model, changes[name]):
            losses[name] = s.model.cross_entropy(s.happy)
    return songs, losses


# ------------------------------------------------------------------------------ sparse autoencoders
@call
def train_sae(s):
    """On the model's device; sae-lens draws the same weights on every device."""
    size = {"width": 16, "k": 4, "passes": 2, "batch_size": 16}
    place = s.model.device.type
    kinds = ("topk", "batchtopk")
    trained = [sae.train(s.acts, kind, device=place, progress=False, **size) for kind in kinds]
    assert all(one.W_dec.device.type == "cpu" for one in trained)
    return [dict(one.state_dict()) for one in trained]


@call
def judge_sae(s):
    random = sae.Basis(s.acts, "random", 4)
    found = []
    for place in PLACES:
        autoencoder = s.sae.to(place)
        active, table = sae.activity(autoencoder, s.acts)
        scores = sae.evaluate(autoencoder, s.model, s.site, s.happy)
        which = np.argsort(-active.max(0))[:1]
        effects = sae.effects(autoencoder, s.model, s.site, s.happy, active, which, 2, s.seconds)
        spliced = sae.evaluate(random.to(place), s.model, s.site, s.happy)
        found.append([scores, active, table, sae.features(autoencoder, s.acts), effects, spliced])
    return found


@call
def explorer(s):
    def sound(rows):
        return s.model.decode(s.happy.tokens[[0] * len(rows)]), s.model.sample_rate

    _, table = sae.activity(s.sae, s.acts)
    areas = pd.DataFrame({"emotion: happy": np.linspace(0, 1, len(table))})
    named = pd.DataFrame({"label": ["happy"] * len(table), "held_out": 0.5})
    about = (HAPPY, sound, areas, named, table["density"])
    pages = [Explorer(s.sae.to(place), s.acts, *about, [0, 3]) for place in PLACES]
    assert all("explorer" in page.html() for page in pages)
    return [[page.answer(1)["histogram"], page.answer(2)["peak"]] for page in pages]


# ------------------------------------------------------------------------------------------ causes
@call
def patch_grid(s):
    sites = [s.site, "cross.1", "head.1.0"]
    pairs = (s.model, s.happy, s.sad)
    return (
        causal.patch_grid(*pairs, sites, ranges=2, progress=False),
        causal.patch_grid(*pairs, sites[:1], "kl", ranges=[(1, 3)], progress=False),
        causal.patch_grid(*pairs, sites, how="attribution", direction="noise", progress=False),
    )


@call
def paths(s):
    senders = ["cross.1", "cross_head.1.0"]
    return causal.paths(s.model, s.happy, s.sad, senders, progress=False)


@call
def sing_cells(s):
    return causal.sing_cells(s.model, s.sing(), SAD, ["resid.1"], 2, progress=False)


@call
def locate(s):
    return _located(s, "das", "whole")


@call
def locate_between(s):
    return _located(s, "diffmeans")


def _located(s, *methods):
    pairs = _tempo_pairs(s)
    how = {"size": 2, "test": pairs, "steps": 2, "progress": False}
    return [causal.locate(s.model, pairs, "tempo", s.site, name, **how) for name in methods]


def _tempo_pairs(s):
    return subspaces.sing(s.model, prompts.interchanges("tempo", 4), s.seconds)


@call
def find_circuits(s):
    found = circuits.scores(s.model, s.happy, s.sad, "eap-ig-inputs", steps=2, progress=False)
    exact = circuits.scores(s.model, s.happy, s.sad, "exact", senders=["mlp.1"], progress=False)
    chosen = circuits.best(circuits.scores(s.model, s.happy, s.sad, "random", progress=False), 0.5)
    return found, exact, circuits.carried(s.model, s.happy, s.sad, [chosen])


@call
def look_through_lenses(s):
    # not lenses.tuned: what it keeps on disk would be found again on the other device
    maps = lenses._learned(s.model, forward.undisturbed(s.model), s.happy, 2, 0, False)
    tuned = lenses.Lens(s.model, maps.to(s.model.device))
    one, other = s.happy, s.happy.under(SAD)
    return lenses.read(s.model, one, tuned), lenses.heard_difference(s.model, one, other)


@call
def trace(s):
    recorded = list(transcoders.recorded(s.model, s.happy))
    found = [_transcoder(s.model.lm.dim, block) for block in range(len(recorded))]
    song = tracing.Song(s.model, found, s.happy[:1])
    graph = tracing.graph(song, tracing.Target(0, 2, 3))
    influence = graph.nodes.groupby("kind")["influence"].sum()
    cost = tracing.replaced(s.model, found, s.happy)
    return recorded, influence, tracing.scores(graph), tracing.checked(graph, 3), cost


def _transcoder(dim, seed):
    """One that knows nothing, the same for every device and precision."""
    size = {"d_in": dim, "d_sae": 8, "d_out": dim}
    config = sae_lens.JumpReLUTranscoderConfig(**size, apply_b_dec_to_input=False)
    made = sae_lens.JumpReLUTranscoder(config)
    generator = torch.Generator().manual_seed(seed)
    for weight in (made.W_enc, made.W_dec):
        weight.data = torch.randn(weight.shape, generator=generator) / dim**0.5
    return made


@call
def mediate(s):
    pairs = _tempo_pairs(s)
    found = causal.locate(s.model, pairs, "tempo", s.site, "random", test=pairs)
    energy = [found._replace(variable="energy")]
    effects = causal.mediate(s.model, subspaces=energy, n=2, seconds=s.seconds)
    return effects.songs, mediation.dose(s.model, "tempo", found, [1.0], n=2, seconds=s.seconds)


@call
def perceive(s):
    return perception.judge(s.model, s.happy.tokens, words=1)


# ---------------------------------------------------------------------------------------- steering
@call
def steer(s, tmp_path):
    vector = steering.direction(s.model, HAPPY, SAD, s.site, seconds=s.seconds)
    vector.save(tmp_path / "vector.safetensors")
    vector = steering.load(tmp_path / "vector.safetensors", s.model)
    how = {"strengths": [0, 0.2], "seconds": s.seconds, "progress": False}
    return (
        [vector.units, vector.norms, vector.gaps],
        steering.generate(s.model, HAPPY, vector, **how),
        steering.generate(s.model, HAPPY, vector, keep_norm=True, monitored=True, **how),
    )


@call
def learn_to_steer(s):
    """What is trained on a lesson: vectors, weights and one direction."""
    n = len(s.happy)
    lesson = (s.model, s.happy, ["music"] * n, list(s.happy.prompts), ["calm music"] * n)
    how = {"steps": 2, "batch_size": 2}
    vectors = distilling.train(*lesson, {s.site: 1.0}, **how)
    slider = sliders.train(*lesson, **how)
    with slider.applied(s.model, 1.0):
        losses = s.model.cross_entropy(s.happy)
    songs = (s.model, s.happy, s.happy, ["music"] * n)
    direction = rank_one.train(*songs, s.site, 1.0, "reft", **how)
    # Adam's first steps are as long whatever the gradient: where that is nearly zero, its sign is of
    # the last bits
    ways = {name: np.sign(weights).astype(int) for name, weights in slider.up.items()}
    return [vectors, ways, losses, direction]


@call
def judge_and_pad(s):
    judge = steering.Judge(s.model, ["cues"], n=24, seconds=s.seconds)
    vectors = [
        steering.direction(s.model, *ends, s.site, seconds=s.seconds)
        for ends in ((HAPPY, SAD), (["fast music"], ["slow music"]))
    ]
    plane = steering.calibrate(judge, vectors, HAPPY, seconds=s.seconds)
    pad = Pad(judge, plane, HAPPY[:1], side=2, seconds=s.seconds)
    answer = pad.answer({"song": 0, "path": [[0.0, 0.5], [0.5, 0.0]]})
    assert len(answer["sound"]) > 100 and "pad" in pad.html()
    return judge.hear(s.happy), plane.effect.shape, pad.heard.shape


# --------------------------------------------------------------------------- on both devices alike
class Ear:
    """A listener that is quick. Listeners hear arrays of the CPU, so that none needs a device."""

    name = "quick"

    def hear(self, measured):
        return pd.DataFrame({"valence": measured["brightness"], "arousal": measured["dynamics"]})

    profile = hear


def _measured(audios, sample_rate):
    loud = np.array([audio.std() for audio in audios])
    return pd.DataFrame({"dynamics": loud, "brightness": loud**2})


def _heard(clips, listener=None):
    return pd.DataFrame({name: clips.audio.std(1) for name in mediation.HEARD})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nothing that needs no device takes time."""
    monkeypatch.setattr("lib.hearing.listeners.get", lambda *_, **__: Ear())
    monkeypatch.setattr("lib.hearing.listeners.features", _measured)
    monkeypatch.setattr(mediation, "hear", _heard)
    monkeypatch.setattr("lib.methods.sae.influence.SHORTEST", 0.0)
    monkeypatch.setattr("lib.hearing.listeners.FEWEST_CLIPS", 1)
    monkeypatch.setattr("lib.pages.explorer.map_directions", lambda directions: [])


def _subjects(name):
    """The same model on the CPU and on the device, with the same music and the same SAE."""
    here = load(name, "cpu")
    there = load(name, DEVICE)
    seconds = FRAMES / here.frame_rate
    happy, sad = (here.generate(some, seconds, progress=False) for some in (HAPPY, SAD))
    music = here.generate(HAPPY, 8 * seconds, progress=False)
    site = activations.at(here, 0.5)
    acts = activations.capture(here, music, site, progress=False)[site]
    size = {"width": 16, "k": 4, "passes": 20, "batch_size": 16}
    autoencoder = sae.train(acts, "topk", device="cpu", progress=False, **size)
    return [Subject(model, happy, sad, autoencoder, acts) for model in (here, there)]


@pytest.fixture(scope="module")
def organism_subjects():
    return _subjects("organism")


@pytest.fixture(scope="module")
def float_subjects(folder):
    return _subjects(str(folder))


@pytest.fixture(scope="module")
def half_subjects(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing, "dtype", lambda device: "float16" if device == DEVICE else "float32")
        here, there = _subjects(str(folder))
    assert there.model.lm.emb[0].weight.dtype == torch.float16
    return here, there


def asked(function, tmp_path_factory):
    """A call as a function of the subject alone."""
    takes_path = "tmp_path" in function.__code__.co_varnames

    def ask(subject):
        return (
            function(subject, tmp_path_factory.mktemp("call")) if takes_path else function(subject)
        )

    return ask


@pytest.mark.parametrize("name", OF_MODEL)
def test_organism(name, organism_subjects, tmp_path_factory):
    here, there = map(asked(CALLS[name], tmp_path_factory), organism_subjects)
    same(here, there, tolerance=1e-3, others=0.0)


@pytest.mark.parametrize("name", CALLS)
def test_float(name, float_subjects, tmp_path_factory):
    here, there = map(asked(CALLS[name], tmp_path_factory), float_subjects)
    same(here, there, tolerance=1e-3, others=0.0)


@pytest.mark.parametrize("name", CALLS)
def test_half(name, half_subjects, tmp_path_factory):
    here, there = map(asked(CALLS[name], tmp_path_factory), half_subjects)
    same(here, there, tolerance=TOLERANCES.get(name, 0.05), others=0.3)


def same(here, there, tolerance, others, where="answer"):
    """Compare two answers part by part.

    Parameters
    ----------
    tolerance : float
        Largest difference of numbers, as a share of the largest number.
    others : float
        Share of tokens and counts that may differ: in half precision a draw may turn out otherwise,
        and so does all that follows it.
    """
    how = (tolerance, others)
    if isinstance(here, Clips):
        assert np.mean(here.tokens != there.tokens) <= others, where
        assert here.audio.shape == there.audio.shape and np.isfinite(there.audio).all(), where
    elif isinstance(here, xr.Dataset | pd.DataFrame | Mapping):
        assert list(here) == list(there), where
        for name in here:
            same(here[name], there[name], *how, f"{where}[{name!r}]")
    elif isinstance(here, list | tuple):
        assert len(here) == len(there), where
        for number, parts in enumerate(zip(here, there, strict=True)):
            same(*parts, *how, f"{where}[{number}]")
    elif here is None or isinstance(here, str):
        assert here == there, where
    else:
        _same_numbers(*map(_array, (here, there)), *how, where)


def _array(x):
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _same_numbers(here, there, tolerance, others, where):
    assert here.shape == there.shape, where
    if here.dtype.kind in "iub":
        assert np.mean(here != there) <= others, where
    elif here.dtype.kind == "f":
        size = max(np.nanmax(np.abs(here), initial=0), 1e-3)
        np.testing.assert_allclose(there, here, 0, tolerance * size, err_msg=where)
    else:
        assert (here == there).all(), where


# ------------------------------------------------------------------------------ what else must hold
def test_the_same_weights_are_the_same_model(float_subjects, half_subjects):
    """Wherever they are; but in half precision they are others."""
    here, there = (s.model.identity(audio=True) for s in float_subjects)
    half = half_subjects[1].model.identity(audio=True)
    assert here == there
    assert [part for part in here if here[part] != half[part]] == ["language model", "dtype"]


# ----------------------------------------------------------------------------- captured launches
def _counted(model, frames=FRAMES):
    """What the second of two songs takes; the first prepares what is the same for both."""
    for _ in range(2):
        standin.counts.clear()
        clips = model.generate(HAPPY, frames / model.frame_rate, seed=3, progress=False)
    return clips, dict(standin.counts)


@pytest.fixture
def uncaptured(monkeypatch):
    """As where a device has no graphs, or somebody reads on the way."""
    monkeypatch.setattr(graphs, "possible", lambda *_: False)


def test_longer_songs_need_no_more_waits(organism_subjects):
    """A GPU runs ahead of the CPU, unless a step asks it for an answer."""
    found = [_counted(organism_subjects[1].model, n)[1] for n in (FRAMES, 2 * FRAMES)]
    assert found[0]["waits"] == found[1]["waits"] < 16
    assert found[0]["uploads"] == found[1]["uploads"] < 16


def test_longer_songs_need_no_more_launches(organism_subjects):
    """A step is launched at once."""
    found = [_counted(organism_subjects[1].model, n)[1] for n in (FRAMES, 2 * FRAMES)]
    assert found[1]["launches"] - found[0]["launches"] < FRAMES
    assert found[1]["replays"] - found[0]["replays"] == FRAMES


def test_without_graphs_a_step_takes_so_many_launches(organism_subjects, uncaptured):
    model = organism_subjects[1].model
    few, many = (_counted(model, n)[1] for n in (FRAMES, 2 * FRAMES))
    assert "replays" not in many
    blocks = len(model.lm.transformer.layers)
    assert many["launches"] - few["launches"] < FRAMES * (40 * blocks + 60)
    assert (many["waits"], many["uploads"]) == (few["waits"], few["uploads"])


def test_songs_are_the_same_without_graphs(organism_subjects, request):
    here, there = (s.model for s in organism_subjects)
    with activations.edit(there, *_without_functions(organism_subjects[1])):
        captured, counts = _counted(there)
    assert counts["replays"]
    with activations.edit(here, *_without_functions(organism_subjects[0])):
        expected, _ = _counted(here)
    request.getfixturevalue("uncaptured")
    with activations.edit(there, *_without_functions(organism_subjects[1])):
        plain, counts = _counted(there)
    assert "replays" not in counts
    assert (captured.tokens == plain.tokens).all() and (plain.tokens == expected.tokens).all()


def _without_functions(subject):
    """All edits that may be captured, and that need no stream beside; some along the frames."""
    found = [e for e in _edits(subject).values() if e.operation not in ("apply", "interchange")]
    along = np.random.default_rng(1).normal(size=(len(HAPPY), 3, subject.model.lm.dim))
    scale = np.linspace(0, 1, FRAMES)[None]
    return [*found, Edit("mlp.0", add=along), Edit("attn.0", add=along[0, 0], scale=scale)]


def test_long_songs_are_captured_in_parts(organism_subjects, monkeypatch):
    here, there = (s.model for s in organism_subjects)
    expected, _ = _counted(here, 4 * FRAMES)
    monkeypatch.setattr(sampling, "REACH", 6)
    found, counts = _counted(there, 4 * FRAMES)
    assert (found.tokens == expected.tokens).all()
    steps = 4 * FRAMES + max(there.lm.pattern_provider.delays)
    assert counts["replays"] == steps - graphs.WARM * -(-steps // 6)


def test_launches_are_captured_on_the_device_of_the_tensors():
    """Which need not be the current one; what changed that is undone."""
    module = torch.get_device_module(DEVICE)
    ran = []
    again = graphs.Repeated(lambda: ran.append(module.current_device()), f"{DEVICE}:1")
    for _ in range(graphs.WARM + 2):
        again()
    assert ran == [1] * (graphs.WARM + 1) and module.current_device() == 0


def test_functions_are_captured_where_they_say_so(organism_subjects):
    here, there = (s.model for s in organism_subjects)

    def softer(x):
        return x * 0.9

    captured = activations.repeatable(lambda x: x * 0.9)
    found = []
    for model, function in ((here, softer), (there, softer), (there, captured)):
        with activations.edit(model, Edit("resid.2", apply=function)):
            clips, counts = _counted(model)
        found.append((clips.tokens.tolist(), "replays" in counts))
    tokens, were = zip(*found, strict=True)
    assert tokens[0] == tokens[1] == tokens[2] and were == (False, False, True)


def test_it_catches_what_is_counted_in_python(organism_subjects):
    """A function that says it is repeatable, and is not, does something else."""
    calls = []

    @activations.repeatable
    def counted(x):
        calls.append(1)
        return x * (-1) ** len(calls)

    found = []
    for model in (s.model for s in organism_subjects):
        with activations.edit(model, Edit("resid.2", apply=counted)):
            calls.clear()
            found.append(model.generate(HAPPY, 3 * FRAMES / model.frame_rate, progress=False))
    assert (found[0].tokens != found[1].tokens).any()


def test_it_catches_a_wait_in_what_is_captured(organism_subjects):
    model = organism_subjects[1].model
    waiting = activations.repeatable(lambda x: x * float(x.sum() > 0))
    with activations.edit(model, Edit("resid.2", apply=waiting)):
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            model.generate(HAPPY, FRAMES / model.frame_rate, progress=False)


# -------------------------------------------------------------------------------- planted faults
def test_it_catches_a_tensor_left_on_the_cpu(float_subjects, monkeypatch):
    draw = Noise.draw
    monkeypatch.setattr(Noise, "draw", lambda *given: draw(*given).cpu())
    with pytest.raises(RuntimeError, match="on the same device"):
        float_subjects[1].sing()


def test_it_catches_numbers_that_were_not_fetched(float_subjects, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: self)
    with pytest.raises(TypeError, match="to copy the tensor to host memory"):
        float_subjects[1].model.cross_entropy(float_subjects[1].happy)


def test_it_catches_float64(float_subjects, monkeypatch):
    """MPS has none, and a GPU computes it slowly."""
    tensor = edits._tensor
    monkeypatch.setattr(edits, "_tensor", lambda *given: tensor(*given).double())
    with pytest.raises(TypeError, match=r"no torch\.float64"):
        edit(float_subjects[1])


def test_it_catches_half_that_meets_float(half_subjects, monkeypatch):
    monkeypatch.setattr(products, "layer", lambda module, rows: module)
    with pytest.raises(RuntimeError, match="dtype"):
        half_subjects[1].sing()
