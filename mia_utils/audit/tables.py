"""Files of arrays and tables that come from elsewhere, read within bounds and without running code.

An archive may claim more than it holds, a table may hold more than memory, and NumPy's own formats
may hold pickled objects: sizes are known before anything is read, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from math import isnan, prod
from pathlib import Path

import numpy as np

from ..data.archive import DAMAGED, one_line, opened
from ..errors import InputError

LARGEST = 8 * 2**30
"""Bytes that one file may take in memory; a `.npy` file is mapped and may be larger."""
MOST_PACKED = 1000
"""Times that an array may be larger than what is stored of it: data is not that regular."""
_SMALL = 64 * 2**20  # bytes below which nobody minds how well they were packed
_TEXT = 64 * 2**20  # bytes of a list of ids
_DAMAGED = (*DAMAGED, OverflowError)

Table = dict[str, np.ndarray]


def read_table(path: str | os.PathLike, *, largest: int = LARGEST) -> Table:
    """The named arrays of an .npz archive, or the columns of a .csv or .parquet table.

    Columns of a table that are numbered (`logit_0`, `logit_1`, ...) stay columns here.

    Raises
    ------
    InputError
        If there is no such file, its kind is unknown, it is damaged, holds pickled objects, or is
        larger than `largest` bytes.
    """
    path = Path(path)
    readers = {".npz": _npz, ".csv": _csv, ".parquet": _parquet, ".pq": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: expected a file whose name ends in .npz, .npy, .csv or .parquet")
    check_file(path)
    return reader(path, largest)


def read_array(path: str | os.PathLike) -> np.ndarray:
    """One array: a .npy file, memory-mapped; or a text file with one value a line, as texts.

    Raises
    ------
    InputError
        As `read_table`.
    """
    path = Path(path)
    check_file(path)
    if path.suffix.lower() == ".npy":
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except _DAMAGED as error:
            raise InputError(f"{path}: not a readable array ({_one_line(error)})") from None
    if path.suffix.lower() not in (".txt", ""):
        raise InputError(f"{path}: expected one array, in a file that ends in .npy or .txt")
    if path.stat().st_size > _TEXT:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes; expected at most {_TEXT:,}")
    try:
        lines = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None
    return np.array([line.strip() for line in lines if line.strip()], dtype=str)


def check_file(path: Path) -> None:
    """Check that `path` is a file that can be read.

    Raises
    ------
    InputError
        Otherwise.
    """
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {kind}; expected a file of answers")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied")


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def numbered(table: Table, prefixes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Columns such as logit_0, logit_1 or logit_cat, logit_dog as one array, and their suffixes.

    Returned are (values (records, columns), suffixes), the columns in the order of their numbers if
    all suffixes are numbers, else in the order of the table; None if there are none.
    """
    for prefix in prefixes:
        pattern = re.compile(rf"{re.escape(prefix)}[_.:\[]?(.+?)\]?$", re.DOTALL)
        found = {
            name: match[1] for name in table if (match := pattern.match(name)) and name != prefix
        }
        if not found:
            continue
        if all(suffix.isdecimal() for suffix in found.values()):
            found = dict(sorted(found.items(), key=lambda pair: int(pair[1])))
        columns = [table[name] for name in found]
        bad = [n for n, c in zip(found, columns, strict=True) if c.dtype.kind not in "fiub"]
        if bad:
            raise InputError(f"column {bad[0]!r} holds texts; expected numbers")
        return np.stack(columns, axis=1), tuple(found.values())
    return None


# ---- npz -----------------------------------------------------------------------------------------


def _npz(path: Path, largest: int) -> Table:
    try:
        with opened(path) as archive:
            _check_sizes(path, archive.zip, largest)
            return {name: archive[name] for name in archive.files}
    except InputError:
        raise
    except _DAMAGED as error:
        text = _one_line(error)
        if "pickle" in text.lower():
            text = (
                "it holds pickled objects, which could run code; write arrays of numbers or texts"
            )
        raise InputError(f"{path}: not a readable archive ({text})") from None


def _check_sizes(path: Path, archive: zipfile.ZipFile, largest: int) -> None:
    """What is claimed, before a byte of it is unpacked. (zipfile reads no more than is claimed.)"""
    total = 0
    for member in archive.infolist():
        packed = max(1, member.compress_size)
        if member.file_size > _SMALL and member.file_size > MOST_PACKED * packed:
            raise InputError(
                f"{path}: {member.filename} would unpack from {packed:,} to {member.file_size:,} "
                "bytes; no array of answers is that regular, so it is not read"
            )
        total += member.file_size
        if member.filename.endswith(".npy"):
            _check_header(path, archive, member)
    if total > largest:
        raise InputError(
            f"{path}: {total / 2**30:,.1f} GB unpacked; expected at most "
            f"{largest / 2**30:,.1f} GB: write logits as .npy, which is read from the disk as needed"
        )


def _check_header(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    # NumPy asks for the memory that the header claims before it reads on.
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        rest = member.file_size - file.tell()
    if not dtype.hasobject and prod(shape) * dtype.itemsize != rest:
        raise InputError(
            f"{path}: {member.filename} claims {prod(shape) * dtype.itemsize:,} bytes and holds "
            f"{rest:,}; the file is damaged"
        )


# ---- tables --------------------------------------------------------------------------------------


def _csv(path: Path, largest: int) -> Table:
    import pandas as pd

    if path.stat().st_size > largest:
        raise InputError(
            f"{path}: {path.stat().st_size / 2**30:,.1f} GB; expected at most "
            f"{largest / 2**30:,.1f} GB: write the answers as .npy"
        )
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", low_memory=False, skipinitialspace=True)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError, OSError) as error:
        raise InputError(f"{path}: not a readable table ({_one_line(error)})") from None
    return _columns(path, frame)


def _parquet(path: Path, largest: int) -> Table:
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: Parquet needs the package pyarrow: pip install 'mia-utils[audit]', or write "
            "the table as .csv"
        ) from None
    import pyarrow

    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            # Dictionaries and run lengths may stand for far more than their bytes.
            size = max(size, meta.num_rows * meta.num_columns)
            if size > largest:
                raise InputError(
                    f"{path}: {size / 2**30:,.1f} GB unpacked; expected at most "
                    f"{largest / 2**30:,.1f} GB: write the answers as .npy"
                )
            frame = file.read().to_pandas()
    except (pyarrow.ArrowException, *_DAMAGED) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable table ({_one_line(error)})") from None
    return _columns(path, frame)


def _columns(path: Path, frame) -> Table:
    if not len(frame):
        raise InputError(f"{path}: holds no record")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise InputError(f"{path}: the column {str(repeated[0])!r} is there twice")
    table: Table = {}
    for name, column in frame.items():
        values = column.to_numpy()
        if values.dtype.kind not in "fiub":
            first = next((v for v in values if v is not None), None)
            if isinstance(first, (list, tuple, np.ndarray)):  # a list of numbers in every cell
                lengths = {-1 if v is None else len(v) for v in values}
                if len(lengths) != 1 or -1 in lengths:
                    raise InputError(f"{path}: lists in column {name!r} differ in length")
                values = np.stack([np.asarray(v, dtype=np.float64) for v in values])
            elif all(isinstance(v, (bool, np.bool_)) for v in values):
                values = values.astype(bool)
            else:
                values = np.array(["" if _missing(v) else str(v) for v in values], dtype=str)
        table[str(name)] = values
    return table


def _missing(value) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def _one_line(error: BaseException) -> str:
    return one_line(error)[:300]
