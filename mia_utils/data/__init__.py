"""Data sets, pools, and who is a member of what.

Begin with `load_dataset(name)`: it gives a `Pool`, all records of a data set in one array with
labels, class names and the public split. `quarters` and the `..._masks` say which records a model
is trained on; they read no images. `catalog` holds what is known of the data sets of the book,
`duplicates` finds copies among records; everything else is how a pool is read and written
(`archive`, `mapped`, `folder`, `download`).
"""

from __future__ import annotations

from .archive import write_archive
from .catalog import CATALOG, title
from .duplicates import first_copies, near_copies
from .load import at_hand, data_root, load_dataset, open_pool
from .mapped import write_mapped
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
    "CATALOG",
    "Masks",
    "Pool",
    "at_hand",
    "balanced_masks",
    "data_root",
    "first_copies",
    "independent_masks",
    "load_dataset",
    "near_copies",
    "open_pool",
    "quarter_masks",
    "quarters",
    "single_record_masks",
    "title",
    "write_archive",
    "write_mapped",
]
