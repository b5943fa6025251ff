"""The HTML built from committed and test copies, and pages that are programs."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from bs4 import BeautifulSoup
from conftest import DIGITS, ROOT

from mia_utils.__main__ import main
from mia_utils.book import captions, contents, notebooks, pdf, publish

COMMITTED = publish.copies(ROOT)


# ---- pages that are programs ----


def test_ten_lines_print_what_the_page_says(tmp_path, monkeypatch, capsys):
    page = (ROOT / "book/ten_lines.md").read_text()
    audit, make = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert len([line for line in audit.splitlines() if line.strip()]) <= 11
    monkeypatch.chdir(tmp_path)
    exec(make, {})
    assert np.load("members.npy").sum() == 2000
    exec(audit, {})
    assert capsys.readouterr().out == printed


# ---- the built book ----


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_committed_copies_hold_no_errors_and_no_traces(path):
    notebook = publish.read(path)
    assert publish.errors(notebook) == []
    assert set(notebook.metadata) == {"kernelspec", "language_info", "mia"}
    assert publish.dataset_of(notebook) == path.parent.name


def pages(html: Path) -> list[Path]:
    return sorted(path for path in html.rglob("*.html") if "_static" not in path.parts)


def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@functools.cache
def anchors(path: Path) -> set[str]:
    """The places of a page that a link may lead to."""
    return set(re.findall(r'\s(?:id|name)="([^"]+)"', path.read_text("utf-8")))


def test_the_book_builds_and_every_entry_became_a_page(html):
    for name in re.findall(r"file: (\S+)", (ROOT / "_toc.yml").read_text()):
        assert (html / f"{name}.html").exists(), name
    assert (html / "index.html").exists()


def test_chapters_show_figures_and_hide_what_was_injected(html):
    for source in notebooks.chapters(ROOT):
        soup = read(html / "book/runs" / publish.DEFAULT_SET / f"{source.stem}.html")
        assert soup.select("article img"), source.stem
        assert "# Parameters" not in soup.get_text()
        known = notebooks.parameters(notebooks.read(source))
        for name in DIGITS.keys() & known.keys():
            assert f"{name} = {DIGITS[name]!r}" in soup.get_text(), source.stem


def test_next_walks_the_chapters_in_order_and_ends(html):
    way = [page.relative_to(html).with_suffix("").as_posix() for page in pdf.pages(html)]
    chapters = [contents.met(ROOT, path) for path in notebooks.chapters(ROOT)]
    assert way[0] == "book/index" and way[1 : len(chapters) + 1] == chapters
    assert way[-1] == contents.APPENDIX and not set(way) & set(contents.appendix(ROOT))
    assert "right-next" not in (html / f"{way[-1]}.html").read_text("utf-8"), "a loop"


def unresolved(path: Path, soup: BeautifulSoup) -> Iterator[str]:
    """Errors that Sphinx or a cell left on a page."""
    for element in soup.select(".output.traceback, .system-message, .problematic"):
        yield f"error on the page: {element.get_text()[:200]}"
    if "Traceback (most recent call last)" in soup.get_text():
        yield "a traceback"


def dead_links(path: Path, soup: BeautifulSoup) -> Iterator[str]:
    """Links to a page, file or place that is not there."""
    for tag, attribute in [("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")]:
        for element in soup.select(f"{tag}[{attribute}]"):
            link = urlsplit(element[attribute])
            if link.scheme or link.netloc or element[attribute] in ("", "#"):
                continue
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            place = unquote(link.fragment)
            if not target.exists():
                yield f"no file: {element[attribute]}"
            elif place and target.suffix == ".html" and place not in anchors(target):
                yield f"no place: {element[attribute]}"


LOADED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
    "image": "href",
}


def loaded_from_outside(path: Path, soup: BeautifulSoup) -> Iterator[str]:
    """What a page would fetch from another host."""
    for tag, attribute in LOADED.items():
        for element in soup.select(f"{tag}[{attribute}]"):
            if tag == "link" and element.get("rel") in (["canonical"], ["author"], ["license"]):
                continue
            if re.match(r"(https?:)?//", element[attribute].strip()):
                yield f"loads {element[attribute]}"
    for script in soup.select("script:not([src])"):
        if re.search(r"https?://(?!www\.w3\.org)", script.get_text()):
            yield f"a script names {script.get_text()[:200]}"


def unnamed(path: Path, soup: BeautifulSoup) -> Iterator[str]:
    """Figures without size, words or number, a page without language, description or card.

    Of chapters as they are now: copies on other data may be older than their captions.
    """
    if not soup.article:
        return
    if not soup.html.get("lang"):
        yield "no language"
    if path.parent.name == "html":  # an index or the search, Sphinx's own
        return
    for name in ("description", "og:title", "og:image"):
        if not soup.select_one(f'meta[name="{name}"][content], meta[property="{name}"][content]'):
            yield f"no {name}"
    if "runs" in path.parts and publish.DEFAULT_SET not in path.parts:
        return
    for image in soup.select("article img"):
        figure = image.find_parent("figure")
        if figure is None or not figure.select_one("figcaption .caption-number"):
            yield f"no caption: {image}"
        if not (image.get("width") and image.get("height")):
            yield f"no size: {image}"
        if len(image.get("alt", "").split()) < captions.WORDS:
            yield f"no alternative text: {image}"


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_pages_have_no_errors_dead_links_outside_requests_or_unnamed_figures(html, part):
    found = []
    for path in pages(html)[part::PARTS]:
        soup = read(path)
        for check in (unresolved, dead_links, loaded_from_outside, unnamed):
            found += [f"{path.relative_to(html)}: {fault}" for fault in check(path, soup)]
    assert found == []


def test_style_sheets_load_nothing_from_outside(html):
    for path in (html / "_static").rglob("*.css"):
        text = path.read_text("utf-8")
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", text), path
    assert (html / "_static/katex/fonts/KaTeX_Main-Regular.woff2").exists()


FAULTY = """<html><article class="bd-article"><section><div class="system-message">unknown role</div><a href="none.html">a</a>
<a href="#nowhere">b</a><script src="//cdn/x.js"></script><script>get("https://x")</script>
<img src="https://host/a.png" alt="a1b2c3"></section></article></html>"""


def test_the_checks_of_a_page_find_what_is_wrong_with_one(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(FAULTY, "utf-8")
    said = [
        list(c(path, read(path))) for c in (unresolved, dead_links, loaded_from_outside, unnamed)
    ]
    assert [len(each) for each in said] == [1, 2, 3, 7]


def test_the_page_on_own_data_does_what_it_says(tmp_path, monkeypatch, capsys):
    page = (ROOT / "book/own_data.md").read_text("utf-8")
    data, memory, factory, attack, tokens = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "net.py").write_text(factory, "utf-8")
    exec(data + memory, {})
    np.save("logits.npy", np.random.default_rng(1).normal(size=(600, 3)).astype(np.float32))
    np.save("members.npy", np.random.default_rng(2).random(600) < 0.5)
    exec(attack, {})
    assert 0 < float(capsys.readouterr().out.split()[0]) < 1
    exec(tokens, {})
    told = capsys.readouterr().out.splitlines()
    assert "200 documents of 20 to 59 tokens" in told[0] and told[3].startswith("PerplexityAttack(")
    assert main(["audit", "mine.npz", "-o", "report"]) == 0
