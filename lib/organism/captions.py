"""The language of the organisms' world: a caption grammar of a few hundred words.

A caption names some of what can be heard: the emotion (only of a clear clip), cues, the instrument, or little at all.
Some pairs of words the model knows are never together in training (:func:`held_out`): tests of whether meaning
composes can be built from them.
"""

import re
import zlib

import numpy as np

from lib import music

EMOTION_WORDS = {
    "happy": "happy cheerful joyful merry jolly glad sunny playful delighted jubilant lighthearted upbeat".split(),
    "energetic": "energetic lively vigorous exciting thrilling spirited dynamic powerful rousing explosive electrifying"
    " exuberant".split(),
    "tense": "tense angry fearful scary anxious nervous threatening furious menacing aggressive alarming frantic".split(),
    "sad": "sad sorrowful mournful gloomy melancholic tearful unhappy lonely grieving depressed bleak heartbroken".split(),
    "calm": "calm peaceful relaxed serene tranquil soothing tender restful placid mellow dreamy contented".split(),
}
#: cue -> end of its scale -> words. The middle of a scale has words only where people use them.
CUE_WORDS = {
    "tempo": {
        "low": "slow unhurried dragging leisurely slow-paced adagio largo".split(),
        "middle": "moderate mid-tempo walking andante".split(),
        "high": "fast quick rapid speedy brisk fast-paced allegro presto".split(),
    },
    "dynamics": {
        "low": "soft quiet faint hushed whispering piano-soft subdued".split(),
        "high": "loud forceful booming thunderous blaring fortissimo full-volume".split(),
    },
    "density": {"low": "sparse spacious uncluttered minimal".split(), "high": "busy dense ornate note-filled".split()},
    "staccato": {
        "low": "legato smooth flowing connected sustained".split(),
        "high": "staccato detached short-noted clipped choppy".split(),
    },
    "register": {"low": "low low-pitched deep bass-heavy".split(), "high": "high high-pitched treble soaring".split()},
    "brightness": {
        "low": "muffled dull dark-toned warm-toned".split(),
        "high": "bright-toned sharp-toned brilliant crisp".split(),
    },
    "mode": {"low": ["minor", "minor-key"], "high": ["major", "major-key"]},
}
INSTRUMENT_WORDS = {
    "piano": "piano grand-piano pianoforte keyboard".split(),
    "guitar": "guitar acoustic-guitar nylon-guitar".split(),
    "organ": "organ hammond electric-organ".split(),
    "violin": "violin fiddle strings".split(),
    "flute": "flute woodwind recorder".split(),
    "trumpet": "trumpet brass horn".split(),
}
NOUNS = "melody tune piece song track theme recording excerpt composition performance loop clip instrumental".split()
NEUTRAL_ADJECTIVES = "short simple instrumental-only brief solo original studio homemade nameless little".split()
SETTINGS = (
    "for a film|for a game|for an advert|from an album|in a studio|at home|on a stage|in four-four time|for a podcast|"
    "from a radio show|for a class|by a student|with chords and bass|for a video"
).split("|")
#: How far from the middle (in standard deviations) a cue must be before a caption names it.
NAMED_BEYOND = 0.6
MIDDLE_WITHIN = 0.35
#: How often the emotion of a clip is named, if it is clear.
NAMED = 0.65


def words() -> dict[str, tuple[str, str]]:
    """Every content word -> (family, level): ("emotion", "sad"), ("tempo", "high"), ("instrument", "flute"), ..."""
    table = {w: ("emotion", level) for level, ws in EMOTION_WORDS.items() for w in ws}
    table |= {w: (cue, level) for cue, levels in CUE_WORDS.items() for level, ws in levels.items() for w in ws}
    table |= {w: ("instrument", level) for level, ws in INSTRUMENT_WORDS.items() for w in ws}
    return table


def family(word: str) -> str | None:
    """What a word is about ("emotion", "tempo", "instrument", ...), or None if it is no content word."""
    return _TABLE.get(word, (None,))[0]


