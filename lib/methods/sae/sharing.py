"""SAEs on the Hugging Face hub, where SAELens keeps and finds them.

A repository holds SAEs by name, each in a folder of its own. What :func:`push` puts there,
``sae_lens.SAE.from_pretrained(repository, name)`` reads; :func:`pull` reads what ``push`` or
``sae_lens.upload_saes_to_huggingface`` put there.
"""

import re
from pathlib import Path

import huggingface_hub

from ... import check
from ...musicgen import loading
from . import keeping


def push(s, repository: str, name: str) -> None:
    """Put an SAE on the hub.

    Parameters
    ----------
    s : str, Path or sae_lens.SAE
        The folder that ``train`` kept it in, or the SAE itself. The settings of its training and
        what it is about go with it.
    repository : str
        "owner/name". One that is not there yet is made, for all to see; for another kind, make it
        beforehand.
    name : str
        Of the SAE in there: "resid.4", say. One that is there by that name is replaced.

    Raises
    ------
    FileNotFoundError
        No SAE in the folder.
    ValueError
        No name, nobody logged in, or a hub that does not answer or take it.
    TypeError
        Something that is no SAE.
    """
    import sae_lens

    _check_names(repository, name)
    if isinstance(s, str | Path):
        keeping.load(s)  # what cannot be read is not given to others
    elif not isinstance(s, sae_lens.SAE):
        check.refuse(TypeError, "s", "an SAE, or the folder of one", s)
    if huggingface_hub.get_token() is None:
        raise ValueError(
            f"Nobody is logged in who could write to {repository}: run 'hf auth login', or set "
            "HF_TOKEN to a token with write access."
        )
    if not loading.hub_answers():
        raise ValueError("The Hugging Face hub does not answer: nothing was pushed.")
    try:
        sae_lens.upload_saes_to_huggingface({name: s}, repository, show_progress=False)
    except OSError as error:  # the hub's own errors are such
        raise ValueError(f"The hub did not take {name} for {repository}: {error}") from error


def pull(repository: str, name: str):
    """Fetch an SAE from the hub, or find it in the hub's cache on this machine.

    Parameters
    ----------
    repository, name : str
        As for :func:`push`.

    Returns
    -------
    sae_lens.SAE
        On the CPU; it may be called with activations of any device and precision.

    Raises
    ------
    ValueError
        No such repository or SAE, or a hub that does not answer.
    """
    _check_names(repository, name)
    answers = loading.hub_answers()
    try:
        found = [
            huggingface_hub.hf_hub_download(
                repository, f"{name}/{file}", local_files_only=not answers
            )
            for file in (keeping.WEIGHTS, keeping.CONFIG)
        ]
    except OSError as error:
        reason = "the hub has none" if answers else "the hub does not answer, its cache has none"
        raise ValueError(
            f"There is no SAE {name!r} in {repository}: {reason}. It holds each in a folder of its "
            f"name, with {keeping.CONFIG} and {keeping.WEIGHTS}."
        ) from error
    return keeping.load(Path(found[0]).parent)


def _check_names(repository, name):
    if not loading.names_repository(repository):
        check.refuse(ValueError, "repository", "'owner/name' on the hub", repository)
    if not re.fullmatch(r"\w[\w./-]*", str(name)):
        check.refuse(ValueError, "name", "what the SAE is called there, such as 'resid.4'", name)
