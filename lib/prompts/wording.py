"""The sentences, scenes and word families of the prompt sets, from ``wording.toml``."""

import tomllib
from pathlib import Path

from ..organism import captions


def _read_wording():
    with (Path(__file__).parent / "wording.toml").open("rb") as file:
        return tomllib.load(file)


_WORDING = _read_wording()
#: Whose words: those that the organisms know, or those for a model of real language.
LANGUAGES = ("organism", "natural")
#: Sentences around one word, and around "major" or "minor".
CARRIERS = _WORDING["carriers"]["word"]
MODE_CARRIERS = _WORDING["carriers"]["mode"]
#: Sentences around what music is played on.
NOUN_CARRIERS = _WORDING["carriers"]["noun"]
#: Kinds of instruments and modes -> their words in real language.
INSTRUMENTS = _WORDING["concepts"]["instrument"]
MODES = _WORDING["concepts"]["mode"]
#: Sentences around a word and an instrument, and around a scene and an instrument.
TEMPLATES = _WORDING["templates"]["word"]
SCENE_TEMPLATES = _WORDING["templates"]["scene"]
#: emotion -> scenes that imply it to a model of real language and never name it.
SCENES = _WORDING["scenes"]
#: emotion -> the cues by which musicians express it, as parts of their scales.
PROFILES = _WORDING["profiles"]
#: word -> its lexical family; a word that is not here is a family of its own.
FAMILIES = {word: family for family, words in _WORDING["families"].items() for word in words}
#: word -> degrees on the circle of affect, where people have put it (Russell 1980, figure 2).
CIRCUMPLEX = _WORDING["circumplex"]
#: Words for cues that cannot stand before a noun, or not with another word.
NO_ADJECTIVES = ("minor", "major", "piano-soft")


def with_articles(prompt: str) -> str:
    """The prompt with "an" for "a" where a vowel follows."""
    words = prompt.split()
    following = [*words[1:], ""]
    return " ".join(
        "an" if word == "a" and next_word[:1] in "aeiou" else word
        for word, next_word in zip(words, following, strict=True)
    )


def profile_wordings(emotion: str) -> list[str]:
    """What musicians do for an emotion, in words: ["slow, soft, minor-key", ...]."""
    choices = []
    for cue, end in PROFILES[emotion].items():
        words = captions.CUE_WORDS[cue][end]
        choices.append([word for word in words if word not in NO_ADJECTIVES])
    longest = max(len(words) for words in choices)
    return [", ".join(words[i % len(words)] for words in choices) for i in range(longest)]
