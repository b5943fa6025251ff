"""Chapters that are read, not waded through: what stands in sight, and how much of it."""

import re
from statistics import median

import pytest
from conftest import ROOT

from mia_utils.book import notebooks

CHAPTERS = {path.stem: path for path in notebooks.chapters(ROOT)}
REMOVED = {"remove-input", "remove-cell"}
FOLDED = {"hide-input", "hide-cell"} | REMOVED
PRINTING, MEDIAN, LONGEST, WIDEST, WORDS = 0.15, 6, 20, 76, 400
"""Share of visible cells that print; their lines; columns; words for each captioned figure."""
ENDING = ["Summary", "Strengths and limits", "Exercises", "Further reading"]


def visible(notebook) -> list[str]:
    """The sources of the code cells that a reader sees without unfolding anything."""
    cells = notebooks.code_cells(notebook)
    return [cell["source"] for cell in cells if not FOLDED & set(notebooks.tags(cell))]


def prose(notebook) -> str:
    """A chapter's Markdown without displayed formulas, blocks of code and options of directives."""
    cells = notebook["cells"]
    text = "\n\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")
    text = re.sub(
        r"\$\$.*?\$\$|^```(?:text|python|bash|console)\n.*?^```$", "", text, flags=re.S | re.M
    )
    return re.sub(r"^(?::[\w-]+:.*|[`:]{3,}.*)$", "", text, flags=re.M)


def figures(notebook) -> int:
    """Captioned figures: drawn by a cell, a file, or one that a reader can move."""
    cells = notebook["cells"]
    text = "\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")
    drawn = [c for c in cells if c["metadata"].get("mystnb", {}).get("figure", {}).get("caption")]
    return len(drawn) + len(re.findall(r"^[`:]{3,}\{(?:explorer|figure)\}", text, re.M))


def faults(name: str, notebook) -> list[str]:
    """One line for each way in which a chapter does not keep to the above."""
    cells = visible(notebook)
    shown = [c for c in notebooks.code_cells(notebook) if not REMOVED & set(notebooks.tags(c))]
    lines = [len(cell.strip().splitlines()) for cell in cells]
    printing = sum(bool(re.search(r"\bprint\(", cell)) for cell in cells)
    wide = [n for c in shown for n in c["source"].splitlines() if len(n) > WIDEST]
    words, pictures = len(prose(notebook).split()), figures(notebook)
    text = "\n".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown")
    headings = re.findall(r"^## (.*)$", text, re.M)
    exercises = re.findall(r"^`{3,}\{exercise\}.*\n:label: (\S+)$", text, re.M)
    solved = re.findall(r"^`{3,}\{solution\} (\S+)\n(?::.*\n)*?:class: dropdown$", text, re.M)
    found = {
        f"{printing} of {len(cells)} visible cells print": printing > PRINTING * len(cells),
        f"median visible cell: {median(lines)} lines": median(lines) > MEDIAN,
        f"longest visible cell: {max(lines)} lines": max(lines) > LONGEST,
        f"{len(wide)} lines above {WIDEST} columns, such as {wide[:1]}": bool(wide),
        f"{pictures} captioned figures for {words} words": (
            int(name[:2]) >= 2 and pictures * WORDS < words
        ),
        f"it ends with {headings[-4:]}": headings[-4:] != ENDING,
        f"exercises {exercises}, folded solutions {solved}": (
            len(exercises) < 4 or exercises != solved
        ),
    }
    return [fault for fault, there in found.items() if there]


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_teaches_is_in_sight_and_little_else(name):
    assert not faults(name, notebooks.read(CHAPTERS[name]))


# ---- computed sentences, which hold for any outcome ----

UNREADY = {
    "a number of epochs that may be 1": r"\{(?:\w+_)?epochs?\} epochs\b",
    "a plural made by hand: plots.counted": r"\"s\" (?:\*|if)",
    "a share without the space before %": r":\.\d%\}",
    "a bound that rounding may move to its other side: plots.at_least, plots.at_most": (
        r"(?:at (?:least|most)|up to)\s+\{[^{}]*:\.\d[fg]\}"
    ),
}


def unready(code: str) -> dict[str, list[str]]:
    sentences = re.sub(r'"\s*\n\s*f?"', "", code)
    found = {fault: re.findall(pattern, sentences) for fault, pattern in UNREADY.items()}
    return {fault: hits for fault, hits in found.items() if hits}


@pytest.mark.parametrize("name", CHAPTERS)
def test_computed_sentences_are_ready_for_any_number(name):
    cells = notebooks.code_cells(notebooks.read(CHAPTERS[name]))
    assert not unready("\n\n".join(c["source"] for c in cells))


@pytest.mark.parametrize(
    "code",
    [
        'f"trained for {exact_epochs} epochs"',
        'f"{n} pair" + "s" * (n != 1)',
        'f"{share:.0%} of them"',
        'f"A step costs at most {step:.1f} plain ones"',
        'f"changes it by at "\n         f"most {change.max():.4f}."',
    ],
)
def test_sentences_that_one_outcome_would_make_wrong_are_found(code):
    assert unready(code)
