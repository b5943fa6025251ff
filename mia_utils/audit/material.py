"""The records that a model is asked about: an image folder, an archive, a table of features."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.images import read_rgb, suffixes
from ..data.memory import check_memory
from ..data.pool import Pool
from ..errors import InputError
from ..naming import class_numbers
from ..text_tables import UNNAMED
from .tables import IDS, LABELS, MEMBERS, Table, read_array, read_table, sha256

_SPLITS = ("train", "test", "val", "valid", "validation")


@dataclass(frozen=True)
class Material:
    """Records with their labels, and what each is called.

    Parameters
    ----------
    pool : Pool
    ids : str (N,)
    groups : dict from column to str (N,)
    sources : tuple of (file name, SHA-256)
    members : (N,) or None
        What an archive or a table says of membership, as it stands there.
    """

    pool: Pool
    ids: np.ndarray
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    sources: tuple[tuple[str, str], ...] = ()
    members: np.ndarray | None = None


def read_material(
    path: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    groups: Sequence[str] = (),
    size: int | None = None,
) -> Material:
    """Records to ask a model about.

    Parameters
    ----------
    path : folder, .npz, .csv or .parquet
        A folder holds `CLASS/*.png`, or `train/CLASS/*.png` and `test/CLASS/*.png`; a record's id is its
        path in it. An archive holds `images` or `features`, `labels`, and if there `ids`, `members`
        and `classes`. A table has a column `label`, maybe `id`, `member` and `group_NAME`; all
        other columns are features, numbers.
    classes : sequence of str, optional
        Names in the order of the model's outputs; by default the sorted names of labels. Numbers
        are names, too, where they do not count from 0: labels 1 and 2, or -1 and 1.
    groups : columns of a table that group records; they are no features then.
    size : int, optional
        Side in pixels to which images of a folder are resized.

    Raises
    ------
    InputError
        If there is nothing to read, or it has no meaning.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path, classes, size)
    table = read_table(path, texts=groups)
    sources = ((path.name, sha256(path)),)
    archive = path.suffix.lower() == ".npz"
    return (_archive if archive else _table)(path, table, classes, groups, sources)


def read_members(path: str | os.PathLike) -> np.ndarray:
    """Ids of members from .txt (one a line), or a mask or ids from .npy."""
    return np.asarray(read_array(path))


def _archive(path, table: Table, classes, groups, sources) -> Material:
    records = [name for name in ("images", "features") if name in table]
    labels = next((table[name] for name in LABELS if name in table), None)
    if len(records) != 1 or labels is None:
        raise InputError(
            f"{path} holds {', '.join(sorted(table)) or 'nothing'}; expected labels and one of "
            "images and features"
        )
    if "classes" in table and classes is None:
        classes = [str(name) for name in table["classes"].ravel()]
    chosen = {
        name.removeprefix("group_"): values
        for name, values in table.items()
        if name.startswith("group_") or name in groups
    }
    ids = next((table[name] for name in IDS if name in table), None)
    members = next((table[name] for name in MEMBERS if name in table), None)
    return _material(path, table[records[0]], labels, ids, classes, chosen, sources, members)


def _table(path, table: Table, classes, groups, sources) -> Material:
    labels = next((name for name in LABELS if name in table), None)
    if labels is None:
        raise InputError(f"{path} has the columns {', '.join(table)}; expected also label")
    absent = [name for name in groups if name not in table]
    if absent:
        raise InputError(f"{path} has no column {absent[0]!r}; it has {', '.join(table)}")
    ids = next((name for name in IDS if name in table), None)
    members = next((name for name in MEMBERS if name in table), None)
    grouping = [name for name in table if name.startswith("group_") or name in groups]
    features = [name for name in table if name not in (labels, ids, members, *grouping)]
    nameless = [name for name in features if name.startswith(UNNAMED)]
    if nameless:
        raise InputError(
            f"{path}: a column has no name ({nameless[0]}); give it one if it is a feature, else remove it"
        )
    texts = [name for name in features if table[name].dtype.kind not in "fiub"]
    if texts:
        raise InputError(
            f"{path}: column {texts[0]!r} holds texts; code it as numbers, or name it with "
            f"--groups {texts[0]} to leave it out of the features"
        )
    if not features:
        raise InputError(f"{path} has no column of features beside {', '.join(table)}")
    values = np.stack([table[name].astype(np.float64) for name in features], axis=1)
    if (missing := ~np.isfinite(values)).any():
        row, column = np.argwhere(missing)[0]
        raise InputError(
            f"{path}: column {features[column]!r} has no number in record {row} ({missing.sum():,} "
            "such values); fill them in, or leave the column or the records out"
        )
    chosen = {name.removeprefix("group_"): table[name] for name in grouping}
    told = [None if name is None else table[name] for name in (ids, members)]
    return _material(path, values, table[labels], told[0], classes, chosen, sources, told[1])


