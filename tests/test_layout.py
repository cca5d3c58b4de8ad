"""What a page makes of a notebook."""

import re

import jupytext
import nbformat.v4 as v4

from lib.book import citations, execute, glossary, layout


def notebook(*cells):
    return v4.new_notebook(cells=list(cells))


def shown(source, text):
    output = v4.new_output("display_data", {"text/markdown": text})
    return v4.new_code_cell(source, outputs=[output])


INTRO = v4.new_markdown_cell("# Title\n\n**Question.** Is it?\n\n**Method.** Look.")


def test_the_answer_stands_behind_the_question():
    last = shown("Markdown(told)", "**Verdict.** It is.")
    page = layout.answer_first(notebook(INTRO, v4.new_code_cell("look()"), last))
    title, question, box, method = page.cells[0].source.split("\n\n")
    assert box == ":::{admonition} In short\n:class: tip\n**Verdict.** It is.\n:::"
    badge = layout.answer_first(notebook(INTRO, last), "simulated, organism").cells[0].source
    assert ":::{admonition} In short (simulated, organism)\n" in badge
    assert (title, question, method) == ("# Title", "**Question.** Is it?", "**Method.** Look.")
    assert [cell.source for cell in page.cells[1:]] == ["look()"]
    assert INTRO.source.count("Verdict") == 0


def test_without_an_answer_or_a_question_nothing_moves():
    plain = notebook(INTRO, shown("Markdown(told)", "No verdict."))
    assert layout.answer_first(plain) == plain
    plain = notebook(v4.new_markdown_cell("# Title"), shown("told", "**Verdict.** It is."))
    assert layout.answer_first(plain) == plain


def test_code_is_folded_and_what_shows_nothing_joins_what_shows():
    cells = [INTRO, v4.new_code_cell("a = 1"), v4.new_code_cell("b = 2"), shown("a", "1")]
    page = layout.folded(notebook(*cells, v4.new_markdown_cell("Text."), v4.new_code_cell("c")))
    kinds = [(cell.cell_type, cell.source) for cell in page.cells]
    code = "a = 1\n\n\nb = 2\n\n\na"
    assert kinds[1:] == [("code", code), ("markdown", "Text."), ("code", "c")]
    assert all("hide-input" in c.metadata.tags for c in page.cells if c.cell_type == "code")


def test_the_main_figure_stands_behind_the_answer_too():
    html = '<div id="figure-12ab" class="plotly-graph-div"></div><script>#figure-12ab</script>'
    figure = v4.new_output("display_data", {"text/html": html})
    main = v4.new_code_cell("draw()", metadata={"tags": ["main"]}, outputs=[figure])
    told = shown("told", "**Verdict.** It is.")
    page = layout.figure_first(layout.answer_first(notebook(INTRO, main, told)))
    begin, again, rest, *_ = page.cells
    assert (
        begin.source.endswith("**Verdict.** It is.\n:::\n") and rest.source == "**Method.** Look."
    )
    assert again.metadata.tags == ["remove-input"]
    assert again.outputs[0].data["text/html"] == html.replace("figure-12ab", "figure-12ab-first")
    assert page.cells[3].outputs == [figure]
    for plain in (notebook(INTRO, main), layout.answer_first(notebook(INTRO, told))):
        assert layout.figure_first(plain) == plain


def test_a_panel_stands_behind_the_answer_and_its_figure_and_no_term_in_it_is_linked():
    html = '<div id="figure-12ab" class="plotly-graph-div"></div>'
    figure = v4.new_output("display_data", {"text/html": html})
    main = v4.new_code_cell("draw()", metadata={"tags": ["main"]}, outputs=[figure])
    told = shown("told", "**Verdict.** It is.")
    for cells, place in (([main, told], 2), ([told], 1)):
        page, _ = layout.page(notebook(INTRO, *cells), ["organism"], {}, panel=layout.PANEL)
        assert page.cells[place].source == layout.PANEL
        assert page.cells[place + 1].source == "**Method.** Look."
        kinds = [cell.cell_type for cell in page.cells[:place]]
        assert kinds == ["markdown", "code"][:place]
    plain, _ = layout.page(notebook(INTRO, told), [], {})
    assert [cell.source for cell in plain.cells if "<details" in cell.source] == []


