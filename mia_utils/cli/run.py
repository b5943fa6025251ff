"""`mia run`: a chapter executed with other parameters."""

from __future__ import annotations

import argparse

from ..book import grid, notebooks
from ..book.run import run_notebook
from ..errors import InputError, NotebookError
from ..paths import environment
from .options import add_places, add_root, parameters, places


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebook", help="a chapter's number or name, or an .ipynb")
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of the cell tagged 'parameters', any number of times",
    )
    parser.add_argument(
        "--out", metavar="PATH", help="a file, or a folder/; else MIA_RUNS/HASH/NAME.ipynb"
    )
    parser.add_argument("--force", action="store_true", help="even if nothing has changed")
    add_root(parser)
    add_places(parser)
    parser.set_defaults(call=_run)


def _run(arguments: argparse.Namespace) -> int:
    source = notebooks.find_chapter(arguments.notebook, arguments.root)
    given = {name: text for name, (text,) in parameters(arguments.parameter).items()}
    with environment(**places(arguments)):
        cell, executed = run_notebook(source, given, out=arguments.out, force=arguments.force)
    if cell.state == grid.FAILED:
        raise (InputError if cell.input_error else NotebookError)(cell.error)
    print(f"{'done' if executed else 'nothing changed since'}: {cell.out}")
    return 0
