"""Folders that carry the checksums of their files in `record.json`."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from ..files import file_sha256

RECORD = "record.json"


def digest(value: dict) -> str:
    """sha256 of a value as sorted JSON, 32 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def write_record(folder: Path, record: dict) -> None:
    """Write `record.json` with checksums of the folder's other files, and of the record itself."""
    checksums = {path.name: file_sha256(path) for path in folder.iterdir()}
    record = json.loads(
        json.dumps(record, allow_nan=False)
    )  # what a reader will see: lists for tuples
    record |= {"checksums": checksums}
    text = json.dumps({**record, "checksum": digest(record)}, indent=1, sort_keys=True)
    (folder / RECORD).write_text(text, encoding="utf-8")


def read_record(folder: Path) -> dict:
    """The content of `record.json`.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or is not a record with checksums.
    """
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not isinstance(record.get("checksums"), dict):
        raise ValueError("not a record with checksums")
    return record


def damage(
    folder: Path, files: Iterable[str] | None = None, *, name: str | None = None
) -> str | None:
    """What is wrong with a folder, in a few words; None if nothing is.

    Parameters
    ----------
    files : names of files, default all
        Those that are compared with their checksums.
    name : str, default the folder's
        Of the model whose record is expected.
    """
    try:
        record = read_record(folder)
    except FileNotFoundError:
        return f"{RECORD} is missing"
    except (OSError, ValueError):
        return f"{RECORD} cannot be read"
    # Records of older stores have no checksum of their own and do not repeat what named the model.
    if record.pop("checksum", None) not in (None, digest(record)):
        return f"{RECORD} has changed since it was written"
    checksums = record["checksums"]
    if "identity" in record and digest(record["identity"]) != (name or folder.name):
        return f"{RECORD} is another model's"
    for file in sorted(checksums) if files is None else files:
        try:
            found = file_sha256(folder / file)
        except FileNotFoundError:
            return f"{file} is missing"
        except OSError as error:
            return f"{file} cannot be read ({error.strerror})"
        if found != checksums.get(file):
            return f"{file} has changed since it was written"
    return None


def remove_folder(folder: Path) -> None:
    """Delete a folder: first out of sight by a rename, then its files."""
    doomed = folder.with_name(f".{uuid.uuid4().hex}.{folder.name}")
    folder.rename(doomed)
    shutil.rmtree(doomed)
