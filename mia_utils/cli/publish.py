"""`mia publish runs | results | check | same | refresh | verify | migrate`: what was executed becomes the book."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ..book import contents, grid, merge, publish, same
from ..book.sphinx import CHANGES
from ..errors import InputError
from ..paths import environment, results_root
from .options import a_path, add_root, at_least


def add(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="WHAT", required=True, title="what")
    runs = _verb(verbs, "runs", _runs, "make executed chapters pages of the book")
    runs.add_argument("executed", nargs="*", type=a_path, help="notebooks that `mia run` wrote")
    runs.add_argument("--grid", type=a_path, help="the finished cells of a grid")
    runs.add_argument("--data", type=a_path, metavar="DIR", help="data sets, else MIA_DATA")
    results = _verb(verbs, "results", _results, "merge records in MIA_RESULTS into book/results")
    results.add_argument("run", nargs="*", help="runs, such as r0123456789abcde")
    results.add_argument(
        "--grid",
        type=a_path,
        action="append",
        help="the runs of this grid; default: all book/grids",
    )
    results.add_argument("--all", action="store_true", help="every run, trial runs too")
    for command in (runs, results):
        command.add_argument("--dry-run", action="store_true", help="say what would change")
    check = _verb(verbs, "check", _check, "name pages that are older than what decides them")
    check.add_argument("--data", type=a_path, metavar="DIR", help="data sets, else MIA_DATA")
    alike = _verb(
        verbs, "same", _same, "keep pages whose chapter has the same outputs after an edit"
    )
    alike.add_argument("before", type=a_path, help="the embedded chapters as executed before it")
    refresh = _verb(verbs, "refresh", _refresh, "bring changed prose into all pages")
    refresh.add_argument("--dry-run", action="store_true", help="say what would change")
    migrate = _verb(verbs, "migrate", _migrate, "give records of an older layout today's columns")
    migrate.add_argument("folder", nargs="?", type=a_path, help="default: book/results")
    verify = _verb(
        verbs, "verify", _verify, "repeat cheap published runs on real data, print a log"
    )
    verify.add_argument("--data", type=a_path, metavar="DIR", help="data sets, else MIA_DATA")
    verify.add_argument(
        "--longest", type=at_least(0), metavar="SECONDS", help="what is cheap (default 900)"
    )


def _verb(verbs, name: str, call, summary: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=summary, description=summary)
    add_root(parser)
    parser.set_defaults(call=lambda arguments: call(arguments, _book(arguments.root)))
    return parser


def _book(root: Path) -> Path:
    if not (root / "book").is_dir():
        raise InputError(f"no folder {root / 'book'}; call it in the repository or give --root")
    return root


def _data(arguments: argparse.Namespace):
    root = arguments.data
    return environment(MIA_DATA=root and root.expanduser().resolve())


def _runs(arguments: argparse.Namespace, root: Path) -> int:
    executed, waiting = list(arguments.executed), 0
    if arguments.grid is not None:
        with _data(arguments):
            found = grid.cells(grid.read_grid(arguments.grid), root)
        executed += [cell.out for cell in found if cell.state == grid.DONE]
        waiting = sum(cell.state != grid.DONE for cell in found)
    elif not executed:
        raise InputError("mia publish runs needs executed notebooks or --grid GRID")
    words = ("would be published", "unchanged") if arguments.dry_run else ("published", "unchanged")
    for path in executed:
        page, changed = publish.publish(path, root, dry_run=arguments.dry_run)
        print(f"{words[not changed]}: {page}")
    if waiting:
        print(
            f"publish: {waiting} cells of the grid are not executed; run: mia sweep "
            f"{arguments.grid}"
        )
    if not arguments.dry_run and contents.write_toc(root):
        print("table of contents rewritten: _toc.yml")
    return 0


def _results(arguments: argparse.Namespace, root: Path) -> int:
    source, destination = results_root(), root / "book/results"
    if arguments.all and (arguments.run or arguments.grid):
        raise InputError("--all goes without names of runs and without --grid")
    grids = arguments.grid or (
        [] if arguments.run else sorted((root / "book/grids").glob("*.toml"))
    )
    runs = None if arguments.all else merge.asked_for(source, merge.runs_of(grids, root))
    plan = merge.merge(
        source, destination, runs=runs, named=arguments.run, dry_run=arguments.dry_run
    )
    for name in plan.new:
        print(f"merged: {name}")
    for name, by in plan.replaced.items():
        print(f"replaced: {name}, by {by}")
    for name in plan.kept:
        print(f"kept: {name} is published with other figures; name it to replace them")
    for name in plan.older:
        print(f"left: {name}, a published run of a later recipe has its place")
    for name in plan.trial:
        print(f"left: {name} is no cell of a grid of the book; name it to publish it")
    would = " would be" if arguments.dry_run else ""
    print(f"publish: {len(plan.new)} runs{would} merged, {len(plan.same)} unchanged")
    return 0


def _check(arguments: argparse.Namespace, root: Path) -> int:
    with _data(arguments):
        old = publish.old_copies(root)
    for path, parts in old.items():
        print(f"{path}: since it was executed, {' and '.join(CHANGES[p] for p in parts)} changed")
    print(f"publish: {len(old)} of {len(publish.copies(root))} copies are older than their source")
    return 1 if old else 0


def _same(arguments: argparse.Namespace, root: Path) -> int:
    rows, differ = [], 0
    for chapter, found in same.compare(arguments.before, root / "book/runs" / publish.DEFAULT_SET):
        if isinstance(found, dict):
            rows.append(found)
            print(f"same: {chapter}, {found['outputs']} outputs")
        else:
            differ += 1
            print(f"left: {chapter} {found}")
    print(f"publish: {len(rows)} chapters noted in {same.add(root, rows)}")
    return 1 if differ else 0


def _refresh(arguments: argparse.Namespace, root: Path) -> int:
    for path in publish.refresh(root, dry_run=arguments.dry_run):
        print(f"prose {'would be ' if arguments.dry_run else ''}refreshed: {path}")
    return 0


def _verify(arguments: argparse.Namespace, root: Path) -> int:
    from ..data.catalog import REPORTED
    from ..experiments import records, verify

    longest = verify.CHEAP if arguments.longest is None else arguments.longest
    frame = records.read(root / "book/results")
    checks = []
    with _data(arguments), tempfile.TemporaryDirectory() as store:
        for name in verify.choose(frame, set(REPORTED), longest=longest):
            checks += verify.verify(frame, name, store=store)
    print(verify.report(checks))
    return 1 if any(check.failed for check in checks) else 0


def _migrate(arguments: argparse.Namespace, root: Path) -> int:
    from ..experiments.migrate import migrate

    changed = migrate(arguments.folder or root / "book/results")
    for path in changed:
        print(f"migrated: {path}")
    print(f"publish: {len(changed)} files migrated")
    return 0
