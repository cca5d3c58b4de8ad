"""Sites: the named places of a MusicGen where activations are read and changed.

``text`` (T5 output, a vector a text token), ``cond`` (the same projected to the model's width),
``embed`` (what enters block 0: token embeddings plus position), ``resid.i`` (what block i passes
on), ``attn.i``, ``cross.i``, ``mlp.i`` (what each sublayer adds to it), ``head.i.h`` and
``cross_head.i.h`` (what one attention head adds; they sum to ``attn.i`` and ``cross.i``) and
``logits``. A melody model, which reads text in front of the music and not by cross-attention, has no
``cross.i``; its sites hold the music's positions alone. The model is pre-norm, so ``embed`` plus all that is added up to block i is ``resid.i``.
"""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from .. import check
from . import forward


@dataclass(frozen=True)
class Site:
    """A named place in a model.

    Attributes
    ----------
    name : str
    axis : str
        "frame" or "token".
    width : int
    equation : str
        Its place in the computation.
    """

    name: str
    axis: str
    width: int
    equation: str


def sites(model, heads: bool = False) -> dict[str, Site]:
    """Every site of a model, in the order of the computation.

    Parameters
    ----------
    model : Model
    heads : bool
        With those of single attention heads.

    Raises
    ------
    ValueError
        For an architecture other than MusicGen's (``forward.check``).
    """
    lm = model.lm
    forward.check(lm)
    blocks = len(lm.transformer.layers)
    text_width = lm.condition_provider.conditioners["description"].dim
    found = [
        Site("text", "token", text_width, "T5(prompt)"),
        Site("cond", "token", lm.dim, "W text"),
        Site("embed", "frame", lm.dim, "Σₖ Eₖ[codeₖ] + position"),
    ]
    for i in range(blocks):
        found += _block(lm, i, heads)
    found.append(Site("logits", "frame", lm.card, f"Uₖ LN(resid.{blocks - 1})"))
    return {site.name: site for site in found}


def _block(lm, i, heads):
    """The sites of one block."""
    before = f"resid.{i - 1}" if i else "embed"
    prefixed = forward.prefixed(lm)
    attention = f"attention(LN({before}){', prefix' if prefixed else ''})"
    reading = f"cross-attention(LN({before} + attn.{i}), cond)"
    found = []
    number = lm.transformer.layers[i].self_attn.num_heads if heads else 0
    found += [
        Site(f"head.{i}.{h}", "frame", lm.dim, f"head {h} of {attention}") for h in range(number)
    ]
    found.append(Site(f"attn.{i}", "frame", lm.dim, attention))
    read = f"{before} + attn.{i}"
    if not prefixed:
        found += [
            Site(f"cross_head.{i}.{h}", "frame", lm.dim, f"head {h} of {reading}")
            for h in range(number)
        ]
        found.append(Site(f"cross.{i}", "frame", lm.dim, reading))
        read = f"{read} + cross.{i}"
    found.append(Site(f"mlp.{i}", "frame", lm.dim, f"MLP(LN({read}))"))
    found.append(Site(f"resid.{i}", "frame", lm.dim, f"{read} + mlp.{i}"))
    return found


def at(model, depth: float, kind: str = "resid") -> str:
    """The site of a kind at a relative depth, so that a question may be asked of models of any
    size.

    Parameters
    ----------
    model : Model
    depth : float, 0 to 1
        0 is the first block, 1 the last.
    kind : "resid", "attn", "cross" (of a model with cross-attention) or "mlp"

    Raises
    ------
    ValueError
        For a depth outside 0 to 1, or another kind.
    """
    check.number("depth", depth, 0, 1)
    check.choice("kind", kind, ("resid", *forward.sublayers(model.lm)))
    return f"{kind}.{round(depth * (len(model.lm.transformer.layers) - 1))}"


def reading_text(model) -> str:
    """The sites by which a model reads its text, as a glob: of every cross-attention, or of a melody
    model, which has none, of every self-attention.
    """
    return "attn.*" if forward.prefixed(model.lm) else "cross.*"


def select(model, names: str | Iterable[str]) -> list[Site]:
    """Sites by name or glob ("resid.*", "head.3.*"), in the order of the computation.

    Globs reach single heads only where they begin with "head" or "cross_head".

    Raises
    ------
    ValueError
        For a name that no site has; the message lists those there are.
    """
    if not isinstance(names, Iterable):
        check.refuse(TypeError, "sites", "the name of a site, or several, such as 'resid.*'", names)
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError("sites is empty: name at least one, such as 'resid.*'.")
    there = sites(model, heads=any(str(name).startswith(("head", "cross_head")) for name in names))
    for name in names:
        if not isinstance(name, str) or not fnmatch.filter(there, name):
            raise ValueError(_unknown(model, name))
    return [site for site in there.values() if any(_matches(site.name, name) for name in names)]


def _matches(site, name):
    heads = site.startswith(("head", "cross_head"))
    asked = name.startswith(("head", "cross_head"))
    return fnmatch.fnmatchcase(site, name) and (asked or not heads)


def _unknown(model, name):
    blocks = model.lm.transformer.layers
    kinds = [f"{kind}.i" for kind in (*forward.sublayers(model.lm), "resid")]
    heads = "head.i.h" if forward.prefixed(model.lm) else "head.i.h, cross_head.i.h"
    why = " It reads text in front of the music, without cross-attention."
    return (
        f"{model.name} has no site {name!r}.{why if forward.prefixed(model.lm) else ''} There are "
        f"text, cond, embed, logits and {', '.join(kinds)} for "
        f"i from 0 to {len(blocks) - 1}, and {heads} for h from 0 to "
        f"{blocks[0].self_attn.num_heads - 1}; globs such as 'resid.*' select several."
    )
