"""`mia store list | verify | prune`: what the store holds, whether it is whole, and less of it."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..engine.store import Store

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0}
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Stored:
    """One model on disk."""

    name: str
    record: dict
    size: int  # bytes
    written: float  # seconds since the epoch


def stored(store: Store) -> list[Stored]:
    """Every finished model, the oldest first."""
    found = []
    for name in store.names():
        folder = store.folder(name)
        size = sum(path.stat().st_size for path in folder.iterdir())
        written = (folder / "record.json").stat().st_mtime
        found.append(Stored(name, store.record(name), size, written))
    return sorted(found, key=lambda model: (model.written, model.name))


def damage(store: Store, name: str) -> str | None:
    """What is wrong with a stored model in one line; None if its files match their checksums."""
    try:
        checksums = store.record(name)["checksums"]
    except (ValueError, KeyError):
        return "record.json cannot be read"
    for file, expected in sorted(checksums.items()):
        path = store.folder(name) / file
        if not path.exists():
            return f"{file} is missing"
        with open(path, "rb") as handle:
            if hashlib.file_digest(handle, "sha256").hexdigest() != expected:
                return f"{file} has changed since it was written"
    return None


def to_prune(
    models: list[Stored], *, older_than: float | None, keep_bytes: int | None, now: float
) -> list[Stored]:
    """Models past an age in seconds, and the oldest of the rest until no more than a size is left."""
    gone = [m for m in models if older_than is not None and now - m.written > older_than]
    rest = [m for m in models if m not in gone]
    total = sum(m.size for m in rest)
    while keep_bytes is not None and rest and total > keep_bytes:
        oldest = rest.pop(0)
        total -= oldest.size
        gone.append(oldest)
    return gone


def remove(store: Store, name: str) -> None:
    """Delete one model: first out of sight by a rename, then its files."""
    folder = store.folder(name)
    doomed = folder.with_name(f".{name}.removed")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def parse_age(text: str) -> float:
    """Seconds of "30d", "12h" or "5m".

    >>> parse_age("2h")
    7200.0
    """
    return _parse(text, _UNITS, "an age such as 30d, 12h or 5m")


def parse_size(text: str) -> int:
    """Bytes of "500M" or "20G".

    >>> parse_size("2K")
    2048
    """
    return int(_parse(text.upper().removesuffix("B"), _BYTES, "a size such as 500M or 20G"))


def _parse(text: str, units: dict[str, float], expected: str) -> float:
    try:
        value = float(text[:-1]) * units[text[-1]]
    except (ValueError, KeyError, IndexError):
        raise InputError(f"{text!r} was given; expected {expected}") from None
    if value < 0:
        raise InputError(f"{text!r} is negative; expected {expected}")
    return value


# ---- command -----------------------------------------------------------------------------------


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "verify", "prune"])
    parser.add_argument("--store", type=Path, metavar="DIR", help="else MIA_STORE")
    parser.add_argument("--older-than", metavar="AGE", help="prune: models older than 30d, 12h ...")
    parser.add_argument("--keep", metavar="SIZE", help="prune: the newest up to 500M, 20G ...")
    parser.add_argument("--yes", action="store_true", help="prune: remove, not only show")
    parser.set_defaults(call=_store)


def _store(arguments: argparse.Namespace) -> int:
    store = Store(arguments.store)
    if not store.root.is_dir():
        raise InputError(f"no store at {store.root}; give --store DIR or set MIA_STORE")
    limits = (arguments.older_than, arguments.keep)
    if arguments.action != "prune" and (any(limits) or arguments.yes):
        raise InputError("--older-than, --keep and --yes go with prune")
    return {"list": _list, "verify": _verify, "prune": _prune}[arguments.action](store, arguments)


def _line(model: Stored) -> str:
    record = model.record
    changed = {k: v for k, v in record["config"].items() if k in ("epochs",)}
    settings = " ".join(f"{k}={v}" for k, v in changed.items())
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(model.written))
    return (
        f"{model.name}  {day}  {model.size / 2**20:8.1f} MB  {record['pool']}  "
        f"{record['architecture']}  {record['precision']}  {settings}"
    )


def _list(store: Store, arguments: argparse.Namespace) -> int:
    models = stored(store)
    for model in models:
        print(_line(model))
    total = sum(model.size for model in models)
    print(f"store: {len(models)} models, {total / 2**30:.2f} GB in {store.root}")
    return 0


def _verify(store: Store, arguments: argparse.Namespace) -> int:
    found = {name: damage(store, name) for name in store.names()}
    damaged = {name: line for name, line in found.items() if line}
    for name, line in damaged.items():
        print(f"{name}: {line}; remove {store.folder(name)} and it is trained again")
    print(f"store: {len(found) - len(damaged)} of {len(found)} models are whole")
    return 1 if damaged else 0


def _prune(store: Store, arguments: argparse.Namespace) -> int:
    if arguments.older_than is None and arguments.keep is None:
        raise InputError("mia store prune needs --older-than AGE or --keep SIZE")
    gone = to_prune(
        stored(store),
        older_than=arguments.older_than and parse_age(arguments.older_than),
        keep_bytes=arguments.keep and parse_size(arguments.keep),
        now=time.time(),
    )
    for model in gone:
        print(_line(model))
        if arguments.yes:
            remove(store, model.name)
    total = sum(model.size for model in gone) / 2**30
    outcome = "removed" if arguments.yes else "would be removed; add --yes"
    print(f"store: {len(gone)} models, {total:.2f} GB {outcome}")
    return 0
