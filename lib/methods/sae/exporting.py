"""Features as Neuronpedia reads them: one JSON file a batch, beside the SAE that SAELens reads.

Neuronpedia shows dashboards of features that ``sae-dashboard`` wrote for language models: its
``batch-N.json`` files, which its importer turns into what is uploaded. :func:`export` writes such
files for a model of music. A text token is here a codec frame, named by its first codebook's token
("0:17"); the logits are those that a feature's direction adds to the tokens of all codebooks
("2:905"), through the last norm's weights and the heads, which is the direct effect alone. Tables
that only make sense beside another SAE or the neurons of an MLP are empty, as in ``sae-dashboard``
where they are switched off.

The SAE is kept beside them with what SAELens needs to find its dashboards (``neuronpedia_id``).

References
----------
Lin 2023, Neuronpedia. SAEDashboard 0.8 (``sae_dashboard.neuronpedia``), whose classes are the
schema.
"""

import copy
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from ... import cache, check
from ...musicgen import Clips, Model, sizing
from .batches import together, vectors
from .codes import frames

#: Tokens whose logits rise or fall most.
TOKENS = 10
#: Clips that excite a feature most; and clips of each interval of its activation.
TOP = 10
INTERVALS = 4
EACH = 3
BINS = 50
DIGITS = 3
#: Features a file.
BATCH = 64
#: Bytes of activations that are held at once; those of one file's features are, whatever they take.
BYTES = 2**30


def export(
    s,
    m: Model,
    site: str,
    clips: Clips,
    acts: xr.DataArray,
    folder,
    name: str,
    which: Iterable[int] | None = None,
    batch: int = BATCH,
) -> list[Path]:
    """Write an SAE's features for Neuronpedia.

    Parameters
    ----------
    s : sae_lens.SAE
    m : Model
        Whose site it reads.
    site : str
        "resid.4": the number is Neuronpedia's layer.
    clips : Clips
    acts : xr.DataArray [dims=(clip, frame, dim)]
        The site's activations in these clips.
    folder : str or Path
        Is made; what has a file's name in it is replaced.
    name : str
        Of the set of SAEs, as Neuronpedia is to call it ("res-scale-16").
    which : iterable of int, optional
        Features; by default all.
    batch : int
        Features a file.

    Returns
    -------
    list of Path
        The batches; ``cfg.json`` and the weights lie beside them.

    Raises
    ------
    ValueError, TypeError
        Clips and activations that do not belong together, a site without a number, a feature that is
        not there, a name with other characters than letters, digits, "." and "-".
    """
    check.same_length(clips=clips, acts=acts)
    layer = _layer(site)
    _check_name(name)
    acts = vectors(acts)
    _check_acts(s, acts, clips)
    chosen = np.flatnonzero(check.selector("which", _listed(which), len(s.W_dec)))
    batch = check.count("batch", batch)
    shared = {
        "n_prompts_total": len(clips),
        "n_tokens_in_prompt": acts.shape[1],
        "dataset": "",
        "decoder_weights_dist": [],
        "vector": [],
    }
    folder = check.path("folder", folder)
    effects = _logits(s, m)
    files = []
    for number, (features, codes) in enumerate(_of_files(s, acts, chosen, batch)):
        rows = [
            {
                **_empty(),
                "feature_index": int(i),
                **_logit_tables(effects[i], m.lm.card),
                **_activity(codes[..., k]),
                **shared,
                "activations": _examples(codes[..., k], clips.tokens),
            }
            for k, i in enumerate(features)
        ]
        about = {"model_id": m.name, "layer": layer, "sae_set": name, "sae_id_suffix": None}
        text = json.dumps({**about, "features": rows}, allow_nan=False)
        files.append(cache.write(folder / f"batch-{number}.json", text))
    folder.mkdir(parents=True, exist_ok=True)
    _save(s, m, site, layer, name, folder)
    return files


