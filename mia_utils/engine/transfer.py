"""Models between machines as one file: a zip archive whose manifest has a checksum of every file.

Nothing in such a file is trusted. Names and sizes are looked at before anything is unpacked, the
content before anything is stored, and no path in the archive becomes a path on this disk.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.archive import DAMAGED
from ..errors import DiskError, InputError
from ..files import file_sha256, one_line_disk_errors, whole_file, whole_folder
from .folders import RECORD, damage, read_record
from .store import CHOICE, LOGITS, Store
from .weights import WEIGHTS, read_weights, weights_file

_FORMAT = "models of mia_utils, version 1"
_MANIFEST = "manifest.json"
_MANIFEST_MOST = 2**26  # bytes
_NAME = re.compile(r"[0-9a-f]{32}")
_FILES = frozenset([RECORD, LOGITS, *WEIGHTS])
_BLOCK = 2**20


# ---- out -----------------------------------------------------------------------------------------


def export_models(store: Store, path: str | os.PathLike, names: Sequence[str]) -> list[str]:
    """Write models, and the soft labels that they learned, into one new file.

    Parameters
    ----------
    names : sequence of str
        Models by name, or by how only one of the names begins; of a stack all base models.

    Returns
    -------
    list of str
        Their names, each once.

    Raises
    ------
    InputError
        If the file exists, a model is not there or is damaged, or the disk is full.
    """
    path = Path(path)
    if path.exists():
        what = "is a folder" if path.is_dir() else "exists"
        raise InputError(f"{path} {what}; choose another name for the file")
    chosen = find_models(store, names)
    if not chosen:
        raise InputError(f"{store.root} holds no model to export")
    files: dict[str, Path] = {}
    for name in chosen:
        if reason := store.damage(name):
            raise InputError(f"model {name} is damaged: {reason}; nothing was exported")
        folder = store.folder(name)
        for file in (RECORD, LOGITS, weights_file(folder)):
            files[f"models/{name}/{file}"] = folder / file
        if label := store.record(name)["config"].get("soft_labels"):
            store.soft_labels(label)  # whole, and there
            files[f"soft_labels/{label}.npy"] = store.soft_labels_path(label)
    facts = {
        inside: {"size": file.stat().st_size, "sha256": file_sha256(file)}
        for inside, file in files.items()
    }
    manifest = json.dumps({"format": _FORMAT, "files": facts}, indent=1)
    with one_line_disk_errors(path, "FILE"), whole_file(path) as partial:
        # Stored, not compressed: weights hardly shrink, and what unpacks is as large as it looks.
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_MANIFEST, manifest)
            for inside in files:
                archive.write(files[inside], inside)
    return chosen


def find_models(store: Store, names: Sequence[str]) -> list[str]:
    """The stored models that names, or their beginnings, stand for, each once.

    Raises
    ------
    InputError
        If one stands for none, or for several.
    """
    known, chosen = store.names(), []
    for given in (part for name in names for part in name.split("+")):
        fitting = [name for name in known if given and name.startswith(given)]
        if len(fitting) != 1:
            count = f"{len(fitting)} models begin with" if fitting else "no model is called"
            raise InputError(f"{count} {given!r} in {store.root}; `mia store list` shows the names")
        chosen += fitting
    return list(dict.fromkeys(chosen))


# ---- in ------------------------------------------------------------------------------------------


class _Refused(Exception):
    """Something that `export_models` does not write."""


_DAMAGED = (_Refused, *(kind for kind in DAMAGED if kind is not OSError))


def import_models(store: Store, path: str | os.PathLike) -> tuple[list[str], list[str]]:
    """Put the models of an exported file into a store.

    Returns
    -------
    (list of str, list of str)
        Names of the models that are new, and of those that were there already.

    Raises
    ------
    InputError
        If the file is missing, damaged or not one that `export_models` wrote, or the disk is full.
        No model of it has been stored then.
    """
    path = Path(path)
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except zipfile.BadZipFile as error:
        raise _refusal(path, error) from None
    with archive, one_line_disk_errors(store.root, CHOICE):
        store.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=store.root) as folder:
            try:
                files = _manifest(archive, path.stat().st_size)
                _check_space(store.root, files)
                _unpack(archive, files, Path(folder))
                models, labels = _checked(files, Path(folder))
            except DiskError:
                raise
            except OSError as error:
                if error.errno == errno.EINVAL:  # a place in the archive before its beginning
                    raise _refusal(path, error) from None
                raise
            except _DAMAGED as error:
                raise _refusal(path, error) from None
            return _put_all(store, models, labels)


def _refusal(path: Path, error: BaseException) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{path}: damaged, or not a file of `mia store export` ({reason}); nothing was imported"
    )


def _manifest(archive: zipfile.ZipFile, size: int) -> dict[str, dict]:
    """{path inside: size and sha256}, if the archive holds these files, and no others."""
    entries = {info.filename: info for info in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise _Refused("a name appears twice")
    if _MANIFEST not in entries or entries[_MANIFEST].file_size > _MANIFEST_MOST:
        raise _Refused(f"no {_MANIFEST}")
    for info in entries.values():
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise _Refused(f"{info.filename!r} is compressed")
    manifest = json.loads(archive.read(_MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise _Refused(f"expected the format {_FORMAT!r}")
    files = manifest.get("files")
    del entries[_MANIFEST]
    if not isinstance(files, dict) or not all(isinstance(f, dict) for f in files.values()):
        raise _Refused(f"{_MANIFEST} has no list of files")
    sizes = {inside: facts.get("size") for inside, facts in files.items()}
    if sizes != {inside: info.file_size for inside, info in entries.items()}:
        raise _Refused(f"it holds other files than its {_MANIFEST} says")
    if sum(sizes.values()) > size:
        raise _Refused("its files overlap")
    for inside in files:
        match inside.split("/"):
            case ["models", name, file] if _NAME.fullmatch(name) and file in _FILES:
                pass
            case ["soft_labels", file] if _NAME.fullmatch(file.removesuffix(".npy")):
                pass
            case _:
                raise _Refused(f"it holds {inside!r}")
    return files


def _check_space(root: Path, files: dict[str, dict]) -> None:
    needed, free = sum(facts["size"] for facts in files.values()), shutil.disk_usage(root).free
    if needed > free:
        raise DiskError(
            f"{root}: {needed / 2**30:.2f} GB are needed and {free / 2**30:.2f} GB are free; "
            f"free some, or choose another folder ({CHOICE})"
        )


def _unpack(archive: zipfile.ZipFile, files: dict[str, dict], folder: Path) -> None:
    for inside, facts in files.items():
        target = folder.joinpath(*inside.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        checksum = hashlib.sha256()
        with archive.open(inside) as source, open(target, "wb") as file:
            while block := source.read(_BLOCK):
                checksum.update(block)
                file.write(block)
        if checksum.hexdigest() != facts.get("sha256"):
            raise _Refused(f"{inside} has another checksum")


def _checked(files: dict[str, dict], folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Folders of the models and files of the soft labels, by name, if they are what they say."""
    models = {name: folder / "models" / name for name in _names(files, "models")}
    for name, model in models.items():
        present = {path.name for path in model.iterdir()}
        if present != {RECORD, LOGITS, weights_file(model)}:
            raise _Refused(f"model {name} is not complete")
        if reason := damage(model):
            raise _Refused(f"model {name}: {reason}")
        _check_arrays(name, model)
    labels = {
        Path(file).stem: folder / "soft_labels" / file for file in _names(files, "soft_labels")
    }
    for name in labels:
        Store(folder).soft_labels(name)
    return models, labels


