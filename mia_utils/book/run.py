"""`mia run`: a notebook executed with other parameters, kept under the hash of what decides it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from . import notebooks
from ..engine.backend import BACKENDS, resolve_backend


def runs_root() -> Path:
    """Where executed notebooks are kept: $MIA_RUNS, else ~/.cache/mia/runs."""
    return Path(os.environ.get("MIA_RUNS") or Path.home() / ".cache/mia/runs").expanduser()


def run_notebook(
    source: str | os.PathLike,
    given: Mapping | None = None,
    *,
    out: str | os.PathLike | None = None,
    progress: bool = True,
) -> tuple[Path, bool]:
    """Execute a notebook unless the same run is there already.

    Same means: same code cells, parameters, data and package. Kept as MIA_RUNS/HASH/NAME.ipynb,
    or at `out`.

    Returns
    -------
    (Path, bool)
        The finished notebook, and whether it was executed now.

    Raises
    ------
    InputError, NotebookError
        As `notebooks.execute`.
    """
    source = Path(source)
    notebook = notebooks.read(source)
    values = notebooks.check_parameters(notebooks.parameters(notebook), dict(given or {}))
    run = notebooks.run_hash(notebook, values)
    path = Path(out) if out else runs_root() / run / source.name
    if notebooks.is_done(path, run):
        return path, False
    return notebooks.execute(source, path, given, run=run, progress=progress), True


def add_places(parser: argparse.ArgumentParser) -> None:
    """The options that say where data and models lie, and who trains."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="data sets, else MIA_DATA")
    parser.add_argument("--store", type=Path, metavar="DIR", help="trained models, else MIA_STORE")
    parser.add_argument("--backend", choices=BACKENDS, help="who trains, else MIA_BACKEND or loky")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, else MIA_SCHEDULER")


def places(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Those options as environment variables for kernels; None where one was not given.

    Raises
    ------
    InputError
        If backend and scheduler do not go together.
    """
    if arguments.backend or arguments.scheduler:
        resolve_backend(arguments.backend, arguments.scheduler)
    roots = {"MIA_DATA": arguments.data, "MIA_STORE": arguments.store}
    return {
        **{name: path and str(path.expanduser().resolve()) for name, path in roots.items()},
        "MIA_BACKEND": arguments.backend,
        "MIA_SCHEDULER": arguments.scheduler,
    }


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebook", help="an .ipynb with a cell tagged 'parameters'")
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of that cell, any number of times",
    )
    add_places(parser)
    parser.add_argument("--out", type=Path, metavar="PATH", help="else MIA_RUNS/HASH/NAME.ipynb")
    parser.set_defaults(call=_run)


def _run(arguments: argparse.Namespace) -> int:
    known = notebooks.parameters(notebooks.read(arguments.notebook))
    given = {
        name: notebooks.parse_parameter(name, text, known) for name, text in arguments.parameter
    }
    with notebooks.environment(**places(arguments)):
        path, executed = run_notebook(arguments.notebook, given, out=arguments.out)
    print(f"{'done' if executed else 'nothing changed since'}: {path}")
    return 0
