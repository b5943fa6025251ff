"""`mia sweep`: chapters over a grid of parameters, one execution a cell, several at a time.

A cell is one chapter with one choice of parameters. It is kept under its run hash, so that a second
call does only what is missing or has changed, and whatever ends a sweep loses nothing that had
finished. Each cell runs in a process of its own, which ends with the sweep that started it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from . import notebooks
from ..errors import InputError, NotebookError
from .run import add_places, places, runs_root

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass
class Cell:
    """One chapter with one choice of parameters, and how far it is."""

    source: Path
    given: dict
    values: dict = field(repr=False)  # all parameters, defaults included
    run: str
    out: Path
    code: str = field(default="", repr=False)  # `_code` when the run was hashed
    state: str = WAITING
    seconds: float | None = None
    error: str = ""
    said: IO[str] | None = field(default=None, repr=False)  # stderr of its process

    @property
    def title(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.given.items())
        return f"{self.source.stem} {told}".rstrip()


# ---- the grid ----------------------------------------------------------------------------------


def read_grid(path: str | os.PathLike) -> list[dict]:
    """The blocks of a grid file: `[[grid]]` tables with `chapter` and parameters.

    A list is an axis, everything else a fixed value; the cells of a block are all combinations.

    Raises
    ------
    InputError
        If the file is no TOML, or holds anything but such blocks.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"no grid {path}; expected a TOML file with [[grid]] blocks") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    blocks = content.pop("grid", None)
    if content or not isinstance(blocks, list) or not all("chapter" in b for b in blocks):
        raise InputError(
            f"{path}: holds {sorted(content) or 'no [[grid]] with a chapter'}; expected [[grid]] "
            'blocks such as chapter = "10_experiments", dataset = ["mnist", "cifar10"], seed = 0'
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


def find_chapter(name: str, root: str | os.PathLike) -> Path:
    """The notebook that a chapter's name or path stands for.

    Raises
    ------
    InputError
        If there is none.
    """
    for path in (Path(root, "notebooks", f"{Path(name).stem}.ipynb"), Path(name)):
        if path.suffix == ".ipynb" and path.exists():
            return path
    known = ", ".join(path.stem for path in notebooks.chapters(root))
    raise InputError(f"no chapter {name!r} in {Path(root, 'notebooks')}; it has {known or 'none'}")


def cells(blocks: Iterable[Mapping], root: str | os.PathLike = ".") -> list[Cell]:
    """The cells of a grid, each once, with their state: done if their notebook is there.

    Raises
    ------
    InputError
        If a chapter is unknown, or a parameter does not fit the chapter's `parameters` cell; the
        message names the cell. Nothing has been started then.
    """
    found: dict[Path, Cell] = {}
    read: dict[str, tuple[Path, object]] = {}
    for chapter, given in (cell for block in blocks for cell in combinations(block)):
        if chapter not in read:
            path = find_chapter(chapter, root)
            read[chapter] = path, notebooks.read(path)
        source, notebook = read[chapter]
        try:
            values = notebooks.check_parameters(notebooks.parameters(notebook), given)
            run = notebooks.run_hash(notebook, values)
        except InputError as error:
            raise InputError(f"cell {Cell(source, given, {}, '', source).title}: {error}") from None
        out = runs_root() / run / source.name
        cell = Cell(source, given, values, run, out, _code(notebook))
        if notebooks.is_done(out, run):
            cell.state, cell.seconds = DONE, _duration(out)
        found.setdefault(out, cell)
    if not found:
        raise InputError("the grid has no cells; an axis is empty")
    return list(found.values())


def _code(notebook) -> str:
    """Hashes of what may be edited while a sweep is under way."""
    return f"{notebooks.source_hash(notebook)} {notebooks.package_hash()}"


def _duration(path: Path) -> float | None:
    return notebooks.read(path).metadata.get("papermill", {}).get("duration")


# ---- execution ---------------------------------------------------------------------------------


def run_cells(
    todo: Sequence[Cell], *, jobs: int = 1, on_change=lambda: None, poll: float = 0.1
) -> None:
    """Execute the waiting cells, `jobs` at a time; their states are kept up to date.

    `on_change()` is called whenever a state has changed, and about once a second besides. If it or
    anything else raises (Ctrl-C), the cells that are running are stopped and nothing else is lost.
    """
    waiting = [cell for cell in todo if cell.state == WAITING]
    running: dict[subprocess.Popen, tuple[Cell, float]] = {}
    told = 0.0
    try:
        while waiting or running:
            changed = False
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                running[_start(cell)] = cell, time.monotonic()
                cell.state, changed = RUNNING, True
            for process in [p for p in running if p.poll() is not None]:
                cell, began = running.pop(process)
                _finish(process, cell, time.monotonic() - began)
                changed = True
            if changed or time.monotonic() - told > 1:
                told = time.monotonic()
                on_change()
            time.sleep(poll)
    finally:
        for process, (cell, _) in running.items():
            process.stdin.close()
            cell.state = WAITING
        for process in running:
            process.wait()


def _start(cell: Cell) -> subprocess.Popen:
    cell.said = tempfile.TemporaryFile("w+")
    for left in cell.out.parent.glob(f".{cell.out.stem}.*.ipynb"):
        left.unlink(missing_ok=True)  # by an execution that was killed
    process = subprocess.Popen(
        [sys.executable, "-m", "mia_utils.book.sweep"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=cell.said,
        text=True,
        start_new_session=True,  # Ctrl-C is for the sweep, which then stops its cells
    )
    task = {name: getattr(cell, name) for name in ("given", "run", "code")}
    task |= {"source": str(cell.source), "out": str(cell.out)}
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    return process


def _finish(process: subprocess.Popen, cell: Cell, seconds: float) -> None:
    cell.said.seek(0)
    said = cell.said.read().strip()
    cell.said.close()
    process.stdin.close()
    if process.returncode == 0 and notebooks.is_done(cell.out, cell.run):
        cell.state, cell.seconds = DONE, seconds
    else:
        last = said.splitlines()[-1] if said else "it ended without a word"
        cell.state, cell.error = FAILED, last


def _work() -> int:
    """One cell, told on stdin. When stdin ends, so has the sweep, and this process with it."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    try:
        if _code(notebooks.read(task["source"])) != task["code"]:
            raise InputError("chapter or package changed since the sweep began; start it again")
        notebooks.execute(
            task["source"], task["out"], task["given"], run=task["run"], progress=False
        )
    except (InputError, NotebookError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


def _end_with_the_sweep() -> None:
    sys.stdin.read()
    # The kernel notices within a second that its parent is gone, and its workers that it is.
    os._exit(1)


# ---- what is told ------------------------------------------------------------------------------


def time_left(todo: Sequence[Cell], jobs: int) -> float | None:
    """Seconds until all is done, from the durations of finished cells that are most alike.

    Alike is: same chapter, data set and architecture, else same chapter and data set, else same
    chapter. None while no cell of one of the chapters has finished.
    """
    levels = (("dataset", "architecture"), ("dataset",), ())

    def key(cell: Cell, level) -> tuple:
        return (cell.source, *(str(cell.values.get(name)) for name in level))

    known: dict[tuple, list[float]] = {}
    for cell in todo:
        if cell.state == DONE and cell.seconds is not None:
            for level in levels:
                known.setdefault(key(cell, level), []).append(cell.seconds)
    total = 0.0
    for cell in todo:
        if cell.state in (WAITING, RUNNING):
            like = next((known[k] for k in (key(cell, lv) for lv in levels) if k in known), None)
            if like is None:
                return None
            total += sum(like) / len(like)
    return total / jobs


def duration(seconds: float | None) -> str:
    """
    >>> duration(5), duration(130), duration(7300), duration(None)
    ('5 s', '2 min', '2.0 h', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def summary(todo: Sequence[Cell], jobs: int) -> str:
    """One line: how many cells are in which state, and the time left."""
    count = Counter(cell.state for cell in todo)
    states = ", ".join(f"{count[s]} {s}" for s in (DONE, RUNNING, WAITING, FAILED) if count[s])
    left = f"; left: {duration(time_left(todo, jobs))}" if count[RUNNING] + count[WAITING] else ""
    return f"{len(todo)} cells: {states}{left}"


class Table:
    """On a terminal a table of the cells that is redrawn; elsewhere one line for each event."""

    def __init__(self, todo: Sequence[Cell], jobs: int, stream=None):
        self.todo, self.jobs = todo, jobs
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self._height = 0
        self._seen = {id(cell): cell.state for cell in todo}

    def __call__(self) -> None:
        lines = []
        for cell in self.todo:
            if cell.state != self._seen[id(cell)]:
                self._seen[id(cell)] = cell.state
                if not self.live or cell.state == FAILED:
                    lines.append(self._event(cell))
        if lines and not self.live:
            lines.append(f"  {summary(self.todo, self.jobs)}")
        if self.live:
            self._redraw(lines)
        elif lines:
            print("\n".join(lines), file=self.stream, flush=True)

    def _event(self, cell: Cell) -> str:
        after = f" ({duration(cell.seconds)})" if cell.state == DONE else ""
        why = f": {cell.error}" if cell.state == FAILED else ""
        return f"{cell.state:8s}{cell.title}{after}{why}"

    def _redraw(self, events: list[str]) -> None:
        width, height = os.get_terminal_size(self.stream.fileno())
        order = {RUNNING: 0, FAILED: 1, WAITING: 2, DONE: 3}
        rows = sorted(self.todo, key=lambda cell: order[cell.state])
        shown = [self._event(cell)[: width - 1] for cell in rows[: max(1, height - 4)]]
        if len(rows) > len(shown):
            shown.append(f"... and {len(rows) - len(shown)} more")
        shown.append(summary(self.todo, self.jobs)[: width - 1])
        up = f"\x1b[{self._height}A\x1b[J" if self._height else ""
        print(up + "\n".join([*events, *shown]), file=self.stream, flush=True)
        self._height = len(shown)


# ---- command -----------------------------------------------------------------------------------


def add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", nargs="?", type=Path, help="a TOML file with [[grid]] blocks")
    parser.add_argument("--chapter", nargs="+", metavar="NAME", help="instead of a grid file")
    parser.add_argument(
        "-p",
        "--parameter",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="with --chapter: a parameter and its values, any number of times",
    )
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, default 1")
    parser.add_argument("--dry-run", action="store_true", help="list the cells, start nothing")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository, default: here")
    add_places(parser)
    parser.set_defaults(call=_sweep)


def _blocks(arguments: argparse.Namespace) -> list[dict]:
    if (arguments.grid is None) == (arguments.chapter is None):
        raise InputError("mia sweep needs either a grid file or --chapter NAME")
    if arguments.grid is not None:
        if arguments.parameter:
            raise InputError("-p goes with --chapter; a grid file holds its own parameters")
        return read_grid(arguments.grid)
    blocks = []
    for chapter in arguments.chapter:
        known = notebooks.parameters(notebooks.read(find_chapter(chapter, arguments.root)))
        axes = {
            name: [notebooks.parse_parameter(name, text, known) for text in texts]
            for name, *texts in arguments.parameter
        }
        blocks.append({"chapter": chapter, **axes})
    return blocks


def _sweep(arguments: argparse.Namespace) -> int:
    if arguments.jobs < 1:
        raise InputError(f"--jobs {arguments.jobs}; expected at least 1")
    with notebooks.environment(**places(arguments)):
        todo = cells(_blocks(arguments), arguments.root)
        table = Table(todo, arguments.jobs)
        if arguments.dry_run:
            print("\n".join(table._event(cell) for cell in todo))
        else:
            run_cells(todo, jobs=arguments.jobs, on_change=table)
    print(f"sweep: {summary(todo, arguments.jobs)}")
    failed = [cell for cell in todo if cell.state == FAILED]
    for cell in failed:
        print(f"failed: {cell.title}: {cell.error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(_work())
