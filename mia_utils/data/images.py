"""One image file as an RGB array."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

_FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI"),
    *("TGA", "TIFF", "WEBP"),
)
"""Pillow's formats that hold a picture and need no other program; of several frames, the first."""


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those of them that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """The endings (".jpg", lower case) of the image files that this Pillow reads."""
    from PIL import Image

    readable = _formats()
    endings = Image.registered_extensions().items()
    return frozenset(ending for ending, kind in endings if kind in readable)


def read_rgb(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 (H, W, 3), whatever the file's mode, upright by its EXIF orientation.

    Parameters
    ----------
    size : (width, height)
        To which it is resized (bilinear).

    Raises
    ------
    Exception
        Of many kinds, Pillow's on broken files.
    """
    from PIL import Image

    with Image.open(file, formats=_formats()) as image:
        image = _upright(image, deep=image.format in ("PNG", "PPM"))
    if size and image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image)


def _upright(image, *, deep: bool):
    """An RGB image; `deep`: a format whose 32-bit mode means 16 bits of grey."""
    from PIL import Image, ImageOps

    try:
        image = ImageOps.exif_transpose(image)
    except (KeyError, ValueError, TypeError, SyntaxError):  # a broken block of EXIF: as it lies
        pass
    # Pillow would clip what has more than 8 bits instead of scaling it.
    if image.mode.startswith("I;16") or (image.mode == "I" and deep):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode}); expected 8 or 16")
    if image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")
