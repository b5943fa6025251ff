"""What is audited: a model's answers and what is known about the records, read from files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import arguments
from ..arrays import as_numbers, rows_of
from ..errors import InputError, shown
from ..outputs import Outputs, check_outputs
from ..text.outputs import TokenOutputs
from .tables import (
    IDS,
    LABELS,
    LOGITS,
    MEMBERS,
    PROBABILITIES,
    Table,
    check_file,
    numbered,
    read_array,
    read_table,
    sha256,
)

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
    scale : "logits", "probabilities", or "log-probabilities" of tokens
        What was given.
    features : float (N, D), optional
        The records themselves, for the checks.
    traces : float (epochs, N), optional
        The target's loss for every record at epochs of its training.
    sources : tuple of (file name, SHA-256)
    tokens : TokenOutputs, optional
        Of language models: what `outputs` was made of.
    """

    outputs: Outputs
    names: np.ndarray
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    scale: str = "logits"
    features: np.ndarray | None = None
    traces: np.ndarray | None = None
    sources: tuple[tuple[str, str], ...] = ()
    tokens: TokenOutputs | None = None

    @classmethod
    def of(
        cls,
        outputs: Outputs,
        *,
        names=None,
        groups: Mapping[str, Any] | None = None,
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
        n = check_outputs(outputs, "AuditData.of(outputs)").labels.size
        if not isinstance(groups, (Mapping, type(None))):
            raise InputError(f"groups are {shown(groups)}; expected a mapping from names to values")
        names = outputs.ids.astype(str) if names is None else np.asarray(names).astype(str)
        read = {name: _texts(values) for name, values in (groups or {}).items()}
        for name, values in {"names": names, **read}.items():
            if values.shape != (n,):
                raise InputError(f"{name} has shape {values.shape}; expected one a record, ({n},)")
        if classes is not None:
            classes = arguments.several("classes", classes, "names in the order of the logits")
        classes = tuple(map(str, range(outputs.classes) if classes is None else classes))
        if len(classes) != outputs.classes:
            raise InputError(f"{len(classes)} class names for {outputs.classes} classes")
        if features is not None:
            features = as_numbers(features, "features")
            if not features.ndim or len(features) != n:
                rows = len(features) if features.ndim else "no"
                raise InputError(f"features have {rows} rows; expected {n}")
            features = features.reshape(n, -1)
        if traces is not None:
            traces = as_numbers(traces, "losses (traces)").astype(np.float64, copy=False)
            if traces.ndim != 2 or traces.shape[1] != n or len(traces) < 2:
                raise InputError(
                    f"losses have shape {traces.shape}; expected (epochs >= 2, records) = (.., {n})"
                )
        return cls(outputs, names, read, classes, features=features, traces=traces, **rest)

    def model(self, index: int) -> AuditData:
        """The answers of one of the models."""
        tokens = None if self.tokens is None else self.tokens.select(models=[index])
        return replace(self, outputs=self.outputs.select(models=[index]), tokens=tokens)

    def records(self, rows: np.ndarray) -> AuditData:
        """Some of the records, by position."""
        return replace(
            self,
            outputs=self.outputs.select(records=rows),
            names=self.names[rows],
            groups={name: values[rows] for name, values in self.groups.items()},
            features=None if self.features is None else self.features[rows],
            traces=None if self.traces is None else self.traces[:, rows],
            tokens=None if self.tokens is None else self.tokens.select(documents=rows),
        )

    def __repr__(self) -> str:
        if self.tokens is not None:
            return repr(self.tokens)[len("TokenOutputs(") : -1]
        groups = f"; groups by {', '.join(self.groups)}" if self.groups else ""
        if len(self.outputs) > 1:
            return f"{str(self.outputs)[len('Outputs(') : -1]}{groups}"
        shares = [
            f"{share:.2f} on {who}"
            for share, who in zip(self.accuracy, ("members", "others"), strict=True)
            if share is not None
        ]
        accuracy = f"; accuracy {', '.join(shares)}" if shares else ""
        return f"{self.outputs.counted()}{accuracy}{groups}"

    @cached_property
    def accuracy(self) -> tuple[float | None, float | None]:
        """The first model's on its judged members and others; of equal answers the first counts."""
        outputs = self.outputs
        used, members = outputs.evaluated[0], outputs.members[0]
        right = np.empty(used.size, bool)
        step = max(1, 2**24 // outputs.classes)
        for start in range(0, used.size, step):
            part = slice(start, start + step)
            right[part] = rows_of(outputs.logits[0], part).argmax(axis=1) == outputs.labels[part]
        inside, outside = right[used & members], right[used & ~members]
        return (
            float(inside.mean()) if inside.size else None,
            float(outside.mean()) if outside.size else None,
        )


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
    elif probabilities:
        raise InputError(
            f"{path}: --probabilities is for a .npy file, which has no names; call the array "
            "probabilities, or the columns prob_0, prob_1, ..."
        )
    else:
        table = read_table(path, texts=groups)
    sources = [path]
    for name, extra in (("labels", labels), ("members", members), ("ids", ids)):
        if extra is not None:
            check_file(Path(extra))
            table = {k: v for k, v in table.items() if k not in _names(name)}
            table[name] = read_array(extra)
            sources.append(Path(extra))
    digests = tuple((source.name, sha256(source)) for source in sources)
    try:
        return _from_table(table, groups, floor, classes, digests)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _names(name: str) -> tuple[str, ...]:
    return {"labels": LABELS, "members": MEMBERS, "ids": IDS}[name]


def _first(table: Table, names: Sequence[str]) -> np.ndarray | None:
    """The one column of these names; two that differ have no meaning."""
    there = [name for name in names if name in table]
    for name in there[1:]:
        if not np.array_equal(table[name], table[there[0]]):
            raise InputError(f"{there[0]} and {name} differ; keep one of them")
    return table[there[0]] if there else None


def _from_table(table: Table, groups, floor, classes, sources) -> AuditData:
    values, suffixes, scale = _values(table)
    found: dict[str, Any] = {}
    for name in ("labels", "members", "ids"):
        names = _names(name)
        found[name] = _first(table, names)
        if found[name] is None and name != "ids":
            raise InputError(
                f"holds {', '.join(sorted(table))}; expected also {name} (or "
                f"{', '.join(names[1:])}): one a record, or a file of its own (--{name} FILE)"
            )
        if found[name] is not None:
            found[name] = _complete(found[name], name)
    if found["labels"].size == 0:
        raise InputError("holds no record")
    own = None
    if "classes" in table:
        own = tuple(str(name) for name in table["classes"].ravel())
    elif suffixes:
        own, found["labels"] = _classes_of(suffixes, found["labels"])
    if own is not None and classes is not None:
        values, found["labels"] = _in_order(values, found["labels"], own, classes)
    classes = own if classes is None else classes
    chosen = {name: column for name, column in table.items() if name.startswith("group_")}
    chosen = {name.removeprefix("group_"): column for name, column in chosen.items()}
    for name in groups:
        if name not in table:
            raise InputError(f"has no column {name!r}; it holds {', '.join(sorted(table))}")
        chosen[name] = table[name]
    if "groups" in table:
        chosen["group"] = table["groups"]
    options: dict[str, Any] = {scale: values, **({} if floor is None else {"floor": floor})}
    outputs = Outputs.from_arrays(
        labels=found["labels"],
        members=found["members"],
        ids=found["ids"],
        evaluated=table.get("evaluated"),
        classes=classes,
        **options,
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


def _values(table: Table) -> tuple[np.ndarray, tuple[str, ...], str]:
    """The answers, the names of the columns they came from, and which scale they have."""
    there: list[tuple[np.ndarray, tuple[str, ...], str]] = []
    for scale, names in (("logits", LOGITS), ("probabilities", PROBABILITIES)):
        array = _first(table, names)
        if array is not None:
            if array.dtype.kind == "U":
                raise InputError(
                    f"the column of {scale} holds texts, such as {str(array.flat[0])[:40]!r}; expected "
                    f"a column a class: {names[1]}_0, {names[1]}_1, ..."
                )
            there.append((array, (), scale))
        elif columns := numbered(table, names):
            there.append((*columns, scale))
    if len(there) != 1:
        raise InputError(
            f"holds {', '.join(sorted(table)) or 'nothing'}; expected "
            f"{'only one of ' if there else ''}logits or probabilities: an array of that name, or "
            "columns logit_0, logit_1, ... (or prob_0, prob_1, ...)"
        )
    return there[0]


def _complete(values: np.ndarray, name: str) -> np.ndarray:
    """`values`, none of them missing; ids that are whole numbers as such."""
    missing = values == "" if values.dtype.kind == "U" else values != values
    if missing.any():
        row = int(np.argwhere(missing)[0][0])
        raise InputError(
            f"record {row} has nothing under {name} ({int(missing.sum())} such); fill it in, "
            "or leave the record out"
        )
    whole = values.dtype.kind == "f" and (np.abs(values) < 2**53).all()
    return values.astype(np.int64) if whole and (values == np.rint(values)).all() else values


def _classes_of(suffixes: tuple[str, ...], labels: np.ndarray):
    """Names of the classes that columns are called by (None: their positions), and the labels.

    One column of two classes is that of class 1, or of the class it is called by.
    """
    numbered = all(suffix.isdecimal() for suffix in suffixes)
    if labels.ndim != 1 or (not numbered and labels.dtype.kind != "U"):
        return (None if numbered or len(suffixes) == 1 else suffixes), labels
    if suffixes == ("1",) or (
        len(suffixes) > 1 and suffixes == tuple(map(str, range(len(suffixes))))
    ):
        return None, labels
    texts = labels.astype(str)
    if len(suffixes) > 1:
        return suffixes, texts
    others = np.setdiff1d(texts, suffixes)
    if numbered or others.size != 1 or others.size == np.unique(texts).size:
        raise InputError(
            f"has one column of answers, of class {suffixes[0]!r}; expected one a class, or "
            "that of class 1 of two"
        )
    return (str(others[0]), suffixes[0]), texts


def _in_order(values, labels: np.ndarray, own: Sequence[str], classes: Sequence[str]):
    """Answers and labels of a file's own classes in the order of `classes`."""
    names = [str(name) for name in classes]
    if list(own) == names:
        return values, labels
    if sorted(names) != sorted(own) or values.ndim < 2 or values.shape[-1] != len(own):
        raise InputError(f"has the classes {', '.join(own[:10])}; expected {', '.join(names[:10])}")
    places = [list(own).index(name) for name in names]
    if labels.ndim == 2:
        labels = labels[:, places]
    elif labels.dtype.kind in "iu" and np.isin(labels, np.arange(len(own))).all():
        labels = np.argsort(places)[labels]
    return values[..., places], labels


def _texts(values) -> np.ndarray:
    """Groups as texts: whole numbers without a point, what is missing as such."""
    values = np.asarray(values)
    missing = values != values if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    kept = values[~missing]
    if values.dtype.kind == "f" and np.isfinite(kept).all() and (kept == kept.round()).all():
        values = np.where(missing, 0, values).astype(np.int64)
    texts = values.astype(str)
    return np.where(missing | (texts == ""), "missing", texts)
