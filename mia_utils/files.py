"""Files and folders that appear whole or not at all, and what is said if the disk refuses."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from .errors import DiskError

_TOKEN = "[0-9a-f]" * 32  # as a pattern: what a hidden name begins with


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A hidden path beside `path` to write to, renamed when the block ends without an error."""
    path, partial = _beside(path)
    try:
        yield partial
        _to_disk(partial)
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
        for file in (*partial.iterdir(), partial):
            _to_disk(file)
        try:
            os.rename(partial, path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Not only to the system's memory: after a power cut a renamed file might be empty."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder made with those above it, all of which go again if the block ends with an error.

    What was there before stays, as does a folder that something was put into.
    """
    path = Path(path)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def _beside(path: str | os.PathLike) -> tuple[Path, Path]:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name's end stays: some writers append a suffix that they miss.
    return path, path.with_name(f".{uuid.uuid4().hex}.{path.name}")


def remove_pieces(folder: str | os.PathLike, name: str | None = None) -> None:
    """Remove what killed processes have left of writing the file or folder `name`, or any there.

    To be called where nobody else writes it: what another process is about to rename goes, too.
    """
    name = "*" if name is None else glob.escape(name)
    for piece in Path(folder).glob(f".{_TOKEN}.{name}"):
        if piece.is_dir():
            shutil.rmtree(piece, ignore_errors=True)
        else:
            piece.unlink(missing_ok=True)


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
    """An OSError while `path` is made becomes one DiskError line; `choice` is what moves it."""
    try:
        yield
    except OSError as error:
        # NumPy says how many numbers it could write, and no more, when a disk is full.
        short = error.errno is None and "written" in str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or short:
            raise DiskError(
                f"{path}: no space left on this disk, nothing was written; "
                f"free some, or choose another folder ({choice})"
            ) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DiskError(
            f"{path}: cannot be written ({reason}); choose another folder ({choice})"
        ) from None


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 (hex) of a file, computed once for as long as it stays as it is."""
    facts = os.stat(path)
    return _sha256(
        os.fspath(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    )


@lru_cache(maxsize=2**16)
def _sha256(path: str, *facts: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
