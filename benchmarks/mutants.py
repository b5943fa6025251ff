"""Would the tests notice? A sample of the mutants (mutmut) of one wing of the package.

    python -m benchmarks.mutants evaluation --count 80 --seed 0

`WINGS` says which tests are about which wing, and the sample follows from the seed. A mutant meets the
tests that reach its function, those of a file named alike first. A run that was interrupted goes on
when it is repeated; `mutmut show NAME` shows a mutant, and `--out` writes the sample as a table.
A time-out is counted apart: a loop without end, or a machine with too much to do.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import sys
from collections import Counter, defaultdict
from glob import glob
from importlib.metadata import version
from pathlib import Path

from . import write_rows

WINGS = {
    "evaluation": ["evaluation*", "theorems", "privacy_audit"],
    "attacks": ["attacks_*"],
    "training": [
        "training*",
        "dp",
        "clipping",
        "accounting",
        "regularization",
        "stepping",
        "summary",
        "randomness",
        "epoch_curve",
    ],
    "engine": [
        "engine*",
        "store",
        "store_command",
        "lease",
        "plan",
        "query",
        "transfer",
        "parallel",
        "memguard",
        "attacks_label_only",
    ],
}
"""{wing: its tests}, as patterns of tests/test_NAME.py."""
CHAPTERS = "tests/test_trainings.py"  # trains whole chapters
NOT_RUN = {None, 2, 33, 255}  # exit codes: not yet, interrupted, no test, called wrongly


class _Sample:
    """What mutmut is to run, in the place of its list of every mutant."""

    def __init__(self, count: int, seed: int) -> None:
        from mutmut import __main__ as program

        self._all = program.collect_source_file_mutation_data
        self.count, self.seed = count, seed

    def __call__(self, *, mutant_names):
        mutants, by_path = self._all(mutant_names=())
        mutants.sort(key=lambda mutant: mutant[1])
        chosen = random.Random(self.seed).sample(mutants, min(self.count, len(mutants)))
        for _, name, _ in chosen:
            _order_tests(name)
        return [(m, name, None if code in NOT_RUN else code) for m, name, code in chosen], by_path


def _order_tests(mutant: str) -> None:
    """Tells mutmut which tests to run on a mutant, in which order: the likely ones first.

    Where one test of a file alone reaches the function, a fixture of the whole file may have called
    it, so every test of that file runs; where none does, a process or an import may have, and all run.
    """
    from mutmut.state import state
    from mutmut.utils.format_utils import mangled_name_from_mutant_name

    seconds = state().duration_by_test
    function = mangled_name_from_mutant_name(mutant)
    module = function.rpartition(".")[0].rpartition(".")[2]
    in_file = defaultdict(set)
    for test in state().tests_by_mangled_function_name.get(function, ()):
        in_file[test.partition("::")[0]].add(test)
    alone = {file for file, tests in in_file.items() if len(tests) == 1}
    tests = set().union(*in_file.values())
    tests |= {test for test in seconds if not in_file or test.partition("::")[0] in alone}
    for test in [test for test in tests if "\\" in test]:
        # pytest doubles backslashes each time that a process calls it: all cases of that test run.
        tests.remove(test)
        tests.add(whole := test.partition("[")[0])
        seconds[whole] = sum(seconds[case] for case in seconds if case.startswith(f"{whole}["))
    state().tests_by_mangled_function_name[function] = sorted(
        tests, key=lambda test: (module not in test.partition("::")[0], seconds[test], test)
    )


def run(wing: str, count: int, seed: int, children: int) -> dict[str, str]:
    """{mutant: outcome} of a sample; everything is made below `mutants/`."""
    from mutmut import __main__ as program
    from mutmut.configuration import config
    from mutmut.state import state
    from mutmut.stats import status_by_exit_code

    tests = {path for pattern in WINGS[wing] for path in glob(f"tests/test_{pattern}.py")}
    config().only_mutate = [f"mia_utils/{wing}/*.py"]
    config().pytest_add_cli_args_test_selection = sorted(tests - {CHAPTERS})
    if wing == "engine":  # a cluster's workers, in folders of their own, find no settings of mutmut
        config().pytest_add_cli_args += ["-k", "not dask"]
    made_for = Path("mutants/wing")
    if not made_for.exists() or made_for.read_text("utf-8") != wing:
        shutil.rmtree("mutants", ignore_errors=True)
        Path("mutants").mkdir()
        made_for.write_text(wing, "utf-8")
    for module in [name for name in sys.modules if name.partition(".")[0] == "mia_utils"]:
        del sys.modules[module]  # tests run in forks of this process, and are to import the mutants
    program.collect_source_file_mutation_data = _Sample(count, seed)
    # Every test has just passed while it was found out what it reaches; a few show that all is well.
    program.tests_for_mutant_names = lambda names: sorted(state().duration_by_test)[:20]
    program._run([], children)
    chosen, _ = program.collect_source_file_mutation_data(mutant_names=())
    said = {255: "not run"}  # pytest was called wrongly
    outcomes = {name: said.get(code, status_by_exit_code[code]) for _, name, code in chosen}
    return dict(sorted(outcomes.items()))


def _change(mutant: str) -> str:
    """What the mutant changes, in one line: `before -> after`."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    lines = get_diff_for_mutant(mutant).splitlines()
    sides = [
        " ".join(line[1:].strip() for line in lines if line[0] == sign and line[:3] != sign * 3)
        for sign in "-+"
    ]
    return " -> ".join(sides)


