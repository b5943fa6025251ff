"""What a check finds, and what all of them need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from ...outputs import Outputs
from ...randomness import numpy_generator

STOP, CAUTION, NOTE = "stop", "caution", "note"
ALPHA = 0.001
"""Level of each check: a sound audit should rarely be doubted."""
BLIND = 0.05  # AUC above 1/2 that members and non-members may have without the model
SAMPLE = 20_000  # records of each kind that the slow checks look at
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """What a check found: its name, how serious that is, and what to do."""

    name: str
    severity: str
    found: str
    advice: str = ""

    def as_dict(self) -> dict:
        return asdict(self)


Found = Iterator[tuple[str, str, str]]
"""Severity, what was found, and what to do."""


def kinds(outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the evaluated members and non-members of the first model."""
    used, members = outputs.evaluated[0], outputs.members[0]
    return np.flatnonzero(used & members), np.flatnonzero(used & ~members)


def sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most so many of the rows, drawn anew for another seed; in their order."""
    if rows.size <= most:
        return rows
    return np.sort(numpy_generator(seed, "audit sample").choice(rows, most, replace=False))
