"""Labels in a notebook: which it defines, and renaming them with the references to them."""

from __future__ import annotations

import re
from collections.abc import Callable

from nbformat import NotebookNode

# Where a MyST page gives a label: `(label)=`, `:label: x` or `:name: x`, and `$$ (label)`.
DEFINED = re.compile(
    r"^(?:\((?P<target>[\w.:-]+)\)=[ \t]*$"
    r"|[ \t]*:(?:label|name):[ \t]*(?P<option>[\w.:-]+)[ \t]*$"
    r"|.*(?:\$\$|\\end\{\w+\*?\})[ \t]*\((?P<math>[\w.:-]+)\)[ \t]*$)",
    re.MULTILINE,
)
ROLE = re.compile(r"(\{(?:ref|numref|eq|math:numref|prf:ref)\}`)([^`]+)(`)")
SOLUTION = re.compile(r"^([`:]{3,}\{solution(?:-start)?\}[ \t]+)([\w.:-]+)()[ \t]*$", re.MULTILINE)
LINK = re.compile(r"(\]\(#?)([\w.:-]+)(\))")


def _figure_names(cell: NotebookNode) -> list[dict]:
    """The figure and image options of a code cell that may hold a name (MyST-NB)."""
    options = cell.metadata.get("mystnb", {})
    return [options[key] for key in ("figure", "image") if "name" in options.get(key, {})]


def labels(cells: list[NotebookNode]) -> set[str]:
    """Every label that these cells define."""
    found = set()
    for cell in cells:
        if cell.cell_type == "markdown":
            found |= {m[str(m.lastgroup)] for m in DEFINED.finditer(cell.source)}
        else:
            found |= {options["name"] for options in _figure_names(cell)}
    return found


def suffix_labels(cells: list[NotebookNode], suffix: str) -> None:
    """Append a suffix to all labels of a notebook, as `rename_labels` does."""
    rename_labels(cells, lambda label: f"{label}{suffix}")


def rename_labels(cells: list[NotebookNode], renamed: Callable[[str], str]) -> None:
    """Rename all labels of a notebook and its own references to them, in place.

    References to labels of other pages stay as they are.
    """
    own = labels(cells)

    def rename(label: str) -> str:
        return renamed(label) if label in own else label

    def definition(match: re.Match) -> str:
        group = str(match.lastgroup)
        start, end = (place - match.start() for place in match.span(group))
        return match[0][:start] + renamed(match[group]) + match[0][end:]

    def role(match: re.Match) -> str:
        titled = re.fullmatch(r"(.*<)([^<>]+)(>)", match[2], re.DOTALL)
        inner = titled[1] + rename(titled[2]) + titled[3] if titled else rename(match[2])
        return match[1] + inner + match[3]

    for cell in cells:
        if cell.cell_type == "markdown":
            text = DEFINED.sub(definition, cell.source)
            text = ROLE.sub(role, text)
            for reference in (SOLUTION, LINK):
                text = reference.sub(lambda m: m[1] + rename(m[2]) + m[3], text)
            cell.source = text
        else:
            for options in _figure_names(cell):
                options["name"] = renamed(options["name"])