def _of_files(s, acts, chosen, batch):
    """Features of each file, and what they are in all clips, [clip, frame, feature].

    All features of all clips may not fit in memory: some clips are encoded at a time, and the columns
    of as many files are kept as :data:`BYTES` holds. For the files behind them clips are encoded
    anew.
    """
    of_a_file = 4 * acts.shape[0] * acts.shape[1] * batch
    held = batch * max(1, BYTES // of_a_file)
    for features in sizing.parts(chosen, held):
        codes = np.concatenate([frames(s, some)[..., features] for some in together(acts, s)])
        for columns in sizing.parts(range(len(features)), batch):
            yield features[columns], codes[..., columns]


def _check_acts(s, acts, clips):
    dim = s.W_dec.shape[1]
    if acts.ndim != 3 or acts.shape[-1] != dim or not acts.size:
        raise ValueError(
            f"acts must be [clip, frame, {dim}]. Got shape {acts.shape}: give those of the site "
            "that the SAE reads."
        )
    if clips.tokens.shape[-1] < acts.shape[1]:
        raise ValueError(
            f"acts have {acts.shape[1]} frames, the clips {clips.tokens.shape[-1]}: "
            "give those of these clips."
        )


def _listed(which):
    return None if which is None else list(which)


def _layer(site):
    number = str(site).rpartition(".")[2]
    if not number.isdecimal():
        check.refuse(ValueError, "site", "one with the number of a block, such as 'resid.4'", site)
    return int(number)


def _check_name(name):
    if not isinstance(name, str) or not name or name.strip("-.") != name:
        check.refuse(ValueError, "name", "letters, digits, '.' and '-'", name)
    if not all(letter.isalnum() or letter in "-." for letter in name):
        check.refuse(ValueError, "name", "letters, digits, '.' and '-'", name)


def _save(s, m, site, layer, name, folder):
    """The SAE, with what SAELens says of one whose dashboards are on Neuronpedia."""
    kept = copy.copy(s)
    kept.cfg = copy.deepcopy(s.cfg)
    kept.cfg.metadata.model_name = m.name
    kept.cfg.metadata.hook_name = site
    kept.cfg.metadata.neuronpedia_id = f"{m.name}/{layer}-{name}"
    kept.save_model(folder)


# ------------------------------------------------------------------------------- what one feature is
def _empty():
    """Tables of a dashboard that are switched off."""
    tables = {
        "neuron_alignment": ("indices", "values", "l1"),
        "correlated_neurons": ("indices", "l1", "pearson"),
        "correlated_features": ("indices", "l1", "pearson"),
    }
    return {f"{table}_{column}": [] for table, columns in tables.items() for column in columns}


@torch.no_grad()
def _logits(s, m):
    """What a unit of every feature adds to the logits, [feature, codebook x token], float32."""
    directions = s.W_dec.detach().float().cpu()
    norm = m.lm.out_norm
    if norm is not None:
        directions = (directions - directions.mean(1, keepdim=True)) * norm.weight.float().cpu()
    heads = torch.cat([head.weight.float().cpu() for head in m.lm.linears])
    return (directions @ heads.T).numpy()


def _logit_tables(effects, card):
    order = np.argsort(effects)
    lowest, highest = order[:TOKENS], order[::-1][:TOKENS]
    heights, edges = np.histogram(effects, BINS)
    return {
        "neg_str": _names(lowest, card),
        "neg_values": _rounded(effects[lowest]),
        "pos_str": _names(highest, card),
        "pos_values": _rounded(effects[highest]),
        "logits_hist_data_bar_heights": heights.tolist(),
        "logits_hist_data_bar_values": _rounded((edges[1:] + edges[:-1]) / 2),
    }


def _names(places, card):
    """Codebook and token of some logits."""
    return [f"{place // card}:{place % card}" for place in places]


def _activity(codes):
    """How often and how strongly it is active; bars are of active frames alone."""
    active = codes[codes > 0]
    heights, edges = np.histogram(active, BINS) if len(active) else ([], np.zeros(1))
    return {
        "frac_nonzero": float((codes > 0).mean()),
        "freq_hist_data_bar_heights": [int(height) for height in heights],
        "freq_hist_data_bar_values": _rounded((edges[1:] + edges[:-1]) / 2),
    }


def _examples(codes, tokens):
    """The clips with the most of it, then some of every interval between nothing and the most."""
    peaks = codes.max(1)
    if not peaks.max() > 0:
        return []
    most = float(peaks.max())
    top = [int(i) for i in np.argsort(-peaks)[:TOP] if peaks[i] > 0]
    found = [_example(codes[i], tokens[i], -1, most, -1) for i in top]
    edges = np.linspace(0, most, INTERVALS + 1)
    active = codes[codes > 0]
    for low, high in zip(edges[-2::-1], edges[:0:-1], strict=True):
        share = float(((active > low) & (active <= high)).mean())
        inside = np.flatnonzero((peaks > low) & (peaks <= high))
        for i in inside[np.linspace(0, len(inside) - 1, min(EACH, len(inside))).astype(int)]:
            found.append(_example(codes[i], tokens[i], float(low), float(high), share))
    return found


def _example(codes, tokens, low, high, share):
    return {
        "bin_min": round(low, DIGITS),
        "bin_max": round(high, DIGITS),
        "bin_contains": share,
        "qualifying_token_index": int(codes.argmax()),
        "tokens": [f"0:{token}" for token in tokens[0, : len(codes)]],
        "values": _rounded(codes),
    }


def _rounded(values):
    return [round(float(value), DIGITS) for value in values]
