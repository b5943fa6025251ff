"""Pairs of a chapter: NN_name.md (MyST), which is edited, and NN_name.ipynb with the same cells.

The .ipynb has no outputs; Papermill, nbval and Colab read it. `mia notebooks sync` writes it, and
refuses to write over an edit that somebody made there.
"""

from __future__ import annotations

import os
from pathlib import Path

from nbformat import NotebookNode, from_dict

from ..errors import InputError
from . import notebooks
from .execute import KERNEL, write
from .source import sha256

SYNCED = "synced"
"""Where the metadata of an .ipynb hold the hash of the cells that `sync` wrote."""


def from_markdown(path: Path) -> NotebookNode:
    """The .ipynb of a chapter's .md: no outputs, and cell ids that follow from the cells.

    An id is the hash of the cell's text, so that an edit changes the ids of the edited cells alone.
    """
    import jupytext

    notebook = jupytext.read(path, fmt="md:myst")
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        key = _key(cell)
        seen[key] = seen.get(key, 0) + 1
        cell.id = key if seen[key] == 1 else f"{key}-{seen[key]}"
    told = {k: v for k, v in notebook.metadata.items() if k not in ("jupytext", "mia", *KERNEL)}
    notebook.metadata = from_dict(
        {
            **KERNEL,
            "jupytext": {"formats": "ipynb,md:myst"},
            "mia": {SYNCED: _hash(notebook)},
            **told,
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _key(cell: dict) -> str:
    return sha256(cell["cell_type"], cell["source"])[:12]


def _hash(notebook: dict) -> str:
    """Of what an author may edit: kind, text and tags of each cell."""
    parts = ((c["cell_type"], c["source"], *notebooks.tags(c)) for c in notebook["cells"])
    return sha256(*(sha256(*part) for part in parts))[:16]


def pairs(directory: str | os.PathLike) -> list[tuple[Path, Path]]:
    """(NN_name.md, NN_name.ipynb) of every chapter in a folder, whether or not both exist.

    Raises
    ------
    InputError
        If there is no such folder, or no chapter in it.
    """
    folder = Path(directory)
    stems = {p.stem for end in ("md", "ipynb") for p in notebooks.find(folder, end)}
    if not stems:
        raise InputError(f"no chapter in {folder}; expected files such as 01_name.md")
    return [(folder / f"{stem}.md", folder / f"{stem}.ipynb") for stem in sorted(stems)]


def edited(path: Path) -> list[str]:
    """The cells of an .ipynb that were edited there, each by its number and first line.

    Outputs are no edit. [] too for a notebook that `sync` did not write.
    """
    notebook = notebooks.read(path)
    written = notebooks.told_of(notebook).get(SYNCED)
    if written is None or written == _hash(notebook):
        return []
    found = [
        f"cell {number} ({_first_line(cell)})"
        for number, cell in enumerate(notebook["cells"], 1)
        if str(cell.get("id", "")).partition("-")[0] != _key(cell)
    ]
    return found or ["cells moved, removed or tagged"]


def _first_line(cell: dict) -> str:
    lines = cell["source"].strip().splitlines() or [""]
    return repr(lines[0][:40])


def _content(notebook: dict) -> list[tuple]:
    """What a pair must share: not the cell ids and the metadata that Jupytext's own sync writes."""
    return [
        (cell["cell_type"], cell["source"], dict(cell["metadata"]), cell.get("outputs", []))
        for cell in notebook["cells"]
    ]


def drifted(directory: str | os.PathLike) -> list[str]:
    """One line for each pair whose .ipynb is not what its .md gives, or that lacks one half."""
    lines = []
    for source, paired in pairs(directory):
        if not source.exists() or not paired.exists():
            missing = source if paired.exists() else paired
            lines.append(f"{source.stem}: {missing.name} is missing")
        elif _content(from_markdown(source)) != _content(notebooks.read(paired)):
            told = ", ".join(edited(paired))
            why = f"; edited there: {told}" if told else ""
            lines.append(f"{source.stem}: {paired.name} is not what {source.name} gives{why}")
    return lines


def sync(directory: str | os.PathLike, *, discard: bool = False) -> list[Path]:
    """Write the .ipynb of every .md in a folder; return those that changed.

    Parameters
    ----------
    discard : bool
        Write over edits that were made in an .ipynb.

    Raises
    ------
    InputError
        If there are such edits; the message names the cells, and nothing is written.
    """
    found = [(source, paired) for source, paired in pairs(directory) if source.exists()]
    if not discard:
        for source, paired in found:
            told = paired.exists() and edited(paired)
            if told:
                raise InputError(
                    f"{paired} was edited: {', '.join(told)}; carry that over to {source.name}, "
                    "then give --discard to write over it"
                )
    return [paired for source, paired in found if write(from_markdown(source), paired)]
