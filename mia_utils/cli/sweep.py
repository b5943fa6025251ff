"""`mia sweep`: chapters executed over a grid of parameters."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..book import grid, notebooks, sweep, trainings
from ..errors import InputError, NotebookError
from ..paths import environment, results_root, runs_root, store_root
from .options import a_path, add_places, add_root, at_least, parameters, places


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", nargs="?", type=a_path, help="a TOML file with [[grid]] blocks")
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
    parser.add_argument("--jobs", type=at_least(1), default=1, help="cells at a time, default 1")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="list the cells, start nothing")
    what.add_argument(
        "--train-only",
        action="store_true",
        help="train what the cells need into the store, execute none (needs no Jupyter)",
    )
    add_root(parser)
    add_places(parser)
    parser.set_defaults(call=_sweep)


def _blocks(arguments: argparse.Namespace) -> list[dict]:
    if (arguments.grid is None) == (arguments.chapter is None):
        raise InputError("mia sweep needs either a grid file or --chapter NAME")
    if arguments.grid is not None:
        if arguments.parameter:
            raise InputError("-p goes with --chapter; a grid file holds its own parameters")
        return grid.read_grid(arguments.grid)
    axes = parameters(arguments.parameter)
    return [{"chapter": chapter, **axes} for chapter in arguments.chapter]


def _sweep(arguments: argparse.Namespace) -> int:
    with environment(**places(arguments)):
        todo = grid.cells(_blocks(arguments), arguments.root, download=not arguments.dry_run)
        if arguments.train_only:
            return _train(todo, arguments.jobs)
        if arguments.dry_run:
            print("\n".join(map(sweep.event, todo)))
            absent = sorted({n for c in todo for n, v in c.parts["data"].items() if not v})
            if absent:
                print(f"not here yet, and downloaded by the sweep: {', '.join(absent)}")
        else:
            shown = sweep.Progress(todo, arguments.jobs)
            try:
                sweep.run_cells(todo, jobs=arguments.jobs, on_change=shown)
            finally:
                shown.close()
    return report(todo, arguments.jobs, arguments.grid)


def _train(todo: list[grid.Cell], jobs: int) -> int:
    """The trainings of each cell, one cell after the other; they share the workers of `train`."""
    if jobs > 1:
        raise InputError("--jobs goes without --train-only, which trains several models at a time")
    failed = 0
    for number, cell in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {cell.title}", flush=True)
        try:
            trainings.run_trainings(notebooks.read(cell.source), cell.values)
        except (InputError, NotebookError) as error:
            failed += 1
            print(f"failed: {cell.title}: {error}", file=sys.stderr)
    print(f"train: {len(todo) - failed} of {len(todo)} cells have their models in {store_root()}")
    return 1 if failed else 0


def report(todo: list[grid.Cell], jobs: int, source: Path | None) -> int:
    """What has been done, where it lies, and what comes next; the exit code."""
    print(f"sweep: {sweep.summary(todo, jobs)}")
    failed = [cell for cell in todo if cell.state == grid.FAILED]
    for cell in failed:
        print(f"failed: {cell.title}: {cell.error}", file=sys.stderr)
    done = [cell for cell in todo if cell.state == grid.DONE]
    if done:
        print(f"notebooks: {runs_root()}/HASH/NAME.ipynb, such as {done[0].out}")
        which = f"--grid {source}" if source else "FILE ..."
        print(f"to make them pages of the book: mia publish runs {which}")
    if any(cell.source.stem == "10_experiments" for cell in done):
        which = f"--grid {source}" if source else "RUN ..."
        print(f"records: {results_root()}; to publish them: mia publish results {which}")
    return 1 if failed else 0
