"""Where things are kept outside the repository: one environment variable for each place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from . import arguments
from .errors import DiskError, InputError


def _root(variable: str, folder: str, given: str | os.PathLike | None = None) -> Path:
    """The given folder, else the variable's, else ~/.cache/mia/FOLDER."""
    if given is not None and not (isinstance(given, str) and not given):
        arguments.path(folder, given)
    value = given or os.environ.get(variable) or f"~/.cache/mia/{folder}"
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise InputError(f"{value}: no home folder is known; set {variable} to a folder") from None


def data_root(given: str | os.PathLike | None = None) -> Path:
    """Data sets: as given, else $MIA_DATA, else ~/.cache/mia/data."""
    return _root("MIA_DATA", "data", given)


def store_root(given: str | os.PathLike | None = None) -> Path:
    """Trained models: as given, else $MIA_STORE, else ~/.cache/mia/store."""
    return _root("MIA_STORE", "store", given)


def runs_root() -> Path:
    """Executed notebooks: $MIA_RUNS, else ~/.cache/mia/runs."""
    return _root("MIA_RUNS", "runs")


def results_root() -> Path:
    """Records that runs leave: $MIA_RESULTS, else ~/.cache/mia/results."""
    return _root("MIA_RESULTS", "results")


def ready(folder: Path, variable: str) -> Path:
    """A folder that can be written to, made if it is not there: looked at before hours of work.

    Raises
    ------
    DiskError
        If it cannot be; `variable` is what moves it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DiskError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder ({variable})"
        ) from None
    return folder


@contextmanager
def environment(**changes: str | os.PathLike | None) -> Iterator[None]:
    """Environment variables inside the block, for processes too; None leaves one as it is."""
    given = {name: str(value) for name, value in changes.items() if value is not None}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
