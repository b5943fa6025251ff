"""`mia store list | verify | prune | export | import`: what the store holds, and moving it."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import fields

from ..engine.store import Store
from ..engine.tidy import Stored, leftovers, remains, remove, stored_models, to_prune
from ..errors import InputError
from ..training.config import DPConfig, TrainConfig
from .options import a_path

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0}
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


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


def _parse(text: str, units: Mapping[str, float], expected: str) -> float:
    try:
        value = float(text[:-1]) * units[text[-1]]
    except (ValueError, KeyError, IndexError):
        raise InputError(f"{text!r} was given; expected {expected}") from None
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{text!r} was given; expected {expected}, finite and not negative")
    return value


def add_store(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, summary: str, call) -> argparse.ArgumentParser:
        command = actions.add_parser(name, help=summary, description=summary)
        command.add_argument("--store", type=a_path, metavar="DIR", help="else MIA_STORE")
        command.set_defaults(call=call)
        return command

    action("list", "one line a model, and what there is besides", _list)
    action("verify", "compare every file with its checksum", _verify)
    prune = action("prune", "remove old models, leftovers, and what killed runs left", _prune)
    prune.add_argument("--older-than", metavar="AGE", help="what is older than 30d, 12h ...")
    prune.add_argument(
        "--keep", metavar="SIZE", help="leave up to 500M, 20G ..., the newest models"
    )
    prune.add_argument("--damaged", action="store_true", help="models that verify finds damaged")
    prune.add_argument("--yes", action="store_true", help="remove, not only show")
    export = action("export", "models as one file, for another machine", _export)
    export.add_argument("file", type=a_path, metavar="FILE")
    export.add_argument("names", nargs="*", metavar="NAME", help="models, or how names begin")
    export.add_argument("--all", action="store_true", help="every model of the store")
    importing = action("import", "put the models of such a file into the store", _import)
    importing.add_argument("file", type=a_path, metavar="FILE")


def _opened(arguments: argparse.Namespace) -> Store:
    store = Store(arguments.store)
    if not store.root.is_dir():
        raise InputError(f"no store at {store.root}; give --store DIR or set MIA_STORE")
    return store


def _line(item: Stored) -> str:
    """One line that no two models share."""
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(item.written))
    start = f"{item.name}  {day}  {_amount(item.size):>10}"
    if item.kind != "model":
        return f"{start}  {item.kind}"
    record = item.record
    if not record:
        return f"{start}  record.json cannot be read"
    seed = record.get("base_seed", record.get("seed"))
    words = [
        *(str(record.get(key, "?")) for key in ("pool", "architecture", "precision", "device")),
        f"seed={seed}",
        f"members={record.get('members', '?')}",
        *_changed_settings(record.get("config") or {}),
    ]
    return f"{start}  {'  '.join(words)}"


def _changed_settings(config: dict) -> list[str]:
    """The settings that are not the defaults; the epochs always."""
    changed = _beside(config, TrainConfig, epochs=None)
    private = _beside(changed.pop("dp", None) or {}, DPConfig)
    return [f"{k}={v}" for k, v in changed.items()] + [f"dp.{k}={v}" for k, v in private.items()]


def _beside(settings: dict, kind: type, **other) -> dict:
    """The settings that differ from the defaults of a configuration."""
    plain = {field.name: field.default for field in fields(kind)} | other
    return {k: v for k, v in settings.items() if k not in plain or v != plain[k]}


def _list(arguments: argparse.Namespace) -> int:
    store = _opened(arguments)
    models = stored_models(store)
    for model in models:
        print(_line(model))
    total = sum(model.size for model in models)
    print(f"store: {len(models)} models, {_amount(total)} in {store.root}")
    rest = leftovers(store) + remains(store, time.time())
    if rest:
        print(
            f"store: {len(rest)} other things, {_amount(sum(item.size for item in rest))}, that "
            "`mia store prune` can remove"
        )
    return 0


def _amount(size: int) -> str:
    """Bytes in the unit that shows them."""
    for unit, factor in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} bytes"


def _verify(arguments: argparse.Namespace) -> int:
    store = _opened(arguments)
    names = store.names()
    damaged = {name: reason for name in names if (reason := store.damage(name))}
    for name, reason in damaged.items():
        print(f"{name}: {reason}; remove {store.folder(name)} and it is trained again")
    hint = "; `mia store prune --damaged --yes` removes the others" if damaged else ""
    print(f"store: {len(names) - len(damaged)} of {len(names)} models are whole{hint}")
    return 1 if damaged else 0


def _prune(arguments: argparse.Namespace) -> int:
    store, now = _opened(arguments), time.time()
    older_than = None if arguments.older_than is None else parse_age(arguments.older_than)
    keep_bytes = None if arguments.keep is None else parse_size(arguments.keep)
    if older_than is None and keep_bytes is None and not arguments.damaged:
        raise InputError("mia store prune needs --older-than AGE, --keep SIZE or --damaged")
    models = stored_models(store)
    damaged = [m for m in models if arguments.damaged and store.damage(m.name)]
    rest = [*leftovers(store), *(model for model in models if model not in damaged)]
    gone = [
        *remains(store, now),
        *damaged,
        *to_prune(rest, now=now, older_than=older_than, keep_bytes=keep_bytes),
    ]
    for item in gone:
        print(_line(item))
        if arguments.yes:
            remove(item)
    count = sum(item.kind == "model" for item in gone)
    besides = f" and {len(gone) - count} other things" if len(gone) > count else ""
    outcome = "removed" if arguments.yes else "would be removed; add --yes"
    print(f"store: {count} models{besides}, {_amount(sum(i.size for i in gone))} {outcome}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from ..engine.transfer import export_models

    store = _opened(arguments)
    if arguments.all == bool(arguments.names):
        raise InputError("mia store export FILE needs names of models, or --all")
    names = store.names() if arguments.all else arguments.names
    written = export_models(store, arguments.file, names)
    size = _amount(arguments.file.stat().st_size)
    print(f"store: {len(written)} models in {arguments.file} ({size})")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from ..engine.transfer import import_models

    store = Store(arguments.store)
    new, known = import_models(store, arguments.file)
    print(f"store: {len(new)} models imported into {store.root}, {len(known)} were there")
    return 0
