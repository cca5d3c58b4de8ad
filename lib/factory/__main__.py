"""Make the organisms from nothing: ``python -m lib.factory`` (or ``make organisms``).

Stages: render the corpora, train the codec without and then with its quantizer, tokenize, train one
language model a world, refine the decoder. What is ready is exported at once; every stage goes on
from where it was after a kill.
"""

import argparse
from pathlib import Path

import torch

from ..musicgen import miniature
from ..organism import world
from . import codec, corpora, language, plan


def main(argv=None):
    parser = argparse.ArgumentParser(prog="factory", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=miniature.WEIGHTS, help="folder of the finished models"
    )
    arguments = parser.parse_args(argv)
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
    # last, because it changes no token
    codec.export(codec.refine_decoder(shipped, audio, device), out / "codec")


if __name__ == "__main__":
    main()
