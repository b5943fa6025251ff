"""Files of arrays and tables that come from elsewhere, read within bounds and without running code.

An archive may claim more than it holds, a table may hold more than memory, and NumPy's own formats
may hold pickled objects: sizes are known before anything is read, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from math import isnan, prod
from pathlib import Path

import numpy as np

from ..data.archive import DAMAGED, one_line, opened
from ..errors import InputError
from ..naming import is_number
from ..text_tables import parquet, plain, read_frame, read_text

LARGEST = 8 * 2**30
"""Bytes that one file may take in memory; a `.npy` file is mapped and may be larger."""
MOST_PACKED = 1000
"""Times that an array may be larger than what is stored of it: data is not that regular."""
_SMALL = 64 * 2**20  # bytes below which nobody minds how well they were packed
_TEXT = 64 * 2**20  # bytes of a list of ids
LABELS = ("labels", "label", "y", "y_true", "target", "targets")
MEMBERS = ("members", "member", "is_member", "membership")
IDS = ("ids", "id", "record_id")
LOGITS = ("logits", "logit")
PROBABILITIES = ("probabilities", "probability", "probs", "prob", "proba")
_ANSWERS = (*LOGITS, *PROBABILITIES)
_OTHERS = ("classes", "features", "images", "losses")
TEXTS = (*LABELS, *MEMBERS, *IDS, "evaluated", "groups")
"""Columns that are read as they are written: 007 is not 7, and a class may be called NA."""

Table = dict[str, np.ndarray]


def read_table(
    path: str | os.PathLike, *, texts: Sequence[str] = (), largest: int = LARGEST
) -> Table:
    """The named arrays of an .npz archive, or the columns of a .csv, .tsv or .parquet table.

    Columns of a table that are numbered (`logit_0`, `logit_1`, ...) stay columns here. Names that
    are looked for (`Labels`, `MEMBER`) are written small.

    Parameters
    ----------
    texts : sequence of str
        More columns of a .csv table whose values are names and no measurements.

    Raises
    ------
    InputError
        If there is no such file, its kind is unknown, it is damaged, holds pickled objects, or is
        larger than `largest` bytes.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".npz", ".csv", ".tsv", ".parquet", ".pq"):
        raise InputError(f"{path}: expected a file whose name ends in .npz, .npy, .csv or .parquet")
    check_file(path)
    if kind == ".npz":
        table = _npz(path, largest)
    elif kind in (".csv", ".tsv"):
        table = _csv(path, largest, texts)
    else:
        table = _parquet(path, largest)
    return _small_names(path, table)


def read_array(path: str | os.PathLike) -> np.ndarray:
    """One array: a .npy file, memory-mapped; or a text file (.txt, .csv) with one value a line.

    Texts that all are whole numbers become numbers, but for those with leading zeros.

    Raises
    ------
    InputError
        As `read_table`.
    """
    path = Path(path)
    check_file(path)
    if path.suffix.lower() == ".npy":
        try:
            return _decoded(np.load(path, mmap_mode="r", allow_pickle=False))
        except DAMAGED as error:
            raise InputError(f"{path}: not a readable array ({_one_line(error)})") from None
    kind = path.suffix.lower()
    if kind not in (".txt", ".csv", ""):
        raise InputError(f"{path}: expected one array, in a file that ends in .npy, .txt or .csv")
    if path.stat().st_size > _TEXT:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes; expected at most {_TEXT:,}")
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    if kind == ".csv":
        lines = [line.strip('"') for line in lines]
        if any(mark in line for line in lines[:10] for mark in ",;\t"):
            raise InputError(f"{path}: several columns; expected one, a value a line")
        if lines and lines[0].lower() in TEXTS:  # the column's name
            lines = lines[1:]
    if not lines:
        raise InputError(f"{path}: is empty; expected one value a line")
    return plain(np.array(lines, dtype=str))


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


