"""Every chapter runs on a released model.

Here on a miniature of the released format, with four codebooks at 50 Hz and T5.
"""

import jupytext
import pytest
from test_book import RECIPE, SMALL

from lib import results
from lib.book import chapter, execute

#: Less again: what these chapters say of the organisms is checked in ``test_book``.
TINY = {
    "01_known_answers": {
        "clips_measured": 12,
        "clips_each": 4,
        "clips_codec": 3,
        "samples": 10,
        "clips_training": 40,
        "clips_held_out": 15,
        "seconds": 2.0,
    },
    "03_emotion_geometry": {
        "n": 4,
        "audios": 1,
        "clips_mapped": 5,
        "permutations": 20,
    },
    "04_probes": {"permutations": 4, "null_subjects": 2, "dealings": 1},
    "10_train_saes": {"sweep_width": 64, "sweep_sparsity": [4, 8]},
    "12_monosemanticity": {"permutations": 20, "null_subjects": 2},
    "23_planted_places": {
        "planted": ["organism-planted"],
        "n": 4,
        "n_verify": 4,
        "seconds": 0.4,
        "variables": ["tempo", "energy", "mode"],
    },
    "40_real_music": {"others": 10, "permutations": 10},
}
#: The chapter in which an organism stands beside it and is asked in its own words; in the others it
#: would be asked as in ``test_book``.
SPEAKS_BESIDE = ("03_emotion_geometry",)
TINY_RECIPE = {**RECIPE, "clips": 48, "width": 64}


@pytest.mark.parametrize("name", execute.names())
def test_chapter_runs_on_the_released_format(name, folder, monkeypatch):
    monkeypatch.setattr(chapter, "ORGANISMS", ("organism", "organism-shuffled"))
    monkeypatch.setattr(chapter, "every", lambda model, _: chapter.models(model, []))
    parameters = {**SMALL.get(name, {}), **TINY.get(name, {}), "model": str(folder)}
    if "beside" in parameters and name not in SPEAKS_BESIDE:
        parameters["beside"] = []
    if "recipe" in parameters:
        parameters["recipe"] = TINY_RECIPE
    run(name, parameters)
    # the last is about an organism where the model is too large for a page
    if name not in ("00_meet_the_model", "02_activations", "index", "14_play_the_organism"):
        assert name[:2] in set(results.evidence(str(folder))["chapter"])


def run(name, parameters):
    """All cells of a chapter, in this process; what they leave."""
    there = {"__name__": name}
    for cell in jupytext.read(execute.NOTEBOOKS / f"{name}.py").cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}.py", "exec"), there)
            if "parameters" in cell.metadata.get("tags", []):
                there |= parameters
    return there


def test_the_template_runs_on_a_concept_of_ones_own(folder, tmp_path):
    """From a table, with no judge, on a model that no organism stands beside."""
    file = tmp_path / "jazz.csv"
    words = {"classical": ("sonata", "minuet"), "jazz": ("swing", "bebop", "very swing")}
    rows = [f"{level},{word}" for level, some in words.items() for word in some]
    file.write_text("\n".join(["level,word", *rows]))
    name = "50_your_question"
    settings = {"model": str(folder), "concept": str(file), "beside": [], "sung": 8}
    there = run(name, {**SMALL[name], **settings})
    assert list(there["models"]) == [str(folder), "untrained"]
    assert list(there["judges"][str(folder)].ears) == ["itself"]
    found = results.read(name, str(folder))
    assert {finding.subject for finding in found[:8]} == {results.title(str(folder)), "untrained"}
    assert all(finding.criterion is None for finding in found)