def _names(files: dict[str, dict], kind: str) -> list[str]:
    return list(dict.fromkeys(i.split("/")[1] for i in files if i.startswith(f"{kind}/")))


def _check_arrays(name: str, folder: Path) -> None:
    """Logits and weights that can be read: no objects, no size that is only claimed."""
    logits = np.load(folder / LOGITS, mmap_mode="r", allow_pickle=False)
    classes = read_record(folder).get("classes")
    if logits.dtype != np.float32 or logits.ndim != 2 or logits.shape[1] != classes:
        raise _Refused(f"model {name}: its logits are {logits.dtype} {logits.shape}")
    weights = folder / weights_file(folder)
    if weights.suffix == ".npz":
        with zipfile.ZipFile(weights) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise _Refused(f"model {name}: its weights are compressed")
    read_weights(weights)


def _put_all(
    store: Store, models: dict[str, Path], labels: dict[str, Path]
) -> tuple[list[str], list[str]]:
    for name, path in labels.items():
        final = store.soft_labels_path(name)
        if not final.exists():
            with whole_file(final) as partial:
                os.replace(path, partial)
    new, known = [], []
    for name, folder in models.items():
        if store.folder(name).exists():
            if store.damage(name) is None:
                known.append(name)
                continue
            store.discard(name)
        with whole_folder(store.folder(name)) as partial:
            for path in folder.iterdir():
                os.replace(path, partial / path.name)
        new.append(name)
    return new, known
