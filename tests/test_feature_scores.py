"""Scores of features by the field's own measures: near 1 where the truth is planted, chance in noise."""

import copy
import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from lib import sae
from lib.hearing import moments
from lib.methods.sae import batches, benchmark, codes, crosscoding, exporting, scoring
from lib.musicgen import activations

CLIPS, FRAMES, DIM = 400, 20, 24
CUES = ("tempo", "mode", "register", "brightness")
SCHEMA = json.loads((Path(__file__).parent / "neuronpedia.schema.json").read_text())


@pytest.fixture(scope="module")
def labels():
    """Independent cues of clips, and an emotion that follows two of them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(CLIPS, len(CUES))), columns=list(CUES))
    table["mode"] = np.sign(table["mode"])
    happy = (table["mode"] > 0) & (table["tempo"] > 0)
    sad = (table["mode"] < 0) & (table["tempo"] < 0)
    table.insert(0, "emotion", np.select([happy, sad], ["happy", "sad"], "calm"))
    return table


@pytest.fixture(scope="module")
def planted(labels):
    """Two features a cue, one for each end, along axes of their own; and others about nothing."""
    rng = np.random.default_rng(1)
    ends = [sign * labels[cue].to_numpy() for cue in CUES for sign in (1, -1)]
    told = np.maximum(np.stack(ends, 1) - 0.3, 0)
    noise = rng.exponential(size=(CLIPS, 8)) * (rng.random((CLIPS, 8)) < 0.4)
    axes = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    directions = np.concatenate(
        [np.repeat(axes[:4], 2, 0) * np.tile([1, -1], 4)[:, None], axes[4:12]]
    )
    return codes.Code(np.concatenate([told, noise], 1), directions)


@pytest.fixture(scope="module")
def train():
    return np.arange(CLIPS) < CLIPS // 2


def mixed(code, seed=2):
    """The same clips in a basis that has nothing to do with the features, both signs."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    along = (code.activity @ code.directions) @ turned.T
    parts = [np.maximum(along, 0), np.maximum(-along, 0)]
    return codes.Code(np.concatenate(parts, 1), np.concatenate([turned, -turned]))


def vectors(code, seed=3):
    rng = np.random.default_rng(seed)
    return code.activity @ code.directions + 0.05 * rng.normal(size=(CLIPS, DIM))


# ------------------------------------------------------------------------------------------- labels
def test_a_clip_excites_a_feature_or_leaves_it_silent():
    sparse = np.array([0, 0, 0, 0, 0, 0, 0, 1, 2, 3.0])
    dense = np.arange(1.0, 11)
    active, silent = scoring.excited(np.stack([sparse, dense, np.zeros(10)], 1))
    assert active.sum(0).tolist() == [3, 4, 0] and silent.sum(0).tolist() == [7, 4, 10]
    with pytest.raises(ValueError, match="must not be negative"):
        scoring.excited(-np.ones((3, 1)))


def test_detection_is_near_one_for_right_labels_and_chance_for_none(planted, labels, train):
    found = scoring.detection(planted.activity, labels, train)
    assert list(found["label"][:4]) == ["tempo high", "tempo low", "mode high", "mode low"]
    assert found["rises"].tolist()[:4] == [True, False, True, False]
    assert found["held_out"][:8].min() > 0.95
    assert found["held_out"][8:].mean() == pytest.approx(0.5, abs=0.06)
    assert found["learned"][8:].mean() > 0.53  # a choice flatters: why others judge
    shuffled = labels.sample(frac=1, random_state=0).reset_index(drop=True)
    null = scoring.detection(planted.activity, shuffled, train)
    assert null["held_out"].mean() == pytest.approx(0.5, abs=0.05)


def test_detection_asks_from_the_features_side(labels, train):
    """A feature that answers in a tenth of the fast clips, and nowhere else, has a right label."""
    rng = np.random.default_rng(0)
    fast = (labels["tempo"] > 0.5).to_numpy()
    rare = (fast & (rng.random(CLIPS) < 0.3)).astype(float)[:, None]
    found = scoring.detection(rare, labels, train).loc[0]
    assert found["label"] == "tempo high" and found["held_out"] > 0.7
    never = scoring.detection(np.zeros((CLIPS, 1)), labels, train).loc[0]
    assert np.isnan(never["held_out"]) and np.isnan(never["learned"])


