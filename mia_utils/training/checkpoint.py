"""The state of an unfinished training on disk: whole, checked, or not there."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch

from ..files import whole_file

_DIGEST = 32  # bytes of SHA-256, before what they are of


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint: a kill leaves the old one or the new one. A full disk costs only it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    try:
        with whole_file(path) as unfinished:
            unfinished.write_bytes(hashlib.sha256(content).digest() + content)
    except OSError as error:
        reason = " ".join(str(error).split())
        warnings.warn(f"no checkpoint: {path} cannot be written ({reason})", stacklevel=3)


def load_checkpoint(path: Path | None, device: str) -> dict[str, Any] | None:
    """What was written last, or None: nothing was, or it is damaged and the training begins anew."""
    if path is None or not path.exists():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        warnings.warn(f"{path}: damaged, the training begins anew", stacklevel=3)
        return None
    return torch.load(io.BytesIO(content[_DIGEST:]), weights_only=True, map_location=device)
