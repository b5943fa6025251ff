"""Cases one after another in a process that may be killed, and the table of what became of them."""

from __future__ import annotations

import collections
import multiprocessing
import platform
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from . import figures, formats, functions, material, options, trainings  # noqa: F401, their surfaces are registered
from .case import ANSWERED, REFUSED, SECONDS, SURFACES, judge

PACKAGES = ("numpy", "pandas", "pyarrow", "torch", "transformers", "hypothesis")
CASES = 10_985
"""Of a whole run: a thousand on what trains and draws, ten thousand on all else."""
KNOWN = "known"
"""The outcome of a fault that `functions.OPEN` names; published among the others."""
_KILLED = 3 * SECONDS  # a call that not even an alarm ends


def rng_of(seed: int, surface: str, number: int) -> np.random.Generator:
    """What a case is made from."""
    return np.random.default_rng([seed, zlib.crc32(surface.encode()), number])


def shares(cases: int, wanted: Sequence[str] = ("",)) -> dict[str, int]:
    """How many of so many cases each surface gets, by weight; one at least."""
    total = sum(weight for _, weight in SURFACES.values())
    return {
        name: max(1, -(-cases * weight // total))
        for name, (_, weight) in SURFACES.items()
        if any(word in name for word in wanted)
    }


def run_case(seed: int, surface: str, number: int, place: Path) -> tuple[str, str, str]:
    """Outcome, what was said, and how the input was spoiled, of one case."""
    folder = place / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    case = SURFACES[surface][0](rng_of(seed, surface, number), folder)
    outcome, said = judge(case, folder)
    return outcome, said, case.what


def _work(pipe, seed: int, place: Path) -> None:
    """Answers (surface, number) with what became of the case, until None comes."""
    sys.stdout = sys.stderr = open("/dev/null", "w", encoding="utf-8")
    formats.prepare(place / "shared")
    while (asked := pipe.recv()) is not None:
        try:
            pipe.send(run_case(seed, *asked, place))
        except Exception:
            pipe.send(("broken", traceback.format_exc()[-600:], "the harness itself"))


def is_known(outcome: str, what: str) -> bool:
    """Is that a fault that the harness names among those that are open?"""
    return outcome == "raised" and what.split("(")[0] in functions.OPEN


class _Worker:
    """A process that runs one case after another, and is started anew where one kills or hangs it."""

    def __init__(self, seed: int, place: Path) -> None:
        self.seed, self.place = seed, place
        (place / "shared").mkdir(parents=True, exist_ok=True)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, self.seed, self.place))
        self.process.daemon = True
        self.process.start()
        other.close()

    def run(self, surface: str, number: int) -> tuple[str, str, str]:
        try:
            self.pipe.send((surface, number))
            if self.pipe.poll(_KILLED):
                return self.pipe.recv()
            outcome = ("slow", f"killed after {_KILLED} s", "")
        except (EOFError, OSError):
            outcome = ("raised", "the process died", "")
        self.process.kill()
        self._start()
        return outcome

    def stop(self) -> None:
        self.pipe.send(None)
        self.process.join(10)
        self.process.kill()


def run(
    cases: int, seed: int, wanted: Sequence[str] = ("",), tell=print
) -> dict[str, collections.Counter]:
    """The outcomes of each surface; faults are told as they are found."""
    found: dict[str, collections.Counter] = {}
    with tempfile.TemporaryDirectory(prefix="mia-fuzz-") as folder:
        worker = _Worker(seed, Path(folder).resolve())
        try:
            for surface, count in shares(cases, wanted).items():
                began, counts = time.monotonic(), collections.Counter()
                for number in range(count):
                    outcome, said, what = worker.run(surface, number)
                    if is_known(outcome, what):
                        outcome = KNOWN
                    counts[outcome] += 1
                    if outcome not in (ANSWERED, REFUSED):
                        tell(f"  {outcome}: {surface} {number}: {what[:160]} -> {said[:300]}")
                found[surface] = counts
                seconds = time.monotonic() - began
                tell(f"{surface}: {dict(counts)} in {seconds:.0f} s")
        finally:
            worker.stop()
    return found


def table(
    found: dict[str, collections.Counter], seed: int, earlier: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a surface, as it is published; surfaces that were not tried keep their earlier row."""
    packages = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]
    kept = [] if earlier is None else earlier.to_dict("records")
    rows = {row["surface"]: row for row in kept if row["surface"] in SURFACES}
    for surface, counts in found.items():
        rows[surface] = {
            "surface": surface,
            "cases": counts.total(),
            ANSWERED: counts[ANSWERED],
            REFUSED: counts[REFUSED],
            "other": counts.total() - counts[ANSWERED] - counts[REFUSED],
            "seed": seed,
            "versions": "; ".join(packages),
            "date": datetime.now(UTC).date().isoformat(),
        }
    frame = pd.DataFrame([rows[surface] for surface in SURFACES if surface in rows])
    counted = ["cases", ANSWERED, REFUSED, "other"]
    whole = rows[next(iter(found))] | {"surface": "all"} | frame[counted].sum().to_dict()
    return pd.concat([frame, pd.DataFrame([whole])], ignore_index=True)
