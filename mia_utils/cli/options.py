"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..engine.backend import BACKENDS, resolve_backend
from ..errors import InputError


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from {least} on")
        return value

    return read


def a_path(text: str) -> Path:
    """The type of an option that is a file or folder: an empty text (of a shell's variable that was
    not set, say) is not the folder one stands in.
    """
    if not text:
        raise argparse.ArgumentTypeError("''; expected a path ('.' for this folder)")
    return Path(text)


def add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=a_path, default=Path(), help="the repository, default: here")


def add_places(parser: argparse.ArgumentParser) -> None:
    """The options that say where data and models lie, and who trains."""
    parser.add_argument("--data", type=a_path, metavar="DIR", help="data sets, else MIA_DATA")
    parser.add_argument(
        "--store", type=a_path, metavar="DIR", help="trained models, else MIA_STORE"
    )
    parser.add_argument("--backend", choices=BACKENDS, help="who trains, else MIA_BACKEND or loky")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, else MIA_SCHEDULER")


def places(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Those options as environment variables for kernels; None where one was not given.

    Raises
    ------
    InputError
        If backend and scheduler do not go together, or a folder is a file.
    """
    if arguments.backend or arguments.scheduler:
        resolve_backend(arguments.backend, arguments.scheduler)
    roots = {"MIA_DATA": arguments.data, "MIA_STORE": arguments.store}
    for path in filter(None, roots.values()):
        if path.expanduser().is_file():
            raise InputError(f"{path} is a file; expected a folder")
    return {
        **{name: path and str(path.expanduser().resolve()) for name, path in roots.items()},
        "MIA_BACKEND": arguments.backend,
        "MIA_SCHEDULER": arguments.scheduler,
    }


def parameters(pairs: list[list[str]]) -> dict[str, list[str]]:
    """Names and texts of `-p NAME VALUE ...` options.

    Raises
    ------
    InputError
        If a name comes twice, or without a value.
    """
    found: dict[str, list[str]] = {}
    for name, *texts in pairs:
        if name in found:
            raise InputError(f"-p {name} was given twice; give it once")
        if not texts:
            raise InputError(f"-p {name} without a value; expected -p NAME VALUE")
        found[name] = texts
    return found
