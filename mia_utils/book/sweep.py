"""Cells executed, several at a time, each in a process of its own; what a reader sees meanwhile.

A cell is kept under its run hash, so that a second call does only what is missing or has changed,
and whatever ends a sweep loses nothing that had finished.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tqdm import tqdm

from . import notebooks
from .grid import DONE, FAILED, RUNNING, WAITING, Cell
from .worker import Worker


def run_cells(
    todo: Sequence[Cell],
    *,
    jobs: int = 1,
    on_change: Callable[[dict[int, Worker]], None] = lambda running: None,
    on_done: Callable[[Cell], None] = lambda cell: None,
    poll: float = 0.1,
) -> None:
    """Execute the waiting cells, `jobs` at a time; their states are kept up to date.

    The processors are shared out among them: a chapter that takes all of them for its trainings,
    beside others that do, starts processes that wait for each other.

    `on_done` is called with every cell that has finished well, `on_change` with the running workers
    (by the place of their cell in `todo`) whenever a state has changed and about once a second
    besides. Whatever they or anything else raises (Ctrl-C), the running cells are stopped at once.
    """
    from joblib import cpu_count

    waiting = [place for place, cell in enumerate(todo) if cell.state == WAITING]
    processors = max(1, cpu_count() // max(1, min(jobs, len(waiting))))
    running: dict[int, Worker] = {}
    began: dict[int, float] = {}
    told = 0.0
    try:
        while waiting or running:
            changed = False
            while waiting and len(running) < jobs:
                place = waiting.pop(0)
                todo[place].state, began[place] = RUNNING, time.monotonic()
                running[place] = Worker(_task(todo[place]), processors)
                changed = True
            for place in [p for p, worker in running.items() if worker.ended()]:
                _finish(running.pop(place), todo[place], time.monotonic() - began[place])
                changed = True
                if todo[place].state == DONE:
                    on_done(todo[place])
            if changed or time.monotonic() - told > 1:
                told = time.monotonic()
                on_change(running)
            time.sleep(poll)
    finally:
        for place, worker in running.items():
            worker.stop()
            todo[place].state = WAITING


def _task(cell: Cell) -> dict:
    return {
        "source": str(cell.source),
        "out": str(cell.out),
        "given": cell.given,
        "run": cell.run,
        "parts": cell.parts,
        "dataset": str(cell.values.get("dataset", "")),
        "code": cell.code,
    }


def _finish(worker: Worker, cell: Cell, seconds: float) -> None:
    last, code = worker.end(), worker.process.returncode
    if code == 0 and notebooks.is_done(cell.out, cell.run):
        cell.state, cell.seconds = DONE, seconds
    else:
        cell.state, cell.error = FAILED, last or f"its process ended without a word (code {code})"
        cell.input_error = code == 2


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


def event(cell: Cell) -> str:
    """One line about a cell."""
    after = f" ({duration(cell.seconds)})" if cell.state == DONE and cell.seconds else ""
    why = f": {cell.error}" if cell.state == FAILED else ""
    return f"{cell.state:8s}{cell.title}{after}{why}"


def line(stream, *, live: bool) -> tqdm:
    """One line of a terminal that is written again and again; it goes when it is closed."""
    return tqdm(bar_format="{desc}", file=stream, disable=not live, leave=False, dynamic_ncols=True)


class Progress:
    """One line for each event, and on a terminal one below them that says what is going on."""

    def __init__(self, todo: Sequence[Cell], jobs: int, stream=None):
        self.todo, self.jobs = todo, jobs
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self._seen = [cell.state for cell in todo]
        self._line = line(self.stream, live=self.live)

    def __call__(self, running: dict[int, Worker]) -> None:
        changed = [place for place, cell in enumerate(self.todo) if cell.state != self._seen[place]]
        for place in changed:
            self._seen[place] = self.todo[place].state
            tqdm.write(event(self.todo[place]), file=self.stream)
        if changed:
            self.stream.flush()
        told = [f"{self.todo[p].source.stem} {doing(w)}" for p, w in sorted(running.items())]
        self._line.set_description_str(" | ".join([summary(self.todo, self.jobs), *told]))

    def close(self) -> None:
        self._line.close()


def doing(worker: Worker) -> str:
    """How far one execution is: its cell, and the training in it."""
    said = f", {worker.said}" if worker.said else ""
    return f"cell {worker.at} of {worker.cells}{said}" if worker.cells else "starts"
