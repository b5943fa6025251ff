"""`mia notebooks sync | check`: the .ipynb of each chapter, made from its .md."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..book import pairs
from .options import a_path


def add(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="WHAT", required=True, title="what")
    sync = verbs.add_parser("sync", help="write the .ipynb of every .md")
    sync.add_argument("--discard", action="store_true", help="write over edits of an .ipynb")
    sync.set_defaults(call=_sync)
    check = verbs.add_parser("check", help="name pairs that are not in step")
    check.set_defaults(call=_check)
    for command in (sync, check):
        command.add_argument("folder", nargs="?", type=a_path, default=Path("notebooks"))


def _sync(arguments: argparse.Namespace) -> int:
    for path in pairs.sync(arguments.folder, discard=arguments.discard):
        print(f"written: {path}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    lines = pairs.drifted(arguments.folder)
    print("\n".join(lines) or "pairs: in sync")
    return 1 if lines else 0
