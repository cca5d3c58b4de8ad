"""Controlled sets of prompts: what is said is known, and nothing else varies.

A set is a DataFrame with columns ``prompt``, ``label`` and ``word``: every row names one thing by one word of the
organisms' language, in one of a few carrier phrases, balanced over labels.
"""

import itertools

import numpy as np
import pandas as pd

from lib.organism import captions

CARRIERS = ("a {} melody", "{} music", "a tune that sounds {}", "a {} piece")
MODE_CARRIERS = ("a melody in {}", "music in a {} key", "a tune in the {} mode", "a piece in {}")


def _article(prompt):
    return " ".join(
        "an" if word == "a" and following[:1] in "aeiou" else word
        for word, following in zip(prompt.split(), [*prompt.split()[1:], ""], strict=True)
    )


def _set(words_by_label, n, carriers):
    if n < 1:
        raise ValueError(f"n must be at least 1 prompt a label. Got {n!r}.")
    rows = []
    for label, words in words_by_label.items():
        for i in range(n):
            word = words[i % len(words)]
            carrier = carriers[(i + i // len(words)) % len(carriers)]
            rows.append((_article(carrier.format(word)), label, word))
    return pd.DataFrame(rows, columns=["prompt", "label", "word"])


def emotions(n: int = 36) -> pd.DataFrame:
    """``n`` prompts for each emotion, from emotion words alone."""
    return _set(captions.EMOTION_WORDS, n, CARRIERS)


def cue(name: str, n: int = 36) -> pd.DataFrame:
    """``n`` prompts for each end ("low", "high") of a cue, from words for that cue alone.

    Parameters
    ----------
    name : str
        A key of ``captions.CUE_WORDS``: tempo, dynamics, density, staccato, register, brightness, mode.
    """
    if name not in captions.CUE_WORDS:
        raise ValueError(f"cue must be one of {sorted(captions.CUE_WORDS)}. Got {name!r}.")
    if name == "mode":
        return _set({"low": ["minor"], "high": ["major"]}, n, MODE_CARRIERS)
    return _set({end: captions.CUE_WORDS[name][end] for end in ("low", "high")}, n, CARRIERS)


# ------------------------------------------------------------------------------------------ crossed sets
KINDS = ("name", "implied", "cues", "neutral")
TEMPLATES = (
    "a {word} {instrument} melody",
    "{word} {instrument} music",
    "a {instrument} tune that sounds {word}",
    "a {word} piece on {instrument}",
    "a {instrument} theme that is {word}",
    "{word} music for {instrument}",
    "a {word} song played on {instrument}",
    "a {instrument} recording that feels {word}",
)
SCENE_TEMPLATES = (
    "{instrument} music for {word}",
    "a {instrument} piece that fits {word}",
    "the {instrument} soundtrack of {word}",
    "a {instrument} melody for a film scene of {word}",
    "{instrument} music that makes you think of {word}",
    "a {instrument} tune inspired by {word}",
    "{word}, told by a {instrument}",
    "a song for {instrument} about {word}",
)
#: What implies an emotion to a model of real language: scenes that never say its name nor a synonym.
SCENES = {
    "happy": (
        "a birthday party", "children playing in a park", "a wedding dance", "the first day of the holidays",
        "winning a prize", "friends meeting again", "a parade in summer", "a baby's first laugh", "a picnic in the sun",
        "coming home with good news", "a puppy in the snow", "the last day of school",
    ),
    "energetic": (
        "a workout at the gym", "a race between motorbikes", "a football final", "a dance club at midnight",
        "running up a mountain", "a boxing match", "a crowd jumping at a concert", "surfing on high waves",
        "a samba school at carnival", "skiing down a steep slope", "a drum battle", "a sprint to the finish",
    ),
    "tense": (
        "somebody hiding from a killer", "a ticking bomb", "footsteps behind you in a dark alley", "a storm at sea",
        "a shark under the boat", "a haunted house", "an interrogation", "a rope that is about to break",
        "wolves around the camp", "a car without brakes", "a knife in the dark", "a jury before the verdict",
    ),
    "sad": (
        "a funeral", "a farewell at the station", "an empty house after a divorce", "an old man alone at a table",
        "a letter from a dead friend", "rain on a grave", "the last visit to a hospital", "a lost child",
        "a dog waiting for its dead master", "a broken engagement", "leaving home for ever", "a town after the war",
    ),
    "calm": (
        "falling asleep", "a lake at dawn", "a meditation", "a slow walk in the woods", "a warm bath",
        "snow falling at night", "floating on water", "a cat in the sun", "tea in a garden", "clouds drifting by",
        "a massage", "a library in the evening",
    ),
}  # fmt: skip
#: The cues by which musicians express each emotion (after Gabrielsson and Lindström 2010), as ends of captions' scales.
PROFILES = {
    "happy": {"tempo": "middle", "register": "high", "mode": "high"},
    "energetic": {"tempo": "high", "dynamics": "high", "staccato": "high"},
    "tense": {"tempo": "high", "dynamics": "high", "mode": "low"},
    "sad": {"tempo": "low", "dynamics": "low", "mode": "low"},
    "calm": {"tempo": "low", "dynamics": "low", "mode": "high"},
}
#: Words of one lexical family never stand on two sides of a split.
FAMILIES = {
    "glad": "delight", "delighted": "delight", "joyful": "joy", "jubilant": "joy", "gloomy": "gloom", "scary": "scare",
    "fearful": "fear", "sad": "sad", "sorrowful": "sorrow", "anxious": "anxious", "relaxed": "rest", "restful": "rest",
    "lively": "life", "lighthearted": "heart", "heartbroken": "heartbreak",
}  # fmt: skip


def crossed(kind: str, n: int = 48, language: str = "organism", seed: int = 0) -> pd.DataFrame:
    """``n`` prompts for each emotion: words x templates x instruments, balanced over all three.

    Parameters
    ----------
    kind : "name", "implied", "cues" or "neutral"
        The emotion's own name; other words for it (organism) or scenes that never name it (natural); what the music
        does, without any emotion; neither (one label, ``neutral``).
    n : int
        Prompts for each emotion.
    language : "organism" or "natural"
        Words that the organisms know, or those for a model of real language.
    seed : int
        Which template and instrument meets which word.

    Returns
    -------
    pd.DataFrame
        Columns prompt, emotion, kind, word, family (for grouped splits), template (its number), instrument, and
        held_out (a pair of words that no organism has seen together).
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}. Got {kind!r}.")
    if language not in ("organism", "natural"):
        raise ValueError(f"language must be 'organism' or 'natural'. Got {language!r}.")
    if n < 1:
        raise ValueError(f"n must be at least 1 prompt an emotion. Got {n!r}.")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    scenes = kind == "implied" and language == "natural"
    templates = SCENE_TEMPLATES if scenes else TEMPLATES
    rows = []
    for emotion in ("neutral",) if kind == "neutral" else captions.EMOTION_WORDS:
        words = _words(kind, emotion, scenes)
        # a shuffled full crossing, then repeated: every word, template and instrument is used equally often
        cells = list(itertools.product(range(len(templates)), captions.INSTRUMENT_WORDS))
        cells = [cells[i] for i in rng.permutation(len(cells))]
        if n > len(cells) * len(words):
            raise ValueError(
                f"There are at most {len(cells) * len(words)} distinct prompts of kind {kind!r} for {emotion}. Got n = {n}."
            )
        for i in range(n):
            word, (template, instrument) = words[i % len(words)], cells[(i + i // len(cells)) % len(cells)]
            prompt = _article(templates[template].format(word=word, instrument=instrument))
            parts = [w for w in (*word.replace(",", "").split(), instrument) if w in captions.words()]
            unseen = any(captions.held_out(a, b) for a, b in itertools.combinations(parts, 2))
            rows.append((prompt, emotion, kind, word, FAMILIES.get(word, word), template, instrument, unseen))
    columns = ["prompt", "emotion", "kind", "word", "family", "template", "instrument", "held_out"]
    return pd.DataFrame(rows, columns=columns)


def _words(kind, emotion, scenes):
    if kind == "name":
        return [emotion]
    if kind == "neutral":
        return captions.NEUTRAL_ADJECTIVES
    if kind == "implied":
        return SCENES[emotion] if scenes else [w for w in captions.EMOTION_WORDS[emotion] if w != emotion]
    ends = [captions.CUE_WORDS[cue][end] for cue, end in PROFILES[emotion].items()]
    ends = [[w for w in words if w not in ("minor", "major", "piano-soft")] for words in ends]  # adjectives
    return [", ".join(words[i % len(words)] for words in ends) for i in range(max(map(len, ends)))]


# ------------------------------------------------------------------------------- pairs for interventions
def _joined(one, other):
    return [f"{a}, {b}" for a, b in itertools.product(one, other)]


def _poles():
    cue, emotion = captions.CUE_WORDS, captions.EMOTION_WORDS
    poles = {name: (cue[name]["low"], cue[name]["high"]) for name in cue if name != "mode"}
    soft, loud = cue["dynamics"]["low"][:5], cue["dynamics"]["high"][:5]
    return poles | {
        "mode": (["minor-key", "minor"], ["major-key", "major"]),
        "energy": (_joined(soft, cue["density"]["low"]), _joined(loud, cue["density"]["high"])),
        "valence": (emotion["sad"], emotion["calm"]),
        "arousal": (emotion["calm"], emotion["energetic"]),
        "emotion": (emotion["sad"], emotion["happy"]),
    }


#: variable -> words for its low and its high end. Valence and arousal are moved by emotions that differ in it alone.
POLES = _poles()


def pairs(variable: str, n: int = 24, seed: int = 0) -> pd.DataFrame:
    """Prompts that differ in one variable and in nothing else.

    Returns
    -------
    pd.DataFrame
        Columns high and low (the prompts), word_high, word_low, template, instrument; words, templates and instruments
        are used equally often.
    """
    low, high = _pole(variable)
    rng = np.random.default_rng([seed, len(variable)])
    cells = list(itertools.product(range(len(TEMPLATES)), captions.INSTRUMENT_WORDS))
    cells = [cells[i] for i in rng.permutation(len(cells))]
    rows = []
    for i in range(n):
        (template, instrument), words = cells[i % len(cells)], (high[i % len(high)], low[i % len(low)])
        told = [_article(TEMPLATES[template].format(word=word, instrument=instrument)) for word in words]
        rows.append((*told, *words, template, instrument))
    return pd.DataFrame(rows, columns=["high", "low", "word_high", "word_low", "template", "instrument"])


def interchanges(
    variable: str, n: int = 24, part: str = "train", seed: int = 0, beside: str | None = None
) -> pd.DataFrame:
    """Base and source prompts for interchange of one variable, and what the base becomes if the variable alone is taken
    from the source.

    Base and source differ in the variable in half of the rows, and always in their instrument and in the ends of the cue
    ``beside``, if one is given: what is interchanged must carry the variable, and nothing else. Words of part "test" are never among
    those of part "train".

    Returns
    -------
    pd.DataFrame
        Columns base, source, counterfactual (the source's variable, everything else the base's), other (the reverse), differs.
    """
    if part not in ("train", "test"):
        raise ValueError(f"part must be 'train' or 'test'. Got {part!r}.")
    ends = [_half(words, part) for words in _pole(variable)]
    others = [_half(words, part) for words in _pole(beside)] if beside else []
    rng = np.random.default_rng([seed, len(variable), part == "test"])
    rows = []
    for i in range(n):
        differs, end = i % 2 == 0, (i // 2) % 2
        words = rng.choice(ends[end]), rng.choice(ends[1 - end if differs else end])
        rest = rng.choice(list(captions.INSTRUMENT_WORDS), 2, replace=False)
        other = [rng.choice(others[k]) for k in rng.permutation(2)] if beside else None
        template = TEMPLATES[rng.integers(len(TEMPLATES))]

        def told(word, k, template=template, other=other, rest=rest):
            word = f"{other[k]}, {word}" if other else word
            return _article(template.format(word=word, instrument=rest[k]))

        rows.append((told(words[0], 0), told(words[1], 1), told(words[1], 0), told(words[0], 1), differs))
    return pd.DataFrame(rows, columns=["base", "source", "counterfactual", "other", "differs"])


def _pole(variable):
    if variable not in POLES:
        raise ValueError(f"variable must be one of {sorted(POLES)}. Got {variable!r}.")
    return POLES[variable]


def _half(words, part):
    """Words of every second lexical family; of two words together, both."""
    split = [[FAMILIES.get(w, w) for w in word.split(", ")] for word in words]
    chosen = [set(list(dict.fromkeys(families))[part == "test" :: 2]) for families in zip(*split, strict=True)]
    return [
        w
        for w, families in zip(words, split, strict=True)
        if all(f in c for f, c in zip(families, chosen, strict=True))
    ]
