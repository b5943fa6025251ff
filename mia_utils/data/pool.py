"""The pool: every record of a data set, members and non-members alike, in one array."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import arguments
from ..arrays import as_array, as_bool, as_integers
from ..errors import InputError, printable

_BLOCK = 1 << 24
"""Bytes that a pass over memory-mapped records reads at once."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Records, labels and what they are called; `Pool.from_arrays` checks and converts.

    Made of other arrays than those below, it is refused: nothing is converted here.

    Parameters
    ----------
    name : str
    records : uint8 (N, H, W, C) images, C = 1 or 3, or float32 (N, D) features
        May be memory-mapped.
    labels : int64 (N,)
    classes : tuple of str
        The name of each label; a character that would break a line is escaped.
    train : bool (N,)
        The public training split (an attack's split is made by `splits`).
    path : str or None
        What `open_pool` reopens in a worker; None for arrays in memory.

    Raises
    ------
    InputError
        If an array has another type or shape, or a label no class. Features in memory must be
        finite; those of a file were looked at when it was written.
    """

    name: str
    records: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    train: np.ndarray
    path: str | None = None

    def __post_init__(self) -> None:
        arguments.text("name", self.name)
        images = getattr(self.records, "ndim", 0) == 4
        wanted = (
            ("records", self.records, np.uint8 if images else np.float32, 4 if images else 2),
            ("labels", self.labels, np.int64, 1),
            ("train", self.train, np.bool_, 1),
        )
        for name, array, dtype, axes in wanted:
            if not isinstance(array, np.ndarray):
                raise InputError(f"{name} are a {type(array).__name__}; use Pool.from_arrays")
            if array.dtype != dtype or array.ndim != axes:
                raise InputError(f"{name} are {array.dtype} {array.shape}; use Pool.from_arrays")
        count = len(self.records)
        for name, array, _, _ in wanted:
            if len(array) != count:
                raise InputError(
                    f"{name} has shape {array.shape}; expected ({count},), one for each record"
                )
        names = isinstance(self.classes, tuple) and all(isinstance(n, str) for n in self.classes)
        if not names:
            raise InputError(f"classes={self.classes!r:.60}; expected a tuple of names")
        if count and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; expected 0 to "
                f"{len(self.classes) - 1} for {len(self.classes)} classes"
            )
        if self.records.ndim == 2 and self.path is None:
            _check_finite(self.records)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        records,
        labels,
        classes: Sequence[str] | None = None,
        train=None,
    ) -> Pool:
        """A pool of arrays in memory; arrays that already fit are not copied.

        Parameters
        ----------
        records : array (N, H, W), (N, H, W, 1) or (N, H, W, 3) of images, or (N, D) of features
            Images are integers in 0..255 or floats in [0, 1] (rounded to 256 levels).
        labels : integers (N,) in 0..len(classes) - 1
        classes : names, default "0", "1", ...
        train : bool (N,), default all True

        Tensors and frames are read as arrays; whole numbers as floats are integers, 0 and 1 bools.

        Raises
        ------
        InputError
            If shapes, types or values do not fit.

        >>> Pool.from_arrays("two", np.zeros((2, 4, 4)), [0, 1]).shape
        (4, 4, 1)
        """
        if not isinstance(records, np.memmap):
            records = as_array(records, "records")
        records = _features(records) if records.ndim == 2 else _images(records)
        labels, classes = _labels(as_array(labels, "labels"), len(records), classes)
        train = np.ones(len(records), bool) if train is None else as_bool(train, "train")
        if train.shape != (len(records),):
            raise InputError(
                f"train has shape {train.shape}; expected ({len(records)},), one for each record"
            )
        return cls(name, records, labels, classes, train)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Pool({self.name!r}, {len(self)} records of shape {self.shape}, {self.path})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one record: (H, W, C), or (D,) of a feature row."""
        return self.records.shape[1:]

    @property
    def is_image(self) -> bool:
        return self.records.ndim == 4

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of records, labels and classes; read in blocks, once for each pool."""
        kind = [self.records.dtype.str, self.records.shape, list(self.classes)]
        digest = hashlib.sha256(json.dumps(kind).encode())
        for array in (self.labels, self.records):
            for block in _blocks(array):
                digest.update(np.ascontiguousarray(block).data.cast("B"))
        return digest.hexdigest()

    def class_counts(self) -> np.ndarray:
        """Records of every class in the public training split and outside of it, int64 (C, 2)."""
        counts = np.zeros((len(self.classes), 2), dtype=np.int64)
        np.add.at(counts, (self.labels, np.where(self.train, 0, 1)), 1)
        return counts

    def subset(self, index, name: str | None = None) -> Pool:
        """The records of `index` (integers, or bool (N,)), in that order, in memory.

        Raises
        ------
        InputError
            If the index is empty or points outside the pool.
        """
        index = np.asarray(index)
        if index.dtype == bool and index.shape == (len(self),):
            index = np.flatnonzero(index)
        if index.ndim != 1 or index.dtype.kind not in "iu" or not index.size:
            raise InputError(
                f"index has type {index.dtype} and shape {index.shape}; "
                f"expected at least one record number, or bool ({len(self)},)"
            )
        if index.min() < 0 or index.max() >= len(self):
            raise InputError(
                f"index runs from {index.min()} to {index.max()}; "
                f"{self.name} has records 0 to {len(self) - 1}"
            )
        return Pool(
            name or self.name,
            np.asarray(self.records[index]),
            self.labels[index],
            self.classes,
            self.train[index],
        )

    def sample(self, count: int, *, seed: int) -> Pool:
        """At most `count` records at random without repetition, in the pool's order, in memory.

        If the pool has fewer, it is returned whole, with a warning that says so.

        Raises
        ------
        InputError
            If `count` is no integer of at least 1, or the seed is none.
        """
        arguments.count("count", count)
        seed = arguments.seed(seed)
        if count > len(self):
            warnings.warn(
                f"{self.name} has {len(self):,} records, fewer than the {count:,} asked for: all "
                "are used",
                stacklevel=2,
            )
            return self
        return self.subset(np.sort(np.random.default_rng(seed).permutation(len(self))[:count]))


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, _BLOCK // max(1, array[:1].nbytes))
    return (array[start : start + rows] for start in range(0, len(array), rows))


def _features(rows: np.ndarray) -> np.ndarray:
    if rows.dtype.kind not in "biuf" or not rows.size:
        raise InputError(
            f"features have type {rows.dtype} and shape {rows.shape}; expected numbers"
        )
    with np.errstate(over="ignore"):  # an infinity: refused below
        return rows.astype(np.float32, copy=False)


def _check_finite(rows: np.ndarray) -> None:
    start = 0
    for block in _blocks(rows):
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            raise InputError(f"features of record {start + finite.argmin()} are not finite")
        start += len(block)


def _images(images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        hint = ""
        if images.ndim == 4 and images.shape[3] == 4:
            hint = ": leave transparency out, use [..., :3]"
        elif images.ndim == 4 and images.shape[1] in (1, 3):
            hint = ": channels come last, use .transpose(0, 2, 3, 1)"
        raise InputError(
            f"records have shape {images.shape}; expected images (N, H, W), (N, H, W, 1) or "
            f"(N, H, W, 3), or features (N, D){hint}"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "iu":
        if images.min() < 0 or images.max() > 255:
            deep = images.dtype == np.uint16
            raise InputError(
                f"integer images hold {images.min()} to {images.max()}; expected 0 to 255"
                + (": of 16 bits keep the upper 8, use images >> 8" if deep else "")
            )
        return images.astype(np.uint8)
    if images.dtype.kind != "f":
        raise InputError(f"images have type {images.dtype}; expected uint8, or floats in [0, 1]")
    levels = np.empty(images.shape, dtype=np.uint8)
    start = 0
    for block in _blocks(images):
        inside = (block >= 0) & (block <= 1)  # False for nan too
        if not inside.all():
            where = np.unravel_index(inside.argmin(), block.shape)
            raise InputError(
                f"float images must be finite and in [0, 1]; record {start + where[0]} holds "
                f"{float(block[where]):g} (values of 0 to 255: divide by 255, or pass uint8)"
            )
        levels[start : start + len(block)] = np.rint(block.astype(np.float64) * 255)
        start += len(block)
    return levels


def _labels(
    labels: np.ndarray, n: int, classes: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels.dtype.kind == "U" or labels.ndim != 1:
        raise InputError(
            f"labels have type {labels.dtype} and shape {labels.shape}; expected integers ({n},)"
            f"{_label_hint(labels)}"
        )
    labels = as_integers(labels, "labels")
    if len(labels) != n:
        raise InputError(f"{n} records but {len(labels)} labels; expected one for each record")
    low, high = int(labels.min()), int(labels.max())
    if classes is None and high >= n:
        raise InputError(
            f"label {high} with {n} records and no class names; labels start at 0: "
            "renumber them, or pass classes"
        )
    classes = tuple(map(str, range(high + 1))) if classes is None else _class_names(classes)
    if low < 0 or high >= len(classes):
        wrong = low if low < 0 else high
        first = int(np.flatnonzero(labels == wrong)[0])
        expected = f"0 to {len(classes) - 1} for {len(classes)} classes"
        raise InputError(
            f"label {wrong} of record {first} is out of range; expected "
            f"{expected if classes else 'numbers from 0 on'}"
        )
    return labels.astype(np.int64, copy=False), classes


def _label_hint(labels: np.ndarray) -> str:
    """What turns labels of another kind into those that are expected."""
    if labels.dtype.kind == "U":
        return ": names become numbers by classes, labels = np.unique(labels, return_inverse=True)"
    if labels.ndim == 2 and labels.shape[1] == 1:
        return ": use labels[:, 0]"
    if labels.ndim == 2 and labels.size and (np.sort(labels, axis=1)[:, :-1] == 0).all():
        return ": one-hot rows become numbers by labels.argmax(axis=1)"
    return ""


def _class_names(classes) -> tuple[str, ...]:
    several = isinstance(classes, Iterable) and getattr(classes, "ndim", 1) == 1
    if not several or isinstance(classes, str | bytes | Mapping | Set):
        hint = ": use sorted(classes, key=classes.get)" if isinstance(classes, Mapping) else ""
        raise InputError(f"classes are {classes!r:.60}; expected a list of names{hint}")
    names = [n.decode("utf-8", "backslashreplace") if isinstance(n, bytes) else n for n in classes]
    names = [printable(str(name)) for name in names]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"classes hold {twice[0]!r} more than once; expected one name for each label, not one "
            "for each record"
        )
    return tuple(names)