def test_fuzzing_tells_frames_of_one_clip_apart(train):
    rng = np.random.default_rng(0)
    level = rng.normal(size=(CLIPS, FRAMES))
    measures = np.stack([level, rng.normal(size=(CLIPS, FRAMES))], 2)
    whole = np.repeat(rng.random((CLIPS, 1)), FRAMES, 1)  # the same in all frames of a clip
    active = np.stack([level > 0.5, level < -0.5, rng.random(level.shape) < 0.3, whole > 0.5], 2)
    found = scoring.fuzzing(active.astype(np.float32), measures, ["level", "other"], train)
    assert found["measure"][0] == found["measure"][1] == "level"
    assert found["sign"].tolist()[:2] == [1, -1]
    assert found["held_out"][:2].min() > 0.99
    assert found["held_out"][2] == pytest.approx(0.5, abs=0.03)
    assert np.isnan(found["held_out"][3]) and found["clips"][3] == 0
    others = scoring.fuzzing(
        active.astype(np.float32), np.roll(measures, 1, 0), ["level", "other"], train
    )
    assert others["held_out"][:3].to_numpy() == pytest.approx(0.5, abs=0.03)


def test_an_intruder_is_found_by_ear_and_a_hard_one_by_what_the_label_does_not_say(labels):
    """Feature 0 follows tempo alone: a hard intruder is like the others in all that matters. Feature
    1 follows tempo and register, and its label says tempo."""
    tempo, register = labels["tempo"], labels["register"]
    both = (tempo > 0.4) & (register > 0.2)
    activity = np.stack([(tempo > 0.4) * tempo, both * 1.0], 1)
    found = pd.DataFrame({"question": ["tempo high"] * 2, "rises": [True] * 2})
    numbers = labels[list(CUES)] + 0.01
    played = scoring.intruder(activity, found, labels, numbers[["tempo", "register"]], trials=200)
    assert played["easy"].min() > 0.55
    assert played["hard"][1] > played["hard"][0] + 0.1
    deaf = [numbers.sample(frac=1, random_state=i) for i in range(12)]  # measures of other clips
    null = [scoring.intruder(activity, found, labels, some, trials=50) for some in deaf]
    assert np.mean(null, (0, 1)) == pytest.approx(0.2, abs=0.05)
    rare = np.zeros((CLIPS, 1))
    rare[:3] = 1
    assert scoring.intruder(rare, found[:1], labels, numbers).isna().all(axis=None)


def test_an_intruder_for_a_class_has_the_same_class(labels):
    happy = (labels["emotion"] == "happy").to_numpy()
    loud = np.random.default_rng(0).random(CLIPS) > 0.5
    activity = (happy & loud).astype(float)[:, None]
    found = pd.DataFrame({"question": ["happy"], "rises": [True]})
    measures = pd.DataFrame({"happy": happy * 1.0, "loud": loud * 1.0})
    played = scoring.intruder(activity, found, labels, measures, trials=100).loc[0]
    assert played["hard"] > 0.9  # it is happy, too, and not loud
    silent = scoring.intruder(happy[:, None] * 1.0, found, labels, measures, trials=10).loc[0]
    assert np.isnan(silent["hard"])  # every happy clip excites it


# ------------------------------------------------------------------------------------------- probes
def test_one_planted_feature_is_as_good_as_all_dimensions(planted, labels, train):
    x = vectors(planted)
    activity = {"planted": planted.activity, "mixed": mixed(planted).activity}
    found = benchmark.k_sparse(activity, x, labels[["tempo", "mode"]], train, sizes=[1, 5])
    assert found["k"].tolist() == [1, 5] * 2 and found["target"].nunique() == 2
    for row in found.itertuples():
        assert row.planted.value > 0.95 and row.dense.value > 0.95
        assert row.planted.low <= row.planted.value <= row.planted.high
    one = found[found["k"] == 1]
    assert np.mean([e.value for e in one["mixed"]]) < 0.85
    noise = np.random.default_rng(0).normal(size=(CLIPS, DIM))
    null = benchmark.k_sparse({"noise": noise}, noise, labels[list(CUES)], train)
    values = [e.value for e in [*null["noise"], *null["dense"]]]
    assert np.mean(values) == pytest.approx(0.5, abs=0.04)
    with pytest.raises(ValueError, match="both answers"):
        benchmark.k_sparse(activity, x, pd.DataFrame({"same": ["a"] * CLIPS}), train)


