"""`mia book run | contents`: what `make book` does before it builds the pages."""

from __future__ import annotations

import argparse
import sys

from ..book import build, contents, grid, sweep
from .options import add_root, at_least


def add(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="WHAT", required=True, title="what")
    run = verbs.add_parser("run", help="execute the chapters that have changed, publish all")
    run.add_argument("--jobs", type=at_least(1), default=2, help="chapters at a time, default 2")
    run.set_defaults(call=_run)
    toc = verbs.add_parser("contents", help="write _toc.yml from the files at hand")
    toc.set_defaults(call=_contents)
    for command in (run, toc):
        add_root(command)


def _run(arguments: argparse.Namespace) -> int:
    shown = []

    def on_change(todo):
        shown.append(sweep.Progress(todo, arguments.jobs))
        print(f"chapters: {sweep.summary(todo, arguments.jobs)}", flush=True)
        return shown[0]

    try:
        todo = build.build(arguments.root, jobs=arguments.jobs, on_change=on_change)
    finally:
        for progress in shown:
            progress.close()
    contents.write_toc(arguments.root)
    failed = [cell for cell in todo if cell.state == grid.FAILED]
    for cell in failed:
        print(f"book: {cell.title}: {cell.error}", file=sys.stderr)
    return 1 if failed else 0


def _contents(arguments: argparse.Namespace) -> int:
    changed = contents.write_toc(arguments.root)
    print(f"_toc.yml: {'rewritten' if changed else 'unchanged'}")
    return 0
