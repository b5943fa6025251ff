"""`mia data`: which data sets are at hand, making one, and looking into one."""

from __future__ import annotations

import argparse
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..data import Pool, at_hand, data_root, load_dataset
from ..data.archive import read_source
from ..data.catalog import DOWNLOADED, EMBEDDED
from ..errors import InputError, printable
from .options import a_path, at_least

LAYOUTS = """\
A data set of your own has a NAME and lies in DIR (--data, else MIA_DATA, else
~/.cache/mia/data) in one of these layouts:

  DIR/NAME.npz            arrays images: uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), or
                          features: float32 (N, D); labels: integers (N,) from 0; and, if you
                          like, train: bool (N,), the public training split, and
                          classes: their names. For example
                            np.savez("DIR/NAME.npz", images=images, labels=labels)
  DIR/NAME/               an image folder, one folder a class, whatever is below it:
    train/CLASS/*           images that Pillow reads, of one size or with --size
    test/CLASS/*            held out; also val/, valid/ or validation/
                          `mia data make NAME` decodes it into DIR/NAME.npz; a change of the
                          folder is noticed, and it is decoded anew.
  DIR/NAME/               arrays larger than memory:
    images.npy              uint8 (N, H, W) or (N, H, W, C), or features.npy: float32 (N, D)
    labels.npy              integers (N,); if you like, train.npy (bool) and classes.txt
                            (UTF-8, one name a line)

Every command and chapter then takes NAME: mia run ... -p dataset NAME --data DIR
"""
_FEW = 40
"""Classes that are listed one a line."""


def describe(pool: Pool, *, near: bool = False) -> Iterator[str]:
    """Lines on a pool: splits, classes, quarters, copies, and what was left out of a folder.

    Parameters
    ----------
    near : bool
        Look for images that are nearly the same, too.
    """
    yield (
        f"{pool.name}: {len(pool):,} records of shape {pool.shape}, {len(pool.classes):,} classes, "
        f"fingerprint {pool.fingerprint[:16]}"
    )
    yield f"  where       {pool.path}"
    yield f"  splits      {pool.train.sum():,} for training, {(~pool.train).sum():,} held out"
    yield from _classes(pool)
    yield from _copies(pool, near=near)
    yield from _left_out(pool)


def _classes(pool: Pool) -> Iterator[str]:
    counts = pool.class_counts()
    total = counts.sum(axis=1)
    yield f"  classes     {total.min():,} to {total.max():,} records each"
    empty = [pool.classes[label] for label in np.flatnonzero(total == 0)]
    if empty:
        yield f"              without a record: {', '.join(empty[:_FEW])}"
    small = [pool.classes[label] for label in np.flatnonzero((total > 0) & (total < 4))]
    if small:
        yield f"              too small for four quarters: {', '.join(small[:_FEW])}"
    if len(total) <= _FEW:
        width = max(map(len, pool.classes))
        for label, (train, held_out) in enumerate(counts):
            name = f"{pool.classes[label]:{width}}"
            yield f"    {label:3} {name}  {train:8,} for training {held_out:8,} held out"
    else:
        names = ", ".join(f"{label} {name}" for label, name in enumerate(pool.classes))
        yield from textwrap.wrap(names, 96, initial_indent="    ", subsequent_indent="    ")


def _copies(pool: Pool, *, near: bool) -> Iterator[str]:
    from ..data.duplicates import first_copies, near_copies

    first = first_copies(pool.records)
    copies = np.flatnonzero(first != np.arange(len(first)))
    in_train = np.isin(first, first[pool.train])
    across = int((in_train & ~pool.train).sum())
    differ = int((pool.labels[copies] != pool.labels[first[copies]]).sum())
    if copies.size:
        yield (
            f"  duplicates  {copies.size:,} records are exact copies of an earlier one "
            f"({differ:,} with another label); {across:,} of those held out are in the training "
            "split too"
        )
        listed = ", ".join(f"{copy} = {first[copy]}" for copy in copies[:5])
        yield f"              {listed}{', ...' if copies.size > 5 else ''}"
    else:
        yield "  duplicates  no record is an exact copy of another"
    if near and pool.is_image:
        pairs = near_copies(pool.records)
        pairs = pairs[first[pairs[:, 0]] != first[pairs[:, 1]]]
        across = int((pool.train[pairs[:, 0]] != pool.train[pairs[:, 1]]).sum())
        yield (
            f"  nearly      {len(pairs):,} further pairs differ by at most 8 of 255 grey levels "
            f"(root mean square), {across:,} of them across the two splits"
        )


