"""All that takes longer than `make test` may: kills, generated inputs, coverage, browsers, mutants.

`make soak`, or `python -m benchmarks.soak PART ...` for some parts alone. Each part's outcome is a row of
book/results/soak.csv; rows of other parts stay, and parts that were never run stand there as not run.
A part that was stopped goes on where it was, or begins anew, as its own command says.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mia_utils.errors import InputError

from . import RESULTS, command, write_rows

TABLE = RESULTS / "soak.csv"
COLUMNS = ("part", "outcome", "minutes", "date", "command")
NOT_RUN = "not run"


@dataclass(frozen=True)
class Part:
    """What is run, and how many minutes it takes on two cores."""

    line: str
    minutes: int
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The command as a reader would type it."""
        return " ".join([*(f"{k}={v}" for k, v in self.environment.items()), self.line])

    @property
    def argv(self) -> list[str]:
        """The command with this interpreter."""
        return [sys.executable, *self.line.split()[1:]]


PARTS = {
    "kills": Part("python -m benchmarks.kills", 30),
    "inputs": Part("python -m benchmarks.fuzz", 20),
    "coverage": Part("python -m benchmarks.coverage", 10),
    "branches": Part("python -m benchmarks.branches", 30),
    "browser": Part(
        "python -m pytest -q tests/test_pages_browser.py tests/test_audit_browser.py",
        *(25, {"BROWSER_TESTS": "1"}),
    ),
    **{
        f"mutants-{wing}": Part(f"python -m benchmarks.mutants {wing} --count 40 --seed 21", 10)
        for wing in ("evaluation", "attacks", "training", "engine")
    },
}


def _rows() -> dict[str, dict[str, str]]:
    """The rows of the table, in the order of PARTS; what this command has not run as not run."""
    rows = {
        name: dict.fromkeys(COLUMNS, "")
        | {"part": name, "command": part.shown, "outcome": f"{NOT_RUN} (about {part.minutes} min)"}
        for name, part in PARTS.items()
    }
    if TABLE.exists():
        with TABLE.open(encoding="utf-8", newline="") as file:
            ran = [row for row in csv.DictReader(file) if row["minutes"]]
        shown = {name: row["command"] for name, row in rows.items()}
        rows |= {row["part"]: row for row in ran if row["command"] == shown.get(row["part"])}
    return rows


def run(part: Part) -> tuple[int, str]:
    """Run a part and repeat what it prints; its exit code and its last line."""
    last = ""
    environment = {**os.environ, **part.environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        part.argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def main(chosen: list[str]) -> int:
    if unknown := set(chosen) - set(PARTS):
        raise InputError(f"{sorted(unknown)}; expected some of {list(PARTS)}")
    failed = 0
    for name in chosen or PARTS:
        part, began = PARTS[name], time.monotonic()
        print(f"soak: {name}: {part.shown}", flush=True)
        code, last = run(part)
        failed += code != 0
        rows = _rows()
        rows[name] = {
            "part": name,
            "outcome": f"{'passed' if code == 0 else f'FAILED ({code})'}: {last}",
            "minutes": f"{(time.monotonic() - began) / 60:.1f}",
            "date": datetime.now(UTC).date().isoformat(),
            "command": part.shown,
        }
        write_rows(TABLE, COLUMNS, rows.values())
    for row in _rows().values():
        print(f"soak: {row['part']}: {row['outcome']}")
    return 1 if failed else 0


if __name__ == "__main__":
    command(main)
