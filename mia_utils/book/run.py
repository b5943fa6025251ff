"""A notebook executed with other parameters, kept under the hash of what decides it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from . import grid, state, sweep


def destination(source: Path, out: str | os.PathLike) -> Path:
    """Where `--out` puts a notebook: that file, or in that folder under its own name.

    Raises
    ------
    InputError
        If it is no .ipynb, or would overwrite a notebook that is edited: the source itself, or
        one that Jupytext pairs with a file beside it.
    """
    path = Path(out)
    if str(out).endswith(("/", os.sep)) or path.is_dir():
        path = path / source.name
    if path.suffix != ".ipynb":
        raise InputError(f"--out {out}; expected a file such as {path.stem}.ipynb, or a folder/")
    paired = path.exists() and any(path.with_suffix(end).exists() for end in (".md", ".py"))
    if paired or (path.exists() and path.samefile(source)):
        raise InputError(f"--out {out} would overwrite a source; choose another file, or a folder/")
    return path


def run_notebook(
    source: str | os.PathLike,
    given: Mapping | None = None,
    *,
    out: str | os.PathLike | None = None,
    force: bool = False,
    progress: bool = True,
) -> tuple[grid.Cell, bool]:
    """Execute a notebook unless the same run is there already.

    Same means: nothing has changed of what `state.decides` looks at. Kept as
    MIA_RUNS/HASH/NAME.ipynb, or at `out`.

    Parameters
    ----------
    force : bool
        Execute it even so.

    Returns
    -------
    (Cell, bool)
        What was run, with `out`, `state` and `error`; and whether it was executed now.

    Raises
    ------
    InputError
        As `grid.cell` and `destination`, before anything starts.
    """
    source = Path(source)
    state.forget()
    path = destination(source, out) if out else None
    cell = grid.cell(source, given or {}, out=path, download=True)
    if cell.state == grid.DONE and not force:
        return cell, False
    cell.state = grid.WAITING
    began = time.monotonic()
    with sweep.line(sys.stderr, live=progress and sys.stderr.isatty()) as line:

        def tell(running: Mapping) -> None:
            told = " ".join(map(sweep.doing, running.values()))
            elapsed = sweep.duration(time.monotonic() - began)
            line.set_description_str(f"{source.stem} ({elapsed}): {told}")

        sweep.run_cells([cell], on_change=tell)
    return cell, True
