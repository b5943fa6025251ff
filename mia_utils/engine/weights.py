"""A model's weights as a file: safetensors, or NumPy's archive where that library is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

WEIGHTS = ("weights.safetensors", "weights.npz")
"""The file's names; the second is also that of older stores."""


def write_weights(folder: Path, weights: dict[str, Any]) -> None:
    """Write a model's state, arrays by parameter name, into one file of the folder."""
    try:
        from safetensors.numpy import save
    except ImportError:  # a bare machine with torch and NumPy can train, too
        np.savez(folder / WEIGHTS[1], **weights)
        return
    tensors = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    (folder / WEIGHTS[0]).write_bytes(save(tensors))


def weights_file(folder: Path) -> str:
    """Name of the folder's file of weights; of a new one where there is none."""
    return next((name for name in WEIGHTS if (folder / name).exists()), WEIGHTS[0])


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Arrays by parameter name.

    Raises
    ------
    InputError
        If the file needs a library that is not there.
    ValueError
        If it is damaged.
    """
    if path.name == WEIGHTS[1]:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise InputError(f"{path} needs a library: pip install safetensors") from None
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: {error}") from None
