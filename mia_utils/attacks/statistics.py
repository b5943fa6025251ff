"""What is kept of the shadow models, record by record: one protocol, and its four kinds.

An attack that compares a target with shadow models reads them once, one model at a time, and keeps
a few numbers for every record, apart for the models that held it and those that did not.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

OUT, IN = 0, 1
"""The two groups of shadow models, seen from a record: those without it, and those with it."""


class Statistics(Protocol):
    """What `PerRecordAttack` asks of the numbers that it keeps.

    Attributes
    ----------
    count : int64 (2, N)
        Out models and in models seen of each record.
    """

    count: np.ndarray

    def add(self, group: int, rows: np.ndarray, values: np.ndarray) -> None:
        """One model's values, (rows,) or (rows, width), for the records `rows` of one group."""


class Means:
    """Running mean of a per-record signal of `width` values.

    Attributes
    ----------
    mean : float64 (2, N, width)
    """

    def __init__(self, records: int, width: int = 1) -> None:
        self.count = np.zeros((2, records), np.int64)
        self.mean = np.zeros((2, records, width))

    def add(self, group: int, rows: np.ndarray, values: np.ndarray) -> None:
        """One model's values, (rows, width)."""
        self.count[group, rows] += 1
        step = (values - self.mean[group, rows]) / self.count[group, rows, None]
        self.mean[group, rows] += step


class Gaussians(Means):
    """Means and the scatter around them.

    Attributes
    ----------
    scatter : float64 (2, N, width) of each record, else (2, width, width) pooled over records
        Summed squares, or products, of what is left after subtracting each record's mean.
    """

    def __init__(self, records: int, width: int, per_record: bool) -> None:
        super().__init__(records, width)
        self.per_record = per_record
        self.scatter = np.zeros((2, records if per_record else width, width))

    def add(self, group: int, rows: np.ndarray, values: np.ndarray) -> None:
        """One model's values, (rows, width)."""
        before = values - self.mean[group, rows]
        super().add(group, rows, values)
        after = values - self.mean[group, rows]
        if self.per_record:
            self.scatter[group, rows] += before * after
        else:
            self.scatter[group] += before.T @ after

    def freedom(self, group: int) -> int:
        """Shadow answers minus the means that were fitted to them."""
        return int(np.maximum(self.count[group] - 1, 0).sum())


class LogMeans:
    """Mean probability, kept as logarithms of sums: nothing underflows.

    Attributes
    ----------
    log_sum : float64 (2, N), -inf where count is 0
    """

    def __init__(self, records: int) -> None:
        self.count = np.zeros((2, records), np.int64)
        self.log_sum = np.full((2, records), -np.inf)

    def add(self, group: int, rows: np.ndarray, log_p: np.ndarray) -> None:
        """One model's log-probabilities (rows,)."""
        self.count[group, rows] += 1
        self.log_sum[group, rows] = np.logaddexp(self.log_sum[group, rows], log_p)

    def log_mean(self, rows: np.ndarray) -> np.ndarray:
        """Logarithms of the mean probabilities, (2, rows); -inf where there is no model."""
        return self.log_sum[:, rows] - np.log(np.maximum(self.count[:, rows], 1))


class Answers:
    """Every model's answer itself.

    Attributes
    ----------
    values : list of float64 (N,), one for each call of `add`; NaN where it was not given
    """

    def __init__(self, records: int) -> None:
        self.count = np.zeros((2, records), np.int64)
        self.values: list[np.ndarray] = []

    def add(self, group: int, rows: np.ndarray, values: np.ndarray) -> None:
        """One model's values, (rows,)."""
        self.count[group, rows] += 1
        self.values.append(np.full(self.count.shape[1], np.nan))
        self.values[-1][rows] = values
