"""`mia data`: which data sets are at hand, making one, and looking into one."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..data.load import DOWNLOADED, INSIDE, data_root


def listing(root: Path) -> list[tuple[str, str]]:
    """(name, where it is) of every data set that `load_dataset` could be asked for."""
    archives = {path.stem for path in root.glob("*.npz")}
    folders = {path.parent.name for path in root.glob("*/train") if path.is_dir()} - archives
    missing = [name for name in DOWNLOADED if name not in archives | folders]
    return [
        *((name, "inside the package") for name in INSIDE),
        *((name, f"{root / name}.npz") for name in sorted(archives)),
        *((name, f"image folder {root / name}, decoded on first use") for name in sorted(folders)),
        *((name, "not here, downloaded on first use") for name in missing),
    ]


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "make", "check"])
    parser.add_argument("name", nargs="?", help="a data set, for make and check")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data sets, else MIA_DATA")
    parser.add_argument("--size", type=int, help="side in pixels, for an image folder")
    parser.add_argument("--skip-damaged", action="store_true", help="leave damaged images out")
    parser.set_defaults(call=_data)


def _data(arguments: argparse.Namespace) -> int:
    from ..errors import InputError

    root = data_root(arguments.data)
    if arguments.action == "list":
        for name, where in listing(root):
            print(f"{name:16} {where}")
        return 0
    if not arguments.name:
        raise InputError(f"mia data {arguments.action} needs a name; `mia data list` shows them")
    from ..data import load_dataset

    pool = load_dataset(
        arguments.name,
        root,
        size=arguments.size,
        on_damaged="skip" if arguments.skip_damaged else "error",
        download=arguments.action == "make",
    )
    counts = np.bincount(pool.labels, minlength=len(pool.classes))
    print(
        f"{pool.name}: {len(pool)} records of shape {pool.shape}, {len(pool.classes)} classes of "
        f"{counts.min()} to {counts.max()}, {pool.train.sum()} in the public training split, "
        f"fingerprint {pool.fingerprint[:16]}"
    )
    return 0
