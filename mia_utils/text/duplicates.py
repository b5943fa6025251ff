"""Documents that are alike: one of them is kept, so that no copy of a member is a non-member.

Two documents are alike if the sets of all their strings of eight bytes are (Jaccard's index, as
Lee et al., 2022, and Broder, 1997). MinHash in bands finds candidates; the sets themselves decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .. import arguments

_SHINGLE = 8  # bytes: one uint64
_BANDS = 24
"""Of two hashes each. A pair of similarity s is missed with probability (1 - s^2)^24: one in a
thousand at 0.5."""


def distinct(texts: Iterable[str], *, similarity: float = 0.5, most: int | None = None):
    """Numbers of the documents that are like no earlier one that was kept, int64 (kept,).

    Parameters
    ----------
    texts : strings
        Read no further than needed.
    similarity : float in (0, 1]
        Jaccard's index of the strings of eight bytes (white space folded) from which on two
        documents are alike. 1 leaves out exact copies alone.
    most : int or None
        Documents to keep.

    Raises
    ------
    InputError
        If `similarity` is out of range.

    >>> distinct(["to be, or not to be", "to be, or not to  be!", "that is the question"]).tolist()
    [0, 2]
    """
    arguments.number("similarity", similarity, "a share in (0, 1]", 0, 1, closed="high")
    kept: list[int] = []
    sets: list[np.ndarray] = []
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for number, text in enumerate(texts):
        if most is not None and len(kept) >= most:
            break
        shingles = _shingles(text)
        keys = list(_keys(shingles))
        candidates = {place for key in keys for place in buckets.get(key, ())}
        if any(_jaccard(shingles, sets[place]) >= similarity for place in candidates):
            continue
        for key in keys:
            buckets.setdefault(key, []).append(len(kept))
        kept.append(number)
        sets.append(shingles)
    return np.array(kept, np.int64)


def _shingles(text: str) -> np.ndarray:
    """Sorted uint64: every string of eight bytes that the text holds."""
    folded = " ".join(text.split()).encode("utf-8", "surrogatepass").ljust(_SHINGLE, b"\0")
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(folded, np.uint8), _SHINGLE)
    return np.unique(np.ascontiguousarray(windows).view(np.uint64).ravel())


_FACTORS = np.random.default_rng(0).integers(0, 2**64, 2 * _BANDS, dtype=np.uint64) | np.uint64(1)


def _keys(shingles: np.ndarray) -> Iterator[tuple[int, bytes]]:
    mixed = shingles ^ (shingles >> np.uint64(31))
    hashed = mixed[:, None] * _FACTORS  # modulo 2^64
    hashed ^= hashed >> np.uint64(29)
    least = (hashed * _FACTORS[::-1]).min(axis=0)
    for band in range(_BANDS):
        yield band, least[2 * band : 2 * band + 2].tobytes()


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    both = np.intersect1d(one, other, assume_unique=True).size
    return both / (one.size + other.size - both)
