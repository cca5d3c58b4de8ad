"""An organism that sings in the reader's browser: no kernel, and no server beyond files.

The page holds what is small (vocabulary, directions, features); the graphs (``musicgen.browser``),
the scripts and onnxruntime-web lie beside the built book, where :func:`copy` puts them, and are
loaded only when the reader asks for them.

>>> from lib import model
>>> from lib.pages import alive
>>> m = model.load("organism")
>>> alive.words(m)["sad"], alive.words(m)["violin"]
('sad', 'violin')
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import cache, check
from ..methods import steering
from ..musicgen import Model, browser
from ..organism import captions, world
from . import embed, runtime
from .colors import COLORS, symbol

#: Where the built book has it all, as pages of chapters see it.
FOLDER = "alive"
#: Largest strength of a slider, mean norms of the site (chapter 30's largest).
MOST = 0.24
#: Seconds of a song.
SECONDS = 6.0
#: How a page's markup names its graphs, in HTML and in a notebook's file.
NAMED = re.compile(r'data-graphs=\\?"([0-9a-f]+)')
#: Where a page holds what it sings with.
HELD = "[data-graphs] > script"
SCRIPTS = embed.STATIC / FOLDER


@dataclass(frozen=True)
class Feature:
    """One feature of a sparse autoencoder, as a page computes it: active is ``weight @ x + bias``
    where that is above ``threshold``, else nothing.

    Attributes
    ----------
    name : str
        What it goes with.
    block : int
    weight : list of float
        [dim].
    bias, threshold : float
    direction : list of float
        What it adds to the stream, of length 1, [dim].
    peak : float
        Its largest activation.
    """

    name: str
    block: int
    weight: list[float]
    bias: float
    threshold: float
    direction: list[float]
    peak: float


def features(s, site: str, named: Mapping[int, str], peaks: Sequence[float]) -> list[Feature]:
    """Some features of a sparse autoencoder.

    Parameters
    ----------
    s : sae_lens.SAE
        On a block of the residual stream.
    site : str
        ``resid.i``.
    named : mapping
        Number of a feature -> its label, as ``features.name`` gives it ("tempo high").
    peaks : sequence of float
        The largest activation of each feature [feature] (``sae.activity``).
    """
    encoder = s.W_enc.detach().cpu().double().numpy()
    bias = s.b_enc.detach().cpu().double().numpy()
    if s.cfg.apply_b_dec_to_input:
        bias = bias - s.b_dec.detach().cpu().double().numpy() @ encoder
    decoder = s.W_dec.detach().cpu().double().numpy()
    cuts = s.threshold.detach().cpu().tolist() if hasattr(s, "threshold") else [0.0] * len(decoder)
    found = []
    for number, name in named.items():
        found.append(
            Feature(
                name=f"{in_words(name)} (feature {number})",
                block=_block(site),
                weight=encoder[:, number].tolist(),
                bias=float(bias[number]),
                threshold=cuts[number],
                direction=(decoder[number] / np.linalg.norm(decoder[number])).tolist(),
                peak=float(peaks[number]),
            )
        )
    return found


def in_words(label: str) -> str:
    """A label as one says it: "tempo: fast" for "tempo high", "arousal: high" for "arousal high",
    "anything but sad" for "not sad"; any other as it is."""
    cue, _, end = label.rpartition(" ")
    if end in ("low", "high"):
        return f"{cue}: {getattr(world.CUES[cue], end) if cue in world.CUES else end}"
    if label.startswith("not "):
        return f"anything but {label.removeprefix('not ')}"
    return label


class Alive:
    """The page: plain HTML that becomes alive in the built book.

    Parameters
    ----------
    model : Model
        An organism (``browser.check``).
    axes : mapping
        "valence" and "arousal" -> steering.Vector at one block of the residual stream, along which
        songs are read: at -1 where those of one kind lie on average, at +1 those of the other.
    pushes : mapping
        Name -> steering.Vector along which a slider pushes, in the same units as elsewhere (mean
        norms of the site).
    features : list of Feature
        Shown while it sings, and sliders to turn them up.
    places : mapping
        Emotion -> (valence, arousal) as read, on average, from other songs: marks to find one's
        way.

    Attributes
    ----------
    data : dict
        What the page holds.

    Raises
    ------
    ValueError
        A model that a browser is not to load, axes at several sites or of another model.
    """

    def __init__(
        self,
        model: Model,
        axes: Mapping[str, steering.Vector],
        pushes: Mapping[str, steering.Vector],
        features: Sequence[Feature] = (),
        places: Mapping[str, Sequence[float]] | None = None,
    ):
        browser.check(model)
        for vector in (*axes.values(), *pushes.values()):
            steering.vectors.check_vector(model, vector)
        shape = browser.shape(model)
        self.graphs = browser.files(model)
        self.data = {
            "name": model.name,
            "shape": {_in_script(name): value for name, value in asdict(shape).items()},
            "tokenizer": vocabulary(model),
            "words": words(model),
            "axes": [{"name": name, **_axis(vector)} for name, vector in axes.items()],
            "features": [asdict(feature) for feature in features],
            "levers": _levers(pushes, features),
            "places": dict(places or {}),
            "colors": COLORS,
            "shapes": {name: symbol(name) for name in COLORS},
            "most": MOST,
            "settings": {
                "seconds": min(SECONDS, model.max_seconds),
                "temperature": model.defaults["temperature"],
                "topK": model.defaults["top_k"],
                "guidance": model.defaults["cfg"],
            },
            "graphs": {name: f"{self.graphs.name}/{name}.onnx" for name in browser.GRAPHS},
            "runtime": dict(zip(("script", "program"), _runtime(), strict=True)),
            "bytes": size(self.graphs),
        }

    def html(self) -> str:
        """The page."""
        place = embed.place(FOLDER)
        return embed.render(
            "alive.html", place=place, graphs=self.graphs.name, data=embed.plain(self.data)
        )

    def _repr_html_(self):
        return self.html()


def along(vector: steering.Vector, x) -> np.ndarray:
    """Where vectors [..., dim] are read along an axis, [...]: -1 and +1 where songs of either kind
    lie on average."""
    axis = _axis(vector)
    return (np.asarray(x) @ np.array(axis["unit"]) - axis["middle"]) / axis["half"]


def size(graphs: Path) -> int:
    """Bytes that a reader loads: graphs and runtime."""
    loaded = [*(graphs / f"{name}.onnx" for name in browser.GRAPHS), *runtime.files("onnxruntime")]
    return sum(file.stat().st_size for file in loaded)


def sings(text: str) -> bool:
    """Whether a notebook or page, as a text, holds an organism that sings."""
    return NAMED.search(text) is not None


def copy(pages: Path) -> None:
    """Put beside the built pages what those load that hold an organism.

    Parameters
    ----------
    pages : Path
        Folder of the HTML pages.

    Raises
    ------
    FileNotFoundError
        A page was executed where its graphs are no longer kept.
    """
    from bs4 import BeautifulSoup

    texts = [file.read_text(encoding="utf-8") for file in sorted(pages.rglob("*.html"))]
    wanted = sorted({name for text in texts for name in NAMED.findall(text)})
    graphs = [cache.ROOT / browser.FOLDER / name for name in wanted]
    for folder in graphs:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"A page sings with {folder}, which is not there: delete the executed copy of its "
                "notebook and run 'make notebooks' again."
            )
    target = pages / FOLDER
    shutil.rmtree(target, ignore_errors=True)
    if not graphs:
        return
    shutil.copytree(SCRIPTS, target)
    shared = embed.script("elements", "vector", "alone", "exported")
    (target / "elements.mjs").write_text(str(shared), encoding="utf-8")
    (target / "runtime").mkdir()
    for file in runtime.files("onnxruntime"):
        shutil.copy(file, target / "runtime")
    for folder in graphs:
        shutil.copytree(folder, target / folder.name)
    # for the panels of other pages
    page = next(text for text in texts if sings(text))
    held = BeautifulSoup(page, "html.parser").select_one(HELD)
    (target / "panel.json").write_text(held.string, encoding="utf-8")
    (target / "panel.css").write_text(str(embed.style(FOLDER)), encoding="utf-8")


# ---------------------------------------------------------------------------------- what a page holds
def vocabulary(model: Model) -> dict:
    """A word tokenizer as ``tokenizer.mjs`` reads it.

    Raises
    ------
    ValueError
        Another kind of tokenizer.
    """
    tokenizer = model.lm.condition_provider.conditioners["description"].t5_tokenizer
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    pieces = parts["model"]
    if pieces["type"] != "WordPiece" or parts["normalizer"] != {"type": "Lowercase"}:
        raise ValueError(
            f"{model.name} reads text with a tokenizer of another kind than the organisms' "
            f"(miniature.make_text_encoder), which alone is written for browsers: {pieces['type']}."
        )
    return {
        "vocabulary": pieces["vocab"],
        "unknown": pieces["unk_token"],
        "end": tokenizer.eos_token,
        "most": pieces["max_input_chars_per_word"],
    }


def words(model: Model) -> dict[str, str]:
    """The words that an organism has learned, each with what it says: an emotion, one end of a cue
    ("slow"), an instrument; "" for any other.
    """
    said = {}
    for emotion, some in captions.EMOTION_WORDS.items():
        said |= dict.fromkeys(some, emotion)
    for cue, ends in captions.CUE_WORDS.items():
        for end, some in ends.items():
            said |= dict.fromkeys(some, f"{cue}, {end}")
    for instrument, some in captions.INSTRUMENT_WORDS.items():
        said |= dict.fromkeys(some, instrument)
    known = vocabulary(model)["vocabulary"]
    learned = [word for word in known if re.fullmatch(r"[a-z][a-z-]+|a", word)]
    return {word: said.get(word, "") for word in learned}


def _axis(vector):
    """An axis as a page reads it."""
    site = _site(vector)
    sign = np.sign(vector.gaps[site])
    return {
        "block": _block(site),
        "unit": (vector.units[site] * sign).tolist(),
        "middle": float(vector.middles[site] * sign),
        "half": float(abs(vector.gaps[site]) * vector.norms[site] / 2),
    }


def _levers(pushes, features):
    """What sliders add at strength 1: one mean norm of the site."""
    found = []
    norms = {}
    for name, vector in pushes.items():
        site = _site(vector)
        norms[_block(site)] = vector.norms[site]
        push = vector.units[site] * vector.norms[site]
        found.append({"name": name, "block": _block(site), "push": push.tolist()})
    for feature in features:
        if feature.block not in norms:
            raise ValueError(
                f"{feature.name} lies in block {feature.block}, where nothing else pushes: its "
                f"strength would have no unit. Blocks with a direction: {sorted(norms)}."
            )
        push = np.multiply(feature.direction, norms[feature.block])
        found.append({"name": feature.name, "block": feature.block, "push": push.tolist()})
    return found


def _site(vector):
    if len(vector.units) != 1:
        raise ValueError(f"An axis lies at one site. Got {sorted(vector.units)}.")
    return next(iter(vector.units))


def _block(site):
    """The number of a block of the residual stream."""
    found = re.fullmatch(r"resid\.(\d+)", site)
    if not found:
        check.refuse(ValueError, "site", "a block of the residual stream, 'resid.i'", site)
    return int(found[1])


def _runtime():
    """The runtime's files as the page names them."""
    return [f"runtime/{file.name}" for file in runtime.files("onnxruntime")]


def _in_script(name):
    """A name as JavaScript writes it: frameRate."""
    first, *others = name.split("_")
    return first + "".join(part.title() for part in others)
