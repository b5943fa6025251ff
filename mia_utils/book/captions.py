"""Which figures and tables of a chapter lack their caption, name or words: see CONTRIBUTING.md.

`python -m mia_utils.book.captions` lists them for all chapters.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from . import notebooks

DRAWS = re.compile(
    r"\bplots\.(?!(?:use_style|attack_style|styled|[Cc]ards?|counted|listed|at_least|at_most)\b)\w+\("
    r"|\bplt\.subplots\("
)
TABLE = re.compile(r"\.style\b")
WORDS = 6
"""Words that an alternative text has at least."""


def lacking(cell: Mapping) -> list[str]:
    """What a code cell that draws lacks; [] for every other cell.

    >>> lacking({"cell_type": "code", "source": "figure = plots.roc(curves)", "metadata": {}})
    ['a caption', 'a name', 'an alternative text of 6 words']
    """
    if cell["cell_type"] != "code" or not DRAWS.search(cell["source"]):
        return []
    options = cell["metadata"].get("mystnb", {})
    figure, image = options.get("figure", {}), options.get("image", {})
    found = {
        "a caption": bool(figure.get("caption")),
        "a name": bool(figure.get("name")),
        f"an alternative text of {WORDS} words": len(str(image.get("alt", "")).split()) >= WORDS,
    }
    return [what for what, there in found.items() if not there]


def violations(notebook: Mapping) -> list[str]:
    """One line for each cell of a chapter that draws and lacks something, or styles a table by hand."""
    lines = []
    for number, cell in enumerate(notebook["cells"], 1):
        missing = lacking(cell)
        first = cell["source"].strip().split("\n")[0]
        if missing:
            lines.append(f"cell {number} ({first[:50]}): lacks {', '.join(missing)}")
        if cell["cell_type"] == "code" and TABLE.search(cell["source"]):
            lines.append(f"cell {number} ({first[:50]}): a table without plots.styled")
    return lines


def main() -> int:
    count = 0
    for path in notebooks.chapters("."):
        for line in violations(notebooks.read(path)):
            count += 1
            print(f"{path.stem}: {line}")
    print(f"captions: {count} to write")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
