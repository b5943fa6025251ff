"""Image folders (`ROOT/NAME/train/CLASS/*`, with test/ or val/) decoded once into an archive."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError, printable
from .archive import Source, disk_reason, one_line, read_archive, read_source, write_archive
from .images import read_rgb
from .memory import check_memory
from .pool import Pool
from .scan import Listing, scan

_TASK = 256
"""Images that one task of a worker decodes."""
_SHOWN = 5
"""Damaged images that a message names."""


def read_folder(
    folder: str | Path,
    archive: str | Path,
    *,
    size: int | None = None,
    on_damaged: str = "error",
    jobs: int | None = None,
) -> Pool:
    """The pool of an image folder: from its archive if that is of this state of it, else decoded.

    Every image becomes RGB, upright by its EXIF orientation. Classes and files are in alphabetical
    order. Class folders of test/, val/, valid/ and validation/ are held out (`train` False);
    without class folders (a competition's unlabelled test images) they are left alone. Files that
    are no readable images are counted in a warning.

    Parameters
    ----------
    folder : path with `train/CLASS/*`
    archive : path of the .npz, written whole or not at all
    size : int
        Every image is resized (bilinear) to size x size. Default: as in the archive, else all
        must have one size.
    on_damaged : "error" or "skip"
    jobs : int
        Processes, default one for each core.

    Raises
    ------
    InputError
        If a class has no image, one is damaged or of another size, or the archive cannot be
        written.
    """
    folder, archive = Path(folder), Path(archive)
    listing = scan(folder)
    if archive.exists():
        kept = read_source(archive)
        if kept is None or not listing.train.any() or kept.state == listing.state:
            pool = read_archive(archive)
            if kept is None:
                _compare(pool, listing, folder)
            return pool
        warnings.warn(
            f"{folder} has changed since {archive.name} was written ({kept.images:,} images in "
            f"{kept.classes:,} classes then, {len(listing.files):,} in {len(listing.classes):,} "
            "now): decoded anew",
            stacklevel=4,
        )
        size = size or kept.size
    listing.check(folder)
    for line in listing.warnings():
        warnings.warn(f"{folder}: {line}", stacklevel=4)
    return _decode_all(folder, listing, archive, size, on_damaged, jobs)


def _compare(pool: Pool, listing: Listing, folder: Path) -> None:
    """Warn of an archive that lies beside a folder which it does not seem to come from."""
    there = (len(listing.files), len(listing.classes))
    if listing.train.any() and there != (len(pool), len(pool.classes)):
        warnings.warn(
            f"{pool.path} has {len(pool):,} records in {len(pool.classes):,} classes, the folder "
            f"{folder.name} beside it {there[0]:,} in {there[1]:,}, and nothing tells that one "
            "was made from the other: the archive is used (rename it to have the folder decoded)",
            stacklevel=5,
        )


def _decode_all(
    folder: Path,
    listing: Listing,
    archive: Path,
    size: int | None,
    on_damaged: str,
    jobs: int | None,
) -> Pool:
    files = listing.files
    shape = (size, size) if size else _first_size(files)
    check_memory(
        len(files) * shape[0] * shape[1] * 3,
        f"{folder}: {len(files):,} images of {shape[1]} x {shape[0]} pixels",
        "resize them (size=, mia data make --size)",
    )
    records = np.empty((len(files), *shape, 3), dtype=np.uint8)
    damaged: dict[int, str] = {}
    filled = 0
    for start, images, bad, other in _decoded(files, shape, size is not None, folder.name, jobs):
        if other:
            index, (height, width) = other
            raise InputError(
                f"{printable(str(files[start + index]))}: {width} x {height} pixels, the first "
                f"image has {shape[1]} x {shape[0]}; pass size= (mia data make --size) to resize "
                "all to one size"
            )
        damaged |= {start + index: reason for index, reason in bad}
        records[filled : filled + len(images)] = images
        filled += len(images)
    if damaged:
        _report(files, damaged, error=on_damaged == "error" or not filled)
    kept = np.delete(np.arange(len(files)), list(damaged))
    lost = set(range(len(listing.classes))).difference(listing.labels[kept][listing.train[kept]])
    if lost:
        raise InputError(
            f"{folder}: all training images of class {listing.classes[min(lost)]!r} are damaged; "
            "replace them, or move the folder away"
        )
    pool = Pool.from_arrays(
        folder.name, records[:filled], listing.labels[kept], listing.classes, listing.train[kept]
    )
    left_out = tuple(printable(files[i].relative_to(folder).as_posix()) for i in damaged)
    source = Source(listing.state, len(files), len(listing.classes), size, left_out)
    return write_archive(pool, archive, source=source)


def _report(files: list[Path], damaged: dict[int, str], *, error: bool) -> None:
    """Refuse damaged images, or name them in a warning."""
    first = list(damaged.items())[:_SHOWN]
    names = ", ".join(f"{printable(str(files[index]))} ({reason})" for index, reason in first)
    names += f" and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
    if error:
        raise InputError(
            f"{len(damaged)} damaged of {len(files)} images: {names}; replace them, or leave "
            "them out with on_damaged='skip' (mia data make --skip-damaged)"
        )
    warnings.warn(f"{len(damaged)} damaged images left out: {names}", stacklevel=6)


def _first_size(files: list[Path]) -> tuple[int, int]:
    """(height, width) of the first image that can be opened."""
    for file in files:
        try:
            return read_rgb(file).shape[:2]
        except Exception:  # damaged: reported with the others, once all are read
            continue
    raise InputError(f"{files[0]}: damaged, as are all {len(files)} images of this folder")


def _decoded(
    files: list[Path], shape: tuple[int, int], resize: bool, name: str, jobs: int | None
) -> Iterator[tuple[int, np.ndarray, list[tuple[int, str]], tuple | None]]:
    """In the files' order: (start, images, damaged, first one of another size)."""
    from joblib import Parallel, cpu_count, delayed
    from tqdm.auto import tqdm

    starts = range(0, len(files), _TASK)
    jobs = min(jobs or cpu_count(), len(starts))
    backend = "loky" if jobs > 1 else "sequential"
    tasks = (delayed(_decode)(files[start : start + _TASK], shape, resize) for start in starts)
    done = Parallel(jobs, backend=backend, return_as="generator", batch_size=1)(tasks)
    with tqdm(total=len(files), desc=f"decoding {name}", unit=" images") as bar:
        for start, result in zip(starts, done, strict=True):
            bar.update(min(_TASK, len(files) - start))
            yield start, *result


def _decode(files: list[Path], shape: tuple[int, int], resize: bool):
    images = np.empty((len(files), *shape, 3), dtype=np.uint8)
    damaged, filled = [], 0
    for index, file in enumerate(files):
        try:
            image = read_rgb(file, shape[::-1] if resize else None)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise many kinds on broken files
            damaged.append((index, _reason(error)))
            continue
        if image.shape[:2] != shape:
            return images[:filled], damaged, (index, image.shape[:2])
        images[filled] = image
        filled += 1
    return images[:filled], damaged, None


def _reason(error: Exception) -> str:
    """A few words on why a file cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return disk_reason(error)
    if type(error).__name__ == "UnidentifiedImageError":
        return "no image"
    return printable(one_line(error))[:80]
