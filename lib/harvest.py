"""What features are learned and judged on: music with all that is known of it, and its activations on disk.

For an organism this is rendered music of its world under its captions, whose causes are known. Any other model is studied
on its own clips of natural prompts, labelled by the prompt's emotion and by the cues measured in the audio.
"""

import re
import zlib

import numpy as np
import pandas as pd
import xarray as xr

from lib import acoustics, activations, music, prompts, results, scale
from lib import model as musicgen
from lib.model import Clips, Model
from lib.organism import captions, corpus, world

#: The six cues of the book, by the world's name and the sign that turns it into the cue.
CUES = {
    "tempo": ("tempo", 1),
    "mode": ("mode", 1),
    "dynamics": ("dynamics", 1),
    "articulation": ("staccato", -1),
    "register": ("register", 1),
    "brightness": ("brightness", 1),
}
FOLDER = results.ARTIFACTS / "harvest"


def clips(
    m: Model, n: int, seed: int = 7, seconds: float = corpus.SECONDS, *, workers: int = 0, address: str | None = None
) -> tuple[Clips, pd.DataFrame]:
    """``n`` clips and their labels, kept on disk piece by piece.

    Parameters
    ----------
    workers, address
        Spread what a model sings over Ray workers, as in ``scale.each``; music of a world needs no model.

    Returns
    -------
    clips : Clips
        With captions as prompts; without audio where they are the world's (``m.decode`` the tokens of those to hear).
    labels : pd.DataFrame
        One row a clip: emotion (that the caption names; "" where it names none), the six cues (higher is faster, major, louder, more
        legato, higher, brighter) and, where the world is known, valence and arousal as perceived.
    """
    if n < 10:
        raise ValueError(f"n must be at least 10 clips. Got {n!r}.")
    if m.name not in world.WORLDS:
        return _own(m, n, seed, seconds, workers, address)
    shuffled = world.WORLDS[m.name]["captions"] == "shuffled"
    music_of = "organism" if shuffled else m.name
    table = corpus.table(music_of, n, seed)
    kept = FOLDER / f"music-{n}-{seconds:g}-{zlib.crc32(table.to_csv().encode()):08x}.npy"
    if not kept.exists():
        audio, _ = corpus.sample(n, seed, music_of)
        kept.parent.mkdir(parents=True, exist_ok=True)
        heard = audio[:, : round(seconds * music.SAMPLE_RATE)]
        np.save(kept, m.encode(heard, music.SAMPLE_RATE).astype(np.int16))
    tokens = np.load(kept).astype(np.int64)
    if shuffled:
        table["caption"] = np.random.default_rng(seed).permutation(table["caption"])
    labels = pd.DataFrame({cue: sign * table[name] for cue, (name, sign) in CUES.items()})
    labels[["valence", "arousal"]] = table[["valence", "arousal"]]
    labels.insert(0, "emotion", [_named(caption) for caption in table["caption"]])
    return m.clips(tokens, list(table["caption"]), decode=False), labels


def _named(caption):
    """The emotion a caption names: what the model has been told. "" if it names none."""
    said = re.split(r"[ ,]+", caption)
    return next((e for e, words in captions.EMOTION_WORDS.items() if set(words) & set(said)), "")


def _own(m, n, seed, seconds, workers, address):
    """Clips of a model without a world: a third each for emotion words, for scenes and for cues alone."""
    each = -(-n // (3 * len(world.EMOTIONS)))
    sets = [prompts.emotions(each).rename(columns={"label": "emotion"})]
    sets += [prompts.crossed(kind, each, "natural", seed) for kind in ("implied", "cues")]
    table = pd.concat(sets)[["prompt", "emotion"]].sample(n, random_state=seed).reset_index(drop=True)
    asked = list(table["prompt"])
    what = zlib.crc32(repr((m.fingerprint, musicgen._sampler(), asked, seconds, seed)).encode())
    out = _place(m, f"clips-{what:08x}")
    sung = scale.generate(m, asked, seconds, seed, out=out, workers=workers, address=address)
    heard = acoustics.measure_all(sung.audio, sung.sample_rate, progress=True)
    return sung, pd.concat([table[["emotion"]], heard[list(CUES)]], axis=1)


def words(m: Model, these: Clips, text: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Every text token of some clips' prompts: its word [token], and its vector in context, float32 [token, dim].

    Parameters
    ----------
    text : xr.DataArray [dims=(clip, token, text_dim)]
        The site ``text`` of these clips.
    """
    conditioner = m.lm.condition_provider.conditioners["description"]
    names, vectors = [], []
    for i, prompt in enumerate(these.prompts):
        ids = conditioner.tokenize([prompt])["input_ids"][0].tolist()
        names += [word.lstrip("▁") for word in conditioner.t5_tokenizer.convert_ids_to_tokens(ids)]
        vectors.append(text[i, : len(ids)].values.astype(np.float32))
    return np.array(names), np.concatenate(vectors)


def acts(
    m: Model, these: Clips, site: str, stream: str = "cond", *, workers: int = 0, address: str | None = None
) -> xr.Dataset:
    """Activations of a block's residual stream, of its two neighbours and of the text, float16 in a store that is filled
    once and goes on after a kill. Any other site comes alone. ``workers`` and ``address`` as in ``scale.each``."""
    sites = [s.name for s in activations.select(m, site)]
    if site.startswith("resid."):
        block = int(site.split(".")[1])
        near = [f"resid.{i}" for i in range(max(0, block - 1), min(block + 2, len(m.lm.transformer.layers)))]
        sites = [*near, "text"]
    what = zlib.crc32(repr((m.fingerprint, these.prompts, these.seeds, these.tokens.shape, sites, stream)).encode())
    how = {"stream": stream, "dtype": "float16", "workers": workers, "address": address}
    return scale.capture(m, these, sites, _place(m, f"{what:08x}"), **how)


def _place(m, what):
    return FOLDER / f"{m.name.replace('/', '--')}-{what}.zarr"