def test_what_it_was_computed_with_is_said_at_the_end():
    told = "*Computed with model = 'organism' in 9 s.*"
    page = layout.computed_last(notebook(INTRO, shown("n = 2", told), shown("n", "2")))
    assert [cell.outputs for cell in page.cells[1:2]] == [[]] and page.cells[-1].source == told
    assert page.cells[2].outputs[0].data["text/markdown"] == "2"
    plain = notebook(INTRO, shown("n", "2"))
    assert layout.computed_last(plain) == plain


# ----------------------------------------------------------------------------------------- glossary
def test_the_first_use_of_a_term_is_linked_and_nothing_else():
    text = "# A site\n\nOf `site` and [site](x), a **site**, sites.\n\n```\nsite\n```"
    found, used = glossary.linked(text, ["site", "head", "attention head"])
    assert used == ["site"]
    assert found == text.replace("**site**", "**{term}`site <site>`**")
    found, used = glossary.linked("Attention heads have a head.", ["head", "attention head"])
    assert found == "{term}`Attention heads <attention head>` have a {term}`head <head>`."


def test_the_glossary_names_the_chapters():
    text = "# G\n\n```{glossary}\nsite\n  A place.\n\nhead\n  A unit.\n```\n"
    assert glossary.terms(text) == {"site": "A place.", "head": "A unit."}
    page = glossary.with_chapters(text, {"site": {"02_a": "What?"}, "head": {}})
    assert "site\n  A place.\n\n  Used in: [What?](02_a).\n" in page
    assert "head\n  A unit.\n```" in page


def test_every_term_is_used_by_some_chapter():
    text = (execute.NOTEBOOKS / glossary.FILE).read_text()
    terms = glossary.terms(text)
    assert list(terms) == sorted(terms, key=str.lower)
    chapters = [
        cell.source
        for name in execute.names()
        for cell in jupytext.read(execute.NOTEBOOKS / f"{name}.py").cells
        if cell.cell_type == "markdown"
    ]
    unused = [term for term in terms if not glossary.linked("\n\n".join(chapters), [term])[1]]
    assert unused == []


def test_a_notebook_links_each_term_once():
    cells = [INTRO, v4.new_markdown_cell("A site."), v4.new_markdown_cell("A site and a probe.")]
    page, used = layout.linked(notebook(*cells), ["site", "probe", "lens"])
    assert used == ["site", "probe"]
    assert [c.source.count("{term}") for c in page.cells] == [0, 1, 1]


# ---------------------------------------------------------------------------------------- citations
#: Names and a year, as in a citation.
CITED = re.compile(
    r"((?:van der )?[A-Z][\w'-]+(?:(?:, [A-Z][\w'-]+)* and [A-Z][\w'-]+| et al\.)?),? \(?((?:19|20)\d\d)\b"
)


def test_citations_are_linked_in_every_form():
    known = {"a2019": ["Hewitt and Liang"], "b2024": ["Bussmann et al."], "c1980": ["Russell"]}
    text = "As (Hewitt and\nLiang 2019), Bussmann et al. (2024) and `Russell 1980`; Russell (1980)."
    found = citations.linked(text, known)
    assert found == ("As ({cite:t}`a2019`), {cite:t}`b2024` and `Russell 1980`; {cite:t}`c1980`.")


def test_chapters_cite_what_is_among_the_references_and_nothing_else():
    known = citations.sources()
    used = set()
    missing = set()
    for name in execute.names():
        for cell in jupytext.read(execute.NOTEBOOKS / f"{name}.py").cells:
            if cell.cell_type == "markdown":
                found = citations.linked(cell.source, known)
                used |= set(re.findall(r"\{cite:t\}`(\w+)`", found))
                missing |= {" ".join(some) for some in CITED.findall(" ".join(found.split()))}
    assert missing <= NOT_CITED
    assert used == set(known)


#: What looks like a citation and is none.
NOT_CITED = set()
