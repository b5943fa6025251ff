"""Arrays of an uncompressed `.npz` as memory maps: of a large file only what is looked at is read."""

from __future__ import annotations

import os
import zipfile
from math import prod
from pathlib import Path

import numpy as np

from ..data.archive import DAMAGED, one_line
from ..data.memory import check_memory
from ..errors import InputError

_HEADER, _NAME, _EXTRA = 30, slice(26, 28), slice(28, 30)  # of a local file header (APPNOTE, 4.3.7)


def mapped_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Every array of an archive by name; memory-mapped, but for those that are compressed or empty.

    Raises
    ------
    InputError
        If there is no such file, it is no archive of arrays, is damaged, or holds pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected an archive of arrays, .npz")
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            return {
                member.filename.removesuffix(".npy"): _array(path, archive, member, file)
                for member in members
            }
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable archive of arrays ({one_line(error)})") from None


def _array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, file) -> np.ndarray:
    with archive.open(member) as stream:
        shape, fortran, dtype = _header(stream)
        begin = stream.tell()
    claimed, held = prod(shape) * dtype.itemsize, member.file_size - begin
    if dtype.hasobject:
        raise InputError(
            f"{path}: {member.filename} holds pickled objects, which could run code; write arrays "
            "of numbers or texts"
        )
    if claimed != held:
        raise InputError(
            f"{path}: {member.filename} claims {claimed:,} bytes and holds {held:,}; the file is "
            "damaged"
        )
    if member.compress_type != zipfile.ZIP_STORED or not claimed:
        check_memory(claimed, f"{path}: {member.filename}", "write it with numpy.savez, which maps")
        with archive.open(member) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    file.seek(member.header_offset)
    local = file.read(_HEADER)
    skipped = sum(int.from_bytes(local[part], "little") for part in (_NAME, _EXTRA))
    offset = member.header_offset + _HEADER + skipped + begin
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _header(stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)
