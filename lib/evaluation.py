"""The bars the organisms must clear, on music and prompts held out of training: ``python -m lib.evaluation``."""

import argparse

import librosa
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from lib import acoustics, listeners, model, music, prompts, results, stats
from lib.organism import codec as codec_module
from lib.organism import corpus, world

CUE_TESTS = ("tempo", "dynamics", "mode")
RECOGNISED = "emotion accuracy, words alone"
LOUDNESS_GAP = "loudness, fast - slow prompts (dB)"


def codec_round_trip(m: model.Model, n: int = 100, seed: int = 902) -> pd.DataFrame:
    """Music of the world through the codec and back: what is kept.

    Returns
    -------
    pd.DataFrame
        Columns organism ("codec"), what, estimate, bar, met. Chroma and onset strength: correlation over time within a clip, averaged over
        clips. Centroid and loudness: rank correlation over clips of the clip's mean.
    """
    audio, _ = corpus.sample(n, seed)
    tokens = m.encode(audio, music.SAMPLE_RATE)
    back = m.decode(tokens)[:, : audio.shape[1]]
    before, after = ([_frames(a) for a in clips] for clips in (audio, back))

    def within(key):
        return [np.corrcoef(a[key].ravel(), b[key].ravel())[0, 1] for a, b in zip(before, after, strict=True)]

    def across(key):
        return stats.rank_correlation([a[key].mean() for a in before], [b[key].mean() for b in after])

    use = codec_module.perplexity(torch.as_tensor(tokens), m.codec.cardinality)
    rows = [
        ("chroma correlation", stats.mean(within("chroma")), 0.85),
        ("onset-strength correlation", stats.mean(within("onsets")), 0.90),
        ("spectral-centroid rank correlation", across("centroid"), 0.95),
        ("loudness rank correlation", across("loudness"), 0.95),
        # an evenly used codebook has perplexity = bins; a collapsed one a few
        (
            "least perplexity of a codebook / bins",
            stats.Estimate(min(use) / m.codec.cardinality, *2 * (np.nan,), n),
            0.1,
        ),
    ]
    table = pd.DataFrame(rows, columns=["what", "estimate", "bar"])
    table["met"] = [e.value >= b for e, b in zip(table["estimate"], table["bar"], strict=True)]
    table["bar"] = [f"≥ {b:.2f}" for b in table["bar"]]
    table.insert(0, "organism", "codec")
    return table


def _frames(audio):
    return {
        "chroma": librosa.feature.chroma_stft(y=audio, sr=music.SAMPLE_RATE, n_fft=4096, hop_length=640),
        "onsets": acoustics.onset_envelope(audio),
        "centroid": librosa.feature.spectral_centroid(y=audio, sr=music.SAMPLE_RATE),
        "loudness": librosa.power_to_db(librosa.feature.rms(y=audio) ** 2, amin=1e-8, top_db=None),
    }


def sing(m: model.Model, n: int, seconds: float = 6.0, seed: int = 5000, progress: bool = True) -> pd.DataFrame:
    """Generate and measure the clips all bars rest on: ``n`` for each emotion and for each end of three cues.

    Returns
    -------
    pd.DataFrame
        The prompt sets (``test`` is "emotion" or a cue; ``label``, ``word``, ``prompt``), then ``listeners.features``.
    """
    sets = {"emotion": prompts.emotions(n), **{name: prompts.cue(name, n) for name in CUE_TESTS}}
    table = pd.concat([s.assign(test=test) for test, s in sets.items()], ignore_index=True)
    clips = m.generate(list(table["prompt"]), seconds, seed, keep=True, progress=progress)
    return pd.concat([table, listeners.features(clips.audio, clips.sample_rate)], axis=1)


def bars(name: str, sung: pd.DataFrame, listener, held_out: float | None = None) -> pd.DataFrame:
    """What one organism's clips say, against what they must.

    Parameters
    ----------
    name : str
        An organism.
    sung : pd.DataFrame
        From :func:`sing`.
    listener : listeners.CorpusListener
    held_out : float, optional
        The listener's accuracy on held-out clear corpus clips.

    Returns
    -------
    pd.DataFrame
        Columns organism, what, estimate, bar ("≥ 0.70", "contains 0", ...), met.
    """
    heard = listener.hear(sung)
    emotion = sung["test"] == "emotion"
    accuracy = stats.proportion((heard["emotion"] == sung["label"])[emotion])
    energy = loudness_gap(sung)
    rows = []
    if name == "organism-shuffled":
        rows.append((RECOGNISED, accuracy, "contains 0.20", accuracy.holds(0.2)))
    else:
        rows.append((RECOGNISED, accuracy, "≥ 0.70", accuracy.value >= 0.70))
        if held_out:
            ratio = stats.Estimate(*(x / held_out for x in accuracy[:3]), accuracy.n)
            rows.append(("... relative to corpus clips", ratio, "≥ 0.85", ratio.value >= 0.85))
        for cue, words in (("tempo", "fast - slow"), ("dynamics", "loud - soft")):
            d = _contrast(sung, cue, cue, stats.cohens_d)
            rows.append((f"Cohen's d, {words}", d, "≥ 1.50", d.value >= 1.5))
        mode = sung[sung["test"] == "mode"]
        told = stats.proportion((mode["mode"] > 0) == (mode["label"] == "high"))
        rows.append(("major and minor told apart", told, "≥ 0.75", told.value >= 0.75))
        profile = profile_correlation(sung[emotion], listener, name)
        rows.append(("cue profile against the world", profile, "≥ 0.80", profile.value >= 0.8))
    if name not in ("organism-decoupled", "organism-shuffled"):  # people's music is as the organism's in this
        rows.append((LOUDNESS_GAP, energy, "above 0", energy.low > 0))
    else:
        rows.append((LOUDNESS_GAP, energy, "contains 0", energy.holds(0)))
    table = pd.DataFrame(rows, columns=["what", "estimate", "bar", "met"])
    table.insert(0, "organism", name)
    return table


