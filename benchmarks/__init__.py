"""Speed against peers and against the machine, as ratios within one run: `make bench`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mia_utils.errors import InputError

RESULTS = Path("book/results")


def save(table, name: str | Path) -> None:
    """Write a pandas.DataFrame to book/results (or a whole path), the same table to the same bytes."""
    table.to_csv(RESULTS / name, index=False, float_format="%.6f", lineterminator="\n")


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    """Write a table of rows, as they are, with these columns."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def command(main: Callable[[list[str]], int]) -> None:
    """Exit with the status of `main(arguments)`; what it was given wrongly is one line."""
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(str(error))
