"""Documents cut into windows of tokens, and what the windows of a document say together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

AGGREGATES = ("max", "mean")
AT_ONCE = 2**22
"""Tokens that are held in double precision at once."""


class Windows(NamedTuple):
    """W windows of D documents, in the documents' order.

    Attributes
    ----------
    starts, stops : int64 (W,)
        Tokens `starts[w]:stops[w]`.
    document : int64 (W,)
        Position of the window's document, 0 .. D-1; each has at least one window.
    """

    starts: np.ndarray
    stops: np.ndarray
    document: np.ndarray


def cut(starts: np.ndarray, stops: np.ndarray, window: int | None) -> Windows:
    """Windows of `window` tokens, one after the other; the last one ends with the document.

    It then overlaps the one before, so that every window is as long as the others; a shorter
    document is one window. Without a `window` every document is one.

    >>> cut(np.array([0, 5]), np.array([5, 8]), 3)[:2]
    (array([0, 2, 5]), array([3, 5, 8]))
    """
    if window is None:
        return Windows(starts, stops, np.arange(starts.size))
    window = min(window, int((stops - starts).max(initial=1)))
    count = -(-(stops - starts) // window)
    document = np.repeat(np.arange(starts.size), count)
    number = np.arange(document.size) - np.repeat(np.cumsum(count) - count, count)
    last = np.minimum(starts[document] + (number + 1) * window, stops[document])
    return Windows(np.maximum(last - window, starts[document]), last, document)


def blocks(starts: np.ndarray) -> list[np.ndarray]:
    """Positions 0 .. n-1 of ascending starts (n,), in parts that span about `AT_ONCE` tokens."""
    ends = np.flatnonzero(np.diff((starts - starts[0]) // AT_ONCE)) + 1
    return np.split(np.arange(starts.size), ends)


def together(values: np.ndarray, document: np.ndarray, aggregate: str) -> np.ndarray:
    """The largest ("max") or the mean value of each document's windows, (..., W) to (..., D)."""
    first = np.flatnonzero(np.diff(document, prepend=-1))
    if aggregate == "max":
        return np.maximum.reduceat(values, first, axis=-1)
    return np.add.reduceat(values, first, axis=-1) / np.diff(first, append=document.size)


def means(values: np.ndarray, windows: Windows) -> np.ndarray:
    """Mean of the values (T,) of each window, float64 (W,)."""
    bounds = np.stack([windows.starts, windows.stops], axis=1).ravel()
    # Every second sum is of what lies between two windows; a stop may be the end of the values.
    sums = np.add.reduceat(np.append(values, 0.0), bounds)[::2]
    return sums / (windows.stops - windows.starts)


def means_of_row(row: np.ndarray, windows: Windows) -> np.ndarray:
    """As `means`, of a row that may be memory-mapped: a few million of its values at a time."""
    found = np.empty(windows.starts.size)
    for part in blocks(windows.starts):
        starts, stops = windows.starts[part], windows.stops[part]
        values = np.asarray(row[starts[0] : stops[-1]], dtype=np.float64)
        shifted = Windows(starts - starts[0], stops - starts[0], windows.document[part])
        found[part] = means(values, shifted)
    return found


def lowest_means(values: np.ndarray, windows: Windows, share: float) -> np.ndarray:
    """Mean of the lowest `share` of each window's values, at least one of them, float64 (W,)."""
    found = np.empty(windows.starts.size)
    for number, (start, stop) in enumerate(zip(windows.starts, windows.stops, strict=True)):
        count = max(1, int(share * (stop - start)))
        found[number] = np.partition(values[start:stop], count - 1)[:count].mean()
    return found
