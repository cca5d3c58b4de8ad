"""What steering does: to the emotion that is heard, to everything else, and to the quality.

The yardstick is the prompt: songs of the same seeds that were asked for the target.
"""

import librosa
import numpy as np
import pandas as pd
import scipy.linalg
from scipy.spatial.distance import pdist

from ... import stats
from ...musicgen.model import Clips
from .judge import Judge

#: Level of a song's loud frames, in dBFS, below which it counts as silent.
SILENT = -60.0


def evaluate(
    judge: Judge, clips: dict[float, Clips], reference: Clips, target: str | None = None
) -> pd.DataFrame:
    """What each strength does: one row a strength.

    Parameters
    ----------
    judge : Judge
    clips : dict
        From ``steering.generate``; must hold strength 0, what all shifts are measured against.
    reference : Clips
        Songs whose prompts ask for the target, with the same seeds: a share of 1 is their effect.
    target : str, optional
        Emotion, or level of the judge's concept.

    Returns
    -------
    pd.DataFrame
        strength; success (share heard as the target by every listener that names things);
        valence and arousal, or what else the first listener gives numbers of (shift by that one,
        and by every one: "cues valence", ...); share (of the prompt's shift on these scales); one column a cue (shift, standard deviations of the world's music);
        surprise (nats a token above the unsteered songs); recoded (shift; below 0: codec
        artefacts); with CLAP, clap (shift of the cosine with the prompt); distance (Fréchet
        distance of mel-spectrogram frames to the unsteered songs); diversity (mean distance between
        clips, over that of the unsteered); instrument, silent, clipped. The last row, strength
        "prompt", is the reference.

    Raises
    ------
    ValueError
        No songs of strength 0, or a reference of other seeds.
    """
    _check_unsteered(clips)
    if len(reference) != len(clips[0.0]) or reference.seeds != clips[0.0].seeds:
        raise ValueError(
            "reference must have the same number of clips and the same seeds as the steered clips."
        )
    songs = {**clips, "prompt": reference}
    answers = {strength: judge.hear(some) for strength, some in songs.items()}
    spectra = {strength: mel_frames(some) for strength, some in songs.items()}
    scales = judge.scales(answers[0.0])
    plane = list(scales.values())
    asked = (answers["prompt"][plane] - answers[0.0][plane]).mean().to_numpy()
    rows = []
    for strength, answer in answers.items():
        row = {"strength": strength}
        if target is not None:
            row["success"] = stats.proportion(judge.succeeded(songs[strength], target))
        row |= _shifts(answer, answers[0.0], scales, asked)
        row |= _quality(answer, spectra[strength], spectra[0.0])
        rows.append(row)
    return pd.DataFrame(rows)


def _check_unsteered(clips):
    if 0.0 not in clips:
        raise ValueError(f"Strength 0 is needed to compare with. Got {list(clips)}.")


def _shifts(answer, plain, scales, asked):
    """Changes of what is heard, from the unsteered songs: means with intervals over songs."""
    shift = answer.select_dtypes("number") - plain.select_dtypes("number")
    found = {scale: stats.mean(shift[column]) for scale, column in scales.items()}
    along = shift[list(scales.values())].to_numpy() @ asked
    found["share"] = stats.mean(along / (asked @ asked))
    measures = [column for column in shift if column not in ("loud", "clipped")]
    return found | {column: stats.mean(shift[column]) for column in measures}


def _quality(answer, spectra, plain):
    """What steering may break."""
    found = {
        "distance": frechet(plain, spectra),
        "diversity": _spread(spectra) / _spread(plain),
        "silent": float((answer["loud"] < SILENT).mean()),
        "clipped": float(answer["clipped"].mean()),
    }
    if "instrument" in answer:
        found["instrument"] = stats.proportion(answer["instrument"])
    return found


def mel_frames(clips):
    """Mel-spectrograms in dB, [clip, frame, mel]."""
    found = []
    for audio in clips.mono:
        mel = librosa.feature.melspectrogram(
            y=audio, sr=clips.sample_rate, n_fft=1024, hop_length=512, n_mels=24
        )
        found.append(librosa.power_to_db(mel, ref=1.0, amin=1e-8, top_db=None).T)
    return np.stack(found)


def frechet(one, other):
    """Fréchet distance between normal distributions fitted to frames [clip, frame, mel].

    The measure of FID and FAD, here on plain spectra (Dowson and Landau 1982, equation 4).
    """
    one = one.reshape(-1, one.shape[-1])
    other = other.reshape(-1, other.shape[-1])
    covariances = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    square = apart + np.trace(covariances[0] + covariances[1] - 2 * root)
    return float(np.sqrt(max(square, 0)))


def _spread(frames):
    """Mean distance between clips' mean spectra."""
    return float(pdist(frames.mean(1)).mean()) if len(frames) > 1 else float("nan")
