"""Arrays that would not fit into memory are refused before they are made."""

from __future__ import annotations

import os

from ..errors import InputError


def physical_memory() -> int | None:
    """Bytes of this machine's memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def check_memory(size: int, what: str, way_out: str) -> None:
    """Refuse `size` bytes if this machine has fewer.

    Raises
    ------
    InputError
        "`what` takes 40.0 GB, this machine has 8.0 GB of memory; `way_out`".
    """
    total = physical_memory()
    if total is not None and size > total:
        raise InputError(
            f"{what} takes {size / 2**30:,.1f} GB, this machine has {total / 2**30:,.1f} GB of "
            f"memory; {way_out}"
        )
