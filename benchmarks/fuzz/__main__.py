"""`python -m benchmarks.fuzz [--cases N] [--seed S] [--surface WORD ...]`: thousands of bad inputs.

Every case follows from the seed, its surface and its number alone. It runs in a process of its
own kind with a time limit, in an empty folder outside which nothing can be written. A case is "answered"
(and the answer is held against another reader's where there is one) or "refused" (in one line that
names the input); anything else is a fault, printed with what repeats it. The counts go to
book/results/fuzz.csv; surfaces that are not tried keep their rows.
"""

from __future__ import annotations

import argparse
import sys

import pandas as pd

from .. import RESULTS
from .case import ANSWERED, REFUSED, SURFACES
from .run import CASES, KNOWN, run, table


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES, help=f"default {CASES:,}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--surface", nargs="+", default=[], metavar="WORD", help="only surfaces with one of them"
    )
    arguments = parser.parse_args(argv)
    wanted = arguments.surface or [""]
    for word in wanted:
        if not any(word in name for name in SURFACES):
            parser.error(f"no surface has {word!r} in its name; there are {list(SURFACES)}")
    found = run(arguments.cases, arguments.seed, wanted, lambda t: print(t, flush=True))
    path = RESULTS / "fuzz.csv"
    earlier = pd.read_csv(path) if arguments.surface and path.exists() else None
    frame = table(found, arguments.seed, earlier)
    frame.to_csv(path, index=False, lineterminator="\n")
    last = frame.iloc[-1]
    print(
        f"fuzz: {last['cases']:,} cases over {len(found)} surfaces, {last[ANSWERED]:,} answered, "
        f"{last[REFUSED]:,} refused by name, {last['other']:,} other"
    )
    return 1 if any(set(counts) - {ANSWERED, REFUSED, KNOWN} for counts in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
