"""Would the tests notice? A sample of mutants (mutmut) of the modules named in pyproject.toml.

    python -m benchmarks.mutants --count 200 --seed 0 mia_utils/evaluation mia_utils/attacks

Without folders all of them. The sample follows from the seed, so that a run ends and can be repeated;
the survivors are listed, and `mutmut show NAME` shows one.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

KILLED = {1, 3, 24, 36, 152, -24, 255}
"""Exit codes of a mutant's tests that mean: it was noticed (a failure, or a time-out)."""
CHUNK = 500  # names on one command line


def _mutmut(*names: str) -> None:
    command = [sys.executable, "-m", "mutmut", "run", *names, "--max-children", "2"]
    subprocess.run(command, check=False)  # it ends with an error where a mutant survives


def _codes() -> dict[str, int | None]:
    """{mutant: exit code of its tests, None if they did not run} of everything that was made."""
    found = {}
    for path in sorted(Path("mutants").rglob("*.meta")):
        found |= json.loads(path.read_text("utf-8"))["exit_code_by_key"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", help="such as mia_utils/evaluation, default all")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    _mutmut("none-of-this-name")  # makes the mutants and finds out which test reaches which
    if not Path("mutants/mutmut-stats.json").exists():
        sys.exit("mutants: the tests fail without any mutant; see above")
    starts = tuple(f.strip("/").removesuffix(".py").replace("/", ".") for f in arguments.folders)
    names = [name for name in _codes() if not starts or name.startswith(starts)]
    count = min(arguments.count, len(names))
    chosen = sorted(random.Random(arguments.seed).sample(names, count))
    for start in range(0, count, CHUNK):
        _mutmut(*chosen[start : start + CHUNK])
    codes = _codes()
    survivors = [name for name in chosen if codes[name] not in KILLED]
    for name in survivors:
        print(f"survived ({codes[name]}): {name}")
    killed = count - len(survivors)
    print(
        f"mutants: {killed} of {count} killed ({killed / max(1, count):.0%}), seed {arguments.seed}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
