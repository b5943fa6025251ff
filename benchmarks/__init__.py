"""Speed against peers and against the machine, as ratios within one run: `make bench`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from mia_utils.errors import InputError

RESULTS = Path("book/results")


def command(main: Callable[[list[str]], int]) -> None:
    """Exit with the status of `main(arguments)`; what it was given wrongly is one line."""
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(str(error))