def _small_names(path: Path, table: Table) -> Table:
    """The same with the names that are looked for in small letters and without blanks around."""
    found: Table = {}
    for name, values in table.items():
        name = name.strip()
        known = name.lower() if name.lower() in (*TEXTS, *_ANSWERS, *_OTHERS) else name
        if known in found:
            raise InputError(f"{path}: {known!r} is there twice; keep one")
        found[known] = values
    return found


def numbered(table: Table, prefixes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Columns such as logit_0, logit_1 or logit_cat, logit_dog as one array, and their suffixes.

    Returned are (values (records, columns), suffixes), the columns in the order of their numbers if
    all suffixes are numbers, else in the order of the table; None if there are none.

    Raises
    ------
    InputError
        If a column holds texts, or some suffixes are numbers and others are not.
    """
    for prefix in sorted(prefixes, key=len, reverse=True):  # proba_0 is no prob of a class a_0
        pattern = re.compile(
            rf"{re.escape(prefix)}(?:[_.:\[](.+?)\]?|(\d+))$", re.DOTALL | re.IGNORECASE
        )
        found = {name: match[1] or match[2] for name in table if (match := pattern.match(name))}
        if not found:
            continue
        numbers = [suffix.isdecimal() for suffix in found.values()]
        if all(numbers):
            found = dict(sorted(found.items(), key=lambda pair: int(pair[1])))
        elif any(numbers):
            odd = next(name for name, suffix in found.items() if not suffix.isdecimal())
            raise InputError(
                f"column {odd!r} stands among numbered ones; is it a class? Number all or none, or "
                "call it something else"
            )
        return np.stack([_floats(name, table[name]) for name in found], axis=1), tuple(
            found.values()
        )
    return None


def _floats(name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "f":
        return column
    if column.dtype.kind in "iub":
        return column.astype(np.float64)
    for row, text in enumerate(column):
        if not is_number(str(text)):
            raise InputError(
                f"column {name!r} holds {str(text)!r} in record {row}; expected a number such as 0.25"
            )
    return column.astype(np.float64)


# ---- npz -----------------------------------------------------------------------------------------


def _npz(path: Path, largest: int) -> Table:
    try:
        with opened(path) as archive:
            assert archive.zip is not None, "it is open"
            _check_sizes(path, archive.zip, largest)
            return {name: _decoded(archive[name]) for name in archive.files}
    except InputError:
        raise
    except DAMAGED as error:
        text = _one_line(error)
        if "pickle" in text.lower():
            text = (
                "it holds pickled objects, which could run code; write arrays of numbers or texts, "
                "such as labels.astype(str)"
            )
        raise InputError(f"{path}: not a readable archive ({text})") from None


def _decoded(array: np.ndarray) -> np.ndarray:
    """Bytes (dtype S) as the texts that they spell."""
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


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


def _csv(path: Path, largest: int, texts: Sequence[str]) -> Table:
    if path.stat().st_size > largest:
        raise InputError(
            f"{path}: {path.stat().st_size / 2**30:,.1f} GB; expected at most "
            f"{largest / 2**30:,.1f} GB: write the answers as .npy"
        )

    def as_text(name: str) -> bool:
        name = name.strip()
        return name.lower() in TEXTS or name in texts or name.startswith("group_")

    return _columns(path, read_frame(path, as_text))


def _parquet(path: Path, largest: int) -> Table:
    reader = parquet(path)
    import pyarrow

    try:
        with reader.ParquetFile(path) as file:
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
            if any(name is not None for name in frame.index.names):
                frame = frame.reset_index()
    except (pyarrow.ArrowException, *DAMAGED) as error:
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
            elif all(isinstance(v, Decimal) for v in values):
                values = values.astype(np.float64)
            else:
                texts = ["" if _missing(v) else str(v).strip() for v in values]
                values = plain(np.array(texts, dtype=str))
        table[str(name)] = values
    return table


def _missing(value) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def _one_line(error: BaseException) -> str:
    return one_line(error)[:300]
