"""One song's attribution graph, to click on and to hear."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from IPython.display import HTML

from .. import check
from ..methods.causal import tracing
from ..methods.sae import transcoders
from ..musicgen import Clips
from . import embed
from .audio import packed
from .colors import color

#: Of each clip, around the place where a feature is most active.
EXCERPT = 1.2  # seconds


def song_graph(
    found: tracing.Graph,
    measured: np.ndarray,
    labels: Mapping[tuple[int, int], str],
    acts: Sequence[xr.DataArray],
    clips: Clips,
) -> HTML:
    """A graph as a drawing: a column a position, a row a block. A node that is chosen shows what it
    reads and writes, what happens without it, and where else it is active.

    Parameters
    ----------
    found : tracing.Graph
        Pruned to what a reader can take in (``tracing.prune``).
    measured : array_like [shape=(node,)]
        By how much the token's logit changed when each node but the token was taken out.
    labels : mapping
        Block and feature -> what it answers to; those that are not in it have no label.
    acts : sequence of xr.DataArray [dims=(clip, position, dim)]
        What every block's MLP reads and writes (``transcoders.recorded``) in ...
    clips : Clips
        ... the clips that examples are taken from.

    Raises
    ------
    ValueError
        Not one measurement for every node but the token, not one recording a block.
    """
    measured = check.array("measured", measured, (len(found.nodes) - 1,))
    check.same_length(acts=acts, transcoders=found.song.transcoders)
    song = found.song.clips
    foretold = tracing.foretold(found)[-1]
    sounds = _sounds(found, acts, clips)
    nodes = []
    for number, node in enumerate(found.nodes.itertuples()):
        label = labels.get((node.block, node.feature), "") if node.kind == "feature" else ""
        nodes.append(
            {
                "kind": node.kind,
                "name": _name(found, node, label),
                "block": node.block,
                "position": node.position,
                "color": color(label.split(" ")[0]),
                "influence": node.influence,
                "activation": node.activation,
                "foretold": foretold[number],
                "measured": measured[number] if number < len(measured) else None,
                "sounds": sounds.get((node.block, node.feature), []),
            }
        )
    edges = [
        [int(target), int(source), round(float(found.edges[target, source]), 3)]
        for target, source in np.argwhere(found.edges != 0)
    ]
    data = {
        "nodes": nodes,
        "edges": edges,
        "blocks": len(found.song.transcoders),
        "positions": found.song.position(found.target) + 1,
        "rate": song.frame_rate,
        "prompt": song.prompts[0],
        "song": packed(found.song.model.decode(song.tokens)[0], song.sample_rate),
    }
    told = [song.prompts[0], *(node["name"] for node in nodes)]
    return HTML(embed.drawn("song-graph", data, (*embed.SOUND, "song_graph"), told))


def _sounds(found, acts, clips):
    """Captions and excerpts of the clips that excite each feature most: (block, feature) -> list."""
    frames = clips.tokens.shape[-1]
    model = found.song.model
    sounds = {}
    features = found.nodes[found.nodes["kind"] == "feature"]
    for block, some in features.groupby("block"):
        wanted = sorted(set(some["feature"]))
        where = transcoders.peaks(found.song.transcoders[block], acts[block][:, :frames], wanted)
        for feature, best in where.items():
            audio = model.decode(clips.tokens[[clip for clip, *_ in best]]) if best else []
            sounds[block, feature] = [
                [
                    clips.prompts[clip] or "no words",
                    packed(
                        _excerpt(sound, model.sample_rate, frame / clips.frame_rate),
                        model.sample_rate,
                    ),
                ]
                for (clip, frame, _), sound in zip(best, audio, strict=True)
            ]
    return sounds


def _excerpt(audio, sample_rate, second):
    """A part of a clip [sample] around a place."""
    length = round(EXCERPT * sample_rate)
    first = round((second - EXCERPT / 2) * sample_rate)
    first = max(0, min(first, len(audio) - length))
    return audio[first : first + length]


def _name(found, node, label):
    """What a node is called."""
    rate = found.song.clips.frame_rate
    at = f"{node.position / rate:.2f} s"
    if node.kind == "word":
        return f"“{found.song.words[node.position]}”, read by block {node.block}"
    if node.kind == "sung":
        return f"music sung before {at}"
    if node.kind == "error":
        return f"error of block {node.block} at {at}"
    if node.kind == "token":
        target = found.target
        return f"token {target.token} of codebook {target.codebook} at {at}"
    known = f": {label}" if label else ""
    return f"feature {node.feature} of block {node.block} at {at}{known}"


def labelled(named: Sequence[pd.DataFrame], least: float) -> dict[tuple[int, int], str]:
    """Labels that hold on unseen clips: block and feature -> label.

    Parameters
    ----------
    named : sequence of pd.DataFrame
        From ``features.name``, one a block.
    least : float
        AUROC on unseen clips from which a label holds.
    """
    return {
        (block, int(feature)): table["label"][feature]
        for block, table in enumerate(named)
        for feature in np.flatnonzero(table["held_out"] >= least)
    }
