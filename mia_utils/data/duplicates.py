"""Records that a pool holds twice: a copy of a member among the non-members blurs what both mean."""

from __future__ import annotations

import hashlib

import numpy as np

from .. import arguments
from ..arrays import as_array, as_numbers
from ..errors import InputError

_AXES = 16
_MOST = 1e100  # squares of differences stay finite
"""Dimensions in which candidates for near-duplicates are looked up."""
_MOST_PAIRS = 5_000_000
"""Candidates that are still compared pixel by pixel."""
_ROWS = 4_096
"""Images that are compared at a time."""


def first_copies(records: np.ndarray) -> np.ndarray:
    """For every record the number of the first one with the same content, int64 (N,).

    Parameters
    ----------
    records : array (N, ...)
        `Pool.records`. Two records are the same if all their bytes are.

    Raises
    ------
    InputError
        If they are no array.

    >>> first_copies(np.array([[1, 2], [3, 4], [1, 2]])).tolist()
    [0, 1, 0]
    """
    records = as_array(records, "records")
    if not records.ndim:
        raise InputError(
            "records is one number; expected an array, the records along its first axis"
        )
    seen: dict[bytes, int] = {}
    first = np.empty(len(records), dtype=np.int64)
    for number, record in enumerate(records):
        digest = hashlib.blake2b(np.ascontiguousarray(record).data, digest_size=16).digest()
        first[number] = seen.setdefault(digest, number)
    return first


def near_copies(images: np.ndarray, *, within: float = 8.0) -> np.ndarray:
    """All pairs of images whose pixels differ by at most `within` grey levels (root mean square).

    Averages over blocks of pixels, weighted so that no distance grows, find candidates in a k-d
    tree; pixels decide. No pair is missed, and exact copies are among them.

    Parameters
    ----------
    images : uint8 (N, H, W, C)
    within : float
        Of 255 grey levels.

    Returns
    -------
    int64 (P, 2)
        Record numbers, the smaller first, sorted.

    Raises
    ------
    InputError
        If they are no images, or there are too many pairs to list (blank images, for example).
    """
    images = as_numbers(images, "images")
    if images.ndim != 4 or not images.size:
        raise InputError(f"images have shape {images.shape}; expected (N, H, W, C), none of them 0")
    if not (np.abs(images) < _MOST).all():
        raise InputError(f"images hold values that are not finite, or not below {_MOST:g}")
    if images.dtype.kind == "b":
        images = images.astype(np.uint8)
    arguments.number("within", within, "grey levels, 0 or more", 0, np.inf, closed="low")
    from scipy.spatial import cKDTree

    tree = cKDTree(_projected(images))
    radius = within * 1.0001  # the projection is rounded
    most = (tree.count_neighbors(tree, radius) - len(images)) // 2
    if most > _MOST_PAIRS:
        raise InputError(
            f"{most:,} pairs of images may differ by at most {within:g} grey levels, too many to "
            "compare; pass a smaller within="
        )
    pairs = np.sort(tree.query_pairs(radius, output_type="ndarray"), axis=1)
    kept = [
        rows[_distance(images[rows[:, 0]], images[rows[:, 1]]) <= within]
        for rows in np.array_split(pairs, len(pairs) // _ROWS + 1)
    ]
    pairs = np.concatenate(kept).astype(np.int64)
    return pairs[np.lexsort(pairs.T[::-1])]


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root mean square over the pixels of each pair (n,)."""
    difference = one.astype(np.float32) - other
    return np.sqrt((difference**2).mean(axis=(1, 2, 3), dtype=np.float64))


def _projected(images: np.ndarray) -> np.ndarray:
    """float64 (N, at most 16): distances there are no larger than `_distance`."""
    n, height, width, channels = images.shape
    rows, columns = (np.linspace(0, side, min(side, 8) + 1).astype(int) for side in (height, width))
    pixels = np.outer(np.diff(rows), np.diff(columns))[..., None]
    blocks = np.empty((n, *pixels.shape[:2], channels), dtype=np.float64)
    for start in range(0, n, _ROWS):
        some = images[start : start + _ROWS].astype(np.float64)
        sums = np.add.reduceat(np.add.reduceat(some, rows[:-1], axis=1), columns[:-1], axis=2)
        blocks[start : start + _ROWS] = sums / np.sqrt(pixels * (height * width * channels))
    blocks = blocks.reshape(n, -1)
    blocks -= blocks.mean(axis=0)
    _, axes = np.linalg.eigh(blocks.T @ blocks)  # by growing variance
    return blocks @ axes[:, -_AXES:]
