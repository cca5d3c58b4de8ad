"""Make the organisms from nothing: ``python -m lib.factory`` (or ``make organisms``).

Stages: render the corpora, train the codec without and then with its quantizer, tokenize, train the
language models of every world, finish them, plant two, refine the decoder. What is ready is
exported at once; every stage goes on from where it was after a kill. ``python -m lib.factory
--finish organism-2`` runs the last round alone, ``--plant organism-planted`` the planting, and
``--plant-on organism-planted`` its second round.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import safetensors.numpy
import torch

from ..musicgen import miniature
from ..organism import planting as places
from ..organism import world
from . import codec, corpora, language, plan, planting

#: Models that have a last round. It would take what was planted out of its place.
FINISHED = tuple(model for name in world.WORLDS for model in world.models(name))


def main(argv=None):
    parser = argparse.ArgumentParser(prog="factory", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=miniature.WEIGHTS, help="folder of the finished models"
    )
    alone = parser.add_mutually_exclusive_group()
    planted = tuple(places.PLACES)
    rounds = {
        "--finish": (FINISHED, "only the last round, of models in the folder"),
        "--plant": (planted, "only the planted organisms, from organism"),
        "--plant-on": (planted, "only the second round of planted organisms"),
    }
    for option, (known, told) in rounds.items():
        alone.add_argument(option, nargs="+", metavar="MODEL", choices=known, help=told)
    arguments = parser.parse_args(argv)
    if arguments.finish:
        finish(arguments.out, arguments.finish)
    elif arguments.plant:
        plant(arguments.out, arguments.plant)
    elif arguments.plant_on:
        plant(arguments.out, arguments.plant_on, further=True)
    else:
        make(arguments.out)


def make(out: Path) -> None:
    """All stages."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    audio = [corpora.render(name, clips) for name, clips in plan.CODEC_MUSIC.items()]
    trained = codec.train(audio, device)
    codec.export(trained, out / "codec")
    # the shipped, half-precision weights make the tokens
    shipped = miniature.load_codec(out / "codec", device)
    for name in world.WORLDS:
        music = name if name in plan.MUSIC else "organism"
        tokens, table = corpora.tokenize(music, plan.CLIPS[music], shipped, device)
        for model in world.models(name):
            language.export(model, language.train(model, tokens, table, device), out / model)
            learned = language.finish(model, tokens, table, device, out / model)
            language.export(model, learned, out / model)
    plant(out, places.PLACES)
    plant(out, places.PLACES, further=True)
    # last, because it changes no token
    codec.export(codec.refine_decoder(shipped, audio, device), out / "codec")


def finish(out: Path, models: Iterable[str]) -> None:
    """The last round of some exported models, on less music, where there is no GPU: hours of the
    first rounds are not repeated.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shipped = miniature.load_codec(out / "codec", device)
    for model in models:
        name = world.of(model)
        music = name if name in plan.MUSIC else "organism"
        tokens, table = corpora.tokenize(music, plan.FINISH_CLIPS, shipped, device)
        learned = language.finish(model, tokens, table, device, out / model)
        language.export(model, learned, out / model)


def plant(out: Path, models: Iterable[str], further: bool = False) -> None:
    """Planted organisms, from the exported organism (or further, from themselves) and less music."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shipped = miniature.load_codec(out / "codec", device)
    tokens, table = corpora.tokenize("organism", plan.PLANTING_CLIPS, shipped, device)
    for model in models:
        settings = plan.PLANTING_ON if further else plan.PLANTING
        start = out / model if further else None
        taught_by = out / places.TAUGHT_BY
        planted, writing = planting.plant(
            model, tokens, table, device, taught_by, settings, start=start
        )
        language.export(model, planted, out / model)
        safetensors.numpy.save_file(writing, out / model / places.FILE)


if __name__ == "__main__":
    main()
