"""SIGKILL at a hundred moments, each followed by a second call: is anything lost, or done twice?

`python -m benchmarks.kills [WORK ...]` writes book/results/kills.csv and kills_summary.csv, in about
half an hour of one core. What was tried with the same seed is not tried again: an interrupted call
goes on where it was, and `--afresh` begins anew. Half of the kills of a work come at a moment of its
duration (the main process dies, the others have to notice), half just before one of its changes on
disk (all of its processes die).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mia_utils.book.execute import KERNEL
from mia_utils.errors import InputError

from . import RESULTS
from .killing import Ended, run

COLUMNS = [
    *("work", "kill", "moment", "of", "finished", "lost", "again", "half", "left", "orphans"),
    *("equal", "seed", "date", "versions"),
]
MOMENT, CHANGE = "s", "changes"
"""What `of` counts: a kill at a moment, or before a change on disk."""

TWO_PROCESSES = """
import mia_utils as mia
pool = mia.load_dataset("digits")
masks = mia.balanced_masks(len(pool), models=12, seed=0)
mia.train(pool, masks, "mlp", mia.TrainConfig(epochs=12), jobs=2, progress=False)
"""
CHECKPOINTS = """
from mia_utils.training import loop
loop.fit.__kwdefaults__["checkpoint_every"] = 0.0  # after each epoch, not each ten minutes
import mia_utils as mia
pool = mia.load_dataset("digits")
masks = mia.balanced_masks(len(pool), models=2, seed=0)
mia.train(pool, masks, "mlp", mia.TrainConfig(epochs=25), jobs=1, progress=False)
"""
CELL = """import mia_utils as mia
pool = mia.load_dataset(dataset)
masks = mia.balanced_masks(len(pool), models=2, seed=seed)
shadows = mia.train(pool, masks, "mlp", mia.TrainConfig(epochs=epochs), seed=seed, jobs=1)
from mia_utils.experiments import Experiment, run
finished = run(Experiment(dataset=dataset, architecture="mlp", epochs=epochs, seed=seed))
finished.save()
finished.frame()[["auc", "auc_low", "auc_high", "balanced_accuracy"]]"""
PUBLISH = """
import sys
from mia_utils.cli.main import main
root, *runs = sys.argv[1:]
sys.exit(main(["publish", "runs", *runs, "--root", root]) or
         main(["publish", "results", "--all", "--root", root]))
