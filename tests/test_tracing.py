"""Transcoders and attribution graphs: exact where they must be, and checked by intervention."""

import dataclasses

import numpy as np
import pytest
import torch

from lib import activations, model, sae
from lib.methods.causal import tracing
from lib.methods.sae import transcoders

K = 4
PROMPTS = ["a sad violin melody", "a happy piano song", "a fast flute tune", "calm guitar music"]


@pytest.fixture(scope="module")
def m():
    return model.load("organism")


@pytest.fixture(scope="module")
def clips(m):
    return m.generate(PROMPTS, 0.6, 3, progress=False)


@pytest.fixture(scope="module")
def recorded(m, clips):
    return list(transcoders.recorded(m, clips))


@pytest.fixture(scope="module")
def found(m, recorded, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr("lib.methods.sae.keeping.FOLDER", tmp_path_factory.mktemp("saes"))
    how = {"batch_size": 32, "passes": 60, "progress": False}
    learned = [sae.transcoder(m, acts, 12, K, **how) for acts in recorded]
    patch.undo()
    return learned


@pytest.fixture(scope="module")
def song(m, found, clips):
    return tracing.Song(m, found, clips[:1])


@pytest.fixture(scope="module")
def graph(song, clips):
    token = int(clips.tokens[0, 0, 5])
    return tracing.graph(song, tracing.Target(0, 5, token))


# -------------------------------------------------------------------------------------- transcoders
def test_what_mlps_read_and_write_is_recorded(m, clips, recorded):
    own = activations.capture(m, clips, ["mlp.0", "mlp.5"], progress=False)
    frames = clips.tokens.shape[-1]
    for block in (0, 5):
        acts = recorded[block]
        assert acts.name == f"mlp.{block}"
        assert acts.shape == (4, frames + 3, 320)
        read, written = torch.from_numpy(acts.values).chunk(2, -1)
        part = m.lm.transformer.layers[block]
        with torch.no_grad():
            again = part.linear2(part.activation(part.linear1(read)))
        assert again.numpy() == pytest.approx(written.numpy(), abs=1e-4)
        captured = own[f"mlp.{block}"].values  # aligned to the frames of codebook 0
        assert captured == pytest.approx(written.numpy()[:, :frames], abs=1e-3)


def test_blocks_are_recorded_in_groups_that_fit(m, clips, recorded, monkeypatch):
    monkeypatch.setattr(transcoders, "BYTES", 1)
    for one, other in zip(transcoders.recorded(m, clips), recorded, strict=True):
        assert one.equals(other)


def test_clips_are_recorded_in_their_own_order(m):
    """Batches are of equally long prompts, which need not stand side by side."""
    prompts = ["sad music", "a very calm and slow piano tune", "fast music"]
    few = m.clips(np.random.default_rng(0).integers(0, 9, (3, m.lm.n_q, 4)), prompts, decode=False)
    together = next(transcoders.recorded(m, few)).values
    for i in range(3):
        alone = next(transcoders.recorded(m, few[[i]])).values
        assert together[[i]] == pytest.approx(alone, abs=1e-3)


def test_a_transcoder_says_what_an_mlp_adds(found, recorded):
    for transcoder, acts in zip(found, recorded, strict=True):
        assert type(transcoder).__name__ == "JumpReLUTranscoder"
        assert transcoder.W_dec.norm(dim=1).tolist() == pytest.approx([1] * 12, abs=1e-4)
        quality = transcoders.quality(transcoder, acts)
        assert quality["l0"] == pytest.approx(K, abs=1)
        assert quality["explained_variance"] > 0.3
    swapped = transcoders.quality(found[0], recorded[3])
    assert swapped["explained_variance"] < 0


def test_a_known_mlp_is_found():
    """Rows that a sparse dictionary made: its features are found again, both directions of each."""
    from lib.methods import features
    from lib.methods.sae import training
    from lib.methods.sae.batches import Rows

    rng = np.random.default_rng(0)
    active = rng.exponential(size=(6000, 10)) * (rng.random((6000, 10)) < 0.15)
    listened = np.linalg.qr(rng.normal(size=(16, 10)))[0].T
    written = np.linalg.qr(rng.normal(size=(16, 10)))[0].T
    rows = np.concatenate([3 + active @ listened, 20 * active @ written - 5], 1)
    recipe = training.Recipe("transcoder", 10, 1.5, passes=40, batch_size=256, lr=1e-2).checked()
    learned = training._train(Rows(rows, 256, 0, parts=2), recipe, None, {}, "cpu", False)
    assert features.matched(written, learned.W_dec.detach().numpy()).mean() > 0.9
    x = torch.from_numpy(rows[:, :16]).float()
    explained = sae.decode(learned, sae.encode(learned, x)).detach().numpy()
    error = ((explained - rows[:, 16:]) ** 2).sum()
    assert error < 0.1 * ((rows[:, 16:] - rows[:, 16:].mean(0)) ** 2).sum()


def test_an_sae_is_not_trained_as_a_transcoder():
    with pytest.raises(ValueError, match="architecture must be one of"):
        sae.train(np.random.default_rng(0).normal(size=(100, 8)), "transcoder", 4, 2)


def test_peaks_are_where_a_feature_is_most_active(found, recorded):
    acts = recorded[2]
    active = sae.encode(found[2], torch.from_numpy(acts.values[..., :160])).detach().numpy()
    for feature, some in transcoders.peaks(found[2], acts, range(12), 2).items():
        for clip, position, value in some:
            assert value == pytest.approx(active[clip, :, feature].max(), rel=1e-4)
            assert active[clip, position, feature] == pytest.approx(value, rel=1e-4)
        values = [value for *_, value in some]
        assert values == sorted(values, reverse=True)
    with pytest.raises(ValueError, match="feature must be"):
        transcoders.peaks(found[2], acts, [12])


def test_edited_models_are_refused(m, clips, found):
    with activations.edit(m, activations.Edit("mlp.1", multiply=0.0)):
        with pytest.raises(ValueError, match=r"Inside activations\.edit"):
            next(transcoders.recorded(m, clips))
        with pytest.raises(ValueError, match=r"Inside activations\.edit"):
            tracing.Song(m, found, clips[:1])


# ------------------------------------------------------------------------------------------ replaced
def test_replacing_no_mlp_changes_nothing_and_the_cost_is_the_models(m, found, clips):
    cost = tracing.replaced(m, found, clips, blocks=[])
    assert cost["replaced"] == pytest.approx(cost["plain"], abs=1e-6)
    assert cost["plain"] == pytest.approx(m.cross_entropy(clips), abs=1e-4)
    every = tracing.replaced(m, found, clips)
    assert (every["replaced"] > every["plain"]).all()
    assert every["replaced"].mean() < every["silent"].mean()


def test_what_a_clip_costs_depends_on_no_other_passes(m, found, clips, monkeypatch):
    """In whatever passes clips are, they come in their order, and are silenced to the same means."""
    other = dataclasses.replace(clips, prompts=[*PROMPTS[:2], "a", PROMPTS[3]])
    together = tracing.replaced(m, found, other)
    assert together["plain"] == pytest.approx(m.cross_entropy(other), abs=1e-4)
    monkeypatch.setattr(tracing, "PASSES", 1)
    for kind, apart in tracing.replaced(m, found, other).items():
        assert apart == pytest.approx(together[kind], abs=1e-4), kind


# --------------------------------------------------------------------------------------------- graph
def test_the_frozen_pass_is_the_songs_own(song):
    with torch.no_grad():
        reads, last = song.frozen.run(*song.frozen.leaves(2))
    for block, read in enumerate(reads):
        own = song.net.parts[block].norms["mlp"](song.kept[f"before mlp.{block}"])
        assert read[1].numpy() == pytest.approx(own.detach().numpy(), abs=1e-4)
    own = song.model.lm.out_norm(song.end).detach().numpy()
    assert last[0].numpy() == pytest.approx(own, abs=1e-4)


def test_edges_are_what_a_source_adds_in_the_frozen_pass(song, graph):
    """Take one source out of the linear pass: each target changes by its edge."""
    frozen = song.frozen
    with torch.no_grad():
        sung, words, written = frozen.leaves(1)
        reads, last = frozen.run(sung, words, written)
        for source in range(0, len(graph.nodes) - 1, 7):
            node = graph.nodes.iloc[source]
            block, position = int(node["block"]), int(node["position"])
            sung, words, written = frozen.leaves(1)
            if node["kind"] == "sung":
                sung[0, position] = 0
            elif node["kind"] == "word":
                words[block][0, position] = 0
            else:
                _, taken = tracing._written(song, node)
                written[block][0] -= taken
            without, end = frozen.run(sung, words, written)
            change = (end - last)[0, song.position(graph.target)] @ song.readout(graph.target)
            assert -float(change) == pytest.approx(graph.edges[-1, source], abs=1e-3)
            for number, target in enumerate(graph.nodes.itertuples()):
                if target.kind == "feature":
                    moved = (without[target.block] - reads[target.block])[0, target.position]
                    encoder = song.transcoders[target.block].W_enc[:, target.feature]
                    edge = graph.edges[number, source]
                    assert -float(moved @ encoder) == pytest.approx(edge, abs=1e-3)


def test_a_graph_leads_forward_and_ends_at_the_token(graph):
    nodes = graph.nodes
    assert nodes["kind"].iloc[-1] == "token" and not graph.edges[:, -1].any()
    feature = (nodes["kind"] == "feature").to_numpy()
    assert not graph.edges[~feature & (nodes["kind"] != "token").to_numpy()].any()
    for target, source in np.argwhere(graph.edges != 0):
        assert nodes["block"][source] < nodes["block"][target] or nodes["kind"][source] == "word"
        if nodes["kind"][source] != "word":
            assert nodes["position"][source] <= nodes["position"][target]


def test_influence_sums_the_ways(graph):
    """Of words, music and errors together all ways end at the token: their influence is 1."""
    begins = graph.nodes["kind"].isin(["word", "sung", "error"])
    reading = tracing._shares(graph.edges).any(1)
    features = (graph.nodes["kind"] == "feature").to_numpy()
    assert reading[features].all()
    assert graph.nodes["influence"][begins].sum() == pytest.approx(1, abs=1e-6)
    scores = tracing.scores(graph)
    assert 0 < scores["replacement"] < 1 and 0 < scores["completeness"] < 1


def test_without_errors_a_graph_is_complete(graph):
    error = (graph.nodes["kind"] == "error").to_numpy()
    edges = np.where(error, 0, graph.edges)
    whole = tracing._weighed(dataclasses.replace(graph, edges=edges))
    assert tracing.scores(whole) == pytest.approx({"replacement": 1, "completeness": 1})


def test_fewer_nodes_are_those_of_most_influence(song, graph):
    few = tracing.graph(song, graph.target, nodes=5)
    assert (few.nodes["kind"] == "feature").sum() == 5
    small = tracing.prune(graph, 10)
    assert len(small.nodes) <= 11 and small.nodes["kind"].iloc[-1] == "token"
    assert (small.edges != 0).any(0)[:-1].all()
    words = tracing.prune(graph, 10, begins="word")
    assert set(words.nodes["kind"]) <= {"word", "feature", "token"}
    assert (words.nodes["kind"] == "word").any()


def test_ways_begin_somewhere(graph):
    """At each feature and at the token, ways that begin at words, music and errors are all ways."""
    parts = [tracing.begun(graph, kind) for kind in ("word", "sung", "error")]
    assert sum(parts) == pytest.approx(np.ones(len(graph.nodes)), abs=1e-6)
    of_words = graph.nodes["influence"][graph.nodes["kind"] == "word"].sum()
    assert parts[0][-1] == pytest.approx(of_words)


def test_what_is_foretold_by_direct_ways_alone_is_the_edge(graph):
    told = tracing.foretold(graph)
    last = graph.nodes["block"] == graph.nodes["block"].max() - 1
    source = int(np.flatnonzero(last & (graph.nodes["kind"] == "error"))[-1])
    assert told[-1, source] == pytest.approx(-graph.edges[-1, source])


def test_interventions_agree_with_the_graph_where_nothing_but_a_sum_lies_between(graph):
    """Behind the last MLP there is only the norm: small changes are foretold."""
    nodes = graph.nodes
    last = nodes["block"].max() - 1
    chosen = np.flatnonzero((nodes["kind"] == "feature") & (nodes["block"] == last))
    at_end = chosen[nodes["position"][chosen] == nodes["position"].iloc[-1]]
    measured = tracing.intervene(graph, at_end)[-1]
    told = tracing.foretold(graph)[-1, at_end]
    assert np.corrcoef(told, measured)[0, 1] > 0.9
    table = tracing.checked(graph, 12)
    assert {"token"} <= set(table["what"]) and np.isfinite(table["measured"]).all()


def test_a_song_is_of_the_model_that_sang_it(m, song, graph):
    asked = (lambda: tracing.graph(song, graph.target), lambda: tracing.intervene(graph, [0]))
    with activations.edit(m, activations.Edit("mlp.1", multiply=0.0)):
        for ask in asked:
            with pytest.raises(ValueError, match=r"Inside activations\.edit"):
                ask()
    bias = m.lm.transformer.layers[0].norm1.bias
    before = bias.detach().clone()
    try:
        with torch.no_grad():
            bias += 0.5
        for ask in asked:
            with pytest.raises(ValueError, match="has changed since this song was run"):
                ask()
    finally:
        with torch.no_grad():
            bias.copy_(before)
    assert np.isfinite(tracing.intervene(graph, [0])[-1, 0])


def test_the_token_that_a_word_decides_most_is_chosen(m, clips):
    target = tracing.most_told(m, clips[:1], "a happy violin melody")
    assert clips.tokens[0, target.codebook, target.frame] == target.token


def test_bad_questions_are_refused(m, found, clips, song):
    with pytest.raises(ValueError, match="A graph is of one song"):
        tracing.Song(m, found, clips)
    with pytest.raises(ValueError, match="has 6 blocks"):
        tracing.Song(m, found[:2], clips[:1])
    with pytest.raises(ValueError, match="frame must be"):
        tracing.graph(song, tracing.Target(0, 500, 3))
    with pytest.raises(ValueError, match="block must be"):
        tracing.replaced(m, found, clips, blocks=[6])
    with pytest.raises(ValueError, match="has 6 blocks"):
        tracing.replaced(m, [], clips)
    with pytest.raises(ValueError, match="A graph is of one song"):
        tracing.most_told(m, clips, "a happy song")
