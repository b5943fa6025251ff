"""Records: one JSON line for each measured attack, written once, read by the results chapter.

A run (one data set, architecture, defense, seed and set of settings, all attacks) is one file
`records/RUN.jsonl`, which `pandas.read_json(path, lines=True)` reads; `SCHEMA` says what is in it.
Beside it lies `signals/RUN.npz`: what the judged model said about every record that it was judged
on, so that anyone can apply a score attack to it without training it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import arguments, signals
from ..data.archive import DAMAGED, one_line, opened
from ..errors import InputError, shown
from ..evaluation import FPRS, columns, tpr_column
from ..files import one_line_disk_errors, whole_file, write_if_changed
from ..outputs import Outputs
from ..paths import ready, results_root

RUN_BYTES, ALL_BYTES = 5 * 10**6, 80 * 10**6
"""At most that many bytes of signals for one run, and for all that are published."""


class Column(NamedTuple):
    """One column of a record."""

    kind: type
    meaning: str
    optional: bool = False  # null where it does not apply


LAYOUT = 2
"""Version of the columns; files of an earlier one are read by `migrate`."""


def _figure(name: str) -> Column:
    """The column of one figure of `TargetMetrics.row`."""
    if name.startswith("n_"):
        return Column(int, f"{name[2:].replace('non', 'non-')} that were judged")
    base = re.sub(r"^null_|_(low|high)$", "", name)
    rates = {tpr_column(fpr): f"TPR at FPR {100 * fpr:g} %" for fpr in FPRS}
    what = rates.get(base, base.replace("_", " ").replace("auc", "AUC"))
    if name in ("null_low", "null_high"):
        what = f"{name[5:]}er end of the AUC's range where there is nothing to find"
    elif name.startswith("null_"):
        what += ", memberships permuted once"
    elif name.endswith(("_low", "_high")):
        end = "lower" if name.endswith("_low") else "upper"
        what += f", {end} 95 % limit over records (this model given)"
    return Column(float, what, optional="auc" not in base and name not in ("null_low", "null_high"))


SCHEMA: dict[str, Column] = {
    "layout": Column(int, f"version of these columns: {LAYOUT}"),
    "run": Column(str, "hash of all that decides the run; also the file's name"),
    "dataset": Column(str, "data set of the target"),
    "architecture": Column(str, "architecture of the target"),
    "defense": Column(str, "defense of the target, 'none' without one"),
    "attack": Column(str, "name of the attack"),
    "seed": Column(int, "seed of the quarters and of the training"),
    "target": Column(int, "number of the target among the run's targets, from 0"),
    "shadow_dataset": Column(str, "data set of the shadow models"),
    "shadow_architecture": Column(str, "architecture of the shadow models"),
    "shadow_defense": Column(str, "defense of the shadow models"),
    "epochs": Column(int, "epochs of training"),
    "settings": Column(str, "training settings other than the defaults', as JSON"),
    "precision": Column(str, "'fp32' or 'bf16' arithmetic in training"),
    "train_accuracy": Column(
        float, "of the target on its members, in evaluation mode; no promise of privacy covers it"
    ),
    "test_accuracy": Column(float, "of the target on its non-members"),
    "gap": Column(float, "train accuracy minus test accuracy; not covered either"),
    "threshold": Column(float, "in the unit of the scores, from the shadow models", True),
    **{name: _figure(name) for name in columns()},
    "shadow_auc": Column(float, "AUC of the same attack on the shadow models it was fitted on"),
    "model": Column(str, "name of the target in the store"),
    "shadows": Column(list, "names of the shadow models in the store"),
    "fingerprint": Column(str, "of the target's data set"),
    "shadow_fingerprint": Column(str, "of the shadow models' data set"),
    "recipe": Column(int, "version of the training loop, of DP-SGD for private targets"),
    "python": Column(str, "version that trained the target"),
    "torch": Column(str, "version that trained the target"),
    "numpy": Column(str, "version that trained the target"),
    "device": Column(str, "'cpu' or 'cuda'"),
    "processor": Column(str, "name of the processor that trained the target"),
    "seconds": Column(float, "training time of the target and the shadow models together"),
}
"""Every column of a record, in order, with its type and meaning."""

KEY = (
    *("dataset", "architecture", "defense", "attack", "seed", "target"),
    *("shadow_dataset", "shadow_architecture", "shadow_defense"),
    *("epochs", "settings", "precision", "device"),
)
"""No two records agree in all of these."""
SHARES = ("accuracy", "auc", "tpr", "null", "gap")  # columns whose name holds one lie in [-1, 1]

# ---- places ------------------------------------------------------------------------------------


def results_place() -> Path:
    """`paths.results_root()`, refused now if it cannot be written to, and not after the training."""
    return ready(results_root(), "MIA_RESULTS")


def published() -> Path:
    """The published records: $MIA_RESULTS_PUBLISHED, else book/results beside the package.

    Raises
    ------
    InputError
        If there is no such folder with records in it.
    """
    given = os.environ.get("MIA_RESULTS_PUBLISHED")
    root = Path(given).expanduser() if given else Path(__file__).parents[2] / "book/results"
    if not run_files(root):
        raise InputError(
            f"no published records in {root}/records; run this from the book's repository, or "
            "let MIA_RESULTS_PUBLISHED name a folder with records/RUN.jsonl"
        )
    return root


def run_files(folder: str | os.PathLike) -> list[Path]:
    """The files of records below a results folder, without pieces (hidden) of killed writes."""
    return sorted(Path(folder).glob("records/[!.]*.jsonl"))


# ---- one record --------------------------------------------------------------------------------


def run_name(decides: Mapping) -> str:
    """A run's name: r and 15 hex digits of a hash of what decides it.

    The letter keeps a name of digits alone from being read as a number.
    """
    text = json.dumps(decides, sort_keys=True)
    return "r" + hashlib.sha256(text.encode()).hexdigest()[:15]


_LARGEST = sys.float_info.max


def check(record: Mapping, where: str = "record") -> None:
    """Check one record against `SCHEMA`.

    Raises
    ------
    InputError
        If a column is missing, unknown, of another type, or out of its range, or the record has
        the columns of an earlier layout.
    """
    if record.get("layout") != LAYOUT:
        raise InputError(
            f"{where} has the columns of layout {record.get('layout', 1)}; expected {LAYOUT}: run "
            "mia publish migrate FOLDER, the folder that holds records/"
        )
    missing, unknown = SCHEMA.keys() - record.keys(), record.keys() - SCHEMA.keys()
    if missing or unknown:
        raise InputError(
            f"{where} lacks {sorted(missing)} and has unknown {sorted(unknown)}; expected the "
            "columns of mia_utils.experiments.SCHEMA"
        )
    for name, column in SCHEMA.items():
        value = record[name]
        if value is None and column.optional:
            continue
        kinds: Any = (int, float) if column.kind is float else column.kind
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise InputError(f"{where}: {name} = {shown(value)}; expected {column.kind.__name__}")
        share = column.kind is float and any(part in name for part in SHARES)
        if column.kind is float and not (-1 <= value <= 1 if share else abs(value) <= _LARGEST):
            expected = "a share" if share else "a finite number"
            raise InputError(f"{where}: {name} = {shown(value)}; expected {expected}")


def _line(record: Mapping) -> str:
    return json.dumps({name: record[name] for name in SCHEMA}, allow_nan=False)


# ---- files -------------------------------------------------------------------------------------


def save(
    records: Iterable[Mapping],
    judged: Outputs | None = None,
    *,
    root: str | os.PathLike | None = None,
) -> Path:
    """Write one run's records, and the signals of its targets, whole or not at all.

    Parameters
    ----------
    records : mappings
        Of one run, each with every column of `SCHEMA`.
    judged : Outputs, optional
        The targets' answers; the records that none of them is evaluated on are left out.
    root : path, default `results_root()`

    Returns
    -------
    Path
        The file of the records; written again, the same run gives the same bytes.

    Raises
    ------
    InputError
        If there is no record, they are of several runs, or one breaks the schema.
    DiskError
        If they cannot be written.
    """
    records = list(records)
    runs = {record.get("run") for record in records}
    if len(runs) != 1:
        raise InputError(f"{len(records)} records of {len(runs)} runs; expected those of one run")
    (run,) = runs
    for number, record in enumerate(records):
        check(record, f"record {number} of run {run}")
    root = results_root() if root is None else Path(root)
    path = root / "records" / f"{run}.jsonl"
    with one_line_disk_errors(path, "MIA_RESULTS"):
        if judged is not None:
            _save_signals(root / "signals" / f"{run}.npz", judged)
        write_if_changed(path, "".join(f"{_line(record)}\n" for record in records).encode())
    return path


def _save_signals(path: Path, judged: Outputs) -> None:
    kept = judged.evaluated.any(axis=0)
    part = judged.select(records=kept)
    arrays: dict[str, Any] = {
        "margin": signals.margin(part.logits, part.labels),
        "loss": signals.loss(part.logits, part.labels),
        "log_confidence": signals.log_confidence(part.logits),
        "entropy": signals.entropy(part.logits),
    }
    with whole_file(path) as partial:
        np.savez_compressed(
            partial,
            names=np.array(part.names, dtype=str),
            ids=part.ids.astype(np.int32),
            labels=part.labels.astype(np.int16),
            members=part.members,
            evaluated=part.evaluated,
            **{name: array.astype(np.float32) for name, array in arrays.items()},
        )
        if partial.stat().st_size > RUN_BYTES:
            raise InputError(
                f"the signals of {path.stem} take {partial.stat().st_size:,} bytes; at most "
                f"{RUN_BYTES:,} a run are kept, judge fewer targets in one run"
            )


def load_signals(run: str, folder: str | os.PathLike | None = None) -> dict[str, np.ndarray]:
    """What a run's targets said about the n records that they were judged on.

    Returns
    -------
    dict
        `margin`, `loss`, `log_confidence`, `entropy`: float32 (targets, n); `members`,
        `evaluated`: bool (targets, n); `ids`, `labels`: integers (n,); `names`: the models.

    Raises
    ------
    InputError
        If that run left none (a transfer between models published by other runs does not), or the
        file is damaged.
    """
    arguments.text("run", run)
    arguments.folder("folder", folder)
    folder = published() if folder is None else Path(folder)
    path = folder / "signals" / f"{run}.npz"
    if not os.path.isfile(path) or Path(run).name != run:
        raise InputError(f"no signals {path}")
    try:
        with opened(path) as archive:
            return dict(archive)
    except DAMAGED as error:
        raise InputError(f"{path}: not readable as signals ({one_line(error)})") from None


def check_frame(frame) -> None:
    """InputError unless `frame` is a pandas.DataFrame with columns of records."""
    import pandas as pd

    arguments.instance("frame", frame, pd.DataFrame, "records, as experiments.read gives them")
    if not set(SCHEMA) & set(frame.columns):
        raise InputError(f"frame has columns {list(frame.columns)[:5]}; expected those of records")


def read_run(path: str | os.PathLike) -> list[dict]:
    """The records of one file, each checked.

    Raises
    ------
    InputError
        If the file cannot be read, a line is no JSON, a record breaks the schema or belongs to another run.
    """
    arguments.path("path", path)
    path, records = Path(path), []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as records ({one_line(error)})") from None
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where} is no JSON: {error}") from None
        if not isinstance(record, dict):
            raise InputError(
                f"{where} is {shown(record)}; expected an object with the columns of SCHEMA"
            )
        check(record, where)
        if record["run"] != path.stem:
            raise InputError(f"{where} belongs to run {record['run']}, not to its file's")
        records.append(record)
    return records


def read(folder: str | os.PathLike | None = None):
    """All records under a folder as a pandas.DataFrame with the columns of `SCHEMA`.

    Parameters
    ----------
    folder : path, default `published()`

    Raises
    ------
    InputError
        As `read_run`, and if two records agree in all of `KEY`.
    """
    import pandas as pd

    arguments.folder("folder", folder)
    folder = published() if folder is None else Path(folder)
    records = [record for path in run_files(folder) for record in read_run(path)]
    frame = pd.DataFrame(records, columns=list(SCHEMA))
    floats = [name for name, column in SCHEMA.items() if column.kind is float]
    frame = frame.astype(dict.fromkeys(floats, float))
    twice = frame[frame.duplicated(list(KEY), keep=False)]
    if len(twice):
        runs = sorted(set(twice["run"]))
        raise InputError(f"{folder}: runs {runs} measure the same attacks; delete all but one")
    return frame
