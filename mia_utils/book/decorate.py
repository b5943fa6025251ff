"""What an executed chapter's page shows beside its cells: its other copies, and how it was made."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from nbformat import NotebookNode

from ..data.catalog import title
from ..errors import InputError
from . import contents, notebooks, publish
from .labels import rename_labels, suffix_labels

TITLE = re.compile(r"^# (.*)$", re.MULTILINE)
CHAPTER = re.compile(r"chapter:(\w+)")
LINKED = re.compile(r"\]\(([0-9][0-9][a-z]?_\w+)\.(?:md|ipynb)(#[\w-]+)?\)")


def is_copy(docname: str) -> bool:
    """Whether a page is an executed chapter."""
    return PurePosixPath(docname).parent.parent == PurePosixPath(contents.RUNS)


def is_met(root: str | os.PathLike, docname: str) -> bool:
    """Whether a page is the one at which a reader meets its chapter."""
    return is_copy(docname) and contents.met(root, docname) == docname


def link(page: str, here: str) -> str:
    """The way from one page to another (Sphinx's names, no ending)."""
    return os.path.relpath(page, Path(here).parent).replace(os.sep, "/")


def chapter_page(root: str | os.PathLike, name: str) -> str:
    """The page of the chapter of that name (without its number).

    Raises
    ------
    InputError
        If there is none.
    """
    pages = {contents.name_of(p): contents.met(root, p) for p in notebooks.chapters(root)}
    if name not in pages:
        raise InputError(f"no chapter {name!r}; a page may name {', '.join(pages)}")
    return pages[name]


def linked_chapters(root: str | os.PathLike, docname: str, text: str) -> str:
    """A page of prose with `chapter:NAME` as the way to that chapter's page.

    In a link, `[text](chapter:NAME#place)`, and as `:link: chapter:NAME` of a card.
    """

    def way(match: re.Match) -> str:
        target = link(chapter_page(root, match[1]), docname)
        in_link = match.string[match.start() - 2 : match.start()] == "]("
        return f"{target}.ipynb" if in_link else target

    return CHAPTER.sub(way, text)


def decorate(root: str | os.PathLike, docname: str, notebook: NotebookNode) -> None:
    """Give a copy its title, the switch to its siblings, its labels and its links, in place.

    Labels: those of the page that a reader meets are as its author wrote them; those of its
    siblings end with their folder.
    """
    folder = PurePosixPath(docname).parent.name
    pages = contents.versions(root, docname)
    met = is_met(root, docname)
    first = notebook.cells[0]
    if not met:
        called = next((name for name, page in pages.items() if page == docname), title(folder))
        number = notebooks.number_of(docname)
        numbered = f"{number}. " if number else ""
        first.source = TITLE.sub(rf"# {numbered}\1 ({called})", first.source, count=1)
    if len(pages) > 1:
        switch = _switch(pages, docname)
        first.source = TITLE.sub(lambda m: f"{m[0]}\n\n{switch}", first.source, count=1)
    _relabel(notebook.cells, folder, met)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _relinked(root, docname, cell.source)


def _switch(pages: dict[str, str], here: str) -> str:
    entries = [
        f"- **{name}**" if page == here else f"- [{name}]({link(page, here)}.ipynb)"
        for name, page in pages.items()
    ]
    return "\n".join([":::{div} data-switch", "Executed on", "", *entries, ":::"])


def map_of_chapters(root: str | os.PathLike, docname: str) -> str:
    """The parts of the book with their chapters and each chapter's first question, in Markdown."""
    starts = {name: caption for caption, name in contents.PARTS}
    lines = []
    for path in notebooks.chapters(root):
        name = contents.name_of(path)
        if name in starts:
            lines += ["", f"**{starts[name]}**", ""]
        chapter = f"[]({link(contents.met(root, path), docname)}.ipynb)"
        number = notebooks.number_of(path)
        mark = f"{number}." if number.isdecimal() else "   -" if number else "-"
        lines.append(f"{mark} {chapter}: {first_sentence(notebooks.read(path))}")
    return "\n".join(lines)


def first_sentence(notebook) -> str:
    """The sentence with which a chapter begins, without its links."""
    text = TITLE.split(notebook["cells"][0]["source"])[-1].strip()
    paragraph = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.split("\n\n")[0].split()))
    paragraph = re.sub(r"\s*\{cite\}`[^`]*`", "", paragraph)
    return re.findall(r".*?[.?!](?=\s|$)|.*", paragraph)[0]


def table_of_copies(root: str | os.PathLike) -> str:
    """Every chapter with the ways to all its pages, in Markdown."""
    lines = ["| chapter | executed on |", "| --- | --- |"]
    for path in notebooks.chapters(root):
        pages = contents.versions(root, path)
        ways = [f"[{n}]({link(page, contents.APPENDIX)}.ipynb)" for n, page in pages.items()]
        chapter = f"[]({link(contents.met(root, path), contents.APPENDIX)}.ipynb)"
        lines.append(f"| {chapter} | {' · '.join(ways)} |")
    return "\n".join(lines)


def _relabel(cells: list[NotebookNode], folder: str, met: bool) -> None:
    ending = publish.label_ending(folder)
    if met and folder != publish.DEFAULT_SET:
        rename_labels(cells, lambda label: label.removesuffix(ending))
    elif not met and folder == publish.DEFAULT_SET:
        suffix_labels(cells, ending)


def _relinked(root: str | os.PathLike, docname: str, text: str) -> str:
    """Links to chapters lead to the copy on the same data, else to the page a reader meets."""
    folder = PurePosixPath(docname).parent

    def way(match: re.Match) -> str:
        beside = folder / match[1]
        there = Path(root, f"{beside}.ipynb").exists() and not is_met(root, docname)
        page = beside.as_posix() if there else contents.met(root, match[1])
        return f"]({link(page, docname)}.ipynb{match[2] or ''})"

    return LINKED.sub(way, text)
