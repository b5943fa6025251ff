"""Grids: which chapters, with which parameters. The cells of a grid and how far each one is."""

from __future__ import annotations

import itertools
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..parameters import check
from ..paths import runs_root
from . import notebooks, state
from .source import code_hash, package_hash

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass
class Cell:
    """One chapter with one choice of parameters, and how far it is."""

    source: Path
    given: dict
    values: dict = field(default_factory=dict, repr=False)  # all parameters, defaults included
    parts: dict = field(default_factory=dict, repr=False)  # `state.decides`
    run: str = ""  # "" while a data set of it is not here
    out: Path = Path()
    code: str = field(default="", repr=False)  # `code_of` when the run was hashed
    state: str = WAITING
    seconds: float | None = None
    error: str = ""
    input_error: bool = False  # what failed is what was given

    @property
    def title(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.given.items())
        return f"{self.source.stem} {told}".rstrip()


def read_grid(path: str | os.PathLike) -> list[dict]:
    """The blocks of a grid file: `[[grid]]` tables with `chapter` and parameters.

    A list is an axis, everything else a fixed value; the cells of a block are all combinations.

    Raises
    ------
    InputError
        If there is no such file, it is no TOML, or it holds anything but such blocks.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"no grid {path}; expected a TOML file with [[grid]] blocks") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a TOML file with [[grid]] blocks") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    blocks = content.pop("grid", None)
    tables = isinstance(blocks, list) and all(isinstance(block, dict) for block in blocks)
    if content or not tables or not all("chapter" in block for block in blocks):
        found = sorted(content) or "no [[grid]] with a chapter"
        raise InputError(
            f"{path}: holds {found}; expected [[grid]] blocks such as "
            'chapter = "10_experiments", dataset = ["mnist", "cifar10"], seed = 0'
        )
    return blocks


def combinations(block: Mapping) -> list[tuple[str, dict]]:
    """(chapter, parameters) of every cell of one block, the last axis fastest.

    >>> combinations({"chapter": "a", "x": [1, 2], "y": 3})
    [('a', {'x': 1, 'y': 3}), ('a', {'x': 2, 'y': 3})]
    """
    axes = {n: v if isinstance(v, list) else [v] for n, v in block.items()}
    chosen = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    return [(str(c.pop("chapter")), c) for c in chosen]


def code_of(notebook: Mapping) -> str:
    """Hashes of what may be edited while a sweep is under way."""
    cells = [cell["source"] for cell in notebooks.code_cells(notebook)]
    return f"{code_hash(cells)} {package_hash(cells)}"


def cell(source: Path, given: Mapping, *, out: Path | None = None, download: bool = False) -> Cell:
    """One chapter with one choice of parameters: done if its notebook is there.

    Parameters
    ----------
    out : path, default MIA_RUNS/HASH/NAME.ipynb
    download : bool
        Whether a data set that is not here may be downloaded; if not, the cell has no run yet.

    Raises
    ------
    InputError
        If a parameter does not fit the chapter's `parameters` cell, or what it names is not there.
        Nothing has been started then.
    """
    notebook = notebooks.read(source)
    notebooks.check_python(notebook, source)
    values = check(notebooks.parameters(notebook), given)
    given = {name: values[name] for name in given}
    parts = state.decides(notebook, values, download=download)
    here = all(parts["data"].values())
    run = state.run_hash(parts) if here else ""
    out = out or runs_root() / (run or "-") / source.name
    made = Cell(source, given, values, parts, run, out, code_of(notebook))
    if run and notebooks.is_done(out, run):
        made.state, made.seconds = DONE, duration_of(out)
    return made


def cells(
    blocks: Iterable[Mapping], root: str | os.PathLike = ".", *, download: bool = False
) -> list[Cell]:
    """The cells of a grid, each once; `cell` says how each is made.

    Raises
    ------
    InputError
        As `cell`, with the cell's name, and if a chapter is unknown or the grid has no cell.
    """
    state.forget()
    found: dict[tuple, Cell] = {}
    for chapter, given in (c for block in blocks for c in combinations(block)):
        source = notebooks.find_chapter(chapter, root)
        try:
            made = cell(source, given, download=download)
        except InputError as error:
            raise InputError(f"cell {Cell(source, given).title}: {error}") from None
        found.setdefault((source, made.parts["parameters"]), made)
    if not found:
        raise InputError("the grid has no cells; an axis is empty")
    return list(found.values())


def duration_of(path: Path) -> float | None:
    """Seconds that an executed notebook took, as Papermill recorded them."""
    return notebooks.read(path)["metadata"].get("papermill", {}).get("duration")
