"""The command line: `mia COMMAND ...`, the same as `python -m mia_utils COMMAND ...`."""

from __future__ import annotations

import argparse
import errno
import sys
from importlib import import_module

# name: (module:function that fills its parser, one line of help). A module is imported only when
# its command is called.
COMMANDS = {
    "run": ("mia_utils.book.run:add_run", "execute a chapter with other parameters"),
    "sweep": ("mia_utils.book.sweep:add_sweep", "execute chapters over a grid of parameters"),
    "publish": ("mia_utils.book.publish:add_publish", "put executed notebooks into the book"),
    "plan": ("mia_utils.engine.plan:add_plan", "what trainings will cost in time, memory and disk"),
    "store": ("mia_utils.cli.store:add_store", "list, verify and prune trained models"),
    "data": ("mia_utils.cli.data:add_data", "list, make and check data sets"),
}


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of one command; its function is `call`."""
    parser = argparse.ArgumentParser(
        prog="mia", description="Membership inference attacks: experiments, data and the book."
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (target, summary) in COMMANDS.items():
        command = subparsers.add_parser(name, help=summary, description=summary)
        if argv[:1] == [name]:
            module, function = target.split(":")
            getattr(import_module(module), function)(command)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0; 1 if a notebook failed or a check found something; 2 for a bad input; 130."""
    from .errors import InputError, NotebookError

    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        return arguments.call(arguments)
    except KeyboardInterrupt:
        print("mia: stopped; what had finished is kept", file=sys.stderr)
        return 130
    except InputError as error:
        return _fail(error, 2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.EACCES):
            raise
        where = f": {error.filename}" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; free some, or point MIA_DATA, MIA_STORE or MIA_RUNS elsewhere" if full else ""
        return _fail(f"{error.strerror}{where}{advice}", 2)
    except NotebookError as error:
        return _fail(error, 1)


def _fail(message: object, code: int) -> int:
    print(f"mia: error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
