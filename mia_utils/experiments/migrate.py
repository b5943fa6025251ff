"""Records and tables of earlier layouts, brought to the present one: the same values, other names.

Layout 1 named false-positive rates by digits alone, so that `01pct` was 0.1 %.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from ..errors import InputError
from ..files import write_if_changed
from .records import LAYOUT, SCHEMA, check, run_files

_RATES = {"10pct": "0.1", "1pct": "0.01", "01pct": "0.001"}
_OLD = re.compile(r"tpr_at_fpr(10pct|1pct|01pct)(?=_|$)")


def new_name(column: str) -> str:
    """The present name of a column.

    >>> new_name("null_tpr_at_fpr01pct"), new_name("tpr_at_fpr1pct_low"), new_name("auc")
    ('null_tpr_at_fpr_0.001', 'tpr_at_fpr_0.01_low', 'auc')
    """
    return _OLD.sub(lambda match: f"tpr_at_fpr_{_RATES[match[1]]}", column)


def migrate_record(record: dict) -> dict:
    """One record with the present columns; one that has them comes back as it is."""
    if record.get("layout", 1) != 1:
        return record
    renamed = {new_name(column): value for column, value in record.items()}
    return {"layout": LAYOUT, **renamed}


def migrate(folder: str | os.PathLike) -> list[Path]:
    """Rewrite `records/*.jsonl` and the tables `*.csv` of a results folder; the files that changed.

    Every value stays what it was, to the last digit. What is in the present layout is left alone.

    Raises
    ------
    InputError
        If there are no records, or one cannot be brought to the present layout. Nothing is
        written then.
    """
    folder = Path(folder)
    written: dict[Path, bytes] = {}
    paths = run_files(folder)
    if not paths:
        raise InputError(f"no records in {folder}/records; expected a folder such as book/results")
    for path in paths:
        lines = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            where = f"{path}, line {number}"
            try:
                record = migrate_record(json.loads(line))
            except (json.JSONDecodeError, AttributeError) as error:
                raise InputError(f"{where} is no record: {error}") from None
            check(record, where)
            lines.append(json.dumps({name: record[name] for name in SCHEMA}, allow_nan=False))
        written[path] = "".join(f"{line}\n" for line in lines).encode()
    for path in sorted(folder.glob("[!.]*.csv")):
        head, newline, rest = path.read_bytes().partition(b"\n")
        columns = [new_name(name) for name in head.decode("utf-8").split(",")]
        written[path] = ",".join(columns).encode() + newline + rest
    return [path for path, content in written.items() if write_if_changed(path, content)]
