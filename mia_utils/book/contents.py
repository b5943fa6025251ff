"""The book's table of contents: which page of a chapter a reader meets, and in which order.

`python -m mia_utils.book.contents` rewrites _toc.yml from the files at hand.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from . import notebooks, publish
from ..data.catalog import TITLES, title

RUNS = Path("book/runs")

PARTS = (
    # (caption, pages before the chapters, last chapter's number, pages after them)
    ("Introduction", ["book/ten_lines", "book/notation"], 1, []),
    ("Attack", [], 7, []),
    ("Defense", [], 9, []),
    ("Experiments", [], 13, ["book/reproduce", "book/scaling", "book/performance"]),
    ("Discussion", [], 99, ["book/api", "book/bibliography"]),
)


def _chapter(chapter: Path, found: dict[str, set[str]]) -> dict:
    order = {name: place for place, name in enumerate(TITLES)}
    others = sorted(found.get(chapter.name, ()), key=lambda name: (order.get(name, 99), name))
    entry: dict = {"file": (RUNS / publish.DEFAULT_SET / chapter.stem).as_posix()}
    if others:
        entry["sections"] = [
            {"file": (RUNS / name / chapter.stem).as_posix(), "title": f"on {title(name)}"}
            for name in others
        ]
    return entry


def toc(root: str | os.PathLike) -> str:
    """The text of _toc.yml: chapters from notebooks/, and below each its copies on other data.

    The default set's copies need not exist: `make book` makes them.
    """
    import yaml

    found: dict[str, set[str]] = {}
    for copy in publish.copies(root):
        found.setdefault(copy.name, set()).add(copy.parent.name)
    remaining = notebooks.chapters(root)
    parts = []
    for caption, before, last, after in PARTS:
        mine = [path for path in remaining if int(path.name[:2]) <= last]
        remaining = remaining[len(mine) :]
        entries = [
            *({"file": page} for page in before),
            *(_chapter(path, found) for path in mine),
            *({"file": page} for page in after),
        ]
        if entries:
            parts.append({"caption": caption, "chapters": entries})
    contents = {"format": "jb-book", "root": "book/index", "parts": parts}
    head = "# Written by `python -m mia_utils.book.contents` from the files at hand.\n"
    return head + yaml.safe_dump(contents, sort_keys=False, allow_unicode=True)


def write_toc(root: str | os.PathLike) -> bool:
    """Rewrite ROOT/_toc.yml; return whether it changed."""
    path, text = Path(root, "_toc.yml"), toc(root)
    if path.exists() and path.read_text("utf-8") == text:
        return False
    path.write_text(text, "utf-8")
    return True


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mia_utils.book.contents", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    write_toc(parser.parse_args(argv).root)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
