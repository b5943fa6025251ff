"""`Outputs`: what models answered for the records of a pool, the one value that attacks see."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass, field
from dataclasses import replace as dataclass_replace
from pathlib import Path

import numpy as np

from .data import Pool
from .errors import InputError
from .files import whole_file


def _matrix(value, shape: tuple[int, int], name: str) -> np.ndarray:
    value = np.asarray(value)
    if value.dtype != bool:
        raise InputError(f"{name} has dtype {value.dtype}; expected bool")
    if value.shape != shape:
        raise InputError(f"{name} has shape {value.shape}; logits need (models, records) = {shape}")
    return value


@dataclass(frozen=True)
class Outputs:
    """Logits of M models for N records, with the truth about membership.

    Parameters
    ----------
    logits : float32 (M, N, C)
        What each model returned for every record, before any softmax; may be memory-mapped.
    labels : int64 (N,)
        Ground truth in 0 .. C-1.
    members : bool (M, N)
        Was this record in that model's training set?
    evaluated : bool (M, N), default all True
        May this pair be fitted on or scored? Records that are neither a model's members nor its
        non-members (the shadow quarters of a target, an early-stopping hold-out) are False.
    ids : int64 (N,), default 0 .. N-1
        Row of the record in its pool; with `fingerprint` it aligns two `Outputs`.
    fingerprint : str
        The pool's fingerprint, "" if unknown.
    names : tuple of str
        Names of the models in the store, () if they are not there.

    Raises
    ------
    InputError
        If shapes or types disagree, labels are out of range, ids repeat, or logits are not finite.
    """

    logits: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    evaluated: np.ndarray | None = None
    ids: np.ndarray | None = None
    fingerprint: str = ""
    names: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        logits = np.asarray(self.logits) if not isinstance(self.logits, np.ndarray) else self.logits
        if logits.ndim != 3 or logits.shape[2] < 2:
            raise InputError(
                f"logits have shape {logits.shape}; expected (models, records, classes >= 2)"
            )
        if logits.dtype != np.float32:
            if not np.issubdtype(logits.dtype, np.floating):
                raise InputError(f"logits have dtype {logits.dtype}; expected float32")
            logits = logits.astype(np.float32)
        shape = logits.shape[:2]
        labels = np.asarray(self.labels)
        if labels.shape != shape[1:] or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"labels are {labels.dtype} {labels.shape}; expected integers of shape {shape[1:]}"
            )
        if labels.size and not (0 <= labels.min() and labels.max() < logits.shape[2]):
            raise InputError(
                f"labels run from {labels.min()} to {labels.max()}; with {logits.shape[2]} logits "
                f"a record they must lie in 0..{logits.shape[2] - 1}"
            )
        for index, row in enumerate(logits):
            # The sum is finite unless an element is not (or it overflows): no bool copy of the row.
            if not np.isfinite(row.sum(dtype=np.float64)) and not np.isfinite(row).all():
                bad = int(np.argmin(np.isfinite(row).all(axis=1)))
                raise InputError(
                    f"logits of model {index} hold NaN or infinity, first at record {bad}; "
                    "mask them to finite log-probabilities or drop the record"
                )
        ids = np.arange(shape[1]) if self.ids is None else np.asarray(self.ids)
        if ids.shape != shape[1:] or not np.issubdtype(ids.dtype, np.integer):
            raise InputError(
                f"ids are {ids.dtype} {ids.shape}; expected integers of shape {shape[1:]}"
            )
        if np.unique(ids).size != ids.size:
            raise InputError("ids repeat; every record of a pool may appear once")
        evaluated = np.ones(shape, bool) if self.evaluated is None else self.evaluated
        names = tuple(self.names)
        if names and len(names) != shape[0]:
            raise InputError(f"{len(names)} names for {shape[0]} models")
        for name, value in (
            ("logits", logits),
            ("labels", labels.astype(np.int64, copy=False)),
            ("members", _matrix(self.members, shape, "members")),
            ("evaluated", _matrix(evaluated, shape, "evaluated")),
            ("ids", ids.astype(np.int64, copy=False)),
            ("names", names),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return self.logits.shape[0]

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return self.logits.shape[2]

    def replace(self, **changes) -> Outputs:
        """A copy with some fields changed (validated again)."""
        return dataclass_replace(self, **changes)

    def select(self, models=None, records=None) -> Outputs:
        """Some models and some records: each an int, slice, index array or bool mask."""
        models = np.atleast_1d(np.arange(len(self))[slice(None) if models is None else models])
        records = np.atleast_1d(
            np.arange(self.labels.size)[slice(None) if records is None else records]
        )
        every = records.size == self.labels.size and (records == np.arange(records.size)).all()
        pick = (lambda a: a[models]) if every else (lambda a: a[np.ix_(models, records)])
        return Outputs(
            logits=pick(self.logits),
            labels=self.labels[records],
            members=pick(self.members),
            evaluated=pick(self.evaluated),
            ids=self.ids[records],
            fingerprint=self.fingerprint,
            names=tuple(self.names[i] for i in models) if self.names else (),
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to one uncompressed .npz, atomically (write, then rename)."""
        meta = json.dumps({"fingerprint": self.fingerprint, "names": self.names})
        with whole_file(path) as partial, open(partial, "wb") as file:
            np.savez(
                file,
                logits=self.logits,
                labels=self.labels,
                members=self.members,
                evaluated=self.evaluated,
                ids=self.ids,
                meta=np.array(meta),
            )
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Outputs:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, damaged, or lacks one of the arrays.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                meta = json.loads(str(archive["meta"])) if "meta" in archive else {}
                fields = {
                    name: archive[name]
                    for name in ("logits", "labels", "members", "evaluated", "ids")
                    if name in archive
                }
        except FileNotFoundError:
            raise InputError(
                f"no file {path}; expected an archive that Outputs.save wrote"
            ) from None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} cannot be read as an Outputs archive: {error}") from None
        missing = {"logits", "labels", "members"} - fields.keys()
        if missing:
            raise InputError(f"{path} lacks {sorted(missing)}; expected logits, labels and members")
        return cls(
            **fields, fingerprint=meta.get("fingerprint", ""), names=tuple(meta.get("names", ()))
        )


