"""Records that runs have left, merged into the published ones: the same in any order, at any time.

Time decides nothing: neither when a run was made nor how long it took. What two results folders
give does not depend on which of them is merged first.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..experiments.experiment import Experiment
from ..experiments.records import ALL_BYTES, KEY, read_run, run_files
from ..experiments.verify import UNTIMED
from ..files import one_line_disk_errors, remove_pieces, whole_file
from ..parameters import check
from . import notebooks
from .grid import combinations, read_grid

CHAPTER = "10_experiments"
"""The chapter that leaves records."""


@dataclass
class Merge:
    """What merging would do, or has done: names of runs.

    `trial` are runs that were not asked for, `same` those that are published with the same figures,
    `kept` those published with other figures (on another machine), `older` those that a published
    run of a later recipe takes the place of.
    """

    new: list[str] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)  # published run: the one in its place
    same: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)
    trial: list[str] = field(default_factory=list)


def runs_of(grids: Iterable[Path], root: str | os.PathLike) -> list[Experiment]:
    """The experiments that the cells of some grids are.

    Raises
    ------
    InputError
        As `read_grid`, or if a cell does not fit its chapter.
    """
    source = notebooks.find_chapter(CHAPTER, root)
    known = notebooks.parameters(notebooks.read(source))
    found = []
    for path in grids:
        for block in read_grid(path):
            for chapter, given in combinations(block):
                if notebooks.find_chapter(chapter, root) == source:
                    found.append(Experiment(**check(known, given)))
    return found


def _key(experiment: Experiment, precision: str) -> tuple:
    settings = tuple(sorted((name, repr(value)) for name, value in experiment.settings.items()))
    names = sorted(set(Experiment.__dataclass_fields__) - {"settings", "precision"})
    return (*(getattr(experiment, name) for name in names), precision, settings)


def asked_for(source: Path, experiments: Iterable[Experiment]) -> set[str]:
    """The runs under a results folder that are some experiments; "auto" is any precision."""
    wanted = set()
    for experiment in experiments:
        auto = experiment.precision == "auto"
        for precision in ("fp32", "bf16") if auto else (experiment.precision,):
            wanted.add(_key(experiment, precision))
    found = set()
    for path in run_files(source):
        first = read_run(path)[0]
        if _key(Experiment.of(first), first["precision"]) in wanted:
            found.add(path.stem)
    return found


def merge(
    source: str | os.PathLike,
    destination: str | os.PathLike,
    *,
    runs: Collection[str] | None = None,
    named: Collection[str] = (),
    dry_run: bool = False,
) -> Merge:
    """Copy runs, with their signals, from one results folder into another.

    A published run stays if the new one measured the same, however long it took. If it measured
    something else (another machine), or if two runs of one recipe measure the same attacks on data
    sets of one name that differ, nobody can know which is right: then only a run that is `named`
    takes the other's place. A later recipe takes the place of an earlier one.

    Parameters
    ----------
    runs : names, default all
        Those to be merged; the others are `trial`.
    named : names
        Those chosen by a person: they win over what is published, and are merged besides `runs`.

    Raises
    ------
    InputError
        As `records.read_run`; if a named run is not there; if two runs exclude each other; or if
        the signals would exceed `ALL_BYTES`. Then nothing is copied.
    """
    source, destination = Path(source), Path(destination)
    made = {path.stem: read_run(path) for path in run_files(source)}
    there = {path.stem: read_run(path) for path in run_files(destination)}
    absent = sorted(set(named) - set(made))
    if absent:
        raise InputError(f"no run {absent[0]} in {source}/records; it has {len(made)} runs")
    plan = Merge(trial=sorted(set(made) - set(named) - set(made if runs is None else runs)))
    chosen = {run: rows for run, rows in made.items() if run not in plan.trial}
    every = there | chosen
    for run, rows in chosen.items():
        order = {rival: _order(run, rival, every, named) for rival in sorted(_rivals(run, every))}
        if run in there and _measured(rows) == _measured(there[run]):
            plan.same.append(run)
            plan.replaced |= {rival: run for rival in order if rival in there and order[rival] > 0}
        elif run in there and run not in named:
            plan.kept.append(run)
        elif any(later < 0 for later in order.values()):
            plan.older.append(run)
        elif 0 in order.values():
            rival = next(rival for rival, later in order.items() if later == 0)
            raise InputError(
                f"runs {run} and {rival} measure the same attacks by the same recipe, on data "
                "of one name that differ; name the one that shall stay: mia publish results "
                f"{run}"
            )
        else:
            plan.replaced |= {rival: run for rival in order if rival in there}
            plan.new.append(run)
    _copy(plan, source, destination, dry_run)
    return plan


def _measured(rows: list[dict]) -> list[dict]:
    """Records without what only says how they were made."""
    return [{k: v for k, v in row.items() if k not in UNTIMED} for row in rows]


def _rivals(run: str, every: Mapping[str, list[dict]]) -> set[str]:
    """The other runs that measure one of the same attacks: only one of them can be published."""
    keys = {tuple(row[name] for name in KEY) for row in every[run]}
    return {
        rival
        for rival, rows in every.items()
        if rival != run and any(tuple(row[name] for name in KEY) in keys for row in rows)
    }


def _order(run: str, rival: str, every: Mapping[str, list[dict]], named: Collection[str]) -> int:
    """Above 0 if a run takes its rival's place, below 0 if the rival does, 0 if nobody knows."""
    if (run in named) != (rival in named):
        return 1 if run in named else -1
    return every[run][0]["recipe"] - every[rival][0]["recipe"]


def _copy(plan: Merge, source: Path, destination: Path, dry_run: bool) -> None:
    signals = {run: source / "signals" / f"{run}.npz" for run in plan.new}
    signals = {run: path for run, path in signals.items() if path.exists()}
    gone = {*plan.replaced, *signals}
    kept = [p for p in destination.glob("signals/[!.]*.npz") if p.stem not in gone]
    size = sum(path.stat().st_size for path in [*kept, *signals.values()])
    if size > ALL_BYTES:
        raise InputError(f"{size:,} bytes of signals; at most {ALL_BYTES:,} are published")
    if dry_run:
        return
    files = [*(source / f"records/{run}.jsonl" for run in plan.new), *signals.values()]
    finals = {destination / path.relative_to(source): path.read_bytes() for path in files}
    with one_line_disk_errors(destination, "--root"):
        # All are written before the first gets its name, signals before records: what is left by a
        # full disk or a kill is what was there, and perhaps a run whose earlier one the next call
        # takes away.
        with ExitStack() as together:
            for path, content in finals.items():
                if not path.exists() or path.read_bytes() != content:
                    together.enter_context(whole_file(path)).write_bytes(content)
        for run in plan.replaced:
            (destination / f"records/{run}.jsonl").unlink(missing_ok=True)
        for kind in ("records", "signals"):
            remove_pieces(destination / kind)
        published = {path.stem for path in run_files(destination)}
        for path in destination.glob("signals/*.npz"):
            if path.stem not in published:
                path.unlink()
