"""What stands around a page's text: head, foot, tables, pictures, icons, captions."""

from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from docutils import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from mia_utils.book import assets, captions, decorate, html, notebooks, pdf, tables
from mia_utils.errors import InputError

# ---- head and foot ----


def test_a_pages_description_is_its_first_sentence_cut_at_a_word():
    section = nodes.section("", nodes.paragraph("", "Short."), nodes.paragraph("", "word " * 60))
    told = html.description(nodes.section("", section))
    assert told.endswith("word…") and len(told) <= html.DESCRIPTION
    assert html.description(nodes.section()) == ""


def app(url="", branch="", root=ROOT):
    options = {"repository_url": url, "repository_branch": branch}
    env = SimpleNamespace(doc2path=lambda docname: f"/x/{docname}.md")
    return SimpleNamespace(config=SimpleNamespace(html_theme_options=options), env=env)


def test_links_to_the_source_appear_when_a_repository_is_named():
    chapter = "book/runs/cifar10/06_likelihood"
    assert html.source_links(app(), chapter) == {}
    assert html.source_links(app("https://github.com/executablebooks/jupyter-book"), chapter) == {}
    links = html.source_links(app("https://github.com/me/mia/", "dev"), chapter)
    assert (
        links["Edit this chapter"]
        == "https://github.com/me/mia/edit/dev/notebooks/06_likelihood.md"
    )
    assert links["Run it in Colab"].endswith(
        "/github/me/mia/blob/dev/notebooks/06_likelihood.ipynb"
    )
    assert "mybinder.org/v2/gh/me/mia/dev?labpath=notebooks%2F06" in links["Run it on Binder"]
    elsewhere = html.source_links(app("https://git.example.org/mia"), chapter)
    assert list(elsewhere) == ["Edit this chapter"]
    prose = html.source_links(app("https://github.com/me/mia"), "book/law")
    assert prose == {"Edit this page": "https://github.com/me/mia/edit/main/book/law.md"}


def test_a_chapter_says_how_it_was_made_and_how_to_repeat_it(tmp_path):
    cell = new_code_cell("dataset = 'cifar10-mini'\nseed = 3", metadata={"tags": ["parameters"]})
    made = {"seconds": 61, "device": "A processor", "versions": {"python": "3.12", "torch": "2.9"}}
    given = {"dataset": "mnist", "architecture": "a b"}
    notebook = new_notebook(
        cells=[new_markdown_cell("# T"), cell],
        metadata={"mia": {"dataset": "mnist", "parameters": given, "made": made}},
    )
    path = tmp_path / "book/runs/mnist/06_x.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    facts = html.page_facts(tmp_path, "book/runs/mnist/06_x")
    assert facts["told"] == {
        "data set": "MNIST",
        "seed": 3,
        "time": "61 s",
        "machine": "A processor",
        "versions": "python 3.12, torch 2.9",
    }
    assert facts["repeat"] == "mia run 06 -p architecture 'a b' -p dataset mnist"
    assert html.page_facts(tmp_path, "book/index") == {}
    del notebook.metadata["mia"]["made"]
    nbformat.write(notebook, path)
    assert html.page_facts(tmp_path, "book/runs/mnist/06_x")["told"] == {
        "data set": "MNIST",
        "seed": 3,
        "time, machine and versions": "not recorded",
    }


@pytest.mark.parametrize("text", ["", "notes"])
def test_a_chapter_on_texts_names_its_text_and_no_data_set(tmp_path, text):
    cell = new_code_cell(f"text = {text!r}", metadata={"tags": ["parameters"]})
    notebook = new_notebook(
        cells=[cell], metadata={"mia": {"dataset": "cifar10-mini", "parameters": {}}}
    )
    path = tmp_path / "book/runs/cifar10-mini/16_x.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    told = html.page_facts(tmp_path, "book/runs/cifar10-mini/16_x")["told"]
    assert told["text"] == (text or "the standard library of Python") and "data set" not in told


def test_formulas_of_several_lines_get_an_environment_and_others_none():
    assert html._tex("a = b") == "a = b"
    assert html._tex(r"a \\ b") == r"\begin{aligned}a \\ b\end{aligned}"
    assert html._tex(r"\begin{align}a \\ b\end{align}") == r"\begin{align}a \\ b\end{align}"


# ---- pages of prose ----


