"""`mia COMMAND ...`, the same as `python -m mia_utils COMMAND ...`."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from ..errors import InputError, NotebookError

# name: (module:function that fills its parser, one line of help). A module is imported only when
# its command is called.
COMMANDS = {
    "run": ("mia_utils.cli.run:add", "execute a chapter with other parameters"),
    "sweep": ("mia_utils.cli.sweep:add", "execute chapters over a grid of parameters"),
    "publish": ("mia_utils.cli.publish:add", "put executed chapters and records into the book"),
    "book": ("mia_utils.cli.book:add", "execute the book's own chapters, write its contents"),
    "notebooks": ("mia_utils.cli.notebooks:add", "keep the pairs of chapters in step"),
    "plan": ("mia_utils.cli.plan:add", "what trainings will cost in time, memory and disk"),
    "store": ("mia_utils.cli.store:add_store", "list, verify, prune and move trained models"),
    "audit": ("mia_utils.cli.audit:add", "how much a model gives away, as a report"),
    "data": ("mia_utils.cli.data:add_data", "list, make and check data sets"),
}
EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "opacus", "safetensors", "tqdm", "PIL"), "train"),
    **dict.fromkeys(("papermill", "nbformat", "nbclient", "jupytext", "ipykernel"), "book"),
    **dict.fromkeys(("jupyter_client", "psutil", "yaml"), "book"),
    "distributed": "cluster",
}
"""Which extra brings a module that the core does without."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and takes no shortened options."""

    def __init__(self, **options):
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str):
        raise InputError(f"{message}; see: {self.prog} --help")


def _version() -> str:
    try:
        return version("mia-utils")
    except PackageNotFoundError:  # used from its folder, not installed
        return "unknown (not installed)"


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of one command; its function is `call`.

    Raises
    ------
    InputError
        If there is no such command, or its arguments cannot be read.
    """
    parser = Parser(
        prog="mia", description="Membership inference attacks: experiments, data and the book."
    )
    parser.add_argument("--version", action="version", version=f"mia-utils {_version()}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, (target, summary) in COMMANDS.items():
        command = subparsers.add_parser(name, help=summary, description=summary)
        if argv[:1] == [name]:
            module, function = target.split(":")
            getattr(import_module(module), function)(command)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0; 1 if a notebook failed or a check found something; 2 for a bad input; 130."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show is no error
            stream.reconfigure(errors="backslashreplace")
    try:
        before = signal.signal(signal.SIGTERM, _terminated)
    except ValueError:  # not the main thread
        before = None
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        return arguments.call(arguments)
    except KeyboardInterrupt:
        print("mia: stopped; what had finished is kept", file=sys.stderr)
        return 130
    except InputError as error:
        return _fail(error, 2)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        return _fail(f"{module} is not installed: pip install 'mia-utils[{EXTRAS[module]}]'", 2)
    except BrokenPipeError:  # `mia ... | head`
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno is None:
            raise
        where = f": {error.filename}" if error.filename else ""
        advice = "; free some, or" if error.errno in _FULL else "; if it cannot be written,"
        return _fail(
            f"{error.strerror}{where}{advice} point MIA_DATA, MIA_STORE, MIA_RUNS or MIA_RESULTS "
            "elsewhere",
            2,
        )
    except NotebookError as error:
        return _fail(error, 1)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _terminated(number, frame) -> None:
    raise KeyboardInterrupt


def _fail(message: object, code: int) -> int:
    print(f"mia: error: {' '.join(str(message).split())}", file=sys.stderr)
    return code
