"""Where models are trained, as their names say it: also on a machine that only reads them."""

from __future__ import annotations

import os

from ..errors import InputError


def named_device(device: str = "auto") -> str:
    """ "cpu" or "cuda". "auto" is $MIA_DEVICE, and if that is not set what this machine has.

    "cuda" needs no GPU here: the store may hold the models. `check_device` is for training.

    Raises
    ------
    InputError
        If the device is unknown.
    """
    from ..training.device import resolve_device

    if isinstance(device, str) and device == "auto":
        device = asked_device()
    return device if isinstance(device, str) and device == "cuda" else resolve_device(device)


def asked_device() -> str:
    """$MIA_DEVICE: "auto" (also where it is not set), "cpu" or "cuda".

    Raises
    ------
    InputError
        If it is anything else.
    """
    device = os.environ.get("MIA_DEVICE") or "auto"
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"MIA_DEVICE={device!r}; expected 'auto', 'cpu' or 'cuda'")
    return device


def named_precision(precision: str, device: str) -> str:
    """ "fp32" or "bf16"; "auto" on a GPU that is not here is "bf16".

    Raises
    ------
    InputError
        If the precision is unknown.
    """
    from ..training.device import resolve_precision

    asked = isinstance(precision, str) and precision == "auto"
    if asked and device == "cuda" and not has_cuda():
        return "bf16"
    return resolve_precision(precision, device)


def has_cuda() -> bool:
    """Whether torch sees a GPU here."""
    import torch

    return torch.cuda.is_available()
