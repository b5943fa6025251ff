"""What is audited: a model's answers and what is known about the records, read from files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..outputs import Outputs
from .tables import Table, check_file, numbered, read_array, read_table, sha256

LOGITS = ("logits", "logit")
PROBABILITIES = ("probabilities", "probability", "probs", "prob", "proba")
LABELS = ("labels", "label", "y", "target")
MEMBERS = ("members", "member", "is_member", "membership")
IDS = ("ids", "id", "record_id")
_ONE_ARRAY = (".npy",)


@dataclass(frozen=True)
class AuditData:
    """Answers of models, and what is known about the records.

    Parameters
    ----------
    outputs : Outputs
    names : str (N,)
        What each record is called in the report.
    groups : dict from column to str (N,)
    classes : tuple of str (C,)
    scale : "logits" or "probabilities"
        What was given.
    features : float (N, D), optional
        The records themselves, for the checks.
    traces : float (epochs, N), optional
        The target's loss for every record at epochs of its training.
    sources : tuple of (file name, SHA-256)
    """

    outputs: Outputs
    names: np.ndarray
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    scale: str = "logits"
    features: np.ndarray | None = None
    traces: np.ndarray | None = None
    sources: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        outputs: Outputs,
        *,
        names=None,
        groups: Mapping[str, Sequence] | None = None,
        classes: Sequence[str] | None = None,
        features=None,
        traces=None,
        **rest,
    ) -> AuditData:
        """Answers with names by default: ids for records, numbers for classes.

        Raises
        ------
        InputError
            If something has not one value a record, or not one name a class.
        """
        n = outputs.labels.size
        names = outputs.ids.astype(str) if names is None else np.asarray(names).astype(str)
        read = {name: _texts(values) for name, values in (groups or {}).items()}
        for name, values in {"names": names, **read}.items():
            if values.shape != (n,):
                raise InputError(f"{name} has shape {values.shape}; expected one a record, ({n},)")
        classes = tuple(map(str, range(outputs.classes) if classes is None else classes))
        if len(classes) != outputs.classes:
            raise InputError(f"{len(classes)} class names for {outputs.classes} classes")
        if features is not None:
            features = np.asarray(features).reshape(len(features), -1)
            if len(features) != n:
                raise InputError(f"features have {len(features)} rows; expected {n}")
        if traces is not None:
            traces = np.asarray(traces, dtype=np.float64)
            if traces.ndim != 2 or traces.shape[1] != n or len(traces) < 2:
                raise InputError(
                    f"losses have shape {traces.shape}; expected (epochs >= 2, records) = (.., {n})"
                )
        return cls(outputs, names, read, classes, features=features, traces=traces, **rest)

    def model(self, index: int) -> AuditData:
        """The answers of one of the models."""
        return self._with(self.outputs.select(models=[index]))

    def records(self, rows: np.ndarray) -> AuditData:
        """Some of the records, by position."""
        return AuditData(
            self.outputs.select(records=rows),
            self.names[rows],
            {name: values[rows] for name, values in self.groups.items()},
            self.classes,
            self.scale,
            None if self.features is None else self.features[rows],
            None if self.traces is None else self.traces[:, rows],
            self.sources,
        )

    def _with(self, outputs: Outputs) -> AuditData:
        rest = (self.names, self.groups, self.classes, self.scale)
        return AuditData(outputs, *rest, self.features, self.traces, self.sources)

    def __repr__(self) -> str:
        groups = f"; groups by {', '.join(self.groups)}" if self.groups else ""
        return f"{str(self.outputs)[len('Outputs(') : -1]}{groups}"


def read_answers(
    path: str | os.PathLike,
    *,
    labels: str | os.PathLike | None = None,
    members: str | os.PathLike | None = None,
    ids: str | os.PathLike | None = None,
    groups: Sequence[str] = (),
    probabilities: bool = False,
    floor: float | None = None,
    classes: Sequence[str] | None = None,
) -> AuditData:
    """Read a model's answers from one file, or from one file an array.

    Parameters
    ----------
    path : .npz, .csv or .parquet with everything, or .npy with the answers alone
        Arrays, or columns: `logits` or `probabilities` (in a table `logit_0`, `logit_1`, ... or
        `prob_cat`, `prob_dog`, ..., or lists in one column), `labels` (or `label`), `members` (or
        `member`); and if there `ids`, `evaluated`, `classes` (names, in the order of the logits),
        `features`, `losses` (epochs, records), and any `group_NAME`.
    labels, members, ids : .npy or .txt, in place of the arrays in `path`
        `members` is a mask, or a list of the ids of members.
    groups : sequence of str
        More columns whose values are groups of records.
    probabilities : bool
        Whether the numbers in a .npy file are probabilities.
    floor : float, optional
        What a probability of 0 counts as: see `Outputs.from_probabilities`.
    classes : sequence of str, optional
        Names in the order of the logits, where the file does not say.

    Raises
    ------
    InputError
        If the file is not readable, something is missing or has no meaning.
    """
    path = Path(path)
    if path.suffix.lower() in _ONE_ARRAY:
        table: Table = {"probabilities" if probabilities else "logits": read_array(path)}
    else:
        table = read_table(path)
    sources = [path]
    for name, extra in (("labels", labels), ("members", members), ("ids", ids)):
        if extra is not None:
            check_file(Path(extra))
            table = {k: v for k, v in table.items() if k not in _names(name)}
            table[name] = read_array(extra)
            sources.append(Path(extra))
    return _from_table(
        table,
        path,
        groups=groups,
        floor=floor,
        classes=classes,
        sources=tuple((source.name, sha256(source)) for source in sources),
    )


def _names(name: str) -> tuple[str, ...]:
    return {"labels": LABELS, "members": MEMBERS, "ids": IDS}[name]


def _first(table: Table, names: Sequence[str]) -> np.ndarray | None:
    return next((table[name] for name in names if name in table), None)


def _from_table(table: Table, path: Path, *, groups, floor, classes, sources) -> AuditData:
    values, suffixes, scale = _values(table, path)
    found = {}
    for name in ("labels", "members", "ids"):
        found[name] = _first(table, _names(name))
        if found[name] is None and name != "ids":
            raise InputError(
                f"{path} holds {', '.join(sorted(table)) or 'nothing'}; expected also {name}: one "
                f"a record, or a file of its own (--{name} FILE)"
            )
    if classes is None and "classes" in table:
        classes = [str(name) for name in table["classes"].ravel()]
    if classes is None and suffixes and not all(suffix.isdecimal() for suffix in suffixes):
        classes = suffixes
    chosen = {name: column for name, column in table.items() if name.startswith("group_")}
    chosen = {name.removeprefix("group_"): column for name, column in chosen.items()}
    for name in groups:
        if name not in table:
            raise InputError(f"{path} has no column {name!r}; it holds {', '.join(sorted(table))}")
        chosen[name] = table[name]
    if "groups" in table:
        chosen["group"] = table["groups"]
    try:
        outputs = Outputs.from_arrays(
            **{scale: values},
            labels=found["labels"],
            members=found["members"],
            ids=found["ids"],
            evaluated=table.get("evaluated"),
            classes=classes,
            **({} if floor is None else {"floor": floor}),
        )
        return AuditData.of(
            outputs,
            names=found["ids"],
            groups=chosen,
            classes=classes,
            features=table.get("features"),
            traces=table.get("losses"),
            scale=scale,
            sources=sources,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _values(table: Table, path: Path) -> tuple[np.ndarray, tuple[str, ...], str]:
    """The answers, the names of the columns they came from, and which scale they have."""
    there = []
    for scale, names in (("logits", LOGITS), ("probabilities", PROBABILITIES)):
        array = _first(table, names)
        if array is not None:
            there.append((array, (), scale))
        elif columns := numbered(table, names):
            there.append((*columns, scale))
    if len(there) != 1:
        raise InputError(
            f"{path} holds {', '.join(sorted(table)) or 'nothing'}; expected "
            f"{'only one of' if there else ''} logits or probabilities: an array of that name, or "
            "columns logit_0, logit_1, ... (or prob_0, prob_1, ...)"
        )
    return there[0]


def _texts(values) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == values.round()).all():
        values = values.astype(np.int64)
    return values.astype(str)
