"""The HTML built from committed and test copies, and pages that are programs."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT

from mia_utils.book import notebooks, publish

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


def pages(html: Path) -> dict[Path, BeautifulSoup]:
    return {
        path: BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in html.rglob("*.html")
        if "_static" not in path.parts
    }


@pytest.mark.xdist_group("book")
def test_every_entry_became_a_page(html):
    for name in re.findall(r"file: (\S+)", (ROOT / "_toc.yml").read_text()):
        assert (html / f"{name}.html").exists(), name
    assert (html / "index.html").exists()


@pytest.mark.xdist_group("book")
def test_chapters_show_figures_and_hide_what_was_injected(html):
    for source in notebooks.chapters(ROOT):
        page = html / "book/runs" / publish.DEFAULT_SET / f"{source.stem}.html"
        soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
        assert soup.select("article img"), source.stem
        assert "# Parameters" not in soup.get_text()
        assert "dataset = 'digits'" in soup.get_text()


@pytest.mark.xdist_group("book")
def test_no_page_holds_an_error_or_an_unresolved_reference(html):
    for path, soup in pages(html).items():
        assert not soup.select(".output.traceback, .system-message, .problematic"), path
        assert "Traceback (most recent call last)" not in soup.get_text(), path


@pytest.mark.xdist_group("book")
def test_no_link_leads_to_a_missing_page_or_place(html):
    anchors = {
        path: {tag.get("id", tag.get("name")) for tag in soup.select("[id], a[name]")}
        for path, soup in pages(html).items()
    }
    for path, soup in pages(html).items():
        for tag, attribute in [("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")]:
            for element in soup.select(f"{tag}[{attribute}]"):
                link = urlsplit(element[attribute])
                if link.scheme or link.netloc or element[attribute] in ("", "#"):
                    continue
                target = (path.parent / unquote(link.path)).resolve() if link.path else path
                assert target.exists(), f"{path}: {element[attribute]}"
                if link.fragment and target in anchors:
                    assert unquote(link.fragment) in anchors[target], f"{path}: {element}"


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


@pytest.mark.xdist_group("book")
def test_nothing_is_loaded_from_outside(html):
    for path, soup in pages(html).items():
        for tag, attribute in LOADED.items():
            for element in soup.select(f"{tag}[{attribute}]"):
                if tag == "link" and element.get("rel") in (["canonical"], ["author"], ["license"]):
                    continue
                outside = re.match(r"(https?:)?//", element[attribute].strip())
                assert not outside, f"{path}: {element}"
        for script in soup.select("script:not([src])"):
            text = script.get_text()
            assert not re.search(r"https?://(?!www\.w3\.org)", text), f"{path}: {text}"
    for path in (html / "_static").rglob("*.css"):
        text = path.read_text("utf-8")
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", text), path
    assert (html / "_static/katex/fonts/KaTeX_Main-Regular.woff2").exists()


@pytest.mark.xdist_group("book")
def test_drawings_have_a_text_and_pages_a_language(html):
    for path, soup in pages(html).items():
        assert not soup.article or soup.html.get("lang"), path
        for image in () if "runs" in path.parts else soup.select("figure img"):
            assert len(image.get("alt", "").split()) > 3, f"{path}: {image}"


def test_the_page_on_own_data_does_what_it_says(tmp_path, monkeypatch, capsys):
    page = (ROOT / "book/own_data.md").read_text("utf-8")
    data, factory, attack = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "net.py").write_text(factory, "utf-8")
    exec(data, {})
    np.save("logits.npy", np.random.default_rng(1).normal(size=(600, 3)).astype(np.float32))
    np.save("members.npy", np.random.default_rng(2).random(600) < 0.5)
    exec(attack, {})
    assert 0 < float(capsys.readouterr().out.split()[0]) < 1