def align(a: Outputs, b: Outputs) -> None:
    """Check that two `Outputs` are about the same records in the same order.

    Raises
    ------
    InputError
        If their pools or ids differ: a per-record attack would compare different records.
    """
    if a.fingerprint != b.fingerprint:
        raise InputError(
            f"the outputs come from different pools ({a.fingerprint[:12] or 'unknown'} and "
            f"{b.fingerprint[:12] or 'unknown'}); an attack record by record needs one pool"
        )
    if not np.array_equal(a.ids, b.ids):
        raise InputError(
            "the outputs hold different record ids; select the same records of both first"
        )
    if not np.array_equal(a.labels, b.labels):
        raise InputError("the outputs have the same ids but different labels")
    if a.classes != b.classes:
        raise InputError(f"the outputs have {a.classes} and {b.classes} classes")


def check_outputs(value, role: str) -> Outputs:
    """`value`, if it is one `Outputs`.

    Raises
    ------
    InputError
        If it is anything else; `role` (such as "LossAttack.score(target)") says where.
    """
    if not isinstance(value, Outputs):
        raise InputError(f"{role} got {type(value).__name__}; expected Outputs")
    return value


def check_stored(outputs, pool: Pool, role: str) -> Outputs:
    """`outputs`, if they name stored models and are about this pool.

    Raises
    ------
    InputError
        Otherwise.
    """
    check_outputs(outputs, role)
    if not outputs.names:
        raise InputError(
            f"{role} got outputs without names of stored models; pass what train() returned, or "
            "its .select(...)"
        )
    if outputs.fingerprint != pool.fingerprint:
        raise InputError(
            f"{role} got outputs that come from pool {outputs.fingerprint[:12] or 'unknown'}, not "
            f"from {pool.name!r} ({pool.fingerprint[:12]})"
        )
    return outputs
