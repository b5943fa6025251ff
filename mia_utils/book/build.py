"""`make book`: the chapters on the embedded images, executed by a sweep, each published at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from . import grid, notebooks, publish, sweep
from .contents import RUNS

GRID = Path("book/grids/book.toml")


def build(
    root: str | os.PathLike, *, jobs: int = 2, on_change: Callable | None = None
) -> list[grid.Cell]:
    """Execute the cells of ROOT/book/grids/book.toml that have changed and publish all of them.

    Returns
    -------
    list of Cell
        With the state of each; a failed one keeps the page that it had, if any.

    Raises
    ------
    InputError
        As `grid.cells`, and as `publish.publish`.
    """
    root = Path(root)
    for left in (root / RUNS / publish.DEFAULT_SET).glob(".*.ipynb"):
        left.unlink(missing_ok=True)
    todo = grid.cells(grid.read_grid(root / GRID), root)
    pages = {id(cell): root / RUNS / publish.DEFAULT_SET / cell.source.name for cell in todo}
    for cell in todo:
        page = pages[id(cell)]
        if cell.state != grid.DONE and notebooks.is_done(page, cell.run):
            cell.state, cell.out = grid.DONE, page
        if cell.state == grid.DONE:
            _publish(cell, root)
    told = on_change(todo) if on_change else lambda running: None
    sweep.run_cells(todo, jobs=jobs, on_change=told, on_done=lambda cell: _publish(cell, root))
    return todo


def _publish(cell: grid.Cell, root: Path) -> None:
    publish.publish(cell.out, root, where=publish.DEFAULT_SET)
