"""Is each organism what we say? Bars on held-out music: ``python -m lib.methods.validation``.

The organisms are the known answers of the book, so what they know is measured before anything is
claimed about their insides: does the codec keep what matters (:func:`codec_round_trip`), does the
corpus listener recognise emotions that were sung for words alone, do cues follow their words, does
fast mean louder where it must and only there (:func:`sing`, :func:`bars`)? How well cues can be
measured at all says :func:`cue_recovery`. Every bar was set before the models were trained.

>>> import numpy as np
>>> from lib.methods import validation
>>> validation.perplexity(np.array([[[0, 1, 2, 3], [5, 5, 5, 5]]])).round().tolist()
[4.0, 1.0]
"""

import argparse
import sys

import librosa
import numpy as np
import pandas as pd
import scipy.stats

from .. import check, prompts, stats
from ..hearing import acoustics, listeners
from ..musicgen import Model, load
from ..organism import captions, corpus, music, world

CUE_TESTS = tuple(world.CUES)
#: Clips of a world, and their seed, by which the size of what words for a cue do is judged.
OWN_CLIPS = listeners.TRAINING_CLIPS // 3
OWN_SEED = 903
RECOGNISED = "emotion accuracy, words alone"
LOUDNESS_GAP = "loudness, fast - slow prompts (dB)"
#: What the corpus listener gets right by guessing among five emotions.
CHANCE = 0.2
#: By which factor what words for a cue do may differ from the world's own.
SIZE = 1.5


# -------------------------------------------------------------------------------------------- codec
def codec_round_trip(m: Model, n: int = 100, seed: int = 902) -> pd.DataFrame:
    """Music of the world through the codec and back: what is kept.

    Parameters
    ----------
    m : Model
    n, seed : int
        Clips of the world's music.

    Returns
    -------
    pd.DataFrame
        Columns organism ("codec"), what, estimate, bar, met. Chroma and onset strength: correlation
        over time within a clip, averaged over clips. Centroid and loudness: rank correlation over
        clips of the clip's mean. A codec of another rate or in stereo is heard in mono at the rate
        of the music.
    """
    audio, _ = corpus.sample(n, seed)
    tokens = m.encode(audio[:, None], music.SAMPLE_RATE)
    decoded = librosa.resample(
        listeners.decoded(tokens, m), orig_sr=m.sample_rate, target_sr=music.SAMPLE_RATE
    )[:, : audio.shape[1]]
    before = [_frames(clip) for clip in audio]
    after = [_frames(clip) for clip in decoded]
    used = perplexity(tokens).min() / m.codec.cardinality
    rows = [
        ("chroma correlation", _within_clips(before, after, "chroma"), 0.85),
        ("onset-strength correlation", _within_clips(before, after, "onsets"), 0.90),
        ("spectral-centroid rank correlation", _across_clips(before, after, "centroid"), 0.95),
        ("loudness rank correlation", _across_clips(before, after, "loudness"), 0.95),
        # a collapsed codebook has a few
        ("least perplexity of a codebook / bins", stats.Estimate(used, np.nan, np.nan, n), 0.1),
    ]
    return pd.DataFrame([_at_least("codec", what, estimate, bar) for what, estimate, bar in rows])


def _frames(audio):
    """What is compared of a clip, frame by frame."""
    rms = librosa.feature.rms(y=audio)
    return {
        "chroma": librosa.feature.chroma_stft(
            y=audio, sr=music.SAMPLE_RATE, n_fft=4096, hop_length=640
        ),
        "onsets": acoustics.onset_envelope(audio),
        "centroid": librosa.feature.spectral_centroid(y=audio, sr=music.SAMPLE_RATE),
        "loudness": librosa.power_to_db(rms**2, amin=1e-8, top_db=None),
    }


def _within_clips(before, after, key):
    correlations = [
        np.corrcoef(a[key].ravel(), b[key].ravel())[0, 1]
        for a, b in zip(before, after, strict=True)
    ]
    return stats.mean(correlations)


def _across_clips(before, after, key):
    means = ([clip[key].mean() for clip in clips] for clips in (before, after))
    return stats.rank_correlation(*means)


def perplexity(tokens: np.ndarray) -> np.ndarray:
    """How many of its entries each codebook uses: all if evenly, 1 if it collapsed.

    Parameters
    ----------
    tokens : np.ndarray [shape=(clip, n_q, frame)]

    Returns
    -------
    np.ndarray [shape=(n_q,)]
    """
    tokens = check.array("tokens", tokens, ("clip", "n_q", "frame"), integer=True)
    codebooks = tokens.swapaxes(0, 1).reshape(tokens.shape[1], -1)
    return np.array([np.exp(scipy.stats.entropy(np.bincount(book))) for book in codebooks])