def _material(path, records, labels, ids, classes, groups, sources, members) -> Material:
    labels, classes = _named(np.asarray(labels), classes)
    try:
        numbers = class_numbers(labels, classes)
        pool = Pool.from_arrays(path.stem, records, numbers, classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    ids = np.arange(len(pool)) if ids is None else np.asarray(ids)
    if ids.shape != (len(pool),) or np.unique(ids).size != ids.size:
        raise InputError(f"{path}: ids have shape {ids.shape} or repeat; expected one a record")
    texts = {name: np.asarray(values).astype(str) for name, values in groups.items()}
    return Material(pool, ids.astype(str), texts, sources, members)


def _named(labels: np.ndarray, classes: Sequence[str] | None):
    """Labels as names where they are no places in a list of classes, and that list."""
    if labels.ndim != 1 or not labels.size:
        return labels, classes
    if labels.dtype.kind in "US":
        return labels, sorted(set(labels.astype(str).tolist())) if classes is None else classes
    whole = labels.dtype.kind in "iu" or (
        labels.dtype.kind == "f" and (labels == np.rint(labels)).all()
    )
    if not whole:
        return labels, classes
    labels = labels.astype(np.int64)
    if classes is None:
        if labels.min() == 0:
            return labels, None
        classes = [str(number) for number in np.unique(labels)]
    numbers = [re.fullmatch(r"-?[0-9]+", str(name)) for name in classes]
    return (labels.astype(str) if all(numbers) else labels), classes


# ---- image folders -------------------------------------------------------------------------------


def _folder(folder: Path, classes, size: int | None) -> Material:
    root = folder.resolve()
    found: list[tuple[str, Path]] = []
    for entry in _folders(folder):
        inner = _folders(entry) if entry.name in _SPLITS else []
        for group in inner or [entry]:  # a class may be called "train"
            found += [(group.name, file) for file in _images(group, root)]
    if not found:
        raise InputError(f"{folder}: no images; expected {folder.name}/CLASS/IMAGE.png")
    names = sorted({name for name, _ in found}) if classes is None else list(classes)
    labels = class_numbers(np.array([name for name, _ in found]), names)
    ids = np.array([file.relative_to(folder).as_posix() for _, file in found])
    first = _read(found[0][1], None)
    shape = (size, size) if size else first.shape[:2]
    check_memory(
        len(found) * shape[0] * shape[1] * 3, f"{folder}: {len(found):,} images", "pass --size"
    )
    records = np.empty((len(found), *shape, 3), np.uint8)
    for row, (_, file) in enumerate(found):
        image = _read(file, size)
        if image.shape[:2] != shape:
            raise InputError(
                f"{file}: {image.shape[1]} x {image.shape[0]} pixels, the first image has "
                f"{shape[1]} x {shape[0]}; pass --size to resize all to one size"
            )
        records[row] = image
    return Material(Pool.from_arrays(folder.name, records, labels, names), ids)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name))


def _hidden(name: str) -> bool:
    """Is it what a system or a notebook keeps beside files: ._1.png, .ipynb_checkpoints, __MACOSX?"""
    return name.startswith((".", "__MACOSX"))


def _images(folder: Path, root: Path) -> list[Path]:
    files = []
    for path in sorted(folder.rglob("*")):
        if any(map(_hidden, path.relative_to(folder).parts)):
            continue
        if path.suffix.lower() not in suffixes() or not path.is_file():
            continue
        if not path.resolve().is_relative_to(root):
            raise InputError(
                f"{path}: a link that leads out of {root.name}; copy the image there, or remove it"
            )
        files.append(path)
    return files


def _read(file: Path, size: int | None) -> np.ndarray:
    try:
        return read_rgb(file, (size, size) if size else None)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"{file}: damaged ({' '.join(str(error).split())[:80] or type(error).__name__}); "
            "replace it, or take it out"
        ) from None