def _left_out(pool: Pool) -> Iterator[str]:
    """What is in the folder that a pool was decoded from, and not in the pool."""
    from ..data.scan import kinds, scan

    archive = Path(pool.path or "")
    source = read_source(archive) if archive.is_file() else None
    if source is None:
        return
    if source.damaged:
        yield f"  damaged     left out: {', '.join(source.damaged[:5])}" + (
            f" and {len(source.damaged) - 5:,} more" if len(source.damaged) > 5 else ""
        )
    folder = archive.with_suffix("")
    if not (folder / "train").is_dir():
        return
    there = scan(folder)
    left_out = there.left_out_kinds()
    yield f"  no images   {kinds(left_out) if left_out else 'nothing'} in the class folders"
    outside = {split: count for split, count in there.outside.items() if count}
    if outside:
        names = ", ".join(f"{count:,} in {split}/" for split, count in outside.items())
        yield f"  no class    images outside of every class folder: {names}"


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = LAYOUTS
    verbs = parser.add_subparsers(metavar="list | make | check", required=True)
    for verb, call, summary in (
        ("list", _list, "the data sets at hand, and those that could be"),
        ("make", _make, "download a data set, or decode an image folder, into DIR/NAME.npz"),
        ("check", _check, "classes, splits, duplicates and left-out files of a data set"),
    ):
        command = verbs.add_parser(verb, help=summary, description=summary)
        if verb != "list":
            command.add_argument("name", metavar="NAME")
        command.add_argument("--data", type=a_path, metavar="DIR", help="data sets, else MIA_DATA")
        command.set_defaults(call=call)
        if verb == "make":
            command.add_argument(
                "--size",
                type=at_least(1),
                metavar="PIXELS",
                help="side of a folder's resized images",
            )
            command.add_argument(
                "--skip-damaged", action="store_true", help="leave damaged images out"
            )
        if verb == "check":
            command.add_argument(
                "--near", action="store_true", help="look for nearly equal images, too"
            )


def _list(arguments: argparse.Namespace) -> int:
    found = at_hand(arguments.data)
    missing = {n: "not here, downloaded on first use" for n in DOWNLOADED if n not in found}
    own = {name: found[name] for name in sorted(found) if name not in EMBEDDED}
    for name, where in ({n: found[n] for n in EMBEDDED} | own | missing).items():
        print(printable(f"{name:16} {where}"))
    return 0


def _make(arguments: argparse.Namespace) -> int:
    from ..data import standin

    root = data_root(arguments.data)
    if arguments.name == standin.NAME:
        standin.write_standin(load_dataset("cifar100", root), root / standin.NAME)
    elif arguments.name in EMBEDDED:
        raise InputError(f"{arguments.name} is inside the package; there is nothing to make")
    on_damaged = "skip" if arguments.skip_damaged else "error"
    pool = _load(arguments.name, root, size=arguments.size, on_damaged=on_damaged)
    print(
        f"{pool.path}: {len(pool):,} records of shape {pool.shape} in {len(pool.classes)} classes"
    )
    return 0


def _load(name: str, root: Path, **given) -> Pool:
    """As `load_dataset`, its warnings as lines of their own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return load_dataset(name, root, **given)
        finally:
            for warning in caught:
                print(f"mia: note: {warning.message}", file=sys.stderr)


def _check(arguments: argparse.Namespace) -> int:
    pool = _load(arguments.name, data_root(arguments.data), download=False)
    for line in describe(pool, near=arguments.near):
        print(line)
    return 0