# -------------------------------------------------------------------------------------------- songs
def sing(
    m: Model, n: int, seconds: float = 6.0, seed: int = 5000, progress: bool = True
) -> pd.DataFrame:
    """Generate and measure the clips all bars rest on.

    Parameters
    ----------
    m : Model
    n : int
        Clips for each emotion and for each end of three cues.
    seconds, seed, progress
        As for ``m.generate``.

    Returns
    -------
    pd.DataFrame
        The prompt sets (``test`` is "emotion" or a cue; ``label``, ``word``, ``prompt``), then
        ``listeners.features``.
    """
    sets = [prompts.emotions(n).assign(test="emotion")]
    sets += [prompts.cue(name, n).assign(test=name) for name in CUE_TESTS]
    table = pd.concat(sets, ignore_index=True)
    clips = m.generate(table["prompt"], seconds, seed, keep=True, progress=progress)
    return pd.concat([table, listeners.features(clips.audio, clips.sample_rate)], axis=1)


def bars(
    name: str, sung: pd.DataFrame, listener: listeners.CorpusListener, held_out: float | None = None
) -> pd.DataFrame:
    """What one organism's clips say, against what they must.

    Parameters
    ----------
    name : str
        An organism; any other model is held against the world of "organism".
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
    held_out = check.number("held_out", held_out, 0, 1, open_low=True, optional=True)
    settings = world.WORLDS[world.of(name) or "organism"]
    texts_tell = settings.captions == "own"
    emotion = sung[sung["test"] == "emotion"]
    accuracy = _accuracy(emotion, listener)
    rows = []
    if not texts_tell:
        rows.append(_contains(name, RECOGNISED, accuracy, "0.20"))
    elif settings.words == "emotion":
        rows.append(_at_least(name, RECOGNISED, accuracy, 0.70))
        if held_out is not None:
            ratio = stats.Estimate(*(end / held_out for end in accuracy[:3]), accuracy.n)
            rows.append(_at_least(name, "... relative to corpus clips", ratio, 0.85))
        profile = profile_correlation(emotion, listener, name)
        rows.append(_at_least(name, "cue profile against the world", profile, 0.80))
    if texts_tell:
        rows += _cue_bars(name, sung)
    gap = loudness_gap(sung)
    if texts_tell and settings.tempo_to_energy > 0:
        rows.append(_row(name, LOUDNESS_GAP, gap, "above 0", gap.low > 0))
    else:
        rows.append(_contains(name, LOUDNESS_GAP, gap, "0"))
    return pd.DataFrame(rows)


def _accuracy(emotion, listener):
    """How often the emotion of a word is named. Words are the units, not clips: a word has several
    clips, which are heard alike.
    """
    right = listener.hear(emotion)["emotion"].to_numpy() == emotion["label"].to_numpy()
    return stats.mean(emotion.assign(right=right).groupby(["label", "word"])["right"].mean())


def _cue_bars(name, sung):
    """Whether words for each cue are heard, and as much as in the world's own music."""
    rows = []
    own = own_sizes(world.of(name) or "organism")
    for cue in CUE_TESTS:
        clips = sung[sung["test"] == cue]
        high, low = (clips.loc[clips["label"] == end, cue].to_numpy() for end in ("high", "low"))
        contrast = f"{world.CUES[cue].high} - {world.CUES[cue].low}"
        effect = stats.cohens_d(high, low)
        rows.append(_at_least(name, f"Cohen's d, {contrast}", effect, 1.0))
        difference = stats.difference(high, low)
        size = stats.Estimate(*(end / own[cue] for end in difference[:3]), difference.n)
        met = 1 / SIZE <= size.value <= SIZE
        rows.append(_row(name, f"... relative to the world, {cue}", size, f"within {SIZE}", met))
    return rows


def own_sizes(name: str, n: int = OWN_CLIPS) -> dict[str, float]:
    """How far apart clips of a world are whose cue a caption may call high and low, as measured.

    Parameters
    ----------
    name : str
        A key of ``world.WORLDS``.
    n : int

    Returns
    -------
    dict
        Cue -> difference in the unit it is measured in.
    """
    shuffled = world.WORLDS[check.choice("name", name, world.WORLDS)].captions == "shuffled"
    measured, table = listeners.corpus_features(n, OWN_SEED, "organism" if shuffled else name)
    sizes = {}
    for cue in CUE_TESTS:
        levels = table[cue].map(lambda value, cue=cue: captions.level(cue, value))
        sizes[cue] = measured[cue][levels == "high"].mean() - measured[cue][levels == "low"].mean()
    return sizes


def _row(name, what, estimate, bar, met):
    return {"organism": name, "what": what, "estimate": estimate, "bar": bar, "met": met}


def _at_least(name, what, estimate, bar):
    return _row(name, what, estimate, f"≥ {bar:.2f}", estimate.value >= bar)


def _contains(name, what, estimate, number):
    return _row(name, what, estimate, f"contains {number}", estimate.holds(float(number)))


def profile_correlation(
    songs: pd.DataFrame, listener: listeners.CueListener, name: str
) -> stats.Estimate:
    """Correlation over emotions x cues of the sung profile with the world's conditional means.

    Clips are resampled.

    Parameters
    ----------
    songs : pd.DataFrame
        The rows of :func:`sing` whose test is "emotion".
    listener : listeners.CueListener
    name : str
        An organism; any other model is held against the world of "organism".
    """
    own_world = world.of(name) or "organism"
    expected = world.conditional_means(world=own_world).to_numpy().ravel()
    profile = listener.profile(songs)[list(world.CUES)].to_numpy()
    labels = songs["label"].to_numpy()

    def correlation(rows):
        means = [profile[rows][labels[rows] == emotion].mean(0) for emotion in world.EMOTIONS]
        return np.corrcoef(np.concatenate(means), expected)[0, 1]

    return stats.bootstrap(correlation, np.arange(len(profile)), n_resamples=500)


