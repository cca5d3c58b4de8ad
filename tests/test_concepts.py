"""A concept of anybody's: read, refused where it cannot be tried, judged by any function."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lib import causal, concepts, listeners, probes, prompts, show, steering
from lib.book import rules
from lib.causal import pairs as patched
from lib.causal import variables
from lib.concepts import Concept
from lib.organism import music

WORDS = {
    "no": ["ambient", "formless", "still"],
    "yes": ["danceable", "groovy", "very danceable", "funky"],
}


@pytest.fixture(scope="module")
def danceable():
    return Concept.from_words("danceable", WORDS)


@pytest.fixture(scope="module")
def winds():
    return concepts.get("instrument").between("piano", "flute")


# ---------------------------------------------------------------------------------------- its table
@pytest.mark.parametrize("language", prompts.LANGUAGES)
@pytest.mark.parametrize("name", concepts.READY)
def test_what_comes_ready_can_be_split_read_and_judged(name, language, organism):
    concept = concepts.get(name, language)
    table = concept.table
    assert table["prompt"].is_unique and concept.split(table)["n_splits"] >= 2
    assert table.groupby("family")["level"].nunique().eq(1).all()
    halves = [set(concept.part(part)["family"]) for part in concepts.PARTS]
    assert not halves[0] & halves[1] and halves[0] | halves[1] == set(table["family"])
    for part in concepts.PARTS:
        assert set(concept.part(part)["level"]) == set(concept.levels)
    if language == "organism":
        concept.check_words(organism)
    judges = [concept.judge] if isinstance(concept.judge, str) else concept.judge
    assert set(judges) <= {*listeners.LISTENERS, *listeners.MEASURES}


def test_words_that_share_a_part_are_one_family(danceable):
    families = danceable.table.set_index("word")["family"]
    assert set(families["very danceable"]) == {"danceable"} == set(families["danceable"])
    assert families.nunique() == 6
    guitars = ["steel-string guitar", "steel drum", "guitar", "bass", "bassoon"]
    table = Concept.from_words("strung", {"a": guitars, "b": ["flute", "horn"]}).table
    of = dict(zip(table["word"], table["family"], strict=True))
    assert len({of[word] for word in guitars[:3]}) == 1, "also by way of another"
    assert of["bass"] != of["bassoon"]


def test_draws_are_balanced_and_come_again_where_there_are_too_few(danceable):
    drawn = danceable.draw(8, seed=3)
    counts = drawn.groupby(["level", "word"]).size()
    assert (drawn.groupby("level").size() == 8).all() and counts.loc["yes"].eq(2).all()
    assert drawn["prompt"].is_unique and drawn["template"].nunique() == 3
    assert drawn.equals(danceable.draw(8, seed=3)) and not drawn.equals(danceable.draw(8, seed=4))
    templates = drawn.groupby("word")["template"].agg(list)
    assert templates["danceable"] == templates["funky"] == templates["ambient"][:2]
    few = danceable.asked("no", 10, "test")
    assert len(few) == 10 and len(set(few)) == 4, "one word, four sentences"
    assert set(danceable.draw(9, "train")["word"]) == {"ambient", "still", *WORDS["yes"]} - {
        "groovy"
    }


def test_probes_are_split_by_sentences_where_there_are_enough():
    concept = concepts.get("instrument")
    for each, columns in ((18, ["family", "template"]), (4, ["family"])):
        rows = concept.draw(each, seed=each)
        split = concept.split(rows)
        assert list(split["groups"]) == columns and split["n_splits"] == 3
        for seed in range(5):  # whatever the folds are
            shares = probes.families(
                {"bag": probes.bag(rows["prompt"])}, rows["level"], repeats=1, seed=seed, **split
            )
        assert len(shares) == rows["family"].nunique()
    with pytest.raises(ValueError, match="are of one family: draw more"):
        concept.split(concept.draw(1))


def test_a_file_gives_the_same_concept(tmp_path, danceable):
    file = tmp_path / "danceable.csv"
    danceable.table[["level", "word", "prompt"]].to_csv(file, index=False)
    read = concepts.get(str(file))
    assert read.name == "danceable" and read.table.equals(danceable.table)
    danceable.table[["level", "word"]].drop_duplicates().to_csv(file, index=False)
    assert Concept.read(file).table.equals(danceable.table)
    own = pd.DataFrame({"level": ["a", "a", "b", "b"], "word": ["x1", "x2", "y1", "y2"]})
    own.assign(prompt=["the first", "an x2", "music y1", "a y2 y2"]).to_csv(file, index=False)
    assert list(Concept.read(file).table["template"]) == [
        "the first",
        "a {}",
        "music {}",
        "a {} y2",
    ]


def test_a_word_may_look_like_a_missing_value(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "odd.csv").write_text("level,word\na,NA\na,null\nb,n/a\nb,NULL\n")
    table = concepts.get("~/odd.csv").table
    assert list(pd.unique(table["word"])) == ["NA", "null", "n/a", "NULL"]
    braces = TABLE.assign(template="a {} {x}")
    assert "{x}" in Concept("braces", braces).pairs(1)["high"][0]


ROWS = [(level, word, f"a {word} song") for level, some in WORDS.items() for word in some]
TABLE = pd.DataFrame(ROWS, columns=["level", "word", "prompt"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop(columns="word"), "Missing: word"),
        (TABLE[TABLE["level"] == "yes"], "two levels or more"),
        (TABLE[TABLE["word"].isin(["ambient", "still", "danceable", "very danceable"])], "one fam"),
        (TABLE.assign(prompt="a song"), "prompt 'a song' stands for several levels"),
        (TABLE.replace("still", "funky"), "word 'funky' stands for several"),
        (TABLE.assign(family="all"), "family 'all' stands for several"),
        (TABLE.replace("a still song", "a ambient song"), "twice"),
        (TABLE.replace("a still song", ""), "missing labels"),
        ([1], "DataFrame"),
    ],
)
def test_tables_that_cannot_be_tried_are_refused(table, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Concept("danceable", table)


def test_other_bad_input(tmp_path, danceable):
    file = tmp_path / "empty.csv"
    with pytest.raises(FileNotFoundError, match=r"no file .*empty.csv: a CSV file with"):
        Concept.read(file)
    with pytest.raises(FileNotFoundError, match="no file"):
        Concept.read(tmp_path)
    with pytest.raises(TypeError, match="file must be the path"):
        Concept.read(None)
    file.write_text("")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        Concept.read(file)
    file.write_text("level,term\na,b\n")
    with pytest.raises(ValueError, match="Missing: word"):
        Concept.read(file)
    file.write_text("level,word\na,\nb,c\n")
    with pytest.raises(ValueError, match="'word' of 'empty' has 1 missing labels"):
        Concept.read(file)
    for template in ("a song", "a {} {x}", "a {} song}", "a {{}} song", "{} and {}"):
        with pytest.raises(ValueError, match=r"one \{\} in it"):
            Concept.from_words("x", WORDS, [template])
    with pytest.raises(TypeError, match="mapping of levels"):
        Concept.from_words("x", [["a"], ["b"]])
    with pytest.raises(ValueError, match="concept must be one of"):
        concepts.get("groove")
    with pytest.raises(ValueError, match="level must be one of 'no', 'yes'"):
        danceable.asked("maybe", 2)


def test_words_that_a_model_cannot_read_are_named(organism, miniature, danceable):
    with pytest.raises(ValueError, match=r"organism has never read these words.*groovy.*funky"):
        danceable.check_words(organism)
    around = Concept.from_words(
        "played",
        concepts.get("instrument").table.groupby("level")["word"].unique().map(list).to_dict(),
        ["{} polka"],
        {"guitar": "other"},
    )
    with pytest.warns(UserWarning, match="of the prompts: polka"):
        around.check_words(organism)
    concepts.get("instrument", "natural").check_words(miniature)
    with pytest.raises(ValueError, match="never read these words of 'odd': 東"):
        odd = {"a": ["happy", "melody"], "b": ["東", "song"]}
        Concept.from_words("odd", odd).check_words(miniature)


# ----------------------------------------------------------------------------------- other methods
def test_pairs_differ_in_the_word_alone_and_are_patched(organism, winds):
    table = prompts.pairs(winds, 12, seed=1)
    for row in table.itertuples():
        assert row.high.replace(row.word_high, row.word_low) == row.low
    assert table.groupby("word_high").size().eq(4).all()
    assert table.groupby("word_low").size().eq(3).all() and table["template"].nunique() > 3
    sung = [
        organism.generate(list(table[end][:2]), 0.5, 3, progress=False) for end in ("high", "low")
    ]
    patched.check_pairs(*sung)
    grid = causal.patch_grid(organism, *sung, ["resid.5"], ranges=1)
    assert grid.values.mean() == pytest.approx(1, abs=1e-3), "all of the last block is all of it"
    with pytest.raises(ValueError, match=r"6 levels: choose two.*between\('piano', 'guitar'\)"):
        prompts.pairs(concepts.get("instrument"))
    several = pd.DataFrame({"level": list("aabb"), "word": list("wxyz"), "prompt": list("ijkl")})
    with pytest.raises(ValueError, match="0 templates that both levels share"):
        prompts.pairs(Concept("x", several))


def test_its_place_inside_is_found(organism, winds):
    table = prompts.interchanges(winds, 8, "train", seed=2)
    flutes = set(winds.table["word"][winds.table["level"] == "flute"])
    for row in table.itertuples():
        base, source = ({w for w in p.split() if w in flutes} for p in (row.base, row.source))
        assert bool(base) == row.high and (bool(base) != bool(source)) == row.differs
        assert {*row.counterfactual.split()} - {*row.base.split()} <= {*row.source.split(), "a"}
    learned, test = (
        variables.sing(organism, prompts.interchanges(winds, 8, part), 0.5)
        for part in concepts.PARTS
    )
    how = {"test": test, "progress": False}
    found = causal.locate(organism, learned, winds, "resid.2", "diffmeans", **how)
    whole = causal.locate(organism, learned, winds, "resid.2", "whole", **how)
    assert found.variable == "instrument" and found.basis.shape[0] == 1
    assert whole.moves.value >= found.moves.value
    with pytest.raises(ValueError, match="beside must be None"):
        prompts.interchanges(winds, beside="tempo")


# --------------------------------------------------------------------------------------- who judges
TONES = [0.1 * np.sin(2 * np.pi * f * np.arange(16_000) / 16_000) for f in (200, 400, 800, 1600)]


def brightness(audio, sample_rate):
    return np.float32(np.abs(np.diff(audio)).mean())


def test_any_function_is_a_listener():
    ear = listeners.get(brightness, levels=("dark", "bright"))
    assert ear.name == "brightness" and list(ear(TONES)) == ["value"]
    ear.calibrate(TONES)
    assert list(ear(TONES)["level"]) == ["dark", "dark", "bright", "bright"]
    assert listeners.get(ear) is ear
    each = listeners.get(
        lambda a, r: {"bright": brightness(a, r), "dark": 0.015, "other": 9.0},
        levels=("dark", "bright"),
    )
    assert list(each(TONES)["level"]) == ["dark", "dark", "bright", "bright"]
    in_turn = listeners.get(lambda a, r: [0.015, brightness(a, r)], levels=("dark", "bright"))
    assert in_turn(TONES).equals(each(TONES))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (float("nan"), "must be a number"),
        (None, "must be a number"),
        ("bright", "must be a number"),
        ({"dark": 1.0}, "Missing: bright"),
        ([1.0, 2.0, 3.0], r"for dark, bright must be an array of numbers, shape \(2\)"),
        ([1.0, np.inf], "NaN or infinite"),
    ],
)
def test_what_a_function_returns_is_checked(returned, message):
    def mine(audio, sample_rate):
        return returned

    with pytest.raises((ValueError, TypeError), match=message) as raised:
        listeners.get(mine, levels=("dark", "bright"))(TONES)
    assert "mine" in str(raised.value)


def test_the_instrument_is_recognised_and_cues_are_measured(organism):
    ear = listeners.get("instrument", 90, codec=organism)
    assert ear.reliability.low > 0.5
    played = [music.clip(music.Cues(instrument=name), 3, 5) for name in ("flute", "piano", "organ")]
    assert list(ear(played)["level"][:2]) == ["flute", "piano"]
    pace = listeners.get("tempo", levels=("low", "high"))
    clips = [music.clip(music.Cues(tempo=tempo), 3) for tempo in (60, 150)]
    pace.calibrate(clips)
    assert list(pace(clips)["level"]) == ["low", "high"]
    arousal = listeners.get("arousal")(clips)["value"]
    assert arousal.equals(listeners.get("cues")(clips)["arousal"].rename("value"))


def test_a_judge_of_any_concept(organism, winds):
    concept = Concept(winds.name, winds.table, ["instrument", brightness])
    judge = steering.Judge.of(organism, concept, training=90)
    table = concept.draw(6)
    songs = organism.generate(list(table["prompt"]), 1.5, 11, progress=False)
    with pytest.raises(ValueError, match="'brightness' part is not known: Judge"):
        judge.named(songs)
    judge.calibrate(songs)
    answers = judge.hear(songs)
    agreed = answers["instrument level"] == answers["brightness level"]
    assert list(judge.named(songs)) == list(answers["instrument level"].where(agreed, ""))
    assert "instrument" not in answers and judge.instruments is None
    assert (answers["instrument level"] == table["level"]).mean() > 0.7
    with pytest.raises(ValueError, match="target must be one of 'piano', 'flute'"):
        judge.succeeded(songs, "happy")
    with pytest.raises(ValueError, match="says nothing of valence"):
        judge.place(songs)
    other = dataclasses.replace(songs, audio=songs.audio[[11] * 12])
    found = steering.evaluate(judge, {0.0: songs}, other, "flute")
    assert {"piano", "flute", "success"} <= set(found) and "instrument" not in found
    with pytest.raises(ValueError, match="each with its own name"):
        steering.Judge(organism, [brightness, brightness], n=0)


def test_where_nobody_hears_it_the_model_itself_is_asked(organism, winds):
    concept = Concept(winds.name, winds.table)
    judge = steering.Judge.of(organism, concept)
    table = concept.draw(6)
    songs = organism.generate(list(table["prompt"]), 1.5, 11, progress=False)
    assert (judge.named(songs) == table["level"].to_numpy(object)).mean() > 0.8
    both = judge.hear(songs)[["itself piano", "itself flute"]].to_numpy()
    assert np.isfinite(both).all() and (both < 0).all()


def test_claims_of_ones_own_are_decided_by_the_same_rule():
    rng = np.random.default_rng(0)
    numbers = {"There": rng.normal(1, 0.5, 30), "Not there": rng.normal(0, 0.1, 30)}
    own = {"There": 0.2, "Not there": 0.2}
    verdicts = {"organism": rules.decide(numbers, own)}
    assert [verdict.answer for verdict in verdicts["organism"].values()] == ["yes", "no"]
    table = rules.table(verdicts, own)
    assert list(table["claim"]) == list(own) and not table["decides"].any()
    assert show.verdicts(table, "mine") is not None
    assert all(found.criterion is None for found in rules.findings(verdicts, own))
    assert list(rules.trust(numbers, subjects=20, own=own)["claim"]) == list(own)
    with pytest.raises(ValueError, match="criterion must be one of 'There'"):
        rules.decide(numbers, {"There": 0.2})
    with pytest.raises(ValueError, match="smallest effect of 'There' must be"):
        rules.decide(numbers, {**own, "There": 0})
