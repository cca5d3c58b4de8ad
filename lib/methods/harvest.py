"""What features are learned and judged on: music with all that is known of it, and its activations
on disk.

For an organism this is rendered music of its world under its captions, whose causes are known. Any
other model is studied on its own clips of natural prompts, labelled by the prompt's emotion and by
the cues measured in the audio. All of it is kept, named by what it follows from: weights, music,
prompts, edits and the code that made it.
"""

import re

import numpy as np
import pandas as pd
import xarray as xr

from .. import cache, check, prompts, scale
from ..hearing import acoustics, listeners
from ..musicgen import Clips, Model, activations, capture
from ..musicgen import model as musicgen
from ..organism import captions, corpus, music, world

#: The six cues of the book; the world's seventh, density, is measured nowhere as a label.
CUES = ("tempo", "mode", "dynamics", "articulation", "register", "brightness")
FOLDER = "harvest"
#: Fewest clips that are worth learning from.
FEWEST = 10


# -------------------------------------------------------------------------------------------- music
def clips(
    m: Model,
    n: int,
    seed: int = 7,
    seconds: float = corpus.SECONDS,
    *,
    workers: int = 0,
    address: str | None = None,
) -> tuple[Clips, pd.DataFrame]:
    """``n`` clips and their labels, kept on disk.

    Parameters
    ----------
    m : Model
    n, seed : int
    seconds : float
        Of a world's music at most ``corpus.SECONDS``.
    workers, address
        Spread what a model sings over Ray workers, as in ``scale.each``; music of a world needs no
        model. On a cluster, set BOOK_ARTIFACTS to a folder that all its machines share.

    Returns
    -------
    clips : Clips
        With captions as prompts; without audio where they are the world's (``m.decode`` the tokens
        of those to hear).
    labels : pd.DataFrame
        One row a clip: emotion (that the caption names; "" where it names none), the six
        :data:`CUES` (higher is faster, major, louder, more legato, higher, brighter) and, where the
        world is known, valence and arousal as perceived.

    Raises
    ------
    ValueError, TypeError
        Fewer than ten clips, or more seconds than there are.
    """
    n = check.count("n", n, FEWEST)
    seed = check.count("seed", seed, 0)
    name = world.of(m)
    if name is None:
        return _own(m, n, seed, seconds, workers, address)
    seconds = check.number("seconds", seconds, 0, corpus.SECONDS, open_low=True)
    shuffled = world.WORLDS[name].captions == "shuffled"
    music_of = "organism" if shuffled else name
    table = corpus.table(music_of, n, seed)
    tokens = _music(m, music_of, table, seed, seconds)
    if shuffled:
        table["caption"] = np.random.default_rng(seed).permutation(table["caption"])
    labels = table[[*CUES, "valence", "arousal"]].copy()
    labels.insert(
        0, "emotion", [captions.named_emotion(caption) or "" for caption in table["caption"]]
    )
    return m.clips(tokens, list(table["caption"]), decode=False), labels


def _music(m, name, table, seed, seconds):
    """Rendered music of a world as tokens, int64 [clip, n_q, frame]."""

    def render():
        audio, _ = corpus.sample(len(table), seed, name)
        excerpt = audio[:, : round(seconds * music.SAMPLE_RATE)]
        return m.encode(excerpt, music.SAMPLE_RATE).astype(np.int16)

    what = {
        "music": table.drop(columns="caption"),
        "seconds": seconds,
        "codec": m.identity(audio=True)["codec"],
        "code": cache.code(corpus, music, world, type(m).encode),
        "libraries": listeners.versions(),
    }
    return cache.keep(FOLDER, what, render).astype(np.int64)