def test_planted_features_are_taken_out_alone(planted, labels, train):
    x = vectors(planted)
    cues = labels[list(CUES)]
    found = benchmark.perturbation(x, planted, cues, train, sizes=[1, 2])
    two = found[found["size"] == 2]
    assert two["intended"].min() > 0.3 and two["unintended"].abs().max() < 0.05
    assert two["tpp"].to_numpy() == pytest.approx((two["intended"] - two["unintended"]).to_numpy())
    others = benchmark.perturbation(x, mixed(planted), cues, train, sizes=[1])
    assert others["tpp"].mean() < two["tpp"].mean() / 2
    with pytest.raises(ValueError, match="Two questions or more"):
        benchmark.perturbation(x, planted, labels[["tempo"]], train)
    with pytest.raises(ValueError, match=r"code.directions must be an array"):
        benchmark.perturbation(x[:, 1:], planted, cues, train)


def test_what_a_cue_went_along_with_is_removed(planted, labels, train):
    x = vectors(planted)
    cues = labels[["tempo", "register"]]
    found = benchmark.removal(x, planted, cues, train, sizes=[2])
    assert set(found["target"]) == {"tempo high", "register high"}
    assert (found["balanced"] - found["biased"]).min() > 0.05
    share = benchmark.removed_share(found)
    # both orders are one pair
    assert share.value > 0.6 and share.n == 1 and np.isnan(share.low)
    noise = codes.Code(np.random.default_rng(0).random((CLIPS, 6)), planted.directions[8:14])
    null = benchmark.removed_share(benchmark.removal(x, noise, cues, train, sizes=[2]))
    assert null.value == pytest.approx(0, abs=0.15)
    same = pd.DataFrame({"one": labels["tempo"], "other": labels["tempo"] + 1e-9})
    with pytest.raises(ValueError, match="all four combinations"):
        benchmark.removal(x, planted, same, train)


def test_a_share_is_of_one_size_and_has_an_interval_over_pairs_of_either_order():
    rows = [
        ("a", "b", 1, 0.5, 0.9, 0.7),
        ("b", "a", 1, 0.5, 0.7, 0.6),
        ("a", "c", 1, 0.6, 0.8, 0.8),
        ("c", "a", 1, 0.6, 0.8, 0.8),
        ("b", "c", 1, 0.6, 0.6, 0.6),
    ]
    columns = ["target", "spurious", "size", "biased", "balanced", "removed"]
    found = pd.DataFrame(rows, columns=columns).assign(scr=[0.5, 0.5, 1, 1, np.nan])
    share = benchmark.removed_share(found)
    assert share.value == pytest.approx(0.7) and share.n == 2
    assert share.low <= share.value <= share.high
    assert np.isnan(benchmark.removed_share(found[4:]).value)
    several = pd.concat([found, found.assign(size=5)])
    with pytest.raises(ValueError, match=r"rows of one size. Got \[1, 5\]"):
        benchmark.removed_share(several)


@pytest.mark.parametrize("score", [benchmark.perturbation, benchmark.removal])
def test_sizes_are_any_iterable(planted, labels, train, score):
    asked = vectors(planted), planted, labels[["tempo", "register"]], train
    pd.testing.assert_frame_equal(score(*asked, sizes=iter((1, 2))), score(*asked, sizes=(1, 2)))
    with pytest.raises(ValueError, match="size must be"):
        score(*asked, sizes=[0])


def test_each_source_is_given_its_own_feature():
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(500, 3))
    copies = np.concatenate([-2 * sources[:, [2, 0]], rng.normal(size=(500, 5))], 1)
    found = benchmark.correlation(sources, copies)
    assert found[[0, 2]] == pytest.approx(1) and found[1] < 0.2
    assert benchmark.correlation(sources, copies[:, :1]).tolist().count(0) == 2
    assert benchmark.correlation(np.ones((500, 1)), copies).tolist() == [0]


def test_axes_of_a_subspace_are_those_that_are_used():
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    rows = rng.normal(size=(900, 6)) * [1.0, 3.0, 0.2, 9.0, 9.0, 9.0] @ turned
    mixed_up = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ turned[:3]
    found = benchmark.principal_axes(rows, mixed_up, 2)
    assert np.abs(found @ turned[[1, 0]].T) == pytest.approx(np.eye(2), abs=0.1)
    with pytest.raises(ValueError, match="count must be an integer, from 1 to 3"):
        benchmark.principal_axes(rows, mixed_up, 4)


