"""Pools as `.npz` archives, read with care and written whole or not at all."""

from __future__ import annotations

import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import arguments
from ..errors import InputError
from ..files import one_line_disk_errors, whole_file
from .memory import check_memory
from .pool import Pool

DISK_CHOICE = "--data, MIA_DATA"
"""What moves the folder that holds the archives."""

ARRAYS = ("images", "features", "labels", "train", "classes")
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # zipfile's, for a compression method it lacks
    RuntimeError,  # and for encryption
    OverflowError,  # a size in a header that no integer holds
    tokenize.TokenError,  # NumPy's, for a header that is no Python
)
"""What NumPy and zipfile raise on files that are not what they claim."""


@dataclass(frozen=True)
class Source:
    """What an archive was decoded from, kept inside it.

    Parameters
    ----------
    state : str
        Hash of the folder's image files: names, sizes, times of change.
    images, classes : int
        How many there were.
    size : int or None
        Side in pixels to which they were resized.
    damaged : tuple of str
        Those left out, relative to the folder.
    """

    state: str
    images: int
    classes: int
    size: int | None = None
    damaged: tuple[str, ...] = ()


def read_archive(path: str | Path) -> Pool:
    """The pool in NAME.npz: `images` or `features`, `labels`, and if there `train`, `classes`.

    Raises
    ------
    InputError
        If the file is damaged, an array is missing, holds pickled objects, does not fit or is
        larger than memory.
    """
    path = Path(path).absolute()
    arrays, names = _read(path, ARRAYS)
    if ("images" in arrays) == ("features" in arrays) or "labels" not in arrays:
        raise InputError(
            f"{path}: holds the arrays {', '.join(names) or 'none'}; expected labels and one of "
            "images and features: np.savez(path, images=uint8 (N, H, W, C), labels=integers (N,), "
            "train=bool (N,))"
        )
    records = arrays["images"] if "images" in arrays else arrays["features"]
    if ("images" in arrays) != (records.ndim != 2):
        raise InputError(
            f"{path}: {'images' if 'images' in arrays else 'features'} have shape {records.shape}; "
            "expected images (N, H, W, C) or features (N, D)"
        )
    return named_pool(path, path.stem, records, arrays)


def read_source(path: str | Path) -> Source | None:
    """What the archive was decoded from; None if it was not decoded from a folder.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    path = Path(path).absolute()
    text = _read(path, ("source",))[0].get("source")
    if text is None:
        return None
    try:
        found = json.loads(str(text))
        return Source(**{**found, "damaged": tuple(found["damaged"])})
    except (ValueError, TypeError, KeyError):
        return None  # an array of somebody else's that has this name


def write_archive(
    pool: Pool, path: str | Path, *, compress: bool = False, source: Source | None = None
) -> Pool:
    """Write NAME.npz whole or not at all; returns the pool with its `path`.

    Parameters
    ----------
    source : Source
        What the pool was decoded from, to be kept inside.

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written.
    """
    arguments.instance("pool", pool, Pool, "a Pool, as load_dataset gives it")
    arguments.path("path", path)
    arguments.truth("compress", compress)
    path = Path(path).absolute()
    arrays: dict[str, Any] = {
        "images" if pool.is_image else "features": pool.records,
        "labels": pool.labels,
        "train": pool.train,
        "classes": np.array(pool.classes),
    }
    if source is not None:
        arrays["source"] = np.array(json.dumps(asdict(source)))
    with one_line_disk_errors(path, DISK_CHOICE), whole_file(path) as part:
        with open(part, "wb") as file:
            (np.savez_compressed if compress else np.savez)(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
    return replace(pool, path=str(path))


def named_pool(path: Path, name: str, records: np.ndarray, arrays: dict) -> Pool:
    """The pool of arrays found at `path`, which an error names."""
    classes = arrays.get("classes")
    try:
        pool = Pool.from_arrays(name, records, arrays["labels"], classes, arrays.get("train"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return replace(pool, path=str(path))


def disk_reason(error: OSError) -> str:
    """What the system says of a file that cannot be read: "permission denied"."""
    return (error.strerror or type(error).__name__).lower()


def one_line(error: BaseException) -> str:
    """The text of an error without line breaks, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An .npz archive to read from; nothing in it is unpickled.

    Raises
    ------
    BadZipFile
        If it is none, or cut short. What reading it may raise besides is `DAMAGED`.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("not a zip file, or cut short")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            yield archive


def read_arrays(
    path: Path, wanted: tuple[str, ...], way_out: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of these names that the archive holds, and the names of all that it holds.

    Raises
    ------
    InputError
        If the arrays claim more than this machine's memory; it ends with `way_out`.
    OSError, or one of `DAMAGED`
        If the file cannot be read.
    """
    with opened(path) as archive:
        found = [name for name in wanted if name in archive.files]
        assert archive.zip is not None, "it is open"
        sizes = [_claimed_size(archive.zip, name) for name in found]
        check_memory(sum(sizes), str(path), way_out)
        return {name: archive[name] for name in found}, archive.files


def _read(path: Path, wanted: tuple[str, ...]) -> tuple[dict[str, np.ndarray], list[str]]:
    way_out = (
        f"write {path.with_suffix('')}/images.npy and labels.npy, which are read from the disk as "
        "needed"
    )
    try:
        return read_arrays(path, wanted, way_out)
    except InputError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: {disk_reason(error)}") from None
    except DAMAGED as error:
        raise InputError(
            f"{path}: not a readable archive ({one_line(error)}); delete it and make it anew"
        ) from None


def _claimed_size(archive: zipfile.ZipFile, name: str) -> int:
    """Bytes of an array, by its header; NumPy would ask for them before it looks further."""
    member = archive.getinfo(f"{name}.npy" if f"{name}.npy" in archive.namelist() else name)
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{name} has an array format of version {version}")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            return 0  # pickled: refused when it is read
        size, there = prod(shape) * dtype.itemsize, member.file_size - file.tell()
    if size != there:
        raise ValueError(f"{name} should have {size:,} bytes and has {there:,}")
    return size


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
