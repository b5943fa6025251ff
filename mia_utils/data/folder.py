"""Image folders (`ROOT/NAME/train/CLASS/*`, with test/ or val/) decoded once into an archive."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ..errors import InputError
from .archive import write_archive
from .pool import Pool

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
)
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
    """Decode every image to RGB, in parallel, and write `archive`, whole or not at all.

    Classes and files are read in alphabetical order; hidden files and other kinds are left alone.
    Class folders of test/ and val/ are held out (`train` False); without class folders (a
    competition's unlabelled test images) they are left alone.

    Parameters
    ----------
    folder : path with `train/CLASS/*`
    archive : path of the .npz
    size : int
        Every image is resized (bilinear) to size x size. Default: all must have one size.
    on_damaged : "error" or "skip"
    jobs : int
        Processes, default one for each core.

    Raises
    ------
    InputError
        If there is no image, one is damaged or of another size, or the archive cannot be written.
    """
    folder = Path(folder)
    files, labels, train, classes = _scan(folder)
    shape = (size, size) if size else _first_size(files)
    records = np.empty((len(files), *shape, 3), dtype=np.uint8)
    damaged: list[int] = []
    filled = 0
    for start, images, bad, other in _decoded(files, shape, size is not None, folder.name, jobs):
        if other:
            index, (height, width) = other
            raise InputError(
                f"{files[start + index]}: {width} x {height} pixels, the first image has "
                f"{shape[1]} x {shape[0]}; pass size= (--size) to resize all to one size"
            )
        damaged += [start + index for index in bad]
        records[filled : filled + len(images)] = images
        filled += len(images)
    if damaged:
        names = ", ".join(str(files[index]) for index in damaged[:_SHOWN])
        names += f" and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
        if on_damaged == "error" or not filled:
            raise InputError(
                f"{len(damaged)} damaged of {len(files)} images: {names}; replace them, "
                "or leave them out with on_damaged='skip' (--skip-damaged)"
            )
        warnings.warn(f"{len(damaged)} damaged images left out: {names}", stacklevel=4)
    kept = np.delete(np.arange(len(files)), damaged)
    pool = Pool.from_arrays(folder.name, records[:filled], labels[kept], classes, train[kept])
    return write_archive(pool, archive)


def _scan(folder: Path) -> tuple[list[Path], np.ndarray, np.ndarray, list[str]]:
    """Every image file, its label, whether it is in train/, and the classes."""
    found = [
        (split == "train", path.name, image)
        for split in ("train", "test", "val")
        for path in _visible(folder / split)
        if path.is_dir()
        for image in _visible(path)
        if image.suffix.lower() in SUFFIXES and image.is_file()
    ]
    classes = sorted({name for in_train, name, _ in found if in_train})
    if not classes:
        raise InputError(
            f"{folder / 'train'}: no images; expected {folder.name}/train/CLASS/IMAGE.png"
        )
    unknown = {name for _, name, _ in found}.difference(classes)
    if unknown:
        raise InputError(
            f"{folder}: class {min(unknown)!r} is in test/ or val/ but not in train/; "
            "move that folder away, or rename it"
        )
    number = {name: label for label, name in enumerate(classes)}
    labels = np.array([number[name] for _, name, _ in found], dtype=np.int64)
    train = np.array([in_train for in_train, _, _ in found])
    return [image for _, _, image in found], labels, train, classes


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _first_size(files: list[Path]) -> tuple[int, int]:
    """(height, width) of the first image that can be opened."""
    for file in files:
        try:
            return _rgb(file).shape[:2]
        except Exception:  # damaged: reported with the others, once all are read
            continue
    raise InputError(f"{files[0]}: damaged, as are all {len(files)} images of this folder")


def _decoded(files: list[Path], shape: tuple[int, int], resize: bool, name: str, jobs: int | None):
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
            image = _rgb(file, shape[::-1] if resize else None)
        except MemoryError:
            raise
        except Exception:  # Pillow's readers raise many kinds on broken files
            damaged.append(index)
            continue
        if image.shape[:2] != shape:
            return images[:filled], damaged, (index, image.shape[:2])
        images[filled] = image
        filled += 1
    return images[:filled], damaged, None


def _rgb(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 (H, W, 3), whatever the file's mode; `size` is (width, height)."""
    from PIL import Image

    with Image.open(file) as image:
        if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey instead of scaling it
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode == "P":
            image = image.convert("RGBA")
        image = image.convert("RGB")
    if size and image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image)
