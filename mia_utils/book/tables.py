"""Published tables on pages of prose: `% table: FILE.csv; The caption.` becomes one, with its file."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

TABLE = re.compile(r"^% table: (\S+\.csv); (.+)$", re.MULTILINE)
INTERNAL = frozenset({"goal", "met"})
"""Columns of benchmarks that are for their authors."""
_NUMBER = re.compile(r"-?[\d.,]+(?:e-?\d+)?( %)?")


def table(root: str | os.PathLike, file: str, caption: str) -> str:
    """A table of book/results in MyST: numbers to the right, and its file one click away."""
    path = Path(root, "book/results", file)
    with path.open(encoding="utf-8", newline="") as opened:
        head, *rows = csv.reader(opened)
    shown = [i for i, name in enumerate(head) if name not in INTERNAL]
    numeric = [all(_NUMBER.fullmatch(row[i]) or not row[i] for row in rows) for i in shown]
    rule = ["---:" if is_number else "---" for is_number in numeric]
    body = [[row[i].replace("|", "\\|") for i in shown] for row in rows]
    lines = [[head[i] for i in shown], rule, *body]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f":::{{table}} {caption} {{download}}`As CSV <results/{file}>`.\n{text}\n:::"


def with_tables(root: str | os.PathLike, text: str) -> str:
    """A page with its tables in the place of the lines that ask for them."""
    return TABLE.sub(lambda match: table(root, match[1], match[2]), text)
