"""Branch coverage of the package by all of its tests, wing by wing: `make cover`.

    python -m benchmarks.branches         every test, then the table; half an hour on two cores
    python -m benchmarks.branches table   the table of the runs of `coverage run` that are there

Trainings, kernels, clusters and commands are processes of their own, which count too, as far as they
are not killed ([tool.coverage] in pyproject.toml). `coverage report -m` then says what a file lacks.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePath

from mia_utils.errors import InputError

from . import RESULTS, command, write_rows

TABLE = RESULTS / "branch_coverage.csv"
PLACE = Path("_build/coverage")
COUNTS = ("statements", "statements_covered", "branches", "branches_covered")
SHARE = "percent_of_branches"
COLUMNS = ("wing", *COUNTS, SHARE, "versions", "date", "command")
WHOLE = "all"
GOAL = 95


def rows(report: dict) -> list[dict[str, str]]:
    """The rows of the table: one a wing, then all, from what `coverage json` has written."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path, file in report["files"].items():
        found = file["summary"]
        for wing in (wing_of(PurePath(path)), WHOLE):
            counted[wing] += Counter(
                statements=found["num_statements"],
                statements_covered=found["covered_lines"],
                branches=found["num_branches"],
                branches_covered=found["covered_branches"],
            )
    made = {
        "versions": f"coverage {version('coverage')}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python -m benchmarks.branches",
    }
    return [
        {
            "wing": wing,
            **{name: str(counts[name]) for name in COUNTS},
            SHARE: f"{100 * counts['branches_covered'] / counts['branches']:.1f}",
            **made,
        }
        for wing, counts in sorted(counted.items(), key=lambda item: (item[0] == WHOLE, item[0]))
    ]


def wing_of(path: PurePath) -> str:
    """
    >>> wing_of(PurePath("mia_utils/audit/checks/given.py")), wing_of(PurePath("mia_utils/files.py"))
    ('audit', 'mia_utils')
    """
    inside = path.parts[path.parts.index("mia_utils") :]
    return inside[min(1, len(inside) - 2)]


def coverage(*words: str) -> int:
    """Run `coverage WORDS`; its exit code."""
    return subprocess.run([sys.executable, "-m", "coverage", *words]).returncode


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["table"]):
        raise InputError(f"{' '.join(arguments)}; expected nothing, or: table")
    failed = 0
    if not arguments:
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir(parents=True)
        failed = coverage("run", "-m", "pytest", "-q", "-n", "2")
    report = PLACE / "report.json"
    if coverage("combine", "--keep", "--quiet") or coverage("json", "--quiet", f"-o{report}"):
        raise InputError(f"{PLACE} holds no runs; make them: python -m benchmarks.branches")
    found = rows(json.loads(report.read_text("utf-8")))
    write_rows(TABLE, COLUMNS, found)
    tests = f", and tests failed ({failed})" if failed else ""
    print(f"{found[-1][SHARE]} % of {found[-1]['branches']} branches were taken{tests}")
    return 1 if failed or float(found[-1][SHARE]) < GOAL else 0


if __name__ == "__main__":
    command(main)
