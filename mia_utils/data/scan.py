"""What lies in an image folder: the files that count, and those that are left alone."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, printable
from .archive import disk_reason
from .images import suffixes

SPLITS = ("train", "test", "val", "valid", "validation")
"""Folders of class folders; all but the first are held out."""
_HELPERS = ("__MACOSX", "@eaDir")
"""Folders that archivers and disks leave behind."""
_NO_IMAGE = frozenset(
    (".csv", ".db", ".htm", ".html", ".ini", ".json", ".log", ".md", ".mat", ".npy", ".py")
    + (".tsv", ".txt", ".url", ".xml", ".yaml", ".yml")
)
"""Endings of files that accompany images and are none."""


@dataclass(frozen=True)
class Listing:
    """The image files of a folder, sorted by split, class and path.

    Parameters
    ----------
    files : list of Path (N)
    labels : int64 (N,)
    train : bool (N,)
    classes : list of str
    state : str
        Hash of every file's path, size and time of change.
    left_out : dict of (split, class) to Counter of str
        Files of class folders that are no readable image, by ending (".heic").
    outside : Counter of str
        Images outside of every class folder, by split.
    """

    files: list[Path]
    labels: np.ndarray
    train: np.ndarray
    classes: list[str]
    state: str
    left_out: dict[tuple[str, str], Counter[str]]
    outside: Counter[str]

    def left_out_kinds(self) -> Counter[str]:
        """Files left out of all class folders, by ending."""
        return sum(self.left_out.values(), Counter())

    def warnings(self) -> Iterator[str]:
        """One line for each kind of file that somebody might miss in the pool."""
        missed = {kind: n for kind, n in self.left_out_kinds().items() if kind not in _NO_IMAGE}
        if missed:
            yield f"left out, since it cannot be read here as an image: {kinds(missed)}"
        if self.outside["train"]:
            yield f"left out, since it is in no class folder of train/: {self.outside['train']}"

    def check(self, folder: Path) -> None:
        """Refuse a listing that gives no pool.

        Raises
        ------
        InputError
            If there is no image at all, or a class has none in train/.
        """
        if not self.train.any():
            there = self.left_out_kinds()
            raise InputError(
                f"{folder / 'train'}: no images; expected {folder.name}/train/CLASS/IMAGE.png"
                + (f" (there are {kinds(there)})" if there else "")
            )
        with_images = {self.classes[label] for label in self.labels[self.train]}
        for (split, name), counts in self.left_out.items():
            if split == "train" and name not in with_images:
                raise InputError(
                    f"{folder / split}: class {name!r} has no image that can be read here (it "
                    f"holds {kinds(counts) if counts else 'nothing'}); convert its images to PNG "
                    "or JPEG, or move the folder away"
                )
        for name in self.classes:
            if name not in with_images:
                raise InputError(
                    f"{folder}: class {name!r} is in test/ or val/ but not in train/; "
                    "move that folder away, or rename it"
                )


def kinds(counts: dict[str, int]) -> str:
    """
    >>> kinds({".heic": 12, "": 1})
    '12 .heic, 1 without an ending'
    """
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {printable(kind) or 'without an ending'}" for kind, count in most)


def scan(folder: Path) -> Listing:
    """Look through FOLDER/train/CLASS, and test/, val/, valid/, validation/ if they are there.

    A class folder is walked with all that is below it (CLASS/2021/a.png is of class CLASS). Links
    are followed. Hidden files are left alone, without a count. Without any image the listing is
    empty; `check` says what is wrong with one.

    Raises
    ------
    InputError
        If a folder cannot be read, a link leads to where it lies, or the classes of two folders
        could not be told apart.
    """
    found: list[tuple[str, str, Path]] = []
    left_out: dict[tuple[str, str], Counter[str]] = {}
    outside: Counter[str] = Counter()
    digest = hashlib.sha256()
    for split in SPLITS:
        by_class, outside[split] = _class_folders(folder / split)
        for name, root in by_class.items():
            counts = left_out.setdefault((split, name), Counter())
            for path, status in _walk(root, ()):
                kind = path.suffix.lower()
                if kind not in suffixes():
                    counts[kind] += 1
                    continue
                found.append((split, name, path))
                times = (status.st_size, status.st_mtime_ns) if status else ()
                inside = os.fsencode(path.relative_to(folder).as_posix())
                digest.update(b"%s\0%r\0" % (inside, times))
    classes = sorted({name for _, name, _ in found})
    number = {name: label for label, name in enumerate(classes)}
    return Listing(
        [path for _, _, path in found],
        np.array([number[name] for _, name, _ in found], dtype=np.int64),
        np.array([split == "train" for split, _, _ in found], dtype=bool),
        classes,
        digest.hexdigest(),
        left_out,
        outside,
    )


def _class_folders(split: Path) -> tuple[dict[str, Path], int]:
    """Class folders by class, in the order of their names; and how many images lie beside them."""
    by_class: dict[str, Path] = {}
    images = 0
    for entry in _entries(split) if split.is_dir() else ():
        if not entry.is_dir():
            images += entry.is_file() and Path(entry.name).suffix.lower() in suffixes()
            continue
        name = _class_name(entry.name)
        if name in by_class:
            raise InputError(
                f"{printable(str(split))}: two class folders are both called {name!r} once what "
                "cannot be printed is escaped; rename one"
            )
        by_class[name] = split / entry.name
    return dict(sorted(by_class.items())), images


def _walk(
    folder: Path, above: tuple, link: Path | None = None
) -> Iterator[tuple[Path, os.stat_result | None]]:
    """The files below a folder, sorted within each; None for the status of a broken link."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    link = folder if folder.is_symlink() else link
    if here in above:
        raise InputError(
            f"{printable(str(link))}: a link that leads back to where it lies; remove it"
        )
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_dir():
            yield from _walk(path, (*above, here), link)
        elif entry.is_file():
            yield path, entry.stat()
        elif entry.is_symlink():
            yield path, None


def _entries(folder: Path) -> list[os.DirEntry]:
    """What is in a folder and not hidden, by name."""
    try:
        with os.scandir(folder) as entries:
            shown = [e for e in entries if not e.name.startswith(".") and e.name not in _HELPERS]
    except OSError as error:
        raise InputError(f"{printable(str(folder))}: {disk_reason(error)}") from None
    return sorted(shown, key=lambda entry: entry.name)


def _class_name(folder: str) -> str:
    """The folder's name, read as UTF-8 whatever the locale."""
    return printable(os.fsencode(folder).decode("utf-8", "backslashreplace"))
