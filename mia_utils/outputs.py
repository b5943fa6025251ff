"""`Outputs`: what models answered for the records of a pool, the one value that attacks see."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field, fields
from dataclasses import replace as dataclass_replace
from pathlib import Path

import numpy as np

from .arrays import FILLED_IN, as_array, as_bool, rows_of
from .data import Pool
from .data.archive import DAMAGED, one_line, read_arrays
from .errors import InputError, InputWarning, shown
from .files import one_line_disk_errors, whole_file
from .naming import class_numbers, id_numbers, member_mask
from .reading import FLOOR, doubts, read_logits, read_probabilities, sample
from .signals import correct


@dataclass(frozen=True, repr=False)
class Outputs:
    """Logits of M models for N records, with the truth about membership.

    Arrays, lists, frames and tensors are taken, and shapes that have one meaning (one model's
    answers as (N, C), its members as (N,), members as 0 and 1, one-hot labels, one logit for two
    classes); `reading.read_logits` lists them. What is kept is this:

    Parameters
    ----------
    logits : float32 or float16 (M, N, C)
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
    masked : bool
        Are these what a defense released, in place of the models' own answers?

    Raises
    ------
    InputError
        If shapes or types disagree, labels are out of range, ids repeat, or logits are not finite.

    Warns
    -----
    InputWarning
        Without a fingerprint (who trains here has one), if logits look like probabilities, answers
        like another list's, or members like non-members.

    >>> Outputs([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]], labels=[0, 1, 1], members=[1, 0, 0])
    Outputs(1 model, 3 records, 2 classes; 1 member; accuracy 1.00 on members, 0.50 on others)
    """

    logits: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    evaluated: np.ndarray = FILLED_IN
    ids: np.ndarray = FILLED_IN
    fingerprint: str = ""
    names: tuple[str, ...] = field(default=())
    masked: bool = False

    def __post_init__(self) -> None:
        answers = read_logits(self.logits, self.labels, self.members, self.evaluated, self.ids)
        self._set(answers._asdict() | {"names": tuple(self.names)})
        if self.names and len(self.names) != len(self):
            raise InputError(f"{len(self.names)} names for {len(self)} models")
        if not self.fingerprint and (found := doubts(self)):
            more = f" (and {len(found) - 1} more such signs)" if found[1:] else ""
            warnings.warn(found[0] + more, InputWarning, stacklevel=3)

    def _set(self, fields: dict) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_probabilities(
        cls,
        probabilities,
        labels,
        members,
        evaluated=None,
        ids=None,
        fingerprint: str = "",
        names: tuple[str, ...] = (),
        *,
        floor: float = FLOOR,
    ) -> Outputs:
        """Outputs of models that return probabilities p: the logits are log(max(p, floor)).

        What a softmax rounds to 0 or 1 is lost: a probability of 0 counts as `floor`, and where
        the true class has 1, only the others' tell how sure the model is. Of rounded
        probabilities (three decimals, say) the floor should be half of the last digit.

        Parameters
        ----------
        probabilities : float (M, N, C), (N, C); of class 1 of two (M, N, 1), (M, N) or (N,)
            Each row sums to 1, to within 0.01.
        floor : float in (0, 1)

        Raises
        ------
        InputError
            As the class, and if a number is no probability or a row does not sum to 1.

        Warns
        -----
        InputWarning
            If there are zeros that look rounded, and as the class.

        >>> Outputs.from_probabilities([[0.5, 0.5], [0.1, 0.9]], [0, 1], members=[1, 0])
        Outputs(1 model, 2 records, 2 classes; 1 member; accuracy 0.00 on members, 1.00 on others)
        """
        answers = read_probabilities(probabilities, labels, members, evaluated, ids, floor=floor)
        return cls(*answers, fingerprint, names)

    @classmethod
    def from_arrays(
        cls,
        *,
        labels,
        members,
        logits=None,
        probabilities=None,
        evaluated=None,
        ids=None,
        classes=None,
        fingerprint: str = "",
        names: tuple[str, ...] = (),
        floor: float = FLOOR,
    ) -> Outputs:
        """Outputs from arrays as they are kept elsewhere, with names for classes and records.

        Its repr says what was understood.

        Parameters
        ----------
        labels
            Also names, with `classes` in the order of the logits.
        members
            Also the ids of the members of one model; a list of numbers is taken for ids unless it
            is a mask, 0 and 1 for every record.
        logits, probabilities
            One of the two: as the class takes logits, as `from_probabilities` takes probabilities.
        ids
            Also texts. A text becomes a 63-bit hash of itself, so that the same text is the same
            record in every `Outputs`.
        classes : sequence of str, optional
            Names of the classes, needed for labels that are names.

        Raises
        ------
        InputError
            As the class and `from_probabilities`; if a label or a member is not among the names.

        >>> Outputs.from_arrays(
        ...     probabilities=[[0.9, 0.1], [0.2, 0.8]],
        ...     labels=["cat", "dog"],
        ...     classes=["cat", "dog"],
        ...     ids=["a.png", "b.png"],
        ...     members=["b.png"],
        ... )
        Outputs(1 model, 2 records, 2 classes; 1 member; accuracy 1.00 on members, 1.00 on others)
        """
        if (logits is None) == (probabilities is None):
            raise InputError("expected logits or probabilities, one of the two")
        labels = class_numbers(labels, classes)
        if not labels.ndim:
            raise InputError("labels is one value; expected one a record")
        mask = member_mask(members, ids, len(labels))
        numbers = FILLED_IN if ids is None else id_numbers(ids)
        if logits is not None:
            return cls(logits, labels, mask, evaluated, numbers, fingerprint, names)
        return cls.from_probabilities(
            probabilities, labels, mask, evaluated, numbers, fingerprint, names, floor=floor
        )

    def __len__(self) -> int:
        return self.logits.shape[0]

    def __repr__(self) -> str:
        """How many of what, and how often the models are right (of 1,000 records of each)."""
        right: dict[str, list] = {"members": [], "others": []}
        for model, logits in enumerate(self.logits):
            rows = sample(self, model)
            held, hits = (
                self.members[model, rows],
                correct(rows_of(logits, rows), self.labels[rows]),
            )
            right["members"].extend(hits[held])
            right["others"].extend(hits[~held])
        shares = [f"{np.mean(hits):.2f} on {who}" for who, hits in right.items() if hits]
        accuracy = f"; accuracy {', '.join(shares)}" if shares else ""
        return f"Outputs({self.counted()}{accuracy})"

    def counted(self) -> str:
        """How many models, records, classes and members there are, for a reader."""
        parts = [
            f"{_count(len(self), 'model')}, {_count(self.labels.size, 'record')}, "
            f"{self.classes} classes",
            _range((self.members & self.evaluated).sum(axis=1), "member"),
        ]
        if not self.evaluated.all():
            parts.append(_range(self.evaluated.sum(axis=1), "evaluated record"))
        return "; ".join(parts)

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return self.logits.shape[2]

    def replace(self, **changes) -> Outputs:
        """A copy with some fields changed (validated again)."""
        return dataclass_replace(self, **changes)

    def judged_on(self, evaluated) -> Outputs:
        """The same answers with other evaluated pairs, bool (M, N); logits are not read again.

        Raises
        ------
        InputError
            If the shape or type does not fit.
        """
        mask = as_bool(evaluated, "evaluated")
        if mask.shape != self.members.shape:
            raise InputError(
                f"evaluated has shape {mask.shape}; expected (models, records) = "
                f"{self.members.shape}"
            )
        other = object.__new__(Outputs)
        other._set({name.name: getattr(self, name.name) for name in fields(self)})
        other._set({"evaluated": mask})
        return other

    def select(self, models=None, records=None) -> Outputs:
        """Some models and some records: each an int, slice, index array or bool mask.

        Raises
        ------
        InputError
            If there is no such model or record.
        """
        models = positions(models, len(self), "models")
        records = positions(records, self.labels.size, "records")
        every = records.size == self.labels.size and (records == np.arange(records.size)).all()
        pick = (lambda a: a[models]) if every else (lambda a: a[np.ix_(models, records)])
        part = object.__new__(Outputs)  # what it is taken from was checked
        part._set(
            {
                "logits": self.logits[models] if every else _part(self.logits, models, records),
                "labels": self.labels[records],
                "members": pick(self.members),
                "evaluated": pick(self.evaluated),
                "ids": self.ids[records],
                "fingerprint": self.fingerprint,
                "names": tuple(self.names[i] for i in models) if self.names else (),
                "masked": self.masked,
            }
        )
        return part

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to one uncompressed .npz, atomically (write, then rename).

        Raises
        ------
        DiskError
            If it cannot be written.
        """
        meta = json.dumps(
            {"fingerprint": self.fingerprint, "names": self.names, "masked": self.masked}
        )
        path = Path(path)
        with (
            one_line_disk_errors(path, "another path"),
            whole_file(path) as partial,
            open(partial, "wb") as file,
        ):
            np.savez(
                file,
                logits=self.logits,
                labels=self.labels,
                members=self.members,
                evaluated=self.evaluated,
                ids=self.ids,
                meta=np.array(meta),
            )
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> Outputs:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, damaged, larger than memory, or lacks one of the arrays.
        """
        wanted = ("logits", "labels", "members", "evaluated", "ids", "meta")
        try:
            fields, _ = read_arrays(
                Path(path), wanted, "save fewer models: outputs.select(models=...)"
            )
            meta = json.loads(str(fields.pop("meta", "{}")))
            if not isinstance(meta, dict):
                raise ValueError("its meta is no JSON object")
        except FileNotFoundError:
            raise InputError(
                f"no file {path}; expected an archive that Outputs.save wrote"
            ) from None
        except InputError:
            raise
        except (OSError, *DAMAGED) as error:
            raise InputError(
                f"{path} cannot be read as an Outputs archive: {one_line(error)}"
            ) from None
        missing = {"logits", "labels", "members"} - fields.keys()
        if missing:
            raise InputError(f"{path} lacks {sorted(missing)}; expected logits, labels and members")
        return cls(
            **fields,
            fingerprint=meta.get("fingerprint", ""),
            names=tuple(meta.get("names", ())),
            masked=bool(meta.get("masked", False)),
        )


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' if number != 1 else ''}"


def _range(counts: np.ndarray, word: str) -> str:
    """One model's count; of several the smallest and the largest."""
    high = counts.max(initial=0)
    low = counts.min(initial=high)
    if counts.size == 1:
        return _count(high, word)
    return (f"{low:,} to " if low < high else "") + f"{_count(high, word)} each"


