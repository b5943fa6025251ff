"""Interleaved rounds on one core, and ratios with their spread."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """One line of the result: a ratio, its spread over rounds, and what was hoped for.

    Parameters
    ----------
    value, low, high : float
        Median, smallest and largest over rounds.
    goal : str
        "at least 3", "at most 0.03", or "" where there is none.
    """

    benchmark: str
    what: str
    value: float
    low: float
    high: float
    goal: str = ""

    @property
    def met(self) -> str:
        """ "yes", "no", or "" without a goal."""
        if not self.goal:
            return ""
        _, side, limit = self.goal.split()
        reached = self.value >= float(limit) if side == "least" else self.value <= float(limit)
        return "yes" if reached else "no"


@contextmanager
def one_core(core: int | None = None):
    """Everything in here, child processes too, runs on one and the same core, with one thread."""
    import torch

    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {min(before) if core is None else core})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def in_a_process(work: Callable, *arguments):
    """The result of a function run in a fresh process, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_memory() -> int:
    """Bytes of this process that were resident at most.

    Not getrusage's figure: that of a process just started is its parent's.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rounds(contestants: Mapping[str, Callable[[], object]], count: int) -> dict[str, np.ndarray]:
    """Seconds of each contestant in each round, float64 (count,).

    All run once to warm up, then in turn, the order reversed every other round: a machine that
    slows down slows all of them.
    """
    for name, work in contestants.items():
        print(f"    warming up: {name}", flush=True)
        work()
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(count):
        names = list(contestants)
        for name in names if number % 2 == 0 else names[::-1]:
            found[name].append(seconds(contestants[name]))
        print(f"    round {number + 1} of {count}", flush=True)
    return {name: np.array(values) for name, values in found.items()}


def ratio(benchmark: str, what: str, values: np.ndarray, goal: str = "") -> Ratio:
    """Median and range of values that are ratios already, one a round."""
    values = np.asarray(values, dtype=np.float64)
    return Ratio(
        benchmark, what, float(np.median(values)), float(values.min()), float(values.max()), goal
    )


def machine() -> dict[str, str]:
    """What the ratios were measured on."""
    from importlib.metadata import version

    from mia_utils.training.device import describe

    packages = ("torch", "numpy", "adversarial-robustness-toolbox", "opacus")
    return {
        "processor": describe("cpu"),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
