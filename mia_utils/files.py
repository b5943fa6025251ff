"""Files and folders that appear whole or not at all, and what is said if the disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A hidden path beside `path` to write to, renamed when the block ends without an error."""
    path, partial = _beside(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[Path]:
    """As `whole_file`, for a folder named by its content: if another process was first, its stays."""
    path, partial = _beside(path)
    partial.mkdir()
    try:
        yield partial
        try:
            os.rename(partial, path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(path: str | os.PathLike) -> tuple[Path, Path]:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name's end stays: some writers append a suffix that they miss.
    return path, path.with_name(f".{uuid.uuid4().hex}.{path.name}")


def write_if_changed(path: str | os.PathLike, content: bytes) -> bool:
    """Write a whole file if its bytes change; return whether they did."""
    path = Path(path)
    if path.exists() and path.read_bytes() == content:
        return False
    with whole_file(path) as partial:
        partial.write_bytes(content)
    return True


@contextmanager
def one_line_disk_errors(path: Path, choice: str) -> Iterator[None]:
    """An OSError while `path` is made becomes one InputError line; `choice` is what moves it."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InputError(
                f"{path}: no space left on this disk, nothing was written; "
                f"free some, or choose another folder ({choice})"
            ) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: cannot be written ({reason}); choose another folder ({choice})"
        ) from None
