"""An edit of the package that changes no output: seen on the embedded images, kept in a table.

A page on real data takes hours or a GPU, and every edit of the package makes it old, one that only
refuses more of what cannot be used too. So the book's own chapters, executed before the edit and
after it, are compared: where a chapter's outputs are all the same, both versions of what it uses
count as one, for the pages of that chapter. A page of the earlier version says so.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import InputError
from ..files import write_if_changed
from . import notebooks
from .source import sha256

TABLE = "same_outputs.csv"
COLUMNS = ("chapter", "before", "after", "outputs", "python", "torch", "numpy")
_EACH_TIME = re.compile(r"\b0x[0-9a-f]+\b|\bT_[0-9a-f]{5}(?=_|\b)")
"""What differs between two executions of the same: addresses, and the ids of pandas' tables."""


def outputs(notebook: Mapping) -> list[str]:
    """Hashes of the outputs of a notebook's code cells, in order, without what differs each time."""
    return [
        sha256(_EACH_TIME.sub("", json.dumps(output, sort_keys=True)))
        for cell in notebooks.code_cells(notebook)
        for output in map(_told, cell.get("outputs", ()))
    ]


def _told(output: Mapping) -> dict:
    return {k: v for k, v in output.items() if k not in ("execution_count", "metadata")}


def compare(
    before: str | os.PathLike, after: str | os.PathLike
) -> Iterator[tuple[str, dict | str]]:
    """(chapter, row of the table, or why there is none) of the chapters executed in two folders.

    Raises
    ------
    InputError
        If a folder has no executed chapter.
    """
    found = [
        {p.stem: notebooks.read(p) for p in sorted(Path(folder).glob("[!.]*.ipynb"))}
        for folder in (before, after)
    ]
    for folder, chapters in zip((before, after), found, strict=True):
        if not chapters:
            raise InputError(
                f"{folder} holds no executed chapter; expected what `make book` writes"
            )
    for chapter in sorted(set(found[0]) & set(found[1])):
        yield chapter, _row(chapter, found[0][chapter], found[1][chapter])


def _row(chapter: str, *versions: Mapping) -> dict | str:
    decided = [version["metadata"].get("mia", {}).get("decides", {}) for version in versions]
    if not all(decided):
        return "was not executed by `make book`"
    before, after = (parts.get("package", "") for parts in decided)
    rest = [{k: v for k, v in parts.items() if k != "package"} for parts in decided]
    if rest[0] != rest[1]:
        other = sorted(k for k in rest[0] | rest[1] if rest[0].get(k) != rest[1].get(k))
        return f"differs in more than the package: {', '.join(other)}"
    shown = [outputs(version) for version in versions]
    if shown[0] != shown[1]:
        count = sum(a != b for a, b in zip(*shown, strict=False)) + abs(
            len(shown[0]) - len(shown[1])
        )
        return f"{count} of {len(shown[1])} outputs are not the same"
    made = versions[1]["metadata"]["mia"]["made"]["versions"]
    return dict(zip(COLUMNS, (chapter, before, after, len(shown[1])), strict=False)) | made


def read(root: str | os.PathLike) -> list[dict]:
    """The rows of the table of the book under `root`, none if it has none."""
    path = Path(root, "book/results", TABLE)
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def add(root: str | os.PathLike, rows: list[dict]) -> Path:
    """Write rows into the table, beside those that it has; one that takes the place of none stays."""
    key = COLUMNS[:3]
    merged = {tuple(row[name] for name in key): row for row in [*read(root), *rows]}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged[k] for k in sorted(merged))
    path = Path(root, "book/results", TABLE)
    write_if_changed(path, text.getvalue().encode())
    return path


def same(root: str | os.PathLike, chapter: str, before: str, after: str) -> bool:
    """Whether two versions of what a chapter uses gave the same outputs, by way of others too."""
    pairs = [(row["before"], row["after"]) for row in read(root) if row["chapter"] == chapter]
    reached, waiting = {before}, [before]
    while waiting:
        at = waiting.pop()
        new = {b for pair in pairs for a, b in (pair, pair[::-1]) if a == at} - reached
        reached |= new
        waiting += new
    return after in reached