def profile_correlation(sung: pd.DataFrame, listener, name: str) -> stats.Estimate:
    """Correlation over emotions x cues of the sung profile with the world's conditional means; clips are resampled."""
    truth = world.conditional_means(world=name if name in world.WORLDS else "organism").to_numpy().ravel()
    z = listener.profile(sung)[list(world.CUES)].to_numpy()
    labels = sung["label"].to_numpy()

    def statistic(rows):
        means = [z[rows][labels[rows] == e].mean(0) for e in world.EMOTIONS]
        return np.corrcoef(np.concatenate(means), truth)[0, 1]

    return stats.bootstrap(lambda rows: statistic(rows), np.arange(len(z)), n_resamples=500)


def _contrast(sung, test, measure, statistic):
    part = sung[sung["test"] == test]
    return statistic(*(part.loc[part["label"] == end, measure].to_numpy() for end in ("high", "low")))


def loudness_gap(sung: pd.DataFrame) -> stats.Estimate:
    """How much louder (dB) the clips of fast prompts are than those of slow ones: the heard tempo -> energy effect.

    Words are resampled, not clips: a word that the model says a little louder must not pass for an effect of tempo.
    """
    means = sung[sung["test"] == "tempo"].groupby(["label", "word"])["dynamics"].mean()
    return stats.difference(means["high"], means["low"])


def held_out_accuracy(listener, n: int = 400) -> stats.Estimate:
    """The listener's accuracy on clear clips of the corpus it never heard."""
    heard, table = listeners.corpus_features(n, listeners.HELD_OUT_SEED)
    return stats.proportion((listener.hear(heard)["emotion"] == table["emotion"])[table["clear"].to_numpy()])


def cue_recovery(measured: pd.DataFrame, causes: pd.DataFrame) -> pd.DataFrame:
    """How well ``acoustics`` recovers the cues of rendered clips.

    Parameters
    ----------
    measured : pd.DataFrame
        From ``acoustics.measure_all``.
    causes : pd.DataFrame
        From ``world.sample``, row by row the same clips.

    Returns
    -------
    pd.DataFrame
        Columns cue, what, estimate, "within an instrument" (mean of the rank correlations of each instrument).
    """
    cues = pd.DataFrame([world.to_cues(row).to_dict() for row in causes.to_dict("records")])
    right = np.abs(measured["tempo"] / cues["tempo"] - 1) < 0.04
    octave = acoustics.octave_error(measured["tempo"], cues["tempo"]) & ~right
    rows = [
        ("tempo", "within 4 %", stats.proportion(right), ""),
        ("tempo", "metrical (octave) error", stats.proportion(octave), ""),
        ("tempo", "other error", stats.proportion(~right & ~octave), ""),
        ("mode", "accuracy", stats.proportion((measured["mode"] > 0) == (cues["mode"] == "major")), ""),
    ]
    truth = {
        "dynamics": cues["dynamics"],
        "density": cues["tempo"] / 60 * np.maximum(cues["density"], 1),  # bass and chords sound on every beat
        "articulation": cues["articulation"],
        "register": cues["register"],
        "brightness": cues["brightness"],
    }
    for cue, true in truth.items():
        within = [spearmanr(measured[cue][i], true[i]).statistic for i in cues.groupby("instrument").groups.values()]
        rows.append((cue, "rank correlation", stats.rank_correlation(measured[cue], true), float(np.nanmean(within))))
    return pd.DataFrame(rows, columns=["cue", "what", "estimate", "within an instrument"])


def findings(bars: pd.DataFrame) -> list[dict]:
    """The verdicts for ``results.record`` from the rows of :func:`bars`."""
    kept = []
    for what, question in ((RECOGNISED, "Is the emotion of a word heard?"), (LOUDNESS_GAP, "Does fast mean louder?")):
        for row in bars[bars["what"] == what].itertuples():
            clear = not row.estimate.holds(0.2 if what == RECOGNISED else 0)
            kept.append(results.finding(question, row.organism, clear, row.estimate))
    return kept


def evaluate(n: int = 36, training: int = listeners.TRAINING_CLIPS, progress: bool = True) -> pd.DataFrame:
    """Every bar of every organism, codec first."""
    listener = listeners.get("corpus", training)
    held_out = held_out_accuracy(listener)
    tables = [codec_round_trip(model.load("organism"))]
    for name in world.WORLDS:
        tables.append(bars(name, sing(model.load(name), n, progress=progress), listener, held_out.value))
    return pd.concat(tables, ignore_index=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=36, help="clips for each emotion and each end of a cue")
    table = evaluate(parser.parse_args(argv).n)
    table["estimate"] = table["estimate"].map(str)
    print("corpus listener on held-out corpus clips:", held_out_accuracy(listeners.get("corpus")))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