"""


@dataclass(frozen=True)
class Work:
    """Something that is killed.

    Attributes
    ----------
    moments, changes : int
        Kills of either kind.
    argv : function of the work's folder
        Arguments to the interpreter.
    result : function of the work's folder
        {what: digest} of all that has appeared so far and is whole, without what tells the time.
    finished : function of the work's folder
        Paths that a second call has to leave as they are.
    """

    moments: int
    changes: int
    argv: Callable[[Path], list[str]]
    result: Callable[[Path], dict[str, str]]
    finished: Callable[[Path], list[Path]]
    prepare: Callable[[Path], None] = lambda place: None
    processors: int = 1


def _digest(content: bytes | str) -> str:
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:16]


def _timeless(value):
    """A record without how long it took."""
    return {k: v for k, v in value.items() if k not in ("seconds", "checksum", "checksums")}


def _models(place: Path) -> list[Path]:
    return sorted(p for p in place.glob("store/models/[!.]*") if p.is_dir())


def _stored(place: Path) -> dict[str, str]:
    found = {}
    for folder in _models(place):
        record = json.loads((folder / "record.json").read_text("utf-8"))
        found[folder.name] = _digest(json.dumps(_timeless(record), sort_keys=True))
        for name in record["checksums"]:
            found[f"{folder.name}/{name}"] = _digest((folder / name).read_bytes())
    return found


def _executed(place: Path) -> list[Path]:
    return sorted(place.glob("runs/*/[0-9]*[0-9a-z].ipynb"))


def _swept(place: Path) -> dict[str, str]:
    found = _stored(place)
    for path in _executed(place):
        cells = nbformat.read(path, as_version=4).cells
        outputs = [c.outputs for c in cells if c.cell_type == "code"]
        shown = [o for each in outputs for o in each if o.get("name") != "stderr"]
        found[path.parent.name] = _digest(json.dumps(shown, sort_keys=True))
    for path in sorted(place.glob("results/records/*.jsonl")):
        rows = [_timeless(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
        found[path.name] = _digest(json.dumps(rows, sort_keys=True))
    for path in sorted(place.glob("results/signals/*.npz")):
        found[path.name] = _digest(path.read_bytes())
    return found


def _write_chapter(place: Path) -> None:
    parameters = 'dataset = "digits"\nepochs = 2\nseed = 0'
    cells = [
        new_markdown_cell("# One cell of a grid", id="title"),
        new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(CELL, id="cell"),
    ]
    (place / "notebooks").mkdir(parents=True)
    notebook = new_notebook(cells=cells, metadata=dict(KERNEL))
    nbformat.write(notebook, place / "notebooks/01_cell.ipynb")


def _sweep(place: Path) -> list[str]:
    grid = ["--chapter", "01_cell", "-p", "seed", "0", "1", "--jobs", "1"]
    return ["-m", "mia_utils", "sweep", "--root", str(place), *grid]


def _prepare_book(place: Path) -> None:
    """Executed cells of a grid under the names of chapters, and a book without pages."""
    _write_chapter(place)
    done = run(_sweep(place), place, _environment(place))
    assert done.code == 0, done.said
    (place / "executed").mkdir()
    for number, path in enumerate(_executed(place), 1):
        shutil.copy(path, place / f"executed/{number:02d}_cell.ipynb")
        if number > 1:
            chapter = place / "notebooks/01_cell.ipynb"
            shutil.copy(chapter, chapter.with_name(f"{number:02d}_cell.ipynb"))
    (place / "book").mkdir()


def _publish(place: Path) -> list[str]:
    return ["-c", PUBLISH, str(place), *map(str, sorted((place / "executed").glob("*.ipynb")))]


def _pages(place: Path) -> list[Path]:
    found = (p for p in place.glob("book/**/*") if p.is_file() and not p.name.startswith("."))
    return sorted([*found, *place.glob("_toc.yml")])


def _published(place: Path) -> dict[str, str]:
    return {str(p.relative_to(place)): _digest(p.read_bytes()) for p in _pages(place)}


def _prepare_answers(place: Path) -> None:
    from mia_utils import Outputs

    rng = np.random.default_rng(0)
    labels, models = rng.integers(4, size=600), 9
    mean = rng.normal(size=(600, 4)) + 2 * np.eye(4)[labels]
    members = rng.random((models, 600)) < 0.5
    logits = mean + rng.normal(size=(models, 600, 4))
    logits[:, np.arange(600), labels] += members
    every = Outputs(logits.astype(np.float32), labels, members)
    place.mkdir(parents=True)
    every.select(models=[0]).save(place / "target.npz")
    every.select(models=list(range(1, models))).save(place / "shadows.npz")


def _audit(place: Path) -> list[str]:
    given = [str(place / "target.npz"), "--shadows", str(place / "shadows.npz")]
    out = ["-o", str(place / "report"), "--junit", str(place / "limits.xml")]
    return ["-m", "mia_utils", "audit", *given, *out, "--fail-above", "auc>0.9", "--quiet"]


def _audit_alone(place: Path) -> list[str]:
    return [*_audit(place)[:4], "-o", str(place / "report"), "--quiet"]


def _report(place: Path) -> dict[str, str]:
    found = {}
    for path in sorted(place.glob("report/[!.]*")) + sorted(place.glob("limits.xml")):
        text = re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "", path.read_text("utf-8"))
        if path.suffix == ".json":
            json.loads(text)
        found[path.name] = _digest(text.replace(str(place), ""))
    return found


WORKS = {
    "training, two processes": Work(
        *(2, 2), lambda place: ["-c", TWO_PROCESSES], _stored, _models, processors=2
    ),
    "training, one process, checkpoints": Work(
        *(8, 10), lambda place: ["-c", CHECKPOINTS], _stored, _models
    ),
    "sweep on digits": Work(
        *(4, 0),
        _sweep,
        _swept,
        lambda place: [*_models(place), *_executed(place)],
        _write_chapter,
    ),
    "publish": Work(11, 12, _publish, _published, _pages, _prepare_book),
    "audit": Work(13, 14, _audit, _report, lambda place: [], _prepare_answers),
    "audit, no reference models": Work(
        12, 12, _audit_alone, _report, lambda place: [], _prepare_answers
    ),
}


def _environment(place: Path) -> dict[str, str]:
    mine = {f"MIA_{n.upper()}": str(place / n) for n in ("store", "runs", "results", "data")}
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(threads, "1"), **mine, "MIA_BACKEND": "loky"}


def _identity(path: Path) -> tuple:
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns


def _hidden(place: Path) -> list[Path]:
    """What unfinished work has left under hidden names, and leases that nobody holds."""
    return list(place.rglob(".*")) + list(place.glob("store/leases/*"))


def _made(changes) -> list[Path]:
    """Where something got its name."""
    return [path for kind, path in changes if kind == "os.rename"]


class Trial:
    """A work, how it ends when nobody disturbs it, and folders in which it is killed."""

    def __init__(self, work: Work, base: Path):
        self.work, self.base = work, base
        self.start = base / "start"
        work.prepare(self.start)
        self.start.mkdir(exist_ok=True)
        done = self._run(self._fresh())
        self.seconds, self.changes = done.seconds, len(done.changes)
        self.wanted = work.result(base / "place")
        if done.code or not self.wanted:
            raise RuntimeError(f"undisturbed it ended with {done.code}: {done.said}")

    def _fresh(self) -> Path:
        """The folder as it was before, always under the same path: some results name it."""
        place = self.base / "place"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.start, place)
        return place

    def _run(self, place: Path, **when) -> Ended:
        argv, cores = self.work.argv(place), self.work.processors
        return run(argv, place, _environment(place), processors=cores, **when)

    def kill(self, share: float, kind: str) -> dict:
        """One kill at that share of the work, and the call after it."""
        while True:
            place = self._fresh()
            if kind == MOMENT:
                moment, of = share * self.seconds, self.seconds
                killed = self._run(place, after=moment)
            else:
                moment, of = 1 + int(share * self.changes), self.changes
                killed = self._run(place, at=int(moment))
            if killed.killed:
                break
            share *= 0.8  # it was faster than the undisturbed one
        finished = {path: _identity(path) for path in self.work.finished(place)}
        half = self._differing(place, partly=True)
        second = self._run(place)
        if second.code:
            print(f"the call after this kill ended with {second.code}: {second.said}", flush=True)
        there = {path: _identity(path) for path in finished if path.exists()}
        made = _made(second.changes)
        again = [path for path in finished if path in made or there.get(path) != finished[path]]
        again += [path for path in self.work.finished(place) if made.count(path) > 1]
        return {
            "moment": f"{moment:.2f}" if kind == MOMENT else str(moment),
            "of": f"{of:.2f} s" if kind == MOMENT else f"{of} changes",
            "finished": len(finished),
            "lost": len(finished) - len(there),
            "again": len(again),
            "half": len(half),
            "left": len(_hidden(place)),
            "orphans": f"{killed.orphans:.1f}",
            "equal": "no" if second.code or self._differing(place) else "yes",
        }

    def _differing(self, place: Path, *, partly: bool = False) -> list[str]:
        """What is not as in the undisturbed run; `partly`: something may be missing yet."""
        found = self.work.result(place)
        names = set(found) if partly else set(found) | set(self.wanted)
        return sorted(name for name in names if found.get(name) != self.wanted.get(name))


def moments(count: int, rng: np.random.Generator) -> Iterator[float]:
    """Shares of a duration, one at random in each of `count` equal parts."""
    for part in range(count):
        yield (part + rng.random()) / count


def _versions() -> str:
    names = ("mia-utils", "torch", "numpy", "papermill")
    return ", ".join([f"python {platform.python_version()}", *(f"{n} {version(n)}" for n in names)])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a work: how many kills, and what they cost."""
    found = []
    for work, own in rows.groupby("work", sort=False):
        counts = own[["finished", "lost", "again", "half", "left"]].astype(int).sum()
        found.append(
            {
                "work": work,
                "kills": len(own),
                "at a moment": int(own["of"].str.endswith(f" {MOMENT}").sum()),
                "at a change on disk": int(own["of"].str.endswith(f" {CHANGE}").sum()),
                "finished before": counts["finished"],
                "lost": counts["lost"],
                "done again": counts["again"],
                "half written": counts["half"],
                "pieces left": counts["left"],
                "equal in the end": int((own["equal"] == "yes").sum()),
            }
        )
    return pd.DataFrame(found)


