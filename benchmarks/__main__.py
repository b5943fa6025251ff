"""Run all benchmarks (or those named), print a table, write book/results/bench*.csv and a figure."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from mia_utils.errors import InputError

from . import RESULTS, attacks, command, gpu, memory, private, training
from .timing import Ratio, machine

GROUPS = {
    "training": [training.against_others, training.other_architectures],
    "processor": [
        training.share_of_the_processor,
        training.share_of_loading,
        training.two_processes,
        memory.worker,
    ],
    "private": [private.step],
    "gpu": [gpu.speed],
    "attacks": [attacks.likelihood, attacks.learned],
}


def write(group: str, rows: list[Ratio], about: dict[str, str]) -> None:
    """The ratios of a group, and what they were measured on."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / f"bench_{group}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["benchmark", "ratio of", "median", "lowest", "highest", "goal", "met"])
        for r in rows:
            numbers = (f"{x:.3g}" for x in (r.value, r.low, r.high))
            writer.writerow([r.benchmark, r.what, *numbers, r.goal, r.met])
    with open(RESULTS / f"bench_{group}_machine.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(about.items())


def main(chosen: list[str]) -> int:
    unknown = set(chosen) - set(GROUPS)
    if unknown:
        raise InputError(f"benchmarks {sorted(unknown)}; expected some of {list(GROUPS)}")
    for group in chosen or GROUPS:
        rows = []
        for work in GROUPS[group]:
            print(f"{group}: {work.__name__}", flush=True)
            began = time.monotonic()
            rows += work()
            print(f"{group}: {work.__name__} took {time.monotonic() - began:.0f} s", flush=True)
        if not rows:
            continue
        write(group, rows, gpu.machine() if group == "gpu" else machine())
        for r in rows:
            verdict = {"yes": "met", "no": "NOT met", "": ""}[r.met]
            print(
                f"{r.benchmark:45s} {r.what:55s} {r.value:7.3g} "
                f"({r.low:.3g} to {r.high:.3g})  {r.goal:14s} {verdict}"
            )
    from .figure import draw

    if (RESULTS / "bench_training.csv").exists():
        draw(RESULTS, Path("book/_static/bench.svg"))
    return 0


if __name__ == "__main__":
    command(main)
