"""Where and in which precision a model is trained: resolved once, before a model is named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .. import arguments
from ..errors import InputError
from .generators import seeded

PRECISIONS = ("fp32", "bf16", "auto")


def resolve_device(device: str) -> str:
    """ "auto" to "cuda" where there is one, else "cpu".

    Raises
    ------
    InputError
        If the device is unknown or not there.
    """
    arguments.one_of("device", device, ("auto", "cpu", "cuda"))
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda', but torch sees no CUDA device here; use 'auto' or 'cpu'")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """ "auto" to "bf16" where the processor multiplies bf16 natively, else "fp32"."""
    arguments.one_of("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if _multiplies_bf16() else "fp32"


def _multiplies_bf16() -> bool:
    """Whether the processor itself multiplies bf16: emulated, it is slower than fp32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


_inside = 0
_outside = 1
_lock = threading.Lock()
"""Of the threads that are inside `one_thread`: how many they are, and what there was before."""


@contextmanager
def one_thread() -> Iterator[None]:
    """This thread's work is its own: no helper threads, no denormal numbers; both given back.

    Moments of units that have died shrink at every step until they are denormal (below 1e-38),
    where a processor takes many times as long. They count as zero here: beside
    Adam's epsilon of 1e-8 they change no weight.

    Torch keeps both settings thread by thread, but a thread that is new to torch starts with the
    number that was set last, whoever set it: what is given back is what there was before the first
    of several threads came in.
    """
    global _inside, _outside
    with _lock:
        if _inside == 0:
            _outside = torch.get_num_threads()
        _inside += 1
        before, flushed = _outside, _flushes_denormals()
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            torch.set_flush_denormal(flushed)
            torch.set_num_threads(before)


@contextmanager
def alone(seed: int) -> Iterator[None]:
    """`one_thread`, and torch's global generators freshly seeded, for one thread at a time."""
    with one_thread(), seeded(seed):
        yield


def _flushes_denormals() -> bool:
    return float(torch.tensor(1e-30) * 1e-10) == 0


def describe(device: str) -> str:
    """The processor's name, for records."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            first = file.read().split("\n\n", 1)[0]
    except OSError:
        first = ""
    facts = {k.strip(): v.strip() for k, _, v in (x.partition(":") for x in first.splitlines())}
    # Virtual machines often give a family's name alone; its numbers tell what it can do.
    numbers = [facts[k] for k in ("cpu family", "model") if k in facts]
    if "model name" in facts:
        return facts["model name"] + (f" ({'/'.join(numbers)})" if numbers else "")
    import platform

    return platform.processor() or platform.machine()
