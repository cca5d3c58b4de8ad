"""What a page makes of a notebook."""

import nbformat.v4 as v4

from lib.book import build


def notebook(*cells):
    return v4.new_notebook(cells=list(cells))


def shown(source, text):
    output = v4.new_output("display_data", {"text/markdown": text})
    return v4.new_code_cell(source, outputs=[output])


INTRO = v4.new_markdown_cell("# Title\n\n**Question.** Is it?\n\n**Method.** Look.")


def test_the_answer_stands_behind_the_question():
    last = shown("Markdown(told)", "**Verdict.** It is.")
    page = build.answer_first(notebook(INTRO, v4.new_code_cell("look()"), last))
    title, question, box, method = page.cells[0].source.split("\n\n")
    assert box == ":::{admonition} In short\n:class: tip\n**Verdict.** It is.\n:::"
    assert (title, question, method) == ("# Title", "**Question.** Is it?", "**Method.** Look.")
    assert [cell.source for cell in page.cells[1:]] == ["look()"]
    assert INTRO.source.count("Verdict") == 0


def test_without_an_answer_or_a_question_nothing_moves():
    plain = notebook(INTRO, shown("Markdown(told)", "No verdict."))
    assert build.answer_first(plain) == plain
    plain = notebook(v4.new_markdown_cell("# Title"), shown("told", "**Verdict.** It is."))
    assert build.answer_first(plain) == plain


def test_code_is_folded_and_what_shows_nothing_joins_what_shows():
    cells = [INTRO, v4.new_code_cell("a = 1"), v4.new_code_cell("b = 2"), shown("a", "1")]
    page = build.folded(notebook(*cells, v4.new_markdown_cell("Text."), v4.new_code_cell("c")))
    kinds = [(cell.cell_type, cell.source) for cell in page.cells]
    code = "a = 1\n\n\nb = 2\n\n\na"
    assert kinds[1:] == [("code", code), ("markdown", "Text."), ("code", "c")]
    assert all("hide-input" in c.metadata.tags for c in page.cells if c.cell_type == "code")
