"""Data sets, pools and who is a member of what."""

from __future__ import annotations

from .archive import write_archive
from .load import data_root, load_dataset, open_pool
from .pool import Pool
from .splits import (
    Masks,
    balanced_masks,
    independent_masks,
    quarter_masks,
    quarters,
    single_record_masks,
)

__all__ = [
    "Masks",
    "Pool",
    "balanced_masks",
    "data_root",
    "independent_masks",
    "load_dataset",
    "open_pool",
    "quarter_masks",
    "quarters",
    "single_record_masks",
    "write_archive",
]
