"""Tables of log-probabilities, .parquet and .csv, as columns; lists in their cells stay lists."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.archive import DAMAGED, one_line
from ..data.memory import check_memory
from ..errors import InputError
from ..text_tables import header, no_column, parquet, read_frame

PARQUET, CSV = (".parquet", ".pq"), (".csv", ".tsv")
_ADVICE = "write it as .npz with numpy.savez, which is mapped"


def column_names(path: str | os.PathLike) -> tuple[str, ...]:
    """Names of an archive's arrays or of a table's columns, without reading them; () for others.

    Raises
    ------
    InputError
        If the file is missing or damaged, or pyarrow is missing.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a file of answers")
    try:
        if kind == ".npz":
            with zipfile.ZipFile(path) as archive:
                return tuple(name.removesuffix(".npy") for name in archive.namelist())
        if kind in PARQUET:
            return tuple(parquet(path).ParquetFile(path).schema_arrow.names)
        if kind in CSV:
            return header(path)
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not readable ({one_line(error)})") from None
    return ()


def read_columns(
    path: str | os.PathLike,
    as_text: Callable[[str], bool] = no_column,
    exact: Callable[[str], bool] = no_column,
) -> dict[str, np.ndarray]:
    """The columns of a table; those with lists of numbers as arrays of float64 arrays.

    Parameters
    ----------
    as_text : function
        Says by its name whether a column of a .csv table is kept as it is written.
    exact : function
        Which of these are documents, whose leading blanks are theirs.

    Raises
    ------
    InputError
        If the file is of another kind, missing, damaged or larger than memory, holds no row, or a
        cell of a column of lists holds none.
    """
    path = Path(path)
    if path.suffix.lower() not in (*PARQUET, *CSV):
        raise InputError(f"{path}: expected a file whose name ends in .npz, .parquet or .csv")
    names = column_names(path)
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InputError(f"{path}: the column {min(repeated)!r} is there twice")
    frame = _frame(path, as_text, exact)
    if not len(frame):
        raise InputError(f"{path}: holds no record")
    return {str(name): _column(path, str(name), frame[name].to_numpy()) for name in frame}


def _frame(path: Path, as_text: Callable[[str], bool], exact: Callable[[str], bool]):
    try:
        if path.suffix.lower() in CSV:
            check_memory(path.stat().st_size, f"{path}: a table", _ADVICE)
            return read_frame(path, as_text, exact)
        with parquet(path).ParquetFile(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            # Dictionaries and run lengths may stand for far more than their bytes.
            size = max(sum(g.total_byte_size for g in groups), 8 * file.metadata.num_rows)
            check_memory(size, f"{path}: a table", _ADVICE)
            frame = file.read().to_pandas()
            return frame.reset_index() if any(frame.index.names) else frame
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable table ({one_line(error)})") from None


def _column(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "fiub":
        return values
    there = [value for value in values if value is not None]
    if there and isinstance(there[0], (list, tuple, np.ndarray)):
        return _lists(path, name, values)
    if there and all(isinstance(value, (bool, np.bool_)) for value in values):
        return values.astype(bool)
    return np.array(["" if value is None or value != value else str(value) for value in values])


def _lists(path: Path, name: str, cells: np.ndarray) -> np.ndarray:
    found = np.empty(cells.size, object)
    for row, cell in enumerate(cells):
        if not isinstance(cell, (list, tuple, np.ndarray)):
            raise InputError(f"{path}: row {row} of column {name!r} is empty; expected a list")
        try:
            found[row] = np.asarray(cell, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(
                f"{path}: row {row} of column {name!r} holds other things than numbers"
            ) from None
    return found
