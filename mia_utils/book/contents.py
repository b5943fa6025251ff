"""The book's table of contents: which page of a chapter a reader meets, and in which order.

A chapter is met at its copy on CIFAR-10 (one on texts at its larger run) if there is one, else at the
copy that `make book` executes on the embedded images. Its other copies are an appendix: linked from
the chapter's head, and in no table of contents. `mia book contents` rewrites _toc.yml from the files
at hand.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..data.catalog import REPORTED, title
from ..errors import InputError
from ..files import write_if_changed
from . import notebooks, publish

RUNS = Path("book/runs")
MET = "cifar10"
"""The data set on which a reader meets a chapter."""
APPENDIX = "book/copies"
"""The page below which all other copies are, last in the book: "Next" never leads to them."""
OWN = "your run"
"""What the copy that `make book` executes is called beside the others."""

PARTS = (
    # (caption, the chapter that begins the part)
    ("Before you begin", "data_and_models"),
    ("Introduction", "baselines"),
    ("Attack", "shadow_training"),
    ("Defense", "defenses"),
    ("Experiments", "experiments"),
    ("Discussion", "discussion"),
    ("Audit", "audit"),
    ("Text", "text_generation"),
)
AFTER = (
    # (caption, pages of prose), each made a page if its file is there
    (
        "Use it",
        [
            *(
                "explore",
                "ten_lines",
                "audit_ci",
                "audit_checked",
                "tried",
                "own_model",
                "own_data",
            ),
            *("reproduce", "scaling", "performance", "law"),
        ],
    ),
    (
        "Look it up",
        ["glossary", "notation", "report", "api", "architecture", "bibliography", "cite", "copies"],
    ),
)


def name_of(chapter: str | os.PathLike) -> str:
    """A chapter's name without its number: "likelihood" of notebooks/06_likelihood.ipynb."""
    return Path(chapter).stem.partition("_")[2]


def met(root: str | os.PathLike, chapter: str | os.PathLike) -> str:
    """The page at which a reader meets a chapter, as Sphinx names it (no ending)."""
    stem = Path(chapter).stem
    pages = [RUNS / name / stem for name in (MET, publish.TEXT_SET, publish.DEFAULT_SET)]
    there = (page for page in pages if Path(root, f"{page}.ipynb").exists())
    return next(there, pages[-1]).as_posix()


def versions(root: str | os.PathLike, chapter: str | os.PathLike) -> dict[str, str]:
    """{what a reader knows the data set by: page} of every copy of a chapter that is there.

    The data sets of the book first, the reader's own run last.
    """
    stem = Path(chapter).stem
    order = [MET, *(name for name in reversed(REPORTED) if name != MET)]
    found = {p.parent.name for p in Path(root, RUNS).glob(f"*/{stem}.ipynb")}
    known = [name for name in order if name in found]
    others = sorted(found - set(known) - {publish.DEFAULT_SET})
    pages = {title(name): (RUNS / name / stem).as_posix() for name in (*known, *others)}
    if publish.DEFAULT_SET in found:
        pages[OWN] = (RUNS / publish.DEFAULT_SET / stem).as_posix()
    return pages


def appendix(root: str | os.PathLike) -> list[str]:
    """The copies that are no page a reader meets, chapter by chapter."""
    found = {path: versions(root, path) for path in notebooks.chapters(root)}
    return [
        page for path, pages in found.items() for page in pages.values() if page != met(root, path)
    ]


def toc(root: str | os.PathLike) -> str:
    """The text of _toc.yml: chapters from notebooks/ in parts, and the pages of prose after them.

    A chapter's page on the embedded images need not exist: `make book` makes it.
    """
    import yaml

    starts = {name: caption for caption, name in PARTS}
    parts: list[dict] = []
    for path in notebooks.chapters(root):
        caption = starts.get(name_of(path))
        if caption or not parts:
            # Chapter 00 has no number, so that all others have those of their files.
            number = {} if path.stem.startswith("00") else {"numbered": 1}
            parts.append({"caption": caption or PARTS[1][0], **number, "chapters": []})
        parts[-1]["chapters"].append({"file": met(root, path)})
    for caption, pages in AFTER:
        there = [name for name in pages if Path(root, f"book/{name}.md").exists()]
        if there:
            files = [{"file": f"book/{name}", **_below(root, name)} for name in there]
            parts.append({"caption": caption, "chapters": files})
    contents = {"format": "jb-book", "root": "book/index", "parts": parts}
    head = "# Written by `mia book contents` from the files at hand.\n"
    return head + yaml.safe_dump(contents, sort_keys=False, allow_unicode=True)


def _below(root: str | os.PathLike, page: str) -> dict:
    below = sorted(Path(root, "book", page).glob("*.md"))
    return {"sections": [{"file": f"book/{page}/{path.stem}"} for path in below]} if below else {}


def write_toc(root: str | os.PathLike) -> bool:
    """Rewrite ROOT/_toc.yml; return whether it changed.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    if not Path(root).is_dir():
        raise InputError(f"no folder {root}; call it in the repository or give --root")
    return write_if_changed(Path(root, "_toc.yml"), toc(root).encode())


def missing(root: str | os.PathLike) -> list[str]:
    """The pages in the table of contents that are not there: chapters that were not executed."""
    names = re.findall(r"^[\s-]*(?:file|root): (\S+)$", toc(root), re.MULTILINE)
    ends = (".md", ".ipynb")
    return [n for n in names if not any(Path(root, f"{n}{end}").exists() for end in ends)]