def test_averages_are_over_features_that_have_a_score():
    scores, learned = [0.9, np.nan, 0.7, 0.1], [0.8, 0.99, 0.9, np.nan]
    assert scoring.average(scores).n == 3
    best = scoring.average(scores, learned, 3)
    assert best.value == pytest.approx(0.8) and best.n == 2
    assert np.isnan(scoring.average([0.5, np.nan]).value)


# -------------------------------------------------------------------------------------------- codes
@pytest.fixture(scope="module")
def acts():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, FRAMES, DIM)) @ rng.normal(size=(DIM, DIM)) + 2.0
    return xr.DataArray(x.astype(np.float32), dims=("clip", "frame", "dim"), name="resid.1")


def test_a_basis_has_two_features_an_axis(acts):
    basis = sae.Basis(acts, "random", 3)
    every = codes.frames(basis, acts)
    assert every.shape == (40, FRAMES, 2 * DIM) and every.min() == 0
    assert ((every > 0).sum(-1) <= 3).all()
    found = codes.code(basis, acts)
    assert found.activity == pytest.approx(every.mean(1), abs=1e-5)
    again = every @ found.directions + basis.mean.numpy()
    kept = basis(torch.from_numpy(acts.values)).numpy()
    assert again == pytest.approx(kept, abs=1e-3)
    holes = acts.copy(deep=True)
    holes[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        codes.code(basis, holes)
    with pytest.raises(ValueError, match="acts must be"):
        codes.code(basis, acts[..., 1:])


# ------------------------------------------------------------------------------------------- moments
def test_what_sounds_is_measured_where_it_sounds():
    rate, frame_rate = 16_000, 25
    time = np.arange(2 * rate) / rate
    tone = 0.2 * np.sin(2 * np.pi * np.where(time < 1, 220, 1760) * time)
    tone[: rate // 2] *= 0.05
    found = moments.measure(tone[None], rate, frame_rate)[0]
    level, onset, brightness, register = found.T
    assert found.shape == (50, 4) and np.isfinite(found).all()
    assert level[15:45].min() - level[2:10].max() > 15
    assert brightness[30:].min() > brightness[2:22].max() + 2
    assert register[30:48].min() > register[14:22].max() + 2
    assert abs(int(onset.argmax()) - 12) <= 1 or abs(int(onset.argmax()) - 25) <= 1
    with pytest.raises(ValueError, match="frame_rate must be a divisor"):
        moments.measure(tone[None], rate, 27)
    with pytest.raises(ValueError, match="one length"):
        moments.measure([tone, tone[: rate + 9]], rate, frame_rate)


# --------------------------------------------------------------------------------------- crosscoder
SHARED, OWN = 12, 4


@pytest.fixture(scope="module")
def two_models():
    """Activations of two models in bases of their own: 12 features of both, 4 of each alone."""
    rng = np.random.default_rng(5)
    n = SHARED + 2 * OWN
    z = rng.exponential(size=(300, 32, n)) * (rng.random((300, 32, n)) < 0.08)
    directions = [rng.normal(size=(n, DIM)) for _ in range(2)]
    directions = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in directions]
    directions[0][SHARED + OWN :] = 0
    directions[1][SHARED : SHARED + OWN] = 0
    parts = [
        scale * (z @ d) + 3 + 0.02 * rng.normal(size=(*z.shape[:2], DIM))
        for scale, d in zip((1.0, 9.0), directions, strict=True)
    ]
    dims = ("clip", "frame", "dim")
    return z, [xr.DataArray(x.astype(np.float32), dims=dims) for x in parts]


@pytest.fixture(scope="module")
def crosscoder(two_models):
    _, acts = two_models
    learned = [some[:200] for some in acts]
    how = {"width": 32, "k": 1.6, "passes": 60, "batch_size": 256, "lr": 1e-2}
    return crosscoding.train(*learned, **how, progress=False)


def test_a_crosscoder_says_whose_a_feature_is(crosscoder, two_models):
    z, acts = two_models
    held_out = [some[200:] for some in acts]
    flat = z[200:].reshape(-1, z.shape[-1])
    found = crosscoder.codes(*held_out).reshape(len(flat), -1)
    found = found + 1e-6 * np.random.default_rng(0).normal(size=found.shape)  # some are silent
    matrix = np.corrcoef(flat.T, found.T)[: z.shape[-1], z.shape[-1] :]
    assert matrix.max(1).min() > 0.95
    best = matrix.argmax(1)
    relative = crosscoder.relative[best]
    assert relative[:SHARED] == pytest.approx(0.5, abs=0.05)
    assert relative[SHARED : SHARED + OWN].max() < 0.1 and relative[SHARED + OWN :].min() > 0.9
    scaled = crosscoding.scaling(crosscoder, *held_out)
    assert (scaled["alone"].iloc[best[:SHARED]] == "").all()
    assert (scaled["alone"].iloc[best[SHARED : SHARED + OWN]] == "first").all()
    assert (scaled["alone"].iloc[best[SHARED + OWN :]] == "second").all()
    assert scaled["error"].iloc[best[:SHARED]].min() > 0.9
    assert scaled["error"].iloc[best[SHARED:]].max() < 0.1


def test_latent_scaling_sees_through_shrinkage(crosscoder, two_models):
    """Directions of shared features in the second model are set to nothing, as a penalty may do:
    by their norms they are the first model's alone, by its activations they are not."""
    _, acts = two_models
    held_out = [some[200:] for some in acts]
    before = crosscoding.scaling(crosscoder, *held_out)
    both = before.index[(before["by_norm"] == "") & (before["error"] > 0.9)][:3].to_numpy()
    shrunk = copy.deepcopy(crosscoder.s)
    shrunk.W_dec.data = shrunk.W_dec.data.clone()
    shrunk.W_dec.data[both, DIM:] *= 0.01
    deceived = crosscoding.Crosscoder(shrunk, crosscoder.means, crosscoder.scales)
    found = crosscoding.scaling(deceived, *held_out).loc[both]
    assert (found["by_norm"] == "first").all() and (found["alone"] == "").all()
    assert found["error"].min() > 0.9


def test_what_one_model_alone_says_is_told_from_what_the_other_says(crosscoder, two_models):
    """One shared feature is turned up in the first model, another in the second."""
    z, acts = two_models
    directions = [
        np.linalg.lstsq(z.reshape(-1, 20), x.values.reshape(-1, DIM) - 3)[0] for x in acts
    ]
    low = [x[200:260] for x in acts]
    high = [x + 4 * d[i] for x, d, i in zip(low, directions, (2, 5), strict=True)]
    first, second = crosscoding.moved(crosscoder, low, high)
    every = crosscoder.codes(*[x[200:] for x in acts]).reshape(-1, 32)
    noise = 1e-6 * np.random.default_rng(0).normal(size=every.shape)
    flat = z[200:].reshape(-1, 20)
    best = np.corrcoef(flat.T, (every + noise).T)[:20, 20:].argmax(1)
    assert first.mean(0).argmax() == best[2] and second.mean(0).argmax() == best[5]
    same = crosscoding.alike(first, first)
    assert same.value == pytest.approx(1) and crosscoding.alike(first, second).high < 0.3
    with pytest.raises(ValueError, match="other must be an array"):
        crosscoding.alike(first, second[:3])


def test_a_crosscoder_is_kept_and_refuses_what_is_none(crosscoder, two_models, monkeypatch):
    _, acts = two_models
    how = {"width": 32, "k": 1.6, "passes": 60, "batch_size": 256, "lr": 1e-2}
    with monkeypatch.context() as patch:
        patch.setattr(batches.Rows, "batches", lambda *_: pytest.fail("trained again"))
        again = crosscoding.train(*[some[:200] for some in acts], **how, progress=False)
    assert torch.equal(again.s.W_dec, crosscoder.s.W_dec)
    with pytest.raises(ValueError, match=r"of two models\. Got activations of 1"):
        crosscoding.train(acts[0])
    with pytest.raises(ValueError, match="same clips and frames"):
        crosscoding.train(acts[0], acts[1][:5])
    with pytest.raises(ValueError, match="do not vary"):
        crosscoding.train(acts[0], acts[1] * 0)


# --------------------------------------------------------------------------------------- Neuronpedia
@pytest.fixture(scope="module")
def exported(organism, tmp_path_factory):
    clips = organism.generate(["a sad melody", "a happy melody"] * 6, 0.8, 3, progress=False)
    acts = activations.capture(organism, clips, "resid.3", progress=False)["resid.3"]
    s = sae.train(acts, "topk", 32, 4, passes=8, batch_size=64, progress=False)
    folder = tmp_path_factory.mktemp("neuronpedia")
    files = exporting.export(s, organism, "resid.3", clips, acts, folder, "res-book", batch=20)
    return s, clips, acts, folder, files


def test_batches_have_the_published_schema(exported):
    s, clips, acts, _, files = exported
    assert [file.name for file in files] == ["batch-0.json", "batch-1.json"]
    contents = [json.loads(file.read_text()) for file in files]
    for content in contents:
        jsonschema.validate(content, SCHEMA)
        assert content["model_id"] == "organism" and content["layer"] == 3
    rows = [row for content in contents for row in content["features"]]
    assert [row["feature_index"] for row in rows] == list(range(32))
    every = codes.frames(s, acts)
    for row in rows:
        z = every[..., row["feature_index"]]
        assert row["frac_nonzero"] == pytest.approx((z > 0).mean())
        assert sum(row["freq_hist_data_bar_heights"]) == (z > 0).sum()
        peaks = [max(example["values"]) for example in row["activations"]]
        if z.max() > 0:
            assert peaks[0] == max(peaks) == pytest.approx(z.max(), abs=1e-3)
            top = row["activations"][0]
            assert top["values"][top["qualifying_token_index"]] == peaks[0]
            clip = int(z.max(1).argmax())
            assert top["tokens"] == [f"0:{token}" for token in clips.tokens[clip, 0]]
        else:
            assert row["activations"] == []


def test_features_are_encoded_some_clips_at_a_time(exported, organism, tmp_path, monkeypatch):
    """And once more for every file where memory holds no more than one file's."""
    s, clips, acts, _, files = exported
    encoded = []
    encode = s.encode
    monkeypatch.setattr(s, "encode", lambda x: (encoded.append(len(x)), encode(x))[1])
    monkeypatch.setattr(exporting, "BYTES", 1)
    monkeypatch.setattr(batches, "BLOCK", 5)
    given = (s, organism, "resid.3", clips, acts, tmp_path, "res-book")
    again = exporting.export(*given, which=range(1, 32, 2), batch=10)
    assert encoded == 2 * [5, 5, 2]
    rows = [row for file in again for row in json.loads(file.read_text())["features"]]
    before = [row for file in files for row in json.loads(file.read_text())["features"]]
    assert rows == before[1::2]


def test_logits_are_those_of_the_heads(exported, organism):
    s, _, _, _, files = exported
    row = json.loads(files[0].read_text())["features"][0]
    codebook, token = map(int, row["pos_str"][0].split(":"))
    lm = organism.lm
    direction = s.W_dec[0].detach()
    normed = (direction - direction.mean()) * lm.out_norm.weight
    value = (lm.linears[codebook].weight[token] @ normed).item()
    assert row["pos_values"][0] == pytest.approx(value, abs=2e-3)
    assert row["pos_values"] == sorted(row["pos_values"], reverse=True)
    assert row["neg_values"] == sorted(row["neg_values"])
    assert sum(row["logits_hist_data_bar_heights"]) == len(lm.linears) * lm.card


def test_the_sae_beside_them_is_read_by_sae_lens(exported):
    import sae_lens

    s, _, acts, folder, _ = exported
    there = sae_lens.SAE.load_from_disk(str(folder))
    assert there.cfg.metadata.neuronpedia_id == "organism/3-res-book"
    assert s.cfg.metadata.neuronpedia_id is None  # the one that was given is left as it was
    x = torch.from_numpy(acts.values[:2])
    assert torch.equal(there.encode(x), s.encode(x))


def test_what_cannot_be_exported_is_told(exported, organism, tmp_path):
    s, clips, acts, *_ = exported
    given = (s, organism, "resid.3", clips, acts, tmp_path / "x")
    with pytest.raises(ValueError, match="site must be one with the number"):
        exporting.export(s, organism, "text", clips, acts, tmp_path / "x", "res-book")
    with pytest.raises(ValueError, match="name must be letters"):
        exporting.export(*given, "../res")
    with pytest.raises(ValueError, match="which must be integers"):
        exporting.export(*given, "res", which=[99])
    with pytest.raises(ValueError, match="must be equally long"):
        exporting.export(s, organism, "resid.3", clips[:2], acts, tmp_path / "x", "res")
    assert not (tmp_path / "x").exists()