def loudness_gap(sung: pd.DataFrame) -> stats.Estimate:
    """How much louder the clips of fast prompts are than those of slow ones, in dB.

    The heard effect of tempo on energy. Words are resampled, not clips: a word that the model says
    a little louder must not pass for an effect of tempo.
    """
    tempo = sung[sung["test"] == "tempo"]
    means = tempo.groupby(["label", "word"])["dynamics"].mean()
    return stats.difference(means["high"], means["low"])


# ---------------------------------------------------------------------------- listener and measures
def held_out_accuracy(listener: listeners.CorpusListener, n: int = 400) -> stats.Estimate:
    """The listener's accuracy on clear clips of the corpus it never heard."""
    measured, table = listeners.corpus_features(n, listeners.HELD_OUT_SEED)
    right = listener.hear(measured)["emotion"] == table["emotion"]
    return stats.proportion(right[table["clear"].to_numpy()])


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
        Columns cue, what, estimate, "within an instrument" (mean of the rank correlations of each
        instrument).
    """
    check.same_length(measured=measured, causes=causes)
    cues = pd.DataFrame([world.to_cues(row).to_dict() for row in causes.to_dict("records")])
    right = np.abs(measured["tempo"] / cues["tempo"] - 1) < 0.04
    octave = acoustics.octave_error(measured["tempo"], cues["tempo"]) & ~right
    mode = (measured["mode"] > 0) == (cues["mode"] == "major")
    rows = [
        ("tempo", "within 4 %", stats.proportion(right), ""),
        ("tempo", "metrical (octave) error", stats.proportion(octave), ""),
        ("tempo", "other error", stats.proportion(~right & ~octave), ""),
        ("mode", "accuracy", stats.proportion(mode), ""),
    ]
    # bass and chords sound on every beat
    cues["density"] = cues["tempo"] / 60 * np.maximum(cues["density"], 1)
    for cue in ("dynamics", "density", "articulation", "register", "brightness"):
        within = [
            scipy.stats.spearmanr(measured[cue][rows], cues[cue][rows]).statistic
            for rows in cues.groupby("instrument").groups.values()
        ]
        estimate = stats.rank_correlation(measured[cue], cues[cue])
        rows.append((cue, "rank correlation", estimate, float(np.nanmean(within))))
    return pd.DataFrame(rows, columns=["cue", "what", "estimate", "within an instrument"])


# --------------------------------------------------------------------------------------- the answer
def findings(bars: pd.DataFrame) -> list[tuple[str, str, str, stats.Estimate]]:
    """What the rows of :func:`bars` say of the two questions that later chapters rest on.

    Returns
    -------
    list of tuple
        (question, organism, answer, estimate), the arguments of ``book.findings.finding``; the
        answer says on which side of nothing the estimate lies.
    """
    questions = (
        (RECOGNISED, "How often is the emotion of a word heard (chance 0.2)?", CHANCE),
        (LOUDNESS_GAP, "How much louder is fast than slow (dB)?", 0),
    )
    return [
        (question, row.organism, stats.side(row.estimate, nothing), row.estimate)
        for what, question, nothing in questions
        for row in bars[bars["what"] == what].itertuples()
    ]


def evaluate(
    n: int = 36, training: int = listeners.TRAINING_CLIPS, progress: bool = True
) -> pd.DataFrame:
    """Every bar of every organism, codec first.

    Parameters
    ----------
    n : int
        Clips for each emotion and each end of a cue.
    training : int
        Clips the listener learned from.
    progress : bool

    Raises
    ------
    ValueError, TypeError
        Fewer than two clips, or too few to learn from; before anything is sung.
    """
    n = check.count("n", n, 2)
    listener = listeners.get("corpus", training)
    held_out = held_out_accuracy(listener)
    tables = [codec_round_trip(load("organism"))]
    for name in (model for known in world.WORLDS for model in world.models(known)):
        songs = sing(load(name), n, progress=progress)
        tables.append(bars(name, songs, listener, held_out.value))
    return pd.concat(tables, ignore_index=True)


def main(argv: list[str] | None = None) -> None:
    """The command line; an input that is refused ends with its message instead of a traceback."""
    parser = argparse.ArgumentParser(prog="validation", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-n", type=int, default=36, help="clips for each emotion and each end of a cue"
    )
    given = parser.parse_args(argv)
    try:
        _report(given.n)
    except (ValueError, FileNotFoundError, MemoryError) as error:
        sys.exit(f"{error}")


def _report(n):
    table = evaluate(n)
    table["estimate"] = table["estimate"].map(str)
    held_out = held_out_accuracy(listeners.get("corpus"))
    print("corpus listener on held-out corpus clips:", held_out)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
