"""What makes a build short leaves the pages as they are."""

import sys

import pytest
from pybtex.plugin import find_plugin

PAGES = {
    "index": "Home\n====\n\n.. toctree::\n   :caption: Part\n\n   a\n   b\n\nMore\n----\n\nLess\n~~~~\n",
    "a": "A\n=\n\nFirst\n-----\n\n.. toctree::\n\n   c\n\nSecond\n------\n\nThird\n~~~~~\n",
    "b": "B\n=\n\nAlone\n-----\n\nOther title\n===========\n\nInner\n-----\n",
    "c": "C\n=\n\nDeep\n----\n",
    **{name: f":orphan:\n\n{name}\n=====\n" for name in ("more", "than", "five")},
}
DRAWN = """{{ toctree(titles_only=True, collapse=False, includehidden=True, maxdepth=4) }}
<hr/>{{ toctree(collapse=False, includehidden=True) }}<hr/>{{ toc }}"""


def built(folder, extensions):
    """The pages of a small book, and its application."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    source, out = folder / "source", folder / "out"
    (source / "templates").mkdir(parents=True)
    (source / "templates/layout.html").write_text(DRAWN, "utf-8")
    for name, text in PAGES.items():
        (source / f"{name}.rst").write_text(text, "utf-8")
    options = {"extensions": extensions, "templates_path": ["templates"], "html_theme": "basic"}
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            source, None, out, folder / "trees", "html", options, None, None, warningiserror=True
        )
        app.build()
    return {name: (out / f"{name}.html").read_text("utf-8") for name in PAGES}, app


@pytest.mark.parametrize("processes", [1, 3])
def test_the_table_of_contents_is_drawn_as_sphinx_draws_it(tmp_path, monkeypatch, processes):
    monkeypatch.setattr("joblib.cpu_count", lambda: processes)
    plain, _ = built(tmp_path / "plain", [])
    pages, app = built(tmp_path / "quick", ["mia_utils.book.quick"])
    assert pages == plain and 'href="#"' in pages["c"]
    assert app.parallel == (processes if sys.platform == "linux" else 1)


def test_the_sections_of_other_pages_are_not_copied_for_a_table_of_titles(tmp_path):
    _, app = built(tmp_path, ["mia_utils.book.quick"])
    titles = {name: toc.astext().split() for name, toc in app.mia_titles.items()}
    assert titles["index"] == ["Home"] and titles["a"] == ["A"]
    assert titles["b"] == ["B", "Other", "title"]


def test_the_plain_text_of_citations_is_known(tmp_path):
    from pybtex.backends import plaintext

    built(tmp_path, ["mia_utils.book.quick"])
    assert find_plugin("pybtex.backends", "plaintext") is plaintext.Backend
