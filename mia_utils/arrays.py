"""What people hand in (lists, frames, tensors) as NumPy arrays, or one line that says what to write."""

from __future__ import annotations

import mmap
from typing import cast

import numpy as np

from .errors import InputError, shown

FILLED_IN = cast("np.ndarray", None)
"""Default of a field that may be left out when an object is made, and is there once it is."""


def as_array(value, name: str) -> np.ndarray:
    """`value` as a NumPy array of numbers, bools or texts; an array comes back as it is.

    Tensors are read whatever device they are on and whether or not they require a gradient;
    bfloat16 becomes float32. Sparse matrices are filled in.

    Raises
    ------
    InputError
        If there is nothing, rows differ in length, values are masked, or the elements are of no
        numeric type. `name` opens the message.
    """
    if value is None:
        raise InputError(f"{name}: got None; expected an array")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(
            f"{name}: {int(np.ma.count_masked(value))} values are masked; drop those records, or "
            "say with evaluated= which pairs count"
        )
    kind = type(value).__name__
    if hasattr(value, "detach"):
        value = _of_tensor(value.detach().cpu())
    elif isinstance(value, (list, tuple)) and any(hasattr(item, "detach") for item in value):
        value = [as_array(item, name) for item in value]
    elif hasattr(value, "toarray"):
        value = value.toarray()
    try:
        array = np.asarray(value)
        if array.dtype == object:  # a frame's columns of several types, pandas' own bools
            array = np.array(array.tolist())
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: {' '.join(str(error).split())}; expected one array") from None
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufU":
        odd = next((f", {shown(item)} in it" for item in array.flat if _is_odd(item)), "")
        raise InputError(
            f"{name}: {kind} of dtype {array.dtype}{odd}; expected an array of numbers"
        )
    return array


def _is_odd(item) -> bool:
    """Is it a reason why an array of objects is none of numbers?"""
    if isinstance(item, int):
        return not -(2**63) <= item < 2**64
    return not isinstance(item, (float, np.number, np.bool_))


def _of_tensor(tensor) -> np.ndarray:
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError):  # bfloat16 has no counterpart, a sparse tensor no buffer
        return tensor.to_dense().float().numpy()


def as_numbers(value, name: str) -> np.ndarray:
    """`value` as an array of real numbers or bools.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    array = as_array(value, name)
    if array.dtype.kind == "U":
        raise InputError(f"{name} are texts{_first(array)}; expected numbers")
    return array


def as_bool(value, name: str) -> np.ndarray:
    """`value` as a bool array; numbers are taken where all are 0 or 1.

    Raises
    ------
    InputError
        If it holds anything else; the message says how to compare.
    """
    array = as_array(value, name)
    if array.dtype == bool:
        return array
    if array.dtype.kind == "U":
        raise InputError(f'{name} are texts{_first(array)}; expected bool: write {name} == "..."')
    bad = (array != 0) & (array != 1)
    if bad.any():
        raise InputError(
            f"{name} have dtype {array.dtype} and hold {shown(array[bad].flat[0].item())}; expected "
            f"bool, or 0 and 1: write {name} == 1, or whatever tells a member"
        )
    return array.astype(bool)


def as_integers(value, name: str) -> np.ndarray:
    """`value` as int64; floats are taken where all are whole numbers.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    array = as_array(value, name)
    if array.dtype.kind == "U":
        raise InputError(f"{name} are texts{_first(array)}; expected integers")
    if array.dtype.kind == "f":
        bad = ~(np.abs(array) < 2**53) | (array != np.rint(array))
        if bad.any():
            found = array[bad].flat[0].item()
            raise InputError(f"{name} are {array.dtype} and hold {shown(found)}; expected integers")
    if array.size and array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise InputError(f"{name} hold {array.max()}; expected integers of at most 63 bits")
    return array.astype(np.int64, copy=False)


def _first(texts: np.ndarray) -> str:
    return f" ({shown(texts.flat[0].item())}, ...)" if texts.size else ""


_BLOCK = 2**24  # bytes of a memory-mapped file that are resident at once
_AROUND = 2**16  # bytes that come with each one that is read


def rows_of(array: np.ndarray, rows) -> np.ndarray:
    """`array[rows]`, of a read-only memory-mapped file without leaving what was read in memory.

    Parameters
    ----------
    rows : positions (n,), or a slice

    Pages of a mapped file count as the process's own memory until somebody needs them, and one row
    brings its neighbours: a sample of all rows would hold the whole file.
    """
    file = _mapped(array)
    if file is None:
        return array[rows]
    places = np.arange(len(array))[rows]
    found = np.empty((places.size, *array.shape[1:]), array.dtype)
    row = array[:1].nbytes
    spread = np.ptp(places) / places.size if places.size else 0  # rows from one to the next
    step = max(1, int(_BLOCK // max(1, min(row * (1 + spread), row + _AROUND))))
    for start in range(0, places.size, step):
        part = places[start : start + step]
        whole = part.size and part[-1] - part[0] == part.size - 1 and (np.diff(part) == 1).all()
        found[start : start + step] = array[part[0] : part[-1] + 1] if whole else array[part]
        file.madvise(mmap.MADV_DONTNEED)
    return found


def _mapped(array) -> mmap.mmap | None:
    """The read-only file that an array is a view of, if it is one that can let go of its pages."""
    while array is not None:
        if isinstance(array, np.memmap) and array.mode != "r":
            return None  # what was written may not be on the disk yet
        if isinstance(array, mmap.mmap):
            return array if hasattr(mmap, "MADV_DONTNEED") else None
        array = getattr(array, "base", None)
    return None
