"""Tables and lists of text as programs and people write them: separators, encodings, decimal commas.

What decides a number's or a record's identity is never guessed: ids keep their leading zeros, a
class may be called NA, and a text that could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .data.archive import one_line
from .errors import InputError

UNNAMED = "Unnamed: "
"""How pandas calls a column that has no name."""
_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
_HEAD = 2**16  # bytes in which the separator is looked for
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0+)?")
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?|[+-]?[0-9]+")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})*")


def encoding_of(path: Path) -> str:
    """UTF-8 (with or without a mark), or UTF-16 where the file begins with its mark."""
    with open(path, "rb") as file:
        start = file.read(2)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def parquet(path: Path):
    """pyarrow's reader of Parquet, for the table at `path`.

    Raises
    ------
    InputError
        If pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: Parquet needs the package pyarrow: pip install 'mia-utils[audit]', or write "
            "the table as .csv"
        ) from None
    return pyarrow.parquet


def read_text(path: Path) -> str:
    """The text of a file.

    Raises
    ------
    InputError
        If it is neither UTF-8 nor UTF-16.
    """
    try:
        return path.read_text(encoding=encoding_of(path))
    except UnicodeError:
        raise _unreadable(path) from None


def no_column(name: str) -> bool:
    """Says of every column that it is none of those."""
    return False


def read_frame(
    path: Path, as_text: Callable[[str], bool], exact: Callable[[str], bool] = no_column
):
    """A pandas.DataFrame of a text table whose columns are separated by commas, semicolons or tabs.

    Parameters
    ----------
    as_text : function
        Says by its name whether a column is kept as text, as it is written.
    exact : function
        Which of these are documents, whose leading blanks are theirs; of a name they are dropped.

    Raises
    ------
    InputError
        If it is no such table.
    """
    import pandas as pd

    columns, options = _head(path)
    documents = any(exact(str(name)) for name in columns)
    try:
        texts = [name for name in columns if as_text(str(name))]
        frame = pd.read_csv(
            path,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={name: list(_MISSING) for name in columns if name not in texts},
            low_memory=False,
            skipinitialspace=not documents,
            header=0,
            names=columns,
            **options,
        )
    except UnicodeError:
        raise _unreadable(path) from None
    except (ValueError, pd.errors.ParserError, OSError) as error:
        raise InputError(f"{path}: not a readable table ({one_line(error)[:300]})") from None
    if len(columns) == 1 and " " in str(columns[0]).strip():
        raise InputError(
            f"{path}: one column, {str(columns[0])!r}; separate columns by commas, semicolons or "
            "tabs"
        )
    for name in texts if documents else ():
        if not exact(str(name)):
            frame[name] = frame[name].str.lstrip(" ")
    if _counts(frame):
        frame = frame.drop(columns=frame.columns[0])
    for name in frame.columns:
        if name not in texts and frame[name].dtype.kind not in "fiub":
            frame[name] = _numbers(frame[name], options["sep"] != ",", f"{path}: column {name!r}")
    return frame


def header(path: Path) -> tuple[str, ...]:
    """The names of the columns of such a table.

    Raises
    ------
    InputError
        If it is no such table.
    """
    return tuple(str(name) for name in _head(path)[0])


def _head(path: Path) -> tuple[Any, dict[str, Any]]:
    """The columns' names, and how pandas reads the table."""
    import pandas as pd

    encoding = encoding_of(path)
    try:
        separator, skipped = _separator(path, encoding)
        options: dict[str, Any] = {"encoding": encoding, "sep": separator, "skiprows": skipped}
        columns = pd.read_csv(path, nrows=0, skipinitialspace=True, **options).columns
        written = pd.read_csv(
            path,
            nrows=1,
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            **options,
        )
    except UnicodeError:
        raise _unreadable(path) from None
    except (ValueError, pd.errors.ParserError, OSError) as error:
        raise InputError(f"{path}: not a readable table ({one_line(error)[:300]})") from None
    names = [name for name in written.iloc[0] if name]  # pandas calls the second x of two x.1
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: the column {twice[0]!r} is there twice")
    return columns, options


def _counts(frame) -> bool:
    """Is the first column an index that was written beside the table: no name, and 0, 1, 2, ...?"""
    if not (len(frame.columns) > 1 and str(frame.columns[0]).startswith(UNNAMED)):
        return False
    first = frame.iloc[:, 0].to_numpy()
    return any(np.array_equal(first, np.arange(len(first)) + start) for start in (0, 1))


def plain(texts: np.ndarray) -> np.ndarray:
    """Texts that all are whole numbers as int64, that all say true or false as bool, else themselves.

    007 is no number: it is how somebody is called.

    >>> plain(np.array(["3", "1.0"])), plain(np.array(["007", "8"]))
    (array([3, 1]), array(['007', '8'], dtype='<U3'))
    """
    if texts.dtype.kind != "U" or not texts.size:
        return texts
    names = np.unique(texts)
    if all(_is_whole(str(name)) for name in names):
        return np.array([int(str(text).split(".")[0]) for text in texts.ravel()]).reshape(
            texts.shape
        )
    if {str(name).lower() for name in names} <= {"true", "false"}:
        return np.char.lower(texts) == "true"
    return texts


def _is_whole(text: str) -> bool:
    digits = text.split(".")[0].lstrip("+-")
    plain_start = digits == "0" or not digits.startswith("0")
    return bool(_WHOLE.fullmatch(text)) and len(digits) <= 18 and plain_start and text[0] != "+"


def _unreadable(path: Path) -> InputError:
    return InputError(f"{path}: not UTF-8 text; save it as UTF-8 (in Excel: CSV UTF-8)")


def _separator(path: Path, encoding: str) -> tuple[str, int]:
    """What separates columns, from the first line, and how many lines come before the names."""
    with open(path, encoding=encoding, newline="") as file:
        lines = file.read(_HEAD).splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    names = lines[first] if lines else ""
    if match := re.fullmatch(r'"?sep=(.)"?', names.strip(" \r\n")):  # Excel's own first line
        return match[1], first + 1
    outside = re.sub(r'"[^"]*"', "", names)
    return max(",;\t", key=outside.count), 0


def _numbers(column, comma: bool, where: str):
    """A column of texts as floats where they have decimal commas; else as it is.

    In a table that is separated by commas 1,234 may be a thousand: refused, unless other values
    of the column settle it.
    """
    texts = ["" if value is None else str(value).strip() for value in column.fillna("")]
    there = [text for text in texts if text]
    if not there or not all(_COMMA.fullmatch(text) for text in there):
        return column
    if not comma and all(_THOUSANDS.fullmatch(text) for text in there):
        first = next(text for text in there if "," in text)
        raise InputError(
            f"{where} holds {first!r}: a thousand, or a decimal comma? Write numbers with a decimal "
            "point and without separators of thousands"
        )
    return [float(text.replace(",", ".")) if text else float("nan") for text in texts]