def _own(m, n, seed, seconds, workers, address):
    """Clips of a model without a world: a third each for emotion words, for scenes and for cues
    alone."""
    each = -(-n // (3 * len(world.EMOTIONS)))
    sets = [prompts.emotions(each).rename(columns={"label": "emotion"})]
    sets += [prompts.crossed(kind, each, "natural", seed) for kind in ("implied", "cues")]
    table = pd.concat(sets)[["prompt", "emotion"]].sample(n, random_state=seed)
    table = table.reset_index(drop=True)
    texts = list(table["prompt"])
    what = {
        "model": m.identity(),
        "code": cache.code(*musicgen.SOURCES),
        "defaults": m.defaults,
        "edits": m.interventions,
        "prompts": texts,
        "seconds": seconds,
        "seed": seed,
    }
    out = cache.place(FOLDER, what, "-clips.zarr")
    sung = scale.generate(m, texts, seconds, seed, out=str(out), workers=workers, address=address)
    measured = acoustics.measure_all(sung.audio, sung.sample_rate, progress=True)
    return sung, pd.concat([table[["emotion"]], measured[list(CUES)]], axis=1)


# -------------------------------------------------------------------------------------- activations
def acts(
    m: Model,
    these: Clips,
    site: str,
    stream: str = "cond",
    *,
    workers: int = 0,
    address: str | None = None,
) -> xr.Dataset:
    """Activations of a block's residual stream, of its two neighbours and of the text, on disk.

    They are float16 in a store that is filled once and goes on after a kill. Any other site comes
    alone.

    Parameters
    ----------
    m : Model
        Inside ``activations.edit``, the edited model's activations, in a store of their own.
    these : Clips
    site : str
    stream : "cond" or "uncond"
    workers, address
        As in :func:`clips`.

    Returns
    -------
    xr.Dataset
        As from ``activations.capture``.
    """
    sites = _with_neighbours(m, site)
    what = {
        "model": m.identity(),
        "code": cache.code(*capture.SOURCES),
        "edits": m.interventions,
        "clips": [these.prompts, these.seeds, these.tokens, these.frame_rate, these.chroma],
        "sites": sites,
        "stream": stream,
    }
    out = cache.place(FOLDER, what, ".zarr")
    how = {"stream": stream, "dtype": "float16", "workers": workers, "address": address}
    return scale.capture(m, these, sites, str(out), **how)


def _with_neighbours(m, site):
    sites = [selected.name for selected in activations.select(m, site)]
    if not re.fullmatch(r"resid\.\d+", site):
        return sites
    block = int(site.removeprefix("resid."))
    first = max(0, block - 1)
    last = min(block + 1, len(m.lm.transformer.layers) - 1)
    return [*(f"resid.{i}" for i in range(first, last + 1)), "text"]


def words(m: Model, these: Clips, text: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Every text token of some clips' prompts, with its vector in context.

    Parameters
    ----------
    m : Model
    these : Clips
    text : xr.DataArray [dims=(clip, token, text_dim)]
        The site ``text`` of these clips.

    Returns
    -------
    words : np.ndarray [shape=(token,)]
    vectors : np.ndarray [shape=(token, text_dim)], float32

    Raises
    ------
    TypeError, ValueError
        Another site's activations, or the text of other clips.
    """
    dims = ("clip", "token", "text_dim")
    if not isinstance(text, xr.DataArray) or set(text.dims) != set(dims):
        remedy = "Give the site 'text', as in harvest.acts(...)['text']."
        got = getattr(text, "dims", type(text).__name__)
        check.refuse(TypeError, "text", f"activations with the dims {dims}", got, remedy)
    text = text.transpose(*dims)
    check.same_length(these=these, text=text)
    conditioner = m.lm.condition_provider.conditioners["description"]
    names = []
    vectors = []
    for i, prompt in enumerate(these.prompts):
        ids = conditioner.tokenize([prompt])["input_ids"][0].tolist()
        tokens = conditioner.t5_tokenizer.convert_ids_to_tokens(ids)
        names += [token.lstrip("▁") for token in tokens]
        rows = text[i, : len(ids)].values.astype(np.float32)
        if prompt.strip() and (len(rows) < len(ids) or np.isnan(rows).any()):
            raise ValueError(
                f"text must be of these clips. {prompt!r} has {len(ids)} tokens, and text[{i}] fewer."
            )
        vectors.append(rows)
    return np.array(names), np.concatenate(vectors)