def test_tables_leave_out_internal_columns_align_numbers_and_offer_their_file(tmp_path):
    path = tmp_path / "book/results/t.csv"
    path.parent.mkdir(parents=True)
    path.write_text("what,ratio,goal,met\na|b,2.25,at least 2,yes\nc,,1,no\n")
    page = tables.with_tables(tmp_path, "before\n\n% table: t.csv; What it says.\n")
    assert ":::{table} What it says. {download}`As CSV <results/t.csv>`." in page
    assert "| what | ratio |\n| --- | ---: |\n| a\\|b | 2.25 |\n| c |  |" in page
    assert "goal" not in page


def test_the_map_lists_every_chapter_with_its_first_sentence():
    page = decorate.map_of_chapters(ROOT, "book/index")
    chapters = notebooks.chapters(ROOT)
    assert page.count(".ipynb)") == len(chapters)
    for path in chapters:
        sentence = decorate.first_sentence(notebooks.read(path))
        assert sentence in page and 3 < len(sentence.split()) < 45, path.stem


def test_a_first_sentence_has_neither_links_nor_citations():
    text = "# T\n\nSee [the *one*](01_a.md) {cite}`x2020`. And more."
    assert decorate.first_sentence({"cells": [{"source": text}]}) == "See the *one*."


# ---- pictures and icons ----


def test_icons_that_no_page_names_are_dropped():
    css = (
        "@font-face{font-family:Font Awesome\\ 6 Free;src:url(x)}"
        '.fa-bars:before,.fa-navicon:before{content:"\\f0c9"}.fa-egg:before{content:"\\f7fb"}p{a:b}'
    )
    kept = assets.used_icons(css, '<i class="fa-solid fa-bars"></i>')
    assert ".fa-bars:before" in kept and "fa-egg" not in kept and "p{a:b}" in kept
    assert kept.count("@font-face") == 1 and "url(x)" not in kept


def test_pictures_get_their_size_and_wait_until_they_are_near(tmp_path):
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.svg").write_text('<svg width="72pt" height="36pt" viewBox="0 0 72 36"></svg>')
    (tmp_path / "c.svg").write_text('<svg viewBox="0 0 72 36"><g id="photograph"/></svg>')
    body = '<img src="a.png" alt="a"><img src="b.svg"><img class="x" src="c.svg"><img src="no.png">'
    page = assets.sized_images(body, tmp_path)
    first, second, third, fourth = page.split("<img")[1:]
    assert 'width="40" height="30"' in first and "lazy" not in first
    assert 'width="96" height="48"' in second and 'class="drawing"' in second and "lazy" in second
    assert 'width="72" height="36"' in third and 'class="photograph x"' in third
    assert "width" not in fourth


# ---- captions ----


def drawing(**metadata):
    return new_code_cell("figure = plots.roc(curves)", metadata=metadata)


def test_figures_without_caption_name_or_words_are_named():
    whole = {
        "figure": {"caption": "It rises.", "name": "fig-a"},
        "image": {"alt": "A curve that rises above the diagonal."},
    }
    notebook = new_notebook(
        cells=[
            new_markdown_cell("plots.roc(x)"),
            drawing(),
            drawing(mystnb=whole),
            new_code_cell("plots.use_style()"),
            new_code_cell("table.style.hide()"),
        ]
    )
    assert captions.violations(notebook) == [
        "cell 2 (figure = plots.roc(curves)): lacks a caption, a name, "
        "an alternative text of 6 words",
        "cell 5 (table.style.hide()): a table without plots.styled",
    ]


@pytest.mark.parametrize("path", notebooks.chapters(ROOT), ids=lambda p: p.stem)
def test_every_figure_of_a_chapter_has_a_caption(path):
    assert captions.violations(notebooks.read(path)) == []


# ---- paper ----


def test_printing_without_chromium_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="apt-get install chromium"):
        pdf.chromium()
    with pytest.raises(InputError, match="run: make book"):
        pdf.pages(tmp_path)


def test_pages_are_printed_in_the_order_of_next(tmp_path):
    (tmp_path / "book").mkdir()
    link = '<a class="right-next"\n   href="{}"\n   title="next page">'
    (tmp_path / "book/index.html").write_text(link.format("a.html#x"))
    (tmp_path / "book/a.html").write_text(link.format("index.html"))  # a loop ends
    assert [p.name for p in pdf.pages(tmp_path)] == ["index.html", "a.html"]