def write(path: Path, wing: str, seed: int, outcomes: dict[str, str]) -> None:
    """Writes the sample into a table of all wings; a reason that stands there is kept."""
    rows = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    reasons = {(row["mutant"], row["change"]): row["reason"] for row in rows}
    rows = [row for row in rows if row["wing"] != wing]
    versions = f"mutmut {version('mutmut')}, Python {sys.version.split()[0]}"
    for name, outcome in outcomes.items():
        change = "" if outcome == "killed" else _change(name)
        row = {"wing": wing, "seed": seed, "mutant": name, "outcome": outcome, "change": change}
        rows.append(row | {"reason": reasons.get((name, change), ""), "versions": versions})
    write_rows(path, list(rows[0]), sorted(rows, key=lambda row: (row["wing"], row["mutant"])))
    summarise(path)


def summarise(path: Path) -> None:
    """Writes `summary` of a table beside it; once more where reasons were added to the table."""
    with path.open(encoding="utf-8", newline="") as file:
        counted = summary(list(csv.DictReader(file)))
    write_rows(path.with_name(f"{path.stem}_summary.csv"), list(counted[0]), counted)


def summary(rows: list[dict]) -> list[dict]:
    """For each wing: how many of the sample were run, what became of them, and what has since."""
    by_wing = defaultdict(list)
    for row in rows:
        by_wing[row["wing"], str(row["seed"])].append(row)
    found = []
    for (wing, seed), sample in sorted(by_wing.items()):
        count = Counter(row["outcome"] for row in sample)
        left = [row["reason"] for row in sample if row["outcome"] not in ("killed", "not run")]
        run = count["killed"] + len(left)
        found.append(
            {
                "wing": wing,
                "seed": seed,
                "changes": run,
                "noticed": count["killed"],
                "noticed of 100": round(100 * count["killed"] / max(run, 1)),
                "no end": run - count["killed"] - count["survived"],
                "no effect": sum(reason.startswith("no effect") for reason in left),
                "noticed since": sum(reason.startswith("noticed since") for reason in left),
                "not run": count["not run"],
            }
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wing", choices=[*WINGS, "summary"], help="`summary`: count `--out` anew")
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--out", type=Path, help="a table of all wings, such as book/results/mutants.csv"
    )
    arguments = parser.parse_args()
    if arguments.wing == "summary":
        summarise(arguments.out)
        return 0
    outcomes = run(arguments.wing, arguments.count, arguments.seed, arguments.children)
    for name, outcome in outcomes.items():
        if outcome != "killed":
            print(f"{outcome}: {name}: {_change(name)}")
    if arguments.out:
        write(arguments.out, arguments.wing, arguments.seed, outcomes)
    print(f"mutants of {arguments.wing}, seed {arguments.seed}: {dict(Counter(outcomes.values()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