def _part(logits: np.ndarray, models: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Logits of some models for some records, by position."""
    found = np.empty((models.size, records.size, logits.shape[2]), logits.dtype)
    for place, model in enumerate(models):
        found[place] = rows_of(logits[model], records)
    return found


def positions(chosen, size: int, name: str) -> np.ndarray:
    """Positions int64 (n,) of what `select(name=chosen)` is asked for, out of `size`.

    Raises
    ------
    InputError
        If there is no such position, or a record (anything but a model) is asked for twice.
    """
    if chosen is None:
        return np.arange(size)
    if not isinstance(chosen, slice):
        chosen = as_array(chosen, name)
        if chosen.dtype.kind == "f" and chosen.size == 0:  # an empty list
            chosen = chosen.astype(np.int64)
        if chosen.dtype.kind not in "biu":
            raise InputError(f"select({name}={shown(chosen)}); expected positions or a bool mask")
    try:
        found = np.atleast_1d(np.arange(size)[chosen])
    except IndexError:
        raise InputError(
            f"select({name}={chosen}); there are {size}, expected 0 to {size - 1}, or a bool mask "
            f"of that length"
        ) from None
    if found.ndim > 1:
        raise InputError(f"select({name}=...) got shape {found.shape}; expected one dimension")
    if name != "models" and np.unique(found).size != found.size:
        raise InputError(f"select({name}=...) repeats a {name[:-1]}; every one may appear once")
    return found


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
    if not isinstance(pool, Pool):
        raise InputError(f"{role} got pool {pool!r:.80}; expected a Pool, as load_dataset gives it")
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