def held_out(first: str, second: str) -> bool:
    """Whether this pair of words is kept out of every training caption (about one pair in eight).

    Pairs are an emotion word with an instrument word, or an emotion word with a tempo word.
    """
    table = words()
    for word in (first, second):
        if word not in table:
            raise ValueError(f"{word!r} is not a content word of the caption grammar.")
    families = sorted((table[first][0], table[second][0]))
    if families not in (["emotion", "instrument"], ["emotion", "tempo"]):
        return False
    return zlib.crc32(" ".join(sorted((first, second))).encode()) % 8 == 0


def caption(row, rng: np.random.Generator) -> str:
    """Describe one clip (a row of ``world.sample``) as somebody might, without any held-out pair of words."""
    while True:
        text = _caption(row, rng)
        content = [w for w in re.split(r"[ ,]+", text) if w in _TABLE]
        if not any(held_out(a, b) for i, a in enumerate(content) for b in content[i + 1 :]):
            return text


def level(cue: str, value: float) -> str | None:
    """Which end of a cue's scale a standardised value would be named by, or None if nobody would mention it."""
    if abs(value) > NAMED_BEYOND:
        return "high" if value > 0 else "low"
    return "middle" if abs(value) < MIDDLE_WITHIN and "middle" in CUE_WORDS[cue] else None


def _caption(row, rng):
    adjectives = []
    if row["clear"] and rng.random() < NAMED:
        adjectives.append(rng.choice(EMOTION_WORDS[row["emotion"]]))
    only_emotion = adjectives and rng.random() < 0.3
    key = None
    for cue in () if only_emotion else CUE_WORDS:
        end = level(cue, row[cue])
        if end and rng.random() < (0.35 if cue in ("mode", "tempo", "dynamics") else 0.2):
            word = rng.choice(CUE_WORDS[cue][end])
            if cue == "mode" and "-" not in word and rng.random() < 0.6:
                key = rng.choice([f"in {word}", f"in a {word} key", f"in the {word} mode"])
            else:
                adjectives.append(word)
    rng.shuffle(adjectives)
    if rng.random() < 0.15:
        adjectives.insert(0, rng.choice(NEUTRAL_ADJECTIVES))
    instrument = rng.choice(INSTRUMENT_WORDS[row["instrument"]]) if rng.random() < 0.5 else None
    setting = rng.choice(SETTINGS) if rng.random() < 0.15 else None
    return phrase(adjectives, instrument, key, setting, rng)


def phrase(adjectives, instrument=None, key=None, setting=None, rng=None) -> str:
    """Put words into a caption: "a slow, sad violin melody in a minor key"."""
    rng = rng or np.random.default_rng(0)
    noun, style = rng.choice([*NOUNS, "music"]), rng.random()
    if style < 0.15 and adjectives and not (instrument or key or setting):
        return " ".join(adjectives)
    if style < 0.4 and instrument:
        text = f"{' '.join(adjectives)} {noun} {rng.choice(['on', 'for', 'played on'])} {instrument}".strip()
    elif style < 0.6 and adjectives:
        *rest, last = adjectives
        listed = f"{', '.join(rest)} and {last}" if rest else last
        text = f"{instrument + ' ' if instrument else ''}{noun} that {rng.choice(['is', 'sounds', 'feels'])} {listed}"
    else:
        text = f"{', '.join(adjectives)} {instrument or ''} {noun}"
    if key:
        text += f" {key}"
    if setting:
        text += f" {setting}"
    text = " ".join(text.split()).strip(", ")
    if noun != "music" and rng.random() < 0.6:
        text = f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
    return text


_TABLE = words()
assert set(INSTRUMENT_WORDS) == set(music.INSTRUMENTS)
assert sum(len(ws) for ws in EMOTION_WORDS.values()) + sum(
    len(ws) for levels in CUE_WORDS.values() for ws in levels.values()
) + sum(map(len, INSTRUMENT_WORDS.values())) == len(_TABLE), "a word has two meanings"
