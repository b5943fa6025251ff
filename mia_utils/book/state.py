"""What decides an executed chapter, as one value, and what has changed since one was executed.

`mia run`, `mia sweep`, `make book` and the banner on pages all ask here. An edit of prose, of a
comment or of a docstring decides nothing, nor does the tooling (`source.TOOLING`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from ..errors import InputError
from . import source
from .notebooks import code_cells, parameters
from .source import code_hash, package_hash, sha256


def decides(
    notebook: Mapping,
    values: Mapping,
    *,
    download: bool = False,
    recorded: Mapping | None = None,
) -> dict:
    """Everything that decides an execution, by part.

    Parameters
    ----------
    notebook : mapping
        The chapter.
    values : mapping
        All its parameters, read by `parameters.check`. `dataset` and `*_dataset` name
        data sets, `architecture` and `*_architecture` models, `records` a folder of records ("" for
        the published ones), `tables` published tables.
    download : bool
        Whether a data set that is not here may be downloaded. If not, it is left empty.
    recorded : mapping, optional
        An earlier value: a data set that is not here is believed to be what it was then, and the
        models those of the device that was asked for then.

    Returns
    -------
    dict
        `code`, `package` (the part that the code uses), `parameters`, `data`, `architectures` and
        `tables`, `private` where there are private models, and `device` where `MIA_DEVICE` names
        one; all of plain texts.

    Raises
    ------
    InputError
        If a data set, an architecture, the records or a table cannot be found or read, or
        `MIA_DEVICE` names no device.
    """
    cells = [cell["source"] for cell in code_cells(notebook)]
    earlier = (recorded or {}).get("data", {})
    return {
        "code": code_hash(cells),
        "package": package_hash(cells),
        "parameters": json.dumps(dict(values), sort_keys=True),
        "data": {n: _data(n, earlier.get(n), download) for n in _named(values, "dataset")},
        "architectures": {n: _architecture(n) for n in _named(values, "architecture")},
        "tables": _tables(values),
        **private_training(notebook),
        **_device(recorded),
    }


def private_training(notebook: Mapping) -> dict[str, str]:
    """`private`, the recipe of private training, if a chapter trains such models or reads records."""
    from ..training.accounting import RECIPE

    trains = any("DPConfig" in cell["source"] for cell in code_cells(notebook))
    return {"private": str(RECIPE)} if trains or "records" in parameters(notebook) else {}


def _device(recorded: Mapping | None) -> dict[str, str]:
    """`device`, if `MIA_DEVICE` chooses which models a chapter shows.

    What was executed does not become old where somebody looks at it with another setting.
    """
    from ..engine.place import asked_device

    device = asked_device() if recorded is None else recorded.get("device", "auto")
    return {} if device == "auto" else {"device": device}


def run_hash(parts: Mapping) -> str:
    """The name of a run (16 hex digits): the hash of what decides it."""
    return sha256(json.dumps(parts, sort_keys=True))[:16]


def changed(recorded: Mapping | None, now: Mapping) -> list[str]:
    """The names of the parts that are not what they were when a notebook was executed."""
    return [name for name, value in now.items() if (recorded or {}).get(name) != value]


def _named(values: Mapping, kind: str) -> list[str]:
    found = {v for k, v in values.items() if v and (k == kind or k.endswith(f"_{kind}"))}
    return sorted(found)


def _data(name: str, earlier: str | None, download: bool) -> str:
    from ..data.catalog import DOWNLOADED

    try:
        return _fingerprint(name, os.environ.get("MIA_DATA"), download)
    except InputError:
        if earlier is not None:
            return earlier
        if name in DOWNLOADED and not download:
            return ""
        raise


@lru_cache(maxsize=64)
def _fingerprint(name: str, root: str | None, download: bool) -> str:
    from ..data import load_dataset

    return load_dataset(name, root, download=download).fingerprint


def forget() -> None:
    """Look at all data sets and at the package anew: called where a command begins."""
    _fingerprint.cache_clear()
    source.forget()


def _architecture(name: str) -> str:
    if ":" not in name:
        return name
    from ..training.factory import factory_id, load_factory

    load_factory(name)  # a file that cannot be imported is said now
    return factory_id(name)


def _tables(values: Mapping) -> dict[str, str]:
    if "records" not in values and not values.get("tables"):
        return {}
    from ..experiments.records import published, run_files

    found = {}
    if "records" in values:
        folder = Path(values["records"] or published())
        found["records"] = _files_hash(run_files(folder))
    for name in values.get("tables", ()):
        path = published() / f"{name}.csv"
        if not path.is_file():
            raise InputError(f"no table {path}; `tables` names files of that folder without .csv")
        found[name] = _files_hash([path])
    return found


def _files_hash(paths: Iterable[Path]) -> str:
    return sha256(*(x for p in sorted(paths) for x in (p.name, p.read_text("utf-8"))))