def did_harm(row: dict) -> bool:
    """Was something lost, done twice, half written, or other than undisturbed?"""
    return row["equal"] != "yes" or any(int(row[name]) for name in ("lost", "again", "half"))


def _save(rows: list[dict]) -> None:
    order = list(WORKS)
    frame = pd.DataFrame(rows, columns=COLUMNS).astype(str)
    frame["place"] = frame["work"].map(order.index)
    frame["number"] = frame["kill"].astype(int)
    frame = frame.sort_values(["place", "number"])[COLUMNS]
    for name, table in (("kills.csv", frame), ("kills_summary.csv", summary(frame))):
        table.to_csv(RESULTS / name, index=False, lineterminator="\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("work", nargs="*", help=f"default: all of {list(WORKS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--afresh", action="store_true", help="try again what was tried")
    given = parser.parse_args(argv)
    if unknown := set(given.work) - set(WORKS):
        raise InputError(f"{sorted(unknown)}; expected some of {list(WORKS)}")
    path = RESULTS / "kills.csv"
    rows = pd.read_csv(path, dtype=str).to_dict("records") if path.exists() else []
    chosen = given.work or list(WORKS)
    if given.afresh:
        rows = [row for row in rows if row["work"] not in chosen]
    done = {(row["work"], row["kill"]) for row in rows if row["seed"] == str(given.seed)}
    rows = [row for row in rows if row["seed"] == str(given.seed) or row["work"] not in chosen]
    for name in chosen:
        work = WORKS[name]
        rng = np.random.default_rng([given.seed, list(WORKS).index(name)])
        plan = [(share, MOMENT) for share in moments(work.moments, rng)]
        plan += [(share, CHANGE) for share in moments(work.changes, rng)]
        todo = [(n, *kill) for n, kill in enumerate(plan) if (name, str(n)) not in done]
        if not todo:
            continue
        with tempfile.TemporaryDirectory(prefix="mia-kills-") as folder:
            trial = Trial(work, Path(os.path.realpath(folder)))
            print(f"{name}: {trial.seconds:.1f} s, {trial.changes} changes", flush=True)
            for number, share, kind in todo:
                row = {"work": name, "kill": str(number), **trial.kill(share, kind)}
                row |= {"seed": str(given.seed), "versions": _versions()}
                row["date"] = datetime.now(UTC).date().isoformat()
                rows.append(row)
                _save(rows)
                print({k: v for k, v in row.items() if k not in ("versions", "date")}, flush=True)
    harm = [row for row in rows if did_harm(row)]
    print(f"{len(rows)} kills, {len(harm)} did harm")
    return 1 if harm else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(str(error))
